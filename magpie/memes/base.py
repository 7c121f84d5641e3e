"""What each person made of each meme: the one row that all statistics count.

Belongs here: folding events to one row per person and meme, the copies of a meme counted as one, as it was known at a
moment. Does not belong here: what is computed from the rows (`ratings.py`, `stats.py`, `user_stats.py`), how events
are told (`reactions.py`).

Ten million events fit in memory only as numbers, so people and memes are numbered in the order of their ids. All
arrays are sorted by person and time of sending once; a moment in the past is a mask over them, since the first send
and the first reaction, once known, never change.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from magpie.tables import UTC as MOMENT

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]

# Later than any moment: not yet, or never.
NEVER = np.iinfo(np.int64).max
DAY_US = 86_400_000_000
# Today's statistics are made for the quarter of an hour that is over, so that two runs within it agree.
ROUNDING = timedelta(minutes=15)
# A click on one's own link brings nobody.
SENT, LIKE, DISLIKE, CLICK, CHANNEL_CLICK, OWN_CLICK = range(6)

CATALOGUE = pl.Schema(
    {
        **dict.fromkeys(("meme_id", "canonical_id", "source_id", "state"), pl.String()),
        "published_at": MOMENT,
        "views": pl.Int64(),
    }
)
BASE = pl.Schema(
    {
        **dict.fromkeys(("user_id", "canonical_id", "meme_id"), pl.String()),
        "sent_at": MOMENT,
        "reacted_at": MOMENT,
        "sym": pl.Int8(),
        "engine": pl.String(),
    }
)


def catalogue(status: pl.LazyFrame, memes: pl.LazyFrame) -> pl.DataFrame:
    """Return every meme that has a status (`CATALOGUE`), from `meme_status` and the views in `memes`."""
    held = status.select("meme_id", "canonical_id", "source_id", "state", "published_at")
    joined = held.join(memes.select("meme_id", "views"), on="meme_id", how="left")
    return joined.select(list(CATALOGUE)).collect().cast(CATALOGUE)


def closing(day: date, now: datetime) -> datetime:
    """The moment a day's statistics are of: its end, or for today the quarter of an hour that is over."""
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    past = now.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return min(end, datetime(1970, 1, 1, tzinfo=UTC) + past // ROUNDING * ROUNDING)


def start_of(day: date) -> int:
    """Microseconds since 1970 at which a day begins."""
    return micros(datetime(day.year, day.month, day.day, tzinfo=UTC))


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Known:
    """The rows as of a moment, sorted by person and time of sending; those without a send come last.

    Attributes:
        user, meme, raw: numbers of the person, of the canonical meme and of the meme that was met.
        sent, reacted: microseconds since 1970, `NEVER` where it did not happen.
        sym: +1 like, -1 dislike, 0 none.
        user_start: where each person's rows begin.
    """

    user: Codes
    meme: Codes
    raw: Codes
    sent: Ints
    reacted: Ints
    sym: npt.NDArray[np.int8]

    @cached_property
    def user_start(self) -> npt.NDArray[np.intp]:
        return starts(self.user)

    @cached_property
    def explicit(self) -> Mask:
        return self.reacted != NEVER

    @cached_property
    def exposed(self) -> Mask:
        return self.sent != NEVER

    def frame(self, mask: Mask) -> pl.DataFrame:
        """The rows of the mask, for grouping."""
        columns = ("user", "meme", "raw", "sent", "reacted", "sym")
        return pl.DataFrame({name: getattr(self, name)[mask] for name in columns})


def starts(*keys: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Where runs of equal keys begin in sorted arrays."""
    changed = np.zeros(len(keys[0]), dtype=bool)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


@dataclass(frozen=True)
class History:
    """All events before a moment, folded, and the catalogue they are read through.

    Attributes:
        users: ids by number.
        memes: by number: meme_id, the number of the canonical one (`canonical`), whether the catalogue has it
            (`listed`), and source_id, state, published_at, views.
        events: user, meme (that was met, null where there is none), kind and at, as numbers.
        pairs: a row per person and meme that was met, copies apart.
        shared: rows of persons who met several copies of the meme.
        before: the moment; no event is as late.
    """

    users: pl.Series
    memes: pl.DataFrame
    events: pl.DataFrame
    pairs: Known
    shared: Mask
    before: datetime

    @classmethod
    def of(cls, events: pl.LazyFrame, catalogue: pl.DataFrame, now: datetime) -> "History":
        """Fold the ok rows of `meme_reactions`, of all days.

        Args:
            catalogue: `CATALOGUE`; an event of a meme that is not in it counts for its person alone.
            now: what happened in the quarter of an hour that is not over is not seen yet.
        """
        before = closing(now.astimezone(UTC).date(), now)
        used = events.filter((pl.col("status") == "ok") & (pl.col("at") < before))
        names = pl.collect_all([used.select(n).unique() for n in ("user_id", "meme_id")], engine="streaming")
        users = names[0]["user_id"].sort()
        memes = _numbered(names[1]["meme_id"].drop_nulls(), catalogue)
        coded = _coded(used, users, memes)
        pairs = _pairs(coded, memes["canonical"].to_numpy())
        return cls(users, memes, coded, pairs, _shared(pairs), before)

    def as_of(self, day: date) -> datetime:
        """The moment the statistics of a day are of."""
        return min(self.before, closing(day, datetime.max.replace(tzinfo=UTC)))

    def known(self, moment: datetime) -> Known:
        """The base rows as of a moment, the copies of a meme merged: one row per person and canonical meme.

        Of several copies the one that was reacted to stays, of those the one reacted to first, else the one that was
        sent first.
        """
        us, all_rows = micros(moment), self.pairs
        sent = np.where(all_rows.sent < us, all_rows.sent, NEVER)
        reacted = np.where(all_rows.reacted < us, all_rows.reacted, NEVER)
        alive = (sent != NEVER) | (reacted != NEVER)
        copies = np.flatnonzero(self.shared & alive)
        if copies.size:
            user, meme, raw = (column[copies] for column in (all_rows.user, all_rows.meme, all_rows.raw))
            order = np.lexsort((raw, sent[copies], reacted[copies], meme, user))
            stays = np.zeros(copies.size, dtype=bool)
            stays[order[starts(user[order], meme[order])]] = True
            alive[copies[~stays]] = False
        reacted = reacted[alive]
        sym = np.where(reacted != NEVER, all_rows.sym[alive], 0).astype(np.int8)
        return Known(all_rows.user[alive], all_rows.meme[alive], all_rows.raw[alive], sent[alive], reacted, sym)

    def on(self, day: date) -> pl.DataFrame:
        """The events of a day that are known as of its statistics: user, canonical meme (null: none)."""
        found = self.events.filter(pl.col("at").is_between(start_of(day), micros(self.as_of(day)), closed="left"))
        return found.select("user", self.canonical("meme"))

    def canonical(self, column: str) -> pl.Expr:
        """The canonical memes of a column of numbers."""
        return pl.col(column).replace_strict(
            self.memes["number"], self.memes["canonical"], default=None, return_dtype=pl.UInt32
        )

    def numbers_of(self, meme_ids: pl.Series) -> Codes:
        """Numbers of memes, those that neither events nor the catalogue know left out."""
        wanted = meme_ids.unique().implode()
        return self.memes.filter(pl.col("meme_id").is_in(wanted))["number"].to_numpy()


def _numbered(met: pl.Series, listed: pl.DataFrame) -> pl.DataFrame:
    ids = pl.concat([met, listed["meme_id"], listed["canonical_id"]]).unique().sort()
    numbered = pl.DataFrame({"meme_id": ids}).with_row_index("number")
    roots = numbered.select(pl.col("number").alias("canonical"), pl.col("meme_id").alias("canonical_id"))
    joined = numbered.join(listed.with_columns(listed=pl.lit(True)), on="meme_id", how="left")
    return (
        joined.join(roots, on="canonical_id", how="left")
        .with_columns(pl.coalesce("canonical", "number"), pl.col("listed").fill_null(False))
        .drop("canonical_id")
        .sort("number")
    )


def _coded(events: pl.LazyFrame, users: pl.Series, memes: pl.DataFrame) -> pl.DataFrame:
    people = pl.LazyFrame({"user_id": users}).with_row_index("user")
    met = memes.lazy().select("meme_id", pl.col("number").alias("meme"))
    own = (pl.col("sharer_id") == pl.col("user_id")).fill_null(False)
    click = pl.when(own).then(OWN_CLICK).when(pl.col("channel").is_not_null()).then(CHANNEL_CLICK).otherwise(CLICK)
    reaction = pl.col("kind").replace_strict({"sent": SENT, "like": LIKE, "dislike": DISLIKE}, default=None)
    return (
        events.join(people, on="user_id", how="left")
        .join(met, on="meme_id", how="left")
        .select("user", "meme", pl.coalesce(reaction, click).cast(pl.UInt8).alias("kind"), pl.col("at").to_physical())
        .collect(engine="streaming")
    )


def _pairs(events: pl.DataFrame, canonical: Codes) -> Known:
    """First send and first reaction per person and meme; of two reactions in one microsecond the like."""
    reaction = pl.col("at") * 2 + (pl.col("kind") == DISLIKE)
    found = (
        events.lazy()
        .filter((pl.col("kind") <= DISLIKE) & pl.col("meme").is_not_null())
        .select(
            pl.col("user").cast(pl.UInt64) * 2**32 + pl.col("meme"),
            pl.when(pl.col("kind") == SENT).then("at").alias("sent"),
            pl.when(pl.col("kind") != SENT).then(reaction).alias("reaction"),
        )
        .group_by("user")
        .agg(pl.col("sent").min(), pl.col("reaction").min())
        .select(
            (pl.col("user") // 2**32).cast(pl.UInt32).alias("user"),
            (pl.col("user") % 2**32).cast(pl.UInt32).alias("raw"),
            pl.col("sent").fill_null(NEVER),
            (pl.col("reaction") // 2).fill_null(NEVER).alias("reacted"),
            (1 - pl.col("reaction") % 2 * 2).fill_null(0).cast(pl.Int8).alias("sym"),
        )
        .sort("user", "sent", "raw")
        .collect(engine="streaming")
    )
    user, raw, sent, reacted, sym = (found[name].to_numpy() for name in ("user", "raw", "sent", "reacted", "sym"))
    return Known(user, canonical[raw], raw, sent, reacted, sym)


def _shared(pairs: Known) -> Mask:
    """Few memes have copies, so only their rows are looked at."""
    copied = np.flatnonzero(np.isin(pairs.meme, np.unique(pairs.meme[pairs.meme != pairs.raw])))
    both = pl.DataFrame({"user": pairs.user[copied], "meme": pairs.meme[copied]})
    shared = np.zeros(len(pairs.user), dtype=bool)
    shared[copied[both.is_duplicated().to_numpy()]] = True
    return shared


def begun(history: History, days: Iterable[date]) -> list[date]:
    """The days that have something to tell, sorted: the first quarter of an hour of each is over."""
    return [day for day in sorted(set(days)) if micros(history.as_of(day)) > start_of(day)]


def base(history: History, events: pl.LazyFrame, moment: datetime) -> pl.DataFrame:
    """Return the base rows with their ids (`BASE`), sorted by person and canonical meme.

    A reaction to what was never sent has a row without sent_at. `engine` is that of the first send, else null; of two
    sends in one microsecond the first by name.

    Args:
        events: those the history is made of.
    """
    known = history.known(moment)
    ids = history.memes["meme_id"]
    rows = known.frame(np.ones(len(known.user), dtype=bool)).select(
        history.users.gather(known.user).alias("user_id"),
        ids.gather(known.meme).alias("canonical_id"),
        ids.gather(known.raw).alias("meme_id"),
        *(pl.when(pl.col(name) != NEVER).then(name).cast(MOMENT).alias(f"{name}_at") for name in ("sent", "reacted")),
        "sym",
    )
    sends = events.filter((pl.col("status") == "ok") & (pl.col("kind") == "sent"))
    engines = sends.group_by("user_id", "meme_id", pl.col("at").alias("sent_at")).agg(pl.col("engine").min()).collect()
    joined = rows.join(engines, on=["user_id", "meme_id", "sent_at"], how="left")
    return joined.select(list(BASE)).sort("user_id", "canonical_id")

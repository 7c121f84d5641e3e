"""user_stats and user_source_stats: what the people of a day have done so far, and how they like each source.

Belongs here: sessions, time spent, counts per person and per person and source. Does not belong here: memes and
sources as such (`stats.py`), the rows that are counted (`base.py`).

The people of a day are those with an event on it, and those who met a meme whose mapping changed. Their rows count all
that was known at `as_of`; the latest row of each holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from magpie.exact import quotient
from magpie.memes.base import DAY_US, NEVER, History, Known, Mask, begun, micros
from magpie.memes.settings import Memes
from magpie.memes.tables import USER_SOURCE_STATS, USER_STATS
from magpie.tables import UTC as MOMENT

SECOND_US = 1_000_000
# One reaction is no session to speak of: it has no length.
MEDIAN_FROM = 2


@dataclass(frozen=True)
class SessionRules:
    """Microseconds without a reaction after which a session is over, and below which a person was there."""

    gap_us: int
    active_us: int

    @classmethod
    def of(cls, settings: Memes) -> "SessionRules":
        return cls(round(settings.session_gap_min * 60 * SECOND_US), round(settings.active_gap_s * SECOND_US))


def user_stats(history: History, days: Iterable[date], changed: pl.DataFrame, rules: SessionRules) -> pl.DataFrame:
    """Return the rows of these days, in the columns of `user_stats`.

    Sessions, time and active days are those of reactions; first_at and last_at those of all events.

    Args:
        changed: meme_id of memes whose canonical meme is another than before, and of those canonical memes.
    """
    rows = [USER_STATS.empty()]
    for day in begun(history, days):
        as_of = history.as_of(day)
        known = history.known(as_of)
        people = _people(history, day, changed)
        mine = known.frame(people[known.user])
        seen = history.events.filter(
            (pl.col("at") < micros(as_of)) & pl.Series(people[history.events["user"].to_numpy()])
        )
        spans = seen.group_by("user").agg(
            pl.col("at").min().cast(MOMENT).alias("first_at"), pl.col("at").max().cast(MOMENT).alias("last_at")
        )
        counts = mine.group_by("user").agg(*_likes(), (pl.col("sent") != NEVER).sum().alias("nsent"))
        joined = spans.join(counts, on="user", how="left").join(sessions(mine, rules), on="user", how="left")
        zeros = ("nlikes", "ndislikes", "nsent", "nsessions", "active_days", "time_spent_s")
        filled = joined.with_columns(
            pl.lit(day).alias("day"), pl.lit(as_of, MOMENT).alias("as_of"), *(pl.col(n).fill_null(0) for n in zeros)
        )
        rows.append(USER_STATS.shaped(_with_user_ids(history, filled)))
    return pl.concat(rows).sort(USER_STATS.sort_by)


def user_source_stats(history: History, days: Iterable[date], changed: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of these days, in the columns of `user_source_stats`: all sources each person met.

    A source whose memes a person met only as copies of others' keeps a row, of zeros, where the mapping changed.
    """
    rows = [USER_SOURCE_STATS.empty()]
    listed = history.memes.filter("listed").select(pl.col("number").alias("meme"), "source_id")
    for day in begun(history, days):
        as_of = history.as_of(day)
        known = history.known(as_of)
        people = _people(history, day, changed)
        mine = known.frame(people[known.user]).group_by("user", "meme").agg(*_likes())
        moved = _moved(history, micros(as_of), changed)
        left = pl.DataFrame({"user": history.pairs.user[moved], "meme": history.pairs.raw[moved]}).with_columns(
            pl.lit(0, mine.schema[name]).alias(name) for name in ("nlikes", "ndislikes")
        )
        met = pl.concat([mine, left]).join(listed, on="meme")
        counted = met.group_by("user", "source_id").agg(pl.col("nlikes", "ndislikes").sum())
        dated = counted.with_columns(pl.lit(day).alias("day"), pl.lit(as_of, MOMENT).alias("as_of"))
        rows.append(USER_SOURCE_STATS.shaped(_with_user_ids(history, dated)))
    return pl.concat(rows).sort(USER_SOURCE_STATS.sort_by)


def _likes() -> tuple[pl.Expr, pl.Expr]:
    likes, dislikes = ((pl.col("sym") == sym).sum().cast(pl.Int64) for sym in (1, -1))
    return likes.alias("nlikes"), dislikes.alias("ndislikes")


def _with_user_ids(history: History, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(history.users.gather(rows["user"]).alias("user_id"))


def _people(history: History, day: date, changed: pl.DataFrame) -> Mask:
    """By number of a person."""
    people = np.zeros(len(history.users), dtype=bool)
    people[history.on(day)["user"].unique().to_numpy()] = True
    people[history.pairs.user[_moved(history, micros(history.as_of(day)), changed)]] = True
    return people


def _moved(history: History, before: int, changed: pl.DataFrame) -> Mask:
    """By pair: whether the person had met a meme whose mapping changed."""
    numbers = np.zeros(history.memes.height, dtype=bool)
    numbers[history.numbers_of(changed["meme_id"])] = True
    pairs: Known = history.pairs
    return numbers[pairs.raw] & ((pairs.sent < before) | (pairs.reacted < before))


def sessions(rows: pl.DataFrame, rules: SessionRules) -> pl.DataFrame:
    """Return per person nsessions, time_spent_s, active_days and median_session_len of the reactions in `rows`.

    Args:
        rows: user and reacted (microseconds since 1970, `NEVER` where there is none), in any order.
    """
    ordered = rows.filter(pl.col("reacted") != NEVER).select("user", "reacted").sort("user", "reacted")
    same = pl.col("user") == pl.col("user").shift()
    gaps = ordered.with_columns(pl.when(same).then(pl.col("reacted").diff()).alias("gap"))
    gaps = gaps.with_columns((pl.col("gap").is_null() | (pl.col("gap") > rules.gap_us)).alias("begins"))
    counted = gaps.group_by("user").agg(
        pl.col("begins").sum().alias("nsessions"),
        pl.col("gap").filter(pl.col("gap") < rules.active_us).sum().alias("active"),
        (pl.col("reacted") // DAY_US).n_unique().alias("active_days"),
    )
    lengths = gaps.with_columns(pl.col("begins").cum_sum().alias("session")).group_by("user", "session").len("length")
    long = lengths.filter(pl.col("length") >= MEDIAN_FROM).group_by("user")
    return (
        counted.join(long.agg(pl.col("length").median().alias("median_session_len")), on="user", how="left")
        .with_columns(quotient(pl.col("active"), pl.lit(SECOND_US)).alias("time_spent_s"))
        .drop("active")
    )

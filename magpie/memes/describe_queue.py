"""describe_queue: which memes are described next, for a quarter of an hour.

Belongs here: how a batch is shared among the tiers, which memes each tier takes, entries of the log that still hold,
and asking anew about what failed for good. Does not belong here: asking (`descriptions.py`), when a batch is planned
(`sensors/`).

The free models answer far fewer questions than there are memes, so the questions are planned: most go to memes that
people are being shown, some to uploads that wait for a reviewer, a few to the newest and the oldest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import dataframely as dy
import polars as pl

from magpie.append_log import AppendLog
from magpie.control import Control
from magpie.llm.engine import OFFLINE
from magpie.memes import logs
from magpie.memes.settings import Memes
from magpie.memes.tables import DESCRIBE_QUEUE, TIERS
from magpie.tables import UTC, Table, moment

# A batch may take 13 minutes; what is not asked by the next plan is planned anew.
HELD_FOR = timedelta(minutes=15)
# What was delivered and uploaded lately: a week.
LATELY = timedelta(days=7)
# Where a week brings fewer deliveries, so many are looked at.
DELIVERIES = 500
# One of nine goes to the oldest; of the rest five eighths to the served, two to uploads.
OLDEST_OF, SERVED_EIGHTHS, UPLOAD_EIGHTHS = 9, 5, 2
# States in which a meme may still be shown, so that a description is of use.
OPEN_STATES = ("created", "ok", "waiting_review")
# A model declines, or the file holds no picture, each time anew.
SETTLED_REASONS = ("refused", "unreadable_image")

PARTITION = pl.concat_str("platform", pl.col("day").cast(pl.String), separator="|")


class Retries(dy.Schema):
    """Descriptions that failed for good and are to be tried again."""

    retry_id = dy.String(primary_key=True)
    meme_id = dy.String()
    actor = dy.String()
    at = moment()


RETRIES = AppendLog(
    Table("meme_describe_retries", Retries, "Descriptions that somebody wants tried again.", {}, ("at", "retry_id")),
    "meme_id",
)


@dataclass(frozen=True)
class PlanRules:
    """How many memes a batch takes, and how often one may fail."""

    batch: int
    max_failures: int

    @classmethod
    def of(cls, settings: Memes) -> "PlanRules":
        return cls(settings.describe_batch, settings.describe_max_failures)


def split(n: int) -> dict[str, int]:
    """Share `n` places among the tiers, in their order: served, uploads, fresh, oldest.

    Raises:
        ValueError: n < 0.
    """
    if n < 0:
        raise ValueError(f"{n} places")
    oldest = n // OLDEST_OF
    rest = n - oldest
    served, uploads = SERVED_EIGHTHS * rest // 8, UPLOAD_EIGHTHS * rest // 8
    return dict(zip(TIERS, (served, uploads, rest - served - uploads, oldest), strict=True))


def plan(
    memes: pl.DataFrame,
    descriptions: pl.DataFrame,
    media: pl.DataFrame,
    duplicates: pl.DataFrame,
    status: pl.DataFrame,
    sends: pl.DataFrame,
    likes: pl.DataFrame,
    rules: PlanRules,
    now: datetime,
) -> pl.DataFrame:
    """Choose the next memes, in the columns of `describe_queue`, in the order in which they are asked about.

    Args:
        memes, descriptions, media, duplicates, status: rows of those tables; a row missing in the last four says that
            nothing is known, and without media a meme is not ready.
        sends: `meme_id`, `at` of deliveries; likes: `meme_id`, `nlikes` so far.
        now: planned_at.
    """
    open_ones = _eligible(memes, descriptions, media, status, rules, now).sort("meme_id")
    recent = open_ones.filter((pl.col("platform") == "upload") & (pl.col("published_at") > now - LATELY))
    uncertain = duplicates.filter(pl.col("verdict") == "uncertain").select("meme_id")
    ordered = {
        "served": _served(open_ones, sends, likes, now),
        "uploads": _newest(recent),
        "fresh": pl.concat(
            [
                _newest(open_ones.join(uncertain, on="meme_id", how="semi")),
                _newest(open_ones.join(uncertain, on="meme_id", how="anti")),
            ]
        ),
        "oldest": open_ones.sort("published_at", "meme_id"),
    }
    chosen = _chosen({tier: rows["meme_id"].to_list() for tier, rows in ordered.items()}, split(rules.batch))
    rows = pl.DataFrame(chosen, schema={"meme_id": pl.String, "tier": pl.String}, orient="row")
    return DESCRIBE_QUEUE.shaped(
        rows.with_row_index("rank", 1)
        .join(open_ones, on="meme_id", how="left", maintain_order="left")
        .with_columns(
            PARTITION.alias("partition"),
            pl.lit(now, UTC).alias("planned_at"),
            pl.lit(now + HELD_FOR, UTC).alias("expires_at"),
        )
    )


def eligible_state(ad: pl.Expr, state: pl.Expr) -> pl.Expr:
    """Whether the state of a meme lets it be described; of an ad only if somebody approved it, which makes it ok.

    Args:
        ad: whether it is flagged; state: as last folded, null where it is not known.
    """
    return pl.when(state.is_null() | (state == "created")).then(~ad).otherwise(state.is_in(OPEN_STATES))


def _eligible(
    memes: pl.DataFrame,
    descriptions: pl.DataFrame,
    media: pl.DataFrame,
    status: pl.DataFrame,
    rules: PlanRules,
    now: datetime,
) -> pl.DataFrame:
    ready = media.filter((pl.col("status") == "ok") & (pl.col("ord") == 0)).select("meme_id")
    # What was described by rule, for want of a key, waits for a model like what was not described at all.
    by_model = pl.col("description").is_not_null() & (pl.col("provider") != OFFLINE).fill_null(True)
    done = descriptions.filter(
        by_model
        | (pl.col("failures") >= rules.max_failures)
        | (pl.col("status") == "failed")
        | pl.col("reason").is_in(SETTLED_REASONS)
        | (pl.col("not_before") > now)
    )
    return (
        memes.filter((pl.col("status") == "ok") & (pl.col("type") == "image"))
        .join(ready, on="meme_id", how="semi")
        .join(done, on="meme_id", how="anti")
        .join(status.select("meme_id", "state"), on="meme_id", how="left")
        .filter(eligible_state(pl.col("ad_flag"), pl.col("state")))
        .select("meme_id", "platform", "day", "published_at")
    )


def _served(open_ones: pl.DataFrame, sends: pl.DataFrame, likes: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Those among the deliveries of the last week, or the newest 500 if these are more; the most liked first."""
    past = sends.filter(pl.col("at") <= now).sort(["at", "meme_id"], descending=[True, False])
    week = past.filter(pl.col("at") > now - LATELY)
    looked_at = week if week.height >= DELIVERIES else past.head(DELIVERIES)
    shown = open_ones.join(looked_at.select("meme_id"), on="meme_id", how="semi")
    liked = shown.join(likes.select("meme_id", "nlikes"), on="meme_id", how="left")
    return liked.sort(pl.col("nlikes").fill_null(0), "meme_id", descending=[True, False]).drop("nlikes")


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("published_at", "meme_id", descending=[True, False])


def _chosen(ordered: Mapping[str, list[str]], places: Mapping[str, int]) -> list[tuple[str, str]]:
    """Fill each tier's own places, then give what is left to the first tier that still has memes; a meme once."""
    taken: dict[str, str] = {}

    def fill(tier: str, room: int) -> None:
        free = [meme_id for meme_id in ordered[tier] if meme_id not in taken]
        taken.update(dict.fromkeys(free[:room], tier))

    for tier in TIERS:
        fill(tier, places[tier])
    for tier in TIERS:
        fill(tier, sum(places.values()) - len(taken))
    return sorted(taken.items(), key=lambda item: TIERS.index(item[1]))


def enqueue(control: Control, planned: pl.DataFrame) -> int:
    """Append a plan, without memes whose turn it is already; return how many were added.

    Args:
        planned: of `plan`, all planned at one moment.
    """
    if planned.is_empty():
        return 0
    held = unexpired(control, planned["planned_at"].min())  # type: ignore[arg-type]
    new = planned.join(held.select("meme_id"), on="meme_id", how="anti")
    return logs.DESCRIBE_QUEUE.append(control, new.iter_rows(named=True))


def unexpired(control: Control, now: datetime) -> pl.DataFrame:
    """The entries that hold at a moment, in the columns of `describe_queue`."""
    entries = logs.DESCRIBE_QUEUE.since(control, "expires_at", now)
    return entries.filter((pl.col("planned_at") <= now) & (pl.col("expires_at") > now))


def retry(
    control: Control, described: pl.DataFrame, actor: str, now: datetime, only: Iterable[str] | None = None
) -> list[str]:
    """Let failed descriptions be tried again; return the partitions to be made anew, as `platform|day`.

    Made anew, the rows wait for their turn and have no failures.

    Args:
        described: rows of `meme_descriptions`; only failed ones count.
        actor: who wants it.
        only: ids of memes; None: all.
    """
    rows = described.filter(pl.col("status") == "failed")
    if only is not None:
        rows = rows.filter(pl.col("meme_id").is_in(list(only)))
    said = rows.select(
        pl.concat_str(pl.lit(f"{now.isoformat()} "), "meme_id").alias("retry_id"),
        "meme_id",
        pl.lit(actor).alias("actor"),
        pl.lit(now, UTC).alias("at"),
    )
    RETRIES.append(control, said.iter_rows(named=True))
    return rows.select(PARTITION.alias("partition")).unique().sort("partition")["partition"].to_list()


def retries(control: Control) -> pl.DataFrame:
    """How often each meme was to be tried again, and since when: `meme_id`, `turns`, `last_at`."""
    said = RETRIES.read(control)
    return said.group_by("meme_id").agg(pl.len().cast(pl.Int64).alias("turns"), pl.col("at").max().alias("last_at"))

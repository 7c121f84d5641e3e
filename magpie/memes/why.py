"""The whole story of one meme: from its post to what people decided of it, as far as it came.

Belongs here: collecting what the tables say, and the sentence that sums it up. Does not belong here: deciding, and how
it is printed (`magpie/cli/memes.py`).
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import tables as t
from magpie.memes.logs import MODERATION
from magpie.memes.stats import latest
from magpie.memes.status import main_media
from magpie.tables import Table

Row = dict[str, Any]
# Tables that judge a meme, in the order in which they do.
STEPS = (t.MEME_POSTS, t.MEMES, t.MEME_MEDIA, t.MEME_DESCRIPTIONS, t.MEME_DUPLICATES, t.MEME_STATUS)


@dataclass(frozen=True)
class Story:
    """What is stored about one meme.

    Attributes:
        steps: its row of each of `STEPS`, by name of the table; one that does not judge it has none.
        source: its row of `meme_sources`.
        stats: its latest row of `meme_stats`, or that of the meme it is a copy of.
        copies: memes that are copies of it.
        decisions: rows of `meme_moderation`, oldest first; also those that no run has looked at yet.
        verdict: one sentence.
    """

    meme_id: str
    steps: dict[str, Row]
    source: Row | None
    stats: Row | None
    copies: tuple[str, ...]
    decisions: pl.DataFrame
    verdict: str


def why(lake: Lake, control: Control, meme_id: str) -> Story:
    """Tell what became of a meme.

    Raises:
        UserError: no table has it.
    """
    platform = meme_id.partition(":")[0]
    mine = (pl.col("platform") == platform) & (pl.col("meme_id") == meme_id)
    steps: dict[str, Row] = {}
    for table in STEPS:
        rows = lake.read(table).filter(mine)
        found = (main_media(rows) if table is t.MEME_MEDIA else rows).collect()
        if found.height:
            steps[table.name] = found.row(0, named=True)
    if not steps:
        raise UserError(
            f"no post is known of {meme_id[:200]!r}; ids look like telegram:channel:17, and `magpie run memes` reads "
            "the folders that magpie.yaml names"
        )
    source_id = next((row["source_id"] for row in steps.values() if "source_id" in row), None)
    status = steps.get(t.MEME_STATUS.name)
    root = status["canonical_id"] if status else meme_id
    copies = lake.read(t.MEME_STATUS).filter((pl.col("canonical_id") == meme_id) & (pl.col("meme_id") != meme_id))
    return Story(
        meme_id,
        steps,
        _row(lake.read(t.MEME_SOURCES).filter(pl.col("source_id") == source_id)),
        _row(latest(t.MEME_STATS, lake.read(t.MEME_STATS).filter(pl.col("meme_id") == root))),
        tuple(copies.select("meme_id").collect()["meme_id"].sort()),
        MODERATION.read(control, meme_id=meme_id).sort("at", "decision_id"),
        _verdict(steps),
    )


def _row(rows: pl.LazyFrame) -> Row | None:
    found = rows.collect()
    return found.row(0, named=True) if found.height else None


def _verdict(steps: dict[str, Row]) -> str:
    post, meme, status = (_of(steps, table) for table in (t.MEME_POSTS, t.MEMES, t.MEME_STATUS))
    if status is not None:
        if status["servable"]:
            return "It is served."
        by = f" (decided by {status['decided_by']})" if status["decided_by"] != status["state_reason"] else ""
        because = f", {status['state_reason']}" if status["state_reason"] else ""
        copy = f" of {status['canonical_id']}" if status["state"] == "duplicate" else ""
        return f"It is not served: {status['state']}{copy}{because}{by}."
    for table, row in ((t.MEME_POSTS, post), (t.MEMES, meme)):
        if row is not None and row["status"] != "ok":
            return f"It is no meme: {row['status']} in {table.name}, {row['reason']}."
    return "Its day was not made to the end yet; run `magpie run memes`."


def _of(steps: dict[str, Row], table: Table) -> Row | None:
    return steps.get(table.name)


def states(lake: Lake) -> pl.DataFrame:
    """Return how many memes are in which state: platform, state, reason, n; the commonest first."""
    status = lake.read(t.MEME_STATUS).select("platform", "state", pl.col("state_reason").alias("reason"))
    turned_down = lake.read(t.MEMES).filter(pl.col("status") == "rejected")
    known = lake.read(t.MEME_STATUS).select("meme_id")
    others = turned_down.join(known, on="meme_id", how="anti").select(
        "platform", pl.lit("no meme").alias("state"), "reason"
    )
    told = pl.concat([status, others]).group_by("platform", "state", "reason").agg(pl.len().alias("n"))
    return told.collect().sort("platform", "n", "state", "reason", descending=[False, True, False, False])

"""rejections: every match that was turned down, with the gate, the value seen and the value asked for.

Belongs here: collecting them from the stages, and their CSV. Does not belong here: deciding.
"""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from magpie.leads.gates import stage_of
from magpie.leads.tables import REJECTIONS

# What a spreadsheet may run. A leading minus is harmless in a number alone: "-2+3+cmd|..." is a formula too.
FORMULA = r"^[=+@\t\r\n]|^-"
NUMBER = r"^-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?$"

COLUMNS = ("campaign_id", "day", "fullname", "gate", "reason", "observed", "threshold", "config_hash", "created_utc")


def rejections(matched: pl.LazyFrame, ranked: pl.LazyFrame, extractions: pl.LazyFrame | None = None) -> pl.DataFrame:
    """Return the rejected rows of `campaign_posts`, `ranked_posts` and `lead_extractions`; a post is in one at most.

    Rows of `extractions` (None: none has run) count for posts that are candidates still; a rejection there has no gate
    and shows its reason in the gate's place.
    """
    rejected = [
        stage.filter(pl.col("status") == "rejected").select(*COLUMNS, "permalink") for stage in (matched, ranked)
    ]
    rows = pl.concat(rejected).collect()
    stages = {gate: stage_of(gate) for gate in rows["gate"].drop_nulls().unique()}
    stage = pl.col("gate").replace_strict(stages, default="metadata", return_dtype=pl.String)
    found = [rows.with_columns(stage.alias("stage"))]
    if extractions is not None:
        candidates = ranked.filter(pl.col("status") == "ok").select("campaign_id", "day", "fullname")
        read = extractions.filter(pl.col("status") == "rejected").join(
            candidates, on=["campaign_id", "day", "fullname"], how="semi"
        )
        gate, llm = pl.col("reason").alias("gate"), pl.lit("llm").alias("stage")
        found.append(read.with_columns(gate, llm).select(*COLUMNS, "permalink", "stage").collect())
    return pl.concat(found).select(list(REJECTIONS.dtypes))


def export_csv(rows: pl.DataFrame, partitions: Iterable[tuple[str, ...]], directory: Path) -> list[Path]:
    """Write `<directory>/<campaign>/<day>.csv` for each partition, sorted by fullname, replacing the old file.

    Cells that a spreadsheet would run as a formula are prefixed with an apostrophe: they hold what people posted.
    """
    written = []
    for campaign, day in partitions:
        chosen = rows.filter((pl.col("campaign_id") == campaign) & (pl.col("day").cast(pl.String) == day))
        target = directory / campaign / f"{day}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        waiting = target.with_suffix(".csv.tmp")
        chosen.sort("fullname").with_columns(safe_cells()).write_csv(waiting)
        waiting.replace(target)
        written.append(target)
    return written


def safe_cells() -> pl.Expr:
    """Every text column, with an apostrophe before what a spreadsheet would run as a formula."""
    texts = pl.col(pl.String)
    runs = texts.str.contains(FORMULA) & ~texts.str.contains(NUMBER)
    return pl.when(runs).then("'" + texts).otherwise(texts).name.keep()

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


def rejections(matched: pl.LazyFrame, ranked: pl.LazyFrame) -> pl.DataFrame:
    """Return the rejected rows of `campaign_posts` and `ranked_posts`; a post is in one of them at most."""
    rejected = [
        stage.filter(pl.col("status") == "rejected").select(*COLUMNS, "permalink") for stage in (matched, ranked)
    ]
    rows = pl.concat(rejected).collect()
    stages = {gate: stage_of(gate) for gate in rows["gate"].drop_nulls().unique()}
    stage = pl.col("gate").replace_strict(stages, default="metadata", return_dtype=pl.String)
    return rows.with_columns(stage.alias("stage")).select(list(REJECTIONS.dtypes))


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
        texts = pl.col(pl.String)
        runs = texts.str.contains(FORMULA) & ~texts.str.contains(NUMBER)
        safe = pl.when(runs).then("'" + texts).otherwise(texts)
        chosen.sort("fullname").with_columns(safe.name.keep()).write_csv(waiting)
        waiting.replace(target)
        written.append(target)
    return written

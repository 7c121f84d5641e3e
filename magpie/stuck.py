"""Partitions in which rows have failed or waited for days.

Belongs here: finding them, and since when they have been so. Does not belong here: making them again (the sensors of
waiting rows), telling anyone (`alerts.py`).

Neither table nor control database knows since when a row waits: each new try writes it anew. So what is found is held
against what was found before, and both beginnings and ends are kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import dataframely as dy
import polars as pl

from magpie.append_log import AppendLog
from magpie.control import Control
from magpie.lake import Lake
from magpie.tables import Table, moment, one_of

# What a table without partitions has in their place.
WHOLE = "-"
_KEY = ("table_name", "partition", "status")


class StuckEvents(dy.Schema):
    """One row when rows of a partition were first found failed or waiting, one when none of them were any more."""

    table_name = dy.String(primary_key=True)
    partition = dy.String(primary_key=True)
    status = dy.String(primary_key=True, regex=one_of("pending", "failed"))
    at = moment(primary_key=True)
    event = dy.String(regex=one_of("began", "ended"))


EVENTS = AppendLog(
    Table("stuck_events", StuckEvents, "When partitions began and ceased to hold such rows.", {}, ("at", *_KEY))
)


@dataclass(frozen=True)
class Stuck:
    """Rows of one partition and status; `reasons`, most frequent first, is empty where only the log was read."""

    table: str
    partition: str
    status: str
    since: datetime
    rows: int = 0
    reasons: str = ""


def look(lake: Lake, control: Control, tables: Iterable[Table], now: datetime) -> list[Stuck]:
    """Find what has failed or waits now, note what is new and what is over, and return all of it, the oldest first.

    Rows that are to be tried again at a time to come are where they should be, and no part of it.

    Raises:
        UserError: the lake or the control database cannot be read.
    """
    found = {(row.table, row.partition, row.status): row for table in tables for row in _waiting(lake, table, now)}
    known = {(row.table, row.partition, row.status): row.since for row in begun(control)}
    began = [(*key, "began") for key in sorted(found.keys() - known.keys())]
    ended = [(*key, "ended") for key in sorted(known.keys() - found.keys())]
    EVENTS.append(control, [dict(zip((*_KEY, "event"), one, strict=True)) | {"at": now} for one in (*began, *ended)])
    rows = [Stuck(*key, known.get(key, now), row.rows, row.reasons) for key, row in found.items()]
    return sorted(rows, key=lambda row: (row.since, row.table, row.partition, row.status))


def begun(control: Control) -> list[Stuck]:
    """What had not ended when somebody last looked, the oldest first.

    Raises:
        UserError: the control database cannot be read.
    """
    last = EVENTS.read(control).sort("at").unique(list(_KEY), keep="last").filter(pl.col("event") == "began")
    return [Stuck(*row) for row in last.sort("at", *_KEY).select(*_KEY, "at").iter_rows()]


def older(rows: Iterable[Stuck], days: int, now: datetime) -> list[Stuck]:
    """Those that have been so for at least as many days."""
    return [row for row in rows if now - row.since >= timedelta(days=days)]


def _waiting(lake: Lake, table: Table, now: datetime) -> list[Stuck]:
    if not {"status", "reason", "not_before"} <= table.dtypes.keys():
        return []
    due = pl.col("not_before").is_null() | (pl.col("not_before") <= now)
    keys = table.partition_columns
    name = pl.concat_str([pl.col(column).cast(pl.String) for column in keys], separator="|") if keys else pl.lit(WHOLE)
    held = (
        lake.read(table)
        .filter((pl.col("status") == "failed") | ((pl.col("status") == "pending") & due))
        .select(name.alias("partition"), "status", "reason")
        .group_by("partition", "status")
        .agg(pl.len().alias("rows"), pl.col("reason").value_counts(sort=True).struct.field("reason").alias("reasons"))
        .collect()
    )
    return [
        Stuck(table.name, partition, status, now, rows, ", ".join(reasons))
        for partition, status, rows, reasons in held.iter_rows()
    ]

"""Which of Dagster's runs go when they are old, and what stays of the others.

Belongs here: choosing old runs, and removing them or their logs from Dagster's storage. Does not belong here: when that
is done (`maintenance.py`).

A run goes as a whole, unless it made what is still the latest materialisation or observation of some partition: without
it Dagster would take that partition for missing and make it again. Of such a run the log goes, which is by far the most
of it; the run with its status, materialisations and checks stays.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, PIPELINE_EVENTS
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.tags import BACKFILL_ID_TAG

# A page of run records is some MB at most.
RUNS_PER_PAGE = 500
_events = SqlEventLogStorageTable.c
_LATEST = (dg.DagsterEventType.ASSET_MATERIALIZATION.value, dg.DagsterEventType.ASSET_OBSERVATION.value)
# What runs, assets and checks are told by; all else is the log that people read while a run is news.
_TOLD_BY = sorted(kind.value for kind in {*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *PIPELINE_EVENTS})
_IS_LOG = sa.and_(
    _events.asset_key.is_(None),
    sa.or_(_events.dagster_event_type.is_(None), _events.dagster_event_type.not_in(_TOLD_BY)),
)


@dataclass(frozen=True)
class Retained:
    """What was done: runs removed, and runs of which the log was."""

    removed: int
    trimmed: int

    @property
    def summary(self) -> str:
        return f"{self.removed:,} old runs removed, the logs of {self.trimmed:,} that are the latest of a partition"


def retain(instance: dg.DagsterInstance, keep_days: int, now: datetime) -> Retained:
    """Remove runs that ended more than `keep_days` ago, and the logs of those that something rests upon.

    Runs of a backfill that goes on stay, because its daemon counts them.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"{type(storage).__name__} is no event log in SQL, so its old runs cannot be told apart")
    before = now - timedelta(days=keep_days)
    old = list(_ended(instance, before))
    needed = _latest_runs(storage)
    unneeded = [run_id for run_id in old if run_id not in needed]
    for run_id in unneeded:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        if isinstance(storage, SqliteEventLogStorage):
            _remove_shard(storage, run_id)
    trimmed = 0
    for run_id in (run_id for run_id in old if run_id in needed):
        trimmed += _trim(storage, run_id, before)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    return Retained(len(unneeded), trimmed)


def _ended(instance: dg.DagsterInstance, before: datetime) -> Iterator[str]:
    """The runs that ended before a moment, without those of backfills that go on."""
    going_on = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]
    backfills = {found.backfill_id for found in instance.get_backfills(BulkActionsFilter(statuses=going_on))}
    chosen = dg.RunsFilter(statuses=list(FINISHED_STATUSES), created_before=before)
    cursor: str | None = None
    while page := instance.get_run_records(chosen, limit=RUNS_PER_PAGE, cursor=cursor):
        for record in page:
            # A run that was cancelled before it began has no end.
            ended = record.end_time if record.end_time is not None else record.update_timestamp.timestamp()
            if ended < before.timestamp() and record.dagster_run.tags.get(BACKFILL_ID_TAG) not in backfills:
                yield record.dagster_run.run_id
        cursor = page[-1].dagster_run.run_id


def _latest_runs(storage: SqlEventLogStorage) -> set[str]:
    """The runs that made the latest materialisation, or observation, of each partition and unpartitioned asset."""
    newest = (
        sa.select(sa.func.max(_events.id))
        .where(_events.dagster_event_type.in_(_LATEST), _events.asset_key.is_not(None))
        .group_by(_events.asset_key, _events.partition, _events.dagster_event_type)
    )
    with storage.index_connection() as connection:
        return set(connection.execute(sa.select(_events.run_id).where(_events.id.in_(newest)).distinct()).scalars())


def _trim(storage: SqlEventLogStorage, run_id: str, before: datetime) -> bool:
    """Remove the log of a run; whether there was any."""
    shard = Path(storage.path_for_shard(run_id)) if isinstance(storage, SqliteEventLogStorage) else None
    # A file that was written since was trimmed by then; opening thousands of them every day would take long.
    if shard is not None and (not shard.exists() or shard.stat().st_mtime >= before.timestamp()):
        return False
    with storage.run_connection(run_id) as connection:
        log = SqlEventLogStorageTable.delete().where(_events.run_id == run_id, _IS_LOG)
        removed = connection.execute(log).rowcount
    if shard is not None:
        # SQLite gives nothing back to the disk until it is told to.
        with closing(sqlite3.connect(shard, timeout=SQLITE_BUSY_TIMEOUT_SECONDS, isolation_level=None)) as file:
            file.execute("VACUUM")
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return bool(removed)


def _remove_shard(storage: SqliteEventLogStorage, run_id: str) -> None:
    """Remove the file that Dagster leaves behind empty, one per run."""
    shard = Path(storage.path_for_shard(run_id))
    for ending in ("", "-wal", "-shm"):
        shard.with_name(shard.name + ending).unlink(missing_ok=True)

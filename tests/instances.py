"""Dagster's storage in memory: made once, emptied between tests.

Belongs here: instances for tests, and what makes them cheap. Does not belong here: what runs on them.

Making one costs as much as a run or two, and what SQLAlchemy compiles for one is of no use to the next.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import dagster as dg
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs import InMemoryRunStorage
from dagster._core.storage.runs.schema import RunStorageSqlMetadata

_idle: list[dg.DagsterInstance] = []


@contextmanager
def fresh_instance() -> Iterator[dg.DagsterInstance]:
    """An instance that knows nothing yet; several may be open at a time."""
    found = _idle.pop() if _idle else dg.DagsterInstance.ephemeral()
    yield found
    # One whose test failed may be in the middle of anything.
    _empty(found)
    _idle.append(found)


def _empty(instance: dg.DagsterInstance) -> None:
    events: Any = instance.event_log_storage
    runs: Any = instance.run_storage
    for storage, metadata in ((events, SqlEventLogStorageMetadata), (runs, RunStorageSqlMetadata)):
        with storage._held_conn.begin():
            for table in reversed(metadata.sorted_tables):
                storage._held_conn.execute(table.delete())
    events._storage_id = 0
    events._handlers.clear()


def _held_open(anew: Callable[[Any], AbstractContextManager[sa.Connection]]) -> Callable[[Any], Any]:
    """How a database in memory gives its connection: the main thread has one that stays open."""

    @contextmanager
    def connect(storage: Any) -> Iterator[sa.Connection]:
        if threading.current_thread() is not threading.main_thread():
            with anew(storage) as connection:
                yield connection
            return
        with getattr(storage, "_db_lock", nullcontext()), storage._held_conn.begin():
            yield storage._held_conn

    return connect


_read_migrations = ScriptDirectory.from_config


@cache
def _migrations(place: str) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", place)
    return _read_migrations(config)


# Each new database of Dagster, of which every instance and every run has some, reads all migrations as modules anew.
ScriptDirectory.from_config = lambda config: _migrations(str(config.get_main_option("script_location")))
# What a run's result tells, and what nobody looks up afterwards: two fifths of all events.
_UNREAD = {"LOADED_INPUT", "STEP_INPUT", "STEP_OUTPUT", "HANDLED_OUTPUT", "LOGS_CAPTURED"}
_store_event = InMemoryEventLogStorage.store_event


def _store_what_is_read(storage: InMemoryEventLogStorage, event: Any) -> None:
    if not event.is_dagster_event or event.dagster_event_type.value not in _UNREAD:
        _store_event(storage, event)


InMemoryEventLogStorage.store_event = _store_what_is_read  # type: ignore[method-assign]
# Dagster opens its databases in memory anew for each statement, which is a tenth of a run; they hold one open anyway.
InMemoryEventLogStorage._connect = _held_open(InMemoryEventLogStorage._connect)  # type: ignore[method-assign]
InMemoryRunStorage.connect = _held_open(InMemoryRunStorage.connect)  # type: ignore[method-assign]
# It asks the database before each use of a table; all are there from the beginning.
InMemoryEventLogStorage.has_table = lambda storage, table_name: True  # type: ignore[method-assign]

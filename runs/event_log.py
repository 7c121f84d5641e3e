"""Dagster's event log on SQLite, with its databases left open and written without waiting for the disk.

Belongs here: that one change to how Dagster connects. Does not belong here: what is logged, and other storage (dagster
on Postgres needs none of this).

Dagster 1.13 makes an engine and a connection for each event and closes them after it. SQLite then writes its journal
back with each, and SQLAlchemy compiles every statement anew: 12 ms an event, half of a run over the sample. It asks in
the same way, before each use of a table that an older version may lack, whether it is there, and makes the tables of
each run's database one by one. Files and tables stay Dagster's own, so either class reads what the other wrote. Remove
this when Dagster keeps its connections itself.

Nor is the disk waited for at each event (5 ms where it is slow). A process that dies loses nothing by that; a machine
that loses its power may forget the last events, and partitions whose rows are there count as not made until they are
made again, for nothing. The books of money wait (`magpie/control.py`).
"""

import os
import sqlite3
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

from magpie.errors import UserError
from magpie.sources.whole_file import write_whole

# Every run has a database of its own; a daemon reads hundreds, of which few at a time.
OPEN_DATABASES = 8


def settings_of(home: Path) -> str:
    """The lines of dagster.yaml that choose it for a Dagster home, where Dagster's own would be."""
    chosen = {
        "module": __name__,
        "class": OpenSqliteEventLogStorage.__name__,
        "config": {"base_dir": str(home.absolute() / "history" / "runs")},
    }
    return yaml.safe_dump({"event_log_storage": chosen}, sort_keys=False, allow_unicode=True)


def _do_not_wait(connection: sqlite3.Connection, _: object) -> None:
    """With the write-ahead log that Dagster chooses, the file is whole after whatever happens."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _put(content: bytes, place: Path) -> bool:
    """Write a whole file; False: one is there by now, or this file system knows no hard links."""
    # Under another name first: nobody sees half of it, and whoever was earlier stays.
    draft = place.with_suffix(f".{uuid.uuid4().hex}")
    try:
        os.link(write_whole(draft, content), place)
    except (OSError, UserError):
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


class OpenSqliteEventLogStorage(SqliteEventLogStorage):
    """As its base, with the databases used last left open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()
        self._there: set[str] = set()
        self._blank: bytes | None = None
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "OpenSqliteEventLogStorage":
        return cls(config_value["base_dir"], inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        # One at a time, as in the base: so one connection a database is enough, whichever thread asks.
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._make(shard, engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> sa.Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = sa.create_engine(
                self.conn_string_for_shard(shard),
                # One stays open; making the tables takes a second for a moment.
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
            sa.event.listen(engine, "connect", _do_not_wait)
        self._engines[shard] = engine
        while len(self._engines) > OPEN_DATABASES:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def _make(self, shard: str, engine: sa.Engine) -> None:
        """Make a database unless it is there; each but the first is a copy, which spares a tenth of a second."""
        place = Path(self.path_for_shard(shard))
        fresh = not place.exists()
        if fresh and self._blank is not None and _put(self._blank, place):
            return
        self._initdb(engine)
        if fresh and self._blank is None:
            with engine.connect() as connection:
                # Another process may have made it meanwhile, and written to it.
                if connection.execute(sa.select(SqlEventLogStorageTable.c.id).limit(1)).first() is None:
                    held: Any = connection.connection.driver_connection
                    self._blank = held.serialize()

    def has_table(self, table_name: str) -> bool:
        """As its base; what is there once stays, what is not may come with an upgrade."""
        if table_name not in self._there and super().has_table(table_name):
            self._there.add(table_name)
        return table_name in self._there

    def wipe(self) -> None:
        """Close before the files go."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close what is open."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()

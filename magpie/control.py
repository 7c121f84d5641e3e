"""The control database: what must not live in a partitioned table.

Belongs here: append-only events (deletions) and, for sensors, how many rows of which partition are pending.
Does not belong here: rows that an asset makes (`magpie/lake.py`) and the orchestrator's own storage.

SQLite by default, Postgres by URL, one schema. One insert is one transaction. Whoever opens a database of an older
version first brings it up to date (`magpie/migrations`).
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

from magpie import migrations
from magpie.errors import Unavailable, UserError

metadata = sa.MetaData()

deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("fullname", sa.String(64), nullable=False, index=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("fullname", "kind"),
)

pending = sa.Table(
    "pending_partitions",
    metadata,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("partition_key", sa.String(200), primary_key=True),
    sa.Column("reason", sa.String(64), primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("not_before", sa.DateTime(timezone=True)),
)

# A writer waits this long for another's transaction; a transaction here takes milliseconds.
SQLITE_BUSY_SECONDS = 30
# The pause between two tries where SQLite itself does not wait.
SQLITE_RETRY_SECONDS = 0.01
# One statement holds this many rows: SQLite allows 32766 parameters, and a statement's text is built in memory.
ROWS_PER_STATEMENT = 500
# Of concurrent first openers one creates a table and the others fail on it; their next try finds it there.
CREATE_ATTEMPTS = 10
# The number of Postgres's advisory lock while tables change: any but that of the books ("tables" as ASCII).
UPGRADE_LOCK = sa.text(f"SELECT pg_advisory_xact_lock({0x7461626C6573})")
# What Postgres says to a role that may not do it.
INSUFFICIENT_PRIVILEGE = "42501"
# Execution option of a connection: how SQLite begins its transaction.
SQLITE_BEGIN = "magpie_sqlite_begin"


@dataclass(frozen=True)
class Pending:
    """Rows of one partition that wait, with the earliest time any of them may be tried again."""

    table: str
    partition: str
    reason: str
    rows: int
    not_before: datetime | None


class Control:
    """Opens on first use, so that constructing one is free of I/O.

    Args:
        url: SQLAlchemy URL. `postgresql://` is read as psycopg2, the driver that dagster-postgres brings.
    """

    def __init__(self, url: str, *, busy_seconds: float = SQLITE_BUSY_SECONDS) -> None:
        self._url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
        self._busy_seconds = busy_seconds
        self._engine: sa.Engine | None = None
        self._made: set[int] = {id(metadata)}

    @property
    def file(self) -> Path | None:
        """The SQLite file, None on a server."""
        try:
            parsed = make_url(self._url)
        except sa.exc.ArgumentError:
            return None
        return _sqlite_file(parsed) if parsed.drivername.startswith("sqlite") else None

    def engine(self) -> sa.Engine:
        """Return the open database, its tables made and up to date.

        Raises:
            UserError: it cannot be reached, opened or written, is of a newer version, or the URL names none.
        """
        if self._engine is None:
            self._engine = self._open()
        return self._engine

    def _open(self) -> sa.Engine:
        engine = self.bare()
        try:
            with as_user_error(engine):
                _bring_up_to_date(engine)
        except migrations.NewerDatabase as error:
            engine.dispose()
            raise UserError(
                f"cannot use the control database {_shown(engine)}: {error}; install the version that upgraded it"
            ) from None
        except BaseException:
            engine.dispose()
            raise
        return engine

    def bare(self) -> sa.Engine:
        """Return the database as it is, no table made or changed, for copying it whole; the caller disposes of it.

        Raises:
            UserError: the URL names none, or its directory cannot be made.
        """
        try:
            parsed = make_url(self._url)
            if parsed.drivername.startswith("sqlite"):
                _sqlite_file(parsed).parent.mkdir(parents=True, exist_ok=True)
                engine = sa.create_engine(parsed, connect_args={"timeout": self._busy_seconds})
                sa.event.listen(engine, "connect", partial(_sqlite_pragmas, self._busy_seconds))
                sa.event.listen(engine, "begin", _sqlite_begin)
            else:
                engine = sa.create_engine(parsed, pool_pre_ping=True)
        except OSError as error:
            raise UserError(f"cannot open the control database: {error}") from None
        except (sa.exc.ArgumentError, ValueError, ImportError):
            # The text of these errors may quote the URL, password and all.
            raise UserError(
                "the URL of the control database is none that can be used; write sqlite:///FILE or "
                "postgresql://USER:PASSWORD@HOST/DATABASE"
            ) from None
        return engine

    def ensure(self, tables: sa.MetaData) -> sa.Engine:
        """Return the open database with these tables made too."""
        engine = self.engine()
        if id(tables) not in self._made:
            with as_user_error(engine):
                _create_tables(engine, tables)
            self._made.add(id(tables))
        return engine

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        engine = self.engine()
        with as_user_error(engine), engine.begin() as connection:
            yield connection

    def record_deletions(self, events: Iterable[tuple[str, str]], at: datetime) -> int:
        """Append (fullname, kind post|author) events not yet known; return how many were new."""
        given = [{"fullname": name, "kind": kind, "detected_at": at} for name, kind in sorted(set(events))]
        fresh = 0
        with self._transaction() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            for start in range(0, len(given), ROWS_PER_STATEMENT):
                insert = dialect.insert(deletions).values(given[start : start + ROWS_PER_STATEMENT])
                fresh += connection.execute(insert.on_conflict_do_nothing()).rowcount
        return fresh

    def deleted(self) -> pl.DataFrame:
        """Return all deletions: fullname, kind, detected_at (UTC)."""
        with self._transaction() as connection:
            rows = connection.execute(
                sa.select(deletions.c.fullname, deletions.c.kind, deletions.c.detected_at).order_by(deletions.c.id)
            ).all()
        return pl.DataFrame(
            [(row.fullname, row.kind, _as_utc(row.detected_at)) for row in rows],
            schema={"fullname": pl.String, "kind": pl.String, "detected_at": pl.Datetime("us", "UTC")},
            orient="row",
        )

    def record_pending(self, table: str, partitions: Sequence[str], found: Sequence[Pending]) -> None:
        """Replace what is known of `partitions` of `table` by `found`, in one transaction."""
        with self._transaction() as connection:
            if connection.dialect.name == "postgresql":
                # Two writers of one partition would both delete and then collide on the key; SQLite has one writer.
                connection.execute(sa.text(f"LOCK TABLE {pending.name} IN SHARE ROW EXCLUSIVE MODE"))
            for start in range(0, len(partitions), ROWS_PER_STATEMENT):
                connection.execute(
                    pending.delete().where(
                        pending.c.table_name == table,
                        pending.c.partition_key.in_(list(partitions[start : start + ROWS_PER_STATEMENT])),
                    )
                )
            if found:
                connection.execute(
                    pending.insert(),
                    [
                        {
                            "table_name": item.table,
                            "partition_key": item.partition,
                            "reason": item.reason,
                            "rows": item.rows,
                            "not_before": item.not_before,
                        }
                        for item in found
                    ],
                )

    def pending(self) -> list[Pending]:
        """Return what waits, by table, partition and reason."""
        order = (pending.c.table_name, pending.c.partition_key, pending.c.reason)
        with self._transaction() as connection:
            rows = connection.execute(sa.select(pending).order_by(*order)).all()
        return [
            Pending(row.table_name, row.partition_key, row.reason, row.rows, row.not_before and _as_utc(row.not_before))
            for row in rows
        ]

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _sqlite_file(url: sa.URL) -> Path:
    """The file of an URL, whether it names a path or is a URI of SQLite's own (`file:...?uri=true`)."""
    return Path((url.database or "").removeprefix("file:"))


def _bring_up_to_date(engine: sa.Engine) -> None:
    """Make or change the tables: one process does, the others wait and find it done."""
    with engine.connect() as connection, connection.begin():
        if migrations.is_current(connection, metadata):
            return
    with engine.connect().execution_options(**{SQLITE_BEGIN: "IMMEDIATE"}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(UPGRADE_LOCK)
        migrations.upgrade(connection, metadata)


def _create_tables(engine: sa.Engine, tables: sa.MetaData) -> None:
    there = set(sa.inspect(engine).get_table_names())
    if there >= set(tables.tables):
        return  # a database that may only be read is of use too
    for attempt in range(1, CREATE_ATTEMPTS + 1):
        try:
            with engine.connect().execution_options(**{SQLITE_BEGIN: "IMMEDIATE"}) as connection, connection.begin():
                tables.create_all(connection)
            return
        except (sa.exc.OperationalError, sa.exc.ProgrammingError, sa.exc.IntegrityError) as error:
            if attempt == CREATE_ATTEMPTS or "already exists" not in str(error.orig):
                raise


@contextmanager
def as_user_error(engine: sa.Engine) -> Iterator[None]:
    """Away, locked, read-only, full or no database at all: one line, without the password."""
    try:
        yield
    except sa.exc.DatabaseError as error:
        mistaken = isinstance(error, sa.exc.IntegrityError | sa.exc.ProgrammingError | sa.exc.DataError)
        if mistaken and getattr(error.orig, "pgcode", None) != INSUFFICIENT_PRIVILEGE:
            raise
        raise Unavailable(f"cannot use the control database {_shown(engine)}: {error.orig}") from None


def _shown(engine: sa.Engine) -> str:
    """Where it is, without the password, which a query may hold too."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


def _sqlite_begin(connection: sa.Connection) -> None:
    """Begin as the caller asked: a transaction that reads and then writes must take the write lock at once."""
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(SQLITE_BEGIN, 'DEFERRED')}")


def _sqlite_pragmas(busy_seconds: float, connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing; _sqlite_begin does
    with closing(connection.cursor()) as cursor:
        _write_ahead(cursor, busy_seconds)
        cursor.execute("PRAGMA synchronous=FULL")


def _write_ahead(cursor: sqlite3.Cursor, busy_seconds: float) -> None:
    """Switch the file to WAL; while others do so SQLite says busy at once, without the wait it keeps elsewhere."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(SQLITE_RETRY_SECONDS)
        else:
            return


def _as_utc(moment: datetime) -> datetime:
    """SQLite returns naive datetimes; what was written was UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

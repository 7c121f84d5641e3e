"""A consistent copy of the control database, and putting it back.

Belongs here: SQLite as one file by its own backup, Postgres as one Parquet file a table out of one transaction. Does
not belong here: where copies lie and whether they are whole (`backup.py`).

What is copied is the database as it is, of whatever version; whoever opens it after it was put back upgrades it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from magpie import migrations
from magpie.control import ROWS_PER_STATEMENT, SQLITE_BUSY_SECONDS, Control, as_user_error
from magpie.control import metadata as control_tables
from magpie.errors import UserError

Kind = Literal["sqlite", "postgres"]
SQLITE_FILE = "control.sqlite"
# What Parquet holds as it is; everything else (JSON, decimals) goes as the text that the database itself makes of it.
_ARROW: tuple[tuple[type[sa.types.TypeEngine[Any]], pa.DataType], ...] = (
    (sa.Boolean, pa.bool_()),
    (sa.Integer, pa.int64()),
    (sa.Float, pa.float64()),
    (sa.Date, pa.date32()),
    (sa.LargeBinary, pa.binary()),
    (sa.String, pa.string()),
)


@dataclass(frozen=True)
class ControlCopy:
    """What was copied.

    Attributes:
        kind: how it was: a file of SQLite, or tables of Postgres.
        version: of the tables, as `magpie/migrations` counts.
        tables: rows by table.
        statements: on Postgres, what makes the tables, in order.
    """

    kind: Kind
    version: int
    tables: dict[str, int]
    statements: tuple[str, ...] = ()


def kind_of(control: Control) -> Kind:
    """What a control database is on; copies of one kind are of no use to the other."""
    return "postgres" if control.file is None else "sqlite"


def save(control: Control, folder: Path) -> ControlCopy | None:
    """Copy the database into `folder`, which is there; None if there is no database yet. Nobody has to wait.

    Raises:
        UserError: it cannot be read, or the copy cannot be written.
    """
    file = control.file
    if file is not None:
        return _save_sqlite(file, folder / SQLITE_FILE) if file.is_file() else None
    engine = control.bare()
    try:
        snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with as_user_error(engine), engine.connect().execution_options(**snapshot) as connection, connection.begin():
            return _save_tables(connection, folder)
    finally:
        engine.dispose()


def is_empty(control: Control) -> bool:
    """Whether there is no database, or none of anybody's tables in it.

    Raises:
        UserError: it cannot be reached.
    """
    file = control.file
    if file is not None:
        return not file.exists()
    engine = control.bare()
    try:
        with as_user_error(engine):
            return not sa.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def load(control: Control, folder: Path, copied: ControlCopy) -> dict[str, int]:
    """Put a copy of its kind back where no database is; return the rows of each table as they are there now.

    Raises:
        UserError: it cannot be written.
    """
    file = control.file
    if file is not None:
        return _save_sqlite(folder / SQLITE_FILE, file, wal=True).tables
    engine = control.bare()
    try:
        with as_user_error(engine), engine.begin() as connection:
            return _load_tables(connection, folder, copied)
    finally:
        engine.dispose()


def _save_sqlite(file: Path, target: Path, *, wal: bool = False) -> ControlCopy:
    """Copy a database that others may be writing: a snapshot by SQLite's backup, checked, as one file."""
    with _sqlite_told(file):
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            closing(sqlite3.connect(file, timeout=SQLITE_BUSY_SECONDS)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            # A copy in WAL mode is not whole without the files beside it.
            copy.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
            found = copy.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(f"integrity check: {found}")
            query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
            names = [name for (name,) in copy.execute(query)]
            rows = {name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(target)))
    with engine.connect() as connection:
        version = migrations.version_of(connection, control_tables) or migrations.FIRST
    engine.dispose()
    return ControlCopy("sqlite", version, rows)


@contextmanager
def _sqlite_told(file: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"cannot copy the control database {file}: {error}") from None


def _save_tables(connection: sa.Connection, folder: Path) -> ControlCopy:
    found = sa.MetaData()
    found.reflect(connection)
    version = migrations.version_of(connection, control_tables) or migrations.FIRST
    tables = found.sorted_tables
    rows = {table.name: _save_table(connection, table, folder / f"{table.name}.parquet") for table in tables}
    made = [str(CreateTable(table).compile(dialect=connection.dialect)).strip() for table in tables]
    indexes = sorted((index for table in tables for index in table.indexes), key=lambda index: str(index.name))
    made += [str(CreateIndex(index).compile(dialect=connection.dialect)) for index in indexes]
    return ControlCopy("postgres", version, rows, tuple(made))


def _save_table(connection: sa.Connection, table: sa.Table, target: Path) -> int:
    schema = pa.schema([(column.name, _arrow(column.type) or pa.string()) for column in table.columns])
    query = sa.select(*(c if _arrow(c.type) else sa.cast(c, sa.Text).label(c.name) for c in table.columns))
    rows = 0
    streamed = connection.execution_options(stream_results=True, yield_per=ROWS_PER_STATEMENT).execute(query)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for block in streamed.mappings().partitions():
            writer.write_batch(pa.RecordBatch.from_pylist([dict(row) for row in block], schema))
            rows += len(block)
    return rows


def _load_tables(connection: sa.Connection, folder: Path, copied: ControlCopy) -> dict[str, int]:
    for statement in copied.statements:
        connection.exec_driver_sql(statement)
    found = sa.MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        if table.name in copied.tables:
            _load_table(connection, table, folder / f"{table.name}.parquet")
    count = sa.func.count()
    return {
        name: connection.execute(sa.select(count).select_from(found.tables[name])).scalar_one()
        for name in copied.tables
    }


def _load_table(connection: sa.Connection, table: sa.Table, source: Path) -> None:
    # A parameter may not be called as a column is.
    given = {column: sa.bindparam(f"v_{column.name}", type_=_bound(column.type)) for column in table.columns}
    values = {c.name: value if _arrow(c.type) else sa.cast(value, c.type) for c, value in given.items()}
    insert = table.insert().values(values)
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(ROWS_PER_STATEMENT):
            rows = [{f"v_{name}": value for name, value in row.items()} for row in batch.to_pylist()]
            connection.execute(insert, rows)
    counted = table.autoincrement_column
    if counted is not None:
        # The next id follows the highest; of a table without rows it is the first.
        name = sa.func.pg_get_serial_sequence(f'"{table.name}"', counted.name)
        highest = sa.select(sa.func.max(counted)).scalar_subquery()
        connection.execute(sa.select(sa.func.setval(name, sa.func.coalesce(highest, 1), highest.is_not(None))))


def _bound(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    return kind if _arrow(kind) else sa.Text()


def _arrow(kind: sa.types.TypeEngine[Any]) -> pa.DataType | None:
    """How Parquet holds a column as it is, None if it cannot."""
    if isinstance(kind, sa.DateTime):
        return pa.timestamp("us", "UTC" if kind.timezone else None)
    return next((arrow for sql, arrow in _ARROW if isinstance(kind, sql)), None)

"""The lake as DuckDB views: in memory for a query, in a file for the analyst.

Belongs here: views over a table's snapshot, macros beside them, and replacing the warehouse file. Does not belong
here: marts (the dbt project), writing tables (`magpie/lake.py`), and what a macro says (beside each product's rules).

A view names the files of one snapshot, so a session sees one state of every table however long it stays open; the
2.0 wheel has no Delta extension and needs none. It has no httpfs either: a session of ours reads the lake, local or
in a bucket, through `LakeFiles`, which also is what keeps it from writing; a published file cannot, so there the rows
of a lake in a bucket are copied in.
"""

import os
import tempfile
import threading
import uuid
import weakref
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import duckdb
import fsspec
import polars as pl
import pyarrow.fs
from deltalake.fs import DeltaStorageHandler

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.tables import Table

# What older command-line clients can open.
STORAGE_VERSION = "v1.2.0"
SCHEMA = "lake"
PROTOCOL = "lake"

_SQL_TYPES: dict[pl.DataType, str] = {
    pl.String(): "VARCHAR",
    pl.Int8(): "TINYINT",
    pl.Int16(): "SMALLINT",
    pl.Int32(): "INTEGER",
    pl.Int64(): "BIGINT",
    pl.Float32(): "FLOAT",
    pl.Float64(): "DOUBLE",
    pl.Boolean(): "BOOLEAN",
    pl.Date(): "DATE",
    pl.Datetime("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}


@dataclass(frozen=True)
class Macro:
    """A table function of the lake's SQL.

    Attributes:
        name: unqualified; it is made in schema `lake`.
        sql: what follows the name: parameters, AS TABLE, and a query that names its tables with their schema.
        description: one sentence for people who meet it in SQL.
        reads: names of the tables it needs; where one of them is missing, so is the macro.
    """

    name: str
    sql: str
    description: str
    reads: tuple[str, ...]


def sql_type(dtype: pl.DataType) -> str:
    """Return DuckDB's name of a stored type."""
    if isinstance(dtype, pl.List):
        return f"{sql_type(_inner(dtype))}[]"
    if isinstance(dtype, pl.Struct):
        fields = ", ".join(f'"{field.name}" {sql_type(_instance(field.dtype))}' for field in dtype.fields)
        return f"STRUCT({fields})"
    if isinstance(dtype, pl.Decimal):
        return f"DECIMAL({dtype.precision or 38}, {dtype.scale})"
    return _SQL_TYPES[dtype]


class LakeFiles(fsspec.AbstractFileSystem):
    """The files of the snapshots that views name, as `lake://table/...`: for reading, and no others.

    DuckDB can be confined to directories, but not to reading there; this can.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self, lake: Lake) -> None:
        super().__init__()
        self._lake = lake
        self._known: dict[str, tuple[Table, str, int]] = {}

    def add(self, table: Table) -> list[str]:
        """Admit the files of the newest snapshot; return their addresses."""
        found = {
            f"{PROTOCOL}://{table.name}/{path}": (table, path, size)
            for path, size in self._lake.data_files(table).iter_rows()
        }
        self._known.update(found)
        return list(found)

    def open(self, path: str, mode: str = "rb", **_options: Any) -> "PositionedReader":
        """Open a file of the lake.

        Raises:
            PermissionError: it is none, or is to be written.
        """
        if mode != "rb":
            raise PermissionError(f"{path}: the lake is read-only here")
        table, inside, _ = self._find(path)
        if self._lake.is_local:
            return PositionedReader(_LocalBytes(Path(self._lake.uri(table)) / inside))
        handler = DeltaStorageHandler(self._lake.uri(table), self._lake.options)
        return PositionedReader(pyarrow.fs.PyFileSystem(handler).open_input_file(inside))

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the path itself: views name files, not patterns."""
        return [path] if path in self._known else []

    def exists(self, path: str, **_: Any) -> bool:
        return path in self._known

    def isfile(self, path: str) -> bool:
        return path in self._known

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "type": "file", "size": self._find(path)[2]}

    def modified(self, path: str) -> datetime:
        """Return one time for all: a file of the lake is never changed."""
        self._find(path)
        return datetime.fromtimestamp(0, UTC)

    def _find(self, path: str) -> tuple[Table, str, int]:
        if path not in self._known:
            raise PermissionError(f"{path}: no file of the lake's views")
        return self._known[path]


class _Bytes(Protocol):
    """What can be read at a position by several threads at once."""

    def read_at(self, nbytes: int, offset: int) -> bytes: ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class _LocalBytes:
    """Closes itself when dropped, as DuckDB drops handles without closing them."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self._closing = weakref.finalize(self, os.close, self._descriptor)

    def read_at(self, nbytes: int, offset: int) -> bytes:
        return os.pread(self._descriptor, nbytes, offset)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        self._closing()


class PositionedReader:
    """A file object with one position per thread: DuckDB's threads seek and read on the same handle."""

    def __init__(self, source: _Bytes) -> None:
        self._source, self._here = source, threading.local()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._source.size()}[whence]
        self._here.position = start + offset
        return self.tell()

    def tell(self) -> int:
        return int(getattr(self._here, "position", 0))

    def read(self, size: int = -1) -> bytes:
        found = self._source.read_at(self._source.size() - self.tell() if size < 0 else size, self.tell())
        self._here.position = self.tell() + len(found)
        return found

    def close(self) -> None:
        self._source.close()


def view_sql(table: Table, files: Iterable[str]) -> str:
    """Return the SELECT of a table's view over `files`.

    The typed empty branch gives the columns that no file has yet, and all of them when there is no file.
    """
    columns = {name: sql_type(_instance(dtype)) for name, dtype in table.dtypes.items()}
    typed = "SELECT " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items()) + " WHERE false"
    listed = ", ".join(f"'{_quoted(path)}'" for path in files)
    if not listed:
        return typed
    hive = ", ".join(f"'{name}': {columns[name]}" for name in table.partition_columns)
    options = f"hive_partitioning = true, hive_types = {{{hive}}}" if hive else "hive_partitioning = false"
    chosen = ", ".join(f'"{name}"' for name in columns)
    source = f"read_parquet([{listed}], union_by_name = true, {options})"
    return f"SELECT {chosen} FROM ({typed} UNION ALL BY NAME SELECT * FROM {source})"


def open_in_memory(
    lake: Lake, tables: Collection[Table], warehouse: Path | None = None, macros: Iterable[Macro] = ()
) -> duckdb.DuckDBPyConnection:
    """Return a session with views and macros on the search path; it can neither change the lake nor reach other files.

    With a warehouse file its marts are there as well, read-only.
    """
    connection = duckdb.connect(config={"storage_compatibility_version": STORAGE_VERSION})
    files = LakeFiles(lake)
    connection.register_filesystem(files)
    connection.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in tables:
        _create(connection, "VIEW", table, view_sql(table, files.add(table)))
    _create_macros(connection, tables, macros)
    path = f"{SCHEMA},main"
    if warehouse is not None and warehouse.exists():
        connection.execute(f"ATTACH '{_quoted(str(warehouse))}' AS warehouse (READ_ONLY)")
        path = f"{SCHEMA},warehouse.marts,main" if _has_marts(connection) else path
    connection.execute(f"SET search_path = '{path}'")
    _confine(connection)
    return connection


def publish(lake: Lake, tables: Collection[Table], build: Path, macros: Iterable[Macro] = ()) -> None:
    """Create schema `lake` in the file `build`, keeping what else is there: views, or tables for a lake in a bucket.

    Macros stand beside them.

    Raises:
        UserError: another process has the file open for writing.
    """
    build.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(str(build), config={"storage_compatibility_version": STORAGE_VERSION})
    except duckdb.IOException as error:
        raise UserError(
            f"cannot open {build}: {str(error).splitlines()[0]}; close the other build and try again"
        ) from None
    try:
        files = LakeFiles(lake)
        connection.register_filesystem(files)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        for table in tables:
            if lake.is_local:
                _create(connection, "VIEW", table, view_sql(table, lake.files(table)))
            else:
                _create(connection, "TABLE", table, view_sql(table, files.add(table)))
        _create_macros(connection, tables, macros)
    finally:
        connection.close()


def _create(connection: duckdb.DuckDBPyConnection, kind: str, table: Table, query: str) -> None:
    """Create or replace the view or table, commented; what has the name may be of the other kind."""
    name = f'{SCHEMA}."{table.name}"'
    found = connection.execute(
        "SELECT table_type FROM information_schema.tables "
        "WHERE table_catalog = current_database() AND table_schema = ? AND table_name = ?",
        [SCHEMA, table.name],
    ).fetchone()
    if found is not None and (found[0] == "VIEW") != (kind == "VIEW"):
        connection.execute(f"DROP {'VIEW' if found[0] == 'VIEW' else 'TABLE'} {name}")
    connection.execute(f"CREATE OR REPLACE {kind} {name} AS {query}")
    connection.execute(f"COMMENT ON {kind} {name} IS '{_quoted(table.description)}'")


def _create_macros(connection: duckdb.DuckDBPyConnection, tables: Iterable[Table], macros: Iterable[Macro]) -> None:
    """Create or replace the macros whose tables are there: DuckDB refuses one that names a table it does not find."""
    known = {table.name for table in tables}
    for macro in macros:
        if known.issuperset(macro.reads):
            name = f'{SCHEMA}."{macro.name}"'
            connection.execute(f"CREATE OR REPLACE MACRO {name}{macro.sql}")
            connection.execute(f"COMMENT ON MACRO TABLE {name} IS '{_quoted(macro.description)}'")


def _confine(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave the session nothing but `lake://` and what is attached, for good."""
    # Queries larger than memory spill there; DuckDB's default would be a directory in the current one.
    spill = Path(tempfile.gettempdir()) / f"magpie-sql-{uuid.uuid4().hex}"
    connection.execute(f"SET temp_directory = '{_quoted(str(spill))}'")
    connection.execute(f"SET allowed_directories = ['{PROTOCOL}://']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")  # names in a query are no Python variables
    connection.execute("SET lock_configuration = true")


def _has_marts(connection: duckdb.DuckDBPyConnection) -> bool:
    query = "SELECT count(*) FROM duckdb_schemas() WHERE database_name = 'warehouse' AND schema_name = 'marts'"
    return bool(connection.sql(query).pl().item())


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _inner(dtype: pl.List) -> pl.DataType:
    return _instance(dtype.inner)


def _instance(dtype: object) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[return-value]

"""The lake as DuckDB views: in memory for a query, in a file for the analyst.

Belongs here: views over a table's snapshot and replacing the warehouse file. Does not belong here: marts (the dbt
project) and writing tables (`magpie/lake.py`).

A view names the files of one snapshot, so a session sees one state of every table however long it stays open; the
2.0 wheel has no Delta extension and needs none.
"""

from collections.abc import Iterable
from pathlib import Path

import duckdb
import polars as pl

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.tables import Table

# What older command-line clients can open.
STORAGE_VERSION = "v1.2.0"
SCHEMA = "lake"

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


def view_sql(lake: Lake, table: Table) -> str:
    """Return the SELECT of a table's view: its files, or no rows of the right types."""
    columns = {name: sql_type(_instance(dtype)) for name, dtype in table.dtypes.items()}
    files = lake.files(table)
    if not files:
        nothing = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items())
        return f"SELECT {nothing} WHERE false"
    listed = ", ".join("'" + _duckdb_path(uri).replace("'", "''") + "'" for uri in files)
    hive = ", ".join(f"'{name}': {columns[name]}" for name in table.partition_columns)
    options = f", hive_partitioning = true, hive_types = {{{hive}}}" if hive else ""
    source = f"read_parquet([{listed}], union_by_name = true{options})"
    stored = set(_stored_columns(lake, table)) | set(table.partition_columns)
    chosen = ", ".join(f'"{name}"' if name in stored else f'NULL::{kind} AS "{name}"' for name, kind in columns.items())
    return f"SELECT {chosen} FROM {source}"


def create_views(connection: duckdb.DuckDBPyConnection, lake: Lake, tables: Iterable[Table]) -> None:
    """Create schema `lake` with one commented view per table."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    for table in tables:
        name = f'{SCHEMA}."{table.name}"'
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {view_sql(lake, table)}")
        comment = table.description.replace("'", "''")
        connection.execute(f"COMMENT ON VIEW {name} IS '{comment}'")


def open_in_memory(lake: Lake, tables: Iterable[Table], warehouse: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Return a session with the views on the search path; nothing in it can write to the lake or to a file.

    With a warehouse file its marts are there as well, read-only.
    """
    connection = duckdb.connect(config={"storage_compatibility_version": STORAGE_VERSION})
    create_views(connection, lake, tables)
    path = f"{SCHEMA},main"
    if warehouse is not None and warehouse.exists():
        quoted = str(warehouse).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS warehouse (READ_ONLY)")
        path = f"{SCHEMA},warehouse.marts,main" if _has_marts(connection) else path
    connection.execute(f"SET search_path = '{path}'")
    return connection


def publish(lake: Lake, tables: Iterable[Table], build: Path) -> None:
    """Create the views in the file `build`, keeping what else is there.

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
        create_views(connection, lake, tables)
    finally:
        connection.close()


def _has_marts(connection: duckdb.DuckDBPyConnection) -> bool:
    query = "SELECT count(*) FROM duckdb_schemas() WHERE database_name = 'warehouse' AND schema_name = 'marts'"
    return bool(connection.sql(query).pl().item())


def _stored_columns(lake: Lake, table: Table) -> list[str]:
    """Columns that at least one file may hold: those of the stored table's schema."""
    stored = lake.open(table)
    return [] if stored is None else [field.name for field in stored.schema().fields]


def _duckdb_path(uri: str) -> str:
    return uri.removeprefix("file://")


def _inner(dtype: pl.List) -> pl.DataType:
    return _instance(dtype.inner)


def _instance(dtype: object) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[return-value]

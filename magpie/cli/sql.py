"""`magpie sql`: one query over the lake, read-only.

Belongs here: the formats of the answer. Does not belong here: views (`magpie/warehouse.py`).
"""

import sys
from enum import StrEnum
from typing import Annotated

import duckdb
import polars as pl
import typer

from magpie.catalog import TABLES
from magpie.cli import options
from magpie.cli.output import out, plain, table
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.settings import load_settings
from magpie.warehouse import open_in_memory

# A terminal shows so many rows; csv and json are complete.
SHOWN_ROWS = 100
CELL_CHARS = 60


class Format(StrEnum):
    """How the answer is written."""

    table = "table"
    csv = "csv"
    json = "json"


def sql(
    query: Annotated[str, typer.Argument(help="DuckDB SQL; `SHOW ALL TABLES` lists what there is.")],
    format: Annotated[Format, typer.Option("--format", "-f", help="table, csv or json")] = Format.table,
    config: options.Config = None,
) -> None:
    """Ask the lake and the marts, read-only."""
    settings = load_settings(config)
    lake = Lake(settings.lake_root, settings.storage_options())
    connection = open_in_memory(lake, TABLES.values(), settings.warehouse)
    try:
        answer = connection.sql(query)
        frame = pl.DataFrame() if answer is None else answer.pl()
    except duckdb.Error as error:
        raise UserError(f"the query failed: {str(error).splitlines()[0]}") from None
    finally:
        connection.close()
    match format:
        case Format.csv:
            nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
            sys.stdout.write(frame.with_columns(pl.col(nested).map_elements(str, pl.String)).write_csv())
        case Format.json:
            sys.stdout.write(frame.write_ndjson())
        case Format.table:
            rows = [[plain(cell, CELL_CHARS) for cell in row] for row in frame.head(SHOWN_ROWS).iter_rows()]
            numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
            out.print(table(None, frame.columns, rows, numbers))
            more = f", the first {SHOWN_ROWS} shown; -f csv gives all" if frame.height > SHOWN_ROWS else ""
            out.print(f"[dim]{frame.height:,} rows{more}[/dim]")

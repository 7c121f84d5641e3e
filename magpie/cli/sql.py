"""`magpie sql`: one query over the lake, read-only.

Belongs here: the formats of the answer. Does not belong here: views (`magpie/warehouse.py`).
"""

import json
import sys
from enum import StrEnum
from typing import Annotated

import duckdb
import polars as pl
import typer

from magpie.catalog import MACROS, TABLES
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
    connection = open_in_memory(lake, TABLES.values(), settings.warehouse, MACROS)
    try:
        answer = connection.sql(query)
        frame = pl.DataFrame() if answer is None else answer.pl()
    except duckdb.Error as error:
        raise UserError(f"the query failed: {_told(error)}") from None
    finally:
        connection.close()
    match format:
        case Format.csv:
            sys.stdout.write(_flat(frame).write_csv())
        case Format.json:
            sys.stdout.write(frame.write_ndjson())
        case Format.table:
            rows = [[plain(cell, CELL_CHARS) for cell in row] for row in frame.head(SHOWN_ROWS).iter_rows()]
            numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
            out.print(table(None, frame.columns, rows, numbers))
            more = f", the first {SHOWN_ROWS} shown; -f csv gives all" if frame.height > SHOWN_ROWS else ""
            out.print(f"[dim]{frame.height:,} rows{more}[/dim]")


def _told(error: duckdb.Error) -> str:
    """The line that says what is wrong: the first, or the last where DuckDB passes a Python traceback on."""
    lines = str(error).strip().splitlines() or ["unknown error"]
    return lines[-1] if "Traceback" in lines[0] else lines[0]


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Write lists and structs as JSON, which a CSV cell can hold."""
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
    cells = {
        name: [None if cell is None else json.dumps(cell, default=str) for cell in frame[name].to_list()]
        for name in nested
    }
    return frame.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in cells.items())

"""The warehouse file: built beside the old one, then put in its place.

Belongs here: the lock, the lake's views in the build file, the replacement, what to show of a mart. Does not belong
here: dbt and Dagster (`assets.py`).
"""

import html
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from dbt_project.project import Workspace
from magpie.catalog import MACROS, TABLES
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.warehouse import publish

MARTS_SCHEMA = "marts"
PREVIEW_ROWS = 5
# A cell wider than this makes a table that nobody can read.
PREVIEW_CHARS = 60
# Beyond HTML's own, what Markdown would take for markup.
MARKDOWN_ENTITIES = {ord(sign): f"&#{ord(sign)};" for sign in "|`*_[]\\~"}


@dataclass(frozen=True)
class MartPreview:
    """Size of a mart and its first rows as a Markdown table."""

    rows: int
    markdown: str


@contextmanager
def warehouse_build(settings: Settings, *, keep_marts: bool) -> Iterator[Path]:
    """Yield the build file with the lake's views in it; leaving without an error makes it the warehouse.

    After an error the old warehouse stays. Sessions that have the old file open keep reading it. Every connection to
    the build file must be closed on leaving.

    Args:
        keep_marts: start from a copy of the warehouse, for a run that builds some marts only; otherwise from nothing,
            so that a mart that left the project leaves the file too.

    Raises:
        UserError: a session has unsaved changes in the warehouse, or another builder does not end.
    """
    workspace, warehouse = Workspace.of(settings), settings.warehouse
    with workspace.locked():
        _refuse_unsaved(warehouse)
        for leftover in (workspace.build, _log_of(workspace.build)):
            leftover.unlink(missing_ok=True)
        if keep_marts and warehouse.exists():
            shutil.copyfile(warehouse, workspace.build)
        publish(Lake(settings.lake_root, settings.storage_options()), TABLES.values(), workspace.build, MACROS)
        yield workspace.build
        with duckdb.connect(str(workspace.build)) as connection:  # a log left behind would not be renamed with the file
            connection.execute("CHECKPOINT")
        _refuse_unsaved(warehouse)
        workspace.build.replace(warehouse)


def previews(warehouse: Path, marts: Iterable[str]) -> dict[str, MartPreview]:
    """Return size and first rows of each mart."""
    found = {}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        for mart in marts:
            relation = connection.table(f'{MARTS_SCHEMA}."{mart}"')
            ((height,),) = relation.count("*").fetchall()
            found[mart] = MartPreview(height, markdown_table(relation.columns, relation.limit(PREVIEW_ROWS).fetchall()))
    return found


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table in which no cell can be markup or break the table."""
    head = [_cell(column) for column in columns]
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
    if len(text) > PREVIEW_CHARS:
        text = text[: PREVIEW_CHARS - 1] + "…"
    return html.escape(text).translate(MARKDOWN_ENTITIES)


def _log_of(database: Path) -> Path:
    return database.with_name(database.name + ".wal")


def _refuse_unsaved(warehouse: Path) -> None:
    """A write-ahead log beside the warehouse would be replayed into the new file, which it does not belong to."""
    if _log_of(warehouse).exists():
        raise UserError(
            f"{warehouse} has changes in {_log_of(warehouse).name} that are not saved yet; close the session that "
            "writes to it (or open and close the file once, if that session is gone) and build again"
        )

"""Append-only logs in the control database, in the columns of a declared table.

Belongs here: appending rows that are never edited, and reading them as a frame that the lake takes as it is. Does not
belong here: what a row means (the products), tables that change in place (`control.py`, `llm/schema.py`).

What people and live sources say must outlive the runs that read it, and may be said by several processes at once; so
it is kept beside the lake, and an asset copies it there for SQL.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dataframely as dy
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from magpie.control import ROWS_PER_STATEMENT, Control, as_user_error
from magpie.tables import Table
from magpie.utc import UtcDateTime

# Ids, names and the like; free text is bounded where it is taken in.
_TYPES: dict[type[dy.Column], sa.types.TypeEngine[Any] | type[sa.types.TypeEngine[Any]]] = {
    dy.String: sa.Text,
    dy.Int64: sa.BigInteger,
    dy.Float64: sa.Float,
    dy.Bool: sa.Boolean,
    dy.Date: sa.Date,
    dy.Datetime: UtcDateTime,
    dy.List: sa.JSON,
}


class AppendLog:
    """One log; several processes may append at once.

    Args:
        table: its columns and key; of the types above.
        by: columns that rows are looked up by, beside the key.
    """

    def __init__(self, table: Table, *by: str) -> None:
        self.table = table
        self._metadata = sa.MetaData()
        columns = [
            sa.Column(name, _TYPES[type(column)], primary_key=column.primary_key, nullable=column.nullable)
            for name, column in table.schema.columns().items()
        ]
        indexes = [sa.Index(f"{table.name}_{column}", column) for column in by]
        self._rows = sa.Table(table.name, self._metadata, *columns, *indexes)

    def append(self, control: Control, rows: Iterable[Mapping[str, Any]]) -> int:
        """Append rows, all of them or none; return how many were not there yet: a known key is left as it is."""
        given = [dict(row) for row in rows]
        names = list(self._rows.columns.keys())
        added = 0
        engine = control.ensure(self._metadata)
        with as_user_error(engine), engine.begin() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            for start in range(0, len(given), ROWS_PER_STATEMENT):
                block = [{name: row.get(name) for name in names} for row in given[start : start + ROWS_PER_STATEMENT]]
                insert = dialect.insert(self._rows).values(block).on_conflict_do_nothing()
                added += connection.execute(insert).rowcount
        return added

    def read(self, control: Control, **equal: Any) -> pl.DataFrame:
        """Return the rows in which all these columns have these values, a list meaning any of it; all rows without."""
        query = sa.select(self._rows).where(*(self._is(name, value) for name, value in equal.items()))
        return self._frame(control, query)

    def since(self, control: Control, column: str, moment: Any, until: Any = None) -> pl.DataFrame:
        """Return the rows with `moment` <= column < `until`."""
        held = self._rows.c[column]
        query = sa.select(self._rows).where(held >= moment)
        return self._frame(control, query if until is None else query.where(held < until))

    def forget(self, control: Control, **equal: Any) -> int:
        """Delete rows for good: for what people ask to have deleted, and for nothing else."""
        engine = control.ensure(self._metadata)
        with as_user_error(engine), engine.begin() as connection:
            chosen = self._rows.delete().where(*(self._is(name, value) for name, value in equal.items()))
            return connection.execute(chosen).rowcount

    def _is(self, name: str, value: Any) -> sa.ColumnElement[bool]:
        column = self._rows.c[name]
        return column.in_(list(value)) if isinstance(value, list | tuple | set | frozenset) else column == value

    def _frame(self, control: Control, query: sa.Select[Any]) -> pl.DataFrame:
        engine = control.ensure(self._metadata)
        with as_user_error(engine), engine.begin() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        frame = pl.DataFrame(rows, schema=self.table.dtypes, orient="row")
        return frame.sort(self.table.sort_by)

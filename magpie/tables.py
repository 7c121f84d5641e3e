"""What a table is, and the columns that all tables share.

Belongs here: the declaration every product uses for its own tables (schema, partition columns, key) and what is
derived from it. Does not belong here: any product's table (beside its rules) and how tables are stored
(`magpie/lake.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import dataframely as dy
import polars as pl
import pyarrow as pa

UTC = pl.Datetime("us", "UTC")
STATUSES = ("ok", "rejected", "pending", "failed")


def moment(*, nullable: bool = False, primary_key: bool = False, description: str = "") -> dy.Datetime:
    """A column of UTC moments."""
    return dy.Datetime(
        nullable=nullable, primary_key=primary_key, time_unit="us", time_zone="UTC", description=description
    )


def usd(description: str, *, nullable: bool = False) -> dy.Decimal:
    """A column of nano-USD, as the ledger counts them: nine places, and a billion dollars before the point."""
    return dy.Decimal(18, 9, nullable=nullable, description=description)


def one_of(*values: str) -> str:
    """The pattern of a text column that holds one of these words."""
    return f"^({'|'.join(values)})$"


class Fate(dy.Schema):
    """Common to every row table: what became of the row and why, with the value seen and the value asked for."""

    status = dy.String(regex=one_of(*STATUSES), description="ok, rejected, pending or failed")
    reason = dy.String(nullable=True, description="why, null when ok")
    observed = dy.String(nullable=True, description="the value that decided, as text")
    threshold = dy.String(nullable=True, description="the bound it was held against, as text")
    not_before = dy.Datetime(
        nullable=True,
        time_unit="us",
        time_zone="UTC",
        description="when a pending row may be tried again; null: it waits for an event",
    )

    @dy.rule()
    def reason_is_null_exactly_when_ok(cls) -> pl.Expr:
        return (pl.col("status") == "ok") == pl.col("reason").is_null()

    @dy.rule()
    def not_before_only_when_pending(cls) -> pl.Expr:
        return pl.col("not_before").is_null() | (pl.col("status") == "pending")


def all_ok(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the columns of `Fate` to rows none of which is turned down."""
    nothing = (pl.lit(None, pl.String).alias(name) for name in ("reason", "observed", "threshold"))
    return frame.with_columns(pl.lit("ok").alias("status"), *nothing, pl.lit(None, UTC).alias("not_before"))


@dataclass(frozen=True)
class Table:
    """One asset's table.

    Attributes:
        name: table, asset and view name.
        schema: dataframely schema; the order of its columns is the order on disk.
        description: one sentence for people who meet it in the UI or in SQL.
        dimensions: orchestration dimension -> column, in the order of the directory levels; empty: not partitioned.
        sort_by: order of rows inside a partition, so that equal inputs give equal files.
    """

    name: str
    schema: type[dy.Schema]
    description: str
    dimensions: Mapping[str, str]
    sort_by: tuple[str, ...]

    @property
    def partition_columns(self) -> list[str]:
        return list(self.dimensions.values())

    @cached_property
    def dtypes(self) -> pl.Schema:
        return pl.Schema({name: column.dtype for name, column in self.schema.columns().items()})

    @property
    def key(self) -> list[str]:
        return list(self.schema.primary_key())

    def arrow_schema(self) -> pa.Schema:
        """The schema on disk, nullability included; only types that every Delta reader opens."""
        stored = pl.DataFrame(schema=self.dtypes).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        columns = self.schema.columns()
        return pa.schema([field.with_nullable(columns[field.name].nullable) for field in stored])

    def shaped(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Select the declared columns in their types; a value that does not fit its type is an error."""
        return frame.select(list(self.dtypes)).cast(self.dtypes)

    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.dtypes)

    def describe(self) -> list[dict[str, Any]]:
        """Name, type, nullability and meaning of each column, for the UI and for dbt."""
        return [
            {
                "name": name,
                "type": str(column.dtype),
                "nullable": column.nullable,
                "description": column.description or "",
            }
            for name, column in self.schema.columns().items()
        ]


@dataclass(frozen=True)
class Partitions:
    """A set of partitions of one table: for each value of the leading dimension, its days.

    A table partitioned by day alone has the one group `None`; one partitioned by the leading dimension alone has
    None instead of days; an unpartitioned table has no groups at all.
    """

    groups: Mapping[str | None, frozenset[date] | None]

    @classmethod
    def days(cls, days: Iterable[date]) -> "Partitions":
        return cls({None: frozenset(days)})

    @classmethod
    def of(cls, pairs: Iterable[tuple[str | None, date]]) -> "Partitions":
        groups: dict[str | None, set[date]] = {}
        for lead, day in pairs:
            groups.setdefault(lead, set()).add(day)
        return cls({lead: frozenset(days) for lead, days in groups.items()})

    @classmethod
    def leading(cls, leads: Iterable[str]) -> "Partitions":
        return cls(dict.fromkeys(leads))

    @classmethod
    def whole(cls) -> "Partitions":
        return cls({})

    @property
    def count(self) -> int:
        return sum(1 if days is None else len(days) for days in self.groups.values()) or 1

    def all_days(self) -> list[date]:
        return sorted({day for days in self.groups.values() for day in days or ()})

    def leads(self) -> list[str]:
        return sorted(lead for lead in self.groups if lead is not None)

    def values(self) -> list[tuple[str, ...]]:
        """The values of the partition columns, one tuple per partition, sorted."""
        found: list[tuple[str, ...]] = []
        for lead, days in self.groups.items():
            before = () if lead is None else (lead,)
            found += [before] if days is None else [(*before, str(day)) for day in days]
        return sorted(found)

    def chunks(self, size: int) -> "list[Partitions]":
        """Split into sets of at most `size` partitions; sets without days stay whole (never that many)."""
        if self.count <= size or None in self.groups.values():
            return [self]
        pairs = [(lead, day) for lead in sorted(self.groups, key=str) for day in sorted(self.groups[lead] or ())]
        return [Partitions.of(pairs[start : start + size]) for start in range(0, len(pairs), size)]

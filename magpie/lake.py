"""Tables on disk or in a bucket: read lazily, replace partitions in one commit, publish for DuckDB.

Belongs here: everything that knows Delta Lake. Does not belong here: what the columns mean (`magpie/tables.py` and
the products) and when a table is written (the orchestrator).

Writers never wait for each other and readers keep the snapshot they opened: a commit is a new file in the log.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from magpie.errors import UserError
from magpie.tables import Partitions, Table

# delta-rs retries a conflicting commit by itself; its default of 15 was seen to run out with four writers.
MAX_COMMIT_RETRIES = 100
# What delta-rs gives up on is tried anew from the new version; each try waits a random time up to this.
REWRITE_ATTEMPTS = 8
REWRITE_WAIT_SECONDS = 0.5
# Above some thousand partitions the predicate dominates the commit; each chunk is atomic on its own.
PARTITIONS_PER_COMMIT = 4000
# Old versions are kept a week, so that a query that started before a vacuum can finish and a mistake be undone.
VACUUM_RETENTION = timedelta(days=7)
# Level 1 writes twice as fast as the default 3 and costs some 5 % of size on text.
WRITER = WriterProperties(compression="ZSTD", compression_level=1)


class SchemaMismatch(ValueError):
    """Rows that do not fit the table's declaration; the message names the column or the rule."""


@dataclass(frozen=True)
class Commit:
    """What one materialisation wrote."""

    table: str
    version: int
    rows: int
    partitions: int


@dataclass(frozen=True)
class Lake:
    """The lake at `root`: a local directory or an `s3://bucket/prefix` URL.

    Args:
        root: where the tables' directories are.
        storage_options: keys of the object store (endpoint, credentials); empty for a local lake.
        sleep: waits between tries of a conflicting commit.
    """

    root: str
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    sleep: Callable[[float], None] = time.sleep

    @property
    def is_local(self) -> bool:
        return "://" not in self.root

    def uri(self, table: Table) -> str:
        return f"{self.root.rstrip('/')}/{table.name}"

    def open(self, table: Table) -> DeltaTable | None:
        """Return the newest snapshot, or None where the table was never written."""
        try:
            return DeltaTable(self.uri(table), storage_options=dict(self.storage_options))
        except TableNotFoundError:
            return None

    def ensure(self, table: Table) -> DeltaTable:
        """Return the newest snapshot; create an empty table first where there is none.

        Concurrent first writes would each start a log of their own, so the table exists before anyone writes rows.
        """
        found = self.open(table)
        if found is not None:
            return found
        if self.is_local:
            Path(self.uri(table)).mkdir(parents=True, exist_ok=True)
        try:
            return DeltaTable.create(
                self.uri(table),
                schema=table.arrow_schema(),
                mode="error",
                partition_by=table.partition_columns,
                name=table.name,
                description=table.description,
                storage_options=dict(self.storage_options),
            )
        except DeltaError:
            found = self.open(table)
            if found is None:
                raise
            return found

    def write(
        self,
        table: Table,
        frame: pl.DataFrame,
        partitions: Partitions,
        commit_metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Replace exactly `partitions` by the rows of `frame`, in one commit (per chunk of some thousand).

        An empty frame clears them. Rows outside `partitions` are refused, as are rows that break the schema.

        Raises:
            SchemaMismatch: a column is missing, unknown, of another type, null where it must not be, or a rule breaks.
        """
        checked = conform(table, frame)
        commit = Commit(table.name, -1, checked.height, partitions.count)
        for chunk in partitions.chunks(PARTITIONS_PER_COMMIT):
            rows = checked if chunk is partitions else checked.filter(partition_filter(table, chunk))
            version = self._commit(table, rows, chunk, dict(commit_metadata or {}))
            commit = Commit(table.name, version, commit.rows, commit.partitions)
        return commit

    def _commit(self, table: Table, rows: pl.DataFrame, partitions: Partitions, commit_metadata: dict[str, str]) -> int:
        for attempt in range(1, REWRITE_ATTEMPTS + 1):
            target = self._with_new_columns(table, self.ensure(table))
            try:
                write_deltalake(
                    target,
                    rows.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(table.arrow_schema()),
                    mode="overwrite",
                    predicate=_predicate(table, partitions),
                    commit_properties=CommitProperties(
                        custom_metadata=commit_metadata, max_commit_retries=MAX_COMMIT_RETRIES
                    ),
                    writer_properties=WRITER,
                )
                return target.version()
            except CommitFailedError:
                if attempt == REWRITE_ATTEMPTS:
                    raise
                self.sleep(random.uniform(0, REWRITE_WAIT_SECONDS * attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _with_new_columns(self, table: Table, stored: DeltaTable) -> DeltaTable:
        """Add columns that the declaration has and the stored table lacks; old files read as null there."""
        known = {column.name: column for column in stored.schema().fields}
        fresh = [column for column in table.arrow_schema() if column.name not in known]
        if fresh:
            wanted = {c.name: c for c in Schema.from_arrow(table.arrow_schema()).fields}
            required = [column.name for column in fresh if not column.nullable]
            if required:
                raise UserError(
                    f"table {table.name} has the new column {required[0]}, which may not be null, but older rows "
                    f"lack it; declare it nullable or remove {self.uri(table)} and materialise anew"
                )
            stored.alter.add_columns([wanted[column.name] for column in fresh])
            return self.ensure(table)
        return stored

    def files(self, table: Table, partitions: Partitions | None = None) -> list[str]:
        """Return the data files of the newest snapshot, those of `partitions` alone if given."""
        stored = self.open(table)
        if stored is None:
            return []
        uris = stored.file_uris()
        if partitions is None or not partitions.groups:
            return sorted(uris)
        wanted = {
            "/".join(f"{column}={value}" for column, value in zip(table.partition_columns, values, strict=True))
            for values in partitions.values()
        }
        depth = len(table.partition_columns)
        return sorted(uri for uri in uris if "/".join(uri.split("/")[-1 - depth : -1]) in wanted)

    def read(self, table: Table, partitions: Partitions | None = None) -> pl.LazyFrame:
        """Scan `partitions` (default: all) of the newest snapshot; columns that no file has yet are null."""
        files = self.files(table, partitions)
        if not files:
            return table.empty().lazy()
        inside = {name: dtype for name, dtype in table.dtypes.items() if name not in table.partition_columns}
        return pl.scan_parquet(
            files,
            schema=inside,
            hive_partitioning=bool(table.partition_columns),
            hive_schema={name: table.dtypes[name] for name in table.partition_columns} or None,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=dict(self.storage_options) or None,
        ).select(list(table.dtypes))

    def read_days(self, table: Table, first: date, last: date, lead: str | None = None) -> pl.LazyFrame:
        """Scan the days from `first` to `last`, both included, of one value of the leading dimension if given."""
        days = frozenset(first + timedelta(days=n) for n in range((last - first).days + 1))
        return self.read(table, Partitions({lead: days}))

    def present(self, table: Table) -> list[dict[str, Any]]:
        """Return the partitions that hold rows, as column -> value, with `rows` and `bytes`."""
        stored = self.open(table)
        if stored is None:
            return []
        actions = pl.DataFrame(stored.get_add_actions(flatten=True))
        if actions.is_empty():
            return []
        columns = [pl.col(f"partition.{name}").alias(name) for name in table.partition_columns]
        sums = [pl.sum("num_records").alias("rows"), pl.sum("size_bytes").alias("bytes")]
        if not columns:
            return actions.select(sums).to_dicts()
        return actions.group_by(columns).agg(sums).sort(table.partition_columns).to_dicts()

    def vacuum(self, table: Table, *, retention: timedelta = VACUUM_RETENTION) -> int:
        """Delete files that no version younger than `retention` needs; return how many."""
        stored = self.open(table)
        if stored is None:
            return 0
        hours = int(retention.total_seconds() // 3600)
        return len(stored.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False))

    def history(self, table: Table) -> list[dict[str, Any]]:
        """Return the commits, newest first, as delta-rs records them."""
        stored = self.open(table)
        return [] if stored is None else stored.history()


def conform(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` in the table's column order, sorted, after every check of its declaration.

    delta-rs casts silently (1.5 becomes 1 in an integer column), so nothing here is cast.

    Raises:
        SchemaMismatch: names the first column or rule that is broken.
    """
    wanted, got = table.dtypes, frame.schema
    for name, dtype in wanted.items():
        if name not in got:
            raise SchemaMismatch(f"{table.name}: column {name} is missing")
        if got[name] != dtype:
            raise SchemaMismatch(f"{table.name}: column {name} is {got[name]}, must be {dtype}")
    unknown = [name for name in got if name not in wanted]
    if unknown:
        raise SchemaMismatch(f"{table.name}: column {unknown[0]} is not declared")
    ordered = frame.select(list(wanted)).sort(table.sort_by, maintain_order=True).rechunk()
    try:
        table.schema.validate(ordered)
    except dy.exc.ValidationError as error:
        raise SchemaMismatch(f"{table.name}: " + " ".join(str(error).split())) from error
    return ordered


def _clauses(table: Table, partitions: Partitions) -> list[tuple[str | None, list[date] | None]]:
    if not partitions.groups:
        raise ValueError(f"{table.name} is partitioned: a write must name its partitions")
    return [(lead, None if days is None else sorted(days)) for lead, days in sorted(partitions.groups.items(), key=str)]


def _predicate(table: Table, partitions: Partitions) -> str | None:
    """One clause per leading value, joined by OR; pairs are slow and `a IN .. AND b IN ..` is a cross product."""
    if not table.partition_columns:
        return None
    clauses = []
    for lead, days in _clauses(table, partitions):
        parts = []
        if lead is not None:
            escaped = lead.replace("'", "''")
            parts.append(f"{table.partition_columns[0]} = '{escaped}'")
        if days is not None:
            listed = ", ".join(f"'{day}'" for day in days)
            parts.append(f"{table.partition_columns[-1]} IN ({listed})")
        clauses.append("(" + " AND ".join(parts) + ")")
    return " OR ".join(clauses)


def partition_filter(table: Table, partitions: Partitions) -> pl.Expr:
    """The same condition for Polars."""
    kept = pl.lit(False)
    for lead, days in _clauses(table, partitions):
        inside = pl.lit(True)
        if lead is not None:
            inside = inside & (pl.col(table.partition_columns[0]) == lead)
        if days is not None:
            inside = inside & pl.col(table.partition_columns[-1]).is_in(days)
        kept = kept | inside
    return kept

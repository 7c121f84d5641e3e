"""Tables on disk or in a bucket: read lazily, replace partitions in one commit, publish for DuckDB.

Belongs here: everything that knows Delta Lake. Does not belong here: what the columns mean (`magpie/tables.py` and
the products) and when a table is written (the orchestrator).

Writers never wait for each other and readers keep the snapshot they opened: a commit is a new file in the log.

On S3 a commit is one conditional put (`If-None-Match: *`), which delta-rs uses by default since 1.0: no lock table is
needed, but the store must honour it (AWS, MinIO, R2, Ceph do). An `s3://` lake takes the usual AWS_* names as storage
options: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION (default us-east-1 beside an endpoint), AWS_ENDPOINT_URL
for a store other than AWS (plain http:// is then allowed without AWS_ALLOW_HTTP). A part that a killed writer left
behind is in no version; `vacuum` removes it with the rest.
"""

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from magpie.errors import Unavailable, UserError
from magpie.tables import Partitions, Table

# delta-rs retries a conflicting commit by itself; its default of 15 was seen to run out with four writers.
MAX_COMMIT_RETRIES = 100
# What delta-rs gives up on, two writers of one partition, is tried anew from the new version. Writers that never pause
# beat each other every second time or so: eight tries were seen to run out within a minute of four such, fifty are not.
REWRITE_ATTEMPTS = 50
# Each try waits a random time up to this, growing with the tries so that many writers spread out, a second at most.
REWRITE_WAIT_SECONDS = 0.05
# Above some thousand partitions the predicate dominates the commit; each chunk is atomic on its own.
PARTITIONS_PER_COMMIT = 4000
# Old versions are kept a week, so that a query that started before a vacuum can finish and a mistake be undone.
VACUUM_RETENTION = timedelta(days=7)
# A value of the leading dimension is a directory's name, in a URL too. An empty one would be stored as null, which no
# later version of the table survives; anything to escape reads differently in each engine.
PARTITION_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
# Delta-rs unescapes or refuses these in a local path, DuckDB takes them for patterns and Polars for a partition.
UNUSABLE_IN_ROOT = frozenset("%[]{}*?=\\")
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

    def __post_init__(self) -> None:
        unusable = sorted(UNUSABLE_IN_ROOT & set(self.root)) if self.is_local else []
        if unusable:
            raise UserError(
                f"the lake cannot be in {self.root}: its path has {' '.join(unusable)}; use another directory"
            )

    @property
    def is_local(self) -> bool:
        return "://" not in self.root

    @property
    def options(self) -> dict[str, str]:
        """The storage options, completed by what an endpoint of one's own needs."""
        given = dict(self.storage_options)
        endpoint = given.get("AWS_ENDPOINT_URL", "")
        if endpoint:
            given.setdefault("AWS_REGION", given.get("AWS_DEFAULT_REGION", "us-east-1"))
        if endpoint.startswith("http://"):
            given.setdefault("AWS_ALLOW_HTTP", "true")
        return given

    def uri(self, table: Table) -> str:
        return f"{self.root.rstrip('/')}/{table.name}"

    def open(self, table: Table) -> DeltaTable | None:
        """Return the newest snapshot, or None where the table was never written."""
        try:
            return DeltaTable(self.uri(table), storage_options=self.options)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            if self.is_local:
                raise
            told = str(error).strip().splitlines()[0][:200]
            raise Unavailable(
                f"cannot reach {self.uri(table)}: {told}; check MAGPIE_LAKE_URL, the AWS_* variables and the store"
            ) from error

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
                storage_options=self.options,
                configuration=_configuration(table),
                # A retry would append a second creation to the log of the writer that was first.
                commit_properties=CommitProperties(max_commit_retries=0),
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
            UserError: a partition's name cannot name a directory, or the stored table has other types than declared.
        """
        checked = conform(table, frame)
        _check_partitions(table, checked, partitions)
        commit = Commit(table.name, -1, checked.height, partitions.count)
        for chunk in partitions.chunks(PARTITIONS_PER_COMMIT):
            rows = checked if chunk is partitions else checked.filter(partition_filter(table, chunk))
            version = self._commit(table, rows, chunk, dict(commit_metadata or {}))
            commit = Commit(table.name, version, commit.rows, commit.partitions)
        return commit

    def _commit(self, table: Table, rows: pl.DataFrame, partitions: Partitions, commit_metadata: dict[str, str]) -> int:
        for attempt in range(1, REWRITE_ATTEMPTS + 1):
            try:
                target = self._with_new_columns(table, self.ensure(table))
                write_deltalake(
                    target,
                    _stored_form(table, rows, target),
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
                self.sleep(random.uniform(0, min(REWRITE_WAIT_SECONDS * attempt, 1.0)))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _with_new_columns(self, table: Table, stored: DeltaTable) -> DeltaTable:
        """Add columns that the declaration has and the stored table lacks; old files read as null there.

        delta-rs would cast rows to the types it has stored, so any other difference is an error here.
        """
        known = {column.name: column for column in stored.schema().fields}
        declared = {column.name: column for column in Schema.from_arrow(table.arrow_schema()).fields}
        fresh = [column for name, column in declared.items() if name not in known]
        mend = f"remove {self.uri(table)} and materialise anew"
        for name, column in declared.items():
            if name not in known and not column.nullable:
                raise UserError(
                    f"table {table.name} has the new column {name}, which may not be null, but older rows lack it; "
                    f"declare it nullable or {mend}"
                )
            if name in known and known[name].type != column.type:
                raise UserError(
                    f"table {table.name}: column {name} is stored as {_delta_type(known[name])} but declared as "
                    f"{_delta_type(column)}; {mend}"
                )
            if name in known and column.nullable and not known[name].nullable:
                raise UserError(f"table {table.name}: column {name} may be null now, but is stored as required; {mend}")
        for name, column in known.items():
            if name not in declared and not column.nullable:
                raise UserError(f"table {table.name}: the required column {name} is declared no longer; {mend}")
        if not fresh:
            return stored
        stored.alter.add_columns(fresh)
        return self.ensure(table)

    def files(self, table: Table, partitions: Partitions | None = None) -> list[str]:
        """Return the data files of the newest snapshot, those of `partitions` alone if given.

        They are absolute paths or URLs.
        """
        base = self.uri(table) if not self.is_local else str(Path(self.uri(table)).absolute())
        return [f"{base}/{path}" for path in self.data_files(table, partitions)["path"]]

    def data_files(self, table: Table, partitions: Partitions | None = None) -> pl.DataFrame:
        """Return the same files as `path` inside the table's directory and `bytes`, sorted by path."""
        stored = self.open(table)
        actions = pl.DataFrame() if stored is None else pl.DataFrame(stored.get_add_actions(flatten=True))
        if actions.is_empty():
            return pl.DataFrame(schema={"path": pl.String, "bytes": pl.Int64})
        values = {name: pl.col(f"partition.{name}") for name in table.partition_columns}
        found = actions.select("path", pl.col("size_bytes").alias("bytes"), **values)
        if partitions is not None and table.partition_columns:
            found = found.filter(partition_filter(table, partitions))
        return found.select("path", "bytes").sort("path")

    def read(self, table: Table, partitions: Partitions | None = None) -> pl.LazyFrame:
        """Scan `partitions` (default: all) of the newest snapshot; columns that no file has yet are null."""
        files = self.files(table, partitions)
        if not files:
            return table.empty().lazy()
        inside = {name: dtype for name, dtype in table.dtypes.items() if name not in table.partition_columns}
        return pl.scan_parquet(
            files,
            glob=False,
            schema=inside,
            hive_partitioning=bool(table.partition_columns),
            hive_schema={name: table.dtypes[name] for name in table.partition_columns} or None,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=self.options or None,
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
        """Delete files that no version younger than `retention` needs, of killed writers too; return how many."""
        stored = self.open(table)
        if stored is None:
            return 0
        hours = int(retention.total_seconds() // 3600)
        return len(stored.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=True))

    def version(self, table: Table) -> int:
        """Return the version of a table, -1 if it was never written.

        What changes back to what it was is told from what it was by this.
        """
        stored = self.open(table)
        return -1 if stored is None else stored.version()

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


def _check_partitions(table: Table, rows: pl.DataFrame, partitions: Partitions) -> None:
    if not table.partition_columns:
        return
    if not partitions.groups or frozenset() in partitions.groups.values():
        raise ValueError(f"{table.name} is partitioned: a write must name its partitions")
    for lead in partitions.leads():
        if not PARTITION_VALUE.fullmatch(lead):
            raise UserError(
                f"{table.name}: {lead[:80]!r} cannot name a partition; use letters, digits, dot, underscore and "
                "hyphen, starting with a letter or digit"
            )
    outside = rows.filter(~partition_filter(table, partitions))
    if outside.height:
        named = ", ".join(f"{column}={outside[column][0]}" for column in table.partition_columns)
        raise SchemaMismatch(f"{table.name}: {outside.height} rows are outside the partitions written ({named})")


def _stored_form(table: Table, rows: pl.DataFrame, target: DeltaTable) -> pa.Table:
    """The rows as Arrow, with nulls for columns that are stored but declared no longer."""
    arrow = rows.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(table.arrow_schema())
    for column in pa.schema(target.schema().to_arrow()):
        if column.name not in table.dtypes:
            arrow = arrow.append_column(column, pa.nulls(rows.height, column.type))
    return arrow


def _delta_type(column: Field) -> str:
    """Its type as Delta names it: `long`, `array`, ..."""
    return str(column.type.type)


def _configuration(table: Table) -> dict[str, str | None]:
    """Keep texts out of the log's statistics: the log outlives a vacuum, and what was deleted must not."""
    told = [
        name
        for name, dtype in table.dtypes.items()
        if name not in table.partition_columns and dtype != pl.String and not dtype.is_nested()
    ]
    return {"delta.dataSkippingStatsColumns": ",".join(told)} if told else {"delta.dataSkippingNumIndexedCols": "0"}


def _clauses(table: Table, partitions: Partitions) -> list[tuple[str | None, list[date] | None]]:
    by_lead, by_day = list(table.dimensions) != ["day"], "day" in table.dimensions
    for lead, days in partitions.groups.items():
        if (lead is not None) != by_lead or (days is not None) != by_day:
            raise ValueError(f"{table.name} is partitioned by {table.partition_columns}, not as ({lead}, {days})")
    return [(lead, None if days is None else sorted(days)) for lead, days in sorted(partitions.groups.items(), key=str)]


def _predicate(table: Table, partitions: Partitions) -> str | None:
    """One clause per leading value, joined by OR; pairs are slow and `a IN .. AND b IN ..` is a cross product."""
    if not table.partition_columns:
        return None
    clauses = []
    for lead, days in _clauses(table, partitions):
        parts = []
        if lead is not None:
            parts.append(f"{table.partition_columns[0]} = '{lead}'")
        if days is not None:
            listed = ", ".join(f"'{day}'" for day in days)
            parts.append(f"{table.partition_columns[-1]} IN ({listed})")
        clauses.append("(" + " AND ".join(parts) + ")")
    return " OR ".join(clauses)


def partition_filter(table: Table, partitions: Partitions) -> pl.Expr:
    """The same condition for Polars; no partitions keep no row."""
    clauses = []
    for lead, days in _clauses(table, partitions):
        inside = pl.lit(True)
        if lead is not None:
            inside = inside & (pl.col(table.partition_columns[0]) == lead)
        if days is not None:
            inside = inside & pl.col(table.partition_columns[-1]).is_in(days)
        clauses.append(inside)
    return pl.any_horizontal(clauses) if clauses else pl.lit(False)

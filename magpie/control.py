"""The control database: what must not live in a partitioned table.

Belongs here: append-only events (deletions) and, for sensors, how many rows of which partition are pending.
Does not belong here: rows that an asset makes (`magpie/lake.py`) and the orchestrator's own storage.

SQLite by default, Postgres by URL, one schema. One insert is one transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from magpie.errors import UserError

metadata = sa.MetaData()

deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("fullname", sa.String(16), nullable=False, index=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("fullname", "kind"),
)

pending = sa.Table(
    "pending_partitions",
    metadata,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("partition_key", sa.String(200), primary_key=True),
    sa.Column("reason", sa.String(64), primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("not_before", sa.DateTime(timezone=True)),
)

# A writer waits this long for another's transaction; a transaction here takes milliseconds.
SQLITE_BUSY_SECONDS = 30


@dataclass(frozen=True)
class Pending:
    """Rows of one partition that wait, with the earliest time any of them may be tried again."""

    table: str
    partition: str
    reason: str
    rows: int
    not_before: datetime | None


class Control:
    """Opens on first use, so that constructing one is free of I/O.

    Args:
        url: SQLAlchemy URL. `postgresql://` is read as psycopg2, the driver that dagster-postgres brings.
    """

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
        self._engine: sa.Engine | None = None

    def engine(self) -> sa.Engine:
        if self._engine is None:
            self._engine = self._open()
        return self._engine

    def _open(self) -> sa.Engine:
        parsed = make_url(self._url)
        if parsed.drivername.startswith("sqlite"):
            Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(parsed, connect_args={"timeout": SQLITE_BUSY_SECONDS})
            sa.event.listen(engine, "connect", _sqlite_pragmas)
        else:
            engine = sa.create_engine(parsed, pool_pre_ping=True)
        try:
            metadata.create_all(engine)
        except sa.exc.OperationalError as error:
            raise UserError(
                f"cannot open the control database {parsed.render_as_string(hide_password=True)}: {error.orig}"
            ) from None
        return engine

    def record_deletions(self, events: Iterable[tuple[str, str]], at: datetime) -> int:
        """Append (fullname, kind post|author) events not yet known; return how many were new."""
        given = sorted(set(events))
        with self.engine().begin() as connection:
            names = [fullname for fullname, _ in given]
            seen = {
                (row.fullname, row.kind)
                for start in range(0, len(names), 500)
                for row in connection.execute(
                    sa.select(deletions.c.fullname, deletions.c.kind).where(
                        deletions.c.fullname.in_(names[start : start + 500])
                    )
                )
            }
            fresh = [event for event in given if event not in seen]
            if fresh:
                connection.execute(
                    deletions.insert(),
                    [{"fullname": name, "kind": kind, "detected_at": at} for name, kind in fresh],
                )
        return len(fresh)

    def deleted(self) -> pl.DataFrame:
        """Return all deletions: fullname, kind, detected_at (UTC)."""
        with self.engine().connect() as connection:
            rows = connection.execute(
                sa.select(deletions.c.fullname, deletions.c.kind, deletions.c.detected_at).order_by(deletions.c.id)
            ).all()
        return pl.DataFrame(
            [(row.fullname, row.kind, _as_utc(row.detected_at)) for row in rows],
            schema={"fullname": pl.String, "kind": pl.String, "detected_at": pl.Datetime("us", "UTC")},
            orient="row",
        )

    def record_pending(self, table: str, partitions: Sequence[str], found: Sequence[Pending]) -> None:
        """Replace what is known of `partitions` of `table` by `found`, in one transaction."""
        with self.engine().begin() as connection:
            for start in range(0, len(partitions), 500):
                connection.execute(
                    pending.delete().where(
                        pending.c.table_name == table,
                        pending.c.partition_key.in_(list(partitions[start : start + 500])),
                    )
                )
            if found:
                connection.execute(
                    pending.insert(),
                    [
                        {
                            "table_name": item.table,
                            "partition_key": item.partition,
                            "reason": item.reason,
                            "rows": item.rows,
                            "not_before": item.not_before,
                        }
                        for item in found
                    ],
                )

    def pending(self) -> list[Pending]:
        """Return what waits, by table, partition and reason."""
        order = (pending.c.table_name, pending.c.partition_key, pending.c.reason)
        with self.engine().connect() as connection:
            rows = connection.execute(sa.select(pending).order_by(*order)).all()
        return [
            Pending(row.table_name, row.partition_key, row.reason, row.rows, row.not_before and _as_utc(row.not_before))
            for row in rows
        ]

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _sqlite_pragmas(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _as_utc(moment: datetime) -> datetime:
    """SQLite returns naive datetimes; what was written was UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

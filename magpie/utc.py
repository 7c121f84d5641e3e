"""The clock, and moments in the control database.

Belongs here: UTC now, and the column type that gives back what was put in, as UTC, on SQLite and Postgres alike. Does
not belong here: moments in tables of the lake (`tables.py`).
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


def utc_now() -> datetime:
    """The clock of whoever is not given another."""
    return datetime.now(UTC)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """SQLite keeps no zone: what goes in is turned to UTC first, what comes out is UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

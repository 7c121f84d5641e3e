"""Bringing a control database to the version that this code knows.

Belongs here: which version a database is of, and taking the steps it lacks. Does not belong here: the steps
(`steps.py`), and keeping other processes out meanwhile (`magpie/control.py`).

The version is a table of Magpie's own and not Alembic's: Dagster keeps its version in `alembic_version`, and may share
the database.
"""

import sqlalchemy as sa

from magpie.migrations.steps import FIRST, LATEST, STEPS
from magpie.utc import UtcDateTime, utc_now

metadata = sa.MetaData()

# A row for each version that the database was brought to, or was made in.
versions = sa.Table(
    "control_versions",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)


class NewerDatabase(Exception):
    """The database is of a version that this code does not know; the message says which."""

    def __init__(self, found: int) -> None:
        super().__init__(f"it is of version {found}, and this Magpie knows versions up to {LATEST}")


def version_of(connection: sa.Connection, tables: sa.MetaData) -> int | None:
    """Return the version of a database, None if it has neither a version nor one of `tables`."""
    inspector = sa.inspect(connection)
    if inspector.has_table(versions.name):
        found = connection.execute(sa.select(sa.func.max(versions.c.version))).scalar()
        if found is not None:
            return int(found)
    return FIRST if any(inspector.has_table(name) for name in tables.tables) else None


def is_current(connection: sa.Connection, tables: sa.MetaData) -> bool:
    """Whether nothing is to be done, so that a database that may only be read is of use too.

    Raises:
        NewerDatabase: it is of a version to come.
    """
    found = version_of(connection, tables)
    if found is not None and found > LATEST:
        raise NewerDatabase(found)
    return found == LATEST and set(sa.inspect(connection).get_table_names()) >= set(tables.tables)


def upgrade(connection: sa.Connection, tables: sa.MetaData) -> None:
    """Take the steps that are missing, and make those of `tables` that are.

    Args:
        connection: in a transaction that no other process upgrades beside; it is all of this or nothing.
        tables: those that every control database has.

    Raises:
        NewerDatabase: it is of a version to come.
    """
    if is_current(connection, tables):
        return  # another process was first
    found = version_of(connection, tables)
    versions.create(connection, checkfirst=True)
    if found is None:
        _note(connection, LATEST, "made")
    else:
        _take_steps(connection, found)
    tables.create_all(connection)


def _take_steps(connection: sa.Connection, found: int) -> None:
    # Imported here, because every command opens the database and few ever upgrade it.
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    operations = Operations(MigrationContext.configure(connection))
    for step in STEPS:
        if step.version > found:
            step.apply(operations)
            _note(connection, step.version, step.summary)


def _note(connection: sa.Connection, version: int, summary: str) -> None:
    connection.execute(versions.insert().values(version=version, summary=summary, at=utc_now()))

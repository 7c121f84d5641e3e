"""Figures for Prometheus, as its own parser reads them, from this process and from a server that is asked."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from magpie.catalog import TABLES
from magpie.control import Control, Pending
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm import breaker
from magpie.llm.purpose import Limits
from magpie.llm.store import Store
from magpie.metrics import CACHE_SECONDS, Figures
from magpie.tables import Partitions
from runs.runner import DagsterRunner
from tests.cli_world import REPO, Here, one_line
from tests.dagster_world import sample_settings
from tests.ledger_world import NOON, Books

DOLLAR = 1_000_000_000
Figure = dict[tuple[str, ...], float]


def parsed(text: str) -> dict[str, Figure]:
    """Samples by name and by the values of their labels in alphabetical order of the labels."""
    found: dict[str, Figure] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.strip(), family.name
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in sorted(sample.labels))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


class World:
    """A home with books and a lake, whose figures are read by a clock that is moved by hand."""

    def __init__(self, home: Path) -> None:
        self.settings = sample_settings(home)
        self.control = Control(self.settings.control_database)
        self.lake = Lake(self.settings.lake_root)
        self.store = Store(self.control)
        self.books = Books(self.store, Limits())
        self.failed: Mapping[str, int] | UserError = {}
        self.seconds = 0.0
        self.since: list[datetime] = []
        self.registry = CollectorRegistry()
        self.registry.register(
            Figures(self.settings, self.control, self.lake, self._runs, lambda: NOON, lambda: self.seconds)
        )

    def _runs(self, since: datetime) -> Mapping[str, int]:
        self.since.append(since)
        if isinstance(self.failed, UserError):
            raise self.failed
        return self.failed

    def spend(self, usd: float, campaign: str = "agency-crm") -> None:
        nano = int(usd * DOLLAR)
        purpose = replace(self.books.booking(0).purpose, scopes=(f"campaign:{campaign}",))
        call = self.books.held(nano, purpose=purpose)
        self.books.send(call)
        self.books.settle(call, nano)

    def scrape(self) -> dict[str, Figure]:
        self.seconds += CACHE_SECONDS
        return parsed(generate_latest(self.registry).decode())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path / "home")
    yield found
    found.store.close()
    found.control.close()


def test_an_empty_home_has_every_part_and_no_call(world: World) -> None:
    found = world.scrape()
    assert found["magpie_part_up"] == {("books",): 1, ("pending",): 1, ("lake",): 1, ("runs",): 1}
    assert "magpie_llm_calls_total" not in found
    assert "magpie_partition_lag_days" not in found
    assert set(found["magpie_breaker_open"].values()) == {0}
    assert ("function:extract_lead",) in found["magpie_breaker_open"]
    assert world.since == [NOON - timedelta(days=1)]


def test_calls_and_their_cost_are_counted_when_they_have_ended(world: World) -> None:
    world.spend(0.25)
    world.spend(0.5, "folding-bike")
    world.books.void(world.books.held(DOLLAR))
    world.books.send(world.books.held(DOLLAR))
    found = world.scrape()
    labels = ("extract_lead", "small", "leads", "openai")
    assert found["magpie_llm_calls_total"] == {labels: 3}
    assert found["magpie_llm_failed_calls_total"] == {("x", *labels): 1}
    assert found["magpie_llm_cost_usd_total"] == {labels: 0.75}
    assert found["magpie_llm_open_calls"] == {("reserved",): 0, ("sent",): 1, ("unknown",): 0}


def test_caps_are_told_beside_what_is_spent_held_and_left(world: World) -> None:
    world.spend(0.25)
    purpose = replace(world.books.booking(0).purpose, scopes=("campaign:agency-crm",))
    world.books.held(DOLLAR // 2, purpose=purpose)
    found = world.scrape()
    campaign = ("campaign:agency-crm", "day")
    assert found["magpie_spent_usd"][campaign] == 0.25
    assert found["magpie_reserved_usd"][campaign] == 0.5
    assert found["magpie_cap_usd"][campaign] == 1.0
    assert found["magpie_left_usd"][campaign] == 0.25
    assert found["magpie_bound_calls_used"][campaign] == 2
    assert found["magpie_cap_usd"]["all", "day"] == 15.0
    assert ("provider:openai", "day") in found["magpie_spent_usd"], "scopes without a cap are told too"
    assert ("provider:openai", "day") not in found["magpie_cap_usd"]


def test_what_waits_is_summed_over_partitions(world: World) -> None:
    world.control.record_pending(
        "leads", ["a|2026-03-02", "a|2026-03-03"],
        [
            Pending("leads", "a|2026-03-02", "daily_cap", 3, None),
            Pending("leads", "a|2026-03-03", "daily_cap", 4, None),
            Pending("leads", "a|2026-03-03", "provider_error", 1, None),
        ],
    )  # fmt: skip
    assert world.scrape()["magpie_pending_rows"] == {("daily_cap", "leads"): 7, ("provider_error", "leads"): 1}


def test_a_table_lags_by_the_days_since_its_newest_rows(world: World) -> None:
    stats = TABLES["corpus_stats"]
    days = [NOON.date() - timedelta(days=n) for n in (9, 4)]
    row = {name: [0] * 2 for name in stats.dtypes} | {"day": days}
    frame = stats.shaped(pl.DataFrame(row, schema_overrides={"day": pl.Date}))
    # A day that came out empty has no rows.
    world.lake.write(stats, frame, Partitions.days([*days, NOON.date()]))
    assert world.scrape()["magpie_partition_lag_days"] == {("corpus_stats",): 4}, (
        "a day that came out empty has no rows"
    )


def test_a_breaker_that_opens_reads_one(world: World) -> None:
    world.store.write(
        lambda c: breaker.open_breaker(c, "provider:openai", NOON, None, "provider_auth", "the key is refused")
    )
    found = world.scrape()["magpie_breaker_open"]
    assert found["provider:openai",] == 1
    assert sum(found.values()) == 1


def test_a_part_that_cannot_be_read_is_missing_and_says_so(world: World) -> None:
    world.failed = UserError("the storage is away")
    found = world.scrape()
    assert found["magpie_part_up"]["runs",] == 0
    assert "magpie_failed_runs" not in found
    assert found["magpie_part_up"]["books",] == 1
    world.failed = {"reddit_days": 2}
    assert world.scrape()["magpie_failed_runs"] == {("reddit_days",): 2}


def test_scrapes_that_follow_closely_read_once(world: World) -> None:
    world.scrape()
    world.failed = {"reddit_days": 2}
    world.seconds += CACHE_SECONDS - 1
    assert "magpie_failed_runs" not in parsed(generate_latest(world.registry).decode())
    world.seconds += 1
    assert "magpie_failed_runs" in parsed(generate_latest(world.registry).decode())


def test_failed_runs_are_counted_by_job_in_the_instance_that_runs_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    @dg.op
    def fails() -> None:
        raise dg.Failure("on purpose")

    @dg.job
    def breaks() -> None:
        fails()

    before = datetime.now().astimezone() - timedelta(minutes=1)
    with dg.DagsterInstance.get() as instance:
        breaks.execute_in_process(instance=instance, raise_on_error=False)
    settings = sample_settings(tmp_path)
    assert DagsterRunner().failed_runs(settings, before) == {"breaks": 1}
    assert DagsterRunner().failed_runs(settings, before + timedelta(hours=1)) == {}


# --- the command --------------------------------------------------------------------------------------------------


def test_once_prints_the_figures_and_ends(tmp_path: Path, here: Here) -> None:
    result = here(tmp_path / "home", "metrics", "--once")
    assert result.returncode == 0, result.stderr
    assert set(parsed(result.stdout)["magpie_part_up"].values()) == {1}


def test_a_port_that_is_taken_is_one_line(tmp_path: Path, here: Here) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "choose another with --port" in one_line(here(tmp_path / "home", "metrics", "--port", port))


@pytest.mark.slow
def test_a_server_answers_scrapes_on_loopback_until_it_is_told_to_end(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "MAGPIE_HOME": str(tmp_path), "MAGPIE_CONFIG": str(REPO / "magpie.yaml")}
    command = [sys.executable, "-c", "from magpie.cli import main; main()", "metrics", "--port", "0"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().split(";")[0]
            assert url.startswith("http://127.0.0.1:"), url
            with urllib.request.urlopen(url, timeout=60) as answer:
                told = answer.headers["Content-Type"]
                found = parsed(answer.read().decode())
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()
    assert told.startswith("text/plain")
    assert set(found["magpie_part_up"].values()) == {1}
    assert found["magpie_cap_usd"]["all", "day"] == 15.0

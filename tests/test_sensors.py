"""Sensors and schedules: which runs they ask for when campaigns, archives or deletions change, and when they rest."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster_world import (
    BOTH,
    FIRST,
    LAST,
    Daemon,
    Made,
    World,
    archive,
    made,
    rows,
    sample_settings,
    settings_over,
    submission,
    world,
)

from assets.partitions import RANGE_END, RANGE_START, day_range, lead_range
from magpie.leads import tables as t
from magpie.settings import Settings
from runs.runner import failure_lines
from schedules.leads import OP_JOBS, build_schedules, crawl_reddit, sweep_deletions
from sensors.discovery import RANGES_PER_TICK

__all__ = ["made"]

TODAY = datetime.now(UTC).date()


class Watcher(Daemon):
    """The daemon, with what it does about leads."""

    def after(self, result: dg.ExecuteInProcessResult, sensor: str = "campaigns_after_days") -> list[dg.RunRequest]:
        return self.follows(result, sensor)

    def catch_up(self) -> None:
        """Land what there is and make its days, without the campaigns that follow."""
        while asked := self.tick("new_data")[0]:
            for request in asked:
                self.perform(request, "")

    def until_quiet(self) -> list[str]:
        """Do all that the sensors ask for, and what follows from it; return the jobs in the order they ran."""
        done: list[str] = []
        while True:
            asked = [(request, "campaign_words") for request in self.tick("campaign_sync")[0]]
            asked += [(request, "") for request in self.tick("new_data")[0]]
            if not asked:
                return done
            while asked:
                request, job = asked.pop(0)
                result = self.perform(request, job)
                done.append(result.job_def.name)
                if result.job_def.name in ("reddit_days", "campaign_words"):
                    asked += [(follow, "campaign_days") for follow in self.after(result)]
                if result.job_def.name == "campaign_days":
                    follows = self.after(result, "answers_after_campaign_days")
                    asked += [(follow, "campaign_answers") for follow in follows]


def spans(requests: list[dg.RunRequest]) -> list[tuple[str, str]]:
    return [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]


def moved(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


@pytest.fixture()
def dumps(tmp_path: Path) -> Path:
    return tmp_path / "in"


@pytest.fixture()
def watcher(tmp_path: Path, dumps: Path) -> Iterator[Watcher]:
    archive(dumps / "a.ndjson", submission("one", FIRST), submission("two", FIRST + timedelta(days=3)))
    with world(settings_over(dumps, tmp_path / "home"), ["leads"]) as fresh:
        yield Watcher(fresh)


# --- campaigns ----------------------------------------------------------------------------------------------------


def test_campaigns_become_partitions_and_are_computed_once(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path)
    with world(moved(settings, campaigns=()), ["leads"]) as empty:
        first = Watcher(World(settings, _defs(settings), empty.instance))
        asked, _ = first.tick("campaign_sync")
        assert empty.instance.get_dynamic_partitions("campaign") == list(BOTH)
        assert [request.partition_key for request in asked] == list(BOTH)
        asked, reason = first.tick("campaign_sync")
        assert not asked
        assert "on reload" in str(reason)


def test_a_changed_campaign_is_computed_anew_each_time_even_when_changed_back(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path)
    bike = settings.campaign("folding-bike")
    other = bike.model_copy(update={"exclude_authors": ("somebody_else",)})
    changed = moved(settings, campaigns=(settings.campaign("agency-crm"), other))
    with world(settings, ["leads"]) as start:
        watching = Watcher(start)
        watching.tick("campaign_sync")
        for now in (changed, settings, changed):
            watching.world = World(now, _defs(now), start.instance)
            asked, _ = watching.tick("campaign_sync")
            assert [request.partition_key for request in asked] == ["folding-bike"]
            assert not watching.tick("campaign_sync")[0]


def test_a_campaign_that_is_gone_loses_its_partition_and_a_paused_one_is_not_computed(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path)
    paused = settings.campaign("agency-crm").model_copy(update={"status": "paused"})
    with world(settings, ["leads"]) as start:
        watching = Watcher(start)
        watching.tick("campaign_sync")
        now = moved(settings, campaigns=(paused,))
        watching.world = World(now, _defs(now), start.instance)
        asked, reason = watching.tick("campaign_sync")
        assert not asked
        assert "folding-bike" in str(reason)
        assert start.instance.get_dynamic_partitions("campaign") == ["agency-crm"]
        watching.world = start
        assert len(watching.tick("campaign_sync")[0]) == 2


def _defs(settings: Settings) -> dg.Definitions:
    with world(settings, ["leads"]) as made_for:
        return made_for.defs


# --- archives and deletions ---------------------------------------------------------------------------------------


def test_a_new_archive_is_landed_once_and_then_its_days_are_asked_for(watcher: Watcher, dumps: Path) -> None:
    asked, _ = watcher.tick("new_data")
    assert [request.job_name for request in asked] == ["reddit_landing"]
    assert not watcher.tick("new_data")[0], "the same landing is not asked for twice"
    watcher.perform(asked[0], "")
    asked, _ = watcher.tick("new_data")
    assert {request.job_name for request in asked} == {"reddit_days"}
    # The window of the first day reaches the second; nothing is made after the last day of the archives.
    assert spans(asked) == [("2026-03-02", "2026-03-05")]
    asked, reason = watcher.tick("new_data")
    assert not asked
    assert "looking again in a minute" in str(reason)
    archive(dumps / "b.ndjson", submission("late", FIRST + timedelta(days=60)))
    watcher.perform(watcher.tick("new_data")[0][0], "")
    assert spans(watcher.tick("new_data")[0]) == [("2026-05-01", "2026-05-01")]


def test_a_changed_archive_is_landed_again_and_touches_the_days_after_it(watcher: Watcher, dumps: Path) -> None:
    watcher.catch_up()
    archive(
        dumps / "a.ndjson", submission("two", FIRST + timedelta(days=2)), submission("x", FIRST + timedelta(days=3))
    )
    asked, _ = watcher.tick("new_data")
    assert [request.job_name for request in asked] == ["reddit_landing"]
    watcher.perform(asked[0], "")
    assert spans(watcher.tick("new_data")[0]) == [("2026-03-04", "2026-03-05")]


def test_a_deletion_asks_for_its_day_and_the_days_it_bears_on(watcher: Watcher) -> None:
    watcher.catch_up()
    watcher.world.control.record_deletions([("t3_two", "post"), ("t3_unknown", "post")], datetime.now(UTC))
    asked, _ = watcher.tick("new_data")
    assert spans(asked) == [("2026-03-05", "2026-03-05")]
    assert not watcher.tick("new_data")[0]
    watcher.perform(asked[0], "")
    held = rows(watcher.world.lake, t.REDDIT_POSTS)
    assert dict(held.select("fullname", "content_state").iter_rows()) == {"t3_one": "ok", "t3_two": "deleted"}


def test_a_short_corpus_window_does_not_shorten_what_comments_inherit(tmp_path: Path, dumps: Path) -> None:
    archive(dumps / "a.ndjson", submission("one", FIRST), submission("two", FIRST + timedelta(days=25)))
    settings = settings_over(dumps, tmp_path / "home")
    with world(moved(settings, leads=settings.leads.model_copy(update={"bm25_corpus_days": 7})), ["leads"]) as fresh:
        watching = Watcher(fresh)
        watching.catch_up()
        fresh.control.record_deletions([("t3_one", "post")], datetime.now(UTC))
        assert spans(watching.tick("new_data")[0]) == [(str(FIRST), str(FIRST + timedelta(days=25)))]


def test_more_ranges_than_a_tick_may_ask_for_wait_for_the_next_one(tmp_path: Path, dumps: Path) -> None:
    start = date(2020, 1, 1)
    # Forty days apart no window reaches the next post, so each is a range of thirty days.
    lines = [submission(f"p{n}", start + timedelta(days=40 * n)) for n in range(RANGES_PER_TICK + 3)]
    archive(dumps / "a.ndjson", *lines)
    with world(settings_over(dumps, tmp_path / "home", start_day=start), ["leads"]) as fresh:
        watching = Watcher(fresh)
        watching.perform(watching.tick("new_data")[0][0], "")
        asked = [spans(watching.tick("new_data")[0]) for _ in range(3)]
        assert [len(ranges) for ranges in asked] == [RANGES_PER_TICK, 3, 0]
        starts = [first for ranges in asked for first, _ in ranges]
        assert starts == [str(start + timedelta(days=40 * n)) for n in range(RANGES_PER_TICK + 3)]
        assert asked[1][-1][1] == asked[1][-1][0], "nothing is made after the last day of the archives"


def test_a_day_that_is_not_over_waits_and_is_not_forgotten(tmp_path: Path, dumps: Path) -> None:
    # One part spans yesterday and today: today is no partition yet.
    archive(dumps / "live.ndjson", submission("past", TODAY - timedelta(days=2)), _today("now"))
    with world(settings_over(dumps, tmp_path / "home"), ["leads"]) as fresh:
        watching = Watcher(fresh)
        watching.perform(watching.tick("new_data")[0][0], "")
        yesterday = str(TODAY - timedelta(days=1))
        assert spans(watching.tick("new_data")[0]) == [(str(TODAY - timedelta(days=2)), yesterday)]
        asked, reason = watching.tick("new_data")
        assert not asked
        assert "1 days wait until they are over" in str(reason)
        assert json.loads(str(watching.cursors["new_data"]))["waiting"] == [str(TODAY)]


def _today(name: str) -> dict[str, Any]:
    midnight = int(datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC).timestamp())
    return submission(name, TODAY, created_utc=midnight, retrieved_on=midnight)


def test_run_keys_stay_short_however_many_archives_there_are(tmp_path: Path, dumps: Path) -> None:
    # The names of two are longer than a key may be.
    for n in range(4):
        archive(dumps / f"{'x' * 60}_{n}.ndjson", submission(f"p{n}", FIRST))
    with world(settings_over(dumps, tmp_path / "home"), ["leads"]) as fresh:
        watching = Watcher(fresh)
        landing = watching.tick("new_data")[0]
        watching.perform(landing[0], "")
        keys = [str(request.run_key) for request in [*landing, *watching.tick("new_data")[0]]]
        assert len(keys) == 2
        assert max(map(len, keys)) < 100


# --- what follows -------------------------------------------------------------------------------------------------


def test_finished_days_ask_for_the_same_days_of_every_active_campaign(watcher: Watcher) -> None:
    watcher.world.run("reddit_landing")
    ranged = watcher.world.run("reddit_days", tags=day_range(FIRST, FIRST + timedelta(days=3)))
    single = watcher.world.run("reddit_days", partition_key=str(FIRST))
    asked = watcher.after(ranged)
    assert [request.tags for request in asked] == [
        lead_range(campaign, FIRST, FIRST + timedelta(days=3)) for campaign in BOTH
    ]
    assert [request.tags for request in watcher.after(single)] == [
        lead_range(campaign, FIRST, FIRST) for campaign in BOTH
    ]
    assert len({request.run_key for request in [*asked, *watcher.after(single)]}) == 4


def test_new_keywords_ask_for_all_days_of_their_campaign_and_for_none_before_there_are_posts(watcher: Watcher) -> None:
    words = watcher.world.run("campaign_words", partition_key="folding-bike")
    assert watcher.after(words) == []
    watcher.world.run("reddit_landing")
    watcher.world.run("reddit_days", tags=day_range(FIRST, FIRST + timedelta(days=3)))
    (asked,) = watcher.after(words)
    assert asked.tags == lead_range("folding-bike", FIRST, FIRST + timedelta(days=3))


def test_following_the_sensors_makes_the_same_tables_as_a_plain_run(made: Made, tmp_path: Path) -> None:
    with world(sample_settings(tmp_path), ["leads"]) as fresh:
        watching = Watcher(fresh)
        jobs = watching.until_quiet()
        assert jobs.count("reddit_landing") == 1
        assert jobs.count("reddit_days") == 1
        for table in t.TABLES:
            assert rows(fresh.lake, table, FIRST, LAST).equals(rows(made.lake, table)), table.name
        assert watching.until_quiet() == []


def test_archives_that_arrive_one_by_one_end_in_the_rows_of_one_run(tmp_path: Path, dumps: Path) -> None:
    crm = {"campaigns": (sample_settings(tmp_path).campaign("agency-crm"),)}
    days = [FIRST + timedelta(days=n) for n in (0, 4, 2)]
    with world(settings_over(dumps, tmp_path / "home", **crm), ["leads"]) as fresh:
        watching = Watcher(fresh)
        for n, day in enumerate(days):
            archive(dumps / f"{n}.ndjson", submission(f"p{n}", day), submission(f"q{n}", day, title="hiring a CRM"))
            watching.until_quiet()
    with world(settings_over(dumps, tmp_path / "plain", **crm), ["leads"]) as plain:
        first, last = min(days), max(days)
        plain.run("reddit_landing")
        plain.run("reddit_days", tags=day_range(first, last))
        plain.run("campaign_words", partition_key="agency-crm")
        plain.run_campaign("agency-crm", first, last)
        plain.read_campaign("agency-crm", first, last)
    for table in t.TABLES:
        # Days between archives that hold no post are made by the plain run alone.
        followed, plainly = (on_days(rows(one.lake, table), days) for one in (fresh, plain))
        assert followed.equals(plainly), table.name


def on_days(found: pl.DataFrame, days: list[date]) -> pl.DataFrame:
    return found.filter(pl.col("day").is_in(days)) if "day" in found.columns else found


# --- schedules ----------------------------------------------------------------------------------------------------


def test_nothing_runs_by_itself_until_it_is_switched_on(watcher: Watcher) -> None:
    schedules = build_schedules(watcher.world.settings, {})
    assert {schedule.default_status for schedule in schedules} == {dg.DefaultScheduleStatus.STOPPED}
    sensors = watcher.world.defs.get_repository_def().sensor_defs
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.STOPPED}
    assert {schedule.execution_timezone or "UTC" for schedule in schedules} == {"UTC"}


@pytest.mark.parametrize("job", ["reddit_crawl", "deletion_sweep"])
def test_without_keys_a_crawl_fails_for_good_with_one_line_and_shows_no_secret(
    watcher: Watcher, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLIENT_ID", "USER_AGENT", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"REDDIT_{name}", raising=False)
    monkeypatch.setenv("REDDIT_CLIENT_ID", "an-id-to-keep")
    monkeypatch.setenv("REDDIT_CLIENT_SECRET", "a-secret-to-keep")
    assert job in {crawl.name for crawl in OP_JOBS}
    result = watcher.world.run(job, check=False)
    (line,) = failure_lines(result)
    assert "REDDIT_USER_AGENT is not set" in line
    assert "\n" not in line
    for told in map(str, result.all_events):
        assert "to-keep" not in told
    resources = watcher.world.resources("settings", "lake", "control")
    operation = {"reddit_crawl": crawl_reddit, "deletion_sweep": sweep_deletions}[job]
    with pytest.raises(dg.Failure) as raised:
        operation(dg.build_op_context(resources=resources))
    assert raised.value.allow_retries is False

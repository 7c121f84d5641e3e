"""Sensors and schedules of videos: which runs they ask for when files, versions or prices change, when they rest."""

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_world import (
    LADDER,
    TEAPOT,
    Daemon,
    Made,
    World,
    changed,
    filled_videos,
    made_videos,
    rows,
    sample_settings,
    settled,
    spoken,
    videos_over,
)

from assets.partitions import RANGE_END, RANGE_START, day_range
from definitions import build_definitions
from magpie.control import Control, Pending
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.videos import tables as t
from magpie.videos.changes import QUIET_DAYS
from magpie.videos.live import source_of
from magpie.videos.settings import AnalysisVersion, Channel
from resources.llm import Llm
from runs.runner import failure_lines
from schedules.videos import CHANNEL_DAYS, RECHECK_DAYS, build_schedules, poll_channels
from sensors.videos import RUNS_PER_TICK
from tests.dagster_world import selected
from tests.instances import fresh_instance

__all__ = ["filled_videos", "made_videos"]

D0 = date(2026, 3, 2)
BUYS = "I am buying Nvidia again because data centres keep ordering"
SELLS = "I am selling all of my Tesla before the report comes out"
# After the sample's prices end; nothing in it is in the future then.
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


@dataclass
class Watcher(Daemon):
    """The daemon, with what it does about videos."""

    def spans(self) -> list[tuple[str, str]]:
        """What new_videos asks for, landing first what there is to land."""
        asked, _ = self.tick("new_videos")
        while [request.job_name for request in asked] == ["video_landing"]:
            self.perform(asked[0], "")
            asked, _ = self.tick("new_videos")
        assert {request.job_name for request in asked} <= {"channel_days"}
        return spans(asked)

    def until_quiet(self) -> list[str]:
        """Do all that the sensors ask for, and what follows from it; return the jobs in the order they ran."""
        done: list[str] = []
        while True:
            asked = [(request, "") for request in self.tick("new_videos")[0]]
            asked += [(request, "price_days") for request in self.tick("new_prices")[0]]
            asked += [(request, "channel_days") for request in self.tick("prompt_version_added")[0]]
            if not asked:
                return done
            while asked:
                request, job = asked.pop(0)
                result = self.perform(request, job)
                done.append(result.job_def.name)
                if result.job_def.name == "channel_days":
                    asked += [(follow, "video_days") for follow in self.follows(result, "days_after_channels")]
                if result.job_def.name == "price_days":
                    asked += [(follow, "channel_days") for follow in self.follows(result, "outcomes_after_prices")]

    def restarted(self, settings: Settings) -> "Watcher":
        """The same instance and cursors under other settings, as after an edit of magpie.yaml and a reload."""
        return Watcher(located(settings, self.world.instance), self.cursors, self.used)


def spans(requests: list[dg.RunRequest]) -> list[tuple[str, str]]:
    return [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]


def span(channel: str, first: date, last: date) -> tuple[str, str]:
    return f"{channel}|{first}", f"{channel}|{last}"


def located(settings: Settings, instance: dg.DagsterInstance, clock: Callable[[], datetime] = lambda: NOW) -> World:
    """Definitions of videos at a time of their own, without asset checks."""
    control = Control(settings.control_database)
    lake = Lake(settings.lake_root)
    llm = Llm(settings, control, clock=clock, env={})
    source = source_of(settings, lake, control, clock=clock)
    defs = build_definitions(settings, ["videos"], checks=False, video_source=source, llm=llm)
    return World(settings, defs, instance)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "in"


@pytest.fixture
def watcher(tmp_path: Path, files: Path) -> Iterator[Watcher]:
    spoken(files, "first_-_-_1", TEAPOT, noon(D0), BUYS)
    spoken(files, "second-_-_2", TEAPOT, noon(D0 + timedelta(days=3)), SELLS)
    spoken(files, "third_-_-_3", LADDER, noon(D0 + timedelta(days=5)), SELLS)
    with fresh_instance() as instance:
        yield Watcher(located(videos_over(files, tmp_path / "home"), instance))


# --- new files ----------------------------------------------------------------------------------------------------


def test_new_files_are_landed_once_and_then_the_days_of_their_channels_are_asked_for(watcher: Watcher) -> None:
    asked, _ = watcher.tick("new_videos")
    assert [request.job_name for request in asked] == ["video_landing"]
    assert sorted(watcher.world.instance.get_dynamic_partitions("channel")) == sorted([LADDER, TEAPOT])
    assert not watcher.tick("new_videos")[0], "the same landing is not asked for twice"
    watcher.perform(asked[0], "")
    assert watcher.spans() == [
        span(LADDER, D0 + timedelta(days=5), D0 + timedelta(days=5)),
        span(TEAPOT, D0, D0 + timedelta(days=3)),
    ]
    asked, reason = watcher.tick("new_videos")
    assert not asked
    assert "as before" in str(reason)


def test_a_file_that_changes_again_and_again_is_landed_each_time_and_its_day_is_made_each_time(
    watcher: Watcher, files: Path
) -> None:
    watcher.spans()
    for text in (SELLS, BUYS, SELLS):
        spoken(files, "first_-_-_1", TEAPOT, noon(D0), text)
        assert watcher.spans() == [span(TEAPOT, D0, D0)], text


def test_a_file_that_goes_and_comes_back_as_it_was_is_read_again(watcher: Watcher, files: Path, tmp_path: Path) -> None:
    watcher.spans()
    for _ in range(2):
        (tmp_path / "aside").mkdir(exist_ok=True)
        for path in files.glob("*third*"):
            shutil.move(path, tmp_path / "aside" / path.name)
        third = span(LADDER, D0 + timedelta(days=5), D0 + timedelta(days=5))
        assert watcher.spans() == [third]
        for path in (tmp_path / "aside").iterdir():
            shutil.move(path, files / path.name)
        assert watcher.spans() == [third]


def test_a_channel_that_is_added_to_the_settings_gets_the_videos_that_lay_there_all_along(
    watcher: Watcher, files: Path
) -> None:
    other = Channel(channel_id="UC" + "n" * 22, name="New here")
    spoken(files, "fourth-_-_4", other.channel_id, noon(D0), BUYS)
    watcher.spans()
    settings = watcher.world.settings
    now = watcher.restarted(settings.model_copy(update={"channels": (*settings.channels, other)}))
    assert now.spans() == [span(other.channel_id, D0, D0)]
    assert other.channel_id in now.world.instance.get_dynamic_partitions("channel")
    back = now.restarted(settings)
    assert back.spans() == []
    assert other.channel_id not in back.world.instance.get_dynamic_partitions("channel")


def test_the_days_of_an_inactive_channel_wait_until_it_is_watched_again(watcher: Watcher) -> None:
    settings = watcher.world.settings
    teapot, ladder = settings.channels
    resting = settings.model_copy(update={"channels": (teapot.model_copy(update={"active": False}), ladder)})
    quiet = watcher.restarted(resting)
    assert [first for first, _ in quiet.spans()] == [f"{LADDER}|{D0 + timedelta(days=5)}"]
    assert [first for first, _ in quiet.restarted(settings).spans()] == [f"{TEAPOT}|{D0}"]


def test_more_ranges_than_a_tick_may_ask_for_wait_for_the_next_one(tmp_path: Path, files: Path) -> None:
    days = [date(2024, 1, 1) + timedelta(days=(QUIET_DAYS + 5) * n) for n in range(RUNS_PER_TICK + 2)]
    for n, day in enumerate(days):
        spoken(files, f"video-_-_{n:02}", TEAPOT, noon(day), BUYS)
    with fresh_instance() as instance:
        many = Watcher(located(videos_over(files, tmp_path / "home", start_day=days[0]), instance))
        asked = [many.spans() for _ in range(3)]
    assert [len(found) for found in asked] == [RUNS_PER_TICK, 2, 0]
    assert [first for found in asked for first, _ in found] == [f"{TEAPOT}|{day}" for day in days]


def test_a_day_that_has_not_begun_waits_and_one_before_the_first_partition_is_left_out(
    tmp_path: Path, files: Path
) -> None:
    spoken(files, "before-_-_1", TEAPOT, noon(D0 - timedelta(days=1)), BUYS)
    spoken(files, "today_-_-_2", TEAPOT, noon(D0 + timedelta(days=40)), BUYS)
    spoken(files, "tomorrow_-3", TEAPOT, noon(D0 + timedelta(days=41)), BUYS)
    clock = [noon(D0 + timedelta(days=40))]
    with fresh_instance() as instance:
        settings = videos_over(files, tmp_path / "home")
        early = Watcher(located(settings, instance, lambda: clock[0]))
        today, tomorrow = (D0 + timedelta(days=n) for n in (40, 41))
        assert early.spans() == [span(TEAPOT, today, today)]
        assert early.spans() == []
        clock[0] += timedelta(days=1)
        assert early.spans() == [span(TEAPOT, tomorrow, tomorrow)]


def test_run_keys_stay_short_however_many_files_there_are(tmp_path: Path, files: Path) -> None:
    for n in range(30):
        spoken(files, f"{n:011}", TEAPOT, noon(D0), BUYS)
    with fresh_instance() as instance:
        many = Watcher(located(videos_over(files, tmp_path / "home"), instance))
        many.spans()
        assert len(many.used) == 2
        assert max(map(len, many.used)) < 100


def test_a_folder_that_is_gone_is_one_line_that_names_it(watcher: Watcher, files: Path) -> None:
    shutil.rmtree(files)
    with pytest.raises(Exception, match="cannot list") as raised:
        watcher.tick("new_videos")
    assert str(files) in str(raised.value.__cause__ or raised.value)


# --- versions -----------------------------------------------------------------------------------------------------


def test_a_version_that_is_added_taken_away_and_added_again_is_read_each_time(watcher: Watcher) -> None:
    watcher.until_quiet()
    settings = watcher.world.settings
    both = (*settings.videos.analysis_versions, AnalysisVersion(label="v2"))
    more = settings.model_copy(update={"videos": settings.videos.model_copy(update={"analysis_versions": both})})
    for now in (more, settings, more):
        again = watcher.restarted(now)
        asked, _ = again.tick("prompt_version_added")
        assert spans(asked) == [
            span(LADDER, D0 + timedelta(days=5), D0 + timedelta(days=5)),
            span(TEAPOT, D0, D0 + timedelta(days=3)),
        ]
        selected = {key.path[-1] for request in asked for key in request.asset_selection or ()}
        assert selected == {"video_analyses", "stock_mentions", "pick_outcomes"}
        asked, reason = again.tick("prompt_version_added")
        assert not asked
        assert "on reload" in str(reason)


def test_versions_are_not_asked_for_before_there_is_a_video_or_for_channels_that_are_gone(watcher: Watcher) -> None:
    settings = watcher.world.settings
    both = (*settings.videos.analysis_versions, AnalysisVersion(label="v2"))
    more = settings.model_copy(update={"videos": settings.videos.model_copy(update={"analysis_versions": both})})
    watcher.tick("prompt_version_added")
    asked, reason = watcher.restarted(more).tick("prompt_version_added")
    assert not asked
    assert "no video has been read yet" in str(reason)
    watcher.until_quiet()
    fewer = more.model_copy(update={"channels": settings.channels[:1]})
    asked, _ = watcher.restarted(fewer).tick("prompt_version_added")
    assert [first for first, _ in spans(asked)] == [f"{TEAPOT}|{D0}"]


# --- prices, and what follows from a run --------------------------------------------------------------------------


def priced(path: Path, days: int) -> Path:
    """A random walk is not needed: NVDA doubles each day, SPY stays."""
    lines = ["symbol,date,close"]
    day = D0
    for n in range(days):
        lines += [f"NVDA,{day},{100 * 2**n}", f"SPY,{day},500"]
        day += timedelta(days=3 if day.weekday() == 4 else 1)
    return changed(path, "\n".join(lines) + "\n")


def test_new_prices_are_read_and_the_picks_that_wait_for_them_are_measured(watcher: Watcher, tmp_path: Path) -> None:
    file = priced(tmp_path / "prices.csv", 4)
    settings = watcher.world.settings
    videos = settings.videos.model_copy(update={"prices": (str(file),), "outcome_horizons": (5,)})
    now = watcher.restarted(settings.model_copy(update={"videos": videos}))
    now.spans()
    now.world.run_channel(TEAPOT, D0, D0)
    (request,) = now.tick("new_prices")[0]
    assert spans([request]) == [(str(D0), str(D0 + timedelta(days=3)))]
    assert not now.tick("new_prices")[0]
    now.perform(request, "price_days")
    waiting = rows(now.world.lake, t.PICK_OUTCOMES)
    assert waiting.select("status", "reason").rows() == [("pending", "no_price")]

    priced(file, 10)
    (request,) = now.tick("new_prices")[0]
    (follow,) = now.follows(now.perform(request, "price_days"), "outcomes_after_prices")
    assert spans([follow]) == [span(TEAPOT, D0, D0)]
    assert selected(follow) == ("pick_outcomes",)
    now.perform(follow, "channel_days")
    (measured,) = rows(now.world.lake, t.PICK_OUTCOMES).rows(named=True)
    assert (measured["status"], measured["ret"], measured["alpha"], measured["hit"]) == ("ok", 31.0, 31.0, True)
    again = now.perform(request, "price_days")
    assert now.follows(again, "outcomes_after_prices") == [], "no pick waits for prices any more"


def test_without_price_files_or_with_older_prices_nothing_is_asked_for(watcher: Watcher, tmp_path: Path) -> None:
    settings = watcher.world.settings

    def under(**given: Any) -> tuple[list[dg.RunRequest], str | None]:
        videos = settings.videos.model_copy(update=given)
        return watcher.restarted(settings.model_copy(update={"videos": videos})).tick("new_prices")

    assert under(prices=())[0] == []
    old = changed(tmp_path / "old.csv", "symbol,date,close\nSPY,2020-01-02,300\n")
    asked, reason = under(prices=(str(old),))
    assert asked == []
    assert "no price is of 2026-03-02 or later" in str(reason)


def test_finished_channel_days_ask_for_all_days_whose_window_holds_them_up_to_today(watcher: Watcher) -> None:
    watcher.spans()
    ranged = watcher.world.run_channel(TEAPOT, D0, D0 + timedelta(days=3))
    (asked,) = watcher.follows(ranged, "days_after_channels")
    assert asked.tags == day_range(D0, D0 + timedelta(days=3 + 13))
    key = dg.MultiPartitionKey({"channel": TEAPOT, "day": str(D0)})
    single = watcher.world.run("channel_days", partition_key=key)
    (alone,) = watcher.follows(single, "days_after_channels")
    assert alone.tags == day_range(D0, D0 + timedelta(days=13))
    assert alone.run_key != asked.run_key
    late = replace(watcher, world=located(watcher.world.settings, watcher.world.instance, lambda: noon(D0)))
    (today,) = late.follows(single, "days_after_channels")
    assert today.tags == day_range(D0, D0), "no day is summed up before it has begun"
    result = watcher.perform(alone, "video_days")
    assert result.success
    assert rows(watcher.world.lake, t.TICKER_CONSENSUS)["day"].max() == D0 + timedelta(days=13)


def test_following_the_sensors_makes_the_same_tables_as_a_plain_run(made_videos: Made, tmp_path: Path) -> None:
    with fresh_instance() as instance:
        following = Watcher(located(sample_settings(tmp_path), instance))
        jobs = following.until_quiet()
        assert jobs.count("video_landing") == 1
        for table in t.TABLES:
            followed, plainly = (settled(rows(lake, table)) for lake in (following.world.lake, made_videos.lake))
            assert followed.equals(plainly), table.name
        assert following.until_quiet() == []


# --- what waits ---------------------------------------------------------------------------------------------------


def wait(control: Control, table: str, channel: str, reason: str, due: datetime | None) -> None:
    partition = f"{channel}|{D0}"
    control.record_pending(table, [partition], [Pending(table, partition, reason, 1, due)])


@pytest.mark.parametrize(
    ("table", "reason", "assets"),
    [
        ("transcripts", "awaiting_captions", CHANNEL_DAYS[1:]),
        ("transcripts", "source_blocked", CHANNEL_DAYS[1:]),
        ("video_analyses", "transport", ("video_analyses", "stock_mentions", "pick_outcomes")),
        ("pick_outcomes", "not_matured", ("pick_outcomes",)),
    ],
)
def test_what_waits_is_asked_for_when_its_time_has_come_with_what_is_made_from_it(
    watcher: Watcher, table: str, reason: str, assets: tuple[str, ...]
) -> None:
    watcher.spans()
    wait(watcher.world.control, table, TEAPOT, reason, NOW + timedelta(minutes=1))
    asked, skipped = watcher.tick("backlog")
    assert not asked
    assert "nothing is due" in str(skipped)
    wait(watcher.world.control, table, TEAPOT, reason, NOW - timedelta(minutes=1))
    (request,) = watcher.tick("backlog")[0]
    assert request.job_name == "channel_days"
    assert request.partition_key == dg.MultiPartitionKey({"channel": TEAPOT, "day": str(D0)})
    assert selected(request) == assets
    assert not watcher.tick("backlog")[0]
    assert watcher.perform(request, "").success


def test_what_waits_for_an_event_is_not_asked_for(watcher: Watcher) -> None:
    watcher.spans()
    wait(watcher.world.control, "pick_outcomes", TEAPOT, "no_price", None)
    wait(watcher.world.control, "videos", TEAPOT, "upcoming", None)
    assert [watcher.tick(name)[0] for name in ("backlog", "daily_cost_cap", "quota")] == [[], [], []]


def test_what_waits_of_a_channel_that_is_gone_holds_nothing_else_up(watcher: Watcher) -> None:
    watcher.spans()
    due = NOW - timedelta(minutes=1)
    for channel in (TEAPOT, LADDER):
        wait(watcher.world.control, "transcripts", channel, "awaiting_captions", due)
        wait(watcher.world.control, "pick_outcomes", channel, "no_price", None)
    settings = watcher.world.settings
    fewer = watcher.restarted(settings.model_copy(update={"channels": settings.channels[:1]}))
    fewer.spans()
    (request,) = fewer.tick("backlog")[0]
    assert str(request.partition_key) == f"{TEAPOT}|{D0}"
    prices = fewer.world.run("price_days", partition_key=str(D0))
    assert spans(fewer.follows(prices, "outcomes_after_prices")) == [span(TEAPOT, D0, D0)]


def test_a_pick_that_costs_nothing_is_measured_although_there_is_no_money_left(watcher: Watcher) -> None:
    settings = watcher.world.settings
    caps = settings.caps.model_copy(update={"videos_daily_cap_usd": Decimal(0)})
    broke = watcher.restarted(settings.model_copy(update={"caps": caps}))
    broke.spans()
    due = NOW - timedelta(minutes=1)
    wait(broke.world.control, "video_analyses", TEAPOT, "cap_exhausted", due)
    wait(broke.world.control, "pick_outcomes", TEAPOT, "not_matured", due)
    (request,) = broke.tick("backlog")[0]
    assert selected(request) == ("pick_outcomes",)
    asked, reason = broke.tick("daily_cost_cap")
    assert asked == []
    assert "product:videos has no money left" in str(reason)


# --- schedules ----------------------------------------------------------------------------------------------------


def scheduled(world_: World, name: str, at: datetime) -> tuple[list[dg.RunRequest], str | None]:
    repository = world_.defs.get_repository_def()
    context = dg.build_schedule_context(
        instance=world_.instance,
        scheduled_execution_time=at,
        repository_def=repository,
        resources=world_.resources("lake", "control", "video_source"),
    )
    told = repository.get_schedule_def(name).evaluate_tick(context)
    return list(told.run_requests or []), told.skip_message


@pytest.mark.parametrize(
    ("seconds", "cron"),
    [
        (3600, f"0 {','.join(map(str, range(24)))} * * *"),
        (10_800, "0 0,3,6,9,12,15,18,21 * * *"),
        (43_200, "0 0,12 * * *"),
        (86_400, "0 0 * * *"),
    ],
)
def test_the_poll_is_as_often_as_the_settings_say(watcher: Watcher, seconds: int, cron: str) -> None:
    settings = watcher.world.settings
    often = settings.model_copy(update={"videos": settings.videos.model_copy(update={"poll_seconds": seconds})})
    repository = watcher.restarted(often).world.defs.get_repository_def()
    poll = repository.get_schedule_def("youtube_poll")
    assert (poll.cron_schedule, poll.job_name, poll.execution_timezone) == (cron, "youtube_poll", None)


def test_the_evening_sums_up_yesterday_and_today_and_nothing_before_videos_begin(watcher: Watcher) -> None:
    evening = watcher.world.defs.get_repository_def().get_schedule_def("consensus_daily")
    assert (evening.cron_schedule, evening.execution_timezone) == ("30 22 * * *", "UTC")

    def asked(day: date) -> list[tuple[str, str]]:
        return spans(scheduled(watcher.world, "consensus_daily", datetime.combine(day, time(22, 30), UTC))[0])

    assert asked(D0 + timedelta(days=10)) == [(str(D0 + timedelta(days=9)), str(D0 + timedelta(days=10)))]
    assert asked(D0) == [(str(D0), str(D0))]
    requests, reason = scheduled(watcher.world, "consensus_daily", noon(D0 - timedelta(days=1)))
    assert not requests
    assert "videos begin on 2026-03-02" in str(reason)


def test_missing_captions_are_looked_for_again_each_week_for_two_months_where_youtube_is_asked(
    watcher: Watcher, files: Path
) -> None:
    day = D0 + timedelta(days=7)
    spoken(files, "silent-_-_4", LADDER, noon(day))
    watcher.spans()
    watcher.world.run_channel(LADDER, day, day)
    weekly = watcher.world.defs.get_repository_def().get_schedule_def("no_captions_weekly")
    assert (weekly.cron_schedule, weekly.execution_timezone) == ("0 5 * * 0", "UTC")
    asked, reason = scheduled(watcher.world, "no_captions_weekly", noon(day + timedelta(days=20)))
    assert not asked
    assert "videos.live is off" in str(reason)

    settings = watcher.world.settings
    live = settings.model_copy(update={"videos": settings.videos.model_copy(update={"live": True})})
    now = watcher.restarted(live).world
    asked, _ = scheduled(now, "no_captions_weekly", noon(day + timedelta(days=20)))
    assert spans(asked) == [span(LADDER, day, day)]
    last = scheduled(now, "no_captions_weekly", noon(day + timedelta(days=RECHECK_DAYS)))[0]
    assert len(last) == 1
    too_late, reason = scheduled(now, "no_captions_weekly", noon(day + timedelta(days=RECHECK_DAYS + 1)))
    assert not too_late
    assert "no video of the last two months" in str(reason)
    gone = watcher.restarted(live.model_copy(update={"channels": settings.channels[:1]})).world
    assert scheduled(gone, "no_captions_weekly", noon(day + timedelta(days=20)))[0] == []


def test_nothing_of_videos_runs_by_itself_until_it_is_switched_on(watcher: Watcher) -> None:
    jobs = {name: watcher.world.defs.resolve_job_def(name) for name in ("video_days", "channel_days")}
    schedules = build_schedules(watcher.world.settings, jobs)
    assert {schedule.default_status for schedule in schedules} == {dg.DefaultScheduleStatus.STOPPED}
    names = {"new_videos", "prompt_version_added", "new_prices", "days_after_channels", "outcomes_after_prices"}
    sensors = {one.name: one for one in watcher.world.defs.get_repository_def().sensor_defs}
    assert names <= sensors.keys()
    assert {sensors[name].default_status for name in names} == {dg.DefaultSensorStatus.STOPPED}


# --- the network --------------------------------------------------------------------------------------------------


def test_a_poll_without_leave_fails_for_good_with_one_line(watcher: Watcher) -> None:
    result = watcher.world.run("youtube_poll", check=False)
    (line,) = failure_lines(result)
    assert "videos.live is off" in line
    with pytest.raises(dg.Failure) as raised:
        poll_channels(dg.build_op_context(resources=watcher.world.resources("video_source")))
    assert raised.value.allow_retries is False


def test_no_sensor_and_no_schedule_touches_the_network(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher.spans()
    settings = watcher.world.settings
    live = settings.model_copy(update={"videos": settings.videos.model_copy(update={"live": True})})
    now = watcher.restarted(live)
    wait(now.world.control, "transcripts", TEAPOT, "awaiting_captions", NOW - timedelta(minutes=1))
    finished = {
        "days_after_channels": now.world.run("channel_days", partition_key=_key(TEAPOT)),
        "outcomes_after_prices": now.world.run("price_days", partition_key=str(D0)),
    }

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a sensor touched the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("new_videos", "prompt_version_added", "new_prices", "backlog", "daily_cost_cap", "quota"):
        now.tick(name)
    for name, result in finished.items():
        now.follows(result, name)
    for name in ("consensus_daily", "no_captions_weekly"):
        scheduled(now.world, name, NOW)


def _key(channel: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"channel": channel, "day": str(D0)})

"""A plan of videos foretells the calls that reading them makes, version by version, and writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.control import Control
from magpie.engine import limits_of
from magpie.errors import UserError
from magpie.functions import FUNCTIONS
from magpie.lake import Lake
from magpie.llm.budget import course
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.llm.plan import Plan, Tally
from magpie.llm.purpose import Limit
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from magpie.videos import tables as t
from magpie.videos.live import source_of
from magpie.videos.plan import NO_SYMBOLS, plan
from magpie.videos.segments import SegmentRules, video_segments
from magpie.videos.stages import Reader, Source
from tests.cli_world import Here, one_line
from tests.gateway_world import Desk, desk
from tests.ledger_world import NOON, FakeClock
from tests.videos_world import CHANNEL, DAY, FIRST, OTHER, PUBLISHED, SECOND, THIRD, captions_file, info_file, seconds

NEXT = DAY + timedelta(days=1)
FUNCTIONS_ASKED = ("market_outlook", "extract_picks")
# Enough words for two pieces of the least size.
LONG = [f"line {n} says that rates and earnings are what everybody looks at this week" for n in range(20)]
CHEAP, DEAR = "openai/gpt-4.1-mini", "openai/gpt-4.1"


@dataclass(frozen=True)
class World:
    """Two videos of one day, one of the next, and the tables that are made of them."""

    settings: Settings
    lake: Lake
    source: Source

    def with_videos(self, **given: Any) -> "World":
        videos = type(self.settings.videos).model_validate(self.settings.videos.model_dump() | given)
        settings = self.settings.model_copy(update={"videos": videos})
        return replace(self, settings=settings, source=replace(self.source, settings=settings))

    def list_files(self) -> None:
        self.lake.write(t.VIDEO_FILES, self.source.video_files(), Partitions.whole())

    def make(self, *days: date, captions: bool = True) -> None:
        """The tables by channel and day as far as segments."""
        channel = self.settings.channel(CHANNEL)
        videos = self.source.videos(channel, days)
        self._write(t.VIDEOS, videos, days)
        if captions:
            heard = self.source.transcripts(channel, days, videos)
            self._write(t.TRANSCRIPTS, heard, days)

    def _write(self, table: Table, rows: pl.DataFrame, days: tuple[date, ...]) -> None:
        self.lake.write(table, rows, Partitions({CHANNEL: frozenset(days)}))

    def read(self, at: Desk, days: list[date]) -> pl.DataFrame:
        """What the asset does with the channel's days."""
        partitions = Partitions({CHANNEL: frozenset(days)})
        videos, heard = (self.lake.read(table, partitions).collect() for table in (t.VIDEOS, t.TRANSCRIPTS))
        cut = video_segments(heard, dict(videos.select("video_id", "chapters").iter_rows()), self.rules)
        reader = Reader(self.settings, engine(at), NO_SYMBOLS, "run-1", lambda state: None)
        return reader.video_analyses(self.settings.channel(CHANNEL), videos, heard, cut)[0]

    @property
    def rules(self) -> SegmentRules:
        return SegmentRules.of(self.settings.videos)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "in"
    later = seconds(PUBLISHED + timedelta(days=1))
    for video_id, stamp, texts in ((FIRST, None, LONG), (SECOND, None, LONG[:3]), (THIRD, later, LONG[:3])):
        info_file(folder, video_id, **({"timestamp": stamp} if stamp else {}))
        captions_file(folder, f"{video_id}.en.json3", *texts)
    settings = Settings.model_validate(
        {
            "start_day": DAY,
            "home": tmp_path / "home",
            "root": tmp_path,
            "videos": {
                "archives": ["in"],
                "segment_target_chars": 700,
                "segment_max_chars": 900,
                "llm_min_interval_s": 0,
            },
            "channels": [{"channel_id": CHANNEL, "name": "Some channel"}],
        }
    )
    control, lake = Control(f"sqlite:///{tmp_path / 'listing.db'}"), Lake(settings.lake_root)
    yield World(settings, lake, source_of(settings, lake, control, clock=lambda: NOON))
    control.close()


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(f"sqlite:///{tmp_path / 'control.db'}", tmp_path, fake, clock=clock, sleep=clock.sleep) as made:
        yield made


def engine(at: Desk, provider: str = "auto") -> Engine:
    return Engine(FUNCTIONS, Models.load({"aliases": {"fast": (CHEAP,)}}), at.gateway, EngineSettings(provider, 1))


def planned(world: World, at: Desk, *days: date, **more: Any) -> Plan:
    return plan(world.settings, world.lake, engine(at, **more), *days)


def tallies(found: Plan, label: str) -> dict[date | None, Tally | None]:
    return {line.day: line.tally for line in found.lines if line.label == label}


def ready(world: World) -> World:
    world.list_files()
    world.make(DAY, NEXT)
    return world


def test_the_plan_is_what_reading_the_videos_then_asks_and_afterwards_everything_is_journalled(
    world: World, at: Desk
) -> None:
    found = planned(ready(world), at)
    assert tallies(found, "market_outlook v1") == {DAY: Tally(items=2, new=2), NEXT: Tally(items=1, new=1)}
    picks = tallies(found, "extract_picks v1")
    pieces = picks[DAY].items if picks[DAY] else 0
    assert pieces > 2
    assert found.asked == {f"{function} v1": CHEAP for function in FUNCTIONS_ASKED}
    assert (found.first, found.last) == (DAY, NEXT)
    assert at.fake.attempts == 0
    rows = world.read(at, [DAY, NEXT])
    assert set(rows["status"]) == {"ok"}
    assert at.fake.attempts == len(found.calls) == pieces + 4
    assert 0 < sum(call.cost_nano for call in at.calls()) <= sum(call.est_nano for call in found.calls)
    again = planned(world, at)
    assert again.calls == ()
    assert tallies(again, "market_outlook v1")[DAY] == Tally(items=2, journalled=2)


def test_another_version_is_planned_beside_the_active_one_which_stays_paid(world: World, at: Desk) -> None:
    ready(world).read(at, [DAY, NEXT])
    versions = [{"label": "v1", "active": True}, {"label": "v2", "model": DEAR}]
    found = planned(world.with_videos(analysis_versions=versions), at)
    assert tallies(found, "market_outlook v1")[DAY] == Tally(items=2, journalled=2)
    assert tallies(found, "market_outlook v2")[DAY] == Tally(items=2, new=2)
    assert found.asked["extract_picks v2"] == DEAR
    assert {call.part for call in found.calls} == {"market_outlook v2", "extract_picks v2"}
    assert {call.asset for call in found.calls} == {"video_analyses"}
    before = at.fake.attempts
    world.with_videos(analysis_versions=versions).read(at, [DAY, NEXT])
    assert at.fake.attempts - before == len(found.calls)


def test_read_as_a_whole_there_is_one_question_per_video(world: World, at: Desk) -> None:
    found = planned(ready(world).with_videos(analysis_mode="whole"), at)
    assert set(found.asked) == {"analyze_video v1"}
    assert tallies(found, "analyze_video v1") == {DAY: Tally(items=2, new=2), NEXT: Tally(items=1, new=1)}


def test_pieces_are_planned_under_the_settings_of_the_next_run_not_the_stored_ones(world: World, at: Desk) -> None:
    found = planned(ready(world).with_videos(segment_target_chars=6000, segment_max_chars=8000), at)
    assert tallies(found, "extract_picks v1")[DAY] == Tally(items=2, new=2)


def test_the_cap_of_videos_cuts_the_calls_that_the_plan_says(world: World, at: Desk) -> None:
    at.fake.misbehave("usage_missing", times=None)
    found = planned(ready(world), at)
    ests = [call.est_nano for call in found.calls]
    at.gateway.limits = replace(
        limits_of(world.settings), by_scope={"product:videos": (Limit("D", sum(ests[:4]) + min(ests) // 2),)}
    )
    today = [day == 0 for day in course(found.calls, at.gateway.limits, {}, NOON)]
    assert 0 < sum(today) < len(today)
    rows = world.read(at, [DAY, NEXT])
    assert at.fake.attempts == sum(today)
    assert set(rows.filter(pl.col("status") == "pending")["reason"]) == {"cap_exhausted"}


def test_days_whose_videos_or_captions_are_not_made_are_told_from_days_that_hold_nothing(
    world: World, at: Desk
) -> None:
    world.list_files()
    assert set(tallies(planned(world, at), "market_outlook v1").values()) == {None}
    world.make(DAY, NEXT, captions=False)
    assert set(tallies(planned(world, at), "market_outlook v1").values()) == {None}
    world.make(DAY)
    made = tallies(planned(world, at), "market_outlook v1")
    assert made == {DAY: Tally(items=2, new=2), NEXT: None}
    assert planned(world, at, NEXT, NEXT).calls == ()


def test_a_video_that_waits_for_captions_and_a_new_file_are_named(world: World, at: Desk) -> None:
    info_file(world.settings.root / "in", "ddddddddddd", timestamp=seconds(NOON))
    world.list_files()
    world.make(DAY, NEXT, NOON.date())
    info_file(world.settings.root / "in", "eeeeeeeeeee")
    notes = " ".join(planned(world, at).notes)
    assert "1 videos wait for captions" in notes
    assert "1 files are new or changed" in notes


def test_pauses_between_calls_are_told_as_time(world: World, at: Desk) -> None:
    found = planned(ready(world).with_videos(llm_min_interval_s=30), at)
    waits = timedelta(seconds=30 * (len(found.calls) - 1))
    assert f"calls are 30 s apart, so the new ones take {waits} at least" in found.notes


def test_offline_everything_is_free_and_nothing_is_written(world: World, at: Desk, tmp_path: Path) -> None:
    found = planned(ready(world), at, provider="offline")
    assert set(found.asked.values()) == {"offline"}
    assert found.calls == () and tallies(found, "market_outlook v1")[DAY] == Tally(items=2, free=2)
    assert not (tmp_path / "control.db").exists()


def test_without_videos_it_says_what_to_run_and_wrong_channels_and_days_are_refused(world: World, at: Desk) -> None:
    with pytest.raises(UserError, match="run `magpie run videos` first"):
        planned(world, at)
    with pytest.raises(UserError, match="must be in order"):
        planned(world, at, NEXT, DAY)
    with pytest.raises(UserError, match="channels there"):
        plan(world.settings, world.lake, engine(at), channels=[OTHER])


def test_the_command_refuses_in_one_line_and_leaves_no_home(tmp_path: Path, here: Here) -> None:
    home = tmp_path / "home"
    assert "run `magpie run videos` first" in one_line(here(home, "plan", "videos"))
    assert "--campaign narrows leads" in one_line(here(home, "plan", "videos", "--campaign", "agency-crm"))
    assert "no channel 'nobody'" in one_line(here(home, "plan", "videos", "--channel", "nobody"))
    assert not home.exists()

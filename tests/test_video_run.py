"""`magpie run videos` alone and beside leads: which days are made, what is refused, which products are meant."""

import re
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from dagster_world import (
    LADDER,
    REPO,
    TEAPOT,
    VIDEO_FIRST,
    VIDEO_LAST,
    Made,
    archive,
    days_between,
    made_videos,
    rows,
    run_plainly,
    sample_settings,
    settings_over,
    spoken,
    submission,
    versions,
    videos_over,
)

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import tables as leads
from magpie.running import RunRequest
from magpie.settings import Settings, load_settings
from magpie.videos import tables as t
from magpie.videos.changes import QUIET_DAYS
from runs.courses import COURSES, courses_of
from schedules.spend import SPEND
from schedules.videos import CHANNEL_DAYS, VIDEO_DAYS, VIDEO_LANDING

__all__ = ["made_videos"]

D0 = date(2026, 3, 2)
BUYS = "I am buying Nvidia again because data centres keep ordering"


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def lake_of(settings: Settings) -> Lake:
    return Lake(settings.lake_root)


def made_days(settings: Settings, channel: str) -> set[date]:
    return {row["day"] for row in lake_of(settings).present(t.VIDEOS) if row["channel_id"] == channel}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two videos of one channel a long time apart, and one of the other."""
    spoken(tmp_path / "in", "first_-_-_1", TEAPOT, noon(D0), BUYS)
    spoken(tmp_path / "in", "later_-_-_2", TEAPOT, noon(D0 + timedelta(days=QUIET_DAYS + 10)), BUYS)
    spoken(tmp_path / "in", "other_-_-_3", LADDER, noon(D0 + timedelta(days=5)), BUYS)
    return tmp_path / "in"


@pytest.fixture
def settings(files: Path, tmp_path: Path) -> Settings:
    return videos_over(files, tmp_path / "home", prices=(), consensus_days=3)


# --- which days ---------------------------------------------------------------------------------------------------


def test_a_plain_run_makes_every_day_of_the_sample_and_its_progress_reaches_the_total(made_videos: Made) -> None:
    steps, settings = made_videos.progress, made_videos.settings
    assert made_videos.outcome.failures == ()
    assert (made_videos.outcome.first, made_videos.outcome.last) == (VIDEO_FIRST, VIDEO_LAST)
    channel_days = len(days_between(VIDEO_FIRST, VIDEO_LAST)) + len(days_between(VIDEO_FIRST, VIDEO_LAST))
    days = len(days_between(VIDEO_FIRST, VIDEO_LAST)) + settings.videos.consensus_days - 1
    prices = len(days_between(VIDEO_FIRST, date(2026, 4, 17)))
    total = len(VIDEO_LANDING) + prices + channel_days * len(CHANNEL_DAYS) + days * len(VIDEO_DAYS) + len(SPEND)
    assert steps[-1].done == steps[-1].total == total
    assert all(earlier.done <= later.done for earlier, later in pairwise(steps))
    assert {step.doing for step in steps} >= {table.name for table in t.TABLES}
    untouched = versions(made_videos.lake, (leads.REDDIT_POSTS, leads.CAMPAIGN_POSTS, leads.LEADS))
    assert set(untouched.values()) == {-1}, "videos alone makes nothing of leads"


def test_a_copy_of_the_sample_elsewhere_gives_the_same_mentions(made_videos: Made, tmp_path: Path) -> None:
    (tmp_path / "project" / "samples").mkdir(parents=True)
    shutil.copy(REPO / "magpie.yaml", tmp_path / "project")
    shutil.copytree(REPO / "samples" / "youtube", tmp_path / "project" / "samples" / "youtube")
    settings = load_settings(tmp_path / "project" / "magpie.yaml")
    assert settings.home == tmp_path / "project" / ".magpie"
    first, last = date(2026, 3, 9), date(2026, 3, 12)
    outcome, _ = run_plainly(settings, product="videos", first=first, last=last, channels=(TEAPOT,))
    assert outcome.failures == ()
    there, here = (rows(lake, t.STOCK_MENTIONS, first, last) for lake in (made_videos.lake, lake_of(settings)))
    assert here.height
    assert here.equals(there.filter(there["channel_id"] == TEAPOT))
    assert not any(Path(name).is_absolute() for name in rows(lake_of(settings), t.VIDEO_FILES)["source_file"])


def test_long_quiet_times_of_a_channel_are_left_out(settings: Settings) -> None:
    outcome, _ = run_plainly(settings, product="videos")
    later = D0 + timedelta(days=QUIET_DAYS + 10)
    assert outcome.failures == ()
    assert (outcome.first, outcome.last) == (D0, later)
    lake = lake_of(settings)
    assert set(rows(lake, t.VIDEOS)["video_id"]) == {"first_-_-_1", "later_-_-_2", "other_-_-_3"}
    window = timedelta(days=settings.videos.consensus_days - 1)
    firsts = (D0, D0 + timedelta(days=5), later)
    summed = {day for first in firsts for day in days_between(first, first + window)}
    assert set(rows(lake, t.DAILY_DIGEST)["day"]) == summed
    commits = versions(lake, (t.VIDEOS, t.STOCK_MENTIONS, t.TICKER_CONSENSUS))
    # The empty table is version 0; then one commit per range, of which one channel has two and the days have three.
    assert commits == {"videos": 3, "stock_mentions": 3, "ticker_consensus": 3}


def test_from_to_and_channel_bound_what_is_made_and_a_resting_channel_has_to_be_named(settings: Settings) -> None:
    teapot, ladder = settings.channels
    resting = settings.model_copy(update={"channels": (teapot.model_copy(update={"active": False}), ladder)})
    outcome, _ = run_plainly(resting, product="videos", first=D0 + timedelta(days=1))
    assert (outcome.first, outcome.last) == (D0 + timedelta(days=5), D0 + timedelta(days=5))
    assert rows(lake_of(settings), t.VIDEOS)["video_id"].to_list() == ["other_-_-_3"]
    outcome, _ = run_plainly(resting, product="videos", last=D0 + timedelta(days=9), channels=(TEAPOT, TEAPOT))
    assert (outcome.first, outcome.last) == (D0, D0)
    assert set(rows(lake_of(settings), t.VIDEOS)["video_id"]) == {"first_-_-_1", "other_-_-_3"}


def test_without_a_video_on_these_days_the_run_says_so_and_succeeds(settings: Settings) -> None:
    outcome, _ = run_plainly(settings, product="videos", first=date(2026, 6, 1))
    assert outcome.failures == ()
    assert outcome.warnings == ("the folders hold no video of a watched channel on these days",)
    assert (outcome.first, outcome.last) == (None, None)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"channels": ("UC" + "x" * 22,)}, f"no channel 'UC{'x' * 22}'.*channels there: {TEAPOT}, {LADDER}"),
        ({"first": date(2026, 3, 9), "last": date(2026, 3, 8)}, "must be in order"),
        ({"first": date(2020, 1, 1)}, "start_day 2026-03-02"),
        ({"last": date(2999, 1, 1)}, "today"),
        ({"product": "kites"}, "products: leads, videos, memes, content, persona, spend, marts"),
    ],
)
def test_a_wrong_request_is_refused_with_one_line(settings: Settings, request_: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        run_plainly(settings, **{"product": "videos", **request_})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"archives": ("nowhere",)}, "video_files: .*nowhere"),
        ({"symbols": "no-such.csv"}, "symbols: .*no-such.csv"),
        ({"prices": ("no-such-prices.csv",)}, "no-such-prices.csv"),
    ],
)
def test_a_file_or_folder_that_is_not_there_fails_the_run_with_one_line(
    settings: Settings, section: Mapping[str, Any], told: str
) -> None:
    wrong = settings.model_copy(update={"videos": settings.videos.model_copy(update=dict(section))})
    try:
        outcome, _ = run_plainly(wrong, product="videos")
        (line,) = outcome.failures
    except UserError as error:
        line = str(error)
    assert "\n" not in line
    assert "Error" not in line
    assert re.search(told, line)


# --- products -----------------------------------------------------------------------------------------------------


def requested(**given: Any) -> RunRequest:
    return RunRequest(**given)


def having(base: Settings, *, campaigns: bool, channels: bool) -> Settings:
    """The settings with these products and no other, and of the campaigns the one that `submission` matches."""
    return base.model_copy(
        update={
            "campaigns": base.campaigns[:1] if campaigns else (),
            "channels": base.channels if channels else (),
            "meme_sources": (),
            "sites": (),
            "blogs": (),
            "memes": base.memes.model_copy(update={"archives": (), "events": ()}),
        }
    )


@pytest.mark.parametrize(
    ("campaigns", "channels", "plain"),
    [
        (True, True, ["leads", "videos", "spend", "marts"]),
        (True, False, ["leads", "spend", "marts"]),
        (False, True, ["videos", "spend", "marts"]),
        # With neither, leads says what is missing.
        (False, False, ["leads", "spend", "marts"]),
    ],
)
def test_a_plain_run_makes_the_products_that_the_settings_have(
    tmp_path: Path, campaigns: bool, channels: bool, plain: list[str]
) -> None:
    settings = having(sample_settings(tmp_path), campaigns=campaigns, channels=channels)
    assert courses_of(settings, requested()) == plain
    # Whatever the settings have, what is asked for by name is that, with the books.
    assert courses_of(settings, requested(product="leads")) == ["leads", "spend"]
    assert courses_of(settings, requested(product="videos")) == ["videos", "spend"]
    assert courses_of(settings, requested(product="spend")) == ["spend"]
    assert courses_of(settings, requested(product="marts")) == ["marts"]
    # A campaign or channel that is named means its product.
    assert courses_of(settings, requested(campaigns=("a",))) == ["leads", "spend", "marts"]
    assert courses_of(settings, requested(channels=("UC",))) == ["videos", "spend", "marts"]
    assert courses_of(settings, requested(campaigns=("a",), channels=("UC",))) == ["leads", "videos", "spend", "marts"]
    assert courses_of(settings, requested(product="videos", campaigns=("a",))) == ["videos", "spend"]
    for request in (requested(), requested(channels=("UC",)), requested(product="leads")):
        chosen = courses_of(settings, request)
        assert chosen == [name for name in COURSES if name in chosen], "in the order in which they are made"


@pytest.fixture
def marts_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whether marts were asked for; building them is not what these tests are about, and slow."""
    asked: list[str] = []
    monkeypatch.setitem(COURSES, "marts", lambda course: asked.append("marts"))
    return asked


def test_a_project_with_channels_and_no_campaigns_runs_without_archives_of_posts(
    settings: Settings, marts_made: list[str]
) -> None:
    alone = having(settings, campaigns=False, channels=True)
    outcome, _ = run_plainly(alone, product=None, last=D0)
    assert outcome.failures == ()
    assert marts_made == ["marts"]
    assert rows(lake_of(alone), t.STOCK_MENTIONS)["symbol"].to_list() == ["NVDA"]
    assert set(versions(lake_of(alone), (leads.REDDIT_POSTS, leads.LEADS)).values()) <= {-1, 0}


def test_a_project_with_campaigns_and_no_channels_makes_no_videos(tmp_path: Path, marts_made: list[str]) -> None:
    archive(tmp_path / "in" / "posts.ndjson", submission("one", D0))
    alone = having(settings_over(tmp_path / "in", tmp_path / "home"), campaigns=True, channels=False)
    outcome, _ = run_plainly(alone, product=None)
    assert outcome.failures == ()
    assert marts_made == ["marts"]
    assert rows(lake_of(alone), leads.REDDIT_POSTS).height == 1
    assert set(versions(lake_of(alone), (t.VIDEO_FILES, t.VIDEOS)).values()) <= {-1, 0}
    asked, _ = run_plainly(alone, product="videos")
    assert asked.failures == ()
    assert len(asked.warnings) == 1


def test_a_run_of_everything_makes_both_products_and_what_fails_stops_what_comes_after(
    tmp_path: Path, files: Path, marts_made: list[str]
) -> None:
    archive(tmp_path / "posts" / "posts.ndjson", submission("one", D0))
    posts = settings_over(tmp_path / "posts", tmp_path / "home")
    videos = videos_over(files, tmp_path / "home", prices=(), consensus_days=3).videos
    both = having(posts.model_copy(update={"videos": videos}), campaigns=True, channels=True)
    outcome, told = run_plainly(both, product=None, last=D0)
    assert outcome.failures == ()
    assert rows(lake_of(both), leads.REDDIT_POSTS).height == 1
    assert rows(lake_of(both), t.VIDEOS)["video_id"].to_list() == ["first_-_-_1"]
    assert told[-1].done == told[-1].total
    assert marts_made == ["marts"]
    (tmp_path / "posts" / "broken.zst").write_bytes(b"this is no zstandard frame")
    was = versions(lake_of(both), t.TABLES)
    failed, _ = run_plainly(both, product=None)
    (line,) = failed.failures
    assert "broken.zst" in line
    assert versions(lake_of(both), t.TABLES) == was
    assert marts_made == ["marts"]

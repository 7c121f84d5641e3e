"""Which days of which channels have to be made anew: after new, changed and lost files, versions and prices."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leads_world import MemoryLake

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.sources.youtube_files import find
from magpie.tables import Partitions
from magpie.videos import listing
from magpie.videos.changes import (
    QUIET_DAYS,
    Seen,
    after,
    price_files,
    price_span,
    read_spans,
    spans,
    stale_files,
    versions_hash,
)
from magpie.videos.listing import Places
from magpie.videos.tables import TRANSCRIPTS, VIDEO_FILES, VIDEOS
from tests.mentions_world import rows_of
from tests.videos_world import (
    CHANNEL,
    DAY,
    FIRST,
    OTHER,
    PUBLISHED,
    SECOND,
    a_heard_video,
    a_read_video,
    captions_file,
    info_file,
    lines,
    transcripts,
    videos,
)

TODAY = DAY + timedelta(days=30)


def some_settings(*channels: str, root: Path | None = None, **given: Any) -> Settings:
    told = [{"channel_id": channel, "name": channel} for channel in channels or (CHANNEL, OTHER)]
    place = {"root": root, "home": root / "home"} if root else {}
    return Settings.model_validate({"start_day": date(2026, 1, 1), "channels": told, **place, **given})


def a_file(day: date, channel: str = CHANNEL, name: str = "x", **given: Any) -> dict[str, Any]:
    base = dict.fromkeys(VIDEO_FILES.dtypes) | {
        "source_file": f"{channel}/{day}/{name}",
        "source": "archive",
        "kind": "info",
        "bytes": 10,
        "modified_ns": 1,
        "video_id": FIRST,
        "channel_id": channel,
        "day": day,
        "status": "ok",
    }
    return base | given


def lake_of(*files: dict[str, Any]) -> Lake:
    lake = MemoryLake()
    lake.write(VIDEO_FILES, rows_of(VIDEO_FILES, files), Partitions.whole())
    return lake


def looked(
    seen: Seen,
    *files: dict[str, Any],
    settings: Settings | None = None,
    today: date = TODAY,
    deleted: Sequence[str] = (),
    listed: Sequence[dict[str, Any]] = (),
) -> Seen:
    """What a sensor knows after looking, having read its own cursor."""
    lake, gone = lake_of(*files), pl.DataFrame({"fullname": list(deleted)}, schema={"fullname": pl.String})
    frame = videos(*listed)
    lake.write(VIDEOS, frame, Partitions.of(frame.select("channel_id", "day").rows()))
    return after(Seen.read(seen.dump()), lake, gone, settings or some_settings(), today)


def test_the_days_of_new_files_wait_once() -> None:
    seen = looked(Seen({}), a_file(DAY), a_file(DAY, name="y"))
    assert seen.waiting == ((CHANNEL, DAY, DAY),)
    again = looked(seen.left_with([]), a_file(DAY), a_file(DAY, name="y"))
    assert (again.waiting, again.days, again.state) == ((), seen.days, seen.state)


@pytest.mark.parametrize("change", [{"bytes": 11}, {"modified_ns": 2}, {"source_file": "renamed"}])
def test_the_day_of_a_changed_file_waits_again_and_no_other(change: dict[str, Any]) -> None:
    late = DAY + timedelta(days=20)
    seen = looked(Seen({}), a_file(DAY), a_file(late)).left_with([])
    changed = looked(seen, a_file(DAY) | change, a_file(late))
    assert changed.waiting == ((CHANNEL, DAY, DAY),)
    assert changed.state != seen.state


def test_the_day_a_file_left_is_made_anew_too() -> None:
    seen = looked(Seen({}), a_file(DAY)).left_with([])
    moved = DAY + timedelta(days=16)
    assert looked(seen, a_file(moved)).waiting == ((CHANNEL, DAY, DAY), (CHANNEL, moved, moved))
    assert looked(seen).waiting == ((CHANNEL, DAY, DAY),)


def test_what_still_waits_is_kept_and_joined_with_what_is_new() -> None:
    seen = looked(Seen({}), a_file(DAY), a_file(DAY, OTHER))
    more = looked(seen, a_file(DAY), a_file(DAY, OTHER), a_file(DAY + timedelta(days=1)))
    assert more.waiting == ((CHANNEL, DAY, DAY + timedelta(days=1)), (OTHER, DAY, DAY))


def test_files_that_are_of_no_use_make_no_day_wait() -> None:
    unknown = a_file(DAY, status="rejected", reason="no_video")
    early, late = a_file(date(2025, 12, 31)), a_file(TODAY + timedelta(days=1))
    seen = looked(Seen({}), unknown, early, late)
    assert seen.waiting == ()
    assert looked(seen, unknown, early, late, today=TODAY + timedelta(days=1)).waiting == (
        (CHANNEL, TODAY + timedelta(days=1), TODAY + timedelta(days=1)),
    )


def test_the_day_of_a_video_that_was_deleted_waits_once() -> None:
    listed = [a_read_video(FIRST), a_read_video(SECOND, channel_id=OTHER)]
    seen = looked(Seen({}), a_file(DAY), a_file(DAY, OTHER), listed=listed).left_with([])
    after_one = looked(seen, a_file(DAY), a_file(DAY, OTHER), listed=listed, deleted=[SECOND, "unknown_one"])
    assert after_one.waiting == ((OTHER, DAY, DAY),)
    assert after_one.state != seen.state
    again = looked(
        after_one.left_with([]), a_file(DAY), a_file(DAY, OTHER), listed=listed, deleted=[SECOND, "unknown_one", FIRST]
    )
    assert again.waiting == ((CHANNEL, DAY, DAY),)


def test_a_channel_that_is_not_watched_any_more_waits_for_nothing() -> None:
    seen = looked(Seen({}), a_file(DAY), a_file(DAY, OTHER))
    fewer = looked(seen, a_file(DAY), a_file(DAY, OTHER), settings=some_settings(OTHER))
    assert fewer.waiting == ((OTHER, DAY, DAY),)
    back = looked(fewer.left_with([]), a_file(DAY), a_file(DAY, OTHER))
    assert back.waiting == ((CHANNEL, DAY, DAY),)


def test_a_channel_that_is_switched_off_waits_for_nothing() -> None:
    off = Settings.model_validate(
        {"start_day": date(2026, 1, 1), "channels": [{"channel_id": CHANNEL, "name": "x", "active": False}]}
    )
    assert looked(Seen({}), a_file(DAY), settings=off) == Seen({})


DAYS = st.dates(date(2026, 1, 1), date(2026, 12, 31))
PAIRS = st.lists(st.tuples(st.sampled_from([CHANNEL, OTHER]), DAYS), max_size=30)


@given(PAIRS)
def test_spans_hold_every_day_asked_for_and_begin_and_end_with_one(pairs: list[tuple[str, date]]) -> None:
    found = spans((channel, str(day)) for channel, day in pairs)
    assert all((channel, first) in pairs and (channel, last) in pairs for channel, first, last in found)
    for channel, day in pairs:
        assert sum(name == channel and first <= day <= last for name, first, last in found) == 1
    for (name, _, last), (other, first, _) in pairwise(found):
        assert name < other or first - last > timedelta(days=QUIET_DAYS)


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4), st.integers(0, 99), PAIRS)
def test_a_cursor_gives_back_what_was_written(
    days: dict[str, str], deletions: int, pairs: list[tuple[str, date]]
) -> None:
    seen = Seen(days, deletions, waiting=tuple(spans((channel, str(day)) for channel, day in pairs)))
    assert Seen.read(seen.dump()) == seen
    assert Seen.read(None) == Seen.read("") == Seen({})


def test_files_are_stale_until_they_are_listed_and_again_when_they_change(tmp_path: Path) -> None:
    settings = some_settings(root=tmp_path, videos={"archives": ["tapes"]})
    lake, places = lake_of(), Places.of(settings)
    info_file(tmp_path / "tapes" / CHANNEL)
    assert stale_files(settings, lake) == [f"tapes/{CHANNEL}/{FIRST}.info.json"]
    listed = listing.video_files(
        find(places.folders), places, {CHANNEL}, VIDEO_FILES.empty(), lambda ids: dict.fromkeys(ids, PUBLISHED)
    )
    lake.write(VIDEO_FILES, listed, Partitions.whole())
    assert stale_files(settings, lake) == []
    captions_file(tmp_path / "tapes" / CHANNEL, f"{FIRST}.en.json3")
    assert stale_files(settings, lake) == [f"tapes/{CHANNEL}/{FIRST}.en.json3"]


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot list .*tapes"):
        stale_files(some_settings(root=tmp_path, videos={"archives": ["tapes"]}), lake_of())


V1 = {"label": "v1", "active": True}
V2 = {"label": "v2", "active": False}


def hash_of(*versions: dict[str, Any], **given: Any) -> str:
    return versions_hash(some_settings(videos={"analysis_versions": list(versions), **given}))


def test_the_versions_are_others_when_one_is_added_changed_or_made_active() -> None:
    plain = hash_of(V1)
    others = [
        hash_of(V1, V2),
        hash_of(V1 | {"model": "smart"}),
        hash_of(V1 | {"prompts": {"extract_picks": "List picks of {transcript}"}}),
        hash_of(V1 | {"active": False}, V2 | {"active": True}),
        hash_of(V1, analysis_mode="whole"),
    ]
    assert len({plain, *others}) == 6
    assert hash_of(V1, poll_seconds=3600) == plain


def test_the_days_that_are_read_anew_are_those_with_captions() -> None:
    lake = MemoryLake()
    days = [DAY, DAY + timedelta(days=40), DAY + timedelta(days=41)]
    rows = [a_heard_video(f"vvvvvvvvvv{n}", lines("hello"), day) for n, day in enumerate(days)]
    rows.append(
        a_heard_video("wwwwwwwwww1", [], DAY + timedelta(days=20), status="failed", reason="no_captions")
        | {"language": None}
    )
    frame = transcripts(*rows)
    lake.write(TRANSCRIPTS, frame, Partitions.of(frame.select("channel_id", "day").rows()))
    assert read_spans(lake) == [(CHANNEL, DAY, DAY), (CHANNEL, days[1], days[2])]


def test_prices_are_told_from_the_first_day_of_videos_on(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text("symbol,date,close\nSPY,2025-12-30,10\nSPY,2026-01-05,11\nSPY,2026-01-09,12\n")
    settings = some_settings(root=tmp_path, videos={"prices": ["prices.csv"]})
    assert price_span(settings) == (date(2026, 1, 5), date(2026, 1, 9))
    before = price_files(settings)
    prices.write_text("symbol,date,close\nSPY,2025-12-30,10\n")
    assert price_files(settings) != before
    assert price_span(settings) is None
    assert price_span(some_settings(root=tmp_path)) is None

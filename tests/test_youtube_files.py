"""Files of videos: names say what they are, and what is in them is believed only where it makes sense."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.sources import youtube_feed, youtube_info
from magpie.sources.whole_file import write_whole
from magpie.sources.youtube_feed import BadFeed, FeedEntry, read_feed, write_feed_entry
from magpie.sources.youtube_files import FoundFile, find, name_parts, video_id_of
from magpie.sources.youtube_info import BadInfo, Chapter, VideoInfo, merged, read_info
from tests.fake_youtube import CHANNEL, PUBLISHED, a_feed

VIDEO = "aB3_-fghijk"
NOW = datetime(2026, 5, 2, 9, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")


def named(folder: Path, name: str) -> FoundFile:
    touch(folder, name)
    (found,) = find([folder])
    return found


def an_info(folder: Path, name: str = f"{VIDEO}.info.json", **facts: Any) -> VideoInfo:
    path = folder / name
    path.write_text(json.dumps({"id": VIDEO, "epoch": EPOCH} | facts))
    return read_info(path)


def test_files_of_videos_are_found_below_folders_sorted_and_once(tmp_path: Path) -> None:
    touch(tmp_path, "b/x.info.json", "a/x.rss.json", "a/x.en.vtt", "a/deep/y.en.json3", "z.live_chat.json", "z.mp4")
    touch(tmp_path, "b/x.en.vtt.part", "b/.x.en.vtt", ".hidden/x.en.vtt", "b/x.info.json.tmp", "b/.vtt", "notes.json")
    found = find([tmp_path, tmp_path / "a"])
    names = [str(one.path.relative_to(tmp_path)) for one in found]
    assert names == ["a/deep/y.en.json3", "a/x.en.vtt", "a/x.rss.json", "b/x.info.json"]
    assert [one.kind for one in found] == ["captions", "captions", "info", "info"]
    assert found[0].bytes == 2 and found[0].modified_ns == found[0].path.stat().st_mtime_ns


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot list .*nowhere"):
        find([tmp_path / "nowhere"])


def test_a_link_to_nothing_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.en.vtt").symlink_to(tmp_path / "gone.vtt")
    assert find([tmp_path]) == []


@pytest.mark.parametrize(
    ("name", "stem", "track", "form", "manual"),
    [
        (f"{VIDEO}.en.vtt", VIDEO, "en", "vtt", False),
        (f"A title [{VIDEO}].en-orig.json3", f"A title [{VIDEO}]", "en-orig", "json3", False),
        (f"Up 3.5% vs. plan [v2] [{VIDEO}].zh-Hans.srv3", f"Up 3.5% vs. plan [v2] [{VIDEO}]", "zh-Hans", "srv3", False),
        (f"{VIDEO}.nl-en.vtt", VIDEO, "nl-en", "vtt", False),
        (f"{VIDEO}.en-nP7-2PuUl7o.vtt", VIDEO, "en-nP7-2PuUl7o", "vtt", False),
        (f"{VIDEO}.manual.en.srt", VIDEO, "en", "srt", True),
        (f"{VIDEO}.en.manual.srt", VIDEO, "en", "srt", True),
        (f"{VIDEO}.manual.srt", VIDEO, None, "srt", True),
        (f"{VIDEO}.ru.auto.vtt", VIDEO, "ru", "vtt", False),
        (f"{VIDEO}.en.auto-translated.vtt", VIDEO, "auto-translated", "vtt", False),
        (f"{VIDEO}.vtt", VIDEO, None, "vtt", False),
        (f"Mr. Market [{VIDEO}].vtt", f"Mr. Market [{VIDEO}]", None, "vtt", False),
        ("manual.vtt", "manual", None, "vtt", False),
    ],
)
def test_the_name_of_a_caption_file_says_track_and_kind(
    tmp_path: Path, name: str, stem: str, track: str | None, form: str, manual: bool
) -> None:
    found = named(tmp_path, name)
    assert (found.stem, found.track, found.format, found.manual) == (stem, track, form, manual)
    assert found.video_id == (VIDEO if VIDEO in name else None)


@pytest.mark.parametrize(
    ("stem", "video_id"),
    [
        (VIDEO, VIDEO),
        (f"A [b] title [{VIDEO}]", VIDEO),
        (f"[{VIDEO}] title", None),
        (f"title {VIDEO}", None),
        (f"title [{VIDEO}x]", None),
        (f"{VIDEO}x", None),
        ("", None),
    ],
)
def test_an_id_stands_in_brackets_at_the_end_or_alone(stem: str, video_id: str | None) -> None:
    assert video_id_of(stem) == video_id


@given(st.text(alphabet="ab.[]-_ é", max_size=30), st.sampled_from(["en", "de-orig", "pt-BR"]))
def test_a_title_of_any_letters_gives_back_its_id_and_track(title: str, track: str) -> None:
    stem = f"{title} [{VIDEO}]"
    assert video_id_of(stem) == VIDEO
    assert name_parts(f"{stem}.{track}") == (stem, track, False)


def test_an_info_file_tells_all_that_is_kept(tmp_path: Path) -> None:
    told = an_info(
        tmp_path,
        channel_id=CHANNEL,
        title="Rates &\u0000 risk\ud83d",
        description="line\nline",
        timestamp=1777636800,
        upload_date="20260401",
        duration=61.5,
        view_count=7,
        like_count=0,
        webpage_url=f"https://www.youtube.com/watch?v={VIDEO}",
        live_status="not_live",
        availability="public",
        age_limit=0,
        language="en-US",
        chapters=[{"start_time": 30, "title": "Two"}, {"start_time": 0.0, "end_time": 30, "title": "One"}],
        subtitles={"en": [], "live_chat": []},
        automatic_captions={"en-orig": [], "en": []},
    )
    assert told == VideoInfo(
        source="archive",
        video_id=VIDEO,
        channel_id=CHANNEL,
        title="Rates & risk",
        description="line\nline",
        published_at=datetime.fromtimestamp(1777636800, UTC),
        date_precision="second",
        epoch=NOW,
        duration_s=61.5,
        view_count=7,
        like_count=0,
        live_status="not_live",
        availability="public",
        language="en-US",
        chapters=(Chapter(0.0, "One"), Chapter(30.0, "Two")),
        manual_tracks=("en",),
        automatic_tracks=("en", "en-orig"),
    )


DAY = datetime(2026, 4, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("facts", "published_at", "precision"),
    [
        ({"timestamp": 1777636800.0}, datetime.fromtimestamp(1777636800, UTC), "second"),
        ({"timestamp": None, "upload_date": "20260430"}, DAY, "day"),
        ({"upload_date": "20260431"}, None, "unknown"),
        ({"upload_date": 20260430}, None, "unknown"),
        ({"timestamp": True}, None, "unknown"),
        ({"timestamp": "1777636800"}, None, "unknown"),
        ({"timestamp": 0, "upload_date": "20260430"}, DAY, "day"),
        ({"timestamp": int(datetime(2005, 4, 22, tzinfo=UTC).timestamp())}, None, "unknown"),
        ({"timestamp": EPOCH + 400 * 86400}, None, "unknown"),
        ({"timestamp": 1e300, "upload_date": "99990101"}, None, "unknown"),
        ({"timestamp": float("nan")}, None, "unknown"),
        ({}, None, "unknown"),
    ],
)
def test_publication_is_known_to_the_second_to_the_day_or_not_at_all(
    tmp_path: Path, facts: dict[str, Any], published_at: datetime | None, precision: str
) -> None:
    told = an_info(tmp_path, **facts)
    assert (told.published_at, told.date_precision) == (published_at, precision)


def test_without_a_time_of_fetching_the_files_own_time_bounds_the_future(tmp_path: Path) -> None:
    path = tmp_path / f"{VIDEO}.info.json"
    path.write_text(json.dumps({"timestamp": EPOCH}))
    os.utime(path, (EPOCH, EPOCH))
    assert read_info(path).date_precision == "second"
    os.utime(path, (EPOCH - 3 * 366 * 86400,) * 2)
    assert read_info(path).date_precision == "unknown"


@pytest.mark.parametrize(
    ("facts", "availability", "restriction"),
    [
        ({"availability": "public", "age_limit": 0}, "public", None),
        ({"availability": "unlisted"}, "unlisted", None),
        ({"availability": "private"}, "private", None),
        ({"availability": "subscriber_only"}, "restricted", "members_only"),
        ({"availability": "premium_only"}, "restricted", "premium_only"),
        ({"availability": "needs_auth"}, "restricted", "login"),
        ({"availability": "needs_auth", "age_limit": 18}, "restricted", "age_restricted"),
        ({"availability": "public", "age_limit": 18}, "restricted", "age_restricted"),
        ({"availability": ["public"]}, None, None),
        ({}, None, None),
    ],
)
def test_availability_names_what_restricts_it(
    tmp_path: Path, facts: dict[str, Any], availability: str | None, restriction: str | None
) -> None:
    told = an_info(tmp_path, **facts)
    assert (told.availability, told.restriction) == (availability, restriction)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"live_status": "was_live"}, "was_live"),
        ({"live_status": "soon", "is_live": True}, "is_live"),
        ({"was_live": True}, "was_live"),
        ({"is_live": False, "was_live": False}, "not_live"),
        ({"is_live": False}, None),
        ({"live_status": ["is_live"]}, None),
    ],
)
def test_live_status_is_one_of_five_words_also_from_old_files(
    tmp_path: Path, facts: dict[str, Any], status: str | None
) -> None:
    assert an_info(tmp_path, **facts).live_status == status


def test_the_end_of_a_stream_is_told_only_when_it_is_over_and_known(tmp_path: Path) -> None:
    stream = {"live_status": "was_live", "release_timestamp": EPOCH - 7200, "duration": 3600}
    assert an_info(tmp_path, **stream).ended_at == NOW - timedelta(hours=1)
    for change in ({"live_status": "is_live"}, {"duration": None}, {"release_timestamp": None}):
        assert an_info(tmp_path, **(stream | change)).ended_at is None


@pytest.mark.parametrize(
    ("facts", "short"),
    [
        ({"webpage_url": f"https://www.youtube.com/shorts/{VIDEO}"}, True),
        ({"original_url": f"https://www.youtube.com/shorts/{VIDEO}"}, True),
        ({"media_type": "short"}, True),
        ({"media_type": "video", "webpage_url": f"https://www.youtube.com/watch?v={VIDEO}", "duration": 30}, False),
    ],
)
def test_a_short_is_what_is_called_one(tmp_path: Path, facts: dict[str, Any], short: bool) -> None:
    assert an_info(tmp_path, **facts).is_short is short


def test_values_of_wrong_type_or_range_count_as_not_said(tmp_path: Path) -> None:
    told = an_info(
        tmp_path,
        channel_id="UC../../etc",
        title=["x"],
        description=7,
        duration=-1,
        view_count=-5,
        like_count="many",
        language="english please",
        chapters=[{"start_time": -1, "title": "x"}, {"title": "y"}, "z", None],
        subtitles=["en"],
        automatic_captions={"x" * 99: []},
        epoch="today",
    )
    assert told == VideoInfo("archive", VIDEO)


def test_long_texts_are_cut(tmp_path: Path) -> None:
    told = an_info(tmp_path, title="t" * 9999, description="d" * 99_999)
    assert (len(told.title or ""), len(told.description or "")) == (500, 20_000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1]", "holds no JSON object"),
        (json.dumps({"id": CHANNEL, "_type": "playlist"}).encode(), "describes no video"),
    ],
)
def test_a_file_that_describes_no_video_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / f"{VIDEO}.info.json"
    path.write_bytes(content)
    with pytest.raises(BadInfo, match=words) as caught:
        read_info(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(youtube_info, "MAX_BYTES", 10)
    with pytest.raises(BadInfo, match="allowed are 10"):
        an_info(tmp_path)


def test_without_an_id_inside_the_name_tells_it(tmp_path: Path) -> None:
    path = tmp_path / f"Some title [{VIDEO}].info.json"
    path.write_text("{}")
    assert read_info(path) == VideoInfo("archive", VIDEO)


FIELDS = (
    *("id", "timestamp", "upload_date", "epoch", "duration", "view_count", "live_status", "availability", "age_limit"),
    *("chapters", "subtitles", "title", "release_timestamp", "webpage_url", "language", "_magpie_restriction"),
    "_magpie_source",
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_an_info_file_with_any_values_is_read_or_refused(tmp_path: Path, facts: dict[str, Any]) -> None:
    path = tmp_path / f"{VIDEO}.info.json"
    path.write_text(json.dumps(facts))
    if isinstance(facts.get("id", VIDEO), str) and youtube_info.VIDEO_ID.fullmatch(facts.get("id", VIDEO)):
        told = read_info(path)
        assert (told.published_at is None) == (told.date_precision == "unknown")
        assert (told.restriction is not None) == (told.availability == "restricted")
        (told.title or "").encode()
    else:
        with pytest.raises(BadInfo):
            read_info(path)


def info(source: Any, hours: int = 0, **facts: Any) -> VideoInfo:
    return VideoInfo(source, VIDEO, epoch=NOW + timedelta(hours=hours), **facts)


def test_of_several_sources_each_field_is_the_first_that_is_said() -> None:
    archive = info("archive", title="From the archive", chapters=(Chapter(0, "One"),))
    live = info("ytdlp", title="Live", view_count=0, manual_tracks=("en",), availability="public")
    feed = info("rss", title="Feed", view_count=9, description="About", is_short=True)
    told = merged([feed, live, archive])
    assert told == merged([archive, feed, live])
    assert told == replace(
        archive, view_count=0, manual_tracks=("en",), availability="public", description="About", is_short=True
    )


def test_the_most_precise_moment_of_publication_wins_with_its_precision() -> None:
    archive = info("archive", published_at=DAY, date_precision="day")
    feed = info("rss", published_at=PUBLISHED, date_precision="second")
    live = info("ytdlp", published_at=PUBLISHED + timedelta(seconds=1), date_precision="second")
    told = merged([feed, archive, live])
    assert (told.source, told.published_at, told.date_precision) == ("archive", live.published_at, "second")


def test_availability_keeps_the_restriction_of_the_same_source() -> None:
    archive, live = (
        info("archive", availability="public"),
        info("ytdlp", availability="restricted", restriction="login"),
    )
    assert (merged([archive, live]).availability, merged([archive, live]).restriction) == ("public", None)


def test_of_one_source_the_last_fetch_is_heard_first() -> None:
    assert merged([info("archive", 0, title="Old"), info("archive", 5, title="New")]).title == "New"


def test_a_stream_that_a_later_fetch_found_over_is_over() -> None:
    upcoming = info("archive", 0, live_status="is_upcoming")
    assert merged([upcoming, info("ytdlp", 5, live_status="was_live")]).live_status == "was_live"
    assert merged([upcoming, info("ytdlp", -5, live_status="not_live")]).live_status == "is_upcoming"


def test_only_what_is_said_of_one_video_is_merged() -> None:
    for wrong in ([], [VideoInfo("rss", VIDEO), VideoInfo("rss", "lmnopqrstuv")]):
        with pytest.raises(ValueError, match="one video"):
            merged(wrong)


def test_a_feed_gives_its_entries_with_moments_in_utc() -> None:
    first, second = read_feed(a_feed(VIDEO, "lmnopqrstuv", shorts=["lmnopqrstuv"]))
    link = f"https://www.youtube.com/watch?v={VIDEO}"
    assert first == FeedEntry(VIDEO, CHANNEL, "Video 0", PUBLISHED, PUBLISHED, "About & around 0", 100, link)
    assert second.is_short and not first.is_short and second.published_at == PUBLISHED - timedelta(hours=1)


def test_an_entry_of_a_feed_that_makes_no_sense_costs_only_itself() -> None:
    feed = a_feed(VIDEO, "lmnopqrstuv").replace(b"<yt:videoId>lmno", b"<yt:videoId>../lmno")
    feed = feed.replace(b'views="100"', b'views="lots"').replace(PUBLISHED.isoformat().encode(), b"yesterday")
    (entry,) = read_feed(feed)
    assert (entry.video_id, entry.view_count, entry.published_at) == (VIDEO, None, None)


def test_an_address_in_a_feed_is_not_taken_over() -> None:
    feed = a_feed(VIDEO).replace(b"https://www.youtube.com/watch?v=", b"https://elsewhere.example/?v=")
    assert read_feed(feed)[0].link == f"https://www.youtube.com/watch?v={VIDEO}"


BOMB = b"""<?xml version="1.0"?><!DOCTYPE feed [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<feed xmlns="http://www.w3.org/2005/Atom"><title>&b;</title></feed>"""


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (BOMB, "document type"),
        (BOMB.decode().replace('version="1.0"', 'version="1.0" encoding="utf-16"').encode("utf-16"), "document type"),
        (b"", "no XML"),
        (b"<feed", "no XML"),
        (b"<html></html>", "no Atom feed"),
        (b"<?xml version='1.0' encoding='klingon'?><feed/>", "no XML"),
        (b" " * 100, "allowed are"),
    ],
)
def test_what_is_no_feed_is_refused_in_one_line(xml: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if words == "allowed are":
        monkeypatch.setattr(youtube_feed, "MAX_BYTES", 99)
    with pytest.raises(BadFeed, match=words):
        read_feed(xml)


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"<feed>{text}</feed>".encode("utf-8", "replace"))
)
def test_any_bytes_are_a_feed_or_refused(xml: bytes) -> None:
    try:
        read_feed(xml)
    except BadFeed as error:
        assert "\n" not in str(error)


@given(st.integers(0, 600), st.binary(max_size=3))
def test_a_feed_that_was_cut_or_changed_anywhere_is_read_or_refused(at: int, put: bytes) -> None:
    feed = a_feed(VIDEO)
    try:
        read_feed(feed[:at] + put + feed[at + len(put) :])
        read_feed(feed[:at] + put)
    except BadFeed:
        pass


def test_an_entry_that_is_kept_is_read_like_an_info_file(tmp_path: Path) -> None:
    (entry,) = read_feed(a_feed(VIDEO, shorts=[VIDEO]))
    path = write_feed_entry(tmp_path / CHANNEL, replace(entry, channel_id=None), CHANNEL, NOW)
    (found,) = find([tmp_path])
    assert (found.path, found.kind, found.video_id) == (path, "info", VIDEO)
    assert read_info(path) == VideoInfo(
        *("rss", VIDEO, CHANNEL, "Video 0", "About & around 0", PUBLISHED, "second", NOW, None, 100, None, True)
    )


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_whole(tmp_path / "deep" / "x.en.vtt", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and [one.name for one in path.parent.iterdir()] == ["x.en.vtt"]


def test_a_file_that_is_written_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    touch(tmp_path, "other")
    assert write_whole(tmp_path / "x", b"1").stat().st_mode == (tmp_path / "other").stat().st_mode

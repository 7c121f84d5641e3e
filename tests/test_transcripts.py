"""Transcripts: the best track that can be read, YouTube behind the files, and what videos without captions wait for."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from leads_world import MemoryLake

from magpie.control import Control
from magpie.fetches import Fetch
from magpie.lake import conform
from magpie.settings import Settings
from magpie.sources.captions import Track
from magpie.tables import Partitions
from magpie.videos.caption_states import Patience
from magpie.videos.settings import Videos
from magpie.videos.stages import Source
from magpie.videos.tables import TRANSCRIPTS, VIDEO_FILES
from magpie.videos.transcripts import CaptionFile, Shelf, Visited, transcripts
from tests.videos_world import (
    CHANNEL,
    DAY,
    FIRST,
    PUBLISHED,
    SECOND,
    THIRD,
    a_read_video,
    a_visit,
    captions_file,
    info_file,
    videos,
)

PATIENCE = Patience.of(Videos())
HOUR = timedelta(hours=1)
DATA = Path(__file__).parents[2] / "shared" / "data" / "youtube"
needs_files = pytest.mark.skipif(not DATA.is_dir(), reason="the caption files of YouTube are not in ../shared/data")
Row = dict[str, Any]


def caption(
    folder: Path, track: str = "en", *texts: str, manual: bool = False, form: str = "json3", video_id: str = FIRST
) -> CaptionFile:
    path = captions_file(folder, f"{video_id}.{track}.{form}", *texts)
    return CaptionFile(path, Track(track, form, manual))


def broken(file: CaptionFile) -> CaptionFile:
    file.path.write_bytes(b"{ cut off in the mid")
    return file


@dataclass
class YouTube:
    """Answers visits as told, captions where files are; counts who was asked about, in which language."""

    now: datetime = PUBLISHED
    outcomes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Sequence[CaptionFile]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def visit(self, video_id: str, language: str) -> Visited:
        self.asked.append((video_id, language))
        outcome = self.outcomes.get(video_id, "captions" if video_id in self.files else "no_captions")
        return Visited(a_visit(outcome, self.now, video_id, "told"), tuple(self.files.get(video_id, ())))

    def ids(self) -> list[str]:
        return [video_id for video_id, _ in self.asked]


def made(
    *rows: Row,
    files: Mapping[str, Sequence[CaptionFile]] | None = None,
    visits: Sequence[Fetch] = (),
    youtube: YouTube | None = None,
    now: datetime = PUBLISHED,
    language: str = "en",
) -> dict[str, Row]:
    by_video = {one.item: [other for other in visits if other.item == one.item] for one in visits}
    shelf = Shelf(files or {}, by_video, youtube.visit if youtube else None)
    if youtube:
        youtube.now = now
    found = transcripts(videos(*rows or [a_read_video()]), shelf, language, PATIENCE, lambda: now)
    return {row["video_id"]: row for row in conform(TRANSCRIPTS, found).rows(named=True)}


def fate(row: Row) -> tuple[str, str | None, datetime | None]:
    return row["status"], row["reason"], row["not_before"]


def test_the_lines_of_a_file_become_text_words_and_a_hash_of_the_text(tmp_path: Path) -> None:
    row = made(files={FIRST: [caption(tmp_path, "en-orig", "we add", "a little  more")]})[FIRST]
    assert fate(row) == ("ok", None, None)
    assert (row["raw_text"], row["word_count"]) == ("we add a little more", 5)
    assert (row["language"], row["track"], row["format"]) == ("en", "en-orig", "json3")
    assert row["caption_source"] == "captions_auto"
    assert row["segments"][1] == {"start_s": 5.0, "end_s": 10.0, "text": "a little more"}
    assert row["transcript_hash"] == hashlib.sha256(b"we add a little more").hexdigest()


def test_what_people_wrote_is_read_before_what_was_recognised(tmp_path: Path) -> None:
    heard, written = caption(tmp_path, "en", "heard"), caption(tmp_path, "en-GB", "written", manual=True)
    row = made(files={FIRST: [heard, written]})[FIRST]
    assert (row["raw_text"], row["caption_source"], row["track"]) == ("written", "captions_manual", "en-GB")


def test_only_videos_that_are_read_get_a_transcript() -> None:
    rejected = a_read_video(SECOND, status="rejected", reason="short", observed="9", threshold="61")
    assert set(made(a_read_video(), rejected)) == {FIRST}


def test_behind_a_broken_track_the_next_best_is_read(tmp_path: Path) -> None:
    best = broken(caption(tmp_path, "en", "best", manual=True))
    empty = captions_file(tmp_path, f"{FIRST}.en-GB.json3")
    empty.write_text('{"events": []}')
    files = [best, CaptionFile(empty, Track("en-GB", "json3", True)), caption(tmp_path, "en-orig", "next")]
    row = made(files={FIRST: files})[FIRST]
    assert (row["status"], row["raw_text"], row["caption_source"]) == ("ok", "next", "captions_auto")


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_files_of_one_track_the_one_that_can_be_read_counts(tmp_path: Path, order: int) -> None:
    files = [broken(caption(tmp_path / "archive", "en", "lost")), caption(tmp_path / "own", "en", "kept")]
    assert made(files={FIRST: files[::order]})[FIRST]["raw_text"] == "kept"


def test_where_no_track_can_be_read_the_best_file_is_named(tmp_path: Path) -> None:
    files = [broken(caption(tmp_path, "en-orig")), broken(caption(tmp_path, "en", manual=True))]
    row = made(files={FIRST: files})[FIRST]
    assert fate(row) == ("failed", "bad_captions", None)
    assert row["observed"].startswith(f"{FIRST}.en.json3: ")
    assert str(tmp_path) not in row["observed"]
    gone = [CaptionFile(tmp_path / f"{FIRST}.en.vtt", Track("en", "vtt", False))]
    missing = made(files={FIRST: gone})[FIRST]
    assert fate(missing) == ("failed", "bad_captions", None)
    assert missing["observed"] == f"{FIRST}.en.vtt: No such file or directory"


def test_translated_tracks_are_as_good_as_none(tmp_path: Path) -> None:
    files = [caption(tmp_path, "nl-en", "vertaald"), caption(tmp_path, "live_chat", "hi"), caption(tmp_path, "de")]
    assert fate(made(files={FIRST: files})[FIRST]) == ("pending", "awaiting_captions", PUBLISHED + HOUR)


def test_a_video_s_own_language_goes_before_that_of_its_channel(tmp_path: Path) -> None:
    files = {FIRST: [caption(tmp_path, "de", "hallo"), caption(tmp_path, "en", "hello")]}
    assert made(a_read_video(language="de"), files=files)[FIRST]["raw_text"] == "hallo"
    assert made(a_read_video(), files=files, language="de")[FIRST]["raw_text"] == "hallo"
    assert made(a_read_video(), files=files)[FIRST]["raw_text"] == "hello"


@pytest.mark.parametrize(
    ("given", "anchor"),
    [
        ({"ended_at": PUBLISHED + 5 * HOUR}, PUBLISHED + 5 * HOUR),
        ({"published_at": PUBLISHED}, PUBLISHED),
        ({"published_at": None, "first_seen_at": PUBLISHED + 9 * HOUR}, PUBLISHED + 9 * HOUR),
    ],
)
def test_waiting_counts_from_the_end_of_a_stream_else_publication_else_first_sight(
    given: Row, anchor: datetime
) -> None:
    assert made(a_read_video(**given), now=anchor)[FIRST]["not_before"] == anchor + HOUR


def test_without_files_an_old_video_fails_and_a_new_one_waits_for_its_next_hour() -> None:
    assert fate(made(now=PUBLISHED + 3 * HOUR)[FIRST]) == ("pending", "awaiting_captions", PUBLISHED + 6 * HOUR)
    row = made(now=PUBLISHED + 2000 * HOUR)[FIRST]
    assert (*fate(row), row["observed"], row["threshold"]) == ("failed", "no_captions", None, "72 h", "72 h")


def test_youtube_is_asked_for_what_no_file_holds_and_for_nothing_else(tmp_path: Path) -> None:
    youtube = YouTube(files={SECOND: [caption(tmp_path, "de-orig", "gefunden", video_id=SECOND)]})
    rows = [a_read_video(FIRST), a_read_video(SECOND, language="de")]
    found = made(*rows, files={FIRST: [caption(tmp_path)]}, youtube=youtube)
    assert youtube.asked == [(SECOND, "de")]
    assert (found[SECOND]["status"], found[SECOND]["raw_text"], found[SECOND]["language"]) == ("ok", "gefunden", "de")


def test_captions_that_come_late_are_found_at_the_next_hour(tmp_path: Path) -> None:
    youtube = YouTube()
    first = made(youtube=youtube)[FIRST]
    assert fate(first) == ("pending", "awaiting_captions", PUBLISHED + HOUR)
    visits = [a_visit("no_captions", PUBLISHED)]
    early = made(visits=visits, youtube=youtube, now=PUBLISHED + HOUR / 2)[FIRST]
    assert (fate(early), len(youtube.asked)) == (fate(first), 1)
    youtube.files = {FIRST: [caption(tmp_path, "en", "at last")]}
    late = made(visits=visits, youtube=youtube, now=PUBLISHED + HOUR)[FIRST]
    assert (late["status"], late["raw_text"], len(youtube.asked)) == ("ok", "at last", 2)


def test_a_video_that_nobody_may_see_is_rejected_and_not_asked_about_again() -> None:
    youtube = YouTube(outcomes={FIRST: "private"})
    assert fate(made(youtube=youtube)[FIRST]) == ("rejected", "private", None)
    again = made(youtube=youtube, visits=[a_visit("private", PUBLISHED)], now=PUBLISHED + 500 * HOUR)[FIRST]
    assert (fate(again), len(youtube.asked)) == (("rejected", "private", None), 1)


@pytest.mark.parametrize("outcome", ["source_blocked", "cooling_down"])
def test_once_the_source_as_a_whole_refuses_the_others_wait_without_being_asked(outcome: str) -> None:
    rows = [a_read_video(video_id) for video_id in (FIRST, SECOND, THIRD)]
    youtube = YouTube(outcomes={SECOND: outcome})
    found = made(*rows, youtube=youtube)
    assert youtube.ids() == [FIRST, SECOND]
    assert found[FIRST]["reason"] == "awaiting_captions"
    assert fate(found[THIRD]) == fate(found[SECOND])
    assert found[THIRD]["reason"] == outcome and found[THIRD]["not_before"] > PUBLISHED


def test_while_the_source_rests_a_video_that_is_not_due_keeps_its_own_state(tmp_path: Path) -> None:
    rows = [a_read_video(video_id) for video_id in (FIRST, SECOND, THIRD)]
    youtube = YouTube(outcomes={FIRST: "source_blocked"})
    visits = [a_visit("no_captions", PUBLISHED, SECOND)]
    found = made(*rows, files={THIRD: [caption(tmp_path)]}, visits=visits, youtube=youtube)
    assert fate(found[SECOND]) == ("pending", "awaiting_captions", PUBLISHED + HOUR)
    assert found[THIRD]["status"] == "ok"


@pytest.mark.parametrize("outcome", ["transport", "po_token_required"])
def test_what_concerns_one_video_does_not_keep_the_others_from_being_asked(outcome: str) -> None:
    rows = [a_read_video(video_id) for video_id in (FIRST, SECOND)]
    youtube = YouTube(outcomes={FIRST: outcome})
    assert made(*rows, youtube=youtube)[FIRST]["reason"] == outcome
    assert youtube.ids() == [FIRST, SECOND]


def test_videos_are_asked_about_in_the_order_of_publication() -> None:
    rows = [
        a_read_video(FIRST, published_at=None),
        a_read_video(SECOND, published_at=PUBLISHED),
        a_read_video(THIRD, published_at=PUBLISHED - HOUR),
    ]
    youtube = YouTube()
    made(*rows, youtube=youtube)
    assert youtube.ids() == [THIRD, SECOND, FIRST]


def test_captions_that_were_fetched_and_are_gone_from_disk_are_fetched_again(tmp_path: Path) -> None:
    youtube = YouTube(files={FIRST: [caption(tmp_path, "en", "once more")]})
    visits = [a_visit("captions", PUBLISHED)]
    assert made(visits=visits, youtube=youtube, now=PUBLISHED + timedelta(seconds=1))[FIRST]["raw_text"] == "once more"


def test_captions_that_were_fetched_without_text_wait_like_absent_ones(tmp_path: Path) -> None:
    empty = caption(tmp_path)
    empty.path.write_text('{"events": []}')
    youtube, visits = YouTube(), [a_visit("captions", PUBLISHED)]
    row = made(files={FIRST: [empty]}, visits=visits, youtube=youtube, now=PUBLISHED + HOUR / 2)[FIRST]
    assert (fate(row), youtube.asked) == (("pending", "awaiting_captions", PUBLISHED + HOUR), [])


@pytest.mark.parametrize(
    ("outcome", "now", "expected"),
    [
        ("transport", PUBLISHED + 200 * HOUR, ("pending", "transport")),
        ("no_captions", PUBLISHED, ("pending", "awaiting_captions")),
        ("private", PUBLISHED + 200 * HOUR, ("rejected", "private")),
        ("no_captions", PUBLISHED + 200 * HOUR, ("failed", "bad_captions")),
    ],
)
def test_a_broken_file_is_the_end_of_it_only_where_youtube_has_nothing_better_to_come(
    tmp_path: Path, outcome: str, now: datetime, expected: tuple[str, str]
) -> None:
    youtube = YouTube(outcomes={FIRST: outcome})
    row = made(files={FIRST: [broken(caption(tmp_path))]}, youtube=youtube, now=now)[FIRST]
    assert (row["status"], row["reason"]) == expected


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    told = {"start_day": DAY, "root": tmp_path, "home": tmp_path / "home", "videos": {"archives": ["tapes"]}}
    settings = Settings.model_validate(told | {"channels": [{"channel_id": CHANNEL, "name": "A channel"}]})
    control = Control(f"sqlite:///{tmp_path / 'control.db'}")
    yield Source(settings, MemoryLake(), control, None, lambda: PUBLISHED + 100 * HOUR)
    control.close()


def heard_on_disk(source: Source) -> dict[str, Row]:
    """Files to transcripts, as the assets go about it."""
    source.lake.write(VIDEO_FILES, source.video_files(), Partitions.whole())
    (channel,) = source.settings.channels
    listed = source.videos(channel, [DAY])
    found = conform(TRANSCRIPTS, source.transcripts(channel, [DAY], listed))
    return {row["video_id"]: row for row in found.rows(named=True)}


def test_files_on_disk_alone_give_transcripts_and_reasons(source: Source) -> None:
    tapes = source.settings.root / "tapes"
    for video_id in (FIRST, SECOND, THIRD):
        info_file(tapes, video_id)
    captions_file(tapes, f"{FIRST}.en-orig.json3", "heard")
    captions_file(tapes, f"{SECOND}.en.json3").write_text("<html>")
    found = heard_on_disk(source)
    assert (found[FIRST]["status"], found[FIRST]["raw_text"]) == ("ok", "heard")
    assert [found[video_id]["reason"] for video_id in (SECOND, THIRD)] == ["bad_captions", "no_captions"]


def test_a_file_that_names_no_language_is_in_that_of_its_video(source: Source) -> None:
    info_file(source.settings.root / "tapes", language="de")
    captions_file(source.settings.root / "tapes", f"{FIRST}.json3", "ich kaufe")
    row = heard_on_disk(source)[FIRST]
    assert (row["status"], row["raw_text"], row["language"]) == ("ok", "ich kaufe", "de")


def test_people_s_captions_are_told_by_the_info_beside_them(source: Source) -> None:
    info_file(source.settings.root / "tapes", subtitles={"en": []})
    captions_file(source.settings.root / "tapes", f"{FIRST}.en.json3", "written")
    captions_file(source.settings.root / "tapes", f"{FIRST}.en-orig.json3", "heard")
    row = heard_on_disk(source)[FIRST]
    assert (row["raw_text"], row["caption_source"]) == ("written", "captions_manual")


@needs_files
@pytest.mark.parametrize(("language", "expected"), [("ru", "ok"), ("en", "failed")])
def test_a_lecture_is_read_as_it_was_spoken_and_never_in_translation(language: str, expected: str) -> None:
    files = [
        CaptionFile(path, Track(track, "vtt", False))
        for track, path in (
            ("ru", DATA / "finec_lecture.ru.auto.vtt"),
            ("auto-translated", DATA / "finec_lecture.en.auto-translated.vtt"),
        )
    ]
    row = made(a_read_video(language=language), files={FIRST: files}, now=PUBLISHED + 100 * HOUR)[FIRST]
    assert row["status"] == expected
    if expected == "ok":
        assert row["track"] == "ru" and row["word_count"] > 5000
        assert row["raw_text"] == " ".join(line["text"] for line in row["segments"])


def test_switched_off_nothing_is_asked_even_when_it_is_due() -> None:
    def asked(video_id: str, language: str) -> Visited:
        raise AssertionError("YouTube was asked")

    visits = [a_visit("no_captions", PUBLISHED)]
    shelf = Shelf({}, {FIRST: visits}, None)
    found = transcripts(videos(a_read_video()), shelf, "en", PATIENCE, lambda: PUBLISHED + 7 * HOUR)
    assert found["reason"].to_list() == ["awaiting_captions"]
    with pytest.raises(AssertionError, match="YouTube was asked"):
        transcripts(videos(a_read_video()), Shelf({}, {}, asked), "en", PATIENCE, lambda: PUBLISHED)

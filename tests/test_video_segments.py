"""Pieces of a transcript: nothing is lost, nothing is too long, and the cut is where a speaker pauses."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.lake import conform
from magpie.videos.segments import (
    MARK_EVERY_S,
    SEGMENTER_VERSION,
    Segment,
    SegmentRules,
    TimedLine,
    _at_pauses,
    mark,
    marked,
    segments_of,
    timed,
    transcript_passages,
    video_segments,
)
from magpie.videos.settings import Videos
from magpie.videos.tables import TRANSCRIPT_PASSAGES, VIDEO_SEGMENTS
from tests.videos_world import FIRST, SECOND, a_heard_video, lines, transcripts

RULES = SegmentRules.of(Videos())
# Ten words of five letters with their spaces are 60 characters, so numbers of lines are easy to count.
LINE = "words words words words words words words words words word"
TEN_LINES = SegmentRules(target=600, longest=800, overlap=0)


def chapters(**starts: float) -> list[dict[str, Any]]:
    return [{"start_s": start, "title": title} for title, start in starts.items()]


def talk(count: int, **pauses: float) -> list[dict[str, Any]]:
    """Lines of 59 characters and a space; `after_9=2.0` lets two seconds pass after the ninth."""
    found, at = [], 0.0
    for number in range(1, count + 1):
        found.append({"start_s": at, "end_s": at + 4, "text": f"{LINE}{number % 10}"})
        at += 4 + pauses.get(f"after_{number}", 0.0)
    return found


def counts(parts: Sequence[Segment]) -> list[int]:
    return [len(part.lines) for part in parts]


def test_chapters_that_are_short_enough_are_the_segments() -> None:
    parts = segments_of(timed(talk(9)), chapters(Intro=0.0, Picks=12.0, End=30.0), TEN_LINES)
    assert [(part.title, part.lines[0].start_s) for part in parts] == [("Intro", 0.0), ("Picks", 12.0), ("End", 32.0)]


def test_what_is_said_before_the_first_chapter_belongs_to_it() -> None:
    parts = segments_of(timed(talk(4)), chapters(Late=7.0, Later=10.0), TEN_LINES)
    assert [(part.title, len(part.lines)) for part in parts] == [("Late", 3), ("Later", 1)]


@pytest.mark.parametrize(
    "told",
    [
        chapters(Only=0.0),
        chapters(Intro=0.0, Nothing_is_said=500.0),
        chapters(Short=0.0, Too_long=4.0),
        [],
    ],
)
def test_one_chapter_or_one_that_is_too_long_leaves_the_cut_to_the_pauses(told: list[dict[str, Any]]) -> None:
    parts = segments_of(timed(talk(20)), told, TEN_LINES)
    assert counts(parts) == [10, 10]
    assert {part.title for part in parts} == {None}


def test_a_chapter_of_exactly_the_limit_counts_and_one_more_character_does_not() -> None:
    told = chapters(One=0.0, Two=50.0)
    texts = ["a" * 800, "b"]
    assert len(segments_of(timed(lines(*texts, every=50)), told, TEN_LINES)) == 2
    parts = segments_of(timed(lines("a" * 801, "b", every=50)), told, TEN_LINES)
    assert {part.title for part in parts} == {None}


def test_the_longest_pause_near_the_target_is_where_it_is_cut() -> None:
    assert counts(segments_of(timed(talk(20, after_9=2.0, after_11=1.0)), (), TEN_LINES))[0] == 9
    assert counts(segments_of(timed(talk(20, after_9=1.0, after_11=2.0)), (), TEN_LINES))[0] == 11


def test_a_pause_too_far_from_the_target_is_passed_over() -> None:
    assert counts(segments_of(timed(talk(30, after_3=60.0, after_14=60.0)), (), TEN_LINES))[0] == 10


def test_without_pauses_it_is_cut_nearest_to_the_target() -> None:
    assert counts(segments_of(timed(talk(35)), (), TEN_LINES)) == [10, 10, 10, 5]


def test_what_fits_with_the_tolerance_stays_whole() -> None:
    assert counts(segments_of(timed(talk(12)), (), TEN_LINES)) == [12]
    assert counts(segments_of(timed(talk(13)), (), TEN_LINES)) == [10, 3]


def test_no_segment_is_longer_than_the_limit_though_the_tolerance_would_allow_it() -> None:
    strict = SegmentRules(target=600, longest=620, overlap=0)
    assert counts(segments_of(timed(talk(20, after_11=60.0)), (), strict)) == [10, 10]


def test_the_overlap_repeats_whole_lines_of_the_end_before() -> None:
    first, second, *_ = segments_of(timed(talk(30)), (), SegmentRules(600, 800, 130))
    assert first.lines[-2:] == second.lines[:2]
    assert first.lines[-3] not in second.lines


def test_a_line_longer_than_the_limit_is_cut_between_words_and_keeps_its_time() -> None:
    text = " ".join(["word"] * 400)
    parts = segments_of(timed([{"start_s": 3.0, "end_s": 9.0, "text": text}]), (), TEN_LINES)
    pieces = [line for part in parts for line in part.lines]
    assert all(len(line.text) <= 800 and not line.text.startswith(" ") for line in pieces)
    assert " ".join(line.text for line in pieces) == text
    assert {(line.start_s, line.end_s) for line in pieces} == {(3.0, 9.0)}


def test_a_word_longer_than_the_limit_is_cut_within_and_nothing_is_lost() -> None:
    parts = segments_of(timed(lines("x" * 2000)), (), TEN_LINES)
    assert "".join(line.text for part in parts for line in part.lines) == "x" * 2000


def test_an_overlap_that_leaves_no_room_for_the_next_line_is_left_out() -> None:
    rules = SegmentRules(target=510, longest=520, overlap=505)
    texts = ["a" * 90, "b" * 90, "c" * 90, "d" * 90, "e" * 90, "f" * 500, "g" * 90]
    parts = segments_of(timed(lines(*texts)), (), rules)
    ends = [part.lines[-1].char_end for part in parts]
    assert ends == sorted(set(ends))


def test_nothing_said_gives_no_segment() -> None:
    assert segments_of([], (), RULES) == []
    assert segments_of([], chapters(One=0.0, Two=9.0), RULES) == []
    assert video_segments(transcripts(a_heard_video(FIRST, [])), {}, RULES).is_empty()
    assert transcript_passages(transcripts(a_heard_video(FIRST, []))).is_empty()


TALKS = st.lists(
    st.tuples(st.text("ab c", min_size=1, max_size=90).map(lambda text: text.strip() or "x"), st.floats(0, 20)),
    min_size=1,
    max_size=60,
)
SIZES = st.tuples(st.integers(20, 200), st.integers(0, 80), st.integers(0, 190))


@settings(deadline=None)
@given(TALKS, SIZES, st.lists(st.floats(0, 600), max_size=5).map(sorted))
def test_segments_cover_the_text_in_order_within_the_limit_each_with_something_new(
    said: list[tuple[str, float]], sizes: tuple[int, int, int], starts: list[float]
) -> None:
    target, spare, overlap = sizes
    rules = SegmentRules(target, target + spare, min(overlap, target - 1))
    told, at = [], 0.0
    for text, pause in said:
        told.append({"start_s": at, "end_s": at + 3, "text": " ".join(text.split())})
        at += 3 + pause
    found = video_segments(
        transcripts(a_heard_video(FIRST, told)),
        {FIRST: [{"start_s": start, "title": "part"} for start in starts]},
        rules,
    )
    rows = conform(VIDEO_SEGMENTS, found).rows(named=True)
    raw = " ".join(line["text"] for line in told)
    covered: set[int] = set()
    for row in rows:
        assert row["text"] == raw[row["char_start"] : row["char_end"]]
        assert len(row["text"]) <= rules.longest
        covered |= set(range(row["char_start"], row["char_end"]))
    assert all(raw[place] == " " for place in set(range(len(raw))) - covered)
    assert [row["seg_no"] for row in rows] == list(range(1, len(rows) + 1))
    for before, after in pairwise(rows):
        assert before["char_start"] < after["char_start"] and before["char_end"] < after["char_end"]
        assert before["char_end"] - after["char_start"] <= rules.overlap
    assert found.equals(
        video_segments(
            transcripts(a_heard_video(FIRST, told)),
            {FIRST: [{"start_s": start, "title": "part"} for start in starts]},
            rules,
        )
    )


def test_each_transcript_is_cut_by_its_own_chapters_and_pending_ones_are_not() -> None:
    waiting = a_heard_video("waitingwait", [], status="pending", reason="awaiting_captions")
    both = transcripts(a_heard_video(FIRST, talk(4)), a_heard_video(SECOND, talk(4)), waiting)
    found = video_segments(both, {SECOND: chapters(One=0.0, Two=8.0)}, RULES)
    assert found.select("video_id", "seg_no", "title", "start_s", "end_s").rows() == [
        (FIRST, 1, None, 0.0, 16.0),
        (SECOND, 1, "One", 0.0, 8.0),
        (SECOND, 2, "Two", 8.0, 16.0),
    ]
    assert set(found["segmenter_version"]) == {SEGMENTER_VERSION}
    assert found["transcript_hash"].to_list() == [f"hash-{FIRST}", f"hash-{SECOND}", f"hash-{SECOND}"]


class Counted(list[TimedLine]):
    """Lines that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, place: Any) -> Any:
        self.looks += 1
        return super().__getitem__(place)


def test_ten_hours_of_talk_are_cut_with_few_looks_at_each_line() -> None:
    told = Counted(timed(talk(9000)))
    parts = list(_at_pauses(told, RULES))
    # A cut that went through all lines for each segment would look at each some hundred times.
    assert told.looks < 10 * len(told)
    assert parts[-1].lines[-1] == told[-1]
    assert all(part.lines[-1].char_end - part.lines[0].char_start <= RULES.longest for part in parts)


def test_marks_stand_every_quarter_of_a_minute() -> None:
    assert MARK_EVERY_S == 15
    text = marked(timed(lines("one", "two", "three", "four", "five", "six", "seven", every=5)))
    assert text == "[00:00] one two three [00:15] four five six [00:30] seven"
    late = marked(timed(lines("one", "two", start=3599, every=14)))
    assert late == "[59:59] one two"
    assert marked([]) == ""


@pytest.mark.parametrize(
    ("at", "shown"),
    [(0, "[00:00]"), (59.99, "[00:59]"), (3599, "[59:59]"), (3600, "[1:00:00]"), (36_061, "[10:01:01]")],
)
def test_a_mark_shows_hours_from_an_hour_on(at: float, shown: str) -> None:
    assert mark(at) == shown


def test_passages_of_half_a_minute_link_to_their_second() -> None:
    told = lines("I'm buying", "more today", "and more", "tomorrow", every=15.5, start=7.2)
    found = conform(TRANSCRIPT_PASSAGES, transcript_passages(transcripts(a_heard_video(FIRST, told))))
    assert found.select("passage_no", "start_s", "end_s", "text").rows() == [
        (1, 7.2, 38.2, "I'm buying more today"),
        (2, 38.2, 69.2, "and more tomorrow"),
    ]
    assert found["deep_link"].to_list() == [
        f"https://www.youtube.com/watch?v={FIRST}&t=7s",
        f"https://www.youtube.com/watch?v={FIRST}&t=38s",
    ]
    assert all(f" {word} " in found["tokens"][1] for word in ("more", "tomorrow"))
    assert found["token_count"][1] == len(found["tokens"][1].split())


@given(st.lists(st.tuples(st.floats(0, 40), st.text("ab ", max_size=9)), min_size=1, max_size=40))
def test_passages_hold_every_line_once_in_order(said: list[tuple[float, str]]) -> None:
    at, told = 0.0, []
    for pause, text in said:
        at += pause
        told.append({"start_s": at, "end_s": at + 2, "text": text.strip() or "x"})
    found = transcript_passages(transcripts(a_heard_video(FIRST, told)))
    assert " ".join(found["text"]) == " ".join(line["text"] for line in told)
    gaps = [after - before for before, after in pairwise(found["start_s"])]
    assert all(gap >= 30 for gap in gaps)

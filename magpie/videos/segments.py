"""Transcripts in pieces: segments that are read one by one, passages that are searched, text with time marks.

Belongs here: where a transcript is cut, deterministically. Does not belong here: captions' formats
(`magpie/sources/captions.py`) and what is asked about a piece (`reading.py`).

Text is counted in characters of `raw_text`, which is the lines joined by single spaces.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from magpie.text.tokens import token_count, token_strings
from magpie.videos.links import deep_link
from magpie.videos.settings import Videos
from magpie.videos.tables import TRANSCRIPT_PASSAGES, VIDEO_SEGMENTS

# Changes whenever the same transcript would be cut elsewhere: it is part of the key.
SEGMENTER_VERSION = "1"
# A cut may be so much nearer or farther than the target if a longer pause is there.
TARGET_TOLERANCE = 0.2
# Marks cost tokens; a quote is looked for within 90 s of the time given, so a mark every quarter of a minute suffices.
MARK_EVERY_S = 15
# About as much as one remembers having heard, and enough words for a rank.
PASSAGE_S = 30.0


@dataclass(frozen=True, slots=True)
class TimedLine:
    """A caption line and where it stands in `raw_text`."""

    start_s: float
    end_s: float
    text: str
    char_start: int

    @property
    def char_end(self) -> int:
        return self.char_start + len(self.text)


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive lines; `title` is the chapter's."""

    lines: tuple[TimedLine, ...]
    title: str | None = None


@dataclass(frozen=True)
class SegmentRules:
    """Sizes in characters."""

    target: int
    longest: int
    overlap: int

    @classmethod
    def of(cls, settings: Videos) -> "SegmentRules":
        return cls(settings.segment_target_chars, settings.segment_max_chars, settings.segment_overlap_chars)


def timed(lines: Sequence[Mapping[str, Any]]) -> list[TimedLine]:
    """Place a transcript's lines in its `raw_text`."""
    found, at = [], 0
    for line in lines:
        found.append(TimedLine(line["start_s"], line["end_s"], line["text"], at))
        at += len(line["text"]) + 1
    return found


def video_segments(
    transcripts: pl.DataFrame, chapters: Mapping[str, Sequence[Mapping[str, Any]]], rules: SegmentRules
) -> pl.DataFrame:
    """Return the segments of the ok transcripts, in the columns of `video_segments`.

    Args:
        chapters: by video_id, each {start_s, title}, in order.
    """
    rows = []
    for row in transcripts.filter(pl.col("status") == "ok").iter_rows(named=True):
        parts = segments_of(timed(row["segments"]), chapters.get(row["video_id"], ()), rules)
        for number, part in enumerate(parts, 1):
            first, last = part.lines[0], part.lines[-1]
            rows.append(
                {
                    **{name: row[name] for name in ("video_id", "transcript_hash", "channel_id", "day")},
                    "segmenter_version": SEGMENTER_VERSION,
                    "seg_no": number,
                    "start_s": first.start_s,
                    "end_s": max(line.end_s for line in part.lines),
                    "char_start": first.char_start,
                    "char_end": last.char_end,
                    "title": part.title,
                    "text": " ".join(line.text for line in part.lines),
                }
            )
    return VIDEO_SEGMENTS.shaped(pl.DataFrame(rows, schema=VIDEO_SEGMENTS.dtypes))


def segments_of(
    lines: Sequence[TimedLine], chapters: Sequence[Mapping[str, Any]], rules: SegmentRules
) -> list[Segment]:
    """Cut at chapters if there are several and each is short enough, else at pauses. No line is left out."""
    pieces = [piece for line in lines for piece in _split(line, rules.longest)]
    by_chapter = _chapters(pieces, chapters)
    if len(by_chapter) > 1 and all(_length(part.lines) <= rules.longest for part in by_chapter):
        return by_chapter
    return list(_at_pauses(pieces, rules))


def _split(line: TimedLine, longest: int) -> Iterator[TimedLine]:
    """A line that alone exceeds the limit, in pieces of the same time, cut between words where there are any."""
    at = 0
    while len(line.text) - at > longest:
        space = line.text.rfind(" ", at + 1, at + longest + 1)
        end = space if space > at else at + longest
        yield TimedLine(line.start_s, line.end_s, line.text[at:end], line.char_start + at)
        at = end + 1 if space > at else end
    yield line if at == 0 else TimedLine(line.start_s, line.end_s, line.text[at:], line.char_start + at)


def _chapters(lines: Sequence[TimedLine], chapters: Sequence[Mapping[str, Any]]) -> list[Segment]:
    """The lines by the chapter they begin in; what comes before the first one belongs to it."""
    found: list[tuple[str | None, list[TimedLine]]] = [(chapter["title"], []) for chapter in chapters]
    if not found:
        return []
    at = 0
    for line in lines:
        while at + 1 < len(found) and line.start_s >= chapters[at + 1]["start_s"]:
            at += 1
        found[at][1].append(line)
    return [Segment(tuple(inside), title) for title, inside in found if inside]


def _length(lines: Sequence[TimedLine]) -> int:
    return lines[-1].char_end - lines[0].char_start


def _at_pauses(lines: Sequence[TimedLine], rules: SegmentRules) -> Iterator[Segment]:
    first = done = 0
    while done < len(lines):
        end = _cut(lines, first, done, rules)
        yield Segment(tuple(lines[first:end]))
        first, done = _with_overlap(lines, first, end, rules), end


def _most(rules: SegmentRules) -> int:
    return min(rules.longest, round(rules.target * (1 + TARGET_TOLERANCE)))


def _cut(lines: Sequence[TimedLine], first: int, done: int, rules: SegmentRules) -> int:
    """The index of the first line of the next segment: after the longest pause near the target.

    Args:
        done: the lines before it are in segments already; a cut among them would repeat them and add nothing.
    """
    start = lines[first].char_start
    most = _most(rules)
    if lines[-1].char_end - start <= most:
        return len(lines)
    fitting = done + 1
    best: tuple[float, int, int] | None = None
    for at in range(done + 1, len(lines)):
        length = lines[at - 1].char_end - start
        if length > most:
            break
        fitting = at
        if length >= rules.target * (1 - TARGET_TOLERANCE):
            pause = max(0.0, lines[at].start_s - lines[at - 1].end_s)
            rank = (-pause, abs(length - rules.target), at)
            best = rank if best is None else min(best, rank)
    return best[2] if best else fitting


def _with_overlap(lines: Sequence[TimedLine], first: int, end: int, rules: SegmentRules) -> int:
    """Go back by as many whole lines as the overlap holds, so that what is said across a cut is read once whole.

    The next line still has to fit behind them.
    """
    at = end
    next_end = lines[end].char_end if end < len(lines) else lines[-1].char_end
    while at - 1 > first and lines[end - 1].char_end - lines[at - 1].char_start <= rules.overlap:
        if next_end - lines[at - 1].char_start > _most(rules):
            break
        at -= 1
    return at


def marked(lines: Sequence[TimedLine]) -> str:
    """The lines with a [mm:ss] mark wherever a quarter of a minute has passed since the last one."""
    parts, due = [], -1.0
    for line in lines:
        if line.start_s >= due:
            parts.append(mark(line.start_s))
            due = line.start_s + MARK_EVERY_S
        parts.append(line.text)
    return " ".join(parts)


def mark(seconds: float) -> str:
    """[mm:ss], from an hour on [h:mm:ss]."""
    whole = int(seconds)
    hours, minutes, left = whole // 3600, whole // 60 % 60, whole % 60
    return f"[{hours}:{minutes:02}:{left:02}]" if hours else f"[{minutes:02}:{left:02}]"


def transcript_passages(transcripts: pl.DataFrame) -> pl.DataFrame:
    """Return the ok transcripts in passages of about half a minute, in the columns of `transcript_passages`."""
    rows = []
    for row in transcripts.filter(pl.col("status") == "ok").iter_rows(named=True):
        shared = {name: row[name] for name in ("video_id", "channel_id", "day")}
        for number, lines in enumerate(_passages(row["segments"]), 1):
            rows.append(
                {
                    **shared,
                    "passage_no": number,
                    "start_s": lines[0]["start_s"],
                    "end_s": max(line["end_s"] for line in lines),
                    "text": " ".join(line["text"] for line in lines),
                    "deep_link": deep_link(row["video_id"], int(lines[0]["start_s"])),
                }
            )
    told = [name for name in TRANSCRIPT_PASSAGES.dtypes if name not in ("tokens", "token_count")]
    frame = pl.DataFrame(rows, schema={name: TRANSCRIPT_PASSAGES.dtypes[name] for name in told})
    tokens = token_strings(frame["text"])
    return TRANSCRIPT_PASSAGES.shaped(
        frame.with_columns(tokens.alias("tokens")).with_columns(token_count(pl.col("tokens")).alias("token_count"))
    )


def _passages(lines: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    inside: list[Mapping[str, Any]] = []
    for line in lines:
        if inside and line["start_s"] - inside[0]["start_s"] >= PASSAGE_S:
            yield inside
            inside = []
        inside.append(line)
    if inside:
        yield inside

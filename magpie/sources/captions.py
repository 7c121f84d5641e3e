"""Caption files of videos: their lines, without what they repeat.

Belongs here: the dialects json3, srv3, vtt and srt, the cleaning of rolling captions. Does not belong here: which track
of a video is read (`caption_tracks.py`; its names are offered here too), finding and fetching files, what becomes of
the text (`magpie/videos`).

Automatic captions scroll: every cue of a vtt file shows the line before and the new one, and a cue of 10 ms in between
shows the line alone, so joining the cues says every word three times. What a cue shares with the end of the cue before
is therefore dropped, line by line. Tags and word times are no help in telling new lines: a line of one word has none,
and neither have captions that people wrote.
"""

import codecs
import gc
import html
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from pydantic_core import from_json

from magpie.sources.caption_tracks import FORMATS, Track, choose_track

# One place for whoever reads captions.
__all__ = ["FORMATS", "BadCaptions", "Line", "Track", "choose_track", "read_captions"]

# A caption stays on screen for seconds; what is longer than this is no caption, and would fill a prompt by itself.
MAX_LINE_CHARS = 10_000
# Ten hours of rolling captions are some 8 MB; ten times that is no caption file of a video.
MAX_BYTES = 100_000_000
# No screen shows more lines at a time; bounds the work on made-up cues.
MAX_ROLLED_LINES = 40
# What fits into the six digits of hours that a cue may have: streams run for years, not for centuries.
MAX_CLOCK_MS = 1_000_000 * 3_600_000

# The usual form stands first, which halves the time of the search.
_TIME = r"(\d\d:\d\d:\d\d[.,]\d\d\d|(?:\d{1,6}:)?\d{1,2}:\d{1,2}(?:[.,]\d{1,3})?)"
# Opens with a fixed character, which the search jumps to; the text gets a line end put before it.
_TIMING = re.compile(rf"\n[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}[^\n]*", re.ASCII)
# Letters for <c>, <b>, <font>, digits for word times, / for ends: `5 < 6` is no tag. Neighbours go at once.
_TAGS = re.compile(r"<[/0-9A-Za-z][^<>\n]*>(?:<[^<>\n]*>)*")
# Positions and styles that subtitle editors write into srt.
_OVERRIDES = re.compile(r"\{\\[^{}\n]*\}")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Controls but tab and line ends, and marks without width: they would stand between the letters of a word.
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u2060\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])


class BadCaptions(ValueError):
    """A file that cannot be read as captions; the message is one line that says what is wrong."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is said between two moments, in seconds from the start of the video; the end is never before the start."""

    start_s: float
    end_s: float
    text: str


def read_captions(data: bytes, format: str) -> list[Line]:
    """Return what a caption file says, in the order of the file, each line once.

    `format` is one of FORMATS. A file without text gives an empty list; bytes that are no UTF-8 are replaced; an item
    that is no caption is left out; a time that is missing or impossible is the one before it.

    Raises:
        BadCaptions: the file as a whole is not of that format, or larger than MAX_BYTES.
    """
    if format not in FORMATS:
        raise BadCaptions(f"captions of format {format!r} are not read, only {', '.join(FORMATS)}")
    if len(data) > MAX_BYTES:
        raise BadCaptions(f"{len(data):,} bytes are more than a caption file can have ({MAX_BYTES:,})")
    with _uncollected():
        if format == "json3":
            return _lines_of_events(_json3_events(data))
        if format == "srv3":
            return _lines_of_events(_srv3_events(data))
        return _lines_of_cues(_decoded(data), format)


def _decoded(data: bytes) -> str:
    """The text of a file, its lines ending with a line feed."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # how some editors save srt
    text = data.decode("utf-16" if is_wide else "utf-8", errors="replace").removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _cleaned(text: str) -> str:
    if text.isprintable():  # holds no white space but spaces
        text = " ".join(text.split()) if "  " in text else text.strip()
    else:
        text = " ".join(_SURROGATES.sub("\ufffd", _INVISIBLE.sub("", text)).split())
    return text if len(text) <= MAX_LINE_CHARS else text[:MAX_LINE_CHARS].rstrip()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Hold the garbage collector: it would walk, again and again, through a tree that grows and holds no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _repeated(shown: list[str], lines: list[str]) -> int:
    """How many of the first lines of a cue are the last ones of the cue before."""
    for size in range(min(len(shown), len(lines), MAX_ROLLED_LINES), 0, -1):
        if shown[-size:] == lines[:size]:
            return size
    return 0


# vtt and srt: cues, each with a timing line and the lines on screen until a blank one.


# Milliseconds that each character of HH:MM:SS.mmm counts for.
_DIGIT_MS = np.array([36_000_000, 3_600_000, 0, 600_000, 60_000, 0, 10_000, 1000, 0, 100, 10, 1])


class _CueLines(dict[str, str]):
    """Cleaned lines by raw line: in rolling captions the same line comes three times."""

    def __missing__(self, raw: str) -> str:
        decoded = _ENTITY.sub(lambda found: html.unescape(found[0]), raw) if "&" in raw else raw
        self[raw] = cleaned = _cleaned(decoded)
        return cleaned


def _lines_of_cues(text: str, format: str) -> list[Line]:
    """Read every cue by its timing line.

    What stands outside of cues is left alone: headers, notes, styles, regions, identifiers. So files without a header
    and files with `.` or `,` in their times are read alike.
    """
    text = _TAGS.sub("", text)
    if format == "srt" and "{\\" in text:
        text = _OVERRIDES.sub("", text)
    head, *cues = _TIMING.split("\n" + text)
    if not cues and head.strip() and not head.lstrip().startswith("WEBVTT"):
        raise BadCaptions(f"no line with times and no WEBVTT at the start: this is no {format} file")
    numbers, texts = _new_lines(cues[2::3], numbered=_last_line(head).isdecimal())
    starts = _all_seconds([cues[3 * number] for number in numbers])
    ends = _all_seconds([cues[3 * number + 1] for number in numbers])
    return [Line(start, max(start, end), line) for start, end, line in zip(starts, ends, texts, strict=True)]


def _new_lines(screens: Sequence[str], *, numbered: bool) -> tuple[list[int], list[str]]:
    """What each screen shows that the one before did not end with: numbers of screens from 0, and their new lines."""
    clean = _CueLines()
    numbers: list[int] = []
    texts: list[str] = []
    shown: list[str] = []
    last = None  # what `shown` ends with, as it stands in the file
    for number, screen in enumerate(screens):
        if numbered or "\n\n" in screen:
            screen = _until_blank(screen, numbered)
        screen = screen.strip()
        above, _, below = screen.partition("\n")
        # The two that most cues are, without the general rule: the line before alone, and with one new line below it.
        if above == last and not below:
            shown = shown[-1:]
            continue
        if above == last and len(shown) == 1 and "\n" not in below and (line := clean[below]):
            numbers.append(number)
            texts.append(line)
            shown, last = [shown[0], line], below
            continue
        if lines := [line for raw in screen.split("\n") if (line := clean[raw])]:
            new = lines[_repeated(shown, lines) :]
            numbers += [number] * len(new)
            texts += new
            shown, last = lines, _last_line(screen)
            last = last if clean[last] == lines[-1] else None
    return numbers, texts


def _until_blank(screen: str, numbered: bool) -> str:
    # Without a blank line before the next timing line, what stands right above that one is its number.
    if numbered and "\n\n" not in screen and _last_line(screen).isdecimal():
        return screen.rpartition("\n")[0]
    return screen.partition("\n\n")[0]


def _last_line(text: str) -> str:
    return text[text.rfind("\n") + 1 :].strip()


def _all_seconds(clocks: Sequence[str]) -> list[float]:
    """`_seconds` of each, computed at once where all are written as YouTube writes them, HH:MM:SS.mmm."""
    if set(map(len, clocks)) == {12}:
        characters = np.frombuffer("".join(clocks).encode(), dtype=np.uint8).reshape(-1, 12)
        if (characters[:, [2, 5]] == ord(":")).all() and np.isin(characters[:, 8], (ord("."), ord(","))).all():
            seconds: list[float] = ((characters.astype(np.int64) - ord("0")) @ _DIGIT_MS / 1000).tolist()
            return seconds
    return [_seconds(clock) for clock in clocks]


def _seconds(clock: str) -> float:
    """Seconds of [hours:]minutes:seconds[.fraction], exact to the millisecond."""
    whole, _, fraction = clock.replace(",", ".").partition(".")
    hours, minutes, seconds = ("0:" + whole).rsplit(":", 2) if whole.count(":") == 1 else whole.split(":")
    return ((int(hours) * 60 + int(minutes)) * 60_000 + int(seconds) * 1000 + int(fraction.ljust(3, "0"))) / 1000


# json3 and srv3: events, each with a start, a duration and the text that begins then.


# Start, duration, text: as they stand in the file, the times of whatever type.
_Event = tuple[object, object, str]


def _lines_of_events(events: Iterable[_Event]) -> list[Line]:
    """One line per event: cut where the next begins, left out where it repeats the text before.

    An event of several lines scrolls like a cue where it opens with the last lines of the event before.
    """
    starts: list[float] = []
    ends: list[float] = []
    texts: list[str] = []
    shown: list[str] = []
    text_before, start_before = "", 0.0
    for start, duration, raw in events:
        if "\n" in raw:
            lines = [line for part in raw.split("\n") if (line := _cleaned(part))]
            text = _cleaned(" ".join(lines))
        else:  # as nearly all are
            text = _cleaned(raw)
            lines = [text]
        if not text:
            continue
        new = text
        if text == text_before:
            new = ""
        elif len(lines) > 1 and (repeated := _repeated(shown, lines)):
            new = _cleaned(" ".join(lines[repeated:]))
        shown, text_before = lines, text
        start_ms, length_ms = _milliseconds(start), _milliseconds(duration)
        start_before = start_before if start_ms is None else start_ms
        starts.append(start_before)
        ends.append(math.inf if length_ms is None else start_before + length_ms)
        texts.append(new)
    return [
        Line(start / 1000, _until(start, end, following) / 1000, text)
        for start, end, following, text in zip(starts, ends, [*starts[1:], math.inf], texts, strict=False)
        if text
    ]


def _until(start: float, end: float, following: float) -> float:
    """When an event ends. One at the same moment stands elsewhere on the screen, one before it has a wrong clock."""
    if start < following < end:
        return following
    return end if end < math.inf else start


def _json3_events(data: bytes) -> Iterator[_Event]:
    document = _json(data)
    events = document.get("events") if isinstance(document, dict) else None
    if events is None and isinstance(document, dict) and "wireMagic" in document:  # how YouTube writes no text at all
        return
    if not isinstance(events, list):
        raise BadCaptions("no list of events: this is no json3 file")
    for event in events:
        try:
            text = "".join([segment["utf8"] for segment in event["segs"]])
        except (KeyError, TypeError):  # windows have no segments; of an odd item what there is
            text = _text_of_odd_event(event)
        if text and not text.isspace():  # appended line ends have no words
            yield event.get("tStartMs"), event.get("dDurationMs"), text


def _text_of_odd_event(event: object) -> str:
    segments = event.get("segs") if isinstance(event, dict) else None
    if not isinstance(segments, list):
        return ""
    found = [segment.get("utf8") for segment in segments if isinstance(segment, dict)]
    return "".join(text for text in found if isinstance(text, str))


def _json(data: bytes) -> Any:
    try:  # about two thirds of the time that the standard library takes
        return from_json(data.removeprefix(codecs.BOM_UTF8), cache_strings="all")  # words come again and again
    except ValueError:  # the lenient reader takes raw controls, half surrogate pairs and bytes that are no UTF-8
        try:
            return json.loads(_decoded(data).translate(_CONTROLS), strict=False)
        except (ValueError, RecursionError) as error:
            raise BadCaptions(f"no JSON: {error}") from None


def _srv3_events(data: bytes) -> Iterator[_Event]:
    root = _xml(_decoded(data))
    paragraphs = list(root.iter("p"))
    if root.tag != "timedtext" or (not paragraphs and root.find(".//text") is not None):
        raise BadCaptions("no timedtext with paragraphs: this is no srv3 file")
    for paragraph in paragraphs:
        if paragraph.get("a") != "1":
            yield paragraph.get("t"), paragraph.get("d"), "".join(paragraph.itertext())


def _xml(text: str) -> ElementTree.Element:
    # A declaration of entities can make gigabytes of a few lines; captions never hold one.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadCaptions("a document type is declared, which captions never do")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:  # most often controls, which XML forbids
        try:
            return ElementTree.fromstring(text.translate(_CONTROLS))
        except ElementTree.ParseError as error:
            raise BadCaptions(f"no well-formed XML: {error}") from None


def _milliseconds(value: object) -> float | None:
    """A number of milliseconds from 0 to MAX_CLOCK_MS, also one written as text; None for everything else."""
    if type(value) is not int:
        if isinstance(value, str) and len(value) <= 20:  # longer is no clock
            try:
                value = float(value)
            except ValueError:
                return None
        if not isinstance(value, float):
            return None
    return value if 0 <= value <= MAX_CLOCK_MS else None

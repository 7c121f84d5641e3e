"""Speech of the bundled YouTube archive as captions: when each word is said, and the caption formats.

Belongs here: the pace, what automatic captions mishear, json3, srv3, vtt and srt as YouTube and yt-dlp write them. Does
not belong here: what is said (samples/texts/youtube), videos and their info.json (make_youtube.py).
"""

import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

# What a caption line of each kind holds at most: automatic ones are cut anywhere, written ones are two lines long.
AUTO_CHARS, MANUAL_CHARS = 38, 42
# Automatic captions without other capitals keep these.
AS_SAID = ("I", "I'm", "I'd", "I've", "I'll")

Video = dict[str, Any]


@dataclass(frozen=True)
class Word:
    """A word with its punctuation, in milliseconds; `breaks`: whether a pause precedes it."""

    text: str
    start: int
    end: int
    breaks: bool

    @property
    def ends_sentence(self) -> bool:
        return self.text.endswith((".", "!", "?"))


Line = list[Word]


def draw(*names: object) -> float:
    """A number in [0, 1) that depends on the names alone."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def spoken(video: Video, text: str) -> tuple[list[Word], list[tuple[int, str]]]:
    """Give every word its time, at two to three words a second; return the words and where chapters begin."""
    key, at = video["key"], 400 + int(900 * draw(video["key"], "start"))
    per_word = 1000 / (2.45 + 0.3 * draw(key, "pace"))
    words: list[Word] = []
    chapters: list[tuple[int, str]] = []
    for paragraph in filter(None, (part.strip() for part in text.split("\n\n"))):
        if paragraph.startswith("## "):
            title, _, paragraph = paragraph[3:].partition("\n")
            chapters.append((at if chapters else 0, title))
        at += 500 + int(1600 * draw(key, "paragraph", len(words)))
        for place, word in enumerate(paragraph.split()):
            length = per_word * (0.55 + 0.09 * min(len(word), 12)) * (0.8 + 0.4 * draw(key, "word", len(words)))
            length = 2600 if word.startswith("[") else length
            words.append(Word(word, int(at), int(at + length), place == 0))
            rest = 420 if words[-1].ends_sentence else 160 if word.endswith((",", ":", ";")) else 0
            at += length + rest * (0.5 + draw(key, "rest", len(words)))
    return words, chapters


def as_heard(video: Video, words: Sequence[Word]) -> list[Word]:
    """What automatic captions make of it: no punctuation, few capitals, some names misheard."""
    inside = [word.text for before, word in pairwise(words) if not before.ends_sentence]
    names = {_bare(text) for text in inside if text[:1].isupper()}
    heard: list[Word] = []
    for place, word in enumerate(words):
        text = _bare(word.text)
        name, possessive, rest = text.partition("'s")
        if name in video.get("misheard", {}) and draw(video["key"], "misheard", place) < 0.75:
            text = video["misheard"][name] + possessive + rest
        elif text not in AS_SAID and not text.startswith("[") and not (video.get("cased") and text in names):
            text = text.lower()
        parts = text.split()
        step = (word.end - word.start) // max(len(parts), 1)
        for number, part in enumerate(parts):
            start = word.start + number * step
            heard.append(Word(part, start, start + step, word.breaks and number == 0))
    return heard


def _bare(text: str) -> str:
    return text.strip('.,!?;:"') if not text.startswith("[") else text


def auto_lines(video: Video, words: Sequence[Word]) -> list[Line]:
    lines: list[Line] = []
    room = 0
    for word in words:
        if not lines or word.breaks or len(word.text) + 1 > room:
            lines.append([])
            room = AUTO_CHARS - int(8 * draw(video["key"], "line", len(lines)))
        lines[-1].append(word)
        room -= len(word.text) + 1
    return lines


def manual_cues(words: Sequence[Word]) -> list[list[Line]]:
    """Cues of one or two lines; a sentence begins a new one."""
    cues: list[list[Line]] = []
    ended = True
    for word in words:
        if ended or word.breaks or not cues:
            cues.append([[]])
        elif len(said(cues[-1][-1])) + 1 + len(word.text) > MANUAL_CHARS:
            if len(cues[-1]) == 2:
                cues.append([])
            cues[-1].append([])
        cues[-1][-1].append(word)
        ended = word.ends_sentence
    return cues


def said(line: Line) -> str:
    return " ".join(word.text for word in line)


def clock(ms: int, point: str = ".") -> str:
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{ms:03}"


def _ends(lines: Sequence[Line]) -> list[int]:
    """When each line stops to be new: 10 ms before the next one, or some time after its last word."""
    starts = [line[0].start for line in lines[1:]] + [lines[-1][-1].end + 10_000]
    return [min(start - 10, line[-1].end + 2_500) for line, start in zip(lines, starts, strict=True)]


def rolling_vtt(lines: Sequence[Line]) -> str:
    """Automatic captions in WebVTT: the line before, the new one word by word, then 10 ms of it alone."""
    out = ["WEBVTT\nKind: captions\nLanguage: en\n"]
    before = " "
    for line, end in zip(lines, _ends(lines), strict=True):
        timed = line[0].text + "".join(f"<{clock(word.start)}><c> {word.text}</c>" for word in line[1:])
        place = "align:start position:0%"
        out.append(f"{clock(line[0].start)} --> {clock(end)} {place}\n{before}\n{timed}\n")
        before = said(line)
        out.append(f"{clock(end)} --> {clock(end + 10)} {place}\n{before}\n \n")
    return "\n".join(out)


def auto_json3(lines: Sequence[Line]) -> str:
    """Automatic captions as YouTube's player reads them: a window, events of timed words, line ends between them."""
    last = lines[-1][-1].end + 2_000
    events: list[dict[str, Any]] = [
        {"tStartMs": 0, "dDurationMs": last, "id": 1, "wpWinPosId": 1, "wsWinStyleId": 1},
    ]
    for number, line in enumerate(lines):
        start = line[0].start
        # A line stays while the next one is said.
        end = lines[number + 1][-1].end if number + 1 < len(lines) else last
        segs: list[dict[str, Any]] = [{"utf8": line[0].text, "acAsrConf": 0}]
        segs += [{"utf8": f" {word.text}", "tOffsetMs": word.start - start, "acAsrConf": 0} for word in line[1:]]
        if number:
            newline = {"tStartMs": start - 10, "dDurationMs": end - start, "wWinId": 1, "aAppend": 1}
            events.append({**newline, "segs": [{"utf8": "\n"}]})
        events.append({"tStartMs": start, "dDurationMs": end - start, "wWinId": 1, "segs": segs})
    head = {
        "wireMagic": "pb3",
        "pens": [{}],
        "wsWinStyles": [{}, {"mhModeHint": 2, "juJustifCode": 0, "sdScrollDir": 3}],
    }
    positions = {"wpWinPositions": [{}, {"apPoint": 6, "ahHorPos": 20, "avVerPos": 100, "rcRows": 2, "ccCols": 40}]}
    opening = json.dumps({**head, **positions}, separators=(",", ":"))
    packed = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    return f'{opening[:-1]},"events":[\n{packed}\n]}}\n'


def auto_srv3(lines: Sequence[Line]) -> str:
    out = ['<?xml version="1.0" encoding="utf-8" ?><timedtext format="3">\n<head>\n<ws id="0"/>']
    out.append('<ws id="1" mh="2" ju="0" sd="3"/>\n<wp id="0"/>\n<wp id="1" ap="6" ah="20" av="100" rc="2" cc="40"/>')
    out.append(f'</head>\n<body>\n<w t="0" id="1" wp="1" ws="1" d="{lines[-1][-1].end + 2_000}"/>')
    for number, line in enumerate(lines):
        start = line[0].start
        end = lines[min(number + 1, len(lines) - 1)][-1].end
        words = f'<s ac="0">{html.escape(line[0].text, quote=False)}</s>' + "".join(
            f'<s t="{word.start - start}" ac="0"> {html.escape(word.text, quote=False)}</s>' for word in line[1:]
        )
        if number:
            out.append(f'<p t="{start - 10}" d="{end - start}" w="1" a="1">\n</p>')
        out.append(f'<p t="{start}" d="{end - start}" w="1">{words}</p>')
    return "\n".join([*out, "</body>\n</timedtext>\n"])


def manual_srt(cues: Sequence[list[Line]]) -> str:
    blocks = [
        f"{number}\n{clock(cue[0][0].start, ',')} --> {clock(_cue_end(cues, number - 1), ',')}\n{_shown(cue)}\n"
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def manual_vtt(cues: Sequence[list[Line]], language: str, *, empty_every: int | None = None) -> str:
    """Captions that people wrote, as YouTube serves them; every so many cues one without text, if asked for."""
    out = [f"WEBVTT\nKind: captions\nLanguage: {language}\n"]
    for number, cue in enumerate(cues):
        start, end = cue[0][0].start, _cue_end(cues, number)
        if empty_every and number % empty_every == empty_every - 1:
            out.append(f"{clock(start - 120)} --> {clock(start - 20)}\n\n")
        out.append(f"{clock(start)} --> {clock(end)}\n{html.escape(_shown(cue), quote=False)}\n")
    return "\n".join(out)


def _cue_end(cues: Sequence[list[Line]], number: int) -> int:
    end = cues[number][-1][-1].end + 300
    return min(end, cues[number + 1][0][0].start) if number + 1 < len(cues) else end


def _shown(cue: list[Line]) -> str:
    return "\n".join(map(said, cue))

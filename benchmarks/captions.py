"""How many hours of captions one core reads per second, in each format, held against plain readers.

Belongs here: making the files, the plain readers, the table. Does not belong here: the reader itself
(`magpie/sources/captions.py`).

    python -m benchmarks.captions [--hours 1 10] [--rounds 7]

The files hold made-up speech, 10 000 words an hour, written as YouTube writes automatic captions: vtt and srt scroll
two lines with a cue of 10 ms in between, vtt and srv3 carry word times, json3 is indented. The plain readers go line
by line, or event by event with the standard library, and do only what clean files need. Both must return the same
lines. Rounds alternate, and the best counts, because other work on the machine can only slow a round down. Time is
that of the processor, so that a second core could not help unseen.
"""

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.machine import describe
from magpie.sources.captions import Line, read_captions

WORK = Path("benchmarks/.work/captions")
WORDS_PER_HOUR = 10_000
# What fits on a line of automatic captions.
WORDS_PER_LINE = 7
TARGET_HOURS_PER_SECOND = 100
TARGETED = ("vtt", "json3")
SEED = 20_260_501
TALK = (
    "so the market is telling us that rates stay higher for longer and I think earnings will show it next quarter "
    "we looked at margins cash flow and guidance before buying more of this company because nobody wants to own it "
    "when everyone else sells you should ask yourself what has really changed about demand pricing or competition"
)

# Start and end in milliseconds, and the words.
Spoken = tuple[int, int, list[str]]


def speech(hours: int) -> list[Spoken]:
    """Return made-up speech, line by line."""
    chance = random.Random(SEED)
    count = hours * WORDS_PER_HOUR // WORDS_PER_LINE
    step = hours * 3_600_000 // count
    vocabulary = TALK.split()
    lines = [chance.choices(vocabulary, k=WORDS_PER_LINE) for _ in range(count)]
    return [(number * step, (number + 1) * step - 10, words) for number, words in enumerate(lines)]


def clock(milliseconds: int, separator: str = ".") -> str:
    seconds, fraction = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{fraction:03}"


def as_vtt(spoken: Sequence[Spoken]) -> str:
    blocks, before = ["WEBVTT\nKind: captions\nLanguage: en\n"], " "
    for start, end, words in spoken:
        step = (end - start) // len(words)
        later = "".join(f"<{clock(start + n * step)}><c> {word}</c>" for n, word in enumerate(words) if n)
        line = " ".join(words)
        blocks.append(f"{clock(start)} --> {clock(end)} align:start position:0%\n{before}\n{words[0]}{later}\n")
        blocks.append(f"{clock(end)} --> {clock(end + 10)} align:start position:0%\n{line}\n \n")
        before = line
    return "\n".join(blocks)


def as_srt(spoken: Sequence[Spoken]) -> str:
    blocks, before = [], ""
    for start, end, words in spoken:
        line = " ".join(words)
        shown = f"{before}\n{line}" if before else line
        for begin, until, text in ((start, end, shown), (end, end + 10, line)):
            blocks.append(f"{len(blocks) + 1}\n{clock(begin, ',')} --> {clock(until, ',')}\n{text}\n")
        before = line
    return "\n".join(blocks)


def as_json3(spoken: Sequence[Spoken]) -> str:
    events: list[dict[str, object]] = [{"tStartMs": 0, "dDurationMs": 3_600_000, "id": 1, "wpWinPosId": 1}]
    for start, end, words in spoken:
        step = (end - start) // len(words)
        first, *later = words
        segments = [{"utf8": first, "acAsrConf": 0}]
        segments += [{"utf8": f" {word}", "tOffsetMs": n * step, "acAsrConf": 0} for n, word in enumerate(later, 1)]
        events.append({"tStartMs": start, "dDurationMs": 2 * (end - start), "wWinId": 1, "segs": segments})
        line_end = {"tStartMs": end, "dDurationMs": end - start, "wWinId": 1, "aAppend": 1, "segs": [{"utf8": "\n"}]}
        events.append(line_end)
    return json.dumps({"wireMagic": "pb3", "pens": [{}], "events": events}, indent=2)


def as_srv3(spoken: Sequence[Spoken]) -> str:
    body = []
    for start, end, words in spoken:
        step = (end - start) // len(words)
        later = "".join(f'<s t="{n * step}" ac="0"> {word}</s>' for n, word in enumerate(words) if n)
        body.append(f'<p t="{start}" d="{2 * (end - start)}" w="1"><s ac="0">{words[0]}</s>{later}</p>')
        body.append(f'<p t="{end}" d="{end - start}" w="1" a="1">\n</p>')
    head = '<?xml version="1.0" encoding="utf-8" ?><timedtext format="3">\n<head><pen id="1"/></head>\n'
    return head + '<body>\n<w t="0" id="1" wp="1" ws="1"/>\n' + "\n".join(body) + "\n</body>\n</timedtext>\n"


def plain_cues(data: bytes) -> list[Line]:
    """The rule for vtt and srt, line by line."""
    result: list[Line] = []
    shown: list[str] = []
    for block in data.decode().split("\n\n"):
        lines = block.split("\n")
        timing = next((number for number, line in enumerate(lines) if "-->" in line), None)
        if timing is None:
            continue
        start, end = (plain_seconds(part.split()[0]) for part in lines[timing].split("-->"))
        cleaned = [" ".join(re.sub(r"<[^>]*>", "", line).split()) for line in lines[timing + 1 :]]
        screen = [line for line in cleaned if line]
        if not screen:
            continue
        size = min(len(shown), len(screen))
        while size and shown[-size:] != screen[:size]:
            size -= 1
        result += [Line(start, end, line) for line in screen[size:]]
        shown = screen
    return result


def plain_seconds(text: str) -> float:
    hours, minutes, seconds = text.replace(",", ".").split(":")
    return round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 3)


def plain_events(events: Sequence[tuple[int, int, str]]) -> list[Line]:
    spoken = [(start, end, " ".join(text.split())) for start, end, text in events if text.strip()]
    following = [start for start, _, _ in spoken[1:]] + [sys.maxsize]
    before = ["", *(text for _, _, text in spoken)]
    return [
        Line(start / 1000, min(end, until) / 1000, text)
        for (start, end, text), until, last in zip(spoken, following, before, strict=False)
        if text != last
    ]


def plain_json3(data: bytes) -> list[Line]:
    events = [event for event in json.loads(data)["events"] if "segs" in event]
    return plain_events(
        [
            (event["tStartMs"], event["tStartMs"] + event["dDurationMs"], "".join(s["utf8"] for s in event["segs"]))
            for event in events
        ]
    )


def plain_srv3(data: bytes) -> list[Line]:
    paragraphs = [each for each in ElementTree.fromstring(data).iter("p") if each.get("a") != "1"]
    return plain_events(
        [(int(p.attrib["t"]), int(p.attrib["t"]) + int(p.attrib["d"]), "".join(p.itertext())) for p in paragraphs]
    )


FORMATS: dict[str, tuple[Callable[[Sequence[Spoken]], str], Callable[[bytes], list[Line]]]] = {
    "json3": (as_json3, plain_json3),
    "srv3": (as_srv3, plain_srv3),
    "vtt": (as_vtt, plain_cues),
    "srt": (as_srt, plain_cues),
}


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def row(name: str, hours: int, spoken: Sequence[Spoken], rounds: int) -> tuple[str, bool]:
    """Return the line of the table for one file, and whether its lines are right and its target is reached."""
    write, plain = FORMATS[name]
    path = WORK / f"speech_{hours}h.en.{name}"
    path.write_text(write(spoken), "utf-8")
    data = path.read_bytes()
    same = read_captions(data, name) == plain(data)
    turns = [(seconds(partial(plain, data)), seconds(partial(read_captions, data, name))) for _ in range(rounds)]
    plain_best, own_best = map(min, zip(*turns, strict=True))
    rate = hours / own_best
    reached = "reached" if rate >= TARGET_HOURS_PER_SECOND else "MISSED"
    told = "DIFFERENT LINES" if not same else reached if name in TARGETED else ""
    size = len(data) / hours / 1e6
    figures = f"{hours} h | {size:.2f} | {hours / plain_best:.0f} | {rate:.0f} | {plain_best / own_best:.1f}"
    return f"| {name} | {figures} | {told} |", told in ("reached", "")


def main() -> None:
    """Print the table; end with 1 where the two readers differ or a target is missed."""
    parser = argparse.ArgumentParser(description="Hours of captions read per second of one core")
    parser.add_argument("--hours", type=int, nargs="+", default=[1, 10], help="lengths of videos")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    print(describe(("numpy", "pydantic-core")))
    print(f"\n{WORDS_PER_HOUR:,} words an hour, best of {chosen.rounds} rounds.\n")
    print("| format | video | MB per hour | plain reader, hours/s | Magpie, hours/s | times as fast | target |")
    print("|---|---:|---:|---:|---:|---:|---|")
    fine = True
    for hours in chosen.hours:
        spoken = speech(hours)
        for name in FORMATS:
            line, reached = row(name, hours, spoken, chosen.rounds)
            print(line)
            fine &= reached
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()

"""A made-up archive of finance videos as yt-dlp leaves it: info.json, captions, a symbol table, settings.

Belongs here: what is said, the files, their sizes. Does not belong here: measuring (`videos.py`) and how each format of
captions is written (`captions.py`).

Every video has an info.json of some 460 kB, because yt-dlp lists each of 150 machine translations in seven formats with
an address of its own, and beside them the streams and a heat map. Channels differ: three have json3, one has rolling
vtt, one has json3 twice (`en` and `en-orig`) and a machine translation. One video in 50 has no captions, one in 40 is a
Short, one in three has chapters.
"""

import csv
import json
import random
import string
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from benchmarks.captions import TALK, WORDS_PER_LINE, Spoken, as_json3, as_vtt

FIRST_DAY = date(2026, 1, 1)
DAYS = 90
CHANNELS = tuple((f"UCbench{number:017}", f"Bench {number}") for number in range(1, 6))
VTT_CHANNEL, DOUBLE_CHANNEL = 3, 4
WORDS = 2000
# Twelve minutes for 2 000 words, line by line.
LINE_MS = 12 * 60_000 * WORDS_PER_LINE // WORDS
SECURITIES = 10_000
MENTIONS = (2, 9)
CHAPTERS = 6
NO_CAPTIONS_EVERY, SHORT_EVERY, CHAPTERS_EVERY = 50, 40, 3
LANGUAGES, STREAMS, HEAT = 150, 40, 100
FORMATS = ("json3", "srv1", "srv2", "srv3", "ttml", "srt", "vtt")
SEED = 20_260_101
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeio"]
# Many companies begin alike, also with words that are said all the time.
BEGINNINGS = ("American", "First", "United", "General", "National", "Global", "New", "Pacific", "Western", "Advanced")
TRADES = ("Energy", "Bancorp", "Therapeutics", "Systems", "Materials", "Foods", "Capital", "Networks", "Motors", "Labs")
ENDINGS = ("Inc.", "Corp.", "Holdings Inc", "Group, Inc.", "Co", "plc", "Technologies, Inc.", "Ltd")
CHATTER = (
    f"{TALK} the fed and inflation are what people watch but a recession is not what I see in the first numbers "
    "american consumers keep spending and general demand is strong while global growth may be weaker than the bulls "
    "say there is a new target and western markets could rally if yields fall"
)
# {} is the company as the speaker calls it; around it what one says of it.
VIEWS = (
    "I bought more {} this week and I plan to keep it for years",
    "I sold half of my {} shares because the rally went too far for me",
    "if you ask me {} is a buy at these prices with a high conviction",
    "I would not touch {} before the next earnings call",
    "I am holding {} and I am not adding to it for now",
    "{} is on my watchlist because the chart is breaking out",
    "maybe a small position in {} could make sense in the long run",
    "analysts say that {} reported margins that nobody believed",
    "I would stay away from {} as long as the guidance is this weak",
)


def securities() -> list[tuple[str, str]]:
    """Symbol and registered name of each, invented; no two share either."""
    chance = random.Random(SEED)
    letters = string.ascii_uppercase
    symbols = dict.fromkeys("".join(chance.choices(letters, k=4)) for _ in range(2 * SECURITIES))
    names = dict.fromkeys(_name(chance) for _ in range(2 * SECURITIES))
    return list(zip(symbols, names, strict=False))[:SECURITIES]


def _name(chance: random.Random) -> str:
    word = "".join(chance.choices(SYLLABLES, k=chance.randint(2, 4))).capitalize()
    before = chance.choice(BEGINNINGS) if chance.random() < 0.2 else ""
    after = chance.choice(TRADES) if chance.random() < 0.6 else ""
    return " ".join(filter(None, (before, word, after, chance.choice(ENDINGS))))


def said_name(symbol: str, name: str, chance: random.Random) -> str:
    """As speech and captions have it: mostly the name in lower case without its legal form."""
    if chance.random() < 0.15:
        return f"${symbol}"
    for ending in ENDINGS:
        name = name.removesuffix(f" {ending}")
    return name.lower()


def speech(number: int, known: list[tuple[str, str]]) -> list[Spoken]:
    """What is said in one video, line by line."""
    chance = random.Random(SEED + number)
    words = chance.choices(CHATTER.split(), k=WORDS)
    for _ in range(chance.randint(*MENTIONS)):
        view = chance.choice(VIEWS).format(said_name(*chance.choice(known), chance)).split()
        at = chance.randrange(WORDS)
        words[at : at + len(view)] = view
    lines = [words[at : at + WORDS_PER_LINE] for at in range(0, len(words), WORDS_PER_LINE)]
    return [(n * LINE_MS, (n + 1) * LINE_MS - chance.randint(10, 400), line) for n, line in enumerate(lines)]


def info(number: int, video_id: str, channel: int, spoken: list[Spoken]) -> dict[str, Any]:
    """The info.json of a video, in yt-dlp's keys."""
    chance = random.Random(SEED - number)
    channel_id, name = CHANNELS[channel]
    seconds = 40 if number % SHORT_EVERY == 1 else spoken[-1][1] // 1000 + 3
    at = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, 15, tzinfo=UTC)
    at += timedelta(days=number % DAYS, seconds=chance.randrange(18_000))
    chapters = [
        {"start_time": n * seconds / CHAPTERS, "end_time": (n + 1) * seconds / CHAPTERS, "title": f"Part {n + 1}"}
        for n in range(CHAPTERS)
    ]
    return {
        "id": video_id,
        "title": f"Markets today, part {number}",
        "description": "What moved, what did not, and what I make of it. Opinions, not advice.\n" * 20,
        "channel": name,
        "channel_id": channel_id,
        "duration": seconds,
        "view_count": chance.randrange(90_000),
        "like_count": chance.randrange(4000),
        "age_limit": 0,
        "webpage_url": f"https://www.youtube.com/watch?v={video_id}",
        "live_status": "not_live",
        "media_type": "video",
        "timestamp": int(at.timestamp()),
        "upload_date": f"{at:%Y%m%d}",
        "availability": "public",
        "chapters": chapters if number % CHAPTERS_EVERY == 0 else None,
        "language": "en",
        "subtitles": {},
        "automatic_captions": {
            track: [{"ext": form, "url": _address(video_id, track, form), "name": track} for form in FORMATS]
            for track in _tracks()
        },
        "formats": [_stream(n, video_id) for n in range(STREAMS)],
        "heatmap": [{"start_time": n * 7.2, "end_time": n * 7.2 + 7.2, "value": chance.random()} for n in range(HEAT)],
        "epoch": int(at.timestamp()) + 90_000,
        "_type": "video",
    }


def _tracks() -> list[str]:
    made = [f"{first}{second}" for first in "abcdefgh" for second in string.ascii_lowercase]
    return ["en-orig", "en", *(track for track in made if track != "en")][:LANGUAGES]


def _address(video_id: str, track: str, form: str) -> str:
    """As long as the real ones, which carry expiry, parameters and signature."""
    return (
        f"https://www.youtube.com/api/timedtext?v={video_id}&ei={'x' * 22}&caps=asr&opi=112496729&xoaf=5&hl=en"
        f"&ip=0.0.0.0&ipbits=0&expire=1780000000&sparams=ip%2Cipbits%2Cexpire%2Cv%2Cei%2Ccaps%2Copi%2Cxoaf"
        f"&signature={'0123456789ABCDEF' * 5}&key=yt8&kind=asr&lang=en&tlang={track}&fmt={form}"
    )


def _stream(number: int, video_id: str) -> dict[str, Any]:
    return {
        "format_id": str(number),
        "url": f"https://rr1.example.googlevideo.com/videoplayback?id={video_id}&sig={'0123456789ABCDEF' * 50}",
        "ext": "webm",
        "width": 1920,
        "height": 1080,
        "fps": 30,
        "vcodec": "vp9",
        "acodec": "none",
        "filesize": 90_000_000 + number,
        "tbr": 1000.5,
        "protocol": "https",
        "http_headers": {"User-Agent": "Mozilla/5.0", "Accept-Language": "en-us,en;q=0.5"},
    }


def files(number: int, known: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The files of one video, each with its path below the archive."""
    channel, video_id = number % len(CHANNELS), f"bench{number:06}"
    spoken = speech(number, known)
    stem = f"{CHANNELS[channel][1]}/Markets today, part {number} [{video_id}]"
    yield f"{stem}.info.json", json.dumps(info(number, video_id, channel, spoken))
    if number % NO_CAPTIONS_EVERY == 2:
        return
    if channel == VTT_CHANNEL:
        yield f"{stem}.en-orig.vtt", as_vtt(spoken)
        return
    yield f"{stem}.en-orig.json3", as_json3(spoken)
    if channel == DOUBLE_CHANNEL:
        yield f"{stem}.en.json3", as_json3(spoken)
        yield f"{stem}.nl-en.vtt", as_vtt(spoken)


def make(folder: Path, videos: int) -> None:
    """Write archive, symbols.csv and magpie.yaml below `folder`."""
    known = securities()
    for _, name in CHANNELS:
        (folder / "archive" / name).mkdir(parents=True, exist_ok=True)
    for number in range(videos):
        for name, text in files(number, known):
            (folder / "archive" / name).write_text(text, "utf-8")
    with (folder / "symbols.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("symbol", "name"), *known])
    settings = {
        "start_day": FIRST_DAY,
        "llm": {"provider": "offline"},
        "videos": {"archives": ["archive"], "symbols": "symbols.csv"},
        "channels": [{"channel_id": channel_id, "name": name} for channel_id, name in CHANNELS],
    }
    (folder / "magpie.yaml").write_text(yaml.safe_dump(settings), "utf-8")

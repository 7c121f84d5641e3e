"""What arrives during the soak: archives of posts, videos, exports of channels, keyword lists, all made up.

Belongs here: settings and files, always the same for a number; what a model says of them. Does not belong here: when
they arrive (`soak.py`), platform servers (`tests/fake_channels.py`).
"""

import json
import random
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from magpie.llm.fake.answers import text_for
from tests.content_world import CLUB, SHOP, SMALL, TOPICS, Pen, listed
from tests.dagster_world import LADDER, REPO, TEAPOT, archive, spoken, submission
from tests.fake_channels import FakeChannels
from tests.memes_world import SEEN, drawn, exported, message, noon

CAMPAIGN, OTHER_CAMPAIGN = "agency-crm", "folding-bike"
FIRST_DAY = date(2026, 3, 2)
# Two weeks of days; each file touches two of them, so that later files change days that were made before.
DAYS = 14
POSTS, VIDEOS, MEMES = 40, 2, 6
LIVE_CHANNEL = "live_soak"
# A channel each, so that a later export changes no earlier one.
MOST_EXPORTS = 60
# So little that some questions are answered and some are not; and what a user raises it to.
SMALL_CAP, LARGE_CAP = Decimal("0.004"), Decimal("5.00")
# A call that nobody answers is given up after so long; users wait for two minutes.
TIMEOUT_S = 15
WORDS = [
    "invoice",
    "reminder",
    "pipeline",
    "quote",
    "onboarding",
    "studio",
    "retainer",
    "spreadsheet",
    "handover",
    "deadline",
    "brief",
    "contact",
    "export",
    "calendar",
    "proposal",
    "estimate",
    "signature",
    "folder",
    "template",
    "notes",
]
BIKE = [
    "apartment",
    "neighbours",
    "floor",
    "knees",
    "desk",
    "fold",
    "wheel",
    "brake",
    "quiet",
    "evening",
    "stairs",
    "winter",
    "storage",
    "noise",
    "saddle",
]
TICKERS = ("$AAPL", "$ABBV", "$ABNB", "$ABT", "$ADBE")
VIEWS = (
    "I bought more {} this week and I plan to keep it for years",
    "I would not touch {} before the next earnings call",
    "I am holding {} and I am not adding to it for now",
)
TALK = "so today we look at rates and margins and what the market may make of them in the next quarter"


@dataclass(frozen=True)
class Arrived:
    """What a file brought, by the table in which it has to be in the end, as keys of that table."""

    product: str
    rows: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Load:
    """Files below one folder."""

    folder: Path

    def settings_file(self, models: str, cap: Decimal, **llm: Any) -> Path:
        """Write magpie.yaml; `llm`: of that section."""
        told: dict[str, Any] = yaml.safe_load((REPO / "magpie.yaml").read_text("utf-8"))
        for name in ("persona", "blogs"):
            told.pop(name)
        youtube = REPO / "samples" / "youtube"
        for name in ("reddit", "videos", "memes", "content"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        told["reddit"]["archives"] = [str(self.folder / "reddit")]
        told["videos"] = {
            "archives": [str(self.folder / "videos")],
            "symbols": str(youtube / "symbols.csv"),
            "prices": [str(youtube / "prices.csv")],
            "llm_min_interval_s": 0,
        }
        told["memes"] = {
            "archives": [str(self.folder / "memes")],
            "live": ["vk"],
            "local_ocr": "off",
            # Shortened as the day is.
            "describe_every_min": 2,
            "describe_spacing_s": 0.5,
            "describe_request_s": TIMEOUT_S,
        }
        exports = [{"id": f"tg:{_source(number)}", "language": "en"} for number in range(MOST_EXPORTS)]
        told["meme_sources"] = [*exports, {"id": f"vk:{LIVE_CHANNEL}", "language": "en"}]
        told["content"] = {
            "keyword_files": [str(self.folder / "content")],
            "min_keywords": 3,
            "ideas_min": 1,
            "ideas_max": 2,
            "max_in_article_images": 1,
            "featured_size": SMALL,
            "in_article_size": SMALL,
        }
        told["sites"] = [{"id": SHOP, "name": "Copper and Steam"}, {"id": CLUB, "name": "Second Steep"}]
        told["llm"] = {
            "provider": "auto",
            "workers": 2,
            "timeout_seconds": TIMEOUT_S,
            "base_urls": {"openai": f"{models}/v1", "openrouter": f"{models}/api/v1"},
            "openrouter_free_per_minute": 120,
            **llm,
        }
        for campaign in told["campaigns"]:
            campaign["llm_daily_cap_usd"] = float(cap if campaign["id"] == CAMPAIGN else LARGE_CAP)
        path = self.folder / "magpie.yaml"
        path.write_text(yaml.safe_dump(told), "utf-8")
        return path

    def reddit(self, number: int) -> Arrived:
        """An archive of posts of two days."""
        lines = [_post(number, each) for each in range(POSTS)]
        archive(self.folder / "reddit" / f"batch-{number:03}.ndjson", *lines)
        return Arrived("leads", {"reddit_posts": tuple(f"t3_{line['id']}" for line in lines)})

    def videos(self, number: int) -> Arrived:
        """Videos of both channels, with captions."""
        names = []
        for each in range(VIDEOS):
            name, chance = f"soak{number:03}{each:04}", random.Random(1000 * number + each)
            at = datetime.combine(_day(number + each), time(14, each), UTC)
            lines = [TALK if chance.random() < 0.9 else _view(chance) for _ in range(140)]
            spoken(self.folder / "videos", name, (TEAPOT, LADDER)[each % 2], at, *lines)
            names.append(name)
        return Arrived("videos", {"videos": tuple(names)})

    def memes(self, number: int) -> Arrived:
        """An export of a channel with pictures of two days."""
        source, chance = f"tg:{_source(number)}", random.Random(number)
        told = []
        for each in range(MEMES):
            text = " ".join(chance.choices(WORDS + BIKE, k=7))
            told.append(message(1000 * number + each + 1, noon(_day(number + each % 2), each), text))
        exported(self.folder / "memes", source, *told)
        return Arrived("memes", {"memes": tuple(f"telegram:{_source(number)}:{one['id']}" for one in told)})

    def content(self, number: int) -> Arrived:
        """A list of keywords on one topic for a site; there are as many as sites times topics."""
        site = (SHOP, CLUB)[number % 2]
        words = list(TOPICS.values())[number // 2 % len(TOPICS)]
        listed(self.folder / "content", site, FIRST_DAY + timedelta(days=number // 2), *words)
        return Arrived("content", {"keywords": tuple(f"{site}|{word}" for word in words)})


CONTENT_LISTS = 2 * len(TOPICS)


def posted(channels: FakeChannels, numbers: range) -> Arrived:
    """Let the channel on loopback show these posts."""
    channels.add("vk", LIVE_CHANNEL, list(numbers))
    for number in numbers:
        chance = random.Random(-number)
        channels.texts["vk", number] = " ".join(chance.choices(WORDS + BIKE, k=7))
        channels.media[f"/media/vk/{number}-0.gif"] = drawn(900_000 + number)
    return Arrived("live memes", {"memes": tuple(f"vk:{LIVE_CHANNEL}:-7_{number}" for number in numbers)})


class Models:
    """What stands behind the fake provider: always the same answer to the same question."""

    def __init__(self) -> None:
        self.answered_at: list[float] = []
        self._pen = Pen()
        self._functions = {name.removeprefix("_") for name in dir(Pen) if name.startswith("_") and name[1] != "_"}

    def __call__(self, body: dict[str, Any]) -> str:
        self.answered_at.append(clock.time())
        if str(body.get("model", "")).endswith(":free"):
            return SEEN
        schema = body.get("response_format", {}).get("json_schema", {})
        if schema.get("name") in self._functions:
            return self._pen(body)
        prompt = "\n".join(str(message["content"]) for message in body.get("messages", ()))
        return text_for(prompt, schema.get("schema"))


def _day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number % DAYS)


def _source(number: int) -> str:
    return f"soak_channel_{number:02}"


def _view(chance: random.Random) -> str:
    return chance.choice(VIEWS).format(chance.choice(TICKERS))


def _post(number: int, each: int) -> dict[str, Any]:
    """A post that one of the campaigns matches, or every fifth none."""
    chance, name = random.Random(1000 * number + each), f"s{number:03}x{each:03}"
    day = _day(number + each % 2)
    if each % 5 == 4:
        return submission(
            name, day, title=f"What is for dinner, {name}?", selftext=" ".join(chance.choices(BIKE, k=12))
        )
    if each % 5 == 3:
        words = " ".join(chance.choices(BIKE, k=14))
        title = f"Looking for a quiet folding exercise bike, {name}"
        return submission(
            name, day, title=title, selftext=f"An exercise bike for an apartment: {words}.", subreddit="homegym"
        )
    words = " ".join(chance.choices(WORDS, k=14))
    return submission(name, day, selftext=f"We need client management and lead tracking: {words}. It is for {name}.")


def described(arrivals: list[Arrived]) -> str:
    """The load in one line of JSON: rows by table."""
    counts: dict[str, int] = {}
    for one in arrivals:
        for table, keys in one.rows.items():
            counts[table] = counts.get(table, 0) + len(keys)
    return json.dumps(counts, sort_keys=True)

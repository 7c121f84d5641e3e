"""Keywords on disk for a shop of two sites, definitions at a time of their own, and a model that writes about kettles.

Belongs here: files, settings, the daemon and the model that several test files of content share. Does not belong here:
tests.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import RANGE_END, RANGE_START, site_range
from magpie.content import reviews
from magpie.content import tables as t
from magpie.content.settings import Content, Site
from magpie.content.stages import Desk
from magpie.llm.fake_provider import FakeProvider
from magpie.settings import LLM, Settings
from magpie.tables import Table
from sensors.content import sync_sites
from tests.dagster_world import Daemon, World, changed, rows, sample_settings
from tests.instances import fresh_instance
from tests.ledger_world import FakeClock
from tests.product_world import ProductWorld

D0 = date(2026, 3, 2)
# After all batches; nothing is in the future then.
AT = datetime(2026, 3, 20, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 21, tzinfo=UTC)
SHOP, CLUB = "kettle-shop", "tea-club"
# Topics with their keywords, far enough apart to be told from each other by their words.
DESCALING = ("descale kettle", "descale kettle vinegar", "descale kettle lemon")
WHISTLE = ("whistling stovetop pot", "stovetop pot whistling loudly", "whistling stovetop pot steel")
GREEN_TEA = ("green tea temperature", "green tea temperature chart", "green tea temperature celsius")
TOPICS = {"Descaling": DESCALING, "Whistling pots": WHISTLE, "Green tea": GREEN_TEA}
HEADINGS = ("What it takes", "What to buy", "How to begin", "How to go on", "What goes wrong", "When to stop")
# Big enough to be read as pictures, small enough to be drawn in no time.
SMALL = "128x96"
OFFLINE = LLM(provider="offline")


def listed(folder: Path, site: str, day: date | str, *keywords: str, sector: str = "") -> Path:
    """Write the keywords of a batch as they are typed by hand, a line each."""
    path = folder / site / sector / f"keywords-{day}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f'"{keyword.replace(chr(34), chr(34) * 2)}",{100 - n}' for n, keyword in enumerate(keywords))
    return changed(path, "keyword,volume\n" + "\n".join(lines) + "\n")


def content_over(folder: Path, home: Path, *sites: Site, llm: LLM = OFFLINE, **content: Any) -> Settings:
    """A project of content alone, with few and small images; content: of the section of that name."""
    for site in sites:
        (folder / site.id).mkdir(parents=True, exist_ok=True)
    sizes = dict.fromkeys(("featured_size", "in_article_size"), SMALL)
    bounds = {"min_keywords": 3, "ideas_min": 1, "ideas_max": 2, "max_in_article_images": 1}
    section = Content(keyword_files=(str(folder),), **{**sizes, **bounds, **content})
    base = sample_settings(home)
    others = {
        "blogs": (),
        "campaigns": (),
        "channels": (),
        "meme_sources": (),
        "memes": base.memes.model_copy(update={"archives": (), "events": ()}),
    }
    return base.model_copy(update={**others, "start_day": D0, "llm": llm, "content": section, "sites": sites})


def shop(**more: Any) -> Site:
    return Site(id=SHOP, name="Copper and Steam", **more)


def club(**more: Any) -> Site:
    return Site(id=CLUB, name="Second Steep", **more)


def with_content(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"content": settings.content.model_copy(update=changes)})


def asking(fake: FakeProvider) -> LLM:
    """A provider of everything, which is the fake one; one question at a time, so that caps cut at a known place."""
    model = ("openai/gpt-4.1-mini",)
    return LLM(
        provider="openai",
        workers=1,
        base_urls={"openai": fake.base_url("openai")},
        aliases={"fast": model, "smart": model},
        timeout_seconds=5,
    )


def spans(requests: list[dg.RunRequest]) -> list[tuple[str, str]]:
    """First and last key of the ranges that are asked for."""
    return [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]


def span(site: str, first: date, last: date) -> tuple[str, str]:
    tags = site_range(site, first, last)
    return tags[RANGE_START], tags[RANGE_END]


def stored(world: World, tables: tuple[Table, ...] = t.TABLES) -> dict[str, pl.DataFrame]:
    return {table.name: rows(world.lake, table) for table in tables}


@dataclass
class Editor(Daemon):
    """The daemon, with what it does about content."""

    bound: tuple[str, ...] = ("lake", "control", "llm", "desk")
    news, landing = "new_keywords", "content_landing"


@dataclass
class Pen:
    """Stands behind the fake provider: writes about the topics of this module, and remembers what it was asked.

    Attributes:
        words: of an article's text, after its headings.
        scenes: what the images show, in order; None: something harmless.
    """

    words: str = "Warm the pot and pour slowly. " * 20
    scenes: tuple[str, ...] | None = None
    asked: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

    def __call__(self, body: dict[str, Any]) -> str:
        if "response_format" not in body:
            return ""  # pictures and verdicts are the provider's own
        function = body["response_format"]["json_schema"]["name"]
        prompt = "\n".join(str(message["content"]) for message in body["messages"])
        self.asked.append(function)
        self.prompts.append(prompt)
        return json.dumps(getattr(self, f"_{function}")(prompt))

    def _cluster_keywords(self, prompt: str) -> dict[str, Any]:
        return {
            "clusters": [
                {"name": name, "description": f"All about it: {name}.", "dimension": "topic", "keywords": list(words)}
                for name, words in TOPICS.items()
                if all(f'"{word}"' in prompt for word in words)
            ]
        }

    def _generate_ideas(self, prompt: str) -> dict[str, Any]:
        name, words = next((name, words) for name, words in TOPICS.items() if f"- {words[0]} |" in prompt)
        sections = [{"heading": heading, "h3": [], "points": ["Take your time."]} for heading in HEADINGS]
        idea = {
            "title": f"{name}, from the beginning",
            "description": "For those who begin.",
            "outline": {"intro": "It is easy.", "h2": sections},
            "content_type": "post",
            "content_structure": "guide",
            "primary_keyword": words[0],
            "secondary_keywords": [words[1]],
            "covered_keywords": list(words),
            "estimated_word_count": 1200,
            "priority": "high",
        }
        return {"ideas": [idea]}

    def _generate_article(self, prompt: str) -> dict[str, Any]:
        name, words = next((name, words) for name, words in TOPICS.items() if f"- {words[0]} |" in prompt)
        said = "".join(f"<h2>{heading}</h2><p>{words[0]}: {self.words}</p>" for heading in HEADINGS)
        return {
            "title": f"{name}, from the beginning",
            "meta_title": name,
            "meta_description": "What it takes, what to buy and what goes wrong, told from the beginning to the end.",
            "content": said,
            "primary_keyword": words[0],
            "secondary_keywords": [words[1]],
            "tags": [name],
            "categories": [],
        }

    def _image_prompts(self, prompt: str) -> dict[str, Any]:
        found = re.search(r"exactly (\d+) prompts", prompt)
        assert found is not None
        count = int(found[1])
        # Of each article its own, so that none is served from another's call.
        about = next(name for name in TOPICS if f"{name}, from the beginning" in prompt).lower()
        scenes = self.scenes or tuple(f"a copper pot on a table, {about}, view {n}" for n in range(count + 1))
        alts = [f"A pot, view {n}" for n in range(count + 1)]
        return {"featured_prompt": scenes[0], "in_article_prompts": list(scenes[1:]), "alt_texts": alts}


class Press(ProductWorld[Editor]):
    """Keywords on disk, definitions over rules or the fake provider, and a clock moved by hand."""

    product = "content"
    daemon_of = Editor

    def sync(self) -> None:
        sync_sites(self.instance, self.settings)

    def resources(self) -> dict[str, Any]:
        return {"desk": Desk(self.settings, self.lake, self.control, self.clock)}

    def land(self) -> None:
        self.world.run("content_landing")

    def make(
        self, first: date = D0, last: date | None = None, site: str = SHOP, check: bool = True
    ) -> dg.ExecuteInProcessResult:
        """Make days of a site; without `last` the first alone."""
        return self.world.run("site_days", check, tags=site_range(site, first, last or first))

    def decide(self, kind: str, ref: str, action: str, **payload: Any) -> None:
        """As an editor would, a minute after the last decision."""
        self.clock.now += timedelta(minutes=1)
        reviews.decide(self.control, self.lake, kind, ref, action, "editor", payload, self.clock())


Open = Callable[..., Press]


@contextmanager
def pressing(settings: Settings, clock: FakeClock | None = None, **more: Any) -> Iterator[Press]:
    """A press with an instance of its own."""
    with fresh_instance() as instance:
        yield Press(settings, clock or FakeClock(AT), instance, **more)

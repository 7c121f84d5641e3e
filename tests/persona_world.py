"""A blog on disk, definitions at a time of their own, and a model that writes about snails, for tests of persona.

Belongs here: pages, settings, the daemon and the model that several test files of persona share. Does not belong here:
tests.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import RANGE_END, RANGE_START, lead_range
from magpie.blobs import Blobs
from magpie.llm.fake_provider import FakeProvider
from magpie.persona import logs, reviews
from magpie.persona import tables as t
from magpie.persona.settings import Blog, Persona
from magpie.persona.stages import Reader
from magpie.settings import LLM, Settings
from magpie.tables import Table
from schedules.persona import BLOG_DAYS, BLOG_POSTS
from sensors.persona import sync_blogs
from tests.dagster_world import Daemon, changed, sample_settings
from tests.instances import fresh_instance
from tests.ledger_world import FakeClock
from tests.product_world import ProductWorld

BLOG = "night-desk"
# Before it, the blog posted what the offline writer reads.
D0 = date(2026, 3, 2)
# After all days; nothing is in the future then.
AT = datetime(2026, 3, 20, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 21, tzinfo=UTC)
OFFLINE = LLM(provider="offline")
PER_DAY = tuple(table for table in t.TABLES if table.name in {*BLOG_POSTS, *BLOG_DAYS})
DIARY = (
    "The last train left on time and nobody was on it but the snail.",
    "I swept the platform twice because the moss likes to be looked at.",
    "Lamp three hums when it rains and I hum back so that it is not alone.",
    "A parcel came for somebody who moved away years ago and I signed for it.",
    "The kettle and I agree about most things but not about mornings.",
    "Somebody left a glove on the bench and the other one came back for it.",
    "The timetable is wrong on purpose so that late people feel early.",
    "There is a draught under the door that tells very long stories.",
)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), UTC)


def post(number: int, moment: datetime, text: str, author: str = BLOG, **more: Any) -> dict[str, Any]:
    """A post as Tumblr's API has it."""
    return {
        "id": number,
        "id_string": str(number),
        "blog_name": author,
        "blog": {"name": author},
        "timestamp": int(moment.timestamp()),
        "state": "published",
        "reblog_key": f"k{number}",
        "tags": [],
        "note_count": 3,
        "content": [{"type": "text", "text": text}],
        "layout": [],
        "trail": [],
        **more,
    }


def ask(number: int, moment: datetime, text: str, asker: str = "ada") -> dict[str, Any]:
    """A question that waits for its answer."""
    layout = [{"type": "ask", "blocks": [0], "attribution": {"type": "blog", "blog": {"name": asker}}}]
    return post(number, moment, text, state="submission", layout=layout)


def reblog(number: int, moment: datetime, text: str, of: dict[str, Any], author: str = "bert") -> dict[str, Any]:
    """A post of the blog with somebody's words below it."""
    before = {
        "content": of["content"],
        "layout": of["layout"],
        "post": {"id": of["id_string"], "timestamp": of["timestamp"]},
        "blog": of["blog"],
    }
    more = {"trail": [before], "reblogged_from_id": of["id_string"], "reblogged_from_name": of["blog_name"]}
    return post(number, moment, text, author, **more)


def reply(moment: datetime, text: str, author: str = "cleo") -> dict[str, Any]:
    return {
        "type": "reply",
        "timestamp": int(moment.timestamp()),
        "blog_name": author,
        "followed": True,
        "reply_text": text,
    }


def diary(day: date = D0 - timedelta(days=1), count: int = 8) -> list[dict[str, Any]]:
    """What the blog posted on a day, hour by hour."""
    return [post(100 + n, at(day, 10 + n % 12), DIARY[n % len(DIARY)], tags=["night shift"]) for n in range(count)]


def paged(folder: Path, kind: str, name: str, items: Sequence[dict[str, Any]], blog: str = BLOG) -> Path:
    """Write a page of an archive; one of that name is replaced."""
    path = folder / blog / kind / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return changed(path, json.dumps({"response": {"notes" if kind == "notes" else "posts": list(items)}}))


def desk_of(**more: Any) -> Blog:
    """The blog: it writes two texts an input, and nothing of its own accord unless `more` says so."""
    tuning = {"n_answer": 2, "n_original": 2, "n_scale": 0.0, **more.pop("tuning", {})}
    return Blog(**{"name": BLOG, "persona": "A night clerk.", "originals": False, "tuning": tuning, **more})


def persona_over(folder: Path, home: Path, *blogs: Blog, llm: LLM = OFFLINE, **persona: Any) -> Settings:
    """A project of blogs alone, whose writer needs few posts; persona: of the section of that name."""
    (folder / BLOG).mkdir(parents=True, exist_ok=True)
    bounds = {"start_day": D0 - timedelta(days=7), "min_corpus": 5, "local_ocr": "off"}
    section = Persona(archives=(str(folder),), **{**bounds, **persona})
    base = sample_settings(home)
    others = {
        "campaigns": (),
        "channels": (),
        "sites": (),
        "meme_sources": (),
        "memes": base.memes.model_copy(update={"archives": (), "events": ()}),
        "content": base.content.model_copy(update={"keyword_files": ()}),
    }
    return base.model_copy(update={**others, "llm": llm, "persona": section, "blogs": blogs or (desk_of(),)})


def asking(fake: FakeProvider) -> LLM:
    """A provider of everything, which is the fake one; one question at a time, so that caps cut at a known place."""
    model = ("openai/gpt-4.1-mini",)
    return LLM(
        provider="openai",
        workers=1,
        base_urls={"openai": fake.base_url("openai")},
        aliases=dict.fromkeys(("fast", "smart", "writer"), model),
        timeout_seconds=5,
    )


def span(first: date, last: date, blog: str = BLOG) -> tuple[str, str]:
    tags = lead_range(blog, first, last)
    return tags[RANGE_START], tags[RANGE_END]


def spans(requests: Sequence[dg.RunRequest]) -> list[tuple[str | None, str, str]]:
    """Job, first and last key of the ranges that are asked for."""
    return [(request.job_name, request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]


@dataclass
class Clerk(Daemon):
    """The daemon, with what it does about blogs."""

    bound: tuple[str, ...] = ("lake", "control", "llm", "reader")
    news, landing = "new_inputs", "persona_landing"
    days, after = "blog_days", {"blog_posts": "inputs_after_posts"}


@dataclass
class Pen:
    """Stands behind the fake provider: writes each draft in words of its own, and remembers what it was asked."""

    drafts: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

    def __call__(self, body: dict[str, Any]) -> str:
        prompt = "\n".join(str(message["content"]) for message in body["messages"])
        draft = re.search(r"This is draft \S+/([0-9]+\.[0-9]+)\.", prompt)
        assert draft is not None, prompt
        self.prompts.append(prompt)
        self.drafts.append(draft[1])
        number = len(self.drafts)
        said = f"Snail number {number} has been told and sends her slow regards."
        return json.dumps({"body": said, "tags": ["snail"]})


class Office(ProductWorld[Clerk]):
    """Pages on disk, definitions over rules or the fake provider, and a clock moved by hand."""

    product = "persona"
    daemon_of = Clerk

    def sync(self) -> None:
        sync_blogs(self.instance, self.settings)

    def resources(self) -> dict[str, Any]:
        return {"reader": Reader(self.settings, self.lake, self.control, Blobs(self.settings.blobs), None, self.clock)}

    def land(self) -> None:
        self.world.run("persona_landing")

    def read(self, first: date = D0, last: date | None = None) -> dg.ExecuteInProcessResult:
        """Make posts and threads of some days."""
        return self.world.run("blog_posts", tags=lead_range(BLOG, first, last or first))

    def make(self, first: date = D0, last: date | None = None, check: bool = True) -> dg.ExecuteInProcessResult:
        """React to some days; without `last` to the first alone."""
        return self.world.run("blog_days", check, tags=lead_range(BLOG, first, last or first))

    def land_and_make(self, first: date = D0, last: date | None = None) -> None:
        """Everything from pages on, with the diary before the first day."""
        self.land()
        self.read(first - timedelta(days=1), last or first)
        self.make(first, last)

    def review(self, outbox_id: str, action: str, **more: Any) -> None:
        """As a person would, a minute after the last decision."""
        self.clock.now += timedelta(minutes=1)
        reviews.record(self.control, self.lake, self.settings, outbox_id, action, "reader", self.clock(), **more)

    def take_back(self, item: str) -> None:
        """The author of a post or reply deletes it."""
        self.clock.now += timedelta(minutes=1)
        logs.DELETIONS.append(self.control, [{"blog": BLOG, "item": item, "actor": "reader", "at": self.clock()}])


@contextmanager
def office_of(settings: Settings, clock: FakeClock | None = None, **more: Any) -> Iterator[Office]:
    """An office with an instance of its own."""
    with fresh_instance() as instance:
        yield Office(settings, clock or FakeClock(AT), instance, **more)


def stored(office: Office, tables: Sequence[Table] = PER_DAY) -> dict[str, pl.DataFrame]:
    """All rows; states of the inbox tell what was decided when it was made, so they are left out."""
    found = {table.name: office.rows(table) for table in tables}
    if "persona_inbox" in found:
        found["persona_inbox"] = found["persona_inbox"].drop("state")
    return found


def assert_same(before: dict[str, pl.DataFrame], after: dict[str, pl.DataFrame]) -> None:
    for name, frame in before.items():
        assert after[name].equals(frame), name

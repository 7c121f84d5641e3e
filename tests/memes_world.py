"""Channels on disk, definitions at a time of their own, and a free vision model that tests of memes talk to.

Belongs here: exports with pictures that tests draw, the daemon that looks after memes, a desk with a clock moved by
hand. Does not belong here: tests.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import sqlalchemy as sa

from assets.partitions import RANGE_END, RANGE_START
from definitions import build_definitions
from magpie.blobs import Blobs
from magpie.control import Control
from magpie.lake import Lake
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.schema import llm_call
from magpie.memes import logs
from magpie.memes import tables as t
from magpie.memes.serving import Recommender
from magpie.memes.settings import MemeSource
from magpie.memes.stages import Curator
from magpie.settings import LLM, Settings
from magpie.sources.web import Web
from magpie.tables import Table
from resources.llm import Llm
from tests.dagster_world import Daemon, World, changed, rows, sample_settings
from tests.gateway_world import KEYS
from tests.pictures import encoded, noise
from tests.product_world import ProductWorld

D0 = date(2026, 3, 2)
# After all days of the sample; nothing in it is in the future then.
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
CATS = "tg:cats"
SOURCES = (CATS, "tg:dogs")
GEMMA, NEMOTRON = "google/gemma-4-31b-it:free", "nvidia/nemotron-3-nano-omni-30b-a3b-reasoning:free"
Clock = Callable[[], datetime]
# What a model that does as it is told says of any picture.
SEEN = json.dumps({"ocr_text": "", "description": "Grey blocks; the joke is that there is none.", "language": "en"})


def noon(day: date, minute: int = 0) -> datetime:
    return datetime.combine(day, time(12, minute), UTC)


def day_of(number: int) -> date:
    return D0 + timedelta(days=number)


def drawn(seed: int, quality: int = 90) -> bytes:
    """A picture of its own; of one seed and another quality the same to the eye."""
    return encoded(noise(seed, 160, 120), "JPEG", quality=quality)


def message(number: int, at: datetime, text: Any = "", **more: Any) -> dict[str, Any]:
    """A message of an export with one photo, `photos/<number>.jpg`."""
    return {
        "id": number,
        "type": "message",
        "date": at.strftime("%Y-%m-%dT%H:%M:%S"),
        "date_unixtime": str(int(at.timestamp())),
        "from": "Somebody",
        "photo": f"photos/{number}.jpg",
        "text": text,
        **more,
    }


def exported(folder: Path, source_id: str, *messages: Any, pictures: dict[int, bytes] | None = None) -> Path:
    """Write an export of a channel; a message without a picture in `pictures` gets one of its own number."""
    name = source_id.partition(":")[2]
    home = folder / "telegram" / name
    (home / "photos").mkdir(parents=True, exist_ok=True)
    for told in messages:
        if isinstance(told, dict) and str(told.get("photo", "")).startswith("photos/"):
            number = told["id"]
            (home / told["photo"]).write_bytes((pictures or {}).get(number) or drawn(number))
    export = {"name": name, "type": "public_channel", "id": 1, "messages": list(messages)}
    return changed(home / "result.json", json.dumps(export))


def telegram_range(first: date, last: date) -> dict[str, str]:
    """Tags of a run over a range of days of Telegram alone."""
    return {RANGE_START: f"{first}|telegram", RANGE_END: f"{last}|telegram"}


def event(number: int, kind: str, user: str, meme_id: str, at: datetime) -> dict[str, Any]:
    return {"event_id": f"e{number}", "kind": kind, "user_id": user, "meme_id": meme_id, "at": at.isoformat()}


def told(path: Path, *events: dict[str, Any]) -> Path:
    """Write a file of events."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return changed(path, "".join(json.dumps(one) + "\n" for one in events))


def memes_over(archives: Path, home: Path, *, sources: Sequence[str] = SOURCES, **changes: Any) -> Settings:
    """A project of memes alone; pictures are not read on this machine, which takes long. changes: of section memes."""
    archives.mkdir(parents=True, exist_ok=True)
    settings = sample_settings(home)
    section = {"archives": (str(archives),), "events": (), "local_ocr": "off", **changes}
    return settings.model_copy(
        update={
            "blogs": (),
            "campaigns": (),
            "channels": (),
            "sites": (),
            "memes": settings.memes.model_copy(update=section),
            "meme_sources": tuple(MemeSource(id=source) for source in sources),
        }
    )


def with_memes(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"memes": settings.memes.model_copy(update=changes)})


def located(
    settings: Settings,
    instance: dg.DagsterInstance,
    clock: Clock = lambda: NOW,
    llm: Llm | None = None,
    web: Web | None = None,
    *,
    checks: bool = False,
) -> World:
    """Definitions of memes at a time of their own; nothing is asked over the network unless `web` or `llm` can.

    Args:
        checks: whether a run holds its rows against the asset checks.
    """
    world = World(settings, dg.Definitions(), instance)
    control, lake = world.control, world.lake
    defs = build_definitions(
        settings,
        ["memes"],
        checks=checks,
        llm=llm or Llm(settings, control, clock=clock, env={}),
        **curating(settings, lake, control, clock, web),
    )
    return World(settings, defs, instance)


def curating(settings: Settings, lake: Lake, control: Control, clock: Clock, web: Web | None = None) -> dict[str, Any]:
    """The resources of memes at a time of their own."""
    return {
        "curator": Curator(settings, lake, control, Blobs(settings.blobs), web, clock),
        "recommender": Recommender(settings, lake, control, clock=clock),
    }


@dataclass
class Keeper(Daemon):
    """The daemon, with what it does about memes."""

    bound: tuple[str, ...] = ("lake", "control", "llm", "curator", "recommender")
    news, landing = "new_memes", "meme_landing"
    days, after = "meme_days", {"meme_days": "later_copies"}

    def restarted(self, settings: Settings, clock: Clock = lambda: NOW) -> "Keeper":
        """The same instance and cursors under other settings, as after an edit of magpie.yaml and a reload."""
        return Keeper(located(settings, self.world.instance, clock), self.cursors, self.used)


@dataclass
class Eye:
    """Stands behind the fake provider: describes every picture alike, unless told otherwise.

    Attributes:
        reply: from the model that is asked to the text of its answer.
        asked: models, in order.
    """

    reply: Callable[[str], str] = lambda model: SEEN
    asked: list[str] = field(default_factory=list)

    def __call__(self, body: dict[str, Any]) -> str:
        self.asked.append(body["model"])
        return self.reply(body["model"])


class Studio(ProductWorld[Keeper]):
    """Pictures on disk, definitions over the fake provider, and a clock moved by hand."""

    product = "memes"
    keys = {"OPENROUTER_API_KEY": KEYS["OPENROUTER_API_KEY"]}
    daemon_of = Keeper

    def resources(self) -> dict[str, Any]:
        return curating(self.settings, self.lake, self.control, self.clock)

    def make(self, first: date = D0, last: date | None = None, check: bool = True) -> dg.ExecuteInProcessResult:
        """Land the files and make the days of Telegram, up to the last of any file."""
        self.world.run("meme_landing")
        days = rows(self.world.lake, t.MEME_FILES)["days"].explode().drop_nulls().to_list()
        return self.world.run("meme_days", check, tags=telegram_range(first, last or max(days)))

    def plan(self) -> list[dg.RunRequest]:
        """What describe_planner asks for now."""
        return self.daemon.tick("describe_planner")[0]

    def describe(self) -> list[dg.RunRequest]:
        """Let the planner plan, and make what it asks for."""
        asked = self.plan()
        for request in asked:
            self.daemon.perform(request, "meme_days")
        return asked

    def descriptions(self) -> pl.DataFrame:
        return rows(self.world.lake, t.MEME_DESCRIPTIONS)

    def described(self) -> dict[tuple[str, str | None], int]:
        """How many descriptions there are of each status and reason."""
        return self.fates(t.MEME_DESCRIPTIONS)

    def planned(self) -> pl.DataFrame:
        return logs.DESCRIBE_QUEUE.read(self.control).sort("planned_at", "rank")

    def attempts(self) -> int:
        """Calls that the ledger has counted."""
        query = sa.select(sa.func.count()).where(llm_call.c.kind == "call")
        return int(self.store.read(lambda c: c.execute(query).scalar_one()))


def asking(settings: Settings, fake: FakeProvider, models: Sequence[str] = (GEMMA, NEMOTRON), **llm: Any) -> Settings:
    """The settings with these free models behind the fake provider."""
    section = LLM(
        base_urls={"openrouter": fake.base_url("openrouter")},
        aliases={"vision-free": tuple(f"openrouter/{name}" for name in models)},
        timeout_seconds=5,
        **llm,
    )
    return settings.model_copy(update={"llm": section})


def stored(world: World, tables: Collection[Table]) -> dict[str, pl.DataFrame]:
    return {table.name: rows(world.lake, table) for table in tables}


def assert_same(before: dict[str, pl.DataFrame], after: dict[str, pl.DataFrame]) -> None:
    for name, frame in before.items():
        assert after[name].equals(frame), name

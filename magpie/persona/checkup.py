"""What can be found out about persona without changing anything: pages, keys and rests, who writes, models, waiting.

Belongs here: a line for each of these. Does not belong here: other products and rows that are pending anywhere
(`magpie/health.py`), printing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm.engine import OFFLINE
from magpie.media.ocr import local_reader
from magpie.persona import tables as t
from magpie.persona.drafts import WAITING
from magpie.persona.live import PLATFORM
from magpie.persona.settings import Blog
from magpie.persona.stages import places_of
from magpie.persona.training import TABLES as MODELS
from magpie.persona.training import row_at
from magpie.settings import Settings
from magpie.sources.channel_clients import Resting
from magpie.sources.tumblr_api import Keys

Level = Literal["ok", "note", "warn", "bad"]
# Level, what was looked at, what was found.
Line = tuple[Level, str, str]
Writers = Callable[[Blog], Sequence[str]]


def look(settings: Settings, control: Control, writers: Writers, env: Mapping[str, str], now: datetime) -> list[Line]:
    """Look at everything of persona; never raises for what it is there to report.

    Args:
        writers: the models that may be asked to write for a blog, the preferred one first; none: the offline writer.
    """
    if not settings.blogs:
        return [("note", "blogs", "none; list blogs in magpie.yaml, and their folders under persona.archives")]
    looks: tuple[tuple[str, Callable[[], Iterator[Line]]], ...] = (
        ("tumblr files", lambda: _files(settings)),
        ("tumblr", lambda: _tumblr(settings, control, env, now)),
        ("writers", lambda: _writers(settings, writers)),
        ("text models", lambda: _models(settings, now)),
        ("text in posts' pictures", lambda: _ocr(settings)),
        ("drafts", lambda: _drafts(settings)),
    )
    found: list[Line] = []
    for subject, lines in looks:
        try:
            found += lines()
        except UserError as error:
            found.append(("bad", subject, str(error)))
    return found


def _files(settings: Settings) -> Iterator[Line]:
    files = places_of(settings).files()
    known = _lake(settings).read(t.TUMBLR_FILES).select("status", "reason").collect()
    useless = known.filter(pl.col("status") != "ok")
    told = f"{len(files):,} files, {known.height:,} read"
    if useless.height:
        reasons = ", ".join(sorted(set(useless["reason"])))
        yield "warn", "tumblr files", f"{told}, {useless.height:,} of no use: {reasons} (see tumblr_files)"
    else:
        live = any(blog.mode == "live" for blog in settings.blogs)
        yield ("ok" if files or live else "warn"), "tumblr files", told


def _tumblr(settings: Settings, control: Control, env: Mapping[str, str], now: datetime) -> Iterator[Line]:
    live = [blog for blog in settings.blogs if blog.active and blog.mode == "live"]
    posting = [blog.name for blog in live if blog.delivery == "tumblr"]
    if not live:
        yield "note", "tumblr", "not asked; no active blog has mode: live"
        return
    try:
        Keys.of(env)
    except UserError as error:
        yield "warn", "tumblr", str(error)
        return
    rest = Resting(control, PLATFORM).now(now)
    if rest is not None:
        told = f"rests until {rest.until:%Y-%m-%d %H:%M} UTC ({rest.reason}: {rest.detail})"
        yield "warn", "tumblr", f"{told}; `magpie persona resume` ends it"
    else:
        sent = f"posts go out to {', '.join(posting)}" if posting else "nothing is posted: delivery is dry_run"
        yield "ok", "tumblr", f"{len(live):,} live blogs are read; {sent}"


def _writers(settings: Settings, writers: Writers) -> Iterator[Line]:
    for blog in settings.blogs:
        models = writers(blog)
        offline = (
            f"{OFFLINE}: word sequences of the blog's own posts, of which it takes {settings.persona.min_corpus:,}"
        )
        yield "ok", f"writer of {blog.name}", ", then ".join(models) or offline


def _models(settings: Settings, now: datetime) -> Iterator[Line]:
    lake = _lake(settings)
    stored = {kind: lake.read(table).collect() for kind, table in MODELS.items()}
    for blog in settings.blogs:
        usable = {kind: row_at(rows.filter(pl.col("blog") == blog.name), now) for kind, rows in stored.items()}
        missing = [kind for kind, row in usable.items() if row is None]
        told = ", ".join(f"{kind} AUC {row['auc_oof']:.2f}" for kind, row in usable.items() if row is not None)
        if missing:
            told = f"{told}; " if told else ""
            told += f"{' and '.join(missing)} not trained, so every post is a draft"
        yield ("note" if missing else "ok"), f"models of {blog.name}", told


def _ocr(settings: Settings) -> Iterator[Line]:
    subject = "text in posts' pictures"
    if settings.persona.local_ocr == "off":
        yield "note", subject, "read by models alone; persona.local_ocr is off"
    elif local_reader() is None:
        yield "note", subject, "read by models alone; install the extra `ocr` to have it read here"
    else:
        yield "ok", subject, "read here where no model is asked, Latin letters alone"


def _drafts(settings: Settings) -> Iterator[Line]:
    lake, blogs = _lake(settings), [blog.name for blog in settings.blogs]
    rows = lake.read(t.OUTBOX).filter(pl.col("state").is_in(WAITING) & pl.col("blog").is_in(blogs))
    count = rows.select(pl.len()).collect().item()
    yield (
        ("note" if count else "ok"),
        "drafts",
        f"{count:,} waited for a person when last made; `magpie persona review`",
    )


def _lake(settings: Settings) -> Lake:
    return Lake(settings.lake_root, settings.storage_options())

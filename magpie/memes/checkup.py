"""What can be found out about memes without changing anything: folders, channels, platforms, free calls, extras.

Belongs here: a line for each of these. Does not belong here: other products (`magpie/health.py`), printing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Literal

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm.budget import used_now, uses
from magpie.llm.purpose import FREE_TIER, Limits, share
from magpie.llm.store import Store
from magpie.media.ocr import local_reader
from magpie.media.video_frames import can_decode
from magpie.memes import logs, sources
from magpie.memes import tables as t
from magpie.memes.describer import PRODUCT
from magpie.memes.listing import Places
from magpie.settings import Settings
from magpie.sources.channel_clients import KEYS, Resting

Level = Literal["ok", "note", "warn", "bad"]
# Level, what was looked at, what was found.
Line = tuple[Level, str, str]
# More names than this make no line.
NAMED = 5


def look(settings: Settings, control: Control, limits: Limits, env: Mapping[str, str], now: datetime) -> list[Line]:
    """Look at everything of memes; never raises for what it is there to report."""
    if not (settings.meme_sources or settings.memes.archives or settings.memes.live):
        return [("note", "memes", "none; list channels under meme_sources and folders under memes in magpie.yaml")]
    looks: tuple[tuple[str, Callable[[], Iterator[Line]]], ...] = (
        ("meme files", lambda: _files(settings)),
        ("meme sources", lambda: _sources(settings, control)),
        ("platforms", lambda: _platforms(settings, control, env, now)),
        ("free calls today", lambda: _free_calls(control, limits, now)),
        ("text in pictures", _ocr),
        ("videos of memes", _decoder),
    )
    found: list[Line] = []
    for subject, lines in looks:
        try:
            found += lines()
        except UserError as error:
            found.append(("bad", subject, str(error)))
    return found


def _files(settings: Settings) -> Iterator[Line]:
    files = Places.of(settings).files()
    known = _lake(settings).read(t.MEME_FILES).collect()
    useless = known.filter(pl.col("status") == "failed")
    told = f"{len(files):,} files, {known.height:,} read"
    if useless.height:
        reasons = ", ".join(sorted(set(useless["reason"])))
        yield "warn", "meme files", f"{told}, {useless.height:,} of no use: {reasons} (see meme_files)"
    else:
        yield ("ok" if files or settings.memes.live else "warn"), "meme files", told


def _sources(settings: Settings, control: Control) -> Iterator[Line]:
    lake = _lake(settings)
    listed = sources.Listed.of(settings, lake.read(t.MEME_FILES).collect())
    events, fetches = logs.SOURCE_EVENTS.read(control), logs.FETCHES.read(control)
    found = sources.meme_sources(listed, events, fetches, lake.read(t.MEME_POSTS))
    channels = found.filter(pl.col("platform") != "upload")
    states = Counter(channels["state"])
    told = ", ".join(f"{states[state]:,} {state}" for state in t.SOURCE_STATES if states[state])
    asleep = channels.filter(pl.col("state") == "snoozed").select("source_id", "snooze_reason").rows()
    if asleep:
        names = ", ".join(f"{name} ({reason})" if reason else name for name, reason in asleep[:NAMED])
        told += f"; asleep: {names}{', ...' if len(asleep) > NAMED else ''}"
    yield ("warn" if asleep else "ok"), "meme sources", told or "none"


def _platforms(settings: Settings, control: Control, env: Mapping[str, str], now: datetime) -> Iterator[Line]:
    if not settings.memes.live:
        yield "note", "platforms", "none is asked; memes.live is empty"
    for platform in settings.memes.live:
        rest = Resting(control, platform).now(now)
        if platform in KEYS and not env.get(KEYS[platform], "").strip():
            yield "warn", platform, f"{KEYS[platform]} is not set, so it is not asked; set it, or edit memes.live"
        elif rest is not None:
            ends = f"`magpie memes resume {platform}` ends it"
            yield (
                "warn",
                platform,
                f"rests until {rest.until:%Y-%m-%d %H:%M} UTC ({rest.reason}: {rest.detail}); {ends}",
            )
        else:
            yield "ok", platform, "may be asked"


def _free_calls(control: Control, limits: Limits, now: datetime) -> Iterator[Line]:
    store = Store(control)
    names = {FREE_TIER: "in all", share(FREE_TIER, PRODUCT): "by memes"}
    try:
        used = uses(names, limits, used_now(store, now), now)
    finally:
        store.close()
    counted = [use for use in used if use.cap_calls is not None]
    told = ", ".join(f"{use.calls:,} of {use.cap_calls:,} {names[use.scope]}" for use in counted)
    full = any((use.calls_share or 0) >= 1 for use in counted)
    yield ("warn" if full else "ok"), "free calls today", told or "no bound"


def _ocr() -> Iterator[Line]:
    if local_reader() is None:
        missing = "not read here, so pictures that look alike stay uncertain; install the extra `ocr`"
        yield "note", "text in pictures", missing
    else:
        yield "ok", "text in pictures", "read here, Latin letters alone; other scripts need a model"


def _decoder() -> Iterator[Line]:
    if can_decode():
        yield "ok", "videos of memes", "decoded here"
    else:
        yield "note", "videos of memes", "rejected no_decoder; install the extra `video`"


def _lake(settings: Settings) -> Lake:
    return Lake(settings.lake_root, settings.storage_options())

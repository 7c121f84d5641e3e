"""What can be found out about an installation without changing it.

Belongs here: versions, paths, keys, archives, videos and their reference files, clock, disk, waiting rows, money and
models; of memes and persona what their `checkup.py` finds. Does not belong here: mending, printing.
"""

import platform
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import polars as pl

from magpie import maintenance, stuck
from magpie.catalog import TABLES
from magpie.control import Control
from magpie.engine import engine_of, limits_of, models_of
from magpie.errors import UserError
from magpie.functions import FUNCTIONS
from magpie.lake import Lake
from magpie.leads.archives import landing_of
from magpie.llm import audit, moderation, spend
from magpie.llm.choices import choose
from magpie.llm.engine import OFFLINE
from magpie.llm.images import image_models
from magpie.llm.money import shown
from magpie.llm.purpose import ALL
from magpie.llm.store import Store
from magpie.memes import checkup
from magpie.persona import checkup as persona_checkup
from magpie.persona.settings import Blog
from magpie.persona.write_post import PERSONA_WRITE
from magpie.settings import Settings
from magpie.sources.channel_clients import KEYS as KEYS_OF_CHANNELS
from magpie.sources.price_files import read_early_closes
from magpie.strict import DEFAULT_CHOICE
from magpie.text.embedders import HOSTED_EMBEDDERS
from magpie.videos.listing import Places
from magpie.videos.stages import price_rows
from magpie.videos.symbols import read_symbols

PACKAGES = ("dagster", "dbt-duckdb", "polars", "duckdb", "deltalake", "openai", "anthropic", "asyncpraw", "yt-dlp")
KEYS = (
    "REDDIT_CLIENT_ID",
    "REDDIT_CLIENT_SECRET",
    "REDDIT_USER_AGENT",
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "OPENROUTER_API_KEY",
    "VK_TOKEN",
    "HIKERAPI_KEY",
    "TUMBLR_CONSUMER_KEY",
    "TUMBLR_CONSUMER_SECRET",
    "TUMBLR_OAUTH_TOKEN",
    "TUMBLR_OAUTH_SECRET",
)
# A backfill of a year writes some GB; below this it may not finish.
LOW_DISK_BYTES = 5 << 30
# File times ahead of the clock by more than this mean the clock is wrong, and every partition date with it.
CLOCK_SLACK_SECONDS = 300


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    level: Literal["ok", "note", "warn", "bad"]
    subject: str
    text: str


def examine(settings: Settings, env: Mapping[str, str], now: datetime) -> list[Finding]:
    """Look at everything; never raises for what it is there to report."""
    lake = _lake(settings)
    return [
        Finding("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_package(name) for name in PACKAGES),
        Finding("ok", "home", str(settings.home)),
        lake,
        Finding("ok", "warehouse", str(settings.warehouse)) if settings.warehouse.exists() else _no_warehouse(),
        *(_key(name, env) for name in KEYS),
        *_archives(settings),
        *_videos(settings),
        _clock(settings, now),
        _disk(settings),
        *_books(settings, env, now, there=lake.level != "bad"),
        _models(settings, now),
    ]


def models_in_use(settings: Settings) -> set[str]:
    """Return the aliases and models that functions, embedders, moderation and makers of images are asked with.

    None where no model may be asked.

    Raises:
        UserError: a model in the settings is wrong.
    """
    if settings.llm.provider == "offline":
        return set()
    # Settings call a hosted embedder by a name of its own.
    found: set[str | None] = {
        HOSTED_EMBEDDERS.get(name, name) for name in (settings.leads.embed_model, settings.content.embed_model)
    }
    tiers = [own.functions for own in settings.campaigns] + [own.functions for own in settings.channels]
    tiers += [own.functions for own in settings.sites] + [own.functions for own in settings.blogs]
    for name in FUNCTIONS.names():
        choice = settings.llm.functions.get(name)
        found.add((choice and choice.model) or FUNCTIONS[name].alias)
        found |= {functions[name].model for functions in tiers if name in functions}
    found |= {version.model for version in settings.videos.analysis_versions}
    if settings.sites:
        found |= {moderation.ALIAS, *_image_models(settings)}
    return {name for name in found if name}


def _image_models(settings: Settings) -> set[str]:
    """Those of the provider that the settings name, which are not all that the alias stands for."""
    provider = settings.content.image_provider
    if provider == OFFLINE:
        return set()
    # Of any day: what ends is named until it has.
    return {model.name for model in image_models(models_of(settings), provider, date.min)}


def _package(name: str) -> Finding:
    try:
        return Finding("ok", name, version(name))
    except PackageNotFoundError:
        return Finding("bad", name, "not installed; run `make install`")


def _key(name: str, env: Mapping[str, str]) -> Finding:
    try:
        known = bool(env.get(name))
    except UserError as error:
        return Finding("bad", name, str(error))
    if known:
        return Finding("ok", name, "set")
    archives = name.startswith(("REDDIT", "TUMBLR")) or name in KEYS_OF_CHANNELS.values()
    instead = "archives need none" if archives else "offline rules need none"
    return Finding("note", name, f"not set; {instead}")


def _no_warehouse() -> Finding:
    return Finding("note", "warehouse", "not built yet; `magpie run` builds it")


def _lake(settings: Settings) -> Finding:
    try:
        lake = Lake(settings.lake_root, settings.storage_options())
        there = sum(1 for table in TABLES.values() if lake.open(table) is not None)
    except UserError as error:
        return Finding("bad", "lake", str(error))
    return Finding("ok", "lake", f"{settings.lake_root} ({there} of {len(TABLES)} tables)")


def _archives(settings: Settings) -> list[Finding]:
    landing = landing_of(settings)
    try:
        files = landing.files()
    except UserError as error:
        return [Finding("bad", "archives", str(error))]
    if not files:
        level: Literal["note", "warn"] = "warn" if settings.campaigns else "note"
        return [Finding(level, "archives", "none named; list dumps under reddit.archives in magpie.yaml")]
    size = sum(path.stat().st_size for path in files)
    landed = landing.manifests()
    days = landing.days()
    span = f", {days[0]} to {days[-1]}" if days else ""
    bad = sum(manifest.bad_lines for manifest in landed)
    text = f"{len(files)} files, {size / 1e6:,.1f} MB; {len(landed)} read{span}, {bad} bad lines"
    return [Finding("ok", "archives", text)]


def _videos(settings: Settings) -> list[Finding]:
    if not settings.channels:
        return [Finding("note", "channels", "none; list YouTube channels under channels in magpie.yaml")]
    looks: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
        ("channels", _channels),
        ("symbols", _symbols),
        ("prices", _prices),
        ("early closes", _early_closes),
    )
    found = []
    for subject, look in looks:
        try:
            found.append(look(settings))
        except UserError as error:
            found.append(Finding("bad", subject, str(error)))
    return found


def _channels(settings: Settings) -> Finding:
    active = sum(channel.active for channel in settings.channels)
    kinds = Counter(file.kind for file in Places.of(settings).files())
    asked = "YouTube is asked too" if settings.videos.live else "YouTube is not asked, videos.live is off"
    text = (
        f"{active} of {len(settings.channels)} active; {kinds['info']} info.json and {kinds['captions']} caption files"
    )
    empty = not kinds and not settings.videos.live
    return Finding("warn" if empty else "ok", "channels", f"{text}; {asked}")


def _symbols(settings: Settings) -> Finding:
    if settings.videos.symbols is None:
        return Finding("warn", "symbols", "none named, so every pick is turned away; set videos.symbols in magpie.yaml")
    return Finding("ok", "symbols", f"{read_symbols(settings.root / settings.videos.symbols).height:,} securities")


def _prices(settings: Settings) -> Finding:
    if not settings.videos.prices:
        return Finding("note", "prices", "none named; outcomes wait for them, see videos.prices")
    rows, benchmark = price_rows(settings), settings.videos.benchmark_symbol
    prices = rows.prices
    if benchmark not in prices["symbol"]:
        return Finding("warn", "prices", f"none of {benchmark}, which every outcome is held against")
    first, last = prices.select(pl.min("day").alias("first"), pl.max("day").alias("last")).row(0)
    text = f"{prices['symbol'].n_unique():,} symbols, {first} to {last}"
    bad = f", {rows.bad.height:,} rows are none" if rows.bad.height else ""
    return Finding("warn" if bad else "ok", "prices", text + bad)


def _early_closes(settings: Settings) -> Finding:
    file = settings.videos.early_closes
    if file is None:
        return Finding("note", "early closes", "none named; every session is taken to end at 16:00 in New York")
    return Finding("ok", "early closes", f"{len(read_early_closes(settings.root / file))} days")


def _clock(settings: Settings, now: datetime) -> Finding:
    newest = max((path.stat().st_mtime for path in settings.root.glob("*.y*ml")), default=0.0)
    if newest > now.timestamp() + CLOCK_SLACK_SECONDS:
        return Finding("bad", "clock", f"{now:%Y-%m-%d %H:%M} UTC is earlier than files on this disk; set the clock")
    return Finding("ok", "clock", f"{now:%Y-%m-%d %H:%M} UTC")


def _disk(settings: Settings) -> Finding:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(Path(place)).free
    level: Literal["ok", "warn"] = "ok" if free > LOW_DISK_BYTES else "warn"
    return Finding(level, "disk", f"{free / 2**30:,.1f} GiB free at {place}")


def _books(settings: Settings, env: Mapping[str, str], now: datetime, *, there: bool) -> list[Finding]:
    """What control database and products tell; where the lake is not `there`, each of them would wait for it again."""
    control = Control(settings.control_database)
    store = Store(control)
    try:
        products = _products(settings, control, env, now) if there else []
        return [*products, *_control(control, now), _stuck(settings, control, now), *_spend(settings, store, now)]
    except UserError as error:
        return [Finding("bad", "control", str(error))]
    finally:
        store.close()
        control.close()


def _products(settings: Settings, control: Control, env: Mapping[str, str], now: datetime) -> list[Finding]:
    memes = checkup.look(settings, control, limits_of(settings), env, now)
    blogs = persona_checkup.look(settings, control, lambda blog: _writers(settings, control, env, blog), env, now)
    return [Finding(*line) for line in (*memes, *blogs)]


def _writers(settings: Settings, control: Control, env: Mapping[str, str], blog: Blog) -> list[str]:
    """The models that may be asked to write for a blog, the preferred one first."""
    own = blog.functions.get(PERSONA_WRITE.name, DEFAULT_CHOICE)
    tiers = {"scope": own, "function": settings.llm.functions.get(PERSONA_WRITE.name, DEFAULT_CHOICE)}
    chosen = choose(PERSONA_WRITE, {tier: choice.choice() for tier, choice in tiers.items()})
    return [model.name for model in engine_of(settings, control, env=env).candidates(chosen)]


def _control(control: Control, now: datetime) -> list[Finding]:
    waiting, oldest = control.pending(), maintenance.waiting_days(control, now)
    rows = sum(item.rows for item in waiting)
    reasons = ", ".join(sorted({item.reason for item in waiting}))
    found = [Finding("ok" if not rows else "warn", "pending rows", f"{rows}{': ' + reasons if rows else ''}")]
    if oldest is None:
        return [*found, Finding("ok", "deletions", "none wait for a vacuum")]
    left = maintenance.VACUUM_RETENTION.days - oldest
    return [
        *found,
        Finding("note", "deletions", f"old table versions may hold deleted posts for {max(left, 0):.1f} days more"),
    ]


def _stuck(settings: Settings, control: Control, now: datetime) -> Finding:
    """As the daily look of the job `stuck_partitions` left it; looking through all tables takes too long for here."""
    found = stuck.begun(control)
    days = settings.alerts.stuck_days
    old = Counter(row.table for row in stuck.older(found, days, now))
    if not old:
        return Finding("ok", "stuck partitions", f"none for {days} days or more")
    tables = ", ".join(f"{table} ({partitions})" for table, partitions in old.most_common())
    return Finding("warn", "stuck partitions", f"{old.total()} for {days} days or more: {tables}")


def _spend(settings: Settings, store: Store, now: datetime) -> list[Finding]:
    uses, stopped = spend.today(store, limits_of(settings), now), spend.obstacles(store, now)
    whole = next(use for use in uses if use.scope == ALL and use.window[0] == "D")
    share = whole.share or 0
    text = f"{shown(whole.spent_nano)} of {shown(whole.cap_nano or 0)} ({share:.0%})"
    scopes = ", ".join(item.scope for item in stopped.breakers)
    dead = stopped.dead
    return [
        Finding("ok" if share < spend.WARN_SHARE else "warn", "spent today", text),
        Finding("warn" if scopes else "ok", "breakers", f"open: {scopes}; `magpie breaker`" if scopes else "none open"),
        Finding(
            "warn" if dead else "ok", "dead calls", f"{dead} wait for `magpie spend sweep`" if dead else "none wait"
        ),
    ]


def _models(settings: Settings, now: datetime) -> Finding:
    try:
        found = audit.models_last(models_of(settings), models_in_use(settings), now.date())
    except UserError as error:
        return Finding("bad", "models", str(error))
    ends = ", ".join(f"{row['model']} on {row['last day']}" for row in found.rows)
    return Finding("warn" if ends else "ok", "models", f"{found.summary}: {ends}" if ends else found.summary)

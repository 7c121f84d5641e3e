"""What can be found out about an installation without changing it.

Belongs here: versions, paths, keys, archives, clock, disk, waiting rows. Does not belong here: mending, printing.
"""

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from magpie import maintenance
from magpie.catalog import TABLES
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads.archives import landing_of
from magpie.settings import Settings

PACKAGES = ("dagster", "dbt-duckdb", "polars", "duckdb", "deltalake", "openai", "anthropic", "asyncpraw", "yt-dlp")
KEYS = (
    "REDDIT_CLIENT_ID",
    "REDDIT_CLIENT_SECRET",
    "REDDIT_USER_AGENT",
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "OPENROUTER_API_KEY",
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
    return [
        Finding("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_package(name) for name in PACKAGES),
        Finding("ok", "home", str(settings.home)),
        _lake(settings),
        Finding("ok", "warehouse", str(settings.warehouse)) if settings.warehouse.exists() else _no_warehouse(),
        *(_key(name, env) for name in KEYS),
        *_archives(settings),
        _clock(settings, now),
        _disk(settings),
        *_control(settings, now),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding("ok", name, version(name))
    except PackageNotFoundError:
        return Finding("bad", name, "not installed; run `make install`")


def _key(name: str, env: Mapping[str, str]) -> Finding:
    return Finding(
        "ok" if env.get(name) else "note", name, "set" if env.get(name) else "not set; not needed for archives"
    )


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
        return [Finding("warn", "archives", "none named; list dumps under reddit.archives in magpie.yaml")]
    size = sum(path.stat().st_size for path in files)
    landed = landing.manifests()
    days = landing.days()
    span = f", {days[0]} to {days[-1]}" if days else ""
    bad = sum(manifest.bad_lines for manifest in landed)
    text = f"{len(files)} files, {size / 1e6:,.1f} MB; {len(landed)} read{span}, {bad} bad lines"
    return [Finding("ok", "archives", text)]


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


def _control(settings: Settings, now: datetime) -> list[Finding]:
    control = Control(settings.control_database)
    try:
        waiting, oldest = control.pending(), maintenance.waiting_days(control, now)
    except UserError as error:
        return [Finding("bad", "control", str(error))]
    finally:
        control.close()
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

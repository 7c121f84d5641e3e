"""Which days have to be made anew: because an archive changed, because a post was deleted.

Belongs here: comparing what is there with what was seen before. Does not belong here: requesting runs (`sensors/`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.sources.reddit_landing import Landing


@dataclass(frozen=True)
class Seen:
    """What a sensor has dealt with: landed files by fingerprint, deletions by count, and days still to request."""

    files: dict[str, str]
    deletions: int
    waiting: tuple[date, ...]

    @classmethod
    def read(cls, cursor: str | None) -> "Seen":
        if not cursor:
            return cls({}, 0, ())
        raw = json.loads(cursor)
        return cls(raw["files"], raw["deletions"], tuple(date.fromisoformat(day) for day in raw["waiting"]))

    def dump(self) -> str:
        waiting = [day.isoformat() for day in self.waiting]
        return json.dumps({"files": self.files, "deletions": self.deletions, "waiting": waiting}, sort_keys=True)


def stale_files(landing: Landing) -> list[str]:
    """Return the archive files that are new or changed since they were landed."""
    landed = {manifest.source_file: (manifest.bytes, manifest.modified_ns) for manifest in landing.manifests()}
    return sorted(name for name, now in landing.fingerprints().items() if landed.get(name) != now)


def after(seen: Seen, landing: Landing, lake: Lake, deleted: pl.DataFrame) -> Seen:
    """Return the state after looking: days of files landed since and of posts deleted since join the waiting ones."""
    files = {m.source_file: f"{m.bytes}-{m.modified_ns}" for m in landing.manifests()}
    changed = [name for name, print_ in files.items() if seen.files.get(name) != print_]
    days = set(seen.waiting) | set(landing.days_of(changed))
    fresh = deleted["fullname"].slice(seen.deletions).to_list()
    if fresh:
        held = lake.read(t.REDDIT_POSTS).filter(pl.col("fullname").is_in(fresh)).select(pl.col("day").unique())
        days |= set(held.collect()["day"])
    return Seen(files, deleted.height, tuple(sorted(days)))


def reach(days: Sequence[date], first: date, last: date, window_days: int) -> list[date]:
    """Return `days` and those whose trailing window holds one of them, between `first` and `last`."""
    touched = {day + timedelta(days=n) for day in days for n in range(window_days)}
    return sorted(day for day in touched if first <= day <= last)

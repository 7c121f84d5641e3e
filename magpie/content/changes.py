"""Which batches of which sites have to be made anew: because keyword files or decisions changed.

Belongs here: comparing what is there with what was seen before. Does not belong here: requesting runs (`sensors/`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from magpie.content import tables as t
from magpie.content.keywords import Places, fingerprint, misplaced
from magpie.content.reviews import REVIEWS
from magpie.control import Control
from magpie.cursors import Cursor
from magpie.days import ranges
from magpie.lake import Lake
from magpie.places import changed, hashed
from magpie.settings import Settings

# A run costs seconds to begin and a day without keywords some hundredths of one; so ranges go on over quiet days.
QUIET_DAYS = 14
# What has to be made anew: everything from the keywords on, or what follows from decisions.
KEYWORDS, DECISIONS = "keywords", "decisions"
# What, a site and a range of its days.
Span = tuple[str, str, date, date]


@dataclass(frozen=True)
class Seen(Cursor):
    """What a sensor has dealt with: by site and day a hash of its files; how many decisions."""

    batches: Mapping[str, str] = field(default_factory=dict)
    decisions: int = 0


def stale_files(settings: Settings, lake: Lake) -> list[str]:
    """Files and lists that are new, changed, gone or of another site since `keyword_files` was made.

    Raises:
        UserError: a folder in the settings does not exist.
    """
    columns = ("source_file", "bytes", "modified_ns", "site_id", "reason")
    stored = lake.read(t.KEYWORD_FILES).select(columns).collect()
    places = Places.of(settings.root, settings.home, settings.content, settings.sites)
    return sorted({*changed(stored, fingerprint(places)), *misplaced(places, stored)})


def unheard(lake: Lake, control: Control) -> bool:
    """Whether the lake's copy of the decisions lacks some."""
    copied = lake.read(t.CONTENT_REVIEWS).select(pl.len()).collect().item()
    return copied != REVIEWS.read(control).height


def after(seen: Seen, settings: Settings, lake: Lake, control: Control, today: date) -> Seen:
    """Return the state after looking: batches that changed, and those after them, join the waiting ones.

    The first batch that has a keyword keeps it, and topics know those of earlier batches; so a batch bears on all later
    ones of its site.
    """
    active = {site.id for site in settings.sites if site.active}
    batches = _batches(lake, settings.content_start_day, today)
    batches = {key: value for key, value in batches.items() if key.partition("|")[0] in active}
    days: dict[str, list[date]] = {}
    for key in batches:
        site, _, day = key.partition("|")
        days.setdefault(site, []).append(date.fromisoformat(day))
    spans: set[Span] = set()
    for site in sorted(active):
        mine = {key for key in batches.keys() | seen.batches.keys() if key.partition("|")[0] == site}
        touched = [key.partition("|")[2] for key in mine if batches.get(key) != seen.batches.get(key)]
        if touched:
            first = date.fromisoformat(min(touched))
            later = [day for day in days.get(site, []) if day >= first]
            spans |= {(KEYWORDS, site, *span) for span in ranges([first, *later], QUIET_DAYS)}
    decisions = REVIEWS.read(control).height
    if decisions != seen.decisions:
        spans |= {(DECISIONS, site, *span) for site, found in days.items() for span in ranges(found, QUIET_DAYS)}
    return Seen(batches, decisions, waiting=tuple(sorted({*spans, *seen.waiting})))


def site_spans(
    settings: Settings, lake: Lake, site: str, last: date, first: date | None = None
) -> list[tuple[date, date]]:
    """Ranges of days on which a site has batches."""
    found = _batches(lake, max(first or settings.content_start_day, settings.content_start_day), last)
    return ranges(
        [date.fromisoformat(key.partition("|")[2]) for key in found if key.partition("|")[0] == site], QUIET_DAYS
    )


def _batches(lake: Lake, first: date, last: date) -> dict[str, str]:
    files = (
        lake.read(t.KEYWORD_FILES)
        .filter((pl.col("status") == "ok") & pl.col("day").is_between(first, last))
        .select("site_id", "day", "source_file", "bytes", "modified_ns")
        .sort("site_id", "day", "source_file")
        .collect()
    )
    return {
        f"{site}|{day}": hashed(part.drop("site_id", "day").rows())
        for (site, day), part in files.partition_by("site_id", "day", as_dict=True, maintain_order=True).items()
    }

"""Which days of which channels have to be made anew: because files, versions or prices changed.

Belongs here: comparing what is there with what was seen before. Does not belong here: requesting runs (`sensors/`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from magpie.cursors import Cursor
from magpie.days import ranges
from magpie.lake import Lake
from magpie.places import hashed
from magpie.settings import Settings
from magpie.sources.price_files import price_fingerprints
from magpie.videos import listing, stages
from magpie.videos import tables as t
from magpie.videos.listing import Places

# A run costs seconds to begin and a day without videos some hundredths of one; so ranges go on over as many quiet days.
QUIET_DAYS = 14
# A channel and a range of its days.
Span = tuple[str, date, date]


@dataclass(frozen=True)
class Seen(Cursor):
    """What a sensor has dealt with: per channel and day a hash of its files, deletions by count."""

    days: dict[str, str] = field(default_factory=dict)
    deletions: int = 0


def fingerprints(settings: Settings) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file, by name.

    Raises:
        UserError: a folder in the settings does not exist.
    """
    places = Places.of(settings)
    return listing.fingerprint(places.files(), places)


def stale_files(settings: Settings, lake: Lake) -> list[str]:
    """Files that are new, changed or gone since `video_files` was made, or whose channel is watched since then.

    Raises:
        UserError: a folder in the settings does not exist.
    """
    stored = lake.read(t.VIDEO_FILES).select("source_file", "bytes", "modified_ns", "reason", "channel_id").collect()
    watched = [channel.channel_id for channel in settings.channels]
    turned_away = (pl.col("reason") == "unknown_channel") & pl.col("channel_id").is_in(watched)
    changed = listing.changed(stored, fingerprints(settings))
    return sorted({*changed, *stored.filter(turned_away)["source_file"]})


def after(seen: Seen, lake: Lake, deleted: pl.DataFrame, settings: Settings, today: date) -> Seen:
    """Return the state after looking: days whose files changed or whose videos are gone join the waiting ones."""
    active = {channel.channel_id for channel in settings.channels if channel.active}
    files = (
        lake.read(t.VIDEO_FILES)
        .filter((pl.col("status") == "ok") & pl.col("day").is_between(settings.videos_start_day, today))
        .select("channel_id", "day", "source_file", "bytes", "modified_ns")
        .sort("channel_id", "day", "source_file")
        .collect()
    )
    days = {
        f"{channel}|{day}": hashed(part.drop("channel_id", "day").rows())
        for (channel, day), part in files.partition_by("channel_id", "day", as_dict=True).items()
        if channel in active
    }
    touched = {key for key in days.keys() | seen.days.keys() if days.get(key) != seen.days.get(key)}
    fresh = deleted["fullname"].slice(seen.deletions).to_list()
    held = lake.read(t.VIDEOS).filter(pl.col("video_id").is_in(fresh)).select("channel_id", "day").collect()
    touched |= {f"{channel}|{day}" for channel, day in held.iter_rows()}
    touched = {key for key in touched if key.partition("|")[0] in active}
    still = (span for span in seen.waiting if span[0] in active)
    old = {f"{channel}|{day}" for channel, first, last in still for day in _between(first, last)}
    return Seen(days, deleted.height, waiting=tuple(spans(tuple(key.split("|")) for key in touched | old)))  # type: ignore[misc]


def spans(pairs: Iterable[tuple[str, str]]) -> list[Span]:
    """Contiguous ranges of each channel's days."""
    by_channel: dict[str, set[date]] = {}
    for channel, day in pairs:
        by_channel.setdefault(channel, set()).add(date.fromisoformat(day))
    return [(channel, *span) for channel, days in sorted(by_channel.items()) for span in ranges(days, QUIET_DAYS)]


def versions_hash(settings: Settings) -> str:
    """Changes whenever a video would be read in other versions than before."""
    videos = settings.videos
    told = [version.model_dump(mode="json") for version in videos.analysis_versions]
    return hashed([videos.analysis_mode, told])


def read_spans(lake: Lake) -> list[Span]:
    """The days on which there are videos with captions."""
    days = lake.read(t.TRANSCRIPTS).filter(pl.col("status") == "ok").select("channel_id", "day").unique().collect()
    return spans((channel, str(day)) for channel, day in days.iter_rows())


def price_files(settings: Settings) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each price file."""
    return price_fingerprints([settings.root / path for path in settings.videos.prices])


def price_span(settings: Settings) -> tuple[date, date] | None:
    """First and last day of prices from the first partition on."""
    days = stages.price_rows(settings).prices["day"]
    wanted = days.filter(days >= settings.videos_start_day)
    return (wanted.min(), wanted.max()) if wanted.len() else None  # type: ignore[return-value]


def _between(first: date, last: date) -> list[date]:
    return pl.date_range(first, last, eager=True).to_list()

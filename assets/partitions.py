"""How the tables are partitioned, and how Dagster's keys become sets of a table's partitions.

Belongs here: partition definitions, mappings and ranges that products share. Does not belong here: which asset uses
which.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

import dagster as dg
import polars as pl

from magpie.memes.tables import PLATFORMS as MEME_PLATFORMS
from magpie.persona.tables import DAYS_AHEAD
from magpie.tables import Partitions, Table

CAMPAIGNS = dg.DynamicPartitionsDefinition(name="campaign")
CHANNELS = dg.DynamicPartitionsDefinition(name="channel")
SITES = dg.DynamicPartitionsDefinition(name="site")
BLOGS = dg.DynamicPartitionsDefinition(name="blog")
PLATFORMS = dg.StaticPartitionsDefinition(list(MEME_PLATFORMS))
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def days_from(start: date) -> dg.DailyPartitionsDefinition:
    """Days in UTC from `start` to yesterday."""
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC")


def days_through_today(start: date) -> dg.DailyPartitionsDefinition:
    """Days in UTC from `start` to today: for what is looked at while the day lasts."""
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC", end_offset=1)


def last_partition(now: datetime) -> date:
    """The day before `now`: a day becomes a partition when it is over."""
    return now.date() - timedelta(days=1)


def span_of(days: Sequence[date], start: date, last: date) -> tuple[date, date] | None:
    """First and last partition that `days`, of which only the outermost matter, span between `start` and `last`."""
    found = (max(min(days), start), min(max(days), last)) if days else None
    return found if found and found[0] <= found[1] else None


def campaign_days_from(start: date) -> dg.MultiPartitionsDefinition:
    """Every campaign on every day."""
    return dg.MultiPartitionsDefinition({"campaign": CAMPAIGNS, "day": days_from(start)})


def channel_days_from(start: date) -> dg.MultiPartitionsDefinition:
    """Every channel on every day, today included: a video is read on the day it comes out."""
    return dg.MultiPartitionsDefinition({"channel": CHANNELS, "day": days_through_today(start)})


def site_days_from(start: date) -> dg.MultiPartitionsDefinition:
    """Every site on every day, today included: keywords are imported on the day they are brought."""
    return dg.MultiPartitionsDefinition({"site": SITES, "day": days_through_today(start)})


def blog_days_from(start: date) -> dg.MultiPartitionsDefinition:
    """Every blog on every day, tomorrow included: a post for tomorrow morning is written today."""
    days = dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC", end_offset=DAYS_AHEAD + 1)
    return dg.MultiPartitionsDefinition({"blog": BLOGS, "day": days})


def platform_days_from(start: date) -> dg.MultiPartitionsDefinition:
    """Every platform on every day, today included."""
    return dg.MultiPartitionsDefinition({"platform": PLATFORMS, "day": days_through_today(start)})


SAME_DAY = dg.MultiToSingleDimensionPartitionMapping("day")
SAME_BLOG = dg.MultiToSingleDimensionPartitionMapping("blog")
SAME_CAMPAIGN = dg.MultiToSingleDimensionPartitionMapping("campaign")


def trailing_days(window: int) -> dg.TimeWindowPartitionMapping:
    """The day and the `window - 1` days before it, as far as there are any."""
    return dg.TimeWindowPartitionMapping(start_offset=1 - window, allow_nonexistent_upstream_partitions=True)


def day_range(first: date, last: date) -> dict[str, str]:
    """Tags of a run over a range of days."""
    return {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}


def lead_range(lead: str, first: date, last: date) -> dict[str, str]:
    """Tags of a run over a range of days of one campaign, channel or blog."""
    return {RANGE_START: f"{lead}|{first}", RANGE_END: f"{lead}|{last}"}


def site_range(site: str, first: date | str, last: date | str) -> dict[str, str]:
    """Tags of a run over a range of days of one site; in a key, dimensions stand in the order of their names."""
    return {RANGE_START: f"{first}|{site}", RANGE_END: f"{last}|{site}"}


def platforms_range(first: date | str, last: date | str) -> dict[str, str]:
    """Tags of a run over a range of days of all platforms; in a key, dimensions stand in the order of their names."""
    return {RANGE_START: f"{first}|{MEME_PLATFORMS[0]}", RANGE_END: f"{last}|{MEME_PLATFORMS[-1]}"}


def range_of(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """First and last partition key of a run, by its tags; None: it names none."""
    first = tags.get(RANGE_START) or tags.get("dagster/partition")
    return (first, tags.get(RANGE_END) or first) if first else None


def sync(
    instance: dg.DagsterInstance, dimension: dg.DynamicPartitionsDefinition, wanted: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Make dynamic partitions equal to what the settings name; return those added and removed."""
    name, now = str(dimension.name), set(wanted)
    there = set(instance.get_dynamic_partitions(name))
    added, removed = sorted(now - there), sorted(there - now)
    if added:
        instance.add_dynamic_partitions(name, added)
    for key in removed:
        instance.delete_dynamic_partition(name, key)
    return added, removed


def partitions_of(table: Table, keys: Iterable[str]) -> Partitions:
    """Turn partition keys into partitions of `table`; keys of several dimensions carry them by name."""
    dimensions = list(table.dimensions)
    match dimensions:
        case []:
            return Partitions.whole()
        case ["day"]:
            return Partitions.days(date.fromisoformat(key) for key in keys)
        case [_]:
            return Partitions.leading(keys)
        case [lead, _]:
            return Partitions.of(_lead_and_day(key, lead) for key in keys)
        case _:
            raise ValueError(f"{table.name} has more than two dimensions")


def per_lead(table: Table, keys: Iterable[str], make: Callable[[str, list[date]], pl.DataFrame]) -> pl.DataFrame:
    """A run may cover several campaigns, channels, sites or blogs; each is one call of the rule, with its days."""
    asked = partitions_of(table, keys)
    made = [make(str(lead), sorted(days or ())) for lead, days in sorted(asked.groups.items(), key=str)]
    return pl.concat(made) if made else table.empty()


def _lead_and_day(key: str, lead: str) -> tuple[str, date]:
    if isinstance(key, dg.MultiPartitionKey):
        named = key.keys_by_dimension
        return named[lead], date.fromisoformat(named["day"])
    # A key that came through a tag is plain text: its parts stand in the order of the dimensions' names.
    parts = dict(zip(sorted([lead, "day"]), key.split("|"), strict=True))
    return parts[lead], date.fromisoformat(parts["day"])

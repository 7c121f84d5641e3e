"""Which days of memes have to be made anew: because files, sources or decisions changed.

Belongs here: comparing what is there with what was seen before. Does not belong here: requesting runs (`sensors/`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from magpie.append_log import AppendLog
from magpie.control import Control
from magpie.cursors import Cursor
from magpie.days import ranges
from magpie.lake import Lake
from magpie.memes import logs
from magpie.memes import tables as t
from magpie.memes.listing import Places, fingerprint
from magpie.places import changed, hashed
from magpie.settings import Settings

# A run costs seconds to begin and a day without posts some hundredths of one; so ranges go on over as many quiet days.
QUIET_DAYS = 14
# What has to be made anew: everything from the posts on, what follows from sources and decisions, or ratings.
POSTS, FATES, RATINGS = "posts", "fates", "ratings"
# Of which what changes sources or fates is copied into the lake as soon as it is said.
SPOKEN = (logs.SOURCE_EVENTS, logs.MODERATION, logs.USERS)


@dataclass(frozen=True)
class Seen(Cursor):
    """What a sensor has dealt with.

    Attributes:
        days: by day a hash of the files with posts; events: by day one of the files of events.
        sources: by source its state and language; decisions: how many.
    """

    days: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    decisions: int = 0


def stale_files(settings: Settings, lake: Lake) -> list[str]:
    """Files that are new, changed or gone since `meme_files` was made.

    Raises:
        UserError: a folder in the settings does not exist.
    """
    stored = lake.read(t.MEME_FILES).select("source_file", "bytes", "modified_ns").collect()
    return changed(stored, fingerprint(Places.of(settings)))


def unheard(lake: Lake, control: Control) -> dict[str, int]:
    """Logs of which the lake's copy lacks rows, with the rows they have."""
    return {log.table.name: rows for log in SPOKEN if (rows := _rows(log, control)) != _copied(log, lake)}


def after(seen: Seen, settings: Settings, lake: Lake, control: Control, today: date) -> Seen:
    """Return the state after looking: days of what changed join the waiting ones."""
    files = lake.read(t.MEME_FILES).filter(pl.col("status") == "ok").sort("source_file").collect()
    is_events, first = pl.col("format") == "events", settings.memes_start_day
    days = _by_day(files.filter(~is_events), first, today)
    events = _by_day(files.filter(is_events), first, today)
    told = lake.read(t.MEME_SOURCES).select("source_id", "state", "language").sort("source_id").collect()
    sources = {source_id: f"{state} {language}" for source_id, state, language in told.iter_rows()}
    decisions = logs.MODERATION.read(control).sort("at", "decision_id")
    fresh = decisions[seen.decisions :]
    # What is to be deleted stands in posts already.
    purged = _days_of_posts(lake, fresh.filter(pl.col("action") == "purge"))
    touched = {
        POSTS: ranges({*_days(_differing(seen.days, days)), *purged}, QUIET_DAYS),
        FATES: ranges(_days_of(lake, _differing(seen.sources, sources), fresh), QUIET_DAYS),
        # Ratings of a day count all that was known then: those of later days move too.
        RATINGS: [(min(_days(late)), today)] if (late := _differing(seen.events, events)) else [],
    }
    spans = {(what, *span) for what, found in touched.items() for span in found}
    return Seen(days, events, sources, decisions.height, waiting=tuple(sorted({*spans, *seen.waiting})))


def _by_day(files: pl.DataFrame, first: date, last: date) -> dict[str, str]:
    rows = files.select("days", "source_file", "bytes", "modified_ns").explode("days").drop_nulls("days")
    held = rows.filter(pl.col("days").is_between(first, last)).partition_by("days", as_dict=True, maintain_order=True)
    return {str(day): hashed(part.drop("days").rows()) for (day,), part in held.items()}


def _days_of(lake: Lake, source_ids: Collection[str], decisions: pl.DataFrame) -> list[date]:
    """The days of memes of these sources, and of memes of which something was decided."""
    ids = decisions["meme_id"].unique().implode()
    mine = pl.col("source_id").is_in(list(source_ids)) | pl.col("meme_id").is_in(ids)
    return lake.read(t.MEMES).filter(mine).select("day").unique().collect()["day"].to_list()


def _days_of_posts(lake: Lake, decisions: pl.DataFrame) -> list[date]:
    mine = pl.col("meme_id").is_in(decisions["meme_id"].unique().implode())
    return lake.read(t.MEME_POSTS).filter(mine).select("day").unique().collect()["day"].to_list()


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def _days(keys: Iterable[str]) -> list[date]:
    return [date.fromisoformat(key) for key in keys]


def _ranged(keys: Iterable[str]) -> list[tuple[date, date]]:
    return ranges(_days(keys), QUIET_DAYS)


def _rows(log: AppendLog, control: Control) -> int:
    return log.read(control).height


def _copied(log: AppendLog, lake: Lake) -> int:
    return lake.read(log.table).select(pl.len()).collect().item()


def post_spans(settings: Settings, lake: Lake, first: date, last: date) -> list[tuple[date, date]]:
    """Ranges of days with posts, within bounds."""
    return _ranged(_by_day(_ok(lake, pl.col("format") != "events"), max(first, settings.memes_start_day), last))


def event_spans(settings: Settings, lake: Lake, control: Control, first: date, last: date) -> list[tuple[date, date]]:
    """Ranges of days with events, within bounds."""
    told = _by_day(_ok(lake, pl.col("format") == "events"), max(first, settings.memes_start_day), last)
    logged = logs.EVENTS.read(control)["at"].dt.date().unique()
    mine = logged.filter(logged.is_between(max(first, settings.memes_start_day), last))
    return ranges({*_days(told), *mine}, QUIET_DAYS)


def _ok(lake: Lake, which: pl.Expr) -> pl.DataFrame:
    return lake.read(t.MEME_FILES).filter((pl.col("status") == "ok") & which).collect()

"""What the lake says at one moment to whoever recommends: the catalogue, and events of the past.

Belongs here: reading the lake's tables for it, and noticing that they changed. Does not belong here: what is made of
them (`catalogue.py`, `people.py`), and the row of the one meme that is sent (`serving.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from magpie.lake import Lake
from magpie.memes import tables as t
from magpie.memes.catalogue import RECENT, SOURCES, STATS, STATUS, WORDS, Catalogue
from magpie.memes.people import EVENT_COLUMNS, EVENTS
from magpie.memes.stats import latest
from magpie.tables import Partitions

READ = (t.MEME_STATUS, t.MEME_STATS, t.SOURCE_STATS, t.MEME_DESCRIPTIONS, t.MEME_REACTIONS)
# Statistics change every quarter of an hour, and looking at five tables' logs takes longer than a refill.
CHECK_EVERY = timedelta(seconds=30)
# How many of the latest likes of all say what is liked just now.
LATEST_LIKES = 10_000
# Days that are looked at for them, more where they hold too few; None: all.
LIKE_DAYS = (7, 60, None)
# People whose events are kept in memory; some kilobytes each.
PEOPLE_KEPT = 10_000


@dataclass
class Snapshot:
    """The lake as of some versions.

    Attributes:
        versions: of the tables that were read, -1 of one that was never written.
    """

    lake: Lake
    catalogue: Catalogue
    versions: dict[str, int]
    _told: dict[str, pl.DataFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, lake: Lake) -> "Snapshot":
        """Read the tables; versions are asked first, so that what is written meanwhile is noticed later."""
        versions = versions_of(lake)
        return cls(lake, catalogue_of(lake), versions)

    def events_of(self, user_ids: Iterable[str]) -> dict[str, pl.DataFrame]:
        """Return the events of each of these people (`EVENTS`) that the lake has; those of new memes included."""
        wanted = list(dict.fromkeys(user_ids))
        missing = [user_id for user_id in wanted if user_id not in self._told]
        if len(self._told) + len(missing) > PEOPLE_KEPT:
            self._told, missing = {}, wanted
        if missing:
            usable = pl.col("status").is_in(["ok", "rejected"]) & pl.col("user_id").is_in(missing)
            rows = self.lake.read(t.MEME_REACTIONS).filter(usable).select(EVENT_COLUMNS).collect()
            found = rows.partition_by("user_id", as_dict=True)
            none = pl.DataFrame(schema=EVENTS)
            self._told.update({user_id: found.get((user_id,), none) for user_id in missing})
        return {user_id: self._told[user_id] for user_id in wanted}


def versions_of(lake: Lake) -> dict[str, int]:
    """Return the version of each table that is read, -1 of one that was never written."""
    return {table.name: lake.version(table) for table in READ}


def catalogue_of(lake: Lake) -> Catalogue:
    """Lay out the catalogue by the newest versions."""
    words = pl.col("ocr_text").str.count_matches(r"\S+").cast(pl.Int64).alias("words")
    status, stats, sources, told = pl.collect_all(
        [
            lake.read(t.MEME_STATUS).select(list(STATUS)),
            latest(t.MEME_STATS, lake.read(t.MEME_STATS)).select(list(STATS)),
            latest(t.SOURCE_STATS, lake.read(t.SOURCE_STATS)).select(list(SOURCES)),
            lake.read(t.MEME_DESCRIPTIONS).select("meme_id", words).select(list(WORDS)),
        ]
    )
    return Catalogue.of(status, stats, sources, told, latest_likes(lake, LATEST_LIKES))


def latest_likes(lake: Lake, most: int) -> pl.DataFrame:
    """Return meme and person of the latest likes of all (`RECENT`), latest first."""
    days = sorted({row["day"] for row in lake.present(t.MEME_REACTIONS)}, reverse=True)
    likes = pl.DataFrame(schema=RECENT)
    for window in LIKE_DAYS:
        looked_at = Partitions.days(days[:window])
        rows = lake.read(t.MEME_REACTIONS, looked_at).filter((pl.col("status") == "ok") & (pl.col("kind") == "like"))
        last = rows.select("at", "event_id", *RECENT).top_k(most, by=["at", "event_id"]).collect()
        likes = last.sort("at", "event_id", descending=True).select(list(RECENT))
        if likes.height >= most or window is None or window >= len(days):
            break
    return likes

"""The stages of memes as functions of the lake: what each reads, and the one rule it applies.

Belongs here: joining settings, lake, logs, files and rules for a set of partitions, for the orchestrator and for
tests. Does not belong here: the rules themselves (their own modules), scheduling, writing.

What runs in a circle is read as of now: statistics move sources, sources move statuses, statuses decide what is
described. Such reads are no dependencies, so no circle is declared.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.fetches import Fetch, Fetches
from magpie.lake import Lake
from magpie.llm.engine import Engine
from magpie.llm.progress import Report
from magpie.llm.task import Summary
from magpie.media.ocr import local_reader
from magpie.memes import base, listing, logs, posts, reactions, tombstones
from magpie.memes import duplicates as copies
from magpie.memes import media as shop
from magpie.memes import sources as channels
from magpie.memes import status as states
from magpie.memes import tables as t
from magpie.memes.curation import CurationRules
from magpie.memes.curation import memes as curated
from magpie.memes.describe_queue import PlanRules, enqueue, plan, retries, unexpired
from magpie.memes.describer import Describer
from magpie.memes.descriptions import Known
from magpie.memes.downloads import KIND, SOURCE, Downloads
from magpie.memes.event_files import EVENTS, event_days, read_events
from magpie.memes.health import HealthRules, sweep
from magpie.memes.listing import Places
from magpie.memes.moderation import record_approval_likes, record_duplicate_likes
from magpie.memes.naming import media_item
from magpie.memes.ratings import RatingRules
from magpie.memes.stats import latest, meme_stats, sent_since, source_stats
from magpie.memes.user_stats import SessionRules, user_source_stats, user_stats
from magpie.settings import Settings
from magpie.sources.channel_payloads import read_payload
from magpie.sources.meme_posts import Payload
from magpie.sources.web import Web
from magpie.tables import Partitions, Table

FOR_MEDIANS = ("source_id", "day", "views")


@dataclass(frozen=True)
class Curator:
    """Makes the tables of memes from files, logs and what the lake holds.

    Attributes:
        web: None: nothing is asked over the network.
    """

    settings: Settings
    lake: Lake
    control: Control
    blobs: Blobs
    web: Web | None
    clock: Callable[[], datetime]
    _held: dict[tuple[object, ...], "Statistics"] = field(default_factory=dict, repr=False, compare=False)

    def meme_files(self) -> pl.DataFrame:
        """Look through the folders; what has not changed since the last time is not read again."""
        stored = self.lake.read(t.MEME_FILES).collect()
        return listing.meme_files(Places.of(self.settings), stored, self._read, event_days)

    def meme_sources(self, files: pl.DataFrame) -> pl.DataFrame:
        """Sources as settings, events and fetches have them.

        Args:
            files: `meme_files`.
        """
        listed = channels.Listed.of(self.settings, files)
        events, fetches = logs.SOURCE_EVENTS.read(self.control), logs.FETCHES.read(self.control)
        return channels.meme_sources(listed, events, fetches, self.lake.read(t.MEME_POSTS))

    def meme_posts(self, asked: Partitions) -> pl.DataFrame:
        """The posts of some platforms and days, from all payloads that hold any of them."""
        files, places = self.lake.read(t.MEME_FILES).collect(), Places.of(self.settings)
        made = [
            posts.meme_posts(files, str(platform), days or (), places, self._read)
            for platform, days in sorted(asked.groups.items(), key=str)
        ]
        gone = tombstones.purged(logs.MODERATION.read(self.control))
        return tombstones.blanked_posts(pl.concat([t.MEME_POSTS.empty(), *made]), gone)

    def memes(self, asked: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
        """What of the posts may be memes.

        Args:
            asked: `meme_posts` of these days.
        """
        rules = CurationRules.of(self.settings.memes)
        first = min(days) - timedelta(days=rules.median_days - 1)
        held = self.lake.read(t.MEME_POSTS).filter(pl.col("day").is_between(first, max(days)))
        before = held.select(*FOR_MEDIANS, "post_id")
        # The rows of this very run, which the lake may hold as they were or not at all, and all others from the lake.
        rest = before.collect().join(asked, on=["source_id", "post_id"], how="anti")
        history = pl.concat([asked.select(FOR_MEDIANS), rest.select(FOR_MEDIANS)])
        found = curated(asked, history, self.lake.read(t.MEME_SOURCES).collect(), rules, self.clock())
        return pl.concat([found, tombstones.memes(asked)]).sort(t.MEMES.sort_by)

    def meme_media(self, memes: pl.DataFrame, asked: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
        """The bytes of memes: from archives, from what was downloaded with the posts, or downloaded now.

        Args:
            memes, asked: `memes` and `meme_posts` of the same partitions; stored: `meme_media` of them as it was.
        """
        rules, places = shop.MediaRules.of(self.settings.memes), Places.of(self.settings)
        made = [tombstones.media(memes, stored)]
        for (platform,), rows in memes.partition_by("platform", as_dict=True).items():
            live = platform in self.settings.memes.live and self.web is not None
            items = [media_item(meme_id, 0) for meme_id in rows["meme_id"]]
            downloads = Downloads(self.control, self.blobs, self.web) if self.web else None
            known = Fetches(self.control).of(SOURCE, items, KIND)
            fetch = partial(self._download, downloads) if live and downloads else None
            made.append(
                shop.meme_media(rows, asked, stored, known, places.path, fetch, self.blobs, rules, self.clock())
            )
        return pl.concat(made).sort(t.MEME_MEDIA.sort_by)

    def meme_descriptions(
        self,
        engine: Engine,
        run_id: str | None,
        report: Report,
        memes: pl.DataFrame,
        media: pl.DataFrame,
        stored: pl.DataFrame,
    ) -> tuple[pl.DataFrame, tuple[Summary, ...]]:
        """Describe the memes whose turn it is.

        Args:
            memes, media: rows of the same partitions; stored: `meme_descriptions` of them as it was.
        """
        days = memes["day"].unique().to_list()
        known = Known(
            stored,
            unexpired(self.control, self.clock()),
            self._of_days(t.MEME_STATUS, days),
            self._of_days(t.MEME_DUPLICATES, days),
            retries(self.control),
        )
        reader = local_reader() if self.settings.memes.local_ocr != "off" else None
        describer = Describer(self.settings, engine, self.blobs, reader, run_id, report)
        found, summaries = describer.meme_descriptions(memes, media, known)
        whole = pl.concat([found, tombstones.descriptions(memes)])
        return whole.sort(t.MEME_DESCRIPTIONS.sort_by), summaries

    def described_by_rule(self, engine: Engine) -> bool:
        """Whether no model can be asked to describe memes."""
        return Describer(self.settings, engine, self.blobs, None, None, lambda state: None).by_rule

    def meme_duplicates(self, memes: pl.DataFrame, media: pl.DataFrame, descriptions: pl.DataFrame) -> pl.DataFrame:
        """Hold memes against all earlier ones, of any platform."""
        days = memes["day"].unique().to_list()
        if not days:
            return t.MEME_DUPLICATES.empty()
        history = copies.history(self.lake, memes["platform"].unique().to_list(), days)
        decisions = logs.MODERATION.read(self.control)
        rules = copies.DuplicateRules.of(self.settings.memes)
        return copies.meme_duplicates(memes, media, descriptions, history, decisions, rules)

    def meme_status(
        self, memes: pl.DataFrame, media: pl.DataFrame, descriptions: pl.DataFrame, duplicates: pl.DataFrame
    ) -> pl.DataFrame:
        """Fold everything known of memes into their states; note the likes that approved and repeated uploads earn."""
        decisions, sources = logs.MODERATION.read(self.control), self.lake.read(t.MEME_SOURCES).collect()
        others = self.lake.read(t.MEME_DUPLICATES).select("meme_id", "verdict", "duplicate_of", "published_at")
        held = others.filter(pl.col("verdict") == "duplicate").collect()
        mine = duplicates.select(held.columns)
        known = pl.concat([mine, held.join(mine, on="meme_id", how="anti")])
        found = states.meme_status(memes, media, descriptions, duplicates, decisions, sources, known)
        record_approval_likes(self.control, memes.select("meme_id", "uploader_id").drop_nulls())
        record_duplicate_likes(self.control, found, memes, self.clock())
        return found

    def plan_descriptions(self) -> pl.DataFrame:
        """Say whose turn it is to be described, in the columns of `describe_queue`, and note it."""
        now, stats = self.clock(), latest(t.MEME_STATS, self.lake.read(t.MEME_STATS))
        sent = self.lake.read(t.MEME_REACTIONS).filter((pl.col("kind") == "sent") & (pl.col("status") == "ok"))
        planned = plan(
            memes=self.lake.read(t.MEMES).collect(),
            descriptions=self.lake.read(t.MEME_DESCRIPTIONS).collect(),
            media=self.lake.read(t.MEME_MEDIA).collect(),
            duplicates=self.lake.read(t.MEME_DUPLICATES).collect(),
            status=self.lake.read(t.MEME_STATUS).collect(),
            sends=sent.select("meme_id", "at").collect(),
            likes=stats.select("meme_id", "nlikes").collect(),
            rules=PlanRules.of(self.settings.memes),
            now=now,
        )
        enqueue(self.control, planned)
        return planned

    def later_matches(self, platforms: Collection[str], first: date, last: date) -> list[tuple[str, date]]:
        """Partitions beside these that hold a later meme like one of theirs."""
        whole = (self.lake.read(table) for table in (t.MEMES, t.MEME_MEDIA, t.MEME_DESCRIPTIONS))
        facts = copies.facts_of(*whole).collect()
        mine = pl.col("platform").is_in(list(platforms)) & pl.col("day").is_between(first, last)
        rules = copies.DuplicateRules.of(self.settings.memes)
        found = copies.later_matches(facts.filter(mine), facts, self.lake.read(t.MEME_DUPLICATES).collect(), rules)
        return [(platform, day) for platform, day in found if platform not in platforms or not first <= day <= last]

    def meme_reactions(self, days: Collection[date]) -> pl.DataFrame:
        """The events of some days, from files and from the log."""
        places = Places.of(self.settings)
        files = self.lake.read(t.MEME_FILES).filter((pl.col("format") == "events") & (pl.col("status") == "ok"))
        told = [read_events(places.path(name), name).events for name in files.collect()["source_file"]]
        found = pl.concat([pl.DataFrame(schema=EVENTS), *told])
        known = self.lake.read(t.MEME_STATUS).select("meme_id").collect()
        return reactions.meme_reactions(days, found, logs.EVENTS.read(self.control), known)

    def statistics(self) -> "Statistics":
        """Ratings as of now, over all events in the lake; the tables of one run share one reading of them."""
        now = self.clock()
        key = (base.closing(now.date(), now), *map(self.lake.version, (t.MEME_REACTIONS, t.MEME_STATUS, t.MEMES)))
        if key not in self._held:
            self._held.clear()
            known = base.catalogue(self.lake.read(t.MEME_STATUS), self.lake.read(t.MEMES))
            history = base.History.of(self.lake.read(t.MEME_REACTIONS), known, now)
            self._held[key] = Statistics(self.settings, self.lake, history)
        return self._held[key]

    def sweep(self) -> pl.DataFrame:
        """Snooze the sources that are to rest; return the verdicts."""
        listed = channels.Listed.of(self.settings, self.lake.read(t.MEME_FILES).collect())
        stats, read = self.lake.read(t.SOURCE_STATS).collect(), self.lake.read(t.MEME_POSTS)
        return sweep(self.control, listed, read, stats, HealthRules.of(self.settings), self.clock())

    def _read(self, content: bytes, platform: str, name: str) -> tuple[str, Payload]:
        return read_payload(content, platform, name, vk_text_max=self.settings.memes.vk_text_max)

    def _download(self, downloads: Downloads, meme_id: str, ord: int, url: str) -> Fetch:
        return downloads.fetch(meme_id, ord, url, self.clock())

    def _of_days(self, table: Table, days: Collection[date]) -> pl.DataFrame:
        return self.lake.read(table).filter(pl.col("day").is_in(list(days))).collect()


@dataclass(frozen=True)
class Statistics:
    """The tables of ratings, made of one reading of all events."""

    settings: Settings
    lake: Lake
    history: base.History

    def meme_stats(self, days: Collection[date]) -> pl.DataFrame:
        """Ratings of the memes that these days touched; on the last of them also of those that late events moved."""
        rules, stored = RatingRules.of(self.settings.memes), self._stored(t.MEME_STATS, days)
        made = meme_stats(self.history, days, self._moved(), rules)
        late, last = self._late(made, stored, days), [max(days)]
        # What a late event moved once keeps its row, so that making the day again gives the same rows.
        kept = stored.filter(pl.col("day").is_in(last)).select("meme_id")
        if late.is_empty() and kept.join(made.filter(pl.col("day").is_in(last)), on="meme_id", how="anti").is_empty():
            return made
        changed = pl.concat([self._moved(), sent_since(self.history, late, rules), kept]).unique()
        again = meme_stats(self.history, last, changed, rules)
        return pl.concat([made.filter(~pl.col("day").is_in(last)), again]).sort(t.MEME_STATS.sort_by)

    def source_stats(self, days: Collection[date]) -> pl.DataFrame:
        return source_stats(self.history, days, self._moved())

    def user_stats(self, days: Collection[date]) -> pl.DataFrame:
        return user_stats(self.history, days, self._moved(), SessionRules.of(self.settings.memes))

    def user_source_stats(self, days: Collection[date]) -> pl.DataFrame:
        return user_source_stats(self.history, days, self._moved())

    def _stored(self, table: Table, days: Collection[date]) -> pl.DataFrame:
        return self.lake.read(table).filter(pl.col("day").is_in(list(days))).collect()

    def _moved(self) -> pl.DataFrame:
        """Memes whose canonical meme is another than when they were rated last, and those canonical memes.

        Only a canonical meme is rated: one that has ratings and is a copy now has moved since, and so has one that is
        no copy, was met, and was never rated.
        """
        rated = self.lake.read(t.MEME_STATS).select("meme_id").unique().collect()["meme_id"].implode()
        names = self.history.memes.select("number", canonical_id="meme_id")
        memes = self.history.memes.join(names, left_on="canonical", right_on="number", how="left")
        copy = pl.col("canonical_id") != pl.col("meme_id")
        moved = memes.filter(copy & pl.col("meme_id").is_in(rated))
        return pl.concat([moved.select("meme_id"), moved.select(meme_id="canonical_id")]).unique()

    def _late(self, made: pl.DataFrame, stored: pl.DataFrame, days: Collection[date]) -> pl.DataFrame:
        """Events of days that were rated before, of memes of which now more is known than then."""
        counts = ("meme_id", "day", "nlikes", "ndislikes", "nsent")
        again = made.filter(pl.col("day").is_in(stored["day"].unique().implode()) & (pl.col("day") < max(days)))
        news = again.select(counts).join(stored.select(counts), on=counts, how="anti")
        events = self.lake.read(t.MEME_REACTIONS).filter(
            (pl.col("status") == "ok") & pl.col("day").is_in(news["day"].unique().implode())
        )
        known = self.lake.read(t.MEME_STATUS).select("meme_id", "canonical_id")
        told = events.join(known, on="meme_id").join(
            news.lazy(), left_on=["canonical_id", "day"], right_on=["meme_id", "day"]
        )
        return told.select("user_id", "meme_id", "at").collect()

"""The stages of persona as functions of the lake: what each reads, and the one rule it applies.

Belongs here: joining settings, lake, logs, files and rules for one blog and some days, for the orchestrator and for
tests; what asks models is in `studio.py`. Does not belong here: the rules themselves (their own modules), scheduling,
writing tables.

What runs in a circle is read as of a time: writing knows the moods before it, moods follow from writing; the inbox
knows what was decided. Such reads are no dependencies, so no circle is declared.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.lake import Lake
from magpie.persona import logs
from magpie.persona import outbox as outboxes
from magpie.persona import tables as t
from magpie.persona.admitting import admissions, pace_at, planned_until
from magpie.persona.author import KICK_DAYS
from magpie.persona.inbox import inbox
from magpie.persona.inputs import inputs
from magpie.persona.listing import Places
from magpie.persona.listing import tumblr_files as files_of
from magpie.persona.mood import MoodRules, mood_grid
from magpie.persona.posts import tumblr_posts, tumblr_replies
from magpie.persona.settings import Blog, Words
from magpie.persona.slowdown import Level
from magpie.persona.threads import threads as threads_of
from magpie.settings import Settings
from magpie.sources.web import Web
from magpie.tables import Table

# As scopes of the ledger and shares of quotas name it.
PRODUCT = "persona"
_OWN = ("post_id", "published_at", "parent_post_id", "genesis_id")


@dataclass(frozen=True)
class Reader:
    """What needs no model: pages, posts, threads, the inbox, the mood and the outbox.

    Attributes:
        web: None: nothing is asked over the network.
    """

    settings: Settings
    lake: Lake
    control: Control
    blobs: Blobs
    web: Web | None
    clock: Callable[[], datetime]

    @property
    def places(self) -> Places:
        return places_of(self.settings)

    def words(self, blog: Blog) -> Words:
        """The word lists of all blogs and of this one."""
        return self.settings.persona.words + blog.words

    def tumblr_files(self) -> pl.DataFrame:
        """Look through the folders; what has not changed since the last time is not read again."""
        stored = self.lake.read(t.TUMBLR_FILES).collect()
        return files_of(self.places, stored, [blog.name for blog in self.settings.blogs])

    def tumblr_posts(self, blog: Blog, days: Sequence[date]) -> pl.DataFrame:
        """The posts of a blog on some days, from all pages that may hold any of them."""
        files = self._of_blog(t.TUMBLR_FILES, blog).collect()
        return tumblr_posts(files, blog, days, self.places.content, self.deleted(blog), self.clock())

    def tumblr_replies(self, blog: Blog, days: Sequence[date]) -> pl.DataFrame:
        """The replies below posts of a blog on some days."""
        files = self._of_blog(t.TUMBLR_FILES, blog).collect()
        return tumblr_replies(files, blog, days, self.places.content, self.deleted(blog), self.clock())

    def threads(self, blog: Blog, posts: pl.DataFrame) -> pl.DataFrame:
        """What posts say, with what they answer.

        Args:
            posts: `tumblr_posts` of the blog.
        """
        return threads_of(posts, self._of_blog(t.IMAGE_TEXTS, blog).collect(), blog)

    def persona_inbox(
        self, blog: Blog, days: Sequence[date], posts: pl.DataFrame, replies: pl.DataFrame, threads: pl.DataFrame
    ) -> pl.DataFrame:
        """Say what the bot could react to, admit what is due, and fold how far everything is.

        Admissions are appended to the log and never taken back, so making a day again admits nothing twice.

        Args:
            posts, replies, threads: of the blog and these days.
        """
        now = self.clock()
        first = min(days) - timedelta(days=blog.tuned().max_wait_d)
        posts, replies, threads = (
            self._since(table, blog, first, days, fresh)
            for table, fresh in ((t.TUMBLR_POSTS, posts), (t.TUMBLR_REPLIES, replies), (t.THREADS, threads))
        )
        read = self.of_posts(t.THREADS, blog, replies["post_id"], threads)
        found = inputs(posts, read, replies, self.own_posts(blog, posts), blog)
        decisions = self._of_days(t.DECISIONS, blog, days)
        ticks = logs.TICKS.read(self.control, blog=blog.name)
        reviews = logs.REVIEWS.read(self.control, blog=blog.name)
        admitted = admissions(
            found, ticks, decisions, reviews, days=days, now=now, pace=self.pace(blog, now), blog=blog
        )
        logs.TICKS.append(self.control, (vars(one) for one in admitted))
        ticks = logs.TICKS.read(self.control, blog=blog.name)
        states = inbox(found, ticks, decisions, now=planned_until(days, now, blog), blog=blog)
        return states.filter(pl.col("day").is_in(list(days)))

    def pace(self, blog: Blog, now: datetime) -> Level:
        """How fast the author may go."""
        queued = self._of_blog(t.OUTBOX, blog).filter(pl.col("state").is_in(["queued", "ready"])).collect()
        return pace_at(logs.DELIVERIES.read(self.control, blog=blog.name), queued, now, blog)

    def mood(self, blog: Blog, days: Sequence[date], kicks: pl.DataFrame) -> pl.DataFrame:
        """The mood of some days.

        Args:
            kicks: `mood_inputs` of the blog and these days; those of the days before are read.
        """
        first = min(days) - timedelta(days=KICK_DAYS)
        before = self._of_blog(t.MOOD_INPUTS, blog).filter(
            pl.col("day").is_between(first, max(days)) & ~pl.col("day").is_in(list(days))
        )
        known = pl.concat([before.collect(), kicks]).select("kick_ts", "kick")
        return mood_grid(known, days, MoodRules.of(blog), blog.preset)

    def outbox(self, blog: Blog, days: Sequence[date], decisions: pl.DataFrame, inbox: pl.DataFrame) -> pl.DataFrame:
        """What is to be posted, and how far it is.

        Args:
            decisions, inbox: of the blog and these days.
        """
        return outboxes.outbox(
            decisions,
            inbox,
            self.of_posts(t.TUMBLR_POSTS, blog, inbox["post_id"].drop_nulls()),
            logs.REVIEWS.read(self.control, blog=blog.name),
            logs.DELIVERIES.read(self.control, blog=blog.name),
            self._of_days(t.OUTBOX, blog, days),
            blog,
            self.words(blog),
        )

    def deleted(self, blog: Blog) -> frozenset[str]:
        """Ids of posts and replies that are gone at the source, as whoever was told of it recorded them."""
        return frozenset(logs.DELETIONS.read(self.control, blog=blog.name)["item"])

    def own_posts(self, blog: Blog, posts: pl.DataFrame | None = None) -> pl.DataFrame:
        """Ids and times of everything the blog has posted, as far as known; `posts` are the newest word on theirs."""
        own = (pl.col("role") == "own") & (pl.col("status") == "ok")
        stored = self._of_blog(t.TUMBLR_POSTS, blog).filter(own).select(_OWN).collect()
        if posts is None:
            return stored
        fresh = posts.filter(own).select(_OWN)
        return pl.concat([fresh, stored.join(fresh, on="post_id", how="anti")])

    def of_posts(self, table: Table, blog: Blog, ids: pl.Series, fresh: pl.DataFrame | None = None) -> pl.DataFrame:
        """Rows about some posts of any day; those of `fresh` come first, and all of them."""
        wanted = pl.col("post_id").is_in(ids.unique().implode())
        stored = self._of_blog(table, blog).filter(wanted).collect().unique("post_id", keep="last")
        return stored if fresh is None else pl.concat([fresh, stored.join(fresh, on="post_id", how="anti")])

    def _since(
        self, table: Table, blog: Blog, first: date, days: Collection[date], fresh: pl.DataFrame
    ) -> pl.DataFrame:
        """Rows of these days as they are handed over, and those of the days before them."""
        before = pl.col("day").is_between(first, max(days)) & ~pl.col("day").is_in(list(days))
        return pl.concat([self._of_blog(table, blog).filter(before).collect(), fresh])

    def _of_blog(self, table: Table, blog: Blog) -> pl.LazyFrame:
        return self.lake.read(table).filter(pl.col("blog") == blog.name)

    def _of_days(self, table: Table, blog: Blog, days: Collection[date]) -> pl.DataFrame:
        return self._of_blog(table, blog).filter(pl.col("day").is_in(list(days))).collect()


def places_of(settings: Settings) -> Places:
    """Where pages lie under these settings."""
    return Places.of(settings.root, settings.home, settings.persona.archives, settings.live_blogs)

"""What leads asks of live Reddit: searches for every active campaign, and which matched posts are gone.

Belongs here: from campaigns to queries, from stored posts to a sweep. Does not belong here: the client
(`magpie/sources/reddit_live.py`).
"""

from collections.abc import Callable
from datetime import datetime

import polars as pl

from magpie.control import Control
from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.settings import Settings
from magpie.sources.reddit_api import RedditCredentials, RedditFactory, connect
from magpie.sources.reddit_live import (
    CrawlLimits,
    CrawlQuery,
    CrawlResult,
    SweepStopped,
    check_deleted,
    crawl,
    search_text,
)

Clock = Callable[[], datetime]


def queries(settings: Settings) -> list[CrawlQuery]:
    """Return one search per active include keyword of every active campaign."""
    return [
        CrawlQuery(campaign.id, word.keyword, search_text(word.keyword), campaign.subreddits_allow)
        for campaign in settings.active_campaigns()
        for word in campaign.keywords
        if word.kind == "include" and word.active
    ]


async def crawl_campaigns(
    settings: Settings, credentials: RedditCredentials, *, clock: Clock, reddit_factory: RedditFactory = connect
) -> CrawlResult:
    """Crawl for every active campaign into the live archive."""
    limits = CrawlLimits(
        search_limit=settings.reddit.search_limit,
        max_comments_per_submission=settings.reddit.max_comments_per_submission,
        hot_posts=settings.reddit.count_hot_posts,
    )
    return await crawl(
        queries(settings),
        credentials=credentials,
        landing_dir=settings.live_archive,
        clock=clock,
        limits=limits,
        reddit_factory=reddit_factory,
    )


async def sweep(
    lake: Lake,
    control: Control,
    credentials: RedditCredentials,
    *,
    clock: Clock,
    reddit_factory: RedditFactory = connect,
) -> int:
    """Record which of the posts that any campaign keeps are gone; return how many were not known yet.

    Raises:
        SweepStopped: Reddit stopped answering; what it had said until then is recorded.
        UserError: Reddit refuses the credentials.
    """
    kept = lake.read(t.CAMPAIGN_POSTS).filter(pl.col("reason").is_null() | (pl.col("reason") != "deleted"))
    names = kept.select(pl.col("fullname").unique().sort()).collect()["fullname"].to_list()
    try:
        found = await check_deleted(names, credentials=credentials, clock=clock, reddit_factory=reddit_factory)
    except SweepStopped as stopped:
        control.record_deletions([(gone.fullname, gone.kind) for gone in stopped.found], clock())
        raise
    return control.record_deletions([(gone.fullname, gone.kind) for gone in found], clock())

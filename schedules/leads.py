"""Jobs and schedules of leads.

Belongs here: which assets run together, when the crawl and the deletion sweep run. Does not belong here:
what they do (`magpie/`). All schedules are off until switched on in the UI: crawling needs keys.
"""

import asyncio
from typing import Any

import dagster as dg

from assets.failures import user_errors
from magpie.control import Control
from magpie.environment import Environment
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.utc import utc_now

REDDIT_LANDING = ("reddit_archives", "bad_lines")
REDDIT_DAYS = ("reddit_posts", "corpus_terms", "corpus_stats", "subreddit_stats")
CAMPAIGN_WORDS = ("campaign_keywords",)
CAMPAIGN_DAYS = ("campaign_posts", "post_embeddings", "ranked_posts")
CAMPAIGN_ANSWERS = ("lead_extractions", "leads", "rejections")


def build_jobs() -> dict[str, Any]:
    """Return the asset jobs by name; each holds the assets of one partitioning, in dependency order."""
    layers = {
        "reddit_landing": REDDIT_LANDING,
        "reddit_days": REDDIT_DAYS,
        "campaign_words": CAMPAIGN_WORDS,
        "campaign_days": CAMPAIGN_DAYS,
        "campaign_answers": CAMPAIGN_ANSWERS,
    }
    return {name: dg.define_asset_job(name, selection=list(assets)) for name, assets in layers.items()}


@dg.op
def crawl_reddit(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Search Reddit for every active campaign's keywords into a new file of the live archive."""
    # The client takes a tenth of the code location's load time, and most processes never crawl.
    from magpie.leads import live
    from magpie.sources.reddit_api import RedditCredentials

    with user_errors():
        credentials = RedditCredentials.from_environment(Environment())
        found = asyncio.run(live.crawl_campaigns(settings, credentials, clock=utc_now))
    for problem in found.problems:
        context.log.warning(problem)
    context.log.info(
        f"{found.submissions} submissions, {found.comments} comments, {found.calls} calls"
        + (f", stopped early: {found.stopped_reason}" if found.stopped_reason else "")
    )


@dg.op
def sweep_deletions(
    context: dg.OpExecutionContext,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
    control: dg.ResourceParam[Control],
) -> None:
    """Ask Reddit which matched posts are gone, and record them; the sensor re-requests their days."""
    from magpie.leads import live
    from magpie.sources.reddit_api import RedditCredentials

    with user_errors():
        credentials = RedditCredentials.from_environment(Environment())
        fresh = asyncio.run(live.sweep(lake, control, credentials, clock=utc_now))
    context.log.info(f"{fresh} newly deleted")


@dg.job(description="Search Reddit for the keywords of every active campaign; needs REDDIT_* keys.")
def reddit_crawl() -> None:
    crawl_reddit()


@dg.job(description="Ask Reddit which matched posts are gone; needs REDDIT_* keys.")
def deletion_sweep() -> None:
    sweep_deletions()


OP_JOBS = (reddit_crawl, deletion_sweep)


def build_schedules(_settings: Settings, _jobs: dict[str, Any]) -> list[dg.ScheduleDefinition]:
    """Return the schedules; times are UTC."""
    return [
        dg.ScheduleDefinition(name="reddit_crawl_daily", job=reddit_crawl, cron_schedule="0 3 * * *"),
        dg.ScheduleDefinition(name="deletion_sweep_daily", job=deletion_sweep, cron_schedule="30 5 * * *"),
    ]

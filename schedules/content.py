"""Jobs and schedules of content.

Belongs here: which assets run together, and when sites are written for by themselves. Does not belong here: what they
do (`magpie/`). All schedules are off until switched on in the UI.
"""

from datetime import UTC
from typing import Any

import dagster as dg

from assets.partitions import site_range
from magpie.content.changes import site_spans
from magpie.lake import Lake
from magpie.settings import Settings

CONTENT_LANDING = ("keyword_files", "content_reviews")
SITE_DAYS = ("keywords", "keyword_clusters", "content_ideas", "articles", "image_prompts", "article_images")
# At night in Europe and America alike, by how often a site is written for.
CRONS = {"daily": "0 3 * * *", "weekly": "0 3 * * 1", "monthly": "0 3 1 * *"}


def build_jobs() -> dict[str, Any]:
    """Return the asset jobs by name; each holds the assets of one partitioning, in dependency order."""
    layers = {"content_landing": CONTENT_LANDING, "site_days": SITE_DAYS}
    return {name: dg.define_asset_job(name, selection=list(assets)) for name, assets in layers.items()}


OP_JOBS = ()


def build_schedules(settings: Settings, jobs: dict[str, Any]) -> list[dg.ScheduleDefinition]:
    """Return one schedule for each rhythm that a site has; times are UTC."""
    rhythms = {site.schedule for site in settings.sites} & CRONS.keys()
    return [_schedule(settings, jobs, rhythm) for rhythm in sorted(rhythms)]


def _schedule(settings: Settings, jobs: dict[str, Any], rhythm: str) -> dg.ScheduleDefinition:
    @dg.schedule(name=f"content_{rhythm}", job=jobs["site_days"], cron_schedule=CRONS[rhythm], execution_timezone="UTC")
    def content(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        """Make the batches of active sites of this rhythm again: what waited is finished, the rest costs nothing."""
        at = context.scheduled_execution_time.astimezone(UTC)
        sites = [site.id for site in settings.sites if site.active and site.schedule == rhythm]
        requests = [
            dg.RunRequest(run_key=f"{site}|{first}|{at:%Y-%m-%d}", tags=site_range(site, first, last))
            for site in sites
            for first, last in site_spans(settings, lake, site, at.date())
        ]
        return requests or dg.SkipReason(f"no {rhythm} site has a batch of keywords yet")

    return content

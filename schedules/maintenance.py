"""Keeping the lake and Dagster's own storage small, and deletions final, for all products.

Belongs here: the jobs and when they run. Does not belong here: what is due (`magpie/maintenance.py`,
`run_retention.py`).
"""

from datetime import UTC, datetime
from functools import partial

import dagster as dg

from magpie import maintenance
from magpie.catalog import TABLES
from magpie.control import Control
from magpie.lake import Lake
from magpie.memes.forgetting import forget
from magpie.persona.forgetting import forget as forget_posts
from magpie.settings import Settings
from magpie.sources.reddit_landing import Landing
from schedules.run_retention import retain


@dg.op
def vacuum_lake(
    context: dg.OpExecutionContext,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
    control: dg.ResourceParam[Control],
    landing: dg.ResourceParam[Landing],
) -> None:
    """Drop old table versions weekly, daily while deletions wait; remove what is deleted outside of tables."""
    done = maintenance.run(
        lake,
        control,
        landing,
        settings.live_videos,
        TABLES.values(),
        now=datetime.now(UTC),
        forget_memes=partial(forget, settings, lake, control),
        forget_posts=partial(forget_posts, settings, lake, control),
    )
    context.log.info(done.summary)


@dg.job(description="Remove table versions older than seven days.")
def lake_maintenance() -> None:
    vacuum_lake()


@dg.op
def remove_old_runs(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Remove runs older than `maintenance.keep_runs_days`; the latest materialisation of every partition stays."""
    done = retain(context.instance, settings.maintenance.keep_runs_days, datetime.now(UTC))
    context.log.info(done.summary)


@dg.job(description="Remove old runs and their logs, but never what was last made of a partition.")
def runs_retention() -> None:
    remove_old_runs()


RUNS_DAILY = dg.ScheduleDefinition(name="runs_retention_daily", job=runs_retention, cron_schedule="20 6 * * *")
DAILY = dg.ScheduleDefinition(name="lake_maintenance_daily", job=lake_maintenance, cron_schedule="0 6 * * *")

"""Keeping the lake small and deletions final, for all products.

Belongs here: the job and when it runs. Does not belong here: what is due (`magpie/maintenance.py`).
"""

from datetime import UTC, datetime
from functools import partial

import dagster as dg

from magpie import maintenance
from magpie.catalog import TABLES
from magpie.control import Control
from magpie.lake import Lake
from magpie.memes.forgetting import forget
from magpie.settings import Settings
from magpie.sources.reddit_landing import Landing


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
    )
    context.log.info(done.summary)


@dg.job(description="Remove table versions older than seven days.")
def lake_maintenance() -> None:
    vacuum_lake()


DAILY = dg.ScheduleDefinition(name="lake_maintenance_daily", job=lake_maintenance, cron_schedule="0 6 * * *")

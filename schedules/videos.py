"""Jobs and schedules of videos.

Belongs here: which assets run together, when channels are polled and days summed up. Does not belong here: what they
do (`magpie/`). All schedules are off until switched on in the UI; the poll asks YouTube only where
`videos.live` is on.
"""

from datetime import UTC, timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets.failures import user_errors
from assets.partitions import day_range, lead_range
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.videos import tables as t
from magpie.videos.settings import HOURS_PER_DAY, SECONDS_PER_HOUR
from magpie.videos.stages import Source

VIDEO_LANDING = ("video_files", "symbols")
CHANNEL_DAYS = (
    *("videos", "transcripts", "transcript_passages", "video_segments"),
    *("video_analyses", "stock_mentions", "pick_outcomes"),
)
PRICE_DAYS = ("daily_prices",)
VIDEO_DAYS = ("ticker_consensus", "daily_digest")
# After the close in New York, in summer and winter alike, and before the day is over in UTC.
EVENING = "30 22 * * *"
# Captions that are still missing after two months will not come.
RECHECK_DAYS = 60


def build_jobs() -> dict[str, Any]:
    """Return the asset jobs by name; each holds the assets of one partitioning, in dependency order."""
    layers = {
        "video_landing": VIDEO_LANDING,
        "channel_days": CHANNEL_DAYS,
        "price_days": PRICE_DAYS,
        "video_days": VIDEO_DAYS,
    }
    return {name: dg.define_asset_job(name, selection=list(assets)) for name, assets in layers.items()}


@dg.op(pool="youtube")
def poll_channels(context: dg.OpExecutionContext, video_source: dg.ResourceParam[Source]) -> None:
    """Read the feeds of the active channels, keep what is new, and fetch captions of new videos."""
    with user_errors():
        found = video_source.poll()
    for problem in found.problems:
        context.log.warning(problem)
    stopped = f", stopped early: {found.stopped}" if found.stopped else ""
    context.log.info(
        f"{len(found.entries)} new videos, {len(found.visits)} visited, {len(found.left)} left for later{stopped}"
    )


@dg.job(description="Read the feeds of all active channels and fetch new captions; needs videos.live.")
def youtube_poll() -> None:
    poll_channels()


OP_JOBS = (youtube_poll,)


def build_schedules(settings: Settings, jobs: dict[str, Any]) -> list[dg.ScheduleDefinition]:
    """Return the schedules; times are UTC."""
    hours = settings.videos.poll_seconds // SECONDS_PER_HOUR
    every = f"0 {','.join(map(str, range(0, HOURS_PER_DAY, hours)))} * * *"

    @dg.schedule(name="consensus_daily", job=jobs["video_days"], cron_schedule=EVENING, execution_timezone="UTC")
    def consensus_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Sum up yesterday, which is over, and today so far."""
        today = context.scheduled_execution_time.astimezone(UTC).date()
        first = max(today - timedelta(days=1), settings.videos_start_day)
        if today < first:
            return dg.SkipReason(f"videos begin on {settings.videos_start_day}; there is no day to sum up yet")
        return dg.RunRequest(run_key=str(today), tags=day_range(first, today))

    @dg.schedule(
        name="no_captions_weekly", job=jobs["channel_days"], cron_schedule="0 5 * * 0", execution_timezone="UTC"
    )
    def no_captions_weekly(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        """Look again at videos of the last two months that had no captions when they were given up."""
        if not settings.videos.live:
            return dg.SkipReason("videos.live is off; a new caption file is noticed by the sensor new_videos")
        today = context.scheduled_execution_time.astimezone(UTC).date()
        active = [channel.channel_id for channel in settings.channels if channel.active]
        given_up = lake.read(t.TRANSCRIPTS).filter(
            (pl.col("reason") == "no_captions")
            & (pl.col("day") >= today - timedelta(days=RECHECK_DAYS))
            & pl.col("channel_id").is_in(active)
        )
        found = given_up.select("channel_id", "day").unique().sort("channel_id", "day").collect()
        if found.is_empty():
            return dg.SkipReason("no video of the last two months lacks captions")
        return [
            dg.RunRequest(run_key=f"{channel}|{day}|{today}", tags=lead_range(channel, day, day))
            for channel, day in found.iter_rows()
        ]

    return [
        dg.ScheduleDefinition(name="youtube_poll", job=youtube_poll, cron_schedule=every),
        consensus_daily,
        no_captions_weekly,
    ]

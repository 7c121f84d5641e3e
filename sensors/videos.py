"""Sensors of videos: new files, new channels, new prices, and what follows from a finished run.

Belongs here: from what changed to run requests. Does not belong here: what has changed (`magpie/videos/changes.py`).
They read the settings, the disk, the lake and the control database, never the network: looking for new videos outside
is the scheduled poll, whose files these find.
"""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import dagster as dg

from assets.partitions import CHANNELS, day_range, lead_range, range_of, sync
from magpie.control import Control
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.videos import changes
from magpie.videos import tables as t
from magpie.videos.stages import Source
from schedules.videos import CHANNEL_DAYS
from sensors.run_keys import digest

# A tick stays short and the queue fair: what is left waits for the next one.
RUNS_PER_TICK = 10


def build_sensors(settings: Settings, jobs: dict[str, Any]) -> list[dg.SensorDefinition]:
    """Return the sensors of videos."""
    return [
        _new_videos(settings, jobs),
        _versions_changed(settings, jobs),
        _new_prices(settings, jobs),
        _days_after_channels(settings, jobs),
        _outcomes_after_prices(settings, jobs),
    ]


def sync_channels(instance: dg.DagsterInstance, settings: Settings) -> tuple[list[str], list[str]]:
    """Make the dynamic partitions equal to the channels in the settings; return those added and removed."""
    return sync(instance, CHANNELS, (channel.channel_id for channel in settings.channels))


def _new_videos(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    @dg.sensor(name="new_videos", jobs=[jobs["video_landing"], jobs["channel_days"]], minimum_interval_seconds=60)
    def new_videos(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        video_source: dg.ResourceParam[Source],
    ) -> dg.SensorResult | dg.SkipReason:
        """List new and changed files, then make the days of the channels anew that they belong to."""
        sync_channels(context.instance, settings)
        stale = changes.stale_files(settings, lake)
        if stale:
            prints = changes.fingerprints(settings)
            key = digest([[(name, prints.get(name)) for name in stale], lake.version(t.VIDEO_FILES)])
            return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, job_name="video_landing")])
        today = video_source.clock().date()
        seen = changes.after(changes.Seen.read(context.cursor), lake, control.deleted(), settings, today)
        asked, left = seen.waiting[:RUNS_PER_TICK], seen.waiting[RUNS_PER_TICK:]
        if not asked:
            context.update_cursor(seen.left_with(left).dump())
            return dg.SkipReason("files of videos are as before; looking again in a minute")
        state = f"{seen.state}|{lake.version(t.VIDEO_FILES)}"
        requests = [
            dg.RunRequest(
                run_key=f"{channel}|{first}|{last}|{state}",
                job_name="channel_days",
                tags=lead_range(channel, first, last),
            )
            for channel, first, last in asked
        ]
        return dg.SensorResult(run_requests=requests, cursor=seen.left_with(left).dump())

    return new_videos


def _versions_changed(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    watched = {channel.channel_id for channel in settings.channels}
    reading = [dg.AssetKey(name) for name in CHANNEL_DAYS[CHANNEL_DAYS.index("video_analyses") :]]

    @dg.sensor(name="prompt_version_added", job=jobs["channel_days"], minimum_interval_seconds=60)
    def prompt_version_added(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult | dg.SkipReason:
        """When versions of prompt or model change, read the videos there are in them too."""
        now = changes.versions_hash(settings)
        seen = json.loads(context.cursor or json.dumps({"versions": now, "changes": 0}))
        if seen["versions"] == now:
            context.update_cursor(json.dumps(seen))
            return dg.SkipReason("the versions are as before; a change in magpie.yaml is seen on reload")
        # The count is in the key: versions changed back to what they were have to be read again.
        state = f"{now[:16]}|{seen['changes'] + 1}"
        spans = [span for span in changes.read_spans(lake) if span[0] in watched]
        requests = [
            dg.RunRequest(
                run_key=f"{channel}|{first}|{last}|{state}",
                tags=lead_range(channel, first, last),
                asset_selection=reading,
            )
            for channel, first, last in spans
        ]
        skip = None if requests else "no video has been read yet; the versions hold from the first one on"
        cursor = json.dumps({"versions": now, "changes": seen["changes"] + 1})
        return dg.SensorResult(run_requests=requests, cursor=cursor, skip_reason=skip)

    return prompt_version_added


def _new_prices(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    @dg.sensor(name="new_prices", job=jobs["price_days"], minimum_interval_seconds=300)
    def new_prices(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult | dg.SkipReason:
        """When price files change, read them anew from the first day of videos on."""
        now = digest(changes.price_files(settings))
        if context.cursor == now or not settings.videos.prices:
            return dg.SkipReason("price files are as before; looking again in five minutes")
        span = changes.price_span(settings)
        if span is None:
            context.update_cursor(now)
            return dg.SkipReason(f"no price is of {settings.videos_start_day} or later; looking again when they change")
        key = f"{now}|{lake.version(t.DAILY_PRICES)}"
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, tags=day_range(*span))], cursor=now)

    return new_prices


def _days_after_channels(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    window = settings.videos.consensus_days

    @dg.run_status_sensor(
        name="days_after_channels",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[jobs["channel_days"]],
        request_job=jobs["video_days"],
    )
    def days_after_channels(
        context: dg.RunStatusSensorContext, video_source: dg.ResourceParam[Source]
    ) -> dg.RunRequest | dg.SkipReason:
        """When mentions are new, sum up their days anew, and those whose window holds them."""
        span = range_of(context.dagster_run.tags)
        if span is None:
            return dg.SkipReason("the run names no channel and day; looking again after the next one")
        begin, end = _day_of(span[0]), _day_of(span[1]) + timedelta(days=window - 1)
        today = video_source.clock().date()
        return dg.RunRequest(run_key=context.dagster_run.run_id, tags=day_range(begin, min(end, today)))

    return days_after_channels


def _outcomes_after_prices(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    watched = {channel.channel_id for channel in settings.channels}

    @dg.run_status_sensor(
        name="outcomes_after_prices",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[jobs["price_days"]],
        request_job=jobs["channel_days"],
    )
    def outcomes_after_prices(
        context: dg.RunStatusSensorContext, control: dg.ResourceParam[Control]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """When prices are new, measure the picks that wait for them."""
        waiting = [item for item in control.pending() if item.table == "pick_outcomes" and item.reason == "no_price"]
        days = (tuple(item.partition.split("|")) for item in waiting)
        spans = changes.spans(pair for pair in days if pair[0] in watched)  # type: ignore[misc]
        if not spans:
            yield dg.SkipReason("no pick waits for prices")
        for channel, first, last in spans:
            key = f"{context.dagster_run.run_id}|{channel}|{first}"
            yield dg.RunRequest(
                run_key=key,
                tags=lead_range(channel, first, last),
                asset_selection=[dg.AssetKey("pick_outcomes")],
            )

    return outcomes_after_prices


def _day_of(key: str) -> date:
    return date.fromisoformat(key.rpartition("|")[2])

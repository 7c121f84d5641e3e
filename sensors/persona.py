"""Sensors of persona: new pages, new blogs, what people decided, and a new day to write for.

Belongs here: from what changed to run requests. Does not belong here: what has changed (`magpie/persona/changes.py`).
They read the settings, the disk, the lake and the control database, never the network.
"""

from typing import Any

import dagster as dg

from assets.partitions import BLOGS, RANGE_END, RANGE_START, lead_range, range_of, sync
from magpie.lake import Lake
from magpie.persona import changes
from magpie.persona import tables as t
from magpie.persona.stages import Reader
from magpie.settings import Settings
from sensors.run_keys import digest

# A tick stays short and the queue fair: what is left waits for the next one.
RUNS_PER_TICK = 10


def build_sensors(settings: Settings, jobs: dict[str, Any]) -> list[dg.SensorDefinition]:
    """Return the sensors of persona."""
    return [_new_inputs(settings, jobs), _inputs_after_posts(jobs)]


def sync_blogs(instance: dg.DagsterInstance, settings: Settings) -> tuple[list[str], list[str]]:
    """Make the dynamic partitions equal to the blogs in the settings; return those added and removed."""
    return sync(instance, BLOGS, (blog.name for blog in settings.blogs))


def _new_inputs(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    asked_jobs = [jobs["persona_landing"], jobs["blog_posts"], jobs["blog_days"]]
    job_of = {changes.POSTS: "blog_posts", changes.INPUTS: "blog_days"}

    @dg.sensor(name="new_inputs", jobs=asked_jobs, minimum_interval_seconds=60)
    def new_inputs(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        reader: dg.ResourceParam[Reader],
    ) -> dg.SensorResult | dg.SkipReason:
        """List new pages, then make the days anew that they, people or the clock bear on."""
        sync_blogs(context.instance, settings)
        stale = changes.stale_files(settings, lake)
        if stale:
            key = digest([stale, lake.version(t.TUMBLR_FILES)])
            return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, job_name="persona_landing")])
        seen = changes.after(changes.Seen.read(context.cursor), reader)
        asked, left = seen.waiting[:RUNS_PER_TICK], seen.waiting[RUNS_PER_TICK:]
        cursor = seen.left_with(left).dump()
        if not asked:
            context.update_cursor(cursor)
            return dg.SkipReason("pages, decisions and the day are as before; looking again in a minute")
        version = lake.version(t.TUMBLR_FILES)
        requests = [
            dg.RunRequest(
                run_key=f"{what}|{blog}|{first}|{last}|{seen.state_of(what)}|{version}",
                job_name=job_of[what],
                tags=lead_range(blog, first, last),
            )
            for what, blog, first, last in asked
        ]
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return new_inputs


def _inputs_after_posts(jobs: dict[str, Any]) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name="inputs_after_posts",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[jobs["blog_posts"]],
        request_job=jobs["blog_days"],
    )
    def inputs_after_posts(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        """When posts are read anew, react to them: the same blog and days."""
        span = range_of(context.dagster_run.tags)
        if span is None:
            return dg.SkipReason("the run names no blog and day; looking again after the next one")
        return dg.RunRequest(run_key=context.dagster_run.run_id, tags={RANGE_START: span[0], RANGE_END: span[1]})

    return inputs_after_posts

"""Sensors of memes: new files and decisions, whose turn it is to be described, older copies that came late, queues.

Belongs here: from what changed to run requests. Does not belong here: what has changed (`magpie/memes/changes.py`).
They read the settings, the disk, the lake and the control database, never the network: fetching channels is a
schedule, whose files these find.
"""

from datetime import date
from typing import Any

import dagster as dg

from assets.partitions import day_range, platforms_range, range_of
from magpie.control import Control
from magpie.days import ranges
from magpie.lake import Lake
from magpie.memes import changes
from magpie.memes import tables as t
from magpie.memes.serving import Recommender
from magpie.memes.stages import Curator
from magpie.settings import Settings
from resources.llm import Llm
from schedules.memes import MEME_DAYS
from sensors.run_keys import digest
from sensors.targets import busy, made_again

# A tick stays short and the queue fair: what is left waits for the next one.
RUNS_PER_TICK = 10
JOBS = {changes.POSTS: "meme_days", changes.FATES: "meme_days", changes.RATINGS: "reaction_days"}
# What follows from sources and decisions; posts do not.
FATES = [dg.AssetKey(name) for name in MEME_DAYS[MEME_DAYS.index("memes") :]]
DESCRIBING = [dg.AssetKey(name) for name in MEME_DAYS[MEME_DAYS.index("meme_descriptions") :]]
COMPARING = [dg.AssetKey(name) for name in MEME_DAYS[MEME_DAYS.index("meme_duplicates") :]]
SECONDS_PER_MINUTE = 60


def build_sensors(settings: Settings, jobs: dict[str, Any]) -> list[dg.SensorDefinition]:
    """Return the sensors of memes."""
    return [
        _new_memes(settings, jobs),
        _describe_planner(settings, jobs),
        _later_copies(settings, jobs),
        _queue_refill(),
    ]


def _new_memes(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    asked_jobs = [jobs[name] for name in ("meme_landing", "meme_days", "reaction_days")]

    @dg.sensor(name="new_memes", jobs=asked_jobs, minimum_interval_seconds=60)
    def new_memes(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        curator: dg.ResourceParam[Curator],
    ) -> dg.SensorResult | dg.SkipReason:
        """List new files and copy what was decided, then make the days anew that they belong to."""
        stale, unheard = changes.stale_files(settings, lake), changes.unheard(lake, control)
        if stale or unheard:
            key = digest([stale, unheard, lake.version(t.MEME_FILES), lake.version(t.MEME_SOURCES)])
            return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, job_name="meme_landing")])
        seen = changes.after(changes.Seen.read(context.cursor), settings, lake, control, curator.clock().date())
        asked, left = seen.waiting[:RUNS_PER_TICK], seen.waiting[RUNS_PER_TICK:]
        cursor = seen.left_with(left).dump()
        if not asked:
            context.update_cursor(cursor)
            return dg.SkipReason("files and decisions of memes are as before; looking again in a minute")
        state = f"{seen.state}|{lake.version(t.MEME_FILES)}"
        requests = [
            dg.RunRequest(
                run_key=f"{what}|{first}|{last}|{state}",
                job_name=JOBS[what],
                tags=day_range(first, last) if what == changes.RATINGS else platforms_range(first, last),
                asset_selection=FATES if what == changes.FATES else None,
            )
            for what, first, last in asked
        ]
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return new_memes


def _describe_planner(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    seconds = settings.memes.describe_every_min * SECONDS_PER_MINUTE

    @dg.sensor(name="describe_planner", job=jobs["meme_days"], minimum_interval_seconds=seconds)
    def describe_planner(
        context: dg.SensorEvaluationContext,
        curator: dg.ResourceParam[Curator],
        llm: dg.ResourceParam[Llm],
    ) -> dg.SensorResult | dg.SkipReason:
        """Say whose turn it is to be described, and make their partitions again."""
        if curator.described_by_rule(llm.engine):
            return dg.SkipReason("no key of OpenRouter is set, so every meme is described by rule when it is made")
        planned = curator.plan_descriptions()
        if planned.is_empty():
            return dg.SkipReason("no meme waits for a description")
        free = sorted({*planned["partition"]} - busy(context.instance))
        if not free:
            return dg.SkipReason(f"runs of all {planned['partition'].n_unique()} partitions wait or are under way")
        moment = planned["planned_at"][0]
        requests = [
            dg.RunRequest(
                run_key=f"{partition}|{moment}",
                partition_key=dg.MultiPartitionKey(dict(zip(("platform", "day"), partition.split("|"), strict=True))),
                asset_selection=DESCRIBING,
                tags=made_again("meme_descriptions", partition),
            )
            for partition in free
        ]
        return dg.SensorResult(run_requests=requests)

    return describe_planner


def _later_copies(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name="later_copies",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[jobs["meme_days"]],
        request_job=jobs["meme_days"],
    )
    def later_copies(
        context: dg.RunStatusSensorContext, curator: dg.ResourceParam[Curator]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        """When memes are new, compare those again that came later and look like them."""
        span = range_of(context.dagster_run.tags)
        if span is None:
            return dg.SkipReason("the run names no platform and day; looking again after the next one")
        begin, end = (key.split("|") for key in span)
        platforms = begin[1:] if begin[1:] == end[1:] else t.PLATFORMS
        later = curator.later_matches(platforms, date.fromisoformat(begin[0]), date.fromisoformat(end[0]))
        if not later:
            return dg.SkipReason("no later meme looks like one of this run")
        return [
            dg.RunRequest(
                run_key=f"{context.dagster_run.run_id}|{some[0]}",
                tags=platforms_range(*some),
                asset_selection=COMPARING,
            )
            for some in ranges({day for _, day in later}, changes.QUIET_DAYS)
        ]

    return later_copies


def _queue_refill() -> dg.SensorDefinition:
    @dg.sensor(name="queue_refill", minimum_interval_seconds=60)
    def queue_refill(context: dg.SensorEvaluationContext, recommender: dg.ResourceParam[Recommender]) -> dg.SkipReason:
        """Fill the queues that run low of people who were there lately."""
        filled, failed = recommender.refill_due()
        for user, problem in failed.items():
            context.log.warning(f"the queue of {user} was not filled: {problem}")
        return dg.SkipReason(f"{len(filled)} queues were filled; a queue needs no run")

    return queue_refill

"""Sensors of content: new keywords, new sites, and what people decided.

Belongs here: from what changed to run requests. Does not belong here: what has changed (`magpie/content/changes.py`).
They read the settings, the disk, the lake and the control database, never the network.
"""

from typing import Any

import dagster as dg

from assets.partitions import SITES, site_range, sync
from magpie.content import changes
from magpie.content import tables as t
from magpie.content.stages import Desk
from magpie.control import Control
from magpie.lake import Lake
from magpie.settings import Settings
from schedules.content import SITE_DAYS
from sensors.run_keys import digest

# A tick stays short and the queue fair: what is left waits for the next one.
RUNS_PER_TICK = 10
# What follows from decisions: the keywords themselves and their topics do not.
DECIDED = [dg.AssetKey(name) for name in SITE_DAYS[SITE_DAYS.index("content_ideas") :]]


def build_sensors(settings: Settings, jobs: dict[str, Any]) -> list[dg.SensorDefinition]:
    """Return the sensors of content."""
    return [_new_keywords(settings, jobs)]


def sync_sites(instance: dg.DagsterInstance, settings: Settings) -> tuple[list[str], list[str]]:
    """Make the dynamic partitions equal to the sites in the settings; return those added and removed."""
    return sync(instance, SITES, (site.id for site in settings.sites))


def _new_keywords(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    asked_jobs = [jobs["content_landing"], jobs["site_days"]]

    @dg.sensor(name="new_keywords", jobs=asked_jobs, minimum_interval_seconds=60)
    def new_keywords(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        desk: dg.ResourceParam[Desk],
    ) -> dg.SensorResult | dg.SkipReason:
        """List new keywords and copy what was decided, then make the batches anew that they bear on."""
        sync_sites(context.instance, settings)
        stale = changes.stale_files(settings, lake)
        if stale or changes.unheard(lake, control):
            key = digest([stale, lake.version(t.KEYWORD_FILES), lake.version(t.CONTENT_REVIEWS)])
            return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, job_name="content_landing")])
        today = desk.clock().date()
        seen = changes.after(changes.Seen.read(context.cursor), settings, lake, control, today)
        asked, left = seen.waiting[:RUNS_PER_TICK], seen.waiting[RUNS_PER_TICK:]
        cursor = seen.left_with(left).dump()
        if not asked:
            context.update_cursor(cursor)
            return dg.SkipReason("keywords and decisions are as before; looking again in a minute")
        state = f"{seen.state}|{lake.version(t.KEYWORD_FILES)}"
        requests = [
            dg.RunRequest(
                run_key=f"{what}|{site}|{first}|{last}|{state}",
                job_name="site_days",
                tags=site_range(site, first, last),
                asset_selection=DECIDED if what == changes.DECISIONS else None,
            )
            for what, site, first, last in asked
        ]
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return new_keywords

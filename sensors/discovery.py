"""Sensors that ask for runs because input has changed: campaigns, archives, deletions.

Belongs here: from what changed to run requests. Does not belong here: what has changed (`magpie/leads/changes.py`).
They read the settings, the disk and the control database, never the network.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from assets.partitions import (
    CAMPAIGNS,
    RANGE_END,
    RANGE_START,
    day_range,
    last_partition,
    lead_range,
    range_of,
    span_of,
    sync,
)
from magpie.control import Control
from magpie.days import ranges
from magpie.lake import Lake
from magpie.leads import changes
from magpie.leads import tables as t
from magpie.leads.campaign_posts import LOOKBACK_DAYS
from magpie.leads.stages import CampaignRules
from magpie.settings import Settings
from magpie.sources.reddit_landing import Landing
from sensors.run_keys import digest

# A tick stays short and the queue fair: what is left waits for the next one.
RANGES_PER_TICK = 10


def build_sensors(settings: Settings, jobs: dict[str, Any]) -> list[dg.SensorDefinition]:
    """Return the discovery sensors."""
    return [
        _campaign_sync(settings, jobs),
        _new_data(settings, jobs),
        _campaigns_after_days(settings, jobs),
        _answers_after_campaign_days(jobs),
    ]


def sync_campaigns(instance: dg.DagsterInstance, settings: Settings) -> tuple[list[str], list[str]]:
    """Make the dynamic partitions equal to the campaigns in the settings; return those added and removed."""
    return sync(instance, CAMPAIGNS, (campaign.id for campaign in settings.campaigns))


def _campaign_sync(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    @dg.sensor(name="campaign_sync", jobs=[jobs["campaign_words"]], minimum_interval_seconds=60)
    def campaign_sync(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """Follow the campaigns in the settings; a new or changed one is computed anew."""
        _, removed = sync_campaigns(context.instance, settings)
        cursor = json.loads(context.cursor or '{"ticks": 0, "seen": {}}')
        seen, ticks = cursor["seen"], cursor["ticks"] + 1
        now = {c.id: CampaignRules.of(settings, c.id).config_hash for c in settings.active_campaigns()}
        changed = sorted(name for name, digest in now.items() if seen.get(name) != digest)
        if not changed and not removed:
            return dg.SkipReason(
                f"{len(now)} active campaigns are as before; a change in magpie.yaml is seen on reload"
            )
        # The tick is in the key: a campaign changed back to what it was before has to be computed again.
        requests = [dg.RunRequest(run_key=f"{name}-{now[name]}-{ticks}", partition_key=name) for name in changed]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else f"removed {', '.join(removed)}; a change is seen on reload",
            cursor=json.dumps({"ticks": ticks, "seen": now}, sort_keys=True),
        )

    return campaign_sync


def _new_data(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    # A post bears on the corpus of later days, and on what later comments inherit and later copies duplicate.
    window = max(settings.leads.bm25_corpus_days, LOOKBACK_DAYS)

    @dg.sensor(name="new_data", jobs=[jobs["reddit_landing"], jobs["reddit_days"]], minimum_interval_seconds=60)
    def new_data(
        context: dg.SensorEvaluationContext,
        landing: dg.ResourceParam[Landing],
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
    ) -> dg.SensorResult | dg.SkipReason:
        """Land new archive files, then make the days anew that they or deletions touch."""
        stale = changes.stale_files(landing)
        if stale:
            prints = landing.fingerprints()
            key = digest([(name, prints.get(name)) for name in stale])
            return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, job_name="reddit_landing")])
        seen = changes.after(changes.Seen.read(context.cursor), landing, lake, control.deleted())
        last_day = last_partition(datetime.now(UTC))
        span = span_of(landing.days(), settings.start_day, last_day)
        days = changes.reach(seen.waiting, *span, window) if span else []
        asked, left = ranges(days)[:RANGES_PER_TICK], ranges(days)[RANGES_PER_TICK:]
        next_day = left[0][0] if left else last_day + timedelta(days=1)
        rest = changes.Seen(seen.files, seen.deletions, tuple(day for day in seen.waiting if day >= next_day))
        if not asked:
            over = f"; {len(rest.waiting)} days wait until they are over" if rest.waiting else ""
            context.update_cursor(rest.dump())
            return dg.SkipReason(f"archives and deletions are as before; looking again in a minute{over}")
        state = digest(seen.dump())
        requests = [
            dg.RunRequest(run_key=f"{first}-{last}-{state}", job_name="reddit_days", tags=day_range(first, last))
            for first, last in asked
        ]
        return dg.SensorResult(run_requests=requests, cursor=rest.dump())

    return new_data


def _campaigns_after_days(settings: Settings, jobs: dict[str, Any]) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name="campaigns_after_days",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[jobs["reddit_days"], jobs["campaign_words"]],
        request_job=jobs["campaign_days"],
    )
    def campaigns_after_days(
        context: dg.RunStatusSensorContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """When days or a campaign's keywords are new, match and rank: those days, or that campaign's."""
        tags = context.dagster_run.tags
        if context.dagster_run.job_name == "reddit_days":
            span = range_of(tags)
            campaigns = [campaign.id for campaign in settings.active_campaigns()]
            spans = [(date.fromisoformat(span[0]), date.fromisoformat(span[1]))] if span else []
        else:
            campaigns = [name for name in [tags.get("dagster/partition")] if name]
            days = [row["day"] for row in lake.present(t.REDDIT_POSTS)]
            spans = [(min(days), max(days))] if days else []
        if not spans or not campaigns:
            yield dg.SkipReason("no active campaign or no days of posts yet; looking again after the next such run")
        for first_day, last_day in spans:
            for campaign in campaigns:
                key = f"{context.dagster_run.run_id}-{campaign}"
                yield dg.RunRequest(run_key=key, tags=lead_range(campaign, first_day, last_day))

    return campaigns_after_days


def _answers_after_campaign_days(jobs: dict[str, Any]) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name="answers_after_campaign_days",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[jobs["campaign_days"]],
        request_job=jobs["campaign_answers"],
    )
    def answers_after_campaign_days(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        """When posts are ranked anew, read the candidates of the same campaign and days."""
        span = range_of(context.dagster_run.tags)
        if span is None:
            return dg.SkipReason("the run names no campaign and day; looking again after the next one")
        return dg.RunRequest(run_key=context.dagster_run.run_id, tags={RANGE_START: span[0], RANGE_END: span[1]})

    return answers_after_campaign_days

"""The sensor that watches for what needs a person, and the job that tells it to the webhook.

Belongs here: when it is looked, and asking for the run that sends. Does not belong here: which conditions there are and
how they are sent (`magpie/alerts.py`). The sensor reads storage alone; the job reaches the network.
"""

from datetime import datetime

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState

from magpie import alerts
from magpie.control import Control
from magpie.environment import Environment
from magpie.settings import Settings
from magpie.sources.web import Web
from magpie.utc import utc_now
from sensors.run_keys import digest

# So long one asks no second time for a run that did not get everything across.
MINUTES_BETWEEN_TRIES = 5


# One at a time, so that nothing is sent twice.
@dg.op(pool="alerts")
def send_news(
    context: dg.OpExecutionContext,
    settings: dg.ResourceParam[Settings],
    control: dg.ResourceParam[Control],
    alert_web: dg.ResourceParam[Web],
) -> None:
    """Post what has begun or is over and has not arrived yet."""
    url = alerts.address_of(settings.alerts, Environment())
    if url is None:
        context.log.info(f"nobody to tell: set {alerts.ADDRESS}")
        return
    sent = alerts.send(control, alert_web, url, utc_now)
    if sent.problem is not None:
        context.log.warning(f"{sent.left} alerts wait: {sent.problem}")
    context.log.info(f"{sent.arrived} alerts arrived, {sent.left} wait")


@dg.job(description="Post alerts that have not arrived yet; needs the address of a webhook.")
def send_alerts() -> None:
    send_news()


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor of alerts."""

    @dg.sensor(name="alerts", job=send_alerts, minimum_interval_seconds=60)
    def alerts_(
        context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control]
    ) -> dg.SensorResult | dg.SkipReason:
        """Note conditions that have begun or are over, and ask for a run while any of them has not arrived."""
        if alerts.address_of(settings.alerts, Environment()) is None:
            return dg.SkipReason(f"nobody to tell: set {alerts.ADDRESS}")
        now = utc_now()
        found = alerts.conditions(settings, control, stale_assets(context.instance), now)
        alerts.note(control, settings.alerts.on, found, now)
        waiting = alerts.unsent(control)["event_id"].to_list()
        if not waiting:
            return dg.SkipReason(f"{len(found)} conditions hold, all of them told; looking again in a minute")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=_key(waiting, now))])

    return [alerts_]


def stale_assets(instance: dg.DagsterInstance) -> list[tuple[str, datetime]]:
    """Assets of all code locations that miss their freshness policy, as the daemon found last, and since when."""
    records = instance.get_freshness_state_records(instance.get_asset_keys())
    stale = [record for record in records.values() if record.freshness_state == FreshnessState.FAIL]
    return sorted((record.entity_key.to_user_string(), record.updated_at) for record in stale)


def _key(waiting: list[str], now: datetime) -> str:
    """The same for some minutes, so that a run under way is not asked for again, and another one afterwards."""
    tries = int(now.timestamp()) // (MINUTES_BETWEEN_TRIES * 60)
    return f"{digest(waiting)}|{tries}"

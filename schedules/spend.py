"""The job and the schedule of spending.

Belongs here: which copies are made together, and when. Does not belong here: what they hold (`assets/spend.py`). The
schedule is off until switched on in the UI, like all others.
"""

from datetime import UTC, timedelta
from typing import Any

import dagster as dg

from assets.partitions import day_range
from magpie.settings import Settings

SPEND = ("spend_caps", "llm_calls", "task_log", "lead_feedback")
# Calls of the last minute of a day are settled by then, and the marts at 04:00 want what this writes.
DAILY = "20 0 * * *"
# The day before yesterday again: a call that was cut off late is given up an hour after midnight, and a judgement on
# an answer may come with the next day's run.
DAYS_BACK = 2


def build_job() -> Any:
    """Return the job that copies the books of a day or of a range of days."""
    return dg.define_asset_job(
        "spend", selection=list(SPEND), description="Copy the ledger, the task log, caps and feedback into the lake."
    )


def build_schedule(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """Return the daily schedule; times are UTC."""

    @dg.schedule(name="spend_daily", job=job, cron_schedule=DAILY, execution_timezone="UTC")
    def spend_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Copy the books of yesterday and of the day before."""
        today = context.scheduled_execution_time.astimezone(UTC).date()
        first, last = max(today - timedelta(days=DAYS_BACK), settings.start_day), today - timedelta(days=1)
        if last < first:
            return dg.SkipReason(f"start_day is {settings.start_day}; there is no day to copy yet")
        return dg.RunRequest(run_key=str(last), tags=day_range(first, last))

    return spend_daily

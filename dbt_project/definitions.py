"""The code location of the marts.

Belongs here: assembly and the schedule. Does not belong here: what the assets do (`assets.py`). Importing this opens
nothing; it reads the settings and the manifest that `python -m dbt_project.prepare` made.
"""

import os

import dagster as dg

from dbt_project.assets import dbt_resource, marts_assets
from magpie import json_logs
from magpie.settings import Settings, load_settings
from resources.logs import run_id

# The day's leads run starts at 03:00 UTC; the marts want what it wrote.
DAILY_AFTER_LEADS = "0 4 * * *"


def build_definitions(settings: Settings) -> dg.Definitions:
    """Return the marts of one project.

    Raises:
        UserError: the manifest is missing or out of date.
    """
    marts = marts_assets(settings)
    job = dg.define_asset_job("build_marts", selection=[marts], description="Build all marts into the warehouse.")
    daily = dg.ScheduleDefinition(
        name="marts_daily", job=job, cron_schedule=DAILY_AFTER_LEADS, default_status=dg.DefaultScheduleStatus.STOPPED
    )
    return dg.Definitions(
        assets=[marts],
        jobs=[job],
        schedules=[daily],
        resources={"dbt": dbt_resource()},
        executor=dg.in_process_executor,  # one step: a process of its own would import dbt once more
    )


json_logs.configure(os.environ, run_id)
defs = build_definitions(load_settings())

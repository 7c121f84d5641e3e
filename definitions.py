"""The code location of all assets but the marts: settings in, Definitions out. Importing it opens nothing."""

from typing import Any

import dagster as dg

from assets import leads, leads_checks
from io_managers.tables import TableIOManager
from magpie.catalog import TABLES
from magpie.control import Control
from magpie.lake import Lake
from magpie.leads.archives import landing_of
from magpie.settings import Settings, load_settings
from schedules import leads as leads_schedules
from schedules import maintenance
from sensors import discovery


def build_definitions(settings: Settings, **overrides: Any) -> dg.Definitions:
    """Assemble the location; `overrides` replace resources by name, for tests."""
    lake = Lake(settings.lake_root, settings.storage_options())
    control = Control(settings.control_database)
    resources: dict[str, Any] = {
        "settings": settings,
        "lake": lake,
        "control": control,
        "landing": landing_of(settings),
        "io_manager": TableIOManager(lake, control, TABLES),
        **overrides,
    }
    jobs = leads_schedules.build_jobs()
    return dg.Definitions(
        assets=leads.build_assets(settings),
        asset_checks=leads_checks.build_checks(settings),
        resources=resources,
        jobs=[*jobs.values(), *leads_schedules.OP_JOBS, maintenance.lake_maintenance],
        schedules=[*leads_schedules.build_schedules(), maintenance.DAILY],
        sensors=discovery.build_sensors(settings, jobs),
        executor=dg.in_process_executor,
    )


defs = build_definitions(load_settings())

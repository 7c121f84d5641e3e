"""The code location of all assets but the marts: settings in, Definitions out. Importing it opens nothing."""

import os
from typing import Any

import dagster as dg

from assets import (
    content,
    content_checks,
    leads,
    leads_checks,
    memes,
    memes_checks,
    persona,
    persona_checks,
    spend,
    spend_checks,
    videos,
    videos_checks,
)
from io_managers.tables import TableIOManager
from magpie import json_logs
from magpie.blobs import Blobs
from magpie.catalog import TABLES
from magpie.content.stages import Desk
from magpie.control import Control
from magpie.lake import Lake
from magpie.leads.archives import landing_of
from magpie.memes.live import Fetcher
from magpie.memes.serving import Recommender
from magpie.memes.stages import Curator
from magpie.persona.live import Courier
from magpie.persona.stages import Reader
from magpie.settings import Settings, load_settings
from magpie.sources.web import Web
from magpie.utc import utc_now
from magpie.videos.live import source_of
from resources.llm import Llm
from resources.logs import run_id
from resources.workers import executor_of
from schedules import content as content_schedules
from schedules import leads as leads_schedules
from schedules import maintenance, stuck
from schedules import memes as memes_schedules
from schedules import persona as persona_schedules
from schedules import spend as spend_schedules
from schedules import videos as videos_schedules
from sensors import alerts, discovery, waiting
from sensors import content as content_sensors
from sensors import memes as memes_sensors
from sensors import persona as persona_sensors
from sensors import videos as videos_sensors


def build_definitions(settings: Settings, **overrides: Any) -> dg.Definitions:
    """Assemble the location; `overrides` replace resources by name, for tests."""
    lake = Lake(settings.lake_root, settings.storage_options())
    control = Control(settings.control_database)
    blobs, web = Blobs(settings.blobs), Web()
    resources: dict[str, Any] = {
        "settings": settings,
        "lake": lake,
        "control": control,
        "landing": landing_of(settings),
        "llm": Llm(settings, control),
        "video_source": source_of(settings, lake, control),
        "curator": Curator(settings, lake, control, blobs, web, utc_now),
        "fetcher": Fetcher(settings, lake, control, web, blobs),
        "desk": Desk(settings, lake, control, utc_now),
        "reader": Reader(settings, lake, control, blobs, web, utc_now),
        "courier": Courier(settings, lake, control, web, blobs, clock=utc_now),
        "recommender": Recommender(settings, lake, control),
        "alert_web": web,
        "io_manager": TableIOManager(lake, control, TABLES),
        **overrides,
    }
    products = (leads_schedules, videos_schedules, memes_schedules, content_schedules, persona_schedules)
    jobs = {name: job for product in products for name, job in product.build_jobs().items()}
    spend_job = spend_schedules.build_job()
    return dg.Definitions(
        assets=[
            asset
            for product in (leads, videos, memes, content, persona, spend)
            for asset in product.build_assets(settings)
        ],
        asset_checks=[
            check
            for product in (leads_checks, videos_checks, memes_checks, content_checks, persona_checks, spend_checks)
            for check in product.build_checks(settings)
        ],
        resources=resources,
        jobs=[
            *jobs.values(),
            *(job for product in products for job in product.OP_JOBS),
            maintenance.lake_maintenance,
            maintenance.runs_retention,
            stuck.stuck_partitions,
            alerts.send_alerts,
            spend_job,
        ],
        schedules=[
            *leads_schedules.build_schedules(),
            *videos_schedules.build_schedules(settings, jobs),
            *memes_schedules.build_schedules(settings, jobs),
            *content_schedules.build_schedules(settings, jobs),
            *persona_schedules.build_schedules(settings, jobs),
            maintenance.DAILY,
            maintenance.RUNS_DAILY,
            stuck.DAILY,
            spend_schedules.build_schedule(settings, spend_job),
        ],
        sensors=[
            *(
                sensor
                for kind in (discovery, videos_sensors, memes_sensors, content_sensors, persona_sensors, waiting)
                for sensor in kind.build_sensors(settings, jobs)
            ),
            *alerts.build_sensors(settings),
        ],
        executor=executor_of(settings),
    )


json_logs.configure(os.environ, run_id)
defs = build_definitions(load_settings())

"""The code location of all assets but the marts: settings in, Definitions out. Importing it opens nothing."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from types import ModuleType
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
from sensors.targets import TARGETS


@dataclass(frozen=True)
class Product:
    """The modules that wire one product."""

    assets: ModuleType
    checks: ModuleType
    schedules: ModuleType
    sensors: ModuleType


PRODUCTS = {
    "leads": Product(leads, leads_checks, leads_schedules, discovery),
    "videos": Product(videos, videos_checks, videos_schedules, videos_sensors),
    "memes": Product(memes, memes_checks, memes_schedules, memes_sensors),
    "content": Product(content, content_checks, content_schedules, content_sensors),
    "persona": Product(persona, persona_checks, persona_schedules, persona_sensors),
}


def build_definitions(
    settings: Settings, products: Collection[str] = tuple(PRODUCTS), *, checks: bool = True, **overrides: Any
) -> dg.Definitions:
    """Assemble the location.

    Args:
        products: those whose assets and jobs it has, by name; the books are always there.
        checks: whether runs hold their rows against the asset checks.
        overrides: resources by name, in place of those that the settings ask for.
    """
    chosen = [product for name, product in PRODUCTS.items() if name in products]
    jobs = {name: job for product in chosen for name, job in product.schedules.build_jobs().items()}
    spend_job = spend_schedules.build_job()
    waiting_for = {table: target for table, target in TARGETS.items() if target.job in jobs}
    return dg.Definitions(
        assets=[
            asset
            for module in (*(product.assets for product in chosen), spend)
            for asset in module.build_assets(settings)
        ],
        asset_checks=[
            check
            for module in (*(product.checks for product in chosen), spend_checks)
            for check in (module.build_checks(settings) if checks else ())
        ],
        resources={**_resources(settings), **overrides},
        jobs=[
            *jobs.values(),
            *(job for product in chosen for job in product.schedules.OP_JOBS),
            maintenance.lake_maintenance,
            maintenance.runs_retention,
            stuck.stuck_partitions,
            alerts.send_alerts,
            spend_job,
        ],
        schedules=[
            *(schedule for product in chosen for schedule in product.schedules.build_schedules(settings, jobs)),
            maintenance.DAILY,
            maintenance.RUNS_DAILY,
            stuck.DAILY,
            spend_schedules.build_schedule(settings, spend_job),
        ],
        sensors=[
            *(sensor for product in chosen for sensor in product.sensors.build_sensors(settings, jobs)),
            *waiting.build_sensors(settings, jobs, waiting_for),
            *alerts.build_sensors(settings),
        ],
        executor=executor_of(settings),
    )


def _resources(settings: Settings) -> dict[str, Any]:
    lake = Lake(settings.lake_root, settings.storage_options())
    control = Control(settings.control_database)
    blobs, web = Blobs(settings.blobs), Web()
    return {
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
    }


json_logs.configure(os.environ, run_id)
defs = build_definitions(load_settings())

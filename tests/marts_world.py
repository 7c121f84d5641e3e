"""A warehouse built over a lake that a test has filled.

Belongs here: building and asking it. Does not belong here: rows and tests.
"""

import importlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from dbt_project.assets import build_marts
from magpie.content.settings import Content
from magpie.settings import Settings
from tests.dagster_world import made_once

# Each of them has a function `fill` that writes its rows; no two write the same partition of a table.
FILLED_BY = ("test_video_marts", "test_meme_marts", "test_spend_marts", "test_content_marts", "test_persona_marts")

# Not the default, so that a mart that does not go by the settings shows.
PUBLISH_MIN_QUALITY = 75


@dataclass(frozen=True)
class Built:
    """A warehouse file."""

    settings: Settings

    @classmethod
    def over(cls, settings: Settings) -> "Built":
        """Build the marts over the lake of these settings."""
        with dg.DagsterInstance.ephemeral() as instance:
            assert build_marts(settings, instance).success
        return cls(settings)

    def sql(self, query: str) -> pl.DataFrame:
        with duckdb.connect(str(self.settings.warehouse), read_only=True) as connection:
            return connection.sql(query).pl()


def _side_by_side(home: Path) -> Built:
    content = Content(publish_min_quality=PUBLISH_MIN_QUALITY)
    settings = Settings(start_day=date(2026, 1, 1), home=home, root=home, content=content)
    for name in FILLED_BY:
        importlib.import_module(name).fill(settings)
    return Built.over(settings)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One warehouse over the rows of several test files side by side: dbt takes longer to start than to build."""
    return made_once(tmp_path_factory, "side_by_side", _side_by_side)

"""A warehouse built over a lake that a test has filled.

Belongs here: building and asking it. Does not belong here: rows and tests.
"""

from dataclasses import dataclass

import dagster as dg
import duckdb
import polars as pl

from dbt_project.assets import build_marts
from magpie.settings import Settings


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

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
from dbt_project.build import MartPreview
from magpie.content.settings import Content
from magpie.settings import Settings
from tests.dagster_world import made_once
from tests.instances import fresh_instance

# Each of them has a function `fill` that writes its rows; no two write the same partition of a table.
FILLED_BY = (
    "test_video_marts",
    "test_meme_marts",
    "test_spend_marts",
    "test_content_marts",
    "test_persona_marts",
    "test_marts",
)
MARTS = {"gate_funnel", "campaign_metrics", "keyword_noise", "cosine_percentiles", "leads_current"}
MARTS |= {"spend_daily", "spend_by_function", "cost_per_lead"}
MARTS |= {"video_status", "skipped_videos", "channel_track_record", "ticker_consensus_14d", "changes_of_mind"}
MARTS |= {"analysis_diff"}
MARTS |= {"source_quality", "funnel_daily", "engine_quality", "describe_throughput", "meme_stats_latest"}
MARTS |= {"keywords_current", "clusters_current", "cluster_coverage", "ideas_queue", "publish_queue"}
MARTS |= {"spend_by_site", "content_calendar"}
MARTS |= {"mood_history", "candidate_yield", "moderation_agreement", "post_engagement", "spend_by_blog"}

# Not the default, so that a mart that does not go by the settings shows.
PUBLISH_MIN_QUALITY = 75


# Imported by every Python that dbt's commands start: what they look up or connect to is written down.
WATCH_NETWORK = """
import os, sys
def note(*words):
    with open(os.environ["NETWORK_WATCH"], "a") as out:
        print(*words, file=out)
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        note(event, args[-1] if event == "socket.connect" else args[0])
sys.addaudithook(watch)
note("watching", os.path.basename(sys.orig_argv[1]))
"""


@dataclass(frozen=True)
class Built:
    """A home whose warehouse was built twice: over an empty lake, then over the filled one.

    Attributes:
        seen_by_old_session: rows of a filled table and mart, in a session opened between the two.
        shown: what the second run told Dagster of each mart.
        checks: the tests that ran in it, and whether they passed.
        network: what dbt's processes noted.
    """

    settings: Settings
    rows_when_empty: dict[str, int]
    seen_by_old_session: int
    shown: dict[str, MartPreview]
    checks: list[tuple[str, bool]]
    network: set[str]

    def sql(self, query: str) -> pl.DataFrame:
        with duckdb.connect(str(self.settings.warehouse), read_only=True) as connection:
            return connection.sql(query).pl()


def _side_by_side(home: Path) -> Built:
    content = Content(publish_min_quality=PUBLISH_MIN_QUALITY)
    settings = Settings(start_day=date(2026, 1, 1), home=home, root=home, content=content)
    (home / "watch").mkdir(parents=True)
    (home / "watch" / "sitecustomize.py").write_text(WATCH_NETWORK, "utf-8")
    network = home / "network.log"
    with pytest.MonkeyPatch.context() as patch, fresh_instance() as instance:
        patch.setenv("PYTHONPATH", str(home / "watch"))
        patch.setenv("NETWORK_WATCH", str(network))
        assert build_marts(settings, instance).success
        with duckdb.connect(str(settings.warehouse), read_only=True) as old:
            when_empty = {mart: _height(old, f"marts.{mart}") for mart in MARTS}
            for name in FILLED_BY:
                importlib.import_module(name).fill(settings)
            result = build_marts(settings, instance)
            assert result.success
            still = _height(old, "marts.gate_funnel") + _height(old, "lake.ranked_posts")
    checks = [(check.check_name, check.passed) for check in result.get_asset_check_evaluations()]
    noted = set(network.read_text("utf-8").splitlines())
    return Built(settings, when_empty, still, _shown(result), checks, noted)


def _height(session: duckdb.DuckDBPyConnection, table: str) -> int:
    return len(session.sql(f"FROM {table}").fetchall())


def _shown(result: dg.ExecuteInProcessResult) -> dict[str, MartPreview]:
    made = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {
        one.asset_key.path[-1]: MartPreview(
            int(str(one.metadata["dagster/row_count"].value)), str(one.metadata["preview"].value)
        )
        for one in made
    }


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One warehouse over the rows of several test files side by side: dbt takes longer to start than to build."""
    return made_once(tmp_path_factory, "side_by_side", _side_by_side)

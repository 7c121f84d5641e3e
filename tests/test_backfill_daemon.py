"""A backfill by the real daemon: processes, run queue and code server as in production, on loopback."""

import os
import shutil
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster_world import BOTH, REPO, Made, World, days_between, made, rows, sample_settings, versions

from assets.partitions import RANGE_END, RANGE_START
from definitions import build_definitions
from magpie.leads import tables as t
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, CAMPAIGN_WORDS, REDDIT_DAYS
from sensors.discovery import sync_campaigns
from tests.programs import impatient_daemon, running, until

__all__ = ["made"]

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 6)
DEADLINE_SECONDS = 115


def environment(home: Path, dagster_home: Path) -> dict[str, str]:
    """Of a project whose settings are all but the home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAGPIE_", "DAGSTER_"))}
    mine = {"MAGPIE_HOME": home, "MAGPIE_CONFIG": REPO / "magpie.yaml", "DAGSTER_HOME": dagster_home}
    return kept | {name: str(value) for name, value in mine.items()}


def wanted(defs: dg.Definitions) -> AssetGraphSubset:
    """Days, campaigns and both campaigns' days, as they are chosen in the UI."""
    days = [str(day) for day in days_between(FIRST, LAST)]
    pairs = [dg.MultiPartitionKey({"campaign": campaign, "day": day}) for campaign in BOTH for day in days]
    chosen: list[tuple[str, Sequence[str]]] = [
        *((name, days) for name in REDDIT_DAYS),
        *((name, pairs) for name in (*CAMPAIGN_DAYS, *CAMPAIGN_ANSWERS)),
    ]
    chosen += [(name, list(BOTH)) for name in CAMPAIGN_WORDS]
    asked = {AssetKeyPartitionKey(dg.AssetKey(name), key) for name, keys in chosen for key in keys}
    return AssetGraphSubset.from_asset_partition_set(asked, defs.resolve_asset_graph())


def backfill(instance: dg.DagsterInstance, defs: dg.Definitions) -> BulkActionStatus:
    """Ask for the backfill and wait until the daemon is done with it."""
    name = "spring"
    instance.add_backfill(
        PartitionBackfill.from_asset_graph_subset(name, time.time(), {}, instance, wanted(defs), None, None, None)
    )

    def status() -> BulkActionStatus:
        found = instance.get_backfill(name)
        assert found is not None
        return found.status

    going = (BulkActionStatus.REQUESTED, BulkActionStatus.FAILING)
    until(lambda: status() not in going, "the daemon is done", DEADLINE_SECONDS)
    return status()


@pytest.mark.soak
@pytest.mark.slow
def test_a_backfill_by_the_daemon_is_one_run_per_campaign_and_range_and_equals_a_plain_run(
    made: Made, tmp_path: Path
) -> None:
    settings = sample_settings(tmp_path / "home")
    per_campaign = (*CAMPAIGN_DAYS, *CAMPAIGN_ANSWERS)
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    shutil.copyfile(REPO / "dagster.yaml", dagster_home / "dagster.yaml")
    defs = build_definitions(settings)
    daemon = impatient_daemon(environment(settings.home, dagster_home), dagster_home, dagster_home)
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance, running(daemon):
        sync_campaigns(instance, settings)
        try:
            status = backfill(instance, defs)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{daemon.said()[-8000:]}") from None
        runs = instance.get_runs()
        assert status == BulkActionStatus.COMPLETED_SUCCESS, daemon.said()[-8000:]
        spans = sorted(
            (len(run.asset_selection or ()), run.tags[RANGE_START], run.tags[RANGE_END], run.status) for run in runs
        )
        ok = dg.DagsterRunStatus.SUCCESS
        assert spans == [
            (len(CAMPAIGN_WORDS), BOTH[0], BOTH[1], ok),
            (len(REDDIT_DAYS), str(FIRST), str(LAST), ok),
            *((len(per_campaign), f"{campaign}|{FIRST}", f"{campaign}|{LAST}", ok) for campaign in BOTH),
        ]
        for asset in (*REDDIT_DAYS, *CAMPAIGN_DAYS, *CAMPAIGN_ANSWERS):
            keys = instance.get_materialized_partitions(dg.AssetKey(asset))
            days = {str(day) for day in days_between(FIRST, LAST)}
            both = {f"{campaign}|{day}" for campaign in BOTH for day in days}
            assert keys == (days if asset in REDDIT_DAYS else both), asset
    lake = World(settings, defs, instance).lake
    # Version 0 is the empty table, made before the first write.
    commits = versions(lake)
    assert {name: commits[name] for name in (*REDDIT_DAYS, *CAMPAIGN_WORDS)} == dict.fromkeys(
        (*REDDIT_DAYS, *CAMPAIGN_WORDS), 1
    )
    assert {name: commits[name] for name in per_campaign} == dict.fromkeys(per_campaign, len(BOTH))
    for table in t.TABLES:
        if table.name in (*REDDIT_DAYS, *CAMPAIGN_WORDS, *per_campaign):
            assert rows(lake, table).equals(rows(made.lake, table, FIRST, LAST)), table.name

"""A backfill by the real daemon: processes, run queue and code server as in production, on loopback."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster_world import BOTH, REPO, Made, World, days_between, made, rows, sample_settings, versions

from assets.partitions import RANGE_END, RANGE_START
from definitions import build_definitions
from magpie.leads import tables as t
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, CAMPAIGN_WORDS, REDDIT_DAYS
from sensors.discovery import sync_campaigns

__all__ = ["made"]

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 6)
DEADLINE_SECONDS = 115
# The daemon itself, but it looks at backfills every second instead of every thirty, which no setting changes.
IMPATIENT_DAEMON = """
import dagster._daemon.controller as controller
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
from dagster._daemon.cli import main
main()
"""


@contextmanager
def daemon(home: Path, dagster_home: Path) -> Iterator[Path]:
    """Run the daemon over the first code location of workspace.yaml; yields its log."""
    workspace = yaml.safe_load((REPO / "workspace.yaml").read_text("utf-8"))
    first = {"load_from": [place for place in workspace["load_from"] if "magpie" in str(place)]}
    (dagster_home / "workspace.yaml").write_text(yaml.safe_dump(first), "utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAGPIE_", "DAGSTER_"))}
    env = {
        **kept,
        "MAGPIE_HOME": str(home),
        "MAGPIE_CONFIG": str(REPO / "magpie.yaml"),
        "DAGSTER_HOME": str(dagster_home),
    }
    log = dagster_home / "daemon.log"
    command = [sys.executable, "-c", IMPATIENT_DAEMON, "run", "-w", str(dagster_home / "workspace.yaml")]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, cwd=dagster_home, stdout=out, stderr=out)
        try:
            yield log
        finally:
            # It ends its code servers, and they the runs.
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


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


def backfill(instance: dg.DagsterInstance, defs: dg.Definitions, log: Path) -> BulkActionStatus:
    """Ask for the backfill and wait until the daemon is done with it."""
    name = "spring"
    instance.add_backfill(
        PartitionBackfill.from_asset_graph_subset(name, time.time(), {}, instance, wanted(defs), None, None, None)
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = instance.get_backfill(name)
        assert found is not None
        if found.status not in (BulkActionStatus.REQUESTED, BulkActionStatus.FAILING):
            return found.status
        time.sleep(0.5)
    pytest.fail(f"no end after {DEADLINE_SECONDS} s; the daemon said:\n{log.read_text(errors='replace')[-8000:]}")


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
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance, daemon(settings.home, dagster_home) as log:
        sync_campaigns(instance, settings)
        status = backfill(instance, defs, log)
        runs = instance.get_runs()
        told = log.read_text(errors="replace")[-8000:]
        assert status == BulkActionStatus.COMPLETED_SUCCESS, told
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

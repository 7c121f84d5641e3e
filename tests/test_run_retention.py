"""Old runs go from a real Dagster home and from Postgres; what was last made of each partition still answers."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.tags import BACKFILL_ID_TAG

from magpie.errors import UserError
from magpie.settings import load_settings
from runs.runner import prepare_instance
from schedules import maintenance
from schedules.run_retention import Retained, retain
from tests.databases import database_in

REPO = Path(__file__).parent.parent
NOW = datetime.now(UTC)
KEEP = 30
LONG_AGO = NOW - timedelta(days=40)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]))
def numbers(context: dg.AssetExecutionContext) -> None:
    """An asset with partitions."""
    context.log.info("a line of the log")


@dg.asset
def whole() -> None:
    """An asset without."""


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]))
def failing() -> None:
    """An asset that is never made."""
    raise ValueError("planted")


@dg.asset_check(asset=numbers)
def plausible() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture(params=["sqlite", "postgres"])
def instance(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """The Dagster home that the project makes, and one on Postgres."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    if request.param == "sqlite":
        prepare_instance(load_settings(REPO / "magpie.yaml").model_copy(update={"home": tmp_path}))
        with dg.DagsterInstance.get() as found:
            yield found
        return
    with database_in(request.getfixturevalue("postgres")) as url:
        driver = sa.make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
        (tmp_path / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_url: '{driver}'}}}}\n", "utf-8")
        with dg.DagsterInstance.from_config(str(tmp_path)) as found:
            yield found


def make(instance: dg.DagsterInstance, *assets: object, partition: str | None = None, ended: datetime = NOW) -> str:
    """Materialise, and say of the run that it was at that time."""
    done = dg.materialize(list(assets), instance=instance, partition_key=partition, raise_on_error=False)  # type: ignore[arg-type]
    date_back(instance, done.run_id, ended)
    return done.run_id


def date_back(instance: dg.DagsterInstance, run_id: str, ended: datetime) -> None:
    naive = ended.replace(tzinfo=None)
    times = {"create_timestamp": naive, "update_timestamp": naive, "end_time": ended.timestamp()}
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(RunsTable.update().where(RunsTable.c.run_id == run_id).values(**times))
    shard = shard_of(instance, run_id)
    if shard is not None:
        os.utime(shard, (ended.timestamp(), ended.timestamp()))


def shard_of(instance: dg.DagsterInstance, run_id: str) -> Path | None:
    path: Callable[[str], str] | None = getattr(instance.event_log_storage, "path_for_shard", None)
    return None if path is None else Path(path(run_id))


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def latest(instance: dg.DagsterInstance, partition: str) -> str:
    """The run that Dagster names when it is asked for the latest materialisation of a partition."""
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=numbers.key, asset_partitions=[partition]), limit=1
    ).records
    assert record.run_id is not None
    return record.run_id


def kinds(instance: dg.DagsterInstance, run_id: str) -> set[str | None]:
    events = instance.all_logs(run_id)
    return {event.dagster_event.event_type_value if event.dagster_event else None for event in events}


def test_old_runs_go_and_the_latest_materialisation_of_every_partition_still_answers(
    instance: dg.DagsterInstance,
) -> None:
    replaced = make(instance, numbers, partition="a", ended=LONG_AGO)
    kept = {"b": make(instance, numbers, plausible, partition="b", ended=LONG_AGO)}
    kept["a"] = make(instance, numbers, partition="a")
    failed = make(instance, failing, partition="c", ended=LONG_AGO)
    young = make(instance, failing, partition="c")
    before = instance.get_latest_materialization_event(numbers.key)
    made = instance.get_materialized_partitions(numbers.key)
    assert made == {"a", "b"}

    assert retain(instance, KEEP, NOW) == Retained(removed=2, trimmed=1)

    assert runs(instance) == {*kept.values(), young}
    assert {replaced, failed}.isdisjoint(runs(instance))
    assert instance.get_materialized_partitions(numbers.key) == made
    assert {partition: latest(instance, partition) for partition in kept} == kept
    assert instance.get_latest_materialization_event(numbers.key) == before
    # What was replaced is out of the asset's history; what answers is not.
    told = instance.fetch_materializations(numbers.key, limit=10).records
    assert [record.run_id for record in told] == [kept["a"], kept["b"]]


def test_of_a_run_that_is_the_latest_the_log_goes_and_status_events_and_checks_stay(
    instance: dg.DagsterInstance,
) -> None:
    run_id = make(instance, numbers, plausible, partition="b", ended=LONG_AGO)
    assert {None, "STEP_START"} <= kinds(instance, run_id)
    retain(instance, KEEP, NOW)
    left = kinds(instance, run_id)
    assert {"ASSET_MATERIALIZATION", "PIPELINE_START", "PIPELINE_SUCCESS"} <= left
    assert not {None, "STEP_START", "STEP_SUCCESS", "HANDLED_OUTPUT"} & left
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.is_success
    (check,) = instance.event_log_storage.get_asset_check_execution_history(plausible.check_key, limit=5)
    assert check.run_id == run_id
    assert retain(instance, KEEP, NOW) == Retained(0, 0)


def test_an_asset_without_partitions_keeps_its_latest_too(instance: dg.DagsterInstance) -> None:
    first, last = (make(instance, whole, ended=LONG_AGO) for _ in range(2))
    assert retain(instance, KEEP, NOW).removed == 1
    assert first not in runs(instance)
    event = instance.get_latest_materialization_event(whole.key)
    assert event is not None
    assert event.run_id == last


def test_young_runs_and_those_that_are_not_over_are_left_alone(instance: dg.DagsterInstance) -> None:
    young = make(instance, failing, partition="c", ended=NOW - timedelta(days=KEEP - 1))
    # It was asked for long ago and ended yesterday.
    late = make(instance, failing, partition="c", ended=LONG_AGO)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        ended = (NOW - timedelta(days=1)).timestamp()
        connection.execute(RunsTable.update().where(RunsTable.c.run_id == late).values(end_time=ended))
    going_on = instance.create_run_for_job(dg.define_asset_job("j", [whole]).resolve(asset_graph=graph()))
    date_back(instance, going_on.run_id, LONG_AGO)
    assert retain(instance, KEEP, NOW) == Retained(0, 0)
    assert runs(instance) == {young, late, going_on.run_id}


def graph() -> object:
    return dg.Definitions(assets=[whole]).get_repository_def().asset_graph


def test_runs_of_a_backfill_that_goes_on_stay_until_it_is_over(instance: dg.DagsterInstance) -> None:
    run_id = make(instance, failing, partition="c", ended=LONG_AGO)
    instance.add_run_tags(run_id, {BACKFILL_ID_TAG: "fill"})
    date_back(instance, run_id, LONG_AGO)
    backfill = PartitionBackfill(
        backfill_id="fill",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=LONG_AGO.timestamp(),
        partition_names=[],
    )
    instance.add_backfill(backfill)
    assert retain(instance, KEEP, NOW) == Retained(0, 0)
    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    assert retain(instance, KEEP, NOW).removed == 1


def test_hundreds_of_old_runs_go_page_by_page(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schedules.run_retention.RUNS_PER_PAGE", 2)
    for _ in range(3):
        make(instance, whole, ended=LONG_AGO)
    assert retain(instance, KEEP, NOW).removed == 2


@pytest.mark.parametrize("instance", ["sqlite"], indirect=True)
def test_no_file_of_a_removed_run_is_left_and_that_of_a_trimmed_one_is_smaller(instance: dg.DagsterInstance) -> None:
    first, last = (make(instance, whole, ended=LONG_AGO) for _ in range(2))
    kept = shard_of(instance, last)
    gone = shard_of(instance, first)
    assert kept is not None
    assert gone is not None
    with instance.event_log_storage.run_connection(last) as connection:  # type: ignore[attr-defined]
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        filled = f"INSERT INTO event_logs (run_id, event) {rows} SELECT :run, hex(randomblob(100)) FROM n"
        connection.execute(sa.text(filled), {"run": last})
    with closing(sqlite3.connect(kept)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    date_back(instance, last, LONG_AGO)
    before = kept.stat().st_size
    assert before > 400_000
    assert retain(instance, KEEP, NOW) == Retained(1, 1)
    assert not list(gone.parent.glob(f"{first}*"))
    assert kept.stat().st_size < before / 2
    assert not (gone.parent.parent / "storage" / first).exists()


def test_the_job_takes_its_days_from_the_settings(instance: dg.DagsterInstance) -> None:
    first, last = (make(instance, whole, ended=LONG_AGO) for _ in range(2))
    settings = load_settings(REPO / "magpie.yaml")
    assert settings.maintenance.keep_runs_days == 90

    def run(days: int) -> set[str]:
        changed = settings.model_copy(
            update={"maintenance": settings.maintenance.model_copy(update={"keep_runs_days": days})}
        )
        done = maintenance.runs_retention.execute_in_process(instance=instance, resources={"settings": changed})
        return runs(instance) - {done.run_id}

    assert {first, last} <= run(90)
    assert first not in run(KEEP)
    assert last in runs(instance)


def test_less_than_a_week_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "magpie.yaml"
    config.write_text("start_day: 2026-03-01\nmaintenance: {keep_runs_days: 3}\n", "utf-8")
    with pytest.raises(UserError, match="keep_runs_days = 3"):
        load_settings(config)

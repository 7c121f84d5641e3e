"""The event log with its databases left open holds what Dagster's own does, whoever writes and reads it."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from magpie.settings import load_settings
from runs.event_log import OPEN_DATABASES, OpenSqliteEventLogStorage
from runs.runner import _instance_file, prepare_instance

REPO = Path(__file__).parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Dagster home that the project makes."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    prepare_instance(load_settings(REPO / "magpie.yaml").model_copy(update={"home": tmp_path}))
    return tmp_path / "dagster"


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        yield found


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def numbers() -> None:
    """An asset to log events of."""


def made(instance: dg.DagsterInstance, partition: str = "a") -> str:
    return dg.materialize([numbers], instance=instance, partition_key=partition).run_id


def stored(storage: SqliteEventLogStorage, run_id: str) -> list[str | None]:
    return [
        record.event_log_entry.dagster_event_type and record.event_log_entry.dagster_event_type.value
        for record in storage.get_records_for_run(run_id).records
    ]


def test_the_project_logs_to_it_where_dagsters_own_would(instance: dg.DagsterInstance, home: Path) -> None:
    assert isinstance(instance.event_log_storage, OpenSqliteEventLogStorage)
    run_id = made(instance)
    assert (home / "history" / "runs" / f"{run_id}.db").exists()


def test_dagsters_own_storage_reads_what_it_wrote_and_the_other_way_round(home: Path) -> None:
    with dg.DagsterInstance.get() as ours:
        run_id = made(ours)
        told = stored(ours.event_log_storage, run_id)  # type: ignore[arg-type]
    assert "ASSET_MATERIALIZATION" in told
    stock = SqliteEventLogStorage(str(home / "history" / "runs"))
    assert stored(stock, run_id) == told
    again = OpenSqliteEventLogStorage(str(home / "history" / "runs"))
    assert stored(again, run_id) == told
    assert again.get_materialized_partitions(dg.AssetKey("numbers")) == {"a"}
    again.dispose()


def schema(path: Path) -> list[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        return [*found, ("journal", *database.execute("PRAGMA journal_mode").fetchone(), None)]


def test_every_runs_database_has_the_tables_that_dagsters_own_would_have(
    instance: dg.DagsterInstance, home: Path, tmp_path: Path
) -> None:
    runs = [made(instance) for _ in range(3)]
    stock = SqliteEventLogStorage(str(tmp_path / "stock"))
    with stock.run_connection("a-run"):
        wanted = schema(tmp_path / "stock" / "a-run.db")
    assert [schema(home / "history" / "runs" / f"{run_id}.db") for run_id in runs] == [wanted] * 3
    assert {path.suffix for path in (home / "history" / "runs").iterdir()} <= {".db", ".db-shm", ".db-wal"}


def test_a_database_that_another_process_made_meanwhile_is_left_as_it_is(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, OpenSqliteEventLogStorage)
    made(instance)
    others = SqliteEventLogStorage(str(home / "history" / "runs"))
    with others.run_connection("shared") as connection:
        connection.exec_driver_sql("INSERT INTO event_logs (run_id, event) VALUES ('shared', 'theirs')")
    # It comes between the look and the writing.
    really = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "shared.db" and really(path))
    with storage.run_connection("shared") as connection:
        assert connection.exec_driver_sql("SELECT event FROM event_logs").scalars().all() == ["theirs"]


def test_where_files_cannot_be_linked_the_tables_are_made_one_by_one(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(instance)

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    run_id = made(instance)
    assert "ASSET_MATERIALIZATION" in stored(instance.event_log_storage, run_id)  # type: ignore[arg-type]
    assert {path.suffix for path in (home / "history" / "runs").iterdir()} <= {".db", ".db-shm", ".db-wal"}


def test_an_event_does_not_wait_for_the_disk_and_the_file_is_whole_whatever_happens(
    instance: dg.DagsterInstance, home: Path
) -> None:
    run_id = made(instance)
    storage = instance.event_log_storage
    assert isinstance(storage, OpenSqliteEventLogStorage)
    with storage.run_connection(run_id) as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")
        }
    assert pragma == {"synchronous": 1, "journal_mode": "wal"}


def test_few_databases_are_open_however_many_runs_there_are(instance: dg.DagsterInstance) -> None:
    runs = [made(instance) for _ in range(OPEN_DATABASES + 3)]
    storage = instance.event_log_storage
    assert isinstance(storage, OpenSqliteEventLogStorage)
    counts = [len(stored(storage, run_id)) for run_id in runs]
    assert len(set(counts)) == 1 and counts[0] > 5, "runs whose databases were closed meanwhile are read anew"
    assert len(open_files(instance)) <= OPEN_DATABASES


def open_files(instance: dg.DagsterInstance) -> set[str]:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files are listed under /proc, which this system lacks")
    targets = {str(entry.readlink()) for entry in folder.iterdir() if entry.is_symlink() and entry.exists()}
    return {name for name in targets if name.startswith(instance.root_directory) and name.endswith(".db")}


def test_threads_may_read_while_another_writes(instance: dg.DagsterInstance) -> None:
    runs = [made(instance) for _ in range(3)]
    storage = instance.event_log_storage
    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(stored, storage, run_id) for run_id in runs * 10]  # type: ignore[arg-type]
        made(instance, "b")
        assert all("ASSET_MATERIALIZATION" in read.result() for read in reads)
    assert storage.get_materialized_partitions(dg.AssetKey("numbers")) == {"a", "b"}


def test_a_table_that_an_upgrade_brings_is_seen_by_a_storage_that_is_open(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, OpenSqliteEventLogStorage)
    assert storage.has_table("dynamic_partitions")
    assert not storage.has_table("new_in_some_release")
    with storage.index_connection() as connection:
        connection.exec_driver_sql("CREATE TABLE new_in_some_release (id INTEGER)")
    assert storage.has_table("new_in_some_release")


def test_what_is_wiped_is_gone_and_can_be_written_anew(instance: dg.DagsterInstance) -> None:
    gone = made(instance)
    instance.event_log_storage.wipe()
    assert stored(instance.event_log_storage, gone) == []  # type: ignore[arg-type]
    made(instance, "b")
    assert instance.event_log_storage.get_materialized_partitions(dg.AssetKey("numbers")) == {"b"}


def test_another_storage_in_the_projects_dagster_yaml_is_left_as_it_is(home: Path) -> None:
    text = "storage:\n  postgres:\n    postgres_url: postgresql://db/dagster\n"
    assert _instance_file(text, home) == text

"""Runs whose process is gone: their code server looks after them though its storage was away, the launcher notices."""

import inspect
import json
import logging
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher, LaunchRunContext
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc import proxy_server, server
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import serialize_value

from runs import launcher as launchers
from runs.code_server import patient
from runs.launcher import ENDING, UNREACHABLE_S, WatchedRunLauncher

TAGS = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": 1})}


@pytest.fixture
def launcher(instance: dg.DagsterInstance) -> WatchedRunLauncher:
    made = WatchedRunLauncher()
    made.register_instance(instance)
    return made


@dg.op
def a_step() -> None:
    """Does nothing."""


@dg.job
def a_job() -> None:
    a_step()


def started(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED, tags=TAGS)


def knowing(monkeypatch: pytest.MonkeyPatch, *run_ids: str) -> None:
    """Let the code server say that it has these runs."""
    told = serialize_value(GetCurrentRunsResult(current_runs=list(run_ids), serializable_error_info=None))
    monkeypatch.setattr(DagsterGrpcClient, "get_current_runs", lambda client: told)


def away(client: Any) -> str:
    raise DagsterUserCodeUnreachableError("away")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds on the launcher's clock, which stands still unless a test moves it."""
    seconds = [1000.0]
    monkeypatch.setattr(launchers.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_run_that_its_code_server_has_is_left_alone(
    instance: dg.DagsterInstance, launcher: WatchedRunLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(instance)
    knowing(monkeypatch, run.run_id)
    assert launcher.supports_check_run_worker_health
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING


def test_a_run_that_a_new_code_server_does_not_know_has_lost_its_process(
    instance: dg.DagsterInstance, launcher: WatchedRunLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(instance)
    knowing(monkeypatch, "another")
    found = launcher.check_run_worker_health(run)
    assert found.status == WorkerStatus.FAILED
    assert "started anew" in str(found.msg)


def test_while_a_code_server_is_away_nothing_is_said_of_its_runs_until_that_takes_too_long(
    instance: dg.DagsterInstance, launcher: WatchedRunLauncher, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DagsterGrpcClient, "get_current_runs", away)
    run = started(instance)
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    now[0] += UNREACHABLE_S - 1
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    now[0] += 1
    assert launcher.check_run_worker_health(run).status == WorkerStatus.FAILED


def test_a_server_that_was_away_and_came_back_has_its_time_anew(
    instance: dg.DagsterInstance, launcher: WatchedRunLauncher, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(instance)
    for _ in range(2):
        monkeypatch.setattr(DagsterGrpcClient, "get_current_runs", away)
        assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
        knowing(monkeypatch, run.run_id)
        assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
        now[0] += UNREACHABLE_S


def test_a_run_that_ended_meanwhile_is_not_asked_about(
    instance: dg.DagsterInstance, launcher: WatchedRunLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(instance)
    instance.report_run_failed(run)
    knowing(monkeypatch)
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Tried to start a run on a server after telling it to shut down", DagsterUserCodeUnreachableError),
        ("there is no such job", DagsterLaunchFailedError),
    ],
)
def test_a_run_for_a_code_server_that_is_about_to_end_waits_in_the_queue_as_if_it_were_away(
    launcher: WatchedRunLauncher,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    kind: type[Exception],
) -> None:
    def refused(*_: Any) -> None:
        raise DagsterLaunchFailedError(said)

    monkeypatch.setattr(DefaultRunLauncher, "launch_run", refused)
    with pytest.raises(kind):
        launcher.launch_run(LaunchRunContext(started(instance), None))


def test_dagsters_code_server_still_says_it_in_these_words() -> None:
    servers = (inspect.getsource(server), inspect.getsource(proxy_server))
    assert all(ENDING in source for source in servers)


def test_a_look_that_finds_the_storage_away_is_told_and_the_next_one_is_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks: list[str] = []

    def look(server: Any) -> None:
        looks.append("look")
        if len(looks) == 1:
            raise sa.exc.OperationalError("SELECT secret", {}, ConnectionRefusedError("no"))

    again: Callable[[Any], None] = patient(look)
    with caplog.at_level(logging.WARNING):
        again(None)
        again(None)
    assert len(looks) == 2
    assert "ConnectionRefusedError" in caplog.text
    assert "secret" not in caplog.text


def test_a_look_that_fails_for_another_reason_shows_it() -> None:
    def look(server: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        patient(look)(None)  # type: ignore[arg-type]

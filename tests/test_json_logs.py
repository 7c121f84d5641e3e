"""Logs for machines: one object per line, whatever is logged, with the run that it belongs to."""

import contextvars
import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.cli import main
from magpie.errors import UserError
from magpie.json_logs import JsonLines, configure
from magpie.llm.fake_provider import FakeProvider
from resources.logs import run_id
from tests.gateway_world import desk
from tests.instances import fresh_instance
from tests.test_engine import JUDGE, SCOPE, engine, frame

log = logging.getLogger("magpie.tests")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    configure({})


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    printed = capsys.readouterr()
    assert printed.out == ""
    return [json.loads(line) for line in printed.err.splitlines()]


def test_a_line_tells_when_how_bad_who_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert configure({"MAGPIE_LOG": "json"})
    log.warning("the body of call %s is damaged", "c7")
    (line,) = lines(capsys)
    at = datetime.fromisoformat(line.pop("time"))
    assert at.utcoffset() is not None and not at.utcoffset()
    assert line == {
        "level": "warning",
        "logger": "magpie.tests",
        "message": "the body of call c7 is damaged",
        "run_id": None,
    }


def test_information_is_told_and_details_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    configure({"MAGPIE_LOG": "json"})
    log.info("one")
    log.debug("two")
    assert [line["message"] for line in lines(capsys)] == ["one"]


def test_a_traceback_stays_on_the_line_of_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure({"MAGPIE_LOG": "json"})
    try:
        raise ValueError("no\nnumber")
    except ValueError:
        log.exception("it failed")
    (line,) = lines(capsys)
    assert line["level"] == "error"
    assert line["error"].startswith("Traceback")
    assert line["error"].endswith("ValueError: no\nnumber")


@given(st.text())
def test_whatever_is_said_is_one_line_of_ascii_that_says_it(said: str) -> None:
    record = logging.LogRecord("magpie.x", logging.INFO, __file__, 1, said.replace("%", "%%"), None, None)
    record.msg = said
    line = JsonLines().format(record)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == said


def test_others_loggers_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = (list(logging.getLogger().handlers), logging.getLogger("dagster").level)
    configure({"MAGPIE_LOG": "json"})
    logging.getLogger("urllib3").info("nothing of ours")
    assert lines(capsys) == []
    assert (list(logging.getLogger().handlers), logging.getLogger("dagster").level) == before


def test_configured_twice_each_line_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure({"MAGPIE_LOG": "json"})
    configure({"MAGPIE_LOG": "json"}, lambda: "run-7")
    log.warning("once")
    assert [line["run_id"] for line in lines(capsys)] == ["run-7"]


@pytest.mark.parametrize("env", [{}, {"MAGPIE_LOG": ""}, {"MAGPIE_LOG": "text"}])
def test_unless_asked_for_logging_stays_as_it_is(env: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    configure({"MAGPIE_LOG": "json"})
    assert not configure(env)
    log.warning("as before")
    assert caplog.messages == ["as before"]
    assert logging.getLogger("magpie").handlers == []


def test_another_form_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="MAGPIE_LOG 'xml' is no form of logs; write json, or text, or unset it"):
        configure({"MAGPIE_LOG": "xml"})


def test_the_command_line_refuses_another_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAGPIE_LOG", "xml")
    monkeypatch.setattr(sys, "argv", ["magpie", "doctor"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("magpie: MAGPIE_LOG 'xml'")


def test_a_line_of_a_step_names_its_run_and_one_outside_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    @dg.asset
    def talkative() -> None:
        log.warning("within")

    configure({"MAGPIE_LOG": "json"}, run_id)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with fresh_instance() as instance:
        job = dg.Definitions(assets=[talkative]).resolve_implicit_global_asset_job_def()
        made = job.execute_in_process(instance=instance, run_config=quiet)
    log.warning("outside")
    told = {line["message"]: line["run_id"] for line in lines(capsys)}
    assert told == {"within": made.run_id, "outside": None}


def test_threads_that_ask_models_are_in_the_run_of_the_step_that_began_them(
    tmp_path: Path, fake: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(answer: Any, row: Any, last_try: bool) -> Any:
        log.warning("%s", threading.current_thread().name)
        return answer

    told = contextvars.ContextVar("told", default="no run")
    configure({"MAGPIE_LOG": "json"}, told.get)
    told.set("run-7")
    with desk(f"sqlite:///{tmp_path}/control.db", tmp_path, fake) as at:
        engine(at, replace(JUDGE, check=check), workers=2).run(JUDGE.name, frame("one", "two"), SCOPE)
    logged = lines(capsys)
    assert {line["run_id"] for line in logged} == {"run-7"}
    assert all(line["message"].startswith(JUDGE.name) for line in logged)
    assert len(logged) == 2

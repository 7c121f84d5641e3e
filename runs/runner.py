"""`magpie run` on Dagster: materialises layer by layer in this process, into the instance that the UI shows.

Belongs here: executing a layer, telling how far it is, making the Dagster home. Does not belong here: which layers a
product has, over which days (`courses.py`), and what an asset does.
"""

import gc
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg
import sqlalchemy as sa
from dagster_shared.error import SerializableErrorInfo

from dbt_project.prepare import prepare
from magpie.errors import UserError
from magpie.llm.money import shown
from magpie.llm.progress import TaskState
from magpie.running import Progress, RunOutcome, RunRequest
from magpie.settings import Settings
from magpie.yaml_text import read_yaml
from runs import event_log
from runs.courses import COURSES, Course, courses_of

INSTANCE_FILE = "dagster.yaml"
# How many more objects there are than at the last look before Python looks for cycles among the youngest; it has 700.
YOUNGEST_OBJECTS = 50_000
# More failed runs than this are as telling as this many.
MOST_FAILED = 1000
# The project's own messages say it all; the class of any other error is half of what it tells.
OWN_ERROR = re.compile(r"^magpie\.[\w.]+: ")


class _Watch(logging.Handler):
    """Turns Dagster's events into progress; each materialised partition is one step."""

    def __init__(self, report: Callable[[Progress], None]) -> None:
        super().__init__()
        self.report = report
        self.total = self.done = 0
        self.doing = ""
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is None:
            return
        if event.is_step_start:
            self.doing = event.step_key
            self.report(Progress(self.doing, self.done, self.total))
        elif event.is_step_materialization:
            self.done += 1
            self.report(Progress(event.asset_key.path[-1], self.done, self.total))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                self.warnings.append(f"{check.asset_key.path[-1]}: {check.check_name}: {check.description}")

    def task(self, state: TaskState) -> None:
        """A step that calls models is long: tell how far it is and what it cost so far."""
        cost = f", {shown(state.cost_nano)}" if state.cost_nano else ""
        self.report(Progress(self.doing, self.done, self.total, f"{state.message}{cost}"))


class _Layers:
    """Executes layers in this process, watched."""

    def __init__(self, instance: dg.DagsterInstance, watch: _Watch) -> None:
        self._instance, self._watch = instance, watch
        self._given = self._watched = dg.Definitions()
        self.task = watch.task

    def expect(self, partitions: int) -> None:
        """So many more partitions are to come."""
        self._watch.total += partitions

    def warn(self, line: str) -> None:
        self._watch.warnings.append(line)

    def execute(self, defs: dg.Definitions, job: str, **more: Any) -> list[str]:
        """Materialise a job's assets; return one line per failed step."""
        # A product runs many layers of one location; Dagster resolves it once.
        if defs is not self._given:
            self._given, self._watched = defs, _with_progress(defs, self._watch)
        # One moment for the whole run: as time goes on, Dagster lists all partitions anew at each step.
        with _quiet(), dg.partition_loading_context(dynamic_partitions_store=self._instance):
            result = self._watched.resolve_job_def(job).execute_in_process(
                instance=self._instance, raise_on_error=False, run_config={"loggers": {"progress": {}}}, **more
            )
        return failure_lines(result)

    def marts(self, settings: Settings) -> list[str]:
        """Build the marts; return one line per failed step."""
        # Importing dbt costs seconds, so it waits until it is needed.
        from dbt_project.assets import build_marts

        watch = self._watch
        self.expect(1)
        watch.report(Progress("marts", watch.done, watch.total))
        try:
            failures = failure_lines(build_marts(settings, self._instance))
        except dg.Failure as failure:
            failures = [f"marts: {failure.description}"]
        watch.done += 1
        watch.report(Progress("marts", watch.done, watch.total))
        return failures


class DagsterRunner:
    """Runs in this process; the daemon is not needed."""

    def run(self, settings: Settings, request: RunRequest, report: Callable[[Progress], None]) -> RunOutcome:
        chosen = courses_of(settings, request)
        prepare_instance(settings)
        with dg.DagsterInstance.get() as instance, _seldom_collected():
            watch = _Watch(report)
            course = Course(settings, request, instance, _Layers(instance, watch))
            for name in chosen:
                if not course.failures:
                    COURSES[name](course)
        return RunOutcome(course.first, course.last, tuple(course.failures), tuple(watch.warnings), tuple(chosen))

    def serve(self, settings: Settings, host: str, port: int) -> NoReturn:
        """Run `dagster dev`: webserver and daemon over both code locations."""
        prepare_instance(settings)
        prepare(settings)
        workspace = Path(__file__).parent.parent / "workspace.yaml"
        # `dg dev`, which Dagster recommends instead, wants a folder of definitions that this project does not have.
        quiet = ["-W", "ignore:Function `dev_command`"]
        command = [sys.executable, *quiet, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
        env = {**os.environ, "MAGPIE_CONFIG": str(settings.config_file), "MAGPIE_HOME": str(settings.home)}
        # In the project's directory it would warn of the dagster.yaml that lies there but is not the one in use.
        os.chdir(os.environ["DAGSTER_HOME"])
        # In place of this process, so that a signal to it ends webserver and daemon too.
        os.execve(sys.executable, command, env)

    def failed_runs(self, settings: Settings, since: datetime) -> Mapping[str, int]:
        prepare_instance(settings)
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
        try:
            with dg.DagsterInstance.get() as instance:
                return Counter(run.job_name for run in instance.get_runs(failed, limit=MOST_FAILED))
        except sa.exc.SQLAlchemyError as error:
            # Its text may hold the address, password and all.
            raise UserError(f"cannot read Dagster's storage: {type(error).__name__}; see its dagster.yaml") from None


def prepare_instance(settings: Settings) -> None:
    """Make the Dagster home that command line and UI share; an existing DAGSTER_HOME is left as it is.

    Raises:
        UserError: DAGSTER_HOME is no directory, or the home cannot be made.
    """
    given = os.environ.get("DAGSTER_HOME")
    if given:
        if not (Path(given).is_absolute() and Path(given).is_dir()):
            raise UserError(f"DAGSTER_HOME {given!r} must be the absolute path of a directory; make it or unset it")
        return
    home = settings.dagster_home.absolute()
    source = Path(__file__).parent.parent / INSTANCE_FILE
    target = home / INSTANCE_FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        wanted = _instance_file(source.read_text("utf-8"), home)
        if not target.exists() or target.read_text("utf-8") != wanted:
            target.write_text(wanted, "utf-8")
    except OSError as error:
        raise UserError(f"cannot write in {home}: {error.strerror}; name another home with MAGPIE_HOME") from None
    os.environ["DAGSTER_HOME"] = str(home)


def _instance_file(text: str, home: Path) -> str:
    """The project's dagster.yaml for one home; where it names no storage, the event log keeps its databases open."""
    named = read_yaml(text) or {}
    return text if {"storage", "event_log_storage"} & named.keys() else f"{text}\n{event_log.settings_of(home)}"


def _with_progress(defs: dg.Definitions, watch: _Watch) -> dg.Definitions:
    def make(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("magpie.progress", logging.DEBUG)
        logger.addHandler(watch)
        return logger

    return dg.Definitions.merge(defs, dg.Definitions(loggers={"progress": dg.LoggerDefinition(make)}))


def failure_lines(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return one line per failed step; what failed because of it is not repeated."""
    lines = []
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            told = failure.user_failure_data.description if failure.user_failure_data else _cause(failure.error)
            lines.append(f"{event.step_key}: {' '.join((told or 'failed').split())}")
    if not result.success and not lines:
        lines.append("the run failed before any step began; its log in the UI says why")
    return lines


def _cause(error: SerializableErrorInfo | None) -> str | None:
    """What was raised inside Dagster's wrapping; what that rests on in turn tells less of what to do."""
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return OWN_ERROR.sub("", error.message) if error is not None else None


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let Python look for cycles seldom: Dagster makes objects by the hundred thousand, few of them in cycles."""
    before = gc.get_threshold()
    gc.set_threshold(YOUNGEST_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dagster's own lines off the terminal while a progress display is there; the UI has them."""
    logger = logging.getLogger("dagster")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)

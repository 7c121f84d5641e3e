"""`magpie run` on Dagster: materialises layer by layer in this process, into the instance that the UI shows.

Belongs here: which runs, over which partitions, in which order, and telling how far they are. Does not belong here:
what an asset does.

Layers, because one run cannot mix assets of different partitionings: archive files, days, campaigns, campaign x day,
answers of models to those, marts.
"""

import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from assets.partitions import day_range, last_partition, lead_range, span_of
from dbt_project.prepare import prepare
from definitions import build_definitions
from magpie.control import Control
from magpie.errors import UserError
from magpie.leads.archives import landing_of
from magpie.llm.money import shown
from magpie.llm.progress import TaskState
from magpie.running import Progress, RunOutcome, RunRequest
from magpie.settings import Settings
from resources.llm import Llm
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, CAMPAIGN_WORDS, REDDIT_DAYS, REDDIT_LANDING
from schedules.spend import SPEND
from sensors.discovery import sync_campaigns

PRODUCTS = ("leads", "spend", "marts")
INSTANCE_FILE = "dagster.yaml"
# The project's own messages say it all; the class of any other error is half of what it tells.
OWN_ERROR = re.compile(r"^magpie\.[\w.]+: ")


class _Watch(logging.Handler):
    """Turns Dagster's events into progress; each materialised partition is one step."""

    def __init__(self, report: Callable[[Progress], None]) -> None:
        super().__init__()
        self.report = report
        self.total = self.done = 0
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is None:
            return
        if event.is_step_start:
            self.report(Progress(event.step_key, self.done, self.total))
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
        self.report(Progress(f"{state.message}{cost}", self.done, self.total))


class DagsterRunner:
    """Runs in this process; the daemon is not needed."""

    def run(self, settings: Settings, request: RunRequest, report: Callable[[Progress], None]) -> RunOutcome:
        if request.product is not None and request.product not in PRODUCTS:
            raise UserError(f"no product {request.product!r}; products: {', '.join(PRODUCTS)}")
        prepare_instance(settings)
        with dg.DagsterInstance.get() as instance:
            watch = _Watch(report)
            failures: list[str] = []
            first = last = None
            if request.product in (None, "leads"):
                first, last, failures = self._leads(settings, request, instance, watch)
            if not failures and request.product in (None, "leads", "spend"):
                failures = self._spend(settings, instance, watch)
            if not failures and request.product in (None, "marts"):
                failures = self._marts(settings, instance, watch)
        return RunOutcome(first, last, tuple(failures), tuple(watch.warnings))

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

    def _leads(
        self, settings: Settings, request: RunRequest, instance: dg.DagsterInstance, watch: _Watch
    ) -> tuple[date | None, date | None, list[str]]:
        asked = request.campaigns or tuple(campaign.id for campaign in settings.active_campaigns())
        campaigns = tuple(dict.fromkeys(asked))
        for campaign in campaigns:
            settings.campaign(campaign)
        sync_campaigns(instance, settings)
        llm = Llm(settings, Control(settings.control_database), watch=watch.task, retry_failed=request.retry_failed)
        defs = _with_progress(build_definitions(settings, llm=llm), watch)
        watch.total = len(REDDIT_LANDING) + len(CAMPAIGN_WORDS) * len(campaigns)
        failures = _execute(defs, "reddit_landing", instance)
        if failures:
            return None, None, failures
        first, last = _days(settings, request)
        days = (last - first).days + 1
        per_campaign = len(CAMPAIGN_DAYS) + len(CAMPAIGN_ANSWERS)
        watch.total += days * (len(REDDIT_DAYS) + per_campaign * len(campaigns))
        failures = _execute(defs, "reddit_days", instance, tags=day_range(first, last))
        for campaign in campaigns if not failures else ():
            failures += _execute(defs, "campaign_words", instance, partition_key=campaign)
            span = lead_range(campaign, first, last)
            made = _execute(defs, "campaign_days", instance, tags=span)
            failures += made or _execute(defs, "campaign_answers", instance, tags=span)
        return first, last, failures

    def _spend(self, settings: Settings, instance: dg.DagsterInstance, watch: _Watch) -> list[str]:
        """Copy today's books and what people said, so that SQL sees them."""
        today = datetime.now(UTC).date()
        if today < settings.start_day:
            return []
        watch.total += len(SPEND)
        return _execute(
            _with_progress(build_definitions(settings), watch), "spend", instance, tags=day_range(today, today)
        )

    def _marts(self, settings: Settings, instance: dg.DagsterInstance, watch: _Watch) -> list[str]:
        # Importing dbt costs seconds, so it waits until it is needed.
        from dbt_project.assets import build_marts

        watch.total += 1
        watch.report(Progress("marts", watch.done, watch.total))
        try:
            failures = failure_lines(build_marts(settings, instance))
        except dg.Failure as failure:
            failures = [f"marts: {failure.description}"]
        watch.done += 1
        watch.report(Progress("marts", watch.done, watch.total))
        return failures


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
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"cannot write in {home}: {error.strerror}; name another home with MAGPIE_HOME") from None
    os.environ["DAGSTER_HOME"] = str(home)


def _days(settings: Settings, request: RunRequest) -> tuple[date, date]:
    """The range asked for, else all days of the archives; within the partitions there are."""
    yesterday = last_partition(datetime.now(UTC))
    landed = span_of(landing_of(settings).days(), settings.start_day, yesterday)
    if landed is None:
        if request.first is None:
            raise UserError(
                f"the archives hold no post between start_day {settings.start_day} and yesterday; "
                "correct start_day or reddit.archives in magpie.yaml"
            )
        landed = request.first, request.first
    first, last = request.first or landed[0], request.last or landed[1]
    if not settings.start_day <= first <= last <= yesterday:
        raise UserError(
            f"--from {first} --to {last} must be in order and lie between start_day {settings.start_day} "
            f"and yesterday, {yesterday}"
        )
    return first, last


def _with_progress(defs: dg.Definitions, watch: _Watch) -> dg.Definitions:
    def make(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("magpie.progress", logging.DEBUG)
        logger.addHandler(watch)
        return logger

    return dg.Definitions.merge(defs, dg.Definitions(loggers={"progress": dg.LoggerDefinition(make)}))


def _execute(defs: dg.Definitions, job: str, instance: dg.DagsterInstance, **more: Any) -> list[str]:
    with _quiet():
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance, raise_on_error=False, run_config={"loggers": {"progress": {}}}, **more
        )
    return failure_lines(result)


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
def _quiet() -> Iterator[None]:
    """Keep Dagster's own lines off the terminal while a progress display is there; the UI has them."""
    logger = logging.getLogger("dagster")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)

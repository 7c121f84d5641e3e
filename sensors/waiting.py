"""Sensors that make pending partitions again when their time has come, and that watch caps, quotas and failures.

Belongs here: from what waits to run requests, one way for all products. Does not belong here: which of them are due
(`magpie/llm/backlog.py`), the sums (`magpie/llm/spend.py`). They read the control database, never the network.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from magpie.control import Control, Pending
from magpie.engine import limits_of
from magpie.functions import FUNCTIONS
from magpie.llm import backlog, breaker, history, spend
from magpie.llm.backlog import Budget, Choice
from magpie.llm.money import shown
from magpie.llm.purpose import ALL
from magpie.llm.store import Store
from magpie.settings import Settings
from resources.llm import Llm
from sensors.targets import TARGETS, Target, busy, made_again, present

# So much of a bound used is reported once, and all of it once more.
LEVELS = (80, 100)
# Errors that say that a database or a store is away: the project's own, SQLAlchemy's, Dagster's.
AWAY = {"Unavailable", "LedgerUnavailable", "OperationalError", "DagsterPostgresException"}
# As the client of buckets puts it, whatever class its error then has.
STORE_AWAY = "Generic S3 error"
# The share of a bound that is used, None without such a bound, and the same in words.
Used = tuple[float | None, str]


def build_sensors(
    settings: Settings, jobs: Mapping[str, Any], targets: Mapping[str, Target] = TARGETS
) -> list[dg.SensorDefinition]:
    """Return the sensors.

    Args:
        jobs: by name, those that the targets name.
        targets: by table, upstream first.
    """
    asked = [jobs[name] for name in dict.fromkeys(target.job for target in targets.values())]
    watch = _Waiting(settings, targets)
    return [
        _daily_cost_cap(watch, asked),
        _quota(watch, asked),
        _backlog(watch, asked),
        _circuit_breaker(targets, asked),
    ]


@dataclass(frozen=True)
class _Seen:
    """What a sensor of a bound remembers of the day.

    Attributes:
        told: the level that was last reported, by scope.
        caps: nano-USD by scope and window.
        raised: since when a scope has a larger cap.
    """

    day: str
    told: Mapping[str, int]
    caps: Mapping[str, int]
    raised: Mapping[str, datetime]

    @classmethod
    def read(cls, text: str | None, day: str) -> Self:
        """Of another day only the caps are still of use."""
        raw = json.loads(text or "{}")
        today = raw if raw.get("day") == day else {}
        raised = {scope: datetime.fromisoformat(at) for scope, at in today.get("raised", {}).items()}
        return cls(day, today.get("told", {}), raw.get("caps", {}), raised)

    def with_caps(self, caps: Mapping[str, int], now: datetime) -> Self:
        """Note the caps in force; of a scope whose cap was raised, levels are reported anew."""
        scopes = {name.partition(" ")[0] for name in backlog.raised(self.caps, caps)}
        told = {scope: level for scope, level in self.told.items() if scope not in scopes}
        return replace(self, told=told, caps=dict(caps), raised={**self.raised, **dict.fromkeys(scopes, now)})

    def dump(self) -> str:
        return json.dumps(vars(self), default=str, sort_keys=True)


class _Waiting:
    """What the three sensors share: due partitions as run requests."""

    def __init__(self, settings: Settings, targets: Mapping[str, Target]) -> None:
        self.targets = targets
        self.limits = limits_of(settings)

    def requests(
        self,
        context: dg.SensorEvaluationContext,
        control: Control,
        owned: Collection[str] | None,
        now: datetime,
        raised_at: Mapping[str, datetime] = MappingProxyType({}),
    ) -> tuple[list[dg.RunRequest], Choice]:
        store, pending = Store(control), control.pending()
        stopped = {item.scope for item in store.read(breaker.open_breakers) if item.until is None or now < item.until}
        dimensions = {target.dimension for target in self.targets.values()}
        there = {name: present(context.instance, name) for name in dimensions}
        known = [
            item
            for item in pending
            if item.table in self.targets
            and f"function:{self.targets[item.table].function}" not in stopped
            and item.partition.partition("|")[0] in there[self.targets[item.table].dimension]
        ]
        known = backlog.released(known, self._scopes, raised_at)
        budgets = self._budgets(store, known, now)
        choice = backlog.choose(known, list(self.targets), owned, now, budgets, busy(context.instance))
        store.close()
        return [self._request(due, now) for due in choice.due], choice

    def uses(self, control: Control, now: datetime) -> list[spend.Use]:
        return spend.today(Store(control), self.limits, now)

    def _request(self, due: backlog.Due, now: datetime) -> dg.RunRequest:
        target = self.targets[due.table]
        # The hour is in the key: a run that failed before it changed anything is asked for again.
        key = f"{due.table}|{due.partition}|{due.since:%Y%m%dT%H%M%S}|{now:%Y%m%dT%H}"
        return dg.RunRequest(
            run_key=key,
            job_name=target.job,
            partition_key=target.partition_key(due.partition),
            asset_selection=[dg.AssetKey(name) for name in target.assets],
            tags=made_again(due.table, due.partition),
        )

    def _budgets(self, store: Store, pending: list[Any], now: datetime) -> dict[tuple[str, str], Budget]:
        uses = {use.scope: use for use in spend.today(store, self.limits, now) if use.window.startswith("D")}
        per_row = {
            name: store.read(partial(history.likely_cost, function=target.function))
            for name, target in self.targets.items()
            if target.function is not None
        }
        found = {}
        for item in (item for item in pending if item.table in per_row):
            rooms = [
                (uses[scope].left_nano, scope)
                for scope in self._scopes(item)
                if scope in uses and uses[scope].left_nano is not None
            ]
            left, bound = min(rooms, default=(None, ALL), key=lambda pair: pair[0] or 0)
            found[item.table, item.partition] = Budget(left, per_row[item.table], bound)
        return found

    def _scopes(self, item: Pending) -> tuple[str, ...]:
        return (ALL, *self.targets[item.table].scopes(item.partition))


def _daily_cost_cap(watch: _Waiting, jobs: list[Any]) -> dg.SensorDefinition:
    def of_money(use: spend.Use) -> Used:
        return use.money_share, f"{shown(use.spent_nano)} of {shown(use.cap_nano or 0)}"

    told = (
        "Report 80 % and 100 % of each cap once; when its day is over or it is raised, ask for what waited for money."
    )
    return _bound("daily_cost_cap", told, watch, jobs, of_money, backlog.CAP_REASONS)


def _quota(watch: _Waiting, jobs: list[Any]) -> dg.SensorDefinition:
    def of_calls(use: spend.Use) -> Used:
        return use.calls_share, f"{use.calls} of {use.cap_calls} calls"

    told = "Report 80 % and 100 % of each counted quota once; after its reset, ask for what waited for it."
    return _bound("quota", told, watch, jobs, of_calls, backlog.QUOTA_REASONS)


def _bound(
    name: str,
    description: str,
    watch: _Waiting,
    jobs: list[Any],
    used: Callable[[spend.Use], Used],
    reasons: Collection[str],
) -> dg.SensorDefinition:
    @dg.sensor(name=name, description=description, jobs=jobs, minimum_interval_seconds=60)
    def bound(
        context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control], llm: dg.ResourceParam[Llm]
    ) -> dg.SensorResult | dg.SkipReason:
        now = llm.clock()
        uses = watch.uses(control, now)
        found = {use.scope: used(use) for use in uses if use.window.startswith("D")}
        shares = {scope: (share, text) for scope, (share, text) in found.items() if share is not None}
        caps = {f"{use.scope} {use.window[0]}": use.cap_nano for use in uses if use.cap_nano is not None}
        seen = _Seen.read(context.cursor, f"{now:%Y-%m-%d}").with_caps(caps, now)
        return _report_and_ask(context, watch, control, shares, reasons, seen, now)

    return bound


def _backlog(watch: _Waiting, jobs: list[Any]) -> dg.SensorDefinition:
    @dg.sensor(name="backlog", jobs=jobs, minimum_interval_seconds=300)
    def backlog_(
        context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control], llm: dg.ResourceParam[Llm]
    ) -> dg.SensorResult | dg.SkipReason:
        """End the calls of dead processes, then ask for the newest partitions whose rows may be tried again."""
        llm.engine.sweep()
        requests, choice = watch.requests(context, control, None, llm.clock())
        if not requests:
            return dg.SkipReason(f"{choice.explanation}; looking again in five minutes")
        return dg.SensorResult(run_requests=requests, cursor=requests[0].run_key)

    return backlog_


def _circuit_breaker(targets: Mapping[str, Target], jobs: list[Any]) -> dg.SensorDefinition:
    functions = {
        step: target.function
        for table, target in targets.items()
        if target.function is not None
        for step in ((table, *target.assets[:1]) if target.step is None else (target.step,))
    }

    @dg.run_failure_sensor(name="circuit_breaker", monitored_jobs=jobs, minimum_interval_seconds=60)
    def circuit_breaker(
        context: dg.RunFailureSensorContext, control: dg.ResourceParam[Control], llm: dg.ResourceParam[Llm]
    ) -> Iterator[dg.SkipReason]:
        """Count failed runs of a function; too many within the hour stop it, and what asks for it, for a while."""
        now = llm.clock()
        steps = [event for event in context.get_step_failure_events() if event.step_key in functions]
        failed = {functions[str(event.step_key)] for event in steps if not was_away(event.step_failure_data.error)}
        store = Store(control)
        for function in sorted(failed):
            scope, run_id = f"function:{function}", context.dagster_run.run_id
            trip = FUNCTIONS[function].trip if function in FUNCTIONS.names() else breaker.TRIP
            record = partial(breaker.record_failed_run, scope=scope, run_id=run_id, now=now, error_class="run_failed")
            if store.write(partial(record, trip=trip)):
                pause = f"for {trip.pause.total_seconds() / 60:.0f} minutes" if trip.pause else "until somebody looks"
                context.log.warning(f"{scope} is stopped {pause}; `magpie breaker reset {scope}` lets it go on")
        store.close()
        yield dg.SkipReason(f"noted for {', '.join(sorted(failed)) or 'no function that calls a model'}")

    return circuit_breaker


def was_away(error: SerializableErrorInfo | None) -> bool:
    """Whether a step failed because a store or a database could not be reached: no failure of what it does."""
    while error is not None:
        if error.cls_name in AWAY or STORE_AWAY in error.message:
            return True
        error = error.cause or error.context
    return False


def _report_and_ask(
    context: dg.SensorEvaluationContext,
    watch: _Waiting,
    control: Control,
    uses: Mapping[str, tuple[float, str]],
    reasons: Collection[str],
    seen: _Seen,
    now: datetime,
) -> dg.SensorResult | dg.SkipReason:
    """Tell of levels that are newly reached; ask for partitions whose window is over or whose bound was raised."""
    told = dict(seen.told)
    for scope, (share, text) in sorted(uses.items()):
        level = max((level for level in LEVELS if share * 100 >= level), default=0)
        if level > told.get(scope, 0):
            context.log.warning(f"{scope} has used {share:.0%} of its bound for {seen.day}: {text}")
            told[scope] = level
    requests, choice = watch.requests(context, control, reasons, now, seen.raised)
    cursor = replace(seen, told=told).dump()
    full = [scope for scope, level in sorted(told.items()) if level == LEVELS[-1]]
    note = f"; at its bound until midnight UTC: {', '.join(full)}" if full else ""
    skip = None if requests else f"{choice.explanation}{note}; looking again in a minute"
    return dg.SensorResult(run_requests=requests, cursor=cursor, skip_reason=skip)

"""What the books, the lake and the orchestrator say of this installation, in the terms of Prometheus.

Belongs here: which figures there are, and reading them. Does not belong here: serving them (`cli/metrics.py`), judging
them (`magpie/alerts.py`, or the rules of whoever scrapes).

Counters grow from the first call on; gauges are of the moment of the scrape. Labels hold names of the settings and of
code, never text from outside.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from magpie.catalog import TABLES
from magpie.control import Control
from magpie.engine import limits_of
from magpie.errors import UserError
from magpie.functions import FUNCTIONS
from magpie.lake import Lake
from magpie.llm import spend
from magpie.llm.breaker import open_breakers
from magpie.llm.money import NANO_PER_USD
from magpie.llm.schema import llm_call
from magpie.llm.store import Store
from magpie.settings import Settings

logger = logging.getLogger(__name__)

# Opening all tables of a lake takes a second or so; scrapes come every 15 s by custom, and several may scrape.
CACHE_SECONDS = 30.0
RECENT: Final = timedelta(days=1)
# What is counted as grown must not shrink: a call that may still change its state or its cost is not among these.
ENDED = ("settled", "voided", "lost")
WINDOWS = {"D": "day", "M": "month"}

FailedRuns = Callable[[datetime], Mapping[str, int]]


class Figures(Collector):
    """Reads everything at a scrape, at most once in `CACHE_SECONDS`.

    What cannot be read is missing, and `magpie_part_up` of its part is 0.

    Args:
        failed_runs: failed runs by job since a moment; it may raise UserError.
        clock: UTC now.
        monotonic: seconds of a clock that is never set back.
    """

    def __init__(
        self,
        settings: Settings,
        control: Control,
        lake: Lake,
        failed_runs: FailedRuns,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._settings, self._control, self._lake = settings, control, lake
        self._failed_runs, self._clock, self._monotonic = failed_runs, clock, monotonic
        self._lock = threading.Lock()
        self._held: list[Metric] = []
        self._until = float("-inf")

    def describe(self) -> list[Metric]:
        """Nothing: otherwise registering would read everything once."""
        return []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if self._monotonic() >= self._until:
                self._held = self._read()
                self._until = self._monotonic() + CACHE_SECONDS
            held = self._held
        yield from held

    def _read(self) -> list[Metric]:
        now = self._clock()
        parts: dict[str, Callable[[], list[Metric]]] = {
            "books": lambda: books(Store(self._control), self._settings, now),
            "pending": lambda: [pending(self._control)],
            "lake": lambda: [lag(self._lake, now.date())],
            "runs": lambda: [failures(self._failed_runs(now - RECENT))],
        }
        up = GaugeMetricFamily("magpie_part_up", "Whether this part could be read at the scrape.", labels=["part"])
        found: list[Metric] = []
        for part, read in parts.items():
            try:
                found += read()
                up.add_metric([part], 1)
            except UserError as error:
                logger.warning("no figures of %s: %s", part, error)
                up.add_metric([part], 0)
        return [*found, up]


def books(store: Store, settings: Settings, now: datetime) -> list[Metric]:
    """Calls, money, bounds and breakers.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    try:
        return [*_calls(store), *_bounds(store, settings, now), _breakers(store)]
    finally:
        store.close()


def _calls(store: Store) -> list[Metric]:
    names = ["product", "function", "provider", "model"]
    calls = CounterMetricFamily("magpie_llm_calls", "Calls of models that have ended.", labels=names)
    failed = CounterMetricFamily(
        "magpie_llm_failed_calls", "Those among them that failed, by class.", labels=[*names, "error"]
    )
    hits = CounterMetricFamily("magpie_llm_journal_hits", "Answers given from the journal.", labels=names)
    cost = CounterMetricFamily("magpie_llm_cost_usd", "What ended calls have cost, in USD.", labels=names)
    open_ = GaugeMetricFamily("magpie_llm_open_calls", "Calls under way or cut off, by state.", labels=["state"])
    column = llm_call.c
    by = (column.product, column.function, column.provider, column.model_asked)
    more = (column.kind, column.state, column.error_class)
    counted = (sa.func.count().label("n"), sa.func.sum(column.cost_nano).label("cost"))
    rows = store.read(lambda c: c.execute(sa.select(*by, *more, *counted).group_by(*by, *more)).all())
    ended, errors, given, paid = (Counter[tuple[str, ...]]() for _ in range(4))
    under_way: Counter[str] = Counter(dict.fromkeys(spend.UNFINISHED, 0))
    for row in rows:
        labels = (row.product, row.function, row.provider, row.model_asked)
        if row.kind == "hit":
            given[labels] += row.n
        elif row.state in ENDED:
            ended[labels] += row.n
            paid[labels] += int(row.cost)
            errors.update({(*labels, row.error_class): row.n} if row.error_class else {})
        else:
            under_way[row.state] += row.n
    _add(calls, ended)
    _add(failed, errors)
    _add(hits, given)
    _add(cost, {labels: nano / NANO_PER_USD for labels, nano in paid.items()})
    _add(open_, {(state,): n for state, n in under_way.items()})
    return [calls, failed, hits, cost, open_]


def _add(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[tuple[str, ...], float]) -> None:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)


def _bounds(store: Store, settings: Settings, now: datetime) -> list[Metric]:
    labels = ["scope", "window"]

    def gauge(name: str, help_: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"magpie_{name}", help_, labels=labels)

    spent = gauge("spent_usd", "Spent in this UTC day or month, in USD.")
    held = gauge("reserved_usd", "Held for calls under way, in USD.")
    cap = gauge("cap_usd", "The cap of this scope, in USD.")
    left = gauge("left_usd", "What may still be spent under the cap, in USD.")
    used = gauge("bound_calls_used", "Calls made in this UTC day or month.")
    most = gauge("bound_calls", "Calls allowed in this UTC day or month.")
    for use in spend.today(store, limits_of(settings), now):
        key = [use.scope, WINDOWS[use.window[0]]]
        spent.add_metric(key, use.spent_nano / NANO_PER_USD)
        held.add_metric(key, use.reserved_nano / NANO_PER_USD)
        used.add_metric(key, use.calls)
        if use.cap_nano is not None and use.left_nano is not None:
            cap.add_metric(key, use.cap_nano / NANO_PER_USD)
            left.add_metric(key, use.left_nano / NANO_PER_USD)
        if use.cap_calls is not None:
            most.add_metric(key, use.cap_calls)
    return [spent, held, cap, left, used, most]


def _breakers(store: Store) -> Metric:
    stopped = {item.scope for item in store.read(open_breakers)}
    # Those of all functions are there with 0 as well, so that a rule on them has something to look at.
    known = stopped | {f"function:{name}" for name in FUNCTIONS.names()}
    found = GaugeMetricFamily("magpie_breaker_open", "1: calls of this scope are stopped.", labels=["scope"])
    _add(found, {(scope,): int(scope in stopped) for scope in known})
    return found


def pending(control: Control) -> Metric:
    """Rows that wait, by table and reason.

    Raises:
        UserError: the control database cannot be read.
    """
    rows: Counter[tuple[str, ...]] = Counter()
    for item in control.pending():
        rows[item.table, item.reason] += item.rows
    found = GaugeMetricFamily("magpie_pending_rows", "Rows that wait to be made again.", labels=["table", "reason"])
    _add(found, rows)
    return found


def lag(lake: Lake, today: date) -> Metric:
    """How many days ago the newest day with rows was, by table; tables without rows are missing.

    Raises:
        UserError: the lake cannot be read.
    """
    found = GaugeMetricFamily(
        "magpie_partition_lag_days", "UTC days between today and the newest day that holds rows.", labels=["table"]
    )
    for table in (table for table in TABLES.values() if "day" in table.dimensions):
        days = [row[table.dimensions["day"]] for row in lake.present(table)]
        if days:
            # Queues and drafts of the day to come are no lead.
            found.add_metric([table.name], max(0, (today - max(days)).days))
    return found


def failures(by_job: Mapping[str, int]) -> Metric:
    """Failed runs of the last day, by job."""
    found = GaugeMetricFamily("magpie_failed_runs", "Runs that failed within the last 24 hours.", labels=["job"])
    _add(found, {(job,): count for job, count in by_job.items()})
    return found

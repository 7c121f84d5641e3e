"""The ledger and the task log as frames for the lake, day by day, and the caps as rows.

Belongs here: which column of the control database becomes which column of a table. Does not belong here: the tables
(`tables.py`), summing up (`spend.py`), and who writes them (the assets of the same names).

Answers of the offline rules are no calls: they are not in the ledger, and so not here.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import sqlalchemy as sa

from magpie.llm import schema
from magpie.llm.money import to_usd
from magpie.llm.purpose import ALL, Limits
from magpie.llm.store import Store
from magpie.llm.tables import LLM_CALLS, SPEND_CAPS, TASK_LOG
from magpie.tables import Table

# Columns that the lake calls by another name; all others have the same in both.
_RENAMED = {"call_id": "id", "attempt_no": "attempt", "reask_no": "reask"}
_MONEY = {"est_usd": "est_nano", "cost_usd": "cost_nano", "saved_usd": "saved_nano"}
_MILLISECOND = timedelta(milliseconds=1)

# The rows of a query, column by column.
Columns = Mapping[str, Sequence[Any]]
Maker = Callable[[Columns], Sequence[Any]]


def llm_calls(store: Store, days: Iterable[date]) -> pl.DataFrame:
    """Return the ledger's rows of these UTC days in the columns of `LLM_CALLS`.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    return _copied(store, schema.llm_call, LLM_CALLS, days, _CALL_MAKERS)


def task_log(store: Store, days: Iterable[date]) -> pl.DataFrame:
    """Return the tasks that finished on these UTC days in the columns of `TASK_LOG`.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    return _copied(store, schema.task_log, TASK_LOG, days, _TASK_MAKERS)


def spend_caps(limits: Limits, days: Iterable[date], known: pl.DataFrame, today: date) -> pl.DataFrame:
    """Return the caps of these days in the columns of `SPEND_CAPS`.

    What is known of a day that is over stays: the settings of today say nothing about the caps of back then. A day
    of which nothing is known gets the caps of now.

    Args:
        known: the rows of these days that were written before.
    """
    kept = known.filter(pl.col("day") < today)
    fresh = sorted(set(days) - set(kept["day"]))
    rows = [row for day in fresh for row in _caps_of(limits, day)]
    return pl.concat([kept, pl.DataFrame(rows, schema=SPEND_CAPS.dtypes, orient="row")])


def _caps_of(limits: Limits, day: date) -> list[tuple[date, str, str, Decimal | None, int | None]]:
    """The tightest bound of each scope and window; all of them hold, so that is the one that is met first."""
    found: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for scope, bounds in limits.by_scope.items():
        for bound in bounds:
            money, calls = found.setdefault((scope, bound.per), ([], []))
            money += [] if bound.usd_nano is None else [bound.usd_nano]
            calls += [] if bound.calls is None else [bound.calls]
    return [
        (day, scope, per, to_usd(min(money)) if money else None, min(calls, default=None))
        for (scope, per), (money, calls) in sorted(found.items())
    ]


def _copied(
    store: Store, source: sa.Table, table: Table, days: Iterable[date], makers: Mapping[str, Maker]
) -> pl.DataFrame:
    """One day after the other, so that a year is never held as Python objects."""
    frames = [table.empty()]
    for day in sorted(set(days)):
        query = sa.select(source).where(source.c.day == day.isoformat())
        rows = store.read(lambda connection, query=query: connection.execute(query).all())  # type: ignore[misc]
        if rows:
            columns = dict(zip(source.c.keys(), zip(*rows, strict=True), strict=True))
            made = [pl.Series(name, makers[name](columns), dtype=dtype) for name, dtype in table.dtypes.items()]
            frames.append(pl.DataFrame(made))
    return pl.concat(frames).sort(table.sort_by)


def _same(name: str) -> Maker:
    return lambda columns: columns[name]


def _money(name: str) -> Maker:
    return lambda columns: [to_usd(nano) for nano in columns[name]]


def _day(columns: Columns) -> Sequence[date]:
    return [date.fromisoformat(day) for day in columns["day"]]


def _latency(columns: Columns) -> Sequence[int | None]:
    moments = zip(columns["sent_at"], columns["settled_at"], strict=True)
    return [None if sent is None or settled is None else (settled - sent) // _MILLISECOND for sent, settled in moments]


def _scopes(columns: Columns) -> Sequence[list[str]]:
    """As they were booked; of a row for which nothing was booked, those that follow from its columns."""
    names = ("scopes", "product", "provider", "model_asked", "asset")
    return [
        booked["scopes"] or _plain_scopes(product, provider, model, asset)
        for booked, product, provider, model, asset in zip(*(columns[name] for name in names), strict=True)
    ]


def _plain_scopes(product: str, provider: str, model: str, asset: str | None) -> list[str]:
    found = {ALL, f"product:{product}", f"provider:{provider}", f"model:{provider}/{model}"}
    return sorted(found | ({f"asset:{asset}"} if asset else set()))


_CALL_MAKERS: dict[str, Maker] = {
    **{name: _same(_RENAMED.get(name, name)) for name in LLM_CALLS.dtypes},
    **{name: _money(source) for name, source in _MONEY.items()},
    "day": _day,
    "scope_names": _scopes,
    "latency_ms": _latency,
}
_TASK_MAKERS: dict[str, Maker] = {
    **{name: _same(name) for name in TASK_LOG.dtypes},
    "day": _day,
    "status": _same("status"),
    "cost_usd": _money("cost_nano"),
    "summary": lambda columns: [json.dumps(summary, sort_keys=True) for summary in columns["summary"]],
}

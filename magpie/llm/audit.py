"""What may be wrong with the books although every change of them was right by itself.

Belongs here: one function per finding, over the ledger as it stands. Does not belong here: changing the books
(`ledger.py`, `sweep.py`), and who is told (asset checks, the doctor).
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from magpie.llm.breaker import OPEN_STATES
from magpie.llm.models import Models
from magpie.llm.money import NANO_PER_USD, to_usd
from magpie.llm.schema import llm_call, spend_window
from magpie.llm.store import Store
from magpie.quality import SHOWN, Finding

# States in which a call's cost counts as spent.
CHARGED = ("settled", "unknown", "lost")
# Long enough to choose another model, and to see on labelled rows that it is no worse.
ENDING_WITHIN_DAYS = 60

DESCRIPTIONS = {
    "books_balance": "What is spent and reserved in each scope and window is the sum of its calls.",
    "within_caps": "No scope has spent and reserved more than its cap.",
    "reservations_in_time": "No call is open beyond its lease.",
    "all_priced": "Every paid call has a price.",
    "models_last": "No model in use ends within 60 days.",
}

_call, _window = llm_call.c, spend_window.c
# (scope, window) -> spent, reserved.
Sums = dict[tuple[str, str], tuple[int, int]]


def books_balance(store: Store) -> Finding:
    """Windows whose sums are not those of their calls.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    windows, calls = _both_sums(store)
    wrong = [
        {
            "scope": scope,
            "window": window,
            "spent": _usd(windows.get((scope, window), (0, 0))[0]),
            "spent by its calls": _usd(calls.get((scope, window), (0, 0))[0]),
            "reserved": _usd(windows.get((scope, window), (0, 0))[1]),
            "reserved by its calls": _usd(calls.get((scope, window), (0, 0))[1]),
        }
        for scope, window in sorted(windows.keys() | calls.keys())
        if windows.get((scope, window), (0, 0)) != calls.get((scope, window), (0, 0))
    ]
    return _finding(
        wrong, "the books balance", "{n} windows do not equal the sum of their calls; the ledger was edited"
    )


def within_caps(store: Store, caps: pl.DataFrame) -> Finding:
    """Scopes that have used more than their cap.

    Args:
        caps: rows of `spend_caps`; a window of several days, such as a month, is held against the cap of the last.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    bounds: dict[tuple[str, str], int] = {}
    priced = caps.filter(pl.col("cap_usd").is_not_null() & pl.col("per").is_in(["D", "M"])).sort("day")
    for row in priced.iter_rows(named=True):
        window = f"D{row['day']}" if row["per"] == "D" else f"M{row['day']:%Y-%m}"
        bounds[row["scope"], window] = int(row["cap_usd"] * NANO_PER_USD)
    chosen = _window.window.in_(sorted({window for _, window in bounds}))
    rows = store.read(lambda c: c.execute(sa.select(spend_window).where(chosen)).all())
    over = [
        {
            "scope": row.scope,
            "window": row.window,
            "spent": _usd(row.spent),
            "reserved": _usd(row.reserved),
            "cap": _usd(bounds[row.scope, row.window]),
        }
        for row in sorted(rows, key=lambda row: (row.window, row.scope))
        if row.spent + row.reserved > bounds.get((row.scope, row.window), row.spent + row.reserved)
    ]
    return _finding(
        over,
        "no cap is exceeded",
        "{n} caps are exceeded: they were lowered after the money was spent, or calls cost more than their estimate "
        "(`FROM llm_calls WHERE over_estimate`)",
    )


def reservations_in_time(store: Store, now: datetime) -> Finding:
    """Open calls beyond their lease: their process ended.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    columns = (_call.id, _call.state, _call.function, _call.est_nano, _call.lease_until)
    query = sa.select(*columns).where(_call.state.in_(OPEN_STATES), _call.lease_until < now).order_by(_call.lease_until)
    late = [
        {
            "call": row.id,
            "state": row.state,
            "function": row.function,
            "reserved": _usd(row.est_nano),
            "lease until": f"{row.lease_until:%Y-%m-%d %H:%M:%S}",
        }
        for row in store.read(lambda c: c.execute(query).all())
    ]
    return _finding(late, "no call is open beyond its lease", "{n} dead calls hold money; run `magpie spend sweep`")


def all_priced(store: Store, days: Collection[date]) -> Finding:
    """Calls of these UTC days that were answered and booked at nothing though they had a price.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    first, last = (min(days).isoformat(), max(days).isoformat()) if days else ("", "")
    tokens = sa.func.coalesce(_call.tokens_in, 0) + sa.func.coalesce(_call.tokens_out, 0) + _call.images
    free_by_mistake = (_call.est_nano > 0) & (_call.cost_nano == 0) & (tokens > 0)
    query = (
        sa.select(_call.day, _call.provider, _call.model_asked, _call.price_version, sa.func.count().label("n"))
        .where(_call.kind == "call", _call.state == "settled", _call.day.between(first, last))
        .where(free_by_mistake | (_call.price_version == ""))
        .group_by(_call.day, _call.provider, _call.model_asked, _call.price_version)
        .order_by(_call.day, _call.provider, _call.model_asked)
    )
    unpriced = [
        {"day": row.day, "model": f"{row.provider}/{row.model_asked}", "price": row.price_version, "calls": row.n}
        for row in store.read(lambda c: c.execute(query).all())
    ]
    return _finding(unpriced, "every paid call has a price", "{n} models were called without a price; see prices.yaml")


def models_last(models: Models, in_use: Iterable[str], today: date) -> Finding:
    """Models in use whose last day is near, or over."""
    ending = [
        {
            "model": end.model.name,
            "used as": end.used_as,
            "last day": str(end.model.end_of_life),
            "days left": end.days_left,
            "successor": end.model.successor or "",
        }
        for end in models.ending(in_use, today, ENDING_WITHIN_DAYS)
    ]
    return _finding(
        ending, "no model in use ends soon", "{n} models in use end within 60 days; choose others under llm"
    )


def _both_sums(store: Store) -> tuple[Sums, Sums]:
    """What the windows say, and what their calls say, of one and the same state of the books.

    One statement sees one state, also where each statement of a transaction sees its own.
    """
    spent = sa.func.sum(sa.case((_call.state.in_(CHARGED), _call.cost_nano), else_=0))
    reserved = sa.func.sum(sa.case((_call.state.in_(OPEN_STATES), _call.est_nano), else_=0))
    scopes = sa.cast(_call.scopes, sa.Text)
    of_calls = sa.select(scopes, sa.literal(""), spent, reserved).where(_call.kind == "call").group_by(scopes)
    of_windows = sa.select(_window.scope, _window.window, _window.spent, _window.reserved)
    rows: Sequence[Any] = store.read(lambda c: c.execute(of_windows.union_all(of_calls)).all())
    windows: Sums = {(scope, window): (int(s), int(r)) for scope, window, s, r in rows if window}
    calls: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for held, window, s, r in rows:
        if not window:
            for pair in _pairs(json.loads(held), windows):
                calls[pair][0] += int(s)
                calls[pair][1] += int(r)
    return windows, {pair: (s, r) for pair, (s, r) in calls.items()}


def _pairs(held: dict[str, list[str]], windows: Sums) -> list[tuple[str, str]]:
    """What a call is counted for. Runs are counted only in the scopes that have a window of the run."""
    pairs = [(scope, window) for scope in held["scopes"] for window in held["windows"]]
    return [pair for pair in pairs if pair[1][0] != "R" or pair in windows]


def _finding(rows: list[dict[str, Any]], none: str, some: str) -> Finding:
    return Finding(rows[:SHOWN], some.format(n=len(rows)) if rows else none)


def _usd(nano: int) -> str:
    """With every nano-dollar: a difference may be as small."""
    return f"{to_usd(nano):f}"

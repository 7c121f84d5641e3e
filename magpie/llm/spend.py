"""What was spent, what is left, and what stands in the way: the books summed up for people.

Belongs here: reading the ledger's sums and states, and sums over its copy in the lake. Does not belong here: changing
the books (`ledger.py`, `breaker.py`), judging them (`audit.py`), printing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from magpie.llm.breaker import Open, open_breakers
from magpie.llm.money import shown
from magpie.llm.pacing import cooldowns
from magpie.llm.purpose import ALL, Limits, windows
from magpie.llm.schema import llm_call, spend_window
from magpie.llm.store import Store

if TYPE_CHECKING:
    from magpie.llm.gateway import Gateway

# A cap is announced when so much of it is used.
WARN_SHARE = 0.8
# Whole before part, and the user's own names before those of the machinery.
_KINDS = (ALL, "product", "campaign", "channel", "site", "blog", "provider", "tier", "model", "asset")

_window, _call = spend_window.c, llm_call.c
# States in which a process may have died; beyond the lease one has. As the sweep has it.
UNFINISHED = ("reserved", "sent", "unknown")


@dataclass(frozen=True)
class Use:
    """What one scope has used of one window.

    Attributes:
        window: as the ledger names it: D2026-11-20, M2026-11.
        cap_nano, cap_calls: the bounds that hold; None: no such bound.
    """

    scope: str
    window: str
    spent_nano: int
    reserved_nano: int
    calls: int
    cap_nano: int | None = None
    cap_calls: int | None = None

    @property
    def left_nano(self) -> int | None:
        """What may still be reserved; None without a cap."""
        return None if self.cap_nano is None else max(0, self.cap_nano - self.spent_nano - self.reserved_nano)

    @property
    def money_share(self) -> float | None:
        """The part of the cap that is spent or held; above 1 it is overspent. None without a cap."""
        return None if self.cap_nano is None else _share(self.spent_nano + self.reserved_nano, self.cap_nano)

    @property
    def calls_share(self) -> float | None:
        """The part of the allowed calls that is used; None where any number is."""
        return None if self.cap_calls is None else _share(self.calls, self.cap_calls)

    @property
    def share(self) -> float | None:
        """That of the bound which is met first; None without any."""
        return max((share for share in (self.money_share, self.calls_share) if share is not None), default=None)


@dataclass(frozen=True)
class DayUse:
    """What one scope has spent on one UTC day."""

    day: date
    scope: str
    spent_nano: int
    reserved_nano: int
    calls: int


@dataclass(frozen=True)
class Saved:
    """Answers given from the journal on one UTC day, and what they had cost when they were bought."""

    hits: int
    saved_nano: int


@dataclass(frozen=True)
class Cooling:
    """A scope that rests."""

    scope: str
    until: datetime
    reason: str
    detail: str


@dataclass(frozen=True)
class Obstacles:
    """What keeps calls from being made.

    Attributes:
        unknown, lost: calls that were cut off after sending: still open to reconciliation, and given up.
        cut_nano: what those are charged at.
        dead: calls whose process ended; a sweep brings them to an end.
    """

    breakers: tuple[Open, ...]
    cooling: tuple[Cooling, ...]
    unknown: int
    lost: int
    cut_nano: int
    dead: int


def today(store: Store, limits: Limits, now: datetime) -> list[Use]:
    """Return what each scope has used of this UTC day, and of this month where it has a monthly bound.

    Scopes with a cap on money are listed also if nothing was spent yet.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    names = windows(now, None)
    bounds = [(scope, limit) for scope, found in limits.by_scope.items() for limit in found if limit.per in names]
    capped = {(scope, names[limit.per]) for scope, limit in bounds if limit.usd_nano is not None}
    monthly = {(scope, names["M"]) for scope, limit in bounds if limit.per == "M"}
    chosen = _window.window.in_(sorted(names.values()))
    rows = store.read(lambda c: c.execute(sa.select(spend_window).where(chosen)).all())
    used = {(row.scope, row.window): (row.spent, row.reserved, row.calls) for row in rows}
    listed = {key for key in used if key[1] == names["D"] or key in monthly} | capped
    return [_use(limits, scope, window, used) for scope, window in sorted(listed, key=lambda key: _order(*key))]


def left_today(gateway: "Gateway") -> list[dict[str, str]]:
    """Return what a gateway may still spend, one row per bound: as text, for a table in a materialisation.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    return [
        {
            "scope": use.scope,
            "window": use.window[1:],
            "spent": shown(use.spent_nano),
            "reserved": shown(use.reserved_nano),
            "cap": "" if use.cap_nano is None else shown(use.cap_nano),
            "left": "" if use.left_nano is None else shown(use.left_nano),
            "calls": f"{use.calls:,}" if use.cap_calls is None else f"{use.calls:,} of {use.cap_calls:,}",
            "used": f"{use.share:.0%}",
        }
        for use in today(gateway.store, gateway.limits, gateway.clock())
        if use.share is not None
    ]


def since(store: Store, first: date) -> list[DayUse]:
    """Return what each scope has spent on each UTC day from `first` on, the latest day first.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    chosen = _window.window.like("D%") & (_window.window >= f"D{first}")
    rows = store.read(lambda c: c.execute(sa.select(spend_window).where(chosen)).all())
    found = [DayUse(date.fromisoformat(row.window[1:]), row.scope, row.spent, row.reserved, row.calls) for row in rows]
    return sorted(found, key=lambda use: (-use.day.toordinal(), _order(use.scope, "")))


def saved_since(store: Store, first: date) -> dict[date, Saved]:
    """Return what the journal has saved on each UTC day from `first` on; a day without a hit is missing.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    query = (
        sa.select(_call.day, sa.func.count().label("hits"), sa.func.sum(_call.saved_nano).label("saved"))
        .where(_call.kind == "hit", _call.day >= first.isoformat())
        .group_by(_call.day)
    )
    rows = store.read(lambda c: c.execute(query).all())
    return {date.fromisoformat(row.day): Saved(row.hits, int(row.saved)) for row in rows}


def obstacles(store: Store, now: datetime) -> Obstacles:
    """Return open breakers, cool-downs, cut calls, and calls that wait for a sweep.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    cut = (
        sa.select(_call.state, sa.func.count().label("n"), sa.func.sum(_call.cost_nano).label("charged"))
        .where(_call.state.in_(("unknown", "lost")))
        .group_by(_call.state)
    )
    expired = sa.select(sa.func.count()).where(_call.state.in_(UNFINISHED), _call.lease_until < now)

    def look(connection: sa.Connection) -> Obstacles:
        counted = {row.state: (row.n, int(row.charged)) for row in connection.execute(cut)}
        return Obstacles(
            tuple(open_breakers(connection)),
            tuple(Cooling(row.scope, row.until, row.reason, row.detail) for row in cooldowns(connection, now)),
            counted.get("unknown", (0, 0))[0],
            counted.get("lost", (0, 0))[0],
            sum(charged for _, charged in counted.values()),
            connection.execute(expired).scalar_one(),
        )

    return store.read(look)


def by_function(calls: pl.DataFrame) -> pl.DataFrame:
    """Sum up rows of `llm_calls` by product, function and model, the dearest first.

    Returns:
        product, function, model, calls (attempts that were sent), hits, tokens, spent_usd, saved_usd, failed.
    """
    sent = _sent()
    tokens = pl.col("tokens_in").fill_null(0) + pl.col("tokens_out").fill_null(0)
    return (
        calls.with_columns(pl.concat_str(["provider", "model_asked"], separator="/").alias("model"))
        .group_by("product", "function", "model")
        .agg(
            sent.sum().cast(pl.Int64).alias("calls"),
            (pl.col("kind") == "hit").sum().cast(pl.Int64).alias("hits"),
            tokens.sum().alias("tokens"),
            pl.col("cost_usd").sum().alias("spent_usd"),
            pl.col("saved_usd").sum().alias("saved_usd"),
            ((pl.col("kind") == "call") & pl.col("error_class").is_not_null()).sum().cast(pl.Int64).alias("failed"),
        )
        .sort("spent_usd", "product", "function", "model", descending=[True, False, False, False])
    )


def curve(calls: pl.DataFrame, day: date) -> list[tuple[int, Decimal]]:
    """Return how the money of one UTC day added up: whole hours since midnight (1 to 24), USD spent until then.

    Hours in which nothing was spent are missing.

    A call counts at the time it was reserved; its cost may have been settled later.
    """
    spent = (
        calls.filter((pl.col("day") == day) & (pl.col("cost_usd") > 0))
        .group_by(pl.col("created_at").dt.hour().cast(pl.Int64).alias("hour"))
        .agg(pl.col("cost_usd").sum())
        .sort("hour")
    )
    return list(zip(spent["hour"] + 1, accumulate(spent["cost_usd"]), strict=True))


def matching(scope: str, wanted: Iterable[str]) -> bool:
    """Whether a scope is one of those wanted; a kind (`campaign`) stands for all of it, nothing wanted for all."""
    names = list(wanted)
    return not names or any(scope == name or scope.startswith(f"{name}:") for name in names)


def _use(limits: Limits, scope: str, window: str, used: dict[tuple[str, str], tuple[int, int, int]]) -> Use:
    bounds = [limit for limit in limits.by_scope.get(scope, ()) if limit.per == window[0]]
    money = [limit.usd_nano for limit in bounds if limit.usd_nano is not None]
    calls = [limit.calls for limit in bounds if limit.calls is not None]
    spent, reserved, count = used.get((scope, window), (0, 0, 0))
    return Use(scope, window, spent, reserved, count, min(money, default=None), min(calls, default=None))


def _order(scope: str, window: str) -> tuple[int, str, str]:
    kind = scope.partition(":")[0]
    return (_KINDS.index(kind) if kind in _KINDS else len(_KINDS), scope, window)


def _share(used: int, bound: int) -> float:
    # A bound of nothing is reached from the beginning.
    return used / bound if bound else 1.0


def _sent() -> pl.Expr:
    """Attempts that went out; a void one did only if it has a time from sending to settling."""
    open_or_paid = pl.col("state").is_in(["sent", "settled", "unknown", "lost"])
    return (pl.col("kind") == "call") & (
        open_or_paid | ((pl.col("state") == "voided") & pl.col("latency_ms").is_not_null())
    )

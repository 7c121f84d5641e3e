"""What tests of the books share: a clock that is moved by hand, bookings, and the sums that must always agree.

Belongs here: helpers. Does not belong here: tests.
"""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from magpie.llm import ledger
from magpie.llm.ledger import Booking, Reserved, Settlement, Stored, Taken
from magpie.llm.money import to_nano
from magpie.llm.purpose import Limit, Limits, Purpose
from magpie.llm.refusal import Refused
from magpie.llm.schema import llm_call, llm_inflight, spend_window
from magpie.llm.store import Store

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """UTC now, moved by hand or by sleeping."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


class Books:
    """A ledger in use: books, sends and settles with little to say."""

    def __init__(self, store: Store, limits: Limits, clock: FakeClock | None = None) -> None:
        self.store, self.limits, self.clock = store, limits, clock or FakeClock()
        self._ids = itertools.count(1)

    def booking(self, est_nano: int, **changes: Any) -> Booking:
        number = next(self._ids)
        key = f"{number:064d}"
        purpose = Purpose("leads", "extract_lead", "lead_extractions", "a|2026-11-20", scopes=("campaign:a",))
        booking = Booking(f"{number:032d}", key, (key,), "openai", "small", "chat/completions", est_nano, "t1", purpose)
        return replace(booking, **changes)

    def reserve(self, est_nano: int, **changes: Any) -> Reserved | Taken | Refused:
        booking = self.booking(est_nano, **changes)
        return self.store.write(lambda c: ledger.reserve(c, booking, self.limits, self.clock()))

    def held(self, est_nano: int, **changes: Any) -> str:
        """Reserve what must be admitted; return the call's id."""
        found = self.reserve(est_nano, **changes)
        assert isinstance(found, Reserved), found
        return found.call_id

    def send(self, call_id: str) -> bool:
        return self.store.write(lambda c: ledger.mark_sent(c, call_id, self.clock(), 60))

    def settle(self, call_id: str, cost_nano: int) -> bool:
        answer = Stored(0, call_id * 2, {"status": 200, "headers": {}}, b"{}", cost_nano)
        outcome = Settlement(cost_nano, answers=(answer,))
        return self.store.write(lambda c: ledger.settle(c, call_id, outcome, self.clock()))

    def void(self, call_id: str, *, counts: bool = True) -> bool:
        return self.store.write(
            lambda c: ledger.void(c, call_id, self.clock(), counts=counts, error_class="x", error="x")
        )

    def cut(self, call_id: str) -> bool:
        return self.store.write(lambda c: ledger.leave_unknown(c, call_id, self.clock(), "cut", None))

    def lose(self, call_id: str) -> bool:
        return self.store.write(lambda c: ledger.lose(c, call_id, self.clock()))

    def window(self, scope: str, window: str = "D2026-11-20") -> tuple[int, int, int]:
        """Spent, reserved, calls."""
        chosen = (spend_window.c.scope == scope) & (spend_window.c.window == window)
        row = self.store.read(lambda c: c.execute(sa.select(spend_window).where(chosen)).first())
        return (row.spent, row.reserved, row.calls) if row else (0, 0, 0)

    def state(self, call_id: str) -> str:
        return self.store.read(
            lambda c: c.execute(sa.select(llm_call.c.state).where(llm_call.c.id == call_id)).scalar_one()
        )


def capped(usd: str, scope: str = "all", **more: Any) -> Limits:
    from decimal import Decimal

    return Limits({scope: (Limit("D", to_nano(Decimal(usd)), **more),)})


def assert_books_balance(store: Store) -> None:
    """Every window equals the sum of its calls, and no call that is at its end claims anything."""

    def look(connection: sa.Connection) -> None:
        windows = {(w.scope, w.window): (w.spent, w.reserved) for w in connection.execute(sa.select(spend_window))}
        sums: dict[tuple[str, str], list[int]] = {key: [0, 0] for key in windows}
        calls = connection.execute(sa.select(llm_call).where(llm_call.c.kind == "call")).all()
        for call in calls:
            for scope in call.scopes["scopes"]:
                for window in call.scopes["windows"]:
                    if (scope, window) in sums:
                        sums[scope, window][0] += call.cost_nano if call.state in ("settled", "unknown", "lost") else 0
                        sums[scope, window][1] += call.est_nano if call.state in ("reserved", "sent") else 0
        assert {key: tuple(pair) for key, pair in sums.items()} == windows
        claiming = set(connection.execute(sa.select(llm_inflight.c.call_id)).scalars())
        assert claiming >= {call.id for call in calls if call.state in ("reserved", "sent")}
        # A call that was cut off keeps its claims, so that nobody buys the same a second time.
        assert claiming <= {call.id for call in calls if call.state in ("reserved", "sent", "unknown", "lost")}

    store.read(look)

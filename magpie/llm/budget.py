"""What the caps let through of planned calls, today and on the days after.

Belongs here: walking planned calls through the limits as a run would be refused or let through. Does not belong here:
which calls are planned (`plan.py`), enforcing a limit (`ledger.py`), summing up what was spent (`spend.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import sqlalchemy as sa

from magpie.llm.plan import Call
from magpie.llm.purpose import Limit, Limits, windows
from magpie.llm.schema import spend_window
from magpie.llm.spend import Use
from magpie.llm.store import Store

# What takes longer is told as that: nobody plans further.
MOST_DAYS = 366

# (scope, window) -> nano-USD spent or held, calls made.
Used = dict[tuple[str, str], tuple[int, int]]


def used_now(store: Store, now: datetime) -> Used:
    """Return what of today's and this month's windows is spent or held; nothing where there are no books yet.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    if not store.exists:
        return {}
    chosen = spend_window.c.window.in_(sorted(windows(now, None).values()))
    rows = store.read(lambda c: c.execute(sa.select(spend_window).where(chosen)).all())
    return {(row.scope, row.window): (row.spent + row.reserved, row.calls) for row in rows}


def uses(scopes: Iterable[str], limits: Limits, used: Used, now: datetime) -> list[Use]:
    """Return what the bounded ones of these scopes have used of each bound's window, in the order of the scopes.

    A bound per run is unused: the run is yet to begin.
    """
    names = windows(now, "")
    found = []
    for scope in scopes:
        bounds = limits.by_scope.get(scope, ())
        for kind in sorted({limit.per for limit in bounds}):
            mine = [limit for limit in bounds if limit.per == kind]
            money = [limit.usd_nano for limit in mine if limit.usd_nano is not None]
            calls = [limit.calls for limit in mine if limit.calls is not None]
            window = names.get(kind, kind)
            spent, made = used.get((scope, window), (0, 0))
            found.append(Use(scope, window, spent, 0, made, min(money, default=None), min(calls, default=None)))
    return found


def course(
    calls: Sequence[Call], limits: Limits, used: Used, now: datetime, *, likely: bool = False
) -> list[int | None]:
    """Return for each call how many days from `now` it goes through: 0 is today; None: not within a year.

    The calls are tried in their order on each UTC day until the caps stop them, as a run's rows are: one that does not
    fit waits for the next day, a smaller one after it may still fit.

    Args:
        used: of today's windows.
        likely: calls cost what they are likely to, instead of their ceilings; a cap is held against ceilings all
            the same.
    """
    found: list[int | None] = [None] * len(calls)
    waiting = list(range(len(calls)))
    held = dict(used)
    for number in range(MOST_DAYS):
        day = _Day(calls, limits, held, now + timedelta(days=number), number, likely)
        left = day.tried(waiting)
        for position in set(waiting) - set(left):
            found[position] = number
        waiting = left
        if not waiting:
            break
    return found


class _Day:
    """The limits on one day, as calls use them up."""

    def __init__(
        self, calls: Sequence[Call], limits: Limits, held: Used, moment: datetime, number: int, likely: bool
    ) -> None:
        self._calls, self._limits, self._held, self._likely = calls, limits, held, likely
        self._names: Mapping[str, str] = windows(moment, str(number))

    def tried(self, waiting: Sequence[int]) -> list[int]:
        """Let through what fits; return the rest."""
        left: list[int] = []
        for (run, scopes), group in groupby(waiting, key=self._group):
            bounds = self._bounds(run, scopes)
            members = list(group)
            least = min(self._calls[position].est_nano for position in members)
            for at, position in enumerate(members):
                if self._take(self._calls[position], bounds):
                    continue
                left.append(position)
                if not self._fits(least, bounds):
                    left += members[at + 1 :]
                    break
        return left

    def _group(self, position: int) -> tuple[str, tuple[str, ...]]:
        call = self._calls[position]
        # A run makes one asset for one subject; the scopes tell subjects apart.
        return f"{call.asset} {call.scopes}", call.scopes

    def _bounds(self, run: str, scopes: tuple[str, ...]) -> list[tuple[tuple[str, str], Limit]]:
        found = []
        for scope in scopes:
            for limit in self._limits.by_scope.get(scope, ()):
                window = self._names[limit.per] + (f" {run}" if limit.per == "R" else "")
                found.append(((scope, window), limit))
        return found

    def _fits(self, est: int, bounds: Sequence[tuple[tuple[str, str], Limit]]) -> bool:
        for key, limit in bounds:
            spent, calls = self._held.get(key, (0, 0))
            if limit.usd_nano is not None and spent + est > limit.usd_nano:
                return False
            if limit.calls is not None and calls + 1 > limit.calls:
                return False
        return True

    def _take(self, call: Call, bounds: Sequence[tuple[tuple[str, str], Limit]]) -> bool:
        if not self._fits(call.est_nano, bounds):
            return False
        cost = call.est_nano if call.likely_nano is None or not self._likely else call.likely_nano
        for key in {key for key, _ in bounds}:
            spent, calls = self._held.get(key, (0, 0))
            self._held[key] = spent + cost, calls + 1
        return True

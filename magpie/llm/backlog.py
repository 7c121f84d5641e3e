"""Pending rows whose time has come: which partitions to make again, and which the money does not reach.

Belongs here: choosing among the partitions that are known to hold pending rows. Does not belong here: finding out what
is pending (`magpie/control.py`), starting runs (`sensors/`).

Reasons have owners, so that one partition is asked for once: what waits for money is the cap's, what waits for a
counted quota is the quota's, everything else with a time is the backlog's. A row without a time waits for an event.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from magpie.control import Pending

CAP_REASONS = frozenset({"cap_exhausted", "cap_busy", "credits_exhausted"})
QUOTA_REASONS = frozenset({"quota_exhausted"})
# What a larger cap lets go on at once; the others wait for a time that no cap changes.
USED_UP = "cap_exhausted"
# A tick stays short and the queue fair.
PARTITIONS_PER_TICK = 10


@dataclass(frozen=True)
class Due:
    """A partition to make again.

    Attributes:
        table: the first of its tables that waits; what is made from it waits because of it.
        since: since when it might have been made: part of what tells one request from the next.
    """

    table: str
    partition: str
    rows: int
    since: datetime


@dataclass(frozen=True)
class Choice:
    """What to ask for now, and why not more.

    Attributes:
        held: partitions that are due and that a bound keeps back, with that bound.
        next_at: when the next of the others is due.
    """

    due: tuple[Due, ...]
    held: Mapping[str, str]
    next_at: datetime | None

    @property
    def explanation(self) -> str:
        """One line for a sensor's tick that asks for nothing."""
        if self.held:
            bound = sorted(set(self.held.values()))[0]
            return f"{len(self.held)} partitions are due and held back: {bound}"
        if self.next_at:
            return f"nothing is due; the next rows may go on at {self.next_at:%Y-%m-%d %H:%M} UTC"
        return "no rows wait for a time"


@dataclass(frozen=True)
class Budget:
    """What is left for one partition: the smallest room among its scopes.

    Attributes:
        left_nano: None: no bound.
        per_row_nano: what a row is likely to cost at most.
        bound: the scope whose room it is, for people.
    """

    left_nano: int | None
    per_row_nano: int
    bound: str


def raised(before: Mapping[str, int], caps: Mapping[str, int]) -> set[str]:
    """Which caps are larger than before, or were taken away; one that is new bounds what had no bound.

    Args:
        before, caps: nano-USD by name of the bound.
    """
    return {name for name, cap in before.items() if name not in caps or caps[name] > cap}


def released(
    pending: Iterable[Pending], scopes: Callable[[Pending], Collection[str]], raised_at: Mapping[str, datetime]
) -> list[Pending]:
    """Let what waits for the money of a coming day or month be due since a cap of its scopes was raised.

    Args:
        scopes: that bound what a partition may cost.
        raised_at: by scope.
    """
    found = []
    for item in pending:
        moments = [raised_at[scope] for scope in scopes(item) if scope in raised_at]
        if moments and item.reason == USED_UP and item.not_before is not None:
            item = replace(item, not_before=min(item.not_before, max(moments)))
        found.append(item)
    return found


def choose(
    pending: Iterable[Pending],
    order: Sequence[str],
    owned: Collection[str] | None,
    now: datetime,
    budgets: Mapping[tuple[str, str], Budget],
    busy: Collection[str] = (),
) -> Choice:
    """Choose the newest partitions that are due, at most `PARTITIONS_PER_TICK`, as far as the money reaches.

    Args:
        pending: all that waits.
        order: tables that can be made again, upstream first.
        owned: the reasons to answer for; None: all that no other sensor owns.
        budgets: by table and partition; a missing one has no bound, and costs nothing.
        busy: partitions that a run is making already.
    """
    others = CAP_REASONS | QUOTA_REASONS
    mine = [
        item
        for item in pending
        if item.table in order
        and item.not_before is not None
        and (item.reason in owned if owned is not None else item.reason not in others)
    ]
    ready = [item for item in mine if item.not_before is not None and item.not_before <= now]
    coming = [item.not_before for item in mine if item.not_before is not None and item.not_before > now]
    held: dict[str, str] = {}
    chosen: list[Due] = []
    room = {name: budget.left_nano for name, budget in budgets.items()}
    for due in _by_partition(ready, order):
        if due.partition in busy:
            held[due.partition] = "a run is making it"
            continue
        budget = budgets.get((due.table, due.partition))
        left = room.get((due.table, due.partition))
        if budget and left is not None and left < max(1, budget.per_row_nano):
            held[due.partition] = f"{budget.bound} has no money left"
            continue
        if len(chosen) == PARTITIONS_PER_TICK:
            held[due.partition] = f"{PARTITIONS_PER_TICK} partitions a tick"
            continue
        chosen.append(due)
        if budget:
            # What this one will take is not there for the next of the same scopes.
            taken = budget.per_row_nano * due.rows
            for name, other in budgets.items():
                if other.bound == budget.bound and (rest := room[name]) is not None:
                    room[name] = max(0, rest - taken)
    return Choice(tuple(chosen), held, min(coming, default=None))


def _by_partition(ready: Iterable[Pending], order: Sequence[str]) -> list[Due]:
    """One entry per partition, for the first of its tables that waits; the newest partition first."""
    grouped: dict[str, list[Pending]] = {}
    for item in ready:
        grouped.setdefault(item.partition, []).append(item)
    found = []
    for partition, items in grouped.items():
        table = min((item.table for item in items), key=order.index)
        first = [item for item in items if item.table == table]
        since = max(item.not_before for item in first if item.not_before is not None)
        found.append(Due(table, partition, sum(item.rows for item in first), since))
    return sorted(found, key=lambda due: (due.partition.rpartition("|")[2], due.partition), reverse=True)

"""What the books say of earlier calls for the same row, and the log of tasks.

Belongs here: reading a row's past from the ledger, writing a task's end. Does not belong here: deciding what the past
means (`engine.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from magpie.llm.money import to_usd
from magpie.llm.progress import TaskState
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import OF_ANSWER
from magpie.llm.schema import llm_call, task_log
from magpie.llm.task import Summary, TaskEntry

if TYPE_CHECKING:
    from magpie.llm.store import Store

# row, partition, asset, input: what an answer belongs to.
Key = tuple[str | None, str | None, str | None, str | None]

# A call tries a passing fault three times; so many such rows of the ledger are one round.
TRIES_PER_ROUND = 3
# What a call fails for when neither limits nor accounts are the reason.
FAULTS = OF_ANSWER | {"transport", "unknown_outcome", "invalid_request"}
# Enough to even out long and short rows.
CALLS_FOR_AN_AVERAGE = 100
# One statement asks for this many rows: well below SQLite's bound on parameters.
ROWS_PER_QUERY = 500


@dataclass(frozen=True)
class Past:
    """All calls so far for one function, row and input.

    Attributes:
        invalid: how often all re-asks came to nothing; transport: rounds of tries that did.
        cost_nano: what they cost together, those that were cut off included.
        settled_at: when the last of them was settled; None where none was.
    """

    invalid: int = 0
    transport: int = 0
    cost_nano: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    credits: int = 0
    settled_at: datetime | None = None


NOTHING = Past()


@dataclass(frozen=True)
class Attempts:
    """The calls that one run of a function made.

    Attributes:
        sent: all of them; good: those whose answer held.
        failed: what the others came to that no limit and no account is the reason of; each reason once.
    """

    sent: int
    good: int
    failed: tuple[str, ...]


def key_of(purpose: Purpose) -> Key:
    return purpose.row_ref, purpose.partition, purpose.asset, purpose.input_hash


def past(connection: sa.Connection, purposes: Iterable[Purpose]) -> dict[Key, Past]:
    """The past of the rows of one function, by key; a row without one is missing."""
    asked = list(purposes)
    if not asked:
        return {}
    c = llm_call.c
    exhausted = (c.verdict == "exhausted") & c.error_class.is_not(None)
    query = (
        sa.select(
            c.row_ref,
            c.partition,
            c.asset,
            c.input_hash,
            sa.func.sum(sa.case((exhausted, 1), else_=0)).label("invalid"),
            sa.func.sum(sa.case((c.error_class == "transport", 1), else_=0)).label("transport"),
            sa.func.sum(c.cost_nano).label("cost"),
            sa.func.coalesce(sa.func.sum(c.tokens_in), 0).label("tokens_in"),
            sa.func.coalesce(sa.func.sum(c.tokens_out), 0).label("tokens_out"),
            sa.func.sum(c.credits).label("credits"),
            sa.func.max(c.settled_at).label("settled_at"),
        )
        .where(
            c.kind == "call",
            c.function == asked[0].function,
            c.row_ref.in_(sorted({str(purpose.row_ref) for purpose in asked})),
        )
        .group_by(c.row_ref, c.partition, c.asset, c.input_hash)
    )
    return {
        (row.row_ref, row.partition, row.asset, row.input_hash): Past(
            int(row.invalid),
            -(-int(row.transport) // TRIES_PER_ROUND),
            int(row.cost),
            int(row.tokens_in),
            int(row.tokens_out),
            int(row.credits),
            row.settled_at,
        )
        for row in connection.execute(query)
    }


def attempts(connection: sa.Connection, function: str, run_id: str, since: datetime) -> Attempts:
    """What a run's calls since then came to; verdicts that are not written yet are not seen."""
    c = llm_call.c
    query = sa.select(c.verdict, c.error_class, sa.func.count().label("calls")).where(
        c.kind == "call",
        c.day >= f"{since:%Y-%m-%d}",
        c.function == function,
        c.run_id == run_id,
        c.created_at >= since,
        c.sent_at.is_not(None),
    )
    rows = connection.execute(query.group_by(c.verdict, c.error_class)).all()
    return Attempts(
        sum(row.calls for row in rows),
        sum(row.calls for row in rows if row.verdict == "accepted"),
        tuple(sorted({row.error_class for row in rows if row.error_class in FAULTS})),
    )


def booked(store: "Store", purposes: Sequence[Purpose]) -> list[Decimal]:
    """What the books have for each row, in USD."""
    found: dict[Key, Past] = {}
    by_function: dict[str, list[Purpose]] = {}
    for purpose in purposes:
        by_function.setdefault(purpose.function, []).append(purpose)
    for asked in by_function.values():
        for start in range(0, len(asked), ROWS_PER_QUERY):
            found |= store.read(partial(past, purposes=asked[start : start + ROWS_PER_QUERY]))
    return [to_usd(found.get(key_of(purpose), NOTHING).cost_nano) for purpose in purposes]


def task_row(
    entry: TaskEntry, summary: Summary, state: TaskState, now: datetime
) -> tuple[sa.Executable, dict[str, Any]]:
    """The statement that files a finished task."""
    failed = bool(summary.by_status) and set(summary.by_status) <= {"pending", "failed"}
    row = {
        "task_id": entry.task_id,
        "day": f"{now:%Y-%m-%d}",
        "function": entry.function,
        "product": entry.scope.product,
        "asset": entry.scope.asset,
        "run_id": entry.scope.run_id,
        "phase": state.phase,
        "status": "FAILURE" if failed else "SUCCESS",
        "cost_nano": summary.spent_nano,
        "tokens": summary.tokens_in + summary.tokens_out,
        "credits": summary.credits,
        "request_steps": [step.as_json() for step in state.request_steps],
        "response_steps": [step.as_json() for step in state.response_steps],
        "error": summary.message[:500] if failed else None,
        "payload_hash": entry.payload_hash,
        "summary": {"by_status": dict(summary.by_status), "by_reason": dict(summary.by_reason)},
        "started_at": entry.started,
        "finished_at": now,
    }
    return task_log.insert(), row


def likely_cost(connection: sa.Connection, function: str) -> int:
    """What a row of a function has lately been reserved at, on average; 0 if it was never called."""
    latest = (
        sa.select(llm_call.c.est_nano)
        .where(llm_call.c.kind == "call", llm_call.c.function == function)
        .order_by(llm_call.c.created_at.desc())
        .limit(CALLS_FOR_AN_AVERAGE)
        .subquery()
    )
    return int(connection.execute(sa.select(sa.func.avg(latest.c.est_nano))).scalar() or 0)

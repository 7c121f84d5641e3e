"""The circuit breaker: what keeps failing is left alone, then probed once.

Belongs here: changes of the tables `breaker` and `failure_event`, inside a transaction of `store.py`. Does not belong
here: rate limits and refusals, which are no failures (`pacing.py`), and pausing schedules (`sensors/`).

Scopes are `function:extract_lead` (three failed runs within an hour, unless its `Trip` says otherwise) and
`provider:openai` (a key that is refused). An open breaker lets one call through when its pause is over; that call
closes it or opens it anew. Without a pause only an operator closes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from magpie.llm.refusal import Reason, Refused
from magpie.llm.schema import breaker, failure_event, llm_call

# One or two failed runs can be a provider's bad minute; the third within the hour is a state.
FAILED_RUNS = 3
WITHIN = timedelta(minutes=60)
PAUSE = timedelta(minutes=60)


@dataclass(frozen=True)
class Trip:
    """When failed runs open the breaker of a function.

    Attributes:
        runs: so many of them, within that time.
        pause: until one call may try again; None: an operator closes it.
        calls: a run counts as failed only if it made so many, none of which was answered well and one of which failed
            for another reason than limits; 0: a run is judged by its rows.
    """

    runs: int = FAILED_RUNS
    within: timedelta = WITHIN
    pause: timedelta | None = PAUSE
    calls: int = 0


# As functions have it that say nothing else.
TRIP = Trip()
# A probe whose process died must not hold the breaker for ever.
OPEN_STATES = ("reserved", "sent")

_OF_SCOPES = sa.select(breaker).where(breaker.c.scope.in_(sa.bindparam("scopes", expanding=True)))
_PROBED_BY = sa.select(breaker.c.scope).where(breaker.c.probe == sa.bindparam("call_id"))


@dataclass(frozen=True)
class Open:
    """One open breaker; `until` None: it waits for an operator."""

    scope: str
    opened_at: datetime
    until: datetime | None
    reason: str
    detail: str
    probing: bool


def blocked(connection: sa.Connection, scopes: Sequence[str], now: datetime, call_id: str) -> Refused | None:
    """Refuse while a breaker of these scopes is open; when its pause is over, let this call through as the probe."""
    rows = connection.execute(_OF_SCOPES, {"scopes": list(scopes)}).all()
    for row in rows:
        reason: Reason = "provider_auth" if row.reason == "provider_auth" else "breaker_open"
        probing = row.probe is not None and _under_way(connection, row.probe)
        if row.until is None or now < row.until or probing:
            return Refused(reason, f"{row.scope} is stopped: {row.detail}", row.until if not probing else now + PAUSE)
    for row in rows:
        connection.execute(breaker.update().where(breaker.c.scope == row.scope).values(probe=call_id))
    return None


def open_breaker(
    connection: sa.Connection, scope: str, now: datetime, until: datetime | None, reason: str, detail: str
) -> None:
    """Open it, or open it anew."""
    connection.execute(breaker.delete().where(breaker.c.scope == scope))
    connection.execute(
        breaker.insert().values(scope=scope, opened_at=now, until=until, reason=reason, detail=detail[:500], probe=None)
    )


def probed(connection: sa.Connection, call_id: str, now: datetime, *, worked: bool | None) -> None:
    """Judge the breakers that this call probed: worked closes them, failed opens anew, None lets the next one probe."""
    if connection.execute(_PROBED_BY, {"call_id": call_id}).first() is None:
        return
    mine = breaker.c.probe == call_id
    if worked:
        connection.execute(breaker.delete().where(mine))
    elif worked is None:
        connection.execute(breaker.update().where(mine).values(probe=None))
    else:
        connection.execute(breaker.update().where(mine).values(probe=None, opened_at=now, until=now + PAUSE))


def record_failed_run(
    connection: sa.Connection, scope: str, run_id: str, now: datetime, error_class: str, trip: Trip = TRIP
) -> bool:
    """Note that a run failed at `scope`; open the breaker if `trip` says so. True: it is open now."""
    connection.execute(failure_event.insert().values(scope=scope, run_id=run_id, at=now, error_class=error_class))
    recent = sa.select(sa.func.count(failure_event.c.run_id.distinct())).where(
        failure_event.c.scope == scope, failure_event.c.at > now - trip.within
    )
    failed = connection.execute(recent).scalar_one()
    if failed < trip.runs:
        return False
    minutes = int(trip.within.total_seconds() // 60)
    detail = f"{failed} runs failed within {minutes} minutes, the last with {error_class}"
    until = None if trip.pause is None else now + trip.pause
    open_breaker(connection, scope, now, until, "failed_runs", detail)
    return True


def open_breakers(connection: sa.Connection) -> list[Open]:
    """All that are open, by scope."""
    rows = connection.execute(sa.select(breaker).order_by(breaker.c.scope)).all()
    return [Open(r.scope, r.opened_at, r.until, r.reason, r.detail, r.probe is not None) for r in rows]


def close(connection: sa.Connection, scope: str | None) -> list[str]:
    """Close one, or all, and forget the failures that led to it; return the scopes that were open."""
    chosen = [item.scope for item in open_breakers(connection) if scope in (None, item.scope)]
    for name in chosen:
        connection.execute(breaker.delete().where(breaker.c.scope == name))
        connection.execute(failure_event.delete().where(failure_event.c.scope == name))
    return chosen


def _under_way(connection: sa.Connection, call_id: str) -> bool:
    state = connection.execute(sa.select(llm_call.c.state).where(llm_call.c.id == call_id)).scalar()
    return state in OPEN_STATES

"""When a call may go out: send times handed out one after another, and scopes that cool down.

Belongs here: changes of the tables `throttle` and `cooldown`, inside a transaction of `store.py`. Does not belong
here: how long to wait after which fault (`refusal.py`), counting calls (`ledger.py`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from magpie.llm.refusal import Reason, Refused
from magpie.llm.schema import cooldown, throttle

_COOLING = (
    sa.select(cooldown)
    .where(cooldown.c.scope.in_(sa.bindparam("scopes", expanding=True)), cooldown.c.until > sa.bindparam("now"))
    .order_by(cooldown.c.until.desc())
    .limit(1)
)


def next_slot(connection: sa.Connection, gaps_s: Mapping[str, float], now: datetime) -> datetime:
    """Hand out the next time at which all these scopes may send; every process draws from the same row."""
    if not gaps_s:
        return now
    taken = _taken(connection, gaps_s)
    slot = max([now, *taken.values()])
    for scope, gap in gaps_s.items():
        values = {"next_at": slot + timedelta(seconds=gap)}
        if scope in taken:
            connection.execute(throttle.update().where(throttle.c.scope == scope).values(values))
        else:
            connection.execute(throttle.insert().values(scope=scope, **values))
    return slot


def coming_slot(connection: sa.Connection, gaps_s: Mapping[str, float], now: datetime) -> datetime:
    """The slot that `next_slot` would hand out; it stays free."""
    return max([now, *_taken(connection, gaps_s).values()]) if gaps_s else now


def _taken(connection: sa.Connection, gaps_s: Mapping[str, float]) -> dict[str, datetime]:
    found = connection.execute(sa.select(throttle).where(throttle.c.scope.in_(sorted(gaps_s)))).all()
    return {row.scope: row.next_at for row in found}


def cooling(connection: sa.Connection, scopes: Sequence[str], now: datetime) -> Refused | None:
    """The longest cool-down that any of the scopes is in."""
    row = connection.execute(_COOLING, {"scopes": list(scopes), "now": now}).first()
    if row is None:
        return None
    reason: Reason = row.reason
    return Refused(reason, f"{row.scope} waits until {row.until:%Y-%m-%d %H:%M} UTC: {row.detail}", row.until)


def cool(connection: sa.Connection, scope: str, until: datetime, reason: Reason, detail: str) -> None:
    """Let a scope rest; a longer rest that is under way stays."""
    known = connection.execute(sa.select(cooldown.c.until).where(cooldown.c.scope == scope)).scalar()
    values = {"until": until, "reason": reason, "detail": detail[:500]}
    if known is None:
        connection.execute(cooldown.insert().values(scope=scope, **values))
    elif known < until:
        connection.execute(cooldown.update().where(cooldown.c.scope == scope).values(values))


def cooldowns(connection: sa.Connection, now: datetime) -> list[sa.Row[tuple[str, datetime, str, str]]]:
    """What rests now, by scope."""
    return list(connection.execute(sa.select(cooldown).where(cooldown.c.until > now).order_by(cooldown.c.scope)))


def clear_cooldowns(connection: sa.Connection, scope: str | None) -> int:
    """End the rest of one scope, or of all; return how many were cleared."""
    chosen = cooldown.delete() if scope is None else cooldown.delete().where(cooldown.c.scope == scope)
    return connection.execute(chosen).rowcount

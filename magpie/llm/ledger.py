"""The ledger: money is reserved before a call, settled after it, and never exceeds a cap in between.

Belongs here: the states of a call and what each change does to the windows of its scopes. Does not belong here:
journalled answers (`journal.py`), the order of things in one call (`gateway.py`), dead calls (`sweep.py`).

Every public function is one change of the books: it takes a connection inside a transaction of `store.py`, which is
alone while it runs, and so may read first and write then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from magpie.llm import breaker, pacing
from magpie.llm.money import shown
from magpie.llm.purpose import ALL, Limit, Limits, Purpose, window_end, windows
from magpie.llm.refusal import BUSY_S, UNKNOWN_S, Refused, after, out_of_time
from magpie.llm.reply import Usage
from magpie.llm.schema import breaker as breaker_table
from magpie.llm.schema import cooldown, llm_call, llm_inflight, llm_response, spend_window

# From its send time on a reservation is kept so long for its process to get going.
RESERVED_LEASE = timedelta(seconds=60)
# Beyond the HTTP time-out a sent call has so long to be settled.
SENT_GRACE = timedelta(seconds=60)
# An answer that may be given again: not judged yet (its process died), accepted, or one that was asked again about.
SERVABLE = ("unjudged", "accepted", "invalid")

_call, _window, _answer = llm_call.c, spend_window.c, llm_response.c
# Statements are built once: building one takes longer than running it. Those of every call are built once for each
# length of their lists, because a list of any length is put into the text anew each time.
_keys: sa.BindParameter[Any] = sa.bindparam("keys", expanding=True)
_claimed = sa.join(llm_inflight, llm_call, _call.id == llm_inflight.c.call_id)
_TAKEN = (
    sa.select(llm_inflight.c.request_key)
    .select_from(_claimed)
    .where(llm_inflight.c.request_key.in_(_keys), _call.state.in_(("reserved", "sent")))
    .union_all(sa.select(_answer.request_key).where(_answer.request_key.in_(_keys), _answer.state.in_(SERVABLE)))
)
# A call that was cut off keeps its claims, each text of a batch included: all of them may have been paid.
_cut = llm_inflight.c.request_key.in_(_keys) & _call.state.in_(("unknown", "lost"))
_UNRECONCILED = sa.select(_call.state, _call.id).select_from(_claimed).where(_cut).limit(1)
_CUT = sa.select(llm_inflight.c.request_key).select_from(_claimed).where(_cut)
_UNCLAIM = llm_inflight.delete().where(llm_inflight.c.request_key.in_(_keys))
_ONE = sa.select(_call.state, _call.est_nano, _call.scopes, _call.row_ref, _call.endpoint).where(
    _call.id == sa.bindparam("call_id")
)
_SEND = (
    llm_call.update()
    .where(
        _call.id == sa.bindparam("call_id"),
        _call.state == "reserved",
        _call.lease_until >= sa.bindparam("now"),
        _call.day == sa.bindparam("today"),
    )
    .values(state="sent", sent_at=sa.bindparam("now"), lease_until=sa.bindparam("lease"))
)
_RELEASE = llm_inflight.delete().where(llm_inflight.c.call_id == sa.bindparam("of_call"))
_CLAIM, _INSERT_CALL, _INSERT_ANSWER = llm_inflight.insert(), llm_call.insert(), llm_response.insert()
_INSERT_WINDOW = spend_window.insert()

# (scope, window) -> spent, reserved, calls.
Used = dict[tuple[str, str], tuple[int, int, int]]


@dataclass(frozen=True)
class Held:
    """What a call is counted for: every one of the scopes over every one of the windows that it has a row for."""

    scopes: tuple[str, ...]
    windows: tuple[str, ...]
    # Scopes that are counted over the run as well.
    of_run: tuple[str, ...] = ()

    def pairs(self) -> list[tuple[str, str]]:
        days = [(scope, window) for scope in self.scopes for window in self.windows if window[0] != "R"]
        return days + [(scope, window) for scope in self.of_run for window in self.windows if window[0] == "R"]


@dataclass(frozen=True)
class Booking:
    """A call that wants to be made.

    Attributes:
        claims: the journal keys its answer will stand under: its own, or one per text of a batch.
        est_nano: the most it can cost.
        send_by: a send time after it is not taken.
    """

    call_id: str
    request_key: str
    claims: tuple[str, ...]
    provider: str
    model: str
    endpoint: str
    est_nano: int
    price_version: str
    purpose: Purpose
    free_tier: bool = False
    attempt: int = 1
    reask: int = 0
    dropped_params: tuple[str, ...] = ()
    allow_double_payment: bool = False
    send_by: datetime | None = None


@dataclass(frozen=True)
class Reserved:
    """Money and a send time are held."""

    call_id: str
    send_at: datetime


@dataclass(frozen=True)
class Taken:
    """Others have asked the same, or have the answer by now."""

    keys: frozenset[str]


@dataclass(frozen=True)
class Stored:
    """One answer for the journal."""

    item: int
    request_key: str
    head: dict[str, Any]
    body: bytes
    cost_nano: int


@dataclass(frozen=True)
class Settlement:
    """What a call came to."""

    cost_nano: int
    usage: Usage = field(default_factory=Usage)
    usage_known: bool = True
    model_served: str | None = None
    finish_reason: str | None = None
    provider_request_id: str | None = None
    http_status: int | None = None
    error_class: str | None = None
    error: str | None = None
    answers: tuple[Stored, ...] = ()


def reserve(connection: sa.Connection, booking: Booking, limits: Limits, now: datetime) -> Reserved | Taken | Refused:
    """Hold the most that a call can cost in every scope, and hand out its send time."""
    purpose = booking.purpose
    scopes = purpose.all_scopes(booking.provider, booking.model, free_tier=booking.free_tier)
    stops = [*scopes, f"function:{purpose.function}"]
    there = _in_the_way(connection, booking, stops, now)
    if not there.isdisjoint(("reserved", "sent", "answered")):
        return Taken(_taken(connection, booking.claims))
    held = _windows(scopes, limits, now, purpose.run_id)
    used = _used(connection, held)
    gaps = {scope: limits.gaps_s[scope] for scope in scopes if scope in limits.gaps_s}
    refused = (
        ("cooling" in there and pacing.cooling(connection, scopes, now))
        or (not there.isdisjoint(("unknown", "lost")) and _unreconciled(connection, booking, now))
        or _over_limit(booking, scopes, limits, used, now)
        or _too_late(connection, booking, gaps, now)
        # Last, because it makes this call the probe.
        or ("stopped" in there and breaker.blocked(connection, stops, now, booking.call_id))
    )
    if refused:
        return refused
    _make_windows(connection, held, used)
    _book(connection, held, reserved=booking.est_nano, calls=1)
    send_at = pacing.next_slot(connection, gaps, now)
    if booking.allow_double_payment:
        connection.execute(_UNCLAIM, {"keys": list(booking.claims)})
    connection.execute(
        _CLAIM,
        [{"request_key": key, "call_id": booking.call_id, "item": n} for n, key in enumerate(booking.claims)],
    )
    connection.execute(_INSERT_CALL, _call_row(booking, held, send_at, now))
    return Reserved(booking.call_id, send_at)


def mark_sent(connection: sa.Connection, call_id: str, now: datetime, timeout_s: float) -> bool:
    """True: it is ours to send. False: its day or its lease is over; it is void and wants a new reservation."""
    lease = now + timedelta(seconds=timeout_s) + SENT_GRACE
    values = {"call_id": call_id, "now": now, "today": f"{now:%Y-%m-%d}", "lease": lease}
    if connection.execute(_SEND, values).rowcount == 1:
        return True
    void(connection, call_id, now, counts=False, error_class=None, error=None)
    return False


def void(
    connection: sa.Connection,
    call_id: str,
    now: datetime,
    *,
    counts: bool,
    error_class: str | None,
    error: str | None,
    http_status: int | None = None,
) -> bool:
    """Give the money back; the attempt stays counted if the provider may have counted it."""
    row = _one(connection, call_id)
    values = {
        "state": "voided",
        "settled_at": now,
        "error_class": error_class,
        "error": error and error[:500],
        "http_status": http_status,
        "cost_nano": 0,
    }
    if not _move(connection, call_id, ("reserved", "sent"), values):
        return False
    _book(connection, _held_by(row), reserved=-row.est_nano, calls=0 if counts else -1)
    _release(connection, call_id)
    return True


def leave_unknown(connection: sa.Connection, call_id: str, now: datetime, error: str, status: int | None) -> bool:
    """It was sent and nobody knows what became of it: it stays charged at the estimate."""
    row = _one(connection, call_id)
    values = {
        "state": "unknown",
        "error_class": "unknown_outcome",
        "error": error[:500],
        "http_status": status,
        "cost_nano": row.est_nano,
        "lease_until": now + timedelta(seconds=UNKNOWN_S),
    }
    if not _move(connection, call_id, ("sent",), values):
        return False
    _book(connection, _held_by(row), reserved=-row.est_nano, spent=row.est_nano)
    _release_free(connection, call_id, row)
    return True


def lose(connection: sa.Connection, call_id: str, now: datetime) -> bool:
    """Nobody can tell any more: the estimate is what it cost."""
    row = _one(connection, call_id)
    values = {"state": "lost", "settled_at": now, "error_class": "unknown_outcome", "cost_nano": row.est_nano}
    if not _move(connection, call_id, ("sent", "unknown"), values):
        return False
    if row.state == "sent":
        _book(connection, _held_by(row), reserved=-row.est_nano, spent=row.est_nano)
    _release_free(connection, call_id, row)
    return True


def settle(connection: sa.Connection, call_id: str, outcome: Settlement, now: datetime) -> bool:
    """Book what it cost and journal what it said; a second time changes nothing."""
    row = _one(connection, call_id)
    usage, known = outcome.usage, outcome.usage_known
    values = {
        "state": "settled",
        "settled_at": now,
        "cost_nano": outcome.cost_nano,
        "over_estimate": outcome.cost_nano > row.est_nano,
        "tokens_in": usage.input_tokens if known else None,
        "tokens_cached": usage.cached_tokens if known else None,
        "tokens_cache_write": usage.cache_write_tokens if known else None,
        "tokens_out": usage.output_tokens if known else None,
        "tokens_reasoning": usage.reasoning_tokens if known else None,
        "images": usage.images,
        "model_served": _fitting(llm_call.c.model_served, outcome.model_served),
        "finish_reason": outcome.finish_reason,
        "provider_request_id": _fitting(llm_call.c.provider_request_id, outcome.provider_request_id),
        "http_status": outcome.http_status,
        "error_class": outcome.error_class,
        "error": outcome.error and outcome.error[:500],
    }
    if not _move(connection, call_id, ("sent", "unknown"), values):
        return False
    reserved, charged = (row.est_nano, 0) if row.state == "sent" else (0, row.est_nano)
    _book(connection, _held_by(row), reserved=-reserved, spent=outcome.cost_nano - charged)
    if outcome.answers:
        connection.execute(_INSERT_ANSWER, [_response_row(call_id, row, stored, now) for stored in outcome.answers])
    _release(connection, call_id)
    return True


def hit_rows(bookings: Iterable[tuple[Booking, int, str | None]], now: datetime) -> list[dict[str, Any]]:
    """Rows of kind hit for answers served from the journal: (what was asked, what it saved, the model as served)."""
    rows = []
    for booking, saved, served in bookings:
        scopes = booking.purpose.all_scopes(booking.provider, booking.model, free_tier=booking.free_tier)
        # Named for whoever sums up what was saved; no window, because nothing is booked.
        row = _call_row(booking, Held(tuple(scopes), ()), now, now)
        row |= {"kind": "hit", "state": "settled", "est_nano": 0, "saved_nano": saved}
        row["model_served"] = _fitting(llm_call.c.model_served, served)
        rows.append({**row, "lease_until": None, "settled_at": now})
    return rows


def _fitting(column: sa.Column[str], told: str | None) -> str | None:
    """What a server calls something, as far as the column takes it: Postgres refuses more, and the books with it."""
    assert isinstance(column.type, sa.String)
    return told and told[: column.type.length]


def record_hits(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(_INSERT_CALL, list(rows))


def unreconciled(connection: sa.Connection, keys: Sequence[str]) -> frozenset[str]:
    """Those of the keys (some hundred at most) that an earlier call, which may have been paid, is in the way of."""
    return frozenset(connection.execute(_CUT, {"keys": list(keys)}).scalars())


def raise_calls(connection: sa.Connection, scope: str, now: datetime, used: int) -> None:
    """Take a provider's own count of the day where it is larger than ours."""
    day = windows(now, None)["D"]
    held = Held((scope,), (day,))
    _make_windows(connection, held, _used(connection, held))
    behind = (_window.scope == scope) & (_window.window == day) & (_window.calls < used)
    connection.execute(spend_window.update().where(behind).values(calls=used))


def _in_the_way(connection: sa.Connection, booking: Booking, scopes: Sequence[str], now: datetime) -> frozenset[str]:
    """What there is to look at before a call is let through, in one query; most of the time it is nothing.

    Of calls that claim the same, their states; `answered`, `cooling`, `stopped`.
    """
    values = {"now": now, **_named("claim", booking.claims), **_named("scope", scopes)}
    return frozenset(connection.execute(_guard(len(booking.claims), len(scopes)), values).scalars())


@cache
def _guard(claims: int, scopes: int) -> sa.CompoundSelect[Any]:
    def found(what: str, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
        return sa.select(sa.literal_column(f"'{what}'")).where(sa.exists().where(*where))

    resting, open_ = cooldown.c, breaker_table.c
    servable = _answer.state.in_([sa.literal(state) for state in SERVABLE])
    return sa.union_all(
        sa.select(_call.state).select_from(_claimed).where(_any_of(llm_inflight.c.request_key, "claim", claims)),
        found("answered", _any_of(_answer.request_key, "claim", claims), servable),
        found("cooling", _any_of(resting.scope, "scope", scopes), resting.until > sa.bindparam("now")),
        found("stopped", _any_of(open_.scope, "scope", scopes)),
    )


def _any_of(column: sa.ColumnElement[str], name: str, count: int) -> sa.ColumnElement[bool]:
    """The column is one of `count` values, which go by `_named`."""
    return column.in_([sa.bindparam(f"{name}{n}", type_=column.type) for n in range(count)])


def _named(name: str, values: Sequence[str]) -> dict[str, str]:
    return {f"{name}{n}": value for n, value in enumerate(values)}


def _taken(connection: sa.Connection, claims: Sequence[str]) -> frozenset[str]:
    return frozenset(connection.execute(_TAKEN, {"keys": list(claims)}).scalars())


def _unreconciled(connection: sa.Connection, booking: Booking, now: datetime) -> Refused | None:
    """An identical call that may have been paid is in the way of a second one; one that cost nothing is not."""
    if booking.allow_double_payment:
        return None
    row = connection.execute(_UNRECONCILED, {"keys": list(booking.claims)}).first()
    if row is None:
        return None
    detail = f"call {row.id} was cut off after it was sent and may have been paid"
    if row.state == "unknown":
        return Refused("unknown_outcome", detail, after(now, UNKNOWN_S))
    return Refused("unknown_outcome", f"{detail}; llm.allow_double_payment: true asks again", None)


def _too_late(connection: sa.Connection, booking: Booking, gaps: Mapping[str, float], now: datetime) -> Refused | None:
    if booking.send_by is None:
        return None
    slot = pacing.coming_slot(connection, gaps, now)
    return out_of_time(slot, now) if slot > booking.send_by else None


def _over_limit(booking: Booking, scopes: Sequence[str], limits: Limits, used: Used, now: datetime) -> Refused | None:
    names, est = windows(now, booking.purpose.run_id), booking.est_nano
    found = [
        refused
        for scope in scopes
        for limit in limits.by_scope.get(scope, ())
        if limit.per in names and (refused := _held_against(limit, scope, names[limit.per], used, est, now))
    ]
    # What can never pass is told before what passes tomorrow, and that before what passes soon.
    order = ("request_too_large", "cap_exhausted", "quota_exhausted", "cap_busy")
    return min(found, key=lambda refused: order.index(refused.reason), default=None)


def _held_against(limit: Limit, scope: str, window: str, used: Used, est: int, now: datetime) -> Refused | None:
    spent, reserved, calls = used.get((scope, window), (0, 0, 0))
    end = window_end(limit.per, now)
    cap = limit.usd_nano
    if cap is not None and est > cap:
        detail = f"may cost {shown(est)}, the cap of {scope} is {shown(cap)}"
        return Refused("request_too_large", detail, None, shown(est), shown(cap))
    if cap is not None and spent + est > cap:
        detail = f"{scope} has spent {shown(spent)} of {shown(cap)} in {window[1:]}; this may cost {shown(est)}"
        return Refused("cap_exhausted", detail, end, shown(spent + est), shown(cap))
    if limit.calls is not None and calls + 1 > limit.calls:
        detail = f"{scope} has used {calls} of {limit.calls} calls in {window[1:]}"
        return Refused("quota_exhausted", detail, end, str(calls), str(limit.calls))
    if cap is not None and spent + reserved + est > cap:
        detail = f"open calls hold {shown(reserved)} of what {scope} has left"
        return Refused("cap_busy", detail, after(now, BUSY_S), shown(spent + reserved + est), shown(cap))
    return None


def _windows(scopes: Sequence[str], limits: Limits, now: datetime, run_id: str | None) -> Held:
    """Day and month of every scope, so that a monthly cap set later finds the month's spend; runs where it matters."""
    names = windows(now, run_id)
    capped = {scope for scope in scopes if any(limit.per == "R" for limit in limits.by_scope.get(scope, ()))}
    return Held(tuple(scopes), tuple(names.values()), tuple(sorted({ALL, *capped})) if "R" in names else ())


def _used(connection: sa.Connection, held: Held) -> Used:
    values = {**_named("scope", held.scopes), **_named("window", held.windows)}
    rows = connection.execute(_used_statement(len(held.scopes), len(held.windows)), values)
    return {(row.scope, row.window): (row.spent, row.reserved, row.calls) for row in rows}


@cache
def _used_statement(scopes: int, windows: int) -> sa.Select[Any]:
    return sa.select(spend_window).where(_holding(scopes, windows))


def _holding(scopes: int, windows: int) -> sa.ColumnElement[bool]:
    """Every scope of a call is counted over the same windows, so the product of the two lists is what it holds."""
    return _any_of(_window.scope, "scope", scopes) & _any_of(_window.window, "window", windows)


def _make_windows(connection: sa.Connection, held: Held, used: Used) -> None:
    missing = [pair for pair in held.pairs() if pair not in used]
    if missing:
        rows = [{"scope": scope, "window": window, "spent": 0, "reserved": 0, "calls": 0} for scope, window in missing]
        connection.execute(_INSERT_WINDOW, rows)


def _book(connection: sa.Connection, held: Held, *, reserved: int = 0, spent: int = 0, calls: int = 0) -> None:
    values = {"more_reserved": reserved, "more_spent": spent, "more_calls": calls}
    names = {**_named("scope", held.scopes), **_named("window", held.windows)}
    connection.execute(_book_statement(len(held.scopes), len(held.windows)), {**values, **names})


@cache
def _book_statement(scopes: int, windows: int) -> sa.Update:
    added = {name: _window[name] + sa.bindparam(f"more_{name}") for name in ("reserved", "spent", "calls")}
    return spend_window.update().where(_holding(scopes, windows)).values(added)


def _one(connection: sa.Connection, call_id: str) -> sa.Row[Any]:
    return connection.execute(_ONE, {"call_id": call_id}).one()


def _held_by(row: sa.Row[Any]) -> Held:
    return Held(tuple(row.scopes["scopes"]), tuple(row.scopes["windows"]))


def _move(connection: sa.Connection, call_id: str, states: tuple[str, ...], values: dict[str, Any]) -> bool:
    statement = _move_statement(frozenset(values), len(states))
    return connection.execute(statement, {"of_call": call_id, **_named("from", states), **values}).rowcount == 1


@cache
def _move_statement(columns: frozenset[str], states: int) -> sa.Update:
    chosen = llm_call.update().where(_call.id == sa.bindparam("of_call"), _any_of(_call.state, "from", states))
    return chosen.values({name: sa.bindparam(name) for name in sorted(columns)})


def _release_free(connection: sa.Connection, call_id: str, row: sa.Row[Any]) -> None:
    """Let others ask what a cut call asked, if it can have cost nothing."""
    if row.est_nano == 0:
        _release(connection, call_id)


def _release(connection: sa.Connection, call_id: str) -> None:
    connection.execute(_RELEASE, {"of_call": call_id})


def _call_row(booking: Booking, held: Held, send_at: datetime, now: datetime) -> dict[str, Any]:
    purpose = booking.purpose
    return {
        "id": booking.call_id,
        "kind": "call",
        "request_key": booking.request_key,
        "attempt": booking.attempt,
        "reask": booking.reask,
        "state": "reserved",
        "day": f"{now:%Y-%m-%d}",
        "scopes": {"scopes": list(held.scopes), "windows": list(held.windows)},
        "provider": booking.provider,
        "endpoint": booking.endpoint,
        "model_alias": purpose.model_alias,
        "model_asked": booking.model,
        "model_served": None,
        "function": purpose.function,
        "prompt_version": purpose.prompt_version,
        "product": purpose.product,
        "asset": purpose.asset,
        "partition": purpose.partition,
        "row_ref": purpose.row_ref,
        "input_hash": purpose.input_hash,
        "run_id": purpose.run_id,
        "est_nano": booking.est_nano,
        "cost_nano": 0,
        "saved_nano": 0,
        "over_estimate": False,
        "price_version": booking.price_version,
        "images": 0,
        "created_at": now,
        "lease_until": send_at + RESERVED_LEASE,
        "settled_at": None,
        "dropped_params": ",".join(booking.dropped_params) or None,
        "credits": 0,
    }


def _response_row(call_id: str, row: sa.Row[Any], stored: Stored, now: datetime) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "item": stored.item,
        "request_key": stored.request_key,
        "state": "unjudged",
        "endpoint": row.endpoint,
        "head": stored.head,
        "body": stored.body,
        "cost_nano": stored.cost_nano,
        "row_ref": row.row_ref,
        "created_at": now,
    }

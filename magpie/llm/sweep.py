"""The sweep: what becomes of calls whose process died.

Belongs here: finding them and deciding from what is on disk. Does not belong here: calls of living processes
(`gateway.py`); what a sweep does to one of those by mistake is harmless, since every change names the state it
expects.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from magpie.llm import breaker, ledger
from magpie.llm.journal import Bodies
from magpie.llm.outcomes import effect_of
from magpie.llm.prices import Prices
from magpie.llm.providers.base import KeepsAnswers, Provider
from magpie.llm.reply import Exchange, Fault, Reply
from magpie.llm.schema import llm_call, llm_inflight
from magpie.llm.settlement import fault_settlement, settlement_of
from magpie.llm.store import Store

# A provider that cannot be reached is asked again by later sweeps, but not for ever.
RECOVER_FOR = timedelta(days=1)
# It may know tomorrow what it does not tell today.
PASSING = frozenset({"not_sent", "cut", "server", "limited", "overloaded", "auth", "payment_required"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepReport:
    """How many calls were voided (never sent), settled from their body, or given up at the estimate.

    A body is the journalled one, or what a provider that keeps its answers tells of the call.
    """

    voided: int
    settled: int
    lost: int


def sweep(
    store: Store,
    bodies: Bodies,
    providers: Mapping[str, Provider],
    prices: Prices,
    clock: Callable[[], datetime],
) -> SweepReport:
    """Bring every dead call to an end; safe to run at any time, in any number of processes."""
    settled = sum(_from_body(store, bodies, providers, prices, call_id, clock()) for call_id in bodies.waiting())
    now = clock()
    columns = (llm_call.c.id, llm_call.c.state, llm_call.c.provider, llm_call.c.created_at)
    expired = sa.select(*columns).where(
        llm_call.c.state.in_(("reserved", "sent", "unknown")), llm_call.c.lease_until < now
    )
    dead = store.read(lambda c: c.execute(expired).all())
    voided = lost = 0
    away: set[str] = set()
    for row in dead:
        if row.state == "reserved":
            voided += store.write(partial(_void, call_id=row.id, now=now))
            continue
        if bodies.find(row.id) is not None:
            continue
        told = _told(row, providers.get(row.provider), away)
        if isinstance(told, Exchange):
            bodies.keep(row.id, told)
            settled += _from_body(store, bodies, providers, prices, row.id, clock())
        elif told is None or told.kind not in PASSING or row.created_at < now - RECOVER_FOR:
            lost += store.write(partial(_lose, call_id=row.id, now=now))
    return SweepReport(voided, settled, lost)


def _told(row: sa.Row[Any], provider: Provider | None, away: set[str]) -> Exchange | Fault | None:
    """What a provider says of a call whose answer was lost; None: it does not keep any.

    Args:
        away: providers that could not be asked in this sweep; they are not asked again.
    """
    if not isinstance(provider, KeepsAnswers) or not provider.has_key:
        return None
    if row.provider in away:
        return Fault("not_sent", f"{row.provider} could not be asked")
    told = provider.recover(row.id)
    if isinstance(told, Fault):
        log.warning("%s does not tell what came of call %s: %s", row.provider, row.id, told.message)
        if told.kind in PASSING:
            away.add(row.provider)
    return told


def _from_body(
    store: Store,
    bodies: Bodies,
    providers: Mapping[str, Provider],
    prices: Prices,
    call_id: str,
    now: datetime,
) -> bool:
    row = store.read(lambda c: c.execute(sa.select(llm_call).where(llm_call.c.id == call_id)).first())
    if row is None or row.state not in ("sent", "unknown"):
        bodies.drop(call_id)  # settled, and its process died before it could say so
        return False
    exchange, provider = bodies.find(call_id), providers.get(row.provider)
    if exchange is None or provider is None:
        return False  # settled meanwhile; or its provider is not set up here, and whoever has it will do it
    change = _change(row, exchange, provider, prices, now)
    done = store.write(change)
    bodies.drop(call_id)
    return done


def _change(
    row: sa.Row[Any], exchange: Exchange, provider: Provider, prices: Prices, now: datetime
) -> Callable[[sa.Connection], bool]:
    read = provider.read(row.endpoint, exchange)
    rates = prices.rates(row.provider, row.model_asked, row.created_at.date())

    def change(connection: sa.Connection) -> bool:
        claims = sa.select(llm_inflight.c.request_key).where(llm_inflight.c.call_id == row.id)
        keys = list(connection.execute(claims.order_by(llm_inflight.c.item)).scalars()) or [row.request_key]
        if isinstance(read, Reply):
            outcome = settlement_of(read, exchange, row.endpoint, keys, rates, row.est_nano)
            breaker.probed(connection, row.id, now, worked=True)
            return ledger.settle(connection, row.id, outcome, now)
        effect = effect_of(read, row.provider, row.model_asked, row.est_nano, False, now)
        breaker.probed(connection, row.id, now, worked=None)
        if read.usage is not None:
            outcome = fault_settlement(read, read.usage, rates, effect.refused.reason)
            return ledger.settle(connection, row.id, outcome, now)
        if effect.books == "unknown":
            return ledger.lose(connection, row.id, now)
        return ledger.void(
            connection,
            row.id,
            now,
            counts=effect.counts,
            error_class=effect.refused.reason,
            error=read.message,
            http_status=read.status,
        )

    return change


def _void(connection: sa.Connection, call_id: str, now: datetime) -> bool:
    breaker.probed(connection, call_id, now, worked=None)
    return ledger.void(connection, call_id, now, counts=False, error_class=None, error="its process ended")


def _lose(connection: sa.Connection, call_id: str, now: datetime) -> bool:
    breaker.probed(connection, call_id, now, worked=None)
    return ledger.lose(connection, call_id, now)

"""The gateway: the one door to every model.

Belongs here: the order of things in one call: journal, price, reservation, slot, HTTP, settlement. Does not belong
here: the steps themselves (`journal.py`, `prices.py`, `ledger.py`, `providers/`), what is asked and whether an answer
is any good (`run.py`), many texts at once (`embedding.py`).

What it promises: settled plus reserved money never exceeds a cap, however many processes there are; the same request
is paid once; what was paid is on disk before it is read; a refusal is an answer, not an exception.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from magpie.llm import breaker, journal, ledger, pacing
from magpie.llm.free_tier import FreeTier
from magpie.llm.journal import Bodies, Entry
from magpie.llm.ledger import Booking, Reserved, Settlement, Taken
from magpie.llm.models import FREE_ALIAS, FREE_RULE, Model, is_free
from magpie.llm.outcomes import Effect, effect_of, handed_on
from magpie.llm.prices import TOKENS_PER_IMAGE, TOKENS_PER_MESSAGE, Prices, Rates
from magpie.llm.providers.base import Provider
from magpie.llm.purpose import Limits, Purpose
from magpie.llm.refusal import LEDGER_S, TRANSPORT_S, Reason, Refused, after
from magpie.llm.reply import Exchange, Fault, Reply
from magpie.llm.request import Ask, Request
from magpie.llm.settlement import fault_of, fault_settlement, settlement_of
from magpie.llm.store import LedgerUnavailable, Store
from magpie.llm.sweep import SweepReport, sweep
from magpie.utc import utc_now

Clock = Callable[[], datetime]
Sleep = Callable[[float], None]
# Told the name of each step of a call when it is done, with the call's id: the step log, and tests that kill.
Observer = Callable[[str, str], None]

# A first wait for another worker's answer or reservation, and the longest between two looks.
LOOK_FIRST_S, LOOK_LONGEST_S = 0.02, 1.0
# An answer that another worker is getting and that takes this long may be a dead worker's.
SWEEP_AFTER_S = 30

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GatewaySettings:
    """How calls are made.

    Attributes:
        timeout_s: of one HTTP request.
        retry_waits_s: pauses before the further tries of a call that met a passing fault.
        busy_wait_s: so long a call waits for open reservations of others to settle.
        allow_double_payment: ask again where an identical call was cut off and may have been paid.
    """

    timeout_s: float = 120
    retry_waits_s: tuple[float, ...] = (2, 8)
    busy_wait_s: float = 60
    allow_double_payment: bool = False


@dataclass(frozen=True)
class Terms:
    """How one call is made where its function has terms of its own.

    Attributes:
        timeout_s: of the HTTP request; None: as the gateway is set.
        send_by: when no slot is free by then, the call is not made.
        hand_on: the row goes to another model if this one fails, so a passing fault is not tried again within the
            call, and the model rests.
    """

    timeout_s: float | None = None
    send_by: datetime | None = None
    hand_on: bool = False


# Those of most functions.
TERMS = Terms()


@dataclass(frozen=True)
class Answered:
    """An answer: bought now, or found in the journal.

    Attributes:
        call_id: the call that bought it.
        cost_nano: 0 for a journal hit.
        saved_nano: what a hit did not cost again.
        state: unjudged, accepted or invalid.
    """

    reply: Reply
    call_id: str
    request_key: str
    cost_nano: int
    saved_nano: int
    hit: bool
    state: str


@dataclass(frozen=True)
class _TryAgain:
    """Nothing was decided: the day turned while the call waited for its slot."""


class Gateway:
    """Calls models within the limits.

    Args:
        store: the books.
        bodies: received bodies that wait to be settled.
        providers: by name; one client each, shared by all threads.
        prices: unknown models are refused.
        limits: the bounds of every scope.
        clock: UTC now.
        sleep: waits; never inside a transaction.
        observe: told every step.
    """

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        providers: Mapping[str, Provider],
        prices: Prices,
        limits: Limits,
        settings: GatewaySettings | None = None,
        *,
        clock: Clock = utc_now,
        sleep: Sleep = time.sleep,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        observe: Observer = lambda step, call_id: None,
    ) -> None:
        self.store, self.bodies, self.prices, self.limits = store, bodies, prices, limits
        self.settings = settings or GatewaySettings()
        self.providers = providers
        self.clock, self.sleep, self._new_id, self._observe = clock, sleep, new_id, observe
        self._free = FreeTier(store, providers, limits, clock)
        self._rates_lock = threading.Lock()
        self._rates: dict[tuple[str, str, str], Rates | None] = {}

    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request | Refused:
        """Word an ask for a model, or say why it cannot go there."""
        provider = self.providers.get(model.provider)
        if provider is None or not provider.has_key:
            detail = f"no key for {model.provider}: set it in the environment, or choose another provider"
            return Refused("provider_auth", detail)
        return provider.request(ask, model, sample)

    def find(self, requests: Sequence[Request]) -> dict[str, Entry]:
        """The journalled answers there are, by request key.

        Raises:
            LedgerUnavailable: the journal cannot be read.
        """
        return self.store.read(lambda c: journal.find(c, [request.key for request in requests]))

    def lookup(self, requests: Sequence[tuple[Request, Purpose]]) -> list[Answered | None]:
        """Answer from the journal what it can answer.

        Raises:
            LedgerUnavailable: the journal cannot be read.
        """
        found = self.find([request for request, _ in requests])
        return self.serve([(request, purpose, found.get(request.key)) for request, purpose in requests])

    def serve(self, requests: Sequence[tuple[Request, Purpose, Entry | None]]) -> list[Answered | None]:
        """Read journalled answers; each one that is given is a row of kind hit in the ledger."""
        answers: list[Answered | None] = []
        hits, unreadable = [], []
        for request, purpose, entry in requests:
            answer = self.recall(request, entry) if entry else None
            answers.append(answer)
            if entry and answer:
                asked = self.booking(request, purpose, 0, "journal", claims=())
                hits.append((asked, entry.cost_nano, answer.reply.model or None))
            elif entry:
                unreadable.append(entry.call_id)
        if unreadable:
            self.store.write(lambda c: journal.discard(c, unreadable))
        if hits:
            rows = ledger.hit_rows(hits, self.clock())
            self.store.write(lambda c: ledger.record_hits(c, rows))
        return answers

    def recall(self, request: Request, entry: Entry) -> Answered | None:
        """Read a journalled answer; None: it cannot be read. Nothing is booked."""
        known = self.providers.get(request.provider)
        reply = known.read(entry.endpoint, entry.exchange) if known else None
        if not isinstance(reply, Reply):
            return None
        return Answered(reply, entry.call_id, request.key, 0, entry.cost_nano, True, entry.state)

    def ask(self, request: Request, purpose: Purpose, *, reask: int = 0, terms: Terms = TERMS) -> Answered | Refused:
        """Answer one request: from the journal, or by a call within the limits.

        Never raises for what a provider, the network or the books do.
        """
        try:
            waits = Waits(self.sleep)
            while True:
                # A reservation sees by itself whether there is an answer, so the journal is read where one is refused.
                found = self.buy(request, purpose, (request.key,), reask=reask, terms=terms)
                if isinstance(found, Answered):
                    return found
                hit = self.lookup([(request, purpose)])[0]
                if hit:
                    return hit
                if isinstance(found, Refused):
                    return found
                waits.look()
                if waits.waited > SWEEP_AFTER_S:
                    self.sweep()
        except LedgerUnavailable as error:
            return self.unavailable(error)

    def rest(self, model: Model, detail: str, seconds: float) -> None:
        """Leave a model alone for a while.

        Raises:
            LedgerUnavailable: the books are away.
        """
        until = after(self.clock(), seconds)
        self.store.write(lambda c: pacing.cool(c, f"model:{model.name}", until, "cooling_down", detail))

    def probe(self, provider: str) -> Refused | None:
        """Ask a provider whether it takes the key; see `FreeTier.probe`."""
        return self._free.probe(provider)

    def unavailable(self, error: LedgerUnavailable) -> Refused:
        return Refused("ledger_unavailable", str(error), after(self.clock(), LEDGER_S))

    def ceiling(self, request: Request) -> tuple[int, str] | Refused:
        """The most a request can cost, in nano-USD, with the version of the price; or why it has none."""
        rates = self._rates_of(request.provider, request.model)
        if rates is None:
            detail = f"{request.provider}/{request.model} has no known price; enter it in prices.yaml"
            return Refused("unpriced_model", detail)
        size = request.wire_bytes, _messages(request), len(request.images), request.max_output_tokens
        return rates.ceiling(*size, images_made=request.images_made), rates.version

    def most_tokens(self, request: Request) -> tuple[int, int]:
        """The most tokens a request and its answer can have: those that its ceiling is reckoned by."""
        around = _messages(request) * TOKENS_PER_MESSAGE + len(request.images) * TOKENS_PER_IMAGE
        return request.wire_bytes + around, request.max_output_tokens

    def buy(
        self, request: Request, purpose: Purpose, claims: tuple[str, ...], *, reask: int = 0, terms: Terms = TERMS
    ) -> Answered | Refused | Taken:
        """Make the call, in as many tries as its faults are worth; do not wait for others who ask the same.

        Raises:
            LedgerUnavailable: the books are away. What was received stays on disk for the sweep.
        """
        if purpose.model_alias == FREE_ALIAS and not is_free(request.provider, request.model):
            return Refused("invalid_request", f"{FREE_RULE}; {request.provider}/{request.model} is neither")
        priced = self.ceiling(request)
        if isinstance(priced, Refused):
            return priced
        if self.free_tier(request):
            self._free.believe(request.provider)
        tries, waits = 0, Waits(self.sleep)
        while True:
            booking = self.booking(request, purpose, *priced, claims=claims, attempt=tries + 1, reask=reask)
            booking = replace(booking, send_by=terms.send_by)
            held = self._reserve(booking)
            if isinstance(held, Refused) and held.reason == "cap_busy" and waits.waited < self.settings.busy_wait_s:
                waits.look()
                continue
            if not isinstance(held, Reserved):
                return held
            self._observe("reserved", booking.call_id)
            outcome = self._call(request, booking, held.send_at, terms)
            if isinstance(outcome, Answered):
                return outcome
            if isinstance(outcome, Effect):
                if not outcome.retry or tries >= len(self.settings.retry_waits_s):
                    return self._final(outcome.refused)
                self.sleep(self.settings.retry_waits_s[tries])
                tries += 1

    def _reserve(self, booking: Booking) -> Reserved | Taken | Refused:
        return self.store.write(lambda c: ledger.reserve(c, booking, self.limits, self.clock()))

    def _call(
        self, request: Request, booking: Booking, send_at: datetime, terms: Terms
    ) -> Answered | Effect | _TryAgain:
        exchange = self._send(request, booking, send_at, terms.timeout_s or self.settings.timeout_s)
        if exchange is None:
            return _TryAgain()
        read = self.providers[request.provider].read(request.endpoint, exchange) if not exchange.failure else None
        if not isinstance(read, Reply):
            return self._book_fault(request, booking, read or fault_of(exchange), terms)
        settled = self._settle(request, booking, read, exchange)
        return Answered(read, booking.call_id, request.key, settled.cost_nano, 0, False, "unjudged")

    def _send(self, request: Request, booking: Booking, send_at: datetime, timeout: float) -> Exchange | None:
        """Wait for the slot and make the HTTP request; None: the reservation is void, its day or lease was over."""
        wait = (send_at - self.clock()).total_seconds()
        if wait > 0:
            self.sleep(wait)
        if not self.store.write(lambda c: ledger.mark_sent(c, booking.call_id, self.clock(), timeout)):
            return None
        self._observe("sent", booking.call_id)

        def keep(exchange: Exchange) -> None:
            self._observe("received", booking.call_id)
            try:
                self.bodies.keep(booking.call_id, exchange)
            except OSError as error:
                # It is in memory and about to be settled from there; only a crash in between would lose it.
                log.error("the answer of call %s could not be journalled: %s", booking.call_id, error.strerror)
            self._observe("journalled", booking.call_id)

        return self.providers[request.provider].send(replace(request, call_id=booking.call_id), timeout, keep)

    def _settle(self, request: Request, booking: Booking, reply: Reply, exchange: Exchange) -> Settlement:
        """Book what an answered call came to, journal its answers and let go of its body."""
        now, call_id = self.clock(), booking.call_id
        rates = self._rates_of(request.provider, request.model)
        settlement = settlement_of(reply, exchange, request.endpoint, booking.claims, rates, booking.est_nano)

        def change(connection: sa.Connection) -> None:
            ledger.settle(connection, call_id, settlement, now)
            breaker.probed(connection, call_id, now, worked=True)
            self.bodies.forget(connection, call_id)

        self.store.write(change)
        self._observe("settled", call_id)
        self.bodies.drop(call_id, forgotten=True)
        return settlement

    def sweep(self) -> SweepReport:
        """Settle, void or give up the calls of processes that died."""
        return sweep(self.store, self.bodies, self.providers, self.prices, self.clock)

    def _book_fault(self, request: Request, booking: Booking, fault: Fault, terms: Terms) -> Effect:
        """Do to the books what a fault does, and say what it means for the row."""
        now, call_id = self.clock(), booking.call_id
        effect = effect_of(fault, request.provider, request.model, booking.est_nano, booking.free_tier, now)
        if terms.hand_on:
            effect = handed_on(effect, fault, request.provider, request.model, now)
        refused = effect.refused
        facts = {"error": fault.message}

        def change(connection: sa.Connection) -> None:
            if effect.books == "unknown":
                ledger.leave_unknown(connection, call_id, now, fault.message, fault.status)
            elif effect.books == "settle" and fault.usage is not None:
                rates = self._rates_of(request.provider, request.model)
                ledger.settle(connection, call_id, fault_settlement(fault, fault.usage, rates, refused.reason), now)
            else:
                status, counts = fault.status, effect.counts
                ledger.void(
                    connection, call_id, now, counts=counts, error_class=refused.reason, http_status=status, **facts
                )
            if effect.cool:
                # Whoever meets the rest later was not the one whose call failed.
                why: Reason = "cooling_down" if refused.reason == "transport" else refused.reason
                pacing.cool(connection, *effect.cool, why, fault.message)
            if effect.stop:
                breaker.open_breaker(connection, effect.stop, now, None, "provider_auth", refused.detail)
            breaker.probed(connection, call_id, now, worked=False if effect.failure else None)
            self.bodies.forget(connection, call_id)

        self.store.write(change)
        self.bodies.drop(call_id, forgotten=True)
        return effect

    def free_tier(self, request: Request) -> bool:
        """Whether a call counts for OpenRouter's free calls of the day."""
        return request.provider == "openrouter" and request.model.endswith(":free")

    def booking(
        self,
        request: Request,
        purpose: Purpose,
        est: int,
        version: str,
        *,
        claims: tuple[str, ...],
        attempt: int = 1,
        reask: int = 0,
    ) -> Booking:
        return Booking(
            self._new_id(),
            request.key,
            claims,
            request.provider,
            request.model,
            request.endpoint,
            est,
            version,
            purpose,
            self.free_tier(request),
            attempt,
            reask,
            request.dropped_params,
            self.settings.allow_double_payment,
        )

    def _final(self, refused: Refused) -> Refused:
        """Give a passing fault its waiting time; the engine, which knows the row's past, lengthens it."""
        if refused.reason != "transport" or refused.not_before:
            return refused
        return replace(refused, not_before=after(self.clock(), TRANSPORT_S[0]))

    def _rates_of(self, provider: str, model: str) -> Rates | None:
        now = self.clock()
        key = (provider, model, f"{now:%Y-%m-%d}")
        with self._rates_lock:
            if key not in self._rates:
                self._rates[key] = self.prices.rates(provider, model, now.date())
            return self._rates[key]


def _messages(request: Request) -> int:
    messages = request.body.get("messages")
    return len(messages) if isinstance(messages, Sequence) else 1


class Waits:
    """Looks again and again at what others are doing, with growing pauses."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep, self._next, self.waited = sleep, LOOK_FIRST_S, 0.0

    def look(self) -> None:
        self._sleep(self._next)
        self.waited += self._next
        self._next = min(self._next * 2, LOOK_LONGEST_S)

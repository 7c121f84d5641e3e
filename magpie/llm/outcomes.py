"""What a fault does: to the books, to the scopes it concerns, and to the row.

Belongs here: the table of outcomes. Does not belong here: recognising a fault (`providers/`), changing the books
(`ledger.py`).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from magpie.llm.purpose import FREE_TIER, window_end
from magpie.llm.refusal import (
    FORBIDDEN_MODEL_S,
    PAYMENT_S,
    REST_S,
    UNKNOWN_S,
    Reason,
    Refused,
    after,
    clamped_cooldown,
)
from magpie.llm.reply import Fault

# An error body carries the code that the status would have had.
BY_STATUS: dict[int, str] = {400: "invalid_request", 404: "invalid_request", 413: "invalid_request"}
BY_STATUS |= {422: "invalid_request", 401: "auth", 403: "auth", 402: "payment_required", 429: "limited"}
BY_STATUS |= {529: "overloaded"}
HTTP_NOT_FOUND = 404


@dataclass(frozen=True)
class Effect:
    """What to do after a fault.

    Attributes:
        books: void gives the money back, unknown leaves it charged, settle books what the body said.
        counts: the attempt stays counted.
        retry: worth another try within the call.
        cool: a scope to let rest until then; its reason is the row's.
        stop: a provider to stop until an operator looks.
        failure: a failed probe keeps a breaker open.
        refused: what the row gets if nothing more is tried.
    """

    books: Literal["void", "unknown", "settle"]
    refused: Refused
    counts: bool = True
    retry: bool = False
    cool: tuple[str, datetime] | None = None
    stop: str | None = None
    failure: bool = False


def effect_of(fault: Fault, provider: str, model: str, est_nano: int, free_tier: bool, now: datetime) -> Effect:
    """Return what a fault of one call does."""
    kind = _kind(fault)
    books: Literal["void", "settle"] = "settle" if fault.usage is not None else "void"
    transport = Refused("transport", fault.message)
    if kind == "not_sent":
        return Effect("void", transport, counts=False, retry=True, failure=True)
    if kind == "server":
        return Effect(books, transport, retry=True, failure=True)
    if kind in ("cut", "bad_body", "error_body"):
        return _unknown(fault, est_nano, now)
    if kind == "refused":
        return Effect(books, Refused("refused", fault.message))
    if kind == "invalid_request":
        return Effect(books, Refused("invalid_request", fault.message))
    if kind == "auth":
        detail = f"{provider} refused the key ({fault.message}); correct it, then `magpie breaker reset`"
        return Effect(books, Refused("provider_auth", detail), stop=f"provider:{provider}")
    return _resting(fault, kind, books, provider, model, free_tier, now)


def handed_on(effect: Effect, fault: Fault, provider: str, model: str, now: datetime) -> Effect:
    """The same for a row that goes on to another model: what failed rests, and is not tried again meanwhile."""
    reason, rest_s = effect.refused.reason, REST_S
    if reason == "invalid_request" and fault.status == HTTP_NOT_FOUND:
        # Withdrawn models answer so, and neither the row nor the next hour can help it.
        reason, rest_s = "cooling_down", FORBIDDEN_MODEL_S
    elif reason != "transport":
        return effect
    until = after(now, rest_s)
    refused = replace(effect.refused, reason=reason, not_before=until)
    return replace(effect, retry=False, cool=(f"model:{provider}/{model}", until), refused=refused)


def _unknown(fault: Fault, est_nano: int, now: datetime) -> Effect:
    if fault.usage is not None:
        return Effect("settle", Refused("transport", fault.message), retry=False, failure=True)
    if est_nano == 0:
        # Nothing can have been paid, so it may be asked again; the attempt stays counted.
        return Effect("void", Refused("transport", fault.message), retry=True, failure=True)
    refused = Refused("unknown_outcome", fault.message, after(now, UNKNOWN_S))
    return Effect("unknown", refused, failure=True)


def _resting(
    fault: Fault,
    kind: str,
    books: Literal["void", "settle"],
    provider: str,
    model: str,
    free_tier: bool,
    now: datetime,
) -> Effect:
    """Limits, overload and unpaid bills: the model, the tier or the provider rests."""
    scope, reason = f"model:{provider}/{model}", "cooling_down"
    until = after(now, clamped_cooldown(fault.retry_after_s))
    if kind == "model_forbidden":
        until = after(now, FORBIDDEN_MODEL_S)
    elif kind == "payment_required":
        scope, reason = f"provider:{provider}", "payment_required"
        until = until if fault.retry_after_s is not None else after(now, PAYMENT_S)
    elif fault.until_reset:
        scope = FREE_TIER if free_tier else scope
        reason, until = "quota_exhausted", fault.reset_at or window_end("D", now) or until
    named: Reason = reason  # type: ignore[assignment]
    return Effect(books, Refused(named, fault.message, until), cool=(scope, until))


def _kind(fault: Fault) -> str:
    """The kind that counts: an error body's code decides, unless it leaves open whether the call was paid."""
    if fault.kind != "error_body" or fault.status is None:
        return fault.kind
    return BY_STATUS.get(fault.status, "error_body")

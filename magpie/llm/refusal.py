"""Why a call was not made or brought nothing, and when it is worth another try.

Belongs here: the taxonomy of reasons, what each does to a row, and its waiting time. Does not belong here: finding out
which one applies (`ledger.py`, `outcomes.py`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Reason = Literal[
    "cap_exhausted",
    "cap_busy",
    "request_too_large",
    "quota_exhausted",
    "credits_exhausted",
    "cooling_down",
    "batch_stopped",
    "payment_required",
    "breaker_open",
    "provider_auth",
    "unpriced_model",
    "ledger_unavailable",
    "transport",
    "unknown_outcome",
    "invalid_request",
    "invalid_output",
    "internal_error",
    "refused",
    "moderation_unavailable",
]

# Come back when input, settings or prices change; the row is failed, not waiting.
FINAL = frozenset({"invalid_request", "request_too_large", "unpriced_model"})
# The model declined by policy; asking again would bring the same.
REJECTED = frozenset({"refused"})
# The next candidate of an alias may serve where this one does not.
TRY_NEXT = frozenset({"cooling_down", "payment_required", "provider_auth", "breaker_open", "quota_exhausted"})
# Of them, those that concern an account or a function and no single model.
OF_ACCOUNT = TRY_NEXT - {"cooling_down"}
# What a model's answer to this very row was worth, and no fault of the way there.
OF_ANSWER = frozenset({"invalid_output", "internal_error", "refused"})
# Where a row is handed from model to model, the next one may also do better than one that failed on it.
HAND_ON = TRY_NEXT | {"transport", "invalid_output", "refused", "invalid_request"}

# A provider's own word is kept within these bounds: less is no wait at all, more hides a model for a day.
COOLDOWN_MIN_S, COOLDOWN_MAX_S, COOLDOWN_DEFAULT_S = 60, 3600, 900
# Another worker's reservations settle within a minute, as a rule.
BUSY_S = 60
# A model that failed is left alone as long as one that says nothing of its limit.
REST_S = COOLDOWN_DEFAULT_S
# A provider that wants money is looked at again a quarter of a day later.
PAYMENT_S = 6 * 3600
# A 403 of OpenRouter concerns one model, and for longer than a limit does.
FORBIDDEN_MODEL_S = 6 * 3600
LEDGER_S = 15 * 60
UNKNOWN_S = 3600
# By how often the same row has been through it: a passing fault, an outage, something for people to look at.
TRANSPORT_S = (15 * 60, 60 * 60, 6 * 3600)
INVALID_S = (15 * 60, 60 * 60)
# The third exhausted try is the last.
INVALID_TRIES = 3


@dataclass(frozen=True)
class Refused:
    """No answer.

    Attributes:
        reason: one of the taxonomy.
        not_before: when it may be tried again; None: it waits for an operator, or is final.
        detail: one line for people.
        observed: what was found, threshold: what it was held against; as text, for the row.
    """

    reason: Reason
    detail: str
    not_before: datetime | None = None
    observed: str | None = None
    threshold: str | None = None

    @property
    def status(self) -> str:
        """What becomes of the row."""
        if self.reason in FINAL:
            return "failed"
        return "rejected" if self.reason in REJECTED else "pending"


def after(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)


def out_of_time(slot: datetime, now: datetime) -> Refused:
    """What a row gets that has no time left for a call that could go out at `slot`."""
    detail = f"a call at {slot:%H:%M:%S} UTC would not be done in the time that is left"
    return Refused("batch_stopped", detail, after(now, REST_S))


def escalating(now: datetime, steps: tuple[int, ...], times: int) -> datetime:
    """Wait as the `times`-th step says (0 is the first time); from the last on it stays."""
    return after(now, steps[min(times, len(steps) - 1)])


def clamped_cooldown(seconds: float | None) -> float:
    if seconds is None:
        return COOLDOWN_DEFAULT_S
    return min(max(seconds, COOLDOWN_MIN_S), COOLDOWN_MAX_S)

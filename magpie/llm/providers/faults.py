"""What went wrong, from a status and a body.

Belongs here: the one table from HTTP statuses and providers' codes to `Fault`. Does not belong here: waiting times
(`waits.py`), what a fault does to the books (`../outcomes.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from magpie.llm.providers.text import Secret, one_line
from magpie.llm.providers.waits import Wait, openrouter_wait, retry_after
from magpie.llm.reply import Exchange, Fault, FaultKind, Usage

# Words for a status: in `error.code`, `error.type` or OpenRouter's `error.metadata.error_type`.
STATUS_OF_WORD: dict[str, int] = {
    **dict.fromkeys(("invalid_request_error", "invalid_request", "invalid_prompt", "context_length_exceeded"), 400),
    **dict.fromkeys(("authentication_error", "authentication", "invalid_api_key"), 401),
    **dict.fromkeys(("billing_error", "payment_required", "insufficient_quota"), 402),
    **dict.fromkeys(("permission_error", "permission_denied"), 403),
    **dict.fromkeys(("not_found_error", "not_found", "model_not_found"), 404),
    **dict.fromkeys(("request_too_large", "payload_too_large"), 413),
    "unprocessable": 422,
    **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded"), 429),
    **dict.fromkeys(("api_error", "server_error", "server"), 500),
    "provider_unavailable": 502,
    "provider_overloaded": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
}
# What was asked for is against a provider's rules; asking again would bring the same.
POLICY_CODES = frozenset(
    {"moderation_blocked", "content_policy_violation", "contentPolicyViolation", "contentModeration"}
    | {"nsfwContentDetected", "invalidProviderContent"}
)
# Money is what is missing, whatever the status: OpenAI says so with 429 and 400.
MONEY_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"})
# Anthropic says so with 400, and only in words.
MONEY_WORDS = "credit balance is too low"
# Where one of them stands, there is an answer, whatever else stands beside it.
ANSWERS = frozenset({"choices", "content", "data", "results"})
# OpenRouter's 402 that passes by itself: what is under way holds the balance.
IN_FLIGHT = "openrouter_in_flight_budget"
# What that takes when the answer does not say: requests under way are done after a minute.
IN_FLIGHT_S = 60.0
# A 403 of OpenRouter that concerns a spent budget, not the model.
BUDGET_SOURCES = frozenset({"openrouter_key_limit", "openrouter_guardrail_budget", "openrouter_workspace_budget"})


@dataclass(frozen=True)
class ErrorBody:
    """What a body says about an error.

    Attributes:
        status: the one it names itself, for a 200 that failed.
        codes: every word it uses for the kind.
    """

    message: str
    status: int | None
    codes: frozenset[str]
    raw: Mapping[str, Any]


def error_of(body: Any) -> ErrorBody | None:
    """The error in a parsed body; None if it holds none."""
    if not isinstance(body, Mapping):
        return None
    told = body.get("error") or _of_choice(body)
    if isinstance(told, str) and told:
        return ErrorBody(told, None, frozenset(), {})
    if not isinstance(told, Mapping):
        # Of a proxy, or of a server that words errors as its web framework does.
        plain = None if ANSWERS & body.keys() else body.get("message") or body.get("detail")
        return ErrorBody(str(plain), None, frozenset(), {}) if plain else None
    if not told:
        return None
    metadata = told.get("metadata")
    words = [told.get("code"), told.get("type"), metadata.get("error_type") if isinstance(metadata, Mapping) else None]
    codes = [str(word) for word in words if isinstance(word, str | int) and not isinstance(word, bool)]
    message = told.get("message")
    return ErrorBody(str(message or ", ".join(codes) or "no message"), _status(codes), frozenset(codes), told)


def _of_choice(body: Mapping[str, Any]) -> Any:
    """OpenRouter: a generation that failed under way tells so in its choice."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first.get("error") if isinstance(first, Mapping) else None


def of_status(
    provider: str,
    exchange: Exchange,
    error: ErrorBody | None,
    clock: datetime,
    secret: Secret,
    usage: Usage | None = None,
    request_id: str | None = None,
) -> Fault:
    """The fault of an answer whose status is no success."""
    status = exchange.status or 0
    wait = _wait(provider, exchange.headers, error, clock)
    kind = _kind(provider, status, error)
    if kind == "payment_required":
        wait = _payment_wait(error, wait)
    words = error.message if error else exchange.body[:400].decode("utf-8", "replace")
    message = secret.out_of(one_line(f"HTTP {status}: {words}" if words.strip() else f"HTTP {status}"))
    return Fault(kind, message, status, wait.seconds, wait.until_reset, wait.reset_at, usage, request_id)


def of_error_body(
    provider: str,
    exchange: Exchange,
    error: ErrorBody,
    clock: datetime,
    secret: Secret,
    usage: Usage | None = None,
    request_id: str | None = None,
) -> Fault:
    """The fault of a success whose body says it failed; `status` is the one that the body names."""
    wait = _wait(provider, exchange.headers, error, clock)
    kind: FaultKind = "error_body"
    status = error.status
    if status is not None and _kind(provider, status, error) in ("model_forbidden", "payment_required"):
        # The status alone would be taken for a refused key, or for a limit that passes.
        kind = _kind(provider, status, error)
        wait = _payment_wait(error, wait) if kind == "payment_required" else wait
    message = secret.out_of(one_line(f"HTTP {exchange.status} with an error: {error.message}"))
    return Fault(kind, message, status, wait.seconds, wait.until_reset, wait.reset_at, usage, request_id)


def _kind(provider: str, status: int, error: ErrorBody | None) -> FaultKind:
    if status in (400, 403, 429) and _wants_money(status, error):
        return "payment_required"
    if status in (400, 403, 422) and error is not None and error.codes & POLICY_CODES:
        return "refused"
    if status == 401:
        return "auth"
    if status == 402:
        return "payment_required"
    if status == 403:
        return "model_forbidden" if provider == "openrouter" else "auth"
    if status == 407:
        # A proxy on the way wants credentials: the provider never saw the request.
        return "not_sent"
    if status == 429:
        return "limited"
    if status == 529:
        return "overloaded"
    if status in (408, 409, 425) or status >= 500:
        return "server"
    # Other refusals, and redirects, which are not followed: a wrong base URL, as a rule.
    return "invalid_request"


def _wants_money(status: int, error: ErrorBody | None) -> bool:
    if error is None:
        return False
    if status == 403:
        return _limit_source(error) in BUDGET_SOURCES
    return bool(error.codes & MONEY_CODES) or (status == 400 and MONEY_WORDS in error.message.lower())


def _payment_wait(error: ErrorBody | None, wait: Wait) -> Wait:
    if wait.seconds is None and error is not None and _limit_source(error) == IN_FLIGHT:
        return Wait(IN_FLIGHT_S)
    return Wait(wait.seconds, False, wait.reset_at)


def _wait(provider: str, headers: Mapping[str, str], error: ErrorBody | None, clock: datetime) -> Wait:
    if provider == "openrouter":
        return openrouter_wait(headers, error.raw if error else {}, clock)
    return Wait(retry_after(headers, clock))


def _limit_source(error: ErrorBody) -> str:
    metadata = error.raw.get("metadata")
    return str(metadata.get("limit_source", "")) if isinstance(metadata, Mapping) else ""


def _status(codes: list[str]) -> int | None:
    for code in codes:
        if code.isascii() and code.isdigit() and len(code) == 3 and code[0] in "45":
            return int(code)
    return next((STATUS_OF_WORD[code] for code in codes if code in STATUS_OF_WORD), None)

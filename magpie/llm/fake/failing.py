"""What each fault puts on the wire: statuses, headers and bodies that are no answer.

Belongs here: errors as each API words them, waits in every form, spoilt bodies. Does not belong here: which request
meets which fault (`misbehaviour.py`), the connection (`handler.py`).
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from magpie.llm.fake import apis, runware
from magpie.llm.fake.apis import Wrong
from magpie.llm.fake.misbehaviour import STATUSES, FakeFault

MESSAGES = {
    "400": "The request could not be understood.",
    "401": "Incorrect API key provided.",
    "402": "Your credit balance is used up. Add credits and try again.",
    "402_transient": "This request would exceed your available credits given your in-flight requests.",
    "403": "This model is not available to you.",
    "404": "The model does not exist.",
    "408": "The request timed out.",
    "413": "The request is too large.",
    "422": "The request is well-formed but cannot be processed.",
    "429": "Rate limit exceeded",
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
    "500": "The server had an error while processing your request.",
    "502": "The provider returned an invalid response.",
    "503": "The service is unavailable.",
    "529": "Overloaded",
    "redirect": "Moved.",
}
# How long the wait is where a form is named without a number.
WAIT_S = 30
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in to the network.</body></html>"


def error_body(api: str, wrong: Wrong, request_id: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An error as the API words it."""
    if api == "runware":
        return runware.error_body(wrong, request_id)
    return apis.error_body(api, wrong, request_id, metadata)


def failed(
    fault: FakeFault, api: str, request_id: str, now: datetime, free_limit: int
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a fault that is told by a status."""
    status = STATUSES[fault.kind]
    headers = {"content-type": "application/json", **wait_headers(fault.retry_after, api, now, free_limit)}
    if fault.kind == "redirect":
        headers["location"] = "/elsewhere"
    daily = fault.retry_after == "daily" and api == "openrouter"
    message = f"{MESSAGES[fault.kind]}: free-models-per-day" if daily else MESSAGES[fault.kind]
    code = {"insufficient_quota": "insufficient_quota", "429": "rate_limit_exceeded"}.get(fault.kind)
    wrong = Wrong(status, message, code)
    metadata = _metadata(fault, headers) if api == "openrouter" else None
    return status, headers, json.dumps(error_body(api, wrong, request_id, metadata)).encode()


def wait_headers(wait: str, api: str, now: datetime, free_limit: int) -> dict[str, str]:
    """The headers that ask for a wait, as the form says."""
    form, _, amount = wait.partition(":")
    seconds = int(amount) if amount else WAIT_S
    if form == "none":
        return {}
    if form == "date":
        return {"retry-after": format_datetime((now + timedelta(seconds=seconds)).astimezone(UTC), usegmt=True)}
    if form == "ms":
        return {"retry-after-ms": amount or str(WAIT_S * 1000)}
    if form == "daily":
        midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
        if api != "openrouter":
            return {"retry-after": str(int((midnight - now).total_seconds()) + 1)}
        reset = str(int(midnight.timestamp() * 1000))
        return {"x-ratelimit-limit": str(free_limit), "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    return {"retry-after": wait}


def _metadata(fault: FakeFault, headers: Mapping[str, str]) -> dict[str, Any] | None:
    limits = {name: value for name, value in headers.items() if name.startswith("x-ratelimit-")}
    if limits:
        return {"error_type": "rate_limit_exceeded", "headers": limits, "provider_name": None}
    return {
        "402": {"limit_source": "openrouter_credits", "remedy_hint": "Add credits."},
        "402_transient": {"reason": "in_flight_budget_exhausted", "limit_source": "openrouter_in_flight_budget"},
        "429": {"error_type": "rate_limit_exceeded"},
        "503": {"error_type": "provider_overloaded"},
    }.get(fault.kind)


def spoilt(kind: str, api: str, body: dict[str, Any], request_id: str) -> tuple[str, bytes]:
    """Content type and body of a success that is none."""
    whole = json.dumps(body).encode()
    if kind == "html_200":
        return "text/html; charset=utf-8", HTML
    if kind == "malformed_json":
        return "application/json", whole[: len(whole) * 2 // 3]
    if kind == "empty_200":
        return "application/json", b""
    if kind == "missing_choices":
        left_out = ("choices", "content", "data", "results")
        return "application/json", json.dumps({name: body[name] for name in body if name not in left_out}).encode()
    error = error_body(api, Wrong(502, "The provider failed while it answered."), request_id)
    return "application/json", json.dumps(error | {"usage": body["usage"]} if "usage" in body else error).encode()

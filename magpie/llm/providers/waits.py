"""How long a provider asks to wait, in every way that providers say it.

Belongs here: `Retry-After` as seconds, date and milliseconds, and OpenRouter's times of reset. Does not belong here:
what kind of fault it is (`faults.py`), how long is waited in the end (`refusal.py`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

# A month: budgets of a key or a workspace end at the latest then; a longer wait is a slip of the server, and adding
# one to a date could leave the calendar.
MOST_WAIT_S = 31 * 24 * 3600.0
# Above it a number of time is milliseconds: as seconds it would be after the year 5000.
MILLISECONDS_FROM = 1e11
# Above it a number of seconds to wait is the time until which to wait: as seconds it would be half a century.
EPOCH_FROM = 1.5e9
# A limit whose end is further away than this is one of the day, not of the minute.
DAILY_FROM_S = 3600.0
# Up to epoch milliseconds; no sign, no exponent, no digits of other scripts.
NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True)
class Wait:
    """What a provider said about coming back.

    Attributes:
        seconds: to wait, if it said so.
        until_reset: the limit is one of the day.
        reset_at: when the limit ends, if it said so.
    """

    seconds: float | None = None
    until_reset: bool = False
    reset_at: datetime | None = None


def retry_after(headers: Mapping[str, str], clock: datetime) -> float | None:
    """Seconds to wait as `retry-after-ms` or `retry-after` say, at least 0; None if neither can be read.

    Some servers put the epoch time of the reset where seconds should be.

    Args:
        headers: lower-case names.
        clock: what a date is measured from if the answer has no date of its own.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(milliseconds / 1000, MOST_WAIT_S)
    value = headers.get("retry-after", "").strip()
    seconds = _number(value)
    if seconds is not None and seconds > EPOCH_FROM:
        now = answered_at(headers, clock)
        moment = _instant(value, now)
        return MOST_WAIT_S if moment is None else max((moment - now).total_seconds(), 0.0)
    if seconds is not None:
        return min(seconds, MOST_WAIT_S)
    until = http_date(value)
    if until is None:
        return None
    wait = (until - answered_at(headers, clock)).total_seconds()
    return min(max(wait, 0.0), MOST_WAIT_S)


def answered_at(headers: Mapping[str, str], clock: datetime) -> datetime:
    """When the server answered, by its own clock: only that tells how far off its other times are."""
    return http_date(headers.get("date", "")) or clock


def http_date(value: str) -> datetime | None:
    """Parse an HTTP date in any of its three forms; None for anything else."""
    # A bare number would pass for a date with most of its parts missing.
    if not any(char.isalpha() for char in value):
        return None
    try:
        parsed = parsedate_to_datetime(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def openrouter_wait(headers: Mapping[str, str], error: Mapping[str, Any], clock: datetime) -> Wait:
    """What OpenRouter's headers and the metadata of its error say.

    Its limits of the minute and of the day share a status. The day's is known by its name, or by its end being hours
    away; a limit of the company that serves the model is never the day's of the account.
    """
    metadata = _mapping(error.get("metadata"))
    inner = {str(name).lower(): str(value) for name, value in _mapping(metadata.get("headers")).items()}
    told = {**inner, **headers}
    now = answered_at(headers, clock)
    reset_at = _instant(metadata.get("resets_at"), now) or _instant(told.get("x-ratelimit-reset"), now)
    seconds = retry_after(told, clock)
    if seconds is None:
        seconds = _number(str(metadata.get("retry_after_seconds", "")))
    until_reset_s = (reset_at - now).total_seconds() if reset_at else 0.0
    named = f"{metadata.get('limit_source', '')} {error.get('message', '')}".lower()
    ours = not (metadata.get("provider_name") or metadata.get("provider_code"))
    by_name = any(word in named for word in ("per-day", "per day", "daily"))
    daily = ours and (by_name or (seconds is None and until_reset_s > DAILY_FROM_S))
    if seconds is None and reset_at and not daily:
        seconds = max(until_reset_s, 0.0)
    return Wait(seconds, daily, reset_at)


def _instant(value: Any, now: datetime) -> datetime | None:
    """A time as epoch seconds, epoch milliseconds or ISO 8601; None unless it lies within the longest wait."""
    text = str(value if value is not None else "").strip()
    number = _number(text)
    try:
        if number is not None:
            moment = datetime.fromtimestamp(number / 1000 if number >= MILLISECONDS_FROM else number, UTC)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment if abs(moment - now) <= timedelta(seconds=MOST_WAIT_S) else None
    except (ValueError, OverflowError, OSError):
        return None


def _number(text: str) -> float | None:
    found = NUMBER.fullmatch(text.strip())
    value = float(found[0]) if found else math.nan
    return value if math.isfinite(value) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

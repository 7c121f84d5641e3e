"""What comes back from a provider: the bytes, what they say, and what went wrong.

Belongs here: the shapes that gateway, providers and sweep share. Does not belong here: reading a provider's JSON
(`providers/`), what an outcome does to the books (`outcomes.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

FinishReason = Literal["stop", "length", "refused", "other"]

FaultKind = Literal[
    "not_sent",  # connection refused, DNS, TLS: nothing went out
    "cut",  # sent, and no whole answer came back
    "invalid_request",  # 400, 404, 413, 422
    "refused",  # 400 and its like, because of what was asked for
    "auth",  # 401, 403
    "model_forbidden",  # a 403 that concerns this model only
    "payment_required",  # 402
    "limited",  # 429
    "overloaded",  # 529
    "server",  # 408 and other 5xx
    "error_body",  # 200 whose body says it failed
    "bad_body",  # 200 that is no answer of this API: HTML, broken JSON
]


@dataclass(frozen=True)
class Usage:
    """Tokens of one call; `input_tokens` holds cached reads and cache writes too, whatever the provider's habit."""

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0


@dataclass(frozen=True)
class Exchange:
    """One HTTP exchange as it happened.

    Attributes:
        status: None when no answer came.
        headers: lower-case names; only what tells about limits and ids.
        body: the whole body as received.
        failure: None, `not_sent` (nothing billable can have happened) or `cut` (sent, the outcome is unknown).
        error: one line for people, without secrets.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    failure: Literal["not_sent", "cut"] | None = None
    error: str = ""


@dataclass(frozen=True)
class Reply:
    """A paid answer, read from its bytes.

    Attributes:
        text: the answer; for moderation the JSON of the results.
        vectors: for embeddings, one little-endian float32 array per text, as bytes, in the order asked.
        blobs: for images, their bytes.
        usage: None when the provider told none; it is then booked at the estimate, never as 0.
        model: as served.
        cost_nano: what the provider says it charged, in nano-USD; None when it does not.
    """

    text: str = ""
    vectors: tuple[bytes, ...] = ()
    blobs: tuple[bytes, ...] = ()
    usage: Usage | None = None
    model: str = ""
    finish_reason: FinishReason = "stop"
    provider_request_id: str | None = None
    cost_nano: int | None = None


@dataclass(frozen=True)
class Fault:
    """Why there is no answer.

    Attributes:
        retry_after_s: what the provider asked to wait, in seconds, if it did.
        until_reset: the limit is one of the day: waiting less is of no use.
        reset_at: when that limit ends, if the provider told.
        usage: what an error body says was used all the same.
    """

    kind: FaultKind
    message: str
    status: int | None = None
    retry_after_s: float | None = None
    until_reset: bool = False
    reset_at: datetime | None = None
    usage: Usage | None = None
    provider_request_id: str | None = None


@dataclass(frozen=True)
class FreeQuota:
    """Free calls of an account on the current UTC day, as the provider counts them.

    Attributes:
        balance_negative: then free models are refused too; None if it does not tell.
    """

    limit: int
    used: int
    remaining: int
    balance_negative: bool | None = None

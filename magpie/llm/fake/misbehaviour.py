"""Ways in which the fake provider fails, and when.

Belongs here: the kinds of fault, which requests they meet, how they are written. Does not belong here: what a fault
puts on the wire (`apis.py`, `handler.py`).
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from magpie.errors import UserError

# Answered with an error status; the value is the status.
STATUSES: dict[str, int] = {
    **{str(code): code for code in (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529)},
    "402_transient": 402,
    "insufficient_quota": 429,
    "redirect": 307,
}
# The connection misbehaves. `timeout_before` does so with the request unread, so nothing is answered; the others
# have the answer ready, and it is billed.
CONNECTIONS = ("timeout_before", "timeout_after", "cut_before_headers", "cut_mid_body", "trickle", "bad_gzip")
# A success that is none.
BODIES = ("html_200", "error_200", "malformed_json", "empty_200", "missing_choices")
# An answer in a bad shape.
TEXTS = ("fenced", "prose", "truncated", "schema_violation", "empty", "length", "refusal")
# Honest answers with counts that are not, or that take reading.
USAGES = ("usage_zero", "usage_huge", "usage_missing", "usage_cached")
KINDS = (*STATUSES, "delay", "gzip", *CONNECTIONS, *BODIES, *TEXTS, *USAGES)
# Asks for a wait: seconds, `date` or `date:SECONDS`, `ms:NUMBER`, `daily` (done for the day), `none`.
WAITS = ("none", "daily", "date")
# As long as a time-out takes unless told otherwise: longer than any client waits. Stopping the server ends it.
HANG_S = 3600.0
TRICKLE_S = 0.05


@dataclass(frozen=True)
class FakeFault:
    """What happens to the next requests that match, instead of an answer or to it.

    Attributes:
        kind: one of `KINDS`.
        times: how many requests it meets; None: all.
        after: matching requests that it lets pass first.
        endpoint: `chat/completions`, `messages`, ...; None: any that calls a model. What is only looked at, `key` and
            `models`, fails when it is named.
        model: as asked; None: any.
        match: text that the request's body holds; None: any.
        retry_after: `1`, `300`, `date`, `date:90`, `ms:1500`, `daily`, `none`.
        delay_s: before answering; of a time-out how long it hangs, of a trickle the pause between bytes.
    """

    kind: str
    times: int | None = 1
    after: int = 0
    endpoint: str | None = None
    model: str | None = None
    match: str | None = None
    retry_after: str = "none"
    delay_s: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"no fault {self.kind!r}; there are {', '.join(KINDS)}")
        if self.kind == "timeout_before" and (self.model or self.match):
            raise UserError("timeout_before leaves the request unread, so it takes neither model nor match")
        amount = self.retry_after.partition(":")[2] or "0"
        known = self.retry_after in WAITS or self.retry_after.startswith(("date:", "ms:"))
        if not (amount if known else self.retry_after).isdecimal():
            raise UserError(f"retry_after {self.retry_after!r} is none of a number, {', '.join(WAITS)}, date:N, ms:N")
        if (self.times is not None and self.times < 1) or self.after < 0 or (self.delay_s or 0) < 0:
            raise UserError(f"{self.kind}: times must be at least 1, after and delay_s at least 0")

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "FakeFault":
        """Build one from names and values, as JSON and the command line give them; `times` may be `always`.

        Raises:
            UserError: a name or value is none.
        """
        known = {known.name for known in fields(cls)}
        unknown = sorted(set(told) - known)
        if unknown or told.get("kind") is None:
            raise UserError(
                f"a fault has {', '.join(sorted(known))}; {', '.join(unknown) or 'kind'} is wrong or missing"
            )
        given = {name: value for name, value in told.items() if value is not None}
        always = "times" in told and told["times"] in (None, "always")
        try:
            return cls(
                str(given["kind"]),
                times=None if always else int(given.get("times", 1)),
                after=int(given.get("after", 0)),
                endpoint=given.get("endpoint"),
                model=given.get("model"),
                match=given.get("match"),
                retry_after=str(given.get("retry_after", "none")),
                delay_s=float(given["delay_s"]) if "delay_s" in given else None,
            )
        except (TypeError, ValueError):
            raise UserError(f"fault {given['kind']}: times, after and delay_s are numbers") from None

    @classmethod
    def parse(cls, text: str) -> "FakeFault":
        """Read `KIND[,name=value]...`, as in `429,retry_after=300,times=always`.

        Raises:
            UserError: it cannot be read so.
        """
        kind, *rest = (part.strip() for part in text.split(","))
        pairs = [part.partition("=") for part in rest]
        if any(not equals for _, equals, _ in pairs):
            raise UserError(f"fault {text!r}: write it as KIND,name=value, for example 429,retry_after=300,times=3")
        return cls.of({"kind": kind, **{name.strip(): value.strip() for name, _, value in pairs}})


@dataclass
class _Waiting:
    fault: FakeFault
    to_pass: int
    left: int | None


class Faults:
    """Faults that wait for their requests; the first that matches is taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def add(self, fault: FakeFault) -> None:
        with self._lock:
            self._waiting.append(_Waiting(fault, fault.after, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, endpoint: str, model: str, body: bytes, unread: bool, *, named: bool = False) -> FakeFault | None:
        """The fault of this request, if any.

        Args:
            named: only one that names the endpoint.
            unread: whether the body is yet to be read; only then `timeout_before` is taken, and nothing else.
        """
        with self._lock:
            for waiting in self._waiting:
                if not _meets(waiting.fault, endpoint, model, body, unread) or (named and not waiting.fault.endpoint):
                    continue
                if waiting.to_pass:
                    waiting.to_pass -= 1
                    continue
                if waiting.left is not None:
                    waiting.left -= 1
                    if not waiting.left:
                        self._waiting.remove(waiting)
                return waiting.fault
        return None

    def waiting(self) -> list[FakeFault]:
        """What has yet to happen."""
        with self._lock:
            return [replace(one.fault, after=one.to_pass, times=one.left) for one in self._waiting]


def _meets(fault: FakeFault, endpoint: str, model: str, body: bytes, unread: bool) -> bool:
    return (
        (fault.kind == "timeout_before") == unread
        and fault.endpoint in (None, endpoint)
        and fault.model in (None, model)
        and (fault.match is None or fault.match.encode() in body)
    )

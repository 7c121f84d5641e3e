"""What the fake provider saw: the judge of those who claim to call once and to pay once.

Belongs here: counting requests, answers and money. Does not belong here: answering (`handler.py`).
"""

import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

# So many requests are remembered one by one; counts go on for ever.
MOST_REQUESTS = 10_000


@dataclass(frozen=True)
class Seen:
    """One request to a model as it arrived.

    Attributes:
        number: from 1.
        api: openai, anthropic, openrouter, local.
        sha256: of the body as canonical JSON; empty if it was not read, or is no JSON.
        outcome: `answered`, `invalid`, or the kind of fault.
        billed: an answer was made, so that a real provider wants to be paid, whether or not it arrived.
        headers: as received, without the key.
    """

    number: int
    api: str
    endpoint: str
    model: str
    sha256: str
    outcome: str
    status: int | None
    billed: bool
    billed_nano: int = 0
    body: dict[str, Any] = field(default_factory=dict, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)


class Counters:
    """Counts of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but the requests under way."""
        with self._lock:
            self.attempts, self.billed_nano, self.most_in_flight = 0, 0, 0
            self._answered: Counter[tuple[str, str]] = Counter()
            self._free = 0
            self._requests: deque[Seen] = deque(maxlen=MOST_REQUESTS)

    @contextmanager
    def arriving(self) -> Iterator[int]:
        """Count a request while it is served; gives its number."""
        with self._lock:
            self.attempts += 1
            number = self.attempts
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            yield number
        finally:
            with self._lock:
                self._in_flight -= 1

    def record(self, seen: Seen) -> None:
        with self._lock:
            self._requests.append(seen)
            self.billed_nano += seen.billed_nano
            if seen.billed:
                self._answered[seen.endpoint, seen.sha256] += 1

    def count_free(self) -> int:
        """Count one attempt of the free tier; returns how many there were before."""
        with self._lock:
            self._free += 1
            return self._free - 1

    @property
    def free_attempts(self) -> int:
        with self._lock:
            return self._free

    @property
    def answered(self) -> dict[tuple[str, str], int]:
        """How often each request was answered, by endpoint and hash of its body."""
        with self._lock:
            return dict(self._answered)

    @property
    def requests(self) -> list[Seen]:
        with self._lock:
            return list(self._requests)

    def summary(self) -> dict[str, Any]:
        """All counts as JSON."""
        answered = self.answered
        rows = [{"endpoint": e, "sha256": sha, "times": times} for (e, sha), times in sorted(answered.items())]
        with self._lock:
            return {
                "attempts": self.attempts,
                "answered": sum(answered.values()),
                "answered_requests": rows,
                "answered_more_than_once": sum(times > 1 for times in answered.values()),
                "in_flight": self._in_flight,
                "most_in_flight": self.most_in_flight,
                "free_attempts": self._free,
                "billed_nano": self.billed_nano,
            }

    def listing(self) -> list[dict[str, Any]]:
        """The remembered requests as JSON."""
        return [asdict(seen) for seen in self.requests]

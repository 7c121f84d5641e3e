"""A model provider on loopback that costs nothing: five APIs in full, and every way in which they fail.

Belongs here: the server's life and what can be set and asked of it. Does not belong here: its parts (`fake/`).

For tests and for rehearsing failures (`magpie dev fake-provider`). Its counters are kept apart from any ledger, so
that they can judge one. Over HTTP, for other processes: `GET /_fake/counters`, `GET /_fake/requests`,
`GET|POST|DELETE /_fake/faults`, `POST /_fake/reset`.
"""

import socket
import sys
import threading
from collections.abc import Callable, Collection
from datetime import datetime
from http.server import ThreadingHTTPServer
from typing import Any, Self

from magpie.llm.fake.apis import BASE_PATHS
from magpie.llm.fake.counters import Counters, Seen
from magpie.llm.fake.handler import Handler
from magpie.llm.fake.misbehaviour import FakeFault, Faults
from magpie.llm.fake.replies import Price, per_million
from magpie.llm.fake.runware import Tasks
from magpie.utc import utc_now

__all__ = ["FakeFault", "FakeProvider", "Seen", "per_million"]

Responder = Callable[[dict[str, Any]], str]
# As an account has it that once bought credits.
FREE_LIMIT = 1000
# How often a stopping server looks whether it is to stop.
POLL_S = 0.02


class FakeProvider:
    """The server; use as a context manager.

    Args:
        port: 0 takes a free one.
        latency_s: before each answer.
        responder: makes the text of an answer from the request's body; None: the smallest instance of its schema.
        models: known ones; others get 404. None: all are.
        keys: accepted ones; None: any that is not empty.
        price: nano-USD of a call by model and usage; None: nothing is billed.
        free_limit: calls of OpenRouter's free models before they are refused for the day.
        free_used: of them, used before this server started.
        balance_usd: what is left on the OpenRouter account.
        now: UTC.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        latency_s: float = 0.0,
        responder: Responder | None = None,
        models: Collection[str] | None = None,
        keys: Collection[str] | None = None,
        price: Price | None = None,
        free_limit: int = FREE_LIMIT,
        free_used: int = 0,
        balance_usd: float | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.latency_s, self.responder, self.price, self.now = latency_s, responder, price, now
        self.models = None if models is None else frozenset(models)
        self.keys = None if keys is None else frozenset(keys)
        self.free_limit, self.free_used, self.balance_usd = free_limit, free_used, balance_usd
        self.counters, self.faults, self.tasks = Counters(), Faults(), Tasks()
        self._stopping = threading.Event()
        self._server = _Server(port, type("BoundHandler", (Handler,), {"fake": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True)

    @property
    def url(self) -> str:
        """Without a trailing slash; the APIs are below it, see `base_url`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def base_url(self, provider: str) -> str:
        """What to set as base URL of a provider: openai, anthropic, openrouter, local, runware."""
        return self.url + BASE_PATHS[provider]

    def misbehave(self, kind: str, **settings: Any) -> None:
        """Queue a fault; settings are those of `FakeFault`.

        Raises:
            UserError: there is no such kind or setting.
        """
        self.faults.add(FakeFault.of({"kind": kind, "times": 1, **settings}))

    @property
    def attempts(self) -> int:
        """Requests to a model that arrived, whatever became of them."""
        return self.counters.attempts

    @property
    def answered(self) -> dict[tuple[str, str], int]:
        """How often an answer was made, by endpoint and sha256 of the canonical body; lost answers count."""
        return self.counters.answered

    @property
    def answered_total(self) -> int:
        return sum(self.answered.values())

    @property
    def answered_twice(self) -> list[tuple[str, str]]:
        """What was answered, and so paid, more than once."""
        return sorted(request for request, times in self.answered.items() if times > 1)

    @property
    def requests(self) -> list[Seen]:
        """The latest requests, oldest first."""
        return self.counters.requests

    @property
    def most_in_flight(self) -> int:
        return self.counters.most_in_flight

    @property
    def billed_nano(self) -> int:
        """Nano-USD for all answers made, by true usage."""
        return self.counters.billed_nano

    def reset(self) -> None:
        """Forget counts, faults and tasks."""
        self.counters.reset()
        self.faults.clear()
        self.tasks.clear()

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close all connections; hanging requests end."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the server lives."""
        if seconds > 0:
            self._stopping.wait(seconds)

    def request_id(self, number: int) -> str:
        return f"req_fake{self._server.server_port:05d}{number:08d}"

    def key_facts(self) -> dict[str, Any]:
        """What OpenRouter tells about a key."""
        limit = self.free_limit
        used = min(self.free_used + self.counters.free_attempts, limit)
        return {
            "label": "fake",
            "limit": None,
            "limit_remaining": self.balance_usd,
            "usage": 0,
            "is_free_tier": False,
            "free_model_daily_requests": {"limit": limit, "used": used, "remaining": limit - used},
        }


class _Server(ThreadingHTTPServer):
    """Serves each connection in a thread, and ends those too when it stops."""

    daemon_threads = True
    # Dozens of clients connect at the same moment.
    request_queue_size = 128

    def __init__(self, port: int, handler: type[Handler]) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a fault of this server and shows itself."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

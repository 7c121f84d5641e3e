"""The connection of the fake provider: reading requests, writing answers, misbehaving.

Belongs here: HTTP. Does not belong here: what is answered (`replies.py`, `failing.py`), the server's life
(`../fake_provider.py`).
"""

import gzip
import hashlib
import json
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from magpie.errors import UserError
from magpie.llm.fake import failing, runware
from magpie.llm.fake.apis import (
    ENDPOINTS,
    MOST_BODY,
    Address,
    Asked,
    Wrong,
    address_of,
    check_key,
    understand,
)
from magpie.llm.fake.counters import Seen
from magpie.llm.fake.failing import error_body
from magpie.llm.fake.misbehaviour import BODIES, CONNECTIONS, HANG_S, STATUSES, TRICKLE_S, FakeFault
from magpie.llm.fake.replies import Made, reply_to
from magpie.llm.reply import Usage
from magpie.llm.request import canonical

if TYPE_CHECKING:
    from magpie.llm.fake_provider import FakeProvider

CONTROL = "/_fake/"
# An idle connection is closed then, as real servers do.
IDLE_S = 60
SECRET_HEADERS = ("authorization", "x-api-key")


class _Gone(Exception):
    """The connection is to end without an answer."""


@dataclass(frozen=True)
class _Arrived:
    """A request as it came; `body` is None if it is no JSON."""

    number: int
    address: Address
    request_id: str
    raw: bytes = b""
    body: Any = None

    @property
    def model(self) -> str:
        return str(self.body.get("model", "")) if isinstance(self.body, dict) else ""


class Handler(BaseHTTPRequestHandler):
    """One connection; `fake` is set by the server."""

    fake: "FakeProvider"
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    # One packet per answer, sent at once.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path.startswith(CONTROL):
            self._control(b"")
            return
        with suppress(_Gone, ConnectionError):
            self._show(address_of(self.path, self._headers()))

    def do_POST(self) -> None:
        if self.path.startswith(CONTROL):
            self._control(self._body())
            return
        with self.fake.counters.arriving() as number, suppress(_Gone, ConnectionError):
            self._serve(number, address_of(self.path, self._headers()))

    def do_DELETE(self) -> None:
        self._control(b"")

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The `Date` of an answer, by the server's own clock."""
        return super().date_time_string(self.fake.now().timestamp() if timestamp is None else timestamp)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the counters tell what came."""

    def _show(self, address: Address) -> None:
        """Answer what calls no model, or fail at it as told."""
        fault = self.fake.faults.take(address.endpoint, "", b"", unread=False, named=True)
        if fault and fault.kind in STATUSES:
            self._fail(_Arrived(0, address, self.fake.request_id(0)), fault)
            return
        if fault and fault.kind in CONNECTIONS:
            self._hang(fault)
        try:
            check_key(address, self._headers(), self.fake.keys)
            status, body = 200, self._listed(address)
        except Wrong as wrong:
            status, body = wrong.status, error_body(address.api, wrong, self.fake.request_id(0))
        if fault and fault.kind in BODIES:
            kind, content = failing.spoilt(fault.kind, address.api, body, self.fake.request_id(0))
            self._answer(status, {"content-type": kind}, content, self.fake.request_id(0))
            return
        self._json(status, body)

    def _serve(self, number: int, address: Address) -> None:
        arrived = _Arrived(number, address, self.fake.request_id(number))
        fault = self.fake.faults.take(address.endpoint, "", b"", unread=True)
        if fault:
            self._seen(arrived, fault.kind, None)
            self._hang(fault)
        raw = self._body()
        arrived = replace(arrived, raw=raw, body=_parsed(raw))
        if address.api == "runware":
            arrived = replace(arrived, body=runware.task_of(arrived.body))
            if isinstance(arrived.body, dict) and arrived.body.get("taskType") == runware.LOOK:
                self._look(arrived)
                return
        fault = self.fake.faults.take(address.endpoint, arrived.model, raw, unread=False)
        if fault and fault.delay_s and fault.kind not in ("timeout_after", "trickle"):
            self.fake.pause(fault.delay_s)
        try:
            asked = self._admitted(arrived)
        except Wrong as wrong:
            self._seen(arrived, "invalid", wrong.status)
            self._refuse(arrived, wrong)
            return
        if fault and fault.kind in STATUSES:
            self._seen(arrived, fault.kind, STATUSES[fault.kind])
            self._fail(arrived, fault)
        else:
            self._reply(arrived, asked, fault)

    def _look(self, arrived: _Arrived) -> None:
        """Tell what was answered to an earlier task; nothing is made and nothing is billed."""
        fault = self.fake.faults.take(runware.LOOK, "", arrived.raw, unread=False, named=True)
        self._seen(arrived, fault.kind if fault else "looked", None)
        if fault and fault.kind in STATUSES:
            self._fail(arrived, fault)
            return
        try:
            check_key(arrived.address, self._headers(), self.fake.keys)
            status, body = 200, self.fake.tasks.details(arrived.body)
        except Wrong as wrong:
            status, body = wrong.status, error_body("runware", wrong, arrived.request_id)
        self._json(status, body, arrived.request_id)

    def _admitted(self, arrived: _Arrived) -> Asked:
        address = arrived.address
        if address.api == "runware":
            check_key(address, self._headers(), self.fake.keys)
            return runware.understand(address, arrived.body)
        if address.endpoint not in ENDPOINTS or (address.api == "anthropic") != (address.endpoint == "messages"):
            raise Wrong(404, f"Invalid URL (POST {self.path})")
        check_key(address, self._headers(), self.fake.keys)
        if len(arrived.raw) > MOST_BODY:
            raise Wrong(413, "The request is too large.")
        asked = understand(address, arrived.body, self._headers(), self.fake.models)
        free = address.api == "openrouter" and asked.model.endswith(":free")
        if free and self.fake.free_used + self.fake.counters.count_free() >= self.fake.free_limit:
            raise Wrong(429, "the day's free calls are used up")
        return asked

    def _refuse(self, arrived: _Arrived, wrong: Wrong) -> None:
        if wrong.status == 429:
            self._fail(arrived, FakeFault("429", retry_after="daily"))
        else:
            body = error_body(arrived.address.api, wrong, arrived.request_id)
            self._json(wrong.status, body, arrived.request_id)

    def _fail(self, arrived: _Arrived, fault: FakeFault) -> None:
        now, limit = self.fake.now(), self.fake.free_limit
        told = failing.failed(fault, arrived.address.api, arrived.request_id, now, limit)
        self._answer(*told, arrived.request_id)

    def _reply(self, arrived: _Arrived, asked: Asked, fault: FakeFault | None) -> None:
        kind = fault.kind if fault else ""
        self.fake.pause(self.fake.latency_s)
        made = self._made(arrived, asked, kind)
        lost = kind in ("timeout_after", "cut_before_headers")
        self._seen(arrived, kind or "answered", None if lost else 200, made)
        headers, content = {"content-type": "application/json"}, json.dumps(made.body).encode()
        if kind in BODIES:
            headers["content-type"], content = failing.spoilt(kind, asked.address.api, made.body, arrived.request_id)
        if kind in ("gzip", "bad_gzip"):
            headers["content-encoding"] = "gzip"
            content = gzip.compress(content) if kind == "gzip" else content
        if fault and lost:
            self._hang(fault if kind == "timeout_after" else FakeFault(kind, delay_s=0))
        self._answer(200, headers, content, arrived.request_id, fault)

    def _made(self, arrived: _Arrived, asked: Asked, kind: str) -> Made:
        if asked.address.api == "runware":
            nano = self.fake.price(asked.model, Usage(images=1)) if self.fake.price else None
            made = runware.reply_to(asked, arrived.body, nano)
            self.fake.tasks.keep(arrived.body, made.body)
            return made
        text = self.fake.responder(arrived.body) if self.fake.responder else None
        return reply_to(asked, arrived.body, arrived.request_id, text, kind, int(self.fake.now().timestamp()))

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, request_id: str, fault: FakeFault | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "x-request-id": request_id, "request-id": request_id}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if fault and fault.kind == "cut_mid_body":
            self.wfile.write(content[: len(content) // 2])
            self._hang(FakeFault(fault.kind, delay_s=0))
        if fault and fault.kind == "trickle":
            for byte in content:
                self.wfile.write(bytes((byte,)))
                self.wfile.flush()
                self.fake.pause(TRICKLE_S if fault.delay_s is None else fault.delay_s)
        else:
            self.wfile.write(content)
        self.wfile.flush()

    def _hang(self, fault: FakeFault) -> None:
        """Wait, then end the connection with what was written so far."""
        self.wfile.flush()
        self.fake.pause(HANG_S if fault.delay_s is None else fault.delay_s)
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        raise _Gone

    def _seen(self, arrived: _Arrived, outcome: str, status: int | None, made: Made | None = None) -> None:
        facts = arrived.body if isinstance(arrived.body, dict) else {}
        sha256 = "" if arrived.body is None else hashlib.sha256(_canonical(arrived.body)).hexdigest()
        billed = self.fake.price(arrived.model, made.usage) if made and self.fake.price else 0
        self.fake.counters.record(
            Seen(
                arrived.number,
                arrived.address.api,
                arrived.address.endpoint,
                arrived.model,
                sha256,
                outcome,
                status,
                billed=made is not None,
                billed_nano=billed,
                body=facts,
                headers={name: value for name, value in self._headers().items() if name not in SECRET_HEADERS},
            )
        )

    def _listed(self, address: Address) -> dict[str, Any]:
        if address.api == "openrouter" and address.endpoint == "key":
            return {"data": self.fake.key_facts()}
        if address.endpoint != "models":
            raise Wrong(404, f"Invalid URL (GET {self.path})")
        names = sorted(self.fake.models or ("fake-model",))
        if address.api == "anthropic":
            listed = [{"type": "model", "id": name, "display_name": name} for name in names]
            return {"data": listed, "has_more": False, "first_id": names[0], "last_id": names[-1]}
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "fake"} for name in names]}

    def _control(self, raw: bytes) -> None:
        name = self.path.removeprefix(CONTROL).partition("?")[0]
        try:
            self._json(200, self._controlled(self.command, name, raw))
        except UserError as error:
            self._json(400, {"error": str(error)})

    def _controlled(self, method: str, name: str, raw: bytes) -> Any:
        if (method, name) == ("GET", "counters"):
            return self.fake.counters.summary()
        if (method, name) == ("GET", "requests"):
            return self.fake.counters.listing()
        if (method, name) == ("GET", "faults"):
            return [vars(fault) for fault in self.fake.faults.waiting()]
        if (method, name) == ("DELETE", "faults"):
            self.fake.faults.clear()
            return {"faults": 0}
        if (method, name) == ("POST", "faults"):
            told = _parsed(raw)
            listed = told if isinstance(told, list) else [told]
            if not listed or not all(isinstance(one, dict) for one in listed):
                raise UserError("write a fault as a JSON object with a kind, or several as a list")
            made = [FakeFault.of(one) for one in listed]
            for fault in made:
                self.fake.faults.add(fault)
            return {"faults": len(self.fake.faults.waiting())}
        if (method, name) == ("POST", "reset"):
            self.fake.reset()
            return {"reset": True}
        raise UserError(f"no {method} {CONTROL}{name}; there are counters, requests, faults, reset")

    def _json(self, status: int, body: Any, request_id: str = "") -> None:
        with suppress(ConnectionError):
            self._answer(status, {"content-type": "application/json"}, json.dumps(body).encode(), request_id)

    def _headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "0")
        size = int(length) if length.isdecimal() else 0
        if size > MOST_BODY:
            # The rest is left unread, so the connection cannot be used again.
            self.close_connection = True
        return self.rfile.read(min(size, MOST_BODY + 1))


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _canonical(body: Any) -> bytes:
    """As a request's key is made; what cannot be written so, as half surrogates, goes by its escapes."""
    try:
        return canonical(body)
    except ValueError:
        return json.dumps(body, sort_keys=True).encode()

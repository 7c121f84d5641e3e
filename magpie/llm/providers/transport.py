"""The wire under both SDKs: one HTTP request per call, recorded before anything parses it.

Belongs here: what goes out (headers, key, proxy), what comes back as an `Exchange`, and whether a failure can have been
paid for. Does not belong here: what a status or a body means (`faults.py`, the providers).

An SDK reads more of its environment than its key: organisations, extra headers, other base URLs. Nothing of that leaves
this transport: it lets the headers of the wire format through and puts the key on by itself, so that the SDK never
holds it. Of the environment only the proxy (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) and the
certificates (`SSL_CERT_FILE`, `SSL_CERT_DIR`) count; loopback is never reached through a proxy.
"""

import contextlib
import ipaddress
import ssl
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import httpx2

from magpie.errors import UserError
from magpie.llm.providers.base import Journal
from magpie.llm.providers.text import Secret, one_line
from magpie.llm.reply import Exchange

# An answer of 8192 tokens is 40 kB, 2048 vectors of 3072 numbers are 130 kB each at most, ten images 40 MB; more is no
# answer but a server that does not stop, and it would be held in memory once per thread.
MOST_BYTES = 64 * 1024 * 1024
# A host that does not accept a connection by then is away; nothing was sent, so giving up early is free.
CONNECT_S = 10.0
# Shorter than servers and proxies keep an idle connection: one they closed meanwhile looks like a call cut off.
KEEPALIVE_S = 5.0
# What the wire formats need; the rest of what an SDK sends is telemetry or comes from its environment.
SENT_HEADERS = frozenset(
    {"accept", "anthropic-version", "connection", "content-length", "content-type", "host", "transfer-encoding"}
    | {"user-agent"}
)
# Both are decoded in pieces, so that a small body cannot become a huge one unnoticed.
ACCEPTED_ENCODINGS = "gzip, deflate"
KEPT_HEADERS = frozenset({"content-type", "date", "request-id", "retry-after", "retry-after-ms", "x-request-id"})
KEPT_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
# Raised before the first byte of a request is on the wire.
NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
)
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass
class _Call:
    """The call that this thread is in."""

    journal: Journal
    timeout_s: float
    exchange: Exchange | None = None
    journal_error: Exception | None = field(default=None, repr=False)


_current: ContextVar[_Call | None] = ContextVar("magpie_llm_call", default=None)


def recorded(send: Callable[[], object], timeout_s: float, journal: Journal) -> Exchange:
    """Run `send`, which makes one request through a `RecordingTransport`, and return what happened on the wire.

    What an SDK raises about an answer is no concern: the answer is recorded, and `read` judges it.

    Raises:
        Exception: of the journal; or, if nothing reached the transport, what `send` raised, which is then a bug.
    """
    call = _Call(journal, timeout_s)
    token = _current.set(call)
    try:
        send()
    except Exception:
        if call.exchange is None:
            raise
    finally:
        _current.reset(token)
    if call.journal_error is not None:
        raise call.journal_error
    if call.exchange is None:
        raise RuntimeError("the client made no request")
    return call.exchange


class RecordingTransport(httpx2.BaseTransport):
    """Sends the request of the current call and records the exchange.

    Args:
        inner: makes the connection.
        headers: put on every request, over what the SDK set; the key is in them.
        secret: blotted out of bodies, headers and errors should a server repeat it.
        most_bytes: a larger body counts as cut off.
    """

    def __init__(
        self,
        inner: httpx2.BaseTransport,
        headers: Mapping[str, str],
        secret: Secret,
        *,
        most_bytes: int = MOST_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner, self._headers, self._secret = inner, dict(headers), secret
        self._most_bytes, self._monotonic = most_bytes, monotonic

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        call = _current.get()
        if call is None or call.exchange is not None:
            # A retry or a redirect would be a second billable request under one reservation.
            raise RuntimeError("one call makes one request, and makes it within `recorded`")
        deadline = self._monotonic() + call.timeout_s
        try:
            exchange = self._exchange(request, call.timeout_s, deadline)
        except Exception as error:
            call.exchange = self._failed(request, error)
            raise
        call.exchange = exchange
        if exchange.failure:
            raise httpx2.ReadError(exchange.error)
        try:
            call.journal(exchange)
        except Exception as error:
            call.journal_error = error
            raise
        headers = {"content-type": exchange.headers.get("content-type", "")}
        return httpx2.Response(exchange.status or 0, headers=headers, content=exchange.body)

    def close(self) -> None:
        self._inner.close()

    def _exchange(self, request: httpx2.Request, timeout_s: float, deadline: float) -> Exchange:
        timeouts = {"connect": min(CONNECT_S, timeout_s), "read": timeout_s, "write": timeout_s, "pool": timeout_s}
        response = self._inner.handle_request(self._outgoing(request, timeouts))
        headers = self._kept(response.headers)
        # The same dictionary is asked again when the body is read: a body has what the headers left of the time.
        timeouts["read"] = max(deadline - self._monotonic(), 0.01)
        with contextlib.closing(response):
            body, cut = self._body(response, deadline)
        if cut and response.status_code < 400:
            error = f"no whole answer from {_host(request)}: {cut}"
            return Exchange(response.status_code, headers, failure="cut", error=error)
        # A refusal is a refusal, even if its explanation was cut off: nothing of it is paid.
        return Exchange(response.status_code, headers, self._secret.out_of_bytes(body), error=cut)

    def _body(self, response: httpx2.Response, deadline: float) -> tuple[bytes, str]:
        """The body, as far as it came, and why it ends early, if it does."""
        parts: list[bytes] = []
        size, late = 0, False
        try:
            for part in response.iter_bytes():
                size += len(part)
                if late:
                    return b"".join(parts), "it took longer than the time-out"
                if size > self._most_bytes:
                    return b"".join(parts), f"more than {self._most_bytes} bytes"
                parts.append(part)
                # A last part that is late is kept all the same: it is paid for. Only one after it is too much.
                late = self._monotonic() > deadline
        except (httpx2.HTTPError, OSError) as error:
            return b"".join(parts), self._said(error)
        return b"".join(parts), ""

    def _outgoing(self, request: httpx2.Request, timeouts: dict[str, float]) -> httpx2.Request:
        headers = {name: value for name, value in request.headers.items() if name.lower() in SENT_HEADERS}
        headers |= {"accept-encoding": ACCEPTED_ENCODINGS, **self._headers}
        extensions: dict[str, Any] = {"timeout": timeouts}
        return httpx2.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=extensions
        )

    def _kept(self, headers: httpx2.Headers) -> dict[str, str]:
        return {
            name.lower(): self._secret.out_of(one_line(value))
            for name, value in headers.items()
            if name.lower() in KEPT_HEADERS or name.lower().startswith(KEPT_PREFIXES)
        }

    def _failed(self, request: httpx2.Request, error: Exception) -> Exchange:
        if isinstance(error, NOT_SENT):
            return Exchange(failure="not_sent", error=f"nothing was sent to {_host(request)}: {self._said(error)}")
        return Exchange(failure="cut", error=f"no whole answer from {_host(request)}: {self._said(error)}")

    def _said(self, error: Exception) -> str:
        return self._secret.out_of(one_line(str(error))) or type(error).__name__


def client_of(
    headers: Mapping[str, str], secret: Secret, proxy: str | None, *, most_bytes: int = MOST_BYTES
) -> httpx2.Client:
    """An HTTP client for an SDK: recorded, no redirects, as many connections as there are threads that call."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_S)
    inner = httpx2.HTTPTransport(verify=_trusted(), proxy=proxy, limits=limits)
    transport = RecordingTransport(inner, headers, secret, most_bytes=most_bytes)
    return httpx2.Client(transport=transport, trust_env=False, follow_redirects=False)


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates trusted, read once per process: that takes longer than all the rest of opening a client."""
    return httpx2.create_ssl_context()


def proxy_for(base_url: str, env: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for a URL; None for loopback and for what `NO_PROXY` covers.

    Raises:
        UserError: it is none that can be used.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    # Sorted, capitals come first: of HTTP_PROXY and http_proxy the latter is kept, as everywhere.
    lower = {name.lower(): env[name].strip() for name in sorted(env) if name.lower() in PROXY_VARIABLES}
    if is_loopback(host) or _bypassed(parts.netloc.lower(), lower.get("no_proxy", "")):
        return None
    name = f"{parts.scheme}_proxy" if lower.get(f"{parts.scheme}_proxy") else "all_proxy"
    proxy = lower.get(name)
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in PROXY_SCHEMES or not urlsplit(proxy).hostname:
        raise UserError(f"{name.upper()} is no proxy for {host}; write it as http://host:port")
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise UserError(f"{name.upper()} names a SOCKS proxy; install socksio, or name an HTTP proxy")
    return proxy


def _bypassed(netloc: str, no_proxy: str) -> bool:
    """Whether `NO_PROXY` covers a host: `*`, the host or a domain above it, each with or without a port."""
    host = netloc.rpartition(":")[0] or netloc
    for entry in (part.strip().lower().removeprefix("*.").lstrip(".") for part in no_proxy.split(",")):
        if entry == "*" or (entry and any(name == entry or name.endswith(f".{entry}") for name in (host, netloc))):
            return True
    return False


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(request: httpx2.Request) -> str:
    return request.url.netloc.decode("ascii", "replace")

"""Asking servers of the public web, which may be anybody's.

Belongs here: one GET, POST or PUT within bounds of address, size and time, and asking again after what passes. Does not
belong here: what is asked of which platform (`channel_clients.py`), what an answer holds (the readers of formats), and
providers of models (`magpie/llm/providers`).

Addresses come from posts that anyone can write, so they are held against more than their looks: every address that a
name stands for must be public, the connection goes to the very address that was looked at, and both are done anew for
each redirect. Nothing of the environment counts but the certificates (`SSL_CERT_FILE`, `SSL_CERT_DIR`); proxies are
not used, because behind one nobody here could say which address was reached. Cookies are neither kept nor sent.
"""

import ipaddress
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar

import httpcore2
import httpx2

# A page of 20 posts is 0.3 MB, 100 posts of an API with all their photo sizes 3 MB.
PAGE_BYTES = 16 * 1024 * 1024
REQUEST_S = 20.0
# What is wrong with what was sent is said in a line or two of JSON.
ERROR_BYTES = 16 * 1024
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Signed addresses of media reach 1500 characters.
URL_CHARS = 8192
MOST_PORT = 65535
# Seconds before the second, third and fourth try.
WAITS = (1.0, 2.0, 4.0)
# A server may ask for a longer pause than ours; what is longer than this is for a later run.
MOST_WAIT_S = 60.0
# zlib's sign for a gzip header, with the largest window.
GZIP_WINDOW = 16 + zlib.MAX_WBITS
# The addresses by which IPv6 networks reach IPv4 hosts: what counts is the host behind.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
AGENT = "Mozilla/5.0 (compatible; magpie)"

Answer = TypeVar("Answer")
Resolve = Callable[[str, int], Sequence[str]]


class WebError(Exception):
    """No answer that is of use.

    Attributes:
        kind: `http_<status>`, or not_http, private_address, too_many_redirects, redirected, timeout, network,
            too_large, bad_encoding.
        detail: one line that names at most the host: the rest of an address may hold a signature or a token.
        status: of the answer, if there was one.
        retry_after_s: how long the server asks to be left alone.
        passing: the same question may be answered in a moment.
        content: of the answer to a POST or PUT, if it has no more than ERROR_BYTES.
        headers: of the answer, by name in lower case.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        status: int | None = None,
        retry_after_s: float | None = None,
        *,
        passing: bool = False,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.status = kind, detail, status
        self.retry_after_s, self.passing, self.content = retry_after_s, passing, content
        self.headers: Mapping[str, str] = headers or {}


@dataclass(frozen=True)
class Page:
    """An answer of 200 to 299.

    Attributes:
        headers: by name in lower case; of several with one name the last.
        content: decoded.
        final_url: where it was found, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    final_url: str


def addresses_of(host: str, port: int) -> Sequence[str]:
    """The addresses that the system's resolver knows for a name, in its order; it bounds its own time.

    Raises:
        OSError: it knows none.
        UnicodeError: the name is none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an IP address is one that the whole internet reaches, also where it wraps an IPv4 address."""
    known = ipaddress.ip_address(address)
    if isinstance(known, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(known) & 0xFFFFFFFF) if known in NAT64 else known.ipv4_mapped
        if translated is not None:
            return is_public(str(translated))
        tunnelled = [known.sixtofour, *(known.teredo or ())]
        if any(inner is not None and not is_public(str(inner)) for inner in tunnelled):
            return False
    return known.is_global and not known.is_multicast and not known.is_reserved


class Web:
    """Asks one thing at a time; each request has a connection of its own, so none is shared between hosts.

    Args:
        private: let addresses be reached that are not public, such as those of this machine.
        resolve: the addresses of a host.
        monotonic: seconds of a clock that is never set back.
    """

    def __init__(
        self,
        *,
        private: bool = False,
        resolve: Resolve = addresses_of,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._private, self._resolve, self._monotonic = private, resolve, monotonic

    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = PAGE_BYTES,
        timeout_s: float = REQUEST_S,
    ) -> Page:
        """Return what is at an address, following redirects.

        Args:
            headers: sent to the server asked; another one, to which it redirects, does not get them.
            max_bytes: of the body, both as it comes and decoded.
            timeout_s: for all of it, redirects included.

        Raises:
            WebError: there is none.
        """
        place, sent = _place(url), dict(headers or {})
        deadline = self._monotonic() + timeout_s
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._ask("GET", place, sent, None, max_bytes, deadline)
            if isinstance(answer, Page):
                return answer
            before, place = place, answer
            if _origin(before) != _origin(place):
                sent = {}
        raise WebError("too_many_redirects", f"more than {MOST_REDIRECTS} from {httpx2.URL(url).host}")

    def post(
        self,
        url: str,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = PAGE_BYTES,
        timeout_s: float = REQUEST_S,
    ) -> Page:
        """Send something to an address, once, and return the answer; where it redirects to gets nothing.

        Args:
            max_bytes: of the answer; timeout_s: for all of it.

        Raises:
            WebError: there is none that says yes; what was sent may have arrived, where it is passing.
        """
        return self._send("POST", url, content, headers, max_bytes, timeout_s)

    def put(
        self,
        url: str,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = PAGE_BYTES,
        timeout_s: float = REQUEST_S,
    ) -> Page:
        """Put something in the place of what is at an address; in all else like `post`."""
        return self._send("PUT", url, content, headers, max_bytes, timeout_s)

    def _send(
        self,
        method: str,
        url: str,
        content: bytes,
        headers: Mapping[str, str] | None,
        max_bytes: int,
        timeout_s: float,
    ) -> Page:
        place = _place(url)
        answer = self._ask(method, place, dict(headers or {}), content, max_bytes, self._monotonic() + timeout_s)
        if isinstance(answer, Page):
            return answer
        raise WebError("redirected", f"{place.host} redirects to {answer.scheme}://{answer.host}")

    def _ask(
        self,
        method: str,
        place: httpx2.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        max_bytes: int,
        deadline: float,
    ) -> Page | httpx2.URL:
        """One request: its answer, or where it sends us."""

        def left() -> float:
            return deadline - self._monotonic()

        backend = _Checked(self._resolve, left, self._private)
        try:
            with (
                httpcore2.ConnectionPool(ssl_context=_trusted(), network_backend=backend) as pool,
                pool.stream(
                    method, _wire(place), headers=_sent(headers), content=content, extensions={"timeout": {}}
                ) as response,
            ):
                told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in REDIRECTS and "location" in told:
                    return _next(place, told["location"])
                if not 200 <= response.status < 300:
                    said = b"" if content is None else _start(response.iter_stream(), told, left)
                    raise _refusal(place, response.status, told, said)
                body = _body(response.iter_stream(), told, max_bytes, left)
        except httpcore2.TimeoutException:
            raise WebError("timeout", f"{place.host} took too long", passing=True) from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise WebError("network", f"{place.host}: {error}"[:300], passing=True) from None
        return Page(response.status, told, body, str(place))


def patiently(
    ask: Callable[[], Answer],
    sleep: Callable[[float], None],
    left_s: Callable[[], float] = lambda: float("inf"),
    waits: Iterable[float] = WAITS,
) -> Answer:
    """Ask, and ask again after each of `waits` seconds, or after as many as the server wants, as long as it may help.

    Args:
        left_s: seconds that are left for all of it.

    Raises:
        WebError: the last one.
    """
    for wait in waits:
        try:
            return ask()
        except WebError as error:
            pause = max(wait, error.retry_after_s or 0)
            if not error.passing or pause > min(MOST_WAIT_S, left_s()):
                raise
        sleep(pause)
    return ask()


class _Checked(httpcore2.SyncBackend):
    """Connects to addresses that were looked at, and lets nothing on a connection outlast the request's time."""

    def __init__(self, resolve: Resolve, left: Callable[[], float], private: bool) -> None:
        self._resolve, self._left, self._private = resolve, left, private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = self._addresses(host, port)
        failed: Exception = httpcore2.ConnectError("no address")
        for number, address in enumerate(addresses):
            # So that an address that never answers leaves time for the next.
            share = _some(self._left()) / (len(addresses) - number)
            try:
                stream = super().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
            else:
                return _Bounded(stream, self._left)
        raise failed

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolve(host, port)
        except UnicodeError:
            raise WebError("not_http", f"{host[:100]!r} is no name of a host") from None
        except OSError as error:
            raise WebError("network", f"{host}: {error.strerror or error}", passing=True) from None
        if not self._private and not all(is_public(address) for address in addresses):
            raise WebError("private_address", f"{host} stands for an address that is not public")
        return addresses


class _Bounded(httpcore2.NetworkStream):
    """A connection whose every step ends when the request's time does: servers may send a byte now and then."""

    def __init__(self, inner: httpcore2.NetworkStream, left: Callable[[], float]) -> None:
        self._inner, self._left = inner, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _some(self._left()))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _some(self._left()))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        try:
            return _Bounded(self._inner.start_tls(ssl_context, server_hostname, _some(self._left())), self._left)
        except ValueError as error:
            # A name that the resolver takes and TLS does not, such as one that begins with a dot.
            raise httpcore2.ConnectError(str(error)) from None

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _some(left: float) -> float:
    """The time that is left, in seconds.

    Raises:
        ReadTimeout: none is.
    """
    if left <= 0:
        raise httpcore2.ReadTimeout("the time is over")
    return left


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates trusted, read once per process: that takes longer than many a request."""
    return httpx2.create_ssl_context()


def _place(url: str) -> httpx2.URL:
    try:
        if len(url) > URL_CHARS:
            raise WebError("not_http", f"an address of {len(url)} characters")
        place = httpx2.URL(url)
        fits = place.scheme in ("http", "https") and bool(place.raw_host) and (place.port or 1) <= MOST_PORT
    except (httpx2.InvalidURL, ValueError) as error:
        raise WebError("not_http", f"no address: {type(error).__name__}") from None
    if not fits:
        raise WebError("not_http", f"only hosts of http and https are asked, not {place.scheme[:20]!r}")
    return place


def _next(place: httpx2.URL, location: str) -> httpx2.URL:
    try:
        return _place(str(place.join(location[: URL_CHARS + 1])))
    except (httpx2.InvalidURL, ValueError) as error:
        raise WebError("not_http", f"{place.host} redirects to no address: {type(error).__name__}") from None


def _origin(place: httpx2.URL) -> tuple[str, bytes, int | None]:
    return place.scheme, place.raw_host, place.port


def _wire(place: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=place.raw_scheme, host=place.raw_host, port=place.port, target=place.raw_path)


def _sent(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    ours = {"User-Agent": AGENT, "Accept": "*/*"}
    return list((ours | dict(headers) | {"Accept-Encoding": "gzip", "Connection": "close"}).items())


def _refusal(place: httpx2.URL, status: int, headers: Mapping[str, str], content: bytes) -> WebError:
    passing, wait = status == 429 or status >= 500, _asked_wait(headers)
    return WebError(
        f"http_{status}",
        f"{place.host} answers {status}",
        status,
        wait,
        passing=passing,
        content=content,
        headers=headers,
    )


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds; a date is read against the server's own clock (RFC 9110, 10.2.3)."""
    told = headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return float(told[:9])
    try:
        moments = [parsedate_to_datetime(text) for text in (told, headers.get("date", ""))]
    except ValueError:
        return None
    until, now = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments)
    return max((until - now).total_seconds(), 0.0)


def _body(chunks: Iterable[bytes], headers: Mapping[str, str], max_bytes: int, left: Callable[[], float]) -> bytes:
    """Read a body, giving up as soon as it is known to be too large; what is unpacked is bounded before it is there."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        raise WebError("bad_encoding", f"the body is packed as {encoding[:40]!r}, which was not asked for")
    said = headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:18]) > max_bytes:
        raise WebError("too_large", f"{said[:18]} bytes, of which {max_bytes} are taken at most")
    unpacker = zlib.decompressobj(GZIP_WINDOW) if encoding.endswith("gzip") else None
    parts: list[bytes] = []
    came = held = 0
    for chunk in chunks:
        _some(left())
        came += len(chunk)
        part = chunk if unpacker is None else _unpacked(unpacker, chunk, max_bytes + 1 - held)
        held += len(part)
        if max(came, held) > max_bytes:
            raise WebError("too_large", f"more than {max_bytes} bytes")
        parts.append(part)
    if unpacker is not None and came and (not unpacker.eof or unpacker.unused_data):
        raise WebError("bad_encoding", "the packed body has no proper end")
    return b"".join(parts)


def _start(chunks: Iterable[bytes], headers: Mapping[str, str], left: Callable[[], float]) -> bytes:
    """The body of a refusal, if it is short and whole: a refusal without its reason is still one."""
    try:
        return _body(chunks, headers, ERROR_BYTES, left)
    except WebError:
        return b""


def _unpacked(unpacker: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    try:
        return unpacker.decompress(chunk, most)
    except zlib.error:
        raise WebError("bad_encoding", "the body is not packed as it says") from None

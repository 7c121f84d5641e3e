"""The wire under the SDKs: what goes out, what is kept of what comes back, and what a failure means for the money."""

import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest

from magpie.errors import UserError
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Model
from magpie.llm.providers.anthropic_api import AnthropicApi
from magpie.llm.providers.lookup import build
from magpie.llm.providers.openai_api import OpenAIApi
from magpie.llm.providers.sdk import SdkProvider
from magpie.llm.providers.text import Secret, one_line, storable
from magpie.llm.providers.transport import RecordingTransport, client_of, is_loopback, proxy_for, recorded
from magpie.llm.reply import Exchange, Fault, Reply
from magpie.llm.request import Ask, Request

KEY = "sk-test-0123456789abcdefghij"
TIMEOUT_S = 5.0
SHORT_S = 0.25
ASK = Ask("text", "Say something.", max_output_tokens=50)


@pytest.fixture()
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest, fake: FakeProvider) -> Iterator[SdkProvider]:
    made = provider_at(request.param, fake.base_url(request.param))
    yield made
    made.close()


def provider_at(name: str, base_url: str, **options: object) -> SdkProvider:
    if name == "anthropic":
        return AnthropicApi(name, base_url, KEY, **options)  # type: ignore[arg-type]
    return OpenAIApi(name, base_url, KEY, bound_name="max_completion_tokens", **options)  # type: ignore[arg-type]


def worded(provider: SdkProvider, ask: Ask = ASK) -> Request:
    return provider.request(ask, Model(provider.name, "m", "text", json=True, vision=True))


def send(provider: SdkProvider, timeout_s: float = TIMEOUT_S, ask: Ask = ASK) -> tuple[Exchange, list[Exchange]]:
    kept: list[Exchange] = []
    return provider.send(worded(provider, ask), timeout_s, kept.append), kept


def outcome(provider: SdkProvider, exchange: Exchange) -> Reply | Fault:
    return provider.read(worded(provider).endpoint, exchange)


class RawServer:
    """Takes whole requests and sends these bytes back, whatever they are, then closes the connection."""

    def __init__(self, *answers: bytes) -> None:
        self.received: list[bytes] = []
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> "RawServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would leave a thread that waits in accept there for ever.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.received.append(whole_request(connection))
                connection.sendall(answer)


def whole_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def http(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def raw(name: str, *answers: bytes, **options: object) -> Iterator[tuple[SdkProvider, RawServer]]:
    with RawServer(*answers) as server:
        made = provider_at(name, server.url, **options)
        yield made, server
        made.close()


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "body", [b'{"choices": [', b"<html>sorry</html>", b"", b'\xff\xfe{"a": 1}', b" \n \n {} ", b'{"a": NaN}']
)
def test_the_journal_gets_the_very_bytes_whether_or_not_anything_can_parse_them(name: str, body: bytes) -> None:
    with raw(name, http("200 OK", body, "content-type: application/json")) as (provider, server):
        exchange, kept = send(provider)
    assert [one.body for one in kept] == [body]
    assert kept == [exchange]
    assert exchange.status == 200
    assert exchange.failure is None
    assert len(server.received) == 1


def test_the_journal_has_the_body_before_the_sdk_sees_a_response(provider: SdkProvider, fake: FakeProvider) -> None:
    class Full(Exception):
        pass

    def full_disk(exchange: Exchange) -> None:
        raise Full("no space left")

    with pytest.raises(Full, match="no space left"):
        provider.send(worded(provider), TIMEOUT_S, full_disk)
    assert fake.attempts == 1


def test_an_error_status_is_journalled_too(provider: SdkProvider, fake: FakeProvider) -> None:
    fake.misbehave("500")
    exchange, kept = send(provider)
    assert kept == [exchange]
    assert exchange.status == 500
    assert b"error" in exchange.body
    assert fake.attempts == 1


@pytest.mark.parametrize("kind", ["500", "503", "529", "429", "408", "402", "401", "403", "redirect"])
def test_one_call_is_one_request_on_the_wire_whatever_the_status(
    provider: SdkProvider, fake: FakeProvider, kind: str
) -> None:
    fake.misbehave(kind, times="always", retry_after="1")
    exchange, kept = send(provider)
    assert exchange.failure is None
    assert len(kept) == 1
    assert fake.attempts == 1
    assert fake.answered_total == 0


@pytest.mark.parametrize("kind", ["429", "500", "529", "cut_before_headers"])
def test_an_sdk_neither_waits_nor_tries_again_by_itself(
    monkeypatch: pytest.MonkeyPatch, provider: SdkProvider, fake: FakeProvider, kind: str
) -> None:
    slept: list[float] = []
    send(provider)
    monkeypatch.setattr(time, "sleep", slept.append)
    fake.misbehave(kind, retry_after="1")
    send(provider)
    assert slept == []
    assert fake.attempts == 2


@pytest.mark.parametrize(
    ("kind", "answered"),
    [("timeout_before", 0), ("timeout_after", 1), ("cut_before_headers", 1), ("cut_mid_body", 1), ("bad_gzip", 1)],
)
def test_a_request_that_went_out_and_got_no_whole_answer_may_have_been_paid(
    provider: SdkProvider, fake: FakeProvider, kind: str, answered: int
) -> None:
    fake.misbehave(kind, times="always")
    exchange, kept = send(provider, SHORT_S if kind.startswith("timeout") else TIMEOUT_S)
    assert exchange.failure == "cut"
    assert exchange.error.startswith("no whole answer from 127.0.0.1:")
    assert "\n" not in exchange.error
    assert kept == []
    assert fake.attempts == 1
    assert fake.answered_total == answered
    read = outcome(provider, exchange)
    assert isinstance(read, Fault)
    assert read.kind == "cut"


def test_an_answer_that_trickles_in_for_ever_ends_at_the_time_out(provider: SdkProvider, fake: FakeProvider) -> None:
    # Each pause is far below the time-out, so only a bound on the whole ends it.
    fake.misbehave("trickle", delay_s=0.02)
    exchange, kept = send(provider, SHORT_S)
    assert exchange.failure == "cut"
    assert kept == []
    assert fake.attempts == 1


def test_a_body_has_what_its_headers_left_of_the_time() -> None:
    allowed = []

    class Slow(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            def body() -> Iterator[bytes]:
                allowed.append(request.extensions["timeout"]["read"])
                yield b"{}"

            allowed.append(request.extensions["timeout"]["read"])
            return httpx2.Response(200, content=body())

    times = iter([0.0, 3.0, 3.5])
    transport = RecordingTransport(Slow(), {}, Secret(KEY), monotonic=lambda: next(times))
    with httpx2.Client(transport=transport) as client:
        recorded(lambda: client.get("http://somewhere.test/"), 5.0, lambda exchange: None)
    assert allowed == [5.0, 2.0]


def test_a_last_part_that_comes_late_is_kept_since_it_is_paid_for() -> None:
    parts = [b'{"id": ', b'"c1"}']
    times = iter([0.0, 1.0, 1.0, 99.0])

    class Slow(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, content=iter(parts))

    transport = RecordingTransport(Slow(), {}, Secret(KEY), monotonic=lambda: next(times))
    with httpx2.Client(transport=transport) as client:
        exchange = recorded(lambda: client.get("http://somewhere.test/"), TIMEOUT_S, lambda exchange: None)
        assert (exchange.failure, exchange.body) == (None, b'{"id": "c1"}')
        parts.append(b" ")
        times = iter([0.0, 1.0, 1.0, 99.0])
        exchange = recorded(lambda: client.get("http://somewhere.test/"), TIMEOUT_S, lambda exchange: None)
        assert exchange.failure == "cut"


def test_nothing_was_sent_where_nobody_listens(provider: SdkProvider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = provider_at(provider.name, f"http://127.0.0.1:{port}")
    exchange, kept = send(gone)
    assert exchange.failure == "not_sent"
    assert exchange.error.startswith(f"nothing was sent to 127.0.0.1:{port}: ")
    assert kept == []
    read = outcome(gone, exchange)
    assert isinstance(read, Fault)
    assert (read.kind, read.status) == ("not_sent", None)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_nothing_was_sent_to_a_host_without_an_address(name: str) -> None:
    exchange, _ = send(provider_at(name, "http://nowhere.invalid"))
    assert exchange.failure == "not_sent"


def test_nothing_was_sent_if_tls_fails(provider: SdkProvider, fake: FakeProvider) -> None:
    secure = provider_at(provider.name, fake.base_url(provider.name).replace("http://", "https://"))
    exchange, _ = send(secure)
    assert exchange.failure == "not_sent"
    assert fake.attempts == 0


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_refusal_stays_a_refusal_if_its_explanation_is_cut_off(name: str) -> None:
    answer = http("429 Too Many Requests", b'{"error": {"mess', "retry-after: 7", length=500)
    with raw(name, answer) as (provider, _):
        exchange, kept = send(provider)
        read = outcome(provider, exchange)
    assert exchange.failure is None
    assert len(kept) == 1
    assert isinstance(read, Fault)
    assert (read.kind, read.retry_after_s) == ("limited", 7.0)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_cut_off_before_it_fills_the_memory(name: str, packed: bool) -> None:
    body = b" " * 1_000_000
    headers = ["content-encoding: gzip"] if packed else []
    answer = http("200 OK", gzip.compress(body) if packed else body, *headers)
    with raw(name, answer, most_bytes=10_000) as (provider, _):
        exchange, kept = send(provider)
    assert exchange.failure == "cut"
    assert exchange.status == 200
    assert "more than 10000 bytes" in exchange.error
    assert kept == []


def test_a_packed_answer_is_journalled_unpacked(provider: SdkProvider, fake: FakeProvider) -> None:
    fake.misbehave("gzip")
    exchange, kept = send(provider)
    assert json.loads(kept[0].body)["model"] == "m"
    assert isinstance(outcome(provider, exchange), Reply)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_redirect_is_not_followed_since_that_would_send_the_prompt_twice(name: str) -> None:
    with RawServer(http("200 OK", b"{}")) as target:
        answer = http("307 Temporary Redirect", b"", f"location: {target.url}/v1/elsewhere")
        with raw(name, answer) as (provider, _):
            exchange, _ = send(provider)
            read = outcome(provider, exchange)
        assert target.received == []
    assert isinstance(read, Fault)
    assert (read.kind, read.status) == ("invalid_request", 307)


def test_a_second_request_within_a_call_never_reaches_the_wire(fake: FakeProvider) -> None:
    client = client_of({"authorization": f"Bearer {KEY}"}, Secret(KEY), None)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    url = f"{fake.base_url('openai')}/chat/completions"

    def twice() -> None:
        client.post(url, json=body)
        client.post(url, json=body)

    exchange = recorded(twice, TIMEOUT_S, lambda exchange: None)
    assert exchange.status == 200
    assert fake.attempts == 1
    with pytest.raises(RuntimeError, match="one call makes one request"):
        client.post(url, json=body)
    assert fake.attempts == 1
    client.close()


def test_what_goes_wrong_before_the_wire_is_not_taken_for_an_outcome() -> None:
    def faulty() -> None:
        raise TypeError("create() got an unexpected keyword")

    with pytest.raises(TypeError, match="unexpected keyword"):
        recorded(faulty, TIMEOUT_S, lambda exchange: None)
    with pytest.raises(RuntimeError, match="made no request"):
        recorded(lambda: None, TIMEOUT_S, lambda exchange: None)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (httpx2.ConnectError("refused"), "not_sent"),
        (httpx2.ConnectTimeout("slow"), "not_sent"),
        (httpx2.PoolTimeout("busy"), "not_sent"),
        (httpx2.ProxyError("403 Forbidden"), "not_sent"),
        (httpx2.LocalProtocolError("bad header"), "not_sent"),
        (httpx2.UnsupportedProtocol("ftp"), "not_sent"),
        (httpx2.ReadTimeout(""), "cut"),
        (httpx2.ReadError("reset"), "cut"),
        (httpx2.WriteError("reset"), "cut"),
        (httpx2.WriteTimeout(""), "cut"),
        (httpx2.RemoteProtocolError("nonsense"), "cut"),
        (httpx2.DecodingError("bad gzip"), "cut"),
        (OSError("odd"), "cut"),
    ],
)
def test_what_may_have_gone_out_counts_as_sent(error: Exception, failure: str) -> None:
    class Broken(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            raise error

    client = httpx2.Client(transport=RecordingTransport(Broken(), {}, Secret(KEY)))
    exchange = recorded(lambda: client.get("http://somewhere.test/"), TIMEOUT_S, lambda exchange: None)
    assert exchange.failure == failure
    assert exchange.error


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_of_the_environment_nothing_reaches_a_provider_but_its_key(
    monkeypatch: pytest.MonkeyPatch, fake: FakeProvider, name: str
) -> None:
    planted = {
        "OPENAI_BASE_URL": "http://nowhere.invalid",
        "ANTHROPIC_BASE_URL": "http://nowhere.invalid",
        "OPENAI_API_KEY": "sk-of-the-environment",
        "ANTHROPIC_API_KEY": "sk-of-the-environment",
        "ANTHROPIC_AUTH_TOKEN": "token-of-the-environment",
        "OPENAI_ADMIN_KEY": "admin-of-the-environment",
        "OPENAI_ORG_ID": "org-of-the-environment",
        "OPENAI_PROJECT_ID": "project-of-the-environment",
        "OPENAI_CUSTOM_HEADERS": "x-planted: of-the-environment\nauthorization: Bearer of-the-environment",
        "ANTHROPIC_CUSTOM_HEADERS": "x-planted: of-the-environment\nx-api-key: of-the-environment",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
        "NO_PROXY": "",
    }
    for variable, value in planted.items():
        monkeypatch.setenv(variable, value)
    with raw(name, http("200 OK", b"{}")) as (provider, server):
        exchange, _ = send(provider)
    assert exchange.status == 200
    head = server.received[0].partition(b"\r\n\r\n")[0].decode().lower()
    assert "of-the-environment" not in head
    assert "stainless" not in head
    assert KEY in head


def test_an_address_beyond_this_machine_is_reached_through_the_proxy() -> None:
    with RawServer(http("200 OK", b"{}")) as server:
        provider = build(
            "openai", base_url="http://models.example/v1", env={"OPENAI_API_KEY": KEY, "http_proxy": server.url}
        )
        request = provider.request(ASK, Model("openai", "m", "text"))
        exchange = provider.send(request, TIMEOUT_S, lambda exchange: None)
    assert exchange.status == 200
    assert server.received[0].startswith(b"POST http://models.example/v1/chat/completions HTTP/1.1")


@pytest.mark.parametrize(
    ("url", "env", "proxy"),
    [
        ("https://api.openai.com/v1", {}, None),
        ("https://api.openai.com/v1", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://api.openai.com/v1", {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "http://q:1"),
        ("https://api.openai.com/v1", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://api.openai.com/v1", {"ALL_PROXY": "p:1"}, "http://p:1"),
        ("https://api.openai.com/v1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x.org, .openai.com"}, None),
        ("https://api.openai.com/v1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*.openai.com"}, None),
        ("https://api.openai.com/v1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://api.openai.com/v1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "openai.co"}, "http://p:1"),
        ("http://llm.lan:8000/v1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "llm.lan:8000"}, None),
        ("http://127.0.0.1:11434/v1", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://localhost:11434/v1", {"ALL_PROXY": "http://p:1"}, None),
        ("http://[::1]:11434/v1", {"ALL_PROXY": "http://p:1"}, None),
    ],
)
def test_the_proxy_is_the_one_the_environment_names(url: str, env: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(url, env) == proxy


def test_a_proxy_that_cannot_be_one_is_told_without_its_password() -> None:
    with pytest.raises(UserError, match="HTTPS_PROXY is no proxy") as caught:
        proxy_for("https://api.openai.com/v1", {"HTTPS_PROXY": "ftp://me:hunter2@p:1"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback(f"{host}.example.org")


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "500 Internal Server Error"])
def test_a_key_that_the_server_repeats_is_kept_nowhere(name: str, status: str) -> None:
    body = json.dumps({"error": {"message": f"bad key {KEY} ({KEY[:12]}***)", "type": "x"}}).encode()
    with raw(name, http(status, body, f"x-request-id: {KEY}", f"request-id: {KEY}")) as (provider, _):
        exchange, kept = send(provider)
        read = outcome(provider, exchange)
        shown = f"{exchange!r} {exchange.body!r} {kept!r} {read!r} {provider!r} {provider}"
    assert isinstance(read, Fault)
    assert KEY not in shown
    assert KEY[:12] not in repr(read)
    assert "[key]" in read.message


def test_only_what_tells_about_limits_and_ids_is_kept_of_the_headers() -> None:
    answer = http(
        "200 OK",
        b"{}",
        "Content-Type: application/json",
        "Set-Cookie: session=1",
        "X-Request-Id: r1",
        "X-RateLimit-Remaining-Tokens: 5",
        "Anthropic-RateLimit-Requests-Reset: 2026-01-01T00:00:00Z",
        "Retry-After-Ms: 12",
        "Server: who-cares",
    )
    with raw("openai", answer) as (provider, _):
        exchange, _ = send(provider)
    assert exchange.headers == {
        "content-type": "application/json",
        "x-request-id": "r1",
        "x-ratelimit-remaining-tokens": "5",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:00Z",
        "retry-after-ms": "12",
    }


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_threads_get_their_own_answers_over_one_client(name: str) -> None:
    def echo(body: dict[str, object]) -> str:
        messages = body["messages"]
        assert isinstance(messages, list)
        return str(messages[-1]["content"])

    with FakeProvider(responder=echo, latency_s=0.01) as fake:
        provider = provider_at(name, fake.base_url(name))

        def call(number: int) -> bool:
            exchange, kept = send(provider, ask=Ask("text", f"number {number}", max_output_tokens=50))
            read = outcome(provider, exchange)
            return isinstance(read, Reply) and read.text == f"number {number}" and kept == [exchange]

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(call, range(64)))
        provider.close()
        assert fake.attempts == 64
        assert fake.answered_twice == []
        assert fake.most_in_flight > 1


def test_a_closed_provider_opens_anew_on_its_next_call(provider: SdkProvider) -> None:
    assert send(provider)[0].status == 200
    provider.close()
    assert send(provider)[0].status == 200


def test_building_providers_imports_no_sdk() -> None:
    code = (
        "import sys\nfrom magpie.llm.providers.lookup import PROVIDERS, build\n"
        "[build(name, env={'OPENAI_API_KEY': 'k'}) for name in PROVIDERS]\n"
        "sys.exit(bool({'openai', 'anthropic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_text_from_outside_becomes_one_printable_line() -> None:
    assert one_line("a\r\n\tb\x1b[31m\u202ec\ud800") == "a b [31m c"
    assert one_line("x" * 1000) == "x" * 299 + "…"
    assert storable("plain") == "plain"
    assert storable("a\0\ud800b\ud83d\ude00") == "a��b😀"
    assert storable("é😀") == "é😀"


def test_a_short_key_of_a_local_server_does_not_garble_answers() -> None:
    assert Secret("ollama").out_of("ollama runs") == "ollama runs"
    assert Secret("").out_of_bytes(b"abc") == b"abc"
    assert Secret(KEY).out_of_bytes(b"is " + KEY.encode()) == b"is [key]"
    assert KEY not in repr(Secret(KEY))

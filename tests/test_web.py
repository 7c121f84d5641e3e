"""Asking anybody's server: what is refused without a connection, what a server cannot do, and what is tried again."""

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpcore2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.sources.web import MOST_REDIRECTS, MOST_WAIT_S, WAITS, Page, Web, WebError, is_public, patiently
from tests.fake_channels import FakeChannels, Fault

SHORT_S = 0.3


@pytest.fixture()
def fake() -> Iterator[FakeChannels]:
    with FakeChannels() as server:
        server.media["/media/plain"] = b"what was asked for"
        yield server


def refused(call: Callable[[], object]) -> WebError:
    with pytest.raises(WebError) as caught:
        call()
    return caught.value


def nowhere(host: str, port: int) -> Sequence[str]:
    raise OSError(-2, "Name or service not known")


def test_a_page_comes_with_status_headers_and_bytes(fake: FakeChannels) -> None:
    page = Web(private=True).get(fake.url + "/media/plain")
    assert (page.status, page.content, page.final_url) == (200, b"what was asked for", fake.url + "/media/plain")
    assert page.headers["content-type"] == "image/gif"


@pytest.mark.parametrize(
    "url",
    [
        *("", "plain", "/etc/passwd", "file:///etc/passwd", "ftp://example.com/a", "javascript:alert(1)"),
        *("data:text/plain,a", "http://", "https:///a", "http://[::1", "http://a:99999/", "gopher://example.com"),
        *("http://example.com/" + "a" * 9000, "http://exa\x00mple.com/", "http://a..b/", "http://" + "a" * 80 + ".com"),
    ],
)
def test_what_is_no_address_of_the_web_is_refused_without_a_connection(url: str) -> None:
    assert refused(lambda: Web(private=True).get(url)).kind == "not_http"


@given(st.text(max_size=60) | st.from_regex(r"https?://[^/]{0,20}(:[0-9]{0,6})?/.{0,10}"))
def test_whatever_is_taken_for_an_address_ends_in_a_word(url: str) -> None:
    assert refused(lambda: Web(resolve=nowhere).get(url)).kind in ("not_http", "network")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[fe80::1]", "[fc00::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[ff02::1]"),
    ],
)
def test_addresses_of_this_machine_and_its_network_are_refused_in_every_spelling(host: str) -> None:
    assert refused(lambda: Web().get(f"http://{host}/")).kind == "private_address"


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    web = Web(resolve=lambda host, port: ["93.184.216.34", "10.0.0.7"])
    assert refused(lambda: web.get("https://example.com/")).kind == "private_address"


def test_a_redirect_to_a_private_address_is_refused(fake: FakeChannels) -> None:
    """This machine counts as public here, so only the look at the second host can refuse."""
    fake.faults.append(Fault("/away", 302, headers={"Location": f"{fake.url}/media/plain"}))
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if host == "front.example" else ["127.0.0.1", "10.0.0.1"]

    port = int(fake.url.rpartition(":")[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("magpie.sources.web.is_public", lambda address: address == "127.0.0.1")
        error = refused(lambda: Web(resolve=resolve).get(f"http://front.example:{port}/away"))
    assert (error.kind, asked) == ("private_address", ["front.example", "127.0.0.1"])
    assert not fake.asked("/media")


def test_a_name_is_looked_up_once_and_the_connection_goes_to_what_was_looked_at(fake: FakeChannels) -> None:
    answers = iter([["127.0.0.1"], ["10.9.9.9"]])
    port = int(fake.url.rpartition(":")[2])
    page = Web(private=True, resolve=lambda host, port: next(answers)).get(
        f"http://rebinding.example:{port}/media/plain"
    )
    assert page.content == b"what was asked for"
    assert fake.requests[0].headers["host"] == f"rebinding.example:{port}", (
        "the server is told the name, not the number"
    )


def test_a_certificate_must_be_for_the_name_though_the_connection_goes_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []

    class Wire(httpcore2.NetworkStream):
        def start_tls(
            self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
        ) -> httpcore2.NetworkStream:
            seen.extend((server_hostname, ssl_context.check_hostname, ssl_context.verify_mode))
            raise httpcore2.ConnectError("enough")

    def connect(self: object, host: str, *_: object) -> httpcore2.NetworkStream:
        seen.append(host)
        return Wire()

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect)
    web = Web(resolve=lambda host, port: ["93.184.216.34"])
    assert refused(lambda: web.get("https://example.com/")).kind == "network"
    assert seen == ["93.184.216.34", "example.com", True, ssl.CERT_REQUIRED]


def test_the_next_address_is_tried_when_one_does_not_answer(fake: FakeChannels) -> None:
    port = int(fake.url.rpartition(":")[2])
    web = Web(private=True, resolve=lambda host, port: ["127.0.0.9", "127.0.0.1"])
    assert web.get(f"http://two.example:{port}/media/plain").status == 200


def test_redirects_are_followed_and_keys_stay_with_the_server_they_are_for(fake: FakeChannels) -> None:
    fake.faults.append(Fault("/first", 301, headers={"Location": "/second"}))
    fake.faults.append(
        Fault("/second", 307, headers={"Location": fake.url.replace("127.0.0.1", "localhost") + "/media/plain"})
    )
    page = Web(private=True).get(fake.url + "/first", {"x-access-key": "secret"})
    assert page.content == b"what was asked for"
    assert [request.headers.get("x-access-key") for request in fake.requests] == ["secret", "secret", None]


def test_a_circle_of_redirects_ends(fake: FakeChannels) -> None:
    fake.faults.append(Fault("/round", 302, headers={"Location": "/round"}, times=100))
    assert refused(lambda: Web(private=True).get(fake.url + "/round")).kind == "too_many_redirects"
    assert len(fake.requests) == MOST_REDIRECTS + 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[::1", "https:///", "mailto:a@b.example"])
def test_a_redirect_to_what_is_no_address_is_refused(fake: FakeChannels, location: str) -> None:
    fake.faults.append(Fault("/away", 302, headers={"Location": location}))
    assert refused(lambda: Web(private=True).get(fake.url + "/away")).kind == "not_http"


def test_a_body_that_says_it_is_too_large_is_not_read(fake: FakeChannels) -> None:
    fake.faults.append(Fault("/big", headers={"Content-Length": "1001"}, drip=True))
    error = refused(lambda: Web(private=True).get(fake.url + "/big", max_bytes=1000, timeout_s=5))
    assert (error.kind, error.passing) == ("too_large", False)


def test_a_body_that_does_not_say_so_is_given_up_at_the_bound(fake: FakeChannels) -> None:
    fake.faults.append(Fault("/big", body=b"x" * 5000, headers={"Content-Length": ""}))
    assert refused(lambda: Web(private=True).get(fake.url + "/big", max_bytes=1000)).kind == "too_large"
    fake.media["/media/just"] = b"x" * 1000
    assert len(Web(private=True).get(fake.url + "/media/just", max_bytes=1000).content) == 1000


def test_a_packed_body_is_unpacked_and_bounded_while_it_is(fake: FakeChannels) -> None:
    packed = {"Content-Encoding": "gzip"}
    fake.faults.append(Fault("/small", body=gzip.compress(b"a" * 900, mtime=0), headers=packed))
    fake.faults.append(Fault("/bomb", body=gzip.compress(b"\0" * 10**8, mtime=0), headers=packed))
    web = Web(private=True)
    assert web.get(fake.url + "/small", max_bytes=1000).content == b"a" * 900
    assert refused(lambda: web.get(fake.url + "/bomb", max_bytes=10**6)).kind == "too_large"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("br", b"any"), ("gzip", b"no gzip"), ("gzip", gzip.compress(b"a" * 900, mtime=0)[:-9]), ("gzip, gzip", b"any")],
)
def test_a_body_that_is_packed_otherwise_than_said_is_refused(fake: FakeChannels, encoding: str, body: bytes) -> None:
    fake.faults.append(Fault("/odd", body=body, headers={"Content-Encoding": encoding}))
    assert refused(lambda: Web(private=True).get(fake.url + "/odd")).kind == "bad_encoding"


def test_a_body_that_drips_for_ever_ends_with_the_time(fake: FakeChannels) -> None:
    fake.faults.append(Fault("/slow", drip=True))
    assert refused(lambda: Web(private=True).get(fake.url + "/slow", timeout_s=SHORT_S)).kind == "timeout"


def test_headers_that_drip_for_ever_end_with_the_time() -> None:
    """Each byte comes in time; it is their number that takes too long."""
    over = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with closing(connection):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not over.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        error = refused(lambda: Web(private=True).get(url, timeout_s=SHORT_S))
        over.set()
        thread.join()
    assert (error.kind, error.passing) == ("timeout", True)


def test_a_body_that_is_cut_off_is_no_body(fake: FakeChannels) -> None:
    fake.faults.append(Fault("/cut", body=b"x" * 100, cut=True))
    error = refused(lambda: Web(private=True).get(fake.url + "/cut"))
    assert (error.kind, error.passing) == ("network", True)


def test_a_server_that_is_away_may_be_back() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    error = refused(lambda: Web(private=True).get(f"http://127.0.0.1:{port}/?token=secret"))
    assert (error.kind, error.passing) == ("network", True)
    assert "secret" not in str(error)


@pytest.mark.parametrize(("status", "passing"), [(400, False), (403, False), (404, False), (429, True), (503, True)])
def test_a_refusal_tells_its_status_and_whether_it_may_pass(fake: FakeChannels, status: int, passing: bool) -> None:
    fake.faults.append(Fault("/no", status, headers={"Retry-After": "7"}))
    error = refused(lambda: Web(private=True).get(fake.url + "/no?token=secret"))
    assert (error.kind, error.status, error.passing) == (f"http_{status}", status, passing)
    assert error.retry_after_s == 7
    assert "secret" not in str(error)


@pytest.mark.parametrize("told", ["", "soon", "-3", "1e3", "Sat, 99 Nov 2026 10:00:00 GMT"])
def test_a_retry_after_that_is_none_is_none(fake: FakeChannels, told: str) -> None:
    fake.faults.append(Fault("/no", 429, headers={"Retry-After": told}))
    assert refused(lambda: Web(private=True).get(fake.url + "/no")).retry_after_s is None


def test_a_retry_after_with_a_date_is_held_against_the_clock_of_the_server(fake: FakeChannels) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    fake.faults.append(Fault("/no", 429, headers={"Retry-After": until}))
    seconds = refused(lambda: Web(private=True).get(fake.url + "/no")).retry_after_s
    assert seconds is not None
    assert 85 <= seconds <= 95


def test_no_cookie_goes_back(fake: FakeChannels) -> None:
    fake.faults.append(Fault("/biscuit", 302, headers={"Set-Cookie": "id=7", "Location": "/media/plain"}))
    Web(private=True).get(fake.url + "/biscuit")
    assert "cookie" not in fake.requests[1].headers


def test_proxies_of_the_environment_are_passed_by(fake: FakeChannels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert Web(private=True).get(fake.url + "/media/plain").status == 200


class Asked:
    """Raises what it is told to, in order, then answers."""

    def __init__(self, *errors: WebError) -> None:
        self.errors, self.slept = list(errors), list[float]()

    def __call__(self) -> Page:
        if self.errors:
            raise self.errors.pop(0)
        return Page(200, {}, b"", "")


def busy(retry_after_s: float | None = None) -> WebError:
    return WebError("http_503", "busy", 503, retry_after_s, passing=True)


def test_what_passes_is_asked_four_times_with_growing_pauses() -> None:
    asked = Asked(busy(), busy(), busy())
    assert patiently(asked, asked.slept.append).status == 200
    assert tuple(asked.slept) == WAITS == (1, 2, 4)
    asked = Asked(*[busy()] * 5)
    assert refused(lambda: patiently(asked, asked.slept.append)).kind == "http_503"
    assert len(asked.errors) == 1


def test_what_does_not_pass_is_asked_once() -> None:
    asked = Asked(WebError("http_404", "gone", 404))
    assert refused(lambda: patiently(asked, asked.slept.append)).kind == "http_404"
    assert asked.slept == []


def test_a_server_is_given_the_pause_it_wants_unless_that_is_too_long() -> None:
    asked = Asked(busy(30), busy(0.5))
    patiently(asked, asked.slept.append)
    assert asked.slept == [30, 2]
    for left, wanted in ((float("inf"), MOST_WAIT_S + 1), (0.5, None)):
        asked = Asked(busy(wanted))
        assert (
            refused(lambda asked=asked, left=left: patiently(asked, asked.slept.append, lambda: left)).kind
            == "http_503"
        )
        assert asked.slept == []

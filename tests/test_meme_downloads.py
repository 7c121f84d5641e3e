"""Downloads of media: what is kept, what each failure is called, and that every try is remembered."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.fetches import Fetch
from magpie.memes import downloads
from magpie.memes.downloads import KIND, SOURCE, Downloads, is_markup
from magpie.memes.naming import media_item
from magpie.sources.web import Web
from tests.fake_channels import GIF, FakeChannels, Fault

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MEME = "telegram:cats:17"
ITEM = media_item(MEME, 0)


class World:
    """A server with media, and what downloads them."""

    def __init__(self, home: Path, fake: FakeChannels) -> None:
        self.fake = fake
        self.fake.media["/a.gif"] = GIF
        self.control = Control(f"sqlite:///{home / 'control.db'}")
        self.blobs = Blobs(home / "blobs")
        self.downloads = Downloads(self.control, self.blobs, Web(private=True))

    def fetch(self, path: str = "/a.gif", at: datetime = NOW, timeout_s: float = 5) -> Fetch:
        return self.downloads.fetch(MEME, 0, self.fake.url + path, at, timeout_s)


@pytest.fixture()
def world(tmp_path: Path) -> Iterator[World]:
    with FakeChannels() as fake:
        made = World(tmp_path, fake)
        yield made
        made.control.close()


def test_bytes_are_kept_by_their_sha256_and_the_log_names_it(world: World) -> None:
    fetch = world.fetch()
    sha256 = hashlib.sha256(GIF).hexdigest()
    assert fetch == Fetch(SOURCE, ITEM, KIND, NOW, "ok", sha256)
    assert world.blobs.get(sha256) == GIF
    assert world.downloads.known([ITEM]) == {ITEM: (fetch,)}


def test_every_try_is_remembered_in_order_and_what_was_never_tried_is_unknown(world: World) -> None:
    world.fetch("/media/gone.gif")
    world.fetch(at=NOW + timedelta(hours=2))
    known = world.downloads.known([ITEM, "telegram:cats:18#0"])
    assert {item: [fetch.outcome for fetch in tries] for item, tries in known.items()} == {ITEM: ["http_404", "ok"]}


@pytest.mark.parametrize("status", [400, 403, 404, 410, 500])
def test_a_link_that_has_expired_is_told_by_its_status(world: World, status: int) -> None:
    world.fake.faults.append(Fault("/a.gif", status))
    assert world.fetch().outcome == f"http_{status}"
    assert len(world.fake.requests) == 1, "when to try again is for the caller to say"


def test_an_empty_body_is_no_picture(world: World) -> None:
    world.fake.faults.append(Fault("/a.gif", headers={"Content-Length": "0"}))
    assert world.fetch().outcome == "empty"


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html>sign in</html>",
        b"\xef\xbb\xbf\n  <HTML>",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<?xml version='1.0'?><svg/>",
        b"<!-- a drawing --><svg/>",
    ],
)
def test_pages_and_drawings_are_refused_whatever_the_server_calls_them(world: World, body: bytes) -> None:
    world.fake.faults.append(Fault("/a.gif", body=body, headers={"Content-Type": "image/jpeg"}))
    assert world.fetch().outcome == "not_media"
    assert not (world.blobs.path(hashlib.sha256(body).hexdigest())).exists()


def test_bytes_that_hold_markup_further_in_are_no_markup() -> None:
    assert not is_markup(GIF + b"<html>")
    assert not is_markup(b"")


def test_a_slow_server_ends_with_the_time(world: World) -> None:
    world.fake.faults.append(Fault("/a.gif", drip=True))
    assert world.fetch(timeout_s=0.2).outcome == "timeout"


def test_a_large_body_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "MAX_BYTES", 1000)
    world.fake.faults.append(Fault("/a.gif", body=GIF * 100))
    assert world.fetch().outcome == "too_large"


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("http://169.254.169.254/latest/meta-data", "private_address"),
        ("http://127.0.0.1/a.gif", "private_address"),
        ("file:///etc/passwd", "not_http"),
        ("", "not_http"),
    ],
)
def test_posts_cannot_make_us_ask_this_machine_or_its_network(world: World, url: str, outcome: str) -> None:
    downloads = Downloads(world.control, world.blobs, Web())
    assert downloads.fetch(MEME, 0, url, NOW).outcome == outcome


def test_the_log_holds_no_signature_of_an_address(world: World) -> None:
    world.fake.faults.append(Fault("/a.gif", 403))
    world.fetch("/a.gif?sign=secret")
    assert "secret" not in str(world.downloads.known([ITEM]))

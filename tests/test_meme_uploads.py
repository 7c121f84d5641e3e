"""Uploads: people are known, the gate holds, and what passes lands as a payload that readers take."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes.reactions import react
from magpie.memes.uploads import MAX_BYTES, Receipt, memes_seen, person, register, upload
from magpie.settings import Settings
from magpie.sources.upload_payload import read

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def png(shade: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (shade, 90, 30)).save(out, "PNG")
    return out.getvalue()


class World:
    def __init__(self, folder: Path) -> None:
        self.settings = Settings(start_day=date(2026, 1, 1), home=folder)
        self.control = Control(f"sqlite:///{folder / 'control.sqlite'}")
        self.lake = Lake(str(folder / "lake"))

    def known(self, user: str = "bob", seen: int = 10, **more: Any) -> None:
        register(self.control, user, ["en"], **{"at": NOON, "rules_accepted": True, **more})
        for number in range(seen):
            react(self.control, "sent", user, f"telegram:c:{number}", NOON)

    def send(self, minutes: float = 0, **more: Any) -> Receipt:
        told = {"content": png(), "user": "bob", "language": "en", "at": NOON + timedelta(minutes=minutes), **more}
        return upload(self.settings, self.control, self.lake, told.pop("content"), **told)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.control.close()


def refusal(receipt: Receipt) -> tuple[str, str | None, str | None] | None:
    return receipt.refused and (receipt.refused.reason, receipt.refused.observed, receipt.refused.threshold)


def test_an_upload_lands_as_a_payload_beside_its_file(world: World) -> None:
    world.known()
    receipt = world.send(caption="  look  ")
    assert receipt.meme_id == "upload:bob:20260501T120000000000Z-0" and receipt.refused is None
    (post,) = read(receipt.payload.read_bytes()).posts
    assert (post.published_at, post.text, post.uploader_id, post.language) == (NOON, "look", "bob", "en")
    (item,) = post.media
    assert (item.kind, item.width, item.height, item.mime) == ("photo", 40, 30, "image/png")
    assert receipt.payload.with_name(item.file or "").read_bytes() == png()


def test_the_fifth_upload_within_a_day_is_turned_away_and_one_a_day_later_is_not(world: World) -> None:
    world.known()
    assert [refusal(world.send(n)) for n in range(4)] == [None] * 4
    fifth = world.send(5)
    assert refusal(fifth) == ("upload_limit", "4", "4")
    (post,) = read(fifth.payload.read_bytes()).posts
    assert post.rejected == fifth.refused and post.media == ()
    # What was turned away does not count, or trying again would lock a person out for ever.
    assert refusal(world.send(24 * 60 + 0.5)) is None
    assert refusal(world.send(24 * 60 + 0.6)) == ("upload_limit", "4", "4")


def test_the_gate_wants_rules_a_language_that_is_reviewed_and_ten_memes_seen(world: World) -> None:
    world.known(seen=9)
    assert refusal(world.send()) == ("too_few_seen", "9", "10")
    assert refusal(world.send(language="de")) == ("language_not_reviewed", "de", "ru, uk, en, es, ar, uz")
    register(world.control, "bob", ["en"], at=NOON + timedelta(days=1))
    assert refusal(world.send()) == ("rules_not_accepted", None, None)


def test_a_meme_that_was_sent_twice_was_seen_once(world: World) -> None:
    world.known(seen=3)
    react(world.control, "sent", "bob", "telegram:c:0", NOON + timedelta(days=1))
    react(world.control, "like", "bob", "telegram:c:9", NOON)
    assert memes_seen(world.control, world.lake, "bob") == 3


def test_moderators_pass_the_gate(world: World) -> None:
    world.known(seen=0, role="moderator", rules_accepted=False)
    assert [refusal(world.send(n, language="de")) for n in range(6)] == [None] * 6


def test_uploads_at_one_moment_are_counted_one_after_the_other(world: World) -> None:
    world.known()
    with ThreadPoolExecutor(3) as pool:
        sent = list(pool.map(lambda n: world.send(content=png(n)), range(6)))
    assert sorted(receipt.refused is not None for receipt in sent) == [False] * 4 + [True] * 2
    assert len({receipt.meme_id for receipt in sent}) == 6


def test_a_forwarded_meme_is_as_old_as_what_was_forwarded(world: World) -> None:
    world.known()
    old, older = NOON - timedelta(days=30), NOON - timedelta(days=900)
    for minutes, forwarded, published in ((0, old, old), (1, older, NOON + timedelta(minutes=1))):
        receipt = world.send(minutes, forwarded_at=forwarded)
        assert read(receipt.payload.read_bytes()).posts[0].published_at == published
    with pytest.raises(UserError, match="in the future"):
        world.send(forwarded_at=NOON + timedelta(days=1))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty_file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_type"),
        (png()[:60], "unreadable"),
        (b"\0" * (MAX_BYTES + 1), "allowed are"),
    ],
)
def test_what_is_no_picture_is_refused_and_leaves_nothing_behind(world: World, content: bytes, told: str) -> None:
    world.known()
    with pytest.raises(UserError, match=told):
        world.send(content=content)
    assert not world.settings.live_memes.exists()


@pytest.mark.parametrize("user", ["nobody", "../ann", "", ".ann", "a/b", "x" * 65])
def test_strangers_and_ids_that_lead_elsewhere_are_refused(world: World, user: str) -> None:
    with pytest.raises(UserError, match=r"nobody knows|no id of a user"):
        world.send(user=user)


def test_the_latest_word_about_a_person_holds(world: World) -> None:
    register(world.control, "bob", ["EN", "ru", "en"], at=NOON, invited_by="ann")
    first = person(world.control, "bob")
    assert first is not None and (first["languages"], first["role"], first["invited_by"]) == (
        ["en", "ru"],
        "user",
        "ann",
    )
    register(world.control, "bob", ["ru"], at=NOON - timedelta(hours=1), role="admin")
    last = person(world.control, "bob")
    assert last is not None and last["role"] == "admin" and last["at"] > NOON
    assert person(world.control, "eve") is None


@pytest.mark.parametrize(("languages", "role"), [([], "user"), ([""], "user"), (["en"], "king"), (["ру"], "user")])
def test_roles_and_languages_that_are_none_are_refused(world: World, languages: list[str], role: str) -> None:
    with pytest.raises(UserError):
        register(world.control, "bob", languages, at=NOON, role=role)

"""Deleting memes on request: nothing of them is left that was made here, whatever platform they came from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from magpie import maintenance
from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.fetches import Fetch, Fetches
from magpie.lake import Lake
from magpie.memes import changes
from magpie.memes import tables as t
from magpie.memes.describe_queue import RETRIES
from magpie.memes.forgetting import Forgotten, forget
from magpie.memes.logs import EVENTS, MODERATION
from magpie.memes.moderation import decide
from magpie.memes.reactions import react
from magpie.memes.settings import Memes, MemeSource
from magpie.memes.uploads import register, upload
from magpie.settings import Settings
from magpie.sources.channel_payloads import read_payload
from magpie.sources.payload_blanking import blanked, tells
from magpie.sources.reddit_landing import Landing
from magpie.tables import Partitions, Table
from tests.dagster_world import copy_home
from tests.meme_home import TABLES, make_memes
from tests.pictures import encoded, noise
from tests.test_meme_descriptions import Studio, studio  # noqa: F401 - a fixture

DAY = date(2026, 5, 4)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECRET = "zanzibarsecret"
PICTURES = ("telegram", "vk", "instagram", "upload")
TELEGRAM = "telegram:pond:7"
VK = "vk:pond:-5_7"
INSTAGRAM = "instagram:pond:7007"


def a_picture(name: str) -> bytes:
    return encoded(noise(PICTURES.index(name)))


def telegram_page(gone: str = SECRET) -> bytes:
    def message(number: int, text: str) -> str:
        return (
            f'<div class="tgme_widget_message" data-post="pond/{number}">'
            f'<a class="tgme_widget_message_photo_wrap" style="background-image:url(\'https://cdn.invalid/{text}.jpg\')">'
            f'</a><div class="tgme_widget_message_text">{text} joke</div>'
            f'<span class="tgme_widget_message_views">1K</span><a class="tgme_widget_message_date">'
            f'<time datetime="2026-05-04T10:0{number}:00+00:00"></time></a></div>'
        )

    answer = message(8, "kept").replace(
        '<div class="tgme_widget_message_text">',
        f'<a class="tgme_widget_message_reply" href="https://t.me/pond/7">{gone}</a>'
        '<div class="tgme_widget_message_text">',
    )
    return f'<html><body class="tgme_channel_info">{message(7, gone)}{answer}</body></html>'.encode()


def vk_answer() -> bytes:
    def item(number: int, text: str) -> dict[str, object]:
        photo = {"sizes": [{"type": "x", "width": 9, "height": 9, "url": f"https://cdn.invalid/{text}.jpg"}]}
        told = {"id": number, "owner_id": -5, "from_id": -5, "date": 1_777_888_800 + number, "text": f"{text} joke"}
        return {**told, "attachments": [{"type": "photo", "photo": photo}], "views": {"count": 5}}

    return json.dumps({"response": {"items": [item(7, SECRET), item(8, "kept")]}}).encode()


def instagram_answer() -> bytes:
    def item(number: int, text: str) -> dict[str, object]:
        sizes = {"candidates": [{"url": f"https://cdn.invalid/{text}.jpg", "width": 9, "height": 9}]}
        told = {"pk": str(number), "id": f"{number}_1", "taken_at": 1_777_888_800 + number, "media_type": 1}
        return {**told, "caption": {"text": f"{text} joke"}, "image_versions2": sizes}

    return json.dumps({"items": [item(7007, SECRET), item(7008, "kept")]}).encode()


PAYLOADS = {
    "telegram": (telegram_page(), "7", "html", TELEGRAM),
    "vk": (vk_answer(), "-5_7", "json", VK),
    "instagram": (instagram_answer(), "7007", "json", INSTAGRAM),
}


@dataclass
class World:
    """A home with a landed page of each platform, an upload, and the tables that are made of them."""

    home: Path
    control: Control

    @property
    def settings(self) -> Settings:
        listed = [MemeSource(id=f"{prefix}:pond") for prefix in ("tg", "vk", "ig")]
        memes = Memes(local_ocr="off", archives=("archives",) if (self.home / "archives").exists() else ())
        return Settings(start_day=DAY, home=self.home, root=self.home, meme_sources=tuple(listed), memes=memes)

    @property
    def lake(self) -> Lake:
        return Lake(str(self.home / "lake"))

    @property
    def blobs(self) -> Blobs:
        return Blobs(self.settings.blobs)

    def land(self) -> None:
        for platform, (content, _, ending, meme_id) in PAYLOADS.items():
            folder = self.settings.live_memes / platform / "pond"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"20260504T110000000000Z-1.{ending}").write_bytes(content)
            self.download(meme_id, platform)

    def download(self, meme_id: str, picture: str) -> str:
        sha256 = self.blobs.put(a_picture(picture))
        Fetches(self.control).record([Fetch("media", f"{meme_id}#0", "bytes", NOON, "ok", sha256)])
        return sha256

    def make(self, days: tuple[date, ...] = (DAY,)) -> None:
        make_memes(self.settings, self.control, days, NOON)

    def write(self, table: Table, rows: pl.DataFrame, partitions: Partitions) -> None:
        self.lake.write(table, rows, partitions)

    def purge(self, meme_id: str) -> Forgotten:
        decide(self.control, self.lake, meme_id, "purge", actor="root", at=NOON, operator=True)
        return forget(self.settings, self.lake, self.control)

    def row(self, table: Table, meme_id: str) -> dict[str, object]:
        return self.lake.read(table).filter(pl.col("meme_id") == meme_id).collect().row(0, named=True)

    def landed(self, platform: str) -> list[Path]:
        return sorted((self.settings.live_memes / platform / "pond").iterdir())


def world_at(home: Path) -> World:
    return World(home, Control(f"sqlite:///{home / 'control.sqlite'}"))


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a world whose tables are made; tests work on copies of it."""
    made = world_at(tmp_path_factory.mktemp("made"))
    made.land()
    made.make()
    made.control.close()
    return made.home


@pytest.fixture
def world(made_home: Path, tmp_path: Path) -> Iterator[World]:
    copy_home(made_home, tmp_path)
    copied = world_at(tmp_path)
    yield copied
    copied.control.close()


@pytest.mark.parametrize("platform", PAYLOADS)
def test_a_blanked_payload_still_counts_the_post_and_says_nothing_of_it(platform: str) -> None:
    content, post_id, _, _ = PAYLOADS[platform]
    left = blanked(content, platform, [post_id])
    assert SECRET in content.decode()
    assert SECRET not in left.decode()
    _, before = read_payload(content, platform, "pond", vk_text_max=200)
    _, after = read_payload(left, platform, "pond", vk_text_max=200)
    assert tells(before, [post_id])
    assert not tells(after, [post_id])
    moments = [{post.post_id: post.published_at for post in payload.posts} for payload in (before, after)]
    assert moments[0] == moments[1], "other days keep their posts, and this one its id"
    kept = [next(post for post in payload.posts if post.post_id != post_id) for payload in (before, after)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("platform", PAYLOADS)
def test_a_purged_meme_leaves_tables_payloads_and_blobs_and_stays_away(world: World, platform: str) -> None:
    meme_id = PAYLOADS[platform][3]
    sha256 = str(world.row(t.MEME_MEDIA, meme_id)["sha256"])
    assert world.row(t.MEME_STATUS, meme_id)["servable"]
    done = world.purge(meme_id)
    assert (done.payloads, done.blobs) == (1, 1)
    assert not world.blobs.has(sha256)
    world.make()
    for table in TABLES:
        row = world.row(table, meme_id)
        assert row["status"] == "rejected", table.name
        assert SECRET not in str(row)
        assert row.get("phash64") is None and row.get("description") is None and row.get("caption") is None
    assert not world.row(t.MEME_STATUS, meme_id)["servable"]
    assert SECRET not in "".join(path.read_text() for path in world.landed(platform))
    assert not world.blobs.has(sha256), "making the tables anew brings nothing back"
    assert forget(world.settings, world.lake, world.control) == Forgotten(), "nothing is removed twice"


def test_a_page_that_is_fetched_again_is_blanked_by_the_next_maintenance(world: World) -> None:
    world.purge(TELEGRAM)
    world.make()
    page = world.settings.live_memes / "telegram" / "pond" / "20260504T120000000000Z-1.html"
    page.write_bytes(telegram_page())
    world.make()
    assert SECRET not in str(world.row(t.MEME_POSTS, TELEGRAM))
    assert forget(world.settings, world.lake, world.control).payloads == 1
    assert SECRET not in page.read_text()


def test_bytes_that_another_meme_shows_stay(world: World) -> None:
    shared = world.download("telegram:pond:8", "telegram")
    world.make()
    assert world.row(t.MEME_MEDIA, "telegram:pond:8")["sha256"] == shared
    assert world.purge(TELEGRAM).blobs == 0
    assert world.blobs.has(shared)
    world.make()
    assert world.row(t.MEME_STATUS, "telegram:pond:8")["state"] == "ok", "it is a copy of nothing now"


def test_a_purged_upload_leaves_no_file(world: World) -> None:
    register(world.control, "ann", ["en"], at=NOON, role="moderator")
    content = a_picture("upload")
    at = NOON - timedelta(hours=1)
    receipt = upload(
        world.settings, world.control, world.lake, content, user="ann", language="en", at=at, caption=SECRET
    )
    world.make()
    folder = receipt.payload.parent
    assert len([path for path in folder.iterdir() if path.stem == receipt.payload.stem]) == 2
    done = world.purge(receipt.meme_id)
    assert (done.payloads, done.files, done.blobs) == (1, 1, 1)
    assert [path for path in folder.iterdir() if path.stem == receipt.payload.stem] == [receipt.payload]
    assert SECRET not in receipt.payload.read_text()
    world.make()
    assert world.row(t.MEME_STATUS, receipt.meme_id)["state_reason"] == "purged"


def test_an_archive_that_somebody_brought_stays_and_does_not_bring_the_meme_back(world: World) -> None:
    folder = world.home / "archives" / "telegram" / "pond"
    folder.mkdir(parents=True)
    page = folder / "page.html"
    page.write_bytes(telegram_page())
    world.purge(TELEGRAM)
    world.make()
    assert SECRET in page.read_text()
    assert SECRET not in str(world.row(t.MEME_POSTS, TELEGRAM))


def test_what_rules_turned_down_can_be_deleted_too(world: World) -> None:
    posts = world.lake.read(t.MEME_POSTS).collect()
    turned_down = posts.with_columns(
        status=pl.when(pl.col("meme_id") == VK).then(pl.lit("rejected")).otherwise("status"),
        reason=pl.when(pl.col("meme_id") == VK).then(pl.lit("vk_ad")).otherwise("reason"),
    )
    asked = Partitions.of(posts.select("platform", "day").unique().iter_rows())
    world.write(t.MEME_POSTS, turned_down, asked)
    memes = world.lake.read(t.MEMES).filter(pl.col("meme_id") != VK).collect()
    world.write(t.MEMES, memes, asked)
    assert world.purge(VK).payloads == 1
    with pytest.raises(UserError, match="there is no meme"):
        world.purge("vk:pond:-5_99")


def test_events_of_a_purged_meme_keep_its_id_so_that_ratings_of_people_stay(world: World) -> None:
    react(world.control, "like", "u1", TELEGRAM, NOON)
    told = {"retry_id": "r1", "meme_id": TELEGRAM, "actor": "ann", "at": NOON}
    RETRIES.append(world.control, [told])
    world.purge(TELEGRAM)
    world.make()
    assert RETRIES.read(world.control).is_empty()
    assert EVENTS.read(world.control)["meme_id"].to_list() == [TELEGRAM]
    assert TELEGRAM in world.lake.read(t.MEME_STATUS).collect()["meme_id"]


def test_a_purge_asks_for_the_posts_of_its_day_to_be_made_anew(world: World) -> None:
    seen = changes.after(changes.Seen.read(None), world.settings, world.lake, world.control, DAY).left_with([])
    assert not changes.after(seen, world.settings, world.lake, world.control, DAY).waiting
    decide(world.control, world.lake, TELEGRAM, "purge", actor="root", at=NOON, operator=True)
    after = changes.after(seen, world.settings, world.lake, world.control, DAY)
    assert (changes.POSTS, DAY, DAY) in after.waiting


def test_old_versions_go_daily_while_they_may_hold_a_purged_meme(world: World, tmp_path: Path) -> None:
    monday = datetime(2026, 5, 4, 4, tzinfo=UTC)
    landing = Landing(tmp_path / "landing", tmp_path, [], 1 << 20)

    def run(now: datetime) -> maintenance.Maintenance:
        again = partial(forget, world.settings, world.lake, world.control)
        return maintenance.run(world.lake, world.control, landing, tmp_path / "none", [], now=now, forget_memes=again)

    assert not run(monday).vacuumed
    decide(world.control, world.lake, TELEGRAM, "purge", actor="root", at=monday, operator=True)
    found = run(monday + timedelta(days=1))
    assert found.vacuumed
    assert found.waiting_days == 1.0
    assert found.memes.payloads == 1
    assert "1 payloads blanked" in found.summary
    assert MODERATION.read(world.control).height == 1


def test_answers_about_a_purged_meme_are_blanked_and_never_given_again(studio: Studio, tmp_path: Path) -> None:  # noqa: F811
    studio.make("a", "b")
    control = Control(f"sqlite:///{tmp_path / 'control.db'}")
    told = {"decision_id": "d1", "meme_id": "a", "action": "purge", "actor": "root", "at": NOON}
    MODERATION.append(control, [told])
    settings, lake = Settings(start_day=DAY, home=tmp_path), Lake(str(tmp_path / "lake"))
    assert forget(settings, lake, control).answers == 1
    assert forget(settings, lake, control).answers == 0
    control.close()
    studio.stored = studio.stored.clear()
    again = studio.make()
    assert (again["a"]["status"], again["a"]["description"]) == ("pending", None)
    assert again["b"]["description"] is not None, "the answer about the other one is kept"

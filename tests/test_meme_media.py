"""meme_media: where the bytes of a meme come from, what is tried again and when, and what they turn out to be."""

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pictures import animation, encoded, noise, scene, video
from polars.testing import assert_frame_equal

from magpie.blobs import Blobs
from magpie.errors import UserError
from magpie.fetches import Fetch
from magpie.lake import conform
from magpie.memes import media
from magpie.memes.media import MediaRules, meme_media, retry_after
from magpie.memes.naming import media_item
from magpie.memes.settings import Memes
from magpie.memes.tables import MEME_MEDIA, MEME_POSTS, MEMES

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RULES = MediaRules(batch=100, stop_after=5, max_attempts=5)
PICTURE = encoded(scene(), "JPEG")
GIF = animation([noise(1), noise(2), noise(3)])
SOURCE_FILE = "archives/telegram/daily/result.json"
needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="the extra `video` is not installed")


def a_meme(number: int, *, type: str = "image", status: str = "ok", **item: Any) -> dict[str, Any]:
    """A meme and its medium; later numbers are published later."""
    medium = dict.fromkeys(("url", "file", "width", "height", "duration_s", "mime")) | {"kind": "photo"} | item
    return {
        "meme_id": f"telegram:daily:{number}",
        "source_id": "tg:daily",
        "post_id": str(number),
        "platform": "telegram",
        "day": NOW.date(),
        "type": type,
        "language": "en",
        "published_at": NOW.replace(hour=0) + timedelta(minutes=number),
        "fetched_at": NOW,
        "ad_flag": False,
        "is_ad": False,
        "status": status,
        "reason": None if status == "ok" else "carousel",
        "media": [medium],
        "source_file": SOURCE_FILE,
    }


def at(number: int) -> str:
    return f"https://cdn.example/{number}.jpg"


def an_item(number: int) -> str:
    return media_item(f"telegram:daily:{number}", 0)


def said(number: int, outcome: str, detail: str | None = None, when: datetime = NOW) -> Fetch:
    return Fetch("media", an_item(number), "bytes", when, outcome, detail)


@dataclass
class World:
    """An archive, a blob store and a network that answers as told."""

    folder: Path
    answers: dict[str, bytes | str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    log: dict[str, list[Fetch]] = field(default_factory=dict)
    now: datetime = NOW

    @property
    def archive(self) -> Path:
        return (self.folder / SOURCE_FILE).parent

    @property
    def blobs(self) -> Blobs:
        return Blobs(self.folder / "home" / "blobs")

    def fetch(self, meme_id: str, ord: int, url: str) -> Fetch:
        self.asked.append(meme_id)
        answer = self.answers.get(url, "http_404")
        outcome, detail = (answer, None) if isinstance(answer, str) else ("ok", self.blobs.put(answer))
        fetch = Fetch("media", media_item(meme_id, ord), "bytes", self.now, outcome, detail)
        self.log.setdefault(fetch.item, []).append(fetch)
        return fetch

    def made(
        self,
        memes: Sequence[Mapping[str, Any]],
        *,
        stored: pl.DataFrame | None = None,
        rules: MediaRules = RULES,
        live: bool = True,
    ) -> pl.DataFrame:
        frame = meme_media(
            rows(MEMES, memes),
            rows(MEME_POSTS, memes),
            MEME_MEDIA.empty() if stored is None else stored,
            {item: tuple(known) for item, known in self.log.items()},
            lambda name: self.folder / name,
            self.fetch if live else None,
            self.blobs,
            rules,
            self.now,
        )
        return conform(MEME_MEDIA, frame)

    def one(self, meme: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        (row,) = self.made([meme], **options).to_dicts()
        return row


def rows(table: Any, memes: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([dict(meme) for meme in memes], schema=table.dtypes)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.archive.mkdir(parents=True)
    return made


def fate(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("status", "reason", "observed", "threshold"))


def test_a_picture_of_an_archive_is_kept_under_its_sha256_and_hashed(world: World) -> None:
    (world.archive / "photos").mkdir()
    (world.archive / "photos" / "a.jpg").write_bytes(PICTURE)
    row = world.one(a_meme(1, file="photos/a.jpg"))
    sha = hashlib.sha256(PICTURE).hexdigest()
    assert fate(row) == ("ok", None, None, None)
    assert (row["sha256"], row["bytes"], row["mime"]) == (sha, len(PICTURE), "image/jpeg")
    assert (row["width"], row["height"], row["duration_s"], row["keyframe_phashes"]) == (640, 480, None, [])
    assert row["path"] == f"blobs/{sha[:2]}/{sha[2:4]}/{sha}"
    assert (world.folder / "home" / row["path"]).read_bytes() == PICTURE
    assert len(row["phash64"]) == 16
    assert row["watermarked_sha256"] is None


def test_only_memes_that_are_ok_have_a_row(world: World) -> None:
    assert world.made([a_meme(1, status="rejected", url=at(1))]).is_empty()
    assert world.asked == []


def test_a_flat_picture_has_no_hash(world: World) -> None:
    (world.archive / "a.png").write_bytes(encoded(scene().point(lambda value: 90)))
    row = world.one(a_meme(1, file="a.png"))
    assert (row["status"], row["phash64"], row["grey_std"]) == ("ok", None, 0)


@pytest.mark.parametrize(
    "name", ["gone.jpg", "(File not included. Change data exporting settings to download.)", "", "photos", "a" * 300]
)
def test_a_file_that_an_archive_lacks_is_told_so(world: World, name: str) -> None:
    (world.archive / "photos").mkdir()
    row = world.one(a_meme(1, file=name))
    assert row["status"] in ("rejected", "failed")
    assert row["reason"] in ("media_not_in_archive", "unreadable_file")
    assert row["sha256"] is None


def test_a_file_that_an_archive_lacks_is_downloaded_where_its_address_is_known(world: World) -> None:
    world.answers[at(1)] = PICTURE
    assert world.one(a_meme(1, file="gone.jpg", url=at(1)))["status"] == "ok"


def test_no_name_leads_out_of_the_archive(world: World) -> None:
    outside = world.folder / "secret.jpg"
    outside.write_bytes(PICTURE)
    (world.archive / "link.jpg").symlink_to(outside)
    (world.archive / "folder").symlink_to(world.folder)
    for name in ("../../../secret.jpg", str(outside), "link.jpg", "folder/secret.jpg"):
        row = world.one(a_meme(1, file=name))
        assert fate(row) == ("rejected", "outside_archive", name[:200], None)
    assert not (world.folder / "home").exists()


@pytest.mark.parametrize("name", ["a\x00b.jpg", "loop.jpg"])
def test_a_name_that_no_system_takes_fails_one_row(world: World, name: str) -> None:
    (world.archive / "loop.jpg").symlink_to(world.archive / "loop.jpg")
    row = world.one(a_meme(1, file=name))
    assert (row["status"] in ("rejected", "failed"), row["sha256"]) == (True, None)
    assert str(world.folder) not in str(row["observed"])


def test_a_file_beyond_the_bound_is_refused_before_it_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_BYTES", len(PICTURE) - 1)
    (world.archive / "a.jpg").write_bytes(PICTURE)
    row = world.one(a_meme(1, file="a.jpg"))
    assert fate(row) == ("rejected", "too_large", str(len(PICTURE)), str(len(PICTURE) - 1))


@pytest.mark.parametrize(
    ("content", "reason", "observed"),
    [
        (b"", "empty_file", "0 bytes"),
        (b"<html>sign in</html>", "mislabelled", "text/html"),
        (b"<svg/>", "mislabelled", "image/svg+xml"),
        (b"PK\x03\x04", "mislabelled", "application/zip"),
        (encoded(noise(1).resize((500, 10))), "absurd_aspect", "500x10"),
        (PICTURE[:2000], "unreadable", None),
    ],
)
def test_bytes_that_are_no_picture_are_rejected_with_what_they_are(
    world: World, content: bytes, reason: str, observed: str | None
) -> None:
    (world.archive / "a.jpg").write_bytes(content)
    row = world.one(a_meme(1, file="a.jpg"))
    assert (row["status"], row["reason"]) == ("rejected", reason)
    assert observed is None or row["observed"] == observed
    assert (row["sha256"], row["phash64"]) == (hashlib.sha256(content).hexdigest(), None)


def test_a_moving_picture_posted_as_a_picture_stays_one_and_says_that_it_moves(world: World) -> None:
    world.answers[at(1)] = GIF
    row = world.one(a_meme(1, url=at(1)))
    assert fate(row) == ("ok", None, "animation", "image")
    assert (row["mime"], row["duration_s"], len(row["keyframe_phashes"])) == ("image/gif", 0.3, 3)
    assert row["phash64"] is not None
    assert fate(world.one(a_meme(1, type="animation", url=at(1)))) == ("ok", None, None, None)


def test_a_still_picture_in_the_place_of_a_video_is_mislabelled(world: World) -> None:
    world.answers[at(1)] = PICTURE
    for type in ("video", "animation"):
        assert fate(world.one(a_meme(1, type=type, url=at(1)))) == ("rejected", "mislabelled", "image/jpeg", type)


@needs_av
def test_a_video_is_hashed_by_its_key_frames_and_is_no_picture(world: World) -> None:
    world.answers[at(1)] = video([picture for seed in range(3) for picture in [noise(seed)] * 10])
    row = world.one(a_meme(1, type="video", url=at(1)))
    assert fate(row) == ("ok", None, None, None)
    assert (row["mime"], row["duration_s"], row["phash64"]) == ("video/mp4", 3.0, None)
    assert len(row["keyframe_phashes"]) == 3
    again = world.made([a_meme(1, type="image", url=at(1))], stored=world.made([a_meme(1, type="video", url=at(1))]))
    assert fate(again.row(0, named=True)) == ("rejected", "mislabelled", "video/mp4", "image")


def test_without_a_decoder_a_video_is_rejected_and_its_bytes_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magpie.media.video_frames.importlib.util.find_spec", lambda name: None)
    world.answers[at(1)] = b"\x00\x00\x00\x20ftypisom" + bytes(40)
    row = world.one(a_meme(1, type="video", url=at(1)))
    assert (row["status"], row["reason"], row["mime"]) == ("rejected", "no_decoder", "video/mp4")
    assert world.blobs.has(row["sha256"])


def test_what_was_downloaded_before_is_not_asked_for_again(world: World) -> None:
    world.log[an_item(1)] = [said(1, "timeout"), said(1, "ok", world.blobs.put(PICTURE))]
    row = world.one(a_meme(1, url=at(1)))
    assert (row["status"], row["attempts"], world.asked) == ("ok", 0, [])


def test_bytes_that_are_gone_or_damaged_are_asked_for_again(world: World) -> None:
    world.answers[at(1)] = PICTURE
    sha = world.blobs.put(PICTURE)
    for detail in (sha, "no sha256", None):
        world.log[an_item(1)] = [said(1, "ok", detail)]
        world.blobs.path(sha).write_bytes(b"damaged")
        assert world.one(a_meme(1, url=at(1)), live=False)["reason"] == "not_fetched"
        assert world.one(a_meme(1, url=at(1)))["status"] == "ok"


def test_a_link_nobody_may_ask_is_looked_up_beside_the_saved_page_and_is_else_not_in_the_archive(world: World) -> None:
    row = world.one(a_meme(1, url=at(1)), live=False)
    assert (row["status"], row["reason"], world.asked) == ("rejected", "media_not_in_archive", [])
    saved = world.archive / "media" / at(1).rpartition("/")[2]
    saved.parent.mkdir(parents=True)
    saved.write_bytes(PICTURE)
    assert world.one(a_meme(1, url=at(1) + "?signature=a"), live=False)["status"] == "ok"


def test_a_medium_without_file_and_address_is_rejected(world: World) -> None:
    assert fate(world.one(a_meme(1))) == ("rejected", "no_address", None, None)


def test_a_post_that_has_no_longer_one_medium_is_rejected(world: World) -> None:
    meme = a_meme(1, url=at(1))
    assert fate(world.one(meme | {"media": meme["media"] * 2})) == ("rejected", "no_media", "2 media", "1")


def test_a_broken_link_rests_twice_as_long_each_time_and_fails_after_five_attempts(world: World) -> None:
    waits = []
    for attempt in range(1, 5):
        row = world.one(a_meme(1, url=at(1)))
        assert (row["reason"], row["attempts"], row["observed"]) == ("broken_link", attempt, "http_404")
        waits.append(row["not_before"] - world.now)
        # A second before its time nothing is asked.
        world.now = row["not_before"] - timedelta(seconds=1)
        assert world.one(a_meme(1, url=at(1)))["not_before"] == row["not_before"]
        assert len(world.asked) == attempt
        world.now = row["not_before"]
    assert waits == [timedelta(hours=hours) for hours in (1, 2, 4, 8)]
    row = world.one(a_meme(1, url=at(1)))
    assert (row["status"], row["attempts"], row["not_before"]) == ("failed", 5, None)
    assert fate(row)[1:] == ("broken_link", "http_404", "5 attempts")
    world.now += timedelta(days=30)
    assert world.one(a_meme(1, url=at(1)))["status"] == "failed"
    assert len(world.asked) == 5


def test_a_link_rests_a_day_at_most() -> None:
    assert [retry_after(attempts) for attempts in (5, 6, 10**9)] == [timedelta(hours=hours) for hours in (16, 24, 24)]


def test_a_link_that_answers_again_starts_from_none(world: World) -> None:
    world.log[an_item(1)] = [said(1, "http_403"), said(1, "ok", "0" * 64), said(1, "timeout")]
    row = world.one(a_meme(1, url=at(1)))
    assert (row["attempts"], row["not_before"]) == (1, NOW + timedelta(hours=1))


@pytest.mark.parametrize("outcome", ["too_large", "private_address", "not_http", "not_media"])
def test_what_is_refused_is_not_asked_for_twice(world: World, outcome: str) -> None:
    world.answers[at(1)] = outcome
    for _ in range(2):
        row = world.one(a_meme(1, url=at(1)))
        assert (row["status"], row["reason"]) == ("rejected", outcome)
    assert len(world.asked) == 1


def test_a_run_downloads_so_many_newest_first_and_the_others_wait_their_turn(world: World) -> None:
    memes = [a_meme(number, url=at(number)) for number in range(5)]
    world.answers = {at(number): encoded(noise(number)) for number in range(5)}
    rules = MediaRules(batch=2, stop_after=5, max_attempts=5)
    made = world.made(memes, rules=rules)
    assert world.asked == ["telegram:daily:4", "telegram:daily:3"]
    waiting = made.filter(pl.col("reason") == "awaiting_turn")
    assert waiting["meme_id"].to_list() == [f"telegram:daily:{number}" for number in range(3)]
    assert waiting["not_before"].to_list() == [NOW] * 3
    for _ in range(2):
        made = world.made(memes, rules=rules)
    assert made["status"].to_list() == ["ok"] * 5


def test_an_archive_needs_no_turn(world: World) -> None:
    for number in range(5):
        (world.archive / f"{number}.png").write_bytes(encoded(noise(number)))
    rules = MediaRules(batch=1, stop_after=1, max_attempts=1)
    made = world.made([a_meme(number, file=f"{number}.png") for number in range(5)], rules=rules)
    assert made["status"].to_list() == ["ok"] * 5


def test_five_failures_in_a_row_stop_the_batch_for_a_quarter_of_an_hour(world: World) -> None:
    memes = [a_meme(number, url=at(number)) for number in range(12)]
    # Newest first: 11 fails, 10 answers, 9 to 5 fail.
    world.answers = {at(10): PICTURE, at(8): "timeout", at(0): PICTURE}
    made = world.made(memes)
    assert len(world.asked) == 7
    by_reason = dict(made.group_by("reason").len().iter_rows())
    assert by_reason == {None: 1, "broken_link": 6, "batch_stopped": 5}
    stopped = made.filter(pl.col("reason") == "batch_stopped")
    assert stopped["not_before"].unique().to_list() == [NOW + timedelta(minutes=15)]
    assert stopped["attempts"].unique().to_list() == [0]


def test_rows_do_not_depend_on_the_order_they_come_in(world: World) -> None:
    memes = [a_meme(number, url=at(number)) for number in range(6)]
    for number in range(6):
        world.log[an_item(number)] = [said(number, "ok", world.blobs.put(encoded(noise(number % 4))))]
    assert_frame_equal(world.made(memes), world.made(memes[::-1]))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []
    real: Callable[..., Any] = media.facts

    def facts(contents: Any) -> Any:
        held = list(contents)
        made.append(len(held))
        return real(held)

    monkeypatch.setattr(media, "facts", facts)
    return made


def test_facts_are_made_once_for_equal_bytes_and_again_only_under_new_rules(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    memes = [a_meme(number, url=at(number)) for number in range(3)]
    world.answers = {at(0): PICTURE, at(1): PICTURE, at(2): GIF}
    made = counted(monkeypatch)
    first = world.made(memes)
    again = world.made(memes, stored=first)
    marked = MediaRules(100, 5, 5, watermark_text="@magpie")
    world.made(memes, stored=first, rules=marked)
    assert made == [2, 0, 2]
    assert_frame_equal(first, again)


def test_pictures_are_marked_in_a_second_blob_and_animations_are_not(world: World) -> None:
    memes = [a_meme(number, url=at(number)) for number in range(2)]
    world.answers = {at(0): PICTURE, at(1): GIF}
    rules = MediaRules(100, 5, 5, watermark_text="@magpie")
    made = world.made(memes, rules=rules)
    picture, gif = made.to_dicts()
    assert picture["watermarked_sha256"] not in (None, picture["sha256"])
    assert world.blobs.verify(picture["sha256"])
    assert world.blobs.verify(picture["watermarked_sha256"])
    assert gif["watermarked_sha256"] is None
    world.blobs.remove(picture["watermarked_sha256"])
    assert_frame_equal(world.made(memes, stored=made, rules=rules), made)
    assert world.blobs.verify(picture["watermarked_sha256"])


def test_new_words_make_a_new_version_of_the_rules() -> None:
    versions = {MediaRules(1, 1, 1, text).version for text in ("", "@magpie", "@other")}
    assert len(versions) == 3


def test_rules_come_from_the_settings_and_a_watermark_that_cannot_be_drawn_is_said_at_once() -> None:
    assert MediaRules.of(Memes()) == MediaRules(100, 5, 5, "")
    with pytest.raises(UserError, match=r"memes.watermark_text.*cannot draw"):
        Memes(watermark_text="сорока")

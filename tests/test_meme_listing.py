"""Listing: every payload and file of events gets one row, placed by its folders, and says why it is of no use."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.lake import conform
from magpie.memes import listing
from magpie.memes.listing import Places, fingerprint, meme_files, moment_of, stamp_of
from magpie.memes.tables import MEME_FILES
from magpie.places import changed
from magpie.settings import Settings
from magpie.sources.channel_payloads import PayloadError
from magpie.sources.meme_posts import BadPost, Payload, RawPost

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FETCHED = datetime(2026, 11, 21, 8, 30, 1, 42, tzinfo=UTC)


def posts_on(*moments: datetime) -> bytes:
    """A payload in the small format of these tests: moments of posts."""
    return json.dumps([moment.isoformat() for moment in moments]).encode()


@dataclass
class World:
    """A folder with archives and a home, what was listed the last time, and what was opened since."""

    root: Path
    stored: pl.DataFrame = field(default_factory=MEME_FILES.empty)
    opened: list[str] = field(default_factory=list)

    @property
    def places(self) -> Places:
        home = self.root / "home"
        events = (self.root / "events",) if (self.root / "events").exists() else ()
        return Places(self.root, home, (self.root / "archive",), home / "raw" / "memes" / "live", events)

    def put(self, name: str, content: bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def landed(self, name: str, content: bytes) -> Path:
        return self.put(f"home/raw/memes/live/{name}", content)

    def read(self, content: bytes, platform: str, name: str) -> tuple[str, Payload]:
        self.opened.append(f"{platform}/{name}")
        if content == b"none":
            raise PayloadError("no_payload", "these are no posts;\nsee https://example.org/secret?token=1")
        moments = [datetime.fromisoformat(text) for text in json.loads(content)]
        posts = tuple(RawPost(str(n), moment) for n, moment in enumerate(moments))
        bad = (BadPost("posts[7]", "no date"),) if b"bad" in name.encode() else ()
        return "vk_wall", Payload(posts, bad, missing_ids=3)

    def events_in(self, path: Path) -> tuple[int, int, str | None, list[date]]:
        self.opened.append(path.name)
        return 5, 1, "line 3: no time", [date(2026, 11, 21), date(2026, 11, 20), date(2026, 11, 21)]

    def files(self) -> pl.DataFrame:
        self.opened.clear()
        self.stored = conform(MEME_FILES, meme_files(self.places, self.stored, self.read, self.events_in))
        return self.stored

    def row(self, ending: str) -> dict[str, Any]:
        return self.files().row(by_predicate=pl.col("source_file").str.ends_with(ending), named=True)

    def fate(self, ending: str) -> tuple[Any, ...]:
        row = self.row(ending)
        return row["status"], row["reason"], row["observed"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "archive").mkdir()
    return World(tmp_path)


def test_an_archive_is_placed_by_its_folders_and_dated_by_its_newest_post(world: World) -> None:
    world.put("archive/vk/cats/wall.json", posts_on(NOON, NOON - timedelta(days=2)))
    row = world.row("wall.json")
    assert (row["source_file"], row["platform"], row["source_id"]) == ("archive/vk/cats/wall.json", "vk", "vk:cats")
    assert (row["status"], row["format"], row["live"], row["fetched_at"]) == ("ok", "vk_wall", False, NOON)
    assert (row["posts"], row["missing_ids"]) == (2, 3)
    assert row["days"] == [date(2026, 11, 18), date(2026, 11, 20)]


def test_what_is_landed_here_is_dated_by_its_name_and_named_from_the_home(world: World) -> None:
    world.landed(f"telegram/cats/{stamp_of(FETCHED)}-0.html", posts_on(NOON))
    row = world.row("-0.html")
    assert row["source_file"] == "raw/memes/live/telegram/cats/20261121T083001000042Z-0.html"
    assert (row["live"], row["fetched_at"], row["source_id"]) == (True, FETCHED, "tg:cats")


def test_a_payload_without_posts_is_ok_and_has_no_days(world: World) -> None:
    world.put("archive/vk/cats/wall.json", posts_on())
    row = world.row("wall.json")
    assert (row["status"], row["posts"], row["days"], row["fetched_at"]) == ("ok", 0, [], None)


def test_posts_without_id_or_date_are_counted_with_an_example(world: World) -> None:
    world.put("archive/vk/bad/wall.json", posts_on(NOON))
    row = world.row("wall.json")
    assert (row["posts"], row["bad_posts"], row["bad_example"]) == (1, 1, "posts[7]: no date")


def test_media_hidden_and_unfinished_files_are_no_payloads(world: World) -> None:
    for name in ("photos/1.json", "files/table.csv", "css/x.html", "a.jpg", ".x.json", ".hidden/y.json"):
        world.put(f"archive/telegram/cats/{name}", b"none")
    world.put("archive/telegram/cats/export 2/Result.JSON", posts_on(NOON))
    assert world.files()["source_file"].to_list() == ["archive/telegram/cats/export 2/Result.JSON"]


def test_a_channel_may_have_the_name_of_a_media_folder(world: World) -> None:
    world.put("archive/telegram/photos/result.json", posts_on(NOON))
    assert world.row("result.json")["source_id"] == "tg:photos"


def test_events_are_listed_without_a_platform_with_the_days_on_which_they_happened(world: World) -> None:
    world.put("events/a.ndjson", b"...")
    row = world.row("a.ndjson")
    assert (row["format"], row["platform"], row["source_id"], row["status"]) == ("events", None, None, "ok")
    assert (row["posts"], row["bad_posts"], row["bad_example"]) == (5, 1, "line 3: no time")
    assert row["days"] == [date(2026, 11, 20), date(2026, 11, 21)]


@pytest.mark.parametrize(
    ("name", "reason", "observed"),
    [
        ("archive/myspace/tom/x.json", "unknown_platform", "myspace"),
        ("archive/vk/x.json", "no_source", "vk/x.json"),
        ("archive/x.json", "no_source", "x.json"),
        ("archive/telegram/my channel/x.json", "bad_source_name", "my channel"),
        ("home/raw/memes/live/vk/cats/x.json", "bad_name", "x.json"),
    ],
)
def test_a_file_in_the_wrong_place_says_so_and_is_not_opened(
    world: World, name: str, reason: str, observed: str
) -> None:
    world.put(name, posts_on(NOON))
    assert world.fate("x.json") == ("failed", reason, observed)
    assert world.opened == []


def test_people_may_have_names_that_channels_cannot_have(world: World) -> None:
    world.landed(f"upload/юля@home/{stamp_of(FETCHED)}-0.json", posts_on(NOON))
    assert world.row("-0.json")["source_id"] == "up:юля@home"


def test_what_is_no_payload_fails_in_one_line_without_addresses(world: World) -> None:
    world.put("archive/vk/cats/x.json", b"none")
    world.put("archive/vk/cats/y.json", posts_on(NOON))
    assert world.fate("x.json") == ("failed", "no_payload", "these are no posts; see https://example.org")
    assert world.row("x.json")["source_id"] == "vk:cats"
    assert world.fate("y.json")[0] == "ok"


def test_a_file_that_cannot_be_measured_fails_alone(world: World) -> None:
    world.put("archive/vk/cats/y.json", posts_on(NOON))
    loop = world.root / "archive/vk/cats/x.json"
    loop.symlink_to(loop)
    assert world.fate("x.json")[:2] == ("failed", "unreadable")
    assert world.fate("y.json")[0] == "ok"


def test_a_file_that_may_not_be_read_fails_and_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    world.put("archive/vk/cats/x.json", posts_on(NOON))
    with monkeypatch.context() as patched:
        patched.setattr(listing, "read_bounded", refuse)
        assert world.fate("x.json") == ("failed", "unreadable", "Permission denied")
    assert world.fate("x.json") == ("ok", None, None)


def test_a_folder_that_may_not_be_listed_gets_a_row_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("archive/vk/cats/y.json", posts_on(NOON))
    world.put("archive/vk/dogs/x.json", posts_on(NOON))
    scandir: Callable[..., Any] = os.scandir

    def guarded(path: str) -> Any:
        if str(path).endswith("dogs"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert world.fate("vk/dogs") == ("failed", "unreadable", "Permission denied")
    assert world.fate("y.json")[0] == "ok"


def test_a_name_that_is_no_utf_8_fails_alone(world: World) -> None:
    world.put("archive/vk/cats/y.json", posts_on(NOON))
    Path(os.fsdecode(os.fsencode(world.root / "archive/vk/cats") + b"/\xff.json")).write_bytes(posts_on(NOON))
    assert world.fate("?.json") == ("failed", "bad_name", "not UTF-8")
    assert world.fate("y.json")[0] == "ok"


def test_files_that_have_not_changed_are_not_opened_again(world: World) -> None:
    path = world.put("archive/vk/cats/x.json", posts_on(NOON))
    world.put("events/a.ndjson", b"...")
    first = world.files()
    assert world.opened == ["vk/cats", "a.ndjson"]
    assert world.files().equals(first)
    assert world.opened == []
    path.write_bytes(posts_on(NOON, NOON))
    assert (world.row("x.json")["posts"], world.opened) == (2, ["vk/cats"])


def test_what_changed_since_is_told_by_name(world: World) -> None:
    path = world.put("archive/vk/cats/x.json", posts_on(NOON))
    world.put("archive/vk/cats/y.json", posts_on(NOON))
    listed = world.files()
    assert changed(listed, fingerprint(world.places)) == []
    path.unlink()
    world.put("archive/vk/cats/z.json", posts_on(NOON))
    assert changed(listed, fingerprint(world.places)) == ["archive/vk/cats/x.json", "archive/vk/cats/z.json"]


def test_folders_that_overlap_list_a_file_once(world: World) -> None:
    world.put("archive/vk/cats/x.json", posts_on(NOON))
    twice = Places(world.root, world.root / "home", (world.root / "archive",) * 2, world.root / "none")
    assert len(twice.files()) == 1


def test_a_folder_that_does_not_exist_is_told_to_whoever_wrote_the_settings(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"start_day": date(2026, 1, 1), "root": tmp_path, "home": tmp_path / "home", "memes": {"archives": ["gone"]}}
    )
    with pytest.raises(UserError, match=r"gone does not exist; create it, or correct memes\.archives"):
        Places.of(settings).files()


@given(st.timedeltas(timedelta(days=-9999), timedelta(days=9999)), st.integers(0, 999))
def test_a_moment_comes_back_from_the_name_it_is_written_to(since: timedelta, n: int) -> None:
    at = NOON + since
    assert moment_of(f"{stamp_of(at)}-{n}.json") == at


def test_stamps_sort_as_their_moments_do() -> None:
    moments = [NOON + timedelta(microseconds=n * 999_999) for n in range(50)]
    assert [stamp_of(at) for at in moments] == sorted(stamp_of(at) for at in moments)

"""Posts: of what several payloads say of a post the newest counts, whatever the order of files and days."""

import hashlib
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.lake import conform
from magpie.memes.curation import CurationRules, memes
from magpie.memes.listing import Places, meme_files
from magpie.memes.posts import meme_posts
from magpie.memes.settings import Memes
from magpie.memes.sources import Listed, meme_sources
from magpie.memes.tables import MEME_FETCHES, MEME_FILES, MEME_POSTS, MEMES, SOURCE_EVENTS
from magpie.places import NamedFiles
from magpie.sources.channel_payloads import PayloadError, read_payload
from magpie.sources.meme_posts import MediaItem, Payload, RawPost, Verdict

DAY = date(2026, 11, 20)
NEXT = DAY + timedelta(days=1)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass
class World:
    """Payloads on disk; what a payload holds is looked up by its bytes."""

    root: Path
    held: dict[bytes, tuple[RawPost, ...]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    opened: list[bytes] = field(default_factory=list)

    def land(self, name: str, fetched_at: datetime, *posts: RawPost, source_id: str = "tg:cats") -> Path:
        content = name.encode()
        (self.root / name).write_bytes(content)
        self.held[content] = posts
        self.rows.append(
            {
                "source_file": name,
                "format": "telegram_web",
                "platform": "telegram",
                "source_id": source_id,
                "live": True,
                "bytes": len(content),
                "modified_ns": 1,
                "payload_sha256": hashlib.sha256(content).hexdigest(),
                "fetched_at": fetched_at,
                "posts": len(posts),
                "bad_posts": 0,
                "days": sorted({post.published_at.date() for post in posts}),
                "status": "ok",
            }
        )
        return self.root / name

    def read(self, content: bytes, platform: str, name: str) -> tuple[str, Payload]:
        self.opened.append(content)
        if content not in self.held:
            raise PayloadError("no_preview", "nothing to see")
        return "telegram_web", Payload(self.held[content])

    def posts(self, *days: date, platform: str = "telegram") -> pl.DataFrame:
        files = pl.DataFrame(self.rows, schema=MEME_FILES.dtypes)
        found = meme_posts(files, platform, days or (DAY,), NamedFiles(self.root, self.root / "home"), self.read)
        return conform(MEME_POSTS, found)

    def post(self) -> dict[str, Any]:
        return self.posts().row(0, named=True)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_post_keeps_everything_that_its_payload_says(world: World) -> None:
    medium = MediaItem("video", url="https://x.example/v.mp4", width=3, height=2, duration_s=1.5, mime="video/mp4")
    post = RawPost(
        *("17", NOON, "https://t.me/cats/17", "a cat", (medium,), ("https://y.example",), ("bob",), ("cat",)),
        *("dogs", "https://t.me/dogs/3", 100, 4, 3, 2, {"👍": 2, "❤": 7}, True, "u1", "uk"),
    )
    world.land("a.html", LATER, post)
    row = world.post()
    assert (row["meme_id"], row["source_id"], row["day"]) == ("telegram:cats:17", "tg:cats", DAY)
    assert row["media"] == [
        {"url": "https://x.example/v.mp4", "file": None, "kind": "video", "width": 3, "height": 2}
        | {"duration_s": 1.5, "mime": "video/mp4"}
    ]
    assert row["reactions"] == [{"emoji": "❤", "count": 7}, {"emoji": "👍", "count": 2}]
    assert [row[name] for name in ("views", "likes", "reposts", "comments", "is_ad")] == [100, 4, 3, 2, True]
    assert (row["fetched_at"], row["language"], row["uploader_id"], row["status"]) == (LATER, "uk", "u1", "ok")


def test_the_payload_fetched_last_wins_so_that_counters_refresh(world: World) -> None:
    post = RawPost("1", NOON, views=10)
    world.land("z.html", LATER, post)
    world.land("a.html", LATER + timedelta(hours=1), replace(post, views=20))
    assert world.post()["views"] == 20


def test_of_payloads_fetched_at_once_the_last_by_name_wins(world: World) -> None:
    world.land("b.html", LATER, RawPost("1", NOON, views=2))
    world.land("a.html", LATER, RawPost("1", NOON, views=1))
    assert (world.post()["views"], world.post()["source_file"]) == (2, "b.html")


def test_the_same_id_in_two_channels_is_two_posts(world: World) -> None:
    world.land("a.html", LATER, RawPost("1", NOON))
    world.land("b.html", LATER, RawPost("1", NOON), source_id="tg:dogs")
    assert world.posts()["meme_id"].to_list() == ["telegram:cats:1", "telegram:dogs:1"]


def test_only_files_with_posts_of_the_asked_days_are_opened(world: World) -> None:
    world.land("a.html", LATER, RawPost("1", NOON))
    world.land("b.html", LATER, RawPost("2", NOON + timedelta(days=1)))
    assert world.posts(DAY)["post_id"].to_list() == ["1"]
    assert world.opened == [b"a.html"]
    assert world.posts(DAY, platform="vk").is_empty()


def test_a_post_belongs_to_its_utc_day(world: World) -> None:
    zone = datetime.fromisoformat("2026-11-21T01:30:00+03:00")
    world.land("a.html", LATER, RawPost("1", zone.astimezone(UTC)))
    assert world.posts(DAY).height == 1
    assert world.posts(NEXT).is_empty()


def test_a_post_that_cannot_be_understood_is_a_failed_row_and_harms_no_other(world: World) -> None:
    world.land("a.html", LATER, RawPost("1", NOON, unreadable="the text is a number"), RawPost("2", NOON))
    rows = world.posts().select("status", "reason", "observed").rows()
    assert rows == [("failed", "parse_error", "the text is a number"), ("ok", None, None)]


def test_a_post_that_its_reader_turns_down_keeps_the_reason(world: World) -> None:
    world.land("a.html", LATER, RawPost("1", NOON, rejected=Verdict("long_text", "250", "< 200")))
    row = world.post()
    told = ("rejected", "long_text", "250", "< 200")
    assert tuple(row[name] for name in ("status", "reason", "observed", "threshold")) == told


def test_a_post_without_media_is_left_to_curation(world: World) -> None:
    world.land("a.html", LATER, RawPost("1", NOON))
    assert (world.post()["status"], world.post()["media"]) == ("ok", [])


def test_a_file_that_is_gone_or_changed_since_it_was_listed_stops_the_days(world: World) -> None:
    path = world.land("a.html", LATER, RawPost("1", NOON))
    path.write_bytes(b"other")
    with pytest.raises(UserError, match=r"a\.html has changed since it was listed; make meme_files anew"):
        world.posts()
    path.unlink()
    with pytest.raises(UserError, match=r"cannot be read \(No such file or directory\) since it was listed"):
        world.posts()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 99)), max_size=6)),
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_days_made_together_in_any_order_of_files_give_the_rows_of_days_made_alone(
    tmp_path_factory: pytest.TempPathFactory,
    payloads: list[tuple[int, list[tuple[int, int]]]],
    rng: random.Random,
) -> None:
    world = World(tmp_path_factory.mktemp("posts"))
    for n, (hour, posts) in enumerate(payloads):
        # The number of a post says its day, as it does in a channel.
        raw = {i: RawPost(str(i), NOON + timedelta(days=i // 4), views=views) for i, views in posts}
        world.land(f"{n}.html", LATER + timedelta(hours=hour), *raw.values())
    days = [DAY + timedelta(days=n) for n in range(3)]
    whole = world.posts(*days)
    rng.shuffle(world.rows)
    alone = pl.concat([world.posts(day) for day in days])
    assert alone.equals(whole)


@pytest.mark.parametrize("platform", ["vk", "instagram"])
def test_real_answers_go_from_files_to_memes_and_each_is_read_or_says_why_not(tmp_path: Path, platform: str) -> None:
    if not (DATA / platform).is_dir():
        pytest.skip(f"no real answers of {platform} in {DATA}")
    for path in (DATA / platform).rglob("*.*"):
        link = tmp_path / "archive" / platform / path.parent.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    places = Places(tmp_path, tmp_path / "home", (tmp_path / "archive",), tmp_path / "none")
    read = partial(read_payload, vk_text_max=200)
    files = conform(MEME_FILES, meme_files(places, MEME_FILES.empty(), read, lambda path: (0, 0, None, [])))
    assert files.height == len(list((DATA / platform).rglob("*.*")))
    assert set(files["status"]) <= {"ok", "failed"}
    days = sorted({day for days in files["days"] for day in days})
    posts = conform(MEME_POSTS, meme_posts(files, platform, days, places, read))
    assert posts.height > 10
    listed = Listed({}, frozenset(posts["source_id"]))
    nothing = (SOURCE_EVENTS.empty(), MEME_FETCHES.empty())
    sources = meme_sources(listed, *nothing, posts.lazy()).with_columns(state=pl.lit("enabled"))
    found = conform(MEMES, memes(posts, posts, sources, CurationRules.of(Memes()), LATER))
    assert found.height == posts.filter(pl.col("status") == "ok").height

"""The bundled sample: its files are what their texts make, and it shows every rule of leads at work."""

import gzip
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
import zstandard
from leads_world import MemoryLake, World, days_between

from magpie.leads import tables as t
from magpie.leads.archives import landing_of, reddit_archives
from magpie.settings import load_settings
from magpie.sources.reddit_landing import Landing

ROOT = Path(__file__).parent.parent
REDDIT = ROOT / "samples" / "reddit"
REASONS = {
    "removed",
    "excluded_subreddit",
    "excluded_author",
    "excluded_term",
    "duplicate",
    "too_old",
    "low_upvote_ratio",
    "nsfw",
    "small_subreddit",
    "low_activity",
    "low_karma",
    "low_cosine",
    "low_engagement",
    "no_keyword",
    "low_fused",
}


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Landing:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAGPIE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MAGPIE_LAKE_URL", raising=False)
        found = landing_of(load_settings(ROOT / "magpie.yaml"))
    found.land()
    return found


@pytest.fixture(scope="module")
def world(landing: Landing) -> World:
    settings = load_settings(ROOT / "magpie.yaml")
    first, *_, last = landing.days()
    days = days_between(first, last)
    assert first == settings.start_day and len(days) == 10
    return World(settings, landing.posts(days).collect(), MemoryLake()).make_all(days)


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reddit", ROOT / "samples" / "make_reddit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def unpacked(name: str, data: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".zst"):
        return zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj().decompress(data)
    return data


def test_the_bundled_files_are_what_their_texts_make() -> None:
    made = maker().files()
    assert set(made) == {path.name for path in REDDIT.iterdir()}
    for name, content in made.items():
        assert unpacked(name, content) == unpacked(name, (REDDIT / name).read_bytes()), name


def test_broken_lines_are_named_and_nothing_else_is_lost(landing: Landing) -> None:
    bad = landing.bad_lines().select(pl.col("source_file").str.split("/").list.last(), "line_no", "reason", "field")
    assert sorted(bad.rows(), key=str) == sorted(
        [
            ("RC_2026-03.zst", 32, "bad_type", "created_utc"),
            ("RC_2026-03.zst", 91, "invalid_json", None),
            ("RC_2026-03.zst", 124, "bad_type", "body"),
            ("RS_2026-03.ndjson", 13, "invalid_json", None),
            ("RS_2026-03.ndjson", 40, "invalid_utf8", None),
            ("RS_2026-03.ndjson", 62, "future_timestamp", "created_utc"),
            ("RS_2026-03.ndjson", 78, "future_timestamp", "created_utc"),
            ("r_smallbusiness_posts.jsonl", 11, "missing_field", "created_utc"),
            ("r_smallbusiness_posts.jsonl", 24, "bad_type", "score"),
        ],
        key=str,
    )
    files = reddit_archives(landing.manifests())
    assert files.select(pl.sum("lines"), pl.sum("rows"), pl.sum("bad_lines")).row(0) == (459, 450, 9)


def test_posts_seen_several_times_are_one_row_each(world: World) -> None:
    posts = world.rows(t.REDDIT_POSTS)
    assert (world.landed.height, posts.height) == (450, 436)
    assert dict(posts.group_by("kind").len().iter_rows()) == {"submission": 206, "comment": 230}
    assert dict(posts.group_by("content_state").len().iter_rows()) == {"ok": 421, "removed": 7, "deleted": 8}


def test_every_reason_occurs_at_least_twice(world: World) -> None:
    counts = dict(world.rows(t.REJECTIONS).group_by("reason").len().iter_rows())
    assert counts.keys() == REASONS
    assert min(counts.values()) >= 2


def test_every_kind_of_match_occurs_at_least_twice(world: World) -> None:
    counts = dict(world.rows(t.CAMPAIGN_POSTS).group_by("match_kind").len().iter_rows())
    assert counts == {"phrase": 291, "prefix": 6, "tokens": 4, "query": 4}


def test_each_campaign_has_candidates_to_choose_from(world: World) -> None:
    ranked = world.rows(t.RANKED_POSTS)
    candidates = dict(ranked.filter(pl.col("status") == "ok").group_by("campaign_id").len().iter_rows())
    assert candidates == {"agency-crm": 97, "folding-bike": 87}
    assert min(candidates.values()) >= 25


def test_every_match_is_rejected_or_a_candidate(world: World) -> None:
    matched, rejected = world.rows(t.CAMPAIGN_POSTS).height, world.rows(t.REJECTIONS).height
    candidates = world.rows(t.RANKED_POSTS).filter(pl.col("status") == "ok").height
    assert (matched, rejected, candidates) == (305, 121, 184)

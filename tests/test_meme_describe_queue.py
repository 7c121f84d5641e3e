"""The plan of descriptions: places are shared as agreed, none is wasted, and no meme is planned twice."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.control import Control
from magpie.memes import tables as t
from magpie.memes.describe_queue import PlanRules, _chosen, enqueue, plan, retries, retry, split, unexpired
from magpie.tables import Table

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RULES = PlanRules(batch=9, max_failures=3)
NO_SENDS = pl.DataFrame(schema={"meme_id": pl.String, "at": pl.Datetime("us", "UTC")})
NO_LIKES = pl.DataFrame(schema={"meme_id": pl.String, "nlikes": pl.Int64})


def rows(table: Table, found: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(found, schema=table.dtypes)


def meme(name: str, age_h: float = 1, platform: str = "telegram", **more: Any) -> dict[str, Any]:
    published = NOW - timedelta(hours=age_h)
    facts = {"meme_id": name, "platform": platform, "day": published.date(), "published_at": published}
    return {**facts, "type": "image", "status": "ok", "ad_flag": False, **more}


def planned(memes: list[dict[str, Any]], rules: PlanRules = RULES, **more: Any) -> pl.DataFrame:
    media = [{"meme_id": m["meme_id"], "ord": 0, "status": "ok"} for m in memes]
    given: dict[str, Any] = {
        "descriptions": rows(t.MEME_DESCRIPTIONS, []),
        "media": rows(t.MEME_MEDIA, media),
        "duplicates": rows(t.MEME_DUPLICATES, []),
        "status": rows(t.MEME_STATUS, []),
        "sends": NO_SENDS,
        "likes": NO_LIKES,
        **more,
    }
    return plan(rows(t.MEMES, memes), **given, rules=rules, now=NOW)


def ids(frame: pl.DataFrame) -> list[str]:
    return frame.sort("rank")["meme_id"].to_list()


@pytest.mark.parametrize(("n", "places"), [(9, [5, 2, 1, 1]), (18, [10, 4, 2, 2]), (30, [16, 6, 5, 3]), (0, [0] * 4)])
def test_places_are_shared_among_served_uploads_fresh_and_oldest(n: int, places: list[int]) -> None:
    assert split(n) == dict(zip(("served", "uploads", "fresh", "oldest"), places, strict=True))


@given(st.integers(0, 10_000))
def test_no_place_is_lost_in_sharing(n: int) -> None:
    assert sum(split(n).values()) == n
    assert min(split(n).values()) >= 0


TIERED = st.fixed_dictionaries(
    {tier: st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=10) for tier in t.TIERS}
)


@given(TIERED, st.integers(0, 15))
def test_no_meme_is_chosen_twice_and_no_place_stays_free_while_a_meme_waits(
    ordered: dict[str, list[str]], n: int
) -> None:
    chosen = _chosen(ordered, split(n))
    waiting = {name for names in ordered.values() for name in names}
    assert len({name for name, _ in chosen}) == len(chosen) == min(n, len(waiting))
    assert all(name in ordered[tier] for name, tier in chosen)


def test_places_of_a_short_tier_go_to_the_first_of_the_others_that_has_more() -> None:
    memes = [meme(f"u{n}", n + 1, "upload") for n in range(5)] + [meme(f"t{n}", n + 1) for n in range(9)]
    found = planned(memes)
    tiers = found.group_by("tier").len().sort("tier").rows()
    # Nothing was served, so its five places go to uploads; two of them are there, then the fresh.
    assert found.height == 9
    assert dict(tiers) == {"uploads": 5, "fresh": 3, "oldest": 1}


def test_the_most_liked_of_what_was_delivered_come_first_and_ties_go_by_id() -> None:
    memes = [meme(name) for name in ("b", "a", "c", "d")]
    sends = pl.DataFrame({"meme_id": ["a", "b", "c"], "at": [NOW - timedelta(days=1)] * 3}, schema=NO_SENDS.schema)
    likes = pl.DataFrame({"meme_id": ["c", "d"], "nlikes": [3, 9]}, schema=NO_LIKES.schema)
    found = planned(memes, sends=sends, likes=likes)
    assert found.filter(pl.col("tier") == "served")["meme_id"].to_list() == ["c", "a", "b"]


def test_older_deliveries_count_only_while_the_week_has_fewer_than_500() -> None:
    memes = [meme("old"), meme("new")]
    old = pl.DataFrame({"meme_id": ["old"], "at": [NOW - timedelta(days=30)]}, schema=NO_SENDS.schema)
    week = pl.DataFrame({"meme_id": ["new"] * 500, "at": [NOW - timedelta(days=1)] * 500}, schema=NO_SENDS.schema)

    def served(sends: pl.DataFrame) -> list[str]:
        found = planned(memes, sends=sends)
        return sorted(found.filter(pl.col("tier") == "served")["meme_id"])

    assert served(pl.concat([week.head(499), old])) == ["new", "old"]
    assert served(pl.concat([week, old])) == ["new"]


def test_uncertain_duplicates_stand_before_newer_ones_among_the_fresh() -> None:
    memes = [meme("newest", 1), meme("unsure", 30), meme("newer", 2)]
    verdicts = rows(t.MEME_DUPLICATES, [{"meme_id": "unsure", "verdict": "uncertain"}])
    fresh = planned(memes, PlanRules(3, 3), duplicates=verdicts).filter(pl.col("tier") == "fresh")
    assert fresh["meme_id"].to_list() == ["unsure", "newest", "newer"]


def test_uploads_older_than_a_week_are_no_uploads_to_hurry_for() -> None:
    found = planned([meme("late", 24 * 8, "upload"), meme("new", 24 * 6, "upload")])
    assert found.filter(pl.col("tier") == "uploads")["meme_id"].to_list() == ["new"]


@pytest.mark.parametrize(
    "described",
    [
        {"status": "ok", "description": "A cat.", "failures": 0},
        {"status": "pending", "reason": "invalid_output", "failures": 3},
        {"status": "failed", "reason": "describe_failed", "failures": 3},
        {"status": "failed", "reason": "unpriced_model", "failures": 0},
        {"status": "rejected", "reason": "unreadable_image", "failures": 0},
        {"status": "pending", "reason": "transport", "failures": 0, "not_before": NOW + timedelta(minutes=5)},
    ],
)
def test_what_is_described_failed_or_told_to_wait_is_not_planned(described: dict[str, Any]) -> None:
    stored = rows(t.MEME_DESCRIPTIONS, [{"meme_id": "a", **described}])
    assert planned([meme("a")], descriptions=stored).is_empty()


@pytest.mark.parametrize(
    "described",
    [
        {"status": "pending", "reason": "awaiting_turn", "failures": 2, "ocr_text": "words", "ocr_engine": "local"},
        {"status": "ok", "description": "image, 640x480", "provider": "offline", "failures": 0},
        {"status": "pending", "reason": "transport", "failures": 0, "not_before": NOW - timedelta(minutes=5)},
    ],
)
def test_what_was_read_or_told_by_rule_here_and_waits_that_are_over_keep_no_meme_from_its_turn(
    described: dict[str, Any],
) -> None:
    stored = rows(t.MEME_DESCRIPTIONS, [{"meme_id": "a", **described}])
    assert ids(planned([meme("a")], descriptions=stored)) == ["a"]


@pytest.mark.parametrize(
    ("facts", "state", "taken"),
    [
        ({"type": "video"}, None, False),
        ({"status": "rejected"}, None, False),
        ({"ad_flag": True}, None, False),
        ({"ad_flag": True}, "created", False),
        ({"ad_flag": True}, "ok", True),
        ({}, "waiting_review", True),
        ({}, "created", True),
        ({}, "duplicate", False),
        ({}, "published", False),
        ({}, "snoozed", False),
    ],
)
def test_only_pictures_that_may_still_be_shown_are_planned(
    facts: dict[str, Any], state: str | None, taken: bool
) -> None:
    status = rows(t.MEME_STATUS, [{"meme_id": "a", "state": state}] if state else [])
    assert planned([meme("a", **facts)], status=status).height == taken


def test_a_meme_without_its_bytes_is_not_planned() -> None:
    media = rows(t.MEME_MEDIA, [{"meme_id": "a", "ord": 0, "status": "pending"}])
    assert planned([meme("a"), meme("b")], media=media).is_empty()


def test_the_order_of_rows_does_not_matter() -> None:
    memes = [meme(f"m{n}", n % 4, "upload" if n % 3 else "vk") for n in range(20)]
    assert planned(memes).equals(planned(memes[::-1]))


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    made = Control(f"sqlite:///{tmp_path / 'control.db'}")
    yield made
    made.close()


def test_an_entry_holds_for_a_quarter_of_an_hour_and_names_its_partition(control: Control) -> None:
    found = planned([meme("a")])
    assert found.row(0, named=True) | {"tier": ""} == {
        "meme_id": "a",
        "planned_at": NOW,
        "partition": "telegram|2026-11-20",
        "tier": "",
        "rank": 1,
        "expires_at": NOW + timedelta(minutes=15),
    }
    assert enqueue(control, found) == 1
    held = [unexpired(control, NOW + timedelta(minutes=minutes)).height for minutes in (-1, 0, 14, 15)]
    assert held == [0, 1, 1, 0]


def test_a_plan_that_is_made_again_adds_nothing_while_the_first_one_holds(control: Control) -> None:
    found = planned([meme("a"), meme("b")])
    later = found.with_columns(pl.col("planned_at") + timedelta(minutes=5), pl.col("expires_at") + timedelta(minutes=5))
    assert (enqueue(control, found), enqueue(control, later), enqueue(control, found.clear())) == (2, 0, 0)


def test_only_failed_descriptions_are_tried_again_and_their_partitions_named(control: Control) -> None:
    facts = {"platform": "vk", "day": NOW.date(), "failures": 3}
    stored = rows(
        t.MEME_DESCRIPTIONS,
        [
            {"meme_id": "a", "status": "failed", "reason": "describe_failed", **facts},
            {"meme_id": "b", "status": "failed", "reason": "describe_failed", **facts, "platform": "telegram"},
            {"meme_id": "c", "status": "pending", "reason": "awaiting_turn", **facts},
        ],
    )
    assert retry(control, stored, "op", NOW) == ["telegram|2026-11-20", "vk|2026-11-20"]
    assert retry(control, stored, "op", NOW + timedelta(hours=1), ["a"]) == ["vk|2026-11-20"]
    said = retries(control).sort("meme_id")
    assert said.rows() == [("a", 2, NOW + timedelta(hours=1)), ("b", 1, NOW)]

"""user_stats and user_source_stats: sessions by hand, what a day holds, copies that change hands."""

import random
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from meme_events_world import DAY, LATER, MORNING, UNCHANGED, Event, at, event, everything, history, memes, world
from polars.testing import assert_frame_equal

from magpie.lake import conform
from magpie.memes.settings import Memes
from magpie.memes.tables import USER_SOURCE_STATS, USER_STATS
from magpie.memes.user_stats import SessionRules, user_source_stats, user_stats

RULES = SessionRules.of(Memes())


def people(rows: list[Event], day: date = DAY) -> dict[str, dict[str, Any]]:
    found = user_stats(history(rows, everything(rows)), [day], UNCHANGED, RULES)
    return {row["user_id"]: row for row in conform(USER_STATS, found).to_dicts()}


def affinities(rows: list[Event], known: pl.DataFrame, *changed: str) -> list[tuple[Any, ...]]:
    moved = pl.DataFrame({"meme_id": changed}, schema={"meme_id": pl.String})
    found = conform(USER_SOURCE_STATS, user_source_stats(history(rows, known), [DAY], moved))
    return found.select("user_id", "source_id", "nlikes", "ndislikes").rows()


def liked_at(*seconds: float, user: str = "u", start: datetime = MORNING) -> list[Event]:
    rows = []
    for place, second in enumerate(seconds):
        rows.append(event("sent", user, f"m{place}", at(second - 1, start)))
        rows.append(event("like", user, f"m{place}", at(second, start)))
    return rows


def test_sessions_end_after_half_an_hour_and_time_counts_while_someone_is_there() -> None:
    row = people(liked_at(0, 20, 50, 80, 1940, 2000, 3860))["u"]
    assert (row["nsessions"], row["time_spent_s"], row["median_session_len"]) == (3, 140.0, 3.0)
    assert (row["nlikes"], row["nsent"], row["active_days"]) == (7, 7, 1)


def test_gaps_of_exactly_the_bounds_neither_end_a_session_nor_count_as_time() -> None:
    row = people(liked_at(0, 1800, 1920))["u"]
    assert (row["nsessions"], row["time_spent_s"], row["median_session_len"]) == (1, 0.0, 3.0)


def test_a_session_of_one_reaction_has_no_length() -> None:
    row = people(liked_at(0, 7200))["u"]
    assert (row["nsessions"], row["median_session_len"]) == (2, None)


def test_days_are_those_of_reactions_and_a_day_past_still_counts() -> None:
    rows = [*liked_at(0, 60, start=MORNING - timedelta(days=2)), event("sent", "u", "last", MORNING)]
    row = people(rows)["u"]
    assert (row["active_days"], row["nlikes"], row["nsent"]) == (1, 2, 3)
    assert (row["first_at"], row["last_at"]) == (at(-1, MORNING - timedelta(days=2)), MORNING)


def test_only_people_with_an_event_on_the_day_get_a_row_and_one_who_only_clicked_has_zeros() -> None:
    rows = [*liked_at(0, user="idle", start=MORNING - timedelta(days=1)), event("share_click", "new", None, MORNING)]
    found = people(rows)
    assert list(found) == ["new"]
    assert (found["new"]["nsessions"], found["new"]["nsent"], found["new"]["time_spent_s"]) == (0, 0, 0.0)


def test_what_people_think_of_a_source_counts_all_sources_they_met() -> None:
    known = pl.concat([memes("a", "b"), memes("c", source_id="vk:two"), memes("d", source_id="ig:three")])
    past = MORNING - timedelta(days=5)
    rows = [
        *(event("sent", "u", "a", past), event("like", "u", "a", past), event("sent", "u", "c", past)),
        *(event("sent", "u", "b", MORNING), event("dislike", "u", "b", MORNING), event("sent", "v", "d", past)),
        event("like", "u", "not-in-the-catalogue", MORNING),
    ]
    assert affinities(rows, known) == [("u", "tg:one", 1, 1), ("u", "vk:two", 0, 0)]


def test_a_copy_found_out_takes_its_likes_from_its_source() -> None:
    known = pl.concat([memes("first"), memes("copy", source_id="vk:two", copies={"copy": "first"})])
    past = MORNING - timedelta(days=5)
    rows = [event("sent", "u", "copy", past), event("like", "u", "copy", past)]
    assert affinities(rows, known) == []
    assert affinities(rows, known, "copy", "first") == [("u", "tg:one", 1, 0), ("u", "vk:two", 0, 0)]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 250))
def test_days_made_together_hold_the_rows_of_days_made_alone(seed: int, size: int) -> None:
    rows, known = world(seed, size)
    changed = pl.DataFrame({"meme_id": ["m25", "m5"]})
    days = [date(2026, 11, 18) + timedelta(days=n) for n in range(4)]
    together = history(rows, known)
    shuffled = random.Random(seed).sample(rows, len(rows))
    alone = [
        history(shuffled, known, LATER if day is days[-1] else at(86_400 + 60, start)) for day, start in begin(days)
    ]
    found = user_stats(together, days, changed, RULES)
    apart = [user_stats(held, [day], changed, RULES) for held, day in zip(alone, days, strict=True)]
    assert_frame_equal(found, pl.concat(apart).sort(USER_STATS.sort_by), check_exact=True)
    sources = user_source_stats(together, days, changed)
    each = [user_source_stats(held, [day], changed) for held, day in zip(alone, days, strict=True)]
    assert_frame_equal(sources, pl.concat(each).sort(USER_SOURCE_STATS.sort_by), check_exact=True)


def begin(days: list[date]) -> list[tuple[date, datetime]]:
    return [(day, MORNING.replace(month=day.month, day=day.day, hour=0)) for day in days]

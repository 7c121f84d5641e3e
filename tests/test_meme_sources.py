"""Sources: settings and events make one state, decisions keep to its transitions, a fetch knows whose turn it is."""

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import conform
from magpie.memes.logs import SOURCE_EVENTS
from magpie.memes.settings import MemeSource
from magpie.memes.sources import TRANSITIONS, Listed, decide, event_row, fetch_order, meme_sources
from magpie.memes.tables import (
    MEME_FETCHES,
    MEME_FILES,
    MEME_POSTS,
    MEME_SOURCES,
    SOURCE_ACTIONS,
    SOURCE_STATES,
    SOURCE_STATS,
)
from magpie.memes.tables import SOURCE_EVENTS as EVENTS_TABLE
from magpie.settings import Settings

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOTHING = Listed({}, frozenset())


def listing(*configured: str, landed: tuple[str, ...] = (), language: str = "ru") -> Listed:
    return Listed({name: MemeSource(id=name, language=language) for name in configured}, frozenset(landed))


def an_event(source_id: str, action: str, at: datetime = NOON, **given: Any) -> dict[str, Any]:
    return event_row(source_id, action, given.pop("reason", None), given.pop("actor", "ann"), at) | given


def a_fetch(source_id: str, at: datetime, n_posts: int = 20, error_class: str | None = None) -> dict[str, Any]:
    told = {"source_id": source_id, "at": at, "n_posts": n_posts, "error_class": error_class}
    return {"fetch_id": f"{source_id}@{at}", **told}


def a_post(source_id: str, post_id: str, at: datetime) -> dict[str, Any]:
    return {"source_id": source_id, "post_id": post_id, "published_at": at}


def folded(
    listed: Listed = NOTHING,
    events: list[dict[str, Any]] | None = None,
    fetches: list[dict[str, Any]] | None = None,
    posts: list[dict[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    found = meme_sources(
        listed,
        pl.DataFrame(events or [], schema=EVENTS_TABLE.dtypes),
        pl.DataFrame(fetches or [], schema=MEME_FETCHES.dtypes),
        pl.LazyFrame(posts or [], schema=MEME_POSTS.dtypes),
    )
    return {row["source_id"]: row for row in conform(MEME_SOURCES, found).iter_rows(named=True)}


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(f"sqlite:///{tmp_path / 'control.sqlite'}")


def state(control: Control, listed: Listed, source_id: str) -> dict[str, Any]:
    return folded(listed, SOURCE_EVENTS.read(control).rows(named=True))[source_id]


def test_a_source_in_the_settings_counts_as_added_and_enabled() -> None:
    row = folded(listing("tg:cats"))["tg:cats"]
    assert (row["state"], row["added_by"], row["added_at"], row["language"]) == ("enabled", "config", None, "ru")
    assert (row["platform"], row["name"], row["url"]) == ("telegram", "cats", "https://t.me/s/cats")
    assert (row["parsed_at"], row["empty_streak"], row["last_seen_id"]) == (None, 0, None)


def test_a_source_that_only_landed_waits_for_a_moderator_and_people_may_upload() -> None:
    rows = folded(listing(landed=("vk:dogs", "up:ann")))
    assert (rows["vk:dogs"]["state"], rows["vk:dogs"]["added_by"]) == ("in_moderation", None)
    assert (rows["up:ann"]["state"], rows["up:ann"]["url"]) == ("enabled", None)


def test_listed_takes_what_landed_well_and_leaves_out_events_and_failures() -> None:
    rows = [
        {"source_file": "a", "source_id": "vk:dogs", "status": "ok"},
        {"source_file": "b", "source_id": "vk:broken", "status": "failed"},
        {"source_file": "c", "source_id": None, "status": "ok"},
    ]
    wanted = Settings.model_validate({"start_day": date(2026, 1, 1), "meme_sources": [{"id": "tg:cats"}]})
    listed = Listed.of(wanted, pl.DataFrame(rows, schema=MEME_FILES.dtypes))
    assert (list(listed.configured), listed.landed) == (["tg:cats"], {"vk:dogs"})


def test_an_event_overrides_the_settings_and_keeps_its_reason() -> None:
    events = [an_event("tg:cats", "snooze", reason="boring")]
    assert folded(listing("tg:cats"), events)["tg:cats"]["snooze_reason"] == "boring"
    woken = [*events, an_event("tg:cats", "unsnooze", NOON + HOUR)]
    row = folded(listing("tg:cats"), woken)["tg:cats"]
    assert (row["state"], row["snooze_reason"]) == ("enabled", None)


def test_an_event_that_is_no_transition_changes_nothing() -> None:
    twice = [an_event("tg:cats", "snooze", NOON + n * HOUR, reason=f"r{n}") for n in range(2)]
    assert folded(listing("tg:cats"), twice)["tg:cats"]["snooze_reason"] == "r0"
    assert folded(listing(), [an_event("tg:cats", "enable")]) == {}


def test_newest_post_and_answers_are_told_and_failed_fetches_say_nothing_of_posts() -> None:
    fetches = [
        a_fetch("tg:cats", NOON, 0),
        a_fetch("tg:cats", NOON + HOUR, 3),
        a_fetch("tg:cats", NOON + 2 * HOUR, 0),
        a_fetch("tg:cats", NOON + 3 * HOUR, 0, "timeout"),
        a_fetch("tg:cats", NOON + 4 * HOUR, 0),
        a_fetch("tg:cats", NOON + 5 * HOUR, 0, "timeout"),
        a_fetch("tg:dogs", NOON, 0, "timeout"),
    ]
    posts = [a_post("tg:cats", "99", NOON), a_post("tg:cats", "100", NOON), a_post("tg:cats", "101", NOON - HOUR)]
    rows = folded(listing("tg:cats", "tg:dogs"), None, fetches, posts)
    cats, dogs = rows["tg:cats"], rows["tg:dogs"]
    assert (cats["parsed_at"], cats["empty_streak"]) == (NOON + 4 * HOUR, 2)
    assert (cats["last_seen_id"], cats["last_post_at"]) == ("100", NOON)
    assert (dogs["parsed_at"], dogs["empty_streak"]) == (None, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SOURCE_ACTIONS), st.integers(0, 20)), max_size=12), st.randoms())
def test_the_fold_does_not_depend_on_the_order_of_rows_and_ends_in_a_state(
    told: list[tuple[str, int]], rng: random.Random
) -> None:
    events = [an_event("tg:cats", action, NOON + n * HOUR) for action, n in told]
    whole = folded(listing("tg:cats"), events)
    rng.shuffle(events)
    assert folded(listing("tg:cats"), events) == whole
    assert whole["tg:cats"]["state"] in SOURCE_STATES


def test_a_source_is_added_to_moderation_then_enabled_snoozed_and_woken(control: Control) -> None:
    decide(control, NOTHING, "vk:dogs", "add", actor="ann", at=NOON, language="uk")
    row = state(control, NOTHING, "vk:dogs")
    assert (row["state"], row["language"], row["added_by"], row["added_at"]) == ("in_moderation", "uk", "ann", NOON)
    for n, (action, after) in enumerate(
        [("enable", "enabled"), ("snooze", "snoozed"), ("unsnooze", "enabled"), ("disable", "disabled")], 1
    ):
        decide(control, NOTHING, "vk:dogs", action, actor="bob", at=NOON + n * HOUR, reason="so")
        assert state(control, NOTHING, "vk:dogs")["state"] == after


@pytest.mark.parametrize("before", SOURCE_STATES)
@pytest.mark.parametrize("action", [action for action in SOURCE_ACTIONS if action != "add"])
def test_only_the_transitions_of_a_state_can_be_decided(control: Control, before: str, action: str) -> None:
    path = {"in_moderation": [], "enabled": ["enable"], "disabled": ["disable"], "snoozed": ["enable", "snooze"]}
    listed = listing(landed=("vk:dogs",))
    for step in path[before]:
        decide(control, listed, "vk:dogs", step, actor="ann", at=NOON)
    if (before, action) in TRANSITIONS:
        decide(control, listed, "vk:dogs", action, actor="ann", at=NOON)
        assert state(control, listed, "vk:dogs")["state"] == TRANSITIONS[before, action]
    else:
        with pytest.raises(UserError, match=f"cannot {action} vk:dogs, which is {before}; "):
            decide(control, listed, "vk:dogs", action, actor="ann", at=NOON)
        assert state(control, listed, "vk:dogs")["state"] == before


def test_decisions_of_one_moment_keep_their_order(control: Control) -> None:
    for action in ("add", "enable", "snooze", "unsnooze", "snooze"):
        decide(control, NOTHING, "vk:dogs", action, actor="ann", at=NOON)
    assert state(control, NOTHING, "vk:dogs")["state"] == "snoozed"
    assert SOURCE_EVENTS.read(control)["action"].to_list() == ["add", "enable", "snooze", "unsnooze", "snooze"]


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"source_id": "vk:none", "action": "enable"}, "there is no source vk:none; add it first"),
        ({"action": "add"}, "tg:cats is known already, and enabled"),
        ({"source_id": "up:ann", "action": "add"}, "up:ann is known already, and enabled"),
        ({"action": "burn"}, "'burn' is nothing to do with a source; use one of add, enable"),
        ({"source_id": "cats", "action": "add"}, "'cats' is no id of a source; write tg:NAME"),
        ({"source_id": "tg:../x", "action": "add"}, "is no id of a source"),
        ({"actor": " "}, "cannot decide of tg:cats; say who does"),
        ({"actor": "config"}, "'config' cannot decide"),
        ({"reason": "a\nb"}, "the reason must be one line"),
        ({"reason": "x" * 201}, "the reason must be one line of at most 200"),
        ({"source_id": "vk:new", "action": "add", "language": "English"}, "no ISO 639-1 code"),
        ({"language": "en"}, "a language goes with adding a source"),
    ],
)
def test_what_cannot_be_decided_is_told_in_one_line_and_nothing_is_written(
    control: Control, given_: dict[str, Any], told: str
) -> None:
    call = {"source_id": "tg:cats", "action": "snooze", "actor": "ann", "at": NOON, **given_}
    with pytest.raises(UserError) as raised:
        decide(control, listing("tg:cats"), **call)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert SOURCE_EVENTS.read(control).is_empty()


def a_rating(source_id: str, likes: int, dislikes: int, sent: int, day: date = NOON.date()) -> dict[str, Any]:
    counts = {"nlikes": likes, "ndislikes": dislikes, "nsent_events": sent, "nmemes": 1, "nmemes_sent": 1}
    return {"source_id": source_id, "day": day, **counts, "processed_7d": 0, "as_of": NOON}


def order(ids: list[str], ratings: list[dict[str, Any]], fetches: list[dict[str, Any]], events: Any = None) -> Any:
    events = pl.DataFrame(events or [], schema=EVENTS_TABLE.dtypes)
    asked = pl.DataFrame(fetches, schema=MEME_FETCHES.dtypes)
    sources = meme_sources(listing(*ids, landed=("up:ann",)), events, asked, pl.LazyFrame(schema=MEME_POSTS.dtypes))
    return fetch_order(sources, pl.DataFrame(ratings, schema=SOURCE_STATS.dtypes), asked)


def test_the_score_weighs_the_share_of_likes_with_how_often_memes_were_sent() -> None:
    old = a_rating("tg:a", 0, 100, 7, NOON.date() - timedelta(days=1))
    rows = order(["tg:a", "tg:b", "tg:c"], [old, a_rating("tg:a", 80, 20, 150), a_rating("tg:c", 0, 5, 150)], [])
    assert rows["source_id"].to_list() == ["tg:a", "tg:b", "tg:c"]
    assert rows["score"].to_list() == pytest.approx([4.019104, 0.346574, 0.0], abs=5e-7)


def test_never_asked_sources_come_first_then_those_asked_longest_ago() -> None:
    fetches = [a_fetch("tg:a", NOON), a_fetch("tg:b", NOON - HOUR), a_fetch("tg:a", NOON - 9 * HOUR)]
    rows = order(["tg:a", "tg:b", "tg:d", "tg:c"], [a_rating("tg:d", 9, 1, 9)], fetches)
    assert rows["source_id"].to_list() == ["tg:d", "tg:c", "tg:b", "tg:a"]


def test_a_source_that_never_answers_does_not_keep_the_others_waiting() -> None:
    fetches = [a_fetch("tg:dead", NOON, 0, "timeout"), a_fetch("tg:well", NOON - HOUR)]
    assert order(["tg:dead", "tg:well"], [], fetches)["source_id"].to_list() == ["tg:well", "tg:dead"]


def test_only_enabled_channels_are_fetched() -> None:
    events = [an_event("tg:b", "snooze"), an_event("tg:c", "disable"), an_event("tg:d", "add")]
    assert order(["tg:a", "tg:b", "tg:c"], [], [], events)["source_id"].to_list() == ["tg:a"]

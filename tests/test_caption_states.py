"""Waiting for captions: when a source is asked again, what it waits for, and when a video is given up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.fetches import Fetch
from magpie.videos.caption_states import FINAL, PASSING, Patience, State, absent, after_visits, due
from magpie.videos.settings import Videos
from tests.videos_world import PUBLISHED, a_visit

PATIENCE = Patience.of(Videos())
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
WAITING = ("no_captions", "captions", "upcoming", "live_now", *sorted(PASSING))


def asked(*outcomes: str, at: datetime = PUBLISHED, apart: timedelta = HOUR) -> list[Fetch]:
    return [a_visit(outcome, at + n * apart) for n, outcome in enumerate(outcomes)]


def waits(*outcomes: str) -> timedelta:
    """How long after the last visit the next one comes."""
    visits = asked(*outcomes)
    state = after_visits(PUBLISHED, visits, PATIENCE)
    assert state.status == "pending" and state.not_before is not None
    return state.not_before - visits[-1].at


def test_captions_are_looked_for_five_times_in_three_days_and_then_given_up() -> None:
    looks: list[datetime] = []
    visits: list[Fetch] = []
    now = PUBLISHED
    while True:
        assert due(PUBLISHED, visits, PATIENCE, now)
        looks.append(now)
        visits.append(a_visit("no_captions", now))
        state = after_visits(PUBLISHED, visits, PATIENCE)
        if state.status == "failed":
            break
        assert (state.status, state.reason) == ("pending", "awaiting_captions")
        assert state.not_before is not None and not due(PUBLISHED, visits, PATIENCE, state.not_before - SECOND)
        now = state.not_before
    assert looks == [
        datetime(2026, 5, 1, 12, tzinfo=UTC),
        datetime(2026, 5, 1, 13, tzinfo=UTC),
        datetime(2026, 5, 1, 18, tzinfo=UTC),
        datetime(2026, 5, 2, 12, tzinfo=UTC),
        datetime(2026, 5, 4, 12, tzinfo=UTC),
    ]
    assert state == State("failed", "no_captions", None, "72 h", "72 h")


def test_an_old_video_without_captions_fails_at_the_first_look() -> None:
    published = datetime(2021, 3, 4, 5, tzinfo=UTC)
    state = absent(published, PUBLISHED, PATIENCE)
    assert (state.status, state.reason, state.not_before, state.threshold) == ("failed", "no_captions", None, "72 h")


def test_a_look_before_the_video_came_out_waits_for_that_moment() -> None:
    assert absent(PUBLISHED, PUBLISHED - HOUR, PATIENCE).not_before == PUBLISHED


def test_a_look_between_two_hours_goes_on_with_the_next_of_them() -> None:
    state = absent(PUBLISHED, PUBLISHED + timedelta(hours=5), PATIENCE)
    assert state.not_before == PUBLISHED + timedelta(hours=6)
    assert state.observed == "1 h"


def test_a_known_absence_is_looked_at_again_after_the_days_of_the_cache() -> None:
    looked = PUBLISHED + timedelta(hours=72)
    visits = [a_visit("no_captions", looked)]
    assert not due(PUBLISHED, visits, PATIENCE, looked + timedelta(days=14) - SECOND)
    assert due(PUBLISHED, visits, PATIENCE, looked + timedelta(days=14))


@pytest.mark.parametrize("outcome", ["source_blocked", "po_token_required"])
def test_a_refusal_rests_one_hour_then_six_then_a_day(outcome: str) -> None:
    assert [waits(*[outcome] * times) / HOUR for times in (1, 2, 3, 4, 9)] == [1, 6, 24, 24, 24]


def test_a_fault_on_the_way_rests_longer_each_time() -> None:
    found = [waits(*["transport"] * times) for times in (1, 2, 3, 4)]
    assert found == [timedelta(minutes=15), HOUR, 6 * HOUR, 6 * HOUR]


def test_a_burst_rests_a_quarter_of_an_hour_however_often() -> None:
    assert {waits(*["cooling_down"] * times) for times in (1, 2, 5)} == {timedelta(minutes=15)}


def test_the_count_begins_anew_after_anything_else() -> None:
    assert waits("source_blocked", "source_blocked", "no_captions", "source_blocked") == HOUR
    assert waits("source_blocked", "transport", "source_blocked") == HOUR


def test_a_refusal_does_not_use_up_the_looks_of_the_video() -> None:
    visits = [a_visit("source_blocked", PUBLISHED + timedelta(hours=100))]
    state = after_visits(PUBLISHED, visits, PATIENCE)
    assert (state.status, state.reason) == ("pending", "source_blocked")


@pytest.mark.parametrize("outcome", FINAL)
def test_what_nobody_may_see_is_rejected_and_never_asked_again(outcome: str) -> None:
    visits = [a_visit(outcome, PUBLISHED, detail="members_only")]
    assert after_visits(PUBLISHED, visits, PATIENCE) == State("rejected", outcome, None, "members_only")
    assert not due(PUBLISHED, visits, PATIENCE, PUBLISHED + timedelta(days=3650))


@pytest.mark.parametrize("outcome", ["upcoming", "live_now"])
def test_a_stream_that_is_not_over_is_looked_at_with_the_next_poll(outcome: str) -> None:
    visits = [a_visit(outcome, PUBLISHED)]
    state = after_visits(PUBLISHED, visits, PATIENCE)
    assert (state.status, state.reason) == ("pending", outcome)
    assert state.not_before == PUBLISHED + timedelta(seconds=Videos().poll_seconds)


def test_a_video_that_was_never_asked_about_is_due() -> None:
    assert due(PUBLISHED, [], PATIENCE, PUBLISHED)


HISTORIES = st.lists(st.tuples(st.sampled_from([*WAITING, *FINAL]), st.integers(1, 50 * 3600)), min_size=1, max_size=8)


@given(HISTORIES, st.integers(-48 * 3600, 400 * 3600))
def test_whatever_happened_the_next_visit_lies_ahead_and_is_due_at_its_time_and_not_before(
    told: list[tuple[str, int]], since: int
) -> None:
    at, visits = PUBLISHED + timedelta(seconds=since), []
    for outcome, apart in told:
        at += timedelta(seconds=apart)
        visits.append(a_visit(outcome, at))
    state = after_visits(PUBLISHED, visits, PATIENCE)
    if state.status == "pending":
        assert state.not_before is not None and state.not_before > at
        assert not due(PUBLISHED, visits, PATIENCE, state.not_before - timedelta(microseconds=1))
        assert due(PUBLISHED, visits, PATIENCE, state.not_before)
    else:
        assert state.not_before is None
        assert not due(PUBLISHED, visits, PATIENCE, at)
    assert state.status == "pending" or state.reason in (*FINAL, "no_captions")


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6, unique=True).map(sorted), st.integers(-100, 600 * 60))
def test_a_look_is_one_of_the_hours_of_the_settings_or_the_last(hours: list[int], minutes: int) -> None:
    patience = Patience(tuple(hours), 14, HOUR)
    looked = PUBLISHED + timedelta(minutes=minutes)
    state = absent(PUBLISHED, looked, patience)
    if state.status == "failed":
        assert looked - PUBLISHED >= timedelta(hours=hours[-1])
    else:
        assert state.not_before is not None and (state.not_before - PUBLISHED) / HOUR in hours

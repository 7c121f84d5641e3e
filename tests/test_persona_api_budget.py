"""The budget of API calls: spread to the reset, never used up by polls."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.api_budget import (
    DASH_SAFETY,
    Client,
    after_reset,
    best,
    check_probability,
    dash_probability,
    due,
    usable,
)

CLIENT = Client("one", day_left=2000, day_reset_s=36_000, hour_left=500, hour_reset_s=1800)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_tick_polls_as_often_as_the_scarcer_of_day_and_hour_allows() -> None:
    assert check_probability(140, [CLIENT], [30]) == pytest.approx(0.259259, abs=5e-7)
    assert check_probability(140, [CLIENT], [30], DASH_SAFETY) == pytest.approx(0.8 * 0.259259, abs=5e-7)


def test_clients_add_up_and_one_that_is_nearly_used_up_counts_for_nothing() -> None:
    twice = [CLIENT, replace(CLIENT, name="two")]
    empty = replace(CLIENT, name="empty", hour_left=10)
    assert check_probability(140, [*twice, empty], [30]) == pytest.approx(2 * 0.259259, abs=1e-6)
    assert not usable(empty)
    assert usable(replace(CLIENT, hour_left=11))
    assert check_probability(140, [empty], [30]) == 0


def test_only_the_last_ten_polls_count_each_within_an_hours_calls() -> None:
    expected = check_probability(140, [CLIENT], [30])
    assert check_probability(140, [CLIENT], [1499, *[30] * 10]) == expected
    assert check_probability(140, [CLIENT], [0]) == check_probability(140, [CLIENT], [1]) == 1.0
    assert check_probability(140, [CLIENT], [9999]) == check_probability(140, [CLIENT], [1499])
    assert check_probability(140, [CLIENT], []) == 1.0


def test_the_best_client_has_the_highest_rate_and_names_decide_between_equals() -> None:
    slow = replace(CLIENT, name="a", day_left=100)
    assert best([slow, CLIENT]) == CLIENT
    assert best([replace(CLIENT, name="b"), replace(CLIENT, name="a")]) == replace(CLIENT, name="a")
    assert best([replace(slow, day_left=3)]) is None


def test_after_a_reset_the_client_is_taken_to_be_full() -> None:
    assert after_reset(CLIENT, 1000) == replace(CLIENT, day_reset_s=35_000, hour_reset_s=800)
    hour = after_reset(CLIENT, 1800)
    assert (hour.hour_left, hour.hour_reset_s, hour.day_left) == (999, 3600, 2000)
    assert after_reset(CLIENT, 36_010) == Client("one", 5000, 86_390, 999, pytest.approx(1790))


def test_the_dashboard_is_read_when_a_page_of_it_is_expected() -> None:
    assert dash_probability(0.5, 100) == 0.5
    assert dash_probability(0.5, 10) == 0.25
    assert dash_probability(0.5, -1) == 0


def test_a_tick_says_the_same_again_and_ticks_poll_as_often_as_they_should() -> None:
    ticks = [AT + timedelta(minutes=n) for n in range(2000)]
    first = [due(0.3, "demo-blog", tick) for tick in ticks]
    assert first == [due(0.3, "demo-blog", tick) for tick in ticks]
    assert 0.26 < sum(first) / len(first) < 0.34
    assert not any(due(0.0, "demo-blog", tick) for tick in ticks[:50])
    assert all(due(1.0, "demo-blog", tick) for tick in ticks[:50])


@given(
    st.floats(1, 3600),
    st.integers(0, 6000),
    st.floats(0, 86_400),
    st.integers(0, 1000),
    st.floats(0, 3600),
    st.floats(0, 200_000),
)
def test_whatever_headers_say_a_probability_comes_out(
    tick: float, day: int, day_s: float, hour: int, hour_s: float, later: float
) -> None:
    client = Client("one", day, day_s, hour, hour_s)
    assert 0 <= check_probability(tick, [client], [5]) <= 1
    reset = after_reset(client, later)
    assert 0 <= check_probability(tick, [reset], [5]) <= 1
    assert reset.day_reset_s > 0
    assert reset.hour_reset_s > 0

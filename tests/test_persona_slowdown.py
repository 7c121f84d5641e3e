"""Levels of slowdown, and the midnight from which posts are counted."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.slowdown import BASE, items_per_step, level, reset_at


@pytest.mark.parametrize(
    ("posts", "left", "hours", "name", "items"),
    [
        (30, 150, 10, "base", 5),
        (20, 30, 3, "slower", 3),
        (40, 150, 12, "slower2", 2),
        (5, 4, 1, "slowest", 1),
        (0, 1, 20, "hardstop", 0),
    ],
)
def test_the_first_level_that_rate_and_rest_allow_holds(
    posts: int, left: int, hours: float, name: str, items: int
) -> None:
    found = level(posts, left, hours, 0, "2023")
    assert found.name == name
    assert items_per_step(5, found) == items


def test_levels_slow_ticks_down_lower_the_cost_and_put_the_queue_first() -> None:
    slower, slower2, slowest = (
        level(20, 30, 3),
        level(40, 150, 12),
        level(5, 4, 1),
    )
    assert [(one.tick, one.cost, one.queue_first) for one in (BASE, slower, slower2, slowest, level(0, 0, 1))] == [
        (1, 0, False),
        (2.5, -1.5, False),
        (5, -3, True),
        (10, -3, True),
        (10, -3, True),
    ]


def test_the_older_preset_slows_down_earlier_and_stops_without_slower_ticks() -> None:
    assert level(0, 50, 10, preset="2023").name == "base"
    assert level(0, 50, 10, preset="2022").name == "slower"
    # 2.2 times as fast as what is left allows.
    assert level(44, 100, 10, preset="2022").name == "slower2"
    assert level(44, 100, 10, preset="2023").name == "slowest"
    assert level(0, 1, 10, preset="2022").tick == 1


def test_posts_that_the_queue_will_send_are_not_left() -> None:
    assert level(0, 42, 5).name == "base"
    assert level(0, 42, 5, queued_before_reset=10).name == "slower"
    assert level(0, 42, 5, queued_before_reset=41).name == "hardstop"


def test_a_rate_beyond_all_levels_stops_and_the_moment_of_the_reset_does_not_divide_by_nothing() -> None:
    assert level(250, 2, 24).name == "hardstop"
    assert level(250, 100, 0).name == "base"


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.01, 24), st.integers(1, 100))
def test_more_posts_never_allow_more_items(posts: int, left: int, hours: float, step_max: int) -> None:
    for preset in ("2023", "2022"):
        calm, busy = level(posts, left, hours, 0, preset), level(posts + 10, left, hours, 0, preset)
        assert items_per_step(step_max, busy) <= items_per_step(step_max, calm)


@pytest.mark.parametrize(
    ("now", "reset"),
    [
        (datetime(2026, 11, 20, 4, 59, 59, tzinfo=UTC), datetime(2026, 11, 20, 5, tzinfo=UTC)),
        (datetime(2026, 11, 20, 5, tzinfo=UTC), datetime(2026, 11, 21, 5, tzinfo=UTC)),
        (datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(2026, 7, 2, 4, tzinfo=UTC)),
        # The night in which clocks go back has 25 hours.
        (datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 2, 5, tzinfo=UTC)),
    ],
)
def test_posts_are_counted_from_midnight_in_new_york(now: datetime, reset: datetime) -> None:
    assert reset_at(now) == reset
    assert reset_at(now).utcoffset() == timedelta(0)

"""Sessions: closing times through the year, the first close after a moment, and days that are not known yet."""

from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mentions_world import price_rows, weekdays

from magpie.lake import conform
from magpie.videos.prices import NEW_YORK, Sessions, daily_prices
from magpie.videos.tables import DAILY_PRICES

FIRST = date(2026, 3, 2)
MARCH = weekdays(FIRST, 20)


def sessions(days: list[date], early: dict[date, time] | None = None) -> Sessions:
    return Sessions.of(price_rows("SPY", dict.fromkeys(days, 400.0)), "SPY", early or {})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_prices_of_the_days_asked_for_are_given_and_no_others() -> None:
    rows = pl.concat([price_rows("SPY", dict.fromkeys(MARCH, 400.0)), price_rows("NVDA", {MARCH[0]: 5.0})])
    found = conform(DAILY_PRICES, daily_prices(rows, [MARCH[0], date(2026, 3, 7)]))
    assert found["symbol"].to_list() == ["NVDA", "SPY"]


def test_sessions_are_the_days_of_the_benchmark_alone() -> None:
    rows = pl.concat([price_rows("SPY", {MARCH[1]: 1.0, MARCH[0]: 1.0}), price_rows("NVDA", {MARCH[5]: 5.0})])
    assert Sessions.of(rows, "SPY", {}).days == (MARCH[0], MARCH[1])


@pytest.mark.parametrize(
    ("day", "close"),
    [("2026-03-06", "21:00"), ("2026-03-09", "20:00"), ("2026-10-30", "20:00"), ("2026-11-02", "21:00")],
)
def test_the_close_follows_the_clocks_of_new_york(day: str, close: str) -> None:
    assert sessions([]).close_at(date.fromisoformat(day)) == at(f"{day}T{close}")


def test_an_early_close_is_that_of_the_file() -> None:
    friday = date(2026, 11, 27)
    known = sessions(weekdays(date(2026, 11, 23), 10), {friday: time(13)})
    assert known.close_at(friday) == at("2026-11-27T18:00")
    assert known.first_close_after(at("2026-11-27T17:59:59")) == friday
    assert known.first_close_after(at("2026-11-27T18:00")) == date(2026, 11, 30)


@pytest.mark.parametrize(
    ("moment", "entry"),
    [
        ("2026-03-13T19:59:00", "2026-03-13"),
        ("2026-03-13T20:00:00", "2026-03-16"),
        ("2026-03-13T23:59:59", "2026-03-16"),
        ("2026-03-14T12:00:00", "2026-03-16"),
        # The day has begun in UTC and not yet in New York.
        ("2026-03-17T02:00:00", "2026-03-17"),
    ],
)
def test_the_entry_is_the_first_close_strictly_after_the_moment(moment: str, entry: str) -> None:
    assert sessions(MARCH).first_close_after(at(moment)) == date.fromisoformat(entry)


def test_before_and_after_the_known_days_no_session_is_made_up() -> None:
    known = sessions(MARCH)
    assert known.first_close_after(at("2026-03-27T20:00:00")) is None
    assert known.after(MARCH[-1], 1) is None
    assert known.after(date(2026, 3, 7), 1) is None
    assert known.after(MARCH[0], 19) == MARCH[19]
    # The Friday before the first known Monday had a close; on the weekend none is missing.
    assert known.first_close_after(at("2026-02-27T20:59:00")) is None
    assert known.first_close_after(at("2026-02-27T21:00:00")) == FIRST
    assert sessions([]).first_close_after(at("2026-03-02T12:00:00")) is None


def test_across_a_hole_in_the_benchmark_sessions_are_not_counted() -> None:
    holed = sessions(MARCH[:5] + MARCH[12:])
    assert holed.after(MARCH[4], 1) is None
    assert holed.after(MARCH[12], 1) == MARCH[13]
    assert holed.first_close_after(holed.close_at(MARCH[4])) is None
    holiday = sessions(MARCH[:5] + MARCH[6:])
    assert holiday.after(MARCH[4], 1) == MARCH[6]
    assert holiday.first_close_after(holiday.close_at(MARCH[4])) == MARCH[6]


def test_a_close_to_come_is_expected_on_the_earliest_weekday_that_it_can_fall_on() -> None:
    known = sessions(MARCH[:10])
    assert known.expected_close(MARCH[0], 5) == known.close_at(MARCH[5])
    assert known.expected_close(MARCH[8], 3) == known.close_at(MARCH[11])
    assert known.expected_close(known.close_at(MARCH[9]), 1) == known.close_at(MARCH[11])
    assert sessions([]).expected_close(at("2026-03-14T12:00:00"), 5) == known.close_at(date(2026, 3, 23))


def test_a_day_that_is_not_over_is_no_session_yet() -> None:
    known = sessions(MARCH)
    assert known.until(known.close_at(MARCH[3])).days == tuple(MARCH[:4])
    assert known.until(known.close_at(MARCH[3]) - timedelta(seconds=1)).days == tuple(MARCH[:3])


@settings(max_examples=200, deadline=None)
@given(
    missing=st.sets(st.integers(0, 39), max_size=20),
    minutes=st.integers(-10 * 1440, 70 * 1440),
    early=st.sets(st.integers(0, 39), max_size=3),
)
def test_the_first_close_is_after_the_moment_and_the_one_before_it_is_not(
    missing: set[int], minutes: int, early: set[int]
) -> None:
    days = weekdays(FIRST, 40)
    known = sessions(
        [day for place, day in enumerate(days) if place not in missing], {days[place]: time(13) for place in early}
    )
    moment = datetime(2026, 3, 2, tzinfo=NEW_YORK).astimezone(UTC) + timedelta(minutes=minutes)
    entry = known.first_close_after(moment)
    if entry is None:
        return
    assert known.close_at(entry) > moment
    assert all(known.close_at(day) <= moment for day in known.days if day < entry)
    assert known.expected_close(moment, 0) == known.close_at(entry)
    for steps in (1, 5):
        later = known.after(entry, steps)
        assert later is None or known.expected_close(entry, steps) == known.close_at(later)
        assert known.expected_close(entry, steps) > known.close_at(entry)

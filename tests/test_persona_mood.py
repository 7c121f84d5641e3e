"""The mood: exact at any moment, the same in whatever order and in whatever runs it is made."""

import io
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from magpie.persona.mood import (
    KICKS,
    UNKNOWN_MOOD,
    Kick,
    MoodRules,
    base_of,
    determiner,
    kick_of,
    mood_grid,
    offset_at,
    percentile_75,
    value_at,
)
from magpie.persona.mood_graph import mood_graph
from magpie.persona.mood_range import NO_BOUNDS
from magpie.persona.settings import Blog
from magpie.persona.tables import MOOD

START = datetime(2026, 11, 20, tzinfo=UTC)
DAY = START.date()
EXACT = 1e-12


def rules(preset: str = "2023", zone: str = "UTC", **tuning: Any) -> MoodRules:
    return MoodRules.of(Blog(name="demo-blog", preset=preset, timezone=zone, tuning=tuning))  # type: ignore[arg-type]


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def change(hours: float, **numbers: float) -> dict[str, Any]:
    return {"at": after(hours), **numbers}


def kicks(*told: tuple[float, float]) -> list[Kick]:
    return [Kick(after(hours), size) for hours, size in told]


def frame(given: Sequence[Kick]) -> pl.DataFrame:
    return pl.DataFrame([(kick.at, kick.size) for kick in given], KICKS, orient="row")


@pytest.mark.parametrize(
    ("preset", "hours", "offsets"),
    [
        ("2023", (0.5, 1, 2, 4, 6, 12), (0.05519, 0.08218, 0.09424, 0.06991, 0.04413, 0.00996)),
        ("2022", (0.5, 1, 2, 4, 6, 12, 60), (0.05771, 0.09035, 0.11637, 0.11425, 0.09884, 0.06020, 0.00110)),
    ],
)
def test_a_kick_rises_and_dies_away(preset: str, hours: Sequence[float], offsets: Sequence[float]) -> None:
    found = [offset_at(kicks((0, 1)), after(hour), rules(preset))[0] for hour in hours]
    assert found == pytest.approx(offsets, abs=5e-6)


@pytest.mark.parametrize(("preset", "hour", "peak"), [("2023", 1.8484, 0.09449), ("2022", 2.7108, 0.11967)])
def test_a_kick_is_felt_most_where_its_two_decays_meet(preset: str, hour: float, peak: float) -> None:
    at = {shift: offset_at(kicks((0, 1)), after(hour + shift), rules(preset))[0] for shift in (-0.01, 0, 0.01)}
    assert at[0] == pytest.approx(peak, abs=5e-6)
    assert at[0] > max(at[-0.01], at[0.01])


def test_what_has_become_of_a_kick_is_carried_over_where_tau_changes() -> None:
    changed = rules(mood_changes=[change(3, tau1_h=6)])
    assert offset_at(kicks((0, 1)), after(3), changed) == pytest.approx((0.084516, 0.007468), abs=5e-7)
    assert offset_at(kicks((0, 1)), after(5), changed)[0] == pytest.approx(0.065767, abs=5e-7)


def test_the_value_is_the_base_moved_by_every_kick_so_far() -> None:
    given = kicks((0, -0.5), (1.5, 0.8))
    found = [value_at(given, after(hour), rules()) for hour in (0, 1, 3, 6)]
    assert [mood.value for mood in found] == pytest.approx([0.7, 0.6913, 0.706678, 0.705868], abs=5e-7)
    assert {(mood.base_name, mood.base_value) for mood in found} == {("meh", 0.70)}


@pytest.mark.parametrize(
    ("logits", "read", "kick"),
    [((0, 0), 0.425249, 0.016832), ((1, -2), 0.120100, -0.186600), ((-4, -3), -1.710792, -1.407195)],
)
def test_an_input_kicks_by_its_distance_from_the_centre(logits: tuple[float, float], read: float, kick: float) -> None:
    assert determiner(*logits) == pytest.approx(read, abs=5e-7)
    assert kick_of(determiner(*logits), START, rules()) == pytest.approx((kick, 0.4, 2 / 3), abs=5e-7)


def test_the_older_preset_has_another_centre() -> None:
    assert kick_of(determiner(1, -2), START, rules("2022"))[:2] == pytest.approx((0.0134, 0.1), abs=5e-7)


def test_an_input_without_texts_speaks_for_itself() -> None:
    assert determiner(1.5, None) == determiner(1.5, 1.5)


def test_centre_and_factor_are_those_of_the_moment() -> None:
    changed = rules(mood_changes=[change(5, mult=2), change(1, centre=1, mult=1)])
    assert kick_of(3.0, after(0.5), changed) == pytest.approx((2.6 * 2 / 3, 0.4, 2 / 3))
    assert kick_of(3.0, after(1), changed) == (2.0, 1.0, 1.0)
    assert kick_of(3.0, after(6), changed) == (4.0, 1.0, 2.0)


def test_the_upper_quartile_lies_between_ranks() -> None:
    assert percentile_75([4, -3, 2, -1, 0]) == 2
    assert percentile_75([-3, -1, 0, 2]) == 0.5
    assert percentile_75([7]) == 7
    with pytest.raises(ValueError, match="no logits"):
        percentile_75([])


@pytest.mark.parametrize(
    ("day", "base"),
    [
        (date(2026, 11, 19), ("only_non_happy+meh", 0.535)),
        (date(2026, 11, 20), ("meh", 0.70)),
        (date(2026, 11, 1), ("meh+only_non_sad", 0.80)),
        (date(2026, 1, 11), ("only_non_happy+meh", 0.535)),
    ],
)
def test_each_date_has_its_base(day: date, base: tuple[str, float]) -> None:
    assert base_of("demo-blog", day, rules()) == base


def test_the_base_changes_at_the_blogs_midnight() -> None:
    new_york = rules(zone="America/New_York")
    assert value_at([], after(4.99), new_york).base_value == 0.535
    assert value_at([], after(5), new_york).base_value == 0.70
    made = mood_grid(frame([]), [DAY], new_york, "2023")
    assert made["base_value"].to_list() == [0.535] * 30 + [0.70] * 114


def test_a_kick_counts_after_its_moment_and_within_its_window() -> None:
    assert offset_at(kicks((0, 1)), START, rules()) == (0, 0)
    assert offset_at(kicks((0, 1)), after(60), rules())[0] > 0
    assert offset_at(kicks((0, 1)), after(60.001), rules()) == (0, 0)


def test_equal_decays_are_no_special_case() -> None:
    offset, _ = offset_at(kicks((0, 1)), after(2), rules(mood_tau1_h=3, mood_tau2_h=3))
    assert offset == pytest.approx(0.15 * 2 / 3 * math.exp(-2 / 3), abs=EXACT)
    close, _ = offset_at(kicks((0, 1)), after(2), rules(mood_tau1_h=3 + 1e-9, mood_tau2_h=3))
    assert close == pytest.approx(offset, abs=1e-9)


hours = st.floats(0, 100, allow_nan=False)
sizes = st.floats(-5, 5, allow_nan=False)
taus = st.floats(0.05, 50, allow_nan=False)
told_kicks = st.lists(st.tuples(hours, sizes), max_size=12)


@given(told_kicks, st.floats(0, 160), taus, taus)
def test_kicks_add_up_as_each_alone_does_in_closed_form(
    told: list[tuple[float, float]], hour: float, tau1: float, tau2: float
) -> None:
    if abs(tau1 - tau2) < 0.01:
        tau1 += 1
    at = after(hour)
    ages = [((at - kick.at) / timedelta(hours=1), kick.size) for kick in kicks(*told)]
    expected = math.fsum(
        0.15 * size * tau1 / (tau1 - tau2) * (math.exp(-age / tau1) - math.exp(-age / tau2))
        for age, size in ages
        if 0 < age <= 60
    )
    found = offset_at(kicks(*told), at, rules(mood_tau1_h=tau1, mood_tau2_h=tau2))[0]
    assert found == pytest.approx(expected, abs=1e-10)


@given(st.floats(0.1, 30), st.floats(0.1, 30), taus, taus, taus)
def test_a_change_of_numbers_that_changes_nothing_moves_nothing(
    until: float, later: float, tau1: float, tau2: float, other: float
) -> None:
    plain = rules(mood_tau1_h=tau1, mood_tau2_h=tau2)
    same = rules(mood_tau1_h=tau1, mood_tau2_h=tau2, mood_changes=[change(until, tau1_h=tau1)])
    to_come = rules(mood_tau1_h=tau1, mood_tau2_h=tau2, mood_changes=[change(until + later, tau1_h=other)])
    at = after(until + later)
    before = offset_at(kicks((0, 1)), at, plain)
    assert offset_at(kicks((0, 1)), at, same) == pytest.approx(before, abs=EXACT)
    assert offset_at(kicks((0, 1)), at, to_come) == pytest.approx(before, abs=EXACT)


@given(told_kicks, st.randoms(use_true_random=False))
def test_the_grid_is_the_mood_at_each_of_its_moments(told: list[tuple[float, float]], chance: Any) -> None:
    moving = rules(
        zone="Asia/Kathmandu", mood_window_h=31.07, mood_changes=[change(55, tau1_h=1), change(58, tau2_h=9)]
    )
    given = kicks(*told)
    made = mood_grid(frame(given), [date(2026, 11, 22), date(2026, 11, 23)], moving, "2023")
    assert made.height == 288
    assert made["ts"].to_list()[0::144] == [after(48), after(72)]
    assert made["ts"].to_list()[143] == after(72) - timedelta(minutes=10)
    for row in chance.sample(list(made.iter_rows(named=True)), 5):
        mood = value_at(given, row["ts"], moving)
        assert {name: row[name] for name in ("base_name", "base_value")} == {
            "base_name": mood.base_name,
            "base_value": mood.base_value,
        }
        assert (row["offset"], row["rate"], row["value"]) == pytest.approx(
            (mood.offset, mood.rate, mood.value), abs=EXACT
        )


def test_midnight_is_the_same_mood_from_the_days_before_and_after_it() -> None:
    given = kicks((-70, 4), (-59.9, 3), (-20, -2), (3, 1), (23.99, 2))
    midnight = after(24)
    of_the_day_before = [kick for kick in given if kick.at < midnight and kick.at >= midnight - timedelta(hours=60)]
    made = mood_grid(frame(given), [DAY + timedelta(days=1)], rules(), "2023").row(0, named=True)
    before = value_at(of_the_day_before, midnight, rules())
    assert made["ts"] == midnight
    assert made["value"] == pytest.approx(before.value, abs=1e-9)


@given(told_kicks)
def test_rows_do_not_depend_on_the_order_of_kicks_nor_on_how_days_are_batched(told: list[tuple[float, float]]) -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    given = frame(kicks(*told))
    at_once = mood_grid(given.reverse(), [*days[::-1], days[0]], rules(), "2023")
    one_by_one = pl.concat([mood_grid(given, [day], rules(), "2023") for day in days])
    assert at_once.equals(one_by_one)
    assert MOOD.schema.validate(at_once).height == 5 * 144
    assert at_once["value"].is_between(0, 1, closed="none").all()


def test_no_days_and_no_kicks_are_no_error() -> None:
    assert mood_grid(frame([]), [], rules(), "2023").equals(MOOD.empty())
    assert set(mood_grid(frame([]), [DAY], rules(), "2023")["value"]) == {0.70}


@pytest.mark.parametrize("size", [math.nan, math.inf, -math.inf, 1e300, -1e5, 5000])
def test_an_absurd_kick_leaves_a_mood_that_screens_nothing_until_it_is_forgotten(size: float) -> None:
    given = kicks((1, size), (2, 0.5))
    mood = value_at(given, after(3), rules())
    assert mood == UNKNOWN_MOOD
    assert (mood.base_name, mood.value, mood.bounds("2023")) == ("unrestricted", 0.70, NO_BOUNDS)
    made = mood_grid(frame(given), [DAY], rules(), "2022")
    assert MOOD.schema.validate(made).height == 144
    spoilt = made.filter(pl.col("base_name") == "unrestricted")
    assert spoilt["ts"].max() == after(24) - timedelta(minutes=10)
    assert spoilt["lo"].null_count() == spoilt["hi"].null_count() == spoilt.height
    assert made.filter(pl.col("ts") <= after(1))["base_name"].to_list() == ["meh"] * 7
    assert value_at(given, after(80), rules()).base_name != "unrestricted"


def test_a_kick_without_a_number_spoils_a_mood_and_no_run() -> None:
    told = pl.DataFrame({"kick_ts": [after(1)], "kick": [None]}, schema=KICKS)
    assert mood_grid(told, [DAY], rules(), "2023")["base_name"].to_list()[-1] == "unrestricted"


def test_the_range_in_the_grid_is_that_of_the_value() -> None:
    given = kicks((0, 8))
    made = mood_grid(frame(given), [DAY], rules(), "2023").row(12, named=True)
    bounds = value_at(given, after(2), rules()).bounds("2023")
    assert (made["lo"], made["hi"]) == (bounds.lo, bounds.hi)
    assert made["lo"] > 0.0128


def test_the_picture_is_a_png_that_the_order_of_kicks_does_not_change() -> None:
    given = frame(kicks((-30, 2), (-5, -1), (1, 1), (7, math.nan)))
    drawn = mood_graph(given, after(8), rules(zone="Asia/Kathmandu"), "2023", 48)
    assert Image.open(io.BytesIO(drawn)).size == (800, 320)
    assert drawn == mood_graph(given.reverse(), after(8), rules(zone="Asia/Kathmandu"), "2023", 48)
    assert drawn != mood_graph(given.head(2), after(8), rules(zone="Asia/Kathmandu"), "2023", 48)


def test_the_picture_knows_nothing_of_what_comes_after_it() -> None:
    past, to_come = frame(kicks((-5, -1))), frame(kicks((-5, -1), (2, 3)))
    assert mood_graph(to_come, after(2), rules(), "2022") == mood_graph(past, after(2), rules(), "2022")
    assert mood_graph(frame([]), after(2), rules(), "2022") != mood_graph(past, after(2), rules(), "2022")


@pytest.mark.parametrize("hours", [0, 49])
def test_a_picture_of_no_hours_or_of_too_many_is_refused(hours: int) -> None:
    with pytest.raises(ValueError, match="1 to 48"):
        mood_graph(frame([]), START, rules(), "2023", hours)

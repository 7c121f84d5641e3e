"""Which sentiment suits a mood: the bounds of named moods, and those between them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.persona.mood_range import (
    ANCHORS,
    NO_BOUNDS,
    RANGES,
    Bounds,
    Preset,
    bounds_at,
    bounds_of,
    inside,
    name_of,
)
from magpie.persona.scales import logit

presets = st.sampled_from(sorted(RANGES))


@pytest.mark.parametrize(
    ("value", "lo", "hi"),
    [
        (0.50, 0.004992, 0.556029),
        (0.60, 0.00896, 0.63077),
        (0.80, 0.03055, 0.85155),
        (0.05, 0, 0.2593),
        (0.99, 0.1192, 1),
    ],
)
def test_bounds_are_mixed_between_named_moods_and_held_beyond_them(value: float, lo: float, hi: float) -> None:
    found = bounds_at(value, "2023")
    assert (found.lo, found.hi) == pytest.approx((lo, hi), abs=1e-12)


def test_the_mixed_bounds_on_the_logistic_scale() -> None:
    found = bounds_at(0.50, "2023")
    assert found.lo is not None and found.hi is not None
    assert (logit(found.lo), logit(found.hi)) == pytest.approx((-5.295, 0.225), abs=5e-4)
    places = [logit(place) for place in ANCHORS.values()]
    assert places == pytest.approx([-2.266, -0.532, 0.847, 2.197, 4.595], abs=5e-4)


def test_the_older_preset_mixes_on_the_logistic_scale_and_keeps_open_sides_open() -> None:
    found = bounds_at(0.50, "2022")
    assert found.hi is not None
    assert logit(found.hi) == pytest.approx(-0.6875, abs=5e-5)
    assert found.hi == pytest.approx(0.3346, abs=5e-5)
    assert found.lo == 0
    assert bounds_at(0.80, "2022").hi == 1


@pytest.mark.parametrize("preset", sorted(RANGES))
def test_a_mood_at_an_anchor_has_the_bounds_of_its_name(preset: Preset) -> None:
    for name, place in ANCHORS.items():
        assert bounds_at(place, preset) == bounds_of(name, preset) == Bounds(*RANGES[preset][name])


def test_the_unrestricted_mood_has_no_bounds_and_neither_has_no_mood() -> None:
    assert bounds_of("unrestricted", "2023") == bounds_at(math.nan, "2022") == NO_BOUNDS
    assert inside(0.0, NO_BOUNDS) and inside(1.0, NO_BOUNDS)


def test_an_unknown_mood_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"no mood is called 'gloomy'; there are only_sad, .*, unrestricted"):
        bounds_of("gloomy", "2023")


def test_bounds_themselves_are_inside() -> None:
    bounds = Bounds(0.1, 0.5)
    assert [inside(p, bounds) for p in (0.0999, 0.1, 0.5, 0.5001)] == [False, True, True, False]


@given(st.floats(0, 1), st.floats(0, 1), presets)
def test_a_happier_mood_never_suits_sadder_texts(one: float, other: float, preset: Preset) -> None:
    sad, happy = (bounds_at(value, preset) for value in sorted((one, other)))
    assert sad.lo is not None and sad.hi is not None and happy.lo is not None and happy.hi is not None
    # Weights have two decimals, and a sum of two products is rounded.
    assert sad.lo <= happy.lo + 1e-9 and sad.hi <= happy.hi + 1e-9
    assert 0 <= sad.lo < sad.hi <= 1


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0.70, "meh"),
        ((0.37 + 0.70) / 2, "only_non_happy+meh"),
        ((0.70 + 0.90) / 2, "meh+only_non_sad"),
        (0.90, "only_non_sad"),
        (0.01, "only_sad"),
        (0.999, "only_happy"),
    ],
)
def test_a_mood_is_called_by_its_anchor_or_by_the_two_beside_it(value: float, name: str) -> None:
    assert name_of(value) == name

"""Choice: as many texts as the mood will probably turn away, a screen that never empties the pool, replayable draws."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.choice import (
    TEXTS_MOST,
    base_of,
    choose,
    number_of_texts,
    original_base,
    screened,
    sentiment_sample,
)
from magpie.persona.mood_range import Bounds, bounds_of, inside
from magpie.persona.scales import logit, sigmoid
from magpie.persona.settings import PRESETS, Tuning
from magpie.persona.tables import STRATEGIES

NAMED = ("only_non_happy", "meh", "only_non_sad")
ANSWERS = (0.31, 0.62, 0.44, 0.62)
FREE = Bounds(None, None)
probabilities = st.floats(0, 1)
bounds = st.builds(lambda a, b: Bounds(min(a, b), max(a, b)), probabilities, probabilities) | st.builds(
    Bounds, st.none() | probabilities, st.none()
)


def test_a_young_blog_plans_with_the_usual_spread_of_sentiment() -> None:
    sample = sentiment_sample([0.0] * 99)
    outside = [sum(not inside(sigmoid(x), bounds_of(name, "2023")) for x in sample) for name in NAMED]
    assert len(sample) == 21 and outside == [6, 9, 8]
    assert (min(sample), max(sample)) == (pytest.approx(-8.34, abs=0.02), pytest.approx(4.34, abs=0.02))


@pytest.mark.parametrize(("base", "expected"), [(5, [6, 7, 6]), (4, [5, 5, 5]), (2, [2, 3, 2])])
def test_a_mood_that_turns_more_away_has_more_written(base: int, expected: list[int]) -> None:
    sample = sentiment_sample([])
    assert [number_of_texts(base, sample, bounds_of(name, "2023"), 0.4) for name in NAMED] == expected


def test_kept_texts_that_suit_the_mood_save_new_ones() -> None:
    low = bounds_of("only_non_happy", "2023")
    base = original_base(4, [logit(0.2), logit(0.4), logit(0.9)], low)
    assert (base, number_of_texts(base, sentiment_sample([]), low, 0.4)) == (2, 2)


def test_a_new_text_is_written_however_many_are_kept() -> None:
    assert original_base(4, [0.0] * 50, FREE) == 1


def test_a_grown_blog_plans_with_its_own_last_texts() -> None:
    logits = [-9.0] * 700 + [9.0] * 500
    assert sentiment_sample(logits) == [9.0] * 500
    assert sentiment_sample([1.0] * 100) == [1.0] * 100


def test_where_all_texts_would_be_turned_away_no_more_than_twenty_are_written() -> None:
    assert number_of_texts(5, [9.0] * 10, Bounds(0.0, 0.1), 0.4) == TEXTS_MOST
    assert number_of_texts(5, [], Bounds(0.0, 0.1), 0.4) == 5


@given(st.integers(1, 20), st.lists(st.floats(-20, 20), max_size=60), bounds, st.floats(0, 5))
def test_never_fewer_than_the_base_and_never_more_than_twenty_are_written(
    base: int, sample: list[float], range_: Bounds, scale: float
) -> None:
    assert base <= number_of_texts(base, sample, range_, scale) <= 20


def test_what_is_written_beside_answers_and_posts_is_long_and_written_less_often() -> None:
    found = {kind: base_of(kind, Tuning()) for kind in ("answer", "original", "fiction", "review")}
    assert found == {"answer": 5, "original": 4, "fiction": 2, "review": 2}
    older = Tuning.model_validate(PRESETS["2022"])
    assert [base_of(kind, older) for kind in ("answer", "original", "fiction")] == [8, 7, 4]


@pytest.mark.parametrize(
    ("ps", "kept"),
    [
        ([0.001, 0.3, 0.9], [1]),
        ([0.8, 0.9], [0, 1]),
        ([0.001, 0.9], [0, 1]),
        ([0.005, 0.008], [0, 1]),
        ([0.0128, 0.7031], [0, 1]),
        ([], []),
    ],
)
def test_a_mood_turns_away_what_does_not_suit_it_unless_nothing_would_be_left(ps: list[float], kept: list[int]) -> None:
    assert screened(ps, Bounds(0.0128, 0.7031)) == kept


@given(st.lists(probabilities, min_size=1, max_size=30), bounds)
def test_the_screen_always_leaves_a_text_and_all_that_suit(ps: list[float], range_: Bounds) -> None:
    kept = screened(ps, range_)
    assert kept == sorted(set(kept)) and kept
    assert {i for i, p in enumerate(ps) if inside(p, range_)} <= set(kept)


@pytest.mark.parametrize(
    ("input_id", "eps", "index", "explore"),
    [("ask:1001", 0.075, 1, False), ("ask:1001", 0.15, 2, True), ("orig:5", 0.15, 0, True)],
)
def test_the_same_input_takes_the_same_text_in_every_run(input_id: str, eps: float, index: int, explore: bool) -> None:
    found = choose(ANSWERS, range(4), "eps_greedy", eps, "demo-blog", input_id, 1)
    assert (found.index, found.explore) == (index, explore)


def test_what_the_mood_turned_away_is_not_taken_by_chance_either() -> None:
    taken = {choose(ANSWERS, [0, 2], "uniform", 0.0, "demo-blog", f"ask:{n}", 1).index for n in range(60)}
    assert taken == {0, 2}


def test_of_equal_texts_the_first_is_best_and_argmax_never_explores() -> None:
    found = choose((0.2, -0.1, 0.2), [1, 2], "argmax", 1.0, "demo-blog", "ask:1", 1)
    assert (found.index, found.explore, found.strategy) == (2, False, "argmax")
    assert choose((0.2, 0.2), [0, 1], "eps_greedy", 0.0, "demo-blog", "ask:1", 1).index == 0


def shares(scores: tuple[float, ...], strategy: str, n: int = 2000) -> dict[int, float]:
    taken = Counter(
        choose(scores, range(len(scores)), strategy, 0.1, "demo-blog", f"ask:{i}", 1).index for i in range(n)
    )
    return {i: taken[i] / n for i in range(len(scores))}


def test_a_draw_by_score_takes_better_texts_more_often_and_those_below_zero_never() -> None:
    found = shares((0.1, 0.3, -0.2), "proportional")
    assert found[0] == pytest.approx(0.25, abs=0.04) and found[2] == 0


def test_winnowing_leaves_the_best_group_alone() -> None:
    assert shares((0.9, 0.85, 0.8), "winnowed")[2] == 0
    assert shares((0.5, 0.5, 0.16), "winnowed")[2] == 0
    assert shares((0.1, 0.1), "winnowed")[1] == pytest.approx(0.5, abs=0.05)


def test_the_share_of_explored_choices_is_the_one_that_was_set() -> None:
    explored = [choose(ANSWERS, range(4), "eps_greedy", 0.15, "demo-blog", f"ask:{n}", 1).explore for n in range(2000)]
    assert sum(explored) / 2000 == pytest.approx(0.15, abs=0.025)


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=12), st.sampled_from(STRATEGIES), st.integers(1, 5))
def test_every_strategy_takes_one_of_the_texts_that_are_left(scores: list[float], strategy: str, attempt: int) -> None:
    kept = list(range(0, len(scores), 2))
    assert choose(scores, kept, strategy, 0.5, "demo-blog", "ask:7", attempt).index in kept


def test_choosing_from_nothing_or_by_an_unknown_strategy_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="nothing to choose"):
        choose((0.5,), [], "argmax", 0.1, "demo-blog", "ask:1", 1)
    with pytest.raises(ValueError, match="no strategy 'best'"):
        choose((0.5,), [0], "best", 0.1, "demo-blog", "ask:1", 1)

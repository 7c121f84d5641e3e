"""Costs of conversations: posts, words and what is hardly worth an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.cost import cost, is_year_in_review
from magpie.persona.settings import PRESETS, Tuning

NEW, OLD = Tuning(), Tuning.model_validate(PRESETS["2022"])


@pytest.mark.parametrize(("posts", "words", "found"), [(3, 20, 1.0), (2, 3, 7.7), (1, 1, 16.9), (4, 120, -1.0)])
def test_a_conversation_costs_its_posts_less_its_words_and_more_where_there_are_few(
    posts: int, words: int, found: float
) -> None:
    assert cost(posts, False, words, False, NEW) == found
    assert cost(posts, True, words, False, NEW) == found
    assert cost(posts, False, words, True, NEW) == pytest.approx(found + 15)


@pytest.mark.parametrize(("posts", "words", "found"), [(3, 20, -1.0), (2, 3, 7.4), (1, 0, 17.0)])
def test_the_older_preset_counts_every_word_twice_and_no_ask(posts: int, words: int, found: float) -> None:
    assert cost(posts, False, words, False, OLD) == found
    assert cost(posts + 1, True, words, False, OLD) == found
    assert cost(posts, False, 500, False, OLD) == posts - 100


def test_one_word_is_dropped_and_three_are_not() -> None:
    assert cost(1, False, 1, False, NEW) >= NEW.stop_cost > cost(2, False, 3, False, NEW)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 100), st.booleans())
def test_more_words_never_cost_more(fewer: int, more: int, posts: int, has_ask: bool) -> None:
    low, high = sorted((fewer, more))
    for tuning in (NEW, OLD):
        assert cost(posts, has_ask, high, False, tuning) <= cost(posts, has_ask, low, False, tuning)


@pytest.mark.parametrize(
    ("names", "tags", "html", "found"),
    [
        (["ada", "YearInReview"], [], "", True),
        (["ada"], ["Tumblr 2026 Year in Review"], "", True),
        (["ada"], ["my year-in-review"], None, True),
        (["ada"], [], '<a href="https://www.tumblr.com/year-in-review/ada">look</a>', True),
        (["ada"], ["years"], "<p>what a year in review would say</p>", False),
        ([], [], None, False),
    ],
)
def test_a_review_of_the_year_is_known_by_blog_tag_or_link(
    names: list[str], tags: list[str], html: str | None, found: bool
) -> None:
    assert is_year_in_review(names, tags, html) is found

"""Posts of the dashboard: what suits the mood, and what is passed by for its scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.dashboard import always, buff, dash_score, delta_gate, delta_ratio, passed_by
from magpie.persona.settings import PRESETS, Blog, Tuning

NEW, OLD = Tuning(), Tuning.model_validate(PRESETS["2022"])


def test_a_post_suits_the_mood_if_both_are_glad_or_both_are_sad() -> None:
    assert buff(0.8, 0.9) == pytest.approx(0.702713, abs=5e-7)
    assert buff(0.8, 0.2) == pytest.approx(-0.6)
    assert buff(0.2, 0.2) == pytest.approx(0.6)


@given(st.floats(0, 1))
def test_nothing_suits_a_neutral_mood_more_than_anything_else(sentiment: float) -> None:
    assert buff(0.5, sentiment) == 0
    assert -1 <= buff(1.0, sentiment) <= 1


def test_a_lift_is_held_against_three_quarters_with_noise() -> None:
    assert delta_ratio(-1.2, 0.5) == pytest.approx(0.602388, abs=5e-7)
    found = delta_gate(-1.2, 0.5, NEW)
    assert found is not None
    assert (found.reason, found.observed, found.threshold) == ("delta", "0.602388", "0.75")
    assert delta_gate(-1.2, 0.9, NEW) is None
    assert delta_gate(1e6, 0.0, NEW) is None


def test_the_older_preset_holds_the_lift_itself_against_its_bound() -> None:
    assert delta_gate(0.001, 1.0, OLD) is not None
    assert delta_gate(0.0011, 0.0, OLD) is None


def test_a_writer_that_gives_no_lift_stops_nothing() -> None:
    assert delta_gate(None, 0.0, NEW) is None
    assert delta_gate(None, 0.0, OLD) is None


def test_a_score_must_be_above_nothing() -> None:
    assert dash_score(0.5, 0.2, 0.5) == pytest.approx(0.53)
    found = passed_by(0.1, 0.2, 0.5, 0.5, 0.0, 0.605)
    assert found is not None
    assert found.reason == "low_score"
    assert passed_by(0.1, 0.2, 0.5, 0.5, 0.01, 0.605) is None


@pytest.mark.parametrize(
    ("risk", "sentiment", "reason"),
    [(0.2, 0.1, "negative"), (0.605, 0.5, "risky"), (0.604, 0.11, None), (None, 0.5, None), (0.9, 0.05, "negative")],
)
def test_sad_and_risky_posts_are_passed_by(risk: float | None, sentiment: float, reason: str | None) -> None:
    found = passed_by(0.9, risk, 0.5, sentiment, 0.5, 0.605)
    assert (found.reason if found else None) == reason


def test_a_tagged_post_and_one_of_a_chosen_blog_always_count() -> None:
    blog = Blog(name="demo-blog", dash_tags=("Ask the bot",), dash_always=("Ada",))
    assert always("ADA", [], blog)
    assert always("bob", ["birds", "ask the BOT"], blog)
    assert not always("bob", ["ask the bot please"], blog)

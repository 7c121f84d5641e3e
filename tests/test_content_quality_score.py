"""Quality: each point is given for what it says, and its bounds belong to it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.content.normaliser import normalise
from magpie.content.quality_score import (
    POINTS,
    Judged,
    density,
    fits,
    follows,
    occurrences,
    outline_headings,
    outline_of,
    quality,
)

HEADINGS = ("What a crm costs", "Who needs one", "How to choose", "Common mistakes")


def an_article(**more: object) -> Judged:
    filler = "Plain words that fill a line of text. "
    body = "<p>Choosing a CRM is simple.</p>"
    for heading in HEADINGS:
        body += f"<h2>{heading}</h2><p>{filler * 11}</p>"
    found = Judged("Choosing a CRM", "Choosing a CRM", "d" * 70, normalise(body).leaves, "CRM", 400, HEADINGS)
    return replace(found, **more)  # type: ignore[arg-type]


def test_an_article_as_it_should_be_has_all_points() -> None:
    found = quality(an_article(), 0.25)
    assert (found.score, found.flags) == (100, ())
    assert sum(POINTS.values()) == 100


@pytest.mark.parametrize(
    ("flag", "change"),
    [
        ("meta_title", {"meta_title": ""}),
        ("meta_title", {"meta_title": "t" * 61}),
        ("meta_description", {"meta_description": "d" * 69}),
        ("meta_description", {"meta_description": "d" * 161}),
        ("keyword_in_title", {"title": "Choosing software"}),
        ("word_count", {"target_word_count": 1000}),
        ("outline", {"outline": (*HEADINGS[:2], "Zebras", "Quantum physics")}),
        ("outline", {"outline": ()}),
    ],
)
def test_a_fault_costs_its_points_and_is_named(flag: str, change: dict[str, object]) -> None:
    found = quality(an_article(**change), 0.25)
    assert (found.score, found.flags) == (100 - POINTS[flag], (flag,))


def test_an_article_without_its_keyword_loses_everything_that_hangs_on_it() -> None:
    found = quality(an_article(primary_keyword="zoom"), 0.25)
    assert found.flags == ("keyword_in_title", "keyword_in_opening", "keyword_in_h2", "keyword_density")


def test_density_is_the_percentage_of_words_that_are_the_keyword() -> None:
    assert density(9, 2, 1400) == pytest.approx(1.2857, abs=5e-5)
    assert density(0, 2, 0) == 0
    text = "<p>" + "crm software " * 9 + "word " * 1382 + "</p>"
    judged = an_article(leaves=normalise(text).leaves, primary_keyword="crm software")
    assert "keyword_density" not in quality(judged, 0.25).flags
    assert "keyword_density" in quality(replace(judged, primary_keyword="word"), 0.25).flags


def test_a_keyword_is_found_word_for_word_only() -> None:
    assert occurrences("crm software", "CRM-Software, crm  software; crmsoftware. A crm with software") == 2
    assert occurrences("a", "a a a") == 3
    assert occurrences("", "anything") == 0


@pytest.mark.parametrize(
    ("words", "target", "tolerance", "holds"),
    [
        (1250, 1000, 0.25, True),
        (1251, 1000, 0.25, False),
        (110, 100, 0.1, True),
        (90, 100, 0.1, True),
        (89, 100, 0.1, False),
        (5, 0, 1.0, False),
    ],
)
def test_length_is_held_against_its_target_exactly(words: int, target: int, tolerance: float, holds: bool) -> None:
    assert fits(words, target, tolerance) is holds


def test_seven_of_ten_headings_of_an_outline_suffice() -> None:
    outline = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet"]
    assert follows([heading.upper() for heading in outline[:7]], outline)
    assert not follows(outline[:6], outline)


values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["intro", "h2", "heading", "h3", "points"]), inner),
)


@given(st.text() | values.map(json.dumps))
def test_an_outline_of_any_shape_is_read(text: str) -> None:
    found = outline_of(text)
    assert outline_headings(text) == [section["heading"] for section in found["h2"]]


def test_parts_of_an_outline_that_do_not_fit_are_left_out() -> None:
    given = {"intro": 5, "h2": [{"heading": "A", "h3": ["x", None], "points": "p"}, "B", {"heading": " "}]}
    assert outline_of(json.dumps(given)) == {"intro": "", "h2": [{"heading": "A", "h3": ["x"], "points": []}]}

"""Retention: good texts that were not taken stay, bad and taken ones leave, as the current models see them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.retention import Kept, closing_set

DAY = date(2026, 11, 20)


def text(name: str, p: float, day: date = DAY, version: str | None = None) -> Kept:
    return Kept(name, f"text {name}", ("tag",), p, 0.0, 0.1, day, version)


def as_they_are(texts: Sequence[Kept]) -> Sequence[Kept]:
    return texts


def closed(
    opening: Sequence[Kept], slots: Sequence[tuple[Sequence[Kept], str | None]], cutoff: float = 0.45
) -> dict[str, Kept]:
    return closing_set({one.text_sha256: one for one in opening}, slots, as_they_are, cutoff)


def test_what_was_not_taken_is_kept_also_if_only_the_mood_turned_it_away() -> None:
    new = [text("C", 0.60), text("D", 0.40), text("E", 0.90)]
    assert list(closed([text("A", 0.80), text("B", 0.50)], [(new, "C")])) == ["A", "B", "E"]


def test_a_kept_text_that_is_taken_leaves_the_set() -> None:
    assert list(closed([text("A", 0.80), text("B", 0.50)], [([text("C", 0.7)], "A")])) == ["B", "C"]


def test_a_text_has_to_lie_above_the_cutoff() -> None:
    assert closed([text("A", 0.45)], [([text("B", 0.45)], None)]) == {}


def test_slots_follow_each_other() -> None:
    first, second = ([text("A", 0.9)], None), ([text("B", 0.9)], "A")
    assert list(closed([], [first, second])) == ["B"]
    assert list(closed([], [second, first])) == ["A", "B"]


def test_the_set_is_estimated_anew_and_what_the_new_model_likes_less_leaves() -> None:
    def lower(texts: Sequence[Kept]) -> list[Kept]:
        return [replace(one, selector_p=one.selector_p - 0.2, scored_version="v2") for one in texts]

    held = closing_set({"A": text("A", 0.80), "B": text("B", 0.50)}, [], lower, 0.45)
    assert [(one.text_sha256, one.scored_version) for one in held.values()] == [("A", "v2")]


def test_a_text_that_is_written_again_keeps_the_day_on_which_it_came() -> None:
    held = closed([text("A", 0.80, date(2026, 11, 1))], [([text("A", 0.70)], None)])
    assert held["A"].added_day == date(2026, 11, 1)


def test_estimates_of_other_texts_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="other texts came back"):
        closing_set({"A": text("A", 0.80)}, [], lambda texts: [text("B", 0.9)], 0.45)


names = st.sampled_from("ABCDEF")
texts = st.lists(st.builds(text, names, st.floats(0, 1)), max_size=6)


@given(texts, st.lists(st.tuples(texts, st.none() | names), max_size=4), st.integers(0, 4))
def test_a_day_in_two_halves_closes_like_a_whole_one(
    opening: list[Kept], slots: list[tuple[list[Kept], str | None]], cut: int
) -> None:
    begun = {one.text_sha256: one for one in opening if one.selector_p > 0.45}
    whole = closing_set(begun, slots, as_they_are, 0.45)
    half = closing_set(begun, slots[:cut], as_they_are, 0.45)
    assert closing_set(half, slots[cut:], as_they_are, 0.45) == whole
    assert all(one.selector_p > 0.45 for one in whole.values()) and list(whole) == sorted(whole)

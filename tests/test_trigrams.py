"""Trigram similarity: the measure of pg_trgm, and a join that finds what comparing all pairs finds."""

import re
import sys
import unicodedata
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.text.trigrams import normalised, similar_pairs, similarities, similarity

WORDS = st.sampled_from(["cat", "cats", "a", "deploy", "Deployed", "friday", "кот", "Коты", "é", "x1", "_", "-", "  "])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join) | st.text(
    # What this Python knows as a letter or not; newer characters are known to the library alone.
    st.characters(exclude_categories=("Cs", "Cn")),
    max_size=12,
)


def plain(left: str, right: str) -> float:
    """The definition, word by word."""

    def trigrams(text: str) -> set[str]:
        lowered = unicodedata.normalize("NFC", text.lower())
        words = re.findall(r"[^\W_]+", lowered)
        return {f"  {word} "[at : at + 3] for word in words for at in range(len(word) + 1)}

    mine, theirs = trigrams(left), trigrams(right)
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 0.0


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("word", "two words", 0.363636),
        ("when the build passes on friday", "when the build passes on monday", 0.729730),
        ("когда пятница", "когда наконец пятница", 0.636364),
        ("When the BUILD passes!", "when, the build -- passes", 1.0),
        ("", "", 0.0),
        ("?!", "?!", 0.0),
    ],
)
def test_similarity_is_that_of_pg_trgm(left: str, right: str, expected: float) -> None:
    assert similarity(left, right) == pytest.approx(expected, abs=5e-7)
    assert similarity(right, left) == similarity(left, right)


@given(st.text(st.characters(codec="utf-8", categories=["L", "Nd", "P", "Zs"]), max_size=20), TEXTS)
def test_similarity_is_what_the_definition_says_word_by_word(left: str, right: str) -> None:
    assert similarity(left, right) == plain(left, right)


def test_a_letter_and_its_accent_are_one_letter_however_they_are_written() -> None:
    assert similarity("cafe\u0301 noir", "caf\u00e9 noir") == 1.0


def test_texts_are_compared_in_lower_case_without_extra_space() -> None:
    assert normalised(pl.Series([" When\n\nTHE  build ", None])).to_list() == ["when the build", None]


def test_a_text_that_nobody_read_is_similar_to_nothing_known() -> None:
    found = similarities(pl.Series(["a b", None, "x", "x"]), pl.Series(["a b", "x", None, "x"]))
    assert found.to_list() == [1.0, None, None, 1.0]
    assert similar_pairs(pl.Series([None, "x"], dtype=pl.String), pl.Series(["x", None]), 0.5).rows() == [(1, 0, 1.0)]


@settings(deadline=None)
@given(
    st.lists(TEXTS, max_size=12),
    st.lists(TEXTS, max_size=12),
    st.sampled_from([0.0, 0.1, 0.3, 0.4, 0.5, 0.6, 2 / 3, 0.9, 1.0]),
)
def test_the_join_finds_exactly_the_pairs_that_comparing_all_finds(
    left: list[str], right: list[str], minimum: float
) -> None:
    found = similar_pairs(pl.Series(left, dtype=pl.String), pl.Series(right, dtype=pl.String), minimum)
    wanted = [
        (i, j, plain(a, b))
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if plain(a, b) >= minimum and plain(a, b) > 0
    ]
    assert found.rows() == wanted


def test_the_join_goes_over_more_texts_than_it_holds_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series([f"the {number % 50} of words {number % 7} and more" for number in range(300)])
    whole = similar_pairs(texts[:60], texts, 0.7)
    monkeypatch.setattr("magpie.text.trigrams._BLOCK_TEXTS", 37)
    monkeypatch.setattr("magpie.text.trigrams._BLOCK_PAIRS", 100)
    assert whole.height > 60 and similar_pairs(texts[:60], texts, 0.7).equals(whole)


def test_the_join_finds_long_and_short_texts_alike() -> None:
    chance, words = Random(5), [f"{head}{tail}{head}" for head in "bdfgklmn" for tail in ("a", "oo", "ei", "u")]
    texts: list[str] = []
    for length in (1, 3, 8, 20, 60, 200, 600, 1500):
        for _ in range(4):
            said = [chance.choice(words) + str(chance.randrange(10**4)) for _ in range(length)]
            changed = [word if chance.random() < 0.8 else chance.choice(words) for word in said]
            texts += [" ".join(said), " ".join(changed)]
    found = similar_pairs(pl.Series(texts), pl.Series(texts[::-1]), 0.6)
    every = [(left, right) for left in texts for right in texts[::-1]]
    alike = similarities(pl.Series([left for left, _ in every]), pl.Series([right for _, right in every]))
    wanted = [(n // len(texts), n % len(texts), value) for n, value in enumerate(alike) if value >= 0.6]
    assert found.rows() == wanted and len(wanted) > len(texts)


def test_texts_in_all_letters_there_are_do_not_disturb_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magpie.text.trigrams._READ_TEXTS", 10_000)
    letters = (chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000)
    every = "".join(letter for letter in letters if letter.isalnum())
    texts = ["the cat sat", *(f"word {number}" for number in range(9000)), "the cat sits"]
    found = similar_pairs(pl.Series([every, "the cat sat"]), pl.Series([*texts, every]), 0.5)
    assert found.rows() == [(0, 9002, 1.0), (1, 0, 1.0), (1, 9001, plain("the cat sat", "the cat sits"))]

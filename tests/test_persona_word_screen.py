"""Word screen: what must not pass is found in disguise as well, and harmless words are left alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.settings import Words
from magpie.persona.word_screen import Hit, normalised, screen

WORDS = Words(
    bad=("rotten", "mud pie"),
    short=("rat",),
    safe=("rotten tomatoes", "forgotten"),
    obscured=("swindle",),
    hard_review=("lawsuit",),
    hard_reject=("forbidden",),
)


def found(*parts: str, words: Words = WORDS, **more: Any) -> list[tuple[str, str]]:
    told: dict[str, Any] = {"author": None, "input_text": None, "owner": None, "screened": (), "avoid": (), **more}
    return [(hit.type, hit.text) for hit in screen(parts, words, **told)]


@pytest.mark.parametrize(
    "text",
    [
        "how rotten",
        "ROTTEN",
        "rott\u200ben",
        "ro\u00adtten",
        "\u202erotten",
        "ｒｏｔｔｅｎ",
        "𝐫𝐨𝐭𝐭𝐞𝐧",
        "r\u0336o\u0336t\u0336t\u0336e\u0336n\u0336",
        "rott\ufe0fen",
        "rott3n",
        "ro<b>tt</b>en",
        'ro<a href="https://example.com/">tten</a>',
        "rot\x00ten",
    ],
)
def test_a_bad_word_is_found_whatever_it_is_dressed_in(text: str) -> None:
    assert found("ann", text) == [("soft", "rotten")]


@pytest.mark.parametrize(
    "text", ["I have forgotten it", "Rotten Tomatoes says", "rotten\u200b tomatoes", "rot ten", ""]
)
def test_harmless_words_that_hold_a_bad_one_are_no_hit(text: str) -> None:
    assert found(text) == []


def test_what_is_left_around_a_harmless_word_does_not_make_a_new_one() -> None:
    assert found("rot forgotten ten rotforgottenten swinforgottendle") == []
    assert found("forgotten, and rotten") == [("soft", "rotten")]


@pytest.mark.parametrize("text", ["a rat!", "rat", "(rat)", "my_rat_", "r4t", "the r@t.", "r4t!", "rat\nrace", "rat😀"])
def test_a_short_word_is_found_between_spaces_and_punctuation(text: str) -> None:
    assert found(text) == [("soft", "rat")]


@pytest.mark.parametrize("text", ["a rating", "pirate", "2rats", "rat5", "крат"])
def test_a_short_word_inside_another_is_no_hit(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text", ["s w i n d l e", "s.w-i*n d_l/e", "sw!ndle", "swin\ndle", "$ w 1 n d l 3", "s\u200bwindle"]
)
def test_a_spaced_out_word_goes_to_a_human(text: str) -> None:
    assert found(text) == [("hard_review", "swindle")]


def test_each_word_is_told_once_and_all_kinds_in_order() -> None:
    hits = found("forbidden", "Forbidden lawsuit", "rotten rotten", "forb1dden mud  pie mud pie")
    assert hits == [
        ("hard_reject", "forbidden"),
        ("hard_review", "lawsuit"),
        ("soft", "mud pie"),
        ("soft", "rotten"),
    ]


def test_names_to_avoid_are_found_anywhere_in_the_texts() -> None:
    assert found("hi", "ask @Grim-Gus about it", avoid=("grim-gus",)) == [("hard_review", "grim-gus")]


def test_the_owner_and_watched_users_are_read_by_a_human() -> None:
    assert found("ok", author="Ada", owner="ada") == [("username", "Ada")]
    assert found("ok", author="Bea", owner="ada", screened=("bea",)) == [("username", "Bea")]
    assert found("by ada", author="cleo", owner="ada", screened=("bea",)) == []
    assert found("ok", author=None, owner=None) == []


def test_an_input_over_ten_thousand_characters_is_a_hit_whatever_it_says() -> None:
    assert found("x", input_text="x" * 10_000) == []
    assert found("x", input_text="x" * 10_001) == [("input_length", "10001")]


def test_a_listed_word_of_nothing_that_shows_is_found_nowhere() -> None:
    empty = Words(
        bad=("\u200b", "\u00b4"),
        short=("\u00ad",),
        safe=("\u200d",),
        obscured=("\u200b", "!!"),
        hard_reject=("\ufe0f",),
    )
    assert found("any text, even !", words=empty) == []
    assert found("wow!!", words=empty) == [("hard_review", "!!")]


@given(st.text(max_size=80))
def test_the_compared_form_does_not_change_when_it_is_made_again(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once


@given(st.lists(st.text(max_size=40), max_size=6), st.lists(st.text(min_size=1, max_size=5), max_size=4))
def test_any_text_is_screened_and_a_listed_word_in_it_is_found(parts: list[str], listed: list[str]) -> None:
    known = tuple(word for word in listed if normalised(word.strip().lower()).strip())
    words = Words(hard_reject=known, short=known)
    hits = screen((*parts, *known), words, author=None, input_text="", owner=None, screened=(), avoid=())
    # The settings keep words in lower case and without outer white space.
    assert {Hit("hard_reject", word) for word in words.hard_reject} <= set(hits)
    assert list(hits) == sorted(set(hits))

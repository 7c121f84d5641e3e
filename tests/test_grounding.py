"""Grounding: a quote counts only if it was said, as it was said, and it is found where it was said."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.videos.grounding import ASIDE_CHARS, NEGATIONS, Grounding, Transcript, ground, normal, without_asides

INTEL = "so when I look at the valuation and the cash flow I would not touch Intel here at these prices"
TESLA = "so I am buying more Tesla today because"
WORDS = st.lists(st.text(alphabet="abcdefgh", min_size=2, max_size=6), min_size=8, max_size=60)


def captions(*texts: str, seconds: float = 3.0) -> Transcript:
    return Transcript.of([(place * seconds, (place + 1) * seconds, text) for place, text in enumerate(texts)])


def grounded(quote: str, *texts: str, near_s: int | None = None, fuzzy_min: float = 90) -> Grounding:
    return ground(quote, captions(*texts), fuzzy_min=fuzzy_min, near_s=near_s)


@pytest.mark.parametrize(
    ("said", "quote", "match", "score"),
    [
        (INTEL, "I would not touch Intel", "exact", 100.0),
        (
            INTEL,
            "when I look at the valuation and the cash flow I would touch Intel here at these prices",
            "none",
            95.4,
        ),
        (TESLA, "I'm buying more Tesla today", "fuzzy", 96.2),
        (TESLA, "I am selling all of my Tesla tomorrow", "none", 58.5),
        (TESLA, "Buy Tesla", "none", 0.0),
    ],
)
def test_a_quote_is_exact_fuzzy_or_not_said(said: str, quote: str, match: str, score: float) -> None:
    found = grounded(quote, said)
    assert (found.match, round(found.score, 1)) == (match, score)


def test_a_lost_negation_is_named_with_the_place_so_that_people_can_look() -> None:
    found = grounded("when I look at the valuation and the cash flow I would touch Intel here at these prices", INTEL)
    assert "negations: 0 quoted, 1 said" in found.observed
    assert found.located_s == 0
    assert found.span is not None
    assert " not touch " in found.span


def test_an_added_negation_is_as_bad_as_a_lost_one() -> None:
    found = grounded("so I am not buying more Tesla today because", TESLA)
    assert found.score >= 90
    assert found.match == "none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t  buy; it's OVERVALUED!", "dont buy its overvalued"),
        ("[Music] up 3.5% to $12.40. Then [laughter] down", "up 3.5% to $12.40 then down"),
        ("ＮＶＤＡ ﬁrst", "nvda first"),
        ("snake_case e-mail, 1,000", "snake case e mail 1 000"),
        ("v.2 and .5 and 2.", "v 2 and 5 and 2"),
        ("［音楽］ Straße", "strasse"),
        ("", ""),
    ],
)
def test_the_normal_form_follows_the_rules(text: str, expected: str) -> None:
    assert normal(text) == expected


def test_an_opening_bracket_alone_takes_no_speech_with_it() -> None:
    speech = "word " * ASIDE_CHARS
    assert normal(f"[ {speech} ]") == speech.strip()


def test_a_quote_over_several_captions_opens_the_first_of_them() -> None:
    found = grounded("I would not touch Intel", "so at this price I", "would not touch", "Intel here")
    assert found == Grounding("exact", 100.0, 0, "i would not touch intel", "word for word")
    assert grounded("would not touch Intel", "so at this price I", "would not touch", "Intel here").located_s == 3


def test_an_aside_within_a_quote_hides_nothing_even_over_two_captions() -> None:
    found = grounded("I really like this company", "I really [upbeat music", "playing] like", "this company")
    assert (found.match, found.located_s) == ("exact", 0)


def test_captions_without_words_shift_no_time() -> None:
    found = grounded("we are adding to the position", "hello everyone", "[Music]", "", "we are adding to the position")
    assert found.located_s == 9


def test_a_quote_said_twice_is_placed_nearest_to_where_it_is_claimed_to_be() -> None:
    texts = ("i still like this stock", *("something else entirely",) * 20, "i still like this stock")
    assert grounded("I still like this stock", *texts).located_s == 0
    assert grounded("I still like this stock", *texts, near_s=58).located_s == 63
    assert grounded("I still like this stock", *texts, near_s=4).located_s == 0


def test_captions_that_are_a_part_of_a_longer_quote_do_not_bear_it_out() -> None:
    found = grounded("so I am buying more Tesla today because everybody should put all savings in it now", TESLA)
    assert found.match == "none"
    assert found.score < 90


@pytest.mark.parametrize("texts", [(), ("",), ("[Music]", "[Applause]")])
def test_without_captions_nothing_was_said(texts: tuple[str, ...]) -> None:
    found = grounded("I would not touch Intel", *texts, fuzzy_min=50)
    assert (found.match, found.located_s, found.span) == ("none", None, None)


def test_a_quote_beyond_all_bounds_must_be_word_for_word() -> None:
    speech = "we like it a lot " * 100
    assert grounded(speech, speech).match == "exact"
    found = grounded(speech + "really", speech + "truly")
    assert (found.match, found.observed) == ("none", "1706 characters, too long to compare")


def test_the_span_of_a_fuzzy_match_is_whole_words_of_the_captions() -> None:
    found = grounded("I'm buying more Tesla today", TESLA)
    assert found.span == "am buying more tesla today"


def test_a_quote_that_only_looks_alike_gives_no_place() -> None:
    found = grounded("I am selling all of my Tesla tomorrow", TESLA)
    assert (found.located_s, found.span, found.observed) == (None, None, "58.5 alike")


def test_asides_can_be_removed_alone() -> None:
    assert without_asides("[Music] I'm  BUYING [ __ ] now") == "I'm BUYING now"


@given(st.text(alphabet=string.printable + "’éß…", max_size=200))
def test_the_normal_form_is_stable_and_holds_no_other_marks(text: str) -> None:
    once = normal(text)
    assert normal(once) == once
    assert not re.search(r"[^\w$%. ]|_|  |^ | $", once)


@given(WORDS, st.data())
def test_every_stretch_of_the_captions_is_exact_and_located_in_its_caption(
    words: list[str], data: st.DataObject
) -> None:
    width = data.draw(st.integers(1, 7))
    lines = [" ".join(words[start : start + width]) for start in range(0, len(words), width)]
    first = data.draw(st.integers(0, len(words) - 4))
    last = data.draw(st.integers(first + 4, len(words)))
    quote = " ".join(words[first:last])
    found = ground(quote, captions(*lines, seconds=1.0), fuzzy_min=90, near_s=first // width)
    assert (found.match, found.score) == ("exact", 100.0)
    # The quote may begin within an equal word elsewhere, but never farther away than where it was taken from.
    assert found.located_s is not None
    assert found.located_s == first // width


@given(WORDS, st.sampled_from(sorted(NEGATIONS)), st.data())
def test_a_negation_put_into_a_quote_never_leaves_it_grounded(
    words: list[str], negation: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(1, len(words) - 1))
    quote = " ".join([*words[:place], negation, *words[place:]])
    found = ground(quote, captions(" ".join(words) + " and more words after that"), fuzzy_min=90)
    assert found.match == "none"


@given(st.text(max_size=80), st.lists(st.text(max_size=40), max_size=6), st.sampled_from([50.0, 90.0, 100.0]))
def test_whatever_is_quoted_the_answer_is_whole(quote: str, texts: list[str], fuzzy_min: float) -> None:
    transcript = captions(*texts)
    found = ground(quote, transcript, fuzzy_min=fuzzy_min)
    assert 0 <= found.score <= 100
    assert (found.span is None) == (found.located_s is None)
    if found.span is not None:
        assert f" {found.span} " in f" {transcript.text} " or found.match == "exact"
    if found.match != "none":
        assert found.score >= fuzzy_min

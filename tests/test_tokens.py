"""Folding and tokens: the rules, and a fast version that is never different from the plain one."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from magpie.text.stopwords import STOP_WORDS
from magpie.text.tokens import PLAIN_RANGES, folded, folded_texts, token_count, token_strings, tokenise, wrapped

# Weighted towards what the rules are about: white space of all kinds, apostrophes, brackets, addresses.
PIECES = st.one_of(
    st.sampled_from(
        ["http://", "HTTPS://", "www.", "WWW.a", "'", "’", "\uff07", "_", "(", ")", "]", '"', "<", "-", ".", "/"]
    ),
    st.sampled_from([" ", "\n", "\x1c", "\x1f", "\x0b", "\x85", "\xa0", "\x00"]),
    st.sampled_from(["a", "B", "9", "é", "ﬁ", "İ", "ß", "²", "日本", "\u0301"]),
    st.sampled_from(["“", "…", "—", "\u200b", "\u200d", "\ufe0f", "🚀", "👩\u200d🚀", "❤\ufe0f", "€", "→"]),
)
TEXT = st.one_of(
    st.text(), st.lists(PIECES, max_size=25).map("".join), st.text(alphabet=st.characters(max_codepoint=127))
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't use the agency’s CRM!", ["dont", "use", "the", "agencys", "crm"]),
        ("snake_case e-mail C++ 3.5%", ["snake", "case", "e", "mail", "c", "3", "5"]),
        ("see https://example.org/a_b?c=it's#d now", ["see", "now"]),
        ("[my tool](http://example.org/x)or www.example.org, ok", ["my", "tool", "or", "ok"]),
        ("awww.example.org is no address", ["awww", "example", "org", "is", "no", "address"]),
        ("ＣＲＭ ﬁnance Straße", ["crm", "finance", "strasse"]),
        ("", []),
        ("… !", []),
    ],
)
def test_tokens_follow_the_rules(text: str, expected: list[str]) -> None:
    assert tokenise(text) == expected


def test_folding_keeps_punctuation_and_collapses_white_space() -> None:
    assert folded("  Why\u00a0NOT,\n\t ﬁne? ") == "why not, fine?"


@given(st.lists(st.one_of(st.none(), TEXT), max_size=8))
@example(["plain", None, "ünï", "", "a\x1cb"])
def test_the_column_version_of_tokens_equals_the_plain_one(texts: list[str | None]) -> None:
    expected = [None if text is None else wrapped(tokenise(text)) for text in texts]
    assert token_strings(pl.Series("t", texts, dtype=pl.String)).to_list() == expected


@given(st.lists(st.one_of(st.none(), TEXT), max_size=8))
@example(["A  b", None, "Ü \x85 b", "", "\x1fa\x1e"])
def test_the_column_version_of_folding_equals_the_plain_one(texts: list[str | None]) -> None:
    expected = [None if text is None else folded(text) for text in texts]
    assert folded_texts(pl.Series("t", texts, dtype=pl.String)).to_list() == expected


def test_a_column_keeps_its_name_and_order() -> None:
    texts = pl.Series("body", ["b", "é", "a", "ß"])
    assert token_strings(texts).name == "body"
    assert token_strings(texts).to_list() == [" b ", " é ", " a ", " ss "]


@given(st.lists(st.sampled_from(["a", "b", "ab"]), max_size=10), st.sampled_from(["a", "b", "ab"]))
def test_wrapped_tokens_can_be_counted_and_searched_as_literals(tokens: list[str], term: str) -> None:
    column = pl.DataFrame({"tokens": [wrapped(tokens)]})
    assert column.select(token_count(pl.col("tokens"))).item() == len(tokens)
    assert column["tokens"].str.count_matches(f" {term} ", literal=True).item() == tokens.count(term)
    neighbours = any(pair == (term, "b") for pair in pairwise(tokens))
    assert column["tokens"].str.contains(wrapped([term, "b"]), literal=True).item() == neighbours


def test_every_stop_word_can_meet_a_token() -> None:
    assert all(tokenise(word) == [word] for word in STOP_WORDS)


def test_every_character_that_the_column_version_takes_for_plain_is_plain() -> None:
    characters = [chr(code) for first, last in PLAIN_RANGES for code in range(first, last + 1)]
    for frame in ("{}", "a{}b", "{}www.x.org a", "http://x{}y z", "'{}'s", "e{}\u200b"):
        texts = [frame.format(character) for character in characters]
        series = pl.Series("t", texts, dtype=pl.String)
        assert token_strings(series).to_list() == [wrapped(tokenise(text)) for text in texts]
        assert folded_texts(series).to_list() == [folded(text) for text in texts]

"""Keywords: the grammar against a plain reference, and what counts as which kind of match."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.leads.keywords import (
    CompiledKeyword,
    compile_keyword,
    could_match,
    keyword_set_hash,
    matches,
    parse_keyword,
    query_terms,
)
from magpie.text.tokens import token_strings, tokenise


def rows_of(*texts: str, queries: list[list[str]] | None = None) -> pl.DataFrame:
    return pl.DataFrame({"text": texts}, schema={"text": pl.String}).with_columns(
        token_strings(pl.Series("text", texts, dtype=pl.String)).alias("tokens"),
        pl.Series("matched_queries", queries or [[] for _ in texts], dtype=pl.List(pl.String)),
    )


def match(text: str, *keywords: str, queries: list[str] | None = None) -> dict[str, Any] | None:
    """How one text matches, None where it does not."""
    found = matches([compile_keyword(word) for word in keywords], rows_of(text, queries=[queries or []]))
    return found.select("match_kind", "matched_keywords", "keyword_hits").to_dicts()[0] if found.height else None


def kind(text: str, *keywords: str) -> str | None:
    found = match(text, *keywords)
    return None if found is None else str(found["match_kind"])


def test_two_keywords_with_a_strict_hit_each_count_two() -> None:
    assert match("invoices for CRM", "crm", "invoice*") == {
        "match_kind": "phrase",
        "matched_keywords": ["crm", "invoice*"],
        "keyword_hits": 2,
    }


def test_the_words_of_a_phrase_in_another_order_match_but_are_no_hit() -> None:
    assert match("marketing by email", "email marketing") == {
        "match_kind": "tokens",
        "matched_keywords": ["email marketing"],
        "keyword_hits": 0,
    }


@pytest.mark.parametrize(
    ("text", "keyword", "expected"),
    [
        ("our email marketing works", "email marketing", "phrase"),
        ("e-mail marketing", "email marketing", None),
        ("Don't use the agency’s CRM!", "agencys crm", "phrase"),
        ("ＣＲＭ for Straße", "crm + STRASSE", "phrase"),
        ("crm, then later a small agency", "crm + small agency", "phrase"),
        ("crm, then later an agency so small", "crm + small agency", "tokens"),
        ("crm without the other", "crm + small agency", None),
        ("invoicing is slow", "invoic*", "phrase"),
        ("reinvoicing", "invoic*", None),
        ("email marketers", "email market*", "phrase"),
        ("marketers by email", "email market*", "tokens"),
        ("two invoices", "invoice", "prefix"),
        ("invoicexyz", "invoice", "prefix"),
        ("invoicewxyz", "invoice", None),
        ("crms", "crm", None),
        ("many spreadsheets", "good spreadsheet", None),
        ("see https://crm.example.org/crm now", "crm", None),
        ("", "crm", None),
    ],
)
def test_a_keyword_finds_what_the_grammar_says(text: str, keyword: str, expected: str | None) -> None:
    assert kind(text, keyword) == expected


def test_the_strongest_kind_of_any_keyword_is_kept() -> None:
    assert kind("email marketing", "marketing email", "email marketing") == "phrase"
    assert kind("two invoices, marketing by email", "invoice", "email marketing") == "tokens"
    assert match("two invoices", "invoice", queries=["invoice"]) == {
        "match_kind": "prefix",
        "matched_keywords": ["invoice"],
        "keyword_hits": 0,
    }


def test_a_post_that_only_the_search_matched_counts_as_query_and_has_no_hit() -> None:
    assert match("nothing of it", "crm", queries=["crm"]) == {
        "match_kind": "query",
        "matched_keywords": ["crm"],
        "keyword_hits": 0,
    }
    assert match("nothing of it", "crm", queries=["a search of another campaign"]) is None


def test_paused_and_excluded_keywords_match_nothing() -> None:
    words = [compile_keyword("crm", active=False), compile_keyword("hiring", "exclude"), compile_keyword("tool")]
    assert matches(words, rows_of("hiring for crm")).is_empty()
    found = matches(words, rows_of("hiring for a crm tool"))
    assert found["matched_keywords"].to_list() == [["tool"]]


@pytest.mark.parametrize(
    ("keyword", "complaint"),
    [
        ("*", "at least one letter or digit"),
        ("!!!", "at least one letter or digit"),
        ("crm + ", None),
        ("crm + +", "at least one letter or digit"),
        ("crm + *", "at least one letter or digit"),
        ("in*voice", "only stand at the end"),
        ("a* b", "only stand at the end"),
        ("https://example.org/crm", "at least one letter or digit"),
    ],
)
def test_a_wrong_keyword_is_one_line(keyword: str, complaint: str | None) -> None:
    if complaint is None:
        assert parse_keyword(keyword)
        return
    with pytest.raises(ValueError, match=complaint) as caught:
        parse_keyword(keyword)
    assert "\n" not in str(caught.value)


def test_the_set_of_keywords_is_known_by_words_and_weights_whatever_their_order_or_spelling() -> None:
    words = [compile_keyword("crm"), compile_keyword("Email  Marketing", weight=0.5)]
    base = keyword_set_hash(words)
    assert keyword_set_hash([compile_keyword("email marketing", weight=0.5), compile_keyword("CRM")]) == base
    assert keyword_set_hash([*words, compile_keyword("old", active=False)]) == base
    assert keyword_set_hash([*words, compile_keyword("hiring", "exclude")]) == base
    assert keyword_set_hash([compile_keyword("crm"), compile_keyword("email marketing")]) != base


def test_the_query_is_the_distinct_words_of_active_included_keywords_without_stop_words() -> None:
    words = [
        compile_keyword("how to do email marketing"),
        compile_keyword("email + crm"),
        compile_keyword("invoic*"),
        compile_keyword("hiring", "exclude"),
        compile_keyword("old", active=False),
    ]
    assert query_terms(words) == ["crm", "email", "invoic*", "marketing"]


# A plain matcher over lists of tokens, as the specification reads.


def holds(tokens: list[str], phrase: tuple[str, ...], open_ended: bool) -> bool:
    for start in range(len(tokens) - len(phrase) + 1):
        part = tokens[start : start + len(phrase)]
        last_fits = part[-1].startswith(phrase[-1]) if open_ended else part[-1] == phrase[-1]
        if part[:-1] == list(phrase[:-1]) and last_fits:
            return True
    return False


def reference(tokens: list[str], keyword: CompiledKeyword, queries: list[str]) -> str | None:
    if all(holds(tokens, phrase.tokens, phrase.open_ended) for phrase in keyword.phrases):
        return "phrase"
    single = [
        holds(tokens, (token,), phrase.open_ended and position == len(phrase.tokens) - 1)
        for phrase in keyword.phrases
        for position, token in enumerate(phrase.tokens)
    ]
    if all(single):
        return "tokens"
    word = keyword.phrases[0].tokens
    bare = len(keyword.phrases) == len(word) == 1 and not keyword.phrases[0].open_ended
    longest = len(word[0]) + 3
    if bare and len(word[0]) >= 4 and any(token.startswith(word[0]) and len(token) <= longest for token in tokens):
        return "prefix"
    return "query" if keyword.keyword in queries else None


WORDS = st.sampled_from(["crm", "crms", "mail", "mails", "mailing", "mailings", "a", "b", "ab", "日本", "日本語の帳簿"])
PHRASE = st.builds(
    lambda words, star: " ".join(words) + star, st.lists(WORDS, min_size=1, max_size=3), st.sampled_from(["", "*"])
)
KEYWORD = st.lists(PHRASE, min_size=1, max_size=2).map(" + ".join)
TEXT = st.lists(st.one_of(WORDS, st.sampled_from(["\n", "'", "http://x.org/crm", "ＭＡＩＬ", "…"])), max_size=10).map(
    " ".join
)
STRENGTH = ["phrase", "tokens", "prefix", "query"]


@settings(max_examples=150, deadline=None)
@given(
    keywords=st.lists(KEYWORD, min_size=1, max_size=4, unique_by=lambda word: compile_keyword(word).norm),
    texts=st.lists(st.tuples(TEXT, st.lists(st.sampled_from(["crm", "mail"]), max_size=1)), min_size=1, max_size=6),
)
def test_columns_match_as_a_plain_matcher_over_token_lists(
    keywords: list[str], texts: list[tuple[str, list[str]]]
) -> None:
    words = [compile_keyword(word) for word in keywords]
    rows = rows_of(*[text for text, _ in texts], queries=[queries for _, queries in texts]).with_row_index("n")
    found = {row["n"]: row for row in matches(words, rows).to_dicts()}
    kept = rows.filter(could_match(words, pl.col("tokens"), pl.col("matched_queries")))["n"].to_list()
    for number, (text, queries) in enumerate(texts):
        kinds = {word.norm: reference(tokenise(text), word, queries) for word in words}
        hit = {norm: how for norm, how in kinds.items() if how}
        if not hit:
            assert number not in found
            continue
        assert number in kept
        row = found[number]
        assert row["match_kind"] == min(hit.values(), key=STRENGTH.index)
        assert row["matched_keywords"] == sorted(hit)
        assert row["keyword_hits"] == sum(how == "phrase" for how in hit.values())

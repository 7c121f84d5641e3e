"""BM25 and the fused score: the numbers of the specification, and scores that no other row can change."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.text.bm25 import bm25_expr, fused_v0, fused_v1, idf, kw_n, term_frequency
from magpie.text.tokens import token_count, wrapped

FOUR_TEXTS = (
    "looking for a crm tool any crm for small teams",
    "our invoicing tool is slow",
    "what do you use for invoicing and crm",
    "cat pictures thread",
)


def corpus_of(texts: tuple[str, ...] | list[str]) -> pl.DataFrame:
    frame = pl.DataFrame({"tokens": [wrapped(text.split()) for text in texts]}, schema={"tokens": pl.String})
    return frame.with_columns(token_count(pl.col("tokens")).alias("length"))


def idf_in(corpus: pl.DataFrame, term: str, floor: float = 0.5) -> float:
    df = pl.col("tokens").str.contains(f" {term} ", literal=True).sum()
    return corpus.select(idf(df, pl.len(), floor)).item()


def value(expression: pl.Expr) -> float:
    return pl.select(expression).item()


@pytest.mark.parametrize(("bm25", "expected"), [(0, 0.0), (1, 0.409384), (5, 0.641803), (10, 0.705700)])
def test_keyword_score_is_brought_below_one(bm25: float, expected: float) -> None:
    assert value(kw_n(pl.lit(float(bm25)))) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(
    ("bm25", "expected"),
    [(0, (0.180, 0.270, 0.360)), (1, (0.344, 0.434, 0.524)), (5, (0.437, 0.527, 0.617)), (10, (0.462, 0.552, 0.642))],
)
def test_fused_score_weighs_meaning_and_words(bm25: float, expected: tuple[float, ...]) -> None:
    found = [value(fused_v1(pl.lit(float(bm25)), pl.lit(cosine), 0.6)) for cosine in (0.30, 0.45, 0.60)]
    assert found == pytest.approx(expected, abs=5.001e-4)


def test_the_older_fused_score_is_still_available_for_comparison() -> None:
    assert value(fused_v0(pl.lit(5.0), pl.lit(0.45), 0.6)) == pytest.approx(2.061759, abs=5e-7)


@pytest.mark.parametrize("batch", [1, 16, 128])
def test_four_texts_score_as_specified_in_every_batch(batch: int) -> None:
    corpus = corpus_of(FOUR_TEXTS)
    weights = {term: idf_in(corpus, term) for term in ("crm", "invoicing")}
    assert list(weights.values()) == pytest.approx([0.693147, 0.693147], abs=5e-7)
    bm25 = bm25_expr(pl.col("tokens"), pl.col("length"), weights, 6.5, 1.2, 0.75)
    parts = [part.select(bm25=bm25, fused=fused_v1(bm25, pl.lit(0.5), 0.6)) for part in corpus.iter_slices(batch)]
    scores = pl.concat(parts)
    assert scores["bm25"].to_list() == pytest.approx([0.827725, 0.765406, 1.266710, 0], abs=5e-7)
    assert scores["fused"].to_list() == pytest.approx([0.450479, 0.444960, 0.480018, 0.300000], abs=5e-7)


def test_a_keyword_in_every_text_still_counts_because_of_the_floor() -> None:
    assert value(idf(pl.lit(1000), pl.lit(1000), 0.0)) == pytest.approx(0.0005, abs=5e-7)
    weight = value(idf(pl.lit(1000), pl.lit(1000), 0.5))
    one_hit = corpus_of(["crm tool"]).select(
        bm25_expr(pl.col("tokens"), pl.col("length"), {"crm": weight}, 2.0, 1.2, 0.75)
    )
    assert one_hit.item() == pytest.approx(0.5)
    assert value(kw_n(pl.lit(one_hit.item()))) == pytest.approx(0.288492, abs=5e-7)


def test_idf_and_average_length_may_differ_by_row() -> None:
    frame = corpus_of(["crm", "crm"]).with_columns(idf=pl.Series([1.0, 2.0]), avglen=pl.Series([1.0, 2.0]))
    by_column = frame.select(
        bm25_expr(pl.col("tokens"), pl.col("length"), {"crm": pl.col("idf")}, pl.col("avglen"), 1.2, 0.75)
    )
    by_number = [
        frame[row : row + 1]
        .select(bm25_expr(pl.col("tokens"), pl.col("length"), {"crm": weight}, weight, 1.2, 0.75))
        .item()
        for row, weight in enumerate((1.0, 2.0))
    ]
    assert by_column.to_series().to_list() == by_number


def test_a_query_without_terms_and_a_text_without_tokens_score_zero() -> None:
    frame = corpus_of(["crm", ""])
    nothing_asked = frame.with_columns(bm25=bm25_expr(pl.col("tokens"), pl.col("length"), {}, 1.0, 1.2, 0.75))
    assert nothing_asked["bm25"].to_list() == [0.0, 0.0]
    empty_corpus = frame[1:].select(bm25_expr(pl.col("tokens"), pl.col("length"), {"crm": 1.0}, 0.0, 1.2, 0.75))
    assert empty_corpus.item() == 0.0


def test_neighbouring_occurrences_all_count_and_parts_of_words_do_not() -> None:
    frame = corpus_of(["crm crm crmx xcrm crm"])
    assert frame.select(term_frequency(pl.col("tokens"), "crm")).item() == 3


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12).map(" ".join), min_size=1, max_size=30))
def test_a_score_has_the_same_bits_alone_and_among_others_and_follows_the_formula(texts: list[str]) -> None:
    corpus = corpus_of(texts)
    weights = {term: 0.5 + math.sqrt(ord(term)) for term in "hgfedcba"}
    bm25 = bm25_expr(pl.col("tokens"), pl.col("length"), weights, 5.3, 1.2, 0.75)
    scores = {
        "bm25": bm25,
        "fused": fused_v1(bm25, pl.col("length") * 0.03, 0.15),
        "idf": idf(pl.col("length"), pl.lit(12), 0.5),
    }
    together = corpus.select(**scores)
    assert together.rows() == [part.select(**scores).row(0) for part in corpus.iter_slices(1)]
    for score, text in zip(together["bm25"], texts, strict=True):
        words = text.split()
        norm = 1.2 * (1 - 0.75 + 0.75 * len(words) / 5.3)
        expected = sum(w * words.count(t) * 2.2 / (words.count(t) + norm) for t, w in weights.items())
        assert score == pytest.approx(expected)


def test_a_query_of_a_thousand_terms_is_no_problem() -> None:
    weights = {f"term{n}": 1.0 for n in range(1000)}
    frame = corpus_of([" ".join(weights)])
    total = frame.select(bm25_expr(pl.col("tokens"), pl.col("length"), weights, 1000.0, 1.2, 0.75)).item()
    assert total == pytest.approx(1000.0)

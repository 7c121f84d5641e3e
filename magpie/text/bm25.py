"""BM25 over columns of wrapped tokens, and the fused score of words and meaning.

Belongs here: the formulas as Polars expressions without state. Does not belong here: which texts form the corpus,
which words form the query, and the values of k1, b, w_cos and the floor (settings).

Every score is the same to the last bit whatever other rows are in the frame: a row's terms are added along a tree
that depends on the sorted terms alone. (`pl.sum_horizontal` splits its columns among the threads that happen to be
free, and floating-point addition is not associative.) For the same reason a / b is written a · (1 / b): the engine
divides a column by a single value by way of the reciprocal, except in a frame of one row.
"""

from collections.abc import Mapping

import polars as pl


def term_frequency(tokens: pl.Expr, term: str) -> pl.Expr:
    """Return how often a token occurs in a wrapped-token string (`tokens.py`); `invoic*` counts all that begin so."""
    needle = f" {term[:-1]}" if term.endswith("*") else f" {term} "
    return tokens.str.count_matches(needle, literal=True)


def idf(df: pl.Expr, n: pl.Expr, floor: float) -> pl.Expr:
    """Return max(floor, ln(1 + (n − df + 0.5) / (df + 0.5))).

    Args:
        df: texts of the corpus that hold the term, 0 ≤ df ≤ n.
        n: texts of the corpus.
        floor: keeps a term that every text holds from counting for nothing.
    """
    rarity = _ratio(n.cast(pl.Float64) - df + 0.5, df.cast(pl.Float64) + 0.5)
    return pl.max_horizontal(rarity.log1p(), pl.lit(floor))


def bm25_expr(
    tokens: pl.Expr,
    length: pl.Expr,
    idf_by_term: Mapping[str, pl.Expr | float],
    avglen: pl.Expr | float,
    k1: float,
    b: float,
) -> pl.Expr:
    """Return Σ idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·length/avglen)), 0 for a query without terms.

    The factor (k1 + 1), which some engines drop, is kept: fused scores depend on the absolute size of BM25.

    Args:
        tokens: wrapped-token string of the text.
        length: number of tokens in it.
        idf_by_term: the query; idf as a number, or as a column where it differs by row.
        avglen: mean length in the corpus, as a number or a column.
        k1: saturation of repeated terms, ≥ 0.
        b: how far length is discounted, 0 to 1.
    """
    mean_length = avglen if isinstance(avglen, pl.Expr) else pl.lit(float(avglen))
    discount = (_ratio(length.cast(pl.Float64), mean_length) * b + (1.0 - b)) * k1
    terms = [_term(term_frequency(tokens, term), idf_by_term[term], discount, k1) for term in sorted(idf_by_term)]
    return _tree_sum(terms) if terms else pl.lit(0.0)


def kw_n(bm25: pl.Expr) -> pl.Expr:
    """Return kw / (1 + kw) with kw = ln(1 + bm25): BM25 brought into [0, 1)."""
    kw = bm25.log1p()
    return _ratio(kw, kw + 1.0)


def fused_v1(bm25: pl.Expr, cosine: pl.Expr, w_cos: float) -> pl.Expr:
    """Return w_cos · cosine + (1 − w_cos) · kw_n, in [0, 1] for a cosine in [0, 1]."""
    return cosine * w_cos + kw_n(bm25) * (1.0 - w_cos)


def fused_v0(bm25: pl.Expr, cosine: pl.Expr, w_cos: float) -> pl.Expr:
    """Return ln(1 + bm25) + w_cos · cosine, the unbounded older score, kept for comparison."""
    return bm25.log1p() + cosine * w_cos


def _term(frequency: pl.Expr, weight: pl.Expr | float, discount: pl.Expr, k1: float) -> pl.Expr:
    tf = frequency.cast(pl.Float64)
    # An empty corpus has avglen 0 and so a meaningless discount, but then no term occurs either.
    return pl.when(frequency > 0).then(_ratio(weight * tf * (k1 + 1.0), tf + discount)).otherwise(0.0)


def _ratio(above: pl.Expr, below: pl.Expr) -> pl.Expr:
    return above * (1.0 / below)


def _tree_sum(terms: list[pl.Expr]) -> pl.Expr:
    """Add neighbours until one is left; a chain of a thousand additions would nest too deeply."""
    while len(terms) > 1:
        pairs = [left + right for left, right in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]

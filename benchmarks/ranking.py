"""How well each score ranks, on the Cranfield collection: 1 400 abstracts, 225 questions, graded judgements.

Belongs here: reading the collection, the two measures, the table. Does not belong here: the scores themselves
(`magpie/text`) and thresholds for posts (`calibrate_minilm.py`).

    python -m benchmarks.ranking [--data DIRECTORY]

A document is its `.T` and `.W` joined; a query is its distinct tokens without stop words; nothing is stemmed. The
questions are numbered by their order in the file, as the judgements are; the `.I` numbers of the file are others.
Codes 1 to 4 count as relevant; the code -1 that the file uses beside them does not. Equal scores rank in the order
of the documents.
"""

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from magpie.errors import UserError
from magpie.text.bm25 import bm25_expr, fused_v1, idf
from magpie.text.embedder import Embedder
from magpie.text.embedders import EMBEDDERS, embedder_named
from magpie.text.similarity import cosine_rows
from magpie.text.stopwords import STOP_WORDS
from magpie.text.tokens import token_count, token_strings, tokenise

Scores = npt.NDArray[np.float64]

DEFAULT_DATA = Path("../shared/data/labelled/ir_cranfield")
RELEVANT_CODES = range(1, 5)
CUTOFF = 10

# The settings of the product; the floor on idf is 0.5 there too, and no query term of this collection reaches it.
K1, B, IDF_FLOOR = 1.2, 0.75, 0.5
# For MiniLM the middle of the flat top of the sweep, which both halves of the queries choose from.
W_COS = {"offline-hash-1024": 0.15, "all-minilm-l6-v2": 0.35}
SWEEP = tuple(round(step * 0.05, 2) for step in range(20))


@dataclass(frozen=True)
class Collection:
    """Texts in file order, and per query the positions of its relevant documents."""

    documents: tuple[str, ...]
    queries: tuple[str, ...]
    relevant: tuple[frozenset[int], ...]


@dataclass(frozen=True)
class Quality:
    """Means over the queries; each in 0 to 1."""

    ndcg: float
    mean_average_precision: float


def read_cranfield(directory: Path) -> Collection:
    """Read `cran.all.1400`, `cran.qry` and `cranqrel`.

    Raises:
        UserError: the collection is not there.
    """
    if not (directory / "cran.all.1400").is_file():
        raise UserError(f"no Cranfield collection in {directory}; name its directory with --data")
    documents = tuple(f"{entry['T']}\n{entry['W']}" for entry in _entries(directory / "cran.all.1400"))
    queries = tuple(entry["W"] for entry in _entries(directory / "cran.qry"))
    relevant: list[set[int]] = [set() for _ in queries]
    for line in (directory / "cranqrel").read_text("latin-1").splitlines():
        query, document, code = (int(part) for part in line.split())
        if code in RELEVANT_CODES:
            relevant[query - 1].add(document - 1)
    return Collection(documents, queries, tuple(frozenset(each) for each in relevant))


def bm25_scores(collection: Collection) -> Scores:
    """Return BM25 of shape (queries, documents)."""
    tokens = token_strings(pl.Series("tokens", collection.documents))
    corpus = tokens.to_frame().with_columns(token_count(pl.col("tokens")).alias("length"))
    avglen = float(corpus["length"].cast(pl.Float64).mean())  # type: ignore[arg-type]
    queries = [sorted(set(tokenise(query)) - STOP_WORDS) for query in collection.queries]
    terms = sorted(set().union(*queries))
    held = corpus.select(pl.col("tokens").str.contains(f" {term} ", literal=True).sum().alias(term) for term in terms)
    weights = held.select(idf(pl.col(term), pl.lit(corpus.height), IDF_FLOOR).alias(term) for term in terms).row(0)
    idf_of = dict(zip(terms, weights, strict=True))
    scored = corpus.select(
        bm25_expr(pl.col("tokens"), pl.col("length"), {term: idf_of[term] for term in query}, avglen, K1, B).alias(
            str(number)
        )
        for number, query in enumerate(queries)
    )
    return scored.to_numpy().T.astype(np.float64)


def cosine_scores(collection: Collection, embedder: Embedder) -> Scores:
    """Return max(0, cosine) of shape (queries, documents)."""
    documents = embedder.embed(collection.documents)
    queries = embedder.embed(collection.queries).astype(np.float64)
    return np.maximum(0.0, np.stack([cosine_rows(documents, query) for query in queries]))


def fused_scores(bm25: Scores, cosine: Scores, w_cos: float) -> Scores:
    """Return fused score v1 of shape (queries, documents)."""
    flat = pl.DataFrame({"bm25": bm25.ravel(), "cosine": cosine.ravel()})
    fused = flat.select(fused_v1(pl.col("bm25"), pl.col("cosine"), w_cos).alias("fused"))["fused"]
    return fused.to_numpy().reshape(bm25.shape)


def quality(scores: Scores, relevant: Sequence[frozenset[int]]) -> Quality:
    """Return binary nDCG@10 and MAP over the queries with a relevant document; `scores` is (queries, documents)."""
    chosen = [number for number, documents in enumerate(relevant) if documents]
    rankings = [np.argsort(-scores[number], kind="stable") for number in chosen]
    gains = [np.isin(ranking, list(relevant[number])) for number, ranking in zip(chosen, rankings, strict=True)]
    return Quality(
        sum(_ndcg(gain) for gain in gains) / len(gains), sum(_average_precision(gain) for gain in gains) / len(gains)
    )


def _ndcg(gain: npt.NDArray[np.bool_]) -> float:
    discounts = [1 / math.log2(rank + 2) for rank in range(CUTOFF)]
    best = sum(discounts[: int(gain.sum())])
    return sum(discount for discount, hit in zip(discounts, gain, strict=False) if hit) / best


def _average_precision(gain: npt.NDArray[np.bool_]) -> float:
    ranks = np.flatnonzero(gain) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def _entries(path: Path) -> list[dict[str, str]]:
    """Split a file of `.I` entries into its one-letter fields."""
    entries = re.split(r"^\.I .*\n", path.read_text("latin-1"), flags=re.MULTILINE)[1:]
    return [
        dict(re.findall(r"^\.([TABW])\n(.*?)(?=^\.[TABW]\n|\Z)", entry, re.MULTILINE | re.DOTALL)) for entry in entries
    ]


def _available() -> list[Embedder]:
    found = []
    for model in sorted(EMBEDDERS):
        try:
            found.append(embedder_named(model))
        except UserError as error:
            print(f"left out: {error}")
    return found


def main() -> None:
    """Print one line per score, and the fused score over a sweep of w_cos with a check by halves of the queries."""
    parser = argparse.ArgumentParser(description="Ranking quality on the Cranfield collection")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    collection = read_cranfield(parser.parse_args().data)
    bm25 = bm25_scores(collection)
    print("| score | nDCG@10 | MAP |\n|---|---|---|")
    _print_row("BM25", quality(bm25, collection.relevant))
    for embedder in _available():
        cosine = cosine_scores(collection, embedder)
        _print_row(f"cosine, {embedder.model}", quality(cosine, collection.relevant))
        sweep = {w_cos: fused_scores(bm25, cosine, w_cos) for w_cos in SWEEP}
        for w_cos, fused in sweep.items():
            mark = " (the setting)" if w_cos == W_COS[embedder.model] else ""
            _print_row(f"fused, {embedder.model}, w_cos {w_cos:.2f}{mark}", quality(fused, collection.relevant))
        _print_halves(collection, sweep, embedder.model)


def _print_halves(collection: Collection, sweep: dict[float, Scores], model: str) -> None:
    """Choose w_cos on the queries of one parity and report it on the others: the sweep above is in-sample."""
    halves = [slice(0, None, 2), slice(1, None, 2)]
    for inside, outside in (halves, halves[::-1]):
        found = {w_cos: quality(fused[inside], collection.relevant[inside]).ndcg for w_cos, fused in sweep.items()}
        chosen = max(found, key=found.__getitem__)
        result = quality(sweep[chosen][outside], collection.relevant[outside])
        _print_row(f"fused, {model}, w_cos {chosen:.2f} chosen on the other half", result)


def _print_row(name: str, result: Quality) -> None:
    print(f"| {name} | {result.ndcg:.4f} | {result.mean_average_precision:.4f} |")


if __name__ == "__main__":
    main()

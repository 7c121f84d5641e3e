"""Thresholds for the cosines of all-MiniLM-L6-v2, by matching what the offline embedder's thresholds keep and drop.

Belongs here: the posts, the keyword sets and the matching. Does not belong here: the thresholds in use
(`magpie/leads/calibration.yaml`) and ranking quality, from which w_cos comes (`ranking.py`).

    python -m benchmarks.calibrate_minilm [--data DIRECTORY]

Cosines of different models do not share a scale, so a threshold cannot be carried over by its value. It is carried
over by its effect on real posts instead: the top posts of six business subreddits, scored against four keyword sets.
A hit is a post with a strict hit of the set; all others count as unrelated, which a few are not.

- `cosine_threshold` (gate 8) keeps the share of hits that 0.05 keeps with `offline-hash-1024`: a candidate has matched
  a keyword, so nearly all that this gate judges are hits. Matching the dropped unrelated posts instead gives 0.24 and
  loses 15 % of the hits more: a post that names a keyword in passing is near it in words, which the offline embedder
  measures, but not in meaning.
- `keyword_alt_cosine` (gate 10) drops the share of unrelated posts that 0.15 drops there: the gate asks for it only
  where there is no strict hit.
- `min_fused` (gate 11) keeps the share of hits that 0.42 keeps there, each model with its own w_cos.

Result, rounded: cosine_threshold 0.18, keyword_alt_cosine 0.45, min_fused 0.36, with w_cos 0.35.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.ranking import IDF_FLOOR, K1, W_COS, B, fused_scores
from magpie.errors import UserError
from magpie.text.bm25 import bm25_expr, idf
from magpie.text.cut import cut_utf8
from magpie.text.embedder import Embedder
from magpie.text.embedders import embedder_named
from magpie.text.similarity import centroid, cosine_rows
from magpie.text.stopwords import STOP_WORDS
from magpie.text.tokens import token_count, token_strings, tokenise, wrapped

Scores = npt.NDArray[np.float64]

DEFAULT_DATA = Path("../shared/data/reddit/top2013")
SUBREDDITS = ("Entrepreneur", "freelance", "investing", "productivity", "smallbusiness", "webdev")
KEYWORD_SETS: Mapping[str, tuple[str, ...]] = {
    "crm": ("crm", "sales pipeline", "lead generation"),
    "invoicing": ("invoice*", "accounting software", "bookkeeping"),
    "email": ("email marketing", "newsletter*", "mailing list"),
    "mixed": ("crm", "invoice*", "email marketing"),
}

REFERENCE_MODEL = "offline-hash-1024"
MODEL = "all-minilm-l6-v2"
COSINE_THRESHOLD, KEYWORD_ALT_COSINE, MIN_FUSED = 0.05, 0.15, 0.42  # those of the reference model


@dataclass(frozen=True)
class Scored:
    """Scores of every post against every keyword set, one set after the other."""

    hit: npt.NDArray[np.bool_]
    cosine: Scores
    fused: Scores

    def dropped(self, threshold: float) -> float:
        """Return the share of unrelated posts below a cosine."""
        return float((self.cosine[~self.hit] < threshold).mean())

    def kept(self, threshold: float) -> float:
        """Return the share of hits at or above a cosine."""
        return float((self.cosine[self.hit] >= threshold).mean())

    def kept_by_fused(self, threshold: float) -> float:
        """Return the share of hits at or above a fused score."""
        return float((self.fused[self.hit] >= threshold).mean())


def read_posts(directory: Path) -> list[str]:
    """Return title and text of every post.

    Raises:
        UserError: the files are not there.
    """
    files = [directory / f"{name}.csv" for name in SUBREDDITS]
    if not all(file.is_file() for file in files):
        raise UserError(f"no posts of {', '.join(SUBREDDITS)} in {directory}; name their directory with --data")
    frames = [pl.read_csv(file, infer_schema=False, columns=["title", "selftext"]) for file in files]
    text = pl.concat_str(pl.col("title").fill_null(""), pl.col("selftext").fill_null(""), separator="\n")
    return pl.concat(frames).select(text)["title"].to_list()


def strict_hits(tokens: pl.Series, keywords: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Return which posts hold a keyword as a phrase, or, with a star, a token that begins with it."""
    held = np.zeros(len(tokens), dtype=bool)
    for keyword in keywords:
        phrase = wrapped(tokenise(keyword))
        held |= tokens.str.contains(phrase.rstrip() if keyword.endswith("*") else phrase, literal=True).to_numpy()
    return held


def bm25_of(tokens: pl.Series, keywords: tuple[str, ...]) -> Scores:
    """Return BM25 of every post, all posts being the corpus."""
    corpus = pl.DataFrame({"tokens": tokens}).with_columns(token_count(pl.col("tokens")).alias("length"))
    terms = sorted({term for keyword in keywords for term in tokenise(keyword)} - STOP_WORDS)
    weights = {
        term: idf(pl.col("tokens").str.contains(f" {term} ", literal=True).sum(), pl.len(), IDF_FLOOR) for term in terms
    }
    score = bm25_expr(pl.col("tokens"), pl.col("length"), weights, pl.col("length").mean(), K1, B)
    return corpus.select(score.alias("bm25"))["bm25"].to_numpy()


def scored(posts: list[str], embedder: Embedder) -> Scored:
    """Score every post against every keyword set."""
    tokens = token_strings(pl.Series("tokens", posts))
    vectors = embedder.embed([cut_utf8(post) for post in posts])
    hits, cosines, fused = [], [], []
    for keywords in KEYWORD_SETS.values():
        words = embedder.embed([keyword.rstrip("*") for keyword in keywords])
        cosine = np.maximum(0.0, cosine_rows(vectors, centroid(words, [1.0] * len(keywords))))
        hits.append(strict_hits(tokens, keywords))
        cosines.append(cosine)
        fused.append(fused_scores(bm25_of(tokens, keywords), cosine, W_COS[embedder.model]))
    return Scored(np.concatenate(hits), np.concatenate(cosines), np.concatenate(fused))


def main() -> None:
    """Print the effect of the reference thresholds, and the thresholds of the model that have the same."""
    parser = argparse.ArgumentParser(description="Thresholds of MiniLM that match those of the offline embedder")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    posts = read_posts(parser.parse_args().data)
    reference = scored(posts, embedder_named(REFERENCE_MODEL))
    model = scored(posts, embedder_named(MODEL))
    print(f"{len(posts)} posts, {len(KEYWORD_SETS)} keyword sets, {int(reference.hit.sum())} hits\n")
    print(
        f"| threshold | {REFERENCE_MODEL} | unrelated dropped | hits kept | {MODEL} | unrelated dropped | hits kept |"
    )
    print("|---|---|---|---|---|---|---|")
    same_hits = float(np.quantile(model.cosine[model.hit], 1 - reference.kept(COSINE_THRESHOLD)))
    _print_effect("cosine_threshold", reference, COSINE_THRESHOLD, model, same_hits)
    same_rest = float(np.quantile(model.cosine[~model.hit], reference.dropped(COSINE_THRESHOLD)))
    _print_effect("cosine_threshold, by unrelated", reference, COSINE_THRESHOLD, model, same_rest)
    same_rest = float(np.quantile(model.cosine[~model.hit], reference.dropped(KEYWORD_ALT_COSINE)))
    _print_effect("keyword_alt_cosine", reference, KEYWORD_ALT_COSINE, model, same_rest)
    kept = reference.kept_by_fused(MIN_FUSED)
    same_hits = float(np.quantile(model.fused[model.hit], 1 - kept))
    print(f"| min_fused | {MIN_FUSED} | | {kept:.3f} | {same_hits:.3f} | | {model.kept_by_fused(same_hits):.3f} |")
    _print_percentiles(reference, model)


def _print_effect(name: str, reference: Scored, value: float, model: Scored, same: float) -> None:
    print(
        f"| {name} | {value} | {reference.dropped(value):.3f} | {reference.kept(value):.3f} "
        f"| {same:.3f} | {model.dropped(same):.3f} | {model.kept(same):.3f} |"
    )


def _print_percentiles(reference: Scored, model: Scored) -> None:
    """Print where the cosines of hits and of unrelated posts lie, for rounding a threshold to a plain number."""
    points = (5, 25, 50, 75, 95, 99)
    print("\n| percentile | " + " | ".join(map(str, points)) + " |\n|---|" + "---|" * len(points))
    for name, result in ((REFERENCE_MODEL, reference), (MODEL, model)):
        for kind, chosen in (("hits", result.hit), ("unrelated", ~result.hit)):
            cells = " | ".join(f"{np.percentile(result.cosine[chosen], point):.3f}" for point in points)
            print(f"| {name}, cosine of {kind} | {cells} |")


if __name__ == "__main__":
    main()

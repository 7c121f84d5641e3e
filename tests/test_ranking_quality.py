"""Ranking quality on a judged collection: a change that ranks worse fails here."""

from pathlib import Path

import pytest

from benchmarks.ranking import (
    W_COS,
    Collection,
    Scores,
    bm25_scores,
    cosine_scores,
    fused_scores,
    quality,
    read_cranfield,
)
from magpie.errors import UserError
from magpie.text.offline_hash import OfflineHashEmbedder

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "labelled" / "ir_cranfield"
TOLERANCE = 0.005

needs_cranfield = pytest.mark.skipif(not DATA.is_dir(), reason="the Cranfield collection is not in ../shared/data")


@pytest.fixture(scope="module")
def collection() -> Collection:
    return read_cranfield(DATA)


@pytest.fixture(scope="module")
def bm25(collection: Collection) -> Scores:
    return bm25_scores(collection)


@needs_cranfield
def test_bm25_ranks_as_well_as_specified(collection: Collection, bm25: Scores) -> None:
    result = quality(bm25, collection.relevant)
    assert result.ndcg == pytest.approx(0.3697, abs=TOLERANCE)
    assert result.mean_average_precision == pytest.approx(0.2869, abs=TOLERANCE)


@needs_cranfield
def test_the_fused_score_ranks_no_worse_than_either_of_its_parts(collection: Collection, bm25: Scores) -> None:
    embedder = OfflineHashEmbedder()
    cosine = cosine_scores(collection, embedder)
    parts = [quality(bm25, collection.relevant).ndcg, quality(cosine, collection.relevant).ndcg]
    assert parts[1] == pytest.approx(0.317, abs=TOLERANCE)
    assert quality(fused_scores(bm25, cosine, W_COS[embedder.model]), collection.relevant).ndcg >= max(parts)


def test_a_missing_collection_is_one_line_that_says_where_it_was_sought(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no Cranfield collection in .*--data"):
        read_cranfield(tmp_path)

"""Clustering: the fast course of merging gives what the definition gives, whatever the order and the floor."""

import csv
import itertools
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.content import clustering
from magpie.content.clustering import Floats, agglomerated, average_cosine, whole
from magpie.text.offline_hash import OfflineHashEmbedder

BANKING = Path(__file__).parents[2] / "shared" / "data" / "labelled" / "banking77" / "test.csv"
TOPICS = (
    *("crm for small business", "best crm for small business", "free crm software", "crm software pricing"),
    *("what is a crm", "email marketing tools", "best email marketing software", "email marketing for beginners"),
    *("email marketing pricing", "invoice template free", "how to write an invoice"),
    *("invoice software for freelancers", "free invoice generator", "zoom alternatives"),
)


def defined(vectors: Floats, floor: float, largest: int) -> list[list[int]]:
    """Average linkage by its definition: all pairs of clusters are looked at before every merge."""
    rounded, unit = whole(vectors, min(largest, max(len(vectors), 1)))
    products = rounded @ rounded.T
    groups = [[row] for row in range(len(vectors))]
    while True:
        best = None
        for a, b in itertools.combinations(groups, 2):
            if len(a) + len(b) <= largest:
                average = float(products[np.ix_(a, b)].sum()) / (len(a) * len(b))
                if average >= floor * unit and (best is None or average > best[0]):
                    best = (average, a, b)
        if best is None:
            return sorted(sorted(group) for group in groups)
        groups.remove(best[2])
        best[1].extend(best[2])


def dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "_SPARSE_BELOW", 0.0)


def embedded(texts: Sequence[str]) -> Floats:
    return OfflineHashEmbedder().embed(texts).astype(np.float64)


@pytest.mark.parametrize(
    ("floor", "sizes"),
    [(0.15, [5, 4, 4, 1]), (0.20, [5, 4, 4, 1]), (0.25, [5, 4, 4, 1]), (0.30, [4, 3, 3, 2, 1, 1])],
)
def test_fourteen_keywords_fall_into_crm_email_marketing_and_invoice(floor: float, sizes: list[int]) -> None:
    texts = sorted(TOPICS)
    found = [[texts[row] for row in group] for group in agglomerated(embedded(texts), floor, 10)]
    assert sorted(map(len, found), reverse=True) == sizes
    if floor < 0.3:
        assert ["zoom alternatives"] in found
        for word in ("crm", "email marketing", "invoice"):
            assert [text for text in texts if word in text] in found


WORDS = [
    *("crm", "mail", "invoice", "free", "best", "tool", "price", "for"),
    *("small", "team", "guide", "app", "plan", "sync", "note", "report"),
]
phrases = st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), unique=True, max_size=26)


@given(phrases, st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.9]), st.sampled_from([1, 2, 3, 5, 10, 100]))
@settings(max_examples=120, deadline=None)
def test_lists_by_component_and_products_of_rows_both_give_what_the_definition_gives(
    texts: list[str], floor: float, largest: int
) -> None:
    vectors = embedded(sorted(texts))
    wanted = defined(vectors, floor, largest)
    with pytest.MonkeyPatch.context() as patch:
        # Short lists and many compactions, so that few keywords meet every branch.
        patch.setattr(clustering, "_NEIGHBOURS", 2)
        patch.setattr(clustering, "_SPARSE_BELOW", 2.0)
        assert agglomerated(vectors, floor, largest) == wanted
        dense(patch)
        assert agglomerated(vectors, floor, largest) == wanted


@given(st.integers(0, 2**32 - 1), st.integers(0, 22), st.sampled_from([3, 10, 50]))
@settings(max_examples=40, deadline=None)
def test_full_vectors_with_many_ties_give_what_the_definition_gives(seed: int, rows: int, largest: int) -> None:
    made = np.random.default_rng(seed).integers(-2, 3, size=(rows, 5)).astype(np.float64)
    assert agglomerated(made, 0.3, largest) == defined(made, 0.3, largest)


def test_every_row_is_in_exactly_one_group_and_no_group_is_too_large() -> None:
    rng = random.Random(3)
    texts = sorted({" ".join(rng.choices(WORDS, k=rng.randint(1, 5))) for _ in range(1500)})
    found = agglomerated(embedded(texts), 0.2, 7)
    assert sorted(itertools.chain(*found)) == list(range(len(texts)))
    assert max(map(len, found)) == 7


def test_the_groups_are_the_same_whichever_way_products_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    vectors = embedded(sorted({" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(700)}))
    sparse = agglomerated(vectors, 0.2, 10)
    monkeypatch.setattr(clustering, "_BLOCK_ROWS", 17)
    dense(monkeypatch)
    assert agglomerated(vectors, 0.2, 10) == sparse


def test_products_of_rounded_rows_are_exact_for_the_largest_cluster() -> None:
    vectors = np.random.default_rng(1).normal(size=(400, 1536))
    for largest in (2, 10, 400, 3000):
        rounded, unit = whole(vectors, largest)
        assert np.array_equal(rounded, np.rint(rounded))
        longest = float((rounded * rounded).sum(axis=1).max())
        assert longest * (largest // 2) * (largest - largest // 2) < 2**53
        assert abs(float(rounded[0] @ rounded[0]) / unit - 1) < 0.01


def test_the_average_cosine_is_that_of_all_pairs_and_of_one_row_there_is_none() -> None:
    vectors = embedded(sorted(TOPICS))
    pairs = [float(a @ b) for a, b in itertools.combinations(vectors, 2)]
    assert average_cosine(vectors) == pytest.approx(sum(pairs) / len(pairs), abs=1e-5)
    assert average_cosine(vectors[:1]) is None


def _agreement(groups: list[list[int]], truth: Sequence[str]) -> tuple[float, float]:
    """V-measure (Rosenberg and Hirschberg 2007) and adjusted Rand index (Hubert and Arabie 1985)."""
    label = {row: number for number, group in enumerate(groups) for row in group}
    found = [label[row] for row in range(len(truth))]
    n, both, ours, theirs = len(truth), Counter(zip(found, truth, strict=True)), Counter(found), Counter(truth)
    entropies = _entropy(ours, n) + _entropy(theirs, n)
    shared = sum(v / n * log(v * n / (ours[a] * theirs[b])) for (a, b), v in both.items())
    pairs: Callable[[Counter[Hashable]], float] = lambda counts: sum(v * (v - 1) / 2 for v in counts.values())  # noqa: E731
    expected = pairs(ours) * pairs(theirs) / (n * (n - 1) / 2)
    return 2 * shared / entropies, (pairs(both) - expected) / ((pairs(ours) + pairs(theirs)) / 2 - expected)


def _entropy(counts: Counter[int] | Counter[str], n: int) -> float:
    return -sum(v / n * log(v / n) for v in counts.values())


@pytest.mark.skipif(not BANKING.is_file(), reason="the labelled bank queries are not there")
@pytest.mark.parametrize(
    ("largest", "v_measure", "rand", "clusters"), [(10**6, 0.705, 0.279, 348), (10, 0.716, 0.171, 505)]
)
def test_bank_queries_are_grouped_as_well_as_they_were(
    largest: int, v_measure: float, rand: float, clusters: int
) -> None:
    with BANKING.open(encoding="utf-8") as file:
        rows = sorted((row["text"], row["category"]) for row in csv.DictReader(file))
    groups = agglomerated(embedded([text for text, _ in rows]), 0.20, largest)
    found = _agreement(groups, [category for _, category in rows])
    assert found == pytest.approx((v_measure, rand), abs=0.01)
    assert abs(len(groups) - clusters) <= 5

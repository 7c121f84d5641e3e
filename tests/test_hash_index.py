"""Hashes near each other: every pair is found whatever the distance asked for and however hashes crowd."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.media.hash_index import Hashes, HashIndex, hashes_of

SEEDS = st.integers(0, 2**32 - 1)


def all_pairs(stored: Hashes, queries: Hashes, most: int) -> list[tuple[int, int, int]]:
    distance = np.bitwise_count(queries[:, None] ^ stored[None, :])
    return [(int(i), int(j), int(distance[i, j])) for i, j in zip(*np.nonzero(distance <= most), strict=True)]


def crowd(draw: np.random.Generator, n: int) -> Hashes:
    """Hashes of which some are equal, some near each other, and some share single parts."""
    seeds = draw.integers(0, 2**64, 4, dtype=np.uint64)
    hashes = seeds[draw.integers(0, 4, n)]
    flips = draw.integers(0, 12, n)
    for number in range(n):
        for bit in draw.integers(0, 64, flips[number]):
            hashes[number] ^= np.uint64(1) << np.uint64(bit)
    alone = draw.random(n) < 0.3
    hashes[alone] = draw.integers(0, 2**64, int(alone.sum()), dtype=np.uint64)
    return hashes


@given(SEEDS, st.integers(0, 64))
def test_every_pair_within_the_distance_is_found_once(seed: int, most: int) -> None:
    draw = np.random.default_rng(seed)
    stored, queries = crowd(draw, 60), crowd(draw, 7)
    assert HashIndex(stored).within(queries, most).rows() == all_pairs(stored, queries, most)


@pytest.mark.parametrize("most", range(12))
def test_look_ups_find_what_going_through_all_finds(most: int) -> None:
    draw = np.random.default_rng(most)
    stored = np.concatenate([draw.integers(0, 2**64, 20_000, dtype=np.uint64), crowd(draw, 300)])
    queries = np.concatenate([stored[-40:], crowd(draw, 10)])
    assert HashIndex(stored).within(queries, most).rows() == all_pairs(stored, queries, most)


def test_thousands_of_equal_hashes_are_all_found() -> None:
    draw = np.random.default_rng(1)
    stored = np.concatenate([np.full(5000, 77, np.uint64), draw.integers(0, 2**64, 20_000, dtype=np.uint64)])
    found = HashIndex(stored).within(np.array([77, 76], np.uint64), 9)
    assert found.height == 10_000
    assert found["stored"].max() == 4999 and found["distance"].unique().sort().to_list() == [0, 1]


def test_results_do_not_depend_on_how_many_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    stored = np.concatenate([crowd(draw, 300), draw.integers(0, 2**64, 10_000, dtype=np.uint64)])
    whole = HashIndex(stored).within(stored[:50], 9)
    monkeypatch.setattr("magpie.media.hash_index._BLOCK_PAIRS", 100)
    monkeypatch.setattr("magpie.media.hash_index._BLOCK_QUERIES", 7)
    assert HashIndex(stored).within(stored[:50], 9).equals(whole)


def test_nothing_stored_or_asked_finds_nothing() -> None:
    nothing, one = np.empty(0, np.uint64), np.array([5], np.uint64)
    assert HashIndex(nothing).within(one, 9).is_empty() and HashIndex(one).within(nothing, 9).is_empty()


@pytest.mark.parametrize("most", [-1, 65])
def test_a_distance_that_no_two_hashes_can_have_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        HashIndex(np.array([5], np.uint64)).within(np.array([5], np.uint64), most)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=9))
def test_hexadecimal_hashes_become_their_numbers(numbers: list[int]) -> None:
    written = pl.Series([f"{number:016x}" for number in numbers], dtype=pl.String)
    assert hashes_of(written).tolist() == numbers

"""Finding all stored 64-bit hashes within a Hamming distance of many asked ones.

Belongs here: the index and the search, both exact. Does not belong here: how a picture becomes a hash, and which
distance means what.

A hash is cut into four parts of 16 bits, and for each part there is a table from its value to the hashes that have it.
If all parts of two hashes are further apart than the radii r1..r4, the hashes differ in at least sum(r + 1) bits. So,
with radii for which that is d + 1, all hashes within d bits are found by looking up all values within a part's radius.
For d = 9 that is 308 look-ups, which find a stored hash by chance in half a percent of cases.

Source: M. Norouzi, A. Punjani, D. J. Fleet, Fast exact search in Hamming space with multi-index hashing, TPAMI 2014.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

BITS = 64
PAIRS = pl.Schema({"query": pl.Int64(), "stored": pl.Int64(), "distance": pl.Int64()})
_PARTS, _PART_BITS = 4, 16
# Pairs of hashes that are compared in one step; some hundred MB with all that is derived from them.
_BLOCK_PAIRS = 1 << 21
# Queries in one step: their look-ups, 137 a part at most, are then fewer than the pairs of a step.
_BLOCK_QUERIES = 2048
# Going to a hash that a table names takes about this many times as long as going on to the next in a row.
_LOOKUP_COST = 8
# With a radius of 3 a part has 697 neighbours, and for a million hashes look-ups cost as much as going through all.
_MAX_RADIUS = 2


def hashes_of(hexadecimal: pl.Series) -> Hashes:
    """Return hashes written as 16 hexadecimal digits each, none of them null, as numbers."""
    return hexadecimal.cast(pl.String).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()


@dataclass(frozen=True)
class _PartTable:
    """The stored hashes by one of their parts.

    Attributes:
        order: numbers of the hashes, ascending by the part's value.
        hashes: they themselves in that order.
        starts: where each value begins in it, and the end.
    """

    order: Ints
    hashes: Hashes
    starts: Ints

    @classmethod
    def of(cls, hashes: Hashes, part: int) -> "_PartTable":
        values = _part(hashes, part)
        # Numpy sorts 16 bits by counting them, which takes a tenth of the time.
        order = np.argsort(values.astype(np.uint16), kind="stable")
        counts = np.bincount(values, minlength=1 << _PART_BITS)
        return cls(order, hashes[order], np.concatenate(([0], np.cumsum(counts))))


@dataclass(frozen=True)
class HashIndex:
    """Hashes to be searched; results name them by their place."""

    hashes: Hashes

    def within(self, queries: Hashes, max_distance: int) -> pl.DataFrame:
        """Return every pair at most that many bits apart, in the columns of `PAIRS`, by query and stored place.

        Memory is bounded but for the pairs that are found.

        Raises:
            ValueError: the distance is not within 0 to 64.
        """
        if not 0 <= max_distance <= BITS:
            raise ValueError(f"a distance of {max_distance} bits")
        radii = _radii(max_distance)
        found = [PAIRS.to_frame()]
        for first in range(0, len(queries), _BLOCK_QUERIES):
            numbers = np.arange(first, min(first + _BLOCK_QUERIES, len(queries)))
            for query, stored, distance in self._near(queries, numbers, radii, max_distance):
                columns = {"query": query, "stored": stored, "distance": distance.astype(np.int64)}
                found.append(pl.DataFrame(columns, schema=PAIRS))
        return pl.concat(found).unique(["query", "stored"]).sort("query", "stored")

    @cached_property
    def _tables(self) -> tuple[_PartTable, ...]:
        return tuple(_PartTable.of(self.hashes, part) for part in range(_PARTS))

    def _near(
        self, queries: Hashes, numbers: Ints, radii: tuple[int, ...], most: int
    ) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.uint8]]]:
        lookups = sum(len(_masks(radius)) for radius in radii if radius >= 0) if max(radii) <= _MAX_RADIUS else None
        if lookups is None or lookups * _LOOKUP_COST > len(self.hashes):
            yield from self._through_all(queries, numbers, most)
            return
        places = [self._places(part, queries[numbers], radius) for part, radius in enumerate(radii) if radius >= 0]
        # Where hashes crowd in a few values of a part, going through all of them is cheaper.
        crowded = sum(counts.sum(axis=1) for _, counts in places) * _LOOKUP_COST > len(self.hashes)
        yield from self._through_all(queries, numbers[crowded], most)
        for table, (starts, counts) in zip(self._tables, places, strict=False):
            rows = np.repeat(numbers[~crowded], counts.shape[1])
            yield from _through_some(queries, table, rows, starts[~crowded].ravel(), counts[~crowded].ravel(), most)

    def _places(self, part: int, queries: Hashes, radius: int) -> tuple[Ints, Ints]:
        """Where the neighbours of each query's part begin in its table, and how many hashes each has."""
        values = _part(queries, part)[:, None] ^ _masks(radius)[None, :]
        starts = self._tables[part].starts
        return starts[values], starts[values + 1] - starts[values]

    def _through_all(
        self, queries: Hashes, numbers: Ints, most: int
    ) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.uint8]]]:
        for start in range(0, len(self.hashes), _BLOCK_PAIRS):
            stored = self.hashes[start : start + _BLOCK_PAIRS]
            step = max(1, _BLOCK_PAIRS // len(stored))
            for first in range(0, len(numbers), step):
                some = numbers[first : first + step]
                distance = np.bitwise_count(queries[some][:, None] ^ stored[None, :])
                row, column = np.nonzero(distance <= most)
                yield some[row], column + start, distance[row, column]


def _through_some(
    queries: Hashes, table: _PartTable, rows: Ints, starts: Ints, counts: Ints, most: int
) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.uint8]]]:
    """Compare query `rows[k]` with `counts[k]` hashes of the table from `starts[k]` on."""
    held = counts > 0
    rows, starts, counts = rows[held], starts[held], counts[held]
    ends = np.cumsum(counts)
    first = 0
    while first < len(rows):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _BLOCK_PAIRS, side="right")))
        part = counts[first:last]
        shift = starts[first:last] - (ends[first:last] - part - before)
        place = np.arange(int(ends[last - 1]) - before) + np.repeat(shift, part)
        query = np.repeat(rows[first:last], part)
        distance = np.bitwise_count(queries[query] ^ table.hashes[place])
        near = np.flatnonzero(distance <= most)
        yield query[near], table.order[place[near]], distance[near]
        first = last


def _part(hashes: Hashes, part: int) -> Ints:
    return ((hashes >> np.uint64(part * _PART_BITS)) & np.uint64((1 << _PART_BITS) - 1)).astype(np.int64)


def _radii(max_distance: int) -> tuple[int, ...]:
    """How far to look in each part, larger radii first, -1: not at all; with 1 added they sum to the distance + 1."""
    base, more = divmod(max_distance + 1, _PARTS)
    return tuple(base - 1 + (part < more) for part in range(_PARTS))


@cache
def _masks(radius: int) -> Ints:
    """All differences of at most that many bits within a part."""
    flips = (bits for size in range(radius + 1) for bits in combinations(range(_PART_BITS), size))
    return np.array([sum(1 << bit for bit in bits) for bits in flips], dtype=np.int64)

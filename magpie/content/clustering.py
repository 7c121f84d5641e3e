"""Average linkage of unit vectors: the groups that keywords fall into before anybody names them.

Belongs here: merging, and the arithmetic that makes it exact. Does not belong here: how vectors are made
(`magpie/text`), what a group is called (`cluster_keywords.py`), and what becomes of small ones (`clusters.py`).

Every row begins as a cluster of its own. Of all pairs of clusters that are together at most `largest` rows, the one
with the highest average cosine is merged, as long as that is at least `floor`; of equal ones the pair with the lowest
indices, where the index of a cluster is that of its first row. (Average linkage: Sokal and Michener 1958.)

The result depends on nothing but the vectors. Components are rounded to whole multiples of a power of two, small
enough that every sum of products is a whole number below 2^53; so floating-point sums are exact, whatever order, block
or kernel a library computes them in.

Speed comes from two facts. The sum of cosines between two clusters is the product of the sums of their vectors, so no
matrix of pairs is kept. And what two clusters have in common never changes while both exist: whichever came later
lists the best of those before it once, and walks down that list as they disappear.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from magpie.text.similarity import normalised

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# A float32 component says little beyond; a product of two then has 40 bits, which leaves 12 for counting rows.
_MOST_BITS = 20
# Of the 53 bits of a float64 one stays free: rounded rows are a little longer than 1.
_EXACT_BITS = 52
# So many of its best neighbours a cluster keeps; when all of them are gone, it looks again.
_NEIGHBOURS = 48
# Where fewer components are filled, walking lists of rows by component beats products of whole rows.
_SPARSE_BELOW = 0.25
# Products of whole rows are made for so many clusters at once.
_BLOCK_ROWS = 128
# When this share of the clusters may still grow, the others are dropped from the arrays.
_COMPACT_AT = 0.75


def agglomerated(vectors: npt.NDArray[np.floating], floor: float, largest: int) -> list[list[int]]:
    """Return the rows of each cluster, ascending, the clusters in the order of their first rows.

    Args:
        vectors: shape (rows, dims); scaled to length 1 first. A row of zeros has the cosine 0 with every other.
        floor: clusters are merged down to this average cosine.
        largest: rows of a cluster at most.
    """
    count = len(vectors)
    if count < 2 or largest < 2:
        return [[row] for row in range(count)]
    rounded, unit = whole(vectors, min(largest, count))
    filled = np.count_nonzero(rounded) / rounded.size if rounded.size else 0.0
    kind = _Sparse if filled < _SPARSE_BELOW else _Pool
    return _Linkage(kind, rounded, floor * unit, largest).run()


def average_cosine(vectors: npt.NDArray[np.floating]) -> float | None:
    """Return the mean cosine of all pairs of rows, None of a single row."""
    count = len(vectors)
    if count < 2:
        return None
    rounded, unit = whole(vectors, 2 * count)
    total = rounded.sum(axis=0)
    own = float((rounded * rounded).sum())
    return round((float((total * total).sum()) - own) / (count * (count - 1) * unit), 6)


def whole(vectors: npt.NDArray[np.floating], largest: int) -> tuple[Floats, float]:
    """Return unit rows in whole numbers, and what a cosine of 1 is in their products.

    Sums of products of any two clusters that together have `largest` rows are exact in float64.
    """
    pairs = (largest // 2) * (largest - largest // 2)
    bits = min(_MOST_BITS, (_EXACT_BITS - math.ceil(math.log2(max(pairs, 1)))) // 2)
    return np.rint(normalised(vectors) * 2.0**bits), 2.0 ** (2 * bits)


class _Pool:
    """Clusters that may still grow, by position; products of whole rows.

    Attributes:
        first: index of each cluster, ascending; size: its rows; sums: of their vectors, shape (clusters, dims).
        born: when it came about: rows the earlier the higher their index, merged clusters from 1 on; gone or
            full: infinite.
    """

    def __init__(self, first: Ints, size: Ints, sums: Floats, born: Floats) -> None:
        self.first, self.size, self.sums, self.born = first, size, sums, born

    def products(self, positions: Ints) -> Floats:
        """The sums of cosines, shape (positions, clusters)."""
        return np.asarray(self.sums[positions] @ self.sums.T)

    def merge(self, kept: int, gone: int, born: float) -> None:
        """Add one cluster to another, which is a new one from now on."""
        self.sums[kept] += self.sums[gone]
        self.size[kept] += self.size[gone]
        self.born[kept], self.born[gone] = born, np.inf

    def compacted(self) -> "_Pool":
        """The same without what is gone or full."""
        left = np.isfinite(self.born)
        return type(self)(self.first[left], self.size[left], self.sums[left], self.born[left])


class _Sparse(_Pool):
    """The same for rows of which few components are filled: per component a list of the clusters that fill it.

    Lists are made once per compaction, of the clusters of then; `now` says where each is now.
    """

    def __init__(self, first: Ints, size: Ints, sums: Floats, born: Floats) -> None:
        super().__init__(first, size, sums, born)
        component, self._listed = np.nonzero(np.ascontiguousarray(sums.T))
        self._values = sums[self._listed, component]
        self._starts = np.searchsorted(component, np.arange(sums.shape[1] + 1))
        self._now = np.arange(len(first))
        self._moved = False

    def products(self, positions: Ints) -> Floats:
        return np.stack([self._product(position) for position in positions.tolist()])

    def _product(self, position: int) -> Floats:
        row = self.sums[position]
        filled = np.flatnonzero(row)
        count = len(self.first)
        if not len(filled):
            return np.zeros(count)
        spans = list(zip(self._starts[filled].tolist(), self._starts[filled + 1].tolist(), strict=True))
        listed = np.concatenate([self._listed[start:end] for start, end in spans])
        weighted = [self._values[start:end] * value for (start, end), value in zip(spans, row[filled], strict=True)]
        sums = np.bincount(listed, np.concatenate(weighted), minlength=count)
        return np.asarray(np.bincount(self._now, sums, minlength=count) if self._moved else sums, dtype=np.float64)

    def merge(self, kept: int, gone: int, born: float) -> None:
        super().merge(kept, gone, born)
        self._now[self._now == gone] = kept
        self._moved = True


@dataclass
class _Listed:
    """The best older neighbours of a cluster, the best first: averages, indices, and when each of them was born."""

    averages: list[float]
    indices: list[int]
    births: list[float]
    more: bool
    at: int = 0


class _Linkage:
    """One course of merging."""

    def __init__(self, kind: type[_Pool], rounded: Floats, floor: float, largest: int) -> None:
        count = len(rounded)
        self.floor, self.largest = floor, largest
        self.pool = kind(np.arange(count), np.ones(count, dtype=np.int64), rounded, -np.arange(float(count)))
        self.position = list(range(count))
        self.born = [-float(row) for row in range(count)]
        self.members: list[list[int]] = [[row] for row in range(count)]
        self.lists: dict[int, _Listed] = {}
        # Average (negative), lower and higher index of a pair; whose list it is from, and when that one was born.
        self.heap: list[tuple[float, int, int, int, float]] = []
        self.growing = count
        self.merged = 0

    def run(self) -> list[list[int]]:
        for block in np.array_split(np.arange(self.growing), math.ceil(self.growing / _BLOCK_ROWS)):
            for position, listed in zip(block.tolist(), self._lists(block), strict=True):
                self._offer(position, listed)
        while self.heap:
            _, low, high, owner, born = heapq.heappop(self.heap)
            if self.born[owner] != born:
                continue
            other = high if owner == low else low
            listed = self.lists[owner]
            if self.born[other] == listed.births[listed.at]:
                self._merge(low, high)
            else:
                self._advance(owner, listed)
        return sorted(sorted(rows) for rows in self.members if rows)

    def _lists(self, positions: Ints) -> Iterator[_Listed]:
        """What each of these clusters may be merged with, of all that are older than itself."""
        pool = self.pool
        products = pool.products(positions)
        for position, sums in zip(positions.tolist(), products, strict=True):
            size = pool.size[position]
            averages = sums / (pool.size * size)
            open_ = (pool.born < pool.born[position]) & (pool.size + size <= self.largest) & (averages >= self.floor)
            yield self._best(np.flatnonzero(open_), averages)

    def _best(self, found: Ints, averages: Floats) -> _Listed:
        held = averages[found]
        more = len(found) > _NEIGHBOURS
        if more:
            least = np.partition(held, len(held) - _NEIGHBOURS)[len(held) - _NEIGHBOURS]
            found, held = found[held >= least], held[held >= least]
        # Positions ascend with indices, so of equal averages a stable sort leaves the lowest index first.
        order = np.argsort(-held, kind="stable")[:_NEIGHBOURS]
        chosen = found[order]
        pool = self.pool
        return _Listed(held[order].tolist(), pool.first[chosen].tolist(), pool.born[chosen].tolist(), more)

    def _offer(self, index: int, listed: _Listed) -> None:
        """Put the best neighbour of a cluster that is still there on the heap."""
        if listed.indices:
            self.lists[index] = listed
            other = listed.indices[listed.at]
            pair = (min(index, other), max(index, other))
            heapq.heappush(self.heap, (-listed.averages[listed.at], *pair, index, self.born[index]))

    def _advance(self, owner: int, listed: _Listed) -> None:
        """Go on to the next neighbour of the list that is as it was."""
        while listed.at < len(listed.indices) and self.born[listed.indices[listed.at]] != listed.births[listed.at]:
            listed.at += 1
        if listed.at < len(listed.indices):
            self._offer(owner, listed)
        elif listed.more:
            self._look(owner)

    def _look(self, index: int) -> None:
        self._offer(index, next(self._lists(np.array([self.position[index]]))))

    def _merge(self, low: int, high: int) -> None:
        self.merged += 1
        self.members[low] += self.members[high]
        self.members[high] = []
        # One that is full is merged no more.
        full = len(self.members[low]) == self.largest
        born = math.inf if full else float(self.merged)
        self.born[low], self.born[high] = born, math.inf
        self.pool.merge(self.position[low], self.position[high], born)
        self.growing -= 2 if full else 1
        if self.growing < _COMPACT_AT * len(self.pool.first):
            self.pool = self.pool.compacted()
            for position, index in enumerate(self.pool.first.tolist()):
                self.position[index] = position
        if not full:
            self._look(low)

"""Similarity of two texts by their trigrams, one by one and as a join of two columns.

Belongs here: the measure, the form in which texts are compared, and finding all similar pairs without comparing all.
Does not belong here: which similarity means what (the products).

The measure is that of PostgreSQL's pg_trgm: the share of common trigrams among all of both, where each word (a run of
letters and digits) is padded by two spaces in front and one behind, and a trigram counts once however often it occurs.
Source: PostgreSQL manual, appendix F, pg_trgm.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Number = TypeVar("Number", bound=np.integer[Any])

PAIRS = pl.Schema({"left": pl.Int64(), "right": pl.Int64(), "similarity": pl.Float64()})
# A code point has 21 bits, so three of them are one number.
_CODE_BITS = 21
# Stands between texts: no letter or digit, so no trigram reaches from one into the next.
_END = "\0"
# Texts that are made trigrams of, and one text is held against, at a time: some 40 MB of trigrams at 100 characters
# each, and a word of all their signatures still fits in a core's own cache.
_BLOCK_TEXTS = 50_000
# Texts that are read as one array, which stays in cache; with an alphabet of 127 their trigrams are numbers of 32 bits.
_READ_TEXTS = 2047
# Pairs, and trigrams of pairs, that are looked at in one step: arrays of 32 MB each.
_BLOCK_PAIRS = 1 << 22
# Sizes and shares are compared with this much room, so that rounding may only add pairs to look at.
_ROUNDING = 1e-9
# Bits of a signature for each trigram of a text, at least: so many leave those of unlike texts unlike.
_BITS_PER_TRIGRAM = 2.4
# Blocks worked on at a time: numpy lets go of the interpreter, and each block takes some 150 MB.
_WORKERS = min(4, os.cpu_count() or 1)
# Knuth's multiplicative hashing (The Art of Computer Programming, volume 3, 6.4): spreads numbers that lie close.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def normalised(texts: pl.Series) -> pl.Series:
    """Return the texts as they are compared and measured: lower case, NFC, white space collapsed; null for null."""
    return _lowered(texts).str.replace_all(r"\s+", " ").str.strip_chars(" ")


def _lowered(texts: pl.Series) -> pl.Series:
    return texts.cast(pl.String).str.to_lowercase().str.normalize("NFC")


def similarity(left: str, right: str) -> float:
    """Return the similarity of two texts, 0 to 1; 0 where neither has a letter or digit."""
    return float(similarities(pl.Series([left]), pl.Series([right]))[0])


def similarities(left: pl.Series, right: pl.Series) -> pl.Series:
    """Return the similarity of each row's two texts, 0 to 1; null where one is null."""
    either = pl.concat([left.cast(pl.String), right.cast(pl.String)]).rename("text")
    texts = either.drop_nulls().unique().sort()
    codes = either.to_frame().join(
        texts.to_frame().with_row_index("code"), on="text", how="left", maintain_order="left"
    )
    pairs = pl.DataFrame({"left": codes["code"][: left.len()], "right": codes["code"][left.len() :]}, strict=False)
    whole = pairs.drop_nulls().unique(maintain_order=True).cast(pl.Int64)
    sets = _Sets.of(texts)
    common = _common(sets, sets, whole["left"].to_numpy(), whole["right"].to_numpy())
    measured = _jaccard(common, sets.sizes[whole["left"].to_numpy()], sets.sizes[whole["right"].to_numpy()])
    found = whole.with_columns(pl.Series("similarity", measured, dtype=pl.Float64))
    return pairs.cast(pl.Int64).join(found, on=["left", "right"], how="left", maintain_order="left")["similarity"]


def similar_pairs(left: pl.Series, right: pl.Series, minimum: float) -> pl.DataFrame:
    """Return all pairs of texts at least that similar: rows of both by number, in the columns of `PAIRS`.

    All texts of a fitting size are compared, but by signatures: each trigram sets one bit of a text's, and a bit that
    the other text's lacks is at least one trigram that it lacks. Only pairs that this allows are compared by trigrams.
    So the time is that of reading some words per pair, whatever the texts are; that rare trigrams are shared by few,
    on which prefix filters rest, is not needed. Null texts, and texts without a common trigram, are in no pair
    whatever the minimum.

    Source: the bound is that of signature files; C. Faloutsos, Access methods for text, ACM Computing Surveys, 1985.
    """
    mine, own = _Sets.of(left).by_size()

    def found(start: int) -> pl.DataFrame:
        theirs, other = _Sets.of(right.slice(start, _BLOCK_TEXTS)).by_size()
        pairs = [PAIRS.to_frame()]
        for i, j in _hopeful(mine, theirs, minimum):
            measured = _jaccard(_common(mine, theirs, i, j), mine.sizes[i], theirs.sizes[j])
            enough = (measured >= minimum) & (measured > 0)
            columns = {"left": own[i[enough]], "right": other[j[enough]] + start, "similarity": measured[enough]}
            pairs.append(pl.DataFrame(columns, schema=PAIRS))
        return pl.concat(pairs)

    with ThreadPoolExecutor(_WORKERS) as pool:
        blocks = list(pool.map(found, range(0, right.len(), _BLOCK_TEXTS)))
    return pl.concat([PAIRS.to_frame(), *blocks]).sort("left", "right")


@dataclass(frozen=True)
class _Sets:
    """A set of trigrams per text.

    Attributes:
        trigrams: those of all texts as numbers, ascending within each.
        starts: where each text begins, and the end: one more than there are texts.
        sizes: how many each text has.
    """

    trigrams: Words
    starts: Ints
    sizes: Ints

    @classmethod
    def of(cls, texts: pl.Series) -> "_Sets":
        """The trigrams of texts; a null text has none."""
        lowered = _lowered(texts).fill_null("")
        blocks = (lowered.slice(start, _READ_TEXTS).to_list() for start in range(0, lowered.len(), _READ_TEXTS))
        return cls._joined([part for block in blocks for part in _trigrams(block)])

    @classmethod
    def _joined(cls, parts: list[tuple[Words, Ints]]) -> "_Sets":
        trigrams = [np.empty(0, dtype=np.uint64), *(part for part, _ in parts)]
        sizes = np.concatenate([np.empty(0, dtype=np.int64), *(part for _, part in parts)])
        return cls(np.concatenate(trigrams), np.append(0, np.cumsum(sizes)), sizes)

    def taken(self, texts: Ints) -> "_Sets":
        """The sets of these texts, in their order."""
        sizes = self.sizes[texts]
        rows, offsets = _expanded(sizes)
        return _Sets._joined([(self.trigrams[self.starts[texts][rows] + offsets], sizes)])

    def by_size(self) -> tuple["_Sets", Ints]:
        """The sets from the smallest on, and which text each belongs to."""
        order = np.argsort(self.sizes, kind="stable")
        return self.taken(order), order

    def part(self, first: int, last: int) -> "_Sets":
        """The sets of a range of texts."""
        starts = self.starts[first : last + 1]
        return _Sets(self.trigrams[starts[0] : starts[-1]], starts - starts[0], self.sizes[first:last])

    def signatures(self, words: int) -> Words:
        """Shape (words, texts): a bit for each trigram, several trigrams sharing one."""
        made = np.empty((words, len(self.sizes)), dtype=np.uint64)
        # The upper half of the product is the well mixed one; times the number of bits its own upper half is the bit.
        bits = (((self.trigrams * _SPREAD) >> np.uint64(32)) * np.uint64(words * 64)) >> np.uint64(32)
        for first in range(0, len(self.sizes), _READ_TEXTS):
            sizes = self.sizes[first : first + _READ_TEXTS]
            flags = np.zeros((len(sizes), words * 64), dtype=bool)
            starts = self.starts[first : first + len(sizes) + 1]
            flags[np.repeat(np.arange(len(sizes)), sizes), bits[starts[0] : starts[-1]]] = True
            made[:, first : first + len(sizes)] = np.packbits(flags, axis=1).view(np.uint64).T
        return made


def _trigrams(texts: list[str]) -> list[tuple[Words, Ints]]:
    """Distinct trigrams of texts in lower case, and how many each text has; in several parts if need be.

    Texts are sorted as one array: of numbers made of the text and the places of three characters in the alphabet of
    all. Where the alphabet is so large that 64 bits do not hold these, half of the texts are taken at a time.
    """
    points = np.frombuffer(_END.join([*texts, ""]).encode("utf-32-le"), dtype=np.uint32)
    used = np.zeros(int(points.max(initial=0)) + 1, dtype=bool)
    used[points] = True
    alphabet, places = _alphabet(used)
    bits, owner_bits = len(alphabet).bit_length(), len(texts).bit_length()
    if 3 * bits + owner_bits > 64:
        half = len(texts) // 2
        return _trigrams(texts[:half]) + _trigrams(texts[half:])
    kind = np.uint32 if 3 * bits + owner_bits <= 32 else np.uint64
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    owners: npt.NDArray[np.unsignedinteger[Any]] = np.repeat(np.arange(len(texts)), lengths).astype(kind)
    # A trigram ends at each letter, and one more behind the last of a word. Zeros are the spaces around it.
    codes: npt.NDArray[np.unsignedinteger[Any]] = places.astype(kind)[np.concatenate([[0, 0], points, [0]])]
    before, one, letter, after = codes[:-3], codes[1:-2], codes[2:-1], codes[3:]
    inside, ends = letter != 0, (letter != 0) & (after == 0)
    before = np.where(one != 0, before, 0)
    shift = kind(bits)
    whole = (((owners << shift | before) << shift | one) << shift | letter)[inside]
    last = ((owners << shift | one) << shift | letter)[ends] << shift
    keys = _distinct(np.concatenate([whole, last]))
    sizes = np.bincount((keys >> kind(3 * bits)).astype(np.int64), minlength=len(texts))
    made, mask = np.zeros(len(keys), dtype=np.uint64), kind((1 << bits) - 1)
    for place in (2, 1, 0):
        made <<= np.uint64(_CODE_BITS)
        made |= alphabet[(keys >> kind(place * bits)) & mask]
    return [(made, sizes)]


def _alphabet(used: npt.NDArray[np.bool_]) -> tuple[Words, Words]:
    """The code points of the letters and digits used, behind a zero for all else; and by code point the place there."""
    points = np.flatnonzero(used)
    letters = pl.Series([chr(point) for point in points.tolist()]).str.contains(r"[\p{L}\p{N}]").to_numpy()
    alphabet = np.append(0, points[letters]).astype(np.uint64)
    places = np.zeros(len(used), dtype=np.uint64)
    places[points[letters]] = np.arange(1, len(alphabet))
    return alphabet, places


def _hopeful(mine: _Sets, theirs: _Sets, minimum: float) -> Iterator[tuple[Ints, Ints]]:
    """Yield pairs (own, their), each once, whose sizes and signatures allow that similarity; both are by size."""
    for first, last, words in _classes(mine.sizes):
        asked = mine.part(first, last)
        begin, end = _fitting(theirs.sizes, asked.sizes[0], asked.sizes[-1], minimum)
        there = theirs.part(begin, end)
        bits, free = asked.signatures(words), ~there.signatures(words)
        found, held = [], 0
        for row, hits in enumerate(_allowed(asked.sizes, bits, there.sizes, free, minimum)):
            found.append((np.full(len(hits), first + row), begin + hits))
            held += len(hits)
            if held > _BLOCK_PAIRS:
                yield _stacked(found)
                found, held = [], 0
        yield _stacked(found)


def _stacked(pairs: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    nothing = np.empty(0, dtype=np.int64)
    return np.concatenate([nothing, *(i for i, _ in pairs)]), np.concatenate([nothing, *(j for _, j in pairs)])


def _allowed(sizes: Ints, bits: Words, their_sizes: Ints, free: Words, minimum: float) -> Iterator[Ints]:
    """Yield for each text the others that sizes and signatures allow.

    Args:
        sizes, their_sizes: ascending.
        bits: signatures; free: those of the others, inverted.
    """
    known, narrow = -1, np.min_scalar_type(sizes[-1])
    for row, size in enumerate(sizes.tolist()):
        if size != known:
            known, (low, high) = size, _fitting(their_sizes, size, size, minimum)
            # Both together have so many that at least this share of a pair that similar is common.
            common = np.ceil((size + their_sizes[low:high]) * (minimum / (1 + minimum)) - _ROUNDING)
            most = np.maximum(size - common, 0).astype(narrow)
        lacking = np.bitwise_count(bits[0, row] & free[0, low:high]).astype(narrow)
        for word in range(1, len(bits)):
            lacking += np.bitwise_count(bits[word, row] & free[word, low:high])
        yield low + np.flatnonzero(lacking <= most)


def _fitting(sizes: Ints, smallest: int, largest: int, minimum: float) -> tuple[int, int]:
    """Which of ascending sizes are neither too small nor too large for texts of these; empty ones are."""
    low = np.searchsorted(sizes, max(1, smallest * minimum - _ROUNDING))
    high = np.searchsorted(sizes, largest / minimum + _ROUNDING, side="right") if minimum > 0 else len(sizes)
    return int(low), int(high)


def _classes(sizes: Ints) -> Iterator[tuple[int, int, int]]:
    """Yield ranges of ascending sizes, without empty ones, and how many words their signatures have: powers of two."""
    first, words = int(np.searchsorted(sizes, 1)), 1
    while first < len(sizes):
        last = int(np.searchsorted(sizes, words * 64 // _BITS_PER_TRIGRAM, side="right"))
        if last > first:
            yield first, last, words
        first, words = last, words * 2


def _common(left: _Sets, right: _Sets, i: Ints, j: Ints) -> Ints:
    """How many members each pair of sets has in common."""
    used, other = _distinct(i), _distinct(j)
    left, right = left.taken(used), right.taken(other)
    i, j = np.searchsorted(used, i), np.searchsorted(other, j)
    vocabulary = _distinct(right.trigrams)
    common = np.zeros(len(i), dtype=np.int64)
    if not len(vocabulary):
        return common
    there = np.minimum(np.searchsorted(vocabulary, left.trigrams), len(vocabulary) - 1)
    there[vocabulary[there] != left.trigrams] = -1
    width = len(vocabulary)
    held = np.repeat(np.arange(len(other)) * width, right.sizes) + np.searchsorted(vocabulary, right.trigrams)
    lengths = left.sizes[i]
    for first, last in _blocks(lengths):
        rows, offsets = _expanded(lengths[first:last])
        wanted = there[left.starts[i[first:last]][rows] + offsets]
        keys = j[first:last][rows] * width + wanted
        at = np.minimum(np.searchsorted(held, keys), len(held) - 1)
        common[first:last] = np.bincount(rows[(wanted >= 0) & (held[at] == keys)], minlength=last - first)
    return common


def _jaccard(common: Ints, left: Ints, right: Ints) -> npt.NDArray[np.float64]:
    union = left + right - common
    return np.divide(common, union, out=np.zeros(len(union)), where=union > 0)


def _distinct(numbers: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """As `np.unique`, which hashes and takes ten times as long where most numbers differ.

    The stable sort makes use of what is in order already, as trigrams are by text.
    """
    ordered = np.sort(numbers, kind="stable")
    return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]


def _blocks(counts: Ints) -> list[tuple[int, int]]:
    """Ranges that cover all counts, each summing to some `_BLOCK_PAIRS` or holding a single one."""
    ends = np.cumsum(counts)
    made, first = [], 0
    while first < len(counts):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _BLOCK_PAIRS, side="right")))
        made.append((first, last))
        first = last
    return made


def _expanded(counts: Ints) -> tuple[Ints, Ints]:
    """For counts 2, 0, 3: the rows 0 0 2 2 2, and the places within them 0 1 0 1 2."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)

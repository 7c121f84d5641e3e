"""Similarity of two texts by their trigrams, one by one and as a join of two columns.

Belongs here: the measure, the form in which texts are compared, and finding all similar pairs without comparing all.
Does not belong here: which similarity means what (the products).

The measure is that of PostgreSQL's pg_trgm: the share of common trigrams among all of both, where each word (a run of
letters and digits) is padded by two spaces in front and one behind, and a trigram counts once however often it occurs.
Source: PostgreSQL manual, appendix F, pg_trgm.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Number = TypeVar("Number", np.int64, np.uint64)

PAIRS = pl.Schema({"left": pl.Int64(), "right": pl.Int64(), "similarity": pl.Float64()})
# A code point has 21 bits, so three of them are one number.
_CODE_BITS = 21
# Ends a padded word, so that no trigram reaches into the next; texts have none, since it is no letter or digit.
_END = "\0"
# Texts of the right side that are held as trigrams at a time: some 60 MB at 100 characters each.
_BLOCK_TEXTS = 50_000
# Pairs, and trigrams of pairs, that are looked at in one step: arrays of 32 MB each.
_BLOCK_PAIRS = 1 << 22
# A set is summed up in this many words of 64 bits; with some 50 trigrams most bits of two unlike sets differ.
_SIGNATURE_WORDS = 4
# Knuth's multiplicative hashing (The Art of Computer Programming, volume 3, 6.4): spreads numbers that lie close.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def normalised(texts: pl.Series) -> pl.Series:
    """Return the texts as they are compared and measured: lower case, NFC, white space collapsed; null for null."""
    lowered = texts.cast(pl.String).str.to_lowercase().str.normalize("NFC")
    return lowered.str.replace_all(r"\s+", " ").str.strip_chars(" ")


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

    Two texts with similarity s share at least s * n of the n trigrams of either. So, all trigrams being put in one
    order, the first n - ceil(s * n) + 1 of one text and those of the other must have one in common; rare ones come
    first, and only pairs that share one of those are compared. Null texts, and texts without a common trigram, are in
    no pair whatever the minimum.

    Source: S. Chaudhuri, V. Ganti, R. Kaushik, A primitive operator for similarity joins in data cleaning, ICDE 2006.
    """
    mine = _Sets.of(left)
    vocabulary, counts = np.unique(mine.trigrams, return_counts=True)
    # From the rarest on, equals by themselves: numbers in this order are what sets are made of from here on.
    order = np.argsort(counts, kind="stable")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    ranked = mine.numbered(vocabulary, ranks)
    heads = _Heads.of(ranked, minimum)
    found = [PAIRS.to_frame()]
    for start in range(0, right.len(), _BLOCK_TEXTS):
        theirs = _Sets.of(right.slice(start, _BLOCK_TEXTS)).numbered(vocabulary, ranks)
        i, j = heads.candidates(theirs, minimum)
        measured = _jaccard(_common(ranked, theirs, i, j), ranked.sizes[i], theirs.sizes[j])
        enough = measured >= minimum
        columns = {"left": i[enough], "right": j[enough] + start, "similarity": measured[enough]}
        found.append(pl.DataFrame(columns, schema=PAIRS))
    return pl.concat(found).sort("left", "right")


@dataclass(frozen=True)
class _Sets:
    """A set of numbers per text.

    Attributes:
        trigrams: those of all texts, ascending within each.
        owners: the text of each of them.
        starts: where each text begins, and the end: one more than there are texts.
        sizes: how many trigrams each text has, those left out of `trigrams` included.
    """

    trigrams: Words
    owners: Ints
    starts: Ints
    sizes: Ints

    @classmethod
    def of(cls, texts: pl.Series) -> "_Sets":
        """The trigrams of texts, each as one number; a null text has none."""
        spaced = normalised(texts).fill_null("").str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars(" ")
        padded = ("  " + spaced.str.replace_all(" ", f" {_END}  ", literal=True) + f" {_END}").to_list()
        points = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
        lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
        owners = np.repeat(np.arange(len(padded)), lengths)
        first, second, third = points[:-2], points[1:-1], points[2:]
        space = np.uint64(ord(" "))
        # What is only spaces comes from a text without words.
        real = (first != 0) & (second != 0) & (third != 0) & ~((second == space) & (third == space))
        numbers = (first << np.uint64(2 * _CODE_BITS)) | (second << np.uint64(_CODE_BITS)) | third
        return cls._from(owners[:-2][real], numbers[real], len(padded))

    @classmethod
    def _from(cls, owners: Ints, numbers: Words, texts: int) -> "_Sets":
        order = np.lexsort((numbers, owners))
        owners, numbers = owners[order], numbers[order]
        fresh = np.ones(len(numbers), dtype=bool)
        fresh[1:] = (numbers[1:] != numbers[:-1]) | (owners[1:] != owners[:-1])
        owners, numbers = owners[fresh], numbers[fresh]
        starts = np.searchsorted(owners, np.arange(texts + 1))
        return cls(numbers, owners, starts, np.diff(starts))

    def numbered(self, vocabulary: Words, ranks: Ints) -> "_Sets":
        """The same sets with each trigram of the vocabulary as its rank; others are left out, but count in `sizes`."""
        if not len(vocabulary):
            nothing = np.empty(0, dtype=np.int64)
            return _Sets(np.empty(0, dtype=np.uint64), nothing, np.zeros(len(self.sizes) + 1, np.int64), self.sizes)
        places = np.minimum(np.searchsorted(vocabulary, self.trigrams), len(vocabulary) - 1)
        known = vocabulary[places] == self.trigrams
        made = self._from(self.owners[known], ranks[places[known]].astype(np.uint64), len(self.sizes))
        return _Sets(made.trigrams, made.owners, made.starts, self.sizes)

    def signatures(self) -> Words:
        """Shape (texts, words): a bit for each trigram, several trigrams sharing one."""
        bits = (self.trigrams * _SPREAD) >> np.uint64(64 - int(math.log2(64 * _SIGNATURE_WORDS)))
        made = np.zeros((len(self.sizes), _SIGNATURE_WORDS), dtype=np.uint64)
        np.bitwise_or.at(
            made, (self.owners, (bits >> np.uint64(6)).astype(np.int64)), np.uint64(1) << (bits & np.uint64(63))
        )
        return made


def _head_lengths(sizes: Ints, minimum: float) -> Ints:
    """How many of the first trigrams of a set of each size must be looked at; rounding may only add to them."""
    shared = np.ceil(sizes * minimum - 1e-9).astype(np.int64)
    return np.minimum(sizes, sizes - np.maximum(shared, 1) + 1)


def _heads(sets: _Sets, minimum: float) -> npt.NDArray[np.bool_]:
    """Which trigrams stand at the head of their set. Those outside the vocabulary are the rarest, and come first."""
    outside = sets.sizes - np.diff(sets.starts)
    place = np.arange(len(sets.trigrams)) - sets.starts[sets.owners] + outside[sets.owners]
    return np.asarray(place < _head_lengths(sets.sizes, minimum)[sets.owners])


@dataclass(frozen=True)
class _Heads:
    """The heads of all sets of one side, by trigram, and a signature of each set."""

    sets: _Sets
    owners: Ints
    starts: Ints
    signatures: Words

    @classmethod
    def of(cls, sets: _Sets, minimum: float) -> "_Heads":
        head = _heads(sets, minimum)
        ranks, owners = sets.trigrams[head].astype(np.int64), sets.owners[head]
        order = np.argsort(ranks, kind="stable")
        highest = int(sets.trigrams.max(initial=0))
        starts = np.searchsorted(ranks[order], np.arange(highest + 2))
        return cls(sets, owners[order], starts, sets.signatures())

    def candidates(self, theirs: _Sets, minimum: float) -> tuple[Ints, Ints]:
        """Pairs (own, their), each once, whose heads meet and which sizes and signatures allow that similarity."""
        head, signatures = _heads(theirs, minimum), theirs.signatures()
        ranks, owners = theirs.trigrams[head].astype(np.int64), theirs.owners[head]
        counts = self.starts[ranks + 1] - self.starts[ranks]
        made = [np.empty(0, dtype=np.int64)]
        for first, last in _blocks(counts):
            repeated, offsets = _expanded(counts[first:last])
            i = self.owners[self.starts[ranks[first:last]][repeated] + offsets]
            j = owners[first:last][repeated]
            mine, other = self.sets.sizes[i], theirs.sizes[j]
            fits = np.minimum(mine, other) >= np.maximum(mine, other) * minimum - 1e-9
            i, j = i[fits], j[fits]
            # A bit that the other lacks is at least one trigram that it lacks.
            lacking = np.zeros(len(i), dtype=np.int64)
            for word in range(_SIGNATURE_WORDS):
                lacking += np.bitwise_count(self.signatures[i, word] & ~signatures[j, word])
            most = np.minimum(self.sets.sizes[i] - lacking, theirs.sizes[j])
            hopeful = _jaccard(most, self.sets.sizes[i], theirs.sizes[j]) >= minimum
            made.append(_distinct(i[hopeful] * len(theirs.sizes) + j[hopeful]))
        pairs = _distinct(np.concatenate(made))
        return pairs // max(len(theirs.sizes), 1), pairs % max(len(theirs.sizes), 1)


def _common(left: _Sets, right: _Sets, i: Ints, j: Ints) -> Ints:
    """How many members each pair of sets has in common."""
    vocabulary = _distinct(right.trigrams)
    common = np.zeros(len(i), dtype=np.int64)
    if not len(vocabulary):
        return common
    held = right.owners * len(vocabulary) + np.searchsorted(vocabulary, right.trigrams)
    lengths = np.diff(left.starts)[i]
    for first, last in _blocks(lengths):
        repeated, offsets = _expanded(lengths[first:last])
        wanted = left.trigrams[left.starts[i[first:last]][repeated] + offsets]
        places = np.minimum(np.searchsorted(vocabulary, wanted), len(vocabulary) - 1)
        keys = j[first:last][repeated] * len(vocabulary) + places
        at = np.minimum(np.searchsorted(held, keys), len(held) - 1)
        there = (vocabulary[places] == wanted) & (held[at] == keys)
        common[first:last] = np.bincount(repeated[there], minlength=last - first)
    return common


def _jaccard(common: Ints, left: Ints, right: Ints) -> npt.NDArray[np.float64]:
    union = left + right - common
    return np.divide(common, union, out=np.zeros(len(union)), where=union > 0)


def _distinct(numbers: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """As `np.unique`, which hashes and takes ten times as long where most numbers differ."""
    ordered = np.sort(numbers)
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

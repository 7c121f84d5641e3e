"""The embedder that needs no download, no key and no network: hashed words, word pairs and pieces of words.

Belongs here: the definition of `offline-hash-1024`. Does not belong here: thresholds on its cosines
(`magpie/leads/calibration.yaml`) and the arithmetic on finished vectors (`similarity.py`).

A text is case-folded and split into runs of letters and digits; unlike in `tokens.py` an apostrophe separates. Stop
words are dropped. What is left gives the features `w:<token>` (1 each), `b:<token> <next token>` (1 each) and
`c:<four characters of ^token$>` (0.3 each). A feature worth n in a text weighs n, or 1 + ln n from n = 1 on. Its
BLAKE2b hash names one of 1 024 components and a sign; the components are summed and the vector scaled to length 1.

The result is the same to the last bit in every batch: occurrences are counted as integers, the weights of a text are
added in the order of its sorted features, and nothing is computed across rows.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
import numpy.typing as npt

from magpie.text.embedder import Vectors
from magpie.text.similarity import normalised
from magpie.text.stopwords import STOP_WORDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_DIMS = 1024
_GRAM = 4
_GRAM_WORTH = 0.3  # a word of ordinary length has five grams, which together weigh about as much as the word
_WORD_RE = re.compile(r"[^\W_]+")

# Bounds on what is held at once. The first covers some 60 000 posts; a larger one saves little hashing.
_BLOCK_CHARACTERS = 1 << 25
_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class _Features:
    """Distinct features of one kind in sorted order, and where each goes: component and sign, shape (features,)."""

    component: Ints
    sign: Floats
    worth: float

    @classmethod
    def hashed(cls, names: Iterable[bytes], count: int, worth: float) -> "_Features":
        digests = b"".join(blake2b(name, digest_size=8).digest() for name in names)
        hashes = np.frombuffer(digests, dtype="<u8", count=count)
        sign = np.where(hashes >> np.uint64(63) == 0, -1.0, 1.0)
        return cls((hashes % np.uint64(_DIMS)).astype(np.int64), sign, worth)

    def contributions(self, rows: Ints, features: Ints) -> tuple[Ints, Floats]:
        """Return for every distinct (row, feature), in that order, the flat component and the signed weight."""
        keys, counts = np.unique(rows * len(self.component) + features, return_counts=True)
        row, feature = np.divmod(keys, len(self.component))
        # From a table made with math.log: an array logarithm may differ in the last bit by position in the array.
        table = np.array([_weight(self.worth * n) for n in range(int(counts.max()) + 1)])
        return row * _DIMS + self.component[feature], self.sign[feature] * table[counts]


@dataclass(frozen=True)
class _Ragged:
    """Lists of integers of different lengths: list i is `values[offsets[i]:offsets[i + 1]]`."""

    values: Ints
    offsets: Ints

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "_Ragged":
        lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        return cls(np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=int(offsets[-1])), offsets)

    def take(self, lists: Ints) -> tuple[Ints, Ints]:
        """Return the values of the named lists one after the other, and of each the position of its list."""
        starts = self.offsets[lists]
        lengths = self.offsets[lists + 1] - starts
        position = np.repeat(np.arange(len(lists)), lengths)
        before = np.cumsum(lengths) - lengths
        return self.values[np.arange(len(position)) - before[position] + starts[position]], position


class OfflineHashEmbedder:
    """`offline-hash-1024`: 1 024 components, no cost; vectors as the module's docstring defines them."""

    model = "offline-hash-1024"
    dims = _DIMS
    provider = "offline"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of shape (len(texts), 1024); a text of nothing but stop words is all zero."""
        out = np.zeros((len(texts), _DIMS), dtype=np.float32)
        for start, stop in _blocks(texts):
            _embed_block(texts[start:stop], out[start:stop])
        return out


def _weight(worth: float) -> float:
    return 1.0 + math.log(worth) if worth >= 1 else worth


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) so that a block holds few enough characters, or is one text."""
    start = held = 0
    for position, text in enumerate(texts):
        if held and held + len(text) > _BLOCK_CHARACTERS:
            yield start, position
            start, held = position, 0
        held += len(text) + 1
    if start < len(texts):
        yield start, len(texts)


def _embed_block(texts: Sequence[str], out: Vectors) -> None:
    """Fill `out`, rows of zeros, with the vectors of the texts."""
    vocabulary, tokens = _tokenised(texts)
    if not vocabulary:
        return
    words = _Features.hashed((f"w:{word}".encode() for word in vocabulary), len(vocabulary), 1.0)
    grams, grams_of_word = _grams(vocabulary)
    pairs, pair_at = _pairs(vocabulary, tokens)
    for start in range(0, len(texts), _BLOCK_ROWS):
        rows = min(_BLOCK_ROWS, len(texts) - start)
        bounds = tokens.offsets[start : start + rows + 1]
        first, last = int(bounds[0]), int(bounds[-1])
        if first == last:
            continue
        row_of_token = np.repeat(np.arange(rows), np.diff(bounds))
        parts = [words.contributions(row_of_token, tokens.values[first:last])]
        gram, position = grams_of_word.take(tokens.values[first:last])
        if len(gram):
            parts.append(grams.contributions(row_of_token[position], gram))
        pair = pair_at[first:last]
        if (pair >= 0).any():
            parts.append(pairs.contributions(row_of_token[pair >= 0], pair[pair >= 0]))
        components = np.concatenate([part[0] for part in parts])
        weights = np.concatenate([part[1] for part in parts])
        sums = np.asarray(np.bincount(components, weights=weights, minlength=rows * _DIMS), dtype=np.float64)
        out[start : start + rows] = normalised(sums.reshape(rows, _DIMS))


def _tokenised(texts: Sequence[str]) -> tuple[list[str], _Ragged]:
    """Return the sorted distinct words, stop words left out, and per text the numbers of its words."""
    number_of: dict[str, int] = dict.fromkeys(STOP_WORDS, -1)
    seen: list[str] = []
    lists: list[npt.NDArray[np.int32]] = []
    for text in texts:
        found = _WORD_RE.findall(text.casefold())
        for token in found:
            if token not in number_of:
                number_of[token] = len(seen)
                seen.append(token)
        numbers = np.fromiter(map(number_of.__getitem__, found), dtype=np.int32, count=len(found))
        lists.append(numbers[numbers >= 0])
    order = sorted(range(len(seen)), key=seen.__getitem__)
    rank = np.empty(len(seen), dtype=np.int64)
    rank[order] = np.arange(len(seen))
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    values = rank[np.concatenate(lists)] if seen else np.zeros(0, dtype=np.int64)
    return [seen[number] for number in order], _Ragged(values, offsets)


def _grams(vocabulary: Sequence[str]) -> tuple[_Features, _Ragged]:
    """Return the distinct four-character pieces, and per word of the vocabulary the numbers of its pieces."""
    pieces = [[f"^{word}$"[at : at + _GRAM] for at in range(len(word) + 3 - _GRAM)] for word in vocabulary]
    distinct = sorted(set(chain.from_iterable(pieces)))
    number_of = {piece: number for number, piece in enumerate(distinct)}
    lists = [[number_of[piece] for piece in of_word] for of_word in pieces]
    features = _Features.hashed((f"c:{piece}".encode() for piece in distinct), len(distinct), _GRAM_WORTH)
    return features, _Ragged.of(lists)


def _pairs(vocabulary: Sequence[str], tokens: _Ragged) -> tuple[_Features, Ints]:
    """Return the distinct pairs of neighbours, and per token the number of the pair it begins, -1 at a text's end."""
    size = len(vocabulary)
    begins = np.ones(len(tokens.values), dtype=bool)
    ends = tokens.offsets[1:]
    begins[ends[np.diff(tokens.offsets) > 0] - 1] = False
    at = np.flatnonzero(begins)
    keys, numbers = np.unique(tokens.values[at] * size + tokens.values[at + 1], return_inverse=True)
    left, right = np.divmod(keys, size)
    names = (f"b:{vocabulary[a]} {vocabulary[b]}".encode() for a, b in zip(left.tolist(), right.tolist(), strict=True))
    pair_at = np.full(len(tokens.values), -1, dtype=np.int64)
    pair_at[at] = numbers
    return _Features.hashed(names, len(keys), 1.0), pair_at

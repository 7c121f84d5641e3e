"""Cosines between unit vectors, and the centroid of a keyword set.

Belongs here: arithmetic on vectors whose result for a row never depends on the other rows. Does not belong here:
how vectors are made, and thresholds. Matrix products of a linear-algebra library are avoided on purpose: they pick
a kernel by the shape of the input, so the last bit of a row would change with the size of its batch.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BLOCK_ROWS = 4096  # 32 MiB of float64 for 1 024 dimensions


def normalised(vectors: npt.NDArray[np.floating]) -> Floats:
    """Return rows of shape (n, dims) scaled to length 1; a zero row stays zero."""
    rows = vectors.astype(np.float64)
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def centroid(vectors: npt.NDArray[np.floating], weights: Sequence[float]) -> Floats:
    """Return the unit vector of shape (dims,) along the weighted sum of the rows, each scaled to length 1 first.

    The rows are added in the order given, so a caller that wants the same bits gives the same order. Opposite rows
    that cancel, and rows of zeros, give the zero vector.
    """
    weighted = normalised(vectors) * np.asarray(weights, dtype=np.float64)[:, None]
    return normalised(weighted.sum(axis=0)[None, :])[0]


def cosine_rows(vectors: npt.NDArray[np.floating], direction: Floats) -> Floats:
    """Return the dot product, shape (n,), of every unit row with a unit vector of shape (dims,)."""
    out = np.empty(len(vectors), dtype=np.float64)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK_ROWS], dtype=np.float64)
        out[start : start + _BLOCK_ROWS] = (block * direction).sum(axis=1)
    return out


def max_cosine_rows(vectors: npt.NDArray[np.floating], directions: npt.NDArray[np.floating]) -> Floats:
    """Return the largest dot product, shape (n,), of every unit row with any of the unit rows (k, dims), k ≥ 1."""
    best = np.full(len(vectors), -np.inf)
    for direction in directions:
        np.maximum(best, cosine_rows(vectors, direction.astype(np.float64)), out=best)
    return best

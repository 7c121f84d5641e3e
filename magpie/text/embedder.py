"""What an embedder is.

Belongs here: the interface. Does not belong here: the embedders (one module per model) and the lookup by name
(`embedders.py`).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors; the same text gives the same vector in every batch."""

    @property
    def model(self) -> str:
        """Name written into every row, for example `offline-hash-1024`."""

    @property
    def dims(self) -> int:
        """Length of a vector."""

    @property
    def provider(self) -> str:
        """Who computes it: `offline` costs nothing and needs no key."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return an array of shape (len(texts), dims), each row of length 1, or all zero for a text without content."""

"""What an embedder is, and which one a setting names.

Belongs here: the interface and the lookup. Does not belong here: how a model computes its vectors (one module
per model) and thresholds on its cosines (`magpie/leads/calibration.yaml`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from magpie.errors import UserError

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


def _offline_hash() -> Embedder:
    from magpie.text.offline_hash import OfflineHashEmbedder

    return OfflineHashEmbedder()


def _minilm() -> Embedder:
    from magpie.text.minilm import MiniLMEmbedder

    return MiniLMEmbedder()


EMBEDDERS: dict[str, Callable[[], Embedder]] = {
    "offline-hash-1024": _offline_hash,
    "all-minilm-l6-v2": _minilm,
}


def embedder_named(model: str) -> Embedder:
    """Return the embedder a setting names; heavy libraries load only now.

    Raises:
        UserError: no such model.
    """
    if model not in EMBEDDERS:
        raise UserError(f"embed_model = {model!r} is not known; choose one of {', '.join(sorted(EMBEDDERS))}")
    return EMBEDDERS[model]()

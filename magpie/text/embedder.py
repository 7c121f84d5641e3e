"""What an embedder is.

Belongs here: the interface. Does not belong here: the embedders (one module per model) and the lookup by name
(`embedders.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Wait:
    """Why a text has no vector yet; `not_before` None: it waits for an event."""

    reason: str
    not_before: datetime | None


@dataclass(frozen=True)
class Embedded:
    """Vectors of some texts: shape (texts, dims), zero where `waiting` says, by position, why there is none yet."""

    vectors: Vectors
    waiting: Mapping[int, Wait]


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


@runtime_checkable
class RemoteEmbedder(Protocol):
    """Asks a provider, which may have to wait: for money, for a quota, for a server."""

    @property
    def model(self) -> str: ...

    @property
    def dims(self) -> int: ...

    @property
    def provider(self) -> str: ...

    def embed_or_wait(self, texts: Sequence[str], row_refs: Sequence[str] | None = None) -> Embedded:
        """Return what there is; a refusal is told by position, never raised.

        `row_refs` name the rows the texts come from, so that what is kept of a deleted one can be found.
        """


AnyEmbedder = Embedder | RemoteEmbedder


def embedded(embedder: AnyEmbedder, texts: Sequence[str], row_refs: Sequence[str] | None = None) -> Embedded:
    """Embed with either kind."""
    if isinstance(embedder, RemoteEmbedder):
        return embedder.embed_or_wait(texts, row_refs)
    return Embedded(embedder.embed(texts), {})

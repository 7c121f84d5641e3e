"""Which embedder a setting names.

Belongs here: the lookup. Does not belong here: what an embedder is (`embedder.py`), how a model computes its vectors
(one module per model), and thresholds on its cosines (`magpie/leads/calibration.yaml`).
"""

from collections.abc import Callable

from magpie.errors import UserError
from magpie.text.embedder import Embedder


def _offline_hash() -> Embedder:
    from magpie.text.offline_hash import OfflineHashEmbedder

    return OfflineHashEmbedder()


def _minilm() -> Embedder:
    from magpie.text.minilm import MiniLMEmbedder

    return MiniLMEmbedder()


# Served by a provider, through the gateway (`magpie/engine.py`): name in settings and rows -> name in its registry.
HOSTED_EMBEDDERS = {"text-embedding-3-small": "openai/text-embedding-3-small"}

EMBEDDERS: dict[str, Callable[[], Embedder]] = {
    "offline-hash-1024": _offline_hash,
    "all-minilm-l6-v2": _minilm,
}


def embedder_named(model: str) -> Embedder:
    """Return the embedder of ours that a setting names; heavy libraries load only now.

    Raises:
        UserError: no such model.
    """
    if model not in EMBEDDERS:
        raise UserError(f"embed_model = {model!r} is not known; choose one of {', '.join(sorted(EMBEDDERS))}")
    return EMBEDDERS[model]()


def free_embedder(model: str) -> Embedder | None:
    """Return the embedder of that name if it costs nothing, else None."""
    found = embedder_named(model) if model not in HOSTED_EMBEDDERS else None
    return found if found is not None and found.provider == "offline" else None

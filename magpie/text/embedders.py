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

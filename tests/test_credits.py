"""Credits: the three ways of counting."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.llm.credits import FLAT, RATES, credits_of, list_price
from magpie.llm.models import Model

CHEAP = Model("openai", "small", "text", tokens_per_credit=400)


@pytest.mark.parametrize(
    ("operation", "tokens", "credits"),
    [
        ("clustering", 4321, 29),
        ("clustering", 100, 2),
        ("ideas", 150, 1),
        ("ideas", 201, 2),
        ("article", 9000, 90),
        ("article", 9001, 91),
        ("article", 0, 3),
        ("image_prompts", 101, 2),
        ("linking", 601, 3),
        ("optimisation", 400, 2),
        ("other", 1, 1),
    ],
)
def test_tokens_count_by_operation_and_a_use_for_no_less_than_its_minimum(
    operation: str, tokens: int, credits: int
) -> None:
    assert credits_of(operation, tokens) == credits


def test_three_of_four_images_count_for_three_and_none_for_nothing() -> None:
    assert credits_of("image", 0, images=3) == 15
    assert credits_of("image", 5000, images=0) == 0
    assert credits_of("image", 5000, images=3) == 100


def test_flat_counting_goes_by_words_and_pieces() -> None:
    assert credits_of("article", 9001, words=1250, version="v0") == 13
    assert credits_of("clustering", 9001, version="v0") == 10
    assert credits_of("ideas", 9001, version="v0") == 15
    assert credits_of("image", 0, images=3, version="v0") == 15
    assert credits_of("linking", 601, version="v0") == credits_of("linking", 601)


def test_v2_goes_by_the_model_that_did_the_work() -> None:
    assert credits_of("article", 9001, version="v2", model=CHEAP) == 23
    assert credits_of("article", 100, version="v2", model=CHEAP) == 3
    assert credits_of("article", 9001, version="v2") == 91
    for quality, credits in (("basic", 2), ("quality", 10), ("premium", 30)):
        painter = Model("openai", "painter", "image", quality=quality)  # type: ignore[arg-type]
        assert credits_of("image", 9000, images=2, version="v2", model=painter) == credits


def test_a_credit_is_a_cent() -> None:
    assert list_price(91) == 910_000_000


@pytest.mark.parametrize(("operation", "version"), [("articles", "v1"), ("article", "v3")])
def test_an_unknown_operation_or_version_is_an_error_and_not_free(operation: str, version: str) -> None:
    with pytest.raises(ValueError, match="there are"):
        credits_of(operation, 1, version=version)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.sampled_from(sorted(RATES)), st.integers(0, 10**6), st.integers(0, 1000), st.integers(1, 10))
def test_more_work_never_counts_for_less_so_an_estimate_covers_what_follows(
    operation: str, tokens: int, more: int, images: int
) -> None:
    for version in ("v0", "v1", "v2"):
        less = credits_of(operation, tokens, images=images, words=tokens, version=version)  # type: ignore[arg-type]
        most = credits_of(operation, tokens + more, images=images, words=tokens + more, version=version)  # type: ignore[arg-type]
        assert most >= less >= 0


def test_flat_operations_are_operations() -> None:
    assert set(FLAT) <= set(RATES)

"""Credits: what work counts for, whoever the provider was.

Belongs here: the three ways of counting, and what a credit is worth. Does not belong here: money (`prices.py`), the
balance (the ledger keeps what was charged).

v1 is the default: tokens by operation. v0 is flat, for accounts that were sold so. v2 counts a text's tokens by the
model that made it, and images by their quality.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from magpie.llm.models import Model, Quality
from magpie.llm.money import NANO_PER_USD

Version = Literal["v0", "v1", "v2"]
DEFAULT_VERSION: Version = "v1"

# The list price of a credit is a cent.
NANO_PER_CREDIT = NANO_PER_USD // 100
IMAGE = "image"


@dataclass(frozen=True)
class Rate:
    """Of one operation: tokens per credit, and the least that a use of it counts for (per image, for images)."""

    tokens_per_credit: int
    least: int


RATES: Mapping[str, Rate] = {
    "clustering": Rate(150, 2),
    "ideas": Rate(200, 1),
    "article": Rate(100, 3),
    "image_prompts": Rate(100, 1),
    IMAGE: Rate(50, 5),
    "linking": Rate(300, 1),
    "optimisation": Rate(200, 1),
    "other": Rate(100, 1),
}
FLAT: Mapping[str, int] = {"clustering": 10, "ideas": 15}
FLAT_PER_IMAGE = 5
WORDS_PER_FLAT_CREDIT = 100
PER_IMAGE: Mapping[Quality, int] = {"basic": 1, "quality": 5, "premium": 15}


def credits_of(
    operation: str,
    tokens: int,
    *,
    images: int = 0,
    words: int = 0,
    version: Version = DEFAULT_VERSION,
    model: Model | None = None,
) -> int:
    """Return the credits of one use of an operation; of an estimate before it, of what succeeded after it.

    Answers from the journal, offline answers and what failed count for nothing: they are not to be asked about here.

    Args:
        operation: a key of RATES.
        tokens: in and out; of an estimate, the most.
        images: made; a failed one is no image. Without any an image operation counts for nothing.
        words: of an article, for v0.
        model: who made it, for v2.

    Raises:
        ValueError: there is no such operation or version.
    """
    if operation not in RATES:
        raise ValueError(f"no operation {operation!r}; there are {', '.join(sorted(RATES))}")
    if version == "v0":
        return _flat(operation, tokens, images, words)
    if version == "v2":
        if operation == IMAGE:
            return images * PER_IMAGE[model.quality if model else "basic"]
        return _by_tokens(operation, tokens, images, model.tokens_per_credit if model else None)
    if version == "v1":
        return _by_tokens(operation, tokens, images, None)
    raise ValueError(f"no way of counting credits {version!r}; there are v0, v1, v2")


def list_price(credits: int) -> int:
    """Return what credits are sold for, in nano-USD."""
    return credits * NANO_PER_CREDIT


def _by_tokens(operation: str, tokens: int, images: int, tokens_per_credit: int | None) -> int:
    rate = RATES[operation]
    if operation == IMAGE:
        return max(images * rate.least, _up(tokens, rate.tokens_per_credit)) if images else 0
    return max(rate.least, _up(tokens, tokens_per_credit or rate.tokens_per_credit))


def _flat(operation: str, tokens: int, images: int, words: int) -> int:
    if operation == IMAGE:
        return images * FLAT_PER_IMAGE
    if operation == "article":
        return _up(words, WORDS_PER_FLAT_CREDIT)
    # What had no flat price was not sold flat.
    return FLAT[operation] if operation in FLAT else _by_tokens(operation, tokens, images, None)


def _up(count: int, per: int) -> int:
    return -(-max(count, 0) // per)

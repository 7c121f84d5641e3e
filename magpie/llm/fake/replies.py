"""Successful answers of the fake provider, in each API's own shape, with counts that follow from the request alone.

Belongs here: bodies of answers and their usage. Does not belong here: what the texts say (`answers.py`), errors
(`apis.py`).
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from magpie.llm.fake import answers
from magpie.llm.fake.apis import Asked
from magpie.llm.money import to_nano
from magpie.llm.reply import Usage

# Roughly what English text comes to; never more tokens than bytes.
BYTES_PER_TOKEN = 4
MESSAGE_TOKENS, IMAGE_TOKENS, DRAWN_IMAGE_TOKENS = 3, 85, 1000
# No answer of this length exists; a client has to notice.
HUGE_TOKENS = 10_000_000
PER_MILLION = 1_000_000

Price = Callable[[str, Usage], int]


@dataclass(frozen=True)
class Made:
    """An answer: its body, and what it truly used."""

    body: dict[str, Any]
    usage: Usage


def per_million(input_usd: Decimal, output_usd: Decimal) -> Price:
    """A price per million tokens, the same for all models; nano-USD, rounded up."""

    def price(model: str, usage: Usage) -> int:
        return to_nano((usage.input_tokens * input_usd + usage.output_tokens * output_usd) / PER_MILLION)

    return price


def reply_to(asked: Asked, body: Mapping[str, Any], request_id: str, text: str | None, kind: str, created: int) -> Made:
    """The answer to a valid request.

    Args:
        text: of a responder; None: the default answer.
        kind: of the fault that spoils it, or empty.
        created: epoch seconds.
    """
    if asked.address.endpoint == "embeddings":
        return _embeddings(asked, body, kind)
    if asked.address.endpoint == "moderations":
        results = [_moderation(one) for one in asked.texts]
        # Nothing is told to be used and nothing is billed: moderation is free.
        return Made({"id": f"modr-{request_id}", "model": asked.model, "results": results}, Usage())
    if asked.address.endpoint == "images/generations":
        return _images(asked, int(body.get("n", 1)), kind, created)
    return _text(asked, request_id, text, kind, created)


def tokens(text: str) -> int:
    """Tokens of a text; at least 1, as no API counts 0 for anything."""
    return max(-(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN), 1)


def _text(asked: Asked, request_id: str, text: str | None, kind: str, created: int) -> Made:
    text = answers.text_for(asked.prompt, asked.schema) if text is None else text
    text = answers.misshapen(kind, text, asked.schema)
    refused, cut = kind == "refusal", kind == "length"
    if asked.bound and tokens(text) > asked.bound:
        text, cut = text.encode()[: asked.bound * BYTES_PER_TOKEN].decode("utf-8", "ignore"), True
    taken = tokens(asked.prompt) + MESSAGE_TOKENS * asked.messages + IMAGE_TOKENS * asked.images
    usage = Usage(input_tokens=taken, output_tokens=tokens(text))
    if kind == "usage_cached":
        usage = replace(usage, cached_tokens=taken // 2, cache_write_tokens=taken // 4)
    head = (asked, request_id, text, usage, kind)
    made = (
        _message(*head, cut, refused) if asked.address.api == "anthropic" else _completion(*head, cut, refused, created)
    )
    return Made(made, usage)


def _completion(
    asked: Asked, request_id: str, text: str, usage: Usage, kind: str, cut: bool, refused: bool, created: int
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if refused:
        message |= {"content": None, "refusal": "I'm sorry, I can't help with that."}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length" if cut else "stop"}
    name = f"gen-{request_id}" if asked.address.api == "openrouter" else f"chatcmpl-{request_id}"
    body = {"id": name, "object": "chat.completion", "created": created, "model": asked.model, "choices": [choice]}
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    return _with_usage(body, counts, kind)


def _message(
    asked: Asked, request_id: str, text: str, usage: Usage, kind: str, cut: bool, refused: bool
) -> dict[str, Any]:
    stop = "refusal" if refused else "max_tokens" if cut else "end_turn"
    body = {
        "id": f"msg_{request_id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [] if refused else [{"type": "text", "text": text}],
        "stop_reason": stop,
        "stop_sequence": None,
    }
    counts = {
        "input_tokens": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
    }
    return _with_usage(body, counts, kind)


def _embeddings(asked: Asked, body: Mapping[str, Any], kind: str) -> Made:
    dims = int(body.get("dimensions", answers.DEFAULT_DIMS))
    encoded = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": answers.packed(values) if encoded else values}
        for index, values in enumerate(answers.vector(text, dims) for text in asked.texts)
    ]
    usage = Usage(sum(tokens(text) for text in asked.texts))
    counts = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return Made(_with_usage({"object": "list", "model": asked.model, "data": data}, counts, kind), usage)


def _images(asked: Asked, number: int, kind: str, created: int) -> Made:
    names = [f"{asked.prompt}#{index}" for index in range(number)]
    if asked.size is None:
        drawn = [answers.png(name) for name in names]
    else:
        drawn = [answers.picture(name, *asked.size, asked.image_format) for name in names]
    usage = Usage(tokens(asked.prompt), output_tokens=DRAWN_IMAGE_TOKENS * number, images=number)
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens_details": {"text_tokens": usage.input_tokens, "image_tokens": 0},
    }
    body = {"created": created, "data": [{"b64_json": base64.b64encode(image).decode()} for image in drawn]}
    return Made(_with_usage(body, counts, kind), usage)


def _moderation(text: str) -> dict[str, Any]:
    flagged = answers.flagged(text)
    names = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
    return {
        "flagged": flagged,
        "categories": {name: flagged and name == "harassment" for name in names},
        "category_scores": {name: 0.99 if flagged and name == "harassment" else 0.0001 for name in names},
    }


def _with_usage(body: dict[str, Any], counts: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The counts as they are told, which under some faults is not as they are."""
    if kind == "usage_missing":
        return body
    if kind in ("usage_zero", "usage_huge"):
        told = 0 if kind == "usage_zero" else HUGE_TOKENS
        counts = {name: told if isinstance(value, int) else value for name, value in counts.items()}
    return {**body, "usage": dict(counts)}

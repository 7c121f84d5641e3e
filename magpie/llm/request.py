"""What is asked of a model: in no provider's words (`Ask`), and as it goes over the wire (`Request`).

Belongs here: the two shapes and the key under which an answer is journalled. Does not belong here: how a provider
words an ask (`providers/`), who asks and why (`purpose.py`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Kind = Literal["text", "json", "embedding", "moderation", "image"]

# Stands in a body where an image's bytes go on the wire, so that key and ledger hold its hash and not its bytes.
IMAGE_MARK = "magpie-image:"


@dataclass(frozen=True)
class Image:
    """An image as input of a vision model."""

    mime: str
    data: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def mark(self) -> str:
        """What stands for the image in a request's body."""
        return IMAGE_MARK + self.sha256


@dataclass(frozen=True)
class Turn:
    """One message after the first: a model's earlier answer, or what was wrong with it."""

    role: Literal["assistant", "user"]
    text: str


@dataclass(frozen=True)
class Ask:
    """A rendered function call.

    Attributes:
        kind: what comes back.
        user: the rendered prompt; untrusted parts are delimited in it.
        system: standing instructions, or empty.
        turns: the conversation after the prompt, for re-asks.
        images: for vision models.
        texts: what to embed or moderate, instead of `user`.
        json_schema: the answer's shape, with the name it goes by.
        max_output_tokens: bound of the answer, reasoning included.
        temperature: None leaves it to the model.
        dims: length of embedding vectors; None leaves it to the model.
        reasoning_off: the model is to answer without thinking first, where its provider lets one say so.
        size: of the image to make, width and height in pixels; None leaves it to the model.
        negative: what that image is not to show.
        image_format: webp, png or jpeg; empty leaves it to the model.
        quality: of the image, in the model's own words; empty leaves it to the model.
        seed: what the image's noise begins from.
    """

    kind: Kind
    user: str = ""
    system: str = ""
    turns: tuple[Turn, ...] = ()
    images: tuple[Image, ...] = ()
    texts: tuple[str, ...] = ()
    json_schema: Mapping[str, Any] | None = None
    schema_name: str = ""
    max_output_tokens: int = 0
    temperature: float | None = None
    dims: int | None = None
    reasoning_off: bool = False
    size: tuple[int, int] | None = None
    negative: str = ""
    image_format: str = ""
    quality: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class Request:
    """One call as the provider gets it.

    Attributes:
        base_url: where it goes; part of the key, since two servers of one name may answer differently.
        endpoint: `chat/completions`, `messages`, `embeddings`, `moderations`, `images/generations`, `imageInference`.
        body: the JSON on the wire, each image as its mark.
        images: the images by their mark.
        sample: distinguishes several answers to one prompt; in the key, not on the wire.
        dropped_params: what was asked for and the model does not take.
        images_made: how many images are asked for, where images are.
        call_id: of the one sending, for providers that call it by an id of ours; not in the key.
    """

    provider: str
    base_url: str
    model: str
    endpoint: str
    body: Mapping[str, Any]
    images: Mapping[str, Image] = field(default_factory=dict)
    sample: int = 0
    dropped_params: tuple[str, ...] = ()
    max_output_tokens: int = 0
    images_made: int = 1
    call_id: str = ""

    @cached_property
    def wire_bytes(self) -> int:
        """UTF-8 bytes of the body without image data: a bound from above of its text tokens."""
        return len(canonical(self.body))

    @cached_property
    def key(self) -> str:
        """sha256 that identifies the answer: no asset, no code version, no run in it."""
        return hashlib.sha256(
            canonical(
                {
                    "provider": self.provider,
                    "base_url": self.base_url,
                    "model": self.model,
                    "endpoint": self.endpoint,
                    "body": self.body,
                    "sample": self.sample,
                }
            )
        ).hexdigest()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

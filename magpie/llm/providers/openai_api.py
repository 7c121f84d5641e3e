"""OpenAI's API, and the servers that speak it: openai, local, and under `openrouter.py` OpenRouter.

Belongs here: wording requests and reading answers of chat completions, embeddings, moderations and image generation.
Does not belong here: which models there are (`../models.py`), statuses (`faults.py`).
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx2

from magpie.llm.models import Model
from magpie.llm.providers.bodies import BadBody, count, mapping, told
from magpie.llm.providers.sdk import NO_KEY, SdkProvider, bound_of, check_images
from magpie.llm.providers.text import one_line, storable
from magpie.llm.providers.transport import MOST_BYTES
from magpie.llm.reply import FinishReason, Reply, Usage
from magpie.llm.request import Ask, Image, Request, canonical
from magpie.utc import utc_now

# What the API takes as a schema's name.
SCHEMA_NAME = re.compile(r"[^A-Za-z0-9_-]+")
MOST_SCHEMA_NAME = 64
FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refused",
    "refusal": "refused",
}

# What is asked here is short and told in full; every thinking model knows this word.
REASONING_EFFORT = "low"
# Left to itself OpenAI decides how closely to look, and small print is what images are shown for. Others do not all
# know the word.
IMAGE_DETAIL = {"detail": "high"}


class OpenAIApi(SdkProvider):
    """A server that speaks OpenAI's API.

    Args:
        bound_name: what the bound of an answer is called: `max_completion_tokens` at OpenAI, whose reasoning models
            refuse the old name; `max_tokens` elsewhere, where the new one may be ignored.
        needs_key: False: calls go out without one as well.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        key: str | None,
        *,
        bound_name: str = "max_tokens",
        needs_key: bool = True,
        proxy: str | None = None,
        clock: Callable[[], datetime] = utc_now,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        super().__init__(name, base_url, key, proxy=proxy, clock=clock, most_bytes=most_bytes)
        self._bound_name, self._needs_key = bound_name, needs_key

    @property
    def has_key(self) -> bool:
        return super().has_key or not self._needs_key

    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request:
        """Word an ask.

        Raises:
            UserError: images for a model that cannot see.
            ValueError: nothing bounds the answer's length.
        """
        if ask.kind == "embedding":
            return self._request("embeddings", model, self._embeddings(ask, model), sample)
        if ask.kind == "moderation":
            body = {"model": model.model_id, "input": list(ask.texts)}
            return self._request("moderations", model, body, sample)
        if ask.kind == "image":
            drawing, dropped = _drawing(ask, model)
            return self._request("images/generations", model, drawing, sample, dropped)
        return self._chat(ask, model, sample)

    def _request(
        self,
        endpoint: str,
        model: Model,
        body: Mapping[str, Any],
        sample: int,
        dropped: tuple[str, ...] = (),
        images: Mapping[str, Image] | None = None,
        bound: int = 0,
    ) -> Request:
        return Request(self.name, self.base_url, model.model_id, endpoint, body, images or {}, sample, dropped, bound)

    def _chat(self, ask: Ask, model: Model, sample: int) -> Request:
        check_images(ask, model)
        bound, dropped = bound_of(ask, model), []
        messages = _messages(ask, IMAGE_DETAIL if self.name == "openai" else {})
        body: dict[str, Any] = {"model": model.model_id, "messages": messages, self._bound_name: bound}
        if ask.temperature is not None:
            if model.temperature:
                body["temperature"] = ask.temperature
            else:
                dropped.append("temperature")
        if self.name == "openai" and not model.temperature:
            # A model that takes no temperature thinks first, and its thoughts count against the answer's bound.
            body["reasoning_effort"] = REASONING_EFFORT
        body |= self._thinking(ask)
        if ask.json_schema is not None:
            if model.json:
                body["response_format"] = _response_format(ask)
            else:
                dropped.append("json")
        images = {image.mark: image for image in ask.images}
        return self._request("chat/completions", model, body, sample, tuple(dropped), images, bound)

    def _thinking(self, ask: Ask) -> dict[str, Any]:
        """What a body says about thinking first, where the API has words for that."""
        return {}

    def _embeddings(self, ask: Ask, model: Model) -> dict[str, Any]:
        # Left to itself the SDK asks for base64, which not every server knows.
        body: dict[str, Any] = {"model": model.model_id, "input": list(ask.texts), "encoding_format": "float"}
        # Asking for what comes anyway would only be refused by models whose length is fixed.
        if ask.dims is not None and ask.dims != model.dims:
            body["dimensions"] = ask.dims
        return body

    def _auth_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._key}"} if self._key else {}

    def _new_client(self, http: httpx2.Client) -> Any:
        import openai

        return openai.OpenAI(api_key=NO_KEY, base_url=self.base_url, max_retries=0, http_client=http)

    def _create(self, endpoint: str) -> Callable[..., Any]:
        client = self._client()
        resources = {
            "chat/completions": lambda: client.chat.completions.with_raw_response.create,
            "embeddings": lambda: client.embeddings.with_raw_response.create,
            "moderations": lambda: client.moderations.with_raw_response.create,
            "images/generations": lambda: client.images.with_raw_response.generate,
        }
        create: Callable[..., Any] = resources[endpoint]()
        return create

    def _with_image(self, part: Mapping[str, Any], images: Mapping[str, Image]) -> Mapping[str, Any]:
        if part.get("type") != "image_url":
            return part
        image = images[part["image_url"]["url"]]
        url = f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"
        return {**part, "image_url": {**part["image_url"], "url": url}}

    def _usage(self, body: Mapping[str, Any]) -> Usage | None:
        return usage_of(body)

    def _request_id(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
        found = headers.get("x-request-id") or body.get("id")
        return one_line(found) if isinstance(found, str) else None

    def _answer(self, endpoint: str, body: Mapping[str, Any], usage: Usage | None, request_id: str | None) -> Reply:
        model = one_line(str(body.get("model") or ""))
        if endpoint == "embeddings":
            return Reply(vectors=_vectors(body), usage=told(usage, False), model=model, provider_request_id=request_id)
        if endpoint == "moderations":
            results = body.get("results")
            if not isinstance(results, list) or not all(isinstance(result, Mapping) for result in results):
                raise BadBody("no results of moderation in the body")
            text = storable(canonical(results).decode())
            return Reply(text=text, usage=usage, model=model, provider_request_id=request_id)
        if endpoint == "images/generations":
            blobs = _blobs(body)
            return Reply(blobs=blobs, usage=told(usage, True), model=model, provider_request_id=request_id)
        return _chat_reply(body, usage, model, request_id)


def usage_of(body: Mapping[str, Any]) -> Usage | None:
    """Tokens as OpenAI counts them: cached ones are part of the input, reasoning is part of the output.

    Servers that count otherwise are read so that nothing is lost: a part is never more than its whole.
    """
    counts, images = body.get("usage"), body.get("data")
    if not isinstance(counts, Mapping):
        return None
    inputs = mapping(counts.get("prompt_tokens_details") or counts.get("input_tokens_details"))
    outputs = mapping(counts.get("completion_tokens_details") or counts.get("output_tokens_details"))
    try:
        taken = count(counts, "prompt_tokens", "input_tokens")
        cached = count(inputs, "cached_tokens") or 0
        written = count(inputs, "cache_write_tokens") or 0
        given = count(counts, "completion_tokens", "output_tokens") or 0
        reasoned = count(outputs, "reasoning_tokens") or 0
    except ValueError:
        return None
    if taken is None:
        return None
    drawn = sum("b64_json" in mapping(item) for item in images) if isinstance(images, list) else 0
    return Usage(max(taken, cached + written), cached, written, max(given, reasoned), reasoned, drawn)


def _drawing(ask: Ask, model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body that asks for one image, and what the API has no word for."""
    body: dict[str, Any] = {"model": model.model_id, "prompt": ask.user, "n": 1}
    if ask.size is not None:
        body["size"] = f"{ask.size[0]}x{ask.size[1]}"
    if ask.image_format:
        body["output_format"] = ask.image_format
    if ask.quality:
        body["quality"] = ask.quality
    asked = {"temperature": ask.temperature is not None, "negative_prompt": bool(ask.negative)}
    asked["seed"] = ask.seed is not None
    return body, tuple(name for name, given in asked.items() if given)


def _messages(ask: Ask, detail: Mapping[str, str]) -> list[dict[str, Any]]:
    content: Any = ask.user
    if ask.images:
        shown = [{"type": "image_url", "image_url": {"url": image.mark, **detail}} for image in ask.images]
        content = [{"type": "text", "text": ask.user}, *shown]
    first = [{"role": "system", "content": ask.system}] if ask.system else []
    return [*first, {"role": "user", "content": content}, *({"role": t.role, "content": t.text} for t in ask.turns)]


def _response_format(ask: Ask) -> dict[str, Any]:
    name = SCHEMA_NAME.sub("_", ask.schema_name)[:MOST_SCHEMA_NAME] or "answer"
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": ask.json_schema}}


def _chat_reply(body: Mapping[str, Any], usage: Usage | None, model: str, request_id: str | None) -> Reply:
    choices = body.get("choices")
    if not _is_list(choices) or not choices or not isinstance(choices[0], Mapping):
        raise BadBody("no choices in the body")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise BadBody("no message in the first choice")
    refusal = message.get("refusal")
    text, finish = _text(message.get("content")), FINISH.get(str(choice.get("finish_reason")), "other")
    if isinstance(refusal, str) and refusal:
        text, finish = text or refusal, "refused"
    return Reply(
        text=storable(text),
        usage=told(usage, bool(text)),
        model=model,
        finish_reason=finish,
        provider_request_id=request_id,
    )


def _text(content: Any) -> str:
    """The text of a message: a string, nothing, or parts of which some are text."""
    if content is None or isinstance(content, str):
        return content or ""
    if not _is_list(content):
        raise BadBody("the message's content is neither text nor parts")
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))


def _vectors(body: Mapping[str, Any]) -> tuple[bytes, ...]:
    """One little-endian float32 array per text, in the order asked.

    Raises:
        BadBody: one is missing, is no vector, or they differ in length.
    """
    import numpy as np

    data = body.get("data")
    if not _is_list(data) or not data or not all(isinstance(item, Mapping) for item in data):
        raise BadBody("no embeddings in the body")
    by_index: dict[int, bytes] = {}
    for item in data:
        index, values = item.get("index"), item.get("embedding")
        if not isinstance(index, int) or isinstance(index, bool) or index in by_index:
            raise BadBody("embeddings without a number of their own")
        if not _is_list(values) or not all(type(value) in (int, float) for value in values):
            raise BadBody(f"embedding {index} is no list of numbers")
        with np.errstate(over="ignore"):
            vector = np.asarray(values, dtype="<f4")
        if not vector.size or not np.isfinite(vector).all():
            raise BadBody(f"embedding {index} holds what is no number")
        by_index[index] = vector.tobytes()
    if sorted(by_index) != list(range(len(by_index))):
        raise BadBody("embeddings are missing")
    if len({len(vector) for vector in by_index.values()}) > 1:
        raise BadBody("embeddings differ in length")
    return tuple(by_index[index] for index in range(len(by_index)))


def _blobs(body: Mapping[str, Any]) -> tuple[bytes, ...]:
    data = body.get("data")
    if not _is_list(data) or not data:
        raise BadBody("no images in the body")
    blobs = []
    for item in data:
        encoded = mapping(item).get("b64_json")
        if not isinstance(encoded, str) or not encoded:
            raise BadBody("an image without its bytes")
        try:
            blobs.append(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError):
            raise BadBody("an image whose bytes are no base64") from None
    return tuple(blobs)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)

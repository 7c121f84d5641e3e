"""Anthropic's API: messages.

Belongs here: wording requests and reading answers of it. Does not belong here: which models there are
(`../models.py`), statuses (`faults.py`).
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from magpie.errors import UserError
from magpie.llm.models import Model
from magpie.llm.providers.bodies import BadBody, count, mapping, told
from magpie.llm.providers.sdk import NO_KEY, SdkProvider, bound_of, check_images
from magpie.llm.providers.text import one_line, storable
from magpie.llm.reply import FinishReason, Reply, Usage
from magpie.llm.request import Ask, Image, Request

FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}


class AnthropicApi(SdkProvider):
    """Anthropic, or a server that speaks its API. It takes no temperature."""

    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request:
        """Word an ask.

        Raises:
            UserError: it is for something else than text, or shows images to a model that cannot see.
            ValueError: nothing bounds the answer's length.
        """
        if ask.kind not in ("text", "json"):
            raise UserError(f"{self.name} has no model for {ask.kind}; choose another provider for it")
        check_images(ask, model)
        bound = bound_of(ask, model)
        body: dict[str, Any] = {"model": model.model_id, "messages": _messages(ask), "max_tokens": bound}
        if ask.system:
            body["system"] = ask.system
        dropped = ["temperature"] if ask.temperature is not None else []
        if ask.json_schema is not None:
            if model.json:
                body["output_config"] = {"format": {"type": "json_schema", "schema": ask.json_schema}}
            else:
                dropped.append("json")
        images = {image.mark: image for image in ask.images}
        return Request(
            self.name, self.base_url, model.model_id, "messages", body, images, sample, tuple(dropped), bound
        )

    def _auth_headers(self) -> dict[str, str]:
        return {"x-api-key": self._key}

    def _new_client(self, http: httpx2.Client) -> Any:
        import anthropic

        # Tracing would be switched on by the environment, prompts included.
        return anthropic.Anthropic(
            api_key=NO_KEY, base_url=self.base_url, max_retries=0, http_client=http, open_telemetry=False
        )

    def _create(self, endpoint: str) -> Callable[..., Any]:
        create: Callable[..., Any] = {"messages": self._client().messages.with_raw_response.create}[endpoint]
        return create

    def _with_image(self, part: Mapping[str, Any], images: Mapping[str, Image]) -> Mapping[str, Any]:
        if part.get("type") != "image":
            return part
        data = base64.b64encode(images[part["source"]["data"]].data).decode()
        return {**part, "source": {**part["source"], "data": data}}

    def _usage(self, body: Mapping[str, Any]) -> Usage | None:
        return usage_of(body)

    def _request_id(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
        found = headers.get("request-id") or body.get("request_id") or body.get("id")
        return one_line(found) if isinstance(found, str) else None

    def _answer(self, endpoint: str, body: Mapping[str, Any], usage: Usage | None, request_id: str | None) -> Reply:
        content = body.get("content")
        if not isinstance(content, list) or not all(isinstance(block, Mapping) for block in content):
            raise BadBody("no content in the body")
        text = "".join(str(block.get("text") or "") for block in content if block.get("type") == "text")
        return Reply(
            text=storable(text),
            usage=told(usage, bool(text)),
            model=one_line(str(body.get("model") or "")),
            finish_reason=FINISH.get(str(body.get("stop_reason")), "other"),
            provider_request_id=request_id,
        )


def usage_of(body: Mapping[str, Any]) -> Usage | None:
    """Tokens as Anthropic counts them, where cache reads and writes come on top of the input."""
    counts = body.get("usage")
    if not isinstance(counts, Mapping):
        return None
    try:
        fresh = count(counts, "input_tokens")
        cached = count(counts, "cache_read_input_tokens") or 0
        written = count(counts, "cache_creation_input_tokens") or 0
        given = count(counts, "output_tokens") or 0
        reasoned = count(mapping(counts.get("output_tokens_details")), "thinking_tokens", "reasoning_tokens") or 0
    except ValueError:
        return None
    if fresh is None:
        return None
    return Usage(fresh + cached + written, cached, written, max(given, reasoned), reasoned)


def _messages(ask: Ask) -> list[dict[str, Any]]:
    content: Any = ask.user
    if ask.images:
        # What a question is about comes before the question.
        shown = [
            {"type": "image", "source": {"type": "base64", "media_type": image.mime, "data": image.mark}}
            for image in ask.images
        ]
        content = [*shown, {"type": "text", "text": ask.user}]
    return [{"role": "user", "content": content}, *({"role": turn.role, "content": turn.text} for turn in ask.turns)]

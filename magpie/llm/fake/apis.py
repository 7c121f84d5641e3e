"""The APIs as the fake provider checks requests: what is asked, and what is wrong with it.

Belongs here: addresses, authentication, validation, and the shape of errors. Does not belong here: successful answers
(`replies.py`), the connection (`handler.py`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from magpie.llm.fake import answers

# Path prefixes: one server stands for all, each at an address of its own.
PREFIXES = {"/api/v1/": "openrouter", "/local/v1/": "local", "/v1/": "openai"}
BASE_PATHS = {"openai": "/v1", "anthropic": "", "openrouter": "/api/v1", "local": "/local/v1", "runware": "/runware/v1"}
OPENAI_ENDPOINTS = ("chat/completions", "embeddings", "moderations", "images/generations")
ENDPOINTS = (*OPENAI_ENDPOINTS, "messages")
# Runware has one address; the task says what is wanted.
RUNWARE_ENDPOINT = "imageInference"
# What images may be asked for as; sides are multiples of 16 and at most three times each other.
IMAGE_FORMATS, IMAGE_QUALITIES = ("png", "webp", "jpeg"), ("low", "medium", "high", "auto")
SIDE_STEP, MOST_RATIO, MOST_PIXELS = 16, 3, 3840 * 2160
# As the APIs bound them.
MOST_INPUTS, MOST_BODY = 2048, 32 * 1024 * 1024

CHAT_FIELDS = """
model messages audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort response_format
safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p
user verbosity web_search_options
"""
# OpenRouter and local servers take what they do not know; OpenAI and Anthropic refuse it.
OTHER_FIELDS = {
    "embeddings": "model input encoding_format dimensions user",
    "moderations": "model input",
    "images/generations": """
model prompt background moderation n output_compression output_format partial_images quality size stream style user
""",
}
MESSAGES_FIELDS = """
model messages max_tokens cache_control container diagnostics inference_geo metadata output_config service_tier speed
stop_sequences stream system thinking tool_choice tools
"""
ERROR_TYPES = {
    "anthropic": {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        422: "invalid_request_error",
        429: "rate_limit_error",
        529: "overloaded_error",
    },
    "openai": {401: "invalid_request_error", 403: "permission_error", 429: "requests", 402: "billing_error"},
}


class Wrong(Exception):
    """A request that the API refuses.

    Attributes:
        code: the API's own word for it, where it has one.
    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Address:
    """Where a request goes: which API, and which of its endpoints."""

    api: str
    endpoint: str


@dataclass(frozen=True)
class Asked:
    """A valid request, in no API's words.

    Attributes:
        prompt: all text that a model would read.
        schema: the answer's, if it asks for one.
        texts: what to embed or moderate.
        bound: most tokens of the answer; 0: none.
        size: of the image to make, if it says so.
    """

    address: Address
    model: str
    prompt: str
    schema: Mapping[str, Any] | None = None
    texts: tuple[str, ...] = ()
    messages: int = 1
    images: int = 0
    bound: int = 0
    size: tuple[int, int] | None = None
    image_format: str = "png"


def address_of(path: str, headers: Mapping[str, str]) -> Address:
    """Which API and endpoint a path stands for; an endpoint nobody has is kept as it is."""
    path = path.partition("?")[0]
    if path.rstrip("/") == BASE_PATHS["runware"]:
        return Address("runware", RUNWARE_ENDPOINT)
    for prefix, api in PREFIXES.items():
        if path.startswith(prefix):
            endpoint = path.removeprefix(prefix)
            if api == "openai" and (endpoint == "messages" or "anthropic-version" in headers):
                api = "anthropic"
            return Address(api, endpoint)
    return Address("openai", path.lstrip("/"))


def check_key(address: Address, headers: Mapping[str, str], keys: Collection[str] | None) -> None:
    """Refuse a request without a key, or with one that is not known; a local server takes any.

    Raises:
        Wrong: so it is.
    """
    if address.api == "local":
        return
    bearer = headers.get("authorization", "")
    key = headers.get("x-api-key", "") if address.api == "anthropic" else bearer.removeprefix("Bearer ").strip()
    if not key:
        raise Wrong(401, "No key was provided.", "missing_key")
    if keys is not None and key not in keys:
        # The real ones show a part of it too; whoever prints errors has to cope.
        raise Wrong(401, f"Incorrect API key provided: {key[:8]}***{key[-4:]}.", "invalid_api_key")


def understand(address: Address, body: Any, headers: Mapping[str, str], models: Collection[str] | None) -> Asked:
    """Check a request as the API would.

    Raises:
        Wrong: it would be refused.
    """
    if not isinstance(body, Mapping):
        raise Wrong(400, "We could not parse the JSON body of your request.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Wrong(
            400, "model: Field required" if address.api == "anthropic" else "you must provide a model parameter"
        )
    if models is not None and model not in models:
        raise Wrong(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
    if body.get("stream"):
        raise Wrong(400, "stream: this server answers in one piece")
    if address.api == "anthropic":
        return _messages(address, body, headers, model)
    if address.endpoint == "chat/completions":
        return _chat(address, body, model)
    return _other(address, body, model)


def error_body(api: str, wrong: Wrong, request_id: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An error as the API words it."""
    if api == "anthropic":
        kind = ERROR_TYPES["anthropic"].get(wrong.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": wrong.message}, "request_id": request_id}
    if api == "openrouter":
        error = {"code": wrong.status, "message": wrong.message}
        return {"error": {**error, "metadata": metadata} if metadata else error, "user_id": "user_fake"}
    server = "server_error" if wrong.status >= 500 else "invalid_request_error"
    kind = (
        "insufficient_quota" if wrong.code == "insufficient_quota" else ERROR_TYPES["openai"].get(wrong.status, server)
    )
    return {"error": {"message": wrong.message, "type": kind, "param": None, "code": wrong.code}}


def _chat(address: Address, body: Mapping[str, Any], model: str) -> Asked:
    if address.api == "openai":
        _known_fields(body, CHAT_FIELDS)
    names = [name for name in ("max_completion_tokens", "max_tokens") if name in body]
    bound = body[names[0]] if names else 0
    if len(names) == 2:
        raise Wrong(400, "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
    if names and (not _is_count(bound) or bound < 1):
        raise Wrong(400, f"Invalid '{names[0]}': integer below minimum value. Expected a value >= 1.")
    temperature = body.get("temperature", 1)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 2:
        raise Wrong(400, "Invalid 'temperature': expected a number between 0 and 2.")
    texts, images = _said(body.get("messages"), ("system", "developer", "user", "assistant", "tool"), "image_url")
    schema = _response_schema(body.get("response_format"))
    return Asked(address, model, "\n".join(texts), schema, (), len(body["messages"]), images, bound)


def _messages(address: Address, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> Asked:
    if "anthropic-version" not in headers:
        raise Wrong(400, "anthropic-version: header is required")
    extra = sorted(set(body) - set(MESSAGES_FIELDS.split()))
    if extra:
        raise Wrong(400, f"{extra[0]}: Extra inputs are not permitted")
    bound = body.get("max_tokens")
    if bound is None:
        raise Wrong(400, "max_tokens: Field required")
    if not _is_count(bound) or bound < 1:
        raise Wrong(400, "max_tokens: Input should be greater than or equal to 1")
    texts, images = _said(body.get("messages"), ("user", "assistant"), "image")
    if body["messages"][0]["role"] != "user":
        raise Wrong(400, 'messages: first message must use the "user" role')
    system = body.get("system", "")
    if not isinstance(system, str):
        raise Wrong(400, "system: Input should be a valid string")
    wanted = (body.get("output_config") or {}).get("format")
    schema = None
    if wanted is not None:
        schema = wanted.get("schema") if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema" else None
        if not isinstance(schema, Mapping):
            raise Wrong(400, "output_config.format.schema: Field required")
        _closed(schema, "output_config.format.schema", False)
    return Asked(address, model, "\n".join((system, *texts)), schema, (), len(body["messages"]), images, bound)


def _other(address: Address, body: Mapping[str, Any], model: str) -> Asked:
    if address.api == "openai":
        _known_fields(body, OTHER_FIELDS[address.endpoint])
    if address.endpoint == "images/generations":
        prompt = body.get("prompt")
        if not isinstance(prompt, str) or not prompt:
            raise Wrong(400, "Missing required parameter: 'prompt'.")
        if not _is_count(body.get("n", 1)) or not 1 <= body.get("n", 1) <= 10:
            raise Wrong(400, "Invalid 'n': expected an integer between 1 and 10.")
        told, quality = body.get("output_format", "png"), body.get("quality", "auto")
        if told not in IMAGE_FORMATS or quality not in IMAGE_QUALITIES:
            raise Wrong(400, f"Invalid value: {told!r} as 'output_format', {quality!r} as 'quality'.")
        if answers.declined(prompt):
            raise Wrong(400, "Your request was rejected by the safety system.", "moderation_blocked")
        return Asked(address, model, prompt, size=_image_size(body.get("size", "auto")), image_format=told)
    given = body.get("input")
    texts = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else ()
    if not texts or len(texts) > MOST_INPUTS or not all(isinstance(text, str) and text for text in texts):
        raise Wrong(400, "'$.input' is invalid. Please check the API reference.")
    if body.get("encoding_format", "float") not in ("float", "base64"):
        raise Wrong(400, "Invalid 'encoding_format': expected 'float' or 'base64'.")
    if "dimensions" in body and (not _is_count(body["dimensions"]) or not 1 <= body["dimensions"] <= 4096):
        raise Wrong(400, "Invalid 'dimensions': expected an integer between 1 and 4096.")
    return Asked(address, model, "\n".join(texts), None, texts)


def _image_size(told: Any) -> tuple[int, int] | None:
    if told == "auto":
        return None
    width, cross, height = str(told).partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise Wrong(400, f"Invalid value: {told!r} as 'size'.")
    shorter, longer = sorted((int(width), int(height)))
    if shorter < 1 or shorter % SIDE_STEP or longer % SIDE_STEP:
        raise Wrong(400, "Invalid size: width and height must both be divisible by 16.")
    if longer > MOST_RATIO * shorter or shorter * longer > MOST_PIXELS:
        raise Wrong(400, "Invalid size: the ratio must be between 1:3 and 3:1, within 3840x2160.")
    return int(width), int(height)


def _said(messages: Any, roles: Collection[str], image_type: str) -> tuple[list[str], int]:
    """All text of the messages, and how many images are among it."""
    if not isinstance(messages, list) or not messages:
        raise Wrong(400, "messages: at least one message is required")
    texts, images = [], 0
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.get("role") not in roles:
            raise Wrong(400, f"messages.{number}.role: Input should be one of {', '.join(roles)}")
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list) or not parts:
            raise Wrong(400, f"messages.{number}.content: Field required")
        for part in parts:
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind == "text" and isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif kind == image_type and _has_image(part):
                images += 1
            else:
                raise Wrong(400, f"messages.{number}.content: a part is neither text nor an image")
    return texts, images


def _has_image(part: Mapping[str, Any]) -> bool:
    if part["type"] == "image_url":
        url = (part.get("image_url") or {}).get("url", "")
        return isinstance(url, str) and (url.startswith(("http://", "https://")) or ";base64," in url[:64])
    source = part.get("source") or {}
    return source.get("type") == "base64" and str(source.get("media_type", "")).startswith("image/")


def _response_schema(wanted: Any) -> Mapping[str, Any] | None:
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind in ("text", "json_object"):
        return {"type": "object"} if kind == "json_object" else None
    told = wanted.get("json_schema") if kind == "json_schema" else None
    if not isinstance(told, Mapping) or not isinstance(told.get("schema"), Mapping) or not told.get("name"):
        raise Wrong(400, "Missing required parameter: 'response_format.json_schema'.")
    schema: Mapping[str, Any] = told["schema"]
    if told.get("strict"):
        _closed(schema, str(told["name"]), True)
    return schema


def _closed(schema: Any, name: str, all_required: bool) -> None:
    """Refuse what strict structured output refuses: open objects, and at OpenAI fields that may be missing."""
    if isinstance(schema, list):
        for part in schema:
            _closed(part, name, all_required)
    if not isinstance(schema, Mapping):
        return
    properties = schema.get("properties", {})
    if schema.get("type") == "object" or properties:
        if schema.get("additionalProperties") is not False:
            raise Wrong(400, f"Invalid schema for '{name}': 'additionalProperties' is required to be false.")
        missing = sorted(set(properties) - set(schema.get("required", [])))
        if missing and all_required:
            raise Wrong(
                400, f"Invalid schema for '{name}': 'required' must hold every property, so '{missing[0]}' too."
            )
    for key, part in schema.items():
        if key in ("properties", "$defs", "definitions") and isinstance(part, Mapping):
            _closed(list(part.values()), name, all_required)
        elif key in ("items", "anyOf", "oneOf", "allOf"):
            _closed(part, name, all_required)


def _known_fields(body: Mapping[str, Any], known: str) -> None:
    extra = sorted(set(body) - set(known.split()))
    if extra:
        raise Wrong(400, f"Unrecognized request argument supplied: {extra[0]}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

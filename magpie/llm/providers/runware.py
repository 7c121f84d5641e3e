"""Runware: images by tasks, each under an id of ours.

Belongs here: its wording of one image, its errors, and fetching an answer that was lost on the way. Does not belong
here: what becomes of a lost answer (`../sweep.py`), which models and sizes there are (`../models.py`).

A request is a JSON array of tasks, here of one. Its id is that of the call in the ledger, so that what came of a call
that was cut off can be asked for: a second task would be a second image to pay.
"""

import base64
import binascii
import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx2

from magpie.errors import UserError
from magpie.llm.models import Model
from magpie.llm.money import to_nano
from magpie.llm.providers import faults
from magpie.llm.providers.base import Journal
from magpie.llm.providers.bodies import BadBody, mapping, parsed
from magpie.llm.providers.faults import ErrorBody
from magpie.llm.providers.text import Secret, one_line
from magpie.llm.providers.transport import MOST_BYTES, client_of, recorded
from magpie.llm.reply import Exchange, Fault, Reply, Usage
from magpie.llm.request import Ask, Request
from magpie.utc import utc_now

ENDPOINT = "imageInference"
FORMATS = {"webp": "WEBP", "png": "PNG", "jpeg": "JPG"}
# A look at what is finished is not worth waiting for as long as for an image.
RECOVER_TIMEOUT_S = 30.0
HTTP_OK = 200
# Its words for what other APIs say with a status; it says them with various ones.
STATUS_OF_CODE = {
    **dict.fromkeys(("invalidApiKey", "missingApiKey", "unauthorized", "tokenExpired"), 401),
    **dict.fromkeys(("insufficientCredits", "paymentRequired", "quotaExceeded"), 402),
    **dict.fromkeys(("modelNotFound", "taskFailedOrNotFound"), 404),
    **dict.fromkeys(("rateLimitExceeded", "tooManyRequests"), 429),
}
# What is wrong with a task begins so; every other word is a failure of theirs, which passes.
WRONG_TASK = ("invalid", "missing", "unsupported", "validation")
# No image costs as much; a larger number is a slip, as is none at all.
MOST_USD = 1000


class Runware:
    """The API.

    Args:
        base_url: without a trailing slash.
        key: None or empty: none is set.
        proxy: URL of the proxy to go through.
        clock: what dates of `Retry-After` are measured from when an answer has none of its own.
        most_bytes: a larger body counts as cut off.
    """

    name = "runware"

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        proxy: str | None = None,
        clock: Callable[[], datetime] = utc_now,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.base_url, self._key = base_url.rstrip("/"), key or ""
        self._secret = Secret(self._key)
        self._proxy, self._clock, self._most_bytes = proxy, clock, most_bytes
        self._lock = threading.Lock()
        self._http: httpx2.Client | None = None

    def __repr__(self) -> str:
        return f"Runware({self.base_url!r})"

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request:
        """Word an ask for one image.

        Raises:
            UserError: the ask is for something else.
            ValueError: it has no size.
        """
        if ask.kind != "image":
            raise UserError(f"{model.name} makes images and nothing else; choose another model for this")
        if ask.size is None:
            raise ValueError("an image of runware needs a size")
        body: dict[str, Any] = {
            "taskType": ENDPOINT,
            "model": model.model_id,
            "positivePrompt": ask.user,
            "width": ask.size[0],
            "height": ask.size[1],
            "numberResults": 1,
            "outputType": "base64Data",
            "includeCost": True,
        }
        if ask.image_format:
            body["outputFormat"] = FORMATS[ask.image_format]
        if ask.seed is not None:
            body["seed"] = ask.seed
        negative = bool(ask.negative) and model.negative_prompt
        if negative:
            body["negativePrompt"] = ask.negative
        asked = {"temperature": ask.temperature is not None, "quality": bool(ask.quality)}
        asked["negative_prompt"] = bool(ask.negative) and not negative
        dropped = tuple(name for name, given in asked.items() if given)
        return Request(self.name, self.base_url, model.model_id, ENDPOINT, body, sample=sample, dropped_params=dropped)

    def send(self, request: Request, timeout_s: float, journal: Journal) -> Exchange:
        """Make one HTTP request; see `Provider.send`.

        Raises:
            UserError: there is no key.
            ValueError: the request has no call to be called by.
        """
        return self._posted(request.body, request.call_id, timeout_s, journal)

    def recover(self, call_id: str) -> Exchange | Fault:
        """Ask what came of a call; the answer is an exchange as `send` would have brought it.

        Raises:
            UserError: there is no key.
            ValueError: no call has such an id.
        """
        look = {"taskType": "getTaskDetails"}
        exchange = self._posted(look, call_id, RECOVER_TIMEOUT_S, lambda exchange: None)
        body = self._opened(exchange)
        if isinstance(body, Fault):
            return body
        told = _first(body.get("data")).get("response")
        if isinstance(told, list):
            told = {"data": told}
        elif isinstance(told, Mapping) and not told.keys() & {"data", "errors"}:
            told = {"data": [told]}
        if not isinstance(told, Mapping):
            return Fault("bad_body", "HTTP 200: nothing is told of the task", HTTP_OK)
        return Exchange(HTTP_OK, exchange.headers, json.dumps(told).encode())

    def read(self, endpoint: str, exchange: Exchange) -> Reply | Fault:
        """Say what came back; from bytes alone."""
        body = self._opened(exchange)
        if isinstance(body, Fault):
            return body
        item = _first(body.get("data"))
        try:
            image = _image(item)
        except BadBody as problem:
            return Fault("bad_body", self._said(f"HTTP {exchange.status}: {problem}"), exchange.status)
        told = item.get("taskUUID")
        request_id = one_line(told, 120) if isinstance(told, str) else None
        usage = Usage(images=1)
        return Reply(blobs=(image,), usage=usage, provider_request_id=request_id, cost_nano=_cost(item.get("cost")))

    def _posted(self, facts: Mapping[str, Any], call_id: str, timeout_s: float, journal: Journal) -> Exchange:
        if not self.has_key:
            raise UserError(f"no key for {self.name}: set RUNWARE_API_KEY, or choose another provider")
        http, task = self._client(), {**facts, "taskUUID": str(uuid.UUID(hex=call_id))}
        return recorded(lambda: http.post(self.base_url, json=[task]), timeout_s, journal)

    def _opened(self, exchange: Exchange) -> Mapping[str, Any] | Fault:
        """The body of an answer that holds what was asked for, or why it does not."""
        status = exchange.status
        if exchange.failure is not None or status is None:
            return Fault(exchange.failure or "cut", exchange.error or "no answer came", status)
        body: Any = None
        problem = "the body is no object"
        try:
            body = parsed(exchange.body)
        except BadBody as bad:
            problem = str(bad)
        succeeded = HTTP_OK <= status < 300
        # Of several tasks some may fail and others not; of one it is what came that counts.
        if succeeded and _first(mapping(body).get("data")):
            return mapping(body)
        error = _error_of(body)
        if error is not None or not succeeded:
            return self._fault(exchange, error)
        return Fault("bad_body", self._said(f"HTTP {status}: {problem}"), status)

    def _fault(self, exchange: Exchange, error: ErrorBody | None) -> Fault:
        status = exchange.status or 0
        meant = replace(exchange, status=_status(error, status))
        fault = faults.of_status(self.name, meant, error, self._clock(), self._secret)
        words = error.message if error else exchange.body[:400].decode("utf-8", "replace")
        return replace(fault, message=self._said(f"HTTP {status}: {words}"), status=status)

    def _client(self) -> httpx2.Client:
        with self._lock:
            if self._http is None:
                headers = {"authorization": f"Bearer {self._key}"}
                self._http = client_of(headers, self._secret, self._proxy, most_bytes=self._most_bytes)
            return self._http

    def _said(self, text: str) -> str:
        return self._secret.out_of(one_line(text))


def _first(items: Any) -> Mapping[str, Any]:
    """The first object of a list; an empty one if it has none."""
    return next((item for item in items if isinstance(item, Mapping)), {}) if isinstance(items, list) else {}


def _error_of(body: Any) -> ErrorBody | None:
    told = _first(mapping(body).get("errors")) or mapping(mapping(body).get("error"))
    code, message = told.get("code"), told.get("message")
    if not isinstance(code, str) and not isinstance(message, str):
        return None
    codes = frozenset({code} if isinstance(code, str) else ())
    return ErrorBody(str(message or code), None, codes, told)


def _status(error: ErrorBody | None, status: int) -> int:
    """The status that other APIs would have answered with."""
    code = next(iter(error.codes), "") if error is not None else ""
    if code in STATUS_OF_CODE:
        return STATUS_OF_CODE[code]
    if status >= 300:
        return status
    return 400 if code in faults.POLICY_CODES or code.lower().startswith(WRONG_TASK) else 500


def _image(item: Mapping[str, Any]) -> bytes:
    encoded = item.get("imageBase64Data")
    if not isinstance(encoded, str) or not encoded:
        raise BadBody("an image without its bytes")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadBody("an image whose bytes are no base64") from None


def _cost(told: Any) -> int | None:
    """What it is told to have cost, in nano-USD; None if that is none."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told <= MOST_USD:
        return None
    return to_nano(Decimal(str(told)))

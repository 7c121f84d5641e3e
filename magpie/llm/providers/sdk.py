"""What the providers that speak through an SDK share: a key, one client, one recorded request per call.

Belongs here: building the client once, sending, and the frame of reading an answer. Does not belong here: any API's
wording (`openai_api.py`, `anthropic_api.py`).
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx2

from magpie.errors import UserError
from magpie.llm.models import Model
from magpie.llm.providers import faults
from magpie.llm.providers.base import Journal
from magpie.llm.providers.bodies import BadBody, mapping, parsed
from magpie.llm.providers.text import Secret, one_line
from magpie.llm.providers.transport import MOST_BYTES, client_of, recorded
from magpie.llm.reply import Exchange, Fault, Reply, Usage
from magpie.llm.request import Ask, Image, Request
from magpie.utc import utc_now

# Stands where an SDK wants a key; the transport puts the real one on.
NO_KEY = "put-on-by-the-transport"


class SdkProvider(ABC):
    """One API behind one SDK.

    Args:
        name: as in requests and settings.
        base_url: without a trailing slash.
        key: None or empty: none is set.
        proxy: URL of the proxy to go through.
        clock: what dates of `Retry-After` are measured from when an answer has none of its own.
        most_bytes: a larger body counts as cut off.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        key: str | None,
        *,
        proxy: str | None = None,
        clock: Callable[[], datetime] = utc_now,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._name, self._base_url, self._key = name, base_url.rstrip("/"), key or ""
        self._secret = Secret(self._key)
        self._proxy, self._clock, self._most_bytes = proxy, clock, most_bytes
        self._lock = threading.Lock()
        self._http: httpx2.Client | None = None
        self._sdk: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {self._base_url!r})"

    @property
    def name(self) -> str:
        return self._name

    @property
    def base_url(self) -> str:
        return self._base_url

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    @abstractmethod
    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request:
        """Word an ask; parameters that the model lacks are dropped and listed."""

    def send(self, request: Request, timeout_s: float, journal: Journal) -> Exchange:
        """Make one HTTP request; see `Provider.send`.

        Raises:
            UserError: there is no key, so that nothing can be sent.
            Exception: of the journal.
        """
        if not self.has_key:
            raise UserError(f"no key for {self._name}: set it in the environment, or choose another provider")
        body = self._with_images(request.body, request.images)
        create = self._create(request.endpoint)
        return recorded(lambda: create(**body, timeout=timeout_s), timeout_s, journal)

    def read(self, endpoint: str, exchange: Exchange) -> Reply | Fault:
        """Say what came back; from bytes alone."""
        body = self._opened(exchange)
        if isinstance(body, Fault):
            return body
        usage, request_id = self._usage(body), self._request_id(body, exchange.headers)
        try:
            return self._answer(endpoint, body, usage, request_id)
        except BadBody as problem:
            message = self._said(f"HTTP {exchange.status}: {problem}")
            return Fault("bad_body", message, exchange.status, usage=usage, provider_request_id=request_id)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            http, self._http, self._sdk = self._http, None, None
        if http is not None:
            http.close()

    def _client(self) -> Any:
        """The SDK's client; built by the first thread that calls, since importing an SDK takes seconds."""
        with self._lock:
            if self._sdk is None:
                self._sdk = self._new_client(self._http_client())
            return self._sdk

    def _http_client(self) -> httpx2.Client:
        """The connections, shared by the SDK and what is asked without it. The lock is held."""
        if self._http is None:
            self._http = client_of(self._auth_headers(), self._secret, self._proxy, most_bytes=self._most_bytes)
        return self._http

    def _with_images(self, body: Mapping[str, Any], images: Mapping[str, Image]) -> dict[str, Any]:
        """The body as it goes out. Only where an image stands is a mark one; the same words in a text are a text."""
        if not images:
            return dict(body)
        messages = [
            message
            if isinstance(message["content"], str)
            else {**message, "content": [self._with_image(part, images) for part in message["content"]]}
            for message in body["messages"]
        ]
        return {**body, "messages": messages}

    def _opened(self, exchange: Exchange) -> Mapping[str, Any] | Fault:
        """The body of an answer, or why it is none."""
        status = exchange.status
        if exchange.failure is not None or status is None:
            return Fault(exchange.failure or "cut", exchange.error or "no answer came", status)
        succeeded, problem = 200 <= status < 300, "the body is no object"
        body: Any = None
        try:
            body = parsed(exchange.body)
        except BadBody as bad:
            problem = str(bad)
        facts = mapping(body)
        usage, request_id = self._usage(facts), self._request_id(facts, exchange.headers)
        error = faults.error_of(body)
        if not succeeded:
            return faults.of_status(self._name, exchange, error, self._clock(), self._secret, usage, request_id)
        if error is not None:
            return faults.of_error_body(self._name, exchange, error, self._clock(), self._secret, usage, request_id)
        if not isinstance(body, Mapping):
            message = self._said(f"HTTP {status}: {problem}")
            return Fault("bad_body", message, status, provider_request_id=request_id)
        return body

    def _said(self, text: str) -> str:
        return self._secret.out_of(one_line(text))

    @abstractmethod
    def _auth_headers(self) -> dict[str, str]:
        """The headers that carry the key."""

    @abstractmethod
    def _new_client(self, http: httpx2.Client) -> Any:
        """An SDK client over an HTTP client, with its own retries off."""

    @abstractmethod
    def _create(self, endpoint: str) -> Callable[..., Any]:
        """The SDK's method for an endpoint, giving the raw response."""

    @abstractmethod
    def _with_image(self, part: Mapping[str, Any], images: Mapping[str, Image]) -> Mapping[str, Any]:
        """A part of a message; if it is an image, with its bytes in the place of its mark."""

    @abstractmethod
    def _usage(self, body: Mapping[str, Any]) -> Usage | None:
        """What a body says was used, in the one way that `Usage` counts."""

    @abstractmethod
    def _request_id(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
        """What the provider calls this exchange."""

    @abstractmethod
    def _answer(self, endpoint: str, body: Mapping[str, Any], usage: Usage | None, request_id: str | None) -> Reply:
        """The answer in a body.

        Raises:
            BadBody: there is none.
        """


def bound_of(ask: Ask, model: Model) -> int:
    """The most tokens an answer may have: what is asked, within what the model can.

    Raises:
        ValueError: neither is known, so that nothing bounds the cost.
    """
    bounds = [bound for bound in (ask.max_output_tokens, model.max_output_tokens) if bound]
    if not bounds:
        raise ValueError(f"an ask to {model.provider}/{model.model_id} needs max_output_tokens")
    return min(bounds)


def check_images(ask: Ask, model: Model) -> None:
    """Refuse images for a model that cannot see: it would answer from nothing.

    Raises:
        UserError: so it is.
    """
    if ask.images and not model.vision:
        raise UserError(f"{model.provider}/{model.model_id} takes no images; choose a model with vision")

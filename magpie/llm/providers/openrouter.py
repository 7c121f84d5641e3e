"""OpenRouter: OpenAI's API in front of many companies' models, some of them free.

Belongs here: what it has beyond that API: free models only unless told otherwise, and the quota of the day. Does not
belong here: counting calls against that quota (`../ledger.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from magpie.errors import UserError
from magpie.llm.models import Model
from magpie.llm.providers.base import Journal
from magpie.llm.providers.bodies import count, mapping
from magpie.llm.providers.openai_api import OpenAIApi
from magpie.llm.providers.text import one_line
from magpie.llm.providers.transport import recorded
from magpie.llm.reply import Exchange, Fault, FreeQuota
from magpie.llm.request import Ask, Request

FREE = ":free"
# A look at the account, before calls are made; it is not worth waiting for as long as for an answer.
QUOTA_TIMEOUT_S = 15.0
# Fields of its own, which the SDK takes only beside the others.
OWN_FIELDS = ("reasoning",)


class OpenRouter(OpenAIApi):
    """OpenRouter.

    Args:
        paid: models without `:free` may be asked.
        options: as `OpenAIApi` takes them.
    """

    def __init__(self, base_url: str, key: str | None, *, paid: bool = False, **options: Any) -> None:
        super().__init__("openrouter", base_url, key, **options)
        self._paid = paid

    def check_model(self, model_id: str) -> None:
        """Refuse a model that would cost money.

        Raises:
            UserError: so it would.
        """
        if not self._paid and not model_id.endswith(FREE):
            raise UserError(f"openrouter/{model_id} is a paid model; end it in {FREE}, or switch paid use on")

    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request:
        """Word an ask; see `OpenAIApi.request`.

        Raises:
            UserError: the model is paid and paid use is off, or it cannot see the images.
        """
        self.check_model(model.model_id)
        return super().request(ask, model, sample)

    def send(self, request: Request, timeout_s: float, journal: Journal) -> Exchange:
        """Make one HTTP request; see `Provider.send`.

        Raises:
            UserError: the model is paid and paid use is off, or there is no key.
        """
        self.check_model(request.model)
        return super().send(request, timeout_s, journal)

    def quota(self, timeout_s: float = QUOTA_TIMEOUT_S) -> FreeQuota | Fault:
        """Ask what is left of the day's free calls; the question itself is none of them.

        Raises:
            UserError: there is no key.
        """
        body = self._asked("key", timeout_s)
        return body if isinstance(body, Fault) else quota_of(body)

    def listed(self, timeout_s: float = QUOTA_TIMEOUT_S) -> frozenset[str] | Fault:
        """Ask for the ids of all models that are served; the question is no call.

        Raises:
            UserError: there is no key.
        """
        body = self._asked("models", timeout_s)
        return body if isinstance(body, Fault) else listed_of(body)

    def _asked(self, path: str, timeout_s: float) -> Mapping[str, Any] | Fault:
        if not self.has_key:
            raise UserError("no key for openrouter: set OPENROUTER_API_KEY")
        with self._lock:
            http = self._http_client()
        exchange = recorded(lambda: http.get(f"{self.base_url}/{path}"), timeout_s, lambda exchange: None)
        return self._opened(exchange)

    def _thinking(self, ask: Ask) -> dict[str, Any]:
        return {"reasoning": {"enabled": False}} if ask.reasoning_off else {}

    def _create(self, endpoint: str) -> Callable[..., Any]:
        create = super()._create(endpoint)

        def with_own_fields(**fields: Any) -> Any:
            own = {name: fields.pop(name) for name in OWN_FIELDS if name in fields}
            return create(**fields, extra_body=own or None)

        return with_own_fields

    def _request_id(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
        # The body's id names the generation, which can be asked for later; the header's only the exchange.
        found = body.get("id") or headers.get("x-request-id")
        return one_line(found) if isinstance(found, str) else None


def quota_of(body: Mapping[str, Any]) -> FreeQuota | Fault:
    """Read the answer of `GET /key`."""
    data = mapping(body.get("data"))
    free = mapping(data.get("free_model_daily_requests"))
    try:
        limit, used, remaining = count(free, "limit"), count(free, "used"), count(free, "remaining")
    except ValueError as error:
        return Fault("bad_body", f"HTTP 200: free_model_daily_requests: {error}", 200)
    if limit is None or used is None:
        return Fault("bad_body", "HTTP 200: no free_model_daily_requests in the body", 200)
    balance = data.get("limit_remaining")
    negative = balance < 0 if isinstance(balance, int | float) and not isinstance(balance, bool) else None
    return FreeQuota(limit, used, max(limit - used, 0) if remaining is None else remaining, negative)


def listed_of(body: Mapping[str, Any]) -> frozenset[str] | Fault:
    """Read the answer of `GET /models`; entries without an id are passed over."""
    data = body.get("data")
    ids = [mapping(entry).get("id") for entry in data] if isinstance(data, list) else []
    found = frozenset(name for name in ids if isinstance(name, str) and name)
    return found or Fault("bad_body", "HTTP 200: no models in the body", 200)

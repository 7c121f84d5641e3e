"""What a provider is.

Belongs here: the interface that the gateway calls. Does not belong here: any provider, any book-keeping.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from magpie.llm.models import Model
from magpie.llm.reply import Exchange, Fault, FreeQuota, Reply
from magpie.llm.request import Ask, Request

Journal = Callable[[Exchange], None]


class Provider(Protocol):
    """One API. `request` and `read` are pure; `send` is the network."""

    @property
    def name(self) -> str:
        """openai, anthropic, openrouter, local, runware."""

    @property
    def base_url(self) -> str:
        """Without a trailing slash."""

    @property
    def has_key(self) -> bool:
        """False: calls are refused before they are made (`provider_auth`)."""

    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request:
        """Word an ask; parameters that the model lacks are dropped and listed."""

    def send(self, request: Request, timeout_s: float, journal: Journal) -> Exchange:
        """Make one HTTP request, exactly one, and never raise for what the network or the server does.

        `journal` is called with the whole body before anything parses it.
        """

    def read(self, endpoint: str, exchange: Exchange) -> Reply | Fault:
        """Say what came back; from bytes alone, so that a sweep can do it for a dead process."""


@runtime_checkable
class CountsCalls(Protocol):
    """A provider that tells how many of the day's free calls it has counted."""

    def quota(self) -> FreeQuota | Fault: ...


@runtime_checkable
class ListsModels(Protocol):
    """A provider that tells which models it serves."""

    def listed(self) -> frozenset[str] | Fault: ...


@runtime_checkable
class KeepsAnswers(Protocol):
    """A provider that can be asked what it answered to a call whose answer was lost."""

    def recover(self, call_id: str) -> Exchange | Fault:
        """The exchange as `send` would have brought it, or why there is none."""

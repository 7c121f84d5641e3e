"""A gateway over the fake provider, for tests: real SDKs, real books, a clock that may be moved by hand.

Belongs here: building one and asking simple things of it. Does not belong here: tests.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from magpie.control import Control
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.gateway import Answered, Gateway, GatewaySettings
from magpie.llm.journal import bodies_of
from magpie.llm.models import Models
from magpie.llm.prices import Prices
from magpie.llm.providers.lookup import PROVIDERS, build
from magpie.llm.purpose import Limits, Purpose
from magpie.llm.refusal import Refused
from magpie.llm.request import Ask, Request
from magpie.llm.schema import llm_call
from magpie.llm.store import Store
from tests.ledger_world import NOON, FakeClock

KEYS = {
    "OPENAI_API_KEY": "sk-test-openai-1",
    "ANTHROPIC_API_KEY": "sk-test-anthropic-1",
    "OPENROUTER_API_KEY": "sk-test-openrouter-1",
}
MODELS = {
    "openai": "openai/gpt-4.1-mini",
    "anthropic": "anthropic/claude-haiku-5-5",
    "openrouter": "openrouter/google/gemma-4-31b-it:free",
    "local": "local/llama3",
}
PURPOSE = Purpose("leads", "extract_lead", "lead_extractions", "a|2026-11-20", scopes=("campaign:a",))


def utc() -> datetime:
    return datetime.now(UTC)


@dataclass
class Desk:
    """A gateway and everything around it."""

    gateway: Gateway
    fake: FakeProvider
    store: Store
    models: Models

    def request(self, text: str = "hello", provider: str = "openai", **more: Any) -> Request:
        made = self.gateway.request(
            Ask("text", user=text, **{"max_output_tokens": 200, **more}), self.models.candidates(MODELS[provider])[0]
        )
        assert isinstance(made, Request), made
        return made

    def ask(self, text: str = "hello", provider: str = "openai", purpose: Purpose = PURPOSE) -> Answered | Refused:
        return self.gateway.ask(self.request(text, provider), purpose)

    def answer(self, text: str = "hello", provider: str = "openai", purpose: Purpose = PURPOSE) -> Answered:
        found = self.ask(text, provider, purpose)
        assert isinstance(found, Answered), found
        return found

    def refusal(self, text: str = "hello", provider: str = "openai", purpose: Purpose = PURPOSE) -> Refused:
        found = self.ask(text, provider, purpose)
        assert isinstance(found, Refused), found
        return found

    def calls(self, kind: str = "call") -> list[Any]:
        chosen = sa.select(llm_call).where(llm_call.c.kind == kind).order_by(llm_call.c.created_at, llm_call.c.id)
        return list(self.store.read(lambda c: c.execute(chosen).all()))

    def states(self) -> list[str]:
        return [call.state for call in self.calls()]


@contextmanager
def desk(
    url: str,
    home: Path,
    fake: FakeProvider,
    limits: Limits | None = None,
    *,
    clock: Callable[[], datetime] = utc,
    sleep: Callable[[float], None] = time.sleep,
    keys: dict[str, str] | None = None,
    wait_s: float = 30,
    **settings: Any,
) -> Iterator[Desk]:
    """A gateway whose providers are all the fake one."""
    control = Control(url, busy_seconds=wait_s)
    store = Store(control, wait_s=wait_s)
    env = KEYS if keys is None else keys
    providers = {name: build(name, base_url=fake.base_url(name), env=env) for name in PROVIDERS}
    gateway = Gateway(
        store,
        bodies_of(store, home),
        providers,
        Prices(None),
        limits or Limits(),
        GatewaySettings(**{"timeout_s": 5, **settings}),
        clock=clock,
        sleep=sleep,
    )
    yield Desk(gateway, fake, store, Models.load())
    store.close()
    control.close()


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)

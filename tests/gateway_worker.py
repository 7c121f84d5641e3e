"""What a process does that asks the gateway; tests start it and kill it.

Belongs here: what such a process does. Does not belong here: tests.
"""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from magpie.control import Control
from magpie.llm.gateway import Answered, Gateway, GatewaySettings
from magpie.llm.journal import bodies_of
from magpie.llm.models import Models
from magpie.llm.money import to_nano
from magpie.llm.prices import Prices
from magpie.llm.providers.lookup import build
from magpie.llm.purpose import FREE_TIER, Limit, Limits
from magpie.llm.request import Ask, Request
from magpie.llm.store import Store
from tests.gateway_world import KEYS, MODELS, PURPOSE


@dataclass(frozen=True)
class Job:
    """What to ask.

    Attributes:
        base_url: of the fake provider.
        prompts: each asked once, by `threads` threads.
        cap_usd: of everything, per day; None: none.
        provider: who is asked; free_calls: of the free tier, per day; None: no bound.
        die_at: `STEP` or `STEP:N`: the process kills itself at that step of the N-th call.
    """

    url: str
    home: str
    base_url: str
    prompts: list[str]
    threads: int = 1
    cap_usd: str | None = None
    die_at: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    provider: str = "openai"
    free_calls: int | None = None


def main(job: Job, told: Connection) -> None:
    """Ask everything; tell one line of JSON per prompt: the reason of a refusal, or `hit` or `bought`."""
    control = Control(job.url)
    store = Store(control)
    bounds = {"all": (Limit("D", to_nano(Decimal(job.cap_usd))),)} if job.cap_usd else {}
    limits = Limits(bounds | ({FREE_TIER: (Limit("D", calls=job.free_calls),)} if job.free_calls is not None else {}))
    step, _, number = (job.die_at or "").partition(":")
    seen: dict[str, int] = {}

    def observe(name: str, call_id: str) -> None:
        seen[name] = seen.get(name, 0) + 1
        if name == step and seen[name] == int(number or 1):
            os.kill(os.getpid(), signal.SIGKILL)

    gateway = Gateway(
        store,
        bodies_of(store, Path(job.home)),
        {job.provider: build(job.provider, base_url=job.base_url, env=KEYS)},
        Prices(None),
        limits,
        GatewaySettings(**{"timeout_s": 20, **job.settings}),
        observe=observe,
    )
    gateway.sweep()
    model = Models.load().candidates(MODELS[job.provider])[0]

    def ask(prompt: str) -> None:
        request = gateway.request(Ask("text", user=prompt, max_output_tokens=200), model)
        assert isinstance(request, Request)
        found = gateway.ask(request, PURPOSE)
        outcome = ("hit" if found.hit else "bought") if isinstance(found, Answered) else found.reason
        # In one write, so that lines of several threads stay apart.
        os.write(told.fileno(), (json.dumps({"prompt": prompt, "outcome": outcome}) + "\n").encode())

    with ThreadPoolExecutor(job.threads) as pool:
        list(pool.map(ask, job.prompts))

"""A function that asks free models one after the other, for tests: three models, ten seconds apart.

Belongs here: the function, its settings and its rows. Does not belong here: tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, Field

from magpie.llm.breaker import Trip
from magpie.llm.engine import Engine, EngineSettings, FunctionRun
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.llm.purpose import FREE_TIER, Limit, Limits
from magpie.llm.request import Image
from magpie.llm.spec import FunctionSpec, Pace, Registry
from magpie.llm.task import Scope
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock

A, B, C = "maker/a:free", "maker/b:free", "maker/c:free"
MODELS = {
    "models": [{"provider": "openrouter", "model_id": name, "vision": True} for name in (A, B, C)],
    "aliases": {"vision-free": [f"openrouter/{name}" for name in (A, B, C)]},
}
# A pixel; the fake provider looks at no picture.
PICTURE = Image("image/jpeg", b"\xff\xd8\xff\xd9")


class Seen(BaseModel):
    what: str = Field(min_length=1, max_length=50)


LOOK = FunctionSpec(
    name="look_at",
    version=1,
    display_name="Look at",
    description="Say what is to be seen.",
    template="What is to be seen beside {text}?",
    output=Seen,
    alias="vision-free",
    inputs={"text": "untrusted"},
    variables=lambda row: {"text": row["text"]},
    check=lambda answer, row, last_try: answer,
    offline=lambda row: Seen(what="something"),
    images=lambda row: (PICTURE,),
    max_output_tokens=100,
    temperature=0.2,
    pace=Pace(
        request_s=0.5,
        row_s=120,
        batch_s=780,
        reserve_s=35,
        stop_after=3,
        workers=1,
        reasks=0,
        hand_on=True,
        probe_key=True,
    ),
    trip=Trip(pause=None, calls=3),
    reasoning_off=True,
)
SCOPE = Scope("memes", "pictures", run_id="run-1")


def limits(calls: int = 900, gap_s: float = 10) -> Limits:
    return Limits({FREE_TIER: (Limit("D", calls=calls),)}, {FREE_TIER: 3, "product:memes": gap_s})


@contextmanager
def free_desk(
    folder: Path, fake: FakeProvider, clock: FakeClock, bounds: Limits | None = None, **more: Any
) -> Iterator[Desk]:
    url = f"sqlite:///{folder / 'control.db'}"
    # Free models are sent no schema, so the fake provider has to be told what an answer looks like.
    fake.responder = lambda body: '{"what": "a picture"}'
    with desk(url, folder, fake, bounds or limits(), clock=clock, sleep=clock.sleep, **more) as made:
        made.models = Models.load(MODELS)
        yield made


def engine(at: Desk, spec: FunctionSpec[Any] = LOOK, **more: Any) -> Engine:
    return Engine(Registry([spec]), at.models, at.gateway, EngineSettings(**more))


def look(at: Desk, *texts: str, scope: Scope = SCOPE, spec: FunctionSpec[Any] = LOOK, **pace: Any) -> FunctionRun:
    """Ask about rows; `pace` changes the function's for this run."""
    rows = pl.DataFrame({"row_ref": list(texts), "text": list(texts)})
    if pace:
        scope = replace(scope, pace=replace(spec.pace, **pace))
    return engine(at, spec).run("look_at", rows, scope)


def fates(run: FunctionRun) -> list[tuple[str, str | None]]:
    return list(run.rows.select("status", "reason").iter_rows())


def waits(run: FunctionRun, clock: FakeClock) -> list[float | None]:
    """Seconds from now until each row may be asked about again."""
    return [None if at is None else (at - clock.now) / timedelta(seconds=1) for at in run.rows["not_before"]]


def asked(at: Desk) -> list[str]:
    """The models that were asked, in order."""
    return [seen.model for seen in at.fake.requests]

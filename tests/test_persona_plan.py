"""A plan of persona foretells what writing then asks, and writes nothing."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from magpie.errors import UserError
from magpie.functions import FUNCTIONS
from magpie.llm.engine import OFFLINE, Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.llm.plan import Plan, Tally
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.plan import plan
from tests.gateway_world import Desk, clock, desk, fake  # noqa: F401 - fixtures
from tests.ledger_world import FakeClock
from tests.persona_pages_world import DAY, LATER, PagesWorld

WRITER = "openai/gpt-4.1-mini"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PagesWorld]:
    made = PagesWorld(tmp_path)
    yield made
    made.control.close()


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:  # noqa: F811
    with desk(f"sqlite:///{tmp_path / 'control.db'}", tmp_path, fake, clock=clock, sleep=clock.sleep) as made:
        yield made


def engine(at: Desk, provider: str = "auto") -> Engine:
    return Engine(FUNCTIONS, Models.load({"aliases": {"writer": (WRITER,)}}), at.gateway, EngineSettings(provider, 1))


def planned(
    world: PagesWorld,
    at: Desk,
    first: date | None = None,
    last: date | None = None,
    blogs: tuple[str, ...] = (),
    provider: str = "auto",
) -> Plan:
    return plan(world.settings, world.lake, world.control, engine(at, provider), first, last, blogs)


def whole(found: Plan) -> Tally:
    return sum((line.tally for line in found.lines if line.tally), Tally())


def test_the_plan_is_the_first_draws_of_every_admitted_input_and_the_run_asks_for_them(
    world: PagesWorld, at: Desk
) -> None:
    world.read()
    admitted = world.rows(t.PERSONA_INBOX).drop_nulls("tick_ts").height
    found = planned(world, at)
    assert [(line.asset, line.subject, line.day) for line in found.lines] == [("candidates", "demo-blog", DAY)]
    told = whole(found)
    assert told.new == told.items == len(found.calls)
    assert told.new == admitted
    assert found.asked == {"candidates": WRITER}
    assert (at.fake.attempts, at.calls()) == (0, [])
    world.write(engine(at))
    first = world.rows(t.CANDIDATES).filter(world.rows(t.CANDIDATES)["k"] < world.rows(t.CANDIDATES)["n_planned"])
    assert first.height == told.new
    assert at.fake.attempts >= told.new


def test_after_the_run_everything_planned_is_journalled(world: PagesWorld, at: Desk) -> None:
    world.read()
    before = whole(planned(world, at))
    world.write(engine(at))
    found = planned(world, at)
    assert found.calls == ()
    assert whole(found).journalled == whole(found).items >= before.items


def test_planning_changes_neither_tables_nor_logs(world: PagesWorld, at: Desk) -> None:
    world.read()
    versions = {table.name: world.lake.version(table) for table in t.TABLES}
    ticks = logs.TICKS.read(world.control)
    planned(world, at)
    assert {table.name: world.lake.version(table) for table in t.TABLES} == versions
    assert logs.TICKS.read(world.control).equals(ticks)


def test_without_a_model_all_texts_are_free(world: PagesWorld, at: Desk) -> None:
    world.read()
    found = planned(world, at, provider="offline")
    assert whole(found).free == whole(found).items > 0
    assert (found.calls, found.asked) == ((), {"candidates": OFFLINE})


def test_inputs_that_wait_and_pages_that_are_new_are_told_and_not_planned(world: PagesWorld, at: Desk) -> None:
    world.now = LATER - timedelta(days=1, hours=11, minutes=59)
    world.read()
    world.page("asks/2.json").write_text("[]")
    notes = " ".join(planned(world, at).notes)
    assert "1 pages are new or changed" in notes
    waiting = world.rows(t.PERSONA_INBOX).filter(world.rows(t.PERSONA_INBOX)["state"] == "waiting").height
    assert (f"{waiting:,} inputs wait" in notes) == (waiting > 0)


def test_what_is_asked_about_texts_that_are_not_there_yet_is_named(tmp_path: Path, at: Desk) -> None:
    made = PagesWorld(tmp_path / "judged")
    made.read()
    persona = made.settings.persona.model_copy(update={"judge": True})
    made.settings = made.settings.model_copy(update={"persona": persona})
    assert "persona.judge asks about each text" in " ".join(planned(made, at).notes)
    made.control.close()


def test_a_plan_of_nothing_says_what_to_do(world: PagesWorld, at: Desk) -> None:
    with pytest.raises(UserError, match="run `magpie run persona` first"):
        planned(world, at)
    world.read()
    with pytest.raises(UserError, match="no blog 'other'"):
        planned(world, at, blogs=("other",))
    with pytest.raises(UserError, match="must be in order"):
        planned(world, at, DAY, DAY - timedelta(days=1))
    assert planned(world, at, DAY + timedelta(days=1), DAY + timedelta(days=2)).lines == ()

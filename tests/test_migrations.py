"""A control database of the first versions, with data in it, is brought up to date by whoever opens it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from magpie import control as control_module
from magpie import fetches, migrations
from magpie.control import Control, Pending
from magpie.errors import UserError
from magpie.leads import feedback
from magpie.llm import journal, schema
from magpie.llm.purpose import Limit, Limits
from magpie.llm.refusal import Refused
from magpie.llm.spend import today
from magpie.llm.store import Store
from magpie.memes import logs as meme_logs
from magpie.memes import queue_tables
from magpie.migrations.steps import STEPS
from magpie.migrations.upgrading import versions
from tests import first_control
from tests.databases import database_in
from tests.first_control import ANSWER, KEY, NOON
from tests.ledger_world import Books, FakeClock
from tests.test_lake_races import run_together

DECLARED = (control_module.metadata, schema.metadata, fetches.metadata, feedback.metadata, queue_tables.metadata)
LONG_NAME = "t3_" + "x" * 61


@pytest.fixture
def old(url: str) -> str:
    """The URL of a database in the first form, with data."""
    make_old(url)
    return url


@pytest.fixture
def control(old: str) -> Iterator[Control]:
    opened = Control(old)
    yield opened
    opened.close()


def make_old(url: str) -> None:
    engine = Control(url).bare()
    with engine.begin() as connection:
        first_control.fill(connection)
    engine.dispose()


def noted(control: Control) -> list[int]:
    with control.engine().connect() as connection:
        return list(connection.execute(sa.select(versions.c.version).order_by(versions.c.version)).scalars())


def differences(engine: sa.Engine, tables: sa.MetaData) -> list[object]:
    """What would have to change for the stored tables to be as declared; tables declared elsewhere do not count."""
    ours = set(tables.tables)
    with engine.connect() as connection:

        def mine(thing: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
            return kind != "table" or name in ours

        options = {"compare_type": True, "include_object": mine}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), tables))


def test_a_new_database_is_of_the_latest_version_and_takes_no_step(url: str) -> None:
    control = Control(url)
    assert noted(control) == [migrations.LATEST]
    assert differences(control.engine(), control_module.metadata) == []
    control.close()


def test_steps_are_numbered_without_a_gap() -> None:
    assert [step.version for step in STEPS] == list(range(migrations.FIRST + 1, migrations.LATEST + 1))


def test_an_old_database_keeps_its_rows_and_is_used_on(control: Control) -> None:
    assert control.deleted().height == 6
    assert set(control.deleted()["detected_at"]) == {NOON}
    assert control.pending() == [Pending("lead_extractions", "a|2026-11-19", "cap_reached", 4, NOON)]
    # A name that is known is known still, and one that was too long on Postgres is taken.
    assert control.record_deletions([("t3_0", "post"), (LONG_NAME, "post")], NOON + timedelta(days=1)) == 1
    assert control.deleted()["fullname"].to_list()[-1] == LONG_NAME
    assert noted(control) == [step.version for step in STEPS]


def test_ids_go_on_where_they_were(control: Control) -> None:
    control.record_deletions([("t3_new", "post")], NOON)
    with control.engine().connect() as connection:
        ids = connection.execute(sa.select(control_module.deletions.c.id)).scalars().all()
    assert sorted(ids) == list(range(1, 8))


def test_what_was_paid_for_is_found_and_counts_against_the_cap(control: Control) -> None:
    store = Store(control)
    found = store.read(lambda c: journal.find(c, [KEY]))
    assert (found[KEY].exchange.body, found[KEY].cost_nano) == (ANSWER, 700)
    limits = Limits({"all": (Limit("D", usd_nano=1000),)})
    (used,) = [use for use in today(store, limits, NOON) if use.scope == "all"]
    assert used.left_nano == 300
    books = Books(store, limits, FakeClock(NOON))
    assert isinstance(books.reserve(301), Refused)
    assert books.held(300)
    store.close()


def test_tables_that_came_later_are_made_beside_the_old_ones(control: Control) -> None:
    control.ensure(schema.metadata)
    assert sa.inspect(control.engine()).has_table("hidden_model")
    asked = fetches.Fetch("youtube", "v1", "info", NOON, "ok")
    fetches.Fetches(control).record([asked])
    assert meme_logs.EVENTS.read(control, user_id="ann")["event_id"].to_list() == ["e1"]


@pytest.mark.parametrize("tables", DECLARED, ids=lambda tables: sorted(tables.tables)[0])
def test_every_table_of_an_old_database_becomes_what_is_declared_today(control: Control, tables: sa.MetaData) -> None:
    # A table that was changed without a step fails here.
    assert differences(control.ensure(tables), tables) == []


def test_an_old_log_gets_the_index_it_lacks_and_a_new_one_has_it_once(control: Control, url: str) -> None:
    names = [index["name"] for index in sa.inspect(control.engine()).get_indexes("meme_events")]
    assert sorted(map(str, names)) == ["meme_events_at", "meme_events_user_id"]


def test_a_log_that_was_made_with_the_index_before_versions_were_kept_is_left_as_it_is(url: str) -> None:
    make_old(url)
    engine = Control(url).bare()
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE INDEX meme_events_user_id ON meme_events (user_id)"))
    engine.dispose()
    control = Control(url)
    assert noted(control) == [step.version for step in STEPS]
    control.close()


def test_a_database_without_the_log_takes_the_step_and_makes_the_log_later_with_its_index(url: str) -> None:
    make_old(url)
    engine = Control(url).bare()
    with engine.begin() as connection:
        first_control.meme_events.drop(connection)
    engine.dispose()
    control = Control(url)
    meme_logs.EVENTS.read(control)
    indexes = sa.inspect(control.engine()).get_indexes("meme_events")
    assert {index["name"] for index in indexes} == {"meme_events_at", "meme_events_user_id"}
    control.close()


def test_opening_again_takes_no_step_twice(old: str) -> None:
    for _ in range(2):
        control = Control(old)
        assert noted(control) == [step.version for step in STEPS]
        control.close()


def test_a_step_that_fails_leaves_the_database_as_it_was(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(operations: object) -> None:
        raise RuntimeError("planted")

    failing = migrations.steps.Step(migrations.LATEST, "planted", broken)
    monkeypatch.setattr("magpie.migrations.upgrading.STEPS", (*STEPS[:-1], failing))
    with pytest.raises(RuntimeError, match="planted"):
        Control(old).engine()
    monkeypatch.undo()
    engine = Control(old).bare()
    assert not sa.inspect(engine).has_table(versions.name)
    (fullname,) = [c for c in sa.inspect(engine).get_columns("deletions") if c["name"] == "fullname"]
    assert fullname["type"].length == 16
    engine.dispose()
    control = Control(old)
    assert control.deleted().height == 6
    control.close()


def test_a_newer_database_is_refused_in_one_line_without_the_password_and_left_alone(url: str) -> None:
    control = Control(url)
    with control.engine().begin() as connection:
        connection.execute(versions.insert().values(version=99, summary="to come", at=NOON))
    control.close()
    on_server = url.startswith("postgresql")
    asked = sa.make_url(url).set(password="hunter2").render_as_string(hide_password=False) if on_server else url
    with pytest.raises(UserError, match=r"version 99, and this Magpie knows versions up to \d+; install") as error:
        Control(asked).pending()
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_role_that_may_not_change_tables_is_told_so_in_one_line(postgres: str) -> None:
    with database_in(postgres) as url:
        make_old(url)
        owner = Control(url).bare()
        with owner.begin() as connection:
            connection.execute(sa.text("DROP ROLE IF EXISTS reader"))
            connection.execute(sa.text("CREATE ROLE reader LOGIN"))
        weak = sa.make_url(url).set(username="reader", password=None).render_as_string(hide_password=False)
        with pytest.raises(UserError, match=r"cannot use the control database .*permission denied|must be owner"):
            Control(weak).pending()
        owner.dispose()


def open_from_a_process(url: str, number: int) -> list[int]:
    control = Control(url)
    control.record_deletions([(f"{LONG_NAME[:-1]}{number}", "post")], NOON)
    found = noted(control)
    control.close()
    return found


@pytest.mark.slow
def test_of_processes_that_open_an_old_database_at_once_one_upgrades_and_the_others_wait(old: str) -> None:
    found = run_together(open_from_a_process, [(old, number) for number in range(4)], 120)
    assert found == [[step.version for step in STEPS]] * 4
    control = Control(old)
    assert control.deleted().height == 10
    control.close()

"""The pace of a function: no call too soon, none too late, and an end when nothing comes of it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from magpie.control import Control
from magpie.llm import pacing
from magpie.llm.breaker import TRIP, Trip, open_breakers, record_failed_run
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.purpose import FREE_TIER
from magpie.llm.schema import llm_call
from magpie.llm.store import Store
from tests.free_world import LOOK, SCOPE, A, B, C, asked, fates, free_desk, limits, look, waits
from tests.gateway_world import Desk
from tests.ledger_world import NOON, FakeClock, assert_books_balance


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    fake.now = clock
    with free_desk(tmp_path, fake, clock) as made:
        yield made
        assert_books_balance(made.store)


def starts(at: Desk) -> list[datetime]:
    return list(
        at.store.read(lambda c: c.execute(sa.select(llm_call.c.sent_at).order_by(llm_call.c.sent_at)).scalars())
    )


def slow(at: Desk, clock: FakeClock, seconds: float, text: str = '{"what": "x"}') -> None:
    """Let every answer take so long."""

    def answer(body: dict[str, Any]) -> str:
        clock.now += timedelta(seconds=seconds)
        return text

    at.fake.responder = answer


def test_calls_begin_ten_seconds_apart_fallbacks_too_and_never_more_than_twenty_a_minute(
    at: Desk, clock: FakeClock
) -> None:
    at.fake.misbehave("refusal", model=A, times="always")
    look(at, *"abcde")
    sent = starts(at)
    assert len(sent) == 10
    assert [(later - earlier).total_seconds() for earlier, later in pairwise(sent)] == [10] * 9


def test_without_a_spacing_of_the_product_the_tier_lets_twenty_calls_a_minute_out(
    tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    with free_desk(tmp_path, fake, clock, limits(gap_s=0)) as at:
        look(at, *(f"row {n}" for n in range(25)))
        sent = starts(at)
    assert all(sum(first <= other < first + timedelta(seconds=60) for other in sent) <= 20 for first in sent)
    assert (sent[-1] - sent[0]).total_seconds() == 72


def test_answers_from_the_journal_wait_for_no_slot(at: Desk, clock: FakeClock) -> None:
    look(at, *"abc")
    before = clock.now
    assert look(at, *"abc").summary.hits == 3
    assert clock.now == before


def test_no_further_model_is_asked_about_a_row_with_less_than_the_reserve_left(at: Desk, clock: FakeClock) -> None:
    slow(at, clock, 30, "no JSON at all")
    begun = clock.now
    found = look(at, "one")
    # Begun at 0, 30 and 60 s; at 90 s there are 30 left of 120, and 35 are wanted.
    assert [(sent - begun).total_seconds() for sent in starts(at)] == [0, 30, 60]
    assert fates(found) == [("pending", "invalid_output")]
    slow(at, clock, 43, "no JSON at all")
    clock.now += timedelta(hours=1)
    look(at, "two")
    assert len(asked(at)) == 5


def test_a_slot_that_comes_too_late_is_not_taken_and_nothing_is_counted(at: Desk, clock: FakeClock) -> None:
    def busy(connection: sa.Connection) -> None:
        pacing.next_slot(connection, {FREE_TIER: 86.0}, clock.now)

    at.store.write(busy)
    found = look(at, "one")
    assert fates(found) == [("pending", "batch_stopped")]
    assert waits(found, clock) == [900]
    assert (asked(at), at.calls()) == ([], [])
    clock.now += timedelta(seconds=2)
    assert fates(look(at, "one")) == [("ok", None)]


def test_a_batch_ends_in_time_and_the_rows_that_were_not_reached_wait(at: Desk, clock: FakeClock) -> None:
    slow(at, clock, 100)
    begun = clock.now
    found = look(at, *(f"row {n}" for n in range(12)))
    # Calls begin every 100 s; the last that may begin does so by 745.
    assert fates(found) == [("ok", None)] * 8 + [("pending", "batch_stopped")] * 4
    assert waits(found, clock)[8:] == [900] * 4
    assert (starts(at)[-1] - begun).total_seconds() <= 745


def test_three_rows_in_a_row_that_fail_stop_the_batch_and_one_that_works_begins_the_count_anew(
    at: Desk, clock: FakeClock
) -> None:
    at.fake.misbehave("503", match="bad", times="always")
    scope = replace(SCOPE, pace=replace(LOOK.pace, stop_after=2))
    # Models rest after a fault, so the second and third row find nobody; only what was tried and failed counts.
    found = look(at, "bad 1", "x", "y", scope=scope)
    assert fates(found) == [("pending", "transport"), ("pending", "cooling_down"), ("pending", "cooling_down")]
    clock.now += timedelta(hours=1)
    at.fake.faults.clear()
    at.fake.misbehave("refusal", match="bad", times="always")
    found = look(at, "bad 1", "fine 1", "bad 2", "bad 3", "fine 2", "fine 3", scope=scope)
    assert fates(found) == [
        ("pending", "refused"),
        ("ok", None),
        ("pending", "refused"),
        ("pending", "refused"),
        ("pending", "batch_stopped"),
        ("pending", "batch_stopped"),
    ]
    assert waits(found, clock)[4:] == [900, 900]
    assert "2 rows in a row failed, the last with refused" in found.rows["detail"][4]


def test_a_stopped_batch_still_gives_what_the_journal_has(at: Desk, clock: FakeClock) -> None:
    look(at, "known")
    at.fake.misbehave("refusal", times="always")
    found = look(at, "a", "b", "c", "d", "known")
    assert [reason for _, reason in fates(found)] == ["refused"] * 3 + ["batch_stopped", None]


def test_a_run_may_be_more_patient_than_the_function(at: Desk, clock: FakeClock) -> None:
    slow(at, clock, 30, "no JSON at all")
    look(at, "one", row_s=60)
    assert asked(at) == [A]
    clock.now += timedelta(hours=1)
    look(at, "one", row_s=600)
    assert asked(at) == [A, A, B, C]


def test_two_gateways_share_one_quota_and_one_row_of_slots(
    tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    fake.now = clock
    bounds = limits(calls=5)
    with free_desk(tmp_path, fake, clock, bounds) as one, free_desk(tmp_path, fake, clock, bounds) as two:
        first = fates(look(one, "a", "b", "c"))
        second = fates(look(two, "d", "e", "f"))
        sent = starts(one)
    assert first + second == [("ok", None)] * 5 + [("pending", "quota_exhausted")]
    assert fake.attempts == 5
    assert min((later - earlier).total_seconds() for earlier, later in pairwise(sent)) == 10


def test_many_that_draw_slots_at_once_never_get_the_same(tmp_path: Path) -> None:
    store = Store(Control(f"sqlite:///{tmp_path / 'c.db'}"))
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: store.write(lambda c: pacing.next_slot(c, {"x": 10.0}, NOON)), range(20)))
    store.close()
    assert sorted(drawn) == [NOON + timedelta(seconds=10 * n) for n in range(20)]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(0, 20), st.integers(0, 20))
def test_slots_keep_every_gap_and_are_as_early_as_they_can_be(waited: list[int], gap: int, other: int) -> None:
    engine, gaps = sa.create_engine("sqlite://"), {"a": float(gap), "b": float(other)}
    pacing.throttle.metadata.create_all(engine)
    now = free_at = NOON
    with engine.begin() as connection:
        for seconds in waited:
            now += timedelta(seconds=seconds)
            foretold = pacing.coming_slot(connection, gaps, now)
            slot = pacing.next_slot(connection, gaps, now)
            assert slot == foretold == max(now, free_at)
            free_at = slot + timedelta(seconds=max(gap, other))


def test_a_trip_says_after_how_many_runs_and_for_how_long(tmp_path: Path) -> None:
    store = Store(Control(f"sqlite:///{tmp_path / 'c.db'}"))

    def fail(scope: str, run: int, trip: Trip, minutes: int) -> bool:
        now = NOON + timedelta(minutes=minutes)
        return store.write(lambda c: record_failed_run(c, scope, f"r{run}", now, "transport", trip))

    assert [fail("function:a", n, TRIP, 10 * n) for n in range(3)] == [False, False, True]
    forever = Trip(pause=None)
    assert [fail("function:b", n, forever, 31 * n) for n in range(3)] == [False, False, False]
    assert [fail("function:c", n, forever, 30 * n) for n in range(3)] == [False, False, False]
    assert fail("function:c", 3, forever, 61)
    until = {item.scope: item.until for item in store.read(open_breakers)}
    store.close()
    assert until == {"function:a": NOON + timedelta(minutes=80), "function:c": None}

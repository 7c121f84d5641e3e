"""The books: caps are hard, every change happens once, and the sums always agree."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.control import Control
from magpie.llm import ledger
from magpie.llm.ledger import Reserved, Taken
from magpie.llm.money import to_nano
from magpie.llm.purpose import FREE_TIER, Limit, Limits, Purpose, share
from magpie.llm.refusal import Refused
from magpie.llm.store import Store
from tests.ledger_world import NOON, Books, FakeClock, assert_books_balance, capped

DOLLAR = 1_000_000_000
TOMORROW = datetime(2026, 11, 21, tzinfo=NOON.tzinfo)


def nano(usd: str) -> int:
    return to_nano(Decimal(usd))


def refusal(found: object) -> Refused:
    assert isinstance(found, Refused), found
    return found


def test_a_call_is_admitted_up_to_the_cap_to_the_nano_dollar_and_not_beyond(store: Store) -> None:
    books = Books(store, capped("5.00"))
    spent = books.held(nano("4.90"))
    books.send(spent)
    books.settle(spent, nano("4.90"))
    books.held(nano("0.04"))
    assert isinstance(books.reserve(nano("0.06")), Reserved)
    assert books.window("all") == (nano("4.90"), nano("0.10"), 3)


def test_what_only_open_reservations_keep_out_is_busy_and_may_come_back_in_a_minute(store: Store) -> None:
    books = Books(store, capped("5.00"))
    spent = books.held(nano("4.90"))
    books.send(spent)
    books.settle(spent, nano("4.90"))
    books.held(nano("0.04"))
    found = refusal(books.reserve(nano("0.0600001")))
    assert (found.reason, found.not_before) == ("cap_busy", NOON + timedelta(seconds=60))
    assert books.window("all") == (nano("4.90"), nano("0.04"), 2)


def test_what_the_day_has_no_money_for_waits_for_midnight(store: Store) -> None:
    books = Books(store, capped("5.00"))
    spent = books.held(nano("4.95"))
    books.send(spent)
    books.settle(spent, nano("4.95"))
    found = refusal(books.reserve(nano("0.06")))
    assert (found.reason, found.not_before, found.threshold) == ("cap_exhausted", TOMORROW, "$5.00")


def test_a_call_dearer_than_the_whole_cap_is_never_made(store: Store) -> None:
    found = refusal(Books(store, capped("5.00")).reserve(nano("5.01")))
    assert (found.reason, found.not_before, found.status) == ("request_too_large", None, "failed")


def test_every_scope_has_its_own_cap_and_the_tightest_decides(store: Store) -> None:
    limits = Limits(
        {
            "all": (Limit("D", 10 * DOLLAR),),
            "product:leads": (Limit("D", 5 * DOLLAR),),
            "campaign:a": (Limit("D", 1 * DOLLAR),),
        }
    )
    books = Books(store, limits)
    for _ in range(2):
        call = books.held(DOLLAR // 2)
        books.send(call)
        books.settle(call, DOLLAR // 2)
    found = refusal(books.reserve(1))
    assert found.reason == "cap_exhausted"
    assert "campaign:a" in found.detail
    elsewhere = Purpose("leads", "extract_lead", scopes=("campaign:b",))
    assert isinstance(books.reserve(DOLLAR, purpose=elsewhere), Reserved)


def test_a_monthly_cap_holds_over_days_that_it_was_not_set_for(store: Store) -> None:
    clock = FakeClock()
    before = Books(store, Limits(), clock)
    call = before.held(DOLLAR)
    before.send(call)
    before.settle(call, DOLLAR)
    clock.now += timedelta(days=3)
    capped_now = Books(store, Limits({"all": (Limit("M", DOLLAR),)}), clock)
    capped_now._ids = iter(range(100, 200))  # type: ignore[assignment]
    found = refusal(capped_now.reserve(1))
    assert (found.reason, found.not_before) == ("cap_exhausted", datetime(2026, 12, 1, tzinfo=NOON.tzinfo))


def test_a_cap_on_a_run_is_over_with_the_run(store: Store) -> None:
    books = Books(store, Limits({"all": (Limit("R", DOLLAR),)}))
    first = Purpose("leads", "f", run_id="one")
    call = books.held(DOLLAR, purpose=first)
    books.send(call)
    books.settle(call, DOLLAR)
    found = refusal(books.reserve(1, purpose=first))
    assert (found.reason, found.not_before) == ("cap_exhausted", None)
    assert isinstance(books.reserve(1, purpose=Purpose("leads", "f", run_id="two")), Reserved)


def test_attempts_are_counted_before_they_are_made_and_stay_counted_when_the_provider_saw_them(store: Store) -> None:
    limits = Limits({FREE_TIER: (Limit("D", calls=3),), share(FREE_TIER, "leads"): (Limit("D", calls=2),)})
    books = Books(store, limits)
    first, second = (books.held(0, free_tier=True) for _ in range(2))
    found = refusal(books.reserve(0, free_tier=True))
    assert (found.reason, found.observed, found.threshold, found.not_before) == ("quota_exhausted", "2", "2", TOMORROW)
    books.void(first, counts=True)
    assert refusal(books.reserve(0, free_tier=True)).reason == "quota_exhausted"
    books.void(second, counts=False)
    assert isinstance(books.reserve(0, free_tier=True), Reserved)


def test_a_provider_that_counted_more_than_we_did_is_believed(store: Store) -> None:
    books = Books(store, Limits({FREE_TIER: (Limit("D", calls=900),)}))
    store.write(lambda c: ledger.raise_calls(c, FREE_TIER, NOON, 900))
    assert refusal(books.reserve(0, free_tier=True)).reason == "quota_exhausted"
    store.write(lambda c: ledger.raise_calls(c, FREE_TIER, NOON, 10))
    assert books.window(FREE_TIER)[2] == 900


def test_a_day_that_is_over_takes_its_reservation_with_it(store: Store) -> None:
    clock = FakeClock(datetime(2026, 11, 20, 23, 59, 59, tzinfo=NOON.tzinfo))
    books = Books(store, capped("1.00"), clock)
    call = books.held(DOLLAR)
    clock.now += timedelta(seconds=2)
    assert books.send(call) is False
    assert books.state(call) == "voided"
    assert books.window("all", "D2026-11-20") == (0, 0, 0)
    assert books.send(books.held(DOLLAR)) is True
    assert books.window("all", "D2026-11-21") == (0, DOLLAR, 1)


def test_a_reservation_whose_lease_is_over_may_not_be_sent(store: Store) -> None:
    clock = FakeClock()
    books = Books(store, Limits(), clock)
    call = books.held(5)
    clock.now += timedelta(minutes=5)
    assert books.send(call) is False
    assert_books_balance(store)


def test_settling_twice_books_once_and_keeps_the_first(store: Store) -> None:
    books = Books(store, Limits())
    call = books.held(100)
    books.send(call)
    assert books.settle(call, 70) is True
    assert books.settle(call, 90) is False
    assert books.void(call) is False
    assert books.lose(call) is False
    assert books.window("all") == (70, 0, 1)


def test_a_call_that_was_cut_off_stays_charged_until_its_answer_turns_up(store: Store) -> None:
    books = Books(store, Limits())
    call = books.held(100)
    books.send(call)
    assert books.cut(call) is True
    assert books.window("all") == (100, 0, 1)
    assert books.settle(call, 60) is True
    assert books.window("all") == (60, 0, 1)


def test_a_lost_call_keeps_the_estimate_as_its_cost(store: Store) -> None:
    books = Books(store, Limits())
    sent, cut = books.held(100), books.held(30)
    books.send(sent)
    books.send(cut)
    books.cut(cut)
    assert books.lose(sent)
    assert books.lose(cut)
    assert books.window("all") == (130, 0, 2)
    assert_books_balance(store)


def test_an_answer_dearer_than_its_estimate_is_booked_in_full_and_flagged(store: Store) -> None:
    books = Books(store, Limits())
    call = books.held(100)
    books.send(call)
    books.settle(call, 150)
    assert books.window("all") == (150, 0, 1)
    flagged = sa.text("SELECT count(*) FROM llm_call WHERE over_estimate")
    assert store.read(lambda c: c.execute(flagged).scalar()) == 1


def test_two_who_ask_the_same_at_once_are_one_call(store: Store) -> None:
    books = Books(store, Limits())
    call = books.held(100)
    assert books.reserve(100, request_key="0" * 63 + "1", claims=("0" * 63 + "1",)) == Taken(
        frozenset({"0" * 63 + "1"})
    )
    books.send(call)
    books.settle(call, 50)
    answered = books.reserve(100, request_key=call * 2, claims=(call * 2,))
    assert answered == Taken(frozenset({call * 2}))


def test_of_a_batch_only_the_texts_that_others_ask_for_are_taken(store: Store) -> None:
    books = Books(store, Limits())
    books.held(10, request_key="a" * 64, claims=("b" * 64, "c" * 64))
    assert books.reserve(10, request_key="d" * 64, claims=("c" * 64, "e" * 64)) == Taken(frozenset({"c" * 64}))


def test_what_may_have_been_paid_is_not_asked_again_unless_that_is_allowed(store: Store) -> None:
    books = Books(store, Limits())
    key = "7" * 64
    call = books.held(100, request_key=key, claims=(key,))
    books.send(call)
    books.cut(call)
    waiting = refusal(books.reserve(100, request_key=key, claims=(key,)))
    assert (waiting.reason, waiting.not_before) == ("unknown_outcome", NOON + timedelta(hours=1))
    books.lose(call)
    lost = refusal(books.reserve(100, request_key=key, claims=(key,)))
    assert (lost.reason, lost.not_before) == ("unknown_outcome", None)
    assert isinstance(books.reserve(100, request_key=key, claims=(key,), allow_double_payment=True), Reserved)


def test_what_cost_nothing_and_was_cut_off_may_be_asked_again(store: Store) -> None:
    books = Books(store, Limits())
    key = "7" * 64
    call = books.held(0, request_key=key, claims=(key,))
    books.send(call)
    books.cut(call)
    assert isinstance(books.reserve(0, request_key=key, claims=(key,)), Reserved)


def test_send_times_of_one_scope_lie_apart_whoever_asks(store: Store) -> None:
    books = Books(store, Limits(gaps_s={"model:openai/small": 30}))
    times = [found.send_at for _ in range(3) if isinstance(found := books.reserve(1), Reserved)]
    assert [(at - NOON).total_seconds() for at in times] == [0, 30, 60]


STEPS = st.sampled_from(["send", "settle", "settle_dear", "void", "uncount", "cut", "lose", "next_day"])


@given(
    estimates=st.lists(st.integers(0, 400), min_size=1, max_size=12),
    steps=st.lists(st.tuples(st.integers(0, 11), STEPS), max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_in_whatever_order_the_sums_agree_and_no_admission_breaks_the_cap(
    tmp_path_factory: pytest.TempPathFactory, estimates: list[int], steps: list[tuple[int, str]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("books")
    control = Control(f"sqlite:///{folder / 'c.db'}")
    store, cap = Store(control), 1000
    books = Books(store, Limits({"all": (Limit("D", cap),), "campaign:a": (Limit("D", cap - 100),)}))
    calls: list[str] = []
    for estimate in estimates:
        day = f"D{books.clock.now:%Y-%m-%d}"
        spent, reserved, _ = books.window("campaign:a", day)
        found = books.reserve(estimate)
        assert isinstance(found, Reserved) == (spent + reserved + estimate <= cap - 100)
        if isinstance(found, Reserved):
            calls.append(found.call_id)
    for position, step in steps:
        if step == "next_day":
            books.clock.now += timedelta(days=1)
        elif calls:
            call = calls[position % len(calls)]
            {
                "send": lambda c: books.send(c),
                "settle": lambda c: books.settle(c, 1),
                "settle_dear": lambda c: books.settle(c, 500),
                "void": lambda c: books.void(c),
                "uncount": lambda c: books.void(c, counts=False),
                "cut": lambda c: books.cut(c),
                "lose": lambda c: books.lose(c),
            }[step](call)
        assert_books_balance(store)
    store.close()
    control.close()

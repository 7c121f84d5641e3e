"""The ledger's copies in the lake, and sums over the books: nothing is lost, rounded or counted for another day."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from magpie.control import Control
from magpie.lake import Lake, conform
from magpie.llm import breaker, export, journal, ledger, pacing, spend
from magpie.llm.gateway import Gateway
from magpie.llm.history import TaskEntry, task_row
from magpie.llm.journal import BodyFiles, Verdict
from magpie.llm.ledger import Settlement
from magpie.llm.money import to_nano, to_usd
from magpie.llm.prices import Prices
from magpie.llm.progress import Step, TaskState
from magpie.llm.purpose import FREE_TIER, Limit, Limits
from magpie.llm.reply import Usage
from magpie.llm.store import Store
from magpie.llm.tables import LLM_CALLS, SPEND_CAPS, TASK_LOG
from magpie.llm.task import Scope, Summary
from magpie.tables import Partitions
from tests.ledger_world import NOON, Books, FakeClock, capped

TODAY = NOON.date()
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
DOLLAR = 1_000_000_000


def calls(store: Store, *days: date) -> pl.DataFrame:
    return export.llm_calls(store, days or (TODAY,))


def one(frame: pl.DataFrame) -> dict[str, object]:
    (row,) = frame.to_dicts()
    return row


# --- llm_calls ----------------------------------------------------------------------------------------------------


def test_a_settled_call_arrives_whole_and_to_the_nano_dollar(store: Store) -> None:
    books = Books(store, Limits())
    call = books.held(5 * DOLLAR, attempt=2, reask=1, dropped_params=("temperature",))
    books.send(call)
    books.clock.sleep(1.25)
    usage = Usage(1200, 200, 0, 300, 100, 0)
    outcome = Settlement(123_456_789, usage, True, "small-2026", "stop", "req_1", 200)
    store.write(lambda c: ledger.settle(c, call, outcome, books.clock()))
    store.write(lambda c: journal.judge(c, [Verdict(call, "accepted", "fence", None, 15, "v1")]))
    row = one(calls(store))
    assert (row["call_id"], row["kind"], row["state"], row["verdict"]) == (call, "call", "settled", "accepted")
    assert (row["est_usd"], row["cost_usd"], row["saved_usd"]) == (Decimal(5), Decimal("0.123456789"), Decimal(0))
    assert (row["tokens_in"], row["tokens_cached"], row["tokens_out"], row["latency_ms"]) == (1200, 200, 300, 1250)
    assert (row["attempt_no"], row["reask_no"], row["dropped_params"]) == (2, 1, "temperature")
    assert (row["model_asked"], row["model_served"], row["provider_request_id"]) == ("small", "small-2026", "req_1")
    assert (row["parse_strategy"], row["credits"], row["credits_version"]) == ("fence", 15, "v1")
    assert (row["created_at"], row["settled_at"]) == (NOON, NOON + timedelta(seconds=1.25))
    assert row["scope_names"] == [
        "all",
        "asset:lead_extractions",
        "campaign:a",
        "model:openai/small",
        "product:leads",
        "provider:openai",
    ]


def test_rows_of_every_state_fit_the_table_and_are_charged_as_the_ledger_says(store: Store) -> None:
    books = Books(store, Limits())
    reserved, sent, voided, unknown, lost = (books.held(DOLLAR) for _ in range(5))
    for call in (sent, unknown, lost):
        books.send(call)
    books.void(voided)
    books.cut(unknown)
    books.lose(lost)
    frame = conform(LLM_CALLS, calls(store))
    charged = {row["call_id"]: (row["state"], row["cost_usd"]) for row in frame.to_dicts()}
    nothing, all_of_it = Decimal(0), Decimal(1)
    assert charged == {
        reserved: ("reserved", nothing),
        sent: ("sent", nothing),
        voided: ("voided", nothing),
        unknown: ("unknown", all_of_it),
        lost: ("lost", all_of_it),
    }
    # What was never sent has no latency; nor has what nobody knows the end of.
    assert frame.filter(pl.col("latency_ms").is_null())["call_id"].to_list() == sorted(
        [reserved, sent, voided, unknown]
    )


def test_a_hit_costs_nothing_says_what_it_saved_and_counts_for_its_product(store: Store) -> None:
    books = Books(store, Limits())
    rows = ledger.hit_rows([(books.booking(0), 60_000_001, "small-2026")], NOON)
    store.write(lambda c: ledger.record_hits(c, rows))
    row = one(conform(LLM_CALLS, calls(store)))
    assert (row["kind"], row["cost_usd"], row["saved_usd"]) == ("hit", Decimal(0), Decimal("0.060000001"))
    named = row["scope_names"]
    assert isinstance(named, list)
    assert {"all", "product:leads", "provider:openai", "model:openai/small", "asset:lead_extractions"} <= set(named)


def test_a_call_belongs_to_the_day_its_money_counts_for_and_other_days_stay_out(store: Store) -> None:
    late = FakeClock(datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC))
    books = Books(store, Limits(), late)
    before = books.held(DOLLAR)
    books.send(before)
    late.sleep(2)
    books.settle(before, DOLLAR)
    after = books.held(DOLLAR)
    assert calls(store, TODAY)["call_id"].to_list() == [before]
    assert calls(store, TOMORROW)["call_id"].to_list() == [after]
    assert calls(store, TOMORROW, TODAY, TODAY)["call_id"].to_list() == [before, after]
    assert calls(store, YESTERDAY).equals(LLM_CALLS.empty())


def test_a_copy_equals_the_window_of_its_day(store: Store) -> None:
    books = Books(store, capped("100"))
    for cost in (1, 999_999_999, 123_456_789):
        call = books.held(DOLLAR)
        books.send(call)
        books.settle(call, cost)
    books.send(cut := books.held(7))
    books.cut(cut)
    frame = calls(store)
    for scope in ("all", "campaign:a", "model:openai/small"):
        mine = frame.filter(pl.col("scope_names").list.contains(scope))
        assert mine["cost_usd"].sum() == to_usd(books.window(scope)[0])


@given(st.lists(st.integers(0, 10**17), min_size=1, max_size=20))
@hypothesis_settings(max_examples=25, deadline=None)
def test_no_amount_is_rounded_on_its_way_to_the_lake(costs: list[int]) -> None:
    with TemporaryDirectory() as folder:
        control = Control(f"sqlite:///{folder}/control.db")
        store = Store(control)
        books = Books(store, Limits())
        for cost in costs:
            books.send(call := books.held(10**17))
            books.settle(call, cost)
        found = export.llm_calls(store, [TODAY]).sort("call_id")["cost_usd"].to_list()
        store.close()
        control.close()
    assert [to_nano(usd) for usd in found] == costs


# --- task_log -----------------------------------------------------------------------------------------------------


def test_a_task_arrives_with_its_steps(store: Store) -> None:
    steps = (Step(1, "INIT", "success", "3 rows", 12), Step(2, "PREP", "success", "openai/small", None))
    trouble = (Step(1, "cooling_down", "error", "limit reached", error="429"),)
    state = TaskState("DONE", 100, "done", 3, 3, request_steps=steps, response_steps=trouble)
    summary = Summary("t1", {"ok": 2, "pending": 1}, {"cooling_down": 1}, 2, 0, 5, 0, 70, 30, 4, {}, "2 ok")
    entry = TaskEntry("t1", "extract_lead", Scope("leads", "lead_extractions", run_id="r"), "0" * 64, NOON)
    store.append(*task_row(entry, summary, state, NOON + timedelta(seconds=9)))
    frame = conform(TASK_LOG, export.task_log(store, [TODAY]))
    row = one(frame)
    assert (row["status"], row["phase"], row["cost_usd"], row["tokens"]) == ("SUCCESS", "DONE", Decimal("5e-9"), 100)
    assert [step["stepName"] for step in frame["request_steps"][0]] == ["INIT", "PREP"]
    assert frame["response_steps"][0][0]["error"] == "429"
    assert row["summary"] == '{"by_reason": {"cooling_down": 1}, "by_status": {"ok": 2, "pending": 1}}'
    assert export.task_log(store, [YESTERDAY]).equals(TASK_LOG.empty())


# --- spend_caps ---------------------------------------------------------------------------------------------------


def caps(usd: str, days: tuple[date, ...], known: pl.DataFrame | None = None) -> pl.DataFrame:
    frame = export.spend_caps(capped(usd), days, SPEND_CAPS.empty() if known is None else known, TODAY)
    return conform(SPEND_CAPS, frame)


def test_a_lowered_cap_holds_from_today_on_and_past_days_keep_theirs(tmp_path: Path) -> None:
    lake, days = Lake(str(tmp_path)), (YESTERDAY, TODAY)
    lake.write(SPEND_CAPS, caps("5.00", days), Partitions.days(days))
    lowered = caps("2.00", days, lake.read(SPEND_CAPS, Partitions.days(days)).collect())
    assert dict(lowered.select("day", "cap_usd").iter_rows()) == {YESTERDAY: Decimal(5), TODAY: Decimal(2)}


def test_a_past_day_of_which_nothing_is_known_gets_the_caps_of_now() -> None:
    assert caps("2.00", (YESTERDAY,)).rows() == [(YESTERDAY, "all", "D", Decimal(2), None)]


def test_of_two_bounds_on_one_window_the_tighter_is_told() -> None:
    limits = Limits(
        {
            "all": (Limit("D", 15 * DOLLAR), Limit("D", 3 * DOLLAR), Limit("M", 40 * DOLLAR)),
            FREE_TIER: (Limit("D", calls=900),),
        }
    )
    found = export.spend_caps(limits, [TODAY], SPEND_CAPS.empty(), TODAY)
    assert found.select("scope", "per", "cap_usd", "cap_calls").rows() == [
        ("all", "D", Decimal(3), None),
        ("all", "M", Decimal(40), None),
        (FREE_TIER, "D", None, 900),
    ]


# --- sums over the books ------------------------------------------------------------------------------------------


def use(found: list[spend.Use], scope: str, window: str = "D2026-11-20") -> spend.Use:
    return next(item for item in found if (item.scope, item.window) == (scope, window))


def test_today_tells_spent_reserved_left_and_the_share_of_the_cap(store: Store) -> None:
    books = Books(store, capped("5.00"))
    done, _held = books.held(DOLLAR), books.held(DOLLAR)
    books.send(done)
    books.settle(done, 2 * DOLLAR)
    whole = use(spend.today(store, books.limits, NOON), "all")
    assert (whole.spent_nano, whole.reserved_nano, whole.calls) == (2 * DOLLAR, DOLLAR, 2)
    assert (whole.left_nano, whole.share) == (2 * DOLLAR, 0.6)
    free = use(spend.today(store, books.limits, NOON), "provider:openai")
    assert (free.left_nano, free.share) == (None, None)


def test_an_overspent_cap_leaves_nothing_and_not_less(store: Store) -> None:
    books = Books(store, capped("1.00"))
    call = books.held(DOLLAR)
    books.send(call)
    books.settle(call, 3 * DOLLAR)
    whole = use(spend.today(store, books.limits, NOON), "all")
    assert (whole.left_nano, whole.share) == (0, 3.0)


def test_a_cap_of_nothing_is_used_up_from_the_beginning(store: Store) -> None:
    assert use(spend.today(store, capped("0"), NOON), "all").share == 1.0


def test_capped_scopes_are_listed_before_anything_is_spent_and_the_whole_comes_first(store: Store) -> None:
    limits = Limits({"campaign:a": (Limit("D", DOLLAR),), "all": (Limit("D", DOLLAR), Limit("M", DOLLAR))})
    found = [(item.scope, item.window) for item in spend.today(store, limits, NOON)]
    assert found == [("all", "D2026-11-20"), ("all", "M2026-11"), ("campaign:a", "D2026-11-20")]


def test_the_bound_that_is_met_first_gives_the_share(store: Store) -> None:
    limits = Limits({"all": (Limit("D", 10 * DOLLAR), Limit("D", calls=4))})
    books = Books(store, limits)
    for _ in range(3):
        books.held(DOLLAR)
    whole = use(spend.today(store, limits, NOON), "all")
    assert (whole.money_share, whole.calls_share, whole.share) == (0.3, 0.75, 0.75)


def test_since_lists_days_from_the_latest_and_leaves_months_and_earlier_days_out(store: Store) -> None:
    clock = FakeClock(NOON - timedelta(days=2))
    books = Books(store, Limits(), clock)
    for _ in range(3):
        call = books.held(DOLLAR)
        books.send(call)
        books.settle(call, DOLLAR)
        clock.sleep(86_400)
    found = [(item.day, item.spent_nano) for item in spend.since(store, YESTERDAY) if item.scope == "all"]
    assert found == [(TODAY, DOLLAR), (YESTERDAY, DOLLAR)]


def test_what_the_journal_saved_is_told_by_day(store: Store) -> None:
    books = Books(store, Limits())
    pairs = [(books.booking(0), saved, None) for saved in (3, 4)]
    store.write(lambda c: ledger.record_hits(c, ledger.hit_rows(pairs, NOON)))
    assert spend.saved_since(store, TODAY) == {TODAY: spend.Saved(2, 7)}
    assert spend.saved_since(store, TOMORROW) == {}


def test_obstacles_are_breakers_rests_cut_calls_and_dead_ones(store: Store) -> None:
    books = Books(store, Limits())
    books.send(unknown := books.held(2))
    books.cut(unknown)
    books.send(lost := books.held(3))
    books.lose(lost)
    books.held(5)
    until = NOON + timedelta(minutes=5)
    store.write(lambda c: breaker.open_breaker(c, "provider:openai", NOON, None, "provider_auth", "no such key"))
    store.write(lambda c: pacing.cool(c, "model:openai/small", until, "cooling_down", "slow down"))
    found = spend.obstacles(store, NOON)
    assert [item.scope for item in found.breakers] == ["provider:openai"]
    assert found.cooling == (spend.Cooling("model:openai/small", until, "cooling_down", "slow down"),)
    assert (found.unknown, found.lost, found.cut_nano, found.dead) == (1, 1, 5, 0)
    later = spend.obstacles(store, NOON + timedelta(hours=2))
    assert (later.dead, later.cooling) == (2, ()), "the reserved one and the unknown one"


def test_sums_by_function_tell_attempts_from_calls_that_never_went_out(store: Store) -> None:
    books = Books(store, Limits())
    books.send(paid := books.held(5))
    store.write(lambda c: ledger.settle(c, paid, Settlement(4, Usage(10, 0, 0, 5)), NOON))
    books.void(books.held(5))
    books.send(failed := books.held(5))
    books.void(failed)
    books.held(5)
    other = replace(books.booking(0).purpose, function="embed")
    hits = ledger.hit_rows([(books.booking(0, purpose=other), 9, None)], NOON)
    store.write(lambda c: ledger.record_hits(c, hits))
    found = spend.by_function(calls(store)).select("function", "calls", "hits", "tokens", "spent_usd", "failed").rows()
    assert found == [
        ("extract_lead", 2, 0, 15, Decimal("4e-9"), 2),
        ("embed", 0, 1, 0, Decimal(0), 0),
    ]


def test_the_curve_of_a_day_grows_to_what_the_day_cost(store: Store) -> None:
    clock = FakeClock(datetime(2026, 11, 20, 6, 59, tzinfo=UTC))
    books = Books(store, Limits(), clock)
    for cost in (1, 2, 4):
        books.send(call := books.held(DOLLAR))
        books.settle(call, cost * DOLLAR)
        clock.sleep(50)
    points = spend.curve(calls(store), TODAY)
    assert points == [(7, Decimal(3)), (8, Decimal(7))]
    assert spend.curve(calls(store), TOMORROW) == []


@pytest.mark.parametrize(
    ("scope", "wanted", "told"),
    [
        ("campaign:a", (), True),
        ("campaign:a", ("campaign",), True),
        ("campaign:a", ("campaign:a",), True),
        ("campaign:ab", ("campaign:a",), False),
        ("all", ("product", "all"), True),
        ("all", ("product",), False),
    ],
)
def test_a_kind_stands_for_all_its_scopes_and_a_scope_for_itself(
    scope: str, wanted: tuple[str, ...], told: bool
) -> None:
    assert spend.matching(scope, wanted) is told


def test_what_a_gateway_may_still_spend_is_told_of_bounded_scopes_alone(store: Store, tmp_path: Path) -> None:
    limits = capped("2.00")
    Books(store, limits).held(DOLLAR // 2)
    gateway = Gateway(store, BodyFiles(tmp_path), {}, Prices(), limits, clock=lambda: NOON)
    assert spend.left_today(gateway) == [
        {
            "scope": "all",
            "window": "2026-11-20",
            "spent": "$0",
            "reserved": "$0.5",
            "cap": "$2.00",
            "left": "$1.50",
            "calls": "1",
            "used": "25%",
        }
    ]

"""The gateway over real SDKs and a provider that fails in every way: what it pays, books, keeps and refuses."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from magpie.llm import journal, ledger
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.money import to_nano
from magpie.llm.purpose import FREE_TIER, Limit, Limits, Purpose
from magpie.llm.request import Ask
from magpie.llm.schema import llm_response
from tests.gateway_world import PURPOSE, Desk, desk
from tests.ledger_world import FakeClock, assert_books_balance


@pytest.fixture
def at(url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=0.5) as made:
        yield made
        assert_books_balance(made.store)


def spent(at: Desk, scope: str = "all", window: str = "D2026-11-20") -> tuple[int, int, int]:
    found = at.store.read(lambda c: ledger._used(c, ledger.Held((scope,), (window,))))
    return found.get((scope, window), (0, 0, 0))


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_answer_is_paid_once_and_then_given_from_the_journal(at: Desk, provider: str) -> None:
    first, second = at.answer("hello", provider), at.answer("hello", provider)
    assert at.fake.attempts == 1
    assert (first.hit, second.hit) == (False, True)
    assert first.reply.text == second.reply.text != ""
    assert (second.cost_nano, second.saved_nano) == (0, first.cost_nano)
    assert spent(at) == (first.cost_nano, 0, 1)
    assert [hit.saved_nano for hit in at.calls("hit")] == [first.cost_nano]


def test_another_asset_run_or_row_asks_the_same_question_for_nothing(at: Desk) -> None:
    at.answer()
    other = Purpose("persona", "reply", "drafts", "x", row_ref="r", run_id="later")
    assert at.answer(purpose=other).hit
    assert at.fake.attempts == 1


def test_a_different_model_text_sample_or_bound_is_another_request(at: Desk) -> None:
    at.answer("hello")
    at.answer("hello!")
    at.answer("hello", "anthropic")
    at.gateway.ask(at.request("hello", max_output_tokens=201), PURPOSE)
    sampled = replace(at.request("hello"), sample=1)
    at.gateway.ask(sampled, PURPOSE)
    assert at.fake.attempts == 5


def test_the_estimate_bounds_the_cost_and_the_cost_is_what_the_usage_says(at: Desk) -> None:
    answer = at.answer()
    call = at.calls()[0]
    assert 0 < call.cost_nano <= call.est_nano
    assert call.cost_nano == answer.cost_nano
    assert (call.tokens_in, call.tokens_out) == (answer.reply.usage.input_tokens, answer.reply.usage.output_tokens)  # type: ignore[union-attr]
    assert not call.over_estimate
    assert call.price_version


def test_an_answer_dearer_than_the_estimate_is_booked_in_full_and_flagged(at: Desk) -> None:
    at.fake.misbehave("usage_huge")
    at.answer()
    call = at.calls()[0]
    assert call.over_estimate
    assert spent(at)[0] == call.cost_nano > call.est_nano


def test_an_answer_without_usage_costs_its_estimate_and_never_nothing(at: Desk) -> None:
    at.fake.misbehave("usage_missing")
    at.answer()
    call = at.calls()[0]
    assert call.cost_nano == call.est_nano > 0
    assert call.tokens_in is None


def test_a_model_without_a_price_is_refused_before_it_is_asked(at: Desk) -> None:
    request = replace(at.request(), model="no-such-model-42")
    found = at.gateway.ask(request, PURPOSE)
    assert (found.reason, found.status) == ("unpriced_model", "failed")  # type: ignore[union-attr]
    assert at.fake.attempts == 0
    assert at.states() == []


def test_a_local_model_costs_nothing_and_is_counted(at: Desk) -> None:
    at.answer("hello", "local")
    assert spent(at, "provider:local") == (0, 0, 1)


def test_over_the_cap_nothing_is_sent_and_the_row_waits_for_midnight(
    url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    limits = Limits({"campaign:a": (Limit("D", 1000),)})
    with desk(url, tmp_path, fake, limits, clock=clock, sleep=clock.sleep) as at:
        assert at.refusal().reason == "request_too_large"
    est = 0
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep) as at:
        est = at.gateway.ceiling(at.request())[0]  # type: ignore[index]
        at.answer()
    limits = Limits({"campaign:a": (Limit("D", est),)})
    with desk(url, tmp_path, fake, limits, clock=clock, sleep=clock.sleep) as at:
        found = at.refusal("hallo")
        assert (found.reason, found.not_before) == ("cap_exhausted", datetime(2026, 11, 21, tzinfo=UTC))
        assert at.answer("hello").hit, "what is in the journal needs no money"
        assert fake.attempts == 1


def test_open_reservations_of_others_are_waited_for_a_minute_and_then_the_row_waits(
    url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep) as at:
        est: int = at.gateway.ceiling(at.request())[0]  # type: ignore[index]
        limits = Limits({"all": (Limit("D", est + 5),)})
        at.gateway.limits = limits
        other = at.gateway.booking(at.request("other"), PURPOSE, 10, "t", claims=("f" * 64,))
        at.store.write(lambda c: ledger.reserve(c, other, limits, clock()))
        found = at.refusal()
        assert found.reason == "cap_busy"
        assert found.not_before == clock.now + timedelta(seconds=60)
        assert sum(clock.slept) >= 60
        assert fake.attempts == 0


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("1", 60), ("300", 300), ("date:120", 120), ("ms:90000", 90), ("none", 900), ("86400", 3600)],
)
def test_a_limit_rests_the_model_as_long_as_asked_within_bounds(
    at: Desk, clock: FakeClock, retry_after: str, seconds: int
) -> None:
    at.fake.misbehave("429", retry_after=retry_after, times="always")
    found = at.refusal()
    assert found.reason == "cooling_down"
    assert found.not_before is not None
    assert abs((found.not_before - clock.now).total_seconds() - seconds) <= 1
    assert at.fake.attempts == 1
    assert spent(at) == (0, 0, 1)
    again = at.refusal("something else")
    assert (again.reason, at.fake.attempts) == ("cooling_down", 1)
    at.fake.reset()
    clock.now += timedelta(seconds=seconds + 1)
    assert not at.answer().hit


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_overloaded_model_rests_and_others_of_the_provider_do_not(at: Desk, provider: str) -> None:
    at.fake.misbehave("529")
    assert at.refusal("hello", provider).reason == "cooling_down"
    other = replace(at.request("hello", provider), model="gpt-4.1" if provider == "openai" else "claude-sonnet-5-5")
    assert at.gateway.ask(other, PURPOSE).cost_nano > 0  # type: ignore[union-attr]


def test_an_unpaid_bill_pauses_the_provider_for_hours_and_a_passing_one_as_told(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("402")
    found = at.refusal()
    assert (found.reason, found.not_before) == ("payment_required", clock.now + timedelta(hours=6))
    assert at.refusal("other").reason == "payment_required"
    assert at.fake.attempts == 1
    at.fake.misbehave("402_transient", retry_after="120")
    passing = at.refusal("hello", "openrouter")
    assert (passing.reason, passing.not_before) == ("payment_required", clock.now + timedelta(seconds=120))


@pytest.mark.parametrize("status", ["400", "404", "413", "422"])
def test_a_request_that_the_provider_will_not_have_fails_the_row_and_costs_nothing(at: Desk, status: str) -> None:
    at.fake.misbehave(status)
    found = at.refusal()
    assert (found.reason, found.status, found.not_before) == ("invalid_request", "failed", None)
    assert spent(at)[:2] == (0, 0)
    assert at.states() == ["voided"]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_refused_key_stops_the_provider_until_an_operator_looks_and_shows_no_key(at: Desk, provider: str) -> None:
    at.fake.misbehave("401")
    found = at.refusal("hello", provider)
    assert (found.reason, found.status, found.not_before) == ("provider_auth", "pending", None)
    assert "magpie breaker reset" in found.detail
    assert "\n" not in found.detail
    again = at.refusal("other", provider)
    assert (again.reason, at.fake.attempts) == ("provider_auth", 1)
    dump = at.store.read(lambda c: str(c.execute(sa.text("SELECT * FROM breaker")).all()))
    assert "sk-test" not in dump + found.detail + str(at.calls())


def test_a_key_that_is_not_set_is_told_before_anything_is_sent(
    url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep, keys={}) as at:
        ask = Ask("text", user="hello", max_output_tokens=10)
        found = at.gateway.request(ask, at.models.candidates("openai/gpt-4.1-mini")[0])
        assert (found.reason, found.not_before) == ("provider_auth", None)  # type: ignore[union-attr]
        assert fake.attempts == 0


@pytest.mark.parametrize("status", ["500", "503", "408"])
def test_a_passing_fault_is_tried_three_times_with_pauses_and_each_try_is_booked(
    at: Desk, clock: FakeClock, status: str
) -> None:
    at.fake.misbehave(status, times=2)
    assert not at.answer().hit
    assert at.fake.attempts == 3
    assert clock.slept == [2, 8]
    assert sorted(at.states()) == ["settled", "voided", "voided"]
    assert spent(at)[2] == 3


def test_a_fault_that_stays_leaves_the_row_waiting_and_nothing_charged(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("500", times="always")
    found = at.refusal()
    assert (found.reason, found.status) == ("transport", "pending")
    assert found.not_before == clock.now + timedelta(minutes=15)
    assert at.fake.attempts == 3
    assert spent(at) == (0, 0, 3)


def test_a_connection_that_is_refused_costs_and_counts_nothing(
    url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    with FakeProvider() as gone:
        address = gone
    with desk(url, tmp_path, address, clock=clock, sleep=clock.sleep) as at:
        assert at.refusal().reason == "transport"
        assert spent(at) == (0, 0, 0)
        assert at.states() == ["voided"] * 3


@pytest.mark.parametrize("kind", ["timeout_after", "cut_before_headers", "cut_mid_body", "html_200", "malformed_json"])
def test_what_was_sent_and_not_answered_is_one_request_and_stays_charged(at: Desk, clock: FakeClock, kind: str) -> None:
    at.fake.misbehave(kind)
    found = at.refusal()
    assert (found.reason, found.not_before) == ("unknown_outcome", clock.now + timedelta(hours=1))
    assert at.fake.attempts == 1
    call = at.calls()[0]
    assert call.state == "unknown"
    assert spent(at) == (call.est_nano, 0, 1)
    clock.now += timedelta(minutes=30)
    assert at.refusal().reason == "unknown_outcome"
    clock.now += timedelta(hours=1)
    at.gateway.sweep()
    assert at.states() == ["lost"]
    later = at.refusal()
    assert (later.reason, later.not_before, at.fake.attempts) == ("unknown_outcome", None, 1)
    at.gateway.settings = replace(at.gateway.settings, allow_double_payment=True)
    assert not at.answer().hit


def test_a_free_call_that_was_cut_off_may_be_asked_again_and_stays_counted(at: Desk) -> None:
    at.fake.misbehave("cut_before_headers")
    assert not at.answer("hello", "openrouter").hit
    assert at.fake.attempts == 2
    assert spent(at, FREE_TIER) == (0, 0, 2)


def test_an_error_in_a_successful_answer_costs_what_its_body_says_and_the_row_waits(at: Desk) -> None:
    at.fake.misbehave("error_200")
    found = at.refusal("hello")
    assert (found.reason, found.status) == ("transport", "pending")
    call = at.calls()[0]
    assert (call.state, call.error_class) == ("settled", "transport")
    assert spent(at)[0] == call.cost_nano > 0


def test_the_free_tier_is_counted_before_every_attempt_and_stops_at_its_quota(
    url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    limits = Limits({FREE_TIER: (Limit("D", calls=3),)}, {FREE_TIER: 3.0})
    with desk(url, tmp_path, fake, limits, clock=clock, sleep=clock.sleep) as at:
        fake.misbehave("500")
        at.answer("one", "openrouter")
        at.answer("two", "openrouter")
        found = at.refusal("three", "openrouter")
        assert (found.reason, found.not_before) == ("quota_exhausted", datetime(2026, 11, 21, tzinfo=UTC))
        assert fake.attempts == 3
        starts = [call.sent_at for call in at.calls()]
        assert all((b - a).total_seconds() >= 3 for a, b in pairwise(starts))


def test_a_tier_that_is_done_for_the_day_rests_until_its_reset(at: Desk, clock: FakeClock) -> None:
    at.fake.now = clock
    at.fake.misbehave("429", retry_after="daily")
    found = at.refusal("hello", "openrouter")
    assert found.reason == "quota_exhausted"
    assert found.not_before is not None
    assert found.not_before > clock.now + timedelta(hours=1)
    assert at.refusal("other", "openrouter").reason == "quota_exhausted"
    assert at.fake.attempts == 1


def test_what_others_used_of_the_free_tier_counts_before_the_first_call_of_ours(
    url: str, tmp_path: Path, clock: FakeClock
) -> None:
    limits = Limits({FREE_TIER: (Limit("D", calls=900),)})
    with FakeProvider(free_used=900) as fake, desk(url, tmp_path, fake, limits, clock=clock, sleep=clock.sleep) as at:
        assert at.refusal("hello", "openrouter").reason == "quota_exhausted"
        assert fake.attempts == 0


def test_a_negative_balance_stops_free_models_before_they_are_asked(url: str, tmp_path: Path, clock: FakeClock) -> None:
    with FakeProvider(balance_usd=-0.5) as fake, desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep) as at:
        assert at.refusal("hello", "openrouter").reason == "payment_required"
        assert fake.attempts == 0


def test_a_day_that_turns_while_a_call_waits_for_its_slot_takes_the_call_with_it(
    url: str, tmp_path: Path, fake: FakeProvider
) -> None:
    clock = FakeClock(datetime(2026, 11, 20, 23, 59, 50, tzinfo=UTC))
    limits = Limits({"all": (Limit("D", to_nano(Decimal("1"))),)}, {"provider:openai": 30.0})
    with desk(url, tmp_path, fake, limits, clock=clock, sleep=clock.sleep) as at:
        at.answer("one")
        at.answer("two")
        assert spent(at, window="D2026-11-20")[2] == 1
        assert spent(at, window="D2026-11-21")[2] == 1
        assert sorted(at.states()) == ["settled", "settled", "voided"]
        assert fake.attempts == 2


def test_deleted_rows_leave_no_answer_behind(at: Desk) -> None:
    gone = replace(PURPOSE, row_ref="t3_gone")
    at.answer("about a post", purpose=gone)
    at.answer("about another", purpose=replace(PURPOSE, row_ref="t3_here"))
    assert at.store.write(lambda c: journal.purge(c, ["t3_gone"])) == 1
    rows = at.store.read(lambda c: c.execute(sa.select(llm_response).order_by(llm_response.c.row_ref)).all())
    assert [(row.row_ref, row.state, row.body is None) for row in rows] == [
        ("t3_gone", "purged", True),
        ("t3_here", "unjudged", False),
    ]


def test_a_journal_that_cannot_be_written_does_not_lose_the_answer_that_was_paid(
    tmp_path: Path, fake: FakeProvider, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "journal").write_text("in the way of the directory", "utf-8")
    with desk(f"sqlite:///{tmp_path / 'c.db'}", tmp_path, fake, clock=clock, sleep=clock.sleep) as at:
        assert at.answer().cost_nano > 0
        assert at.answer().hit
        assert at.states() == ["settled"]
    assert "could not be journalled" in caplog.text

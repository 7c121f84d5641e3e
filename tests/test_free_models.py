"""Free models: a row goes from one to the next, none is asked too often, and none ever costs anything."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from magpie.control import Control
from magpie.engine import engine_of
from magpie.errors import UserError
from magpie.llm.choices import Choice
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.free_models import Polled, hidden_models, refresh_free_models
from magpie.llm.models import Models
from magpie.llm.providers.lookup import build
from magpie.llm.providers.waits import retry_after
from magpie.llm.purpose import FREE_TIER, Purpose
from magpie.llm.refusal import Refused, clamped_cooldown
from magpie.llm.request import Ask, Image, Request
from magpie.llm.schema import breaker, cooldown, llm_call, spend_window
from magpie.settings import Settings
from tests.free_world import MODELS, PICTURE, SCOPE, A, B, C, asked, fates, free_desk, look, waits
from tests.gateway_world import KEYS, Desk
from tests.ledger_world import NOON, FakeClock, assert_books_balance

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
# Kinds of fault in which nothing is said about the row.
ON_THE_WAY = (
    "500",
    "502",
    "503",
    "408",
    "error_200",
    "html_200",
    "malformed_json",
    "cut_before_headers",
    "cut_mid_body",
)
# Answers that arrive whole and hold nothing.
BAD_ANSWERS = ("schema_violation", "truncated", "empty")


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    fake.now = clock
    with free_desk(tmp_path, fake, clock) as made:
        yield made
        assert_books_balance(made.store)


def resting(at: Desk, clock: FakeClock) -> dict[str, float]:
    """Seconds that each scope still rests."""
    rows = at.store.read(lambda c: c.execute(sa.select(cooldown)).all())
    return {row.scope: (row.until - clock.now).total_seconds() for row in rows if row.until > clock.now}


def verdicts(at: Desk) -> list[tuple[str | None, str | None]]:
    """What each call came to, in the order of sending."""
    columns = sa.select(llm_call.c.verdict, llm_call.c.error_class).order_by(llm_call.c.sent_at)
    return [tuple(row) for row in at.store.read(lambda c: c.execute(columns).all())]  # type: ignore[misc]


def model(name: str) -> str:
    return f"model:openrouter/{name}"


def calls_used(at: Desk, scope: str = FREE_TIER) -> int:
    chosen = (spend_window.c.scope == scope) & spend_window.c.window.startswith("D")
    return at.store.read(lambda c: c.execute(sa.select(spend_window.c.calls).where(chosen)).scalar()) or 0


def test_the_first_model_answers_and_no_other_is_asked(at: Desk) -> None:
    found = look(at, "one", "two")
    assert fates(found) == [("ok", None)] * 2
    assert asked(at) == [A, A]
    assert found.rows["cost_usd"].sum() == 0
    assert found.rows["attempts"].to_list() == [0, 0]


@pytest.mark.parametrize("kind", ON_THE_WAY)
def test_a_fault_on_the_way_hands_the_row_on_at_once_and_rests_the_model(at: Desk, clock: FakeClock, kind: str) -> None:
    at.fake.misbehave(kind, model=A, times="always", delay_s=0)
    assert fates(look(at, "one")) == [("ok", None)]
    assert asked(at) == [A, B]
    assert resting(at, clock) == {model(A): pytest.approx(890, abs=1)}
    assert fates(look(at, "two")) == [("ok", None)]
    assert asked(at) == [A, B, B]
    clock.now += timedelta(seconds=900)
    at.fake.faults.clear()
    look(at, "three")
    assert asked(at)[-1] == A


def test_a_model_that_does_not_answer_in_its_seconds_is_left_for_the_next(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("timeout_after", model=A)
    assert fates(look(at, "one", request_s=0.2)) == [("ok", None)]
    assert asked(at) == [A, B]
    assert verdicts(at) == [(None, "transport"), ("accepted", None)]
    assert model(A) in resting(at, clock)


def test_when_every_model_fails_on_the_way_the_row_waits_and_nothing_is_held_against_it(
    at: Desk, clock: FakeClock
) -> None:
    at.fake.misbehave("503", times="always")
    for _ in range(4):
        found = look(at, "one")
        assert (fates(found), waits(found, clock)) == ([("pending", "transport")], [900])
        assert found.rows["attempts"].to_list() == [0]
        clock.now += timedelta(seconds=900)
    assert asked(at) == [A, B, C] * 4


def test_when_every_model_rests_the_row_waits_for_the_first_to_come_back(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("429", model=A, retry_after="600")
    at.fake.misbehave("429", model=B, retry_after="300")
    at.fake.misbehave("429", model=C)
    begun = clock.now
    found = look(at, "one")
    assert fates(found) == [("pending", "cooling_down")]
    assert found.rows["not_before"][0] == begun + timedelta(seconds=10 + 300)
    assert asked(at) == [A, B, C]
    later = look(at, "two")
    assert (fates(later), later.rows["not_before"][0]) == (fates(found), found.rows["not_before"][0])
    assert asked(at) == [A, B, C]


def test_how_long_a_limited_model_rests() -> None:
    told = {"date": "Fri, 20 Nov 2026 12:00:00 GMT"}
    assert clamped_cooldown(retry_after(told, NOON)) == 900
    for value, seconds in (("5", 60), ("300", 300), ("7200", 3600)):
        assert clamped_cooldown(retry_after({**told, "retry-after": value}, NOON)) == seconds
    epoch = str(int(NOON.timestamp()) + 120)
    assert clamped_cooldown(retry_after({**told, "retry-after": epoch}, NOON)) == 120
    past = str(int(NOON.timestamp()) - 120)
    assert clamped_cooldown(retry_after({**told, "retry-after": past}, NOON)) == 60


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_an_answer_that_does_not_hold_hands_the_row_on_without_asking_again(
    at: Desk, clock: FakeClock, kind: str
) -> None:
    at.fake.misbehave(kind, model=A)
    found = look(at, "one")
    assert fates(found) == [("ok", None)]
    assert asked(at) == [A, B]
    assert found.rows["attempts"].to_list() == [0]
    assert model(A) in resting(at, clock)
    assert verdicts(at) == [("invalid", "invalid_output"), ("accepted", None)]


def test_a_turn_of_bad_answers_is_one_failure_and_the_third_ends_it(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("schema_violation", times="always")
    for failures in (1, 2):
        found = look(at, "one")
        assert (fates(found), waits(found, clock)) == ([("pending", "invalid_output")], [900])
        assert found.rows["attempts"].to_list() == [failures]
        clock.now += timedelta(seconds=900)
    assert fates(look(at, "one")) == [("failed", "llm_error:invalid_output")]
    assert asked(at) == [A, B, C] * 3
    clock.now += timedelta(seconds=900)
    assert fates(look(at, "one")) == [("failed", "llm_error:invalid_output")]
    assert len(asked(at)) == 9


def test_the_number_of_failures_that_ends_a_row_can_be_set(at: Desk) -> None:
    at.fake.misbehave("schema_violation", times="always")
    assert fates(look(at, "one", tries=1)) == [("failed", "llm_error:invalid_output")]


def test_a_bad_answer_is_not_given_again_from_the_journal(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("schema_violation", times=3)
    look(at, "one")
    clock.now += timedelta(seconds=900)
    assert fates(look(at, "one")) == [("ok", None)]
    assert asked(at) == [A, B, C, A]
    assert fates(look(at, "one")) == [("ok", None)]
    assert len(asked(at)) == 4


def test_a_model_that_declines_hands_the_row_on_and_does_not_rest(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("refusal", model=A)
    assert fates(look(at, "one")) == [("ok", None)]
    assert asked(at) == [A, B]
    assert resting(at, clock) == {}


def test_a_row_that_every_model_declines_waits_and_fails_the_third_time(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("refusal", times="always")
    for _ in range(2):
        found = look(at, "one")
        assert (fates(found), waits(found, clock)) == ([("pending", "refused")], [900])
        clock.now += timedelta(seconds=900)
    assert fates(look(at, "one")) == [("failed", "llm_error:refused")]


def test_a_bad_answer_counts_even_if_the_other_models_only_failed_on_the_way(at: Desk) -> None:
    at.fake.misbehave("schema_violation", model=A)
    at.fake.misbehave("500", model=B)
    at.fake.misbehave("429", model=C)
    found = look(at, "one")
    assert fates(found) == [("pending", "invalid_output")]
    assert found.rows["attempts"].to_list() == [1]


@pytest.mark.parametrize("kind", ["403", "404"])
def test_a_model_that_is_barred_or_gone_rests_for_hours_and_the_next_is_asked(
    at: Desk, clock: FakeClock, kind: str
) -> None:
    at.fake.misbehave(kind, model=A)
    assert fates(look(at, "one")) == [("ok", None)]
    assert resting(at, clock) == {model(A): pytest.approx(21_590, abs=1)}


def test_a_request_that_one_model_will_not_have_goes_to_the_next_and_fails_only_if_none_will(at: Desk) -> None:
    at.fake.misbehave("400", model=A, times="always")
    assert fates(look(at, "one")) == [("ok", None)]
    at.fake.misbehave("400", times="always")
    assert fates(look(at, "two")) == [("failed", "invalid_request")]


def test_an_unpaid_bill_stops_the_key_for_hours_and_a_bad_answer_before_it_is_no_failure(
    at: Desk, clock: FakeClock
) -> None:
    at.fake.misbehave("schema_violation", model=A)
    at.fake.misbehave("402", model=B)
    found = look(at, "one", "two")
    assert fates(found) == [("pending", "payment_required")] * 2
    assert waits(found, clock) == [21_600] * 2
    assert found.rows["attempts"].to_list() == [0, 0]
    assert asked(at) == [A, B]


def test_a_key_that_is_refused_at_a_call_stops_the_provider(at: Desk) -> None:
    at.fake.misbehave("401")
    found = look(at, "one", "two", probe_key=False)
    assert fates(found) == [("pending", "provider_auth")] * 2
    assert found.rows["not_before"].to_list() == [None, None]
    assert len(asked(at)) == 1


@pytest.mark.parametrize("status", ["401", "403"])
def test_a_key_that_is_refused_before_the_batch_costs_no_call(at: Desk, status: str) -> None:
    at.fake.misbehave(status, endpoint="key")
    assert fates(look(at, "one", "two")) == [("pending", "provider_auth")] * 2
    assert asked(at) == []
    assert fates(look(at, "one", "two")) == [("ok", None)] * 2


@pytest.mark.parametrize("kind", ["500", "cut_before_headers", "html_200"])
def test_a_probe_that_gets_no_answer_stops_nothing(at: Desk, kind: str) -> None:
    at.fake.misbehave(kind, endpoint="key", delay_s=0, times="always")
    assert fates(look(at, "one")) == [("ok", None)]


def test_the_key_is_not_asked_about_when_the_journal_has_every_answer(at: Desk) -> None:
    look(at, "one")
    at.fake.misbehave("401", endpoint="key")
    assert fates(look(at, "one")) == [("ok", None)]
    assert len(at.fake.faults.waiting()) == 1


def test_the_end_of_the_days_free_calls_ends_the_batch_until_midnight(at: Desk) -> None:
    at.fake.misbehave("429", model=A, retry_after="daily")
    found = look(at, "one", "two", "three")
    assert fates(found) == [("pending", "quota_exhausted")] * 3
    assert found.rows["not_before"].to_list() == [MIDNIGHT] * 3
    assert asked(at) == [A]


def test_every_attempt_is_counted_before_it_is_made_those_of_fallbacks_too(
    tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    fake.now, fake.free_used = clock, 890
    with free_desk(tmp_path, fake, clock) as at:
        at.fake.misbehave("503", model=A, times="always")
        at.fake.misbehave("refusal", model=B, times="always")
        found = look(at, *"abcdef", stop_after=None)
        # 900 a day, 890 of them used: one for the model that fails and then rests, two for each row.
        assert asked(at) == [A, B, C, B, C, B, C, B, C, B]
        assert fates(found) == [("ok", None)] * 4 + [("pending", "quota_exhausted")] * 2
        assert found.rows["not_before"].to_list()[4:] == [MIDNIGHT] * 2
        assert calls_used(at) == 900


@pytest.mark.parametrize(
    ("limit", "used", "left"), [(1000, 0, 900), (1000, 895, 5), (50, 0, 45), (50, 44, 1), (50, 50, 0), (2000, 10, 890)]
)
def test_what_the_provider_leaves_counts_when_it_is_less(
    tmp_path: Path, clock: FakeClock, limit: int, used: int, left: int
) -> None:
    with FakeProvider(free_limit=limit, free_used=used, now=clock) as fake, free_desk(tmp_path, fake, clock) as at:
        assert at.gateway.probe("openrouter") is None
        assert 900 - calls_used(at) == left


def test_books_that_are_away_let_no_call_out(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> None:
    with free_desk(tmp_path, fake, clock) as at:
        look(at, "one")
    other = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with free_desk(tmp_path, fake, clock, wait_s=0.2) as at:
        assert fates(look(at, "two", "three", probe_key=False)) == [("pending", "ledger_unavailable")] * 2
    other.close()
    assert fake.attempts == 1


def test_three_bad_batches_within_the_hour_stop_the_function_until_an_operator_lets_it_go_on(
    at: Desk, clock: FakeClock
) -> None:
    at.fake.misbehave("503", times="always")
    for number in range(3):
        assert fates(look(at, f"row {number}", scope=replace(SCOPE, run_id=f"run-{number}"))) == [
            ("pending", "transport")
        ]
        clock.now += timedelta(minutes=16)
    at.fake.faults.clear()
    clock.now += timedelta(days=2)
    stopped = look(at, "row 9")
    assert (fates(stopped), stopped.rows["not_before"].to_list()) == ([("pending", "breaker_open")], [None])
    (row,) = at.store.read(lambda c: c.execute(sa.select(breaker)).all())
    assert (row.scope, row.until) == ("function:look_at", None)


def bad_batch(at: Desk, number: int, *texts: str) -> None:
    look(at, *texts, scope=replace(SCOPE, run_id=f"run-{number}"))


def opened(at: Desk) -> bool:
    return bool(at.store.read(lambda c: c.execute(sa.select(breaker)).all()))


def test_batches_that_only_met_limits_stop_nothing(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("429", times="always")
    for number in range(4):
        bad_batch(at, number, f"row {number}")
        clock.now += timedelta(minutes=15)
    assert not opened(at)


def test_a_batch_with_one_good_answer_or_too_few_calls_is_no_bad_one(at: Desk, clock: FakeClock) -> None:
    for number in range(4):
        at.fake.misbehave("503", model=A)
        at.fake.misbehave("503", model=B)
        bad_batch(at, number, f"good in the end {number}")
        clock.now += timedelta(minutes=15)
    assert not opened(at)
    for number in range(4, 8):
        at.fake.misbehave("503", times="always")
        look(at, f"row {number}", scope=replace(SCOPE, run_id=f"run-{number}"), batch_s=50)
        at.fake.faults.clear()
        clock.now += timedelta(minutes=15)
    assert not opened(at)


def test_answers_from_the_journal_do_not_hide_a_bad_batch(at: Desk, clock: FakeClock) -> None:
    bad_batch(at, 0, "known")
    at.fake.misbehave("503", times="always")
    for number in range(1, 4):
        bad_batch(at, number, "known", f"row {number}")
        clock.now += timedelta(minutes=16)
    assert opened(at)


def test_models_that_are_no_longer_listed_are_left_out_until_they_are_back(
    at: Desk, fake: FakeProvider, clock: FakeClock
) -> None:
    listed = {row.model_id for row in at.models.rows if row.provider == "openrouter"}
    fake.models = frozenset(listed - {A})
    gone = refresh_free_models(at.gateway, at.models)
    assert gone == Polled(len(listed) - 1, (f"openrouter/{A}",))
    assert [(one.name, one.since) for one in hidden_models(at.store)] == [(f"openrouter/{A}", clock.now)]
    assert fates(look(at, "one")) == [("ok", None)]
    assert asked(at) == [B]
    fake.models = frozenset(listed)
    assert refresh_free_models(at.gateway, at.models).back == (f"openrouter/{A}",)
    look(at, "two")
    assert asked(at) == [B, A]
    assert calls_used(at) == 2


@pytest.mark.parametrize("kind", ["500", "html_200", "cut_before_headers"])
def test_a_list_that_does_not_come_hides_nothing(at: Desk, fake: FakeProvider, kind: str) -> None:
    fake.misbehave(kind, endpoint="models", delay_s=0)
    assert refresh_free_models(at.gateway, at.models).fault
    assert hidden_models(at.store) == []


def test_a_list_without_any_free_model_is_a_slip_and_hides_nothing(at: Desk, fake: FakeProvider) -> None:
    fake.models = frozenset({"maker/a"})
    told = refresh_free_models(at.gateway, at.models)
    assert told.fault == "openrouter lists 1 models and none of them as free"
    assert hidden_models(at.store) == []


def test_when_all_candidates_are_gone_the_row_waits_and_no_rule_answers_in_their_place(
    at: Desk, fake: FakeProvider
) -> None:
    fake.models = frozenset({"maker/other:free"})
    assert len(refresh_free_models(at.gateway, at.models).gone) >= 3
    found = look(at, "one")
    assert fates(found) == [("pending", "cooling_down")]
    assert found.rows["provider"].to_list() == [None]


def test_without_a_key_no_list_is_asked_for(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> None:
    with free_desk(tmp_path, fake, clock, keys={}) as at:
        assert refresh_free_models(at.gateway, at.models).fault == "no key for openrouter: set it in the environment"
        assert not (tmp_path / "control.db").exists()


PAID = {"provider": "openrouter", "model_id": "maker/paid", "vision": True}


def test_a_paid_model_is_refused_when_settings_are_read_whatever_else_they_allow(tmp_path: Path) -> None:
    llm = {"models": (PAID,), "allow_paid_openrouter": True}

    def made(**more: Any) -> None:
        settings = Settings.model_validate({"start_day": "2026-11-20", "home": tmp_path, "llm": {**llm, **more}})
        engine_of(settings, Control(f"sqlite:///{tmp_path / 'c.db'}"), env=KEYS)

    made()
    with pytest.raises(UserError) as caught:
        made(aliases={"vision-free": ("openrouter/maker/paid",)})
    assert str(caught.value) == (
        "llm.aliases.vision-free: model ids of vision-free must end in :free, or be local; "
        "openrouter/maker/paid is neither"
    )


def test_a_paid_model_cannot_be_chosen_for_one_run_either(at: Desk) -> None:
    at.models = Models.load({**MODELS, "models": [*MODELS["models"], PAID]})
    with pytest.raises(UserError, match="look_at: model ids of vision-free must end in :free"):
        look(at, "one", scope=replace(SCOPE, run_choice=Choice(model="openrouter/maker/paid")))
    assert asked(at) == []


def test_a_paid_model_is_refused_again_before_its_call(at: Desk) -> None:
    at.models = Models.load({"models": [PAID]})
    open_door = build("openrouter", base_url=at.fake.base_url("openrouter"), env=KEYS, paid_openrouter=True)
    at.gateway.providers = {"openrouter": open_door}
    request = at.gateway.request(ask_for_text(), at.models.candidates("openrouter/maker/paid")[0])
    found = at.gateway.ask(request, Purpose("memes", "look_at", model_alias="vision-free"))  # type: ignore[arg-type]
    assert isinstance(found, Refused)
    assert (found.reason, found.status) == ("invalid_request", "failed")
    assert (asked(at), at.calls()) == ([], [])


def ask_for_text(*images: Image) -> Ask:
    return Ask("text", user="hello", images=images, max_output_tokens=20)


def test_models_are_asked_to_answer_without_thinking_and_with_the_picture_as_it_is(at: Desk) -> None:
    look(at, "one")
    body = at.fake.requests[0].body
    assert body["reasoning"] == {"enabled": False}
    assert (body["temperature"], body["max_tokens"]) == (0.2, 100)
    picture = body["messages"][-1]["content"][1]["image_url"]
    assert set(picture) == {"url"}
    assert picture["url"].startswith("data:image/jpeg;base64,")
    assert "reasoning" not in json.dumps(at.request("hello", "openrouter").body)


def test_openai_is_asked_to_look_closely_and_the_keys_of_texts_stay_what_they_were(at: Desk) -> None:
    model_of = Models.load().candidates("openai/gpt-4.1-mini")[0]
    shown, told = at.gateway.request(ask_for_text(PICTURE), model_of), at.gateway.request(ask_for_text(), model_of)
    assert isinstance(shown, Request) and isinstance(told, Request)
    assert shown.body["messages"][0]["content"][1]["image_url"] == {"url": PICTURE.mark, "detail": "high"}
    messages = [{"role": "user", "content": "hello"}]
    assert told.body == {"model": "gpt-4.1-mini", "messages": messages, "max_completion_tokens": 20}

"""Runware: its wire format, the price it tells, its refusals, and answers that were lost on the way."""

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.images import Images, Made, Order
from magpie.llm.models import Model, Models
from magpie.llm.prices import Prices
from magpie.llm.providers.base import KeepsAnswers
from magpie.llm.providers.lookup import build
from magpie.llm.providers.runware import MOST_USD, Runware
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import Refused
from magpie.llm.reply import Exchange, Fault, Reply
from magpie.llm.request import Ask
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock, assert_books_balance

KEY = {"RUNWARE_API_KEY": "rw-test-0123456789"}
FLUX, SDXL = "runware:101@1", "civitai:101055@128078"
PURPOSE = Purpose("content", "make_image", "article_images")
ORDER = Order("a quiet desk", (1024, 1024), negative="people", seed=11, row_ref="x#featured-0", partition="a|d")
# What the fake charges unless it is told a price.
TOLD_NANO, CEILING_NANO = 3_800_000, 5_000_000


@pytest.fixture
def at(url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    prices = tmp_path / "prices.yaml"
    prices.write_text(f'"runware/{FLUX}": {{image: 0.005}}\n"runware/{SDXL}": {{image: 0.005}}\n')
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=5) as made:
        provider = build("runware", base_url=fake.base_url("runware"), env=KEY)
        made.gateway.providers["runware"] = provider  # type: ignore[index]
        made.gateway.prices = Prices(prices)
        yield made
        assert_books_balance(made.store)
        assert isinstance(provider, Runware)
        provider.close()


def images(at: Desk, model_id: str = FLUX) -> Images:
    return Images(at.gateway, [at.models.get("runware", model_id)], PURPOSE)


def make(at: Desk, order: Order = ORDER, model_id: str = FLUX) -> Made | Refused:
    return images(at, model_id).make(order)


def refusal(at: Desk, order: Order = ORDER) -> Refused:
    outcome = make(at, order)
    assert isinstance(outcome, Refused), outcome
    return outcome


def test_a_task_goes_out_in_an_array_under_the_id_of_its_call(at: Desk) -> None:
    image = make(at)
    assert isinstance(image, Made)
    (call,), (sent,) = at.calls(), at.fake.requests
    assert sent.body["taskUUID"] == str(uuid.UUID(call.id))
    assert uuid.UUID(call.id).version == 4
    assert (sent.body["positivePrompt"], sent.body["width"], sent.body["height"]) == ("a quiet desk", 1024, 1024)
    assert (sent.body["outputType"], sent.body["outputFormat"]) == ("base64Data", "WEBP")
    assert (sent.body["numberResults"], sent.body["includeCost"], sent.body["seed"]) == (1, True, 11)
    assert "authorization" not in sent.headers
    assert (image.mime, image.width, image.seed, image.provider) == ("image/webp", 1024, 11, "runware")


def test_a_call_is_reserved_at_the_known_price_and_settled_at_the_told_one(at: Desk) -> None:
    make(at)
    (call,) = at.calls()
    assert (call.est_nano, call.cost_nano, call.images) == (CEILING_NANO, TOLD_NANO, 1)
    assert images(at).bill(ORDER).credits == 5
    again = make(at)
    assert isinstance(again, Made)
    assert again.hit, "the id of the call is no part of what is asked"
    assert at.fake.attempts == 1


def test_a_model_without_a_known_price_is_not_asked(at: Desk) -> None:
    at.gateway.prices = Prices(None)
    assert refusal(at).reason == "unpriced_model"
    assert at.fake.attempts == 0


def test_a_negative_prompt_goes_only_to_models_that_take_one(at: Desk) -> None:
    plain = make(at)
    assert isinstance(plain, Made)
    assert plain.dropped_params == ("negative_prompt",)
    taking = make(at, model_id=SDXL)
    assert isinstance(taking, Made)
    assert taking.dropped_params == ()
    assert [seen.body.get("negativePrompt") for seen in at.fake.requests] == [None, "people"]


def test_sizes_are_multiples_of_64_within_the_bounds(at: Desk) -> None:
    image = make(at, replace(ORDER, size=(1200, 630)))
    assert isinstance(image, Made)
    assert [side % 64 for side in image.size_asked] == [0, 0]
    assert (image.width, image.height) == image.size_asked


def test_a_prompt_against_the_rules_is_rejected_and_costs_nothing(at: Desk) -> None:
    no = refusal(at, replace(ORDER, prompt="please refuse-me"))
    assert (no.reason, no.status) == ("refused", "rejected")
    assert [(call.state, call.cost_nano) for call in at.calls()] == [("voided", 0)]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("401", "provider_auth"), ("402", "payment_required"), ("429", "cooling_down"), ("503", "transport")],
)
def test_failures_do_what_they_do_with_every_provider(at: Desk, kind: str, reason: str) -> None:
    at.fake.misbehave(kind, times=None)
    assert refusal(at).reason == reason
    assert {call.state for call in at.calls()} == {"voided"}


def test_an_answer_that_was_lost_is_fetched_by_its_id_and_not_bought_again(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("cut_before_headers")
    assert refusal(at).reason == "unknown_outcome"
    assert at.states() == ["unknown"]
    assert refusal(at).reason == "unknown_outcome", "and nobody asks meanwhile"
    clock.now += timedelta(hours=1, minutes=1)
    report = at.gateway.sweep()
    assert (report.settled, report.lost) == (1, 0)
    (call,) = at.calls()
    assert (call.state, call.cost_nano) == ("settled", TOLD_NANO)
    image = make(at)
    assert isinstance(image, Made)
    assert image.hit
    assert at.fake.answered_total == 1


def test_a_call_that_nobody_knows_of_stays_charged(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("timeout_before", delay_s=0)
    assert refusal(at).reason == "unknown_outcome"
    clock.now += timedelta(hours=2)
    assert at.gateway.sweep().lost == 1
    assert [(call.state, call.cost_nano) for call in at.calls()] == [("lost", CEILING_NANO)]


def test_a_provider_that_is_away_is_asked_for_a_lost_answer_again_for_a_day(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("cut_before_headers")
    refusal(at)
    at.fake.misbehave("503", endpoint="getTaskDetails", times=None)
    clock.now += timedelta(hours=2)
    assert at.gateway.sweep().lost == 0
    assert at.states() == ["unknown"]
    at.fake.faults.clear()
    assert at.gateway.sweep().settled == 1


def test_and_no_longer_than_that(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("cut_before_headers")
    refusal(at)
    at.fake.misbehave("503", endpoint="getTaskDetails", times=None)
    clock.now += timedelta(days=1, minutes=1)
    assert at.gateway.sweep().lost == 1


# Reading


def provider(**options: Any) -> Runware:
    made = build("runware", env=KEY)
    assert isinstance(made, Runware)
    return made


def read(body: Any, status: int = 200) -> Reply | Fault:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return provider().read("imageInference", Exchange(status, {}, raw))


def item(**more: Any) -> dict[str, Any]:
    return {"taskType": "imageInference", "imageBase64Data": base64.b64encode(b"picture").decode(), **more}


@pytest.mark.parametrize(
    ("told", "nano"),
    [
        (0.0013, 1_300_000),
        (1, 1_000_000_000),
        (None, None),
        (0, None),
        (-1, None),
        (True, None),
        ("0.1", None),
        (MOST_USD + 1, None),
    ],
)
def test_a_told_cost_counts_if_it_is_one(told: Any, nano: int | None) -> None:
    reply = read({"data": [item(cost=told)]})
    assert isinstance(reply, Reply)
    assert (reply.cost_nano, reply.blobs) == (nano, (b"picture",))
    assert reply.usage is not None
    assert reply.usage.images == 1, "without a told cost the known price of an image is booked"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalidPositivePrompt", "invalid_request"),
        (400, "contentPolicyViolation", "refused"),
        (200, "contentPolicyViolation", "refused"),
        (200, "invalidModel", "invalid_request"),
        (200, "timeoutProvider", "server"),
        (200, "somethingNew", "server"),
        (400, "insufficientCredits", "payment_required"),
        (200, "invalidApiKey", "auth"),
        (200, "rateLimitExceeded", "limited"),
        (503, "providerInternalError", "server"),
    ],
)
def test_errors_are_told_by_their_code_whatever_the_status(status: int, code: str, kind: str) -> None:
    fault = read({"errors": [{"code": code, "message": "so it is", "taskType": "imageInference"}]}, status)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.status) == (kind, status)
    assert "so it is" in fault.message


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", [], {}, {"data": []}, {"data": [{}]}, {"data": [item(imageBase64Data="%%%")]}, {"data": "x"}],
)
def test_what_is_no_answer_leaves_open_whether_it_was_paid(body: Any) -> None:
    fault = read(body)
    assert isinstance(fault, Fault)
    assert fault.kind == "bad_body"


def test_the_key_never_comes_back_in_a_message() -> None:
    fault = read({"errors": [{"code": "invalidApiKey", "message": f"no such key {KEY['RUNWARE_API_KEY']}"}]}, 401)
    assert isinstance(fault, Fault)
    assert KEY["RUNWARE_API_KEY"] not in fault.message
    assert KEY["RUNWARE_API_KEY"] not in repr(provider())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "errors", "cost", "code", "message", "imageBase64Data"]), inner)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([200, 201, 400, 401, 404, 429, 500, 503]))
def test_whatever_comes_is_read(body: Any, status: int) -> None:
    assert isinstance(read(json.dumps(body).encode(), status), Reply | Fault)


def test_it_makes_images_and_nothing_else() -> None:
    model = Models.load().get("runware", FLUX)
    with pytest.raises(UserError, match="makes images and nothing else"):
        provider().request(Ask("text", "hello", max_output_tokens=5), model)
    with pytest.raises(ValueError, match="needs a size"):
        provider().request(Ask("image", "hello"), model)
    assert isinstance(provider(), KeepsAnswers)
    assert not build("runware", env={}).has_key


def test_without_a_key_nothing_is_sent(at: Desk) -> None:
    keyless = build("runware", base_url=at.fake.base_url("runware"), env={})
    request = keyless.request(Ask("image", "a desk", size=(512, 512)), Model("runware", FLUX, "image"))
    with pytest.raises(UserError, match="RUNWARE_API_KEY"):
        keyless.send(request, 1, lambda exchange: None)
    assert at.fake.attempts == 0

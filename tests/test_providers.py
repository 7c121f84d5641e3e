"""What providers ask and what they read: real SDKs against a server that speaks the wire formats and misbehaves."""

import base64
import json
import logging
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Model
from magpie.llm.providers import anthropic_api, openai_api
from magpie.llm.providers.lookup import PROVIDERS, build
from magpie.llm.providers.openrouter import FreeQuota, OpenRouter
from magpie.llm.providers.sdk import SdkProvider
from magpie.llm.providers.waits import MOST_WAIT_S, http_date, retry_after
from magpie.llm.reply import Exchange, Fault, Reply, Usage
from magpie.llm.request import Ask, Image, Request, Turn

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
KEYS = {
    "OPENAI_API_KEY": "sk-openai-0123456789",
    "ANTHROPIC_API_KEY": "sk-ant-0123456789",
    "OPENROUTER_API_KEY": "sk-or-0123456789",
}
TIMEOUT_S = 5.0
SHORT_S = 0.25
SCHEMA = {
    "type": "object",
    "properties": {"is_lead": {"type": "boolean"}, "quote": {"type": "string"}},
    "required": ["is_lead", "quote"],
    "additionalProperties": False,
}
PNG = Image("image/png", b"\x89PNG not much of one")
TEXT = Ask("text", "Say something.", max_output_tokens=50)
EVERY_API = pytest.mark.parametrize("name", PROVIDERS)
OPENAI_LIKE = pytest.mark.parametrize("name", ["openai", "openrouter", "local"])


@pytest.fixture()
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(now=lambda: NOW) as server:
        yield server


@pytest.fixture()
def providers(fake: FakeProvider) -> Iterator[dict[str, SdkProvider]]:
    made = {name: at(name, fake.base_url(name)) for name in PROVIDERS}
    yield made
    for provider in made.values():
        provider.close()


def at(name: str, base_url: str | None = None, **options: Any) -> SdkProvider:
    made = build(name, base_url=base_url, env=KEYS, **options)
    assert isinstance(made, SdkProvider)
    made._clock = lambda: NOW
    return made


def model(name: str, **facts: Any) -> Model:
    return Model(name, "some/model:free", "text", **{"json": True, "vision": True, **facts})


def call(provider: SdkProvider, ask: Ask = TEXT, **facts: Any) -> Reply | Fault:
    request = provider.request(ask, model(provider.name, **facts))
    return provider.read(request.endpoint, provider.send(request, TIMEOUT_S, lambda exchange: None))


def faulty(provider: SdkProvider, ask: Ask = TEXT) -> Fault:
    read = call(provider, ask)
    assert isinstance(read, Fault), read
    return read


def replied(provider: SdkProvider, ask: Ask = TEXT) -> Reply:
    read = call(provider, ask)
    assert isinstance(read, Reply), read
    return read


def read_body(name: str, body: Any, status: int = 200, endpoint: str = "", **headers: str) -> Reply | Fault:
    """What a provider makes of an answer with this body."""
    provider = at(name)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {header.replace("_", "-"): value for header, value in headers.items()}
    return provider.read(
        endpoint or ("messages" if name == "anthropic" else "chat/completions"), Exchange(status, told, raw)
    )


def completion(content: Any = "hi", finish: Any = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c1", "model": "served", "choices": [choice], **more}


# What is asked


@EVERY_API
def test_what_is_asked_goes_over_the_wire_word_for_word(
    name: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    ask = Ask(
        "json",
        "Judge <untrusted>this</untrusted>.",
        system="Be brief.",
        turns=(Turn("assistant", "{"), Turn("user", "That was no JSON.")),
        json_schema=SCHEMA,
        schema_name="lead",
        max_output_tokens=90,
        temperature=0.5,
    )
    provider = providers[name]
    request = provider.request(ask, model(name), sample=3)
    assert replied(provider, ask).finish_reason == "stop"
    assert fake.requests[0].body == request.body
    # The server's hash is that of the canonical body: nothing was added on the way.
    assert (request.endpoint, fake.requests[0].sha256) in fake.answered
    assert request.wire_bytes == len(json.dumps(request.body, separators=(",", ":"), ensure_ascii=False).encode())
    assert request.sample == 3
    assert "sample" not in json.dumps(request.body)
    assert request.max_output_tokens == 90


def test_openai_and_the_others_name_the_bound_of_an_answer_as_each_takes_it() -> None:
    bounds = {name: at(name).request(TEXT, model(name)).body for name in PROVIDERS}
    assert bounds["openai"]["max_completion_tokens"] == 50
    assert "max_tokens" not in bounds["openai"]
    for name in ("anthropic", "openrouter", "local"):
        assert bounds[name]["max_tokens"] == 50
        assert "max_completion_tokens" not in bounds[name]


@EVERY_API
def test_the_bound_of_an_answer_is_what_the_model_can_if_more_is_asked(name: str) -> None:
    ask = Ask("text", "hi", max_output_tokens=9000)
    assert at(name).request(ask, model(name, max_output_tokens=4096)).max_output_tokens == 4096
    assert at(name).request(ask, model(name)).max_output_tokens == 9000
    with pytest.raises(ValueError, match="max_output_tokens"):
        at(name).request(Ask("text", "hi"), model(name))


@EVERY_API
def test_a_schema_is_sent_strict_and_in_each_apis_own_place(name: str) -> None:
    ask = Ask("json", "hi", json_schema=SCHEMA, schema_name="my lead!", max_output_tokens=50)
    body = at(name).request(ask, model(name)).body
    if name == "anthropic":
        assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    else:
        told = {"name": "my_lead_", "strict": True, "schema": SCHEMA}
        assert body["response_format"] == {"type": "json_schema", "json_schema": told}


@OPENAI_LIKE
def test_what_a_model_lacks_is_dropped_and_told(name: str) -> None:
    ask = Ask("json", "hi", json_schema=SCHEMA, temperature=0.0, max_output_tokens=50)
    request = at(name).request(ask, model(name, json=False, temperature=False))
    assert request.dropped_params == ("temperature", "json")
    assert not {"temperature", "response_format"} & set(request.body)
    kept = at(name).request(ask, model(name))
    assert kept.dropped_params == ()
    assert kept.body["temperature"] == 0.0


def test_anthropic_never_gets_a_temperature_which_its_sdk_does_not_even_know() -> None:
    ask = Ask("json", "hi", json_schema=SCHEMA, temperature=0.0, max_output_tokens=50)
    request = at("anthropic").request(ask, model("anthropic", temperature=True))
    assert request.dropped_params == ("temperature",)
    assert at("anthropic").request(ask, model("anthropic", json=False)).dropped_params == ("temperature", "json")
    assert at("anthropic").request(TEXT, model("anthropic")).dropped_params == ()


def test_a_model_that_thinks_is_asked_to_think_little_because_its_thoughts_use_up_the_answer() -> None:
    thinking, plain = model("openai", temperature=False), model("openai", temperature=True)
    assert at("openai").request(TEXT, thinking).body["reasoning_effort"] == "low"
    assert "reasoning_effort" not in at("openai").request(TEXT, plain).body
    assert "reasoning_effort" not in at("openrouter").request(TEXT, model("openrouter", temperature=False)).body


@EVERY_API
def test_an_image_is_sent_as_bytes_and_kept_as_its_hash(
    name: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    # Words that look like a mark are words: only where an image stands is one put in.
    ask = Ask("text", PNG.mark, images=(PNG,), max_output_tokens=50)
    request = providers[name].request(ask, model(name))
    encoded = base64.b64encode(PNG.data).decode()
    assert encoded not in json.dumps(request.body)
    assert json.dumps(request.body).count(PNG.sha256) == 2
    assert request.images == {PNG.mark: PNG}
    replied(providers[name], ask)
    parts = {part["type"]: part for part in fake.requests[0].body["messages"][0]["content"]}
    assert parts["text"]["text"] == PNG.mark
    if name == "anthropic":
        assert parts["image"]["source"] == {"type": "base64", "media_type": "image/png", "data": encoded}
    else:
        assert parts["image_url"]["image_url"]["url"] == f"data:image/png;base64,{encoded}"


@EVERY_API
def test_a_model_that_cannot_see_is_not_shown_an_image(name: str) -> None:
    with pytest.raises(UserError, match="takes no images"):
        at(name).request(Ask("text", "hi", images=(PNG,), max_output_tokens=5), model(name, vision=False))


def test_two_servers_of_one_name_have_keys_of_their_own() -> None:
    first, second = (
        at("local", url).request(TEXT, model("local")) for url in ("http://a.test/v1", "http://b.test/v1/")
    )
    assert second.base_url == "http://b.test/v1"
    assert first.key != second.key
    assert first.key == at("local", "http://a.test/v1/").request(TEXT, model("local")).key


def test_an_anthropic_answer_may_be_long_though_the_sdk_would_refuse_to_wait_for_it(
    providers: dict[str, SdkProvider],
) -> None:
    assert replied(providers["anthropic"], Ask("text", "hi", max_output_tokens=64_000)).text


def test_anthropic_has_no_embeddings() -> None:
    with pytest.raises(UserError, match="no model for embedding"):
        at("anthropic").request(Ask("embedding", texts=("a",)), model("anthropic"))


# OpenRouter and money


def test_a_paid_model_of_openrouter_is_refused_when_asked_and_when_sent() -> None:
    provider = at("openrouter")
    paid = Model("openrouter", "vendor/model", "text")
    with pytest.raises(UserError, match="vendor/model is a paid model"):
        provider.request(TEXT, paid)
    smuggled = Request("openrouter", provider.base_url, "vendor/model", "chat/completions", {"model": "vendor/model"})
    with pytest.raises(UserError, match="paid model"):
        provider.send(smuggled, TIMEOUT_S, lambda exchange: None)
    assert at("openrouter", paid_openrouter=True).request(TEXT, paid).model == "vendor/model"


def test_the_quota_of_the_day_is_read_from_the_account() -> None:
    with FakeProvider(free_limit=50, free_used=12, balance_usd=-0.5, now=lambda: NOW) as fake:
        provider = at("openrouter", fake.base_url("openrouter"))
        assert isinstance(provider, OpenRouter)
        assert provider.quota() == FreeQuota(50, 12, 38, True)
        replied(provider)
        assert provider.quota() == FreeQuota(50, 13, 37, True)
        assert fake.attempts == 1
        provider.close()


def test_a_quota_that_cannot_be_read_is_a_fault(fake: FakeProvider) -> None:
    with FakeProvider(keys=["another-key"]) as strict:
        provider = at("openrouter", strict.base_url("openrouter"))
        assert isinstance(provider, OpenRouter)
        read = provider.quota()
        assert isinstance(read, Fault)
        assert (read.kind, read.status) == ("auth", 401)
        assert "sk-or" not in repr(read)
    gone = provider.quota()
    assert isinstance(gone, Fault)
    assert gone.kind in ("not_sent", "cut")
    keyless = build("openrouter", env={})
    assert isinstance(keyless, OpenRouter)
    with pytest.raises(UserError, match="OPENROUTER_API_KEY"):
        keyless.quota()


# What comes back


@EVERY_API
def test_an_answer_is_read_with_its_usage_and_its_model(name: str, providers: dict[str, SdkProvider]) -> None:
    reply = replied(providers[name], Ask("json", "x", json_schema=SCHEMA, schema_name="x", max_output_tokens=50))
    assert json.loads(reply.text)["is_lead"] is True
    assert reply.usage is not None
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.model == "some/model:free"
    assert reply.provider_request_id


@OPENAI_LIKE
def test_embeddings_come_in_the_order_asked_as_little_endian_floats(
    name: str, providers: dict[str, SdkProvider]
) -> None:
    ask = Ask("embedding", texts=("one", "two", "three"), dims=8)
    reply = replied(providers[name], ask)
    assert len(reply.vectors) == 3
    assert {len(vector) for vector in reply.vectors} == {8 * 4}
    alone = replied(providers[name], Ask("embedding", texts=("two",), dims=8))
    assert alone.vectors[0] == reply.vectors[1]
    assert abs(sum(value**2 for value in struct.unpack("<8f", reply.vectors[0])) - 1) < 1e-5
    assert reply.usage is not None
    assert reply.usage.input_tokens > 0


def test_a_length_that_comes_anyway_is_not_asked_for() -> None:
    ask = Ask("embedding", texts=("a",), dims=1536)
    assert "dimensions" not in at("openai").request(ask, model("openai", dims=1536)).body
    assert at("openai").request(ask, model("openai", dims=3072)).body["dimensions"] == 1536
    assert at("openai").request(ask, model("openai")).body["encoding_format"] == "float"


@OPENAI_LIKE
def test_moderation_and_images_come_back_whole(name: str, providers: dict[str, SdkProvider]) -> None:
    moderated = replied(providers[name], Ask("moderation", texts=("fine", "please flag-me")))
    assert [result["flagged"] for result in json.loads(moderated.text)] == [False, True]
    drawn = replied(providers[name], Ask("image", user="a cat"))
    assert drawn.blobs[0].startswith(b"\x89PNG")
    assert drawn.usage is not None
    assert drawn.usage.images == 1


@EVERY_API
@pytest.mark.parametrize(("kind", "finish"), [("length", "length"), ("refusal", "refused")])
def test_why_an_answer_ended_is_told_in_one_way(
    name: str, kind: str, finish: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave(kind)
    assert replied(providers[name]).finish_reason == finish


@pytest.mark.parametrize(
    ("told", "finish"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "refused"), ("tool_calls", "other"), (None, "other")],
)
def test_openais_reasons_are_mapped(told: Any, finish: str) -> None:
    read = read_body("openai", completion("text", told))
    assert isinstance(read, Reply)
    assert read.finish_reason == finish


@pytest.mark.parametrize(
    ("told", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refused"),
        ("tool_use", "other"),
    ],
)
def test_anthropics_reasons_are_mapped(told: str, finish: str) -> None:
    read = read_body("anthropic", {"type": "message", "content": [], "stop_reason": told, "model": "m"})
    assert isinstance(read, Reply)
    assert read.finish_reason == finish


@EVERY_API
@pytest.mark.parametrize("kind", ["fenced", "prose", "truncated", "schema_violation", "empty"])
def test_the_text_of_an_answer_is_handed_on_however_bad_it_is(
    name: str, kind: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    ask = Ask("json", "x", json_schema=SCHEMA, schema_name="x", max_output_tokens=90)
    good = replied(providers[name], ask).text
    fake.misbehave(kind)
    bad = replied(providers[name], ask)
    assert bad.text != good
    assert bad.finish_reason == "stop"


@EVERY_API
@pytest.mark.parametrize("kind", ["html_200", "malformed_json", "empty_200", "missing_choices"])
def test_a_success_that_is_no_answer_is_a_bad_body(
    name: str, kind: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave(kind)
    fault = faulty(providers[name])
    assert (fault.kind, fault.status) == ("bad_body", 200)
    assert len(fault.message) <= 300
    assert "\n" not in fault.message
    # Where the counts can be read all the same, they are what the call is booked at.
    assert (fault.usage is not None) == (kind == "missing_choices")
    assert fake.attempts == 1


@EVERY_API
def test_a_success_that_says_it_failed_is_an_error_body_with_its_own_status_and_usage(
    name: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave("error_200")
    fault = faulty(providers[name])
    assert fault.kind == "error_body"
    assert fault.status in (500, 502)
    assert fault.usage is not None
    assert fault.usage.input_tokens > 0
    assert fake.attempts == 1


@pytest.mark.parametrize(
    ("name", "body", "kind", "status"),
    [
        ("openai", {"error": "broken"}, "error_body", None),
        ("openai", {"error": {"message": "x", "code": "rate_limit_exceeded"}}, "error_body", 429),
        ("openai", {"error": {"message": "x", "type": "insufficient_quota"}}, "payment_required", 402),
        ("openai", {"error": {"message": "x", "code": 503}}, "error_body", 503),
        ("openai", {"error": {"message": "x", "code": "503"}}, "error_body", 503),
        ("openai", {"error": {"message": "x", "code": 200}}, "error_body", None),
        ("openai", {"error": {"message": "x", "code": True}}, "error_body", None),
        ("openai", {"detail": "Not here"}, "error_body", None),
        ("openai", {"detail": "odd", "choices": []}, "bad_body", 200),
        ("openrouter", {"error": {"code": 403, "message": "flagged"}}, "model_forbidden", 403),
        ("openrouter", {"error": {"code": 402, "message": "no credits"}}, "payment_required", 402),
        ("openrouter", {"choices": [{"error": {"code": 502, "message": "broke"}}]}, "error_body", 502),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, "error_body", 529),
        ("openai", {"error": None, "choices": []}, "bad_body", 200),
        ("openai", {"error": {}, "choices": []}, "bad_body", 200),
        ("openai", [], "bad_body", 200),
        ("openai", "text", "bad_body", 200),
        ("openai", {"choices": [{"message": None}]}, "bad_body", 200),
        ("openai", {"choices": [{"message": {"content": 5}}]}, "bad_body", 200),
        ("anthropic", {"content": "text"}, "bad_body", 200),
        ("anthropic", {"content": ["text"]}, "bad_body", 200),
    ],
)
def test_the_envelope_is_checked_before_the_answer(name: str, body: Any, kind: str, status: int | None) -> None:
    read = read_body(name, body)
    assert isinstance(read, Fault), read
    assert (read.kind, read.status) == (kind, status)


def test_text_is_found_in_the_shapes_that_servers_give_it() -> None:
    shapes = {
        "plain": completion("plain"),
        "": completion(None),
        "two parts": completion([{"type": "text", "text": "two "}, {"type": "x"}, {"type": "text", "text": "parts"}]),
        "no": completion(None, message={"refusal": "no"}),
        "hidden": {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hidden"}]},
    }
    for text, body in shapes.items():
        read = read_body("anthropic" if "content" in body else "openai", body)
        assert isinstance(read, Reply)
        assert read.text == text


def test_an_answer_in_broken_unicode_is_not_lost_and_can_be_stored() -> None:
    read = read_body("openai", b'{"choices": [{"message": {"content": "a\xff\\ud800\\u0000\\ud83d\\ude00"}}]}')
    assert isinstance(read, Reply)
    assert read.text == "a���😀"
    assert read.text.encode()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [{"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": []}],
        [{"index": 0, "embedding": "AAAA"}],
        [{"index": 0, "embedding": [1.0, "2"]}],
        [{"index": 0, "embedding": [True]}],
        [{"index": 0, "embedding": [1e300]}],
        [{"index": 0, "embedding": [float("nan")]}],
        [{"index": "0", "embedding": [1.0]}],
        ["x"],
    ],
)
def test_vectors_that_are_missing_or_none_are_no_answer(data: Any) -> None:
    read = read_body("openai", {"data": data, "usage": {"prompt_tokens": 3}}, endpoint="embeddings")
    assert isinstance(read, Fault)
    assert read.kind == "bad_body"
    assert read.usage == Usage(3)


@pytest.mark.parametrize("data", [[], [{"url": "https://x.test/a.png"}], [{"b64_json": "not base64!"}], [None]])
def test_an_image_without_its_bytes_is_no_answer(data: Any) -> None:
    read = read_body("openai", {"data": data}, endpoint="images/generations")
    assert isinstance(read, Fault)
    assert read.kind == "bad_body"


def test_vectors_are_put_in_order_by_their_index() -> None:
    data = [{"index": 1, "embedding": [2, 0]}, {"index": 0, "embedding": [1, 0]}]
    read = read_body("openai", {"data": data}, endpoint="embeddings")
    assert isinstance(read, Reply)
    assert read.vectors == (struct.pack("<2f", 1, 0), struct.pack("<2f", 2, 0))
    assert read.usage is None


NAMES = ["error", "choices", "message", "content", "data", "usage", "code", "type", "metadata", "index", "embedding"]
shapes = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "results"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.binary(max_size=200) | shapes.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(PROVIDERS),
    st.sampled_from([200, 204, 307, 400, 401, 402, 403, 404, 407, 418, 429, 500, 529, 599]),
)
def test_whatever_a_server_sends_is_a_reply_or_a_fault(body: bytes, name: str, status: int) -> None:
    endpoints = ["messages"] if name == "anthropic" else ["chat/completions", "embeddings", "moderations"]
    for endpoint in endpoints:
        read = READERS[name].read(endpoint, Exchange(status, {}, body))
        assert isinstance(read, Reply if status in (200, 204) and isinstance(read, Reply) else Fault)


READERS = {name: build(name, env=KEYS) for name in PROVIDERS}


# Statuses


@EVERY_API
@pytest.mark.parametrize(
    ("kind", "fault_kind", "status"),
    [
        ("400", "invalid_request", 400),
        ("404", "invalid_request", 404),
        ("413", "invalid_request", 413),
        ("422", "invalid_request", 422),
        ("401", "auth", 401),
        ("402", "payment_required", 402),
        ("429", "limited", 429),
        ("529", "overloaded", 529),
        ("408", "server", 408),
        ("500", "server", 500),
        ("503", "server", 503),
    ],
)
def test_a_status_means_one_kind_of_fault_at_every_provider(
    name: str, kind: str, fault_kind: str, status: int, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave(kind, times="always")
    fault = faulty(providers[name])
    assert (fault.kind, fault.status) == (fault_kind, status)
    assert fault.message.startswith(f"HTTP {status}: ")
    assert fault.provider_request_id
    assert fault.usage is None
    assert not fault.until_reset
    assert fake.attempts == 1


def test_a_403_stops_a_provider_but_only_a_model_of_openrouter(
    fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave("403", times="always")
    kinds = {name: faulty(provider).kind for name, provider in providers.items()}
    assert kinds == {"openai": "auth", "anthropic": "auth", "local": "auth", "openrouter": "model_forbidden"}


@pytest.mark.parametrize(
    ("name", "status", "body", "kind"),
    [
        ("openai", 429, {"error": {"message": "quota", "type": "insufficient_quota"}}, "payment_required"),
        ("openai", 400, {"error": {"message": "limit", "code": "billing_hard_limit_reached"}}, "payment_required"),
        ("anthropic", 400, {"error": {"message": "Your credit balance is too low to access"}}, "payment_required"),
        ("openrouter", 403, {"error": {"metadata": {"limit_source": "openrouter_key_limit"}}}, "payment_required"),
        ("openrouter", 403, {"error": {"message": "flagged", "metadata": {"reasons": ["x"]}}}, "model_forbidden"),
        ("openai", 407, b"proxy wants a password", "not_sent"),
        ("openai", 409, {}, "server"),
        ("openai", 418, {}, "invalid_request"),
        ("openai", 302, b"", "invalid_request"),
        ("openai", 599, b"<html>", "server"),
    ],
)
def test_money_that_is_missing_is_known_by_its_words_and_odd_statuses_by_their_class(
    name: str, status: int, body: Any, kind: str
) -> None:
    read = read_body(name, body, status)
    assert isinstance(read, Fault)
    assert (read.kind, read.status) == (kind, status)


def test_a_quota_that_is_used_up_at_openai_is_a_bill_and_no_limit(
    fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave("insufficient_quota")
    assert faulty(providers["openai"]).kind == "payment_required"


@EVERY_API
def test_a_402_that_passes_by_itself_says_how_long_and_the_other_does_not(
    name: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave("402_transient", retry_after="7")
    fake.misbehave("402")
    first, second = faulty(providers[name]), faulty(providers[name])
    assert (first.kind, first.retry_after_s) == ("payment_required", 7.0)
    assert (second.kind, second.retry_after_s) == ("payment_required", None)


def test_a_402_of_openrouter_for_what_is_under_way_passes_even_if_it_does_not_say_when(
    fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave("402_transient")
    assert faulty(providers["openrouter"]).retry_after_s == 60


# Waits


@EVERY_API
@pytest.mark.parametrize("kind", ["429", "503", "529"])
@pytest.mark.parametrize(
    ("form", "seconds"),
    [("1", 1.0), ("300", 300.0), ("date:90", 90.0), ("ms:1500", 1.5), ("none", None)],
)
def test_a_wait_is_read_in_every_form(
    name: str, kind: str, form: str, seconds: float | None, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave(kind, retry_after=form)
    fault = faulty(providers[name])
    assert fault.retry_after_s == seconds
    assert not fault.until_reset


def test_a_date_is_measured_by_the_clock_of_the_server_that_gave_it() -> None:
    skewed = NOW - timedelta(hours=5)
    until = skewed + timedelta(seconds=40)
    told = {"date": format_datetime(skewed, usegmt=True), "retry-after": format_datetime(until, usegmt=True)}
    assert retry_after(told, NOW) == 40
    del told["date"]
    assert retry_after(told, NOW) == 0
    assert retry_after(told, skewed) == 40


def test_the_day_of_openrouter_ends_at_its_reset(fake: FakeProvider, providers: dict[str, SdkProvider]) -> None:
    fake.misbehave("429", retry_after="daily")
    read = faulty(providers["openrouter"])
    assert read.kind == "limited"
    assert read.until_reset
    assert read.reset_at == MIDNIGHT
    assert "free-models-per-day" in read.message


def openrouter_429(message: str, metadata: Any, **headers: str) -> Fault:
    date = format_datetime(NOW, usegmt=True)
    body = {"error": {"code": 429, "message": message, "metadata": metadata}}
    read = read_body("openrouter", body, 429, date=date, **headers)
    assert isinstance(read, Fault)
    return read


def test_a_limit_of_openrouters_minute_is_waited_for_and_not_taken_for_the_days() -> None:
    reset = str(int((NOW + timedelta(seconds=42)).timestamp() * 1000))
    fault = openrouter_429("Rate limit exceeded: free-models-per-min", {"headers": {"X-RateLimit-Reset": reset}})
    assert (fault.retry_after_s, fault.until_reset) == (42.0, False)


@pytest.mark.parametrize(
    ("message", "metadata", "until_reset"),
    [
        ("Rate limit exceeded: free-models-per-day", None, True),
        ("Rate limit exceeded", {"limit_source": "openrouter_free_daily"}, True),
        ("Rate limit exceeded", {"headers": {"X-RateLimit-Reset": str(int(MIDNIGHT.timestamp() * 1000))}}, True),
        ("Rate limit exceeded", {"headers": {"X-RateLimit-Reset": str(int(MIDNIGHT.timestamp()))}}, True),
        ("Rate limit exceeded", {"error_type": "rate_limit_exceeded"}, False),
        # The company behind the model is done for the day, not the account.
        ("daily limit", {"provider_name": "Vendor"}, False),
        ("Rate limit exceeded", "nonsense", False),
        ("Rate limit exceeded", {"headers": {"X-RateLimit-Reset": "99999999999999999999"}}, False),
    ],
)
def test_done_for_the_day_is_told_from_wait(message: str, metadata: Any, until_reset: bool) -> None:
    fault = openrouter_429(message, metadata)
    assert fault.until_reset == until_reset
    assert fault.reset_at in (None, MIDNIGHT)


def test_a_wait_in_openrouters_metadata_counts_like_one_in_a_header() -> None:
    assert openrouter_429("Provider returned error", {"headers": {"Retry-After": "17"}}).retry_after_s == 17
    assert openrouter_429("Provider returned error", {"retry_after_seconds": 17}).retry_after_s == 17
    assert openrouter_429("x", {"headers": {"Retry-After": "17"}}, retry_after="3").retry_after_s == 3


@given(st.integers(0, 10**9))
def test_seconds_are_seconds(seconds: int) -> None:
    assert retry_after({"retry-after": str(seconds)}, NOW) == min(seconds, MOST_WAIT_S)
    assert retry_after({"retry-after-ms": str(seconds)}, NOW) == min(seconds / 1000, MOST_WAIT_S)


@given(
    st.integers(1_600_000_000, 2_200_000_000),
    st.integers(-(10**7), 10**7),
    st.sampled_from(["imf", "rfc850", "asctime"]),
)
def test_a_date_in_any_of_its_forms_is_the_distance_to_it_and_never_negative(
    epoch: int, distance: int, form: str
) -> None:
    answered = datetime.fromtimestamp(epoch, UTC)
    until = answered + timedelta(seconds=distance)
    text = {
        "imf": format_datetime(until, usegmt=True),
        "rfc850": until.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        "asctime": until.strftime("%a %b %d %H:%M:%S %Y"),
    }[form]
    told = {"retry-after": text, "date": format_datetime(answered, usegmt=True)}
    assert retry_after(told, NOW) == min(max(distance, 0), MOST_WAIT_S)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_nonsense_is_no_wait_and_no_error(first: str, second: str, third: str) -> None:
    wait = retry_after({"retry-after": first, "retry-after-ms": second, "date": third}, NOW)
    assert wait is None or 0 <= wait <= MOST_WAIT_S
    assert http_date("5") is None


@pytest.mark.parametrize("value", ["inf", "nan", "-5", "1e9", "0x10", "٣", "", " ", "soon"])
def test_what_only_looks_like_a_number_is_no_wait(value: str) -> None:
    assert retry_after({"retry-after": value, "retry-after-ms": value}, NOW) is None


# Usage

counts = st.integers(0, 200_000)


@given(counts, counts, counts, counts, counts)
def test_both_ways_of_counting_come_to_the_same_usage(
    fresh: int, cached: int, written: int, given_out: int, reasoned: int
) -> None:
    reasoned = min(reasoned, given_out)
    theirs = anthropic_api.usage_of(
        {
            "usage": {
                "input_tokens": fresh,
                "cache_read_input_tokens": cached,
                "cache_creation_input_tokens": written,
                "output_tokens": given_out,
                "output_tokens_details": {"thinking_tokens": reasoned},
            }
        }
    )
    ours = openai_api.usage_of(
        {
            "usage": {
                "prompt_tokens": fresh + cached + written,
                "completion_tokens": given_out,
                "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
                "completion_tokens_details": {"reasoning_tokens": reasoned},
            }
        }
    )
    assert ours == theirs == Usage(fresh + cached + written, cached, written, given_out, reasoned)


COUNTS = ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens"]
COUNTS += ["cache_creation_input_tokens", "prompt_tokens_details"]
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just({}) | st.just([])


@given(
    st.dictionaries(
        st.sampled_from(COUNTS),
        anything | st.dictionaries(st.sampled_from(["cached_tokens", "cache_write_tokens"]), anything),
    )
    | anything
)
def test_usage_is_whole_or_not_told_and_no_part_exceeds_its_whole(told: Any) -> None:
    for usage_of in (openai_api.usage_of, anthropic_api.usage_of):
        usage = usage_of({"usage": told})
        if usage is not None:
            assert all(type(value) is int and value >= 0 for value in vars(usage).values())
            assert usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens
            assert usage.reasoning_tokens <= usage.output_tokens


@given(counts, counts, counts, counts, counts)
def test_a_server_that_counts_parts_beside_the_whole_is_read_so_that_nothing_is_lost(
    taken: int, cached: int, written: int, given_out: int, reasoned: int
) -> None:
    usage = openai_api.usage_of(
        {
            "usage": {
                "prompt_tokens": taken,
                "completion_tokens": given_out,
                "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
                "completion_tokens_details": {"reasoning_tokens": reasoned},
            }
        }
    )
    assert usage == Usage(max(taken, cached + written), cached, written, max(given_out, reasoned), reasoned)


@EVERY_API
@pytest.mark.parametrize("kind", ["usage_zero", "usage_missing"])
def test_an_answer_whose_usage_cannot_be_true_has_none_so_that_it_is_booked_at_its_estimate(
    name: str, kind: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave(kind)
    reply = replied(providers[name])
    assert reply.text
    assert reply.usage is None


@pytest.mark.parametrize("counts", [{"prompt_tokens": 0, "completion_tokens": 5}, {"prompt_tokens": 5}, {}, None])
def test_no_prompt_is_empty_and_no_text_is_written_with_no_token(counts: Any) -> None:
    read = read_body("openai", completion("text", usage=counts))
    assert isinstance(read, Reply)
    assert read.usage is None


def test_a_refusal_without_a_word_may_have_cost_its_prompt_only() -> None:
    read = read_body("openai", completion(None, "content_filter", usage={"prompt_tokens": 5, "completion_tokens": 0}))
    assert isinstance(read, Reply)
    assert read.usage == Usage(5)


@EVERY_API
def test_a_usage_beyond_the_estimate_is_passed_on_as_told(
    name: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    fake.misbehave("usage_huge")
    usage = replied(providers[name]).usage
    assert usage is not None
    assert usage.output_tokens == 10_000_000


@EVERY_API
def test_cached_tokens_are_part_of_the_input_at_every_provider(
    name: str, fake: FakeProvider, providers: dict[str, SdkProvider]
) -> None:
    long = Ask("text", "word " * 100, max_output_tokens=50)
    plain = replied(providers[name], long).usage
    fake.misbehave("usage_cached")
    cached = replied(providers[name], long).usage
    assert plain is not None
    assert cached is not None
    assert cached.input_tokens == plain.input_tokens
    assert cached.cached_tokens == plain.input_tokens // 2
    assert cached.cache_write_tokens == plain.input_tokens // 4


# Errors and names


@EVERY_API
def test_the_words_of_a_server_are_bounded_and_of_one_line(name: str) -> None:
    read = read_body(name, {"error": {"message": "bad\n\x1b[31m" + "x" * 5000, "type": "t"}}, 400)
    assert isinstance(read, Fault)
    assert len(read.message) <= 300
    assert read.message.isprintable()


@pytest.mark.parametrize("name", ["openai", "anthropic", "openrouter"])
def test_a_wrong_key_is_one_line_without_the_key(name: str) -> None:
    with FakeProvider(keys=["the-right-one"]) as fake:
        provider = at(name, fake.base_url(name))
        fault = faulty(provider)
        provider.close()
    assert fault.kind == "auth"
    assert not any(key[:8] in repr(fault) for key in KEYS.values())


def test_without_a_key_nothing_is_asked_of_anybody_but_a_local_server(fake: FakeProvider) -> None:
    assert {name: build(name, env={}).has_key for name in PROVIDERS} == {
        "openai": False,
        "anthropic": False,
        "openrouter": False,
        "local": True,
    }
    assert not build("openai", env={"OPENAI_API_KEY": "  "}).has_key
    keyless = build("openai", base_url=fake.base_url("openai"), env={})
    with pytest.raises(UserError, match="no key for openai"):
        keyless.send(keyless.request(TEXT, model("openai")), TIMEOUT_S, lambda exchange: None)
    local = build("local", base_url=fake.base_url("local"), env={})
    request = local.request(TEXT, model("local"))
    assert isinstance(local.read(request.endpoint, local.send(request, TIMEOUT_S, lambda exchange: None)), Reply)
    assert fake.attempts == 1


def test_no_key_is_shown_by_a_provider() -> None:
    shown = " ".join(repr(build(name, env=KEYS)) for name in PROVIDERS)
    assert not any(key in shown for key in KEYS.values())


@EVERY_API
def test_no_key_is_logged_even_if_everything_is(
    name: str, caplog: pytest.LogCaptureFixture, providers: dict[str, SdkProvider]
) -> None:
    with caplog.at_level(logging.DEBUG):
        replied(providers[name])
    assert "HTTP" in caplog.text
    assert not any(key in caplog.text for key in KEYS.values())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mistral", {}, "no provider 'mistral'; there are openai, anthropic, openrouter, local"),
        ("openai", {"base_url": "api.openai.com"}, "the base URL of openai is none"),
        ("openai", {"base_url": "https://user:hunter2@host/v1"}, "without a key in it"),
        ("openai", {"base_url": "https://host:99999/v1"}, "the base URL of openai is none"),
        ("openai", {"env": {"OPENAI_API_KEY": "sk-abc def-hunter2"}}, "OPENAI_API_KEY holds characters"),
        ("openai", {"env": {"OPENAI_API_KEY": "“sk-hunter2”"}}, "OPENAI_API_KEY holds characters"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(name: str, options: Mapping[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        build(name, **{"env": {}, **options})
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_official_addresses_are_the_default() -> None:
    assert {name: build(name, env={}).base_url for name in PROVIDERS} == {
        "openai": "https://api.openai.com/v1",
        "anthropic": "https://api.anthropic.com",
        "openrouter": "https://openrouter.ai/api/v1",
        "local": "http://127.0.0.1:11434/v1",
    }

"""The fake provider: as strict as the real ones, honest in its counts, and bad in every way it is told to be."""

import base64
import hashlib
import http.client
import json
import signal
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from magpie.cli.dev import app
from magpie.errors import UserError
from magpie.llm.fake import answers
from magpie.llm.fake.misbehaviour import KINDS, FakeFault, Faults
from magpie.llm.fake_provider import FakeProvider, per_million
from magpie.llm.reply import Usage
from magpie.llm.request import canonical

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello there."}], "max_completion_tokens": 50}
MESSAGE = {"model": "m", "messages": [{"role": "user", "content": "Hello there."}], "max_tokens": 50}
BEARER = {"authorization": "Bearer a-key"}
ANTHROPIC = {"x-api-key": "a-key", "anthropic-version": "2023-06-01"}
# Straight to loopback, whatever proxies the machine has.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture()
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


def ask(
    url: str, body: Any = None, headers: dict[str, str] | None = None, method: str | None = None
) -> tuple[int, Any]:
    """Status and parsed body of one request."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, BEARER if headers is None else headers, method=method)
    try:
        with OPENER.open(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def chat(fake: FakeProvider, **changes: Any) -> tuple[int, Any]:
    return ask(f"{fake.url}/v1/chat/completions", {**CHAT, **changes})


# As strict as the real ones

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": ""}, "you must provide a model parameter"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "content"),
        ({"max_tokens": 5}, "at the same time"),
        ({"max_completion_tokens": 0}, "below minimum"),
        ({"temperature": 3}, "temperature"),
        ({"sample": 1}, "Unrecognized request argument supplied: sample"),
        ({"stream": True}, "stream"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": strict({"type": "object", "properties": {}})}, "additionalProperties"),
        ({"response_format": strict({"anyOf": [{"$ref": "#/x"}, {"type": "object"}]})}, "additionalProperties"),
        ({"response_format": strict({**CLOSED, "required": []})}, "'a'"),
        ({"response_format": strict({**CLOSED, "properties": {"a": {"type": "object"}}})}, "additionalProperties"),
    ],
)
def test_a_chat_request_that_openai_would_refuse_is_refused(
    fake: FakeProvider, changes: dict[str, Any], words: str
) -> None:
    status, body = chat(fake, **changes)
    assert status == 400
    assert words in body["error"]["message"]
    assert body["error"]["type"] == "invalid_request_error"
    assert fake.answered_total == 0
    assert fake.attempts == 1
    assert fake.requests[0].outcome == "invalid"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"temperature": 0.5}, "temperature: Extra inputs are not permitted"),
        ({"messages": [{"role": "system", "content": "x"}]}, "role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message"),
        ({"system": 5}, "system"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "schema"),
    ],
)
def test_a_message_that_anthropic_would_refuse_is_refused_in_its_own_words(
    fake: FakeProvider, changes: dict[str, Any], words: str
) -> None:
    body = {name: value for name, value in {**MESSAGE, **changes}.items() if value is not None}
    status, told = ask(f"{fake.url}/v1/messages", body, ANTHROPIC)
    assert status == 400
    assert told["type"] == "error"
    assert told["error"]["type"] == "invalid_request_error"
    assert words in told["error"]["message"]


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("embeddings", {"model": "m", "input": []}),
        ("embeddings", {"model": "m", "input": [""]}),
        ("embeddings", {"model": "m", "input": ["a"], "dimensions": 0}),
        ("embeddings", {"model": "m", "input": ["a"], "encoding_format": "hex"}),
        ("embeddings", {"model": "m", "input": ["a"], "temperature": 0}),
        ("moderations", {"model": "m", "input": 5}),
        ("images/generations", {"model": "m", "prompt": ""}),
        ("images/generations", {"model": "m", "prompt": "x", "n": 11}),
        ("chat/completions", b"{not json"),
        ("chat/completions", []),
    ],
)
def test_what_is_no_request_is_refused(fake: FakeProvider, endpoint: str, body: Any) -> None:
    assert ask(f"{fake.url}/v1/{endpoint}", body)[0] == 400
    assert fake.answered_total == 0


@pytest.mark.parametrize(
    ("path", "body", "headers", "kind"),
    [
        ("/v1/chat/completions", CHAT, {}, "invalid_request_error"),
        ("/v1/messages", MESSAGE, {"anthropic-version": "2023-06-01"}, "authentication_error"),
        ("/api/v1/chat/completions", CHAT, {}, None),
        ("/v1/chat/completions", CHAT, {"authorization": "Bearer wrong-key-0123"}, "invalid_request_error"),
        ("/v1/messages", MESSAGE, {**ANTHROPIC, "x-api-key": "wrong-key-0123"}, "authentication_error"),
    ],
)
def test_a_missing_or_wrong_key_gets_401_in_the_words_of_the_api(
    path: str, body: Any, headers: dict[str, str], kind: str | None
) -> None:
    with FakeProvider(keys=["a-key"]) as fake:
        status, told = ask(fake.url + path, body, headers)
    assert status == 401
    assert told["error"].get("type") == kind
    if path.startswith("/api/"):
        assert told["error"]["code"] == 401


def test_a_local_server_wants_no_key_and_takes_any() -> None:
    with FakeProvider(keys=["a-key"]) as fake:
        assert ask(f"{fake.base_url('local')}/chat/completions", CHAT, {})[0] == 200


def test_a_model_nobody_knows_is_not_found() -> None:
    with FakeProvider(models=["m"]) as fake:
        assert chat(fake)[0] == 200
        status, body = chat(fake, model="other")
        assert (status, body["error"]["code"]) == (404, "model_not_found")
        assert ask(f"{fake.url}/v1/models")[1]["data"] == [{"id": "m", "object": "model", "owned_by": "fake"}]
        listed = ask(f"{fake.url}/v1/models", headers=ANTHROPIC)[1]
        assert (listed["first_id"], listed["has_more"]) == ("m", False)


@pytest.mark.parametrize("path", ["/v1/nowhere", "/elsewhere", "/v1/messages/count"])
def test_an_address_without_an_endpoint_is_not_found(fake: FakeProvider, path: str) -> None:
    assert ask(fake.url + path, CHAT)[0] == 404
    assert ask(fake.url + path)[0] == 404


def test_free_calls_end_with_the_day_and_the_account_says_how_many_are_left() -> None:
    now = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
    with FakeProvider(free_limit=5, free_used=3, now=lambda: now) as fake:
        url, free = fake.base_url("openrouter"), {**CHAT, "model": "vendor/m:free"}
        assert [ask(f"{url}/chat/completions", free)[0] for _ in range(2)] == [200, 200]
        status, body = ask(f"{url}/chat/completions", free)
        assert status == 429
        assert "free-models-per-day" in body["error"]["message"]
        midnight = datetime(2026, 11, 21, tzinfo=UTC).timestamp() * 1000
        assert float(body["error"]["metadata"]["headers"]["x-ratelimit-reset"]) == midnight
        assert body["error"]["metadata"]["headers"]["x-ratelimit-limit"] == "5"
        assert ask(f"{url}/chat/completions", {**CHAT, "model": "vendor/paid"})[0] == 200
        quota = ask(f"{url}/key")[1]["data"]["free_model_daily_requests"]
        assert quota == {"limit": 5, "used": 5, "remaining": 0}


# What it answers


def test_the_same_request_has_the_same_answer_and_usage_and_another_has_another(fake: FakeProvider) -> None:
    first, again = chat(fake)[1], chat(fake)[1]
    other = chat(fake, messages=[{"role": "user", "content": "Something else entirely, and longer."}])[1]
    assert first["choices"] == again["choices"]
    assert first["usage"] == again["usage"]
    assert first["id"] != again["id"]
    assert other["choices"] != first["choices"]
    assert other["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"]


def test_an_answer_ends_at_its_bound(fake: FakeProvider) -> None:
    body = chat(fake, max_completion_tokens=2)[1]
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2
    told = ask(f"{fake.url}/v1/messages", {**MESSAGE, "max_tokens": 2}, ANTHROPIC)[1]
    assert (told["stop_reason"], told["usage"]["output_tokens"]) == ("max_tokens", 2)


def test_vectors_are_unit_vectors_of_the_length_asked_in_both_encodings(fake: FakeProvider) -> None:
    url = f"{fake.url}/v1/embeddings"
    plain = ask(url, {"model": "m", "input": ["a", "b"], "dimensions": 16})[1]["data"]
    packed = ask(url, {"model": "m", "input": ["a"], "dimensions": 16, "encoding_format": "base64"})[1]["data"]
    assert [item["index"] for item in plain] == [0, 1]
    assert abs(sum(value**2 for value in plain[0]["embedding"]) - 1) < 1e-6
    assert list(struct.unpack("<16f", base64.b64decode(packed[0]["embedding"]))) == plain[0]["embedding"]
    assert plain[0]["embedding"] != plain[1]["embedding"]
    assert len(ask(url, {"model": "m", "input": "a"})[1]["data"][0]["embedding"]) == 1536


class Budget(BaseModel):
    text: str = Field(min_length=3)
    amount: float | None


class Lead(BaseModel):
    """A shape with everything that shapes have."""

    is_lead: bool
    intent_score: int = Field(ge=0, le=100)
    confidence: float = Field(ge=0, le=1)
    share: float = Field(gt=0.5, lt=3)
    kind: Literal["seeking", "other"]
    quote: str = Field(min_length=10, max_length=300)
    pain: str | None
    budget: Budget
    other: Budget | None
    tags: list[str] = Field(min_length=2)
    rest: list[Budget]


def test_the_default_answer_fits_the_schema_and_quotes_the_untrusted_text(fake: FakeProvider) -> None:
    schema = {"name": "lead", "schema": Lead.model_json_schema()}
    prompt = (
        "Title: <untrusted>Need a CRM</untrusted>\nText: <untrusted>We look for a CRM that is not slow.</untrusted>"
    )
    prompt += "\nContext: <untrusted>" + "A very long submission above the comment. " * 9 + "</untrusted>"
    told = chat(
        fake,
        messages=[{"role": "user", "content": prompt}],
        max_completion_tokens=500,
        response_format={"type": "json_schema", "json_schema": schema},
    )[1]
    lead = Lead.model_validate_json(told["choices"][0]["message"]["content"])
    assert lead.quote == "We look for a CRM that is not slow."
    assert (lead.is_lead, lead.kind, lead.pain, lead.other, lead.rest) == (True, "seeking", None, None, [])


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 50),
        ({"type": "integer", "maximum": 9}, 9),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMaximum": 5}, 4),
        ({"type": "number"}, 0.5),
        ({"type": "number", "exclusiveMinimum": 0}, 1),
        ({"enum": ["b", "a"]}, "b"),
        ({"enum": ["b", None]}, None),
        ({"const": 7}, 7),
        ({"type": ["string", "null"]}, None),
        ({"type": ["boolean"]}, True),
        ({"type": "string", "minLength": 12}, "the words..."),
        ({"type": "string", "maxLength": 3}, "the"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "object", "properties": {"a": {"type": "boolean"}, "b": {}}, "required": ["a"]}, {"a": True}),
        ({"$ref": "#/$defs/X", "$defs": {"X": {"type": "integer"}}}, 50),
        ({"$ref": "#", "type": "object"}, None),
        ({"$ref": "#/$defs/Y"}, None),
        ({}, None),
    ],
)
def test_each_keyword_of_a_schema_gives_its_smallest_value(schema: dict[str, Any], value: Any) -> None:
    assert answers.instance(schema, "the words") == value


@given(st.text(max_size=300), st.text(max_size=100))
def test_an_excerpt_stands_in_the_prompt_word_for_word(untrusted: str, rest: str) -> None:
    prompt = f"{rest}\nText: {answers.OPENING}{untrusted}{answers.CLOSING}\n{rest}"
    assert answers.excerpt(prompt) in prompt


def test_a_responder_says_what_is_answered() -> None:
    with FakeProvider(responder=lambda body: body["messages"][0]["content"].upper()) as fake:
        assert chat(fake)[1]["choices"][0]["message"]["content"] == "HELLO THERE."


# Its counts


def test_it_counts_what_it_answered_by_the_hash_of_what_was_asked(fake: FakeProvider) -> None:
    chat(fake)
    chat(fake)
    chat(fake, seed=1)
    key = ("chat/completions", hashlib.sha256(canonical(CHAT)).hexdigest())
    assert fake.answered[key] == 2
    assert fake.answered_twice == [key]
    assert (fake.attempts, fake.answered_total) == (3, 3)
    fake.reset()
    assert (fake.attempts, fake.answered, fake.requests, fake.billed_nano) == (0, {}, [], 0)


def test_an_answer_that_was_lost_on_the_way_was_made_and_is_billed_while_an_error_is_not() -> None:
    price = per_million(Decimal("1"), Decimal("2"))
    with FakeProvider(price=price) as fake:
        for kind in ("cut_before_headers", "cut_mid_body"):
            fake.misbehave(kind)
            with pytest.raises((OSError, http.client.HTTPException)):
                chat(fake)
        for kind in ("500", "429", "402", "401"):
            fake.misbehave(kind)
            assert chat(fake)[0] == int(kind)
        assert (fake.attempts, fake.answered_total) == (6, 2)
        lost = fake.billed_nano
        usage = chat(fake)[1]["usage"]
        one = price("m", Usage(usage["prompt_tokens"], output_tokens=usage["completion_tokens"]))
        assert lost == 2 * one
        assert fake.billed_nano == 3 * one
        assert [seen.outcome for seen in fake.requests][-2:] == ["401", "answered"]


@pytest.mark.parametrize("kind", ["usage_zero", "usage_huge", "usage_missing"])
def test_what_it_bills_is_what_was_used_whatever_it_tells(kind: str) -> None:
    with FakeProvider(price=per_million(Decimal(1), Decimal(1))) as fake:
        chat(fake)
        honest = fake.billed_nano
        fake.misbehave(kind)
        chat(fake)
        assert fake.billed_nano == 2 * honest


def test_a_price_is_rounded_up_so_that_nothing_is_free() -> None:
    assert per_million(Decimal("0.0001"), Decimal(0))("m", Usage(1)) == 1
    assert per_million(Decimal("0.15"), Decimal("0.60"))("m", Usage(1000, output_tokens=500)) == 450_000


def test_it_knows_how_many_were_asked_at_once() -> None:
    with FakeProvider(latency_s=0.1) as fake, ThreadPoolExecutor(8) as pool:
        assert [status for status, _ in pool.map(lambda _: chat(fake), range(8))] == [200] * 8
        assert 2 <= fake.most_in_flight <= 8
        assert ask(f"{fake.url}/_fake/counters")[1]["in_flight"] == 0


def test_other_processes_read_counters_and_set_faults_over_http(fake: FakeProvider) -> None:
    control = f"{fake.url}/_fake"
    assert ask(f"{control}/faults", {"kind": "429", "retry_after": "300", "times": 2})[1] == {"faults": 1}
    assert ask(f"{control}/faults", [{"kind": "500"}, {"kind": "503", "times": "always"}])[1] == {"faults": 3}
    assert [one["kind"] for one in ask(f"{control}/faults")[1]] == ["429", "500", "503"]
    assert [chat(fake)[0] for _ in range(5)] == [429, 429, 500, 503, 503]
    assert ask(f"{control}/faults", method="DELETE")[1] == {"faults": 0}
    assert chat(fake)[0] == 200
    counters = ask(f"{control}/counters")[1]
    assert (counters["attempts"], counters["answered"], counters["answered_more_than_once"]) == (6, 1, 0)
    assert counters["answered_requests"][0]["sha256"] == hashlib.sha256(canonical(CHAT)).hexdigest()
    seen = ask(f"{control}/requests")[1]
    assert [one["status"] for one in seen] == [429, 429, 500, 503, 503, 200]
    assert "a-key" not in json.dumps(seen)
    assert ask(f"{control}/reset", {})[1] == {"reset": True}
    assert ask(f"{control}/counters")[1]["attempts"] == 0


@pytest.mark.parametrize(
    "body", [{}, {"kind": "418"}, {"kind": "429", "often": 1}, [], "429", b"{", {"kind": "429", "times": "x"}]
)
def test_a_fault_that_is_none_is_refused_with_what_there_is(fake: FakeProvider, body: Any) -> None:
    status, told = ask(f"{fake.url}/_fake/faults", body)
    assert status == 400
    assert told["error"]
    assert ask(f"{fake.url}/_fake/faults")[1] == []


def test_counters_that_do_not_exist_are_told_apart_from_those_that_do(fake: FakeProvider) -> None:
    status, told = ask(f"{fake.url}/_fake/nothing")
    assert status == 400
    assert "counters, requests, faults, reset" in told["error"]


# Its faults


def test_a_fault_meets_only_the_requests_it_is_for_and_as_many_as_it_says(fake: FakeProvider) -> None:
    fake.misbehave("500", model="bad")
    fake.misbehave("503", endpoint="embeddings")
    fake.misbehave("429", match="needle")
    fake.misbehave("408", after=1)
    needle = [{"role": "user", "content": "a needle"}]
    told = [chat(fake)[0], chat(fake, model="bad")[0], chat(fake, messages=needle)[0], chat(fake, model="bad")[0]]
    # The last of the four is the second that the 408 sees: the others were met before it.
    assert told == [200, 500, 429, 408]
    assert ask(f"{fake.url}/v1/embeddings", {"model": "m", "input": "a"})[0] == 503
    assert fake.faults.waiting() == []


@given(st.integers(0, 4), st.integers(1, 4), st.integers(0, 12))
def test_a_fault_lets_some_pass_then_meets_some_then_is_gone(after: int, times: int, requests: int) -> None:
    faults = Faults()
    faults.add(FakeFault("500", times=times, after=after))
    met = [faults.take("messages", "m", b"", unread=False) is not None for _ in range(requests)]
    assert met == [after <= number < after + times for number in range(requests)]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"timeout_before", "timeout_after"}))
def test_every_fault_answers_or_ends_and_leaves_the_server_well(kind: str) -> None:
    with FakeProvider() as fake:
        for path, body, headers in (("/v1/chat/completions", CHAT, BEARER), ("/v1/messages", MESSAGE, ANTHROPIC)):
            fake.misbehave(kind, delay_s=0)
            request = urllib.request.Request(fake.url + path, json.dumps(body).encode(), headers)
            try:
                with OPENER.open(request, timeout=10) as answer:
                    answer.read()
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
            assert ask(fake.url + path, body, headers)[0] == 200
        assert fake.attempts == 4
        assert fake.faults.waiting() == []


def test_stopping_ends_what_hangs() -> None:
    with ThreadPoolExecutor(2) as pool:
        with FakeProvider() as fake:
            fake.misbehave("timeout_before")
            fake.misbehave("timeout_after")
            hanging = [pool.submit(chat, fake) for _ in range(2)]
            while fake.attempts < 2 or len(fake.requests) < 2:
                assert not any(one.done() for one in hanging)
            serving = [thread for thread in threading.enumerate() if "process_request" in thread.name]
            assert serving
        for one in hanging:
            assert isinstance(one.exception(timeout=10), OSError | http.client.HTTPException)
    for thread in serving:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("500", FakeFault("500")),
        ("429,retry_after=300,times=3", FakeFault("429", times=3, retry_after="300")),
        ("429, retry_after = daily , times=always", FakeFault("429", times=None, retry_after="daily")),
        ("delay,delay_s=0.5,endpoint=messages", FakeFault("delay", delay_s=0.5, endpoint="messages")),
    ],
)
def test_a_fault_is_written_in_one_word_or_with_its_settings(text: str, fault: FakeFault) -> None:
    assert FakeFault.parse(text) == fault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "429,times",
        "429,times=0",
        "429,retry_after=soon",
        "429,retry_after=date:x",
        "429,what=1",
        "timeout_before,model=m",
        "500,delay_s=-1",
    ],
)
def test_a_fault_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        FakeFault.parse(text)


# The command


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_says_how_to_use_it_and_sums_up_when_stopped(ending: signal.Signals) -> None:
    arguments = ["fake-provider", "--fault", "429,retry_after=300", "--price", "1/2"]
    code = "from magpie.cli.dev import app; app()"
    with subprocess.Popen([sys.executable, "-uc", code, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # What does not say what is waited for is ended, so that the test fails instead of waiting.
        guard = threading.Timer(20, process.kill)
        guard.start()
        lines = []
        while not any("/_fake/faults" in line for line in lines):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        url = lines[0].split()[3].rstrip(",")
        assert [ask(f"{url}/v1/chat/completions", CHAT)[0] for _ in range(2)] == [429, 200]
        process.send_signal(ending)
        rest = process.stdout.read()
        assert process.wait(10) == 0
        guard.cancel()
    told = "".join(lines)
    for line in (f"openai: {url}/v1", f"anthropic: {url}\n", f"openrouter: {url}/api/v1", f"local: {url}/local/v1"):
        assert line in told
    assert "export OPENAI_API_KEY=fake" in told
    assert "2 requests, 1 answered" in rest


def test_the_command_names_the_faults_there_are() -> None:
    listed = CliRunner().invoke(app, ["fake-provider", "--list-faults"])
    assert listed.output.split() == list(KINDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "teapot"], "no fault 'teapot'"),
        (["--price", "cheap"], "--price 'cheap'"),
        (["--price", "nan/1"], "--price 'nan/1'"),
        (["--price", "-1/1"], "--price '-1/1'"),
    ],
)
def test_the_command_refuses_what_it_does_not_understand(arguments: list[str], words: str) -> None:
    refused = CliRunner().invoke(app, ["fake-provider", *arguments])
    assert isinstance(refused.exception, UserError)
    assert words in str(refused.exception)


def test_the_command_says_if_its_port_is_taken(fake: FakeProvider) -> None:
    port = fake.url.rpartition(":")[2]
    refused = CliRunner().invoke(app, ["fake-provider", "--port", port])
    assert isinstance(refused.exception, UserError)
    assert f"port {port}" in str(refused.exception)


@pytest.mark.parametrize("endpoint", ["key", "models"])
def test_what_calls_no_model_fails_only_where_it_is_named(fake: FakeProvider, endpoint: str) -> None:
    url = f"{fake.base_url('openrouter')}/{endpoint}"
    fake.misbehave("500")
    assert ask(url)[0] == 200
    fake.misbehave("403", endpoint=endpoint)
    assert [ask(url)[0] for _ in range(2)] == [403, 200]
    fake.misbehave("cut_before_headers", endpoint=endpoint, delay_s=0)
    with pytest.raises((ConnectionError, http.client.HTTPException, urllib.error.URLError)):
        ask(url)
    fake.misbehave("html_200", endpoint=endpoint)
    with pytest.raises(ValueError, match="Expecting value"):
        ask(url)
    assert fake.attempts == 0
    assert [fault.kind for fault in fake.faults.waiting()] == ["500"]

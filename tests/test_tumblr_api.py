"""Tumblr's API: every request is signed, a refusal is one of few words, and no key is ever shown."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug import Request, Response

from magpie.errors import UserError
from magpie.sources.tumblr_api import (
    MOST_LIMIT_S,
    NOTIFICATIONS,
    Answer,
    Call,
    Fault,
    Keys,
    Left,
    Media,
    TumblrApi,
)
from magpie.sources.web import Web
from tests.fake_tumblr import BLOG, ENV, FakeTumblr, Responder, answer, ask, fake, refusal, text_post, tumblr

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIMITED = {
    "X-Ratelimit-Perday-Remaining": "10",
    "X-Ratelimit-Perhour-Remaining": "0",
    "X-Ratelimit-Perhour-Reset": "77",
}


__all__ = ["fake", "tumblr"]


def client(fake: FakeTumblr, calls: list[Call] | None = None, env: dict[str, str] = ENV) -> TumblrApi:
    note = (lambda call: None) if calls is None else calls.append
    return TumblrApi(
        Web(private=True),
        Keys.of(env),
        clock=lambda: NOW,
        sleep=lambda seconds: None,
        base_url=fake.url,
        note=note,
    )


def got(found: Answer | Fault) -> Answer:
    assert isinstance(found, Answer), found
    return found


def refused(found: Answer | Fault) -> Fault:
    assert isinstance(found, Fault), found
    return found


def test_every_endpoint_is_asked_with_a_valid_signature_in_npf(fake: FakeTumblr) -> None:
    fake.posts, fake.submissions = [text_post(1, "one")], [ask(2, "How are you?")]
    api = client(fake)
    for found in (
        *(api.posts(BLOG), api.posts(BLOG, before=7), api.post(BLOG, "1"), api.editable(BLOG, "2"), api.drafts(BLOG)),
        *(api.queue(BLOG, 20), api.submissions(BLOG), api.notifications(BLOG, 5), api.notes(BLOG, "1", 5_000_000)),
        *(api.dashboard("3"), api.limits(), api.info(BLOG)),
    ):
        got(found)
    assert fake.unsigned == []
    assert all(query["npf"] == ["true"] for _, query in fake.queries)
    asked = dict(fake.queries)
    assert asked[f"/blog/{BLOG}/notifications"]["types[]"] == list(NOTIFICATIONS)
    assert asked[f"/blog/{BLOG}/notes"]["before_timestamp"] == ["5000000"]
    assert "before" not in fake.queries[0][1], "what is not given is not sent"


def test_a_request_signed_with_another_secret_is_refused_as_auth(fake: FakeTumblr) -> None:
    found = refused(client(fake, env={**ENV, "TUMBLR_OAUTH_SECRET": "another0secret"}).posts(BLOG))
    assert (found.kind, found.status) == ("auth", 401)
    assert len(fake.unsigned) == 1, "what does not pass is asked once"


def test_a_post_is_created_and_edited_and_its_id_told(fake: FakeTumblr) -> None:
    fake.submissions = [ask(2, "How are you?")]
    body = {"content": [{"type": "text", "text": "Grüße"}], "state": "published", "tags": "a,b c"}
    made = got(client(fake).create(BLOG, body))
    assert (made.status, made.post_id) == (201, "9001")
    edited = got(client(fake).edit(BLOG, "2", body))
    assert (edited.status, edited.post_id) == (200, "2")
    assert fake.creates == [body, body]
    assert fake.unsigned == []


def test_a_picture_goes_as_a_part_of_a_form_under_its_identifier(fake: FakeTumblr) -> None:
    block = {"type": "image", "media": [{"type": "image/png", "identifier": "mood-graph"}]}
    body = {"content": [block], "state": "published", "tags": ""}
    picture = b"\x89PNG\r\n--\x00\xff"
    assert got(client(fake).create(BLOG, body, [Media("mood-graph", "image/png", picture)])).post_id == "9001"
    assert (fake.creates, fake.media, fake.unsigned) == ([body], [picture], [])


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        *(
            (400, 8001, "bad_content"),
            (400, 8002, "bad_content"),
            (400, 8016, "bad_content"),
            (400, None, "bad_content"),
        ),
        *((401, None, "auth"), (403, None, "auth"), (403, 8022, "queue_full"), (403, 8023, "post_limit")),
        *((404, None, "gone"), (410, None, "gone"), (429, None, "tumblr_limit"), (500, 8006, "transport")),
        *((502, None, "transport"), (503, None, "transport")),
    ],
)
def test_a_refusal_of_a_post_is_one_of_few_words_and_the_post_is_sent_once(
    fake: FakeTumblr, status: int, code: int | None, kind: str
) -> None:
    fake.faults = [("POST", refusal(status, code))]
    found = refused(client(fake).create(BLOG, {"content": []}))
    assert (found.kind, found.status) == (kind, status)
    assert fake.asked == {f"POST /blog/{BLOG}/posts": 1}


def test_a_get_is_tried_four_times_and_every_try_is_signed_anew_and_counted(fake: FakeTumblr) -> None:
    calls: list[Call] = []
    fake.faults = [("GET", refusal(503))] * 3
    assert got(client(fake, calls).posts(BLOG)).status == 200
    assert [call.outcome for call in calls] == ["transport", "transport", "transport", "ok"]
    fake.faults = [("GET", refusal(503))] * 9
    assert refused(client(fake).posts(BLOG)).kind == "transport"
    assert len(fake.faults) == 5
    assert fake.unsigned == []


def test_a_limit_is_over_when_the_header_says_so_and_is_not_asked_again(fake: FakeTumblr) -> None:
    fake.faults = [("GET", refusal(429, headers=LIMITED))]
    found = refused(client(fake).posts(BLOG))
    assert (found.kind, found.not_before) == ("tumblr_limit", NOW + timedelta(seconds=77))
    assert fake.asked.total() == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "600"}, 600),
        ({"Retry-After": "1"}, 60),
        ({"Retry-After": "999999999"}, MOST_LIMIT_S),
        ({"X-Ratelimit-Perday-Remaining": "0", "X-Ratelimit-Perday-Reset": "7200", **LIMITED}, 77),
        ({**LIMITED, "X-Ratelimit-Perday-Remaining": "0", "X-Ratelimit-Perday-Reset": "7200"}, 7200),
        ({"X-Ratelimit-Perhour-Remaining": "x", "X-Ratelimit-Perhour-Reset": "-4"}, 900),
    ],
)
def test_a_limit_without_a_usable_header_is_guessed_within_bounds(
    fake: FakeTumblr, headers: dict[str, str], seconds: float
) -> None:
    fake.faults = [("GET", refusal(429, headers={"X-Ratelimit-Perhour-Remaining": "5", **headers}))]
    assert refused(client(fake).posts(BLOG)).not_before == NOW + timedelta(seconds=seconds)


def test_what_headers_say_is_left_is_told_of_every_answer_and_refusal(fake: FakeTumblr) -> None:
    calls: list[Call] = []
    fake.posts = [text_post(1, "one"), text_post(2, "two")]
    fake.faults = [("/posts/queue", refusal(404))]
    api = client(fake, calls)
    api.posts(BLOG)
    api.queue(BLOG)
    left = Left(4000, 36000, 900, 1800)
    assert [(call.endpoint, call.outcome, call.n_items, call.left) for call in calls] == [
        ("posts", "ok", 2, left),
        ("queue", "gone", 0, left),
    ]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"response": []}', b"[" * 100_000, b'{"response": "x"}'])
def test_a_page_that_holds_no_object_is_none_and_a_post_answered_so_has_no_id(fake: FakeTumblr, body: bytes) -> None:
    def respond(request: Request) -> Response:
        return Response(body, 200)

    fake.faults = [("GET", respond)]
    assert refused(client(fake).posts(BLOG)).kind == "transport"
    fake.faults = [("POST", respond)]
    assert got(client(fake).create(BLOG, {})).post_id is None


def test_no_key_is_in_what_is_told_though_the_server_repeats_them_all(fake: FakeTumblr) -> None:
    secrets = json.dumps(ENV)

    def repeating(status: int) -> Responder:
        def respond(request: Request) -> Response:
            said = request.headers["Authorization"] + secrets
            return answer({"posts": [{"said": said}]}, status, errors=[{"title": said, "code": 1, "detail": said}])

        return respond

    calls: list[Call] = []
    api = client(fake, calls)
    fake.faults = [("GET", repeating(200)), ("POST", repeating(400)), ("PUT", repeating(201))]
    told = [api.posts(BLOG), api.create(BLOG, {}), api.edit(BLOG, "1", {}), calls, api, Keys.of(ENV)]
    shown = " ".join(repr(item) for item in told)
    assert "***" in shown
    for key in ENV.values():
        assert key not in shown


def test_a_missing_key_is_named_and_the_others_are_not_shown() -> None:
    for value in ("", "  ", "two words"):
        with pytest.raises(UserError) as caught:
            Keys.of({**ENV, "TUMBLR_OAUTH_TOKEN": value})
        assert "TUMBLR_OAUTH_TOKEN must be set" in str(caught.value)
        assert not [key for key in ENV.values() if key in str(caught.value)]


def test_a_server_elsewhere_is_reached_by_https_alone() -> None:
    with pytest.raises(UserError, match="by https"):
        TumblrApi(Web(), Keys.of(ENV), clock=lambda: NOW, base_url="http://api.example.com/v2")


def test_a_put_sends_its_body_once_and_a_refusal_keeps_its_headers(fake: FakeTumblr) -> None:
    fake.faults = [("PUT", refusal(429, headers=LIMITED))]
    found = refused(client(fake).edit(BLOG, "1", {"content": []}))
    assert (found.left.hour, found.left.hour_reset_s) == (0, 77)
    assert fake.asked == {f"PUT /blog/{BLOG}/posts/1": 1}


@given(st.text(max_size=40))
def test_no_id_and_no_name_leads_to_another_address(text: str) -> None:
    asked: list[str] = []

    class Seen(Web):
        def get(self, url: str, *given: object, **more: object) -> object:  # type: ignore[override]
            asked.append(url)
            raise KeyboardInterrupt

    api = TumblrApi(Seen(), Keys.of(ENV), clock=lambda: NOW)
    with pytest.raises((KeyboardInterrupt, UnicodeEncodeError)):
        api.editable(BLOG, text)
    for url in asked:
        path, _, query = url.partition("?")
        assert path.startswith(f"https://api.tumblr.com/v2/blog/{BLOG}/posts/") and path.count("/") == 7
        assert query == "post_format=npf&npf=true"

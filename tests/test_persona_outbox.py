"""Outbox: each attempt's state follows from its route, from people, from delivery and from what came of its input."""

import json
import random
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona import tables as t
from magpie.persona.outbox import outbox, outbox_id
from magpie.persona.outbox_states import MOVES, SENT
from magpie.persona.post_body import body_sha256
from tests.persona_outbox_rows import BLOG, NOON, POSTS, WORDS, asked, decision, frame, key, report, review

SHA = body_sha256("A quiet <b>text</b>")
SLOT = NOON + timedelta(hours=3)


def made(
    *decisions: dict[str, Any],
    inbox: tuple[dict[str, Any], ...] = (asked(),),
    events: tuple[dict[str, Any], ...] = (),
    earlier: pl.DataFrame | None = None,
) -> pl.DataFrame:
    reviews = [event for event in events if "action" in event]
    reports = [event for event in events if "phase" in event]
    return outbox(
        frame(t.DECISIONS, *decisions),
        frame(t.PERSONA_INBOX, *inbox),
        POSTS,
        frame(t.PERSONA_REVIEWS, *reviews),
        frame(t.DELIVERY_LOG, *reports),
        t.OUTBOX.empty() if earlier is None else earlier,
        BLOG,
        WORDS,
    )


def row(*decisions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return made(*(decisions or (decision(),)), **more).row(-1, named=True)


def fate(*events: dict[str, Any], route: str = "draft", **more: Any) -> tuple[str, str, str | None]:
    found = row(decision(route=route, **more), events=events)
    t.OUTBOX.schema.validate(made(decision(route=route, **more), events=events))
    return found["state"], found["status"], found["reason"]


def test_the_id_of_a_post_is_the_same_in_every_run_and_differs_by_attempt() -> None:
    assert outbox_id("demo-blog", "ask:1001", 1) == "1220b3558071a5aa"
    assert outbox_id("demo-blog", "ask:1001", 2) != outbox_id("demo-blog", "ask:1001", 1)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("publish", ("ready", "ok", None)),
        ("queue", ("ready", "ok", None)),
        ("draft", ("draft", "pending", "review")),
        ("rejected", ("rejected", "rejected", "ml_flagged")),
        ("discard", ("discarded", "rejected", "ml_flagged")),
    ],
)
def test_a_route_is_the_beginning_of_a_post(route: str, expected: tuple[str, str, str | None]) -> None:
    assert fate(route=route) == expected


def test_an_attempt_without_a_route_has_no_post() -> None:
    assert made(decision(route=None, status="failed", reason="no_candidate")).is_empty()
    assert made().schema == t.OUTBOX.dtypes


def test_an_answer_says_what_it_answers_and_is_ready_to_send() -> None:
    found = row()
    assert (found["kind"], found["post_id"], found["parent_blog"], found["reblog_key"]) == (
        "answer",
        "77",
        "cleo",
        "k77",
    )
    assert found["publish_at"] is None and found["body_sha256"] == SHA
    assert json.loads(found["body_npf"])[0]["text"] == "A quiet text"


def test_an_original_waits_for_its_slot() -> None:
    name = "orig:2026-11-20T15:00:00Z"
    slot = asked(
        name, kind="original", prompt_kind="original", post_id=None, created_at=SLOT, from_blog=None, text=None
    )
    found = row(decision(name, route="queue"), inbox=(slot,))
    assert (found["kind"], found["state"], found["publish_at"], found["post_id"]) == ("original", "ready", SLOT, None)


@pytest.mark.parametrize(
    ("input_id", "kind"),
    [
        ("reblog:cleo:77", "reblog"),
        ("mention:cleo:77", "reblog"),
        ("dash:cleo:77", "reblog"),
        ("reply:cleo:7:1", "reply_post"),
    ],
)
def test_every_kind_of_input_becomes_its_kind_of_post(input_id: str, kind: str) -> None:
    assert row(decision(input_id), inbox=(asked(input_id),))["kind"] == kind


def test_a_wish_for_the_mood_becomes_a_picture_that_is_drawn_when_it_is_sent() -> None:
    found = row(decision(route="publish", body=None, tags=[]), inbox=(asked(command="!mood"),))
    assert (found["kind"], found["state"], found["body"]) == ("mood_graph", "ready", "")
    assert [block["type"] for block in json.loads(found["body_npf"])] == ["image"]


@pytest.mark.parametrize("body", [None, "", "\n", "\u200b"])
def test_a_post_without_a_text_never_goes_out(body: str | None) -> None:
    assert fate(route="publish", body=body) == ("discarded", "rejected", "no_body")


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["approve"], ("approved", "ok", None)),
        (["reject"], ("rejected", "rejected", "rejected_by_reviewer")),
        (["redo"], ("redo", "rejected", "redo_by_reviewer")),
        (["hold"], ("held", "pending", "held_by_reviewer")),
        (["hold", "approve"], ("approved", "ok", None)),
        (["approve", "hold", "reject"], ("rejected", "rejected", "rejected_by_reviewer")),
        (["reject", "approve"], ("rejected", "rejected", "rejected_by_reviewer")),
        (["approve", "redo"], ("approved", "ok", None)),
    ],
)
def test_people_move_a_draft_where_it_can_go(actions: list[str], expected: tuple[str, str, str | None]) -> None:
    assert fate(*(review(action, minute) for minute, action in enumerate(actions))) == expected


def test_an_edit_replaces_the_text_and_still_needs_a_yes() -> None:
    changed = review("edit", 1, body="Other words", tags=["new"])
    found = row(decision(), events=(changed,))
    assert (found["state"], found["edited"], found["body"], found["tags"]) == ("draft", True, "Other words", ["new"])
    assert found["body_sha256"] == body_sha256("Other words") and "Other words" in found["body_npf"]
    assert row(decision(), events=(changed, review("approve", 2)))["state"] == "approved"


def test_an_edit_without_a_body_changes_the_tags_alone() -> None:
    found = row(decision(), events=(review("edit", 1, tags=["new"]),))
    assert (found["body"], found["tags"]) == ("A quiet <b>text</b>", ["new"])


def test_an_edit_with_a_word_that_must_not_pass_is_held_until_it_is_edited_again() -> None:
    wrong, right = (
        review("edit", 1, body="Forb1dden, forb\u200bidden", tags=[]),
        review("edit", 3, body="Fine", tags=[]),
    )
    assert fate(wrong) == ("held", "rejected", "hard_reject")
    assert fate(wrong, review("approve", 2)) == ("held", "rejected", "hard_reject")
    assert row(decision(), events=(wrong,))["observed"] == "forbidden"
    assert fate(wrong, right) == ("draft", "pending", "review")


def test_an_unedited_text_with_such_a_word_is_held_though_it_was_approved() -> None:
    hits = [{"type": "hard_reject", "text": "forbidden"}]
    assert fate(screen_hits=hits) == ("draft", "pending", "review")
    assert fate(review("approve", 1), screen_hits=hits) == ("held", "rejected", "hard_reject")


def test_delivery_brings_an_answer_out() -> None:
    sending, done = report("sending", 1, body_sha256=SHA), report("done", 2, remote_id="900", remote_state="published")
    assert fate(sending, route="publish") == ("sending", "pending", "sending")
    assert fate(sending, done, route="publish") == ("published", "ok", None)
    found = row(decision(route="publish"), events=(sending, done))
    assert (found["remote_id"], found["genesis_id"], found["delivered_at"]) == ("900", None, done["at"])


def test_a_queued_post_gets_another_id_when_it_is_published_and_remembers_the_first() -> None:
    queued = report("done", 2, remote_id="900", remote_state="queued")
    out = report("done", 9, remote_id="901", remote_state="published")
    assert row(decision(route="queue"), events=(queued,))["state"] == "queued"
    found = row(decision(route="queue"), events=(queued, out))
    assert (found["state"], found["remote_id"], found["genesis_id"]) == ("published", "901", "900")
    assert found["delivered_at"] == queued["at"]
    assert fate(queued, report("done", 9, remote_state="deleted"), route="queue") == ("deleted", "rejected", "deleted")


def test_what_did_not_arrive_is_ready_again() -> None:
    assert fate(report("sending", 1), report("absent", 2), route="publish") == ("ready", "ok", None)
    assert fate(review("approve", 0), report("sending", 1), report("absent", 2)) == ("ready", "ok", None)


def test_a_draft_that_failed_to_reach_tumblr_as_a_draft_is_not_approved_by_that() -> None:
    assert fate(report("sending", 1), report("absent", 2)) == ("draft", "pending", "review")
    assert fate(report("sending", 1), report("error", 2, error_class="transport")) == ("draft", "pending", "review")
    assert fate(report("sending", 1), report("done", 2, remote_state="draft")) == ("draft", "pending", "review")


def test_what_a_person_had_stopped_is_as_it_was_when_a_late_delivery_fails() -> None:
    raced = (review("hold", 1), report("sending", 2), report("absent", 3))
    assert fate(*raced, route="publish") == ("held", "pending", "held_by_reviewer")
    refused = (review("reject", 1), report("sending", 2), report("error", 3, error_class="transport"))
    assert fate(*refused) == ("rejected", "rejected", "rejected_by_reviewer")
    unfit = (*refused[:2], report("error", 3, error_class="bad_content"))
    assert fate(*unfit) == ("rejected", "rejected", "rejected_by_reviewer")


def test_a_post_that_has_to_wait_says_until_when_and_why() -> None:
    later = NOON + timedelta(hours=2)
    events = (report("sending", 1), report("error", 2, error_class="post_limit", not_before=later))
    found = row(decision(route="publish"), events=events)
    assert (found["state"], found["status"], found["reason"], found["not_before"]) == (
        "ready",
        "pending",
        "post_limit",
        later,
    )
    again = (*events, report("sending", 130), report("done", 131, remote_state="published"))
    assert fate(*again, route="publish") == ("published", "ok", None)


def test_an_error_that_no_retry_mends_waits_for_a_person_or_ends_it() -> None:
    bad, gone = report("error", 2, error_class="bad_content"), report("error", 2, error_class="gone")
    assert fate(report("sending", 1), bad, route="publish") == ("held", "pending", "bad_content")
    assert fate(report("sending", 1), bad, review("redo", 3), route="publish")[0] == "redo"
    assert fate(report("sending", 1), gone, route="publish") == ("discarded", "rejected", "gone")


def test_nobody_stops_what_is_being_sent() -> None:
    late = (
        report("sending", 1),
        review("hold", 2),
        report("done", 3, remote_state="published"),
        review("edit", 4, body="x"),
    )
    assert fate(*late, route="publish") == ("published", "ok", None)
    assert row(decision(route="publish"), events=late)["edited"] is False


def test_only_the_last_attempt_leads() -> None:
    found = made(decision(attempt=1), decision(attempt=2), decision(attempt=3, route=None, status="failed"))
    assert (
        found.sort("attempt").select("state", "reason", "observed").rows() == [("redo", "superseded", "attempt 3")] * 2
    )
    kept = made(decision(attempt=1, route="rejected"), decision(attempt=2, route="publish")).sort("attempt")
    assert kept["state"].to_list() == ["rejected", "ready"]


def test_what_was_published_stays_published_when_a_newer_attempt_comes() -> None:
    done = report("done", 1, remote_state="published")
    found = made(decision(attempt=1), decision(attempt=2), events=(done,)).sort("attempt")
    assert found["state"].to_list() == ["published", "draft"]


def test_a_deleted_input_drops_what_was_not_sent_and_its_words() -> None:
    gone = (asked(status="rejected", reason="deleted", text=None),)
    for route, events in (("draft", ()), ("publish", ()), ("draft", (review("hold", 1),))):
        found = row(decision(route=route), inbox=gone, events=events)
        assert (found["state"], found["status"], found["reason"]) == ("discarded", "rejected", "deleted")
        assert (found["body"], found["body_npf"], found["body_sha256"], found["tags"]) == (None, None, None, [])
    sent = row(decision(route="publish"), inbox=gone, events=(report("done", 1, remote_state="published"),))
    assert (sent["state"], sent["body"]) == ("published", "A quiet <b>text</b>")
    turned_down = row(decision(route="rejected"), inbox=gone)
    assert (turned_down["state"], turned_down["body"]) == ("rejected", None)


def test_what_was_sent_keeps_its_words_when_the_decision_is_made_anew() -> None:
    events = (report("sending", 1, body_sha256=SHA), report("done", 2, remote_state="published"))
    first = made(decision(route="publish"), events=events)
    anew = decision(route="publish", body="Quite other words", tags=[])
    assert made(anew, events=events, earlier=first).equals(first)
    unsent = row(anew, earlier=made(decision(route="publish")))
    assert unsent["body"] == "Quite other words"


def test_an_input_whose_rows_are_missing_still_has_its_post() -> None:
    found = row(decision(), inbox=())
    assert (found["state"], found["post_id"], found["parent_blog"]) == ("draft", None, None)


def test_rows_of_other_blogs_and_posts_are_passed_over() -> None:
    other = review("approve", 1, outbox_id="feedfeedfeedfeed")
    assert made(decision(), decision(blog="other-blog"), events=(other,)).select("blog", "state").rows() == [
        ("demo-blog", "draft")
    ]


reviews_ = st.builds(review, st.sampled_from(sorted(MOVES)), st.integers(0, 5), body=st.none() | st.just("New"))
reports_ = st.builds(
    report,
    st.sampled_from(t.PHASES),
    st.integers(0, 5),
    remote_state=st.sampled_from([None, "published", "queued", "draft", "deleted"]),
    error_class=st.sampled_from([None, "bad_content", "gone", "transport"]),
    not_before=st.none() | st.just(SLOT),
)


@given(
    st.lists(reviews_ | reports_, max_size=7, unique_by=lambda event: event.get("review_id") or event["delivery_id"]),
    st.sampled_from(["publish", "draft", "rejected", "discard"]),
    st.randoms(use_true_random=False),
)
def test_events_in_any_order_give_one_valid_row_and_nothing_is_sent_that_nobody_let_pass(
    events: list[dict[str, Any]], route: str, dice: random.Random
) -> None:
    made_once = made(decision(route=route), events=tuple(events))
    t.OUTBOX.schema.validate(made_once)
    dice.shuffle(events)
    assert made(decision(route=route), events=tuple(events)).equals(made_once)
    state = made_once["state"][0]
    allowed = route == "publish" or any(event.get("action") == "approve" for event in events)
    reported = any(event.get("phase") in ("sending", "done") for event in events)
    assert state not in ("ready", "approved") or allowed
    assert state not in SENT or reported


def test_days_made_together_or_apart_come_out_the_same() -> None:
    later = decision("ask:2", day=NOON.date() + timedelta(days=1), route="publish")
    both = made(decision(), later, inbox=(asked(), asked("ask:2")))
    apart = pl.concat([made(decision()), made(later, inbox=(asked("ask:2"),))])
    assert both.equals(apart.sort(t.OUTBOX.sort_by))
    assert key("ask:2") in both["outbox_id"]

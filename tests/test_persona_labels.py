"""Labels: what readers liked, what reviewers turned down, and what counts for neither."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from magpie.persona.labels import LABELS, autoreview_labels, selector_labels
from magpie.persona.tables import DECISIONS, OUTBOX, PERSONA_REVIEWS, THREADS, TUMBLR_POSTS
from magpie.tables import Table

AT = datetime(2026, 11, 16, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def frame(table: Table, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    lists = {name for name, dtype in table.dtypes.items() if isinstance(dtype, pl.List)}
    blank = {name: [] if name in lists else None for name in table.dtypes}
    return pl.DataFrame([{**blank, **row} for row in rows], schema=table.dtypes, orient="row")


def post(number: int, notes: int, at: datetime = AT - 30 * DAY, **columns: Any) -> dict[str, Any]:
    own = {"author_blog": "demo-blog", "role": "own", "post_state": "published", "note_count": notes}
    keys = {"blog": "demo-blog", "day": at.date(), "post_id": f"p{number}", "published_at": at, "status": "ok"}
    return {**keys, **own, **columns}


def threads_of(posts: Sequence[dict[str, Any]], **columns: Any) -> pl.DataFrame:
    return frame(
        THREADS,
        [
            {
                **{name: row[name] for name in ("blog", "day", "post_id")},
                "status": "ok",
                "has_ask": False,
                "text_selector": f"text of {row['post_id']}",
                **columns,
            }
            for row in posts
        ],
    )


def liked(posts: Sequence[dict[str, Any]], **columns: Any) -> dict[str, bool]:
    found = selector_labels(frame(TUMBLR_POSTS, posts), threads_of(posts, **columns), AT)
    assert found.schema == LABELS
    return dict(found.select("group", "label").iter_rows())


def test_the_best_quarter_is_liked_the_worst_is_not_and_the_middle_is_not_used() -> None:
    posts = [post(number, notes=2**number) for number in range(8)]
    assert liked(posts) == {"p0": False, "p1": False, "p6": True, "p7": True}


def test_a_post_is_held_against_its_own_kind() -> None:
    asked = {"asking_blog": "ada"}
    reblogged = {"parent_post_id": "9", "parent_blog": "ada", "asking_blog": "ada"}
    # Reblogs get a hundred times the notes of answers; each is judged among its like.
    posts = [
        *(post(number, notes=2**number, **asked) for number in range(4)),
        *(post(10 + number, notes=100 * 2**number, **reblogged) for number in range(4)),
    ]
    found = liked(posts)
    assert found == {"p0": False, "p10": False, "p3": True, "p13": True}
    assert not selector_labels(frame(TUMBLR_POSTS, posts), threads_of(posts), AT)["original"].any()


def test_an_answer_is_known_by_its_thread_where_the_post_names_nobody() -> None:
    posts = [post(number, notes=2**number) for number in range(4)]
    without, with_ask = threads_of(posts), threads_of(posts, has_ask=True)
    assert selector_labels(frame(TUMBLR_POSTS, posts), without, AT)["original"].all()
    assert not selector_labels(frame(TUMBLR_POSTS, posts), with_ask, AT)["original"].any()


def test_a_post_is_held_against_posts_within_45_days_and_no_others() -> None:
    early, late = AT - 300 * DAY, AT - 100 * DAY
    # The blog has grown: its worst posts now have more notes than its best ones then.
    posts = [
        *(post(number, 10 + number, early + number * HOUR) for number in range(4)),
        *(post(10 + number, 1000 + 100 * number, late + number * HOUR) for number in range(4)),
    ]
    assert liked(posts) == {"p0": False, "p10": False, "p3": True, "p13": True}


@pytest.mark.parametrize(("apart", "counted"), [(45 * DAY, True), (45 * DAY + timedelta(seconds=1), False)])
def test_the_neighbourhood_ends_after_45_days(apart: timedelta, counted: bool) -> None:
    start = AT - 200 * DAY
    posts = [post(0, 7, start), post(1, 0, start + apart)]
    pair = [*posts, *(post(2 + number, 0, start - 100 * DAY) for number in range(2))]
    # Held against itself alone, a post is as usual as can be.
    assert liked(pair).get("p0", False) is counted


def test_posts_younger_than_seven_days_are_left_to_ripen() -> None:
    posts = [post(number, notes=2**number) for number in range(4)]
    young = [post(9, 10**6, AT - 7 * DAY)]
    assert liked([*posts, *young]) == liked(posts)
    old_enough = [post(9, 10**6, AT - 7 * DAY - timedelta(seconds=1))]
    assert liked([*posts, *old_enough])["p9"] is True


def test_equal_posts_share_their_fate_in_whatever_order_they_come() -> None:
    # Two of three equals would make up the upper quarter: none of them does.
    notes = [0, 1, 2, 3, 4, 9, 9, 9]
    posts = [post(number, count) for number, count in enumerate(notes)]
    expected = {"p0": False, "p1": False}
    assert liked(posts) == expected
    chance = random.Random(4)
    for _ in range(5):
        mixed = chance.sample(posts, len(posts))
        assert liked(mixed) == expected
        table, threads = frame(TUMBLR_POSTS, mixed), threads_of(chance.sample(posts, len(posts)))
        straight = selector_labels(frame(TUMBLR_POSTS, posts), threads_of(posts), AT)
        assert selector_labels(table, threads, AT).equals(straight)


def test_a_blog_that_nobody_reads_teaches_nothing() -> None:
    assert liked([post(number, 0) for number in range(40)]) == {}
    assert liked([]) == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "mention"},
        {"post_state": "draft"},
        {"status": "rejected", "reason": "deleted"},
    ],
)
def test_only_what_the_blog_has_published_counts(changed: dict[str, Any]) -> None:
    posts = [post(number, notes=2**number) for number in range(4)]
    assert liked([*posts, post(9, 10**6, **changed)]) == liked(posts)


def test_a_thread_that_could_not_be_read_is_left_out() -> None:
    posts = [post(number, notes=2**number) for number in range(4)]
    assert liked(posts, text_selector=None) == {}
    assert liked(posts, status="failed", reason="npf_parse") == {}


def decision(input_id: str = "ask:1", attempt: int = 1, route: str = "draft", **columns: Any) -> dict[str, Any]:
    made = AT - 10 * DAY + attempt * HOUR
    keys = {"blog": "demo-blog", "day": made.date(), "input_id": input_id, "attempt": attempt, "tick_ts": made}
    told = {"kind": "ask", "route": route, "status": "ok", "body": f"body {input_id} {attempt}", "tags": ["good day"]}
    return {**keys, **told, **columns}


def sent(input_id: str = "ask:1", attempt: int = 1, state: str = "draft", **columns: Any) -> dict[str, Any]:
    keys = {"blog": "demo-blog", "input_id": input_id, "attempt": attempt, "outbox_id": f"{input_id} {attempt}"}
    return {**keys, "state": state, "body": f"body {input_id} {attempt}", "tags": ["good day"], **columns}


def said(action: str, input_id: str = "ask:1", attempt: int = 1, at: datetime = AT - DAY) -> dict[str, Any]:
    keys = {"review_id": f"{action} {at}", "blog": "demo-blog", "outbox_id": f"{input_id} {attempt}"}
    return {**keys, "action": action, "actor": "ben", "at": at}


def judged(
    decisions: Sequence[dict[str, Any]], outbox: Sequence[dict[str, Any]], reviews: Sequence[dict[str, Any]] = ()
) -> pl.DataFrame:
    prompts = {row["input_id"]: "asked: " for row in decisions if row["input_id"] != "ask:unknown"}
    found = autoreview_labels(
        frame(DECISIONS, decisions),
        frame(OUTBOX, outbox),
        frame(PERSONA_REVIEWS, reviews),
        AT,
        prompts,
        lambda prompt, body, tags: f"{prompt}{body} #{' #'.join(tags)}",
    )
    assert found.schema == LABELS
    return found


def verdicts(
    decisions: Sequence[dict[str, Any]], outbox: Sequence[dict[str, Any]], reviews: Sequence[dict[str, Any]] = ()
) -> dict[str, bool]:
    return dict(judged(decisions, outbox, reviews).select("text", "label").iter_rows())


FIRST = "asked: body ask:1 1 #good day"
SECOND = "asked: body ask:1 2 #good day"


def test_what_a_human_approved_was_let_through_and_what_one_rejected_was_not() -> None:
    assert verdicts([decision()], [sent(state="ready")], [said("approve")]) == {FIRST: False}
    assert verdicts([decision()], [sent(state="rejected")], [said("reject")]) == {FIRST: True}


def test_attempts_before_the_published_one_were_turned_down() -> None:
    decisions = [decision(), decision(attempt=2)]
    outbox = [sent(state="redo"), sent(attempt=2, state="published", delivered_at=AT - HOUR)]
    assert verdicts(decisions, outbox, [said("redo")]) == {FIRST: True, SECOND: False}


def test_all_attempts_of_what_never_went_out_were_turned_down() -> None:
    decisions = [decision(), decision(attempt=2)]
    outbox = [sent(state="redo"), sent(attempt=2, state="rejected")]
    assert verdicts(decisions, outbox, [said("redo"), said("reject", attempt=2)]) == {FIRST: True, SECOND: True}


@pytest.mark.parametrize("state", ["draft", "held", "queued", "ready", "sending"])
def test_what_still_waits_counts_for_neither_side(state: str) -> None:
    assert verdicts([decision()], [sent(state=state)]) == {}
    assert verdicts([decision()], []) == {}
    # The attempt before it was sent back all the same.
    decisions = [decision(), decision(attempt=2)]
    assert verdicts(decisions, [sent(state="redo"), sent(attempt=2, state=state)]) == {FIRST: True}


def test_what_the_machine_turned_down_or_published_says_nothing_of_humans() -> None:
    published = {"state": "published", "delivered_at": AT - DAY}
    for route in ("rejected", "publish", "discard"):
        assert verdicts([decision(route=route)], [sent(**published)]) == {}
    # Turned down by the machine, written again, approved by a human: only the last is a human's word.
    decisions = [decision(route="rejected"), decision(attempt=2)]
    assert verdicts(decisions, [sent(attempt=2, state="ready")], [said("approve", attempt=2)]) == {SECOND: False}


def test_what_went_through_the_queue_unread_is_no_approval() -> None:
    queued = [decision("orig:1", route="queue", kind="original")]
    gone_out = [sent("orig:1", state="published", delivered_at=AT - DAY)]
    assert verdicts(queued, gone_out) == {}
    read = judged(queued, gone_out, [said("approve", "orig:1")])
    assert read.select("label", "original", "group").rows() == [(False, True, "orig:1")]


def test_a_draft_that_was_published_took_a_human_and_one_deleted_from_the_queue_too() -> None:
    assert verdicts([decision()], [sent(state="published", delivered_at=AT - HOUR)]) == {FIRST: False}
    assert verdicts([decision(route="queue")], [sent(state="deleted")]) == {FIRST: True}


def test_a_draft_dropped_because_its_input_is_gone_was_not_turned_down() -> None:
    assert verdicts([decision()], [sent(state="discarded", reason="deleted", status="rejected")]) == {}


def test_an_edited_text_was_let_through_in_the_words_that_went_out() -> None:
    outbox = [sent(state="published", body="kinder words", tags=["edited"], edited=True, delivered_at=AT - HOUR)]
    assert verdicts([decision()], outbox, [said("approve")]) == {"asked: kinder words #edited": False}
    # Turned down all the same, it was turned down as it was written.
    outbox = [sent(state="rejected", body="kinder words", tags=["edited"], edited=True)]
    assert verdicts([decision()], outbox, [said("reject")]) == {FIRST: True}


def test_the_last_word_counts_and_a_hold_takes_it_back() -> None:
    approve, reject = said("approve", at=AT - 3 * HOUR), said("reject", at=AT - 2 * HOUR)
    assert verdicts([decision()], [sent()], [reject, approve]) == {FIRST: True}
    hold, edit = said("hold", at=AT - HOUR), said("edit", at=AT - HOUR)
    assert verdicts([decision()], [sent()], [approve, hold]) == {}
    assert verdicts([decision()], [sent()], [approve, edit]) == {FIRST: False}


def test_what_was_said_or_sent_later_is_not_known_yet() -> None:
    assert verdicts([decision()], [sent(state="ready")], [said("approve", at=AT)]) == {}
    assert verdicts([decision()], [sent(state="published", delivered_at=AT)]) == {}
    later = decision(attempt=2, tick_ts=AT)
    assert verdicts([decision(), later], [sent(), sent(attempt=2)]) == {}


def test_texts_without_words_or_prompt_are_left_out() -> None:
    reviews = [said("reject", "ask:unknown"), said("reject")]
    decisions = [decision("ask:unknown"), decision(body=None)]
    assert verdicts(decisions, [sent("ask:unknown"), sent()], reviews) == {}
    assert verdicts([], []) == {}


def test_labels_do_not_depend_on_the_order_of_rows() -> None:
    decisions = [decision(f"ask:{number}", attempt) for number in range(6) for attempt in (1, 2)]
    outbox = [sent(f"ask:{number}", attempt) for number in range(6) for attempt in (1, 2)]
    reviews = [said("approve" if number % 2 else "reject", f"ask:{number}", 2) for number in range(6)]
    reviews = [{**row, "review_id": str(place)} for place, row in enumerate(reviews)]
    straight = judged(decisions, outbox, reviews)
    chance = random.Random(2)
    mixed = [chance.sample(rows, len(rows)) for rows in (decisions, outbox, reviews)]
    assert straight.height == 12
    assert judged(*mixed).equals(straight)

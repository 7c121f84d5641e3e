"""The inbox: where each input stands, and which attempts are due anew."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.inbox import again_due, inbox, redo_due, waiting_of
from magpie.persona.outbox import outbox_id
from magpie.persona.planner import Admission, archive_ticks, plan, prompt_kind_of_original
from magpie.persona.settings import Blog
from magpie.persona.slowdown import BASE
from magpie.persona.tables import DECISIONS, PERSONA_INBOX, PERSONA_REVIEWS, PERSONA_TICKS, PersonaInbox

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = NOON.date()
BLOG = Blog(name="demo-blog", originals=False)
LATER = NOON + timedelta(hours=5)


def received(name: str, minute: float = 0, user: str | None = None, **values: Any) -> dict[str, Any]:
    row = {"blog": "demo-blog", "day": DAY, "input_id": f"ask:{name}", "kind": "ask", "from_blog": user or name}
    row |= {"post_id": name, "text": "how are you", "created_at": NOON + timedelta(minutes=minute), "attempt": 1}
    row |= {"prompt_kind": "answer", "state": "received", "status": "pending", "reason": "waiting"}
    return row | values


def ignored(name: str, reason: str) -> dict[str, Any]:
    told = {"observed": "1", "threshold": "2"}
    return received(name) | {"state": "ignored", "status": "rejected", "reason": reason, **told}


def tick(name: str, attempt: int = 1, minute: float = 10, step: str = "asks", kind: str = "ask") -> dict[str, Any]:
    input_id = f"ask:{name}" if kind == "ask" else name
    at = NOON + timedelta(minutes=minute)
    return vars(Admission("demo-blog", input_id, attempt, at, DAY, kind, step, "base"))


def decision(name: str, attempt: int = 1, status: str = "ok", **values: Any) -> dict[str, Any]:
    row = {"blog": "demo-blog", "day": DAY, "input_id": f"ask:{name}", "attempt": attempt, "kind": "ask"}
    row |= {"tick_ts": NOON, "n_candidates": 5, "n_retained": 5, "trace": "{}", "tags": [], "screen_hits": []}
    return row | {"status": status, "reason": None if status == "ok" else "cap_exhausted"} | values


def review(name: str, attempt: int = 1, minute: float = 60, action: str = "redo") -> dict[str, Any]:
    of = outbox_id("demo-blog", f"ask:{name}", attempt)
    row = {"review_id": f"{of}:{minute}", "blog": "demo-blog", "outbox_id": of, "action": action, "tags": []}
    return row | {"actor": "ada", "at": NOON + timedelta(minutes=minute)}


def log_of(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=PERSONA_TICKS.dtypes)


def made(
    rows: Sequence[dict[str, Any]],
    ticks: Sequence[dict[str, Any]] = (),
    decisions: Sequence[dict[str, Any]] = (),
    now: datetime = LATER,
) -> dict[str, dict[str, Any]]:
    found = inbox(
        pl.DataFrame(list(rows), schema=PERSONA_INBOX.dtypes),
        log_of(ticks),
        pl.DataFrame(list(decisions), schema=DECISIONS.dtypes),
        now=now,
        blog=BLOG,
    )
    PersonaInbox.validate(found)
    return {row["input_id"]: row for row in found.iter_rows(named=True)}


def redo(reviews: Sequence[Any], ticks: Sequence[Any], decisions: Sequence[Any]) -> list[tuple[Any, ...]]:
    due = redo_due(
        pl.DataFrame(list(reviews), schema=PERSONA_REVIEWS.dtypes),
        log_of(ticks),
        pl.DataFrame(list(decisions), schema=DECISIONS.dtypes),
    )
    assert all(one.human and not one.again for one in due)
    return [(one.input_id, one.attempt, one.step, one.not_before) for one in due]


def test_an_input_waits_until_it_is_admitted_and_is_done_when_it_is_decided() -> None:
    rows = [received(name) for name in ("waits", "writes", "stuck", "done")]
    ticks = [tick(name) for name in ("writes", "stuck", "done")]
    found = made(rows, ticks, [decision("stuck", status="pending", not_before=LATER), decision("done")])
    assert {name[4:]: (row["state"], row["status"], row["reason"]) for name, row in found.items()} == {
        "waits": ("waiting", "pending", "waiting"),
        "writes": ("admitted", "ok", None),
        "stuck": ("admitted", "ok", None),
        "done": ("done", "ok", None),
    }
    assert found["ask:waits"]["tick_ts"] is None
    assert found["ask:writes"]["tick_ts"] == NOON + timedelta(minutes=10)
    assert {row["not_before"] for row in found.values()} == {None}


def test_a_failed_decision_is_one() -> None:
    assert made([received("a")], [tick("a")], [decision("a", status="failed")])["ask:a"]["state"] == "done"


def test_another_attempt_opens_an_input_until_it_is_decided() -> None:
    ticks = [tick("a"), tick("a", attempt=2, minute=90, step="reviews")]
    open_again = made([received("a")], ticks, [decision("a")])["ask:a"]
    assert (open_again["state"], open_again["attempt"]) == ("admitted", 2)
    assert open_again["tick_ts"] == NOON + timedelta(minutes=90)
    assert made([received("a")], ticks, [decision("a"), decision("a", 2)])["ask:a"]["state"] == "done"


def test_a_redo_of_the_authors_own_that_is_stuck_keeps_the_input_open() -> None:
    decisions = [decision("a", 1, status="ok"), decision("a", 2, status="pending")]
    found = made([received("a")], [tick("a")], decisions)["ask:a"]
    assert (found["state"], found["attempt"]) == ("admitted", 1)


def test_an_input_expires_when_it_has_waited_for_more_than_a_week() -> None:
    week = NOON + timedelta(days=7)
    assert made([received("a")], now=week)["ask:a"]["state"] == "waiting"
    row = made([received("a")], now=week + timedelta(seconds=1))["ask:a"]
    assert (row["state"], row["status"], row["reason"], row["observed"], row["threshold"]) == (
        *("expired", "rejected", "expired"),
        *("since 2026-11-20 12:00", "7 d"),
    )
    assert made([received("a")], [tick("a")], now=week + timedelta(days=1))["ask:a"]["state"] == "admitted"


def test_an_ignored_input_keeps_its_reason_and_one_that_was_admitted_before_stays_admitted() -> None:
    row = made([ignored("a", "too_short")])["ask:a"]
    assert (row["state"], row["reason"], row["observed"], row["threshold"]) == ("ignored", "too_short", "1", "2")
    row = made([ignored("a", "handled")], [tick("a")], [decision("a")])["ask:a"]
    assert (row["state"], row["status"], row["reason"], row["observed"]) == ("done", "ok", None, None)


def test_a_deleted_input_is_dropped_even_if_it_was_admitted() -> None:
    row = made([ignored("a", "deleted")], [tick("a")], [decision("a")])["ask:a"]
    assert (row["state"], row["status"], row["reason"], row["tick_ts"]) == ("ignored", "rejected", "deleted", None)


def test_the_third_ask_of_a_user_is_too_many_while_two_wait_and_stays_so() -> None:
    asks = [received(str(n), n, user="ada") for n in range(3)]
    for ticks in ([], [tick("0"), tick("1", minute=20)]):
        row = made(asks, ticks)["ask:2"]
        assert (row["state"], row["reason"], row["observed"], row["threshold"]) == ("ignored", "ask_flood", "3", "2")
    # The older ones were answered on the blog meanwhile.
    answered = [ignored(str(n), "handled") | {"from_blog": "ada"} for n in range(2)]
    assert made([*answered, asks[2]], [tick("0"), tick("1", minute=20)])["ask:2"]["reason"] == "ask_flood"
    late = received("late", 30, user="ada")
    assert made([*asks, late], [tick("0"), tick("1", minute=20)])["ask:late"]["state"] == "waiting"


def test_an_original_is_an_input_at_its_slot() -> None:
    slot = "orig:2026-11-21T08:00:00Z"
    row = made([], [tick(slot, kind="original", step="originals")])[slot]
    assert (row["kind"], row["day"], row["state"]) == ("original", date(2026, 11, 21), "admitted")
    assert row["created_at"] == datetime(2026, 11, 21, 8, tzinfo=UTC)
    assert (row["from_blog"], row["post_id"], row["text"], row["cost"]) == (None, None, None, None)
    assert row["prompt_kind"] == prompt_kind_of_original("demo-blog", slot, 1)
    again = [tick(slot, attempt=n, minute=10 * n, kind="original", step="originals") for n in (1, 2)]
    assert made([], again)[slot]["prompt_kind"] == prompt_kind_of_original("demo-blog", slot, 2)


def test_other_blogs_ticks_admit_nothing_here() -> None:
    assert made([received("a")], [tick("a") | {"blog": "other-blog"}])["ask:a"]["state"] == "waiting"


def test_a_redo_that_a_person_asked_for_is_the_attempt_after_the_last() -> None:
    at = NOON + timedelta(minutes=60)
    assert redo([review("a")], [tick("a")], [decision("a")]) == [("ask:a", 2, "reviews", at)]
    # The author tried twice of its own accord; the draft that was reviewed is the third.
    tried = [decision("a", n) for n in (1, 2, 3)]
    assert redo([review("a", 3)], [tick("a")], tried) == [("ask:a", 4, "reviews", at)]
    assert redo([review("a", 1)], [tick("a")], tried) == []


def test_a_redo_is_due_once() -> None:
    twice = [review("a", minute=90), review("a", minute=60)]
    assert redo(twice, [tick("a")], [decision("a")])[0][3] == NOON + timedelta(minutes=60)
    admitted = [tick("a"), tick("a", 2, 70, "reviews")]
    assert redo(twice, admitted, [decision("a")]) == []
    assert redo(twice, admitted, [decision("a"), decision("a", 2)]) == []
    assert redo([review("a", 2, 200)], admitted, [decision("a"), decision("a", 2)])[0][:2] == ("ask:a", 3)


def test_other_reviews_and_those_of_unknown_posts_ask_for_nothing() -> None:
    others = [review("a", action=action) for action in ("approve", "reject", "edit", "hold")]
    assert redo([*others, review("unknown")], [tick("a")], [decision("a")]) == []


def test_an_attempt_that_waited_is_due_when_its_time_has_come() -> None:
    stuck = pl.DataFrame(
        [
            decision("now", status="pending", not_before=LATER),
            decision("later", status="pending", not_before=LATER + timedelta(seconds=1)),
            decision("event", status="pending"),
            decision("over", 1, status="pending", not_before=NOON),
            decision("over", 2),
            decision("human", 2, status="pending", not_before=NOON),
        ],
        schema=DECISIONS.dtypes,
    )
    ticks = log_of([tick("now"), tick("human"), tick("human", 2, 20, "reviews")])
    due = again_due(stuck, ticks, LATER)
    assert [(one.input_id, one.attempt, one.step) for one in due] == [
        ("ask:human", 2, "reviews"),
        ("ask:now", 1, "asks"),
    ]
    assert all(one.again for one in due)

    known = waiting_of(pl.DataFrame([received("now"), received("human")], schema=PERSONA_INBOX.dtypes), ticks)
    times = list(archive_ticks(NOON, LATER + timedelta(hours=1)))
    found = plan([*known, *due], ticks, blog=BLOG, tuning=BLOG.tuned(), times=times, level=lambda _: BASE)
    # Each once, and no earlier than its time.
    assert [(one.input_id, one.attempt, one.tick_ts) for one in found] == [
        ("ask:human", 2, NOON + timedelta(minutes=30)),
        ("ask:now", 1, LATER),
    ]


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(["ada", "bob", "Anonymous"])),
        max_size=30,
        unique_by=lambda x: x[0],
    ),
    st.integers(1, 40),
)
def test_what_the_planner_passes_by_for_good_is_what_the_inbox_calls_too_many(
    asks: list[tuple[int, str]], count: int
) -> None:
    rows = [received(str(minute), minute, user=user) for minute, user in asks]
    frame = pl.DataFrame(rows, schema=PERSONA_INBOX.dtypes)
    ticks = list(archive_ticks(NOON, NOON + timedelta(hours=12)))
    waiting = waiting_of(frame, PERSONA_TICKS.empty())
    part = plan(
        waiting, PERSONA_TICKS.empty(), blog=BLOG, tuning=BLOG.tuned(), times=ticks[:count], level=lambda _: BASE
    )
    so_far = made(rows, [vars(one) for one in part], now=ticks[count - 1])
    whole = plan(
        waiting, log_of([vars(one) for one in part]), blog=BLOG, tuning=BLOG.tuned(), times=ticks, level=lambda _: BASE
    )
    at_last = made(rows, [vars(one) for one in [*part, *whole]], now=ticks[-1])
    assert {row["state"] for row in at_last.values()} <= {"admitted", "ignored"}
    for name, row in so_far.items():
        if row["created_at"] <= ticks[count - 1]:
            assert (row["state"] == "ignored") == (at_last[name]["state"] == "ignored")


def test_neither_order_nor_days_made_at_once_change_the_inbox() -> None:
    rows = [received(str(n), n, user=f"u{n % 4}") for n in range(12)]
    ticks = [tick(str(n), minute=10 + n) for n in range(0, 12, 2)]
    decisions = [decision(str(n)) for n in range(0, 12, 4)]
    whole = made(rows, ticks, decisions)
    assert made(rows[::-1], ticks[::-1], decisions[::-1]) == whole
    assert waiting_of(pl.DataFrame(rows, schema=PERSONA_INBOX.dtypes), log_of(ticks))[0].user == "u0"

"""Findings about the tables of persona: each speaks up for its fault alone, and only beyond its bound."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leads_world import MemoryLake, some_settings

from assets.persona_checks import DESCRIPTIONS, MODELS, build_checks
from magpie.control import Control
from magpie.persona import logs, quality
from magpie.persona import quality_figures as figures
from magpie.persona import tables as t
from magpie.persona.mood import MoodRules, mood_grid
from magpie.persona.outbox import outbox
from magpie.persona.post_body import body_sha256
from magpie.persona.settings import Blog
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from tests.persona_outbox_rows import BLOG, DAY, NOON, POSTS, WORDS, asked, decision, frame, key, report, review

Row = dict[str, Any]
HOUR, ONE = timedelta(hours=1), timedelta(days=1)
HERE = Partitions({BLOG.name: frozenset([DAY])})
# As wide as any row of these tests lies from the day.
NEAR = Partitions({BLOG.name: frozenset(DAY + n * ONE for n in range(-40, 3))})
FATE = {"status": "ok", **dict.fromkeys(("reason", "observed", "threshold", "not_before"))}
REJECTED = {"status": "rejected", "reason": "corpus_too_small"}
TRAINED = {"selector_version": "s", "autoreview_version": "a", "cuts": {"reject": 0.605}}


def settings_of(*blogs: Blog, **more: Any) -> Settings:
    return some_settings(blogs=list(blogs or [BLOG]), **more)


def lake_of(*tables: tuple[Table, Iterable[Row]]) -> MemoryLake:
    lake = MemoryLake()
    for table, rows in tables:
        lake.write(table, frame(table, *rows), NEAR if "day" in table.partition_columns else HERE)
    return lake


def told(finding: Finding, *names: str) -> list[Any]:
    rows = [tuple(row[name] for name in names) for row in finding.rows]
    return [row[0] for row in rows] if len(names) == 1 else rows


def text(input_id: str = "ask:1", attempt: int = 1, k: int = 0, **more: Any) -> Row:
    place = {"blog": BLOG.name, "day": DAY, "input_id": input_id, "attempt": attempt, "k": k}
    return {**FATE, **place, "tags": [], "n_planned": 5, "prompt_sha256": "", "cost_usd": 0, "rng_seed": "", **more}


def kick(input_id: str = "ask:1", size: float = 0.5, **more: Any) -> Row:
    numbers = {"input_logit": 0.0, "determiner": 0.0, "centre": 0.4, "mult": 0.6667, "kick": size}
    return {"blog": BLOG.name, "day": DAY, "input_id": input_id, "kick_ts": NOON, **numbers, **more}


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(f"sqlite:///{tmp_path / 'control.db'}")


# What was admitted is worked on


def test_an_admitted_input_without_a_text_or_a_decision_of_its_attempt_is_told() -> None:
    inbox = [
        *(asked(f"ask:{name}") for name in ("written", "refused", "command", "kept", "lost", "empty")),
        asked("ask:again", attempt=2),
        asked("ask:waits", state="waiting", status="pending", reason="waiting", tick_ts=None),
    ]
    texts = [text("ask:written"), text("ask:again")]
    decisions = [
        decision("ask:refused", route=None, n_candidates=0, **REJECTED),
        decision("ask:command", route="publish", route_reason="command", n_candidates=0),
        decision("ask:kept"),
        decision("ask:empty", n_candidates=0),
    ]
    lake = lake_of((t.PERSONA_INBOX, inbox), (t.CANDIDATES, texts), (t.DECISIONS, decisions))
    finding = quality.inputs_are_taken(lake, HERE)
    assert told(finding, "input_id", "attempt") == [("ask:again", 2), ("ask:empty", 1), ("ask:lost", 1)]


def test_an_attempt_with_no_decision_or_with_one_on_each_of_two_days_is_told() -> None:
    decisions = [decision("ask:1"), decision("ask:2"), decision("ask:2", day=DAY - ONE), decision("ask:1", attempt=2)]
    lake = lake_of((t.CANDIDATES, [text("ask:1"), text("ask:3")]), (t.DECISIONS, decisions))
    found = told(quality.decided_once(lake, HERE), "input_id", "attempt", "decisions", "days")
    assert found == [("ask:2", 1, 2, f"{DAY - ONE}, {DAY}"), ("ask:3", 1, 0, None)]


@pytest.mark.parametrize(
    ("kind", "planned", "wrong"),
    [
        ("ask", 5, False),
        ("ask", 4, True),
        ("ask", 20, False),
        ("ask", 21, True),
        ("original", 1, False),
        ("original", 0, True),
    ],
)
def test_fewer_texts_than_the_base_are_told_but_of_originals_which_may_be_kept_from_before(
    kind: str, planned: int, wrong: bool
) -> None:
    inbox = asked(kind=kind, prompt_kind="original" if kind == "original" else "answer")
    lake = lake_of((t.PERSONA_INBOX, [inbox]), (t.CANDIDATES, [text(n_planned=planned)]))
    assert bool(quality.texts_wanted(lake, HERE, settings_of()).rows) is wrong


def test_a_kept_text_at_the_cutoff_of_its_blog_is_told_and_one_above_it_is_not() -> None:
    def kept(name: str, p: float) -> Row:
        place = {"blog": BLOG.name, "day": DAY, "text_sha256": name, "body": "x", "tags": [], "added_day": DAY}
        return {**place, "selector_p": p, "sentiment_logit": 0.0}

    lake = lake_of((t.RETENTION_SET, [kept("at", 0.45), kept("above", 0.46)]))
    assert told(quality.kept_texts_good(lake, HERE, settings_of()), "text_sha256") == ["at"]
    strict = BLOG.model_copy(update={"preset": "2022"})
    assert len(quality.kept_texts_good(lake, HERE, settings_of(strict)).rows) == 2


# What goes out


def posts_of(decisions: list[Row], reviews: Iterable[Row] = (), reports: Iterable[Row] = ()) -> MemoryLake:
    """The outbox that follows from decisions and events."""
    inbox = frame(t.PERSONA_INBOX, *(asked(row["input_id"]) for row in decisions))
    heard, done = frame(t.PERSONA_REVIEWS, *reviews), frame(t.DELIVERY_LOG, *reports)
    rows = outbox(frame(t.DECISIONS, *decisions), inbox, POSTS, heard, done, t.OUTBOX.empty(), BLOG, WORDS)
    return lake_of((t.DECISIONS, decisions), (t.OUTBOX, rows.to_dicts()))


def chosen(input_id: str = "ask:1", body: str = "A calm text", **more: Any) -> Row:
    told = {"chosen_sha256": body_sha256(body), "trace": json.dumps(TRAINED), "autoreview_p": 0.2}
    return decision(input_id, body=body, **{**told, **more})


def test_a_post_that_is_not_the_chosen_text_is_told_unless_it_was_edited_or_is_out() -> None:
    edit = review("edit", 1, key("ask:edited"), body="Another text", tags=[])
    out = report("done", 2, key("ask:out"), remote_id="9")
    rows = [chosen(f"ask:{name}") for name in ("right", "edited")]
    rows += [chosen("ask:out", route="publish", chosen_sha256="x"), chosen("ask:wrong", chosen_sha256="x")]
    lake = posts_of(rows, [edit], [out])
    assert told(quality.posts_as_chosen(lake, HERE), "input_id") == ["ask:wrong"]


def test_the_graph_of_the_mood_has_no_text_that_could_have_been_chosen() -> None:
    command = decision(route="publish", route_reason="command", body=None, n_candidates=0)
    inbox = frame(t.PERSONA_INBOX, asked(command="!mood"))
    nothing = (t.PERSONA_REVIEWS.empty(), t.DELIVERY_LOG.empty(), t.OUTBOX.empty())
    rows = outbox(frame(t.DECISIONS, command), inbox, POSTS, *nothing, BLOG, WORDS)
    lake = lake_of((t.DECISIONS, [command]), (t.OUTBOX, rows.to_dicts()))
    assert rows["kind"].to_list() == ["mood_graph"]
    assert quality.posts_as_chosen(lake, HERE).rows == []


HARD = [{"type": "hard_reject", "text": "forbidden"}]
LOOK = [{"type": "hard_review", "text": "odd"}]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"route": "publish"}, None),
        ({"route": "publish", "autoreview_p": 0.605}, None),
        ({"route": "publish", "autoreview_p": 0.606}, "an estimated risk of 0.606, above 0.605"),
        ({"route": "publish", "autoreview_p": None}, "no estimated risk"),
        ({"route": "publish", "screen_hits": HARD}, "it holds forbidden"),
        ({"route": "publish", "screen_hits": LOOK}, "hard_review, and no human approved it"),
        ({"route": "publish", "screen_hits": [{"type": "soft", "text": "hm"}]}, None),
        ({"route": "queue", "tags": ["calm", "RTS"]}, "the tag RTS"),
        ({"route": "draft"}, "the moderation said draft, and no human approved it"),
        ({"route": "publish", "route_reason": "command", "autoreview_p": None}, None),
    ],
)
def test_what_is_out_against_the_moderation_is_told_with_the_first_reason(
    more: Row, problem: str | None, control: Control
) -> None:
    lake = posts_of([chosen(**more)], [], [report("done", 1, remote_state="published", remote_id="9")])
    lake.frames["outbox"] = lake.frames["outbox"].with_columns(pl.lit("published").alias("state"))
    finding = quality.posts_fit_to_go(lake, HERE, settings_of(), control)
    assert told(finding, "problem") == ([problem] if problem else [])


def test_a_human_may_let_out_what_looks_risky_but_never_a_word_that_must_not_pass(control: Control) -> None:
    rows = [
        chosen("ask:risky", autoreview_p=0.9),
        chosen("ask:odd", screen_hits=LOOK),
        chosen("ask:bad", screen_hits=HARD),
    ]
    approvals = [review("approve", n, key(row["input_id"])) for n, row in enumerate(rows)]
    logs.REVIEWS.append(control, approvals)
    lake = posts_of(rows, approvals)
    lake.frames["outbox"] = lake.frames["outbox"].with_columns(pl.lit("approved").alias("state"))
    finding = quality.posts_fit_to_go(lake, HERE, settings_of(), control)
    assert told(finding, "input_id", "problem") == [("ask:bad", "it holds forbidden")]


def test_an_edited_post_is_judged_by_the_text_it_has_now(control: Control) -> None:
    events = [
        review("edit", 1, key("ask:1"), body="a forbidden thing", tags=[]),
        review("edit", 1, key("ask:2"), body="a mild thing", tags=[], review_id="other"),
        *(review("approve", 2 + n, key(f"ask:{n}")) for n in (1, 2)),
    ]
    logs.REVIEWS.append(control, events)
    lake = posts_of([chosen("ask:1"), chosen("ask:2", screen_hits=HARD)], events)
    lake.frames["outbox"] = lake.frames["outbox"].with_columns(pl.lit("queued").alias("state"))
    finding = quality.posts_fit_to_go(lake, HERE, settings_of(), control)
    assert told(finding, "input_id", "problem") == [("ask:1", "it holds forbidden")]


def test_posts_that_are_turned_down_or_wait_for_a_human_may_hold_anything(control: Control) -> None:
    lake = posts_of([chosen("ask:1", route="rejected", screen_hits=HARD), chosen("ask:2", autoreview_p=0.9)])
    assert quality.posts_fit_to_go(lake, HERE, settings_of(), control).rows == []


# The mood


@pytest.mark.parametrize(
    ("kicks", "first", "problem"),
    [
        ([kick()], decision(), None),
        ([kick(), kick(day=DAY - ONE)], decision(), "several kicks"),
        ([kick("dash:x:1")], decision("dash:x:1"), "dash moves no mood"),
        ([kick("orig:1")], decision("orig:1"), "original moves no mood"),
        ([kick(kick_ts=NOON + HOUR)], decision(), "not at the tick of the first attempt"),
        ([kick()], decision(attempt=2), "no first attempt"),
    ],
)
def test_a_kick_that_should_not_be_is_told(kicks: list[Row], first: Row, problem: str | None) -> None:
    lake = lake_of((t.MOOD_INPUTS, kicks), (t.DECISIONS, [first]))
    assert set(told(quality.kicks_once(lake, HERE), "problem")) == ({problem} if problem else set())


def test_an_attempt_that_a_redo_brought_leaves_the_kick_of_the_first_one_in_order() -> None:
    redo = decision(attempt=2, tick_ts=NOON + HOUR)
    lake = lake_of((t.MOOD_INPUTS, [kick()]), (t.DECISIONS, [decision(), redo]))
    assert quality.kicks_once(lake, HERE).rows == []


def mood_of(kicks: Iterable[Row], *days: date) -> pl.DataFrame:
    rows = frame(t.MOOD_INPUTS, *kicks)
    return mood_grid(rows.select("kick_ts", "kick"), days or [DAY], MoodRules.of(BLOG), "2023")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (pl.col("ts"), None),
        (pl.when(pl.col("ts") == NOON).then(pl.col("ts") + timedelta(minutes=1)).otherwise("ts"), "points"),
        (pl.when(pl.col("ts") == NOON).then(1.0).otherwise("value").alias("value"), "out_of_range"),
        (
            pl.when(pl.col("ts") == NOON).then(pl.lit("unrestricted")).otherwise("base_name").alias("base_name"),
            "not_told",
        ),
    ],
)
def test_a_mood_with_a_gap_or_without_a_value_is_told(change: pl.Expr, wrong: str | None) -> None:
    lake = lake_of((t.MOOD, mood_of([]).with_columns(change).to_dicts()))
    found = told(quality.mood_complete(lake, HERE), "points", "out_of_range", "not_told")
    expected = {"points": (143, 0, 0), "out_of_range": (144, 1, 0), "not_told": (144, 0, 1)}
    assert found == ([expected[wrong]] if wrong else [])


A_KICK = st.tuples(st.integers(-9, 0), st.integers(0, 7 * 24 * 6), st.floats(-5, 5))


@given(st.lists(A_KICK, max_size=12))
def test_midnight_has_one_mood_whatever_was_said_in_the_week_before(drawn: list[tuple[int, int, float]]) -> None:
    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    kicks = [
        kick(f"ask:{n}", size, day=DAY + day * ONE, kick_ts=start + day * ONE + timedelta(minutes=10 * wait))
        for n, (day, wait, size) in enumerate(drawn)
    ]
    lake = lake_of((t.MOOD_INPUTS, kicks), (t.MOOD, mood_of(kicks).to_dicts()))
    assert quality.mood_agrees(lake, HERE, settings_of()).rows == []


def test_a_mood_that_was_made_without_a_kick_of_the_day_before_is_told() -> None:
    late = kick(day=DAY - ONE, kick_ts=NOON - 14 * HOUR)
    lake = lake_of((t.MOOD_INPUTS, [late]), (t.MOOD, mood_of([]).to_dicts()))
    (row,) = quality.mood_agrees(lake, HERE, settings_of()).rows
    assert row["day"] == str(DAY)
    assert row["of_day"] == row["of_day_before"] != row["stored"]


def test_a_kick_of_an_input_too_old_for_one_of_two_days_is_told() -> None:
    old = kick(day=DAY - 12 * ONE, kick_ts=NOON - 14 * HOUR)
    lake = lake_of((t.MOOD_INPUTS, [old]), (t.MOOD, mood_of([]).to_dicts()))
    (row,) = quality.mood_agrees(lake, HERE, settings_of()).rows
    assert row["of_day_before"] != row["of_day"] == row["stored"]


# Figures


def choices(explored: int, count: int, kind: str = "ask", **more: Any) -> list[Row]:
    made = {"strategy": "eps_greedy", "trace": json.dumps(TRAINED), **more}
    return [decision(f"{kind}:{n}", kind=kind, explore=n < explored, **made) for n in range(count)]


@pytest.mark.parametrize(
    ("explored", "count", "more", "wrong"),
    [
        (8, 100, {}, False),
        (15, 100, {}, False),
        (16, 100, {}, True),
        (0, 112, {}, True),
        (0, 111, {}, False),
        (60, 60, {}, False),
        (50, 100, {"strategy": "uniform"}, False),
        (50, 100, {"day": DAY - 30 * ONE}, False),
        (50, 100, {"day": DAY - 29 * ONE}, True),
    ],
)
def test_an_unlikely_share_of_explored_choices_in_thirty_days_is_told(
    explored: int, count: int, more: Row, wrong: bool
) -> None:
    lake = lake_of((t.DECISIONS, choices(explored, count, **more)))
    assert bool(figures.explore_share(lake, HERE, settings_of()).rows) is wrong


def test_originals_explore_by_their_own_share() -> None:
    lake = lake_of((t.DECISIONS, choices(25, 100, "original") + choices(25, 100)))
    assert told(figures.explore_share(lake, HERE, settings_of()), "original", "eps") == [(False, 0.075)]


@pytest.mark.parametrize(("drafts", "share"), [(0, 0.0), (1, None), (12, None), (13, 0.65)])
def test_an_unusual_share_of_drafts_by_trained_models_is_told(drafts: int, share: float | None) -> None:
    def of(count: int, trace: Row) -> list[Any]:
        routes = ["draft"] * drafts + ["publish"] * (count - drafts)
        rows = [decision(f"ask:{n}", route=route, trace=json.dumps(trace)) for n, route in enumerate(routes)]
        return told(figures.draft_share(lake_of((t.DECISIONS, rows)), HERE), "draft_share")

    assert of(20, TRAINED) == ([] if share is None else [share])
    assert of(20, {**TRAINED, "autoreview_version": None}) == []
    assert of(19, TRAINED) == []


def model(version: str, at: datetime, auc: float | None, **more: Any) -> Row:
    told_of = {"n_pos": 60, "n_neg": 60, "thresholds": "{}", "evaluation": "{}", "auc_oof": auc}
    return {**FATE, "blog": BLOG.name, "version": version, "effective_from": at, **told_of, **more}


def test_only_the_newest_model_in_use_must_tell_its_labels_apart() -> None:
    refused = {"status": "rejected", "reason": "too_few_labels"}

    def of(*rows: Row) -> list[Any]:
        here = Partitions.leading([BLOG.name])
        lake = MemoryLake()
        lake.write(t.SELECTOR_MODEL, frame(t.SELECTOR_MODEL, *rows), here)
        return told(figures.models_tell(t.SELECTOR_MODEL)(lake, here), "version")

    bad, good, later = model("bad", NOON, 0.59), model("good", NOON + HOUR, 0.60), NOON + 2 * HOUR
    assert of(bad, good) == []
    assert of(good, bad | {"effective_from": later}) == ["bad"]
    assert of(good, model("none", later, None, **refused)) == []


def reviewed(pairs: Iterable[tuple[float, str]], control: Control, trace: Row = TRAINED) -> list[Any]:
    rows = [chosen(f"ask:{n}", autoreview_p=p, trace=json.dumps(trace)) for n, (p, _) in enumerate(pairs)]
    events = [review(action, n, key(f"ask:{n}")) for n, (_, action) in enumerate(pairs)]
    logs.REVIEWS.append(control, events)
    finding = figures.reviewers_agree(posts_of(rows, events), HERE, control, NOON + ONE)
    return told(finding, "reviews", "disagreement")


def test_reviewers_may_decide_otherwise_than_the_model_in_a_fifth_of_all_cases_or_in_few(control: Control) -> None:
    agree = [(0.4, "approve"), (0.6, "reject"), (0.5, "redo"), (0.49, "approve")] * 4
    other = [(0.6, "approve"), (0.4, "reject"), (0.3, "redo"), (0.5, "approve")]
    assert reviewed(agree + other, control) == []
    assert reviewed((agree + other)[1:], control) == []


def test_a_share_of_disagreement_above_a_fifth_is_told_once_there_are_enough_reviews(control: Control) -> None:
    pairs = [(0.4, "approve")] * 16 + [(0.6, "approve")] * 5
    assert reviewed(pairs, control) == [(21, 0.2381)]


def test_a_model_that_was_not_trained_cannot_disagree(control: Control) -> None:
    assert reviewed([(0.6, "approve")] * 30, control, {"autoreview_version": None}) == []


def test_a_verdict_that_was_taken_back_and_one_of_long_ago_do_not_count(control: Control) -> None:
    ids = [f"ask:{n}" for n in range(20)]
    first = [review("reject", n, key(name), review_id=f"a{n}") for n, name in enumerate(ids)]
    second = [review("approve", 60 + n, key(name), review_id=f"b{n}") for n, name in enumerate(ids)]
    logs.REVIEWS.append(control, first + second)
    lake = posts_of([chosen(name, autoreview_p=0.1) for name in ids])
    assert figures.reviewers_agree(lake, HERE, control, NOON + ONE).rows == []
    lake = posts_of([chosen(name, autoreview_p=0.9) for name in ids])
    assert told(figures.reviewers_agree(lake, HERE, control, NOON + ONE), "disagreement") == [1.0]
    assert figures.reviewers_agree(lake, HERE, control, NOON + 32 * ONE).rows == []


@pytest.mark.parametrize(("bad", "count", "wrong"), [(1, 10, False), (2, 200, True), (2, 201, False), (0, 5, False)])
def test_a_hundredth_of_unreadable_posts_is_told_but_one_alone_is_an_accident(
    bad: int, count: int, wrong: bool
) -> None:
    def thread(n: int) -> Row:
        lists: Row = {"participants": [], "final_tags": [], "image_urls": []}
        counts = dict.fromkeys(("n_posts", "n_words_final", "n_images"), 0)
        flags = dict.fromkeys(("has_ask", "has_video", "has_text", "truncated"), False)
        place = {"blog": BLOG.name, "day": DAY, "post_id": str(n), "final_author": "x", "form": "2023"}
        fate = {"status": "failed", "reason": "npf_parse", "observed": "no content"} if n < bad else {}
        return {**FATE, **lists, **counts, **flags, **place, **fate}

    finding = figures.threads_parse(lake_of((t.THREADS, map(thread, range(count)))), HERE)
    assert told(finding, "not_read", "observed") == ([(bad, "no content")] if wrong else [])


# What the clock tells


def test_inputs_of_live_blogs_that_nobody_answered_for_a_day_are_told() -> None:
    waits = {
        "state": "waiting",
        "status": "pending",
        "reason": "waiting",
        "tick_ts": None,
        "created_at": NOON - 25 * HOUR,
    }
    rows = [
        asked("ask:old", **waits),
        asked("ask:new", **{**waits, "created_at": NOON - 23 * HOUR}),
        asked("dash:x:1", **waits, kind="dash"),
        asked("ask:stuck", state="admitted", created_at=NOON - 30 * HOUR),
        asked("ask:done", created_at=NOON - 30 * HOUR),
    ]
    lake = lake_of((t.PERSONA_INBOX, rows))
    live = BLOG.model_copy(update={"mode": "live"})
    assert told(quality.inputs_answered(lake, settings_of(live), NOON), "input_id") == ["ask:stuck", "ask:old"]
    asleep = live.model_copy(update={"active": False})
    for blog in (BLOG, asleep):
        assert quality.inputs_answered(lake, settings_of(blog), NOON).rows == []


def test_more_posts_on_a_day_in_new_york_than_the_limit_are_told(control: Control) -> None:
    two = BLOG.model_copy(update={"tuning": {"post_limit": 2}})
    midnight = datetime(2026, 11, 20, 5, tzinfo=UTC)  # of New York
    moments = [midnight - HOUR, midnight - timedelta(seconds=1), midnight, midnight + HOUR]
    done = [
        report("done", n, key(f"ask:{n}"), at=at, remote_state="published", delivery_id=f"d{n}")
        for n, at in enumerate(moments)
    ]
    queued = report("done", 9, key("ask:9"), at=midnight + HOUR, remote_state="queue")
    again = done[2] | {"delivery_id": "again", "at": midnight + HOUR}
    logs.DELIVERIES.append(control, [*done, queued, again])
    assert quality.posts_limited(control, settings_of(two), NOON).rows == []
    third = report("done", 7, key("ask:7"), at=midnight + 2 * HOUR, remote_state="published")
    logs.DELIVERIES.append(control, [third])
    assert told(quality.posts_limited(control, settings_of(two), NOON), "day", "posts") == [(str(DAY), 3)]
    assert quality.posts_limited(control, settings_of(two), NOON + 2 * ONE).rows == []


def test_a_post_of_which_nothing_is_heard_for_fifteen_minutes_is_told(control: Control) -> None:
    events = [
        report("sending", 0, key("ask:lost")),
        report("sending", 0, key("ask:done"), delivery_id="d"),
        report("done", 1, key("ask:done")),
        # Both of one moment: the answer comes after the request.
        report("sending", 0, key("ask:fast"), delivery_id="z"),
        report("error", 0, key("ask:fast"), delivery_id="a"),
    ]
    logs.DELIVERIES.append(control, events)
    assert quality.sending_resolved(control, NOON + timedelta(minutes=15)).rows == []
    found = quality.sending_resolved(control, NOON + timedelta(minutes=16))
    assert told(found, "outbox_id") == [key("ask:lost")]


# Checks


def test_every_finding_is_a_check_with_its_description() -> None:
    checks = [check for one in build_checks(settings_of()) for check in one.check_specs]
    assert {check.name for check in checks} == set(DESCRIPTIONS)
    assert all(check.description == DESCRIPTIONS[check.name] and not check.blocking for check in checks)
    assert len(checks) == len(DESCRIPTIONS) + 1  # both models are held to theirs


def test_nothing_made_is_no_finding(control: Control) -> None:
    lake, settings = MemoryLake(), settings_of()
    findings = [
        *(
            judge(lake, HERE)
            for judge in (
                *(quality.inputs_are_taken, quality.decided_once, quality.posts_as_chosen, quality.kicks_once),
                *(quality.mood_complete, figures.draft_share, figures.threads_parse),
            )
        ),
        *(
            judge(lake, HERE, settings)
            for judge in (quality.mood_agrees, quality.texts_wanted, quality.kept_texts_good, figures.explore_share)
        ),
        *(figures.models_tell(table)(lake, Partitions.leading([BLOG.name])) for table in MODELS),
        quality.posts_fit_to_go(lake, HERE, settings, control),
        quality.inputs_answered(lake, settings, NOON),
        quality.posts_limited(control, settings, NOON),
        quality.sending_resolved(control, NOON),
        figures.reviewers_agree(lake, HERE, control, NOON),
    ]
    assert len(findings) == len(DESCRIPTIONS) + 1
    assert [finding.rows for finding in findings] == [[]] * len(findings)

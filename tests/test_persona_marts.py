"""The marts of persona, built by the real dbt over a small lake whose numbers can be counted by hand."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from marts_world import Built, built
from test_marts import rows as whole_rows

from dbt_project.project import PROJECT_DIR
from magpie.lake import Lake
from magpie.llm.purpose import Purpose
from magpie.llm.tables import LLM_CALLS
from magpie.persona import tables as t
from magpie.persona.labels import autoreview_labels
from magpie.persona.outbox import KINDS
from magpie.persona.outbox import outbox_id as key_of
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from tests.persona_outbox_rows import decision

__all__ = ["built"]

DAY, NEXT = date(2026, 10, 12), date(2026, 10, 13)
MIDNIGHT = datetime(2026, 10, 12, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
HOUR = timedelta(hours=1)
BLOG, OTHER = "lamp-post", "moth-house"
Row = dict[str, Any]


def point(hour: float, value: float, base: str = "meh", **more: Any) -> Row:
    at = MIDNIGHT + hour * HOUR
    numbers = {"base_value": 0.7, "offset": 0.0, "rate": 0.0, "value": value, "lo": 0.0128, "hi": 0.7031}
    return {"blog": BLOG, "day": at.date(), "ts": at, "base_name": base, **numbers, **more}


def unknown(hour: float, **more: Any) -> Row:
    return point(hour, 0.7, "unrestricted", lo=None, hi=None, **more)


# The blog's own midnight is at 07:00 UTC: Monday has two bases.
MOODS = [
    point(0, 0.70),
    point(6, 0.65),
    point(7, 0.50, "only_non_happy+meh", base_value=0.5),
    unknown(8),
    point(9, 0.50, "only_non_happy+meh", base_value=0.5),
    point(23, 0.65, "only_non_happy+meh", base_value=0.5),
    point(24, 0.80),
    *(unknown(hour, blog=OTHER) for hour in (0, 1)),
]


def kick(name: str, size: float, hour: float, **more: Any) -> Row:
    sizes = {"input_logit": 0.0, "determiner": 0.0, "centre": 0.4, "mult": 0.6667, "kick": size}
    return {"blog": BLOG, "day": DAY, "input_id": name, "kick_ts": MIDNIGHT + hour * HOUR, **sizes, **more}


KICKS = [
    kick("ask:1", 0.5, 1),
    kick("ask:2", -0.75, 2),
    kick("ask:3", 0.75, 3),
    # It came in on Monday and was admitted on Tuesday.
    kick("ask:5", 0.25, 30),
    # It came in on the Sunday before.
    kick("ask:6", -0.25, 5, day=DAY - timedelta(days=1)),
]


def draws(name: str, attempt: int, *states: str, **more: Any) -> list[Row]:
    place = {"blog": BLOG, "day": DAY, "input_id": name, "attempt": attempt}
    told = {"tags": [], "n_planned": 2, "prompt_sha256": "0", "rng_seed": "", "cost_usd": Decimal("0.001")}
    reasons = {"rejected": "repeats_prompt", "failed": "invalid_output", "pending": "cap_exhausted"}
    fates = [{"status": status, "reason": reasons.get(status)} for status in states]
    return [{**place, **told, **fate, "k": k, **more} for k, fate in enumerate(fates)]


CANDIDATES = [
    *draws("ask:1", 1, "ok", "rejected", "failed", "ok"),
    *draws("ask:1", 2, "ok", "ok"),
    *draws("ask:2", 1, "ok", "pending"),
    *draws("orig:1", 1, "ok", "ok", cost_usd=Decimal("0.000000001")),
    *draws("orig:2", 1, "rejected"),
    *draws("ask:9", 1, "ok", blog=OTHER),
    # Written, and the run ended before it was decided.
    *draws("ask:3", 1, "ok"),
]
PENDING = {"status": "pending", "reason": "cap_exhausted", "chosen_sha256": None, "n_candidates": 0, "n_retained": 0}
FAILED = {**PENDING, "status": "failed", "reason": "no_candidate"}
CHOSEN = {"blog": BLOG, "day": DAY, "chosen_k": 0, "chosen_sha256": "c", "explore": False, "tick_ts": NOON}
YIELDED = [
    decision("ask:1", 1, "rejected", **{**CHOSEN, "n_candidates": 2, "n_retained": 1, "explore": True}),
    decision("ask:1", 2, "publish", **{**CHOSEN, "n_candidates": 2, "n_retained": 2}),
    decision("ask:2", 1, None, **{**CHOSEN, **PENDING}),
    # A command is answered without a text.
    decision("ask:4", 1, "publish", **{**CHOSEN, "chosen_sha256": None, "n_candidates": 0, "n_retained": 0}),
    decision("orig:1", 1, "queue", **{**CHOSEN, "chosen_k": None, "n_candidates": 5, "n_retained": 3}),
    decision("orig:2", 1, None, **{**CHOSEN, **FAILED}),
    decision("ask:9", 1, "draft", **{**CHOSEN, "blog": OTHER, "n_candidates": 1, "n_retained": 1}),
]

TRAINED = {"trace": json.dumps({"autoreview_version": "v1", "pool": []})}
# Name of the input, how it was decided, what humans said in order, where the post is now.
Case = tuple[str, Row, tuple[str, ...], str]
REVIEWED: list[Case] = [
    ("fine", {"autoreview_p": 0.4}, ("approve",), "published"),
    ("edited", {"autoreview_p": 0.5}, ("edit", "approve"), "published"),
    ("missed", {"autoreview_p": 0.36}, ("reject",), "rejected"),
    ("seen", {"autoreview_p": 0.6}, ("redo",), "redo"),
    ("changed", {"autoreview_p": 0.6}, ("approve", "hold", "reject"), "rejected"),
    ("elsewhere", {"autoreview_p": 0.4}, (), "published"),
    ("deleted", {"autoreview_p": 0.4}, (), "deleted"),
    ("taken back", {"autoreview_p": 0.4}, ("approve", "hold"), "held"),
    ("waiting", {"autoreview_p": 0.4}, (), "draft"),
    ("unscored", {"autoreview_p": None, "route_reason": "not_scored"}, ("approve",), "approved"),
    ("untrained", {"autoreview_p": 0.5, "route_reason": "not_trained", "trace": "{}"}, ("reject",), "rejected"),
    ("caught", {"autoreview_p": 0.1, "route": "publish", "route_reason": "clean"}, ("hold", "reject"), "rejected"),
    ("unread", {"autoreview_p": 0.1, "route": "queue", "route_reason": "clean"}, (), "published"),
    ("by rule", {"autoreview_p": 0.9, "route": "rejected", "route_reason": "ml_rejected"}, (), "rejected"),
]
HEARD, FOLDED = "heard-of", "folded"
# Whatever may be said of a post in two steps, wherever it is; each has a reason, and so a row of the mart, of its own.
SAID = [steps for length in range(3) for steps in product(t.REVIEW_ACTIONS, repeat=length)]
EVERY: list[Case] = [
    (f"{n}", {"route": route, "route_reason": f"{n}", "autoreview_p": 0.4}, said, state)
    for n, (route, state, said) in enumerate(product(("draft", "queue"), t.OUTBOX_STATES, SAID))
]


def sent(row: Row, state: str, **more: Any) -> Row:
    place = {name: row[name] for name in ("status", "blog", "day", "input_id", "attempt", "tags")}
    known = {"outbox_id": key_of(row["blog"], row["input_id"], row["attempt"]), "kind": KINDS[row["kind"]]}
    arrived = NOON + HOUR if state == "published" else None
    return {**place, **known, "state": state, "edited": False, "delivered_at": arrived, **more}


def reviewed_rows(blog: str, cases: Iterable[Case]) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of decisions, of outbox and of persona_reviews."""
    decisions, posts, reviews = [], [], []
    for number, (name, told, said, state) in enumerate(cases):
        row = decision(f"ask:{name}", 1, **{**CHOSEN, **TRAINED, "blog": blog, "route": "draft", **told})
        decisions.append(row)
        posts.append(sent(row, state, edited="edit" in said))
        for step, action in enumerate(said):
            place = {"review_id": f"{blog}{number}.{step}", "blog": blog, "outbox_id": posts[-1]["outbox_id"]}
            reviews.append({**place, "action": action, "tags": [], "actor": "bea", "at": NOON + step * HOUR})
    # A human had it written anew, which a later decision shows.
    more = {**CHOSEN, **TRAINED, "blog": blog, "autoreview_p": 0.7, "route_reason": "ml_flagged"}
    anew = [decision("ask:anew", attempt, "draft", **more) for attempt in (1, 2)]
    return [*decisions, *anew], [*posts, sent(anew[0], "redo"), sent(anew[1], "draft")], reviews


WHOLE, PART = reviewed_rows(FOLDED, EVERY), reviewed_rows(HEARD, REVIEWED)


def page(name: str, at: datetime) -> Row:
    return {"status": "ok", "source_file": name, "modified_ns": int(at.timestamp()) * 10**9} | dict.fromkeys(
        ("bytes", "items", "bad_items"), 1
    )


SOON, LATE = NOON + HOUR, NOON + timedelta(days=400)
PAGES = [page("soon.json", SOON), page("late.json", LATE), page("week.json", NOON + timedelta(days=7))]


def post(name: str, notes: int, source: str = "late.json", **more: Any) -> Row:
    place = {"status": "ok", "blog": BLOG, "day": DAY, "post_id": name, "author_blog": BLOG, "published_at": NOON}
    told = {"role": "own", "post_state": "published", "tags": [], "note_count": notes, "source_file": source}
    return {**place, **told, **more}


POSTS = [
    *(post(f"o{notes}", notes) for notes in (0, 1, 2, 97)),
    post("asked", 5, asking_blog="ada"),
    post("thread", 7),
    post("reblogged", 3, parent_post_id="77", asking_blog="ada"),
    post("early", 4, "soon.json"),
    post("a week", 4, "week.json"),
    post("fast clock", 6, "soon.json", published_at=SOON + timedelta(minutes=1)),
    post("lost page", 8, "gone.json"),
    post("r1", 11),
    # Out of the queue, under another id.
    post("r2", 12, genesis_id="q2"),
    # Moved to the next day when it was answered; the newest page has the last word.
    post("moved", 1, "soon.json"),
    post("moved", 9, day=NEXT, asking_blog="ada"),
    post("draft", 1000, post_state="draft"),
    post("of another", 1000, role="reblog"),
    post("deleted", 1000, status="rejected", reason="deleted"),
    post("hidden later", 1000, "soon.json"),
    post("hidden later", 1000, day=NEXT, post_state="private"),
]
THREADS = [{"status": "ok", "blog": BLOG, "day": DAY, "post_id": "thread", "has_ask": True, "form": "2023"}]
OUT = [
    sent(decision("reply:ada:5:1", 1, "publish", blog=BLOG, day=DAY), "published", remote_id="r1"),
    sent(decision("orig:7", 1, "queue", blog=BLOG, day=DAY), "published", remote_id="q2"),
]


def call(number: int, blog: str | None, function: str, **given: Any) -> Row:
    scopes = (f"blog:{blog}",) if blog else ()
    base = {
        "day": DAY,
        "call_id": f"persona-{number}",
        "kind": "call",
        "state": "settled",
        "verdict": "accepted",
        "request_key": f"p{number}",
        "attempt_no": 1,
        "reask_no": 0,
        "function": function,
        "product": "persona",
        "scope_names": Purpose("persona", function, scopes=scopes).all_scopes("openai", "small", free_tier=False),
        "provider": "openai",
        "model_asked": "small",
        **dict.fromkeys(("est_usd", "cost_usd"), Decimal("0.01")),
        "saved_usd": Decimal(0),
        "over_estimate": False,
        "images": 0,
        "credits": 0,
        "tokens_in": 100,
        "tokens_out": 20,
        "latency_ms": 1000,
        "price_version": "p",
        "created_at": NOON,
    }
    return base | given


HIT = {"kind": "hit", "latency_ms": None, "cost_usd": Decimal(0), "saved_usd": Decimal("0.01")}
HIT |= {"tokens_in": None, "tokens_out": None}
CALLS = [
    call(1, BLOG, "persona_write"),
    call(2, BLOG, "persona_write", verdict="invalid", error_class="invalid_output"),
    call(3, BLOG, "persona_write", **HIT),
    call(4, BLOG, "image_read", cost_usd=Decimal("0.000000001")),
    call(5, OTHER, "persona_write"),
    call(6, None, "persona_write"),
]


def write(lake: Lake, table: Table, rows: Iterable[Row]) -> None:
    made = whole_rows(table, *rows)
    if "blog" in table.partition_columns:
        parts = Partitions.of(made.select("blog", "day").unique().rows())
    else:
        parts = Partitions.days(made["day"]) if table.dimensions else Partitions.whole()
    lake.write(table, made, parts)


def fill(settings: Settings) -> None:
    lake = Lake(settings.lake_root)
    decisions, posts, reviews = ([*one, *other] for one, other in zip(PART, WHOLE, strict=True))
    write(lake, t.MOOD, MOODS)
    write(lake, t.MOOD_INPUTS, KICKS)
    write(lake, t.CANDIDATES, CANDIDATES)
    write(lake, t.DECISIONS, [*YIELDED, *decisions])
    write(lake, t.OUTBOX, [*posts, *OUT])
    write(lake, t.PERSONA_REVIEWS, reviews)
    write(lake, t.TUMBLR_FILES, PAGES)
    write(lake, t.TUMBLR_POSTS, POSTS)
    write(lake, t.THREADS, THREADS)
    write(lake, LLM_CALLS, CALLS)


def one(built: Built, mart: str, where: str) -> Row:
    (row,) = built.sql(f"FROM marts.{mart} WHERE {where}").to_dicts()
    return row


def test_a_day_of_mood_says_where_it_began_how_far_it_went_and_what_moved_it(built: Built) -> None:
    row = one(built, "mood_history", f"blog = '{BLOG}' AND day = DATE '{DAY}'")
    assert row["bases"] == ["meh", "only_non_happy+meh"], "the blog's own midnight is within the day"
    assert [row["mean_base"], row["mean_value"]] == pytest.approx([0.58, 0.6])
    assert (row["first_value"], row["last_value"]) == (0.7, 0.65)
    assert (row["lowest_value"], row["lowest_at"]) == (0.5, MIDNIGHT + 7 * HOUR), "of equal ones the first"
    assert (row["highest_value"], row["highest_at"]) == (0.7, MIDNIGHT), "where no mood is known, none is the highest"
    assert (row["points"], row["points_unknown"]) == (6, 1)


def test_a_kick_counts_on_the_day_it_moved_the_mood_not_on_that_of_its_input(built: Built) -> None:
    columns = "day, kicks, kicked_up, kicked_down, strongest_input_id, strongest_kick"
    found = built.sql(f"SELECT {columns} FROM marts.mood_history WHERE blog = '{BLOG}' ORDER BY day").rows()
    assert found == [(DAY, 4, 1.25, -1.0, "ask:2", -0.75), (NEXT, 1, 0.25, 0.0, "ask:5", 0.25)]


def test_a_day_whose_mood_cannot_be_told_is_listed_without_figures(built: Built) -> None:
    row = one(built, "mood_history", f"blog = '{OTHER}'")
    assert (row["points"], row["points_unknown"], row["bases"], row["kicks"]) == (2, 2, [], 0)
    assert {row[name] for name in ("mean_value", "first_value", "lowest_at", "highest_value", "strongest_kick")} == {
        None
    }


def test_the_yield_counts_texts_from_draw_to_choice(built: Built) -> None:
    row = one(built, "candidate_yield", f"blog = '{BLOG}' AND kind = 'ask'")
    assert (row["inputs"], row["attempts"], row["attempts_waiting"]) == (3, 4, 1)
    assert (row["planned"], row["texts"], row["texts_waiting"]) == (6, 7, 1), "what is not decided is not counted"
    assert (row["regenerated"], row["regenerated_rate"]) == (2, 2 / 7), "an answer without a text is one of them"
    assert (row["pool"], row["retained"], row["retained_rate"]) == (4, 3, 0.75)
    assert (row["chosen"], row["explored"], row["chosen_from_kept"]) == (2, 1, 0), "a command chooses nothing"
    assert (row["sent_out"], row["sent_to_people"], row["turned_down"]) == (1, 0, 1)
    assert row["cost_usd"] == Decimal("0.008")


def test_originals_choose_from_kept_texts_too_and_no_nano_dollar_of_theirs_is_lost(built: Built) -> None:
    row = one(built, "candidate_yield", f"blog = '{BLOG}' AND kind = 'original'")
    assert (row["texts"], row["pool"], row["retained"], row["chosen_from_kept"]) == (3, 5, 3, 1)
    assert row["cost_usd"] == Decimal("0.001000002")


def test_humans_are_held_against_what_a_trained_model_estimated(built: Built) -> None:
    row = one(built, "moderation_agreement", f"blog = '{HEARD}' AND route_reason = 'ml_flagged'")
    assert (row["route"], row["autoreview_version"], row["reviews"]) == ("draft", "v1", 8)
    assert (row["let_through"], row["let_through_edited"], row["turned_down"]) == (3, 1, 5)
    assert (row["both_let_through"], row["both_turned_down"], row["false_alarms"], row["missed"]) == (2, 3, 1, 2)
    assert (row["agreement"], row["mean_estimate"]) == (0.625, pytest.approx(0.495))


def test_a_text_that_nobody_estimated_or_only_an_untrained_model_agrees_with_nobody(built: Built) -> None:
    columns = "route_reason, autoreview_version, reviews, turned_down, estimated, agreement, mean_estimate"
    query = f"SELECT {columns} FROM marts.moderation_agreement WHERE blog = '{HEARD}' AND route_reason LIKE 'not%'"
    assert set(built.sql(query).rows()) == {
        ("not_scored", "v1", 1, 0, 0, None, None),
        ("not_trained", "(none)", 1, 1, 0, None, None),
    }


def test_a_post_that_was_caught_on_its_way_out_counts_and_one_that_nobody_read_does_not(built: Built) -> None:
    query = f"SELECT route, reviews, missed FROM marts.moderation_agreement WHERE blog = '{HEARD}' AND route <> 'draft'"
    assert built.sql(query).rows() == [("publish", 1, 1)]


def test_the_mart_takes_for_verdicts_what_the_model_learns_from(built: Built) -> None:
    """Every sequence of up to two decisions on a post in every state."""
    decisions, posts, reviews = WHOLE
    learnt = autoreview_labels(
        whole_rows(t.DECISIONS, *decisions),
        whole_rows(t.OUTBOX, *posts),
        whole_rows(t.PERSONA_REVIEWS, *reviews),
        LATE,
        {row["input_id"]: "" for row in decisions},
        lambda prompt, body, tags: body,
    )
    labels = {group.removeprefix("ask:"): label for group, label in learnt.select("group", "label").iter_rows()}
    labels["ml_flagged"] = labels.pop("anew")
    query = f"SELECT route_reason, turned_down = 1, reviews FROM marts.moderation_agreement WHERE blog = '{FOLDED}'"
    found = built.sql(query).rows()
    assert {reason: turned_down for reason, turned_down, _ in found} == labels
    assert {reviews for *_, reviews in found} == {1}
    assert set(labels.values()) == {True, False}


def test_notes_are_told_by_kind_and_by_age_when_they_were_counted(built: Built) -> None:
    columns = "kind, age, posts, notes, most_notes, without_notes"
    found = built.sql(f"SELECT {columns} FROM marts.post_engagement WHERE NOT from_outbox").rows()
    assert found == [
        # The one that was moved counts once, and as the newest page has it.
        ("answer", "365 d or more", 3, 21, 9, 0),
        ("original", "0-1 d", 2, 10, 6, 0),
        ("original", "7-30 d", 1, 4, 4, 0),
        ("original", "365 d or more", 4, 100, 97, 1),
        ("original", "unknown", 1, 8, 8, 0),
        ("reblog", "365 d or more", 1, 3, 3, 0),
    ]


def test_one_post_with_many_notes_does_not_move_the_median(built: Built) -> None:
    row = one(built, "post_engagement", "kind = 'original' AND NOT from_outbox AND age = '365 d or more'")
    assert (row["mean_notes"], row["median_notes"], row["p90_notes"]) == (25, 1.5, pytest.approx(68.5))


def test_posts_of_the_bot_are_known_by_the_outbox_also_when_the_queue_renamed_them(built: Built) -> None:
    found = built.sql("SELECT kind, posts, notes FROM marts.post_engagement WHERE from_outbox ORDER BY kind").rows()
    assert found == [("original", 1, 12), ("reply_post", 1, 11)]


def test_spending_is_of_the_ledger_and_belongs_to_one_blog(built: Built) -> None:
    cent = Decimal("0.01")
    query = f"SELECT * EXCLUDE day FROM marts.spend_by_blog WHERE day = DATE '{DAY}' ORDER BY blog, function"
    found = built.sql(query).rows()
    assert found == [
        ("(none)", "persona_write", 1, 0, 120, cent, Decimal(0), 0),
        (BLOG, "image_read", 1, 0, 120, Decimal("0.000000001"), Decimal(0), 0),
        (BLOG, "persona_write", 2, 1, 240, 2 * cent, cent, 1),
        (OTHER, "persona_write", 1, 0, 120, cent, Decimal(0), 0),
    ]


@pytest.mark.parametrize(
    ("model", "column", "words"),
    [
        ("candidate_yield", "kind", t.INPUT_KINDS),
        ("post_engagement", "kind", t.OUTBOX_KINDS),
    ],
)
def test_the_marts_accept_the_words_that_the_tables_know(model: str, column: str, words: tuple[str, ...]) -> None:
    """A word that is new in a table must not stop the warehouse from being built."""
    models = yaml.safe_load(Path(PROJECT_DIR, "models", "persona.yml").read_text("utf-8"))["models"]
    columns = next(held["columns"] for held in models if held["name"] == model)
    tests = next(held["data_tests"] for held in columns if held["name"] == column)
    assert tuple(tests[0]["accepted_values"]["arguments"]["values"]) == words

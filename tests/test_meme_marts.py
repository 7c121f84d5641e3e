"""The marts of memes, built by the real dbt over a small lake whose numbers can be counted by hand."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from marts_world import Built, built
from test_meme_quality import Row, a_meme, a_post, a_state, an_event, rows_of

from dbt_project.project import PROJECT_DIR
from magpie.lake import Lake
from magpie.llm.purpose import FREE_TIER, Purpose, share
from magpie.llm.tables import LLM_CALLS, SPEND_CAPS
from magpie.memes import tables as t
from magpie.memes.describe import MEME_DESCRIBE
from magpie.memes.describer import PRODUCT
from magpie.settings import Settings
from magpie.tables import Partitions, Table

__all__ = ["built"]

DAY = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOT_READ = {"status": "failed", "reason": "parse_error"}
CAROUSEL = {"status": "rejected", "reason": "carousel"}
SETTLING = {"status": "pending", "reason": "views_settling"}
VK = {"platform": "vk", "source_id": "vk:slow", "meme_id": "vk:slow:1", "day": DAY - timedelta(days=1)}
VK |= {"published_at": MORNING - timedelta(days=1)}


def write(lake: Lake, table: Table, rows: Iterable[Row]) -> None:
    frame = rows_of(table, rows)
    if "platform" in table.partition_columns:
        parts = Partitions.of(frame.select("platform", "day").rows())
    else:
        parts = Partitions.days(frame["day"]) if table.dimensions else Partitions.whole()
    lake.write(table, frame, parts)


def meme(number: int) -> str:
    return f"telegram:daily:{number}"


def fill_catalogue(lake: Lake) -> None:
    """Posts 1 to 9 of one day, each with another end, one of VK, and one of a source that nobody lists any more."""
    lost = {"source_id": "tg:lost", "meme_id": "telegram:lost:1"}
    posts = [a_post(1, **NOT_READ), *(a_post(number) for number in range(2, 10)), a_post(1, **VK), a_post(11, **lost)]
    write(lake, t.MEME_POSTS, posts)
    kept = [a_meme(number, ad_flag=number == 6) for number in (4, 5, 6, 7)]
    others = [a_meme(3, ad_flag=False, **CAROUSEL), a_meme(8, ad_flag=False, **SETTLING)]
    stale = a_meme(9, ad_flag=False, status="rejected", reason="repost")
    write(lake, t.MEMES, [*kept, *others, stale, a_meme(1, ad_flag=True, **VK), a_meme(11, ad_flag=False, **lost)])
    states = [
        a_state(5),
        a_state(6, "ad", state_reason="long_caption"),
        a_state(7, "duplicate", state_reason="sha256", canonical_id=meme(5)),
        a_state(8, "created", status="pending", state_reason="views_settling"),
        a_state(9),
        a_state(1, "published", canonical_id="vk:slow:1", **VK),
        a_state(11, canonical_id="telegram:lost:1", **lost),
    ]
    write(lake, t.MEME_STATUS, states)
    # Made in another run, when the post was of another day.
    before = {"day": DAY - timedelta(days=1), "published_at": MORNING - timedelta(days=1)}
    write(lake, t.MEME_STATUS, [a_state(5, "ad", **before), a_state(1, "published", canonical_id="vk:slow:1", **VK)])
    listed = {"url": None, "language": "en", "empty_streak": 0}
    sources = [
        {"source_id": "tg:daily", "platform": "telegram", "name": "daily", "state": "enabled"},
        {"source_id": "vk:slow", "platform": "vk", "name": "slow", "state": "snoozed", "snooze_reason": "stale_7d"},
        {"source_id": "ig:quiet", "platform": "instagram", "name": "quiet", "state": "in_moderation"},
    ]
    write(lake, t.MEME_SOURCES, [listed | source for source in sources])


def fill_ratings(lake: Lake) -> None:
    counts = {"nmemes": 9, "nmemes_sent": 3, "processed_7d": 4}
    rated = [
        {"nlikes": 1, "ndislikes": 0, "nsent_events": 2, "day": DAY, "as_of": MORNING},
        {"nlikes": 6, "ndislikes": 2, "nsent_events": 10, "day": DAY + timedelta(days=1)}
        | {"as_of": MORNING + timedelta(days=1)},
    ]
    write(lake, t.SOURCE_STATS, [{"source_id": "tg:daily", **counts, **row} for row in rated])
    zero = dict.fromkeys(("ndislikes", "nsent", "age_days", "invited", "invited_by_channel", "n_lr", "n_es"), 0)
    base = {**zero, "lr_smoothed": 0.0, "engagement": 0.0, "as_of": MORNING}
    stats = [
        {"meme_id": meme(5), "day": DAY, "nlikes": 1},
        {"meme_id": meme(5), "day": DAY + timedelta(days=1), "nlikes": 3, "ndislikes": 1, "lr_smoothed": 0.25},
        {"meme_id": meme(7), "day": DAY, "nlikes": 9},
        {"meme_id": "vk:slow:1", "day": DAY, "nlikes": 0},
        {"meme_id": "telegram:gone:1", "day": DAY, "nlikes": 9},
    ]
    write(lake, t.MEME_STATS, [base | row for row in stats])


class Told:
    """Events, numbered as they are told; minutes count from the morning of the day."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def say(self, kind: str, number: int, minute: float, user: str, **more: Any) -> None:
        at = MORNING + minute * MINUTE
        self.rows.append(an_event(len(self.rows), kind, number, at, user, **more))

    def send(self, number: int, minute: float, user: str, engine: str | None, kind: str | None = None) -> None:
        """From the person's first refill; with a reaction a minute later."""
        self.say("sent", number, minute, user, engine=engine, queue_id=f"{user}-{number}")
        if kind:
            self.say(kind, number, minute + 1, user)


# What engines thought of memes when the queues of ann, bob and cat were filled: the same for all.
SCORES = {
    "lr_smoothed": {1: 0.9, 2: 0.5, 3: 0.5, 5: 0.1},
    "es_ranked": {3: 0.2, 4: 0.7, 2: 0.1},
    "goat": {1: 0.3, 2: 0.4},
}


def fill_events(lake: Lake) -> None:
    """Ann and cat react five times, bob four times; dan is sent something a week later, and once more."""
    told = Told()
    told.send(1, 0, "ann", "lr_smoothed", "like")
    told.send(2, 10, "ann", "lr_smoothed", "dislike")
    told.send(3, 50, "ann", "es_ranked", "like")
    told.send(4, 60, "ann", "es_ranked", "dislike")
    told.send(5, 70, "ann", "lr_smoothed", "like")
    told.send(1, 0, "cat", "lr_smoothed", "like")
    for number in (2, 3, 4, 5):
        told.send(number, number, "cat", "lr_smoothed", "dislike")
    # The copy was liked before the original was not: one reaction, to the copy.
    told.send(7, 0, "bob", "es_ranked", "like")
    told.send(5, 2, "bob", "lr_smoothed", "dislike")
    # Passed over, and liked when it came again.
    told.send(2, 4, "bob", "lr_smoothed")
    told.send(2, 300, "bob", "goat", "like")
    told.send(1, 310, "bob", None, "dislike")
    # Before it was sent, and of a meme that was not.
    told.say("like", 3, 315, "bob")
    told.send(3, 316, "bob", "lr_smoothed", "dislike")
    told.say("like", 8, 320, "bob")
    told.say("sent", 99, 0, "bob", engine="lr_smoothed", status="rejected", reason="unknown_meme")
    week = timedelta(days=7) / MINUTE
    told.send(6, week - 24 * 60, "dan", "low_sent", "like")
    told.send(8, week, "dan", "low_sent")
    write(lake, t.MEME_REACTIONS, told.rows)
    people = ("ann", "bob", "cat")
    queued = {"day": DAY, "refill_no": 0, "queued_at": MORNING, "expires_at": MORNING + 60 * MINUTE}
    places = [
        {**queued, "queue_id": f"{user}-{number}", "user_id": user, "pos": number, "meme_id": meme(number)}
        | {"engine": "lr_smoothed"}
        for user in people
        for number in (1, 2, 3, 4, 5)
    ]
    write(lake, t.RECOMMENDATION_QUEUES, places)
    offered = [
        {"day": DAY, "refill_no": refill_no, "user_id": user, "engine": engine, "rank": rank, "language": "en"}
        # What was offered again later says nothing of why a meme was sent before.
        | {"meme_id": meme(number), "score": score - refill_no * 10 * number}
        for user in people
        for refill_no in (0, 1)
        for engine, scores in SCORES.items()
        for rank, (number, score) in enumerate(scores.items(), 1)
    ]
    write(lake, t.MEME_CANDIDATES, offered)


def a_call(
    number: int, model: str = "one:free", product: str = PRODUCT, function: str = MEME_DESCRIBE.name, **given: Any
) -> Row:
    base = {
        "day": DAY,
        "call_id": f"c{number}",
        "kind": "call",
        "state": "settled",
        "verdict": "accepted",
        "request_key": f"k{number}",
        "attempt_no": 1,
        "reask_no": 0,
        "function": function,
        "product": product,
        "scope_names": Purpose(product, function).all_scopes("openrouter", model, free_tier=True),
        "provider": "openrouter",
        "model_asked": model,
        "est_usd": Decimal(0),
        "cost_usd": Decimal(0),
        "saved_usd": Decimal(0),
        "over_estimate": False,
        "images": 1,
        "latency_ms": 1000,
        "credits": 0,
        "price_version": "free",
        "created_at": MORNING,
    }
    return base | given


def fill_calls(lake: Lake) -> None:
    """Model one: two answers that hold, a 429, a hit; model two: an answer that does not hold; and others' calls."""
    refused: Row = {"state": "voided", "verdict": None, "error_class": "cooling_down", "latency_ms": 200}
    unsent: Row = {"state": "voided", "verdict": None, "latency_ms": None}
    calls = [
        a_call(1),
        a_call(2, latency_ms=3000),
        a_call(3, **refused),
        a_call(4, kind="hit", latency_ms=None),
        a_call(5, "two:free", verdict="invalid", error_class="invalid_output"),
        *(a_call(number, "three:free", "persona", "reply") for number in (6, 7)),
        a_call(8, **unsent),
        a_call(9, day=DAY + timedelta(days=1)),
    ]
    write(lake, LLM_CALLS, calls)
    caps = [
        {"scope": FREE_TIER, "per": "D", "cap_calls": 8},
        {"scope": share(FREE_TIER, PRODUCT), "per": "D", "cap_calls": 7},
        {"scope": "all", "per": "D", "cap_usd": Decimal(1)},
    ]
    write(lake, SPEND_CAPS, [{"day": DAY, **cap} for cap in caps])


def fill(settings: Settings) -> None:
    lake = Lake(settings.lake_root)
    for part in (fill_catalogue, fill_ratings, fill_events, fill_calls):
        part(lake)


def test_each_post_ends_once_at_the_table_that_decides_with_its_reason(built: Built) -> None:
    columns = "stage, status, state, servable, reason, posts, reached"
    found = built.sql(f"SELECT {columns} FROM marts.funnel_daily WHERE day = DATE '{DAY}'").rows()
    assert set(found) == {
        ("meme_posts", "failed", None, False, "parse_error", 1, 10),
        ("memes", "rejected", None, False, "carousel", 1, 9),
        # Its state is older than the row that turns it down.
        ("memes", "rejected", None, False, "repost", 1, 9),
        # Curation has not looked at it, and nobody has folded the state of the other.
        ("memes", None, None, False, None, 1, 9),
        ("meme_status", None, None, False, None, 1, 6),
        ("meme_status", "ok", "ok", True, None, 2, 6),
        ("meme_status", "rejected", "ad", False, "long_caption", 1, 6),
        ("meme_status", "rejected", "duplicate", False, "sha256", 1, 6),
        ("meme_status", "pending", "created", False, "views_settling", 1, 6),
    }
    vk = built.sql("SELECT state, servable, posts, reached FROM marts.funnel_daily WHERE platform = 'vk'").rows()
    assert vk == [("published", False, 1, 1)]


def test_sources_are_listed_with_what_they_bring_also_those_that_bring_nothing_or_are_gone(built: Built) -> None:
    found = {row["source_id"]: row for row in built.sql("FROM marts.source_quality").to_dicts()}
    daily = found["tg:daily"]
    assert (daily["posts"], daily["kept"], daily["kept_rate"]) == (9, 4, pytest.approx(4 / 9))
    assert (daily["ads"], daily["ad_rate"], daily["copies"], daily["servable"]) == (1, 0.25, 1, 2)
    assert (daily["sends"], daily["likes"], daily["dislikes"], daily["like_rate"]) == (10, 6, 2, 0.75)
    assert daily["as_of"] == MORNING + timedelta(days=1)
    assert daily["last_post_at"] == MORNING + timedelta(seconds=9)
    quiet = found["ig:quiet"]
    assert (quiet["state"], quiet["posts"], quiet["kept_rate"], quiet["ad_rate"]) == ("in_moderation", 0, None, None)
    assert (quiet["like_rate"], quiet["as_of"]) == (None, None)
    assert (found["vk:slow"]["snooze_reason"], found["vk:slow"]["ad_rate"]) == ("stale_7d", 1.0)
    assert (found["tg:lost"]["state"], found["tg:lost"]["posts"], found["tg:lost"]["servable"]) == (None, 1, 1)


def engines(built: Built, day: date, *columns: str) -> dict[str, tuple[Any, ...]]:
    rows = built.sql(f"SELECT engine, {', '.join(columns)} FROM marts.engine_quality WHERE day = DATE '{day}'").rows()
    return {engine: tuple(rest) for engine, *rest in rows}


def test_a_reaction_counts_once_for_the_send_it_answers(built: Built) -> None:
    """Bob's dislike of an original whose copy he liked counts nowhere, nor does what he liked before it was sent."""
    found = engines(built, DAY, "sends", "reactions", "likes", "like_rate")
    assert found == {
        "lr_smoothed": (11, 8, 3, 0.375),
        "es_ranked": (3, 3, 2, pytest.approx(2 / 3)),
        "goat": (1, 1, 1, 1.0),
        "(none)": (1, 1, 0, 0.0),
    }


def test_a_person_goes_on_if_anything_is_sent_within_half_an_hour(built: Built) -> None:
    """Ann: after 40 minutes, and not at all, are no; bob came back after five hours."""
    found = engines(built, DAY, "sends_followed", "continuation_rate")
    assert found == {
        "lr_smoothed": (11, pytest.approx(6 / 11)),
        "es_ranked": (3, 1.0),
        "goat": (1, 1.0),
        "(none)": (1, 1.0),
    }


def test_pairs_are_ordered_by_the_scores_of_the_refill_a_meme_was_sent_from(built: Built) -> None:
    """lr_smoothed: ann 1.5 of 3, equal scores being half a pair, and cat 3 of 3; bob reacted too seldom."""
    found = engines(built, DAY, "paired_users", "pairs", "pairs_in_order", "pairwise_accuracy")
    assert found == {
        "lr_smoothed": (2, 6, 4.5, 0.75),
        "es_ranked": (1, 2, 1.0, 0.5),
        "goat": (2, 2, 0.0, 0.0),
        "(none)": (0, 0, 0.0, None),
    }


def test_a_week_ends_with_its_day_and_the_last_half_hour_is_left_open(built: Built) -> None:
    sixth, seventh = (DAY + timedelta(days=n) for n in (6, 7))
    within = engines(built, sixth, "sends", "pairs")
    assert within["lr_smoothed"] == (11, 6)
    assert within["low_sent"] == (1, 0)
    columns = ("sends", "reactions", "sends_followed", "continuation_rate", "pairwise_accuracy")
    assert engines(built, seventh, *columns) == {"low_sent": (2, 1, 1, 0.0, None)}
    assert set(built.sql("SELECT day FROM marts.engine_quality")["day"]) == {DAY, sixth, seventh}


def test_models_have_their_attempts_of_the_day_beside_what_is_left_of_its_quota(built: Built) -> None:
    """Of 8 free calls six were made, by memes four of 7: the tier has less room."""
    columns = "model, attempts, ok, failures, failures_by_class, hits, median_latency_ms, quota_left"
    found = built.sql(f"SELECT {columns} FROM marts.describe_throughput WHERE day = DATE '{DAY}' ORDER BY model").rows()
    assert found == [
        ("openrouter/one:free", 3, 2, 1, {"cooling_down": 1}, 1, 1000.0, 2),
        ("openrouter/two:free", 1, 0, 1, {"invalid_output": 1}, 0, 1000.0, 2),
    ]
    unbounded = built.sql(f"SELECT attempts, quota_left FROM marts.describe_throughput WHERE day > DATE '{DAY}'").rows()
    assert unbounded == [(1, None)]


def test_a_meme_has_its_latest_rating_and_what_became_a_copy_or_is_gone_has_none(built: Built) -> None:
    columns = "meme_id, state, servable, nlikes, ndislikes, like_rate, lr_smoothed"
    assert built.sql(f"SELECT {columns} FROM marts.meme_stats_latest").rows() == [
        (meme(5), "ok", True, 3, 1, 0.75, 0.25),
        ("vk:slow:1", "published", False, 0, 0, None, 0.0),
    ]


def test_the_marts_accept_the_words_that_the_tables_know() -> None:
    """A word that is new in a table must not stop the warehouse from being built."""
    models = yaml.safe_load(Path(PROJECT_DIR, "models", "memes.yml").read_text("utf-8"))["models"]
    accepted = {
        (model["name"], column["name"]): tuple(test["accepted_values"]["arguments"]["values"])
        for model in models
        for column in model["columns"]
        for test in column.get("data_tests", ())
        if "accepted_values" in test
    }
    assert accepted == {
        ("source_quality", "platform"): t.PLATFORMS,
        ("source_quality", "state"): t.SOURCE_STATES,
        ("funnel_daily", "platform"): t.PLATFORMS,
        ("funnel_daily", "stage"): (t.MEME_POSTS.name, t.MEMES.name, t.MEME_STATUS.name),
        ("funnel_daily", "state"): t.STATES,
        ("meme_stats_latest", "state"): t.STATES,
    }

"""The gates: where each turns, what it says of a missing value, and which of several decides."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from leads_world import DAY, NOON, a_campaign, a_post, one_day, some_settings

from magpie.leads import tables as t
from magpie.leads.gates import METADATA_GATES, SCORE_GATES, stage_of

TEXT = "we need a crm for our small agency"


def judged(
    gates: dict[str, Any] | None = None, table: Any = t.CAMPAIGN_POSTS, fullname: str = "t3_a", **post: Any
) -> dict[str, Any]:
    """The row of one post under a campaign's gates; `campaign_` settings go to the campaign."""
    campaign = {name.removeprefix("campaign_"): post.pop(name) for name in list(post) if name.startswith("campaign_")}
    words = campaign.pop("keywords", ["crm"])
    others = post.pop("others", [])
    world = one_day(
        [a_post(fullname, **{"text": TEXT, **post}), *others],
        some_settings(a_campaign(keywords=words, gates=gates or {}, **campaign)),
    )
    return world.row(table, fullname)


def entry(row: dict[str, Any], gate: str) -> dict[str, Any]:
    return next(item for item in row["gate_log"] if item["gate"] == gate)


def fate(row: dict[str, Any]) -> tuple[str, str | None]:
    return row["status"], row["reason"]


PASSES, ODD_MONTH = ("ok", None), 47_336_400  # 18 x 30.4375 days


@pytest.mark.parametrize(
    ("reason", "gates", "at_the_bound", "beyond"),
    [
        ("too_old", {}, {"age": ODD_MONTH}, {"age": ODD_MONTH + 1}),
        ("low_upvote_ratio", {}, {"upvote_ratio": 0.40}, {"upvote_ratio": 0.39}),
        ("nsfw", {}, {"over_18": False}, {"over_18": True}),
        ("small_subreddit", {}, {"sub_subscribers": 1000}, {"sub_subscribers": 999}),
        ("low_karma", {}, {"author_karma": 15}, {"author_karma": 14}),
        ("low_activity", {"min_sub_ratio": 5.0}, {"sub_hot_posts": 10_000}, {"sub_hot_posts": 10_001}),
        # one submission in seven days: 1000 x (1 / 7) / subscribers
        (
            "low_activity",
            {"min_posts_per_1k_subs_day": 0.125},
            {"sub_subscribers": 1142},
            {"sub_subscribers": 1143},
        ),
    ],
)
def test_a_value_at_the_threshold_passes_and_one_step_beyond_is_rejected(
    reason: str, gates: dict[str, Any], at_the_bound: dict[str, Any], beyond: dict[str, Any]
) -> None:
    assert fate(judged(gates, **at_the_bound)) == PASSES
    assert fate(judged(gates, **beyond)) == ("rejected", reason)


@pytest.mark.parametrize(
    ("gate", "post"),
    [
        ("2", {"age": None}),
        ("3", {"upvote_ratio": None}),
        ("4", {"over_18": None}),
        ("5", {"sub_subscribers": None}),
        ("6", {"sub_hot_posts": None}),
        ("6", {"sub_hot_posts": 0}),
        ("6r", {"sub_subscribers": None}),
        ("7", {"author_karma": None}),
    ],
)
def test_a_missing_value_skips_the_gate_and_a_policy_may_reject_it(gate: str, post: dict[str, Any]) -> None:
    on = {"min_sub_ratio": 1.0, "min_posts_per_1k_subs_day": 0.001}
    row = judged(on, **post)
    assert entry(row, gate)["outcome"] == "not_applicable"
    assert fate(row) == PASSES
    reason = next(found.reason for found in METADATA_GATES if found.number == gate)
    strict = judged({**on, "missing_policy": {reason: "reject"}}, **{"sub_hot_posts": 5, **post})
    assert entry(strict, gate)["outcome"] == "reject"
    assert fate(strict) == ("rejected", reason)


@pytest.mark.parametrize("reason", ["nsfw", "low_activity"])
def test_a_gate_that_is_off_rejects_not_even_a_missing_value(reason: str) -> None:
    off = {"skip_nsfw": False, "missing_policy": {reason: "reject"}}
    row = judged(off, over_18=None, sub_hot_posts=None, sub_subscribers=None)
    assert fate(row) == PASSES
    assert fate(judged({"skip_nsfw": False}, over_18=True)) == PASSES


def test_hidden_scores_skip_the_engagement_gate_unless_a_policy_rejects_them() -> None:
    gates = {"min_fused": 0.0}
    assert fate(judged(gates, t.RANKED_POSTS, score=None)) == PASSES
    strict = judged({**gates, "missing_policy": {"low_engagement": "reject"}}, t.RANKED_POSTS, score=None)
    assert fate(strict) == ("rejected", "low_engagement")


def test_a_snapshot_taken_seconds_after_creation_is_too_young_for_ratio_and_score() -> None:
    created = NOON.fromtimestamp(1606780814, NOON.tzinfo)
    shift = NOON.replace(year=2026) - created
    young = a_post("t3_a", text=TEXT, upvote_ratio=0.1, score=0, at=created + shift, age=1606780827 - 1606780814)
    world = one_day([young], some_settings(a_campaign(gates={"min_fused": 0.0})))
    assert world.row(t.REDDIT_POSTS, "t3_a")["observed_age_s"] == 13
    assert entry(world.row(t.CAMPAIGN_POSTS, "t3_a"), "3")["outcome"] == "not_applicable"
    assert entry(world.row(t.RANKED_POSTS, "t3_a"), "9")["outcome"] == "not_applicable"


@pytest.mark.parametrize(("age", "outcome"), [(3599, "not_applicable"), (3600, "reject"), (None, "reject")])
def test_a_snapshot_is_mature_after_an_hour_or_when_its_moment_is_unknown(age: int | None, outcome: str) -> None:
    assert entry(judged(upvote_ratio=0.1, age=age), "3")["outcome"] == outcome


def test_immaturity_wins_over_a_policy_for_missing_values() -> None:
    row = judged({"missing_policy": {"low_upvote_ratio": "reject"}}, upvote_ratio=None, age=13)
    assert entry(row, "3")["outcome"] == "not_applicable"


def test_comments_have_no_ratio_of_their_own() -> None:
    row = judged(fullname="t1_a", upvote_ratio=None)
    assert entry(row, "3")["outcome"] == "not_applicable"


@pytest.mark.parametrize(
    ("post", "campaign", "gate", "reason", "observed"),
    [
        ({"content_state": "removed"}, {}, "0a", "removed", "removed"),
        ({"content_state": "deleted"}, {}, "0a", "removed", "deleted"),
        ({"title": " ", "text": "", "matched_queries": ["crm"]}, {}, "0a", "removed", "empty"),
        ({"subreddit": "ForHire"}, {"subreddits_deny": ["forhire"]}, "0b", "excluded_subreddit", "ForHire"),
        ({"subreddit": "cats"}, {"subreddits_allow": ["dogs"]}, "0b", "excluded_subreddit", "cats"),
        ({"author": "PROMO_Bot"}, {"exclude_authors": ["promo_bot"]}, "0c", "excluded_author", "PROMO_Bot"),
        (
            {"text": "hiring for crm"},
            {"keywords": ["crm", {"keyword": "hiring", "kind": "exclude"}]},
            "0d",
            "excluded_term",
            "hiring",
        ),
    ],
)
def test_what_the_campaign_excludes_is_rejected_with_what_was_seen(
    post: dict[str, Any], campaign: dict[str, Any], gate: str, reason: str, observed: str
) -> None:
    row = judged(**post, **{f"campaign_{name}": value for name, value in campaign.items()})
    assert (row["gate"], row["reason"], row["observed"]) == (gate, reason, observed)


def test_an_allow_list_lets_its_own_in_and_an_unknown_author_is_nobody() -> None:
    assert fate(judged(subreddit="Dogs", campaign_subreddits_allow=["dogs"])) == PASSES
    assert fate(judged(author=None, campaign_exclude_authors=["somebody"])) == PASSES


def test_an_excluded_term_needs_a_strict_hit() -> None:
    words = ["crm", {"keyword": "for hire", "kind": "exclude"}, {"keyword": "promo", "kind": "exclude"}]
    assert fate(judged(text="hire someone for the crm, promos", campaign_keywords=words)) == PASSES
    assert fate(judged(text="crm expert for hire", campaign_keywords=words)) == ("rejected", "excluded_term")


def test_the_first_rejecting_gate_decides_and_the_others_are_logged_all_the_same() -> None:
    row = judged(score=0, upvote_ratio=0.35, sub_subscribers=500, author_karma=3, age=2 * 86_400)
    assert (row["reason"], row["observed"], row["threshold"]) == ("low_upvote_ratio", "0.35", "0.4")
    outcomes = {item["gate"]: item["outcome"] for item in row["gate_log"]}
    assert list(outcomes) == [gate.number for gate in METADATA_GATES]
    assert {gate for gate, outcome in outcomes.items() if outcome == "reject"} == {"3", "5", "7"}
    world = one_day([a_post("t3_a", text=TEXT, score=0, upvote_ratio=0.35, sub_subscribers=500, author_karma=3)])
    assert world.rows(t.RANKED_POSTS).is_empty(), "gate 9 is not reached"


def test_the_order_of_the_gates_is_that_of_the_specification() -> None:
    worst: dict[str, Any] = {
        "content_state": "removed",
        "subreddit": "forhire",
        "author": "promo",
        "text": "hiring for crm, hiring for crm, hiring for crm",
        "age": ODD_MONTH + 1,
        "upvote_ratio": 0.0,
        "over_18": True,
        "sub_subscribers": 1,
        "sub_hot_posts": 1,
        "author_karma": 1,
    }
    campaign: dict[str, Any] = {
        "campaign_subreddits_deny": ["forhire"],
        "campaign_exclude_authors": ["promo"],
        "campaign_keywords": ["crm", {"keyword": "hiring", "kind": "exclude"}],
    }
    gates = {"min_sub_ratio": 5.0}
    heal = {
        "content_state": "ok",
        "subreddit": "x",
        "author": "x",
        "text": TEXT,
        "age": 86_400,
        "upvote_ratio": 1.0,
        "over_18": False,
        "sub_subscribers": 1000,
        "sub_hot_posts": 10,
        "author_karma": 100,
    }
    seen = []
    for name, value in [("", None), *heal.items()]:
        worst |= {name: value} if name else {}
        if name == "sub_subscribers":
            worst["sub_hot_posts"] = 1000
        seen.append(judged(gates, **campaign, **worst)["reason"])
    assert seen == [
        "removed",
        "excluded_subreddit",
        "excluded_author",
        "excluded_term",
        "too_old",
        "low_upvote_ratio",
        "nsfw",
        "small_subreddit",
        "low_activity",
        "low_karma",
        None,
    ]


@pytest.mark.parametrize(
    ("reason", "gates", "stage"),
    [
        ("low_cosine", {"cosine_threshold": 1.0}, "cosine"),
        ("low_engagement", {"min_engagement_score": 6}, "heuristic"),
        ("no_keyword", {"min_keyword_hits": 2, "keyword_alt_cosine": 1.0}, "heuristic"),
        ("low_fused", {"min_fused": 1.0}, "heuristic"),
    ],
)
def test_each_score_gate_rejects_in_its_stage(reason: str, gates: dict[str, Any], stage: str) -> None:
    row = judged({"min_fused": 0.0, **gates}, t.RANKED_POSTS)
    assert fate(row) == ("rejected", reason)
    assert stage_of(row["gate"]) == stage
    assert [item["gate"] for item in row["gate_log"]] == [gate.number for gate in SCORE_GATES]


def test_scores_at_their_thresholds_pass() -> None:
    row = judged({"min_fused": 0.0}, t.RANKED_POSTS)
    exact = {
        "min_fused": row["fused"],
        "cosine_threshold": row["cosine"],
        "min_engagement_score": row["score"],
        "min_keyword_hits": row["keyword_hits"],
        "keyword_alt_cosine": 1.0,
    }
    assert fate(judged(exact, t.RANKED_POSTS)) == PASSES


def test_a_post_without_keyword_hits_may_pass_by_its_meaning() -> None:
    text = "marketing by email"
    words = ["email marketing"]
    found = judged({"min_fused": 0.0}, t.RANKED_POSTS, title="", text=text, campaign_keywords=words)
    assert (found["keyword_hits"], fate(found)) == (0, PASSES)
    at = {"min_fused": 0.0, "keyword_alt_cosine": found["cosine"]}
    assert fate(judged(at, t.RANKED_POSTS, title="", text=text, campaign_keywords=words)) == PASSES
    above = {"min_fused": 0.0, "keyword_alt_cosine": found["cosine"] + 1e-9}
    row = judged(above, t.RANKED_POSTS, title="", text=text, campaign_keywords=words)
    assert fate(row) == ("rejected", "no_keyword")


def test_activity_is_the_mean_of_the_last_seven_days_of_submissions() -> None:
    others = [
        a_post(f"t3_x{n}", "hello", at=NOON - timedelta(days=n), sub_subscribers=None) for n in (1, 2, 6, 7, 8)
    ] + [a_post("t1_x", text="a comment is no submission")]
    row = judged({"min_posts_per_1k_subs_day": 0.001}, sub_subscribers=2000, others=others)
    assert entry(row, "6r")["observed"] == pytest.approx(1000 * (4 / 7) / 2000)
    assert row["day"] == DAY


def test_observed_and_threshold_read_as_people_write_numbers() -> None:
    row = judged(sub_subscribers=500)
    assert (row["observed"], row["threshold"]) == ("500", "1000")
    assert judged(age=ODD_MONTH + 1)["threshold"] == "547.875"


def test_an_accepted_row_has_no_reason_and_its_whole_log() -> None:
    row = judged()
    assert (row["gate"], row["reason"], row["observed"], row["threshold"]) == (None, None, None, None)
    assert pl.Series([item["outcome"] for item in row["gate_log"]]).is_in(["pass", "not_applicable"]).all()

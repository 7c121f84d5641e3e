"""lead_extractions and leads: what is asked, in which order, and that no candidate is lost on the way."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from leads_world import (
    DAY,
    NOON,
    OPEN_GATES,
    World,
    a_campaign,
    a_post,
    a_world,
    days_between,
    lead,
    one_day,
    results,
    some_settings,
    world_posts,
)

from magpie.control import Control
from magpie.lake import Lake, SchemaMismatch, conform
from magpie.leads import quality
from magpie.leads import tables as t
from magpie.leads.extract_lead import CheckedLead, offline
from magpie.leads.extraction import (
    INPUTS,
    PARENT_CHARS,
    RESULTS,
    TEXT_CHARS,
    extraction_inputs,
    lead_extractions,
    leads,
)
from magpie.summary import top_leads
from magpie.tables import Partitions

HERE = Partitions({"crm": frozenset([DAY])})
OPEN = some_settings(
    a_campaign(gates=OPEN_GATES, keywords=["crm", "invoic*", {"keyword": "hiring", "kind": "exclude"}])
)
MIDNIGHT = datetime(2026, 3, 21, tzinfo=UTC)
NOBODY = pl.DataFrame(schema={"fullname": pl.String, "kind": pl.String})


def asked(world: World, campaign: int = 0) -> pl.DataFrame:
    matched, ranked = world.rows(t.CAMPAIGN_POSTS), world.rows(t.RANKED_POSTS)
    return extraction_inputs(ranked, world.lake.read(t.REDDIT_POSTS), matched, world.settings.campaigns[campaign])


def test_candidates_are_asked_about_in_rank_order_with_what_the_prompt_reads() -> None:
    posts = [
        a_post("t3_low", "Hello", text="a crm among many other words that say nothing at all about it"),
        a_post("t3_best", "CRM crm", text="crm"),
        a_post("t3_nsfw", over_18=True),
    ]
    world = one_day(posts, OPEN)
    inputs = asked(world)
    assert inputs.schema == INPUTS
    ranks = dict(world.rows(t.RANKED_POSTS).select("fullname", "rank").iter_rows())
    assert [ranks[name] for name in inputs["row_ref"]] == [1, 2], "rejected posts are not asked about"
    first = inputs.row(0, named=True)
    assert first == {
        "row_ref": "t3_best",
        "partition": f"crm|{DAY}",
        "kind": "submission",
        "subreddit": "smallbusiness",
        "eff_title": "CRM crm",
        "text": "crm",
        "parent_excerpt": None,
        "product_description": "A CRM for small agencies",
        "keywords": ["crm", "invoic*"],
        "draft_reply": False,
    }


def test_over_several_days_the_best_of_all_come_first_so_that_a_cap_falls_on_the_weakest() -> None:
    yesterday = NOON - timedelta(days=1)
    posts = [a_post("t3_a", "CRM crm", text="crm", at=yesterday), a_post("t3_b", "crm among other words")]
    posts.append(a_post("t3_c", "CRM and crm", text="crm", at=yesterday))
    world = a_world(posts, OPEN).make_all(days_between(DAY - timedelta(days=1), DAY))
    fused = dict(world.rows(t.RANKED_POSTS).select("fullname", "fused").iter_rows())
    order = asked(world)["row_ref"].to_list()
    assert order == sorted(order, key=lambda name: -fused[name])
    assert order[2] == "t3_b", "the best of its day, behind both of the day before"


def test_long_texts_are_cut_by_characters() -> None:
    text = "crm 日本" * 2000
    posts = [a_post("t3_a", text=text), a_post("t1_b", text="crm", link_fullname="t3_a")]
    rows = {row["row_ref"]: row for row in asked(one_day(posts, OPEN)).iter_rows(named=True)}
    assert rows["t3_a"]["text"] == text[:TEXT_CHARS]
    assert rows["t1_b"]["parent_excerpt"] == text[:PARENT_CHARS]


def test_a_comment_comes_with_its_submission_where_that_lies_in_the_window_of_its_own_day() -> None:
    near, far = NOON - timedelta(days=29), NOON - timedelta(days=30)
    posts = [
        a_post("t3_near", "Near", text="near text", at=near),
        a_post("t3_far", "Far", text="far text", at=far),
        a_post("t3_gone", "Gone", text="gone text", content_state="removed"),
        *(a_post(f"t1_{name}", text="crm", link_fullname=f"t3_{name}") for name in ("near", "far", "gone", "missing")),
    ]
    for days in ([DAY], days_between(DAY - timedelta(days=31), DAY)):
        world = a_world(posts, OPEN).make_all(days, days_between(DAY - timedelta(days=32), DAY))
        told = asked(world).filter(pl.col("row_ref").str.starts_with("t1"))
        excerpts = dict(told.select("row_ref", "parent_excerpt").iter_rows())
        assert excerpts == {"t1_near": "near text", "t1_far": None, "t1_gone": None, "t1_missing": None}


def test_only_the_campaigns_own_candidates_are_asked_about_and_no_author_is_named() -> None:
    two = some_settings(a_campaign(gates=OPEN_GATES), a_campaign("bike", ["bike"], gates=OPEN_GATES, draft_reply=True))
    world = one_day([a_post("t3_a", "crm"), a_post("t3_b", "bike", author="very_private")], two)
    assert asked(world, 0)["row_ref"].to_list() == ["t3_a"]
    bike = asked(world, 1)
    assert (bike["row_ref"].to_list(), bike["draft_reply"].to_list()) == (["t3_b"], [True])
    assert "very_private" not in str(bike.to_dicts())


def test_no_candidate_is_an_empty_frame_in_the_same_columns() -> None:
    world = one_day([a_post("t3_a", "cats")], OPEN)
    assert asked(world).schema == INPUTS
    world.extract([DAY])
    assert world.rows(t.LEAD_EXTRACTIONS).is_empty() and world.rows(t.LEADS).is_empty()


def test_a_lead_carries_scores_post_facts_and_who_read_it() -> None:
    posts = [a_post("t3_a", "Which CRM", text="I left HubSpot, a@example.org"), a_post("t1_b", text="crm please")]
    posts[1] |= {"link_fullname": "t3_a", "permalink": None}
    made = one_day(posts, OPEN)
    said = {"cost_usd": Decimal("0.000123456"), "provider": "openai", "model": "m", "prompt_version": "v"}

    def answer(row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**said, "value": lead(row).model_dump_json(), "tokens_in": 9, "tokens_out": 3, "credits": 1}

    world = made.extract([DAY], answer)
    read, found = world.row(t.LEAD_EXTRACTIONS, "t3_a"), world.row(t.LEADS, "t3_a")
    ranked = world.row(t.RANKED_POSTS, "t3_a")
    assert (read["status"], read["intent_tier"], read["tokens_in"], read["credits"]) == ("ok", "hot", 9, 1)
    assert found["relevance_score"] == ranked["fused"]
    same = ("rank", "cosine", "bm25", "keyword_hits", "config_hash", "formula_version", "embed_model")
    assert [found[name] for name in same] == [ranked[name] for name in same]
    assert {name: found[name] for name in said} == said
    assert (found["title"], found["author"], found["saturation"]) == ("Which CRM", "somebody", 3)
    assert found["reddit_url"] == "https://www.reddit.com/r/smallbusiness/comments/a/slug/"
    assert (found["lead_type"], found["pain_point"], found["explanation"]) == (
        "comparing",
        "spreadsheets",
        "They compare tools.",
    )
    assert found["contact_info"] == {"email": "a@example.org", "handle": None, "url": None}
    comment = world.row(t.LEADS, "t1_b")
    assert comment["reddit_url"] == "https://www.reddit.com/comments/a/_/b/"
    assert (comment["title"], comment["saturation"]) == ("Which CRM", None)


@pytest.mark.parametrize(
    ("said", "fate"),
    [
        ({"is_lead": False, "intent_score": 12}, ("rejected", "not_a_lead", "12", None)),
        ({"is_lead": False, "intent_score": 95}, ("rejected", "not_a_lead", "95", None)),
        ({"intent_score": 54}, ("rejected", "low_intent", "54", "55")),
        ({"intent_score": 55}, ("ok", None, None, None)),
    ],
)
def test_what_an_answer_makes_of_its_post(said: dict[str, Any], fate: tuple[Any, ...]) -> None:
    strict = OPEN.model_copy(update={"leads": OPEN.leads.model_copy(update={"min_intent_score": 55})})
    world = one_day([a_post("t3_a", text="crm")], strict).extract([DAY], lambda row: lead(row, **said))
    row = world.row(t.LEAD_EXTRACTIONS, "t3_a")
    assert (row["status"], row["reason"], row["observed"], row["threshold"]) == fate
    assert row["intent_score"] == said["intent_score"], "what was read is kept whatever came of it"
    assert world.rows(t.LEADS).height == (fate[0] == "ok")
    rejected = world.rows(t.REJECTIONS).select("stage", "gate", "reason", "observed", "threshold").rows()
    assert rejected == ([("llm", fate[1], *fate[1:])] if fate[0] == "rejected" else [])


@pytest.mark.parametrize(
    "said",
    [
        {"status": "pending", "reason": "cap_exhausted", "not_before": MIDNIGHT, "observed": "1.00", "threshold": "1"},
        {"status": "pending", "reason": "provider_auth"},
        {"status": "pending", "reason": "invalid_output", "not_before": MIDNIGHT, "attempts": 2},
        {"status": "failed", "reason": "llm_error:invalid_output", "attempts": 3},
        {"status": "rejected", "reason": "refused"},
    ],
)
def test_what_the_engine_says_of_a_row_without_answer_stays_as_it_is(said: dict[str, Any]) -> None:
    world = one_day([a_post("t3_a")], OPEN).extract([DAY], lambda row: {"provider": None, **said})
    row = world.row(t.LEAD_EXTRACTIONS, "t3_a")
    assert {name: row[name] for name in said} == said
    assert (row["extracted_data"], row["is_lead"], row["intent_tier"]) == (None, None, None)
    assert world.rows(t.LEADS).is_empty()
    assert world.rows(t.REJECTIONS)["reason"].to_list() == (["refused"] if said["status"] == "rejected" else [])


def test_a_post_that_waits_for_its_score_waits_here_with_the_same_reason_and_is_not_asked_about() -> None:
    world = one_day([a_post("t3_a"), a_post("t3_b")], OPEN)
    waits = {"status": "pending", "reason": "quota_exhausted", "not_before": MIDNIGHT, "rank": None, "fused": None}
    changed = pl.col("fullname") == "t3_b"
    ranked = world.rows(t.RANKED_POSTS)
    columns = [pl.when(changed).then(pl.lit(v, ranked[n].dtype)).otherwise(n).alias(n) for n, v in waits.items()]
    world.lake.write(t.RANKED_POSTS, ranked.with_columns(columns), HERE)
    assert asked(world)["row_ref"].to_list() == ["t3_a"]
    row = world.extract([DAY]).row(t.LEAD_EXTRACTIONS, "t3_b")
    assert (row["status"], row["reason"], row["not_before"]) == ("pending", "quota_exhausted", MIDNIGHT)
    assert (row["cost_usd"], row["attempts"], row["rank"]) == (0, 0, None)


def test_a_candidate_whose_content_went_since_is_rejected_and_not_lost() -> None:
    world = one_day([a_post("t3_a"), a_post("t3_b")], OPEN)
    gone = pl.when(pl.col("fullname") == "t3_a").then(pl.lit("removed")).otherwise("content_state")
    posts = world.rows(t.REDDIT_POSTS).with_columns(gone.alias("content_state"))
    world.lake.write(t.REDDIT_POSTS, posts, Partitions.days([DAY]))
    world.extract([DAY])
    row = world.row(t.LEAD_EXTRACTIONS, "t3_a")
    assert (row["status"], row["reason"]) == ("rejected", "not_found")
    assert quality.candidates_read(world.lake, HERE).rows == []


def test_a_row_without_a_result_is_a_fault_of_the_program_and_not_of_the_post() -> None:
    world = one_day([a_post("t3_a"), a_post("t3_b")], OPEN)
    inputs, ranked = asked(world), world.rows(t.RANKED_POSTS)
    with pytest.raises(ValueError, match="1 rows were asked about and got no result"):
        lead_extractions(ranked, inputs, results(inputs.head(1)), 0, NOBODY)


def test_an_answer_that_was_not_checked_counts_nowhere() -> None:
    world = one_day([a_post("t3_a")], OPEN)

    def unchecked(row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"value": lead(row).model_dump_json(exclude={"evidence_grounded"})}

    with pytest.raises(ValueError, match="evidence_grounded"):
        world.extract([DAY], unchecked)


def control_with(tmp_path: Path, *events: tuple[str, str]) -> Control:
    control = Control(f"sqlite:///{tmp_path / 'control.sqlite'}")
    control.record_deletions(events, NOON)
    return control


def a_paid_lead(row: Mapping[str, Any]) -> Mapping[str, Any]:
    made_of = {"cost_usd": Decimal("0.002"), "input_hash": "of its text", "rendered_hash": "of its text"}
    return {"value": lead(row).model_dump_json(), **made_of}


def test_a_deleted_post_leaves_a_tombstone_that_holds_its_cost_and_none_of_its_words(tmp_path: Path) -> None:
    posts = [a_post("t3_secret", "Secret crm title", text="crm at a@example.org"), a_post("t3_b")]
    world = one_day(posts, OPEN).extract([DAY], a_paid_lead)
    assert world.rows(t.LEADS).height == 2
    world.control = control_with(tmp_path, ("t3_secret", "post"))
    for _ in range(2):
        world.make_all([DAY]).extract([DAY], a_paid_lead)
        row = world.row(t.LEAD_EXTRACTIONS, "t3_secret")
        assert (row["status"], row["reason"], row["cost_usd"]) == ("rejected", "deleted", Decimal("0.002"))
        assert row["permalink"] == "/r/smallbusiness/comments/secret/"
        kept = {name for name, value in row.items() if value is not None}
        assert not kept & {"extracted_data", "is_lead", "intent_score", "input_hash", "rendered_hash", "rank"}
        assert world.rows(t.LEADS)["fullname"].to_list() == ["t3_b"]
        told = [row for row in world.rows(t.REJECTIONS).iter_rows(named=True) if row["fullname"] == "t3_secret"]
        assert [(row["stage"], row["reason"]) for row in told] == [("metadata", "deleted")], "rejected once, not twice"
    assert quality.candidates_read(world.lake, HERE).rows == []
    assert quality.row_conservation(world.lake, HERE).rows == []


def test_a_post_deleted_between_scoring_and_reading_is_a_tombstone_at_once(tmp_path: Path) -> None:
    world = one_day([a_post("t3_a", text="crm")], OPEN)
    world.control = control_with(tmp_path, ("t3_a", "post"))
    row = world.extract([DAY], a_paid_lead).row(t.LEAD_EXTRACTIONS, "t3_a")
    assert (row["reason"], row["extracted_data"]) == ("deleted", None)
    assert world.rows(t.LEADS).is_empty()


def test_of_a_deleted_author_no_contact_stays(tmp_path: Path) -> None:
    world = one_day([a_post("t3_a", text="crm")], OPEN)
    world.control = control_with(tmp_path, ("t3_a", "author"))
    world.make_all([DAY]).extract([DAY], lead)
    found = world.row(t.LEADS, "t3_a")
    assert (found["author"], found["contact_info"]) == (None, None)
    assert "a@example.org" not in world.row(t.LEAD_EXTRACTIONS, "t3_a")["extracted_data"]


def test_a_second_reading_of_the_same_answers_gives_the_same_rows() -> None:
    posts = [
        a_post("t3_a", "Which tool", text="I need a crm for $5"),
        a_post("t3_b", "crm"),
        a_post("t1_c", text="crm"),
    ]
    once, twice = (one_day(posts, OPEN).extract([DAY]) for _ in range(2))
    twice.extract([DAY])
    for table in (t.LEAD_EXTRACTIONS, t.LEADS, t.REJECTIONS):
        assert once.rows(table).equals(twice.rows(table))


def test_the_tables_come_back_from_the_lake_as_they_went_in(tmp_path: Path) -> None:
    posts = [a_post("t3_a", text="crm"), a_post("t3_b", text="crm")]

    def one_contact(row: Mapping[str, Any]) -> CheckedLead:
        return lead(row) if row["row_ref"] == "t3_a" else lead(row, contact_info=None)

    world = one_day(posts, OPEN).extract([DAY], one_contact)
    lake = Lake(str(tmp_path / "lake"))
    for table in (t.LEAD_EXTRACTIONS, t.LEADS):
        lake.write(table, world.rows(table), HERE)
        assert lake.read(table).sort("created_utc", "fullname").collect().equals(world.rows(table))


def test_a_lead_whose_post_gates_have_since_turned_away_is_none() -> None:
    world = one_day([a_post("t3_a", text="crm")], OPEN).extract([DAY], lead)
    read, matched = world.rows(t.LEAD_EXTRACTIONS), world.rows(t.CAMPAIGN_POSTS)
    rejected = world.rows(t.RANKED_POSTS).with_columns(pl.lit("rejected").alias("status"))
    assert leads(read, rejected, matched, world.lake.read(t.REDDIT_POSTS)).is_empty()


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(posts=world_posts(DAY - timedelta(days=1), DAY))
def test_every_candidate_has_one_row_and_every_match_ends_in_one_place(posts: list[dict[str, Any]]) -> None:
    world = a_world(posts, some_settings(a_campaign(keywords=["crm", "email + marketing"], gates={"min_fused": 0.0})))
    days = days_between(DAY - timedelta(days=1), DAY)

    def answer(row: Mapping[str, Any]) -> CheckedLead | Mapping[str, Any]:
        if len(row["text"]) % 3 == 0:
            return {"status": "pending", "reason": "cap_exhausted", "not_before": MIDNIGHT}
        return offline(row)

    world.make_all(days).extract(days, answer)
    read = world.rows(t.LEAD_EXTRACTIONS)
    ranked = world.rows(t.RANKED_POSTS).filter(pl.col("status") == "ok")
    assert sorted(read["fullname"]) == sorted(ranked["fullname"])
    assert sorted(world.rows(t.LEADS)["fullname"]) == sorted(read.filter(pl.col("status") == "ok")["fullname"])
    ended = [*world.rows(t.REJECTIONS)["fullname"], *read.filter(pl.col("status") != "rejected")["fullname"]]
    assert sorted(ended) == sorted(world.rows(t.CAMPAIGN_POSTS)["fullname"])
    everywhere = Partitions({"crm": frozenset(days)})
    for check in (quality.candidates_read, quality.leads_complete, quality.row_conservation):
        assert check(world.lake, everywhere).rows == []


def test_the_engines_row_has_all_that_is_used_of_it() -> None:
    engine = pytest.importorskip("magpie.llm.engine", reason="the engine is not there")
    assert RESULTS.items() <= engine.RESULT_SCHEMA.items()


def test_days_of_one_run_equal_days_of_their_own() -> None:
    first: date = DAY - timedelta(days=1)
    posts = [a_post("t3_a", text="I need a crm", at=NOON - timedelta(days=1)), a_post("t3_b", text="any crm?")]
    posts.append(a_post("t1_c", text="crm please, any good crm", link_fullname="t3_a"))
    together = a_world(posts, OPEN).make_all([first, DAY]).extract([first, DAY])
    apart = a_world(posts, OPEN).make_all([first, DAY]).extract([first]).extract([DAY])
    for table in (t.LEAD_EXTRACTIONS, t.LEADS):
        assert together.rows(table).equals(apart.rows(table))


def test_a_lead_without_score_or_quote_is_refused_before_it_is_written() -> None:
    rows = one_day([a_post("t3_a", text="crm")], OPEN).extract([DAY], lead).rows(t.LEADS)
    for name in ("relevance_score", "intent_score", "evidence_quote"):
        with pytest.raises(SchemaMismatch, match=name):
            conform(t.LEADS, rows.with_columns(pl.lit(None, rows[name].dtype).alias(name)))


def test_the_best_leads_of_each_campaign_are_summed_up_without_doubtful_quotes() -> None:
    world = one_day([a_post(f"t3_{n}", f"Title {n}", text="crm") for n in range(4)], OPEN)
    assert top_leads(world.lake, 2).is_empty()

    def by_number(row: Mapping[str, Any]) -> CheckedLead:
        number = int(row["row_ref"][3:])
        return lead(row, intent_score=50 + number, evidence_grounded=number != 3)

    best = top_leads(world.extract([DAY], by_number).lake, 2)
    assert best.select("campaign_id", "intent_score", "title").rows() == [
        ("crm", 52, "Title 2"),
        ("crm", 51, "Title 1"),
    ]


@pytest.mark.parametrize("wrong", [{"min_intent_score": 101}, {"min_intent_score": -1}, {"rejection_sample": -1}])
def test_bounds_outside_their_scale_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        some_settings(leads=wrong)

"""ranked_posts: scores by the book, an order without chance, and rows that no split of the work changes."""

import math
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from leads_world import (
    DAILY,
    DAY,
    MADE,
    NOON,
    OPEN_GATES,
    PER_CAMPAIGN,
    World,
    a_campaign,
    a_post,
    a_world,
    days_between,
    one_day,
    some_settings,
    world_posts,
)
from polars.testing import assert_frame_equal

from magpie.leads import ranking
from magpie.leads import tables as t
from magpie.leads.keywords import compile_keyword, query_terms
from magpie.leads.stages import CampaignRules
from magpie.settings import Settings
from magpie.tables import Partitions
from magpie.text.embedders import EMBEDDERS
from magpie.text.offline_hash import OfflineHashEmbedder

BATCHES = (1, 16, 128)


def open_settings(*keywords: Any, **gates: Any) -> Settings:
    return some_settings(a_campaign(keywords=keywords or ("crm",), gates={**OPEN_GATES, **gates}))


def four_texts() -> World:
    """The corpus of the specification: one text per day matters not, so all are of one day."""
    texts = (
        "looking for a crm tool any crm for small teams",
        "our invoicing tool is slow",
        "what do you use for invoicing and crm",
        "cat pictures thread",
    )
    posts = [
        a_post(f"t1_{n}", text=text, at=NOON + timedelta(seconds=n), sub_subscribers=None)
        for n, text in enumerate(texts)
    ]
    return one_day(posts, open_settings("crm", "invoicing"))


def test_four_texts_score_as_specified() -> None:
    ranked = four_texts().rows(t.RANKED_POSTS)
    assert ranked["fullname"].to_list() == ["t1_0", "t1_1", "t1_2"], "the cats match no keyword"
    assert ranked["bm25"].to_list() == pytest.approx([0.827725, 0.765406, 1.266710], abs=5e-7)
    assert ranked["corpus_n"].unique().to_list() == [4], "but they are part of the corpus"
    assert ranked["corpus_avglen"].unique().to_list() == [6.5]


@pytest.mark.parametrize("batch", BATCHES)
def test_four_texts_fuse_as_specified_in_every_batch(batch: int) -> None:
    ranked = four_texts().rows(t.RANKED_POSTS)
    gates = CampaignRules.of(open_settings("crm", w_cos=0.6), "crm").gates
    parts = [part.with_columns(ranking.fused_columns(pl.lit(0.5), gates)) for part in ranked.iter_slices(batch)]
    assert pl.concat(parts)["fused"].to_list() == pytest.approx([0.450479, 0.444960, 0.480018], abs=5e-7)


@pytest.mark.parametrize(
    ("bm25", "fused"),
    [(0, (0.180, 0.270, 0.360)), (1, (0.344, 0.434, 0.524)), (5, (0.437, 0.527, 0.617)), (10, (0.462, 0.552, 0.642))],
)
def test_words_and_meaning_are_weighed_as_specified(bm25: float, fused: tuple[float, ...]) -> None:
    gates = CampaignRules.of(open_settings("crm", w_cos=0.6), "crm").gates
    rows = pl.DataFrame({"bm25": [float(bm25)] * 3, "cos": [0.30, 0.45, 0.60]})
    assert rows.select(ranking.fused_columns(pl.col("cos"), gates))["fused"].to_list() == pytest.approx(
        fused, abs=5.001e-4
    )


def test_the_older_formula_can_be_chosen_and_rows_say_so() -> None:
    gates = CampaignRules.of(open_settings("crm", w_cos=0.6, formula_version="v0"), "crm").gates
    rows = pl.DataFrame({"bm25": [5.0], "cos": [0.45]})
    assert rows.select(ranking.fused_columns(pl.col("cos"), gates))["fused"].item() == pytest.approx(2.061759, abs=5e-7)
    ranked = one_day([a_post("t3_a")], open_settings("crm", formula_version="v0")).row(t.RANKED_POSTS, "t3_a")
    assert ranked["formula_version"] == "v0"
    assert ranked["fused"] == pytest.approx(math.log1p(ranked["bm25"]) + 0.15 * ranked["cosine"])


def test_a_keyword_in_every_post_still_counts_because_of_the_idf_floor() -> None:
    posts = [a_post(f"t1_{n}", text="crm tool") for n in range(1000)]
    ranked = one_day(posts, open_settings("crm")).rows(t.RANKED_POSTS)
    assert ranked["corpus_n"].unique().to_list() == [1000]
    assert ranked["bm25"].to_list() == pytest.approx([0.5] * 1000, abs=1e-12)
    assert ranked["kw_n"][0] == pytest.approx(0.288492, abs=5e-7)
    without = one_day(posts[:50], open_settings("crm", bm25_idf_floor=0.0)).rows(t.RANKED_POSTS)
    assert without["bm25"][0] == pytest.approx(math.log1p(0.5 / 50.5))


def test_an_open_ended_keyword_counts_every_token_that_begins_so() -> None:
    posts = [
        a_post("t1_a", text="invoice invoices invoicing tool"),
        a_post("t1_b", text="invoice tool tool tool"),
        a_post("t1_c", text="nothing of the kind"),
    ]
    world = one_day(posts, open_settings("invoic*"))
    assert query_terms([compile_keyword("invoic*")]) == ["invoic*"]
    weight = max(0.5, math.log1p((3 - 3 + 0.5) / (3 + 0.5)))  # no more posts than there are hold it
    assert world.row(t.RANKED_POSTS, "t1_a")["bm25"] == pytest.approx(weight * 3 * 2.2 / (3 + 1.2))
    assert world.row(t.RANKED_POSTS, "t1_b")["bm25"] == pytest.approx(weight)


def test_a_query_of_stop_words_alone_scores_zero_and_breaks_nothing() -> None:
    row = one_day([a_post("t1_a", text="how to do it")], open_settings("how to")).row(t.RANKED_POSTS, "t1_a")
    assert (row["bm25"], row["kw_n"], row["cosine"], row["fused"]) == (0.0, 0.0, 0.0, 0.0)
    assert row["status"] == "ok"


def test_a_post_of_stop_words_has_a_zero_vector_and_cosine_zero() -> None:
    world = one_day([a_post("t1_a", text="the of", matched_queries=["crm"])], open_settings("crm"))
    assert set(world.row(t.POST_EMBEDDINGS, "t1_a")["vector"]) == {0.0}
    row = world.row(t.RANKED_POSTS, "t1_a")
    assert (row["cos_centroid"], row["cos_max"], row["cosine"]) == (0.0, 0.0, 0.0)


def test_both_similarities_are_stored_and_the_chosen_one_is_used() -> None:
    post = a_post("t1_a", text="crm software")
    words = ("crm", "sales pipeline")
    by_centroid = one_day([post], open_settings(*words)).row(t.RANKED_POSTS, "t1_a")
    by_best = one_day([post], open_settings(*words, similarity_mode="max")).row(t.RANKED_POSTS, "t1_a")
    assert by_centroid["cos_centroid"] == by_best["cos_centroid"] == by_centroid["cosine"]
    assert by_centroid["cos_max"] == by_best["cos_max"] == by_best["cosine"]
    assert by_best["cos_max"] > by_best["cos_centroid"] > 0


def test_similarity_to_keywords_is_that_of_the_specification() -> None:
    world = one_day(
        [a_post("t1_a", text="Looking for CRM software for agencies")], open_settings("crm", "sales pipeline")
    )
    row = world.row(t.RANKED_POSTS, "t1_a")
    assert (row["cos_centroid"], row["cos_max"]) == pytest.approx((0.256323, 0.362496), abs=5e-7)


def test_keywords_have_weights_in_the_centroid_and_excluded_ones_no_part() -> None:
    words = ["crm", {"keyword": "spreadsheet", "weight": 0.5}, {"keyword": "hiring", "kind": "exclude"}]
    world = one_day([a_post("t1_a", text="crm")], some_settings(a_campaign(keywords=words, gates=OPEN_GATES)))
    crm, sheet = OfflineHashEmbedder().embed(["crm", "spreadsheet"]).astype(float)
    direction = crm + 0.5 * sheet
    cosine = float(crm @ direction / math.sqrt(direction @ direction))
    assert world.row(t.RANKED_POSTS, "t1_a")["cos_centroid"] == pytest.approx(cosine, abs=1e-6)


def test_rank_is_by_fused_then_age_then_name_among_the_accepted_of_a_day() -> None:
    posts = [
        a_post("t1_b", text="crm tool"),
        a_post("t1_a", text="crm tool"),
        a_post("t1_old", text="crm tool", at=NOON - timedelta(seconds=1)),
        a_post("t1_best", text="crm"),
        a_post("t1_bad", text="crm", score=-2),
    ]
    settings_ = some_settings(a_campaign(gates={**OPEN_GATES, "min_engagement_score": 1}))
    ranked = one_day(posts, settings_).rows(t.RANKED_POSTS).sort("rank", nulls_last=True)
    assert ranked["fullname"].to_list() == ["t1_best", "t1_old", "t1_a", "t1_b", "t1_bad"]
    assert ranked["rank"].to_list() == [1, 2, 3, 4, None]


def test_every_survivor_is_scored_before_any_gate_decides() -> None:
    posts = [a_post("t1_a", text="crm"), a_post("t1_b", text="crm", score=0), a_post("t1_c", text="crm", score=None)]
    world = one_day(posts)
    ranked = world.rows(t.RANKED_POSTS)
    assert ranked.height == world.rows(t.CAMPAIGN_POSTS).filter(pl.col("status") == "ok").height == 3
    for name in ("bm25", "kw_n", "cosine", "cos_centroid", "cos_max", "fused", "corpus_hash"):
        assert ranked[name].null_count() == 0
    assert ranked["gate_log"].list.len().to_list() == [4, 4, 4]


def test_the_corpus_reaches_back_thirty_days_and_not_one_more() -> None:
    posts = [a_post("t1_now", text="crm")]
    posts += [a_post(f"t1_{n}", text="cat", at=NOON - timedelta(days=n)) for n in (1, 29, 30)]
    row = one_day(posts, open_settings("crm")).row(t.RANKED_POSTS, "t1_now")
    assert row["corpus_n"] == 3


def test_removed_posts_are_no_part_of_the_corpus() -> None:
    posts = [a_post("t1_now", text="crm"), a_post("t1_gone", text="crm", content_state="removed")]
    assert one_day(posts, open_settings("crm")).row(t.RANKED_POSTS, "t1_now")["corpus_n"] == 1


def test_the_corpus_hash_changes_with_the_corpus_and_with_the_query_and_only_then() -> None:
    def hash_of(*extra: dict[str, Any], keyword: str = "crm", **gates: Any) -> str:
        world = one_day([a_post("t1_a", text="crm tool"), *extra], open_settings(keyword, **gates))
        return world.row(t.RANKED_POSTS, "t1_a")["corpus_hash"]

    base = hash_of()
    assert hash_of(min_fused=0.1) == base, "thresholds are no part of it"
    assert hash_of(a_post("t1_z", text="crm tool", at=NOON - timedelta(days=29))) != base
    assert hash_of(a_post("t1_z", text="crm tool", at=NOON - timedelta(days=30))) == base
    assert hash_of(keyword="tool") != base


def test_another_embedding_model_is_refused_without_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(OfflineHashEmbedder):
        model = "other-model"

    monkeypatch.setitem(EMBEDDERS, "other-model", Other)
    given = {"w_cos": 0.1, "cosine_threshold": 0.0, "keyword_alt_cosine": 0.1, "min_fused": 0.0}
    calibrated = some_settings(a_campaign(gates=given), leads={"embed_model": "other-model"})
    assert one_day([a_post("t1_a", text="crm")], calibrated).row(t.RANKED_POSTS, "t1_a")["embed_model"] == "other-model"
    with pytest.raises(Exception, match=r"embed_model 'other-model' has no calibrated thresholds.*percentiles"):
        some_settings(a_campaign(), leads={"embed_model": "other-model"})


@pytest.mark.parametrize(
    ("gates", "dead"),
    [({"w_cos": 0.6}, {"10", "11"}), ({"keyword_alt_cosine": 0.31}, {"11"}), ({"min_fused": 0.19}, {"10"})],
)
def test_reference_values_have_gates_that_can_never_reject(gates: dict[str, float], dead: set[str]) -> None:
    found = some_settings(a_campaign(gates=gates), leads={"profile": "reference"}).gates_of("crm").dead_gates()
    assert {line.split()[1] for line in found} == dead


def test_default_values_have_no_dead_gate() -> None:
    assert some_settings().gates_of("crm").dead_gates() == []


# What any split of the work must leave as it is. A world takes a tenth of a second, so failures are not shrunk.

PROPERTY: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),
}

FIRST, LAST = DAY, DAY + timedelta(days=3)
DAYS = days_between(FIRST, LAST)
UPSTREAM = days_between(FIRST - timedelta(days=31), LAST)
TWO_CAMPAIGNS = some_settings(
    a_campaign(
        keywords=["crm", "invoic*", "email + marketing", {"keyword": "hiring", "kind": "exclude"}],
        exclude_authors=["promo_bot"],
        gates={"min_fused": 0.3, "min_sub_ratio": 2.0, "min_posts_per_1k_subs_day": 0.05},
    ),
    a_campaign(
        "mail",
        ["email marketing", {"keyword": "agency", "weight": 0.3}, "crm"],
        subreddits_deny=["Tiny"],
        gates={"similarity_mode": "max", "missing_policy": {"low_karma": "skip"}, "min_keyword_hits": 0},
    ),
)


@st.composite
def runs_of(draw: st.DrawFn, days: list[date]) -> list[list[date]]:
    """Contiguous runs that cover `days`, in any order."""
    cuts = sorted(draw(st.sets(st.integers(1, len(days) - 1)))) if len(days) > 1 else []
    parts = [days[start:end] for start, end in zip([0, *cuts], [*cuts, len(days)], strict=True)]
    return draw(st.permutations(parts))


@st.composite
def campaign_runs(draw: st.DrawFn) -> list[Partitions]:
    """Runs of one campaign or of both, each over contiguous days of its own."""
    if draw(st.booleans()):
        return [Partitions({"crm": frozenset(days), "mail": frozenset(days)}) for days in draw(runs_of(DAYS))]
    crm, mail = draw(runs_of(DAYS)), draw(runs_of(DAYS))
    joined = [Partitions({"crm": frozenset(crm[0]), "mail": frozenset(mail[0])})]
    alone = [Partitions({"crm": frozenset(days)}) for days in crm[1:]]
    alone += [Partitions({"mail": frozenset(days)}) for days in mail[1:]]
    return draw(st.permutations(joined + alone))


@st.composite
def splits(draw: st.DrawFn) -> list[tuple[str, list[Partitions]]]:
    plan = []
    for table in DAILY:
        wide = table in (t.REDDIT_POSTS, t.CORPUS_TERMS)
        runs = draw(runs_of(DAYS))
        before = [UPSTREAM[: -len(DAYS)]] if wide else []
        plan.append((table.name, [Partitions.days(days) for days in before + runs]))
    plan.append((t.CAMPAIGN_KEYWORDS.name, [Partitions.leading([name]) for name in ("mail", "crm")]))
    plan += [(table.name, draw(campaign_runs())) for table in PER_CAMPAIGN]
    return plan


def run_split(world: World, plan: list[tuple[str, list[Partitions]]]) -> World:
    named = {table.name: table for table in MADE}
    for name, runs in plan:
        for partitions in runs:
            world.make(named[name], partitions)
    return world


def assert_same_tables(left: World, right: World) -> None:
    for name, rows in left.tables().items():
        assert_frame_equal(rows, right.tables()[name], check_exact=True)


@settings(max_examples=25, **PROPERTY)
@given(posts=world_posts(FIRST - timedelta(days=31), LAST), plan=splits())
def test_any_split_of_a_range_into_runs_gives_identical_rows(
    posts: list[dict[str, Any]], plan: list[tuple[str, list[Partitions]]]
) -> None:
    at_once = a_world(posts, TWO_CAMPAIGNS).make_all(DAYS, UPSTREAM)
    assert_same_tables(at_once, run_split(a_world(posts, TWO_CAMPAIGNS), plan))


@settings(max_examples=10, **PROPERTY)
@given(posts=world_posts(FIRST - timedelta(days=31), LAST))
def test_materialising_again_gives_identical_rows(posts: list[dict[str, Any]]) -> None:
    world = a_world(posts, TWO_CAMPAIGNS).make_all(DAYS, UPSTREAM)
    before = {name: rows.clone() for name, rows in world.tables().items()}
    world.make_all(DAYS, UPSTREAM)
    for name, rows in world.tables().items():
        assert_frame_equal(rows, before[name], check_exact=True)


@settings(max_examples=3, **PROPERTY)
@given(posts=world_posts(FIRST - timedelta(days=2), LAST), plan=splits())
def test_splits_are_identical_in_a_lake_on_disk_too(
    posts: list[dict[str, Any]],
    plan: list[tuple[str, list[Partitions]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home: Path = tmp_path_factory.mktemp("split")
    at_once = a_world(posts, TWO_CAMPAIGNS, home=home / "once").make_all(DAYS, UPSTREAM)
    split = run_split(a_world(posts, TWO_CAMPAIGNS, home=home / "split"), plan)
    assert_same_tables(at_once, split)

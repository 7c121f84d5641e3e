"""Threshold replay: the answer from stored rows is that of a fresh run, and asking changes nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from leads_world import DAY, MADE, World, a_campaign, a_post, a_world, days_between, some_settings, world_posts
from polars.testing import assert_frame_equal

from magpie.errors import UserError
from magpie.leads import tables as t
from magpie.leads.campaign_posts import blanked
from magpie.leads.gates import METADATA_GATES, SCORE_GATES
from magpie.leads.replay import Replay, replay
from magpie.settings import Settings
from magpie.text.embedders import EMBEDDERS
from magpie.text.offline_hash import OfflineHashEmbedder

DAYS = days_between(DAY, DAY + timedelta(days=2))
UPSTREAM = days_between(DAY - timedelta(days=31), DAYS[-1])
KEYWORDS = ["crm", "invoic*", "email + marketing", {"keyword": "hiring", "kind": "exclude"}]
BASE = {"min_fused": 0.4, "min_sub_ratio": 1.0, "missing_policy": {"low_karma": "skip", "nsfw": "reject"}}


def settings_with(gates: dict[str, Any], **leads: Any) -> Settings:
    return some_settings(a_campaign(keywords=KEYWORDS, gates=gates), a_campaign("other", ["email"]), leads=leads)


def made(posts: list[dict[str, Any]], gates: dict[str, Any], home: Path | None = None) -> World:
    return a_world(posts, settings_with(gates), home=home).make_all(DAYS, UPSTREAM)


def fates(world: World) -> dict[str, tuple[Any, ...]]:
    """fullname -> status, reason, gate, rank of its last stage."""
    found = {
        row["fullname"]: (row["status"], row["reason"], row["gate"], None)
        for row in world.rows(t.CAMPAIGN_POSTS).iter_rows(named=True)
        if row["campaign_id"] == "crm"
    }
    for row in world.rows(t.RANKED_POSTS).iter_rows(named=True):
        if row["campaign_id"] == "crm":
            found[row["fullname"]] = (row["status"], row["reason"], row["gate"], row["rank"])
    return found


def replayed(found: Replay) -> dict[str, tuple[Any, ...]]:
    columns = found.rows.select("fullname", "status", "reason", "gate", "rank").rows()
    return {name: tuple(rest) for name, *rest in columns}


RATIO = st.floats(0, 1)
REASONS = st.sampled_from(
    ["low_upvote_ratio", "nsfw", "small_subreddit", "low_activity", "low_karma", "too_old", "low_engagement"]
)
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "dedup_ttl_seconds": st.sampled_from([0, 1, 43_200, 86_400, 604_800, 29 * 86_400]),
        "max_post_age_months": st.sampled_from([0.0, 0.01, 18.0, 19.0]),
        "min_upvote_ratio": st.sampled_from([0.0, 0.39, 0.75]),
        "skip_nsfw": st.booleans(),
        "min_sub_subscribers": st.sampled_from([0, 999, 60_000]),
        "min_sub_ratio": st.sampled_from([0.0, 5.0]),
        "min_posts_per_1k_subs_day": st.sampled_from([0.0, 0.1]),
        "min_author_karma": st.sampled_from([-10, 0, 100]),
        "min_engagement_score": st.sampled_from([-10, 1, 10]),
        "min_keyword_hits": st.integers(0, 3),
        "immature_seconds": st.sampled_from([0, 14, 3600, 200_000]),
        "missing_policy": st.dictionaries(REASONS, st.sampled_from(["skip", "reject"]), max_size=3),
        "w_cos": st.floats(0, 0.99),
        "cosine_threshold": st.sampled_from([-1.0, 0.0, 0.2]),
        "keyword_alt_cosine": RATIO,
        "min_fused": RATIO,
        "k1": st.sampled_from([0.0, 0.9, 2.0]),
        "b": st.sampled_from([0.0, 0.4, 1.0]),
        "bm25_idf_floor": st.sampled_from([0.0, 1.0]),
        "formula_version": st.sampled_from(["v0", "v1"]),
        "similarity_mode": st.sampled_from(["centroid", "max"]),
    },
)


def fresh_gates(overrides: dict[str, Any]) -> dict[str, Any]:
    """What to write into the settings file to have the overrides there."""
    policy = {**BASE["missing_policy"], **overrides.get("missing_policy", {})}  # type: ignore[dict-item]
    return {**BASE, **overrides, "missing_policy": policy}


@settings(deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(posts=world_posts(DAY - timedelta(days=3), DAYS[-1]), overrides=OVERRIDES)
def test_a_replay_equals_a_fresh_run(posts: list[dict[str, Any]], overrides: dict[str, Any]) -> None:
    stored = made(posts, BASE)
    if not fates(stored):
        return
    found = replay(stored.lake, stored.settings, "crm", overrides)
    fresh = made(posts, fresh_gates(overrides))
    assert replayed(found) == fates(fresh)
    assert found.candidates_before == sum(fate[0] == "ok" for fate in fates(stored).values())
    assert found.candidates_after == sum(fate[0] == "ok" for fate in fates(fresh).values())
    assert found.not_scored == 0
    for gate in found.gates.iter_rows(named=True):
        for world, when in ((stored, "before"), (fresh, "after")):
            assert gate[f"rejected_{when}"] == sum(fate[2] == gate["gate"] for fate in fates(world).values())


POSTS = [
    a_post("t3_a", text="a crm please"),
    a_post("t3_nsfw", text="a crm", over_18=True),
    a_post("t3_low", text="a crm", score=0),
    a_post("t3_next", text="invoices by crm", at=a_post("t3_x")["created_utc"] + timedelta(days=1)),
]


def test_gates_are_told_in_order_with_both_thresholds_and_what_is_left() -> None:
    world = made(POSTS, {"min_fused": 0.0})
    found = replay(world.lake, world.settings, "crm", {"skip_nsfw": False, "min_engagement_score": 0})
    assert found.gates["gate"].to_list() == [gate.number for gate in (*METADATA_GATES, *SCORE_GATES)]
    lines = {row["gate"]: row for row in found.gates.iter_rows(named=True)}
    assert (lines["4"]["rejected_before"], lines["4"]["rejected_after"]) == (1, 0)
    assert (lines["9"]["threshold_before"], lines["9"]["threshold_after"]) == (1, 0)
    assert (lines["11"]["kept_before"], lines["11"]["kept_after"]) == (2, 4)
    assert (found.candidates_before, found.candidates_after) == (2, 4)


def test_a_range_of_days_can_be_asked_for() -> None:
    world = made(POSTS, {"min_fused": 0.0})
    found = replay(world.lake, world.settings, "crm", {"min_fused": 0.0}, DAYS[1], DAYS[1])
    assert list(replayed(found)) == ["t3_next"]


def test_a_replay_writes_nothing(tmp_path: Path) -> None:
    world = made(POSTS, {"min_fused": 0.0}, tmp_path)
    versions = [len(world.lake.history(table)) for table in MADE]
    before = world.tables()
    replay(world.lake, world.settings, "crm", {"skip_nsfw": False, "k1": 2.0})
    assert [len(world.lake.history(table)) for table in MADE] == versions
    for name, rows in world.tables().items():
        assert_frame_equal(rows, before[name], check_exact=True)


@pytest.mark.parametrize("table", [t.CAMPAIGN_POSTS, t.RANKED_POSTS])
def test_rows_made_under_other_settings_are_refused_in_one_line(table: Any) -> None:
    world = made(POSTS, {"min_fused": 0.0})
    old = made(POSTS, {"min_fused": 0.1})
    world.lake.frames[table.name] = old.rows(table)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"made under other settings.*magpie run leads --campaign crm"):
        replay(world.lake, world.settings, "crm", {"min_fused": 0.2})


def test_nothing_stored_unknown_campaigns_and_wrong_settings_are_one_line_each() -> None:
    world = made(POSTS, {})
    with pytest.raises(UserError, match="no stored posts in this range"):
        replay(world.lake, world.settings, "crm", {}, DAY - timedelta(days=9), DAY - timedelta(days=9))
    with pytest.raises(UserError, match=r"no campaign 'nobody' in magpie\.yaml; campaigns there: crm, other"):
        replay(world.lake, world.settings, "nobody", {})
    with pytest.raises(UserError, match=r"--set min_fussed is not a gate setting; known: .*min_fused"):
        replay(world.lake, world.settings, "crm", {"min_fussed": 0.2})
    with pytest.raises(UserError, match=r"--set w_cos = 3: Input should be less than 1"):
        replay(world.lake, world.settings, "crm", {"w_cos": 3})


class Paid(OfflineHashEmbedder):
    """Costs money, and fails the test that makes it cost any."""

    model = "paid-model"
    provider = "somebody"
    open = True

    def embed(self, texts: Any) -> Any:
        assert self.open, "a replay may not embed with a model that costs money"
        return super().embed(texts)


def test_posts_that_cost_money_to_score_are_counted_and_the_rest_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EMBEDDERS, "paid-model", Paid)
    gates = {"w_cos": 0.15, "cosine_threshold": 0.0, "keyword_alt_cosine": 0.1, "min_fused": 0.0}
    single = some_settings(a_campaign(keywords=KEYWORDS, gates=gates), leads={"embed_model": "paid-model"})
    world = a_world(POSTS, single).make_all(DAYS, UPSTREAM)
    monkeypatch.setattr(Paid, "open", False)
    looser = replay(world.lake, single, "crm", {"skip_nsfw": False, "min_engagement_score": 0})
    assert looser.not_scored == 1
    assert replayed(looser)["t3_nsfw"] == ("pending", "not_scored", None, None)
    assert (looser.candidates_before, looser.candidates_after) == (2, 3)
    rescored = replay(world.lake, single, "crm", {"k1": 0.5})
    assert (rescored.not_scored, rescored.candidates_after) == (0, 2), "stored vectors are scored again for nothing"


def test_deleted_posts_are_no_part_of_a_replay() -> None:
    world = made(POSTS, {"min_fused": 0.0})
    rows = world.lake.frames[t.CAMPAIGN_POSTS.name]  # type: ignore[attr-defined]
    gone = rows["fullname"] == "t3_nsfw"
    tombstones = blanked(rows.filter(gone)).select(rows.columns)
    world.lake.frames[t.CAMPAIGN_POSTS.name] = rows.filter(~gone).extend(tombstones)  # type: ignore[attr-defined]
    assert "t3_nsfw" not in replayed(replay(world.lake, world.settings, "crm", {"skip_nsfw": False}))

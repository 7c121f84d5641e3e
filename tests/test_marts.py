"""The marts, built by the real dbt over small lakes whose numbers can be counted by hand."""

import importlib
import json
import sys
from contextlib import redirect_stdout
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest
from marts_world import MARTS, Built, built

from dbt_project.assets import dbt_resource, marts_assets
from dbt_project.build import markdown_table, warehouse_build
from dbt_project.prepare import prepare
from dbt_project.project import Workspace
from dbt_project.sources import SOURCES_FILE, sources_yaml
from magpie.catalog import TABLES
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads.gates import METADATA_GATES, SCORE_GATES, Gate, stage_of
from magpie.leads.tables import (
    CAMPAIGN_KEYWORDS,
    CAMPAIGN_POSTS,
    LEAD_EXTRACTIONS,
    LEAD_FEEDBACK,
    LEADS,
    RANKED_POSTS,
)
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from tests.instances import fresh_instance

# Those that `fill` has rows of; other files fill the same lake.
OURS = "campaign_id IN ('bike', 'crm')"
__all__ = ["built"]

MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)


def rows(table: Table, *given: dict[str, Any]) -> pl.DataFrame:
    """Rows of `table`: what a row does not give is null where it may be, else something empty."""
    empty = {pl.String: "", pl.Int64: 0, pl.Float64: 0.0, pl.Boolean: True, pl.List: [], pl.Date: MONDAY}
    empty |= {pl.Datetime: datetime(2026, 3, 2, tzinfo=UTC), pl.Decimal: Decimal(0)}
    base = {n: None if c.nullable else empty[c.dtype.base_type()] for n, c in table.schema.columns().items()}
    fate = {"status": "ok"} if "status" in base else {}
    return pl.DataFrame([{**base, **fate, "campaign_id": "crm", **row} for row in given], schema=table.dtypes)


def log(gates: tuple[Gate, ...], **outcomes: str) -> list[dict[str, Any]]:
    """A gate log in which every gate passes but those named, as g3="reject"."""
    return [{"gate": g.number, "reason": g.reason, "outcome": outcomes.get(f"g{g.number}", "pass")} for g in gates]


def matched(fullname: str, keywords: list[str], age: int | None = None, reason: str | None = None, **more: Any) -> dict:
    outcomes = {key: more.pop(key) for key in list(more) if key.startswith("g")}
    return {
        "fullname": fullname,
        "kind": "comment" if fullname.startswith("t1") else "submission",
        "matched_keywords": keywords,
        "observed_age_s": age,
        "status": "rejected" if reason else "ok",
        "reason": reason,
        "gate_log": log(METADATA_GATES, **outcomes),
        **more,
    }


def scored(fullname: str, cosine: float, fused: float, reason: str | None = None, **outcomes: str) -> dict[str, Any]:
    return {
        "fullname": fullname,
        "cosine": cosine,
        "fused": fused,
        "embed_model": "offline-hash-1024",
        "status": "rejected" if reason else "ok",
        "reason": reason,
        "gate_log": log(SCORE_GATES, **outcomes),
    }


def fill_ranked(lake: Lake) -> None:
    """Nine posts: two candidates, a pending one, a tombstone, a stale score, and a rejection for each stage."""
    posts = rows(
        CAMPAIGN_POSTS,
        matched("t3_a", ["crm", "lead tracking"], 10),
        matched("t3_b", ["crm"], 20, "low_upvote_ratio", g3="reject", g5="reject"),
        matched("t3_c", ["spreadsheet"], 30, "small_subreddit", g5="reject"),
        matched("t3_d", ["lead tracking"], 40, g7="not_applicable"),
        matched("t3_e", ["spreadsheet"], 50),
        matched("t1_g", ["spreadsheet"], 60),
        matched("t1_i", ["crm"], 70),
        matched("t3_f", [], None, "deleted", gate_log=[]),
        matched("t3_h", ["crm"], None, "removed", g0a="reject", day=TUESDAY),
    )
    days = Partitions({"crm": frozenset({MONDAY, TUESDAY})})
    lake.write(CAMPAIGN_POSTS, posts, days)
    pending = {**scored("t1_g", 0.0, 0.0, "cooling_down"), "status": "pending", "cosine": None, "gate_log": []}
    scores = rows(
        RANKED_POSTS,
        scored("t3_a", 0.5, 0.8),
        scored("t1_i", 0.3, 0.6),
        scored("t3_d", 0.1, 0.1, "low_cosine", g8="reject", g11="reject"),
        scored("t3_e", 0.2, 0.3, "low_fused", g11="reject"),
        scored("t3_b", 0.9, 0.9),
        pending,
    )
    lake.write(RANKED_POSTS, scores, days)
    words = [{"keyword_norm": word, "kind": "include"} for word in ("crm", "lead tracking", "spreadsheet", "invoic*")]
    keywords = rows(CAMPAIGN_KEYWORDS, *words, {"keyword_norm": "hiring", "kind": "exclude"})
    lake.write(CAMPAIGN_KEYWORDS, keywords, Partitions.leading(["crm"]))


def read(fullname: str, score: int, cost: str, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """A row of lead_extractions: a lead, or with a reason one that is none."""
    return {
        "fullname": fullname,
        "extracted_data": "{}",
        "is_lead": reason is None,
        "intent_score": score,
        "intent_tier": "warm",
        "evidence_grounded": True,
        "provider": "openai",
        "cost_usd": Decimal(cost),
        "status": "rejected" if reason else "ok",
        "reason": reason,
        **more,
    }


def lead(fullname: str, score: int, **more: Any) -> dict[str, Any]:
    known = {"kind": "submission", "intent_tier": "warm", "evidence_quote": "we need a bike", "urgency": "now"}
    contact = {"email": "a@example.org", "handle": None, "url": None}
    return {"fullname": fullname, **known, "intent_score": score, "contact_info": contact, **more}


def fill_read(lake: Lake) -> None:
    """A second campaign, of which a model has read Monday whole and Tuesday in part, and what people said of it."""
    bike = {"campaign_id": "bike"}
    crowd = [matched(f"t3_x{n}", ["noise", "some"], None, "nsfw", g4="reject") for n in range(99)]
    posts = [
        *crowd,
        matched("t3_l1", ["bike", "some"]),
        *(matched(name, ["bike"]) for name in ("t3_l2", "t3_l3", "t3_n1")),
        matched("t3_n2", ["noise"]),
        matched("t3_stale", ["bike"], None, "nsfw", g4="reject"),
        matched("t3_gone", [], None, "deleted", gate_log=[]),
        *(matched(name, ["bike"], day=TUESDAY) for name in ("t3_l4", "t3_p")),
    ]
    days = Partitions({"bike": frozenset({MONDAY, TUESDAY})})
    lake.write(CAMPAIGN_POSTS, rows(CAMPAIGN_POSTS, *({**row, **bike} for row in posts)), days)
    ranked = [scored(name, 0.5, 0.6) for name in ("t3_l1", "t3_l2", "t3_l3", "t3_n1", "t3_n2", "t3_stale")]
    ranked += [{**scored(name, 0.5, 0.6), "day": TUESDAY} for name in ("t3_l4", "t3_p")]
    lake.write(RANKED_POSTS, rows(RANKED_POSTS, *({**row, **bike} for row in ranked)), days)
    tombstone = dict.fromkeys(("extracted_data", "is_lead", "intent_score", "intent_tier"))
    waiting = {"status": "pending", "reason": "cap_exhausted", "provider": None, **tombstone}
    extractions = [
        read("t3_l1", 60, "0.001"),
        read("t3_l2", 90, "0.002"),
        read("t3_l3", 80, "0.0005", evidence_grounded=False),
        read("t3_n1", 10, "0.001", "not_a_lead"),
        read("t3_n2", 10, "0.001", "not_a_lead"),
        read("t3_stale", 70, "0.001"),
        read("t3_gone", 0, "0.0005", "deleted", **tombstone),
        read("t3_l4", 50, "0.000000001", day=TUESDAY),
        {**read("t3_p", 0, "0", "cap_exhausted", day=TUESDAY), **waiting},
    ]
    lake.write(LEAD_EXTRACTIONS, rows(LEAD_EXTRACTIONS, *({**row, **bike} for row in extractions)), days)
    found = [lead("t3_l1", 60), lead("t3_l2", 90), lead("t3_l3", 80, evidence_grounded=False), lead("t3_stale", 70)]
    found.append(lead("t3_l4", 50, day=TUESDAY, contact_info=None))
    lake.write(LEADS, rows(LEADS, *({**row, **bike} for row in found)), days)
    words = [{"keyword_norm": word, "kind": "include", **bike} for word in ("bike", "noise", "some")]
    lake.write(CAMPAIGN_KEYWORDS, rows(CAMPAIGN_KEYWORDS, *words), Partitions.leading(["bike"]))
    later = datetime(2026, 3, 9, tzinfo=UTC)
    said = [
        {"event_id": 1, "at": later, "fullname": "t3_l1", "workflow": "rejected", "label": "not_relevant"},
        {"event_id": 2, "at": later, "fullname": "t3_l1", "workflow": "approved", "reason": "after all"},
        {"event_id": 3, "fullname": "t3_l1", "workflow": "dismissed", "reason": "earlier, though recorded later"},
        {"event_id": 4, "fullname": "t3_l2", "label": "relevant"},
        {"event_id": 5, "fullname": "t3_x1", "label": "relevant"},
    ]
    events = rows(LEAD_FEEDBACK, *({"actor": "ann", **row, **bike} for row in said))
    lake.write(LEAD_FEEDBACK, events, Partitions.whole())


def fill(settings: Settings) -> None:
    lake = Lake(settings.lake_root)
    fill_ranked(lake)
    fill_read(lake)


def funnel(built: Built, day: date) -> dict[str, dict[str, Any]]:
    found = built.sql(f"FROM marts.gate_funnel WHERE campaign_id = 'crm' AND day = DATE '{day}' ORDER BY position")
    return {row["gate"]: row for row in found.to_dicts()}


def test_the_funnel_counts_each_post_at_the_first_gate_that_rejects_it(built: Built) -> None:
    gates = funnel(built, MONDAY)
    reached = {gate: row["rows_in"] for gate, row in gates.items()}
    until_ratio = dict.fromkeys(("0a", "0b", "0c", "0d", "1", "2", "3"), 7)
    until_karma = {"4": 6, "5": 6, "6": 5, "6r": 5, "7": 5}
    assert reached == until_ratio | until_karma | {"8": 4, "9": 3, "10": 3, "11": 3}
    rejected = {gate: row["rejected"] for gate, row in gates.items() if row["rejected"]}
    assert rejected == {"3": 1, "5": 1, "8": 1, "11": 1}
    assert gates["8"]["kill_rate"] == 0.25


def test_a_second_rejection_shows_as_would_reject_and_costs_nobody_a_place_in_the_funnel(built: Built) -> None:
    gates = funnel(built, MONDAY)
    assert (gates["5"]["rejected"], gates["5"]["would_reject"], gates["5"]["rows_logged"]) == (1, 2, 7)
    assert (gates["11"]["rejected"], gates["11"]["would_reject"]) == (1, 2)
    assert (gates["7"]["n_not_applicable"], gates["6"]["n_not_applicable"]) == (1, 0)


def test_a_day_on_which_nothing_gets_past_the_first_gate_still_lists_all_gates(built: Built) -> None:
    gates = funnel(built, TUESDAY)
    assert len(gates) == 16
    assert gates["0a"]["kill_rate"] == 1.0
    assert (gates["11"]["rows_in"], gates["11"]["kill_rate"]) == (0, None)


def test_the_marts_know_the_gates_that_the_rules_apply(built: Built) -> None:
    known = built.sql("SELECT DISTINCT gate, reason, stage, position FROM marts.gate_funnel ORDER BY position")
    gates = METADATA_GATES + SCORE_GATES
    assert known.rows() == [(g.number, g.reason, stage_of(g.number), n) for n, g in enumerate(gates, start=1)]


def test_metrics_count_posts_and_leave_leads_null_until_an_extraction_ran(built: Built) -> None:
    monday, tuesday = built.sql("FROM marts.campaign_metrics WHERE campaign_id = 'crm' ORDER BY day").to_dicts()
    counts = ("matched", "n_submissions", "n_comments", "passed_metadata", "candidates", "leads_found")
    assert [monday[name] for name in counts] == [7, 5, 2, 5, 2, None]
    assert {monday[name] for name in ("extractions_pending", "leads_labelled", "precision", "cost_usd")} == {None}
    assert [monday["best_fused"], monday["median_fused"]] == pytest.approx([0.8, 0.7])
    assert [monday["freshness_p50_s"], monday["freshness_p95_s"]] == pytest.approx([40, 67])
    assert [tuesday[name] for name in counts] == [1, 1, 0, 0, 0, None]
    assert tuesday["best_fused"] is None


def test_every_include_keyword_is_listed_with_what_it_brings_also_if_that_is_nothing(built: Built) -> None:
    noise = built.sql(
        "SELECT keyword_norm, matches, candidates, candidate_rate, suggest_suspend FROM marts.keyword_noise "
        "WHERE campaign_id = 'crm'"
    )
    assert set(noise.rows()) == {
        ("crm", 4, 2, 0.5, None),
        ("lead tracking", 2, 1, 0.5, None),
        ("spreadsheet", 3, 0, 0.0, None),
        ("invoic*", 0, 0, None, None),
    }


def test_metrics_count_leads_that_still_stand_and_all_that_was_paid(built: Built) -> None:
    monday, tuesday = built.sql("FROM marts.campaign_metrics WHERE campaign_id = 'bike' ORDER BY day").to_dicts()
    assert (monday["candidates"], monday["extractions_pending"], monday["leads_found"]) == (5, 0, 3)
    assert (monday["leads_labelled"], monday["precision"]) == (2, 0.5)
    assert monday["cost_usd"] == Decimal("0.007"), "a stale row and a tombstone were paid for as well"
    assert monday["cost_per_lead"] == pytest.approx(0.007 / 3)
    assert (tuesday["extractions_pending"], tuesday["leads_found"], tuesday["precision"]) == (1, 1, None)
    assert tuesday["cost_usd"] == Decimal("0.000000001"), "not one nano-dollar is lost"


def test_leads_are_listed_once_with_what_was_last_said_and_without_doubtful_quotes(built: Built) -> None:
    found = built.sql(f"FROM marts.leads_current WHERE {OURS}").select(
        "fullname", "intent_score", "workflow", "label", "feedback_reason", pl.col("contact_info").struct.field("email")
    )
    assert found.rows() == [
        ("t3_l2", 90, "new", "relevant", None, "a@example.org"),
        ("t3_l1", 60, "approved", "not_relevant", "after all", "a@example.org"),
        ("t3_l4", 50, "new", None, None, None),
    ]


def test_a_keyword_is_judged_by_days_that_were_read_whole(built: Built) -> None:
    columns = "keyword_norm, matches, matches_read, leads, lead_rate, suggest_suspend"
    noise = built.sql(f"SELECT {columns} FROM marts.keyword_noise WHERE campaign_id = 'bike'")
    assert set(noise.rows()) == {
        ("bike", 7, 5, 4, 0.6, False),
        ("noise", 100, 100, 0, 0.0, True),
        ("some", 100, 100, 1, 0.01, False),
    }


def test_percentiles_are_of_scored_posts_that_still_pass_gates_0_to_7(built: Built) -> None:
    (row,) = built.sql("FROM marts.cosine_percentiles WHERE campaign_id = 'crm'").to_dicts()
    assert (row["campaign_id"], row["embed_model"], row["n"]) == ("crm", "offline-hash-1024", 4)
    assert [row["cosine_p5"], row["cosine_p50"], row["cosine_p95"]] == pytest.approx([0.115, 0.25, 0.47])
    assert row["fused_p75"] == pytest.approx(0.65)


def test_an_empty_lake_builds_empty_marts(built: Built) -> None:
    assert built.rows_when_empty == dict.fromkeys(MARTS, 0)


def test_a_session_on_the_old_warehouse_keeps_its_rows_when_a_new_one_replaces_it(built: Built) -> None:
    assert built.seen_by_old_session == 0
    assert built.sql(f"FROM marts.gate_funnel WHERE {OURS}").height == 64


def test_older_clients_can_open_the_warehouse_and_nothing_is_left_beside_it(built: Built) -> None:
    (tags,) = built.sql("SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'warehouse'").row(
        0
    )
    assert tags.startswith("v1.2.0")
    assert [path.name for path in built.settings.home.glob("warehouse*")] == ["warehouse.duckdb"]


def test_columns_explain_themselves_in_sql(built: Built) -> None:
    silent = "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'marts' AND comment IS NULL"
    assert built.sql(silent).rows() == []


def test_building_asks_the_network_for_nothing(built: Built) -> None:
    assert "watching dbt" in built.network
    assert {line for line in built.network if not line.startswith("watching")} == set()


def test_each_mart_reports_its_size_a_preview_and_its_tests(built: Built) -> None:
    assert set(built.shown) == MARTS
    counts = " UNION ALL ".join(f"SELECT '{mart}', count(*) FROM marts.{mart}" for mart in MARTS)
    assert {mart: shown.rows for mart, shown in built.shown.items()} == dict(built.sql(counts).rows())
    assert "| crm |" in built.shown["campaign_metrics"].markdown
    assert "gate_funnel_conserves_rows" in {name for name, _ in built.checks}
    assert all(passed for _, passed in built.checks)


def test_the_lineage_of_the_marts_begins_at_the_assets_that_write_the_lake(built: Built) -> None:
    marts = marts_assets(built.settings)
    parents = {key.path[-1]: {dep.path[-1] for dep in marts.asset_deps[key]} for key in marts.keys}
    decided = {"content_ideas", "articles", "content_reviews"}
    assert parents == {
        "gate_funnel": {"campaign_posts", "ranked_posts"},
        "campaign_metrics": {"campaign_posts", "ranked_posts", "lead_extractions", "leads", "lead_feedback"},
        "keyword_noise": {"campaign_keywords", "campaign_posts", "ranked_posts", "lead_extractions", "leads"},
        "cosine_percentiles": {"campaign_posts", "ranked_posts"},
        "leads_current": {"campaign_posts", "ranked_posts", "lead_extractions", "leads", "lead_feedback"},
        "spend_daily": {"llm_calls", "spend_caps"},
        "spend_by_function": {"llm_calls"},
        "cost_per_lead": {"llm_calls", "campaign_posts", "ranked_posts", "lead_extractions", "leads"},
        "video_status": {"videos", "transcripts", "video_analyses", "stock_mentions"},
        "skipped_videos": {"videos", "transcripts", "video_analyses"},
        "channel_track_record": {"pick_outcomes", "stock_mentions"},
        "ticker_consensus_14d": {"ticker_consensus", "symbols"},
        "changes_of_mind": {"stock_mentions"},
        "analysis_diff": {"video_analyses", "stock_mentions"},
        "source_quality": {"meme_sources", "meme_posts", "memes", "meme_status", "source_stats"},
        "funnel_daily": {"meme_posts", "memes", "meme_status"},
        "engine_quality": {"meme_reactions", "meme_status", "recommendation_queues", "meme_candidates"},
        "describe_throughput": {"llm_calls", "spend_caps"},
        "meme_stats_latest": {"meme_stats", "meme_status"},
        "keywords_current": {"keywords", "keyword_clusters"},
        "clusters_current": {"keywords_current", "keyword_clusters", *decided},
        "cluster_coverage": {"keywords_current", "clusters_current", *decided},
        "ideas_queue": {"clusters_current", *decided},
        "publish_queue": {"articles", "article_images", "content_reviews"},
        "spend_by_site": {"llm_calls"},
        "content_calendar": {"article_images", *decided},
        "mood_history": {"mood", "mood_inputs"},
        "candidate_yield": {"candidates", "decisions"},
        "moderation_agreement": {"decisions", "outbox", "persona_reviews"},
        "post_engagement": {"tumblr_posts", "tumblr_files", "threads", "outbox"},
        "spend_by_blog": {"llm_calls"},
    }
    assert set.union(*parents.values()) <= set(TABLES) | MARTS
    assert {spec.group_name for spec in marts.specs} == {"marts"}


def test_a_failing_test_of_a_mart_leaves_the_warehouse_as_it_was(built: Built) -> None:
    """A row that says ok though a gate rejected it: the metrics and the funnel contradict each other."""
    before = built.settings.warehouse.read_bytes()
    contradiction = rows(CAMPAIGN_POSTS, matched("t3_z", ["crm"], g0a="reject", day=WEDNESDAY))
    partition = Partitions({"crm": frozenset({WEDNESDAY})})
    lake = Lake(built.settings.lake_root)
    lake.write(CAMPAIGN_POSTS, contradiction, partition)
    with fresh_instance() as instance:
        with pytest.raises(dg.Failure, match="campaign_metrics_agree_with_funnel"), redirect_stdout(StringIO()):
            dg.materialize(
                [marts_assets(built.settings)],
                selection=["campaign_metrics", "gate_funnel"],
                instance=instance,
                resources={"dbt": dbt_resource()},
            )
        assert instance.get_latest_materialization_event(dg.AssetKey("campaign_metrics")) is None
    lake.write(CAMPAIGN_POSTS, CAMPAIGN_POSTS.empty(), partition)
    assert built.settings.warehouse.read_bytes() == before


def test_the_code_location_loads_once_prepared_and_otherwise_says_what_to_run(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "magpie.yaml"
    config.write_text("start_day: 2026-03-02\n", "utf-8")
    monkeypatch.setenv("MAGPIE_CONFIG", str(config))
    monkeypatch.setenv("MAGPIE_HOME", str(built.settings.home))
    location = importlib.import_module("dbt_project.definitions")
    dg.Definitions.validate_loadable(location.defs)
    assert prepare(built.settings) is False
    monkeypatch.setenv("MAGPIE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.delitem(sys.modules, "dbt_project.definitions")
    with pytest.raises(UserError, match=r"is missing; run `python -m dbt_project\.prepare`"):
        importlib.import_module("dbt_project.definitions")


def test_a_manifest_older_than_the_project_is_refused(tmp_path: Path) -> None:
    workspace = Workspace.of(Settings(start_day=MONDAY, home=tmp_path, root=tmp_path))
    workspace.manifest.parent.mkdir(parents=True)
    workspace.manifest.write_text(json.dumps({}), "utf-8")
    workspace.stamp.write_text("0" * 64, "ascii")
    with pytest.raises(UserError, match="is out of date"):
        workspace.require_manifest()


def test_unsaved_changes_in_the_warehouse_stop_its_replacement(tmp_path: Path) -> None:
    """The new file must never meet the write-ahead log of the old one."""
    settings = Settings(start_day=MONDAY, home=tmp_path, root=tmp_path)
    with duckdb.connect(str(settings.warehouse)) as writer:
        writer.execute("CREATE TABLE notes AS SELECT 1 AS n")
        refused = pytest.raises(UserError, match="close the session that writes to it")
        with refused, warehouse_build(settings, keep_marts=False):
            raise AssertionError("unreachable: nothing may be built")
    with duckdb.connect(str(settings.warehouse)) as reader:
        assert reader.sql("FROM notes").fetchall() == [(1,)]


def test_a_run_of_some_marts_keeps_the_others_and_a_run_of_all_starts_clean(tmp_path: Path) -> None:
    settings = Settings(start_day=MONDAY, home=tmp_path, root=tmp_path)
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute("CREATE SCHEMA marts; CREATE TABLE marts.retired AS SELECT 1 AS n")
    tables = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts'"
    for keep, left in ((True, [("retired",)]), (False, [])):
        with warehouse_build(settings, keep_marts=keep):
            pass
        with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
            assert connection.sql(tables).fetchall() == left


def test_a_preview_shows_text_as_text() -> None:
    table = markdown_table(["keyword"], [["a|b <script>\n# [x](y)"], [None], ["w" * 200]])
    head, _, cell, null, long = table.splitlines()
    assert head == "| keyword |"
    assert cell == "| a&#124;b &lt;script&gt; # &#91;x&#93;(y) |"
    assert null == "|  |"
    assert len(long) == 64


def test_the_sources_of_dbt_are_the_tables_of_the_catalogue() -> None:
    written = SOURCES_FILE.read_text("utf-8")
    assert written == sources_yaml(TABLES.values()), "run `python -m dbt_project.sources` and commit what it writes"

"""rejections: none lost, none twice, and a CSV that no spreadsheet runs."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from leads_world import DAY, a_campaign, a_post, a_world, days_between, one_day, some_settings, world_posts

from magpie.leads import tables as t
from magpie.leads.rejections import export_csv, rejections

POSTS = [
    a_post("t3_ok"),
    a_post("t3_c", over_18=True),
    a_post("t3_a", score=-5, text="crm"),
    a_post("t1_b", text="crm " * 30, sub_subscribers=None),
]


def test_each_rejected_match_is_there_once_with_stage_and_numbers() -> None:
    world = one_day(POSTS, some_settings(a_campaign(gates={"min_fused": 0.0, "cosine_threshold": 0.05})))
    rows = world.rows(t.REJECTIONS).select("fullname", "stage", "gate", "reason", "observed", "threshold").rows()
    assert rows == [
        ("t3_a", "heuristic", "9", "low_engagement", "-5", "1"),
        ("t3_c", "metadata", "4", "nsfw", "1", "0"),
    ]


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(posts=world_posts(DAY - timedelta(days=1), DAY))
def test_every_match_is_either_rejected_once_or_a_candidate(posts: list[dict[str, Any]]) -> None:
    world = a_world(posts, some_settings(a_campaign(keywords=["crm", "email + marketing"])))
    world.make_all(days_between(DAY - timedelta(days=1), DAY))
    matched = world.rows(t.CAMPAIGN_POSTS)["fullname"].to_list()
    rejected = world.rows(t.REJECTIONS)["fullname"].to_list()
    candidates = world.rows(t.RANKED_POSTS).filter(pl.col("status") == "ok")["fullname"].to_list()
    assert sorted(rejected + candidates) == sorted(matched)


def test_the_csv_has_the_columns_of_the_table_and_its_rows_by_name(tmp_path: Path) -> None:
    world = one_day(POSTS)
    rows = world.rows(t.REJECTIONS)
    (path,) = export_csv(rows, [("crm", str(DAY))], tmp_path)
    assert path == tmp_path / "crm" / f"{DAY}.csv"
    found = pl.read_csv(path, infer_schema=False)
    assert found.columns == list(t.REJECTIONS.dtypes)
    assert found["fullname"].to_list() == sorted(rows["fullname"].to_list())
    assert found["observed"].to_list() == rows.sort("fullname")["observed"].to_list()


def test_a_partition_without_rejections_replaces_its_csv_by_a_header(tmp_path: Path) -> None:
    rows = one_day(POSTS).rows(t.REJECTIONS)
    days = [("crm", str(DAY)), ("crm", str(DAY + timedelta(days=1)))]
    export_csv(rows, days, tmp_path)
    full, empty = export_csv(rows.clear(), days[:1], tmp_path)[0], tmp_path / "crm" / f"{days[1][1]}.csv"
    for path in (full, empty):
        assert path.read_text().strip() == ",".join(t.REJECTIONS.dtypes)
    assert sorted(path.name for path in (tmp_path / "crm").iterdir()) == sorted(f"{day}.csv" for _, day in days)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd", "'+1+cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-cmd", "'-cmd"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("-3", "-3"),
        ("-0.25", "-0.25"),
        ("0.35", "0.35"),
        ("r=1", "r=1"),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_prefixed_and_numbers_are_not(
    cell: str, written: str, tmp_path: Path
) -> None:
    rows = one_day([a_post("t3_a", over_18=True)]).rows(t.REJECTIONS).with_columns(pl.lit(cell).alias("observed"))
    (path,) = export_csv(rows, [("crm", str(DAY))], tmp_path)
    assert pl.read_csv(path, infer_schema=False)["observed"].to_list() == [written]


def test_what_a_model_turned_down_is_there_once_and_not_after_a_gate_turned_it_away_too() -> None:
    world = one_day([*POSTS, a_post("t3_d")], some_settings(a_campaign(gates={"min_fused": 0.0})))
    world.extract([DAY], lambda row: {"status": "rejected", "reason": "refused", "observed": "no"})
    candidates = set(world.rows(t.RANKED_POSTS).filter(pl.col("status") == "ok")["fullname"])
    told = world.rows(t.REJECTIONS).filter(pl.col("stage") == "llm")
    assert candidates and set(told["fullname"]) == candidates
    assert told.select("gate", "reason", "observed").unique().rows() == [("refused", "refused", "no")]
    ranked = world.rows(t.RANKED_POSTS).with_columns(pl.lit("rejected").alias("status"), pl.lit("8").alias("gate"))
    stages = [world.rows(table).lazy() for table in (t.CAMPAIGN_POSTS, t.LEAD_EXTRACTIONS)]
    later = rejections(stages[0], ranked.lazy(), stages[1])
    assert later["fullname"].is_unique().all()
    assert "llm" not in later["stage"].to_list()
    assert rejections(stages[0], ranked.lazy()).equals(later), "before any extraction there is nothing to add"


def test_a_stage_without_rows_gives_an_empty_table_in_the_declared_columns() -> None:
    rows = rejections(*(table.empty().lazy() for table in (t.CAMPAIGN_POSTS, t.RANKED_POSTS, t.LEAD_EXTRACTIONS)))
    assert rows.schema == t.REJECTIONS.dtypes
    assert rows.is_empty()

"""Findings about tables: each speaks up for its fault alone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from leads_world import DAY, OPEN_GATES, World, a_campaign, a_post, lead, one_day, some_settings

from magpie.leads import quality
from magpie.leads import tables as t
from magpie.tables import Partitions, Table

HERE = Partitions({"crm": frozenset([DAY])})
NOW = datetime(2026, 3, 25, tzinfo=UTC)


def healthy(**gates: Any) -> World:
    posts = [a_post(f"t3_{n}", author_karma=50, sub_hot_posts=10) for n in range(6)] + [a_post("t3_x", over_18=True)]
    world = one_day(posts, some_settings(a_campaign(gates={**OPEN_GATES, **gates})))
    return world.extract([DAY], lambda row: lead(row, is_lead=row["row_ref"] != "t3_5"))


def change(world: World, table: Table, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> World:
    world.lake.frames[table.name] = edit(world.rows(table))  # type: ignore[attr-defined]
    return world


CHECKS = [
    quality.one_embed_model,
    quality.survivors_ranked,
    quality.row_conservation,
    quality.unique_across_days,
    quality.gates_apply(t.CAMPAIGN_POSTS),
    quality.gates_apply(t.RANKED_POSTS),
    quality.kill_rates(t.CAMPAIGN_POSTS),
    quality.kill_rates(t.RANKED_POSTS),
    quality.bad_lines_share,
    quality.candidates_read,
    quality.leads_complete,
    quality.evidence_grounded,
    quality.invalid_output,
    quality.pending_extractions(lambda: NOW),
]


@pytest.mark.parametrize("check", CHECKS)
def test_healthy_tables_and_empty_ones_give_no_finding(check: Any) -> None:
    assert check(healthy().lake, HERE).rows == []
    assert check(one_day([a_post("t3_a", "cats")]).lake, HERE).rows == []
    assert check(healthy().lake, Partitions({"crm": frozenset([DAY - timedelta(days=1)])})).rows == []


def test_two_embedding_models_in_a_partition_are_found() -> None:
    first = pl.int_range(pl.len()) == 0
    renamed = pl.when(first).then(pl.lit("another")).otherwise(pl.col("embed_model")).alias("embed_model")
    world = change(healthy(), t.RANKED_POSTS, lambda rows: rows.with_columns(renamed))
    finding = quality.one_embed_model(world.lake, HERE)
    assert finding.rows == [{"campaign_id": "crm", "day": str(DAY), "models": 2}]
    assert finding.summary == "1 partitions mix embedding models"


def test_a_survivor_without_a_score_is_found() -> None:
    world = change(healthy(), t.RANKED_POSTS, lambda rows: rows.filter(pl.col("fullname") != "t3_1"))
    assert quality.survivors_ranked(world.lake, HERE).rows == [{"campaign_id": "crm", "day": str(DAY), "unscored": 1}]


@pytest.mark.parametrize(
    ("table", "edit", "counts"),
    [
        (t.REJECTIONS, lambda rows: rows.clear(), (7, 5, 5)),
        (t.RANKED_POSTS, lambda rows: rows.head(4), (7, 6, 6)),
        (t.LEAD_EXTRACTIONS, lambda rows: rows.clear(), (7, 8, 7)),
        (t.REJECTIONS, lambda rows: rows.with_columns(pl.lit("t3_1").alias("fullname")), (7, 7, 5)),
        (t.CAMPAIGN_POSTS, lambda rows: rows.head(6), (6, 7, 7)),
        (t.CAMPAIGN_POSTS, lambda rows: rows.clear(), (0, 7, 7)),
    ],
)
def test_rows_lost_or_doubled_between_stages_are_found(
    table: Table, edit: Callable[[pl.DataFrame], pl.DataFrame], counts: tuple[int, int, int]
) -> None:
    finding = quality.row_conservation(change(healthy(), table, edit).lake, HERE)
    matched, accounted, distinct = counts
    assert finding.rows == [
        {"campaign_id": "crm", "day": str(DAY), "matched": matched, "accounted": accounted, "distinct": distinct}
    ]


@pytest.mark.parametrize(
    ("table", "edit", "counts"),
    [
        (t.LEAD_EXTRACTIONS, lambda rows: rows.head(5), (6, 5, 5)),
        (t.LEAD_EXTRACTIONS, lambda rows: rows.clear(), (6, 0, 0)),
        (t.RANKED_POSTS, lambda rows: rows.head(5), (5, 6, 5)),
        (t.LEAD_EXTRACTIONS, lambda rows: rows.with_columns(pl.col("fullname") + "z"), (6, 6, 0)),
    ],
)
def test_a_candidate_that_was_not_read_or_a_reading_of_none_is_found(
    table: Table, edit: Callable[[pl.DataFrame], pl.DataFrame], counts: tuple[int, int, int]
) -> None:
    finding = quality.candidates_read(change(healthy(), table, edit).lake, HERE)
    candidates, extractions, both = counts
    expected = {"candidates": candidates, "extractions": extractions, "in_both": both}
    assert finding.rows == [{"campaign_id": "crm", "day": str(DAY), **expected}]


def test_a_lead_without_its_extraction_is_found_and_so_is_one_that_was_lost() -> None:
    fewer = quality.leads_complete(change(healthy(), t.LEADS, lambda rows: rows.head(4)).lake, HERE)
    assert [(row["extracted"], row["leads"]) for row in fewer.rows] == [(5, 4)]
    more = quality.leads_complete(change(healthy(), t.LEAD_EXTRACTIONS, lambda rows: rows.head(4)).lake, HERE)
    assert [(row["extracted"], row["leads"]) for row in more.rows] == [(4, 5)]


def read(**changed: pl.Expr) -> World:
    """Twenty readings by one model, with some columns changed by their number `n`."""
    posts = [a_post(f"t3_{n}") for n in range(20)]
    world = one_day(posts, some_settings(a_campaign(gates=OPEN_GATES))).extract([DAY], lead)
    edit = [made.alias(name) for name, made in changed.items()]
    return change(world, t.LEAD_EXTRACTIONS, lambda rows: rows.with_row_index("n").with_columns(edit).drop("n"))


@pytest.mark.parametrize(("doubtful", "found"), [(1, []), (2, [0.1])])
def test_more_than_one_doubtful_quote_in_twenty_is_found(doubtful: int, found: list[float]) -> None:
    world = read(evidence_grounded=pl.col("n") >= doubtful)
    assert [row["ungrounded"] for row in quality.evidence_grounded(world.lake, HERE).rows] == found
    no_leads = read(evidence_grounded=pl.lit(False), is_lead=pl.lit(False))
    assert quality.evidence_grounded(no_leads.lake, HERE).rows == [], "of what is no lead nobody reads the quote"


@pytest.mark.parametrize(("invalid", "found"), [(1, []), (2, [0.1])])
def test_more_than_one_invalid_answer_in_twenty_is_found(invalid: int, found: list[float]) -> None:
    bad = pl.col("n") < invalid
    reason = pl.when(pl.col("n") == 0).then(pl.lit("llm_error:invalid_output")).otherwise(pl.lit("invalid_output"))
    world = read(reason=pl.when(bad).then(reason), is_lead=pl.when(~bad).then(True))
    assert [row["invalid"] for row in quality.invalid_output(world.lake, HERE).rows] == found
    capped = read(reason=pl.lit("cap_exhausted"), is_lead=pl.lit(None, pl.Boolean))
    assert quality.invalid_output(capped.lake, HERE).rows == []


@pytest.mark.parametrize(
    ("waiting", "hours_ago", "found"),
    [(10, 1, False), (11, 1, True), (1, 72, False), (1, 73, True), (1, None, False)],
)
def test_candidates_that_wait_too_many_or_too_long_are_found(waiting: int, hours_ago: int | None, found: bool) -> None:
    waits = pl.col("n") < waiting
    not_before = pl.lit(None if hours_ago is None else NOW - timedelta(hours=hours_ago), pl.Datetime("us", "UTC"))
    world = read(
        status=pl.when(waits).then(pl.lit("pending")).otherwise("status"),
        reason=pl.when(waits).then(pl.lit("cap_exhausted")),
        not_before=pl.when(waits).then(not_before),
    )
    rows = quality.pending_extractions(lambda: NOW)(world.lake, HERE).rows
    assert [row["mostly"] for row in rows] == (["cap_exhausted"] if found else [])


def test_every_check_is_described() -> None:
    assert {"every_candidate_is_read", "every_lead_is_there", "evidence_grounded"} <= quality.DESCRIPTIONS.keys()
    assert all(text.endswith(".") for text in quality.DESCRIPTIONS.values())


def test_a_post_in_two_days_is_found() -> None:
    def again(rows: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([rows, rows.head(1).with_columns(pl.col("day") - pl.duration(days=1))])

    finding = quality.unique_across_days(change(healthy(), t.CAMPAIGN_POSTS, again).lake, HERE)
    assert finding.rows == [{"campaign_id": "crm", "fullname": "t3_0", "days": 2}]


def test_a_gate_that_is_on_without_values_is_found_and_one_that_is_off_is_not() -> None:
    posts = [a_post(f"t3_{n}") for n in range(5)]
    check = quality.gates_apply(t.CAMPAIGN_POSTS)
    default = check(one_day(posts).lake, HERE)
    assert [(row["gate"], row["not_applicable"]) for row in default.rows] == [("7", 1.0)], "no karma in archives"
    on = one_day(posts, some_settings(a_campaign(gates={"min_sub_ratio": 1.0})))
    assert [row["gate"] for row in check(on.lake, HERE).rows] == ["6", "7"]
    four_of_five = [*posts[:4], a_post("t3_4", author_karma=50)]
    assert check(one_day(four_of_five).lake, HERE).rows == [], "80 % is not more than 80 %"


def rated(rates: list[float], rows_a_day: int = 50) -> World:
    """A table in which gate 4 rejects these shares on the days up to `DAY`."""
    entry = {"gate": "4", "reason": "nsfw", "observed": 1.0, "threshold": 0.0, "detail": None}
    rows = [
        {
            "campaign_id": "crm",
            "day": DAY - timedelta(days=len(rates) - 1 - position),
            "fullname": f"t3_{position}x{n}",
            "gate_log": [{**entry, "outcome": "reject" if n < rate * rows_a_day else "pass"}],
        }
        for position, rate in enumerate(rates)
        for n in range(rows_a_day)
    ]
    frame = pl.DataFrame(rows, schema_overrides={"gate_log": t.CAMPAIGN_POSTS.dtypes["gate_log"]})
    world = healthy()
    blank = [pl.lit(None, dtype).alias(name) for name, dtype in t.CAMPAIGN_POSTS.dtypes.items() if name not in frame]
    world.lake.frames[t.CAMPAIGN_POSTS.name] = frame.with_columns(blank).select(list(t.CAMPAIGN_POSTS.dtypes))  # type: ignore[attr-defined]
    return world


USUAL = [0.2, 0.22, 0.18, 0.2, 0.2, 0.24, 0.16]


@pytest.mark.parametrize(
    ("rates", "rows_a_day", "found"),
    [
        ([*USUAL, 0.2], 50, False),
        ([*USUAL, 0.24], 50, False),
        ([*USUAL, 0.5], 50, True),
        ([*USUAL, 0.0], 50, True),
        ([*USUAL[1:], 0.5], 50, False),  # six days are no week
        ([*USUAL, 0.5], 25, False),  # too few rows to judge
        ([0.0] * 7 + [0.02], 50, False),  # after a quiet week the first rejection is no finding
        ([0.0] * 7 + [0.1], 50, True),
    ],
)
def test_a_kill_rate_is_found_when_it_strays_from_the_week_before(
    rates: list[float], rows_a_day: int, found: bool
) -> None:
    finding = quality.kill_rates(t.CAMPAIGN_POSTS)(rated(rates, rows_a_day).lake, HERE)
    assert [row["gate"] for row in finding.rows] == (["4"] if found else [])


@pytest.mark.parametrize(("bad", "found"), [(1, False), (2, True)])
def test_a_file_with_more_than_one_percent_bad_lines_is_found(bad: int, found: bool) -> None:
    moment = datetime(2026, 3, 20, tzinfo=UTC)
    row = {
        "status": "ok",
        "source_file": "RS.zst",
        "bytes": 9,
        "modified_at": moment,
        "lines": 100,
        "rows": 100 - bad,
        "bad_lines": bad,
    }
    world = healthy()
    nothing = {name: None for name in t.REDDIT_ARCHIVES.dtypes if name not in row}
    world.lake.frames[t.REDDIT_ARCHIVES.name] = pl.DataFrame([{**row, **nothing}], schema=t.REDDIT_ARCHIVES.dtypes)  # type: ignore[attr-defined]
    finding = quality.bad_lines_share(world.lake, HERE)
    assert [row["source_file"] for row in finding.rows] == (["RS.zst"] if found else [])


def test_thresholds_under_which_a_gate_never_rejects_are_found_by_campaign() -> None:
    settings = some_settings(a_campaign(gates={"w_cos": 0.6}), a_campaign("fine", gates={}))
    assert quality.dead_gates(settings).rows == []
    reference = some_settings(a_campaign(), leads={"profile": "reference"})
    rows = quality.dead_gates(reference).rows
    assert [row["campaign"] for row in rows] == ["crm", "crm"]
    assert "0.3 <= cosine_threshold 0.3" in rows[0]["gate"]
    assert "min_fused 0.1 <= w_cos x cosine_threshold 0.18" in rows[1]["gate"]


def test_every_finding_has_a_description() -> None:
    assert all(text.endswith(".") for text in quality.DESCRIPTIONS.values())

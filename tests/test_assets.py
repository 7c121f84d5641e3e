"""Assets of leads over partition ranges, their checks, and the runner behind `magpie run`."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster_world import (
    BOTH,
    FIRST,
    LAST,
    Made,
    World,
    archive,
    days_between,
    filled,
    made,
    rows,
    run_plainly,
    sample_settings,
    settings_over,
    submission,
    versions,
    world,
)

from assets.partitions import RANGE_END, RANGE_START, day_range
from magpie.errors import UserError
from magpie.leads import tables as t
from magpie.settings import Settings
from magpie.tables import Partitions
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, REDDIT_DAYS
from schedules.spend import SPEND

__all__ = ["filled", "made"]

PER_DAY = (t.REDDIT_POSTS, t.CORPUS_TERMS, t.CORPUS_STATS, t.SUBREDDIT_STATS)
PER_CAMPAIGN = (
    *(t.CAMPAIGN_POSTS, t.POST_EMBEDDINGS, t.RANKED_POSTS),
    *(t.LEAD_EXTRACTIONS, t.LEADS, t.REJECTIONS),
)
EARLY, LATE = date(2026, 3, 4), date(2026, 3, 6)


def with_gates(settings: Settings, **gates: Any) -> Settings:
    return settings.model_copy(update={"leads": settings.leads.model_copy(update={"gates": gates})})


# --- partition ranges ---------------------------------------------------------------------------------------------


def test_a_range_of_one_campaign_is_one_commit_per_table_and_makes_the_same_rows_again(filled: World) -> None:
    before = {table.name: rows(filled.lake, table) for table in t.TABLES}
    was = versions(filled.lake)
    results = filled.run_campaign("agency-crm", EARLY, LATE), filled.read_campaign("agency-crm", EARLY, LATE)
    grown = {name: version - was[name] for name, version in versions(filled.lake).items() if version != was[name]}
    assert grown == dict.fromkeys((*CAMPAIGN_DAYS, *CAMPAIGN_ANSWERS), 1)
    for table in t.TABLES:
        assert rows(filled.lake, table).equals(before[table.name]), table.name
    made_keys = {event.partition for result in results for event in result.get_asset_materialization_events()}
    assert made_keys == {f"agency-crm|{day}" for day in days_between(EARLY, LATE)}


def test_a_range_over_several_campaigns_is_one_commit_per_table(filled: World) -> None:
    before = {table.name: rows(filled.lake, table) for table in PER_CAMPAIGN}
    was = versions(filled.lake)
    tags = {RANGE_START: f"agency-crm|{EARLY}", RANGE_END: f"folding-bike|{LATE}"}
    results = [filled.run(job, tags=tags) for job in ("campaign_days", "campaign_answers")]
    grown = {name: version - was[name] for name, version in versions(filled.lake).items() if version != was[name]}
    assert grown == dict.fromkeys((*CAMPAIGN_DAYS, *CAMPAIGN_ANSWERS), 1)
    for table in PER_CAMPAIGN:
        assert rows(filled.lake, table).equals(before[table.name]), table.name
    keys = {event.partition for result in results for event in result.get_asset_materialization_events()}
    assert keys == {f"{campaign}|{day}" for campaign in BOTH for day in days_between(EARLY, LATE)}


def test_days_made_in_one_run_or_one_by_one_hold_the_same_rows(filled: World) -> None:
    before = {table.name: rows(filled.lake, table) for table in PER_DAY}
    for day in (LATE, EARLY):
        filled.run("reddit_days", partition_key=str(day))
    was = versions(filled.lake)
    filled.run("reddit_days", tags=day_range(FIRST, LAST))
    grown = {name: version - was[name] for name, version in versions(filled.lake).items() if version != was[name]}
    assert grown == dict.fromkeys(REDDIT_DAYS, 1)
    for table in PER_DAY:
        assert rows(filled.lake, table).equals(before[table.name]), table.name


def test_other_settings_reach_the_days_of_the_range_and_no_other(filled: World) -> None:
    before = rows(filled.lake, t.CAMPAIGN_POSTS)
    stricter = with_gates(filled.settings, min_sub_subscribers=10_000_000)
    with world(stricter, ["leads"]) as changed:
        changed.run_campaign("agency-crm", EARLY, LATE)
    after = rows(filled.lake, t.CAMPAIGN_POSTS)
    inside = (pl.col("campaign_id") == "agency-crm") & pl.col("day").is_between(EARLY, LATE)
    assert after.filter(~inside).equals(before.filter(~inside))
    hashes = set(after.filter(inside)["config_hash"])
    assert len(hashes) == 1
    assert not hashes & set(before["config_hash"])
    assert after.filter(inside)["status"].eq("ok").sum() < before.filter(inside)["status"].eq("ok").sum()


def test_the_corpus_of_a_day_reaches_back_29_days_and_not_30(tmp_path: Path) -> None:
    last = date(2026, 4, 20)
    lines = [submission(f"p{n}", last - timedelta(days=n)) for n in (0, 29, 30)]
    archive(tmp_path / "in" / "posts.ndjson", *lines)
    with world(settings_over(tmp_path / "in", tmp_path / "home"), ["leads"]) as fresh:
        fresh.run("reddit_days", tags=day_range(last - timedelta(days=30), last))
        in_one_run = rows(fresh.lake, t.CORPUS_STATS)
        fresh.run("reddit_days", partition_key=str(last))
        assert rows(fresh.lake, t.CORPUS_STATS).equals(in_one_run)
    counts = dict(in_one_run.select("day", "corpus_n").iter_rows())
    assert counts[last] == 2
    assert counts[last - timedelta(days=1)] == 2
    assert counts[last - timedelta(days=30)] == 1
    assert set(in_one_run["window_days"]) == {30}


def test_a_day_that_lost_its_posts_is_cleared_and_its_neighbours_stay(tmp_path: Path) -> None:
    lines = [submission("one", EARLY), submission("two", EARLY + timedelta(days=1))]
    dump = archive(tmp_path / "in" / "posts.ndjson", *lines)
    with world(settings_over(tmp_path / "in", tmp_path / "home"), ["leads"]) as fresh:
        fresh.run("reddit_days", tags=day_range(EARLY, LATE))
        archive(dump, lines[1])
        fresh.run("reddit_days", partition_key=str(EARLY))
        assert rows(fresh.lake, t.REDDIT_POSTS)["fullname"].to_list() == ["t3_two"]


# --- asset checks -------------------------------------------------------------------------------------------------


def findings(result: dg.ExecuteInProcessResult, name: str) -> list[dg.AssetCheckEvaluation]:
    return [found for found in result.get_asset_check_evaluations() if found.check_name == name]


def test_a_failed_check_names_the_partitions_and_stops_nothing(filled: World) -> None:
    stored = filled.lake.read(t.CAMPAIGN_POSTS, Partitions({"agency-crm": frozenset({FIRST})})).collect()
    twice = stored.filter(pl.col("status") == "ok").head(1)
    strayed = twice.with_columns(pl.lit(LAST).alias("day"))
    filled.lake.write(t.CAMPAIGN_POSTS, strayed, Partitions({"agency-crm": frozenset({LAST})}))
    was = versions(filled.lake)
    result = filled.checked("leads").run_campaign("agency-crm", FIRST, EARLY)
    (found,) = findings(result, "unique_across_days")
    assert result.success
    assert not found.passed
    assert not found.blocking
    assert found.severity == dg.AssetCheckSeverity.ERROR
    told = str(found.metadata["findings"].value).replace("\\", "")
    assert twice["fullname"][0] in told
    assert "agency-crm" in told
    assert versions(filled.lake)["ranked_posts"] == was["ranked_posts"] + 1


def test_a_check_asked_for_alone_judges_every_partition_and_names_the_bad_one(filled: World) -> None:
    filled.lake.write(t.RANKED_POSTS, t.RANKED_POSTS.empty(), Partitions({"folding-bike": frozenset({LATE})}))
    defs = filled.checked("leads").defs
    keys = [key for check in defs.asset_checks or [] for key in check.check_keys]
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(*keys))
    job = dg.Definitions.merge(defs, dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    result = job.execute_in_process(instance=filled.instance)
    (found,) = findings(result, "every_survivor_is_ranked")
    told = str(found.metadata["findings"].value)
    assert not found.passed
    assert "folding-bike" in told
    assert str(LATE) in told
    assert str(EARLY) not in told
    assert {name.check_name for name in result.get_asset_check_evaluations()} == {key.name for key in keys}


def test_the_reference_thresholds_are_told_to_have_a_dead_gate(filled: World) -> None:
    leads = filled.settings.leads.model_copy(update={"profile": "reference"})
    with world(filled.settings.model_copy(update={"leads": leads}), ["leads"], checks=True) as reference:
        result = reference.run_campaign("agency-crm", FIRST, FIRST)
    (found,) = findings(result, "dead_gates")
    assert result.success
    assert not found.passed
    assert "agency-crm" in str(found.metadata["findings"].value)
    (usual,) = findings(filled.checked("leads").run_campaign("agency-crm", FIRST, FIRST), "dead_gates")
    assert usual.passed


# --- the runner ---------------------------------------------------------------------------------------------------


def test_a_plain_run_makes_every_day_of_the_sample_and_its_progress_reaches_the_total(made: Made) -> None:
    days = len(days_between(FIRST, LAST))
    steps = made.progress
    assert not made.outcome.failures
    assert (made.outcome.first, made.outcome.last) == (FIRST, LAST)
    assert steps[-1].done == steps[-1].total == 2 + days * 4 + 2 + days * 6 * 2 + len(SPEND)
    assert all(earlier.done <= later.done for earlier, later in pairwise(steps))
    assert {step.doing for step in steps} >= {table.name for table in t.TABLES}


def test_a_start_day_within_an_archive_is_where_a_plain_run_begins(tmp_path: Path) -> None:
    archive(tmp_path / "in" / "posts.ndjson", *(submission(f"d{n}", FIRST + timedelta(days=n)) for n in range(6)))
    settings = settings_over(tmp_path / "in", tmp_path / "home", start_day=EARLY)
    outcome, _ = run_plainly(settings, campaigns=("agency-crm", "agency-crm"))
    assert not outcome.failures
    assert (outcome.first, outcome.last) == (EARLY, FIRST + timedelta(days=5))
    assert len(rows(World(settings, dg.Definitions(), None).lake, t.REDDIT_POSTS)) == 4  # type: ignore[arg-type]


def test_an_archive_that_cannot_be_read_fails_the_run_with_one_line(tmp_path: Path) -> None:
    archive(tmp_path / "in" / "good.ndjson", submission("one", EARLY))
    (tmp_path / "in" / "broken.zst").write_bytes(b"this is no zstandard frame")
    outcome, told = run_plainly(settings_over(tmp_path / "in", tmp_path / "home"))
    (line,) = outcome.failures
    assert "broken.zst" in line
    assert "\n" not in line
    assert "Error" not in line
    assert told


def test_what_the_project_says_itself_comes_without_class_names_and_tracebacks(tmp_path: Path) -> None:
    archive(tmp_path / "in" / "good.ndjson", submission("one", EARLY))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "control.sqlite").write_text("no database " * 100)
    outcome, _ = run_plainly(settings_over(tmp_path / "in", tmp_path / "home"))
    (line,) = outcome.failures
    assert "cannot use the control database" in line
    assert "UserError" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"first": LATE, "last": EARLY}, "must be in order"),
        ({"first": date(2020, 1, 1)}, "start_day 2026-03-02"),
        ({"last": date(2999, 1, 1)}, "yesterday"),
        ({"campaigns": ("nobody",)}, "no campaign 'nobody'"),
        ({"product": "kites"}, "products: leads, videos, memes, content, persona, spend, marts"),
    ],
)
def test_a_wrong_request_is_refused_with_one_line(tmp_path: Path, request_: dict[str, Any], told: str) -> None:
    archive(tmp_path / "in" / "good.ndjson", submission("one", EARLY))
    with pytest.raises(UserError, match=told) as raised:
        run_plainly(settings_over(tmp_path / "in", tmp_path / "home"), **request_)
    assert "\n" not in str(raised.value)


def test_archives_without_a_post_in_the_range_are_named(tmp_path: Path) -> None:
    archive(tmp_path / "in" / "old.ndjson", submission("one", date(2020, 1, 1)))
    with pytest.raises(UserError, match="no post between start_day 2026-03-02 and yesterday"):
        run_plainly(settings_over(tmp_path / "in", tmp_path / "home"))


def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="MAGPIE_HOME") as raised:
        run_plainly(sample_settings(tmp_path / "file" / "home"))
    assert "\n" not in str(raised.value)

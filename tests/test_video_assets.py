"""Assets of videos over partition ranges, what they show, and their checks, all on the bundled sample."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster_world import (
    LADDER,
    TEAPOT,
    VIDEO_FIRST,
    VIDEO_LAST,
    Made,
    World,
    days_between,
    filled_videos,
    made_videos,
    rows,
    settled,
    spoken,
    versions,
    videos_over,
    world,
)

from assets.partitions import RANGE_END, RANGE_START, day_range
from magpie.lake import Lake
from magpie.tables import Partitions, Table
from magpie.videos import tables as t
from magpie.videos.reading import EXTRACT_PICKS
from magpie.videos.settings import AnalysisVersion
from schedules.videos import CHANNEL_DAYS, VIDEO_DAYS

__all__ = ["filled_videos", "made_videos"]

PER_CHANNEL = tuple(table for table in t.TABLES if table.name in CHANNEL_DAYS)
# Three days of both channels, with a Short, missing captions and ordinary videos among them.
EARLY, LATE = date(2026, 3, 4), date(2026, 3, 6)


def stored(lake: Lake, tables: tuple[Table, ...] = t.TABLES) -> dict[str, pl.DataFrame]:
    return {table.name: settled(rows(lake, table)) for table in tables}


def assert_same(before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]) -> None:
    for name, frame in before.items():
        assert frame.height, f"{name} has no rows, so that they are the same says nothing"
        assert after[name].equals(frame), name


def grown(lake: Lake, was: Mapping[str, int]) -> dict[str, int]:
    now = versions(lake, t.TABLES)
    return {name: version - was[name] for name, version in now.items() if version != was[name]}


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


# --- partition ranges ---------------------------------------------------------------------------------------------


def test_a_range_of_one_channel_is_one_commit_per_table_and_makes_the_same_rows_again(filled_videos: World) -> None:
    before, was = stored(filled_videos.lake), versions(filled_videos.lake, t.TABLES)
    result = filled_videos.run_channel(LADDER, VIDEO_FIRST, VIDEO_LAST)
    assert grown(filled_videos.lake, was) == dict.fromkeys(CHANNEL_DAYS, 1)
    assert_same(before, stored(filled_videos.lake))
    made_keys = {event.partition for event in result.get_asset_materialization_events()}
    assert made_keys == {f"{LADDER}|{day}" for day in days_between(VIDEO_FIRST, VIDEO_LAST)}


def test_a_range_over_both_channels_is_one_commit_per_table(filled_videos: World) -> None:
    before, was = stored(filled_videos.lake), versions(filled_videos.lake, t.TABLES)
    tags = {RANGE_START: f"{LADDER}|{EARLY}", RANGE_END: f"{TEAPOT}|{LATE}"}
    result = filled_videos.run("channel_days", tags=tags)
    assert grown(filled_videos.lake, was) == dict.fromkeys(CHANNEL_DAYS, 1)
    assert_same(before, stored(filled_videos.lake))
    keys = {event.partition for event in result.get_asset_materialization_events()}
    assert keys == {f"{channel}|{day}" for channel in (LADDER, TEAPOT) for day in days_between(EARLY, LATE)}


def test_channel_days_made_one_by_one_hold_the_rows_of_a_range(filled_videos: World) -> None:
    before = stored(filled_videos.lake)
    days = days_between(EARLY, LATE)
    for table in PER_CHANNEL:
        gone = Partitions({channel: frozenset(days) for channel in (TEAPOT, LADDER)})
        filled_videos.lake.write(table, table.empty(), gone)
    for day in reversed(days):
        for channel in (TEAPOT, LADDER):
            key = dg.MultiPartitionKey({"channel": channel, "day": str(day)})
            filled_videos.run("channel_days", partition_key=key)
    assert_same(before, stored(filled_videos.lake))


def test_sums_over_days_and_prices_made_one_by_one_hold_the_rows_of_a_range(filled_videos: World) -> None:
    before = stored(filled_videos.lake)
    first, last = date(2026, 3, 24), date(2026, 3, 26)
    for table in (t.TICKER_CONSENSUS, t.DAILY_DIGEST, t.DAILY_PRICES):
        filled_videos.lake.write(table, table.empty(), Partitions.days(days_between(first, last)))
    for day in reversed(days_between(first, last)):
        filled_videos.run("price_days", partition_key=str(day))
        filled_videos.run("video_days", partition_key=str(day))
    assert_same(before, stored(filled_videos.lake))
    was = versions(filled_videos.lake, t.TABLES)
    filled_videos.run("video_days", tags=day_range(first, last))
    filled_videos.run("price_days", tags=day_range(first, last))
    assert grown(filled_videos.lake, was) == dict.fromkeys((*VIDEO_DAYS, "daily_prices"), 1)
    assert_same(before, stored(filled_videos.lake))


def test_a_video_whose_file_is_gone_leaves_its_day_and_the_others_stay(tmp_path: Path) -> None:
    lines = ("I am buying Nvidia again because data centres keep ordering",)
    first = spoken(tmp_path / "in", "gone_-_-_-1", TEAPOT, noon(EARLY), *lines)
    spoken(tmp_path / "in", "stays-_-_-2", TEAPOT, noon(LATE), *lines)
    with world(videos_over(tmp_path / "in", tmp_path / "home"), ["videos"]) as fresh:
        fresh.run("video_landing")
        fresh.run_channel(TEAPOT, EARLY, LATE)
        assert rows(fresh.lake, t.STOCK_MENTIONS)["video_id"].sort().to_list() == ["gone_-_-_-1", "stays-_-_-2"]
        for path in first.parent.glob("*gone_*"):
            path.unlink()
        fresh.run("video_landing")
        fresh.run_channel(TEAPOT, EARLY, EARLY)
        for table in (t.VIDEOS, t.TRANSCRIPTS, t.VIDEO_SEGMENTS, t.VIDEO_ANALYSES, t.STOCK_MENTIONS):
            assert set(rows(fresh.lake, table)["video_id"]) == {"stays-_-_-2"}, table.name


def test_captions_that_come_late_are_read_when_the_day_of_publication_is_made_again(tmp_path: Path) -> None:
    spoken(tmp_path / "in", "late_-_-_-1", TEAPOT, noon(EARLY))
    with world(videos_over(tmp_path / "in", tmp_path / "home"), ["videos"]) as fresh:
        fresh.run("video_landing")
        fresh.run_channel(TEAPOT, EARLY, EARLY)
        (heard,) = rows(fresh.lake, t.TRANSCRIPTS).rows(named=True)
        assert (heard["status"], heard["reason"]) == ("failed", "no_captions")
        assert rows(fresh.lake, t.VIDEO_ANALYSES).is_empty()
        spoken(tmp_path / "in", "late_-_-_-1", TEAPOT, noon(EARLY), "I am selling all of my Tesla before the report")
        fresh.run("video_landing")
        fresh.run_channel(TEAPOT, EARLY, EARLY)
        (mention,) = rows(fresh.lake, t.STOCK_MENTIONS).rows(named=True)
        assert (mention["day"], mention["symbol"], mention["action"]) == (EARLY, "TSLA", "sell")


# --- what the sample shows ----------------------------------------------------------------------------------------


def fates(lake: Lake, table: Table) -> set[tuple[str, str | None]]:
    return set(lake.read(table).select("status", "reason").unique().collect().rows())


def test_the_sample_shows_every_fate_it_is_made_for(made_videos: Made) -> None:
    lake, ok = made_videos.lake, ("ok", None)
    assert fates(lake, t.VIDEO_FILES) == {
        ok,
        ("failed", "unreadable"),
        ("rejected", "unreadable"),
        ("rejected", "unknown_channel"),
        ("rejected", "no_video"),
    }
    assert fates(lake, t.VIDEOS) == {
        ok,
        *(("rejected", reason) for reason in ("short", "restricted", "private", "before_since")),
        *(("pending", reason) for reason in ("upcoming", "live_now")),
    }
    assert fates(lake, t.TRANSCRIPTS) == {
        ok,
        ("failed", "no_captions"),
        ("failed", "bad_captions"),
        ("pending", "awaiting_captions"),
    }
    assert fates(lake, t.VIDEO_ANALYSES) == {ok}
    assert fates(lake, t.STOCK_MENTIONS) >= {ok, ("rejected", "not_a_pick"), ("rejected", "symbol_ambiguous")}
    assert fates(lake, t.PICK_OUTCOMES) == {
        ok,
        ("pending", "no_price"),
        ("rejected", "no_position"),
        ("rejected", "no_date"),
    }


def test_a_video_falls_through_to_its_mentions_in_one_run_and_every_row_has_its_origin(made_videos: Made) -> None:
    lake = made_videos.lake
    listed, heard, cut, read, said = (
        lake.read(table).collect()
        for table in (t.VIDEOS, t.TRANSCRIPTS, t.VIDEO_SEGMENTS, t.VIDEO_ANALYSES, t.STOCK_MENTIONS)
    )
    with_text = set(heard.filter(pl.col("status") == "ok")["video_id"])
    assert set(heard["video_id"]) == set(listed.filter(pl.col("status") == "ok")["video_id"])
    assert set(cut["video_id"]) == set(read["video_id"]) == with_text
    assert set(said["analysis_id"]) <= set(read["analysis_id"])
    assert set(lake.read(t.PICK_OUTCOMES).collect()["mention_id"]) == set(
        said.filter(pl.col("status") == "ok")["mention_id"]
    )
    assert read["is_active"].all()
    assert set(read["provider"]) == {"offline"}
    assert read["cost_usd"].sum() == Decimal(0)


def test_both_channels_vote_and_a_day_after_the_last_video_still_has_a_consensus(made_videos: Made) -> None:
    scores = made_videos.lake.read(t.TICKER_CONSENSUS).collect()
    assert scores["n_channels"].max() == 2
    assert scores["contested"].any()
    window = timedelta(days=made_videos.settings.videos.consensus_days - 1)
    last_pick = made_videos.lake.read(t.STOCK_MENTIONS).filter(pl.col("status") == "ok").collect()["day"].max()
    assert isinstance(last_pick, date)
    assert scores["day"].max() == last_pick + window
    pages = made_videos.lake.read(t.DAILY_DIGEST).collect()
    assert set(pages["day"]) == set(days_between(VIDEO_FIRST, VIDEO_LAST + window))


# --- metadata -----------------------------------------------------------------------------------------------------


def shown(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """By asset, what its last materialisation shows."""
    events = result.get_asset_materialization_events()
    return {
        event.asset_key.path[-1]: {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in events
        if event.asset_key is not None
    }


def first_cells(table: str) -> list[str]:
    return [line.strip("| ").split(" | ")[0] for line in table.splitlines()]


@pytest.fixture
def told(filled_videos: World) -> dict[str, dict[str, Any]]:
    found = shown(filled_videos.run("video_landing"))
    found |= shown(filled_videos.run_channel(TEAPOT, VIDEO_FIRST, VIDEO_LAST))
    return found | shown(filled_videos.run("video_days", tags=day_range(VIDEO_LAST, VIDEO_LAST)))


def test_a_materialisation_shows_what_a_person_wants_to_know(told: dict[str, dict[str, Any]]) -> None:
    assert "unknown\\_channel" in told["video_files"]["files_of_no_use"]
    skipped = told["videos"]["skipped_videos"]
    for reason in ("live\\_now", "members\\_only", "age\\_restricted", "short"):
        assert reason in skipped
    assert told["transcripts"]["words"] > 5000
    assert "no\\_captions" in told["transcripts"]["skipped_videos"]
    assert told["video_segments"]["rows_in_run"] >= told["video_analyses"]["rows_in_run"]
    assert told["video_analyses"]["rows_in_run_by_status"] == {"ok": told["video_analyses"]["rows_in_run"]}
    assert "bullish" in told["video_analyses"]["outlooks"]
    assert told["video_analyses"]["versions"] == {"v1": told["video_analyses"]["rows_in_run"]}
    assert told["video_analyses"]["made_by"].startswith("offline")
    assert (told["video_analyses"]["model_calls"], told["video_analyses"]["spent_usd"]) == (0, 0.0)
    mentions = told["stock_mentions"]
    assert {"buy", "avoid", "sell"} <= set(first_cells(mentions["picks_by_action"]))
    links = mentions["top_mentions"].splitlines()
    assert len(links) == 5
    assert all("](https://www.youtube.com/watch?v=" in line and "&t=" in line for line in links)
    assert mentions["grounded_quotes"] == 1.0
    assert mentions["unknown_symbols"] == "none"
    assert first_cells(told["pick_outcomes"]["outcomes_by_horizon"])[2:] == ["5", "10", "20"]
    for side in ("highest", "lowest"):
        assert str(VIDEO_LAST) in told["ticker_consensus"][side]
    assert told["daily_digest"]["page"].startswith(f"# {VIDEO_LAST}")
    for name, entries in told.items():
        assert entries["table_version"] >= 1, name


def test_a_day_without_videos_shows_nothing_and_breaks_nothing(filled_videos: World) -> None:
    quiet = date(2026, 5, 20)
    found = shown(filled_videos.run_channel(LADDER, quiet, quiet))
    found |= shown(filled_videos.run("video_days", tags=day_range(quiet, quiet)))
    assert {name: entries["rows_in_run"] for name, entries in found.items()} == {
        **dict.fromkeys(CHANNEL_DAYS, 0),
        "ticker_consensus": 0,
        "daily_digest": 1,
    }
    assert found["stock_mentions"]["top_mentions"] == "*nothing*"
    assert found["daily_digest"]["page"] == "*nothing*"


# --- asset checks -------------------------------------------------------------------------------------------------


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def test_no_check_trips_on_the_sample(made_videos: Made) -> None:
    assert made_videos.outcome.failures == ()
    assert made_videos.outcome.warnings == ()


def test_a_check_speaks_of_the_days_of_its_run_so_a_day_whose_only_video_has_no_captions_trips_it(
    filled_videos: World,
) -> None:
    # Of the whole sample 3 of 35 videos lack captions; on this day the only one does.
    day = date(2026, 3, 24)
    result = filled_videos.checked("videos").run_channel(TEAPOT, day, day)
    found = checks(result)
    assert result.success
    assert {name for name, check in found.items() if not check.passed} == {"captions_there"}
    assert found["captions_there"].severity == dg.AssetCheckSeverity.WARN
    assert TEAPOT in str(found["captions_there"].metadata["findings"].value)


def test_a_mention_without_its_analysis_is_an_error_that_names_the_channel_and_blocks_nothing(
    filled_videos: World,
) -> None:
    lake = filled_videos.lake
    one_day = Partitions({TEAPOT: frozenset({EARLY})})
    mention = lake.read(t.STOCK_MENTIONS).filter(pl.col("channel_id") == TEAPOT).head(1).collect()
    strayed = mention.with_columns(pl.lit(EARLY).alias("day"), pl.lit("f" * 16).alias("analysis_id"))
    lake.write(t.STOCK_MENTIONS, strayed, one_day)
    key = dg.AssetCheckKey(dg.AssetKey("stock_mentions"), "mentions_have_analyses")
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(key))
    defs = dg.Definitions.merge(filled_videos.checked("videos").defs, dg.Definitions(jobs=[alone]))
    job = defs.resolve_job_def("alone")
    result = job.execute_in_process(instance=filled_videos.instance)
    found = checks(result)["mentions_have_analyses"]
    assert result.success
    assert not found.passed
    assert not found.blocking
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert TEAPOT in str(found.metadata["findings"].value)
    filled_videos.run_channel(TEAPOT, EARLY, EARLY)
    again = checks(job.execute_in_process(instance=filled_videos.instance))["mentions_have_analyses"]
    assert again.passed, "making the day again mends it"


# --- versions -----------------------------------------------------------------------------------------------------


def test_versions_stand_side_by_side_and_only_the_active_one_counts(filled_videos: World) -> None:
    before = rows(filled_videos.lake, t.VIDEO_ANALYSES, EARLY, LATE).filter(pl.col("channel_id") == TEAPOT)
    prompt = filled_videos.settings.videos.active_version
    second = AnalysisVersion(label="v2", prompts={"extract_picks": _other_prompt()})
    videos = filled_videos.settings.videos.model_copy(update={"analysis_versions": (prompt, second)})
    with world(filled_videos.settings.model_copy(update={"videos": videos}), ["videos"], checks=True) as changed:
        result = changed.run_channel(TEAPOT, EARLY, LATE)
    after = rows(filled_videos.lake, t.VIDEO_ANALYSES, EARLY, LATE).filter(pl.col("channel_id") == TEAPOT)
    assert after.filter(pl.col("prompt_label") == "v1").equals(before)
    added = after.filter(pl.col("prompt_label") == "v2")
    assert set(added["video_id"]) == set(before["video_id"])
    assert not added["is_active"].any()
    assert checks(result)["one_active_version"].passed
    said = rows(filled_videos.lake, t.STOCK_MENTIONS, EARLY, LATE).filter(pl.col("channel_id") == TEAPOT)
    assert set(said.filter("is_active")["analysis_id"]) <= set(before["analysis_id"])
    assert set(said.filter(~pl.col("is_active"))["analysis_id"]) <= set(added["analysis_id"])
    measured = rows(filled_videos.lake, t.PICK_OUTCOMES, EARLY, LATE).filter(pl.col("channel_id") == TEAPOT)
    kept = said.filter(pl.col("is_active") & (pl.col("status") == "ok"))
    assert set(measured["mention_id"]) >= set(kept["mention_id"])


def _other_prompt() -> str:
    return EXTRACT_PICKS.template.replace("a finance video", "a video about shares")

"""Findings about the tables of videos: each speaks up for its fault alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from leads_world import MemoryLake
from test_video_analysis import MODEL_B, V1, reading

from magpie.llm.fake_provider import FakeProvider
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from magpie.videos import quality
from magpie.videos import tables as t
from magpie.videos.segments import SegmentRules, video_segments
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock
from tests.mentions_world import a_mention, an_analysis, rows_of
from tests.videos_world import CHANNEL, DAY, OTHER, PUBLISHED, a_heard_video, a_read_video, lines, transcripts, videos

HERE = Partitions({CHANNEL: frozenset([DAY]), OTHER: frozenset([DAY])})
NOW = PUBLISHED + timedelta(days=30)
HOUR = timedelta(hours=1)
IDS = [f"vvvvvvvvv{n:02}" for n in range(20)]
Row = dict[str, Any]


def a_reading(video_id: str, **given: Any) -> Row:
    base = {
        "channel_id": CHANNEL,
        "transcript_hash": f"hash-{video_id}",
        "prompt_version": "p",
        "model": "openai/small",
        "prompt_label": "v1",
        "mode": "segmented",
        "raw_picks": "[]",
        "n_segments": 1,
        "n_picks": 1,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cost_usd": Decimal(0),
        "attempts": 0,
        "questions": [],
    }
    return an_analysis(video_id, DAY, **base | given)


def a_pick(number: int, **given: Any) -> Row:
    video_id = IDS[number]
    facts = {"channel_id": CHANNEL, "video_id": video_id, "analysis_id": f"analysis-{video_id}"}
    return a_mention(f"m{number:02}", PUBLISHED, **facts) | given


def an_outcome(number: int, **given: Any) -> Row:
    base = dict.fromkeys(t.PICK_OUTCOMES.dtypes) | {
        "mention_id": f"m{number:02}",
        "horizon_sessions": 5,
        "video_id": IDS[number],
        "channel_id": CHANNEL,
        "day": DAY,
        "symbol": "NVDA",
        "action": "avoid",
        "status": "ok",
        "entry_date": DAY,
        "exit_date": DAY + timedelta(days=7),
        "entry_price": 50.0,
        "exit_price": 45.0,
        "direction": -1,
        "ret": 45 / 50 - 1,
        "bench_ret": 505 / 500 - 1,
        "signed_ret": -(45 / 50 - 1),
        "alpha": -((45 / 50 - 1) - (505 / 500 - 1)),
        "hit": True,
    }
    return base | given


def lake_of(tables: Iterable[tuple[Table, pl.DataFrame]]) -> MemoryLake:
    lake = MemoryLake()
    for table, frame in tables:
        lake.write(table, frame, Partitions.of(frame.select("channel_id", "day").rows()))
    return lake


def healthy(changed: Table | None = None, edit: Callable[[Row, int], Row] | None = None) -> MemoryLake:
    """Twenty videos of one channel with captions, one analysis, one pick and one outcome each.

    Of the table `changed`, each row is what `edit` makes of it and its number.
    """
    heard = [a_heard_video(video_id, lines("one two three", "four five six")) for video_id in IDS]
    pieces = video_segments(transcripts(*heard), {}, SegmentRules(14, 14, 0))
    made: list[tuple[Table, Sequence[Row]]] = [
        (t.VIDEOS, [a_read_video(name, published_at=PUBLISHED + n * HOUR) for n, name in enumerate(IDS)]),
        (t.TRANSCRIPTS, heard),
        (t.VIDEO_SEGMENTS, pieces.rows(named=True)),
        (t.VIDEO_ANALYSES, [a_reading(video_id) for video_id in IDS]),
        (t.STOCK_MENTIONS, [a_pick(number) for number in range(20)]),
        (t.PICK_OUTCOMES, [an_outcome(number) for number in range(20)]),
    ]
    return lake_of(
        (table, rows_of(table, [edit(row, n) for n, row in enumerate(rows)] if table is changed and edit else rows))
        for table, rows in made
    )


def first(count: int, **given: Any) -> Callable[[Row, int], Row]:
    """Change that many rows."""
    return lambda row, number: row | given if number < count else row


Check = Callable[[MemoryLake, Partitions], Finding]
CHECKS: dict[str, Check] = {
    "one_active_version": quality.one_active_version,
    "mentions_have_analyses": quality.mentions_have_analyses,
    "alpha_recomputes": quality.alpha_recomputes,
    "quotes_grounded": quality.quotes_grounded,
    "symbols_known": quality.symbols_known,
    "symbols_match": quality.symbols_match,
    "times_right": quality.times_right,
    "captions_there": quality.captions_there,
    "videos_have_picks": quality.videos_have_picks,
    "pending_videos": quality.pending_videos(lambda: NOW),
    "segments_cover": quality.segments_cover,
}


def speaking(lake: MemoryLake) -> list[str]:
    return [name for name, check in CHECKS.items() if check(lake, HERE).rows]


def test_healthy_tables_and_empty_ones_give_no_finding() -> None:
    assert speaking(healthy()) == speaking(MemoryLake()) == []


def test_every_finding_has_a_description() -> None:
    assert set(quality.DESCRIPTIONS) == {*CHECKS, "costs_are_booked", "channels_publish"}


NO_CAPTIONS: Row = {"status": "failed", "reason": "no_captions"} | dict.fromkeys(
    ("language", "caption_source", "track", "format", "raw_text", "segments", "word_count", "transcript_hash")
)
UNKNOWN: Row = {"status": "rejected", "reason": "unknown_symbol", "symbol_check": "unknown"}
MISMATCH: Row = {"status": "rejected", "reason": "symbol_mismatch", "symbol_check": "mismatch"}
UNGROUNDED: Row = {"status": "rejected", "reason": "ungrounded_quote", "quote_match": "none"}
NEWS: Row = {"status": "rejected", "reason": "not_a_pick", "claim_type": "news"}
LATE: Row = {"status": "pending", "reason": "cap_exhausted", "not_before": NOW - 96 * HOUR - timedelta(seconds=1)}
PATIENT: Row = LATE | {"not_before": NOW - 96 * HOUR}


@pytest.mark.parametrize(
    ("name", "table", "tolerated", "too_much"),
    [
        ("one_active_version", t.VIDEO_ANALYSES, first(0), first(1, is_active=False)),
        ("mentions_have_analyses", t.STOCK_MENTIONS, first(0), first(1, analysis_id="gone")),
        ("alpha_recomputes", t.PICK_OUTCOMES, first(1, alpha=0.11 + 1e-15), first(1, alpha=0.12)),
        ("alpha_recomputes", t.PICK_OUTCOMES, first(0), first(1, ret=0.1)),
        ("alpha_recomputes", t.PICK_OUTCOMES, first(0), first(1, signed_ret=-0.1)),
        ("alpha_recomputes", t.PICK_OUTCOMES, first(0), first(1, hit=False)),
        ("alpha_recomputes", t.PICK_OUTCOMES, first(0), first(1, entry_price=None)),
        (
            "alpha_recomputes",
            t.PICK_OUTCOMES,
            first(1, status="pending", reason="not_matured", alpha=None, hit=None),
            first(1, hit=None),
        ),
        ("quotes_grounded", t.STOCK_MENTIONS, first(2, **UNGROUNDED), first(3, **UNGROUNDED)),
        ("symbols_known", t.STOCK_MENTIONS, first(2, **UNKNOWN), first(3, **UNKNOWN)),
        ("symbols_match", t.STOCK_MENTIONS, first(1, **MISMATCH), first(2, **MISMATCH)),
        ("times_right", t.STOCK_MENTIONS, first(2, time_ok=False), first(3, time_ok=False)),
        ("captions_there", t.TRANSCRIPTS, first(4, **NO_CAPTIONS), first(5, **NO_CAPTIONS)),
        ("videos_have_picks", t.VIDEO_ANALYSES, first(14, n_picks=0), first(15, n_picks=0)),
        ("pending_videos", t.TRANSCRIPTS, first(1, **NO_CAPTIONS | PATIENT), first(1, **NO_CAPTIONS | LATE)),
        ("pending_videos", t.VIDEO_ANALYSES, first(0), first(1, **LATE)),
        ("segments_cover", t.VIDEO_SEGMENTS, first(1, char_start=0), first(2, char_end=12)),
        ("segments_cover", t.VIDEO_SEGMENTS, first(0), first(1, char_start=1)),
    ],
)
def test_each_fault_is_found_by_its_finding_alone_and_only_beyond_its_bound(
    name: str, table: Table, tolerated: Callable[[Row, int], Row], too_much: Callable[[Row, int], Row]
) -> None:
    assert name not in speaking(healthy(table, tolerated))
    found = speaking(healthy(table, too_much))
    # An analysis that waits has no mentions yet; here its mention is left behind.
    also = ["mentions_have_analyses"] if (name, table) == ("pending_videos", t.VIDEO_ANALYSES) else []
    assert found == [*also, name]


def test_a_video_with_two_active_analyses_is_named() -> None:
    extra = a_reading(IDS[3], prompt_version="q", analysis_id="other")
    lake = healthy()
    rows = [*lake.frames[t.VIDEO_ANALYSES.name].rows(named=True), extra]
    lake.write(t.VIDEO_ANALYSES, rows_of(t.VIDEO_ANALYSES, rows), HERE)
    finding = quality.one_active_version(lake, HERE)
    assert finding.rows == [{"channel_id": CHANNEL, "day": str(DAY), "video_id": IDS[3], "active": 2}]
    assert finding.summary.startswith("1 videos have no or several active analyses")


def test_shares_are_told_per_channel_and_count_views_of_the_active_version_only() -> None:
    others = [
        a_mention(f"o{n}", PUBLISHED, channel_id=OTHER, analysis_id="x", **(UNKNOWN if n < 2 else {})) for n in range(4)
    ]
    news = [a_pick(n, mention_id=f"n{n}", **NEWS | {"quote_match": "none"}) for n in range(20)]
    inactive = [a_pick(n, mention_id=f"i{n}", is_active=False, **UNKNOWN | {"quote_match": "none"}) for n in range(20)]
    lake = healthy()
    rows = [*lake.frames[t.STOCK_MENTIONS.name].rows(named=True), *others, *news, *inactive]
    lake.write(t.STOCK_MENTIONS, rows_of(t.STOCK_MENTIONS, rows), HERE)
    assert quality.symbols_known(lake, HERE).rows == [{"channel_id": OTHER, "rows": 4, "bad": 2, "share": 0.5}]
    assert quality.quotes_grounded(lake, HERE).rows == []


def test_only_the_partitions_asked_for_are_judged() -> None:
    lake = healthy(t.VIDEO_ANALYSES, first(20, n_picks=0))
    assert quality.videos_have_picks(lake, HERE).rows
    assert quality.videos_have_picks(lake, Partitions({CHANNEL: frozenset([DAY + timedelta(days=1)])})).rows == []


def test_a_transcript_without_any_segment_is_found() -> None:
    lake = healthy()
    kept = lake.frames[t.VIDEO_SEGMENTS.name].filter(pl.col("video_id") != IDS[0])
    lake.write(t.VIDEO_SEGMENTS, kept, HERE)
    assert [row["video_id"] for row in quality.segments_cover(lake, HERE).rows] == [IDS[0]]


def publishing(*moments: datetime, live: bool = True, active: bool = True) -> Finding:
    rows = [a_read_video(f"wwwwwwwww{n:02}", published_at=moment) for n, moment in enumerate(moments)]
    lake = lake_of([(t.VIDEOS, videos(*rows))])
    channel = {"channel_id": CHANNEL, "name": "x", "active": active}
    settings = Settings.model_validate({"start_day": date(2026, 1, 1), "channels": [channel], "videos": {"live": live}})
    return quality.channels_publish(settings, lake, NOW)


def weekly(last: datetime, count: int = 5) -> list[datetime]:
    return [last - n * timedelta(days=7) for n in range(count)]


def test_a_channel_silent_for_three_of_its_usual_gaps_is_named() -> None:
    assert publishing(*weekly(NOW - timedelta(days=21))).rows == []
    (row,) = publishing(*weekly(NOW - timedelta(days=21, seconds=1))).rows
    assert (row["channel_id"], row["usual_gap"]) == (CHANNEL, 168)


def test_a_channel_with_few_videos_one_that_is_off_and_files_on_disk_cannot_fall_silent() -> None:
    old = weekly(PUBLISHED - timedelta(days=300))
    assert publishing(*old).rows
    assert publishing(*old[:3]).rows == []
    assert publishing(*old, active=False).rows == publishing(*old, live=False).rows == publishing().rows == []


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    fake.price = None
    with desk(f"sqlite:///{tmp_path / 'c.db'}", tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=2) as made:
        yield made


def test_costs_that_the_ledger_has_booked_give_no_finding_and_others_do(at: Desk) -> None:
    found = reading(at, V1, {"label": "v2", "model": MODEL_B})
    assert found["cost_usd"].min() > 0  # type: ignore[operator]
    lake = lake_of([(t.VIDEO_ANALYSES, found)])
    assert quality.costs_are_booked(lake, HERE, at.store).rows == []
    dearer = found.with_columns(
        pl.when(pl.col("prompt_label") == "v1").then(pl.col("cost_usd") + Decimal("0.000000001")).otherwise("cost_usd")
    )
    lake.write(t.VIDEO_ANALYSES, dearer.cast(t.VIDEO_ANALYSES.dtypes), HERE)
    finding = quality.costs_are_booked(lake, HERE, at.store)
    (row,) = finding.rows
    assert row["analysis_id"] == found.row(0, named=True)["analysis_id"]
    assert row["cost_usd"] - row["booked_usd"] == Decimal("0.000000001")
    assert finding.summary.startswith("1 analyses say another cost")


def test_readings_without_a_model_are_not_looked_up_in_the_ledger(at: Desk) -> None:
    offline = reading(at, V1, provider="offline").with_columns(
        pl.lit(Decimal(1)).cast(pl.Decimal(18, 9)).alias("cost_usd")
    )
    assert quality.costs_are_booked(lake_of([(t.VIDEO_ANALYSES, offline)]), HERE, at.store).rows == []
    assert quality.costs_are_booked(MemoryLake(), HERE, at.store).rows == []

"""The marts of videos, built by the real dbt over a small lake whose numbers can be counted by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from marts_world import Built, built
from polars.testing import assert_frame_equal

from magpie.lake import Lake
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from magpie.videos import tables as t
from magpie.videos.digest import changes_of_mind
from magpie.videos.outcomes import TRACK_RECORD, track_record

__all__ = ["built"]

ALPHA, BETA = "UC" + "a" * 22, "UC" + "b" * 22
MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)
TWENTY = tuple(f"k{n:02d}" for n in range(20))
LATER = datetime(2026, 3, 9, 12, tzinfo=UTC)
HELD = {"status": "ok", "reason": None}
DEFAULTS: dict[str, dict[str, Any]] = {
    "videos": {
        **HELD,
        "channel_id": ALPHA,
        "day": MONDAY,
        "url": "https://example.org/watch",
        "description": "",
        "date_precision": "second",
        "media_kind": "video",
        "chapters": [],
        "source": "archive",
        "first_seen_at": LATER,
    },
    "transcripts": {
        **HELD,
        "channel_id": ALPHA,
        "day": MONDAY,
        "language": "en",
        "caption_source": "captions_auto",
        "track": "en-orig",
        "format": "vtt",
        "raw_text": "so much for today",
        "segments": [],
        "word_count": 4,
        "transcript_hash": "h1",
    },
    "video_analyses": {
        **HELD,
        "channel_id": ALPHA,
        "day": MONDAY,
        "transcript_hash": "h1",
        "prompt_version": "p1",
        "prompt_label": "v1",
        "model": "offline",
        "is_active": True,
        "mode": "segmented",
        "outlook_direction": "bullish",
        "n_segments": 1,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cost_usd": Decimal(0),
        "attempts": 0,
        "questions": [],
    },
    "stock_mentions": {
        **HELD,
        "channel_id": ALPHA,
        "day": MONDAY,
        "date_precision": "second",
        "is_active": True,
        "symbol_raw": "as said",
        "asset_type": "equity",
        "conviction": 0.5,
        "conviction_bucket": 2,
        "time_horizon": "long",
        "claim_type": "opinion",
        "rationale_quote": "that is what I would do here",
        "quote_match": "exact",
        "quote_score": 100.0,
        "located_s": 10,
        "deep_link": "https://example.org/watch&t=10s",
        "n_merged": 1,
        "conflict": False,
    },
    "pick_outcomes": {**HELD, "channel_id": ALPHA, "day": MONDAY, "symbol": "NVDA", "action": "buy", "direction": 1},
    "ticker_consensus": {
        "mass": 1.0,
        "net": 0.5,
        "n_votes": 1,
        "n_channels": 1,
        "pos": 0.5,
        "neg": 0.0,
        "agreement": 1.0,
        "contested": False,
        "votes": [],
        "published": True,
    },
    "symbols": {"aliases": [], "asset_type": "equity", "active": True},
}


def write(lake: Lake, table: Table, *given: dict[str, Any]) -> None:
    """Write rows: what a row does not give is its table's default above, or null."""
    empty = dict.fromkeys(table.dtypes)
    frame = pl.DataFrame([empty | DEFAULTS[table.name] | row for row in given], schema=table.dtypes)
    if "channel_id" in table.partition_columns:
        parts = Partitions.of(frame.select("channel_id", "day").rows())
    else:
        parts = Partitions.days(frame["day"]) if table.dimensions else Partitions.whole()
    lake.write(table, frame, parts)


def video(name: str, **more: Any) -> dict[str, Any]:
    return {"video_id": name.ljust(11, "_"), "title": f"About {name}", **more}


def heard(name: str, **more: Any) -> dict[str, Any]:
    return {"video_id": name.ljust(11, "_"), **more}


def unheard(name: str, status: str, reason: str, **more: Any) -> dict[str, Any]:
    held = ("language", "caption_source", "track", "format", "raw_text", "segments", "word_count", "transcript_hash")
    return {**heard(name), **dict.fromkeys(held), "status": status, "reason": reason, **more}


def analysis(name: str, analysis_id: str, **more: Any) -> dict[str, Any]:
    return {"video_id": name.ljust(11, "_"), "analysis_id": analysis_id, **more}


def said(mention_id: str, action: str, symbol: str = "NVDA", **more: Any) -> dict[str, Any]:
    row = {"mention_id": mention_id, "action": action, "symbol": symbol, "video_id": "read_______", "analysis_id": "a1"}
    day = more.get("day", MONDAY)
    return {**row, "published_at": datetime(day.year, day.month, day.day, 15, tzinfo=UTC), **more}


def fill_states(lake: Lake) -> None:
    """A video for each way to end."""
    pending = {"status": "pending", "not_before": LATER}
    videos = [
        *(video(name) for name in ("read", "quiet", "unread", "capped", "recut", "gave_up", "silent", "tokens", "new")),
        video("short", status="rejected", reason="short", observed="42", threshold="61", duration_s=42.0),
        video("upcoming", status="pending", reason="upcoming"),
        video("damaged", status="failed", reason="unreadable", observed="no JSON"),
        video("odd", status="rejected", reason="some_new_reason"),
        video("redated", day=TUESDAY, title="About the same, dated"),
    ]
    # First seen without a date, and in a later run dated to Tuesday.
    write(lake, t.VIDEOS, video("redated", date_precision="unknown", day=WEDNESDAY))
    write(lake, t.VIDEOS, *videos)
    write(
        lake,
        t.TRANSCRIPTS,
        *(heard(name) for name in ("read", "quiet", "unread", "capped", "gave_up")),
        heard("recut", transcript_hash="h2"),
        unheard("silent", "failed", "no_captions", observed="80.0 h", threshold="72 h"),
        unheard("tokens", **pending, reason="po_token_required"),
    )
    write(
        lake,
        t.VIDEO_ANALYSES,
        analysis("read", "a1", cost_usd=Decimal("0.004")),
        analysis("read", "a2", prompt_version="p2", prompt_label="v2", is_active=False, cost_usd=Decimal("0.009"))
        | {"outlook_direction": "mixed"},
        analysis("quiet", "q1"),
        analysis("quiet", "q2", prompt_version="p2", prompt_label="v2", is_active=False),
        analysis("capped", "c1", **pending, reason="cap_exhausted"),
        analysis("capped", "c2", prompt_version="p2", prompt_label="v2", is_active=False),
        analysis("recut", "r1"),
        analysis("recut", "r2", transcript_hash="h2", prompt_version="p2", prompt_label="v2", is_active=False),
        analysis("gave_up", "g1", status="failed", reason="llm_error:invalid_output", cost_usd=Decimal("0.03")),
    )


def fill_mentions(lake: Lake) -> None:
    """Alpha on NVDA through time; the two versions of one video; outcomes for some of it."""
    other = {"analysis_id": "a2", "is_active": False}
    last_year, in_range = MONDAY - timedelta(days=181), MONDAY - timedelta(days=180)
    write(
        lake,
        t.STOCK_MENTIONS,
        said("m1", "buy"),
        said("m2", "hold", "MSFT"),
        said("m3", "buy", "AMD"),
        said("m4", "sell", "AMD", located_s=20),
        said("m5", "sell", "BMI", status="rejected", reason="symbol_mismatch"),
        said("o1", "buy", **other),
        said("o3", "buy", "AMD", **other),
        said("o6", "short", "TSLA", **other),
        said("o7", "sell", "MSFT", status="rejected", reason="ungrounded_quote", **other),
        said("t1", "sell", day=TUESDAY, video_id="tuesday____", analysis_id="t"),
        said("t2", "short", day=TUESDAY, video_id="tuesday____", analysis_id="t", located_s=50),
        said("w1", "watch", day=WEDNESDAY, date_precision="day", located_s=None, video_id="wednesday__")
        | {"analysis_id": "w"},
        said("w0", "buy", day=WEDNESDAY, video_id="wednesday__", analysis_id="w", located_s=70),
        said("f1", "sell", "MSFT", day=in_range, video_id="far________", analysis_id="f"),
        said("f2", "sell", "AMD", day=last_year, video_id="far________", analysis_id="f"),
        *(said(name, "sell", channel_id=BETA, video_id="beta_______", analysis_id="b") for name in ("b1", *TWENTY)),
    )
    write(lake, t.PICK_OUTCOMES, *outcomes())


def outcomes() -> list[dict[str, Any]]:
    """Alpha: 5 sessions known three times and pending once, 10 pending; Beta: one miss, and 12 hits of 20."""
    five = {"horizon_sessions": 5, "video_id": "read_______"}
    wait = {"status": "pending", "reason": "not_matured", "not_before": LATER}
    return [
        {**five, "mention_id": "m1", "alpha": 0.05, "hit": True},
        {**five, "mention_id": "m3", "alpha": -0.02, "hit": False},
        {**five, "mention_id": "m4", **wait},
        {**five, "mention_id": "m1", "horizon_sessions": 10, **wait},
        {**five, "mention_id": "m2", "status": "rejected", "reason": "no_position", "action": "hold"},
        {**five, "mention_id": "t1", "day": TUESDAY, "alpha": 0.04, "hit": True},
        {**five, "mention_id": "gone", "alpha": 9.0, "hit": True},
        {**five, "mention_id": "o1", "alpha": 9.0, "hit": True},
        {**five, "mention_id": "b1", "channel_id": BETA, "alpha": -0.01, "hit": False},
        *(
            {"mention_id": name, "horizon_sessions": 20, "video_id": "beta_______", "channel_id": BETA}
            | {"alpha": 0.01 if n < 12 else -0.03, "hit": n < 12}
            for n, name in enumerate(TWENTY)
        ),
    ]


def fill_consensus(lake: Lake) -> None:
    """NVDA and AMD published on Tuesday, MSFT lukewarm, INTC last spoken of on Monday, BTC without a name."""
    tuesday = {"day": TUESDAY}
    write(
        lake,
        t.TICKER_CONSENSUS,
        {"day": MONDAY, "symbol": "NVDA", "score": 70.0},
        {"day": MONDAY, "symbol": "INTC", "score": 99.0},
        {"day": MONDAY - timedelta(days=1), "symbol": "AMD", "score": 40.0},
        {**tuesday, "symbol": "NVDA", "score": 72.5},
        {**tuesday, "symbol": "AMD", "score": 20.0},
        {**tuesday, "symbol": "BTC-USD", "score": 80.0},
        {**tuesday, "symbol": "MSFT", "score": 55.0, "published": False, "agreement": None},
    )
    names = {"NVDA": "NVIDIA Corp", "AMD": "Advanced Micro Devices Inc", "INTC": "Intel Corp", "MSFT": "Microsoft Corp"}
    write(lake, t.SYMBOLS, *({"symbol": symbol, "name": name} for symbol, name in names.items()))


def fill(settings: Settings) -> None:
    lake = Lake(settings.lake_root)
    fill_states(lake)
    fill_mentions(lake)
    fill_consensus(lake)


def by_video(built: Built, mart: str, *columns: str) -> dict[str, tuple[Any, ...]]:
    found = built.sql(f"SELECT video_id, {', '.join(columns)} FROM marts.{mart}")
    return {name.rstrip("_"): tuple(rest) for name, *rest in found.rows()}


def test_the_first_stage_that_did_not_end_well_says_how_far_a_video_got(built: Built) -> None:
    assert by_video(built, "video_status", "state", "stage", "status", "reason") == {
        "read": ("analyzed", "video_analyses", "ok", None),
        "quiet": ("analyzed", "video_analyses", "ok", None),
        "unread": ("captioned", "video_analyses", None, None),
        "capped": ("captioned", "video_analyses", "pending", "cap_exhausted"),
        "recut": ("captioned", "video_analyses", None, None),
        "gave_up": ("failed", "video_analyses", "failed", "llm_error:invalid_output"),
        "silent": ("failed", "transcripts", "failed", "no_captions"),
        "tokens": ("discovered", "transcripts", "pending", "po_token_required"),
        "new": ("discovered", "transcripts", None, None),
        "short": ("rejected", "videos", "rejected", "short"),
        "odd": ("rejected", "videos", "rejected", "some_new_reason"),
        "upcoming": ("waiting", "videos", "pending", "upcoming"),
        "damaged": ("failed", "videos", "failed", "unreadable"),
        "redated": ("discovered", "transcripts", None, None),
    }


def test_a_video_that_was_dated_late_is_counted_once_on_its_day(built: Built) -> None:
    found = built.sql("SELECT day, title FROM marts.video_status WHERE video_id = 'redated____'")
    assert found.rows() == [(TUESDAY, "About the same, dated")]


def test_nothing_said_of_stocks_is_zero_and_nothing_read_is_null(built: Built) -> None:
    found = by_video(built, "video_status", "mentions", "rejected_mentions", "cost_usd", "word_count")
    assert found["read"] == (4, 1, Decimal("0.004"), 4), "the other version counts nowhere"
    assert found["quiet"] == (0, 0, Decimal(0), 4)
    assert found["capped"] == (None, None, Decimal(0), 4)
    assert found["gave_up"] == (None, None, Decimal("0.03"), 4), "a failure was paid for as well"
    assert found["recut"] == (None, None, None, 4), "an analysis of older captions is none"
    assert found["short"] == (None, None, None, None)


def test_each_skipped_video_says_why_in_words_with_value_and_bound(built: Built) -> None:
    found = by_video(built, "skipped_videos", "why", "observed", "threshold")
    assert found["short"] == ("a Short: under the minimum length, or called one by YouTube", "42", "61")
    assert found["silent"] == ("no captions, and looked for long enough", "80.0 h", "72 h")
    assert found["gave_up"][0] == "given up on after the last try: invalid output"
    assert found["odd"][0] == "some new reason"
    assert found["unread"][0] == "not looked at yet"
    waiting = built.sql("SELECT video_id, not_before FROM marts.skipped_videos WHERE not_before IS NOT NULL").rows()
    assert {name.rstrip("_"): moment for name, moment in waiting} == {"tokens": LATER, "capped": LATER}


def test_every_video_is_analyzed_or_skipped(built: Built) -> None:
    states = by_video(built, "video_status", "state")
    assert {name for name, (state,) in states.items() if state != "analyzed"} == set(
        by_video(built, "skipped_videos", "state")
    )


def test_the_track_record_is_that_of_the_picks_that_still_hold(built: Built) -> None:
    found = built.sql("FROM marts.channel_track_record").to_dicts()
    five, ten, beta, twenty = found
    assert (five["channel_id"], five["horizon_sessions"], five["n"], five["pending"]) == (ALPHA, 5, 3, 1)
    assert five["mean_alpha"] == pytest.approx(0.07 / 3)
    assert five["inverse_mean_alpha"] == pytest.approx(-0.07 / 3)
    assert (five["median_alpha"], five["hits"], five["reliable"]) == (0.04, 2, False)
    assert (five["first_pick_day"], five["last_pick_day"]) == (MONDAY, TUESDAY)
    assert (ten["horizon_sessions"], ten["n"], ten["pending"]) == (10, 0, 1)
    assert {ten[name] for name in ("mean_alpha", "hit_rate", "wilson_low", "wilson_high")} == {None}
    assert (beta["channel_id"], beta["hits"], beta["wilson_low"], beta["reliable"]) == (BETA, 0, 0.0, False)
    assert (twenty["n"], twenty["hit_rate"], twenty["reliable"]) == (20, 0.6, True)
    assert [twenty["wilson_low"], twenty["wilson_high"]] == pytest.approx([0.3866, 0.7812], abs=5e-5)


def test_the_track_record_in_sql_is_that_of_the_rules(built: Built) -> None:
    rows = [row for row in outcomes() if row["mention_id"] not in ("gone", "o1") and "alpha" in row]
    empty = dict.fromkeys(t.PICK_OUTCOMES.dtypes) | DEFAULTS["pick_outcomes"]
    expected = track_record(pl.DataFrame([empty | row for row in rows], schema=t.PICK_OUTCOMES.dtypes))
    found = built.sql("FROM marts.channel_track_record WHERE n > 0").select(list(TRACK_RECORD))
    for column, dtype in TRACK_RECORD.items():
        wanted = expected[column].to_list()
        assert found[column].to_list() == (pytest.approx(wanted) if dtype.is_float() else wanted), column


def test_consensus_shows_each_symbol_at_its_newest_day_beside_the_day_before(built: Built) -> None:
    columns = 'symbol, company_name, day, is_current, score, previous_score, change, "rank"'
    found = built.sql(f"SELECT {columns} FROM marts.ticker_consensus_14d").rows()
    assert found == [
        ("BTC-USD", None, TUESDAY, True, 80.0, None, None, 1),
        ("NVDA", "NVIDIA Corp", TUESDAY, True, 72.5, 70.0, 2.5, 2),
        ("AMD", "Advanced Micro Devices Inc", TUESDAY, True, 20.0, None, None, 3),
        ("MSFT", "Microsoft Corp", TUESDAY, True, 55.0, None, None, None),
        ("INTC", "Intel Corp", MONDAY, False, 99.0, None, None, None),
    ]


def test_a_change_of_mind_is_between_neighbours_that_point_elsewhere(built: Built) -> None:
    """Watch counts as a direction of its own; sell to short is none; half a year and a day ago is no change."""
    columns = "symbol, before_mention_id, after_mention_id, before_action, after_action, days_between"
    found = built.sql(f"SELECT {columns} FROM marts.changes_of_mind WHERE channel_id = '{ALPHA}'").rows()
    assert set(found) == {
        ("NVDA", "m1", "t1", "buy", "sell", 1),
        ("NVDA", "t2", "w0", "short", "buy", 1),
        ("NVDA", "w0", "w1", "buy", "watch", 0),
        ("AMD", "m3", "m4", "buy", "sell", 0),
        ("MSFT", "f1", "m2", "sell", "hold", 180),
    }
    (first,) = built.sql("FROM marts.changes_of_mind WHERE after_mention_id = 't1'").to_dicts()
    assert first["before_rationale_quote"] == first["after_rationale_quote"] == "that is what I would do here"
    assert (first["before_day"], first["after_day"], first["after_video_id"]) == (MONDAY, TUESDAY, "tuesday____")
    assert first["before_deep_link"] == "https://example.org/watch&t=10s"


def test_changes_of_mind_in_sql_are_those_that_the_digest_tells(built: Built) -> None:
    expected = changes_of_mind(Lake(built.settings.lake_root).read(t.STOCK_MENTIONS).collect())
    columns = [name for name in expected.columns if not name.endswith("_said_at")]
    found = built.sql("FROM marts.changes_of_mind").select(columns)
    assert_frame_equal(found, expected.select(columns), check_row_order=False)


def test_versions_are_compared_symbol_by_symbol_over_picks_that_hold(built: Built) -> None:
    read, quiet = built.sql("FROM marts.analysis_diff ORDER BY video_id DESC").to_dicts()
    assert (read["active_analysis_id"], read["other_analysis_id"]) == ("a1", "a2")
    assert (read["active_label"], read["other_label"]) == ("v1", "v2")
    assert (read["active_outlook"], read["other_outlook"], read["same_outlook"]) == ("bullish", "mixed", False)
    assert read["only_active"] == [{"symbol": "MSFT", "actions": ["hold"]}], "a rejected pick is none"
    assert read["only_other"] == [{"symbol": "TSLA", "actions": ["short"]}]
    assert read["other_action"] == [{"symbol": "AMD", "active_actions": ["buy", "sell"], "other_actions": ["buy"]}]
    counts = ("n_same", "n_only_active", "n_only_other", "n_other_action")
    assert [read[name] for name in counts] == [1, 1, 1, 1]
    assert (read["active_cost_usd"], read["other_cost_usd"]) == (Decimal("0.004"), Decimal("0.009"))
    assert quiet["video_id"] == "quiet______"
    assert [quiet[name] for name in counts] == [0, 0, 0, 0]
    assert (quiet["only_active"], quiet["same_outlook"]) == ([], True)


def test_the_published_warehouse_searches_transcripts(built: Built) -> None:
    assert built.sql("FROM lake.search_transcripts('interest rates')").height == 0
    comment = "SELECT comment FROM duckdb_functions() WHERE function_name = 'search_transcripts'"
    assert "BM25" in built.sql(comment).item()

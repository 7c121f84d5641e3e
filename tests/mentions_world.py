"""Rows of the tables of videos, as far as tests of votes, outcomes and pages need them: one call per row."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from magpie.tables import Table
from magpie.videos.tables import DAILY_PRICES, STOCK_MENTIONS, TRANSCRIPTS, VIDEO_ANALYSES, VIDEOS

FATE = {"status": "ok", "reason": None, "observed": None, "threshold": None, "not_before": None}


def rows_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=table.dtypes)


def a_mention(mention_id: str, published_at: datetime | None, **given: Any) -> dict[str, Any]:
    channel = given.get("channel_id", "A")
    base = {
        "mention_id": mention_id,
        "video_id": f"video-{mention_id}",
        "channel_id": channel,
        "day": published_at.date() if published_at else None,
        "published_at": published_at,
        "date_precision": "second" if published_at else "unknown",
        "analysis_id": f"analysis-{mention_id}",
        "is_active": True,
        "seg_no": 1,
        "symbol": "NVDA",
        "symbol_raw": "nvidia",
        "company_name": "Nvidia",
        "asset_type": "equity",
        "action": "buy",
        "conviction": 0.8,
        "conviction_bucket": 3,
        "time_horizon": "medium",
        "claim_type": "opinion",
        "rationale_quote": f"what was said in {mention_id}",
        "quote_match": "exact",
        "quote_score": 100.0,
        "llm_time_s": 61,
        "located_s": 60,
        "time_ok": True,
        "deep_link": f"https://www.youtube.com/watch?v={mention_id}&t=60s",
        "symbol_check": "verified",
        "suggested_symbol": None,
        "n_merged": 1,
        "conflict": False,
        **FATE,
    }
    return {**base, **given}


def mentions(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return rows_of(STOCK_MENTIONS, rows)


def a_video(video_id: str, day: date, **given: Any) -> dict[str, Any]:
    base = dict.fromkeys(VIDEOS.dtypes) | {
        "video_id": video_id,
        "channel_id": "A",
        "day": day,
        "title": f"Title of {video_id}",
        "url": f"https://www.youtube.com/watch?v={video_id}",
        "description": "",
        "date_precision": "second",
        "media_kind": "video",
        "chapters": [],
        "source": "archive",
    }
    return {**base, **FATE, **given}


def a_transcript(video_id: str, day: date, **given: Any) -> dict[str, Any]:
    base = dict.fromkeys(TRANSCRIPTS.dtypes) | {"video_id": video_id, "channel_id": "A", "day": day}
    return {**base, **FATE, **given}


def an_analysis(video_id: str, day: date, **given: Any) -> dict[str, Any]:
    base = dict.fromkeys(VIDEO_ANALYSES.dtypes) | {
        "video_id": video_id,
        "channel_id": "A",
        "day": day,
        "analysis_id": f"analysis-{video_id}",
        "is_active": True,
        "outlook_direction": "bearish",
        "outlook_reasoning": "Margins shrink.",
        "summary": "Two stocks and a warning.",
    }
    return {**base, **FATE, **given}


def weekdays(first: date, count: int) -> list[date]:
    days = (first + timedelta(days=n) for n in range(2 * count + 7))
    return [day for day in days if day.weekday() < 5][:count]


def price_rows(symbol: str, closes: Mapping[date, float]) -> pl.DataFrame:
    rows = [
        dict.fromkeys(DAILY_PRICES.dtypes)
        | {"symbol": symbol, "day": day, "close": 2 * close, "adj_close": close, "source": "test"}
        for day, close in closes.items()
    ]
    return rows_of(DAILY_PRICES, rows)

"""Files and rows of videos, as far as tests of listing, captions, pieces and analyses need them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from magpie.fetches import Fetch
from magpie.llm.engine import RESULT_SCHEMA
from magpie.sources.youtube_live import SOURCE, VISIT
from magpie.videos.settings import Videos
from magpie.videos.tables import TRANSCRIPTS, VIDEOS
from tests.mentions_world import a_transcript, a_video, rows_of

CHANNEL = "UC" + "a" * 22
OTHER = "UC" + "b" * 22
FIRST, SECOND, THIRD = "aaaaaaaaaa1", "bbbbbbbbbb2", "cccccccccc3"
# The moment that the waiting times of captions are counted from in most tests.
PUBLISHED = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = PUBLISHED.date()


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def info_file(folder: Path, video_id: str = FIRST, name: str | None = None, **facts: Any) -> Path:
    """An info.json as yt-dlp writes it; a fact that is None is left out."""
    told = {
        "id": video_id,
        "channel_id": CHANNEL,
        "title": f"Title of {video_id}",
        "timestamp": seconds(PUBLISHED),
        "epoch": seconds(PUBLISHED) + 3600,
        "duration": 600,
        **facts,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"{video_id}.info.json")
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))
    return path


def captions_file(folder: Path, name: str, *texts: str) -> Path:
    """A json3 file with a line every five seconds."""
    events = [
        {"tStartMs": 5000 * n, "dDurationMs": 5000, "segs": [{"utf8": text}]} for n, text in enumerate(texts or ("hi",))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps({"events": events}))
    return path


def a_visit(outcome: str, at: datetime, video_id: str = FIRST, detail: str | None = None) -> Fetch:
    return Fetch(SOURCE, video_id, VISIT, at, outcome, detail)


def lines(*texts: str, every: float = 5.0, start: float = 0.0) -> list[dict[str, Any]]:
    """Caption lines one after the other, without pauses."""
    return [
        {"start_s": start + every * n, "end_s": start + every * (n + 1), "text": text} for n, text in enumerate(texts)
    ]


def a_read_video(video_id: str = FIRST, **given: Any) -> dict[str, Any]:
    facts = {"channel_id": CHANNEL, "published_at": PUBLISHED, "first_seen_at": PUBLISHED, "duration_s": 600.0}
    return a_video(video_id, DAY, **facts | given)


def videos(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return rows_of(VIDEOS, rows)


def a_heard_video(
    video_id: str, segments: Sequence[Mapping[str, Any]], day: date = DAY, **given: Any
) -> dict[str, Any]:
    """A transcript that is ok and holds these lines."""
    text = " ".join(line["text"] for line in segments)
    facts = {
        "channel_id": CHANNEL,
        "language": "en",
        "caption_source": "captions_auto",
        "track": "en",
        "format": "json3",
        "raw_text": text,
        "segments": list(segments),
        "word_count": len(text.split()),
        "transcript_hash": f"hash-{video_id}",
    }
    return a_transcript(video_id, day, **facts | given)


def transcripts(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return rows_of(TRANSCRIPTS, rows)


def some_videos_settings(**given: Any) -> Videos:
    return Videos.model_validate(given)


def results(questions: pl.DataFrame, *told: Mapping[str, Any]) -> pl.DataFrame:
    """The engine's row for each question: ok and free of charge but for what is told of it, in order."""
    base = {
        **dict.fromkeys(RESULT_SCHEMA),
        "status": "ok",
        "provider": "openai",
        "model": "small",
        "cost_usd": Decimal(0),
        **dict.fromkeys(("tokens_in", "tokens_out", "attempts", "credits"), 0),
    }
    rows = []
    for number, ref in enumerate(questions["row_ref"]):
        more = dict(told[number]) if number < len(told) else {}
        if "value" in more:
            more["value"] = json.dumps(more["value"])
        rows.append({**base, "row_ref": ref, "input_hash": f"input-{ref}", **more})
    return pl.DataFrame(rows, schema=RESULT_SCHEMA)

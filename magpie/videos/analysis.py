"""video_analyses: what is asked about which videos, and what the answers make of them.

Belongs here: the rows that are asked about, joining a video's answers to one row, the key of an analysis. Does not
belong here: what an answer must hold (`reading.py`), getting it (`magpie/llm`), where a transcript is cut
(`segments.py`), and whether a pick is true (`verify.py`).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from magpie.videos.reading import ANALYZE_VIDEO, EXTRACT_PICKS, MARKET_OUTLOOK
from magpie.videos.segments import Segment, SegmentRules, TimedLine, mark, marked, segments_of, timed
from magpie.videos.settings import AnalysisVersion, Videos
from magpie.videos.symbols import SymbolTable
from magpie.videos.tables import VIDEO_ANALYSES

# A text too long for one question is asked about in pieces of this size; the overlap holds some two minutes of speech.
CHUNK_CHARS, CHUNK_OVERLAP_CHARS = 80_000, 2_000
FUNCTIONS_OF = {
    "segmented": (MARKET_OUTLOOK.name, EXTRACT_PICKS.name),
    "whole": (ANALYZE_VIDEO.name,),
}
# Whose offline rules look for securities.
READS_NAMES = frozenset((EXTRACT_PICKS.name, ANALYZE_VIDEO.name))
LONGEST_REASONING, LONGEST_SUMMARY, MOST_PHRASES = 800, 1200, 10

_LINE = pl.Struct({"start_s": pl.Float64, "end_s": pl.Float64, "text": pl.String})
_NAMED = pl.Struct({"symbol": pl.String, "how": pl.String, "text": pl.String, "sound_alike": pl.Boolean})
INPUTS = pl.Schema(
    {
        "row_ref": pl.String(),
        "partition": pl.String(),
        "video_id": pl.String(),
        "seg_no": pl.Int64(),
        "title": pl.String(),
        "description": pl.String(),
        "published_at": pl.String(),
        "duration_s": pl.Float64(),
        "segment": pl.String(),
        "transcript": pl.String(),
        "lines": pl.List(_LINE),
        "named": pl.List(pl.List(_NAMED)),
    }
)


@dataclass(frozen=True)
class Asked:
    """How one version was asked: the parts of the key that do not depend on the video.

    Attributes:
        prompt_version: sha256 over the templates; model: the first candidate, or `offline`.
    """

    version: AnalysisVersion
    mode: str
    prompt_version: str
    model: str

    @property
    def key(self) -> str:
        """Short, for the books: one version of prompts and one model from another."""
        return f"{self.prompt_version[:12]}/{self.model}"


def prompt_version_of(templates: Mapping[str, str]) -> str:
    """One hash over the versions of all templates that a mode asks with, by function."""
    told = json.dumps(dict(sorted(templates.items())))
    return hashlib.sha256(told.encode()).hexdigest()


def analysis_id_of(video_id: str, transcript_hash: str, prompt_version: str, model: str) -> str:
    """First 16 hex digits of the sha256 over the key."""
    return hashlib.sha256("\n".join((video_id, transcript_hash, prompt_version, model)).encode()).hexdigest()[:16]


def question_rows(
    videos: pl.DataFrame, transcripts: pl.DataFrame, segments: pl.DataFrame, settings: Videos
) -> dict[str, pl.DataFrame]:
    """Return what each function of the mode is asked, by function (`INPUTS`), the oldest video first.

    Args:
        videos, transcripts: rows of the same partitions; those that are ok in both are asked about.
        segments: `video_segments` of the same partitions.
    """
    told = videos.filter(pl.col("status") == "ok").drop("status", "language")
    ready = transcripts.filter(pl.col("status") == "ok").select("video_id", "segments")
    ordered = told.join(ready, on="video_id").sort("published_at", "video_id", nulls_last=True)
    spans = {
        key[0]: part.select("seg_no", "char_start", "char_end", "title").rows()
        for key, part in segments.sort("seg_no").partition_by("video_id", as_dict=True).items()
    }
    whole: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for video in ordered.iter_rows(named=True):
        lines = timed(video["segments"])
        pieces = _pieces(lines, settings.whole_max_chars)
        whole += [_row(video, n, piece, len(pieces) > 1) for n, piece in enumerate(pieces, 1)]
        for number, start, end, title in spans.get(video["video_id"], ()):
            inside = tuple(
                _clipped(line, start, end) for line in lines if line.char_start < end and line.char_end > start
            )
            parts.append(_row(video, number, Segment(inside, title), True))
    frames = {"whole": pl.DataFrame(whole, schema=INPUTS), "parts": pl.DataFrame(parts, schema=INPUTS)}
    if settings.analysis_mode == "whole":
        return {ANALYZE_VIDEO.name: frames["whole"]}
    return {MARKET_OUTLOOK.name: frames["whole"], EXTRACT_PICKS.name: frames["parts"]}


def _clipped(line: TimedLine, start: int, end: int) -> TimedLine:
    """What of a line stands between two places: all of it, unless it is too long for one segment."""
    first = max(start, line.char_start)
    text = line.text[first - line.char_start : end - line.char_start]
    return TimedLine(line.start_s, line.end_s, text, first)


def _pieces(lines: Sequence[TimedLine], longest: int) -> list[Segment]:
    if not lines:
        return []
    if lines[-1].char_end <= longest:
        return [Segment(tuple(lines))]
    return segments_of(lines, (), SegmentRules(CHUNK_CHARS, CHUNK_CHARS, CHUNK_OVERLAP_CHARS))


def _row(video: Mapping[str, Any], number: int, piece: Segment, partly: bool) -> dict[str, Any]:
    first, last = piece.lines[0], piece.lines[-1]
    bounds = f"{mark(first.start_s)} to {mark(last.end_s)}"
    title = f"{piece.title}, {bounds}" if piece.title else bounds
    published = video["published_at"]
    return {
        "row_ref": f"{video['video_id']}#{number}",
        "partition": f"{video['channel_id']}|{video['day']}",
        "video_id": video["video_id"],
        "seg_no": number,
        "title": video["title"],
        "description": video["description"],
        "published_at": f"{published:%Y-%m-%d}" if published else None,
        "duration_s": video["duration_s"],
        "segment": title if partly else None,
        "transcript": marked(piece.lines),
        "lines": [{"start_s": line.start_s, "end_s": line.end_s, "text": line.text} for line in piece.lines],
        "named": [],
    }


def with_names(rows: pl.DataFrame, symbols: SymbolTable) -> pl.DataFrame:
    """Add which symbols each line names: what the offline rules find picks by, and models do not need."""
    fields = ("symbol", "how", "text", "sound_alike")
    named = [
        {
            "named": [
                [{name: getattr(found, name) for name in fields} for found in line]
                for line in symbols.mentions([line["text"] for line in row], flowing=True)
            ]
        }
        for row in rows["lines"]
    ]
    # As rows, because a series made of nested lists makes a series of each of them.
    return rows.with_columns(pl.DataFrame(named, schema={"named": INPUTS["named"]})["named"])


def video_analyses(
    transcripts: pl.DataFrame,
    questions: Mapping[str, pl.DataFrame],
    results: Mapping[str, pl.DataFrame],
    asked: Asked,
) -> pl.DataFrame:
    """Return one row per video that was asked about, in the columns of `video_analyses`.

    Args:
        transcripts: the ok ones are looked up.
        questions: by function, what was asked; results: the engine's row for each, in the same order.
    """
    parts: dict[str, list[dict[str, Any]]] = {}
    for function, rows in questions.items():
        told = rows.select("video_id", "seg_no").hstack(results[function])
        for row in told.iter_rows(named=True):
            parts.setdefault(row["video_id"], []).append({**row, "function": function})
    known = transcripts.filter(pl.col("status") == "ok").select("video_id", "channel_id", "day", "transcript_hash")
    made = [
        _analysis(row, parts[row["video_id"]], asked) for row in known.iter_rows(named=True) if row["video_id"] in parts
    ]
    return VIDEO_ANALYSES.shaped(pl.DataFrame(made, schema=VIDEO_ANALYSES.dtypes))


def _analysis(video: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], asked: Asked) -> dict[str, Any]:
    answers = sorted({f"{p['provider']}/{p['model']}" for p in parts if p["provider"] and p["model"]})
    row = {
        **video,
        "prompt_version": asked.prompt_version,
        "model": asked.model,
        "analysis_id": analysis_id_of(video["video_id"], video["transcript_hash"], asked.prompt_version, asked.model),
        "prompt_label": asked.version.label,
        "is_active": asked.version.active,
        "mode": asked.mode,
        "n_segments": len({part["seg_no"] for part in parts}),
        "prompt_tokens": sum(part["tokens_in"] for part in parts),
        "completion_tokens": sum(part["tokens_out"] for part in parts),
        "cost_usd": sum((part["cost_usd"] for part in parts), Decimal(0)),
        "attempts": max(part["attempts"] for part in parts),
        "provider": next((part["provider"] for part in parts if part["provider"]), None),
        "answered_by": ", ".join(answers) or None,
        "questions": [{name: part[name] for name in ("function", "row_ref", "input_hash")} for part in parts],
        "processed_at": max((part["settled_at"] for part in parts if part["settled_at"]), default=None),
        **_fate(parts),
    }
    if row["status"] == "ok":
        row |= _answers([(part, json.loads(part["value"])) for part in parts])
    return row


def _fate(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A video waits as long as one of its parts does, until the first of them may go on; it fails with one of them."""
    for status in ("pending", "failed", "rejected"):
        held = [part for part in parts if part["status"] == status]
        if held:
            worst = min(held, key=_waits_until)
            return {name: worst[name] for name in ("status", "reason", "observed", "threshold", "not_before")}
    return {"status": "ok", "reason": None, "observed": None, "threshold": None, "not_before": None}


def _waits_until(part: Mapping[str, Any]) -> tuple[bool, datetime | None]:
    return (True, None) if part["not_before"] is None else (False, part["not_before"])


def _answers(parts: Sequence[tuple[Mapping[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    outlooks = [answer for _, answer in parts if "market_outlook_direction" in answer]
    picks = [{"seg_no": part["seg_no"], **pick} for part, answer in parts for pick in answer.get("tickers", ())]
    return {
        "outlook_direction": _direction(answer["market_outlook_direction"] for answer in outlooks),
        "outlook_reasoning": _joined([answer["market_outlook_reasoning"] for answer in outlooks], LONGEST_REASONING),
        "macro_themes": _phrases(outlooks, "macro_themes"),
        "key_risks": _phrases(outlooks, "key_risks"),
        "summary": _joined([answer["summary"] for answer in outlooks], LONGEST_SUMMARY),
        "raw_picks": json.dumps(picks, ensure_ascii=False, separators=(",", ":")),
        "n_picks": len(picks),
    }


def _direction(found: Iterable[str]) -> str:
    """Of a text read in pieces: what all pieces say, those aside that say nothing of it; else mixed."""
    told = Counter(found)
    said = [direction for direction in told if direction != "neutral"]
    return said[0] if len(said) == 1 else ("mixed" if said else "neutral")


def _joined(texts: Sequence[str], longest: int) -> str:
    return " ".join(text.strip() for text in texts if text.strip())[:longest]


def _phrases(outlooks: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    return list(dict.fromkeys(phrase for answer in outlooks for phrase in answer[name] if phrase.strip()))[
        :MOST_PHRASES
    ]

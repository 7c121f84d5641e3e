"""Scores of extracted picks against hand-made labels, as the VideoConviction benchmark counts them.

Belongs here: reading labels, comparing sets of picks per video, and the averages. Does not belong here: the labels
themselves (their licence leaves them with the user) and how picks are found.

Per video the labelled and the extracted picks are two sets, of tickers (T), of tickers with actions (TA), and of those
with convictions (TAC). With G labelled, P extracted: precision = |G & P| / |P|, recall = |G & P| / |G|,
F1 = 2 * precision * recall / (precision + recall), 0 where that is undefined. A score is the mean over videos, times
100 (Galarnyk et al., VideoConviction, KDD 2025, arXiv 2507.08104). Which videos are averaged decides more than it
seems to, so there are two modes: `published` leaves out videos without a usable answer, as the published numbers do;
`strict` scores them 0.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.videos.consensus import counts
from magpie.videos.tables import STOCK_MENTIONS, VIDEO_ANALYSES, VIDEOS

# Labelled action, in lower case without apostrophes, as one of ours; the labels have one word for both of our last two.
UNCLEAR = "unclear"
GOLD_ACTIONS = {
    "buy": "buy",
    "hold": "hold",
    "dont buy": "avoid",
    "do not buy": "avoid",
    "avoid": "avoid",
    "sell": "sell",
    "short sell": "short",
    "short": "short",
    "unclear": UNCLEAR,
    "watch": UNCLEAR,
    "mention": UNCLEAR,
}
BUCKETS = (1, 2, 3)
# Spellings of each column, the better first.
_COLUMNS = {
    "video_id": ("video_id", "videoid", "id"),
    "ticker": ("ticker", "ticker_name", "symbol"),
    "action": ("action",),
    "conviction": ("conviction", "conviction_score"),
}
_NOTHING = ("", "nan", "none", "null")

PER_VIDEO = pl.Schema(
    {
        "video_id": pl.String(),
        "answered": pl.Boolean(),
        "n_gold": pl.Int64(),
        "n_predicted": pl.Int64(),
        "t": pl.Float64(),
        "ta": pl.Float64(),
        "tac": pl.Float64(),
        "missed": pl.List(pl.String()),
        "extra": pl.List(pl.String()),
    }
)


@dataclass(frozen=True)
class Pick:
    """A ticker, case-folded, with what is to be done and how sure the speaker is: 1 to 3, None where not labelled."""

    ticker: str
    action: str
    conviction: int | None


@dataclass(frozen=True)
class Label:
    """One labelled pick; None says that the video was looked at and holds none."""

    video_id: str
    pick: Pick | None


@dataclass(frozen=True)
class ModeScores:
    """Means over `n_videos` videos: F1 of T, TA and TAC from 0 to 100, 0 of none.

    `count_mae` is the mean absolute difference of the numbers of distinct tickers, None of no videos.
    """

    n_videos: int
    t: float
    ta: float
    tac: float
    count_mae: float | None


@dataclass(frozen=True)
class Scores:
    """Both modes, the videos one by one (`PER_VIDEO`, F1 times 100), and how many answers no label is there for."""

    published: ModeScores
    strict: ModeScores
    videos: pl.DataFrame
    n_unlabelled: int


@dataclass(frozen=True)
class LakeScores:
    """Scores of what is stored; of `n_labelled` videos with labels `n_unknown` are not there at all."""

    scores: Scores
    n_labelled: int
    n_unknown: int


def score_lake(lake: Lake, path: Path, *, include_rejected: bool = False) -> LakeScores:
    """Score the active analyses of a lake against a file of labels.

    Args:
        path: as `read_labels` wants it; include_rejected: as of `predictions_of`.

    Raises:
        UserError: as of `read_labels`.
    """
    gold = gold_of(read_labels(path))
    mine = pl.col("video_id").is_in(list(gold))
    mentions, analyses = (lake.read(table).collect() for table in (STOCK_MENTIONS, VIDEO_ANALYSES))
    known = set(lake.read(VIDEOS).filter(mine).select("video_id").collect()["video_id"])
    predicted = predictions_of(mentions, analyses, include_rejected=include_rejected)
    return LakeScores(score(gold, predicted), len(gold), len(gold.keys() - known))


def read_labels(path: Path) -> list[Label]:
    """Read labels from CSV, JSON (a list), JSON lines or Parquet, one pick per row; other columns do not matter.

    A row without a ticker says that its video has no pick.

    Raises:
        UserError: the file cannot be read, lacks a column, or a row has no video, another action or conviction.
    """
    rows = _rows(path)
    if not rows:
        raise UserError(f"{path}: holds no label; give one row per labelled pick")
    plain = {name.strip().lower().replace(" ", "_"): name for row in rows for name in row}
    columns = {}
    for name, spellings in _COLUMNS.items():
        column = next((plain[spelling] for spelling in spellings if spelling in plain), None)
        if column is None:
            raise UserError(f"{path}: no column {name!r} ({', '.join(spellings)}), only {', '.join(plain.values())}")
        columns[name] = column
    return [
        _label({name: _text(row.get(column)) for name, column in columns.items()}, f"{path}, row {number}")
        for number, row in enumerate(rows, start=1)
    ]


def gold_of(labels: Iterable[Label]) -> dict[str, frozenset[Pick]]:
    """Pool labels per video: a video may be labelled segment by segment."""
    pooled: dict[str, set[Pick]] = {}
    for label in labels:
        picks = pooled.setdefault(label.video_id, set())
        if label.pick is not None:
            picks.add(label.pick)
    return {video: frozenset(picks) for video, picks in pooled.items()}


def predictions_of(
    mentions: pl.DataFrame, analyses: pl.DataFrame, *, include_rejected: bool = False
) -> dict[str, frozenset[Pick] | None]:
    """Return the picks of each video's active analysis; None where that has no usable answer yet.

    Args:
        mentions: `stock_mentions` of those videos.
        analyses: `video_analyses`.
        include_rejected: count picks that verification turned away too, to see what it costs and gains.
    """
    active = analyses.filter(pl.col("is_active")).select("video_id", "analysis_id", "status")
    kept = pl.col("is_active") & (pl.col("status").is_in(["ok", "rejected"]) if include_rejected else counts())
    found: dict[str, set[Pick] | None] = {
        video: set() if status == "ok" else None for video, _, status in active.sort("video_id").iter_rows()
    }
    said = mentions.filter(kept).join(active.select("analysis_id"), on="analysis_id", how="semi")
    for video, symbol, action, bucket in said.select("video_id", "symbol", "action", "conviction_bucket").iter_rows():
        picks = found.get(video)
        if picks is not None:
            picks.add(Pick(symbol.strip().casefold(), GOLD_ACTIONS[action], bucket))
    return {video: None if picks is None else frozenset(picks) for video, picks in found.items()}


def score(gold: Mapping[str, frozenset[Pick]], predicted: Mapping[str, frozenset[Pick] | None]) -> Scores:
    """Score predictions against labels.

    Args:
        gold: picks by labelled video, an empty set where there are none; such a video scores 0 whatever is said of
            it, by the definition of F1, and only its count tells silence from invention.
        predicted: by video; None or no entry: no usable answer; an empty set is an answer. Videos without a label
            are only counted.
    """
    rows = [_compared(video, gold[video], predicted.get(video)) for video in sorted(gold)]
    return Scores(
        published=_mode([row for row in rows if row["answered"]]),
        strict=_mode(rows),
        videos=pl.DataFrame(rows, schema=PER_VIDEO),
        n_unlabelled=len(predicted.keys() - gold.keys()),
    )


def _compared(video: str, gold: frozenset[Pick], predicted: frozenset[Pick] | None) -> dict[str, Any]:
    said = predicted or frozenset()
    gold_tickers, said_tickers = ({pick.ticker for pick in picks} for picks in (gold, said))
    return {
        "video_id": video,
        "answered": predicted is not None,
        "n_gold": len(gold_tickers),
        "n_predicted": len(said_tickers),
        "t": 100 * _f1(gold_tickers, said_tickers),
        "ta": 100 * _f1({(p.ticker, p.action) for p in gold}, {(p.ticker, p.action) for p in said}),
        "tac": 100 * _f1(gold, said),
        "missed": sorted(gold_tickers - said_tickers),
        "extra": sorted(said_tickers - gold_tickers),
    }


def _f1(gold: set[Any] | frozenset[Any], said: set[Any] | frozenset[Any]) -> float:
    """2PR / (P + R), which is 2 |G & P| / (|G| + |P|)."""
    return 2 * len(gold & said) / (len(gold) + len(said)) if gold or said else 0.0


def _mode(rows: list[dict[str, Any]]) -> ModeScores:
    if not rows:
        return ModeScores(0, 0.0, 0.0, 0.0, None)
    # fmean adds exactly, so the order of videos does not matter.
    t, ta, tac = (statistics.fmean(row[name] for row in rows) for name in ("t", "ta", "tac"))
    return ModeScores(len(rows), t, ta, tac, statistics.fmean(abs(row["n_gold"] - row["n_predicted"]) for row in rows))


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        match path.suffix.lower():
            case ".csv":
                return pl.read_csv(path, infer_schema=False, encoding="utf8-lossy", raise_if_empty=False).to_dicts()
            case ".parquet" | ".pq":
                return pl.read_parquet(path).to_dicts()
            case ".jsonl" | ".ndjson":
                lines = path.read_text(encoding="utf-8-sig").splitlines()
                held = [json.loads(line) for line in lines if line.strip()]
            case ".json":
                held = json.loads(path.read_text(encoding="utf-8-sig"))
            case other:
                raise UserError(f"{path}: labels in {other or 'a file without ending'} are not read; give CSV or JSON")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not isinstance(held, list) or not all(isinstance(row, dict) for row in held):
        raise UserError(f"{path}: holds no list of objects; give one object per labelled pick")
    return held


def _text(value: object) -> str:
    """A cell as text; what pandas writes for nothing is nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = " ".join(str(value).split())
    return "" if text.lower() in _NOTHING else text


def _label(cells: Mapping[str, str], where: str) -> Label:
    if not cells["video_id"]:
        raise UserError(f"{where}: no video id; fill it in or delete the row")
    if not cells["ticker"]:
        return Label(cells["video_id"], None)
    action = GOLD_ACTIONS.get(cells["action"].lower().replace("'", "").replace("’", ""))
    if action is None:
        known = "Buy, Hold, Don't Buy, Sell, Short Sell, Unclear"
        raise UserError(f"{where}: action is {cells['action']!r}; write one of {known}")
    return Label(cells["video_id"], Pick(cells["ticker"].casefold(), action, _conviction(cells["conviction"], where)))


def _conviction(text: str, where: str) -> int | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if value not in BUCKETS:
        raise UserError(f"{where}: conviction is {text!r}; write 1, 2 or 3")
    return int(value)

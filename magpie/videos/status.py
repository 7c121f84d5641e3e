"""How far each video got, and what stopped it.

Belongs here: joining the tables to one state per video. Does not belong here: the states themselves (each stage's
module), printing, and the same in SQL (`dbt_project/models/video_fates.sql`, whose words these are).

The first stage that did not end well decides, or the last one. An analysis of captions that have changed since is none.
"""

import polars as pl

from magpie.lake import Lake
from magpie.tables import UTC
from magpie.videos.tables import TRANSCRIPTS, VIDEO_ANALYSES, VIDEOS

# How well the day of a video is known; of two rows of one video the better known counts.
_KNOWN = pl.col("date_precision") == "unknown"
_KEY = ("channel_id", "day", "video_id")
_FATE = ("status", "reason", "observed", "threshold", "not_before")
STATES = ("analyzed", "captioned", "discovered", "waiting", "rejected", "failed")
STATUS = pl.Schema(
    {
        "video_id": pl.String(),
        "channel_id": pl.String(),
        "day": pl.Date(),
        "published_at": UTC,
        "title": pl.String(),
        "url": pl.String(),
        "state": pl.String(),
        "stage": pl.String(),
        "status": pl.String(),
        "reason": pl.String(),
        "observed": pl.String(),
        "threshold": pl.String(),
        "not_before": UTC,
    }
)


def video_status(lake: Lake, channel: str | None = None, reason: str | None = None) -> pl.DataFrame:
    """Return one row per video (`STATUS`), the newest first.

    States: analyzed (read), captioned (to be read), discovered (captions to come), waiting (to come out or to end),
    rejected, failed.

    Args:
        channel: of this channel_id alone.
        reason: with this reason alone.
    """
    videos = lake.read(VIDEOS)
    if channel is not None:
        videos = videos.filter(pl.col("channel_id") == channel)
    once = videos.sort(_KNOWN, "day", "channel_id", descending=[False, True, False]).unique(
        "video_id", keep="first", maintain_order=True
    )
    heard = lake.read(TRANSCRIPTS).select(*_KEY, "transcript_hash", *_FATE)
    read = lake.read(VIDEO_ANALYSES).filter(pl.col("is_active")).select(*_KEY, "transcript_hash", *_FATE)
    joined = once.join(heard, on=_KEY, how="left", suffix="_heard").join(
        read, on=(*_KEY, "transcript_hash"), how="left", suffix="_read"
    )
    stage = (
        pl.when(pl.col("status") != "ok")
        .then(pl.lit("videos"))
        .when(pl.col("status_heard").ne_missing("ok"))
        .then(pl.lit("transcripts"))
        .otherwise(pl.lit("video_analyses"))
    )
    found = joined.with_columns(stage.alias("stage")).with_columns(_of_stage(name) for name in _FATE)
    shown = found.with_columns(_state().alias("state")).select(list(STATUS)).cast(STATUS)
    if reason is not None:
        shown = shown.filter(pl.col("reason") == reason)
    order = ("day", "published_at", "channel_id", "video_id")
    return shown.sort(order, descending=[True, True, False, False], nulls_last=True).collect()


def _of_stage(name: str) -> pl.Expr:
    stage = pl.col("stage")
    return (
        pl.when(stage == "videos")
        .then(pl.col(name))
        .when(stage == "transcripts")
        .then(pl.col(f"{name}_heard"))
        .otherwise(pl.col(f"{name}_read"))
        .alias(name)
    )


def _state() -> pl.Expr:
    status, stage = pl.col("status"), pl.col("stage")
    return (
        pl.when(status.is_in(["rejected", "failed"]))
        .then(status)
        .when(stage == "videos")
        .then(pl.lit("waiting"))
        .when(stage == "transcripts")
        .then(pl.lit("discovered"))
        .when(status == "ok")
        .then(pl.lit("analyzed"))
        .otherwise(pl.lit("captioned"))
    )

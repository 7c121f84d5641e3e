"""What the materialisations of videos show.

Belongs here: choosing and laying out rows for the UI. Does not belong here: counting that a table or mart does.
"""

from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from magpie.text.markdown import escaped

TOP = 10
TOP_MENTIONS = 5
SKIPPED = "skipped_videos"
BAD_PRICES = "bad_price_rows"
PAGE = "page"


def files_metadata(files: pl.DataFrame) -> dict[str, Any]:
    """Files by kind, and those that are of no use, with the reason."""
    useless = files.filter(pl.col("status") != "ok").select("source_file", "reason", "observed")
    return {
        "files_by_kind": md.bars(_counts(files, "kind")),
        "files_of_no_use": md.markdown_table(useless.head(TOP).to_dicts()),
    }


def videos_metadata(videos: pl.DataFrame) -> dict[str, Any]:
    """Videos that are not read, and why."""
    skipped = videos.filter(pl.col("status") != "ok").sort("published_at", descending=True, nulls_last=True)
    return {SKIPPED: md.markdown_table(skipped.select("day", "title", "reason", "observed").head(TOP).to_dicts())}


def transcripts_metadata(transcripts: pl.DataFrame) -> dict[str, Any]:
    """Words, where captions come from, and what waits or failed."""
    told = transcripts.filter(pl.col("status") != "ok")
    return {
        "words": dg.MetadataValue.int(int(transcripts["word_count"].sum() or 0)),
        "tracks": md.bars(_counts(transcripts.filter(pl.col("status") == "ok"), "track")),
        SKIPPED: md.markdown_table(
            told.select("day", "video_id", "reason", "observed", "not_before").head(TOP).to_dicts()
        ),
    }


def analyses_metadata(analyses: pl.DataFrame, videos: pl.DataFrame) -> dict[str, Any]:
    """The outlook of each video that was read."""
    read = analyses.filter(pl.col("is_active") & (pl.col("status") == "ok"))
    titled = read.join(videos.select("video_id", "title"), on="video_id", how="left")
    return {
        "outlooks": md.markdown_table(
            titled.sort("day", descending=True)
            .select("day", "title", "outlook_direction", "n_picks", "n_segments", "prompt_label")
            .head(TOP)
            .to_dicts()
        ),
        "versions": dg.MetadataValue.json(_counts(analyses, "prompt_label")),
    }


def mentions_metadata(mentions: pl.DataFrame) -> dict[str, Any]:
    """Picks by action, how many quotes were really said, unknown symbols, the best with links."""
    active = mentions.filter("is_active")
    ok = active.filter(pl.col("status") == "ok")
    best = ok.sort("conviction", "mention_id", descending=[True, False]).head(TOP_MENTIONS)
    links = [
        f"- **{escaped(row['symbol'])}** {row['action']}, {row['conviction']:.2f}: "
        f"“{escaped(row['rationale_quote'])}” [watch]({row['deep_link']})"
        for row in best.iter_rows(named=True)
    ]
    unknown = active.filter(pl.col("reason") == "unknown_symbol")["symbol"].unique().sort().head(TOP)
    found: dict[str, Any] = {
        "picks_by_action": md.bars(_counts(ok, "action")),
        "top_mentions": dg.MetadataValue.md("\n".join(links) or "*nothing*"),
        "unknown_symbols": dg.MetadataValue.text(", ".join(unknown) or "none"),
    }
    if active.height:
        grounded = (active["quote_match"] != "none").mean()
        found["grounded_quotes"] = dg.MetadataValue.float(round(float(grounded or 0), 4))  # type: ignore[arg-type]
    return found


def outcomes_metadata(outcomes: pl.DataFrame) -> dict[str, Any]:
    """Per horizon: how many picks are measured and wait, and the mean alpha."""
    ok = pl.col("status") == "ok"
    by_horizon = outcomes.group_by("horizon_sessions").agg(
        ok.sum().alias("measured"),
        (pl.col("status") == "pending").sum().alias("pending"),
        pl.col("alpha").filter(ok).mean().round(4).alias("mean_alpha"),
    )
    return {"outcomes_by_horizon": md.markdown_table(by_horizon.sort("horizon_sessions").to_dicts())}


def consensus_metadata(consensus: pl.DataFrame, changes: pl.DataFrame) -> dict[str, Any]:
    """The highest and lowest scores of the last day, what is contested, and who changed their mind."""
    last = consensus.filter(pl.col("day") == pl.col("day").max())
    columns = ("day", "symbol", pl.col("score").round(1), "n_votes", "n_channels", "contested", "published")
    return {
        "highest": md.markdown_table(last.sort("score", descending=True).select(columns).head(TOP).to_dicts()),
        "contested": md.markdown_table(last.filter("contested").select(columns).head(TOP).to_dicts()),
        "changes_of_mind": md.markdown_table(
            changes.sort("after_said_at", descending=True)
            .select("channel_id", "symbol", "before_action", "after_action", "before_said_at", "after_said_at")
            .head(TOP)
            .to_dicts()
        ),
        "lowest": md.markdown_table(last.sort("score").select(columns).head(TOP).to_dicts()),
    }


def digest_metadata(digests: pl.DataFrame) -> dict[str, Any]:
    """The page of the last day that has anything to tell."""
    told = digests.filter((pl.col("videos") > 0) | (pl.col("mentions") > 0)).sort("day")
    return {PAGE: dg.MetadataValue.md(told["markdown"][-1] if told.height else "*nothing*")}


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().sort(column, nulls_last=True).cast({column: pl.String}).iter_rows())

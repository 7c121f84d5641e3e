"""What the materialisations of leads show.

Belongs here: choosing and laying out rows for the UI. Does not belong here: counting that a table or mart does.
"""

from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md

TOP = 10
TOP_LEADS = 5


def archive_rows(archives: pl.DataFrame) -> list[dict[str, Any]]:
    """File, lines, rows and bad lines, the largest first."""
    chosen = archives.sort("lines", descending=True).head(30)
    return chosen.select("source_file", "lines", "rows", "bad_lines", "min_created_utc", "max_created_utc").to_dicts()


def posts_metadata(posts: pl.DataFrame) -> dict[str, Any]:
    """Posts by content state, and how old they were when retrieved."""
    states = posts.group_by("content_state").len().sort("content_state")
    age = posts["observed_age_s"].drop_nulls()
    found: dict[str, Any] = {"content_states": md.bars(dict(states.iter_rows()))}
    if age.len():
        found["retrieved_after_s_p50"] = dg.MetadataValue.float(float(age.median() or 0))  # type: ignore[arg-type]
        found["retrieved_after_s_p95"] = dg.MetadataValue.float(float(age.quantile(0.95) or 0))
    return found


def funnel(rows: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Per gate: how many rows it decided on, turned down first, and could not judge."""
    if rows.is_empty():
        return md.markdown_table([])
    log = rows.select(pl.col("gate_log"), pl.col("gate").alias("decided")).explode("gate_log").unnest("gate_log")
    counted = (
        log.filter(pl.col("gate").is_not_null())
        .group_by("gate", "reason", maintain_order=True)
        .agg(
            (pl.col("decided") == pl.col("gate")).sum().alias("rejected"),
            (pl.col("outcome") == "reject").sum().alias("would_reject"),
            (pl.col("outcome") == "not_applicable").sum().alias("not_applicable"),
        )
    )
    return md.markdown_table(counted.to_dicts())


def ranked_metadata(rows: pl.DataFrame) -> dict[str, Any]:
    """The best posts, the funnel of gates 8-11, and what the scores rest on."""
    best = rows.filter(pl.col("rank").is_not_null()).sort("fused", descending=True).head(TOP)
    chosen = best.select(
        "campaign_id", "day", "rank", pl.col("fused").round(3), pl.col("cosine").round(3), "keyword_hits", "permalink"
    )
    found: dict[str, Any] = {md.TOP_POSTS: md.markdown_table(chosen.to_dicts()), md.FUNNEL: funnel(rows)}
    if rows.height:
        found["embed_model"] = dg.MetadataValue.text(rows["embed_model"][0])
        found["corpus_n"] = dg.MetadataValue.int(int(rows["corpus_n"].max() or 0))  # type: ignore[arg-type]
        found[md.CONFIG_HASH] = dg.MetadataValue.text(", ".join(sorted(rows["config_hash"].unique())))
    return found


def leads_metadata(rows: pl.DataFrame) -> dict[str, Any]:
    """Leads by tier, who found them, and the best of them."""
    tiers = rows.group_by("intent_tier").len().sort("intent_tier")
    best = rows.sort("intent_score", "relevance_score", descending=True).head(TOP_LEADS)
    chosen = best.select(
        *("campaign_id", "day", "title"),
        pl.col("relevance_score").round(3).alias("fused"),
        pl.col("intent_score").alias("intent"),
        *("evidence_quote", "reddit_url"),
    )
    found: dict[str, Any] = {
        md.TOP_LEADS: md.markdown_table(chosen.to_dicts()),
        md.TIERS: md.bars(dict(tiers.iter_rows())),
    }
    if rows.height:
        made_by = rows.select(pl.format("{} {}", "provider", pl.col("model").fill_null("")).unique()).to_series()
        found[md.MADE_BY] = dg.MetadataValue.text(", ".join(sorted(made_by)))
    return found

"""What the lake holds, in numbers a person can take in at a glance.

Belongs here: counting over all tables. Does not belong here: printing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from magpie.content import tables as content
from magpie.content.status import states_of
from magpie.lake import Lake
from magpie.leads import tables as leads
from magpie.memes import tables as memes
from magpie.memes.stats import latest, with_words
from magpie.persona import tables as persona
from magpie.tables import Table
from magpie.videos import tables as videos
from magpie.videos.consensus import counts


@dataclass(frozen=True)
class TableSummary:
    """Rows of one table, by status where it has one."""

    table: str
    rows: int
    partitions: int
    by_status: dict[str, int]
    by_reason: dict[str, int]


def summarise(lake: Lake, tables: Iterable[Table]) -> list[TableSummary]:
    """Count the rows of each table."""
    return [_summary(lake, table) for table in tables]


def top_ranked(lake: Lake, per_campaign: int) -> pl.DataFrame:
    """Return the best posts of each campaign with their title and how they score."""
    ranked = lake.read(leads.RANKED_POSTS).filter(pl.col("status") == "ok")
    titles = lake.read(leads.CAMPAIGN_POSTS).select("campaign_id", "fullname", "eff_title", "subreddit")
    best = ranked.with_columns(
        pl.col("fused").rank("ordinal", descending=True).over("campaign_id").alias("overall")
    ).filter(pl.col("overall") <= per_campaign)
    return (
        best.join(titles, on=["campaign_id", "fullname"], how="left")
        .sort("campaign_id", "overall")
        .select(
            "campaign_id", "overall", "fused", "cosine", "keyword_hits", "day", "subreddit", "eff_title", "permalink"
        )
        .collect()
    )


def top_leads(lake: Lake, per_campaign: int) -> pl.DataFrame:
    """Return the leads of each campaign with the highest intent; no rows where no extraction has run."""
    order = ("campaign_id", pl.col("intent_score"), pl.col("relevance_score"), "fullname")
    found = lake.read(leads.LEADS).filter("evidence_grounded").sort(order, descending=[False, True, True, False])
    best = found.group_by("campaign_id", maintain_order=True).head(per_campaign)
    return best.select(
        *("campaign_id", "intent_score", "intent_tier", "relevance_score", "day", "subreddit", "title"),
        *("evidence_quote", "provider", "model", "reddit_url"),
    ).collect()


def top_mentions(lake: Lake, most: int) -> pl.DataFrame:
    """Return the picks that were made with the most conviction, of equal ones the newest; one per symbol and place."""
    picks = lake.read(videos.STOCK_MENTIONS).filter(counts())
    order = ("conviction", "day", "channel_id", "located_s", "mention_id")
    best = picks.sort(order, descending=[True, True, False, False, False], nulls_last=True)
    # A company with two classes of shares is one pick to a reader.
    once = best.unique("symbol", keep="first", maintain_order=True).unique(
        "deep_link", keep="first", maintain_order=True
    )
    return (
        once.head(most)
        .select("channel_id", "symbol", "action", "conviction", "day", "rationale_quote", "deep_link", "analysis_id")
        .collect()
    )


def top_memes(lake: Lake, most: int) -> pl.DataFrame:
    """Return the memes that people liked best against what each of them usually likes, with what they say."""
    rated = latest(memes.MEME_STATS, lake.read(memes.MEME_STATS)).filter(pl.col("lr_smoothed") > 0)
    best = rated.sort("lr_smoothed", "meme_id", descending=[True, False]).head(most)
    return with_words(lake, best).collect()


def top_articles(lake: Lake, most: int) -> pl.DataFrame:
    """Return the ok articles of the highest quality, of equal ones the newest, with where they stand with people."""
    said = states_of(lake.read(content.CONTENT_REVIEWS).collect(), "article").rename({"object_id": "article_id"})
    written = lake.read(content.ARTICLES).filter(pl.col("status") == "ok")
    best = written.sort("quality_score", "day", "article_id", descending=[True, True, False]).head(most)
    return (
        best.join(said.lazy(), on="article_id", how="left", maintain_order="left")
        .with_columns(pl.col("state").fill_null("draft"))
        .select("article_id", "site_id", "day", "title", "word_count", "quality_score", "state", "provider", "model")
        .collect()
    )


def top_drafts(lake: Lake, most: int) -> pl.DataFrame:
    """Return the drafts that wait for a person and that readers should like best, with who wrote them."""
    drafts = lake.read(persona.OUTBOX).filter((pl.col("state") == "draft") & (pl.col("kind") != "mood_graph"))
    attempt = ["blog", "day", "input_id", "attempt"]
    chosen = lake.read(persona.DECISIONS).select(*attempt, pl.col("chosen_k").alias("k"))
    scores = lake.read(persona.CANDIDATE_SCORES).select(*attempt, "k", "selector_adjusted", "sentiment_p")
    writers = lake.read(persona.CANDIDATES).select(*attempt, "k", "provider", "model")
    return (
        drafts.join(chosen, on=attempt)
        .join(scores, on=[*attempt, "k"])
        .join(writers, on=[*attempt, "k"])
        .sort("selector_adjusted", "outbox_id", descending=[True, False])
        # The offline writer finds the same words more than once.
        .unique("body_sha256", keep="first", maintain_order=True)
        .head(most)
        .select("outbox_id", "blog", "day", "kind", "body", "selector_adjusted", "sentiment_p", "provider", "model")
        .collect()
    )


def readers(lake: Lake, analyses: pl.Series) -> list[str]:
    """Return who read these videos, `offline` for the rules."""
    read = lake.read(videos.VIDEO_ANALYSES).filter(pl.col("analysis_id").is_in(analyses.unique().to_list()))
    return read.select("model").unique().sort("model").collect()["model"].to_list()


def _summary(lake: Lake, table: Table) -> TableSummary:
    there = lake.present(table)
    by_status: dict[str, int] = {}
    by_reason: dict[str, int] = {}
    if "reason" in table.dtypes:
        rows = lake.read(table)
        if "status" in table.dtypes:
            by_status = dict(rows.group_by("status").len().sort("status").collect().iter_rows())
        reasons = rows.filter(pl.col("reason").is_not_null()).group_by("reason").len()
        by_reason = dict(reasons.sort("len", "reason", descending=[True, False]).collect().iter_rows())
    return TableSummary(table.name, sum(int(row["rows"]) for row in there), len(there), by_status, by_reason)

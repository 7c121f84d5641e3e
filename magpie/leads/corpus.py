"""What a day's posts say about the corpus: term counts, its size, how active each subreddit is.

Belongs here: facts of the trailing window that no campaign changes, computed once for all of them. Does not belong
here: scores (`magpie/leads/ranking.py`).

A window is always counted back from the row's own day, never from the first day asked for: a year in one run gives
the rows that 365 runs of a day would give.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from magpie.exact import divided_by, quotient
from magpie.leads.tables import CORPUS_STATS, CORPUS_TERMS, SUBREDDIT_STATS

ACTIVITY_DAYS = 7
# Days whose tokens are counted together: some hundred thousand posts at most, so that memory stays bounded.
DAYS_PER_PASS = 16


def corpus_terms(posts: pl.LazyFrame, days: Sequence[date]) -> pl.DataFrame:
    """Count, per day and term, the posts with content that hold the term."""
    passes = []
    for start in range(0, len(days), DAYS_PER_PASS):
        some = sorted(days)[start : start + DAYS_PER_PASS]
        counted = (
            posts.filter(pl.col("day").is_in(some) & (pl.col("content_state") == "ok") & (pl.col("tokens") != ""))
            .select("day", pl.col("tokens").str.strip_chars(" ").str.split("  ").list.unique().alias("term"))
            .explode("term")
            .group_by("day", "term")
            .agg(pl.len().cast(pl.Int64).alias("documents"))
            .collect()
        )
        passes.append(counted)
    return pl.concat(passes).select(list(CORPUS_TERMS.dtypes)) if passes else CORPUS_TERMS.empty()


def corpus_stats(posts: pl.LazyFrame, days: Sequence[date], window_days: int) -> pl.DataFrame:
    """Count posts with content and their tokens in [day - window_days + 1, day], for each of `days`."""
    daily = (
        posts.filter(pl.col("content_state") == "ok")
        .group_by("day")
        .agg(pl.len().cast(pl.Int64).alias("corpus_n"), pl.sum("token_count").alias("corpus_tokens"))
        .collect()
    )
    windows = _windows(days, window_days).join(daily.rename({"day": "seen"}), on="seen", how="left")
    summed = windows.group_by("day").agg(pl.sum("corpus_n"), pl.sum("corpus_tokens"))
    return summed.with_columns(
        pl.lit(window_days, pl.Int64).alias("window_days"),
        pl.when(pl.col("corpus_n") > 0)
        .then(quotient(pl.col("corpus_tokens"), pl.col("corpus_n")))
        .alias("corpus_avglen"),
    ).select(list(CORPUS_STATS.dtypes))


def subreddit_stats(posts: pl.LazyFrame, days: Sequence[date], window_days: int) -> pl.DataFrame:
    """Give, per subreddit seen in the window of each of `days`, submissions per day and its newest subscriber count."""
    submissions = posts.filter(pl.col("kind") == "submission").with_columns(
        pl.col("subreddit").str.to_lowercase().alias("subreddit")
    )
    daily = (
        submissions.group_by("day", "subreddit")
        .agg(
            pl.len().alias("submissions"),
            pl.col("sub_subscribers").sort_by("created_utc", "fullname").drop_nulls().last(),
        )
        .collect()
    )
    seen = _windows(days, window_days).join(daily.rename({"day": "seen"}), on="seen").sort("day", "subreddit", "seen")
    recent = pl.col("seen") > pl.col("day") - pl.duration(days=ACTIVITY_DAYS)
    return (
        seen.group_by("day", "subreddit", maintain_order=True)
        .agg(
            pl.col("submissions").filter(recent).sum().alias("recent"),
            pl.col("sub_subscribers").drop_nulls().last(),
        )
        .with_columns(divided_by(pl.col("recent"), ACTIVITY_DAYS).alias("posts_per_day"))
        .select(list(SUBREDDIT_STATS.dtypes))
    )


def document_frequencies(
    terms: pl.LazyFrame, wanted: Sequence[str], days: Sequence[date], window_days: int
) -> pl.DataFrame:
    """Sum the posts that hold each of `wanted` over the window of each day.

    A term that ends in `*` stands for all terms that begin with it; a post with two of them counts twice, which makes
    the term look a little more common than it is.

    Returns:
        One row per day with a column `df_<position in wanted>` per term; 0 where no post holds it.
    """
    exact = [term for term in wanted if not term.endswith("*")]
    held = pl.col("term").is_in(exact)
    for term in set(wanted) - set(exact):
        held = held | pl.col("term").str.starts_with(term[:-1])
    daily = terms.filter(held).collect()
    windows = _windows(days, window_days).join(daily.rename({"day": "seen"}), on="seen", how="left")
    return (
        windows.group_by("day")
        .agg(
            pl.col("documents").filter(_is_term(term)).sum().fill_null(0).alias(f"df_{position}")
            for position, term in enumerate(wanted)
        )
        .sort("day")
    )


def _is_term(term: str) -> pl.Expr:
    if term.endswith("*"):
        return pl.col("term").str.starts_with(term[:-1])
    return pl.col("term") == term


def window_start(days: Sequence[date], window_days: int) -> date:
    """The earliest day that the window of any of `days` reaches."""
    return min(days) - timedelta(days=window_days - 1)


def _windows(days: Sequence[date], window_days: int) -> pl.DataFrame:
    """Pairs (day, seen) of each day with every day of its window."""
    wanted = pl.DataFrame({"day": sorted(set(days))}, schema={"day": pl.Date})
    back = pl.DataFrame({"back": list(range(window_days))})
    return wanted.join(back, how="cross").select(
        "day", (pl.col("day") - pl.duration(days=pl.col("back"))).alias("seen")
    )

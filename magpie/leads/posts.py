"""reddit_posts: the newest snapshot of every post and comment of a day.

Belongs here: which of several snapshots counts, the text's normal forms, tombstones. Does not belong here: reading
dumps (`magpie/sources`) and campaigns.
"""

import hashlib

import polars as pl

from magpie.leads.tables import REDDIT_POSTS
from magpie.sources.reddit_landing import blank_deleted
from magpie.text.tokens import folded_texts, token_count, token_strings

# Texts are folded and hashed in slices, so that a year in one run needs no second copy of all its texts.
ROWS_PER_SLICE = 100_000


def reddit_posts(landed: pl.LazyFrame, deleted: pl.DataFrame) -> pl.DataFrame:
    """Return one row per fullname, in the columns of `reddit_posts`.

    The snapshot with the largest retrieved_at counts; on a tie the one with more comments, then the higher score,
    then the last in (file name, line) order.

    Args:
        landed: rows of the landing, with source_file; the same fullname may occur many times.
        deleted: deletion events (fullname, kind); those posts stay as tombstones.
    """
    rows = landed.collect()
    posts = blank_deleted(_with_all_queries(rows, _newest(rows)).lazy(), deleted).collect()
    del rows
    slices = [with_normal_forms(part) for part in posts.iter_slices(ROWS_PER_SLICE)] or [with_normal_forms(posts)]
    return REDDIT_POSTS.shaped(pl.concat(slices))


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    """The snapshot of each fullname that counts; only what decides is sorted, not the texts."""
    if rows["fullname"].n_unique() == rows.height:
        return rows
    order = ("fullname", "retrieved_at", "num_comments", "score", "source_file", "line_no")
    deciding = rows.select(order).with_row_index("row").sort(order, nulls_last=False)
    return rows[deciding.unique("fullname", keep="last", maintain_order=True)["row"].sort()]


def _with_all_queries(rows: pl.DataFrame, newest: pl.DataFrame) -> pl.DataFrame:
    """Give each post the searches that returned any of its snapshots."""
    searched = rows.lazy().select("fullname", "matched_queries").filter(pl.col("matched_queries").list.len() > 0)
    merged = searched.explode("matched_queries").group_by("fullname").agg(pl.col("matched_queries").unique().sort())
    joined = newest.drop("matched_queries").join(merged.collect(), on="fullname", how="left")
    return joined.with_columns(pl.col("matched_queries").fill_null([]))


def post_text() -> pl.Expr:
    """The text that is matched, hashed and embedded: title and text of a submission, text of a comment."""
    return (
        pl.when(pl.col("kind") == "submission")
        .then(pl.concat_str(pl.col("title").fill_null(""), pl.lit("\n"), "text"))
        .otherwise(pl.col("text"))
    )


def with_normal_forms(posts: pl.DataFrame) -> pl.DataFrame:
    """Add text_hash, text_chars, tokens, token_count and observed_age_s."""
    joined = posts.select(pl.concat_str(pl.col("title").fill_null(""), pl.lit("\n"), "text")).to_series()
    folded = folded_texts(joined)
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in folded]
    return posts.with_columns(
        pl.Series("text_hash", hashes, dtype=pl.String),
        folded.str.len_chars().cast(pl.Int64).alias("text_chars"),
        token_strings(posts.select(post_text()).to_series()).alias("tokens"),
        (pl.col("retrieved_at") - pl.col("created_utc")).dt.total_seconds().alias("observed_age_s"),
    ).with_columns(token_count(pl.col("tokens")).cast(pl.Int64).alias("token_count"))

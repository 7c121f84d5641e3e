"""campaign_posts: which posts match a campaign's keywords, and what gates 0-7 say of them.

Belongs here: the match, inheritance of comments from their submission, duplicates, gates 0-7. Does not belong here:
the grammar (`keywords.py`), the gates themselves (`gates.py`), scores (`ranking.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from magpie.leads.calibration import LONGEST_DEDUP_SECONDS, GateSettings
from magpie.leads.corpus import window_start
from magpie.leads.gates import METADATA_GATES, days_of, decide, metadata_facts
from magpie.leads.keywords import CompiledKeyword, exclude_keywords, matches
from magpie.leads.tables import CAMPAIGN_POSTS

# Shorter texts ("thanks!") repeat without being copies.
DUPLICATE_MIN_CHARS = 40
# A comment's submission, a subreddit's newest size and an equal text are looked for this far back, the day included.
LOOKBACK_DAYS = 30


@dataclass(frozen=True)
class MatchRules:
    """What of a campaign decides about its posts."""

    campaign_id: str
    keywords: tuple[CompiledKeyword, ...]
    subreddits_allow: tuple[str, ...]
    subreddits_deny: tuple[str, ...]
    exclude_authors: tuple[str, ...]
    gates: GateSettings
    config_hash: str


def campaign_posts(
    rules: MatchRules,
    days: Sequence[date],
    posts: pl.LazyFrame,
    subreddits: pl.LazyFrame,
    stored: pl.DataFrame | None = None,
    deleted: Sequence[str] = (),
) -> pl.DataFrame:
    """Match and gate the posts of `days`.

    Args:
        posts: reddit_posts of [first day - 29, last day].
        subreddits: subreddit_stats of `days`.
        stored: rows made earlier; those of posts deleted since stay as tombstones.
        deleted: fullnames of posts deleted on Reddit. A live search that once returned one still matches it.

    Returns:
        One row per match, and per tombstone, in the columns of `campaign_posts`.
    """
    # Tokens and hash stand for the text; not to read it saves a fifth of the match.
    of_days = posts.drop("text").filter(pl.col("day").is_in(sorted(days)))
    found = _once(matches(rules.keywords, of_days), "fullname")
    facts = found.pipe(_inherit, posts).pipe(_with_subreddit_facts, subreddits)
    facts = facts.join(_duplicates(rules, days, posts, facts), on="fullname", how="left", maintain_order="left")
    facts = facts.with_columns(
        _excluded_terms(rules.keywords), days_of(pl.col("observed_age_s")).alias("age_days")
    ).with_columns(
        metadata_facts(
            denied=rules.subreddits_deny, allowed=rules.subreddits_allow, excluded_authors=rules.exclude_authors
        )
    )
    rows = facts.hstack(decide(facts, METADATA_GATES, rules.gates)).with_columns(
        pl.lit(rules.campaign_id).alias("campaign_id"),
        pl.lit(rules.config_hash).alias("config_hash"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("not_before"),
    )
    made = CAMPAIGN_POSTS.shaped(rows)
    if not deleted:
        return made
    gone = pl.col("fullname").is_in(list(deleted))
    earlier = CAMPAIGN_POSTS.empty() if stored is None else stored.filter(gone).join(made, on="fullname", how="anti")
    tombstones = blanked(pl.concat([made.filter(gone), earlier]))
    return pl.concat([made.filter(~gone), tombstones.select(made.columns)])


def blanked(rows: pl.DataFrame) -> pl.DataFrame:
    """Turn rows of deleted posts into tombstones: id, day and the reason stay, what was written does not."""
    keep = {"campaign_id", "day", "fullname", "kind", "created_utc", "subreddit", "config_hash"}
    empty = {
        "status": pl.lit("rejected"),
        "reason": pl.lit("deleted"),
        "matched_keywords": pl.lit([], pl.List(pl.String)),
        "keyword_hits": pl.lit(0, pl.Int64),
        "gate_log": pl.lit([], CAMPAIGN_POSTS.dtypes["gate_log"]),
        "permalink": pl.col("permalink").str.extract(r"^(/r/[^/]+/comments/[0-9a-z]+/)"),
    }
    return rows.with_columns(
        empty.get(name, pl.lit(None, dtype)).alias(name)
        for name, dtype in CAMPAIGN_POSTS.dtypes.items()
        if name not in keep
    )


def _once(rows: pl.DataFrame, name: str, day: str = "day") -> pl.DataFrame:
    """Keep the earliest row of a fullname: a broken dump may hold one post with two creation days."""
    return rows.sort(day, name).unique(name, keep="first", maintain_order=True)


def _inherit(found: pl.DataFrame, posts: pl.LazyFrame) -> pl.DataFrame:
    """Give comments title, over_18 and subscribers of their submission, where it lies in the window."""
    # As a list inside a column; a Python list is looked through six times slower.
    wanted = found["link_fullname"].drop_nulls().unique().implode()
    parents = (
        posts.filter((pl.col("kind") == "submission") & pl.col("fullname").is_in(wanted))
        .select(
            link_fullname="fullname",
            parent_day="day",
            parent_title="title",
            parent_over_18="over_18",
            parent_subscribers="sub_subscribers",
        )
        .collect()
        .pipe(_once, "link_fullname", "parent_day")
    )
    joined = found.join(parents, on="link_fullname", how="left", maintain_order="left")
    comment = pl.col("kind") == "comment"
    earliest = pl.col("day") - pl.duration(days=LOOKBACK_DAYS - 1)
    near = pl.col("parent_day").is_between(earliest, pl.col("day")).fill_null(False)

    def effective(own: str, inherited: str) -> pl.Expr:
        return pl.when(~comment).then(pl.col(own)).when(near).then(pl.col(inherited))

    return joined.with_columns(
        effective("title", "parent_title").alias("eff_title"),
        effective("over_18", "parent_over_18").alias("eff_over_18"),
        effective("sub_subscribers", "parent_subscribers").alias("eff_sub_subscribers"),
    )


def _with_subreddit_facts(found: pl.DataFrame, subreddits: pl.LazyFrame) -> pl.DataFrame:
    """Add posts_per_day, and subscribers to comments whose submission did not tell."""
    facts = subreddits.select(
        "day", subreddit_key="subreddit", posts_per_day="posts_per_day", newest_subscribers="sub_subscribers"
    ).collect()
    keyed = found.with_columns(pl.col("subreddit").str.to_lowercase().alias("subreddit_key"))
    joined = keyed.join(facts, on=["day", "subreddit_key"], how="left", maintain_order="left")
    own = pl.col("eff_sub_subscribers")
    return joined.with_columns(
        pl.when(pl.col("kind") == "comment")
        .then(pl.coalesce(own, "newest_subscribers"))
        .otherwise(own)
        .alias(own.meta.output_name())
    )


def _duplicates(rules: MatchRules, days: Sequence[date], posts: pl.LazyFrame, found: pl.DataFrame) -> pl.DataFrame:
    """For each match, the nearest earlier match with the same text: duplicate_of, duplicate_after_s."""
    copied = (pl.col("content_state") == "ok") & (pl.col("text_chars") >= DUPLICATE_MIN_CHARS)
    columns = ["fullname", "created_utc", "text_hash"]
    hashes = found.filter(copied)["text_hash"].unique().implode()
    earlier = posts.filter(
        pl.col("day").is_between(window_start(days, LOOKBACK_DAYS), max(days), closed="both")
        & ~pl.col("day").is_in(sorted(days))
        & copied
        & pl.col("text_hash").is_in(hashes)
    )
    pool = pl.concat([found.filter(copied).select(columns), matches(rules.keywords, earlier).select(columns)])
    before = (
        pool.sort("created_utc", "fullname")
        .unique("fullname", keep="first", maintain_order=True)
        .with_columns(
            pl.col("fullname").shift(1).over("text_hash").alias("duplicate_of"),
            (pl.col("created_utc") - pl.col("created_utc").shift(1).over("text_hash"))
            .dt.total_seconds()
            .alias("duplicate_after_s"),
        )
    )
    near = pl.col("duplicate_after_s") < LONGEST_DEDUP_SECONDS
    return before.filter(near).select("fullname", "duplicate_of", "duplicate_after_s")


def _excluded_terms(keywords: Sequence[CompiledKeyword]) -> pl.Expr:
    """Normal forms of the exclude keywords with a strict hit."""
    listed = [pl.when(word.strict(pl.col("tokens"))).then(pl.lit(word.norm)) for word in exclude_keywords(keywords)]
    if not listed:
        return pl.lit([], pl.List(pl.String)).alias("excluded_terms")
    return pl.concat_list(listed).list.drop_nulls().alias("excluded_terms")

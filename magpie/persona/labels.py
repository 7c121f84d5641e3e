"""What the two models learn from: texts, and what readers and reviewers made of them.

Belongs here: which texts count, and which of the two kinds each is. Does not belong here: training (`training.py`,
`text_model.py`) and the texts themselves (`documents.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

# By then most notes that a post will ever get are there.
MATURE = timedelta(days=7)
# A blog grows and shrinks; a post is held against its neighbours in time, on either side.
NEIGHBOURS = timedelta(days=45)
# Of either end of the scale; posts between say little about what readers like.
TAIL = 0.25
# Differences of logarithms that are equal but for rounding are equal.
PLACES = 9
# Ways to a human: what is published or turned down without one teaches nothing about humans.
HUMAN_ROUTES = ("draft", "queue")
# What settles the fate of a draft, or takes it back; an edit alone does neither.
VERDICTS = ("approve", "redo", "reject", "hold")

LABELS = pl.Schema(
    {
        "text": pl.String(),
        "label": pl.Boolean(),
        # It answers nobody: it is let through by a cut of its own.
        "original": pl.Boolean(),
        # Texts of one group have much in common, and are never to be learnt from and judged by at once.
        "group": pl.String(),
    }
)


def selector_labels(posts: pl.DataFrame, threads: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """What readers liked: the quarter of the blog's posts with the most notes for their time and kind, and the least.

    A post's notes are taken as ln(1 + notes), less the median of the same kind (answer, reblog, original) within 45
    days. Posts with equal figures share their fate: those that a quarter ends among count for neither side.

    Args:
        posts: rows of `tumblr_posts`; the blog's own that were published more than seven days before `at` are taken.
        threads: rows of `threads` of the same posts.

    Returns:
        `LABELS`, True: liked; sorted.
    """
    kind = (
        pl.when(pl.col("parent_post_id").is_not_null())
        .then(pl.lit("reblog"))
        .when(pl.col("has_ask") | pl.col("asking_blog").is_not_null())
        .then(pl.lit("answer"))
        .otherwise(pl.lit("original"))
    )
    texts = threads.filter(_ok()).select("blog", "day", "post_id", "has_ask", "text_selector")
    mature = (
        posts.filter(_ok() & (pl.col("role") == "own") & (pl.col("post_state") == "published"))
        .filter(pl.col("published_at") < at - MATURE)
        .join(texts.drop_nulls("text_selector"), on=["blog", "day", "post_id"])
        .with_columns(kind.alias("kind"), (pl.col("note_count").clip(0) + 1).log().alias("liking"))
    )
    excess = (pl.col("liking") - pl.col("usual")).round(PLACES)
    ranked = mature.join(_usual(mature), on=["kind", "published_at"]).with_columns(
        # Of equals each gets the last of their ranks, from either end.
        excess.rank("max").alias("from_below"),
        excess.rank("max", descending=True).alias("from_above"),
    )
    tails = ranked.filter(pl.min_horizontal("from_below", "from_above") <= pl.len() * TAIL)
    return _labelled(
        tails.select(
            pl.col("text_selector").alias("text"),
            (pl.col("from_above") < pl.col("from_below")).alias("label"),
            (pl.col("kind") == "original").alias("original"),
            pl.col("post_id").alias("group"),
        )
    )


def autoreview_labels(
    decisions: pl.DataFrame,
    outbox: pl.DataFrame,
    reviews: pl.DataFrame,
    at: datetime,
    prompts: Mapping[str, str],
    with_answer: Callable[[str, str, Sequence[str]], str],
) -> pl.DataFrame:
    """What reviewers made of the texts that went to them, as known at a moment.

    Turned down: what a human rejected, sent back or deleted, and every attempt that another one followed. Let through:
    what a human approved, and drafts that were published, which takes a human; in the words that were approved. What
    still waits, was held, or went out through the queue unread counts for neither side.

    Args:
        decisions: rows of `decisions`, of all days.
        outbox: rows of `outbox`; reviews: of `persona_reviews`.
        prompts: by input, what the model reads before the text; inputs without one are left out.
        with_answer: puts prompt, body and tags together, as they are put together for scoring.

    Returns:
        `LABELS`, True: a human turned it down; sorted.
    """
    known = decisions.filter(pl.col("tick_ts") < at)
    last = pl.col("attempt").max().over("blog", "input_id")
    sent = outbox.select(
        *("blog", "input_id", "attempt", "outbox_id", "state", "delivered_at"),
        *(pl.col(name).alias(f"sent_{name}") for name in ("body", "tags")),
    )
    verdicts = (
        reviews.filter((pl.col("at") < at) & pl.col("action").is_in(VERDICTS))
        .group_by("blog", "outbox_id")
        .agg(pl.col("action").sort_by("at", "review_id").last().alias("verdict"))
    )
    judged = (
        known.with_columns((pl.col("attempt") < last).alias("followed"))
        .filter(_ok() & pl.col("route").is_in(HUMAN_ROUTES))
        .join(sent, on=["blog", "input_id", "attempt"], how="left")
        .join(verdicts, on=["blog", "outbox_id"], how="left")
        .with_columns(_turned_down(at).alias("label"))
        .drop_nulls("label")
    )
    as_sent = ~pl.col("label") & pl.col("sent_body").is_not_null()
    chosen = judged.select(
        "label",
        (pl.col("kind") == "original").alias("original"),
        pl.col("input_id").alias("group"),
        *(pl.when(as_sent).then(f"sent_{name}").otherwise(name).alias(name) for name in ("body", "tags")),
    ).drop_nulls("body")
    texts = [
        with_answer(prompts[input_id], body, tags) if input_id in prompts else None
        for input_id, body, tags in chosen.select("group", "body", "tags").iter_rows()
    ]
    return _labelled(chosen.with_columns(pl.Series("text", texts, pl.String)).drop_nulls("text"))


def _usual(mature: pl.DataFrame) -> pl.DataFrame:
    """The median liking of each kind around each moment at which a post of that kind was published."""
    around = mature.sort("kind", "published_at").rolling(
        "published_at", period=2 * NEIGHBOURS, offset=-NEIGHBOURS, closed="both", group_by="kind"
    )
    return around.agg(pl.col("liking").median().alias("usual")).unique(["kind", "published_at"])


def _turned_down(at: datetime) -> pl.Expr:
    """True: a human turned the text down; False: let it through; null: nobody has said."""
    gone = pl.col("followed") | pl.col("verdict").is_in(["redo", "reject"]) | (pl.col("state") == "deleted")
    published = (pl.col("route") == "draft") & (pl.col("state") == "published") & (pl.col("delivered_at") < at)
    approved = (pl.col("verdict") == "approve") | (pl.col("verdict").is_null() & published)
    return pl.when(gone.fill_null(False)).then(True).when(approved.fill_null(False)).then(False).otherwise(None)


def _ok() -> pl.Expr:
    return pl.col("status") == "ok"


def _labelled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(list(LABELS)).cast(LABELS).sort(list(LABELS))

"""How far each batch got: what became of its keywords, topics, ideas, articles and images.

Belongs here: counting rows by what was decided of them. Does not belong here: deciding (the stages, `reviews.py`),
the story of one article (`why.py`), printing.
"""

import polars as pl

from magpie.content.reviews import fold
from magpie.content.tables import ARTICLE_IMAGES, ARTICLES, CONTENT_IDEAS, KEYWORD_CLUSTERS, KEYWORDS
from magpie.lake import Lake
from magpie.tables import Table

STAGES = (KEYWORDS, KEYWORD_CLUSTERS, CONTENT_IDEAS, ARTICLES, ARTICLE_IMAGES)
FATES_SCHEMA = pl.Schema(
    {
        "site_id": pl.String(),
        "day": pl.Date(),
        **dict.fromkeys(("table", "status", "reason"), pl.String()),
        "n": pl.Int64(),
    }
)


def fates(lake: Lake, events: pl.DataFrame) -> pl.DataFrame:
    """Return how many rows of each batch and stage ended how, in the columns of FATES_SCHEMA, in the order of STAGES.

    Of an ok article `reason` is where it stands with people: draft, review, approved, published, declined or disabled.

    Args:
        events: `content_reviews`.
    """
    said = states_of(events, "article").rename({"object_id": "article_id"})
    parts = []
    for number, table in enumerate(STAGES):
        rows = lake.read(table)
        if table is ARTICLES:
            rows = rows.join(said.lazy(), on="article_id", how="left").with_columns(
                pl.when(pl.col("status") == "ok")
                .then(pl.col("state").fill_null("draft"))
                .otherwise("reason")
                .alias("reason")
            )
        parts.append(_counted(rows, table, number))
    found = pl.concat(pl.collect_all(parts))
    key = ("site_id", "day", "number", "status", "reason")
    return found.sort(key, nulls_last=True).drop("number").select(list(FATES_SCHEMA)).cast(FATES_SCHEMA)


def states_of(events: pl.DataFrame, object_type: str) -> pl.DataFrame:
    """Return object_id and state of each object of a kind that somebody decided on; what is off is `disabled`."""
    mine = fold(events).filter(pl.col("object_type") == object_type)
    off = pl.when("disabled").then(pl.lit("disabled")).otherwise("state")
    return mine.select("object_id", off.alias("state"))


def _counted(rows: pl.LazyFrame, table: Table, number: int) -> pl.LazyFrame:
    counted = rows.group_by("site_id", "day", "status", "reason").agg(pl.len().alias("n"))
    return counted.with_columns(pl.lit(table.name).alias("table"), pl.lit(number).alias("number"))

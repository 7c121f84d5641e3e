"""The story of one article: from its keywords over topic and idea to the text, its images and what people said.

Belongs here: finding what lies behind an article, and articles as they are with all edits. Does not belong here: rules
(the stages), counting (`status.py`), printing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from magpie.content import reviews
from magpie.content import tables as t
from magpie.content.article_edits import edited
from magpie.content.articles import ArticleRules
from magpie.content.settings import Site
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.tables import Partitions, Table

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """What lies behind an article.

    Attributes:
        keywords: rows of `keywords` of its topic, the most searched first.
        cluster: None if the topic is gone since.
        article: with all edits that hold; None: it was never written.
        prompts, images: rows of `image_prompts` and `article_images`, in the order of their slots.
        state: draft, review, approved, published or declined; disabled: left out whatever the state.
        events: what people decided of it as an idea and as an article, oldest first.
    """

    idea: Row
    keywords: pl.DataFrame
    cluster: Row | None
    article: Row | None
    prompts: pl.DataFrame
    images: pl.DataFrame
    state: str
    disabled: bool
    events: pl.DataFrame


def articles_now(settings: Settings, lake: Lake, control: Control, site: Site) -> pl.DataFrame:
    """Return the articles of a site, all days, with what people changed, also since they were last made."""
    mine = pl.col("site_id") == site.id
    written, ideas = (lake.read(table).filter(mine).collect() for table in (t.ARTICLES, t.CONTENT_IDEAS))
    return edited(written, reviews.edits(reviews.REVIEWS.read(control)), ideas, site, ArticleRules.of(settings.content))


def why(settings: Settings, lake: Lake, control: Control, article_id: str) -> Story:
    """Return the story of an article, or of an idea that is none yet.

    Raises:
        UserError: there is no such article or idea.
    """
    found = lake.read(t.CONTENT_IDEAS).filter(pl.col("idea_id") == article_id).collect()
    if found.is_empty():
        raise UserError(f"there is no article or idea {article_id!r}; `magpie content status` shows what there is")
    idea = found.row(0, named=True)
    batch = Partitions({idea["site_id"]: frozenset([idea["day"]])})
    cluster = _first(
        lake.read(t.KEYWORD_CLUSTERS, batch)
        .filter((pl.col("sector") == idea["sector"]) & (pl.col("cluster_key") == idea["cluster_key"]))
        .collect()
    )
    members = [member["keyword_norm"] for member in cluster["keywords"]] if cluster else idea["covered_keywords"]
    said = reviews.REVIEWS.read(control, object_id=article_id)
    state = _first(reviews.fold(said).filter(pl.col("object_type") == "article"))
    return Story(
        idea,
        _keywords(lake, batch, idea["sector"], members),
        cluster,
        _article(settings, lake, batch, idea, said),
        _slots(lake, t.IMAGE_PROMPTS, batch, article_id),
        _slots(lake, t.ARTICLE_IMAGES, batch, article_id),
        state["state"] if state else "draft",
        bool(state and state["disabled"]),
        said.filter(pl.col("object_type").is_in(["idea", "article"])).sort("at", "event_id"),
    )


def _first(rows: pl.DataFrame) -> dict[str, Any] | None:
    return None if rows.is_empty() else rows.row(0, named=True)


def _keywords(lake: Lake, batch: Partitions, sector: str, members: list[str]) -> pl.DataFrame:
    volume = pl.coalesce("volume_override", "volume").alias("volume")
    mine = (pl.col("sector") == sector) & (pl.col("status") == "ok") & pl.col("keyword_norm").is_in(members)
    found = lake.read(t.KEYWORDS, batch).filter(mine).with_columns(volume)
    return found.sort("volume", "keyword_norm", descending=[True, False], nulls_last=True).collect()


def _article(settings: Settings, lake: Lake, batch: Partitions, idea: Row, said: pl.DataFrame) -> Row | None:
    """The article with its edits; one of a site that the settings have no more stays as it was made."""
    written = lake.read(t.ARTICLES, batch).filter(pl.col("article_id") == idea["idea_id"]).collect()
    site = next((site for site in settings.sites if site.id == idea["site_id"]), None)
    if written.is_empty() or site is None:
        return _first(written)
    ideas = pl.DataFrame([idea], schema=t.CONTENT_IDEAS.dtypes)
    return _first(edited(written, reviews.edits(said), ideas, site, ArticleRules.of(settings.content)))


def _slots(lake: Lake, table: Table, batch: Partitions, article_id: str) -> pl.DataFrame:
    order = pl.col("image_type").cast(pl.Enum(t.IMAGE_TYPES))
    return lake.read(table, batch).filter(pl.col("article_id") == article_id).sort(order, "position").collect()

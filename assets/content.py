"""The assets of content, from keyword files to images.

Belongs here: which table is made from which, per which partition, and what its materialisation shows. Does not belong
here: any rule (`magpie/content`).
"""

from collections.abc import Callable
from datetime import date
from functools import partial

import dagster as dg
import polars as pl

from assets import content_metadata as shown
from assets import metadata as md
from assets import partitions as parts
from assets.content_settings import settings_metadata
from assets.failures import user_errors
from assets.model_calls import Account, log_progress
from assets.table_asset import table_asset as any_table_asset
from magpie.content import reviews
from magpie.content import tables as t
from magpie.content.settings import Site
from magpie.content.stages import Desk, Writer
from magpie.control import Control
from magpie.engine import embedder_of
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.tables import Table
from resources.llm import Llm

table_asset = partial(any_table_asset, group="content")
Made = Callable[[Site, list[date]], pl.DataFrame]


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the assets of content under these settings."""
    site_days = parts.site_days_from(settings.content_start_day)
    return [
        *_keyword_assets(settings, site_days),
        *_topic_assets(settings, site_days),
        *_article_assets(settings, site_days),
    ]


def per_site(context: dg.AssetExecutionContext, settings: Settings, table: Table, make: Made) -> pl.DataFrame:
    """One call of the rule for each site of the run."""
    return parts.per_lead(table, context.partition_keys, lambda site, days: make(settings.site(site), days))


def writer_of(context: dg.AssetExecutionContext, settings: Settings, lake: Lake, control: Control, llm: Llm) -> Writer:
    """Who asks models in this run."""
    model = settings.content.embed_model
    embed = partial(embedder_of, model, lambda: llm.engine)
    return Writer(settings, lake, control, llm.engine, embed, context.run_id, log_progress(context, llm))


def _of(frame: pl.DataFrame, site: Site) -> pl.DataFrame:
    return frame.filter(pl.col("site_id") == site.id)


def _asked(
    context: dg.AssetExecutionContext,
    settings: Settings,
    table: Table,
    writer: Writer,
    make: Made,
    show: Callable[[pl.DataFrame], dict[str, dg.MetadataValue]],
) -> pl.DataFrame:
    """One call of the rule for each site of the run, what asking models for it took, and under which settings."""
    began, account = writer.engine.gateway.clock().date(), Account()
    with user_errors():
        found = per_site(context, settings, table, make)
    account.add(found, *writer.summaries)
    account.add_booked(writer.engine, context.run_id, table.name, began)
    sites = map(settings.site, parts.partitions_of(table, context.partition_keys).leads())
    decided = settings_metadata(writer, table, sites)
    md.show(context, {**account.metadata(writer.engine), **decided, **show(found)})
    return found


def _keyword_assets(settings: Settings, site_days: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.KEYWORD_FILES, None)
    def keyword_files(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> pl.DataFrame:
        with user_errors():
            found = desk.keyword_files()
        context.add_output_metadata(shown.files_metadata(found))
        return found

    @table_asset(t.CONTENT_REVIEWS, None)
    def content_reviews(control: dg.ResourceParam[Control]) -> pl.DataFrame:
        return reviews.REVIEWS.read(control)

    @table_asset(t.KEYWORDS, site_days, deps=["keyword_files"])
    def keywords(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> pl.DataFrame:
        with user_errors():
            found = per_site(context, settings, t.KEYWORDS, desk.keywords)
        context.add_output_metadata(shown.keywords_metadata(found))
        return found

    return [keyword_files, content_reviews, keywords]


def _topic_assets(settings: Settings, site_days: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.KEYWORD_CLUSTERS, site_days)
    def keyword_clusters(
        context: dg.AssetExecutionContext,
        keywords: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        rows, writer = keywords.collect(), writer_of(context, settings, lake, control, llm)
        return _asked(
            context,
            settings,
            t.KEYWORD_CLUSTERS,
            writer,
            lambda site, days: writer.keyword_clusters(site, days, _of(rows, site)),
            shown.clusters_metadata,
        )

    @table_asset(t.CONTENT_IDEAS, site_days)
    def content_ideas(
        context: dg.AssetExecutionContext,
        keyword_clusters: pl.LazyFrame,
        keywords: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        clusters, rows = keyword_clusters.collect(), keywords.collect()
        writer = writer_of(context, settings, lake, control, llm)
        return _asked(
            context,
            settings,
            t.CONTENT_IDEAS,
            writer,
            lambda site, days: writer.content_ideas(site, days, _of(clusters, site), _of(rows, site)),
            shown.ideas_metadata,
        )

    return [keyword_clusters, content_ideas]


def _article_assets(settings: Settings, site_days: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.ARTICLES, site_days)
    def articles(
        context: dg.AssetExecutionContext,
        content_ideas: pl.LazyFrame,
        keyword_clusters: pl.LazyFrame,
        keywords: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        ideas, clusters, rows = content_ideas.collect(), keyword_clusters.collect(), keywords.collect()
        writer = writer_of(context, settings, lake, control, llm)

        def write(site: Site, days: list[date]) -> pl.DataFrame:
            return writer.articles(site, days, _of(ideas, site), _of(clusters, site), _of(rows, site))

        show = partial(shown.articles_metadata, tolerance=settings.content.word_count_tolerance)
        return _asked(context, settings, t.ARTICLES, writer, write, show)

    @table_asset(t.IMAGE_PROMPTS, site_days)
    def image_prompts(
        context: dg.AssetExecutionContext,
        articles: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        written, writer = articles.collect(), writer_of(context, settings, lake, control, llm)
        return _asked(
            context,
            settings,
            t.IMAGE_PROMPTS,
            writer,
            lambda site, days: writer.image_prompts(site, _of(written, site)),
            shown.prompts_metadata,
        )

    @table_asset(t.ARTICLE_IMAGES, site_days)
    def article_images(
        context: dg.AssetExecutionContext,
        image_prompts: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        prompts, writer = image_prompts.collect(), writer_of(context, settings, lake, control, llm)
        show = partial(shown.images_metadata, home=settings.home)
        return _asked(
            context,
            settings,
            t.ARTICLE_IMAGES,
            writer,
            lambda site, days: writer.article_images(site, _of(prompts, site)),
            show,
        )

    return [articles, image_prompts, article_images]

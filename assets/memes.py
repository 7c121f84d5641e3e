"""The assets of memes, from files to queues.

Belongs here: which table is made from which, per which partition, and what its materialisation shows. Does not belong
here: any rule (`magpie/memes`).

What runs in a circle (statistics, sources, statuses, whose turn it is) is read as of now and no dependency.
"""

from collections.abc import Callable
from datetime import date
from functools import partial

import dagster as dg
import polars as pl

from assets import memes_metadata as shown
from assets import metadata as md
from assets import partitions as parts
from assets.failures import user_errors
from assets.model_calls import Account, log_progress
from assets.table_asset import table_asset as any_table_asset
from magpie.append_log import AppendLog
from magpie.control import Control
from magpie.lake import Lake
from magpie.memes import logs
from magpie.memes import tables as t
from magpie.memes.queues import QueueRules, Queues
from magpie.memes.stages import Curator
from magpie.settings import Settings
from magpie.tables import Table
from resources.llm import Llm

table_asset = partial(any_table_asset, group="memes")


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the assets of memes under these settings."""
    days = parts.days_through_today(settings.memes_start_day)
    return [
        *_landing_assets(),
        *_post_assets(parts.platform_days_from(settings.memes_start_day)),
        *_reading_assets(parts.platform_days_from(settings.memes_start_day)),
        *_rating_assets(days),
        *_queue_assets(days, QueueRules.of(settings.memes)),
    ]


def asked_days(context: dg.AssetExecutionContext, table: Table) -> list[date]:
    """The days of the run."""
    return parts.partitions_of(table, context.partition_keys).all_days()


def _landing_assets() -> list[dg.AssetsDefinition]:
    @table_asset(t.MEME_FILES, None)
    def meme_files(context: dg.AssetExecutionContext, curator: dg.ResourceParam[Curator]) -> pl.DataFrame:
        with user_errors():
            found = curator.meme_files()
        context.add_output_metadata(shown.files_metadata(found))
        return found

    @table_asset(t.MEME_SOURCES, None, deps=["source_events", "meme_fetches"])
    def meme_sources(
        context: dg.AssetExecutionContext, meme_files: pl.LazyFrame, curator: dg.ResourceParam[Curator]
    ) -> pl.DataFrame:
        found = curator.meme_sources(meme_files.collect())
        context.add_output_metadata(shown.sources_metadata(found))
        return found

    copied = (logs.SOURCE_EVENTS, logs.FETCHES, logs.MODERATION, logs.USERS, logs.DESCRIBE_QUEUE)
    return [meme_files, meme_sources, *map(_copy, copied)]


def _copy(log: AppendLog) -> dg.AssetsDefinition:
    """A log of the control database, as SQL sees it."""

    @table_asset(log.table, None)
    def copy(control: dg.ResourceParam[Control]) -> pl.DataFrame:
        return log.read(control)

    return copy


def _post_assets(platform_days: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.MEME_POSTS, platform_days, deps=["meme_files"])
    def meme_posts(context: dg.AssetExecutionContext, curator: dg.ResourceParam[Curator]) -> pl.DataFrame:
        asked = parts.partitions_of(t.MEME_POSTS, context.partition_keys)
        before = curator.lake.read(t.MEME_POSTS, asked).collect()
        with user_errors():
            found = curator.meme_posts(asked)
        sources = curator.lake.read(t.MEME_SOURCES).collect()
        context.add_output_metadata(shown.posts_metadata(found, before, sources))
        return found

    @table_asset(t.MEMES, platform_days, deps=["meme_sources"])
    def memes(
        context: dg.AssetExecutionContext, meme_posts: pl.LazyFrame, curator: dg.ResourceParam[Curator]
    ) -> pl.DataFrame:
        posts = meme_posts.collect()
        found = curator.memes(posts, asked_days(context, t.MEMES))
        context.add_output_metadata(shown.memes_metadata(posts, found))
        return found

    @table_asset(t.MEME_MEDIA, platform_days)
    def meme_media(
        context: dg.AssetExecutionContext,
        memes: pl.LazyFrame,
        meme_posts: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        curator: dg.ResourceParam[Curator],
    ) -> pl.DataFrame:
        stored = lake.read(t.MEME_MEDIA, parts.partitions_of(t.MEME_MEDIA, context.partition_keys)).collect()
        with user_errors():
            found = curator.meme_media(memes.collect(), meme_posts.collect(), stored)
        md.show(context, shown.media_metadata(found, stored, curator.blobs))
        return found

    return [meme_posts, memes, meme_media]


def _reading_assets(platform_days: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.MEME_DESCRIPTIONS, platform_days)
    def meme_descriptions(
        context: dg.AssetExecutionContext,
        memes: pl.LazyFrame,
        meme_media: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        llm: dg.ResourceParam[Llm],
        curator: dg.ResourceParam[Curator],
    ) -> pl.DataFrame:
        asked = parts.partitions_of(t.MEME_DESCRIPTIONS, context.partition_keys)
        stored, media, account = lake.read(t.MEME_DESCRIPTIONS, asked).collect(), meme_media.collect(), Account()
        with user_errors():
            read = shown.read_as_of(lake, t.MEME_STATUS, t.MEME_DUPLICATES)
            found, summaries = curator.meme_descriptions(
                llm.engine, context.run_id, log_progress(context, llm), memes.collect(), media, stored
            )
        account.add(found.rename({"model_served": "model"}), *summaries)
        told = shown.descriptions_metadata(found, curator.blobs, llm.engine)
        md.show(context, {**account.metadata(llm.engine), **told, **read})
        return found

    @table_asset(t.MEME_DUPLICATES, platform_days)
    def meme_duplicates(
        context: dg.AssetExecutionContext,
        memes: pl.LazyFrame,
        meme_media: pl.LazyFrame,
        meme_descriptions: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        curator: dg.ResourceParam[Curator],
    ) -> pl.DataFrame:
        read = shown.read_as_of(lake, t.MEMES, t.MEME_MEDIA, t.MEME_DESCRIPTIONS, t.MEME_DUPLICATES)
        found = curator.meme_duplicates(memes.collect(), meme_media.collect(), meme_descriptions.collect())
        md.show(context, {**shown.duplicates_metadata(found, lake, curator.blobs), **read})
        return found

    @table_asset(t.MEME_STATUS, platform_days)
    def meme_status(
        context: dg.AssetExecutionContext,
        memes: pl.LazyFrame,
        meme_media: pl.LazyFrame,
        meme_descriptions: pl.LazyFrame,
        meme_duplicates: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        curator: dg.ResourceParam[Curator],
    ) -> pl.DataFrame:
        before = lake.read(t.MEME_STATUS, parts.partitions_of(t.MEME_STATUS, context.partition_keys)).collect()
        read = shown.read_as_of(lake, t.MEME_SOURCES, t.MEME_DUPLICATES)
        found = curator.meme_status(
            memes.collect(), meme_media.collect(), meme_descriptions.collect(), meme_duplicates.collect()
        )
        context.add_output_metadata({**shown.status_metadata(found, before), **read})
        return found

    return [meme_descriptions, meme_duplicates, meme_status]


def _rating_assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.MEME_REACTIONS, days, deps=["meme_files"])
    def meme_reactions(context: dg.AssetExecutionContext, curator: dg.ResourceParam[Curator]) -> pl.DataFrame:
        with user_errors():
            return curator.meme_reactions(asked_days(context, t.MEME_REACTIONS))

    @table_asset(t.MEME_STATS, days, deps=["meme_reactions"])
    def meme_stats(context: dg.AssetExecutionContext, curator: dg.ResourceParam[Curator]) -> pl.DataFrame:
        read = shown.read_as_of(curator.lake, t.MEME_STATUS, t.MEMES)
        found = curator.statistics().meme_stats(asked_days(context, t.MEME_STATS))
        context.add_output_metadata({**shown.stats_metadata(found), **read})
        return found

    def rated(table: Table, make: Callable[[Curator, list[date]], pl.DataFrame]) -> dg.AssetsDefinition:
        @table_asset(table, days, deps=["meme_reactions"])
        def rating(context: dg.AssetExecutionContext, curator: dg.ResourceParam[Curator]) -> pl.DataFrame:
            context.add_output_metadata(shown.read_as_of(curator.lake, t.MEME_STATUS, t.MEMES))
            return make(curator, asked_days(context, table))

        return rating

    return [
        meme_reactions,
        meme_stats,
        rated(t.SOURCE_STATS, lambda curator, asked: curator.statistics().source_stats(asked)),
        rated(t.USER_STATS, lambda curator, asked: curator.statistics().user_stats(asked)),
        rated(t.USER_SOURCE_STATS, lambda curator, asked: curator.statistics().user_source_stats(asked)),
    ]


def _queue_assets(days: dg.DailyPartitionsDefinition, rules: QueueRules) -> list[dg.AssetsDefinition]:
    @table_asset(t.MEME_CANDIDATES, days)
    def meme_candidates(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> pl.DataFrame:
        found = Queues(control, rules).meme_candidates(asked_days(context, t.MEME_CANDIDATES))
        context.add_output_metadata(shown.candidates_metadata(found))
        return found

    @table_asset(t.RECOMMENDATION_QUEUES, days)
    def recommendation_queues(
        context: dg.AssetExecutionContext, control: dg.ResourceParam[Control], lake: dg.ResourceParam[Lake]
    ) -> pl.DataFrame:
        asked = asked_days(context, t.RECOMMENDATION_QUEUES)
        found = Queues(control, rules).recommendation_queues(asked)
        context.add_output_metadata(shown.queues_metadata(found, lake, max(asked)))
        return found

    return [meme_candidates, recommendation_queues]

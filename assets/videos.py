"""The assets of videos, from files to outcomes.

Belongs here: which table is made from which, per which partition, and what its materialisation shows. Does not belong
here: any rule (`magpie/videos`).
"""

from collections.abc import Callable
from datetime import date
from functools import partial

import dagster as dg
import polars as pl

from assets import metadata as md
from assets import partitions as parts
from assets import videos_metadata as shown
from assets.failures import user_errors
from assets.model_calls import Account, log_progress
from assets.table_asset import table_asset as any_table_asset
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.tables import Table
from magpie.videos import stages
from magpie.videos import tables as t
from magpie.videos.prices import daily_prices as prices_of
from magpie.videos.segments import SegmentRules
from magpie.videos.segments import transcript_passages as passages_of
from magpie.videos.segments import video_segments as segments_of
from magpie.videos.settings import Channel
from magpie.videos.stages import Source
from magpie.videos.symbols import SymbolTable, read_symbols
from magpie.videos.verify import VerifyRules, verify
from resources.llm import Llm

table_asset = partial(any_table_asset, group="videos")
Made = Callable[[Channel, list[date]], pl.DataFrame]


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the assets of videos under these settings."""
    return [*_file_assets(settings), *_channel_assets(settings), *_reading_assets(settings), *_day_assets(settings)]


def per_channel(context: dg.AssetExecutionContext, settings: Settings, table: Table, make: Made) -> pl.DataFrame:
    """One call of the rule for each channel of the run."""
    return parts.per_lead(table, context.partition_keys, lambda channel, days: make(settings.channel(channel), days))


def _file_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    @table_asset(t.VIDEO_FILES, None)
    def video_files(context: dg.AssetExecutionContext, video_source: dg.ResourceParam[Source]) -> pl.DataFrame:
        with user_errors():
            found = video_source.video_files()
        context.add_output_metadata(shown.files_metadata(found))
        return found

    @table_asset(t.SYMBOLS, None)
    def symbols(context: dg.AssetExecutionContext) -> pl.DataFrame:
        file = settings.videos.symbols
        with user_errors():
            return read_symbols(settings.root / file) if file else t.SYMBOLS.empty()

    return [video_files, symbols]


def _channel_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    channel_days = parts.channel_days_from(settings.videos_start_day)
    # One at a time where YouTube may be asked; files can be read by many.
    pool = "youtube" if settings.videos.live else None

    @table_asset(t.VIDEOS, channel_days, deps=["video_files"])
    def videos(context: dg.AssetExecutionContext, video_source: dg.ResourceParam[Source]) -> pl.DataFrame:
        found = per_channel(context, settings, t.VIDEOS, video_source.videos)
        context.add_output_metadata(shown.videos_metadata(found))
        return found

    @table_asset(t.TRANSCRIPTS, channel_days, ins={"listed": dg.AssetIn("videos")}, pool=pool)
    def transcripts(
        context: dg.AssetExecutionContext, listed: pl.LazyFrame, video_source: dg.ResourceParam[Source]
    ) -> pl.DataFrame:
        rows = listed.collect()
        found = per_channel(
            context,
            settings,
            t.TRANSCRIPTS,
            lambda channel, days: video_source.transcripts(channel, days, stages.of_channel(rows, channel)),
        )
        context.add_output_metadata(shown.transcripts_metadata(found))
        return found

    @table_asset(t.TRANSCRIPT_PASSAGES, channel_days)
    def transcript_passages(context: dg.AssetExecutionContext, transcripts: pl.LazyFrame) -> pl.DataFrame:
        return passages_of(transcripts.collect())

    @table_asset(t.VIDEO_SEGMENTS, channel_days, ins={"listed": dg.AssetIn("videos")})
    def video_segments(
        context: dg.AssetExecutionContext, transcripts: pl.LazyFrame, listed: pl.LazyFrame
    ) -> pl.DataFrame:
        chapters = dict(listed.select("video_id", "chapters").collect().iter_rows())
        return segments_of(transcripts.collect(), chapters, SegmentRules.of(settings.videos))

    return [videos, transcripts, transcript_passages, video_segments]


def _reading_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    channel_days = parts.channel_days_from(settings.videos_start_day)
    listed = {"listed": dg.AssetIn("videos")}

    @table_asset(t.VIDEO_ANALYSES, channel_days, ins=listed)
    def video_analyses(
        context: dg.AssetExecutionContext,
        listed: pl.LazyFrame,
        transcripts: pl.LazyFrame,
        video_segments: pl.LazyFrame,
        symbols: pl.LazyFrame,
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        rows, texts, segments = listed.collect(), transcripts.collect(), video_segments.collect()
        account, known = Account(), SymbolTable.of(symbols.collect())
        reader = stages.Reader(settings, llm.engine, known, context.run_id, log_progress(context, llm))

        def read(channel: Channel, days: list[date]) -> pl.DataFrame:
            mine = (stages.of_channel(frame, channel) for frame in (rows, texts, segments))
            made, summaries = reader.video_analyses(channel, *mine)
            return account.add(made, *summaries)

        found = per_channel(context, settings, t.VIDEO_ANALYSES, read)
        context.add_output_metadata({**account.metadata(llm.engine), **shown.analyses_metadata(found, rows)})
        return found

    @table_asset(t.STOCK_MENTIONS, channel_days, ins=listed)
    def stock_mentions(
        context: dg.AssetExecutionContext,
        video_analyses: pl.LazyFrame,
        transcripts: pl.LazyFrame,
        listed: pl.LazyFrame,
        symbols: pl.LazyFrame,
    ) -> pl.DataFrame:
        known = SymbolTable.of(symbols.collect())
        rules = VerifyRules.of(settings.videos)
        found = verify(video_analyses.collect(), transcripts.collect(), listed.collect(), known, rules)
        context.add_output_metadata(shown.mentions_metadata(found))
        return found

    @table_asset(t.PICK_OUTCOMES, channel_days, deps=[dg.AssetDep("daily_prices", partition_mapping=parts.SAME_DAY)])
    def pick_outcomes(
        context: dg.AssetExecutionContext,
        stock_mentions: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        video_source: dg.ResourceParam[Source],
    ) -> pl.DataFrame:
        found = stages.outcomes(settings, lake, stock_mentions.collect(), video_source.clock())
        context.add_output_metadata(shown.outcomes_metadata(found))
        return found

    return [video_analyses, stock_mentions, pick_outcomes]


def _day_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    days = parts.days_through_today(settings.videos_start_day)
    same_day = {name: dg.AssetDep(name, partition_mapping=parts.SAME_DAY) for name in ("stock_mentions", "videos")}

    @table_asset(t.DAILY_PRICES, days)
    def daily_prices(context: dg.AssetExecutionContext) -> pl.DataFrame:
        asked = parts.partitions_of(t.DAILY_PRICES, context.partition_keys).all_days()
        with user_errors():
            found = stages.price_rows(settings)
        context.add_output_metadata({shown.BAD_PRICES: md.markdown_table(found.bad.head(shown.TOP).to_dicts())})
        return prices_of(found.prices, asked)

    @table_asset(t.TICKER_CONSENSUS, days, deps=[same_day["stock_mentions"]])
    def ticker_consensus(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> pl.DataFrame:
        asked = parts.partitions_of(t.TICKER_CONSENSUS, context.partition_keys).all_days()
        found = stages.consensus(settings, lake, asked)
        context.add_output_metadata(shown.consensus_metadata(found, stages.minds_changed(lake, asked)))
        return found

    @table_asset(t.DAILY_DIGEST, days, deps=[same_day["videos"]])
    def daily_digest(
        context: dg.AssetExecutionContext, ticker_consensus: pl.LazyFrame, lake: dg.ResourceParam[Lake]
    ) -> pl.DataFrame:
        asked = parts.partitions_of(t.DAILY_DIGEST, context.partition_keys).all_days()
        found = stages.digests(settings, lake, asked, ticker_consensus.collect())
        context.add_output_metadata(shown.digest_metadata(found))
        return found

    return [daily_prices, ticker_consensus, daily_digest]

"""The assets of persona, from archive pages to the outbox.

Belongs here: which table is made from which, per which partition, and what its materialisation shows. Does not belong
here: any rule (`magpie/persona`).
"""

from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from assets import partitions as parts
from assets import persona_author_metadata as written
from assets import persona_metadata as shown
from assets.failures import user_errors
from assets.model_calls import Account, log_progress
from assets.table_asset import table_asset as any_table_asset
from assets.table_asset import tables_asset
from magpie.control import Control
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.api_calls import recent_calls
from magpie.persona.settings import Blog
from magpie.persona.stages import Reader
from magpie.persona.studio import Studio
from magpie.settings import Settings
from magpie.tables import Table
from resources.llm import Llm

GROUP = "persona"
table_asset = partial(any_table_asset, group=GROUP)
Made = Callable[[Blog, list[date]], pl.DataFrame]
# What each of the tables that the author makes in one go is made from.
AUTHORED_FROM = {
    "candidates": ("persona_inbox", "threads"),
    "candidate_scores": ("candidates", "persona_inbox"),
    "mood_inputs": ("candidate_scores", "persona_inbox"),
    "decisions": ("candidate_scores", "mood_inputs"),
    "retention_set": ("candidate_scores", "decisions"),
}


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the assets of persona under these settings."""
    blog_days = parts.blog_days_from(settings.persona_start_day)
    return [
        *_read_assets(settings, blog_days),
        *_model_assets(settings),
        *_written_assets(settings, blog_days),
        *_sent_assets(settings, blog_days),
    ]


def per_blog(context: dg.AssetExecutionContext, settings: Settings, table: Table, make: Made) -> pl.DataFrame:
    """One call of the rule for each blog of the run."""
    with user_errors():
        return parts.per_lead(table, context.partition_keys, lambda name, days: make(settings.blog(name), days))


def studio_of(context: dg.AssetExecutionContext, reader: Reader, llm: Llm) -> Studio:
    """Who asks models in this run."""
    return Studio(reader, llm.engine, context.run_id, log_progress(context, llm))


def blogs_of(context: dg.AssetExecutionContext, settings: Settings) -> list[Blog]:
    """The blogs of the run."""
    asked = parts.partitions_of(t.OUTBOX, context.partition_keys)
    return [settings.blog(str(name)) for name in sorted(asked.groups, key=str)]


def _of(frame: pl.DataFrame, blog: Blog) -> pl.DataFrame:
    return frame.filter(pl.col("blog") == blog.name)


def _read_assets(settings: Settings, blog_days: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.TUMBLR_FILES, None)
    def tumblr_files(context: dg.AssetExecutionContext, reader: dg.ResourceParam[Reader]) -> pl.DataFrame:
        with user_errors():
            found = reader.tumblr_files()
        md.show(context, shown.files_metadata(found))
        return found

    @table_asset(t.TUMBLR_POSTS, blog_days, deps=["tumblr_files"])
    def tumblr_posts(context: dg.AssetExecutionContext, reader: dg.ResourceParam[Reader]) -> pl.DataFrame:
        found = per_blog(context, settings, t.TUMBLR_POSTS, reader.tumblr_posts)
        now = reader.clock()
        md.show(context, shown.posts_metadata(found, recent_calls(reader.control, now), now))
        return found

    @table_asset(t.TUMBLR_REPLIES, blog_days, deps=["tumblr_files"])
    def tumblr_replies(context: dg.AssetExecutionContext, reader: dg.ResourceParam[Reader]) -> pl.DataFrame:
        found = per_blog(context, settings, t.TUMBLR_REPLIES, reader.tumblr_replies)
        md.show(context, shown.replies_metadata(found))
        return found

    @table_asset(t.IMAGE_TEXTS, blog_days)
    def image_texts(
        context: dg.AssetExecutionContext,
        tumblr_posts: pl.LazyFrame,
        reader: dg.ResourceParam[Reader],
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        posts, studio = tumblr_posts.collect(), studio_of(context, reader, llm)
        found = per_blog(
            context, settings, t.IMAGE_TEXTS, lambda blog, days: studio.image_texts(blog, _of(posts, blog))
        )
        account, nothing = Account(), pl.lit("", pl.String)
        read_by = found.select(pl.col("engine").alias("provider"), model="engine", prompt_version=nothing)
        account.add(read_by, *studio.summaries)
        md.show(context, shown.images_metadata(found, reader.lake, reader.blobs) | account.metadata(llm.engine))
        return found

    @table_asset(t.THREADS, blog_days, deps=["image_texts"])
    def threads(
        context: dg.AssetExecutionContext, tumblr_posts: pl.LazyFrame, reader: dg.ResourceParam[Reader]
    ) -> pl.DataFrame:
        posts = tumblr_posts.collect()
        found = per_blog(context, settings, t.THREADS, lambda blog, days: reader.threads(blog, _of(posts, blog)))
        md.show(context, shown.threads_metadata(found))
        return found

    return [tumblr_files, tumblr_posts, tumblr_replies, image_texts, threads]


def _model_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    def model_asset(table: Table) -> dg.AssetsDefinition:
        # Posts, threads and decisions of all days are read as of the training's time, so they are no dependencies.
        @table_asset(table, parts.BLOGS)
        def model(
            context: dg.AssetExecutionContext, reader: dg.ResourceParam[Reader], llm: dg.ResourceParam[Llm]
        ) -> pl.DataFrame:
            studio = studio_of(context, reader, llm)
            with user_errors():
                made = [studio.trained(table, settings.blog(name)) for name in context.partition_keys]
            found = pl.concat([table.empty(), *made])
            md.show(context, shown.models_metadata(found))
            return found

        return model

    return [model_asset(t.SELECTOR_MODEL), model_asset(t.AUTOREVIEW_MODEL)]


def _written_assets(settings: Settings, blog_days: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.PERSONA_INBOX, blog_days)
    def persona_inbox(
        context: dg.AssetExecutionContext,
        tumblr_posts: pl.LazyFrame,
        tumblr_replies: pl.LazyFrame,
        threads: pl.LazyFrame,
        reader: dg.ResourceParam[Reader],
    ) -> pl.DataFrame:
        posts, replies, read = (frame.collect() for frame in (tumblr_posts, tumblr_replies, threads))

        def make(blog: Blog, days: list[date]) -> pl.DataFrame:
            return reader.persona_inbox(blog, days, _of(posts, blog), _of(replies, blog), _of(read, blog))

        found = per_blog(context, settings, t.PERSONA_INBOX, make)
        md.show(context, shown.inbox_metadata(found, reader.clock()))
        return found

    @tables_asset(t.AUTHORED, blog_days, name="author", group=GROUP, made_from=AUTHORED_FROM)
    def author(
        context: dg.AssetExecutionContext,
        persona_inbox: pl.LazyFrame,
        threads: pl.LazyFrame,
        reader: dg.ResourceParam[Reader],
        llm: dg.ResourceParam[Llm],
    ) -> Iterator[dg.Output[pl.DataFrame]]:
        inbox, studio = persona_inbox.collect(), studio_of(context, reader, llm)
        made: list[dict[str, pl.DataFrame]] = []

        def make(blog: Blog, days: list[date]) -> pl.DataFrame:
            made.append(studio.authored(blog, days, _of(inbox, blog)))
            return made[-1][t.CANDIDATES.name]

        per_blog(context, settings, t.CANDIDATES, make)
        account = Account()
        whole = {table.name: pl.concat([table.empty(), *(one[table.name] for one in made)]) for table in t.AUTHORED}
        account.add(whole[t.CANDIDATES.name].with_columns(prompt_version=pl.lit("", pl.String)), *studio.summaries)
        told: dict[str, dict[str, Any]] = written.authored_metadata(whole, reader.lake)
        told[t.CANDIDATES.name] |= account.metadata(llm.engine)
        for table in t.AUTHORED:
            md.show(context, told[table.name], table.name)
            yield dg.Output(whole[table.name], output_name=table.name)

    @table_asset(t.MOOD, blog_days)
    def mood(
        context: dg.AssetExecutionContext, mood_inputs: pl.LazyFrame, reader: dg.ResourceParam[Reader]
    ) -> pl.DataFrame:
        kicks = mood_inputs.collect()
        found = per_blog(context, settings, t.MOOD, lambda blog, days: reader.mood(blog, days, _of(kicks, blog)))
        md.show(context, written.mood_metadata(found, kicks, blogs_of(context, settings), reader.lake))
        return found

    return [persona_inbox, author, mood]


def _sent_assets(settings: Settings, blog_days: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    @table_asset(t.OUTBOX, blog_days)
    def outbox(
        context: dg.AssetExecutionContext,
        decisions: pl.LazyFrame,
        persona_inbox: pl.LazyFrame,
        reader: dg.ResourceParam[Reader],
    ) -> pl.DataFrame:
        decided, inbox = decisions.collect(), persona_inbox.collect()
        found = per_blog(
            context,
            settings,
            t.OUTBOX,
            lambda blog, days: reader.outbox(blog, days, _of(decided, blog), _of(inbox, blog)),
        )
        md.show(context, shown.outbox_metadata(found, shown.paces(reader, blogs_of(context, settings))))
        return found

    def log_asset(table: Table) -> dg.AssetsDefinition:
        @table_asset(table, None)
        def copied(control: dg.ResourceParam[Control]) -> pl.DataFrame:
            return logs.BY_NAME[table.name].read(control)

        return copied

    return [
        outbox,
        *(log_asset(log.table) for log in logs.BY_NAME.values()),
    ]

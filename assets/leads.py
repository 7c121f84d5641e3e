"""The assets of leads, from archive files to leads and rejections.

Belongs here: which table is made from which, per which partition, and what its materialisation shows. Does not
belong here: any rule (`magpie/leads`).

A contiguous range of days is one run and one commit (`single_run`).
"""

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial

import dagster as dg
import polars as pl

from assets import leads_metadata as shown
from assets import metadata as md
from assets import partitions as parts
from assets.failures import user_errors
from assets.model_calls import Account, log_progress
from assets.table_asset import table_asset as any_table_asset
from magpie.control import Control
from magpie.engine import embedder_of
from magpie.lake import Lake
from magpie.leads import corpus, ranking, stages
from magpie.leads import tables as t
from magpie.leads.archives import reddit_archives as archives_table
from magpie.leads.extraction import leads as leads_of
from magpie.leads.posts import reddit_posts as posts_of
from magpie.leads.rejections import export_csv
from magpie.leads.rejections import rejections as rejections_of
from magpie.leads.stages import CampaignRules
from magpie.llm.purpose import Purpose
from magpie.settings import Settings
from magpie.sources.reddit_landing import Landing, Manifest
from magpie.tables import Table
from magpie.text.embedder import AnyEmbedder
from resources.llm import Llm

# A pass over a dump takes minutes; a line in the log this often shows that it moves.
PROGRESS_LINES = 500_000

table_asset = partial(any_table_asset, group="leads")


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the assets of leads under these settings."""
    return [*_reddit_assets(settings), *_corpus_assets(settings), *_campaign_assets(settings)]


def _land(context: dg.AssetExecutionContext, landing: Landing) -> Sequence[Manifest]:
    reported = 0

    def progress(source_file: str, lines: int, rows: int) -> None:
        nonlocal reported
        if lines // PROGRESS_LINES > reported:
            reported = lines // PROGRESS_LINES
            context.log.info(f"{source_file}: {lines:,} lines read, {rows:,} posts")

    with user_errors():
        return landing.ensure(progress)


def _days(context: dg.AssetExecutionContext, table: Table) -> list[date]:
    return parts.partitions_of(table, context.partition_keys).all_days()


def _reddit_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    days = parts.days_from(settings.start_day)

    @table_asset(t.REDDIT_ARCHIVES, None, pool="reddit_landing")
    def reddit_archives(context: dg.AssetExecutionContext, landing: dg.ResourceParam[Landing]) -> pl.DataFrame:
        found = archives_table(_land(context, landing))
        context.add_output_metadata({"files": md.markdown_table(shown.archive_rows(found))})
        return found

    @table_asset(t.BAD_LINES, None, deps=["reddit_archives"])
    def bad_lines(context: dg.AssetExecutionContext, landing: dg.ResourceParam[Landing]) -> pl.DataFrame:
        return landing.bad_lines()

    @table_asset(t.REDDIT_POSTS, days, deps=["reddit_archives"])
    def reddit_posts(
        context: dg.AssetExecutionContext, landing: dg.ResourceParam[Landing], control: dg.ResourceParam[Control]
    ) -> pl.DataFrame:
        _land(context, landing)
        posts = posts_of(landing.posts(_days(context, t.REDDIT_POSTS)), control.deleted())
        context.add_output_metadata(shown.posts_metadata(posts))
        return posts

    return [reddit_archives, bad_lines, reddit_posts]


def _corpus_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    days = parts.days_from(settings.start_day)
    window = settings.leads.bm25_corpus_days
    trailing = {"reddit_posts": dg.AssetIn(partition_mapping=parts.trailing_days(window))}

    @table_asset(t.CORPUS_TERMS, days)
    def corpus_terms(context: dg.AssetExecutionContext, reddit_posts: pl.LazyFrame) -> pl.DataFrame:
        return corpus.corpus_terms(reddit_posts, _days(context, t.CORPUS_TERMS))

    @table_asset(t.CORPUS_STATS, days, ins=trailing)
    def corpus_stats(context: dg.AssetExecutionContext, reddit_posts: pl.LazyFrame) -> pl.DataFrame:
        return corpus.corpus_stats(reddit_posts, _days(context, t.CORPUS_STATS), window)

    @table_asset(t.SUBREDDIT_STATS, days, ins=trailing)
    def subreddit_stats(context: dg.AssetExecutionContext, reddit_posts: pl.LazyFrame) -> pl.DataFrame:
        return corpus.subreddit_stats(reddit_posts, _days(context, t.SUBREDDIT_STATS), window)

    return [corpus_terms, corpus_stats, subreddit_stats]


def _campaign_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    campaign_days = parts.campaign_days_from(settings.start_day)
    same_day = dg.AssetIn(partition_mapping=parts.SAME_DAY)

    def per_campaign(
        context: dg.AssetExecutionContext,
        table: Table,
        make: Callable[[CampaignRules, list[date]], pl.DataFrame],
    ) -> pl.DataFrame:
        """One call of the rule for each campaign of the run."""
        return parts.per_lead(
            table, context.partition_keys, lambda campaign, days: make(CampaignRules.of(settings, campaign), days)
        )

    def embedder(context: dg.AssetExecutionContext, llm: Llm, rules: CampaignRules, table: Table) -> AnyEmbedder:
        scopes = (f"campaign:{rules.campaign.id}",)
        purpose = Purpose(stages.PRODUCT, "embed", table.name, run_id=context.run_id, scopes=scopes)
        return embedder_of(settings.leads.embed_model, lambda: llm.engine, purpose)

    @table_asset(t.CAMPAIGN_KEYWORDS, parts.CAMPAIGNS)
    def campaign_keywords(context: dg.AssetExecutionContext, llm: dg.ResourceParam[Llm]) -> pl.DataFrame:
        return per_campaign(
            context,
            t.CAMPAIGN_KEYWORDS,
            lambda rules, _: ranking.campaign_keywords(
                rules.campaign.id, rules.keywords, embedder(context, llm, rules, t.CAMPAIGN_KEYWORDS)
            ),
        )

    @table_asset(
        t.CAMPAIGN_POSTS,
        campaign_days,
        ins={"subreddit_stats": same_day},
        deps=[
            dg.AssetDep("reddit_posts", partition_mapping=parts.SAME_DAY),
            dg.AssetDep("campaign_keywords", partition_mapping=parts.SAME_CAMPAIGN),
        ],
    )
    def campaign_posts(
        context: dg.AssetExecutionContext,
        subreddit_stats: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
    ) -> pl.DataFrame:
        deleted = control.deleted()
        rows = per_campaign(
            context,
            t.CAMPAIGN_POSTS,
            lambda rules, days: stages.campaign_posts(lake, rules, days, subreddit_stats, deleted),
        )
        context.add_output_metadata({md.FUNNEL: shown.funnel(rows)})
        return rows

    @table_asset(t.POST_EMBEDDINGS, campaign_days, ins={"reddit_posts": same_day})
    def post_embeddings(
        context: dg.AssetExecutionContext,
        campaign_posts: pl.LazyFrame,
        reddit_posts: pl.LazyFrame,
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        matched = campaign_posts.collect()
        return per_campaign(
            context,
            t.POST_EMBEDDINGS,
            lambda rules, _: ranking.post_embeddings(
                matched.filter(pl.col("campaign_id") == rules.campaign.id),
                reddit_posts,
                embedder(context, llm, rules, t.POST_EMBEDDINGS),
            ),
        )

    @table_asset(
        t.RANKED_POSTS,
        campaign_days,
        ins={"campaign_keywords": dg.AssetIn(partition_mapping=parts.SAME_CAMPAIGN)},
        deps=[
            dg.AssetDep(name, partition_mapping=parts.SAME_DAY)
            for name in ("reddit_posts", "corpus_stats", "corpus_terms")
        ],
    )
    def ranked_posts(
        context: dg.AssetExecutionContext,
        campaign_posts: pl.LazyFrame,
        post_embeddings: pl.LazyFrame,
        campaign_keywords: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
    ) -> pl.DataFrame:
        matched, words = campaign_posts.collect(), campaign_keywords.collect()
        rows = per_campaign(
            context,
            t.RANKED_POSTS,
            lambda rules, days: stages.ranked_posts(lake, rules, days, matched, post_embeddings, words),
        )
        context.add_output_metadata(shown.ranked_metadata(rows))
        return rows

    @table_asset(
        t.LEAD_EXTRACTIONS,
        campaign_days,
        deps=[dg.AssetDep("reddit_posts", partition_mapping=parts.SAME_DAY)],
    )
    def lead_extractions(
        context: dg.AssetExecutionContext,
        campaign_posts: pl.LazyFrame,
        ranked_posts: pl.LazyFrame,
        lake: dg.ResourceParam[Lake],
        control: dg.ResourceParam[Control],
        llm: dg.ResourceParam[Llm],
    ) -> pl.DataFrame:
        matched, ranked, account = campaign_posts.collect(), ranked_posts.collect(), Account()
        told = log_progress(context, llm)
        reader = stages.Reader(lake, settings, llm.engine, control.deleted(), context.run_id, told)
        rows = per_campaign(
            context,
            t.LEAD_EXTRACTIONS,
            lambda rules, days: account.add(*reader.lead_extractions(rules, days, matched, ranked)),
        )
        context.add_output_metadata(account.metadata(llm.engine))
        return rows

    @table_asset(t.LEADS, campaign_days, ins={"reddit_posts": same_day})
    def leads(
        context: dg.AssetExecutionContext,
        lead_extractions: pl.LazyFrame,
        ranked_posts: pl.LazyFrame,
        campaign_posts: pl.LazyFrame,
        reddit_posts: pl.LazyFrame,
    ) -> pl.DataFrame:
        rows = leads_of(lead_extractions.collect(), ranked_posts.collect(), campaign_posts.collect(), reddit_posts)
        context.add_output_metadata(shown.leads_metadata(rows))
        return rows

    @table_asset(t.REJECTIONS, campaign_days)
    def rejections(
        context: dg.AssetExecutionContext,
        campaign_posts: pl.LazyFrame,
        ranked_posts: pl.LazyFrame,
        lead_extractions: pl.LazyFrame,
    ) -> pl.DataFrame:
        rows = rejections_of(campaign_posts, ranked_posts, lead_extractions)
        asked = parts.partitions_of(t.REJECTIONS, context.partition_keys)
        export_csv(rows, asked.values(), settings.exports / "rejections")
        return rows

    return [
        *(campaign_keywords, campaign_posts, post_embeddings, ranked_posts),
        *(lead_extractions, leads, rejections),
    ]

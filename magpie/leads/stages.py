"""The stages of leads as functions of the lake: what each reads, and the one rule it applies.

Belongs here: joining settings, lake and rules for a set of partitions, for the orchestrator, replay and tests alike.
Does not belong here: the rules themselves (their own modules), scheduling, writing.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from magpie.lake import Lake
from magpie.leads import campaign_posts as matching
from magpie.leads import extraction, ranking
from magpie.leads import tables as t
from magpie.leads.calibration import GateSettings
from magpie.leads.corpus import window_start
from magpie.leads.extract_lead import EXTRACT_LEAD
from magpie.leads.keywords import CompiledKeyword, compile_keyword
from magpie.leads.settings import Campaign
from magpie.llm.engine import Engine
from magpie.llm.progress import Report
from magpie.llm.task import Scope, Summary
from magpie.settings import Settings
from magpie.strict import DEFAULT_CHOICE
from magpie.tables import Partitions

# As scopes of the ledger and shares of quotas name it.
PRODUCT = "leads"


@dataclass(frozen=True)
class CampaignRules:
    """A campaign's settings, compiled.

    `overrides` are gate settings that win over those of the settings file (a replay's `--set`).
    """

    campaign: Campaign
    embed_model: str
    keywords: tuple[CompiledKeyword, ...]
    gates: GateSettings
    config_hash: str

    @classmethod
    def of(cls, settings: Settings, campaign_id: str, overrides: Mapping[str, Any] | None = None) -> "CampaignRules":
        campaign = settings.campaign(campaign_id)
        keywords = tuple(compile_keyword(k.keyword, k.kind, k.weight, k.active) for k in campaign.keywords)
        gates = settings.gates_of(campaign_id, overrides)
        decisive = {
            "keywords": [[k.norm, k.keyword, k.kind, k.weight, k.active] for k in keywords],
            "lists": [campaign.subreddits_allow, campaign.subreddits_deny, campaign.exclude_authors],
            "gates": gates.model_dump(mode="json"),
            "embed_model": settings.leads.embed_model,
            "bm25_corpus_days": settings.leads.bm25_corpus_days,
        }
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        return cls(campaign, settings.leads.embed_model, keywords, gates, digest)

    def match_rules(self) -> matching.MatchRules:
        return matching.MatchRules(
            self.campaign.id,
            self.keywords,
            self.campaign.subreddits_allow,
            self.campaign.subreddits_deny,
            self.campaign.exclude_authors,
            self.gates,
            self.config_hash,
        )


def campaign_posts(
    lake: Lake, rules: CampaignRules, days: Sequence[date], subreddits: pl.LazyFrame, deleted: pl.DataFrame
) -> pl.DataFrame:
    """Match and gate the posts of `days`; rows stored earlier of posts deleted since become tombstones."""
    posts = lake.read_days(t.REDDIT_POSTS, window_start(days, matching.LOOKBACK_DAYS), max(days))
    stored = lake.read(t.CAMPAIGN_POSTS, Partitions({rules.campaign.id: frozenset(days)}))
    gone = deleted.filter(pl.col("kind") == "post")["fullname"].to_list()
    kept = stored.filter(pl.col("fullname").is_in(gone)).collect() if gone else None
    return matching.campaign_posts(rules.match_rules(), days, posts, subreddits, kept, gone)


@dataclass(frozen=True)
class Reader:
    """Reads candidates with a model.

    Attributes:
        deleted: deletion events, as the control database has them.
        run_id: of the orchestrator, for the ledger.
        report: told how far it is.
    """

    lake: Lake
    settings: Settings
    engine: Engine
    deleted: pl.DataFrame
    run_id: str | None
    report: Report

    def lead_extractions(
        self, rules: CampaignRules, days: Sequence[date], matched: pl.DataFrame, ranked: pl.DataFrame
    ) -> tuple[pl.DataFrame, Summary]:
        """Read the candidates of `days`, the best first, and say what became of each.

        Args:
            matched: `campaign_posts` of at least these days; ranked: `ranked_posts`.
        """
        mine = (pl.col("campaign_id") == rules.campaign.id) & pl.col("day").is_in(list(days))
        posts = self.lake.read_days(t.REDDIT_POSTS, window_start(days, matching.LOOKBACK_DAYS), max(days))
        candidates = ranked.filter(mine)
        inputs = extraction.extraction_inputs(candidates, posts, matched.filter(mine), rules.campaign)
        answered = self.engine.run(EXTRACT_LEAD.name, inputs, self.scope(rules.campaign), self.report)
        stored = self.lake.read(t.LEAD_EXTRACTIONS, Partitions({rules.campaign.id: frozenset(days)})).collect()
        least = self.settings.leads.min_intent_score
        rows = extraction.lead_extractions(candidates, inputs, answered.rows, least, self.deleted, stored)
        return rows, answered.summary

    def scope(self, campaign: Campaign) -> Scope:
        """For whom the ledger books it, and how campaign and settings want it asked."""
        name = EXTRACT_LEAD.name
        return Scope(
            PRODUCT,
            t.LEAD_EXTRACTIONS.name,
            (f"campaign:{campaign.id}",),
            "campaign",
            self.run_id,
            campaign.functions.get(name, DEFAULT_CHOICE).choice(),
            function_choice=self.settings.llm.functions.get(name, DEFAULT_CHOICE).choice(),
        )


def ranked_posts(
    lake: Lake,
    rules: CampaignRules,
    days: Sequence[date],
    matched: pl.DataFrame,
    embeddings: pl.LazyFrame,
    keywords: pl.DataFrame,
) -> pl.DataFrame:
    """Score, gate and rank the posts of `days` that passed gates 0-7; rows of other campaigns are left aside."""
    mine = pl.col("campaign_id") == rules.campaign.id
    corpus = lake.read(t.CORPUS_STATS, Partitions.days(days)).collect()
    window = int(corpus["window_days"].max() or 1)  # type: ignore[arg-type]
    return ranking.ranked_posts(
        matched.filter(mine & pl.col("day").is_in(list(days))),
        embeddings.filter(mine & pl.col("day").is_in(list(days))),
        lake.read(t.REDDIT_POSTS, Partitions.days(days)),
        corpus,
        lake.read_days(t.CORPUS_TERMS, window_start(days, window), max(days)),
        rules.keywords,
        ranking.direction(keywords.filter(mine)),
        rules.gates,
        rules.config_hash,
    )

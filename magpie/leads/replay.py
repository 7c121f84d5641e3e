"""Threshold replay: how many posts each gate would keep under other settings, from stored rows.

Belongs here: deciding anew on logged facts. Does not belong here: the gates (`gates.py`) and scoring (`ranking.py`),
which are the very functions a fresh run uses.

A looser gate 0-7 lets in rows that were never scored. With an embedder that costs nothing they are scored now and
not written; with a paid one they are counted as `not_scored`, and the answer holds for the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import ranking, stages
from magpie.leads import tables as t
from magpie.leads.gates import METADATA_GATES, SCORE_GATES, decide, logged_facts, score_facts
from magpie.settings import Settings
from magpie.tables import Partitions
from magpie.text.embedders import free_embedder

# These change BM25, which is stored as one number; a post is scored again on its stored vector.
SCORING_SETTINGS = ("k1", "b", "bm25_idf_floor")
DECISION = ("status", "reason", "gate", "observed", "threshold", "gate_log")


@dataclass(frozen=True)
class Replay:
    """What the settings would do.

    Attributes:
        gates: one row per gate: gate, reason, threshold_before, threshold_after, rejected_before, rejected_after,
            kept_before, kept_after.
        rows: one row per matched post: campaign_id, day, fullname, status, reason, gate, rank.
        candidates_before, candidates_after: posts that pass every gate.
        not_scored: posts that would pass gates 0-7 but have no score, and cost money to score.
    """

    gates: pl.DataFrame
    rows: pl.DataFrame
    candidates_before: int
    candidates_after: int
    not_scored: int


def replay(
    lake: Lake,
    settings: Settings,
    campaign_id: str,
    overrides: Mapping[str, Any],
    first: date | None = None,
    last: date | None = None,
) -> Replay:
    """Decide on the stored rows of a campaign as a run with `overrides` would.

    Raises:
        UserError: nothing is stored, or it was made under other settings than magpie.yaml holds now.
    """
    before = stages.CampaignRules.of(settings, campaign_id)
    after = stages.CampaignRules.of(settings, campaign_id, overrides)
    wanted = (pl.col("campaign_id") == campaign_id) & (pl.col("reason").is_null() | (pl.col("reason") != "deleted"))
    if first is not None:
        wanted = wanted & (pl.col("day") >= first)
    if last is not None:
        wanted = wanted & (pl.col("day") <= last)
    matched = lake.read(t.CAMPAIGN_POSTS).filter(wanted).collect()
    stored = lake.read(t.RANKED_POSTS).filter(wanted).collect()
    _refuse_stale(matched, stored, before)
    judged = _redecide(logged_facts(matched, METADATA_GATES), METADATA_GATES, after)
    passed = judged.filter(pl.col("status") == "ok")
    on = ["day", "fullname"]
    known, unknown = passed.join(stored, on=on, how="semi"), passed.join(stored, on=on, how="anti")
    embedder = free_embedder(settings.leads.embed_model)
    if known.height and any(name in overrides for name in SCORING_SETTINGS):
        scores = [_score_now(lake, after, known, lake.read(t.POST_EMBEDDINGS).filter(wanted))]
    else:
        scores = [_rescored(known, stored, after)]
    if unknown.height and embedder:
        posts = lake.read(t.REDDIT_POSTS, Partitions.days(unknown["day"].unique()))
        scores.append(_score_now(lake, after, unknown, ranking.post_embeddings(unknown, posts, embedder).lazy()))
    ranked = ranking.with_rank(pl.concat(scores))
    rows = _fates(judged, ranked, unknown if not embedder else unknown.clear())
    original = _fates(matched, stored, matched.clear())
    return Replay(
        _by_gate(original, rows, before, after),
        rows,
        original.filter(pl.col("status") == "ok").height,
        rows.filter(pl.col("status") == "ok").height,
        0 if embedder else unknown.height,
    )


def _refuse_stale(matched: pl.DataFrame, stored: pl.DataFrame, rules: stages.CampaignRules) -> None:
    name = rules.campaign.id
    if matched.is_empty():
        raise UserError(f"campaign {name} has no stored posts in this range; run `magpie run leads --campaign {name}`")
    if any((rows["config_hash"] != rules.config_hash).any() for rows in (matched, stored)):
        raise UserError(
            f"stored posts of campaign {name} were made under other settings than magpie.yaml holds now; "
            f"run `magpie run leads --campaign {name}` first"
        )


def _redecide(facts: pl.DataFrame, gates: Any, rules: stages.CampaignRules) -> pl.DataFrame:
    """Replace the decision columns by those under the rules' thresholds."""
    return facts.drop(*DECISION).hstack(decide(facts, gates, rules.gates))


def _rescored(known: pl.DataFrame, stored: pl.DataFrame, rules: stages.CampaignRules) -> pl.DataFrame:
    """Fuse stored scores under the rules' weights and decide gates 8-11."""
    rows = stored.join(known, on=["day", "fullname"], how="semi", maintain_order="left")
    fused = rows.with_columns(ranking.fused_columns(ranking.counted_cosine(rules.gates), rules.gates)).with_columns(
        score_facts()
    )
    return t.RANKED_POSTS.shaped(_redecide(fused, SCORE_GATES, rules))


def _score_now(lake: Lake, rules: stages.CampaignRules, passed: pl.DataFrame, vectors: pl.LazyFrame) -> pl.DataFrame:
    """Score posts as a run would, from `vectors` (columns of post_embeddings), writing nothing."""
    days = sorted(passed["day"].unique())
    words = lake.read(t.CAMPAIGN_KEYWORDS, Partitions.leading([rules.campaign.id])).collect()
    return stages.ranked_posts(lake, rules, days, passed, vectors, words)


def _fates(matched: pl.DataFrame, ranked: pl.DataFrame, unscored: pl.DataFrame) -> pl.DataFrame:
    """One row per matched post with the fate of its last stage."""
    key = ["campaign_id", "day", "fullname"]
    columns = [*key, "status", "reason", "gate"]
    early = matched.filter(pl.col("status") != "ok").select(*columns, pl.lit(None, pl.Int64).alias("rank"))
    late = ranked.select(*columns, "rank")
    waiting = unscored.select(
        *key,
        pl.lit("pending").alias("status"),
        pl.lit("not_scored").alias("reason"),
        pl.lit(None, pl.String).alias("gate"),
        pl.lit(None, pl.Int64).alias("rank"),
    )
    return pl.concat([early, late, waiting]).sort(key)


def _by_gate(
    before: pl.DataFrame, after: pl.DataFrame, old: stages.CampaignRules, new: stages.CampaignRules
) -> pl.DataFrame:
    counts = [dict(rows.group_by("gate").len().iter_rows()) for rows in (before, after)]
    lines, kept = [], [before.height, after.height]
    for gate in (*METADATA_GATES, *SCORE_GATES):
        rejected = [count.get(gate.number, 0) for count in counts]
        kept = [left - lost for left, lost in zip(kept, rejected, strict=True)]
        lines.append(
            {
                "gate": gate.number,
                "reason": gate.reason,
                "threshold_before": gate.threshold(old.gates),
                "threshold_after": gate.threshold(new.gates),
                "rejected_before": rejected[0],
                "rejected_after": rejected[1],
                "kept_before": kept[0],
                "kept_after": kept[1],
            }
        )
    return pl.DataFrame(lines)

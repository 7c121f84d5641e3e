"""What may be wrong with the tables of leads although every row is well formed.

Belongs here: one function per finding, over the partitions just made. Does not belong here: rules that refuse rows
(the schemas in `tables.py`), and who is told (asset checks).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.leads.gates import METADATA_GATES, SCORE_GATES
from magpie.quality import SHOWN, Finding
from magpie.settings import Settings
from magpie.tables import Partitions, Table

# More bad lines than this point to a broken download rather than to the odd broken line.
BAD_LINES_SHARE = 0.01
# A gate that cannot judge four of five rows is on in name only.
NOT_APPLICABLE_SHARE = 0.80
# A kill rate this many median absolute deviations off the week before is worth a look.
KILL_RATE_MADS = 3.0
KILL_RATE_DAYS = 7
# After a week without any rejection the spread is zero, and a single one would be a finding.
KILL_RATE_LEAST = 0.02
# Rates of fewer rows jump about by themselves.
KILL_RATE_MIN_ROWS = 30
# More quotes than this outside their posts, or answers that do not validate, speak against the model or the prompt.
UNGROUNDED_SHARE = 0.05
INVALID_SHARE = 0.05
INVALID_OUTPUT = ("invalid_output", "llm_error:invalid_output")
# More waiting than read means that the cap is too low for the campaign; longer than three days, that nobody looks.
PENDING_SHARE = 0.50
PENDING_FOR = timedelta(hours=72)

DESCRIPTIONS = {
    "bad_lines_share": "At most 1 % of an archive's lines are bad.",
    "dead_gates": "Every gate can reject under the thresholds of each campaign.",
    "one_embed_model": "A partition is scored by one embedding model.",
    "every_survivor_is_ranked": "Every post that passed gates 0-7 has a row in ranked_posts.",
    "gates_apply": "No gate that is on is without a value for more than 80 % of the rows.",
    "kill_rates": "No gate's share of rejections strays from the median of the last seven days.",
    "row_conservation": "Every matched post is either in rejections or goes on.",
    "unique_across_days": "A post has one partition per campaign.",
    "every_candidate_is_read": "Every candidate has a row in lead_extractions, and every row there is of a candidate.",
    "every_lead_is_there": "Every ok row of lead_extractions has a lead, and every lead such a row.",
    "evidence_grounded": "The quotes of at least 95 % of the leads stand in their posts.",
    "invalid_output": "At most 5 % of the rows that were read end without a valid answer.",
    "costs_are_booked": "What the rows say they cost is what the ledger booked for them.",
    "pending_extractions": "At most half of the candidates wait, and none for 72 hours beyond its time.",
}


def bad_lines_share(lake: Lake, _: Partitions) -> Finding:
    """Files with more than 1 % bad lines."""
    files = lake.read(t.REDDIT_ARCHIVES).filter(pl.col("lines") > 0).collect()
    bad = files.with_columns((pl.col("bad_lines") / pl.col("lines")).alias("share")).filter(
        pl.col("share") > BAD_LINES_SHARE
    )
    return Finding.of(
        bad.select("source_file", "lines", "bad_lines", pl.col("share").round(4)),
        "at most 1 % of the lines of every file are bad",
        "{n} files have more than 1 % bad lines; `magpie sql 'FROM bad_lines'` tells which and why",
    )


def dead_gates(settings: Settings) -> Finding:
    """Gates that can never reject."""
    rows = [
        {"campaign": campaign.id, "gate": line}
        for campaign in settings.campaigns
        for line in settings.gates_of(campaign.id).dead_gates()
    ]
    return Finding(rows, f"{len(rows)} gates can never reject" if rows else "every gate can reject")


def one_embed_model(lake: Lake, partitions: Partitions) -> Finding:
    """Partitions scored by several models."""
    models = (
        lake.read(t.RANKED_POSTS, partitions)
        .group_by("campaign_id", "day")
        .agg(pl.col("embed_model").n_unique().alias("models"))
        .filter(pl.col("models") > 1)
        .sort("campaign_id", "day")
        .collect()
    )
    return Finding.of(models, "one model per partition", "{n} partitions mix embedding models")


def survivors_ranked(lake: Lake, partitions: Partitions) -> Finding:
    """Partitions in which a post passed gates 0-7 and was not scored."""
    passed = lake.read(t.CAMPAIGN_POSTS, partitions).filter(pl.col("status") == "ok")
    ranked = lake.read(t.RANKED_POSTS, partitions)
    lost = (
        passed.join(ranked, on=["campaign_id", "fullname"], how="anti")
        .group_by("campaign_id", "day")
        .agg(pl.len().alias("unscored"))
        .sort("campaign_id", "day")
        .collect()
    )
    return Finding.of(lost, "every survivor is scored", "{n} partitions hold posts without a score")


def row_conservation(lake: Lake, partitions: Partitions) -> Finding:
    """Partitions in which matched != rejected + going on."""
    matched = lake.read(t.CAMPAIGN_POSTS, partitions).select("campaign_id", "day", "fullname")
    rejected = lake.read(t.REJECTIONS, partitions).select("campaign_id", "day", "fullname")
    read = lake.read(t.LEAD_EXTRACTIONS, partitions).filter(pl.col("status") == "rejected")
    going_on = (
        lake.read(t.RANKED_POSTS, partitions)
        .filter(pl.col("status") != "rejected")
        .select("campaign_id", "day", "fullname")
        .join(read, on=["campaign_id", "day", "fullname"], how="anti")
    )
    accounted = pl.concat([rejected, going_on])
    wrong = _unequal((matched, "matched"), (accounted, "accounted"), (accounted.unique(), "distinct"))
    return Finding.of(wrong, "every match is rejected or goes on", "{n} partitions lost or doubled rows")


def candidates_read(lake: Lake, partitions: Partitions) -> Finding:
    """Partitions in which candidates and rows of lead_extractions are not the same posts; tombstones count nowhere."""
    key = ("campaign_id", "day", "fullname")
    ranked = lake.read(t.RANKED_POSTS, partitions).filter(pl.col("status").is_in(["ok", "pending"])).select(key)
    rows = lake.read(t.LEAD_EXTRACTIONS, partitions).filter(pl.col("reason").fill_null("") != "deleted").select(key)
    both = rows.join(ranked, on=key, how="semi")
    wrong = _unequal((ranked, "candidates"), (rows, "extractions"), (both, "in_both"))
    return Finding.of(wrong, "every candidate is accounted for", "{n} partitions lost or doubled candidates")


def leads_complete(lake: Lake, partitions: Partitions) -> Finding:
    """Partitions in which leads and ok rows of lead_extractions are not the same posts."""
    key = ("campaign_id", "day", "fullname")
    read = lake.read(t.LEAD_EXTRACTIONS, partitions).filter(pl.col("status") == "ok").select(key)
    found = lake.read(t.LEADS, partitions).select(key)
    both = found.join(read, on=key, how="semi")
    wrong = _unequal((read, "extracted"), (found, "leads"), (both, "in_both"))
    return Finding.of(wrong, "every lead has its extraction", "{n} partitions lost or doubled leads")


def evidence_grounded(lake: Lake, partitions: Partitions) -> Finding:
    """Campaigns with more than 5 % of the leads whose quote is not in the post."""
    shares = (
        lake.read(t.LEAD_EXTRACTIONS, partitions)
        .filter("is_lead")
        .group_by("campaign_id", "provider", "model")
        .agg(pl.len().alias("leads"), (~pl.col("evidence_grounded")).mean().alias("ungrounded"))
        .filter(pl.col("ungrounded") > UNGROUNDED_SHARE)
        .sort("campaign_id", "provider", "model")
        .collect()
    )
    return Finding.of(
        shares.with_columns(pl.col("ungrounded").round(3)),
        "the quotes of the leads stand in their posts",
        "in {n} cases more than 5 % of the quotes are not in their posts; such leads are not shown",
    )


def invalid_output(lake: Lake, partitions: Partitions) -> Finding:
    """Campaigns with more than 5 % of the answers not valid after all re-asks; what waits otherwise does not count."""
    invalid = pl.col("reason").is_in(INVALID_OUTPUT).fill_null(False)
    read = pl.col("is_lead").is_not_null() | invalid
    shares = (
        lake.read(t.LEAD_EXTRACTIONS, partitions)
        .filter(read)
        .group_by("campaign_id", "provider", "model")
        .agg(pl.len().alias("read"), invalid.mean().alias("invalid"))
        .filter(pl.col("invalid") > INVALID_SHARE)
        .sort("campaign_id", "provider", "model")
        .collect()
    )
    return Finding.of(
        shares.with_columns(pl.col("invalid").round(3)),
        "the answers are valid",
        "in {n} cases more than 5 % of the answers were not valid; try another model or shorten the campaign's prompt",
    )


def pending_extractions(now: Callable[[], datetime]) -> Callable[[Lake, Partitions], Finding]:
    """Campaigns of which more than half waits, or something could have been tried again 72 hours ago.

    Tables hold no time of a run, so how long a row has waited is counted from its `not_before`.
    """

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        waiting = pl.col("status") == "pending"
        overdue = (waiting & (pl.col("not_before") < now() - PENDING_FOR)).fill_null(False)
        shares = (
            lake.read(t.LEAD_EXTRACTIONS, partitions)
            .group_by("campaign_id")
            .agg(
                pl.len().alias("rows"),
                waiting.mean().alias("pending"),
                overdue.sum().alias("overdue"),
                pl.col("reason").filter(waiting).mode().sort().first().alias("mostly"),
            )
            .filter((pl.col("pending") > PENDING_SHARE) | (pl.col("overdue") > 0))
            .sort("campaign_id")
            .collect()
        )
        return Finding.of(
            shares.with_columns(pl.col("pending").round(3)),
            "candidates are read in time",
            "candidates of {n} campaigns wait: more than half of them, or beyond 72 hours",
        )

    return judge


def _unequal(*sides: tuple[pl.LazyFrame, str]) -> pl.DataFrame:
    """Count the rows of each side per partition; return the partitions in which they are not all equal."""
    counts = [side.group_by("campaign_id", "day").agg(pl.len().alias(name)) for side, name in sides]
    joined = counts[0]
    for side in counts[1:]:
        joined = joined.join(side, on=["campaign_id", "day"], how="full", coalesce=True)
    first, *others = (pl.col(name).fill_null(0) for _, name in sides)
    unequal = pl.any_horizontal(first != other for other in others)
    filled = joined.with_columns(pl.col(name).fill_null(0) for _, name in sides)
    return filled.filter(unequal).sort("campaign_id", "day").collect()


def unique_across_days(lake: Lake, partitions: Partitions) -> Finding:
    """Posts of these campaigns that stand in more than one day."""
    rows = lake.read(t.CAMPAIGN_POSTS).filter(pl.col("campaign_id").is_in(partitions.leads()))
    twice = (
        rows.group_by("campaign_id", "fullname")
        .agg(pl.col("day").n_unique().alias("days"))
        .filter(pl.col("days") > 1)
        .sort("campaign_id", "fullname")
        .collect()
    )
    return Finding.of(twice, "one day per post", "{n} posts stand in more than one day")


def gates_apply(table: Table) -> Callable[[Lake, Partitions], Finding]:
    """Gates that are on and were not applicable to most rows."""
    off = pl.any_horizontal(
        (pl.col("gate") == gate.number) & (pl.col("threshold") == gate.off_at)
        for gate in (*METADATA_GATES, *SCORE_GATES)
        if gate.off_at is not None
    )

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        mute = (
            _log(lake.read(table, partitions))
            .filter(~off)
            .group_by("campaign_id", "gate", "reason")
            .agg(pl.len().alias("rows"), (pl.col("outcome") == "not_applicable").mean().alias("not_applicable"))
            .filter(pl.col("not_applicable") > NOT_APPLICABLE_SHARE)
            .sort("campaign_id", "gate")
            .collect()
        )
        return Finding.of(
            mute.with_columns(pl.col("not_applicable").round(3)),
            "every gate has values to judge by",
            "{n} gates lack a value for more than 80 % of the rows (archives carry no karma and no hot posts)",
        )

    return judge


def kill_rates(table: Table) -> Callable[[Lake, Partitions], Finding]:
    """Gates whose share of rejections on a day is far from the days before."""

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        days = partitions.all_days()
        if not days:
            return Finding([], "no partition to judge")
        first = min(days) - timedelta(days=KILL_RATE_DAYS)
        rows = lake.read(table).filter(
            pl.col("campaign_id").is_in(partitions.leads()) & pl.col("day").is_between(first, max(days))
        )
        daily = (
            _log(rows)
            .group_by("campaign_id", "gate", "reason", "day")
            .agg(pl.len().alias("rows"), (pl.col("outcome") == "reject").mean().alias("rate"))
            .collect()
        )
        strays = [_stray(row, daily) for row in daily.filter(pl.col("day").is_in(days)).iter_rows(named=True)]
        found = sorted((row for row in strays if row), key=lambda row: (row["campaign_id"], row["day"], row["gate"]))
        summary = f"{len(found)} kill rates stray from the week before" if found else "kill rates are as usual"
        return Finding(found[:SHOWN], summary)

    return judge


def _stray(row: dict[str, Any], daily: pl.DataFrame) -> dict[str, Any] | None:
    week = daily.filter(
        (pl.col("campaign_id") == row["campaign_id"])
        & (pl.col("gate") == row["gate"])
        & (pl.col("day") < row["day"])
        & (pl.col("day") >= row["day"] - timedelta(days=KILL_RATE_DAYS))
    )["rate"]
    if row["rows"] < KILL_RATE_MIN_ROWS or week.len() < KILL_RATE_DAYS:
        return None
    median = float(week.median() or 0.0)  # type: ignore[arg-type]
    spread = float((week - median).abs().median() or 0.0)  # type: ignore[arg-type]
    if abs(row["rate"] - median) <= max(KILL_RATE_MADS * spread, KILL_RATE_LEAST):
        return None
    return {**row, "day": str(row["day"]), "rate": round(row["rate"], 4), "median": round(median, 4)}


def _log(rows: pl.LazyFrame) -> pl.LazyFrame:
    entries = rows.select("campaign_id", "day", "gate_log").explode("gate_log")
    return entries.filter(pl.col("gate_log").is_not_null()).unnest("gate_log")

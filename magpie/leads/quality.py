"""What may be wrong with the tables of leads although every row is well formed.

Belongs here: one function per finding, over the partitions just made. Does not belong here: rules that refuse rows
(the schemas in `tables.py`), and who is told (asset checks).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.leads.gates import METADATA_GATES, SCORE_GATES
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
# Findings are read by people; the rest is counted.
SHOWN = 20

DESCRIPTIONS = {
    "bad_lines_share": "At most 1 % of an archive's lines are bad.",
    "dead_gates": "Every gate can reject under the thresholds of each campaign.",
    "one_embed_model": "A partition is scored by one embedding model.",
    "every_survivor_is_ranked": "Every post that passed gates 0-7 has a row in ranked_posts.",
    "gates_apply": "No gate that is on is without a value for more than 80 % of the rows.",
    "kill_rates": "No gate's share of rejections strays from the median of the last seven days.",
    "row_conservation": "Every matched post is either in rejections or goes on.",
    "unique_across_days": "A post has one partition per campaign.",
}


@dataclass(frozen=True)
class Finding:
    """What a check found: nothing (`rows` empty) or rows that name partition and values, and one line about them."""

    rows: list[dict[str, Any]]
    summary: str

    @classmethod
    def of(cls, frame: pl.DataFrame, none: str, some: str) -> "Finding":
        text = [column for column, dtype in frame.schema.items() if dtype == pl.Date]
        shown = frame.head(SHOWN).with_columns(pl.col(text).cast(pl.String)) if text else frame.head(SHOWN)
        return cls(shown.to_dicts(), some.format(n=frame.height) if frame.height else none)


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
    going_on = (
        lake.read(t.RANKED_POSTS, partitions)
        .filter(pl.col("status") != "rejected")
        .select("campaign_id", "day", "fullname")
    )
    accounted = pl.concat([rejected, going_on])
    sides = [(matched, "matched"), (accounted, "accounted"), (accounted.unique(), "distinct")]
    counts = [side.group_by("campaign_id", "day").agg(pl.len().alias(name)) for side, name in sides]
    joined = counts[0]
    for side in counts[1:]:
        joined = joined.join(side, on=["campaign_id", "day"], how="full", coalesce=True)
    wrong = (
        joined.with_columns(pl.col("matched", "accounted", "distinct").fill_null(0))
        .filter((pl.col("matched") != pl.col("accounted")) | (pl.col("accounted") != pl.col("distinct")))
        .sort("campaign_id", "day")
        .collect()
    )
    return Finding.of(wrong, "every match is rejected or goes on", "{n} partitions lost or doubled rows")


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

"""Asset checks of leads: none blocks, each names the partitions it speaks of.

Belongs here: wiring of `magpie/leads/quality.py` to assets. Does not belong here: what a finding is. Keys and
schemas are not checked here: the lake refuses rows that break them before the commit.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from assets import metadata as md
from assets.partitions import campaign_days_from, partitions_of
from magpie.control import Control
from magpie.lake import Lake
from magpie.leads import quality
from magpie.leads import tables as t
from magpie.leads.costs import costs_are_booked
from magpie.llm.store import Store
from magpie.settings import Settings
from magpie.tables import Partitions, Table


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Return the checks of leads under these settings."""
    return [
        _check(t.BAD_LINES, "bad_lines_share", dg.AssetCheckSeverity.WARN, quality.bad_lines_share),
        _check(
            t.RANKED_POSTS,
            "dead_gates",
            dg.AssetCheckSeverity.WARN,
            lambda lake, partitions: quality.dead_gates(settings),
        ),
        _check(t.RANKED_POSTS, "one_embed_model", dg.AssetCheckSeverity.ERROR, quality.one_embed_model),
        _check(t.RANKED_POSTS, "every_survivor_is_ranked", dg.AssetCheckSeverity.ERROR, quality.survivors_ranked),
        _check(t.RANKED_POSTS, "gates_apply", dg.AssetCheckSeverity.WARN, quality.gates_apply(t.RANKED_POSTS)),
        _check(t.CAMPAIGN_POSTS, "gates_apply", dg.AssetCheckSeverity.WARN, quality.gates_apply(t.CAMPAIGN_POSTS)),
        _check(t.CAMPAIGN_POSTS, "kill_rates", dg.AssetCheckSeverity.WARN, quality.kill_rates(t.CAMPAIGN_POSTS)),
        _check(t.RANKED_POSTS, "kill_rates", dg.AssetCheckSeverity.WARN, quality.kill_rates(t.RANKED_POSTS)),
        _check(t.REJECTIONS, "row_conservation", dg.AssetCheckSeverity.ERROR, quality.row_conservation),
        _check(t.CAMPAIGN_POSTS, "unique_across_days", dg.AssetCheckSeverity.ERROR, quality.unique_across_days),
        *_extraction_checks(settings),
    ]


def _extraction_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    read, error, warn = t.LEAD_EXTRACTIONS, dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    return [
        _check(read, "every_candidate_is_read", error, quality.candidates_read),
        _check(read, "costs_are_booked", error, partial(_booked, settings)),
        _check(read, "invalid_output", warn, quality.invalid_output),
        _check(read, "pending_extractions", warn, quality.pending_extractions(lambda: datetime.now(UTC))),
        _check(t.LEADS, "every_lead_is_there", error, quality.leads_complete),
        _check(t.LEADS, "evidence_grounded", warn, quality.evidence_grounded),
    ]


def _booked(settings: Settings, lake: Lake, partitions: Partitions) -> quality.Finding:
    store = Store(Control(settings.control_database))
    try:
        return costs_are_booked(lake, partitions, store)
    finally:
        store.close()


def _check(
    table: Table,
    name: str,
    severity: dg.AssetCheckSeverity,
    judge: Callable[[Lake, Partitions], quality.Finding],
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=table.name, name=name, description=quality.DESCRIPTIONS[name], blocking=False)
    def check(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
    ) -> dg.AssetCheckResult:
        return md.check_result(judge(lake, _asked(context, table, settings)), severity)

    return check


def _asked(context: dg.AssetCheckExecutionContext, table: Table, settings: Settings) -> Partitions:
    """The partitions of the run; all there are where a person asks for the check alone, which names none."""
    if not table.dimensions:
        return Partitions.whole()
    if context.has_partition_key or context.has_partition_key_range:
        return partitions_of(table, context.partition_keys)
    every = campaign_days_from(settings.start_day)
    return partitions_of(table, every.get_partition_keys(dynamic_partitions_store=context.instance))

"""Asset checks of leads: none blocks, each names the partitions it speaks of.

Belongs here: which finding is a check of which table, and how severe. Does not belong here: what a finding is
(`magpie/leads/quality.py`) and how a check is wired (`table_check.py`).
"""

import dagster as dg

from assets.partitions import campaign_days_from
from assets.table_check import Facts, Judge, of_tables, table_check
from magpie.leads import quality
from magpie.leads import tables as t
from magpie.leads.costs import costs_are_booked
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Table
from magpie.utc import utc_now

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Return the checks of leads under these settings."""
    days = campaign_days_from(settings.start_day)
    return [
        table_check(table, name, quality.DESCRIPTIONS[name], severity, judge, days if table.dimensions else None)
        for table, name, severity, judge in (*_matching(), *_reading())
    ]


Check = tuple[Table, str, dg.AssetCheckSeverity, Judge]


def _matching() -> list[Check]:
    return [
        (t.BAD_LINES, "bad_lines_share", WARN, of_tables(quality.bad_lines_share)),
        (t.RANKED_POSTS, "dead_gates", WARN, lambda facts: quality.dead_gates(facts.settings)),
        (t.RANKED_POSTS, "one_embed_model", ERROR, of_tables(quality.one_embed_model)),
        (t.RANKED_POSTS, "every_survivor_is_ranked", ERROR, of_tables(quality.survivors_ranked)),
        (t.RANKED_POSTS, "gates_apply", WARN, of_tables(quality.gates_apply(t.RANKED_POSTS))),
        (t.CAMPAIGN_POSTS, "gates_apply", WARN, of_tables(quality.gates_apply(t.CAMPAIGN_POSTS))),
        (t.CAMPAIGN_POSTS, "kill_rates", WARN, of_tables(quality.kill_rates(t.CAMPAIGN_POSTS))),
        (t.RANKED_POSTS, "kill_rates", WARN, of_tables(quality.kill_rates(t.RANKED_POSTS))),
        (t.REJECTIONS, "row_conservation", ERROR, of_tables(quality.row_conservation)),
        (t.CAMPAIGN_POSTS, "unique_across_days", ERROR, of_tables(quality.unique_across_days)),
    ]


def _reading() -> list[Check]:
    read = t.LEAD_EXTRACTIONS
    return [
        (read, "every_candidate_is_read", ERROR, of_tables(quality.candidates_read)),
        (read, "costs_are_booked", ERROR, _booked),
        (read, "invalid_output", WARN, of_tables(quality.invalid_output)),
        (read, "pending_extractions", WARN, of_tables(quality.pending_extractions(utc_now))),
        (t.LEADS, "every_lead_is_there", ERROR, of_tables(quality.leads_complete)),
        (t.LEADS, "evidence_grounded", WARN, of_tables(quality.evidence_grounded)),
    ]


def _booked(facts: Facts) -> Finding:
    return costs_are_booked(facts.lake, facts.partitions, facts.store)

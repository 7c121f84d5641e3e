"""The assets of spending: the ledger, the task log and the caps by day, and what people said of leads.

Belongs here: which table is made from what, and what its materialisation shows. Does not belong here: copying and
summing up (`magpie/llm`), what an asset that calls a model shows (`model_calls.py`).

They copy the control database, which SQL cannot reach. Today is a partition too, unlike elsewhere: money is looked at
while it is spent. It is copied again when it is over.
"""

from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from assets import model_calls as account
from assets import partitions as parts
from assets import plots
from assets.table_asset import table_asset as any_table_asset
from magpie.control import Control
from magpie.engine import limits_of
from magpie.lake import Lake
from magpie.leads import feedback
from magpie.leads.tables import LEAD_FEEDBACK
from magpie.llm import export
from magpie.llm import tables as t
from magpie.llm.purpose import ALL
from magpie.llm.spend import by_function, curve
from magpie.llm.store import Store
from magpie.settings import Settings
from magpie.tables import Table

BY_FUNCTION = "by_function"
BY_STATE = "rows_by_state"
BURN_DOWN = "budget_burn_down"
BY_RESULT = "tasks_by_status"

table_asset = partial(any_table_asset, group="spend")


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the assets of spending under these settings."""
    days, limits = parts.days_through_today(settings.start_day), limits_of(settings)

    @table_asset(t.SPEND_CAPS, days)
    def spend_caps(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> pl.DataFrame:
        asked = parts.partitions_of(t.SPEND_CAPS, context.partition_keys)
        known = lake.read(t.SPEND_CAPS, asked).collect()
        return export.spend_caps(limits, asked.all_days(), known, datetime.now(UTC).date())

    @table_asset(t.LLM_CALLS, days)
    def llm_calls(
        context: dg.AssetExecutionContext, control: dg.ResourceParam[Control], spend_caps: pl.LazyFrame
    ) -> pl.DataFrame:
        asked = _days(context, t.LLM_CALLS)
        calls = export.llm_calls(Store(control), asked)
        context.add_output_metadata(spend_metadata(calls, spend_caps.collect(), max(asked)))
        return calls

    @table_asset(t.TASK_LOG, days)
    def task_log(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> pl.DataFrame:
        tasks = export.task_log(Store(control), _days(context, t.TASK_LOG))
        counts = tasks.group_by("status").len().sort("status")
        context.add_output_metadata({BY_RESULT: dg.MetadataValue.json(dict(counts.iter_rows()))})
        return tasks

    @any_table_asset(LEAD_FEEDBACK, None, group="leads")
    def lead_feedback(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> pl.DataFrame:
        return feedback.events(control)

    return [spend_caps, llm_calls, task_log, lead_feedback]


def spend_metadata(calls: pl.DataFrame, caps: pl.DataFrame, day: date) -> dict[str, Any]:
    """What a copy of the ledger shows: sums, the same by function, and the curve of the last day against its cap.

    Args:
        calls: rows of `llm_calls`.
        caps: rows of `spend_caps` of the same days.
        day: the last of these days.
    """
    sums = by_function(calls)
    cap = caps.filter((pl.col("day") == day) & (pl.col("scope") == ALL) & (pl.col("per") == "D"))["cap_usd"]
    return {
        account.CALLS: dg.MetadataValue.int(int(sums["calls"].sum())),
        account.HITS: dg.MetadataValue.int(int(sums["hits"].sum())),
        account.SPENT: dg.MetadataValue.float(float(sums["spent_usd"].sum())),
        account.SAVED: dg.MetadataValue.float(float(sums["saved_usd"].sum())),
        account.TOKENS: dg.MetadataValue.int(int(sums["tokens"].sum())),
        BY_STATE: dg.MetadataValue.json(dict(calls.group_by("state").len().sort("state").iter_rows())),
        BY_FUNCTION: md.markdown_table(sums.to_dicts()),
        BURN_DOWN: plots.burn_down(curve(calls, day), cap[0] if cap.len() else None, day),
    }


def _days(context: dg.AssetExecutionContext, table: Table) -> list[date]:
    return parts.partitions_of(table, context.partition_keys).all_days()

"""Asset checks of spending: none blocks.

Belongs here: wiring of `magpie/llm/audit.py` to assets. Does not belong here: what a finding is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import dagster as dg

from assets import metadata as md
from assets.partitions import partitions_of
from assets.spend import ledger_days
from magpie.control import Control
from magpie.engine import models_of
from magpie.health import models_in_use
from magpie.lake import Lake
from magpie.llm import audit
from magpie.llm import tables as t
from magpie.llm.store import Store
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions, Table


@dataclass(frozen=True)
class Facts:
    """What a check may look at: the settings, the books, the lake, the days of the run, and the time."""

    settings: Settings
    store: Store
    lake: Lake
    days: list[date]
    now: datetime


Judge = Callable[[Facts], Finding]


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Return the checks of spending under these settings."""
    error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    days = ledger_days(settings.start_day)
    return [
        _check(t.LLM_CALLS, "books_balance", error, days, lambda facts: audit.books_balance(facts.store)),
        _check(t.LLM_CALLS, "all_priced", error, days, lambda facts: audit.all_priced(facts.store, facts.days)),
        _check(
            t.LLM_CALLS,
            "reservations_in_time",
            warn,
            days,
            lambda facts: audit.reservations_in_time(facts.store, facts.now),
        ),
        _check(t.LLM_CALLS, "models_last", warn, days, _models_last),
        _check(t.SPEND_CAPS, "within_caps", error, days, _within_caps),
    ]


def _within_caps(facts: Facts) -> Finding:
    caps = facts.lake.read(t.SPEND_CAPS, Partitions.days(facts.days)).collect()
    return audit.within_caps(facts.store, caps)


def _models_last(facts: Facts) -> Finding:
    return audit.models_last(models_of(facts.settings), models_in_use(facts.settings), facts.now.date())


def _check(
    table: Table, name: str, severity: dg.AssetCheckSeverity, days: dg.DailyPartitionsDefinition, judge: Judge
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=table.name, name=name, description=audit.DESCRIPTIONS[name], blocking=False)
    def check(
        context: dg.AssetCheckExecutionContext,
        settings: dg.ResourceParam[Settings],
        control: dg.ResourceParam[Control],
        lake: dg.ResourceParam[Lake],
    ) -> dg.AssetCheckResult:
        # Of a check that is asked for alone nobody says which days; it judges all.
        named = context.has_partition_key or context.has_partition_key_range
        asked = partitions_of(table, context.partition_keys if named else days.get_partition_keys())
        return md.check_result(
            judge(Facts(settings, Store(control), lake, asked.all_days(), datetime.now(UTC))), severity
        )

    return check

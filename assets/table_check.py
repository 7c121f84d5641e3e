"""The check of a table: what a check may look at, and which partitions it speaks of, said once for all products.

Belongs here: the facts, the wiring. Does not belong here: what a finding is (each product's `quality.py`). None blocks:
a check comes after the commit and cannot undo it. Keys and schemas are not checked: the lake refuses such rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import dagster as dg

from assets import metadata as md
from assets.partitions import partitions_of
from magpie.control import Control
from magpie.lake import Lake
from magpie.llm.store import Store
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions, Table


@dataclass(frozen=True)
class Facts:
    """What a check may look at: settings, books, logs in the control database, lake, the run's partitions, the time."""

    settings: Settings
    store: Store
    control: Control
    lake: Lake
    partitions: Partitions
    now: datetime

    @property
    def days(self) -> list[date]:
        return self.partitions.all_days()


Judge = Callable[[Facts], Finding]


def of_tables(judge: Callable[[Lake, Partitions], Finding]) -> Judge:
    """A finding that needs no more than the lake and the partitions."""
    return lambda facts: judge(facts.lake, facts.partitions)


def table_check(
    table: Table,
    name: str,
    description: str,
    severity: dg.AssetCheckSeverity,
    judge: Judge,
    every: dg.PartitionsDefinition | None = None,
) -> dg.AssetChecksDefinition:
    """Return the check.

    Args:
        every: the table's partitions, None for a table without; all of them are judged where a person asks for the
            check alone, which names none.
    """

    @dg.asset_check(asset=table.name, name=name, description=description, blocking=False)
    def check(
        context: dg.AssetCheckExecutionContext,
        settings: dg.ResourceParam[Settings],
        control: dg.ResourceParam[Control],
        lake: dg.ResourceParam[Lake],
    ) -> dg.AssetCheckResult:
        asked = Partitions.whole()
        if every is not None:
            named = context.has_partition_key or context.has_partition_key_range
            keys = (
                context.partition_keys if named else every.get_partition_keys(dynamic_partitions_store=context.instance)
            )
            asked = partitions_of(table, keys)
        store = Store(control)
        try:
            return md.check_result(judge(Facts(settings, store, control, lake, asked, datetime.now(UTC))), severity)
        finally:
            store.close()

    return check

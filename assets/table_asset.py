"""The asset of a table: what follows from its declaration is said here once for all products.

Belongs here: key, description, schema, kinds and backfill policy. Does not belong here: what an asset computes.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from assets import metadata as md
from magpie.tables import Table

# Where no model is called, a range of partitions is one run.
AT_ONCE = dg.BackfillPolicy.single_run()
# Where one is, or follows from it, a backfill goes in runs of a month: what the money allows is committed before the
# rest is tried, and starting a run still does not count.
BY_MONTH = dg.BackfillPolicy.multi_run(31)


def table_asset(
    table: Table,
    partitions: dg.PartitionsDefinition | None,
    *,
    group: str,
    backfill: dg.BackfillPolicy = AT_ONCE,
    **more: Any,
) -> Callable[..., Any]:
    """Decorate the function that makes `table`."""
    return dg.asset(
        key=table.name,
        description=table.description,
        group_name=group,
        kinds={"polars", "deltalake"},
        metadata={"dagster/column_schema": md.column_schema(table)},
        partitions_def=partitions,
        backfill_policy=backfill if partitions is not None else None,
        **more,
    )

"""The asset of a table: what follows from its declaration is said here once for all products.

Belongs here: key, description, schema, kinds and backfill policy. Does not belong here: what an asset computes.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from assets import metadata as md
from magpie.tables import Table


def table_asset(
    table: Table,
    partitions: dg.PartitionsDefinition | None,
    *,
    group: str,
    **more: Any,
) -> Callable[..., Any]:
    """Decorate the function that makes `table`.

    A range of partitions is one run, also where a model is called: what was paid for is in the journal, so a run that
    ends early is made again for nothing, and groups of runs would only be more of them.
    """
    return dg.asset(
        key=table.name,
        description=table.description,
        group_name=group,
        kinds={"polars", "deltalake"},
        metadata={"dagster/column_schema": md.column_schema(table)},
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions is not None else None,
        **more,
    )

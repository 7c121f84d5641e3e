"""The asset of a table, or of several that come about together: what follows from declarations, once for all products.

Belongs here: key, description, schema, kinds and backfill policy. Does not belong here: what an asset computes.
"""

from collections.abc import Callable, Mapping, Sequence
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
        backfill_policy=_policy(partitions),
        **more,
    )


def tables_asset(
    tables: Sequence[Table],
    partitions: dg.PartitionsDefinition | None,
    *,
    name: str,
    group: str,
    made_from: Mapping[str, Sequence[str]],
    **more: Any,
) -> Callable[..., Any]:
    """Decorate the function that makes several tables in one go, because rows of each follow from rows of the others.

    Args:
        tables: in the order in which the function returns their frames.
        made_from: of each of them, the assets that it is made from.
    """
    return dg.multi_asset(
        name=name,
        outs={
            table.name: dg.AssetOut(
                key=table.name,
                description=table.description,
                group_name=group,
                kinds={"polars", "deltalake"},
                metadata={"dagster/column_schema": md.column_schema(table)},
            )
            for table in tables
        },
        internal_asset_deps={table: {dg.AssetKey(one) for one in made_from[table]} for table in made_from},
        partitions_def=partitions,
        backfill_policy=_policy(partitions),
        **more,
    )


def _policy(partitions: dg.PartitionsDefinition | None) -> dg.BackfillPolicy | None:
    return dg.BackfillPolicy.single_run() if partitions is not None else None

"""The table IO manager: a Polars frame to and from the partitions of one table, ranges included.

Belongs here: which partitions a run writes or reads, and what it tells about them. Does not belong here: how a
commit works (`magpie/lake.py`). Schema and key rules are enforced before the commit, by the lake; asset checks come
after it and cannot undo it.
"""

from collections.abc import Mapping

import dagster as dg
import polars as pl

from assets import metadata as md
from assets.partitions import partitions_of
from magpie.control import Control, Pending
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.tables import Fate, Partitions, Table


class TableIOManager(dg.IOManager):
    """Writes the partitions of the run in one commit; reads exactly the partitions a mapping names, lazily.

    Args:
        lake: where the tables are.
        control: is told which partitions hold pending rows.
        tables: by asset name.
    """

    def __init__(self, lake: Lake, control: Control, tables: Mapping[str, Table]) -> None:
        self._lake, self._control, self._tables = lake, control, tables

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame | pl.LazyFrame) -> None:
        table = self._tables[context.asset_key.path[-1]]
        frame = obj.collect() if isinstance(obj, pl.LazyFrame) else obj
        keys = context.asset_partition_keys if context.has_asset_partitions else []
        partitions = partitions_of(table, keys)
        commit = self._lake.write(table, frame, partitions, _commit_metadata(context, frame))
        if issubclass(table.schema, Fate):
            try:
                self._record_pending(table, partitions, frame)
            except UserError as error:
                # The rows are committed and say themselves that they wait; only nobody is reminded of them.
                context.log.warning(f"sensors will not ask for what waits in {table.name}: {error}")
        context.add_output_metadata(
            {
                **md.row_counts(frame),
                md.PARTITIONS: dg.MetadataValue.int(commit.partitions),
                md.TABLE_VERSION: dg.MetadataValue.int(commit.version),
                md.LAKE_URI: dg.MetadataValue.path(self._lake.uri(table)),
            }
        )

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame:
        table = self._tables[context.asset_key.path[-1]]
        if not context.has_asset_partitions:
            return self._lake.read(table)
        keys = list(context.asset_partition_keys)
        return self._lake.read(table, partitions_of(table, keys)) if keys else table.empty().lazy()

    def _record_pending(self, table: Table, partitions: Partitions, frame: pl.DataFrame) -> None:
        columns = table.partition_columns
        waiting = frame.filter(pl.col("status") == "pending")
        grouped = waiting.group_by(*columns, "reason").agg(pl.len().alias("n"), pl.min("not_before"))
        found = [
            Pending(
                table.name,
                "|".join(str(row[column]) for column in columns),
                row["reason"],
                row["n"],
                row["not_before"],
            )
            for row in grouped.iter_rows(named=True)
        ]
        self._control.record_pending(table.name, ["|".join(values) for values in partitions.values()] or [""], found)


def _commit_metadata(context: dg.OutputContext, frame: pl.DataFrame) -> dict[str, str]:
    found = {"run_id": context.run_id}
    if "config_hash" in frame.columns and frame.height:
        found["config_hash"] = ",".join(sorted(frame["config_hash"].unique()))
    return found

"""What a materialisation shows: keys, counts, tables and pictures as markdown.

Belongs here: the names of metadata keys, declared once, and how values are laid out. Does not belong here: computing
what is shown.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from magpie.quality import Finding
from magpie.tables import Table
from magpie.text.markdown import escaped

ROWS = "rows_in_run"
PARTITIONS = "partitions_in_run"
BY_STATUS = "rows_in_run_by_status"
BY_REASON = "rows_in_run_by_reason"
PENDING_UNTIL = "pending_until"
TABLE_VERSION = "table_version"
LAKE_URI = "lake_uri"
FUNNEL = "gate_funnel"
TOP_POSTS = "top_posts"
CONFIG_HASH = "config_hash"
TOP_LEADS = "top_leads"
TIERS = "leads_by_tier"
MADE_BY = "made_by"


class Markup(str):
    """A cell of a table that is Markdown already, such as a picture: it is not escaped."""


# More than a table of ten rows takes, and less than any picture with its like.
LARGE_CHARS = 4000
# Eleven gates and a dozen reasons fit on one screen.
BAR_CHARS = 24

_TYPES = {
    "String": "string",
    "Int64": "int",
    "Float64": "float",
    "Boolean": "bool",
    "Date": "date",
    "Datetime(time_unit='us', time_zone='UTC')": "timestamp (UTC)",
}


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns for the UI's schema tab."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column["name"],
                type=_TYPES.get(column["type"], column["type"]),
                description=column["description"] or None,
                constraints=dg.TableColumnConstraints(nullable=column["nullable"]),
            )
            for column in table.describe()
        ]
    )


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """Rows of equal keys as a markdown table; text is shown as it is, but for `Markup`."""
    if not rows:
        return dg.MetadataValue.md("*nothing*")
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in head) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: Any) -> str:
    return value if isinstance(value, Markup) else escaped(value)


def show(
    context: dg.AssetExecutionContext, metadata: Mapping[str, dg.MetadataValue[Any]], asset: str | None = None
) -> None:
    """Add metadata to the materialisations of a run; what is large, such as pictures, to that of its last partition.

    Each partition of a run has an event of its own, which keeps a copy: of a year, 365 of every picture.

    Args:
        asset: whose materialisation, where one step makes several.
    """
    add = partial(context.add_asset_metadata, asset_key=asset)
    large = {name for name, value in metadata.items() if len(str(value.value)) > LARGE_CHARS}
    add({name: value for name, value in metadata.items() if name not in large})
    several = context.has_partition_key or context.has_partition_key_range
    last = context.partition_keys[-1] if several else None
    add({name: metadata[name] for name in sorted(large)}, partition_key=last)


def check_result(finding: Finding, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    """A finding as the UI shows it."""
    return dg.AssetCheckResult(
        passed=not finding.rows,
        severity=severity,
        description=finding.summary,
        metadata={"findings": markdown_table(finding.rows)},
    )


def row_counts(frame: pl.DataFrame) -> dict[str, Any]:
    """Rows, and where the table has a fate: by status and by reason, and when the earliest pending row may go on."""
    found: dict[str, Any] = {ROWS: dg.MetadataValue.int(frame.height)}
    if "status" in frame.columns:
        found[BY_STATUS] = dg.MetadataValue.json(_counts(frame, "status"))
    if "reason" in frame.columns and frame["reason"].drop_nulls().len():
        found[BY_REASON] = bars(_counts(frame.filter(pl.col("reason").is_not_null()), "reason"))
    if "not_before" in frame.columns and (earliest := frame["not_before"].min()) is not None:
        found[PENDING_UNTIL] = dg.MetadataValue.text(str(earliest))
    return found


def bars(counts: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """Counts as a bar chart in text, largest first."""
    return histogram(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))


def histogram(counts: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """Counts as a bar chart in text, in the order they are given; nothing has no bar."""
    top = max(counts.values(), default=0) or 1
    rows = [
        {"": name, "rows": count, "share": "█" * (max(1, round(BAR_CHARS * count / top)) if count else 0)}
        for name, count in counts.items()
    ]
    return markdown_table(rows)


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(column).agg(pl.len().alias("n")).sort("n", column, descending=[True, False])
    return {row[column]: row["n"] for row in counted.iter_rows(named=True)}

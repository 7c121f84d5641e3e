"""reddit_archives: one row per archive file, from the manifests of the landing.

Belongs here: which files those are, and the shape of that table. Does not belong here: reading them
(`magpie/sources`).
"""

from collections.abc import Iterable

import polars as pl

from magpie.leads.tables import REDDIT_ARCHIVES
from magpie.settings import Settings
from magpie.sources.reddit_landing import Landing, Manifest
from magpie.tables import UTC, all_ok


def landing_of(settings: Settings) -> Landing:
    """Return the landing of the archives that the settings name, and of the live crawl's files."""
    return Landing(
        settings.landing,
        settings.root,
        settings.reddit.archives,
        settings.reddit.max_line_mib << 20,
        live=settings.live_archive,
    )


def reddit_archives(manifests: Iterable[Manifest]) -> pl.DataFrame:
    """Return what one pass over each file found."""
    rows = [
        {
            "source_file": manifest.source_file,
            "bytes": manifest.bytes,
            "modified_ns": manifest.modified_ns,
            "lines": manifest.lines,
            "rows": manifest.rows,
            "bad_lines": manifest.bad_lines,
            "min_created": manifest.min_created,
            "max_created": manifest.max_created,
        }
        for manifest in manifests
    ]
    schema = {
        "source_file": pl.String,
        "bytes": pl.Int64,
        "modified_ns": pl.Int64,
        "lines": pl.Int64,
        "rows": pl.Int64,
        "bad_lines": pl.Int64,
        "min_created": pl.String,
        "max_created": pl.String,
    }
    frame = pl.DataFrame(rows, schema=schema)
    found = frame.with_columns(
        (pl.col("modified_ns") // 1000).cast(UTC).alias("modified_at"),
        pl.col("min_created").str.to_datetime(time_unit="us", time_zone="UTC").alias("min_created_utc"),
        pl.col("max_created").str.to_datetime(time_unit="us", time_zone="UTC").alias("max_created_utc"),
    )
    return REDDIT_ARCHIVES.shaped(all_ok(found))

"""The daily look for partitions in which rows have failed or waited for days.

Belongs here: the job, when it runs, and the table it shows. Does not belong here: what is stuck (`magpie/stuck.py`) and
telling somebody (`sensors/alerts.py`).
"""

import dagster as dg

from assets.failures import user_errors
from magpie import stuck
from magpie.catalog import TABLES
from magpie.control import Control
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.utc import utc_now

# More rows than this make a page that nobody reads; the log line has the sum.
SHOWN = 200


@dg.op
def look_for_stuck(
    context: dg.OpExecutionContext,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
    control: dg.ResourceParam[Control],
) -> None:
    """Note since when partitions hold failed or waiting rows, and show those that have for too long."""
    now, days = utc_now(), settings.alerts.stuck_days
    with user_errors():
        found = stuck.look(lake, control, TABLES.values(), now)
    old = stuck.older(found, days, now)
    records = [
        dg.TableRecord(
            {
                "table": row.table,
                "partition": row.partition,
                "status": row.status,
                "rows": row.rows,
                "reasons": row.reasons,
                "since": f"{row.since:%Y-%m-%d}",
            }
        )
        for row in old[:SHOWN]
    ]
    names = ("table", "partition", "status", "rows", "reasons", "since")
    schema = dg.TableSchema([dg.TableColumn(name, "int" if name == "rows" else "string") for name in names])
    context.add_output_metadata({"stuck": dg.MetadataValue.table(records, schema), "partitions": len(old)})
    log = context.log.warning if old else context.log.info
    log(f"{len(old)} of {len(found)} partitions with failed or waiting rows have been so for {days} days")


@dg.job(description="Look for partitions whose rows have failed or waited for days.")
def stuck_partitions() -> None:
    look_for_stuck()


DAILY = dg.ScheduleDefinition(name="stuck_partitions_daily", job=stuck_partitions, cron_schedule="30 6 * * *")

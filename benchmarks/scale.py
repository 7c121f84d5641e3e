"""What a number of campaigns, channels, platforms, sites and blogs costs in partitions, files, event rows and hours.

Belongs here: arithmetic over the declared tables, and constants measured in an instance of the reader's own. Does not
belong here: what to do about it (`docs/scale.md`).

`python -m benchmarks.scale --home DIR` reads the constants from what `magpie run` left there; without a home those of
the bundled sample are used.
"""

import argparse
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe
from magpie.catalog import TABLES

DAYS = 365
# Of the bundled sample of persona, 803 partitions, and of the table "What Dagster adds" (Postgres, batches).
SAMPLE_EVENTS, SAMPLE_EVENT_BYTES = 2.35, 6_700
ORCHESTRATION_S = 0.0118
# The table "A year of leads": all stages and writes, for one campaign and a million posts.
LEADS_S_PER_MILLION = 13.2
# How many values a dimension has; a platform is one of four whatever one watches.
DIMENSIONS = ("campaign", "channel", "platform", "site", "blog")


@dataclass(frozen=True)
class Constants:
    """What one partition of one asset leaves behind: rows and bytes of Dagster's event log."""

    events: float = SAMPLE_EVENTS
    event_bytes: float = SAMPLE_EVENT_BYTES


def measured(home: Path) -> Constants:
    """Read the constants from the event log of an instance on SQLite.

    Raises:
        FileNotFoundError: there is none, or nothing was materialised in it.
    """
    rows = size = made = 0
    for shard in sorted((home / "dagster" / "history" / "runs").glob("*.db")):
        with closing(sqlite3.connect(f"file:{shard}?mode=ro", uri=True)) as log:
            count, held = log.execute("SELECT count(*), coalesce(sum(length(event)), 0) FROM event_logs").fetchone()
            query = "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
            done = log.execute(query).fetchone()[0]
        if shard.name == "index.db":  # a copy of what the UI looks up, beside the log of each run
            continue
        rows, size, made = rows + count, size + held, made + done
    if not made:
        raise FileNotFoundError(f"{home} holds no materialisation of an instance on SQLite")
    return Constants(rows / made, size / made)


def partitions(values: Mapping[str, int], days: int = DAYS) -> dict[str, int]:
    """Partitions in so many days, by the leading dimension of a table; `day`: tables of days alone."""
    found = dict.fromkeys((*DIMENSIONS, "day"), 0)
    for table in TABLES.values():
        leads = [name for name in table.dimensions if name != "day"]
        if not table.dimensions:
            continue
        per_day = days if "day" in table.dimensions else 1
        found[leads[0] if leads else "day"] += per_day * (values[leads[0]] if leads else 1)
    return found


def table_of(values: Mapping[str, int], posts: int, constants: Constants) -> str:
    """A year as a Markdown table; `posts`: of Reddit, read once for all campaigns."""
    lines = [
        "| a year of | partitions | files | event rows | GB of events | hours of orchestration |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    whole = partitions(values)
    for name, count in (*whole.items(), ("**all**", sum(whole.values()))):
        rows, size = count * constants.events, count * constants.event_bytes / 1e9
        told = f"{values.get(name, 1):,} x {name}" if name in values else name
        lines.append(
            f"| {told} | {count:,} | {count:,} | {rows:,.0f} | {size:.1f} | {count * ORCHESTRATION_S / 3600:.1f} |"
        )
    hours = posts / 1e6 * LEADS_S_PER_MILLION * values["campaign"] / 3600
    lines.append(
        f"\n{posts:,} posts matched and ranked for {values['campaign']:,} campaigns: {hours:,.0f} core-pair hours"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path)
    for name, value in zip(DIMENSIONS, (100, 1000, 4, 20, 10), strict=True):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--posts", type=int, default=1_000_000_000)
    given = parser.parse_args()
    constants = measured(given.home) if given.home else Constants()
    print(describe(()), "\n")
    print(f"{constants.events:.2f} event rows and {constants.event_bytes:,.0f} bytes per partition and asset\n")
    print(table_of({name: getattr(given, name) for name in DIMENSIONS}, given.posts, constants))


if __name__ == "__main__":
    main()

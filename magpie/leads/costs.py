"""Whether rows and ledger agree on what reading a post cost.

Belongs here: that one finding, which looks into the books. Does not belong here: findings about the tables alone
(`quality.py`) and about the books alone (`magpie/llm/audit.py`).
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.leads.extract_lead import EXTRACT_LEAD
from magpie.leads.stages import PRODUCT
from magpie.llm import history
from magpie.llm.purpose import Purpose
from magpie.llm.store import Store
from magpie.quality import Finding
from magpie.tables import Partitions


def costs_are_booked(lake: Lake, partitions: Partitions, store: Store) -> Finding:
    """Rows whose cost is not the sum of the calls that the ledger has for them."""
    read = lake.read(t.LEAD_EXTRACTIONS, partitions).filter(pl.col("input_hash").is_not_null())
    rows = read.filter(pl.col("provider").is_null() | (pl.col("provider") != "offline")).with_columns(
        pl.format("{}|{}", "campaign_id", "day").alias("partition")
    )
    told = rows.select("campaign_id", "day", "fullname", "partition", "input_hash", "cost_usd").collect()
    costs = history.booked(store, [_purpose(row) for row in told.iter_rows(named=True)])
    wrong = told.with_columns(pl.Series("booked_usd", costs, dtype=told.schema["cost_usd"])).filter(
        pl.col("cost_usd") != pl.col("booked_usd")
    )
    return Finding.of(
        wrong.select("campaign_id", "day", "fullname", "cost_usd", "booked_usd"),
        "rows and ledger agree on what was spent",
        "{n} rows say another cost than the ledger booked for them; make their days again",
    )


def _purpose(row: Mapping[str, Any]) -> Purpose:
    return Purpose(
        PRODUCT,
        EXTRACT_LEAD.name,
        t.LEAD_EXTRACTIONS.name,
        row["partition"],
        row["fullname"],
        row["input_hash"],
    )

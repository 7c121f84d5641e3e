"""Tiny tables of every partitioning, and rows for them, shared by the tests of the lake and the warehouse."""

from collections.abc import Iterable
from datetime import date, timedelta

import dataframely as dy
import polars as pl

from magpie.tables import Table

FIRST = date(2026, 1, 1)


class Daily(dy.Schema):
    day = dy.Date(primary_key=True)
    n = dy.Int64(primary_key=True)
    generation = dy.Int64(min=0)
    note = dy.String(nullable=True)


class CampaignDaily(dy.Schema):
    campaign_id = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    n = dy.Int64(primary_key=True)
    generation = dy.Int64(min=0)
    note = dy.String(nullable=True)


class Campaigns(dy.Schema):
    campaign_id = dy.String(primary_key=True)
    n = dy.Int64(primary_key=True)
    generation = dy.Int64(min=0)
    note = dy.String(nullable=True)


class Whole(dy.Schema):
    n = dy.Int64(primary_key=True)
    generation = dy.Int64(min=0)
    note = dy.String(nullable=True)


class AllTypes(dy.Schema):
    day = dy.Date(primary_key=True)
    text = dy.String(primary_key=True)
    small = dy.Int16(nullable=True)
    real = dy.Float64(nullable=True)
    yes = dy.Bool(nullable=True)
    moment = dy.Datetime(nullable=True, time_unit="us", time_zone="UTC")
    price = dy.Decimal(12, 4, nullable=True)
    words = dy.List(dy.String(nullable=True), nullable=True)
    vector = dy.List(dy.Float32(nullable=True), nullable=True)
    log = dy.List(
        dy.Struct({"gate": dy.String(nullable=True), "seen": dy.Float64(nullable=True)}, nullable=True), nullable=True
    )


DAILY = Table("daily", Daily, "One row per day and number; it's small.", {"day": "day"}, ("day", "n"))
CAMPAIGN_DAILY = Table(
    "campaign_daily",
    CampaignDaily,
    "By campaign and day.",
    {"campaign": "campaign_id", "day": "day"},
    ("campaign_id", "day", "n"),
)
CAMPAIGNS = Table("campaigns", Campaigns, "By campaign.", {"campaign": "campaign_id"}, ("campaign_id", "n"))
WHOLE = Table("whole", Whole, "Not partitioned.", {}, ("n",))
ALL_TYPES = Table("all_types", AllTypes, "Every stored type.", {"day": "day"}, ("day", "text"))


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def days(numbers: Iterable[int]) -> list[date]:
    return [day(number) for number in numbers]


def daily(numbers: Iterable[int], *, rows: int = 2, generation: int = 0) -> pl.DataFrame:
    """Return `rows` rows for each day."""
    return pl.DataFrame(
        [(when, n, generation, None) for when in days(numbers) for n in range(rows)],
        schema=DAILY.dtypes,
        orient="row",
    )


def campaign_daily(
    pairs: Iterable[tuple[str, int]], *, rows: int = 2, generation: int = 0, note: str | None = None
) -> pl.DataFrame:
    """Return `rows` rows for each campaign and day."""
    return pl.DataFrame(
        [(campaign, day(number), n, generation, note) for campaign, number in pairs for n in range(rows)],
        schema=CAMPAIGN_DAILY.dtypes,
        orient="row",
    )

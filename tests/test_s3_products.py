"""Every product on a lake in a bucket, by configuration alone: the tables are those of a run on a local lake."""

import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import boto3
import dagster as dg
import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dbt_project.assets import FRESH, marts_assets
from definitions import build_definitions
from magpie.catalog import MACROS, TABLES
from magpie.content import tables as content
from magpie.lake import Lake
from magpie.leads import tables as leads
from magpie.memes import tables as memes
from magpie.persona import tables as persona
from magpie.running import RunOutcome
from magpie.settings import Settings
from magpie.tables import Table
from magpie.videos import tables as videos
from magpie.warehouse import open_in_memory
from runs import courses
from runs.courses import COURSES
from tests.dagster_world import run_plainly, sample_settings
from tests.test_lake_s3 import KEYS, endpoint

__all__ = ["endpoint"]

pytestmark = [pytest.mark.slow, pytest.mark.soak]

BUCKET = "products"


def _days(first: int, last: int) -> dict[str, date]:
    return {"first": date(2026, 3, first), "last": date(2026, 3, last)}


# Of the sample as little as makes rows in the tables that a reader of each product wants in the end.
SLICES: dict[str, dict[str, Any]] = {
    "leads": {"campaigns": ("agency-crm",), **_days(4, 5)},
    "videos": {"channels": ("UCsampleTeapotTape000001",), **_days(4, 4)},
    "memes": _days(4, 4),
    "content": {"sites": ("balcony-patch",), **_days(9, 9)},
    "persona": _days(4, 4),
}
TABLES_OF: dict[str, tuple[Table, ...]] = {
    "leads": leads.TABLES,
    "videos": videos.TABLES,
    "memes": memes.TABLES,
    "content": content.TABLES,
    "persona": persona.TABLES,
}
RESULTS: dict[str, tuple[Table, ...]] = {
    "leads": (leads.LEADS, leads.REJECTIONS),
    "videos": (videos.STOCK_MENTIONS, videos.TICKER_CONSENSUS),
    "memes": (memes.MEME_STATUS, memes.MEME_MEDIA),
    "content": (content.ARTICLES, content.ARTICLE_IMAGES),
    "persona": (persona.DECISIONS, persona.MOOD),
}


# One of each product.
MARTS = ("leads_current", "video_status", "source_quality", "clusters_current", "mood_history")


@dataclass(frozen=True)
class Made:
    """The same slices of the sample, on a local lake and in a bucket."""

    local: Settings
    bucket: Settings
    outcomes: dict[str, tuple[RunOutcome, RunOutcome]]

    def lakes(self) -> tuple[Lake, Lake]:
        return _lake(self.local), _lake(self.bucket)


def _unchecked(settings: Settings, products: Collection[str], **overrides: Any) -> dg.Definitions:
    return build_definitions(settings, products, checks=False, **overrides)


def _lake(settings: Settings) -> Lake:
    return Lake(settings.lake_root, settings.storage_options())


@pytest.fixture(scope="module")
def made(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=BUCKET)
        local = sample_settings(tmp_path_factory.mktemp("local"))
        url = f"s3://{BUCKET}/{uuid.uuid4().hex}/lake"
        bucket = sample_settings(tmp_path_factory.mktemp("bucket")).model_copy(update={"lake_url": url})
        # The books are copied once, below.
        patch.setitem(COURSES, "spend", lambda course: None)
        outcomes = {}
        for product, slice_ in SLICES.items():
            here, _ = run_plainly(bucket, product=product, **slice_)
            with pytest.MonkeyPatch.context() as quick:
                # What the checks say is of interest in the bucket alone.
                quick.setattr(courses, "build_definitions", _unchecked)
                there, _ = run_plainly(local, product=product, **slice_)
            outcomes[product] = (there, here)
        patch.setitem(COURSES, "spend", courses.spend)
        yield Made(local, bucket, outcomes)


@pytest.mark.parametrize("product", SLICES)
def test_the_tables_of_a_product_in_a_bucket_are_those_on_a_disk(made: Made, product: str) -> None:
    there, here = made.outcomes[product]
    assert (here.failures, here.first, here.last) == ((), there.first, there.last)
    local, bucket = made.lakes()
    for table in TABLES_OF[product]:
        assert_frame_equal(_rows(bucket, table), _rows(local, table))
        assert bucket.version(table) == local.version(table), table.name
    empty = [table.name for table in RESULTS[product] if _rows(bucket, table).is_empty()]
    assert empty == []


def test_no_table_of_a_lake_in_a_bucket_is_on_the_disk(made: Made) -> None:
    assert not (made.bucket.home / "lake").exists()
    assert not list(made.bucket.home.rglob("_delta_log"))


def test_a_session_and_the_marts_read_a_bucket_and_each_mart_is_wanted_fresh(made: Made) -> None:
    for product in ("spend", "marts"):
        outcome, _ = run_plainly(made.bucket, product=product)
        assert outcome.failures == ()
    assert {spec.freshness_policy for spec in marts_assets(made.bucket).specs} == {FRESH}
    _, bucket = made.lakes()
    held = {table.name: _rows(bucket, table).height for table in TABLES.values()}
    with duckdb.connect(str(made.bucket.warehouse), read_only=True) as session:
        assert _counts(session, "lake") == held
        marts = _counts(session, "marts")
    assert [mart for mart in MARTS if not marts[mart]] == []
    with open_in_memory(bucket, TABLES.values(), made.bucket.warehouse, MACROS) as session:
        assert _counts(session, "lake") == held
        assert session.sql("SELECT count(*) FROM leads_current").fetchall() == [(marts["leads_current"],)]


def _rows(lake: Lake, table: Table) -> pl.DataFrame:
    """All rows in an order of their own, without the moment at which a file was first seen in this home."""
    return lake.read(table).collect().drop("first_seen_at", strict=False).sort(table.key or table.sort_by)


def _counts(session: duckdb.DuckDBPyConnection, schema: str) -> dict[str, int]:
    """Rows of each table or view of one schema."""
    listed = session.execute(
        "SELECT table_catalog, table_name FROM information_schema.tables WHERE table_schema = ?", [schema]
    ).fetchall()
    return {
        name: int(session.sql(f'SELECT count(*) FROM "{catalog}".{schema}."{name}"').fetchall()[0][0])
        for catalog, name in listed
    }

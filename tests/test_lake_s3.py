"""The lake in an S3-compatible store: a server on loopback, spoken to as any endpoint of one's own."""

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import boto3
import duckdb
import pytest
from moto.server import ThreadedMotoServer
from polars.testing import assert_frame_equal

from magpie.lake import Lake, SchemaMismatch
from magpie.tables import Partitions
from magpie.warehouse import open_in_memory, publish
from tests.lake_tables import CAMPAIGN_DAILY, DAILY, WHOLE, campaign_daily, daily, day, days
from tests.test_lake_races import FORKSERVER, START_SECONDS, run_together

KEYS = {"AWS_ACCESS_KEY_ID": "key-of-the-test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test"}


def serve(told: Connection) -> None:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    told.send(server.get_host_and_port())
    threading.Event().wait()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    # A process of its own: delta-rs holds the interpreter while it reads a history, so a thread could not answer.
    receiver, sender = FORKSERVER.Pipe(duplex=False)
    server = FORKSERVER.Process(target=serve, args=(sender,), daemon=True)
    server.start()
    assert receiver.poll(START_SECONDS), "the server did not start"
    host, port = receiver.recv()
    yield f"http://{host}:{port}"
    server.kill()
    server.join()


def lake_in_a_bucket(endpoint: str, name: str) -> Lake:
    """A lake below this name; its bucket is made."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="magpie")
    return Lake(f"s3://magpie/{name}", {**KEYS, "AWS_ENDPOINT_URL": endpoint})


@pytest.fixture
def lake(endpoint: str) -> Lake:
    return lake_in_a_bucket(endpoint, f"{uuid.uuid4().hex}/lake")


def test_a_range_in_a_bucket_is_one_commit_that_replaces_exactly_its_partitions(lake: Lake) -> None:
    everything = [(lead, n) for lead in "ab" for n in range(3)]
    lake.write(CAMPAIGN_DAILY, campaign_daily(everything), Partitions.of((c, day(n)) for c, n in everything))
    named = Partitions.of([("a", day(0)), ("b", day(1))])
    commit = lake.write(CAMPAIGN_DAILY, campaign_daily([("a", 0)], generation=1), named, {"run_id": "r-2"})
    assert commit.version == 2
    kept = [("a", 1), ("a", 2), ("b", 0), ("b", 2)]
    assert_frame_equal(
        lake.read(CAMPAIGN_DAILY).sort(CAMPAIGN_DAILY.key).collect(),
        campaign_daily([("a", 0)], generation=1).vstack(campaign_daily(kept)),
    )
    assert [file.split("/lake/")[1].rsplit("/", 1)[0] for file in lake.files(CAMPAIGN_DAILY, named)] == [
        "campaign_daily/campaign_id=a/day=2026-01-01"
    ]
    assert_frame_equal(lake.read(CAMPAIGN_DAILY, named).collect(), campaign_daily([("a", 0)], generation=1))
    assert lake.history(CAMPAIGN_DAILY)[0]["run_id"] == "r-2"
    assert lake.vacuum(CAMPAIGN_DAILY) == 0
    assert lake.vacuum(CAMPAIGN_DAILY, retention=timedelta(0)) == 2


def test_a_table_never_written_to_a_bucket_reads_as_typed_and_empty(lake: Lake) -> None:
    assert_frame_equal(lake.read(DAILY).collect(), DAILY.empty())
    with open_in_memory(lake, [DAILY]) as session:
        assert session.sql("SELECT * FROM daily").fetchall() == []


def test_bad_rows_reach_no_bucket(lake: Lake) -> None:
    with pytest.raises(SchemaMismatch, match="column generation is Float64"):
        lake.write(DAILY, daily([0]).with_columns(generation=1.5), Partitions.days(days([0])))
    assert lake.open(DAILY) is None


def test_credentials_are_in_no_text_of_the_lake(lake: Lake) -> None:
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in f"{lake!r} {lake}"


def write_days(root: str, options: dict[str, str], writer: int) -> int:
    lake = Lake(root, options)
    for generation in range(3):
        lake.write(DAILY, daily([writer], generation=generation), Partitions.days(days([writer])))
        lake.write(DAILY, daily([9], generation=generation), Partitions.days(days([9])))
    return writer


@pytest.mark.slow
def test_concurrent_writers_to_a_bucket_lose_no_commit_and_need_no_lock_table(lake: Lake) -> None:
    given = [(lake.root, dict(lake.storage_options), writer) for writer in range(3)]
    assert run_together(write_days, given, 60) == [0, 1, 2]
    assert_frame_equal(lake.read(DAILY).sort("day", "n").collect(), daily([0, 1, 2, 9], generation=2))
    operations = [entry["operation"] for entry in lake.history(DAILY)]
    assert (operations.count("CREATE TABLE"), operations.count("WRITE")) == (1, 18)


def test_a_session_reads_a_bucket_without_any_extension_and_cannot_write_to_it(lake: Lake) -> None:
    pairs = [("a", 0), ("b", 1)]
    lake.write(CAMPAIGN_DAILY, campaign_daily(pairs), Partitions.of((c, day(n)) for c, n in pairs))
    with open_in_memory(lake, [CAMPAIGN_DAILY, WHOLE]) as session:
        query = "SELECT * FROM campaign_daily ORDER BY ALL"
        assert_frame_equal(session.sql(query).pl(), campaign_daily(pairs))
        lake.write(CAMPAIGN_DAILY, campaign_daily([("a", 0)], generation=1), Partitions.of([("a", day(0))]))
        assert_frame_equal(session.sql(query).pl(), campaign_daily(pairs))
        taken = lake.files(CAMPAIGN_DAILY)[-1].split("/lake/")[1]
        with pytest.raises(duckdb.Error, match="read-only"):
            session.execute(f"COPY (SELECT 1) TO 'lake://{taken}' (FORMAT parquet)")


def test_a_published_file_holds_the_rows_of_a_bucket(lake: Lake, tmp_path: Path) -> None:
    build = tmp_path / "warehouse.duckdb"
    for generation in (0, 1):
        lake.write(DAILY, daily([0], generation=generation), Partitions.days(days([0])))
        publish(lake, [DAILY, WHOLE], build)
        with duckdb.connect(str(build), read_only=True) as session:
            assert_frame_equal(
                session.sql("SELECT * FROM lake.daily ORDER BY n").pl(), daily([0], generation=generation)
            )
            assert session.sql("SELECT * FROM lake.whole").fetchall() == []
    local = Lake(str(tmp_path / "lake"))
    local.write(DAILY, daily([5]), Partitions.days(days([5])))
    publish(local, [DAILY, WHOLE], build)
    with duckdb.connect(str(build), read_only=True) as session:
        assert_frame_equal(session.sql("SELECT * FROM lake.daily ORDER BY n").pl(), daily([5]))

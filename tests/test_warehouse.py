"""DuckDB over the lake: one snapshot per session, nothing written from it, and the file for the analyst."""

import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.tables import Partitions
from magpie.warehouse import open_in_memory, publish
from tests.lake_tables import ALL_TYPES, CAMPAIGN_DAILY, DAILY, WHOLE, campaign_daily, daily, day, days


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    pairs = [(campaign, n) for campaign in "ab" for n in range(3)]
    lake.write(CAMPAIGN_DAILY, campaign_daily(pairs), Partitions.of((c, day(n)) for c, n in pairs))
    lake.write(DAILY, daily([0]), Partitions.days(days([0])))
    return lake


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def test_an_open_session_keeps_its_answer_while_the_table_is_rewritten_and_widened(lake: Lake) -> None:
    with open_in_memory(lake, [DAILY]) as session:
        for generation in range(1, 4):
            lake.write(DAILY, daily([0, generation], generation=generation), Partitions.days(days([0, generation])))
            assert_frame_equal(session.sql("SELECT * FROM daily ORDER BY n").pl(), daily([0]))
    with open_in_memory(lake, [DAILY]) as session:
        assert session.sql("SELECT max(generation), count(*) FROM daily").fetchall() == [(3, 8)]


def test_a_table_without_rows_is_a_view_of_the_declared_types(lake: Lake) -> None:
    with open_in_memory(lake, [ALL_TYPES]) as session:
        assert session.sql("SELECT * FROM all_types").fetchall() == []
        described = dict(session.sql("SELECT column_name, column_type FROM (DESCRIBE all_types)").fetchall())
    assert described == {
        "day": "DATE",
        "text": "VARCHAR",
        "small": "SMALLINT",
        "real": "DOUBLE",
        "yes": "BOOLEAN",
        "moment": "TIMESTAMP WITH TIME ZONE",
        "price": "DECIMAL(12,4)",
        "words": "VARCHAR[]",
        "vector": "FLOAT[]",
        "log": "STRUCT(gate VARCHAR, seen DOUBLE)[]",
    }


def test_a_day_or_campaign_in_the_where_clause_opens_its_files_alone(lake: Lake) -> None:
    kept = lake.files(CAMPAIGN_DAILY, Partitions.of([("b", day(1))]))
    with open_in_memory(lake, [CAMPAIGN_DAILY]) as session:
        query = "SELECT * FROM campaign_daily WHERE campaign_id = 'b' AND day = DATE '2026-01-02'"
        plan = session.sql("EXPLAIN ANALYZE " + query).fetchall()[0][1]
        assert "Scanning Files: 1/6" in plan
        assert_frame_equal(session.sql(query + " ORDER BY n").pl(), campaign_daily([("b", 1)]))
    assert len(kept) == 1


def test_views_carry_the_description_of_their_table(lake: Lake, tmp_path: Path) -> None:
    query = "SELECT view_name, comment FROM duckdb_views() WHERE schema_name = 'lake' ORDER BY view_name"
    expected = [("daily", "One row per day and number; it's small."), ("whole", "Not partitioned.")]
    with open_in_memory(lake, [DAILY, WHOLE]) as session:
        assert session.sql(query).fetchall() == expected
    publish(lake, [DAILY, WHOLE], tmp_path / "w.duckdb")
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as session:
        assert session.sql(query).fetchall() == expected


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO '{outside}/made.csv'",
        "COPY (SELECT 1 AS n) TO '{lake}/made.parquet' (FORMAT parquet)",
        "COPY (SELECT 1 AS n) TO '{file}' (FORMAT parquet)",
        "COPY (SELECT 1 AS n) TO 'lake://daily/made.parquet' (FORMAT parquet)",
        "COPY (SELECT 1 AS n) TO 'lake://{inside}' (FORMAT parquet)",
        "COPY (SELECT 1 AS n, 2 AS m) TO 'lake://daily' (FORMAT parquet, PARTITION_BY (m), OVERWRITE true)",
        "COPY (SELECT 1 AS n, 2 AS m) TO '{lake}/daily' (FORMAT parquet, PARTITION_BY (m), OVERWRITE true)",
        "EXPORT DATABASE '{outside}/made'",
        "EXPORT DATABASE 'lake://made'",
        "ATTACH '{outside}/made.duckdb' AS made",
        "ATTACH 'lake://made.duckdb' AS made",
        "INSERT INTO lake.daily VALUES (DATE '2026-01-01', 1, 1, NULL)",
        "DELETE FROM lake.daily",
        "UPDATE lake.daily SET generation = 9",
        "COPY lake.daily FROM '{file}'",
        "INSERT INTO warehouse.marts.funnel VALUES (2)",
        "DROP TABLE warehouse.marts.funnel",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "RESET lock_configuration",
        "SET profiling_output = '{outside}/made.json'",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_a_query_session_cannot_write_anywhere(lake: Lake, tmp_path: Path, statement: str) -> None:
    warehouse = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(warehouse)) as made:
        made.execute("CREATE SCHEMA marts; CREATE TABLE marts.funnel AS SELECT 1 AS n")
    file = lake.files(DAILY)[0]
    inside = Path(file).relative_to(lake.root).as_posix()
    before = contents(tmp_path)
    with open_in_memory(lake, [DAILY], warehouse) as session:
        with pytest.raises(duckdb.Error):
            session.execute(statement.format(outside=tmp_path, lake=lake.root, file=file, inside=inside))
        assert session.sql("SELECT n FROM funnel").fetchall() == [(1,)]
        assert_frame_equal(session.sql("SELECT * FROM daily ORDER BY n").pl(), daily([0]))
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_text('{outside}/secret.txt')",
        "SELECT * FROM '{outside}/secret.txt'",
        "SELECT * FROM read_parquet('{file}')",
        "SELECT * FROM read_parquet('lake://{other}')",
        "SELECT * FROM glob('{outside}/*')",
        "SELECT * FROM not_a_table_but_a_variable",
    ],
)
def test_a_query_session_reads_no_file_but_those_of_its_views(lake: Lake, tmp_path: Path, query: str) -> None:
    not_a_table_but_a_variable = pl.DataFrame({"secret": [1]})
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    other = Path(lake.files(CAMPAIGN_DAILY)[0]).relative_to(lake.root).as_posix()
    with open_in_memory(lake, [DAILY]) as session, pytest.raises(duckdb.Error):
        session.sql(query.format(outside=tmp_path, file=lake.files(DAILY)[0], other=other)).fetchall()
    assert not_a_table_but_a_variable.height == 1


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.txt", "daily/../../secret.txt", "daily/*/*", "**"])
def test_an_address_in_the_lake_that_no_view_names_is_empty(lake: Lake, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    with open_in_memory(lake, [DAILY]) as session:
        assert session.sql(f"SELECT * FROM read_text('lake://{path}')").fetchall() == []
        assert session.sql(f"SELECT * FROM glob('lake://{path}')").fetchall() == []


def test_a_query_larger_than_its_memory_spills_and_leaves_nothing_behind(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = contents(tmp_path)
    with open_in_memory(lake, [DAILY]) as session:
        query = "SELECT count(*) FROM (SELECT hash(range) AS h, repeat('x', 200) AS t FROM range(300_000) ORDER BY h)"
        assert session.sql(query).fetchall() == [(300_000,)]
    assert contents(tmp_path) == before


def test_a_session_ends_without_a_word_on_standard_error(lake: Lake) -> None:
    program = (
        "import sys; from magpie.lake import Lake; from magpie.warehouse import open_in_memory\n"
        "from tests.lake_tables import DAILY\n"
        "session = open_in_memory(Lake(sys.argv[1]), [DAILY])\n"
        "print(session.sql('SELECT count(*) FROM daily').fetchall())\n"
        "session.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, lake.root], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[(2,)]", "")


def test_publishing_renews_the_views_and_keeps_the_marts(lake: Lake, tmp_path: Path) -> None:
    build = tmp_path / "deep" / "warehouse.duckdb"
    publish(lake, [DAILY], build)
    with duckdb.connect(str(build)) as session:
        session.execute("CREATE SCHEMA marts; CREATE TABLE marts.funnel AS SELECT 7 AS n")
    lake.write(DAILY, daily([0, 1], generation=1), Partitions.days(days([0, 1])))
    publish(lake, [DAILY, WHOLE], build)
    with duckdb.connect(str(build), read_only=True) as session:
        assert session.sql("SELECT count(*), max(generation) FROM lake.daily").fetchall() == [(4, 1)]
        assert session.sql("SELECT n FROM marts.funnel").fetchall() == [(7,)]
    with open_in_memory(lake, [DAILY], build) as session:
        assert session.sql("SELECT n FROM funnel").fetchall() == [(7,)]


def test_a_published_file_opens_in_older_clients(lake: Lake, tmp_path: Path) -> None:
    build = tmp_path / "warehouse.duckdb"
    publish(lake, [DAILY], build)
    with duckdb.connect() as session:
        session.execute(f"ATTACH '{build}' AS w (READ_ONLY)")
        tags = session.sql(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'w'"
        ).fetchall()
    assert tags[0][0].startswith("v1.2.0")


def test_a_build_file_that_another_process_writes_gives_one_line(lake: Lake, tmp_path: Path) -> None:
    build = tmp_path / "warehouse.duckdb"
    publish(lake, [DAILY], build)
    program = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read(); c.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(build)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(UserError, match=r"cannot open .*warehouse\.duckdb: .*lock.*; close the other build"):
            publish(lake, [DAILY], build)
        other.stdin.close()

"""The lake on disk: what is refused, what a write replaces, what a read opens, what is kept."""

import os
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets.partitions import partitions_of
from magpie import lake as lake_module
from magpie.errors import UserError
from magpie.lake import Lake, SchemaMismatch
from magpie.tables import Partitions, Table
from magpie.warehouse import open_in_memory
from tests.lake_tables import (
    ALL_TYPES,
    CAMPAIGN_DAILY,
    CAMPAIGNS,
    DAILY,
    WHOLE,
    campaign_daily,
    daily,
    day,
    days,
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def version(lake: Lake, table: Table) -> int:
    stored = lake.open(table)
    return -1 if stored is None else stored.version()


def by_duckdb(lake: Lake, table: Table) -> pl.DataFrame:
    connection = open_in_memory(lake, [table])
    try:
        return connection.sql(f"SELECT * FROM {table.name} ORDER BY {', '.join(table.key)}").pl()
    finally:
        connection.close()


def by_polars(lake: Lake, table: Table) -> pl.DataFrame:
    return lake.read(table).sort(table.key).collect()


# What is refused


def fractional(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(generation=pl.lit(1.5))


def no_generation(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("generation")


def one_column_more(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(surplus=pl.lit(1))


def number_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("n").cast(pl.String))


def null_number(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(generation=pl.lit(None, pl.Int64))


def below_the_minimum(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(generation=pl.lit(-1, pl.Int64))


def same_key_twice(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(n=pl.lit(0, pl.Int64))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (fractional, "daily: column generation is Float64, must be Int64"),
        (no_generation, "daily: column generation is missing"),
        (one_column_more, "daily: column surplus is not declared"),
        (number_as_text, "daily: column n is String, must be Int64"),
        (null_number, "daily: .*generation.*nullability"),
        (below_the_minimum, "daily: .*generation.*min"),
        (same_key_twice, "daily: .*primary_key"),
    ],
)
def test_rows_that_break_the_declaration_are_refused_and_nothing_is_written(
    lake: Lake, spoil: Callable[[pl.DataFrame], pl.DataFrame], said: str
) -> None:
    lake.write(DAILY, daily([0]), Partitions.days(days([0])))
    before = version(lake, DAILY)
    with pytest.raises(SchemaMismatch, match=said) as refused:
        lake.write(DAILY, spoil(daily([0], generation=1)), Partitions.days(days([0])))
    assert "\n" not in str(refused.value)
    assert version(lake, DAILY) == before
    assert_frame_equal(by_polars(lake, DAILY), daily([0]))


def test_rows_outside_the_named_partitions_are_refused_even_where_they_would_fall_between_chunks(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (4000, 1):
        monkeypatch.setattr(lake_module, "PARTITIONS_PER_COMMIT", size)
        with pytest.raises(SchemaMismatch, match=r"daily: 2 rows are outside .* \(day=2026-01-03\)"):
            lake.write(DAILY, daily([0, 1, 2]), Partitions.days(days([0, 1])))
    assert lake.open(DAILY) is None


@pytest.mark.parametrize("partitions", [Partitions.whole(), Partitions.days([]), Partitions.of([])])
def test_a_write_to_a_partitioned_table_that_names_no_partition_is_refused(lake: Lake, partitions: Partitions) -> None:
    with pytest.raises(ValueError, match="must name its partitions"):
        lake.write(DAILY, daily([]), partitions)


def test_a_write_that_names_days_alone_cannot_clear_the_other_campaigns(lake: Lake) -> None:
    lake.write(CAMPAIGN_DAILY, campaign_daily([("a", 0), ("b", 0)]), Partitions.of([("a", day(0)), ("b", day(0))]))
    with pytest.raises(ValueError, match="is partitioned by"):
        lake.write(CAMPAIGN_DAILY, campaign_daily([("a", 0)]), Partitions.days(days([0])))
    with pytest.raises(ValueError, match="is partitioned by"):
        lake.write(CAMPAIGN_DAILY, campaign_daily([("a", 0)]), Partitions.leading(["a"]))
    assert by_polars(lake, CAMPAIGN_DAILY).height == 4


@pytest.mark.parametrize(
    "name", ["", "o'x", "x' OR '1'='1", 'a"b', "a b", "a/b", "../up", "a=b", "a%20b", "ü", "-a", "_x", "a\n", "x" * 201]
)
def test_a_campaign_whose_name_is_no_safe_directory_is_refused_in_one_line_before_anything_is_written(
    lake: Lake, name: str
) -> None:
    with pytest.raises(UserError, match="cannot name a partition; use letters") as refused:
        lake.write(CAMPAIGN_DAILY, campaign_daily([(name, 0)]), Partitions.of([(name, day(0))]))
    assert "\n" not in str(refused.value)
    assert lake.open(CAMPAIGN_DAILY) is None


@pytest.mark.parametrize("name", ["null", "NULL", "007", "1e5", "true", "2026-01-01", "UC-_x.y", "inf"])
def test_a_campaign_named_like_another_type_comes_back_as_its_own_text(lake: Lake, name: str) -> None:
    rows = campaign_daily([(name, 0)])
    lake.write(CAMPAIGN_DAILY, rows, Partitions.of([(name, day(0))]))
    assert_frame_equal(by_polars(lake, CAMPAIGN_DAILY), rows)
    assert_frame_equal(by_duckdb(lake, CAMPAIGN_DAILY), rows)


# What a write replaces


class Model:
    """The lake as a plain dict: partition -> rows."""

    def __init__(self, table: Table) -> None:
        self.table, self.held = table, dict[tuple[str, ...], list[tuple[Any, ...]]]()

    def write(self, frame: pl.DataFrame, partitions: list[tuple[str, ...]]) -> None:
        for partition in partitions:
            self.held.pop(partition, None)
        for row in frame.iter_rows(named=True):
            where = tuple(str(row[name]) for name in self.table.partition_columns)
            self.held.setdefault(where, []).append(tuple(row.values()))

    def rows(self) -> pl.DataFrame:
        held = [row for rows in self.held.values() for row in rows]
        return pl.DataFrame(held, schema=self.table.dtypes, orient="row").sort(self.table.key)


LEADS = ("acme", "b-2", "C.x")
day_sets = st.one_of(
    st.sets(st.integers(0, 6), min_size=1, max_size=5),
    st.tuples(st.integers(0, 6), st.integers(1, 7)).map(lambda span: set(range(span[0], span[0] + span[1]))),
)
# (partitions by leading value, rows in each partition; 0 clears)
writes = st.tuples(st.dictionaries(st.sampled_from(LEADS), day_sets, min_size=1), st.integers(0, 3))


def rows_for(table: Table, named: dict[str, set[int]], rows: int, generation: int) -> pl.DataFrame:
    pairs = [(lead, number) for lead in named for number in named[lead]]
    frame = campaign_daily(pairs, rows=rows, generation=generation)
    return frame.select(list(table.dtypes)).unique(subset=table.key, keep="first")


def named_partitions(table: Table, named: dict[str, set[int]]) -> Partitions:
    pairs = [(lead, day(number)) for lead in named for number in named[lead]]
    match list(table.dimensions):
        case ["campaign", "day"]:
            return Partitions.of(pairs)
        case ["campaign"]:
            return Partitions.leading(named)
        case ["day"]:
            return Partitions.days(when for _, when in pairs)
        case _:
            return Partitions.whole()


@pytest.mark.parametrize("table", [DAILY, CAMPAIGN_DAILY, CAMPAIGNS, WHOLE], ids=lambda table: table.name)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(writes, min_size=1, max_size=4))
def test_any_sequence_of_writes_leaves_what_a_dict_of_partitions_would_hold(
    table: Table, sequence: list[tuple[dict[str, set[int]], int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake, model = Lake(str(tmp_path_factory.mktemp("lake"))), Model(table)
    for generation, (named, rows) in enumerate(sequence):
        frame, partitions = rows_for(table, named, rows, generation), named_partitions(table, named)
        commit = lake.write(table, frame, partitions)
        model.write(frame, partitions.values() if table.dimensions else [()])
        assert commit.version == generation + 1  # version 0 made the table
        assert_frame_equal(by_polars(lake, table), model.rows())
        if table.dimensions:
            assert_frame_equal(
                lake.read(table, partitions).sort(table.key).collect(), frame.sort(table.key), check_row_order=True
            )
    assert_frame_equal(by_duckdb(lake, table), model.rows())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, 9), max_size=4), order=st.randoms(use_true_random=False))
def test_any_split_of_a_range_into_writes_in_any_order_gives_the_same_rows(
    cuts: set[int], order: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("lake")
    pairs = [(lead, number) for lead in ("a", "b") for number in range(10)]
    rows = campaign_daily(pairs)
    once, split = Lake(str(root / "once")), Lake(str(root / "split"))
    once.write(CAMPAIGN_DAILY, rows, Partitions.of((lead, day(n)) for lead, n in pairs))
    edges = [0, *sorted(cuts), 10]
    pieces = [range(a, b) for a, b in pairwise(edges)]
    order.shuffle(pieces)
    for piece in pieces:
        named = [(lead, n) for lead in ("b", "a") for n in piece]
        frame = campaign_daily(named).sample(fraction=1, shuffle=True, seed=len(piece))
        split.write(CAMPAIGN_DAILY, frame, Partitions.of((lead, day(n)) for lead, n in named))
    assert_frame_equal(by_polars(split, CAMPAIGN_DAILY), by_polars(once, CAMPAIGN_DAILY))
    contents = [
        {str(Path(f).parent.relative_to(store.root)): Path(f).read_bytes() for f in store.files(CAMPAIGN_DAILY)}
        for store in (once, split)
    ]
    assert contents[0] == contents[1]


def test_two_campaigns_on_different_days_are_not_taken_for_all_campaigns_on_all_days(lake: Lake) -> None:
    everything = [(lead, n) for lead in "ab" for n in (0, 1)]
    lake.write(CAMPAIGN_DAILY, campaign_daily(everything), Partitions.of((c, day(n)) for c, n in everything))
    lake.write(CAMPAIGN_DAILY, campaign_daily([]), Partitions.of([("a", day(0)), ("b", day(1))]))
    assert [(p["campaign_id"], p["day"]) for p in lake.present(CAMPAIGN_DAILY)] == [("a", day(1)), ("b", day(0))]


def test_two_years_of_days_are_one_commit(lake: Lake) -> None:
    span = range(730)
    lake.write(CAMPAIGN_DAILY, campaign_daily([("a", 5), ("b", 5)]), Partitions.of([("a", day(5)), ("b", day(5))]))
    before = version(lake, CAMPAIGN_DAILY)
    commit = lake.write(
        CAMPAIGN_DAILY, campaign_daily((("a", n) for n in span), rows=1), Partitions.of(("a", day(n)) for n in span)
    )
    assert (commit.version, commit.rows, commit.partitions) == (before + 1, 730, 730)
    assert lake.read(CAMPAIGN_DAILY).collect().group_by("campaign_id").len().sort("campaign_id")["len"].to_list() == [
        730,
        2,
    ]


def test_more_partitions_than_a_commit_holds_go_in_chunks_and_none_is_lost(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "PARTITIONS_PER_COMMIT", 3)
    pairs = [(lead, n) for lead in "ab" for n in range(5)]
    commit = lake.write(CAMPAIGN_DAILY, campaign_daily(pairs), Partitions.of((c, day(n)) for c, n in pairs))
    assert (commit.version, commit.rows, commit.partitions) == (4, 20, 10)
    assert_frame_equal(by_polars(lake, CAMPAIGN_DAILY), campaign_daily(pairs))
    many = campaign_daily([(f"c{n}", 0) for n in range(5)]).drop("day")
    assert lake.write(CAMPAIGNS, many, Partitions.leading(f"c{n}" for n in range(5))).rows == 10
    assert by_polars(lake, CAMPAIGNS).height == 10


def test_a_commit_says_which_run_and_which_settings_made_it(lake: Lake) -> None:
    given = {"run_id": "r-1", "config_hash": "abc"}
    commit = lake.write(DAILY, daily([0]), Partitions.days(days([0])), given)
    newest = lake.history(DAILY)[0]
    assert (newest["version"], newest["run_id"], newest["config_hash"]) == (commit.version, "r-1", "abc")
    assert lake.history(WHOLE) == []


def test_files_are_zstd_and_equal_inputs_give_equal_files(lake: Lake) -> None:
    import pyarrow.parquet as pq

    lake.write(DAILY, daily([0]), Partitions.days(days([0])))
    first = lake.files(DAILY)
    lake.write(DAILY, daily([0]).reverse(), Partitions.days(days([0])))
    second = lake.files(DAILY)
    assert first != second
    assert Path(first[0]).read_bytes() == Path(second[0]).read_bytes()
    assert pq.ParquetFile(second[0]).metadata.row_group(0).column(0).compression == "ZSTD"


def test_every_stored_type_comes_back_the_same_through_polars_and_duckdb(lake: Lake) -> None:
    rows = pl.DataFrame(
        {
            "day": [day(0), day(0)],
            "text": ["a", "b"],
            "small": [-3, None],
            "real": [0.1, None],
            "yes": [True, None],
            "moment": [datetime(2026, 1, 1, 12, 30, 0, 5, UTC), None],
            "price": [Decimal("12.3400"), None],
            "words": [["x", "it's", None], None],
            "vector": [[0.5, -1.0], []],
            "log": [[{"gate": "age", "seen": 1.5}, {"gate": None, "seen": None}], None],
        },
        schema=ALL_TYPES.dtypes,
    )
    lake.write(ALL_TYPES, rows, Partitions.days(days([0])))
    assert_frame_equal(by_polars(lake, ALL_TYPES), rows)
    from_duckdb = by_duckdb(lake, ALL_TYPES)
    assert_frame_equal(from_duckdb.cast(ALL_TYPES.dtypes), rows)
    assert from_duckdb["moment"].dt.convert_time_zone("UTC").to_list() == rows["moment"].to_list()


# The declaration changes


class DailyWithMore(dy.Schema):
    day = dy.Date(primary_key=True)
    n = dy.Int64(primary_key=True)
    generation = dy.Int64(min=0)
    note = dy.String(nullable=True)
    score = dy.Float64(nullable=True)
    tags = dy.List(dy.String(nullable=True), nullable=True)


class DailyWithRequired(dy.Schema):
    day = dy.Date(primary_key=True)
    n = dy.Int64(primary_key=True)
    generation = dy.Int64(min=0)
    note = dy.String(nullable=True)
    score = dy.Float64()


class DailyWithFractions(dy.Schema):
    day = dy.Date(primary_key=True)
    n = dy.Int64(primary_key=True)
    generation = dy.Float64(min=0)
    note = dy.String(nullable=True)


class DailyWithoutNote(dy.Schema):
    day = dy.Date(primary_key=True)
    n = dy.Int64(primary_key=True)
    generation = dy.Int64(min=0)


class DailyWithoutGeneration(dy.Schema):
    day = dy.Date(primary_key=True)
    n = dy.Int64(primary_key=True)
    note = dy.String(nullable=True)


def redeclared(schema: type[dy.Schema]) -> Table:
    return Table("daily", schema, "One row per day and number.", {"day": "day"}, ("day", "n"))


def test_a_new_nullable_column_reads_as_null_in_older_rows(lake: Lake) -> None:
    lake.write(DAILY, daily([0]), Partitions.days(days([0])))
    wider = redeclared(DailyWithMore)
    old = daily([0]).with_columns(score=pl.lit(None, pl.Float64), tags=pl.lit(None, pl.List(pl.String)))
    assert_frame_equal(by_polars(lake, wider), old)
    assert_frame_equal(by_duckdb(lake, wider), old)
    new = daily([1]).with_columns(score=pl.lit(0.5), tags=pl.lit(["x"]))
    lake.write(wider, new, Partitions.days(days([1])))
    assert_frame_equal(by_polars(lake, wider), pl.concat([old, new]))
    assert_frame_equal(by_duckdb(lake, wider), pl.concat([old, new]))
    lake.write(wider, wider.empty(), Partitions.days(days([1])))
    assert_frame_equal(by_duckdb(lake, wider), old)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (DailyWithRequired, r"new column score, which may not be null.*declare it nullable or remove .*daily"),
        (DailyWithFractions, r"column generation is stored as long but declared as double; remove .*daily"),
        (DailyWithoutGeneration, r"required column generation is declared no longer; remove .*daily"),
    ],
)
def test_a_change_that_older_rows_cannot_follow_gives_one_clear_line(
    lake: Lake, schema: type[dy.Schema], said: str
) -> None:
    lake.write(DAILY, daily([0]), Partitions.days(days([0])))
    before, changed = version(lake, DAILY), redeclared(schema)
    rows = changed.shaped(daily([1]).with_columns(score=pl.lit(1.0)))
    with pytest.raises(UserError, match=said):
        lake.write(changed, rows, Partitions.days(days([1])))
    assert version(lake, DAILY) == before


def test_a_column_that_is_declared_no_longer_stays_in_older_rows_and_is_null_in_new_ones(lake: Lake) -> None:
    lake.write(DAILY, daily([0]).with_columns(note=pl.lit("kept")), Partitions.days(days([0])))
    narrower = redeclared(DailyWithoutNote)
    lake.write(narrower, daily([1]).drop("note"), Partitions.days(days([1])))
    assert_frame_equal(by_polars(lake, narrower), daily([0, 1]).drop("note"))
    assert_frame_equal(by_duckdb(lake, narrower), daily([0, 1]).drop("note"))
    assert by_polars(lake, DAILY)["note"].to_list() == ["kept", "kept", None, None]


# What a read opens


def test_a_read_opens_the_files_of_the_asked_partitions_alone(lake: Lake) -> None:
    pairs = [(lead, n) for lead in "ab" for n in range(4)]
    lake.write(CAMPAIGN_DAILY, campaign_daily(pairs), Partitions.of((c, day(n)) for c, n in pairs))
    asked = Partitions.of([("a", day(1)), ("b", day(3)), ("c", day(0))])
    files = lake.files(CAMPAIGN_DAILY, asked)
    assert [Path(f).parent.relative_to(lake.uri(CAMPAIGN_DAILY)).as_posix() for f in files] == [
        "campaign_id=a/day=2026-01-02",
        "campaign_id=b/day=2026-01-04",
    ]
    for other in set(lake.files(CAMPAIGN_DAILY)) - set(files):
        Path(other).unlink()
    assert_frame_equal(
        lake.read(CAMPAIGN_DAILY, asked).sort(CAMPAIGN_DAILY.key).collect(), campaign_daily([("a", 1), ("b", 3)])
    )
    assert_frame_equal(lake.read_days(CAMPAIGN_DAILY, day(3), day(9), "b").collect(), campaign_daily([("b", 3)]))


def test_no_partitions_asked_is_no_rows_rather_than_all(lake: Lake) -> None:
    lake.write(DAILY, daily([0]), Partitions.days(days([0])))
    for none in (Partitions.of([]), Partitions.days([])):
        assert_frame_equal(lake.read(DAILY, none).collect(), DAILY.empty())


def test_a_table_never_written_reads_as_typed_and_empty(lake: Lake) -> None:
    for table in (DAILY, WHOLE, ALL_TYPES):
        assert_frame_equal(lake.read(table).collect(), table.empty())
        assert lake.files(table) == [] == lake.present(table) == lake.history(table)
        assert lake.vacuum(table) == 0
    assert not Path(lake.root).exists()


def test_present_counts_the_rows_of_each_partition_and_forgets_cleared_ones(lake: Lake) -> None:
    lake.write(DAILY, daily([0, 1, 2], rows=3), Partitions.days(days([0, 1, 2])))
    lake.write(DAILY, daily([]), Partitions.days(days([1])))
    found = lake.present(DAILY)
    assert [(p["day"], p["rows"]) for p in found] == [(day(0), 3), (day(2), 3)]
    assert all(p["bytes"] > 0 for p in found)


@pytest.mark.parametrize("name", ["my lake", "it's", "lake #1", "Müller", 'a"b', "a:b"])
def test_a_lake_may_stand_in_a_directory_with_an_odd_name(tmp_path: Path, name: str) -> None:
    lake = Lake(str(tmp_path / name))
    lake.write(CAMPAIGN_DAILY, campaign_daily([("a", 0)]), Partitions.of([("a", day(0))]))
    lake.write(WHOLE, campaign_daily([("a", 0)]).select(list(WHOLE.dtypes)), Partitions.whole())
    assert_frame_equal(lake.read(CAMPAIGN_DAILY, Partitions.of([("a", day(0))])).collect(), campaign_daily([("a", 0)]))
    assert_frame_equal(by_duckdb(lake, CAMPAIGN_DAILY), campaign_daily([("a", 0)]))
    assert_frame_equal(by_duckdb(lake, WHOLE), by_polars(lake, WHOLE))


@pytest.mark.parametrize("name", ["a%20b", "x=1", "a[b]", "a*b", "a?b", "a\\b"])
def test_a_lake_in_a_directory_that_readers_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="use another directory"):
        Lake(str(tmp_path / name))


# What is kept


def age(folder: Path, past: timedelta) -> None:
    then = time.time() - past.total_seconds()
    for file in folder.rglob("*.parquet"):
        os.utime(file, (then, then))


def test_vacuum_keeps_a_week_and_so_the_files_an_open_reader_needs(lake: Lake) -> None:
    lake.write(DAILY, daily([0]), Partitions.days(days([0])))
    reader, session = lake.read(DAILY), open_in_memory(lake, [DAILY])
    lake.write(DAILY, daily([0], generation=1), Partitions.days(days([0])))
    assert lake.vacuum(DAILY) == 0
    assert_frame_equal(reader.collect(), daily([0]))
    assert session.sql("SELECT DISTINCT generation FROM daily").fetchall() == [(0,)]
    assert DeltaTable(lake.uri(DAILY), version=1).to_pyarrow_table().num_rows == 2
    session.close()
    assert lake.vacuum(DAILY, retention=timedelta(0)) == 1
    assert_frame_equal(by_polars(lake, DAILY), daily([0], generation=1))


def test_vacuum_removes_what_a_killed_writer_left_once_it_is_a_week_old(lake: Lake) -> None:
    lake.write(DAILY, daily([0]), Partitions.days(days([0])))
    folder = Path(lake.uri(DAILY))
    orphan = folder / "day=2026-01-01" / "part-00000-left-behind.zstd.parquet"
    orphan.write_bytes(b"half")
    assert lake.vacuum(DAILY) == 0
    age(folder, timedelta(days=8))
    assert lake.vacuum(DAILY) == 1
    assert not orphan.exists()
    assert_frame_equal(by_polars(lake, DAILY), daily([0]))


# Dagster's keys


def test_keys_of_one_dimension_name_its_partitions() -> None:
    assert partitions_of(WHOLE, []) == Partitions.whole()
    assert partitions_of(DAILY, ["2026-01-02", "2026-01-01"]) == Partitions.days(days([0, 1]))
    assert partitions_of(CAMPAIGNS, ["b", "a"]) == Partitions.leading(["a", "b"])


def test_keys_of_two_dimensions_name_the_same_partitions_as_objects_and_as_text() -> None:
    expected = Partitions.of([("acme", date(2026, 1, 1)), ("acme", date(2026, 1, 2)), ("zeta", date(2026, 1, 2))])
    named = [
        dg.MultiPartitionKey({"day": when, "campaign": campaign})
        for campaign, when in [("zeta", "2026-01-02"), ("acme", "2026-01-01"), ("acme", "2026-01-02")]
    ]
    assert partitions_of(CAMPAIGN_DAILY, named) == expected
    assert partitions_of(CAMPAIGN_DAILY, [str(key) for key in named]) == expected
    videos = Table("v", CAMPAIGN_DAILY.schema, "", {"zone": "campaign_id", "day": "day"}, ("n",))
    key = dg.MultiPartitionKey({"zone": "acme", "day": "2026-01-01"})
    assert str(key) == "2026-01-01|acme"
    assert partitions_of(videos, [str(key)]) == partitions_of(videos, [key]) == Partitions.of([("acme", day(0))])

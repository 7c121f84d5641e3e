"""Price archives: what counts as a price, which file wins, and that nothing is dropped without being told."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.sources.price_files import BAD, PRICES, price_fingerprints, read_early_closes, read_prices
from magpie.videos.tables import DAILY_PRICES

HEAD = "symbol,date,open,high,low,close,adj_close,volume,currency"


def written(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def closes(path: Path) -> dict[tuple[str, date], float]:
    rows = read_prices([path]).prices
    return {(symbol, day): close for symbol, day, close in rows.select("symbol", "day", "adj_close").iter_rows()}


def complaints(path: Path) -> list[tuple[int, str]]:
    return read_prices([path]).bad.select("row", "why").rows()


def test_the_columns_are_those_of_daily_prices() -> None:
    assert dict(PRICES) == dict(DAILY_PRICES.dtypes)


def test_a_plain_file_is_read_column_by_column(tmp_path: Path) -> None:
    path = written(tmp_path / "prices.csv", HEAD, "NVDA,2026-03-02,10,12,9,11,10.5,1000,USD")
    read = read_prices([path])
    assert read.prices.rows() == [
        ("NVDA", date(2026, 3, 2), 10.0, 12.0, 9.0, 11.0, 10.5, 1000, "USD", "prices.csv"),
    ]
    assert (read.bad.height, read.bad.schema) == (0, BAD)


@pytest.mark.parametrize(
    "head",
    ["Date,Open,High,Low,Close,Adj Close,Volume", "date,open,high,low,close,adj_close,vol"],
)
def test_names_of_columns_are_taken_as_vendors_write_them_and_the_file_names_the_symbol(
    tmp_path: Path, head: str
) -> None:
    path = tmp_path / "brk-b.csv"
    path.write_bytes(f"\ufeff{head}\r\n2026-03-02,1,2,1,2,1.5,7\r\n".encode())
    assert closes(path) == {("BRK.B", date(2026, 3, 2)): 1.5}


def test_pairs_keep_their_hyphen_and_indices_their_mark(tmp_path: Path) -> None:
    path = written(
        tmp_path / "p.csv", "ticker,date,close", *(f"{name},2026-03-02,5" for name in ("btc-usd", "^gspc", "$nvda"))
    )
    assert {symbol for symbol, _ in closes(path)} == {"BTC-USD", "^GSPC", "NVDA"}


def test_without_adjusted_closes_the_close_is_taken(tmp_path: Path) -> None:
    path = written(tmp_path / "SPY.csv", "date,close", "2026-03-02,400")
    assert closes(path) == {("SPY", date(2026, 3, 2)): 400.0}


def test_a_day_may_carry_midnight_or_be_written_without_dashes(tmp_path: Path) -> None:
    days = ("2026-03-02 00:00:00-05:00,1", "2026-03-03T00:00:00,2", "20260304,3")
    path = written(tmp_path / "SPY.csv", "date,close", *days)
    assert [day.day for _, day in closes(path)] == [2, 3, 4]


def test_what_is_no_price_is_told_with_its_row_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = written(
        tmp_path / "prices.csv",
        HEAD,
        "NVDA,2026-03-02,10,12,9,11,11,1000,USD",
        "NVDA,03/03/2026,10,12,9,11,11,1000,USD",
        "NVDA,2026-02-30,10,12,9,11,11,1000,USD",
        "NVDA,2026-03-04,10,12,9,0,11,1000,USD",
        "NVDA,2026-03-05,10,12,9,-3,11,1000,USD",
        "NVDA,2026-03-06,10,12,9,NaN,11,1000,USD",
        "NVDA,2026-03-09,10,12,9,11,,1000,USD",
        "NVDA,2026-03-10,10,12,9,inf,11,1000,USD",
        "NVDA,2026-03-11,0,12,9,11,11,1000,USD",
        "NVDA,2026-03-12,10,12,9,11,11,-1,USD",
        "not a symbol,2026-03-13,10,12,9,11,11,1000,USD",
        "NVDA,2026-03-16,10,12,9,1,011,11,1000,USD",
        "NVDA,2026-03-17",
        "NVDA,2026-03-18,,,,11,11,,",
    )
    assert complaints(path) == [
        (3, "date '03/03/2026' is not YYYY-MM-DD"),
        (4, "date '2026-02-30' is not YYYY-MM-DD"),
        (5, "close '0' is not a number above 0"),
        (6, "close '-3' is not a number above 0"),
        (7, "close is missing"),
        (8, "adj_close is missing"),
        (9, "close 'inf' is not a number above 0"),
        (10, "open '0' is not a number above 0"),
        (11, "volume '-1' is not a count"),
        (12, "'not a symbol' is no symbol"),
        (13, "more cells than the header; quote values that hold a comma"),
        (14, "close is missing"),
    ]
    assert [day.day for _, day in closes(path)] == [2, 18]


def test_blank_lines_are_no_rows_and_short_lines_are(tmp_path: Path) -> None:
    path = written(tmp_path / "p.csv", "symbol,date,close", "SPY", "", "SPY,2026-03-02,1", "SPY,2026-03-03,x", "")
    assert complaints(path) == [(2, "date '' is not YYYY-MM-DD"), (5, "close 'x' is not a number above 0")]


def test_the_later_path_wins_and_in_a_folder_the_last_file_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "prices"
    written(folder / "a.csv", "symbol,date,close", "SPY,2026-03-02,1", "SPY,2026-03-03,1")
    written(folder / "deeper" / "b.csv", "symbol,date,close", "SPY,2026-03-03,2", "SPY,2026-03-03,3")
    written(folder / "readme.txt", "no prices")
    corrected = written(tmp_path / "a_correction.csv", "symbol,date,close", "SPY,2026-03-02,9")
    found = read_prices([folder, corrected]).prices
    assert found.select("close", "source").rows() == [(9.0, "a_correction.csv"), (3.0, "deeper/b.csv")]
    assert read_prices([corrected, folder]).prices["close"].to_list() == [1.0, 3.0]
    assert read_prices([tmp_path / "prices" / "*.csv"]).prices["source"].to_list() == ["a.csv", "a.csv"]


def test_a_file_that_is_new_or_changed_changes_the_fingerprints(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "symbol,date,close", "SPY,2026-03-02,1")
    first = price_fingerprints([tmp_path])
    assert first == price_fingerprints([tmp_path]) and [name for name, _, _ in first] == ["a.csv"]
    written(path, "symbol,date,close", "SPY,2026-03-02,11")
    second = price_fingerprints([tmp_path])
    written(tmp_path / "b.csv", "symbol,date,close")
    assert len({str(found) for found in (first, second, price_fingerprints([tmp_path]))}) == 3


def test_parquet_is_read_with_the_types_that_libraries_write(tmp_path: Path) -> None:
    moments = [datetime(2026, 3, 2, 5, tzinfo=UTC), datetime(2026, 3, 3, 5, tzinfo=UTC), None]
    frame = pl.DataFrame({"Date": moments, "Close": [400, 401, 402], "Volume": [1.0, float("nan"), 3.0]})
    path = tmp_path / "SPY.parquet"
    frame.with_columns(pl.col("Date").dt.convert_time_zone("America/New_York")).write_parquet(path)
    read = read_prices([path])
    assert read.prices.select("symbol", "day", "close", "volume").rows() == [
        ("SPY", date(2026, 3, 2), 400.0, 1),
        ("SPY", date(2026, 3, 3), 401.0, None),
    ]
    assert read.bad["row"].to_list() == [3]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("SPY.csv", "date,price\n2026-03-02,1\n", "no column 'close', only date, price"),
        ("SPY.csv", "open,close\n1,1\n", "no column 'date'"),
        ("SPY.csv", "", "header"),
        ("SPY.csv", "date,close\n02.03.2026,1\n", "not one usable row; row 2: date '02.03.2026'"),
        ("SPY.xlsx", "PK", "not a .csv or .parquet or .pq file"),
        ("SPY.parquet", "no parquet", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_no_price_file_is_refused_with_what_to_do(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_prices([path])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "*.csv"])
def test_a_path_that_names_nothing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="mend `prices`"):
        read_prices([tmp_path / name])
    with pytest.raises(UserError, match="mend `prices`"):
        read_prices([tmp_path])


def test_a_file_with_a_header_alone_and_no_paths_at_all_hold_no_prices(tmp_path: Path) -> None:
    assert read_prices([written(tmp_path / "SPY.csv", "date,close")]).prices.is_empty()
    assert read_prices([]).prices.schema == PRICES


CELL = st.sampled_from(
    ["NVDA", "2026-03-02", "1.5", "0", "-1", "nan", "1e400", "", '"', '"1,5"', "é", "x" * 50, "\x00"]
)


@settings(max_examples=120, deadline=None)
@given(rows=st.lists(st.lists(CELL, max_size=11), max_size=8))
def test_whatever_a_file_holds_prices_are_positive_and_every_row_is_either_good_or_told(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "p.csv"
    good = "NVDA,2026-03-02,1,1,1,1,1,1,USD"
    path.write_text("\n".join([HEAD, good, *(",".join(row) for row in rows)]), encoding="utf-8")
    try:
        read = read_prices([path])
    except UserError:
        return
    for name in ("open", "high", "low", "close", "adj_close"):
        held = read.prices[name].drop_nulls()
        assert (held > 0).all() and held.is_finite().all()
    assert read.prices["adj_close"].null_count() == 0
    assert read.bad["why"].null_count() == 0


def test_early_closes_are_days_with_a_local_time(tmp_path: Path) -> None:
    for head in ("date,close", "date,close_time", "Date,Close Time"):
        path = written(tmp_path / "early.csv", head, "2026-11-27,13:00", "2026-12-24,13:00")
        assert read_early_closes(path) == {date(2026, 11, 27): time(13), date(2026, 12, 24): time(13)}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2026-11-27,1 pm", "row 3: '2026-11-27', '1 pm' is no date with a time"),
        ("27.11.2026,13:00", "row 3"),
        ("2026-11-27", "row 3"),
        ("2026-12-24,14:00", "2026-12-24 is there twice"),
        ("2026-11-27,13:00+01:00", "names a zone"),
    ],
)
def test_an_early_close_that_cannot_be_read_is_refused_with_its_row(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("+", r"\+")):
        read_early_closes(written(tmp_path / "early.csv", "date,close", "2026-12-24,13:00", line))

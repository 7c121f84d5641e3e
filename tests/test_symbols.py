"""The reference table: normal forms, names that are alike, and files that say what is wrong with them."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.videos.symbols import SymbolTable, folded_name, is_symbol, normal_symbol, read_symbols
from magpie.videos.tables import SYMBOLS


def row(symbol: str, name: str, *aliases: str, asset_type: str = "equity", active: bool = True) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "name": name,
        "aliases": list(aliases),
        "asset_type": asset_type,
        "exchange": None,
        "active": active,
    }


def table(*rows: dict[str, Any]) -> SymbolTable:
    return SymbolTable.of(pl.DataFrame(rows, schema=SYMBOLS.dtypes))


KNOWN = table(
    row("BMI", "Badger Meter, Inc."),
    row("BMNR", "BitMine Immersion Technologies, Inc."),
    row("GOOGL", "Alphabet Inc.", "Google"),
    row("WH", "Wyndham Hotels & Resorts, Inc.", "Wyndham"),
    row("WYNN", "Wynn Resorts, Limited"),
    row("MCD", "McDonald's Corporation", "~mick donald"),
    row("BTC-USD", "Bitcoin", asset_type="crypto"),
    row("OLD", "Yonder Mills Inc.", active=False),
)


@pytest.mark.parametrize(
    ("raw", "normal", "valid"),
    [
        ("brk-b", "BRK.B", True),
        ("$nvda", "NVDA", True),
        (" BRK/B ", "BRK.B", True),
        ("brk b", "BRK.B", True),
        ("btc-usd", "BTC-USD", True),
        ("$ETH/USD", "ETH-USD", True),
        ("ＮＶＤＡ", "NVDA", True),
        ("NVIDIA", "NVIDIA", False),
        ("NASDAQ:NVDA", "NASDAQ:NVDA", False),
        ("7203", "7203", False),
        ("BRK.BB", "BRK.BB", False),
        ("nvda\n", "NVDA", True),
        ("ß", "ß", False),
        ("$", "", False),
        ("", "", False),
    ],
)
def test_symbols_have_one_normal_form(raw: str, normal: str, valid: bool) -> None:
    assert normal_symbol(raw) == normal
    assert is_symbol(normal) == valid


@given(st.text(max_size=20))
def test_a_normal_form_is_its_own_normal_form_when_it_is_a_symbol(raw: str) -> None:
    once = normal_symbol(raw)
    if is_symbol(once):
        assert normal_symbol(once) == once


@given(st.from_regex(r"[A-Z]{1,5}(\.[A-Z])?|[A-Z0-9]{2,10}-USD", fullmatch=True))
def test_every_symbol_survives_however_it_is_written(symbol: str) -> None:
    for written in (symbol, f"${symbol}", f" {symbol.lower()} ", symbol.replace(".", "-"), symbol.replace(".", "/")):
        assert normal_symbol(written) == symbol
    assert is_symbol(symbol)


@pytest.mark.parametrize(
    ("name", "symbol", "ratio"),
    [
        ("BitMine", "BMI", 31.6),
        ("BitMine", "BMNR", 100.0),
        ("Google", "GOOGL", 100.0),
        ("the Badger Meter Company", "BMI", 100.0),
        ("Mcdonalds", "MCD", 100.0),
        ("Mick Donald", "MCD", 60.0),
    ],
)
def test_names_are_as_alike_as_rapidfuzz_finds_them(name: str, symbol: str, ratio: float) -> None:
    assert KNOWN.match(name, symbol) == pytest.approx(ratio, abs=0.05)


def test_a_hotel_is_not_a_casino_and_google_is_alphabet_only_by_its_alias() -> None:
    bare = table(row("WH", "Wyndham Hotels"), row("GOOGL", "Alphabet Inc."))
    assert table(row("WH", "Wyndham Hotels Resorts")).match("Wynn", "WH") == pytest.approx(23.1, abs=0.05)
    assert bare.match("Wynn", "WH") < 80
    assert bare.match("Google", "GOOGL") == pytest.approx(28.6, abs=0.05)


def test_the_best_name_is_suggested_and_none_that_is_only_a_little_alike() -> None:
    assert KNOWN.suggest("BitMine", 90) == "BMNR"
    assert KNOWN.suggest("Wynn", 90) == "WYNN"
    assert KNOWN.suggest("Quilted Harbour", 90) is None
    assert KNOWN.suggest("?!", 90) is None


def test_a_security_that_is_gone_is_known_and_never_suggested() -> None:
    assert KNOWN.match("Yonder Mills", "OLD") == 100.0
    assert KNOWN.suggest("Yonder Mills", 90) is None


def test_of_names_that_hold_the_words_the_closest_is_suggested_in_whatever_order_they_stand() -> None:
    rows = [row("AAL", "American Airlines Group"), row("AMX", "American"), row("AEP", "American Electric Power")]
    assert table(*rows).suggest("American", 90) == "AMX"
    assert table(*reversed(rows)).suggest("American", 90) == "AMX"


def test_a_crypto_currency_is_known_without_its_pair_unless_a_share_has_the_letters() -> None:
    assert KNOWN.resolve("BTC") == "BTC-USD"
    assert KNOWN.resolve("NVDA") == "NVDA"
    both = table(row("BTC", "Some Bitcoin Trust", asset_type="etf"), row("BTC-USD", "Bitcoin", asset_type="crypto"))
    assert both.resolve("BTC") == "BTC"
    no_crypto = table(row("BTC-USD", "Big Tulip Company Units"))
    assert no_crypto.resolve("BTC") == "BTC"


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("The Coca-Cola Company", "coca cola"),
        ("Alphabet Inc. Class A Common Stock", "alphabet"),
        ("McDonald’s Corp.", "mcdonalds"),
        ("Holdings Group", "holdings group"),
        ("AT&T Inc.", "at t"),
        ("", ""),
    ],
)
def test_names_are_compared_without_what_all_companies_are_called(name: str, folded: str) -> None:
    assert folded_name(name) == folded


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_csv_file_is_read_with_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    path = written(tmp_path / "s.csv", "Symbol,Name\nbrk-b,Berkshire Hathaway\nNA,Nano Acorn\nTRUE,True Corp\n")
    read = read_symbols(path)
    assert read.schema == SYMBOLS.dtypes
    assert read["symbol"].to_list() == ["BRK.B", "NA", "TRUE"]
    assert read.row(0, named=True) == row("BRK.B", "Berkshire Hathaway")
    SYMBOLS.schema.validate(read)


def test_a_csv_file_may_say_everything(tmp_path: Path) -> None:
    lines = (
        "symbol,name,aliases,asset_type,exchange,active",
        'nvda,"Nvidia, Inc.",NVIDIA ; ~and video;; NVIDIA;~,Equity,NASDAQ,Yes',
        "btc,Bitcoin,,crypto,,",
        "GONE,Gone Inc,,equity,NYSE,false",
    )
    read = read_symbols(written(tmp_path / "s.csv", "\n".join(lines)))
    assert read["aliases"].to_list() == [["NVIDIA", "~and video"], [], []]
    assert read["symbol"].to_list() == ["NVDA", "BTC-USD", "GONE"]
    assert read["exchange"].to_list() == ["NASDAQ", None, "NYSE"]
    assert read["active"].to_list() == [True, True, False]


def test_parquet_may_hold_aliases_as_lists_and_truths_as_such(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pl.DataFrame(
        {"symbol": ["A", "B"], "name": ["x", "y"], "aliases": [["p", "q"], None], "active": [False, None]}
    ).write_parquet(path)
    read = read_symbols(path)
    assert read["aliases"].to_list() == [["p", "q"], []]
    assert read["active"].to_list() == [False, True]


def test_the_list_of_the_sec_is_read(tmp_path: Path) -> None:
    held = {
        "0": {"cik_str": 1045810, "ticker": "NVDA", "title": "NVIDIA CORP"},
        "1": {"cik_str": 1067983, "ticker": "BRK-B", "title": "BERKSHIRE HATHAWAY INC"},
    }
    read = read_symbols(written(tmp_path / "company_tickers.json", json.dumps(held)))
    assert read["symbol"].to_list() == ["NVDA", "BRK.B"]
    assert read["asset_type"].unique().to_list() == ["equity"]
    assert SymbolTable.of(read).match("Nvidia", "NVDA") == 100.0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.csv", "symbol,title\nA,x\n", "s.csv: column name is missing; add it (there are: symbol, title)"),
        ("s.csv", "symbol,name\nA,x\nB,y\n$a,z\n", "s.csv, row 3: symbol A is in row 1 already; remove one"),
        ("s.csv", "symbol,name,asset_type\nA,x,stock\n", "s.csv, row 1: unknown asset_type stock; use one of equity, "),
        ("s.csv", "symbol,name\n,x\n", "s.csv, row 1: symbol is empty; fill it in or remove the row"),
        ("s.csv", "symbol,name\nA,x\nB,\n", "s.csv, row 2: name is empty; fill it in or remove the row"),
        ("s.csv", "symbol,name,active\nA,x,perhaps\n", "s.csv, row 1: active is perhaps; use true or false"),
        ("s.csv", "", "cannot read the symbols"),
        ("s.parquet", "no parquet", "cannot read the symbols"),
        ("s.json", "{", "cannot read the symbols"),
        ("s.json", '{"fields": ["ticker"], "data": []}', "s.json: no SEC company_tickers.json"),
        ("s.json", "[]", "s.json: no SEC company_tickers.json"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_symbols(written(tmp_path / name, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv"):
        read_symbols(tmp_path / "none.csv")

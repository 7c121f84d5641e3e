"""Files of daily prices, and of the days on which the exchange closes early.

Belongs here: finding these files, CSV and Parquet as data vendors and people write them, and which rows are no prices.
Does not belong here: what prices are for (`magpie/videos`).

A file holds one row per symbol and day. The case of column names, spaces and punctuation in them do not matter:
`Adj Close` and `adj_close` are one. `date` and `close` must be there; without a `symbol` column the name of the file
is the symbol (`BRK-B.csv`). Adjusted closes are those of the file's day: where a dividend came later, files from before
and after it do not fit together, so a symbol's history belongs into one download.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path

import polars as pl

from magpie.errors import UserError

CSV_ENDINGS = (".csv",)
PARQUET_ENDINGS = (".parquet", ".pq")
ENDINGS = (*CSV_ENDINGS, *PARQUET_ENDINGS)

PRICES = pl.Schema(
    {
        "symbol": pl.String(),
        "day": pl.Date(),
        "open": pl.Float64(),
        "high": pl.Float64(),
        "low": pl.Float64(),
        "close": pl.Float64(),
        "adj_close": pl.Float64(),
        "volume": pl.Int64(),
        "currency": pl.String(),
        "source": pl.String(),
    }
)
BAD = pl.Schema({"source_file": pl.String(), "row": pl.Int64(), "why": pl.String()})

# Column names in lower case without anything but letters and digits, as Yahoo, Nasdaq, Stooq, pandas and people write
# them, the better name first.
_NAMES = {
    "symbol": ("symbol", "ticker"),
    "day": ("date", "day", "datetime"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close", "closelast"),
    "adj_close": ("adjclose", "adjustedclose"),
    "volume": ("volume", "vol"),
    "currency": ("currency",),
}
_REQUIRED = ("day", "close")
# What pandas, R and vendors write for nothing.
_NOTHING = ("", "nan", "null", "none", "na", "n/a", "-")
# Above this a count of shares does not fit the column.
_MAX_VOLUME = float(2**53)
# Listed symbols, indices (^GSPC), currency pairs (EURUSD=X) and crypto (BTC-USD); whatever is longer is no symbol.
_SYMBOL = r"^\^?[A-Z0-9]{1,12}(?:[.=-][A-Z0-9]{1,6})*$"
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class PriceRows:
    """What files hold.

    Attributes:
        prices: `PRICES`, one row per symbol and day, sorted by them.
        bad: `BAD`: rows that are no prices, with their number in the file (the header is row 1) and why.
    """

    prices: pl.DataFrame
    bad: pl.DataFrame


def read_prices(paths: Sequence[Path]) -> PriceRows:
    """Read CSV and Parquet files, folders (searched through) and globs.

    Where two rows have the same symbol and day, the later path wins, in a folder or glob the last file by name, in a
    file the last row. `source` is the path of the file below the folder that was given.

    Raises:
        UserError: a path that names no file, a file that cannot be read, lacks a column, or holds not one good row.
    """
    read = [_read_file(path, source) for path, source in _files(paths)]
    if not read:
        return PriceRows(pl.DataFrame(schema=PRICES), pl.DataFrame(schema=BAD))
    prices = pl.concat([rows.prices for rows in read]).unique(["symbol", "day"], keep="last", maintain_order=True)
    return PriceRows(prices.sort("symbol", "day"), pl.concat([rows.bad for rows in read]))


def price_fingerprints(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Return name below its folder, bytes and time of change (ns) of each file that `read_prices` would read.

    Raises:
        UserError: a path that names no file.
    """
    return [(source, path.stat().st_size, path.stat().st_mtime_ns) for path, source in _files(paths)]


def read_early_closes(path: Path) -> dict[date, time]:
    """Read the days on which the exchange closes early, with the local time: a CSV of `date` and `close` (13:00).

    Raises:
        UserError: the file cannot be read, lacks a column, or a row is not a day with a time or comes twice.
    """
    names = {"day": ("date", "day"), "closes": ("closetime", "close", "time")}
    frame = _labelled(_read_csv(path), path, names)
    found: dict[date, time] = {}
    for row, day, closes in frame.select("row", "day", "closes").iter_rows():
        try:
            when = date.fromisoformat((day or "").strip())
            clock = time.fromisoformat((closes or "").strip())
        except ValueError as error:
            raise UserError(
                f"{path}, row {row}: {day!r}, {closes!r} is no date with a time; write 2026-11-27,13:00"
            ) from error
        if when in found:
            raise UserError(f"{path}, row {row}: {when} is there twice; keep one of the two rows")
        if clock.tzinfo is not None:
            raise UserError(f"{path}, row {row}: {closes!r} names a zone; write the time in New York, such as 13:00")
        found[when] = clock
    return found


def _files(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """The files in the order in which they win, each once, with the name under which rows tell their source."""
    found: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            base, inside = path, [file for file in path.rglob("*") if file.is_file() and _is_price_file(file)]
        elif path.is_file():
            base, inside = path.parent, [path]
        elif _GLOB.search(str(path)):
            base = next(parent for parent in path.parents if not _GLOB.search(str(parent)))
            inside = [file for file in base.glob(str(path.relative_to(base))) if file.is_file()]
        else:
            raise UserError(f"{path}: no such file or folder; mend `prices` in the settings")
        if not inside:
            raise UserError(f"{path}: holds no {' or '.join(ENDINGS)} file; mend `prices` in the settings")
        for file in sorted(inside):
            found.pop(file, None)
            found[file] = file.relative_to(base).as_posix()
    return list(found.items())


def _is_price_file(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _read_file(path: Path, source: str) -> PriceRows:
    if not _is_price_file(path):
        raise UserError(f"{path}: not a {' or '.join(ENDINGS)} file; convert it, or take it out of `prices`")
    raw = _read_parquet(path) if path.suffix.lower() in PARQUET_ENDINGS else _read_csv(path)
    frame = _labelled(raw, path, _NAMES, _REQUIRED)
    if "symbol" not in frame.columns:
        frame = frame.with_columns(pl.lit(path.stem).alias("symbol"))
    judged = _judged(frame)
    bad = judged.filter(pl.col("why").is_not_null()).select(
        pl.lit(source).alias("source_file"), pl.col("row").cast(pl.Int64), "why"
    )
    if bad.height and bad.height == judged.height:
        first = bad.row(0, named=True)
        raise UserError(f"{path}: not one usable row; row {first['row']}: {first['why']}")
    good = judged.filter(pl.col("why").is_null()).with_columns(pl.lit(source).alias("source"))
    return PriceRows(good.select(list(PRICES)).cast(PRICES), bad)


def _read_csv(path: Path) -> pl.DataFrame:
    """Every cell as text, with `row`, and `surplus` where a row has more cells than the header."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            head = next(csv.reader(file), [])
        if len(set(head)) != len(head) or not head:
            raise UserError(f"{path}: the first line must be a header of distinct column names")
        # Named one by one with one column more, so that a row with an unquoted comma is seen and not cut.
        frame = pl.read_csv(
            path,
            has_header=False,
            skip_rows=1,
            schema=dict.fromkeys([*head, "surplus"], pl.String()),
            missing_columns="insert",
            truncate_ragged_lines=True,
            encoding="utf8-lossy",
            raise_if_empty=False,
        )
    except (OSError, csv.Error, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    surplus = pl.col("surplus").str.strip_chars().fill_null("") != ""
    # A blank line keeps its number and is no row.
    numbered = frame.with_columns(surplus).with_row_index("row", offset=2)
    return numbered.filter(pl.any_horizontal(pl.col(head).is_not_null()))


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error}") from error
    taken = [name for name in ("row", "surplus") if name in frame.columns]
    return frame.drop(taken).with_columns(pl.lit(False).alias("surplus")).with_row_index("row", offset=1)


def _labelled(
    frame: pl.DataFrame, path: Path, names: Mapping[str, Sequence[str]], required: Sequence[str] | None = None
) -> pl.DataFrame:
    """Rename the columns that `names` knows, and leave out the others."""
    plain: dict[str, str] = {}
    for held in frame.columns:
        plain.setdefault(re.sub(r"[^a-z0-9]", "", held.lower()), held)
    kept = {}
    for name, spellings in names.items():
        column = next((plain[spelling] for spelling in spellings if spelling in plain), None)
        if column is not None:
            kept[name] = column
        elif required is None or name in required:
            others = ", ".join(held for held in frame.columns if held not in ("row", "surplus"))
            raise UserError(f"{path}: no column {spellings[0]!r}, only {others}; name it in the first line")
    return frame.select("row", "surplus", *(pl.col(column).alias(name) for name, column in kept.items()))


def _judged(frame: pl.DataFrame) -> pl.DataFrame:
    """Add what is missing, turn text into values, and say in `why` what is wrong with a row (null: nothing)."""
    held = frame.columns
    adjusted = "adj_close" if "adj_close" in held else "close"
    told = frame.select(
        "row",
        "surplus",
        _symbol().alias("symbol"),
        _day(frame.schema["day"]).alias("day"),
        *(_number(frame, name).alias(name) for name in ("open", "high", "low", "close")),
        _number(frame, adjusted).alias("adj_close"),
        _number(frame, "volume").round().alias("volume"),
        (pl.col("currency").cast(pl.String).str.strip_chars() if "currency" in held else pl.lit(None, pl.String)).alias(
            "currency"
        ),
        *(_shown(frame, name).alias(f"{name}_text") for name in _NAMES),
    )
    return told.with_columns(_why("adj_close" in held).alias("why")).with_columns(
        # NaN says unreadable until here; a bad volume would not fit its type.
        pl.when(pl.col("why").is_null()).then("volume").alias("volume")
    )


def _symbol() -> pl.Expr:
    """As mentions have it: upper case, share classes after a point; pairs such as BTC-USD keep their hyphen."""
    upper = pl.col("symbol").cast(pl.String).str.strip_chars().str.strip_prefix("$").str.to_uppercase()
    of_class = upper.str.contains(r"^[A-Z]{1,5}[-/ ][A-Z]$")
    return pl.when(of_class).then(upper.str.replace(r"[-/ ]", ".")).otherwise(upper)


def _day(dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return pl.col("day").dt.date()
    text = pl.col("day").cast(pl.String).str.strip_chars()
    # A time of day behind it is that of midnight in some zone; the date is the session all the same.
    dashed = text.str.extract(r"^(\d{4}-\d{2}-\d{2})(?:[T ].*)?$").str.to_date("%Y-%m-%d", strict=False)
    return pl.coalesce(dashed, text.str.extract(r"^(\d{8})$").str.to_date("%Y%m%d", strict=False))


def _number(frame: pl.DataFrame, name: str) -> pl.Expr:
    """The value, null for nothing, and NaN for what is there and is no finite number."""
    if name not in frame.columns:
        return pl.lit(None, pl.Float64)
    if frame.schema[name].is_numeric():
        value = pl.col(name).cast(pl.Float64)
        # In a column of numbers NaN is how pandas writes nothing.
        return pl.when(value.is_infinite()).then(float("nan")).when(value.is_not_nan()).then(value)
    text = pl.col(name).cast(pl.String).str.strip_chars()
    value = text.cast(pl.Float64, strict=False)
    return (
        pl.when(text.str.to_lowercase().is_in(_NOTHING))
        .then(None)
        .when(text.is_not_null() & ~value.is_finite().fill_null(False))
        .then(float("nan"))
        .otherwise(value)
    )


def _shown(frame: pl.DataFrame, name: str) -> pl.Expr:
    """What stood in the cell, for the line that says what is wrong with it."""
    text = pl.col(name).cast(pl.String) if name in frame.columns else pl.lit(None, pl.String)
    return text.fill_null("").str.slice(0, 40)


def _why(adjusted: bool) -> pl.Expr:
    """The first thing that is wrong; unadjusted and adjusted closes are never mixed in one file."""
    wrong: list[tuple[pl.Expr, pl.Expr]] = [
        (pl.col("surplus"), pl.lit("more cells than the header; quote values that hold a comma")),
        (
            ~pl.col("symbol").str.contains(_SYMBOL).fill_null(False),
            pl.format("'{}' is no symbol", pl.col("symbol_text")),
        ),
        (pl.col("day").is_null(), pl.format("date '{}' is not YYYY-MM-DD", pl.col("day_text"))),
    ]
    needed = ("close", "adj_close") if adjusted else ("close",)
    wrong += [(pl.col(name).is_null(), pl.lit(f"{name} is missing")) for name in needed]
    for name in ("open", "high", "low", *needed):
        value = pl.format(f"{name} '{{}}' is not a number above 0", pl.col(f"{name}_text"))
        wrong.append((~((pl.col(name) > 0) & pl.col(name).is_finite()), value))
    counted = pl.col("volume").is_nan() | ~pl.col("volume").is_between(0, _MAX_VOLUME)
    wrong.append((counted, pl.format("volume '{}' is not a count", pl.col("volume_text"))))
    return pl.coalesce(*(pl.when(is_so.fill_null(False)).then(text) for is_so, text in wrong))

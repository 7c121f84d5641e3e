"""Files of events: one JSON object a line, what it must hold, and what becomes of a line that does not.

Belongs here: reading such files and saying what is wrong with a line. Does not belong here: which of two events with
one id counts, and whether its meme is known (`reactions.py`).

Two readings of a line exist and must agree: all lines of a block go through DuckDB's JSON reader at once; those that
look odd there are read again by `strict`, in Python. What an event may be is decided once, after either (`judged`).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from magpie.memes.tables import EVENT_KINDS
from magpie.sources.archive_files import Block, blocks
from magpie.tables import UTC as UTC_MOMENT

REQUIRED = ("event_id", "kind", "user_id")
OPTIONAL = ("meme_id", "engine", "queue_id", "sharer_id", "channel")
FIELDS = (*REQUIRED, *OPTIONAL, "at")
# Ids are names or numbers; whatever is longer was not meant as one.
MAX_ID_CHARS = 200
# An event is some hundred bytes; a longer line is another kind of file, or an attack on the memory.
MAX_LINE_BYTES = 64 << 10
# Some ten thousand lines: enough that the cost per block vanishes, and little memory.
BLOCK_BYTES = 4 << 20
# A moment outside is a mistake of the unit (milliseconds, say), not an event.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
# What is shown of a value that is refused.
SHOWN_CHARS = 80

TEXTS = pl.Schema(dict.fromkeys((*FIELDS, "problem"), pl.String()))
EVENTS = pl.Schema(
    {
        **dict.fromkeys(("source_file", "event_id"), pl.String()),
        "line_no": pl.Int64(),
        "day": pl.Date(),
        "at": UTC_MOMENT,
        **dict.fromkeys(("kind", "user_id", *OPTIONAL, "problem", "expected"), pl.String()),
    }
)

_SECONDS = r"^[0-9]{1,10}(\.[0-9]+)?$"
_ISO = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
# What DuckDB makes of a value that is neither text nor a plain whole number; text may look like it, too.
_ODD_TEXT = r"(?i)^(\{|\[|-|[0-9]+[.e]|[0-9]{19}|(true|false|nan|inf|infinity)$)"
# DuckDB passes over a comma before a closing bracket, which is no JSON.
_LOOSE = r",\s*[\]}]"
_NO_ID = r"[\s\p{C}]"
_NO_TEXT = r"\p{Cc}"
_SHAPE = json.dumps(dict.fromkeys(FIELDS, "VARCHAR"))
_UNREADABLE = "no JSON object"


@dataclass(frozen=True)
class EventFile:
    """What one file holds.

    Attributes:
        events: a row for each line whose time can be read (`EVENTS`), in the order of the file; `problem` says why a
            row is no event, and its event_id is made of the line then.
        untimed: lines whose time cannot be read, which can be in no partition.
        first_problem: the first of those, and what is wrong with it.
    """

    events: pl.DataFrame
    untimed: int
    first_problem: str | None

    @property
    def days(self) -> list[date]:
        return self.events["day"].unique().sort().to_list()


def read_events(path: Path, name: str) -> EventFile:
    """Read a file.

    Args:
        name: what tables call it.

    Raises:
        UnreadableFile: it cannot be opened.
    """
    found: list[pl.DataFrame] = [pl.DataFrame(schema=EVENTS)]
    untimed, first = 0, None
    with duckdb.connect(config={"threads": 1}) as connection:
        for block in blocks(path, max_line_bytes=MAX_LINE_BYTES, block_bytes=BLOCK_BYTES):
            rows = _read_block(connection, block, name)
            block.release()
            lost = rows.filter(pl.col("at").is_null())
            if lost.height:
                first = first or "line {}: {}".format(*lost.select("line_no", "problem").row(0))
                untimed += lost.height
                rows = rows.filter(pl.col("at").is_not_null())
            found.append(rows)
    return EventFile(pl.concat(found), untimed, first)


def event_days(path: Path) -> tuple[int, int, str | None, list[date]]:
    """Return how many lines have a time, how many have none, what is wrong with the first of these, and the days.

    Raises:
        UnreadableFile: it cannot be opened.
    """
    found = read_events(path, path.name)
    return found.events.height, found.untimed, found.first_problem, found.days


def _read_block(connection: duckdb.DuckDBPyConnection, block: Block, name: str) -> pl.DataFrame:
    lines = bytes(block.data).split(b"\n")[:-1]
    numbers = [number for number, line in enumerate(lines) if line.strip()]
    kept = [lines[number] for number in numbers]
    rows = judged(_texts(connection, kept)).with_columns(
        pl.lit(name).alias("source_file"),
        (pl.Series("line_no", numbers, dtype=pl.Int64) + block.first_line).alias("line_no"),
    )
    broken = rows["problem"].is_not_null()
    if broken.any():
        # An id of the line itself: the same broken line told twice is one row, and takes no good event's id.
        made = [bad_id(kept[place]) if bad else None for place, bad in enumerate(broken)]
        rows = rows.with_columns(pl.coalesce(pl.Series(made, dtype=pl.String), "event_id").alias("event_id"))
    rows = rows.select(list(EVENTS))
    if not block.too_long:
        return rows
    told = {"source_file": name, "problem": "too long", "expected": f"at most {MAX_LINE_BYTES} bytes"}
    return pl.concat([rows, pl.DataFrame([{**told, "line_no": n} for n in block.too_long], schema=EVENTS)])


def bad_id(line: bytes) -> str:
    """The event_id of a line that has none that counts."""
    return f"bad:{hashlib.sha256(line.strip()).hexdigest()[:32]}"


def _texts(connection: duckdb.DuckDBPyConnection, lines: list[bytes]) -> pl.DataFrame:
    """The members of each line as text (`TEXTS`), in order."""
    readable = pl.Series([_decoded(line) for line in lines], dtype=pl.String)
    query = "SELECT place, unnest(json_transform(if(json_valid(line), line, '{}'), $shape)) FROM lines ORDER BY place"
    connection.register(
        "lines", pa.table({"place": pa.array(range(len(lines)), pa.int64()), "line": readable.to_arrow()})
    )
    found = connection.sql(query, params={"shape": _SHAPE}).pl()
    connection.unregister("lines")
    # Not TEXTS.cast: a column that is null throughout comes as another type.
    found = found.select(*(pl.col(name).cast(pl.String) for name in FIELDS), pl.lit(None, pl.String).alias("problem"))
    odd = found.select(_is_odd()).to_series() | readable.str.contains(_LOOSE).fill_null(True)
    places = odd.arg_true().to_list()
    if not places:
        return found
    again = pl.DataFrame([strict(lines[place]) for place in places], schema=TEXTS)
    kept = found.with_row_index("place").filter(~pl.col("place").is_in(places))
    reread = again.with_columns(pl.Series("place", places, dtype=kept.schema["place"])).select(kept.columns)
    return pl.concat([kept, reread]).sort("place").drop("place")


def _decoded(line: bytes) -> str | None:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def _is_odd() -> pl.Expr:
    """Where the reading as text may hide a wrong type, a missing field or broken JSON."""
    missing = pl.any_horizontal(pl.col(name).is_null() for name in (*REQUIRED, "at"))
    typed = pl.any_horizontal(pl.col(name).str.contains(_ODD_TEXT).fill_null(False) for name in FIELDS if name != "at")
    plain_time = pl.col("at").str.contains(_ISO) | pl.col("at").str.contains(_SECONDS)
    return missing | typed | ~plain_time.fill_null(False)


def strict(line: bytes) -> dict[str, str | None]:
    """Read one line field by field; the reference for what a well-formed line is.

    Returns:
        The members as text, a time as ISO in UTC or as seconds, and in `problem` what is wrong with a type.
    """
    row: dict[str, str | None] = dict.fromkeys(TEXTS)
    if len(line) > MAX_LINE_BYTES:
        return row | {"problem": f"too long: {len(line)} bytes"}
    try:
        found = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_first_of_each)
    except UnicodeDecodeError:
        return row | {"problem": "not UTF-8"}
    except (ValueError, RecursionError):
        return row | {"problem": _UNREADABLE}
    if not isinstance(found, dict):
        return row | {"problem": _UNREADABLE}
    problems = []
    for name in FIELDS:
        read = _time if name == "at" else _text
        row[name], problem = read(found.get(name))
        if problem is not None:
            problems.append(f"{name}: {problem}")
    row["problem"] = problems[0] if problems else None
    return row


def _first_of_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that occurs twice the first value counts, as it does for DuckDB."""
    return dict(reversed(members))


def _text(value: Any) -> tuple[str | None, str | None]:
    """An id as text, and what is wrong with it; platforms number their people, so whole numbers are ids too."""
    if isinstance(value, str):
        if value.isascii() or value.encode("utf-8", "replace").decode() == value:
            return value, None
        return None, "half a surrogate pair"
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63):
        return None if value is None else str(value), None
    return None, f"{type(value).__name__} where text belongs"


def _time(value: Any) -> tuple[str | None, str | None]:
    """A time in one of the two forms that `judged` reads, and what is wrong with it; what is no time stays as it is."""
    if value is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        return None, "missing" if value is None else f"{type(value).__name__} where a time belongs"
    text = value.encode("utf-8", "replace").decode() if isinstance(value, str) else str(value)
    if re.fullmatch(_SECONDS, text) or re.fullmatch(_ISO, text):
        return text, None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return None, f"{text} has no time zone"
        return moment.astimezone(UTC).isoformat(timespec="microseconds"), None
    except (ValueError, OverflowError):
        return text, None


def judged(texts: pl.DataFrame) -> pl.DataFrame:
    """Turn members as text (`TEXTS`) into events: adds day, at, and what is wrong in `problem` and `expected`."""
    text = pl.col("at")
    seconds = pl.when(text.str.contains(_SECONDS)).then(text).cast(pl.Float64, strict=False)
    counted = (seconds * 1_000_000).round().cast(pl.Int64).cast(UTC_MOMENT)
    # A leap day that is none, and the like, pass the pattern and are null here.
    told = (
        pl.when(text.str.contains(_ISO)).then(text).str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    )
    at = pl.coalesce(counted, told)
    inside = (at >= EARLIEST) & (at < LATEST)
    first = pl.coalesce(
        pl.when(pl.col("problem").is_not_null()).then(
            pl.struct(pl.col("problem"), pl.lit(None, pl.String).alias("expected"))
        ),
        *(pl.when(broken.fill_null(False)).then(_refusal(name, expected)) for broken, name, expected in _rules(inside)),
    )
    return (
        texts.with_columns(pl.when(inside).then(at).alias("at"), first.alias("first"))
        .with_columns(
            pl.col("first").struct.field("problem"),
            pl.col("first").struct.field("expected"),
            pl.col("at").dt.date().alias("day"),
        )
        .drop("first")
    )


def _rules(inside: pl.Expr) -> Iterable[tuple[pl.Expr, str, str]]:
    """What no event may be (null counts as false), the field, and what it should be."""
    an_id = f"1 to {MAX_ID_CHARS} characters without spaces"
    a_kind = ", ".join(EVENT_KINDS)
    for name in REQUIRED:
        yield pl.col(name).is_null(), name, a_kind if name == "kind" else an_id
    yield ~inside.fill_null(False), "at", "ISO time with zone, or unix seconds"
    yield ~pl.col("kind").is_in(EVENT_KINDS), "kind", a_kind
    yield (pl.col("kind") != "share_click") & pl.col("meme_id").is_null(), "meme_id", an_id
    for name in ("event_id", "user_id", "meme_id", "queue_id", "sharer_id"):
        yield _unusable(name, _NO_ID), name, an_id
    yield pl.col("event_id").str.starts_with("bad:"), "event_id", "not to begin with bad:"
    for name in ("engine", "channel"):
        yield _unusable(name, _NO_TEXT), name, f"1 to {MAX_ID_CHARS} characters"


def _unusable(name: str, never: str) -> pl.Expr:
    column = pl.col(name)
    return ~column.str.len_chars().is_between(1, MAX_ID_CHARS) | column.str.contains(never)


def _refusal(name: str, expected: str) -> pl.Expr:
    shown = pl.concat_str(pl.lit("'"), pl.col(name).str.slice(0, SHOWN_CHARS), pl.lit("'"))
    return pl.struct(
        pl.concat_str(pl.lit(f"{name}: "), pl.coalesce(shown, pl.lit("missing"))).alias("problem"),
        pl.lit(expected).alias("expected"),
    )


def text_of(members: Mapping[str, str | None]) -> pl.DataFrame:
    """One event's members as a row of `TEXTS`."""
    return pl.DataFrame([members], schema=TEXTS)

"""Files of keywords: what Google Ads, Ahrefs and Search Console export, and plain lists of people.

Belongs here: telling these forms apart by their headers, their encodings, and which rows are no keywords. Does not
belong here: where such files lie, and which keywords are of use (`magpie/content/keywords.py`).

Headers are recognised in the English of the exports; case, spaces and punctuation in them do not matter:

- Google Ads keyword planner: `Keyword`, `Avg. monthly searches`; up to ten lines may stand before the header. Of a
  range (`1K – 10K`) the volume is the geometric mean, because the ranges are powers of ten. `Competition (indexed
  value)`, from 0 to 100, is the difficulty: that of an ad, the only one Google tells.
- Ahrefs: `Keyword`, `Volume` and one of its own columns; `Difficulty` or `KD`, `Country`, `Parent Keyword`, `Intents`.
- Search Console: `Top queries`, `Impressions`. Impressions are of the site's own results, not searches, so that these
  keywords have no volume.
- plain: `keyword` and whichever of the fields of a row; JSON: a list of such objects or of keywords.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Far more than an export holds: Ahrefs ends at a million rows, Google at some thousand.
MAX_BYTES = 64 << 20
ENDINGS = (".csv", ".tsv", ".txt", ".json")
INTENTS = ("informational", "commercial", "transactional", "navigational")

Format = Literal["google_ads", "ahrefs", "search_console", "plain", "json"]

# So many lines may stand before the header of Google; it writes two.
_PREAMBLE_LINES = 10
_SEPARATORS = ("\t", ";", ",")
_MAX_VOLUME = 10**12
_SHOWN_CHARS = 40
_NOTHING = frozenset(("", "-", "--", "—", "–", "n/a", "na", "null", "none", "nan"))
# Thousands in groups of three; a point is no such mark, because 1.000 is one or a thousand depending on who writes.
_COUNT = re.compile(r"[0-9]+|[0-9]{1,3}(?:[, '\u00a0\u202f][0-9]{3})+|[0-9]+\.0|[0-9]+(?:\.[0-9]+)?[kKmM]")
_RANGE = re.compile(r"(.+?)\s*[-–—]\s*(.+)")
_DECIMAL = re.compile(r"[0-9]{1,3}(?:[.,][0-9]+)?")
_TRUE, _FALSE = ("true", "yes", "y", "1", "x"), ("false", "no", "n", "0")
_SURROGATES = re.compile("[\ud800-\udfff]")

# field -> header in lower case without anything but letters and digits, the better one first.
_PLAIN = {
    "keyword": ("keyword", "keywords"),
    "seed": ("seed", "seedkeyword"),
    "volume": ("volume", "searchvolume"),
    "volume_override": ("volumeoverride",),
    "difficulty": ("difficulty", "kd"),
    "difficulty_override": ("difficultyoverride",),
    "intent": ("intent",),
    "country": ("country",),
    "disabled": ("disabled",),
}
_GOOGLE_VOLUMES = ("avgmonthlysearches", "avgmonthlysearchesexactmatchonly")
_HEADERS: Mapping[Format, Mapping[str, Sequence[str]]] = {
    "google_ads": {
        "keyword": ("keyword", "keywordtext"),
        "volume": _GOOGLE_VOLUMES,
        "difficulty": ("competitionindexedvalue",),
    },
    "ahrefs": {
        "keyword": ("keyword",),
        "seed": ("parentkeyword",),
        "volume": ("volume",),
        "difficulty": ("difficulty", "kd"),
        "intent": ("intents",),
        "country": ("country",),
    },
    "search_console": {"keyword": ("topqueries", "query", "queries")},
    "plain": _PLAIN,
}
# Columns that only Ahrefs has.
_OF_AHREFS = frozenset(
    (
        "kd",
        "cps",
        "parentkeyword",
        "globalvolume",
        "trafficpotential",
        "serpfeatures",
        "intents",
        "globaltrafficpotential",
    )
)


class KeywordFileError(Exception):
    """A file that is none of these forms, or holds no keyword; `reason` is a word, `detail` one line."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class KeywordRow:
    """One row; `row_no` counts data rows from 1, blank lines and bad rows included.

    Attributes:
        keyword: as written; empty where the cell is.
        volume: searches a month; difficulty: 0 to 100; what a person says instead are the overrides.
    """

    row_no: int
    keyword: str
    seed: str | None = None
    volume: int | None = None
    volume_override: int | None = None
    difficulty: float | None = None
    difficulty_override: float | None = None
    intent: str | None = None
    country: str | None = None
    disabled: bool = False


@dataclass(frozen=True)
class BadRow:
    """A row that is none, and why."""

    row_no: int
    problem: str


@dataclass(frozen=True)
class KeywordRows:
    """What a file holds."""

    format: Format
    rows: tuple[KeywordRow, ...]
    bad: tuple[BadRow, ...]


def read_keyword_file(content: bytes) -> KeywordRows:
    """Read a file, whatever its name says.

    Raises:
        KeywordFileError: `too_large`, `not_text`, `unknown_format`, `no_keywords`.
    """
    if len(content) > MAX_BYTES:
        raise KeywordFileError("too_large", f"more than {MAX_BYTES} bytes; split the file")
    text = _decoded(content)
    found = _of_json(text) if text.lstrip()[:1] in ("[", "{") else _of_table(text)
    if not found.rows:
        first = f"; row {found.bad[0].row_no}: {found.bad[0].problem}" if found.bad else ""
        raise KeywordFileError("no_keywords", f"not one row with a keyword{first}")
    return found


def _decoded(content: bytes) -> str:
    """UTF-8, or UTF-16 that says so at its beginning, as Google and Ahrefs write it."""
    utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise KeywordFileError("not_text", "neither UTF-8 nor UTF-16; save the file as UTF-8") from None
    if "\0" in text:
        raise KeywordFileError("not_text", "holds zero bytes; save the file as UTF-8")
    return text


def _of_table(text: str) -> KeywordRows:
    found = _header(text)
    if found is None:
        known = "Google Ads, Ahrefs or Search Console in English, or a first line with a column 'keyword'"
        raise KeywordFileError("unknown_format", f"no header of {known}")
    format, lines, separator = found
    rows: list[KeywordRow] = []
    bad: list[BadRow] = []
    cells = _cells(text, separator)
    names: list[str] = []
    for _ in range(lines):
        names = [_plain(cell) for cell in next(cells)]
    columns = _columns(format, names)
    for number, row in enumerate(cells, 1):
        if not any(cell.strip() for cell in row):
            continue
        try:
            if any(cell.strip() for cell in row[len(names) :]):
                raise ValueError("more cells than the header; quote values that hold the separator")
            told = {field: row[at] for field, at in columns.items() if at < len(row)}
            rows.append(_row(number, told, format))
        except ValueError as error:
            bad.append(BadRow(number, str(error)))
    return KeywordRows(format, tuple(rows), tuple(bad))


def _header(text: str) -> tuple[Format, int, str] | None:
    """The form, how many rows end with the header, and what separates cells.

    Only before Google's header other lines may stand, and Excel's `sep=;` before any.
    """
    for separator in _SEPARATORS:
        begun = False
        for number, row in enumerate(_cells(text, separator), 1):
            names = [_plain(cell) for cell in row]
            format = _format(names)
            if format is not None and (format == "google_ads" or not begun):
                return format, number, separator
            # `sep=;` falls apart where it is what it says.
            begun = begun or bool(any(names) and names[0] != "sep")
            if number > _PREAMBLE_LINES:
                break
    return None


def _format(names: Sequence[str]) -> Format | None:
    held = frozenset(names)
    if held & set(_HEADERS["google_ads"]["keyword"]) and held & set(_GOOGLE_VOLUMES):
        return "google_ads"
    if {"keyword", "volume"} <= held and held & _OF_AHREFS:
        return "ahrefs"
    if held & set(_HEADERS["search_console"]["keyword"]) and "impressions" in held:
        return "search_console"
    return "plain" if held & set(_PLAIN["keyword"]) else None


def _columns(format: Format, names: Sequence[str]) -> dict[str, int]:
    """Where each field stands; of columns with the same name the first."""
    found = {}
    for field, spellings in _HEADERS[format].items():
        known = next((spelling for spelling in spellings if spelling in names), None)
        if known is not None:
            found[field] = names.index(known)
    return found


def _cells(text: str, separator: str) -> Iterator[list[str]]:
    """The rows, blank ones included; one that the reader gives up on is a row of more cells than any header has."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            # It goes on with the next line.
            yield ["?"] * 1000


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name[:200].casefold())


def _of_json(text: str) -> KeywordRows:
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeywordFileError("unknown_format", f"no JSON: {error}"[:300]) from None
    items = held.get("keywords") if isinstance(held, dict) else held
    if not isinstance(items, list):
        raise KeywordFileError("unknown_format", "JSON must be a list of keywords, or an object with one as 'keywords'")
    rows: list[KeywordRow] = []
    bad: list[BadRow] = []
    for number, item in enumerate(items, 1):
        try:
            rows.append(_row(number, _told(item), "json"))
        except ValueError as error:
            bad.append(BadRow(number, str(error)))
    return KeywordRows("json", tuple(rows), tuple(bad))


def _told(item: Any) -> dict[str, str]:
    """The fields of an item as text, as cells of a table are."""
    if isinstance(item, str):
        return {"keyword": item}
    if not isinstance(item, dict):
        raise ValueError(f"{_shown(item)} is neither text nor an object")
    names = {_plain(str(name)): value for name, value in item.items()}
    found = {field: names[name] for field, spellings in _PLAIN.items() for name in spellings if name in names}
    if not isinstance(found.get("keyword"), str):
        raise ValueError("an object needs a 'keyword' that is text")
    for field, value in found.items():
        if value is not None and not isinstance(value, str | int | float):
            raise ValueError(f"{field} {_shown(value)} is neither text nor a number")
    return {field: "" if value is None else str(value) for field, value in found.items()}


def _row(number: int, told: Mapping[str, str], format: Format) -> KeywordRow:
    """One row from its cells.

    Raises:
        ValueError: one of them is not what its column says.
    """
    values: dict[str, Any] = {}
    for field, cell in told.items():
        text = _SURROGATES.sub("\ufffd", cell).strip()
        if field == "intent":
            values[field] = _intent(text, strict=format != "ahrefs")
        else:
            values[field] = _READ[field](field, text)
    return KeywordRow(row_no=number, **values)


def _count(field: str, text: str) -> int | None:
    if text.casefold() in _NOTHING:
        return None
    value = _one_count(text)
    if value is None and (ends := _RANGE.fullmatch(text)):
        low, high = _one_count(ends[1]), _one_count(ends[2])
        if low is not None and high is not None and low <= high:
            value = round(math.sqrt(max(low, 1) * high))
    if value is None or value > _MAX_VOLUME:
        raise ValueError(f"{field} {_shown(text)} is not a count")
    return value


def _one_count(text: str) -> int | None:
    if len(text) > _SHOWN_CHARS or not _COUNT.fullmatch(text):
        return None
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1].casefold(), 1)
    digits = re.sub(r"[^0-9.]", "", text)
    return round(float(digits) * factor) if factor > 1 else int(digits.partition(".")[0])


def _share(field: str, text: str) -> float | None:
    if text.casefold() in _NOTHING:
        return None
    value = float(text.replace(",", ".")) if _DECIMAL.fullmatch(text) else math.inf
    if value > 100:
        raise ValueError(f"{field} {_shown(text)} is not a number from 0 to 100")
    return value


def _intent(text: str, strict: bool) -> str | None:
    """The first that is known; Ahrefs lists several, among them whether a brand is named."""
    if text.casefold() in _NOTHING:
        return None
    found = next((part for part in re.split(r"[\s,;|/]+", text.casefold()) if part in INTENTS), None)
    if found is None and strict:
        raise ValueError(f"intent {_shown(text)} is none of {', '.join(INTENTS)}")
    return found


def _text(field: str, text: str) -> str | None:
    return " ".join(text.split())[:500] or None


def _flag(field: str, text: str) -> bool:
    word = text.casefold()
    if word in _TRUE:
        return True
    if word in _FALSE or word in _NOTHING:
        return False
    raise ValueError(f"{field} {_shown(text)} is neither yes nor no")


def _shown(value: object) -> str:
    return repr(str(value)[:_SHOWN_CHARS])


_READ: Mapping[str, Callable[[str, str], Any]] = {
    "keyword": lambda field, text: text,
    "seed": _text,
    "country": _text,
    "disabled": _flag,
    "volume": _count,
    "volume_override": _count,
    "difficulty": _share,
    "difficulty_override": _share,
}

"""The reference table of securities: reading it, and what a symbol and a name are held against.

Belongs here: the normal forms of symbols and names, the files the table comes in, how alike two names are. Does not
belong here: finding names in speech (`magpie/videos/naming.py`) and what a wrong symbol leads to
(`magpie/videos/verify.py`).

A symbol's normal form: `$` and spaces around it removed, upper case, `-`, `/` or a space before the class becomes a
point (`brk-b` is BRK.B); a crypto currency is written as its pair with the dollar, BTC-USD.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from rapidfuzz import fuzz, process

from magpie.errors import UserError
from magpie.videos.grounding import APOSTROPHES
from magpie.videos.naming import Named, NameIndex, Spelling
from magpie.videos.tables import ASSET_TYPES, SYMBOLS

CRYPTO = "crypto"
CRYPTO_QUOTE = "-USD"
# Marks an alias in the reference file as a spelling that captions mishear the name as.
SOUND_ALIKE = "~"
ALIAS_SEPARATOR = ";"
# Of equally alike names the one is suggested that is most alike letter by letter; more candidates never decided.
SUGGESTED = 50
TRUE_WORDS = frozenset(("true", "t", "yes", "y", "1"))
FALSE_WORDS = frozenset(("false", "f", "no", "n", "0"))

_SYMBOL = re.compile(r"[A-Z]{1,5}(\.[A-Z])?")
_PAIR = re.compile(r"([A-Z0-9]{2,10})[-/.\s]+USD")
_SEPARATORS = re.compile(r"[-/\s]+")
# What companies share in their names, so it tells none from another.
_DROPPED = re.compile(
    r"\b(?:class \w+|common stock|inc|corp|corporation|co|company|ltd|plc|holdings?|group|technologies|the)\b"
)
_NO_WORD = re.compile(r"[\W_]+")
_NO_APOSTROPHES = str.maketrans("", "", APOSTROPHES)


def normal_symbol(raw: str) -> str:
    """Return the normal form of a symbol as someone wrote it; what has none comes back stripped and in upper case."""
    plain = unicodedata.normalize("NFKC", raw).strip("$ \t\r\n\v\f")
    # Upper case would make a symbol of some letters that are none: ß becomes SS.
    upper = plain.upper() if plain.isascii() else plain
    pair = _PAIR.fullmatch(upper)
    return pair[1] + CRYPTO_QUOTE if pair else _SEPARATORS.sub(".", upper)


def is_symbol(symbol: str) -> bool:
    """Return whether a normal form can be a symbol: up to five letters with or without a class, or a crypto pair."""
    return bool(_SYMBOL.fullmatch(symbol) or (symbol.endswith(CRYPTO_QUOTE) and _PAIR.fullmatch(symbol)))


def folded_name(name: str) -> str:
    """Return a company's name as names are compared: folded, without punctuation and what all companies are called.

    Apostrophes vanish instead of leaving a space, so that McDonald's is what it is without one. A name that consists of
    such words only keeps them.
    """
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_NO_APOSTROPHES)
    words = " ".join(_NO_WORD.sub(" ", folded).split())
    return " ".join(_DROPPED.sub(" ", words).split()) or words


@dataclass(frozen=True)
class Security:
    """One row of the table. `names`: name and aliases as written; `sound_alikes`: without their mark."""

    symbol: str
    names: tuple[str, ...]
    sound_alikes: tuple[str, ...]
    asset_type: str
    active: bool


@dataclass(frozen=True)
class SymbolTable:
    """The securities by symbol, with their names as `folded_name` writes them.

    Attributes:
        securities: by symbol, active ones first, in the order of the table otherwise.
        folded: by symbol, the folded names.
        index: every spelling, to be found in speech.
    """

    securities: Mapping[str, Security]
    folded: Mapping[str, tuple[str, ...]]
    index: NameIndex
    _candidates: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    # Speech names the same few companies again and again, and a search goes over all names.
    _suggested: dict[tuple[str, float], str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "SymbolTable":
        """Build the table from rows of `symbols`."""
        rows = sorted(frame.iter_rows(named=True), key=lambda row: not row["active"])
        securities = {row["symbol"]: _security(row) for row in rows}
        folded = {
            symbol: tuple(dict.fromkeys(filter(None, map(folded_name, one.names))))
            for symbol, one in securities.items()
        }
        pairs = [(name, symbol) for symbol, one in securities.items() if one.active for name in folded[symbol]]
        candidates = tuple(name for name, _ in pairs), tuple(symbol for _, symbol in pairs)
        return cls(securities, folded, _index(securities), candidates)

    def resolve(self, symbol: str) -> str:
        """Return the symbol the table knows a normal form by: BTC is BTC-USD where BTC itself is no security."""
        pair = self.securities.get(symbol + CRYPTO_QUOTE)
        return pair.symbol if symbol not in self.securities and pair and pair.asset_type == CRYPTO else symbol

    def mentions(self, texts: Sequence[str], *, flowing: bool = False) -> list[list[Named]]:
        """Return which securities each text names; see `NameIndex.mentions`."""
        return self.index.mentions(texts, flowing=flowing)

    def match(self, name: str, symbol: str) -> float:
        """Return how alike a name is to the best of the symbol's names: 0 to 100, rapidfuzz's token set ratio.

        Sound-alike spellings are no names of the company.

        Raises:
            KeyError: the table does not know the symbol.
        """
        wanted = folded_name(name)
        return max((fuzz.token_set_ratio(wanted, known) for known in self.folded[symbol]), default=0.0)

    def suggest(self, name: str, at_least: float) -> str | None:
        """Return the active symbol whose name is most alike, None if none reaches the ratio `at_least`.

        Of equally alike ones the one wins that is most alike letter by letter, then the first in the alphabet.
        """
        key = (folded_name(name), at_least)
        if key not in self._suggested:
            self._suggested[key] = self._most_alike(*key)
        return self._suggested[key]

    def _most_alike(self, wanted: str, at_least: float) -> str | None:
        names, symbols = self._candidates
        found = process.extract(wanted, names, scorer=fuzz.token_set_ratio, score_cutoff=at_least, limit=SUGGESTED)
        ranked = sorted((-score, -fuzz.ratio(wanted, known), symbols[place]) for known, score, place in found)
        return ranked[0][-1] if wanted and ranked else None


def _security(row: Mapping[str, Any]) -> Security:
    names = [alias for alias in row["aliases"] if not alias.startswith(SOUND_ALIKE)]
    heard = [alias.removeprefix(SOUND_ALIKE).strip() for alias in row["aliases"] if alias.startswith(SOUND_ALIKE)]
    return Security(row["symbol"], (row["name"], *names), tuple(heard), row["asset_type"], row["active"])


def _index(securities: Mapping[str, Security]) -> NameIndex:
    spellings = []
    for one in securities.values():
        name, *aliases = one.names
        spellings.append(Spelling(one.symbol, "name", name, active=one.active))
        spellings += [Spelling(one.symbol, "alias", alias, active=one.active) for alias in aliases]
        spellings += [Spelling(one.symbol, "alias", heard, True, one.active) for heard in one.sound_alikes]
    pairs = {
        symbol.removesuffix(CRYPTO_QUOTE): symbol for symbol, one in securities.items() if one.asset_type == CRYPTO
    }
    return NameIndex.of(spellings, pairs | {symbol: symbol for symbol in securities})


def read_symbols(path: Path) -> pl.DataFrame:
    """Read a reference file: CSV or Parquet with the columns of `symbols`, or SEC's company_tickers.json.

    Columns symbol and name must be there; aliases (a list, or text parted by `;`), asset_type (equity), exchange and
    active (true) may be. Symbols come back in normal form, in the order of the file.

    Raises:
        UserError: the file cannot be read, lacks a column, or has a row that cannot be used; the row is named.
    """
    try:
        return _shaped(_read(path), path.name)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: cannot read the symbols ({error}); give a CSV, Parquet or SEC JSON file") from error


def _read(path: Path) -> pl.DataFrame:
    if path.suffix.lower() == ".json":
        return _read_sec(path)
    # Everything as text: NA and TRUE are symbols too, not a missing value and a truth.
    frame = pl.read_parquet(path) if path.suffix.lower() == ".parquet" else pl.read_csv(path, infer_schema=False)
    return frame.rename({name: name.strip().casefold() for name in frame.columns})


def _read_sec(path: Path) -> pl.DataFrame:
    held = json.loads(path.read_text("utf-8"))
    entries = list(held.values()) if isinstance(held, dict) else None
    if not entries or not all(isinstance(entry, dict) and {"ticker", "title"} <= entry.keys() for entry in entries):
        raise UserError(f"{path.name}: no SEC company_tickers.json; each entry needs ticker and title")
    rows = [(str(entry["ticker"]), str(entry["title"])) for entry in entries]
    return pl.DataFrame(rows, schema={"symbol": pl.String, "name": pl.String}, orient="row")


def _shaped(frame: pl.DataFrame, file: str) -> pl.DataFrame:
    missing = [name for name in ("symbol", "name") if name not in frame.columns]
    if missing:
        raise UserError(f"{file}: column {missing[0]} is missing; add it (there are: {', '.join(frame.columns)})")
    rows = list(_rows(frame, file))
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        first = seen.setdefault(row["symbol"], number)
        if first != number:
            raise UserError(f"{file}, row {number}: symbol {row['symbol']} is in row {first} already; remove one")
    return SYMBOLS.shaped(pl.DataFrame(rows, schema=SYMBOLS.dtypes))


def _rows(frame: pl.DataFrame, file: str) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        where = f"{file}, row {number}"
        symbol, name = (str(row[column] or "").strip() for column in ("symbol", "name"))
        if not symbol or not name:
            raise UserError(f"{where}: {'name' if symbol else 'symbol'} is empty; fill it in or remove the row")
        kind = str(row.get("asset_type") or "equity").strip().casefold()
        if kind not in ASSET_TYPES:
            raise UserError(f"{where}: unknown asset_type {kind}; use one of {', '.join(ASSET_TYPES)}")
        normal = normal_symbol(symbol)
        yield {
            "symbol": normal if kind != CRYPTO or normal.endswith(CRYPTO_QUOTE) else normal + CRYPTO_QUOTE,
            "name": name,
            "aliases": _aliases(row.get("aliases")),
            "asset_type": kind,
            "exchange": str(row.get("exchange") or "").strip() or None,
            "active": _truth(row.get("active"), where),
        }


def _aliases(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(ALIAS_SEPARATOR)
    stripped = [str(part or "").strip() for part in parts]
    return list(dict.fromkeys(part for part in stripped if part.strip(SOUND_ALIKE + " ")))


def _truth(value: Any, where: str) -> bool:
    word = "true" if value is None else str(value).strip().casefold()
    if word and word not in TRUE_WORDS | FALSE_WORDS:
        raise UserError(f"{where}: active is {word}; use true or false")
    return word not in FALSE_WORDS

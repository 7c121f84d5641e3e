"""keyword_files and keywords: which files of keywords there are, and which keywords of a batch are of use.

Belongs here: where files lie, what their place and name say of site, sector and batch day, one spelling per keyword,
and the reasons for not using one. Does not belong here: what a file says (`magpie/sources/keyword_files.py`), topics
(`clusters.py`).

A batch is the keywords of one site and day. Of a keyword that comes again in the same sector of a site, the first
counts: by batch day, then by file, then by row.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from magpie.content.settings import Content, Site
from magpie.content.tables import KEYWORD_FILES, KEYWORDS
from magpie.errors import UserError
from magpie.fetches import plain_detail
from magpie.places import NamedFiles
from magpie.sources.keyword_files import ENDINGS, MAX_BYTES, KeywordFileError, KeywordRow, KeywordRows

LAYOUT = "<site>/[<sector>/]<file>"
LIST_NAME = "magpie.yaml#"
# Longer ones are sentences, or cells that lost their separator.
KEYWORD_CHARS = 100
# The beginning of a text that is too long tells what it is; the whole may be megabytes.
_KEPT_CHARS = 500
# Why a place says no site and day; all else that is wrong with a file is in it.
_PLACED_WRONG = ("no_site", "too_deep", "unknown_site", "unknown_sector", "bad_date")
# As `first_seen` names who asks.
SEEN_AS = "keyword_files"

_DATED = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")
# c#, 100% and the like mean something else without their last sign.
_KEPT_AT_END = frozenset("#%")

Read = Callable[[bytes], KeywordRows]
Seen = Callable[[Collection[str]], Mapping[str, datetime]]


def keyword_norm(text: str) -> str:
    """Return a keyword in the spelling it is compared by.

    NFKC, case-fold, characters without a shape left out, white space collapsed, punctuation around the whole trimmed
    (`#` and `%` at its end stay). Empty where no letter or digit is left; normalising twice changes nothing.
    """
    before, text = None, text
    while before != text:  # case-folding may leave what NFKC folds again, and trimming what was inside
        before, text = text, _normal(text)
    return text


def _normal(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    shaped = "".join(" " if unicodedata.category(char) == "Cc" else char for char in folded if not _shapeless(char))
    words = " ".join(shaped.split())
    start, end = 0, len(words)
    while start < end and _trimmed(words[start]):
        start += 1
    while end > start and _trimmed(words[end - 1]) and words[end - 1] not in _KEPT_AT_END:
        end -= 1
    inner = words[start:end]
    return inner if any(char.isalnum() for char in inner) else ""


def _shapeless(char: str) -> bool:
    return unicodedata.category(char) in ("Cf", "Cs")


def _trimmed(char: str) -> bool:
    return char == " " or unicodedata.category(char).startswith("P")


@dataclass(frozen=True)
class Found:
    """A file before anybody has looked into it.

    Attributes:
        within: its folders and name below the folder where looking began.
    """

    path: Path
    name: str
    within: tuple[str, ...]
    bytes: int = 0
    modified_ns: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Places(NamedFiles):
    """Where files of keywords lie, and the lists in the settings."""

    folders: tuple[Path, ...]
    sites: tuple[Site, ...]

    @classmethod
    def of(cls, root: Path, home: Path, content: Content, sites: Sequence[Site]) -> "Places":
        """`root` is the folder of the settings file."""
        folders = tuple(root / folder for folder in content.keyword_files)
        return cls(root.absolute(), home.absolute(), folders, tuple(sites))

    def files(self) -> list[Found]:
        """Every file of keywords by name, each once; hidden ones are passed over.

        Raises:
            UserError: a folder that the settings name does not exist.
        """
        by_name: dict[str, Found] = {}
        for folder in self.folders:
            if not folder.is_dir():
                raise UserError(f"{folder} is no folder; create it, or correct content.keyword_files in magpie.yaml")
            for file in self._below(folder):
                by_name.setdefault(file.name, file)
        return [by_name[name] for name in sorted(by_name)]

    def lists(self) -> list[tuple[str, Site, int]]:
        """The lists in the settings: name, site, and place among the lists of that site."""
        placed = [(site, number) for site in self.sites for number in range(len(site.lists))]
        return [(f"{LIST_NAME}{at}", *of) for at, of in enumerate(placed, 1)]

    def sector(self, name: str) -> str:
        """The sector of a file or list that `keyword_files` has as ok."""
        for known, site, number in self.lists():
            if known == name:
                return site.lists[number].sector
        within = self._within(self.path(name))
        sectors = next(site.sectors for site in self.sites if site.id == within[0])
        return within[1] if len(within) > 2 else sectors[0]

    def _within(self, path: Path) -> tuple[str, ...]:
        whole = path.absolute()
        return next(
            whole.relative_to(root).parts
            for root in (folder.absolute() for folder in self.folders)
            if whole.is_relative_to(root)
        )

    def _below(self, root: Path) -> Iterator[Found]:
        refused: list[OSError] = []
        for folder, inner, names in os.walk(root, onerror=refused.append):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            for name in sorted(names):
                if name.lower().endswith(ENDINGS) and not name.startswith("."):
                    yield self._measured(Path(folder) / name, root)
        for error in refused:
            path = Path(error.filename)
            yield Found(path, _printable(self.name(path)), path.relative_to(root).parts, problem=_told(error))

    def _measured(self, path: Path, root: Path) -> Found:
        within, name = path.relative_to(root).parts, self.name(path)
        if _printable(name) != name:
            return Found(path, _printable(name), within, problem="a name that is not UTF-8")
        try:
            held = path.stat()
        except OSError as error:
            return Found(path, name, within, problem=_told(error))
        return Found(path, name, within, held.st_size, held.st_mtime_ns)


def fingerprint(places: Places) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file and list, by name; `magpie.places.changed` holds it against the table.

    Raises:
        UserError: a folder that the settings name does not exist.
    """
    files = {file.name: (file.bytes, file.modified_ns) for file in places.files()}
    return files | {name: _measured_list(site, number) for name, site, number in places.lists()}


def misplaced(places: Places, stored: pl.DataFrame) -> list[str]:
    """Return files of which the settings by now say another site, or say one at all, than when the table was made.

    Args:
        stored: the table, with the columns source_file, site_id and reason.

    Raises:
        UserError: a folder that the settings name does not exist.
    """
    before = {
        name: (site_id, reason if reason in _PLACED_WRONG else None)
        for name, site_id, reason in stored.select("source_file", "site_id", "reason").iter_rows()
    }
    placed = {file.name: _placed(file, places) for file in places.files() if file.problem is None}
    now = {name: (said.get("site_id"), said.get("reason")) for name, said in placed.items()}
    return sorted(name for name, said in now.items() if before.get(name, said) != said)


def keyword_files(places: Places, stored: pl.DataFrame, read: Read, seen: Seen) -> pl.DataFrame:
    """Return one row per file and list, in the columns of `keyword_files`.

    Args:
        stored: the table as it was: files that have not changed are not read again, unless they could not be read.
        read: of contents.
        seen: the moment each file was first seen, by name; only asked about those that name no day.

    Raises:
        UserError: a folder that the settings name does not exist.
    """
    known = {row["source_file"]: row for row in stored.iter_rows(named=True)}
    rows = [_file_row(file, places, known.get(file.name), read) for file in places.files()]
    rows += [_list_row(name, site, number) for name, site, number in places.lists()]
    dateless = [row["source_file"] for row in rows if row["status"] == "ok" and row["day"] is None]
    moments = seen(dateless) if dateless else {}
    for row in rows:
        if row["source_file"] in moments:
            row["day"] = moments[row["source_file"]].date()
    return KEYWORD_FILES.shaped(pl.DataFrame(rows, schema=KEYWORD_FILES.dtypes)).sort("source_file")


def read_bounded(path: Path) -> bytes:
    """The content, cut one byte after what a reader takes, so that the reader refuses it and memory is bounded."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _file_row(file: Found, places: Places, known: Mapping[str, Any] | None, read: Read) -> dict[str, Any]:
    size = (file.bytes, file.modified_ns)
    row = {
        "source_file": file.name,
        "bytes": file.bytes,
        "modified_ns": file.modified_ns,
        "keywords": 0,
        "bad_rows": 0,
        "day": None,
        "status": "ok",
    }
    if file.problem is not None:
        return row | _failed("unreadable", file.problem)
    placed = _placed(file, places)
    if "reason" in placed:
        return row | placed
    if known is not None and known["status"] == "ok" and (known["bytes"], known["modified_ns"]) == size:
        return row | placed | {name: known[name] for name in ("format", "keywords", "bad_rows", "bad_example")}
    try:
        return row | placed | _counted(read(read_bounded(file.path)))
    except KeywordFileError as error:
        return row | placed | _failed(error.reason, plain_detail(error.detail))
    except OSError as error:
        return row | placed | _failed("unreadable", _told(error))


def _placed(file: Found, places: Places) -> dict[str, Any]:
    """Site and day, or why the place says neither."""
    if not 2 <= len(file.within) <= 3:
        return _failed("no_site" if len(file.within) < 2 else "too_deep", "/".join(file.within), LAYOUT)
    site = next((site for site in places.sites if site.id == file.within[0]), None)
    if site is None:
        return _failed("unknown_site", file.within[0], ", ".join(site.id for site in places.sites) or None)
    if len(file.within) == 3 and file.within[1] not in site.sectors:
        return {"site_id": site.id} | _failed("unknown_sector", file.within[1], ", ".join(site.sectors))
    if not site.sectors:
        return {"site_id": site.id} | _failed("unknown_sector", None, "sectors of the site")
    dated = _DATED.search(file.path.name)
    try:
        day = date.fromisoformat(dated[1]) if dated else None
    except ValueError:
        return {"site_id": site.id} | _failed("bad_date", dated[1] if dated else None, "YYYY-MM-DD")
    return {"site_id": site.id, "day": day}


def _counted(found: KeywordRows) -> dict[str, Any]:
    example = f"row {found.bad[0].row_no}: {found.bad[0].problem}" if found.bad else None
    return {
        "format": found.format,
        "keywords": len(found.rows),
        "bad_rows": len(found.bad),
        "bad_example": plain_detail(example),
    }


def _list_row(name: str, site: Site, number: int) -> dict[str, Any]:
    held = site.lists[number]
    size, stamp = _measured_list(site, number)
    return {
        "source_file": name,
        "site_id": site.id,
        "day": held.day,
        "format": "list",
        "bytes": size,
        "modified_ns": stamp,
        "keywords": len(held.keywords),
        "bad_rows": 0,
        "status": "ok",
    }


def _measured_list(site: Site, number: int) -> tuple[int, int]:
    """Size, and instead of a time, which a list has not, a number that changes with all that is said of it."""
    held = site.lists[number]
    text = json.dumps([site.id, str(held.day), held.sector, held.keywords]).encode()
    return len(text), int.from_bytes(hashlib.sha256(text).digest()[:7])


def _failed(reason: str, observed: str | None, threshold: str | None = None) -> dict[str, Any]:
    return {"status": "failed", "reason": reason, "observed": (observed or "")[:500], "threshold": threshold}


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode("utf-8")


def _told(error: OSError) -> str:
    """Without the path, which is in the row and may be that of the whole machine."""
    return error.strerror or type(error).__name__


@dataclass(frozen=True)
class KeywordRules:
    """Which keywords a site does not want.

    Attributes:
        excluded: phrases; a keyword that holds one as whole words is not used. disabled: keywords as a whole.
    """

    excluded: tuple[str, ...]
    disabled: frozenset[str]

    @classmethod
    def of(cls, site: Site) -> "KeywordRules":
        excluded = sorted({keyword_norm(text) for text in site.exclude_keywords} - {""})
        return cls(tuple(excluded), frozenset(map(keyword_norm, site.disabled_keywords)))


def rows_of(places: Places, name: str, read: Read) -> tuple[str, tuple[KeywordRow, ...]]:
    """Return sector and rows of an ok file or list of `keyword_files`.

    Raises:
        UserError: the file is not what it was when it was listed.
    """
    sector = places.sector(name)
    for known, site, number in places.lists():
        if known == name:
            texts = site.lists[number].keywords
            return sector, tuple(KeywordRow(at, text.strip()) for at, text in enumerate(texts, 1))
    try:
        return sector, read(read_bounded(places.path(name))).rows
    except (KeywordFileError, OSError) as error:
        told = _told(error) if isinstance(error, OSError) else error.detail
        raise UserError(f"{name} has changed since it was listed: {told}; materialise keyword_files again") from None


def keywords(
    files: pl.DataFrame,
    site: Site,
    days: Collection[date],
    earlier: pl.DataFrame,
    read: Callable[[str], tuple[str, tuple[KeywordRow, ...]]],
) -> pl.DataFrame:
    """Return the keywords of a site's batches of these days, in the columns of `keywords`.

    Args:
        files: `keyword_files`; those of other sites or days are not opened.
        earlier: `keywords` of the site, of any days: of the days asked for, and of later ones, nothing is used.
        read: sector and rows of a file, by name (`rows_of`).

    Raises:
        UserError: a file is not what it was when it was listed.
    """
    chosen = files.filter(
        (pl.col("status") == "ok") & (pl.col("site_id") == site.id) & pl.col("day").is_in(sorted(set(days)))
    ).sort("day", "source_file")
    made: list[dict[str, Any]] = []
    for name, day in chosen.select("source_file", "day").iter_rows():
        sector, rows = read(name)
        made += [_keyword_row(row, site.id, day, sector, name) for row in rows]
    frame = pl.DataFrame(made, schema=_READ)
    return KEYWORDS.shaped(_judged(frame, _owners(earlier, site.id, days), KeywordRules.of(site))).sort(
        KEYWORDS.sort_by
    )


_READ = pl.Schema(
    {
        name: dtype
        for name, dtype in KEYWORDS.dtypes.items()
        if name not in ("status", "reason", "observed", "threshold", "not_before")
    }
    | {"length": pl.Int64()}
)
# What a keyword has before its site's wishes are looked at: it is the first of its kind.
_OWNS = (pl.col("status") == "ok") | pl.col("reason").is_in(["excluded", "disabled"])


def _keyword_row(row: KeywordRow, site_id: str, day: date, sector: str, name: str) -> dict[str, Any]:
    text = " ".join(row.keyword.split())
    placed = {"site_id": site_id, "day": day, "sector": sector, "source_file": name}
    known = {"keyword": text[:_KEPT_CHARS], "keyword_norm": keyword_norm(text[:_KEPT_CHARS]), "length": len(text)}
    return asdict(row) | placed | known


def _owners(earlier: pl.DataFrame, site_id: str, days: Collection[date]) -> pl.DataFrame:
    """Who was first with a keyword in each of the batches made before."""
    mine = (pl.col("site_id") == site_id) & ~pl.col("day").is_in(sorted(set(days))) & _OWNS
    return earlier.filter(mine).select("sector", "keyword_norm", "day", "source_file", "row_no")


def _judged(rows: pl.DataFrame, owners: pl.DataFrame, rules: KeywordRules) -> pl.DataFrame:
    """Add status, reason, observed and threshold; the first reason that holds is told."""
    length = pl.col("length")
    usable = (pl.col("keyword_norm") != "") & (length <= KEYWORD_CHARS)
    place = ("day", "source_file", "row_no")
    mine = rows.filter(usable).select("sector", "keyword_norm", *place)
    firsts = (
        pl.concat([owners, mine])
        .sort(place)
        .unique(["sector", "keyword_norm"], keep="first", maintain_order=True)
        .select("sector", "keyword_norm", *(pl.col(name).alias(f"first_{name}") for name in place))
    )
    told = rows.join(firsts, on=["sector", "keyword_norm"], how="left", maintain_order="left")
    again = pl.any_horizontal(pl.col(name) != pl.col(f"first_{name}") for name in place)
    padded = pl.format(" {} ", "keyword_norm")
    phrase = pl.coalesce(
        *(pl.when(padded.str.contains(f" {text} ", literal=True)).then(pl.lit(text)) for text in rules.excluded),
        pl.lit(None, pl.String),
    )
    off = pl.col("keyword_norm").is_in(sorted(rules.disabled))
    first = pl.format("{} {} row {}", *(pl.col(f"first_{name}") for name in place))
    nothing = pl.lit(None, pl.String)
    reasons: Sequence[tuple[str, pl.Expr, pl.Expr, pl.Expr]] = (
        ("empty", pl.col("keyword_norm") == "", pl.col("keyword").str.slice(0, KEYWORD_CHARS), nothing),
        ("too_long", length > KEYWORD_CHARS, length.cast(pl.String), pl.lit(str(KEYWORD_CHARS))),
        ("duplicate", again, first, nothing),
        ("excluded", phrase.is_not_null(), pl.col("keyword_norm"), phrase),
        ("disabled", pl.col("disabled"), pl.lit("in the file"), nothing),
        ("disabled", off, pl.lit("in the settings"), nothing),
    )
    chosen = [
        pl.coalesce(*(pl.when(holds.fill_null(False)).then(values[at]) for _, holds, *values in reasons)).alias(name)
        for at, name in enumerate(("observed", "threshold"))
    ]
    reason = pl.coalesce(*(pl.when(holds.fill_null(False)).then(pl.lit(why)) for why, holds, *_ in reasons))
    return told.with_columns(reason.alias("reason"), *chosen).with_columns(
        pl.when(pl.col("reason").is_null()).then(pl.lit("ok")).otherwise(pl.lit("rejected")).alias("status"),
        pl.lit(None, KEYWORDS.dtypes["not_before"]).alias("not_before"),
    )

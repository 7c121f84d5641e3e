"""tumblr_files: the pages of posts and notes that there are, and which are of no use.

Belongs here: where pages lie, and what their place says of blog and kind. Does not belong here: what a page holds
(`magpie/sources/tumblr_pages.py`), its posts and replies (`posts.py`).

Archives and what is landed here have one layout, `<blog>/<kind>/...`; beside the kinds, `<blog>/media` holds the
bytes of images and is passed over.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.fetches import plain_detail
from magpie.persona.tables import FILE_KINDS, TUMBLR_FILES
from magpie.places import NamedFiles
from magpie.sources.tumblr_pages import PageError, content_of, notes_in, posts_in

ENDING = ".json"
MEDIA = "media"
NOTES = "notes"
LAYOUT = "<blog>/<kind>/<file>"
UNKNOWN = "unknown_blog"


@dataclass(frozen=True)
class Found:
    """A file, before anybody has looked into it.

    Attributes:
        within: its folders and name below the folder where looking began.
        problem: reason and what was met where it cannot even be measured.
    """

    path: Path
    name: str
    within: tuple[str, ...]
    bytes: int = 0
    modified_ns: int = 0
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class Places(NamedFiles):
    """Where pages lie."""

    archives: tuple[Path, ...]
    live: Path

    @classmethod
    def of(cls, root: Path, home: Path, archives: Sequence[str], live: Path) -> "Places":
        """`root` is the folder of the settings file, to which `archives` are relative; `live` may not be there yet."""
        return cls(root.absolute(), home.absolute(), tuple(root / folder for folder in archives), live)

    def files(self) -> list[Found]:
        """Everything that may be a page, by name, each once; hidden files and media are passed over.

        Raises:
            UserError: a folder that the settings name does not exist.
        """
        by_name: dict[str, Found] = {}
        for folder in self._folders():
            for file in self._below(folder):
                by_name.setdefault(file.name, file)
        return [by_name[name] for name in sorted(by_name)]

    def content(self, name: str) -> bytes:
        """Return what is in a file of the table, bounded.

        Raises:
            PageError: it cannot be read.
        """
        return content_of(self.path(name))

    def _folders(self) -> Iterator[Path]:
        for folder in self.archives:
            if not folder.is_dir():
                raise UserError(f"{folder} is no folder; create it, or correct persona.archives in magpie.yaml")
            yield folder
        if self.live.is_dir():
            yield self.live

    def _below(self, root: Path) -> Iterator[Found]:
        refused: list[OSError] = []
        for folder, inner, names in os.walk(root, onerror=refused.append):
            at_blog = len(Path(folder).relative_to(root).parts) == 1
            inner[:] = [name for name in inner if not name.startswith(".") and not (at_blog and name == MEDIA)]
            for name in names:
                if name.lower().endswith(ENDING) and not name.startswith("."):
                    yield self._measured(Path(folder) / name, root)
        for error in refused:
            path = Path(error.filename)
            yield Found(path, _printable(self.name(path)), (), problem=("unreadable", _told(error)))

    def _measured(self, path: Path, root: Path) -> Found:
        within, name = path.relative_to(root).parts, self.name(path)
        if _printable(name) != name:
            return Found(path, _printable(name), (), problem=("bad_name", "not UTF-8"))
        try:
            held = path.stat()
        except OSError as error:
            return Found(path, name, within, problem=("unreadable", _told(error)))
        return Found(path, name, within, held.st_size, held.st_mtime_ns)


def fingerprint(places: Places) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file, by name; `magpie.places.changed` holds it against the table.

    Raises:
        UserError: a folder that the settings name does not exist.
    """
    return {file.name: (file.bytes, file.modified_ns) for file in places.files()}


def misplaced(stored: pl.DataFrame, blogs: Sequence[str]) -> list[str]:
    """Return files whose blog the settings have gained or lost since the table was made.

    Args:
        stored: the table, with the columns source_file, blog and reason.
    """
    named = stored.filter(pl.col("blog").is_not_null())
    was, now = pl.col("reason").ne_missing(UNKNOWN), pl.col("blog").is_in(list(blogs))
    return sorted(named.filter(was != now)["source_file"])


def tumblr_files(places: Places, stored: pl.DataFrame, blogs: Sequence[str]) -> pl.DataFrame:
    """Return one row per file, in the columns of `tumblr_files`.

    Args:
        stored: the table as it was: files that have not changed are not read again, unless they could not be read.
        blogs: the names of the settings; files of others are not opened.

    Raises:
        UserError: a folder that the settings name does not exist.
    """
    known = {row["source_file"]: row for row in stored.iter_rows(named=True)}
    rows = [_row(file, known.get(file.name), blogs) for file in places.files()]
    return TUMBLR_FILES.shaped(pl.DataFrame(rows, schema=TUMBLR_FILES.dtypes)).sort(TUMBLR_FILES.sort_by)


def _row(file: Found, known: Mapping[str, Any] | None, blogs: Sequence[str]) -> dict[str, Any]:
    row = {
        "source_file": file.name,
        "bytes": file.bytes,
        "modified_ns": file.modified_ns,
        "items": 0,
        "bad_items": 0,
        "status": "ok",
    }
    if file.problem is not None:
        return row | _turned_down("failed", *file.problem)
    placed = _placed(file, blogs)
    if "reason" in placed:
        return row | placed
    if known is not None and known["status"] == "ok" and _is_same(known, row | placed):
        return dict(known)
    try:
        content = content_of(file.path)
        counted = _counted(content, file, placed["kind"])
    except PageError as error:
        return row | placed | _turned_down("failed", error.reason, plain_detail(error.detail))
    return row | placed | counted | {"sha256": hashlib.sha256(content).hexdigest()}


def _is_same(known: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return all(known[name] == now[name] for name in ("blog", "kind", "bytes", "modified_ns"))


def _placed(file: Found, blogs: Sequence[str]) -> dict[str, Any]:
    """Blog and kind, or why the place says neither."""
    if len(file.within) < 3:
        return _turned_down("rejected", "no_blog", "/".join(file.within), LAYOUT)
    blog, kind = file.within[:2]
    if blog not in blogs:
        return {"blog": blog} | _turned_down("rejected", UNKNOWN, blog, ", ".join(blogs) or None)
    if kind not in FILE_KINDS:
        return {"blog": blog} | _turned_down("rejected", "unknown_kind", kind, ", ".join(FILE_KINDS))
    return {"blog": blog, "kind": kind}


def _counted(content: bytes, file: Found, kind: str) -> dict[str, Any]:
    if kind == NOTES:
        notes = notes_in(content, file.path.name)
        moments, bad, example = [reply.at for reply in notes.replies], notes.bad, notes.bad_example
    else:
        page = posts_in(content)
        moments, bad, example = [post.published_at for post in page.posts], page.bad, page.bad_example
    return {
        "items": len(moments),
        "bad_items": bad,
        "bad_example": plain_detail(example),
        "first_day": min(moments).date() if moments else None,
        "last_day": max(moments).date() if moments else None,
    }


def _turned_down(status: str, reason: str, observed: str | None, threshold: str | None = None) -> dict[str, Any]:
    return {"status": status, "reason": reason, "observed": (observed or "")[:500], "threshold": threshold}


def _printable(name: str) -> str:
    """A name as text that any table holds; bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _told(error: OSError) -> str:
    """Without the path, which is in the row and may be that of the whole machine."""
    return error.strerror or type(error).__name__

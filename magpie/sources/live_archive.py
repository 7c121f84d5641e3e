"""The files of the live crawl: written like any dump's, and rewritten when something in them was deleted.

Belongs here: lines and files that Magpie itself makes. Does not belong here: asking Reddit (`reddit_live.py`), and
dumps that users brought, which are never touched.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.sources.reddit_lines import BOOL_FIELDS, MAX_TEXT_CHARS, NUMBER_FIELDS, TEXT_FIELDS

ID = re.compile(r"[0-9a-z]{1,13}")
# What a tombstone keeps: who it is, where it stood, when.
KEPT = frozenset(
    {"id", "name", "subreddit", "created_utc", "retrieved_on", "link_id", "parent_id", "source", "matched_queries"}
)
GONE = "[deleted]"


def landing_fields(kind: str, data: Mapping[str, Any], retrieved: datetime) -> dict[str, Any] | None:
    """Reduce an API object to what the archive reader knows; the rest, profiles included, is not kept.

    Args:
        kind: `t1` or `t3`.
        data: the object as the API sent it.
        retrieved: when.

    Returns:
        Fields of one line, or null for an object without a usable id.
    """
    bare = data.get("id")
    if not isinstance(bare, str) or not ID.fullmatch(bare):
        return None
    kept = {name: _plain(data.get(name)) for name in (*TEXT_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS)}
    line = {name: value for name, value in kept.items() if value is not None}
    created = line.get("created_utc")
    if isinstance(created, float) and created.is_integer():
        line["created_utc"] = int(created)
    return line | {"name": f"{kind}_{bare}", "retrieved_on": int(retrieved.timestamp()), "source": "live"}


def _plain(value: Any) -> str | int | float | bool | None:
    """A JSON scalar that can be written again; whether its type suits the field is for the archive reader to say."""
    if isinstance(value, str):
        # Half a surrogate pair is legal JSON but no text.
        return value[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float) else None


class LandingFile:
    """A landing file that appears whole, under a name of its own, or not at all."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.lines = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._final, self._partial = _reserve(folder, f"live_{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; grant write permission") from None
        self._file = self._partial.open("w", encoding="ascii")

    def write(self, line: Mapping[str, Any]) -> None:
        # Escaped like the public dumps: no character inside a text can then end a line for some reader.
        self._file.write(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n")
        self.lines += 1

    def publish(self) -> tuple[Path, ...]:
        """Make what was written durable and visible; a file without lines is dropped."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        if not self.lines:
            self._partial.unlink()
            return ()
        self._partial.rename(self._final)
        folder = os.open(self._final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return (self._final,)


def _reserve(folder: Path, stem: str) -> tuple[Path, Path]:
    """A name no other crawl has or gets: whoever holds the partial file is the only one to publish under it."""
    number = 1
    while True:
        name = stem if number == 1 else f"{stem}_{number}"
        # Archive readers pass over hidden names.
        final, partial = folder / f"{name}.ndjson", folder / f".{name}.ndjson.part"
        number += 1
        try:
            partial.touch(exist_ok=False)
        except FileExistsError:
            continue
        if not final.exists():
            return final, partial
        partial.unlink()


def blank(directory: Path, deleted: pl.DataFrame) -> int:
    """Blank deleted posts (fullname, kind post | author) in the files of `directory`; return the files rewritten."""
    kinds: dict[str, set[str]] = {}
    for fullname, kind in deleted.select("fullname", "kind").iter_rows():
        kinds.setdefault(fullname, set()).add(kind)
    return sum(_blank_file(path, kinds) for path in sorted(directory.glob("*.ndjson"))) if kinds else 0


def _blank_file(path: Path, kinds: Mapping[str, set[str]]) -> bool:
    before = path.read_bytes()
    after = b"".join(_blank_line(line, kinds) for line in before.splitlines(keepends=True))
    if after == before:
        return False
    waiting = path.with_name(f".{path.name}.tmp")
    waiting.write_bytes(after)
    waiting.replace(path)
    return True


def _blank_line(line: bytes, kinds: Mapping[str, set[str]]) -> bytes:
    try:
        row: Any = json.loads(line)
    except ValueError:
        return line  # a bad line, which the landing reports; it holds no post
    kind = kinds.get(row.get("name", "")) if isinstance(row, dict) else None
    if kind is None:
        return line
    if "post" in kind:
        text = {"body": GONE} if row["name"].startswith("t1_") else {"title": "[deleted by user]", "selftext": GONE}
        left = {name: value for name, value in row.items() if name in KEPT} | text | {"author": GONE}
    else:
        left = row | {"author": GONE}
    return line if left == row else json.dumps(left, ensure_ascii=False).encode() + b"\n"

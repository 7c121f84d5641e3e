"""The live crawl's own files, once written: taking out what was deleted since.

Belongs here: rewriting landing files that Magpie itself made. Does not belong here: making them (`reddit_live.py`),
and dumps that users brought, which are never touched.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

# What a tombstone keeps: who it is, where it stood, when.
KEPT = frozenset(
    {"id", "name", "subreddit", "created_utc", "retrieved_on", "link_id", "parent_id", "source", "matched_queries"}
)
GONE = "[deleted]"


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

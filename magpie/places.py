"""Where files lie, and what tables call them.

Belongs here: names that stay the same when a folder is moved as a whole, and telling which files changed since a table
was made. Does not belong here: which files belong to a product, and what is in them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class NamedFiles:
    """Names are relative to `root`, the folder of the settings file, or to `home` for what was made here."""

    root: Path
    home: Path

    def name(self, path: Path) -> str:
        whole = path.absolute()
        if whole.is_relative_to(self.home):
            inside = whole.relative_to(self.home)
            # A file beside the settings may be called the same; that one keeps the name.
            return (whole if self.home != self.root and (self.root / inside).exists() else inside).as_posix()
        return (whole.relative_to(self.root) if whole.is_relative_to(self.root) else whole).as_posix()

    def path(self, name: str) -> Path:
        at_root = self.root / name
        return at_root if at_root.exists() else self.home / name


def changed(files: pl.DataFrame, now: Mapping[str, tuple[int, int]]) -> list[str]:
    """Names of files that are new, changed or gone since the table of files was made.

    Args:
        files: the table, with the columns source_file, bytes and modified_ns.
        now: size and time of change of each file, by name.
    """
    before = {name: (size, at) for name, size, at in files.select("source_file", "bytes", "modified_ns").iter_rows()}
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def hashed(value: object) -> str:
    """A hash of whatever JSON can say: what is as it was has the same."""
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()

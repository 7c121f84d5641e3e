"""The landing: each archive file is read once and kept as Parquet, so that a day never rescans a dump.

Belongs here: which files are new or changed, one pass over each, reading days back. Does not belong here: what a
line means (`reddit_lines.py`) and what becomes of a post (`magpie/leads`).

A file's landing is a directory of its own, complete when its manifest is there; a crash leaves no manifest, so the
next pass begins anew. Parts are sorted by day, and the manifest says which days a part holds.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock

from magpie.sources import live_archive
from magpie.sources.archive_files import UnreadableFile, blocks, find_files, in_order
from magpie.sources.reddit_lines import BAD, LANDED, FileFacts, LineParser

# Raise when the meaning of a landed column changes: every file is then read anew.
LANDING_VERSION = 1
# Posts are collected to parts of about this size: large enough to scan fast, small enough to sort in memory.
ROWS_PER_PART = 50_000
# Row groups are what a day's read skips by; small ones skip well.
ROWS_PER_GROUP = 20_000
# Blocks parsed at once; more than four would wait for the one thread that reads and writes.
PARSERS = min(4, os.cpu_count() or 1)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Manifest:
    """What one pass over a file found.

    Attributes:
        source_file: the path as people know it (relative to the settings file where it lies below it).
        bytes, modified_ns: size and modification time when read; another value means the file has changed.
        parts: per Parquet part its file name, first and last day (ISO) and rows.
    """

    version: int
    source_file: str
    bytes: int
    modified_ns: int
    lines: int
    rows: int
    bad_lines: int
    min_created: str | None
    max_created: str | None
    parts: list[dict[str, Any]]


@dataclass(frozen=True)
class Landed:
    """The state of the landing after a pass: a manifest per readable file, a line per file that is not."""

    manifests: tuple[Manifest, ...]
    unreadable: tuple[tuple[str, str], ...]


class Landing:
    """The landing below `directory`, of the archives that `patterns` name.

    Args:
        directory: where landings are kept.
        root: relative patterns and the names shown start here.
        patterns: files, directories, globs.
        max_line_bytes: longer lines are bad.
        live: where the live crawl puts its files; may not exist yet.
    """

    def __init__(
        self, directory: Path, root: Path, patterns: Sequence[str], max_line_bytes: int, live: Path | None = None
    ) -> None:
        self._directory, self._root, self._live = directory, root, live
        self._patterns, self._max_line_bytes = tuple(patterns), max_line_bytes

    def files(self) -> list[Path]:
        """Return the archive files there are, in the order of their names."""
        crawled = (str(self._live),) if self._live is not None and self._live.is_dir() else ()
        return find_files(self._root, (*self._patterns, *crawled))

    def land(self, progress: Progress | None = None) -> Landed:
        """Read every new or changed file once; drop the landings of files that are gone."""
        manifests, unreadable = [], []
        files = self.files()
        for path in files:
            try:
                manifests.append(self._land(path, progress))
            except UnreadableFile as error:
                unreadable.append((self._shown(path), str(error)))
        self._forget_all_but({self._home(path).name for path in files})
        return Landed(tuple(manifests), tuple(unreadable))

    def ensure(self, progress: Progress | None = None) -> tuple[Manifest, ...]:
        """Land what is new and return all manifests.

        Raises:
            UnreadableFile: a file cannot be read at all; every other file has been landed by then.
        """
        landed = self.land(progress)
        if landed.unreadable:
            more = len(landed.unreadable) - 1
            raise UnreadableFile(landed.unreadable[0][1] + (f" (and {more} more files)" if more else ""))
        return landed.manifests

    def fingerprints(self) -> dict[str, tuple[int, int]]:
        """Return source_file -> (bytes, modified_ns) as it is on disk now, without reading any file."""
        return {self._shown(path): _fingerprint(path) for path in self.files()}

    def manifests(self) -> list[Manifest]:
        """Return the complete landings, by source file."""
        found = [_read_manifest(path) for path in sorted(self._directory.glob("*/manifest.json"))]
        return sorted((m for m in found if m is not None), key=lambda m: m.source_file)

    def posts(self, days: Iterable[date]) -> pl.LazyFrame:
        """Scan the landed posts of `days` over all files, with `source_file`; the same post may occur many times."""
        wanted = sorted(set(days))
        scans = []
        if wanted:
            first, last = wanted[0].isoformat(), wanted[-1].isoformat()
            for manifest in self.manifests():
                folder = self._directory / _key(manifest.source_file)
                names = [p["name"] for p in manifest.parts if p["first_day"] <= last and p["last_day"] >= first]
                if names:
                    scan = pl.scan_parquet([folder / name for name in names])
                    scans.append(scan.with_columns(pl.lit(manifest.source_file).alias("source_file")))
        if not scans:
            return pl.LazyFrame(schema={**LANDED, "source_file": pl.String})
        return pl.concat(scans).filter(pl.col("day").is_between(wanted[0], wanted[-1]) & pl.col("day").is_in(wanted))

    def bad_lines(self) -> pl.DataFrame:
        """Return source_file, line_no, reason, field of every line that is no post."""
        frames = [
            pl.read_parquet(self._directory / _key(manifest.source_file) / "bad.parquet").select(
                pl.lit(manifest.source_file).alias("source_file"), *BAD.names()
            )
            for manifest in self.manifests()
        ]
        return pl.concat(frames) if frames else pl.DataFrame(schema={"source_file": pl.String, **BAD})

    def days(self) -> list[date]:
        """Return first and last day of each part, sorted; the range of all days lies between them."""
        found = {
            date.fromisoformat(part[edge])
            for manifest in self.manifests()
            for part in manifest.parts
            for edge in ("first_day", "last_day")
        }
        return sorted(found)

    def days_of(self, source_files: Iterable[str]) -> list[date]:
        """Return the days of which these files hold posts, sorted."""
        parts = [
            part for name in source_files for part in sorted((self._directory / _key(name)).glob("part-*.parquet"))
        ]
        if not parts:
            return []
        return pl.scan_parquet(parts).select(pl.col("day").unique().sort()).collect()["day"].to_list()

    def purge_live(self, deleted: pl.DataFrame) -> int:
        """Blank what is deleted in the live crawl's own files, which are then landed anew; return the files."""
        return live_archive.blank(self._live, deleted) if self._live is not None else 0

    def purge(self, deleted: pl.DataFrame) -> int:
        """Blank what is deleted (fullname, kind post | author) in the landed copies; return the parts rewritten."""
        rewritten = 0
        if deleted.is_empty():
            return rewritten
        for path in sorted(self._directory.glob("*/part-*.parquet")):
            part = pl.scan_parquet(path)
            held = part.filter(pl.col("fullname").is_in(deleted["fullname"].to_list()))
            before = held.collect()
            if not before.equals(blank_deleted(before.lazy(), deleted).collect()):
                _write(blank_deleted(part, deleted).collect(), path)
                rewritten += 1
        return rewritten

    def _land(self, path: Path, progress: Progress | None) -> Manifest:
        home = self._home(path)
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{home}.lock"):
            known = _read_manifest(home / "manifest.json")
            now = _fingerprint(path)
            if known is not None and (known.bytes, known.modified_ns) == now:
                return known
            building = home.with_name(f"{home.name}.building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            manifest = self._pass(path, building, now, progress)
            shutil.rmtree(home, ignore_errors=True)
            building.rename(home)
        return manifest

    def _pass(self, path: Path, building: Path, now: tuple[int, int], progress: Progress | None) -> Manifest:
        parser = LineParser(FileFacts.of(path.name), self._max_line_bytes)
        writer = _PartWriter(building)
        bad: list[pl.DataFrame] = []
        lines = 0
        try:
            source = blocks(path, max_line_bytes=self._max_line_bytes)
            for parsed in in_order(parser.parse, source, PARSERS):
                lines += parsed.lines
                bad.append(parsed.bad)
                writer.add(parsed.posts)
                if progress is not None:
                    progress(self._shown(path), lines, writer.seen)
        finally:
            parser.close()
        writer.flush()
        bad_lines = pl.concat(bad) if bad else pl.DataFrame(schema=BAD)
        _write(bad_lines, building / "bad.parquet")
        manifest = Manifest(
            LANDING_VERSION,
            self._shown(path),
            *now,
            lines,
            writer.rows,
            bad_lines.height,
            writer.earliest.isoformat() if writer.earliest else None,
            writer.latest.isoformat() if writer.latest else None,
            writer.parts,
        )
        (building / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1), "utf-8")
        return manifest

    def _shown(self, path: Path) -> str:
        try:
            return str(path.resolve().relative_to(self._root.resolve()))
        except ValueError:
            return str(path)

    def _home(self, path: Path) -> Path:
        return self._directory / _key(self._shown(path))

    def _forget_all_but(self, kept: set[str]) -> None:
        for home in self._directory.glob("*/manifest.json"):
            if home.parent.name not in kept:
                shutil.rmtree(home.parent, ignore_errors=True)


class _PartWriter:
    """Collects posts and writes them as parts sorted by day."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[pl.DataFrame] = []
        self._held = 0
        self.rows = 0
        self.seen = 0
        self.parts: list[dict[str, Any]] = []
        self.earliest: datetime | None = None
        self.latest: datetime | None = None

    def add(self, posts: pl.DataFrame) -> None:
        self._waiting.append(posts)
        self._held += posts.height
        self.seen += posts.height
        if self._held >= ROWS_PER_PART:
            self.flush()

    def flush(self) -> None:
        if self._held == 0:
            return
        part = pl.concat(self._waiting).sort("day", maintain_order=True)
        self._waiting, self._held = [], 0
        name = f"part-{len(self.parts):05d}.parquet"
        _write(part, self._folder / name)
        self.rows += part.height
        low, high = part.select(low=pl.min("created_utc"), high=pl.max("created_utc")).row(0)
        self.earliest = low if self.earliest is None else min(self.earliest, low)
        self.latest = high if self.latest is None else max(self.latest, high)
        first, last = low.date().isoformat(), high.date().isoformat()
        self.parts.append({"name": name, "first_day": first, "last_day": last, "rows": part.height})


def blank_deleted(posts: pl.LazyFrame, deleted: pl.DataFrame) -> pl.LazyFrame:
    """Make tombstones: of a deleted post only id, day and numbers stay; of a deleted author, all but the name."""
    kinds = deleted.group_by("fullname").agg(
        (pl.col("kind") == "post").any().alias("_post"), pl.lit(True).alias("_author")
    )
    joined = posts.join(kinds.lazy(), on="fullname", how="left", maintain_order="left")
    gone = pl.col("_post").fill_null(False)
    nameless = pl.col("_author").fill_null(False)
    path = pl.col("permalink").str.extract(r"^(/r/[^/]+/comments/[0-9a-z]+/)")
    return joined.with_columns(
        pl.when(gone).then(pl.lit("deleted")).otherwise(pl.col("content_state")).alias("content_state"),
        pl.when(gone).then(pl.lit("")).otherwise(pl.col("text")).alias("text"),
        pl.when(~gone).then(pl.col("title")).alias("title"),
        pl.when(~gone).then(pl.col("url")).alias("url"),
        pl.when(gone).then(path).otherwise(pl.col("permalink")).alias("permalink"),
        pl.when(~nameless).then(pl.col("author")).alias("author"),
    ).drop("_post", "_author")


def _key(shown: str) -> str:
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def _fingerprint(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise UnreadableFile(f"cannot read {path}: {error.strerror}; grant read permission or remove it") from None
    return found.st_size, found.st_mtime_ns


def _read_manifest(path: Path) -> Manifest | None:
    try:
        raw = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Manifest(**raw) if raw.get("version") == LANDING_VERSION else None


def _write(frame: pl.DataFrame, path: Path) -> None:
    waiting = path.with_name(path.name + ".tmp")
    frame.write_parquet(waiting, compression="zstd", compression_level=1, row_group_size=ROWS_PER_GROUP)
    waiting.replace(path)

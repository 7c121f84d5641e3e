"""meme_files: the exports, saved pages, fetched payloads, uploads and files of events that there are.

Belongs here: where they lie, what their place says of platform and source, and which are of no use. Does not belong
here: what a payload says (`magpie/sources/channel_payloads.py`), its posts (`posts.py`), its events (`event_files.py`).

Archives and what is landed here have one layout, `<platform>/<source>/...`. A landed payload carries the moment of its
fetch in its name, `<stamp>-<n>.<ending>`; of an archive only its newest post says when it can have been written.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.fetches import plain_detail
from magpie.memes.naming import source_id_of
from magpie.memes.tables import MEME_FILES, PLATFORMS
from magpie.places import NamedFiles
from magpie.settings import Settings
from magpie.sources.channel_payloads import MAX_BYTES, PayloadError
from magpie.sources.meme_posts import Payload

PAYLOADS = (".json", ".html", ".htm", ".csv")
EVENTS = ".ndjson"
STAMP = "%Y%m%dT%H%M%S%fZ"
LAYOUT = "<platform>/<source>/<file>"
CHANNEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# People who upload are named by an app, in whatever letters it allows.
PERSON_NAME = re.compile(r"[\w@+][\w.@+-]{0,63}")
# What Telegram Desktop puts beside an export; a document that somebody posted is no payload.
MEDIA_FOLDERS = frozenset(
    (
        *("photos", "video_files", "round_video_messages", "voice_messages", "files", "stickers", "profile_pictures"),
        *("css", "js", "images", "chats_media"),
    )
)

# content, platform, name of the source -> format and what it holds; raises PayloadError.
Read = Callable[[bytes, str, str], tuple[str, Payload]]
# path -> events, bad lines, what is wrong with the first of those, UTC days; raises OSError.
EventDays = Callable[[Path], tuple[int, int, str | None, list[date]]]


def stamp_of(moment: datetime) -> str:
    """The moment of a fetch as the names of its payloads begin with it."""
    return moment.astimezone(UTC).strftime(STAMP)


def moment_of(name: str) -> datetime:
    """The moment of the fetch that `<stamp>-<n>.<ending>` carries.

    Raises:
        ValueError: it carries none.
    """
    return datetime.strptime(name.partition("-")[0], STAMP).replace(tzinfo=UTC)


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
    live: bool
    bytes: int = 0
    modified_ns: int = 0
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class Places(NamedFiles):
    """Where files of memes lie."""

    archives: tuple[Path, ...]
    live: Path
    events: tuple[Path, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Places":
        archives = tuple(settings.root / folder for folder in settings.memes.archives)
        events = tuple(settings.root / place for place in settings.memes.events)
        return cls(settings.root.absolute(), settings.home.absolute(), archives, settings.live_memes, events)

    def files(self) -> list[Found]:
        """Everything that may hold posts or events, by name, each once; hidden files and media are passed over.

        Raises:
            UserError: a folder or file that the settings name does not exist.
        """
        found = [file for folder in self.archives for file in self._below(_there(folder), PAYLOADS)]
        found += self._below(self.live, PAYLOADS, live=True) if self.live.is_dir() else ()
        for place in self.events:
            is_file = _there(place).is_file()
            found += [self._measured(place, place.parent, live=False)] if is_file else self._below(place, (EVENTS,))
        by_name: dict[str, Found] = {}
        for file in found:
            by_name.setdefault(file.name, file)
        return [by_name[name] for name in sorted(by_name)]

    def _below(self, root: Path, endings: tuple[str, ...], *, live: bool = False) -> Iterator[Found]:
        refused: list[OSError] = []
        for folder, inner, names in os.walk(root, onerror=refused.append):
            inner[:] = [name for name in inner if not name.startswith(".") and not self._is_media(root, folder, name)]
            for name in names:
                if name.lower().endswith(endings) and not name.startswith("."):
                    yield self._measured(Path(folder) / name, root, live)
        for error in refused:
            path = Path(error.filename)
            yield Found(path, _printable(self.name(path)), (), live, problem=("unreadable", _told(error)))

    def _is_media(self, root: Path, folder: str, name: str) -> bool:
        """Folders of media lie inside that of a source; a source itself may have any name."""
        return name in MEDIA_FOLDERS and len(Path(folder).relative_to(root).parts) >= 2

    def _measured(self, path: Path, root: Path, live: bool) -> Found:
        within, name = path.relative_to(root).parts, self.name(path)
        if _printable(name) != name:
            return Found(path, _printable(name), within, live, problem=("bad_name", "not UTF-8"))
        try:
            held = path.stat()
        except OSError as error:
            return Found(path, name, within, live, problem=("unreadable", _told(error)))
        return Found(path, name, within, live, held.st_size, held.st_mtime_ns)


def fingerprint(places: Places) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file, by name; `magpie.places.changed` holds it against the table.

    Raises:
        UserError: a folder or file that the settings name does not exist.
    """
    return {file.name: (file.bytes, file.modified_ns) for file in places.files()}


def meme_files(places: Places, stored: pl.DataFrame, read: Read, event_days: EventDays) -> pl.DataFrame:
    """Return one row per file, in the columns of `meme_files`.

    Args:
        stored: the table as it was: files that have not changed are not read again, unless they could not be read.
        read: of payloads; of events: `event_days`.

    Raises:
        UserError: a folder or file that the settings name does not exist.
    """
    known = {row["source_file"]: row for row in stored.iter_rows(named=True)}
    rows = [_row(file, known.get(file.name), read, event_days) for file in places.files()]
    return MEME_FILES.shaped(pl.DataFrame(rows, schema=MEME_FILES.dtypes))


def read_bounded(path: Path) -> bytes:
    """The content, cut one byte after what a reader takes, so that the reader refuses it and memory is bounded."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _row(file: Found, known: Mapping[str, Any] | None, read: Read, event_days: EventDays) -> dict[str, Any]:
    size = (file.bytes, file.modified_ns)
    if known is not None and known["status"] == "ok" and (known["bytes"], known["modified_ns"]) == size:
        return dict(known)
    row = {
        "source_file": file.name,
        "live": file.live,
        "bytes": file.bytes,
        "modified_ns": file.modified_ns,
        "posts": 0,
        "bad_posts": 0,
        "days": [],
        "status": "ok",
    }
    if file.problem is not None:
        return row | _failed(*file.problem)
    try:
        if file.name.lower().endswith(EVENTS):
            return row | {"format": "events"} | _events(file, event_days)
        return row | _placed(file, read)
    except PayloadError as error:
        return row | _of_place(file) | _failed(error.reason, plain_detail(str(error.detail)))
    except OSError as error:
        return row | _of_place(file) | _failed("unreadable", _told(error))


def _events(file: Found, event_days: EventDays) -> dict[str, Any]:
    events, bad, problem, days = event_days(file.path)
    return {"posts": events, "bad_posts": bad, "bad_example": plain_detail(problem), "days": sorted(set(days))}


def _of_place(file: Found) -> dict[str, Any]:
    """Platform and source, as far as the folders name some."""
    if len(file.within) < 3 or file.within[0] not in PLATFORMS or not _names_source(*file.within[:2]):
        return {}
    platform, source = file.within[:2]
    return {"platform": platform, "source_id": source_id_of(platform, source)}


def _names_source(platform: str, name: str) -> bool:
    return bool((PERSON_NAME if platform == "upload" else CHANNEL_NAME).fullmatch(name))


def _placed(file: Found, read: Read) -> dict[str, Any]:
    if len(file.within) < 3:
        return _failed("no_source", "/".join(file.within), LAYOUT)
    platform, name = file.within[:2]
    if platform not in PLATFORMS:
        return _failed("unknown_platform", platform, ", ".join(PLATFORMS))
    if not _names_source(platform, name):
        pattern = PERSON_NAME if platform == "upload" else CHANNEL_NAME
        return {"platform": platform} | _failed("bad_source_name", name, pattern.pattern)
    fetched_at = None
    if file.live:
        try:
            fetched_at = moment_of(file.path.name)
        except ValueError:
            return _of_place(file) | _failed("bad_name", file.path.name, f"<{STAMP}>-<n>.<ending>")
    content = read_bounded(file.path)
    format, payload = read(content, platform, name)
    moments = [post.published_at for post in payload.posts]
    bad = payload.bad[0] if payload.bad else None
    return _of_place(file) | {
        "format": format,
        "payload_sha256": hashlib.sha256(content).hexdigest(),
        "fetched_at": fetched_at or max(moments, default=None),
        "posts": len(payload.posts),
        "bad_posts": len(payload.bad),
        "bad_example": plain_detail(f"{bad.where}: {bad.problem}") if bad else None,
        "missing_ids": payload.missing_ids,
        "days": sorted({moment.astimezone(UTC).date() for moment in moments}),
    }


def _failed(reason: str, observed: str | None, threshold: str | None = None) -> dict[str, Any]:
    return {"status": "failed", "reason": reason, "observed": (observed or "")[:500], "threshold": threshold}


def _there(place: Path) -> Path:
    if not place.exists():
        raise UserError(f"{place} does not exist; create it, or correct memes.archives or memes.events in magpie.yaml")
    return place


def _printable(name: str) -> str:
    """A name as text that any table holds; bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _told(error: OSError) -> str:
    """Without the path, which is in the row and may be that of the whole machine."""
    return error.strerror or type(error).__name__

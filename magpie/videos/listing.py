"""video_files and videos: which files belong to which video of which day, and which videos are read.

Belongs here: joining what files and visits say of a video to one row, and the reasons for not reading it. Does not
belong here: what a file says (`magpie/sources/youtube_*.py`), captions (`transcripts.py`).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from magpie.fetches import Fetch
from magpie.places import NamedFiles
from magpie.places import changed as changed
from magpie.settings import Settings
from magpie.sources.youtube_files import FEED_ENDING, FoundFile, find
from magpie.sources.youtube_info import PRECISIONS, SOURCES, BadInfo, VideoInfo, merged, read_info
from magpie.videos.caption_states import PASSING
from magpie.videos.links import WATCH
from magpie.videos.settings import Channel
from magpie.videos.tables import VIDEO_FILES, VIDEOS

# What a visit can find out that no file says.
GONE = ("restricted", "private", "deleted")
# Of these nobody may read anything any more, so nothing of theirs is kept.
TOMBSTONES = ("private", "deleted")
# As the control database names the deletion of a video.
GONE_VIDEO = "video"
LIVE = {"upcoming": "is_upcoming", "live_now": "is_live"}
STREAMED = ("is_live", "was_live", "post_live", "is_upcoming")

_UNREAD = {"title": "", "description": "", "date_precision": "unknown", "media_kind": "video", "chapters": []}


@dataclass(frozen=True)
class Places(NamedFiles):
    """Where files of videos lie, and what tables call them."""

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Places":
        given = tuple(settings.root / folder for folder in settings.videos.archives)
        live = (settings.live_videos,) if settings.live_videos.is_dir() else ()
        return cls(settings.root.absolute(), settings.home.absolute(), (*given, *live))

    def files(self) -> list[FoundFile]:
        """Everything that belongs to videos.

        Raises:
            UserError: a folder does not exist or may not be read.
        """
        return find(self.folders)


def fingerprint(found: Iterable[FoundFile], places: Places) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file, by name."""
    return {places.name(file.path): (file.bytes, file.modified_ns) for file in found}


def video_files(
    found: Sequence[FoundFile],
    places: Places,
    watched: Collection[str],
    stored: pl.DataFrame,
    seen: Callable[[Collection[str]], Mapping[str, datetime]],
) -> pl.DataFrame:
    """Return one row per file, in the columns of `video_files`.

    Args:
        watched: ids of the channels in the settings.
        stored: the table as it was: files that have not changed are not read again.
        seen: the moment each video was first seen, by id.
    """
    known = {row["source_file"]: row for row in stored.iter_rows(named=True)}
    infos: list[dict[str, Any]] = []
    by_stem: dict[tuple[Path, str], dict[str, Any]] = {}
    for file in (file for file in found if file.kind == "info"):
        row = _info_row(file, places, known.get(places.name(file.path)), watched)
        infos.append(row)
        beside = by_stem.get((file.path.parent, file.stem))
        by_stem[file.path.parent, file.stem] = row if beside is None else min(row, beside, key=_says_less)
    ok = [row for row in infos if row["status"] == "ok"]
    _place(ok, seen(sorted({row["video_id"] for row in ok})))
    by_id = {row["video_id"]: row for row in ok}
    captions = [
        _caption_row(file, places, by_stem.get((file.path.parent, file.stem)) or by_id.get(file.video_id or ""))
        for file in found
        if file.kind == "captions"
    ]
    return VIDEO_FILES.shaped(pl.DataFrame([*infos, *captions], schema=VIDEO_FILES.dtypes))


def _measured(file: FoundFile, places: Places) -> dict[str, Any]:
    return {
        "source_file": places.name(file.path),
        "kind": file.kind,
        "bytes": file.bytes,
        "modified_ns": file.modified_ns,
        "status": "ok",
    }


def _info_row(
    file: FoundFile, places: Places, known: Mapping[str, Any] | None, watched: Collection[str]
) -> dict[str, Any]:
    row = _measured(file, places)
    # What could not be read is tried again: a permission that was granted meanwhile changes neither size nor time.
    read = known is not None and known["status"] != "failed"
    if known is not None and read and (known["bytes"], known["modified_ns"]) == (file.bytes, file.modified_ns):
        row = {**known, "status": "ok", "reason": None, "observed": None, "day": None}
    else:
        try:
            info = read_info(file.path)
        except (BadInfo, OSError) as error:
            guess = "rss" if file.path.name.endswith(FEED_ENDING) else "archive"
            row |= {"video_id": file.video_id, "channel_id": None}
            failed = {"status": "failed", "reason": "unreadable", "observed": _told(error, file.path)}
            return row | {"source": guess} | failed
        row |= {
            "source": info.source,
            "video_id": info.video_id,
            "channel_id": info.channel_id or file.path.parent.name,
            "published_at": info.published_at,
            "date_precision": info.date_precision,
            "fetched_at": info.epoch,
            "manual_tracks": list(info.manual_tracks),
        }
    if row["status"] == "ok" and row["channel_id"] not in watched:
        row |= {"status": "rejected", "reason": "unknown_channel", "observed": row["channel_id"]}
    return row


def _told(error: BadInfo | OSError, path: Path) -> str:
    """The file by its name alone: an error of the system would tell the whole path."""
    return (str(error) if isinstance(error, BadInfo) else f"{path.name}: {error.strerror}")[:500]


def _says_less(row: Mapping[str, Any]) -> tuple[bool, int]:
    """Of an info.json and a feed's entry beside it, the info.json tells of captions."""
    return row["status"] != "ok", SOURCES.index(row["source"])


def _place(rows: Iterable[dict[str, Any]], seen: Mapping[str, datetime]) -> None:
    """Give all files of a video one day: of publication, else of the first fetch, else of its being first seen."""
    by_video: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_video.setdefault(row["video_id"], []).append(row)
    for video_id, files in by_video.items():
        best = min(files, key=lambda row: (PRECISIONS.index(row["date_precision"]), SOURCES.index(row["source"])))
        fetched = min((row["fetched_at"] for row in files if row["fetched_at"]), default=None)
        moment = best["published_at"] or fetched or seen[video_id]
        for row in files:
            row |= {"day": moment.date(), "first_seen_at": seen[video_id]}


def _caption_row(file: FoundFile, places: Places, of: Mapping[str, Any] | None) -> dict[str, Any]:
    row = _measured(file, places) | {"source": "archive", "track": file.track, "format": file.format}
    if of is None:
        return row | {"status": "rejected", "reason": "no_video", "observed": file.stem[:200], "manual": file.manual}
    row |= {name: of[name] for name in ("source", "video_id", "channel_id")}
    if of["status"] != "ok":
        return row | {"status": "rejected", "reason": of["reason"], "observed": of["observed"], "manual": file.manual}
    manual = file.manual or file.track in (of["manual_tracks"] or ())
    return row | {"day": of["day"], "first_seen_at": of["first_seen_at"], "manual": manual}


@dataclass(frozen=True)
class ListingRules:
    """What decides whether a video of one channel is read."""

    since: date | None
    min_duration_s: int

    @classmethod
    def of(cls, settings: Settings, channel: Channel) -> "ListingRules":
        return cls(channel.since, settings.videos.min_duration_s)


def videos(
    files: pl.DataFrame, places: Places, visits: Mapping[str, Sequence[Fetch]], rules: ListingRules
) -> pl.DataFrame:
    """Return the videos of these files, in the columns of `videos`.

    Args:
        files: rows of `video_files` of one channel and some days.
        visits: what YouTube said when it was asked, oldest first, by video_id.
    """
    infos = files.filter((pl.col("kind") == "info") & (pl.col("status") == "ok")).sort("source_file")
    made = []
    for _, part in sorted(infos.partition_by("video_id", as_dict=True).items()):
        rows = part.rows(named=True)
        first = rows[0]
        placed = {name: first[name] for name in ("video_id", "channel_id", "day", "first_seen_at")}
        placed["url"] = WATCH + first["video_id"]
        try:
            info = _merged(rows, places)
        except BadInfo as error:
            told = {"status": "failed", "reason": "unreadable", "observed": str(error)}
            made.append({**placed, **_UNREAD, **told, "source": first["source"]})
            continue
        made.append({**placed, **_facts(info, visits.get(first["video_id"], ()), rules)})
    return VIDEOS.shaped(pl.DataFrame(made, schema=VIDEOS.dtypes))


def _merged(rows: Sequence[Mapping[str, Any]], places: Places) -> VideoInfo:
    infos = []
    for row in rows:
        path = places.path(row["source_file"])
        try:
            infos.append(read_info(path))
        except (BadInfo, OSError) as error:
            raise BadInfo(_told(error, path)) from None
        if infos[-1].video_id != row["video_id"]:
            raise BadInfo(f"{path.name} describes another video than when it was found")
    return merged(infos)


def _facts(info: VideoInfo, visits: Sequence[Fetch], rules: ListingRules) -> dict[str, Any]:
    availability, restriction, live_status = info.availability, info.restriction, info.live_status
    last = next((visit for visit in reversed(visits) if visit.outcome not in PASSING), None)
    if last is not None and (info.epoch is None or last.at >= info.epoch):
        if last.outcome in GONE:
            availability, restriction = last.outcome, last.detail or restriction  # type: ignore[assignment]
        live_status = LIVE.get(last.outcome, live_status)  # type: ignore[assignment]
    short = info.is_short or _is_tiny(info, rules)
    kind = "live" if live_status in STREAMED else "short" if short else "video"
    told = availability not in TOMBSTONES
    return {
        "title": info.title or "" if told else "",
        "description": info.description or "" if told else "",
        "published_at": info.published_at,
        "date_precision": info.date_precision,
        **{name: getattr(info, name) for name in ("duration_s", "view_count", "like_count", "ended_at", "language")},
        "media_kind": kind,
        "live_status": live_status,
        "availability": availability,
        "chapters": [{"start_s": chapter.start_s, "title": chapter.title} for chapter in info.chapters if told],
        "source": info.source,
        **_fate(info, kind, availability, restriction, live_status, rules),
    }


def _is_tiny(info: VideoInfo, rules: ListingRules) -> bool:
    return info.duration_s is not None and info.duration_s < rules.min_duration_s


def _fate(
    info: VideoInfo,
    kind: str,
    availability: str | None,
    restriction: str | None,
    live_status: str | None,
    rules: ListingRules,
) -> dict[str, Any]:
    """ok, or the first reason not to read it; what waits has no time: a later file or visit brings it on."""
    if availability in GONE:
        return {"status": "rejected", "reason": availability, "observed": restriction}
    if rules.since and info.published_at and info.published_at.date() < rules.since:
        told = {"observed": str(info.published_at.date()), "threshold": str(rules.since)}
        return {"status": "rejected", "reason": "before_since", **told}
    # How long a stream gets is known once it is over.
    if kind == "short" or (live_status not in LIVE.values() and _is_tiny(info, rules)):
        seen = "called a Short" if info.is_short else f"{info.duration_s:g}"
        return {"status": "rejected", "reason": "short", "observed": seen, "threshold": str(rules.min_duration_s)}
    if live_status in LIVE.values():
        reason = "upcoming" if live_status == "is_upcoming" else "live_now"
        return {"status": "pending", "reason": reason, "observed": live_status}
    return {"status": "ok"}

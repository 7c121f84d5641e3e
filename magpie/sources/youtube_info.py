"""What yt-dlp's info.json says of a video.

Belongs here: reading it with all that its versions and other tools put there, and merging what several sources say.
Does not belong here: finding files (`youtube_files.py`) and judging videos (the product).

A feed's entry is kept in the same keys, so it is read here too.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from magpie.sources.youtube_files import FEED_ENDING, INFO_ENDING, VIDEO_ID, video_id_of

Source = Literal["archive", "ytdlp", "rss"]
Precision = Literal["second", "day", "unknown"]
LiveStatus = Literal["not_live", "is_live", "is_upcoming", "was_live", "post_live"]
Availability = Literal["public", "unlisted", "restricted", "private"]
Restriction = Literal["age_restricted", "members_only", "premium_only", "login", "country"]

# In order of trust.
SOURCES: tuple[Source, ...] = get_args(Source)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
RESTRICTIONS: tuple[Restriction, ...] = get_args(Restriction)
# Keys of Magpie's own in files that it writes: who wrote them, and why YouTube refuses the video.
SOURCE_KEY = "_magpie_source"
RESTRICTION_KEY = "_magpie_restriction"

# With comments and 200 translated tracks some MB; more is no info.json.
MAX_BYTES = 64 << 20
TITLE_CHARS = 500
# YouTube allows 5000.
DESCRIPTION_CHARS = 20_000
MAX_CHAPTERS = 1000
MAX_TRACKS = 1000
MAX_SECONDS = 10**8  # three years: the longest streams run for months
MAX_COUNT = 10**15  # fits 64 bits; the most viewed video has 10**10
# The day of the first video.
FIRST_VIDEO = datetime(2005, 4, 23, tzinfo=UTC)
# A premiere is announced some months ahead; what lies further after the fetch is a wrong clock.
AHEAD = timedelta(days=366)
SETTLED = ("not_live", "was_live", "post_live")

CHANNEL_ID = re.compile(r"UC[A-Za-z0-9_-]{22}")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# What `merged` takes field by field.
_PLAIN = (
    "channel_id",
    "title",
    "description",
    "epoch",
    "duration_s",
    "view_count",
    "like_count",
    "ended_at",
    "language",
)
_LISTS = ("chapters", "manual_tracks", "automatic_tracks")
_REFUSED: Mapping[str, Restriction] = {
    "subscriber_only": "members_only",
    "premium_only": "premium_only",
    "needs_auth": "login",
}


class BadInfo(ValueError):
    """A file that tells nothing of a video; the message is one line."""


@dataclass(frozen=True)
class Chapter:
    start_s: float
    title: str


@dataclass(frozen=True)
class VideoInfo:
    """What one source says of a video; None: it does not say.

    Attributes:
        published_at: UTC; with precision `day` the beginning of that day; None with `unknown`.
        epoch: when it was fetched.
        duration_s: seconds, above 0.
        is_short: it is called a short, or its address says so.
        ended_at: end of a live stream that is over.
        restriction: what `restricted` means here.
        manual_tracks, automatic_tracks: caption languages as yt-dlp names them; chat is none.
    """

    source: Source
    video_id: str
    channel_id: str | None = None
    title: str | None = None
    description: str | None = None
    published_at: datetime | None = None
    date_precision: Precision = "unknown"
    epoch: datetime | None = None
    duration_s: float | None = None
    view_count: int | None = None
    like_count: int | None = None
    is_short: bool = False
    live_status: LiveStatus | None = None
    ended_at: datetime | None = None
    availability: Availability | None = None
    restriction: Restriction | None = None
    language: str | None = None
    chapters: tuple[Chapter, ...] = ()
    manual_tracks: tuple[str, ...] = ()
    automatic_tracks: tuple[str, ...] = ()


def read_info(path: Path) -> VideoInfo:
    """Read an info.json or a feed's entry; a field of a wrong type or range counts as not said.

    Raises:
        BadInfo: the file is too large, is no JSON object, or names no video.
        OSError: it cannot be read.
    """
    held = path.stat()
    if held.st_size > MAX_BYTES:
        raise BadInfo(f"{path.name} has {held.st_size} bytes, allowed are {MAX_BYTES}")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise BadInfo(f"{path.name} is no JSON") from None
    if not isinstance(data, dict):
        raise BadInfo(f"{path.name} holds no JSON object")
    ending = FEED_ENDING if path.name.endswith(FEED_ENDING) else INFO_ENDING
    video_id = data.get("id", video_id_of(path.name.removesuffix(ending)))
    if not isinstance(video_id, str) or not VIDEO_ID.fullmatch(video_id):
        raise BadInfo(f"{path.name} describes no video: its id is none of YouTube's")
    source = data.get(SOURCE_KEY)
    modified = datetime.fromtimestamp(held.st_mtime, UTC)
    return _info(data, video_id, source if source in SOURCES else "archive", modified)


def _info(data: Mapping[str, Any], video_id: str, source: Source, modified: datetime) -> VideoInfo:
    epoch = _moment(data.get("epoch"))
    latest = (epoch or modified) + AHEAD
    published, precision = _published(data, latest)
    duration = _number(data.get("duration"), MAX_SECONDS) or None
    live_status = _live_status(data)
    availability, restriction = _availability(data)
    channel_id, language = data.get("channel_id"), data.get("language")
    return VideoInfo(
        source=source,
        video_id=video_id,
        channel_id=channel_id if isinstance(channel_id, str) and CHANNEL_ID.fullmatch(channel_id) else None,
        title=plain_text(data.get("title"), TITLE_CHARS),
        description=plain_text(data.get("description"), DESCRIPTION_CHARS),
        published_at=published,
        date_precision=precision,
        epoch=epoch,
        duration_s=duration,
        view_count=_count(data.get("view_count")),
        like_count=_count(data.get("like_count")),
        is_short=_is_short(data),
        live_status=live_status,
        ended_at=_ended_at(data, live_status, duration, latest),
        availability=availability,
        restriction=restriction,
        language=language if isinstance(language, str) and LANGUAGE.fullmatch(language) else None,
        chapters=_chapters(data.get("chapters")),
        manual_tracks=_tracks(data.get("subtitles")),
        automatic_tracks=_tracks(data.get("automatic_captions")),
    )


def plain_text(value: Any, limit: int) -> str | None:
    """Return a text without control characters, lines aside, and half surrogate pairs; None if nothing is left."""
    if not isinstance(value, str):
        return None
    return _UNPRINTABLE.sub("", value[: 2 * limit]).strip()[:limit] or None


def _number(value: Any, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= most and math.isfinite(value) else None


def _count(value: Any) -> int | None:
    number = _number(value, MAX_COUNT)
    return None if number is None else int(value)


def _moment(value: Any) -> datetime | None:
    seconds = _number(value, datetime.max.replace(tzinfo=UTC).timestamp() - 1)
    moment = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment if moment is not None and moment >= FIRST_VIDEO else None


def _published(data: Mapping[str, Any], latest: datetime) -> tuple[datetime | None, Precision]:
    moment = _moment(data.get("timestamp"))
    if moment is not None and moment <= latest:
        return moment, "second"
    day = data.get("upload_date")
    if isinstance(day, str) and re.fullmatch(r"[0-9]{8}", day):
        try:
            start = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            return None, "unknown"
        if FIRST_VIDEO <= start <= latest:
            return start, "day"
    return None, "unknown"


def _live_status(data: Mapping[str, Any]) -> LiveStatus | None:
    said = data.get("live_status")
    if said in get_args(LiveStatus):
        return said
    # Before 2021.12 there were two booleans.
    if data.get("is_live") is True:
        return "is_live"
    if data.get("was_live") is True:
        return "was_live"
    return "not_live" if data.get("is_live") is False and data.get("was_live") is False else None


def _ended_at(
    data: Mapping[str, Any], live_status: LiveStatus | None, duration: float | None, latest: datetime
) -> datetime | None:
    started = _moment(data.get("release_timestamp"))
    if live_status not in ("was_live", "post_live") or started is None or duration is None or started > latest:
        return None
    return started + timedelta(seconds=duration)


def _availability(data: Mapping[str, Any]) -> tuple[Availability | None, Restriction | None]:
    said, own = data.get("availability"), data.get(RESTRICTION_KEY)
    if said == "private":
        return "private", None
    if own in RESTRICTIONS:
        return "restricted", own
    adult = (_number(data.get("age_limit"), 200) or 0) >= 18
    if isinstance(said, str) and said in _REFUSED:
        return "restricted", "age_restricted" if said == "needs_auth" and adult else _REFUSED[said]
    if adult:
        return "restricted", "age_restricted"
    return (said, None) if said in ("public", "unlisted") else (None, None)


def _is_short(data: Mapping[str, Any]) -> bool:
    addresses = (data.get("webpage_url"), data.get("original_url"))
    return data.get("media_type") == "short" or any(isinstance(url, str) and "/shorts/" in url for url in addresses)


def _chapters(value: Any) -> tuple[Chapter, ...]:
    found = []
    for item in value[:MAX_CHAPTERS] if isinstance(value, list) else ():
        start = _number(item.get("start_time"), MAX_SECONDS) if isinstance(item, dict) else None
        if start is not None:
            found.append(Chapter(start, plain_text(item.get("title"), TITLE_CHARS) or ""))
    return tuple(sorted(found, key=lambda chapter: chapter.start_s))


def _tracks(value: Any) -> tuple[str, ...]:
    names = sorted(value)[:MAX_TRACKS] if isinstance(value, dict) else ()
    return tuple(name for name in names if 0 < len(name) <= 60 and name.isascii() and name != "live_chat")


def merged(infos: Sequence[VideoInfo]) -> VideoInfo:
    """Merge what several sources say of one video: of each field the first that says anything.

    The order is archive, ytdlp, rss, and within one of them the last fetched first. What belongs together stays
    together: the most precise moment of publication with its precision, availability with its restriction. A stream
    is over once a later fetch says so, whatever the order.

    Raises:
        ValueError: no infos, or of several videos.
    """
    if len({info.video_id for info in infos}) != 1:
        raise ValueError("merging takes what is said of one video")
    ordered = sorted(infos, key=lambda info: (SOURCES.index(info.source), -_fetched(info)))
    dated = min(ordered, key=lambda info: PRECISIONS.index(info.date_precision))
    allowed = next((info for info in ordered if info.availability), None)
    live = _live_facts(ordered)
    said = {name: _first(ordered, name, None) for name in _PLAIN} | {name: _first(ordered, name, ()) for name in _LISTS}
    return replace(
        ordered[0],
        **said,
        published_at=dated.published_at,
        date_precision=dated.date_precision,
        is_short=any(info.is_short for info in ordered),
        live_status=live.live_status if live else None,
        availability=allowed.availability if allowed else None,
        restriction=allowed.restriction if allowed else None,
    )


def _live_facts(ordered: Sequence[VideoInfo]) -> VideoInfo | None:
    """The info whose live status holds: the first that has one, unless a later fetch found the stream over."""
    told = [info for info in ordered if info.live_status is not None]
    if not told or told[0].live_status in SETTLED:
        return told[0] if told else None
    over = [info for info in told if info.live_status in SETTLED and _fetched(info) > _fetched(told[0])]
    return over[0] if over else told[0]


def _first(infos: Sequence[VideoInfo], name: str, empty: Any) -> Any:
    return next((value for info in infos if (value := getattr(info, name)) != empty), empty)


def _fetched(info: VideoInfo) -> float:
    return info.epoch.timestamp() if info.epoch else 0.0

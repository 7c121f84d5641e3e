"""The description that yt-dlp gives of a video: its caption tracks, and what of it is kept.

Belongs here: the keys of yt-dlp's result, in memory. Does not belong here: getting it (`youtube_dlp.py`) and reading
the file that is made of it (`youtube_info.py`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magpie.sources.caption_tracks import FORMATS, Track
from magpie.sources.youtube_info import RESTRICTION_KEY, SOURCE_KEY
from magpie.sources.youtube_verdicts import Verdict

# What `read_info` reads; formats, thumbnails, heatmaps and comments stay away.
KEPT = (
    *("id", "title", "description", "channel_id", "timestamp", "upload_date", "duration", "view_count", "like_count"),
    *("media_type", "webpage_url", "live_status", "release_timestamp", "availability", "age_limit", "language"),
    "chapters",
)
# In yt-dlp's words, so that the file reads like any other info.json.
_AVAILABILITY: Mapping[str | None, str] = {"members_only": "subscriber_only", "premium_only": "premium_only"}


@dataclass(frozen=True)
class Offered:
    """A caption track that can be fetched."""

    track: Track
    url: str


def offered(found: Mapping[str, Any]) -> list[Offered]:
    """Return the tracks of a description in formats that are read; none that a machine translated."""
    tracks = []
    for key, manual in (("subtitles", True), ("automatic_captions", False)):
        for name, forms in _items(found.get(key)):
            for form in forms if isinstance(forms, list) else ():
                url, ending = (form.get("url"), form.get("ext")) if isinstance(form, dict) else (None, None)
                # Such an address names the language that it translates to.
                if isinstance(url, str) and ending in FORMATS and not re.search(r"[?&]tlang=", url):
                    tracks.append(Offered(Track(name, ending, manual), url))
    return tracks


def spoken(tracks: Sequence[Offered]) -> str | None:
    """Return the language that was recognised in the video, None if none or several were."""
    marked = {
        item.track.name.removesuffix("-orig")
        for item in tracks
        if not item.track.manual and item.track.name.endswith("-orig")
    }
    return marked.pop() if len(marked) == 1 else None


def kept(found: Mapping[str, Any], tracks: Sequence[Offered], verdict: Verdict) -> dict[str, Any]:
    """Return what is kept of a description: `KEPT`, names of tracks, and why the video is refused if it is."""
    held = {name: found.get(name) for name in KEPT}
    held["language"] = held["language"] or spoken(tracks)
    for key, manual in (("subtitles", True), ("automatic_captions", False)):
        names = {item.track.name for item in tracks if item.track.manual == manual}
        held[key] = {
            name: [
                {"ext": item.track.format} for item in tracks if item.track.name == name and item.track.manual == manual
            ]
            for name in sorted(names)
        }
    if verdict.outcome == "private":
        held["availability"] = "private"
    elif verdict.outcome == "restricted":
        held |= {
            "availability": _AVAILABILITY.get(verdict.restriction, "needs_auth"),
            RESTRICTION_KEY: verdict.restriction,
        }
    return held | {SOURCE_KEY: "ytdlp"}


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((name, item) for name, item in value.items() if isinstance(name, str))

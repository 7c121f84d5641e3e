"""The RSS feed of a YouTube channel: its newest videos, without a key.

Belongs here: reading the feed, and keeping an entry as a file. Does not belong here: fetching it (`youtube_live.py`).

The feed says neither duration nor live status, and Shorts and streams are mixed in.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from magpie.sources.whole_file import write_whole
from magpie.sources.youtube_files import FEED_ENDING, VIDEO_ID
from magpie.sources.youtube_info import (
    CHANNEL_ID,
    DESCRIPTION_CHARS,
    MAX_COUNT,
    SOURCE_KEY,
    TITLE_CHARS,
    plain_text,
)

# Fifteen entries with full descriptions stay below 100 kB.
MAX_BYTES = 4 << 20
MAX_ENTRIES = 100
ATOM = "{http://www.w3.org/2005/Atom}"
YT = "{http://www.youtube.com/xml/schemas/2015}"
MEDIA = "{http://search.yahoo.com/mrss/}"


class BadFeed(ValueError):
    """What came is no feed; the message is one line."""


@dataclass(frozen=True)
class FeedEntry:
    """One video as the feed has it; moments are UTC, `link` is its page."""

    video_id: str
    channel_id: str | None
    title: str | None
    published_at: datetime | None
    updated_at: datetime | None
    description: str | None
    view_count: int | None
    link: str

    @property
    def is_short(self) -> bool:
        return "/shorts/" in self.link


def read_feed(xml: bytes) -> list[FeedEntry]:
    """Return the entries of a channel's feed in its order; those without a usable id are left out.

    Raises:
        BadFeed: too large, no XML, XML with a document type (which could hide entities that grow), or no Atom feed.
    """
    if len(xml) > MAX_BYTES:
        raise BadFeed(f"the feed has {len(xml)} bytes, allowed are {MAX_BYTES}")
    _refuse_document_types(xml)
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError, LookupError):  # the last two: an encoding that is unknown or wrong
        raise BadFeed("the feed is no XML") from None
    if root.tag != f"{ATOM}feed":
        raise BadFeed("what came is no Atom feed")
    entries = (_entry(item) for item in root.findall(f"{ATOM}entry")[:MAX_ENTRIES])
    return list({entry.video_id: entry for entry in entries if entry is not None}.values())


def _refuse_document_types(xml: bytes) -> None:
    def refuse(*_: object) -> None:
        raise BadFeed("the feed has a document type; such XML is not read")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, LookupError):
        raise BadFeed("the feed is no XML") from None


def _entry(item: ElementTree.Element) -> FeedEntry | None:
    video_id = item.findtext(f"{YT}videoId") or ""
    if not VIDEO_ID.fullmatch(video_id):
        return None
    channel_id = item.findtext(f"{YT}channelId") or ""
    links = [link.get("href", "") for link in item.findall(f"{ATOM}link") if link.get("rel") == "alternate"]
    group = f"{MEDIA}group/{MEDIA}"
    statistics = item.find(f"{group}community/{MEDIA}statistics")
    # Built anew: an address from outside goes into nobody's file.
    page = "shorts/" if any("/shorts/" in link for link in links) else "watch?v="
    return FeedEntry(
        video_id=video_id,
        channel_id=channel_id if CHANNEL_ID.fullmatch(channel_id) else None,
        title=plain_text(item.findtext(f"{ATOM}title") or item.findtext(f"{group}title"), TITLE_CHARS),
        published_at=_moment(item.findtext(f"{ATOM}published")),
        updated_at=_moment(item.findtext(f"{ATOM}updated")),
        description=plain_text(item.findtext(f"{group}description"), DESCRIPTION_CHARS),
        view_count=None if statistics is None else _views(statistics.get("views", "")),
        link=f"https://www.youtube.com/{page}{video_id}",
    )


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat((text or "").strip())
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _views(text: str) -> int | None:
    # Digits of other scripts are digits to int() too, and a number of a million digits takes minutes.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_COUNT)) else None


def write_feed_entry(folder: Path, entry: FeedEntry, channel_id: str, seen: datetime) -> Path:
    """Keep an entry as `<id>.rss.json` in the keys of an info.json, so that it is read like one.

    Args:
        channel_id: whose feed it is.
        seen: when.

    Raises:
        UserError: the file cannot be written.
    """
    held = {
        "id": entry.video_id,
        "channel_id": entry.channel_id or channel_id,
        "title": entry.title,
        "description": entry.description,
        "timestamp": None if entry.published_at is None else int(entry.published_at.timestamp()),
        "view_count": entry.view_count,
        "webpage_url": entry.link,
        "epoch": int(seen.timestamp()),
        SOURCE_KEY: "rss",
    }
    content = json.dumps(held, ensure_ascii=True, separators=(",", ":")).encode()
    return write_whole(folder / f"{entry.video_id}{FEED_ENDING}", content)

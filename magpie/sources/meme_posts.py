"""A post of a channel as any platform gives it, and what a payload holds.

Belongs here: the shape that all readers of channel posts return, and what they share: counts such as `1.2K`, moments,
addresses, links, mentions, hashtags, each bounded, because whoever writes a post writes these too. Does not belong
here: any one format (`telegram_export.py`, `telegram_web.py`, `vk_wall.py`, `instagram_items.py`), what a post is
worth (`magpie/memes`).
"""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import PurePosixPath
from typing import Any

# Telegram allows 4096 characters, VK more; nothing that long is a meme.
TEXT_CHARS = 10_000
# Names of channels, emoji, kinds.
NAME_CHARS = 200
# Several times the longest signed address of a picture that was seen.
URL_CHARS = 4096
# Above this nobody writes by hand, and a list column stays small.
MAX_FOUND = 100
# Instagram shows 20 of a carousel, Telegram 10.
MAX_MEDIA = 50
MAX_REACTIONS = 100
MAX_COUNT = 10**15  # fits 64 bits, and no post was seen so often
MAX_SIDE = 100_000  # pixels; no decoder opens more
MAX_SECONDS = 10**6  # eleven days: no platform takes a longer video
# Before the first, none of the platforms was there; beyond the second, the clock of whoever wrote the file is wrong.
EARLIEST = datetime(2004, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

# Ids become parts of other ids and of file names.
_POST_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_COUNT = re.compile(
    r"(?P<grouped>[0-9]{1,3}(?:,[0-9]{3})+)|(?P<decimal>[0-9]{1,18}(?:[.,][0-9]{1,6})?)(?P<unit>[KMB]?)"
)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}
_LINK = re.compile(r"""(?:https?://|(?<![\w./@-])(?:www\.|t\.me/|vk\.cc/))[^\s<>"«»]+""", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@./])@([A-Za-z0-9_]{2,32})")
# Names on Instagram may hold dots, but not end with one.
_DOTTED_MENTION = re.compile(r"(?<![\w@./])@([A-Za-z0-9_](?:[A-Za-z0-9_.]{0,30}[A-Za-z0-9_]))")
_HASHTAG = re.compile(r"(?<![\w#&/])#(\w*[^\W\d_]\w*)")
_HASHTAG_CHARS = 140
_ADDRESS = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")


class PayloadError(Exception):
    """A payload that is none of its platform.

    Attributes:
        reason: one word for tables, like `no_preview`.
        detail: one line: what is wrong, and what to do where something can be done.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = " ".join(detail.split())[:500]
        super().__init__(f"{reason}: {self.detail}")


class Unreadable(ValueError):
    """What is wrong with one post; it never leaves the readers."""


@dataclass(frozen=True)
class MediaItem:
    """One picture, video or file of a post.

    Attributes:
        kind: photo, video, animation, audio, document, sticker, poll or what the platform calls it.
        url: where the bytes are for some days; file: where they are in an archive, relative to its folder.
    """

    kind: str
    url: str | None = None
    file: str | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    mime: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Why a post is turned down as soon as it is read."""

    reason: str
    observed: str | None = None
    threshold: str | None = None


@dataclass(frozen=True)
class RawPost:
    """One post.

    Attributes:
        post_id: unique within its source.
        published_at: UTC.
        views: None where unknown, which is not 0.
        rejected: the reader's own rule that turns it down.
        unreadable: what is wrong with it where id and date could be read and the rest not.
    """

    post_id: str
    published_at: datetime
    url: str | None = None
    text: str | None = None
    media: tuple[MediaItem, ...] = ()
    out_links: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    hashtags: tuple[str, ...] = ()
    forwarded_from: str | None = None
    forwarded_url: str | None = None
    views: int | None = None
    likes: int | None = None
    reposts: int | None = None
    comments: int | None = None
    reactions: Mapping[str, int] | None = None
    is_ad: bool = False
    uploader_id: str | None = None
    language: str | None = None
    rejected: Verdict | None = None
    unreadable: str | None = None


@dataclass(frozen=True)
class BadPost:
    """A post without id or date.

    Attributes:
        where: place in the payload, like `messages[17]`.
    """

    where: str
    problem: str


@dataclass(frozen=True)
class Payload:
    """What one file or page holds.

    Attributes:
        source: the channel's name as the payload has it, None where it does not say.
        missing_ids: gaps between consecutive ids; None where the platform counts over all channels.
        older: what to ask for to get the page before this one; None: there is none.
    """

    posts: tuple[RawPost, ...]
    bad: tuple[BadPost, ...] = ()
    source: str | None = None
    missing_ids: int | None = None
    older: str | None = None
    notes: tuple[str, ...] = field(default=())


def read_post(
    where: str,
    post_id: str | None,
    published_at: datetime | None,
    read: Callable[[str, datetime], RawPost],
    url: str | None = None,
) -> RawPost | BadPost:
    """What `read` makes of id and moment; a post that says what is wrong if it raises, a bad one if either is None."""
    if post_id is None or published_at is None:
        return BadPost(where, "it has no usable id" if post_id is None else "it has no date with a time zone")
    try:
        return read(post_id, published_at)
    except Unreadable as problem:
        return RawPost(post_id, published_at, url, unreadable=str(problem)[:NAME_CHARS])


def payload_of(
    found: Iterable[RawPost | BadPost],
    *,
    source: str | None = None,
    missing_ids: int | None = None,
    older: str | None = None,
    notes: tuple[str, ...] = (),
) -> Payload:
    """A payload of these posts, of several with one id the first."""
    posts: dict[str, RawPost] = {}
    bad = []
    for item in found:
        if isinstance(item, BadPost):
            bad.append(item)
        else:
            posts.setdefault(item.post_id, item)
    return Payload(tuple(posts.values()), tuple(bad), source, missing_ids, older, notes)


def json_of(content: bytes) -> Any:
    """The JSON value of a payload.

    Raises:
        PayloadError: `not_json`.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise PayloadError("not_json", "it is no JSON, or cut off; fetch or export it again") from None


def mapping_of(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one where there is something else: for parts that a post can do without."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any, what: str) -> list[Any]:
    """A list; None is an empty one.

    Raises:
        Unreadable: it is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{what} is no list")
    return value


def post_id_of(value: Any) -> str | None:
    """An id of letters, digits, dots, dashes, at most 128; None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
        value = str(value)
    return value if isinstance(value, str) and _POST_ID.fullmatch(value) else None


def trimmed(text: str, limit: int = TEXT_CHARS) -> str | None:
    """A text without surrounding space, control characters and half surrogate pairs; None if nothing is left."""
    text = text[: 2 * limit].replace("\r\n", "\n")
    return _UNPRINTABLE.sub("", text).strip()[:limit].rstrip() or None


def text_of(value: Any, what: str, limit: int = TEXT_CHARS) -> str | None:
    """A text as `trimmed` leaves it, or None.

    Raises:
        Unreadable: it is neither text nor null.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unreadable(f"{what} is no text")
    return trimmed(value, limit)


def name_of(value: Any) -> str | None:
    """A name in one line, or None where there is none."""
    return trimmed(" ".join(value[: 2 * NAME_CHARS].split()), NAME_CHARS) if isinstance(value, str) else None


def count_of(text: str | None) -> int | None:
    """What a shortened count stands for, like `1.2K`, `3M`, `1 204`; None where it is none.

    Read as a decimal and rounded half up: as a float, 2.01 thousand would come out as 2009.
    """
    found = _COUNT.fullmatch("".join(text[:NAME_CHARS].upper().split())) if text else None
    if found is None:
        return None
    if found["grouped"]:
        exact = Decimal(found["grouped"].replace(",", ""))
    else:
        exact = Decimal(found["decimal"].replace(",", ".")) * _UNITS[found["unit"]]
    count = int(exact.to_integral_value(ROUND_HALF_UP))
    return count if count <= MAX_COUNT else None


def number_of(value: Any, most: float) -> float | None:
    """A number from 0 to `most`, also where it is written as text; None where it is none."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return float(value) if math.isfinite(value) else None


def whole_of(value: Any) -> int | None:
    """A count as APIs give it; None where it is hidden, which they write as null or -1."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value <= MAX_COUNT else None
    number = number_of(value, MAX_COUNT)
    return None if number is None else int(number)


def side_of(value: Any) -> int | None:
    """Width or height in pixels; None where it is unknown, which old photos write as 0."""
    side = number_of(value, MAX_SIDE)
    return int(side) or None if side is not None else None


def seconds_of(value: Any) -> float | None:
    """A duration in seconds, above 0."""
    return number_of(value, MAX_SECONDS) or None


def moment_of(value: Any) -> datetime | None:
    """A moment in UTC, of Unix seconds or of ISO 8601 with a zone; None where it is neither, or out of all bounds."""
    moment = None
    seconds = number_of(value, LATEST.timestamp())
    if seconds is not None:
        moment = datetime.fromtimestamp(seconds, UTC)
    elif isinstance(value, str) and len(value) <= 40:
        try:
            moment = datetime.fromisoformat(value.strip())
            # A moment without a zone could be any of 27 hours.
            moment = moment.astimezone(UTC) if moment.tzinfo is not None else None
        except (ValueError, OverflowError):
            return None
    return moment if moment is not None and EARLIEST <= moment < LATEST else None


def address_of(value: Any) -> str | None:
    """An http(s) address; None for anything else."""
    if not isinstance(value, str) or len(value) > URL_CHARS:
        return None
    address = "https:" + value if value.startswith("//") else value
    return address if _ADDRESS.fullmatch(address) and not _UNPRINTABLE.search(address) else None


def file_of(value: Any) -> str:
    """The path of a file beside the payload, with slashes.

    Raises:
        Unreadable: it is no path, or one that leads out of the folder.
    """
    if not isinstance(value, str) or not 0 < len(value) <= URL_CHARS or _UNPRINTABLE.search(value):
        raise Unreadable("the path of a medium is no path")
    path = PurePosixPath(value.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(value) or not path.parts:
        raise Unreadable("the path of a medium leads out of the folder")
    return str(path)


def links_in(text: str | None) -> tuple[str, ...]:
    """Addresses in a text, in order, without what ends the sentence around them; `t.me/name` counts as one."""
    found = []
    for link in _LINK.findall(text or ""):
        link = link.rstrip(".,;:!?'*…]}|")
        if "(" not in link:
            link = link.rstrip(").,")
        found.append(link if "://" in link[:8] else "https://" + link)
    return unique_links(found)


def unique_links(links: Iterable[Any], own: Collection[str] = ()) -> tuple[str, ...]:
    """The http(s) addresses among them, each once, in order; without those on t.me of the names in `own`."""
    names = "|".join(re.escape(name) for name in own if name)
    of_itself = re.compile(rf"https?://t\.me/(?:s/)?(?:{names})(?:[/?#].*)?" if names else r"(?!)", re.IGNORECASE)
    kept = dict.fromkeys(link for item in links if (link := address_of(item)) and not of_itself.fullmatch(link))
    return tuple(kept)[:MAX_FOUND]


def mentions_in(text: str | None, *, dots: bool = False) -> tuple[str, ...]:
    """Names after `@`, without it, each once, in order; an address of mail is none.

    Args:
        text: where to look.
        dots: whether a name may hold dots.
    """
    return tuple(dict.fromkeys((_DOTTED_MENTION if dots else _MENTION).findall(text or "")))[:MAX_FOUND]


def hashtags_in(text: str | None) -> tuple[str, ...]:
    """Tags after `#` that hold a letter, without it, each once, in order."""
    tags = (tag for tag in _HASHTAG.findall(text or "") if len(tag) <= _HASHTAG_CHARS)
    return tuple(dict.fromkeys(tags))[:MAX_FOUND]


def gaps(ids: Iterable[int]) -> int:
    """How many ids are missing between the lowest and the highest."""
    seen = set(ids)
    return max(seen) - min(seen) + 1 - len(seen) if seen else 0

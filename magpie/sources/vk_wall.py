"""Posts of VK walls: answers of wall.get and its relatives, and tables of posts.

Belongs here: the shapes in which versions of the API and of newsfeeds give a post, the largest size of a photo, and
which posts are turned down as soon as they are read. Does not belong here: asking for them (the live client), what a
post is worth (`magpie/memes`).

Answers are read from API 5.199 down to 5.x of 2013; pinned posts come first, so nothing here goes by order.
"""

import csv
import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from magpie.sources.meme_posts import (
    MAX_FOUND,
    MAX_MEDIA,
    BadPost,
    MediaItem,
    Payload,
    PayloadError,
    RawPost,
    Verdict,
    address_of,
    gaps,
    hashtags_in,
    json_of,
    links_in,
    list_of,
    mapping_of,
    mentions_in,
    moment_of,
    name_of,
    payload_of,
    post_id_of,
    read_post,
    seconds_of,
    side_of,
    text_of,
    trimmed,
    unique_links,
    whole_of,
)

# Whole pictures by growing size; o, p, q, r are cut to a shape.
_SIZES = ("s", "m", "x", "y", "z", "w")
# Before 5.77 sizes were keys of the photo, named by their larger side.
_OLD_SIZE = re.compile(r"photo_([0-9]{1,5})")
_KINDS = {"doc": "document"}
_MENTION = re.compile(
    r"\[(?P<who>(?:club|public|event|id)[0-9]{1,12})(?::[^\[\]|]{0,60})?\|(?P<shown>[^\[\]]{1,500})\]"
)
# Only what VK itself escapes: a text may hold `&copy=1` of an address.
_ESCAPED = re.compile(r"&(?:#[0-9]{1,7}|amp|lt|gt|quot);|<br ?/?>")
_MARKED_LINK = re.compile(r"\[(?P<link>https?://[^\s|\[\]]{1,2000})\|(?P<shown>[^\[\]]{1,500})\]")
_COLUMNS = ("id", "text", "date")


def read(content: bytes, text_max: int) -> Payload:
    """Read an answer of wall.get, wall.getById or a newsfeed, or a CSV file with id, text and date.

    Args:
        content: the answer or file.
        text_max: characters from which on a text is too long for a meme.

    Raises:
        PayloadError: not_json, no_posts, bad_csv, vk_error_<code>.
    """
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return payload_of(_rows(content, text_max))
    items, left_out = _items(json_of(content))
    found = [_post(f"items[{number}]", item, text_max) for number, item in items]
    # A pinned post may be years older than the page.
    pinned = {full_id(item) for _, item in items if isinstance(item, dict) and item.get("is_pinned")}
    ids = [post.post_id.rpartition("_") for post in found if isinstance(post, RawPost)]
    owners = {owner for owner, _, _ in ids}
    return payload_of(
        found,
        source=_name(min(owners)) if len(owners) == 1 else None,
        missing_ids=gaps(int(number) for owner, _, number in ids if f"{owner}_{number}" not in pinned)
        if len(owners) <= 1
        else None,
        notes=(f"left out as no posts: {left_out}",) if left_out else (),
    )


def _items(data: Any) -> tuple[list[tuple[int, Any]], int]:
    """What may be posts, each with its place, and how much of a newsfeed is something else."""
    error = mapping_of(data).get("error")
    if error is not None:
        code, message = whole_of(mapping_of(error).get("error_code")), mapping_of(error).get("error_msg")
        known = code is not None and code < 100_000
        raise PayloadError(f"vk_error_{code if known else 'unknown'}", name_of(message) or "VK says no more")
    answer = data.get("response", data) if isinstance(data, dict) else data
    items = answer.get("items") if isinstance(answer, dict) else answer
    if not isinstance(items, list):
        raise PayloadError("no_posts", "no answer of VK's wall.get: it has no list of items")
    # Friends, photos and the like of a newsfeed.
    others = {number for number, item in enumerate(items) if "source_id" in mapping_of(item) and not _is_post(item)}
    return [(number, item) for number, item in enumerate(items) if number not in others], len(others)


def _is_post(item: Mapping[str, Any]) -> bool:
    return item.get("type", "post") == "post"


def full_id(item: Mapping[str, Any]) -> str | None:
    """`owner_id`; a newsfeed has other words for both."""
    keys = ("source_id", "post_id") if "source_id" in item else ("owner_id", "id")
    owner, number = (_whole(item.get(key)) for key in keys)
    return f"{owner}_{number}" if owner and number and number > 0 else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None


def _name(owner: str) -> str:
    """What VK calls an owner without a name of its own."""
    return f"club{owner[1:]}" if owner.startswith("-") else f"id{owner}"


def _post(where: str, item: Any, text_max: int) -> RawPost | BadPost:
    if not isinstance(item, dict):
        return BadPost(where, "it is no object")
    if "post_id" in item and "source_id" not in item:
        return BadPost(where, "it is a comment")
    post_id = full_id(item)
    url = f"https://vk.com/wall{post_id}"

    def post(post_id: str, published_at: datetime) -> RawPost:
        chain = [item, *(mapping_of(copy) for copy in list_of(item.get("copy_history"), "copy_history"))]
        attachments = next((found for part in chain if (found := _attachments(part))), [])
        raw = next((words for part in chain if (words := text_of(part.get("text"), "the text"))), None)
        text, named, marked = _plain(raw)
        is_ad = any(part.get("marked_as_ads") == 1 for part in chain)
        # The last of a chain is where all reposts of it come from.
        origin = full_id(chain[-1]) if len(chain) > 1 else None
        return RawPost(
            post_id=post_id,
            published_at=published_at,
            url=url,
            text=text,
            media=tuple(_medium(attachment) for attachment in attachments[:MAX_MEDIA]),
            out_links=unique_links([*links_in(text), *marked, *(_link(attachment) for attachment in attachments)]),
            mentions=tuple(dict.fromkeys([*named, *mentions_in(text)])),
            hashtags=hashtags_in(text),
            forwarded_from=_name(origin.partition("_")[0]) if origin else None,
            forwarded_url=f"https://vk.com/wall{origin}" if origin else None,
            views=_count(item, "views"),
            likes=_count(item, "likes"),
            reposts=_count(item, "reposts"),
            comments=_count(item, "comments"),
            is_ad=is_ad,
            rejected=_verdict(is_ad, [str(found.get("type")) for found in attachments], text, text_max),
        )

    return read_post(where, post_id, moment_of(item.get("date")), post, url)


def _attachments(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [mapping_of(found) for found in list_of(part.get("attachments"), "attachments")]


def _verdict(is_ad: bool, kinds: Sequence[str], text: str | None, text_max: int) -> Verdict | None:
    """Why a post is no meme; the first that holds."""
    if is_ad:
        return Verdict("vk_ad", "marked as an advertisement")
    if not kinds:
        return Verdict("no_media", "0 attachments", "1")
    other = next((kind for kind in kinds if kind != "photo"), None)
    if other is not None:
        return Verdict("not_photo", name_of(other), "photo")
    if text and len(text) >= text_max:
        return Verdict("long_text", str(len(text)), str(text_max))
    return None


def _plain(text: str | None) -> tuple[str | None, list[str], list[str]]:
    """A text as it is shown, who is mentioned in it by id, and the addresses behind words."""
    raw = _ESCAPED.sub(lambda found: "\n" if found[0][0] == "<" else html.unescape(found[0]), text or "")
    named = [found["who"] for found in _MENTION.finditer(raw)][:MAX_FOUND]
    links = [found["link"] for found in _MARKED_LINK.finditer(raw)]
    shown = _MENTION.sub(lambda found: found["shown"], raw)
    return trimmed(_MARKED_LINK.sub(lambda found: found["shown"], shown)), named, links


def _count(item: Mapping[str, Any], key: str) -> int | None:
    return whole_of(mapping_of(item.get(key)).get("count"))


def _link(attachment: Mapping[str, Any]) -> Any:
    return mapping_of(attachment.get("link")).get("url") if attachment.get("type") == "link" else None


def _medium(attachment: Mapping[str, Any]) -> MediaItem:
    said = attachment.get("type")
    kind = (name_of(said) or "unknown").replace(" ", "_")
    content = mapping_of(attachment.get(said)) if isinstance(said, str) else {}
    if kind == "photo":
        return _photo(content)
    return MediaItem(
        _KINDS.get(kind, kind),
        url=address_of(content.get("url")) if kind == "doc" else None,
        width=side_of(content.get("width")),
        height=side_of(content.get("height")),
        duration_s=seconds_of(content.get("duration")),
    )


def _photo(photo: Mapping[str, Any]) -> MediaItem:
    """The original if there is one, else the largest size; by type where old photos say 0 x 0."""
    sizes = photo.get("sizes")
    whole = [size for size in map(mapping_of, sizes if isinstance(sizes, list) else ()) if size.get("type") in _SIZES]
    whole.sort(key=lambda size: (_area(size), _SIZES.index(size["type"])), reverse=True)
    old = sorted(
        ((int(named[1]), value) for key, value in photo.items() if (named := _OLD_SIZE.fullmatch(key))), reverse=True
    )
    candidates = [mapping_of(photo.get("orig_photo")), *whole, *({"url": url} | _sides(photo) for _, url in old)]
    best = next((size for size in candidates if address_of(size.get("url"))), {})
    return MediaItem(
        "photo",
        url=address_of(best.get("url")),
        width=side_of(best.get("width")),
        height=side_of(best.get("height")),
    )


def _sides(photo: Mapping[str, Any]) -> dict[str, Any]:
    """Of a photo in the old shape: they are those of its largest size."""
    return {"width": photo.get("width"), "height": photo.get("height")}


def _area(size: Mapping[str, Any]) -> int:
    return (side_of(size.get("width")) or 0) * (side_of(size.get("height")) or 0)


def _rows(content: bytes, text_max: int) -> Iterator[RawPost | BadPost]:
    """Rows of a table of posts; it says nothing of their media."""
    try:
        # Names of columns in the first line; a text may hold line breaks.
        table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        if not set(_COLUMNS) <= set(table.fieldnames or ()):
            raise PayloadError("no_posts", f"neither JSON nor a CSV file with the columns {', '.join(_COLUMNS)}")
        rows = list(table)
    except (UnicodeDecodeError, csv.Error):
        raise PayloadError("bad_csv", "neither JSON nor a CSV file in UTF-8") from None
    for number, row in enumerate(rows, 1):
        yield _row(f"row {number}", row, text_max)


def _row(where: str, row: Mapping[str, Any], text_max: int) -> RawPost | BadPost:
    owner = row.get("owner_id")

    def post(post_id: str, published_at: datetime) -> RawPost:
        text, named, marked = _plain(text_of(row["text"], "the text"))
        return RawPost(
            post_id=post_id,
            published_at=published_at,
            text=text,
            out_links=unique_links([*links_in(text), *marked]),
            mentions=tuple(dict.fromkeys([*named, *mentions_in(text)])),
            hashtags=hashtags_in(text),
            views=whole_of(row.get("views")),
            likes=whole_of(row.get("likes")),
            reposts=whole_of(row.get("reposts")),
            rejected=_verdict(False, (), text, text_max),
        )

    post_id = post_id_of(f"{owner}_{row['id']}" if owner else row["id"])
    return read_post(where, post_id, moment_of(row["date"]), post)

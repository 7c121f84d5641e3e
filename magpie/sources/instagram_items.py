"""Posts of Instagram in the shapes in which its APIs, scrapers and the personal export give them.

Belongs here: finding the posts in an answer, and reading one whatever names its parts have there. Does not belong
here: asking for them (the live client), what a post is worth (`magpie/memes`).

Nodes of GraphQL, items of the private API and flat records of scrapers say the same under three sets of names. They
share a number, which is the id here; a personal export has none, there the name of the first file stands for it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from magpie.sources.meme_posts import (
    MAX_MEDIA,
    URL_CHARS,
    BadPost,
    MediaItem,
    Payload,
    PayloadError,
    RawPost,
    address_of,
    file_of,
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
    whole_of,
)

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_CODE = re.compile(r"[A-Za-z0-9_-]{5,60}")
# The code of a private account goes on with a key.
_CODE_CHARS = 11
# GraphQL's lists of posts; those that somebody saved or liked are other people's.
_CONNECTIONS = frozenset(
    {
        "edge_owner_to_timeline_media",
        "edge_felix_video_timeline",
        "edge_hashtag_to_media",
        "edge_hashtag_to_top_posts",
        "edge_user_to_photos_of_you",
        "edge_web_feed_timeline",
        "xdt_api__v1__feed__user_timeline_graphql_connection",
    }
)
_SINGLE = frozenset({"shortcode_media", "xdt_shortcode_media"})
_LISTS = frozenset({"items", "feed_items", "ig_reels_media", "ig_igtv_media"})
# Gone after a day, and no posts.
_STORIES = frozenset({"reels_media", "ig_stories"})
_WRAPPERS = ("node", "media", "media_or_ad")
# Deeper than the lists of any answer.
_MAX_DEPTH = 8
_VIDEO_TYPES = ("2", "Video", "GraphVideo", "XDTGraphVideo")
_CAROUSEL_TYPES = ("8", "Sidecar", "GraphSidecar", "XDTGraphSidecar")
_VIDEO_ENDINGS = (".mp4", ".mov", ".m4v")


@dataclass
class _Found:
    """What the walk through an answer has met."""

    items: list[tuple[str, Any]] = field(default_factory=list)
    lists: int = 0
    left_out: int = 0
    older: str | None = None


def read(content: bytes) -> Payload:
    """Read an answer of GraphQL, the private API or HikerAPI, a scraper's list of records, or a personal export.

    Raises:
        PayloadError: not_json, instagram_error, no_posts.
    """
    data = json_of(content)
    answer = mapping_of(data)
    if answer.get("status") == "fail" or "exc_type" in answer:
        said = answer.get("message", answer.get("detail"))
        raise PayloadError("instagram_error", name_of(said) or "Instagram refused and says no more")
    found = _Found()
    _walk(data, "$", found, 0)
    if not found.lists:
        raise PayloadError("no_posts", "no list of Instagram posts that is known here")
    posts = [_post(where, item) for where, item in found.items]
    owners = {owner for _, item in found.items if (owner := _owner(mapping_of(item)))}
    return payload_of(
        posts,
        source=owners.pop() if len(owners) == 1 else None,
        older=found.older,
        notes=(f"left out as no posts: {found.left_out}",) if found.left_out else (),
    )


def _walk(value: Any, where: str, found: _Found, depth: int) -> None:
    """Look for lists of posts, and for what to ask for next, outside of posts."""
    if isinstance(value, list):
        _take(value, where, found)
    elif isinstance(value, dict) and depth < _MAX_DEPTH:
        found.older = found.older or _next_page(value)
        for key, part in value.items():
            place = f"{where}.{key[:60]}"
            if key in _STORIES:
                found.lists += 1
                found.left_out += len(part) if isinstance(part, list) else 1
            elif key in _CONNECTIONS:
                found.older = found.older or _next_page(mapping_of(part))
                _take(mapping_of(part).get("edges"), f"{place}.edges", found)
            elif key in _SINGLE:
                _take([part], place, found)
            elif key in _LISTS:
                _take(part, place, found)
            elif isinstance(part, dict):
                _walk(part, place, found, depth + 1)


def _take(items: Any, where: str, found: _Found) -> None:
    if not isinstance(items, list):
        return
    found.lists += 1
    for number, item in enumerate(items):
        parts = [part for key in _WRAPPERS if isinstance(part := mapping_of(item).get(key), dict)]
        # Between the posts of a feed stand people to follow and the like.
        if where.endswith(".feed_items") and not parts:
            found.left_out += 1
        else:
            found.items.append((f"{where}[{number}]", parts[0] if parts else item))


def _next_page(answer: Mapping[str, Any]) -> str | None:
    """What asks for older posts, as each API calls it."""
    page = mapping_of(answer.get("page_info"))
    paging = mapping_of(answer.get("paging_info"))
    cursors = (
        answer.get("next_page_id"),
        page.get("end_cursor") if page.get("has_next_page") is True else None,
        answer.get("next_max_id") if answer.get("more_available") is True else None,
        paging.get("max_id") if paging.get("more_available") is True else None,
    )
    for cursor in cursors:
        if isinstance(cursor, str | int) and not isinstance(cursor, bool) and 0 < len(str(cursor)) <= URL_CHARS:
            return str(cursor)
    return None


def _post(where: str, item: Any) -> RawPost | BadPost:
    if not isinstance(item, dict):
        return BadPost(where, "it is no object")
    exported = item.get("media")
    if isinstance(exported, list) and any("uri" in mapping_of(part) for part in exported):
        return _exported_post(where, item, [mapping_of(part) for part in exported])
    code, post_id = _code(item), post_number(item)
    url = f"https://www.instagram.com/p/{code}/" if code else None

    def post(post_id: str, published_at: datetime) -> RawPost:
        text = text_of(_caption(item), "the caption")
        hidden = item.get("like_and_view_counts_disabled") is True
        seen = _first(item, "view_count", "play_count", "video_view_count", "videoViewCount", "videoPlayCount")
        likes = _first(item, "like_count", "likesCount", "edge_media_preview_like", "edge_liked_by")
        return RawPost(
            post_id=post_id,
            published_at=published_at,
            url=url,
            text=text,
            media=_media(item),
            out_links=links_in(text),
            mentions=mentions_in(text, dots=True),
            hashtags=hashtags_in(text),
            views=None if hidden else _count(seen),
            likes=None if hidden else _count(likes),
            reposts=_count(_first(item, "reshare_count", "media_repost_count")),
            comments=_count(_first(item, "comment_count", "commentsCount", "edge_media_to_comment")),
            is_ad=_is_ad(item),
        )

    published_at = moment_of(_first(item, "taken_at", "taken_at_timestamp", "timestamp"))
    return read_post(where, post_id, published_at, post, url)


def _first(item: Mapping[str, Any], *names: str) -> Any:
    return next((value for name in names if (value := item.get(name)) is not None), None)


def _count(value: Any) -> int | None:
    return whole_of(value.get("count") if isinstance(value, dict) else value)


def _code(item: Mapping[str, Any]) -> str | None:
    code = _first(item, "code", "shortcode", "shortCode")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def post_number(item: Mapping[str, Any]) -> str | None:
    """The number of a post, which is its id here, said or worked out from its address; None: it has none."""
    code = _code(item)
    return _pk(item) or (_pk_of_code(code) if code else None)


def _pk(item: Mapping[str, Any]) -> str | None:
    """The number of a post; its id may have the owner's behind it."""
    for value in (item.get("pk"), item.get("id")):
        number = (post_id_of(value) or "").partition("_")[0]
        if number.isascii() and number.isdigit():
            return number
    return None


def _pk_of_code(code: str) -> str:
    """The number that the address of a post writes to base 64."""
    number = 0
    for letter in code[:_CODE_CHARS]:
        number = number * 64 + _ALPHABET.index(letter)
    return str(number)


def _owner(item: Mapping[str, Any]) -> str | None:
    said = [mapping_of(item.get(key)).get("username") for key in ("user", "owner")]
    return next((name for value in (*said, item.get("ownerUsername")) if (name := name_of(value))), None)


def _caption(item: Mapping[str, Any]) -> Any:
    caption = item.get("caption")
    if caption is None:
        edges = list_of(mapping_of(item.get("edge_media_to_caption")).get("edges"), "the caption")
        return mapping_of(mapping_of(edges[0]).get("node")).get("text") if edges else None
    return caption.get("text") if isinstance(caption, dict) else caption


def _is_ad(item: Mapping[str, Any]) -> bool:
    marks = (item.get(name) for name in ("is_paid_partnership", "isSponsored", "is_ad"))
    sponsors = mapping_of(item.get("edge_media_to_sponsor_user")).get("edges")
    return any(mark is True for mark in marks) or bool(item.get("ad_id")) or bool(sponsors)


def _media(item: Mapping[str, Any]) -> tuple[MediaItem, ...]:
    """One medium, or those of a carousel; without them a carousel is one medium of that kind, never a picture."""
    edges = list_of(mapping_of(item.get("edge_sidecar_to_children")).get("edges"), "the carousel")
    parts = [
        *list_of(item.get("carousel_media"), "the carousel"),
        *(mapping_of(edge).get("node") for edge in edges),
        *list_of(item.get("childPosts"), "the carousel"),
    ]
    if parts:
        return tuple(_medium(mapping_of(part)) for part in parts[:MAX_MEDIA])
    if _type(item) not in _CAROUSEL_TYPES:
        return (_medium(item),)
    images = item.get("images")
    addresses = [address for value in images if (address := address_of(value))] if isinstance(images, list) else []
    return tuple(MediaItem("photo", url=address) for address in addresses[:MAX_MEDIA]) or (MediaItem("carousel"),)


def _type(item: Mapping[str, Any]) -> str:
    return str(_first(item, "media_type", "__typename", "type"))


def _medium(item: Mapping[str, Any]) -> MediaItem:
    dimensions = mapping_of(item.get("dimensions"))
    width = _first(item, "original_width", "dimensionsWidth") or dimensions.get("width")
    height = _first(item, "original_height", "dimensionsHeight") or dimensions.get("height")
    is_video = item.get("is_video") is True or _type(item) in _VIDEO_TYPES
    if is_video:
        best = _largest(item.get("video_versions"))
        url = address_of(best.get("url")) or address_of(_first(item, "video_url", "videoUrl"))
    else:
        best = _largest(mapping_of(item.get("image_versions2")).get("candidates"))
        url = address_of(best.get("url")) or address_of(_first(item, "display_url", "displayUrl", "display_uri"))
    return MediaItem(
        kind="video" if is_video else "photo",
        url=url,
        width=side_of(best.get("width", width)),
        height=side_of(best.get("height", height)),
        duration_s=seconds_of(_first(item, "video_duration", "videoDuration")) if is_video else None,
    )


def _largest(sizes: Any) -> Mapping[str, Any]:
    """The largest of several sizes of one picture or video."""
    usable = [size for size in map(mapping_of, sizes if isinstance(sizes, list) else ()) if address_of(size.get("url"))]
    return max(
        usable, key=lambda size: (side_of(size.get("width")) or 0) * (side_of(size.get("height")) or 0), default={}
    )


def _exported_post(where: str, item: Mapping[str, Any], media: Sequence[Mapping[str, Any]]) -> RawPost | BadPost:
    """A post of the personal export; with one medium its facts stand there."""
    said = _first(item, "creation_timestamp", "timestamp")
    published_at = moment_of(said if said is not None else media[0].get("creation_timestamp"))
    uri = media[0].get("uri")
    # Ids are missing; the names of files are made of them, and stay the same from export to export.
    stem = post_id_of(PurePosixPath(uri).stem) if isinstance(uri, str) and "\0" not in uri else None
    post_id = stem or (str(int(published_at.timestamp())) if published_at else None)

    def post(post_id: str, published_at: datetime) -> RawPost:
        titles = (_repaired(part.get("title")) for part in (item, media[0]))
        text = next((text for title in titles if (text := text_of(title, "the title"))), None)
        return RawPost(
            post_id=post_id,
            published_at=published_at,
            text=text,
            media=tuple(_exported_media(media[:MAX_MEDIA])),
            out_links=links_in(text),
            mentions=mentions_in(text, dots=True),
            hashtags=hashtags_in(text),
        )

    return read_post(where, post_id, published_at, post)


def _exported_media(media: Sequence[Mapping[str, Any]]) -> Iterator[MediaItem]:
    for part in media:
        file = file_of(part.get("uri"))
        yield MediaItem("video" if file.lower().endswith(_VIDEO_ENDINGS) else "photo", file=file)


def _repaired(value: Any) -> Any:
    """A text that was UTF-8 and was read as Latin-1, as it was; anything else as it is.

    Half of such a text are control characters, so this comes before they are removed.
    """
    try:
        return value.encode("latin-1").decode("utf-8") if isinstance(value, str) else value
    except UnicodeError:
        return value

"""An upload as a payload: one post in one JSON object, beside the file that was uploaded.

Belongs here: writing it and reading it back, with the same suspicion as any other payload. Does not belong here: who
may upload and what becomes of it (`magpie/memes`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from magpie.sources.meme_posts import (
    MAX_FOUND,
    MAX_MEDIA,
    MAX_REACTIONS,
    NAME_CHARS,
    BadPost,
    MediaItem,
    Payload,
    PayloadError,
    RawPost,
    Unreadable,
    Verdict,
    address_of,
    file_of,
    json_of,
    list_of,
    mapping_of,
    moment_of,
    name_of,
    payload_of,
    post_id_of,
    read_post,
    seconds_of,
    side_of,
    text_of,
    unique_links,
    whole_of,
)

# What the object says it is, so that no other JSON is taken for an upload.
KIND = "magpie.upload"


def dump(post: RawPost) -> bytes:
    """One JSON object; files of its media are relative to the folder in which it is going to lie.

    Raises:
        ValueError: the moment of publication has no zone.
    """
    if post.published_at.tzinfo is None:
        raise ValueError("the moment of an upload has no time zone")
    said = asdict(post) | {"published_at": post.published_at.isoformat()}
    return json.dumps({"kind": KIND, "post": said}, indent=1).encode() + b"\n"


def read(content: bytes) -> Payload:
    """Read what `dump` wrote.

    Raises:
        PayloadError: not_json, no_upload.
    """
    data = mapping_of(json_of(content))
    if data.get("kind") != KIND:
        raise PayloadError("no_upload", "no upload that was written here")
    return payload_of([_post(mapping_of(data.get("post")))])


def _post(said: Mapping[str, Any]) -> RawPost | BadPost:
    def post(post_id: str, published_at: datetime) -> RawPost:
        return RawPost(
            post_id=post_id,
            published_at=published_at,
            url=address_of(said.get("url")),
            text=text_of(said.get("text"), "the text"),
            media=tuple(_medium(mapping_of(item)) for item in list_of(said.get("media"), "media")[:MAX_MEDIA]),
            out_links=unique_links(list_of(said.get("out_links"), "out_links")),
            mentions=_names(said.get("mentions"), "mentions"),
            hashtags=_names(said.get("hashtags"), "hashtags"),
            forwarded_from=name_of(said.get("forwarded_from")),
            forwarded_url=address_of(said.get("forwarded_url")),
            views=whole_of(said.get("views")),
            likes=whole_of(said.get("likes")),
            reposts=whole_of(said.get("reposts")),
            comments=whole_of(said.get("comments")),
            reactions=_reactions(said.get("reactions")),
            is_ad=said.get("is_ad") is True,
            uploader_id=name_of(said.get("uploader_id")),
            language=name_of(said.get("language")),
            rejected=_verdict(said.get("rejected")),
            unreadable=text_of(said.get("unreadable"), "unreadable", NAME_CHARS),
        )

    return read_post("post", post_id_of(said.get("post_id")), moment_of(said.get("published_at")), post)


def _medium(said: Mapping[str, Any]) -> MediaItem:
    kind = name_of(said.get("kind"))
    if kind is None:
        raise Unreadable("a medium has no kind")
    return MediaItem(
        kind=kind,
        url=address_of(said.get("url")),
        file=None if said.get("file") is None else file_of(said["file"]),
        width=side_of(said.get("width")),
        height=side_of(said.get("height")),
        duration_s=seconds_of(said.get("duration_s")),
        mime=name_of(said.get("mime")),
    )


def _names(said: Any, what: str) -> tuple[str, ...]:
    return tuple(name for item in list_of(said, what)[:MAX_FOUND] if (name := name_of(item)))


def _reactions(said: Any) -> Mapping[str, int] | None:
    pairs = ((name_of(emoji), whole_of(count)) for emoji, count in list(mapping_of(said).items())[:MAX_REACTIONS])
    return {emoji: count for emoji, count in pairs if emoji and count is not None} or None


def _verdict(said: Any) -> Verdict | None:
    told = mapping_of(said)
    reason = name_of(told.get("reason"))
    return Verdict(reason, name_of(told.get("observed")), name_of(told.get("threshold"))) if reason else None

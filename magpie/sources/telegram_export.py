"""Telegram Desktop's export of one channel (result.json).

Belongs here: its messages in the dialects that versions of the exporter write, and albums, which it takes apart, put
together again. Does not belong here: pages of the web preview (`telegram_web.py`), whether a file is there and what it
shows, what a post is worth (`magpie/memes`).

The exporter writes no views and, of a forward, no address.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from magpie.sources.meme_posts import (
    MAX_REACTIONS,
    BadPost,
    MediaItem,
    Payload,
    PayloadError,
    RawPost,
    Unreadable,
    file_of,
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
    read_post,
    seconds_of,
    side_of,
    trimmed,
    unique_links,
    whole_of,
)

# What stands for the path of a file that was not included, is too large, or was not to be had.
LEFT_OUT = "(File "
# As t.me writes reactions that are no plain emoji; a channel's own emoji have no character.
PAID_REACTION = "paid"
CUSTOM_REACTION = "custom"
_USERNAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,31}")
_KINDS = {
    "video_file": "video",
    "animation": "animation",
    "sticker": "sticker",
    "voice_message": "voice",
    "video_message": "video_message",
    "audio_file": "audio",
}
# Contents that are no file, by the key that only they have.
_OTHER_KINDS = {
    "poll": "poll",
    "location_information": "location",
    "contact_information": "contact",
    "game_title": "game",
    "invoice_information": "invoice",
    "giveaway_information": "giveaway",
    "giveaway_results": "giveaway",
    "paid_media": "paid_media",
    "todo_list": "todo_list",
}
# Telegram puts only these together, and never more than ten.
_ALBUM_KINDS = frozenset({"photo", "video", "document", "audio"})
_ALBUM_SIZE = 10


@dataclass(frozen=True)
class _Message:
    """A message as one post; `album` is what all items of an album have in common, None where it can be in none."""

    post: RawPost | BadPost
    album: tuple[Any, ...] | None = None


def read(content: bytes, name: str | None = None) -> Payload:
    """Read result.json; an album becomes one post under its first id, with the caption that one of its items has.

    Args:
        content: the file.
        name: the channel's name on t.me, where it is known: for the addresses of its posts, and to tell its own links.

    Raises:
        PayloadError: not_json, no_channel, not_one_channel.
    """
    channel = _channel(json_of(content))
    public = channel.get("type", "public_channel") == "public_channel"
    name = name if public and name and _USERNAME.fullmatch(name) else None
    items = enumerate(channel["messages"])
    # The exporter goes by id; a file that was put together from several may not.
    ordered = sorted(((_id(item), number, item) for number, item in items), key=lambda found: (found[0] or 0, found[1]))
    messages = [_message(f"messages[{number}]", message_id, item, name) for message_id, number, item in ordered]
    return payload_of(
        _folded(messages),
        source=name_of(channel.get("name")),
        missing_ids=gaps(message_id for message_id, _, _ in ordered if message_id is not None),
    )


def _channel(data: Any) -> Mapping[str, Any]:
    """The channel that an export holds, whether it is of one chat or of an account."""
    data = mapping_of(data)
    if isinstance(data.get("messages"), list):
        kind = data.get("type", "public_channel")
        if not isinstance(kind, str) or not kind.endswith("_channel"):
            raise PayloadError("no_channel", f"an export of a {name_of(kind) or 'chat'}; only channels are read")
        return data
    listed = [mapping_of(data.get(key)).get("list") for key in ("chats", "left_chats")]
    chats = [mapping_of(chat) for chats in listed if isinstance(chats, list) for chat in chats]
    channels = [
        chat for chat in chats if str(chat.get("type")).endswith("_channel") and isinstance(chat.get("messages"), list)
    ]
    if len(channels) == 1:
        return channels[0]
    if chats:
        raise PayloadError(
            "not_one_channel", f"an export of an account with {len(channels)} channels; export each channel on its own"
        )
    raise PayloadError("no_channel", "no export of a channel: it has no list of messages")


def _id(item: Any) -> int | None:
    value = mapping_of(item).get("id")
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53 else None


def _message(where: str, message_id: int | None, item: Any, name: str | None) -> _Message | None:
    """One message; None for a service message, which says that somebody joined or pinned something."""
    if not isinstance(item, dict):
        return _Message(BadPost(where, "it is no object"))
    if item.get("type") == "service":
        return None
    post_id = str(message_id) if message_id is not None else None
    # `date` is in the time of whoever exported it, and does not say in which.
    published_at = moment_of(item.get("date_unixtime"))
    url = f"https://t.me/{name}/{post_id}" if name else None

    def post(post_id: str, published_at: datetime) -> RawPost:
        pieces = _pieces(item.get("text", item.get("text_entities")))
        text = trimmed("".join(words for words, _ in pieces))
        links = [*links_in(text), *(href for _, href in pieces), *_button_links(item)]
        return RawPost(
            post_id=post_id,
            published_at=published_at,
            url=url,
            text=text,
            media=_media(item),
            out_links=unique_links(links, own=(name,) if name else ()),
            mentions=mentions_in(text),
            hashtags=hashtags_in(text),
            forwarded_from=name_of(item.get("forwarded_from")),
            reactions=_reactions(item.get("reactions")),
        )

    found = read_post(where, post_id, published_at, post, url)
    foldable = isinstance(found, RawPost) and _may_be_in_album(found, item)
    # Messages that are forwarded together have the second in common too, but not always the origin.
    author = str(item.get("from_id", item.get("from")))
    return _Message(found, (published_at, author, str(item.get("forwarded_from"))) if foldable else None)


def _may_be_in_album(post: RawPost, item: Mapping[str, Any]) -> bool:
    if post.unreadable:
        # Left alone, it would make a picture of its own of an album of two.
        return "photo" in item or "file" in item
    return len(post.media) == 1 and post.media[0].kind in _ALBUM_KINDS


def _pieces(text: Any) -> list[tuple[str, str | None]]:
    """Pieces of a text, each with the address behind it."""
    pieces: list[tuple[str, str | None]] = []
    for piece in [text] if isinstance(text, str) else list_of(text, "the text"):
        entity = {"text": piece} if isinstance(piece, str) else mapping_of(piece)
        words, href = entity.get("text"), entity.get("href")
        if not isinstance(words, str):
            raise Unreadable("a piece of the text is no text")
        if entity.get("type") == "link":
            href = words if "://" in words else f"http://{words}"
        pieces.append((words, href if isinstance(href, str) else None))
    return pieces


def _button_links(item: Mapping[str, Any]) -> Iterator[Any]:
    rows = item.get("inline_bot_buttons")
    for row in rows if isinstance(rows, list) else ():
        for button in row if isinstance(row, list) else ():
            yield mapping_of(button).get("data") if mapping_of(button).get("type") == "url" else None


def _media(item: Mapping[str, Any]) -> tuple[MediaItem, ...]:
    if "photo" in item:
        return (_medium(item, "photo", item["photo"], None),)
    if "media_type" in item or "file" in item:
        mime = name_of(item.get("mime_type"))
        said = item.get("media_type")
        kind = _KINDS.get(said, name_of(said) or "document") if isinstance(said, str) else _kind_of(mime)
        return (_medium(item, kind, item.get("file"), mime),)
    return tuple(MediaItem(kind) for key, kind in _OTHER_KINDS.items() if key in item)[:1]


def _medium(item: Mapping[str, Any], kind: str, file: Any, mime: str | None) -> MediaItem:
    # What stands for a path is kept: it says why there is no file.
    left_out = isinstance(file, str) and file.startswith(LEFT_OUT)
    return MediaItem(
        kind=kind,
        file=trimmed(file) if left_out else file_of(file) if file else None,
        width=side_of(item.get("width")),
        height=side_of(item.get("height")),
        # The preview shows none of an animation; both forms shall give one row.
        duration_s=None if kind == "animation" else seconds_of(item.get("duration_seconds")),
        mime=mime,
    )


def _kind_of(mime: str | None) -> str:
    """What a file is that was sent as a document; a drawing in SVG is no picture that may be opened."""
    family = (mime or "").partition("/")[0].lower()
    if mime is None or "svg" in mime.lower():
        return "document"
    return {"image": "photo", "video": "video", "audio": "audio"}.get(family, "document")


def _reactions(value: Any) -> Mapping[str, int] | None:
    if not isinstance(value, list):
        return None
    counts: dict[str, int] = {}
    for reaction in map(mapping_of, value[:MAX_REACTIONS]):
        count = whole_of(reaction.get("count"))
        plain = name_of(reaction.get("emoji"))
        emoji = plain or (PAID_REACTION if reaction.get("type") == "paid" else CUSTOM_REACTION)
        if count:
            counts[emoji] = counts.get(emoji, 0) + count
    return counts or None


def _folded(messages: Sequence[_Message | None]) -> Iterator[RawPost | BadPost]:
    """Posts, albums among them as one: media that follow each other, of one second and one author."""
    album: list[RawPost] = []
    common: tuple[Any, ...] | None = None
    for message in messages:
        if message and message.album and message.album == common and len(album) < _ALBUM_SIZE:
            assert isinstance(message.post, RawPost)
            album.append(message.post)
            continue
        if album:
            yield _as_one(album)
        album, common = [], None
        if message and message.album:
            assert isinstance(message.post, RawPost)
            album, common = [message.post], message.album
        elif message:
            yield message.post
    if album:
        yield _as_one(album)


def _as_one(items: Sequence[RawPost]) -> RawPost:
    captioned = next((item for item in items if item.text), items[0])
    return replace(
        captioned,
        post_id=items[0].post_id,
        url=items[0].url,
        media=tuple(medium for item in items for medium in item.media),
        reactions=next((item.reactions for item in items if item.reactions), None),
        unreadable=next((item.unreadable for item in items if item.unreadable), None),
    )

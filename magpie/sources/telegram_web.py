"""Telegram's public preview of a channel (https://t.me/s/name), one page of some twenty posts.

Belongs here: what the page's markup says of each post. Does not belong here: fetching it (the live client), exports
(`telegram_export.py`), what a post is worth (`magpie/memes`).

Albums are one block under the id of their first item; the other ids stand only in the addresses of the items.
"""

import re
from collections.abc import Container, Iterator, Mapping
from datetime import datetime
from urllib.parse import unquote

from selectolax.lexbor import LexborHTMLParser, LexborNode

from magpie.sources.meme_posts import (
    MAX_MEDIA,
    MAX_REACTIONS,
    BadPost,
    MediaItem,
    Payload,
    PayloadError,
    RawPost,
    address_of,
    count_of,
    file_of,
    gaps,
    hashtags_in,
    links_in,
    mentions_in,
    moment_of,
    name_of,
    payload_of,
    read_post,
    seconds_of,
    trimmed,
    unique_links,
)
from magpie.sources.telegram_export import CUSTOM_REACTION, PAID_REACTION

# Far deeper than the markup of a post; the time to search elements that nest without end grows with the square.
_MAX_DEPTH = 200
_POST = re.compile(r"(?P<name>[A-Za-z0-9_]{1,64}(?:/[0-9]{1,19})?)/(?P<id>[1-9][0-9]{0,15})")
_ALBUM_ITEM = re.compile(r"https?://t\.me/(?:s/)?(?P<name>[A-Za-z0-9_]+)/(?P<id>[1-9][0-9]{0,15})\?single")
_ORIGIN = re.compile(r"(https?://t\.me/(?:c/)?[A-Za-z0-9_]+/[0-9]+)(?:[?#].*)?")
_BACKGROUND = re.compile(r"background-image\s*:\s*url\(\s*(['\"]?)(.*?)\1\s*\)", re.DOTALL)
_DURATION = re.compile(r"(?:([0-9]{1,3}):)?([0-9]{1,2}):([0-9]{2})")
# What a channel's preview has and the page of a name without one does not.
_PREVIEW = ".tgme_channel_history, .tgme_channel_info, .tme_no_messages_found"
# Pictures and words of other posts and pages, which stand within a post.
_BODY = ".tgme_widget_message_text:not(.js-message_reply_text)"
_FOREIGN = ".tgme_widget_message_reply, .tgme_widget_message_link_preview"
_KINDS = {
    "tgme_widget_message_photo_wrap": "photo",
    "tgme_widget_message_video_player": "video",
    "tgme_widget_message_roundvideo_player": "video_message",
    "tgme_widget_message_voice_player": "voice",
    "tgme_widget_message_document_wrap": "document",
    "tgme_widget_message_sticker_wrap": "sticker",
    "tgme_widget_message_poll": "poll",
    "tgme_widget_message_location_wrap": "location",
    "tgme_widget_message_contact_wrap": "contact",
    "tgme_widget_message_invoice_wrap": "invoice",
    "tgme_widget_message_game": "game",
}
_MEDIA = ", ".join(f".{name}" for name in _KINDS)
# Stands where the body would be, for what the preview cannot show; in a footer it means nothing.
_UNSUPPORTED = ".tgme_widget_message_bubble > .message_media_not_supported_wrap"
_BLOCKS = frozenset({"blockquote", "div", "li", "ol", "p", "pre", "ul"})
_BROKEN_LINE = re.compile(r"\s*[\r\n]\s*")


def read(content: bytes, name: str) -> Payload:
    """Read a page of the preview, as it was fetched or saved.

    Args:
        content: the page.
        name: the channel's name on t.me, to tell its own links.

    Raises:
        PayloadError: no_preview.
    """
    page = LexborHTMLParser(content)
    if _too_deep(page):
        raise PayloadError("no_preview", "its elements are nested too deep for a page of t.me")
    blocks = page.css(".tgme_widget_message[data-post]")
    if not blocks and page.css_first(_PREVIEW) is None:
        raise PayloadError(
            "no_preview", f"no preview of a channel; open https://t.me/s/{name} to see whether it has one"
        )
    found: list[RawPost | BadPost] = []
    names: list[str] = []
    ids: list[int] = []
    for number, block in enumerate(blocks):
        post = _POST.fullmatch(block.attributes.get("data-post") or "")
        if post:
            names.append(post["name"])
            ids.append(int(post["id"]))
            items = (_ALBUM_ITEM.fullmatch(_attribute(link, "href")) for link in block.css("a[href*='?single']"))
            ids += [int(item["id"]) for item in items if item and item["name"] == post["name"]]
        if "service_message" not in _classes(block):
            found.append(_post(f"message[{number}]", block, post, name))
    first = min(ids, default=1)
    return payload_of(
        found,
        source=names[0] if names else None,
        missing_ids=gaps(ids),
        older=str(first) if first > 1 else None,
    )


def _too_deep(page: LexborHTMLParser) -> bool:
    level = [page.root] if page.root else []
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in node.iter()]
    return bool(level)


def _post(where: str, block: LexborNode, named: re.Match[str] | None, name: str) -> RawPost | BadPost:
    url = f"https://t.me/{named[0]}" if named else None
    own = {name, named["name"]} if named else {name}

    def post(post_id: str, published_at: datetime) -> RawPost:
        foreign = {node.mem_id for part in block.css(_FOREIGN) for node in part.traverse()}
        body = next((node for node in block.css(_BODY) if node.mem_id not in foreign), None)
        text = _text(body) if body else None
        origin = block.css_first(".tgme_widget_message_forwarded_from_name")
        address = _ORIGIN.fullmatch(_attribute(origin, "href")) if origin else None
        return RawPost(
            post_id=post_id,
            published_at=published_at,
            url=url,
            text=text,
            media=tuple(_media(block, foreign)),
            out_links=unique_links([*links_in(text), *_links(block, body)], own=own),
            mentions=mentions_in(text),
            hashtags=hashtags_in(text),
            forwarded_from=name_of(origin.text()) if origin else None,
            forwarded_url=address[1] if address else None,
            views=_views(block),
            reactions=_reactions(block),
        )

    return read_post(where, named["id"] if named else None, _published_at(block), post, url)


def _attribute(node: LexborNode, name: str) -> str:
    return node.attributes.get(name) or ""


def _classes(node: LexborNode) -> list[str]:
    return _attribute(node, "class").split()


def _published_at(block: LexborNode) -> datetime | None:
    # The durations of videos are `time` elements too, without a moment.
    node = block.css_first(".tgme_widget_message_date time[datetime]") or block.css_first("time[datetime]")
    return moment_of(_attribute(node, "datetime")) if node else None


def _text(node: LexborNode) -> str | None:
    """The words of an element with the line breaks that a browser shows."""
    words: list[str] = []
    _collect(node, words)
    return trimmed("".join(words))


def _collect(node: LexborNode, words: list[str]) -> None:
    for child in node.iter(include_text=True):
        block = child.tag in _BLOCKS
        if block and words and not words[-1].endswith("\n"):
            words.append("\n")
        if child.is_text_node:
            # Line breaks of the file are no line breaks on the screen.
            words.append(_BROKEN_LINE.sub(" ", child.text_content or ""))
        elif child.tag == "br":
            words.append("\n")
        elif child.is_element_node:
            _collect(child, words)
        if block and words and not words[-1].endswith("\n"):
            words.append("\n")


def _links(block: LexborNode, body: LexborNode | None) -> Iterator[str]:
    """Addresses behind words, of the page that is shown below, and of buttons; names and tags link to t.me too."""
    for link in body.css("a[href]") if body else ():
        if not link.text().startswith(("@", "#")):
            yield _attribute(link, "href")
    for link in block.css("a.tgme_widget_message_link_preview, a.tgme_widget_message_inline_button"):
        yield _attribute(link, "href")


def _media(block: LexborNode, foreign: Container[int]) -> Iterator[MediaItem]:
    own = [node for node in block.css(_MEDIA) if node.mem_id not in foreign]
    for node in own[:MAX_MEDIA]:
        yield _medium(node)
    if not own and block.css_first(_UNSUPPORTED) is not None:
        yield MediaItem("unsupported")


def _medium(node: LexborNode) -> MediaItem:
    kind = next(_KINDS[name] for name in _classes(node) if name in _KINDS)
    if kind == "photo":
        background = _BACKGROUND.search(_attribute(node, "style"))
        return _placed(kind, background[2] if background else None)
    if kind not in ("video", "video_message", "voice"):
        return MediaItem(kind)
    player = node.css_first("video, audio")
    # What is too big or of an unknown codec has no address here.
    source = (player.css_first("source[src]") if player and "src" not in player.attributes else player) or None
    if kind == "video" and player and "loop" in player.attributes:
        kind = "animation"
    return _placed(kind, _attribute(source, "src") if source else None, _duration(node))


def _placed(kind: str, address: str | None, duration_s: float | None = None) -> MediaItem:
    """A medium on the web; or, of a page that a browser saved, in the folder beside it."""
    url = address_of(address)
    beside = address and not url and ":" not in address and not address.startswith(("/", "#"))
    return MediaItem(kind, url=url, file=file_of(unquote(address or "")) if beside else None, duration_s=duration_s)


def _duration(node: LexborNode) -> float | None:
    shown = node.css_first("time")
    found = _DURATION.fullmatch(shown.text().strip()) if shown else None
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return seconds_of(3600 * hours + 60 * minutes + seconds)


def _views(block: LexborNode) -> int | None:
    node = block.css_first(".tgme_widget_message_views")
    return count_of(node.text()) if node else None


def _reactions(block: LexborNode) -> Mapping[str, int] | None:
    """Counts by emoji; those that a channel made itself have no character and count together."""
    counts: dict[str, int] = {}
    for node in block.css(".tgme_reaction")[:MAX_REACTIONS]:
        bold = node.css_first("b")
        emoji = name_of(bold.text()) if bold else None
        count = count_of((node.text(deep=False) or "").strip())
        if emoji is None:
            emoji = PAID_REACTION if "tgme_reaction_paid" in _classes(node) else CUSTOM_REACTION
        if count:
            counts[emoji] = counts.get(emoji, 0) + count
    return counts or None

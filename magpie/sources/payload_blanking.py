"""Taking posts out of payloads that were landed here, when people asked to have them deleted.

Belongs here: where a payload says something of a post. Does not belong here: reading payloads (the readers), which
posts are to go and what becomes of the file (`magpie/memes`).

What is left of a post is its id and its moment, so that a reader still counts it. Archives that people brought are
theirs, and not for this.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from magpie.sources.instagram_items import post_number
from magpie.sources.meme_posts import Payload, PayloadError, json_of
from magpie.sources.vk_wall import full_id

# What identifies and dates a post, under all names that the readers know.
_KEPT = (
    *("id", "pk", "code", "shortcode", "shortCode", "owner_id", "from_id", "source_id", "post_id", "post_type"),
    *("type", "date", "taken_at", "taken_at_timestamp", "timestamp", "published_at", "uploader_id"),
)
# Deeper than any answer of a platform.
_MAX_DEPTH = 40


def blanked(content: bytes, platform: str, post_ids: Collection[str]) -> bytes:
    """The payload without what it says of these posts.

    Raises:
        PayloadError: it is no payload whose posts can be told apart.
    """
    wanted = frozenset(post_ids)
    if platform == "telegram":
        return _page(content, wanted)
    return json.dumps(_without(json_of(content), platform, wanted, 0), ensure_ascii=False, indent=1).encode()


def tells(payload: Payload, post_ids: Collection[str]) -> bool:
    """Whether a payload holds a word or a medium of any of these posts."""
    mine = (post for post in payload.posts if post.post_id in post_ids)
    return any(post.text or post.out_links or any(item.url or item.file for item in post.media) for post in mine)


def _page(content: bytes, wanted: frozenset[str]) -> bytes:
    """A page of Telegram's preview; quotations of the posts in answers to them go as well."""
    page = LexborHTMLParser(content)
    for block in page.css(".tgme_widget_message[data-post]"):
        if _last(block.attributes.get("data-post")) in wanted:
            moment = block.css_first(".tgme_widget_message_date time[datetime]") or block.css_first("time[datetime]")
            kept = moment.attributes.get("datetime") if moment else None
            for part in list(block.iter(include_text=True)):
                part.decompose()
            if kept:
                date = f'<a class="tgme_widget_message_date"><time datetime="{_quoted(kept)}"></time></a>'
                block.inner_html = date
    for quotation in page.css("a.tgme_widget_message_reply[href]"):
        if _last(quotation.attributes.get("href")) in wanted:
            quotation.decompose()
    return (page.html or "").encode()


def _last(address: str | None) -> str:
    return (address or "").partition("?")[0].rpartition("/")[2]


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _without(value: Any, platform: str, wanted: frozenset[str], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise PayloadError("too_deep", "its parts nest too deep to be told apart")
    if isinstance(value, list):
        return [_without(part, platform, wanted, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    if _id_of(value, platform) in wanted:
        return {key: value[key] for key in _KEPT if isinstance(value.get(key), str | int)}
    return {key: _without(part, platform, wanted, depth + 1) for key, part in value.items()}


def _id_of(item: Mapping[str, Any], platform: str) -> str | None:
    if platform == "vk":
        return full_id(item)
    if platform == "instagram":
        return post_number(item)
    said = item.get("post_id")
    return said if isinstance(said, str) else None

"""Taking posts and replies out of pages of Tumblr that were landed here, when people asked to have them deleted.

Belongs here: where a page says something of a post or a reply. Does not belong here: reading pages
(`tumblr_pages.py`), which posts are to go and what becomes of the file (`magpie/persona`).

What is left of a post is its ids, its moment and whom it went on from, so that a reader still counts it, and finds it
to be what it was; of a reply, who replied when. Archives that people brought are theirs, and not for this.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from magpie.sources.meme_posts import mapping_of, moment_of
from magpie.sources.tumblr_blocks import blog_name_of

# What identifies and dates a post, or says what it is to a blog.
_KEPT = (
    *("id", "id_string", "genesis_post_id", "blog_name", "timestamp", "date", "state", "is_submission"),
    *("reblogged_from_id", "reblogged_from_name", "broken_blog_name"),
)
# What a note says; all else in it tells who did what when.
_SAID = ("reply_text", "content", "formatting", "added_text")
# Deeper than any page.
_MAX_DEPTH = 64


class Unreadable(Exception):
    """It is no page whose posts can be told apart."""


def blanked_posts(content: bytes, post_ids: Collection[str]) -> bytes | None:
    """The page without what it says of these posts, also where others go on from them; None: it says nothing of them.

    Raises:
        Unreadable: it cannot be told.
    """
    wanted = frozenset(post_ids)
    if not any(name.encode() in content for name in wanted):
        return None
    page = _read(content)
    left = _without(page, wanted, 0)
    return None if left == page else _dumped(left)


def blanked_notes(content: bytes, said: Collection[tuple[str, int]] | None) -> bytes | None:
    """The page of notes without the words of some replies; None: it has none of them.

    Args:
        said: who replied, and the second; None: all replies go.

    Raises:
        Unreadable: it cannot be told.
    """
    page = _read(content)
    left = _without_words(page, None if said is None else frozenset(said), 0)
    return None if left == page else _dumped(left)


def _read(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise Unreadable("no JSON") from None


def _dumped(page: Any) -> bytes:
    return json.dumps(page, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")


def _without(value: Any, wanted: frozenset[str], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise Unreadable("nested too deep")
    if isinstance(value, list):
        return [_without(part, wanted, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    if _said_as(value) in wanted and ("content" in value or "trail" in value or "blog_name" in value):
        return _bare(value)
    return {key: _without(part, wanted, depth + 1) for key, part in value.items()}


def _said_as(item: Mapping[str, Any]) -> str | None:
    """The id of a post, or of the post that an item of a trail stands for."""
    own = item if "id" in item or "id_string" in item else mapping_of(item.get("post"))
    found = own.get("id_string") or own.get("id")
    return str(found) if isinstance(found, str | int) else None


def _bare(item: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: item[key] for key in _KEPT if isinstance(item.get(key), str | int)}
    if "post" in item:
        post = mapping_of(item["post"])
        kept["post"] = {key: post[key] for key in ("id", "id_string", "timestamp") if key in post}
    if name := blog_name_of(item.get("blog")):
        kept["blog"] = {"name": name}
    trail = item.get("trail")
    if isinstance(trail, list):
        # Who spoke before tells a reblog of the blog from a mention of it.
        kept["trail"] = [_bare(one) for one in trail if isinstance(one, dict)]
    return {**kept, "content": [], "layout": []}


def _without_words(value: Any, said: frozenset[tuple[str, int]] | None, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise Unreadable("nested too deep")
    if isinstance(value, list):
        return [_without_words(part, said, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "reply" and (said is None or _reply_of(value) in said):
        return {key: part for key, part in value.items() if key not in _SAID} | {"reply_text": ""}
    return {key: _without_words(part, said, depth + 1) for key, part in value.items()}


def _reply_of(note: Mapping[str, Any]) -> tuple[str, int] | None:
    at, author = moment_of(note.get("timestamp")), blog_name_of(note.get("blog_name"))
    return None if at is None or author is None else (author, int(at.timestamp()))

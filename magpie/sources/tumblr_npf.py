"""Posts of Tumblr in its Neue Post Format: who said what, in which order.

Belongs here: identity and time of a post, and its thread as parts. Does not belong here: single blocks and layouts
(`tumblr_blocks.py`), HTML of old posts (`tumblr_legacy.py`), files (`tumblr_pages.py`), what a bot makes of a post.

A thread is the trail, oldest first, and the post itself. A question in any of them is a part of its own, before the
answer to it. Posts of the old form are turned into blocks first, so that there is one form to keep.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from magpie.sources.meme_posts import mapping_of, moment_of, post_id_of, whole_of
from magpie.sources.tumblr_blocks import Block, Image, Range, blocks_of, blog_name_of, order_of
from magpie.sources.tumblr_legacy import is_legacy, npf_of_legacy

__all__ = ["ANONYMOUS", "UNKNOWN_BLOG", "Block", "Image", "NpfError", "ParsedPost", "Part", "Range"]
__all__ += ["parse_post", "parts_of"]

# Who asks without a name; a capital, which no blog's name has.
ANONYMOUS = "Anonymous"
# Who spoke where a trail does not even say whose post is gone.
UNKNOWN_BLOG = "unknown-blog"
# What Tumblr allows for one post; a whole thread is held against it, which in practice stays far below.
MAX_PAYLOAD_BYTES = 1_000_000
MAX_BLOCKS = 1000
# No thread was ever that long, and each item costs a part.
MAX_TRAIL = 1000
# A blog inside a range inside a block inside a trail is at 10.
MAX_DEPTH = 32
# Old posts have more tags than the 30 of today.
MAX_TAGS = 200
TAG_CHARS = 140

_STATES = {
    "published": "published",
    "queue": "queue",
    "queued": "queue",
    "draft": "draft",
    "submission": "submission",
    "private": "private",
}
_DATE_FORM = "%Y-%m-%d %H:%M:%S GMT"
_REBLOG_KEY = re.compile(r"[A-Za-z0-9]{1,64}")
_SURROGATES = re.compile("[\ud800-\udfff]")


class NpfError(Exception):
    """Something that is no post in a form that is read; one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split())[:300])


@dataclass(frozen=True)
class Part:
    """What one blog said in one place of a thread.

    Attributes:
        author: in lower case; `Anonymous` of a question without a name.
        blocks: in the order in which they are shown, each once; none in a reblog without a comment.
        post_id: of the post it stands in, a question that of its answer; None where the post is gone.
        at: when that was posted, UTC, where the trail says so.
        is_ask: a question.
        broken: the post is gone, or its blog.
        truncated: readers see the beginning alone until they click; the blocks are whole.
    """

    author: str
    blocks: tuple[Block, ...]
    post_id: str | None
    at: datetime | None
    is_ask: bool
    broken: bool
    truncated: bool


@dataclass(frozen=True)
class ParsedPost:
    """A post with what it answers.

    Attributes:
        state: published, queue, draft, submission or private.
        published_at: UTC.
        genesis_id: its id as a draft or in the queue.
        parent_blog, parent_post_id: what was reblogged, the newest of the trail or a reblog of it without comment.
        tags: without their sign.
        asking_blog: of a question in the post itself, `Anonymous` where it has no name.
        parts: the thread, oldest first.
        payload: JSON of blog, ids, times, tags, content, layout and trail, the same for equal posts; `parts_of` reads
            it, and so does `parse_post`. Numbers that change from day to day, and the state, are not in it.
    """

    post_id: str
    author: str
    state: str
    published_at: datetime
    genesis_id: str | None
    parent_blog: str | None
    parent_post_id: str | None
    reblog_key: str | None
    tags: tuple[str, ...]
    note_count: int
    asking_blog: str | None
    parts: tuple[Part, ...]
    payload: str


def parse_post(raw: object) -> ParsedPost:
    """Return a post as the API or an archive has it.

    Raises:
        NpfError: it has no id, blog, time or content, is in a state that is not known, or too large or nested too deep.
    """
    if not isinstance(raw, dict):
        raise NpfError(f"a post must be an object, this is {type(raw).__name__}")
    state = _state(raw)
    payload = _canonical(_kept(raw, state))
    kept = json.loads(payload)
    parts = _parts(kept)
    return ParsedPost(
        post_id=kept["id_string"],
        author=kept["blog_name"],
        state=state,
        published_at=datetime.fromtimestamp(kept["timestamp"], UTC),
        genesis_id=kept["genesis_post_id"],
        parent_blog=kept["reblogged_from_name"],
        parent_post_id=kept["reblogged_from_id"],
        reblog_key=kept["reblog_key"],
        tags=tuple(kept["tags"]),
        note_count=whole_of(raw.get("note_count")) or 0,
        asking_blog=next((part.author for part in parts if part.is_ask and part.post_id == kept["id_string"]), None),
        parts=parts,
        payload=payload,
    )


def parts_of(payload: str) -> tuple[Part, ...]:
    """Return the thread of a payload that `parse_post` made.

    Raises:
        NpfError: it is no such payload.
    """
    try:
        kept = json.loads(payload)
    except (ValueError, RecursionError):
        raise NpfError("the payload is no JSON") from None
    if not isinstance(kept, dict):
        raise NpfError("the payload is no object")
    return _parts(kept)


def _kept(raw: Mapping[str, Any], state: str) -> dict[str, Any]:
    """What of a post is stored; everything but content and layout is checked."""
    post_id = _id_of(raw.get("id_string"), raw.get("id"))
    if post_id is None:
        raise NpfError("the post has no usable id")
    author = blog_name_of(raw.get("blog_name")) or blog_name_of(raw.get("blog"))
    if author is None:
        raise NpfError(f"post {post_id} has no usable name of a blog")
    at = moment_of(raw.get("timestamp")) or _dated(raw.get("date"))
    if at is None:
        raise NpfError(f"post {post_id} has no usable timestamp or date")
    if not is_legacy(raw) and "content" not in raw:
        raise NpfError(f"post {post_id} has neither content nor a field of an older form, such as body")
    said = npf_of_legacy(raw) if is_legacy(raw) else raw
    content, layout = said.get("content"), said.get("layout")
    return {
        "id_string": post_id,
        "blog_name": author,
        "blog": _blog(raw.get("blog")),
        "timestamp": int(at.timestamp()),
        "genesis_post_id": _id_of(raw.get("genesis_post_id")),
        "reblogged_from_name": blog_name_of(raw.get("reblogged_from_name")),
        "reblogged_from_id": _id_of(raw.get("reblogged_from_id")),
        "reblog_key": _reblog_key(raw.get("reblog_key")),
        "tags": _tags(raw.get("tags")),
        "content": content,
        "layout": _asked(raw, content, layout) if state == "submission" else layout,
        "trail": _trail(said.get("trail")),
    }


def _canonical(kept: Mapping[str, Any]) -> str:
    """As JSON that is the same for equal values, bounded, without half surrogate pairs, which no table holds."""
    if _deeper(kept, MAX_DEPTH):
        raise NpfError(f"the post nests deeper than {MAX_DEPTH}")
    try:
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError):  # NaN and infinities, integers of thousands of digits; keys that are no text
        raise NpfError("the post holds what JSON cannot say, such as NaN") from None
    text = _SURROGATES.sub("\ufffd", text)
    size = len(text.encode())
    if size > MAX_PAYLOAD_BYTES:
        raise NpfError(f"the post has {size} bytes, allowed are {MAX_PAYLOAD_BYTES}")
    return text


def _deeper(value: object, left: int) -> bool:
    if isinstance(value, dict):
        return left == 0 or any(_deeper(part, left - 1) for part in value.values())
    if isinstance(value, list):
        return left == 0 or any(_deeper(part, left - 1) for part in value)
    return False


def _state(raw: Mapping[str, Any]) -> str:
    """A post that names no state is published, unless it says that it was submitted."""
    named = raw.get("state")
    if named is None:
        return "submission" if raw.get("is_submission") is True else "published"
    state = _STATES.get(named) if isinstance(named, str) else None
    if state is None:
        raise NpfError(f"state {named!r:.60} is none of {', '.join(_STATES)}")
    return state


def _id_of(*values: object) -> str | None:
    """The first usable id; ids are beyond what a float holds, so numbers with a point are none, nor is 0."""
    ids = (post_id_of(value) for value in values)
    return next((found for found in ids if found is not None and found.strip("0-")), None)


def _dated(value: object) -> datetime | None:
    """The date beside the timestamp, `2026-11-20 21:00:00 GMT`, or in ISO 8601 with its zone."""
    if not isinstance(value, str):
        return None
    try:
        return moment_of(datetime.strptime(value, _DATE_FORM).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return moment_of(value) if "-" in value else None


def _reblog_key(value: object) -> str | None:
    return value if isinstance(value, str) and _REBLOG_KEY.fullmatch(value) else None


def _tags(value: object) -> list[str]:
    """Tags in one line each, without their sign; a text holds them with commas between."""
    items = value.split(",") if isinstance(value, str) else value
    texts = [item[: 10 * TAG_CHARS] for item in items if isinstance(item, str)] if isinstance(items, list) else []
    found = (" ".join(text.split()).lstrip("#").strip()[:TAG_CHARS] for text in texts)
    return [tag for tag in found if tag][:MAX_TAGS]


def _blog(value: object) -> dict[str, Any]:
    held = mapping_of(value)
    texts = {name: held.get(name) for name in ("uuid", "url")}
    return {"name": blog_name_of(held)} | {k: v for k, v in texts.items() if isinstance(v, str) and len(v) <= 300}


def _trail(value: object) -> list[dict[str, Any]]:
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if len(items) > MAX_TRAIL:
        raise NpfError(f"the trail has {len(items)} posts, allowed are {MAX_TRAIL}")
    return [
        {
            "post": {name: mapping_of(item.get("post")).get(name) for name in ("id", "id_string", "timestamp")},
            "blog": _blog(item.get("blog")),
            "broken_blog_name": blog_name_of(item.get("broken_blog_name")) or blog_name_of(item.get("broken_blog")),
            "content": item.get("content"),
            "layout": item.get("layout"),
        }
        for item in items
    ]


def _asked(raw: Mapping[str, Any], content: object, layout: object) -> object:
    """The layout of something that waits in the inbox: all of it is a question, even where no layout says so."""
    items = layout if isinstance(layout, list) else []
    if any(mapping_of(item).get("type") == "ask" for item in items):
        return layout
    name = blog_name_of(raw.get("asking_name")) or blog_name_of(raw.get("post_author"))
    by = None if name in (None, ANONYMOUS.lower()) else {"blog": {"name": name}}
    count = len(content) if isinstance(content, list) else len(blocks_of(content))
    return [{"type": "ask", "blocks": list(range(count)), "attribution": by}, *items]


def _parts(kept: Mapping[str, Any]) -> tuple[Part, ...]:
    """The thread of a payload, of which nothing is taken for granted."""
    trail = kept.get("trail")
    items = [item for item in trail if isinstance(item, dict)] if isinstance(trail, list) else []
    author = blog_name_of(kept.get("blog_name")) or blog_name_of(kept.get("blog")) or UNKNOWN_BLOG
    post_id, at = _id_of(kept.get("id_string"), kept.get("id")), moment_of(kept.get("timestamp"))
    earlier = (part for item in items for part in _earlier(item))
    return *earlier, *_split(kept, author, post_id, at, broken=False)


def _earlier(item: Mapping[str, Any]) -> Iterator[Part]:
    post, blog = mapping_of(item.get("post")), blog_name_of(item.get("blog"))
    post_id, gone = _id_of(post.get("id_string"), post.get("id")), blog_name_of(item.get("broken_blog_name"))
    author = (blog if post_id else gone or blog) or gone or UNKNOWN_BLOG
    broken = post_id is None or blog is None
    return _split(item, author, post_id, moment_of(post.get("timestamp")), broken=broken)


def _split(
    item: Mapping[str, Any], author: str, post_id: str | None, at: datetime | None, *, broken: bool
) -> Iterator[Part]:
    """The questions of one post, and what its author says; a question that nobody answered stands alone."""
    blocks = blocks_of(item.get("content"))
    if len(blocks) > MAX_BLOCKS:
        raise NpfError(f"a post of the thread has {len(blocks)} blocks, allowed are {MAX_BLOCKS}")
    order = order_of(item.get("layout"), len(blocks))
    alone = bool(order.asks) and not order.rest
    for asker, indices in order.asks:
        asked = tuple(blocks[index] for index in indices)
        yield Part(asker or ANONYMOUS, asked, post_id, at, True, broken, order.truncated and alone)
    if not alone:
        said = tuple(blocks[index] for index in order.rest)
        yield Part(author, said, post_id, at, False, broken, order.truncated)

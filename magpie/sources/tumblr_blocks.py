"""Blocks of Tumblr's Neue Post Format, and the order in which a layout shows them.

Belongs here: reading one list of content and its layout, whatever is wrong in it. Does not belong here: posts and
threads (`tumblr_npf.py`), HTML of old posts (`tumblr_legacy.py`), text made of blocks (the products).

Nothing in here raises: of a block that cannot be understood its kind is left, of a range, a size or an index nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from magpie.sources.meme_posts import address_of, mapping_of, side_of
from magpie.sources.tumblr_legacy import blocks_of_html

KINDS = ("text", "image", "link", "audio", "video", "poll", "paywall")
SUBTYPES = (
    *("heading1", "heading2", "quirky", "quote", "indented", "chat"),
    *("ordered-list-item", "unordered-list-item"),
)
RANGE_KINDS = ("bold", "italic", "small", "strikethrough", "link", "mention", "color")
MAX_INDENT = 7
# As many as Tumblr allows characters in a block, so that each could have its own.
MAX_RANGES = 4096
# Width of a dashboard, in pixels; wider sizes show nothing more there.
SHOWN_WIDTH = 640

# Names of blogs end up in texts whose structure is made of names: nothing but what Tumblr allows, with room for
# what it appends to deactivated ones.
_BLOG_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}")


@dataclass(frozen=True)
class Range:
    """A formatted stretch of a text.

    Attributes:
        start, end: in code points, the end not included; always within the text, and never empty.
        kind: bold, italic, small, strikethrough, link, mention or color.
        url: of a link, and of a mentioned blog; blog: its name; colour: like `#ff0000`.
    """

    start: int
    end: int
    kind: str
    url: str | None = None
    blog: str | None = None
    colour: str | None = None


@dataclass(frozen=True)
class Image:
    """A picture in one of its sizes.

    Attributes:
        url: the widest size of at most 640 pixels, else the smallest; width and height are those of this size.
        original_url: the widest of all.
    """

    url: str
    width: int | None
    height: int | None
    original_url: str


@dataclass(frozen=True)
class Block:
    """One block of content.

    Attributes:
        kind: text, image, link, audio, video, poll, paywall or unknown.
        text: of a text or paywall; of a poll the question.
        subtype: heading1, heading2, quirky, quote, indented, chat, ordered-list-item or unordered-list-item.
        indent: from 0 to 7.
        image: None where no size has an address.
        title: of a link, audio or video; a link without one is called by its address.
        answers: of a poll.
    """

    kind: str
    text: str = ""
    subtype: str | None = None
    indent: int = 0
    ranges: tuple[Range, ...] = ()
    image: Image | None = None
    url: str | None = None
    title: str | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """What a layout says of the blocks beside it.

    Attributes:
        asks: who asks, None for nobody named, and the indices of the question.
        rest: all other indices, in the order in which they are shown.
        truncated: only the beginning is shown before somebody clicks.
    """

    asks: tuple[tuple[str | None, tuple[int, ...]], ...]
    rest: tuple[int, ...]
    truncated: bool


def blog_name_of(value: object) -> str | None:
    """A blog's name in lower case, from itself or from the object that describes the blog; None where it is none."""
    name = value.get("name") if isinstance(value, dict) else value
    folded = name.strip().lower() if isinstance(name, str) and len(name) <= 100 else ""
    return folded if _BLOG_NAME.fullmatch(folded) else None


def string_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def blocks_of(content: object) -> tuple[Block, ...]:
    """Return the blocks of a content; a text, which old posts have instead, becomes blocks of its own."""
    items = blocks_of_html(content) if isinstance(content, str) else content
    return tuple(map(_block, items)) if isinstance(items, list) else ()


def _block(item: object) -> Block:
    if isinstance(item, str):
        return Block("text", text=item)
    held = mapping_of(item)
    kind = _kind(held)
    if kind == "text":
        return _text(held)
    if kind == "image":
        return Block("image", image=image_of(held.get("media")))
    if kind == "poll":
        return Block("poll", text=string_of(held.get("question")), answers=_answers(held.get("answers")))
    if kind == "paywall":
        return Block("paywall", text=string_of(held.get("text")) or string_of(held.get("title")))
    if kind == "unknown":
        return Block("unknown")
    url, title = address_of(held.get("url")), string_of(held.get("title")).strip()
    if kind == "link":
        title = title or string_of(held.get("display_url")).strip() or url or ""
    return Block(kind, url=url, title=title or None)


def _kind(held: Mapping[str, Any]) -> str:
    """The kind it names; where it names none, what its fields tell."""
    named = held.get("type")
    if named is not None:
        return named if named in KINDS else "unknown"
    if isinstance(held.get("text"), str):
        return "text"
    return "image" if image_of(held.get("media")) is not None else "unknown"


def _text(held: Mapping[str, Any]) -> Block:
    text, subtype, indent = string_of(held.get("text")), held.get("subtype"), held.get("indent_level")
    return Block(
        "text",
        text=text,
        subtype=subtype if subtype in SUBTYPES else None,
        indent=min(max(indent, 0), MAX_INDENT) if _is_whole(indent) else 0,
        ranges=tuple(_ranges(held.get("formatting"), len(text))),
    )


def _ranges(formatting: object, length: int) -> Iterator[Range]:
    for item in formatting[:MAX_RANGES] if isinstance(formatting, list) else ():
        held = mapping_of(item)
        kind, start, end = held.get("type"), held.get("start"), held.get("end")
        if kind not in RANGE_KINDS or not _is_whole(start) or not _is_whole(end):
            continue
        start, end = max(start, 0), min(end, length)
        made = _range(kind, start, end, held) if start < end else None
        if made is not None:
            yield made


def _range(kind: str, start: int, end: int, held: Mapping[str, Any]) -> Range | None:
    """None for a link that leads nowhere and a colour that is none: the text stays as it is."""
    if kind == "link":
        url = address_of(held.get("url"))
        return Range(start, end, kind, url=url) if url else None
    if kind == "mention":
        url = address_of(mapping_of(held.get("blog")).get("url"))
        return Range(start, end, kind, url=url, blog=blog_name_of(held.get("blog")))
    if kind == "color":
        colour = string_of(held.get("hex"))
        return Range(start, end, kind, colour=colour) if _COLOUR.fullmatch(colour) else None
    return Range(start, end, kind)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def image_of(media: object) -> Image | None:
    """The picture of which these are the sizes; None where none of them has an address.

    Of sizes without a width the first counts: Tumblr lists the largest first.
    """
    items = media if isinstance(media, list) else [media]
    sizes = [(url, held) for held in map(mapping_of, items) if (url := address_of(held.get("url")))]
    if not sizes:
        return None
    measured = [(width, url, held) for url, held in sizes if (width := side_of(held.get("width")))]
    if not measured:
        url, held = sizes[0]
        return Image(url, None, side_of(held.get("height")), url)
    fitting = [size for size in measured if size[0] <= SHOWN_WIDTH]
    width, url, held = max(fitting, key=_width) if fitting else min(measured, key=_width)
    return Image(url, width, side_of(held.get("height")), max(measured, key=_width)[1])


def _width(size: tuple[int, str, Mapping[str, Any]]) -> int:
    return size[0]


def _answers(answers: object) -> tuple[str, ...]:
    items = answers if isinstance(answers, list) else ()
    texts = (item if isinstance(item, str) else string_of(mapping_of(item).get("answer_text")) for item in items)
    return tuple(text for text in texts if text)


def order_of(layout: object, count: int) -> Order:
    """Return what a layout says of `count` blocks.

    Every index comes up once, where it is named first; questions come before rows, and what no row names stands at
    the end, so that no block is lost.
    """
    held = [item for item in layout if isinstance(item, dict)] if isinstance(layout, list) else []
    left = dict.fromkeys(range(count))
    asks = tuple(
        (blog_name_of(mapping_of(item.get("attribution")).get("blog")), _taken(_indices(item.get("blocks")), left))
        for item in held
        if item.get("type") == "ask"
    )
    rows = [index for item in held if item.get("type") == "rows" for index in _row_indices(item)]
    shown = _taken(rows, left)
    return Order(asks, (*shown, *left), any(map(_is_cut, held)))


def _row_indices(item: Mapping[str, Any]) -> Iterator[int]:
    """The indices of rows: objects with blocks, or, as they once were, bare lists."""
    for name in ("display", "rows"):
        rows = item.get(name)
        for row in rows if isinstance(rows, list) else ():
            yield from _indices(row.get("blocks") if isinstance(row, dict) else row)


def _indices(value: object) -> Iterator[int]:
    return (index for index in value if _is_whole(index)) if isinstance(value, list) else iter(())


def _taken(indices: Iterable[int], left: dict[int, None]) -> tuple[int, ...]:
    """Those that are still there, in this order; they are not there any more then."""
    found = []
    for index in indices:
        if index in left:
            del left[index]
            found.append(index)
    return tuple(found)


def _is_cut(item: Mapping[str, Any]) -> bool:
    """`truncate_after` says so, and so do the blocks of a condensed layout, which come before the cut."""
    return _is_whole(item.get("truncate_after")) or (
        item.get("type") == "condensed" and isinstance(item.get("blocks"), list)
    )

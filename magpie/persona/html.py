"""Blocks of a post as HTML.

Belongs here: which element a block becomes, how formatted stretches and nested lists open and close. Does not belong
here: reading blocks (`magpie/sources/tumblr_npf.py`), and the text that models read (`munging.py`).

All text and all attributes are escaped and all tags are literals of this module, so the result is well-formed whatever
a post holds. Ranges of one kind that overlap become one, and of overlapping links the first counts, so no element
stands within its like and what is written grows with the length of the text alone.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from magpie.sources.tumblr_npf import Block, Image, Range

LISTS = {"ordered-list-item": "ol", "unordered-list-item": "ul"}
QUOTE = "blockquote"
# A browser's own bound on addresses is no smaller; a longer one is no link that somebody reads.
MAX_URL_CHARS = 2000
# As Tumblr writes a mention, and the attribute in which its HTML keeps the picture before it was made smaller.
MENTION_CLASS = "tumblelog"
ORIGINAL = "data-orig-src"

_SIMPLE = {"bold": "b", "italic": "i", "small": "small", "strikethrough": "strike"}
# Of stretches that begin and end together, links are outermost.
_RANK = {"a": 0, "span": 1, "b": 2, "i": 3, "small": 4, "strike": 5}
_ADDRESS = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
# What would end an attribute, or a tag where only tags are looked for.
_UNSAFE = re.compile(r"[\s\"'<>\x00-\x1f\x7f]")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{3,8}")
_BLOG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def html_of(blocks: Sequence[Block]) -> str:
    """Return blocks, in the order given, as HTML without any white space between elements.

    Containers: a list item, or an indented block, stands one level deeper than its indent says; any other block with
    an indent stands in that many quotes. Where a level's kind changes it is closed and opened anew.
    """
    made: list[str] = []
    stack: list[str] = []
    for block in blocks:
        level, container = _place(block)
        while len(stack) > level or (stack and len(stack) == level and stack[-1] != container):
            made.append(f"</{stack.pop()}>")
        while len(stack) < level:
            stack.append(container)
            made.append(f"<{container}>")
        made.append(_element(block))
    made += [f"</{tag}>" for tag in reversed(stack)]
    return "".join(made)


def web_address(url: str | None) -> str | None:
    """An address that can stand in an attribute as it is, quotes, brackets and spaces encoded; None: no web address."""
    if url is None or len(url) > MAX_URL_CHARS:
        return None
    safe = _UNSAFE.sub(lambda char: f"%{ord(char[0]):02X}" if char[0].isascii() else "", url.strip())
    return safe if _ADDRESS.fullmatch(safe) else None


def _place(block: Block) -> tuple[int, str]:
    """How deep a block stands, and in what."""
    if block.kind != "text":
        return 0, QUOTE
    deeper = block.subtype in LISTS or block.subtype == "indented"
    return block.indent + deeper, LISTS.get(block.subtype or "", QUOTE)


def _element(block: Block) -> str:
    if block.kind == "text":
        tag = "li" if block.subtype in LISTS else "h2" if block.subtype in ("heading1", "heading2") else "p"
        return f"<{tag}>{_formatted(block.text, block.ranges)}</{tag}>"
    if block.kind == "image":
        return _picture(block.image) if block.image else ""
    if block.kind == "link":
        return f"<p>{_link(block)}</p>"
    if block.kind in ("audio", "video"):
        return f"<p>[{block.kind}]</p>"
    if block.kind == "poll":
        answers = "".join(f"<li>{_text(answer)}</li>" for answer in block.answers)
        return f"<p>{_text(block.text)}</p>" + (f"<ol>{answers}</ol>" if answers else "")
    return ""


def _text(text: str) -> str:
    return escape(text, quote=False)


def _picture(image: Image) -> str:
    size = "".join(
        f' {name}="{side}"' for name, side in (("width", image.width), ("height", image.height)) if side is not None
    )
    return f'<img src="{escape(image.url)}" {ORIGINAL}="{escape(image.original_url)}"{size}>'


def _link(block: Block) -> str:
    address = web_address(block.url)
    title = _text(block.title or block.url or "")
    return f'<a href="{escape(address)}">{title}</a>' if address else title


@dataclass
class _Span:
    """A stretch between two tags."""

    start: int
    end: int
    tag: str
    opening: str


def _opening_order(span: _Span) -> tuple[int, int, int]:
    """What begins first opens first, and of those that begin together what ends last."""
    return span.start, -span.end, _RANK[span.tag]


def _formatted(text: str, ranges: Sequence[Range]) -> str:
    """Text with its ranges as elements; one that crosses the end of another is closed there and opened again."""
    waiting = sorted(_spans(ranges, len(text)), key=_opening_order, reverse=True)
    if not waiting:
        return _text(text)
    made: list[str] = []
    stack: list[_Span] = []
    done = 0
    for at in sorted({edge for span in waiting for edge in (span.start, span.end)}):
        made.append(_text(text[done:at]))
        done = at
        again: list[_Span] = []
        while at in [span.end for span in stack]:
            closed = stack.pop()
            made.append(f"</{closed.tag}>")
            again += [closed] if closed.end > at else []
        while waiting and waiting[-1].start == at:
            again.append(waiting.pop())
        for span in sorted(again, key=_opening_order) if len(again) > 1 else again:
            stack.append(span)
            made.append(span.opening)
    return "".join((*made, _text(text[done:])))


def _spans(ranges: Iterable[Range], length: int) -> Iterator[_Span]:
    """Stretches of which no two with the same tag overlap."""
    by_tag: dict[str, list[_Span]] = {}
    for item in sorted(ranges, key=lambda item: item.start):
        span = _span(item, length)
        if span is None:
            continue
        before = by_tag.setdefault(span.tag, [])
        last = before[-1] if before else None
        if last is not None and span.opening == last.opening and span.start <= last.end:
            last.end = max(last.end, span.end)
            continue
        span.start = max(span.start, last.end if last else 0)
        if span.start < span.end:
            before.append(span)
    for spans in by_tag.values():
        yield from spans


def _span(item: Range, length: int) -> _Span | None:
    """A range as a stretch of a text so long; None where it says nothing, or leads nowhere."""
    start, end = max(item.start, 0), min(item.end, length)
    if item.kind in _SIMPLE:
        tag = _SIMPLE[item.kind]
        return _Span(start, end, tag, f"<{tag}>")
    if item.kind == "color":
        known = item.colour is not None and _COLOUR.fullmatch(item.colour)
        return _Span(start, end, "span", f'<span style="color:{item.colour}">') if known else None
    if item.kind == "mention":
        blog = item.blog if item.blog and _BLOG.fullmatch(item.blog) else None
        address = web_address(item.url) or (f"https://{blog}.tumblr.com/" if blog else None)
        place = f' href="{escape(address)}"' if address else ""
        return _Span(start, end, "a", f'<a class="{MENTION_CLASS}"{place}>')
    address = web_address(item.url) if item.kind == "link" else None
    return _Span(start, end, "a", f'<a href="{escape(address)}">') if address else None

"""The text of a post that is to be sent, as Tumblr's blocks.

Belongs here: the way from munged text to blocks, and the hash by which a text is found again. Does not belong here:
the way to munged text (`html.py`, `munging.py`), tags of a post, sending (`outbox.py`).

Only the tags that munging keeps mean something here, and only where they open and close as they should. Anything else
in angle brackets is text.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from magpie.errors import UserError
from magpie.persona.html import LISTS, QUOTE
from magpie.persona.munging import readable, without_delimiters
from magpie.sources.tumblr_blocks import MAX_INDENT
from magpie.sources.tumblr_npf import Block, Range

# What Tumblr takes: code points of a text block, blocks of a post.
MAX_BLOCK_CHARS, MAX_BLOCKS = 4096, 1000
# Two neighbours of those that are packed hold more than one block does, so this many always fit.
MAX_BODY_CHARS = 1_000_000
# Elements within each other; Tumblr's own editor makes eight levels of lists with some formatting in them.
MAX_DEPTH = 32

_CONTAINERS = {**{tag: subtype for subtype, tag in LISTS.items()}, QUOTE: "indented"}
_LIST_TAGS = tuple(LISTS.values())
_STRUCTURE = frozenset((*_CONTAINERS, "li", "h2"))
# Tumblr has no underlining: the words stay, the tag goes.
_MARKS = {"b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": None, "a": "link"}
_TAG = re.compile(
    r'<(/?)(blockquote|strong|em|b|i|u|h2|li|ul|ol|a(?= href=|>))(?: href="(https?://[^"<>\s]{1,2000})")?>'
)


@dataclass(frozen=True)
class _Tag:
    """A tag in a text: where it stands, and where it leads if it opens a link."""

    start: int
    end: int
    name: str
    closing: bool
    url: str | None


@dataclass(frozen=True)
class _Run:
    """Text between two tags. `place` counts the elements that begin and end blocks; ranges are kind and address."""

    text: str
    place: int
    subtype: str | None
    indent: int
    marks: tuple[tuple[str, str | None], ...]


def npf_of(body: str) -> list[dict[str, Any]]:
    """Return the text blocks of a body, as the API takes them: at most 1000, of 4096 code points each.

    Raises:
        UserError: the body is too long for a post.
    """
    return [_as_npf(block) for block in body_blocks(body)]


def body_blocks(body: str) -> list[Block]:
    """Return the text blocks of a body: a block for each line that holds something.

    A line that is too long goes on in the next block. More lines than a post may have blocks are packed, as many as
    fit one below the other, and lose headings, quotes and lists by it.

    Raises:
        UserError: the body is too long for a post.
    """
    if len(body) > MAX_BODY_CHARS:
        raise UserError(f"the text has {len(body)} characters, a post takes {MAX_BODY_CHARS}: shorten it")
    whole = [piece for block in _lines(_runs(body)) for piece in _pieces(block)]
    return whole if len(whole) <= MAX_BLOCKS else list(_packed(whole))


def body_sha256(body: str) -> str:
    """The hash of the words of a body, whatever its tags, white space, form of quotes and what does not show.

    The munged text of a post has the hash of the body that it was made of, so that it is found again.
    """
    text = without_delimiters(readable(_TAG.sub("", body)))
    # What was taken out may have stood within a tag.
    return hashlib.sha256("".join(_TAG.sub("", text).split()).encode()).hexdigest()


def _as_npf(block: Block) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "text", "text": block.text}
    if block.subtype:
        made["subtype"] = block.subtype
    if block.indent:
        made["indent_level"] = block.indent
    if block.ranges:
        made["formatting"] = [
            {"start": item.start, "end": item.end, "type": item.kind, **({"url": item.url} if item.url else {})}
            for item in block.ranges
        ]
    return made


def _runs(body: str) -> Iterator[_Run]:
    """Text between tags, with what is open around it."""
    open_tags: list[_Tag] = []
    place = at = 0
    for tag in _effective(_tags(body)):
        yield _run(body[at : tag.start], place, open_tags)
        at = tag.end
        place += tag.name in _STRUCTURE
        if tag.closing:
            last = max(n for n, other in enumerate(open_tags) if other.name == tag.name)
            del open_tags[last]
        else:
            open_tags.append(tag)
    yield _run(body[at:], place, open_tags)


def _run(text: str, place: int, open_tags: Sequence[_Tag]) -> _Run:
    containers = [tag.name for tag in open_tags if tag.name in _CONTAINERS]
    marks = tuple((kind, tag.url) for tag in open_tags if (kind := _MARKS.get(tag.name)))
    if any(tag.name == "h2" for tag in open_tags):
        return _Run(text, place, "heading2", min(len(containers), MAX_INDENT), marks)
    if containers:
        return _Run(text, place, _CONTAINERS[containers[-1]], min(len(containers) - 1, MAX_INDENT), marks)
    return _Run(text, place, None, 0, marks)


def _tags(body: str) -> list[_Tag]:
    """Everything that looks like a kept tag; an anchor that leads nowhere does not."""
    found = (_Tag(match.start(), match.end(), match[2], bool(match[1]), match[3]) for match in _TAG.finditer(body))
    return [tag for tag in found if (tag.url is not None) == (tag.name == "a" and not tag.closing)]


def _effective(tags: Sequence[_Tag]) -> list[_Tag]:
    """Those that open and close as they should: elements that make blocks within each other, list items in lists."""
    partners: dict[int, int] = {}
    parents: dict[int, int] = {}
    structure: list[int] = []
    depth: Counter[str] = Counter()
    inline: defaultdict[str, list[int]] = defaultdict(list)
    for n, tag in enumerate(tags):
        if tag.name not in _STRUCTURE:
            if not tag.closing:
                inline[tag.name].append(n)
            elif inline[tag.name]:
                partners[inline[tag.name].pop()] = n
        elif not tag.closing:
            if tag.name == "li":
                if not structure or tags[structure[-1]].name not in _LIST_TAGS:
                    continue
                parents[n] = structure[-1]
            structure.append(n)
            depth[tag.name] += 1
        elif depth[tag.name]:
            # What was opened since and not closed is text.
            while tags[opened := structure.pop()].name != tag.name:
                depth[tags[opened].name] -= 1
            depth[tag.name] -= 1
            partners[opened] = n
    whole = {first: last for first, last in partners.items() if first not in parents or parents[first] in partners}
    return [tags[n] for n in _shallow(whole)]


def _shallow(partners: Mapping[int, int]) -> list[int]:
    """Tags in the order of the text, without pairs inside of too many others."""
    ends: set[int] = set()
    kept: list[int] = []
    for n in sorted((*partners, *partners.values())):
        if n in partners and len(ends) < MAX_DEPTH:
            ends.add(partners[n])
            kept.append(n)
        elif n in ends:
            ends.remove(n)
            kept.append(n)
    return kept


def _lines(runs: Iterable[_Run]) -> Iterator[Block]:
    """A block for each line, ended also by what begins or ends an element; empty ones are left out."""
    held = _Line()
    before: _Run | None = None
    for run in runs:
        for n, text in enumerate(run.text.split("\n")):
            if before is not None and (n or run.place != before.place):
                yield from held.block(before)
                held = _Line()
            held.add(text, run.marks)
            before = run
    if before is not None:
        yield from held.block(before)


class _Line:
    """A line that grows."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        self._ranges: dict[tuple[str, str | None], list[list[int]]] = {}

    def add(self, text: str, marks: Iterable[tuple[str, str | None]]) -> None:
        start, self._length = self._length, self._length + len(text)
        self._texts.append(text)
        for mark in dict.fromkeys(marks) if text else ():
            spans = self._ranges.setdefault(mark, [])
            if spans and spans[-1][1] == start:
                spans[-1][1] = self._length
            else:
                spans.append([start, self._length])

    def block(self, run: _Run) -> Iterator[Block]:
        """What the line holds, if it holds something, in the element of its run."""
        text = "".join(self._texts)
        if not text.strip():
            return
        found = [
            Range(start, end, kind, url=url) for (kind, url), spans in self._ranges.items() for start, end in spans
        ]
        ranges = tuple(sorted(found, key=lambda item: (item.start, -item.end, item.kind)))
        whole = Block("text", text, run.subtype, run.indent, ranges)
        yield _cut(whole, len(text) - len(text.lstrip()), len(text.rstrip()))


def _cut(block: Block, start: int, end: int) -> Block:
    """The stretch of a block, with its ranges."""
    kept = (
        replace(item, start=max(item.start - start, 0), end=min(item.end, end) - start)
        for item in block.ranges
        if item.start < end and item.end > start
    )
    return replace(block, text=block.text[start:end], ranges=tuple(kept))


def _pieces(block: Block) -> Iterator[Block]:
    """A block as blocks that are not too long, cut after a space where there is one."""
    start, length = 0, len(block.text)
    while length - start > MAX_BLOCK_CHARS:
        space = block.text.rfind(" ", start, start + MAX_BLOCK_CHARS)
        end = space + 1 if space > start else start + MAX_BLOCK_CHARS
        yield _cut(block, start, end)
        start = end
    yield _cut(block, start, length)


def _packed(blocks: Iterable[Block]) -> Iterator[Block]:
    """Blocks joined by line breaks, as plain ones."""
    texts: list[str] = []
    ranges: list[Range] = []
    length = 0
    for block in blocks:
        if texts and length + len(block.text) > MAX_BLOCK_CHARS:
            yield Block("text", "\n".join(texts), ranges=tuple(ranges))
            texts, ranges, length = [], [], 0
        ranges += [replace(item, start=item.start + length, end=item.end + length) for item in block.ranges]
        texts.append(block.text)
        length += len(block.text) + 1
    if texts:
        yield Block("text", "\n".join(texts), ranges=tuple(ranges))

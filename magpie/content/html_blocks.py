"""Blocks of text and what they are nested in, and how they are written as HTML.

Belongs here: places and runs, leaving out what is empty, levels of headings, the one form in which each block is
written. Does not belong here: which tags mean what (`safe_html.py`).
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, takewhile
from typing import Literal

# Twice the longest answer that is ever asked for; the longest article of a person is a third of that.
MAX_CHARS = 200_000
LISTS = ("ul", "ol")
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
BLANK = " \t\n\r\f"
SPACE = re.compile(f"[{BLANK}]+")


@dataclass(frozen=True)
class Mark:
    """An inline tag: its name, the tag that opens it, and where a link leads."""

    name: str
    opening: str
    href: str | None = None


@dataclass(frozen=True)
class Run:
    """A stretch of a block under the same marks, outermost first; the text of an image is its tag."""

    text: str
    marks: tuple[Mark, ...] = ()
    kind: Literal["text", "image", "break"] = "text"


@dataclass(frozen=True)
class Leaf:
    """A block of text without blocks in it.

    Attributes:
        tag: p, h2, h3, h4 or pre.
        parts: its text in order, with the address that each part links to.
    """

    tag: str
    parts: tuple[tuple[str, str | None], ...]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.parts)


@dataclass(frozen=True)
class Cleaned:
    """Safe HTML, and its blocks of text in reading order; `cut`: what came after MAX_CHARS is missing."""

    html: str
    leaves: tuple[Leaf, ...]
    cut: bool = False


def visible(text: str) -> bool:
    """Whether there is anything to see."""
    return any(char.isprintable() and not char.isspace() for char in text)


@dataclass(eq=False)
class Node:
    """A place for text or blocks. `before`: of a table, what must stand before it; `table`: of a row, its table."""

    tag: str
    depth: int = 0
    children: list["Node"] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    paragraph: "Node | None" = None
    before: "Node | None" = None
    table: "Node | None" = None
    section: str = "tbody"
    implied: bool = False
    seen: bool = False

    @property
    def is_leaf(self) -> bool:
        return self.tag in HEADINGS or self.tag == "pre"


class Writer:
    """Writes places as HTML: empty ones are left out, headings leave no level out."""

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self.level = 1

    def document(self, root: Node, cut: bool) -> Cleaned:
        out: list[str] = []
        size = 0
        for child in root.children:
            before = len(self.leaves)
            piece = _joined(self._blocks([child]))
            size += len(piece)
            if size > MAX_CHARS:
                return Cleaned("".join(out), tuple(self.leaves[:before]), True)
            out.append(piece)
        return Cleaned("".join(out), tuple(self.leaves), cut)

    def _blocks(self, nodes: Sequence[Node]) -> list[tuple[str, str]]:
        """Tag and content of each block that is not empty."""
        blocks = []
        for node in nodes:
            if node.tag == "p" or node.is_leaf:
                blocks += self._leaf(node)
            elif node.tag == "table":
                blocks += self._blocks(node.before.children if node.before else ())
                blocks.append(("table", self._rows(node.children)))
            elif node.tag in LISTS:
                items = (self._inside(item) for item in node.children)
                blocks.append((node.tag, "".join(f"<li>{item}</li>" for item in items if item)))
            else:
                blocks.append((node.tag, _joined(self._blocks(node.children))))
        return [block for block in blocks if block[1]]

    def _inside(self, node: Node) -> str:
        """The content of an item or a cell; one paragraph, with lists after it, needs no tag of its own."""
        blocks = self._blocks(node.children)
        if blocks and blocks[0][0] == "p" and all(tag in LISTS for tag, _ in blocks[1:]):
            return blocks[0][1] + _joined(blocks[1:])
        return _joined(blocks)

    def _rows(self, rows: Sequence[Node]) -> str:
        parts = {"thead": "", "tbody": "", "tfoot": ""}
        for section in parts:
            for row in rows:
                cells = [(cell.tag, self._inside(cell)) for cell in row.children] if row.section == section else []
                # An empty cell holds its column's place, unless the whole row is empty.
                if any(content for _, content in cells):
                    parts[section] += f"<tr>{_joined(cells)}</tr>"
        head, body = parts["thead"], parts["tbody"] + parts["tfoot"]
        return (f"<thead>{head}</thead>" if head else "") + (f"<tbody>{body}</tbody>" if body else "")

    def _leaf(self, node: Node) -> list[tuple[str, str]]:
        written = []
        for runs in _split(node.runs) if node.tag == "p" else [node.runs]:
            runs = _tidy(runs, keep_space=node.tag == "pre")
            if not runs:
                continue
            tag = self._heading(node.tag) if node.tag in HEADINGS else node.tag
            parts = [(run.text, _href(run)) for run in runs if run.kind == "text"]
            self.leaves.append(Leaf(tag, tuple(parts)))
            written.append((tag, _inline(runs)))
        return written

    def _heading(self, tag: str) -> str:
        """The first heading is an h2, each other at most one level below the one before."""
        self.level = min(max(2, int(tag[1])), 4, self.level + 1)
        return f"h{self.level}"


def _joined(blocks: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<{tag}>{content}</{tag}>" for tag, content in blocks)


def _href(run: Run) -> str | None:
    return next((mark.href for mark in run.marks if mark.href), None)


def _split(runs: Sequence[Run]) -> list[list[Run]]:
    """The paragraphs of a paragraph: two breaks with nothing between them end one."""
    parts: list[list[Run]] = [[]]
    broken = False
    for run in runs:
        if run.kind == "break" and broken:
            parts.append([])
        broken = run.kind == "break" or (broken and run.kind == "text" and not run.text.strip(BLANK))
        parts[-1].append(run)
    return parts


def _tidy(runs: Sequence[Run], keep_space: bool) -> list[Run]:
    """Runs with single spaces, none at either end, of which no mark holds only what cannot be seen; [] for nothing."""
    if not any(run.kind == "image" or (run.kind == "text" and visible(run.text)) for run in runs):
        return []
    held = [replace(run, kind="text") if run.kind == "break" else run for run in runs]
    held = _trimmed(held) if keep_space else _collapsed(held)
    return [
        Run("".join(run.text for run in same), *key)
        for key, group in groupby(_marked(held), key=lambda run: (run.marks, run.kind))
        for same in (list(group),)
    ]


def _collapsed(runs: Sequence[Run]) -> list[Run]:
    found: list[Run] = []
    after_space = True
    for run in runs:
        text = run.text
        if run.kind == "text":
            text = SPACE.sub(" ", text)
            text = text.removeprefix(" ") if after_space else text
            if not text:
                continue
        after_space = run.kind == "text" and text.endswith(" ")
        found.append(replace(run, text=text))
    return _without_end(found, " ")


def _trimmed(runs: Sequence[Run]) -> list[Run]:
    """Preformatted text without empty lines at its ends; browsers leave the first one out."""
    found = [replace(run, text=re.sub(r"\r\n?", "\n", run.text)) if run.kind == "text" else run for run in runs]
    while found[0].kind == "text" and not found[0].text.strip("\n"):
        found.pop(0)
    if found[0].kind == "text":
        found[0] = replace(found[0], text=found[0].text.lstrip("\n"))
    return _without_end(found, BLANK)


def _without_end(runs: list[Run], blanks: str) -> list[Run]:
    while runs and runs[-1].kind == "text" and not runs[-1].text.rstrip(blanks):
        runs.pop()
    if runs and runs[-1].kind == "text":
        runs[-1] = replace(runs[-1], text=runs[-1].text.rstrip(blanks))
    return runs


def _marked(runs: Sequence[Run]) -> list[Run]:
    """What cannot be seen has only marks that it shares with what can be seen next to it."""
    seen = [run.kind == "image" or visible(run.text) for run in runs]
    left: list[tuple[Mark, ...]] = []
    marks: tuple[Mark, ...] = ()
    for run, is_seen in zip(runs, seen, strict=True):
        marks = run.marks if is_seen else marks
        left.append(marks)
    found: list[Run] = []
    marks = ()
    for run, is_seen, before in zip(reversed(runs), reversed(seen), reversed(left), strict=True):
        marks = run.marks if is_seen else marks
        shared = max((_shared(run.marks, before), _shared(run.marks, marks)), key=len)
        found.append(run if is_seen else replace(run, marks=shared))
    return found[::-1]


def _shared(some: tuple[Mark, ...], others: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """The marks that both begin with."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(some, others, strict=False))
    return tuple(mark for mark, _ in pairs)


def _inline(runs: Sequence[Run]) -> str:
    out: list[str] = []
    held: tuple[Mark, ...] = ()
    for run in (*runs, Run("")):
        keep = len(_shared(held, run.marks))
        out += [f"</{mark.name}>" for mark in reversed(held[keep:])]
        out += [mark.opening for mark in run.marks[keep:]]
        out.append(run.text if run.kind == "image" else html.escape(run.text, quote=False))
        held = run.marks
    return "".join(out)

"""The normaliser: whatever a model or a person hands in as an article becomes safe HTML, once and for all.

Belongs here: taking a text out of fences and JSON, telling HTML, Markdown and plain text apart, words and lines of the
result. Does not belong here: which tags stay (`safe_html.py`), what an article must hold (`articles.py`).

Normalising what is normalised changes nothing.
"""

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from markdown_it import MarkdownIt

from magpie.content.html_blocks import MAX_CHARS, Cleaned, Leaf, visible
from magpie.content.safe_html import KNOWN_TAGS, clean, without_long_references

SourceKind = Literal["json", "html", "markdown", "plain"]

# An answer within an answer is met; deeper ones are somebody's example.
MAX_UNWRAPPED = 2
META_TITLE_CHARS, META_DESCRIPTION_CHARS = 60, 160
# What must not be left at the end of a line that was cut.
SEPARATORS = " -–—|:;,/·•"

_FENCE = re.compile(r"\A(`{3,}|~{3,})[^\n`]*\n(.*)\Z", re.DOTALL)
_FENCE_LINE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\n]*)$", re.MULTILINE)
_HTML = re.compile(rf"</?(?:{'|'.join(sorted(KNOWN_TAGS))})(?:[\s/][^<]*)?>|<!--|<!doctype\b", re.IGNORECASE)
_MARKDOWN = re.compile(
    r"""
      ^[ ]{0,3}\#{1,6}[ \t]+\S            # a heading,
    | \S[ \t]*\n[ ]{0,3}(?:={2,}|-{2,})[ \t]*$   # or one that is underlined
    | ^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S                # an item of a list
    | ^[ ]{0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)+\|?[ \t]*$   # the line below the head of a table
    | ^[ ]{0,3}>[ \t]*\S                  # a quote
    | ^[ ]{0,3}(?:`{3,}|~{3,})            # a fence
    | \*\*(?=\S)[^*\n]+\*\*|__(?=\S)[^_\n]+__   # bold
    | \[[^\]\[\n]+\]\([^()\s]+            # a link
    """,
    re.MULTILINE | re.VERBOSE,
)
_PARAGRAPHS = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_WORD = re.compile(r"[^\W_]")
_HEADING_MARK = re.compile(r"^#{1,6} +")


def _markdown() -> MarkdownIt:
    """CommonMark with tables; HTML in it is text, since a text with HTML tags is read as HTML."""
    return MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True)
class Normalised:
    """Safe HTML.

    Attributes:
        leaves: its blocks of text in reading order.
        source_kind: what the text was: json if it came out of an object.
        cut: it was too long, and its end is missing.
    """

    html: str
    leaves: tuple[Leaf, ...]
    source_kind: SourceKind
    cut: bool = False


def normalise(text: str) -> Normalised:
    """Return a text as safe HTML; `normalise(normalise(x).html).html == normalise(x).html`.

    One fence around it and objects with a string `content` (two of them at most) are taken off; what is left counts as
    HTML if it holds any tag of HTML, as Markdown if it holds any of its marks, else as plain text. Never raises for
    what the text holds.
    """
    inner, from_json = _unwrapped(text)
    kind = _kind(inner)
    read = inner[:MAX_CHARS]
    if kind == "markdown":
        read = _markdown().render(without_long_references(_storable(read)))
    elif kind == "plain":
        read = _paragraphs(read)
    cleaned: Cleaned = clean(read)
    cut = cleaned.cut or len(inner) > MAX_CHARS
    return Normalised(cleaned.html, cleaned.leaves, "json" if from_json else kind, cut)


def word_count(leaves: Iterable[Leaf]) -> int:
    """Return the number of words that can be seen: what stands between spaces or ends of blocks and holds a letter or
    digit."""
    return len(words(leaves))


def words(leaves: Iterable[Leaf]) -> list[str]:
    """Return the words that `word_count` counts, in order."""
    return [word for leaf in leaves for word in leaf.text.split() if _WORD.search(word)]


def plain_text(leaves: Iterable[Leaf]) -> str:
    """Return what can be read, a line for each block."""
    return "\n".join(text for leaf in leaves if (text := leaf.text.strip()))


def headings(leaves: Iterable[Leaf], tag: str = "h2") -> list[str]:
    """Return the texts of the headings of one level."""
    return [leaf.text for leaf in leaves if leaf.tag == tag and visible(leaf.text)]


def first_paragraph(leaves: Iterable[Leaf]) -> str:
    """Return the first paragraph that holds a word, or nothing."""
    return next((leaf.text for leaf in leaves if leaf.tag == "p" and _WORD.search(leaf.text)), "")


def one_line(text: str) -> str:
    """Return a title or the like as one line of plain text: without tags, entities and marks of Markdown around it."""
    plain = _storable(text)
    plain = plain_text(clean(plain).leaves) if _HTML.search(plain) else html.unescape(without_long_references(plain))
    line = " ".join("".join(char if char.isprintable() else " " for char in plain).split())
    line = _HEADING_MARK.sub("", line)
    for mark in ("**", "__", '"', "`"):
        if len(line) > 2 * len(mark) and line.startswith(mark) and line.endswith(mark):
            line = line.removeprefix(mark).removesuffix(mark).strip()
    return line


def trimmed(text: str, most: int) -> str:
    """Return a line of at most `most` characters, cut between two words, without separators at its end."""
    line = " ".join(text.split())
    if len(line) > most:
        head = line[: most + 1]
        line = head.rsplit(" ", 1)[0] if " " in head.strip() else head[:most]
    return line.rstrip(SEPARATORS)


def _unwrapped(text: str) -> tuple[str, bool]:
    inner = _without_fence(text)
    for level in range(MAX_UNWRAPPED):
        content = _content_of(inner)
        if content is None:
            return inner, level > 0
        inner = _without_fence(content)
    return inner, True


def _without_fence(text: str) -> str:
    """The inside of a text that is one fenced block, also one that holds fenced blocks; any other text as it is."""
    fenced = _FENCE.match(text.strip())
    if not fenced:
        return text
    fence, inside = fenced[1], fenced[2]
    lines = [line for line in _FENCE_LINE.finditer(inside) if line[1].startswith(fence)]
    ends_it = lines and not lines[-1][2].strip() and lines[-1].end() == len(inside)
    first_closes = lines and len(lines) > 1 and not lines[0][2].strip()
    return inside[: lines[-1].start()].removesuffix("\n") if ends_it and not first_closes else text


def _content_of(text: str) -> str | None:
    """The `content` of a text that is one JSON object."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    content = value.get("content") if isinstance(value, dict) else None
    return content if isinstance(content, str) else None


def _kind(text: str) -> Literal["html", "markdown", "plain"]:
    if _HTML.search(text):
        return "html"
    return "markdown" if _MARKDOWN.search(text) else "plain"


def _paragraphs(text: str) -> str:
    plain = html.unescape(without_long_references(text)).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(f"<p>{html.escape(part, quote=False)}</p>" for part in _PARAGRAPHS.split(plain))


def _storable(text: str) -> str:
    """Text without halves of surrogate pairs, which no encoding can store."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

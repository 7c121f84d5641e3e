"""Safe HTML: of any text that claims to be HTML, what an article may hold, in one form.

Belongs here: which tags and attributes stay, what becomes of the others, how what is left is nested and written. Does
not belong here: how what is left is written (`html_blocks.py`), what a text that is no HTML means (`normaliser.py`).

The text is read tag by tag and written anew from what was understood, so nothing reaches the result that is not made
here: all text is escaped, all tags are literals of this module. What is written is read back as it was meant, so
cleaning a second time changes nothing. The work grows with the length of the text, whatever it holds: no tag is ever
repeated for paragraphs to come, as a browser would, and nesting is bounded.
"""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser

from magpie.content.html_blocks import (
    BLANK,
    HEADINGS,
    LISTS,
    MAX_CHARS,
    SPACE,
    Cleaned,
    Mark,
    Node,
    Run,
    Writer,
    visible,
)

# Lists, quotes and tables in each other; a cell of a table is three deeper than what the table stands in.
MAX_DEPTH = 16
# Tags that are open at once; articles have some ten, and looking for one that ends takes as many steps.
MAX_OPEN = 200
MAX_URL_CHARS, MAX_ATTRIBUTE_CHARS = 2000, 300

ALLOWED_TAGS = frozenset(
    "h2 h3 h4 p ul ol li table thead tbody tr th td strong em a blockquote code pre img".split()  # noqa: SIM905
)
_MARKS = {"strong": "strong", "b": "strong", "em": "em", "i": "em", "code": "code", "a": "a"}
_SKIPPED = frozenset(
    """
    script style iframe object svg form head template math noscript noembed noframes select textarea title audio video
    canvas applet button datalist
    """.split()  # noqa: SIM905
)
_OF_HEAD = frozenset(("base", "link", "meta", "noscript", "script", "style", "template", "title"))
_WRAPPERS = frozenset(
    """
    address article aside body center dd details dialog dir div dl dt fieldset figcaption figure footer header hgroup
    hr html legend listing main marquee menu nav optgroup option p plaintext search section summary xmp
    """.split()  # noqa: SIM905
)
_CELLS, _SECTIONS = ("td", "th"), ("thead", "tbody", "tfoot")
_OF_TABLE = ("table", "caption", "tr", *_CELLS)
_INLINE = frozenset(
    """
    abbr acronym area base bdi bdo big br caption cite col colgroup data del dfn embed font frame frameset h1 h5 h6
    img input ins kbd label link map mark meta meter nobr output param picture progress q rb rp rt rtc ruby s samp slot
    small source span strike sub sup tfoot time track tt u var wbr
    """.split()  # noqa: SIM905
)
# Every tag of HTML, so that a text with one of them is known for HTML.
KNOWN_TAGS = ALLOWED_TAGS | _SKIPPED | _WRAPPERS | _INLINE | frozenset(_MARKS)

# Comments, declarations and processing instructions. What is put in their place is nothing, and no neighbour can join
# across it to a new one.
_NO_MARKUP = re.compile(r"<!--.*?(?:-->|\Z)|<[!?][^>]*>?", re.DOTALL)
_NOTHING = "<wbr>"
# A number that no character has; the standard library reads it as an integer first, which Python bounds.
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{12,}|[xX][0-9a-fA-F]{12,});?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_LINK = re.compile(r"(?:https?://[^\s/?#\\@:]\S*|mailto:[^\s/]\S*)", re.IGNORECASE)
_SOURCE = re.compile(r"https://[^\s/?#\\@:]\S*|/(?![/\\])\S*", re.IGNORECASE)


def clean(text: str) -> Cleaned:
    """Return what of a text may stand in an article. Never raises for what the text holds.

    Text is cut after MAX_CHARS characters, the result after the last block of the top level that fits into as many.
    """
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")[:MAX_CHARS]
    builder = _Builder()
    builder.feed(_NO_MARKUP.sub(_NOTHING, without_long_references(whole)))
    builder.close()
    return Writer().document(builder.root, cut=len(text) > MAX_CHARS)


def without_long_references(text: str) -> str:
    """Return text whose numeric character references can be read: one of too many digits is no character."""
    return _LONG_REFERENCE.sub("\ufffd", text)


@dataclass
class _Open:
    """An open tag; `place` is where text goes now, `opener` whether the tag opened that place."""

    tag: str
    place: Node
    marks: tuple[Mark, ...] = ()
    opener: bool = False
    again: int = 0


class _Builder(HTMLParser):
    """Sorts tags and text into places."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("root")
        self._opens = [_Open("root", self.root, opener=True)]
        self._skip, self._skip_depth = "", 0

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if self._skip == "head" and tag not in _OF_HEAD:
            self._skip = ""
        if self._skip:
            self._skip_depth += tag == self._skip
        elif tag in _SKIPPED:
            self._skip, self._skip_depth = tag, 1
        elif tag in _MARKS:
            self._mark(_MARKS[tag], dict(attrs))
        elif tag == "br":
            self._append(Run("\n", kind="break"))
        elif tag == "img":
            self._append(_image(dict(attrs)))
        elif tag in ("caption", *_SECTIONS, "tr", *_CELLS):
            self._table_part(tag)
        elif tag == "li":
            self._item()
        elif tag in HEADINGS or tag in ("pre", "blockquote", "table", *LISTS):
            self._block(tag)
        elif tag in _WRAPPERS:
            self._wrapper(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._skip:
            self._skip_depth -= tag == self._skip
            self._skip = self._skip if self._skip_depth else ""
        elif tag in _MARKS:
            self._end_mark(_MARKS[tag])
        elif tag in _SECTIONS:
            self._table_part("tbody")
        elif tag in HEADINGS:
            self._end(HEADINGS)
        elif tag in ("pre", "blockquote", "table", "caption", "tr", "li", *_CELLS, *LISTS):
            self._end((tag,))
        elif tag in _WRAPPERS:
            self._end_wrapper(tag)
            self._break()

    def handle_data(self, data: str) -> None:
        if not self._skip:
            text = _CONTROL.sub("", data)
            self._append(Run(text)) if text else None

    def _append(self, run: Run | None) -> None:
        if run is None:
            return
        leaf = self._top.place if self._top.place.is_leaf else self._top.place.paragraph
        if leaf is None:
            if run.kind == "break" or (run.kind == "text" and not run.text.strip(BLANK)):
                return
            flow = self._flow()
            leaf = flow.paragraph
            if leaf is None:
                leaf = flow.paragraph = Node("p")
                flow.children.append(leaf)
        leaf.runs.append(replace(run, marks=self._top.marks))
        leaf.seen = leaf.seen or run.kind == "image" or visible(run.text)

    @property
    def _top(self) -> _Open:
        return self._opens[-1]

    def _push(self, tag: str, place: Node | None = None) -> None:
        self._opens.append(_Open(tag, place or self._top.place, self._top.marks, place is not None))

    def _flow(self, reopen: bool = False) -> Node:
        """The place that paragraphs and blocks go to from here; within a list, an item of it."""
        place = self._top.place
        if place.tag in LISTS:
            if place.implied:
                self._end(LISTS)
                return self._flow(reopen)
            if not (reopen and place.children):
                place.children.append(Node("li", place.depth + 1))
            self._push("li", place.children[-1])
            return self._flow()
        if place.tag in ("table", "tr"):
            table = place.table or place
            return table.before or table
        return place

    def _break(self) -> None:
        """End the paragraph."""
        place = self._top.place
        if place.is_leaf:
            place.runs.append(Run("\n", kind="break"))
        place.paragraph = None
        table = place.table or place
        if table.before:
            table.before.paragraph = None

    def _within_leaf(self) -> bool:
        """Whether a block that begins here is no more than a break: in pre, and in a heading that has no text yet.

        A heading with text that meets a block was never ended, and ends.
        """
        place = self._top.place
        if place.tag in HEADINGS and place.seen:
            self._end(HEADINGS)
            return False
        if place.is_leaf:
            self._break()
        return place.is_leaf

    def _mark(self, name: str, attributes: Mapping[str, str | None]) -> None:
        opening, href = f"<{name}>", None
        if name == "a":
            self._end_mark("a")
            href = _address(attributes.get("href"), _LINK)
            if href is None:
                return
            opening = _link(href, attributes.get("title"))
        open_already = next((held for held in self._opens if held.tag == name), None)
        if open_already:
            open_already.again += 1
            return
        self._push(name)
        self._top.marks += (Mark(name, opening, href),)

    def _end_mark(self, name: str) -> None:
        for position in reversed(range(len(self._opens))):
            held = self._opens[position]
            if held.tag != name:
                continue
            if held.again:
                held.again -= 1
                return
            del self._opens[position]
            for above in self._opens[position:]:
                above.marks = tuple(mark for mark in above.marks if mark.name != name)
            return

    def _wrapper(self, tag: str) -> None:
        if self._within_leaf():
            return
        self._end_wrapper("p")
        self._break()
        if tag != "hr" and len(self._opens) < MAX_OPEN:
            self._push(tag)

    def _end_wrapper(self, tag: str) -> None:
        for position in reversed(range(len(self._opens))):
            held = self._opens[position]
            if held.opener:
                return
            if held.tag == tag:
                del self._opens[position:]
                return

    def _block(self, tag: str) -> None:
        if self._within_leaf():
            return
        self._end_wrapper("p")
        if tag == "table" and self._top.place.tag in ("table", "tr"):
            self._end(("table",))
        flow = self._flow(reopen=tag in LISTS)
        self._break()
        flow.paragraph = None
        needed = {"ul": 2, "ol": 2, "table": 3, "blockquote": 1}.get(tag, 0)
        if flow.depth + needed > MAX_DEPTH:
            return
        node = Node(tag, flow.depth + 1)
        if tag == "table":
            node.before = Node("before", flow.depth + 1)
        flow.children.append(node)
        self._push(tag, node)

    def _item(self) -> None:
        if self._within_leaf():
            return
        holder = self._nearest("li", *LISTS, "td", "th", "blockquote", "caption", "root")
        if self._opens[holder].tag == "li":
            del self._opens[holder:]
        elif self._opens[holder].tag not in LISTS:
            self._block("ul")
            if self._top.place.tag != "ul":
                return
            self._top.place.implied = True
        place = self._top.place
        place.children.append(Node("li", place.depth + 1))
        self._push("li", place.children[-1])

    def _nearest(self, *tags: str) -> int:
        """Where the innermost place of these tags was opened; 0, the root, if there is none."""
        found = (n for n in reversed(range(len(self._opens))) if self._opens[n].opener and self._opens[n].tag in tags)
        return next(found, 0)

    def _table_part(self, tag: str) -> None:
        """Begin a section, row or cell of the innermost table; outside of tables these tags are nothing."""
        holder = self._nearest("tr", "table") if tag in _CELLS else self._nearest("table")
        if holder == 0:
            return
        del self._opens[holder + 1 :]
        self._break()
        place = self._top.place
        if tag in _SECTIONS:
            place.section = tag
        elif tag == "caption":
            self._push(tag, place.before)
        elif tag in _CELLS and place.tag == "table":
            self._table_part("tr")
            self._table_part(tag)
        else:
            node = Node(tag, place.depth + 1, section=place.section, table=place if tag == "tr" else None)
            place.children.append(node)
            self._push(tag, node)

    def _end(self, tags: Sequence[str]) -> None:
        """End the innermost place of these tags, unless it lies beyond the cell, or an item's beyond its list."""
        stops: tuple[str, ...] = ("table",) if tags[0] in _OF_TABLE else ("table", "td", "th", "caption")
        stops += LISTS if "li" in tags else ()
        for position in reversed(range(1, len(self._opens))):
            held = self._opens[position]
            if held.opener and held.tag in tags:
                del self._opens[position:]
                self._break()
                return
            if held.opener and held.tag in stops:
                return


def _attribute(value: str | None) -> str:
    return html.escape(SPACE.sub(" ", _CONTROL.sub("", value or "")).strip(" ")[:MAX_ATTRIBUTE_CHARS].rstrip(" "))


def _address(value: str | None, allowed: re.Pattern[str]) -> str | None:
    """The address as browsers would read it, if it is one of those allowed."""
    plain = re.sub(r"[\t\n\r]", "", _CONTROL.sub("", value or "")).strip(" \f").replace(" ", "%20")
    return plain if len(plain) <= MAX_URL_CHARS and allowed.fullmatch(plain) else None


def _link(href: str, title: str | None) -> str:
    said = _attribute(title)
    named = f' title="{said}"' if said else ""
    return f'<a href="{html.escape(href)}"{named} rel="noopener noreferrer">'


def _image(attributes: Mapping[str, str | None]) -> Run | None:
    source = _address(attributes.get("src"), _SOURCE)
    alt = _attribute(attributes.get("alt"))
    return Run(f'<img src="{html.escape(source)}" alt="{alt}">', kind="image") if source else None

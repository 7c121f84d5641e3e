"""HTML of articles as Markdown.

Belongs here: turning the tags of a safe article into CommonMark with tables, no visible word lost. Does not belong
here: making HTML safe (the product's normaliser), front matter (`magpie/content/export.py`).

Whatever means something to Markdown is escaped. Emphasis that its delimiters cannot express, such as that of half a
word, stays a tag, which Markdown passes on.
"""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

# Deeper than any article; what is further in is taken as plain text.
MAX_DEPTH = 60

_BLOCK_NAMES = (
    "address article aside blockquote body caption dd details div dl dt figcaption figure footer form h1 h2 h3 h4 h5 "
    "h6 header hr li main nav ol p pre section summary table tbody td tfoot th thead tr ul"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_UNSEEN = frozenset(["script", "style", "template", "head", "title", "-comment", "noscript"])
_SPACES = re.compile(r"[ \t\n\r\f]+")
_SPECIAL = re.compile(r"[\\`*_\[\]<>~|&#]|!$")
# What begins a list, a rule or a heading where it stands first in a line.
_OPENS = re.compile(r"^(?:[-+=](?=[-+=\s]|$)|\d{1,9}(?=[.)]))")
_EMPHASIS = {"strong": "**", "b": "**", "em": "_", "i": "_"}
_AFTER = ".,;:!?)"


def markdown_of(html: str) -> str:
    """Return an article's HTML as Markdown, ending with a line break; empty if nothing is seen of it."""
    body = LexborHTMLParser(html).body
    text = "\n\n".join(_blocks(body, 0)) if body is not None else ""
    return f"{text}\n" if text else ""


def _children(node: LexborNode) -> Iterator[LexborNode]:
    return (child for child in node.iter(include_text=True) if child.tag not in _UNSEEN)


def _blocks(node: LexborNode, depth: int) -> list[str]:
    """The blocks inside a node; text that stands between them is a paragraph."""
    made: list[str] = []
    loose: list[LexborNode] = []
    for child in _children(node):
        if child.tag not in _BLOCKS:
            loose.append(child)
            continue
        made += [_paragraph(loose, depth), *_block(child, depth + 1)]
        loose = []
    return [block for block in (*made, _paragraph(loose, depth)) if block]


def _block(node: LexborNode, depth: int) -> list[str]:
    tag = node.tag or ""
    if depth > MAX_DEPTH:
        return [_opened(_escaped(_collapsed(node.text(separator=" "))).strip())]
    if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
        text = _inline(list(_children(node)), depth).strip()
        return [f"{'#' * int(tag[1])} {text}"] if text else []
    if tag == "p":
        return _blocks(node, depth)
    if tag in ("ul", "ol"):
        return [_list(node, tag == "ol", depth)]
    if tag == "blockquote":
        inner = "\n\n".join(_blocks(node, depth))
        return ["\n".join(f"> {line}".rstrip() for line in inner.split("\n"))] if inner else []
    if tag == "pre":
        return [_fenced(node.text())]
    if tag == "table":
        return [_table(node, depth)]
    return _blocks(node, depth)


def _paragraph(nodes: list[LexborNode], depth: int) -> str:
    return _opened(_inline(nodes, depth).strip(" "))


def _opened(line: str) -> str:
    """A line whose first characters mean nothing but themselves."""
    match = _OPENS.match(line)
    if match is None:
        return line
    marker = match.group()
    return f"{marker}\\{line[len(marker) :]}" if marker.isdigit() else f"\\{line}"


def _list(node: LexborNode, ordered: bool, depth: int) -> str:
    items: list[str] = []
    for child in _children(node):
        blocks = _blocks(child, depth) if child.tag in _BLOCKS else [_paragraph([child], depth)]
        content = _joined(blocks)
        if not content:
            continue
        marker = f"{len(items) + 1}. " if ordered else "- "
        lines = content.split("\n")
        indented = [f"{' ' * len(marker)}{line}".rstrip(" ") for line in lines[1:]]
        items.append("\n".join([marker + lines[0], *indented]))
    return "\n".join(items)


def _joined(blocks: list[str]) -> str:
    """The blocks of a list item: a list below its text follows at once, everything else after a blank line."""
    made = ""
    for block in blocks:
        if block:
            made += ("\n" if block.startswith("- ") else "\n\n") + block if made else block
    return made


def _fenced(text: str) -> str:
    if not text.strip():
        return ""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    inner = text.strip("\n")
    return f"{fence}\n{inner}\n{fence}"


def _table(node: LexborNode, depth: int) -> str:
    rows = [
        [_cell(_inline(list(_children(cell)), depth)) for cell in _children(row) if cell.tag in ("td", "th")]
        for row in node.css("tr")
    ]
    rows = [row for row in rows if row]
    if not rows:
        return ""
    width = max(len(row) for row in rows)
    lines = ["| " + " | ".join([*row, *[""] * (width - len(row))]) + " |" for row in rows]
    caption = "".join(_inline(list(_children(found)), depth).strip() for found in node.css("caption"))
    table = "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])
    return f"{_opened(caption)}\n\n{table}" if caption else table


def _cell(text: str) -> str:
    """A bar ends a cell even inside of code."""
    return re.sub(r"(?<!\\)\|", r"\\|", text.strip())


def _inline(nodes: list[LexborNode], depth: int) -> str:
    """A run of text on one line."""
    pieces = [(node.tag or "", _piece(node, depth + 1)) for node in nodes]
    made = ""
    for number, (tag, text) in enumerate(pieces):
        delimiter = _EMPHASIS.get(tag)
        if delimiter is None or not text.strip():
            made += text
            continue
        inner = text.strip()
        before, after = (part for part in text.split(inner, 1))
        following = after or next((later for _, later in pieces[number + 1 :] if later), "")
        alone = not (made + before) or (made + before)[-1].isspace()
        if alone and (not following or following[0].isspace() or following[0] in _AFTER):
            made += f"{before}{delimiter}{inner}{delimiter}{after}"
        else:
            name = "strong" if delimiter == "**" else "em"
            made += f"{before}<{name}>{inner}</{name}>{after}"
    return _SPACES.sub(" ", made) if "`" not in made else made


def _piece(node: LexborNode, depth: int) -> str:
    tag = node.tag or ""
    if tag == "-text":
        return _escaped(_collapsed(node.text()))
    if depth > MAX_DEPTH:
        return _escaped(_collapsed(node.text(separator=" ")))
    if tag == "code":
        return _code(_collapsed(node.text()))
    if tag == "img":
        alt = _escaped(_collapsed(node.attributes.get("alt") or "")).strip()
        return f"![{alt}]({_address(node.attributes.get('src'))}{_title(node)})"
    if tag == "br":
        return " "
    inner = _inline(list(_children(node)), depth)
    if tag == "a" and node.attributes.get("href"):
        return f"[{inner}]({_address(node.attributes.get('href'))}{_title(node)})" if inner.strip() else inner
    return f" {inner} " if tag in _BLOCKS else inner


def _code(text: str) -> str:
    if not text.strip():
        return text
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _address(url: str | None) -> str:
    plain = re.sub(r"[\s<>\\]", lambda match: f"%{ord(match.group()):02X}", (url or "").strip())
    return plain if plain and not set("()") & set(plain) else f"<{plain}>"


def _title(node: LexborNode) -> str:
    title = _collapsed(node.attributes.get("title") or "").strip()
    return ' "' + title.replace("\\", "\\\\").replace('"', '\\"') + '"' if title else ""


def _collapsed(text: str) -> str:
    return _SPACES.sub(" ", text)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)

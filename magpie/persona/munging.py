"""What a post says as the text that models read: its words, the few tags that mean something, its pictures.

Belongs here: HTML to text, and what no text of others may hold. Does not belong here: HTML made of blocks
(`html.py`), who said it (`documents.py`), the way back to blocks (`post_body.py`).

The strings that separate documents and frame pictures, and characters that do not show, are taken out of every word
that somebody wrote, last of all, when nothing that follows could put them together again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import unescape

from magpie.persona.html import MENTION_CLASS, ORIGINAL, html_of, web_address
from magpie.sources.tumblr_npf import Block

DOCUMENT_DELIMITER = "<|endoftext|>"
IMAGE_DELIMITER = "======="
KEPT_TAGS = ("blockquote", "em", "i", "b", "u", "strong", "h2", "li", "ul", "ol")

# What a tag without attributes becomes; any that is not here goes.
_BREAKS = {"blockquote": "\n", "h2": "\n"}
_TAGS = {
    **{f"<{tag}>": f"<{tag}>" for tag in KEPT_TAGS},
    **{f"</{tag}>": f"</{tag}>" + _BREAKS.get(tag, "") for tag in KEPT_TAGS},
    "</p>": "\n\n",
    "<br>": "\n\n",
}
# Anchors by which Tumblr names blogs and shortens posts; they say nothing that their text does not say.
_BARE_CLASSES = frozenset((MENTION_CLASS, "tumblr_blog", "post_info_link", "notification_target"))
_TRUNCATED = "tmblr-truncated-link"

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TAG = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9]*)((?:[^<>"']++|"[^"]*+"|'[^']*+')*+)>""")
_ATTRIBUTE = re.compile(r"""([a-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
# A number that no character has; the standard library reads it as an integer first, which Python bounds.
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{12,}|[xX][0-9a-fA-F]{12,});?")
# What is read as something else: line breaks of any kind, spaces and quotes of print; and what is not read at all:
# controls, halves of surrogate pairs, and what has no width, such as joiners, marks of direction, byte order marks.
_LINE_BREAKS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r"
_UNSEEN = (
    *((0x00, 0x08), (0x0E, 0x1B), (0x1F, 0x1F), (0x7F, 0x84), (0x86, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F)),
    *((0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xD800, 0xDFFF)),
    *((0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F)),
)
_READ_AS = {
    **dict.fromkeys(_LINE_BREAKS, "\n"),
    **{chr(code): "" for first, last in _UNSEEN for code in range(first, last + 1)},
    "\xa0": " ",
    "\u201c": '"',
    "\u201d": '"',
    "\u2018": "'",
    "\u2019": "'",
}
_ODD = frozenset(_READ_AS)
_ASCII = str.maketrans({char: plain for char, plain in _READ_AS.items() if char.isascii()})
_DOCUMENT = re.compile(re.escape(DOCUMENT_DELIMITER))
_DELIMITERS = re.compile(rf"{re.escape(DOCUMENT_DELIMITER)}|={{{len(IMAGE_DELIMITER)},}}")
_MANY_LINES = re.compile(r"\n{3,}")
_WIDE_STOP = re.compile(r"([.!?]) {2,}")


@dataclass(frozen=True)
class ImageText:
    """What was read in a picture ("": nothing), and what a model says of it."""

    text: str
    caption: str | None


def munged(content: str | Sequence[Block], images: Mapping[str, ImageText] | None = None) -> str:
    """Return what a post says, unescaped, without line breaks at its ends.

    Args:
        content: blocks, or HTML as `html_of` makes it; of other HTML unknown tags and comments go, their text stays.
        images: by address; of a picture that is not in it nothing is said.
    """
    html = content if isinstance(content, str) else html_of(content)
    first, *rest = _TAG.split(_COMMENT.sub("", html) if "<!--" in html else html)
    done: list[str] = []
    words = [first]
    anchors: list[bool] = []
    for closing, name, attributes, after in zip(*(rest[n::4] for n in range(4)), strict=True):
        tag = name.lower()
        if tag == "img":
            done += [_written("".join(words)), _pictured(_attributes(attributes), images or {}), "\n\n"]
            words = []
        elif tag == "a":
            words.append(_anchor(bool(closing), attributes, anchors))
        else:
            words.append(_TAGS.get(f"<{closing}{tag}>", ""))
        words.append(after)
    done.append(_written("".join(words)))
    return _spaced("".join(done)).strip("\n")


def without_delimiters(text: str) -> str:
    """Text without the strings that separate documents and frame pictures."""
    return _without(text, _DELIMITERS) if DOCUMENT_DELIMITER in text or IMAGE_DELIMITER in text else text


def without_document_delimiter(text: str) -> str:
    """Text of the author's own, which may frame pictures but not end its document."""
    return _without(text, _DOCUMENT) if DOCUMENT_DELIMITER in text else text


def readable(text: str) -> str:
    """Text in plain quotes and spaces, with one kind of line break and without characters that do not show."""
    lines = text.replace("\r\n", "\n")
    # All words of a blog pass here, and a regular expression takes three times as long for words that are mostly ASCII.
    if lines.isascii():
        return lines.translate(_ASCII)
    for char in _ODD.intersection(lines):
        lines = lines.replace(char, _READ_AS[char])
    return lines


def _without(text: str, pattern: re.Pattern[str]) -> str:
    """Where taking one out puts another together, a space takes its place, so two passes are enough for any text."""
    return pattern.sub(" ", pattern.sub("", text))


def _spaced(text: str) -> str:
    lines = _MANY_LINES.sub("\n\n", text) if "\n\n\n" in text else text
    return _WIDE_STOP.sub(r"\1 ", lines) if "  " in lines else lines


def _written(words: str) -> str:
    """Words of others as they are read."""
    plain = unescape(_LONG_REFERENCE.sub("\ufffd", words)) if "&" in words else words
    return without_delimiters(readable(plain))


def _anchor(closing: bool, attributes: str, anchors: list[bool]) -> str:
    """The tag of a link with its address alone; nothing where the link is one that goes."""
    if closing:
        return "</a>" if anchors and anchors.pop() else ""
    held = _attributes(attributes)
    classes = held.get("class", "").split()
    gone = _TRUNCATED in held.get("class", "") or not _BARE_CLASSES.isdisjoint(classes)
    address = None if gone else web_address(held.get("href"))
    anchors.append(address is not None)
    # Escaped once more, because all text is unescaped when the tags are done.
    return f'<a href="{address.replace("&", "&amp;")}">' if address else ""


def _attributes(text: str) -> dict[str, str]:
    return {
        found[1].lower(): unescape(_LONG_REFERENCE.sub("", found[2] if found[2] is not None else found[3]))
        for found in _ATTRIBUTE.finditer(text)
    }


def _pictured(attributes: Mapping[str, str], images: Mapping[str, ImageText]) -> str:
    known = images.get(attributes.get(ORIGINAL, "")) or images.get(attributes.get("src", ""))
    if known is None:
        return ""
    # Read in a picture, so not escaped; and nothing in it frames another picture.
    text = without_delimiters(readable(known.text)).strip("\n")
    caption = " ".join(without_delimiters(readable(known.caption or "")).split())
    if not text.strip() and not caption:
        return ""
    before = (IMAGE_DELIMITER, IMAGE_DELIMITER, caption) if caption else ()
    return "\n\n" + "\n".join((*before, IMAGE_DELIMITER, text, IMAGE_DELIMITER))

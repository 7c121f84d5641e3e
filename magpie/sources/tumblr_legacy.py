"""Posts of Tumblr in the form before the Neue Post Format: text, photo, quote, link, chat, audio, video, answer.

Belongs here: saying in blocks what such a post says in fields of HTML. Does not belong here: reading blocks
(`tumblr_blocks.py`), and what all posts have (`tumblr_npf.py`).

Of HTML the words, their lines and the images are kept; formatting is not, nor is what only a theme shows. Who said
what comes from the trail, where there is one: the body repeats all of it as quotations in quotations.
"""

import re
from collections.abc import Mapping
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from magpie.sources.meme_posts import mapping_of, post_id_of

TYPES = ("text", "photo", "quote", "link", "chat", "audio", "video", "answer")
# More than a post may have; taken as plain text, it is refused as too large.
MAX_HTML_CHARS = 1 << 20

# The field that holds what the author wrote, by type; the first that is there where the type is no help.
_BODIES = {
    "text": "body",
    "chat": "body",
    "photo": "caption",
    "audio": "caption",
    "video": "caption",
    "link": "description",
    "answer": "answer",
    "quote": "source",
}
_FIELDS = ("body", "caption", "description", "answer", "question", "dialogue", "photos")

# Tags that begin or end a line; a table is as many lines as it has rows.
_LINE_NAMES = (
    "address article aside blockquote br dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header hr li main "
    "ol p pre section table tr ul"
)
_LINES = frozenset(_LINE_NAMES.split())
# Left to the parser: an image, and what holds text that nobody sees.
_PARSED = frozenset(("img", "script", "style", "title"))
# What HTML cannot do without; a text without either is plain, and may hold a < b.
_MARKUP = re.compile(r"</?[A-Za-z][A-Za-z0-9]*+(?:[\s/][^>]{0,1000}+)?>|&(?:#\w{1,7}|[A-Za-z]{2,31});")
# Bounded and without a second try, lest what is never closed is searched to its end again and again.
_TAG = re.compile(r"</?([A-Za-z][^\s/>]{0,100}+)[^>]{0,1000}+>")
_MARK = "\ufdd0"  # no character, by definition of Unicode
_SPACES = re.compile(r"[ \t\r\n\f]+")


def is_legacy(raw: Mapping[str, Any]) -> bool:
    """Whether a post says what it says in other fields than `content`."""
    if isinstance(raw.get("content"), list | str):
        return False
    return raw.get("type") in TYPES or any(raw.get(name) for name in _FIELDS)


def npf_of_legacy(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return `content`, `layout` and `trail` of an old post, as the Neue Post Format has them."""
    head, layout = _head(raw)
    earlier: list[dict[str, Any]] = []
    own: list[dict[str, Any]] | None = None
    trail = raw.get("trail")
    for item in map(mapping_of, trail if isinstance(trail, list) else ()):
        blocks = blocks_of_html(_string(item, "content"))
        if _is_own(item, raw):
            own = blocks
        else:
            earlier.append({**item, "content": blocks, "layout": []})
    if not earlier:
        body = blocks_of_html(_string(raw, _body_field(raw))) if own is None else own
        return {"content": [*head, *body], "layout": layout, "trail": []}
    # Title, pictures and question are those of the post that was reblogged.
    earlier[0] |= {"content": [*head, *earlier[0]["content"]], "layout": layout}
    return {"content": own or [], "layout": [], "trail": earlier}


def blocks_of_html(html: str) -> list[dict[str, Any]]:
    """Return a text, which may be HTML, as blocks: its lines in one block, or several where images stand between."""
    if len(html) > MAX_HTML_CHARS or not _MARKUP.search(html):
        return [_text(html)] if html.strip() else []
    body = LexborHTMLParser(_TAG.sub(_flat, html)).body
    blocks: list[dict[str, Any]] = []
    words: list[str] = []
    for node in body.iter(include_text=True) if body is not None else ():
        if node.tag == "-text":
            words.append(_SPACES.sub(" ", (node.text_content or "").replace(_MARK, "")))
        elif node.tag == "br":
            words.append("\n")
        elif node.tag == "img":
            blocks += [*_lines(words), _picture([node.attributes])]
            words = []
    return [*blocks, *_lines(words)]


def _flat(tag: re.Match[str]) -> str:
    """A tag as a line break, as itself, or as a mark that keeps apart what stood around it.

    Nothing is left that nests: markup that nests without end, or opens anew in every paragraph what was left open,
    takes a parser minutes and gigabytes.
    """
    name = tag[1].lower()
    return "<br>" if name in _LINES else tag[0] if name in _PARSED else _MARK


def _lines(words: list[str]) -> list[dict[str, Any]]:
    """One block of the lines that are not blank; none if all are."""
    lines = (_SPACES.sub(" ", line).strip() for line in "".join(words).split("\n"))
    text = "\n".join(line for line in lines if line)
    return [_text(text)] if text else []


def _text(text: str, subtype: str | None = None) -> dict[str, Any]:
    return {"type": "text", "text": text} | ({"subtype": subtype} if subtype else {})


def _plain(html: str) -> str:
    return "\n".join(block["text"] for block in blocks_of_html(html) if block["type"] == "text")


def _string(held: Mapping[str, Any], name: str) -> str:
    value = held.get(name)
    return value if isinstance(value, str) else ""


def _picture(sizes: list[Any]) -> dict[str, Any]:
    named = (mapping_of(size) for size in sizes)
    media = [{"url": size.get("url", size.get("src")), **_sides(size)} for size in named]
    return {"type": "image", "media": media}


def _sides(size: Mapping[str, Any]) -> dict[str, Any]:
    return {side: size.get(side, size.get(f"data-orig-{side}")) for side in ("width", "height")}


def _body_field(raw: Mapping[str, Any]) -> str:
    kind = raw.get("type")
    if kind in TYPES and _string(raw, _BODIES[kind]):
        return _BODIES[kind]
    return next((name for name in _FIELDS[:4] if _string(raw, name)), _FIELDS[0])


def _is_own(item: Mapping[str, Any], raw: Mapping[str, Any]) -> bool:
    """Old trails end with the post itself, if its author added anything."""
    mine = post_id_of(raw.get("id_string")) or post_id_of(raw.get("id"))
    return mine is not None and post_id_of(mapping_of(item.get("post")).get("id")) == mine


def _head(raw: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The blocks of all fields beside the body, and the layout that says which are a question."""
    kind = raw.get("type")
    question = blocks_of_html(_string(raw, "question"))
    blocks, title, url = list(question), _plain(_string(raw, "title")), raw.get("url")
    if kind == "link":
        blocks.append({"type": "link", "url": url, "title": title})
    elif title:
        blocks.append(_text(title, "heading1"))
    if kind == "quote":
        blocks += [_text(text, "quote") for text in [_plain(_string(raw, "text"))] if text]
    if kind in ("audio", "video"):
        address = raw.get(f"{kind}_url") or raw.get("permalink_url")
        blocks.append({"type": kind, "url": address, "title": raw.get("track_name")})
    photos = raw.get("photos")
    for photo in map(mapping_of, photos if isinstance(photos, list) else ()):
        others = photo.get("alt_sizes")
        blocks.append(_picture([photo.get("original_size"), *(others if isinstance(others, list) else ())]))
        blocks += blocks_of_html(_string(photo, "caption"))
    if kind == "chat" and not _string(raw, "body"):
        blocks += _chat(raw.get("dialogue"))
    asked = {"type": "ask", "blocks": list(range(len(question)))}
    by = {"attribution": {"type": "blog", "blog": {"name": raw.get("asking_name")}}}
    named = _string(raw, "asking_url") or _string(raw, "asking_name").lower() not in ("", "anonymous")
    return blocks, [asked | by if named else asked] if question else []


def _chat(dialogue: object) -> list[dict[str, Any]]:
    lines = [mapping_of(line) for line in dialogue] if isinstance(dialogue, list) else []
    said = (f"{_string(line, 'label')} {_string(line, 'phrase')}".strip() for line in lines)
    return [_text(text, "chat") for text in said if text]

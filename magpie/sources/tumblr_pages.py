"""Pages of posts and of notes, as Tumblr's API answers and as archives keep them.

Belongs here: finding posts and replies in a file, one bad one at a time, and how large a file may be. Does not belong
here: a post (`tumblr_npf.py`), where files lie and whose they are (`magpie/persona`).

A page of posts is `{"response": {"posts": [...]}}`, `{"posts": [...]}` or the list itself; one of notes the same with
`notes`, and its file is called by the post: `<post_id>.json`, or `<post_id>-<anything>.json` where there are several.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from magpie.sources.meme_posts import mapping_of, moment_of
from magpie.sources.tumblr_blocks import blocks_of, blog_name_of, string_of
from magpie.sources.tumblr_npf import NpfError, ParsedPost, parse_post

# Twenty posts with all their notes are below one MB; JSON takes several times its size in memory.
MAX_BYTES = 64 << 20
# Tumblr allows 475 characters.
REPLY_CHARS = 4096

_NOTES_FILE = re.compile(r"([0-9]{1,40})(?:-.*)?\.json", re.IGNORECASE | re.DOTALL)
# Longer integers are no number that Tumblr ever gives, and Python refuses to read thousands of digits.
_MAX_DIGITS = 40
_SURROGATES = re.compile("[\ud800-\udfff]")


class PageError(Exception):
    """A file that is no page.

    Attributes:
        reason: one word for tables: `unreadable`, `too_large`, `not_utf8`, `json_parse`, `no_posts`, `no_notes`,
            `bad_name`.
        detail: one line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, " ".join(detail.split())[:300]
        super().__init__(f"{reason}: {self.detail}")


@dataclass(frozen=True)
class Page:
    """Posts in the order of the file, and how many others could not be read, with the first of them."""

    posts: tuple[ParsedPost, ...]
    bad: int
    bad_example: str | None


@dataclass(frozen=True)
class Reply:
    """A reply below a post.

    Attributes:
        text: plain, at most 4096 characters.
        followed: whoever asked the API follows who wrote it.
        reblogs_before: reblogs in the same file that are older.
    """

    post_id: str
    from_blog: str
    at: datetime
    text: str
    followed: bool
    reblogs_before: int


@dataclass(frozen=True)
class NotesPage:
    """Replies below one post, oldest first, and how many notes could not be read, with the first of them."""

    post_id: str
    replies: tuple[Reply, ...]
    bad: int
    bad_example: str | None


def read_posts(path: Path) -> Page:
    """Return the posts of a file.

    Raises:
        PageError: it cannot be read, or is no page of posts.
    """
    return posts_in(content_of(path))


def read_notes(path: Path) -> NotesPage:
    """Return the replies of a file.

    Raises:
        PageError: it cannot be read, is not called by a post, or is no page of notes.
    """
    return notes_in(content_of(path), path.name)


def content_of(path: Path) -> bytes:
    """Return what is in a file, cut one byte after what is read, so that the reader refuses it.

    Raises:
        PageError: `unreadable`.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        # Without the path, which may be that of the whole machine.
        raise PageError("unreadable", error.strerror or type(error).__name__) from None


def posts_in(content: bytes) -> Page:
    """Return the posts of a page.

    Raises:
        PageError: it is none.
    """
    posts: list[ParsedPost] = []
    bad: list[str] = []
    for number, raw in enumerate(_items(content, "posts")):
        try:
            posts.append(parse_post(raw))
        except NpfError as error:
            bad.append(f"posts[{number}]: {error}")
    return Page(tuple(posts), len(bad), bad[0] if bad else None)


def notes_in(content: bytes, name: str) -> NotesPage:
    """Return the replies of a page whose file is called `name`.

    Raises:
        PageError: the name says no post, or it is no page.
    """
    named = _NOTES_FILE.fullmatch(name)
    if named is None:
        raise PageError("bad_name", "a file of notes must be called by its post, <post_id>.json")
    replies: list[tuple[datetime, str, str, bool]] = []
    reblogs: list[datetime] = []
    bad: list[str] = []
    for number, raw in enumerate(_items(content, "notes")):
        held, where = mapping_of(raw), f"notes[{number}]"
        kind, at = held.get("type"), moment_of(held.get("timestamp"))
        if kind not in ("reply", "reblog"):
            if not isinstance(kind, str):
                bad.append(f"{where}: it has no type")
        elif at is None:
            bad.append(f"{where}: it has no usable timestamp")
        elif kind == "reblog":
            reblogs.append(at)
        elif (author := blog_name_of(held.get("blog_name"))) is None:
            bad.append(f"{where}: it has no usable name of a blog")
        else:
            replies.append((at, author, _reply_text(held), held.get("followed") is True))
    reblogs.sort()
    told = [
        Reply(named[1], author, at, text, followed, bisect_left(reblogs, at))
        for at, author, text, followed in sorted(replies)
    ]
    return NotesPage(named[1], tuple(told), len(bad), bad[0] if bad else None)


def _reply_text(held: Mapping[str, Any]) -> str:
    """What it says in plain text, or in blocks, as newer answers have it."""
    plain = string_of(held.get("reply_text"))
    pieces = held.get("content") or held.get("formatting")
    text = plain or "\n".join(block.text for block in blocks_of(pieces) if block.text)
    return _SURROGATES.sub("\ufffd", text[:REPLY_CHARS]).strip()


def _items(content: bytes, name: str) -> list[Any]:
    if len(content) > MAX_BYTES:
        raise PageError("too_large", f"more than {MAX_BYTES} bytes; keep fewer {name} in one file")
    try:
        value = json.loads(content.decode("utf-8-sig"), parse_int=_int)
    except UnicodeDecodeError:
        raise PageError("not_utf8", "it is not in UTF-8; save it so") from None
    except (ValueError, RecursionError) as error:
        problem = error.msg if isinstance(error, json.JSONDecodeError) else "it nests too deep"
        raise PageError("json_parse", f"no JSON, or cut off: {problem}") from None
    inner = value.get("response", value) if isinstance(value, dict) else value
    found = inner.get(name) if isinstance(inner, dict) else inner
    if not isinstance(found, list):
        raise PageError(f"no_{name}", f"it holds no list of {name}")
    return found


def _int(digits: str) -> int | str:
    """A number too long to be one stays text, so that it spoils the post it stands in and no other."""
    return int(digits) if len(digits) <= _MAX_DIGITS else digits

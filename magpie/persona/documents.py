"""Threads as documents: what the writer learns from and goes on from, and what selector and autoreview models score.

Belongs here: the form of a document, which posts of a thread each of its readers gets, and how an answer is put below.
Does not belong here: what a post says (`munging.py`), rows (`threads.py`), what an answer must be like (`draws.py`).

The form is made of names, numbers, one date line and tags. Words of others stand in it, so none of them may look like
it: names and tags lose what is not theirs, a line that looks like the head of a post is moved by a space, and tabs,
which stand at date and tags alone, become spaces.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from magpie.persona.html import html_of
from magpie.persona.munging import (
    DOCUMENT_DELIMITER,
    ImageText,
    munged,
    readable,
    without_delimiters,
    without_document_delimiter,
)
from magpie.sources.tumblr_npf import Block, Part

Form = Literal["2023", "2022"]

DELIMITER = DOCUMENT_DELIMITER
# The head of a post in a thread. Names end up between it and its verb, so it is looked for with any name.
_HEAD = r"\d+ [^\s:]+ (?:asked|responded|posted|commented):"
CONTROL_MARKER = re.compile(rf"^[ \t]*#{_HEAD}", re.MULTILINE)
# What posts that answer nobody begin with, by kind of prompt.
OPENINGS = {"original": "{} posted:", "fiction": "Original fiction by {}", "review": "Book review by {}"}
# As long as Tumblr's names with what it adds to those of deactivated blogs.
MAX_NAME_CHARS = 64
NOBODY = "Anonymous"
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
)

_NO_NAME = re.compile(r"[^\w.-]+")
_NO_TAG = re.compile(r"[#,]+")
_FORGED = re.compile(rf"^([ ]*#)(?={_HEAD})", re.MULTILINE)
_WORD_AT_START = re.compile(r"^(?=\w)", re.MULTILINE)
# What a prompt of the form 2022 ends with; one of the form 2023 ends with a year.
_TAGS_2022 = "'s tags:"


@dataclass(frozen=True)
class Shown:
    """A part of a thread as it is shown.

    Attributes:
        body: munged; quoted: the same as it stands in a document.
        silent: there is nothing to show.
    """

    author: str
    body: str
    quoted: str
    is_ask: bool
    silent: bool
    html: str


@dataclass(frozen=True)
class Prompts:
    """What comes before an answer, for the writer and for the models that score it; `with_answer` puts it below."""

    writer: str
    selector: str
    autoreview: str


@dataclass(frozen=True)
class Document:
    """A thread in the forms of its readers.

    Attributes:
        full: the thread with the last post's date and tags, as the writer learns it.
        selector: from just after the blog's previous post on, all where there is none.
        autoreview: from the blog's previous post on, with the question that it answers.
        prompt: what the writer goes on from, were the blog to answer now; of the blog's own posts what it went on from.

    Of an own post `selector` and `autoreview` are whole documents; of any other post they are prompts for an answer of
    the blog, so that `with_answer` makes of them what they will be when the answer is out.
    """

    full: str
    selector: str
    autoreview: str
    prompt: str


def shown(parts: Sequence[Part], images: Mapping[str, ImageText]) -> tuple[Shown, ...]:
    """Parts of a thread as they are shown, in order."""
    return tuple(_shown(part, images) for part in parts)


def _shown(part: Part, images: Mapping[str, ImageText]) -> Shown:
    html = html_of(part.blocks)
    body = munged(html, images)
    return Shown(name_of(part.author), body, _quoted(body), part.is_ask, not part.blocks, html)


def reply_part(from_blog: str | None, text: str | None, at: datetime) -> Part:
    """A reply below a post as the part of a thread that comes after it."""
    blocks = (Block("text", text=text or ""),)
    return Part(from_blog or NOBODY, blocks, post_id=None, at=at, is_ask=False, broken=False, truncated=False)


def document_of(
    parts: Sequence[Part],
    *,
    blog: str,
    at: datetime,
    tags: Sequence[str],
    zone: ZoneInfo,
    form: Form,
    images: Mapping[str, ImageText],
) -> Document:
    """Return a thread in the forms of its readers.

    Args:
        parts: what the thread holds, the oldest first; at least one.
        blog: whose bot reads it.
        at: when the last post was written; the same date stands in the prompts.
        tags: of the last post.
        zone: of the date that is written.
        images: what is known of pictures, by the address of their widest size.
    """
    return document_shown(shown(parts, images), blog=blog, date=date_line(at, zone), tags=tags, form=form)


def document_shown(posts: Sequence[Shown], *, blog: str, date: str, tags: Sequence[str], form: Form) -> Document:
    """`document_of` of parts that were munged before; `date` as `date_line` writes it."""
    prompts = _prompts(posts, blog, date, form)
    last = posts[-1]
    full = _answered(_opening(posts, date, form), last.quoted, tags)
    if not _is_own(last, blog):
        return Document(full, prompts.selector, prompts.autoreview, prompts.writer)
    selector, autoreview = (_answered(held, last.quoted, tags) for held in (prompts.selector, prompts.autoreview))
    return Document(full, selector, autoreview, prompts.writer)


def date_line(at: datetime, zone: ZoneInfo) -> str:
    """Hour, month and year of a moment, as documents write them."""
    local = at.astimezone(zone)
    # Not strftime, whose months follow the locale.
    return f"{local.hour % 12 or 12} {'AM' if local.hour < 12 else 'PM'} {MONTHS[local.month - 1]} {local.year}"


def prompts_of(
    parts: Sequence[Part], *, blog: str, at: datetime, zone: ZoneInfo, form: Form, images: Mapping[str, ImageText]
) -> Prompts:
    """Return what the blog goes on from to answer a thread at a moment; of its own post, what that one went on from."""
    return _prompts(shown(parts, images), blog, date_line(at, zone), form)


def prompt_of_original(blog: str, kind: str, at: datetime, zone: ZoneInfo, form: Form) -> str:
    """Return what the writer goes on from where it answers nobody.

    Args:
        kind: original, fiction or review.

    Raises:
        ValueError: another kind.
    """
    if kind not in OPENINGS:
        raise ValueError(f"{kind} is no kind of post that answers nobody; those are {', '.join(OPENINGS)}")
    name = name_of(blog)
    return _dated(f" {OPENINGS[kind].format(name)}\n\n", name, date_line(at, zone), form)


def prompts_of_original(blog: str, kind: str, at: datetime, zone: ZoneInfo, form: Form) -> Prompts:
    """`prompt_of_original`; the models that score see every kind as a post, as they learnt it from the archive."""
    scored = prompt_of_original(blog, "original", at, zone, form)
    return Prompts(prompt_of_original(blog, kind, at, zone, form), scored, scored)


def with_answer(prompt: str, body: str, tags: Sequence[str]) -> str:
    """Return a prompt with an answer below it, to the end of the document.

    Args:
        prompt: of either form.
        body: munged, or as it was written; tags: without `#`.
    """
    return _answered(prompt, _quoted(readable(body)), tags)


def _answered(prompt: str, text: str, tags: Sequence[str]) -> str:
    told = ", ".join(f"#{tag}" for tag in map(tag_of, tags) if tag)
    if prompt.endswith(_TAGS_2022):
        return f"{prompt} {told}".rstrip() + f"\n{_spaced(text)}{DELIMITER}"
    return f"{prompt}\t\n{text}\n\n\t {told}{DELIMITER}"


def name_of(author: str) -> str:
    """A blog's name as it stands in a document: one word of letters, digits, `_`, `.` and `-`."""
    return _NO_NAME.sub("-", readable(author).strip())[:MAX_NAME_CHARS].strip("-") or NOBODY


def tag_of(tag: str) -> str:
    """A tag as it stands in a document: in one line, without the signs between which tags stand."""
    return " ".join(without_delimiters(_NO_TAG.sub(" ", readable(tag))).split())


def _is_own(post: Shown, blog: str) -> bool:
    """Whether the blog wrote it as a post; a question that it asked itself is one to answer."""
    return post.author == name_of(blog) and not post.is_ask


def _prompts(posts: Sequence[Shown], blog: str, date: str, form: Form) -> Prompts:
    """What came before the last post if it is the blog's own, else before the answer that the blog could add."""
    if posts and _is_own(posts[-1], blog):
        thread = tuple(posts)
    else:
        # A reblog without a word is nothing to answer.
        said = posts[:-1] if posts and posts[-1].silent else posts
        thread = (*said, Shown(name_of(blog), "", "", is_ask=False, silent=True, html=""))
    before = [at for at, post in enumerate(thread[:-1]) if _is_own(post, blog)]
    after = before[-1] + 1 if before else 0
    since = before[-1] if before else 0
    if since and thread[since - 1].is_ask:
        since -= 1
    return Prompts(*(_opening(thread[first:], date, form) for first in (0, after, since)))


def _opening(posts: Sequence[Shown], date: str, form: Form) -> str:
    """A thread to the date of its last post, whose body and tags are left out."""
    last = posts[-1]
    if len(posts) == 1:
        head = f" {last.author} {_verb(posts, 0)}:\n\n"
        return _dated(head, last.author, date, form)
    heads = [f"#{at + 1} {post.author} {_verb(posts, at)}:\n\n" for at, post in enumerate(posts)]
    before = [f"{head}{post.quoted}\n\n" for head, post in zip(heads, posts[:-1], strict=False)]
    text = "".join((f" {_header(posts)} |\n", *before, heads[-1]))
    return _dated(text, last.author, date, form)


def _header(posts: Sequence[Shown]) -> str:
    names = list(dict.fromkeys(post.author for post in posts))
    if len(names) == 1:
        return f"Posts by {names[0]}"
    return f"Conversation between {', '.join(names[:-1])} and {names[-1]} | {len(posts)} posts"


def _verb(posts: Sequence[Shown], at: int) -> str:
    if posts[at].is_ask:
        return "asked"
    if at == 0:
        return "posted"
    return "responded" if posts[at - 1].is_ask else "commented"


def _dated(text: str, name: str, date: str, form: Form) -> str:
    """Everything before the answer: the document so far, and the date; in the form 2022 also the call for tags."""
    if form == "2022":
        return DELIMITER + _spaced(f"{text}Written {date} | {name}{_TAGS_2022}")
    return f"{DELIMITER}{text}Written {date}"


def _quoted(body: str) -> str:
    """Words inside a document, of which nothing looks like its form."""
    text = without_document_delimiter(body).replace("\t", " ").strip("\n")
    return _FORGED.sub(r"\1 ", text) if "#" in text else text


def _spaced(text: str) -> str:
    """With a space before each word that starts a line."""
    return _WORD_AT_START.sub(" ", text)

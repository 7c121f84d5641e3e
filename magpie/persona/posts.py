"""tumblr_posts and tumblr_replies: what a blog's bot reads and wrote, the newest word on each.

Belongs here: which page has the newest word, what a post is to the blog, and what becomes of deleted ones. Does not
belong here: finding pages (`listing.py`), reading them (`magpie/sources`), which posts are answered (`inputs.py`).

The newest page is the one that changed last, of pages that changed at once the last by name. A post that moves to
another day, as a question does once it is answered, stays on both.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.persona.listing import NOTES
from magpie.persona.settings import Blog
from magpie.persona.tables import TUMBLR_POSTS, TUMBLR_REPLIES
from magpie.sources.tumblr_npf import ParsedPost
from magpie.sources.tumblr_pages import PageError, Reply, notes_in, posts_in

# Tumblr opened in this year; before it somebody's clock was wrong.
EARLIEST = datetime(2007, 1, 1, tzinfo=UTC)
# Clocks of two machines differ by less.
AHEAD = timedelta(minutes=5)

# Content of a file of `tumblr_files`, by name; raises PageError.
Read = Callable[[str], bytes]


def reply_key(reply: Reply) -> str:
    """How a deletion names a reply, which is the id of the input it is: who, below which post, at which second."""
    seconds, below = int(reply.at.timestamp()), reply.at.microsecond
    return f"reply:{reply.from_blog}:{reply.post_id}:{seconds}" + (f".{below:06}" if below else "")


def tumblr_posts(
    files: pl.DataFrame, blog: Blog, days: Collection[date], read: Read, deleted: Collection[str], now: datetime
) -> pl.DataFrame:
    """Return the posts of these days that the blog's bot reads or wrote, in the columns of `tumblr_posts`.

    Args:
        files: `tumblr_files`; those of other blogs or days are not opened. One page is in memory at a time.
        read: of contents (`Places.content`).
        deleted: ids of posts whose authors took them back; nothing of them is kept but what identifies them.
        now: posts that claim to be from later are rejected, unless they wait in the queue.

    Raises:
        UserError: a file is not what it was when it was listed.
    """
    wanted, gone = frozenset(days), frozenset(deleted)
    newest: dict[tuple[date, str], tuple[ParsedPost, Mapping[str, Any]]] = {}
    kinds: dict[tuple[date, str], set[str]] = {}
    for file in _touching(files, blog, wanted, pl.col("kind") != NOTES):
        for post in posts_in(_content(file, read)).posts:
            key = post.published_at.date(), post.post_id
            if key[0] in wanted:
                newest[key] = post, file
                kinds.setdefault(key, set()).add(file["kind"])
    rows = [
        {
            "blog": blog.name,
            "day": key[0],
            "role": role(post, blog.name, file["kind"], kinds[key]),
            "source_file": file["source_file"],
            **_said(post),
            **(_taken_back(post) if post.post_id in gone else _timed(post.published_at, post.state == "queue", now)),
        }
        for key, (post, file) in newest.items()
    ]
    return TUMBLR_POSTS.shaped(pl.DataFrame(rows, schema=TUMBLR_POSTS.dtypes)).sort(TUMBLR_POSTS.sort_by)


def tumblr_replies(
    files: pl.DataFrame, blog: Blog, days: Collection[date], read: Read, deleted: Collection[str], now: datetime
) -> pl.DataFrame:
    """Return the replies of these days, in the columns of `tumblr_replies`; arguments and errors as `tumblr_posts`.

    Args:
        deleted: ids of posts, whose replies go with them, and keys of single replies (`reply_key`).
    """
    wanted, gone = frozenset(days), frozenset(deleted)
    newest: dict[tuple[str, str, datetime], tuple[Reply, str]] = {}
    for file in _touching(files, blog, wanted, pl.col("kind") == NOTES):
        for reply in notes_in(_content(file, read), file["source_file"].rpartition("/")[2]).replies:
            if reply.at.date() in wanted:
                newest[reply.post_id, reply.from_blog, reply.at] = reply, file["source_file"]
    rows = [_reply_row(reply, name, blog.name, gone, now) for reply, name in newest.values()]
    return TUMBLR_REPLIES.shaped(pl.DataFrame(rows, schema=TUMBLR_REPLIES.dtypes)).sort(TUMBLR_REPLIES.sort_by)


def role(post: ParsedPost, blog: str, kind: str, kinds: Collection[str]) -> str:
    """What a post is to a blog: ask, own, reblog, mention or dash.

    Args:
        kind: of the page with the newest word; a question stands on the blog itself, so this tells it from a post.
        kinds: of all pages that hold it: what is known as an answer to the blog is one on its dashboard, too.
    """
    if post.state == "submission" or (kind == "asks" and post.author == blog):
        return "ask"
    if post.author == blog:
        return "own"
    if set(kinds) == {"dash"}:
        return "dash"
    before = [part.author for part in post.parts if part.post_id != post.post_id]
    return "reblog" if blog in (post.parent_blog, *before[-1:]) else "mention"


def _touching(files: pl.DataFrame, blog: Blog, days: Collection[date], kind: pl.Expr) -> Iterator[Mapping[str, Any]]:
    """Files that may hold anything of these days, the newest word last."""
    if not days:
        return iter(())
    spans = (pl.col("first_day") <= max(days)) & (pl.col("last_day") >= min(days))
    held = files.filter((pl.col("status") == "ok") & (pl.col("blog") == blog.name) & kind & spans)
    return held.sort("modified_ns", "source_file").iter_rows(named=True)


def _content(file: Mapping[str, Any], read: Read) -> bytes:
    name = file["source_file"]
    try:
        content = read(name)
    except PageError as error:
        problem = f"cannot be read ({error.detail})"
    else:
        if hashlib.sha256(content).hexdigest() == file["sha256"]:
            return content
        problem = "has changed"
    raise UserError(f"{name} {problem} since it was listed; make tumblr_files anew, then the days of persona")


def _said(post: ParsedPost) -> dict[str, Any]:
    return {
        "post_id": post.post_id,
        "author_blog": post.author,
        "post_state": post.state,
        "published_at": post.published_at,
        "genesis_id": post.genesis_id,
        "parent_blog": post.parent_blog,
        "parent_post_id": post.parent_post_id,
        "reblog_key": post.reblog_key,
        "tags": list(post.tags),
        "note_count": post.note_count,
        "asking_blog": post.asking_blog,
        "payload": post.payload,
        "payload_sha256": hashlib.sha256(post.payload.encode()).hexdigest(),
    }


def _taken_back(post: ParsedPost) -> dict[str, Any]:
    words: dict[str, Any] = {"tags": [], "asking_blog": None, "payload": None, "payload_sha256": None}
    return {**words, "status": "rejected", "reason": "deleted", "observed": post.post_id}


def _timed(at: datetime, queued: bool, now: datetime) -> dict[str, Any]:
    if at < EARLIEST:
        return _bad_time(at, str(EARLIEST.date()))
    return _bad_time(at, "now") if at > now + AHEAD and not queued else {"status": "ok"}


def _bad_time(at: datetime, bound: str) -> dict[str, Any]:
    return {"status": "rejected", "reason": "bad_time", "observed": at.isoformat(), "threshold": bound}


def _reply_row(reply: Reply, name: str, blog: str, gone: Collection[str], now: datetime) -> dict[str, Any]:
    row = {
        "blog": blog,
        "day": reply.at.date(),
        "post_id": reply.post_id,
        "from_blog": reply.from_blog,
        "at": reply.at,
        "text": reply.text,
        "followed": reply.followed,
        "reblogs_before": reply.reblogs_before,
        "source_file": name,
    }
    if reply.post_id in gone or reply_key(reply) in gone:
        return row | {"text": None, "status": "rejected", "reason": "deleted", "observed": reply_key(reply)}
    return row | _timed(reply.at, False, now)

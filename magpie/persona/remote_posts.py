"""What a blog holds at Tumblr, and which of it is a post that was sent and never acknowledged.

Belongs here: looking through what is out, drafts and queue, and finding a text in it. Does not belong here: what is
made of the finding (`delivery.py`), requests (`magpie/sources/tumblr_api.py`).

Who looks for a post before sending it again must see all places where it may be: a look that was cut short finds, but
never proves that something is absent.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from magpie.persona.munging import munged
from magpie.persona.post_body import body_sha256
from magpie.sources.tumblr_api import PAGE_POSTS, Answer, Fault, TumblrApi
from magpie.sources.tumblr_npf import NpfError, parse_post

# Tumblr takes a thousand posts into a queue.
QUEUE_PAGES = 50
# A look goes back minutes; more posts than this in minutes are not this author's.
POST_PAGES = 15
DRAFT_PAGES = 50
# Clocks of two machines differ by less.
SKEW = timedelta(minutes=10)


@dataclass(frozen=True)
class Remote:
    """A post at Tumblr.

    Attributes:
        state: published, queue or draft.
        body_sha256: of the words of the post itself, without those that it answers.
        tags: folded, sorted.
    """

    post_id: str
    state: str
    at: datetime
    genesis_id: str | None
    parent_post_id: str | None
    body_sha256: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Sought:
    """A post that may have arrived.

    Attributes:
        since: when it was sent.
        body_sha256: None: it has no words by which it could be found.
        post_id: the post that it answers or reblogs; edits: it takes the place of that post.
    """

    key: str
    since: datetime
    body_sha256: str | None
    tags: tuple[str, ...]
    post_id: str | None
    edits: bool


@dataclass(frozen=True)
class Look:
    """What was seen; complete: nothing that came after a moment can have been passed over."""

    posts: tuple[Remote, ...]
    complete: bool


def look(api: TumblrApi, blog: str, since: datetime) -> Look | Fault:
    """Look through what came out after a moment, and through all drafts and the whole queue."""
    found: list[Remote] = []
    complete = True
    for pages in (_out(api, blog, since - SKEW), _drafts(api, blog), _queue(api, blog)):
        for answer in pages:
            if answer is None:
                complete = False
            elif isinstance(answer, Fault):
                return answer
            else:
                read, whole = _read(answer.items("posts"))
                found += read
                complete = complete and whole
    return Look(tuple(found), complete)


def matched(sought: Iterable[Sought], seen: Collection[Remote], known: Collection[str]) -> dict[str, Remote]:
    """Which post each of those sought became, by key; none stands for two.

    A text is found by the hash of its words. Of several with these words the one with the same tags is taken first,
    then one below the same post, then the oldest; tags alone turn none away, because Tumblr may have changed them.

    Args:
        known: ids of posts that are accounted for.
    """
    left = {one.post_id: one for one in sorted(seen, key=lambda one: (one.at, one.post_id)) if one.post_id not in known}
    found: dict[str, Remote] = {}
    for wanted in sorted(sought, key=lambda one: (one.since, one.key)):
        fitting = [one for one in left.values() if _fits(wanted, one)]
        if fitting:
            best = min(fitting, key=lambda one: (one.tags != wanted.tags, one.parent_post_id != wanted.post_id))
            found[wanted.key] = left.pop(best.post_id)
    return found


def folded_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are compared."""
    return tuple(sorted({" ".join(tag.split()).casefold() for tag in tags}))


def _fits(wanted: Sought, one: Remote) -> bool:
    same_text = wanted.body_sha256 == one.body_sha256
    if wanted.edits:
        in_place = wanted.post_id is not None and wanted.post_id in (one.post_id, one.genesis_id)
        return in_place and (same_text or wanted.body_sha256 is None)
    early = one.state == "published" and one.at < wanted.since - SKEW
    return same_text and not early


# Pages of one place; None: there were more than are looked at.
_Pages = Iterator[Answer | Fault | None]


def _out(api: TumblrApi, blog: str, since: datetime) -> _Pages:
    before: int | None = None
    for _ in range(POST_PAGES):
        answer = api.posts(blog, before)
        yield answer
        if isinstance(answer, Fault):
            return
        times = [at for post in answer.items("posts") if isinstance(at := post.get("timestamp"), int)]
        if len(answer.items("posts")) < PAGE_POSTS or (times and min(times) < since.timestamp()):
            return
        # The second of the oldest may go on over the end of the page.
        before = min(times) + 1 if times else before
    yield None


def _drafts(api: TumblrApi, blog: str) -> _Pages:
    before: str | None = None
    for _ in range(DRAFT_PAGES):
        answer = api.drafts(blog, before)
        yield answer
        if isinstance(answer, Fault) or len(answer.items("posts")) < PAGE_POSTS:
            return
        last = answer.items("posts")[-1]
        before = str(last.get("id_string") or last.get("id"))
    yield None


def _queue(api: TumblrApi, blog: str) -> _Pages:
    for number in range(QUEUE_PAGES):
        answer = api.queue(blog, number * PAGE_POSTS)
        yield answer
        if isinstance(answer, Fault) or len(answer.items("posts")) < PAGE_POSTS:
            return
    yield None


def _read(items: Sequence[Mapping[str, Any]]) -> tuple[list[Remote], bool]:
    """The posts of a page, and whether all of them could be read."""
    found = []
    for item in items:
        try:
            post = parse_post(item)
        except NpfError:
            continue
        said = [part for part in post.parts if part.post_id == post.post_id and not part.is_ask]
        text = munged(said[-1].blocks) if said else ""
        found.append(
            Remote(
                post_id=post.post_id,
                state=post.state,
                at=post.published_at,
                genesis_id=post.genesis_id,
                parent_post_id=post.parent_post_id,
                body_sha256=body_sha256(text),
                tags=folded_tags(post.tags),
            )
        )
    return found, len(found) == len(items)

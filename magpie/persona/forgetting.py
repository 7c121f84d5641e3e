"""What authors took back, outside of tables: pages that were fetched, bytes of pictures, answers of models, edits.

Belongs here: recording that something is gone, finding and removing it as often as it comes back. Does not belong
here: rows of tables, which become tombstones when their days are made anew (`posts.py`, `inputs.py`, `outbox.py`), old
versions of tables (`magpie/maintenance.py`).

Archives that people brought stay as they are.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.fetches import Fetches
from magpie.lake import Lake
from magpie.llm.journal import purge, row_refs_of
from magpie.llm.store import Store
from magpie.persona import tables as t
from magpie.persona.image_texts import KIND, OK, SOURCE
from magpie.persona.image_texts import item_of as fetched_as
from magpie.persona.listing import ENDING, NOTES
from magpie.persona.logs import DELETIONS, REVIEWS
from magpie.persona.outbox import outbox_id
from magpie.persona.settings import Blog
from magpie.persona.stages import Reader
from magpie.persona.threads import image_urls_of
from magpie.settings import Settings
from magpie.sources.tumblr_blanking import Unreadable, blanked_notes, blanked_posts
from magpie.sources.tumblr_pages import PageError, content_of
from magpie.sources.whole_file import write_whole

# As Tumblr numbers posts.
_POST = re.compile(r"[0-9]{1,40}")
_REPLY = re.compile(r"reply:([a-z0-9][a-z0-9-]{0,63}):([0-9]{1,40}):([0-9]{1,12})(?:\.[0-9]{6})?")
# Inputs that are a post; the id is the last part.
_INPUT = re.compile(r"(?:ask|(?:reblog|mention|dash):[^:]{1,64}):([0-9]{1,40})")
ACTOR_CHARS = 100


@dataclass(frozen=True)
class Forgotten:
    """What was removed or blanked this time."""

    pages: int = 0
    blobs: int = 0
    answers: int = 0
    edits: int = 0

    @property
    def summary(self) -> str:
        return (
            f"{self.pages} pages blanked, {self.blobs} pictures, {self.answers} answers of models and {self.edits} "
            "edits of people removed"
        )


def item_of(name: str) -> str:
    """What a deletion calls a post or a reply.

    Args:
        name: its id, or that of the input it was.

    Raises:
        UserError: it names neither.
    """
    given = name.strip()
    if _POST.fullmatch(given) or _REPLY.fullmatch(given):
        return given
    found = _INPUT.fullmatch(given)
    if found is None:
        raise UserError(
            f"{given[:80]!r} names nothing that somebody sent; give the id of a post, reply:BLOG:POST:SECONDS, or the "
            "id of the input it was"
        )
    return found[1]


def record(control: Control, blog: Blog, item: str, actor: str, at: datetime) -> None:
    """Note that a post or reply is gone for this blog; once is enough.

    Raises:
        UserError: nobody is named.
    """
    if not 0 < len(actor.strip()) <= ACTOR_CHARS:
        raise UserError(f"the actor has {len(actor.strip())} characters; name who says so, with 1 to {ACTOR_CHARS}")
    DELETIONS.append(control, [{"blog": blog.name, "item": item, "actor": actor.strip(), "at": at}])


def days_of(reader: Reader, blog: Blog, item: str) -> list[date]:
    """Days whose tables tell of a post or reply."""
    lake, mine = reader.lake, pl.col("blog") == blog.name
    post = _REPLY.fullmatch(item)
    if post is None:
        replies = lake.read(t.TUMBLR_REPLIES).filter(mine & (pl.col("post_id") == item)).select("day")
        posts = lake.read(t.TUMBLR_POSTS).filter(mine & (pl.col("post_id") == item)).select("day")
        return pl.concat([posts, replies]).unique().sort("day").collect()["day"].to_list()
    said = (pl.col("from_blog") == post[1]) & (pl.col("post_id") == post[2])
    second = pl.col("at").dt.epoch("s") == int(post[3])
    return lake.read(t.TUMBLR_REPLIES).filter(mine & said & second).select("day").unique().collect()["day"].to_list()


def forget(settings: Settings, lake: Lake, control: Control) -> Forgotten:
    """Remove what is kept of what was taken back; doing it again removes what came back.

    Raises:
        UserError: a file cannot be written or deleted.
    """
    gone = DELETIONS.read(control)
    pages = blobs = answers = edits = 0
    for (name,), items in gone.group_by("blog", maintain_order=True):
        blog, ids = str(name), items["item"].to_list()
        # Before pages and tables lose the addresses of their pictures.
        shas = _pictures(settings, lake, control, blog, ids)
        answers += _answers(lake, control, blog, ids, shas)
        blobs += _removed(Blobs(settings.blobs), shas)
        pages += sum(_blank(path, kind, ids) for kind, path in _pages(settings.live_blogs / blog))
        edits += _edits(lake, control, blog, ids)
    return Forgotten(pages, blobs, answers, edits)


def _pages(folder: Path) -> Iterator[tuple[str, Path]]:
    """Kind and path of everything that was fetched of a blog."""
    for kind in t.FILE_KINDS:
        for path in sorted((folder / kind).rglob(f"*{ENDING}")):
            yield kind, path


def _blank(path: Path, kind: str, items: Collection[str]) -> int:
    """Blank a page; one that says something of them and cannot be told apart goes as a whole."""
    replies = [found for item in items if (found := _REPLY.fullmatch(item))]
    post_ids = [item for item in items if _POST.fullmatch(item)]
    try:
        content = content_of(path)
        left = _notes(path, content, replies, post_ids) if kind == NOTES else blanked_posts(content, post_ids)
    except PageError:
        return 0
    except Unreadable:
        path.unlink(missing_ok=True)
        return 1
    if left is None:
        return 0
    write_whole(path, left)
    return 1


def _notes(path: Path, content: bytes, replies: Sequence[re.Match[str]], post_ids: Collection[str]) -> bytes | None:
    post_id = path.name.partition("-")[0].removesuffix(ENDING)
    if post_id in post_ids:
        return blanked_notes(content, None)
    said = {(one[1], int(one[3])) for one in replies if one[2] == post_id}
    return blanked_notes(content, said) if said else None


def _inputs(lake: Lake, blog: str, ids: Collection[str]) -> pl.DataFrame:
    """What came in by them: input_id and day."""
    of_them = pl.col("post_id").is_in(list(ids)) | pl.col("input_id").is_in(list(ids))
    inbox = lake.read(t.PERSONA_INBOX).filter((pl.col("blog") == blog) & of_them)
    return inbox.select("input_id", "day").unique().sort("day", "input_id").collect()


def _answers(lake: Lake, control: Control, blog: str, ids: Collection[str], shas: Collection[str]) -> int:
    """Blank what models wrote in answer to them, and what they read in their pictures."""
    asked = [f"{blog}|{day}|{input_id}" for input_id, day in _inputs(lake, blog, ids).iter_rows()]
    if not asked and not shas:
        return 0
    with closing(Store(control)) as store:
        return store.write(lambda c: purge(c, [*row_refs_of(c, asked), *shas]))


def _pictures(settings: Settings, lake: Lake, control: Control, blog: str, ids: Collection[str]) -> list[str]:
    """The sha256 of pictures that were fetched for them, and for no other post of a blog."""
    mine = pl.col("post_id").is_in(list(ids)) & (pl.col("blog") == blog)
    posts = lake.read(t.TUMBLR_POSTS).filter(pl.col("payload").is_not_null())
    urls = {
        url for payload in posts.filter(mine).select("payload").collect()["payload"] for url in image_urls_of(payload)
    }
    named = {fetched_as(url): url for url in urls}
    known = Fetches(control).of(SOURCE, list(named), KIND)
    fetched = {fetch.detail for fetches in known.values() for fetch in fetches if fetch.outcome == OK and fetch.detail}
    if not fetched:
        return []
    shown = lake.read(t.IMAGE_TEXTS).filter(pl.col("media_sha256").is_in(list(fetched))).select("url").collect()
    shared = pl.col("image_urls").list.eval(pl.element().is_in(list({*urls, *shown["url"]}))).list.any()
    others = lake.read(t.THREADS).filter(~mine & shared).select("image_urls").collect()
    still = {url for found in others["image_urls"] for url in found}
    kept = lake.read(t.IMAGE_TEXTS).filter(pl.col("url").is_in(list(still))).select("media_sha256").collect()
    return sorted(fetched - set(kept["media_sha256"]))


def _removed(blobs: Blobs, shas: Collection[str]) -> int:
    there = [sha for sha in shas if blobs.has(sha)]
    for sha in there:
        blobs.remove(sha)
    return len(there)


def _edits(lake: Lake, control: Control, blog: str, ids: Collection[str]) -> int:
    """Delete the texts that people put in the place of an answer: they may quote what was answered."""
    input_ids = _inputs(lake, blog, ids)["input_id"].to_list()
    if not input_ids:
        return 0
    mine = (pl.col("blog") == blog) & pl.col("input_id").is_in(input_ids)
    tried = lake.read(t.OUTBOX).filter(mine).select("input_id", "attempt").collect().iter_rows()
    posts = [outbox_id(blog, input_id, attempt) for input_id, attempt in tried]
    said = REVIEWS.read(control, outbox_id=posts).filter(pl.col("action") == "edit")["review_id"].to_list()
    return REVIEWS.forget(control, review_id=said) if said else 0

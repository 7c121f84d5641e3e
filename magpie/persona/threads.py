"""threads: posts of a day with what they answer, as HTML and as the documents of writer and models.

Belongs here: the row of a post. Does not belong here: reading payloads (`magpie/sources/tumblr_npf.py`), the form of a
document (`documents.py`), what is read in pictures (`image_texts.py`), which threads the bot answers (`inputs.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from magpie.persona.documents import Form, Shown, date_line, document_shown, name_of, shown
from magpie.persona.munging import ImageText
from magpie.persona.settings import Blog
from magpie.persona.tables import THREADS
from magpie.persona.wording import count_words
from magpie.sources.tumblr_npf import Block, NpfError, Part, parts_of

# Those that a document has a form for.
READERS = ("full", "selector", "autoreview", "prompt")
_OK = {"status": "ok", "reason": None, "observed": None, "threshold": None, "not_before": None}


@dataclass(frozen=True)
class ThreadRules:
    """Whose bot reads the threads, the zone of the date that documents show, and their form."""

    blog: str
    zone: ZoneInfo
    form: Form

    @classmethod
    def of(cls, blog: Blog) -> "ThreadRules":
        return cls(blog.name, blog.zone, blog.tuned().text_form)


def threads(posts: pl.DataFrame, texts: pl.DataFrame, blog: Blog) -> pl.DataFrame:
    """Return a row per post, in the columns of `threads`.

    A payload that cannot be read makes a failed row (`npf_parse`) without texts; the others go on.

    Args:
        posts: `tumblr_posts` of the blog; those that are not ok or have no payload are left out.
        texts: `image_texts` of the blog. Of a picture that was not read the documents say nothing.
    """
    rules, images = ThreadRules.of(blog), image_texts_of(texts)
    usable = posts.filter((pl.col("status") == "ok") & pl.col("payload").is_not_null())
    used = usable.select("blog", "day", "post_id", "author_blog", "published_at", "tags", "payload")
    rows = [_row(post, images, rules) for post in used.iter_rows(named=True)]
    return THREADS.shaped(pl.DataFrame(rows, schema=THREADS.dtypes)).sort(THREADS.sort_by)


def image_texts_of(texts: pl.DataFrame) -> dict[str, ImageText]:
    """What is known of pictures, by address; where several days read one, the latest day counts.

    A picture that waits for its model has what was read here meanwhile.
    """
    read = texts.filter(pl.col("text").is_not_null()).sort("day", "url")
    return {url: ImageText(text, caption) for url, text, caption in read.select("url", "text", "caption").iter_rows()}


def parts_of_row(payload: str) -> tuple[Part, ...]:
    """The parts of a stored payload; none where it cannot be read, which its row in `threads` tells."""
    try:
        return parts_of(payload)
    except NpfError:
        return ()


def image_urls_of(payload: str) -> list[str]:
    """Addresses of the pictures in a stored payload, in their widest size, in order, each once.

    None where it cannot be read, which its row in `threads` tells.
    """
    return _image_urls(parts_of_row(payload))


def _row(post: Mapping[str, Any], images: Mapping[str, ImageText], rules: ThreadRules) -> dict[str, Any]:
    key = {name: post[name] for name in ("blog", "day", "post_id")}
    try:
        parts = parts_of(post["payload"])
    except NpfError as error:
        failed = {**_OK, "status": "failed", "reason": "npf_parse", "observed": str(error)}
        return {**key, **_nothing(post, rules), **failed}
    posts = shown(parts, images)
    date = date_line(post["published_at"], rules.zone)
    document = document_shown(posts, blog=rules.blog, date=date, tags=post["tags"] or (), form=rules.form)
    texts = {f"text_{reader}": getattr(document, reader) for reader in READERS}
    return {**key, **_facts(post, parts, posts, rules), **texts, "html": _html(posts), **_OK}


def _facts(
    post: Mapping[str, Any], parts: Sequence[Part], posts: Sequence[Shown], rules: ThreadRules
) -> dict[str, Any]:
    """What is counted in a thread."""
    said = [block.text for block in parts[-1].blocks if block.kind == "text"]
    kinds = [block.kind for block in _blocks(parts)]
    return {
        "n_posts": len(parts),
        "participants": list(dict.fromkeys(one.author for one in posts)),
        "has_ask": any(part.is_ask for part in parts),
        "final_author": posts[-1].author,
        "final_body": posts[-1].body,
        "final_tags": list(post["tags"] or ()),
        "n_words_final": sum(map(count_words, said)),
        "n_images": kinds.count("image"),
        "image_urls": _image_urls(parts),
        "has_video": "video" in kinds,
        "has_text": any(text.strip() for text in said),
        "truncated": any(part.truncated for part in parts),
        "form": rules.form,
    }


def _nothing(post: Mapping[str, Any], rules: ThreadRules) -> dict[str, Any]:
    """The row of a payload that cannot be read: what the post itself tells, and no texts."""
    return {
        **dict.fromkeys(("n_posts", "n_words_final", "n_images"), 0),
        **dict.fromkeys(("has_ask", "has_video", "has_text", "truncated"), False),
        **dict.fromkeys(("html", "final_body", *(f"text_{reader}" for reader in READERS))),
        "participants": [],
        "image_urls": [],
        "final_author": name_of(post["author_blog"]),
        "final_tags": list(post["tags"] or ()),
        "form": rules.form,
    }


def _html(posts: Sequence[Shown]) -> str:
    return "".join(f'<article title="{escape(post.author)}">{post.html}</article>' for post in posts)


def _blocks(parts: Sequence[Part]) -> list[Block]:
    return [block for part in parts for block in part.blocks]


def _image_urls(parts: Sequence[Part]) -> list[str]:
    return list(dict.fromkeys(block.image.original_url for block in _blocks(parts) if block.image))

"""meme_posts: what all landed payloads say of the posts of some days, the newest payload first.

Belongs here: folding payloads to one row per post. Does not belong here: what a payload says, and how long texts and
lists in it may be (`magpie/sources/channel_payloads.py`), which files there are (`listing.py`), whether a post is a
meme (`curation.py`).
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import UTC, date
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.memes.listing import Read, read_bounded
from magpie.memes.naming import meme_id_of, name_of
from magpie.memes.tables import MEME_POSTS
from magpie.places import NamedFiles
from magpie.sources.channel_payloads import PayloadError
from magpie.sources.meme_posts import RawPost

# Columns that take what a payload says as it is.
_AS_READ = (
    *("post_id", "url", "text", "out_links", "mentions", "hashtags", "forwarded_from", "forwarded_url"),
    *("views", "likes", "reposts", "comments", "is_ad", "uploader_id", "language"),
)


def meme_posts(
    files: pl.DataFrame, platform: str, days: Collection[date], places: NamedFiles, read: Read
) -> pl.DataFrame:
    """Return the posts that were published on these days, in the columns of `meme_posts`.

    Of what several payloads say of a post, the one fetched last is kept, of those fetched at once the one whose file
    comes last by name. One payload is in memory at a time. If a platform ever moves a post to another day, each day
    that is made alone keeps it.

    Args:
        files: `meme_files`; those of other platforms or days are not opened.
        read: of payloads.

    Raises:
        UserError: a file is not what it was when it was listed.
    """
    wanted = set(days)
    touching = (
        files.filter((pl.col("status") == "ok") & (pl.col("platform") == platform))
        .filter(pl.col("days").list.eval(pl.element().is_in(sorted(wanted))).list.any())
        .sort("fetched_at", "source_file")
    )
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for file in touching.iter_rows(named=True):
        for post in _posts(file, places, read):
            if post.published_at.astimezone(UTC).date() in wanted:
                kept[file["source_id"], post.post_id] = _row(post, file)
    return MEME_POSTS.shaped(pl.DataFrame(list(kept.values()), schema=MEME_POSTS.dtypes)).sort(MEME_POSTS.sort_by)


def _posts(file: Mapping[str, Any], places: NamedFiles, read: Read) -> tuple[RawPost, ...]:
    name = file["source_file"]
    try:
        content = read_bounded(places.path(name))
        if hashlib.sha256(content).hexdigest() == file["payload_sha256"]:
            return read(content, file["platform"], name_of(file["source_id"]))[1].posts
        problem = "has changed"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except PayloadError as error:
        problem = f"cannot be understood ({error.reason})"
    raise UserError(f"{name} {problem} since it was listed; make meme_files anew, then the days of memes")


def _row(post: RawPost, file: Mapping[str, Any]) -> dict[str, Any]:
    published_at = post.published_at.astimezone(UTC)
    counted = None if post.reactions is None else sorted(post.reactions.items())
    return {
        **{name: file[name] for name in ("source_id", "platform", "fetched_at", "payload_sha256", "source_file")},
        **{name: getattr(post, name) for name in _AS_READ},
        "day": published_at.date(),
        "meme_id": meme_id_of(file["source_id"], post.post_id),
        "published_at": published_at,
        "media": [asdict(item) for item in post.media],
        # In order, so that payloads that count the same make the same row.
        "reactions": None if counted is None else [{"emoji": emoji, "count": count} for emoji, count in counted],
        **_fate(post),
    }


def _fate(post: RawPost) -> dict[str, Any]:
    if post.unreadable is not None:
        return {"status": "failed", "reason": "parse_error", "observed": post.unreadable}
    if post.rejected is not None:
        return {"status": "rejected", **asdict(post.rejected)}
    return {"status": "ok"}

"""meme_media: the bytes of each meme, what they are, and their hashes.

Belongs here: where a meme's bytes come from, what is tried again and when, from bytes to a row. Does not belong here:
downloading (`downloads.py`), opening and hashing (`magpie/media`).

The bytes decide what a medium is. A picture that turns out to move a little (most GIFs are posted as pictures) stays a
picture, hashed by its first frame and with its key frames beside it, and says so in `observed`; a video in the place
of a picture, or a still picture in that of a video, is `mislabelled`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from magpie.blobs import Blobs, NoBlob
from magpie.fetches import Fetch
from magpie.media.opening import Unusable, checked_claim, opened
from magpie.media.phash import Facts, facts
from magpie.media.watermark import marked
from magpie.memes.downloads import MAX_BYTES, OK, REFUSED
from magpie.memes.naming import media_item
from magpie.memes.settings import Memes
from magpie.memes.tables import MEME_MEDIA
from magpie.sources.telegram_export import LEFT_OUT

# Of hashing, watermark and what is accepted; to be raised when equal bytes would give another row.
VERSION = 1
RETRY, RETRY_MAX = timedelta(hours=1), timedelta(hours=24)
STOPPED_FOR = timedelta(minutes=15)
# Beside a saved page, where its media are.
SAVED_FOLDER = "media"
OBSERVED_CHARS = 200

Fetcher = Callable[[str, int, str], Fetch]


@dataclass(frozen=True)
class MediaRules:
    """How many downloads a run makes, when it gives up, and what is written on pictures."""

    batch: int
    stop_after: int
    max_attempts: int
    watermark_text: str = ""

    @classmethod
    def of(cls, settings: Memes) -> "MediaRules":
        """The rules that the settings give."""
        return cls(
            settings.media_batch, settings.media_stop_after, settings.media_max_attempts, settings.watermark_text
        )

    @property
    def version(self) -> str:
        text = self.watermark_text
        return f"{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}" if text else str(VERSION)


@dataclass(frozen=True)
class Place:
    """Where one medium's bytes are said to be."""

    meme_id: str
    ord: int
    type: str
    url: str | None
    file: str | None
    mime: str | None
    source_file: str | None

    @property
    def claimed(self) -> str | None:
        return self.mime or self.file or self.url


# Columns of a row, or those of them that an outcome decides.
Row = dict[str, Any]
_UNTOLD: Row = {
    **dict.fromkeys(MEME_MEDIA.dtypes.names()),
    "ord": 0,
    "status": OK,
    "attempts": 0,
    "keyframe_phashes": [],
}


@dataclass
class Shop:
    """Where bytes come from: archives, the log of downloads, and the network behind it.

    Attributes:
        archive_path: from `source_file` to the payload; media are beside it.
        downloads: what was said so far, oldest first, by item.
        fetch: downloads one medium (meme_id, ord, url) into `blobs` and returns the log's entry; None: not to be asked.
        asked: downloads of this run; lost: failures among them since the last that brought an answer.
    """

    archive_path: Callable[[str], Path]
    downloads: Mapping[str, Sequence[Fetch]]
    fetch: Fetcher | None
    blobs: Blobs
    rules: MediaRules
    now: datetime
    asked: int = 0
    lost: int = 0


def meme_media(
    memes: pl.DataFrame,
    posts: pl.DataFrame,
    stored: pl.DataFrame,
    downloads: Mapping[str, Sequence[Fetch]],
    archive_path: Callable[[str], Path],
    fetch: Fetcher | None,
    blobs: Blobs,
    rules: MediaRules,
    now: datetime,
) -> pl.DataFrame:
    """Return one row per ok meme, in the columns of `meme_media`.

    Args:
        memes: rows of `memes`; those that are not ok are passed over.
        posts: rows of `meme_posts` of the same days.
        stored: rows of `meme_media` of before: of equal bytes under equal rules nothing is computed again.
        downloads, archive_path, fetch: as in `Shop`.
    """
    shop = Shop(archive_path, downloads, fetch, blobs, rules, now)
    wanted = memes.filter((pl.col("status") == "ok") & (pl.col("type") != "none"))
    held = wanted.join(posts.select("meme_id", "media", "source_file"), on="meme_id", how="left", maintain_order="left")
    ordered = held.sort(["published_at", "meme_id"], descending=[True, False])
    places: dict[str, Place] = {}
    rows: list[Row] = []
    version = rules.version
    for meme in ordered.iter_rows(named=True):
        row: Row = {
            **_UNTOLD,
            **{name: meme[name] for name in ("meme_id", "platform", "day")},
            "rules_version": version,
        }
        media = meme["media"] or []
        if len(media) != 1:
            row |= _rejected("no_media", f"{len(media)} media", "1")
        else:
            places[meme["meme_id"]] = place = _place(meme, media[0])
            row |= _bytes_of(place, shop)
        rows.append(row)
    known = _known(rows, stored, shop)
    for row in rows:
        if row["sha256"] is not None:
            row |= {"path": Blobs.relative(row["sha256"]), **_told(known[row["sha256"]], places[row["meme_id"]])}
    return MEME_MEDIA.shaped(pl.DataFrame(rows, schema=MEME_MEDIA.dtypes)).sort(MEME_MEDIA.sort_by)


def _place(meme: Mapping[str, Any], item: Mapping[str, Any]) -> Place:
    return Place(
        meme_id=meme["meme_id"],
        ord=0,
        type=meme["type"],
        url=item["url"],
        file=item["file"],
        mime=item["mime"],
        source_file=meme["source_file"],
    )


def _bytes_of(place: Place, shop: Shop) -> Row:
    """The sha256 of the bytes, which are in the store then; else the fate of the row."""
    file = place.file if place.file is not None else _saved(place)
    told = _from_archive(replace(place, file=file), shop) if file is not None else None
    # An archive may leave out a file and still know its address.
    if told is not None and not (told.get("reason") == "media_not_in_archive" and place.url):
        return told
    if not place.url:
        return _rejected("no_address")
    return _from_network(place, place.url, shop)


def _saved(place: Place) -> str | None:
    """Where whoever saves a page and its media puts what is at an address: `media/` and the last part of its path."""
    name = PurePosixPath(unquote(urlsplit(place.url).path)).name if place.url else ""
    return f"{SAVED_FOLDER}/{name}" if name and name not in (".", "..") else None


def _from_archive(place: Place, shop: Shop) -> Row:
    name = place.file or ""
    if name.startswith(LEFT_OUT) or not name or place.source_file is None:
        return _rejected("media_not_in_archive", name)
    try:
        folder = shop.archive_path(place.source_file).parent.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            return _rejected("outside_archive", name)
        if not path.is_file():
            return _rejected("media_not_in_archive", name)
        size = path.stat().st_size
        if size > MAX_BYTES:
            return _rejected("too_large", str(size), str(MAX_BYTES))
        content = path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        # A file without permission, a name with a zero byte or longer than any system takes, a loop of links.
        return {"status": "failed", "reason": "unreadable_file", "observed": _system_says(error, name)}
    return {"sha256": shop.blobs.put(content), "bytes": len(content)}


def _system_says(error: OSError | ValueError | RuntimeError, name: str) -> str:
    # The whole message would tell the whole path.
    told = error.strerror if isinstance(error, OSError) else "no path that can be followed"
    return f"{name[:100]}: {told}"[:OBSERVED_CHARS].replace("\x00", "\\0")


def _from_network(place: Place, url: str, shop: Shop) -> Row:
    fetches = tuple(shop.downloads.get(media_item(place.meme_id, place.ord), ()))
    row = _after(fetches, shop)
    if not _due(row, shop.now):
        return row
    if shop.fetch is None:
        return row | _pending("not_fetched", row.get("observed")) if fetches else _rejected("media_not_in_archive")
    if shop.lost >= shop.rules.stop_after:
        failures = f"{shop.rules.stop_after} failures in a row"
        return row | _pending("batch_stopped", failures, not_before=shop.now + STOPPED_FOR)
    if shop.asked >= shop.rules.batch:
        # At once: it waits for the next run, and for nothing else.
        return row | _pending("awaiting_turn", None, f"{shop.rules.batch} downloads a run", shop.now)
    shop.asked += 1
    row = _after((*fetches, shop.fetch(place.meme_id, place.ord, url)), shop)
    shop.lost = shop.lost + 1 if row.get("reason") == "broken_link" else 0
    return row


def _after(fetches: Sequence[Fetch], shop: Shop) -> Row:
    """What the log says of an item: its bytes, its fate, or that it has not been asked for (`not_fetched`)."""
    if not fetches:
        return _pending("not_fetched")
    last = fetches[-1]
    if last.outcome == OK:
        return _landed(last.detail or "", shop.blobs)
    if last.outcome in REFUSED:
        return _rejected(last.outcome, last.detail)
    attempts = sum(1 for _ in takewhile(lambda fetch: _is_failure(fetch.outcome), reversed(fetches)))
    told = {"attempts": attempts, "observed": last.outcome, "threshold": f"{shop.rules.max_attempts} attempts"}
    if attempts >= shop.rules.max_attempts:
        return {"status": "failed", "reason": "broken_link", **told}
    return {"status": "pending", "reason": "broken_link", "not_before": last.at + retry_after(attempts), **told}


def _landed(sha256: str, blobs: Blobs) -> Row:
    # Bytes that were removed since, or damaged, are asked for again.
    try:
        return {"sha256": sha256, "bytes": len(blobs.get(sha256))}
    except (NoBlob, ValueError):
        return _pending("not_fetched", "its bytes are gone")


def _is_failure(outcome: str) -> bool:
    return outcome != OK and outcome not in REFUSED


def _due(row: Row, now: datetime) -> bool:
    if row.get("reason") == "not_fetched":
        return True
    return row.get("reason") == "broken_link" and row["status"] == "pending" and bool(row["not_before"] <= now)


def retry_after(attempts: int) -> timedelta:
    """How long a link rests after so many failures in a row: 1 h after the first, each time twice as long, to 24 h."""
    # Bounded before the power is taken, so that no count overflows.
    return min(RETRY * 2 ** min(attempts - 1, 10), RETRY_MAX)


@dataclass(frozen=True)
class Known:
    """Facts about bytes, or why they are of no use, and the sha256 of the marked picture."""

    facts: Facts | Unusable
    watermarked: str | None = None


def _known(rows: Sequence[Row], stored: pl.DataFrame, shop: Shop) -> dict[str, Known]:
    wanted = sorted({row["sha256"] for row in rows if row["sha256"] is not None})
    current = stored.filter((pl.col("status") == "ok") & (pl.col("rules_version") == shop.rules.version))
    before = {row["sha256"]: _as_before(row) for row in current.sort("meme_id").iter_rows(named=True)}
    known = {sha: before[sha] for sha in wanted if sha in before and _still_marked(before[sha], shop.blobs)}
    fresh = [sha for sha in wanted if sha not in known]
    for sha, found in zip(fresh, facts(_contents(fresh, shop.blobs)), strict=True):
        known[sha] = Known(found, _watermarked(found, shop))
    return known


def _contents(shas: Sequence[str], blobs: Blobs) -> Iterator[bytes]:
    return (blobs.get(sha) for sha in shas)


def _as_before(row: Mapping[str, Any]) -> Known:
    # Only what moves has a duration.
    still = "image" if row["duration_s"] is None else "animation"
    made = Facts(
        kind="video" if row["mime"].startswith("video/") else still,  # type: ignore[arg-type]
        keyframe_phashes=tuple(row["keyframe_phashes"]),
        size=row["bytes"],
        **{name: row[name] for name in ("sha256", *_AS_THEY_ARE)},
    )
    return Known(made, row["watermarked_sha256"])


_AS_THEY_ARE = ("mime", "width", "height", "duration_s", "phash64", "grey_std")


def _still_marked(known: Known, blobs: Blobs) -> bool:
    return known.watermarked is None or blobs.has(known.watermarked)


def _watermarked(found: Facts | Unusable, shop: Shop) -> str | None:
    """The blob of the marked picture; videos and animations are left as they are."""
    if not shop.rules.watermark_text or isinstance(found, Unusable) or found.kind != "image":
        return None
    again = opened(shop.blobs.get(found.sha256))
    assert not isinstance(again, Unusable) and again.picture is not None
    content = marked(again.picture, shop.rules.watermark_text)
    return None if content is None else shop.blobs.put(content)


def _told(known: Known, place: Place) -> Row:
    """The columns that the bytes decide, once they are in the store."""
    found = known.facts
    if isinstance(found, Unusable):
        why = checked_claim(found, place.claimed)
        assert isinstance(why, Unusable)
        return _rejected(why.reason, why.observed, why.threshold) | {"mime": why.mime}
    moves = found.kind != "image"
    if (place.type == "image" and found.kind == "video") or (place.type != "image" and not moves):
        return _rejected("mislabelled", found.mime, place.type) | {"mime": found.mime}
    seen = {"observed": found.kind, "threshold": "image"} if place.type == "image" and moves else {}
    return {
        **{name: getattr(found, name) for name in _AS_THEY_ARE},
        **seen,
        "keyframe_phashes": list(found.keyframe_phashes),
        "watermarked_sha256": known.watermarked,
    }


def _rejected(reason: str, observed: str | None = None, threshold: str | None = None) -> Row:
    told = observed[:OBSERVED_CHARS] if observed else None
    return {"status": "rejected", "reason": reason, "observed": told, "threshold": threshold}


def _pending(
    reason: str, observed: str | None = None, threshold: str | None = None, not_before: datetime | None = None
) -> Row:
    told = {"status": "pending", "reason": reason, "observed": observed, "threshold": threshold}
    return told | {"not_before": not_before}

"""image_texts: the bytes behind each picture of a post, and the text that belongs to them.

Belongs here: which pictures a post shows, where their bytes come from, what is tried again and when, from bytes to a
row. Does not belong here: reading a picture (`image_read.py`), opening it (`magpie/media`), the request
(`magpie/sources/web.py`), what a thread makes of a text (`munging.py`).

A text belongs to the bytes, by their sha256: addresses of equal bytes share it, and what was read once is not read
again. Bytes that are not there are never taken for a picture without text. An archive's file waits for nothing but the
file; a live blog's pictures are asked for again after growing pauses.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256 as hash_of
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import polars as pl

from magpie.blobs import Blobs, NoBlob
from magpie.control import Control
from magpie.fetches import Fetch, Fetches
from magpie.persona.image_lines import NOT_IMAGE
from magpie.persona.listing import MEDIA, Places
from magpie.persona.tables import IMAGE_TEXTS
from magpie.sources.web import URL_CHARS, Web, WebError, patiently

# The engine of what was read on this machine.
LOCAL = "local"
MISSING, UNREADABLE = "media_missing", "media_unreadable"
# In the log of fetches.
SOURCE, KIND, OK = "tumblr_media", "bytes", "ok"
# These say something of the address or of what is there, and nothing of whether its server answers.
OF_THE_ADDRESS, OF_THE_BYTES = frozenset({"private_address", "not_http"}), frozenset({"too_large", "empty"})
# Tumblr takes pictures up to 20 MB.
MAX_BYTES = 32 * 1024 * 1024
TIMEOUT_S = 10.0
RETRY, RETRY_MAX = timedelta(hours=1), timedelta(hours=24)
MAX_ATTEMPTS = 5
# A run that finds the server away, or very many new pictures, leaves the rest to a later one.
STOP_AFTER, MOST_DOWNLOADS = 5, 500
STOPPED_FOR = timedelta(minutes=15)
# Endings of what is surely no picture; what has another ending, or none, is what its bytes are.
OTHER_ENDINGS = frozenset(
    (".mp4", ".m4v", ".mov", ".webm", ".gifv", ".avi", ".mkv", ".m3u8", ".mp3", ".m4a", ".ogg", ".wav", ".flac")
)
OTHER_ENDINGS |= {".pdf", ".html", ".htm", ".svg", ".zip"}
OBSERVED_CHARS = 200
# What a text brings with it, where it is known already.
HERE = ("text", "lines", "engine")
TOLD = ("text", "lines", "caption", "n_frames", "animated", "engine", "request_key")

# Columns of a row, or those of them that an outcome decides.
Row = dict[str, Any]
# What became of reading each of these bytes, by sha256: columns of its fate, and of `TOLD`. What was read on this
# machine before (columns of `HERE`) goes with the question: it stands in for a model's word that is still to come.
Read = Callable[[Sequence[str], Mapping[str, Row]], Mapping[str, Row]]


class Fetcher(Protocol):
    """Gets pictures over the network."""

    def known(self, urls: Iterable[str]) -> dict[str, tuple[Fetch, ...]]:
        """The tries so far of each address, oldest first; no entry where there was none."""

    def fetch(self, url: str, now: datetime) -> Fetch:
        """Try to get what is at an address; outcome `ok` with the sha256 of what was stored as detail."""


class Downloads:
    """Downloads and their log; several processes may hold one each.

    Args:
        sleep: waits between the tries of one download, in seconds.
    """

    def __init__(self, control: Control, blobs: Blobs, web: Web, sleep: Callable[[float], None]) -> None:
        self._fetches, self._blobs, self._web, self._sleep = Fetches(control), blobs, web, sleep

    def known(self, urls: Iterable[str]) -> dict[str, tuple[Fetch, ...]]:
        items = {item_of(url): url for url in urls}
        return {items[item]: fetches for item, fetches in self._fetches.of(SOURCE, items, KIND).items()}

    def fetch(self, url: str, now: datetime) -> Fetch:
        """Try, again where that may help, and record what came of it.

        The outcome is `ok`, empty, or the kind of a `WebError`.
        """
        try:
            content = patiently(
                lambda: self._web.get(url, max_bytes=MAX_BYTES, timeout_s=TIMEOUT_S).content, self._sleep
            )
        except WebError as error:
            outcome, detail = error.kind, error.detail
        else:
            # Stored before it is told: whoever reads of it finds it.
            outcome, detail = (OK, self._blobs.put(content)) if content else ("empty", "an answer without a body")
        fetch = Fetch(SOURCE, item_of(url), KIND, now, outcome, detail)
        self._fetches.record([fetch])
        return fetch


def item_of(url: str) -> str:
    """What the log of fetches calls an address; addresses may be longer than its column."""
    return hash_of(url.encode("utf-8", "surrogatepass")).hexdigest()


def media_folders(places: Places, blog: str) -> tuple[Path, ...]:
    """Where the bytes of a blog's pictures lie, by the last part of their address; some may not exist."""
    return tuple(folder / blog / MEDIA for folder in (*places.archives, places.live))


@dataclass
class Shop:
    """Where bytes come from: the folders of the blog, what is stored, and the network behind them.

    Attributes:
        folders: of `media_folders`; the first that holds a file wins.
        downloads: None: nothing is asked over the network, and what is missing waits for its file.
        asked: downloads of this run; lost: failures among them since the last that brought bytes.
    """

    folders: Sequence[Path]
    downloads: Fetcher | None
    blobs: Blobs
    now: datetime
    asked: int = 0
    lost: int = 0


def image_texts(
    posts: pl.DataFrame,
    urls_of: Callable[[str], Iterable[str]],
    earlier: pl.DataFrame,
    shop: Shop,
    read: Read,
) -> pl.DataFrame:
    """Return one row per day and picture, in the columns of `image_texts`.

    Args:
        posts: `tumblr_posts` of one blog and some days; those that are not ok are passed over.
        urls_of: the addresses of pictures in a payload.
        earlier: `image_texts` of the blog, of any days, as made before: what is ok there is not read again.
        shop: of one run.
        read: reads bytes in `shop.blobs`; asked for each sha256 once.
    """
    wanted = _wanted(posts, urls_of)
    known = _known(earlier)
    addresses = sorted({url for _, _, url in wanted})
    before = shop.downloads.known(addresses) if shop.downloads is not None else {}
    stored = dict(earlier.drop_nulls("media_sha256").sort("day", "url").select("url", "media_sha256").iter_rows())
    found = {url: _bytes_of(url, stored.get(url), before.get(url, ()), shop) for url in addresses}
    fresh = sorted({row["media_sha256"] for row in found.values() if "media_sha256" in row} - known.keys())
    told = {**known, **read(fresh, _read_here(earlier))} if fresh else known
    nothing: Row = {**dict.fromkeys(IMAGE_TEXTS.dtypes.names()), "lines": []}
    rows = []
    for blog, day, url in sorted(wanted):
        row = found[url]
        rows.append(
            {**nothing, "blog": blog, "day": day, "url": url, **row, **told.get(row.get("media_sha256", ""), {})}
        )
    return IMAGE_TEXTS.shaped(pl.DataFrame(rows, schema=IMAGE_TEXTS.dtypes)).sort(IMAGE_TEXTS.sort_by)


def arrived(stored: pl.DataFrame, folders: Mapping[str, Sequence[Path]]) -> list[tuple[str, Any]]:
    """Return blog and day of rows that wait for a file which is there by now, each once.

    Args:
        stored: `image_texts`; folders: of `media_folders`, by blog.
    """
    waiting = stored.filter((pl.col("reason") == MISSING) & (pl.col("status") == "pending"))
    return sorted(
        {
            (blog, day)
            for blog, day, url in waiting.select("blog", "day", "url").iter_rows()
            if _file_of(url, folders.get(blog, ())) is not None
        }
    )


def _wanted(posts: pl.DataFrame, urls_of: Callable[[str], Iterable[str]]) -> set[tuple[str, Any, str]]:
    shown = posts.filter((pl.col("status") == "ok") & pl.col("payload").is_not_null())
    payloads = shown.select("blog", "day", "payload").iter_rows()
    return {(blog, day, url) for blog, day, payload in payloads for url in urls_of(payload)}


def _known(earlier: pl.DataFrame) -> dict[str, Row]:
    """What was read before, by sha256; where two rows differ, the later one's word is taken."""
    read = earlier.filter((pl.col("status") == "ok") & pl.col("text").is_not_null()).sort("day", "url")
    return {row["media_sha256"]: {name: row[name] for name in (*TOLD, "status")} for row in read.iter_rows(named=True)}


def _read_here(earlier: pl.DataFrame) -> dict[str, Row]:
    here = earlier.filter((pl.col("engine") == LOCAL) & pl.col("text").is_not_null()).sort("day", "url")
    return {row["media_sha256"]: {name: row[name] for name in HERE} for row in here.iter_rows(named=True)}


def _bytes_of(url: str, stored: str | None, fetches: Sequence[Fetch], shop: Shop) -> Row:
    """The sha256 of the bytes, which are in the store then; else the fate of the row."""
    try:
        place = urlsplit(url)
        ending = PurePosixPath(unquote(place.path)).suffix.lower()
    except ValueError:
        return _rejected("bad_address", url)
    if place.scheme not in ("http", "https") or len(url) > URL_CHARS:
        return _rejected("bad_address", place.scheme if len(url) <= URL_CHARS else f"{len(url)} characters")
    if ending in OTHER_ENDINGS:
        return _rejected(NOT_IMAGE, ending)
    file = _file_of(url, shop.folders)
    if file is not None:
        return _from_file(file, shop.blobs)
    if stored is not None and _holds(shop.blobs, stored):
        return {"media_sha256": stored}
    if shop.downloads is None:
        return _pending(_name_of(url), None)
    return _from_network(url, fetches, shop, shop.downloads)


def _name_of(url: str) -> str | None:
    try:
        name = PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError:
        return None
    return name if name not in ("", ".", "..") and name.isprintable() else None


def _file_of(url: str, folders: Iterable[Path]) -> Path | None:
    name = _name_of(url)
    if name is None:
        return None
    for folder in folders:
        try:
            if (folder / name).is_file():
                return folder / name
        except (OSError, ValueError):
            # Longer than any system takes, or a folder that may not be entered: as good as not there.
            continue
    return None


def _from_file(file: Path, blobs: Blobs) -> Row:
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            return _unreadable(f"{size} bytes", str(MAX_BYTES))
        content = file.read_bytes()
    except OSError as error:
        # The whole message would tell the whole path.
        return _unreadable(f"{file.name[:100]}: {error.strerror}")
    return {"media_sha256": blobs.put(content)}


def _from_network(url: str, fetches: Sequence[Fetch], shop: Shop, downloads: Fetcher) -> Row:
    row = _after(fetches, shop)
    if row is not None and (row.get("not_before") is None or row["not_before"] > shop.now):
        return row
    if shop.lost >= STOP_AFTER or shop.asked >= MOST_DOWNLOADS:
        why = f"{shop.lost} failures in a row" if shop.lost >= STOP_AFTER else f"{shop.asked} downloads"
        return _pending(why, shop.now + STOPPED_FOR, f"{STOP_AFTER} in a row, {MOST_DOWNLOADS} a run")
    shop.asked += 1
    row = _after((*fetches, downloads.fetch(url, shop.now)), shop)
    # Bytes that were stored a moment ago are there.
    assert row is not None
    shop.lost = 0 if "media_sha256" in row else shop.lost + 1
    return row


def _after(fetches: Sequence[Fetch], shop: Shop) -> Row | None:
    """What the log says of an address: its bytes, its fate, or (None) that it is to be asked for."""
    if not fetches:
        return None
    last = fetches[-1]
    if last.outcome == OK:
        # Bytes that were removed since, or damaged, are asked for again.
        return {"media_sha256": last.detail} if last.detail and _holds(shop.blobs, last.detail) else None
    if last.outcome in OF_THE_ADDRESS:
        return _rejected("bad_address", last.detail)
    if last.outcome in OF_THE_BYTES:
        return _unreadable(last.detail or last.outcome)
    attempts = sum(1 for _ in takewhile(lambda fetch: fetch.outcome != OK, reversed(fetches)))
    observed, threshold = f"{attempts} x {last.outcome}", f"{MAX_ATTEMPTS} attempts"
    if attempts >= MAX_ATTEMPTS:
        return {"status": "failed", "reason": MISSING, "observed": observed, "threshold": threshold}
    return _pending(observed, last.at + retry_after(attempts), threshold)


def retry_after(attempts: int) -> timedelta:
    """How long an address rests after so many failures in a row: 1 h, each time twice as long, 24 h at most."""
    # Bounded before the power is taken, so that no count overflows.
    return min(RETRY * 2 ** min(attempts - 1, 10), RETRY_MAX)


def _holds(blobs: Blobs, sha256: str) -> bool:
    try:
        blobs.get(sha256)
    except (NoBlob, ValueError):
        return False
    return True


def _rejected(reason: str, observed: str | None) -> Row:
    return {"status": "rejected", "reason": reason, "observed": observed and observed[:OBSERVED_CHARS]}


def _unreadable(observed: str, threshold: str | None = None) -> Row:
    return {"status": "failed", "reason": UNREADABLE, "observed": observed[:OBSERVED_CHARS], "threshold": threshold}


def _pending(observed: str | None, not_before: datetime | None, threshold: str | None = None) -> Row:
    told = observed and observed[:OBSERVED_CHARS]
    return {
        "status": "pending",
        "reason": MISSING,
        "observed": told,
        "threshold": threshold,
        "not_before": not_before,
    }

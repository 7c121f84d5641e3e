"""The bytes behind the media of posts: asked for once at a time, kept by their sha256, every try in a log.

Belongs here: one download, and the word for what came of it. Does not belong here: which media are wanted and when one
is tried again (`media.py`, `live.py`), what the bytes are (`magpie/media/opening.py`), the request (`sources/web.py`).
"""

from collections.abc import Collection
from datetime import datetime

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.fetches import Fetch, Fetches
from magpie.memes.naming import media_item
from magpie.sources.web import Web, WebError

# In the log of fetches.
SOURCE, KIND = "media", "bytes"
OK = "ok"
# These say something of the medium itself, and nothing of whether its server answers.
REFUSED = frozenset({"too_large", "private_address", "not_http", "not_media"})
# Telegram's preview offers videos up to 20 MB, the other platforms' reels stay below 50; it is held in memory whole.
MAX_BYTES = 64 * 1024 * 1024
# Links that are alive answer within a second or two.
TIMEOUT_S = 20.0
# So far pages are looked at to tell them from pictures.
SNIFFED = 512
MARKUP = (b"<!doctype", b"<html", b"<head", b"<body", b"<svg", b"<?xml", b"<!--", b"<script")


class Downloads:
    """Downloads and their log; several processes may hold one each."""

    def __init__(self, control: Control, blobs: Blobs, web: Web) -> None:
        self._fetches, self._blobs, self._web = Fetches(control), blobs, web

    def known(self, items: Collection[str]) -> dict[str, tuple[Fetch, ...]]:
        """Return the tries so far of each item (`naming.media_item`), oldest first; no entry where there was none."""
        return self._fetches.of(SOURCE, items, KIND)

    def fetch(self, meme_id: str, ord: int, url: str, now: datetime, timeout_s: float = TIMEOUT_S) -> Fetch:
        """Try once to get one medium, and record what came of it.

        The outcome is `ok`, with the sha256 of what was stored as detail; else `http_<status>`, timeout, network,
        empty, too_large, private_address, not_http, too_many_redirects, bad_encoding or not_media.
        """
        item = media_item(meme_id, ord)
        try:
            content = self._web.get(url, max_bytes=MAX_BYTES, timeout_s=timeout_s).content
        except WebError as error:
            fetch = Fetch(SOURCE, item, KIND, now, error.kind, error.detail)
        else:
            fetch = self._kept(item, content, now)
        self._fetches.record([fetch])
        return fetch

    def _kept(self, item: str, content: bytes, now: datetime) -> Fetch:
        if not content:
            return Fetch(SOURCE, item, KIND, now, "empty", "an answer without a body")
        if is_markup(content):
            return Fetch(SOURCE, item, KIND, now, "not_media", "a page or a drawing in SVG")
        # Stored before it is told: whoever reads of it finds it.
        return Fetch(SOURCE, item, KIND, now, OK, self._blobs.put(content))


def is_markup(content: bytes) -> bool:
    """Whether bytes begin like HTML, XML or SVG, whatever their address or their server calls them."""
    start = content[:SNIFFED].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith(MARKUP)

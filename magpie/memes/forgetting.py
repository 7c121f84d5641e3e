"""What people asked to have deleted, outside of tables: landed payloads, uploaded files, bytes, answers of models.

Belongs here: finding and removing it, as often as it comes back. Does not belong here: who may ask for it
(`moderation.py`), rows of tables, which become tombstones when their days are made anew (`tombstones.py`), old versions
of tables (`magpie/maintenance.py`).

Archives that people brought stay as they are. Events keep the ids of memes, and nothing else of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.fetches import Fetches
from magpie.lake import Lake
from magpie.llm.journal import purge, row_refs_of
from magpie.llm.store import Store
from magpie.memes import tables as t
from magpie.memes.describe_queue import RETRIES
from magpie.memes.downloads import KIND, OK, SOURCE
from magpie.memes.listing import Places
from magpie.memes.logs import MODERATION
from magpie.memes.moderation import gone
from magpie.memes.naming import media_item, name_of
from magpie.memes.tombstones import purged
from magpie.settings import Settings
from magpie.sources.channel_payloads import PayloadError, read_payload
from magpie.sources.payload_blanking import blanked, tells
from magpie.sources.whole_file import write_whole


@dataclass(frozen=True)
class Forgotten:
    """What was removed or blanked this time."""

    payloads: int = 0
    files: int = 0
    blobs: int = 0
    answers: int = 0

    @property
    def summary(self) -> str:
        return (
            f"{self.payloads} payloads blanked, {self.files} uploaded files, {self.blobs} blobs and "
            f"{self.answers} answers removed"
        )


def forget(settings: Settings, lake: Lake, control: Control) -> Forgotten:
    """Remove what is kept of memes with a decision to purge; doing it again removes what came back.

    Raises:
        UserError: a file cannot be written or deleted.
    """
    decisions = MODERATION.read(control)
    ids = purged(decisions)
    if not ids:
        return Forgotten()
    held = lake.read(t.MEME_MEDIA).select("meme_id", "sha256", "watermarked_sha256")
    found = gone(decisions, pl.concat([held, _downloaded(control, ids).lazy()]))
    blobs = Blobs(settings.blobs)
    there = [sha256 for sha256 in found.sha256 if blobs.has(sha256)]
    for sha256 in there:
        blobs.remove(sha256)
    payloads, files = _landed(settings, lake, ids)
    RETRIES.forget(control, meme_id=ids)
    return Forgotten(payloads, files, len(there), _answers(control, ids))


def _downloaded(control: Control, ids: list[str]) -> pl.DataFrame:
    """What was downloaded for these memes, whether or not a row tells of it yet."""
    known = Fetches(control).of(SOURCE, [media_item(meme_id, 0) for meme_id in ids], KIND)
    rows = [
        (item.rpartition("#")[0], fetch.detail, None)
        for item, fetches in known.items()
        for fetch in fetches
        if fetch.outcome == OK
    ]
    schema = {name: t.MEME_MEDIA.dtypes[name] for name in ("meme_id", "sha256", "watermarked_sha256")}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _answers(control: Control, ids: list[str]) -> int:
    store = Store(control)
    try:
        return store.write(lambda c: purge(c, row_refs_of(c, ids)))
    finally:
        store.close()


def _landed(settings: Settings, lake: Lake, ids: list[str]) -> tuple[int, int]:
    """Blank the payloads that were landed here and tell of these memes; return how many, and how many files went."""
    places = Places.of(settings)
    payloads = files = 0
    for path, platform, source_id, post_ids in _telling(lake, places, ids):
        if platform == "upload":
            files += _remove_beside(path)
        payloads += _blank(path, platform, name_of(source_id), post_ids, settings.memes.vk_text_max)
    return payloads, files


def _telling(lake: Lake, places: Places, ids: list[str]) -> Iterator[tuple[Path, str, str, list[str]]]:
    """Landed files that may hold one of these memes: path, platform, source, ids of its posts."""
    posts = lake.read(t.MEME_POSTS).filter(pl.col("meme_id").is_in(ids)).select("source_id", "post_id", "day").collect()
    landed = lake.read(t.MEME_FILES).filter(pl.col("live") & (pl.col("status") == "ok"))
    by_day = landed.select("source_file", "platform", "source_id", pl.col("days").alias("day")).explode("day").collect()
    found = by_day.join(posts, on=["source_id", "day"]).group_by("source_file", "platform", "source_id")
    for name, platform, source_id, post_ids in found.agg(pl.col("post_id").unique()).sort("source_file").iter_rows():
        yield places.path(name), platform, source_id, post_ids


def _remove_beside(payload: Path) -> int:
    """Remove the file of an upload, which is called like its payload."""
    beside = [path for path in payload.parent.glob(f"{payload.stem}.*") if path != payload]
    for path in beside:
        path.unlink(missing_ok=True)
    return len(beside)


def _blank(path: Path, platform: str, name: str, post_ids: list[str], vk_text_max: int) -> int:
    def telling(content: bytes) -> bool:
        return tells(read_payload(content, platform, name, vk_text_max=vk_text_max)[1], post_ids)

    if not path.is_file():
        return 0
    content = path.read_bytes()
    try:
        if not telling(content):
            return 0
        left = blanked(content, platform, post_ids)
        done = not telling(left)
    except PayloadError:
        done = False
    if done:
        write_whole(path, left)
    else:
        # Better without the other posts of the page, which others hold too, than with what is to be gone.
        path.unlink()
    return 1

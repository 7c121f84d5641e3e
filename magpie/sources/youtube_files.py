"""Files of YouTube videos on disk: yt-dlp's info.json and captions, and the entries of feeds that Magpie keeps.

Belongs here: finding them and what their names say. Does not belong here: what an info.json says (`youtube_info.py`),
what a caption file says (`captions.py`), and which videos and tracks count (the product).
"""

import json
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magpie.errors import UserError
from magpie.sources.caption_tracks import FORMATS
from magpie.sources.whole_file import write_whole

INFO_ENDING = ".info.json"
# Of a feed's entry, in the keys of an info.json.
FEED_ENDING = ".rss.json"
VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_BRACKETED_ID = re.compile(r"\[([A-Za-z0-9_-]{11})\]$")
# Languages as YouTube writes them: en, en-orig, zh-Hans, nl-en, and en-nP7-2PuUl7o for a track with a name of its own.
_TRACK = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9_-]{1,40})?")
# What tools other than yt-dlp put beside or in place of the language.
_MANUAL = "manual"
_KINDS = (_MANUAL, "auto", "auto-translated")
# What stays of a video that is gone: who it is, whose it was, when, and who wrote the file.
KEPT = (
    "id",
    "channel_id",
    "timestamp",
    "upload_date",
    "epoch",
    "availability",
    "_magpie_source",
    "_magpie_restriction",
)
_UNFINISHED = (".part", ".tmp")


@dataclass(frozen=True)
class FoundFile:
    """A file and what its name says.

    Attributes:
        kind: `info` for an info.json or a feed's entry, else `captions`.
        stem: the name without track and ending; files of one video share it.
        track: of captions: the language as yt-dlp names it; `auto-translated` where the name says that; None: unnamed.
        format: of captions: one of `caption_tracks.FORMATS`.
        manual: of captions: whether the name says that people wrote them.
        bytes: size.
        modified_ns: nanoseconds since 1970.
    """

    path: Path
    kind: Literal["info", "captions"]
    stem: str
    track: str | None
    format: str | None
    manual: bool
    bytes: int
    modified_ns: int

    @property
    def video_id(self) -> str | None:
        return video_id_of(self.stem)


def find(roots: Sequence[Path]) -> list[FoundFile]:
    """Return the files below these folders that belong to videos, sorted by path, each once.

    Hidden and unfinished files are passed over, and so is one that goes away meanwhile.

    Raises:
        UserError: a folder does not exist or may not be listed.
    """
    paths = {path for root in roots for path in _below(root)}
    return [found for path in sorted(paths) if (found := described(path)) is not None]


def _below(root: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"cannot list {error.filename}: {error.strerror}; grant read permission or correct the folder")

    found = []
    for folder, inner, names in os.walk(root, onerror=refuse):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(folder) / name for name in names if not name.startswith(".")]
    return found


def described(path: Path) -> FoundFile | None:
    """Return what a file's name says; None for one that belongs to no video, is unfinished, or is gone."""
    name = path.name
    if name.endswith(_UNFINISHED):
        return None
    for ending in (INFO_ENDING, FEED_ENDING):
        if name.endswith(ending):
            return _measured(path, "info", name.removesuffix(ending))
    bare, _, form = name.rpartition(".")
    if form not in FORMATS or not bare:
        return None
    stem, track, manual = name_parts(bare)
    return _measured(path, "captions", stem, track, form, manual)


def _measured(
    path: Path,
    kind: Literal["info", "captions"],
    stem: str,
    track: str | None = None,
    form: str | None = None,
    manual: bool = False,
) -> FoundFile | None:
    try:
        held = path.stat()
    except FileNotFoundError:
        return None  # gone since it was listed, or a link to nothing
    return FoundFile(path, kind, stem, track, form, manual, held.st_size, held.st_mtime_ns)


def name_parts(bare: str) -> tuple[str, str | None, bool]:
    """Cut a caption file's name without ending into stem, track, and whether it says `manual`.

    A title may hold dots too, so only what reads as a language, or says how captions were made, is cut off.
    """
    stem, track, said = bare, None, ""
    while True:
        rest, dot, last = stem.rpartition(".")
        if dot and rest and last in _KINDS and not said:
            stem, said = rest, last
        elif dot and rest and track is None and _TRACK.fullmatch(last):
            stem, track = rest, last
        else:
            break
    return stem, said if said == "auto-translated" else track, said == _MANUAL


def video_id_of(stem: str) -> str | None:
    """Return the id that a name ends with in square brackets, or that it consists of."""
    if VIDEO_ID.fullmatch(stem):
        return stem
    found = _BRACKETED_ID.search(stem)
    return found.group(1) if found else None


def blank(folder: Path, gone: Collection[str]) -> int:
    """Blank what a folder of ours holds of videos that are gone: captions go, of an info.json the bare facts stay.

    Returns how many files were changed. Folders that users brought are not for this.
    """
    changed = 0
    for found in find([folder]) if gone and folder.is_dir() else ():
        if found.video_id not in gone:
            continue
        if found.kind == "captions":
            found.path.unlink(missing_ok=True)
            changed += 1
        else:
            changed += _blank_info(found.path)
    return changed


def _blank_info(path: Path) -> bool:
    try:
        held = json.loads(path.read_bytes())
    except ValueError:
        held = {}  # it could not be read before either; nothing of it stays
    kept = {name: held[name] for name in KEPT if name in held} if isinstance(held, dict) else {}
    if kept == held:
        return False
    write_whole(path, json.dumps(kept, separators=(",", ":")).encode())
    return True

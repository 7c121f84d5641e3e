"""Which of the caption tracks of a video is read.

Belongs here: what the name of a track says, and the order of preference. Does not belong here: what a file says
(`captions.py`), which tracks there are (`youtube_files.py`, `youtube_info.py`).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Best first: json3 and srv3 hold every word once, vtt and srt repeat it.
FORMATS = ("json3", "srv3", "vtt", "srt")

# As yt-dlp names tracks: a language, then regions, scripts, `orig`, or the id of one of several manual tracks.
_TRACK_NAME = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9_]*)*")
# A second language in lower case is what was translated from: nl-en is Dutch made from English; en-GB is a region.
_TRANSLATED_FROM = re.compile(r"[a-z]{2,3}")
_ORIGINAL = "-orig"
_ENGLISH = "en"


@dataclass(frozen=True)
class Track:
    """One caption file that a video has: `en`, `en-orig`, `nl-en`, `live_chat`, as yt-dlp names them."""

    name: str
    format: str
    manual: bool


def choose_track(tracks: Sequence[Track], language: str | None) -> Track | None:
    """Return the track to read: people's before recognised, the best format; None if only translations are left.

    `language` is that of the video. Where it is None, the automatic tracks tell it: the one marked as original, else
    the only one. Order: manual in that language (exactly, then any region of it), manual English, automatic in that
    language. The result does not depend on the order of `tracks`.
    """
    known = [track for track in tracks if _is_caption(track.name, language)]
    originals = {_base(track.name) for track in known if not track.manual and track.name.endswith(_ORIGINAL)}
    spoken = language or _spoken(known)
    usable = [track for track in known if track.format in FORMATS]
    manual = [track for track in usable if track.manual]
    for wanted in filter(None, (spoken, _ENGLISH)):
        found = [track for track in manual if _base(track.name) == _base(wanted)]
        if found:
            return min(found, key=lambda track: _preference(track, wanted))
    # Beside a marked original in another language, a plain track of this language was translated from it.
    if spoken is None or (originals and _base(spoken) not in originals):
        return None
    heard = [track for track in usable if not track.manual and _base(track.name) == _base(spoken)]
    marked = [track for track in heard if track.name.endswith(_ORIGINAL)]
    plain = [track for track in heard if track.name.casefold() in (spoken.casefold(), _base(spoken))]
    return min(marked or plain, key=lambda track: _preference(track, spoken), default=None)


def _is_caption(name: str, language: str | None) -> bool:
    if not _TRACK_NAME.fullmatch(name):
        return False
    if language is not None and name.casefold() == language.casefold():  # pt-br of a video in pt-br is no translation
        return True
    return not any(_TRANSLATED_FROM.fullmatch(part) for part in name.split("-")[1:])


def _spoken(tracks: Iterable[Track]) -> str | None:
    """What the automatic tracks say that the video's language is; None if they do not agree on one."""
    names = {track.name for track in tracks if not track.manual}
    marked = {name.removesuffix(_ORIGINAL) for name in names if name.endswith(_ORIGINAL)}
    told = marked or names
    return told.pop() if len(told) == 1 else None


def _base(name: str) -> str:
    return name.split("-", 1)[0].casefold()


def _preference(track: Track, wanted: str) -> tuple[int, int, str]:
    name = track.name.removesuffix(_ORIGINAL).casefold()
    closeness = 0 if name == wanted.casefold() else 1 if name == _base(wanted) else 2
    return closeness, FORMATS.index(track.format), track.name

"""transcripts: the one caption track of each video that is read, or what it waits for.

Belongs here: choosing and reading a video's captions, from files first and from YouTube where that is switched on.
Does not belong here: dialects and the choice among tracks (`magpie/sources/captions.py`), waiting times
(`caption_states.py`).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from magpie.fetches import Fetch
from magpie.sources.captions import BadCaptions, Line, Track, choose_track, read_captions
from magpie.videos.caption_states import CAPTIONS, WHOLE_SOURCE, Patience, State, absent, after_visits, due
from magpie.videos.tables import TRANSCRIPTS


@dataclass(frozen=True)
class CaptionFile:
    """A file of one video and the track it holds."""

    path: Path
    track: Track


@dataclass(frozen=True)
class Visited:
    """What asking YouTube about one video brought: the log's entry, and files if there were captions."""

    fetch: Fetch
    files: tuple[CaptionFile, ...] = ()


@dataclass
class Shelf:
    """Where captions come from: files, and YouTube behind them.

    Attributes:
        files: by video_id.
        visits: what YouTube said so far, oldest first, by video_id.
        visit: asks YouTube about one video (video_id, language); None: it is not to be asked.
        resting: why it is not to be asked at the moment, until when.
    """

    files: Mapping[str, Sequence[CaptionFile]]
    visits: Mapping[str, Sequence[Fetch]] = field(default_factory=dict)
    visit: Callable[[str, str], Visited] | None = None
    resting: State | None = None


def transcripts(
    videos: pl.DataFrame, shelf: Shelf, language: str, patience: Patience, now: Callable[[], datetime]
) -> pl.DataFrame:
    """Return the transcripts of the ok videos, in the columns of `transcripts`.

    Args:
        videos: rows of `videos` of one channel.
        language: what is spoken where a video does not say.
    """
    told = videos.filter(pl.col("status") == "ok").sort("published_at", "video_id", nulls_last=True)
    rows = [
        {
            **{name: video[name] for name in ("video_id", "channel_id", "day")},
            **_transcript(video, shelf, video["language"] or language, patience, now),
        }
        for video in told.iter_rows(named=True)
    ]
    return TRANSCRIPTS.shaped(pl.DataFrame(rows, schema=TRANSCRIPTS.dtypes))


def _transcript(
    video: Mapping[str, Any], shelf: Shelf, language: str, patience: Patience, now: Callable[[], datetime]
) -> dict[str, Any]:
    files = shelf.files.get(video["video_id"], ())
    held, problem = _read(files, language)
    if held:
        return held
    anchor = video["ended_at"] or video["published_at"] or video["first_seen_at"]
    if shelf.visit is None:
        return _told(problem or absent(anchor, now(), patience))
    visits = tuple(shelf.visits.get(video["video_id"], ()))
    lost = bool(visits) and visits[-1].outcome == CAPTIONS and not files
    if lost or due(anchor, visits, patience, now()):
        if shelf.resting is not None:
            return _told(shelf.resting)
        visited = shelf.visit(video["video_id"], language)
        held, fresh = _read(visited.files, language)
        if held:
            return held
        problem = fresh or problem
        visits = (*visits, visited.fetch)
        if visited.fetch.outcome in WHOLE_SOURCE:
            shelf.resting = after_visits(anchor, visits, patience)
    state = after_visits(anchor, visits, patience)
    # A file that cannot be read is the end of it only where YouTube has nothing better to come.
    return _told(problem if problem and state.status == "failed" else state)


def _read(files: Sequence[CaptionFile], language: str) -> tuple[dict[str, Any] | None, State | None]:
    """The best track that holds text; else, where files could not be read, what is wrong with the best of them."""
    # Archive and Magpie's own folder may both hold a track.
    left = list(files)
    problem: State | None = None
    while (track := choose_track([file.track for file in left], language)) is not None:
        file = next(file for file in left if file.track == track)
        left.remove(file)
        try:
            lines = read_captions(file.path.read_bytes(), track.format)
        except (BadCaptions, OSError) as error:
            # An error of the system would tell the whole path.
            told = error.strerror if isinstance(error, OSError) else error
            problem = problem or State("failed", "bad_captions", None, f"{file.path.name}: {told}"[:500])
            continue
        if lines:
            return _ok(track, lines, language), None
    return None, problem


def _ok(track: Track, lines: Sequence[Line], language: str) -> dict[str, Any]:
    text = " ".join(line.text for line in lines)
    return {
        "status": "ok",
        "language": track.name.removesuffix("-orig") or language,
        "caption_source": "captions_manual" if track.manual else "captions_auto",
        "track": track.name,
        "format": track.format,
        "raw_text": text,
        "segments": [{"start_s": line.start_s, "end_s": line.end_s, "text": line.text} for line in lines],
        "word_count": len(text.split()),
        "transcript_hash": hashlib.sha256(" ".join(text.split()).encode()).hexdigest(),
    }


def _told(state: State) -> dict[str, Any]:
    names = ("status", "reason", "not_before", "observed", "threshold")
    return {name: getattr(state, name) for name in names}

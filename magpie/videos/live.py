"""Asking YouTube on behalf of the settings: the source behind assets and commands, and older uploads of a channel.

Belongs here: putting files, log and client together, and which uploads a backfill visits. Does not belong here: asking
and recording (`magpie/sources/youtube_live.py`), what becomes of the files (`stages.py`), the poll of feeds
(`Source.poll`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.fetches import Fetches
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.sources.youtube_files import INFO_ENDING
from magpie.sources.youtube_info import read_info
from magpie.sources.youtube_live import SOURCE, VISIT, Visit, YouTube
from magpie.sources.youtube_verdicts import WHOLE_SOURCE, Outcome
from magpie.utc import utc_now
from magpie.videos.settings import Channel
from magpie.videos.stages import Source
from magpie.videos.tables import VIDEO_FILES

# Outcomes of a visit that say nothing of the video, so it is still to be visited.
UNANSWERED: tuple[Outcome, ...] = (*WHOLE_SOURCE, "transport")


@dataclass(frozen=True)
class Backfill:
    """What a look at a channel's older uploads came to.

    Attributes:
        listed: uploads that were looked through, the newest first.
        known: those of them that had been seen before.
        visits: in that order.
        left: uploads that were chosen and then not visited.
        stopped: the refusal that ended it early, None if nothing did.
        until: when the source may be asked again, where it rests.
        too_old: the day on which the video came out that is older than the channel is followed; the rest is older.
    """

    listed: int
    known: int
    visits: tuple[Visit, ...]
    left: int
    stopped: Outcome | None
    until: datetime | None
    too_old: date | None


Report = Callable[[int, int, Visit], None]


def source_of(
    settings: Settings,
    lake: Lake,
    control: Control,
    *,
    clock: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    **client: Any,
) -> Source:
    """Return files and, where `videos.live` is on, YouTube behind them; constructing it opens nothing.

    Args:
        client: of `YouTube`, for tests: params and handlers.
    """
    fetches = Fetches(control)
    live = settings.videos.live
    youtube = YouTube(settings.live_videos, fetches, clock=clock, sleep=sleep, **client) if live else None
    return Source(settings, lake, control, youtube, clock)


def backfill(source: Source, channel: Channel, most: int, report: Report = lambda done, of, visit: None) -> Backfill:
    """Visit uploads of a channel that are not known yet, the newest first.

    Ends with `most` visits, with a refusal of the source as a whole, or with the first video that came out before the
    channel is followed (`since`, `start_day`).

    Args:
        report: told after each visit: how many are done, of how many, and the visit.

    Raises:
        UserError: YouTube is not to be asked, gave no list of uploads, or files cannot be written.
    """
    youtube = source.youtube
    if youtube is None:
        raise UserError("videos.live is off, so YouTube is not asked; set it to true in magpie.yaml")
    listed, known = _listed(source, youtube, channel, most)
    chosen = [video_id for video_id in listed if video_id not in known][:most]
    first = max(source.settings.videos_start_day, channel.since or date.min)
    visits: list[Visit] = []
    stopped: Outcome | None = None
    too_old: date | None = None
    for video_id in chosen:
        visits.append(youtube.visit(video_id, channel.channel_id, channel.language))
        report(len(visits), len(chosen), visits[-1])
        stopped = visits[-1].outcome if visits[-1].outcome in WHOLE_SOURCE else None
        day = _published(visits[-1])
        too_old = day if day is not None and day < first else None
        if stopped or too_old:
            break
    rest = source.fetches.cooling(SOURCE, source.clock())
    return Backfill(
        listed=len(listed),
        known=sum(video_id in known for video_id in listed),
        visits=tuple(visits),
        left=len(chosen) - len(visits),
        stopped=stopped,
        until=rest.until if rest else None,
        too_old=too_old,
    )


def _listed(source: Source, youtube: YouTube, channel: Channel, most: int) -> tuple[list[str], set[str]]:
    """A channel's newest uploads, so many that `most` of them are not known if there are as many, and those known."""
    known = _in_files(source.lake, channel)
    # Of so many at least `most` are in no file; a list of thousands takes long and is asked for in vain.
    limit = len(known) + most
    while True:
        listed = youtube.playlist(channel.channel_id, limit=limit)
        known |= _answered(source.fetches, listed)
        fresh = sum(video_id not in known for video_id in listed)
        if fresh >= most or len(listed) < limit:
            return listed, known
        limit += most - fresh


def _in_files(lake: Lake, channel: Channel) -> set[str]:
    mine = lake.read(VIDEO_FILES).filter(pl.col("channel_id") == channel.channel_id)
    return set(mine.select("video_id").drop_nulls().collect()["video_id"])


def _answered(fetches: Fetches, video_ids: Sequence[str]) -> set[str]:
    """Those that YouTube said something about when they were visited."""
    visits = fetches.of(SOURCE, video_ids, VISIT)
    return {video_id for video_id, past in visits.items() if past[-1].outcome not in UNANSWERED}


def _published(visit: Visit) -> date | None:
    info = next((path for path in visit.files if path.name.endswith(INFO_ENDING)), None)
    moment = read_info(info).published_at if info else None
    return moment.date() if moment else None

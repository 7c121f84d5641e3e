"""What a video without captions waits for, and until when.

Belongs here: from when a video came out and what was said when it was asked for, to a state. Does not belong here:
asking (`magpie/sources/youtube_live.py`), files (`transcripts.py`).

Captions come late, to premieres by days; so their absence is looked at again at fixed hours after publication, and
only what is still missing after the last of them has failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from magpie.fetches import Fetch
from magpie.llm.refusal import TRANSPORT_S
from magpie.videos.settings import Videos

CAPTIONS, ABSENT = "captions", "no_captions"
FINAL = ("restricted", "private", "deleted")
# An address that is blocked and a token that is asked for do not go away by trying: an hour, six, then a day.
REFUSAL_S = (3600, 6 * 3600, 24 * 3600)
# The pause after which a burst is usually forgiven is a minute; a quarter of an hour errs on the polite side.
COOL_S = (15 * 60,)
_WAITS: dict[str, tuple[int, ...]] = {
    "source_blocked": REFUSAL_S,
    "po_token_required": REFUSAL_S,
    "cooling_down": COOL_S,
    "transport": TRANSPORT_S,
}
# What says nothing of the video: asked again later, it may be anything.
PASSING = frozenset(_WAITS)
# What says nothing of the video but of the source: the next one would be told the same.
WHOLE_SOURCE = ("source_blocked", "cooling_down")


@dataclass(frozen=True)
class State:
    """The fate of a transcript."""

    status: str
    reason: str
    not_before: datetime | None = None
    observed: str | None = None
    threshold: str | None = None


@dataclass(frozen=True)
class Patience:
    """When absent captions are looked for again."""

    retry_hours: tuple[int, ...]
    cache_days: int
    poll: timedelta

    @classmethod
    def of(cls, settings: Videos) -> "Patience":
        poll = timedelta(seconds=settings.poll_seconds)
        return cls(settings.caption_retry_hours, settings.no_captions_cache_days, poll)

    @property
    def last(self) -> timedelta:
        return timedelta(hours=self.retry_hours[-1])


def absent(anchor: datetime, looked_at: datetime, patience: Patience) -> State:
    """The state of a video that had no captions when it was looked at.

    What is told of it is the last look that was due, so that looking again before the next one says the same.

    Args:
        anchor: when it came out: publication, the end of a stream, or when it was first seen.
    """
    past = [hours for hours in patience.retry_hours if anchor + timedelta(hours=hours) <= looked_at]
    observed, last = f"{past[-1] if past else 0} h", f"{patience.retry_hours[-1]} h"
    if looked_at >= anchor + patience.last:
        return State("failed", ABSENT, None, observed, last)
    return State("pending", "awaiting_captions", _next_look(anchor, looked_at, patience), observed, last)


def _next_look(anchor: datetime, looked_at: datetime, patience: Patience) -> datetime:
    looks = (anchor + timedelta(hours=hours) for hours in patience.retry_hours)
    return next(look for look in looks if look > looked_at)


def after_visits(anchor: datetime, visits: Sequence[Fetch], patience: Patience) -> State:
    """The state that the last of some visits left a video in.

    Args:
        visits: oldest first, at least one.
    """
    last = visits[-1]
    if last.outcome in FINAL:
        return State("rejected", last.outcome, None, last.detail)
    if last.outcome in ("upcoming", "live_now"):
        return State("pending", last.outcome, last.at + patience.poll, last.detail)
    if last.outcome in _WAITS:
        waits = _WAITS[last.outcome]
        times = sum(1 for _ in takewhile(lambda visit: visit.outcome == last.outcome, reversed(visits)))
        wait = timedelta(seconds=waits[min(times, len(waits)) - 1])
        return State("pending", last.outcome, last.at + wait, last.detail)
    return absent(anchor, last.at, patience)


def due(anchor: datetime, visits: Sequence[Fetch], patience: Patience, now: datetime) -> bool:
    """Whether the source should be asked about a video, for the first time or again."""
    if not visits:
        return True
    state = after_visits(anchor, visits, patience)
    if state.status == "failed":
        return now >= visits[-1].at + timedelta(days=patience.cache_days)
    return state.not_before is not None and now >= state.not_before

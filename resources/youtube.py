"""Where videos come from, as a resource.

Belongs here: which client stands behind the settings. Does not belong here: what it does (`magpie/sources`).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from magpie.control import Control
from magpie.fetches import Fetches
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.sources.youtube_live import YouTube
from magpie.videos.stages import Source


def utc_now() -> datetime:
    return datetime.now(UTC)


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
    return Source(settings, lake, fetches, youtube, clock)

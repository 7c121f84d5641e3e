"""Keeping the lake small and deletions final.

Belongs here: when old versions go, and blanking what is deleted outside the tables. Does not belong here: making
tombstones in tables (each product's rules, on the next materialisation).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from magpie.control import Control
from magpie.lake import VACUUM_RETENTION, Lake
from magpie.llm.journal import purge, row_refs_of
from magpie.llm.store import Store
from magpie.memes.forgetting import Forgotten
from magpie.memes.logs import MODERATION
from magpie.persona.forgetting import Forgotten as ForgottenPosts
from magpie.persona.logs import DELETIONS
from magpie.sources.reddit_landing import Landing
from magpie.sources.youtube_files import blank
from magpie.tables import Table
from magpie.videos.listing import GONE_VIDEO
from magpie.videos.tables import VIDEOS

# Weekly on this day (0 is Monday) while no deletion waits.
VACUUM_WEEKDAY = 6


@dataclass(frozen=True)
class Maintenance:
    """What was done."""

    vacuumed: bool
    files_removed: int
    parts_blanked: int
    video_files_blanked: int
    answers_blanked: int
    memes: Forgotten
    persona: ForgottenPosts
    waiting_days: float | None

    @property
    def summary(self) -> str:
        done = f"{self.files_removed} old files removed" if self.vacuumed else "no vacuum due"
        files = f"{self.parts_blanked} landed parts, {self.video_files_blanked} files of videos"
        line = f"{done}, {files} and {self.answers_blanked} journalled answers blanked"
        if self.memes != Forgotten():
            line = f"{line}; of memes {self.memes.summary}"
        if self.persona != ForgottenPosts():
            line = f"{line}; of persona {self.persona.summary}"
        if self.waiting_days is None:
            return line
        return f"{line}, the oldest deletion still in old versions is {self.waiting_days:.1f} days old"


def waiting_days(control: Control, now: datetime) -> float | None:
    """Return the age in days of the oldest deletion that old table versions may still hold; None if there is none."""
    asked = (MODERATION.read(control, action="purge"), DELETIONS.read(control))
    detected = pl.concat([control.deleted()["detected_at"], *(log["at"].rename("detected_at") for log in asked)])
    recent = detected.filter(detected > now - 2 * VACUUM_RETENTION)
    oldest = recent.min()
    return (now - oldest).total_seconds() / 86_400 if isinstance(oldest, datetime) else None


def run(
    lake: Lake,
    control: Control,
    landing: Landing,
    live_videos: Path,
    tables: Iterable[Table],
    *,
    now: datetime,
    forget_memes: Callable[[], Forgotten] = Forgotten,
    forget_posts: Callable[[], ForgottenPosts] = ForgottenPosts,
) -> Maintenance:
    """Blank what is deleted outside the tables; vacuum if it is the weekday for it or deletions wait.

    Args:
        live_videos: where files that were fetched from YouTube are kept.
        forget_memes: removes what is kept of memes that people asked to have deleted (`memes/forgetting.py`).
        forget_posts: the same of posts and replies that a bot reads (`persona/forgetting.py`).
    """
    deleted = control.deleted()
    blanked = landing.purge(deleted) + landing.purge_live(deleted)
    gone = deleted.filter(deleted["kind"] == "post")["fullname"].unique().to_list()
    videos = gone_videos(lake, deleted)
    video_files = blank(live_videos, videos)
    answers = purge_answers(control, gone, videos)
    waiting = waiting_days(control, now)
    due = waiting is not None or now.weekday() == VACUUM_WEEKDAY
    removed = sum(lake.vacuum(table) for table in tables) if due else 0
    return Maintenance(due, removed, blanked, video_files, answers, forget_memes(), forget_posts(), waiting)


def gone_videos(lake: Lake, deleted: pl.DataFrame) -> list[str]:
    """Videos that were found to be gone, without those that were seen again since."""
    noted = deleted.filter(pl.col("kind") == GONE_VIDEO)["fullname"].unique()
    back = lake.read(VIDEOS).filter((pl.col("status") == "ok") & pl.col("video_id").is_in(noted.implode()))
    return sorted(set(noted) - set(back.select("video_id").collect()["video_id"]))


def purge_answers(control: Control, row_refs: list[str], videos: list[str]) -> int:
    """Blank what models said about posts and parts of videos whose source is gone; return how many answers."""
    if not row_refs and not videos:
        return 0
    store = Store(control)
    try:
        return store.write(lambda c: purge(c, [*row_refs, *row_refs_of(c, videos)]))
    finally:
        store.close()

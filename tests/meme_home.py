"""The tables of memes made from files without an orchestrator, as a run makes them.

Belongs here: what several test files need of it. Does not belong here: tests.
"""

from collections.abc import Collection
from datetime import date, datetime

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.engine import engine_of
from magpie.lake import Lake
from magpie.memes import logs
from magpie.memes import tables as t
from magpie.memes.stages import Curator
from magpie.settings import Settings
from magpie.tables import Partitions

TABLES = (t.MEME_POSTS, t.MEMES, t.MEME_MEDIA, t.MEME_DESCRIPTIONS, t.MEME_DUPLICATES, t.MEME_STATUS)


def make_memes(settings: Settings, control: Control, days: Collection[date], now: datetime) -> None:
    """Files, sources, and the tables of all platforms on these days, as far as their states."""
    lake, blobs = Lake(settings.lake_root), Blobs(settings.blobs)
    curator = Curator(settings, lake, control, blobs, None, lambda: now)
    files = curator.meme_files()
    lake.write(t.MEME_FILES, files, Partitions.whole())
    lake.write(t.MEME_SOURCES, curator.meme_sources(files), Partitions.whole())
    asked = Partitions({platform: frozenset(days) for platform in t.PLATFORMS})
    posts = curator.meme_posts(asked)
    memes = curator.memes(posts, sorted(days))
    media = curator.meme_media(memes, posts, lake.read(t.MEME_MEDIA, asked).collect())
    engine, stored = engine_of(settings, control, env={}), lake.read(t.MEME_DESCRIPTIONS, asked).collect()
    told, _ = curator.meme_descriptions(engine, None, lambda state: None, memes, media, stored)
    compared = curator.meme_duplicates(memes, media, told)
    status = curator.meme_status(memes, media, told, compared)
    for table, rows in zip(TABLES, (posts, memes, media, told, compared, status), strict=True):
        lake.write(table, rows, asked)


def make_ratings(settings: Settings, control: Control, days: Collection[date], now: datetime) -> None:
    """Reactions and what they add up to."""
    lake, blobs = Lake(settings.lake_root), Blobs(settings.blobs)
    curator = Curator(settings, lake, control, blobs, None, lambda: now)
    asked = Partitions.days(days)
    lake.write(t.MEME_REACTIONS, curator.meme_reactions(days), asked)
    rated = curator.statistics()
    lake.write(t.MEME_STATS, rated.meme_stats(days), asked)
    lake.write(t.SOURCE_STATS, rated.source_stats(days), asked)
    lake.write(t.MEME_MODERATION, logs.MODERATION.read(control), Partitions.whole())

"""Asset checks of videos: none blocks, each names the partitions or channels it speaks of.

Belongs here: which finding is a check of which table, and how severe. Does not belong here: what a finding is
(`magpie/videos/quality.py`) and how a check is wired (`table_check.py`).
"""

import dagster as dg

from assets.partitions import channel_days_from
from assets.table_check import Facts, of_tables, table_check
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.utc import utc_now
from magpie.videos import quality
from magpie.videos import tables as t

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Return the checks of videos under these settings."""
    days = channel_days_from(settings.videos_start_day)
    checks = [
        (t.VIDEO_ANALYSES, "one_active_version", ERROR, of_tables(quality.one_active_version)),
        (t.STOCK_MENTIONS, "mentions_have_analyses", ERROR, of_tables(quality.mentions_have_analyses)),
        (t.VIDEO_ANALYSES, "costs_are_booked", ERROR, _booked),
        (t.PICK_OUTCOMES, "alpha_recomputes", ERROR, of_tables(quality.alpha_recomputes)),
        (t.STOCK_MENTIONS, "quotes_grounded", WARN, of_tables(quality.quotes_grounded)),
        (t.STOCK_MENTIONS, "symbols_known", WARN, of_tables(quality.symbols_known)),
        (t.STOCK_MENTIONS, "symbols_match", WARN, of_tables(quality.symbols_match)),
        (t.STOCK_MENTIONS, "times_right", WARN, of_tables(quality.times_right)),
        (t.TRANSCRIPTS, "captions_there", WARN, of_tables(quality.captions_there)),
        (t.VIDEO_ANALYSES, "videos_have_picks", WARN, of_tables(quality.videos_have_picks)),
        (t.VIDEO_ANALYSES, "pending_videos", WARN, of_tables(quality.pending_videos(utc_now))),
        (t.VIDEO_SEGMENTS, "segments_cover", WARN, of_tables(quality.segments_cover)),
        (t.VIDEOS, "channels_publish", WARN, _publish),
    ]
    return [
        table_check(table, name, quality.DESCRIPTIONS[name], severity, judge, days)
        for table, name, severity, judge in checks
    ]


def _booked(facts: Facts) -> Finding:
    return quality.costs_are_booked(facts.lake, facts.partitions, facts.store)


def _publish(facts: Facts) -> Finding:
    return quality.channels_publish(facts.settings, facts.lake, facts.now)

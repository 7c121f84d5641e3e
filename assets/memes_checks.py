"""Asset checks of memes: none blocks, each names what it speaks of and says what to do.

Belongs here: which finding is a check of which table, and how severe. Does not belong here: what a finding is
(`magpie/memes/quality.py`) and how a check is wired (`table_check.py`). Keys need no check: the lake refuses rows whose
key repeats or is null, before anything is committed.
"""

import dagster as dg

from assets.partitions import days_through_today, platform_days_from
from assets.table_check import Facts, Judge, of_tables, table_check
from magpie.blobs import Blobs
from magpie.engine import limits_of
from magpie.memes import quality
from magpie.memes import tables as t
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Table

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Return the checks of memes under these settings."""
    platform_days = platform_days_from(settings.memes_start_day)
    days = days_through_today(settings.memes_start_day)
    checks: list[tuple[Table, str, dg.AssetCheckSeverity, Judge]] = [
        (t.MEME_POSTS, "published_within_day", ERROR, of_tables(quality.published_within_day(t.MEME_POSTS))),
        (t.MEMES, "published_within_day", ERROR, of_tables(quality.published_within_day(t.MEMES))),
        (t.MEME_STATUS, "media_are_there", ERROR, _media),
        (t.MEME_DUPLICATES, "copies_have_roots", ERROR, of_tables(quality.copies_have_roots)),
        (t.MEME_STATUS, "copies_are_resolved", ERROR, of_tables(quality.copies_are_resolved)),
        (t.MEME_DESCRIPTIONS, "only_free_models", ERROR, _free),
        (t.MEME_DESCRIPTIONS, "quota_kept", ERROR, _quota),
        (t.RECOMMENDATION_QUEUES, "queues_do_not_repeat", ERROR, of_tables(quality.queues_do_not_repeat)),
        (t.MEME_REACTIONS, "sent_once", WARN, of_tables(quality.sent_once)),
        (t.MEME_STATUS, "ok_share", WARN, of_tables(quality.ok_share)),
        (t.MEMES, "memes_arrive", WARN, _arrive),
        (t.MEME_POSTS, "views_are_told", WARN, of_tables(quality.views_are_told)),
        (t.MEME_STATS, "stats_fresh", WARN, _fresh),
        (t.MEME_STATS, "metrics_steady", WARN, _steady),
    ]
    return [
        table_check(
            table,
            name,
            quality.DESCRIPTIONS[name],
            severity,
            judge,
            platform_days if "platform" in table.dimensions else days,
        )
        for table, name, severity, judge in checks
    ]


def _media(facts: Facts) -> Finding:
    return quality.media_are_there(facts.lake, facts.partitions, Blobs(facts.settings.blobs))


def _free(facts: Facts) -> Finding:
    return quality.only_free_models(facts.store, facts.now)


def _quota(facts: Facts) -> Finding:
    return quality.quota_kept(facts.store, limits_of(facts.settings), facts.now)


def _arrive(facts: Facts) -> Finding:
    return quality.memes_arrive(facts.settings, facts.lake, facts.now)


def _fresh(facts: Facts) -> Finding:
    return quality.stats_fresh(facts.lake, facts.now)


def _steady(facts: Facts) -> Finding:
    return quality.metrics_steady(facts.settings, facts.lake, facts.now)

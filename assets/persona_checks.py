"""Asset checks of persona: none blocks, each names what it speaks of and says what to do.

Belongs here: which finding is a check of which table, and how severe. Does not belong here: what a finding is
(`magpie/persona/quality.py` and `quality_figures.py`) and how a check is wired (`table_check.py`). Keys need no check:
the lake refuses rows whose key repeats or is null, before anything is committed.
"""

import dagster as dg

from assets.partitions import BLOGS, blog_days_from
from assets.table_check import Facts, Judge, of_tables, table_check
from magpie.persona import quality
from magpie.persona import quality_figures as figures
from magpie.persona import tables as t
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Table

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
DESCRIPTIONS = {**quality.DESCRIPTIONS, **figures.DESCRIPTIONS}
MODELS = (t.SELECTOR_MODEL, t.AUTOREVIEW_MODEL)


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Return the checks of persona under these settings."""
    blog_days = blog_days_from(settings.persona_start_day)
    daily: list[tuple[Table, str, dg.AssetCheckSeverity, Judge]] = [
        (t.THREADS, "threads_parse", ERROR, of_tables(figures.threads_parse)),
        (t.PERSONA_INBOX, "inputs_answered", WARN, _answered),
        (t.CANDIDATES, "texts_wanted", ERROR, _with_settings(quality.texts_wanted)),
        (t.MOOD_INPUTS, "kicks_once", ERROR, of_tables(quality.kicks_once)),
        (t.MOOD, "mood_complete", ERROR, of_tables(quality.mood_complete)),
        (t.MOOD, "mood_agrees", ERROR, _with_settings(quality.mood_agrees)),
        (t.DECISIONS, "inputs_are_taken", ERROR, of_tables(quality.inputs_are_taken)),
        (t.DECISIONS, "decided_once", ERROR, of_tables(quality.decided_once)),
        (t.DECISIONS, "explore_share", WARN, _with_settings(figures.explore_share)),
        (t.DECISIONS, "draft_share", WARN, of_tables(figures.draft_share)),
        (t.RETENTION_SET, "kept_texts_good", ERROR, _with_settings(quality.kept_texts_good)),
        (t.OUTBOX, "posts_as_chosen", ERROR, of_tables(quality.posts_as_chosen)),
        (t.OUTBOX, "posts_fit_to_go", ERROR, _fit),
        (t.OUTBOX, "posts_limited", ERROR, _limited),
        (t.OUTBOX, "sending_resolved", ERROR, _resolved),
        (t.OUTBOX, "reviewers_agree", WARN, _agree),
    ]
    return [
        *(_check(*one, blog_days) for one in daily),
        *(_check(table, "models_tell", WARN, of_tables(figures.models_tell(table)), BLOGS) for table in MODELS),
    ]


def _check(
    table: Table, name: str, severity: dg.AssetCheckSeverity, judge: Judge, every: dg.PartitionsDefinition
) -> dg.AssetChecksDefinition:
    return table_check(table, name, DESCRIPTIONS[name], severity, judge, every)


def _with_settings(finding: quality.SettingsJudge) -> Judge:
    return lambda facts: finding(facts.lake, facts.partitions, facts.settings)


def _answered(facts: Facts) -> Finding:
    return quality.inputs_answered(facts.lake, facts.settings, facts.now)


def _fit(facts: Facts) -> Finding:
    return quality.posts_fit_to_go(facts.lake, facts.partitions, facts.settings, facts.control)


def _limited(facts: Facts) -> Finding:
    return quality.posts_limited(facts.control, facts.settings, facts.now)


def _resolved(facts: Facts) -> Finding:
    return quality.sending_resolved(facts.control, facts.now)


def _agree(facts: Facts) -> Finding:
    return figures.reviewers_agree(facts.lake, facts.partitions, facts.control, facts.now)

"""Asset checks of spending: none blocks.

Belongs here: wiring of `magpie/llm/audit.py` to assets. Does not belong here: what a finding is.
"""

import dagster as dg

from assets.partitions import days_through_today
from assets.table_check import Facts, table_check
from magpie.engine import models_of
from magpie.health import models_in_use
from magpie.llm import audit
from magpie.llm import tables as t
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Return the checks of spending under these settings."""
    error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    days = days_through_today(settings.start_day)
    checks = [
        (t.LLM_CALLS, "books_balance", error, lambda facts: audit.books_balance(facts.store)),
        (t.LLM_CALLS, "all_priced", error, lambda facts: audit.all_priced(facts.store, facts.days)),
        (
            t.LLM_CALLS,
            "reservations_in_time",
            warn,
            lambda facts: audit.reservations_in_time(facts.store, facts.now),
        ),
        (t.LLM_CALLS, "models_last", warn, _models_last),
        (t.SPEND_CAPS, "within_caps", error, _within_caps),
    ]
    return [
        table_check(table, name, audit.DESCRIPTIONS[name], severity, judge, days)
        for table, name, severity, judge in checks
    ]


def _within_caps(facts: Facts) -> Finding:
    caps = facts.lake.read(t.SPEND_CAPS, Partitions.days(facts.days)).collect()
    return audit.within_caps(facts.store, caps)


def _models_last(facts: Facts) -> Finding:
    return audit.models_last(models_of(facts.settings), models_in_use(facts.settings), facts.now.date())

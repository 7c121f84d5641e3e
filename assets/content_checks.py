"""Asset checks of content: none blocks, each names what it speaks of and says what to do.

Belongs here: which finding is a check of which table, and how severe. Does not belong here: what a finding is
(`magpie/content/quality.py`) and how a check is wired (`table_check.py`). Keys need no check: the lake refuses rows
whose key repeats or is null, before anything is committed. That nothing but the gateway asks a provider is a contract
between modules, which the tests of the architecture hold them to.
"""

import dagster as dg

from assets.partitions import site_days_from
from assets.table_check import Facts, Judge, of_tables, table_check
from magpie.content import quality
from magpie.content import tables as t
from magpie.engine import models_of
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Table

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
ASKED = (t.KEYWORD_CLUSTERS, t.CONTENT_IDEAS, t.ARTICLES, t.IMAGE_PROMPTS, t.ARTICLE_IMAGES)


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Return the checks of content under these settings."""
    site_days = site_days_from(settings.content_start_day)
    content = settings.content
    checks: list[tuple[Table, str, dg.AssetCheckSeverity, Judge]] = [
        (t.KEYWORDS, "keywords_once", ERROR, of_tables(quality.keywords_once)),
        (t.KEYWORD_CLUSTERS, "keywords_covered", ERROR, of_tables(quality.keywords_covered)),
        (t.ARTICLES, "articles_normalised", ERROR, of_tables(quality.articles_normalised)),
        (t.ARTICLES, "articles_safe", ERROR, of_tables(quality.articles_safe)),
        (t.IMAGE_PROMPTS, "slots_filled", ERROR, of_tables(quality.slots_filled(t.IMAGE_PROMPTS))),
        (t.ARTICLE_IMAGES, "slots_filled", ERROR, of_tables(quality.slots_filled(t.ARTICLE_IMAGES))),
        (t.ARTICLE_IMAGES, "images_are_there", ERROR, _images),
        *((table, "calls_are_booked", ERROR, _booked(table)) for table in ASKED),
        (t.KEYWORD_CLUSTERS, "clusters_cohere", WARN, of_tables(quality.clusters_cohere(content.embed_model))),
        (t.KEYWORD_CLUSTERS, "keywords_clustered", WARN, of_tables(quality.keywords_clustered)),
        (t.ARTICLES, "answers_structured", WARN, of_tables(quality.answers_structured)),
        (t.ARTICLES, "quality_usual", WARN, of_tables(quality.quality_usual)),
        (t.ARTICLES, "lengths_fit", WARN, of_tables(quality.lengths_fit(content.word_count_tolerance))),
        (t.ARTICLES, "models_last", WARN, _models),
        (t.ARTICLES, "no_placeholders", WARN, of_tables(quality.no_placeholders)),
    ]
    return [
        table_check(table, name, quality.DESCRIPTIONS[name], severity, judge, site_days)
        for table, name, severity, judge in checks
    ]


def _images(facts: Facts) -> Finding:
    return quality.images_are_there(facts.lake, facts.partitions, facts.settings.home)


def _booked(table: Table) -> Judge:
    return lambda facts: quality.calls_are_booked(facts.lake, facts.partitions, table, facts.store)


def _models(facts: Facts) -> Finding:
    return quality.models_last(facts.store, models_of(facts.settings), facts.now)

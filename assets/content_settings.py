"""The settings under which rows of content came about, as their materialisations show them.

Belongs here: which settings decide about which table, and where each value was said. Does not belong here: resolving
them (`magpie/llm/choices.py`, `magpie/content/settings.py`), what else is shown (`content_metadata.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from assets import metadata as md
from magpie.content import tables as t
from magpie.content.cluster_keywords import CLUSTER_KEYWORDS
from magpie.content.generate_article import GENERATE_ARTICLE
from magpie.content.generate_ideas import GENERATE_IDEAS
from magpie.content.image_prompts import IMAGE_PROMPTS_FUNCTION
from magpie.content.settings import Content, Site
from magpie.content.stages import Writer
from magpie.llm.choices import choose
from magpie.llm.spec import FunctionSpec
from magpie.tables import Table

# A run is of one site as a rule; of many, the first tell enough.
SITES = 3
# What each table is asked with.
FUNCTION_OF: Mapping[str, FunctionSpec[Any]] = {
    t.KEYWORD_CLUSTERS.name: CLUSTER_KEYWORDS,
    t.CONTENT_IDEAS.name: GENERATE_IDEAS,
    t.ARTICLES.name: GENERATE_ARTICLE,
    t.IMAGE_PROMPTS.name: IMAGE_PROMPTS_FUNCTION,
}
# The settings that decide about the rows of each table: of a site, and of the section for all sites.
_SIZES = ("featured_size", "desktop_size", "mobile_size", "in_article_size")
SITE_SETTINGS = {
    t.CONTENT_IDEAS.name: ("idea_approval",),
    t.IMAGE_PROMPTS.name: ("image_style", "forbid_names"),
}
SECTION_SETTINGS = {
    t.KEYWORD_CLUSTERS.name: (
        *("embed_model", "cluster_similarity", "min_keywords", "min_cluster_size", "max_cluster_size"),
        "cluster_batch",
    ),
    t.CONTENT_IDEAS.name: ("embed_model", "duplicate_similarity", "ideas_min", "ideas_max"),
    t.ARTICLES.name: (
        *("embed_model", "link_min_cosine", "link_suggestions_max", "word_count_tolerance"),
        "moderation_fail_mode",
    ),
    t.IMAGE_PROMPTS.name: ("max_in_article_images", "desktop_enabled", "mobile_enabled", *_SIZES),
    t.ARTICLE_IMAGES.name: ("image_provider", "image_format"),
}
# Where nothing is set these follow from the embedder.
_FLOORS = {
    "cluster_similarity": "merge_floor",
    "duplicate_similarity": "duplicate_floor",
    "link_min_cosine": "link_floor",
}
# As the settings file names the tiers of the engine.
_TIERS = {"scope": "site", "function": "llm.functions"}


def settings_metadata(writer: Writer, table: Table, sites: Iterable[Site]) -> dict[str, Any]:
    """What decided about the rows of a table, and where each value was said: for a site, for all, or nowhere."""
    rows = [_setting("", name, writer.settings.content) for name in SECTION_SETTINGS.get(table.name, ())]
    for site in list(sites)[:SITES]:
        rows += [_setting(site.id, name, site) for name in SITE_SETTINGS.get(table.name, ())]
        rows += _asked_with(writer, table, site)
    return {"settings_with_source": md.markdown_table(rows)}


def _setting(site: str, name: str, section: Content | Site) -> dict[str, Any]:
    given = name in section.model_fields_set and getattr(section, name) is not None
    tier = "default" if not given else "site" if site else "content"
    return {"site": site, "setting": name, "value": getattr(section, _FLOORS.get(name, name)), "source_tier": tier}


def _asked_with(writer: Writer, table: Table, site: Site) -> list[dict[str, Any]]:
    """How the table's function is asked for a site."""
    spec = FUNCTION_OF.get(table.name)
    if spec is None:
        return []
    scope = writer.scope(spec.name, site, table)
    chosen = choose(spec, {"run": scope.run_choice, "scope": scope.choice, "function": scope.function_choice})
    return [
        {
            "site": site.id,
            "setting": f"{spec.name}.{name}",
            "value": getattr(chosen, name),
            "source_tier": _TIERS.get(tier, tier),
        }
        for name, tier in chosen.source_tiers.items()
    ]

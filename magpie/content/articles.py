"""articles: which ideas are written, and what the answers make of them.

Belongs here: the rows that are asked about, fields within their limits, moderation and quality of an answer. Does not
belong here: what an answer must hold (`generate_article.py`), getting it and moderating (`magpie/llm`), safe HTML
(`normaliser.py`), points (`quality_score.py`), what people change (`article_edits.py`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from magpie.content.asked import OK, facts_of, fate_of, rejected
from magpie.content.generate_article import TAGS_MAX
from magpie.content.links import LinkRules, Near, articles_as_targets, nearest, pages_of, suggestions, topic
from magpie.content.normaliser import (
    META_DESCRIPTION_CHARS,
    META_TITLE_CHARS,
    Normalised,
    first_paragraph,
    normalise,
    one_line,
    plain_text,
    trimmed,
    word_count,
)
from magpie.content.quality_score import Judged, outline_headings, quality
from magpie.content.settings import Content, Site
from magpie.content.tables import ARTICLES
from magpie.llm.refusal import Refused
from magpie.text.embedder import AnyEmbedder, Wait
from magpie.text.tokens import folded

TITLE_CHARS = 200
TAG_CHARS = 60
# Pages that a model is shown; more of them are further away.
LINKS_SHOWN = 10

_OF_IDEA = ("site_id", "day", "title", "content_type", "content_structure", "primary_keyword", "secondary_keywords")
_OF_SITE = ("industry", "audience", "brand_voice", "language")
_TEXTS = ("title", "description", "outline", "content_type", "content_structure", "primary_keyword", "prompt_override")
_KEYWORD = pl.Struct({"keyword_norm": pl.String, "volume": pl.Int64, "intent": pl.String})
INPUTS = pl.Schema(
    {
        **dict.fromkeys(("row_ref", "partition", *_TEXTS), pl.String()),
        **dict.fromkeys(("secondary_keywords", "covered_keywords", "categories"), pl.List(pl.String)),
        "target_word_count": pl.Int64(),
        "keywords": pl.List(_KEYWORD),
        "links": pl.List(pl.Struct({"title": pl.String, "url": pl.String})),
        **dict.fromkeys(("site_name", *_OF_SITE), pl.String()),
    }
)
_NO_ANSWER: Mapping[str, Any] = {
    **{name: [] for name in ("tags", "categories", "quality_flags", "link_suggestions", "moderation_categories")},
    **dict.fromkeys(("cost_usd", "credits", "attempts"), 0),
}


class ModeratedText(Protocol):
    """What moderation says of a text."""

    @property
    def flagged(self) -> bool: ...
    @property
    def categories(self) -> Sequence[str]: ...
    @property
    def provider(self) -> str: ...


# Of a text, and of the row it is of, for the books.
Moderate = Callable[[str, str | None], ModeratedText | Refused]


@dataclass(frozen=True)
class ArticleRules:
    """How far from its target an article's length may be, and which links are suggested."""

    tolerance: float
    links: LinkRules

    @classmethod
    def of(cls, settings: Content) -> "ArticleRules":
        return cls(settings.word_count_tolerance, LinkRules.of(settings))


@dataclass(frozen=True)
class Questions:
    """What is asked (INPUTS), and which ideas wait for the vectors that their links are found by."""

    asked: pl.DataFrame
    waits: Mapping[str, Wait] = field(default_factory=dict)


def to_write(ideas: pl.DataFrame) -> pl.DataFrame:
    """Return the ideas that are written: ok, and nobody has to say yes any more."""
    return ideas.filter((pl.col("status") == "ok") & pl.col("approval").is_in(["auto", "approved"]))


def awaiting(ideas: pl.DataFrame) -> pl.DataFrame:
    """Return the ideas that are written as soon as somebody says yes."""
    held = (pl.col("status") == "ok") | (pl.col("reason") == "awaiting_approval").fill_null(False)
    return ideas.filter(held & (pl.col("approval") == "waiting"))


def question_rows(
    ideas: pl.DataFrame,
    clusters: pl.DataFrame,
    keywords: pl.DataFrame,
    site: Site,
    embedder: AnyEmbedder,
    rules: ArticleRules,
) -> Questions:
    """Return what is asked about the ideas of one site, in the order of their ids.

    Only pages of the settings are shown as targets of links: earlier articles come to be later than an idea of their
    day, and a question that changed with them would be paid for again.

    Args:
        ideas, clusters, keywords: `content_ideas`, `keyword_clusters` and `keywords` of the same partitions.
        embedder: of titles.
    """
    asked = to_write(ideas).sort("idea_id")
    near = nearest(_topics(asked), pages_of(site), embedder, rules.links)
    waits = {idea_id: found for idea_id, found in near.items() if isinstance(found, Wait)}
    links = [
        {
            "idea_id": idea_id,
            "links": [{"title": one.target.title, "url": one.target.ref} for one in found[:LINKS_SHOWN]],
        }
        for idea_id, found in near.items()
        if not isinstance(found, Wait)
    ]
    shown = pl.DataFrame(links, schema={"idea_id": pl.String, "links": INPUTS["links"]})
    members = _keywords_of(clusters, keywords)
    frame = (
        asked.join(shown, on="idea_id", maintain_order="left")
        .join(members, on=["site_id", "day", "sector", "cluster_key"], how="left", maintain_order="left")
        .with_columns(
            pl.col("idea_id").alias("row_ref"),
            pl.format("{}|{}", "site_id", "day").alias("partition"),
            pl.col("estimated_word_count").alias("target_word_count"),
            pl.col("keywords").fill_null([]),
            pl.lit(list(site.categories), pl.List(pl.String)).alias("categories"),
            pl.lit(site.name).alias("site_name"),
            *(pl.lit(getattr(site, name)).alias(name) for name in _OF_SITE),
        )
    )
    return Questions(frame.select(list(INPUTS)).cast(INPUTS), waits)


def _topics(ideas: pl.DataFrame) -> dict[str, str]:
    return {row[0]: topic(row[1], row[2]) for row in ideas.select("idea_id", "title", "primary_keyword").rows()}


def _keywords_of(clusters: pl.DataFrame, keywords: pl.DataFrame) -> pl.DataFrame:
    """The keywords of each cluster, the most searched first."""
    key = ["site_id", "day", "sector", "cluster_key"]
    known = keywords.filter(pl.col("status") == "ok").select(
        *(*key[:3], "keyword_norm", "intent"), pl.coalesce("volume_override", "volume").alias("volume")
    )
    return (
        clusters.select(*key, pl.col("keywords").list.eval(pl.element().struct.field("keyword_norm")))
        .explode("keywords", empty_as_null=False, keep_nulls=False)
        .rename({"keywords": "keyword_norm"})
        .join(known, on=[*key[:3], "keyword_norm"], how="left")
        .sort("volume", "keyword_norm", descending=[True, False], nulls_last=True)
        .group_by(key, maintain_order=True)
        .agg(pl.struct("keyword_norm", "volume", "intent").alias("keywords"))
    )


def articles(
    ideas: pl.DataFrame,
    questions: Questions,
    results: pl.DataFrame,
    earlier: pl.DataFrame,
    site: Site,
    embedder: AnyEmbedder,
    moderate: Moderate,
    rules: ArticleRules,
) -> pl.DataFrame:
    """Return one row per idea that is written or waits for a yes, in the columns of `articles`.

    Args:
        ideas: as given to `question_rows`; results: the engine's row for each question asked.
        earlier: `articles` of days before, to link to.
        moderate: judges a text; a Refused says that nobody can at present.
    """
    answers = {row["row_ref"]: row for row in results.iter_rows(named=True)}
    written = to_write(ideas).sort("idea_id")
    near = nearest(_topics(written), [*pages_of(site), *articles_as_targets(earlier)], embedder, rules.links)
    rows = []
    for idea in written.iter_rows(named=True):
        idea_id = idea["idea_id"]
        if idea_id in questions.waits:
            wait = questions.waits[idea_id]
            rows.append(_unwritten(idea, {**OK, "status": "pending", **vars(wait)}))
        else:
            rows.append(_written(idea, answers[idea_id], near[idea_id], site, moderate, rules))
    waits = {**OK, "status": "pending", "reason": "awaiting_approval", "observed": "waiting", "threshold": "approved"}
    rows += [_unwritten(idea, waits) for idea in awaiting(ideas).iter_rows(named=True)]
    return framed(rows)


def framed(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame in the columns of `articles`; what a row does not say is null."""
    complete = [{name: row.get(name) for name in ARTICLES.dtypes} for row in rows]
    return ARTICLES.shaped(pl.DataFrame(complete, schema=ARTICLES.dtypes)).sort(ARTICLES.sort_by)


def _unwritten(idea: Mapping[str, Any], fate: Mapping[str, Any]) -> dict[str, Any]:
    planned = {**{name: idea[name] for name in _OF_IDEA}, "primary_keyword": idea["primary_keyword"] or ""}
    known = {"article_id": idea["idea_id"], "target_word_count": idea["estimated_word_count"]}
    return {**_NO_ANSWER, **planned, **known, **fate}


def _written(
    idea: Mapping[str, Any],
    result: Mapping[str, Any],
    near: tuple[Near, ...] | Wait,
    site: Site,
    moderate: Moderate,
    rules: ArticleRules,
) -> dict[str, Any]:
    row = {**_unwritten(idea, fate_of(result)), **facts_of(result)}
    if result["status"] != "ok":
        return row
    answer = json.loads(result["value"])
    text = normalise(answer["content"])
    row |= {"content_html": text.html, "source_kind": text.source_kind, "parse_mode": answer["parse_mode"]}
    flags = _named(row, answer, text, site)
    flags += ["offline"] if result["provider"] == "offline" else []
    flags += ["links_waiting"] if isinstance(near, Wait) else []
    row["link_suggestions"] = [] if isinstance(near, Wait) else suggestions(text.leaves, near, rules.links)
    row |= scored(row, text, idea["outline"], flags, rules)
    whole = f"{row['title']}\n{row['meta_title']}\n{row['meta_description']}\n{plain_text(text.leaves)}"
    said = moderate(whole, row["article_id"])
    return row | _judged(said)


def _named(row: dict[str, Any], answer: Mapping[str, Any], text: Normalised, site: Site) -> list[str]:
    """Fill title, meta fields, keywords, tags and categories in; return what was missing or corrected."""
    first = text.leaves[0] if text.leaves else None
    heading = first.text if first and first.tag in ("h2", "h3", "h4") and answer["parse_mode"] == "text" else ""
    title = trimmed(one_line(answer["title"] or heading), TITLE_CHARS)
    meta_title = trimmed(one_line(answer["meta_title"] or ""), META_TITLE_CHARS)
    description = trimmed(one_line(answer["meta_description"] or ""), META_DESCRIPTION_CHARS)
    categories, unknown = categories_of(answer["categories"], site)
    used = _used_keywords(row, answer["secondary_keywords"])
    tags = tags_of(answer["tags"])
    found = {
        "title_defaulted": not title,
        "meta_title_defaulted": not meta_title,
        "meta_description_defaulted": not description,
        "no_primary_keyword": not answer["primary_keyword"],
        "other_primary_keyword": bool(answer["primary_keyword"])
        and folded(answer["primary_keyword"]) != folded(row["primary_keyword"]),
        "no_secondary_keywords": not answer["secondary_keywords"],
        "no_tags": not tags,
        "no_categories": answer["parse_mode"] == "text" and bool(site.categories),
        "categories_dropped": unknown,
        "cut": text.cut,
    }
    title = title or row["title"]
    row |= {
        "title": title,
        "meta_title": meta_title or trimmed(title, META_TITLE_CHARS),
        "meta_description": description or trimmed(first_paragraph(text.leaves), META_DESCRIPTION_CHARS),
        "secondary_keywords": used,
        "tags": tags,
        "categories": categories,
    }
    return [name for name, holds in found.items() if holds]


def _used_keywords(row: Mapping[str, Any], answered: Sequence[str]) -> list[str]:
    """The planned keywords that the answer names, else all that were planned."""
    planned = {folded(phrase): phrase for phrase in row["secondary_keywords"]}
    used = dict.fromkeys(planned[folded(phrase)] for phrase in answered if folded(phrase) in planned)
    return list(used) or list(planned.values())


def tags_of(given: Iterable[str]) -> list[str]:
    """Return tags as plain lines, each once, TAGS_MAX at most."""
    lines = (trimmed(one_line(tag), TAG_CHARS) for tag in given)
    return list({folded(line): line for line in reversed([line for line in lines if line])}.values())[::-1][:TAGS_MAX]


def categories_of(given: Iterable[str], site: Site) -> tuple[list[str], bool]:
    """Return those that the site has, as it spells them, and whether there were others."""
    known = {folded(name): name for name in site.categories}
    asked = [folded(one_line(name)) for name in given]
    return list(dict.fromkeys(known[name] for name in asked if name in known)), any(name not in known for name in asked)


def scored(
    row: Mapping[str, Any], text: Normalised, outline: str, flags: Sequence[str], rules: ArticleRules
) -> dict[str, Any]:
    """Return word_count, quality_score and quality_flags of a row with that text; `flags` come after those of quality.

    Args:
        row: with title, meta fields, primary keyword and target.
        outline: the idea's.
    """
    judged = Judged(
        row["title"],
        row["meta_title"],
        row["meta_description"],
        text.leaves,
        row["primary_keyword"],
        row["target_word_count"],
        outline_headings(outline),
    )
    found = quality(judged, rules.tolerance)
    return {
        "word_count": word_count(text.leaves),
        "quality_score": found.score,
        "quality_flags": list(dict.fromkeys((*found.flags, *flags))),
    }


def _judged(said: ModeratedText | Refused) -> dict[str, Any]:
    """What moderation makes of a row; without a verdict nothing is published."""
    if isinstance(said, Refused):
        waits = {
            "reason": "moderation_unavailable",
            "observed": said.observed or said.reason,
            "not_before": said.not_before,
        }
        return {**OK, "status": "pending", **waits}
    names = sorted(said.categories)
    verdict = {
        "moderation_flagged": said.flagged,
        "moderation_categories": names,
        "moderation_provider": said.provider,
    }
    return {**verdict, **(rejected("moderated", ", ".join(names) or "flagged", "not flagged") if said.flagged else OK)}

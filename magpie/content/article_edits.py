"""What people changed in articles, applied on top of what was written.

Belongs here: edits as decided, held against the same rules as an answer. Does not belong here: taking decisions and
which edits hold (`reviews.py`), what an answer comes to (`articles.py`).

An edited article is not moderated again: that is for what machines write, and a person has read this one.
"""

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from magpie.content.articles import TITLE_CHARS, ArticleRules, categories_of, framed, scored, tags_of
from magpie.content.normaliser import (
    META_DESCRIPTION_CHARS,
    META_TITLE_CHARS,
    normalise,
    one_line,
    plain_text,
    trimmed,
    word_count,
)
from magpie.content.quality_score import POINTS
from magpie.content.settings import Site

_LINES = {"title": TITLE_CHARS, "meta_title": META_TITLE_CHARS, "meta_description": META_DESCRIPTION_CHARS}


def edited(
    written: pl.DataFrame, edits: pl.DataFrame, ideas: pl.DataFrame, site: Site, rules: ArticleRules
) -> pl.DataFrame:
    """Return articles with what people changed in the ok ones: as safe, as long and as scored as any other.

    Args:
        written: `articles`; edits: those that hold (`reviews.edits`), of any articles.
        ideas: `content_ideas` that the articles were written from.
    """
    outlines = dict(ideas.select("idea_id", "outline").iter_rows())
    changes: dict[str, list[str]] = {}
    for article_id, payload in edits.sort("at", "event_id").select("object_id", "payload").rows():
        changes.setdefault(article_id, []).append(payload)
    rows = []
    for row in written.iter_rows(named=True):
        for payload in changes.get(row["article_id"], ()) if row["status"] == "ok" else ():
            row = _changed(row, payload, outlines.get(row["article_id"], ""), site, rules)
        rows.append(row)
    return framed(rows)


def _changed(row: Mapping[str, Any], payload: str, outline: str, site: Site, rules: ArticleRules) -> dict[str, Any]:
    try:
        given = json.loads(payload)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        return {**row, "quality_flags": list(dict.fromkeys((*row["quality_flags"], "edit_unreadable")))}
    new = dict(row)
    for name, most in _LINES.items():
        said = given.get(name)
        line = trimmed(one_line(said), most) if isinstance(said, str) else ""
        new[name] = line or row[name]
    if isinstance(given.get("tags"), list):
        new["tags"] = tags_of(tag for tag in given["tags"] if isinstance(tag, str))
    if isinstance(given.get("categories"), list):
        new["categories"], _ = categories_of((name for name in given["categories"] if isinstance(name, str)), site)
    content = given.get("content_html")
    text = normalise(content if isinstance(content, str) else row["content_html"])
    if not word_count(text.leaves):
        text, content = normalise(row["content_html"]), None
    new["content_html"] = text.html
    there = plain_text(text.leaves)
    new["link_suggestions"] = [link for link in row["link_suggestions"] if link["anchor"] in there]
    # What was said of the old text and of fields that were filled in for want of an answer holds no more.
    gone = {*POINTS, *(f"{name}_defaulted" for name in given), *(("offline", "cut") if content else ())}
    flags = [*(flag for flag in row["quality_flags"] if flag not in gone), "edited"]
    return {**new, **scored(new, text, outline, flags, rules)}

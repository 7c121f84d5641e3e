"""Quality of an article, from 0 to 100: what search engines and readers can be counted on to want of it.

Belongs here: the points, and how a keyword or a heading is found. Does not belong here: what becomes of an article
that has few (`export.py`), moderation.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rapidfuzz import fuzz

from magpie.content.html_blocks import Leaf
from magpie.content.normaliser import META_DESCRIPTION_CHARS, META_TITLE_CHARS, headings, plain_text, words
from magpie.text.tokens import folded, tokenise, wrapped

# Adds up to 100; a point that is not given is a flag of the same name.
POINTS = {
    "meta_title": 10,
    "meta_description": 10,
    "keyword_in_title": 15,
    "keyword_in_opening": 10,
    "keyword_in_h2": 10,
    "few_h2": 10,
    "word_count": 15,
    "keyword_density": 10,
    "outline": 10,
}
# Shorter descriptions are filled up by search engines with what they like.
META_DESCRIPTION_MIN_CHARS = 70
OPENING_WORDS = 100
MIN_H2 = 4
DENSITY_MIN, DENSITY_MAX = 0.3, 2.5
# token_set_ratio from which two headings say the same, and the percentage of an outline that must be found again.
SAME_HEADING, OUTLINE_PERCENT = 80, 70


@dataclass(frozen=True)
class Judged:
    """What is judged: an article with what it was meant to be."""

    title: str
    meta_title: str
    meta_description: str
    leaves: Sequence[Leaf]
    primary_keyword: str
    target_word_count: int
    outline: Sequence[str]


@dataclass(frozen=True)
class Quality:
    """Points from 0 to 100, and the names of those not given, in the order of POINTS."""

    score: int
    flags: tuple[str, ...]


def quality(article: Judged, tolerance: float) -> Quality:
    """Return the points of an article.

    Args:
        tolerance: how far its length may be from the target, as a share of it.
    """
    read = words(article.leaves)
    sections = headings(article.leaves)
    keyword = article.primary_keyword
    hits = occurrences(keyword, plain_text(article.leaves))
    percent = density(hits, len(tokenise(keyword)), len(read))
    given = {
        "meta_title": 0 < len(article.meta_title) <= META_TITLE_CHARS,
        "meta_description": META_DESCRIPTION_MIN_CHARS <= len(article.meta_description) <= META_DESCRIPTION_CHARS,
        "keyword_in_title": occurrences(keyword, article.title) > 0,
        "keyword_in_opening": occurrences(keyword, " ".join(read[:OPENING_WORDS])) > 0,
        "keyword_in_h2": any(occurrences(keyword, heading) for heading in sections),
        "few_h2": len(sections) >= MIN_H2,
        "word_count": fits(len(read), article.target_word_count, tolerance),
        "keyword_density": DENSITY_MIN <= percent <= DENSITY_MAX,
        "outline": follows(sections, article.outline),
    }
    score = sum(POINTS[name] for name, holds in given.items() if holds)
    return Quality(score, tuple(name for name, holds in given.items() if not holds))


def occurrences(keyword: str, text: str) -> int:
    """Return how often a keyword stands in a text, word for word, whatever the case and what is between the words."""
    phrase = wrapped(tokenise(keyword))
    return wrapped(tokenise(text)).count(phrase) if phrase else 0


def density(hits: int, keyword_words: int, word_count: int) -> float:
    """Return the percentage of all words that belong to the keyword: 100 · hits · words in it / words; 0 of nothing."""
    return 100 * hits * keyword_words / word_count if word_count else 0.0


def fits(word_count: int, target: int, tolerance: float) -> bool:
    """Whether |word_count / target - 1| <= tolerance, without a rounding error at the bound; a target of 0: never."""
    return target > 0 and abs(word_count - target) <= Decimal(str(tolerance)) * target


def follows(sections: Iterable[str], outline: Sequence[str]) -> bool:
    """Whether enough headings of the outline are found again; an outline without headings is not followed."""
    there = [folded(section) for section in sections]
    found = sum(
        any(fuzz.token_set_ratio(folded(planned), section) >= SAME_HEADING for section in there) for planned in outline
    )
    return bool(outline) and 100 * found >= OUTLINE_PERCENT * len(outline)


def outline_of(text: str) -> dict[str, Any]:
    """Return an idea's outline as {intro, h2: [{heading, h3, points}]}; what does not fit that shape is left out."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    outline = given if isinstance(given, dict) else {}
    sections = outline.get("h2")
    return {
        "intro": _line(outline.get("intro")),
        "h2": [
            {"heading": heading, "h3": _lines(section.get("h3")), "points": _lines(section.get("points"))}
            for section in (sections if isinstance(sections, list) else ())
            if isinstance(section, dict) and (heading := _line(section.get("heading")))
        ],
    }


def outline_headings(text: str) -> list[str]:
    """Return the H2 of an idea's outline."""
    return [section["heading"] for section in outline_of(text)["h2"]]


def _lines(value: Any) -> list[str]:
    return [line for item in (value if isinstance(value, list) else ()) if (line := _line(item))]


def _line(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""

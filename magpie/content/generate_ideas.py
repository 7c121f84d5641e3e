"""What is asked about a topic, and which answers count: generate_ideas.

Belongs here: the fields of an answer, their bounds, and the templates that stand in for a model. Does not belong here:
asking (`magpie/llm`), the words of the prompt (`prompts/generate_ideas.md`), which of the ideas are written
(`ideas.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from magpie.content.keywords import keyword_norm
from magpie.llm.prompts import load
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Row

# An article of this length has room for so many sections, and needs that many.
MIN_SECTIONS, MAX_SECTIONS = 6, 10
MIN_WORDS, MAX_WORDS = 1200, 1800
# More than are asked for: which of them are too many is said row by row.
IDEAS_READ, SECTIONS_READ = 40, 40
# As much as helps a model to choose; keywords come with the most searched first.
KEYWORDS_SHOWN = 60

Short = Annotated[str, Field(max_length=200)]


def _lower(value: object) -> object:
    return value.strip().casefold().replace(" ", "_") if isinstance(value, str) else value


def _one_line(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _whole(value: object) -> object:
    """Models write 1500.0 and "1500" for 1500."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() else value


Line = Annotated[str, BeforeValidator(_one_line), Field(min_length=1, max_length=200)]
Phrases = Annotated[tuple[Short, ...], Field(max_length=100)]


class Answer(BaseModel):
    """An extra field is ignored, a missing one is an error: null has to be said."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Section(Answer):
    """One H2 of an outline."""

    heading: Line
    h3: Annotated[tuple[Line, ...], Field(max_length=20)]
    points: Annotated[tuple[Annotated[str, Field(max_length=500)], ...], Field(max_length=20)]


class Outline(Answer):
    """What the article says, in which order."""

    intro: str = Field(max_length=2000)
    h2: Annotated[tuple[Section, ...], Field(min_length=1, max_length=SECTIONS_READ)]


class Idea(Answer):
    """One article that could be written."""

    title: Line
    description: str = Field(max_length=2000)
    outline: Outline
    content_type: Annotated[Literal["post", "page", "product", "taxonomy"], BeforeValidator(_lower)]
    content_structure: Annotated[
        Literal[
            "article",
            "guide",
            "comparison",
            "review",
            "listicle",
            "landing_page",
            "business_page",
            "service_page",
            "general",
            "cluster_hub",
            "product_page",
            "category_archive",
            "tag_archive",
            "attribute_archive",
        ],
        BeforeValidator(_lower),
    ]
    primary_keyword: Annotated[Short | None, BeforeValidator(_blank_is_none)]
    secondary_keywords: Phrases
    covered_keywords: Phrases
    estimated_word_count: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=1_000_000)]
    priority: Annotated[Literal["high", "medium", "low"], BeforeValidator(_lower)]


class Ideas(Answer):
    """The ideas for one topic."""

    ideas: Annotated[tuple[Idea, ...], Field(min_length=1, max_length=IDEAS_READ)]


class CheckedIdea(Idea):
    """An idea held against its topic.

    Attributes:
        unknown_keyword: the primary keyword as it was given, if the topic has none of that name.
        flags: what was corrected.
    """

    unknown_keyword: str | None = None
    flags: tuple[str, ...] = ()


class CheckedIdeas(Ideas):
    """All of them, in the order of the answer."""

    ideas: tuple[CheckedIdea, ...]


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompt."""
    shown = [_shown(keyword) for keyword in row["keywords"][:KEYWORDS_SHOWN]]
    named = ("site_name", "industry", "audience", "brand_voice", "language", "cluster", "cluster_description")
    return {
        **{name: str(row[name] or "not said") for name in named},
        "ideas_min": str(row["ideas_min"]),
        "ideas_max": str(row["ideas_max"]),
        "keywords": "\n".join(shown),
        "existing_titles": "\n".join(f"- {title}" for title in row["existing_titles"]) or "none",
    }


def _shown(keyword: Mapping[str, Any]) -> str:
    volume = "" if keyword["volume"] is None else f" | {keyword['volume']} a month"
    return f"- {keyword['keyword_norm']}{volume}" + (f" | {keyword['intent']}" if keyword["intent"] else "")


def check(answer: Ideas, row: Row, last_try: bool) -> CheckedIdeas:
    """Hold each idea against the topic: unknown keywords go, lengths are clipped, and flags say so.

    Raises:
        InvalidAnswer: too few ideas, or an outline that is too short or too long, and the model may be asked again.
    """
    least = row["ideas_min"]
    if len(answer.ideas) < least and not last_try:
        raise InvalidAnswer(f"ideas has {len(answer.ideas)} items; give {least} to {row['ideas_max']}")
    known = {keyword_norm(keyword["keyword_norm"]): keyword["keyword_norm"] for keyword in row["keywords"]}
    few = ("few_ideas",) if len(answer.ideas) < least else ()
    return CheckedIdeas(
        ideas=tuple(_checked(number, idea, known, few, last_try) for number, idea in enumerate(answer.ideas))
    )


def _checked(number: int, idea: Idea, known: Mapping[str, str], flags: tuple[str, ...], last_try: bool) -> CheckedIdea:
    sections = idea.outline.h2
    if not MIN_SECTIONS <= len(sections) <= MAX_SECTIONS and not last_try:
        raise InvalidAnswer(f"ideas.{number}.outline.h2 has {len(sections)} items; give {MIN_SECTIONS}–{MAX_SECTIONS}")
    primary = known.get(keyword_norm(idea.primary_keyword or ""))
    covered = _known(idea.covered_keywords, known)
    words = min(max(idea.estimated_word_count, MIN_WORDS), MAX_WORDS)
    found = {
        "primary_keyword_dropped": primary is None,
        "covered_keywords_dropped": any(keyword_norm(phrase) not in known for phrase in idea.covered_keywords),
        "outline_short": len(sections) < MIN_SECTIONS,
        "outline_cut": len(sections) > MAX_SECTIONS,
        "word_count_clipped": words != idea.estimated_word_count,
    }
    secondary = dict.fromkeys(" ".join(phrase.split()) for phrase in idea.secondary_keywords)
    replaced = {"outline", "primary_keyword", "secondary_keywords", "covered_keywords", "estimated_word_count"}
    return CheckedIdea(
        **idea.model_dump(exclude=replaced),
        outline=idea.outline.model_copy(update={"h2": sections[:MAX_SECTIONS]}),
        primary_keyword=primary,
        secondary_keywords=tuple(
            phrase for phrase in secondary if phrase and keyword_norm(phrase) != keyword_norm(primary or "")
        ),
        # An article that is to be found by a keyword covers it.
        covered_keywords=tuple(dict.fromkeys(((primary,) if primary else ()) + covered)),
        estimated_word_count=words,
        unknown_keyword=None if primary else idea.primary_keyword or "",
        flags=flags + tuple(name for name, holds in found.items() if holds),
    )


def _known(phrases: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(known[keyword_norm(phrase)] for phrase in phrases if keyword_norm(phrase) in known))


@dataclass(frozen=True)
class _Template:
    """A kind of article in which `{k}` stands for a keyword."""

    structure: str
    title: str
    description: str
    sections: tuple[str, ...]


_GUIDE = _Template(
    "guide",
    "{k}: a guide",
    "Explains {k} to readers who meet it for the first time.",
    (
        *("What {k} means", "Who needs it and when", "How it works, step by step", "What it costs in time and money"),
        *("Common mistakes and how to avoid them", "Questions readers ask"),
    ),
)
_COMPARISON = _Template(
    "comparison",
    "{k}: the options compared",
    "Helps readers who are about to choose to compare the options for {k}.",
    (
        *("What to compare in {k}", "The options at a glance", "Features that matter", "Prices and hidden costs"),
        *("Which option suits whom", "How to decide"),
    ),
)
_CHECKLIST = _Template(
    "listicle",
    "{k}: a checklist",
    "A list to work through before a decision on {k}.",
    (
        *("How to use this checklist", "Before you begin with {k}", "Needs and limits to write down"),
        *("Points to verify", "Signs that something is wrong", "What to do next"),
    ),
)
# What a reader of that intent wants first.
_TEMPLATES: Mapping[str | None, tuple[_Template, ...]] = {
    None: (_GUIDE, _COMPARISON, _CHECKLIST),
    "informational": (_GUIDE, _CHECKLIST, _COMPARISON),
    "commercial": (_COMPARISON, _GUIDE, _CHECKLIST),
    "transactional": (_CHECKLIST, _COMPARISON, _GUIDE),
    "navigational": (_GUIDE, _COMPARISON, _CHECKLIST),
}
# In the middle of what is asked for: templates know no better.
_OFFLINE_WORDS = 1500


def offline(row: Row) -> Ideas:
    """Fill templates with the topic's keywords, the most searched first: one idea per keyword, as many as allowed."""
    keywords = [keyword["keyword_norm"] for keyword in row["keywords"]]
    templates = _TEMPLATES[row["intent"]]
    count = min(row["ideas_max"], max(row["ideas_min"], len(keywords)), len(keywords) * len(templates), IDEAS_READ)
    return Ideas(
        ideas=tuple(
            _from_template(
                templates[(number % len(keywords) + number // len(keywords)) % len(templates)],
                keywords[number % len(keywords)],
                row,
            )
            for number in range(count)
        )
    )


def _from_template(template: _Template, keyword: str, row: Row) -> Idea:
    others = [other["keyword_norm"] for other in row["keywords"] if other["keyword_norm"] != keyword]
    title = template.title.replace("{k}", keyword)
    sections = [
        {
            "heading": _sentence(heading.replace("{k}", keyword)),
            "h3": [],
            "points": [f"Cover: {other}" for other in others[number :: len(template.sections)][:3]],
        }
        for number, heading in enumerate(template.sections)
    ]
    return Idea.model_validate(
        {
            "title": _sentence(title)[:200],
            "description": template.description.replace("{k}", keyword),
            "outline": {"intro": f"What readers who search for {keyword} want to know.", "h2": sections},
            "content_type": "post",
            "content_structure": template.structure,
            "primary_keyword": keyword,
            "secondary_keywords": others[:5],
            "covered_keywords": [keyword],
            "estimated_word_count": _OFFLINE_WORDS,
            "priority": "high" if keyword == row["keywords"][0]["keyword_norm"] else "medium",
        }
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


GENERATE_IDEAS = FunctionSpec(
    name="generate_ideas",
    version=1,
    display_name="Generate ideas",
    description="Propose articles for a topic: title, outline, keywords, length.",
    template=load("magpie.content", "generate_ideas"),
    output=Ideas,
    alias="smart",
    inputs={
        **dict.fromkeys(("site_name", "industry", "audience", "brand_voice", "language"), "trusted"),
        **dict.fromkeys(("ideas_min", "ideas_max"), "trusted"),
        **dict.fromkeys(("cluster", "cluster_description", "keywords", "existing_titles"), "untrusted"),
    },
    variables=variables,
    check=check,
    offline=offline,
    max_output_tokens=4000,
    temperature=0.7,
    credits="ideas",
    aliases=("auto_generate_ideas",),
)

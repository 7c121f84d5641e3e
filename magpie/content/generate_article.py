"""What is asked for an article, and which answers count: generate_article.

Belongs here: the fields of an answer, reading one that is plain text, and the draft that stands in for a model. Does
not belong here: asking (`magpie/llm`), the words of the prompt (`prompts/generate_article.md`), what becomes of an
answer (`articles.py`).
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from magpie.content.html_blocks import MAX_CHARS
from magpie.content.normaliser import normalise, one_line, word_count
from magpie.content.quality_score import outline_of
from magpie.llm.prompts import load
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Row

# Shorter texts are apologies, summaries and questions back; what is no JSON is more often one of them.
MIN_WORDS = {"json": 50, "text": 150}
# As much as helps a model to write; keywords come with the most searched first.
KEYWORDS_SHOWN = 40
# Tags, keywords and names of categories are shorter.
ITEM_CHARS = 200
TAGS_MAX = 8
NOT_SAID = "not said"
OFFLINE_NOTE = (
    "Offline draft: put together by rules from the outline and the keywords, without a language model. "
    "It says what each section has to answer; the text itself is still to be written."
)


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _listed(value: object) -> object:
    """None and a single text stand for lists too; items that are no texts are left out."""
    given = value if isinstance(value, list) else [] if value is None else [value]
    return [item[:ITEM_CHARS] for item in given if isinstance(item, str)][:100]


Line = Annotated[Annotated[str, Field(max_length=2000)] | None, BeforeValidator(_blank_is_none)]
Lines = Annotated[tuple[Annotated[str, Field(max_length=ITEM_CHARS)], ...], BeforeValidator(_listed)]


class Article(BaseModel):
    """An article as answered. Only the content must be there: what else is missing is flagged, not bought again."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    title: Line = None
    meta_title: Line = None
    meta_description: Line = None
    content: str = Field(min_length=1, max_length=MAX_CHARS)
    primary_keyword: Line = None
    secondary_keywords: Lines = ()
    tags: Lines = ()
    categories: Lines = ()


class CheckedArticle(Article):
    """An article that holds; parse_mode says whether it came as JSON or as plain text."""

    parse_mode: Literal["json", "text"] = "json"


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompt."""
    named = ("site_name", "industry", "audience", "brand_voice", "language", "title", "description")
    return {
        **{name: str(row[name] or NOT_SAID) for name in (*named, "content_type", "content_structure")},
        "target_word_count": str(row["target_word_count"]),
        "primary_keyword": str(row["primary_keyword"]),
        "secondary_keywords": _listing(row["secondary_keywords"]),
        "covered_keywords": _listing(row["covered_keywords"]),
        "categories": _listing(row["categories"]),
        "outline": _shown_outline(str(row["outline"])),
        "keywords": "\n".join(_shown(keyword) for keyword in row["keywords"][:KEYWORDS_SHOWN]) or "none",
        "links": "\n".join(f"- {link['title']}: {link['url']}" for link in row["links"]) or "none",
    }


def _listing(items: Sequence[str]) -> str:
    return ", ".join(items) or "none"


def _shown(keyword: Mapping[str, Any]) -> str:
    volume = "" if keyword["volume"] is None else f" | {keyword['volume']} a month"
    return f"- {keyword['keyword_norm']}{volume}" + (f" | {keyword['intent']}" if keyword["intent"] else "")


def _shown_outline(text: str) -> str:
    outline = outline_of(text)
    lines = [f"Introduction: {outline['intro']}"] if outline["intro"] else []
    for number, section in enumerate(outline["h2"], 1):
        lines.append(f"{number}. {section['heading']}")
        lines += [f"   sub-heading: {heading}" for heading in section["h3"]]
        lines += [f"   point: {point}" for point in section["points"]]
    return "\n".join(lines) or "none"


def from_text(text: str) -> CheckedArticle | None:
    """Read a plain text as an article without any other field; None: it is JSON that broke, or nothing."""
    inner = text.strip()
    bare = inner.lstrip("`~").removeprefix("json").lstrip()
    if not bare or bare[0] in "{[" or len(inner) > MAX_CHARS:
        return None
    return CheckedArticle(content=inner, parse_mode="text")


def check(answer: Article, row: Row, last_try: bool) -> CheckedArticle:
    """Hold an answer against what makes a text an article.

    Raises:
        InvalidAnswer: its content is no article; on the last try too, since there would be nothing to publish.
    """
    checked = answer if isinstance(answer, CheckedArticle) else CheckedArticle(**answer.model_dump())
    found = word_count(normalise(checked.content).leaves)
    if found < MIN_WORDS[checked.parse_mode]:
        raise InvalidAnswer(f"content has {found} words; write the whole article of {row['target_word_count']} words")
    return checked


def offline(row: Row) -> CheckedArticle:
    """Draft an article by rules: the outline, with what each section has to answer. In English, and says what it is."""
    keyword, title = one_line(str(row["primary_keyword"])), one_line(str(row["title"]))
    outline = outline_of(str(row["outline"]))
    sections = outline["h2"] or [{"heading": title, "h3": [], "points": []}]
    content = [_paragraph(OFFLINE_NOTE)]
    content.append(_paragraph(outline["intro"] or f"This article is about {keyword}."))
    content.append(_paragraph(f"It answers what readers ask who search for {keyword}, in {len(sections)} sections."))
    for number, section in enumerate(sections):
        content += _section(number, section, keyword)
    others = [one_line(phrase) for phrase in row["covered_keywords"] if phrase != row["primary_keyword"]]
    if others:
        content.append(_paragraph(f"The text should also answer searches for {', '.join(others)}."))
    description = f"{title}: what readers who search for {keyword} need to know, section by section, as a first draft."
    return CheckedArticle(
        title=title[:200] or keyword,
        meta_title=title or keyword,
        meta_description=description[:2000],
        content="".join(content)[:MAX_CHARS],
        primary_keyword=str(row["primary_keyword"]),
        secondary_keywords=tuple(phrase[:ITEM_CHARS] for phrase in row["secondary_keywords"]),
        tags=tuple(dict.fromkeys(phrase[:ITEM_CHARS] for phrase in (keyword, *others)))[:TAGS_MAX],
        categories=(),
    )


# What a section has to do, in turn; {h} is its heading, {k} the keyword.
_OPENINGS = (
    "This section is to explain {h} to a reader who has just met {k} and needs the short answer first.",
    "Under the heading {h}, the reader wants facts that can be checked, and an example from practice.",
    "Here the text has to show what {h} means for a decision, and what speaks against it.",
    "{h}: say what to do, in which order, and how to tell that it worked.",
)
_CLOSINGS = (
    "End the section with the one thing that a reader should remember about it.",
    "Sources for every number belong here before anybody else reads the text.",
    "A reader who looked for {k} should not need to search a second time after this.",
)


def _section(number: int, section: Mapping[str, Any], keyword: str) -> list[str]:
    heading = one_line(section["heading"])
    said = {"h": heading, "k": keyword}
    out = [f"<h2>{escape(heading)}</h2>", _paragraph(_OPENINGS[number % len(_OPENINGS)].format(**said))]
    if section["points"]:
        points = "".join(f"<li>{escape(point)}</li>" for point in section["points"])
        out += [_paragraph("It makes these points:"), f"<ul>{points}</ul>"]
    for below in section["h3"]:
        out += [f"<h3>{escape(below)}</h3>", _paragraph(f"This part goes into {below} in detail.")]
    return [*out, _paragraph(_CLOSINGS[number % len(_CLOSINGS)].format(**said))]


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


GENERATE_ARTICLE: FunctionSpec[Article] = FunctionSpec(
    name="generate_article",
    version=1,
    display_name="Generate article",
    description="Write the article that an idea plans.",
    template=load("magpie.content", "generate_article"),
    output=Article,
    alias="smart",
    inputs={
        **dict.fromkeys(("site_name", "industry", "audience", "brand_voice", "language", "categories"), "trusted"),
        **dict.fromkeys(("target_word_count", "content_type", "content_structure"), "trusted"),
        **dict.fromkeys(("title", "description", "outline", "keywords", "links"), "untrusted"),
        **dict.fromkeys(("primary_keyword", "secondary_keywords", "covered_keywords"), "untrusted"),
    },
    variables=variables,
    check=check,
    from_text=from_text,
    offline=offline,
    max_output_tokens=8000,
    temperature=0.7,
    credits="article",
    aliases=("generate_content", "auto_generate_content"),
)

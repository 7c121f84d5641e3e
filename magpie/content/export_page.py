"""The files of one exported article: a page, Markdown with front matter, and what both are made of.

Belongs here: their layout, and where images stand in the text. Does not belong here: which articles go out and
writing them (`export.py`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import yaml

from magpie.content.settings import Site
from magpie.text.html_markdown import markdown_of

# A phone held upright.
MOBILE = "(max-width: 640px)"
_STYLE = (
    "body{max-width:44rem;margin:2rem auto;padding:0 1rem;font:1.05rem/1.6 system-ui,sans-serif;color:#222}"
    "img{max-width:100%;height:auto}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3rem .6rem}"
    "pre{overflow-x:auto;background:#f5f5f5;padding:.8rem}"
)
_SECTION = re.compile(r"(?=<h2[ >])")


@dataclass(frozen=True)
class ExportImage:
    """An image of an article; `path` is relative to the article's folder."""

    path: str
    image_type: str
    position: int
    alt_text: str
    width: int | None
    height: int | None
    mime: str | None

    def tag(self, src: str) -> str:
        sides = f' width="{self.width}" height="{self.height}"' if self.width and self.height else ""
        return f'<img src="{escape(src)}" alt="{escape(self.alt_text)}"{sides}>'


@dataclass(frozen=True)
class Page:
    """An article as it goes out."""

    article_id: str
    site_id: str
    slug: str
    language: str
    day: str
    title: str
    meta_title: str
    meta_description: str
    primary_keyword: str
    secondary_keywords: tuple[str, ...]
    tags: tuple[str, ...]
    categories: tuple[str, ...]
    content_type: str
    content_structure: str
    word_count: int
    quality_score: int
    quality_flags: tuple[str, ...]
    content_html: str
    images: tuple[ExportImage, ...]

    @classmethod
    def of(cls, row: Mapping[str, Any], slug: str, site: Site, images: tuple[ExportImage, ...]) -> "Page":
        """From a row of `articles`."""
        texts = ("article_id", "site_id", "title", "meta_title", "meta_description", "primary_keyword")
        lists = ("secondary_keywords", "tags", "categories", "quality_flags")
        plain = ("content_type", "content_structure", "word_count", "quality_score", "content_html")
        held: dict[str, Any] = {name: row[name] for name in (*texts, *plain)}
        held |= {name: tuple(row[name]) for name in lists}
        return cls(**held, slug=slug, language=site.language, day=str(row["day"]), images=images)

    def facts(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)

    def summary(self) -> dict[str, Any]:
        """What a list of articles shows."""
        return {name: value for name, value in self.facts().items() if name not in ("content_html", "images")}

    def image(self, image_type: str) -> ExportImage | None:
        """The one image of that type."""
        return next((image for image in self.images if image.image_type == image_type), None)

    def body(self, src: Callable[[ExportImage], str]) -> str:
        """The text with its in-article images, spread over the ends of its sections.

        Args:
            src: the address of an image.
        """
        inside = [image for image in self.images if image.image_type == "in_article"]
        sections = [part for part in _SECTION.split(self.content_html) if part]
        if not sections:
            sections = [""]
        after: dict[int, list[str]] = {}
        for number, image in enumerate(inside, 1):
            place = number * len(sections) // (len(inside) + 1)
            after.setdefault(min(place, len(sections) - 1), []).append(f"<p>{image.tag(src(image))}</p>")
        return "".join(part + "".join(after.get(number, ())) for number, part in enumerate(sections))


def _here(image: ExportImage) -> str:
    return image.path


def page(article: Page) -> str:
    """A page that needs nothing but its folder."""
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(article.meta_title)}</title>",
        f'<meta name="description" content="{escape(article.meta_description)}">',
        f"<style>{_STYLE}</style>",
    ]
    inner = [f"<h1>{escape(article.title)}</h1>", *_hero(article), article.body(_here)]
    return (
        f'<!doctype html>\n<html lang="{escape(article.language)}">\n<head>\n'
        + "\n".join(head)
        + "\n</head>\n<body>\n<article>\n"
        + "\n".join(inner)
        + "\n</article>\n</body>\n</html>\n"
    )


def _hero(article: Page) -> list[str]:
    """The featured image, in the cut that suits the screen."""
    featured = article.image("desktop") or article.image("featured")
    if featured is None:
        return []
    mobile = article.image("mobile")
    other = f'<source media="{MOBILE}" srcset="{escape(mobile.path)}">' if mobile else ""
    return [f"<p><picture>{other}{featured.tag(featured.path)}</picture></p>"]


def markdown_page(article: Page) -> str:
    """Front matter, and the text as Markdown."""
    featured = article.image("featured")
    matter: dict[str, Any] = {
        "title": article.title,
        "slug": article.slug,
        "date": article.day,
        "language": article.language,
        "meta_title": article.meta_title,
        "description": article.meta_description,
        "keywords": [article.primary_keyword, *article.secondary_keywords],
        "tags": list(article.tags),
        "categories": list(article.categories),
        "article_id": article.article_id,
    }
    if featured is not None:
        matter |= {"image": featured.path, "image_alt": featured.alt_text}
    told = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{told}---\n\n{markdown_of(article.body(_here))}"

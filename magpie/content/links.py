"""Links that an article could hold: which pages are near, and at which words a link would stand.

Belongs here: pages and earlier articles as targets, their cosines, finding an anchor. Does not belong here: putting a
link in, which people do.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from magpie.content.html_blocks import Leaf
from magpie.content.settings import Content, Site
from magpie.text.embedder import AnyEmbedder, Wait, embedded
from magpie.text.similarity import cosine_rows
from magpie.text.stopwords import STOP_WORDS

# Stands before the id of an article that has no address yet; whoever publishes it knows its address.
OF_ARTICLE = "article:"
# Cosines are equal on every machine to so many places.
PLACES = 6
# One word of a title ("guide") says nothing of where it leads; a keyword may be one word.
LEAST_TITLE_WORDS = 2

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# What may stand between two words of an anchor.
_GAP = re.compile(r"[\s\-–/]{1,3}")


@dataclass(frozen=True)
class LinkRules:
    """From which cosine a page is worth a link, and how many an article gets."""

    floor: float
    most: int

    @classmethod
    def of(cls, settings: Content) -> "LinkRules":
        return cls(settings.link_floor, settings.link_suggestions_max)


@dataclass(frozen=True)
class Target:
    """A page that a link may lead to; `ref` is its address or, of an article, `article:<id>`."""

    ref: str
    title: str
    keyword: str | None = None

    @property
    def text(self) -> str:
        return topic(self.title, self.keyword)


@dataclass(frozen=True)
class Near:
    """A target, and how near it is."""

    target: Target
    cosine: float


def topic(title: str, keyword: str | None) -> str:
    """What stands for a page when it is compared."""
    return f"{title}\n{keyword or ''}".strip()


def pages_of(site: Site) -> list[Target]:
    """Return the pages that a site has, by the settings."""
    return [Target(page.url, page.title, page.keyword) for page in site.existing_pages]


def articles_as_targets(earlier: pl.DataFrame) -> list[Target]:
    """Return the ok articles of earlier days, in the order of their ids."""
    held = earlier.filter(pl.col("status") == "ok").sort("article_id")
    return [
        Target(OF_ARTICLE + row[0], *row[1:]) for row in held.select("article_id", "title", "primary_keyword").rows()
    ]


def nearest(
    topics: Mapping[str, str], targets: Sequence[Target], embedder: AnyEmbedder, rules: LinkRules
) -> dict[str, tuple[Near, ...] | Wait]:
    """Return for each topic the targets from the floor on, the nearest first, or what its vectors wait for.

    Args:
        topics: by the id of the row they are of.
    """
    if not targets or not rules.most:
        return dict.fromkeys(topics, ())
    ordered = sorted({target.ref: target for target in targets}.values(), key=lambda target: target.ref)
    texts = [target.text for target in ordered] + list(topics.values())
    found = embedded(embedder, texts, [*(target.ref for target in ordered), *topics])
    count = len(ordered)
    waiting = next((found.waiting[n] for n in range(count) if n in found.waiting), None)
    made: dict[str, tuple[Near, ...] | Wait] = {}
    for position, ref in enumerate(topics, count):
        wait = waiting or found.waiting.get(position)
        if wait:
            made[ref] = wait
            continue
        cosines = cosine_rows(found.vectors[:count], found.vectors[position].astype("float64")).round(PLACES)
        near = [Near(target, float(cosine)) for target, cosine in zip(ordered, cosines, strict=True)]
        own = OF_ARTICLE + ref
        worth = [one for one in near if one.cosine >= rules.floor and one.target.ref != own]
        made[ref] = tuple(sorted(worth, key=lambda one: (-one.cosine, one.target.ref)))
    return made


def suggestions(leaves: Sequence[Leaf], near: Iterable[Near], rules: LinkRules) -> list[dict[str, Any]]:
    """Return {anchor, url, cosine} of the nearest targets for which the text has words to link from.

    Words in headings, in code and in links are not linked from, none twice, and no target that the text links to
    already is suggested.
    """
    linked = {href for leaf in leaves for _, href in leaf.parts if href}
    texts = [text for leaf in leaves if leaf.tag == "p" for text, href in leaf.parts if href is None]
    read = [_words(text) for text in texts]
    taken: set[tuple[int, int]] = set()
    found: list[dict[str, Any]] = []
    for one in near:
        if len(found) == rules.most:
            break
        place = None if one.target.ref in linked else _anchor(texts, read, one.target, taken)
        if place is None:
            continue
        number, start, end = place
        taken |= {(number, at) for at in range(start, end)}
        found.append({"anchor": texts[number][start:end], "url": one.target.ref, "cosine": one.cosine})
    return found


Word = tuple[str, int, int]


def _words(text: str) -> list[Word]:
    """Each word folded, with where it stands."""
    return [(_folded(match[0]), match.start(), match.end()) for match in _WORD.finditer(text)]


def _folded(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold().replace("’", "'")


def _anchor(
    texts: Sequence[str], read: Sequence[Sequence[Word]], target: Target, taken: set[tuple[int, int]]
) -> tuple[int, int, int] | None:
    """Where the first phrase of the target stands that the text has: which text, from where to where."""
    for phrase in _phrases(target):
        for number, words in enumerate(read):
            for first in range(len(words) - len(phrase) + 1):
                piece = words[first : first + len(phrase)]
                if [word for word, _, _ in piece] != phrase:
                    continue
                start, end = piece[0][1], piece[-1][2]
                joined = all(_GAP.fullmatch(texts[number][a[2] : b[1]]) for a, b in pairwise(piece))
                if joined and not any((number, at) in taken for at in range(start, end)):
                    return number, start, end
    return None


def _phrases(target: Target) -> Iterator[list[str]]:
    """The keyword, then parts of the title from the longest on, none of which begins or ends with a stop word."""
    keyword = [word for word, _, _ in _words(target.keyword or "")]
    if keyword:
        yield keyword
    title = [word for word, _, _ in _words(target.title)]
    for length in range(len(title), LEAST_TITLE_WORDS - 1, -1):
        for first in range(len(title) - length + 1):
            part = title[first : first + length]
            if part[0] not in STOP_WORDS and part[-1] not in STOP_WORDS:
                yield part

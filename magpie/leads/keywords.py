"""The keyword grammar and what it matches.

Belongs here: parsing a keyword, and the Polars expressions that find it in a token string
(`magpie/text/tokens.py`: every token wrapped in its own spaces). Does not belong here: gates and scores.

A bare keyword is a phrase; `a + b` means both phrases; a trailing `*` makes the last token a prefix.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from magpie.text.stopwords import STOP_WORDS
from magpie.text.tokens import tokenise

# A bare single-token keyword of this length also finds its inflections: "invoice" finds "invoices".
INFLECTED_MIN_CHARS = 4
INFLECTION_MAX_EXTRA_CHARS = 3

MATCH_KINDS = ("phrase", "tokens", "prefix", "query")


@dataclass(frozen=True)
class Phrase:
    """Contiguous tokens; with `open_ended` the last one may go on."""

    tokens: tuple[str, ...]
    open_ended: bool

    @property
    def needle(self) -> str:
        """The literal whose presence in a token string is a strict hit."""
        body = "  ".join(self.tokens)
        return f" {body}" if self.open_ended else f" {body} "

    def token_needles(self) -> list[str]:
        closed = [f" {token} " for token in self.tokens]
        return [*closed[:-1], f" {self.tokens[-1]}"] if self.open_ended else closed


@dataclass(frozen=True)
class CompiledKeyword:
    """A parsed keyword of a campaign."""

    keyword: str
    phrases: tuple[Phrase, ...]
    kind: str = "include"
    weight: float = 1.0
    active: bool = True

    @property
    def norm(self) -> str:
        """Canonical spelling, the key of `campaign_keywords`."""
        return " + ".join(" ".join(phrase.tokens) + ("*" if phrase.open_ended else "") for phrase in self.phrases)

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(token for phrase in self.phrases for token in phrase.tokens)

    def strict(self, column: pl.Expr) -> pl.Expr:
        """All phrases occur."""
        return pl.all_horizontal(column.str.contains(phrase.needle, literal=True) for phrase in self.phrases)

    def loose(self, column: pl.Expr) -> pl.Expr:
        """All tokens occur, in any order."""
        needles = [needle for phrase in self.phrases for needle in phrase.token_needles()]
        return pl.all_horizontal(column.str.contains(needle, literal=True) for needle in needles)

    def inflected(self, column: pl.Expr) -> pl.Expr:
        """A bare single token starts a token at most three characters longer."""
        if not self._inflects:
            return pl.lit(False)
        return column.str.contains(f" {re.escape(self.tokens[0])}[^ ]{{0,{INFLECTION_MAX_EXTRA_CHARS}}} ")

    @property
    def _inflects(self) -> bool:
        return len(self.tokens) == 1 and not self.phrases[0].open_ended and len(self.tokens[0]) >= INFLECTED_MIN_CHARS

    @property
    def needed(self) -> str:
        """A literal without which this keyword cannot match in any way: its longest token."""
        if self._inflects:
            return f" {self.tokens[0]}"
        return max((needle for phrase in self.phrases for needle in phrase.token_needles()), key=len)


def parse_keyword(text: str) -> tuple[Phrase, ...]:
    """Parse one keyword.

    Raises:
        ValueError: it holds no letter or digit, or a `*` that is not at the end of a phrase.
    """
    phrases = []
    for part in re.split(r"\s+\+\s+", text.strip()):
        open_ended = part.endswith("*")
        body = part.rstrip("*")
        tokens = tuple(tokenise(body))
        if "*" in body:
            raise ValueError("a * may only stand at the end of a phrase")
        if not tokens:
            raise ValueError("needs at least one letter or digit in every phrase")
        phrases.append(Phrase(tokens, open_ended))
    return tuple(phrases)


def compile_keyword(keyword: str, kind: str = "include", weight: float = 1.0, active: bool = True) -> CompiledKeyword:
    """Parse and keep what settings say beside the text."""
    return CompiledKeyword(keyword, parse_keyword(keyword), kind, weight, active)


def include_keywords(keywords: Sequence[CompiledKeyword]) -> list[CompiledKeyword]:
    """Return the active include keywords, each normal form once, in the order of their normal forms."""
    return sorted({k.norm: k for k in keywords if k.active and k.kind == "include"}.values(), key=lambda k: k.norm)


def exclude_keywords(keywords: Sequence[CompiledKeyword]) -> list[CompiledKeyword]:
    """Return the active exclude keywords, each normal form once, in the order of their normal forms."""
    return sorted({k.norm: k for k in keywords if k.active and k.kind == "exclude"}.values(), key=lambda k: k.norm)


def keyword_set_hash(keywords: Sequence[CompiledKeyword]) -> str:
    """sha256 of the sorted active include keywords with their weights: what centroid and query depend on."""
    pairs = [[keyword.norm, keyword.weight] for keyword in include_keywords(keywords)]
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def query_terms(keywords: Sequence[CompiledKeyword]) -> list[str]:
    """The BM25 query: distinct tokens of the active include keywords without stop words, sorted.

    An open-ended token keeps its `*`: it stands for every token that begins so.
    """
    phrases = [phrase for keyword in include_keywords(keywords) for phrase in keyword.phrases]
    closed = {token for phrase in phrases for token in (phrase.tokens[:-1] if phrase.open_ended else phrase.tokens)}
    open_ended = {f"{phrase.tokens[-1]}*" for phrase in phrases if phrase.open_ended}
    return sorted((closed - STOP_WORDS) | open_ended)


def could_match(keywords: Sequence[CompiledKeyword], tokens: pl.Expr, queries: pl.Expr) -> pl.Expr:
    """A cheap superset of the rows that `matches` keeps: one Aho-Corasick pass instead of one per keyword."""
    needed = sorted({keyword.needed for keyword in include_keywords(keywords)})
    return tokens.str.contains_any(needed) | (queries.list.len() > 0)


def matches(
    keywords: Sequence[CompiledKeyword], rows: pl.LazyFrame | pl.DataFrame, tokens: str = "tokens"
) -> pl.DataFrame:
    """Keep the rows that match and say how.

    Args:
        keywords: of one campaign.
        rows: needs the token string `tokens` and `matched_queries` (list of keywords a live search returned it for).

    Returns:
        The rows kept, with match_kind (the strongest of any keyword), matched_keywords (normal forms, sorted) and
        keyword_hits (include keywords with a strict hit).
    """
    included = include_keywords(keywords)
    column, queries = pl.col(tokens), pl.col("matched_queries").fill_null([])
    candidates = rows.lazy().filter(could_match(keywords, column, queries)).collect()
    flags = candidates.select(
        flag.alias(f"{kind}:{position}")
        for position, keyword in enumerate(included)
        for kind, flag in (
            ("phrase", keyword.strict(column)),
            ("tokens", keyword.loose(column)),
            ("prefix", keyword.inflected(column)),
            ("query", queries.list.contains(keyword.keyword)),
        )
    )
    any_of = {kind: pl.any_horizontal(f"{kind}:{n}" for n in range(len(included))) for kind in MATCH_KINDS}
    found = flags.select(
        pl.coalesce(pl.when(any_of[kind]).then(pl.lit(kind)) for kind in MATCH_KINDS).alias("match_kind"),
        pl.concat_list(
            pl.when(pl.any_horizontal(f"{kind}:{n}" for kind in MATCH_KINDS)).then(pl.lit(keyword.norm))
            for n, keyword in enumerate(included)
        )
        .list.drop_nulls()
        .alias("matched_keywords"),
        pl.sum_horizontal(pl.col(f"phrase:{n}").cast(pl.Int32) for n in range(len(included))).alias("keyword_hits"),
    )
    return candidates.hstack(found).filter(pl.col("match_kind").is_not_null())

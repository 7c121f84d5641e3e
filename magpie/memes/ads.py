"""Which memes are ads: by what their captions say, where they link to, and how few people look at them.

Belongs here: the signs of an ad and their order. Does not belong here: the words (`lexicon/<language>.yaml`), medians
of views (`curation.py`), what becomes of an ad (`status.py`).

A stop word of more than three letters counts anywhere, also inside a longer word, so that it is found in all its forms;
a shorter one, like a tax or company token, or one listed as `=word`, only as a whole word. Words are compared in lower
case, spaces collapsed, yo as ye, all apostrophes alike. The list `any` holds beside that of the caption's language.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl

from magpie.memes.settings import Memes
from magpie.yaml_text import read_yaml

# The first that holds is told.
CATEGORIES = ("ads", "gambling", "crypto", "bank", "tax_id", "adult", "piracy")
# Up to this many letters a stop word counts as a whole word only.
WHOLE_WORD_CHARS = 3
WHOLE = "="
# With a link beside it, if the settings ask for that.
LONG_LINK_CAPTION = 100
EVERYWHERE = "any"
# Tokens of registered ads, and of campaigns whose clicks somebody counts.
_TRACKED = r"(?i)[?&#;/](?:erid|utm_campaign)="
_TRACKED_IN_TEXT = r"(?i)://\S*[?&#;/](?:erid|utm_campaign)="
_APOSTROPHES = "[ʻʼ‘’`´]"


@dataclass(frozen=True)
class AdRules:
    """When a caption or a link is an ad.

    Attributes:
        caption_max: characters; a longer caption is an ad.
        views_ratio: of the median; a post with a link and fewer views than that is an ad.
        long_link_caption: whether a link and more than `LONG_LINK_CAPTION` characters make one.
    """

    caption_max: int
    views_ratio: float
    long_link_caption: bool

    @classmethod
    def of(cls, settings: Memes) -> "AdRules":
        return cls(settings.ad_caption_max, settings.ad_views_ratio, settings.ad_long_link_caption)


def with_ads(rows: pl.DataFrame, rules: AdRules) -> pl.DataFrame:
    """Add ad_flag and ad_reason; the first sign decides.

    Args:
        rows: with is_ad, language, `caption_whole` (cleaned, not cut), caption_raw, out_links, views and views_median.
    """
    length = pl.col("caption_whole").str.len_chars()
    linked = pl.col("out_links").list.len() > 0
    tracked = pl.col("out_links").list.eval(pl.element().str.contains(_TRACKED)).list.any()
    shunned = (pl.col("views") > 0) & (pl.col("views") / pl.col("views_median") < rules.views_ratio)
    signs = (
        ("marked_by_platform", pl.col("is_ad")),
        ("long_caption", length > rules.caption_max),
        ("tracked_link", tracked | pl.col("caption_raw").str.contains(_TRACKED_IN_TEXT)),
        ("link_few_views", linked & shunned),
        ("long_link_caption", linked & (length > LONG_LINK_CAPTION) & rules.long_link_caption),
    )
    told = [pl.when(sign.fill_null(False)).then(pl.lit(reason)) for reason, sign in signs]
    words = pl.when(pl.col("stop_words").is_not_null()).then(pl.format("stop_word_{}", "stop_words"))
    reason = pl.coalesce(*told[:2], words, *told[2:])
    return (
        _with_stop_words(rows)
        .with_columns(reason.alias("ad_reason"))
        .with_columns(pl.col("ad_reason").is_not_null().alias("ad_flag"))
        .drop("stop_words")
    )


def _with_stop_words(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `stop_words`: the category of the first list that a caption meets, null for none."""
    if rows.is_empty():
        return rows.with_columns(pl.lit(None, pl.String).alias("stop_words"))
    normal = rows.with_columns(normalised(pl.col("caption_raw")).alias("normal"))
    parts = normal.partition_by("language", as_dict=True, maintain_order=True).items()
    told = (
        part.with_columns(_category(pl.col("normal"), stop_words(language)).alias("stop_words"))
        for (language,), part in parts
    )
    return pl.concat(told).drop("normal")


def _category(text: pl.Expr, words: Mapping[str, tuple[str, ...]]) -> pl.Expr:
    found = []
    for category, listed in words.items():
        whole = [re.escape(word.removeprefix(WHOLE)) for word in listed if _is_whole(word)]
        inside = [word for word in listed if not _is_whole(word)]
        if inside:
            found.append(pl.when(text.str.contains_any(inside)).then(pl.lit(category)))
        if whole:
            alone = rf"(?:^|[^\p{{L}}\p{{N}}_])(?:{'|'.join(whole)})(?:$|[^\p{{L}}\p{{N}}_])"
            found.append(pl.when(text.str.contains(alone)).then(pl.lit(category)))
    return pl.coalesce(*found)


def _is_whole(word: str) -> bool:
    return word.startswith(WHOLE) or len(word) <= WHOLE_WORD_CHARS


def normalised(text: pl.Expr) -> pl.Expr:
    """A caption as it is held against stop words."""
    return (
        text.str.to_lowercase()
        .str.replace_all(_APOSTROPHES, "'")
        .str.replace_all("ё", "е", literal=True)
        .str.replace_all(r"\s+", " ")
    )


@cache
def stop_words(language: str) -> dict[str, tuple[str, ...]]:
    """Return the words of each category that hold for captions in a language, normalised; `any` for unknown ones."""
    named = _lexicon(language)
    lists = [_lexicon(EVERYWHERE), named, *(_lexicon(other) for other in named.get("also", ()))]
    return {
        category: tuple(_normal(sorted({word for words in lists for word in words.get(category, ())})))
        for category in CATEGORIES
    }


def _normal(words: list[str]) -> list[str]:
    return pl.Series("word", words, dtype=pl.String).to_frame().select(normalised(pl.col("word"))).to_series().to_list()


@cache
def _lexicon(language: str) -> dict[str, Any]:
    # Letters only: a language comes from settings and uploads, and is no path.
    file = files("magpie.memes") / "lexicon" / f"{language}.yaml"
    if not language.isalpha() or not file.is_file():
        return {}
    loaded: dict[str, Any] = read_yaml(file.read_text("utf-8"))
    return loaded

"""Folding a text and splitting it into tokens.

Belongs here: the two normal forms every product compares texts by, each as a plain reference and as a fast version
over a column. Does not belong here: the grammar of keywords, stop words, and the word pieces of a model.

Order of the steps, which matters:

1. NFKC, so that full-width and ligature letters become the ordinary ones and a full-width apostrophe becomes `'`.
2. Case-fold. (NFKC is not repeated: the rule is one pass of each, and the same pass is applied to keywords.)
3. URLs become a space. Before step 4, because an apostrophe ends no URL.
4. Apostrophes (`'` and `’`) vanish, so `don't` is the token `dont`.
5. Tokens are the maximal runs of letters and digits; everything else, the underscore included, separates.

A column of tokens is kept as one string per text in which every token has a space of its own on both sides: the
tokens a, b are `" a  b "`. Counting the literal `" a "` counts the token, and the literal `" a  b "` is the phrase,
without a list column and without a regular expression per keyword. A text without tokens is `""`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable

import polars as pl

# Ends at brackets, so that the words after a Markdown link survive. \x1c-\x1f are white space to Python's \s but not
# to the column engine's; naming them makes both agree.
_URL = r"(?:https?://|\bwww\.)[^\s\x1c-\x1f<>()\[\]\"]+"
_URL_RE = re.compile(_URL)
_WORD_RE = re.compile(r"[^\W_]+")
_NO_APOSTROPHES = str.maketrans("", "", "'’")


def tokenise(text: str) -> list[str]:
    """Return the tokens of a text in order: the reference for `token_strings`."""
    cased = unicodedata.normalize("NFKC", text).casefold()
    if "://" in cased or "www." in cased:  # most posts hold no URL, and the search for one costs as much as the rest
        cased = _URL_RE.sub(" ", cased)
    return _WORD_RE.findall(cased.translate(_NO_APOSTROPHES))


def wrapped(tokens: Iterable[str]) -> str:
    """Return tokens in the form of a token column: a, b become `" a  b "`, nothing becomes `""`."""
    inner = "  ".join(tokens)
    return f" {inner} " if inner else ""


def folded(text: str) -> str:
    """Return NFKC, case-folded, white space collapsed and stripped: the reference for `folded_texts`."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def token_strings(texts: pl.Series) -> pl.Series:
    """Return one string of wrapped tokens per text (null for null), equal to `wrapped(tokenise(text))`."""
    ascii_tokens = (
        pl.col("text")
        .str.to_lowercase()
        .str.replace_all(_URL, " ")
        .str.replace_all("'", "", literal=True)
        .str.replace_all(r"[^a-z0-9]+", "  ")
        .str.strip_chars(" ")
    )
    expression = pl.when(ascii_tokens == "").then(pl.lit("")).otherwise(" " + ascii_tokens + " ")
    return _split_by_ascii(texts, expression, lambda text: wrapped(tokenise(text)))


def folded_texts(texts: pl.Series) -> pl.Series:
    """Return `folded` of every text (null for null)."""
    expression = pl.col("text").str.to_lowercase().str.replace_all(r"[\s\x1c-\x1f]+", " ").str.strip_chars(" ")
    return _split_by_ascii(texts, expression, folded)


def token_count(tokens: pl.Expr) -> pl.Expr:
    """Return the number of tokens in a wrapped-token string."""
    return pl.when(tokens == "").then(0).otherwise(tokens.str.count_matches("  ", literal=True) + 1).cast(pl.UInt32)


def _split_by_ascii(texts: pl.Series, ascii_only: pl.Expr, reference: Callable[[str], str]) -> pl.Series:
    """Apply the expression to pure ASCII texts, where Unicode rules change nothing, and the reference to the rest."""
    is_ascii = pl.col("text").str.len_bytes() == pl.col("text").str.len_chars()
    frame = pl.DataFrame({"text": texts.cast(pl.String)}).with_row_index("row")
    plain = (
        frame.lazy().filter(is_ascii.fill_null(True)).select("row", ascii_only.alias("out")).collect(engine="streaming")
    )
    if plain.height == frame.height:
        return plain.sort("row")["out"].alias(texts.name)
    rest = frame.filter(~is_ascii)
    slow = pl.Series("out", [reference(text) for text in rest["text"]], dtype=pl.String)
    both = pl.concat([plain, rest.select("row").with_columns(slow)])
    return both.sort("row")["out"].alias(texts.name)

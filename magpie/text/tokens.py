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
from collections.abc import Callable, Iterable, Sequence

import polars as pl

# Ends at brackets, so that the words after a Markdown link survive. \x1c-\x1f are white space to Python's \s but not
# to the column engine's; naming them makes both agree.
_URL = r"(?:https?://|\bwww\.)[^\s\x1c-\x1f<>()\[\]\"]+"
_URL_RE = re.compile(_URL)
_WORD_RE = re.compile(r"[^\W_]+")
# Beside ASCII, what posts are full of: quotes, dashes, ellipsis, arrows, emoji. None of it is a letter or digit, has
# another case, or combines with its neighbours, so the column engine treats it as the reference does
# (tests/test_tokens.py tries each). Nine of ten texts that are not ASCII hold nothing else.
PLAIN_RANGES = (
    *((0x00, 0x7F), (0xA0, 0xA0), (0xA3, 0xA3), (0xA7, 0xA7), (0xA9, 0xA9), (0xAE, 0xAE), (0xB0, 0xB0)),
    *((0x200B, 0x200D), (0x2013, 0x2015), (0x2018, 0x2022), (0x2026, 0x2026), (0x20AC, 0x20AC), (0x2190, 0x21FF)),
    *((0x2500, 0x2775), (0x2794, 0x27BF), (0xFE0E, 0xFE0F), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF)),
    *((0x1F900, 0x1F9FF), (0x1FA70, 0x1FAFF)),
)
_PLAIN = "^[" + "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in PLAIN_RANGES) + "]*$"
_HAS_URL = pl.col("text").str.contains(r"(?i)://|www\.")
# The column engine counts these as part of a word, which decides where `www.` begins one.
_HAS_JOINER = pl.col("text").str.contains(r"[\x{200c}\x{200d}\x{fe0e}\x{fe0f}]")
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
    lowered = _simplified(pl.col("text")).str.to_lowercase()
    without_urls = lowered.str.replace_all(_URL, " ")
    versions = [(~_HAS_URL, _words(lowered)), (_HAS_URL & ~_HAS_JOINER, _words(without_urls))]
    return _by_version(texts, versions, lambda text: wrapped(tokenise(text)))


def _words(lowered: pl.Expr) -> pl.Expr:
    words = lowered.str.replace_many(["'", "’"], ["", ""]).str.replace_all(r"[^a-z0-9]+", "  ").str.strip_chars(" ")
    return pl.when(words == "").then(pl.lit("")).otherwise(" " + words + " ")


def folded_texts(texts: pl.Series) -> pl.Series:
    """Return `folded` of every text (null for null)."""
    lowered = _simplified(pl.col("text")).str.to_lowercase()
    collapsed = lowered.str.replace_all(r"[\s\x1c-\x1f]+", " ").str.strip_chars(" ")
    return _by_version(texts, [(pl.lit(True), collapsed)], folded)


def token_count(tokens: pl.Expr) -> pl.Expr:
    """Return the number of tokens in a wrapped-token string."""
    return pl.when(tokens == "").then(0).otherwise(tokens.str.count_matches("  ", literal=True) + 1).cast(pl.UInt32)


def _simplified(text: pl.Expr) -> pl.Expr:
    """What NFKC does to the two of the plain characters that it changes."""
    return text.str.replace_many(["\u00a0", "…"], [" ", "..."])


def _by_version(
    texts: pl.Series, versions: Sequence[tuple[pl.Expr, pl.Expr]], reference: Callable[[str], str]
) -> pl.Series:
    """Apply to each plain text the first version whose condition it meets, and the reference to the rest."""
    ascii_only = pl.col("text").str.len_bytes() == pl.col("text").str.len_chars()
    plain = (ascii_only | pl.col("text").str.contains(_PLAIN)).fill_null(True)
    frame = pl.DataFrame({"text": texts.cast(pl.String)}).with_row_index("row")
    number = pl.coalesce(
        *(pl.when(plain & condition.fill_null(True)).then(n) for n, (condition, _) in enumerate(versions)),
        len(versions),
    )
    parts = frame.with_columns(number.alias("version")).partition_by("version", as_dict=True)
    made = []
    for (n,), part in parts.items():
        if n < len(versions):
            made.append(part.lazy().select("row", versions[n][1].alias("out")).collect(engine="streaming"))
        else:
            slow = pl.Series("out", [reference(text) for text in part["text"]], dtype=pl.String)
            made.append(part.select("row").with_columns(slow))
    return pl.concat(made).sort("row")["out"].alias(texts.name) if made else texts.cast(pl.String)

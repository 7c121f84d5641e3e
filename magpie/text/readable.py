"""Texts without what nobody can read.

Belongs here: characters that are taken out of texts of models and pictures. Does not belong here: markup
(`html_markdown.py`), what a text is held against afterwards (the products).
"""

import unicodedata

# Characters without a shape that turn the order of what follows, and the mark that begins files; other characters
# without a shape join emoji and part Persian words.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def cleaned(text: str) -> str:
    """Text without control characters, line breaks aside, and without blanks around its lines or lines around it."""
    plain = "\n".join(text.splitlines())
    kept = "".join(char for char in plain if char == "\n" or not _unreadable(char))
    return "\n".join(line.strip() for line in kept.split("\n")).strip()


def _unreadable(char: str) -> bool:
    """A control character, half of a surrogate pair, or a mark of direction."""
    return char in _TURNING or unicodedata.category(char) in ("Cc", "Cs")

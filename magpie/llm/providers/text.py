"""Text from outside, made safe to keep: one line, bounded, without the key.

Belongs here: cleaning what servers say. Does not belong here: what it means (`faults.py`, the providers).
"""

import re
import unicodedata

REDACTED = "[key]"
# An explanation of a provider fits into it; a page of HTML does not.
MOST_CHARS = 300
# What a key looks like, for those that a server repeats in part; each provider's begin with it.
KEY_LIKE = re.compile(r"\b(?:sk|rk|pk)-[A-Za-z0-9_*.…-]{4,}")
# A shorter one, as a local server may have, is a word of its own right, and blotting it out would garble answers.
SHORTEST_SECRET = 8


class Secret:
    """A key, and the one who takes it out of text. Never shows it."""

    def __init__(self, value: str) -> None:
        self._value = value if len(value) >= SHORTEST_SECRET else ""

    def __repr__(self) -> str:
        return "Secret()"

    def out_of(self, text: str) -> str:
        """The text without the key, whole or in part."""
        text = text.replace(self._value, REDACTED) if self._value else text
        return KEY_LIKE.sub(REDACTED, text)

    def out_of_bytes(self, body: bytes) -> bytes:
        """The bytes without the key; unchanged unless it is in them."""
        value = self._value.encode()
        return body.replace(value, REDACTED.encode()) if value and value in body else body


def one_line(text: str, most: int = MOST_CHARS) -> str:
    """Printable text on one line, at most `most` characters."""
    # Control and format characters could break a line of a log or reorder it; surrogates cannot be stored at all.
    kept = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in text[: 4 * most])
    line = " ".join(kept.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def storable(text: str) -> str:
    """The text as every store takes it: no half surrogates, no NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "�")

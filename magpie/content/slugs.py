"""Names for folders and addresses.

Belongs here: turning a title into one, and telling whether a name is one. Does not belong here: keeping names apart
(whoever gives them).
"""

import re
import unicodedata

# Longer ones are cut by search results and by some file systems once folders are nested.
SLUG_CHARS = 80
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,199}")
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})


def slug_of(title: str) -> str:
    """Return a title in small ASCII letters, digits and single hyphens; empty if it has none of them.

    Accents go; what is in no Latin letters goes too.
    """
    plain = unicodedata.normalize("NFKD", title.casefold().translate(_LETTERS)).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")
    if len(slug) <= SLUG_CHARS:
        return slug
    head = slug[: SLUG_CHARS + 1]
    return head.rsplit("-", 1)[0] if "-" in head else slug[:SLUG_CHARS]


def is_slug(name: str) -> bool:
    """Whether a name is safe as a folder or a file on every system, and in an address."""
    return _SLUG.fullmatch(name) is not None

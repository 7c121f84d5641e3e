"""Captions: what of a post's text is shown under a meme, and in which language it is.

Belongs here: cleaning, the cut for display, the language rule. Does not belong here: whether a caption is an ad
(`ads.py`).
"""

import re

# Telegram shows 1024 characters under a picture; a caption is cut below that, so that something may be added to it.
DISPLAY_CHARS = 1000
# Which invisible characters may go: those that join letters or emoji stay.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
# What follows an address in a sentence belongs to the sentence.
_REST = r"\S*[^\s.,;:!?)\]}>»”\"']"
_ADDRESS = re.compile(
    rf"\b[a-z][a-z0-9+.-]{{1,20}}://{_REST}|(?<![\w.@-])(?:www\.|(?:t|telegram)\.me/){_REST}", re.IGNORECASE
)
_HANDLE = re.compile(r"(?<![\w@])@[A-Za-z0-9_](?:[A-Za-z0-9_.]*[A-Za-z0-9_])?")
# Lines that tools which repost from Reddit leave behind: its links, and ids of posts or names of files.
_REDDIT = re.compile(r"(?:https?://)?(?:[a-z]+\.)?(?:reddit\.com|redd\.it)(?:/\S*)?", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9]{1,30}")
_CYRILLIC = re.compile("[\u0400-\u04ff]")


def cleaned(text: str | None, *, english: bool = False) -> str | None:
    """Return a caption without addresses, `t.me/...` and `@handle`, spaces collapsed; None where nothing is left.

    Line breaks stay, empty lines go.

    Args:
        english: of a channel in English: lines that are a link to Reddit or one token of at most 30 letters and
            digits go as well.
    """
    lines = _INVISIBLE.sub("", text or "").splitlines()
    if english:
        lines = [line for line in lines if not _is_residue(line.strip())]
    bare = (" ".join(_HANDLE.sub(" ", _ADDRESS.sub(" ", line)).split()) for line in lines)
    return "\n".join(line for line in bare if line) or None


def _is_residue(line: str) -> bool:
    return bool(_REDDIT.fullmatch(line) or _TOKEN.fullmatch(line))


def displayed(caption: str | None) -> str | None:
    """A cleaned caption as it is shown."""
    return caption[:DISPLAY_CHARS].rstrip() if caption else None


def language_of(source: str, text: str | None) -> str:
    """The source's language, but Russian where a channel in English writes Cyrillic letters (U+0400 to U+04FF)."""
    return "ru" if source == "en" and _CYRILLIC.search(text or "") else source

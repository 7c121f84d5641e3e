"""Names of brands and people in the prompt of an image.

Belongs here: finding them by how they are written, and taking them out. Does not belong here: what follows from one
(`image_prompts.py`).

No list knows every name, so the rule goes by spelling. In English prose, which prompts are written in, a word inside
a sentence that begins with a capital is a name. A name is

1. one that the caller knows, in any case, as whole words;
2. a word with a capital inside (`YouTube`, `iPhone`) or a mark of trade after it (`Acme™`);
3. a word with a capital at its start and small letters after it that does not begin a sentence.

Not names are words all in capitals (CRM, LED), what the calendar and the map lend to prose (Monday, French), and
words after a colon or a bullet, which begin something. In a text of which most words begin with a capital, such as a
headline, the third rule says nothing: it would call every word a name.
"""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W\d_][\w'’&-]*[®™]?")
_BEGINS = re.compile(r"(?:^|[.!?:;•…\"“”(\[]|\n|\s[-–—])\s*$")
_INNER_CAPITAL = re.compile(r"^(?:[^\W\d_]*[a-zà-öø-ÿ][A-ZÀ-ÖØ-Þ]|[A-Z][a-z]*&)")
_POSSESSIVE = re.compile(r"['’]s?$")
_CAPITALISED = (
    "i i'm i'd i'll i've english french german italian spanish dutch portuguese european american british african "
    "asian nordic scandinavian mediterranean japanese chinese indian mexican monday tuesday wednesday thursday friday "
    "saturday sunday january february march april may june july august september october november december christmas "
    "easter halloween victorian gothic renaissance baroque earth internet"
)
_COMMON = frozenset(_CAPITALISED.split())
# Of the words of a headline at least so many begin with a capital; of prose, few.
HEADLINE_SHARE = 0.5


def names_in(text: str, known: Sequence[str] = ()) -> list[str]:
    """Return the names in a text as they are written, in order, each once.

    Args:
        known: names to look for in any case, such as the site's own.
    """
    return list(dict.fromkeys(text[start:end] for start, end in _spans(text, known)))


def without_names(text: str, known: Sequence[str] = ()) -> str:
    """Return the text without its names; what is left may limp, and holds none."""
    left = text
    while spans := _spans(left, known):
        for start, end in reversed(spans):
            left = f"{left[:start]} {left[end:]}"
        left = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(left.split()))
    return left.strip(" ,;:")


def _spans(text: str, known: Sequence[str]) -> list[tuple[int, int]]:
    """Where names stand, in order; words of a name that follow each other are one."""
    found = [match.span() for name in known if name.strip() for match in _whole(name).finditer(text)]
    words = list(_WORD.finditer(text))
    initial = sum(_is_titled(match.group()) for match in words)
    prose = initial < HEADLINE_SHARE * len(words)
    for match in words:
        word = match.group()
        if word[-1] in "®™" or _INNER_CAPITAL.match(word):
            found.append(match.span())
        elif prose and _is_titled(word) and not _BEGINS.search(text[: match.start()]):
            plain = _POSSESSIVE.sub("", word.casefold())
            if plain not in _COMMON and word.casefold() not in _COMMON:
                found.append(match.span())
    apart: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if apart and (start <= apart[-1][1] or text[apart[-1][1] : start].isspace()):
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def _whole(name: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(part) for part in name.split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def _is_titled(word: str) -> bool:
    """A capital first and small letters after it."""
    return word[0].isupper() and any(char.islower() for char in word[1:])

"""Words that must not pass, found also where they are disguised.

Belongs here: the form in which texts are compared, and what of the lists is found in them. Does not belong here: the
lists (`settings.py`), what follows from a hit (`routing.py`), profanity for some readers (`draws.py`).

A text is compared without the tags that only format it, in compatible letters of one case, without characters that do
not show; once as it is and twice with signs read as letters.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from magpie.persona.settings import Words

SOFT, HARD_REVIEW, HARD_REJECT = "soft", "hard_review", "hard_reject"
INPUT_LENGTH, USERNAME = "input_length", "username"

# A longer input is not what people write, and long enough to make the writer forget what it is.
INPUT_CHARS = 10_000
# Signs that stand for letters. A "!" is more often the end of a sentence, so that both readings are tried.
_SIGNS = str.maketrans("14@3$", "iaaes")
_SIGNS_AND_EXCLAMATION = str.maketrans("1!4@3$", "iiaaes")
# The formatting that a post's text may hold; a reader sees what is left without it.
_FORMATTING = re.compile(r"</?(?:blockquote|em|strong|h2|li|ul|ol|[ibua])(?:\s[^<>]*)?>", re.IGNORECASE)
# Characters of these kinds do not show, or change the shape of others without being one.
_UNSEEN_KINDS = frozenset({"Cf", "Cc", "Co", "Cs", "Cn", "Me"})
# The same, of kinds that also hold characters that show: joiners, fillers, variation selectors, and the marks above and
# below letters, which NFKC has already joined with those letters that they belong to.
_UNSEEN = re.compile(
    "[\u0300-\u036f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Stands where a harmless word was taken out, so that what is left of it does not join; no text holds it (kind Co).
_TAKEN_OUT = "\ue000"


@dataclass(frozen=True, order=True)
class Hit:
    """What was found: of which kind, and the word, name or length."""

    type: str
    text: str


def normalised(text: str) -> str:
    """The form in which texts and words are compared: NFKC, case-folded, without characters that do not show."""
    folded = unicodedata.normalize("NFKC", _shown(text)).casefold()
    return _shown(unicodedata.normalize("NFKC", folded))


@lru_cache(maxsize=8192)  # the lists are the same for every text
def _form(word: str) -> str:
    """The word as it is looked for; empty: of nothing that shows, and to be found nowhere."""
    return normalised(word).strip()


def screen(
    parts: Sequence[str],
    words: Words,
    *,
    author: str | None,
    input_text: str | None,
    owner: str | None,
    screened: Collection[str],
    avoid: Collection[str],
) -> tuple[Hit, ...]:
    """Find what a text must not hold: each word once per list, sorted.

    Args:
        parts: everything that is looked at: who asks, what they say, body, tags.
        author: who wrote the input; a hit where it is the owner or one of `screened`.
        avoid: names and strings that a human has to look at, like those of `words.hard_review`.
    """
    found = [
        *_author(author, owner, screened),
        *([Hit(INPUT_LENGTH, str(len(input_text)))] if input_text and len(input_text) > INPUT_CHARS else []),
    ]
    joined = "\n".join(parts)
    safe = [word for word in map(_form, words.safe) if word]
    for text in _readings(joined, safe):
        found += _contained(text, SOFT, words.bad)
        found += _contained(text, HARD_REJECT, words.hard_reject)
        found += _contained(text, HARD_REVIEW, (*words.hard_review, *avoid))
        found += _alone(text, words.short)
        found += _obscured(text, words.obscured)
    return tuple(sorted(set(found)))


def _author(author: str | None, owner: str | None, screened: Collection[str]) -> list[Hit]:
    watched = {normalised(name) for name in (*screened, *([owner] if owner else []))}
    return [Hit(USERNAME, author)] if author and normalised(author) in watched else []


def _readings(joined: str, safe: Sequence[str]) -> set[str]:
    """The ways in which a text may be meant, each without harmless words."""
    plain = {_without(normalised(text), safe) for text in (joined, _FORMATTING.sub("", joined))}
    read = {text.translate(signs) for text in plain for signs in (_SIGNS, _SIGNS_AND_EXCLAMATION)}
    return plain | {_without(text, safe) for text in read}


def _without(text: str, safe: Iterable[str]) -> str:
    # Longer words first: a harmless word may hold a shorter one.
    for word in sorted(safe, key=lambda word: (-len(word), word)):
        text = text.replace(word, _TAKEN_OUT)
    return text


def _contained(text: str, kind: str, words: Iterable[str]) -> list[Hit]:
    return [Hit(kind, word) for word in words if (sought := _form(word)) and sought in text]


def _alone(text: str, words: Iterable[str]) -> list[Hit]:
    """Words between white space, punctuation or the ends."""
    forms = ((word, _form(word)) for word in words)
    return [Hit(SOFT, word) for word, form in forms if form in text and form and re.search(_bounded(form), text)]


def _bounded(form: str) -> str:
    # [^\W_] is a letter or digit; an underscore is punctuation.
    return rf"(?<![^\W_]){re.escape(form)}(?![^\W_])"


def _obscured(text: str, words: Iterable[str]) -> list[Hit]:
    """Words whose letters are spaced out, or stand between signs."""
    together = "".join(text.split())
    letters = _letters(text)
    return [
        Hit(HARD_REVIEW, word)
        for word in words
        if (spaced := "".join(_form(word).split()))
        and (spaced in together or ((bare := _letters(spaced)) and bare in letters))
    ]


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isalnum() or char == _TAKEN_OUT)


def _shown(text: str) -> str:
    """The text without characters that do not show; white space stays."""
    if text.isascii() and text.isprintable():
        return text
    kept = (char for char in text if char.isspace() or unicodedata.category(char) not in _UNSEEN_KINDS)
    return _UNSEEN.sub("", "".join(kept))

"""Whether a quote was really said, and when: quotes held against the captions of a video.

Belongs here: the normal form in which quote and captions are compared, and the search. Does not belong here: what
follows from a quote that was not said (`magpie/videos/verify.py`).

The normal form, step by step: NFKC; case-fold; `[bracketed]` asides removed; apostrophes removed, so that `don't` is
`dont`; other punctuation except `$`, `%` and decimal points becomes a space; spaces collapsed.

A quote of fewer than four words proves nothing. One that is part of the captions is exact. Otherwise the stretch of
the captions that is most like it decides, by rapidfuzz's partial ratio (100 x twice the length of the longest common
subsequence over the sum of both lengths): like enough and with as many negations it is fuzzy. Negations count because
a quote that lost its `not` is still 95 % alike and says the opposite.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from rapidfuzz import fuzz

MIN_WORDS = 4
# A quote has at most 400 characters; the time to find what is most like it grows with the square of that.
MAX_FUZZY_CHARS = 1000
EXACT_SCORE = 100.0
NEGATIONS = frozenset(
    [
        "not",
        "no",
        "never",
        "cannot",
        "cant",
        "dont",
        "doesnt",
        "didnt",
        "wont",
        "wouldnt",
        "shouldnt",
        "couldnt",
        "isnt",
        "arent",
        "wasnt",
        "werent",
        "aint",
        "havent",
        "hasnt",
    ]
)
# What captions and keyboards write for an apostrophe; the prime and the modifier letter survive NFKC.
APOSTROPHES = "'’‘‛ʼ′`"
# Longer, an opening bracket is a slip and what follows is speech.
ASIDE_CHARS = 120
ASIDE = re.compile(rf"\[[^\[\]]{{0,{ASIDE_CHARS}}}\]")
_NO_APOSTROPHES = str.maketrans("", "", APOSTROPHES)
# Line feeds stay: they part the captions until each knows its place.
_PUNCTUATION = re.compile(r"(?:[^\w$%.\n]|_|(?<!\d)\.|\.(?!\d))+")

Match = Literal["exact", "fuzzy", "none"]


@dataclass(frozen=True, slots=True)
class Grounding:
    """Where a quote was found.

    Attributes:
        match: exact, fuzzy or none.
        score: 0 to 100; 100 for exact, 0 for a quote that is too short to be searched.
        located_s: seconds, rounded down, at which the caption starts in which the span begins; None without a span.
        span: the words of the captions, in normal form, that the quote was matched to. Also there for none when only
            the negations differ.
        observed: what decided, in words for people.
    """

    match: Match
    score: float
    located_s: int | None
    span: str | None
    observed: str


@dataclass(frozen=True)
class Transcript:
    """The captions of one video in normal form, made once for all its quotes.

    Attributes:
        text: the captions joined by single spaces; captions without words are left out.
        offsets: where in `text` each of the others begins, ascending.
        starts: seconds at which each of them is shown, as many as `offsets`.
    """

    text: str
    offsets: tuple[int, ...]
    starts: tuple[float, ...]

    @classmethod
    def of(cls, lines: Iterable[tuple[float, float, str]]) -> "Transcript":
        """Prepare captions given as (start in seconds, end in seconds, text), in order."""
        given = [(start, text) for start, _, text in lines]
        whole = "".join(text.replace("\n", " ") + "\n" for _, text in given)
        parts = _normal(whole).split("\n")[:-1]
        kept = [(start, text) for (start, _), text in zip(given, parts, strict=True) if text]
        texts = [text for _, text in kept]
        ends = accumulate((len(text) + 1 for text in texts), initial=0)
        offsets = tuple(offset for offset, _ in zip(ends, texts, strict=False))
        return cls(" ".join(texts), offsets, tuple(start for start, _ in kept))

    def second(self, offset: int) -> int:
        """Return the second at which the caption starts that holds this place of `text`."""
        return max(0, int(self.starts[bisect_right(self.offsets, offset) - 1]))

    def places(self, words: str) -> list[int]:
        """Return every place of `text` where these words stand, overlapping ones included."""
        found, place = [], self.text.find(words)
        while place >= 0:
            found.append(place)
            place = self.text.find(words, place + 1)
        return found


def normal(text: str) -> str:
    """Return the normal form of a text."""
    return _normal(text.replace("\n", " "))


def without_asides(text: str) -> str:
    """Return a text without its `[bracketed]` parts, spaces collapsed."""
    return " ".join(ASIDE.sub(" ", text).split())


def _normal(lines: str) -> str:
    """The normal form of every line, as many lines as before; an aside may reach over their ends."""
    folded = unicodedata.normalize("NFKC", lines).casefold()
    spoken = ASIDE.sub(lambda aside: " " + "\n" * aside[0].count("\n"), folded).translate(_NO_APOSTROPHES)
    return "\n".join(line.strip() for line in _PUNCTUATION.sub(" ", spoken).split("\n"))


def ground(quote: str, transcript: Transcript, *, fuzzy_min: float, near_s: int | None = None) -> Grounding:
    """Search a quote in the captions of its video.

    Args:
        quote: as it was given.
        transcript: the captions of the whole video.
        fuzzy_min: the least partial ratio, 0 to 100, at which a quote counts that is not there word for word.
        near_s: the second at which it is said to stand; of several exact places the nearest to it is taken, of equally
            near ones and without it the first.
    """
    wanted = normal(quote)
    words = wanted.count(" ") + 1 if wanted else 0
    if words < MIN_WORDS:
        return Grounding("none", 0.0, None, None, f"{words} words, too short to tell")
    if not transcript.text:
        return Grounding("none", 0.0, None, None, "no captions")
    places = transcript.places(wanted)
    if places:
        seconds = [transcript.second(place) for place in places]
        located = seconds[0] if near_s is None else min(seconds, key=lambda second: abs(second - near_s))
        return Grounding("exact", EXACT_SCORE, located, wanted, "word for word")
    if len(wanted) > MAX_FUZZY_CHARS:
        return Grounding("none", 0.0, None, None, f"{len(wanted)} characters, too long to compare")
    return _most_alike(wanted, transcript, fuzzy_min)


def _most_alike(wanted: str, transcript: Transcript, fuzzy_min: float) -> Grounding:
    score, start, end = _aligned(wanted, transcript.text)
    observed = f"{score:.1f} alike"
    if score < fuzzy_min:
        return Grounding("none", score, None, None, observed)
    start, end = _whole_words(transcript.text, start, end)
    span, located = transcript.text[start:end], transcript.second(start)
    said, claimed = _negations(span), _negations(wanted)
    if said != claimed:
        return Grounding("none", score, located, span, f"{observed}, negations: {claimed} quoted, {said} said")
    return Grounding("fuzzy", score, located, span, observed)


def _aligned(wanted: str, text: str) -> tuple[float, int, int]:
    """Return the partial ratio and the stretch of `text` it belongs to."""
    # Of the two texts rapidfuzz slides the shorter one along the other; captions that are a part of the quote do not
    # bear out the rest of it.
    if len(wanted) >= len(text):
        return fuzz.ratio(wanted, text), 0, len(text)
    found = fuzz.partial_ratio_alignment(wanted, text)
    return (found.score, found.dest_start, found.dest_end) if found else (0.0, 0, 0)


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] == " ":
        start += 1
    while end > start and text[end - 1] == " ":
        end -= 1
    right = text.find(" ", end)
    return text.rfind(" ", 0, start + 1) + 1, len(text) if right < 0 else right


def _negations(words: str) -> int:
    return sum(word in NEGATIONS for word in words.split(" "))

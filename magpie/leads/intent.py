"""What a post's wording tells of its author's intent: points by families of phrases.

Belongs here: the families, their points, and the answer that follows from them where no model is asked. Does not
belong here: models, and what of an answer counts (`extract_lead.py`).

The rules know phrases, not meaning: they are a floor that a model has to beat (`benchmarks/extraction.py`).
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

# From so many points on a post counts as a lead; it is where the tier warm begins.
LEAD_POINTS = 40
MAX_POINTS = 100
# A quote holds no more than the one; a sentence shorter than the other is told from no other post.
QUOTE_CHARS = 300
QUOTE_MIN_CHARS = 10
# The rules cannot tell how sure they are; on labelled posts they miss most leads and err in a quarter of their finds.
CONFIDENCE = 0.3


@dataclass(frozen=True)
class Family:
    """Phrases that tell the same; one hit or ten give the same points. `evidence`: a hit is worth quoting."""

    name: str
    points: int
    pattern: re.Pattern[str]
    evidence: bool = True


def _family(name: str, points: int, *patterns: str, evidence: bool = True) -> Family:
    return Family(name, points, re.compile("|".join(patterns)), evidence)


FAMILIES = (
    _family(
        "seeking",
        35,
        r"\b(looking for|recommend(ation)?s?|suggest(ion)?s?|can anyone|does anyone (know|use|have)"
        r"|what (do|are) (you|you guys|people) (use|using)|which (tool|app|software|service|platform)"
        r"|is there (a|an|any) (tool|app|software|service|way)|any (good|decent) "
        r"|need (a|an|some) (tool|app|software|service|way|solution|help)|how (do|can|did) (you|i|we))\b",
    ),
    _family(
        "comparing",
        25,
        r"\b(vs\.?|versus|better than|alternatives? (to|for)|switch(ed|ing)? (from|to)|compared? (to|with))\b",
    ),
    _family(
        "buying",
        40,
        r"\b(want(s|ed)?|wanna|going|gonna|plan(ning)?|ready|about|thinking (of|about)|should i|need|can.?t wait"
        r"|where can i|where to|willing|hoping|trying)\b( to| a| an)?( \w+)?\s+(buy|buying|purchase|purchasing|get"
        r"|getting|order|ordering|upgrade|upgrading|subscribe|pre-?order)\b",
        r"\bi (really |just |also |definitely |so )?(want|need|wanna|wish i had) "
        r"(a|an|the|this|that|my|one|to (buy|get|order|upgrade))\b",
    ),
    _family(
        "refusal",
        -30,
        r"\b(don.?t|do not|won.?t|never|not|isn.?t|no one is|why would (i|you|anyone))\b( \w+){0,3}\s+"
        r"(buy|buying|get|getting|purchase|need|want)\b",
        evidence=False,
    ),
    _family(
        "complaint",
        20,
        r"\b(frustrat\w+|hate|sick of|tired of|fed up|doesn.?t work|broken|too expensive|overpriced|struggl\w+"
        r"|annoy\w+|nightmare|waste of|pain in|pain point|can.?t (find|figure|afford|seem)|problem (is|with)"
        r"|issue (is|with)|hard to|difficult to|unable to|keeps? (crashing|failing|breaking))\b",
    ),
    _family("budget", 15, r"([$€£]\s?\d|\b\d+\s?(usd|dollars|bucks|eur)\b|\bbudget\b|\bwilling to pay\b)"),
    _family("urgency", 10, r"\b(asap|urgent(ly)?|right now|today|this week|deadline|immediately)\b"),
    _family(
        "showcase",
        -40,
        r"\b(i (built|made|created|launched)|we (built|launched|released)|check out my"
        r"|my (new )?(app|saas|startup|product) (is|just)|feedback on my|roast my|case study|tips? for you)\b",
        evidence=False,
    ),
    _family("question", 10, r"\?", evidence=False),
    _family("first_person", 5, r"\b(i|we|my|our)\b", evidence=False),
)

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_AMOUNT = r"(?P<{name}>\d[\d,]*(?:\.\d+)?)"
_MONEY = re.compile(
    rf"(?P<sign>[$€£])\s?{_AMOUNT.format(name='after')}|\b{_AMOUNT.format(name='before')}\s?(?P<word>usd|dollars|bucks|eur)\b",
    re.IGNORECASE,
)
_CURRENCY = {"$": "USD", "€": "EUR", "£": "GBP", "usd": "USD", "dollars": "USD", "bucks": "USD", "eur": "EUR"}


@dataclass(frozen=True)
class Intent:
    """Points from 0 to 100 and the families that gave them, in the order of `FAMILIES`."""

    points: int
    hits: tuple[Family, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(family.name for family in self.hits)


def intent(text: str) -> Intent:
    """Count the points of a text; lower case and white space do not bear on them."""
    flat = " ".join(text.lower().split())
    hits = tuple(family for family in FAMILIES if family.pattern.search(flat))
    return Intent(min(max(sum(family.points for family in hits), 0), MAX_POINTS), hits)


def offline_answer(post: str) -> dict[str, Any]:
    """Return the fields of extract_lead's answer about a post."""
    found = intent(post)
    names = found.names
    told = ", ".join(f"{family.name.replace('_', ' ')} {family.points:+d}" for family in found.hits)
    return {
        "is_lead": found.points >= LEAD_POINTS,
        "intent_score": found.points,
        "lead_type": _lead_type(names),
        "pain_point": None,
        "desired_solution": None,
        "budget": _budget(post) if "budget" in names else None,
        "urgency": "now" if "urgency" in names else "unknown",
        "competitors": (),
        "contact_info": None,
        "sentiment": "negative" if "complaint" in names else "neutral",
        "evidence_quote": evidence(post, found),
        "reason": f"By rules, without a model: {told or 'no phrase of intent'}; {found.points} of 100 points.",
        "suggested_reply": None,
        "confidence": CONFIDENCE,
    }


def evidence(post: str, found: Intent) -> str:
    """The first sentence that a telling family hits, else the first that any hits, else the first.

    Of a long sentence, what stands around the hit; a short one takes its neighbours in.
    """
    sentences = [flat for part in _SENTENCE_END.split(post) if (flat := " ".join(part.split()))]
    if not sentences:
        return ""
    families = [family for family in found.hits if family.evidence] or list(found.hits)
    first, place = _first_hit(sentences, families)
    quote, last = _around(sentences[first], place), first
    while len(quote) < QUOTE_MIN_CHARS and last + 1 < len(sentences):
        last += 1
        quote = _around(f"{quote} {sentences[last]}", 0)
    while len(quote) < QUOTE_MIN_CHARS and first > 0:
        first -= 1
        quote = _around(f"{sentences[first]} {quote}", len(sentences[first]))
    return quote


def _first_hit(sentences: list[str], families: list[Family]) -> tuple[int, int]:
    """The sentence in which the first hit begins, and where; a phrase may run on into the next line."""
    lowered = [sentence.lower() for sentence in sentences]
    flat = " ".join(lowered)
    starts = [hit.start() for family in families if (hit := family.pattern.search(flat))]
    begins = [0, *accumulate(len(sentence) + 1 for sentence in lowered)]
    start = min(starts, default=0)
    position = bisect_right(begins, start) - 1
    return position, start - begins[position]


def _around(sentence: str, place: int) -> str:
    """Cut to whole words: from the beginning if `place` is then within, else from some words before it."""
    if len(sentence) <= QUOTE_CHARS:
        return sentence
    start = 0 if place < QUOTE_CHARS // 2 else sentence.rfind(" ", 0, place - QUOTE_CHARS // 3) + 1
    cut = sentence[start : start + QUOTE_CHARS]
    if start + QUOTE_CHARS < len(sentence) and " " in cut:
        cut = cut[: cut.rfind(" ")]
    return cut.strip()


def _lead_type(names: frozenset[str]) -> str:
    if names & {"seeking", "buying"}:
        return "seeking_solution"
    return next((name for name in ("comparing", "complaint") if name in names), "question")


def _budget(post: str) -> dict[str, Any] | None:
    """The first sum with its currency; None where only the word budget is there."""
    match = _MONEY.search(post)
    if match is None:
        return None
    digits = (match["after"] or match["before"]).replace(",", "")
    return {
        "text": match[0][:QUOTE_CHARS],
        "amount": float(digits),
        "currency": _CURRENCY[(match["sign"] or match["word"]).lower()],
    }

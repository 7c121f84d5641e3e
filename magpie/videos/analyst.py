"""What a video's wording tells where no model is asked: picks and outlook by phrases and counts.

Belongs here: the phrases, their order, and the answer that follows from them, in the shape a model answers in. Does
not belong here: models, what of an answer counts (`magpie/videos/reading.py`), finding names
(`magpie/videos/naming.py`).

The rules know phrases, not meaning. A pick is the line that names a security with one neighbour on either side; the
first action in the order of `ACTIONS` that has a phrase there is taken, whoever it was said of. A phrase behind a
negation does not count as itself: not buying is avoid, not selling is hold ("I would not sell" keeps the shares), and
of the others nothing is left. The rules are a floor that a model has to beat.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from magpie.videos.grounding import APOSTROPHES, MIN_WORDS, normal, without_asides
from magpie.videos.naming import Named

MAX_PICKS = 15
QUOTE_MIN_CHARS, QUOTE_MAX_CHARS = 20, 400
# Of the line that names the security, on either side.
NEIGHBOURS = 1
MENTION = "mention"
CONVICTION, STRONG_CONVICTION, WEAK_CONVICTION = 0.5, 0.7, 0.3
# The share of one side over the other from which the words lean.
LEANING = 0.2
# Both sides are heard so often, or nobody said much.
MIXED_WORDS = 3
MAX_PHRASES = 10
SUMMARY_CHARS = 1200
# Sentences of the summary; automatic captions have none, so words are counted off instead.
SUMMARY_PASSAGES = 5
PASSAGE_WORDS = 30

# "Why not buy it" denies nothing.
_NOT = (
    r"(?:(?<!why )not|never|dont|doesnt|didnt|wont|wouldnt|shouldnt|couldnt|cant|cannot|isnt|arent|wasnt|aint|havent"
    r"|no reason to)"
)
# Between the negation and what it denies: I do not think I would sell.
_NOT_YET = rf"\b{_NOT}(?: (?:really|even|actually|currently|going|planning|looking|ready|be|to|think|i|id|would|a))*"
_BUY_NOW = r"(?:buy|buying|adding|loading up)(?! backs?\b)"
_SELL = r"(?:sell|selling|sold|trim|trimming|trimmed|take profits|taking profits|get out|getting out|got out)"
# A negation with as many words of `_NOT_YET` after it as people put there is shorter.
NEGATION_CHARS = 60


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(patterns) + r")\b")


# In this order; the first that is said decides.
ACTIONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("short", _words("shorting", "shorted", "puts on", "(?:im|i am|we are|going) short")),
    ("avoid", re.compile(rf"\b(?:stay(?:ing)? away|avoid(?:ing)?)\b|{_NOT_YET} (?:touch(?:ing)?|{_BUY_NOW})\b")),
    ("sell", _words(_SELL)),
    # Best Buy is a shop.
    ("buy", _words(rf"(?<!best )(?:bought|{_BUY_NOW})")),
    ("hold", re.compile(rf"\bholding\b|{_NOT_YET} {_SELL}\b")),
    ("watch", _words("watching", "watchlist", "watch list", "waiting for")),
)
_NEGATED_BEFORE = re.compile(rf"{_NOT_YET} $")
_DENIABLE = frozenset(("short", "sell", "buy", "watch"))
_STRONG = _words("all in", "no brainer", "love", "high conviction")
_WEAK = _words("maybe", "might", "could", "small position", "speculative")

# The first that is said decides; own trades go before what others say of them.
CLAIMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "past",
        _words(
            r"(?:bought|sold|owned|shorted)\b.{0,60}\b(?:last year|years ago|back in (?:19|20)\d\d|back then)",
            "used to own",
        ),
    ),
    (
        "own_trade",
        _words("i bought", "i sold", "im buying", "i am buying", "im selling", "i am selling", "my position"),
    ),
    ("quoting_others", _words("analysts? (?:say|says|said|think|thinks|expect|expects)", "according to", "he says")),
    ("news", _words("upgraded", "downgraded", "reported", "announced", "price target (?:raised|cut) by")),
    ("hypothetical", re.compile(r"\bif\b.{1,80}\bwould\b|\bwould\b.{1,80}\bif\b|\bhypothetically\b|\bimagine\b")),
)
OPINION = "opinion"
TIME_HORIZONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("intraday", _words("today", "day trade", "day trading", "intraday")),
    ("short", _words("this week", "next week", "couple of weeks", "few weeks", "short term", "swing trade")),
    ("long", _words("long term", "long run", "years", "decade", "decades", "forever")),
    ("medium", _words("months", "this quarter", "next quarter", "end of the year", "year end")),
)
UNSPECIFIED = "unspecified"

BULLISH = _words(
    *("bull(?:ish|s)?", "rall(?:y|ies|ying)", "upside", "breakouts?", "breaking out", "uptrend", "undervalued"),
    *(
        "cheap",
        "growth",
        "growing",
        "strong",
        "stronger",
        "strength",
        "beat",
        "beats",
        "record high",
        "all time highs?",
    ),
    *(
        "recover(?:y|ing)?",
        "rebound(?:ing)?",
        "opportunit(?:y|ies)",
        "optimistic",
        "higher",
        "soft landing",
        "momentum",
    ),
)
BEARISH = _words(
    *("bear(?:ish|s)?", "crash(?:es|ing)?", "downside", "breakdown", "breaking down", "downtrend", "overvalued"),
    *("expensive", "bubble", "weak", "weaker", "weakness", "miss(?:es|ed)?", "sell ?offs?", "correction", "lower"),
    *("recession", "fear", "risky", "pessimistic", "falling", "drops?", "dropping", "layoffs", "defaults?", "plunge"),
)
THEMES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("inflation", _words("inflation", "cpi", "ppi", "consumer prices")),
    ("interest rates", _words("interest rates?", "rate (?:cuts?|hikes?)", "the fed", "federal reserve", "fomc")),
    ("bond yields", _words("bond yields?", "treasury yields?", "ten year", "10 year", "yield curve")),
    ("earnings", _words("earnings", "guidance", "earnings season")),
    ("artificial intelligence", _words("ai", "artificial intelligence", "data centers?")),
    ("jobs", _words("jobs report", "unemployment", "labor market", "payrolls", "jobless claims")),
    ("tariffs and trade", _words("tariffs?", "trade war", "trade deal", "exports?")),
    ("oil and energy", _words("oil", "crude", "natural gas", "energy prices")),
    ("housing", _words("housing", "mortgages?", "home prices", "real estate")),
    ("crypto", _words("crypto", "bitcoin", "ethereum", "stablecoins?")),
    ("consumer spending", _words("consumer spending", "retail sales", "consumers?")),
    ("gold", _words("gold", "precious metals", "silver")),
)
RISKS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("recession", _words("recession", "hard landing", "slowdown", "contraction")),
    (
        "inflation stays high",
        _words("sticky inflation", "higher inflation", "inflation (?:is|comes) back", "stagflation"),
    ),
    ("rates stay high", _words("higher for longer", "rate hikes?", "hawkish")),
    ("tariffs", _words("tariffs?", "trade war")),
    ("high valuations", _words("overvalued", "bubble", "expensive", "stretched valuations?")),
    ("war and politics", _words("war", "geopolitic(?:s|al)", "sanctions", "government shutdown", "election")),
    ("debt", _words("debt ceiling", "deficit", "defaults?", "debt")),
    ("regulation", _words("regulation", "regulators?", "antitrust", "lawsuits?")),
    ("layoffs", _words("layoffs", "unemployment (?:is )?(?:rising|rises|up)")),
    ("volatility", _words("volatility", "vix", "margin calls?")),
)

_NO_APOSTROPHES = str.maketrans("", "", APOSTROPHES)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class _Span:
    """The line that names a security with its neighbours, and where that line begins and ends in it."""

    text: str
    start: int
    end: int


def pick_rows(lines: Sequence[tuple[float, float, str]], named: Sequence[Sequence[Named]]) -> list[dict[str, Any]]:
    """Return the picks of one piece of a video, in the shape that extract_picks answers in.

    Args:
        lines: its captions as (start in seconds, end in seconds, text), in order.
        named: the securities that each line names, as many as `lines`.

    One pick per symbol and action, at its first place; at most `MAX_PICKS`, those with an action before mere mentions.
    A name whose surroundings are too short to be quoted gives none. Symbols are those of the table and no company is
    named, so that verification looks for the symbol in the captions itself.
    """
    texts = [without_asides(text) for _, _, text in lines]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for number, securities in enumerate(named):
        span = _span(texts, number) if securities else None
        if span is None:
            continue
        said = _folded(span.text)
        action = _action(said)
        for security in securities:
            key = security.symbol, action
            if key not in found:
                found[key] = _pick(security.symbol, action, said, _quote(span), lines[number][0])
    ranked = sorted(found.values(), key=lambda pick: pick["action"] == MENTION)[:MAX_PICKS]
    return sorted(ranked, key=lambda pick: (pick["video_timestamp_seconds"], pick["symbol"], pick["action"]))


def _pick(symbol: str, action: str, said: str, quote: str, start_s: float) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "company_name": None,
        "action": action,
        "conviction": _conviction(said),
        "time_horizon": _first(TIME_HORIZONS, said) or UNSPECIFIED,
        "claim_type": _first(CLAIMS, said) or OPINION,
        "rationale_quote": quote,
        "video_timestamp_seconds": max(0, int(start_s)),
    }


def _span(texts: Sequence[str], number: int) -> _Span | None:
    """The line with its neighbours, with more of them where that is too short to prove anything."""
    reach = NEIGHBOURS
    while True:
        before, after = texts[max(0, number - reach) : number], texts[number + 1 : number + 1 + reach]
        parts = [text for text in (*before, texts[number], *after) if text]
        whole = " ".join(parts)
        if len(whole) >= QUOTE_MIN_CHARS and len(normal(whole).split()) >= MIN_WORDS:
            start = sum(len(text) + 1 for text in before if text)
            return _Span(whole, start, start + len(texts[number]))
        if reach >= len(texts):
            return None
        reach *= 2


def _quote(span: _Span) -> str:
    """The span; where it is longer than a quote may be, its line and as much before and after it, cut at words."""
    spare = max(0, QUOTE_MAX_CHARS - (span.end - span.start))
    start = max(0, span.start - spare // 2) if len(span.text) > QUOTE_MAX_CHARS else 0
    if start and span.text[start - 1] != " ":
        start = span.text.find(" ", start) + 1
    # A word that fills the quote alone is no speech, and is cut within: here before the line, below after it.
    if len(span.text) - start < QUOTE_MIN_CHARS:
        start = len(span.text) - QUOTE_MAX_CHARS
    if len(span.text) - start <= QUOTE_MAX_CHARS:
        return span.text[start:]
    end = span.text.rfind(" ", start, start + QUOTE_MAX_CHARS + 1)
    return span.text[start : end if end - start >= QUOTE_MIN_CHARS else start + QUOTE_MAX_CHARS]


def _folded(text: str) -> str:
    """Lower case, apostrophes removed, other marks that stand within phrases as spaces."""
    return " ".join(text.casefold().translate(_NO_APOSTROPHES).replace("-", " ").split())


def _action(said: str) -> str:
    for action, pattern in ACTIONS:
        for phrase in pattern.finditer(said):
            if action not in _DENIABLE or not _denied(said, phrase.start()):
                return action
    return MENTION


def _denied(said: str, start: int) -> bool:
    return bool(_NEGATED_BEFORE.search(said, max(0, start - NEGATION_CHARS), start))


def _conviction(said: str) -> float:
    strong, weak = bool(_STRONG.search(said)), bool(_WEAK.search(said))
    if strong == weak:
        return CONVICTION
    return STRONG_CONVICTION if strong else WEAK_CONVICTION


def _first(families: Sequence[tuple[str, re.Pattern[str]]], said: str) -> str | None:
    return next((name for name, pattern in families if pattern.search(said)), None)


def outlook(text: str) -> dict[str, Any]:
    """Return what a video's words make of the market, in the shape that market_outlook answers in.

    With b bullish and r bearish words, s = (b - r) / (b + r): above 0.2 bullish, below -0.2 bearish, otherwise mixed
    if there are three of both, else neutral. A word behind a negation counts for neither side. The summary consists of
    passages of the text itself, those with the most words that the rules know.
    """
    said = _folded(text)
    bullish, bearish = _count(BULLISH, said), _count(BEARISH, said)
    direction = _direction(bullish, bearish)
    return {
        "market_outlook_direction": direction,
        "market_outlook_reasoning": (
            f"Offline rules, no model: {_counted(bullish, 'bullish')} and {_counted(bearish, 'bearish')} "
            f"of {len(said.split())} words."
        ),
        "macro_themes": _by_count(THEMES, said),
        "key_risks": _by_count(RISKS, said),
        "summary": _summary(text),
    }


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind} word" if count == 1 else f"{count} {kind} words"


def _direction(bullish: int, bearish: int) -> str:
    leaning = (bullish - bearish) / (bullish + bearish) if bullish + bearish else 0.0
    if abs(leaning) > LEANING:
        return "bullish" if leaning > 0 else "bearish"
    return "mixed" if min(bullish, bearish) >= MIXED_WORDS else "neutral"


def _count(pattern: re.Pattern[str], said: str) -> int:
    return sum(not _denied(said, word.start()) for word in pattern.finditer(said))


def _by_count(families: Sequence[tuple[str, re.Pattern[str]]], said: str) -> list[str]:
    """The families that are spoken of, the most spoken of first."""
    counts = [(len(pattern.findall(said)), name) for name, pattern in families]
    return [name for count, name in sorted(counts, key=lambda pair: -pair[0]) if count][:MAX_PHRASES]


def _summary(text: str) -> str:
    passages = list(_passages(without_asides(text)))
    known = [pattern for _, pattern in (*THEMES, *RISKS)] + [BULLISH, BEARISH]
    scores = [sum(len(pattern.findall(said)) for pattern in known) for said in map(_folded, passages)]
    best = sorted(sorted(range(len(passages)), key=lambda place: -scores[place])[:SUMMARY_PASSAGES])
    # Where something was left out, an ellipsis says so.
    gaps = ["", *(" " if after == before + 1 else " … " for before, after in pairwise(best))]
    joined = "".join(gap + passages[place] for gap, place in zip(gaps, best, strict=False))
    return joined if len(joined) <= SUMMARY_CHARS else joined[:SUMMARY_CHARS].rsplit(" ", 1)[0]


def _passages(text: str) -> Iterator[str]:
    """Sentences; where captions have no full stops, or hardly any, so many words at a time."""
    for sentence in _SENTENCE_END.split(text):
        words = sentence.split()
        for start in range(0, len(words), PASSAGE_WORDS):
            yield " ".join(words[start : start + PASSAGE_WORDS])

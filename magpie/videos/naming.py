"""Which securities a text names: cashtags, tickers, names, aliases and what captions mishear.

Belongs here: finding them, and the words that look like a name and are none. Does not belong here: the table they come
from (`magpie/videos/symbols.py`) and what follows from a name (`magpie/videos/analyst.py`, `magpie/videos/verify.py`).

A cashtag always counts. An upper-case ticker of three letters or more counts where the text around it is not in upper
case too. Names and aliases count as whole words in any case, the longest first, without `the`, `Inc` and the like at
their ends. A name that is an everyday word as well counts only as a cashtag, before a word like `stock`, or with a
capital within a sentence.
"""

import re
import string
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from magpie.text.stopwords import STOP_WORDS
from magpie.videos.grounding import APOSTROPHES, ASIDE

How = Literal["cashtag", "ticker", "name", "alias"]
# Names of large companies that people who talk about shares also use for something else. Apple, Visa, Amazon or Meta
# are left out: said in such a video, they nearly always mean the company.
_EVERYDAY = (
    "affirm|ally|arm|ball|best buy|block|box|carnival|carrier|chart|chase|coach|compass|core|crown|delta"
    "|discover|dominion|dollar|edge|element|everest|fidelity|fox|freedom|gap|gen|general|global|gold|host|key|leap"
    "|life|lucid|match|news|nice|now|nu|paramount|pool|principal|progressive|realty|regions|roots|root|ross|sea|shell"
    "|simply|snap|southern|square|target|toast|twist|unity|vale|waters|wolf|zoom"
)
EVERYDAY_NAMES = frozenset(_EVERYDAY.split("|"))
# After one of these an everyday word is a company.
SHARE_WORDS = frozenset(("stock", "stocks", "share", "shares", "inc", "calls", "puts", "earnings"))
# Tickers that stand in upper case for something else: stress, and the abbreviations of the trade.
_SHOUTED = (
    "ALL AND ANY ARE BEST BIG CAN CEO CFO CPI DCA EPS ETF EVER FED FOMO FOR FREE GDP GOOD HAS IPO LOVE NEW NEXT NICE "
    "NOT NOW ONE OUT REAL ROI SAFE SEC SEE TAX THE TRUE USA USD VERY WELL YOU"
)
SHOUTED = frozenset(_SHOUTED.split())
# Tickers that are words in lower case; there they say nothing.
_WORDS = (
    "bill buy car cash cat cost eat fast five fun gain gap gold home hood key life low main open pay play post rent "
    "ride run save snap spot stay team turn wash win work"
)
WORD_TICKERS = frozenset(_WORDS.split()) | {word.lower() for word in SHOUTED}
MIN_TICKER = 3
# One letter is never a name by itself.
MIN_NAME = 2
# As many as some videos have; all lines of a channel at once would be held in memory several times over.
LINES_AT_ONCE = 10_000
_STRENGTH: Mapping[str, int] = {"cashtag": 0, "ticker": 1, "name": 2, "alias": 3}

_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,5}(?:[.-][A-Za-z])?)(?!\w)")
_TICKER = re.compile(rf"(?<![\w$])[A-Z]{{{MIN_TICKER},5}}(?:[.-][A-Z])?(?!\w)")
# Nvidia's is Nvidia.
_POSSESSIVE = re.compile(rf"[{APOSTROPHES}][sS]\b")
# Full stops and line feeds stay, for they part sentences and lines.
_CONTROLS = {chr(code): " " for code in (*range(32), 127) if chr(code) != "\n"}
_MARKS = str.maketrans(
    _CONTROLS | dict.fromkeys(string.punctuation, " ") | dict.fromkeys(".!?", ".") | dict.fromkeys(APOSTROPHES)
)
_NO_APOSTROPHES = str.maketrans("", "", APOSTROPHES)
# AT&T is one word, and no "at" before a "t".
_INNER_AND = re.compile(r"(?<=\w)&(?=\w)")
_OTHER_MARKS = re.compile(r"[^\w\n. ]")
_SPACES = re.compile(r" {2,}")
_STOP = re.compile(r"\.[ .]*")
_BEFORE = re.compile(r"^(?:the )+")
_AFTER = re.compile(
    r"(?: (?:class \w+|common stock|inc|incorporated|corp|corporation|co|company|ltd|limited|plc|n v|nv|s a|sa|ag|se|lp"
    r"|l p|holdings?|group|technologies|the))+$"
)
_NEXT_WORD = re.compile(r" (\w+)")
_CLASS = re.compile(r"\bclass \w\b", re.IGNORECASE)
# As SEC writes where a company is incorporated: BANK OF AMERICA CORP /DE/.
_STATE = re.compile(r"\s*/\s*[A-Za-z]{2,3}\s*/?\s*$")


@dataclass(frozen=True, slots=True)
class Named:
    """A security named in a text.

    Attributes:
        how: what stood there.
        text: the words that stood there.
        sound_alike: they are a spelling by which captions mishear the name, so another thing may be meant.
        others: further symbols with the same name, such as other classes of the share.
    """

    symbol: str
    how: How
    text: str
    sound_alike: bool = False
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way a security is spelled in the table. `active`: it can still be traded."""

    symbol: str
    how: How
    text: str
    sound_alike: bool = False
    active: bool = True

    @property
    def order(self) -> tuple[bool, bool, bool]:
        return self.sound_alike, not self.active, bool(_CLASS.search(self.text))


@dataclass(frozen=True)
class NameIndex:
    """Every spelling of the table, to be looked up in texts.

    Attributes:
        spellings: by the words in speech form; the first is meant, the others share it.
        by_opening: those words, by the first of them and then by the second, which is empty where there is none.
        tickers: the symbol by how it may be written in upper case.
    """

    spellings: Mapping[str, tuple[Spelling, ...]]
    by_opening: Mapping[str, Mapping[str, tuple[str, ...]]]
    tickers: Mapping[str, str]

    @classmethod
    def of(cls, spellings: Iterable[Spelling], tickers: Mapping[str, str]) -> "NameIndex":
        """Index spellings, those of preferred securities first where several share one.

        Real names go before sound-alike ones, then active securities before those that are gone, then names without a
        class of shares before those with one: whoever says Berkshire means the share that the table calls just so.
        """
        grouped: dict[str, list[Spelling]] = {}
        for spelling in sorted(spellings, key=lambda one: one.order):
            for words in _speech_forms(spelling.text):
                held = grouped.setdefault(words, [])
                known = any(one.symbol == spelling.symbol for one in held)
                # What another company is really called is no mishearing.
                if not known and not (spelling.sound_alike and held and not held[0].sound_alike):
                    held.append(spelling)
        openings: dict[str, dict[str, tuple[str, ...]]] = {}
        for words in grouped:
            first, second, *_ = *words.split(" ", 2), ""
            begun = openings.setdefault(first, {})
            begun[second] = (*begun.get(second, ()), words)
        return cls({words: tuple(held) for words, held in grouped.items()}, openings, tickers)

    def mentions(self, texts: Sequence[str], *, flowing: bool = False) -> list[list[Named]]:
        """Return for each text the securities it names, each once, in the order of the symbols.

        Args:
            texts: what was said or written.
            flowing: the texts are lines of one speech, so that a name may begin in one line and end in the next; it
                counts for the line it begins in.
        """
        if not flowing and len(texts) > LINES_AT_ONCE:
            chunks = (texts[start : start + LINES_AT_ONCE] for start in range(0, len(texts), LINES_AT_ONCE))
            return [named for chunk in chunks for named in self.mentions(chunk)]
        raw = unicodedata.normalize("NFKC", "\n".join(text.replace("\n", " ") for text in texts))
        raw = ASIDE.sub(lambda aside: " " + "\n" * aside[0].count("\n"), raw)
        found: list[dict[str, Named]] = [{} for _ in texts]
        for number, named in (*self._tagged(raw), *self._spelled(raw, flowing)):
            held = found[number].get(named.symbol)
            if held is None or _rank(named) < _rank(held):
                found[number][named.symbol] = named
        return [[held[symbol] for symbol in sorted(held)] for held in found]

    def _tagged(self, raw: str) -> Iterator[tuple[int, Named]]:
        """Cashtags and upper-case tickers, each with the number of its line."""
        ends = _line_ends(raw)
        for tag in _CASHTAG.finditer(raw):
            symbol = self.tickers.get(tag[1].upper().replace("-", "."))
            if symbol:
                yield bisect_left(ends, tag.start()), Named(symbol, "cashtag", tag[0])
        for ticker in () if raw.islower() else _TICKER.finditer(raw):
            symbol = self.tickers.get(ticker[0].replace("-", "."))
            number = bisect_left(ends, ticker.start())
            if symbol and ticker[0] not in SHOUTED and _has_lower_case(raw, ends, number):
                yield number, Named(symbol, "ticker", ticker[0])

    def _spelled(self, raw: str, flowing: bool) -> Iterator[tuple[int, Named]]:
        """Names and aliases, longest first, none within another; each with the number of its line."""
        cased = _spoken(raw)
        flat = _lowered(cased).replace(".", " ")
        flat = flat.replace("\n", " ") if flowing else flat
        ends = _line_ends(cased)
        taken: set[int] = set()
        for start, name in sorted(self._whole(flat), key=lambda found: (-len(found[1]), found)):
            end = start + len(name)
            if not taken.isdisjoint(range(start, end)) or (
                _is_everyday(name) and not _stands_out(cased, flat, start, end)
            ):
                continue
            taken.update(range(start, end))
            meant, *others = self.spellings[name]
            text = cased[start:end].replace("\n", " ").replace(".", " ")
            # The first line feed stands before the first line.
            number = bisect_left(ends, start) - 1
            yield number, Named(meant.symbol, meant.how, text, meant.sound_alike, tuple(o.symbol for o in others))

    def _whole(self, flat: str) -> Iterator[tuple[int, str]]:
        """Every name that stands in the text as whole words, and where, also within another."""
        words = flat.replace("\n", " ").split(" ")
        starts = accumulate((len(word) + 1 for word in words), initial=0)
        for start, word, following in zip(starts, words, [*words[1:], ""], strict=False):
            openings = self.by_opening.get(word)
            if openings is None:
                continue
            longer = openings.get(following, ()) if following else ()
            for name in (*openings.get("", ()), *longer):
                if flat.startswith(name, start) and flat[start + len(name)] in " \n":
                    yield start, name


def is_spelled_out(symbol: str, text: str) -> bool:
    """Return whether a symbol itself stands in a text as a word of its own, in whatever case captions write it.

    Two letters must be in upper case, one letter is never enough, and a symbol that is an ordinary word (COST, LOW)
    must be in upper case too; one that is shouted as often (ALL, NOW) never counts. Of a crypto pair the first half
    counts.
    """
    base = symbol.removesuffix("-USD")
    # A search without regard to case reads slowly, and most symbols are nowhere in the text.
    if len(base) < MIN_NAME or base in SHOUTED or base.split(".")[0].lower() not in text.lower():
        return False
    strict = len(base) < MIN_TICKER or base.lower() in WORD_TICKERS | STOP_WORDS
    pattern = re.escape(base).replace(r"\.", r"[.\- ]?")
    return bool(re.search(rf"(?<!\w){pattern}(?!\w)", text, 0 if strict else re.IGNORECASE))


def _rank(named: Named) -> tuple[bool, int]:
    return named.sound_alike, _STRENGTH[named.how]


def _speech_forms(name: str) -> set[str]:
    """The words of a name as `_spoken` would write them, with and without the gap before a possessive s."""
    plain = unicodedata.normalize("NFKC", _STATE.sub("", name))
    forms = set()
    for text in (plain, plain.translate(_NO_APOSTROPHES)):
        words = " ".join(_lowered(_spoken(text)).replace(".", " ").split())
        words = _AFTER.sub("", _BEFORE.sub("", words)) or words
        if len(words) >= MIN_NAME and not words.isdigit():
            forms.add(words)
    return forms


def _spoken(raw: str) -> str:
    """Text between line feeds, in which exactly one of space, full stop and line feed parts two words."""
    text = _POSSESSIVE.sub(" s", raw)
    text = (_INNER_AND.sub("", text) if "&" in text else text).translate(_MARKS)
    text = _SPACES.sub(" ", text if text.isascii() else _OTHER_MARKS.sub(" ", text)).replace(" .", ".")
    text = _STOP.sub(".", text)
    # One mark is left between two words, and so one at most on either side of a line feed.
    for mark in (" ", "."):
        text = text.replace(f"{mark}\n", "\n").replace(f"\n{mark}", "\n")
    return f"\n{text.strip(' .')}\n"


def _lowered(text: str) -> str:
    """Lower case, every character in its place."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)


def _line_ends(text: str) -> list[int]:
    return [place.start() for place in re.finditer("\n", text)]


def _has_lower_case(raw: str, ends: Sequence[int], number: int) -> bool:
    start = ends[number - 1] if number else 0
    end = ends[number] if number < len(ends) else len(raw)
    return any(char.islower() for char in raw[start:end])


def _is_everyday(name: str) -> bool:
    return name in EVERYDAY_NAMES or name in STOP_WORDS


def _stands_out(cased: str, flat: str, start: int, end: int) -> bool:
    """Whether an everyday word is meant as a company: by the word after it, or its capital after a lower-case word."""
    following = _NEXT_WORD.match(flat, end)
    if following and cased[end] != "." and following[1] in SHARE_WORDS:
        return True
    words = re.split(r"[ \n.]", cased[start:end])
    before = cased[cased.rfind(" ", 0, start - 1) + 1 : start - 1]
    capital = all(word[:1].isupper() and not word.isupper() for word in words)
    return capital and cased[start - 1] == " " and before.rsplit("\n", 1)[-1].islower()

"""The value in a model's answer, however the answer is wrapped or broken.

Belongs here: finding and mending JSON, and holding it against a schema. Does not belong here: asking again (`run.py`),
the rules of a function (its `check`).

Ways are tried from the most to the least faithful; the one that worked is part of the result. An answer counts only if
it fits the schema: prose in braces, an example that the model quotes and a scalar do not.

An answer is untrusted: its length, its nesting and the work spent on mending it are bounded, and the time taken grows
with its length, not with its square.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Generic, Literal, TypeVar

import json_repair
from pydantic import BaseModel, ValidationError

Output = TypeVar("Output", bound=BaseModel)

Strategy = Literal["direct", "fence", "balanced", "repair", "balanced_inner", "none"]

# Twice the longest answer that is ever asked for (16 000 tokens of some 6 characters).
MAX_CHARS = 200_000
# No schema here nests deeper than ten; the parsers would stop at some hundreds, by running out of stack.
MAX_DEPTH = 64
# Of each way; braces in prose come before the answer, but not by the hundred.
MAX_CANDIDATES = 200
# Mending looks at each character some six times; broken braces by the thousand make it look at all of them each time.
LOOKS_PER_CHAR, LOOKS_FREE = 16, 100_000
# An odd quote hides what follows it; so many later openers are tried as if the text began there.
MAX_RESTARTS = 8
# What a model can act upon; more is noise that is paid for.
MAX_PROBLEMS, MAX_PROBLEM_CHARS = 6, 200

_FAITH: Mapping[Strategy, int] = {"direct": 2, "fence": 2, "balanced": 2, "repair": 1, "balanced_inner": 0}

_OPENER = re.compile(r"[{\[]")
# Inside a value: a bracket, or a whole string. Possessive, so that a string without an end is given up at once.
_TOKEN = re.compile(r'[{\[\]}]|"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
_FENCE = re.compile(r"\A(`{3,}|~{3,})[^\n`]*\n(.*)\n?\1\Z", re.DOTALL)
# No blanks that JSON would know, and yet found around answers: byte order mark, zero-width spaces.
_AROUND = "\ufeff\u200b\u2060"


@dataclass(frozen=True)
class Extracted(Generic[Output]):
    """What an answer holds.

    Attributes:
        value: None if nothing in the answer fits the schema.
        strategy: how it was found; `none` without a value.
        problem: without a value, what was wrong with the likeliest candidate, worded for the model; else empty.
    """

    value: Output | None
    strategy: Strategy
    problem: str = ""


def extract(text: str, output: type[Output]) -> Extracted[Output]:
    """Return the first value in an answer that fits a schema. Never raises for what the text holds."""
    if len(text) > MAX_CHARS:
        return Extracted(None, "none", f"The answer is longer than {MAX_CHARS} characters.")
    text = text.strip().strip(_AROUND).strip()
    found = _scan(text, 0)
    likeliest: tuple[tuple[int, int], ValidationError] | None = None
    for strategy, size, candidate in _candidates(text, found):
        try:
            return Extracted(_fitted(candidate, output), strategy)
        except ValidationError as error:
            # The largest object is the answer, other whole ones are examples; mended text is a guess, and an inner
            # value a part of something.
            weight = (_FAITH[strategy], size)
            if isinstance(candidate, dict) and (likeliest is None or weight > likeliest[0]):
                likeliest = weight, error
        except _Unusable:
            continue
    if likeliest:
        return Extracted(None, "none", validation_message(likeliest[1]))
    if found.unclosed is not None:
        return Extracted(None, "none", "The JSON in the answer is cut off or broken.")
    return Extracted(None, "none", "The answer holds no JSON object.")


def validation_message(error: ValidationError) -> str:
    """Say what does not fit, field by field, without quoting the answer; for the model and for people."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    lines = []
    for problem in problems[:MAX_PROBLEMS]:
        where = ".".join(str(part) for part in problem["loc"]) or "answer"
        lines.append(f"{_clipped(where)}: {_clipped(problem['msg'].removeprefix('Value error, '))}")
    if len(problems) > MAX_PROBLEMS:
        lines.append(f"and {len(problems) - MAX_PROBLEMS} more")
    return "; ".join(lines)


class _Unusable(Exception):
    """A candidate that no schema can want."""


class _TooMuchWork(Exception):
    """Mending has looked at more characters than it may."""


class _Metered(str):
    """Text that stops whoever reads it for too long, in itself and in what is cut and joined from it."""

    meter: list[int]

    @classmethod
    def over(cls, text: str, meter: list[int]) -> "_Metered":
        """Return metered text; `meter` holds one number, how many characters may still be looked at."""
        metered = cls(text)
        metered.meter = meter
        return metered

    def __getitem__(self, key: Any) -> str:
        found = super().__getitem__(key)
        self.meter[0] -= len(found)
        if self.meter[0] < 0:
            raise _TooMuchWork
        return self.over(found, self.meter) if isinstance(key, slice) else found

    def __add__(self, other: str) -> str:
        return self.over(super().__add__(other), self.meter)


@dataclass(frozen=True)
class _Found:
    """Objects and arrays of a text, as spans.

    Attributes:
        complete: those that are closed and lie in no other, in order.
        unclosed: where the first that is not closed begins.
        inner: the largest closed ones after that.
    """

    complete: tuple[tuple[int, int], ...]
    unclosed: int | None
    inner: tuple[tuple[int, int], ...]


def _scan(text: str, start: int) -> _Found:
    """Match brackets from `start` on, without regard to their kind; strings count only inside of a value."""
    opened: list[int] = []
    spans: list[tuple[int, int]] = []
    position = start
    while token := (_TOKEN if opened else _OPENER).search(text, position):
        position = token.end()
        if token[0] in "{[":
            opened.append(token.start())
        elif token[0] in "}]":
            begin = opened.pop()
            while spans and spans[-1][0] > begin:
                spans.pop()
            spans.append((begin, position))
    unclosed = opened[0] if opened else None
    border = len(text) if unclosed is None else unclosed
    return _Found(
        tuple(span for span in spans if span[0] < border), unclosed, tuple(span for span in spans if span[0] > border)
    )


def _candidates(text: str, found: _Found) -> Iterator[tuple[Strategy, int, Any]]:
    """Yield strategy, size in characters and value, from the most faithful way to the least."""
    for value in _parsed(text):
        yield "direct", len(text), value
    fence = _FENCE.match(text)
    if fence:
        for value in _parsed(fence[2]):
            yield "fence", len(text), value
    for begin, end in found.complete[:MAX_CANDIDATES]:
        for value in _parsed(text[begin:end]):
            yield "balanced", end - begin, value
    for size, value in _mended(text, found):
        yield "repair", size, value
    for begin, end in _inside(text, found):
        for value in _parsed(text[begin:end]):
            yield "balanced_inner", end - begin, value


def _parsed(text: str) -> Iterator[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict | list):
        yield value


def _mended(text: str, found: _Found) -> Iterator[tuple[int, Any]]:
    """Mend what follows the first opener that is not closed, else the first opener; then each closed value alone."""
    tails = [found.unclosed] if found.unclosed is not None else [begin for begin, _ in found.complete[:1]]
    broken = (span for span in found.complete[:MAX_CANDIDATES] if not list(_parsed(text[slice(*span)])))
    meter = [LOOKS_FREE + LOOKS_PER_CHAR * len(text)]
    for begin, end in chain(((begin, len(text)) for begin in tails), broken):
        try:
            metered = _Metered.over(text[begin:end], meter)
            value = json_repair.repair_json(metered, return_objects=True, skip_json_loads=True)
        except (_TooMuchWork, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            # The last three would be faults of the library, which guesses; an answer must not be able to raise them.
            value = None
        if isinstance(value, dict | list):
            yield end - begin, value
        if isinstance(value, list):
            # Several values in one tail come back as a list of them.
            yield from ((end - begin, item) for item in value[:MAX_CANDIDATES] if isinstance(item, dict))


def _inside(text: str, found: _Found) -> Iterator[tuple[int, int]]:
    """Complete values after an opener that is not closed; if quotes are odd, by starting again further on."""
    if found.unclosed is None:
        return
    yield from found.inner[:MAX_CANDIDATES]
    for opener in islice(_OPENER.finditer(text, found.unclosed + 1), MAX_RESTARTS):
        yield from _scan(text, opener.start()).complete[:MAX_CANDIDATES]


def _fitted(candidate: Any, output: type[Output]) -> Output:
    """Validate as JSON: what a schema says of dates, enums and tuples then means their JSON forms.

    Raises:
        ValidationError: it does not fit.
        _Unusable: it nests too deeply, or holds NaN or an infinity, be it as a word that the schema takes for a number.
    """
    try:
        fitted = output.model_validate_json(json.dumps(_cleaned(candidate, 0), allow_nan=False))
    except ValidationError:  # a ValueError
        raise
    except ValueError:
        raise _Unusable from None
    if not _finite(fitted.model_dump()):
        raise _Unusable
    return fitted


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def _cleaned(value: Any, depth: int) -> Any:
    """Replace halves of surrogate pairs, which no encoding can store."""
    if depth > MAX_DEPTH:
        raise _Unusable
    if isinstance(value, dict):
        return {_cleaned(key, depth): _cleaned(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_PROBLEM_CHARS else line[: MAX_PROBLEM_CHARS - 1] + "…"

"""Moderation: whether a text may be published or sent to those who make images.

Belongs here: asking a model that moderates, through the gateway, and a list of words for where none can be asked. Does
not belong here: what becomes of a text that is flagged (the products), calls (`gateway.py`).

A verdict is kept in the journal by the text it is about, so that the same text is looked at once. Where nobody answers
the text waits: what has not been looked at is not let through, unless the settings say so.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Protocol

from magpie.llm import journal
from magpie.llm.engine import OFFLINE, Engine
from magpie.llm.gateway import Answered, Gateway
from magpie.llm.journal import Verdict
from magpie.llm.models import Model
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import FINAL, INVALID_S, TRY_NEXT, Refused, after
from magpie.llm.request import Ask
from magpie.llm.store import LedgerUnavailable
from magpie.yaml_text import read_yaml

FailMode = Literal["closed", "open"]

ALIAS = "moderate"
# What let a text through that nobody has looked at.
UNCHECKED = "unchecked"
# Verdicts on long texts blur; and a request of that many parts stays far below what a server takes.
PART_CHARS, PARTS_PER_REQUEST = 4000, 32
# A name of a category from a server is kept if it can be one.
CATEGORY = re.compile(r"[a-z][a-z0-9_]{0,39}")
# Characters that show nothing and split words: joiners, marks of direction, soft hyphens.
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
CURLED = str.maketrans({"\u2018": "'", "\u2019": "'"})


@dataclass(frozen=True)
class Moderation:
    """What was thought of a text.

    Attributes:
        categories: in which it was flagged, sorted: harassment, hate, illicit, self_harm, sexual, sexual_minors,
            violence, and kinds of them such as violence_graphic.
        provider: who looked; `offline`: a list of words; `unchecked`: nobody, and the settings let it through.
    """

    flagged: bool
    categories: tuple[str, ...]
    provider: str


class Moderates(Protocol):
    """Who looks at texts; several threads may ask at once."""

    def moderate(self, text: str, row_ref: str | None = None) -> Moderation | Refused:
        """Look at a text; refused: it waits. Never raises for what a provider, the network or the books do."""


class OfflineModerator:
    """Looks for words and patterns of a list; it understands nothing."""

    def moderate(self, text: str, row_ref: str | None = None) -> Moderation | Refused:
        plain = _plain(text)
        found = tuple(name for name, pattern in _patterns() if pattern.search(plain))
        return Moderation(bool(found), found, OFFLINE)


class Moderator:
    """Asks models that moderate.

    Args:
        models: of kind moderation, the preferred one first; the next is asked where an account cannot serve.
        purpose: recorded with every call.
        fail_mode: `closed`: a text that nobody looked at waits; `open`: it passes as unchecked.
    """

    def __init__(
        self, gateway: Gateway, models: Sequence[Model], purpose: Purpose, fail_mode: FailMode = "closed"
    ) -> None:
        if not models or any(model.kind != "moderation" for model in models):
            raise ValueError("texts are moderated by models of kind moderation, and by one at least")
        self._gateway, self._models, self._purpose = gateway, tuple(models), purpose
        self._open = fail_mode == "open"

    def moderate(self, text: str, row_ref: str | None = None) -> Moderation | Refused:
        """Look at a text, a long one in parts; it is flagged if a part is."""
        parts = list(parts_of(text))
        if not parts:
            return Moderation(False, (), self._models[0].provider)
        purpose = replace(self._purpose, row_ref=row_ref)
        found: set[str] = set()
        flagged, provider = False, self._models[0].provider
        for start in range(0, len(parts), PARTS_PER_REQUEST):
            told = self._asked(tuple(parts[start : start + PARTS_PER_REQUEST]), purpose)
            if isinstance(told, Refused):
                return Moderation(False, (), UNCHECKED) if self._open else self._waiting(told)
            found |= set(told.categories)
            flagged, provider = flagged or told.flagged, told.provider
        return Moderation(flagged, tuple(sorted(found)), provider)

    def _asked(self, parts: tuple[str, ...], purpose: Purpose) -> Moderation | Refused:
        refusals: list[Refused] = []
        for model in self._models:
            request = self._gateway.request(Ask("moderation", texts=parts), model)
            answer = request if isinstance(request, Refused) else self._gateway.ask(request, purpose)
            outcome = self._judged(answer, len(parts), model) if isinstance(answer, Answered) else answer
            if isinstance(outcome, Moderation) or outcome.reason not in TRY_NEXT:
                return outcome
            refusals.append(outcome)
        return refusals[0]

    def _judged(self, answer: Answered, parts: int, model: Model) -> Moderation | Refused:
        read = read_results(answer.reply.text, parts)
        if answer.state != "accepted":
            verdict = Verdict(answer.call_id, "closed", error_class="invalid_output")
            verdict = verdict if read is None else Verdict(answer.call_id, "accepted")
            try:
                self._gateway.store.write(lambda c: journal.judge(c, [verdict]))
            except LedgerUnavailable as error:
                return self._gateway.unavailable(error)
        if read is None:
            detail = f"{model.name} did not say of each part whether it is flagged"
            return Refused("invalid_output", detail, after(self._gateway.clock(), INVALID_S[0]))
        return Moderation(*read, model.provider)

    def _waiting(self, refused: Refused) -> Refused:
        """Waiting for the same thing, under the name that rows know; what is final waits for the settings to change."""
        until = None if refused.reason in FINAL else refused.not_before
        detail = f"nobody looked at the text: {refused.detail}"
        return Refused("moderation_unavailable", detail, until, refused.reason, "a verdict")


def moderator(engine: Engine, purpose: Purpose, fail_mode: FailMode = "closed") -> Moderates:
    """Who looks at texts: the models of the alias that can be asked, else the list of words.

    Raises:
        UserError: the alias stands for nothing that is served.
    """
    wanted = engine.settings.provider
    known = () if wanted == OFFLINE else engine.models.candidates(ALIAS, engine.gateway.clock().date())
    providers = engine.gateway.providers
    keyed = tuple(model for model in known if model.provider in providers and providers[model.provider].has_key)
    # Who chose a provider by name does without those of others, as with every function.
    models = keyed if wanted == "auto" else tuple(model for model in known if model.provider == wanted)
    if not models:
        return OfflineModerator()
    asked = replace(purpose, model_alias=purpose.model_alias or ALIAS)
    return Moderator(engine.gateway, models, asked, fail_mode)


def parts_of(text: str) -> Iterator[str]:
    """The text in parts of at most `PART_CHARS` characters, cut between words where there are any."""
    rest = text.strip()
    while len(rest) > PART_CHARS:
        space = max(rest.rfind(" ", 1, PART_CHARS), rest.rfind("\n", 1, PART_CHARS))
        cut = space if space > PART_CHARS // 2 else PART_CHARS
        yield rest[:cut]
        rest = rest[cut:].lstrip()
    if rest:
        yield rest


def read_results(text: str, parts: int) -> tuple[bool, tuple[str, ...]] | None:
    """Read the results of moderation: whether a part is flagged, and in which categories.

    Returns:
        None if they do not say so of every part.
    """
    try:
        results: Any = json.loads(text)
    except ValueError:
        return None
    if not isinstance(results, list) or len(results) != parts:
        return None
    if not all(isinstance(result, Mapping) and isinstance(result.get("flagged"), bool) for result in results):
        return None
    found: set[str] = set()
    for result in results:
        categories = result.get("categories")
        if isinstance(categories, Mapping):
            names = (re.sub("[^a-z0-9]+", "_", str(name).lower()) for name, said in categories.items() if said is True)
            found |= {name for name in names if CATEGORY.fullmatch(name)}
    return any(result["flagged"] for result in results), tuple(sorted(found))


def _plain(text: str) -> str:
    """The text as the list is written: composed, in lower case, with single spaces, nothing invisible."""
    composed = INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(CURLED)
    return " ".join(composed.lower().split())


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    listed = read_yaml((files("magpie.llm") / "moderation.yaml").read_text("utf-8"))
    return tuple((name, _pattern(**rules)) for name, rules in sorted(listed.items()))


def _pattern(phrases: Sequence[str], patterns: Sequence[str]) -> re.Pattern[str]:
    whole = (rf"\b{re.escape(phrase)}\b" for phrase in phrases)
    return re.compile("|".join((*whole, *patterns)))

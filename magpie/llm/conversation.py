"""One row's conversation with a model: the first question, few re-asks, the answer that holds or none.

Belongs here: judging an answer, asking again, going on to the next candidate of an alias. Does not belong here: many
rows at once (`engine.py`), calls and money (`gateway.py`).

A conversation is a function of what was asked and answered, so one that a crash cut short goes on where it stopped:
each question's key follows from the answers before it, and those are in the journal.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from magpie.llm.choices import Chosen
from magpie.llm.credits import credits_of
from magpie.llm.extractor import Extracted, extract, validation_message
from magpie.llm.gateway import TERMS, Answered, Terms
from magpie.llm.journal import Entry, Verdict
from magpie.llm.models import Model
from magpie.llm.prompts import RenderedPrompt
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import TRY_NEXT, Refused, out_of_time
from magpie.llm.reply import Reply
from magpie.llm.request import Ask, Image, Request, Turn
from magpie.llm.spec import PACE, FunctionSpec, InvalidAnswer, Pace, Row

log = logging.getLogger(__name__)

# So much of a bad answer is shown to the model again; the whole is in the journal.
SHOWN_BACK_CHARS = 4000
OFFLINE = "offline"
# How an answer was found that is no JSON, where a function takes such.
AS_TEXT = "text"


class Door(Protocol):
    """What a conversation goes through: the gateway, or a plan's, which buys nothing."""

    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request | Refused:
        """Word an ask for a model, or say why it cannot go there."""

    def ask(self, request: Request, purpose: Purpose, *, reask: int = 0, terms: Terms = TERMS) -> Answered | Refused:
        """Answer one request; never raises for what a provider, the network or the books do."""

    def rest(self, model: Model, detail: str, seconds: float) -> None:
        """Leave a model alone for a while."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """UTC now."""


@dataclass(frozen=True)
class Prepared:
    """A row with its rendered prompt, or why it has none."""

    row: Row
    prompt: str = field(default="", repr=False)
    images: tuple[Image, ...] = ()
    prompt_source: str | None = None
    prompt_version: str | None = None
    rendered_hash: str | None = None
    input_hash: str | None = None
    refused: Refused | None = None

    @classmethod
    def of(cls, row: Row, prompt: RenderedPrompt, images: tuple[Image, ...], input_hash: str) -> "Prepared":
        facts = (prompt.prompt_source, prompt.prompt_version, prompt.rendered_hash)
        return cls(row, prompt.text, images, *facts, input_hash)

    @classmethod
    def unrenderable(cls, row: Row, refused: Refused) -> "Prepared":
        return cls(row, refused=refused)


@dataclass(frozen=True)
class Outcome:
    """How a row's conversation ended.

    Attributes:
        value: the checked answer as JSON.
        spent_nano: booked now; saved_nano: what journalled answers did not cost again.
    """

    item: Prepared
    value: str | None = None
    refused: Refused | None = None
    provider: str | None = None
    model: str | None = None
    spent_nano: int = 0
    saved_nano: int = 0
    calls: int = 0
    hits: int = 0
    verdicts: tuple[Verdict, ...] = ()

    @classmethod
    def refused_(cls, item: Prepared, refused: Refused) -> "Outcome":
        return cls(item, refused=refused)


@dataclass(frozen=True)
class _Judged:
    """A checked answer, or what to tell the model about it."""

    value: BaseModel | None
    strategy: str
    problem: str = ""
    broken: bool = False


def offline_outcome(spec: FunctionSpec[Any], item: Prepared) -> Outcome:
    """Answer by rules: deterministic, free, labelled."""
    if item.refused:
        return Outcome.refused_(item, item.refused)
    answer = spec.check(spec.offline(item.row), item.row, True)
    return Outcome(item, answer.model_dump_json(), None, OFFLINE, OFFLINE)


class Conversation:
    """One row, its candidates, and what has been said so far.

    Args:
        models: the candidates, in order.
        final: a reason not to ask at all.
        pace: how patiently it is led.
    """

    def __init__(
        self,
        spec: FunctionSpec[Any],
        item: Prepared,
        models: Sequence[Model],
        chosen: Chosen,
        schema: Mapping[str, Any],
        purpose: Purpose,
        door: Door,
        final: Refused | None = None,
        pace: Pace = PACE,
    ) -> None:
        self.spec, self.item, self.purpose, self.pace = spec, item, purpose, pace
        self._models, self._chosen, self._schema, self._door = models, chosen, schema, door
        self._final = item.refused or final
        self._begun: tuple[Model, Answered] | None = None
        self._first: dict[str, tuple[Model, Request]] = {}
        self._unaskable: Refused | None = None
        self._send_by: datetime | None = None
        for model in models if not self._final else ():
            request = self._request(model, (), self._bound(model))
            if isinstance(request, Refused):
                self._unaskable = request
            else:
                self._first[request.key] = (model, request)

    def requests(self) -> list[Request]:
        """The first question in the words of each candidate."""
        return [request for _, request in self._first.values()]

    def best(self, entries: Mapping[str, Entry]) -> tuple[Request, Entry] | None:
        """The journalled answer to begin with: an accepted one before others, then the order of the candidates."""
        known = [(request, entries[key]) for key, (_, request) in self._first.items() if key in entries]
        return min(known, key=lambda pair: pair[1].state != "accepted", default=None)

    def begin_with(self, request: Request, answer: Answered) -> None:
        """Take a journalled answer as the first one."""
        self._begun = (self._first[request.key][0], answer)

    def settled(self) -> Outcome | None:
        """The end, if no call is needed to reach it."""
        if self._final:
            asked = self._models[0] if self._models and not self.item.refused else None
            who = (asked.provider, asked.model_id) if asked else (None, None)
            return Outcome(self.item, None, self._final, *who)
        if not self._first:
            nobody = self._unaskable or Refused("invalid_request", "no model to ask")
            return Outcome.refused_(self.item, nobody)
        if self._begun is None:
            return None
        model, answer = self._begun
        judged = self._judge(answer.reply, last_try=self.pace.reasks == 0)
        if judged.value is None:
            return None
        return self._accepted(_billed(Outcome(self.item), answer), model, answer, judged)

    def run(self, batch_end: datetime | None = None) -> Outcome:
        """Talk until an answer holds, nothing more is to be tried, or time is up for the row or its run."""
        self._start(batch_end)
        outcome = Outcome(self.item, refused=self._unaskable)
        for model in self._in_turn():
            outcome = self._with(model, replace(outcome, refused=None))
            if outcome.refused is None or outcome.refused.reason not in TRY_NEXT:
                break
        return outcome

    def _start(self, batch_end: datetime | None) -> None:
        own = self.pace.row_s and self._door.clock() + timedelta(seconds=self.pace.row_s)
        end = min((end for end in (own, batch_end) if end), default=None)
        self._send_by = end and end - timedelta(seconds=self.pace.reserve_s)

    def _in_turn(self) -> list[Model]:
        """The candidates that can be asked; the one with a journalled answer before others."""
        first = [self._begun[0]] if self._begun else []
        return [*first, *(model for model, _ in self._first.values() if model not in first)]

    def _with(self, model: Model, outcome: Outcome) -> Outcome:
        turns: tuple[Turn, ...] = ()
        bound = self._bound(model)
        chain: list[str] = []
        for reask in range(self.pace.reasks + 1):
            answer = self._answer(model, turns, bound, reask)
            if isinstance(answer, Refused):
                return replace(outcome, refused=answer, verdicts=(*outcome.verdicts, *_bad(chain)))
            outcome = _billed(outcome, answer)
            if answer.reply.finish_reason == "refused":
                return self._declined(outcome, model, answer)
            judged = self._judge(answer.reply, last_try=reask == self.pace.reasks)
            if judged.value is not None:
                outcome = replace(outcome, verdicts=(*outcome.verdicts, *_bad(chain)))
                return self._accepted(outcome, model, answer, judged)
            chain.append(answer.call_id)
            if judged.broken:
                break
            if answer.reply.finish_reason == "length" and bound == self._bound(model) < self._doubled(model, bound):
                bound = self._doubled(model, bound)
            else:
                turns = (*turns, *_again(answer.reply.text, judged.problem))
        return self._exhausted(outcome, model, chain, judged)

    def _answer(self, model: Model, turns: tuple[Turn, ...], bound: int, reask: int) -> Answered | Refused:
        if reask == 0 and self._begun and self._begun[0] == model:
            return self._begun[1]
        request, now = self._request(model, turns, bound), self._door.clock()
        if isinstance(request, Refused):
            return request
        if self._send_by is not None and now > self._send_by:
            return out_of_time(now, now)
        terms = Terms(self.pace.request_s, self._send_by, self.pace.hand_on)
        return self._door.ask(request, self.purpose, reask=reask, terms=terms)

    def _request(self, model: Model, turns: tuple[Turn, ...], bound: int) -> Request | Refused:
        ask = Ask(
            "json",
            self.item.prompt,
            self.spec.system,
            turns,
            self.item.images,
            json_schema=self._schema,
            schema_name=self.spec.name,
            max_output_tokens=bound,
            temperature=self._chosen.temperature,
            reasoning_off=self.spec.reasoning_off,
        )
        return self._door.request(ask, model)

    def _bound(self, model: Model) -> int:
        return min(self._chosen.max_output_tokens, model.max_output_tokens or self._chosen.max_output_tokens)

    def _doubled(self, model: Model, bound: int) -> int:
        return min(2 * bound, model.max_output_tokens or 2 * bound)

    def _judge(self, reply: Reply, *, last_try: bool) -> _Judged:
        found: Extracted = extract(reply.text, self.spec.output)
        strategy: str = found.strategy
        try:
            answer = found.value
            # Of a text that was cut off nobody can tell how much is missing.
            if answer is None and self.spec.from_text and reply.finish_reason != "length":
                answer, strategy = self.spec.from_text(reply.text), AS_TEXT
            if answer is None:
                return _Judged(None, found.strategy, found.problem)
            return _Judged(self.spec.check(answer, self.item.row, last_try), strategy)
        except InvalidAnswer as error:
            return _Judged(None, strategy, str(error))
        except ValidationError as error:
            return _Judged(None, strategy, validation_message(error))
        except Exception:
            # A rule that breaks on an answer must not take the paid answers of the other rows with it.
            log.exception("%s: the check broke on the answer for %s", self.spec.name, self.item.row["row_ref"])
            return _Judged(None, strategy, "the rule that checks it broke", broken=True)

    def _declined(self, outcome: Outcome, model: Model, answer: Answered) -> Outcome:
        refused = Refused("refused", "the model declined to answer")
        return replace(self._accepted(outcome, model, answer, _Judged(None, "none")), refused=refused)

    def _accepted(self, outcome: Outcome, model: Model, answer: Answered, judged: _Judged) -> Outcome:
        verdicts = outcome.verdicts
        if answer.state != "accepted":
            usage = answer.reply.usage
            tokens = usage.input_tokens + usage.output_tokens if usage else 0
            amount = credits_of(self.spec.credits, tokens) if judged.value is not None else 0
            verdicts += (Verdict(answer.call_id, "accepted", judged.strategy, None, amount, "v1"),)
        return replace(
            outcome,
            value=judged.value.model_dump_json() if judged.value is not None else None,
            provider=model.provider,
            model=answer.reply.model or model.model_id,
            verdicts=verdicts,
        )

    def _exhausted(self, outcome: Outcome, model: Model, chain: Sequence[str], judged: _Judged) -> Outcome:
        reason = "internal_error" if judged.broken else "invalid_output"
        before = tuple(Verdict(call_id, "closed", "none") for call_id in chain[:-1])
        last = Verdict(chain[-1], "closed", judged.strategy, reason)
        return replace(
            outcome,
            refused=Refused(reason, judged.problem),  # type: ignore[arg-type]
            provider=model.provider,
            model=model.model_id,
            verdicts=(*outcome.verdicts, *before, last),
        )


def _bad(chain: Sequence[str]) -> list[Verdict]:
    """Answers that were asked again about: kept, so that the chain can be walked again, and never given as good."""
    return [Verdict(call_id, "invalid", "none", "invalid_output") for call_id in chain]


def _billed(outcome: Outcome, answer: Answered) -> Outcome:
    return replace(
        outcome,
        spent_nano=outcome.spent_nano + answer.cost_nano,
        saved_nano=outcome.saved_nano + answer.saved_nano,
        calls=outcome.calls + (not answer.hit),
        hits=outcome.hits + answer.hit,
    )


def _again(text: str, problem: str) -> tuple[Turn, Turn]:
    message = f"This answer does not hold: {problem}\nAnswer again, with the whole JSON object and nothing else."
    return Turn("assistant", text[:SHOWN_BACK_CHARS] or "(nothing)"), Turn("user", message)

"""A row that is handed from model to model until one of them answers well.

Belongs here: for functions whose pace says `hand_on`, which candidate is asked next, who rests, and what a turn
through all of them comes to. Does not belong here: asking one model and judging its answer (`conversation.py`), what a
fault does to the books (`outcomes.py`).

A turn in which some model answered and no answer held is one failure of the row, however many models were asked. What
only says something about models, accounts or the network is none.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from magpie.llm.conversation import Conversation, Outcome
from magpie.llm.gateway import Answered
from magpie.llm.journal import Verdict
from magpie.llm.models import Model
from magpie.llm.refusal import HAND_ON, OF_ACCOUNT, OF_ANSWER, REST_S, Refused, after


class Relay(Conversation):
    """One row, and the candidates that have a turn with it."""

    def run(self, batch_end: datetime | None = None) -> Outcome:
        """Ask one candidate after the other until an answer holds, nobody is left, or time or money is."""
        self._start(batch_end)
        outcome, met = Outcome(self.item), list[Refused]()
        for model in self._in_turn():
            before = outcome.calls
            outcome = self._with(model, replace(outcome, refused=None))
            if outcome.refused is None:
                return replace(outcome, verdicts=_counting(outcome.verdicts, last=False))
            met.append(outcome.refused)
            if outcome.refused.reason == "invalid_output" and outcome.calls > before:
                self._door.rest(model, f"its answer did not hold: {outcome.refused.detail}", REST_S)
            if outcome.refused.reason not in HAND_ON:
                break
        refused = _come_to(met, self._door.clock())
        if refused.reason in OF_ANSWER:
            return replace(outcome, refused=refused, verdicts=_counting(outcome.verdicts, last=True))
        verdicts = _counting(outcome.verdicts, last=False)
        return replace(outcome, refused=refused, provider=None, model=None, verdicts=verdicts)

    def _declined(self, outcome: Outcome, model: Model, answer: Answered) -> Outcome:
        # Another model may answer what this one would not; it did nothing wrong, so it does not rest.
        verdict = Verdict(answer.call_id, "closed", "none", "refused")
        refused = Refused("refused", f"{model.name} declined to answer")
        verdicts = (*outcome.verdicts, verdict)
        return replace(outcome, refused=refused, provider=model.provider, model=model.model_id, verdicts=verdicts)


def _come_to(met: Sequence[Refused], now: datetime) -> Refused:
    """What a turn without an answer comes to.

    What stopped it decides; then what concerns an account, since it also kept models from answering; then answers that
    did not hold, faults on the way, models that rest, and last requests that no model would have.
    """
    last, again = met[-1], after(now, REST_S)
    if last.reason not in HAND_ON and last.reason != "batch_stopped":
        return replace(last, not_before=again) if last.reason in OF_ANSWER else last
    for refused in met:
        if refused.reason in OF_ACCOUNT:
            return refused
    for reasons in (OF_ANSWER, {"transport"}):
        of_kind = [refused for refused in met if refused.reason in reasons]
        if of_kind:
            return replace(of_kind[-1], not_before=again)
    resting = [refused for refused in met if refused.reason == "cooling_down"]
    if last.reason == "batch_stopped" or not resting:
        return last
    return min(resting, key=lambda refused: refused.not_before or again)


def _counting(verdicts: Sequence[Verdict], *, last: bool) -> tuple[Verdict, ...]:
    """The verdicts of a turn; of its bad answers at most the last one counts against the row."""
    bad = [n for n, verdict in enumerate(verdicts) if verdict.error_class in OF_ANSWER and verdict.state == "closed"]
    counted = bad[-1:] if last else []
    return tuple(
        replace(verdict, counts=False) if n in bad and n not in counted else verdict
        for n, verdict in enumerate(verdicts)
    )

"""How good, how sad and how risky a text is, by the models of its moment.

Belongs here: putting the estimates of one text together. Does not belong here: the models (`text_model.py`), sentiment
(`sentiment.py`), what follows from an estimate (`deciding.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from magpie.persona.documents import with_answer
from magpie.persona.retention import Kept
from magpie.persona.routing import Cuts
from magpie.persona.scales import logit
from magpie.persona.settings import Tuning
from magpie.persona.subjects import Subject, Turn
from magpie.persona.text_model import TextModel
from magpie.persona.tweaks import adjusted
from magpie.persona.writing import Text

# Of a model that is not trained yet: it knows nothing.
UNTRAINED = 0.5


@dataclass(frozen=True)
class Models:
    """The models of a moment; None: not trained yet. `cuts` follow from the autoreview model's own evaluation."""

    selector: TextModel | None
    autoreview: TextModel | None
    cuts: Cuts

    @property
    def trained(self) -> bool:
        return self.selector is not None and self.autoreview is not None

    @property
    def versions(self) -> dict[str, str | None]:
        pairs = {"selector_version": self.selector, "autoreview_version": self.autoreview}
        return {name: model.version if model else None for name, model in pairs.items()}


@dataclass(frozen=True)
class Scored:
    """A text with its estimates; probabilities but for `adjusted` and the logit."""

    text: Text
    selector_p: float
    adjusted: float
    sentiment_p: float
    sentiment_logit: float
    autoreview_p: float | None
    judge_p: float | None

    def row(self, turn: Turn, models: Models) -> dict[str, Any]:
        """Of `candidate_scores`."""
        subject = turn.subject
        return {
            "blog": subject.blog,
            "day": subject.day,
            "input_id": subject.input_id,
            "attempt": turn.attempt,
            "k": self.text.k,
            "selector_p": self.selector_p,
            "selector_adjusted": self.adjusted,
            "sentiment_logit": self.sentiment_logit,
            "sentiment_p": self.sentiment_p,
            "autoreview_p": self.autoreview_p,
            "judge_p": self.judge_p,
            **models.versions,
        }


@dataclass(frozen=True)
class Scorer:
    """Scores for one blog.

    Attributes:
        at: the models that a tick knows.
        sentiments: of texts, as probabilities of being glad.
        judge: a model's own estimates of risk; None: not asked.
    """

    tuning: Tuning
    at: Callable[[datetime], Models]
    sentiments: Callable[[Sequence[str]], list[float]]
    judge: Callable[[Turn, Sequence[Text]], list[float | None]] | None

    def scored(self, turn: Turn, texts: Sequence[Text], models: Models) -> list[Scored]:
        """Estimate every text of an attempt."""
        if not texts:
            return []
        subject = turn.subject
        chosen = selector_ps(models, subject, texts)
        risks = autoreview_ps(models, subject, texts)
        moods = self.sentiments([text.body for text in texts])
        judged = self.judge(turn, texts) if self.judge else [None] * len(texts)
        return [
            Scored(
                text, p, adjusted(p, text.body, text.tags, subject.images, self.tuning), mood, logit(mood), risk, told
            )
            for text, p, risk, mood, told in zip(texts, chosen, risks, moods, judged, strict=True)
        ]

    def rescored(self, kept: Sequence[Kept], subject: Subject, models: Models) -> list[Kept]:
        """Estimate texts kept from before anew, as if they had been written for this input."""
        if not kept:
            return []
        texts = [Text(-1, one.body, tuple(one.tags)) for one in kept]
        chosen, risks = selector_ps(models, subject, texts), autoreview_ps(models, subject, texts)
        version = models.selector.version if models.selector else None
        return [
            replace(
                one,
                selector_p=adjusted(p, one.body, one.tags, subject.images, self.tuning),
                autoreview_p=risk,
                scored_version=version,
            )
            for one, p, risk in zip(kept, chosen, risks, strict=True)
        ]


def kept_of(scored: Scored, day: date, models: Models, sha256: str) -> Kept:
    """A text that was not chosen, as the retention set holds it."""
    version = models.selector.version if models.selector else None
    text = scored.text
    return Kept(
        sha256, text.body, text.tags, scored.adjusted, scored.sentiment_logit, scored.autoreview_p, day, version
    )


def selector_ps(models: Models, subject: Subject, texts: Sequence[Text]) -> list[float]:
    """How likely readers are to like each."""
    if models.selector is None:
        return [UNTRAINED] * len(texts)
    return models.selector.score([with_answer(subject.prompts.selector, one.body, one.tags) for one in texts])


def autoreview_ps(models: Models, subject: Subject, texts: Sequence[Text]) -> list[float | None]:
    """How likely a human is to turn each down."""
    if models.autoreview is None:
        return [UNTRAINED] * len(texts)
    return [*models.autoreview.score([with_answer(subject.prompts.autoreview, one.body, one.tags) for one in texts])]

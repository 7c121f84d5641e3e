"""How glad a text sounds, from 0 (sad) to 1 (glad): by rules, or by a model (persona_sentiment).

Belongs here: the estimate for texts, what is asked for it, and the scale. Does not belong here: asking (`magpie/llm`),
what a sentiment does to the mood (`mood.py`) and to the choice (`choice.py`).

The rules are VADER (C. J. Hutto, E. E. Gilbert, VADER: A parsimonious rule-based model for sentiment analysis of social
media text, ICWSM 2014). They know English alone; a text in which they find nothing is neutral.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from magpie.llm.prompts import load
from magpie.llm.spec import FunctionSpec, Row
from magpie.persona.draws import plain

# On the logistic scale the ends lie far out: one text that is all joy must not decide the mood of a day.
LEAST, MOST = 0.01, 0.99
# The beginning of a text that is judged: its tone is clear by then, and the work that the rules make of a text grows
# with the square of its length.
JUDGED_CHARS = 4000
QUESTIONS = pl.Schema({"row_ref": pl.String(), "text": pl.String()})

Ask = Callable[[pl.DataFrame], pl.DataFrame]


class Sentiment(BaseModel):
    """An estimate as answered."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    positive: float = Field(ge=0, le=1, allow_inf_nan=False)


def p_of_compound(compound: float) -> float:
    """The scale from 0 to 1 for VADER's from -1 to 1."""
    return clipped((compound + 1) / 2)


def clipped(p: float) -> float:
    """An estimate, kept off both ends."""
    return min(max(p, LEAST), MOST)


def vader_p(text: str) -> float:
    """Estimate a text by rules; its markup is passed over."""
    return p_of_compound(_vader().polarity_scores(_judged(text))["compound"])


def sentiments(texts: Sequence[str], ask: Ask | None = None) -> list[float]:
    """Estimate texts.

    Args:
        ask: answers rows of `persona_sentiment`, in the columns of the engine; None: the rules estimate all of them.
            Texts that it has no answer for are estimated by the rules too, since without an estimate nothing could be
            chosen.
    """
    if ask is None:
        return [vader_p(text) for text in texts]
    asked = {judged: row_ref(judged) for text in texts if (judged := _judged(text))}
    told: dict[str, Mapping[str, Any]] = {}
    if asked:
        answers = ask(pl.DataFrame({"row_ref": list(asked.values()), "text": list(asked)}, schema=QUESTIONS))
        told = {row["row_ref"]: row for row in answers.iter_rows(named=True)}
    return [_estimate(told.get(asked.get(_judged(text), "")), text) for text in texts]


def _estimate(answer: Mapping[str, Any] | None, text: str) -> float:
    if answer is None or answer["status"] != "ok":
        return vader_p(text)
    return clipped(float(json.loads(answer["value"])["positive"]))


def row_ref(text: str) -> str:
    """What a question about a text is called: the same text is the same question."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _judged(text: str) -> str:
    return plain(text).strip()[:JUDGED_CHARS]


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompt."""
    return {"text": str(row["text"])}


def check(answer: Sentiment, row: Row, last_try: bool) -> Sentiment:
    """Any number of the scale holds."""
    return answer


def offline(row: Row) -> Sentiment:
    """Estimate by rules."""
    return Sentiment(positive=vader_p(str(row["text"])))


PERSONA_SENTIMENT: FunctionSpec[Sentiment] = FunctionSpec(
    name="persona_sentiment",
    version=1,
    display_name="Estimate sentiment",
    description="Say how glad a text sounds.",
    template=load("magpie.persona", "persona_sentiment"),
    output=Sentiment,
    alias="sentiment",
    inputs={"text": "untrusted"},
    variables=variables,
    check=check,
    offline=offline,
    max_output_tokens=500,
    temperature=0.0,
    reasoning_off=True,
)

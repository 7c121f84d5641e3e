"""A model's own estimate of what a human would not let pass: persona_judge.

Belongs here: what is asked about a text, and the estimate. Does not belong here: asking (`magpie/llm`), words that must
not pass (`word_screen.py`), the local model (`text_model.py`) and the route (`routing.py`): the estimate is logged
beside theirs and overrules none of them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from magpie.llm.prompts import load
from magpie.llm.spec import FunctionSpec, Row
from magpie.persona.rng import SEPARATOR
from magpie.persona.sentiment import row_ref
from magpie.persona.write_post import cut_prompt

OFFLINE = "offline"
# What a person reads of each; more is noise.
REASONS, REASON_CHARS = 5, 200
# Of a text; what is wrong with it shows earlier.
BODY_CHARS = 12_000
QUESTIONS = pl.Schema(dict.fromkeys(("row_ref", "thread", "body", "tags"), pl.String()))

Ask = Callable[[pl.DataFrame], pl.DataFrame]


def _reasons(value: object) -> object:
    given = value if isinstance(value, list) else [value]
    return [" ".join(item.split())[:REASON_CHARS] for item in given if isinstance(item, str) and item.strip()][:REASONS]


class Judgement(BaseModel):
    """An estimate as answered."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    risk: float = Field(ge=0, le=1, allow_inf_nan=False)
    reasons: Annotated[list[str], BeforeValidator(_reasons)] = []


def risks(thread: str, texts: Sequence[tuple[str, Sequence[str]]], ask: Ask, about: str) -> list[float | None]:
    """Return how likely a human is to turn each text down; None: no model said.

    Args:
        thread: what the texts answer, as the autoreview model reads it; its newest part is asked about.
        texts: body and tags of each.
        ask: answers rows of `persona_judge`, in the columns of the engine.
        about: names the input, so that what was asked about it can be found when it is taken back.
    """
    read = cut_prompt(thread)
    asked = [(body[:BODY_CHARS], ", ".join(tags) or "none") for body, tags in texts]
    refs = [about + "#" + row_ref(SEPARATOR.join((read, body, tags))) for body, tags in asked]
    rows = {ref: (read, body, tags) for ref, (body, tags) in zip(refs, asked, strict=True)}
    if not rows:
        return []
    frame = pl.DataFrame([(ref, *row) for ref, row in rows.items()], schema=QUESTIONS, orient="row")
    told = {
        row["row_ref"]: float(json.loads(row["value"])["risk"])
        for row in ask(frame).iter_rows(named=True)
        if row["status"] == "ok" and row["provider"] != OFFLINE
    }
    return [told.get(ref) for ref in refs]


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompt."""
    return {name: str(row[name]) for name in ("thread", "body", "tags")}


def check(answer: Judgement, row: Row, last_try: bool) -> Judgement:
    """Any number of the scale holds."""
    return answer


def offline(row: Row) -> Judgement:
    """Know nothing, and say so: there is no rule beside those that the word screens are."""
    return Judgement(risk=0.5, reasons=["not judged: no model was asked"])


PERSONA_JUDGE: FunctionSpec[Judgement] = FunctionSpec(
    name="persona_judge",
    version=1,
    display_name="Judge post",
    description="Say how likely a human is to turn a draft down.",
    template=load("magpie.persona", "persona_judge"),
    output=Judgement,
    alias="judge",
    inputs=dict.fromkeys(("thread", "body", "tags"), "untrusted"),
    variables=variables,
    check=check,
    offline=offline,
    max_output_tokens=600,
    temperature=0.0,
    reasoning_off=True,
)

"""Writing: which draws are made for an attempt, and what becomes of those that never come."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from magpie.persona.documents import Prompts
from magpie.persona.settings import Blog
from magpie.persona.subjects import Subject, Turn
from magpie.persona.writing import Writing

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
PROMPTS = Prompts("what was asked", "", "")
BLOG = Blog(name="night-desk")


def turn(**more: Any) -> Turn:
    told = {"kind": "ask", "prompt_kind": "answer", "created_at": AT, "from_blog": "ada", "text": "Is it late?"}
    subject = Subject(
        **{"blog": BLOG.name, "day": AT.date(), "input_id": "ask:1", "post_id": "1", "command": None, **told, **more},
        prompts=PROMPTS,
        asked_at=AT,
        prompts_of=lambda at, kind: PROMPTS,
        participants=("ada",),
        images=(),
    )
    return Turn(subject, 1, AT, "asks")


class Answers:
    """Answers each draw by its number; what is not said is a text that holds."""

    def __init__(self, **by_draw: dict[str, Any]) -> None:
        self.by_draw, self.asked = by_draw, list[str]()

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        draws = rows["draft"].str.strip_prefix("ask:1/").to_list()
        self.asked += draws
        told = [self._answer(draw) for draw in draws]
        return pl.DataFrame(
            told, schema_overrides={"cost_usd": pl.Decimal(18, 9), "not_before": pl.Datetime("us", "UTC")}
        )

    def _answer(self, draw: str) -> dict[str, Any]:
        fine = {"status": "ok", "value": f'{{"body": "The snail says number {draw}.", "tags": []}}'}
        none = dict.fromkeys(("reason", "observed", "threshold", "not_before", "value"))
        paid = {"provider": "openai", "model": "m", "input_hash": draw, "cost_usd": Decimal("0.001")}
        return {**none, **paid, **self.by_draw.get("k" + draw.partition(".")[2], fine)}


def written(answers: Answers, wanted: int = 2) -> Any:
    return Writing(BLOG, BLOG.tuned(), BLOG.words, answers, None, 50).write(turn(), wanted)


def refused(reason: str, not_before: datetime | None, status: str = "pending") -> dict[str, Any]:
    return {"status": status, "reason": reason, "not_before": not_before}


def test_what_holds_is_kept_and_no_more_is_asked_for_than_is_wanted() -> None:
    answers = Answers()
    found = written(answers)
    assert answers.asked == ["1.0", "1.1"]
    assert [text.k for text in found.texts] == [0, 1]
    assert found.fate is None


def test_an_answer_that_was_paid_for_and_never_comes_is_replaced_by_another_draw() -> None:
    answers = Answers(k0=refused("unknown_outcome", None))
    found = written(answers)
    assert answers.asked == ["1.0", "1.1", "1.2"]
    assert [text.k for text in found.texts] == [1, 2]
    assert (found.rows[0]["status"], found.rows[0]["reason"]) == ("failed", "unknown_outcome")


@pytest.mark.parametrize(
    ("reason", "due"),
    [("unknown_outcome", AT + timedelta(hours=1)), ("cap_exhausted", AT + timedelta(hours=15)), ("breaker_open", None)],
)
def test_what_may_still_come_is_waited_for_and_the_whole_attempt_with_it(reason: str, due: datetime | None) -> None:
    answers = Answers(k1=refused(reason, due))
    found = written(answers)
    assert (found.texts, answers.asked) == ([], ["1.0", "1.1"])
    assert (found.fate["status"], found.fate["reason"], found.fate["not_before"]) == ("pending", reason, due)
    assert [row["status"] for row in found.rows] == ["ok", "pending"], "what is there already is kept"


def test_an_attempt_waits_as_long_as_the_draw_that_waits_longest() -> None:
    early, late = AT + timedelta(minutes=1), AT + timedelta(hours=1)
    answers = Answers(k0=refused("transport", late), k1=refused("cap_busy", early))
    assert written(answers).fate["not_before"] == late
    assert written(Answers(k0=refused("transport", late), k1=refused("breaker_open", None))).fate["not_before"] is None


def test_draws_that_all_fail_make_the_attempt_fail_and_say_why() -> None:
    failing = refused("invalid_output", None, "failed")
    found = written(Answers(**{f"k{n}": failing for n in range(8)}))
    assert (found.fate["status"], found.fate["reason"], found.fate["observed"]) == (
        *("failed", "writer_invalid"),
        "invalid_output",
    )
    assert len(found.rows) == 8

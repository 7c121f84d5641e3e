"""Writing for one attempt: draws, until enough of them hold or too many did not.

Belongs here: how many draws are asked for, and what becomes of each. Does not belong here: what makes a text hold
(`draws.py`), the question (`write_post.py`), the offline writer (`ngram.py`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from magpie.persona import draws
from magpie.persona.ngram import Ngram
from magpie.persona.rng import rng
from magpie.persona.settings import Blog, Tuning, Words
from magpie.persona.subjects import Turn
from magpie.persona.wording import count_words
from magpie.persona.write_post import writer_rows

# So many texts are drawn for one that is wanted; more would not find what these did not.
DRAWS_PER_TEXT = 4
# The offline writer's length, in words; a story takes more of them.
TOKENS = {"answer": 120, "original": 120, "review": 120, "fiction": 400}
# Of a call that was cut off: while its answer may still be found, it is waited for; after that it never comes.
CUT_OFF = "unknown_outcome"
OK: Mapping[str, Any] = {"status": "ok", **dict.fromkeys(("reason", "observed", "threshold", "not_before"))}
FATE = tuple(OK)


@dataclass(frozen=True)
class Text:
    """One text that holds."""

    k: int
    body: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """What came of writing.

    Attributes:
        rows: of `candidates`, one a draw.
        texts: those that hold.
        fate: why there is nothing to choose from; None: there is.
    """

    rows: list[dict[str, Any]]
    texts: list[Text]
    fate: dict[str, Any] | None


@dataclass(frozen=True)
class Writing:
    """Writes for one blog.

    Attributes:
        ask: answers rows of `persona_write`, in the columns of the engine.
        offline: no model is asked; corpus: the n-gram writer as it was before a day, None where models write.
        min_corpus: posts that the offline writer must have read.
    """

    blog: Blog
    tuning: Tuning
    words: Words
    ask: Callable[[pl.DataFrame], pl.DataFrame]
    corpus: Callable[[date], Ngram] | None
    min_corpus: int

    def write(self, turn: Turn, wanted: int) -> Written:
        """Draw until `wanted` texts hold."""
        ngram = self.corpus(turn.subject.day) if self.corpus else None
        if ngram is not None and ngram.size < self.min_corpus:
            why = {"reason": "corpus_too_small", "observed": str(ngram.size), "threshold": str(self.min_corpus)}
            return Written([], [], {**OK, "status": "rejected", **why})
        rows: list[dict[str, Any]] = []
        texts: list[Text] = []
        while len(texts) < wanted and len(rows) < DRAWS_PER_TEXT * wanted:
            more = min(wanted - len(texts), DRAWS_PER_TEXT * wanted - len(rows))
            for answer in self._draw(turn, range(len(rows), len(rows) + more), ngram):
                row, text = self._read(turn, wanted, len(rows), answer)
                rows.append(row)
                texts += [text] if text else []
            if any(row["status"] == "pending" for row in rows):
                return Written(rows, [], _waiting(rows))
        return Written(rows, texts, None if texts else _nothing(rows))

    def _draw(self, turn: Turn, ks: range, ngram: Ngram | None) -> list[dict[str, Any]]:
        subject = turn.subject
        offline = [self._offline(turn, k, ngram) for k in ks]
        asked = writer_rows(
            self.blog.persona,
            subject.prompts.writer,
            subject.prompt_kind,
            [f"{subject.input_id}/{turn.attempt}.{k}" for k in ks],
            offline,
            f"{subject.blog}|{subject.day}|{subject.input_id}",
        )
        return self.ask(asked).to_dicts()

    def _offline(self, turn: Turn, k: int, ngram: Ngram | None) -> tuple[str, list[str]]:
        if ngram is None:
            return "", []
        subject = turn.subject
        dice = rng("gen", subject.blog, subject.input_id, turn.attempt, k)
        least = self.tuning.min_words_fiction if subject.prompt_kind == "fiction" else 0
        return ngram.write(dice, subject.text, TOKENS[subject.prompt_kind], least)

    def _read(self, turn: Turn, wanted: int, k: int, answer: Mapping[str, Any]) -> tuple[dict[str, Any], Text | None]:
        """The row of one draw, and its text if it holds."""
        subject = turn.subject
        row = {
            **{name: answer[name] for name in (*FATE, "provider", "model", "input_hash")},
            "blog": subject.blog,
            "day": subject.day,
            "input_id": subject.input_id,
            "attempt": turn.attempt,
            "k": k,
            "n_planned": wanted,
            "body": None,
            "tags": [],
            "n_words": None,
            "raw_sha256": None,
            "prompt_sha256": hashlib.sha256(subject.prompts.writer.encode()).hexdigest(),
            "cost_usd": answer["cost_usd"] or Decimal(0),
            "rng_seed": f"gen {subject.blog} {subject.input_id} {turn.attempt} {k}",
        }
        if answer["status"] != "ok":
            return row | _lost(answer), None
        told = json.loads(answer["value"])
        body, tags = draws.cut(told["body"])
        found = Text(k, body, tuple(draws.tags_of([*told["tags"], *tags])))
        row |= {"body": body, "tags": list(found.tags), "n_words": count_words(body)}
        row["raw_sha256"] = hashlib.sha256(answer["value"].encode()).hexdigest()
        dice = rng("hold", subject.blog, subject.input_id, turn.attempt, k)
        why = draws.verdict(body, found.tags, self._context(turn), self.tuning, self.words, dice.random())
        if why is None:
            return row, found
        return row | {**OK, "status": "rejected", "reason": why, "observed": str(row["n_words"])}, None

    def _context(self, turn: Turn) -> draws.DrawContext:
        subject = turn.subject
        return draws.DrawContext(
            kind=subject.kind,
            prompt_kind=subject.prompt_kind,
            prompt_text=subject.prompts.writer,
            participants=subject.participants,
            owner=self.blog.owner,
            blog=subject.blog,
            strict_user=(subject.from_blog or "").lower() in self.blog.strict_users,
            answers_reply=subject.kind == "reply",
        )


def _lost(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What changes of a draw whose answer was paid for and never came: it is over, and another takes its place."""
    over = answer["status"] == "pending" and answer["reason"] == CUT_OFF and answer["not_before"] is None
    return {"status": "failed"} if over else {}


def _waiting(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The fate of an attempt some of whose texts have to wait: that of the one that waits longest."""
    waits = [row for row in rows if row["status"] == "pending"]
    # One that waits for an event has no moment, and nothing else would help it.
    last = max(waits, key=lambda row: (row["not_before"] is None, row["not_before"]))
    return {name: last[name] for name in FATE}


def _nothing(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The fate of an attempt none of whose texts holds."""
    failed = [row for row in rows if row["status"] == "failed"]
    if len(failed) == len(rows):
        return {**OK, "status": "failed", "reason": "writer_invalid", "observed": failed[-1]["reason"]}
    return {**OK, "status": "failed", "reason": "no_candidate", "observed": f"{len(rows)} draws"}

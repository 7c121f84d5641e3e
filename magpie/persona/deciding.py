"""Which of the texts is taken, and where it goes.

Belongs here: one decision, from scored texts to a route with its trace. Does not belong here: each rule in it
(`choice.py`, `word_screen.py`, `routing.py`), redo and what is kept (`author.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from magpie.persona import choice, routing
from magpie.persona.mood_range import Bounds
from magpie.persona.post_body import body_sha256
from magpie.persona.retention import Kept
from magpie.persona.scales import sigmoid
from magpie.persona.scoring import Models, Scored
from magpie.persona.settings import Blog, Tuning, Words
from magpie.persona.subjects import Turn
from magpie.persona.word_screen import HARD_REJECT, Hit, screen
from magpie.persona.writing import OK

# Left in a body where a picture was meant; a post must not go out with it.
IMAGE_PLACEHOLDER = "======="
# Of what is written into the trace.
PLACES = 6
# Fields of a decision that are not columns as they are.
APART = ("fate", "hits", "tags", "trace", "hopeless")


@dataclass(frozen=True)
class Decided:
    """What became of an attempt; columns of `decisions` without those of its turn and mood."""

    fate: dict[str, Any]
    n_candidates: int = 0
    n_retained: int = 0
    chosen_k: int | None = None
    chosen_sha256: str | None = None
    body: str | None = None
    tags: tuple[str, ...] = ()
    strategy: str | None = None
    explore: bool | None = None
    hits: tuple[Hit, ...] = ()
    autoreview_p: float | None = None
    route: str | None = None
    route_reason: str | None = None
    trace: dict[str, Any] = field(default_factory=dict)
    # What must not be posted stands in the input, so that no other text would fare better.
    hopeless: bool = False

    def columns(self) -> dict[str, Any]:
        """As a row."""
        named = {name: value for name, value in vars(self).items() if name not in APART}
        hits = [{"type": hit.type, "text": hit.text} for hit in self.hits]
        trace = json.dumps(self.trace, sort_keys=True, ensure_ascii=False)
        return {**named, **self.fate, "tags": list(self.tags), "screen_hits": hits, "trace": trace}


def by_rule(reason: str, observed: object, threshold: object) -> Decided:
    """An input that is passed by without writing."""
    told = {"observed": str(observed), "threshold": str(threshold)}
    return Decided({**OK, "status": "rejected", "reason": reason, **told})


@dataclass(frozen=True)
class Pool:
    """What there is to choose from: texts of the attempt, and for originals those kept from before."""

    scored: Sequence[Scored]
    kept: Sequence[Kept] = ()

    @property
    def adjusted(self) -> list[float]:
        return [*(one.adjusted for one in self.scored), *(one.selector_p for one in self.kept)]

    @property
    def sentiments(self) -> list[float]:
        return [*(one.sentiment_p for one in self.scored), *(sigmoid(one.sentiment_logit) for one in self.kept)]

    def __len__(self) -> int:
        return len(self.scored) + len(self.kept)

    def at(self, index: int) -> tuple[int | None, str, tuple[str, ...], float | None]:
        """k (None of a kept text), body, tags and risk."""
        if index < len(self.scored):
            one = self.scored[index]
            return one.text.k, one.text.body, one.text.tags, one.autoreview_p
        kept = self.kept[index - len(self.scored)]
        return None, kept.body, tuple(kept.tags), kept.autoreview_p

    def trace(self) -> list[dict[str, Any]]:
        """Every text with its numbers."""
        drawn: list[dict[str, Any]] = [
            {"k": one.text.k, "selector": one.adjusted, "sentiment": one.sentiment_p, "autoreview": one.autoreview_p}
            for one in self.scored
        ]
        kept: list[dict[str, Any]] = [
            {
                "kept": one.text_sha256[:16],
                "selector": one.selector_p,
                "sentiment": sigmoid(one.sentiment_logit),
                "autoreview": one.autoreview_p,
            }
            for one in self.kept
        ]
        return [{name: _rounded(value) for name, value in row.items()} for row in (*drawn, *kept)]


def decide(turn: Turn, pool: Pool, bounds: Bounds, models: Models, blog: Blog, tuning: Tuning, words: Words) -> Decided:
    """Choose a text and say where it goes.

    Args:
        pool: not empty.
    """
    subject = turn.subject
    original = subject.kind == "original"
    kept = choice.screened(pool.sentiments, bounds)
    strategy = "argmax" if tuning.argmax_with_image and subject.images else tuning.strategy
    eps = tuning.eps_original if original else tuning.eps_answer
    taken = choice.choose(pool.adjusted, kept, strategy, eps, subject.blog, subject.input_id, turn.attempt)
    k, body, given, risk = pool.at(taken.index)
    asker = subject.from_blog if subject.kind == "ask" else None
    tags = routing.clean_tags(given, asker, blog.avoid)
    said = (subject.from_blog or "", subject.text or "")
    look = partial(
        screen,
        words=words,
        author=subject.from_blog,
        input_text=subject.text,
        owner=blog.owner,
        screened=blog.screened,
        avoid=blog.avoid,
    )
    hits = look((*said, body, *tags))
    found = routing.route(
        subject.kind, hits, risk, models.cuts, trained=models.trained, placeholder=IMAGE_PLACEHOLDER in body
    )
    return Decided(
        dict(OK),
        n_candidates=len(pool),
        n_retained=len(kept),
        chosen_k=k,
        chosen_sha256=body_sha256(body),
        body=body,
        tags=tuple(tags),
        strategy=taken.strategy,
        explore=taken.explore,
        hits=tuple(hits),
        autoreview_p=risk,
        route=found.route,
        route_reason=found.reason,
        hopeless=any(hit.type == HARD_REJECT for hit in look(said)),
        trace={"pool": pool.trace(), "kept": kept, "cuts": vars(models.cuts), **models.versions},
    )


def _rounded(value: Any) -> Any:
    return round(value, PLACES) if isinstance(value, float) else value

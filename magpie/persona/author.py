"""The author at work: one attempt after the other, from mood to decision, each knowing those before it.

Belongs here: the order in which mood, writing, scoring, choice, redo and keeping follow from each other. Does not
belong here: any of their rules (the modules named below), what there is to react to (`planner.py`), tables and models
(`stages.py`).

Days are made one after the other, because what a day keeps for later is offered to the next. An input sees the kicks of
inputs of its own and of earlier days that were admitted before it, so that a day comes out the same whether the days
after it are there or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import polars as pl

from magpie.persona import dashboard, routing
from magpie.persona import tables as t
from magpie.persona.choice import base_of, number_of_texts, original_base, sentiment_sample
from magpie.persona.deciding import Decided, Pool, by_rule, decide
from magpie.persona.mood import Kick, Mood, MoodRules, determiner, kick_of, percentile_75, value_at
from magpie.persona.mood_range import Bounds
from magpie.persona.post_body import body_sha256
from magpie.persona.retention import Kept, closing_set
from magpie.persona.rng import rng
from magpie.persona.scales import logit
from magpie.persona.scoring import Models, Scored, Scorer, autoreview_ps, kept_of, selector_ps
from magpie.persona.settings import Blog, Tuning, Words
from magpie.persona.subjects import Subject, Turn
from magpie.persona.writing import OK, Text, Writing

# Posts of others that nobody sent, and the author's own ideas, do not move its mood.
UNMOVING = ("dash", "original")
# Kicks of earlier days have died away; an input waits a week at most before it kicks.
KICK_DAYS = 11


# Day, input, attempt and k of a candidate.
Place = tuple[date, str, int, int]


@dataclass(frozen=True)
class Past:
    """What the author knows from days that are not made now.

    Attributes:
        kicks: `day`, `kick_ts`, `kick` of `mood_inputs`.
        logits: sentiment of candidates, by day, input, attempt and k.
        closed: by day, the set of kept texts that it closed with.
    """

    kicks: pl.DataFrame
    logits: Mapping[Place, float]
    closed: Mapping[date, Mapping[str, Kept]]


@dataclass
class Made:
    """Rows of the five tables that come about together."""

    candidates: list[dict[str, Any]] = field(default_factory=list)
    candidate_scores: list[dict[str, Any]] = field(default_factory=list)
    mood_inputs: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    retention_set: list[dict[str, Any]] = field(default_factory=list)

    def frames(self) -> dict[str, pl.DataFrame]:
        """By table's name, in the declared columns."""
        return {
            table.name: pl.DataFrame(getattr(self, table.name), schema=table.dtypes, orient="row").sort(table.sort_by)
            for table in t.AUTHORED
        }


@dataclass(frozen=True)
class Author:
    """One blog's author.

    Attributes:
        writing: writes texts and says which of them hold; scorer: says how good, sad and risky they are.
        settings_hash: of everything in the settings that bears on a decision.
    """

    blog: Blog
    tuning: Tuning
    words: Words
    writing: Writing
    scorer: Scorer
    settings_hash: str

    def days(self, days: Sequence[date], turns: Mapping[date, Sequence[Turn]], past: Past) -> Made:
        """Make some days, the oldest first."""
        made, desk = Made(), _Desk(self, past)
        for day in sorted(set(days)):
            desk.begin(day)
            for turn in turns.get(day, ()):
                same = {one.attempt for one in turns[day] if one.subject.input_id == turn.subject.input_id}
                desk.take(turn, same, made)
            made.retention_set += [_kept_row(self.blog.name, day, one) for one in desk.close().values()]
        return made


class _Desk:
    """What the author remembers while it works through days."""

    def __init__(self, author: Author, past: Past) -> None:
        self.author, self.rules = author, MoodRules.of(author.blog)
        rows = past.kicks.select("day", "kick_ts", "kick").iter_rows()
        self.kicks = [(day, Kick(at, size)) for day, at, size in rows]
        self.logits = dict(past.logits)
        self.closed = dict(past.closed)
        self.kept: dict[str, Kept] = {}
        self.day = date.min
        self.sample: list[float] = []

    def begin(self, day: date) -> None:
        self.day = day
        since = day - timedelta(days=KICK_DAYS)
        self.kicks = [(of, kick) for of, kick in self.kicks if kick.at.date() >= since]
        self.sample = sentiment_sample([self.logits[place] for place in sorted(self.logits) if place[0] < day])
        self.kept = dict(self.closed[max(before)]) if (before := [of for of in self.closed if of < day]) else {}

    def close(self) -> Mapping[str, Kept]:
        """End the day; return what it keeps."""
        self.closed[self.day] = self.kept
        return self.kept

    def take(self, turn: Turn, logged: set[int], made: Made) -> None:
        """Work on an admitted input until it is decided; what is turned down is written again, if that may help.

        Args:
            logged: attempts at the input that were admitted; a redo of the author's own never takes their place.
        """
        redos, redo = turn.redos, True
        while redo:
            redo = self._attempt(turn, redos, made) and turn.attempt + 1 not in logged
            turn, redos = replace(turn, attempt=turn.attempt + 1), redos + 1

    def _attempt(self, turn: Turn, redos: int, made: Made) -> bool:
        """Make one attempt; True: the author is to try again."""
        author, subject = self.author, turn.subject
        models = author.scorer.at(turn.tick_ts)
        mood = self._mood(turn)
        bounds = mood.bounds(author.blog.preset)
        if subject.command is not None:
            decided, redo = Decided(dict(OK), route="publish", route_reason="command"), False
        else:
            decided, redo = self._written(turn, redos, mood, bounds, models, made)
        row = {**_keys(turn), "mood_value": mood.value, "lo": bounds.lo, "hi": bounds.hi, **decided.columns()}
        made.decisions.append({**row, "kind": subject.kind, "tick_ts": turn.tick_ts})
        return redo

    def _written(
        self, turn: Turn, redos: int, mood: Mood, bounds: Bounds, models: Models, made: Made
    ) -> tuple[Decided, bool]:
        author, subject = self.author, turn.subject
        passed_by = self._passed_by(turn, mood, models) if subject.kind == "dash" else None
        if passed_by is not None:
            return passed_by, False
        written = author.writing.write(turn, self._wanted(subject, bounds))
        made.candidates += written.rows
        scored = author.scorer.scored(turn, written.texts, models)
        made.candidate_scores += [one.row(turn, models) for one in scored]
        self.logits |= {(self.day, subject.input_id, turn.attempt, one.text.k): one.sentiment_logit for one in scored}
        pending = written.fate is not None and written.fate["status"] == "pending"
        if turn.attempt == 1 and subject.kind not in UNMOVING and not pending:
            made.mood_inputs.append(self._kick(turn, scored))
        offered = self._offered(turn, models) if subject.prompt_kind == "original" else []
        pool = Pool(self._worth_saying(turn, scored, models) if subject.kind == "dash" else scored, offered)
        if pending or not len(pool):
            return Decided(written.fate or by_rule("no_gain", "below the post", "as good").fate), False
        decided = decide(turn, pool, bounds, models, author.blog, author.tuning, author.words)
        decided = replace(decided, trace={**decided.trace, "settings": author.settings_hash})
        if subject.kind == "original":
            self._keep(turn, scored, decided, models)
        return self._followed(subject, decided, redos)

    def _followed(self, subject: Subject, decided: Decided, redos: int) -> tuple[Decided, bool]:
        """What a rejection by the moderation leads to."""
        if decided.route != "rejected":
            return decided, False
        follows = routing.after_rejection(subject.kind, redos, self.author.tuning.redo_max)
        if follows == "discard":
            return replace(decided, route="discard"), False
        if follows == "redo":
            return decided, not decided.hopeless
        if decided.route_reason == "hard_reject":
            return decided, False  # no number of tries makes it fit to be posted
        return replace(decided, route="draft", route_reason="redo_spent"), False

    def _mood(self, turn: Turn) -> Mood:
        """The mood at the tick; of a post for the queue the one at its slot, as far as the tick can tell."""
        known = [kick for day, kick in self.kicks if day <= self.day and kick.at < turn.tick_ts]
        return value_at(known, max(turn.tick_ts, turn.subject.created_at), self.rules)

    def _wanted(self, subject: Subject, bounds: Bounds) -> int:
        tuning = self.author.tuning
        base = base_of(subject.prompt_kind, tuning)
        logits = [one.sentiment_logit for one in self.kept.values()]
        if subject.prompt_kind != "original":
            return number_of_texts(base, self.sample, bounds, tuning.n_scale)
        if tuning.retained_discount == "all":
            return max(1, number_of_texts(base, self.sample, bounds, tuning.n_scale) - len(logits))
        return number_of_texts(original_base(base, logits, bounds), self.sample, bounds, tuning.n_scale)

    def _kick(self, turn: Turn, scored: Sequence[Scored]) -> dict[str, Any]:
        """How far the input moves the mood, from then on."""
        said = logit(self.author.scorer.sentiments([turn.subject.text or ""])[0])
        p75 = percentile_75([one.sentiment_logit for one in scored]) if scored else None
        found = determiner(said, p75)
        kick, centre, mult = kick_of(found, turn.tick_ts, self.rules)
        self.kicks.append((self.day, Kick(turn.tick_ts, kick)))
        return {
            "blog": turn.subject.blog,
            "day": self.day,
            "input_id": turn.subject.input_id,
            "kick_ts": turn.tick_ts,
            "input_logit": said,
            "p75_logit": p75,
            "determiner": found,
            "centre": centre,
            "mult": mult,
            "kick": kick,
        }

    def _passed_by(self, turn: Turn, mood: Mood, models: Models) -> Decided | None:
        """Whether a post that nobody sent is worth an answer."""
        subject = turn.subject
        dice = rng("dash", subject.blog, subject.input_id)
        u2 = dice.random()
        sentiment = self.author.scorer.sentiments([subject.text or ""])[0]
        nothing = [Text(-1, "", ())]
        risk = autoreview_ps(models, subject, nothing)[0]
        if dashboard.always(subject.from_blog or "", subject.tags, self.author.blog):
            return None
        found = dashboard.passed_by(
            selector_ps(models, subject, nothing)[0], risk, mood.value, sentiment, u2, models.cuts.reject
        )
        return by_rule(*found) if found else None

    def _worth_saying(self, turn: Turn, scored: Sequence[Scored], models: Models) -> list[Scored]:
        """Texts that readers would like no less than the post itself."""
        post = selector_ps(models, turn.subject, [Text(-1, "", ())])[0]
        return [one for one in scored if one.selector_p - post >= self.author.tuning.dash_min_gain]

    def _offered(self, turn: Turn, models: Models) -> list[Kept]:
        """Texts from before; a story or a review is of another length, and is not made of them."""
        kept = [self.kept[sha] for sha in sorted(self.kept)]
        return self.author.scorer.rescored(kept, turn.subject, models)

    def _keep(self, turn: Turn, scored: Sequence[Scored], decided: Decided, models: Models) -> None:
        """Keep the good texts that were not chosen, also those that the mood turned away."""
        author = self.author
        texts = [kept_of(one, self.day, models, body_sha256(one.text.body)) for one in scored]
        self.kept = closing_set(
            self.kept,
            [(texts, decided.chosen_sha256)],
            lambda kept: author.scorer.rescored(kept, turn.subject, models),
            author.tuning.retention_cutoff,
        )


def _keys(turn: Turn) -> dict[str, Any]:
    subject = turn.subject
    return {"blog": subject.blog, "day": subject.day, "input_id": subject.input_id, "attempt": turn.attempt}


def _kept_row(blog: str, day: date, kept: Kept) -> dict[str, Any]:
    return {"blog": blog, "day": day, **vars(kept), "tags": list(kept.tags)}

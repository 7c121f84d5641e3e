"""The story of one input: from what came in over moods, texts and choice to what became of the post.

Belongs here: finding what lies behind an input, and the chance that chose. Does not belong here: rules (the stages),
what waits (`drafts.py`), printing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.drafts import outbox_now
from magpie.persona.rng import rng
from magpie.persona.settings import Blog
from magpie.persona.stages import Reader
from magpie.tables import Partitions, Table

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Attempt:
    """One try at an answer.

    Attributes:
        tick: of `persona_ticks`; None: the author tried again of its own accord.
        decision: its row; trace: what its column `trace` holds.
        candidates: rows of `candidates` with the columns of `candidate_scores`, null where a draw was not scored.
        kept: texts kept from before that were offered, with their numbers.
        offered: k, or name of a kept text, of all that could be chosen; suits: of those that the mood left.
        dice: u and v, as the choice drew them.
        post: row of `outbox` as it is now; None: there is none.
        reviews, deliveries: what was said of that post, oldest first.
    """

    tick: Row | None
    decision: Row
    trace: Mapping[str, Any]
    candidates: pl.DataFrame
    kept: tuple[Row, ...]
    offered: frozenset[int | str]
    suits: frozenset[int | str]
    dice: tuple[float, float]
    post: Row | None
    reviews: pl.DataFrame
    deliveries: pl.DataFrame


@dataclass(frozen=True)
class Story:
    """What lies behind an input.

    Attributes:
        input: its row of `persona_inbox`.
        thread: of the post that is answered; None: it answers none, or the post is gone.
        kick: its row of `mood_inputs`; None: it moved no mood.
        ticks: when it was admitted, oldest first.
        attempts: oldest first.
    """

    blog: Blog
    input: Row
    thread: Row | None
    kick: Row | None
    ticks: pl.DataFrame
    attempts: tuple[Attempt, ...]


def why(reader: Reader, name: str, blog: str | None = None) -> Story:
    """Return the story of an input.

    Args:
        name: id of an input, or of a post in the outbox; blog: where several blogs have it.

    Raises:
        UserError: there is no such input, or several blogs have it.
    """
    row = _input(reader, name, blog)
    own, input_id, day = reader.settings.blog(row["blog"]), row["input_id"], row["day"]
    here = Partitions.of([(own.name, day)])

    def of_input(table: Table) -> pl.DataFrame:
        return reader.lake.read(table, here).filter(pl.col("input_id") == input_id).collect()

    ticks = logs.TICKS.read(reader.control, blog=own.name, input_id=input_id).sort("tick_ts")
    scores = of_input(t.CANDIDATE_SCORES)
    drawn = of_input(t.CANDIDATES).join(scores, on=["blog", "day", "input_id", "attempt", "k"], how="left")
    posts = outbox_now(reader, own, [day]).filter(pl.col("input_id") == input_id)
    decisions = of_input(t.DECISIONS).sort("attempt")
    return Story(
        own,
        row,
        _thread(reader, own, row["post_id"]),
        _first(of_input(t.MOOD_INPUTS)),
        ticks,
        tuple(_attempt(reader, one, ticks, drawn, posts) for one in decisions.iter_rows(named=True)),
    )


def thread_of(reader: Reader, blog: Blog, post_id: str | None) -> str:
    """What the writer read of the post that is answered; empty for none."""
    found = _thread(reader, blog, post_id)
    return (found["text_prompt"] or "") if found else ""


def texts_of(reader: Reader, blog: str, day: date, input_id: str, attempt: int) -> pl.DataFrame:
    """The texts of an attempt that held, with their numbers, the best first."""
    here = Partitions.of([(blog, day)])
    mine = (pl.col("input_id") == input_id) & (pl.col("attempt") == attempt)
    texts, scores = (
        reader.lake.read(table, here).filter(mine).collect() for table in (t.CANDIDATES, t.CANDIDATE_SCORES)
    )
    numbers = scores.select("k", "selector_adjusted", "sentiment_p", "autoreview_p")
    return texts.join(numbers, on="k").sort("selector_adjusted", "k", descending=[True, False])


def _input(reader: Reader, name: str, blog: str | None) -> Row:
    known = [one.name for one in reader.settings.blogs] if blog is None else [reader.settings.blog(blog).name]
    inbox = reader.lake.read(t.PERSONA_INBOX).filter(pl.col("blog").is_in(known))
    sent = reader.lake.read(t.OUTBOX).filter((pl.col("outbox_id") == name) & pl.col("blog").is_in(known))
    meant = sent.select("blog", "input_id").collect()
    mine = pl.col("input_id") == name
    if meant.height:
        mine = (pl.col("input_id") == meant["input_id"][0]) & (pl.col("blog") == meant["blog"][0])
    found = inbox.filter(mine).collect()
    if found.is_empty():
        raise UserError(
            f"there is no input or post {name[:200]!r}; `magpie persona status` and `review --list` show what there is"
        )
    if found["blog"].n_unique() > 1:
        names = ", ".join(sorted(set(found["blog"])))
        raise UserError(f"{name[:200]} came in at {names}; add --blog")
    # An ask that was answered elsewhere stands on two days; the one that was admitted is meant.
    return found.sort("tick_ts", "day", nulls_last=False).row(-1, named=True)


def _thread(reader: Reader, blog: Blog, post_id: str | None) -> Row | None:
    return None if post_id is None else _first(reader.of_posts(t.THREADS, blog, pl.Series([post_id], dtype=pl.String)))


def _first(rows: pl.DataFrame) -> Row | None:
    return None if rows.is_empty() else rows.row(0, named=True)


def _attempt(reader: Reader, decision: Row, ticks: pl.DataFrame, drawn: pl.DataFrame, posts: pl.DataFrame) -> Attempt:
    number = decision["attempt"]
    trace = json.loads(decision["trace"])
    pool = trace.get("pool", [])
    names = [one.get("k", one.get("kept")) for one in pool]
    post = _first(posts.filter(pl.col("attempt") == number))
    key = post["outbox_id"] if post else ""
    dice = rng("select", decision["blog"], decision["input_id"], number)
    return Attempt(
        _first(ticks.filter(pl.col("attempt") == number).tail(1)),
        decision,
        trace,
        drawn.filter(pl.col("attempt") == number).sort("k"),
        tuple(one for one in pool if "kept" in one),
        frozenset(names),
        frozenset(names[index] for index in trace.get("kept", [])),
        (dice.random(), dice.random()),
        post,
        logs.REVIEWS.read(reader.control, outbox_id=key).sort("at", "review_id"),
        logs.DELIVERIES.read(reader.control, outbox_id=key).sort("at", "delivery_id"),
    )

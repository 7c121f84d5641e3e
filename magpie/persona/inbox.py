"""persona_inbox: where each input stands, folded from what came in, what was admitted and what was decided.

Belongs here: states, and which attempts are due anew. Does not belong here: by which rules inputs are ignored
(`inputs.py`), which are admitted when (`planner.py`).

What was admitted stays so, even if the author has answered it since or its rules have changed; only an input that was
deleted is dropped.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from magpie.persona.inputs import WAITING
from magpie.persona.outbox import outbox_id
from magpie.persona.planner import ASKS_PER_USER, Flood, Waiting, prompt_kind_of_original, slot_of
from magpie.persona.settings import Blog
from magpie.persona.tables import PERSONA_INBOX
from magpie.tables import UTC

_KEY = ("input_id", "attempt")
_RECEIVED = {"state": "received", "status": "pending", "reason": WAITING}


def waiting_of(inputs: pl.DataFrame, ticks: pl.DataFrame) -> list[Waiting]:
    """The received inputs as the planner takes them, and those that were admitted when they still were received.

    Args:
        inputs: as `inputs.inputs` gives them. ticks: `persona_ticks`.
    """
    names = ("input_id", "kind", "day", "created_at", "from_blog", "cost")
    admitted = pl.col("input_id").is_in(ticks["input_id"].unique().implode()) & (pl.col("reason") != "deleted")
    rows = inputs.filter((pl.col("state") == "received") | admitted).select(names)
    return [Waiting(*row) for row in rows.iter_rows()]


def inbox(
    inputs: pl.DataFrame, ticks: pl.DataFrame, decisions: pl.DataFrame, *, now: datetime, blog: Blog
) -> pl.DataFrame:
    """Return inputs and originals in the columns of `persona_inbox`, each in its state.

    Args:
        inputs: as `inputs.inputs` gives them; those of some days, and to tell which asks were too many, all of the
            `max_wait_d` days before them.
        ticks: `persona_ticks`.
        decisions: input_id, attempt and status of `decisions`; none of a day that is not decided yet.
        now: the moment up to which ticks were planned; what has waited longer by then is expired.
    """
    mine = ticks.filter(pl.col("blog") == blog.name)
    max_wait = timedelta(days=blog.tuned().max_wait_d)
    newest = mine.group_by("input_id").agg(pl.col("attempt", "tick_ts").sort_by("tick_ts", "attempt").last())
    decided = (
        decisions.sort(_KEY)
        .group_by("input_id")
        .agg(pl.col("attempt").last().alias("decided"), pl.col("status").last().alias("decision"))
    )
    rows = pl.concat([inputs, _originals(mine, blog)]).drop("attempt", "tick_ts")
    rows = rows.join(newest, on="input_id", how="left").join(decided, on="input_id", how="left")
    flood = _too_many(inputs, mine, max_wait)
    return PERSONA_INBOX.shaped(_folded(rows, flood, now, max_wait)).sort(PERSONA_INBOX.sort_by)


def _originals(ticks: pl.DataFrame, blog: Blog) -> pl.DataFrame:
    """One row per slot that was admitted."""
    found = ticks.filter(pl.col("kind") == "original").group_by("input_id").agg(pl.col("attempt").max())
    rows = found.with_columns(
        pl.Series("created_at", [slot_of(input_id) for input_id in found["input_id"]], UTC),
        pl.Series(
            "prompt_kind",
            [prompt_kind_of_original(blog.name, input_id, attempt) for input_id, attempt in found.iter_rows()],
            pl.String,
        ),
        **{name: pl.lit(value) for name, value in (("blog", blog.name), ("kind", "original"), *_RECEIVED.items())},
    ).with_columns(pl.col("created_at").dt.date().alias("day"))
    return PERSONA_INBOX.shaped(pl.concat([PERSONA_INBOX.empty(), rows], how="diagonal_relaxed"))


def _too_many(inputs: pl.DataFrame, ticks: pl.DataFrame, max_wait: timedelta) -> list[str]:
    """Asks that came in while enough of the same user waited."""
    admitted: Mapping[str, datetime] = dict(ticks.group_by("input_id").agg(pl.col("tick_ts").min()).iter_rows())
    flood = Flood(max_wait, admitted)
    asks = [one for one in waiting_of(inputs, ticks) if one.kind == "ask"]
    asks.sort(key=lambda one: (one.created_at, one.input_id))
    return [one.input_id for one in asks if not flood.takes(one.user, one.input_id, one.created_at)]


def _folded(rows: pl.DataFrame, flood: list[str], now: datetime, max_wait: timedelta) -> pl.DataFrame:
    """Add state, attempt, tick_ts and the columns of `Fate`."""
    gone = (pl.col("reason") == "deleted").fill_null(False)
    admitted = pl.col("tick_ts").is_not_null() & ~gone
    done = (pl.col("decided") >= pl.col("attempt")) & (pl.col("decision") != "pending")
    too_many = pl.col("input_id").is_in(flood)
    late = pl.lit(now) - pl.col("created_at") > max_wait
    state = (
        pl.when(admitted & done.fill_null(False))
        .then(pl.lit("done"))
        .when(admitted)
        .then(pl.lit("admitted"))
        .when(gone | (pl.col("state") == "ignored") | too_many)
        .then(pl.lit("ignored"))
        .when(late)
        .then(pl.lit("expired"))
        .otherwise(pl.lit("waiting"))
    )
    rows = rows.with_columns(
        state.alias("to"),
        pl.when(~gone).then("tick_ts").alias("tick_ts"),
        pl.when(admitted).then("attempt").otherwise(1).alias("attempt"),
        (pl.col("state") == "received").alias("received"),
    )
    return rows.with_columns(pl.col("to").alias("state"), *_fate(max_wait))


def _fate(max_wait: timedelta) -> list[pl.Expr]:
    to = pl.col("to")
    ignored = (to == "ignored") & ~pl.col("received")
    days = f"{max_wait.days} d"

    def told(of_flood: str | None, of_expired: pl.Expr | str | None, kept: str) -> pl.Expr:
        expired = pl.lit(of_expired) if of_expired is None or isinstance(of_expired, str) else of_expired
        return (
            pl.when(ignored)
            .then(kept)
            .when(to == "ignored")
            .then(pl.lit(of_flood))
            .when(to == "expired")
            .then(expired)
            .otherwise(pl.lit(None, pl.String))
            .alias(kept)
        )

    reason = pl.when(to == WAITING).then(pl.lit(WAITING)).otherwise(told("ask_flood", "expired", "reason"))
    status = pl.when(to.is_in(["admitted", "done"])).then(pl.lit("ok")).when(to == WAITING).then(pl.lit("pending"))
    return [
        status.otherwise(pl.lit("rejected")).alias("status"),
        reason.alias("reason"),
        told(str(ASKS_PER_USER + 1), pl.col("created_at").dt.strftime("since %Y-%m-%d %H:%M"), "observed"),
        told(str(ASKS_PER_USER), days, "threshold"),
        pl.lit(None, UTC).alias("not_before"),
    ]


def redo_due(reviews: pl.DataFrame, ticks: pl.DataFrame, decisions: pl.DataFrame) -> list[Waiting]:
    """Attempts that people asked for and that were not admitted yet, as the planner takes them.

    An attempt is asked for once, whoever asks; it is dealt with by the age of the first review that asks for it.

    Args:
        reviews: `persona_reviews`. ticks: `persona_ticks`.
        decisions: blog, day, input_id, attempt and kind of `decisions`, which hold also the attempts that the author
            made of its own accord.
    """
    asked = reviews.filter(pl.col("action") == "redo").group_by("outbox_id").agg(pl.col("at").min())
    times = dict(asked.iter_rows())
    logged = dict(ticks.group_by("input_id").agg(pl.col("attempt").max()).iter_rows())
    found: dict[str, Waiting] = {}
    rows = decisions.select("blog", "day", "input_id", "attempt", "kind").sort(_KEY)
    last = dict(rows.group_by("input_id").agg(pl.col("attempt").max()).iter_rows())
    for blog, day, input_id, attempt, kind in rows.iter_rows():
        at = times.get(outbox_id(blog, input_id, attempt))
        if at is not None and attempt == last[input_id] and logged.get(input_id, 0) <= attempt:
            found[input_id] = Waiting(
                input_id, kind, day, created_at=at, attempt=attempt + 1, not_before=at, human=True
            )
    return [found[input_id] for input_id in sorted(found)]


def again_due(decisions: pl.DataFrame, ticks: pl.DataFrame, now: datetime) -> list[Waiting]:
    """Attempts that came to nothing for a reason that has passed by now; admitted once more, they are the same ones.

    Args:
        decisions: `decisions`; of each input the last attempt counts.
        ticks: `persona_ticks`.
    """
    steps = {(row["input_id"], row["attempt"]): row["step"] for row in ticks.sort("tick_ts").iter_rows(named=True)}
    last = decisions.sort(_KEY).group_by("input_id", maintain_order=True).last()
    due = last.filter((pl.col("status") == "pending") & (pl.col("not_before") <= now)).sort(_KEY)
    return [_again(row, steps) for row in due.iter_rows(named=True)]


def _again(row: Mapping[str, Any], steps: Mapping[tuple[str, int], str]) -> Waiting:
    key = row["input_id"], row["attempt"]
    return Waiting(
        input_id=row["input_id"],
        kind=row["kind"],
        day=row["day"],
        created_at=row["tick_ts"],
        attempt=row["attempt"],
        not_before=row["not_before"],
        human=steps.get(key) == "reviews",
        again=True,
    )

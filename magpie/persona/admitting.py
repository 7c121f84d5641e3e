"""Admitting inputs: what waits, at which moments, and how fast the author may go.

Belongs here: joining the kinds of waiting attempts with the ticks of an archive or of now. Does not belong here: the
order within a tick (`planner.py`), which attempts are due anew (`inbox.py`), the levels (`slowdown.py`).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from magpie.persona.inbox import again_due, redo_due, waiting_of
from magpie.persona.planner import GRID, Admission, archive_ticks, plan
from magpie.persona.settings import Blog
from magpie.persona.slowdown import BASE, RATE_H, Level, level, reset_at


def admissions(
    inputs: pl.DataFrame,
    ticks: pl.DataFrame,
    decisions: pl.DataFrame,
    reviews: pl.DataFrame,
    *,
    days: Sequence[date],
    now: datetime,
    pace: Level,
    blog: Blog,
) -> list[Admission]:
    """Return what is to be added to the log of ticks.

    Args:
        inputs: as `inputs.inputs` gives them, of these days and of the `max_wait_d` days before them.
        ticks: `persona_ticks`; decisions: of these days; reviews: `persona_reviews`.
        pace: how fast a live author may go now; an archive is worked through as fast as it came in.
    """
    tuning = blog.tuned()
    anew = [*redo_due(reviews, ticks, decisions), *again_due(decisions, ticks, now)]
    if blog.mode == "live":
        waiting = [*waiting_of(inputs, ticks), *anew]
        return plan(waiting, ticks, blog=blog, tuning=tuning, times=[now], level=lambda at: pace)
    found = plan(
        waiting_of(inputs, ticks),
        ticks,
        blog=blog,
        tuning=tuning,
        times=_ticks_of(days, now),
        level=lambda at: BASE,
    )
    # What people and time ask for anew is asked for now, whenever the archive was written.
    quiet = blog.model_copy(update={"originals": False})
    return [*found, *plan(anew, ticks, blog=quiet, tuning=tuning, times=[now] if anew else [], level=lambda at: BASE)]


def pace_at(deliveries: pl.DataFrame, queued: pl.DataFrame, now: datetime, blog: Blog) -> Level:
    """How fast a live author may go, by what it has posted.

    Args:
        deliveries: `delivery_log` of the blog.
        queued: rows of `outbox` that lie in the queue.
    """
    reset = reset_at(now)
    posted = deliveries.filter((pl.col("phase") == "done") & (pl.col("remote_state") == "published"))
    today = posted.filter(pl.col("at") >= reset - timedelta(days=1)).height
    due = queued.filter((pl.col("publish_at") >= now) & (pl.col("publish_at") < reset)).height
    return level(
        posted.filter(pl.col("at") >= now - timedelta(hours=RATE_H)).height,
        blog.tuned().post_limit - today,
        (reset - now).total_seconds() / 3600,
        due,
        blog.preset,
    )


def planned_until(days: Sequence[date], now: datetime, blog: Blog) -> datetime:
    """The moment up to which ticks were planned; what has waited too long by then has waited in vain."""
    return now if blog.mode == "live" else min(_end_of(max(days)), now)


def _ticks_of(days: Sequence[date], now: datetime) -> Iterable[datetime]:
    """Every ten minutes of some days; what comes in just before midnight is admitted at midnight."""
    asked = sorted(set(days))
    for day in asked:
        last = day + timedelta(days=1) not in asked
        until = _end_of(day) + GRID if last else _end_of(day)
        yield from archive_ticks(datetime.combine(day, time(), UTC), min(until, now))


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)

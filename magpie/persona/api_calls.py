"""tumblr_fetches: what was asked of Tumblr, what its headers said is left, and how many calls a poll takes.

Belongs here: the log of calls, and reading the budget from it. Does not belong here: how often the budget lets a tick
poll (`api_budget.py`), asking (`magpie/sources/tumblr_api.py`).
"""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl

from magpie.control import Control
from magpie.persona.api_budget import CALLS_A_DAY, CALLS_AN_HOUR, DAY_S, HOUR_S, Client, after_reset
from magpie.persona.logs import CALLS
from magpie.sources.tumblr_api import Call

# There is one consumer key.
CLIENT = "tumblr"


def noting(control: Control, blog: str, poll: str | None) -> Callable[[Call], None]:
    """Where a client puts down its calls for a blog."""

    def note(call: Call) -> None:
        left = call.left
        CALLS.append(
            control,
            [
                {
                    "fetch_id": uuid.uuid4().hex,
                    "blog": blog,
                    "poll": poll,
                    "endpoint": call.endpoint,
                    "at": call.at,
                    "outcome": call.outcome,
                    "http_status": call.status,
                    "n_items": call.n_items,
                    "calls_left_day": left.day,
                    "calls_left_hour": left.hour,
                    "day_reset_at": _later(call.at, left.day_reset_s),
                    "hour_reset_at": _later(call.at, left.hour_reset_s),
                    "payload_sha256": call.payload_sha256,
                }
            ],
        )

    return note


def recent_calls(control: Control, now: datetime) -> pl.DataFrame:
    """The calls of the last day, in the order of time."""
    return CALLS.since(control, "at", now - timedelta(seconds=DAY_S))


def client_of(calls: pl.DataFrame, now: datetime) -> Client:
    """What is left at a moment.

    What the newest headers said holds until their resets. Where no answer had any, the calls themselves are counted.

    Args:
        calls: those of the last day (`recent_calls`).
    """
    told = calls.drop_nulls(["calls_left_day", "calls_left_hour", "day_reset_at", "hour_reset_at"])
    if told.is_empty():
        hour = calls.filter(pl.col("at") > now - timedelta(seconds=HOUR_S)).height
        return Client(CLIENT, max(CALLS_A_DAY - calls.height, 0), DAY_S, max(CALLS_AN_HOUR - hour, 0), HOUR_S)
    # Of calls of one moment the one after which the least was left came last.
    order = pl.col("at"), -pl.col("calls_left_day"), -pl.col("calls_left_hour")
    last = told.sort(*order).row(-1, named=True)
    known = Client(
        CLIENT,
        last["calls_left_day"],
        (last["day_reset_at"] - last["at"]).total_seconds(),
        last["calls_left_hour"],
        (last["hour_reset_at"] - last["at"]).total_seconds(),
    )
    return after_reset(known, max((now - last["at"]).total_seconds(), 0.0))


def calls_per_poll(calls: pl.DataFrame, blog: str) -> list[int]:
    """How many calls each of a blog's polls took, the newest last."""
    mine = calls.filter((pl.col("blog") == blog) & pl.col("poll").is_not_null())
    return mine.group_by("poll").agg(pl.len(), pl.col("at").min()).sort("at", "poll")["len"].to_list()


def last_poll(calls: pl.DataFrame, blog: str) -> datetime | None:
    """When a blog's newest poll began; None: none has in the last day."""
    mine = calls.filter((pl.col("blog") == blog) & pl.col("poll").is_not_null())
    newest = mine.sort("at")["poll"].tail(1).to_list()
    began = mine.filter(pl.col("poll").is_in(newest))["at"].min()
    return began if isinstance(began, datetime) else None


def _later(at: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else at + timedelta(seconds=seconds)

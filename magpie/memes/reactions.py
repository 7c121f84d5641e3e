"""meme_reactions: what was sent to whom and what people thought of it, folded from files and the log.

Belongs here: which of several events with one id counts, events of memes that nobody knows, and taking in an event
from a page or a program (`react`). Does not belong here: the lines of files (`event_files.py`), what reactions add up
to (`stats.py`).
"""

import hashlib
from collections.abc import Collection
from datetime import UTC as ZULU
from datetime import date, datetime

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.memes.event_files import EVENTS, FIELDS, judged, text_of
from magpie.memes.logs import EVENTS as LOG
from magpie.memes.tables import MEME_REACTIONS
from magpie.tables import UTC


def meme_reactions(
    days: Collection[date], file_events: pl.DataFrame, logged_events: pl.DataFrame, known_memes: pl.DataFrame
) -> pl.DataFrame:
    """Return the events of these days, in the columns of `meme_reactions`.

    An event that is told twice counts as it was told first: files by name and line, then the log.

    Args:
        file_events: `EVENTS` of all files, not only of those with these days, since one id may be told on two days.
        logged_events: all of the log, for the same reason.
        known_memes: meme_id of every meme there is; events of others are rejected, until the meme is known.
    """
    told = [file_events.sort("source_file", "line_no"), _logged(logged_events)]
    once = pl.concat(told).unique("event_id", keep="first", maintain_order=True)
    asked = once.filter(pl.col("day").is_in(list(days)))
    known = asked["meme_id"].is_in(known_memes["meme_id"].unique().implode())
    return MEME_REACTIONS.shaped(_judged(asked.with_columns(known.alias("known")))).sort(MEME_REACTIONS.sort_by)


def _logged(events: pl.DataFrame) -> pl.DataFrame:
    nowhere = (pl.lit(None, EVENTS[name]).alias(name) for name in ("source_file", "line_no", "problem", "expected"))
    return (
        events.sort("at", "event_id").with_columns(pl.col("at").dt.date().alias("day"), *nowhere).select(list(EVENTS))
    )


def _judged(events: pl.DataFrame) -> pl.DataFrame:
    bad = pl.col("problem").is_not_null()
    unknown = pl.col("meme_id").is_not_null() & ~pl.col("known").fill_null(False)
    where = pl.format("{}:{}: {}", "source_file", "line_no", "problem")
    return events.with_columns(
        pl.when(bad)
        .then(pl.lit("failed"))
        .when(unknown)
        .then(pl.lit("rejected"))
        .otherwise(pl.lit("ok"))
        .alias("status"),
        pl.when(bad).then(pl.lit("bad_event")).when(unknown).then(pl.lit("unknown_meme")).alias("reason"),
        pl.when(bad).then(where).when(unknown).then("meme_id").alias("observed"),
        pl.when(bad).then("expected").when(unknown).then(pl.lit("a meme of the catalogue")).alias("threshold"),
        pl.lit(None, UTC).alias("not_before"),
    )


def react(
    control: Control,
    kind: str,
    user_id: str,
    meme_id: str | None,
    at: datetime,
    *,
    event_id: str | None = None,
    engine: str | None = None,
    queue_id: str | None = None,
    sharer_id: str | None = None,
    channel: str | None = None,
) -> str:
    """Append one event to the log and return its id; an id that is there already leaves the log as it is.

    Without an id of the caller's the event gets one of what it says, so that a request that is sent again, which says
    the same, adds nothing. A place in a queue is sent once, whenever that is said.

    Raises:
        UserError: it is no event, or the time has no zone.
    """
    if at.tzinfo is None:
        raise UserError(f"the event cannot be taken: at: {at} has no time zone; add one")
    members = {"kind": kind, "user_id": user_id, "meme_id": meme_id, "engine": engine, "queue_id": queue_id}
    members |= {"sharer_id": sharer_id, "channel": channel, "at": at.astimezone(ZULU).isoformat()}
    event = {**members, "event_id": _event_id(members, at) if event_id is None else event_id}
    (row,) = judged(text_of({name: event[name] for name in FIELDS})).to_dicts()
    if row["problem"] is not None:
        raise UserError(f"the event cannot be taken: {row['problem']}; it must be: {row['expected']}")
    LOG.append(control, [row])
    return str(row["event_id"])


def _event_id(members: dict[str, str | None], at: datetime) -> str:
    if members["kind"] == "sent" and members["queue_id"] is not None:
        parts = ["magpie", "event", "sent", members["queue_id"]]
    else:
        parts = ["magpie", "event", *(f"{name}={members[name]}" for name in sorted(members) if name != "at")]
        parts.append(at.astimezone(ZULU).isoformat(timespec="microseconds"))
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()[:32]

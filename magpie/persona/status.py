"""Where each blog stands: what came in, what waits, what goes out, its mood and its models.

Belongs here: counting, and the mood of any moment. Does not belong here: deciding (the stages), the story of one input
(`why.py`), printing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from magpie.lake import Lake
from magpie.persona import tables as t
from magpie.persona.drafts import WAITING, outbox_now
from magpie.persona.mood import KICKS, Kick, Mood, MoodRules, value_at
from magpie.persona.outbox_states import SENDABLE
from magpie.persona.settings import Blog
from magpie.persona.stages import Reader
from magpie.persona.training import TABLES as MODELS
from magpie.persona.training import row_at
from magpie.tables import Table


@dataclass(frozen=True)
class Standing:
    """One blog.

    Attributes:
        first, last: days that are made; None: none is.
        inputs: rows of `persona_inbox` by state.
        posts: rows of `outbox` by state, as of now.
        drafts: posts that wait for a person; ready: that wait for delivery; next_slot: of the earliest of those.
        at, mood: the mood, and the moment it is of: of an archive the last of its last day.
        models: the newest usable version by kind; None: not trained.
    """

    blog: Blog
    days: int
    first: date | None
    last: date | None
    inputs: Mapping[str, int]
    posts: Mapping[str, int]
    drafts: int
    ready: int
    next_slot: datetime | None
    at: datetime
    mood: Mood
    models: Mapping[str, Mapping[str, Any] | None]


def standing(reader: Reader, blog: Blog) -> Standing:
    """Where a blog stands now."""
    inbox = reader.lake.read(t.PERSONA_INBOX).filter(pl.col("blog") == blog.name).select("day", "state").collect()
    stored = reader.lake.read(t.OUTBOX).filter(pl.col("blog") == blog.name).collect()
    now_rows = outbox_now(reader, blog)
    posts = pl.concat([stored.join(now_rows, on="outbox_id", how="anti"), now_rows])
    ready = posts.filter(pl.col("state").is_in(SENDABLE))
    made = reader.lake.read(t.MOOD).filter(pl.col("blog") == blog.name)
    days = made.select("day").unique().sort("day").collect()["day"].to_list()
    slot = ready.filter(pl.col("publish_at") >= reader.clock())["publish_at"].min()
    at = moment_of(reader, blog)
    return Standing(
        blog,
        len(days),
        days[0] if days else None,
        days[-1] if days else None,
        _counts(inbox),
        _counts(posts),
        posts.filter(pl.col("state").is_in(WAITING)).height,
        ready.height,
        slot if isinstance(slot, datetime) else None,
        at,
        mood_at(reader.lake, blog, at),
        {kind: row_at(_of(reader.lake, blog, table), at) for kind, table in MODELS.items()},
    )


def moment_of(reader: Reader, blog: Blog) -> datetime:
    """Now; of an archive the last moment that `mood` has, since nothing has moved it after that."""
    now = reader.clock()
    last = reader.lake.read(t.MOOD).filter(pl.col("blog") == blog.name).select(pl.col("ts").max()).collect().item()
    return now if blog.mode == "live" or last is None else min(now, last)


def kicks_before(lake: Lake, blog: Blog, at: datetime, hours: float = 0) -> pl.DataFrame:
    """Rows of `mood_inputs` that have a say in the mood of some hours before a moment, oldest first."""
    since = at - timedelta(hours=MoodRules.of(blog).window_h + hours)
    mine = (pl.col("blog") == blog.name) & (pl.col("kick_ts") >= since) & (pl.col("kick_ts") < at)
    return lake.read(t.MOOD_INPUTS).filter(mine).sort("kick_ts", "input_id").collect()


def mood_at(lake: Lake, blog: Blog, at: datetime) -> Mood:
    """The mood at a moment; of one to come the projection, as if nothing came in until then."""
    kicks = [Kick(ts, size) for ts, size in kicks_before(lake, blog, at).select(KICKS.names()).iter_rows()]
    return value_at(kicks, at, MoodRules.of(blog))


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("state").len().sort("state").iter_rows())


def _of(lake: Lake, blog: Blog, table: Table) -> pl.DataFrame:
    return lake.read(table).filter(pl.col("blog") == blog.name).collect()

"""Posts that wait for a person, as they are now, with what a person wants to know of each.

Belongs here: which posts wait, and what was decided of them before. Does not belong here: recording decisions
(`reviews.py`), what they make of a post (`outbox.py`), the whole story of an input (`why.py`), printing.
"""

from collections.abc import Collection, Iterable
from datetime import date

import polars as pl

from magpie.persona import tables as t
from magpie.persona.settings import Blog
from magpie.persona.stages import Reader
from magpie.tables import Partitions

# A person decides on these.
WAITING = ("draft", "held")
# In which nothing happens to a post any more.
OVER = ("published", "rejected", "discarded", "redo", "deleted")
# What of a decision stands beside its post.
_DECIDED = (
    *("input_id", "attempt", "tick_ts", "route", "route_reason", "mood_value", "lo", "hi"),
    *("n_candidates", "n_retained", "chosen_k", "screen_hits", "autoreview_p"),
)
_ASKED = ("input_id", "from_blog", "text", "created_at", "prompt_kind")


def outbox_now(reader: Reader, blog: Blog, days: Collection[date] | None = None) -> pl.DataFrame:
    """Return `outbox` of a blog as everything makes it that was said since it was stored.

    Args:
        days: None: those with a post that is not over.
    """
    if days is None:
        stored = reader.lake.read(t.OUTBOX).filter((pl.col("blog") == blog.name) & ~pl.col("state").is_in(OVER))
        days = stored.select("day").unique().collect()["day"].to_list()
    if not days:
        return t.OUTBOX.empty()
    here = Partitions.of([(blog.name, day) for day in days])
    decisions, inbox = (reader.lake.read(table, here).collect() for table in (t.DECISIONS, t.PERSONA_INBOX))
    return reader.outbox(blog, sorted(days), decisions, inbox)


def waiting(reader: Reader, blogs: Iterable[Blog]) -> pl.DataFrame:
    """Return the posts that wait for a person: rows of `outbox` with what was asked and decided, the oldest first."""
    found = [_told(reader, blog) for blog in blogs]
    return pl.concat(found) if found else _shaped(t.OUTBOX.empty(), t.DECISIONS.empty(), t.PERSONA_INBOX.empty())


def _told(reader: Reader, blog: Blog) -> pl.DataFrame:
    rows = outbox_now(reader, blog).filter(pl.col("state").is_in(WAITING))
    here = Partitions.of([(blog.name, day) for day in rows["day"].unique()])
    if rows.is_empty():
        return _shaped(rows, t.DECISIONS.empty(), t.PERSONA_INBOX.empty())
    decisions, inbox = (reader.lake.read(table, here).collect() for table in (t.DECISIONS, t.PERSONA_INBOX))
    return _shaped(rows, decisions, inbox)


def _shaped(rows: pl.DataFrame, decisions: pl.DataFrame, inbox: pl.DataFrame) -> pl.DataFrame:
    asked = inbox.select("day", *_ASKED).unique(["day", "input_id"])
    return (
        rows.join(decisions.select("day", *_DECIDED), on=["day", "input_id", "attempt"], how="left")
        .join(asked, on=["day", "input_id"], how="left")
        .sort("tick_ts", "outbox_id")
    )

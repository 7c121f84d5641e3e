"""Which days of which blogs have to be made anew: because pages, people, deliveries or the clock say so.

Belongs here: comparing what is there with what was seen before. Does not belong here: requesting runs (`sensors/`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import polars as pl

from magpie.control import Control
from magpie.cursors import STATE_CHARS, Cursor
from magpie.days import ranges
from magpie.lake import Lake
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.drafts import OVER
from magpie.persona.listing import fingerprint, misplaced
from magpie.persona.planner import plan, tick_seconds
from magpie.persona.settings import Blog
from magpie.persona.stages import Reader, places_of
from magpie.places import changed, hashed
from magpie.settings import Settings

# A run costs seconds to begin and a quiet day some hundredths of one; so ranges go on over quiet days.
QUIET_DAYS = 14
# What has to be made anew: everything from the posts on, or what follows from people and from the clock.
POSTS, INPUTS = "posts", "inputs"
# What, a blog and a range of its days.
Span = tuple[str, str, date, date]


@dataclass(frozen=True)
class Seen(Cursor):
    """What a sensor has dealt with.

    Attributes:
        days: by `blog|day` a hash of the files that may hold posts of it.
        events: by `blog|outbox_id` of a post that is not over, how many reviews and deliveries there were.
        ticks: by live blog, the tick that was last looked at.
        deleted, admitted: by blog, how many deletions and admissions there were.
    """

    days: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    ticks: Mapping[str, str] = field(default_factory=dict)
    deleted: Mapping[str, int] = field(default_factory=dict)
    admitted: Mapping[str, int] = field(default_factory=dict)

    def state_of(self, what: str) -> str:
        """What bears on such a request, in short, so that it is told from the next and made once."""
        follows = [] if what == POSTS else [self.events, self.ticks, self.admitted]
        return hashed([self.days, self.deleted, *follows])[:STATE_CHARS]


def stale_files(settings: Settings, lake: Lake) -> list[str]:
    """Pages that are new, changed or gone since `tumblr_files` was made.

    Raises:
        UserError: a folder in the settings does not exist.
    """
    stored = lake.read(t.TUMBLR_FILES).select("source_file", "bytes", "modified_ns", "blog", "reason").collect()
    blogs = [blog.name for blog in settings.blogs]
    return sorted({*changed(stored, fingerprint(places_of(settings))), *misplaced(stored, blogs)})


def after(seen: Seen, reader: Reader) -> Seen:
    """Return the state after looking: days that have to be made anew join the waiting ones.

    A day bears on the mood and the kept texts of the days after it, so those are made too where its posts change; what
    was asked of models is in the journal.
    """
    now, lake, control = reader.clock(), reader.lake, reader.control
    blogs = {blog.name: blog for blog in reader.settings.blogs if blog.active}
    held = held_days(reader.settings, lake, now.date())
    days = {key: value for key, value in held.items() if key.split("|")[0] in blogs}
    said = [one for name in blogs for one in _said(lake, control, name)]
    ticks = {name: _tick(reader, blog, now) for name, blog in blogs.items() if blog.mode == "live"}
    deleted, admitted = (
        {name: log.read(control, blog=name).height for name in blogs} for log in (logs.DELETIONS, logs.TICKS)
    )
    spans: set[Span] = set()
    for name, blog in blogs.items():
        mine = {key for key in days.keys() | seen.days.keys() if key.split("|")[0] == name}
        changed_keys = [key.split("|")[1] for key in mine if days.get(key) != seen.days.get(key)]
        touched = [*map(date.fromisoformat, changed_keys), *_taken_back(lake, control, name)]
        if touched:
            known = (date.fromisoformat(key.split("|")[1]) for key in mine if key in days)
            redone = {*touched, *(day for day in known if day >= min(touched))}
            spans |= {(POSTS, name, *span) for span in ranges(redone, QUIET_DAYS)}
        due = _undecided(lake, control, blog)
        due |= {day for key, day, count in said if key.split("|")[0] == name and seen.events.get(key) != count}
        if name in ticks and ticks[name] != seen.ticks.get(name):
            due |= _at_tick(reader, blog, now, new=ticks[name][:10] != seen.ticks.get(name, "")[:10])
        spans |= {(INPUTS, name, *span) for span in ranges(due)}
    events = {key: count for key, _, count in said}
    return Seen(days, events, ticks, deleted, admitted, waiting=tuple(sorted({*spans, *seen.waiting})))


def blog_spans(
    settings: Settings, lake: Lake, blog: str, last: date, first: date | None = None
) -> list[tuple[date, date]]:
    """Ranges of days on which a blog's archive may hold posts."""
    start = max(first or settings.persona_start_day, settings.persona_start_day)
    found = (key.split("|") for key in held_days(settings, lake, last))
    return ranges(
        [day for name, text in found if name == blog and (day := date.fromisoformat(text)) >= start], QUIET_DAYS
    )


def held_days(settings: Settings, lake: Lake, last: date) -> dict[str, str]:
    """By `blog|day`, a hash of the files whose items span that day."""
    files = (
        lake.read(t.TUMBLR_FILES)
        .filter((pl.col("status") == "ok") & pl.col("first_day").is_not_null())
        .select("blog", "first_day", "last_day", "source_file", "bytes", "modified_ns")
        .with_columns(
            first_day=pl.max_horizontal("first_day", pl.lit(settings.persona_start_day)),
            last_day=pl.min_horizontal("last_day", pl.lit(last)),
        )
        .filter(pl.col("first_day") <= pl.col("last_day"))
        .with_columns(day=pl.date_ranges("first_day", "last_day"))
        .explode("day")
        .sort("blog", "day", "source_file")
        .collect()
    )
    parts = files.partition_by("blog", "day", as_dict=True, maintain_order=True)
    return {
        f"{blog}|{day}": hashed(part.select("source_file", "bytes", "modified_ns").rows())
        for (blog, day), part in parts.items()
    }


def _tick(reader: Reader, blog: Blog, now: datetime) -> str:
    """When the tick of a live blog began, as text that begins with its day."""
    seconds = tick_seconds(now, reader.pace(blog, now), blog, blog.tuned())
    return datetime.fromtimestamp(now.timestamp() // seconds * seconds, UTC).isoformat()


def _at_tick(reader: Reader, blog: Blog, now: datetime, *, new: bool) -> set[date]:
    """Days of a live blog that a tick bears on: those on which something waits, and those of posts to be written.

    Args:
        new: it is the first tick of a day, whose mood and queue are to be seen.
    """
    first = now.date() - timedelta(days=blog.tuned().max_wait_d)
    mine = (pl.col("blog") == blog.name) & (pl.col("state") == "waiting") & (pl.col("day") >= first)
    found = set(reader.lake.read(t.PERSONA_INBOX).filter(mine).select("day").unique().collect()["day"])
    log, pace = logs.TICKS.read(reader.control, blog=blog.name), reader.pace(blog, now)
    written = plan([], log, blog=blog, tuning=blog.tuned(), times=[now], level=lambda at: pace)
    ahead = (now.date() + timedelta(days=n) for n in range(t.DAYS_AHEAD + 1))
    return {*found, *(ahead if written or new else ())}


def _undecided(lake: Lake, control: Control, blog: Blog) -> set[date]:
    """Days with inputs that were admitted after their day was made, because they had to wait.

    A post for a day that an archive does not reach is written when that day is made.
    """
    log = logs.TICKS.read(control, blog=blog.name)
    log = log if blog.mode == "live" else log.filter(pl.col("kind") != "original")
    mine, keys = pl.col("blog") == blog.name, ("input_id", "attempt")
    decided = lake.read(t.DECISIONS).filter(mine).select(keys)
    answerable = lake.read(t.PERSONA_INBOX).filter(mine & pl.col("status").is_in(["ok", "pending"])).select("input_id")
    open_ = log.lazy().join(decided, on=keys, how="anti").join(answerable, on="input_id", how="semi")
    return set(open_.select("day").unique().collect()["day"])


def _taken_back(lake: Lake, control: Control, blog: str) -> list[date]:
    """Days whose tables still hold the words of something that was taken back."""
    gone = logs.DELETIONS.read(control, blog=blog)["item"].to_list()
    if not gone:
        return []
    mine = (pl.col("blog") == blog) & (pl.col("status") == "ok")
    posts = lake.read(t.TUMBLR_POSTS).filter(mine & pl.col("post_id").is_in(gone)).select("day")
    replies = lake.read(t.TUMBLR_REPLIES).filter(mine & (_reply_item().is_in(gone) | pl.col("post_id").is_in(gone)))
    return pl.concat([posts, replies.select("day")]).unique().sort("day").collect()["day"].to_list()


def _reply_item() -> pl.Expr:
    """What a deletion calls a reply, as `posts.reply_key` has it."""
    item = pl.format("reply:{}:{}:{}", "from_blog", "post_id", pl.col("at").dt.epoch("s"))
    below = pl.col("at").dt.microsecond()
    return pl.when(below == 0).then(item).otherwise(pl.format("{}.{}", item, below.cast(pl.String).str.zfill(6)))


def _said(lake: Lake, control: Control, blog: str) -> list[tuple[str, date, int]]:
    """`blog|outbox_id` of posts that are not over, their days, and how often people or delivery spoke of them."""
    open_ = (pl.col("blog") == blog) & ~pl.col("state").is_in(OVER)
    posts = lake.read(t.OUTBOX).filter(open_).select("outbox_id", "day").collect()
    events = pl.concat([log.read(control, blog=blog).select("outbox_id") for log in (logs.REVIEWS, logs.DELIVERIES)])
    counted = posts.join(events, on="outbox_id").group_by("outbox_id", "day").len().sort("outbox_id")
    return [(f"{blog}|{outbox_id}", day, count) for outbox_id, day, count in counted.iter_rows()]

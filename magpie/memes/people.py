"""What is known of a person when memes are chosen: what they have seen, like, and where they stand.

Belongs here: folding one person's events to these facts, and the latest row that says who they are. Does not belong
here: the tables of statistics, which say the same at the end of each quarter of an hour (`user_stats.py`).

The facts are folded from the events themselves, those of a second ago included, because a meme that was sent a second
ago must not be sent again, and a like counts for the very next refill.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.memes.base import NEVER, micros
from magpie.memes.catalogue import Catalogue
from magpie.memes.moderation import MODERATORS
from magpie.memes.tables import MEME_REACTIONS
from magpie.memes.uploads import person as registered
from magpie.memes.user_stats import SessionRules, sessions

# A favourite may be shown again after this long.
LATELY = timedelta(days=30)
# So many of the latest sends say what a newcomer likes.
LAST_SENDS = 15
EVENT_COLUMNS = ("event_id", "user_id", "meme_id", "kind", "at")
EVENTS = pl.Schema({name: MEME_REACTIONS.dtypes[name] for name in EVENT_COLUMNS})
# Kinds that say that a person has seen the meme.
MET = ("sent", "like", "dislike")


@dataclass(frozen=True)
class Profile:
    """Who somebody is, by their latest row."""

    user_id: str
    languages: frozenset[str]
    role: str = "user"

    @property
    def moderates(self) -> bool:
        return self.role in MODERATORS


@dataclass(frozen=True)
class Person:
    """Somebody at a moment.

    Attributes:
        at: the moment.
        sources: likes and dislikes by source, of every source they met a meme of.
        seen: canonical memes that they were sent or reacted to, ever.
        seen_lately: those of the last 30 days.
        queued: canonical memes that wait in their queue, or were taken from it and not confirmed.
        last_sends: source and whether it was liked, of the latest sends, latest first.
        nsent, nsessions: so far.
    """

    profile: Profile
    at: datetime
    sources: dict[str, tuple[int, int]] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    seen_lately: frozenset[str] = frozenset()
    queued: frozenset[str] = frozenset()
    last_sends: tuple[tuple[str, bool], ...] = ()
    nsent: int = 0
    nsessions: int = 0


def profile_of(control: Control, user_id: str) -> Profile:
    """Return who somebody says they are.

    Raises:
        UserError: nobody of that id is registered.
    """
    row = registered(control, user_id)
    if row is None:
        raise UserError(f"nobody is registered as {user_id[:80]!r}; register them with the languages they read first")
    return Profile(user_id, frozenset(language.lower() for language in row["languages"]), row["role"])


def told_of(told: pl.DataFrame, logged: pl.DataFrame) -> pl.DataFrame:
    """Join the events of the lake (`EVENTS`) and those of the log; one that is told twice counts as the lake says."""
    both = pl.concat([told.select(EVENT_COLUMNS), logged.select(EVENT_COLUMNS)])
    return both.unique("event_id", keep="first", maintain_order=True)


def met(events: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """Return a row per canonical meme one person met: source_id, sent, last_sent, reacted (µs or `NEVER`), sym.

    The first send and the first reaction count, of two reactions in one microsecond the like. Of several copies that
    was met which was reacted to first, else sent first; `last_sent` is that of any of them, and the reaction where
    nothing was sent.
    """
    known = events.filter(pl.col("kind").is_in(MET) & pl.col("meme_id").is_not_null())
    at, sent = pl.col("at").to_physical(), pl.col("kind") == "sent"
    reaction = pl.when(~sent).then(at * 2 + (pl.col("kind") == "dislike"))
    copies = known.group_by("meme_id").agg(
        pl.when(sent).then(at).min().fill_null(NEVER).alias("sent"),
        pl.coalesce(pl.when(sent).then(at).max(), (reaction // 2).min()).alias("last_sent"),
        reaction.min().alias("reaction"),
    )
    rooted = pl.concat([copies, catalogue.canonical(copies["meme_id"])], how="horizontal").with_columns(
        (pl.col("reaction") // 2).fill_null(NEVER).alias("reacted"),
        (1 - pl.col("reaction") % 2 * 2).fill_null(0).alias("sym"),
    )
    return (
        rooted.sort("canonical_id", "reacted", "sent", "meme_id")
        .group_by("canonical_id", maintain_order=True)
        .agg(pl.col("source_id", "sent", "reacted", "sym").first(), pl.col("last_sent").max())
    )


def person_of(
    profile: Profile, events: pl.DataFrame, catalogue: Catalogue, at: datetime, rules: SessionRules
) -> Person:
    """Fold one person's events (`EVENTS`, in any order); what waits in their queue is not known here."""
    rows = met(events, catalogue)
    liked = (pl.col("sym") == 1).sum().alias("likes")
    sources = (
        rows.filter(pl.col("source_id").is_not_null())
        .group_by("source_id")
        .agg(liked, (pl.col("sym") == -1).sum().alias("dislikes"))
    )
    sends = rows.filter(pl.col("sent") != NEVER).sort("sent", "canonical_id", descending=[True, False])
    last = sends.filter(pl.col("source_id").is_not_null()).head(LAST_SENDS)
    since = micros(at - LATELY)
    been = sessions(rows.select(pl.lit(0).alias("user"), "reacted"), rules)
    return Person(
        profile=profile,
        at=at,
        sources={name: (likes, dislikes) for name, likes, dislikes in sources.iter_rows()},
        seen=frozenset(rows["canonical_id"]),
        seen_lately=frozenset(rows.filter(pl.col("last_sent") >= since)["canonical_id"]),
        last_sends=tuple((source, sym == 1) for source, sym in last.select("source_id", "sym").iter_rows()),
        nsent=sends.height,
        nsessions=int(been["nsessions"][0]) if been.height else 0,
    )

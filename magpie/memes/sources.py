"""meme_sources: which channels and people there are, in which state, and whose turn it is to be fetched.

Belongs here: the state that settings and events give a source, the transitions it may take, and the order of a fetch.
Does not belong here: what makes a source ill (`health.py`), fetching (`live.py`).

The state is a fold over events, oldest first; an event that is no transition from the state it meets changes nothing,
so that two processes that decide at once do no harm.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.memes.logs import SOURCE_EVENTS
from magpie.memes.naming import name_of, platform_of
from magpie.memes.settings import ADDRESSES, MemeSource
from magpie.memes.tables import MEME_SOURCES, SOURCE_ACTIONS
from magpie.settings import Settings
from magpie.tables import UTC

CONFIG = "config"
AUTO = "auto"
# What each action makes of a state; a source that is disabled stays so.
TRANSITIONS = {
    ("in_moderation", "enable"): "enabled",
    ("in_moderation", "disable"): "disabled",
    ("enabled", "snooze"): "snoozed",
    ("enabled", "disable"): "disabled",
    ("snoozed", "unsnooze"): "enabled",
    ("snoozed", "disable"): "disabled",
    # Who disabled a channel by mistake wants it back.
    ("disabled", "enable"): "enabled",
}
# Of a source nobody spoke of, and of captions without Cyrillic letters.
LANGUAGE = "en"
# Share of likes that a source without reactions is taken to have.
UNRATED = 0.5
_CHANNEL = re.compile(r"(?:tg|vk|ig):[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]{2})?")
_UPLOADS = "up:"
_WORDS_CHARS = 200
# Columns that fetches and posts tell.
_LANDED = ("parsed_at", "empty_streak", "last_post_at", "last_seen_id")


@dataclass(frozen=True)
class Listed:
    """What is known of sources apart from events: those in the settings, and those of which payloads landed."""

    configured: Mapping[str, MemeSource]
    landed: frozenset[str]

    @classmethod
    def of(cls, settings: Settings, files: pl.DataFrame) -> "Listed":
        """From the settings and `meme_files`."""
        landed = files.filter((pl.col("status") == "ok") & pl.col("source_id").is_not_null())
        return cls({source.id: source for source in settings.meme_sources}, frozenset(landed["source_id"]))

    def first(self, source_id: str) -> "Standing | None":
        """The standing before any event, None where nobody knows the source. People may upload until told otherwise."""
        source = self.configured.get(source_id)
        if source is not None:
            return Standing("enabled", source.language, added_by=CONFIG)
        if source_id.startswith(_UPLOADS):
            return Standing("enabled", LANGUAGE)
        return Standing("in_moderation", LANGUAGE) if source_id in self.landed else None


@dataclass(frozen=True)
class Standing:
    """What settings and events make of one source."""

    state: str
    language: str
    snooze_reason: str | None = None
    added_by: str | None = None
    added_at: datetime | None = None

    def after(self, event: Mapping[str, Any]) -> "Standing":
        """The standing once this event, a row of `source_events`, has happened."""
        if event["action"] == "add":
            # The settings have the last word on what they list; who added a source first, added it.
            mine = self.added_by == CONFIG
            language = self.language if mine or not event["language"] else event["language"]
            at = self.added_at or event["at"]
            return replace(self, language=language, added_by=self.added_by or event["actor"], added_at=at)
        state = TRANSITIONS.get((self.state, event["action"]))
        if state is None:
            return self
        return replace(self, state=state, snooze_reason=event["reason"] if state == "snoozed" else None)


def standing(listed: Listed, source_id: str, events: Iterable[Mapping[str, Any]]) -> Standing | None:
    """Fold the events of one source, oldest first; None where it is neither listed, landed nor added."""
    found = listed.first(source_id)
    for event in events:
        if found is None and event["action"] == "add":
            found = Standing("in_moderation", LANGUAGE)
        if found is not None:
            found = found.after(event)
    return found


def meme_sources(listed: Listed, events: pl.DataFrame, fetches: pl.DataFrame, posts: pl.LazyFrame) -> pl.DataFrame:
    """Return one row per source that is listed, landed or added, in the columns of `meme_sources`.

    Args:
        events: `source_events`.
        fetches: `meme_fetches`; those that failed say nothing of posts, so they neither end nor lengthen a streak.
        posts: `meme_posts`, of which source_id, post_id and published_at are read.
    """
    by_source: dict[str, list[dict[str, Any]]] = {}
    for event in events.sort("at", "event_id").iter_rows(named=True):
        by_source.setdefault(event["source_id"], []).append(event)
    rows = []
    for source_id in sorted({*listed.configured, *listed.landed, *by_source}):
        found = standing(listed, source_id, by_source.get(source_id, ()))
        if found is not None:
            rows.append(_identity(source_id) | asdict(found))
    typed = {name: dtype for name, dtype in MEME_SOURCES.dtypes.items() if name not in _LANDED}
    known = pl.DataFrame(rows, schema=typed)
    joined = known.join(answered(fetches), on="source_id", how="left").join(_newest(posts), on="source_id", how="left")
    return MEME_SOURCES.shaped(joined.with_columns(pl.col("empty_streak").fill_null(0))).sort("source_id")


def _identity(source_id: str) -> dict[str, Any]:
    platform, name = platform_of(source_id), name_of(source_id)
    address = ADDRESSES.get(platform)
    return {
        "source_id": source_id,
        "platform": platform,
        "name": name,
        "url": address.format(name) if address else None,
        "discovered_via": None,
    }


def answered(fetches: pl.DataFrame) -> pl.DataFrame:
    """Return source_id, parsed_at (the last fetch that brought an answer) and empty_streak (how many at the end of
    those brought no post)."""
    empty = pl.col("n_posts").sort_by("at", "fetch_id").eq(0)
    return (
        fetches.filter(pl.col("error_class").is_null())
        .group_by("source_id")
        .agg(
            pl.col("at").max().alias("parsed_at"),
            empty.reverse().cast(pl.Int64).cum_prod().sum().alias("empty_streak"),
        )
    )


def _newest(posts: pl.LazyFrame) -> pl.DataFrame:
    """Of posts of one second the one with the larger number: ids are numbers of one length, or nearly."""
    order = (pl.col("published_at"), pl.col("post_id").str.len_chars(), pl.col("post_id"))
    return (
        posts.select("source_id", "post_id", "published_at")
        .group_by("source_id")
        .agg(
            pl.col("published_at").max().alias("last_post_at"),
            pl.col("post_id").sort_by(*order).last().alias("last_seen_id"),
        )
        .collect()
    )


def decide(
    control: Control,
    listed: Listed,
    source_id: str,
    action: str,
    *,
    actor: str,
    at: datetime,
    reason: str | None = None,
    language: str | None = None,
) -> str:
    """Append what somebody decided of a source; return the id of the event.

    Args:
        action: add, enable, disable, snooze or unsnooze.
        actor: who decides; `auto` is for `health.py`.
        at: when; a moment not after the last event of the source is moved behind it.
        language: of the captions of a source that is added; default: English.

    Raises:
        UserError: there is no such source or action, or the state of the source does not allow it.
    """
    _checked(source_id, action, actor, reason, language)
    events = SOURCE_EVENTS.read(control, source_id=source_id).rows(named=True)
    found = standing(listed, source_id, events)
    if action == "add":
        if found is not None and (found.added_by is not None or source_id.startswith(_UPLOADS)):
            raise UserError(f"{source_id} is known already, and {found.state}; nothing to add")
    elif found is None:
        raise UserError(f"there is no source {source_id}; add it first, or correct its id")
    elif (found.state, action) not in TRANSITIONS:
        raise UserError(f"cannot {action} {source_id}, which is {found.state}; {_possible(found.state)}")
    last = events[-1]["at"] if events else None
    moment = at if last is None or at > last else last + timedelta(microseconds=1)
    row = event_row(source_id, action, reason, actor, moment) | {"language": language}
    SOURCE_EVENTS.append(control, [row])
    return str(row["event_id"])


def event_row(source_id: str, action: str, reason: str | None, actor: str, at: datetime) -> dict[str, Any]:
    """One row of `source_events`; saying the same twice is one event."""
    told = "\x1f".join((source_id, action, reason or "", actor, at.isoformat()))
    event_id = hashlib.sha256(told.encode()).hexdigest()[:32]
    return {
        "event_id": event_id,
        "source_id": source_id,
        "action": action,
        "reason": reason,
        "language": None,
        "actor": actor,
        "at": at,
    }


def _checked(source_id: str, action: str, actor: str, reason: str | None, language: str | None) -> None:
    if action not in SOURCE_ACTIONS:
        raise UserError(f"{action!r} is nothing to do with a source; use one of {', '.join(SOURCE_ACTIONS)}")
    if not _CHANNEL.fullmatch(source_id) and not (source_id.startswith(_UPLOADS) and name_of(source_id).strip()):
        raise UserError(f"{source_id!r} is no id of a source; write tg:NAME, vk:DOMAIN, ig:NAME or up:USER")
    if not actor.strip() or actor == CONFIG:
        raise UserError(f"{actor!r} cannot decide of {source_id}; say who does")
    for what, text in (("actor", actor), ("reason", reason)):
        if text is not None and (len(text) > _WORDS_CHARS or not text.isprintable()):
            raise UserError(f"the {what} must be one line of at most {_WORDS_CHARS} characters")
    if language is not None and not _LANGUAGE.fullmatch(language):
        raise UserError(f"language {language!r} of {source_id} is no ISO 639-1 code; write en, ru or pt-br")
    if language is not None and action != "add":
        raise UserError(f"a language goes with adding a source, not with {action}; leave it out")


def _possible(state: str) -> str:
    actions = [action for before, action in TRANSITIONS if before == state]
    return f"it can be told to {' or '.join(actions)}" if actions else "that is final"


def latest(source_stats: pl.DataFrame) -> pl.DataFrame:
    """Return the latest row of `source_stats` of each source."""
    return source_stats.sort("source_id", "day").unique("source_id", keep="last", maintain_order=True)


def fetch_order(sources: pl.DataFrame, source_stats: pl.DataFrame, fetches: pl.DataFrame) -> pl.DataFrame:
    """Return the enabled sources, first those whose turn it is, with `asked_at` and `score` added.

    Never asked ones come first, then those asked longest ago, then by score = L/(L+D) * ln(sent + 2), where the share
    of likes is 0.5 without reactions, then by id. Asking counts even where it failed: otherwise a few sources that
    never answer would be the first of every run.

    Args:
        sources: `meme_sources`, of one platform or several.
        source_stats: the table; the latest row of each source counts.
        fetches: `meme_fetches`.
    """
    rated = latest(source_stats).select("source_id", "nlikes", "ndislikes", "nsent_events")
    asked = fetches.group_by("source_id").agg(pl.col("at").max().cast(UTC).alias("asked_at"))
    reactions = pl.col("nlikes") + pl.col("ndislikes")
    share = pl.when(reactions > 0).then(pl.col("nlikes") / reactions).otherwise(UNRATED)
    score = share * (pl.col("nsent_events").fill_null(0) + 2).log()
    return (
        sources.filter((pl.col("state") == "enabled") & (pl.col("platform") != "upload"))
        .join(rated, on="source_id", how="left")
        .join(asked, on="source_id", how="left")
        .with_columns(score.alias("score"))
        .sort("asked_at", "score", "source_id", descending=[False, True, False], nulls_last=False)
        .select(*sources.columns, "asked_at", "score")
    )

"""Which sources are to rest: they bring nothing, nothing good, mostly ads, or have fallen silent.

Belongs here: the rules, and the sweep that turns them into events of the actor `auto`. Does not belong here: what a
snooze does to memes (`status.py`), who may be fetched (`sources.py`).

Only enabled sources are judged; the first rule decides. A person who enables or unsnoozes a source knew the facts of
that time, so all rules begin anew then: fetches before it do not count, likes and dislikes are counted from the day
after it, the week of ads and the week of silence begin with it. So a source is snoozed again only for newer facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.memes.logs import FETCHES, SOURCE_EVENTS
from magpie.memes.sources import AUTO, Listed, answered, event_row, latest, meme_sources
from magpie.settings import Settings
from magpie.tables import UTC

EMPTY_FETCHES = 3
QUALITY_REACTIONS = 100
QUALITY_SHARE = 0.10
# Share of ads and the memes it takes to believe it, the extreme case first.
AD_RATES = (("extreme_ad_rate", 0.80, 10), ("high_ad_rate", 0.30, 30))
WEEK = timedelta(days=7)
# So that a broken fetcher cannot send everything to sleep at once.
STALE_PER_SWEEP = 50

VERDICTS = pl.Schema(
    {
        "source_id": pl.String(),
        "action": pl.String(),
        "reason": pl.String(),
        "observed": pl.String(),
        "threshold": pl.String(),
    }
)


@dataclass(frozen=True)
class HealthRules:
    """Which platforms are asked over the network: the silence of one that nobody asks says nothing of its sources."""

    live: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> "HealthRules":
        return cls(frozenset(settings.memes.live))


def verdicts(
    sources: pl.DataFrame,
    events: pl.DataFrame,
    fetches: pl.DataFrame,
    source_stats: pl.DataFrame,
    rules: HealthRules,
    now: datetime,
) -> pl.DataFrame:
    """Return who is to be snoozed and why (`VERDICTS`), by source_id.

    Args:
        sources: `meme_sources`.
        events: `source_events`.
        fetches: `meme_fetches`; failed ones are no answers, so they are not counted as empty.
        source_stats: all rows, since likes are counted from the day a person last spoke for the source.
    """
    facts = _facts(sources, events, fetches, source_stats)
    judged = [
        {"source_id": row["source_id"], "action": "snooze", "reason": verdict[0]}
        | {"observed": verdict[1], "threshold": verdict[2], "silent_since": row["silent_since"]}
        for row in facts.iter_rows(named=True)
        if (verdict := _verdict(row, rules, now)) is not None
    ]
    found = pl.DataFrame(judged, schema={**VERDICTS, "silent_since": UTC})
    stale = found.filter(pl.col("reason") == "stale_7d").sort("silent_since", "source_id").head(STALE_PER_SWEEP)
    others = found.filter(pl.col("reason") != "stale_7d")
    return pl.concat([others, stale]).select(list(VERDICTS)).sort("source_id")


def _facts(
    sources: pl.DataFrame, events: pl.DataFrame, fetches: pl.DataFrame, source_stats: pl.DataFrame
) -> pl.DataFrame:
    """What the rules look at, one row per enabled source."""
    spoken = (pl.col("actor") != AUTO) & pl.col("action").is_in(["enable", "unsnooze"])
    freed = events.filter(spoken).group_by("source_id").agg(pl.col("at").max().alias("freed_at"))
    since = pl.col("freed_at").is_null() | (pl.col("at") > pl.col("freed_at"))
    newer = fetches.join(freed, on="source_id", how="left").filter(since)
    # A person who spoke on a day is taken to have known all of that day: its row may have been made since.
    known = source_stats.join(freed, on="source_id").filter(pl.col("day") <= pl.col("freed_at").dt.date())
    before = latest(known).select("source_id", nlikes_before="nlikes", ndislikes_before="ndislikes")
    rated = latest(source_stats).select(
        *("source_id", "nlikes", "ndislikes", "ad_rate_7d", "processed_7d"), stats_at="as_of"
    )
    # A source in the settings has no day of being added; it is there at the latest when it is first asked.
    first = fetches.group_by("source_id").agg(pl.col("at").min().alias("first_asked_at"))
    return (
        sources.filter(pl.col("state") == "enabled")
        .drop("empty_streak")
        .join(freed, on="source_id", how="left")
        .join(answered(newer).select("source_id", "empty_streak"), on="source_id", how="left")
        .join(before, on="source_id", how="left")
        .join(rated, on="source_id", how="left")
        .join(first, on="source_id", how="left")
        .with_columns(pl.col("added_at").fill_null(pl.col("first_asked_at")))
        .with_columns(silent_since=pl.max_horizontal("added_at", "parsed_at", "last_post_at", "freed_at"))
        .with_columns(
            pl.col("nlikes").fill_null(0) - pl.col("nlikes_before").fill_null(0),
            pl.col("ndislikes").fill_null(0) - pl.col("ndislikes_before").fill_null(0),
        )
    )


def _verdict(row: Mapping[str, Any], rules: HealthRules, now: datetime) -> tuple[str, str, str] | None:
    """Reason, observed and threshold of the first rule that holds."""
    empty = row["empty_streak"] or 0
    if empty >= EMPTY_FETCHES:
        return "no_posts_3x", f"{empty} fetches", f">= {EMPTY_FETCHES}"
    reactions = row["nlikes"] + row["ndislikes"]
    if reactions >= QUALITY_REACTIONS and row["nlikes"] / reactions < QUALITY_SHARE:
        observed = f"{row['nlikes'] / reactions:.4f} of {reactions}"
        return "low_like_rate", observed, f"< {QUALITY_SHARE} of >= {QUALITY_REACTIONS}"
    return _ads(row, now) or _silence(row, rules, now)


def _ads(row: Mapping[str, Any], now: datetime) -> tuple[str, str, str] | None:
    share, processed, at, freed = row["ad_rate_7d"], row["processed_7d"], row["stats_at"], row["freed_at"]
    # An older row tells of another week; one made sooner after a person spoke, of days that person knew.
    if share is None or at <= now - WEEK or (freed is not None and at < freed + WEEK):
        return None
    for reason, bound, least in AD_RATES:
        extreme = reason == "extreme_ad_rate"
        if processed >= least and (share >= bound if extreme else share > bound):
            return reason, f"{share:.4f} of {processed}", f"{'>=' if extreme else '>'} {bound} of >= {least}"
    return None


def _silence(row: Mapping[str, Any], rules: HealthRules, now: datetime) -> tuple[str, str, str] | None:
    if row["platform"] not in rules.live or row["added_at"] is None or row["silent_since"] >= now - WEEK:
        return None
    return "stale_7d", f"silent since {row['silent_since']:%Y-%m-%d %H:%M}", f"> {WEEK.days} days"


def sweep(
    control: Control,
    listed: Listed,
    posts: pl.LazyFrame,
    source_stats: pl.DataFrame,
    rules: HealthRules,
    now: datetime,
) -> pl.DataFrame:
    """Snooze the sources that are to rest; return the verdicts (`VERDICTS`).

    Sources are folded anew from the control database, so that one that sleeps already is left alone however old the
    table is; of two sweeps at once the second event changes nothing.

    Args:
        posts: `meme_posts`.
    """
    events, fetches = SOURCE_EVENTS.read(control), FETCHES.read(control)
    sources = meme_sources(listed, events, fetches, posts)
    found = verdicts(sources, events, fetches, source_stats, rules, now)
    SOURCE_EVENTS.append(
        control,
        (event_row(row["source_id"], row["action"], row["reason"], AUTO, now) for row in found.iter_rows(named=True)),
    )
    return found

"""meme_stats and source_stats: ratings of the memes and sources that a day touched, as of its end.

Belongs here: which memes and sources get a row on a day, and joining ratings, ranks, newcomers and ages to it. Does
not belong here: the formulas of ratings (`ratings.py`), people (`user_stats.py`), the rows they count (`base.py`).

A row always counts all that was known at `as_of`, and the latest row of a meme holds; so a meme that nothing happened
to needs no row. Mapping, states and views are those of the catalogue that is given, also for days past.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from magpie.exact import quotient
from magpie.lake import Lake
from magpie.memes.base import (
    CHANNEL_CLICK,
    CLICK,
    DAY_US,
    NEVER,
    OWN_CLICK,
    History,
    Known,
    Mask,
    begun,
    micros,
    start_of,
)
from magpie.memes.ratings import RatingRules, ratings, raw_ranks
from magpie.memes.tables import MEME_DESCRIPTIONS, MEME_STATS, MEMES, SOURCE_STATS
from magpie.tables import UTC as MOMENT
from magpie.tables import Table

# The week over which a source's share of ads is taken.
AD_WINDOW = timedelta(days=7)
# A day more, so that the row of the day on which the last meme leaves the week says that none is left.
MOVING_WINDOW = AD_WINDOW + timedelta(days=1)
# States in which nothing was decided yet, or nothing about ads.
UNPROCESSED = ("created", "broken", "rejected", "waiting_review", "snoozed")


def latest(table: Table, rows: pl.LazyFrame, moment: datetime | None = None) -> pl.LazyFrame:
    """Return of each key, its day left out, the row of the latest day whose as_of is at or before the moment."""
    key = [name for name in table.key if name != "day"]
    held = rows if moment is None else rows.filter(pl.col("as_of") <= moment)
    return held.sort("day").unique(key, keep="last", maintain_order=True).sort(key)


def with_words(lake: Lake, rated: pl.LazyFrame) -> pl.LazyFrame:
    """Add what each meme says (`words`): its caption, else the text in its picture."""
    captions = lake.read(MEMES).select("meme_id", "caption")
    texts = lake.read(MEME_DESCRIPTIONS).select("meme_id", "ocr_text")
    joined = rated.join(captions, on="meme_id", how="left").join(texts, on="meme_id", how="left")
    words = pl.coalesce("caption", "ocr_text").str.replace_all(r"\s+", " ").str.strip_chars()
    return joined.with_columns(pl.when(words != "").then(words).alias("words")).drop("caption", "ocr_text")


def meme_stats(history: History, days: Iterable[date], changed: pl.DataFrame, rules: RatingRules) -> pl.DataFrame:
    """Return the rows of these days, in the columns of `meme_stats`.

    Touched are memes with an event on the day, memes whose mapping changed, and sends of the last days that were not
    reacted to, of people who reacted on the day: that they were passed over may just have become certain.

    Args:
        changed: meme_id of memes whose canonical meme is another than before, and of those canonical memes.
    """
    came = newcomers(history)
    rows = [MEME_STATS.empty()]
    for day in begun(history, days):
        known = history.known(history.as_of(day))
        wanted = _touched(history, known, day, changed, rules)
        rated = ratings(known, wanted, rules)
        rows.append(_meme_rows(history, day, wanted, rated, came))
    return pl.concat(rows).sort(MEME_STATS.sort_by)


def _touched(history: History, known: Known, day: date, changed: pl.DataFrame, rules: RatingRules) -> Mask:
    """By number of a meme; only canonical ones that the catalogue has."""
    listed = history.memes["listed"].to_numpy()
    published = history.memes["published_at"] < history.as_of(day)
    remapped = history.memes["canonical"].to_numpy()[history.numbers_of(changed["meme_id"])]
    touched = np.zeros(len(listed), dtype=bool)
    touched[remapped] = True
    touched &= published.fill_null(False).to_numpy()
    touched[history.on(day)["meme"].drop_nulls().unique().to_numpy()] = True
    reacted_today = np.zeros(len(history.users), dtype=bool)
    reacted_today[known.user[known.explicit & (known.reacted >= start_of(day))]] = True
    since = start_of(day) - rules.lookback_days * DAY_US
    unanswered = ~known.explicit & known.exposed & (known.sent >= since) & reacted_today[known.user]
    touched[known.meme[unanswered]] = True
    return touched & listed


def newcomers(history: History) -> pl.DataFrame:
    """Return the first clicks of people who were never seen before: canonical meme, at, and whether by a channel.

    A click on one's own link is none, and makes nobody known.
    """
    seen = history.events.filter(pl.col("kind") != OWN_CLICK)
    clicks = seen.filter(pl.col("kind").is_in([CLICK, CHANNEL_CLICK]))
    first = seen.group_by("user").agg(pl.col("at").min())
    came = clicks.join(first, on=["user", "at"]).sort("user", "meme", "kind", nulls_last=True)
    once = came.unique("user", keep="first", maintain_order=True).filter(pl.col("meme").is_not_null())
    return once.select(history.canonical("meme"), "at", (pl.col("kind") == CHANNEL_CLICK).alias("by_channel"))


def _meme_rows(history: History, day: date, wanted: Mask, rated: pl.DataFrame, came: pl.DataFrame) -> pl.DataFrame:
    as_of = history.as_of(day)
    memes = history.memes
    published = memes.filter(pl.col("listed") & (pl.col("published_at") < as_of))
    invited = (
        came.filter(pl.col("at") < micros(as_of))
        .group_by("meme")
        .agg((~pl.col("by_channel")).sum().alias("invited"), pl.col("by_channel").sum().alias("invited_by_channel"))
    )
    rows = memes.filter(pl.Series(wanted)).rename({"number": "meme"})
    joined = (
        rows.join(rated, on="meme", how="left")
        .join(invited, on="meme", how="left")
        .join(raw_ranks(published), on="meme_id", how="left")
    )
    counted = ("nlikes", "ndislikes", "nsent", "n_lr", "n_es", "invited", "invited_by_channel")
    return MEME_STATS.shaped(
        joined.with_columns(
            pl.lit(day).alias("day"),
            pl.lit(as_of, MOMENT).alias("as_of"),
            _age_days(as_of, pl.col("published_at")).alias("age_days"),
            *(pl.col(name).fill_null(0) for name in (*counted, "lr_smoothed", "engagement")),
        )
    )


def _age_days(as_of: datetime, published_at: pl.Expr) -> pl.Expr:
    """Whole days; what was published in the quarter of an hour after `as_of` is no days old."""
    return ((micros(as_of) - published_at.to_physical()) // DAY_US).clip(lower_bound=0)


def source_stats(history: History, days: Iterable[date], changed: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of these days, in the columns of `source_stats`.

    Touched are sources with an event on one of their memes, with a meme whose mapping changed, or with memes of the
    last week, whose share of ads moves. Reactions and sends count for the source of the canonical meme, once per
    person and meme.
    """
    rows = [SOURCE_STATS.empty()]
    for day in begun(history, days):
        rows.append(_source_rows(history, day, changed))
    return pl.concat(rows).sort(SOURCE_STATS.sort_by)


def _source_rows(history: History, day: date, changed: pl.DataFrame) -> pl.DataFrame:
    as_of = history.as_of(day)
    listed = history.memes.filter("listed").rename({"number": "meme"})
    published = listed.filter(pl.col("published_at") < as_of)
    remapped = history.numbers_of(changed["meme_id"])
    moved = pl.Series([*remapped, *history.memes["canonical"].to_numpy()[remapped]], dtype=pl.UInt32)
    met = pl.concat([history.on(day)["meme"].drop_nulls(), moved]).unique()
    touched = listed.filter(pl.col("meme").is_in(met.implode()) | _within(as_of, MOVING_WINDOW))["source_id"].unique()
    counted = _per_meme(history.known(as_of)).join(listed.select("meme", "source_id"), on="meme")
    reactions = counted.group_by("source_id").agg(
        pl.col("nlikes", "ndislikes").sum(),
        pl.col("nsent").sum().alias("nsent_events"),
        (pl.col("nsent") > 0).sum().alias("nmemes_sent"),
    )
    joined = (
        pl.DataFrame({"source_id": touched})
        .join(reactions, on="source_id", how="left")
        .join(_catalogue_facts(published, as_of), on="source_id", how="left")
    )
    counts = ("nlikes", "ndislikes", "nsent_events", "nmemes_sent", "nmemes", "processed_7d")
    return SOURCE_STATS.shaped(
        joined.with_columns(
            pl.lit(day).alias("day"),
            pl.lit(as_of, MOMENT).alias("as_of"),
            quotient(pl.col("ads"), pl.col("processed_7d")).alias("ad_rate_7d"),
            *(pl.col(name).fill_null(0) for name in counts),
        )
    )


def _within(as_of: datetime, window: timedelta) -> pl.Expr:
    return (pl.col("published_at") >= as_of - window) & (pl.col("published_at") < as_of)


def _per_meme(known: Known) -> pl.DataFrame:
    rows = pl.DataFrame({"meme": known.meme, "sym": known.sym, "sent": known.exposed})
    return rows.group_by("meme").agg(
        (pl.col("sym") == 1).sum().cast(pl.Int64).alias("nlikes"),
        (pl.col("sym") == -1).sum().cast(pl.Int64).alias("ndislikes"),
        pl.col("sent").sum().cast(pl.Int64).alias("nsent"),
    )


def _catalogue_facts(published: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    processed = _within(as_of, AD_WINDOW) & ~pl.col("state").is_in(UNPROCESSED)
    return published.group_by("source_id").agg(
        pl.len().alias("nmemes"),
        _age_days(as_of, pl.col("published_at").max()).alias("latest_meme_age_d"),
        processed.sum().alias("processed_7d"),
        (processed & (pl.col("state") == "ad")).sum().alias("ads"),
    )


def sent_since(history: History, late: pl.DataFrame, rules: RatingRules) -> pl.DataFrame:
    """Return the canonical memes (`meme_id`) whose numbers events that came late may have moved.

    These are the memes the events are about, and of each such event's person the memes that were sent from the event
    on, or from when the meme it is about was first sent, if that is earlier: from there on the person's mean is
    another. Memes sent some days before count as well unless they were reacted to, for they may be passed over now;
    and memes whose link the person followed, for the person may be no newcomer any more.

    Args:
        late: user_id, meme_id, at of events that became known after the statistics of their day were made; they are
            part of the history.
    """
    held = history.pairs
    pairs = pl.DataFrame({"user": held.user, "meme": held.meme, "sent": held.sent, "open": ~held.explicit})
    people = pl.DataFrame({"user_id": history.users}).with_row_index("user")
    met = history.memes.select("meme_id", pl.col("canonical").alias("meme"))
    told = late.select("user_id", "meme_id", "at").join(people, on="user_id").join(met, on="meme_id", how="left")
    # Of copies any may have been the one that counted.
    first_sent = pairs.group_by("user", "meme").agg(pl.col("sent").min())
    dated = told.join(first_sent, on=["user", "meme"], how="left")
    since = dated.group_by("user").agg(pl.min_horizontal(pl.col("at").to_physical(), "sent").min().alias("since"))
    reached = pl.col("sent") >= pl.col("since") - pl.when("open").then(rules.lookback_days * DAY_US).otherwise(0)
    sent = pairs.filter(pl.col("sent") != NEVER).join(since, on="user").filter(reached)
    clicks = history.events.filter(pl.col("kind").is_in([CLICK, CHANNEL_CLICK])).join(since, on="user")
    moved = pl.concat([told["meme"], sent["meme"], clicks.select(history.canonical("meme")).to_series()]).drop_nulls()
    return history.memes.filter(pl.col("number").is_in(moved.unique().implode())).select("meme_id")

"""ticker_consensus: what the channels think of each symbol, weighted by conviction, age and reliability.

Belongs here: stance, vote, weight and score, and when a mention counts as said. Does not belong here: whether a
mention is one (`verify.py`), and what it came to (`outcomes.py`).

For each symbol and day, over the trailing window of `days` that ends with the day (UTC):

    w = reliability * (0.5 + 0.5 * conviction) * 2 ** (-age / half_life)
    net = sum of w * stance      mass = sum of w      score = 50 + 50 * net / (mass + prior_mass)

with one vote per channel, its latest, so a change of mind replaces the older view. `prior_mass` votes for nothing, so
a single voice does not reach the ends of the scale. Age is counted in whole days between the UTC days of the
publication and of the consensus: the hour of a poll must not move a score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time

import numpy as np
import polars as pl

from magpie.exact import quotient
from magpie.tables import UTC
from magpie.videos.settings import Videos
from magpie.videos.tables import TICKER_CONSENSUS

# What an action says about the security; a mention without a direction has no stance and no vote.
STANCES = {"buy": 1.0, "hold": 0.0, "watch": 0.0, "avoid": -0.5, "sell": -1.0, "short": -1.0}
NEUTRAL = 50.0
# A video of which only the day is known counts as published at its end: it was not known to anyone earlier.
END_OF_DAY = time(23, 59, 59)


@dataclass(frozen=True)
class ConsensusRules:
    """Window, weights and bounds; `days` and `half_life_days` in days, `publish_margin` in points of score."""

    days: int
    half_life_days: float
    prior_mass: float
    publish_margin: float
    min_channels: int
    contested_ratio: float

    @classmethod
    def of(cls, settings: Videos) -> "ConsensusRules":
        return cls(
            days=settings.consensus_days,
            half_life_days=settings.half_life_days,
            prior_mass=settings.prior_mass,
            publish_margin=settings.publish_margin,
            min_channels=settings.consensus_min_channels,
            contested_ratio=settings.contested_ratio,
        )


def counts() -> pl.Expr:
    """Mentions that count: ok, and of the active version."""
    return (pl.col("status") == "ok") & pl.col("is_active")


def stance() -> pl.Expr:
    """The number for an action, -1 to 1; null where it takes no position at all."""
    return pl.col("action").replace_strict(STANCES, default=None, return_dtype=pl.Float64)


def said_at() -> pl.Expr:
    """When a mention was published: to the second where that is known, else the end of its partition's day."""
    end = pl.col("day").dt.combine(END_OF_DAY, time_unit="us").dt.replace_time_zone("UTC")
    exact = pl.col("published_at").is_not_null() & (pl.col("date_precision") == "second")
    return pl.when(exact).then("published_at").otherwise(end).cast(UTC)


def ticker_consensus(
    mentions: pl.DataFrame, days: Sequence[date], reliability: Mapping[str, float], rules: ConsensusRules
) -> pl.DataFrame:
    """Return one row per day and symbol with at least one vote, in the columns of `ticker_consensus`.

    Args:
        mentions: `stock_mentions` of at least the windows of all days; those that do not count are passed over.
        days: each is scored by its own window, whichever others are asked for.
        reliability: by channel_id; channels that are missing or have 0 do not vote.
    """
    votes = _votes(mentions, days, reliability, rules)
    if votes.is_empty():
        return TICKER_CONSENSUS.empty()
    groups = votes.group_by("day", "symbol", maintain_order=True).agg(
        pl.len().alias("n_votes"),
        pl.col("channel_id").n_unique().alias("n_channels"),
        pl.struct("channel_id", "mention_id", "weight").alias("votes"),
    )
    signed = votes["weight"] * votes["stance"]
    number = votes.select(pl.struct("day", "symbol").rle_id()).to_series()
    summed = groups.with_columns(
        _sums("mass", number, votes["weight"]),
        _sums("net", number, signed),
        _sums("pos", number, signed.clip(lower_bound=0)),
        _sums("neg", number, -signed.clip(upper_bound=0)),
    )
    return TICKER_CONSENSUS.shaped(_scored(summed, rules)).sort(TICKER_CONSENSUS.sort_by)


def _votes(
    mentions: pl.DataFrame, days: Sequence[date], reliability: Mapping[str, float], rules: ConsensusRules
) -> pl.DataFrame:
    """One row per day, symbol and channel, sorted so, with stance and weight."""
    trusted = {channel: value for channel, value in reliability.items() if value > 0}
    said = (
        mentions.filter(counts() & pl.col("channel_id").is_in(list(trusted)))
        .with_columns(said_at().alias("said_at"), stance().alias("stance"))
        .filter(pl.col("stance").is_not_null())
        .select("channel_id", "symbol", "mention_id", "said_at", "located_s", "conviction", "stance")
        .with_columns(pl.col("said_at").dt.date().alias("said"))
    )
    latest = (
        said.join(_windows(days, rules), on="said")
        .sort("day", "symbol", "channel_id", "said_at", "located_s", "mention_id", nulls_last=False)
        .unique(["day", "symbol", "channel_id"], keep="last", maintain_order=True)
    )
    trust = pl.col("channel_id").replace_strict(trusted, default=None, return_dtype=pl.Float64)
    return latest.with_columns((trust * (0.5 + 0.5 * pl.col("conviction")) * pl.col("decay")).alias("weight"))


def _windows(days: Sequence[date], rules: ConsensusRules) -> pl.DataFrame:
    """Pairs (day, said) of each day with every day of its window, and how much a vote of that age still weighs."""
    # Powers are taken here, one by one: those of a vectorised function may differ in the last bit by their neighbours.
    decay = [2.0 ** (-age / rules.half_life_days) for age in range(rules.days)]
    ages = pl.DataFrame({"age": range(rules.days), "decay": decay}, schema={"age": pl.Int64, "decay": pl.Float64})
    wanted = pl.DataFrame({"day": sorted(set(days))}, schema={"day": pl.Date})
    return wanted.join(ages, how="cross").select(
        "day", (pl.col("day") - pl.duration(days=pl.col("age"))).alias("said"), "decay"
    )


def _sums(name: str, group: pl.Series, values: pl.Series) -> pl.Series:
    """Sum per group, one value after the other in row order: bincount neither pairs nor splits them."""
    return pl.Series(name, np.bincount(group.to_numpy(), weights=values.to_numpy()), dtype=pl.Float64)


def _scored(groups: pl.DataFrame, rules: ConsensusRules) -> pl.DataFrame:
    # Without prior mass, votes so old that their weight is 0 leave nothing to divide by, and nothing to say.
    share = quotient(pl.col("net"), pl.col("mass") + rules.prior_mass).fill_null(0.0)
    smaller = quotient(pl.min_horizontal("pos", "neg"), pl.max_horizontal("pos", "neg"))
    both = (pl.col("pos") > 0) & (pl.col("neg") > 0)
    enough = pl.col("n_channels") >= rules.min_channels
    return groups.with_columns(
        (NEUTRAL + NEUTRAL * share).alias("score"),
        quotient(pl.col("net").abs(), pl.col("pos") + pl.col("neg")).alias("agreement"),
        (both & (smaller >= rules.contested_ratio)).fill_null(False).alias("contested"),
    ).with_columns((enough & ((pl.col("score") - NEUTRAL).abs() >= rules.publish_margin)).alias("published"))

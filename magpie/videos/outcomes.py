"""pick_outcomes: what a pick came to after so many sessions, against the benchmark, and each channel's record.

Belongs here: entry, exit, return and alpha of a pick, when they are known, and the statistics over them. Does not
belong here: prices and sessions (`prices.py`).

A pick is entered at the first close of the exchange strictly after it was published, so that no one needs to have
traded before it was said, and left `horizon` sessions later, both at adjusted closes:

    ret = exit / entry - 1       alpha = direction * (ret - ret of the benchmark)       hit = alpha > 0
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from magpie.exact import quotient
from magpie.tables import UTC
from magpie.videos.consensus import counts, said_at
from magpie.videos.prices import Sessions
from magpie.videos.settings import Videos
from magpie.videos.tables import PICK_OUTCOMES

# hold and watch take no position.
DIRECTIONS = {"buy": 1, "sell": -1, "short": -1, "avoid": -1}
# Two-sided 95 % of the normal distribution.
Z95 = 1.959963984540054
# Below this a hit rate's interval spans almost half the scale; it is shown, and said not to be reliable.
RELIABLE_FROM = 20

TRACK_RECORD = pl.Schema(
    {
        "channel_id": pl.String(),
        "horizon_sessions": pl.Int64(),
        "n": pl.Int64(),
        "mean_alpha": pl.Float64(),
        "median_alpha": pl.Float64(),
        "hits": pl.Int64(),
        "hit_rate": pl.Float64(),
        "wilson_low": pl.Float64(),
        "wilson_high": pl.Float64(),
        "reliable": pl.Boolean(),
        "inverse_mean_alpha": pl.Float64(),
    }
)


@dataclass(frozen=True)
class OutcomeRules:
    """After how many sessions picks are looked at, and the symbol they are held against."""

    horizons: tuple[int, ...]
    benchmark: str

    @classmethod
    def of(cls, settings: Videos) -> "OutcomeRules":
        return cls(horizons=settings.outcome_horizons, benchmark=settings.benchmark_symbol)


def pick_outcomes(
    mentions: pl.DataFrame, prices: pl.DataFrame, sessions: Sessions, rules: OutcomeRules, now: datetime
) -> pl.DataFrame:
    """Return one row per mention that counts and horizon, in the columns of `pick_outcomes`.

    Args:
        mentions: `stock_mentions`; those that are not ok or not of the active version are passed over.
        prices: `daily_prices` of every day there is, also of days after the picks.
        sessions: those of `rules.benchmark` in the same prices.
        now: sessions that end later are not over. A horizon that must be over by now but that prices do not reach
            waits for prices, not for a moment.
    """
    picks = mentions.filter(counts()).with_columns(
        said_at().alias("said_at"),
        pl.col("action").replace_strict(DIRECTIONS, default=None, return_dtype=pl.Int64).alias("direction"),
    )
    horizons = pl.DataFrame({"horizon_sessions": rules.horizons}, schema={"horizon_sessions": pl.Int64})
    known = sessions.until(now)
    timed = picks.pipe(_with_entries, known).join(horizons, how="cross").pipe(_with_exits, known)
    priced = timed.pipe(_with_prices, prices, rules.benchmark)
    expected = _expected_closes(priced, sessions)
    judged = priced.join(expected, on=["said_at", "entry_date", "horizon_sessions"], how="left", nulls_equal=True)
    return PICK_OUTCOMES.shaped(_judged(judged, now)).sort(PICK_OUTCOMES.sort_by)


def _with_entries(picks: pl.DataFrame, known: Sessions) -> pl.DataFrame:
    """Add entry_date, its place and run: the first close strictly after the moment, null where it is not known."""
    joined = picks.sort("said_at").join_asof(
        known.frame().rename({"session": "entry_date"}),
        left_on="said_at",
        right_on="close_at",
        strategy="forward",
        allow_exact_matches=False,
    )
    # Of a pick before the first price, or in a hole, only other files can say what it was worth; time cannot.
    unsure = (pl.col("said_at") < pl.col("known_from")).fill_null(False) | pl.lit(not known.days)
    return joined.with_columns(
        unsure.alias("unsure"), *(pl.when(~unsure).then(name).alias(name) for name in ("entry_date", "place", "run"))
    ).drop("known_from", "close_at")


def _with_exits(timed: pl.DataFrame, known: Sessions) -> pl.DataFrame:
    """Add exit_date, and whether a hole in the calendar lies on the way to it."""
    sessions = known.frame().select(
        pl.col("place").alias("exit_place"), pl.col("session").alias("exit_date"), pl.col("run").alias("exit_run")
    )
    last = max(len(known.days) - 1, 0)
    reached = timed.with_columns(
        (pl.col("place") + pl.col("horizon_sessions")).alias("wanted"),
        pl.min_horizontal(pl.col("place") + pl.col("horizon_sessions"), pl.lit(last, pl.Int64)).alias("exit_place"),
    )
    joined = reached.join(sessions, on="exit_place", how="left")
    whole = pl.col("run") == pl.col("exit_run")
    there = whole & (pl.col("wanted") == pl.col("exit_place"))
    return joined.with_columns(
        (pl.col("unsure") | ~whole.fill_null(True)).alias("hole"), pl.when(there).then("exit_date").alias("exit_date")
    )


def _with_prices(timed: pl.DataFrame, prices: pl.DataFrame, benchmark: str) -> pl.DataFrame:
    """Add the adjusted closes of symbol and benchmark at entry and exit, null where there is no row."""
    used = prices.filter(pl.col("symbol").is_in([*timed["symbol"].unique(), benchmark]))
    used = used.select("symbol", "day", "adj_close")
    held = used.filter(pl.col("symbol") == benchmark)
    for end in ("entry", "exit"):
        own = used.rename({"day": f"{end}_date", "adj_close": f"{end}_price"})
        other = held.select(pl.col("day").alias(f"{end}_date"), pl.col("adj_close").alias(f"{end}_bench"))
        timed = timed.join(own, on=["symbol", f"{end}_date"], how="left").join(other, on=f"{end}_date", how="left")
    return timed


def _expected_closes(timed: pl.DataFrame, sessions: Sessions) -> pl.DataFrame:
    """When the exits that are not there yet can be there; one row per said_at, entry_date and horizon."""
    waiting = timed.filter(pl.col("exit_date").is_null()).select("said_at", "entry_date", "horizon_sessions").unique()
    closes: dict[tuple[date | datetime, int], datetime] = {}
    found = []
    for said, entry, horizon in waiting.iter_rows():
        start = (said if entry is None else entry, horizon)
        if start not in closes:
            closes[start] = sessions.expected_close(*start)
        found.append(closes[start])
    return waiting.with_columns(pl.Series("expected", found, dtype=UTC))


def _judged(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Add returns to what is complete, and status and reason to everything; the first reason that holds is told."""
    no_position = pl.col("direction").is_null()
    no_date = (pl.col("date_precision") == "unknown") | (
        (pl.col("date_precision") == "second") & pl.col("published_at").is_null()
    )
    entry_missing = pl.col("hole") | (pl.col("entry_date").is_not_null() & pl.col("entry_price").is_null())
    late = pl.col("exit_date").is_null() & (pl.col("expected") > now)
    incomplete = pl.any_horizontal(
        pl.col(name).is_null() for name in ("entry_price", "exit_price", "entry_bench", "exit_bench")
    )
    reason = (
        pl.when(no_position)
        .then(pl.lit("no_position"))
        .when(no_date)
        .then(pl.lit("no_date"))
        .when(entry_missing)
        .then(pl.lit("no_price"))
        .when(late)
        .then(pl.lit("not_matured"))
        .when(incomplete)
        .then(pl.lit("no_price"))
    )
    rejected = pl.col("reason").is_in(["no_position", "no_date"]).fill_null(False)
    ok = pl.col("reason").is_null()
    return (
        rows.with_columns(reason.alias("reason"))
        .with_columns(
            pl.when(ok)
            .then(pl.lit("ok"))
            .when(rejected)
            .then(pl.lit("rejected"))
            .otherwise(pl.lit("pending"))
            .alias("status"),
            _observed().alias("observed"),
            pl.when(pl.col("reason") == "not_matured")
            .then(pl.format("{} sessions", "horizon_sessions"))
            .alias("threshold"),
            pl.when(pl.col("reason") == "not_matured").then("expected").cast(UTC).alias("not_before"),
            # A row that was turned away shows no half of a trade.
            *(
                pl.when(~rejected).then(name).alias(name)
                for name in ("entry_date", "entry_price", "exit_date", "exit_price", "direction")
            ),
            pl.when(ok).then(_gain("exit_price", "entry_price")).alias("ret"),
            pl.when(ok).then(_gain("exit_bench", "entry_bench")).alias("bench_ret"),
        )
        .with_columns(
            (pl.col("direction") * pl.col("ret")).alias("signed_ret"),
            (pl.col("direction") * (pl.col("ret") - pl.col("bench_ret"))).alias("alpha"),
        )
        .with_columns((pl.col("alpha") > 0).alias("hit"))
    )


def _gain(exit_price: str, entry_price: str) -> pl.Expr:
    return quotient(pl.col(exit_price), pl.col(entry_price)) - 1


def _observed() -> pl.Expr:
    """What is missing, in words that a person can act on."""
    day = pl.when(pl.col("entry_price").is_null()).then("entry_date").otherwise("exit_date")
    return (
        pl.when(pl.col("reason") == "no_position")
        .then("action")
        .when(pl.col("reason") == "no_date")
        .then("date_precision")
        .when((pl.col("reason") == "no_price") & pl.col("hole"))
        .then(pl.lit("the benchmark's prices are not there, begin later or have a hole"))
        .when((pl.col("reason") == "no_price") & day.is_not_null())
        .then(pl.format("{} on {}", "symbol", day.cast(pl.String)))
        .when(pl.col("reason") == "no_price")
        .then(pl.lit("the benchmark's prices end earlier"))
        .when(pl.col("reason") == "not_matured")
        .then(pl.format("entry {}", pl.coalesce(pl.col("entry_date").cast(pl.String), pl.lit("to come"))))
    )


def wilson(hits: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Return the score interval of a rate, for z = 1.96 that of 95 %, both ends within 0-1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927) 209-212.

    Raises:
        ValueError: n < 1, or not 0 <= hits <= n.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}")
    rate, square = hits / n, z * z
    centre = (rate + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def track_record(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return per channel and horizon what its ok picks came to (`TRACK_RECORD`), sorted by both.

    Picks of one channel overlap in time and are not independent draws, so the interval is narrower than it should be.
    """
    return pl.DataFrame(list(_records(outcomes)), schema=TRACK_RECORD, orient="row")


def _records(outcomes: pl.DataFrame) -> Iterator[tuple[object, ...]]:
    held = outcomes.filter(pl.col("status") == "ok").group_by("channel_id", "horizon_sessions").agg("alpha", "hit")
    for channel, horizon, alphas, hit in held.sort("channel_id", "horizon_sessions").iter_rows():
        n, hits = len(alphas), sum(hit)
        # fmean adds exactly, so the order of the rows does not matter.
        mean, median = statistics.fmean(alphas), statistics.median(alphas)
        yield (channel, horizon, n, mean, median, hits, hits / n, *wilson(hits, n), n >= RELIABLE_FROM, -mean)

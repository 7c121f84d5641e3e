"""How good each meme is: likes held against what each person likes anyway.

Belongs here: the formulas over base rows. Does not belong here: the rows (`base.py`), which memes are rated on which
day (`stats.py`).

Both ratings compare what a person made of a meme with the mean of all that the person had been sent up to and with it,
so that neither a person who likes everything nor one who likes nothing moves a meme. Sends of one moment share one
mean. A reaction to what was never sent has no place in that order and counts as a like or dislike alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from magpie.exact import quotient
from magpie.memes.base import Ints, Known, Mask, starts
from magpie.memes.settings import Memes

Floats = npt.NDArray[np.float64]
# Values of engagement in tenths, since -0.3 is no binary fraction and sums of whole numbers are exact.
LIKED, SHRUGGED, DISLIKED, PASSED = 10, -5, -10, -3
TENTHS = 10
# A dislike within these microseconds is a swipe past rather than a judgement; both bounds belong to it.
SWIPE_US = (500_000, 3_000_000)
# Faster is a slip of the finger, slower a phone that was put away.
REACTION_US = (500_000, 60_000_000)
SECOND_US = 1_000_000
# Deviations, at most 2, are added as multiples of 2^-36: exactly, in any order, for 2^26 rows of a meme.
FIXED = 2.0**36

RATINGS = pl.Schema(
    {
        "meme": pl.UInt32(),
        **dict.fromkeys(("nlikes", "ndislikes", "nsent"), pl.Int64()),
        **dict.fromkeys(("sec_to_react", "lr_smoothed", "engagement"), pl.Float64()),
        **dict.fromkeys(("n_lr", "n_es"), pl.Int64()),
    }
)


@dataclass(frozen=True)
class RatingRules:
    """How many reactions a person, and how many rows a meme must have to be rated; days a send stays open."""

    lr_min_user: int
    lr_min_meme: int
    es_min_meme: int
    lookback_days: int

    @classmethod
    def of(cls, settings: Memes) -> "RatingRules":
        return cls(settings.lr_min_user, settings.lr_min_meme, settings.es_min_meme, settings.skip_lookback_d)


def ratings(known: Known, rated: Mask, rules: RatingRules) -> pl.DataFrame:
    """Return a row (`RATINGS`) for each of these memes that anyone met, sorted by number.

    Args:
        known: all base rows, of other memes too.
        rated: by number of a meme, whether it is wanted.
    """
    mine = rated[known.meme]
    lr, lr_counts = _lr_deviations(known, rules.lr_min_user)
    es, es_counts = _engagement_deviations(known)
    took = np.where(known.explicit & known.exposed, known.reacted - np.where(known.exposed, known.sent, 0), -1)
    rows = pl.DataFrame(
        {
            "meme": known.meme[mine],
            "sym": known.sym[mine],
            "sent": known.exposed[mine],
            "took": took[mine],
            "lr": _fixed(lr[mine]),
            "lr_counts": lr_counts[mine],
            "es": _fixed(es[mine]),
            "es_counts": es_counts[mine],
        }
    )
    in_time = pl.col("took").is_between(*REACTION_US)
    summed = rows.group_by("meme").agg(
        (pl.col("sym") == 1).sum().alias("nlikes"),
        (pl.col("sym") == -1).sum().alias("ndislikes"),
        pl.col("sent").sum().alias("nsent"),
        pl.col("took").filter(in_time).median().alias("took"),
        pl.col("lr").filter("lr_counts").sum(),
        pl.col("lr_counts").sum().alias("n_lr"),
        pl.col("es").filter("es_counts").sum(),
        pl.col("es_counts").sum().alias("n_es"),
    )
    return (
        summed.with_columns(
            quotient(pl.col("took"), pl.lit(SECOND_US)).alias("sec_to_react"),
            _mean("lr", "n_lr", rules.lr_min_meme).alias("lr_smoothed"),
            _mean("es", "n_es", rules.es_min_meme).alias("engagement"),
        )
        .select(list(RATINGS))
        .cast(RATINGS)
        .sort("meme")
    )


def _fixed(deviations: Floats) -> Ints:
    return np.rint(deviations * FIXED).astype(np.int64)


def _mean(total: str, count: str, at_least: int) -> pl.Expr:
    mean = quotient(pl.col(total), pl.col(count) * FIXED)
    return pl.when(pl.col(count) >= at_least).then(mean).otherwise(0.0)


def _lr_deviations(known: Known, min_user: int) -> tuple[Floats, Mask]:
    """Like +1, dislike -1, less the person's mean so far; and which rows count."""
    judged = known.explicit & known.exposed
    total, count = running(known, np.where(judged, known.sym, 0)), running(known, judged)
    deviation = (known.sym * count - total) / np.maximum(count, 1)
    return deviation, judged & (count >= min_user)


def _engagement_deviations(known: Known) -> tuple[Floats, Mask]:
    """The value of each row less the person's mean so far; and which rows have one."""
    values = engagement_values(known)
    valued = values != 0
    total, count = running(known, values), running(known, valued)
    deviation = (values * count - total) / (np.maximum(count, 1) * TENTHS)
    return deviation, valued


def engagement_values(known: Known) -> Ints:
    """Return the value of each row in tenths, 0 for rows that have none.

    A send without a reaction counts as passed over once the person reacted to something sent later.
    """
    judged = known.explicit & known.exposed
    took = np.where(judged, known.reacted - np.where(known.exposed, known.sent, 0), 0)
    swiped = (took >= SWIPE_US[0]) & (took <= SWIPE_US[1])
    values = np.where(known.sym > 0, LIKED, np.where(swiped, SHRUGGED, DISLIKED))
    if not len(values):
        return values.astype(np.int64)
    lengths = np.diff(np.append(known.user_start, len(values)))
    latest = np.repeat(np.maximum.reduceat(np.where(judged, known.sent, -1), known.user_start), lengths)
    passed = ~known.explicit & known.exposed & (known.sent < latest)
    return np.where(judged, values, np.where(passed, PASSED, 0)).astype(np.int64)


def running(known: Known, values: npt.NDArray[np.generic]) -> Ints:
    """Sum whole numbers per person in the order of sending; each row gets the sum of all up to its own moment."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    total = np.cumsum(values, dtype=np.int64)
    first = known.user_start
    lengths = np.diff(np.append(first, len(values)))
    before = np.repeat(np.where(first > 0, total[first - 1], 0), lengths)
    moments = starts(known.user, known.sent)
    last = np.append(moments[1:], len(values)) - 1
    return np.repeat(total[last], last + 1 - moments) - before


def raw_ranks(memes: pl.DataFrame) -> pl.DataFrame:
    """Return meme_id and raw_rank, floor(4 * rank / n), of memes with views that may be shown.

    Rank 1 is the most viewed of its source, n how many the source has. Sources with fewer than five have no 0.

    Args:
        memes: meme_id, source_id, state, views. Of equal views the first by id ranks first. Unknown views do not rank.
    """
    shown = memes.filter(pl.col("views").is_not_null() & pl.col("state").is_in(["ok", "published"]))
    ordered = shown.sort("source_id", "views", "meme_id", descending=[False, True, False])
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("source_id")
    return ordered.select("meme_id", (place * 4 // pl.len().over("source_id")).cast(pl.Int64).alias("raw_rank"))

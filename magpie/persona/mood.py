"""The mood of an author: a base for each day, and an offset that inputs kick and that decays, known at any moment.

Belongs here: how far an input kicks, the offset in closed form, the base of a date, their sum, and its table. Does not
belong here: which sentiment suits a mood (`mood_range.py`), its picture (`mood_graph.py`), where inputs come from.

The offset x0 and its rate x1, in hours and on the logistic scale, follow

    x0' = -x0/tau1 + x1        x1' = -x1/tau2

and a kick d adds gain*d/tau2 to x1. Both equations are linear, so that each kick goes its own way and their sum is
exact at any moment, and many kicks go on as one: after D hours without a change of the numbers

    x0 <- x0*exp(-D/tau1) + x1*m(D)        x1 <- x1*exp(-D/tau2)

with m(D) = tau1*tau2/(tau1 - tau2)*(exp(-D/tau1) - exp(-D/tau2)), whose limit for equal tau is D*exp(-D/tau). Where
tau changes, x0 and x1 are carried over.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from magpie.persona.mood_range import (
    ANCHORS,
    NO_BOUNDS,
    UNRESTRICTED,
    Bounds,
    Preset,
    bounds_at,
    name_of,
)
from magpie.persona.rng import rng
from magpie.persona.scales import logit, sigmoid
from magpie.persona.settings import Blog
from magpie.persona.tables import MOOD
from magpie.tables import UTC as UTC_COLUMN

# Fitted to how the author's mood answered inputs: half the input's own logit, half that of its better texts.
SLOPE, INTERCEPT = 0.61029747, 0.4252486735525668
QUARTILE = 0.75
GRID = timedelta(minutes=10)
# What stands in the place of a mood that cannot be told: the middle of the road, screening nothing.
UNRESTRICTED_VALUE = ANCHORS["meh"]
# Settings at their bounds, and logits as far as floats go, give kicks below a thousand.
MOST_KICK = 1e3
US_PER_HOUR = 3_600_000_000
_GRID_US = GRID // timedelta(microseconds=1)
_DAY_GRID = np.arange(timedelta(days=1) // GRID, dtype=np.int64) * _GRID_US
# Before and after every moment that a datetime can hold.
_EVER, _NEVER = -(2**62), 2**62
_NONE = np.empty(0, dtype=np.int64)

# What of `mood_inputs` the mood needs.
KICKS = pl.Schema({"kick_ts": UTC_COLUMN, "kick": pl.Float64()})

Floats = npt.NDArray[np.float64]
Moments = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Epoch:
    """Numbers that hold from a moment on, until the next epoch begins.

    Attributes:
        since: None: from ever.
        tau1_h, tau2_h: hours in which offset and rate fall to 1/e.
        centre: logit at which an input moves nothing; mult: of the distance from it.
    """

    since: datetime | None
    tau1_h: float
    tau2_h: float
    centre: float
    mult: float


@dataclass(frozen=True)
class MoodRules:
    """How one author's mood moves.

    Attributes:
        zone: of the calendar date that decides the base.
        epochs: in the order of time; the first is from ever.
        window_h: kicks older than this count no more.
    """

    blog: str
    zone: ZoneInfo
    base_options: tuple[float, ...]
    window_h: float
    gain: float
    epochs: tuple[Epoch, ...]

    @classmethod
    def of(cls, blog: Blog) -> "MoodRules":
        """The rules that the settings of a blog give; of changes at one moment the later in the file wins."""
        tuning = blog.tuned()
        first = Epoch(None, tuning.mood_tau1_h, tuning.mood_tau2_h, tuning.mood_centre, tuning.mood_mult)
        epochs = [first]
        for change in sorted(tuning.mood_changes, key=lambda change: change.at):
            told = change.model_dump(exclude={"at"}, exclude_none=True)
            epochs.append(Epoch(**{**epochs[-1].__dict__, **told, "since": change.at.astimezone(UTC)}))
        return cls(
            blog.name, blog.zone, tuning.mood_base_options, tuning.mood_window_h, tuning.mood_gain, tuple(epochs)
        )

    def at(self, moment: datetime) -> Epoch:
        """The epoch of a moment."""
        return next(epoch for epoch in reversed(self.epochs) if epoch.since is None or epoch.since <= moment)


@dataclass(frozen=True)
class Kick:
    """One input's push, on the logistic scale."""

    at: datetime
    size: float


@dataclass(frozen=True)
class Mood:
    """A mood at a moment.

    Attributes:
        base_value: probability; offset: on the logistic scale; rate: per hour; value: probability.
    """

    base_name: str
    base_value: float
    offset: float
    rate: float
    value: float

    def bounds(self, preset: Preset) -> Bounds:
        """The sentiment that suits it."""
        return NO_BOUNDS if self.base_name == UNRESTRICTED else bounds_at(self.value, preset)


UNKNOWN_MOOD = Mood(UNRESTRICTED, UNRESTRICTED_VALUE, 0.0, 0.0, UNRESTRICTED_VALUE)


def determiner(input_logit: float, p75: float | None) -> float:
    """How an input reads, on the logistic scale.

    Args:
        p75: `percentile_75` of the logits of all texts that were written for it; None: none was, and the input
            speaks for itself.
    """
    read = input_logit if p75 is None else 0.5 * input_logit + 0.5 * p75
    return SLOPE * read + INTERCEPT


def percentile_75(logits: Sequence[float]) -> float:
    """Return the 75th percentile, interpolated linearly between the ranks.

    Raises:
        ValueError: there is no logit.
    """
    if not logits:
        raise ValueError("no logits")
    ranked = sorted(logits)
    place = QUARTILE * (len(ranked) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])


def kick_of(determiner: float, at: datetime, rules: MoodRules) -> tuple[float, float, float]:
    """Return how far an input kicks the mood at a moment, with the centre and the factor of that time."""
    epoch = rules.at(at)
    return (determiner - epoch.centre) * epoch.mult, epoch.centre, epoch.mult


def base_of(blog: str, day: date, rules: MoodRules) -> tuple[str, float]:
    """Return name and value (a probability) of a date's base, drawn from the options by blog and date."""
    options = rules.base_options
    chosen = options[int(rng("mood-base", blog, day.isoformat()).random() * len(options))]
    return name_of(chosen), chosen


def offset_at(kicks: Sequence[Kick], at: datetime, rules: MoodRules) -> tuple[float, float]:
    """Return offset and rate (per hour) at a moment, of the kicks before it that are not older than the window."""
    frame = pl.DataFrame({"kick_ts": [kick.at for kick in kicks], "kick": [kick.size for kick in kicks]}, KICKS)
    offset, rate = _offsets(*_in_order(frame), np.array([[_microseconds(at)]], dtype=np.int64), rules)
    return float(offset[0, 0]), float(rate[0, 0])


def value_at(kicks: Sequence[Kick], at: datetime, rules: MoodRules) -> Mood:
    """Return the mood at a moment; `UNKNOWN_MOOD` where kicks or numbers make no mood between 0 and 1.

    For a moment to come it is the projection: no further kick, and the base of that moment's date.
    """
    name, base = base_of(rules.blog, at.astimezone(rules.zone).date(), rules)
    offset, rate = offset_at(kicks, at, rules)
    value = sigmoid(logit(base) + offset)
    # NaN is not between 0 and 1 either.
    return Mood(name, base, offset, rate, value) if 0 < value < 1 and math.isfinite(rate) else UNKNOWN_MOOD


def mood_grid(kicks: pl.DataFrame, days: Iterable[date], rules: MoodRules, preset: Preset) -> pl.DataFrame:
    """Return the mood of some UTC days every ten minutes from 00:00 to 23:50, in the columns of `mood`.

    Each day is worked out for itself, so that it does not depend on which days are asked for beside it.

    Args:
        kicks: columns of `KICKS`, of these days and of the window before them; later and older ones have no say.
    """
    midnights = [_microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC)) for day in sorted(set(days))]
    grid = _course(kicks, np.array(midnights, dtype=np.int64)[:, None] + _DAY_GRID, rules, preset)
    return MOOD.shaped(grid.with_columns(pl.lit(rules.blog).alias("blog"), pl.col("ts").dt.date().alias("day")))


def mood_course(kicks: pl.DataFrame, moments: Iterable[datetime], rules: MoodRules, preset: Preset) -> pl.DataFrame:
    """Return the mood at these moments, in the columns of `mood` without blog and day, sorted by moment.

    Args:
        kicks: as of `mood_grid`.
    """
    asked = np.array([sorted(_microseconds(moment) for moment in moments)], dtype=np.int64)
    return _course(kicks, asked, rules, preset)


def _course(kicks: pl.DataFrame, moments: Moments, rules: MoodRules, preset: Preset) -> pl.DataFrame:
    offset, rate = _offsets(*_in_order(kicks), moments, rules)
    flat = {"ts": moments.ravel(), "offset": offset.ravel(), "rate": rate.ravel()}
    return _with_bounds(_with_values(pl.DataFrame(flat).with_columns(pl.col("ts").cast(UTC_COLUMN)), rules), preset)


def _with_values(frame: pl.DataFrame, rules: MoodRules) -> pl.DataFrame:
    """Add base and value; a row whose value cannot be told becomes `UNKNOWN_MOOD`."""
    dated = frame.with_columns(pl.col("ts").dt.convert_time_zone(rules.zone.key).dt.date().alias("date"))
    drawn = [(day, *base_of(rules.blog, day, rules)) for day in dated["date"].unique()]
    columns = {"date": pl.Date(), "base_name": pl.String(), "base_value": pl.Float64(), "logit": pl.Float64()}
    bases = pl.DataFrame([(*base, logit(base[2])) for base in drawn], columns, orient="row")
    known = (pl.col("value") > 0) & (pl.col("value") < 1) & pl.col("rate").is_finite()
    unknown = UNKNOWN_MOOD.__dict__
    return (
        dated.join(bases, on="date", how="left", maintain_order="left")
        .with_columns((1 / (1 + (-pl.col("logit") - pl.col("offset")).exp())).alias("value"))
        .with_columns(pl.when(known).then(name).otherwise(pl.lit(unknown[name])).alias(name) for name in unknown)
        .drop("date", "logit")
    )


def _with_bounds(moods: pl.DataFrame, preset: Preset) -> pl.DataFrame:
    bounds = [bounds_at(value, preset) for value in moods["value"]]
    known = pl.col("base_name") != UNRESTRICTED
    sides = {"lo": [bound.lo for bound in bounds], "hi": [bound.hi for bound in bounds]}
    return moods.with_columns(
        pl.when(known).then(pl.Series(values, dtype=pl.Float64)).alias(side) for side, values in sides.items()
    )


def _in_order(kicks: pl.DataFrame) -> tuple[Moments, Floats]:
    """Moments and sizes; in one order, so that sums do not depend on that of the rows."""
    ordered = kicks.select(KICKS.names()).cast(KICKS).sort(KICKS.names())
    return ordered["kick_ts"].to_physical().to_numpy(), ordered["kick"].fill_null(math.nan).to_numpy()


def _offsets(ats: Moments, sizes: Floats, moments: Moments, rules: MoodRules) -> tuple[Floats, Floats]:
    """Offset and rate at some moments.

    From moment to moment all kicks go on as one; those that came in between are added, those that grew too old are
    taken away, each with what has become of it by then.

    Args:
        ats, sizes: of kicks, sorted by moment; all moments in microseconds since 1970.
        moments: shape (rows, moments of a row), sorted in each row; each row is worked out for itself.
    """
    window = round(rules.window_h * US_PER_HOUR)
    sane = np.abs(sizes) < MOST_KICK
    added = _changes(ats[sane], sizes[sane], moments, window, rules)
    x0, x1 = np.zeros(moments.shape), np.zeros(moments.shape)
    for n in range(moments.shape[1]):
        x0[:, n], x1[:, n] = added[0][:, n], added[1][:, n]
        if n:
            moved = _carried(x0[:, n - 1], x1[:, n - 1], moments[:, n - 1], moments[:, n], rules)
            x0[:, n] += moved[0]
            x1[:, n] += moved[1]
    for at in ats[~sane]:
        # It spoils the moods in which it would have a say, and no run.
        spoilt = (at < moments) & (moments <= at + window)
        x0[spoilt] = x1[spoilt] = math.nan
    return x0, x1


def _changes(ats: Moments, sizes: Floats, moments: Moments, window: int, rules: MoodRules) -> tuple[Floats, Floats]:
    """What comes to offset and rate at each moment, and what goes, by the kicks that begin or cease to count there."""
    rows, length = moments.shape
    places: list[Moments] = []
    which: list[Moments] = []
    signs: list[Floats] = []
    for row, asked in enumerate(moments if length else ()):
        first, last = np.searchsorted(ats, (asked[0] - window, asked[-1]))
        enter = np.searchsorted(asked, ats[first:last], side="right")
        leave = np.searchsorted(asked, ats[first:last] + window, side="right")
        for ends, sign in ((enter, 1.0), (leave, -1.0)):
            seen = np.flatnonzero((enter < leave) & (ends < length))
            places.append(row * length + ends[seen])
            which.append(first + seen)
            signs.append(np.full(len(seen), sign))
    at, kick = np.concatenate([_NONE, *places]), np.concatenate([_NONE, *which])
    rates = np.concatenate([np.empty(0), *signs]) * _first_rates(ats, sizes, rules)[kick]
    became = _carried(np.zeros(len(kick)), rates, ats[kick], moments.ravel()[at], rules)
    to_offset, to_rate = (np.bincount(at, part, rows * length).astype(np.float64) for part in became)
    return to_offset.reshape(rows, length), to_rate.reshape(rows, length)


def _first_rates(ats: Moments, sizes: Floats, rules: MoodRules) -> Floats:
    """What each kick adds to the rate, by the numbers of its own moment."""
    begins = [since for _, since, _ in _spans(rules)]
    tau2 = np.array([epoch.tau2_h for epoch in rules.epochs])
    return sizes * rules.gain / tau2[np.searchsorted(begins, ats, side="right") - 1]


def _carried(x0: Floats, x1: Floats, since: Moments, until: Moments, rules: MoodRules) -> tuple[Floats, Floats]:
    """What has become of offset and rate between two moments, without further kicks."""
    for epoch, begin, end in _spans(rules):
        hours = np.maximum(np.minimum(until, end) - np.maximum(since, begin), 0) / US_PER_HOUR
        if not hours.any():
            continue
        of_offset, of_rate = 1 / epoch.tau1_h, 1 / epoch.tau2_h
        apart = abs(of_offset - of_rate)
        slow = np.exp(-min(of_offset, of_rate) * hours)
        # exp(-a) - exp(-b) would lose its digits where both are nearly equal.
        lost = np.expm1(-apart * hours)
        mixed = slow * (-lost / apart if apart else hours)
        fast = slow * (1 + lost)
        first, second = (slow, fast) if of_offset <= of_rate else (fast, slow)
        x0, x1 = x0 * first + x1 * mixed, x1 * second
    return x0, x1


def _spans(rules: MoodRules) -> Iterator[tuple[Epoch, int, int]]:
    """Each epoch with its begin and end."""
    begins = [_EVER if epoch.since is None else _microseconds(epoch.since) for epoch in rules.epochs]
    return zip(rules.epochs, begins, [*begins[1:], _NEVER], strict=True)


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

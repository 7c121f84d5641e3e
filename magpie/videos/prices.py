"""daily_prices, and the sessions of the exchange: when its days end, and which close comes after a moment.

Belongs here: the calendar that the benchmark's price rows give. Does not belong here: reading files
(`magpie/sources/price_files.py`) and what a pick came to (`outcomes.py`).

No list of holidays is kept: a day is a session if the benchmark has a price on it. So the past is exact, and of a day
to come only the earliest possible close is told; a holiday puts it off.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from magpie.tables import UTC as UTC_TYPE
from magpie.videos.tables import DAILY_PRICES

NEW_YORK = ZoneInfo("America/New_York")
REGULAR_CLOSE = time(16)
# Of datetime.weekday.
SATURDAY = 5
# In its electronic age the exchange was never closed for more than four weekdays (September 2001); where more are
# missing, the file has a hole, and sessions on both sides of it must not be counted as neighbours.
MAX_CLOSED_WEEKDAYS = 4


def daily_prices(prices: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """Give the rows of these days in the columns of `daily_prices`; a day without rows gives none."""
    wanted = prices.filter(pl.col("day").is_in(list(days)))
    return DAILY_PRICES.shaped(wanted).sort(DAILY_PRICES.sort_by)


@dataclass(frozen=True)
class Sessions:
    """The sessions that are known.

    Attributes:
        days: ascending.
        early: local closing time of the days that end early.
        runs: for each of `days` the number of holes in the calendar before it; within a run it is whole.
    """

    days: tuple[date, ...]
    early: Mapping[date, time]
    runs: tuple[int, ...]

    @classmethod
    def of(cls, prices: pl.DataFrame, benchmark: str, early_closes: Mapping[date, time]) -> "Sessions":
        """Take the sessions from the benchmark's rows of `daily_prices`, of all days there are."""
        days = tuple(prices.filter(pl.col("symbol") == benchmark)["day"].unique().sort().to_list())
        runs, run = [], 0
        for before, day in zip((None, *days), days, strict=False):
            if before is not None and _weekdays_between(before, day) > MAX_CLOSED_WEEKDAYS:
                run += 1
            runs.append(run)
        return cls(days, dict(early_closes), tuple(runs))

    def close_at(self, day: date) -> datetime:
        """The moment (UTC) at which that day's session ends: 16:00 in New York, or earlier where the file says so."""
        return datetime.combine(day, self.early.get(day, REGULAR_CLOSE), NEW_YORK).astimezone(UTC)

    def first_close_after(self, moment: datetime) -> date | None:
        """The first session that ends strictly after the moment.

        None if it is not known: prices end before it, or begin later, or have a hole there.
        """
        place = bisect_right(self.days, moment.astimezone(NEW_YORK).date() - timedelta(days=1))
        while place < len(self.days) and self.close_at(self.days[place]) <= moment:
            place += 1
        if place == len(self.days):
            return None
        begins = place == 0 or self.runs[place] != self.runs[place - 1]
        # Only if no weekday lies between is it sure that no session is missing where known ones begin.
        return None if begins and self.days[place] != self._first_weekday_after(moment) else self.days[place]

    def after(self, day: date, sessions: int) -> date | None:
        """The session that is `sessions` after that of `day`; None if it, or one on the way to it, is not known."""
        start = bisect_left(self.days, day)
        place = start + sessions
        if not start < len(self.days) or self.days[start] != day or place >= len(self.days):
            return None
        return self.days[place] if self.runs[start] == self.runs[place] else None

    def expected_close(self, start: date | datetime, sessions: int) -> datetime:
        """The earliest moment (UTC) at which the session that is `sessions` after the start can end.

        Args:
            start: an entry day, or the moment of a pick whose entry is the first close after it.
            sessions: counted along known sessions and from the last of them along weekdays.
        """
        if isinstance(start, datetime):
            start = self.first_close_after(start) or self._first_weekday_after(start)
        place = bisect_left(self.days, start)
        left = sessions
        if place < len(self.days) and self.days[place] == start:
            step = min(left, len(self.days) - 1 - place)
            start, left = self.days[place + step], left - step
        return self.close_at(_weekdays_later(start, left))

    def until(self, now: datetime) -> "Sessions":
        """Those that have ended; the price of a day that is not over is no close."""
        ended = sum(self.close_at(day) <= now for day in self.days)
        return Sessions(self.days[:ended], self.early, self.runs[:ended])

    def frame(self) -> pl.DataFrame:
        """One row per session: place (from 0), session, close_at, run and known_from.

        `known_from` is set where a run begins: of an earlier moment it is not sure that this is the first close after
        it, as a weekday lies between; see `first_close_after`.
        """
        begins = [place == 0 or self.runs[place - 1] != run for place, run in enumerate(self.runs)]
        earliest = [
            self.close_at(_weekdays_later(day, -1)) if begin else None
            for day, begin in zip(self.days, begins, strict=True)
        ]
        return pl.DataFrame(
            {
                "place": range(len(self.days)),
                "session": self.days,
                "close_at": [self.close_at(day) for day in self.days],
                "run": self.runs,
                "known_from": earliest,
            },
            schema={
                "place": pl.Int64,
                "session": pl.Date,
                "close_at": UTC_TYPE,
                "run": pl.Int64,
                "known_from": UTC_TYPE,
            },
        )

    def _first_weekday_after(self, moment: datetime) -> date:
        day = moment.astimezone(NEW_YORK).date()
        if day.weekday() < SATURDAY and self.close_at(day) > moment:
            return day
        return _weekdays_later(day, 1)


def _weekdays_between(start: date, end: date) -> int:
    """Weekdays strictly between two days."""
    days = (start + timedelta(days=n) for n in range(1, (end - start).days))
    return sum(day.weekday() < SATURDAY for day in days)


def _weekdays_later(day: date, weekdays: int) -> date:
    """The weekday so many after the day; before it, where negative; the day itself for 0."""
    step = timedelta(days=1 if weekdays > 0 else -1)
    for _ in range(abs(weekdays)):
        day += step
        while day.weekday() >= SATURDAY:
            day += step
    return day

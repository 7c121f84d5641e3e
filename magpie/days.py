"""Sets of days.

Belongs here: what every product does with days. Does not belong here: partitions of a table (`tables.py`).
"""

from collections.abc import Iterable
from datetime import date, timedelta


def ranges(days: Iterable[date], apart: int = 1) -> list[tuple[date, date]]:
    """Return contiguous ranges, oldest first; days at most `apart` days from each other are in one range."""
    found: list[tuple[date, date]] = []
    for day in sorted(days):
        if found and found[-1][1] + timedelta(days=apart) >= day:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found

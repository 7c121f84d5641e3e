"""Sets of days.

Belongs here: what every product does with days. Does not belong here: partitions of a table (`tables.py`).
"""

from collections.abc import Iterable
from datetime import date, timedelta


def ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return contiguous ranges, oldest first."""
    found: list[tuple[date, date]] = []
    for day in sorted(days):
        if found and found[-1][1] + timedelta(days=1) == day:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found

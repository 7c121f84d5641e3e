"""How much slower the author goes when the posts of a day run out.

Belongs here: levels, and which one holds. Does not belong here: counting posts (`outbox.py`), what a level does to a
tick (`planner.py`).

Tumblr allows so many posts a day, counted from midnight in New York.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
# The rate is that of the posts of the last two hours.
RATE_H = 2


@dataclass(frozen=True)
class Level:
    """How the author goes.

    Attributes:
        tick: factor of the time between ticks; step: of the items per step.
        cost: added to the cost at which a conversation is left.
        queue_first: posts for the queue go on, whatever it holds of tomorrow.
    """

    name: str
    tick: float
    step: float
    cost: float
    queue_first: bool


@dataclass(frozen=True)
class _Bound:
    """A level holds up to a ratio and with more posts left than this."""

    ratio: float
    left: int
    level: Level


BASE = Level("base", 1, 1, 0, False)
_SLOWER = Level("slower", 2.5, 0.62, -1.5, False)
_SLOWER2 = Level("slower2", 5, 0.42, -3, True)
_SLOWEST = Level("slowest", 10, 0.22, -3, True)
_BOUNDS = {
    "2023": (_Bound(1, 40, BASE), _Bound(1.5, 25, _SLOWER), _Bound(2, 5, _SLOWER2), _Bound(1000, 0, _SLOWEST)),
    "2022": (_Bound(1, 60, BASE), _Bound(1.5, 40, _SLOWER), _Bound(2.5, 25, _SLOWER2), _Bound(1000, 0, _SLOWEST)),
}
_HARDSTOP = {"2023": Level("hardstop", 10, 0, -3, True), "2022": Level("hardstop", 1, 0, -3, True)}
# With one post left, a post sent by hand would be one too many.
_HARDSTOP_LEFT = 1


def level(
    posts_last_2h: int, left: int, hours_to_reset: float, queued_before_reset: int = 0, preset: str = "2023"
) -> Level:
    """The first level that the rate of posts and what is left of them allow.

    Args:
        left: posts that Tumblr still takes today; hours_to_reset: until it takes all again.
        queued_before_reset: posts in the queue that will be among them.
    """
    free = left - queued_before_reset
    if free <= _HARDSTOP_LEFT:
        return _HARDSTOP[preset]
    ratio = posts_last_2h / RATE_H / (free / hours_to_reset) if hours_to_reset > 0 else 0.0
    fitting = (bound.level for bound in _BOUNDS[preset] if ratio <= bound.ratio and free > bound.left)
    return next(fitting, _HARDSTOP[preset])


def reset_at(now: datetime) -> datetime:
    """The next midnight in New York, as UTC."""
    tomorrow = now.astimezone(NEW_YORK).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), NEW_YORK).astimezone(UTC)


def items_per_step(step_max: int, at: Level) -> int:
    """floor(step_max * step); the tiny addition keeps products such as 50 * 0.42 whole."""
    return math.floor(step_max * at.step + 1e-9)

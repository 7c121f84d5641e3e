"""How often Tumblr is asked, so that the calls of an hour and of a day last.

Belongs here: clients, what they have left, and whether a tick polls. Does not belong here: making calls and reading
headers (`magpie/sources`).
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from magpie.persona.rng import rng

CALLS_A_DAY, CALLS_AN_HOUR = 5000, 999
DAY_S, HOUR_S = 86_400.0, 3_600.0
# A poll that has begun must be able to end.
UNUSABLE_LEFT = 10
# How many calls a poll takes is told by the last ones; one that took more than an hour's calls was no poll.
POLLS = 10
CALLS_RANGE = (1, 1499)
SAFETY, DASH_SAFETY = 1.0, 0.8
# Posts that one call brings; waiting for a page of them wastes none.
DASH_PAGE = 20


@dataclass(frozen=True)
class Client:
    """A consumer key: calls left today and this hour, and seconds until there are all of them again."""

    name: str
    day_left: int
    day_reset_s: float
    hour_left: int
    hour_reset_s: float

    @property
    def rate(self) -> float:
        """Calls per second that last until the nearer end."""
        return min(_rate(self.day_left, self.day_reset_s), _rate(self.hour_left, self.hour_reset_s))


def _rate(left: int, seconds: float) -> float:
    return left / seconds if seconds > 0 else float("inf")


def after_reset(client: Client, elapsed_s: float) -> Client:
    """The client so many seconds later without a call: what was reset meanwhile is full."""
    day_left, day_s = _later(client.day_left, client.day_reset_s, elapsed_s, CALLS_A_DAY, DAY_S)
    hour_left, hour_s = _later(client.hour_left, client.hour_reset_s, elapsed_s, CALLS_AN_HOUR, HOUR_S)
    return Client(client.name, day_left, day_s, hour_left, hour_s)


def _later(left: int, reset_s: float, elapsed_s: float, full: int, period_s: float) -> tuple[int, float]:
    if elapsed_s < reset_s:
        return left, reset_s - elapsed_s
    return full, period_s - (elapsed_s - reset_s) % period_s


def usable(client: Client) -> bool:
    """Whether it has calls enough for a poll."""
    return min(client.day_left, client.hour_left) > UNUSABLE_LEFT


def best(clients: Sequence[Client]) -> Client | None:
    """The usable client with the highest rate, of equals the first by name; None: there is none."""
    return min((one for one in clients if usable(one)), key=lambda one: (-one.rate, one.name), default=None)


def check_probability(
    tick_s: float, clients: Sequence[Client], calls_per_poll: Sequence[int], safety: float = SAFETY
) -> float:
    """With which probability a tick may poll, 0 to 1, so that all usable clients last until their resets.

        tick_s * sum of rates * safety / mean calls of the last 10 polls

    Args:
        tick_s: seconds between ticks.
        calls_per_poll: the newest last; none: a poll is taken to need one call, and the next ones know better.
    """
    low, high = CALLS_RANGE
    taken = [min(max(calls, low), high) for calls in calls_per_poll[-POLLS:]]
    rates = sum(one.rate for one in clients if usable(one))
    return min(1.0, tick_s * rates * safety / (statistics.fmean(taken) if taken else low))


def dash_probability(probability: float, expected_posts: float) -> float:
    """The same for the dashboard, where a poll is worth as much of a page as it is expected to fill."""
    return probability * min(1.0, max(expected_posts, 0.0) / DASH_PAGE)


def due(probability: float, blog: str, tick_ts: datetime, what: str = "poll") -> bool:
    """Whether this tick polls; asked again it says the same."""
    return rng(what, blog, tick_ts.isoformat()).random() < probability

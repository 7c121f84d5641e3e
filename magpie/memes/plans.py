"""Plans: which engines fill a person's queue, by how much they have seen.

Belongs here: the table of plans, who gets which, and what a plan of one's own must hold to. Does not belong here: what
engines propose (`engines.py`), drawing among them (`blend.py`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from magpie.memes.moderation import MODERATORS
from magpie.memes.tables import ENGINES

# Who has come back knows what this is, so nothing needs to be found out first.
KNOWN_FROM_SESSIONS = 1
# What moderators judge before they are entertained.
MODERATED = Fraction(3, 4)


@dataclass(frozen=True)
class Plan:
    """How a queue is made.

    Attributes:
        name: for people who look at refills.
        weights: of the engines that are drawn among, in the order in which draws count them; they need not sum to 1.
        fixed: engines that have a place of the blend to themselves, where they have anything to propose.
        first: an engine whose memes come before the blend, and the share of the queue it may take, rounded up.
        last: an engine that fills what the blend leaves empty.
        instead: where nothing at all came of it, the first of these engines that proposes anything.
        cold: for newcomers; ratings count only of memes that were tried.

    Raises:
        ValueError: an engine is unknown, a weight is negative or no number, a fixed engine has no weight.
    """

    name: str
    weights: Mapping[str, float]
    fixed: Mapping[int, str] = field(default_factory=dict)
    first: tuple[str, Fraction] | None = None
    last: str | None = None
    instead: tuple[str, ...] = ()
    cold: bool = False

    def __post_init__(self) -> None:
        unknown = sorted({*self.engines, *self.instead} - set(ENGINES))
        if unknown:
            raise ValueError(f"plan {self.name}: no engine {unknown[0]!r}; there are {', '.join(ENGINES)}")
        wrong = [name for name, weight in self.weights.items() if not (weight >= 0 and math.isfinite(weight))]
        if wrong:
            raise ValueError(f"plan {self.name}: weight {self.weights[wrong[0]]} of {wrong[0]} must be 0 or more")
        strange = sorted(set(self.fixed.values()) - self.weights.keys())
        if strange:
            raise ValueError(f"plan {self.name}: {strange[0]} has a place of its own, but no weight")

    @property
    def engines(self) -> tuple[str, ...]:
        """Those that are always asked."""
        first = () if self.first is None else (self.first[0],)
        last = () if self.last is None else (self.last,)
        return tuple(dict.fromkeys((*first, *self.weights, *last)))


PlanOf = Callable[[int, int, str], Plan]

_INSTEAD = ("lr_smoothed", "best_uploaded")
COLD_EXPLORE = Plan("cold_explore", {"cold_explore": 1.0}, instead=_INSTEAD, cold=True)
COLD_ADAPT = Plan("cold_adapt", {"cold_adapt": 1.0}, instead=_INSTEAD, cold=True)
WARMING = Plan(
    "warming",
    {"cold_adapt": 0.4, "best_uploaded": 0.3, "lr_light": 0.3},
    fixed={0: "cold_adapt"},
    instead=_INSTEAD,
    cold=True,
)
GROWING = Plan(
    "growing",
    {
        "best_uploaded": 0.1,
        "lr_smoothed": 0.3,
        "recently_liked": 0.2,
        "goat": 0.1,
        "es_ranked": 0.1,
        "like_spread": 0.2,
    },
    fixed={0: "lr_smoothed"},
)
_MATURE = {
    "best_uploaded": 0.3,
    "like_spread": 0.25,
    "lr_smoothed": 0.35,
    "recently_liked": 0.3,
    "goat": 0.1,
    "es_ranked": 0.1,
}
MATURE = Plan("mature", _MATURE, fixed={0: "lr_smoothed"})
MODERATING = Plan("moderating", _MATURE, first=("low_sent", MODERATED), last="last_resort")
# The fewest sends from which a plan is used; all below GROWING are for newcomers.
STAGES = ((100, MATURE), (30, GROWING), (16, WARMING), (6, COLD_ADAPT), (0, COLD_EXPLORE))
PLANS = {plan.name: plan for plan in (COLD_EXPLORE, COLD_ADAPT, WARMING, GROWING, MATURE, MODERATING)}


def plan_of(nsent: int, nsessions: int, role: str) -> Plan:
    """Return the plan of somebody who was sent so many memes in so many sessions."""
    if role in MODERATORS:
        return MODERATING
    plan = next(plan for fewest, plan in STAGES if nsent >= fewest)
    return GROWING if plan.cold and nsessions > KNOWN_FROM_SESSIONS else plan

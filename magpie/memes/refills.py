"""A refill: what every engine of a person's plan proposes, and the queue that is blended of it.

Belongs here: making a refill from a catalogue and a person, without looking at anything else, so that equal inputs
give equal queues. Does not belong here: when a queue is refilled (`serving.py`), where it is kept (`queues.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from magpie.memes.blend import Pick, composed, seed_of
from magpie.memes.catalogue import Catalogue
from magpie.memes.engines import ENGINES, Engine, EngineRules, Offer, Reach, offers
from magpie.memes.people import Person
from magpie.memes.plans import Plan, PlanOf, plan_of

# What an engine over columns can fail with; a bug of another kind is not hidden.
FAILURES = (ArithmeticError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Refill:
    """One refill of a queue.

    Attributes:
        refill_no: how many refills the person had that day before.
        plan: name of the plan.
        offers: proposals of each engine that was asked, best first.
        picks: the queue, in order: meme and engine.
        failed: what went wrong with an engine, which then counts as empty.
    """

    user_id: str
    day: date
    refill_no: int
    plan: str
    offers: Mapping[str, tuple[Offer, ...]]
    picks: tuple[Pick, ...]
    failed: Mapping[str, str] = field(default_factory=dict)


def refilled(
    catalogue: Catalogue,
    person: Person,
    refill_no: int,
    rules: EngineRules,
    plans: PlanOf = plan_of,
    engines: Mapping[str, Engine] = ENGINES,
) -> Refill:
    """Make a queue of at most `rules.limit` memes; the day is that of `person.at`."""
    profile, day = person.profile, person.at.date()
    plan = plans(person.nsent, person.nsessions, profile.role)
    seed = seed_of(profile.user_id, day, refill_no)
    reach = Reach(catalogue, person, rules, cold=plan.cold)
    offered, failed = _asked(plan.engines, reach, engines)
    picks = composed(plan, _ids(offered), rules.limit, seed)
    for name in plan.instead:
        if picks:
            break
        more, wrong = _asked((name,), reach, engines)
        offered, failed = offered | more, failed | wrong
        picks = composed(plan, _ids(offered), rules.limit, seed)
    return Refill(profile.user_id, day, refill_no, plan.name, offered, tuple(picks), failed)


def _asked(
    names: tuple[str, ...], reach: Reach, engines: Mapping[str, Engine]
) -> tuple[dict[str, tuple[Offer, ...]], dict[str, str]]:
    offered: dict[str, tuple[Offer, ...]] = {}
    failed = {}
    for name in names:
        try:
            offered[name] = tuple(offers(engines[name], reach))
        except FAILURES as error:
            offered[name], failed[name] = (), f"{type(error).__name__}: {error}"
    return offered, failed


def _ids(offered: Mapping[str, tuple[Offer, ...]]) -> dict[str, list[str]]:
    return {name: [offer.meme_id for offer in found] for name, found in offered.items()}


def again(
    plan: Plan, recorded: Mapping[str, list[str]], user_id: str, day: date, refill_no: int, limit: int
) -> list[Pick]:
    """Make a queue anew from its recorded proposals, best first by engine; it is the queue that was made then."""
    return composed(plan, recorded, limit, seed_of(user_id, day, refill_no))

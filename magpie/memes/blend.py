"""Blending: one queue of the proposals of several engines, drawn by weight from a seed.

Belongs here: draws, the seed, and what comes before and after the blend. Does not belong here: proposals
(`engines.py`), weights (`plans.py`).
"""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from datetime import date

from magpie.memes.plans import Plan

# Added to each weight, so that an engine of weight 0 is drawn where all others are empty.
FLOOR = 1e-6
# Between the parts of a seed: the unit separator, which is in no id.
SEPARATOR = "\x1f"

# A meme, and the engine it was taken from.
Pick = tuple[str, str]


def seed_of(user_id: str, day: date, refill_no: int) -> int:
    """The seed of a refill: the first 8 bytes, big-endian, of sha256 of what tells it from all others."""
    parts = SEPARATOR.join(("magpie", "blend", user_id, day.isoformat(), str(refill_no)))
    return int.from_bytes(hashlib.sha256(parts.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def blend(
    proposed: Mapping[str, Sequence[str]],
    weights: Mapping[str, float],
    fixed: Mapping[int, str],
    limit: int,
    seed: int,
) -> list[Pick]:
    """Draw at most `limit` memes, none twice.

    Each place goes to its fixed engine, if that has memes left; else an engine is drawn, with a probability
    proportional to its weight, among those that have. Its best meme is taken and leaves all engines.

    Args:
        proposed: memes of each engine, best first.
        weights: of the same engines, in the order in which draws count them; they need not sum to 1.

    Raises:
        ValueError: the two do not name the same engines.
    """
    if proposed.keys() != weights.keys():
        odd = sorted(proposed.keys() ^ weights.keys())
        raise ValueError(f"engines and weights must have the same keys; {', '.join(odd)} is in one of them only")
    draws = random.Random(seed)
    left = {name: list(dict.fromkeys(proposed[name])) for name in weights}
    picks: list[Pick] = []
    while len(picks) < limit:
        open_ones = [name for name in weights if left[name]]
        if not open_ones:
            break
        own = fixed.get(len(picks))
        name = own if own in open_ones else _drawn(open_ones, weights, draws)
        meme_id = left[name][0]
        picks.append((meme_id, name))
        left = {engine: [other for other in memes if other != meme_id] for engine, memes in left.items()}
    return picks


def _drawn(names: Sequence[str], weights: Mapping[str, float], draws: random.Random) -> str:
    shares = [weights[name] + FLOOR for name in names]
    bound = draws.random() * sum(shares)
    total = 0.0
    for name, share in zip(names, shares, strict=True):
        total += share
        if total > bound:
            return name
    return names[-1]  # rounding alone can leave the bound at the sum


def composed(plan: Plan, proposed: Mapping[str, Sequence[str]], limit: int, seed: int) -> list[Pick]:
    """Make a queue by a plan: what comes first, the blend, and what fills the rest; no meme twice.

    Args:
        proposed: memes of each engine, best first; an engine that is missing proposes nothing.
    """
    picks: list[Pick] = []

    def left(name: str) -> list[str]:
        taken = {meme_id for meme_id, _ in picks}
        return [meme_id for meme_id in dict.fromkeys(proposed.get(name, ())) if meme_id not in taken]

    if plan.first is not None:
        engine, share = plan.first
        picks += [(meme_id, engine) for meme_id in left(engine)[: math.ceil(share * limit)]]
    drawn_among = {name: left(name) for name in plan.weights}
    picks += blend(drawn_among, plan.weights, plan.fixed, limit - len(picks), seed)
    if plan.last is not None:
        picks += [(meme_id, plan.last) for meme_id in left(plan.last)[: limit - len(picks)]]
    for name in () if picks else plan.instead:
        picks += [(meme_id, name) for meme_id in left(name)[:limit]]
        if picks:
            break
    return picks

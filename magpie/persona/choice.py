"""How many texts are written for an input, which of them suit the mood, and which one is taken.

Belongs here: the number of candidates by expected rejection, the screen by sentiment, the strategies of choice. Does
not belong here: the bounds that a mood sets (`mood_range.py`), how good a text is (`scoring.py`), where it goes
(`routing.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

from magpie.persona.mood_range import Bounds, inside
from magpie.persona.rng import rng
from magpie.persona.scales import sigmoid
from magpie.persona.settings import Tuning

# Of so many texts the sentiment says what the next ones will be like; with fewer than the second it says too little.
SAMPLE_LAST = 500
SAMPLE_LEAST = 100
# What stands for a blog's texts until there are enough of them: quantiles of a normal distribution of logits, cut at
# those of p = 0.0001 and 0.9999.
ASSUMED = NormalDist(mu=-2, sigma=3.2)
ASSUMED_N = 21
ASSUMED_MOST = 9.21
# However little of what is written suits the mood, ten times as much is enough to plan for.
REJECTED_MOST = Fraction(9, 10)
TEXTS_MOST = 20
# Of the strategy `winnowed`: texts above the upper bound push out all others, or else those above the lower one.
WINNOW_LOWER, WINNOW_UPPER = 0.167, 0.833


@dataclass(frozen=True)
class Choice:
    """The text that is taken.

    Attributes:
        index: place among all texts that could have been.
        explore: chance took it, not its score.
    """

    index: int
    strategy: str
    explore: bool


def sentiment_sample(logits: Sequence[float]) -> list[float]:
    """What sentiment the next texts will have, as logits: that of the last ones, or a usual spread while they are few.

    Args:
        logits: of the blog's candidates, the oldest first.
    """
    if len(logits) >= SAMPLE_LEAST:
        return list(logits[-SAMPLE_LAST:])
    quantiles = (ASSUMED.inv_cdf((i + 0.5) / ASSUMED_N) for i in range(ASSUMED_N))
    return [min(max(x, -ASSUMED_MOST), ASSUMED_MOST) for x in quantiles]


def base_of(prompt_kind: str, tuning: Tuning) -> int:
    """How many texts are written where the mood turns none away."""
    return {"answer": tuning.n_answer, "original": tuning.n_original}.get(prompt_kind, tuning.n_fiction)


def original_base(base: int, retained_logits: Sequence[float], bounds: Bounds) -> int:
    """How many texts are to be new, where each kept text that suits the mood saves one; never none."""
    return max(1, base - sum(inside(sigmoid(x), bounds) for x in retained_logits))


def number_of_texts(base: int, sample: Sequence[float], bounds: Bounds, scale: float) -> int:
    """How many texts to write so that about `base` of them suit the mood: at most 20.

    base + round(scale * (base/(1-r) - base)), the bracket to three decimals, both halves to even, where r is the share
    of the sample that the mood turns away, at most 0.9. Computed in fractions, so that a half is one.

    Args:
        sample: sentiment logits; an empty one turns nothing away.
        scale: the part of the expected loss that is written in advance.
    """
    outside = sum(not inside(sigmoid(x), bounds) for x in sample)
    share = min(Fraction(outside, max(len(sample), 1)), REJECTED_MOST)
    lost = round(base / (1 - share) - base, 3)
    # str gives the decimal that was written in the settings, which the double only comes near to.
    return min(base + round(Fraction(str(scale)) * lost), TEXTS_MOST)


def screened(ps: Sequence[float], bounds: Bounds) -> list[int]:
    """Places of the texts whose sentiment suits the mood.

    A bound turns texts away only if it leaves one; where both together would leave none, all are kept.

    Args:
        ps: probabilities of being glad.
    """
    low, high = Bounds(bounds.lo, None), Bounds(None, bounds.hi)
    bites = [bound for bound in (low, high) if any(inside(p, bound) for p in ps)]
    return [i for i, p in enumerate(ps) if all(inside(p, bound) for bound in bites)] or list(range(len(ps)))


def choose(
    adjusted: Sequence[float],
    kept: Sequence[int],
    strategy: str,
    eps: float,
    blog: str,
    input_id: str,
    attempt: int,
) -> Choice:
    """Take one text; the same input and attempt take the same one.

    eps_greedy takes the best, and in a share `eps` of the choices any with equal chance; argmax always the best;
    proportional draws by score, winnowed likewise among those that are left by its bounds; uniform draws any.

    Args:
        adjusted: score of every text; scores below 0 have no chance where the draw is by score.
        kept: places that may be taken, in ascending order; of equal scores the first one wins.

    Raises:
        ValueError: `kept` is empty, or there is no such strategy.
    """
    if not kept:
        raise ValueError("there is nothing to choose from")
    dice = rng("select", blog, input_id, attempt)
    u, v = dice.random(), dice.random()
    scores = [adjusted[i] for i in kept]
    if strategy == "argmax" or (strategy == "eps_greedy" and u >= eps):
        return Choice(kept[scores.index(max(scores))], strategy, explore=False)
    if strategy in ("eps_greedy", "uniform"):
        return Choice(kept[int(v * len(kept))], strategy, explore=True)
    if strategy in ("proportional", "winnowed"):
        weights = [max(x, 0.0) for x in (_winnowed(scores) if strategy == "winnowed" else scores)]
        return Choice(kept[_drawn(weights, v)], strategy, explore=True)
    raise ValueError(f"there is no strategy {strategy!r}")


def _winnowed(scores: Sequence[float]) -> list[float]:
    """The scores, zero where a better one pushes a text out."""
    for bound in (WINNOW_UPPER, WINNOW_LOWER):
        if any(x > bound for x in scores):
            return [x if x > bound else 0.0 for x in scores]
    return list(scores)


def _drawn(weights: Sequence[float], v: float) -> int:
    """The place at which the running sum of the weights passes v of their total; all weigh alike if none weighs."""
    held = weights if any(weights) else [1.0] * len(weights)
    left = v * sum(held)
    for i, weight in enumerate(held):
        left -= weight
        if left < 0:
            return i
    # What is lost in rounding belongs to the last text that has a chance.
    return max(i for i, weight in enumerate(held) if weight > 0)

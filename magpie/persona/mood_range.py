"""Which sentiment suits a mood: a lower and an upper bound, mixed from the bounds of named moods.

Belongs here: the named moods, their bounds in either preset, mixing between two of them. Does not belong here: the mood
itself (`mood.py`), dropping texts outside of the bounds.

Named moods stand at anchors on the scale from sad (0) to happy (1). Between two anchors a <= v < b their bounds are
mixed with the weights w = (b - v)/(b - a), rounded to two decimals, and 1 - w: in probability in the preset 2023, on
the logistic scale in 2022, where a side that is open at either anchor stays open. Beyond the outermost anchors theirs
hold.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from magpie.errors import UserError
from magpie.persona.scales import logit, sigmoid

Preset = Literal["2023", "2022"]

# A mood that screens nothing; it stands where a mood cannot be told.
UNRESTRICTED = "unrestricted"
# Named moods from sad to happy, and where each stands.
ANCHORS = {"only_sad": 0.094, "only_non_happy": 0.37, "meh": 0.70, "only_non_sad": 0.90, "only_happy": 0.99}
# Lowest and highest probability of a positive sentiment; 0 and 1 are open sides.
RANGES: dict[Preset, dict[str, tuple[float, float]]] = {
    "2023": {
        "only_sad": (0.0, 0.2593),
        "only_non_happy": (0.0, 0.462),
        "meh": (0.0128, 0.7031),
        "only_non_sad": (0.0483, 1.0),
        "only_happy": (0.1192, 1.0),
    },
    "2022": {
        "only_sad": (0.0, 0.10),
        "only_non_happy": (0.0, 0.20),
        "meh": (0.02, 0.60),
        "only_non_sad": (0.15, 1.0),
        "only_happy": (0.30, 1.0),
    },
}
WEIGHT_PLACES = 2
# Two halves of a number written in decimals differ from it by less.
SAME = 1e-9
_NAMES, _PLACES = list(ANCHORS), list(ANCHORS.values())


@dataclass(frozen=True)
class Bounds:
    """The sentiment that suits a mood, as probabilities of being positive; None: no bound."""

    lo: float | None
    hi: float | None


NO_BOUNDS = Bounds(None, None)


def bounds_at(value: float, preset: Preset) -> Bounds:
    """Return the bounds of a mood by its value; of none (NaN) there are no bounds."""
    if math.isnan(value):
        return NO_BOUNDS
    above = bisect_right(_PLACES, value)
    if above in (0, len(_PLACES)):
        return bounds_of(_NAMES[max(above - 1, 0)], preset)
    a, b = _PLACES[above - 1 : above + 1]
    return _mixed(above, round((b - value) / (b - a), WEIGHT_PLACES), preset)


def bounds_of(name: str, preset: Preset) -> Bounds:
    """Return the bounds of a mood by its name.

    Raises:
        UserError: no mood has that name.
    """
    if name == UNRESTRICTED:
        return NO_BOUNDS
    if name not in ANCHORS:
        raise UserError(f"no mood is called {name!r}; there are {', '.join((*ANCHORS, UNRESTRICTED))}")
    return Bounds(*RANGES[preset][name])


def name_of(value: float) -> str:
    """Return what a mood is called: the anchor at which it stands, or the two between which it lies."""
    near = next((name for name, place in ANCHORS.items() if abs(place - value) < SAME), None)
    if near is not None:
        return near
    above = bisect_right(_PLACES, value)
    return "+".join(dict.fromkeys(_NAMES[max(above - 1, 0) : above + 1]))


def inside(p: float, bounds: Bounds) -> bool:
    """Whether a sentiment lies within the bounds, themselves included."""
    return (bounds.lo is None or p >= bounds.lo) and (bounds.hi is None or p <= bounds.hi)


# As many as there are weights between all anchors, in either preset.
@lru_cache(maxsize=1000)
def _mixed(above: int, weight: float, preset: Preset) -> Bounds:
    mix = _by_probability if preset == "2023" else _by_logit
    (low_a, high_a), (low_b, high_b) = (RANGES[preset][name] for name in _NAMES[above - 1 : above + 1])
    return Bounds(mix(weight, low_a, low_b), mix(weight, high_a, high_b))


def _by_probability(weight: float, a: float, b: float) -> float:
    return weight * a + (1 - weight) * b


def _by_logit(weight: float, a: float, b: float) -> float:
    # An anchor without weight has no say: beside it an open side would stay open for nothing.
    if weight in (0, 1):
        return a if weight == 1 else b
    ends = [end for end in (a, b) if end in (0, 1)]
    return ends[0] if ends else sigmoid(weight * logit(a) + (1 - weight) * logit(b))

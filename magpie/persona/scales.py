"""Probabilities and the logistic scale.

Belongs here: going from one to the other. Does not belong here: what is measured on them.
"""

import math

# The distance from 1 to the next smaller and larger double, about: logits stay finite.
EPSILON = 2.2e-16


def logit(p: float) -> float:
    """ln(p/(1-p)), with p kept that far from 0 and 1 that the result is finite."""
    kept = min(max(p, EPSILON), 1 - EPSILON)
    return math.log(kept / (1 - kept))


def sigmoid(x: float) -> float:
    """1/(1+e^-x), without overflow."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1 + grown)

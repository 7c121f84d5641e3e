"""How far a model can be believed, in figures that people read.

Belongs here: calibration by bins, the terms that weigh most. Does not belong here: the scores themselves
(`text_model.py`) and the cuts that follow from them (`training.py`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

RELIABILITY_BINS = 10
# Terms shown for each side.
TOP_TERMS = 20
PLACES = 6


def reliability(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> list[dict[str, float]]:
    """Of each bin of equal width that holds any score: its bounds, how many, their mean, and the share of label 1."""
    places = np.minimum((scores * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    return [
        {
            "low": place / RELIABILITY_BINS,
            "high": (place + 1) / RELIABILITY_BINS,
            "n": int((places == place).sum()),
            "mean_p": round(float(scores[places == place].mean()), PLACES),
            "share": round(float(labels[places == place].mean()), PLACES),
        }
        for place in range(RELIABILITY_BINS)
        if (places == place).any()
    ]


def top_terms(vocabulary: Sequence[str], weights: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
    """The terms that speak most for the labelled kind, then those that speak most against it, the strongest first.

    Args:
        weights: logits per unit of TF-IDF, one for each term; an empty vocabulary has no terms to show.
    """
    if not vocabulary:
        return []
    pairs = zip(weights, vocabulary, strict=True)
    weighed = sorted((round(float(weight), PLACES), term) for weight, term in pairs)
    speak_for = [one for one in reversed(weighed[-TOP_TERMS:]) if one[0] > 0]
    speak_against = [one for one in weighed[:TOP_TERMS] if one[0] < 0]
    return [{"term": term, "weight": weight} for weight, term in (*speak_for, *speak_against)]

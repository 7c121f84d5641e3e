"""What it costs a reader to follow a conversation one turn further.

Belongs here: the number, and what counts as a review of the year. Does not belong here: which inputs have a cost
(`inputs.py`), what is done with it (`planner.py`).
"""

import re
from collections.abc import Sequence

from magpie.persona.settings import Tuning

# Fewer words than this hardly say anything.
FEW_WORDS = 4
# Sums of tenths are compared and sorted by; beyond this there is only the noise of binary fractions.
PLACES = 6
# The blog that hands out Tumblr's own reviews, the tags people put on them, and the pages they link to.
_REVIEW_BLOG = "yearinreview"
_REVIEW_TAG = re.compile(r"\byear[ -]?in[ -]?review\b", re.IGNORECASE)
_REVIEW_LINK = re.compile(r"tumblr\.com/(?:[\w/-]{0,80})year-?in-?review", re.IGNORECASE)


def cost(n_posts_with_ask: int, has_ask: bool, words: int, year_in_review: bool, tuning: Tuning) -> float:
    """Posts of the thread, less what there is to answer, and surcharges where that is next to nothing.

        posts - cost_word*min(words, cost_words_max) + cost_few*[words < 4] + cost_short*[words <= cost_short_words]
            + cost_year_in_review*[a review of the year]

    Args:
        n_posts_with_ask: posts of the thread, an ask and the input itself among them.
        words: of the input.
    """
    posts = n_posts_with_ask - (has_ask and not tuning.cost_counts_ask)
    counted = words if tuning.cost_words_max is None else min(words, tuning.cost_words_max)
    few = tuning.cost_few * (words < FEW_WORDS) + tuning.cost_short * (words <= tuning.cost_short_words)
    return round(posts - tuning.cost_word * counted + few + tuning.cost_year_in_review * year_in_review, PLACES)


def is_year_in_review(participants: Sequence[str], tags: Sequence[str], html: str | None) -> bool:
    """Whether a thread is about one of Tumblr's reviews of the year, which draw more comments than talk."""
    return (
        any(name.lower() == _REVIEW_BLOG for name in participants)
        or any(_REVIEW_TAG.search(tag) for tag in tags)
        or _REVIEW_LINK.search(html or "") is not None
    )

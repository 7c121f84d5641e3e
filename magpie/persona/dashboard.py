"""Posts that nobody sent to the author: which of those that it reads are worth a word.

Belongs here: what is held against such a post, before it is scored and after. Does not belong here: the scores
(`scoring.py`), the rules for what was sent (`inputs.py`).

A post passes by its own facts first; one that is tagged for the author, or of a blog that always counts, has passed
then. The others are held against their length and, at the tick, against scores.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from magpie.persona.scales import logit, sigmoid
from magpie.persona.settings import Blog, Tuning

MAX_IMAGES = 10
# A post of so many notes has been seen by everybody, unless somebody added something to it.
MANY_NOTES = 1500
MIN_CHARS, MAX_CHARS = 10, 10_000
# A post that is sad with this probability is not joked about.
NEGATIVE = 0.9
# exp(u * ln 4): the lift is multiplied by something between 1 and 4.
RATIO_NOISE = 4.0
# e to more than this is infinite.
MAX_EXPONENT = 700.0
BUFF_WEIGHT, NOISE_WEIGHT, PRICE = 0.15, 0.2, 0.1

AVOIDED = "not avoided"
# Reason, what makes a post fall under it, the value that decides as text, and what it is held against.
Sign = tuple[str, pl.Expr, pl.Expr, str]


class PassedBy(NamedTuple):
    """Why a post is left, the value that decided and what it was held against."""

    reason: str
    observed: str
    threshold: str


def always(author: str, tags: Sequence[str], blog: Blog) -> bool:
    """Whether a post is tagged for the author, or of a blog that always counts: then its scores do not."""
    wanted = {tag.lower() for tag in blog.dash_tags}
    return author.lower() in blog.dash_always or any(tag.lower() in wanted for tag in tags)


def static_signs(blog: Blog) -> tuple[Sign, ...]:
    """What a post of the dashboard is ignored for by its own facts, in order.

    Names in the rows are lower-case: `names` (participants, in order), `tag_names`. Beside them stand post_id,
    has_video, n_images, note_count, n_chars, any_text (in the thread), commented (by the last post) and `always`.
    """
    first = pl.col("names").list.first().fill_null("")
    chars = pl.col("n_chars").cast(pl.String)
    scanned = ~pl.col("always")
    widely = (pl.col("note_count") >= MANY_NOTES) & ~pl.col("commented")
    return (
        ("in_trail", pl.col("names").list.contains(blog.name), pl.lit(blog.name), "others alone"),
        ("video", pl.col("has_video"), pl.lit("video"), "none"),
        ("too_many_images", pl.col("n_images") > MAX_IMAGES, pl.col("n_images").cast(pl.String), str(MAX_IMAGES)),
        avoided("avoided_user", "names", blog),
        avoided("avoided_tag", "tag_names", blog),
        ("avoided_post", pl.col("post_id").is_in(list(blog.avoid)), pl.col("post_id"), AVOIDED),
        ("no_text", ~pl.col("any_text"), pl.lit("0"), "1"),
        ("many_notes", widely, pl.col("note_count").cast(pl.String), str(MANY_NOTES)),
        ("not_followed", ~first.is_in(list(blog.follows)), first, "followed"),
        ("length", scanned & (pl.col("n_chars") < MIN_CHARS), chars, str(MIN_CHARS)),
        ("length", scanned & (pl.col("n_chars") > MAX_CHARS), chars, str(MAX_CHARS)),
    )


def avoided(reason: str, column: str, blog: Blog) -> Sign:
    """A post with a name that the blog avoids in a column of lower-case names."""
    met = pl.col(column).list.set_intersection(pl.lit(list(blog.avoid), pl.List(pl.String)))
    return reason, met.list.len() > 0, met.list.sort().list.first(), AVOIDED


def buff(mood_value: float, sentiment_p: float) -> float:
    """How well a post suits the mood, -1 to 1; 0 where either is neutral.

        2*sigmoid(sign(z)*sqrt|z|) - 1,  z = logit(mood) * logit(sentiment)

    Args:
        mood_value, sentiment_p: 0 to 1, the more the gladder.
    """
    z = logit(mood_value) * logit(sentiment_p)
    return 2 * sigmoid(math.copysign(math.sqrt(abs(z)), z)) - 1


def dash_score(selector_p: float, suits: float, u2: float) -> float:
    """Above 0 the post is answered.

    Args:
        suits: `buff`. u2: evenly random from 0 to 1.
    """
    return selector_p + BUFF_WEIGHT * suits + NOISE_WEIGHT * u2 - PRICE


def delta_ratio(delta: float, u1: float) -> float:
    """exp(delta) * exp(u1 * ln 4)."""
    # A lift that no double can hold the exponential of passes as the largest that one can.
    return math.exp(min(delta, MAX_EXPONENT)) * math.exp(u1 * math.log(RATIO_NOISE))


def delta_gate(delta: float | None, u1: float, tuning: Tuning) -> PassedBy | None:
    """Whether the author is likely enough to be the one who speaks next; None: it is, or nobody can tell.

    Args:
        delta: how much the post lifts the log-likelihood of the author's name as next speaker.
        u1: evenly random from 0 to 1.
    """
    if delta is None:
        return None
    ratio = tuning.dash_gate_kind == "ratio"
    observed = delta_ratio(delta, u1) if ratio else delta
    passes = observed >= tuning.dash_gate if ratio else observed > tuning.dash_gate
    return None if passes else PassedBy("delta", _number(observed), _number(tuning.dash_gate))


def passed_by(
    selector_p: float, autoreview_p: float | None, mood_value: float, sentiment_p: float, u2: float, reject: float
) -> PassedBy | None:
    """Why the scores of a post speak against an answer; None: they do not.

    Args:
        autoreview_p: None: not scored, and nothing is held against the post for that.
        reject: risk from which on it is left.
    """
    if 1 - sentiment_p >= NEGATIVE:
        return PassedBy("negative", _number(1 - sentiment_p), _number(NEGATIVE))
    if autoreview_p is not None and autoreview_p >= reject:
        return PassedBy("risky", _number(autoreview_p), _number(reject))
    score = dash_score(selector_p, buff(mood_value, sentiment_p), u2)
    return None if score > 0 else PassedBy("low_score", _number(score), "0")


def _number(value: float) -> str:
    return f"{value:.6g}"

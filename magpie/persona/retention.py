"""Good texts that were not taken, kept for posts that answer nobody.

Belongs here: what joins the set, leaves it and stays. Does not belong here: how good a text is (`scoring.py`), choosing
from the set (`choice.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl


@dataclass(frozen=True)
class Kept:
    """A text with its estimates, in the columns of `retention_set`.

    Attributes:
        selector_p: adjusted, so that it may lie outside 0-1.
        scored_version: the selector's; None: not trained.
    """

    text_sha256: str
    body: str
    tags: tuple[str, ...]
    selector_p: float
    sentiment_logit: float
    autoreview_p: float | None
    added_day: date
    scored_version: str | None


def by_day(rows: pl.DataFrame) -> dict[date, dict[str, Kept]]:
    """Sets as they are stored, by day and text_sha256.

    Args:
        rows: of `retention_set`, of one blog.
    """
    found: dict[date, dict[str, Kept]] = {}
    for row in rows.drop("blog").iter_rows(named=True):
        day = row.pop("day")
        found.setdefault(day, {})[row["text_sha256"]] = Kept(**{**row, "tags": tuple(row["tags"])})
    return found


def closing_set(
    opening: Mapping[str, Kept],
    slots: Iterable[tuple[Sequence[Kept], str | None]],
    rescore: Callable[[Sequence[Kept]], Sequence[Kept]],
    cutoff: float,
) -> dict[str, Kept]:
    """Return the set after some slots, by text_sha256 in ascending order.

    Every new text above the cutoff joins, also one that the mood turned away; the one that is taken leaves. In the end
    all are estimated anew, and those not above the cutoff any more leave.

    Args:
        opening: the set before the first slot.
        slots: in order of time, each with its new texts and the text_sha256 of the one taken, which may be of the set.
        rescore: estimates texts by the current models and gives them back in the same order.
        cutoff: of selector_p; a text has to lie above it.

    Raises:
        ValueError: `rescore` gives back other texts than it was given.
    """
    held = dict(opening)
    for texts, chosen in slots:
        # A text that is written again stays the one that is known, with the day on which it came.
        new = {text.text_sha256: text for text in texts if text.selector_p > cutoff}
        held = {**new, **held}
        if chosen is not None:
            held.pop(chosen, None)
    asked = [held[sha] for sha in sorted(held)]
    scored = list(rescore(asked))
    if [text.text_sha256 for text in scored] != [text.text_sha256 for text in asked]:
        raise ValueError("other texts came back than were to be scored")
    return {text.text_sha256: text for text in scored if text.selector_p > cutoff}

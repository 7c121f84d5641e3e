"""What remains of an author's work on an input that was taken back: who, when and how much, and no words.

Belongs here: which columns hold words, and rows without them. Does not belong here: what is taken back (`logs.py`),
pages and answers on disk (`forgetting.py`), the outbox (`outbox.py`).

The numbers stay, because the mood of later days follows from them, and because what was sent is known by its row.
"""

import json
from collections.abc import Mapping

import polars as pl

from magpie.persona import tables as t

DELETED = "deleted"
_FATE = {
    "status": pl.lit("rejected"),
    "reason": pl.lit(DELETED),
    **{name: pl.lit(None, pl.String) for name in ("observed", "threshold")},
    "not_before": pl.lit(None, pl.Datetime("us", "UTC")),
}
_NO_TAGS = pl.lit([], pl.List(pl.String))


def blanked(stored: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Rows as they were stored, by table, without what was written.

    Args:
        stored: rows of `candidates`, `candidate_scores`, `mood_inputs` and `decisions` about inputs taken back.
    """
    candidates, decisions = stored[t.CANDIDATES.name], stored[t.DECISIONS.name]
    hits = decisions.schema["screen_hits"]
    made = {
        **stored,
        t.CANDIDATES.name: candidates.with_columns(body=pl.lit(None, pl.String), tags=_NO_TAGS, **_FATE),
        t.DECISIONS.name: decisions.with_columns(
            body=pl.lit(None, pl.String),
            tags=_NO_TAGS,
            screen_hits=pl.lit([], hits),
            trace=pl.lit(json.dumps({})),
            **_FATE,
        ),
    }
    return {name: next(one for one in t.AUTHORED if one.name == name).shaped(frame) for name, frame in made.items()}

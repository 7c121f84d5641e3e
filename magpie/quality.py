"""What a check of data tells, for all products.

Belongs here: the shape of a finding. Does not belong here: what is looked for (each product's `quality.py`, and
`llm/audit.py`), and who is told (asset checks).
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

# Findings are read by people; the rest is counted.
SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """What a check found: nothing (`rows` empty) or rows that name partition and values, and one line about them."""

    rows: list[dict[str, Any]]
    summary: str

    @classmethod
    def of(cls, frame: pl.DataFrame, none: str, some: str) -> "Finding":
        """Return the first rows of a frame, days as text; `{n}` in `some` is how many there are."""
        text = [column for column, dtype in frame.schema.items() if dtype == pl.Date]
        shown = frame.head(SHOWN).with_columns(pl.col(text).cast(pl.String)) if text else frame.head(SHOWN)
        return cls(shown.to_dicts(), some.format(n=frame.height) if frame.height else none)

"""What a sensor remembers between two looks, as the text that Dagster keeps for it.

Belongs here: that text, and what was noticed and not yet asked for. Does not belong here: what a product looks at
(its `changes.py`), asking for runs (`sensors/`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Self

from magpie.places import hashed

# Enough that two states of one sensor never have the same.
STATE_CHARS = 16


@dataclass(frozen=True)
class Cursor:
    """Base of what is remembered; the fields of a product have defaults and hold what JSON can say.

    Attributes:
        waiting: spans still to be asked for: words that say of what, then the first and the last day.
    """

    waiting: tuple[Any, ...] = field(default=(), kw_only=True)

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Nothing is remembered before the first look."""
        if not text:
            return cls()
        raw = json.loads(text)
        waiting = ((*of, date.fromisoformat(first), date.fromisoformat(last)) for *of, first, last in raw["waiting"])
        return cls(**{**raw, "waiting": tuple(waiting)})

    @property
    def state(self) -> str:
        """All but what is still to be asked for, in short, for run keys."""
        return hashed([value for name, value in vars(self).items() if name != "waiting"])[:STATE_CHARS]

    def dump(self) -> str:
        return json.dumps(vars(self), default=str, sort_keys=True)

    def left_with(self, waiting: Sequence[Any]) -> Self:
        """The same with other spans still to be asked for."""
        return replace(self, waiting=tuple(waiting))

"""What changed in tables of the control database since they were first made, in order.

Belongs here: one step per change, which is never edited once it was in use. Does not belong here: when they are taken
(`upgrading.py`), tables that are new (they are made where they are declared), and the lake (`magpie/lake.py`).

A step finds each table in the form of the version before, or not at all: most are made on first use. One that is
missing is made later, in today's form, so a step leaves it alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations

# What a database is that was made before versions were kept.
FIRST = 1


@dataclass(frozen=True)
class Step:
    """The way to `version` from the one before; `summary` is kept in the database beside it."""

    version: int
    summary: str
    apply: "Callable[[Operations], None]"


def _longer_names(op: "Operations") -> None:
    # SQLite changes no column in place; the batch copies the table there and is one ALTER on Postgres.
    with op.batch_alter_table("deletions") as table:
        table.alter_column("fullname", existing_type=sa.String(16), type_=sa.String(64), existing_nullable=False)


def _events_by_person(op: "Operations") -> None:
    inspector = sa.inspect(op.get_bind())
    if not inspector.has_table("meme_events"):
        return
    # Tables made since the log got this index have it, though they were not numbered yet.
    if "meme_events_user_id" not in {index["name"] for index in inspector.get_indexes("meme_events")}:
        op.create_index("meme_events_user_id", "meme_events", ["user_id"])


STEPS = (
    Step(2, "names of up to 64 characters in deletions", _longer_names),
    Step(3, "events of memes are found by person", _events_by_person),
)
LATEST = STEPS[-1].version

"""What a run of persona would ask of models over some days, from the inputs that are admitted.

Belongs here: going through the author's work with a writer that asks nothing. Does not belong here: what is journalled
and what it costs (`magpie/llm/plan.py`), the author's work itself (`author.py`), making the tables.

A run makes whole days anew, so all admitted inputs of a day are looked at, and what was paid for is found in the
journal. Of each attempt the first draws are planned, as many as the mood, as it is stored, asks for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import reduce

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm.engine import OFFLINE, Engine
from magpie.llm.plan import Line, Outlook, Plan, Planner, Tally
from magpie.persona import changes
from magpie.persona import tables as t
from magpie.persona.author import Past
from magpie.persona.retention import by_day
from magpie.persona.settings import Blog
from magpie.persona.stages import PRODUCT, Reader
from magpie.persona.studio import Studio
from magpie.persona.write_post import PERSONA_WRITE
from magpie.settings import Settings
from magpie.tables import UTC, Table

# What the columns of an answer hold for a question that was not asked; a text that is not there waits.
_UNASKED = {
    **dict.fromkeys(("observed", "threshold", "provider", "model", "input_hash", "value"), pl.lit(None, pl.String)),
    "status": pl.lit("pending"),
    "reason": pl.lit("planned"),
    "not_before": pl.lit(None, UTC),
    "cost_usd": pl.lit(None, pl.Decimal(18, 9)),
}
# Of a question's name, what it is a part of.
_PARTITION = r"^([^|]+\|[^|]+)\|"


def plan(
    settings: Settings,
    lake: Lake,
    control: Control,
    engine: Engine,
    first: date | None = None,
    last: date | None = None,
    blogs: Sequence[str] = (),
) -> Plan:
    """Plan what writing for blogs asks; nothing is called and nothing written.

    Args:
        first, last: days, both included; None: as far as inputs are known.
        blogs: names; none: all active ones.

    Raises:
        UserError: an unknown blog, days out of order, or no input known and no days given.
        LedgerUnavailable: the journal cannot be read.
    """
    if first is not None and last is not None and first > last:
        raise UserError(f"--from {first} --to {last} must be in order")
    asked = blogs or [blog.name for blog in settings.blogs if blog.active]
    chosen = [settings.blog(name) for name in dict.fromkeys(asked)]
    reader = Reader(settings, lake, control, Blobs(settings.blobs), None, engine.gateway.clock)
    ahead = _Ahead(reader, engine, None, lambda state: None, planner=Planner(engine))
    inside = pl.col("day").is_between(first or date.min, last or date.max)
    inboxes = {
        blog.name: lake.read(t.PERSONA_INBOX).filter((pl.col("blog") == blog.name) & inside).collect()
        for blog in chosen
    }
    days = sorted({day for inbox in inboxes.values() for day in inbox["day"]})
    if not days and (first is None or last is None):
        raise UserError("no input is known yet; run `magpie run persona` first, or give --from and --to")
    lines = [line for blog in chosen for line in _lines(ahead, blog, inboxes[blog.name])]
    details = {reason: detail for outlook in ahead.outlooks for reason, detail in outlook.details.items()}
    return Plan(
        PRODUCT,
        first or days[0],
        last or days[-1],
        tuple(lines),
        tuple(call for outlook in ahead.outlooks for call in outlook.calls),
        {t.CANDIDATES.name: "; ".join(dict.fromkeys(outlook.asked for outlook in ahead.outlooks)) or OFFLINE},
        details,
        tuple(_notes(settings, lake, inboxes)),
    )


def _lines(ahead: "_Ahead", blog: Blog, inbox: pl.DataFrame) -> list[Line]:
    days = sorted(set(inbox["day"]))
    before = len(ahead.outlooks)
    if days:
        ahead.authored(blog, days, inbox)
    found = ahead.outlooks[before:]
    return [
        Line(
            t.CANDIDATES.name,
            blog.name,
            day,
            reduce(Tally.__add__, (outlook.tallies.get(f"{blog.name}|{day}", Tally()) for outlook in found), Tally()),
        )
        for day in days
    ]


def _notes(settings: Settings, lake: Lake, inboxes: dict[str, pl.DataFrame]) -> list[str]:
    waiting = sum(inbox.filter(pl.col("state") == "waiting").height for inbox in inboxes.values())
    stale = len(changes.stale_files(settings, lake))
    notes = ["a text that does not hold is written again, four draws for each wanted at most; those come on top"]
    if waiting:
        notes.append(f"{waiting:,} inputs wait to be admitted, and are not in this plan")
    if stale:
        notes.append(f"{stale:,} pages are new or changed since the last run, and not planned")
    more = {"persona.sentiment: model": settings.persona.sentiment == "model", "persona.judge": settings.persona.judge}
    on = [name for name, holds in more.items() if holds]
    if on:
        notes.append(f"what {' and '.join(on)} asks about each text follows from the texts, and is not in this plan")
    return notes


@dataclass(frozen=True)
class _Ahead(Studio):
    """A studio in which questions for texts are counted instead of asked; every text waits.

    Attributes:
        outlooks: what each attempt would ask, in order.
    """

    planner: Planner = field(kw_only=True)
    outlooks: list[Outlook] = field(default_factory=list)

    def _ask(self, function: str, blog: Blog, table: Table) -> Callable[[pl.DataFrame], pl.DataFrame]:
        scope = self.scope(function, blog, table)

        def ask(rows: pl.DataFrame) -> pl.DataFrame:
            if function == PERSONA_WRITE.name:
                named = rows.with_columns(pl.col("row_ref").str.extract(_PARTITION).alias("partition"))
                self.outlooks.append(self.planner.rows(function, named, scope))
            return rows.with_columns(**_UNASKED)

        return ask

    def _past(self, blog: Blog, days: Sequence[date], gone: Mapping[str, pl.DataFrame]) -> Past:
        """All that is stored, of these days too: nothing of them comes about here."""
        kicks, scores, kept = (
            self._of_blog(table, blog).collect() for table in (t.MOOD_INPUTS, t.CANDIDATE_SCORES, t.RETENTION_SET)
        )
        places = scores.select("day", "input_id", "attempt", "k", "sentiment_logit").iter_rows()
        return Past(kicks.select("day", "kick_ts", "kick"), {(*row[:4],): row[4] for row in places}, by_day(kept))

"""What describing the waiting memes would ask of models, from the tables that are stored.

Belongs here: which memes wait, and how many days they take at the quota of free calls. Does not belong here: whose turn
comes next (`describe_queue.py`), what a call costs at most (`magpie/llm/plan.py`).
"""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm.engine import Engine
from magpie.llm.plan import Call, Line, Outlook, Plan, Planner, Tally
from magpie.llm.progress import TaskState
from magpie.memes import tables as t
from magpie.memes.describe import MEME_DESCRIBE
from magpie.memes.describe_queue import SETTLED_REASONS, retries, unexpired
from magpie.memes.describer import PRODUCT, Describer
from magpie.memes.descriptions import Known, by_model, candidates, question_rows
from magpie.settings import Settings

# A question is known only with its picture, and opening one takes some hundredths of a second. Beyond so many the
# others are taken to be like these: all are one call of one free model.
OPENED = 200


def plan(
    settings: Settings,
    lake: Lake,
    control: Control,
    engine: Engine,
    first: date | None = None,
    last: date | None = None,
) -> Plan:
    """Plan what describing memes asks; nothing is called and nothing written.

    Args:
        first, last: days of publication, both included; None: as far as memes are known.

    Raises:
        UserError: days out of order, or no meme known and no days given.
        LedgerUnavailable: the journal cannot be read.
    """
    if first is not None and last is not None and first > last:
        raise UserError(f"--from {first} --to {last} must be in order")
    inside = pl.col("day").is_between(first or date.min, last or date.max)
    memes = lake.read(t.MEMES).filter(inside).collect()
    if memes.is_empty() and (first is None or last is None):
        raise UserError("no meme is known yet; run `magpie run memes` first, or give --from and --to")
    blobs = Blobs(settings.blobs)
    describer = Describer(settings, engine, blobs, None, None, _unheard)
    waiting = _waiting(lake, control, describer, memes, inside)
    there = waiting.filter(pl.Series([blobs.has(sha256) for sha256 in waiting["sha256"]], dtype=pl.Boolean))
    opened = question_rows(there.head(OPENED), lambda sha256: str(blobs.path(sha256)), {})
    found = Planner(engine).rows(MEME_DESCRIBE.name, opened, describer.scope())
    tallies, calls = _with_the_rest(found, there.slice(OPENED))
    asset = t.MEME_DESCRIPTIONS.name
    made = memes.select("platform", "day").unique().sort("platform", "day").iter_rows()
    empty = Tally()
    lines = [Line(asset, platform, day, tallies.get(f"{platform}|{day}", empty)) for platform, day in made]
    days = memes["day"]
    return Plan(
        PRODUCT,
        first or days.min() or date.min,  # type: ignore[arg-type]
        last or days.max() or date.max,  # type: ignore[arg-type]
        tuple(line for line in lines if not tallies or line.tally != empty),
        calls,
        {asset: found.asked},
        found.details,
        _notes(settings, waiting.height - there.height, there.height - opened.height, len(calls)),
    )


def _waiting(lake: Lake, control: Control, describer: Describer, memes: pl.DataFrame, inside: pl.Expr) -> pl.DataFrame:
    """The memes that may be described and were not, the newest first."""
    media, stored, status, compared = (
        lake.read(table).filter(inside).collect()
        for table in (t.MEME_MEDIA, t.MEME_DESCRIPTIONS, t.MEME_STATUS, t.MEME_DUPLICATES)
    )
    now = describer.engine.gateway.clock().astimezone(UTC)
    known = Known(stored, unexpired(control, now), status, compared, retries(control))
    fit = candidates(memes, media, known).filter(pl.col("readable") & pl.col("status").is_null())
    # What rules said is said again by a model once one can be asked.
    described = pl.col("status") == "ok" if describer.by_rule else by_model()
    done = stored.filter(described | (pl.col("status") == "failed") | pl.col("reason").is_in(SETTLED_REASONS))
    return fit.join(done, on="meme_id", how="anti").sort("published_at", "meme_id", descending=[True, False])


def _with_the_rest(found: Outlook, rest: pl.DataFrame) -> tuple[dict[str | None, Tally], tuple[Call, ...]]:
    tallies = dict(found.tallies)
    if not rest.height:
        return tallies, found.calls
    like = max(found.calls, key=lambda call: call.tokens_in, default=None)
    calls = list(found.calls)
    for partition, count in sorted(Counter(rest["partition"]).items()):
        more = Tally(count, new=count) if like else Tally(count, free=count)
        tallies[partition] = tallies.get(partition, Tally()) + more
        calls += [replace(like, partition=partition)] * count if like else []
    return tallies, tuple(calls)


def _notes(settings: Settings, lost: int, taken_alike: int, calls: int) -> tuple[str, ...]:
    batch, minutes = settings.memes.describe_batch, settings.memes.describe_every_min
    notes = []
    if lost:
        notes.append(f"{lost:,} pictures are not where they were stored; `magpie run memes` looks for them again")
    if taken_alike:
        notes.append(f"{OPENED:,} pictures were looked at; the other {taken_alike:,} are taken to be like them")
    if calls:
        notes.append(
            f"the sensor describe_planner asks about {batch:,} every {minutes:,} min; a model that does not answer "
            "takes a call of the quota as well, and the next one is asked"
        )
    return tuple(notes)


def _unheard(state: TaskState) -> None:
    """A plan is no run, whose progress anybody would watch."""

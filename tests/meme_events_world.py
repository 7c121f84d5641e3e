"""Events of people and memes for tests of statistics.

Belongs here: what several test files build. Does not belong here: tests.
"""

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from magpie.memes.base import CATALOGUE, History
from magpie.memes.tables import MEME_REACTIONS
from magpie.tables import Fate, all_ok

DAY = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 10, tzinfo=UTC)
LATER = datetime(2026, 12, 24, tzinfo=UTC)
UNCHANGED = pl.DataFrame(schema={"meme_id": pl.String})

Event = dict[str, Any]


def event(kind: str, user: str, meme: str | None, at: datetime, **more: Any) -> Event:
    return {"kind": kind, "user_id": user, "meme_id": meme, "at": at, **more}


def at(seconds: float, start: datetime = MORNING) -> datetime:
    return start + timedelta(seconds=seconds)


def reactions(rows: Iterable[Event]) -> pl.DataFrame:
    told = [{"event_id": f"e{n}", "day": row["at"].date(), **row} for n, row in enumerate(rows)]
    frame = pl.DataFrame(told, schema={k: v for k, v in MEME_REACTIONS.dtypes.items() if k not in Fate.column_names()})
    return MEME_REACTIONS.shaped(all_ok(frame))


def memes(*ids: str, copies: dict[str, str] | None = None, **more: Any) -> pl.DataFrame:
    usual = {"source_id": "tg:one", "state": "ok", "published_at": datetime(2026, 11, 1, tzinfo=UTC), "views": None}
    rows = [{"meme_id": i, "canonical_id": (copies or {}).get(i, i), **usual, **more} for i in ids]
    return pl.DataFrame(rows, schema=CATALOGUE)


def history(rows: Iterable[Event], known: pl.DataFrame, now: datetime = LATER) -> History:
    return History.of(reactions(rows).lazy(), known, now)


def everything(rows: Iterable[Event]) -> pl.DataFrame:
    return memes(*sorted({row["meme_id"] for row in rows if row["meme_id"]}))


def world(seed: int, size: int) -> tuple[list[Event], pl.DataFrame]:
    """Events of three days, with copies, second taps, sends of one moment and reactions without a send."""
    rng = random.Random(seed)
    ids = [f"m{n}" for n in range(30)]
    rows: list[Event] = []
    for _ in range(size):
        user, meme = rng.choice("uvwxyz"), rng.choice(ids)
        sent = at(rng.randrange(0, 3 * 86_400, 600), datetime(2026, 11, 18, tzinfo=UTC))
        if rng.random() < 0.95:
            rows.append(event("sent", user, meme, sent))
        if rng.random() < 0.8:
            took = rng.choice([0.4, 0.5, 2, 3, 3.1, 20, 60, 90_000])
            rows.append(event(rng.choice(["like", "dislike"]), user, meme, at(took, sent)))
    copies = {f"m{n}": f"m{n - 20}" for n in range(20, 30)}
    known = memes(*ids, copies=copies).with_columns(
        source_id=pl.Series([f"tg:s{n % 4}" for n in range(30)]), views=pl.Series(range(30)).cast(pl.Int64)
    )
    return rows, known

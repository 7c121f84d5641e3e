"""Catalogues and people for tests of recommending.

Belongs here: building them from what a test says. Does not belong here: tests.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from magpie.memes.catalogue import RECENT, SOURCES, STATS, STATUS, WORDS, Catalogue
from magpie.memes.engines import EngineRules
from magpie.memes.people import Person, Profile
from magpie.memes.settings import Memes

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD = datetime(2026, 11, 1, tzinfo=UTC)
RULES = EngineRules.of(Memes())
ANN = Profile("u1", frozenset({"en"}))

Row = dict[str, Any]


def meme(meme_id: str, **told: Any) -> Row:
    """A servable English meme of tg:one that nobody met; `told` says otherwise, in columns of any of the tables."""
    return {"meme_id": meme_id, **told}


def shelf(
    *memes: Row, sources: dict[str, tuple[int, int, int]] | None = None, recent: Iterable[tuple[str, str]] = ()
) -> Catalogue:
    """Lay out memes; `sources` are likes, dislikes and sends of each, `recent` meme and person of the latest likes."""
    usual = {"platform": "telegram", "source_id": "tg:one", "language": "en", "published_at": OLD, "servable": True}
    status = [
        {**usual, "canonical_id": row["meme_id"], **row, "day": row.get("published_at", OLD).date()} for row in memes
    ]
    counts = {"nlikes": 0, "ndislikes": 0, "nsent": 0, "invited": 0, "lr_smoothed": 0.0, "engagement": 0.0}
    stats = [{**counts, **row} for row in memes if row.keys() & STATS.keys() != {"meme_id"}]
    rated = [
        {"source_id": name, "nlikes": likes, "ndislikes": dislikes, "nsent_events": sent}
        for name, (likes, dislikes, sent) in (sources or {}).items()
    ]
    return Catalogue.of(
        framed(status, STATUS),
        framed(stats, STATS),
        framed(rated, SOURCES),
        framed([row for row in memes if "words" in row], WORDS),
        pl.DataFrame(list(recent), schema=RECENT, orient="row"),
    )


def framed(rows: list[Row], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def somebody(profile: Profile = ANN, at: datetime = NOW, **known: Any) -> Person:
    return Person(profile, at, **known)


def later(**apart: float) -> datetime:
    return NOW + timedelta(**apart)

"""What was asked of live sources, and what they said: an append-only log in the control database.

Belongs here: the log, when an item was first seen, and which source rests after it refused. Does not belong here: what
an outcome means for a row (the products) and asking itself (`magpie/sources`).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from magpie.control import ROWS_PER_STATEMENT, Control, as_user_error
from magpie.utc import UtcDateTime

metadata = sa.MetaData()

fetches = sa.Table(
    "fetches",
    metadata,
    sa.Column("fetch_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("item", sa.String(500), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("outcome", sa.String(64), nullable=False),
    sa.Column("detail", sa.String(500)),
    sa.Index("fetches_item", "source", "kind", "item"),
)

first_seen = sa.Table(
    "first_seen",
    metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("item", sa.String(500), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
)

cool_downs = sa.Table(
    "source_cool_downs",
    metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("until", UtcDateTime, nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("detail", sa.String(500)),
)

# One line for people; a stack trace or a page of HTML tells them no more.
DETAIL_CHARS = 500
# Far more than a detail keeps, so that cutting first saves work and hides nothing.
READ_CHARS = 20 * DETAIL_CHARS
# Addresses carry signatures, tokens and passwords in places that differ by source: only scheme and host stay.
ADDRESS = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}://)(?:[^\s/@]*@)?([^\s/?#'\"]*)[^\s'\"]*")
SECRET = re.compile(
    r"(?i)\b((?:[a-z0-9_-]*(?:api[_-]?key|token|secret|passw(?:or)?d|signature|authorization|cookies?)|key)\s*[=:]\s*)"
    r"(?:bearer\s+|basic\s+)?[^\s,;&]+"
)
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True)
class Fetch:
    """One question and its outcome.

    Attributes:
        source: who was asked, like `youtube`.
        item: what about, in the source's own ids.
        kind: which question.
        at: when, with a time zone.
        outcome: a word of the source's module.
        detail: one line for people; without addresses and secrets once it is recorded.
    """

    source: str
    item: str
    kind: str
    at: datetime
    outcome: str
    detail: str | None = None


@dataclass(frozen=True)
class Cooling:
    """A source that is not to be asked before `until`."""

    source: str
    until: datetime
    reason: str
    detail: str | None


class Fetches:
    """The log; several processes may hold one each."""

    def __init__(self, control: Control) -> None:
        self._control = control

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        engine = self._control.ensure(metadata)
        with as_user_error(engine), engine.begin() as connection:
            yield connection

    def record(self, asked: Iterable[Fetch]) -> None:
        """Append fetches; all of them or, if one cannot be written, none."""
        rows = [asdict(replace(fetch, detail=plain_detail(fetch.detail))) for fetch in asked]
        if rows:
            with self._transaction() as connection:
                connection.execute(fetches.insert(), rows)

    def of(self, source: str, items: Collection[str], kind: str) -> dict[str, tuple[Fetch, ...]]:
        """Return what is known of each item, oldest first; an item that was never asked about has no entry."""
        found: dict[str, list[Fetch]] = {}
        with self._transaction() as connection:
            for chunk in _chunks(items):
                mine = (fetches.c.source == source) & (fetches.c.kind == kind) & fetches.c.item.in_(chunk)
                query = sa.select(fetches).where(mine).order_by(fetches.c.at, fetches.c.fetch_id)
                for row in connection.execute(query):
                    fetch = Fetch(row.source, row.item, row.kind, row.at, row.outcome, row.detail)
                    found.setdefault(row.item, []).append(fetch)
        return {item: tuple(known) for item, known in found.items()}

    def seen(self, source: str, items: Collection[str], now: datetime) -> dict[str, datetime]:
        """Return when each item was first seen, which is `now` for those that are new.

        Of callers at the same time one comes first; the others are told its moment.
        """
        known = self._first_seen(source, items)
        fresh = set(items) - known.keys()
        if not fresh:
            return known
        with self._transaction() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            # In order, so that two callers with the same items wait for each other instead of each for the other.
            for chunk in _chunks(fresh):
                rows = [{"source": source, "item": item, "at": now} for item in chunk]
                connection.execute(dialect.insert(first_seen).values(rows).on_conflict_do_nothing())
        return known | self._first_seen(source, fresh)

    def _first_seen(self, source: str, items: Collection[str]) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        with self._transaction() as connection:
            for chunk in _chunks(items):
                mine = (first_seen.c.source == source) & first_seen.c.item.in_(chunk)
                query = sa.select(first_seen.c.item, first_seen.c.at).where(mine)
                found |= {row.item: row.at for row in connection.execute(query)}
        return found

    def cool(self, source: str, until: datetime, reason: str, detail: str | None = None) -> None:
        """Let the source rest until then; a rest that ends later stays as it is."""
        row = {"source": source, "until": until, "reason": reason, "detail": plain_detail(detail)}
        with self._transaction() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            insert = dialect.insert(cool_downs).values(row)
            changed = {name: insert.excluded[name] for name in ("until", "reason", "detail")}
            later = cool_downs.c.until < insert.excluded.until
            connection.execute(insert.on_conflict_do_update(index_elements=["source"], set_=changed, where=later))

    def cooling(self, source: str, now: datetime) -> Cooling | None:
        """Return the rest that `source` takes at `now`, None when it may be asked."""
        mine = (cool_downs.c.source == source) & (cool_downs.c.until > now)
        with self._transaction() as connection:
            row = connection.execute(sa.select(cool_downs).where(mine)).one_or_none()
        return None if row is None else Cooling(row.source, row.until, row.reason, row.detail)


def plain_detail(text: str | None) -> str | None:
    """Return a text of at most `DETAIL_CHARS` characters in one line; of addresses only scheme and host, no secrets."""
    if text is None:
        return None
    line = " ".join(UNPRINTABLE.sub(" ", text[:READ_CHARS]).split())
    return SECRET.sub(r"\1***", ADDRESS.sub(r"\1\2", line))[:DETAIL_CHARS]


def _chunks(items: Collection[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(set(items))
    for start in range(0, len(ordered), ROWS_PER_STATEMENT):
        yield ordered[start : start + ROWS_PER_STATEMENT]

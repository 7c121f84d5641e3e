"""Queues: a line of memes per person, refilled by one process at a time and emptied by any.

Belongs here: rows and leases in the control database, and the frames that the lake's tables take. Does not belong
here: what is in a refill (`refills.py`), when to refill and whether a meme may still be sent (`serving.py`).

A row goes to whoever sets `taken_at` first, in one statement that asks for it to be null, so two processes never get
the same row on any database. Whoever refills holds a lease, and stores only while it is still theirs.
"""

import hashlib
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from magpie.control import SQLITE_BEGIN, Control, as_user_error
from magpie.memes.blend import SEPARATOR
from magpie.memes.queue_tables import candidates, leases, metadata, queue, refills
from magpie.memes.refills import Refill
from magpie.memes.settings import Memes
from magpie.memes.tables import MEME_CANDIDATES, RECOMMENDATION_QUEUES
from magpie.tables import Table

# A refill takes well under a second; whoever has held the lease for so long has died.
LEASE = timedelta(seconds=30)


@dataclass(frozen=True)
class QueueRules:
    """How long a row waits, how few rows call for a refill, and how many rows a pop looks at."""

    ttl: timedelta
    refill_at: int
    tries: int

    @classmethod
    def of(cls, settings: Memes) -> "QueueRules":
        return cls(timedelta(seconds=settings.queue_ttl_s), settings.refill_at, settings.pop_tries)


@dataclass(frozen=True)
class Queued:
    """One live row."""

    queue_id: str
    user_id: str
    meme_id: str
    engine: str


@dataclass(frozen=True)
class Lease:
    """The right to refill one person's queue."""

    user_id: str
    owner: str


class Queues:
    """The queues of all people; several processes may hold one each."""

    def __init__(self, control: Control, rules: QueueRules) -> None:
        self._control = control
        self.rules = rules

    @contextmanager
    def _transaction(self, begin: str = "DEFERRED") -> Iterator[sa.Connection]:
        engine = self._control.ensure(metadata)
        with (
            as_user_error(engine),
            engine.connect().execution_options(**{SQLITE_BEGIN: begin}) as connection,
            connection.begin(),
        ):
            yield connection

    def lease(self, user_id: str, now: datetime) -> Lease | None:
        """Take the right to refill, None while another has it."""
        owner = uuid.uuid4().hex
        row = {"user_id": user_id, "owner": owner, "until": now + LEASE}
        with self._transaction() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            insert = dialect.insert(leases).values(row)
            changed = {name: insert.excluded[name] for name in ("owner", "until")}
            taken = connection.execute(
                insert.on_conflict_do_update(index_elements=["user_id"], set_=changed, where=leases.c.until <= now)
            )
            return Lease(user_id, owner) if taken.rowcount else None

    def release(self, lease: Lease) -> None:
        """Give the right back; one that another has taken since stays theirs."""
        with self._transaction() as connection:
            connection.execute(leases.delete().where(_mine(lease)))

    def live(self, user_id: str, now: datetime) -> list[Queued]:
        """Return the rows that wait, first come first."""
        wanted = (queue.c.user_id == user_id) & _live(now)
        columns = (queue.c.queue_id, queue.c.user_id, queue.c.meme_id, queue.c.engine)
        query = sa.select(*columns).where(wanted).order_by(queue.c.queued_at, queue.c.refill_no, queue.c.pos)
        with self._transaction() as connection:
            found = connection.execute(query)
            return [Queued(row.queue_id, row.user_id, row.meme_id, row.engine) for row in found]

    def held(self, user_id: str, now: datetime) -> list[str]:
        """Return the memes that wait, and those handed out for which a confirmation may still come."""
        handed_out = queue.c.taken_at > now - self.rules.ttl
        query = sa.select(queue.c.meme_id).where((queue.c.user_id == user_id) & (_live(now) | handed_out))
        with self._transaction() as connection:
            return sorted(set(connection.scalars(query)))

    def next_no(self, user_id: str, day: date) -> int:
        """Return the number of the person's next refill of the day, from 0."""
        mine = (refills.c.user_id == user_id) & (refills.c.day == day)
        with self._transaction() as connection:
            last = connection.scalar(sa.select(sa.func.max(refills.c.refill_no)).where(mine))
        return 0 if last is None else last + 1

    def store(self, lease: Lease, refill: Refill, now: datetime, versions: Mapping[str, int]) -> bool:
        """Append a refill and give the lease back; False, and nothing is written, if another has taken it since."""
        key = {"user_id": refill.user_id, "day": refill.day, "refill_no": refill.refill_no}
        offered = [
            {**key, "engine": engine, "rank": rank, "meme_id": o.meme_id, "score": o.score, "language": o.language}
            for engine, found in refill.offers.items()
            for rank, o in enumerate(found, start=1)
        ]
        times = {"queued_at": now, "expires_at": now + self.rules.ttl}
        rows = [
            {**key, **times, "queue_id": queue_id_of(refill, pos), "pos": pos, "meme_id": meme_id, "engine": engine}
            for pos, (meme_id, engine) in enumerate(refill.picks)
        ]
        made = {**key, "at": now, "plan": refill.plan, "failed": dict(refill.failed), "versions": dict(versions)}
        # The delete takes the write lock on SQLite and the row's on Postgres, so the lease cannot change hands midway.
        with self._transaction("IMMEDIATE") as connection:
            if not connection.execute(leases.delete().where(_mine(lease))).rowcount:
                return False
            connection.execute(refills.insert(), made)
            for table, given in ((candidates, offered), (queue, rows)):
                if given:
                    connection.execute(table.insert(), given)
        return True

    def take(self, queue_id: str, now: datetime) -> bool:
        """Take a row out of its queue; False if somebody else has, or its time is over."""
        taken = queue.update().where((queue.c.queue_id == queue_id) & _live(now)).values(taken_at=now)
        with self._transaction() as connection:
            return connection.execute(taken).rowcount == 1

    def confirm(self, queue_id: str, at: datetime) -> None:
        """Note that the meme was sent; the first confirmation counts."""
        first = (queue.c.queue_id == queue_id) & queue.c.consumed_at.is_(None)
        with self._transaction() as connection:
            connection.execute(queue.update().where(first).values(consumed_at=at))

    def due(self, now: datetime) -> list[str]:
        """Return people who were here lately and whose queue is about to be empty, by id.

        Lately is as long as a row lives: the queue of somebody who has left is not kept full.
        """
        here = sa.select(queue.c.user_id).where(queue.c.taken_at > now - self.rules.ttl).distinct()
        waiting = sa.func.sum(sa.case((_live(now), 1), else_=0))
        query = (
            sa.select(queue.c.user_id)
            .where(queue.c.user_id.in_(here) & ((queue.c.expires_at > now) | (queue.c.taken_at > now - self.rules.ttl)))
            .group_by(queue.c.user_id)
            .having(waiting <= self.rules.refill_at)
            .order_by(queue.c.user_id)
        )
        with self._transaction() as connection:
            return list(connection.scalars(query))

    def meme_candidates(self, days: Collection[date]) -> pl.DataFrame:
        """What was offered at the refills of these days, in the columns of `meme_candidates`."""
        return self._rows_of(candidates, MEME_CANDIDATES, days)

    def recommendation_queues(self, days: Collection[date]) -> pl.DataFrame:
        """The queues that were made on these days, in the columns of `recommendation_queues`."""
        return self._rows_of(queue, RECOMMENDATION_QUEUES, days)

    def plans(self, user_id: str, day: date) -> dict[int, str]:
        """Return the name of the plan of each of a person's refills of a day."""
        mine = (refills.c.user_id == user_id) & (refills.c.day == day)
        with self._transaction() as connection:
            found = connection.execute(sa.select(refills.c.refill_no, refills.c.plan).where(mine))
            return {row.refill_no: row.plan for row in found}

    def _rows_of(self, rows: sa.Table, table: Table, days: Collection[date]) -> pl.DataFrame:
        query = sa.select(*(rows.c[name] for name in table.dtypes)).where(rows.c.day.in_(sorted(days)))
        with self._transaction() as connection:
            found = [tuple(row) for row in connection.execute(query)]
        return pl.DataFrame(found, schema=table.dtypes, orient="row").sort(table.sort_by)


def queue_id_of(refill: Refill, pos: int) -> str:
    """The id of a row, which is of its person, day, refill and place alone."""
    parts = ("magpie", "queue", refill.user_id, refill.day.isoformat(), str(refill.refill_no), str(pos))
    return hashlib.sha256(SEPARATOR.join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _live(now: datetime) -> sa.ColumnElement[bool]:
    return queue.c.taken_at.is_(None) & (queue.c.expires_at > now)


def _mine(lease: Lease) -> sa.ColumnElement[bool]:
    return (leases.c.user_id == lease.user_id) & (leases.c.owner == lease.owner)

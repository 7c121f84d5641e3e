"""Recommending: the next meme of a person, what they thought of the last one, and queues that are kept filled.

Belongs here: when a queue is refilled, whether its next meme may still be sent, and in which order sends and reactions
are written down. Does not belong here: what a refill holds (`refills.py`), rows and leases (`queues.py`), delivering
(whoever calls).

A meme is handed out, then delivered by the caller, then confirmed; only the confirmation is a send. One that was handed
out and never confirmed stays away for as long as a row of a queue lives, and may come again after that. A reaction is
written down before anything else is tried.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import logs, reactions
from magpie.memes import tables as t
from magpie.memes.engines import EngineRules
from magpie.memes.people import Person, person_of, profile_of, told_of
from magpie.memes.plans import PlanOf, plan_of
from magpie.memes.queues import Queued, QueueRules, Queues
from magpie.memes.refills import Refill, refilled
from magpie.memes.snapshots import CHECK_EVERY, Snapshot, versions_of
from magpie.memes.status import fold, main_media
from magpie.memes.user_stats import SessionRules
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from magpie.utc import utc_now

REACTIONS = ("like", "dislike")
# What a watermarked picture is, whatever it was before.
MARKED = "image/jpeg"
# Somebody else who refills is done in a fraction of a second; a person with an empty queue waits this long for them.
WAIT_SECONDS, WAITS = 0.1, 20


@dataclass(frozen=True)
class Served:
    """A meme on its way to somebody.

    Attributes:
        path: of the picture or video, the watermarked one if there is one.
    """

    queue_id: str
    user_id: str
    meme_id: str
    engine: str
    type: str
    caption: str | None
    path: Path
    mime: str
    url: str | None


class Recommender:
    """Serves people from the lake and the control database; constructing it opens nothing.

    Args:
        plans: who gets which plan.
        wait: sleeps, while another process refills an empty queue.
    """

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        control: Control,
        *,
        clock: Callable[[], datetime] = utc_now,
        plans: PlanOf = plan_of,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lake, self._control, self._clock, self._plans, self._wait = lake, control, clock, plans, wait
        self._home, self._blobs = settings.home, Blobs(settings.blobs)
        self._engines, self._sessions = EngineRules.of(settings.memes), SessionRules.of(settings.memes)
        self.queues = Queues(control, QueueRules.of(settings.memes))
        self._held: tuple[Snapshot, datetime] | None = None

    def snapshot(self) -> Snapshot:
        """Return the lake as it is, or was half a minute ago."""
        now = self._clock()
        if self._held is None:
            self._held = (Snapshot.of(self._lake), now)
        held, checked = self._held
        if now - checked >= CHECK_EVERY:
            held = held if versions_of(self._lake) == held.versions else Snapshot.of(self._lake)
            self._held = (held, now)
        return held

    def person(self, user_id: str) -> Person:
        """Return what is known of somebody, all events included that were written down so far.

        Raises:
            UserError: nobody of that id is registered.
        """
        profile = profile_of(self._control, user_id)
        snapshot = self.snapshot()
        told = snapshot.events_of([user_id])[user_id]
        events = told_of(told, logs.EVENTS.read(self._control, user_id=user_id))
        return person_of(profile, events, snapshot.catalogue, self._clock(), self._sessions)

    def refill(self, user_id: str) -> Refill | None:
        """Refill a queue that is about to be empty; None if it is not, another process does, or there is nothing.

        Raises:
            UserError: nobody of that id is registered.
        """
        return self._refilled(self.person(user_id))[0]

    def refill_due(self) -> tuple[list[Refill], dict[str, str]]:
        """Refill the queues of people who were here lately; return the refills, and by person what went wrong."""
        done: list[Refill] = []
        failed: dict[str, str] = {}
        users = self.queues.due(self._clock())
        if users:
            self.snapshot().events_of(users)
        for user_id in users:
            try:
                made = self.refill(user_id)
            except UserError as error:
                failed[user_id] = str(error)
                continue
            done += [] if made is None else [made]
        return done, failed

    def pop(self, user_id: str) -> Served | None:
        """Hand out the next meme of somebody, None if there is none; `delivered` says that it arrived.

        Raises:
            UserError: nobody of that id is registered.
        """
        somebody = self.person(user_id)
        for _ in range(WAITS):
            _, busy = self._refilled(somebody)
            live = self.queues.live(user_id, self._clock())
            if live or not busy:
                return self._first(somebody, live[: self.queues.rules.tries])
            self._wait(WAIT_SECONDS)
        return None

    def delivered(self, served: Served) -> str:
        """Write down that a meme arrived; return the id of the event. Saying it twice changes nothing."""
        now = self._clock()
        event_id = reactions.react(
            self._control,
            "sent",
            served.user_id,
            served.meme_id,
            now,
            engine=served.engine,
            queue_id=served.queue_id,
        )
        self.queues.confirm(served.queue_id, now)
        return event_id

    def react(self, user_id: str, meme_id: str, kind: str) -> Served | None:
        """Write down what somebody thinks of a meme, then hand out the next one; whatever fails then, it is written.

        Raises:
            UserError: it is no reaction; or, with the reaction written down, nobody of that id is registered.
        """
        if kind not in REACTIONS:
            raise UserError(f"{kind[:80]!r} is no reaction to a meme; use one of {', '.join(REACTIONS)}")
        reactions.react(self._control, kind, user_id, meme_id, self._clock())
        return self.pop(user_id)

    def _refilled(self, somebody: Person) -> tuple[Refill | None, bool]:
        """The refill, if one was due, and whether another process is at it."""
        user_id, now = somebody.profile.user_id, self._clock()
        queues, snapshot = self.queues, self.snapshot()
        if len(queues.live(user_id, now)) > queues.rules.refill_at:
            return None, False
        lease = queues.lease(user_id, now)
        if lease is None:
            return None, True
        try:
            # Asked again under the lease: another process may have refilled the queue since.
            if len(queues.live(user_id, now)) > queues.rules.refill_at:
                return None, False
            held = pl.Series(queues.held(user_id, now), dtype=pl.String)
            queued = frozenset(snapshot.catalogue.canonical(held)["canonical_id"])
            number = queues.next_no(user_id, somebody.at.date())
            made = refilled(
                snapshot.catalogue, replace(somebody, queued=queued), number, self._engines, plans=self._plans
            )
            if not made.picks or not queues.store(lease, made, now, snapshot.versions):
                return None, False
            return made, False
        finally:
            queues.release(lease)

    def _first(self, somebody: Person, rows: Iterable[Queued]) -> Served | None:
        """The first of these rows that may still be sent and that nobody else takes; those that may not are dropped."""
        now, rows = self._clock(), list(rows)
        canonical = self.snapshot().catalogue.canonical(pl.Series([row.meme_id for row in rows], dtype=pl.String))
        for row, canonical_id in zip(rows, canonical["canonical_id"], strict=True):
            seen = somebody.seen_lately if row.engine == "goat" else somebody.seen
            served = None if canonical_id in seen else self._servable(row)
            if self.queues.take(row.queue_id, now) and served is not None:
                return served
        return None

    def _servable(self, row: Queued) -> Served | None:
        """The meme with its file, by the newest versions of the tables and decisions that are in none yet."""
        place = self.snapshot().catalogue.partition(row.meme_id)
        decided = fold(logs.MODERATION.read(self._control, meme_id=row.meme_id))
        if place is None or decided.filter((pl.col("verdict") == "reject") | pl.col("purged")).height:
            return None
        status, meme = (self._row(table, place, row.meme_id) for table in (t.MEME_STATUS, t.MEMES))
        medium = self._row(t.MEME_MEDIA, place, row.meme_id)
        if status is None or meme is None or medium is None or not status["servable"] or medium["status"] != "ok":
            return None
        path, mime, marked = self._home / medium["path"], medium["mime"], medium["watermarked_sha256"]
        if marked is not None:
            path, mime = self._blobs.path(marked), MARKED
        if not path.is_file():
            return None
        return Served(
            queue_id=row.queue_id,
            user_id=row.user_id,
            meme_id=row.meme_id,
            engine=row.engine,
            type=meme["type"],
            caption=meme["caption"],
            path=path,
            mime=mime,
            url=meme["url"],
        )

    def _row(self, table: Table, place: tuple[str, date], meme_id: str) -> dict[str, Any] | None:
        rows = self._lake.read(table, Partitions.of([place])).filter(pl.col("meme_id") == meme_id)
        found = (main_media(rows) if table is t.MEME_MEDIA else rows).collect()
        return found.row(0, named=True) if found.height else None

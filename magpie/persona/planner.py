"""Ticks: which waiting inputs the author turns to at each, and when it writes something of its own accord.

Belongs here: the order of inputs, how many a tick takes, users who are answered seldom, the slots of originals. Does
not belong here: which inputs there are (`inputs.py`), how fast the author may go (`slowdown.py`), keeping the log.

A plan follows from the inputs, the log and the times alone: planned again with what it said in the log it says nothing,
and a range of ticks planned in pieces comes out as planned at once. What is in the log at a later tick counts as
waiting until then.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from heapq import heappop, heappush
from zoneinfo import ZoneInfo

import polars as pl

from magpie.persona.rng import rng
from magpie.persona.settings import Blog, Tuning
from magpie.persona.slowdown import Level, items_per_step
from magpie.persona.tables import DAYS_AHEAD, STEPS

GRID = timedelta(minutes=10)
STEP_OF = {"ask": "asks", "reblog": "conversations", "mention": "conversations", "reply": "conversations"} | {
    "dash": "dash",
    "original": "originals",
}
# Of a user's waiting asks so many stay, the oldest.
ASKS_PER_USER = 2
# Whoever has more inputs waiting is answered as if limited to one in an hour.
PENDING_MAX, PENDING_HOURS = 8, 1.0
# Nobody in particular, and so never the same one twice.
NOBODY = "anonymous"
PEAK = (time(8), time.max)
ORIGINAL_KINDS = ((0.70, "original"), (0.85, "fiction"), (1.0, "review"))
# The first moment after another.
_NEXT = timedelta(microseconds=1)
_SLOT = "orig:%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Waiting:
    """An attempt that may be admitted.

    Attributes:
        created_at: when it came in; nothing is admitted earlier.
        cost: of a conversation, which is left while it is too high for the level.
        not_before: nor earlier than this.
        human: a person asked for another attempt.
        again: the attempt was admitted before and came to nothing yet; it is admitted once more.
    """

    input_id: str
    kind: str
    day: date
    created_at: datetime
    from_blog: str | None = None
    cost: float | None = None
    attempt: int = 1
    not_before: datetime | None = None
    human: bool = False
    again: bool = False

    @property
    def key(self) -> tuple[str, int]:
        return self.input_id, self.attempt

    @cached_property
    def step(self) -> str:
        return "reviews" if self.human else STEP_OF[self.kind]

    @cached_property
    def user(self) -> str | None:
        """None: nobody, or nobody in particular."""
        name = (self.from_blog or NOBODY).lower()
        return None if name == NOBODY else name


@dataclass(frozen=True)
class Admission:
    """A row of the log."""

    blog: str
    input_id: str
    attempt: int
    tick_ts: datetime
    day: date
    kind: str
    step: str
    slowdown_level: str


class Flood:
    """Which asks of a user are too many: those that come in while two older ones wait.

    Args:
        max_wait: after it an ask waits no more.
        admitted: first tick of each input that has one; it may grow meanwhile.
    """

    def __init__(self, max_wait: timedelta, admitted: Mapping[str, datetime]) -> None:
        self._max_wait, self._admitted = max_wait, admitted
        self._kept: dict[str, list[tuple[str, datetime]]] = {}

    def takes(self, user: str | None, input_id: str, at: datetime) -> bool:
        """Whether an ask may wait; asks are to be given in the order of their times."""
        if user is None:
            return True
        kept = [one for one in self._kept.get(user, ()) if self._waits(*one, at)]
        fits = len(kept) < ASKS_PER_USER or input_id in self._admitted
        self._kept[user] = [*kept, (input_id, at)] if fits else kept
        return fits

    def _waits(self, input_id: str, since: datetime, at: datetime) -> bool:
        tick = self._admitted.get(input_id)
        return (tick is None or tick >= at) and at - since <= self._max_wait


def archive_ticks(first: datetime, until: datetime) -> Iterator[datetime]:
    """Every ten minutes from the first moment, rounded up, to before the last."""
    tick = rounded_up(first)
    while tick < until:
        yield tick
        tick += GRID


def rounded_up(at: datetime) -> datetime:
    """The next full ten minutes, UTC; of full ten minutes themselves."""
    midnight = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
    return midnight + -((midnight - at) // GRID) * GRID


def tick_seconds(at: datetime, level: Level, blog: Blog, tuning: Tuning) -> float:
    """Seconds between ticks: of an archive those of the grid; live more often by day, in the blog's time."""
    if blog.mode == "archive":
        return GRID.total_seconds()
    by_day = PEAK[0] <= at.astimezone(blog.zone).time() <= PEAK[1]
    return (tuning.tick_peak_s if by_day else tuning.tick_off_s) * level.tick


def plan(
    waiting: Iterable[Waiting],
    admitted: pl.DataFrame,
    *,
    blog: Blog,
    tuning: Tuning,
    times: Iterable[datetime],
    level: Callable[[datetime], Level],
) -> list[Admission]:
    """Return what is admitted at some ticks, in the order in which it is dealt with.

    At each tick come, in this order, attempts people asked for, asks, conversations (cheapest first), posts of the
    dashboard, and one original where the queue is short. A step takes one input of a user and so many in all as the
    level leaves, and deals with the oldest first.

    Args:
        waiting: every input that was received in the last `max_wait_d` days before a tick, also those that the log
            holds already: which asks are too many follows from all of them.
        admitted: `persona_ticks`; what it holds is not admitted again, unless it waits `again`.
        times: ticks, in their order; of an archive `archive_ticks`, live the present moment.
        level: how fast the author may go at a tick.
    """
    desk = _Desk(waiting, admitted.filter(pl.col("blog") == blog.name), blog, tuning)
    return [admission for tick in times for admission in desk.tick(tick, level(tick))]


class _Desk:
    """What waits and what was admitted, while time goes on."""

    def __init__(self, waiting: Iterable[Waiting], log: pl.DataFrame, blog: Blog, tuning: Tuning) -> None:
        self._blog, self._tuning = blog, tuning
        self._max_wait = timedelta(days=tuning.max_wait_d)
        self._ticks: dict[tuple[str, int], datetime] = {}
        self._first: dict[str, datetime] = {}
        self._at: dict[tuple[datetime, str], list[str]] = {}
        rows = log.select("tick_ts", "input_id", "attempt", "step").sort("tick_ts", "input_id", "attempt")
        for tick, input_id, attempt, step in rows.iter_rows():
            self._ticks[input_id, attempt] = tick
            self._first.setdefault(input_id, tick)
            self._at.setdefault((tick, step), []).append(input_id)
        known = set(waiting)
        self._users = {one.input_id: one.user for one in known if one.user is not None}
        self._flood = Flood(self._max_wait, self._first)
        self._arriving = sorted(known, key=self._since, reverse=True)
        # By step, in the order in which they are taken.
        self._open: dict[str, list[Waiting]] = {step: [] for step in STEPS}
        self._pending: Counter[str | None] = Counter()
        self._leaving: list[tuple[datetime, tuple[str, int], Waiting]] = []
        self._gone: set[Waiting] = set()
        self._queue = _Queue(log, blog, tuning)

    def _since(self, one: Waiting) -> tuple[datetime, datetime, str, int, bool]:
        """When it may be admitted, and before which others of that moment it is looked at."""
        since = max(one.created_at, one.not_before or one.created_at)
        if one.again and one.key in self._ticks:
            since = max(since, self._ticks[one.key] + _NEXT)
        return since, *_age(one)

    def tick(self, tick: datetime, level: Level) -> list[Admission]:
        while self._arriving and self._since(self._arriving[-1])[0] <= tick:
            one = self._arriving.pop()
            if one.kind != "ask" or one.human or one.again or self._flood.takes(one.user, one.input_id, one.created_at):
                self._arrives(one)
        while self._leaving and self._leaving[0][0] <= tick:
            self._leaves(heappop(self._leaving)[2])
        chosen = {step: self._chosen(step, tick, level) for step in STEPS}
        found = [
            self._admit(one.input_id, one.attempt, tick, one.day, one.kind, step, level)
            for step, taken in chosen.items()
            for one in taken
        ]
        for one in (one for taken in chosen.values() for one in taken):
            self._leaves(one)
        slot = self._queue.next(tick, level) if self._blog.writes_unasked(tick) else None
        if slot is not None:
            found.append(self._admit(slot_id(slot), 1, tick, slot.date(), "original", "originals", level))
        return found

    def _arrives(self, one: Waiting) -> None:
        insort(self._open[one.step], one, key=_priority)
        self._pending[one.user] += 1
        ends = [] if one.human or one.again or one.attempt > 1 else [one.created_at + self._max_wait + _NEXT]
        if not one.again and one.key in self._ticks:
            # It counted as waiting when its tick began.
            ends.append(self._ticks[one.key] + _NEXT)
        if ends:
            heappush(self._leaving, (min(ends), one.key, one))

    def _leaves(self, one: Waiting) -> None:
        if one not in self._gone:
            self._gone.add(one)
            self._pending[one.user] -= 1
            step = self._open[one.step]
            del step[bisect_left(step, _priority(one), key=_priority)]

    def _chosen(self, step: str, tick: datetime, level: Level) -> list[Waiting]:
        """What a step takes, the oldest first; what the log holds of this tick takes its place in it."""
        if not self._open[step]:
            return []
        here = self._at.get((tick, step), [])
        room = items_per_step(self._tuning.step_max, level) - len(here)
        users = {self._users.get(input_id) for input_id in here} - {None}
        chosen: list[Waiting] = []
        for one in self._open[step]:
            if len(chosen) >= room:
                break
            if (one.user is None or one.user not in users) and self._may(one, tick, level):
                users.add(one.user)
                chosen.append(one)
        return sorted(chosen, key=_age)

    def _may(self, one: Waiting, tick: datetime, level: Level) -> bool:
        if one.again or one.human:
            return one.again or one.key not in self._ticks
        if one.key in self._ticks or (one.cost is not None and one.cost >= self._tuning.stop_cost + level.cost):
            return False
        hours = self._hours(one)
        if hours is None:
            return True
        chance = tick_seconds(tick, level, self._blog, self._tuning) / (3600 * hours)
        return rng("limit", self._blog.name, one.user or NOBODY, tick.isoformat()).random() < chance

    def _hours(self, one: Waiting) -> float | None:
        """The mean time between two answers to a user; None: not limited. Writing a lot never makes it shorter."""
        listed = self._blog.limited.get(one.user or NOBODY)
        if one.user is None or self._pending[one.user] <= PENDING_MAX:
            return listed
        return max(listed or 0.0, PENDING_HOURS)

    def _admit(
        self, input_id: str, attempt: int, tick: datetime, day: date, kind: str, step: str, level: Level
    ) -> Admission:
        self._ticks[input_id, attempt] = tick
        self._first.setdefault(input_id, tick)
        return Admission(self._blog.name, input_id, attempt, tick, day, kind, step, level.name)


def _priority(one: Waiting) -> tuple[float, datetime, str, int, bool]:
    """Conversations by cost, others by age alone."""
    return (one.cost or 0.0 if one.step == "conversations" else 0.0, *_age(one))


def _age(one: Waiting) -> tuple[datetime, str, int, bool]:
    return one.created_at, one.input_id, one.attempt, one.again


class _Queue:
    """The slots of originals that are taken."""

    def __init__(self, log: pl.DataFrame, blog: Blog, tuning: Tuning) -> None:
        self._blog, self._tuning = blog, tuning
        rows = log.filter((pl.col("kind") == "original") & (pl.col("attempt") == 1)).select("tick_ts", "input_id")
        self._logged = sorted(((tick, slot_of(input_id)) for tick, input_id in rows.iter_rows()), reverse=True)
        # Of days that were planned before those ahead of them.
        self._taken = {slot for _, slot in self._logged}
        self._slots: list[datetime] = []

    def next(self, tick: datetime, level: Level) -> datetime | None:
        """The slot that a tick takes; None: the queue is long enough, or the log says what this tick took."""
        took = False
        while self._logged and self._logged[-1][0] <= tick:
            at, slot = self._logged.pop()
            insort(self._slots, slot)
            took = at == tick
        last = self._slots[-1] if self._slots else None
        self._slots = [slot for slot in self._slots if slot > tick] or self._slots[-1:]
        ahead = sum(slot > tick for slot in self._slots)
        if took or ahead >= self._tuning.queue_below:
            return None
        zone = self._blog.zone
        tomorrow = last is not None and last.astimezone(zone).date() > tick.astimezone(zone).date()
        slot = next_slot(last, tick, self._tuning, zone)
        too_far = (slot.date() - tick.date()).days > DAYS_AHEAD
        if (tomorrow and not level.queue_first) or too_far or slot in self._taken:
            return None
        insort(self._slots, slot)
        return slot


def next_slot(last: datetime | None, now: datetime, tuning: Tuning, zone: ZoneInfo) -> datetime:
    """When the next post of the queue comes out, UTC.

    A post follows the last one after the length of the queue's window divided by the posts a day; past the window's
    end it is the first of the next day. Where nothing lies ahead, posts come in equal steps from the window's
    beginning.
    """
    begins, ends = _seconds(tuning.queue_from), _seconds(tuning.queue_to)
    apart = timedelta(seconds=(ends - begins) // tuning.posts_per_day)
    if last is None or last + apart <= now:
        start = _local(now, begins, zone)
        slot = start if now < start else start + ((now - start) // apart + 1) * apart
    else:
        slot = last + apart
    if slot >= _local(slot, ends, zone):
        return _local(slot, begins, zone, days=1)
    return max(slot, _local(slot, begins, zone))


def _seconds(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _local(at: datetime, seconds: int, zone: ZoneInfo, days: int = 0) -> datetime:
    """A time of the day, on the local day of a moment or so many days later, as UTC; 24:00 begins the next day."""
    midnight = datetime.combine(at.astimezone(zone).date(), time())
    # On the clock, not in seconds that passed: a day may have 23 hours.
    return (midnight + timedelta(days=days, seconds=seconds)).replace(tzinfo=zone).astimezone(UTC)


def slot_id(slot: datetime) -> str:
    """The input that an original at this moment is."""
    return slot.strftime(_SLOT)


def slot_of(input_id: str) -> datetime:
    """The moment in such an id.

    Raises:
        ValueError: it is the id of something else.
    """
    return datetime.strptime(input_id, _SLOT).replace(tzinfo=UTC)


def prompt_kind_of_original(blog: str, input_id: str, attempt: int) -> str:
    """What an original is to be: mostly an ordinary post, sometimes a story or a review."""
    u = rng("prompt", blog, input_id, attempt).random()
    return next(kind for below, kind in ORIGINAL_KINDS if u < below)

"""Queues: rows that wait and expire, one taker each, leases, and the record of a day."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from magpie.control import Control
from magpie.lake import conform
from magpie.memes.plans import PLANS
from magpie.memes.queues import LEASE, QueueRules, Queues
from magpie.memes.refills import Refill, again, refilled
from magpie.memes.settings import Memes
from magpie.memes.tables import MEME_CANDIDATES, RECOMMENDATION_QUEUES
from tests.recommend_world import NOW, RULES, later, meme, shelf, somebody

REPO = Path(__file__).parent.parent
DAY = date(2026, 11, 20)


@pytest.fixture
def queues(url: str) -> Iterator[Queues]:
    control = Control(url)
    yield Queues(control, QueueRules.of(Memes()))
    control.close()


def refill(number: int = 0, memes: int = 15, user: str = "u1") -> Refill:
    picks = tuple((f"m{number}-{n}", "goat") for n in range(memes))
    return Refill(user, DAY, number, "mature", {}, picks)


def stored(queues: Queues, made: Refill, at: datetime = NOW) -> bool:
    lease = queues.lease(made.user_id, at)
    return lease is not None and queues.store(lease, made, at, {})


def test_rows_wait_in_the_order_of_refills_and_places(queues: Queues) -> None:
    assert stored(queues, refill(0, 2)) and stored(queues, refill(1, 2), later(seconds=1))
    assert stored(queues, refill(0, 1, "u2"))
    assert [row.meme_id for row in queues.live("u1", later(minutes=1))] == ["m0-0", "m0-1", "m1-0", "m1-1"]
    assert queues.next_no("u1", DAY) == 2
    assert queues.next_no("u1", DAY + timedelta(days=1)) == queues.next_no("u3", DAY) == 0


def test_a_row_that_is_an_hour_old_is_no_longer_there(queues: Queues) -> None:
    stored(queues, refill(0, 1))
    (row,) = queues.live("u1", later(seconds=3599))
    assert queues.live("u1", later(seconds=3600)) == []
    assert not queues.take(row.queue_id, later(seconds=3600))


def test_a_row_is_taken_once(queues: Queues) -> None:
    stored(queues, refill(0, 2))
    first, second = queues.live("u1", NOW)
    assert queues.take(first.queue_id, NOW)
    assert not queues.take(first.queue_id, NOW)
    assert queues.live("u1", NOW) == [second]


def test_threads_share_a_queue_without_sharing_a_row(queues: Queues) -> None:
    stored(queues, refill(0, 15))

    def takes(_: int) -> list[str]:
        return [row.queue_id for row in queues.live("u1", NOW) if queues.take(row.queue_id, NOW)]

    with ThreadPoolExecutor(4) as pool:
        taken = [row for found in pool.map(takes, range(4)) for row in found]
    assert len(taken) == len(set(taken)) == 15


_TAKER = """
import sys
from datetime import datetime
from magpie.control import Control
from magpie.memes.queues import QueueRules, Queues
from magpie.memes.settings import Memes
queues, now = Queues(Control(sys.argv[1]), QueueRules.of(Memes())), datetime.fromisoformat(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
while rows := queues.live("u1", now):
    if queues.take(rows[0].queue_id, now):
        print(rows[0].queue_id, flush=True)
"""


def test_two_processes_never_get_the_same_row(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    stored(Queues(Control(url), QueueRules.of(Memes())), refill(0, 40))
    command = [sys.executable, "-c", _TAKER, url, NOW.isoformat()]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": REPO}
    takers = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for taker in takers:
        assert taker.stdout.readline() == "ready\n"
    told = [taker.communicate("go\n", timeout=60)[0].split() for taker in takers]
    taken = [row for found in told for row in found]
    assert len(taken) == len(set(taken)) == 40


def test_what_was_handed_out_is_held_back_for_as_long_as_a_row_lives(queues: Queues) -> None:
    stored(queues, refill(0, 2))
    first = queues.live("u1", NOW)[0]
    queues.take(first.queue_id, later(minutes=59))
    assert queues.held("u1", later(minutes=59)) == ["m0-0", "m0-1"]
    assert queues.held("u1", later(minutes=61)) == ["m0-0"]
    assert queues.held("u1", later(minutes=120)) == []


def test_one_refills_at_a_time_and_whoever_died_is_replaced(queues: Queues) -> None:
    dead = queues.lease("u1", NOW)
    assert dead is not None
    assert queues.lease("u1", NOW + LEASE - timedelta(seconds=1)) is None
    assert queues.lease("u2", NOW) is not None
    heir = queues.lease("u1", NOW + LEASE)
    assert heir is not None and heir.owner != dead.owner
    # It was not dead, only slow: nothing of it is kept, and the heir's right stays.
    assert not queues.store(dead, refill(0, 1), NOW, {})
    queues.release(dead)
    assert queues.lease("u1", NOW + LEASE) is None
    assert queues.store(heir, refill(0, 2), NOW + LEASE, {})
    assert len(queues.live("u1", NOW + LEASE)) == 2
    assert queues.lease("u1", NOW + LEASE) is not None


def test_only_people_who_were_here_lately_and_have_little_left_are_due(queues: Queues) -> None:
    for user, memes in (("few", 9), ("many", 10), ("away", 3)):
        stored(queues, refill(0, memes, user))
    for user in ("few", "many"):
        queues.take(queues.live(user, NOW)[0].queue_id, NOW)
    assert queues.due(NOW) == ["few"]
    assert queues.due(later(minutes=59)) == ["few"]
    assert queues.due(later(minutes=61)) == []


def test_somebody_whose_last_row_was_taken_late_is_still_due_when_it_would_have_expired(queues: Queues) -> None:
    stored(queues, refill(0, 1))
    queues.take(queues.live("u1", NOW)[0].queue_id, later(minutes=59))
    assert queues.due(later(minutes=90)) == ["u1"]


def test_the_first_confirmation_counts(queues: Queues) -> None:
    stored(queues, refill(0, 1))
    (row,) = queues.live("u1", NOW)
    for minute in (1, 2):
        queues.confirm(row.queue_id, later(minutes=minute))
    kept = queues.recommendation_queues([DAY])
    assert kept["consumed_at"].to_list() == [later(minutes=1)]


def test_a_day_is_recorded_and_its_queues_can_be_made_again_from_what_was_offered(queues: Queues) -> None:
    rows = [meme(f"m{n}", nlikes=30, nsent=40, lr_smoothed=0.2, engagement=n / 50, raw_rank=0) for n in range(40)]
    for number in range(2):
        made = refilled(shelf(*rows), somebody(nsent=120), number, RULES)
        assert stored(queues, made, later(seconds=number))
    offered = conform(MEME_CANDIDATES, queues.meme_candidates([DAY]))
    kept = conform(RECOMMENDATION_QUEUES, queues.recommendation_queues([DAY]))
    assert kept.height == 30 and kept["pos"].to_list() == [*range(15), *range(15)]
    assert set(offered["engine"]) == {"lr_smoothed", "es_ranked", "like_spread"}
    assert offered["rank"].min() == 1
    for (number,), mine in kept.partition_by("refill_no", as_dict=True).items():
        ranked = offered.filter(offered["refill_no"] == number).sort("engine", "rank")
        recorded = {str(name): part["meme_id"].to_list() for (name,), part in ranked.group_by("engine")}
        plan = PLANS[queues.plans("u1", DAY)[number]]
        assert again(plan, recorded, "u1", DAY, number, 15) == mine.select("meme_id", "engine").rows()
    assert queues.meme_candidates([date(2026, 11, 19)]).is_empty()
    assert queues.recommendation_queues([]).is_empty()


def test_moments_come_back_as_they_were_stored(queues: Queues) -> None:
    at = datetime(2026, 11, 20, 23, 59, 59, 999999, UTC)
    stored(queues, refill(0, 1), at)
    row = queues.recommendation_queues([DAY]).row(0, named=True)
    assert (row["queued_at"], row["expires_at"]) == (at, at + timedelta(hours=1))
    assert row["consumed_at"] is None

"""Many processes, killed at any step: the cap is exact, nothing is paid twice, the books agree.

The judge is the fake provider, which counts what it answered, and not our ledger.
"""

import json
import multiprocessing as mp
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from magpie.llm.fake_provider import FakeProvider
from magpie.llm.gateway import Answered
from magpie.llm.money import to_usd
from tests.gateway_worker import Job, main
from tests.gateway_world import Desk, desk
from tests.ledger_world import assert_books_balance

# Every process is forked from one that has imported all and done nothing: importing takes longer than the work.
FORKSERVER = mp.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.gateway_worker", "openai"])
DEADLINE_SECONDS, PATIENCE_SECONDS = 120, 3
STEPS = ("reserved", "sent", "received", "journalled", "settled")
LATER = timedelta(hours=3)
# `HYPOTHESIS_PROFILE=thorough make test` kills more of them.
ROUNDS = 4 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 2
WORKERS, THREADS = 2, 4


def later() -> datetime:
    return datetime.now(UTC) + LATER


@dataclass(frozen=True)
class Started:
    """A process, and the end of a pipe at which it tells its outcomes."""

    process: BaseProcess
    told: int

    def finish(self) -> list[str]:
        """Wait; return the outcomes it told."""
        with os.fdopen(self.told) as lines:
            # They end with the process, however it ends.
            found = [json.loads(line)["outcome"] for line in lines if line.endswith("}\n")]
        self.process.join(DEADLINE_SECONDS)
        assert self.process.exitcode in (0, -signal.SIGKILL)
        return found


def start(job: Job) -> Started:
    receiver, sender = FORKSERVER.Pipe(duplex=False)
    process = FORKSERVER.Process(target=main, args=(job, sender), daemon=True)
    process.start()
    sender.close()
    with receiver:
        return Started(process, os.dup(receiver.fileno()))


def wait_for_calls(fake: FakeProvider, before: int) -> None:
    """Wait until the provider is asked something; not for long, as others wait for what a killed process was asking."""
    until = time.monotonic() + PATIENCE_SECONDS
    while fake.attempts == before and time.monotonic() < until:
        time.sleep(0.01)


def total_spent(at: Desk) -> int:
    return sum(call.cost_nano for call in at.calls())


@pytest.mark.slow
def test_eight_processes_with_money_for_a_hundred_calls_make_a_hundred(
    url: str, tmp_path: Path, fake: FakeProvider
) -> None:
    # Without usage a call costs its estimate, so that the cap is for a whole number of them.
    fake.misbehave("usage_missing", times=None)
    with desk(url, tmp_path, fake) as at:
        request = at.request(f"worker 0 asks {0:03d}")
        est: int = at.gateway.ceiling(request)[0]  # type: ignore[index]
        cap = str(to_usd(100 * est + est // 2))
        jobs = [
            Job(url, str(tmp_path), fake.base_url("openai"), [f"worker {w} asks {n:03d}" for n in range(20)], 4, cap)
            for w in range(8)
        ]
        processes = [start(job) for job in jobs]
        told = Counter(outcome for process in processes for outcome in process.finish())
        assert told == {"bought": 100, "cap_exhausted": 60}
        assert fake.answered_total == fake.attempts == 100
        assert fake.answered_twice == []
        assert Counter(at.states()) == {"settled": 100}
        assert total_spent(at) == 100 * est
        assert_books_balance(at.store)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_at_any_step_leaves_books_that_a_sweep_mends_and_pays_for_nothing_twice(
    url: str, tmp_path: Path, fake: FakeProvider, step: str
) -> None:
    start(Job(url, str(tmp_path), fake.base_url("openai"), ["hello"], die_at=step)).finish()
    answered = fake.answered_total
    assert answered == (1 if step in STEPS[2:] else 0)
    with desk(url, tmp_path, fake, clock=later) as at:
        at.gateway.sweep()
        assert_books_balance(at.store)
        again = at.ask("hello")
        if step == "reserved":
            assert isinstance(again, Answered)
            assert fake.answered_total == 1
            assert sorted(at.states()) == ["settled", "voided"]
        elif step in ("sent", "received"):
            # Whether it was paid nobody here can know, so it is booked and not bought again.
            assert not isinstance(again, Answered)
            assert again.reason == "unknown_outcome"
            assert (fake.answered_total, at.states()) == (answered, ["lost"])
            assert total_spent(at) > 0
        else:
            assert isinstance(again, Answered)
            assert again.hit
            assert (fake.attempts, at.states()) == (1, ["settled"])
        assert fake.answered_twice == []
        assert_books_balance(at.store)


@pytest.mark.slow
def test_two_processes_that_ask_the_same_at_once_make_one_call(url: str, tmp_path: Path, fake: FakeProvider) -> None:
    fake.latency_s = 1.5
    job = Job(url, str(tmp_path), fake.base_url("openai"), ["the same"])
    processes = [start(job), start(job)]
    outcomes = sorted(outcome for process in processes for outcome in process.finish())
    assert outcomes == ["bought", "hit"]
    assert fake.attempts == 1


@pytest.mark.slow
def test_two_processes_share_the_free_calls_of_the_day(url: str, tmp_path: Path, fake: FakeProvider) -> None:
    home, base = str(tmp_path), fake.base_url("openrouter")
    jobs = [
        Job(url, home, base, [f"worker {w} asks {n}" for n in range(9)], 2, provider="openrouter", free_calls=12)
        for w in range(2)
    ]
    processes = [start(job) for job in jobs]
    told = Counter(outcome for process in processes for outcome in process.finish())
    assert told == {"bought": 12, "quota_exhausted": 6}
    assert fake.attempts == 12


@pytest.mark.slow
def test_workers_killed_at_random_and_started_again_finish_the_work_and_pay_each_answer_once(
    url: str, tmp_path: Path, fake: FakeProvider
) -> None:
    fake.latency_s = 0.05
    lots = random.Random(7)
    prompts = [f"question {n}" for n in range(60)]
    job = Job(url, str(tmp_path), fake.base_url("openai"), prompts, THREADS)
    for _ in range(ROUNDS):
        before = fake.attempts
        started = [start(job) for _ in range(WORKERS)]
        wait_for_calls(fake, before)
        time.sleep(lots.uniform(0.0, 0.4))
        for worker in started:
            worker.process.kill()
            worker.finish()
    fake.latency_s = 0.0
    with desk(url, tmp_path, fake, clock=later) as at:
        at.gateway.sweep()
        assert_books_balance(at.store)
        outcomes = [at.ask(prompt) for prompt in prompts]
        refused = [found for found in outcomes if not isinstance(found, Answered)]
        assert {found.reason for found in refused} <= {"unknown_outcome"}
        assert len(refused) <= Counter(at.states())["lost"] <= ROUNDS * WORKERS * THREADS
        assert fake.answered_twice == []
        assert_books_balance(at.store)

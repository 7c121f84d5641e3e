"""Transactions on the books among threads: many in one, each with its own outcome, and nobody left waiting."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from magpie.control import Control
from magpie.llm.journal import BodyFiles
from magpie.llm.reply import Exchange
from magpie.llm.schema import failure_event
from magpie.llm.store import CHANGES_PER_TRANSACTION, Store
from tests.ledger_world import NOON

# Longer than any wait here takes unless something is wrong.
PATIENCE_S = 20


def note(name: str) -> Callable[[sa.Connection], str]:
    """A change that leaves a row behind and returns its name."""

    def change(connection: sa.Connection) -> str:
        row = {"scope": name, "run_id": "r", "at": NOON, "error_class": "x"}
        connection.execute(failure_event.insert(), row)
        return name

    return change


def noted(store: Store) -> list[str]:
    return sorted(store.read(lambda c: c.execute(sa.select(failure_event.c.scope)).scalars()))


class Busy:
    """Keeps the store's leader in its change until it is let go."""

    def __init__(self, store: Store) -> None:
        self._within, self._go = threading.Event(), threading.Event()

        def change(connection: sa.Connection) -> None:
            self._within.set()
            assert self._go.wait(PATIENCE_S)

        self._thread = threading.Thread(target=store.write, args=(change,))
        self._thread.start()
        assert self._within.wait(PATIENCE_S)

    def let_go(self) -> None:
        self._go.set()
        self._thread.join(PATIENCE_S)


def queued(store: Store, changes: list[Callable[[sa.Connection], Any]]) -> list[threading.Thread]:
    """Threads whose changes wait in the store's queue, in this order."""
    threads = []
    for change in changes:
        before = len(store._queue)
        threads.append(threading.Thread(target=store.write, args=(change,)))
        threads[-1].start()
        while len(store._queue) == before:
            threads[-1].join(0.001)
    return threads


def ended(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(PATIENCE_S)
    return not any(thread.is_alive() for thread in threads)


def test_what_queues_while_a_transaction_runs_is_written_in_the_next_one_in_its_order(store: Store) -> None:
    busy = Busy(store)
    seen: list[tuple[int, int]] = []

    def change(number: int) -> Callable[[sa.Connection], None]:
        return lambda connection: seen.append((number, id(connection.get_transaction())))

    threads = queued(store, [change(n) for n in range(CHANGES_PER_TRANSACTION + 6)])
    busy.let_go()
    assert ended(threads)
    assert [number for number, _ in seen] == list(range(CHANGES_PER_TRANSACTION + 6))
    first, second = seen[:CHANGES_PER_TRANSACTION], seen[CHANGES_PER_TRANSACTION:]
    assert len({transaction for _, transaction in first}) == len({transaction for _, transaction in second}) == 1


def test_every_one_of_many_callers_gets_its_own_result_and_all_of_it_is_written(store: Store) -> None:
    names = [f"{n:03d}" for n in range(160)]
    got: dict[str, str] = {}

    def work(mine: list[str]) -> None:
        for name in mine:
            got[name] = store.write(note(name))

    threads = [threading.Thread(target=work, args=(names[n::16],)) for n in range(16)]
    for thread in threads:
        thread.start()
    assert ended(threads)
    assert got == {name: name for name in names}
    assert noted(store) == names


def test_a_change_that_fails_takes_none_of_its_neighbours_with_it(store: Store) -> None:
    busy = Busy(store)
    raised: list[Exception] = []

    def bad(connection: sa.Connection) -> None:
        note("half")(connection)
        raise ValueError("a bug in a change")

    def caller() -> None:
        try:
            store.write(bad)
        except ValueError as error:
            raised.append(error)

    threads = queued(store, [note("before")])
    threads.append(threading.Thread(target=caller))
    threads[-1].start()
    threads += queued(store, [note("after")])
    busy.let_go()
    assert ended(threads)
    assert len(raised) == 1
    assert noted(store) == ["after", "before"]


def test_a_caller_that_is_interrupted_while_it_waits_writes_nothing_and_holds_nobody_up(store: Store) -> None:
    busy = Busy(store)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            store.write(note("interrupted"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    threads = queued(store, [note("later")])
    busy.let_go()
    assert ended(threads)
    assert store.write(note("last")) == "last"
    assert noted(store) == ["last", "later"]


def test_closing_waits_for_the_transaction_and_the_store_opens_again(store: Store) -> None:
    busy = Busy(store)
    closing = threading.Thread(target=store.close)
    closing.start()
    threads = queued(store, [note("queued")])
    busy.let_go()
    assert ended([*threads, closing])
    store.write(note("again"))
    assert noted(store) == ["again", "queued"]


def test_looking_whether_there_are_books_makes_none(tmp_path: Path) -> None:
    control = Control(f"sqlite:///{tmp_path / 'control.db'}")
    store = Store(control)
    assert not store.exists
    assert list(tmp_path.iterdir()) == []
    store.write(note("x"))
    assert store.exists
    store.close()
    control.close()


@pytest.mark.parametrize("end", [0, 1, 20, -3, -1])
def test_a_body_that_a_power_cut_left_half_written_is_not_taken_for_an_answer(tmp_path: Path, end: int) -> None:
    bodies = BodyFiles(tmp_path)
    exchange = Exchange(200, {"date": "today"}, b'{"id": "1",\n "choices": []}')
    bodies.keep("call", exchange)
    assert bodies.find("call") == exchange
    (file,) = tmp_path.glob("*.body")
    whole = file.read_bytes()
    file.write_bytes(whole[:end])
    assert bodies.find("call") is None
    file.write_bytes(whole[:end].ljust(len(whole), b"\0"))
    assert bodies.find("call") is None
    assert bodies.waiting() == ["call"]

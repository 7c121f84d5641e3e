"""Transactions on the books: exclusive, short, and many callers in one.

Belongs here: how a change of the books becomes one committed transaction, on SQLite and Postgres, among threads and
processes. Does not belong here: what a change is (`ledger.py`, `pacing.py`, `breaker.py`).

Every write transaction is alone: on SQLite behind an advisory file lock (its own lock is unfair: a writer was seen to
wait seconds among four) and BEGIN IMMEDIATE, on Postgres behind one advisory lock, because every change touches the
scope `all` anyway. So a change may read and then write without a second thought. Of the threads of a process one at a
time talks to the database: it takes along what the others have queued, one commit and one fsync for all of them, wakes
those it served, and hands on to the first that came after.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from magpie.control import SQLITE_BEGIN, Control, as_user_error
from magpie.errors import Unavailable, UserError
from magpie.llm.schema import metadata

try:
    import fcntl
except ImportError:  # not on Windows, where SQLite's own, unfair lock has to do
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
Change = Callable[[sa.Connection], T]

# The number of Postgres's advisory lock: any, but the same in every version of Magpie ("magpie" as ASCII).
_ADVISORY_LOCK = sa.text(f"SELECT pg_advisory_xact_lock({0x6D6167706965})")
# So many changes at most share a transaction: it stays in the low milliseconds.
CHANGES_PER_TRANSACTION = 64


class LedgerUnavailable(Unavailable):
    """The books cannot be written: no call is made."""


class _Queued(Generic[T]):
    def __init__(self, change: Change[T]) -> None:
        self.change = change
        self.done = self.leads = False
        self.result: T | None = None
        self.error: BaseException | None = None
        # Held until it is done or is to lead; a lock of its own wakes this thread and no other.
        self.asleep = threading.Lock()
        self.asleep.acquire()


class Store:
    """The books in the control database.

    Args:
        control: where they are; tables are made on first use.
        wait_s: so long a transaction waits for its turn before the books count as unavailable.
    """

    def __init__(self, control: Control, *, wait_s: float = 30) -> None:
        self._control = control
        self._queue: deque[_Queued[Any]] = deque()
        self._queueing = threading.Lock()
        # Whether some thread leads: it writes for all.
        self._led = False
        # Around what the leader does, so that closing waits for it.
        self._turn = threading.Lock()
        self._connection: sa.Connection | None = None
        file = control.file
        self._lock = _FileLock(file.with_name(file.name + ".lock"), wait_s) if file and fcntl else None

    def write(self, change: Change[T]) -> T:
        """Run `change` in a committed transaction of its own standing and return what it returned.

        It may be run twice, if another change of the same transaction fails, so it must do nothing but talk to the
        connection.

        Raises:
            LedgerUnavailable: locked, read-only, full or away; nothing of the change is written.
        """
        queued = _Queued(change)
        with self._queueing:
            self._queue.append(queued)
            queued.leads = not self._led
            self._led = True
        try:
            if not queued.leads:
                queued.asleep.acquire()
            while not queued.done:
                with self._turn:
                    self._commit(self._next_batch())
        finally:
            self._leave(queued)
        if queued.error is not None:
            raise queued.error
        return queued.result  # type: ignore[return-value]

    def read(self, query: Change[T]) -> T:
        """Run a query that sees everything committed so far.

        Raises:
            LedgerUnavailable: the database is away.
        """
        try:
            engine = self._control.ensure(metadata)
            with as_user_error(engine), engine.connect() as connection:
                return query(connection)
        except LedgerUnavailable:
            raise
        except UserError as error:
            raise LedgerUnavailable(str(error)) from None

    def append(self, statement: sa.Executable, row: dict[str, Any] | None = None) -> None:
        """Commit one statement that touches no money, without a turn among those that do."""
        try:
            engine = self._control.ensure(metadata)
            with as_user_error(engine), engine.begin() as connection:
                connection.execute(statement, row)
        except UserError as error:
            raise LedgerUnavailable(str(error)) from None

    @property
    def exists(self) -> bool:
        """Whether there may be books; to look into a database file that is not there yet would make it."""
        return self._control.file is None or self._control.file.exists()

    @property
    def single_machine(self) -> bool:
        """The books are a file, so every process that uses them is on this machine."""
        return self._control.file is not None

    def _next_batch(self) -> list[_Queued[Any]]:
        with self._queueing:
            return [self._queue.popleft() for _ in range(min(len(self._queue), CHANGES_PER_TRANSACTION))]

    def _leave(self, queued: _Queued[Any]) -> None:
        """Hand the lead on, if this thread has it; one that was interrupted takes its change out of the queue."""
        with self._queueing:
            if not queued.done and queued in self._queue:
                self._queue.remove(queued)
            heir = self._queue[0] if queued.leads and self._queue else None
            if heir is not None:
                heir.leads = True
            elif queued.leads:
                self._led = False
        if heir is not None:
            heir.asleep.release()

    def _commit(self, batch: list[_Queued[Any]]) -> None:
        try:
            self._transaction(batch)
        except BaseException as error:  # noqa: BLE001  # every caller gets it
            # One bad change must not fail its neighbours; alone, it fails by itself.
            if len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, LedgerUnavailable):
                for queued in batch:
                    self._commit([queued])
                return
            for queued in batch:
                queued.error = error
        finally:
            for queued in batch:
                if not queued.done:
                    queued.done = True
                    queued.asleep.release()

    def _transaction(self, batch: list[_Queued[Any]]) -> None:
        try:
            with as_user_error(self._control.ensure(metadata)), self._alone():
                results = self._run(self._writer(), batch)
        except LedgerUnavailable:
            raise
        except UserError as error:
            raise LedgerUnavailable(str(error)) from None
        for queued, result in zip(batch, results, strict=True):
            queued.result = result

    def _run(self, connection: sa.Connection, batch: list[_Queued[Any]]) -> list[Any]:
        try:
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.execute(_ADVISORY_LOCK)
                return [queued.change(connection) for queued in batch]
        except sa.exc.DBAPIError:
            # Whatever is wrong with it, the next transaction begins on a new one.
            self._connection = None
            connection.invalidate()
            connection.close()
            raise

    def _writer(self) -> sa.Connection:
        """The connection of the thread whose turn it is; taking one from the pool each time costs a query more."""
        if self._connection is None:
            engine = self._control.ensure(metadata)
            self._connection = engine.connect().execution_options(**{SQLITE_BEGIN: "IMMEDIATE"})
        return self._connection

    def close(self) -> None:
        """Give the connection back; the store opens another when it is used again."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _alone(self) -> AbstractContextManager[None]:
        return self._lock or nullcontext()


class _FileLock:
    """An advisory lock between processes: the kernel hands it on, and frees it when its holder dies."""

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path, self._wait_s = path, wait_s
        self._file: int | None = None

    def __enter__(self) -> None:
        try:
            # A bare descriptor: three of them are opened per call, and a file object takes ten times as long.
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            what = f"cannot open {self._path}: {error.strerror}"
            raise LedgerUnavailable(f"{what}; make its directory writable") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _Wait(file).taken_within(self._wait_s):
                raise LedgerUnavailable(
                    f"another process has held {self._path} for {self._wait_s:g} s; end it, or wait and run again"
                ) from None
        self._file = file

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class _Wait:
    """Waiting for a lock with a bound. Blocking on it has none, so a thread blocks, and gives back what comes late."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._state = threading.Lock()
        self._taken = threading.Event()
        self._given_up = False
        threading.Thread(target=self._block, name="ledger-lock", daemon=True).start()

    def taken_within(self, seconds: float) -> bool:
        if self._taken.wait(seconds):
            return True
        with self._state:
            self._given_up = not self._taken.is_set()
        return not self._given_up

    def _block(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._state:
            if self._given_up:
                os.close(self._file)
            else:
                self._taken.set()

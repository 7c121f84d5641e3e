"""The lake under several processes: first writes, contested partitions, readers beside writers, and kill -9."""

import multiprocessing as mp
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from magpie.lake import Lake
from magpie.tables import Partitions, Table
from magpie.warehouse import open_in_memory
from tests.lake_tables import CAMPAIGN_DAILY, DAILY, Daily, campaign_daily, daily, day, days

# Threads of Polars and delta-rs do not survive a fork, so processes are forked from one that has imported all that
# takes long and done nothing, which starts none of those.
FORKSERVER = mp.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["magpie.control", "magpie.lake", "magpie.warehouse", "polars.testing", "pytest"])
START_SECONDS = 60
# The suite has ten minutes for everything; `HYPOTHESIS_PROFILE=thorough make test` takes the time that is promised.
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
KILLS = 25 if THOROUGH else 10
KILL_DAYS = 30  # many files in one commit, so that a kill often falls between the first of them and the commit
RACE_SECONDS = 60 if THOROUGH else 6  # the project promises a minute without an error or a wrong count
WRITERS = 4
CONTESTED = WRITERS  # the day that all writers write; each has its own besides
ROWS = 500


def run_together(target: Callable[..., Any], arguments: list[tuple[Any, ...]], seconds: float) -> list[Any]:
    """Run one process per tuple at the same time; return what each reported, its traceback if it failed."""
    barrier = FORKSERVER.Barrier(len(arguments))
    pipes = [FORKSERVER.Pipe(duplex=False) for _ in arguments]
    processes = [
        FORKSERVER.Process(target=_guarded, args=(target, barrier, sender, given), daemon=True)
        for (_, sender), given in zip(pipes, arguments, strict=True)
    ]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    try:
        reports = [_report(receiver, seconds + START_SECONDS) for receiver, _ in pipes]
        for process in processes:
            process.join(START_SECONDS)
    finally:
        for process in processes:
            process.kill()
    return reports


def _report(receiver: Connection, seconds: float) -> Any:
    assert receiver.poll(seconds), "a process did not report in time"
    return receiver.recv()


def _guarded(target: Callable[..., Any], barrier: Any, sender: Connection, given: tuple[Any, ...]) -> None:
    try:
        barrier.wait(START_SECONDS)
        sender.send(target(*given))
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
        raise


# First writes


def write_own_campaign(root: str, campaign: str) -> int:
    pairs = [(campaign, n) for n in range(3)]
    partitions = Partitions.of((name, day(n)) for name, n in pairs)
    return Lake(root).write(CAMPAIGN_DAILY, campaign_daily(pairs), partitions).rows


@pytest.mark.slow
def test_concurrent_first_writes_make_one_table_and_lose_no_row(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    campaigns = [f"c{n}" for n in range(5)]
    assert run_together(write_own_campaign, [(root, name) for name in campaigns], 30) == [6] * 5
    lake = Lake(root)
    assert_frame_equal(
        lake.read(CAMPAIGN_DAILY).sort(CAMPAIGN_DAILY.key).collect(),
        campaign_daily((name, n) for name in campaigns for n in range(3)),
    )
    operations = [entry["operation"] for entry in lake.history(CAMPAIGN_DAILY)]
    assert operations.count("CREATE TABLE") == 1
    assert len(operations) == 6


def in_threads(count: int, work: Callable[[int], None]) -> None:
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(START_SECONDS)
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))


def test_writers_of_one_partition_all_get_through_and_one_of_them_stands(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    partitions = Partitions.days(days([0]))
    versions: list[int] = []

    def rewrite(number: int) -> None:
        for generation in range(5):
            rows = daily([0], rows=20, generation=number * 10 + generation)
            commit = lake.write(DAILY, rows, partitions, {"writer": str(number)})
            versions.append(commit.version)

    in_threads(6, rewrite)
    stored = lake.read(DAILY).collect()
    assert stored.height == 20
    assert stored["generation"].n_unique() == 1
    assert sorted(versions) == list(range(1, 31))


class DailyWithScore(Daily):
    score = dy.Float64(nullable=True)


def test_writers_that_all_bring_the_same_new_column_get_through(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.write(DAILY, daily([9]), Partitions.days(days([9])))
    wider = Table("daily", DailyWithScore, "", {"day": "day"}, ("day", "n"))

    def widen(number: int) -> None:
        lake.write(wider, wider.shaped(daily([number]).with_columns(score=1.0)), Partitions.days(days([number])))

    in_threads(6, widen)
    stored = lake.read(wider).sort("day", "n").collect()
    assert stored["score"].to_list() == [1.0] * 12 + [None] * 2


# Kill -9


def rewrite_for_ever(root: str, first: int, told: Connection) -> None:
    lake, partitions = Lake(root), Partitions.days(days(range(KILL_DAYS)))
    generation = first
    while True:
        lake.write(DAILY, daily(range(KILL_DAYS), rows=20, generation=generation), partitions)
        told.send(generation)
        generation += 1


def data_files(lake: Lake) -> set[Path]:
    return set(Path(lake.uri(DAILY)).glob("day=*/*.parquet"))


def wait_for_a_new_file(lake: Lake) -> None:
    before, until = data_files(lake), time.monotonic() + START_SECONDS
    while data_files(lake) <= before:
        assert time.monotonic() < until, "the writer did not go on"


def last_told(receiver: Connection) -> int:
    """The newest generation that the killed writer confirmed."""
    newest = 0
    try:
        while receiver.poll():
            newest = receiver.recv()
    except EOFError:
        pass  # the writer's end closed with it
    return newest


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_exactly_one_generation_whole(tmp_path: Path) -> None:
    lake, chance = Lake(str(tmp_path / "lake")), random.Random(7)
    whole = (KILL_DAYS * 20, KILL_DAYS)
    stored = 0
    for kill in range(KILLS):
        receiver, sender = FORKSERVER.Pipe(duplex=False)
        writer = FORKSERVER.Process(target=rewrite_for_ever, args=(lake.root, stored + 1, sender), daemon=True)
        writer.start()
        sender.close()
        assert receiver.poll(START_SECONDS), "the writer did not write"
        if kill % 2:
            wait_for_a_new_file(lake)
        else:
            time.sleep(chance.uniform(0.0, 0.15))
        writer.kill()
        writer.join(START_SECONDS)
        confirmed = last_told(receiver)
        receiver.close()
        rows = lake.read(DAILY).collect()
        assert (rows.height, rows["day"].n_unique()) == whole
        assert rows["generation"].n_unique() == 1
        stored = rows["generation"][0]
        assert stored >= confirmed > 0
        with open_in_memory(lake, [DAILY]) as session:
            query = "SELECT count(*), count(DISTINCT day), min(generation), max(generation) FROM daily"
            assert session.sql(query).fetchall() == [(*whole, stored, stored)]
    assert stored >= KILLS
    committed = sum(entry["operation"] == "WRITE" for entry in lake.history(DAILY)) * KILL_DAYS
    assert len(data_files(lake)) > committed, "no kill fell into a write, so nothing was shown"
    lake.write(DAILY, daily(range(3)), Partitions.days(days(range(KILL_DAYS))))
    assert_frame_equal(lake.read(DAILY).sort("day", "n").collect(), daily(range(3)))


# Readers beside writers


def keep_writing(root: str, writer: int, until: float) -> int:
    lake, generation = Lake(root), 0
    while time.time() < until:
        generation += 1
        target = CONTESTED if generation % 4 == 0 else writer
        stamp = generation * WRITERS + writer
        lake.write(DAILY, daily([target], rows=ROWS, generation=stamp), Partitions.days(days([target])))
    return generation


def keep_reading(root: str, how: str, until: float) -> int:
    lake, reads, newest = Lake(root), 0, dict[Any, int]()
    while time.time() < until:
        found = _summary(lake, how)
        assert [(row[1], row[2]) for row in found] == [(ROWS, 1)] * (WRITERS + 1), f"read {reads}: {found}"
        for partition, _, _, generation in found[:WRITERS]:
            assert generation >= newest.get(partition, 0), f"{partition} went back to {generation}"
            newest[partition] = generation
        reads += 1
    return reads


def _summary(lake: Lake, how: str) -> list[tuple[Any, ...]]:
    """Day, rows, number of generations and the newest of each partition."""
    if how == "polars":
        grouped = lake.read(DAILY).group_by("day")
        counts = (pl.len(), pl.n_unique("generation").alias("generations"), pl.max("generation"))
        return grouped.agg(*counts).sort("day").collect().rows()
    with open_in_memory(lake, [DAILY]) as session:
        return session.sql(
            "SELECT day, count(*), count(DISTINCT generation), max(generation) FROM daily GROUP BY day ORDER BY day"
        ).fetchall()


def work_beside_others(role: str, root: str, number: int, seconds: float) -> int:
    until = time.time() + seconds
    return keep_writing(root, number, until) if role == "write" else keep_reading(root, role, until)


@pytest.mark.slow
def test_four_writers_and_four_readers_see_no_error_and_no_wrong_count(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    everything = range(WRITERS + 1)
    lake.write(DAILY, daily(everything, rows=ROWS), Partitions.days(days(everything)))
    roles = ["write"] * WRITERS + ["duckdb", "duckdb", "polars", "polars"]
    given = [(role, lake.root, number % WRITERS, RACE_SECONDS) for number, role in enumerate(roles)]
    reports = run_together(work_beside_others, given, RACE_SECONDS)
    assert all(isinstance(report, int) and report > 0 for report in reports), reports
    stored = lake.open(DAILY)
    assert stored is not None
    assert stored.version() == 1 + sum(reports[:WRITERS])
    assert _summary(lake, "polars") == _summary(lake, "duckdb")

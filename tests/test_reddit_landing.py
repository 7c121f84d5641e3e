"""The landing reads each archive file once, survives crashes and neighbours, and gives days back exactly."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.sources import reddit_landing
from magpie.sources.archive_files import Block, UnreadableFile
from magpie.sources.reddit_landing import Landing

REAL = Path(__file__).parents[2] / "shared/data/reddit"
needs_real_files = pytest.mark.skipif(not REAL.is_dir(), reason="the real files in ../shared/data/reddit are absent")
FIRST = datetime(2020, 12, 1, tzinfo=UTC)
MAX_LINE = 1 << 20


def post(number: int, day: int = 0, **changes: Any) -> dict[str, Any]:
    created = int((FIRST + timedelta(days=day, seconds=number)).timestamp())
    row = {"id": f"a{number}", "created_utc": created, "subreddit": "crm", "title": f"post {number}", "selftext": "x"}
    return {**row, **changes}


def write(path: Path, rows: list[dict[str, Any]], *more: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"".join(json.dumps(row).encode() + b"\n" for row in rows) + b"".join(line + b"\n" for line in more)
    )
    return path


def landing_in(folder: Path, *patterns: str) -> Landing:
    return Landing(folder / "landing", folder, patterns or ("dumps",), MAX_LINE)


def days(*numbers: int) -> list[date]:
    return [(FIRST + timedelta(days=number)).date() for number in numbers]


def ids(landing: Landing, *numbers: int) -> list[str]:
    return sorted(landing.posts(days(*numbers)).collect()["fullname"])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, in order."""
    seen: list[str] = []
    read = reddit_landing.blocks

    def counted(path: Path, **options: Any) -> Iterator[Block]:
        seen.append(path.name)
        return read(path, **options)

    monkeypatch.setattr(reddit_landing, "blocks", counted)
    return seen


def test_each_file_is_read_once_however_often_days_are_asked_for(tmp_path: Path, reads: list[str]) -> None:
    write(tmp_path / "dumps/a.ndjson", [post(1), post(2, 1)])
    write(tmp_path / "dumps/b.ndjson", [post(3)])
    for _ in range(2):
        landing = landing_in(tmp_path)
        landing.ensure()
        assert ids(landing, 0) == ["t3_a1", "t3_a3"]
        assert ids(landing, 1) == ["t3_a2"]
    assert reads == ["a.ndjson", "b.ndjson"]


def test_a_changed_file_is_read_anew_and_the_others_are_not(tmp_path: Path, reads: list[str]) -> None:
    write(tmp_path / "dumps/a.ndjson", [post(1)], b"broken")
    write(tmp_path / "dumps/b.ndjson", [post(3)])
    landing = landing_in(tmp_path)
    landing.ensure()
    before = landing.fingerprints()
    write(tmp_path / "dumps/a.ndjson", [post(1), post(2)])
    assert landing.fingerprints() != before
    landing.ensure()
    assert reads == ["a.ndjson", "b.ndjson", "a.ndjson"]
    assert ids(landing, 0) == ["t3_a1", "t3_a2", "t3_a3"]
    assert landing.bad_lines().is_empty()


def test_a_file_of_the_same_size_with_a_newer_time_is_read_anew(tmp_path: Path, reads: list[str]) -> None:
    path = write(tmp_path / "dumps/a.ndjson", [post(1)])
    landing_in(tmp_path).ensure()
    write(path, [post(2)])
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    landing = landing_in(tmp_path)
    landing.ensure()
    assert ids(landing, 0) == ["t3_a2"]


def test_a_removed_file_takes_its_posts_and_bad_lines_along(tmp_path: Path) -> None:
    write(tmp_path / "dumps/a.ndjson", [post(1)])
    gone = write(tmp_path / "dumps/b.ndjson", [post(2)], b"broken")
    landing = landing_in(tmp_path)
    landing.ensure()
    gone.unlink()
    landing.ensure()
    assert ids(landing, 0) == ["t3_a1"]
    assert landing.bad_lines().is_empty()
    assert [manifest.source_file for manifest in landing.manifests()] == ["dumps/a.ndjson"]


def test_posts_of_days_are_those_days_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reddit_landing, "ROWS_PER_PART", 10)
    write(tmp_path / "dumps/a.ndjson", [post(number, number % 7) for number in range(70)])
    landing = landing_in(tmp_path)
    landing.ensure()
    found = landing.posts(days(2, 5)).collect()
    assert sorted(found["day"].unique()) == days(2, 5)
    assert found.height == 20
    assert found["source_file"].unique().to_list() == ["dumps/a.ndjson"]
    assert landing.posts([]).collect().is_empty()
    assert landing.posts(days(40)).collect().is_empty()
    assert (landing.days()[0], landing.days()[-1]) == tuple(days(0, 6))


def test_a_manifest_tells_what_one_pass_found(tmp_path: Path) -> None:
    path = write(tmp_path / "dumps/a.ndjson", [post(1), post(2, 3)], b"broken", b"", b'{"id": "x"}')
    (manifest,) = landing_in(tmp_path).ensure()
    assert (manifest.lines, manifest.rows, manifest.bad_lines) == (5, 2, 2)
    assert (manifest.bytes, manifest.modified_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert manifest.min_created == (FIRST + timedelta(seconds=1)).isoformat()
    assert manifest.max_created == (FIRST + timedelta(days=3, seconds=2)).isoformat()


def test_bad_lines_name_file_line_reason_and_field_and_not_the_text(tmp_path: Path) -> None:
    write(tmp_path / "dumps/a.ndjson", [post(1)], b"secret", b'{"id": "x"}', b"\xff", b"x" * (MAX_LINE + 1))
    landing = landing_in(tmp_path)
    landing.ensure()
    assert landing.bad_lines().sort("line_no").rows() == [
        ("dumps/a.ndjson", 2, "invalid_json", None),
        ("dumps/a.ndjson", 3, "missing_field", "created_utc"),
        ("dumps/a.ndjson", 4, "invalid_utf8", None),
        ("dumps/a.ndjson", 5, "too_long", None),
    ]


def test_an_unreadable_file_is_named_in_one_line_after_all_others_have_landed(tmp_path: Path) -> None:
    write(tmp_path / "dumps/a.zst", [post(1)])
    write(tmp_path / "dumps/b.zst", [post(1)])
    write(tmp_path / "dumps/c.ndjson", [post(3)])
    landing = landing_in(tmp_path)
    with pytest.raises(UnreadableFile, match=r"a\.zst: it is no \.zst file .* \(and 1 more files\)"):
        landing.ensure()
    assert ids(landing, 0) == ["t3_a3"]


def test_deleted_posts_and_authors_are_blanked_in_the_landed_copies(tmp_path: Path) -> None:
    url = "https://example.org"
    rows = [post(n, author="someone", url=url, permalink=f"/r/crm/comments/a{n}/the_title/") for n in (1, 2, 3)]
    write(tmp_path / "dumps/a.ndjson", rows)
    landing = landing_in(tmp_path)
    landing.ensure()
    deleted = pl.DataFrame({"fullname": ["t3_a1", "t3_a2"], "kind": ["post", "author"]})
    assert landing.purge(deleted) == 1
    assert landing.purge(deleted) == 0
    kept = "fullname", "title", "text", "author", "url", "permalink", "content_state"
    found = landing_in(tmp_path).posts(days(0)).select(kept).collect().sort("fullname").rows()
    assert found == [
        ("t3_a1", None, "", None, None, "/r/crm/comments/a1/", "deleted"),
        ("t3_a2", "post 2", "x", None, url, "/r/crm/comments/a2/the_title/", "ok"),
        ("t3_a3", "post 3", "x", "someone", url, "/r/crm/comments/a3/the_title/", "ok"),
    ]


def _land_slowly(folder: Path, log: Path, seconds: float) -> None:
    """Land in a process of its own, noting each file that is read, and taking its time over every block."""
    read = reddit_landing.blocks

    def slow(path: Path, **options: Any) -> Iterator[Block]:
        with log.open("a") as file:
            file.write(f"{path.name}\n")
        for block in read(path, block_bytes=2000, **options):
            time.sleep(seconds)
            yield block

    reddit_landing.blocks = slow  # type: ignore[assignment]
    reddit_landing.ROWS_PER_PART = 50
    landing_in(folder).ensure()


def _started(folder: Path, log: Path, seconds: float) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=_land_slowly, args=(folder, log, seconds))
    process.start()
    return process


def test_a_pass_that_is_killed_leaves_nothing_half_and_the_next_one_completes(tmp_path: Path) -> None:
    write(tmp_path / "dumps/a.ndjson", [post(number) for number in range(2000)])
    process = _started(tmp_path, tmp_path / "log", 0.05)
    while not list(tmp_path.glob("landing/*.building/part-*.parquet")):
        assert process.is_alive()
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    landing = landing_in(tmp_path)
    assert landing.manifests() == []
    assert landing.posts(days(0)).collect().is_empty()
    landing.ensure()
    assert len(ids(landing, 0)) == 2000
    assert not list(tmp_path.glob("landing/*.building"))


def test_two_processes_that_land_the_same_file_read_it_once(tmp_path: Path) -> None:
    write(tmp_path / "dumps/a.ndjson", [post(number) for number in range(300)])
    log = tmp_path / "log"
    processes = [_started(tmp_path, log, 0.01) for _ in range(2)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert log.read_text().split() == ["a.ndjson"]
    assert len(ids(landing_in(tmp_path), 0)) == 300


def test_progress_counts_lines_and_posts_of_each_file(tmp_path: Path) -> None:
    write(tmp_path / "dumps/a.ndjson", [post(1), post(2)], b"broken")
    told: list[tuple[str, int, int]] = []
    landing_in(tmp_path).ensure(lambda *news: told.append(news))
    assert told[-1] == ("dumps/a.ndjson", 3, 2)


def _land_real(tmp_path: Path, *names: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    landing = Landing(tmp_path / "landing", REAL, names, 16 << 20)
    landing.ensure()
    found = landing.days()
    span = [found[0] + timedelta(days=n) for n in range((found[-1] - found[0]).days + 1)]
    return landing.posts(span).collect(), landing.bad_lines()


@needs_real_files
def test_the_real_pushshift_file_lands_whole(tmp_path: Path) -> None:
    posts, bad = _land_real(tmp_path, "pushshift_wallstreetbets_submissions.ndjson")
    assert (posts.height, posts["fullname"].n_unique(), bad.height) == (1300, 1100, 0)


@needs_real_files
@pytest.mark.parametrize(("kind", "lines"), [("submissions", 3082), ("comments", 5058)])
def test_the_real_objects_of_the_api_land_but_for_placeholders(tmp_path: Path, kind: str, lines: int) -> None:
    posts, bad = _land_real(tmp_path, f"asyncpraw_api_{kind}.ndjson.zst")
    assert posts.height + bad.height == lines
    assert bad.height < 20
    assert set(bad["field"].unique()) <= {"subreddit"}


@needs_real_files
def test_the_real_snapshots_of_2026_are_28_posts_seen_again_and_again(tmp_path: Path) -> None:
    posts, bad = _land_real(tmp_path, "snapshots2026_*.jsonl")
    assert bad.is_empty()
    assert posts["fullname"].n_unique() == 28
    assert posts.height > 28
    assert posts["retrieved_at"].null_count() == 0

"""The control database, on SQLite and on a real Postgres."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from magpie.control import Control, Pending
from magpie.errors import UserError
from tests.test_lake_races import run_together

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)


@pytest.fixture
def control(url: str) -> Iterator[Control]:
    opened = Control(url)
    yield opened
    opened.close()


def test_constructing_one_touches_nothing(tmp_path: Path) -> None:
    Control(f"sqlite:///{tmp_path / 'deep' / 'control.db'}")
    assert list(tmp_path.iterdir()) == []


def test_deletions_are_appended_once_and_keep_their_first_time(control: Control) -> None:
    later = NOW + timedelta(days=1)
    assert control.record_deletions([("t3_a", "post"), ("t1_b", "author"), ("t3_a", "post")], NOW) == 2
    assert control.record_deletions([("t3_a", "post"), ("t3_a", "author")], later) == 1
    assert control.record_deletions([], later) == 0
    stored = control.deleted()
    assert sorted(stored.rows()) == [("t1_b", "author", NOW), ("t3_a", "author", later), ("t3_a", "post", NOW)]


def test_no_deletion_recorded_is_a_typed_empty_frame(control: Control) -> None:
    stored = control.deleted()
    assert stored.is_empty()
    assert stored.columns == ["fullname", "kind", "detected_at"]


def test_thousands_of_deletions_are_counted_right(control: Control) -> None:
    events = [(f"t3_{n}", "post") for n in range(1201)]
    assert control.record_deletions(events[:700], NOW) == 700
    assert control.record_deletions(events, NOW) == 501
    assert control.deleted().height == 1201


def test_what_waits_is_replaced_per_partition_and_nothing_else_is_touched(control: Control) -> None:
    kept = Pending("ranked", "a|2026-01-03", "cap_reached", 1, None)
    other = Pending("drafts", "a|2026-01-01", "cap_reached", 9, NOW)
    first = [
        Pending("ranked", "a|2026-01-01", "cap_reached", 5, NOW),
        Pending("ranked", "a|2026-01-01", "quota", 2, None),
        Pending("ranked", "a|2026-01-02", "quota", 3, NOW),
    ]
    control.record_pending("drafts", [other.partition], [other])
    control.record_pending("ranked", ["a|2026-01-01", "a|2026-01-02", "a|2026-01-03"], [*first, kept])
    assert control.pending() == [other, *first, kept]
    fresh = Pending("ranked", "a|2026-01-02", "review", 4, None)
    control.record_pending("ranked", ["a|2026-01-01", "a|2026-01-02"], [fresh])
    assert control.pending() == [other, fresh, kept]
    control.record_pending("ranked", ["a|2026-01-02"], [])
    assert control.pending() == [other, kept]


def test_a_year_of_partitions_is_replaced_in_one_go(control: Control) -> None:
    names = [f"a|{n:04}" for n in range(1100)]
    control.record_pending("ranked", names, [Pending("ranked", name, "quota", 1, None) for name in names])
    control.record_pending("ranked", names, [Pending("ranked", names[-1], "quota", 2, NOW)])
    assert control.pending() == [Pending("ranked", names[-1], "quota", 2, NOW)]


def test_a_failed_report_leaves_the_old_one(control: Control) -> None:
    old = Pending("ranked", "a", "quota", 1, NOW)
    control.record_pending("ranked", ["a"], [old])
    with pytest.raises(sa.exc.IntegrityError):
        control.record_pending("ranked", ["a"], [Pending("ranked", "a", "cap", 2, None)] * 2)
    assert control.pending() == [old]


def write_from_a_process(url: str, writer: int) -> int:
    control, new = Control(url), 0
    for turn in range(20):
        new += control.record_deletions([(f"t3_{turn}", "post"), (f"t3_{writer}_{turn}", "post")], NOW)
        mine, shared = f"w{writer}", "shared"
        found = [Pending("ranked", name, f"reason-{writer}", turn, None) for name in (mine, shared)]
        control.record_pending("ranked", [mine, shared], found)
    control.close()
    return new


@pytest.mark.slow
def test_processes_that_open_and_write_at_once_lose_and_repeat_nothing(url: str) -> None:
    found = run_together(write_from_a_process, [(url, writer) for writer in range(4)], 120)
    assert all(isinstance(new, int) for new in found), found
    assert sum(found) == 100
    control = Control(url)
    stored, waiting = control.deleted(), control.pending()
    control.close()
    assert stored.height == stored.unique(["fullname", "kind"]).height == 100
    assert [item.partition for item in waiting] == ["shared", "w0", "w1", "w2", "w3"]
    assert {item.rows for item in waiting} == {19}


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "hunter2" not in text
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__
    return text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://magpie:hunter2@127.0.0.1:1/control",
        "postgresql://127.0.0.1:1/control?user=magpie&password=hunter2",
    ],
)
def test_a_server_that_is_away_gives_one_line_without_the_password(url: str) -> None:
    with pytest.raises(UserError, match=r"control database postgresql\+psycopg2://.*127\.0\.0\.1") as error:
        Control(url).pending()
    assert "refused" in one_line(error)


@pytest.mark.parametrize(
    "url",
    ["postgres://magpie:hunter2@db/control", "hunter2", "postgresql://u:hunter2@db:port/c", "mysql://u:hunter2@d/c"],
)
def test_an_url_that_names_no_database_gives_one_line_without_the_password(url: str) -> None:
    with pytest.raises(UserError, match="write sqlite:///FILE or postgresql://") as error:
        Control(url).pending()
    one_line(error)


def test_a_file_that_is_no_database_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(UserError, match=r"control\.db: file is not a database") as error:
        Control(f"sqlite:///{tmp_path}/control.db").deleted()
    one_line(error)


def test_a_directory_that_cannot_be_made_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UserError, match="cannot open the control database") as error:
        Control(f"sqlite:///{tmp_path}/file/control.db").deleted()
    one_line(error)


def test_a_read_only_database_can_be_read_and_says_so_when_written(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    writable = Control(f"sqlite:///{path}")
    writable.record_deletions([("t3_a", "post")], NOW)
    writable.close()
    control = Control(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert control.deleted().height == 1
    with pytest.raises(UserError, match="attempt to write a readonly database") as error:
        control.record_deletions([("t3_b", "post")], NOW)
    one_line(error)
    control.close()


def test_a_database_locked_for_longer_than_a_writer_waits_gives_one_line_and_works_again_after(tmp_path: Path) -> None:
    control = Control(f"sqlite:///{tmp_path / 'control.db'}", busy_seconds=0.1)
    control.engine()
    other = sqlite3.connect(tmp_path / "control.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UserError, match="database is locked") as error:
        control.record_deletions([("t3_a", "post")], NOW)
    one_line(error)
    assert control.deleted().is_empty()
    other.rollback()
    other.close()
    assert control.record_deletions([("t3_a", "post")], NOW) == 1
    control.close()


def test_a_writer_waits_for_another_and_then_gets_through(url: str) -> None:
    first, second = Control(url), Control(url)
    assert first.record_deletions([("t3_a", "post")], NOW) == 1
    assert second.record_deletions([("t3_a", "post"), ("t3_b", "post")], NOW) == 1
    assert first.deleted().height == 2
    first.close()
    second.close()

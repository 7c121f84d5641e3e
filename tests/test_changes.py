"""Which days have to be made anew: after new files, changed files and deletions."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from leads_world import DAY, NOON, a_post, a_world

from magpie.days import ranges
from magpie.leads.changes import Seen, after, reach, stale_files
from magpie.sources.reddit_landing import Landing

NOTHING = pl.DataFrame(schema={"fullname": pl.String, "kind": pl.String})
Write = Callable[..., None]


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    (tmp_path / "dumps").mkdir()
    return Landing(tmp_path / "landing", tmp_path, ["dumps"], 1 << 20)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, *days: date) -> None:
        lines = [
            json.dumps(
                {
                    "id": f"{name[0]}{n}",
                    "title": "crm",
                    "selftext": "",
                    "subreddit": "x",
                    "author": "y",
                    "permalink": f"/r/x/comments/{name[0]}{n}/crm/",
                    "score": 1,
                    "created_utc": int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()),
                }
            )
            for n, day in enumerate(days)
        ]
        (tmp_path / "dumps" / name).write_text("\n".join(lines) + "\n")

    return put


def test_a_file_is_stale_until_it_is_landed_and_again_when_it_changes(landing: Landing, write: Write) -> None:
    write("a_submissions.ndjson", DAY)
    assert stale_files(landing) == ["dumps/a_submissions.ndjson"]
    landing.land()
    assert stale_files(landing) == []
    write("a_submissions.ndjson", DAY, DAY)
    write("b_submissions.ndjson", DAY)
    assert stale_files(landing) == ["dumps/a_submissions.ndjson", "dumps/b_submissions.ndjson"]


def test_the_days_of_landed_files_wait_once(landing: Landing, write: Write) -> None:
    lake = a_world([]).lake
    write("a_submissions.ndjson", DAY, DAY + timedelta(days=2))
    assert after(Seen.read(None), landing, lake, NOTHING).waiting == (), "not landed yet"
    landing.land()
    seen = after(Seen.read(None), landing, lake, NOTHING)
    assert seen.waiting == (DAY, DAY + timedelta(days=2))
    dealt_with = Seen(seen.files, seen.deletions, ())
    assert after(dealt_with, landing, lake, NOTHING).waiting == ()
    assert after(seen, landing, lake, NOTHING).waiting == seen.waiting, "what waits goes on waiting"
    write("b_submissions.ndjson", DAY + timedelta(days=5))
    landing.land()
    assert after(dealt_with, landing, lake, NOTHING).waiting == (DAY + timedelta(days=5),)


def test_the_days_of_posts_deleted_since_wait(landing: Landing) -> None:
    posts = [a_post("t3_a"), a_post("t3_b", at=NOON - timedelta(days=1)), a_post("t3_c", at=NOON - timedelta(days=2))]
    lake = a_world(posts).make_all([DAY - timedelta(days=n) for n in range(3)]).lake
    deleted = pl.DataFrame({"fullname": ["t3_c", "t3_b", "t3_unknown"], "kind": ["post", "author", "post"]})
    seen = after(Seen({}, 1, ()), landing, lake, deleted)
    assert (seen.waiting, seen.deletions) == ((DAY - timedelta(days=1),), 3)
    assert after(Seen({}, 3, ()), landing, lake, deleted).waiting == ()


def test_what_was_seen_survives_being_written_down() -> None:
    seen = Seen({"dumps/ä.zst": "1-2"}, 3, (DAY,))
    assert Seen.read(seen.dump()) == seen
    assert Seen.read(None) == Seen.read("") == Seen({}, 0, ())


def test_a_changed_day_reaches_as_far_as_the_windows_that_hold_it() -> None:
    first, last = DAY - timedelta(days=3), DAY + timedelta(days=50)
    assert reach([DAY], first, last, 1) == [DAY]
    month = reach([DAY], first, last, 30)
    assert (month[0], month[-1], len(month)) == (DAY, DAY + timedelta(days=29), 30)
    assert reach([DAY, DAY + timedelta(days=1)], first, last, 2) == [DAY + timedelta(days=n) for n in range(3)]
    assert reach([DAY], first, DAY + timedelta(days=1), 30) == [DAY, DAY + timedelta(days=1)]
    assert reach([first - timedelta(days=1)], first, last, 2) == [first], "its own day is offered no longer"
    assert reach([], first, last, 30) == []


def test_days_are_requested_as_contiguous_ranges() -> None:
    days = [DAY + timedelta(days=n) for n in (5, 0, 1, 2, 7, 8)]
    assert ranges(days) == [
        (DAY, DAY + timedelta(days=2)),
        (DAY + timedelta(days=5), DAY + timedelta(days=5)),
        (DAY + timedelta(days=7), DAY + timedelta(days=8)),
    ]
    assert ranges([date(2026, 2, 28), date(2026, 3, 1)]) == [(date(2026, 2, 28), date(2026, 3, 1))]
    assert ranges([]) == []

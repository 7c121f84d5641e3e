"""Keeping deletions final: landed copies are blanked at once, old versions of tables go while deletions wait."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from leads_world import DAY, a_post, a_world
from mentions_world import a_video, rows_of

from magpie import maintenance
from magpie.control import Control
from magpie.lake import VACUUM_RETENTION, Lake
from magpie.leads import tables as t
from magpie.sources.reddit_landing import Landing
from magpie.tables import Partitions
from magpie.videos.tables import VIDEOS

SUNDAY = datetime(2026, 3, 22, 4, tzinfo=UTC)
MONDAY = SUNDAY + timedelta(days=1)
SECRET = "zanzibarsecret"


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    opened = Control(f"sqlite:///{tmp_path / 'control.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    (tmp_path / "dumps").mkdir()
    lines = [
        {
            "id": name,
            "title": f"crm {SECRET} {name}",
            "selftext": SECRET,
            "subreddit": "x",
            "author": f"{SECRET}_{name}",
            "permalink": f"/r/x/comments/{name}/{SECRET}/",
            "url": f"https://example.org/{SECRET}",
            "score": 1,
            "created_utc": 1_774_000_000,
        }
        for name in ("a", "b", "c")
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "dumps" / "RS_2026-03.ndjson").write_text(text)
    found = Landing(tmp_path / "landing", tmp_path, ["dumps"], 1 << 20)
    found.land()
    return found


def run(
    control: Control, landing: Landing, now: datetime, lake: Lake | None = None, videos: Path = Path("nowhere")
) -> maintenance.Maintenance:
    tables = [] if lake is None else [t.REDDIT_POSTS]
    return maintenance.run(lake or a_world([]).lake, control, landing, videos, tables, now=now)


def landed(landing: Landing, name: str) -> dict[str, object]:
    days = landing.days()
    return landing.posts(days).filter(pl.col("fullname") == name).collect().row(0, named=True)


def test_old_versions_go_on_sundays_while_nothing_waits(control: Control, landing: Landing) -> None:
    weekdays = {
        (MONDAY + timedelta(days=n)).weekday(): run(control, landing, MONDAY + timedelta(days=n)) for n in range(7)
    }
    assert [day for day, done in weekdays.items() if done.vacuumed] == [6]
    assert weekdays[0].summary == "no vacuum due, 0 landed parts, 0 files of videos and 0 journalled answers blanked"
    assert (
        weekdays[6].summary == "0 old files removed, 0 landed parts, 0 files of videos and 0 journalled answers blanked"
    )


def test_old_versions_go_every_day_until_none_can_hold_a_deleted_post(control: Control, landing: Landing) -> None:
    control.record_deletions([("t3_a", "post")], MONDAY - timedelta(days=1))
    done = run(control, landing, MONDAY)
    assert done.vacuumed
    assert done.waiting_days == 1.0
    assert "the oldest deletion still in old versions is 1.0 days old" in done.summary
    last = MONDAY - timedelta(days=1) + 2 * VACUUM_RETENTION
    assert run(control, landing, last - timedelta(seconds=1)).vacuumed
    after = last + timedelta(days=1)
    assert after.weekday() != maintenance.VACUUM_WEEKDAY
    assert not run(control, landing, after).vacuumed
    assert maintenance.waiting_days(control, after) is None


def test_the_oldest_of_several_deletions_is_told(control: Control) -> None:
    control.record_deletions([("t3_a", "post")], MONDAY - timedelta(days=5))
    control.record_deletions([("t3_b", "post")], MONDAY - timedelta(days=2))
    assert maintenance.waiting_days(control, MONDAY) == 5.0


def test_deleted_posts_leave_the_landed_copies_and_stay_out_of_them(control: Control, landing: Landing) -> None:
    control.record_deletions([("t3_a", "post"), ("t3_b", "author")], MONDAY)
    assert run(control, landing, MONDAY).parts_blanked == 1
    gone = landed(landing, "t3_a")
    assert SECRET not in str(gone)
    assert (gone["content_state"], gone["text"], gone["title"], gone["author"]) == ("deleted", "", None, None)
    nameless = landed(landing, "t3_b")
    assert (nameless["author"], nameless["text"]) == (None, SECRET)
    assert landed(landing, "t3_c")["author"] == f"{SECRET}_c"
    assert run(control, landing, MONDAY).parts_blanked == 0, "nothing is rewritten twice"


def test_a_vacuum_removes_what_only_old_versions_hold(control: Control, landing: Landing, tmp_path: Path) -> None:
    world = a_world([a_post("t3_a", SECRET)], home=tmp_path, control=control).make_all([DAY])
    control.record_deletions([("t3_a", "post")], MONDAY)
    world.make_all([DAY])
    table = tmp_path / "lake" / t.REDDIT_POSTS.name

    def held() -> int:
        return sum(
            SECRET in str(pl.read_parquet(path, hive_partitioning=False).rows()) for path in table.rglob("*.parquet")
        )

    assert held() == 1, "the version before still holds it"
    assert run(control, landing, MONDAY, world.lake).files_removed == 0, "younger than a week"
    assert world.lake.vacuum(t.REDDIT_POSTS, retention=timedelta(0)) == 1
    assert held() == 0


def test_a_deleted_post_leaves_the_live_crawls_own_files_but_not_the_dumps_people_brought(
    control: Control, tmp_path: Path
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    crawled = {
        "name": "t3_d",
        "id": "d",
        "title": f"crm {SECRET}",
        "selftext": SECRET,
        "author": SECRET,
        "subreddit": "x",
        "permalink": f"/r/x/comments/d/{SECRET}/",
        "created_utc": 1_774_000_000,
        "source": "live",
        "matched_queries": ["crm"],
    }
    kept = crawled | {"name": "t3_e", "id": "e"}
    file = live / "live_20260322T030000Z.ndjson"
    file.write_text(json.dumps(crawled) + "\n" + "no json\n" + json.dumps(kept) + "\n")
    brought = tmp_path / "dumps" / "RS_2026-03.ndjson"
    brought.parent.mkdir()
    brought.write_text(json.dumps(crawled) + "\n")
    found = Landing(tmp_path / "landing", tmp_path, ["dumps"], 1 << 20, live=live)
    found.land()
    control.record_deletions([("t3_d", "post")], MONDAY)
    run(control, found, MONDAY)
    lines = file.read_text().splitlines()
    assert SECRET not in lines[0]
    assert lines[1:] == ["no json", json.dumps(kept)]
    assert SECRET in brought.read_text()
    found.land()
    posts = found.posts(found.days()).filter(pl.col("source_file").str.contains("live")).collect()
    states = dict(posts.select("fullname", "content_state").iter_rows())
    assert states == {"t3_d": "deleted", "t3_e": "ok"}
    before = file.stat().st_mtime_ns
    run(control, found, MONDAY)
    assert file.stat().st_mtime_ns == before


def test_texts_of_posts_do_not_enter_the_tables_log_which_outlives_a_vacuum(tmp_path: Path) -> None:
    world = a_world([a_post("t3_a", f"CRM {SECRET}", SECRET)], home=tmp_path)
    world.make_all([DAY])
    logs = b"".join(path.read_bytes() for path in tmp_path.glob("lake/*/_delta_log/*.json"))
    assert b"numRecords" in logs
    assert SECRET.encode() not in logs


def test_a_video_that_is_gone_leaves_fetched_files_and_answers_until_it_is_seen_again(
    control: Control, landing: Landing, tmp_path: Path
) -> None:
    folder = tmp_path / "live" / "UCsampleTeapotTape000001"
    folder.mkdir(parents=True)
    for name in ("gone_video1", "gone_video2", "kept_video1"):
        told = {
            "id": name,
            "title": SECRET,
            "description": SECRET,
            "channel_id": folder.name,
            "timestamp": 1_774_000_000,
        }
        (folder / f"{name}.info.json").write_text(json.dumps(told))
        (folder / f"{name}.en.vtt").write_text(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{SECRET}\n")
    control.record_deletions([("gone_video1", "video"), ("gone_video2", "video")], MONDAY)
    lake = Lake(str(tmp_path / "lake"))
    seen_again = rows_of(VIDEOS, [a_video("gone_video2", DAY, channel_id=folder.name, first_seen_at=MONDAY)])
    lake.write(VIDEOS, seen_again, Partitions({folder.name: frozenset({DAY})}))
    done = run(control, landing, MONDAY, lake, folder.parent)
    assert done.video_files_blanked == 2
    assert sorted(path.name for path in folder.glob("*.vtt")) == ["gone_video2.en.vtt", "kept_video1.en.vtt"]
    left = json.loads((folder / "gone_video1.info.json").read_text())
    assert left == {"id": "gone_video1", "channel_id": folder.name, "timestamp": 1_774_000_000}
    assert run(control, landing, MONDAY, lake, folder.parent).video_files_blanked == 0, "nothing is rewritten twice"

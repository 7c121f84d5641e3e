"""Assets of memes over partition ranges, what they show, and what one bad file, post or picture costs the others."""

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.partitions import day_range, platforms_range
from magpie.memes import tables as t
from magpie.tables import Partitions, Table
from runs.runner import failure_lines
from schedules.memes import MEME_DAYS, MEME_LANDING, QUEUE_DAYS, REACTION_DAYS
from tests.dagster_world import (
    MEME_FIRST,
    MEME_LAST,
    Made,
    World,
    changed,
    days_between,
    filled_memes,
    made_memes,
    rows,
    versions,
)
from tests.instances import fresh_instance
from tests.memes_world import (
    CATS,
    D0,
    assert_same,
    day_of,
    drawn,
    event,
    exported,
    located,
    memes_over,
    message,
    noon,
    stored,
    telegram_range,
    told,
)

__all__ = ["filled_memes", "made_memes"]

PER_PLATFORM = tuple(table for table in t.TABLES if table.name in MEME_DAYS)
PER_DAY = tuple(table for table in t.TABLES if table.name in REACTION_DAYS)
# Three days with copies across platforms, ads, broken pictures and a video among them.
EARLY, LATE = date(2026, 3, 5), date(2026, 3, 7)
SENT_FIRST = date(2026, 3, 8)


def grown(world: World, was: dict[str, int]) -> dict[str, int]:
    now = versions(world.lake, t.TABLES)
    return {name: version - was[name] for name, version in now.items() if version != was[name]}


def clear(world: World, tables: tuple[Table, ...], first: date, last: date) -> None:
    """As if these days had never been made."""
    days = frozenset(days_between(first, last))
    for table in tables:
        gone = Partitions(dict.fromkeys(t.PLATFORMS, days)) if "platform" in table.dimensions else Partitions.days(days)
        world.lake.write(table, table.empty(), gone)


def key_of(platform: str, day: date) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"platform": platform, "day": str(day)})


def shown(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """By asset, what its materialisations show; pictures are with one partition of a range."""
    found: dict[str, dict[str, Any]] = {}
    for made in result.get_asset_materialization_events():
        assert made.asset_key is not None
        entries = made.step_materialization_data.materialization.metadata
        found.setdefault(made.asset_key.path[-1], {}).update({name: entry.value for name, entry in entries.items()})
    return found


# --- partition ranges ---------------------------------------------------------------------------------------------


def test_a_range_of_all_platforms_is_one_commit_per_table_and_makes_the_same_rows_again(filled_memes: World) -> None:
    before, was = stored(filled_memes, PER_PLATFORM), versions(filled_memes.lake, t.TABLES)
    assert all(frame.height for frame in before.values())
    result = filled_memes.run("meme_days", tags=platforms_range(MEME_FIRST, MEME_LAST))
    assert grown(filled_memes, was) == dict.fromkeys(MEME_DAYS, 1)
    assert_same(before, stored(filled_memes, PER_PLATFORM))
    made_keys = {event.partition for event in result.get_asset_materialization_events()}
    days = days_between(MEME_FIRST, MEME_LAST)
    assert made_keys == {f"{day}|{platform}" for day in days for platform in t.PLATFORMS}


def test_days_and_platforms_made_one_by_one_hold_the_rows_of_a_range(filled_memes: World) -> None:
    before = stored(filled_memes, PER_PLATFORM)
    days = days_between(EARLY, EARLY + timedelta(days=1))
    # What pictures say stays known, so that none is read twice; all else of these days is gone.
    clear(filled_memes, tuple(table for table in PER_PLATFORM if table is not t.MEME_DESCRIPTIONS), days[0], days[-1])
    for day in days:
        for platform in ("telegram", "vk", "instagram"):
            filled_memes.run("meme_days", partition_key=key_of(platform, day))
    assert_same(before, stored(filled_memes, PER_PLATFORM))


def test_one_platform_over_a_range_leaves_the_others_as_they_are_and_holds_the_rows_of_all(filled_memes: World) -> None:
    before = stored(filled_memes, PER_PLATFORM)
    days = frozenset(days_between(EARLY, MEME_LAST))
    for table in (t.MEME_POSTS, t.MEMES, t.MEME_DUPLICATES, t.MEME_STATUS):
        filled_memes.lake.write(table, table.empty(), Partitions({"telegram": days}))
    was = versions(filled_memes.lake, t.TABLES)
    filled_memes.run("meme_days", tags=telegram_range(EARLY, MEME_LAST))
    assert grown(filled_memes, was) == dict.fromkeys(MEME_DAYS, 1)
    assert_same(before, stored(filled_memes, PER_PLATFORM))


def test_ratings_made_day_by_day_hold_the_rows_of_a_range_and_a_range_is_one_commit(filled_memes: World) -> None:
    before = stored(filled_memes, PER_DAY)
    was = versions(filled_memes.lake, t.TABLES)
    filled_memes.run("reaction_days", tags=day_range(SENT_FIRST, MEME_LAST))
    assert grown(filled_memes, was) == dict.fromkeys(REACTION_DAYS, 1)
    assert_same(before, stored(filled_memes, PER_DAY))
    last_two = days_between(MEME_LAST - timedelta(days=1), MEME_LAST)
    clear(filled_memes, PER_DAY, last_two[0], last_two[-1])
    for day in last_two:
        filled_memes.run("reaction_days", partition_key=str(day))
    assert_same(before, stored(filled_memes, PER_DAY))


def test_files_and_sources_listed_again_are_the_same_rows(filled_memes: World) -> None:
    landed = tuple(table for table in t.TABLES if table.name in MEME_LANDING)
    # Listed first, sources knew of no post: what runs in a circle is read as it was.
    filled_memes.run("meme_landing")
    before = stored(filled_memes, landed)
    assert before["meme_sources"]["last_post_at"].null_count() == 0
    filled_memes.run("meme_landing")
    assert_same(before, stored(filled_memes, landed))


# --- what a materialisation shows ---------------------------------------------------------------------------------


def test_a_materialisation_shows_what_a_person_wants_to_know(filled_memes: World) -> None:
    found = shown(filled_memes.run("meme_landing"))
    found |= shown(filled_memes.run("meme_days", tags=platforms_range(EARLY, MEME_LAST)))
    found |= shown(filled_memes.run("reaction_days", tags=day_range(SENT_FIRST, MEME_LAST)))
    found |= shown(filled_memes.run("queue_days", tags=day_range(MEME_LAST, MEME_LAST)))
    assert found["meme_files"]["posts_read"] > 700
    assert "bad_posts" in found["meme_files"]["files_of_no_use"]
    assert "in_moderation" in found["meme_sources"]["sources_by_state"].replace("\\", "")
    assert found["meme_posts"]["new_posts"] == 0
    assert found["meme_posts"]["parse_failures"] == 1
    assert "posts" in found["memes"]["funnel"] and "carousel" in found["memes"]["skip_reasons"]
    assert found["meme_media"]["bytes_saved_by_equal_files"] > 0
    assert found["meme_media"]["thumbnails"].count("data:image/jpeg") == 6
    assert found["meme_descriptions"]["examples"].count("data:image/jpeg") == 3
    assert found["meme_descriptions"]["made_by"].startswith("offline")
    assert found["meme_descriptions"]["model_calls"] == 0
    assert "duplicate" in found["meme_duplicates"]["verdicts"]
    assert found["meme_duplicates"]["pairs_original_left"].count("data:image/jpeg") == 5
    assert "ok" in found["meme_status"]["states"]
    assert "->" not in found["meme_status"]["transitions"], "made again, no meme changes its state"
    assert 0 < found["meme_stats"]["like_rate"] < 1
    assert len(found["meme_stats"]["top"].splitlines()) == 2 + 5
    assert found["meme_candidates"]["refills"] == 0
    assert "goat" in found["meme_candidates"]["empty_engines"]
    assert found["recommendation_queues"]["users_refilled"] == 0
    for name in (*MEME_LANDING, *MEME_DAYS, *REACTION_DAYS, *QUEUE_DAYS):
        assert found[name]["table_version"] >= 0, name


def test_a_day_without_posts_or_events_shows_nothing_and_breaks_nothing(filled_memes: World) -> None:
    quiet = date(2026, 5, 20)
    found = shown(filled_memes.run("meme_days", tags=platforms_range(quiet, quiet)))
    found |= shown(filled_memes.run("reaction_days", tags=day_range(quiet, quiet)))
    found |= shown(filled_memes.run("queue_days", tags=day_range(quiet, quiet)))
    assert {name: entries["rows_in_run"] for name, entries in found.items() if "stats" not in name} == dict.fromkeys(
        (*MEME_DAYS, "meme_reactions", *QUEUE_DAYS), 0
    )


# --- asset checks -------------------------------------------------------------------------------------------------


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {f"{found.asset_key.path[-1]}:{found.check_name}": found for found in result.get_asset_check_evaluations()}


def test_a_picture_whose_bytes_are_gone_is_found_named_and_blocks_nothing(filled_memes: World) -> None:
    media = rows(filled_memes.lake, t.MEME_MEDIA).filter(pl.col("status") == "ok")
    ok = rows(filled_memes.lake, t.MEME_STATUS).filter(pl.col("state") == "ok")
    lost = media.join(ok, on="meme_id", how="semi").filter(pl.col("sha256").is_unique()).row(0, named=True)
    (filled_memes.settings.home / lost["path"]).unlink()
    key = key_of(lost["platform"], lost["day"])
    check = dg.AssetCheckKey(dg.AssetKey("meme_status"), "media_are_there")
    selection = dg.AssetSelection.assets("meme_status") | dg.AssetSelection.checks(check)
    alone = dg.define_asset_job("alone", selection=selection)
    defs = dg.Definitions.merge(filled_memes.checked("memes").defs, dg.Definitions(jobs=[alone]))
    job = defs.resolve_job_def("alone")
    result = job.execute_in_process(instance=filled_memes.instance, partition_key=key)
    found = checks(result)["meme_status:media_are_there"]
    assert result.success
    assert (found.passed, found.blocking, found.severity) == (False, False, dg.AssetCheckSeverity.ERROR)
    assert lost["meme_id"].rpartition(":")[2] in str(found.metadata["findings"].value)
    filled_memes.run("meme_days", partition_key=key)
    again = job.execute_in_process(instance=filled_memes.instance, partition_key=key)
    assert checks(again)["meme_status:media_are_there"].passed, "making the day again puts the bytes back"


def test_no_check_but_the_known_one_trips_on_the_sample(made_memes: Made) -> None:
    assert made_memes.outcome.failures == ()
    # People were sent copies before anybody could know that they are copies.
    (warning,) = made_memes.outcome.warnings
    assert warning.startswith("meme_reactions: sent_once: 4 sends")


# --- one bad thing ------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[World]:
    """Four memes of one channel on two days, and a file of events."""
    archives = tmp_path / "in"
    exported(archives, CATS, *(message(n, noon(day_of(n // 3), n)) for n in (1, 2, 3, 4)))
    told(tmp_path / "events" / "a.ndjson", event(1, "sent", "u1", "telegram:cats:1", noon(day_of(1))))
    settings = memes_over(archives, tmp_path / "home", events=(str(tmp_path / "events"),))
    with fresh_instance() as instance:
        yield located(settings, instance)


def make(world: World) -> None:
    world.run("meme_landing")
    world.run("meme_days", tags=telegram_range(D0, day_of(1)))


def servable(world: World) -> list[str]:
    return sorted(rows(world.lake, t.MEME_STATUS).filter("servable")["meme_id"])


GOOD = [f"telegram:cats:{n}" for n in (1, 2, 3, 4)]


def test_files_that_are_no_exports_are_listed_with_their_reason_and_cost_the_others_nothing(
    small: World, tmp_path: Path
) -> None:
    for name, content in {
        "telegram/half/result.json": '{"name": "half", "messages": [{"id": 1, ',
        "telegram/empty/result.json": "",
        "telegram/nothing/page.html": "<html><body>no channel</body></html>",
        "vk/wall/wall.json": "[1, 2, 3]",
        "instagram/photos/items.json": '"a string"',
        "kites/other/result.json": "{}",
    }.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        changed(path, content)
    told(tmp_path / "events" / "b.ndjson", event(2, "like", "u1", "telegram:cats:1", noon(day_of(1), 5)))
    with (tmp_path / "events" / "b.ndjson").open("ab") as file:
        file.write(b'{"event_id": "cut off, \n\xff\xfe\n[]\n')
    make(small)
    small.run("reaction_days", partition_key=str(day_of(1)))
    files = rows(small.lake, t.MEME_FILES)
    bad = files.filter(pl.col("status") != "ok")
    assert set(bad["reason"]) == {"not_json", "empty", "no_preview", "no_posts", "unknown_platform"}
    assert files.filter(pl.col("source_file").str.ends_with("wall.json")).select("status", "bad_posts").rows() == [
        ("ok", 3)
    ]
    assert servable(small) == GOOD
    assert rows(small.lake, t.MEME_REACTIONS).filter(pl.col("status") == "ok")["event_id"].to_list() == ["e1", "e2"]


def test_a_post_that_cannot_be_read_is_one_failed_row_of_its_day(small: World, tmp_path: Path) -> None:
    odd = message(5, noon(D0, 50), text={"not": "a text"})
    posts = [message(n, noon(day_of(n // 3), n)) for n in (1, 2, 3, 4)]
    exported(tmp_path / "in", CATS, *posts, odd, "no message at all", {"id": 6, "type": "message"})
    make(small)
    found = rows(small.lake, t.MEME_POSTS).filter(pl.col("status") != "ok")
    assert found.select("post_id", "status", "reason").rows() == [("5", "failed", "parse_error")]
    assert servable(small) == GOOD


def test_pictures_that_are_none_break_their_memes_alone(small: World, tmp_path: Path) -> None:
    broken: dict[int, tuple[bytes | None, str]] = {
        5: (drawn(9)[:400], "unreadable"),
        6: (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "mislabelled"),
        7: (b"", "empty_file"),
        8: (None, "media_not_in_archive"),
    }
    posts = [message(n, noon(day_of(n // 3 % 2), n)) for n in range(1, 9)]
    exported(tmp_path / "in", CATS, *posts)
    for number, (content, _) in broken.items():
        path = tmp_path / "in" / "telegram" / "cats" / "photos" / f"{number}.jpg"
        path.unlink() if content is None else path.write_bytes(content)
    make(small)
    media = rows(small.lake, t.MEME_MEDIA).filter(pl.col("status") != "ok")
    assert dict(media.select("meme_id", "reason").rows()) == {
        f"telegram:cats:{number}": reason for number, (_, reason) in broken.items()
    }
    status = rows(small.lake, t.MEME_STATUS)
    assert set(status.filter(pl.col("state") == "broken")["meme_id"]) == set(media["meme_id"])
    assert servable(small) == GOOD


def test_a_meme_whose_file_is_gone_leaves_its_day_and_the_others_stay(small: World, tmp_path: Path) -> None:
    exported(tmp_path / "in", "tg:dogs", message(9, noon(D0, 9)))
    make(small)
    assert servable(small) == [*GOOD, "telegram:dogs:9"]
    shutil.rmtree(tmp_path / "in" / "telegram" / "dogs")
    make(small)
    for table in PER_PLATFORM:
        assert set(rows(small.lake, table)["meme_id"]) == set(GOOD), table.name


def test_a_folder_that_is_not_there_is_one_line_that_names_it(small: World, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "in")
    (line,) = failure_lines(small.run("meme_landing", check=False))
    assert str(tmp_path / "in") in line


# --- late events --------------------------------------------------------------------------------------------------


def test_late_events_move_the_ratings_of_the_memes_they_bear_on_and_of_no_others(small: World, tmp_path: Path) -> None:
    users = [f"u{n}" for n in range(12)]
    number = iter(range(10, 1000))
    days: dict[date, list[dict[str, Any]]] = {D0: [], day_of(1): [], day_of(2): []}
    for user in users:
        for meme, day in zip(GOOD, (D0, D0, day_of(1), day_of(1)), strict=True):
            at = noon(day, 30) + timedelta(minutes=5 * int(meme[-1]))
            days[day] += [event(next(number), "sent", user, meme, at)]
            days[day] += [event(next(number), "like", user, meme, at + timedelta(seconds=5))]
    for day, events in days.items():
        told(tmp_path / "events" / f"{day}.ndjson", *events)
    make(small)
    small.run("reaction_days", tags=day_range(D0, day_of(2)))
    before = {row["meme_id"]: row for row in newest(small)}
    sent = event(next(number), "sent", "late", GOOD[0], noon(D0, 39))
    told(tmp_path / "events" / "late.ndjson", sent, event(next(number), "dislike", "late", GOOD[0], noon(D0, 40)))
    small.run("meme_landing")
    small.run("reaction_days", tags=day_range(D0, day_of(2)))
    after = {row["meme_id"]: row for row in newest(small)}
    assert after[GOOD[0]]["ndislikes"] == before[GOOD[0]]["ndislikes"] + 1
    assert after[GOOD[0]]["nsent"] == before[GOOD[0]]["nsent"] + 1
    for meme in GOOD[1:]:
        assert [after[meme][name] for name in RATINGS] == [before[meme][name] for name in RATINGS], meme
    small.run("reaction_days", tags=day_range(D0, day_of(2)))
    again = {row["meme_id"]: row for row in newest(small)}
    for meme in GOOD:
        assert [again[meme][name] for name in RATINGS] == [after[meme][name] for name in RATINGS], meme


RATINGS = ("nlikes", "ndislikes", "nsent", "sec_to_react", "lr_smoothed", "engagement", "n_lr", "n_es")


def newest(world: World) -> list[dict[str, Any]]:
    """The latest ratings of each meme."""
    found = rows(world.lake, t.MEME_STATS).sort("meme_id", "day").unique("meme_id", keep="last", maintain_order=True)
    return list(found.iter_rows(named=True))

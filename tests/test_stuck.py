"""Partitions in which rows have failed or waited for days: timed from the look that found them first."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import dataframely as dy
import polars as pl
import pytest

from magpie.control import Control
from magpie.health import examine
from magpie.lake import Lake
from magpie.stuck import EVENTS, Stuck, begun, look, older
from magpie.tables import Fate, Partitions, Table
from schedules import stuck as schedule
from tests.dagster_world import sample_settings

NOW = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
DAYS = [date(2026, 11, 2), date(2026, 11, 3)]
Row = tuple[str, str | None, datetime | None]


class Daily(Fate):
    n = dy.Int64(primary_key=True)
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)


class Files(Fate):
    n = dy.Int64(primary_key=True)


DAILY = Table("daily_rows", Daily, "By blog and day.", {"blog": "blog", "day": "day"}, ("n",))
FILES = Table("file_rows", Files, "Not partitioned.", {}, ("n",))


class World:
    """A lake with two tables whose rows have the fates that a test wants."""

    def __init__(self, folder: Path) -> None:
        self.settings = sample_settings(folder)
        self.lake, self.control = Lake(self.settings.lake_root), Control(self.settings.control_database)

    def daily(self, day: date, *rows: Row) -> None:
        frame = _frame(rows).with_columns(pl.lit("moss").alias("blog"), pl.lit(day).alias("day"))
        self.lake.write(DAILY, DAILY.shaped(frame), Partitions.of([("moss", day)]))

    def files(self, *rows: Row) -> None:
        self.lake.write(FILES, FILES.shaped(_frame(rows)), Partitions.whole())

    def look(self, days_later: float = 0) -> list[Stuck]:
        return look(self.lake, self.control, [DAILY, FILES], NOW + timedelta(days=days_later))


def _frame(rows: tuple[Row, ...]) -> pl.DataFrame:
    fates = {"status": pl.String, "reason": pl.String, "not_before": pl.Datetime("us", "UTC")}
    nothing = (pl.lit(None, pl.String).alias(name) for name in ("observed", "threshold"))
    return pl.DataFrame(list(rows), fates, orient="row").with_row_index("n").with_columns(*nothing)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.control.close()


def test_a_lake_without_such_rows_is_clean(world: World) -> None:
    assert world.look() == []
    world.daily(DAYS[0], ("ok", None, None), ("rejected", "too_old", None))
    assert world.look() == begun(world.control) == []


def test_rows_count_by_partition_and_status_and_name_their_reasons(world: World) -> None:
    world.daily(
        DAYS[0],
        ("failed", "json_parse", None),
        ("failed", "no_answer", None),
        ("failed", "no_answer", None),
        ("pending", "no_reader", None),
        ("ok", None, None),
    )
    world.files(("failed", "json_parse", None))
    assert world.look() == [
        Stuck("daily_rows", "moss|2026-11-02", "failed", NOW, 3, "no_answer, json_parse"),
        Stuck("daily_rows", "moss|2026-11-02", "pending", NOW, 1, "no_reader"),
        Stuck("file_rows", "-", "failed", NOW, 1, "json_parse"),
    ]


def test_rows_that_are_to_be_tried_later_are_where_they_should_be(world: World) -> None:
    world.daily(DAYS[0], ("pending", "awaiting_prices", NOW + timedelta(hours=1)))
    assert world.look() == []
    assert [row.reasons for row in world.look(days_later=1)] == ["awaiting_prices"], "its time has come and gone"


def test_the_time_runs_from_the_first_look_though_a_partition_is_made_again_meanwhile(world: World) -> None:
    world.daily(DAYS[0], ("failed", "no_answer", None))
    world.look()
    world.daily(DAYS[0], ("failed", "refused", None))
    world.daily(DAYS[1], ("failed", "refused", None))
    found = world.look(days_later=3)
    assert [(row.partition, row.since) for row in found] == [
        ("moss|2026-11-02", NOW),
        ("moss|2026-11-03", NOW + timedelta(days=3)),
    ]
    assert [row.partition for row in older(found, 3, NOW + timedelta(days=3))] == ["moss|2026-11-02"]
    assert older(found, 4, NOW + timedelta(days=3)) == []


def test_what_is_mended_is_over_and_begins_anew_if_it_comes_back(world: World) -> None:
    world.daily(DAYS[0], ("failed", "no_answer", None))
    world.look()
    world.daily(DAYS[0], ("ok", None, None))
    assert world.look(days_later=1) == begun(world.control) == []
    world.daily(DAYS[0], ("failed", "no_answer", None))
    (again,) = world.look(days_later=5)
    assert again.since == NOW + timedelta(days=5)


def test_looking_twice_notes_nothing_twice(world: World) -> None:
    world.daily(DAYS[0], ("failed", "no_answer", None))
    world.look()
    world.look(days_later=1)
    assert EVENTS.read(world.control).height == 1


def test_the_daily_job_shows_what_is_stuck_and_nothing_younger(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "TABLES", {"daily_rows": DAILY, "file_rows": FILES})
    world.daily(DAYS[0], ("failed", "no_answer", None))
    resources = {"settings": world.settings, "lake": world.lake, "control": world.control}

    def shown(days_later: int) -> list[dict[str, object]]:
        monkeypatch.setattr(schedule, "utc_now", lambda: NOW + timedelta(days=days_later))
        with dg.build_op_context(resources=resources) as context:
            schedule.look_for_stuck(context)
            told = context.get_output_metadata("result")
        assert told is not None
        assert told["partitions"] == len(told["stuck"].records)
        return [dict(record.data) for record in told["stuck"].records]

    assert shown(0) == []
    row = {"table": "daily_rows", "partition": "moss|2026-11-02", "status": "failed", "rows": 1}
    assert shown(world.settings.alerts.stuck_days) == [{**row, "reasons": "no_answer", "since": "2026-11-20"}]


def test_the_doctor_names_tables_with_partitions_that_have_been_stuck_for_days(world: World) -> None:
    for day in DAYS:
        world.daily(day, ("failed", "no_answer", None))
    world.look()

    def told(days: int) -> tuple[str, str]:
        findings = examine(world.settings, {}, NOW + timedelta(days=days))
        return next((found.level, found.text) for found in findings if found.subject == "stuck partitions")

    assert told(1) == ("ok", "none for 3 days or more")
    assert told(3) == ("warn", "2 for 3 days or more: daily_rows (2)")
    for day in DAYS:
        world.daily(day, ("ok", None, None))
    world.look(3)
    assert told(4) == ("ok", "none for 3 days or more")

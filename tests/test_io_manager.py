"""The table IO manager, on a small table of its own: what it writes, reads, records and refuses."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
import pytest

from assets import metadata as md
from assets.partitions import partitions_of
from io_managers.tables import TableIOManager
from magpie.control import Control, Pending
from magpie.lake import Lake
from magpie.tables import Fate, Partitions, Table
from runs.runner import failure_lines
from sensors.discovery import RANGE_END, RANGE_START
from tests.instances import fresh_instance


class Letters(Fate):
    team = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    letter = dy.String(primary_key=True, regex="^[a-z]$")
    config_hash = dy.String()


LETTERS = Table("letters", Letters, "Letters of a team and day.", {"team": "team", "day": "day"}, ("letter",))
COPIES = Table("copies", Letters, "The same again.", {"team": "team", "day": "day"}, ("letter",))
DAYS = dg.DailyPartitionsDefinition("2026-03-01", timezone="UTC")
TEAM_DAYS = dg.MultiPartitionsDefinition({"team": dg.StaticPartitionsDefinition(["blue", "red"]), "day": DAYS})
FIRST, SECOND, THIRD = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)
SOON = datetime(2026, 3, 9, 12, tzinfo=UTC)


def letter(team: str, day: date, name: str, **more: Any) -> dict[str, Any]:
    return {"team": team, "day": day, "letter": name, "status": "ok", "config_hash": "c0ffee", **more}


def pending(team: str, day: date, name: str, reason: str, until: datetime | None = None) -> dict[str, Any]:
    return letter(team, day, name, status="pending", reason=reason, not_before=until)


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=LETTERS.dtypes)


@dataclass
class Desk:
    """A lake with two tables; `content` is what the asset `letters` returns, `seen` what `copies` was given."""

    lake: Lake
    control: Control
    instance: dg.DagsterInstance
    content: pl.DataFrame | pl.LazyFrame
    seen: pl.DataFrame | None = None

    def run(self, team: str, first: date, last: date, *assets: str) -> dg.ExecuteInProcessResult:
        @dg.asset(name="letters", partitions_def=TEAM_DAYS, backfill_policy=dg.BackfillPolicy.single_run())
        def letters() -> Any:
            return self.content

        @dg.asset(name="copies", partitions_def=TEAM_DAYS, backfill_policy=dg.BackfillPolicy.single_run())
        def copies(letters: pl.LazyFrame) -> pl.DataFrame:
            assert isinstance(letters, pl.LazyFrame)
            self.seen = letters.collect()
            return self.seen

        job = dg.define_asset_job("job", selection=list(assets or ("letters",)))
        manager = TableIOManager(self.lake, self.control, {table.name: table for table in (LETTERS, COPIES)})
        defs = dg.Definitions([letters, copies], jobs=[job], resources={"io_manager": manager})
        # Keys name their dimensions in alphabetical order: day before team.
        tags = {RANGE_START: f"{first}|{team}", RANGE_END: f"{last}|{team}"}
        return defs.resolve_job_def("job").execute_in_process(instance=self.instance, raise_on_error=False, tags=tags)

    def letters(self) -> list[tuple[str, date, str]]:
        found = self.lake.read(LETTERS).select("team", "day", "letter").collect()
        return sorted(found.rows())


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    control = Control(f"sqlite:///{tmp_path / 'control.sqlite'}")
    with fresh_instance() as instance:
        yield Desk(Lake(str(tmp_path / "lake")), control, instance, frame())
    control.close()


@pytest.mark.parametrize("form", [lambda rows: rows, pl.DataFrame.lazy], ids=["eager", "lazy"])
def test_a_frame_of_either_kind_replaces_the_days_of_the_run_in_one_commit(
    desk: Desk, form: Callable[[pl.DataFrame], pl.DataFrame | pl.LazyFrame]
) -> None:
    desk.content = form(frame(letter("red", FIRST, "a"), letter("red", SECOND, "b"), letter("red", THIRD, "c")))
    assert desk.run("red", FIRST, THIRD).success
    desk.content = form(frame(letter("red", SECOND, "x")))
    result = desk.run("red", FIRST, SECOND)
    assert desk.letters() == [("red", SECOND, "x"), ("red", THIRD, "c")]
    # Version 0 is the empty table; each run is one more, however many days it has.
    assert [commit["version"] for commit in desk.lake.history(LETTERS)] == [2, 1, 0]
    assert {event.partition for event in result.get_asset_materialization_events()} == {
        f"{FIRST}|red",
        f"{SECOND}|red",
    }


def test_an_empty_result_is_committed_and_clears_its_days(desk: Desk) -> None:
    desk.content = frame(letter("red", FIRST, "a"), letter("red", SECOND, "b"))
    desk.run("red", FIRST, SECOND)
    desk.content = frame()
    result = desk.run("red", FIRST, FIRST)
    assert result.success
    assert desk.letters() == [("red", SECOND, "b")]
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata[md.ROWS].value == 0
    assert event.materialization.metadata[md.PARTITIONS].value == 1


def test_another_team_on_the_same_days_is_not_touched(desk: Desk) -> None:
    desk.content = frame(letter("blue", FIRST, "a"))
    desk.run("blue", FIRST, FIRST)
    desk.content = frame(letter("red", FIRST, "b"))
    desk.run("red", FIRST, SECOND)
    assert desk.letters() == [("blue", FIRST, "a"), ("red", FIRST, "b")]


def test_each_commit_says_which_run_and_settings_made_it(desk: Desk) -> None:
    desk.content = frame(letter("red", FIRST, "a"), letter("red", SECOND, "b", config_hash="decaf"))
    result = desk.run("red", FIRST, SECOND)
    commit = desk.lake.history(LETTERS)[0]
    assert commit["run_id"] == result.run_id
    assert commit["config_hash"] == "c0ffee,decaf"


def test_pending_rows_are_known_per_partition_until_the_next_run_of_it(desk: Desk) -> None:
    later = SOON.replace(day=20)
    desk.content = frame(
        pending("red", FIRST, "a", "cooling_down", later),
        pending("red", FIRST, "b", "cooling_down", SOON),
        pending("red", FIRST, "c", "needs_review"),
        pending("red", SECOND, "d", "needs_review"),
        letter("red", SECOND, "e"),
    )
    result = desk.run("red", FIRST, SECOND)
    assert desk.control.pending() == [
        Pending("letters", f"red|{FIRST}", "cooling_down", 2, SOON),
        Pending("letters", f"red|{FIRST}", "needs_review", 1, None),
        Pending("letters", f"red|{SECOND}", "needs_review", 1, None),
    ]
    shown = result.get_asset_materialization_events()[0].materialization.metadata
    assert shown[md.BY_STATUS].value == {"pending": 4, "ok": 1}
    assert shown[md.PENDING_UNTIL].value == str(SOON)
    desk.content = frame(letter("red", FIRST, "a"))
    desk.run("red", FIRST, FIRST)
    assert desk.control.pending() == [Pending("letters", f"red|{SECOND}", "needs_review", 1, None)]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (frame(letter("red", FIRST, "capital")), ["letter", "regex"]),
        (frame(letter("red", FIRST, "a"), letter("red", FIRST, "a")), ["primary_key"]),
        (frame(letter("red", FIRST, "a", reason="but why")), ["reason_is_null_exactly_when_ok"]),
        (frame(letter("red", FIRST, "a")).with_columns(pl.lit(1).alias("letter")), ["column letter is"]),
        (frame(letter("red", FIRST, "a")).drop("letter"), ["column letter is missing"]),
        (frame(letter("red", THIRD, "a")), ["red", str(THIRD)]),
    ],
    ids=["rule", "key", "fate", "type", "column", "foreign partition"],
)
def test_rows_that_break_the_declaration_fail_with_table_and_rule_and_commit_nothing(
    desk: Desk, broken: pl.DataFrame, told: list[str]
) -> None:
    desk.content = frame(letter("red", FIRST, "z"), pending("red", SECOND, "y", "needs_review"))
    desk.run("red", FIRST, SECOND)
    known = desk.control.pending()
    desk.content = broken
    result = desk.run("red", FIRST, SECOND)
    (line,) = failure_lines(result)
    assert not result.success
    assert line.startswith("letters: ")
    for word in told:
        assert word in line
    assert line.count("letters") >= 2, "the table is named beside the step"
    assert "\n" not in line
    assert desk.letters() == [("red", FIRST, "z"), ("red", SECOND, "y")]
    assert desk.lake.history(LETTERS)[0]["version"] == 1
    assert desk.control.pending() == known


def test_an_input_holds_the_partitions_of_the_run_and_no_others(desk: Desk) -> None:
    desk.content = frame(*(letter("red", day, "a") for day in (FIRST, SECOND, THIRD)))
    desk.run("red", FIRST, THIRD)
    desk.content = frame(letter("blue", SECOND, "b"))
    desk.run("blue", SECOND, SECOND)
    assert desk.run("red", SECOND, THIRD, "copies").success
    assert desk.seen is not None
    assert desk.seen.select("team", "day").rows() == [("red", SECOND), ("red", THIRD)]


def test_an_input_that_was_never_made_is_empty_and_typed(desk: Desk) -> None:
    assert desk.run("red", FIRST, FIRST, "copies").success
    assert desk.seen is not None
    assert desk.seen.is_empty()
    assert desk.seen.schema == LETTERS.dtypes


def test_partition_keys_mean_the_same_in_any_order_and_as_plain_text() -> None:
    named = [
        dg.MultiPartitionKey({"team": team, "day": str(day)}) for team in ("red", "blue") for day in (FIRST, THIRD)
    ]
    plain = [str(key) for key in named]
    wanted = Partitions({"red": frozenset({FIRST, THIRD}), "blue": frozenset({FIRST, THIRD})})
    for keys in itertools.chain(itertools.permutations(named), itertools.permutations(plain)):
        assert partitions_of(LETTERS, keys) == wanted

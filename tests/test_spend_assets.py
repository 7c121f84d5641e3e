"""Assets, checks, job and schedule of spending, materialised over a real ledger."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster_world import World, sample_settings, world
from hypothesis import given
from hypothesis import strategies as st

from assets import plots
from assets.partitions import day_range
from assets.spend import BURN_DOWN, BY_FUNCTION, BY_STATE
from magpie.leads import feedback
from magpie.leads.tables import LEAD_FEEDBACK
from magpie.llm.purpose import Limits
from magpie.llm.schema import spend_window
from magpie.llm.store import Store
from magpie.llm.tables import LLM_CALLS, SPEND_CAPS, TASK_LOG
from magpie.settings import Caps
from schedules.spend import build_job, build_schedule
from tests.ledger_world import Books, FakeClock

DOLLAR = 1_000_000_000
DAY = date(2026, 11, 10)
NEXT = DAY + timedelta(days=1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[World]:
    with world(sample_settings(tmp_path / "home"), checks=True) as made:
        yield made


def books_of(made: World) -> Books:
    """The ledger of that home, on DAY at six in the morning."""
    return Books(Store(made.control), Limits(), FakeClock(datetime(DAY.year, DAY.month, DAY.day, 6, tzinfo=UTC)))


def paid(books: Books, usd: str) -> str:
    nano = int(Decimal(usd) * DOLLAR)
    books.send(call := books.held(nano))
    books.settle(call, nano)
    return call


def copy(made: World, first: date = DAY, last: date = DAY) -> dg.ExecuteInProcessResult:
    return made.run("spend", tags=day_range(first, last))


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Metadata of an asset's last materialisation in a run."""
    events = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    last = [made for made in events if made.asset_key.path[-1] == asset][-1]
    return {name: value.value for name, value in last.metadata.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def picture(markdown: str) -> ElementTree.Element:
    """The drawing inside a markdown image; an error if it is no well-formed SVG."""
    matched = re.fullmatch(r"!\[[^\[\]]*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert matched is not None, markdown[:80]
    return ElementTree.fromstring(base64.b64decode(matched[1]))


def texts(drawing: ElementTree.Element) -> list[str]:
    return [node.text or "" for node in drawing.iter("{http://www.w3.org/2000/svg}text")]


# --- the copies ---------------------------------------------------------------------------------------------------


def test_one_run_copies_ledger_tasks_caps_and_feedback_of_the_days_asked_for(home: World) -> None:
    books = books_of(home)
    first = paid(books, "0.25")
    books.clock.sleep(86_400)
    second = paid(books, "0.50")
    event = feedback.Event(datetime.now(UTC), "ann", "agency-crm", "t3_x", label="relevant")
    feedback.record(home.control, event)
    copy(home)
    stored = home.lake.read(LLM_CALLS).collect()
    assert stored["call_id"].to_list() == [first]
    assert home.lake.read(LEAD_FEEDBACK).collect()["actor"].to_list() == ["ann"]
    assert set(home.lake.read(SPEND_CAPS).collect()["day"]) == {DAY}
    copy(home, DAY, NEXT)
    days = dict(home.lake.read(LLM_CALLS).collect().select("call_id", "day").iter_rows())
    assert days == {first: DAY, second: NEXT}
    assert home.lake.read(TASK_LOG).collect().is_empty()


def test_a_copy_made_again_follows_the_ledger_and_a_range_is_one_commit(home: World) -> None:
    books = books_of(home)
    books.send(call := books.held(DOLLAR))
    copy(home)
    assert home.lake.read(LLM_CALLS).collect()["state"].to_list() == ["sent"]
    books.settle(call, DOLLAR // 2)
    copy(home, DAY, NEXT)
    (row,) = home.lake.read(LLM_CALLS).collect().to_dicts()
    assert (row["state"], row["cost_usd"]) == ("settled", Decimal("0.5"))
    table = home.lake.open(LLM_CALLS)
    assert table is not None
    assert table.version() == 2


def test_a_day_without_a_call_and_a_home_without_books_are_copied_as_empty(home: World) -> None:
    result = copy(home)
    assert result.success
    assert home.lake.read(LLM_CALLS).collect().is_empty()
    assert shown(result, "llm_calls")["model_calls"] == 0
    assert all(found.passed for found in checks(result).values())


def test_today_can_be_copied_while_it_runs(home: World) -> None:
    today = datetime.now(UTC).date()
    copy(home, today, today)
    assert set(home.lake.read(SPEND_CAPS).collect()["day"]) == {today}


def test_caps_changed_later_leave_the_caps_of_past_days_as_they_were(home: World) -> None:
    copy(home)
    lowered = home.settings.model_copy(update={"caps": Caps(global_daily_cap_usd=Decimal("2.00"))})
    with world(lowered) as later:
        copy(later, DAY, NEXT)
    whole = home.lake.read(SPEND_CAPS).filter((pl.col("scope") == "all") & (pl.col("per") == "D")).collect()
    assert dict(whole.select("day", "cap_usd").iter_rows()) == {DAY: Decimal(15), NEXT: Decimal(2)}


def test_a_copy_shows_sums_functions_states_and_the_day_against_its_cap(home: World) -> None:
    books = books_of(home)
    paid(books, "0.25")
    books.clock.sleep(3600)
    paid(books, "3.00")
    books.send(cut := books.held(DOLLAR))
    books.cut(cut)
    found = shown(copy(home), "llm_calls")
    assert (found["model_calls"], found["journal_hits"], found["spent_usd"]) == (3, 0, 4.25)
    assert found[BY_STATE] == {"settled": 2, "unknown": 1}
    assert "| leads | extract\\_lead | openai/small | 3 |" in found[BY_FUNCTION]
    drawing = picture(found[BURN_DOWN])
    assert [f"{DAY}: $4.25 of $15.00", "$15.00"] == texts(drawing)[:2]


def test_a_copy_without_known_caps_draws_no_cap(home: World) -> None:
    paid(books_of(home), "0.25")
    alone = dg.define_asset_job("alone", selection=["llm_calls"])
    job = dg.Definitions.merge(home.defs, dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    result = job.execute_in_process(instance=home.instance, partition_key=str(DAY))
    drawing = picture(shown(result, "llm_calls")[BURN_DOWN])
    assert [f"{DAY}: $0.25", "00:00"] == texts(drawing)[:2], "neither in the title nor at a line"


# --- the checks ---------------------------------------------------------------------------------------------------


def test_checks_pass_over_sound_books_and_none_of_them_blocks(home: World) -> None:
    paid(books_of(home), "0.25")
    found = checks(copy(home))
    assert set(found) == {"books_balance", "all_priced", "reservations_in_time", "models_last", "within_caps"}
    assert [name for name, check in found.items() if not check.passed] == []
    assert not any(check.blocking for check in found.values())


def test_edited_books_an_exceeded_cap_and_a_dead_call_are_told_after_the_copy(home: World) -> None:
    books = books_of(home)
    paid(books, "16.00")
    books.held(1)
    mine = (spend_window.c.scope == "provider:openai") & (spend_window.c.window == f"D{DAY}")
    books.store.write(lambda c: c.execute(spend_window.update().where(mine).values(spent=0)))
    result = copy(home)
    found = checks(result)
    assert result.success
    assert {name for name, check in found.items() if not check.passed} == {
        "books_balance",
        "within_caps",
        "reservations_in_time",
    }
    assert "provider:openai" in str(found["books_balance"].metadata["findings"].value)
    assert found["books_balance"].severity == dg.AssetCheckSeverity.ERROR
    assert "| all |" in str(found["within_caps"].metadata["findings"].value)
    assert found["reservations_in_time"].severity == dg.AssetCheckSeverity.WARN


def test_a_check_asked_for_alone_judges_every_day(home: World) -> None:
    paid(books_of(home), "16.00")
    copy(home)
    keys = [key for check in home.defs.asset_checks or [] for key in check.check_keys if key.name == "within_caps"]
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(*keys))
    job = dg.Definitions.merge(home.defs, dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    (found,) = job.execute_in_process(instance=home.instance).get_asset_check_evaluations()
    assert not found.passed
    assert f"D{DAY}" in str(found.metadata["findings"].value)


# --- the schedule -------------------------------------------------------------------------------------------------


def tick(made: World, at: datetime, start: date = date(2026, 3, 2)) -> Any:
    schedule = build_schedule(made.settings.model_copy(update={"start_day": start}), build_job())
    with dg.build_schedule_context(scheduled_execution_time=at) as context:
        return schedule(context)


def test_the_schedule_copies_yesterday_and_the_day_before_again_and_is_off_at_first(home: World) -> None:
    request = tick(home, datetime(2026, 11, 12, 0, 20, tzinfo=UTC))
    assert request.tags == day_range(DAY, NEXT)
    (schedule,) = [item for item in home.defs.schedules or () if item.name == "spend_daily"]
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.cron_schedule == "20 0 * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_the_schedule_asks_for_no_day_before_the_first_partition(home: World) -> None:
    assert tick(home, datetime(2026, 11, 12, 0, 20, tzinfo=UTC), NEXT).tags == day_range(NEXT, NEXT)
    assert isinstance(tick(home, datetime(2026, 11, 12, 0, 20, tzinfo=UTC), date(2026, 11, 12)), dg.SkipReason)


# --- the picture --------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.integers(1, 24), st.decimals(0, 10**5, places=9), max_size=24),
    st.none() | st.decimals(0, 10**5, places=4),
)
def test_any_day_gives_a_drawing_that_is_shown_in_place_and_stays_inside(
    spent: dict[int, Decimal], cap: Decimal | None
) -> None:
    points = list(zip(sorted(spent), sorted(spent.values()), strict=True))
    markdown = str(plots.burn_down(points, cap, DAY).value)
    assert len(markdown) < plots.SHOWN_IN_PLACE
    curve = picture(markdown).findall("{http://www.w3.org/2000/svg}path")[-1].attrib["d"]
    for x in map(int, re.findall(r"[HM](\d+)", curve)):
        assert plots.LEFT <= x <= plots.RIGHT
    for y in map(int, re.findall(r"V(\d+)", curve)):
        assert plots.TOP <= y <= plots.BOTTOM


def test_a_day_full_of_calls_is_still_shown_in_place() -> None:
    points = [(hour, Decimal(hour) * Decimal("4166.66")) for hour in range(1, 25)]
    assert len(str(plots.burn_down(points, Decimal(100_000), DAY).value)) < plots.SHOWN_IN_PLACE


def test_the_alternative_text_of_a_picture_cannot_end_the_markdown_image() -> None:
    markdown = plots.image("<svg/>", "](javascript:alert(1)) `x`\n![y]")
    assert markdown.index("](") == markdown.index("](data:image/svg+xml;base64,")
    assert "\n" not in markdown


def test_text_in_a_picture_is_text() -> None:
    drawn = plots._text(0, 0, "<script>&")
    assert "<script>" not in drawn
    assert ElementTree.fromstring(drawn).text == "<script>&"

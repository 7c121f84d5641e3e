"""Sensors and schedules of content: which runs they ask for when keywords or decisions change, and when they rest."""

import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from magpie.content import tables as t
from magpie.content.changes import QUIET_DAYS
from magpie.content.settings import KeywordList
from magpie.control import Pending
from magpie.settings import Settings
from schedules.content import SITE_DAYS, build_schedules
from sensors.content import RUNS_PER_TICK
from tests.content_world import (
    AT,
    CLUB,
    D0,
    DESCALING,
    GREEN_TEA,
    SHOP,
    WHISTLE,
    Press,
    club,
    content_over,
    listed,
    pressing,
    shop,
    span,
    spans,
)
from tests.dagster_world import copy_home, selected

D1, D2 = D0 + timedelta(days=2), D0 + timedelta(days=4)
FROM_IDEAS = SITE_DAYS[2:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in"


def batches(folder: Path, home: Path) -> Settings:
    """Two batches of one site and one of the other; ideas of the first wait for a yes."""
    listed(folder, SHOP, D0, *DESCALING)
    listed(folder, SHOP, D1, *WHISTLE)
    listed(folder, CLUB, D1, *GREEN_TEA)
    sites = (shop(idea_approval="manual"), club())
    return content_over(folder, home, *sites, ideas_max=1, max_in_article_images=0)


@pytest.fixture
def press(tmp_path: Path, folder: Path) -> Iterator[Press]:
    """The batches, nothing made yet."""
    with pressing(batches(folder, tmp_path / "home")) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Press:
    """All that is asked for is done; tests work on copies of its home and leave its files as they are."""
    folder = tmp_path_factory.mktemp("quiet")
    with pressing(batches(folder / "in", folder / "home")) as found:
        found.daemon.until_quiet()
    return found


@pytest.fixture
def quiet(made: Press, tmp_path: Path) -> Iterator[Press]:
    """The batches, all made; the daemon goes on where it was."""
    copy_home(made.settings.home, tmp_path / "home")
    with pressing(made.settings.model_copy(update={"home": tmp_path / "home"})) as found:
        found.daemon.cursors, found.daemon.used = dict(made.daemon.cursors), set(made.daemon.used)
        yield found


def resettled(press: Press, *sites: Any) -> Press:
    """The same instance and cursors under other sites, as after an edit of magpie.yaml and a reload."""
    return press.again(press.settings.model_copy(update={"sites": sites}))


# --- keywords -----------------------------------------------------------------------------------------------------


def test_new_files_are_landed_once_and_then_the_days_of_their_sites_are_asked_for(press: Press) -> None:
    editor = press.daemon
    press.instance.delete_dynamic_partition("site", CLUB)
    asked, _ = editor.tick("new_keywords")
    assert [request.job_name for request in asked] == ["content_landing"]
    assert sorted(press.instance.get_dynamic_partitions("site")) == [SHOP, CLUB]
    assert not editor.tick("new_keywords")[0], "the same landing is not asked for twice"
    editor.perform(asked[0], "")
    asked = editor.asked()
    assert spans(asked) == [span(SHOP, D0, D1), span(CLUB, D1, D1)]
    assert {selected(request) for request in asked} == {()}, "everything from the keywords on"
    asked, reason = editor.tick("new_keywords")
    assert not asked
    assert "as before" in str(reason)


def test_a_batch_that_is_new_changed_or_gone_is_asked_for_with_all_later_ones_of_its_site(
    press: Press, folder: Path
) -> None:
    editor = press.daemon
    editor.asked()
    late = listed(folder, SHOP, D0 + timedelta(days=1), *GREEN_TEA)
    assert spans(editor.asked()) == [span(SHOP, D0 + timedelta(days=1), D1)], "what is older does not change"
    listed(folder, SHOP, D0, *DESCALING, "descale kettle twice")
    assert spans(editor.asked()) == [span(SHOP, D0, D1)]
    late.unlink()
    assert spans(editor.asked()) == [span(SHOP, D0 + timedelta(days=1), D1)]
    listed(folder, SHOP, D2, *GREEN_TEA)
    assert spans(editor.asked()) == [span(SHOP, D2, D2)]


def test_an_older_batch_that_comes_late_takes_its_keywords_from_the_later_one(press: Press, folder: Path) -> None:
    editor = press.daemon
    editor.until_quiet()
    listed(folder, CLUB, D0, *GREEN_TEA)
    assert editor.until_quiet() == ["content_landing", "site_days"]
    told = press.rows(t.KEYWORDS).filter(site_id=CLUB).select("day", "status", "reason").unique().sort("day")
    assert told.rows() == [(D0, "ok", None), (D1, "rejected", "duplicate")]
    articles = press.rows(t.ARTICLES).filter(site_id=CLUB)
    assert set(articles["day"]) == {D0}, "what the later batch had been written from is gone"
    assert editor.until_quiet() == []


def test_keywords_in_the_settings_are_a_batch_too_and_whatever_changes_of_them_is_noticed(press: Press) -> None:
    press.daemon.asked()
    now = press
    # Moved to another day, it leaves the first: that one is made again too.
    for day, sector in ((D2, "general"), (D2, "brewing"), (D2 + timedelta(days=1), "brewing")):
        now = resettled(now, shop(), club(lists=(KeywordList(day=day, sector=sector, keywords=WHISTLE),)))
        assert [first for first, _ in spans(now.daemon.asked())] == [f"{D2}|{CLUB}"], (day, sector)


def test_a_site_that_is_added_gets_what_lay_there_and_one_that_rests_waits_until_it_is_active(press: Press) -> None:
    alone = resettled(press, shop())
    assert spans(alone.daemon.asked()) == [span(SHOP, D0, D1)]
    assert press.instance.get_dynamic_partitions("site") == [SHOP]
    resting = resettled(alone, shop(), club(active=False))
    assert resting.daemon.asked() == []
    assert spans(resettled(resting, shop(), club()).daemon.asked()) == [span(CLUB, D1, D1)]


def test_a_day_that_has_not_begun_waits(press: Press, folder: Path) -> None:
    editor = press.daemon
    tomorrow = AT.date() + timedelta(days=1)
    listed(folder, CLUB, tomorrow, *DESCALING)
    assert spans(editor.asked()) == [span(SHOP, D0, D1), span(CLUB, D1, D1)]
    press.clock.now += timedelta(days=1)
    assert spans(editor.asked()) == [span(CLUB, tomorrow, tomorrow)]


def test_more_ranges_than_a_tick_may_ask_for_wait_for_the_next_one(tmp_path: Path, folder: Path) -> None:
    days = [date(2024, 1, 1) + timedelta(days=(QUIET_DAYS + 5) * n) for n in range(RUNS_PER_TICK + 2)]
    for day in days:
        listed(folder, SHOP, day, f"kettle {day}")
    with pressing(content_over(folder, tmp_path / "home", shop(), start_day=days[0])) as many:
        asked = [many.daemon.asked() for _ in range(3)]
        assert max(map(len, many.daemon.used)) < 120, "run keys stay short"
    assert [len(found) for found in asked] == [RUNS_PER_TICK, 2, 0]
    assert spans([*asked[0], *asked[1]]) == [span(SHOP, day, day) for day in days]


# --- decisions ----------------------------------------------------------------------------------------------------


def test_an_idea_waits_without_a_timer_until_a_yes_and_then_becomes_an_article(quiet: Press) -> None:
    press, editor = quiet, quiet.daemon
    waiting = press.rows(t.CONTENT_IDEAS).filter(site_id=SHOP)
    assert waiting.select("status", "reason", "not_before").unique().rows() == [("pending", "awaiting_approval", None)]
    held = press.rows(t.ARTICLES).filter(site_id=SHOP)
    assert set(held["reason"]) == {"awaiting_approval"}
    press.clock.now += timedelta(days=30)
    assert [editor.tick(name)[0] for name in ("backlog", "daily_cost_cap", "quota")] == [[], [], []]

    first, second = waiting.sort("day")["idea_id"]
    press.decide("idea", first, "approve")
    press.decide("idea", second, "decline", reason="nobody asks for that")
    asked, _ = editor.tick("new_keywords")
    assert [request.job_name for request in asked] == ["content_landing"], "the lake copies what was decided"
    editor.perform(asked[0], "")
    asked = editor.asked()
    assert {selected(request) for request in asked} == {FROM_IDEAS}
    assert span(SHOP, D0, D1) in spans(asked)
    for request in asked:
        editor.perform(request, "")
    assert press.rows(t.CONTENT_REVIEWS)["action"].to_list() == ["approve", "decline"]
    written = press.rows(t.ARTICLES).filter(site_id=SHOP)
    assert written.select("article_id", "status").rows() == [(first, "ok")]
    (turned,) = press.rows(t.CONTENT_IDEAS).filter(idea_id=second).rows(named=True)
    assert (turned["status"], turned["reason"], turned["approval"]) == ("rejected", "declined", "declined")
    assert editor.until_quiet() == []


def test_an_edit_is_applied_over_what_was_written_and_holds_when_the_day_is_made_again(quiet: Press) -> None:
    press, editor = quiet, quiet.daemon
    (before,) = press.rows(t.ARTICLES).filter(site_id=CLUB).rows(named=True)
    text = '<h2 onclick="x()">Water first</h2><p>Cooler than you think.</p><script>alert(1)</script>'
    press.decide("article", before["article_id"], "edit", title="How hot for green tea", content_html=text)
    assert editor.until_quiet()[0] == "content_landing"

    def now() -> dict[str, Any]:
        return press.rows(t.ARTICLES).filter(site_id=CLUB).row(0, named=True)

    assert now()["title"] == "How hot for green tea"
    assert now()["content_html"] == "<h2>Water first</h2><p>Cooler than you think.</p>"
    assert "edited" in now()["quality_flags"]
    assert "offline" not in now()["quality_flags"]
    kept = now()
    press.make(D1, site=CLUB)
    assert now() == kept


def test_a_decision_about_one_site_leaves_the_rows_of_the_other_as_they_are(quiet: Press) -> None:
    press = quiet
    before = {table.name: press.rows(table).filter(site_id=CLUB) for table in t.TABLES if table.name in SITE_DAYS}
    press.decide("idea", press.rows(t.CONTENT_IDEAS).filter(site_id=SHOP)["idea_id"][0], "approve")
    press.daemon.until_quiet()
    for table in t.TABLES:
        if table.name in SITE_DAYS:
            assert press.rows(table).filter(site_id=CLUB).equals(before[table.name]), table.name


# --- what waits ---------------------------------------------------------------------------------------------------


def wait(press: Press, table: str, site: str, reason: str, due: datetime | None) -> None:
    partition = f"{site}|{D1}"
    press.control.record_pending(table, [partition], [Pending(table, partition, reason, 1, due)])


@pytest.mark.parametrize("table", SITE_DAYS[1:])
def test_what_waits_is_asked_for_when_its_time_has_come_with_what_is_made_from_it(press: Press, table: str) -> None:
    wait(press, table, CLUB, "transport", AT + timedelta(minutes=1))
    asked, skipped = press.daemon.tick("backlog")
    assert not asked
    assert "nothing is due" in str(skipped)
    wait(press, table, CLUB, "transport", AT - timedelta(minutes=1))
    (request,) = press.daemon.tick("backlog")[0]
    assert request.job_name == "site_days"
    assert request.partition_key == dg.MultiPartitionKey({"site": CLUB, "day": str(D1)})
    assert selected(request) == SITE_DAYS[SITE_DAYS.index(table) :]
    assert not press.daemon.tick("backlog")[0]


def test_what_waits_of_a_site_that_is_gone_holds_nothing_else_up(press: Press) -> None:
    for site in (SHOP, CLUB):
        wait(press, "articles", site, "transport", AT - timedelta(minutes=1))
    fewer = resettled(press, shop())
    (request,) = fewer.daemon.tick("backlog")[0]
    assert str(request.partition_key) == f"{D1}|{SHOP}"
    fewer.land()
    assert fewer.daemon.perform(request, "").success


# --- schedules ----------------------------------------------------------------------------------------------------


def scheduled(press: Press, name: str, at: datetime) -> tuple[list[dg.RunRequest], str | None]:
    repository = press.world.defs.get_repository_def()
    context = dg.build_schedule_context(
        instance=press.instance,
        scheduled_execution_time=at,
        repository_def=repository,
        resources=press.world.resources("lake"),
    )
    told = repository.get_schedule_def(name).evaluate_tick(context)
    return list(told.run_requests or []), told.skip_message


def test_each_rhythm_asks_for_the_batches_of_its_active_sites(press: Press) -> None:
    press.land()
    night = datetime(2026, 3, 9, 3, tzinfo=UTC)
    both = resettled(press, shop(schedule="weekly"), club(schedule="daily"))
    asked, _ = scheduled(both, "content_daily", night)
    assert spans(asked) == [span(CLUB, D1, D1)]
    assert spans(scheduled(both, "content_weekly", night)[0]) == [span(SHOP, D0, D1)]
    assert [one.run_key for one in asked] != [one.run_key for one in scheduled(both, "content_daily", AT)[0]]
    resting = resettled(press, shop(schedule="daily"), club(schedule="daily", active=False))
    assert spans(scheduled(resting, "content_daily", night)[0]) == [span(SHOP, D0, D1)]
    early, reason = scheduled(resting, "content_daily", datetime(2026, 3, 1, 3, tzinfo=UTC))
    assert early == []
    assert "no daily site has a batch" in str(reason)


def test_there_is_one_schedule_for_each_rhythm_that_a_site_has_and_nothing_runs_until_it_is_switched_on(
    press: Press,
) -> None:
    several = resettled(press, shop(schedule="monthly"), club(schedule="off"))
    jobs = {"site_days": several.world.defs.resolve_job_def("site_days")}
    schedules = build_schedules(several.settings, jobs)
    assert [(one.name, one.cron_schedule) for one in schedules] == [("content_monthly", "0 3 1 * *")]
    assert {one.default_status for one in schedules} == {dg.DefaultScheduleStatus.STOPPED}
    sensors = {one.name: one for one in press.world.defs.get_repository_def().sensor_defs}
    assert sensors["new_keywords"].default_status == dg.DefaultSensorStatus.STOPPED


# --- the network --------------------------------------------------------------------------------------------------


def test_no_sensor_and_no_schedule_touches_the_network(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    hosted = press.settings.llm.model_copy(update={"provider": "openai"})
    changes = {"llm": hosted, "sites": (shop(schedule="daily"), club())}
    now = press.again(press.settings.model_copy(update=changes))
    now.land()
    wait(now, "articles", SHOP, "cap_exhausted", AT - timedelta(minutes=1))
    wait(now, "article_images", CLUB, "transport", AT - timedelta(minutes=1))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a sensor touched the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = {name: now.daemon.tick(name)[0] for name in ("new_keywords", "backlog", "daily_cost_cap", "quota")}
    assert found["new_keywords"]
    assert found["backlog"]
    assert scheduled(now, "content_daily", AT)[0]

"""Sensors and schedules of persona: which runs they ask for when pages, people or the clock change something."""

import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from magpie.control import Pending
from magpie.llm.breaker import FAILED_RUNS
from magpie.persona import logs
from magpie.persona import tables as t
from schedules.persona import BLOG_DAYS, BLOG_POSTS
from sensors.persona import RUNS_PER_TICK
from tests.dagster_world import selected
from tests.persona_world import (
    AT,
    BLOG,
    D0,
    Office,
    ask,
    at,
    desk_of,
    diary,
    office_of,
    paged,
    persona_over,
    reblog,
    reply,
    span,
    spans,
    stored,
)

BEFORE, D1, D2 = D0 - timedelta(days=1), D0 + timedelta(days=1), D0 + timedelta(days=2)
SECRET = "my grandmother's teapot is called Hortensia"
REPLY = f"reply:cleo:107:{int(at(D0, 14).timestamp())}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in"


def asks_of(folder: Path, day: date, *asks: dict[str, Any]) -> Path:
    """A page for each day, so that only its day changes with it."""
    return paged(folder, "asks", f"of-{day}", asks)


@pytest.fixture
def office(tmp_path: Path, folder: Path) -> Iterator[Office]:
    """A diary and a question on each of two days, nothing made yet."""
    paged(folder, "posts", "page-1", diary())
    asks_of(folder, D0, ask(201, at(D0, 9), f"Would you know what {SECRET} for?"))
    asks_of(folder, D1, ask(203, at(D1, 9), "Which train is the slowest of them all?"))
    with office_of(persona_over(folder, tmp_path / "home")) as found:
        yield found


def posts(first: date, last: date) -> tuple[str, str, str]:
    return ("blog_posts", *span(first, last))


def inputs(first: date, last: date) -> tuple[str, str, str]:
    return ("blog_days", *span(first, last))


def resettled(office: Office, **more: Any) -> Office:
    """The same instance and cursors under other settings of the blog."""
    return office.again(office.settings.model_copy(update={"blogs": (desk_of(**more),)}))


def outbox_ids(office: Office) -> list[str]:
    return office.rows(t.OUTBOX).sort("day", "input_id", "attempt")["outbox_id"].to_list()


# --- pages --------------------------------------------------------------------------------------------------------


def test_new_pages_are_read_and_reacted_to_once_and_their_drafts_wait_for_people_alone(office: Office) -> None:
    clerk = office.daemon
    office.instance.delete_dynamic_partition("blog", BLOG)
    asked, _ = clerk.tick("new_inputs")
    assert [request.job_name for request in asked] == ["persona_landing"]
    assert office.instance.get_dynamic_partitions("blog") == [BLOG]
    assert not clerk.tick("new_inputs")[0], "the same pages are not asked for twice"
    clerk.perform(asked[0], "")
    (request,) = clerk.asked()
    assert spans([request]) == [posts(BEFORE, D1)]
    result = clerk.perform(request, "")
    (after,) = clerk.follows(result, "inputs_after_posts")
    assert (after.tags["dagster/asset_partition_range_start"], after.tags["dagster/asset_partition_range_end"]) == span(
        BEFORE, D1
    )
    clerk.perform(after, "blog_days")
    assert office.rows(t.OUTBOX).height == 2
    assert office.rows(t.MOOD)["day"].unique().sort().to_list() == [BEFORE, D0, D1]
    asked, reason = clerk.tick("new_inputs")
    assert not asked
    assert "as before" in str(reason)
    assert set(waiting(office)) == {("outbox", "review")}
    office.clock.now += timedelta(days=60)
    assert [clerk.tick(name)[0] for name in ("new_inputs", "backlog", "daily_cost_cap", "quota")] == [[]] * 4


def test_a_day_that_changes_is_asked_for_with_all_later_ones_and_one_that_vanished_too(
    office: Office, folder: Path
) -> None:
    clerk = office.daemon
    clerk.asked()
    page = asks_of(folder, D2, ask(204, at(D2, 9), "Is the kettle on, and may I come in?"))
    assert spans(clerk.asked()) == [posts(D2, D2)], "what is older does not change"
    asks_of(folder, D1, ask(203, at(D1, 9), "Which train is the very slowest of them all?"))
    assert spans(clerk.asked()) == [posts(D1, D2)]
    page.unlink()
    assert spans(clerk.asked()) == [posts(D2, D2)]


def test_a_resting_blog_waits_until_it_is_active(office: Office) -> None:
    resting = resettled(office, active=False)
    assert resting.daemon.asked() == []
    assert spans(resettled(resting).daemon.asked()) == [posts(BEFORE, D1)]


def test_more_ranges_than_a_tick_may_ask_for_wait_for_the_next_one(tmp_path: Path, folder: Path) -> None:
    days = [date(2024, 1, 1) + timedelta(days=20 * n) for n in range(RUNS_PER_TICK + 2)]
    for day in days:
        asks_of(folder, day, ask(day.toordinal(), at(day, 9), "Is anybody there at all?"))
    with office_of(persona_over(folder, tmp_path / "home", start_day=days[0])) as many:
        asked = [many.daemon.asked() for _ in range(3)]
        assert max(map(len, many.daemon.used)) < 120, "run keys stay short"
    assert [len(found) for found in asked] == [RUNS_PER_TICK, 2, 0]
    assert spans([*asked[0], *asked[1]]) == [posts(day, day) for day in days]


def test_an_input_that_waited_past_midnight_is_answered_once_its_day_is_asked_for_again(
    tmp_path: Path, folder: Path
) -> None:
    paged(folder, "posts", "page-1", diary())
    question = ask(203, at(D1, 9), "Which train is the slowest of them all?")
    asks_of(folder, D1, question)
    asks_of(
        folder,
        D0,
        ask(201, at(D0, 23, 55), "Is the night long, and is it any good?"),
        ask(202, at(D0, 23, 56), "And another thing that I wanted to say."),
    )
    with office_of(persona_over(folder, tmp_path / "home")) as office:
        clerk = office.daemon
        assert spans(clerk.asked()) == [posts(BEFORE, D1)]
        office.read(BEFORE, D1)
        office.make(D0)
        office.make(D1)
        # One ask of a user is taken at a tick, so the second came after midnight, at a tick of the next day.
        ticks = dict(logs.TICKS.read(office.control).select("input_id", "tick_ts").rows())
        assert ticks["ask:201"] == at(D1, 0) < ticks["ask:202"]
        assert set(office.rows(t.DECISIONS)["input_id"]) == {"ask:201", "ask:203"}
        asked = clerk.asked()
        assert spans(asked) == [inputs(D0, D0)]
        clerk.perform(asked[0], "")
        assert clerk.asked() == []
        assert set(office.rows(t.DECISIONS)["input_id"]) == {"ask:201", "ask:202", "ask:203"}


# --- people -------------------------------------------------------------------------------------------------------


def test_a_review_makes_the_inbox_and_outbox_of_its_day_again_and_leaves_the_other_days_alone(office: Office) -> None:
    clerk = office.daemon
    clerk.until_quiet()
    first, second = outbox_ids(office)
    office.review(first, "approve")
    asked = clerk.asked()
    assert spans(asked) == [inputs(D0, D0)]
    clerk.perform(asked[0], "")
    states = dict(office.rows(t.OUTBOX).select("outbox_id", "state").rows())
    assert states == {first: "approved", second: "draft"}
    assert not clerk.asked()
    office.review(second, "redo")
    asked = clerk.asked()
    assert spans(asked) == [inputs(D1, D1)], "of the other nothing new was said"
    clerk.perform(asked[0], "")
    held = office.rows(t.OUTBOX).filter(day=D1).sort("attempt")
    assert held.select("attempt", "state").rows() == [(1, "redo"), (2, "draft")]
    assert clerk.until_quiet() == []


def test_an_input_that_waits_is_the_business_of_no_timer(office: Office) -> None:
    limited = resettled(office, limited={"ada": 5000})
    limited.daemon.until_quiet()
    assert limited.fates(t.PERSONA_INBOX) == {("pending", "waiting"): 2}
    assert set(waiting(limited)) == {("persona_inbox", "waiting")}
    assert [limited.daemon.tick(name)[0] for name in ("new_inputs", "backlog", "daily_cost_cap", "quota")] == [[]] * 4


def waiting(office: Office) -> list[tuple[str, str]]:
    return [(item.table, item.reason) for item in office.control.pending()]


# --- deletions ----------------------------------------------------------------------------------------------------


def texts_of(office: Office) -> dict[str, str]:
    """Everything in every table, as text."""
    return {table.name: office.rows(table).write_json() for table in t.TABLES}


def test_what_its_author_took_back_is_in_no_table_any_more_once_the_sensor_s_runs_are_through(
    office: Office, folder: Path
) -> None:
    own = diary()
    said = f"I can say now that {SECRET} too."
    paged(folder, "mentions", "page-1", [reblog(301, at(D0, 13), said, own[0])])
    paged(folder, "notes", "107", [reply(at(D0, 14), f"Did you know that {SECRET}?")])
    clerk = office.daemon
    clerk.until_quiet()
    assert office.rows(t.OUTBOX).height == 4
    told = {name for name, text in texts_of(office).items() if "Hortensia" in text}
    assert told >= {"tumblr_posts", "tumblr_replies", "threads", "persona_inbox"}
    before = stored(office)
    office.take_back("201")
    assert spans(clerk.asked()) == [posts(D0, D1)], "the mood of the days after it follows from it"
    for item in ("301", REPLY):
        office.take_back(item)
    jobs = clerk.until_quiet()
    assert jobs[:2] == ["blog_posts", "blog_days"]
    assert {name for name, text in texts_of(office).items() if "Hortensia" in text} == set()
    gone = office.rows(t.PERSONA_INBOX).filter(day=D0)
    assert gone.select("input_id", "state", "reason", "text", "tick_ts").sort("input_id").rows() == [
        (name, "ignored", "deleted", None, None) for name in ("ask:201", "reblog:bert:301", REPLY)
    ]
    posts_of = office.rows(t.OUTBOX).sort("day", "input_id").select("input_id", "state", "reason", "body_npf")
    assert [row[:3] for row in posts_of.rows()] == [
        *((name, "discarded", "deleted") for name in ("ask:201", "reblog:bert:301", REPLY)),
        ("ask:203", "draft", "review"),
    ]
    assert posts_of["body_npf"].null_count() == 3
    after = stored(office)
    assert after["mood_inputs"].equals(before["mood_inputs"]), "what was felt was felt"
    assert (
        after["tumblr_posts"]
        .filter(pl.col("role") == "own")
        .equals(before["tumblr_posts"].filter(pl.col("role") == "own"))
    )
    assert clerk.until_quiet() == []


# --- live blogs ---------------------------------------------------------------------------------------------------


def test_a_live_blog_ticks_while_something_waits_and_rests_otherwise(tmp_path: Path, folder: Path) -> None:
    """Whoever is limited to one answer in many hours waits; asks are taken one of a user at a tick."""
    today = AT.date()
    # Of yesterday, so that all there is to make is one range.
    paged(folder, "posts", "page-1", diary(today - timedelta(days=1)))
    asks_of(folder, today, *(ask(300 + n, AT - timedelta(minutes=5 - n), f"Question {n}, is it late?") for n in (0, 1)))
    with office_of(persona_over(folder, tmp_path / "home", desk_of(mode="live"))) as office:
        clerk = office.daemon
        clerk.until_quiet()
        inbox = office.rows(t.PERSONA_INBOX).filter(day=today)
        assert sorted(inbox["status"]) == ["ok", "pending"], "one ask of a user at a tick"
        assert clerk.asked() == [], "its next tick has not come"
        office.clock.now += timedelta(minutes=1)
        asked = clerk.asked()
        assert inputs(today, today) in spans(asked)
        for request in asked:
            clerk.perform(request, "")
        assert set(office.rows(t.PERSONA_INBOX).filter(day=today)["status"]) == {"ok"}
        clerk.until_quiet()
        office.clock.now += timedelta(minutes=1)
        assert clerk.asked() == [], "nothing waits"


def test_a_live_blog_fills_its_queue_a_post_a_tick_until_it_reaches_tomorrow(tmp_path: Path, folder: Path) -> None:
    paged(folder, "posts", "page-1", diary())
    today, tomorrow = AT.date(), AT.date() + timedelta(days=1)
    blog = desk_of(mode="live", originals=True, tuning={"posts_per_day": 3})
    with office_of(persona_over(folder, tmp_path / "home", blog)) as office:
        clerk = office.daemon
        ticks = 0
        while asked := clerk.asked():
            for request in asked:
                clerk.perform(request, "")
            ticks += 1
            assert ticks < 8, "it comes to rest"
            office.clock.now += timedelta(minutes=1)
        slots = office.rows(t.OUTBOX).sort("publish_at")["publish_at"].to_list()
        assert [slot.date() for slot in slots] == [today, today, tomorrow]
        office.clock.now = at(tomorrow, 12)
        assert inputs(tomorrow, tomorrow + timedelta(days=1)) in spans(clerk.asked()), "a new day"


# --- what waits for a time ----------------------------------------------------------------------------------------


def wait(office: Office, table: str, reason: str, due: datetime | None) -> None:
    partition = f"{BLOG}|{D1}"
    office.control.record_pending(table, [partition], [Pending(table, partition, reason, 1, due)])


@pytest.mark.parametrize(
    ("table", "job", "assets"),
    [("image_texts", "blog_posts", BLOG_POSTS[2:]), ("candidates", "blog_days", BLOG_DAYS)],
)
def test_what_waits_is_asked_for_when_its_time_has_come_with_what_is_made_from_it(
    office: Office, table: str, job: str, assets: tuple[str, ...]
) -> None:
    wait(office, table, "transport", AT + timedelta(minutes=1))
    asked, skipped = office.daemon.tick("backlog")
    assert not asked
    assert "nothing is due" in str(skipped)
    wait(office, table, "transport", AT - timedelta(minutes=1))
    (request,) = office.daemon.tick("backlog")[0]
    assert request.job_name == job
    assert request.partition_key == dg.MultiPartitionKey({"blog": BLOG, "day": str(D1)})
    assert selected(request) == assets
    assert not office.daemon.tick("backlog")[0]
    office.land()
    result = office.daemon.perform(request, "")
    assert result.success
    assert office.control.pending() == []


def test_what_waits_of_a_blog_that_is_gone_waits_in_vain(office: Office) -> None:
    wait(office, "candidates", "transport", AT - timedelta(minutes=1))
    fewer = office.again(office.settings.model_copy(update={"blogs": (desk_of(name="day-desk"),)}))
    assert fewer.daemon.tick("backlog")[0] == []


def test_failed_runs_of_the_author_stop_the_function_that_it_asks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("magpie.persona.studio.Studio.authored", broken)
    office.land()
    office.read(BEFORE, D1)
    wait(office, "candidates", "transport", AT - timedelta(minutes=1))
    for _ in range(FAILED_RUNS):
        told = office.daemon.failed(office.make(D1, check=False), "circuit_breaker")
    assert "persona_write" in str(told[0].skip_message)
    assert office.daemon.tick("backlog")[0] == [], "it would fail again"


# --- schedules ----------------------------------------------------------------------------------------------------


def scheduled(office: Office, name: str, when: datetime) -> list[dg.RunRequest]:
    repository = office.world.defs.get_repository_def()
    context = dg.build_schedule_context(
        instance=office.instance, scheduled_execution_time=when, repository_def=repository
    )
    with partition_loading_context(dynamic_partitions_store=office.instance):
        return list(repository.get_schedule_def(name).evaluate_tick(context).run_requests or [])


def test_models_are_trained_weekly_for_active_blogs_and_nothing_runs_until_it_is_switched_on(office: Office) -> None:
    monday = datetime(2026, 3, 16, 3, tzinfo=UTC)
    assert [request.partition_key for request in scheduled(office, "models_weekly", monday)] == [BLOG]
    assert scheduled(resettled(office, active=False), "models_weekly", monday) == []
    repository = office.world.defs.get_repository_def()
    for name in ("models_weekly", "tumblr_regularly", "persona_logs_hourly"):
        assert repository.get_schedule_def(name).default_status == dg.DefaultScheduleStatus.STOPPED, name
    sensor = repository.get_sensor_def("new_inputs")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


# --- the network --------------------------------------------------------------------------------------------------


def test_no_sensor_and_no_schedule_touches_the_network(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    hosted = office.settings.llm.model_copy(update={"provider": "openai"})
    live = desk_of(mode="live", originals=True, delivery="tumblr")
    now = office.again(office.settings.model_copy(update={"llm": hosted, "blogs": (live,)}))
    now.land()
    wait(now, "candidates", "cap_exhausted", AT - timedelta(minutes=1))
    wait(now, "image_texts", "transport", AT - timedelta(minutes=1))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a sensor touched the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = {name: now.daemon.tick(name)[0] for name in ("new_inputs", "backlog", "daily_cost_cap", "quota")}
    assert {job for job, *_ in spans(found["new_inputs"])} == {"blog_posts", "blog_days"}
    assert found["backlog"]
    assert scheduled(now, "models_weekly", AT)

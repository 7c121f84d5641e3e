"""Sensors and schedules of memes: which runs they ask for when files, decisions, copies or queues call for it."""

import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.partitions import RANGE_END, RANGE_START, day_range, platforms_range
from magpie.control import Control, Pending
from magpie.memes import logs
from magpie.memes import sources as channels
from magpie.memes import tables as t
from magpie.memes.changes import QUIET_DAYS
from magpie.memes.moderation import decide
from magpie.memes.sources import Listed
from magpie.memes.uploads import register
from magpie.settings import Settings
from magpie.sources.web import Page, Web, WebError
from magpie.tables import Partitions
from schedules.memes import FETCHES, MEME_DAYS, build_schedules
from sensors.memes import RUNS_PER_TICK
from tests.dagster_world import Made, World, copy_home, filled_memes, made_memes, rows, selected, versions
from tests.instances import fresh_instance
from tests.memes_world import (
    CATS,
    D0,
    NOW,
    Keeper,
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
    told,
    with_memes,
)

__all__ = ["filled_memes", "made_memes"]

DOGS = "tg:dogs"
PER_PARTITION = tuple(table for table in t.TABLES if table.dimensions)


def spans(requests: list[dg.RunRequest]) -> list[tuple[str | None, str, str]]:
    """Job, first and last day of each request."""
    return [
        (one.job_name, one.tags[RANGE_START].partition("|")[0], one.tags[RANGE_END].partition("|")[0])
        for one in requests
    ]


def state(world: World, meme_id: str) -> tuple[str, str]:
    (row,) = rows(world.lake, t.MEME_STATUS).filter(pl.col("meme_id") == meme_id).rows(named=True)
    return row["state"], row["decided_by"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


# Below the home, so that files keep their names when it is copied.
@pytest.fixture
def archives(home: Path) -> Path:
    return home / "in"


@pytest.fixture
def events(home: Path) -> Path:
    return home / "events"


def cats_of(home: Path) -> Settings:
    return memes_over(home / "in", home, events=(str(home / "events"),))


def begun(home: Path) -> Settings:
    """Three memes of a channel on two days, and a like."""
    exported(home / "in", CATS, *(message(n, noon(day_of(n // 3), n)) for n in (1, 2, 3)))
    told(home / "events" / "a.ndjson", event(1, "sent", "u1", "telegram:cats:1", noon(day_of(2))))
    return cats_of(home)


@pytest.fixture
def keeper(home: Path) -> Iterator[Keeper]:
    """Nothing has been made yet of three memes."""
    with fresh_instance() as instance:
        yield Keeper(located(begun(home), instance))


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Keeper:
    """All that sensors ask for has been made; tests work on copies of its home."""
    with fresh_instance() as instance:
        made = Keeper(located(begun(tmp_path_factory.mktemp("settled")), instance))
        made.until_quiet()
        made.world.control.close()
    return made


@pytest.fixture
def quiet(settled: Keeper, home: Path) -> Iterator[Keeper]:
    """The daemon goes on after all that sensors asked for has been made of three memes."""
    copy_home(settled.world.settings.home, home)
    with fresh_instance() as instance:
        yield Keeper(located(cats_of(home), instance), dict(settled.cursors), set(settled.used))


# --- new files ----------------------------------------------------------------------------------------------------


def test_new_files_are_landed_once_and_then_their_days_are_asked_for(keeper: Keeper) -> None:
    asked, _ = keeper.tick("new_memes")
    assert [request.job_name for request in asked] == ["meme_landing"]
    assert not keeper.tick("new_memes")[0], "the same landing is not asked for twice"
    keeper.perform(asked[0], "")
    posts, ratings = sorted(keeper.tick("new_memes")[0], key=lambda request: str(request.job_name))
    assert spans([posts, ratings]) == [
        ("meme_days", str(D0), str(day_of(1))),
        ("reaction_days", str(day_of(2)), str(NOW.date())),
    ]
    assert platforms_range(D0, day_of(1)).items() <= posts.tags.items()
    assert selected(posts) == (), "all of the job"
    assert max(map(len, keeper.used)) < 100
    asked, reason = keeper.tick("new_memes")
    assert not asked
    assert "as before" in str(reason)


def test_only_the_days_of_a_file_that_changed_are_asked_for_each_time_it_changes(
    keeper: Keeper, archives: Path, events: Path
) -> None:
    keeper.asked()
    exported(archives, DOGS, message(8, noon(day_of(4))))
    assert spans(keeper.asked()) == [("meme_days", str(day_of(4)), str(day_of(4)))]
    path = exported(archives, DOGS, message(8, noon(day_of(4)), "again"))
    assert spans(keeper.asked()) == [("meme_days", str(day_of(4)), str(day_of(4)))]
    shutil.rmtree(path.parent)
    assert spans(keeper.asked()) == [("meme_days", str(day_of(4)), str(day_of(4)))], "a day of a file that is gone"
    told(events / "b.ndjson", event(2, "like", "u1", "telegram:cats:1", noon(day_of(3))))
    # Ratings count all that was known then, so those of later days move too.
    assert spans(keeper.asked()) == [("reaction_days", str(day_of(3)), str(NOW.date()))]


def test_more_ranges_than_a_tick_may_ask_for_wait_for_the_next_one(tmp_path: Path, archives: Path) -> None:
    days = [date(2024, 1, 1) + timedelta(days=(QUIET_DAYS + 5) * n) for n in range(RUNS_PER_TICK + 2)]
    exported(archives, CATS, *(message(n, noon(day), photo=f"photos/{n % 2}.jpg") for n, day in enumerate(days, 1)))
    with fresh_instance() as instance:
        many = Keeper(located(memes_over(archives, tmp_path / "home", start_day=days[0]), instance))
        asked = [many.asked(), *(many.tick("new_memes")[0] for _ in range(2))]
    assert [len(found) for found in asked] == [RUNS_PER_TICK, 2, 0]
    assert [first for found in asked for _, first, _ in spans(found)] == [str(day) for day in days]


def test_a_day_that_has_not_begun_waits_and_one_before_the_first_partition_is_left_out(
    tmp_path: Path, archives: Path
) -> None:
    tomorrow = NOW.date() + timedelta(days=1)
    days = (D0 - timedelta(days=1), NOW.date(), tomorrow)
    exported(archives, CATS, *(message(n, noon(day)) for n, day in enumerate(days, 1)))
    clock = [NOW]
    with fresh_instance() as instance:
        settings = memes_over(archives, tmp_path / "home")
        early = Keeper(located(settings, instance, lambda: clock[0]))
        assert spans(early.asked()) == [("meme_days", str(NOW.date()), str(NOW.date()))]
        assert early.asked() == []
        clock[0] += timedelta(days=1)
        assert spans(early.asked()) == [("meme_days", str(tomorrow), str(tomorrow))]


def test_a_folder_that_is_gone_is_one_line_that_names_it(keeper: Keeper, archives: Path) -> None:
    shutil.rmtree(archives)
    with pytest.raises(Exception, match="does not exist") as raised:
        keeper.tick("new_memes")
    assert str(archives) in str(raised.value.__cause__ or raised.value)


def test_following_the_sensors_makes_the_same_tables_as_a_plain_run(made_memes: Made, filled_memes: World) -> None:
    """What pictures say stays known, so that none is read twice; all else is made from nothing."""
    tables = [table for table in PER_PARTITION if filled_memes.lake.present(table)]
    before = {table.name: rows(made_memes.lake, table) for table in tables}
    for table in tables:
        if table is not t.MEME_DESCRIPTIONS:
            keys = filled_memes.lake.present(table)
            gone = (
                Partitions.of((row["platform"], row["day"]) for row in keys)
                if "platform" in table.dimensions
                else Partitions.days(row["day"] for row in keys)
            )
            filled_memes.lake.write(table, table.empty(), gone)
    filled_memes.lake.write(t.MEME_FILES, t.MEME_FILES.empty(), Partitions.whole())
    # The day after the last event, so that no more days are rated than a plain run rates.
    at = noon(date(2026, 3, 13), 50) + timedelta(hours=11)
    following = Keeper(located(filled_memes.settings, filled_memes.instance, lambda: at))
    assert set(following.until_quiet()) == {"meme_landing", "meme_days", "reaction_days"}
    assert_same(
        {name: closed(frame) for name, frame in before.items()},
        {name: closed(frame) for name, frame in stored(following.world, tables).items()},
    )
    assert following.until_quiet() == []


def closed(frame: pl.DataFrame) -> pl.DataFrame:
    """Without the ratings of the last day, which was not over yet when they were made."""
    return frame.filter(pl.col("day") < date(2026, 3, 13)) if "as_of" in frame.columns else frame


# --- what people say ----------------------------------------------------------------------------------------------


def test_a_decision_is_copied_into_the_lake_and_the_day_of_its_meme_gets_its_states_anew(quiet: Keeper) -> None:
    keeper, world = quiet, quiet.world
    assert state(world, "telegram:cats:1") == ("ok", "rules")
    decide(world.control, world.lake, "telegram:cats:1", "reject", actor="mona", at=NOW, operator=True)
    (landing,) = keeper.tick("new_memes")[0]
    assert landing.job_name == "meme_landing"
    keeper.perform(landing, "")
    (request,) = keeper.tick("new_memes")[0]
    assert spans([request]) == [("meme_days", str(D0), str(D0))]
    assert selected(request) == MEME_DAYS[1:], "posts do not follow from decisions"
    was = versions(world.lake, t.TABLES)
    keeper.do(request)
    assert versions(world.lake, t.TABLES)["meme_posts"] == was["meme_posts"]
    assert state(world, "telegram:cats:1") == ("rejected", "mona")
    assert state(world, "telegram:cats:2") == ("ok", "rules")
    assert keeper.until_quiet() == []
    decide(world.control, world.lake, "telegram:cats:1", "restore", actor="mona", at=NOW, operator=True)
    keeper.until_quiet()
    assert state(world, "telegram:cats:1")[0] == "ok"


def test_a_source_that_is_snoozed_takes_its_memes_along_and_brings_them_back_when_it_wakes(quiet: Keeper) -> None:
    keeper, world = quiet, quiet.world
    listed = Listed.of(world.settings, rows(world.lake, t.MEME_FILES))
    for action, expected in (("snooze", "snoozed"), ("unsnooze", "ok")):
        channels.decide(world.control, listed, CATS, action, actor="mona", at=NOW, reason="because")
        asked = keeper.asked()
        assert spans(asked) == [("meme_days", str(D0), str(day_of(1)))], "its own days and no others"
        for request in asked:
            keeper.do(request)
        assert set(rows(world.lake, t.MEME_STATUS)["state"]) == {expected}
        assert keeper.until_quiet() == []


def test_posts_of_a_source_that_nobody_listed_become_memes_when_it_is_enabled(quiet: Keeper, archives: Path) -> None:
    exported(archives, "tg:newcomer", message(8, noon(day_of(1))))
    quiet.until_quiet()
    world = quiet.world
    (row,) = rows(world.lake, t.MEMES).filter(pl.col("source_id") == "tg:newcomer").rows(named=True)
    assert (row["status"], row["reason"]) == ("rejected", "source_in_moderation")
    listed = Listed.of(world.settings, rows(world.lake, t.MEME_FILES))
    channels.decide(world.control, listed, "tg:newcomer", "enable", actor="mona", at=NOW)
    quiet.until_quiet()
    assert state(world, "telegram:newcomer:8")[0] == "ok"


# --- copies that came late ----------------------------------------------------------------------------------------


def test_an_older_copy_that_lands_late_makes_the_later_ones_its_copies(quiet: Keeper, archives: Path) -> None:
    picture = drawn(77)
    exported(
        archives, DOGS, message(8, noon(day_of(1))), message(9, noon(day_of(2))), pictures={8: drawn(8), 9: picture}
    )
    quiet.until_quiet()
    assert state(quiet.world, "telegram:dogs:9")[0] == "ok"
    exported(
        archives,
        "tg:cats",
        *(message(n, noon(day_of(n // 3), n)) for n in (1, 2, 3)),
        message(4, noon(D0, 4)),
        pictures={4: picture},
    )
    (first,) = quiet.asked()
    (follow,) = quiet.follows(quiet.perform(first, ""), "later_copies")
    assert spans([follow]) == [(None, str(day_of(2)), str(day_of(2)))]
    assert selected(follow) == ("meme_duplicates", "meme_status")
    assert state(quiet.world, "telegram:dogs:9")[0] == "ok", "until its own day is made again"
    again = quiet.perform(follow, "meme_days")
    (row,) = rows(quiet.world.lake, t.MEME_DUPLICATES).filter(pl.col("meme_id") == "telegram:dogs:9").rows(named=True)
    assert (row["verdict"], row["rule"], row["duplicate_of"]) == ("duplicate", "sha256", "telegram:cats:4")
    assert state(quiet.world, "telegram:dogs:9")[0] == "duplicate"
    assert quiet.follows(again, "later_copies") == [], "nothing comes after the last copy"


# --- what waits ---------------------------------------------------------------------------------------------------


def wait(control: Control, table: str, reason: str, due: datetime | None, platform: str = "telegram") -> None:
    partition = f"{platform}|{D0}"
    control.record_pending(table, [partition], [Pending(table, partition, reason, 1, due)])


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("memes", "views_settling"),
        ("meme_media", "broken_link"),
        ("meme_media", "batch_stopped"),
        ("meme_descriptions", "transport"),
    ],
)
def test_what_waits_is_asked_for_when_its_time_has_come_with_what_is_made_from_it(
    keeper: Keeper, table: str, reason: str
) -> None:
    wait(keeper.world.control, table, reason, NOW + timedelta(minutes=1))
    asked, skipped = keeper.tick("backlog")
    assert not asked
    assert "nothing is due" in str(skipped)
    wait(keeper.world.control, table, reason, NOW - timedelta(minutes=1))
    (request,) = keeper.tick("backlog")[0]
    assert request.job_name == "meme_days"
    assert request.partition_key == dg.MultiPartitionKey({"platform": "telegram", "day": str(D0)})
    assert selected(request) == MEME_DAYS[MEME_DAYS.index(table) :]
    assert not keeper.tick("backlog")[0]


def test_what_waits_for_its_turn_an_event_or_a_platform_that_is_none_is_not_asked_for(keeper: Keeper) -> None:
    wait(keeper.world.control, "meme_descriptions", "awaiting_turn", None)
    wait(keeper.world.control, "meme_duplicates", "pending_text", None)
    wait(keeper.world.control, "meme_media", "broken_link", NOW - timedelta(minutes=1), platform="kites")
    assert [keeper.tick(name)[0] for name in ("backlog", "daily_cost_cap", "quota")] == [[], [], []]


def test_few_views_of_a_young_post_are_judged_when_it_is_a_day_old(tmp_path: Path, archives: Path) -> None:
    day = NOW.date() - timedelta(days=1)
    wall = [vk_post(n, noon(day) + timedelta(minutes=n), views=100 if n == 9 else 1000) for n in range(1, 10)]
    path = archives / "vk" / "wall" / "wall.json"
    path.parent.mkdir(parents=True)
    path.write_text(json_of(wall))
    clock = [noon(day) + timedelta(hours=1)]
    settings = memes_over(archives, tmp_path / "home", sources=("vk:wall",))
    with fresh_instance() as instance:
        keeper = Keeper(located(settings, instance, lambda: clock[0]))
        keeper.until_quiet()
        young = rows(keeper.world.lake, t.MEMES).filter(pl.col("status") == "pending")
        assert young.select("meme_id", "reason").rows() == [("vk:wall:-7_9", "views_settling")]
        assert keeper.tick("backlog")[0] == []
        clock[0] = young["not_before"][0] + timedelta(minutes=1)
        (request,) = keeper.tick("backlog")[0]
        keeper.do(request)
        old = rows(keeper.world.lake, t.MEMES).filter(pl.col("status") != "ok")
        assert old.select("meme_id", "status", "reason").rows() == [("vk:wall:-7_9", "rejected", "low_engagement")]
        assert keeper.tick("backlog")[0] == []


def vk_post(number: int, at: datetime, views: int) -> dict[str, Any]:
    photo = {"sizes": [{"type": "x", "width": 604, "height": 604, "url": f"https://media.invalid/{number}.jpg"}]}
    return {
        "id": number,
        "owner_id": -7,
        "from_id": -7,
        "date": int(at.timestamp()),
        "text": "",
        "attachments": [{"type": "photo", "photo": photo}],
        "views": {"count": views},
    }


def json_of(items: list[dict[str, Any]]) -> str:
    return json.dumps({"response": {"count": len(items), "items": items}})


class Servers(Web):
    """Answers from memory: `held` by address, all else is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, bytes] = {}
        self.asked: list[str] = []

    def get(self, url: str, headers: Mapping[str, str] | None = None, **bounds: Any) -> Page:
        self.asked.append(url)
        if url not in self.held:
            raise WebError("http_404", "gone")
        return Page(200, {}, self.held[url], url)


def test_a_broken_link_is_tried_again_when_it_is_due_and_its_meme_is_shown_then(tmp_path: Path, archives: Path) -> None:
    path = archives / "vk" / "wall" / "wall.json"
    path.parent.mkdir(parents=True)
    path.write_text(json_of([vk_post(1, noon(D0), views=1000)]))
    clock, web = [NOW], Servers()
    settings = memes_over(archives, tmp_path / "home", sources=("vk:wall",), live=("vk",))
    with fresh_instance() as instance:
        keeper = Keeper(located(settings, instance, lambda: clock[0], web=web))
        keeper.until_quiet()
        (row,) = rows(keeper.world.lake, t.MEME_MEDIA).rows(named=True)
        assert (row["status"], row["reason"], row["attempts"]) == ("pending", "broken_link", 1)
        assert row["not_before"] == NOW + timedelta(hours=1)
        assert state(keeper.world, "vk:wall:-7_1")[0] == "created"
        keeper.world.run("meme_days", tags=platforms_range(D0, D0))
        assert len(web.asked) == 1, "not before its time, whoever makes its day"
        assert keeper.tick("backlog")[0] == []
        clock[0] = NOW + timedelta(hours=1, minutes=1)
        web.held[web.asked[0]] = drawn(1)
        (request,) = keeper.tick("backlog")[0]
        keeper.do(request)
        assert len(web.asked) == 2
        assert state(keeper.world, "vk:wall:-7_1")[0] == "ok"
        assert keeper.tick("backlog")[0] == []


# --- queues -------------------------------------------------------------------------------------------------------


def test_the_queue_of_somebody_who_is_there_is_filled_again_by_the_sensor(filled_memes: World) -> None:
    at = [NOW]
    settings = with_memes(filled_memes.settings, refill_n=3, refill_at=2)
    keeper = Keeper(located(settings, filled_memes.instance, lambda: at[0]))
    recommender = keeper.world.resources("recommender")["recommender"]
    register(keeper.world.control, "u12", ["en"], at=NOW)
    assert "0 queues were filled" in str(keeper.tick("queue_refill")[1]), "of somebody who never asked"
    served = recommender.pop("u12")
    recommender.delivered(served)
    before = [row.queue_id for row in recommender.queues.live("u12", at[0])]
    assert len(before) == 2
    at[0] += timedelta(minutes=1)
    asked, reason = keeper.tick("queue_refill")
    assert not asked
    assert "1 queues were filled" in str(reason)
    after = recommender.queues.live("u12", at[0])
    memes = [row.meme_id for row in after]
    assert [row.queue_id for row in after][:2] == before, "first come, first served"
    assert len(memes) == len(set(memes)) > 2
    assert served.meme_id not in memes
    at[0] += timedelta(hours=2)
    assert "0 queues were filled" in str(keeper.tick("queue_refill")[1]), "of somebody who has left"
    keeper.world.run("queue_days", tags=day_range(NOW.date(), NOW.date()))
    recorded = rows(keeper.world.lake, t.RECOMMENDATION_QUEUES)
    assert recorded["refill_no"].unique().sort().to_list() == [0, 1]
    assert rows(keeper.world.lake, t.MEME_CANDIDATES)["refill_no"].n_unique() == 2


# --- schedules ----------------------------------------------------------------------------------------------------


def scheduled(world: World, name: str, at: datetime) -> tuple[list[dg.RunRequest], str | None]:
    repository = world.defs.get_repository_def()
    context = dg.build_schedule_context(instance=world.instance, scheduled_execution_time=at, repository_def=repository)
    found = repository.get_schedule_def(name).evaluate_tick(context)
    return list(found.run_requests or []), found.skip_message


def test_each_platform_is_fetched_at_a_minute_of_its_own(keeper: Keeper) -> None:
    repository = keeper.world.defs.get_repository_def()
    crons = {name: repository.get_schedule_def(f"fetch_{name}_regularly").cron_schedule for name in FETCHES}
    assert crons == {"telegram": "40 * * * *", "vk": "20 * * * *", "instagram": "30 0 * * *"}


def test_today_is_rated_each_quarter_of_an_hour_and_yesterday_once_it_is_over(keeper: Keeper) -> None:
    at = NOW.replace(minute=15)
    (today,), _ = scheduled(keeper.world, "reactions_quarterly", at)
    assert day_range(at.date(), at.date()).items() <= today.tags.items()
    (later,), _ = scheduled(keeper.world, "reactions_quarterly", at + timedelta(minutes=15))
    assert later.run_key != today.run_key
    midnight = NOW.replace(hour=0, minute=10)
    (closing,), _ = scheduled(keeper.world, "reactions_closing", midnight)
    yesterday = NOW.date() - timedelta(days=1)
    assert day_range(yesterday, yesterday).items() <= closing.tags.items()
    (queues,), _ = scheduled(keeper.world, "queues_daily", midnight)
    assert day_range(yesterday, NOW.date()).items() <= queues.tags.items()


def test_before_memes_begin_no_schedule_asks_for_anything(keeper: Keeper) -> None:
    early = noon(D0 - timedelta(days=1))
    for name in ("reactions_quarterly", "reactions_closing", "queues_daily"):
        asked, reason = scheduled(keeper.world, name, early)
        assert not asked
        assert f"memes begin on {D0}" in str(reason)


def test_nothing_of_memes_runs_by_itself_until_it_is_switched_on(keeper: Keeper) -> None:
    jobs = {name: keeper.world.defs.resolve_job_def(name) for name in ("reaction_days", "queue_days")}
    found = build_schedules(keeper.world.settings, jobs)
    assert {schedule.default_status for schedule in found} == {dg.DefaultScheduleStatus.STOPPED}
    sensors = {one.name: one for one in keeper.world.defs.get_repository_def().sensor_defs}
    names = {"new_memes", "describe_planner", "later_copies", "queue_refill"}
    assert {sensors[name].default_status for name in names} == {dg.DefaultSensorStatus.STOPPED}


# --- the network --------------------------------------------------------------------------------------------------


def test_no_sensor_and_no_schedule_touches_the_network(
    quiet: Keeper, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quiet.world
    settings = world.settings.model_copy(
        update={"memes": world.settings.memes.model_copy(update={"live": ("telegram", "vk", "instagram")})}
    )
    now = Keeper(located(settings, world.instance, web=Web()), quiet.cursors, quiet.used)
    result = now.world.run("meme_days", tags=platforms_range(D0, D0))
    register(now.world.control, "u9", ["en"], at=NOW)
    exported(archives, DOGS, message(8, noon(day_of(4))))
    logs.MODERATION.append(
        now.world.control,
        [
            {"decision_id": "d1", "meme_id": "telegram:cats:1", "action": "reject", "reason": None, "value": None}
            | {"actor": "mona", "at": NOW}
        ],
    )

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a sensor touched the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    wait(now.world.control, "meme_media", "broken_link", NOW - timedelta(minutes=1))
    for name in ("new_memes", "describe_planner", "queue_refill", "backlog", "daily_cost_cap", "quota"):
        now.tick(name)
    now.follows(result, "later_copies")
    for name in ("reactions_quarterly", "reactions_closing", "queues_daily"):
        scheduled(now.world, name, NOW)

"""The planner: which inputs a tick takes, which wait, and when an original is written."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.planner import (
    GRID,
    Admission,
    Waiting,
    archive_ticks,
    next_slot,
    plan,
    prompt_kind_of_original,
    rounded_up,
    slot_id,
    slot_of,
    tick_seconds,
)
from magpie.persona.rng import rng
from magpie.persona.settings import Blog, Tuning
from magpie.persona.slowdown import BASE, Level, level
from magpie.persona.tables import PERSONA_TICKS, PersonaTicks

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = NOON.date()
BLOG = Blog(name="demo-blog", originals=False)
WRITING = Blog(name="demo-blog")
SLOWER2, HARDSTOP = level(40, 150, 12), level(0, 1, 10)
NO_LOG = PERSONA_TICKS.empty()


def minutes(count: float) -> datetime:
    return NOON + timedelta(minutes=count)


def ask(name: str, at: float = 0, user: str | None = None) -> Waiting:
    return Waiting(f"ask:{name}", "ask", DAY, minutes(at), user or name)


def reblog(name: str, cost: float, at: float = 0, user: str | None = None) -> Waiting:
    return Waiting(f"reblog:{name}:1", "reblog", DAY, minutes(at), user or name, cost)


def logged(admissions: Iterable[Admission]) -> pl.DataFrame:
    found = pl.DataFrame([vars(one) for one in admissions], schema=PERSONA_TICKS.dtypes)
    PersonaTicks.validate(found)
    return found


def planned(
    waiting: Sequence[Waiting],
    ticks: Iterable[datetime],
    log: pl.DataFrame = NO_LOG,
    blog: Blog = BLOG,
    at: Level = BASE,
) -> list[Admission]:
    return plan(waiting, log, blog=blog, tuning=blog.tuned(), times=ticks, level=lambda _: at)


def grid(hours: float = 24, start: datetime = NOON) -> list[datetime]:
    return list(archive_ticks(start, start + timedelta(hours=hours)))


def by_tick(admissions: Iterable[Admission]) -> dict[datetime, list[str]]:
    found: dict[datetime, list[str]] = {}
    for one in admissions:
        found.setdefault(one.tick_ts, []).append(one.input_id)
    return found


def test_an_input_waits_for_the_next_full_ten_minutes() -> None:
    found = planned([ask("a", 0.5), ask("b", 10)], grid())
    assert [(one.input_id, one.tick_ts) for one in found] == [("ask:a", minutes(10)), ("ask:b", minutes(10))]
    assert (found[0].attempt, found[0].day, found[0].kind, found[0].step, found[0].slowdown_level) == (
        *(1, DAY, "ask"),
        *("asks", "base"),
    )


@pytest.mark.parametrize(
    ("at", "up"), [(0, 0), (0.001, 10), (9.99, 10), (10, 10), (719.5, 720), (-719.5, -710), (-0.5, 0)]
)
def test_moments_are_rounded_up_to_the_grid(at: float, up: float) -> None:
    assert rounded_up(minutes(at)) == minutes(up)
    assert rounded_up(minutes(at).astimezone(ZoneInfo("Asia/Kathmandu"))) == minutes(up)


def test_a_step_takes_five_and_the_rest_wait_for_the_next_tick() -> None:
    found = by_tick(planned([ask(name, 1 + n / 10) for n, name in enumerate("abcdefg")], grid()))
    assert found == {minutes(10): [f"ask:{name}" for name in "abcde"], minutes(20): ["ask:f", "ask:g"]}


def test_a_user_has_one_input_per_step_and_tick_and_nobody_is_no_user() -> None:
    found = by_tick(planned([ask("1", 1, "ada"), ask("2", 2, "Ada"), reblog("ada", 1, 3)], grid()))
    assert found == {minutes(10): ["ask:1", "reblog:ada:1"], minutes(20): ["ask:2"]}
    nobody = [replace(ask(str(n), n), from_blog="Anonymous") for n in range(4)]
    assert by_tick(planned(nobody, grid())) == {minutes(0): ["ask:0"], minutes(10): ["ask:1", "ask:2", "ask:3"]}


def test_conversations_are_taken_by_cost_and_dealt_with_by_age() -> None:
    waiting = [reblog(str(n), cost=cost, at=n) for n, cost in enumerate((6, 5, 4, 3, 2, 1, 1))]
    found = by_tick(planned(waiting, [minutes(10), minutes(20)]))
    assert found == {
        minutes(10): [f"reblog:{n}:1" for n in (2, 3, 4, 5, 6)],
        minutes(20): ["reblog:0:1", "reblog:1:1"],
    }


def test_of_a_users_conversations_the_cheapest_comes_first() -> None:
    dear, cheap = reblog("x", 7, 0, "ada"), Waiting("reply:ada:1:2", "reply", DAY, minutes(3), "ada", 2)
    assert [one.input_id for one in planned([dear, cheap], [minutes(10)])] == [cheap.input_id]


def test_steps_follow_each_other_from_what_people_asked_for_to_the_dashboard() -> None:
    dash = Waiting("dash:a:1", "dash", DAY, minutes(-9), "a")
    mention = Waiting("mention:b:1", "mention", DAY, minutes(-8), "b", 3)
    redo = replace(ask("d", -1), attempt=2, human=True, not_before=minutes(0))
    found = planned([dash, mention, ask("c"), redo], [NOON], blog=WRITING)
    assert [one.step for one in found] == ["reviews", "asks", "conversations", "dash", "originals"]


@pytest.mark.parametrize(
    ("at", "count"), [(BASE, 5), (level(20, 30, 3), 3), (SLOWER2, 2), (level(5, 4, 1), 1), (HARDSTOP, 0)]
)
def test_a_slower_level_takes_fewer(at: Level, count: int) -> None:
    found = planned([ask(str(n), n / 10) for n in range(8)], [minutes(10)], at=at)
    assert [one.input_id for one in found] == [f"ask:{n}" for n in range(count)]
    assert {one.slowdown_level for one in found} <= {at.name}


def test_a_slower_level_leaves_what_costs_too_much_for_later() -> None:
    dear, cheap = reblog("dear", 10), reblog("cheap", 9.9)
    assert [one.input_id for one in planned([dear, cheap], [NOON], at=SLOWER2)] == [cheap.input_id]
    assert [one.input_id for one in planned([dear, cheap], [NOON])] == [cheap.input_id, dear.input_id]


def test_of_a_users_waiting_asks_the_two_oldest_stay() -> None:
    asks = [ask(str(n), n, "ada") for n in range(4)]
    found = by_tick(planned(asks, grid(start=minutes(10))))
    assert found == {minutes(10): ["ask:0"], minutes(20): ["ask:1"]}
    spread = [ask(str(n), 30 * n, "ada") for n in range(4)]
    assert len(planned(spread, grid())) == 4


def test_which_asks_are_too_many_does_not_change_when_the_older_ones_are_answered() -> None:
    asks = [ask(str(n), n, "ada") for n in range(3)]
    first = planned(asks, [minutes(10), minutes(20)])
    assert len(first) == 2
    assert planned(asks, grid(), logged(first)) == []


def test_an_input_expires_after_a_week_of_waiting() -> None:
    week = 7 * 24 * 60
    assert len(planned([ask("a")], [minutes(week)])) == 1
    assert planned([ask("a")], [minutes(week + 10)]) == []


def test_what_people_asked_for_never_expires_and_comes_after_they_asked() -> None:
    redo = replace(ask("a", -30_000), attempt=2, human=True, not_before=minutes(5))
    log = logged([Admission("demo-blog", "ask:a", 1, minutes(-29_990), DAY, "ask", "asks", "base")])
    found = planned([ask("a", -30_000), redo], grid(), log)
    assert [(one.attempt, one.tick_ts, one.step) for one in found] == [(2, minutes(10), "reviews")]
    assert planned([ask("a", -30_000), redo], grid(), pl.concat([log, logged(found)])) == []


def test_an_attempt_that_came_to_nothing_is_admitted_again_as_the_same_one() -> None:
    log = logged(planned([ask("a")], [NOON]))
    again = replace(ask("a"), again=True, not_before=minutes(25))
    found = planned([again], grid(), log)
    assert [(one.input_id, one.attempt, one.tick_ts) for one in found] == [("ask:a", 1, minutes(30))]
    # Its time has come, but the tick at which it was admitted is over.
    assert planned([replace(again, not_before=None)], [NOON], log) == []


def test_a_limited_user_is_answered_as_often_as_chance_has_it_and_the_same_again() -> None:
    blog = Blog(name="demo-blog", originals=False, limited={"Ada": 2.0})
    asks = [ask(str(n), 24 * 60 * n, "ada") for n in range(300)]
    found = planned(asks, grid(300 * 24), blog=blog)
    assert found == planned(asks[::-1], grid(300 * 24), blog=blog)
    waits = [(one.tick_ts - minutes(24 * 60 * int(one.input_id[4:]))).total_seconds() / 3600 for one in found]
    assert 1.7 < sum(waits) / len(waits) < 2.3
    first = found[0]
    assert rng("limit", "demo-blog", "ada", first.tick_ts.isoformat()).random() < 600 / 7200


def test_a_user_with_more_than_eight_waiting_inputs_is_limited_to_one_an_hour_on_average() -> None:
    few = [reblog(str(n), 1, 0, "ada") for n in range(8)]
    assert [one.tick_ts for one in planned(few, grid())] == [minutes(10 * n) for n in range(8)]
    many = [reblog(f"{n:03}", 1, 0, "ada") for n in range(108)]
    found = planned(many, grid(150))
    spent = (found[99].tick_ts - NOON).total_seconds() / 3600
    assert 75 < spent < 125
    # The last eight come one after the other.
    assert [later.tick_ts - one.tick_ts for one, later in pairwise(found[100:])] == [GRID] * 7


def test_writing_a_lot_does_not_shorten_the_wait_of_a_limited_user() -> None:
    blog = Blog(name="demo-blog", originals=False, limited={"ada": 10_000})
    assert len(planned([reblog(str(n), 1, 0, "ada") for n in range(30)], grid(), blog=blog)) <= 1


def test_live_ticks_are_a_minute_by_day_and_five_by_night_in_the_blogs_time_times_the_slowdown() -> None:
    live, archive = Blog(name="demo-blog", mode="live", timezone="America/New_York"), BLOG
    night, peak = datetime(2026, 11, 20, 12, 59, tzinfo=UTC), datetime(2026, 11, 20, 13, tzinfo=UTC)
    tuning = Tuning()
    assert [tick_seconds(at, BASE, live, tuning) for at in (night, peak)] == [300, 60]
    assert tick_seconds(peak, SLOWER2, live, tuning) == 300
    assert tick_seconds(peak, SLOWER2, archive, tuning) == 600


def test_slots_are_spread_over_the_window_and_go_on_in_the_morning() -> None:
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    slots: list[datetime] = []
    for _ in range(14):
        slots.append(next_slot(slots[-1] if slots else None, midnight, Tuning(), ZoneInfo("UTC")))
    eight = midnight + timedelta(hours=8)
    assert slots[:12] == [eight + n * timedelta(minutes=80) for n in range(12)]
    assert slots[12:] == [eight + timedelta(days=1), eight + timedelta(days=1, minutes=80)]


@pytest.mark.parametrize(
    ("zone", "now", "slot"),
    [
        ("UTC", datetime(2026, 11, 20, 7, tzinfo=UTC), datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("UTC", datetime(2026, 11, 20, 8, tzinfo=UTC), datetime(2026, 11, 20, 9, 20, tzinfo=UTC)),
        ("UTC", datetime(2026, 11, 20, 12, 5, tzinfo=UTC), datetime(2026, 11, 20, 13, 20, tzinfo=UTC)),
        ("UTC", datetime(2026, 11, 20, 23, tzinfo=UTC), datetime(2026, 11, 21, 8, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 20, 4, tzinfo=UTC), datetime(2026, 11, 20, 13, tzinfo=UTC)),
        # Eight o'clock on the day on which clocks go forward.
        ("America/New_York", datetime(2026, 3, 8, 6, tzinfo=UTC), datetime(2026, 3, 8, 12, tzinfo=UTC)),
    ],
)
def test_without_a_queue_the_next_slot_is_the_windows_next_step(zone: str, now: datetime, slot: datetime) -> None:
    assert next_slot(None, now, Tuning(), ZoneInfo(zone)) == slot
    assert next_slot(now - timedelta(days=3), now, Tuning(), ZoneInfo(zone)) == slot


YEAR = datetime(2026, 1, 1, tzinfo=UTC)
moments = st.integers(0, 365 * 86_400_000).map(lambda ms: YEAR + timedelta(milliseconds=ms))


@given(
    moments,
    st.none() | st.integers(-3000, 3000),
    st.integers(1, 250),
    st.sampled_from([("00:00", "24:00"), ("08:00", "24:00"), ("02:30", "02:45"), ("22:00", "23:59")]),
    st.sampled_from(["UTC", "America/New_York", "Pacific/Kiritimati", "Australia/Lord_Howe"]),
)
def test_a_slot_lies_ahead_and_in_the_window(
    now: datetime, last: int | None, per_day: int, window: tuple[str, str], zone: str
) -> None:
    tuning = Tuning(posts_per_day=per_day, queue_from=window[0], queue_to=window[1])
    before = None if last is None else now.replace(microsecond=0) + timedelta(minutes=last)
    slot = next_slot(before, now, tuning, ZoneInfo(zone))
    assert slot > now
    assert before is None or slot > before
    assert slot_of(slot_id(slot)) == slot
    # In the hour that clocks skip there is no such time.
    if slot.astimezone(ZoneInfo(zone)).month not in (3, 4, 10):
        assert window[0] <= slot.astimezone(ZoneInfo(zone)).strftime("%H:%M") < window[1]


def test_a_slot_is_an_input_of_its_utc_day() -> None:
    found = planned([], [datetime(2026, 11, 20, tzinfo=UTC)], blog=WRITING)
    assert [(one.input_id, one.day, one.kind) for one in found] == [
        ("orig:2026-11-20T08:00:00Z", date(2026, 11, 20), "original")
    ]


def test_a_day_begins_by_filling_the_queue_to_the_first_slot_of_the_next() -> None:
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    found = planned([], grid(72, midnight), blog=WRITING)
    assert [one.tick_ts for one in found[:13]] == [midnight + n * GRID for n in range(13)]
    assert found[12].input_id == "orig:2026-11-21T08:00:00Z"
    counts = {day: sum(one.day == day for one in found) for day in {one.day for one in found}}
    assert counts == {date(2026, 11, n): 12 for n in (20, 21, 22)} | {date(2026, 11, 23): 1}
    assert found[13].tick_ts == midnight + timedelta(days=1)


def test_a_short_queue_bounds_the_originals_and_a_level_may_put_the_queue_first() -> None:
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    short = Blog(name="demo-blog", tuning={"queue_below": 3})
    assert len(planned([], grid(4, midnight), blog=short)) == 3
    whole = planned([], grid(8, midnight), blog=WRITING, at=HARDSTOP)
    assert len(whole) == 24
    assert max(one.day for one in whole) == date(2026, 11, 21)
    assert planned([], grid(8, midnight), blog=BLOG) == []


def test_no_original_lies_beyond_tomorrow_even_if_a_blog_posts_once_a_day() -> None:
    once = Blog(name="demo-blog", tuning={"posts_per_day": 1})
    for at in (BASE, HARDSTOP):
        found = planned([], grid(24, datetime(2026, 11, 20, tzinfo=UTC)), blog=once, at=at)
        assert [one.day for one in found] == [date(2026, 11, 20), date(2026, 11, 21)]


def test_a_day_that_is_planned_after_the_next_one_takes_none_of_its_slots() -> None:
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    later = planned([], grid(24, midnight + timedelta(days=1)), blog=WRITING)
    earlier = planned([], grid(24, midnight), logged(later), blog=WRITING)
    assert len(earlier) == 12
    assert not {one.input_id for one in earlier} & {one.input_id for one in later}


def test_originals_are_mostly_ordinary_posts() -> None:
    kinds = [prompt_kind_of_original("demo-blog", f"orig:{n}", 1) for n in range(3000)]
    assert kinds == [prompt_kind_of_original("demo-blog", f"orig:{n}", 1) for n in range(3000)]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in ("original", "fiction", "review")}
    assert shares == pytest.approx({"original": 0.70, "fiction": 0.15, "review": 0.15}, abs=0.03)


def test_ticks_of_another_blog_are_none_of_ours() -> None:
    log = logged([Admission("other-blog", "ask:a", 1, NOON, DAY, "ask", "asks", "base")])
    assert len(planned([ask("a")], [NOON], log)) == 1


inputs = st.lists(
    st.builds(
        lambda n, kind, at, user, cost: Waiting(f"{kind}:{n}", kind, DAY, minutes(at), user, cost),
        st.integers(0, 10_000),
        st.sampled_from(["ask", "reblog", "reply", "dash"]),
        st.integers(0, 600),
        st.sampled_from(["ada", "bob", "carl", "Anonymous"]),
        st.sampled_from([None, 1.0, 2.5, 12.9]),
    ),
    max_size=60,
    unique_by=lambda one: one.input_id,
)


@given(inputs, st.integers(1, 80), st.randoms())
def test_a_range_planned_in_pieces_in_any_order_or_twice_comes_out_as_planned_at_once(
    waiting: list[Waiting], cut: int, shuffled: Random
) -> None:
    blog = Blog(name="demo-blog", limited={"bob": 0.5})
    ticks = grid(14)
    whole = planned(waiting, ticks, blog=blog)
    mixed = sorted(waiting, key=lambda _: shuffled.random())
    first = planned(mixed, ticks[:cut], blog=blog)
    second = planned(mixed, ticks[cut:], logged(first), blog=blog)
    assert first + second == whole
    assert planned(waiting, ticks, logged(whole), blog=blog) == []
    keys = [(one.input_id, one.attempt) for one in whole]
    assert len(keys) == len(set(keys))
    arrived = {one.input_id: one.created_at for one in waiting}
    assert all(one.tick_ts >= arrived.get(one.input_id, one.tick_ts) for one in whole)

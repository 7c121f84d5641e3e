"""Health: sources that bring nothing, nothing good, ads or silence are snoozed, once, and a person's word is kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.control import Control
from magpie.memes.health import STALE_PER_SWEEP, HealthRules, sweep
from magpie.memes.logs import FETCHES, SOURCE_EVENTS
from magpie.memes.settings import MemeSource
from magpie.memes.sources import Listed, decide, meme_sources
from magpie.memes.tables import MEME_POSTS, SOURCE_STATS

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIVE = HealthRules(frozenset({"telegram"}))


class World:
    """One channel in the settings, and what was said of it."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.listed = Listed({"tg:cats": MemeSource(id="tg:cats")}, frozenset())
        self.stats: list[dict[str, Any]] = []
        self.posts: list[dict[str, Any]] = []

    def fetched(self, at: datetime, n_posts: int = 5, source_id: str = "tg:cats", error: str | None = None) -> None:
        told = {"fetch_id": f"{source_id}@{at}", "source_id": source_id, "at": at, "n_posts": n_posts}
        FETCHES.append(self.control, [told | {"error_class": error}])

    def rated(
        self, likes: int, dislikes: int, at: datetime = NOW, ads: float | None = None, processed: int = 0
    ) -> None:
        counts = {"nlikes": likes, "ndislikes": dislikes, "nsent_events": 0, "nmemes": 0, "nmemes_sent": 0}
        of = {"source_id": "tg:cats", "day": at.date(), "as_of": at}
        self.stats = [row for row in self.stats if row["day"] != at.date()]
        self.stats.append({**of, **counts, "ad_rate_7d": ads, "processed_7d": processed})

    def posted(self, at: datetime, source_id: str = "tg:cats") -> None:
        self.posts.append({"source_id": source_id, "post_id": str(len(self.posts)), "published_at": at})

    def decided(self, action: str, at: datetime, actor: str = "ann") -> None:
        decide(self.control, self.listed, "tg:cats", action, actor=actor, at=at)

    def landed(self) -> pl.LazyFrame:
        return pl.LazyFrame(self.posts, schema=MEME_POSTS.dtypes)

    def swept(self, now: datetime = NOW, rules: HealthRules = LIVE) -> list[str]:
        stats = pl.DataFrame(self.stats, schema=SOURCE_STATS.dtypes)
        return sweep(self.control, self.listed, self.landed(), stats, rules, now)["reason"].to_list()

    def state(self) -> tuple[str, str | None]:
        events, fetches = SOURCE_EVENTS.read(self.control), FETCHES.read(self.control)
        row = meme_sources(self.listed, events, fetches, self.landed()).row(0, named=True)
        return row["state"], row["snooze_reason"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Control(f"sqlite:///{tmp_path / 'control.sqlite'}"))


def test_three_empty_fetches_in_a_row_are_enough_and_a_post_or_a_failure_between_does_not_count(world: World) -> None:
    for n, (posts, error) in enumerate([(0, None), (0, None), (1, None), (0, None), (0, "timeout"), (0, None)]):
        world.fetched(NOW + n * HOUR, posts, error=error)
    assert world.swept() == []
    world.fetched(NOW + 9 * HOUR, 0)
    assert world.swept() == ["no_posts_3x"]
    assert world.state() == ("snoozed", "no_posts_3x")


@pytest.mark.parametrize(("likes", "dislikes", "snoozed"), [(9, 91, True), (10, 90, False), (5, 94, False)])
def test_a_source_that_people_dislike_is_snoozed_from_a_hundred_reactions_on(
    world: World, likes: int, dislikes: int, snoozed: bool
) -> None:
    world.rated(likes, dislikes)
    assert world.swept() == (["low_like_rate"] if snoozed else [])


@pytest.mark.parametrize(
    ("share", "processed", "reason"),
    [
        (0.80, 10, ["extreme_ad_rate"]),
        (0.79, 29, []),
        (1.0, 9, []),
        (0.31, 30, ["high_ad_rate"]),
        (0.30, 30, []),
        (0.31, 29, []),
        (0.80, 30, ["extreme_ad_rate"]),
    ],
)
def test_a_source_that_posts_ads_is_snoozed_once_there_are_memes_enough_to_tell(
    world: World, share: float, processed: int, reason: list[str]
) -> None:
    world.rated(0, 0, ads=share, processed=processed)
    assert world.swept() == reason


def test_a_share_of_ads_of_another_week_says_nothing(world: World) -> None:
    world.rated(0, 0, at=NOW - 7 * DAY, ads=1.0, processed=99)
    assert world.swept() == []


def test_a_source_that_has_been_silent_for_a_week_is_snoozed(world: World) -> None:
    world.fetched(NOW - 30 * DAY)
    world.fetched(NOW - DAY, 0, error="http_404")
    world.posted(NOW - 7 * DAY)
    assert world.swept() == []
    assert world.swept(NOW + HOUR) == ["stale_7d"]


def test_an_answer_without_posts_breaks_the_silence(world: World) -> None:
    world.fetched(NOW - 30 * DAY)
    world.fetched(NOW - DAY, 0)
    assert world.swept() == []


def test_a_source_that_was_added_by_a_person_and_never_answered_is_stale_after_a_week(world: World) -> None:
    world.listed = Listed({}, frozenset())
    world.decided("add", NOW - 9 * DAY)
    world.decided("enable", NOW - 7 * DAY)
    assert world.swept() == []
    assert world.swept(NOW + HOUR) == ["stale_7d"]


def test_archives_of_long_ago_are_not_silent_where_nobody_asks_their_platform(world: World) -> None:
    world.posted(NOW - 900 * DAY)
    assert world.swept() == []
    world.fetched(NOW - 30 * DAY)
    assert world.swept(rules=HealthRules(frozenset({"vk"}))) == []


def test_one_sweep_puts_at_most_fifty_to_sleep_for_silence_the_most_silent_first(world: World) -> None:
    names = [f"tg:c{n:02}" for n in range(60)]
    world.listed = Listed({name: MemeSource(id=name) for name in names}, frozenset())
    for n, name in enumerate(names):
        world.fetched(NOW - 100 * DAY + n * HOUR, source_id=name)
    assert len(world.swept()) == STALE_PER_SWEEP
    asleep = set(SOURCE_EVENTS.read(world.control)["source_id"])
    assert asleep == set(names[:STALE_PER_SWEEP])
    assert len(world.swept(NOW + HOUR)) == 10


def test_the_first_rule_decides_and_says_what_it_saw(world: World) -> None:
    for n in range(3):
        world.fetched(NOW - n * HOUR, 0)
    world.rated(0, 200, ads=1.0, processed=99)
    stats = pl.DataFrame(world.stats, schema=SOURCE_STATS.dtypes)
    told = sweep(world.control, world.listed, world.landed(), stats, LIVE, NOW)
    assert told.rows() == [("tg:cats", "snooze", "no_posts_3x", "3 fetches", ">= 3")]
    event = SOURCE_EVENTS.read(world.control).row(0, named=True)
    assert (event["actor"], event["reason"], event["at"]) == ("auto", "no_posts_3x", NOW)


def test_sweeping_again_says_nothing_of_a_source_that_sleeps(world: World) -> None:
    world.rated(0, 200)
    assert world.swept() == ["low_like_rate"]
    assert world.swept() == []
    assert world.swept(NOW + HOUR) == []
    assert SOURCE_EVENTS.read(world.control).height == 1


def test_a_source_in_moderation_is_not_judged(world: World) -> None:
    world.listed = Listed({}, frozenset({"tg:cats"}))
    world.rated(0, 200)
    assert world.swept() == []


def test_a_person_who_wakes_a_source_is_heard_until_as_many_people_dislike_it_anew(world: World) -> None:
    world.rated(5, 95, NOW)
    assert world.swept() == ["low_like_rate"]
    world.decided("unsnooze", NOW + HOUR)
    world.rated(6, 98, NOW + 2 * HOUR)
    assert world.swept(NOW + 2 * HOUR) == []
    world.rated(10, 190, NOW + DAY)
    assert world.swept(NOW + DAY) == []
    world.rated(11, 195, NOW + 2 * DAY)
    assert world.swept(NOW + 2 * DAY) == ["low_like_rate"]


def test_empty_fetches_before_a_person_woke_the_source_do_not_count(world: World) -> None:
    for n in range(3):
        world.fetched(NOW + n * HOUR, 0)
    assert world.swept(NOW + 3 * HOUR) == ["no_posts_3x"]
    world.decided("unsnooze", NOW + 4 * HOUR)
    for n, reasons in enumerate([[], [], ["no_posts_3x"]]):
        world.fetched(NOW + (5 + n) * HOUR, 0)
        assert world.swept(NOW + (5 + n) * HOUR) == reasons


def test_the_weeks_of_ads_and_of_silence_begin_when_a_person_wakes_the_source(world: World) -> None:
    world.rated(0, 0, ads=0.9, processed=40)
    assert world.swept() == ["extreme_ad_rate"]
    woken = NOW + HOUR
    world.decided("unsnooze", woken)
    for days, reasons in ((1, []), (6, []), (7, ["extreme_ad_rate"])):
        world.fetched(woken + days * DAY)
        world.rated(0, 0, at=woken + days * DAY, ads=0.9, processed=40)
        assert world.swept(woken + days * DAY) == reasons
    world.decided("unsnooze", NOW + 20 * DAY)
    assert world.swept(NOW + 27 * DAY) == []
    assert world.swept(NOW + 27 * DAY + HOUR) == ["stale_7d"]

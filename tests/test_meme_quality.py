"""Findings about the tables of memes: each speaks up for its fault alone, and only beyond its bound."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from leads_world import MemoryLake, some_settings

from assets.memes_checks import build_checks
from magpie.blobs import Blobs
from magpie.control import Control
from magpie.llm.purpose import FREE_TIER, Limit, Limits, Purpose, share
from magpie.llm.store import Store
from magpie.memes import quality
from magpie.memes import tables as t
from magpie.quality import Finding
from magpie.tables import Partitions, Table
from tests.ledger_world import NOON, Books, FakeClock

DAY = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HERE = Partitions({"telegram": frozenset([DAY]), "vk": frozenset([DAY])})
TODAY = Partitions.days([DAY])
OK = {"status": "ok", "reason": None}
LIVE = some_settings(memes={"live": ["telegram"]})
Row = dict[str, Any]


def rows_of(table: Table, rows: Iterable[Row]) -> pl.DataFrame:
    nothing = dict.fromkeys(table.dtypes)
    return pl.DataFrame([nothing | row for row in rows], schema=table.dtypes)


def a_meme(number: int, **given: Any) -> Row:
    """A row of any table of memes by platform and day."""
    base = {
        **OK,
        "meme_id": f"telegram:daily:{number}",
        "source_id": "tg:daily",
        "post_id": str(number),
        "platform": "telegram",
        "day": DAY,
        "type": "image",
        "language": "en",
        "published_at": MORNING + number * timedelta(seconds=1),
        "fetched_at": MORNING,
    }
    return base | given


def a_post(number: int, **given: Any) -> Row:
    more: Row = {"media": [], "out_links": [], "mentions": [], "hashtags": [], "is_ad": False, "views": 10}
    return a_meme(number) | more | {"payload_sha256": "0", "source_file": "live/1.html"} | given


def a_state(number: int, state: str = "ok", **given: Any) -> Row:
    fate = OK if state in ("ok", "published") else {"status": "rejected", "reason": state}
    told = {"state": state, "servable": state == "ok", "decided_by": "rules"}
    return a_meme(number) | {"canonical_id": f"telegram:daily:{number}"} | fate | told | given


def a_copy(number: int, of: int | None) -> Row:
    told = {"duplicate_of": None if of is None else f"telegram:daily:{of}", "rule": of and "sha256"}
    return a_meme(number) | {"verdict": "unique" if of is None else "duplicate"} | told


def a_medium(number: int, sha256: str, **given: Any) -> Row:
    bytes_ = {"sha256": sha256, "bytes": 3, "mime": "image/jpeg", "path": Blobs.relative(sha256)}
    told = {"ord": 0, "attempts": 0, "keyframe_phashes": [], "rules_version": "1"}
    return a_meme(number) | told | bytes_ | given


def an_event(number: int, kind: str, meme: int, at: datetime, user: str = "ann", **given: Any) -> Row:
    base = {"event_id": f"e{number:05}", "day": at.date(), "at": at, "kind": kind, "user_id": user}
    return OK | base | {"meme_id": f"telegram:daily:{meme}"} | given


def a_place(pos: int, meme: int, **given: Any) -> Row:
    queued = given.get("queued_at", MORNING)
    base = {"queue_id": f"q{queued:%H%M}-{pos}", "user_id": "ann", "day": DAY, "refill_no": 0, "pos": pos}
    told = {"meme_id": f"telegram:daily:{meme}", "engine": "goat", "queued_at": queued}
    return base | told | {"expires_at": queued + timedelta(hours=1)} | given


def lake_of(*tables: tuple[Table, Iterable[Row]]) -> MemoryLake:
    lake = MemoryLake()
    for table, rows in tables:
        frame = rows_of(table, rows)
        match list(table.dimensions):
            case []:
                partitions = Partitions.whole()
            case ["day"]:
                partitions = Partitions.days(frame["day"])
            case _:
                partitions = Partitions.of(frame.select("platform", "day").rows())
        lake.write(table, frame, partitions)
    return lake


@pytest.mark.parametrize("table", [t.MEME_POSTS, t.MEMES], ids=lambda table: table.name)
def test_a_row_in_the_partition_of_another_day_is_named(table: Table) -> None:
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    within = (midnight, midnight + timedelta(days=1) - timedelta(microseconds=1))
    more = {"ad_flag": False}

    def published(*moments: datetime) -> Finding:
        rows = [a_post(n, published_at=at) | more for n, at in enumerate(moments)]
        cut = [{name: row.get(name) for name in table.dtypes} for row in rows]
        return quality.published_within_day(table)(lake_of((table, cut)), HERE)

    assert published(*within).rows == []
    finding = published(midnight - timedelta(microseconds=1), *within, midnight + timedelta(days=1))
    assert [row["meme_id"] for row in finding.rows] == ["telegram:daily:0", "telegram:daily:3"]
    assert table.name in finding.summary


def test_an_ok_meme_whose_bytes_are_missing_damaged_or_never_came_is_named(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    kept = [blobs.put(f"meme {n}".encode()) for n in range(4)]
    media = [a_medium(n, sha) for n, sha in enumerate(kept)]
    waiting = a_medium(4, kept[0], status="pending", reason="broken_link")
    states = [a_state(n) for n in range(6)]
    blobs.remove(kept[1])
    blobs.path(kept[2]).write_bytes(b"others")
    lake = lake_of((t.MEME_STATUS, states), (t.MEME_MEDIA, [*media, waiting]))
    found = {row["meme_id"][-1]: row["problem"] for row in quality.media_are_there(lake, HERE, blobs).rows}
    assert found == {"1": "no blob", "2": "other bytes", "4": "no media", "5": "no media"}
    broken = lake_of((t.MEME_STATUS, [a_state(n, "broken") for n in range(6)]), (t.MEME_MEDIA, media))
    assert quality.media_are_there(broken, HERE, blobs).rows == []


def test_of_many_memes_the_same_fifty_blobs_are_read_whatever_their_order(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    lost = "0" * 64
    states, media = [a_state(n) for n in range(80)], [a_medium(n, lost) for n in range(80)]
    there = lake_of((t.MEME_STATUS, states), (t.MEME_MEDIA, media))
    back = lake_of((t.MEME_STATUS, states[::-1]), (t.MEME_MEDIA, media[::-1]))
    found = [quality.media_are_there(lake, HERE, blobs) for lake in (there, back)]
    assert found[0] == found[1]
    assert found[0].summary.startswith("50 ")


def test_copies_in_a_circle_are_told_and_chains_are_not() -> None:
    chain = lake_of((t.MEME_DUPLICATES, [a_copy(1, None), a_copy(2, 1), a_copy(3, 2)]))
    assert quality.copies_have_roots(chain, HERE).rows == []
    circle = lake_of((t.MEME_DUPLICATES, [a_copy(1, 3), a_copy(2, 1), a_copy(3, 2), a_copy(4, 1)]))
    (row,) = quality.copies_have_roots(circle, HERE).rows
    assert row["taken for the original"] == "telegram:daily:1"
    assert row["circle"] == "telegram:daily:1 > telegram:daily:3 > telegram:daily:2 > telegram:daily:1"


def test_a_circle_that_a_person_opened_is_none_any_more() -> None:
    decision = {"decision_id": "d", "meme_id": "telegram:daily:1", "action": "distinct", "actor": "mo", "at": MORNING}
    circle = (t.MEME_DUPLICATES, [a_copy(1, 2), a_copy(2, 1)])
    assert quality.copies_have_roots(lake_of(circle), HERE).rows
    assert quality.copies_have_roots(lake_of(circle, (t.MEME_MODERATION, [decision])), HERE).rows == []


def test_a_copy_that_leads_to_another_copy_is_named() -> None:
    root = a_state(1)
    second = a_state(2, "duplicate", canonical_id="telegram:daily:1")
    right, wrong = (a_state(3, "duplicate", canonical_id=f"telegram:daily:{n}") for n in (1, 2))
    assert quality.copies_are_resolved(lake_of((t.MEME_STATUS, [root, second, right])), HERE).rows == []
    (row,) = quality.copies_are_resolved(lake_of((t.MEME_STATUS, [root, second, wrong])), HERE).rows
    assert (row["meme_id"], row["root_of_root"]) == ("telegram:daily:3", "telegram:daily:1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    control = Control(f"sqlite:///{tmp_path / 'c.db'}")
    made = Store(control)
    yield made
    made.close()
    control.close()


def asked(books: Books, model: str, provider: str = "openrouter", product: str = "memes", cost_nano: int = 0) -> None:
    purpose = Purpose(product, "meme_describe", "meme_descriptions")
    call = books.held(cost_nano, provider=provider, model=model, purpose=purpose)
    assert books.send(call) and books.settle(call, cost_nano)


def test_only_calls_about_memes_to_paid_models_or_at_a_cost_are_told(store: Store) -> None:
    books = Books(store, Limits())
    asked(books, "google/gemma-4-31b-it:free")
    asked(books, "llava", provider="local")
    asked(books, "openai/gpt-5", product="leads", cost_nano=7)
    assert quality.only_free_models(store, NOON).rows == []
    asked(books, "google/gemma-4-31b-it")
    asked(books, "nvidia/vl:free", cost_nano=5)
    found = {(row["model"], row["calls"]): row["cost_usd"] for row in quality.only_free_models(store, NOON).rows}
    assert found == {
        ("openrouter/google/gemma-4-31b-it", 1): "0.000000000",
        ("openrouter/nvidia/vl:free", 1): "0.000000005",
    }
    assert quality.only_free_models(store, NOON + timedelta(days=30)).rows
    assert quality.only_free_models(store, NOON + timedelta(days=31)).rows == []


def test_quotas_are_held_against_what_was_used_today_and_yesterday(store: Store) -> None:
    mine = share(FREE_TIER, "memes")
    clock = FakeClock(NOON)
    books = Books(store, Limits(), clock)
    purpose = Purpose("memes", "meme_describe", "meme_descriptions", scopes=(FREE_TIER, mine))
    for _ in range(3):
        books.settle(books.held(0, purpose=purpose), 0)
    bounds = {FREE_TIER: (Limit("D", calls=3),), mine: (Limit("D", calls=2),)}
    assert quality.quota_kept(store, Limits({FREE_TIER: bounds[FREE_TIER]}), NOON).rows == []
    for now in (NOON, NOON + timedelta(days=1)):
        (row,) = quality.quota_kept(store, Limits(bounds), now).rows
        assert (row["scope"], row["calls"], row["allowed"]) == (mine, 3, 2)
        assert row["day"] == "2026-11-20"
    assert quality.quota_kept(store, Limits(bounds), NOON + timedelta(days=2)).rows == []


@pytest.mark.parametrize(
    ("ok", "bad", "told"), [(80, 20, False), (79, 21, True), (98, 2, False), (99, 1, True), (0, 49, False)]
)
def test_a_share_of_ok_memes_outside_of_what_is_usual_is_told_where_there_are_enough(
    ok: int, bad: int, told: bool
) -> None:
    states = ["ok"] * (ok - ok // 2) + ["published"] * (ok // 2) + ["ad"] * bad + ["created", "snoozed"] * 60
    lake = lake_of((t.MEME_STATUS, [a_state(n, state) for n, state in enumerate(states)]))
    found = quality.ok_share(lake, HERE).rows
    assert bool(found) is told
    assert all(row["decided"] == ok + bad for row in found)


def arrived(last_day: int, before: int, settings: Any = LIVE, status: str = "ok") -> list[Row]:
    """So many memes of the last 24 hours, and of each of the seven days before them."""
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    moments = [now - timedelta(hours=1)] * last_day
    moments += [now - timedelta(days=n + 1, hours=1) for n in range(7) for _ in range(before)]
    rows = [
        a_meme(n, published_at=at, day=at.date(), ad_flag=False, status=status, reason=None if status == "ok" else "x")
        for n, at in enumerate(moments)
    ]
    return quality.memes_arrive(settings, lake_of((t.MEMES, rows)), now).rows


def test_a_live_platform_that_brings_less_than_half_of_its_usual_memes_is_named() -> None:
    assert arrived(5, 10) == []
    (row,) = arrived(4, 10)
    assert row == {"platform": "telegram", "last_24_h": 4, "usual_a_day": 10.0}


def test_archives_rejected_posts_and_a_handful_of_memes_cannot_dry_up() -> None:
    assert arrived(0, 10, settings=some_settings()) == []
    assert arrived(0, 10, status="rejected") == []
    assert arrived(0, 2) == []
    assert arrived(0, 3)


def test_unknown_views_are_told_of_live_telegram_pages_alone() -> None:
    def told(without: int, of: int, live: bool = True, format: str = "telegram_web") -> list[Row]:
        file = OK | {"source_file": "live/1.html", "format": format, "live": live, "bytes": 1, "modified_ns": 1}
        file |= {"posts": of, "bad_posts": 0, "days": [DAY]}
        posts = [a_post(n, views=None if n < without else 10) for n in range(of)]
        return quality.views_are_told(lake_of((t.MEME_FILES, [file]), (t.MEME_POSTS, posts)), HERE).rows

    assert told(2, 10) == told(4, 4) == []
    assert told(3, 10) == [{"source_id": "tg:daily", "posts": 10, "without_views": 3}]
    assert told(10, 10, live=False) == told(10, 10, format="telegram_export") == []


def test_ratings_of_today_go_stale_after_a_quarter_of_an_hour_while_there_is_something_to_rate() -> None:
    now = datetime(2026, 11, 20, 10, 20, tzinfo=UTC)

    def told(as_of: datetime | None, event_at: datetime, **given: Any) -> list[Row]:
        tables: list[tuple[Table, list[Row]]] = [(t.MEME_REACTIONS, [an_event(1, "sent", 1, event_at, **given)])]
        if as_of is not None:
            counts = dict.fromkeys(("nlikes", "ndislikes", "nsent", "age_days", "n_lr", "n_es"), 0)
            counts |= dict.fromkeys(("invited", "invited_by_channel"), 0)
            rated = {"meme_id": "telegram:daily:1", "day": as_of.date(), "as_of": as_of, **counts}
            tables.append((t.MEME_STATS, [rated | {"lr_smoothed": 0.0, "engagement": 0.0}]))
        return quality.stats_fresh(lake_of(*tables), now).rows

    early = now - timedelta(hours=2)
    assert told(now - 15 * MINUTE, early) == []
    (row,) = told(now - 16 * MINUTE, early)
    assert row["events"] == 1
    assert told(None, early)
    # Nobody has rated what happened just now, and yesterday is no matter of today.
    assert told(None, now - MINUTE) == told(None, early - timedelta(days=1)) == []
    assert told(None, early, status="failed", reason="bad_event") == told(None, early, meme_id=None) == []
    assert quality.stats_fresh(MemoryLake(), now).rows == []


def days_of_events(before: int, yesterday: int, likes: int) -> MemoryLake:
    """Reactions of a week, half of them likes, and of the day after it, `likes` of them likes."""
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    rows: list[Row] = []
    for back in range(1, 9):
        at, count = now - timedelta(days=back), yesterday if back == 1 else before
        liked = likes if back == 1 else before // 2
        rows += [
            an_event(back * 1000 + n, "like" if n < liked else "dislike", n, at, user=f"u{n}") for n in range(count)
        ]
    return lake_of((t.MEME_REACTIONS, rows))


@pytest.mark.parametrize(
    ("before", "yesterday", "likes", "off"),
    [
        (100, 130, 65, set()),
        (100, 131, 65, {"reactions", "people"}),
        (100, 70, 36, set()),
        (100, 69, 36, {"reactions", "people"}),
        (100, 100, 70, {"likes", "like_share"}),
        (40, 100, 100, set()),
    ],
)
def test_a_figure_of_yesterday_far_off_its_week_is_told_where_chance_alone_does_not_explain_it(
    before: int, yesterday: int, likes: int, off: set[str]
) -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    found = quality.metrics_steady(LIVE, days_of_events(before, yesterday, likes), now).rows
    assert {row["metric"] for row in found} == off
    assert {row["day"] for row in found} <= {"2026-11-19"}


def test_posts_of_live_platforms_that_become_rarer_are_told_and_archives_may_end() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    moments = [now - timedelta(days=back) for back in range(2, 9) for _ in range(60)]
    posts = [a_post(n, published_at=at, day=at.date()) for n, at in enumerate(moments)]
    states = [a_state(n, "ok" if n % 2 else "ad", published_at=at, day=at.date()) for n, at in enumerate(moments)]
    lake = lake_of((t.MEME_POSTS, posts), (t.MEME_STATUS, states))
    found = quality.metrics_steady(LIVE, lake, now).rows
    assert [(row["metric"], row["value"], row["mean"], row["off"]) for row in found] == [
        ("posts", 0.0, 60.0, -1.0),
        ("memes", 0.0, 60.0, -1.0),
    ]
    assert quality.metrics_steady(some_settings(), lake, now).rows == []


def test_a_meme_that_stands_twice_in_a_queue_is_told_until_it_was_sent_or_has_expired() -> None:
    def told(*places: Row) -> list[int]:
        found = quality.queues_do_not_repeat(lake_of((t.RECOMMENDATION_QUEUES, places)), TODAY)
        return [row["pos"] for row in found.rows]

    later = {"refill_no": 1, "queued_at": MORNING + 30 * MINUTE}
    assert told(a_place(0, 1), a_place(1, 2), a_place(2, 3, **later)) == []
    assert told(a_place(0, 1), a_place(1, 1)) == [1]
    assert told(a_place(0, 1), a_place(4, 1, **later)) == [4]
    assert told(a_place(0, 1, consumed_at=MORNING + 10 * MINUTE), a_place(4, 1, **later)) == []
    assert told(a_place(0, 1), a_place(4, 1, refill_no=1, queued_at=MORNING + 60 * MINUTE)) == []
    assert told(a_place(0, 1), a_place(4, 1, user_id="ben", **later)) == []
    # Sent at once, it still stood twice in what one refill made.
    assert told(a_place(0, 1, consumed_at=MORNING), a_place(1, 1)) == [1]


def test_whoever_is_sent_a_meme_or_its_copy_again_is_told_unless_it_is_an_old_favourite() -> None:
    states = [a_state(1), a_state(2, "duplicate", canonical_id="telegram:daily:1"), a_state(3)]

    def told(*events: Row) -> list[str]:
        lake = lake_of((t.MEME_STATUS, states), (t.MEME_REACTIONS, events))
        return [f"{row['meme_id'][-1]}{row['engine'] or ''}" for row in quality.sent_once(lake, TODAY).rows]

    first = an_event(1, "sent", 1, MORNING - timedelta(days=3), engine="goat")
    assert told(first, an_event(2, "sent", 3, MORNING), an_event(3, "like", 1, MORNING)) == []
    assert told(first, an_event(2, "sent", 1, MORNING, engine="goat")) == []
    assert told(first, an_event(2, "sent", 1, MORNING, engine="viral")) == ["1viral"]
    assert told(first, an_event(2, "sent", 2, MORNING)) == ["2"]
    assert told(first, an_event(2, "sent", 1, MORNING, user="ben")) == []
    # The day before yesterday is another day's finding.
    assert told(first, an_event(2, "sent", 1, MORNING - timedelta(days=2))) == []
    assert told(first, an_event(2, "sent", 1, MORNING, status="rejected", reason="unknown_meme")) == []


def test_empty_tables_give_no_finding(tmp_path: Path, store: Store) -> None:
    lake, now = MemoryLake(), MORNING
    judged: list[Callable[[], Finding]] = [
        lambda: quality.published_within_day(t.MEMES)(lake, HERE),
        lambda: quality.media_are_there(lake, HERE, Blobs(tmp_path)),
        lambda: quality.copies_have_roots(lake, HERE),
        lambda: quality.copies_are_resolved(lake, HERE),
        lambda: quality.only_free_models(store, now),
        lambda: quality.quota_kept(store, Limits(), now),
        lambda: quality.ok_share(lake, HERE),
        lambda: quality.memes_arrive(LIVE, lake, now),
        lambda: quality.views_are_told(lake, HERE),
        lambda: quality.stats_fresh(lake, now),
        lambda: quality.metrics_steady(LIVE, lake, now),
        lambda: quality.queues_do_not_repeat(lake, TODAY),
        lambda: quality.sent_once(lake, TODAY),
    ]
    assert len(judged) == len(quality.DESCRIPTIONS)
    assert [finding.rows for finding in (judge() for judge in judged)] == [[]] * len(judged)


def test_every_finding_is_a_check_of_a_table_and_none_blocks() -> None:
    specs = [spec for check in build_checks(some_settings()) for spec in check.check_specs]
    assert {spec.name for spec in specs} == set(quality.DESCRIPTIONS)
    assert {spec.description for spec in specs} == set(quality.DESCRIPTIONS.values())
    assert not any(spec.blocking for spec in specs)
    assert {spec.asset_key.to_user_string() for spec in specs} <= {table.name for table in t.TABLES}

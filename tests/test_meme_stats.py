"""meme_stats and source_stats: ratings by hand, copies merged, what a day touches, days alone or together."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meme_events_world import (
    DAY,
    LATER,
    MORNING,
    UNCHANGED,
    Event,
    at,
    event,
    everything,
    history,
    memes,
    reactions,
    world,
)
from polars.testing import assert_frame_equal

from magpie.lake import conform
from magpie.memes.base import CATALOGUE, base, catalogue, closing
from magpie.memes.ratings import RatingRules, engagement_values, raw_ranks
from magpie.memes.settings import Memes
from magpie.memes.stats import latest, meme_stats, newcomers, sent_since, source_stats
from magpie.memes.tables import MEME_STATS, MEME_STATUS, MEMES, SOURCE_STATS

RULES = RatingRules.of(Memes())


def made(
    rows: Sequence[Event], known: pl.DataFrame | None = None, day: date = DAY, now: datetime = LATER, **rules: Any
) -> dict[str, dict[str, Any]]:
    held = history(rows, everything(rows) if known is None else known, now)
    found = meme_stats(held, [day], rules.get("changed", UNCHANGED), RULES)
    return {row["meme_id"]: row for row in conform(MEME_STATS, found).to_dicts()}


def tastes(user: str, syms: Sequence[int], last: str, start: datetime = MORNING) -> list[Event]:
    """What a person was sent, a minute apart, and thought of it after five seconds; the last meme is named."""
    rows = []
    for place, sym in enumerate(syms):
        meme = last if place == len(syms) - 1 else f"{user}-{place}"
        rows.append(event("sent", user, meme, at(60 * place, start)))
        if sym:
            rows.append(event("like" if sym > 0 else "dislike", user, meme, at(60 * place + 5, start)))
    return rows


FOUR = [
    *tastes("A", [1] * 6 + [-1] * 6 + [1], "T"),
    *tastes("B", [1] * 9 + [-1], "T"),
    *tastes("C", [-1] * 19 + [1], "T"),
    *tastes("D", [1] * 8 + [1], "T"),
]


def test_a_like_weighs_more_from_someone_who_likes_little() -> None:
    row = made(FOUR)["T"]
    assert row["lr_smoothed"] == pytest.approx((0.923077 - 1.8 + 1.9) / 3, abs=1e-6)
    assert row["lr_smoothed"] == pytest.approx(0.341026, abs=5e-7)
    assert (row["n_lr"], row["nlikes"], row["ndislikes"], row["nsent"]) == (3, 3, 1, 4)


def test_two_people_are_too_few_for_a_rating() -> None:
    row = made([row for row in FOUR if row["user_id"] != "C"])["T"]
    assert (row["lr_smoothed"], row["n_lr"]) == (0.0, 2)


def test_engagement_tells_passing_over_from_not_having_seen() -> None:
    rows = [
        *(event("sent", "1", "a", at(0)), event("like", "1", "a", at(5))),
        *(event("sent", "1", "T", at(10)), event("dislike", "1", "T", at(12))),
        *(event("sent", "1", "b", at(20)), event("like", "1", "b", at(25))),
        *(event("sent", "2", "a", at(0)), event("like", "2", "a", at(5))),
        event("sent", "2", "T", at(10)),
        *(event("sent", "2", "b", at(20)), event("dislike", "2", "b", at(25))),
        *(event("sent", "3", "a", at(0)), event("dislike", "3", "a", at(5))),
        *(event("sent", "3", "T", at(10)), event("like", "3", "T", at(15))),
        *(event("sent", "4", "a", at(0)), event("like", "4", "a", at(5))),
        event("sent", "4", "T", at(10)),
    ]
    row = made(rows)["T"]
    assert row["engagement"] == pytest.approx((-0.75 - 0.65 + 1.0) / 3, abs=1e-9)
    assert row["engagement"] == pytest.approx(-0.133333, abs=5e-7)
    assert (row["n_es"], row["nsent"], row["n_lr"]) == (3, 4, 0)


@pytest.mark.parametrize(("took", "value"), [(0.4, -1), (0.5, -0.5), (3.0, -0.5), (3.1, -1), (61, -1)])
def test_a_swipe_weighs_half_a_dislike(took: float, value: float) -> None:
    known = history([event("sent", "u", "T", at(0)), event("dislike", "u", "T", at(took))], memes("T")).known(LATER)
    assert engagement_values(known).tolist() == [value * 10]


def test_slips_and_phones_put_away_say_nothing_about_speed() -> None:
    rows = []
    for user, took in enumerate((0.2, 0.5, 2, 9, 60, 75)):
        rows += [event("sent", f"u{user}", "T", at(0)), event("like", f"u{user}", "T", at(took))]
    assert made(rows)["T"]["sec_to_react"] == 5.5
    assert made([event("sent", "u", "T", at(0))])["T"]["sec_to_react"] is None


@pytest.mark.parametrize(("n", "ranks"), [(8, [0, 1, 1, 2, 2, 3, 3, 4]), (4, [1, 2, 3, 4])])
def test_the_most_viewed_of_a_source_ranks_first_unless_it_has_few(n: int, ranks: list[int]) -> None:
    known = memes(*(f"m{k}" for k in range(n))).with_columns(views=pl.Series([1000 - k for k in range(n)]))
    unseen = memes("unknown", "shown", "ad").with_columns(
        views=pl.Series([None, 5, 9999], dtype=pl.Int64), state=pl.Series(["ok", "created", "ad"])
    )
    found = raw_ranks(pl.concat([known, unseen]).sample(fraction=1, shuffle=True, seed=3)).sort("meme_id")
    assert found.rows() == [(f"m{k}", rank) for k, rank in enumerate(ranks)]


def test_of_two_copies_the_one_that_was_reacted_to_stays() -> None:
    rows = [
        *(event("sent", "u", "first", MORNING, engine="goat"), event("sent", "u", "copy", at(3600), engine="viral")),
        event("like", "u", "copy", at(3660)),
    ]
    known = memes("first", "copy", copies={"copy": "first"})
    (row,) = base(history(rows, known), reactions(rows).lazy(), LATER).to_dicts()
    assert (row["canonical_id"], row["meme_id"], row["reacted_at"], row["sym"]) == ("first", "copy", at(3660), 1)
    assert (row["sent_at"], row["engine"]) == (at(3600), "viral")
    both = [*rows, event("like", "u", "first", at(300))]
    (row,) = base(history(both, known), reactions(both).lazy(), LATER).to_dicts()
    assert (row["meme_id"], row["sent_at"], row["reacted_at"]) == ("first", MORNING, at(300))
    stats = made(both, known)
    assert [(i, s["nlikes"], s["nsent"], s["sec_to_react"]) for i, s in stats.items()] == [("first", 1, 1, None)]


def test_as_of_a_moment_before_the_copy_was_liked_the_first_send_counts() -> None:
    rows = [
        *(event("sent", "u", "first", MORNING), event("sent", "u", "copy", at(3600))),
        event("like", "u", "copy", at(3660)),
    ]
    held = history(rows, memes("first", "copy", copies={"copy": "first"}))
    (row,) = base(held, reactions(rows).lazy(), at(3660)).to_dicts()
    assert (row["meme_id"], row["sent_at"], row["reacted_at"], row["sym"]) == ("first", MORNING, None, 0)


def test_a_second_tap_changes_nothing() -> None:
    once = tastes("u", [1, 1, -1], "T")
    again = [*once, event("like", "u", "T", at(500)), event("sent", "u", "T", at(600))]
    assert made(again)["T"] == made(once)["T"]


def test_a_like_of_what_was_never_sent_counts_and_rates_nothing() -> None:
    row = made([*FOUR, *(event("like", f"x{n}", "T", at(n)) for n in range(5))])["T"]
    assert (row["nlikes"], row["nsent"], row["n_lr"]) == (8, 4, 3)
    assert row["lr_smoothed"] == made(FOUR)["T"]["lr_smoothed"]


def test_sends_of_one_moment_share_one_mean() -> None:
    rows = tastes("u", [1] * 9 + [-1], "S")
    rows += [event("sent", "u", "T", rows[-2]["at"]), event("like", "u", "T", at(700))]
    others = [row for name in ("v", "w") for row in tastes(name, [1] * 9 + [-1], "T")]
    row = made([*rows, *others])["T"]
    assert row["lr_smoothed"] == pytest.approx((1 - 9 / 11 - 1.8 - 1.8) / 3, abs=1e-9)


def test_a_day_touches_what_happened_and_what_was_just_passed_over() -> None:
    long_ago, last_week = MORNING - timedelta(days=9), MORNING - timedelta(days=7)
    rows = [
        *(event("sent", "u", "old", long_ago), event("sent", "u", "open", last_week)),
        *(event("sent", "v", "others", last_week), event("sent", "u", "liked", at(-86_400))),
        event("like", "u", "liked", MORNING),
        event("share_click", "w", "shared", MORNING),
        event("sent", "v", "next", MORNING + timedelta(days=1)),
    ]
    stats = made(rows)
    assert sorted(stats) == ["liked", "open", "shared"]
    assert (stats["open"]["n_es"], stats["liked"]["n_es"]) == (1, 1)


def test_a_changed_mapping_touches_the_memes_that_are_canonical_now() -> None:
    rows = [event("sent", "u", "copy", MORNING - timedelta(days=3)), event("sent", "u", "other", MORNING)]
    known = memes("first", "copy", "other", copies={"copy": "first"})
    stats = made(rows, known, changed=pl.DataFrame({"meme_id": ["copy", "first", "unheard-of"]}))
    assert {name: row["nsent"] for name, row in stats.items()} == {"first": 1, "other": 1}


def test_a_meme_the_catalogue_does_not_have_gets_no_row_and_still_shapes_its_people() -> None:
    rows = tastes("u", [1] * 9 + [-1], "T")
    known = memes("T")
    assert list(made(rows, known)) == ["T"]
    assert made(rows, known)["T"]["n_lr"] == 1


def test_newcomers_are_people_whose_first_trace_is_the_click() -> None:
    rows = [
        event("share_click", "new", "T", at(10), sharer_id="u"),
        event("share_click", "new", "S", at(20), sharer_id="u"),
        event("sent", "new", "T", at(30)),
        event("sent", "known", "S", at(0)),
        event("share_click", "known", "T", at(10), sharer_id="u"),
        event("share_click", "u", "T", at(10), sharer_id="u"),
        event("share_click", "u", "S", at(40), sharer_id="known"),
        event("share_click", "reader", "T", at(50), channel="memes"),
        event("share_click", "lost", None, at(50), sharer_id="u"),
        event("share_click", "lost", "T", at(60), sharer_id="u"),
        event("share_click", "copied", "copy", at(60), sharer_id="u"),
    ]
    known = memes("S", "T", "copy", copies={"copy": "T"})
    stats = made(rows, known)
    found = {name: (row["invited"], row["invited_by_channel"]) for name, row in stats.items()}
    assert found == {"S": (1, 0), "T": (2, 1)}
    assert newcomers(history(rows, known)).height == 4


def test_a_newcomer_of_tomorrow_is_not_known_today() -> None:
    rows = [
        *(event("sent", "u", "T", MORNING), event("share_click", "today", "T", at(10), sharer_id="u")),
        event("share_click", "tomorrow", "T", at(86_400), sharer_id="u"),
    ]
    assert made(rows)["T"]["invited"] == 1
    assert made(rows, day=DAY + timedelta(days=1))["T"]["invited"] == 2


def test_what_was_sent_at_the_moment_of_what_was_liked_is_not_passed_over_yet() -> None:
    rows = [event("sent", "u", "open", at(0)), event("sent", "u", "liked", at(0)), event("like", "u", "liked", at(5))]
    assert made(rows)["open"]["n_es"] == 0
    later = [*rows, event("sent", "u", "next", at(1)), event("dislike", "u", "next", at(9))]
    assert made(later)["open"]["n_es"] == 1


def test_today_is_known_up_to_the_quarter_of_an_hour_that_is_over() -> None:
    now = datetime(2026, 11, 20, 10, 29, 59, tzinfo=UTC)
    assert closing(DAY, now) == datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
    assert closing(DAY, LATER) == datetime(2026, 11, 21, tzinfo=UTC)
    rows = [event("sent", "u", "T", MORNING), event("like", "u", "T", at(900)), event("like", "v", "T", at(899))]
    row = made(rows, now=now)["T"]
    assert (row["nlikes"], row["as_of"]) == (1, datetime(2026, 11, 20, 10, 15, tzinfo=UTC))
    assert made(rows, now=datetime(2026, 11, 20, 0, 14, tzinfo=UTC)) == {}
    assert row["age_days"] == 19
    fresh = memes("T", published_at=at(1000))
    assert made(rows, fresh, now=now)["T"]["age_days"] == 0


def test_sources_count_through_the_canonical_meme_and_show_the_week_of_ads() -> None:
    week = MORNING - timedelta(days=2)
    states = ["ok", "ad", "ad", "duplicate", "created", "broken", "rejected", "waiting_review", "snoozed"]
    fresh = memes(*(f"f{n}" for n in range(9)), published_at=week).with_columns(state=pl.Series(states))
    known = pl.concat(
        [
            fresh,
            memes("old", state="ad"),
            memes("copy", copies={"copy": "f0"}, source_id="vk:two"),
            memes("gone", source_id="ig:gone", published_at=MORNING - timedelta(days=7)),
        ]
    )
    rows = [
        *(event("sent", "u", "f0", MORNING), event("like", "u", "copy", at(60)), event("sent", "v", "copy", at(60))),
        event("dislike", "v", "old", at(90)),
    ]
    held = history(rows, known)
    found = conform(SOURCE_STATS, source_stats(held, [DAY], UNCHANGED))
    one, gone = found.filter(pl.col("source_id") == "tg:one").to_dicts()[0], found.row(0, named=True)
    assert found["source_id"].to_list() == ["ig:gone", "tg:one"]
    assert (one["nlikes"], one["ndislikes"], one["nsent_events"], one["nmemes_sent"]) == (1, 1, 1, 1)
    assert (one["nmemes"], one["processed_7d"], one["ad_rate_7d"], one["latest_meme_age_d"]) == (10, 4, 0.5, 2)
    assert (gone["processed_7d"], gone["ad_rate_7d"], gone["nmemes"]) == (0, None, 1)


def by_hand(rows: Sequence[Event], known: pl.DataFrame, moment: datetime) -> dict[str, dict[str, Any]]:
    """The same numbers row by row, with fractions; for every meme that anyone met."""
    root = dict(known.select("meme_id", "canonical_id").iter_rows())
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted((r for r in rows if r["at"] < moment), key=lambda r: (r["at"], r["kind"] != "like")):
        pair = pairs.setdefault((row["user_id"], row["meme_id"]), {"sent": None, "reacted": None, "sym": 0})
        if row["kind"] == "sent":
            pair["sent"] = pair["sent"] or row["at"]
        elif pair["reacted"] is None:
            pair |= {"reacted": row["at"], "sym": 1 if row["kind"] == "like" else -1}
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for (user, meme), pair in sorted(pairs.items()):
        key = (user, root[meme])
        if key not in merged or _order(pair) < _order(merged[key]):
            merged[key] = pair
    found: dict[str, dict[str, Any]] = {}
    for user in {user for user, _ in merged}:
        own = {meme: pair for (other, meme), pair in merged.items() if other == user}
        for meme, pair in own.items():
            row = found.setdefault(meme, {"likes": 0, "dislikes": 0, "sent": 0, "took": [], "lr": [], "es": []})
            row["likes"] += pair["sym"] == 1
            row["dislikes"] += pair["sym"] == -1
            row["sent"] += pair["sent"] is not None
            if pair["sent"] is not None:
                _rate(row, pair, [other for other in own.values() if other["sent"] is not None])
    return found


def _order(pair: dict[str, Any]) -> tuple[datetime, datetime]:
    return pair["reacted"] or datetime.max.replace(tzinfo=UTC), pair["sent"] or datetime.max.replace(tzinfo=UTC)


def _rate(row: dict[str, Any], pair: dict[str, Any], own: list[dict[str, Any]]) -> None:
    before = [other for other in own if other["sent"] <= pair["sent"]]
    if pair["reacted"]:
        row["took"].append((pair["reacted"] - pair["sent"]).total_seconds())
        syms = [other["sym"] for other in before if other["reacted"]]
        if len(syms) >= RULES.lr_min_user:
            row["lr"].append(pair["sym"] - Fraction(sum(syms), len(syms)))
    value = _value(pair, own)
    if value is not None:
        values = [v for other in before if (v := _value(other, own)) is not None]
        row["es"].append(value - sum(values, Fraction(0)) / len(values))


def _value(pair: dict[str, Any], own: list[dict[str, Any]]) -> Fraction | None:
    if pair["reacted"] is None:
        later = any(other["reacted"] and other["sent"] > pair["sent"] for other in own)
        return Fraction(-3, 10) if later else None
    if pair["sym"] == 1:
        return Fraction(1)
    swiped = 0.5 <= (pair["reacted"] - pair["sent"]).total_seconds() <= 3
    return Fraction(-1, 2) if swiped else Fraction(-1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 250))
def test_ratings_are_those_computed_row_by_row(seed: int, size: int) -> None:
    rows, known = world(seed, size)
    for row in made(rows, known).values():
        wanted = by_hand(rows, known, datetime(2026, 11, 21, tzinfo=UTC))[row["meme_id"]]
        took = [t for t in wanted["took"] if 0.5 <= t <= 60]
        assert (row["nlikes"], row["ndislikes"], row["nsent"]) == (wanted["likes"], wanted["dislikes"], wanted["sent"])
        assert row["sec_to_react"] == (pytest.approx(median(took)) if took else None)
        for name, count, kept in (("lr_smoothed", "n_lr", wanted["lr"]), ("engagement", "n_es", wanted["es"])):
            mean = float(sum(kept, Fraction(0)) / len(kept)) if len(kept) >= 3 else 0.0
            assert (row[count], row[name]) == (len(kept), pytest.approx(mean, abs=1e-9))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 250))
def test_days_made_together_hold_the_rows_of_days_made_alone_in_any_order_of_events(seed: int, size: int) -> None:
    rows, known = world(seed, size)
    changed = pl.DataFrame({"meme_id": ["m25", "m5"]})
    days = [date(2026, 11, 18) + timedelta(days=n) for n in range(4)]
    now = datetime(2026, 11, 21, 13, 7, tzinfo=UTC)
    together = history(rows, known, now)
    shuffled = random.Random(seed).sample(rows, len(rows))
    # On the day itself, when nothing later was known yet.
    alone = [history(shuffled, known, min(now, at(0, datetime(2026, 11, n + 1, tzinfo=UTC)))) for n in (18, 19, 20, 21)]
    found = meme_stats(together, days, changed, RULES)
    apart = [meme_stats(held, [day], changed, RULES) for held, day in zip(alone, days, strict=True)]
    assert_frame_equal(found, pl.concat(apart).sort(MEME_STATS.sort_by), check_exact=True)
    sources = source_stats(together, days, changed)
    each = [source_stats(held, [day], changed) for held, day in zip(alone, days, strict=True)]
    assert_frame_equal(sources, pl.concat(each).sort(SOURCE_STATS.sort_by), check_exact=True)


def test_the_latest_row_of_each_holds_at_a_moment() -> None:
    rows = [event("sent", "u", "T", at(-86_400)), event("sent", "u", "S", at(0)), event("sent", "v", "T", at(86_400))]
    held = history(rows, everything(rows))
    stats = meme_stats(held, [DAY + timedelta(days=n) for n in (-1, 0, 1)], UNCHANGED, RULES).lazy()
    now = latest(MEME_STATS, stats).select("meme_id", "nsent", "day").collect()
    assert now.rows() == [("S", 1, DAY), ("T", 2, DAY + timedelta(days=1))]
    then = latest(MEME_STATS, stats, datetime(2026, 11, 21, tzinfo=UTC)).select("meme_id", "nsent").collect()
    assert then.rows() == [("S", 1), ("T", 1)]


def test_a_late_event_names_every_meme_whose_rating_it_may_move() -> None:
    rows = [
        *(event("sent", "u", "before", at(-8 * 86_400)), event("sent", "u", "open", at(-3600))),
        *(event("sent", "u", "judged", at(-60)), event("like", "u", "judged", at(-50))),
        *(event("sent", "u", "late", at(0)), event("like", "u", "late", at(50))),
        *(
            event("sent", "u", "between", at(20)),
            event("sent", "u", "copy", at(90)),
            event("sent", "v", "else", at(90)),
        ),
    ]
    rows.append(event("share_click", "u", "clicked", at(-9 * 86_400)))
    known = memes(
        "clicked", "before", "open", "judged", "late", "between", "copy", "root", "else", copies={"copy": "root"}
    )
    late = reactions([event("like", "u", "late", at(50))]).select("user_id", "meme_id", "at")
    found = sent_since(history(rows, known), late, RULES)
    assert found["meme_id"].sort().to_list() == ["between", "clicked", "late", "open", "root"]


def test_no_events_and_no_memes_give_no_rows() -> None:
    held = history([], memes())
    assert meme_stats(held, [DAY], UNCHANGED, RULES).is_empty()
    assert source_stats(held, [DAY], UNCHANGED).is_empty()
    assert base(held, reactions([]).lazy(), LATER).is_empty()
    assert held.known(LATER).user_start.dtype == np.intp


def test_the_catalogue_is_the_status_with_the_views_of_each_meme() -> None:
    empty = catalogue(MEME_STATUS.empty().lazy(), MEMES.empty().lazy())
    assert empty.schema == CATALOGUE

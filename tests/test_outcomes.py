"""pick_outcomes: returns against the benchmark as published, what waits and for what, and the record of a channel."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mentions_world import a_mention, mentions, price_rows, rows_of, weekdays
from polars.testing import assert_frame_equal

from magpie.lake import conform
from magpie.videos.outcomes import TRACK_RECORD, OutcomeRules, pick_outcomes, track_record, wilson
from magpie.videos.prices import Sessions
from magpie.videos.settings import Videos
from magpie.videos.tables import ACTIONS, DAILY_PRICES, PICK_OUTCOMES

FIRST = date(2026, 3, 2)
DAYS = weekdays(FIRST, 40)
# Friday after the close of 6 March, so the entry is Monday the 9th.
SAID = datetime(2026, 3, 6, 22, tzinfo=UTC)
ENTRY = date(2026, 3, 9)
LATER = datetime(2026, 12, 1, tzinfo=UTC)
FIVE = OutcomeRules((5,), "SPY")


def at_exit(entry: float, exit_price: float, horizon: int = 5) -> dict[date, float]:
    """A price that holds until the session of the horizon."""
    place = DAYS.index(ENTRY) + horizon
    return {day: entry if number < place else exit_price for number, day in enumerate(DAYS)}


def made(rows: pl.DataFrame, *prices: pl.DataFrame, rules: OutcomeRules = FIVE, now: datetime = LATER) -> pl.DataFrame:
    held = pl.concat([rows_of(DAILY_PRICES, []), *prices])
    sessions = Sessions.of(held, rules.benchmark, {})
    return conform(PICK_OUTCOMES, pick_outcomes(rows, held, sessions, rules, now))


def one(rows: pl.DataFrame, *prices: pl.DataFrame, now: datetime = LATER) -> dict[str, Any]:
    (row,) = made(rows, *prices, now=now).to_dicts()
    return row


@pytest.mark.parametrize(
    ("action", "stock", "bench", "alpha", "hit"),
    [
        ("buy", (100, 108), (400, 412), 0.05, True),
        ("sell", (100, 108), (400, 412), -0.05, False),
        ("short", (100, 108), (400, 412), -0.05, False),
        ("avoid", (50, 45), (500, 505), 0.11, True),
    ],
)
def test_alpha_is_the_return_over_the_benchmark_in_the_direction_of_the_pick(
    action: str, stock: tuple[float, float], bench: tuple[float, float], alpha: float, hit: bool
) -> None:
    row = one(
        mentions(a_mention("m1", SAID, action=action)),
        price_rows("NVDA", at_exit(*stock)),
        price_rows("SPY", at_exit(*bench)),
    )
    assert (row["status"], row["entry_date"], row["exit_date"]) == ("ok", ENTRY, date(2026, 3, 16))
    # Adjusted closes, not the closes beside them.
    assert (row["entry_price"], row["exit_price"]) == stock
    assert row["alpha"] == pytest.approx(alpha, abs=1e-12)
    assert row["signed_ret"] == pytest.approx(row["direction"] * (stock[1] / stock[0] - 1), abs=1e-12)
    assert row["alpha"] == row["direction"] * (row["ret"] - row["bench_ret"])
    assert row["hit"] is hit


@pytest.mark.parametrize(
    ("published_at", "precision", "entry"),
    [
        (datetime(2026, 3, 13, 19, 59, tzinfo=UTC), "second", date(2026, 3, 13)),
        (datetime(2026, 3, 13, 20, 0, tzinfo=UTC), "second", date(2026, 3, 16)),
        (datetime(2026, 3, 13, tzinfo=UTC), "day", date(2026, 3, 16)),
    ],
)
def test_a_pick_is_entered_at_the_first_close_after_it_was_published(
    published_at: datetime, precision: str, entry: date
) -> None:
    rows = mentions(a_mention("m1", published_at, date_precision=precision))
    prices = (price_rows(symbol, dict.fromkeys(DAYS, 10.0)) for symbol in ("NVDA", "SPY"))
    assert one(rows, *prices)["entry_date"] == entry


def test_picks_without_position_or_date_are_turned_away_with_the_reason() -> None:
    rows = mentions(
        a_mention("m1", SAID, action="hold"),
        a_mention("m2", SAID, action="watch"),
        a_mention("m3", None, day=SAID.date()),
        a_mention("m4", SAID, status="rejected", reason="not_a_pick"),
        a_mention("m5", SAID, is_active=False),
    )
    prices = (price_rows(symbol, dict.fromkeys(DAYS, 10.0)) for symbol in ("NVDA", "SPY"))
    found = made(rows, *prices).select("mention_id", "status", "reason", "observed", "entry_date", "ret")
    assert found.rows() == [
        ("m1", "rejected", "no_position", "hold", None, None),
        ("m2", "rejected", "no_position", "watch", None, None),
        ("m3", "rejected", "no_date", "unknown", None, None),
    ]


def test_a_horizon_to_come_waits_for_its_close() -> None:
    known = DAYS[: DAYS.index(ENTRY) + 3]
    prices = [price_rows(symbol, dict.fromkeys(known, 10.0)) for symbol in ("NVDA", "SPY")]
    now = datetime(2026, 3, 12, tzinfo=UTC)
    row = one(mentions(a_mention("m1", SAID)), *prices, now=now)
    # The fifth session after Monday the 9th, at 16:00 in New York.
    assert (row["status"], row["reason"]) == ("pending", "not_matured")
    assert row["not_before"] == datetime(2026, 3, 16, 20, tzinfo=UTC)
    assert (row["entry_date"], row["entry_price"], row["exit_date"], row["alpha"]) == (ENTRY, 10.0, None, None)


def test_a_pick_whose_entry_is_to_come_waits_too() -> None:
    known = DAYS[: DAYS.index(ENTRY)]
    prices = [price_rows(symbol, dict.fromkeys(known, 10.0)) for symbol in ("NVDA", "SPY")]
    row = one(mentions(a_mention("m1", SAID)), *prices, now=datetime(2026, 3, 7, tzinfo=UTC))
    assert (row["reason"], row["observed"], row["entry_date"]) == ("not_matured", "entry to come", None)
    assert row["not_before"] == datetime(2026, 3, 16, 20, tzinfo=UTC)


def test_a_horizon_that_has_passed_without_prices_waits_for_prices() -> None:
    known = DAYS[: DAYS.index(ENTRY) + 3]
    prices = [price_rows(symbol, dict.fromkeys(known, 10.0)) for symbol in ("NVDA", "SPY")]
    row = one(mentions(a_mention("m1", SAID)), *prices, now=LATER)
    assert (row["reason"], row["not_before"]) == ("no_price", None)
    assert row["observed"] == "the benchmark's prices end earlier"


def test_the_price_of_a_session_that_is_not_over_is_no_close() -> None:
    prices = [price_rows("NVDA", at_exit(100, 108)), price_rows("SPY", at_exit(400, 412))]
    close = datetime(2026, 3, 16, 20, tzinfo=UTC)
    early = one(mentions(a_mention("m1", SAID)), *prices, now=close - timedelta(seconds=1))
    assert (early["reason"], early["not_before"]) == ("not_matured", close)
    assert one(mentions(a_mention("m1", SAID)), *prices, now=close)["status"] == "ok"


@pytest.mark.parametrize("gone", [ENTRY, date(2026, 3, 16)])
def test_a_missing_price_is_never_made_up_from_its_neighbours(gone: date) -> None:
    stock = {day: price for day, price in at_exit(100, 108).items() if day != gone}
    row = one(mentions(a_mention("m1", SAID)), price_rows("NVDA", stock), price_rows("SPY", at_exit(400, 412)))
    assert (row["status"], row["reason"], row["not_before"]) == ("pending", "no_price", None)
    assert (row["observed"], row["alpha"], row["hit"]) == (f"NVDA on {gone}", None, None)


def test_without_prices_of_the_benchmark_every_pick_waits_for_prices() -> None:
    rows = mentions(a_mention("m1", SAID))
    for prices in ([], [price_rows("NVDA", at_exit(100, 108))]):
        row = one(rows, *prices, now=SAID)
        assert (row["reason"], row["not_before"], row["entry_date"]) == ("no_price", None, None)


def test_a_pick_before_the_first_price_is_not_entered_at_it() -> None:
    early = datetime(2026, 1, 5, 12, tzinfo=UTC)
    prices = [price_rows(symbol, dict.fromkeys(DAYS, 10.0)) for symbol in ("NVDA", "SPY")]
    row = one(mentions(a_mention("m1", early)), *prices)
    assert (row["reason"], row["entry_date"]) == ("no_price", None)
    assert "begin later" in row["observed"]


def test_a_hole_in_the_benchmark_does_not_shorten_a_horizon() -> None:
    start = DAYS.index(ENTRY)
    known = DAYS[: start + 2] + DAYS[start + 12 :]
    prices = [price_rows(symbol, dict.fromkeys(known, 10.0)) for symbol in ("NVDA", "SPY")]
    row = one(mentions(a_mention("m1", SAID)), *prices)
    assert (row["reason"], row["entry_date"], row["exit_date"]) == ("no_price", ENTRY, None)


def test_every_horizon_has_a_row_of_its_own() -> None:
    rules = OutcomeRules.of(Videos())
    prices = [price_rows(symbol, dict.fromkeys(DAYS[:20], 10.0)) for symbol in ("NVDA", "SPY")]
    now = datetime(2026, 3, 28, tzinfo=UTC)
    found = made(mentions(a_mention("m1", SAID)), *prices, rules=rules, now=now)
    assert found.select("horizon_sessions", "status").rows() == [(5, "ok"), (10, "ok"), (20, "pending")]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    held = st.dictionaries(st.sampled_from(DAYS), st.floats(0.01, 1000), max_size=40)
    prices = pl.concat([price_rows(symbol, draw(held)) for symbol in ("NVDA", "TSLA", "SPY")])
    rows = []
    for number in range(draw(st.integers(0, 12))):
        moment = SAID + timedelta(minutes=draw(st.integers(-20 * 1440, 50 * 1440)))
        rows.append(
            a_mention(
                f"m{number:02}",
                moment,
                date_precision=draw(st.sampled_from(["second", "day", "unknown"])),
                symbol=draw(st.sampled_from(["NVDA", "TSLA", "SPY", "AMD"])),
                action=draw(st.sampled_from(ACTIONS)),
            )
        )
    return rows, prices


@settings(max_examples=80, deadline=None)
@given(world=worlds(), now_minutes=st.integers(-5 * 1440, 80 * 1440))
def test_each_row_agrees_with_the_sessions_and_formulas_taken_one_by_one(
    world: tuple[list[dict[str, Any]], pl.DataFrame], now_minutes: int
) -> None:
    rows, prices = world
    now = SAID + timedelta(minutes=now_minutes)
    rules = OutcomeRules((1, 5), "SPY")
    known = Sessions.of(prices, "SPY", {})
    found = made(mentions(*rows), prices, rules=rules, now=now)
    assert found.height == 2 * len(rows)
    close = {(symbol, day): value for symbol, day, value in prices.select("symbol", "day", "adj_close").iter_rows()}
    said = {row["mention_id"]: row for row in rows}
    for row in found.to_dicts():
        mention = said[row["mention_id"]]
        if row["status"] == "rejected":
            assert mention["action"] in ("hold", "watch", "mention") or mention["date_precision"] == "unknown"
            continue
        moment = mention["published_at"]
        if mention["date_precision"] == "day":
            moment = moment.replace(hour=23, minute=59, second=59, microsecond=0)
        past = known.until(now)
        entry = past.first_close_after(moment)
        exit_day = past.after(entry, row["horizon_sessions"]) if entry else None
        assert (row["entry_date"], row["exit_date"]) == (entry, exit_day)
        if row["status"] == "ok":
            ret = close[row["symbol"], exit_day] / close[row["symbol"], entry] - 1
            bench = close["SPY", exit_day] / close["SPY", entry] - 1
            assert (row["ret"], row["alpha"]) == (ret, row["direction"] * (ret - bench))
        elif row["reason"] == "not_matured":
            assert row["not_before"] > now
        else:
            assert row["not_before"] is None
    assert_frame_equal(made(mentions(*rows[::-1]), prices[::-1], rules=rules, now=now), found, check_exact=True)


def test_twelve_of_twenty_have_the_published_interval() -> None:
    assert wilson(12, 20) == pytest.approx((0.3866, 0.7812), abs=5e-5)


@given(n=st.integers(1, 500), data=st.data())
def test_an_interval_holds_its_rate_and_mirrors(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n + 1e-12 and hits / n - 1e-12 <= high <= 1
    assert wilson(n - hits, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_an_interval_of_nothing_is_refused(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="hits of"):
        wilson(hits, n)


def outcomes(*alphas: float, **given: Any) -> pl.DataFrame:
    base = dict.fromkeys(PICK_OUTCOMES.dtypes) | {"channel_id": "A", "horizon_sessions": 5, "status": "ok"}
    rows = [
        {**base, "mention_id": f"m{n}", "alpha": alpha, "hit": alpha > 0, **given} for n, alpha in enumerate(alphas)
    ]
    return rows_of(PICK_OUTCOMES, rows)


def test_a_record_counts_what_has_matured_and_shows_the_inverse_beside_it() -> None:
    rows = pl.concat(
        [
            outcomes(0.1, -0.02, 0.01),
            outcomes(0.5, horizon_sessions=10, channel_id="B"),
            outcomes(9.0, status="pending", reason="no_price", channel_id="C"),
        ]
    )
    first, second = track_record(rows).to_dicts()
    assert (first["channel_id"], first["n"], first["hits"], first["median_alpha"]) == ("A", 3, 2, 0.01)
    assert first["mean_alpha"] == pytest.approx(0.03) and first["inverse_mean_alpha"] == -first["mean_alpha"]
    assert (first["wilson_low"], first["wilson_high"]) == wilson(2, 3)
    assert (second["channel_id"], second["horizon_sessions"], second["hit_rate"]) == ("B", 10, 1.0)
    assert track_record(rows.clear()).schema == TRACK_RECORD


def test_a_record_is_reliable_from_twenty_picks_on() -> None:
    assert track_record(outcomes(*[0.1] * 19))["reliable"].to_list() == [False]
    assert track_record(outcomes(*[0.1] * 20))["reliable"].to_list() == [True]


@given(alphas=st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_a_record_does_not_depend_on_the_order_of_picks(alphas: list[float]) -> None:
    rows = outcomes(*alphas)
    assert_frame_equal(track_record(rows.reverse()), track_record(rows), check_exact=True)

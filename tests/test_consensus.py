"""ticker_consensus: weights and scores of the published examples, one vote per channel, no dependence on order."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mentions_world import a_mention, mentions
from polars.testing import assert_frame_equal

from magpie.lake import conform
from magpie.videos.consensus import ConsensusRules, ticker_consensus
from magpie.videos.settings import Videos
from magpie.videos.tables import ACTIONS, TICKER_CONSENSUS

DAY = date(2026, 3, 20)
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
RULES = ConsensusRules.of(Videos())
EVERYONE = dict.fromkeys("ABCDE", 1.0)


def scored(rows: pl.DataFrame, rules: ConsensusRules = RULES, **reliability: float) -> list[dict[str, Any]]:
    found = ticker_consensus(rows, [DAY], reliability or EVERYONE, rules)
    return conform(TICKER_CONSENSUS, found).to_dicts()


def ago(days: float) -> datetime:
    return NOON - timedelta(days=days)


def test_three_channels_that_disagree_weigh_as_published() -> None:
    rows = mentions(
        a_mention("m1", ago(0), channel_id="A", action="buy", conviction=0.8),
        a_mention("m2", ago(3), channel_id="B", action="buy", conviction=0.5),
        a_mention("m3", ago(7), channel_id="C", action="sell", conviction=0.9),
    )
    (row,) = scored(rows)
    assert [vote["weight"] for vote in row["votes"]] == pytest.approx([0.9, 0.557248, 0.475], abs=5e-7)
    assert (row["net"], row["mass"]) == pytest.approx((0.982248, 1.932248), abs=5e-7)
    assert (row["score"], row["agreement"]) == pytest.approx((66.7491, 0.5083), abs=5e-5)
    assert row["neg"] / row["pos"] == pytest.approx(0.3260, abs=5e-5)
    assert (row["contested"], row["published"], row["n_votes"], row["n_channels"]) == (True, True, 3, 3)


@pytest.mark.parametrize(("channels", "score"), [(1, 73.6842), (2, 82.1429), (3, 86.4865)])
def test_equal_buys_of_more_channels_move_the_score_further(channels: int, score: float) -> None:
    rows = mentions(*(a_mention(f"m{name}", ago(0), channel_id=name) for name in "ABC"[:channels]))
    (row,) = scored(rows)
    assert row["score"] == pytest.approx(score, abs=5e-5)
    assert (row["agreement"], row["contested"]) == (1.0, False)


def test_a_change_of_mind_replaces_the_older_view() -> None:
    rows = mentions(a_mention("m1", ago(2), action="buy"), a_mention("m2", ago(1), action="sell"))
    (row,) = scored(rows)
    assert (row["n_votes"], row["pos"], [vote["mention_id"] for vote in row["votes"]]) == (1, 0.0, ["m2"])


def test_in_one_video_the_view_that_was_said_last_counts_and_ties_go_to_the_larger_id() -> None:
    later = mentions(a_mention("m9", ago(0), located_s=10), a_mention("m1", ago(0), located_s=500, action="sell"))
    assert scored(later)[0]["votes"][0]["mention_id"] == "m1"
    unlocated = mentions(a_mention("m9", ago(0), located_s=None), a_mention("m1", ago(0), located_s=0))
    assert scored(unlocated)[0]["votes"][0]["mention_id"] == "m1"
    tie = mentions(a_mention("m9", ago(0)), a_mention("m1", ago(0), action="sell"))
    assert scored(tie)[0]["votes"][0]["mention_id"] == "m9"


def test_only_active_ok_mentions_of_watched_channels_vote() -> None:
    rows = mentions(
        a_mention("m1", ago(0), channel_id="A", status="rejected", reason="ungrounded_quote"),
        a_mention("m2", ago(0), channel_id="B", is_active=False),
        a_mention("m3", ago(0), channel_id="C"),
        a_mention("m4", ago(0), channel_id="D"),
        a_mention("m5", ago(0), channel_id="E", action="mention"),
    )
    assert scored(rows, A=1, B=1, C=0, E=1) == []
    assert [vote["channel_id"] for vote in scored(rows, D=2.0)[0]["votes"]] == ["D"]


def test_a_channel_twice_as_reliable_weighs_twice() -> None:
    rows = mentions(a_mention("m1", ago(0)))
    assert scored(rows, A=2.0)[0]["mass"] == 2 * scored(rows, A=1.0)[0]["mass"]


def test_the_window_ends_with_the_day_and_holds_fourteen() -> None:
    midnight = datetime(2026, 3, 20, tzinfo=UTC)
    outside = mentions(
        a_mention("m1", midnight + timedelta(days=1), channel_id="A"),
        a_mention("m2", midnight - timedelta(days=13, microseconds=1), channel_id="B"),
    )
    assert scored(outside) == []
    inside = mentions(
        a_mention("m1", midnight + timedelta(hours=23, minutes=59, seconds=59), channel_id="A"),
        a_mention("m2", midnight - timedelta(days=13), channel_id="B"),
    )
    assert [vote["weight"] for vote in scored(inside)[0]["votes"]] == pytest.approx([0.9, 0.9 * 2 ** (-13 / 7)])


def test_a_mention_without_a_time_of_day_counts_at_the_end_of_its_partition_day() -> None:
    rows = mentions(
        a_mention("m1", None, day=DAY, date_precision="day", action="sell"),
        a_mention("m2", ago(0), action="buy"),
    )
    assert scored(rows)[0]["votes"][0]["mention_id"] == "m1"
    midnight = a_mention("m3", datetime(2026, 3, 20, tzinfo=UTC), date_precision="day", action="sell")
    assert scored(mentions(midnight, a_mention("m2", ago(0))))[0]["votes"][0]["mention_id"] == "m3"


def test_votes_without_direction_pull_towards_the_middle_and_leave_agreement_open() -> None:
    held = mentions(a_mention("m1", ago(0), action="hold"))
    (row,) = scored(held)
    assert (row["score"], row["agreement"], row["published"], row["contested"]) == (50.0, None, False, False)
    both = mentions(a_mention("m1", ago(0), action="hold"), a_mention("m2", ago(0), channel_id="B"))
    assert 50 < scored(both)[0]["score"] < scored(mentions(a_mention("m2", ago(0))))[0]["score"]


def test_a_score_is_published_only_far_from_neutral_and_with_enough_channels() -> None:
    rows = mentions(a_mention("m1", ago(0)))
    assert scored(rows)[0]["published"]
    assert not scored(rows, ConsensusRules.of(Videos(consensus_min_channels=2)))[0]["published"]
    assert not scored(rows, ConsensusRules.of(Videos(publish_margin=24)))[0]["published"]


def test_without_prior_mass_votes_that_weigh_nothing_leave_the_score_neutral() -> None:
    rules = ConsensusRules.of(Videos(prior_mass=0, half_life_days=0.001))
    (row,) = scored(mentions(a_mention("m1", ago(13))), rules)
    assert (row["score"], row["mass"]) == (50.0, 0.0)
    (row,) = scored(mentions(a_mention("m1", ago(0))), rules)
    assert row["score"] == 100.0


def test_no_days_and_no_mentions_give_an_empty_table() -> None:
    assert ticker_consensus(mentions(), [DAY], EVERYONE, RULES).schema == TICKER_CONSENSUS.dtypes
    assert ticker_consensus(mentions(a_mention("m1", ago(0))), [], EVERYONE, RULES).is_empty()


@st.composite
def worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for number in range(draw(st.integers(0, 40))):
        precision = draw(st.sampled_from(["second", "second", "second", "day", "unknown"]))
        at = ago(draw(st.integers(-3 * 24, 20 * 24)) / 24)
        rows.append(
            a_mention(
                f"m{number}",
                at if precision == "second" else None,
                day=at.date(),
                date_precision=precision,
                channel_id=draw(st.sampled_from("ABCDEF")),
                symbol=draw(st.sampled_from(["NVDA", "TSLA", "BRK.B"])),
                action=draw(st.sampled_from(ACTIONS)),
                conviction=draw(st.floats(0, 1)),
                located_s=draw(st.none() | st.integers(0, 5)),
                is_active=draw(st.booleans()),
            )
        )
    return rows


@settings(max_examples=60, deadline=None)
@given(rows=worlds(), order=st.randoms(use_true_random=False))
def test_neither_row_order_nor_the_days_of_a_call_change_a_bit(rows: list[dict[str, Any]], order: Any) -> None:
    days = [DAY - timedelta(days=n) for n in range(6)]
    trust = {"A": 1.0, "B": 0.3, "C": 1.7, "D": 0.1, "E": 2.0}
    together = ticker_consensus(mentions(*rows), days, trust, RULES)
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert_frame_equal(ticker_consensus(mentions(*shuffled), days[::-1], trust, RULES), together, check_exact=True)
    apart = [ticker_consensus(mentions(*rows), [day], trust, RULES) for day in sorted(days)]
    assert_frame_equal(pl.concat(apart), together, check_exact=True)
    for row in conform(TICKER_CONSENSUS, together).to_dicts():
        assert 0 <= row["score"] <= 100 and (row["agreement"] is None or 0 <= row["agreement"] <= 1)
        assert row["n_votes"] == row["n_channels"] == len(row["votes"])

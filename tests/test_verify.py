"""Verification: the first rule that turns a pick down is its reason, and nothing is lost or corrected."""

import json
import random
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_symbols import row, table

from magpie.videos.links import deep_link
from magpie.videos.settings import Videos
from magpie.videos.tables import ACTIONS, CLAIMS, HORIZONS, STOCK_MENTIONS
from magpie.videos.verify import VerifyRules, bucket, verify

DAY = date(2026, 3, 4)
RULES = VerifyRules()
KNOWN = table(
    row("NVDA", "NVIDIA Corporation", "~and video"),
    row("INTC", "Intel Corporation"),
    row("TSLA", "Tesla, Inc."),
    row("BMI", "Badger Meter, Inc."),
    row("BMNR", "BitMine Immersion Technologies, Inc."),
    row("WH", "Wyndham Hotels & Resorts, Inc."),
    row("WYNN", "Wynn Resorts, Limited"),
    row("GOOGL", "Alphabet Inc. Class A", "Google"),
    row("GOOG", "Alphabet Inc. Class C", "Google"),
    row("COST", "Costco Wholesale"),
    row("BTC-USD", "Bitcoin", asset_type="crypto"),
    row("SPY", "SPDR S&P 500 ETF Trust", asset_type="etf"),
)
LINES = [
    "hello and welcome back to the channel",
    "i am buying more nvidia today because",
    "the data center numbers keep going up",
    "so when i look at the cash flow",
    "i would not touch intel here at these prices",
    "and video cards are a cost for gamers",
    "tesla is one that i keep holding for years",
    "google is in the portfolio and it stays",
]
QUOTE = "the data center numbers keep going up"


def captions(lines: list[str]) -> list[dict[str, Any]]:
    return [{"start_s": place * 10.5, "end_s": place * 10.5 + 10, "text": text} for place, text in enumerate(lines)]


def transcripts(*ids: str, lines: list[str] = LINES) -> pl.DataFrame:
    fixed = {
        "status": "ok",
        "reason": None,
        "channel_id": "UC1",
        "day": DAY,
        "language": "en",
        "track": "en",
        "caption_source": "captions_auto",
        "format": "json3",
        "raw_text": " ".join(lines),
        "word_count": 1,
        "segments": captions(lines),
        "transcript_hash": "h",
    }
    return pl.DataFrame([fixed | {"video_id": video} for video in ids], schema_overrides={"segments": SEGMENTS})


SEGMENTS = pl.List(pl.Struct({"start_s": pl.Float64, "end_s": pl.Float64, "text": pl.String}))


def videos(*ids: str) -> pl.DataFrame:
    moment = datetime(2026, 3, 4, 15, tzinfo=UTC)
    return pl.DataFrame([{"video_id": video, "published_at": moment, "date_precision": "second"} for video in ids])


def analysis(picks: list[dict[str, Any]] | str, **changes: Any) -> dict[str, Any]:
    return {
        "video_id": "v0000000001",
        "channel_id": "UC1",
        "day": DAY,
        "analysis_id": "a1",
        "is_active": True,
        "transcript_hash": "h",
        "status": "ok",
        "raw_picks": picks if isinstance(picks, str) else json.dumps(picks),
        **changes,
    }


def pick(**changes: Any) -> dict[str, Any]:
    return {
        "seg_no": 1,
        "symbol": "NVDA",
        "company_name": "Nvidia",
        "action": "buy",
        "conviction": 0.8,
        "time_horizon": "long",
        "claim_type": "opinion",
        "rationale_quote": QUOTE,
        "video_timestamp_seconds": 20,
        **changes,
    }


def verified(*picks: dict[str, Any], rules: VerifyRules = RULES, lines: list[str] = LINES) -> list[dict[str, Any]]:
    found = verify(
        pl.DataFrame([analysis(list(picks))]),
        transcripts("v0000000001", lines=lines),
        videos("v0000000001"),
        KNOWN,
        rules,
    )
    STOCK_MENTIONS.schema.validate(found)
    return found.to_dicts()


def one(**changes: Any) -> dict[str, Any]:
    [found] = verified(pick(**changes))
    return found


def test_a_true_pick_is_kept_with_the_second_at_which_it_was_said() -> None:
    found = one(symbol="$nvda", video_timestamp_seconds=30)
    assert (found["status"], found["reason"], found["symbol"], found["symbol_raw"]) == ("ok", None, "NVDA", "$nvda")
    assert (found["quote_match"], found["quote_score"], found["symbol_check"]) == ("exact", 100.0, "verified")
    assert (found["located_s"], found["llm_time_s"], found["time_ok"]) == (21, 30, True)
    assert found["deep_link"] == "https://www.youtube.com/watch?v=v0000000001&t=21s"
    assert (found["conviction_bucket"], found["n_merged"], found["conflict"]) == (3, 1, False)
    assert (found["published_at"], found["date_precision"]) == (datetime(2026, 3, 4, 15, tzinfo=UTC), "second")


@pytest.mark.parametrize(
    ("changes", "reason", "check", "observed"),
    [
        ({"symbol": "NVIDIA", "company_name": "Nvidia"}, "bad_symbol", None, "NVIDIA"),
        ({"symbol": "", "claim_type": "news"}, "bad_symbol", None, ""),
        ({"claim_type": "news", "symbol": "ZZZZ"}, "not_a_pick", "unknown", "news"),
        ({"action": "mention"}, "not_a_pick", "verified", "mention"),
        ({"claim_type": "quoting_others"}, "not_a_pick", "verified", "quoting_others"),
        ({"claim_type": "hypothetical"}, "not_a_pick", "verified", "hypothetical"),
        ({"claim_type": "past"}, "not_a_pick", "verified", "past"),
        ({"symbol": "ZZZZ"}, "unknown_symbol", "unknown", "ZZZZ"),
        ({"symbol": "ABC-USD", "company_name": None}, "unknown_symbol", "unknown", "ABC-USD"),
        ({"symbol": "BMI", "company_name": "BitMine"}, "symbol_mismatch", "mismatch", "31.6"),
        ({"symbol": "WH", "company_name": "Wynn"}, "symbol_mismatch", "mismatch", "23.1"),
        ({"symbol": "BMI", "company_name": None}, "symbol_ambiguous", "ambiguous", "not named"),
        ({"symbol": "COST", "company_name": None}, "symbol_ambiguous", "ambiguous", "not named"),
        ({"rationale_quote": "nobody ever said this about anything"}, "ungrounded_quote", "verified", None),
        ({"rationale_quote": "keep going up"}, "ungrounded_quote", "verified", "3 words, too short to tell"),
    ],
)
def test_the_first_rule_that_turns_a_pick_down_is_its_reason(
    changes: dict[str, Any], reason: str, check: str | None, observed: str | None
) -> None:
    found = one(**changes)
    assert (found["status"], found["reason"], found["symbol_check"]) == ("rejected", reason, check)
    assert observed is None or found["observed"] == observed
    assert found["conflict"] is False


def test_the_bound_stands_beside_the_value() -> None:
    assert one(symbol="BMI", company_name="BitMine")["threshold"] == "80"
    assert one(rationale_quote="nobody ever said this about anything")["threshold"] == "90"


@pytest.mark.parametrize(
    ("symbol", "name", "suggested"),
    [("BMI", "BitMine", "BMNR"), ("ZZZZ", "Intel Corp", "INTC"), ("NVIDIA", "Nvidia", "NVDA"), ("WH", "Qwertz", None)],
)
def test_a_better_symbol_is_suggested_and_never_put_in_its_place(symbol: str, name: str, suggested: str | None) -> None:
    found = one(symbol=symbol, company_name=name)
    assert (found["symbol"], found["suggested_symbol"], found["status"]) == (symbol, suggested, "rejected")


def test_google_is_alphabet_by_its_alias_only() -> None:
    assert one(symbol="GOOGL", company_name="Google")["symbol_check"] == "verified"
    bare = table(row("GOOGL", "Alphabet Inc."))
    found = verify(
        pl.DataFrame([analysis([pick(symbol="GOOGL", company_name="Google")])]),
        transcripts("v0000000001"),
        videos("v0000000001"),
        bare,
        RULES,
    )
    assert found.select("reason", "observed").row(0) == ("symbol_mismatch", "28.6")


@pytest.mark.parametrize("symbol", ["NVDA", "GOOGL", "GOOG", "TSLA"])
@pytest.mark.parametrize("name", [None, "", " - "])
def test_without_a_company_the_captions_must_name_the_symbol(symbol: str, name: str | None) -> None:
    assert one(symbol=symbol, company_name=name)["symbol_check"] == "verified"


def test_a_name_that_was_only_misheard_is_ambiguous() -> None:
    [found] = verified(pick(company_name=None), lines=[QUOTE, "and video is what i like"])
    assert (found["reason"], found["observed"]) == ("symbol_ambiguous", "only as it sounds: and video")
    [named] = verified(pick(company_name="Nvidia"), lines=[QUOTE, "and video is what i like"])
    assert named["status"] == "ok"


def test_a_crypto_currency_is_its_pair_with_the_dollar() -> None:
    for symbol in ("BTC", "$btc", "BTC/USD", "btc-usd"):
        found = one(symbol=symbol, company_name="Bitcoin")
        assert (found["symbol"], found["asset_type"], found["status"]) == ("BTC-USD", "crypto", "ok")
    assert one(symbol="SPY", company_name="SPDR S&P 500 ETF")["asset_type"] == "etf"
    assert one(symbol="ZZZZ")["asset_type"] == "other"


def test_a_quote_without_its_negation_is_turned_down_though_nearly_all_of_it_was_said() -> None:
    quote = "so when i look at the cash flow i would touch intel here at these prices"
    found = one(symbol="INTC", company_name="Intel", rationale_quote=quote)
    assert found["reason"] == "ungrounded_quote"
    assert found["quote_score"] >= 90
    assert "negations" in found["observed"]
    assert found["located_s"] == 31


@pytest.mark.parametrize(("claimed", "near"), [(21, True), (111, True), (112, False), (None, None)])
def test_a_wrong_time_is_said_and_the_link_goes_where_the_quote_is(claimed: int | None, near: bool | None) -> None:
    found = one(video_timestamp_seconds=claimed)
    assert (found["status"], found["time_ok"], found["located_s"]) == ("ok", near, 21)
    assert found["deep_link"].endswith("&t=21s")


def test_without_a_quote_that_was_said_the_link_goes_to_the_time_that_was_claimed() -> None:
    found = one(rationale_quote="nobody ever said this about anything", video_timestamp_seconds=77)
    assert (found["located_s"], found["time_ok"]) == (None, None)
    assert found["deep_link"].endswith("&t=77s")
    nowhere = one(rationale_quote="nobody ever said this about anything", video_timestamp_seconds=None)
    assert nowhere["deep_link"] == deep_link("v0000000001", None) == "https://www.youtube.com/watch?v=v0000000001"


@pytest.mark.parametrize(
    ("conviction", "number"),
    [(0, 1), (0.39, 1), (0.40, 2), (0.6 - 0.2, 2), (0.69, 2), (0.70, 3), (0.1 * 7, 3), (0.8 - 0.1, 3), (1, 3)],
)
def test_the_edges_of_the_conviction_buckets_are_decimal(conviction: float, number: int) -> None:
    assert bucket(conviction) == number
    assert one(conviction=conviction)["conviction_bucket"] == number


def test_the_same_pick_again_is_merged_into_the_most_convinced_then_the_earliest() -> None:
    early, late = "i am buying more nvidia today because", QUOTE
    [found] = verified(
        pick(conviction=0.5, rationale_quote=early),
        pick(conviction=0.8, rationale_quote=late, seg_no=2),
        pick(conviction=0.8, rationale_quote=early, seg_no=3),
        pick(conviction=0.1, symbol="$NVDA"),
    )
    assert (found["n_merged"], found["conviction"], found["located_s"], found["seg_no"]) == (4, 0.8, 10, 3)


def test_what_is_turned_down_is_not_merged_so_that_each_can_be_looked_at() -> None:
    rows = verified(pick(claim_type="news"), pick(claim_type="news"), pick())
    assert sorted(found["status"] for found in rows) == ["ok", "rejected", "rejected"]
    assert [found["n_merged"] for found in rows] == [1, 1, 1]
    assert len({found["mention_id"] for found in rows}) == 3


def test_two_views_of_a_symbol_in_one_video_are_marked_and_rejected_ones_do_not_count() -> None:
    rows = verified(pick(), pick(action="sell"), pick(symbol="TSLA", company_name="Tesla", action="hold"))
    assert {(found["symbol"], found["action"]): found["conflict"] for found in rows} == {
        ("NVDA", "buy"): True,
        ("NVDA", "sell"): True,
        ("TSLA", "hold"): False,
    }
    assert [found["conflict"] for found in verified(pick(), pick(action="sell", claim_type="news"))] == [False, False]
    assert [found["conflict"] for found in verified(pick(), pick(time_horizon="short"))] == [False, False]


def test_too_many_picks_lose_the_least_convinced_then_the_latest() -> None:
    rows = verified(
        pick(symbol="TSLA", company_name="Tesla", conviction=0.5, rationale_quote=LINES[6]),
        pick(symbol="INTC", company_name="Intel", conviction=0.5, rationale_quote=LINES[4]),
        pick(conviction=0.9),
        pick(conviction=0.9),
        pick(symbol="GOOGL", company_name="Google", conviction=0.2),
        rules=VerifyRules(max_picks_per_video=2),
    )
    assert {(found["symbol"], found["status"]) for found in rows} == {
        ("NVDA", "ok"),
        ("INTC", "ok"),
        ("TSLA", "rejected"),
        ("GOOGL", "rejected"),
    }
    over = {found["symbol"]: found for found in rows if found["status"] == "rejected"}
    assert {found["reason"] for found in over.values()} == {"over_limit"}
    assert (over["TSLA"]["observed"], over["GOOGL"]["observed"], over["TSLA"]["threshold"]) == ("3", "4", "2")


def test_an_id_belongs_to_what_is_said_whatever_else_the_analysis_holds() -> None:
    alone = one()
    among = [found for found in verified(pick(symbol="TSLA"), pick(conviction=0.3), pick()) if found["status"] == "ok"]
    assert alone["mention_id"] in {found["mention_id"] for found in among}
    assert len(alone["mention_id"]) == 24
    assert one(action="sell")["mention_id"] != alone["mention_id"]


def test_every_version_and_video_has_its_own_rows_and_only_answered_ones_are_read() -> None:
    analyses = [
        analysis([pick()]),
        analysis([pick()], analysis_id="a2", is_active=False),
        analysis([pick()], analysis_id="a3", video_id="v0000000002"),
        analysis([], analysis_id="a4", video_id="v0000000003"),
        analysis("null", analysis_id="a5", status="pending"),
    ]
    ids = ("v0000000001", "v0000000002")
    found = verify(pl.DataFrame(analyses), transcripts(*ids), videos(*ids), KNOWN, RULES)
    assert found.select("analysis_id", "is_active").rows() == [("a1", True), ("a2", False), ("a3", True)]
    assert found["mention_id"].n_unique() == 3


def test_without_analyses_there_are_no_rows() -> None:
    none = pl.DataFrame([analysis([])])
    ids = ("v0000000001",)
    assert verify(none, transcripts(*ids), videos(*ids), KNOWN, RULES).equals(STOCK_MENTIONS.empty())
    assert verify(none.clear(), transcripts(*ids), videos(*ids), KNOWN, RULES).height == 0


@pytest.mark.parametrize(
    "raw",
    ["", "{", "{}", "[1]", '[{"symbol": "A"}]', json.dumps([pick(conviction=2)]), json.dumps([pick(action="hug")])],
)
def test_picks_that_are_none_are_an_error_that_names_the_analysis(raw: str) -> None:
    with pytest.raises(ValueError, match="analysis a1: raw_picks holds no picks"):
        verify(pl.DataFrame([analysis(raw)]), transcripts("v0000000001"), videos("v0000000001"), KNOWN, RULES)


def test_an_analysis_of_other_captions_is_an_error() -> None:
    other = pl.DataFrame([analysis([pick()], transcript_hash="older")])
    with pytest.raises(ValueError, match="analysis a1: its video or captions"):
        verify(other, transcripts("v0000000001"), videos("v0000000001"), KNOWN, RULES)
    with pytest.raises(ValueError, match="analysis a1: its video or captions"):
        verify(pl.DataFrame([analysis([pick()])]), transcripts("v0000000001"), videos("v0000000002"), KNOWN, RULES)


def test_the_bounds_are_those_of_the_settings() -> None:
    assert VerifyRules.of(Videos()) == RULES
    changed = Videos(quote_fuzzy_min=80, time_tolerance_s=5, name_match_min=70, suggest_min=60, max_picks_per_video=3)
    assert VerifyRules.of(changed) == VerifyRules(80, 5, 70, 60, 3)


PICKS = st.fixed_dictionaries(
    {
        "seg_no": st.none() | st.integers(1, 3),
        "symbol": st.sampled_from(["NVDA", "$nvda", "INTC", "BTC", "ZZZZ", "bad symbol", "GOOG"]) | st.text(max_size=8),
        "company_name": st.sampled_from([None, "Nvidia", "Intel", "Bitcoin", "Google"]) | st.text(max_size=8),
        "action": st.sampled_from(ACTIONS),
        "conviction": st.floats(0, 1),
        "time_horizon": st.sampled_from(HORIZONS),
        "claim_type": st.sampled_from(CLAIMS),
        "rationale_quote": st.sampled_from([*LINES, "keep going up"]) | st.text(max_size=40),
        "video_timestamp_seconds": st.none() | st.integers(0, 10_000),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(PICKS, max_size=12), st.integers(1, 4))
def test_no_pick_is_lost_and_the_order_of_the_answer_changes_no_accepted_id(
    picks: list[dict[str, Any]], most: int
) -> None:
    rules = VerifyRules(max_picks_per_video=most)
    rows = verified(*picks, rules=rules)
    assert sum(found["n_merged"] for found in rows) == len(picks)
    assert sum(found["status"] == "ok" for found in rows) <= most
    assert all((found["status"] == "ok") == (found["reason"] is None) for found in rows)
    kept = {found["mention_id"] for found in verified(*picks) if found["status"] == "ok"}
    shuffled = random.Random(7).sample(picks, len(picks))
    assert kept == {found["mention_id"] for found in verified(*shuffled) if found["status"] == "ok"}

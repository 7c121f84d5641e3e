"""The offline rules: what they take for a view, what they do not, and that they say only what was said."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_symbols import row, table

from magpie.videos.analyst import MAX_PICKS, QUOTE_MAX_CHARS, QUOTE_MIN_CHARS, SUMMARY_CHARS, outlook, pick_rows
from magpie.videos.grounding import Transcript, ground
from magpie.videos.naming import Named
from magpie.videos.tables import ACTIONS, CLAIMS, DIRECTIONS, HORIZONS

KNOWN = table(row("NVDA", "NVIDIA Corporation"), row("TSLA", "Tesla, Inc."), row("BBY", "Best Buy Co., Inc."))
CALM = "and now to something else entirely my friends"


def picks(*texts: str) -> list[dict[str, Any]]:
    lines = [(place * 4.5, place * 4.5 + 4, text) for place, text in enumerate(texts)]
    return pick_rows(lines, KNOWN.mentions(texts, flowing=True))


def pick(text: str) -> dict[str, Any]:
    [found] = picks(text)
    return found


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("nvidia is a company that makes chips", "mention"),
        ("i am shorting nvidia into the print", "short"),
        ("i have puts on nvidia into the print", "short"),
        ("nvidia is a name to stay away from", "avoid"),
        ("i would not touch nvidia up here", "avoid"),
        ("I wouldn't touch Nvidia up here.", "avoid"),
        ("i'm not buying nvidia at this price", "avoid"),
        ("please don't buy nvidia at this price", "avoid"),
        ("i would never buy nvidia at this price", "avoid"),
        ("i am not going to be buying nvidia here", "avoid"),
        ("i am selling nvidia at this price", "sell"),
        ("take profits on nvidia while you can", "sell"),
        ("i am buying nvidia at this price", "buy"),
        ("why not buy nvidia at this price", "buy"),
        ("we keep loading up on nvidia my friends", "buy"),
        ("nvidia will buy back its own shares", "mention"),
        ("nvidia cards are sold at best buy now", "sell"),
        ("we have not bought any nvidia so far", "mention"),
        ("i am holding nvidia through all of it", "hold"),
        ("I would not sell Nvidia at this price", "hold"),
        ("I don't think I would sell Nvidia here", "hold"),
        ("there is no reason to sell nvidia here", "hold"),
        ("nvidia is on my watchlist for now", "watch"),
        ("i am waiting for nvidia to come down", "watch"),
        ("i am not shorting nvidia to be clear", "mention"),
        ("nvidia in the short term is a coin toss", "mention"),
    ],
)
def test_the_words_around_a_name_decide_the_action(text: str, action: str) -> None:
    assert {found["action"] for found in picks(text) if found["symbol"] == "NVDA"} == {action}


def test_a_shop_that_is_called_best_buy_is_not_bought() -> None:
    assert pick("the earnings of best buy stock came in fine")["action"] == "mention"


def test_the_first_action_in_the_order_of_the_rules_is_taken() -> None:
    assert pick("i sold tesla and then i was buying again")["action"] == "sell"
    assert pick("stay away from tesla i keep selling it")["action"] == "avoid"


def test_a_neighbouring_line_counts_and_the_next_but_one_does_not() -> None:
    assert [found["action"] for found in picks("and i keep buying", "more of nvidia", CALM)] == ["buy"]
    assert [found["action"] for found in picks("and i keep buying", CALM, "more of nvidia")] == ["mention"]


@pytest.mark.parametrize(
    ("text", "conviction"),
    [
        ("i am buying nvidia at this price", 0.5),
        ("nvidia is a no-brainer i am buying it", 0.7),
        ("maybe i am buying nvidia at this price", 0.3),
        ("i love nvidia and might be buying it", 0.5),
    ],
)
def test_strong_and_weak_words_move_the_conviction(text: str, conviction: float) -> None:
    assert pick(text)["conviction"] == conviction


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("nvidia is worth buying at this price", "opinion"),
        ("I'm buying Nvidia at this price again", "own_trade"),
        ("i bought nvidia for the portfolio again", "own_trade"),
        ("i bought nvidia for the portfolio back in 2020", "past"),
        ("i sold nvidia a couple of years ago already", "past"),
        ("nvidia grew a lot last year so keep buying", "opinion"),
        ("analysts say that buying nvidia is fine", "quoting_others"),
        ("nvidia was upgraded so people are buying", "news"),
        ("if nvidia fell by half i would be buying", "hypothetical"),
    ],
)
def test_whose_view_it_is_shows_in_a_few_phrases(text: str, claim: str) -> None:
    assert pick(text)["claim_type"] == claim


@pytest.mark.parametrize(
    ("text", "horizon"),
    [
        ("i am buying nvidia at this price", "unspecified"),
        ("i am buying nvidia just for today", "intraday"),
        ("i am buying nvidia just for this week", "short"),
        ("i am buying nvidia for a few months", "medium"),
        ("i am buying nvidia for the long term", "long"),
        ("i am buying nvidia for ten years", "long"),
    ],
)
def test_the_horizon_is_what_is_said_of_time(text: str, horizon: str) -> None:
    assert pick(text)["time_horizon"] == horizon


def test_a_pick_holds_line_and_neighbours_and_the_second_of_the_line() -> None:
    [found] = picks("welcome [Music] back", "i am buying nvidia", "because it is cheap", CALM)
    assert found == {
        "symbol": "NVDA",
        "company_name": None,
        "action": "buy",
        "conviction": 0.5,
        "time_horizon": "unspecified",
        "claim_type": "own_trade",
        "rationale_quote": "welcome back i am buying nvidia because it is cheap",
        "video_timestamp_seconds": 4,
    }


def test_a_symbol_gives_one_pick_per_action() -> None:
    buying = "i am buying nvidia at this price"
    found = picks(buying, CALM, CALM, buying, CALM, CALM, "i am selling nvidia at this price")
    assert [(one["action"], one["video_timestamp_seconds"]) for one in found] == [("buy", 0), ("sell", 27)]


def test_of_too_many_the_mere_mentions_are_left_out_first() -> None:
    count = MAX_PICKS + 5
    texts, named = [], []
    for number in range(count):
        texts += ["well this is one of the names", CALM, CALM]
        named += [[Named(f"S{number}", "ticker", "x")], [], []]
    texts[-3] = "well i am buying this name here"
    found = pick_rows([(float(place), place + 1.0, text) for place, text in enumerate(texts)], named)
    assert len(found) == MAX_PICKS
    assert [one["symbol"] for one in found if one["action"] == "buy"] == [f"S{count - 1}"]


def test_a_name_among_few_words_is_quoted_with_more_of_its_surroundings_or_not_at_all() -> None:
    [found] = picks("now", "nvidia", "is", "it", "so i say it")
    assert found["rationale_quote"] == "now nvidia is it so i say it"
    assert picks("nvidia", "is up") == []
    assert picks() == []


def test_long_lines_are_quoted_around_the_line_with_the_name() -> None:
    before, after = " ".join(["early"] * 70), " ".join(["later"] * 70)
    [found] = picks(before, "i am buying nvidia at this price", after)
    assert "early i am buying nvidia at this price later" in found["rationale_quote"]
    assert len(found["rationale_quote"]) <= QUOTE_MAX_CHARS


WORDS = [
    "nvidia",
    "Tesla's",
    "buying",
    "not",
    "sell",
    "[Music]",
    "it's",
    "the",
    "a",
    "if",
    "would",
    "3.5%",
    "ﬁne",
    "y" * 390,
]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text(max_size=30), max_size=8)


@given(TEXTS)
def test_every_pick_has_the_shape_of_an_answer_and_quotes_what_was_said(texts: list[str]) -> None:
    lines = [(place * 4.5, place * 4.5 + 4, text) for place, text in enumerate(texts)]
    transcript = Transcript.of(lines)
    found = picks(*texts)
    assert len(found) <= MAX_PICKS
    assert len({(one["symbol"], one["action"]) for one in found}) == len(found)
    for one in found:
        assert one["action"] in ACTIONS
        assert one["claim_type"] in CLAIMS
        assert one["time_horizon"] in HORIZONS
        assert 0 <= one["conviction"] <= 1
        assert QUOTE_MIN_CHARS <= len(one["rationale_quote"]) <= QUOTE_MAX_CHARS
        said = ground(one["rationale_quote"], transcript, fuzzy_min=90)
        assert said.match == "exact" or "too short" in said.observed


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("bullish rally breakout but one crash", "bullish"),
        ("bearish crash recession but one rally", "bearish"),
        ("rally rally rally crash crash crash", "mixed"),
        ("rally crash", "neutral"),
        ("rally rally rally crash crash", "neutral"),
        ("rally rally rally rally crash crash crash", "mixed"),
        ("nothing of the kind", "neutral"),
        ("", "neutral"),
        ("i am not bullish and there was a crash", "bearish"),
        ("this is not a crash it is a rally", "bullish"),
    ],
)
def test_the_words_of_either_side_decide_the_outlook(text: str, direction: str) -> None:
    assert outlook(text)["market_outlook_direction"] == direction


def test_the_reasoning_says_that_words_were_counted() -> None:
    found = outlook("A rally, a rally and a crash")
    assert found["market_outlook_reasoning"] == (
        "Offline rules, no model: 2 bullish words and 1 bearish word of 7 words."
    )


def test_themes_and_risks_are_those_that_are_spoken_of_the_most_first() -> None:
    found = outlook("the fed and inflation and the fed again. Tariffs! A recession?")
    assert found["macro_themes"] == ["interest rates", "inflation", "tariffs and trade"]
    assert found["key_risks"] == ["recession", "tariffs"]


def test_the_summary_is_what_was_said_about_markets_in_its_order() -> None:
    filler = " ".join(["We talk about my dog."] * 10)
    text = f"Inflation is falling. {filler} Earnings beat, so the market can rally. {filler} [Applause] Bye."
    summary = outlook(text)["summary"]
    assert summary.index("Inflation is falling.") < summary.index("Earnings beat, so the market can rally.")
    assert "…" in summary
    assert "[Applause]" not in summary


@given(st.lists(st.sampled_from(["rally", "crash", "inflation", "dog.", "[x]", "y" * 700, "\n", "ai"]), max_size=80))
def test_an_outlook_always_fits_its_bounds_and_uses_words_of_the_text_only(words: list[str]) -> None:
    text = " ".join(words)
    found = outlook(text)
    assert found == outlook(text)
    assert found["market_outlook_direction"] in DIRECTIONS
    assert len(found["market_outlook_reasoning"]) <= 800
    assert len(found["macro_themes"]) <= 10
    assert len(found["key_risks"]) <= 10
    assert len(found["summary"]) <= SUMMARY_CHARS
    assert all(word in words for word in found["summary"].replace("…", " ").split())

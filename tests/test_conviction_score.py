"""Scores of picks against labels: the worked example, the two modes, and labels as people and libraries write them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mentions_world import a_mention, an_analysis, mentions, rows_of

from magpie.errors import UserError
from magpie.videos.conviction_score import (
    Label,
    Pick,
    gold_of,
    predictions_of,
    read_labels,
    score,
)
from magpie.videos.tables import VIDEO_ANALYSES

DAY = date(2026, 3, 20)


def picks(*texts: str) -> frozenset[Pick]:
    """`AAPL buy 3` as a pick."""
    parts = [text.split() for text in texts]
    return frozenset(Pick(ticker.casefold(), action, int(conviction)) for ticker, action, conviction in parts)


GOLD = {
    "v1": picks("AAPL buy 3", "TSLA sell 2"),
    "v2": picks("NVDA buy 1"),
    "v3": picks("AMD hold 2", "INTC avoid 1"),
    "v4": picks("MSFT buy 2"),
}
PREDICTED = {
    "v1": picks("AAPL buy 2", "TSLA sell 2", "META buy 1"),
    "v2": picks("NVDA hold 1"),
    "v3": frozenset[Pick](),
    "v4": None,
}


def test_the_worked_example_scores_as_published() -> None:
    found = score(GOLD, PREDICTED)
    published, strict = found.published, found.strict
    assert [round(value, 2) for value in (published.t, published.ta, published.tac)] == [60.0, 26.67, 13.33]
    assert [round(value, 2) for value in (strict.t, strict.ta, strict.tac)] == [45.0, 20.0, 10.0]
    assert (published.n_videos, strict.n_videos) == (3, 4)
    # One too many, none, two too few, and in strict the one of v4 that is missing.
    assert (published.count_mae, strict.count_mae) == (1.0, 1.0)


def test_each_video_is_shown_with_what_was_missed_and_made_up() -> None:
    rows = score(GOLD, PREDICTED).videos.to_dicts()
    assert [row["video_id"] for row in rows] == ["v1", "v2", "v3", "v4"]
    assert (rows[0]["missed"], rows[0]["extra"], rows[0]["n_gold"], rows[0]["n_predicted"]) == ([], ["meta"], 2, 3)
    assert (rows[2]["missed"], rows[2]["t"], rows[2]["answered"]) == (["amd", "intc"], 0.0, True)
    assert (rows[3]["answered"], rows[3]["t"]) == (False, 0.0)


def test_a_video_without_an_entry_counts_like_one_without_a_usable_answer() -> None:
    missing = {video: found for video, found in PREDICTED.items() if video != "v4"}
    assert score(GOLD, missing).strict == score(GOLD, PREDICTED).strict
    assert score(GOLD, {**PREDICTED, "v9": picks("KO buy 1")}).n_unlabelled == 1
    assert score(GOLD, {}).published.n_videos == 0 and score(GOLD, {}).published.count_mae is None


SOME = st.frozensets(
    st.builds(
        Pick,
        st.sampled_from(["aapl", "tsla", "nvda"]),
        st.sampled_from(["buy", "sell", "unclear"]),
        st.sampled_from([1, 2, 3, None]),
    ),
    max_size=5,
)
GOLDS = st.dictionaries(st.sampled_from("abcdef"), SOME, max_size=6)
ANSWERS = st.dictionaries(st.sampled_from("abcdefgh"), st.none() | SOME, max_size=8)


@given(gold=GOLDS, predicted=ANSWERS, order=st.randoms(use_true_random=False))
def test_scores_stay_in_bounds_and_depend_on_no_order(gold: Any, predicted: Any, order: Any) -> None:
    found = score(gold, predicted)
    for mode in (found.published, found.strict):
        assert 0 <= mode.tac <= mode.ta + 1e-9 <= 100 + 1e-9 and 0 <= mode.t <= 100
    # What is missing can only cost.
    for name in ("t", "ta", "tac"):
        assert getattr(found.strict, name) <= getattr(found.published, name) + 1e-9
    items, others = list(gold.items()), list(predicted.items())
    order.shuffle(items)
    order.shuffle(others)
    again = score(dict(items), dict(others))
    assert (again.published, again.strict) == (found.published, found.strict)
    assert again.videos.equals(found.videos)


@given(gold=st.dictionaries(st.sampled_from("abcdef"), SOME.filter(bool), min_size=1))
def test_saying_exactly_what_is_labelled_is_a_hundred_in_both_modes(gold: Any) -> None:
    found = score(gold, gold)
    for mode in (found.published, found.strict):
        assert (mode.t, mode.ta, mode.tac, mode.count_mae) == (100.0, 100.0, 100.0, 0.0)


def analyses(*rows: dict[str, Any]) -> pl.DataFrame:
    return rows_of(VIDEO_ANALYSES, rows)


def test_predictions_are_the_ok_mentions_of_the_active_analysis() -> None:
    made = analyses(
        an_analysis("v1", DAY),
        an_analysis("v1", DAY, analysis_id="older", is_active=False),
        an_analysis("v2", DAY),
        an_analysis("v3", DAY, status="failed", reason="llm_error:invalid_output"),
    )
    said = mentions(
        a_mention("m1", None, video_id="v1", analysis_id="analysis-v1"),
        a_mention("m2", None, video_id="v1", analysis_id="older", is_active=False, symbol="OLD"),
        a_mention("m3", None, video_id="v1", analysis_id="analysis-v1", symbol="TSLA", action="watch"),
        a_mention("m4", None, video_id="v2", analysis_id="analysis-v2", status="rejected", reason="ungrounded_quote"),
    )
    sure = picks("NVDA buy 3", "TSLA unclear 3")
    assert predictions_of(said, made) == {"v1": sure, "v2": frozenset(), "v3": None}
    assert predictions_of(said, made, include_rejected=True)["v2"] == picks("NVDA buy 3")


CSV = """video_id,ticker_name,Action,conviction_score,other
v1,AAPL,Buy,3,x
v1,tsla,Don't Buy,2.0,x
v2,NVDA,Short Sell,1,
v2,NVDA,Unclear,,
v3,,,,
"""
ROWS = [
    ("v1", Pick("aapl", "buy", 3)),
    ("v1", Pick("tsla", "avoid", 2)),
    ("v2", Pick("nvda", "short", 1)),
    ("v2", Pick("nvda", "unclear", None)),
    ("v3", None),
]


def test_labels_are_read_from_every_format_alike(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(CSV)
    expected = [Label(video, pick) for video, pick in ROWS]
    assert read_labels(path) == expected
    frame = pl.read_csv(path)
    frame.write_parquet(tmp_path / "labels.parquet")
    frame.write_ndjson(tmp_path / "labels.jsonl")
    (tmp_path / "labels.json").write_text(json.dumps(frame.to_dicts()))
    for name in ("labels.parquet", "labels.jsonl", "labels.json"):
        assert read_labels(tmp_path / name) == expected


def test_labels_of_segments_are_pooled_and_a_video_without_picks_stays(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,symbol,action,conviction\nv1,AAPL,buy,3\nv1,aapl,Buy,3\nv1,KO,don’t buy,1\nv2,,,\n")
    assert gold_of(read_labels(path)) == {"v1": picks("aapl buy 3", "ko avoid 1"), "v2": frozenset()}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.csv", "video_id,ticker,action\nv,A,Buy\n", "no column 'conviction'"),
        ("l.csv", "video_id,ticker,action,conviction\nv,A,Purchase,1\n", "row 1: action is 'Purchase'"),
        ("l.csv", "video_id,ticker,action,conviction\nv,A,Buy,1\nv,A,Buy,4\n", "row 2: conviction is '4'"),
        ("l.csv", "video_id,ticker,action,conviction\nv,A,Buy,high\n", "conviction is 'high'"),
        ("l.csv", "video_id,ticker,action,conviction\n,A,Buy,1\n", "row 1: no video id"),
        ("l.csv", "video_id,ticker,action,conviction\n", "holds no label"),
        ("l.csv", "", "holds no label"),
        ("l.json", "{}", "no list of objects"),
        ("l.json", "[1]", "no list of objects"),
        ("l.json", "[{", "cannot be read"),
        ("l.jsonl", "nonsense\n", "cannot be read"),
        ("l.parquet", "nonsense", "cannot be read"),
        ("l.txt", "nonsense", "labels in .txt are not read"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_with_what_to_do(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_labels(path)
    assert str(path) in str(caught.value)

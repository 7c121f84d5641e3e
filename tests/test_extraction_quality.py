"""The offline floor of extract_lead on texts that people have labelled: a change that finds less fails here."""

import json
from pathlib import Path

import pytest

from benchmarks.extraction import SETS, Labelled, LabelledSet, agrees, measure, read_posts, read_tweets
from magpie.errors import UserError

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "labelled"


@pytest.mark.parametrize("each", SETS, ids=lambda each: each.name)
def test_the_rules_find_what_the_reference_says(each: LabelledSet) -> None:
    path = DATA / each.file
    if not path.is_file():
        pytest.skip(f"{each.file} is not in ../shared/data/labelled")
    items = each.read(path)
    assert (len(items), sum(item.positive for item in items)) == (each.items, each.positive)
    assert agrees(measure(items, each.found), each.reference)


def test_precision_and_recall_are_of_the_predictions() -> None:
    items = [Labelled("a", True), Labelled("b", True), Labelled("c", False), Labelled("d", False)]
    score = measure(items, lambda text: text in "ac")
    assert (score.precision, score.recall, score.f1) == (0.5, 0.5, 0.5)
    nothing = measure(items, lambda text: False)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0.0, 0.0, 0.0)


def test_spellings_of_a_label_are_one_and_the_undecided_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "tweets.csv"
    path.write_text('class,text\nYes,a\nPI,"b, b"\nno,c\nNo,d\nundefined,e\nUndefined,f\n', "utf-8")
    assert [(item.text, item.positive) for item in read_tweets(path)] == [
        ("a", True),
        ("b, b", True),
        ("c", False),
        ("d", False),
    ]


@pytest.mark.parametrize("line", ["{", "[]", '{"label": true}', '{"text": "x", "label": "yes"}'])
def test_a_line_that_is_no_labelled_post_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text(json.dumps({"text": "x", "title": "t", "label": False}) + "\n" + line + "\n", "utf-8")
    with pytest.raises(UserError, match=r"posts\.jsonl, line 2"):
        read_posts(path)

"""How well the offline rules of extract_lead find intent, on labelled texts: the floor that a hosted model must beat.

Belongs here: reading the labelled sets, the measure, the table. Does not belong here: the rules themselves
(`magpie/leads/intent.py`).

    python -m benchmarks.extraction [--data DIRECTORY]

The sets are not part of the project; DIRECTORY holds those that there are:

purchase_intent_tweets.csv
    Tweets, MIT licence. Columns class (yes, PI, no, undefined, in any case) and text. yes and PI are positive, no is
    negative, undefined is left out. Predicted positive: 40 points or more.
reddit_pain_points_calibration.jsonl, reddit_pain_points_heldout.jsonl
    Reddit posts, one JSON object per line: label (true or false), text, and title where there is one. Predicted
    positive: a complaint, or 40 points or more.

Labels are people's; a model is never graded by itself.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe
from magpie.errors import UserError
from magpie.leads.intent import LEAD_POINTS, intent

DEFAULT_DATA = Path("../shared/data/labelled")
# The reference figures have three places.
TOLERANCE = 0.0005


@dataclass(frozen=True)
class Labelled:
    """A text and what people say of it."""

    text: str
    positive: bool


@dataclass(frozen=True)
class Score:
    """Each in 0 to 1; 0 where nothing is predicted or nothing is positive."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class LabelledSet:
    """One set, how it is read, what counts as found, and what the rules reach on it."""

    name: str
    file: str
    read: Callable[[Path], Sequence[Labelled]]
    found: Callable[[str], bool]
    items: int
    positive: int
    reference: Score


def read_tweets(path: Path) -> list[Labelled]:
    """Read the tweets that are labelled one way or the other."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["class"].strip().lower(), row["text"]) for row in csv.DictReader(file)]
    return [Labelled(text, label != "no") for label, text in rows if label in ("yes", "pi", "no")]


def read_posts(path: Path) -> list[Labelled]:
    """Read posts of a JSON lines file.

    Raises:
        UserError: a line is no object with label and text.
    """
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            post = Labelled(f"{row.get('title') or ''}\n{row['text'] or ''}", row["label"])
        except (ValueError, KeyError, AttributeError, TypeError):
            raise UserError(
                f"{path}, line {number}: write an object with label, text and, if there is one, title"
            ) from None
        if not isinstance(post.positive, bool):
            raise UserError(f"{path}, line {number}: label is {post.positive!r}, not true or false")
        found.append(post)
    return found


def wants(text: str) -> bool:
    return intent(text).points >= LEAD_POINTS


def wants_or_complains(text: str) -> bool:
    found = intent(text)
    return found.points >= LEAD_POINTS or "complaint" in found.names


SETS = (
    LabelledSet(
        "purchase-intent tweets",
        "purchase_intent_tweets.csv",
        read_tweets,
        wants,
        1008,
        684,
        Score(0.875, 0.246, 0.384),
    ),
    LabelledSet(
        "Reddit pain points, calibration",
        "reddit_pain_points_calibration.jsonl",
        read_posts,
        wants_or_complains,
        140,
        57,
        Score(0.739, 0.298, 0.425),
    ),
    LabelledSet(
        "Reddit pain points, held-out",
        "reddit_pain_points_heldout.jsonl",
        read_posts,
        wants_or_complains,
        50,
        18,
        Score(0.444, 0.444, 0.444),
    ),
)


def measure(items: Iterable[Labelled], found: Callable[[str], bool]) -> Score:
    """Return precision, recall and F1 of a prediction."""
    hits = predicted = positive = 0
    for item in items:
        said = found(item.text)
        predicted += said
        positive += item.positive
        hits += said and item.positive
    precision, recall = hits / predicted if predicted else 0.0, hits / positive if positive else 0.0
    return Score(precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0)


def agrees(score: Score, reference: Score) -> bool:
    pairs = zip(vars(score).values(), vars(reference).values(), strict=True)
    return all(abs(one - other) <= TOLERANCE for one, other in pairs)


def main() -> None:
    """Print the table; end with 1 where a figure differs from its reference."""
    parser = argparse.ArgumentParser(description="The offline floor of extract_lead on labelled texts")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    directory = parser.parse_args().data
    print(describe(("polars", "pydantic")))
    print(
        "\n| set | items | positive | always yes, P | P | R | F1 | reference |\n|---|---:|---:|---:|---:|---:|---:|---|"
    )
    same = True
    for each in SETS:
        path = directory / each.file
        if not path.is_file():
            print(f"| {each.name} | | | | | | | left out: no {path} |")
            continue
        items = each.read(path)
        score, always = measure(items, each.found), measure(items, lambda text: True)
        known = (len(items), sum(item.positive for item in items)) == (each.items, each.positive)
        told = "another set: no reference" if not known else "as it" if agrees(score, each.reference) else "DIFFERS"
        same &= told != "DIFFERS"
        figures = " | ".join(f"{value:.3f}" for value in (always.precision, *vars(score).values()))
        reference = " / ".join(f"{value:.3f}" for value in vars(each.reference).values())
        print(f"| {each.name} | {len(items)} | {sum(i.positive for i in items)} | {figures} | {reference}: {told} |")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()

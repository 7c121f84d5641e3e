"""How fast a blog's two models are trained, and how well: held against plain TF-IDF with one logistic regression.

Belongs here: made-up labels, the reference, the tables. Does not belong here: the models themselves
(`magpie/persona/text_model.py`).

    python -m benchmarks.persona_models [--rows 20000] [--labelled FILE]

Speed: made-up posts whose words follow Zipf's law, 20 000 for each model, from labels to bytes: features, five
calibrated regressions, and all of it again for each of five folds, so that scores are out of fold. The reference fits
one regression on all terms and pairs of words, once, without the fold it is judged by. Seconds of the clock count;
those of the processor say what other work on the machine has added.

Quality: messages labelled by hand (`--labelled`, CSV of `class` and `text`; yes against no), five times four fifths to
train on and one fifth to be judged by, which neither side sees any earlier. `auc_oof` is what the training itself says
of its model; it should agree with what is held out.
"""

import argparse
import csv
import hashlib
import random
import resource
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.machine import describe
from magpie.persona.labels import LABELS
from magpie.persona.settings import Blog, Persona
from magpie.persona.tables import AUTOREVIEW_MODEL
from magpie.persona.text_model import TextModel, train
from magpie.persona.training import Kind, train_row

TARGET_S = 60
SEED = 20_261_121
LABELLED = Path("../shared/data/labelled/purchase_intent_tweets.csv")
WORDS = 30_000
# Words of a post with what it answers.
SHORTEST, LONGEST = 20, 150
# A fifth of a post's words are those of its topic, and readers like some topics more than others.
TOPICS, TOPIC_WORDS, TOPICAL = 40, 300, 0.2
FOLDS = 5
SCORED = 1000

Rows = list[tuple[str, bool]]
Numbers = npt.NDArray[Any]


def made_up(count: int) -> Rows:
    """Posts on topics that are liked more or less often."""
    chance = random.Random(SEED)
    words = [f"w{number}" for number in range(WORDS)]
    weights = [1 / (place + 5) for place in range(WORDS)]
    topics = [chance.sample(words, TOPIC_WORDS) for _ in range(TOPICS)]
    liked = [chance.random() for _ in range(TOPICS)]
    rows = []
    for _ in range(count):
        topic = chance.randrange(TOPICS)
        text = chance.choices(words, weights, k=chance.randint(SHORTEST, LONGEST))
        text = [chance.choice(topics[topic]) if chance.random() < TOPICAL else word for word in text]
        rows.append((" ".join(text), chance.random() < liked[topic]))
    return rows


def labelled(path: Path) -> Rows:
    """Messages of a CSV whose class is yes or no, each once."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        found = {row["text"]: row["class"].strip().lower() for row in csv.DictReader(file)}
    return [(text, label == "yes") for text, label in sorted(found.items()) if label in ("yes", "no")]


def plain(known: Rows, asked: Sequence[str]) -> Numbers:
    """The reference: terms and pairs of words, one logistic regression."""
    terms = TfidfVectorizer(ngram_range=(1, 2))
    fitted = LogisticRegression(max_iter=1000).fit(
        terms.fit_transform([text for text, _ in known]), [y for _, y in known]
    )
    return fitted.predict_proba(terms.transform(list(asked)))[:, 1]


def speed(rows: Rows) -> bool:
    """Print how long both models take; return whether the target is met."""
    columns = [(text, label, place % 4 == 0, str(place)) for place, (text, label) in enumerate(rows)]
    labels = pl.DataFrame(columns, schema=LABELS, orient="row")
    kinds: tuple[Kind, ...] = ("selector", "autoreview")
    blob = b""

    def store(content: bytes) -> str:
        nonlocal blob
        blob = content
        return hashlib.sha256(content).hexdigest()

    print("\n| | rows | seconds | of the processor | AUC out of fold | bytes |\n|---|---:|---:|---:|---:|---:|")
    total = 0.0
    for kind in kinds:
        began, used = time.perf_counter(), time.process_time()
        at, tuning = datetime(2026, 11, 16, 3, tzinfo=UTC), Blog(name="demo-blog").tuned()
        row = train_row("demo-blog", kind, labels, at, Persona(), tuning, store, AUTOREVIEW_MODEL.empty())
        total += time.perf_counter() - began
        print(f"| {kind}_model {_told(rows, began, used)} {row['auc_oof'][0]:.3f} | {len(blob):,} |", flush=True)
    began, used = time.perf_counter(), time.process_time()
    TextModel.from_bytes(blob).score([text for text, _ in rows[:SCORED]])
    print(f"| reading one and scoring {_told(rows[:SCORED], began, used)} | |", flush=True)
    began, used = time.perf_counter(), time.process_time()
    with threadpool_limits(1):
        auc = _auc(rows, *_folds(rows)[0])
    print(f"| plain TF-IDF, one fold of five {_told(rows, began, used)} {auc:.3f} | |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nboth models {total:.1f} s (target {TARGET_S}), peak of everything {peak:,.0f} MiB")
    return total < TARGET_S


def _told(rows: Rows, began: float, used: float) -> str:
    return f"| {len(rows):,} | {time.perf_counter() - began:.1f} | {time.process_time() - used:.1f} |"


def _folds(rows: Rows) -> list[tuple[Numbers, Numbers]]:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    return list(folds.split(np.zeros(len(rows)), [label for _, label in rows]))


def _auc(rows: Rows, known: Numbers, asked: Numbers) -> float:
    scores = plain([rows[place] for place in known], [rows[place][0] for place in asked])
    return float(roc_auc_score([rows[place][1] for place in asked], scores))


def quality(rows: Rows) -> None:
    """Print how well both sides tell held-out messages apart."""
    aucs: dict[str, list[float]] = {"this model": [], "its own auc_oof": [], "plain TF-IDF": []}
    for known, asked in _folds(rows):
        found = train([rows[place] for place in known])
        scores = found.model.score([rows[place][0] for place in asked])
        aucs["this model"].append(float(roc_auc_score([rows[place][1] for place in asked], scores)))
        aucs["its own auc_oof"].append(found.auc_oof)
        aucs["plain TF-IDF"].append(_auc(rows, known, asked))
    print(f"\n{len(rows):,} labelled messages, {sum(label for _, label in rows):,} of them yes")
    print("\n| | AUC, mean of five | lowest | highest |\n|---|---:|---:|---:|")
    for name, found_aucs in aucs.items():
        print(f"| {name} | {np.mean(found_aucs):.3f} | {min(found_aucs):.3f} | {max(found_aucs):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--labelled", type=Path, default=LABELLED)
    asked = parser.parse_args()
    print(describe(("scikit-learn", "scipy", "numpy", "polars")))
    met = speed(made_up(asked.rows))
    if asked.labelled.is_file():
        quality(labelled(asked.labelled))
    else:
        print(f"\n{asked.labelled} is not there; quality is not measured")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()

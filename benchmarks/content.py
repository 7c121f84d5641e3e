"""How fast keywords are clustered, and how well: held against one pass of leader clustering.

Belongs here: made-up keywords, the reference, measures of agreement, the tables. Does not belong here: clustering
itself (`magpie/content/clustering.py`).

    python -m benchmarks.content [--keywords 20000] [--queries FILE]

Speed: keywords of made-up sites, from texts to groups: embedding, candidate pairs, merges. The reference is leader
clustering: each keyword, in order, joins the first group whose centre is near enough, which looks at no pair twice and
promises nothing.

Quality: queries of a bank with 77 intents (`--queries`, CSV of `text` and `category`, BANKING77's test split), grouped
at the floor that suits the embedder. V-measure is the harmonic mean of homogeneity and completeness (Rosenberg and
Hirschberg 2007), also known as normalised mutual information with arithmetic mean; the adjusted Rand index is that of
Hubert and Arabie (1985); F1 is over pairs of queries that share a group.
"""

import argparse
import csv
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.machine import describe
from magpie.content.clustering import agglomerated
from magpie.content.settings import Content
from magpie.errors import UserError
from magpie.text.embedder import Embedder
from magpie.text.embedders import EMBEDDERS

TARGET_S, TARGET_MIB = 60, 2048
SEED = 20_261_121
# The reference looks at all centres for each keyword, which takes minutes for all of them.
REFERENCE_KEYWORDS = 4000
# No bound that anything of this size meets.
UNBOUNDED = 1_000_000
HEADS = (
    *("invoice", "crm", "tomato", "bicycle", "espresso", "tax", "yoga", "camera", "kayak", "piano", "router", "garden"),
    *("mortgage", "puppy", "sourdough", "resume", "drone", "sofa", "passport", "backpack", "heat pump", "solar panel"),
)
OBJECTS = (
    *("template", "software", "seeds", "repair", "machine", "return", "mat", "lens", "paddle", "lessons", "settings"),
    *(
        "planner",
        "calculator",
        "training",
        "starter",
        "example",
        "battery",
        "cover",
        "renewal",
        "straps",
        "cost",
        "kit",
    ),
)
BEFORE = ("", "best", "cheap", "how to choose", "what is a", "free", "buy", "used", "why is my", "where to get")
AFTER = ("", "for beginners", "near me", "online", "2026", "vs", "review", "for small rooms", "in winter", "at home")

Vectors = npt.NDArray[np.float64]
Groups = list[list[int]]


def keywords(count: int) -> list[str]:
    """Made-up keywords, each once, as they are clustered: sorted."""
    chance = random.Random(SEED)
    found: set[str] = set()
    number = 0
    while len(found) < count:
        parts = (chance.choice(BEFORE), chance.choice(HEADS), chance.choice(OBJECTS), chance.choice(AFTER))
        # Beyond the words there are, sites sell models with numbers.
        model = f"m{number % 997}" if number > count else ""
        found.add(" ".join(" ".join((*parts, model)).split()))
        number += 1
    return sorted(found)


def led(vectors: Vectors, floor: float, largest: int) -> Groups:
    """Leader clustering: each joins the first group whose centre has at least this cosine, else begins one."""
    sums, lengths = np.zeros_like(vectors), np.zeros(len(vectors))
    sizes = np.zeros(len(vectors), dtype=np.int64)
    groups: Groups = []
    for row, vector in enumerate(vectors):
        known = len(groups)
        near = sums[:known] @ vector >= floor * lengths[:known]
        open_ones = np.flatnonzero(near & (sizes[:known] < largest))
        place = int(open_ones[0]) if open_ones.size else known
        if place == known:
            groups.append([])
        groups[place].append(row)
        sums[place] += vector
        lengths[place] = np.linalg.norm(sums[place])
        sizes[place] += 1
    return groups


def agreement(groups: Groups, labels: Sequence[str]) -> tuple[float, float, float]:
    """V-measure, adjusted Rand index and pairwise F1 of groups against labels."""
    total = len(labels)
    cells = Counter((number, labels[row]) for number, group in enumerate(groups) for row in group)
    columns = Counter(labels)
    sizes = np.array([len(group) for group in groups], dtype=np.float64)
    classes = np.array(list(columns.values()), dtype=np.float64)
    joint = np.array(list(cells.values()), dtype=np.float64)
    of_group = np.array([sizes[number] for number, _ in cells])
    of_class = np.array([columns[label] for _, label in cells], dtype=np.float64)
    mutual = float((joint / total * np.log(joint * total / (of_group * of_class))).sum())
    v_measure = 2 * mutual / (_entropy(sizes) + _entropy(classes))
    both, in_groups, in_classes, pairs = _pairs(joint), _pairs(sizes), _pairs(classes), total * (total - 1) / 2
    expected = in_groups * in_classes / pairs
    rand = (both - expected) / ((in_groups + in_classes) / 2 - expected)
    return v_measure, rand, 2 * both / (in_groups + in_classes)


def _entropy(sizes: npt.NDArray[np.float64]) -> float:
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum())


def _pairs(sizes: npt.NDArray[np.float64]) -> float:
    return float((sizes * (sizes - 1) / 2).sum())


def speed(count: int) -> bool:
    """Print how long so many keywords take; return whether the targets are met."""
    texts, rules = keywords(count), Content()
    floor, largest = rules.merge_floor, rules.max_cluster_size
    began = time.perf_counter()
    vectors = EMBEDDERS[rules.embed_model]().embed(texts).astype(np.float64)
    embedded = time.perf_counter()
    groups = agglomerated(vectors, floor, largest)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{count:,} keywords, {rules.embed_model}, floor {floor}, groups of {largest} at most")
    print("\n| | keywords | seconds | groups | of one |\n|---|---|---|---|---|")
    print(f"| embedding | {count:,} | {embedded - began:.1f} | | |")
    print(_line("average linkage", count, done - embedded, groups))
    few = vectors[:: max(1, count // REFERENCE_KEYWORDS)]
    for name, cluster in (("average linkage", agglomerated), ("leader clustering, the reference", led)):
        start = time.perf_counter()
        found = cluster(few, floor, largest)
        print(_line(name, len(few), time.perf_counter() - start, found))
    seconds = done - began
    print(f"\n{seconds:.1f} s (target {TARGET_S}), peak {peak:,.0f} MiB (target {TARGET_MIB:,})")
    return seconds < TARGET_S and peak < TARGET_MIB


def _line(name: str, count: int, seconds: float, groups: Groups) -> str:
    return f"| {name} | {count:,} | {seconds:.1f} | {len(groups):,} | {_single(groups):,} |"


def _single(groups: Groups) -> int:
    return sum(len(group) == 1 for group in groups)


def quality(queries: Path) -> None:
    """Print how far the groups agree with the labels, by embedder."""
    with queries.open(encoding="utf-8", newline="") as file:
        rows = sorted((row["text"], row["category"]) for row in csv.DictReader(file))
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    print(f"\n{len(texts):,} labelled queries, {len(set(labels))} intents")
    print("\n| embedder | groups of at most | method | groups | V-measure | adjusted Rand | pairwise F1 |")
    print("|---|---|---|---|---|---|---|")
    for name, make in EMBEDDERS.items():
        embedder = _made(make)
        if embedder is None:
            print(f"| {name} | | not installed | | | | |")
            continue
        vectors, floor = embedder.embed(texts).astype(np.float64), Content(embed_model=name).merge_floor
        for largest in (UNBOUNDED, Content().max_cluster_size):
            for method, cluster in (("average linkage", agglomerated), ("leader", led)):
                groups = cluster(vectors, floor, largest)
                told = " | ".join(f"{number:.3f}" for number in agreement(groups, labels))
                bound = "no bound" if largest == UNBOUNDED else str(largest)
                print(f"| {name}, {floor} | {bound} | {method} | {len(groups)} | {told} |", flush=True)


def _made(make: Callable[[], Embedder]) -> Embedder | None:
    try:
        return make()
    except UserError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keywords", type=int, default=20_000)
    parser.add_argument("--queries", type=Path, help="labelled queries; left out: quality is not measured")
    asked = parser.parse_args()
    print(describe(("numpy", "polars")))
    met = speed(asked.keywords)
    if asked.queries:
        quality(asked.queries)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()

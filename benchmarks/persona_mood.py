"""How fast the mood of a year is worked out, and how exact it is: held against sums over all kicks and against Euler.

Belongs here: made-up kicks, the references, the table. Does not belong here: the mood itself
(`magpie/persona/mood.py`).

    python -m benchmarks.persona_mood [--kicks 50000] [--days 365]

The first reference sums, at each step, what has become of every kick of the last 60 hours: exact, and slow. The second
follows the differential equations in steps of a minute by Euler's method, as bots do that keep a mood in memory; its
kicks are felt at the end of their minute.
"""

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.machine import describe
from magpie.persona.mood import GRID, KICKS, MoodRules, mood_grid
from magpie.persona.settings import Blog

TARGET_S = 1.0
# What two ways to add the same numbers may differ by.
TARGET_DIFFERENCE = 1e-9
SEED = 20_261_121
FIRST = date(2026, 1, 1)
KICK_SD = 0.5
# The first one also loads what is used for the first time.
RUNS = 3
STEPS_PER_HOUR = timedelta(hours=1) // GRID
MINUTES = 60

Floats = npt.NDArray[np.float64]


def kicks(count: int, days: int) -> pl.DataFrame:
    """So many kicks at random moments of these days, in no order."""
    chance = random.Random(SEED)
    begin = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    ats = [begin + timedelta(microseconds=chance.randrange(days * 86_400_000_000)) for _ in range(count)]
    return pl.DataFrame({"kick_ts": ats, "kick": [chance.gauss(0, KICK_SD) for _ in range(count)]}, KICKS)


def summed(given: pl.DataFrame, days: int, rules: MoodRules) -> Floats:
    """The offset at each step, as a sum over the kicks of the window."""
    (epoch,) = rules.epochs
    hours, sizes = _hours(given)
    scale = rules.gain * epoch.tau1_h / (epoch.tau1_h - epoch.tau2_h)
    found = np.zeros(days * 24 * STEPS_PER_HOUR)
    for step in range(len(found)):
        now = step / STEPS_PER_HOUR
        first, last = np.searchsorted(hours, (now - rules.window_h, now))
        ages = now - hours[first:last]
        left = np.exp(-ages / epoch.tau1_h) - np.exp(-ages / epoch.tau2_h)
        found[step] = scale * float((sizes[first:last] * left).sum())
    return found


def euler(given: pl.DataFrame, days: int, rules: MoodRules) -> Floats:
    """The offset at each step, by Euler's method in minutes."""
    (epoch,) = rules.epochs
    hours, sizes = _hours(given)
    total = days * 24 * MINUTES
    pushed = np.bincount((hours * MINUTES).astype(np.int64), sizes, total) * rules.gain / epoch.tau2_h
    offset = rate = 0.0
    found = np.zeros(total)
    for minute, push in enumerate(pushed.tolist()):
        found[minute] = offset
        offset += (rate - offset / epoch.tau1_h) / MINUTES
        rate += push - rate / epoch.tau2_h / MINUTES
    return found[:: MINUTES // STEPS_PER_HOUR]


def _hours(given: pl.DataFrame) -> tuple[Floats, Floats]:
    """Moments in hours since the first day, and sizes, sorted."""
    ordered = given.sort("kick_ts")
    begin = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    since = (ordered["kick_ts"] - begin).dt.total_microseconds()
    return since.to_numpy() / 3_600_000_000, ordered["kick"].to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kicks", type=int, default=50_000)
    parser.add_argument("--days", type=int, default=365)
    asked = parser.parse_args()
    rules, given = MoodRules.of(Blog(name="demo-blog")), kicks(asked.kicks, asked.days)
    days = [FIRST + timedelta(days=number) for number in range(asked.days)]
    print(describe(("numpy", "polars")))
    print(f"\n{asked.kicks:,} kicks, {asked.days:,} days in steps of ten minutes")
    print("\n| | seconds | steps | largest difference of the offset |\n|---|---|---|---|")
    took_each = []
    for _ in range(RUNS):
        began = time.perf_counter()
        ours = mood_grid(given, days, rules, "2023")["offset"].to_numpy()
        took_each.append(time.perf_counter() - began)
    seconds = statistics.median(took_each)
    print(f"| closed form, with base, value and range; median of {RUNS} | {seconds:.2f} | {len(ours):,} | |")
    references: dict[str, Callable[[pl.DataFrame, int, MoodRules], Floats]] = {
        "sum over kicks, step by step": summed,
        "Euler, a minute a step": euler,
    }
    differences = []
    for name, reference in references.items():
        began = time.perf_counter()
        found = reference(given, asked.days, rules)
        took = time.perf_counter() - began
        differences.append(float(np.abs(found - ours).max()))
        print(f"| {name} | {took:.2f} | {len(found):,} | {differences[-1]:.1e} |")
    print(f"\ntargets: {TARGET_S:g} s, and {TARGET_DIFFERENCE:g} to the first reference")
    met = seconds < TARGET_S and differences[0] < TARGET_DIFFERENCE and math.isfinite(differences[1])
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()

"""Memes at scale: hashing, search for copies, statistics, refills, a year of memes; held against plain ways.

Belongs here: measuring, the plain ways, the tables. Does not belong here: made-up memes and people (`meme_world.py`),
pictures (`meme_pictures.py`), how good the verdicts on copies are (`meme_duplicates.py`).

    python -m benchmarks.memes [--only hashing search texts copies statistics query refills year] [--rounds 5]

Each measure runs in a process of its own, so that its peak memory is its own. In hashing and search both sides take
turns; the query that the statistics are held against is a measure of its own, and the plain refill comes after ours.
Best and median are told, because other work on the machine can only slow a turn down; targets of search and refills are
held against the median, the others against the best. Reactions and texts are made once and lie in benchmarks/.work.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import polars as pl
from PIL import Image

from benchmarks import meme_pictures, meme_world
from benchmarks.machine import describe
from magpie.control import Control
from magpie.lake import Lake
from magpie.media.hash_index import HashIndex, hashes_of
from magpie.media.phash import Facts, facts
from magpie.memes import base, logs
from magpie.memes import tables as t
from magpie.memes.duplicates import HISTORY, meme_duplicates
from magpie.memes.likeness import DuplicateRules
from magpie.memes.ratings import RatingRules
from magpie.memes.serving import Recommender
from magpie.memes.settings import Memes
from magpie.memes.stats import meme_stats, source_stats
from magpie.memes.status import meme_status
from magpie.memes.user_stats import SessionRules, user_source_stats, user_stats
from magpie.settings import Settings
from magpie.tables import Partitions
from magpie.text.trigrams import similar_pairs, similarities

WORK = Path("benchmarks/.work/memes")
RULES = DuplicateRules.of(Memes())
NOTHING = pl.DataFrame(schema={"meme_id": pl.String})
SEED = 20_261_120

PICTURES, THUMBNAIL_PX, TARGET_SHARE = 120, 320, 0.8
NEW, STORED, KNOWN, TARGET_SEARCH_S = 1000, 1_000_000, 200_000, 1.0
TEXTS, TARGET_TEXTS_S, TARGET_TEXTS_MIB = 1_000_000, 10, 2048
# New and known texts of which all pairs are measured, to hold the join against.
MEASURED = (20, 20_000)
# Rows of `meme_reactions`: 6.3 million sends, of which 3.7 million are reacted to. So ten million reactions are read as
# ten million events, sends included.
AUDIENCE = meme_world.Audience(events=10_000_000, days=60, people=30_000, memes=60_000)
TARGET_STATISTICS_S, TARGET_STATISTICS_MIB = 60, 4096
SERVABLE, TARGET_REFILL_MS = 200_000, 50
# People by how many memes they were sent: one of each plan.
SENT = (0, 10, 20, 60, 300, 2000)
YEAR, YEAR_DAYS = 200_000, 365


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    into.append(time.perf_counter() - started)


def measure_hashing(rounds: int) -> dict[str, Any]:
    """Pictures per second: sha256, hash, spread of grey and thumbnail, held against a bare loop over Pillow."""
    chance = Random(SEED)
    made = meme_pictures.templates(PICTURES, SEED)
    contents = [
        meme_pictures.as_jpeg(meme_pictures.captioned(each, meme_pictures.sentence(chance, 8))) for each in made
    ]
    sides: dict[str, list[float]] = {"bare": [], "ours": [], "bare_hash": [], "ours_hash": []}
    for _ in range(rounds):
        with timed(sides["bare"]), ThreadPoolExecutor(2) as pool:
            bare = list(pool.map(lambda content: _bare(content, THUMBNAIL_PX), contents))
        with timed(sides["ours"]):
            ours = list(facts(contents, THUMBNAIL_PX))
        with timed(sides["bare_hash"]), ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda content: _bare(content, None), contents))
        with timed(sides["ours_hash"]):
            list(facts(contents))
    same = sum(isinstance(own, Facts) and own.phash64 == plain for own, plain in zip(ours, bare, strict=True))
    size = sum(map(len, contents)) / len(contents)
    return {"sides": sides, "same": same, "bytes": size, "photos": len(meme_pictures.photos())}


_K, _N = np.arange(8)[:, None], np.arange(32)[None, :]
_COSINES = np.cos(np.pi * (2 * _N + 1) * _K / 64)


def _bare(content: bytes, thumbnail_px: int | None) -> str:
    """What no program that hashes and shrinks can leave out: no check of what the bytes are, no spread of grey."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    small = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    low = _COSINES @ small @ _COSINES.T
    found = np.packbits(low > np.median(low)).tobytes().hex()
    hashlib.sha256(content).hexdigest()
    if thumbnail_px is not None:
        picture.thumbnail((thumbnail_px, thumbnail_px))
        picture.save(io.BytesIO(), "JPEG", quality=80)
    return found


def measure_search(rounds: int) -> dict[str, Any]:
    """Seconds to find all stored hashes within 9 bits of new ones, from the columns of the lake, and plainly."""
    chance = np.random.default_rng(SEED)
    stored = meme_world.hashes(STORED, chance)
    asked = meme_world.hashes(NEW, chance)
    asked[: NEW // 2] = meme_world.near(stored[: NEW // 2], 6, chance)
    column, new = meme_world.as_hex(stored), meme_world.as_hex(asked)
    sides: dict[str, list[float]] = {"plain": [], "cold": [], "held": []}
    for _ in range(rounds):
        with timed(sides["plain"]):
            plain = sum(
                int((np.bitwise_count(asked[first : first + 2, None] ^ stored[None]) <= RULES.phash_max).sum())
                for first in range(0, NEW, 2)
            )
        with timed(sides["cold"]):
            index = HashIndex(hashes_of(column.unique()))
            found = index.within(hashes_of(new.unique()), RULES.phash_max)
        with timed(sides["held"]):
            index.within(asked, RULES.phash_max)
    if found.height != plain:
        raise AssertionError(f"{found.height} pairs, {plain} by going through all")
    return {"sides": sides, "pairs": found.height}


def known_texts() -> pl.Series:
    """Made-up texts that are long enough to be compared; made where they are not there yet."""
    file = WORK / f"texts-{TEXTS + NEW}.parquet"
    if not file.is_file():
        # In a process of its own, whose memory does not count.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(_make_texts, file).result()
    return pl.read_parquet(file)["text"]


def _make_texts(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    long: list[str] = []
    for number in range(1000):
        made = meme_world.texts(NEW + TEXTS // 4, np.random.default_rng((SEED, number)))
        long += [text for text in made if len(text) >= RULES.text_only_len]
        if len(long) >= TEXTS + NEW:
            break
    pl.DataFrame({"text": long[: TEXTS + NEW]}).write_parquet(file)


def measure_texts(rounds: int) -> dict[str, Any]:
    """Seconds to find all known texts that are as similar as new ones must be; some pairs are measured one by one."""
    both = known_texts()
    new, known = both.head(NEW), both.tail(TEXTS)
    took: list[float] = []
    for _ in range(min(rounds, 3)):
        with timed(took):
            found = similar_pairs(new, known, RULES.text_only_min)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    few, many = MEASURED
    alike = similarities(new[:few].gather(np.repeat(np.arange(few), many)), pl.concat([known[:many]] * few))
    plain = (alike >= RULES.text_only_min).sum()
    joined = found.filter((pl.col("left") < few) & (pl.col("right") < many)).height
    if joined != plain:
        raise AssertionError(f"{joined} pairs, {plain} by measuring each")
    mean = float(known.str.len_chars().mean())  # type: ignore[arg-type]
    return {"sides": {"ours": took}, "pairs": found.height, "characters": mean, "join_mib": peak}


def measure_copies(rounds: int) -> dict[str, Any]:
    """Seconds of the whole verdict on new memes, texts too, when so many are known."""
    both = meme_world.facts(KNOWN + NEW, 365, SEED)
    read = meme_world.Read.of(both.tail(NEW))
    history, nobody = both.head(KNOWN), t.MEME_MODERATION.empty()
    took: list[float] = []
    for _ in range(rounds):
        with timed(took):
            found = meme_duplicates(read.memes, read.media, read.descriptions, history, nobody, RULES)
    return {"sides": {"ours": took}, "verdicts": dict(found["verdict"].value_counts().iter_rows())}


def measure_year(rounds: int) -> dict[str, Any]:
    """Seconds of the verdicts on a year of memes in one run, and of the fold to their states."""
    read = meme_world.Read.of(meme_world.facts(YEAR, YEAR_DAYS, SEED))
    nobody, unknown = t.MEME_MODERATION.empty(), pl.DataFrame(schema=HISTORY)
    sides: dict[str, list[float]] = {"duplicates": [], "status": []}
    for _ in range(min(rounds, 2)):
        with timed(sides["duplicates"]):
            found = meme_duplicates(read.memes, read.media, read.descriptions, unknown, nobody, RULES)
        with timed(sides["status"]):
            states = meme_status(
                read.memes, read.media, read.descriptions, found, nobody, t.MEME_SOURCES.empty(), found
            )
    verdicts, kept = (dict(frame.value_counts().iter_rows()) for frame in (found["verdict"], states["state"]))
    return {"sides": sides, "verdicts": verdicts, "states": kept}


def reactions_lake() -> Lake:
    """The lake of made-up reactions, a day per commit; made where it is not there yet."""
    folder = WORK / f"reactions-{AUDIENCE.events}-{AUDIENCE.days}-{AUDIENCE.people}-{AUDIENCE.memes}"
    lake, done = Lake(str(folder / "lake")), folder / "done"
    if not done.is_file():
        print("making the reactions ...", file=sys.stderr)
        for day, rows in AUDIENCE.reactions():
            lake.write(t.MEME_REACTIONS, rows, Partitions.days([day]))
        done.touch()
    return lake


def measure_statistics(rounds: int) -> dict[str, Any]:
    """Seconds of the four tables of the last day, made of one reading of all reactions as in a run."""
    events, last = reactions_lake().read(t.MEME_REACTIONS), meme_world.START + timedelta(days=AUDIENCE.days)
    day, rating, session = (last - timedelta(days=1)).date(), RatingRules.of(Memes()), SessionRules.of(Memes())
    tables: dict[str, Callable[[base.History], pl.DataFrame]] = {
        "meme_stats": lambda held: meme_stats(held, [day], NOTHING, rating),
        "source_stats": lambda held: source_stats(held, [day], NOTHING),
        "user_stats": lambda held: user_stats(held, [day], NOTHING, session),
        "user_source_stats": lambda held: user_source_stats(held, [day], NOTHING),
    }
    sides: dict[str, list[float]] = {"fold": [], **{name: [] for name in tables}, "all": []}
    for _ in range(min(rounds, 3)):
        made = {}
        with timed(sides["all"]):
            with timed(sides["fold"]):
                held = base.History.of(events, AUDIENCE.catalogue, last)
            for name, make in tables.items():
                with timed(sides[name]):
                    made[name] = make(held)
        del held
    counted = ("meme_id", "nlikes", "ndislikes", "nsent", "n_lr", "lr_smoothed")
    made["meme_stats"].select(counted).write_parquet(WORK / "rated.parquet")
    kinds = dict(events.group_by("kind").len().collect(engine="streaming").iter_rows())
    return {"sides": sides, "rows": {name: frame.height for name, frame in made.items()}, "kinds": kinds}


# The definition of likes, dislikes, sends and lr_smoothed as one query.
_QUERY = """
with event as (
    select user_id, meme_id, kind, "at" as moment from read_parquet('{files}') where status = 'ok'
), pair as (
    select user_id, meme_id, min(moment) filter (kind = 'sent') as sent, min(moment) filter (kind <> 'sent') as reacted,
        arg_min(kind, (moment, kind = 'dislike')) filter (kind <> 'sent') as kind
    from event group by all
), merged as (
    select user_id, canonical_id, sent, reacted, kind from pair join known using (meme_id)
    qualify row_number() over (
        partition by user_id, canonical_id order by reacted nulls last, sent nulls last, meme_id) = 1
), valued as (
    select *, case kind when 'like' then 1 when 'dislike' then -1 end as sym from merged
), meant as (
    select *, avg(sym) over mine as mean, count(sym) over mine as n from valued where sent is not null
    window mine as (partition by user_id order by sent)
), rated as (
    select canonical_id, count(*) as n_lr, avg(sym - mean) as lr from meant where sym is not null and n >= 10 group by 1
)
select canonical_id as meme_id, count(*) filter (sym = 1) as nlikes, count(*) filter (sym = -1) as ndislikes,
    count(sent) as nsent, coalesce(any_value(n_lr), 0) as n_lr,
    case when any_value(n_lr) >= 3 then any_value(lr) else 0 end as lr_smoothed
from valued left join rated using (canonical_id) group by 1
"""


def measure_query(rounds: int) -> dict[str, Any]:
    """Seconds of one DuckDB query for likes, dislikes, sends and lr_smoothed, and whether the stages say the same."""
    folder = reactions_lake().uri(t.MEME_REACTIONS)
    known = AUDIENCE.catalogue.select("meme_id", "canonical_id").to_arrow()
    took: list[float] = []
    with duckdb.connect(config={"threads": 2, "memory_limit": "12GB"}) as session:
        session.register("known", known)
        for _ in range(min(rounds, 2)):
            with timed(took):
                plain = session.sql(_QUERY.format(files=f"{folder}/**/*.parquet")).to_arrow_table()
    ours = pl.read_parquet(WORK / "rated.parquet")
    both = ours.join(pl.DataFrame(plain), on="meme_id", suffix="_plain")
    counts = ("nlikes", "ndislikes", "nsent", "n_lr")
    agree = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_plain") for name in counts)
    apart = (pl.col("lr_smoothed") - pl.col("lr_smoothed_plain")).abs()
    same, furthest = both.select(agree.sum(), apart.max()).row(0)
    if same != ours.height:
        raise AssertionError(f"{same} of {ours.height} memes have the numbers of the query")
    return {"sides": {"query": took}, "memes": same, "apart": furthest}


def measure_refills(rounds: int) -> dict[str, Any]:
    """Seconds of a refill through lake and control database, what is known of the person read anew, by their sends."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        lake, control = Lake(str(home / "lake")), Control(f"sqlite:///{home / 'control.db'}")
        shelf = meme_world.Shelf.of(SERVABLE)
        _keep(lake, shelf)
        now = meme_world.START + timedelta(days=40)
        recommender = Recommender(Settings(start_day=now.date(), home=home), lake, control, clock=lambda: now)
        taken: list[float] = []
        with timed(taken):
            recommender.snapshot()
        people = [(sent, f"{sent}-{number}") for number in range(10 * rounds) for sent in SENT]
        _register(control, shelf, people, now)
        sides: dict[str, list[float]] = {str(sent): [] for sent in SENT}
        plans = {}
        for sent, user_id in people:
            with timed(sides[str(sent)]):
                made = recommender.refill(user_id)
            assert made is not None and made.picks and not made.failed
            plans[str(sent)] = made.plan
        plain = _plain_refill(shelf, rounds)
        control.close()
    return {"sides": sides | {"plain": plain}, "plans": plans, "snapshot": taken[0]}


def _keep(lake: Lake, shelf: meme_world.Shelf) -> None:
    day = meme_world.START.date()
    placed, dated = Partitions.of([("telegram", day), ("upload", day)]), Partitions.days([day])
    lake.write(t.MEME_STATUS, shelf.status, placed)
    lake.write(t.MEME_DESCRIPTIONS, shelf.descriptions, placed)
    lake.write(t.MEME_STATS, shelf.stats, dated)
    lake.write(t.SOURCE_STATS, shelf.sources, dated)


def _register(control: Control, shelf: meme_world.Shelf, people: Sequence[tuple[int, str]], now: datetime) -> None:
    """People, and what each was sent: a like, a dislike or nothing came of it."""
    chance, ids = Random(SEED), shelf.status["meme_id"].to_list()
    usual = {"at": meme_world.START, "languages": ["en"], "role": "user", "rules_accepted": True}
    logs.USERS.append(control, [{"user_id": user_id, **usual} for _, user_id in people])
    for sent, user_id in people:
        rows = []
        for number, meme_id in enumerate(chance.sample(ids, sent)):
            # All of one sitting, so that newcomers are newcomers.
            at = now - timedelta(seconds=10 * (sent - number))
            told = ("sent", chance.choice(("like", "like", "dislike", None)))
            rows += [
                {"event_id": f"{user_id}-{number}-{kind}", "kind": kind, "user_id": user_id, "meme_id": meme_id}
                | {"at": at + timedelta(seconds=3 * (kind != "sent"))}
                for kind in told
                if kind is not None
            ]
        logs.EVENTS.append(control, rows)


def _plain_refill(shelf: meme_world.Shelf, rounds: int) -> list[float]:
    """One engine as a query over a table in memory: what an engine per query would cost, six times a refill."""
    took: list[float] = []
    seen = shelf.status.select("meme_id").sample(300, seed=SEED).to_arrow()
    with duckdb.connect(config={"threads": 2}) as session:
        for name, frame in (("status", shelf.status), ("stats", shelf.stats)):
            session.register("given", frame.to_arrow())
            session.execute(f"create table {name} as select * from given")
        session.register("seen", seen)
        for _ in range(10 * rounds):
            with timed(took):
                session.execute(
                    "select status.meme_id from status join stats using (meme_id) anti join seen using (meme_id)"
                    " where servable and status.language = 'en' and nlikes > 1"
                    " order by lr_smoothed desc, published_at desc, status.meme_id limit 15"
                ).fetchall()
    return took


MEASURES: dict[str, Callable[[int], dict[str, Any]]] = {
    "hashing": measure_hashing,
    "search": measure_search,
    "texts": measure_texts,
    "copies": measure_copies,
    "statistics": measure_statistics,
    "query": measure_query,
    "refills": measure_refills,
    "year": measure_year,
}


def _in_process(measure: str, rounds: int) -> dict[str, Any]:
    """Run one of `MEASURES` in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.memes", "--rounds", str(rounds), "--measure", measure]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    print(f"{measure}: load {_load()}", file=sys.stderr)
    return found


def _load() -> str:
    return " / ".join(f"{value:.1f}" for value in os.getloadavg())


def _line(name: str, took: list[float], factor: float = 1.0, more: str = "") -> str:
    return f"| {name} | {min(took) * factor:.2f} | {statistics.median(took) * factor:.2f} | {more} |"


def hashing_table(found: dict[str, Any]) -> tuple[str, bool]:
    sides, names = found["sides"], {"": f"with a thumbnail of {THUMBNAIL_PX} px", "_hash": "hash alone"}
    lines = ["| | pictures/s, best | median | share of the bare loop |", "|---|---:|---:|---:|"]
    shares = []
    for suffix, name in names.items():
        bare, ours = sides[f"bare{suffix}"], sides[f"ours{suffix}"]
        shares.append(min(bare) / min(ours))
        for title, took, share in (("bare loop", bare, 1.0), ("**Magpie**", ours, shares[-1])):
            rates = f"{PICTURES / min(took):.0f} | {PICTURES / statistics.median(took):.0f}"
            lines.append(f"| {title}, {name} | {rates} | {share:.2f} |")
    size = f"{PICTURES} JPEGs of {found['bytes'] / 1000:.0f} kB; {found['same']} hashes are those of the bare loop"
    return "\n".join([size, "", *lines]), min(shares) >= TARGET_SHARE


def search_table(found: dict[str, Any]) -> tuple[str, bool]:
    sides = found["sides"]
    names = {
        "plain": "going through all with numpy",
        "cold": "**from the column of the lake: numbers, tables, search**",
        "held": "search alone",
    }
    lines = [
        f"| {NEW:,} hashes against {STORED:,}, {found['pairs']} pairs | s, best | median | |",
        "|---|---:|---:|---|",
    ]
    lines += [_line(name, sides[side]) for side, name in names.items()]
    return "\n".join(lines), statistics.median(sides["cold"]) < TARGET_SEARCH_S


def texts_table(found: dict[str, Any]) -> tuple[str, bool]:
    took, peak = found["sides"]["ours"], found["join_mib"]
    lines = [
        f"| {NEW:,} texts against {TEXTS:,} of {found['characters']:.0f} characters | s, best | median | |",
        "|---|---:|---:|---|",
        _line("**join by similarity**", took, 1, f"{found['pairs']:,} pairs"),
        f"\nPeak {peak:,.0f} MiB, texts and interpreter included.",
    ]
    return "\n".join(lines), min(took) < TARGET_TEXTS_S and peak < TARGET_TEXTS_MIB


def copies_table(found: dict[str, Any]) -> tuple[str, bool]:
    head = f"| {NEW:,} new memes, {KNOWN:,} known | s, best | median | verdicts |"
    told = ", ".join(f"{name} {count}" for name, count in sorted(found["verdicts"].items()))
    return "\n".join(
        [head, "|---|---:|---:|---|", _line("the stage, texts too", found["sides"]["ours"], 1, told)]
    ), True


def year_table(found: dict[str, Any]) -> tuple[str, bool]:
    lines = [f"| {YEAR:,} memes of {YEAR_DAYS} days | s, best | median | |", "|---|---:|---:|---|"]
    for side, counts in (("duplicates", found["verdicts"]), ("status", found["states"])):
        told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        lines.append(_line(f"meme_{side}", found["sides"][side], 1, told))
    return "\n".join([*lines, f"\nPeak {found['peak_mib']:,.0f} MiB."]), True


def statistics_table(found: dict[str, Any]) -> tuple[str, bool]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found["kinds"].items()))
    lines = [f"| {kinds} | s, best | median | rows |", "|---|---:|---:|---:|"]
    for side, took in found["sides"].items():
        name = {"all": "**the four tables with one fold**", "fold": "fold of all events"}.get(side, side)
        rows = found["rows"].get(side)
        lines.append(_line(name, took, 1, "" if rows is None else f"{rows:,}"))
    peak, seconds = found["peak_mib"], min(found["sides"]["all"])
    lines.append(f"\nPeak {peak:,.0f} MiB.")
    return "\n".join(lines), seconds < TARGET_STATISTICS_S and peak < TARGET_STATISTICS_MIB


def query_table(found: dict[str, Any]) -> tuple[str, bool]:
    head = "| the numbers of meme_stats as one DuckDB query | s, best | median | |"
    told = f"{found['memes']:,} memes agree, lr_smoothed within {found['apart']:.0e}"
    peak = f"\nPeak {found['peak_mib']:,.0f} MiB."
    return "\n".join(
        [head, "|---|---:|---:|---|", _line("likes, sends, lr_smoothed", found["sides"]["query"], 1, told), peak]
    ), True


def refills_table(found: dict[str, Any]) -> tuple[str, bool]:
    lines = [f"| refill, {SERVABLE:,} servable memes | ms, median | p95 |", "|---|---:|---:|"]
    for side, took in found["sides"].items():
        plan = found["plans"].get(side)
        name = f"sent {side} so far, plan {plan}" if plan else "one engine as a DuckDB query"
        lines.append(f"| {name} | {statistics.median(took) * 1000:.1f} | {_p95(took) * 1000:.1f} |")
    slowest = max(statistics.median(found["sides"][side]) for side in found["plans"])
    lines.append(f"\nThe snapshot of the lake, once when it changed: {found['snapshot']:.2f} s.")
    return "\n".join(lines), slowest * 1000 < TARGET_REFILL_MS


def _p95(took: list[float]) -> float:
    return sorted(took)[max(0, -(-len(took) * 95 // 100) - 1)]


TABLES: dict[str, tuple[Callable[[dict[str, Any]], tuple[str, bool]], str]] = {
    "hashing": (hashing_table, f"at least {TARGET_SHARE:.0%} of a bare loop"),
    "search": (search_table, f"from the column below {TARGET_SEARCH_S:.0f} s, median"),
    "texts": (texts_table, f"below {TARGET_TEXTS_S} s and {TARGET_TEXTS_MIB:,} MiB"),
    "copies": (copies_table, ""),
    "statistics": (statistics_table, f"below {TARGET_STATISTICS_S} s and {TARGET_STATISTICS_MIB:,} MiB"),
    "query": (query_table, ""),
    "refills": (refills_table, f"below {TARGET_REFILL_MS} ms, median, whatever the plan"),
    "year": (year_table, ""),
}


def main() -> None:
    """Print the tables; end with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description="Memes at scale, held against plain ways")
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        measured = MEASURES[options.measure](options.rounds)
        measured["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(measured))
        return
    print(describe(("polars", "numpy", "pillow", "duckdb", "deltalake")))
    fine = True
    for name in options.only:
        table, target = TABLES[name]
        before = _load()
        text, reached = table(_in_process(name, options.rounds))
        print(f"\n### {name}\n\nload (1 / 5 / 15 min) {before} before, {_load()} after; {datetime.now(UTC):%Y-%m-%d}\n")
        print(text)
        if target:
            print(f"\nTarget, {target}: {'reached' if reached else 'MISSED'}.")
        fine &= reached
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()

"""1 000 videos from files to verified mentions, without and with the orchestrator, held against plainly parsing them.

Belongs here: the stages in order, the plain reader, quality on the sample's labels, the search for quotes, the tables.
Does not belong here: the archive (`video_archive.py`) and the stages themselves (`magpie/videos`).

    python -m benchmarks.videos [--videos 1000] [--rounds 3]

The archive is made up and lies in benchmarks/.work. Each side runs in a process of its own, in turns; the best of the
rounds counts, because other work on the machine can only slow a round down. The plain reader parses every info.json
and every caption file once with the standard library and counts words: what no program that reads them can save. Its
seconds compare machines. All analysis is by the offline rules, so no model is waited for.
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from rapidfuzz import fuzz

from benchmarks import video_archive as made
from benchmarks.machine import describe
from magpie.control import Control
from magpie.engine import engine_of
from magpie.lake import Lake
from magpie.settings import Settings, load_settings
from magpie.tables import Partitions, Table
from magpie.videos import stages
from magpie.videos import tables as t
from magpie.videos.conviction_score import ModeScores, score_lake
from magpie.videos.grounding import Transcript, ground
from magpie.videos.live import source_of
from magpie.videos.segments import SegmentRules, transcript_passages, video_segments
from magpie.videos.settings import Channel
from magpie.videos.stages import Reader, Source
from magpie.videos.symbols import SymbolTable, read_symbols
from magpie.videos.verify import VerifyRules, verify

WORK = Path("benchmarks/.work/videos")
SAMPLE = Path("magpie.yaml")
SAMPLE_LABELS = Path("samples/youtube/labels.csv")
TARGET_SECONDS, TARGET_MIB = 60, 1024
TRANSCRIPT_CHARS, QUOTES, QUOTE_WORDS = 100_000, 50, 30
SEED = 20_260_101
_WORD_TAGS = re.compile(r"<[^>]*>")


class Stopwatch:
    """Makes tables one after another as a range run does: seconds of computing with reads, and of writing."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.computing: dict[str, float] = {}
        self.writing = 0.0
        self.rows: dict[str, int] = {}

    def make(self, table: Table, partitions: Partitions, rule: Callable[[], pl.DataFrame]) -> None:
        """Compute the rows of a table and write them."""
        started = time.perf_counter()
        frame = rule()
        computed = time.perf_counter()
        self.lake.write(table, frame, partitions)
        self.computing[table.name] = computed - started
        self.writing += time.perf_counter() - computed
        self.rows[table.name] = frame.height


def run_stages(settings: Settings, watch: Stopwatch) -> None:
    """From files to mentions: all channels and days in one go, table by table, as the assets do it."""
    lake, control = watch.lake, Control(settings.control_database)
    source = source_of(settings, lake, control)
    watch.make(t.VIDEO_FILES, Partitions.whole(), source.video_files)
    watch.make(t.SYMBOLS, Partitions.whole(), lambda: read_symbols(settings.root / str(settings.videos.symbols)))
    found = lake.read(t.VIDEO_FILES).filter(pl.col("status") == "ok").select("channel_id", "day").unique().collect()
    parts = Partitions.of(found.iter_rows())
    days = parts.all_days()

    def read(table: Table) -> pl.DataFrame:
        return lake.read(table, parts if table.dimensions else None).collect()

    def each(rule: Callable[[Channel, list[date]], pl.DataFrame]) -> pl.DataFrame:
        return pl.concat([rule(channel, days) for channel in settings.channels])

    watch.make(t.VIDEOS, parts, lambda: each(source.videos))
    watch.make(t.TRANSCRIPTS, parts, lambda: _transcripts(source, read(t.VIDEOS), each))
    watch.make(t.TRANSCRIPT_PASSAGES, parts, lambda: transcript_passages(read(t.TRANSCRIPTS)))
    watch.make(t.VIDEO_SEGMENTS, parts, lambda: _segments(settings, read(t.VIDEOS), read(t.TRANSCRIPTS)))
    watch.make(t.VIDEO_ANALYSES, parts, lambda: _analyses(settings, control, read, each))
    watch.make(t.STOCK_MENTIONS, parts, lambda: _mentions(settings, read))


Each = Callable[[Callable[[Channel, list[date]], pl.DataFrame]], pl.DataFrame]
Read = Callable[[Table], pl.DataFrame]


def _transcripts(source: Source, videos: pl.DataFrame, each: Each) -> pl.DataFrame:
    return each(lambda channel, days: source.transcripts(channel, days, stages.of_channel(videos, channel)))


def _segments(settings: Settings, videos: pl.DataFrame, transcripts: pl.DataFrame) -> pl.DataFrame:
    chapters = dict(videos.select("video_id", "chapters").iter_rows())
    return video_segments(transcripts, chapters, SegmentRules.of(settings.videos))


def _analyses(settings: Settings, control: Control, read: Read, each: Each) -> pl.DataFrame:
    frames = read(t.VIDEOS), read(t.TRANSCRIPTS), read(t.VIDEO_SEGMENTS)
    engine, known = engine_of(settings, control, env={}), SymbolTable.of(read(t.SYMBOLS))
    reader = Reader(settings, engine, known, None, lambda state: None)
    return each(
        lambda channel, days: reader.video_analyses(channel, *(stages.of_channel(frame, channel) for frame in frames))[
            0
        ]
    )


def _mentions(settings: Settings, read: Read) -> pl.DataFrame:
    known, rules = SymbolTable.of(read(t.SYMBOLS)), VerifyRules.of(settings.videos)
    return verify(read(t.VIDEO_ANALYSES), read(t.TRANSCRIPTS), read(t.VIDEOS), known, rules)


def measure_stages(folder: Path) -> dict[str, Any]:
    """Seconds of each stage over the archive below `folder`."""
    watch = _fresh(folder / "magpie.yaml", folder / "stages")
    seconds = sum(watch.computing.values())
    return {"seconds": seconds, "computing": watch.computing, "writing": watch.writing, "rows": watch.rows}


def _fresh(config: Path, home: Path) -> Stopwatch:
    """Run all stages of these settings into a home that was not there before."""
    shutil.rmtree(home, ignore_errors=True)
    # Whatever the environment says: never into somebody's own lake.
    own = {"home": home, "lake_url": None, "control_url": None}
    settings = load_settings(config).model_copy(update=own)
    watch = Stopwatch(Lake(str(home / "lake")))
    run_stages(settings, watch)
    return watch


def measure_plain(folder: Path) -> dict[str, Any]:
    """Seconds of parsing every file once, without judging anything."""
    started, words, size = time.perf_counter(), 0, 0
    for path in sorted((folder / "archive").rglob("*.*")):
        data = path.read_bytes()
        size += len(data)
        words += len(_plain_text(path, data).split())
    return {"seconds": time.perf_counter() - started, "words": words, "mib": size / 2**20}


def _plain_text(path: Path, data: bytes) -> str:
    if path.suffix == ".vtt":
        return _WORD_TAGS.sub("", data.decode())
    held = json.loads(data)
    return "".join(seg["utf8"] for event in held.get("events", ()) for seg in event.get("segs", ()))


def measure_orchestrated(folder: Path) -> dict[str, Any]:
    """Seconds of `magpie run videos` over the same archive, start-up, sums over days and checks included."""
    home = folder / "orchestrated"
    shutil.rmtree(home, ignore_errors=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAGPIE_", "DAGSTER_"))}
    own = {"MAGPIE_HOME": str(home.absolute()), "MAGPIE_CONFIG": str((folder / "magpie.yaml").absolute())}
    command = [str(Path(sys.executable).with_name("magpie")), "run", "videos"]
    started = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, env={**kept, **own, "DAGSTER_DISABLE_TELEMETRY": "1"})
    if ran.returncode:
        raise RuntimeError(f"magpie run videos ended with {ran.returncode}: {ran.stderr[-2000:]}")
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    lake = Lake(str(home / "lake"))
    mentions = lake.read(t.STOCK_MENTIONS).select(pl.len()).collect().item()
    return {"seconds": seconds, "peak_mib": used.ru_maxrss / 1024, "mentions": mentions}


def measure_quality(folder: Path) -> dict[str, Any]:
    """Scores of the offline rules on the bundled sample's labels, as `magpie videos score` counts them."""
    lake = _fresh(SAMPLE, folder / "sample").lake
    rows: dict[str, dict[str, Any]] = {}
    for name, rejected in (("verified picks", False), ("rejected ones too", True)):
        found = score_lake(lake, SAMPLE_LABELS, include_rejected=rejected).scores
        rows |= {f"{name}, strict": vars(found.strict), f"{name}, published": vars(found.published)}
    return {"rows": rows}


def measure_quotes(folder: Path) -> dict[str, Any]:
    """Milliseconds per quote on one long transcript: said so, said with other words, never said."""
    chance, vocabulary = random.Random(SEED), made.CHATTER.split()
    words: list[str] = []
    while sum(map(len, words)) + len(words) < TRANSCRIPT_CHARS:
        words += chance.choices(vocabulary, k=1000)
    lines = [(n / 3, n / 3 + 2, " ".join(words[n : n + 7])) for n in range(0, len(words), 7)]
    transcript = Transcript.of(lines)
    starts = [chance.randrange(len(words) - QUOTE_WORDS) for _ in range(QUOTES)]
    exact = [" ".join(words[at : at + QUOTE_WORDS]) for at in starts]
    altered = [_altered(quote, chance) for quote in exact]
    absent = [" ".join(chance.choices(vocabulary, k=QUOTE_WORDS)) for _ in range(QUOTES)]
    found: dict[str, Any] = {"chars": len(transcript.text)}
    for name, quotes in {"word for word": exact, "one word in ten another": altered, "never said": absent}.items():
        started = time.perf_counter()
        matches = [ground(quote, transcript, fuzzy_min=90).match for quote in quotes]
        seconds = time.perf_counter() - started
        found[name] = {"ms": seconds * 1000 / QUOTES, "match": max(matches, key=matches.count)}
    started = time.perf_counter()
    for quote in absent:
        fuzz.partial_ratio_alignment(quote, transcript.text)
    found["bare_ms"] = (time.perf_counter() - started) * 1000 / QUOTES
    return found


def _altered(quote: str, chance: random.Random) -> str:
    words = quote.split()
    for place in chance.sample(range(len(words)), len(words) // 10):
        words[place] = "indeed"
    return " ".join(words)


MEASURES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "plain": measure_plain,
    "stages": measure_stages,
    "orchestrated": measure_orchestrated,
    "quality": measure_quality,
    "quotes": measure_quotes,
}
TIMED = ("plain", "stages", "orchestrated")


def _in_process(measure: str, folder: Path) -> dict[str, Any]:
    """Run one of `MEASURES` in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.videos", "--folder", str(folder), "--measure", measure]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def speed_table(folder: Path, rounds: int) -> tuple[str, bool]:
    """Return a Markdown table of the best rounds, and whether the targets are reached."""
    sides: dict[str, list[dict[str, Any]]] = {name: [] for name in TIMED}
    for number in range(rounds):
        for side, found in sides.items():
            found.append(_in_process(side, folder))
            print(f"round {number + 1}: {side}: {found[-1]['seconds']:.1f} s", file=sys.stderr)
    plain, ours, whole = (min(sides[side], key=lambda found: found["seconds"]) for side in TIMED)
    peak = {side: max(round_["peak_mib"] for round_ in found) for side, found in sides.items()}
    if ours["rows"]["stock_mentions"] != whole["mentions"]:
        raise AssertionError(f"{ours['rows']['stock_mentions']} mentions without Dagster, {whole['mentions']} with it")
    base = plain["seconds"]

    def line(name: str, seconds: float, memory: str = "") -> str:
        return f"| {name} | {seconds:.2f} | {seconds / base:.2f} | {memory} |"

    lines = ["| | seconds | times plain parsing | peak MiB |", "|---|---:|---:|---:|"]
    lines.append(line(f"every file ({plain['mib']:,.0f} MiB) parsed once, plainly", base, f"{peak['plain']:,.0f}"))
    lines.append(line("**all stages in one process**", ours["seconds"], f"{peak['stages']:,.0f}"))
    lines += [line(f"- {name} ({ours['rows'][name]:,} rows)", took) for name, took in ours["computing"].items()]
    lines.append(line("their writes, beside", ours["writing"]))
    lines.append(line("**`magpie run videos`**", whole["seconds"], f"{peak['orchestrated']:,.0f}"))
    reached = ours["seconds"] + ours["writing"] < TARGET_SECONDS and peak["stages"] < TARGET_MIB
    return "\n".join(lines), reached


def quality_table(found: dict[str, Any]) -> str:
    lines = ["| on the sample's labels | videos | T | TA | TAC | count error |", "|---|---:|---:|---:|---:|---:|"]
    for name, values in found["rows"].items():
        mode = ModeScores(**values)
        error = "" if mode.count_mae is None else f"{mode.count_mae:.2f}"
        lines.append(f"| {name} | {mode.n_videos} | {mode.t:.1f} | {mode.ta:.1f} | {mode.tac:.1f} | {error} |")
    return "\n".join(lines)


def quotes_table(found: dict[str, Any]) -> str:
    lines = [f"| {QUOTES} quotes of {QUOTE_WORDS} words in {found['chars']:,} characters | found as | ms per quote |"]
    lines.append("|---|---|---:|")
    for name in ("word for word", "one word in ten another", "never said"):
        lines.append(f"| {name} | {found[name]['match']} | {found[name]['ms']:.2f} |")
    lines.append(f"| the last ones by rapidfuzz's alignment alone | | {found['bare_ms']:.2f} |")
    return "\n".join(lines)


def _load() -> str:
    return " / ".join(f"{value:.1f}" for value in os.getloadavg())


def main() -> None:
    """Print the tables; end with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=WORK)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        found = MEASURES[options.measure](options.folder)
        found.setdefault("peak_mib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        print(json.dumps(found))
        return
    folder = options.folder / str(options.videos)
    began = _load()
    if not (folder / "magpie.yaml").is_file():
        print("making the archive ...", file=sys.stderr)
        made.make(folder, options.videos)
    speed, reached = speed_table(folder, options.rounds)
    quality, quotes = _in_process("quality", folder), _in_process("quotes", folder)
    print(describe(("polars", "deltalake", "dagster", "rapidfuzz")))
    print(f"load (1 / 5 / 15 min) {began} at the start, {_load()} at the end; {datetime.now(UTC):%Y-%m-%d}\n")
    print(f"{options.videos:,} videos of {len(made.CHANNELS)} channels over {made.DAYS} days\n\n{speed}\n")
    told = "reached" if reached else "MISSED"
    print(f"Target, stages and their writes: below {TARGET_SECONDS} s and {TARGET_MIB:,} MiB: {told}.\n")
    print(f"{quality_table(quality)}\n\n{quotes_table(quotes)}")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()

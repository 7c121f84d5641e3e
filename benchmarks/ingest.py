"""How fast archives become posts: a dump of a million lines, held against DuckDB's own JSON reader.

Belongs here: making the dump, the four measured ways, the table. Does not belong here: the ingest itself
(`magpie/sources`, `magpie/leads/posts.py`).

    python -m benchmarks.ingest [--lines 1000000] [--rounds 3] [--keep]

The dump repeats real submissions with new ids, times spread over one month in order, and changed titles, texts and
counts. Every way runs in a process of its own, so that its peak memory is its own; the ways alternate, and the best
of the rounds counts, because other work on the machine can only slow a round down.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path

import duckdb
import polars as pl
import zstandard

from benchmarks.machine import describe
from magpie.lake import Lake
from magpie.leads.posts import reddit_posts
from magpie.leads.tables import REDDIT_POSTS
from magpie.sources.reddit_landing import Landing
from magpie.sources.reddit_lines import BOOL_FIELDS, META_FIELDS, NUMBER_FIELDS, TEXT_FIELDS
from magpie.tables import Partitions

REAL = Path("../shared/data/reddit/pushshift_wallstreetbets_submissions.ndjson")
BUNDLED = Path("samples/reddit/RS_2026-03.ndjson")
WORK = Path("benchmarks/.work/ingest")
DUMP = "RS_2020-12"
MONTH = datetime(2020, 12, 1, tzinfo=UTC)
MONTH_SECONDS = 31 * 86_400
FIRST_ID = int("k48sqm", 36)
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
# The window that zstd reads without asking. `--long=31` of the published dumps makes every reader hold up to 2 GiB.
WINDOW_LOG = 27
MAX_LINE_BYTES = 16 << 20
SEED = 20_201_201
PACKAGES = ("duckdb", "polars", "pyarrow", "zstandard", "deltalake")


def make_dump(folder: Path, lines: int, window_log: int) -> str:
    """Write the dump, plain and compressed; return which rows it repeats."""
    source = REAL if REAL.is_file() else BUNDLED
    rows = []
    for line in source.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the bundled sample holds broken lines on purpose
            continue
        if isinstance(row, dict) and all(isinstance(row.get(name), str) for name in ("id", "title", "selftext")):
            rows.append(row)
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window_log, enable_ldm=True, threads=-1)
    stream = _perturbed(rows, lines)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with (
        (folder / f"{DUMP}.ndjson").open("wb") as plain,
        (folder / f"{DUMP}.zst").open("wb") as packed,
        compressor.stream_writer(packed) as compressed,
    ):
        while chunk := "".join(islice(stream, 1000)).encode():
            plain.write(chunk)
            compressed.write(chunk)
    return source.name


def _perturbed(rows: list[dict[str, object]], lines: int) -> Iterator[str]:
    """Yield lines whose ids, times, counts, titles and texts are new and whose other fields are those of `rows`."""
    rng = random.Random(SEED)  # the same dump in every run
    words = sorted({word for row in rows for word in f"{row['title']} {row['selftext']}".split()})
    for number in range(lines):
        row = rows[number % len(rows)]
        created = int(MONTH.timestamp()) + number * MONTH_SECONDS // lines
        text = str(row["selftext"])
        changed = {
            "id": _base36(FIRST_ID + number),
            "created_utc": created,
            "retrieved_on": created + rng.randrange(5, 60),
            "score": rng.randrange(500),
            "num_comments": rng.randrange(200),
            "title": f"{row['title']} {' '.join(rng.choices(words, k=3))}",
            "selftext": f"{text} {' '.join(rng.choices(words, k=8))}" if text and text[0] != "[" else text,
        }
        yield json.dumps({**row, **changed}, separators=(",", ":"), sort_keys=True) + "\n"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = DIGITS[rest] + digits
    return digits


# What the landing makes of a submission, as SQL: the checks that name a bad field are left out.
LANDED_SQL = """
SELECT 't3_' || id AS fullname, 'submission' AS kind, to_timestamp(created_utc) AS created_utc,
       to_timestamp(created_utc)::DATE AS day, subreddit,
       CASE WHEN regexp_matches(permalink, '^/(r|user|u)/[^\\s<>"'']+$') AND state <> 'deleted' THEN permalink[:512]
            ELSE '/r/' || subreddit || '/comments/' || id || '/' END AS permalink,
       CASE WHEN state <> 'deleted' AND regexp_matches(url, '^https?://') THEN url[:2048] END AS url,
       CASE WHEN state <> 'deleted' THEN title[:100000] END AS title,
       CASE WHEN state = 'deleted' OR selftext IN ('[deleted]', '[removed]') THEN ''
            ELSE coalesce(selftext, '')[:100000] END AS text,
       CASE WHEN state <> 'deleted' AND author NOT IN ('[deleted]', '[removed]', '') THEN author[:64] END AS author,
       author_karma::BIGINT AS author_karma, subreddit_subscribers::BIGINT AS sub_subscribers,
       subreddit_hot_posts::BIGINT AS sub_hot_posts,
       CASE WHEN NOT coalesce(score_hidden, false) AND NOT coalesce(hide_score, false) THEN score::BIGINT END AS score,
       upvote_ratio, num_comments::BIGINT AS num_comments, over_18,
       to_timestamp(coalesce(try_cast(_meta.retrieved_2nd_on AS DOUBLE), retrieved_on, retrieved_utc)) AS retrieved_at,
       state AS content_state, coalesce(matched_queries, []) AS matched_queries,
       CASE WHEN source = 'live' THEN 'live' ELSE 'archive' END AS source
FROM (SELECT *, CASE
          WHEN coalesce(_meta.was_deleted_later, 'false') NOT IN ('false', '0', '') OR selftext = '[deleted]'
               OR title = '[deleted by user]' OR coalesce(removed_by_category, '') IN ('deleted', 'author')
          THEN 'deleted'
          WHEN selftext = '[removed]' OR removed_by_category IS NOT NULL OR _meta.removal_type IS NOT NULL
          THEN 'removed'
          ELSE 'ok' END AS state FROM {source})
WHERE regexp_matches(id, '^[0-9a-z]{{1,13}}$') AND created_utc IS NOT NULL AND subreddit <> '' AND title IS NOT NULL
ORDER BY day
"""


def dump_source(folder: Path) -> str:
    """The plain dump as a DuckDB table function, with the fields the landing reads."""
    columns = dict.fromkeys(TEXT_FIELDS, "VARCHAR") | dict.fromkeys(NUMBER_FIELDS, "DOUBLE")
    columns |= dict.fromkeys(BOOL_FIELDS, "BOOLEAN") | {"matched_queries": "VARCHAR[]"}
    columns["_meta"] = f"STRUCT({', '.join(f'{name} VARCHAR' for name in META_FIELDS)})"
    listed = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
    return f"read_json('{folder / DUMP}.ndjson', format='newline_delimited', columns={{{listed}}})"


def read_json(folder: Path) -> int:
    """DuckDB reads the plain dump into a table in memory, as it stands."""
    with duckdb.connect() as connection:
        connection.sql(f"CREATE TABLE posts AS SELECT * FROM {dump_source(folder)}")
        return int(connection.sql("SELECT count(*) FROM posts").pl().item())


def read_json_to_the_same_columns(folder: Path) -> int:
    """DuckDB reads the plain dump, makes the landing's columns of it and writes them as Parquet, sorted by day."""
    target = folder / "duckdb.parquet"
    with duckdb.connect() as connection:
        query = LANDED_SQL.format(source=dump_source(folder))
        connection.sql(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
        return int(connection.sql(f"SELECT count(*) FROM '{target}'").pl().item())


def land(folder: Path, ending: str) -> int:
    """One landing pass: parse, check, convert, write Parquet."""
    home = folder / f"landing-{ending}"
    shutil.rmtree(home, ignore_errors=True)
    (manifest,) = Landing(home, folder, (f"{DUMP}.{ending}",), MAX_LINE_BYTES).ensure()
    return manifest.rows


def posts_to_lake(folder: Path) -> int:
    """From the landing to the table: newest snapshots, normal forms, hashes, checks, one commit for the month."""
    lake = folder / "lake"
    shutil.rmtree(lake, ignore_errors=True)
    days: list[date] = [MONTH.date() + timedelta(days=n) for n in range(31)]
    landing = Landing(folder / "landing-ndjson", folder, (f"{DUMP}.ndjson",), MAX_LINE_BYTES)
    nothing_deleted = pl.DataFrame(schema={"fullname": pl.String, "kind": pl.String})
    posts = reddit_posts(landing.posts(days), nothing_deleted)
    return Lake(str(lake)).write(REDDIT_POSTS, posts, Partitions.days(days)).rows


WAYS: dict[str, Callable[[Path], int]] = {
    "DuckDB read_json into a table in memory": read_json,
    "DuckDB read_json to the landing's columns, in Parquet": read_json_to_the_same_columns,
    "landing pass from .ndjson": lambda folder: land(folder, "ndjson"),
    "landing pass from .zst": lambda folder: land(folder, "zst"),
    "landing to reddit_posts in the lake": posts_to_lake,
}


def measure(way: str, folder: Path) -> None:
    """Run one way in this process and print its rows, seconds and peak memory."""
    started = time.perf_counter()
    rows = WAYS[way](folder)
    seconds = time.perf_counter() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mib": peak_mib}))


def compare(folder: Path, rounds: int) -> str:
    """Return a Markdown table of the best round of every way."""
    rate = dict.fromkeys(WAYS, 0.0)
    peak = dict.fromkeys(WAYS, 0.0)
    for number in range(rounds):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.ingest", "--measure", way, "--folder", str(folder)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            rate[way] = max(rate[way], found["rows"] / found["seconds"])
            peak[way] = max(peak[way], found["peak_mib"])
            print(f"round {number + 1}: {way}: {found['seconds']:.2f} s", file=sys.stderr)
    bare, same = list(WAYS)[:2]
    lines = ["| way | rows/s | times bare read_json | times the same columns | peak MiB |", "|---|---:|---:|---:|---:|"]
    for way in WAYS:
        ratios = f"{rate[way] / rate[bare]:.2f} | {rate[way] / rate[same]:.2f}"
        lines.append(f"| {way} | {rate[way]:,.0f} | {ratios} | {peak[way]:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window-log", type=int, default=WINDOW_LOG, help="of the .zst; published dumps have 31")
    parser.add_argument("--keep", action="store_true", help="leave the dump for the next run")
    parser.add_argument("--folder", type=Path, default=WORK)
    parser.add_argument("--measure", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.measure, options.folder)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        note = options.folder / "dump.json"
        wanted = {"lines": options.lines, "window_log": options.window_log}
        made = json.loads(note.read_text()) if note.is_file() else {}
        if not wanted.items() <= made.items():
            print("making the dump ...", file=sys.stderr)
            made = {**wanted, "source": make_dump(options.folder, options.lines, options.window_log)}
            note.write_text(json.dumps(made))
        sizes = {ending: (options.folder / f"{DUMP}.{ending}").stat().st_size / 2**20 for ending in ("ndjson", "zst")}
        table = compare(options.folder, options.rounds)
        print(f"{options.lines:,} lines made of {made['source']}; .ndjson {sizes['ndjson']:,.0f} MiB, ", end="")
        print(f".zst {sizes['zst']:,.0f} MiB, window 2^{options.window_log}\n{describe(PACKAGES)}\n\n{table}")
    finally:
        if not options.keep:
            shutil.rmtree(options.folder, ignore_errors=True)


if __name__ == "__main__":
    main()

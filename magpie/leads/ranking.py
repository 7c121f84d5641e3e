"""ranked_posts: BM25, cosine and fused score of the posts that passed gates 0-7, and what gates 8-11 say.

Belongs here: keyword vectors, post vectors, scoring, rank. Does not belong here: the formulas (`magpie/text`) and
the corpus counts (`corpus.py`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from magpie.leads.calibration import GateSettings
from magpie.leads.corpus import document_frequencies
from magpie.leads.gates import SCORE_GATES, decide, score_facts
from magpie.leads.keywords import CompiledKeyword, keyword_set_hash, query_terms
from magpie.leads.posts import post_text
from magpie.leads.tables import CAMPAIGN_KEYWORDS, POST_EMBEDDINGS, RANKED_POSTS
from magpie.tables import UTC, all_ok
from magpie.text import bm25
from magpie.text.cut import cut_utf8
from magpie.text.embedder import AnyEmbedder, Vectors, Wait, embedded
from magpie.text.similarity import centroid, cosine_rows, max_cosine_rows

# Texts are embedded and scored in slices: a dense float64 block of this many rows stays below 100 MB.
ROWS_PER_SLICE = 8192


@dataclass(frozen=True)
class Direction:
    """What a campaign's posts are compared with: its keyword vectors and their weighted centroid."""

    embed_model: str
    keyword_set_hash: str
    vectors: Vectors
    centroid: np.ndarray
    # Set while the keywords have no vectors yet: nothing can be compared.
    wait: Wait | None = None


def campaign_keywords(campaign_id: str, keywords: Sequence[CompiledKeyword], embedder: AnyEmbedder) -> pl.DataFrame:
    """Return the parsed keywords with their vectors, in the columns of `campaign_keywords`.

    A keyword whose vector has to wait is pending.
    """
    words = sorted({word.norm: word for word in keywords}.values(), key=lambda word: word.norm)
    found = embedded(embedder, [cut_utf8(word.keyword.replace("*", "").replace(" + ", " ")) for word in words])
    frame = pl.DataFrame(
        {
            "campaign_id": [campaign_id] * len(words),
            "keyword_norm": [word.norm for word in words],
            "keyword": [word.keyword for word in words],
            "kind": [word.kind for word in words],
            "weight": [float(word.weight) for word in words],
            "active": [word.active for word in words],
            "vector": _lists(found.vectors),
        }
    )
    framed = frame.with_columns(
        pl.lit(embedder.model).alias("embed_model"),
        pl.lit(embedder.provider).alias("provider"),
        pl.lit(keyword_set_hash(keywords)).alias("keyword_set_hash"),
    )
    return CAMPAIGN_KEYWORDS.shaped(_with_waits(framed, found.waiting))


def direction(keywords: pl.DataFrame) -> Direction:
    """Return the direction of one campaign from its rows of `campaign_keywords`."""
    used = keywords.filter((pl.col("kind") == "include") & pl.col("active")).sort("keyword_norm")
    facts = used["embed_model"][0], used["keyword_set_hash"][0]
    waiting = used.filter(pl.col("status") == "pending").sort("not_before", nulls_last=True, descending=True)
    if waiting.height:
        none = np.zeros((0, 0), dtype=np.float32)
        return Direction(*facts, none, none, Wait(waiting["reason"][0], waiting["not_before"][0]))
    vectors = np.stack(used["vector"].to_list()).astype(np.float32)
    return Direction(*facts, vectors, centroid(vectors, used["weight"].to_list()))


def post_embeddings(matched: pl.DataFrame, posts: pl.LazyFrame, embedder: AnyEmbedder) -> pl.DataFrame:
    """Embed the matched posts that passed gates 0-7; one whose vector has to wait is pending.

    Args:
        matched: rows of `campaign_posts`.
        posts: reddit_posts of the same days.
    """
    wanted = matched.filter(pl.col("status") == "ok").select("campaign_id", "day", "fullname")
    texts = posts.join(wanted.lazy().select("day", "fullname"), on=["day", "fullname"], how="semi").select(
        "fullname", "text_hash", post_text().alias("body")
    )
    rows = wanted.join(texts.collect(), on="fullname", how="inner", maintain_order="left")
    slices = [_embedded(part, embedder) for part in rows.iter_slices(ROWS_PER_SLICE)] or [_embedded(rows, embedder)]
    return pl.concat(slices)


def _embedded(rows: pl.DataFrame, embedder: AnyEmbedder) -> pl.DataFrame:
    found = embedded(embedder, [cut_utf8(text) for text in rows["body"]], rows["fullname"].to_list())
    framed = rows.drop("body").with_columns(
        pl.lit(embedder.model).alias("embed_model"),
        pl.lit(embedder.provider).alias("provider"),
        pl.lit(embedder.dims, pl.Int64).alias("dims"),
        _lists(found.vectors),
    )
    return POST_EMBEDDINGS.shaped(_with_waits(framed, found.waiting))


def _lists(vectors: Vectors) -> pl.Series:
    flat = pl.Series("vector", vectors.astype(np.float32), dtype=pl.Array(pl.Float32, vectors.shape[1]))
    return flat.cast(pl.List(pl.Float32))


def _with_waits(rows: pl.DataFrame, waiting: Mapping[int, Wait]) -> pl.DataFrame:
    """Add the columns of a row's fate: ok with a vector, pending without one."""
    fated = all_ok(rows)
    if not waiting:
        return fated
    told = pl.DataFrame(
        {
            "position": list(waiting),
            "why": [wait.reason for wait in waiting.values()],
            "until": [wait.not_before for wait in waiting.values()],
        },
        schema={"position": pl.UInt32, "why": pl.String, "until": UTC},
    )
    held = pl.col("why").is_not_null()
    joined = fated.with_row_index("position").join(told, on="position", how="left", maintain_order="left")
    return joined.with_columns(
        pl.when(held).then(pl.lit("pending")).otherwise("status").alias("status"),
        pl.when(held).then("why").otherwise("reason").alias("reason"),
        pl.when(held).then("until").otherwise("not_before").alias("not_before"),
        pl.when(~held).then("vector").alias("vector"),
    ).drop("position", "why", "until")


def ranked_posts(
    matched: pl.DataFrame,
    embeddings: pl.LazyFrame,
    posts: pl.LazyFrame,
    corpus: pl.DataFrame,
    terms: pl.LazyFrame,
    keywords: Sequence[CompiledKeyword],
    towards: Direction,
    gates: GateSettings,
    config_hash: str,
) -> pl.DataFrame:
    """Score, gate and rank the posts of a campaign that passed gates 0-7.

    Args:
        matched: rows of `campaign_posts`.
        embeddings: `post_embeddings` of the same partitions.
        posts: reddit_posts of the same days.
        corpus: `corpus_stats` of the same days.
        terms: `corpus_terms` of the windows of these days.
        towards: what cosines are taken with.
        gates: the thresholds, and k1, b, w_cos and the formula.
        config_hash: written into every row.
    """
    wanted = matched.filter(pl.col("status") == "ok").select(
        "campaign_id", "day", "fullname", "created_utc", "permalink", "score", "observed_age_s", "keyword_hits"
    )
    query = query_terms(keywords)
    days = wanted["day"].unique().to_list()
    facts = corpus_facts(corpus, terms, query, days)
    tokens = posts.join(wanted.lazy().select("day", "fullname"), on=["day", "fullname"], how="semi").select(
        "fullname", "tokens", "token_count"
    )
    rows = wanted.join(tokens.collect(), on="fullname", how="left", maintain_order="left").join(
        facts, on="day", how="left", maintain_order="left"
    )
    rows = rows.join(_cosines(embeddings, towards), on="fullname", how="left", maintain_order="left")
    scored = score(rows, query, gates)
    judged = scored.with_columns(score_facts())
    decided = judged.hstack(decide(judged, SCORE_GATES, gates)).with_columns(
        pl.lit(towards.embed_model).alias("embed_model"),
        pl.lit(towards.keyword_set_hash).alias("keyword_set_hash"),
        pl.lit(gates.formula_version).alias("formula_version"),
        pl.lit(config_hash).alias("config_hash"),
    )
    return RANKED_POSTS.shaped(with_rank(_held_up(decided, embeddings, towards)))


def _held_up(decided: pl.DataFrame, embeddings: pl.LazyFrame, towards: Direction) -> pl.DataFrame:
    """Take the decision back where there was no vector to decide on; such a row waits as long as its vector does."""
    known = embeddings.filter(pl.col("embed_model") == towards.embed_model).select(
        "fullname", pl.col("status").alias("had"), pl.col("reason").alias("why"), pl.col("not_before")
    )
    rows = decided.join(known.collect(), on="fullname", how="left", maintain_order="left")
    if towards.wait:
        rows = rows.with_columns(
            pl.lit("pending").alias("had"),
            pl.lit(towards.wait.reason).alias("why"),
            pl.lit(towards.wait.not_before, UTC).alias("not_before"),
        )
    waits = pl.col("had").fill_null("pending") != "ok"
    nothing = [pl.when(~waits).then(name).alias(name) for name in ("cosine", "fused", "gate", "observed", "threshold")]
    return rows.with_columns(
        *nothing,
        pl.when(waits).then(pl.lit("pending")).otherwise("status").alias("status"),
        pl.when(waits).then(pl.col("why").fill_null("no_embedding")).otherwise("reason").alias("reason"),
        pl.when(waits).then(pl.col("gate_log").list.head(0)).otherwise("gate_log").alias("gate_log"),
        pl.when(waits).then("not_before").alias("not_before"),
    ).drop("had", "why")


def corpus_facts(corpus: pl.DataFrame, terms: pl.LazyFrame, query: Sequence[str], days: Sequence[date]) -> pl.DataFrame:
    """Return per day corpus_n, corpus_avglen, `df_<n>` per query term, and a hash of all that BM25 depends on."""
    window = int(corpus["window_days"][0]) if corpus.height else 1
    counts = document_frequencies(terms, query, days, window)
    joined = corpus.filter(pl.col("day").is_in(list(days))).join(counts, on="day", how="left", maintain_order="left")
    digests = [
        hashlib.sha256(
            json.dumps(
                [row["corpus_n"], row["corpus_tokens"], query, [row[f"df_{n}"] for n in range(len(query))]]
            ).encode()
        ).hexdigest()
        for row in joined.iter_rows(named=True)
    ]
    return joined.with_columns(pl.Series("corpus_hash", digests, dtype=pl.String))


def score(rows: pl.DataFrame, query: Sequence[str], gates: GateSettings) -> pl.DataFrame:
    """Add bm25, kw_n, cosine and fused.

    The rows have tokens, token_count, corpus_n, corpus_avglen, `df_<n>` per query term, cos_centroid and cos_max.
    """
    held = [pl.min_horizontal(f"df_{n}", "corpus_n") for n in range(len(query))]
    idf = {term: bm25.idf(held[n], pl.col("corpus_n"), gates.bm25_idf_floor) for n, term in enumerate(query)}
    scored = rows.with_columns(
        bm25.bm25_expr(pl.col("tokens"), pl.col("token_count"), idf, pl.col("corpus_avglen"), gates.k1, gates.b).alias(
            "bm25"
        )
    )
    return scored.with_columns(fused_columns(counted_cosine(gates), gates))


def counted_cosine(gates: GateSettings) -> pl.Expr:
    """The cosine that counts: with the centroid, or with the nearest keyword."""
    return pl.col("cos_centroid" if gates.similarity_mode == "centroid" else "cos_max")


def fused_columns(cosine: pl.Expr, gates: GateSettings) -> list[pl.Expr]:
    """kw_n, cosine (never negative) and fused, from bm25 and the cosine that counts."""
    used = pl.max_horizontal(cosine, pl.lit(0.0))
    formula = bm25.fused_v1 if gates.formula_version == "v1" else bm25.fused_v0
    return [
        bm25.kw_n(pl.col("bm25")).alias("kw_n"),
        used.alias("cosine"),
        formula(pl.col("bm25"), used, gates.w_cos).alias("fused"),
    ]


def with_rank(rows: pl.DataFrame) -> pl.DataFrame:
    """Rank the ok rows of each partition: fused descending, then oldest, then smallest fullname."""
    ok = pl.col("status") == "ok"
    order = rows.sort(["fused", "created_utc", "fullname"], descending=[True, False, False])
    return order.with_columns(pl.when(ok).then(ok.cast(pl.Int64).cum_sum().over("campaign_id", "day")).alias("rank"))


def _cosines(embeddings: pl.LazyFrame, towards: Direction) -> pl.DataFrame:
    usable = (pl.col("embed_model") == towards.embed_model) & (pl.col("status") == "ok")
    vectors = embeddings.filter(usable & pl.lit(towards.wait is None)).select("fullname", "vector").collect()
    parts = []
    for part in vectors.iter_slices(ROWS_PER_SLICE):
        block = part["vector"].list.to_array(len(towards.centroid)).to_numpy()
        parts.append(
            pl.DataFrame(
                {
                    "fullname": part["fullname"],
                    "cos_centroid": cosine_rows(block, towards.centroid),
                    "cos_max": max_cosine_rows(block, towards.vectors),
                }
            )
        )
    schema = {"fullname": pl.String, "cos_centroid": pl.Float64, "cos_max": pl.Float64}
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema)

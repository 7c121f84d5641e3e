"""lead_extractions and leads: what is asked about which candidates, and what the answers make of them.

Belongs here: choosing and shaping the rows that are asked about, and turning answers into the two tables. Does not
belong here: what an answer must hold (`extract_lead.py`) and getting it (`magpie/llm`).
"""

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

import polars as pl

from magpie.leads.campaign_posts import LOOKBACK_DAYS
from magpie.leads.extract_lead import CheckedLead, tier
from magpie.leads.settings import Campaign
from magpie.leads.tables import LEAD_EXTRACTIONS, LEADS

# Enough for what a post asks; the few longer ones repeat themselves, and every token is paid for.
TEXT_CHARS = 6000
# Of the submission that a comment stands under, the beginning tells what it is about.
PARENT_CHARS = 500
REDDIT = "https://www.reddit.com"
KEY = ("campaign_id", "day", "fullname")

INPUTS = pl.Schema(
    {
        "row_ref": pl.String(),
        "partition": pl.String(),
        "kind": pl.String(),
        "subreddit": pl.String(),
        "eff_title": pl.String(),
        "text": pl.String(),
        "parent_excerpt": pl.String(),
        "product_description": pl.String(),
        "keywords": pl.List(pl.String()),
        "draft_reply": pl.Boolean(),
    }
)
# What is used of the engine's row.
RESULTS = pl.Schema(
    {
        "row_ref": pl.String(),
        "value": pl.String(),
        **{
            name: LEAD_EXTRACTIONS.dtypes[name]
            for name in (
                *("status", "reason", "observed", "threshold", "not_before", "provider", "model", "prompt_version"),
                *("prompt_source", "input_hash", "rendered_hash", "cost_usd", "tokens_in", "tokens_out", "credits"),
                "attempts",
            )
        },
    }
)


def extraction_inputs(
    ranked: pl.DataFrame, posts: pl.LazyFrame, matched: pl.DataFrame, campaign: Campaign
) -> pl.DataFrame:
    """Return the campaign's candidates, the best first, with what extract_lead reads of each (`INPUTS`).

    Args:
        ranked: `ranked_posts` of some days; its ok rows are the candidates.
        posts: reddit_posts of [first day - 29, last day]: a comment's submission may be of an earlier day.
        matched: `campaign_posts` of the same days as `ranked`.

    A post whose content is gone from reddit_posts is left out; `lead_extractions` says so of it.
    """
    order = (pl.col("fused"), pl.col("created_utc"), pl.col("fullname"))
    facts = matched.filter(pl.col("status") == "ok").select(*KEY, "kind", "subreddit", "eff_title")
    candidates = (
        ranked.filter((pl.col("campaign_id") == campaign.id) & (pl.col("status") == "ok"))
        .join(facts, on=KEY, how="inner")
        .sort(order, descending=[True, False, False])
    )
    texts = _texts(posts, candidates["fullname"])
    told = candidates.join(texts, on=["day", "fullname"], how="inner", maintain_order="left")
    told = told.unique("fullname", keep="first", maintain_order=True).pipe(_with_parents, posts)
    words = [word.keyword for word in campaign.keywords if word.active and word.kind == "include"]
    return told.select(
        pl.col("fullname").alias("row_ref"),
        pl.format("{}|{}", "campaign_id", "day").alias("partition"),
        *("kind", "subreddit", "eff_title", "text", "parent_excerpt"),
        pl.lit(campaign.product_description).alias("product_description"),
        pl.lit(words, pl.List(pl.String)).alias("keywords"),
        pl.lit(campaign.draft_reply).alias("draft_reply"),
    ).cast(INPUTS)


def _texts(posts: pl.LazyFrame, wanted: pl.Series) -> pl.DataFrame:
    held = pl.col("fullname").is_in(wanted.unique().implode()) & (pl.col("content_state") == "ok")
    text = pl.col("text").str.slice(0, TEXT_CHARS)
    return posts.filter(held).select("day", "fullname", "link_fullname", text).collect()


def _with_parents(told: pl.DataFrame, posts: pl.LazyFrame) -> pl.DataFrame:
    """Add to comments the beginning of their submission, where it lies in the window up to the comment's day."""
    wanted = told.filter(pl.col("kind") == "comment")["link_fullname"].drop_nulls().unique().implode()
    parents = (
        posts.filter(
            (pl.col("kind") == "submission") & pl.col("fullname").is_in(wanted) & (pl.col("content_state") == "ok")
        )
        .select(
            link_fullname="fullname",
            parent_day="day",
            parent_text=pl.col("text").str.slice(0, PARENT_CHARS),
        )
        .collect()
        .sort("parent_day")
        .unique("link_fullname", keep="first", maintain_order=True)
    )
    joined = told.join(parents, on="link_fullname", how="left", maintain_order="left")
    # Counted back from the comment's own day, so that a year in one run sees what 365 runs of a day would see.
    earliest = pl.col("day") - pl.duration(days=LOOKBACK_DAYS - 1)
    near = (pl.col("kind") == "comment") & pl.col("parent_day").is_between(earliest, pl.col("day"))
    return joined.with_columns(pl.when(near).then(pl.col("parent_text")).alias("parent_excerpt"))


def lead_extractions(
    ranked: pl.DataFrame,
    inputs: pl.DataFrame,
    results: pl.DataFrame,
    min_intent_score: int,
    deleted: pl.DataFrame,
    stored: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return what became of every candidate, in the columns of `lead_extractions`.

    Args:
        ranked: `ranked_posts` of one campaign: ok rows were asked about, pending ones wait on with their own reason.
        inputs: what `extraction_inputs` made of it.
        results: the engine's row for each of them (`RESULTS`); value is the checked answer as JSON, or null.
        min_intent_score: leads below are rejected `low_intent`.
        deleted: deletion events (fullname, kind): of a deleted post a tombstone stays, of a deleted author no contact.
        stored: rows made earlier, for tombstones of posts that are ranked no more.

    Raises:
        ValueError: an input has no result, or an answer that counts was not checked.
    """
    unanswered = inputs.join(results, on="row_ref", how="anti")
    if unanswered.height:
        raise ValueError(f"{unanswered.height} rows were asked about and got no result: {unanswered['row_ref'][0]}")
    base = ranked.sort("day", "fullname").unique("fullname", keep="first", maintain_order=True)
    columns = (*KEY, "created_utc", "permalink", "rank", "config_hash")
    candidates = base.filter(pl.col("status") == "ok").select(columns)
    nameless = frozenset(deleted.filter(pl.col("kind") == "author")["fullname"])
    said = results.select(list(RESULTS)).cast(RESULTS)
    judged = [_judged(row, min_intent_score, nameless) for row in said.iter_rows(named=True)]
    answers = pl.DataFrame(judged, schema=_JUDGED).filter(pl.col("fullname").is_in(inputs["row_ref"].implode()))
    # Ranked before its content went: the next run of its day takes it out of ranked_posts as well.
    gone = candidates.join(answers, on="fullname", how="anti").with_columns(
        pl.lit("rejected").alias("status"), pl.lit("not_found").alias("reason")
    )
    waiting = base.filter(pl.col("status") == "pending").select(
        *columns, "status", "reason", "not_before", "observed", "threshold"
    )
    rows = pl.concat([candidates.join(answers, on="fullname"), gone, waiting], how="diagonal").with_columns(
        pl.col("cost_usd", "attempts").fill_null(0)
    )
    return _with_tombstones(LEAD_EXTRACTIONS.shaped(rows), deleted, stored)


def _judged(result: Mapping[str, Any], min_intent_score: int, nameless: Set[str]) -> dict[str, Any]:
    """The engine's row with what its answer holds; an answer may still say that this is no lead."""
    row = {name: result[name] for name in RESULTS if name != "value"}
    row["fullname"] = row.pop("row_ref")
    if result["value"] is None:
        return row
    lead = CheckedLead.model_validate_json(result["value"])
    if row["fullname"] in nameless:
        lead = lead.model_copy(update={"contact_info": None})
    row |= {name: getattr(lead, name) for name in ("is_lead", "intent_score", "evidence_grounded", "contact_dropped")}
    row["intent_tier"] = tier(lead.intent_score)
    row["extracted_data"] = json.dumps(lead.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
    if row["status"] == "ok" and not lead.is_lead:
        row |= {"status": "rejected", "reason": "not_a_lead", "observed": str(lead.intent_score)}
    elif row["status"] == "ok" and lead.intent_score < min_intent_score:
        bound = str(min_intent_score)
        row |= {"status": "rejected", "reason": "low_intent", "observed": str(lead.intent_score), "threshold": bound}
    return row


_JUDGED = pl.Schema(
    {
        name: LEAD_EXTRACTIONS.dtypes[name]
        for name in (
            *("fullname", *(name for name in RESULTS if name not in ("row_ref", "value")), "extracted_data"),
            *("is_lead", "intent_score", "intent_tier", "evidence_grounded", "contact_dropped"),
        )
    }
)


def _with_tombstones(rows: pl.DataFrame, deleted: pl.DataFrame, stored: pl.DataFrame | None) -> pl.DataFrame:
    gone = pl.col("fullname").is_in(deleted.filter(pl.col("kind") == "post")["fullname"].unique().implode())
    earlier = rows.clear() if stored is None else stored.filter(gone).join(rows, on="fullname", how="anti")
    tombstones = blanked(pl.concat([rows.filter(gone), earlier.select(rows.columns)]))
    return pl.concat([rows.filter(~gone), tombstones])


def blanked(rows: pl.DataFrame) -> pl.DataFrame:
    """Turn rows of deleted posts into tombstones: id, day and what was paid stay, what was read does not."""
    keep = {"campaign_id", "day", "fullname", "created_utc", "config_hash", "provider", "model", "prompt_version"}
    keep |= {"prompt_source", "cost_usd", "tokens_in", "tokens_out", "credits", "attempts"}
    known = {
        "status": pl.lit("rejected"),
        "reason": pl.lit("deleted"),
        # The rest of a permalink holds words of the title.
        "permalink": pl.col("permalink").str.extract(r"^(/r/[^/]+/comments/[0-9a-z]+/)"),
    }
    return rows.with_columns(
        known.get(name, pl.lit(None, dtype)).alias(name)
        for name, dtype in LEAD_EXTRACTIONS.dtypes.items()
        if name not in keep
    )


def leads(extractions: pl.DataFrame, ranked: pl.DataFrame, matched: pl.DataFrame, posts: pl.LazyFrame) -> pl.DataFrame:
    """Return the ok rows of `lead_extractions` with scores, post and facts, in the columns of `leads`.

    Args:
        ranked: `ranked_posts` of the same partitions.
        matched: `campaign_posts` of the same partitions.
        posts: reddit_posts of the same days; a post whose content is gone gives no lead.
    """
    found = extractions.filter(pl.col("status") == "ok").join(
        ranked.filter(pl.col("status") == "ok").select(
            *KEY, "fused", "cosine", "bm25", "keyword_hits", "formula_version", "embed_model"
        ),
        on=KEY,
        how="inner",
    )
    found = found.join(matched.select(*KEY, "kind", "subreddit", "eff_title"), on=KEY, how="inner")
    held = pl.col("fullname").is_in(found["fullname"].unique().implode()) & (pl.col("content_state") == "ok")
    wanted = posts.filter(held).select("day", "fullname", "author", "num_comments", "link_fullname").collect()
    found = found.join(wanted, on=["day", "fullname"], how="inner", maintain_order="left")
    facts = pl.DataFrame([_facts(data) for data in found["extracted_data"]], schema=_FACTS, orient="row")
    return LEADS.shaped(
        found.hstack(facts).with_columns(
            _url().alias("reddit_url"),
            pl.col("eff_title").alias("title"),
            pl.col("fused").alias("relevance_score"),
            pl.col("num_comments").alias("saturation"),
        )
    )


_FACTS = pl.Schema(
    {
        name: LEADS.dtypes[name]
        for name in (
            *("lead_type", "pain_point", "desired_solution", "urgency", "sentiment", "confidence", "contact_info"),
            *("evidence_quote", "explanation", "suggested_reply"),
        )
    }
)


def _facts(data: str) -> Sequence[Any]:
    held = json.loads(data)
    held["explanation"] = held["reason"]
    return tuple(held[name] for name in _FACTS)


def _url() -> pl.Expr:
    """The post's address; without a permalink a short form that Reddit completes."""
    number, parent = pl.col("fullname").str.slice(3), pl.col("link_fullname").str.slice(3)
    short = (
        pl.when(pl.col("kind") == "submission")
        .then(pl.format("/comments/{}/", number))
        .when(parent.is_not_null())
        .then(pl.format("/comments/{}/_/{}/", parent, number))
        .otherwise(pl.format("/api/info?id={}", pl.col("fullname")))
    )
    return pl.lit(REDDIT) + pl.coalesce("permalink", short)

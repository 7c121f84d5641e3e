"""The tables of leads from extraction on: what a model read in a post, the leads, what people said of them.

Belongs here: their columns, keys and partitions. Does not belong here: the tables before them (`tables.py`, which
lists these too) and how a row comes about.
"""

import dataframely as dy
import polars as pl

from magpie.tables import Fate, Table, moment, one_of, usd

CAMPAIGN_DAY = {"campaign": "campaign_id", "day": "day"}
TIERS = ("hot", "warm", "cold")
WORKFLOWS = ("new", "reviewed", "approved", "rejected", "contacted", "dismissed")
LABELS = ("relevant", "not_relevant")


class LeadExtractions(Fate):
    campaign_id = dy.String(primary_key=True)
    day = dy.Date()
    fullname = dy.String(primary_key=True)
    created_utc = moment()
    permalink = dy.String(nullable=True)
    rank = dy.Int64(nullable=True, description="of ranked_posts; null where scoring is pending, and for tombstones")
    extracted_data = dy.String(nullable=True, description="the checked answer as JSON; null where there is none")
    is_lead = dy.Bool(nullable=True)
    intent_score = dy.Int64(nullable=True, min=0, max=100)
    intent_tier = dy.String(nullable=True, regex=one_of(*TIERS), description="hot from 70, warm from 40, else cold")
    evidence_grounded = dy.Bool(nullable=True, description="whether the quote stands in the post")
    contact_dropped = dy.Bool(nullable=True, description="whether a contact was named that the post does not hold")
    provider = dy.String(nullable=True, description="offline: rules, no model")
    model = dy.String(nullable=True)
    prompt_version = dy.String(nullable=True, description="sha256 of the prompt's template")
    prompt_source = dy.String(nullable=True, description="whose prompt it was: item, campaign or default")
    input_hash = dy.String(nullable=True)
    rendered_hash = dy.String(nullable=True)
    cost_usd = usd("USD that reading this post has cost so far, in whichever run")
    tokens_in = dy.Int64(nullable=True)
    tokens_out = dy.Int64(nullable=True)
    credits = dy.Int64(nullable=True)
    attempts = dy.Int64(description="answers that did not validate")
    config_hash = dy.String()

    @dy.rule()
    def an_ok_row_holds_a_lead(cls) -> pl.Expr:
        held = ("extracted_data", "intent_score", "intent_tier", "evidence_grounded", "provider")
        whole = pl.all_horizontal(pl.col(name).is_not_null() for name in held)
        return (pl.col("status") != "ok") | (pl.col("is_lead").fill_null(False) & whole)


class Leads(dy.Schema):
    campaign_id = dy.String(primary_key=True)
    day = dy.Date()
    fullname = dy.String(primary_key=True)
    kind = dy.String(regex="^(submission|comment)$")
    reddit_url = dy.String()
    author = dy.String(nullable=True, description="null when deleted")
    subreddit = dy.String()
    created_utc = moment()
    title = dy.String(nullable=True, description="of a comment, that of its submission")
    rank = dy.Int64(description="1 is the best of the day's candidates")
    relevance_score = dy.Float64(description="fused score of ranked_posts; no model changes it")
    cosine = dy.Float64()
    bm25 = dy.Float64()
    keyword_hits = dy.Int64()
    intent_score = dy.Int64(min=0, max=100)
    intent_tier = dy.String(regex=one_of(*TIERS), description="hot from 70, warm from 40, else cold")
    lead_type = dy.String()
    pain_point = dy.String(nullable=True)
    desired_solution = dy.String(nullable=True)
    urgency = dy.String()
    sentiment = dy.String()
    confidence = dy.Float64(min=0.0, max=1.0)
    contact_info = dy.Struct(
        {
            "email": dy.String(nullable=True),
            "handle": dy.String(nullable=True),
            "url": dy.String(nullable=True),
        },
        nullable=True,
        description="as the post itself gives it",
    )
    evidence_quote = dy.String()
    evidence_grounded = dy.Bool(description="whether the quote stands in the post")
    explanation = dy.String(description="why it is a lead, in one sentence")
    suggested_reply = dy.String(nullable=True, description="a draft; nothing is posted")
    saturation = dy.Int64(nullable=True, description="comments under it when it was retrieved; null for comments")
    extracted_data = dy.String(description="the checked answer as JSON")
    formula_version = dy.String()
    embed_model = dy.String()
    provider = dy.String(description="offline: rules, no model")
    model = dy.String(nullable=True)
    prompt_version = dy.String(nullable=True)
    cost_usd = usd("USD, as in lead_extractions")
    config_hash = dy.String()


class LeadFeedback(dy.Schema):
    event_id = dy.Int64(primary_key=True, description="later events have larger ones")
    at = moment()
    actor = dy.String()
    campaign_id = dy.String()
    fullname = dy.String(description="a lead, or a rejected post that was labelled")
    workflow = dy.String(nullable=True, regex=one_of(*WORKFLOWS), description="null: the event does not speak of it")
    label = dy.String(nullable=True, regex=one_of(*LABELS), description="null: the event does not speak of it")
    reason = dy.String(nullable=True)


LEAD_EXTRACTIONS = Table(
    "lead_extractions",
    LeadExtractions,
    "What was read in each candidate: ok rows are leads, the others say why not or why not yet.",
    CAMPAIGN_DAY,
    ("campaign_id", "day", "created_utc", "fullname"),
)
LEADS = Table(
    "leads",
    Leads,
    "Posts whose author is likely to want what the campaign sells, with scores, facts and the sentence that shows it.",
    CAMPAIGN_DAY,
    ("campaign_id", "day", "created_utc", "fullname"),
)
LEAD_FEEDBACK = Table(
    "lead_feedback",
    LeadFeedback,
    "What people said of leads and of rejected posts, event by event: a copy of the control database's table.",
    {},
    ("event_id",),
)

"""The tables of leads: those as far as ranking, and the list of all.

Belongs here: their columns, keys and partitions. Does not belong here: the tables from extraction on
(`lead_tables.py`) and how a row comes about.
"""

import dataframely as dy

from magpie.leads.lead_tables import CAMPAIGN_DAY, LEAD_EXTRACTIONS, LEAD_FEEDBACK, LEADS
from magpie.tables import Fate, Table, moment

DAY = {"day": "day"}


def _gate_log() -> dy.List:
    entry = dy.Struct(
        {
            "gate": dy.String(nullable=True),
            "reason": dy.String(nullable=True),
            "outcome": dy.String(nullable=True),
            "observed": dy.Float64(nullable=True),
            "threshold": dy.Float64(nullable=True),
            "detail": dy.String(nullable=True),
        },
        nullable=True,
    )
    return dy.List(entry, description="every gate of the stage: outcome pass, reject or not_applicable, and why")


class RedditArchives(Fate):
    source_file = dy.String(primary_key=True, description="path as the settings name it")
    bytes = dy.Int64(description="size on disk when it was read")
    modified_at = moment(description="modification time when it was read")
    lines = dy.Int64(description="lines read")
    rows = dy.Int64(description="lines that became posts or comments")
    bad_lines = dy.Int64(description="lines that did not")
    min_created_utc = moment(nullable=True)
    max_created_utc = moment(nullable=True)


class BadLines(dy.Schema):
    source_file = dy.String(primary_key=True)
    line_no = dy.Int64(primary_key=True, description="1 is the first line")
    reason = dy.String(regex="^(invalid_json|invalid_utf8|missing_field|bad_type|too_long|future_timestamp|truncated)$")
    field = dy.String(nullable=True, description="the field at fault, where one is")


class RedditPosts(dy.Schema):
    day = dy.Date(description="UTC date of created_utc")
    fullname = dy.String(primary_key=True, regex="^t[13]_[0-9a-z]+$", description="t3_... submission, t1_... comment")
    kind = dy.String(regex="^(submission|comment)$")
    created_utc = moment()
    subreddit = dy.String()
    permalink = dy.String(nullable=True)
    url = dy.String(nullable=True, description="null for comments")
    title = dy.String(nullable=True, description="null for comments and tombstones")
    text = dy.String(description="empty for link posts and tombstones")
    author = dy.String(nullable=True, description="null when deleted")
    author_karma = dy.Int64(nullable=True, description="null in archives")
    sub_subscribers = dy.Int64(nullable=True, description="snapshot when the line was retrieved")
    sub_hot_posts = dy.Int64(nullable=True, description="null in archives")
    score = dy.Int64(nullable=True, description="null when hidden")
    upvote_ratio = dy.Float64(nullable=True, description="null for comments and old archives")
    num_comments = dy.Int64(nullable=True, description="null for comments")
    over_18 = dy.Bool(nullable=True, description="null for comments")
    link_fullname = dy.String(nullable=True, description="the submission a comment stands under")
    parent_fullname = dy.String(nullable=True)
    retrieved_at = moment(nullable=True)
    observed_age_s = dy.Int64(nullable=True, description="retrieved_at - created_utc")
    text_hash = dy.String(description="sha256 of title and text after NFKC, case and white space folding")
    text_chars = dy.Int64(description="characters of the text that was hashed")
    tokens = dy.String(description="the text's tokens, each in its own spaces; what keywords are matched against")
    token_count = dy.Int64()
    content_state = dy.String(regex="^(ok|removed|deleted)$")
    matched_queries = dy.List(dy.String(nullable=True), description="live searches that returned it")
    source = dy.String(regex="^(live|archive)$")
    source_file = dy.String()


class CorpusTerms(dy.Schema):
    day = dy.Date(primary_key=True)
    term = dy.String(primary_key=True)
    documents = dy.Int64(description="posts of the day that hold the term")


class CorpusStats(dy.Schema):
    day = dy.Date(primary_key=True, description="last day of the window")
    window_days = dy.Int64()
    corpus_n = dy.Int64(description="posts with content in the window")
    corpus_tokens = dy.Int64(description="their tokens")
    corpus_avglen = dy.Float64(nullable=True, description="corpus_tokens / corpus_n; null for an empty window")


class SubredditStats(dy.Schema):
    day = dy.Date(primary_key=True, description="last day of the window")
    subreddit = dy.String(primary_key=True, description="lower case")
    posts_per_day = dy.Float64(description="mean of submissions over seven days")
    sub_subscribers = dy.Int64(nullable=True, description="of its newest submission in the window")


class CampaignKeywords(Fate):
    campaign_id = dy.String(primary_key=True)
    keyword_norm = dy.String(primary_key=True)
    keyword = dy.String(description="as written in the settings")
    kind = dy.String(regex="^(include|exclude)$")
    weight = dy.Float64()
    active = dy.Bool()
    vector = dy.List(dy.Float32(nullable=True), nullable=True, description="unit length, or all zero")
    embed_model = dy.String()
    provider = dy.String()
    keyword_set_hash = dy.String()


class CampaignPosts(Fate):
    campaign_id = dy.String(primary_key=True)
    day = dy.Date()
    fullname = dy.String(primary_key=True)
    kind = dy.String()
    created_utc = moment()
    subreddit = dy.String()
    permalink = dy.String(nullable=True)
    score = dy.Int64(nullable=True)
    observed_age_s = dy.Int64(nullable=True)
    match_kind = dy.String(nullable=True, description="phrase, tokens, prefix or query; null for tombstones")
    matched_keywords = dy.List(dy.String(nullable=True))
    keyword_hits = dy.Int64(description="include keywords with a strict hit")
    eff_title = dy.String(nullable=True, description="own title, or that of the submission a comment stands under")
    eff_over_18 = dy.Bool(nullable=True)
    eff_sub_subscribers = dy.Int64(nullable=True)
    age_days = dy.Float64(nullable=True, description="retrieved_at - created_utc")
    duplicate_of = dy.String(nullable=True, description="the nearest earlier match with the same text")
    text_hash = dy.String(nullable=True)
    gate_log = _gate_log()
    gate = dy.String(nullable=True, description="the gate that decided")
    config_hash = dy.String()


class PostEmbeddings(Fate):
    campaign_id = dy.String(primary_key=True)
    day = dy.Date()
    fullname = dy.String(primary_key=True)
    embed_model = dy.String(primary_key=True)
    provider = dy.String()
    text_hash = dy.String()
    dims = dy.Int64()
    vector = dy.List(dy.Float32(nullable=True), nullable=True, description="unit length, or all zero")


class RankedPosts(Fate):
    campaign_id = dy.String(primary_key=True)
    day = dy.Date()
    fullname = dy.String(primary_key=True)
    created_utc = moment()
    permalink = dy.String(nullable=True)
    rank = dy.Int64(nullable=True, description="1 is best, among the ok rows of the partition")
    fused = dy.Float64(nullable=True)
    bm25 = dy.Float64(nullable=True)
    kw_n = dy.Float64(nullable=True)
    cosine = dy.Float64(nullable=True, description="the one used")
    cos_centroid = dy.Float64(nullable=True)
    cos_max = dy.Float64(nullable=True)
    keyword_hits = dy.Int64()
    score = dy.Int64(nullable=True)
    observed_age_s = dy.Int64(nullable=True)
    formula_version = dy.String()
    corpus_n = dy.Int64()
    corpus_avglen = dy.Float64(nullable=True)
    corpus_hash = dy.String()
    embed_model = dy.String()
    keyword_set_hash = dy.String()
    gate_log = _gate_log()
    gate = dy.String(nullable=True, description="the gate that decided")
    config_hash = dy.String()


class Rejections(dy.Schema):
    campaign_id = dy.String(primary_key=True)
    day = dy.Date()
    fullname = dy.String(primary_key=True)
    stage = dy.String(regex="^(metadata|cosine|heuristic|llm)$")
    gate = dy.String(nullable=True, description="number of the gate; of stage llm, the reason")
    reason = dy.String()
    observed = dy.String(nullable=True)
    threshold = dy.String(nullable=True)
    config_hash = dy.String()
    created_utc = moment()
    permalink = dy.String(nullable=True)


REDDIT_ARCHIVES = Table(
    "reddit_archives",
    RedditArchives,
    "One row per archive file: what one pass over it found.",
    {},
    ("source_file",),
)
BAD_LINES = Table(
    "bad_lines",
    BadLines,
    "Lines of the archives that are no post, with the reason; their text is not kept.",
    {},
    ("source_file", "line_no"),
)
REDDIT_POSTS = Table(
    "reddit_posts",
    RedditPosts,
    "Reddit submissions and comments of a day, the newest snapshot of each.",
    DAY,
    ("day", "created_utc", "fullname"),
)
CORPUS_TERMS = Table(
    "corpus_terms", CorpusTerms, "In how many posts of the day each term occurs.", DAY, ("day", "term")
)
CORPUS_STATS = Table(
    "corpus_stats", CorpusStats, "Size of the BM25 corpus: the trailing window up to each day.", DAY, ("day",)
)
SUBREDDIT_STATS = Table(
    "subreddit_stats",
    SubredditStats,
    "Activity and subscribers of each subreddit in the trailing window.",
    DAY,
    ("day", "subreddit"),
)
CAMPAIGN_KEYWORDS = Table(
    "campaign_keywords",
    CampaignKeywords,
    "The parsed keywords of a campaign with their vectors.",
    {"campaign": "campaign_id"},
    ("campaign_id", "keyword_norm"),
)
CAMPAIGN_POSTS = Table(
    "campaign_posts",
    CampaignPosts,
    "One row per post that matches a keyword of the campaign, with the log of gates 0-7.",
    CAMPAIGN_DAY,
    ("campaign_id", "day", "created_utc", "fullname"),
)
POST_EMBEDDINGS = Table(
    "post_embeddings",
    PostEmbeddings,
    "Vectors of the matched posts that passed gates 0-7.",
    CAMPAIGN_DAY,
    ("campaign_id", "day", "fullname", "embed_model"),
)
RANKED_POSTS = Table(
    "ranked_posts",
    RankedPosts,
    "Scores of the posts that passed gates 0-7, with the log of gates 8-11; ok rows are candidates, ranked.",
    CAMPAIGN_DAY,
    ("campaign_id", "day", "created_utc", "fullname"),
)
REJECTIONS = Table(
    "rejections",
    Rejections,
    "Every matched post that was rejected, with the gate, the value seen and the value asked for.",
    CAMPAIGN_DAY,
    ("campaign_id", "day", "fullname"),
)

TABLES = (
    REDDIT_ARCHIVES,
    BAD_LINES,
    REDDIT_POSTS,
    CORPUS_TERMS,
    CORPUS_STATS,
    SUBREDDIT_STATS,
    CAMPAIGN_KEYWORDS,
    CAMPAIGN_POSTS,
    POST_EMBEDDINGS,
    RANKED_POSTS,
    LEAD_EXTRACTIONS,
    LEADS,
    REJECTIONS,
    LEAD_FEEDBACK,
)

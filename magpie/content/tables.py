"""The tables of content, from keywords to images and reviews.

Belongs here: their columns, keys and partitions. Does not belong here: how a row comes about (the modules beside this
one) and how tables are stored (`magpie/lake.py`).

`day` is the batch day: that of the keywords from which everything else follows.
"""

import dataframely as dy
import polars as pl

from magpie.tables import Fate, Table, moment, one_of, usd

SITE_DAY = {"site": "site_id", "day": "day"}
INTENTS = ("informational", "commercial", "transactional", "navigational")
DIMENSIONS = ("intent", "use_case", "function", "persona", "context", "topic")
METHODS = ("llm", "offline")
PRIORITIES = ("high", "medium", "low")
APPROVALS = ("auto", "waiting", "approved", "declined")
CONTENT_TYPES = ("post", "page", "product", "taxonomy")
STRUCTURES = (
    *("article", "guide", "comparison", "review", "listicle", "landing_page", "business_page", "service_page"),
    *("general", "cluster_hub", "product_page", "category_archive", "tag_archive", "attribute_archive"),
)
SOURCE_KINDS = ("json", "html", "markdown", "plain")
IMAGE_TYPES = ("featured", "desktop", "mobile", "in_article")
PROMPT_STATUSES = ("pending", "generated", "failed")
OBJECTS = ("cluster", "idea", "article", "image")
REVIEW_ACTIONS = ("submit", "approve", "decline", "edit", "publish", "disable", "enable")
WORKFLOW = ("draft", "review", "approved", "published", "declined")
# The cluster of keywords that found no other.
UNCLUSTERED = "_unclustered"


class Asked(Fate):
    """Common to rows that a model was asked for: who answered, in which words it was asked, and what that took."""

    provider = dy.String(nullable=True, description="offline: rules, no model")
    model = dy.String(nullable=True)
    prompt_source = dy.String(nullable=True)
    prompt_version = dy.String(nullable=True)
    rendered_hash = dy.String(nullable=True)
    input_hash = dy.String(nullable=True, description="of the question, as llm_calls has it")
    cost_usd = usd("USD that the question behind this row has cost so far")
    credits = dy.Int64()
    credits_version = dy.String(nullable=True)
    attempts = dy.Int64(description="turns without a valid answer")


class KeywordFiles(Fate):
    source_file = dy.String(primary_key=True, description="relative to the settings file; a list there: magpie.yaml#n")
    site_id = dy.String(nullable=True)
    day = dy.Date(nullable=True, description="batch day: of the file's name, of the list, else when it was first seen")
    format = dy.String(nullable=True, regex=one_of("google_ads", "ahrefs", "search_console", "plain", "json", "list"))
    bytes = dy.Int64()
    modified_ns = dy.Int64()
    keywords = dy.Int64()
    bad_rows = dy.Int64()
    bad_example = dy.String(nullable=True)


class Keywords(Fate):
    site_id = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    sector = dy.String(primary_key=True)
    keyword_norm = dy.String(primary_key=True)
    source_file = dy.String(primary_key=True)
    row_no = dy.Int64(primary_key=True, description="in its file, from 1")
    keyword = dy.String()
    seed = dy.String(nullable=True)
    volume = dy.Int64(nullable=True, min=0)
    volume_override = dy.Int64(nullable=True, min=0)
    difficulty = dy.Float64(nullable=True, min=0, max=100)
    difficulty_override = dy.Float64(nullable=True, min=0, max=100)
    intent = dy.String(nullable=True, regex=one_of(*INTENTS))
    country = dy.String(nullable=True)
    disabled = dy.Bool()


class KeywordClusters(Asked):
    site_id = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    sector = dy.String(primary_key=True)
    cluster_key = dy.String(primary_key=True, description="slug of the name; _unclustered: the leftovers")
    name = dy.String()
    description = dy.String(nullable=True)
    keywords = dy.List(dy.Struct({"keyword_norm": dy.String(), "similarity": dy.Float64(nullable=True)}))
    keywords_count = dy.Int64()
    volume = dy.Int64(nullable=True)
    intent = dy.String(nullable=True, regex=one_of(*INTENTS))
    dimension = dy.String(nullable=True, regex=one_of(*DIMENSIONS))
    avg_cosine = dy.Float64(nullable=True)
    method = dy.String(nullable=True, regex=one_of(*METHODS))
    extends_existing = dy.Bool(description="an earlier batch has a cluster of this name")
    mapped_pages = dy.List(dy.String(), description="existing pages whose keyword is in the cluster")
    flags = dy.List(dy.String(), description="what was corrected in the answer")


class ContentIdeas(Asked):
    idea_id = dy.String(primary_key=True)
    site_id = dy.String()
    day = dy.Date()
    sector = dy.String()
    cluster_key = dy.String()
    title = dy.String()
    title_norm = dy.String()
    description = dy.String()
    outline = dy.String(description="JSON: {intro, h2: [{heading, h3: [], points: []}]}")
    content_type = dy.String(regex=one_of(*CONTENT_TYPES))
    content_structure = dy.String(regex=one_of(*STRUCTURES))
    primary_keyword = dy.String(nullable=True)
    secondary_keywords = dy.List(dy.String())
    covered_keywords = dy.List(dy.String())
    estimated_word_count = dy.Int64()
    priority = dy.String(regex=one_of(*PRIORITIES))
    similar_to = dy.String(nullable=True, description="an existing page's address, or an earlier idea")
    similarity = dy.Float64(nullable=True)
    prompt_override = dy.String(nullable=True)
    approval = dy.String(regex=one_of(*APPROVALS))
    flags = dy.List(dy.String())


class Articles(Asked):
    article_id = dy.String(primary_key=True, description="the idea's")
    site_id = dy.String()
    day = dy.Date()
    title = dy.String()
    meta_title = dy.String(nullable=True)
    meta_description = dy.String(nullable=True)
    content_html = dy.String(nullable=True)
    word_count = dy.Int64(nullable=True)
    target_word_count = dy.Int64()
    primary_keyword = dy.String()
    secondary_keywords = dy.List(dy.String())
    tags = dy.List(dy.String())
    categories = dy.List(dy.String())
    content_type = dy.String(regex=one_of(*CONTENT_TYPES))
    content_structure = dy.String(regex=one_of(*STRUCTURES))
    parse_mode = dy.String(nullable=True, regex=one_of("json", "text"))
    source_kind = dy.String(nullable=True, regex=one_of(*SOURCE_KINDS))
    quality_score = dy.Int64(nullable=True, min=0, max=100)
    quality_flags = dy.List(dy.String())
    link_suggestions = dy.List(dy.Struct({"anchor": dy.String(), "url": dy.String(), "cosine": dy.Float64()}))
    moderation_flagged = dy.Bool(nullable=True, description="null: not looked at")
    moderation_categories = dy.List(dy.String())
    moderation_provider = dy.String(nullable=True)

    @dy.rule()
    def an_ok_row_holds_an_article(cls) -> pl.Expr:
        held = ("meta_title", "meta_description", "content_html", "word_count", "quality_score", "moderation_flagged")
        return (pl.col("status") != "ok") | pl.all_horizontal(pl.col(name).is_not_null() for name in held)


class ImagePrompts(Asked):
    article_id = dy.String(primary_key=True)
    image_type = dy.String(primary_key=True, regex=one_of(*IMAGE_TYPES))
    position = dy.Int64(primary_key=True, description="from 0")
    site_id = dy.String()
    day = dy.Date()
    prompt = dy.String(nullable=True)
    negative_prompt = dy.String(nullable=True)
    alt_text = dy.String(nullable=True)
    width = dy.Int64()
    height = dy.Int64()
    moderation_flagged = dy.Bool(nullable=True)
    moderation_categories = dy.List(dy.String())
    moderation_provider = dy.String(nullable=True)


class ArticleImages(Asked):
    article_id = dy.String(primary_key=True)
    image_type = dy.String(primary_key=True, regex=one_of(*IMAGE_TYPES))
    position = dy.Int64(primary_key=True)
    site_id = dy.String()
    day = dy.Date()
    path = dy.String(nullable=True, description="images/<site>/<article>/<type>-<position>-<sha8>.<ext> under the home")
    sha256 = dy.String(nullable=True)
    mime = dy.String(nullable=True)
    width = dy.Int64(nullable=True)
    height = dy.Int64(nullable=True)
    size_requested = dy.String()
    size_used = dy.String(nullable=True)
    bytes = dy.Int64(nullable=True)
    seed = dy.Int64(nullable=True)
    prompt_status = dy.String(regex=one_of(*PROMPT_STATUSES))


class ContentReviews(dy.Schema):
    event_id = dy.String(primary_key=True)
    at = moment()
    actor = dy.String()
    object_type = dy.String(regex=one_of(*OBJECTS))
    object_id = dy.String()
    action = dy.String(regex=one_of(*REVIEW_ACTIONS))
    payload = dy.String(description="JSON: what was edited, or why")


_BY_SITE = ("site_id", "day")
_BY_SLOT = (*_BY_SITE, "article_id", "image_type", "position")

KEYWORD_FILES = Table(
    "keyword_files",
    KeywordFiles,
    "Every keyword file and list, and why one of them is of no use.",
    {},
    ("source_file",),
)
KEYWORDS = Table(
    "keywords",
    Keywords,
    "Keywords of each batch: ok ones are clustered, the others say why not.",
    SITE_DAY,
    (*_BY_SITE, "sector", "keyword_norm", "source_file", "row_no"),
)
KEYWORD_CLUSTERS = Table(
    "keyword_clusters",
    KeywordClusters,
    "Topics: every ok keyword is in exactly one, or in _unclustered.",
    SITE_DAY,
    (*_BY_SITE, "sector", "cluster_key"),
)
CONTENT_IDEAS = Table(
    "content_ideas",
    ContentIdeas,
    "What could be written about each topic: ok ones are written, the others wait for a yes or say why not.",
    SITE_DAY,
    (*_BY_SITE, "cluster_key", "idea_id"),
)
ARTICLES = Table(
    "articles",
    Articles,
    "Articles as safe HTML with their quality and what is wrong with them.",
    SITE_DAY,
    (*_BY_SITE, "article_id"),
)
IMAGE_PROMPTS = Table("image_prompts", ImagePrompts, "What each image of an article is to show.", SITE_DAY, _BY_SLOT)
ARTICLE_IMAGES = Table(
    "article_images", ArticleImages, "Images of articles, and why one is missing.", SITE_DAY, _BY_SLOT
)
CONTENT_REVIEWS = Table(
    "content_reviews",
    ContentReviews,
    "What people decided of clusters, ideas, articles and images.",
    {},
    ("at", "event_id"),
)

TABLES = (
    *(KEYWORD_FILES, KEYWORDS, KEYWORD_CLUSTERS, CONTENT_IDEAS, ARTICLES, IMAGE_PROMPTS, ARTICLE_IMAGES),
    CONTENT_REVIEWS,
)

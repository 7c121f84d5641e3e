"""The tables of memes, from files to queues.

Belongs here: their columns, keys and partitions. Does not belong here: how a row comes about (the modules beside this
one), how tables are stored (`magpie/lake.py`), and the columns of logs before they are copied (`logs.py` keeps them in
the control database under the same declarations).

`day` is the UTC day of publication in tables by platform and day, and the UTC day of the event in those by day alone.
"""

import dataframely as dy
import polars as pl

from magpie.tables import Fate, Table, moment, one_of, usd

PLATFORM_DAY = {"platform": "platform", "day": "day"}
DAY = {"day": "day"}
PLATFORMS = ("telegram", "vk", "instagram", "upload")
# What the id of a source begins with.
PREFIXES = {"telegram": "tg", "vk": "vk", "instagram": "ig", "upload": "up"}
SOURCE_STATES = ("in_moderation", "enabled", "disabled", "snoozed")
SOURCE_ACTIONS = ("add", "enable", "disable", "snooze", "unsnooze")
FORMATS = ("telegram_export", "telegram_web", "vk_wall", "instagram", "upload", "events")
# `none` only where there is nothing to look at; such a row is rejected.
TYPES = ("image", "video", "animation", "none")
STATES = ("created", "ok", "published", "waiting_review", "ad", "duplicate", "broken", "snoozed", "rejected")
VERDICTS = ("unique", "duplicate", "template", "uncertain")
DECISIONS = ("approve", "reject", "distinct", "publish", "unpublish", "set_language", "restore", "purge")
EVENT_KINDS = ("sent", "like", "dislike", "share_click")
TIERS = ("served", "uploads", "fresh", "oldest")
OCR_ENGINES = ("vision", "local", "none")
ROLES = ("user", "moderator", "admin")
ENGINES = (
    *("best_uploaded", "like_spread", "lr_smoothed", "lr_light", "es_ranked", "goat", "recently_liked"),
    *("cold_explore", "cold_adapt", "low_sent", "viral", "last_resort"),
)
MEDIA_ITEM = {
    "url": pl.String,
    "file": pl.String,
    "kind": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "duration_s": pl.Float64,
    "mime": pl.String,
}


def _media() -> dy.List:
    return dy.List(
        dy.Struct(
            {
                "url": dy.String(nullable=True),
                "file": dy.String(nullable=True, description="relative to the folder of source_file"),
                "kind": dy.String(),
                "width": dy.Int64(nullable=True),
                "height": dy.Int64(nullable=True),
                "duration_s": dy.Float64(nullable=True),
                "mime": dy.String(nullable=True),
            }
        )
    )


class MemeFiles(Fate):
    source_file = dy.String(primary_key=True, description="relative to the settings file, or to the home if made here")
    format = dy.String(nullable=True, regex=one_of(*FORMATS))
    platform = dy.String(nullable=True, regex=one_of(*PLATFORMS))
    source_id = dy.String(nullable=True)
    live = dy.Bool(description="landed by a fetch or an upload here")
    bytes = dy.Int64()
    modified_ns = dy.Int64()
    payload_sha256 = dy.String(nullable=True)
    fetched_at = moment(
        nullable=True, description="of an archive: of its newest post, before which it cannot have been written"
    )
    posts = dy.Int64(description="posts, or events, that were read")
    bad_posts = dy.Int64(description="posts, or lines of events, without id or date, which can be in no partition")
    bad_example = dy.String(nullable=True, description="what is wrong with the first of them")
    missing_ids = dy.Int64(nullable=True, description="gaps between consecutive ids, where a platform counts them")
    days = dy.List(dy.Date(), description="UTC days on which its posts were published, or its events happened")


class MemeSources(dy.Schema):
    source_id = dy.String(primary_key=True)
    platform = dy.String(regex=one_of(*PLATFORMS))
    name = dy.String(description="as the platform knows it")
    url = dy.String(nullable=True, description="null for people who upload")
    state = dy.String(regex=one_of(*SOURCE_STATES))
    snooze_reason = dy.String(nullable=True)
    language = dy.String()
    added_by = dy.String(nullable=True)
    added_at = moment(nullable=True, description="null: listed in the settings and never spoken of")
    parsed_at = moment(nullable=True, description="last fetch that brought an answer")
    empty_streak = dy.Int64(description="fetches without a post since the last one with posts")
    last_post_at = moment(nullable=True)
    last_seen_id = dy.String(nullable=True, description="newest post that landed: where the next fetch may stop")
    discovered_via = dy.String(nullable=True)


class SourceEvents(dy.Schema):
    event_id = dy.String(primary_key=True)
    source_id = dy.String()
    action = dy.String(regex=one_of(*SOURCE_ACTIONS))
    reason = dy.String(nullable=True)
    language = dy.String(nullable=True, description="of an added source")
    actor = dy.String(description="a person, or auto")
    at = moment()


class MemeFetches(dy.Schema):
    fetch_id = dy.String(primary_key=True)
    source_id = dy.String()
    at = moment()
    n_posts = dy.Int64()
    http_status = dy.Int64(nullable=True)
    payload_sha256 = dy.String(nullable=True)
    error_class = dy.String(nullable=True)
    detail = dy.String(nullable=True)


class MemePosts(Fate):
    source_id = dy.String(primary_key=True)
    post_id = dy.String(primary_key=True)
    platform = dy.String(regex=one_of(*PLATFORMS))
    day = dy.Date()
    meme_id = dy.String(description="platform:source:post")
    url = dy.String(nullable=True)
    published_at = moment()
    fetched_at = moment()
    text = dy.String(nullable=True)
    media = _media()
    out_links = dy.List(dy.String())
    mentions = dy.List(dy.String())
    hashtags = dy.List(dy.String())
    forwarded_from = dy.String(nullable=True, description="channel")
    forwarded_url = dy.String(nullable=True, description="post")
    views = dy.Int64(nullable=True, description="null: unknown, which is not 0")
    likes = dy.Int64(nullable=True)
    reposts = dy.Int64(nullable=True)
    comments = dy.Int64(nullable=True)
    reactions = dy.List(dy.Struct({"emoji": dy.String(), "count": dy.Int64()}), nullable=True)
    is_ad = dy.Bool(description="the platform marks it as one")
    uploader_id = dy.String(nullable=True)
    language = dy.String(nullable=True, description="as the uploader says; null: that of the source")
    payload_sha256 = dy.String()
    source_file = dy.String()


class Memes(Fate):
    meme_id = dy.String(primary_key=True)
    platform = dy.String(regex=one_of(*PLATFORMS))
    day = dy.Date()
    source_id = dy.String()
    post_id = dy.String()
    url = dy.String(nullable=True)
    type = dy.String(regex=one_of(*TYPES))
    caption = dy.String(nullable=True, description="as shown: cleaned, at most 1000 characters")
    caption_raw = dy.String(nullable=True)
    language = dy.String()
    published_at = moment()
    views = dy.Int64(nullable=True)
    views_median = dy.Float64(nullable=True, description="of the source's posts of the trailing days")
    ad_flag = dy.Bool()
    ad_reason = dy.String(nullable=True)
    forwarded_url = dy.String(nullable=True)
    uploader_id = dy.String(nullable=True)


class MemeMedia(Fate):
    meme_id = dy.String(primary_key=True)
    ord = dy.Int64(primary_key=True)
    platform = dy.String(regex=one_of(*PLATFORMS))
    day = dy.Date()
    attempts = dy.Int64(description="failed downloads in a row")
    sha256 = dy.String(nullable=True, regex="^[0-9a-f]{64}$", description="of the original bytes")
    bytes = dy.Int64(nullable=True)
    mime = dy.String(nullable=True, description="as the bytes say, whatever the name says")
    width = dy.Int64(nullable=True)
    height = dy.Int64(nullable=True)
    duration_s = dy.Float64(nullable=True)
    phash64 = dy.String(nullable=True, regex="^[0-9a-f]{16}$", description="null where the picture is flat")
    keyframe_phashes = dy.List(dy.String(), description="at 10, 50 and 90 % of a video; empty for an image")
    grey_std = dy.Float64(nullable=True)
    path = dy.String(nullable=True, description="blobs/ab/cd/<sha256> under the home")
    watermarked_sha256 = dy.String(nullable=True)
    rules_version = dy.String(description="of hashing and watermark; a new one makes the row anew")

    @dy.rule()
    def an_ok_row_holds_a_blob(cls) -> pl.Expr:
        whole = pl.all_horizontal(pl.col(name).is_not_null() for name in ("sha256", "bytes", "mime", "path"))
        return (pl.col("status") != "ok") | whole


class MemeDescriptions(Fate):
    meme_id = dy.String(primary_key=True)
    platform = dy.String(regex=one_of(*PLATFORMS))
    day = dy.Date()
    attempts = dy.Int64(description="turns that brought an answer, whether it held or not")
    sha256 = dy.String(nullable=True, description="of the picture that was read")
    description = dy.String(nullable=True)
    ocr_text = dy.String(nullable=True, description='"": read, and there is no text; null: not read')
    language = dy.String(nullable=True, description="of the text in the picture")
    ocr_engine = dy.String(regex=one_of(*OCR_ENGINES))
    provider = dy.String(nullable=True, description="offline: rules, no model")
    model_served = dy.String(nullable=True)
    described_at = moment(nullable=True, description="when the call was settled; null without one")
    failures = dy.Int64(description="answers that did not hold, of all models asked in one turn: one")
    request_key = dy.String(nullable=True, description="input_hash in llm_calls")
    prompt_version = dy.String(nullable=True)
    cost_usd = usd("what describing it has cost: 0, since only free models are asked")


class MemeDuplicates(Fate):
    meme_id = dy.String(primary_key=True)
    platform = dy.String(regex=one_of(*PLATFORMS))
    day = dy.Date()
    published_at = moment()
    type = dy.String(regex=one_of(*TYPES))
    verdict = dy.String(nullable=True, regex=one_of(*VERDICTS), description="null: not compared")
    duplicate_of = dy.String(nullable=True, description="the earlier meme, of a template the one it looks like")
    rule = dy.String(nullable=True)
    phash_distance = dy.Int64(nullable=True)
    text_similarity = dy.Float64(nullable=True)


class MemeModeration(dy.Schema):
    decision_id = dy.String(primary_key=True)
    meme_id = dy.String()
    action = dy.String(regex=one_of(*DECISIONS))
    reason = dy.String(nullable=True)
    value = dy.String(nullable=True, description="the language that set_language sets")
    actor = dy.String()
    at = moment()


class MemeStatus(Fate):
    meme_id = dy.String(primary_key=True)
    platform = dy.String(regex=one_of(*PLATFORMS))
    day = dy.Date()
    source_id = dy.String()
    type = dy.String(regex=one_of(*TYPES))
    language = dy.String(description="of the source, the picture or a decision, the later one wins")
    published_at = moment()
    state = dy.String(regex=one_of(*STATES))
    state_reason = dy.String(nullable=True)
    canonical_id = dy.String(description="itself, or the root of the memes it is a copy of")
    servable = dy.Bool()
    decided_by = dy.String(description="a rule, or a person")


class MemeReactions(Fate):
    event_id = dy.String(primary_key=True)
    day = dy.Date()
    at = moment()
    kind = dy.String(nullable=True)
    user_id = dy.String(nullable=True)
    meme_id = dy.String(nullable=True)
    engine = dy.String(nullable=True)
    queue_id = dy.String(nullable=True)
    sharer_id = dy.String(nullable=True)
    channel = dy.String(nullable=True)


class MemeStats(dy.Schema):
    meme_id = dy.String(primary_key=True, description="canonical")
    day = dy.Date(primary_key=True)
    nlikes = dy.Int64()
    ndislikes = dy.Int64()
    nsent = dy.Int64()
    age_days = dy.Int64()
    sec_to_react = dy.Float64(nullable=True, description="median seconds, of those between 0.5 and 60")
    raw_rank = dy.Int64(nullable=True, description="0: most viewed of its source, 4: least; null: views unknown")
    invited = dy.Int64(description="new people who came by a person's link")
    invited_by_channel = dy.Int64()
    lr_smoothed = dy.Float64()
    engagement = dy.Float64()
    n_lr = dy.Int64(description="rows behind lr_smoothed")
    n_es = dy.Int64(description="rows behind engagement")
    as_of = moment()


class SourceStats(dy.Schema):
    source_id = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    nlikes = dy.Int64()
    ndislikes = dy.Int64()
    nsent_events = dy.Int64()
    nmemes = dy.Int64()
    nmemes_sent = dy.Int64()
    latest_meme_age_d = dy.Int64(nullable=True)
    ad_rate_7d = dy.Float64(nullable=True)
    processed_7d = dy.Int64(description="memes of the trailing week behind ad_rate_7d")
    as_of = moment()


class UserStats(dy.Schema):
    user_id = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    nlikes = dy.Int64()
    ndislikes = dy.Int64()
    nsent = dy.Int64()
    nsessions = dy.Int64()
    active_days = dy.Int64()
    time_spent_s = dy.Float64()
    median_session_len = dy.Float64(nullable=True)
    first_at = moment()
    last_at = moment()
    as_of = moment()


class UserSourceStats(dy.Schema):
    user_id = dy.String(primary_key=True)
    source_id = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    nlikes = dy.Int64()
    ndislikes = dy.Int64()
    as_of = moment()


class MemeCandidates(dy.Schema):
    user_id = dy.String(primary_key=True)
    refill_no = dy.Int64(primary_key=True)
    engine = dy.String(primary_key=True, regex=one_of(*ENGINES))
    rank = dy.Int64(primary_key=True, description="from 1")
    day = dy.Date(primary_key=True)
    meme_id = dy.String()
    score = dy.Float64()
    language = dy.String()


class RecommendationQueues(dy.Schema):
    queue_id = dy.String(primary_key=True)
    user_id = dy.String()
    day = dy.Date()
    refill_no = dy.Int64()
    pos = dy.Int64(description="from 0")
    meme_id = dy.String()
    engine = dy.String(regex=one_of(*ENGINES))
    queued_at = moment()
    expires_at = moment()
    consumed_at = moment(nullable=True, description="when the meme was sent from it")


class Users(dy.Schema):
    user_id = dy.String(primary_key=True)
    at = moment(primary_key=True)
    languages = dy.List(dy.String())
    role = dy.String(regex=one_of(*ROLES))
    rules_accepted = dy.Bool()
    invited_by = dy.String(nullable=True)


class DescribeQueue(dy.Schema):
    meme_id = dy.String(primary_key=True)
    planned_at = moment(primary_key=True)
    partition = dy.String(description="platform|day")
    tier = dy.String(regex=one_of(*TIERS))
    rank = dy.Int64(description="from 1, in the order in which they are asked about")
    expires_at = moment()


_BY_MEME = ("platform", "day", "meme_id")

MEME_FILES = Table(
    "meme_files",
    MemeFiles,
    "Every archive, fetched page, upload and file of events that was found, and why one of them is of no use.",
    {},
    ("source_file",),
)
MEME_SOURCES = Table(
    "meme_sources", MemeSources, "Channels, and the state that settings and events give them.", {}, ("source_id",)
)
SOURCE_EVENTS = Table(
    "source_events", SourceEvents, "What was decided of each source, by whom and why.", {}, ("at", "event_id")
)
MEME_FETCHES = Table(
    "meme_fetches", MemeFetches, "What each source was asked, and what came of it.", {}, ("at", "fetch_id")
)
MEME_POSTS = Table(
    "meme_posts",
    MemePosts,
    "Posts of all sources, the newest payload of each: ok ones may be memes, the others say why not.",
    PLATFORM_DAY,
    ("platform", "day", "source_id", "post_id"),
)
MEMES = Table(
    "memes",
    Memes,
    "Posts with one picture or video each, cleaned, with the ads among them named.",
    PLATFORM_DAY,
    _BY_MEME,
)
MEME_MEDIA = Table(
    "meme_media",
    MemeMedia,
    "The bytes of each meme by sha256, what they are, and their hashes.",
    PLATFORM_DAY,
    (*_BY_MEME, "ord"),
)
MEME_DESCRIPTIONS = Table(
    "meme_descriptions",
    MemeDescriptions,
    "What is written in each image and what it shows, or when it is its turn.",
    PLATFORM_DAY,
    _BY_MEME,
)
MEME_DUPLICATES = Table(
    "meme_duplicates",
    MemeDuplicates,
    "Whether an earlier meme of any platform is the same, and by which rule.",
    PLATFORM_DAY,
    _BY_MEME,
)
MEME_MODERATION = Table(
    "meme_moderation", MemeModeration, "What people decided of memes; never edited.", {}, ("at", "decision_id")
)
MEME_STATUS = Table(
    "meme_status", MemeStatus, "The state of each meme, folded from all facts and decisions.", PLATFORM_DAY, _BY_MEME
)
MEME_REACTIONS = Table(
    "meme_reactions",
    MemeReactions,
    "What was sent to whom, and what people thought of it.",
    DAY,
    ("day", "at", "event_id"),
)
MEME_STATS = Table(
    "meme_stats",
    MemeStats,
    "Ratings of the memes that were touched on a day, over all that was known then; the latest row of each holds.",
    DAY,
    ("day", "meme_id"),
)
SOURCE_STATS = Table("source_stats", SourceStats, "Ratings of sources at the end of a day.", DAY, ("day", "source_id"))
USER_STATS = Table(
    "user_stats",
    UserStats,
    "What the people of a day have done so far: reactions, sessions, time.",
    DAY,
    ("day", "user_id"),
)
USER_SOURCE_STATS = Table(
    "user_source_stats",
    UserSourceStats,
    "How the people of a day like each source so far.",
    DAY,
    ("day", "user_id", "source_id"),
)
MEME_CANDIDATES = Table(
    "meme_candidates",
    MemeCandidates,
    "What each engine offered at each refill of a person's queue.",
    DAY,
    ("day", "user_id", "refill_no", "engine", "rank"),
)
RECOMMENDATION_QUEUES = Table(
    "recommendation_queues",
    RecommendationQueues,
    "Queues as they were blended, and what was sent from them.",
    DAY,
    ("day", "user_id", "refill_no", "pos"),
)
USERS = Table("users", Users, "What people say of themselves; the latest row of each holds.", {}, ("user_id", "at"))
DESCRIBE_QUEUE = Table(
    "describe_queue",
    DescribeQueue,
    "Whose turn it was to be described, in the order asked.",
    {},
    ("planned_at", "rank", "meme_id"),
)

TABLES = (
    *(MEME_FILES, MEME_SOURCES, SOURCE_EVENTS, MEME_FETCHES, MEME_MODERATION, USERS, DESCRIBE_QUEUE),
    *(MEME_POSTS, MEMES, MEME_MEDIA, MEME_DESCRIPTIONS, MEME_DUPLICATES, MEME_STATUS),
    *(MEME_REACTIONS, MEME_STATS, SOURCE_STATS, USER_STATS, USER_SOURCE_STATS, MEME_CANDIDATES, RECOMMENDATION_QUEUES),
)

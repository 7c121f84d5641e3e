"""The tables of videos, from files to outcomes.

Belongs here: their columns, keys and partitions. Does not belong here: how a row comes about (the modules beside this
one) and how tables are stored (`magpie/lake.py`).

`day` is the UTC day of publication in tables by channel and day. Late captions, late prices and new prompts make that
partition again; a video never gets one of its own.
"""

import dataframely as dy
import polars as pl

from magpie.sources.caption_tracks import FORMATS
from magpie.tables import Fate, Table, moment, one_of, usd

CHANNEL_DAY = {"channel": "channel_id", "day": "day"}
DAY = {"day": "day"}
SOURCES = ("archive", "ytdlp", "rss")
ASSET_TYPES = ("equity", "etf", "crypto", "index", "other")
ACTIONS = ("buy", "sell", "hold", "watch", "avoid", "short", "mention")
HORIZONS = ("intraday", "short", "medium", "long", "unspecified")
CLAIMS = ("recommendation", "opinion", "own_trade", "news", "quoting_others", "hypothetical", "past")
DIRECTIONS = ("bullish", "bearish", "neutral", "mixed")
QUOTE_MATCHES = ("exact", "fuzzy", "none")
SYMBOL_CHECKS = ("verified", "mismatch", "ambiguous", "unknown")


class VideoFiles(Fate):
    source_file = dy.String(primary_key=True, description="relative to the settings file, or to the home if made here")
    source = dy.String(regex=one_of(*SOURCES))
    kind = dy.String(regex=one_of("info", "captions"))
    bytes = dy.Int64()
    modified_ns = dy.Int64()
    video_id = dy.String(nullable=True)
    channel_id = dy.String(nullable=True)
    day = dy.Date(nullable=True, description="UTC day of publication; of a caption file that of its video")
    published_at = moment(nullable=True, description="as this info.json has it")
    date_precision = dy.String(nullable=True, regex=one_of("second", "day", "unknown"))
    fetched_at = moment(nullable=True, description="when this info.json was fetched")
    first_seen_at = moment(nullable=True, description="when the video was first seen here")
    manual_tracks = dy.List(dy.String(), nullable=True, description="caption languages that people wrote")
    track = dy.String(nullable=True, description="language of a caption file as yt-dlp names it: en, en-orig, nl-en")
    manual = dy.Bool(nullable=True, description="whether people wrote the captions, as name or info.json says")
    format = dy.String(nullable=True, regex=one_of(*FORMATS))


class VideoRows(Fate):
    video_id = dy.String(primary_key=True, regex="^[A-Za-z0-9_-]{11}$")
    channel_id = dy.String()
    day = dy.Date()
    title = dy.String()
    url = dy.String()
    description = dy.String()
    published_at = moment(nullable=True, description="never the time of fetching")
    date_precision = dy.String(regex=one_of("second", "day", "unknown"))
    duration_s = dy.Float64(nullable=True)
    view_count = dy.Int64(nullable=True)
    like_count = dy.Int64(nullable=True)
    media_kind = dy.String(regex=one_of("video", "short", "live"))
    live_status = dy.String(nullable=True, regex=one_of("not_live", "is_live", "is_upcoming", "was_live", "post_live"))
    ended_at = moment(nullable=True, description="of a live stream, when known")
    availability = dy.String(nullable=True, regex=one_of("public", "unlisted", "restricted", "private", "deleted"))
    language = dy.String(nullable=True)
    chapters = dy.List(dy.Struct({"start_s": dy.Float64(), "title": dy.String()}))
    source = dy.String(regex=one_of(*SOURCES), description="the best of those that know the video")
    first_seen_at = moment()


class Transcripts(Fate):
    video_id = dy.String(primary_key=True)
    channel_id = dy.String()
    day = dy.Date()
    language = dy.String(nullable=True)
    caption_source = dy.String(nullable=True, regex=one_of("captions_manual", "captions_auto"))
    track = dy.String(nullable=True)
    format = dy.String(nullable=True, regex=one_of(*FORMATS))
    raw_text = dy.String(nullable=True, description="the cleaned lines, joined by spaces")
    segments = dy.List(
        dy.Struct({"start_s": dy.Float64(), "end_s": dy.Float64(), "text": dy.String()}),
        nullable=True,
        description="the cleaned lines in order",
    )
    word_count = dy.Int64(nullable=True)
    transcript_hash = dy.String(nullable=True, description="sha256 of raw_text with white space collapsed")

    @dy.rule()
    def an_ok_row_holds_a_text(cls) -> pl.Expr:
        held = ("language", "caption_source", "track", "format", "raw_text", "segments", "word_count")
        whole = pl.all_horizontal(pl.col(name).is_not_null() for name in (*held, "transcript_hash"))
        return (pl.col("status") != "ok") | whole


class TranscriptPassages(dy.Schema):
    video_id = dy.String(primary_key=True)
    passage_no = dy.Int64(primary_key=True)
    channel_id = dy.String()
    day = dy.Date()
    start_s = dy.Float64()
    end_s = dy.Float64()
    text = dy.String()
    tokens = dy.String(description="folded words, each between two spaces, as in reddit_posts")
    token_count = dy.Int64()
    deep_link = dy.String(description="opens the video at start_s")


class VideoSegments(dy.Schema):
    video_id = dy.String(primary_key=True)
    transcript_hash = dy.String(primary_key=True)
    segmenter_version = dy.String(primary_key=True)
    seg_no = dy.Int64(primary_key=True, description="from 1")
    channel_id = dy.String()
    day = dy.Date()
    start_s = dy.Float64()
    end_s = dy.Float64()
    char_start = dy.Int64(description="in raw_text")
    char_end = dy.Int64()
    title = dy.String(nullable=True, description="of the chapter")
    text = dy.String()


class VideoAnalyses(Fate):
    video_id = dy.String(primary_key=True)
    transcript_hash = dy.String(primary_key=True)
    prompt_version = dy.String(primary_key=True, description="sha256 over the templates that were asked")
    model = dy.String(primary_key=True, description="the first candidate, provider/model; offline: rules, no model")
    channel_id = dy.String()
    day = dy.Date()
    analysis_id = dy.String(description="first 16 hex digits of the sha256 of the key")
    prompt_label = dy.String()
    is_active = dy.Bool()
    mode = dy.String(regex=one_of("segmented", "whole"))
    outlook_direction = dy.String(nullable=True, regex=one_of(*DIRECTIONS))
    outlook_reasoning = dy.String(nullable=True)
    macro_themes = dy.List(dy.String(), nullable=True)
    key_risks = dy.List(dy.String(), nullable=True)
    summary = dy.String(nullable=True)
    raw_picks = dy.String(nullable=True, description="JSON: the checked picks with seg_no")
    n_segments = dy.Int64()
    n_picks = dy.Int64(nullable=True)
    prompt_tokens = dy.Int64()
    completion_tokens = dy.Int64()
    cost_usd = usd("USD that reading this video has cost so far, in whichever run")
    attempts = dy.Int64(description="rounds without a valid answer, of the question that had most")
    provider = dy.String(nullable=True, description="who answered; offline: rules, no model")
    answered_by = dy.String(nullable=True, description="models that answered, where fallbacks did too")
    questions = dy.List(
        dy.Struct({"function": dy.String(), "row_ref": dy.String(), "input_hash": dy.String(nullable=True)}),
        description="what was asked, as llm_calls names it",
    )
    processed_at = moment(nullable=True, description="when the last call was settled; null without calls")


class StockMentions(Fate):
    mention_id = dy.String(primary_key=True)
    video_id = dy.String()
    channel_id = dy.String()
    day = dy.Date()
    published_at = moment(nullable=True)
    date_precision = dy.String(regex=one_of("second", "day", "unknown"))
    analysis_id = dy.String()
    is_active = dy.Bool()
    seg_no = dy.Int64(nullable=True)
    symbol = dy.String(description="normal form; as said where it has none")
    symbol_raw = dy.String()
    company_name = dy.String(nullable=True)
    asset_type = dy.String(regex=one_of(*ASSET_TYPES))
    action = dy.String(regex=one_of(*ACTIONS))
    conviction = dy.Float64(min=0.0, max=1.0)
    conviction_bucket = dy.Int64(min=1, max=3)
    time_horizon = dy.String(regex=one_of(*HORIZONS))
    claim_type = dy.String(regex=one_of(*CLAIMS))
    rationale_quote = dy.String()
    quote_match = dy.String(regex=one_of(*QUOTE_MATCHES))
    quote_score = dy.Float64(min=0.0, max=100.0)
    llm_time_s = dy.Int64(nullable=True)
    located_s = dy.Int64(nullable=True, description="start of the caption that holds the quote")
    time_ok = dy.Bool(nullable=True)
    deep_link = dy.String()
    symbol_check = dy.String(nullable=True, regex=one_of(*SYMBOL_CHECKS))
    suggested_symbol = dy.String(nullable=True, description="never applied by itself")
    n_merged = dy.Int64(min=1)
    conflict = dy.Bool(description="the same symbol has another action in this video")


class TickerConsensus(dy.Schema):
    day = dy.Date(primary_key=True)
    symbol = dy.String(primary_key=True)
    score = dy.Float64(min=0.0, max=100.0)
    net = dy.Float64()
    mass = dy.Float64()
    n_votes = dy.Int64()
    n_channels = dy.Int64()
    pos = dy.Float64()
    neg = dy.Float64()
    agreement = dy.Float64(nullable=True)
    contested = dy.Bool()
    votes = dy.List(dy.Struct({"channel_id": dy.String(), "mention_id": dy.String(), "weight": dy.Float64()}))
    published = dy.Bool()


class DailyPrices(dy.Schema):
    symbol = dy.String(primary_key=True)
    day = dy.Date(primary_key=True, description="the session, a day in New York")
    open = dy.Float64(nullable=True)
    high = dy.Float64(nullable=True)
    low = dy.Float64(nullable=True)
    close = dy.Float64()
    adj_close = dy.Float64(description="close where the file has no adjusted one")
    volume = dy.Int64(nullable=True)
    currency = dy.String(nullable=True)
    source = dy.String()


class PickOutcomes(Fate):
    mention_id = dy.String(primary_key=True)
    horizon_sessions = dy.Int64(primary_key=True)
    video_id = dy.String()
    channel_id = dy.String()
    day = dy.Date(description="of the pick")
    symbol = dy.String()
    action = dy.String(regex=one_of(*ACTIONS))
    entry_date = dy.Date(nullable=True)
    entry_price = dy.Float64(nullable=True)
    exit_date = dy.Date(nullable=True)
    exit_price = dy.Float64(nullable=True)
    direction = dy.Int64(nullable=True, description="+1 or -1")
    ret = dy.Float64(nullable=True)
    bench_ret = dy.Float64(nullable=True)
    signed_ret = dy.Float64(nullable=True)
    alpha = dy.Float64(nullable=True)
    hit = dy.Bool(nullable=True)


class Symbols(dy.Schema):
    symbol = dy.String(primary_key=True)
    name = dy.String()
    aliases = dy.List(dy.String())
    asset_type = dy.String(regex=one_of(*ASSET_TYPES))
    exchange = dy.String(nullable=True)
    active = dy.Bool()


class DailyDigest(dy.Schema):
    day = dy.Date(primary_key=True)
    markdown = dy.String()
    videos = dy.Int64()
    mentions = dy.Int64()


_BY_VIDEO = ("channel_id", "day", "video_id")

VIDEO_FILES = Table(
    "video_files",
    VideoFiles,
    "Every info.json and caption file that was found, and why one of them is of no use.",
    {},
    ("source_file",),
)
VIDEOS = Table(
    "videos",
    VideoRows,
    "Videos of the watched channels: ok ones are read, the others say why not or why not yet.",
    CHANNEL_DAY,
    _BY_VIDEO,
)
TRANSCRIPTS = Table(
    "transcripts",
    Transcripts,
    "The captions of each video, one track, cleaned of what rolling captions repeat.",
    CHANNEL_DAY,
    _BY_VIDEO,
)
TRANSCRIPT_PASSAGES = Table(
    "transcript_passages",
    TranscriptPassages,
    "Transcripts in passages of about half a minute, for full-text search with links into the video.",
    CHANNEL_DAY,
    (*_BY_VIDEO, "passage_no"),
)
VIDEO_SEGMENTS = Table(
    "video_segments",
    VideoSegments,
    "Transcripts cut at chapters or pauses into pieces that are read one by one.",
    CHANNEL_DAY,
    (*_BY_VIDEO, "seg_no"),
)
VIDEO_ANALYSES = Table(
    "video_analyses",
    VideoAnalyses,
    "What was read in each video, one row per version of prompt and model; one version is active.",
    CHANNEL_DAY,
    (*_BY_VIDEO, "prompt_label", "analysis_id"),
)
STOCK_MENTIONS = Table(
    "stock_mentions",
    StockMentions,
    "Picks held against symbol table and captions: ok ones were really said, the others say what is wrong.",
    CHANNEL_DAY,
    (*_BY_VIDEO, "analysis_id", "symbol", "mention_id"),
)
TICKER_CONSENSUS = Table(
    "ticker_consensus",
    TickerConsensus,
    "What the channels think of each symbol over the trailing days, weighted by conviction, age and reliability.",
    DAY,
    ("day", "symbol"),
)
DAILY_PRICES = Table("daily_prices", DailyPrices, "Prices by session, from files.", DAY, ("day", "symbol"))
PICK_OUTCOMES = Table(
    "pick_outcomes",
    PickOutcomes,
    "What became of each pick after so many sessions, against the benchmark; pending until then.",
    CHANNEL_DAY,
    (*_BY_VIDEO, "mention_id", "horizon_sessions"),
)
SYMBOLS = Table("symbols", Symbols, "Securities with their names and aliases, from a reference file.", {}, ("symbol",))
DAILY_DIGEST = Table(
    "daily_digest", DailyDigest, "The day in one page: outlooks, new mentions, consensus.", DAY, ("day",)
)

TABLES = (
    *(VIDEO_FILES, SYMBOLS, VIDEOS, TRANSCRIPTS, TRANSCRIPT_PASSAGES, VIDEO_SEGMENTS, VIDEO_ANALYSES),
    *(STOCK_MENTIONS, TICKER_CONSENSUS, DAILY_PRICES, PICK_OUTCOMES, DAILY_DIGEST),
)

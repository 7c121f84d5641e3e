"""The tables of persona, from a blog's posts to what was delivered.

Belongs here: their columns, keys and partitions. Does not belong here: how a row comes about (the modules beside this
one) and how tables are stored (`magpie/lake.py`).

`day` is the UTC day of the input: of a post, an ask, a reply, or of the slot of an original post.
"""

import dataframely as dy

from magpie.tables import Fate, Table, moment, one_of, usd

BLOG_DAY = {"blog": "blog", "day": "day"}
# A slot of the queue lies at most tomorrow, whatever the blog's time zone.
DAYS_AHEAD = 1
FILE_KINDS = ("posts", "asks", "mentions", "dash", "notes")
ROLES = ("own", "reblog", "mention", "dash", "ask")
POST_STATES = ("published", "queue", "draft", "submission", "private")
INPUT_KINDS = ("ask", "reblog", "mention", "reply", "dash", "original")
PROMPT_KINDS = ("answer", "original", "fiction", "review")
INPUT_STATES = ("received", "ignored", "waiting", "admitted", "done", "expired")
STEPS = ("reviews", "asks", "conversations", "dash", "originals")
STRATEGIES = ("eps_greedy", "argmax", "proportional", "winnowed", "uniform")
ROUTES = ("publish", "queue", "draft", "rejected", "discard")
REVIEW_ACTIONS = ("approve", "redo", "reject", "edit", "hold")
OUTBOX_KINDS = ("answer", "reblog", "reply_post", "original", "mood_graph")
OUTBOX_STATES = (
    *("draft", "approved", "ready", "sending", "queued", "published", "held", "redo", "rejected", "discarded"),
    "deleted",
)
PHASES = ("sending", "done", "absent", "error")


class TumblrFiles(Fate):
    source_file = dy.String(primary_key=True, description="relative to the settings file or the home")
    blog = dy.String(nullable=True)
    kind = dy.String(nullable=True, regex=one_of(*FILE_KINDS))
    bytes = dy.Int64()
    modified_ns = dy.Int64()
    sha256 = dy.String(nullable=True)
    items = dy.Int64(description="posts or notes in it")
    bad_items = dy.Int64()
    bad_example = dy.String(nullable=True)
    first_day = dy.Date(nullable=True, description="UTC day of its oldest item")
    last_day = dy.Date(nullable=True)


class TumblrPosts(Fate):
    blog = dy.String(primary_key=True, description="whose bot reads it")
    day = dy.Date(primary_key=True)
    post_id = dy.String(primary_key=True)
    author_blog = dy.String()
    role = dy.String(regex=one_of(*ROLES))
    post_state = dy.String(regex=one_of(*POST_STATES))
    published_at = moment()
    genesis_id = dy.String(nullable=True, description="its id as a draft or in the queue")
    parent_blog = dy.String(nullable=True)
    parent_post_id = dy.String(nullable=True)
    reblog_key = dy.String(nullable=True)
    tags = dy.List(dy.String())
    note_count = dy.Int64()
    asking_blog = dy.String(nullable=True, description="of an ask; Anonymous where nobody is named")
    payload = dy.String(nullable=True, description="JSON: content, layout, trail and blog as they came; null: deleted")
    payload_sha256 = dy.String(nullable=True)
    source_file = dy.String()


class TumblrReplies(Fate):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    post_id = dy.String(primary_key=True)
    from_blog = dy.String(primary_key=True)
    at = moment(primary_key=True)
    text = dy.String(nullable=True, description="null: deleted")
    followed = dy.Bool(description="the bot follows who wrote it")
    reblogs_before = dy.Int64(description="reblogs of the post before the reply")
    source_file = dy.String()


class ImageTexts(Fate):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    url = dy.String(primary_key=True)
    media_sha256 = dy.String(nullable=True, description="of the bytes; the text belongs to them")
    text = dy.String(nullable=True, description='"": read, and none there; null: not read')
    lines = dy.List(
        dy.Struct(
            {
                "text": dy.String(),
                "conf": dy.Float64(),
                **{side: dy.Float64() for side in ("left", "top", "width", "height")},
            }
        ),
        description="boxes as fractions of the picture",
    )
    caption = dy.String(nullable=True)
    n_frames = dy.Int64(nullable=True)
    animated = dy.Bool(nullable=True)
    engine = dy.String(nullable=True, description="local, or the model that read it")
    request_key = dy.String(nullable=True)


class Threads(Fate):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    post_id = dy.String(primary_key=True)
    n_posts = dy.Int64(description="the ask counted")
    participants = dy.List(dy.String(), description="in order, each once")
    has_ask = dy.Bool()
    final_author = dy.String()
    html = dy.String(nullable=True)
    text_full = dy.String(nullable=True, description="the document as the writer learns it")
    text_selector = dy.String(nullable=True, description="what follows the bot's previous post")
    text_autoreview = dy.String(nullable=True, description="from the bot's previous post on")
    text_prompt = dy.String(nullable=True, description="what the writer is to go on from, were it to answer now")
    final_body = dy.String(nullable=True, description="the last post's own words, munged")
    final_tags = dy.List(dy.String())
    n_words_final = dy.Int64()
    n_images = dy.Int64()
    image_urls = dy.List(dy.String(), description="in order, each once")
    has_video = dy.Bool()
    has_text = dy.Bool(description="the last post holds a block of text")
    truncated = dy.Bool()
    form = dy.String(regex=one_of("2023", "2022"))


class PersonaInbox(Fate):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    input_id = dy.String(primary_key=True)
    kind = dy.String(regex=one_of(*INPUT_KINDS))
    from_blog = dy.String(nullable=True)
    post_id = dy.String(nullable=True, description="the post that is answered")
    text = dy.String(nullable=True)
    created_at = moment(description="of an original: its slot")
    cost = dy.Float64(nullable=True)
    prompt_kind = dy.String(regex=one_of(*PROMPT_KINDS))
    command = dy.String(nullable=True)
    state = dy.String(regex=one_of(*INPUT_STATES))
    attempt = dy.Int64(min=1)
    tick_ts = moment(nullable=True, description="of the newest admission")


class PersonaTicks(dy.Schema):
    blog = dy.String(primary_key=True)
    input_id = dy.String(primary_key=True)
    attempt = dy.Int64(primary_key=True)
    tick_ts = moment(primary_key=True)
    day = dy.Date(description="of the input")
    kind = dy.String(regex=one_of(*INPUT_KINDS))
    step = dy.String(regex=one_of(*STEPS))
    slowdown_level = dy.String()


class Candidates(Fate):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    input_id = dy.String(primary_key=True)
    attempt = dy.Int64(primary_key=True)
    k = dy.Int64(primary_key=True, description="draw, from 0; rejected ones were written again")
    body = dy.String(nullable=True)
    tags = dy.List(dy.String())
    n_words = dy.Int64(nullable=True)
    n_planned = dy.Int64(description="texts the input was to get")
    prompt_sha256 = dy.String()
    provider = dy.String(nullable=True, description="offline: the n-gram writer")
    model = dy.String(nullable=True)
    raw_sha256 = dy.String(nullable=True, description="of the answer before anything was cut")
    input_hash = dy.String(nullable=True, description="of the question, as llm_calls has it")
    cost_usd = usd("USD that this text has cost")
    rng_seed = dy.String(description="the name that seeded its randomness")


class CandidateScores(dy.Schema):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    input_id = dy.String(primary_key=True)
    attempt = dy.Int64(primary_key=True)
    k = dy.Int64(primary_key=True)
    selector_p = dy.Float64(min=0, max=1)
    selector_adjusted = dy.Float64()
    sentiment_logit = dy.Float64()
    sentiment_p = dy.Float64(min=0, max=1)
    autoreview_p = dy.Float64(nullable=True, min=0, max=1, description="null: not scored, which means a draft")
    judge_p = dy.Float64(nullable=True, min=0, max=1, description="a model's own estimate, logged beside")
    selector_version = dy.String(nullable=True, description="null: not trained yet, p is 0.5")
    autoreview_version = dy.String(nullable=True)


class MoodInputs(dy.Schema):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    input_id = dy.String(primary_key=True)
    kick_ts = moment()
    input_logit = dy.Float64()
    p75_logit = dy.Float64(nullable=True)
    determiner = dy.Float64()
    centre = dy.Float64()
    mult = dy.Float64()
    kick = dy.Float64()


class Mood(dy.Schema):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    ts = moment(primary_key=True)
    base_name = dy.String()
    base_value = dy.Float64(min=0, max=1)
    offset = dy.Float64(description="on the logistic scale")
    rate = dy.Float64(description="per hour")
    value = dy.Float64(min=0, max=1)
    lo = dy.Float64(nullable=True, min=0, max=1, description="bounds of sentiment that suit it; null: no bound")
    hi = dy.Float64(nullable=True, min=0, max=1)


class Decisions(Fate):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    input_id = dy.String(primary_key=True)
    attempt = dy.Int64(primary_key=True)
    kind = dy.String(regex=one_of(*INPUT_KINDS))
    tick_ts = moment()
    mood_value = dy.Float64(nullable=True)
    lo = dy.Float64(nullable=True)
    hi = dy.Float64(nullable=True)
    n_candidates = dy.Int64()
    n_retained = dy.Int64(description="that the mood left")
    chosen_k = dy.Int64(nullable=True, description="null: a text kept from before, or none")
    chosen_sha256 = dy.String(nullable=True, description="of the chosen body")
    body = dy.String(nullable=True)
    tags = dy.List(dy.String())
    strategy = dy.String(nullable=True, regex=one_of(*STRATEGIES))
    explore = dy.Bool(nullable=True)
    screen_hits = dy.List(dy.Struct({"type": dy.String(), "text": dy.String()}))
    autoreview_p = dy.Float64(nullable=True)
    route = dy.String(nullable=True, regex=one_of(*ROUTES))
    route_reason = dy.String(nullable=True)
    trace = dy.String(description="JSON: settings hash, model versions, every candidate with its numbers")


class RetentionSet(dy.Schema):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    text_sha256 = dy.String(primary_key=True)
    body = dy.String()
    tags = dy.List(dy.String())
    selector_p = dy.Float64(description="adjusted, by the models of the day")
    sentiment_logit = dy.Float64()
    autoreview_p = dy.Float64(nullable=True)
    added_day = dy.Date()
    scored_version = dy.String(nullable=True)


class PersonaReviews(dy.Schema):
    review_id = dy.String(primary_key=True)
    blog = dy.String()
    outbox_id = dy.String()
    action = dy.String(regex=one_of(*REVIEW_ACTIONS))
    body = dy.String(nullable=True)
    tags = dy.List(dy.String())
    note = dy.String(nullable=True)
    actor = dy.String()
    at = moment()


class TumblrFetches(dy.Schema):
    """One request; several processes may append at once."""

    fetch_id = dy.String(primary_key=True)
    blog = dy.String()
    poll = dy.String(nullable=True, description="calls of one poll have the same; null: made to deliver")
    endpoint = dy.String()
    at = moment()
    outcome = dy.String(description="ok, or what was wrong")
    http_status = dy.Int64(nullable=True)
    n_items = dy.Int64()
    calls_left_day = dy.Int64(nullable=True)
    calls_left_hour = dy.Int64(nullable=True)
    day_reset_at = moment(nullable=True)
    hour_reset_at = moment(nullable=True)
    payload_sha256 = dy.String(nullable=True)


class PersonaDeletions(dy.Schema):
    blog = dy.String(primary_key=True)
    item = dy.String(primary_key=True, description="id of a post, or reply:BLOG:POST:SECONDS")
    actor = dy.String()
    at = moment()


class Outbox(Fate):
    blog = dy.String(primary_key=True)
    day = dy.Date(primary_key=True)
    outbox_id = dy.String(primary_key=True)
    input_id = dy.String()
    attempt = dy.Int64()
    kind = dy.String(regex=one_of(*OUTBOX_KINDS))
    body = dy.String(nullable=True, description="as chosen or edited, munged")
    body_npf = dy.String(nullable=True, description="JSON: list of blocks")
    body_sha256 = dy.String(nullable=True, description="of body")
    tags = dy.List(dy.String())
    post_id = dy.String(nullable=True, description="the post that is answered or reblogged")
    parent_blog = dy.String(nullable=True)
    reblog_key = dy.String(nullable=True)
    publish_at = moment(nullable=True, description="slot in the queue")
    state = dy.String(regex=one_of(*OUTBOX_STATES))
    edited = dy.Bool()
    remote_id = dy.String(nullable=True)
    genesis_id = dy.String(nullable=True)
    delivered_at = moment(nullable=True)


class DeliveryLog(dy.Schema):
    delivery_id = dy.String(primary_key=True)
    blog = dy.String()
    outbox_id = dy.String()
    phase = dy.String(regex=one_of(*PHASES))
    body_sha256 = dy.String(nullable=True)
    remote_id = dy.String(nullable=True)
    remote_state = dy.String(nullable=True)
    error_class = dy.String(nullable=True)
    not_before = moment(nullable=True)
    at = moment()


class TextModels(Fate):
    blog = dy.String(primary_key=True)
    version = dy.String(primary_key=True, description="sha256 of training rows and parameters")
    effective_from = moment(description="scored from then on; the scheduled time of the training")
    n_pos = dy.Int64()
    n_neg = dy.Int64()
    auc_oof = dy.Float64(nullable=True, description="area under the ROC curve, out of fold")
    thresholds = dy.String(description="JSON: cuts and where each comes from")
    evaluation = dy.String(description="JSON: reliability by bin, terms with the largest weights")
    blob_sha256 = dy.String(nullable=True)


_BY_DAY = ("blog", "day")
_BY_ATTEMPT = (*_BY_DAY, "input_id", "attempt")

TUMBLR_FILES = Table(
    "tumblr_files", TumblrFiles, "Every page of a blog's archive, and why one is of no use.", {}, ("source_file",)
)
TUMBLR_POSTS = Table(
    "tumblr_posts",
    TumblrPosts,
    "Posts that a blog's bot reads or wrote, the newest word on each.",
    BLOG_DAY,
    (*_BY_DAY, "post_id"),
)
TUMBLR_REPLIES = Table(
    "tumblr_replies",
    TumblrReplies,
    "Replies below posts of the blog.",
    BLOG_DAY,
    (*_BY_DAY, "post_id", "at", "from_blog"),
)
IMAGE_TEXTS = Table("image_texts", ImageTexts, "What is written in the images of posts.", BLOG_DAY, (*_BY_DAY, "url"))
THREADS = Table("threads", Threads, "Posts with what they answer, as one text.", BLOG_DAY, (*_BY_DAY, "post_id"))
PERSONA_INBOX = Table(
    "persona_inbox",
    PersonaInbox,
    "What the bot could react to: ok ones are admitted, the others wait or say why not.",
    BLOG_DAY,
    (*_BY_DAY, "created_at", "input_id"),
)
PERSONA_TICKS = Table(
    "persona_ticks",
    PersonaTicks,
    "When which input was admitted, and in which attempt.",
    {},
    ("blog", "tick_ts", "input_id", "attempt"),
)
CANDIDATES = Table(
    "candidates",
    Candidates,
    "Every text that was written, also those that were turned away and written again.",
    BLOG_DAY,
    (*_BY_ATTEMPT, "k"),
)
CANDIDATE_SCORES = Table(
    "candidate_scores",
    CandidateScores,
    "How good, how sad and how risky each candidate is.",
    BLOG_DAY,
    (*_BY_ATTEMPT, "k"),
)
MOOD_INPUTS = Table(
    "mood_inputs", MoodInputs, "How far each input moved the mood.", BLOG_DAY, (*_BY_DAY, "kick_ts", "input_id")
)
MOOD = Table("mood", Mood, "The mood every ten minutes, and the sentiment that suits it.", BLOG_DAY, (*_BY_DAY, "ts"))
DECISIONS = Table(
    "decisions",
    Decisions,
    "Which text was chosen for each input, why, and where it goes.",
    BLOG_DAY,
    _BY_ATTEMPT,
)
RETENTION_SET = Table(
    "retention_set",
    RetentionSet,
    "Good texts that were not chosen, kept for later, at the end of the day.",
    BLOG_DAY,
    (*_BY_DAY, "text_sha256"),
)
PERSONA_REVIEWS = Table("persona_reviews", PersonaReviews, "What people decided of drafts.", {}, ("at", "review_id"))
OUTBOX = Table("outbox", Outbox, "What is to be posted, and how far it is.", BLOG_DAY, (*_BY_DAY, "outbox_id"))
DELIVERY_LOG = Table(
    "delivery_log", DeliveryLog, "What was sent to Tumblr, and what came of it.", {}, ("at", "delivery_id")
)
TUMBLR_FETCHES = Table(
    "tumblr_fetches", TumblrFetches, "What was asked of Tumblr, and how many calls were left.", {}, ("at", "fetch_id")
)
PERSONA_DELETIONS = Table(
    "persona_deletions",
    PersonaDeletions,
    "Posts and replies that their authors took back, or asked to have forgotten.",
    {},
    ("at", "blog", "item"),
)
SELECTOR_MODEL = Table(
    "selector_model",
    TextModels,
    "Versions of the model that tells which text readers will like.",
    {"blog": "blog"},
    ("blog", "effective_from", "version"),
)
AUTOREVIEW_MODEL = Table(
    "autoreview_model",
    TextModels,
    "Versions of the model that tells which text a human would not let pass.",
    {"blog": "blog"},
    ("blog", "effective_from", "version"),
)

TABLES = (
    *(TUMBLR_FILES, TUMBLR_POSTS, TUMBLR_REPLIES, IMAGE_TEXTS, THREADS, PERSONA_INBOX, PERSONA_TICKS),
    *(CANDIDATES, CANDIDATE_SCORES, MOOD_INPUTS, MOOD, DECISIONS, RETENTION_SET, PERSONA_REVIEWS, OUTBOX),
    *(DELIVERY_LOG, PERSONA_DELETIONS, TUMBLR_FETCHES, SELECTOR_MODEL, AUTOREVIEW_MODEL),
)
# What the author makes in one go, because each follows from the one before it, input by input.
AUTHORED = (CANDIDATES, CANDIDATE_SCORES, MOOD_INPUTS, DECISIONS, RETENTION_SET)

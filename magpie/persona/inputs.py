"""What the author could react to: asks, reblogs, mentions, replies and posts of its dashboard, and why some are left.

Belongs here: ids, kinds and texts of inputs, the rules by which they are ignored, what answering them costs. Does not
belong here: rules of the dashboard (`dashboard.py`), what depends on the order of ticks (`planner.py`, `inbox.py`).

Every input of a post or reply is one row, whatever becomes of it. Rules are held against a row in one order, and the
first that holds is its reason. What a rule looks at was known when the input came in, but for what the blog has said
to it since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from html import unescape

import polars as pl

from magpie.persona.commands import command_of, prompt_kind_of
from magpie.persona.cost import cost, is_year_in_review
from magpie.persona.dashboard import Sign, always, avoided, static_signs
from magpie.persona.settings import Blog, Tuning
from magpie.persona.tables import PERSONA_INBOX
from magpie.persona.wording import count_words
from magpie.tables import UTC

ANONYMOUS = "Anonymous"
ASK_MAX_IMAGES = 5
# Below older posts nobody but the author would read an answer.
WINDOW_POSTS = 250
WINDOW = timedelta(hours=168)
WAITING = "waiting"
# Kinds that go on a conversation, and have a cost.
CONVERSATIONS = ("reblog", "mention", "reply")
_POSTS = ("ask", "reblog", "mention", "dash")
_ALL = (*_POSTS, "reply")

# Kinds it is held against, and the rule itself.
Rule = tuple[tuple[str, ...], Sign]

_THREAD = (
    *("n_posts", "participants", "has_ask", "html", "final_body", "final_tags"),
    *("n_words_final", "n_images", "has_video", "has_text"),
)


@dataclass(frozen=True)
class InputRules:
    """By what inputs are ignored.

    Attributes:
        ask_min_words: an ask of fewer words is ignored, unless it begins with an exclamation mark.
        tuning: what a cost is made of, and at which an input is left.
    """

    blog: Blog
    ask_min_words: int
    tuning: Tuning

    @classmethod
    def of(cls, blog: Blog) -> "InputRules":
        tuning = blog.tuned()
        return cls(blog, tuning.ask_min_words, tuning)


def inputs(
    posts: pl.DataFrame, threads: pl.DataFrame, replies: pl.DataFrame, own: pl.DataFrame, blog: Blog
) -> pl.DataFrame:
    """Return one row per input in the columns of `persona_inbox`, in state received or ignored.

    Args:
        posts: `tumblr_posts` of one blog and some days; its own posts are no inputs.
        threads: `threads` of these posts, and of the posts that were replied to.
        replies: `tumblr_replies` of the same days.
        own: of all posts that the blog has published, as far as known: post_id, published_at, parent_post_id,
            genesis_id.
    """
    rules = InputRules.of(blog)
    known = threads.select("day", "post_id", pl.col("status", "reason").name.prefix("thread_"), *_THREAD)
    # An ask that was answered stands on two days; replies are below the answer.
    newest = known.sort("day").unique("post_id", keep="last").drop("day")
    rows = pl.concat(
        [
            _of_posts(posts).join(known, on=["day", "post_id"], how="left"),
            _of_replies(replies, rules).join(newest, on="post_id", how="left"),
        ],
        how="diagonal",
    )
    rows = rows.pipe(_with_texts, rules).pipe(_with_window, own).pipe(_with_costs, rules)
    rows = rows.pipe(_judged, _rules(rules, own))
    return PERSONA_INBOX.shaped(rows).sort(PERSONA_INBOX.sort_by)


def _of_posts(posts: pl.DataFrame) -> pl.DataFrame:
    ask = pl.col("role") == "ask"
    return posts.filter(pl.col("role") != "own").select(
        *("blog", "day", "post_id", "note_count", "parent_blog", "author_blog"),
        pl.when(ask)
        .then(pl.format("ask:{}", "post_id"))
        .otherwise(pl.format("{}:{}:{}", "role", "author_blog", "post_id"))
        .alias("input_id"),
        pl.col("role").alias("kind"),
        pl.when(ask & (pl.col("status") == "ok"))
        .then(pl.col("asking_blog").fill_null(ANONYMOUS))
        .when(~ask)
        .then("author_blog")
        .alias("from_blog"),
        pl.col("published_at").alias("created_at"),
        pl.when(pl.col("role") == "reblog").then("parent_post_id").alias("anchor_id"),
        *_fate_of_post(),
    )


def _of_replies(replies: pl.DataFrame, rules: InputRules) -> pl.DataFrame:
    """A reply's id ends with its time in seconds since 1970, which is how Tumblr tells replies apart."""
    close = pl.col("from_blog").str.to_lowercase().is_in([*rules.blog.follows, *rules.blog.frequent])
    seconds, below = pl.col("at").dt.epoch("s").cast(pl.String), pl.col("at").dt.microsecond().cast(pl.String)
    at = pl.when(below == "0").then(seconds).otherwise(pl.format("{}.{}", seconds, below.str.zfill(6)))
    return replies.select(
        *("blog", "day", "post_id", "from_blog", "reblogs_before"),
        pl.format("reply:{}:{}:{}", "from_blog", "post_id", at).alias("input_id"),
        pl.lit("reply").alias("kind"),
        pl.col("at").alias("created_at"),
        pl.col("post_id").alias("anchor_id"),
        pl.col("text").alias("reply_text"),
        (pl.col("followed") | close).alias("close"),
        *_fate_of_post(),
    )


def _fate_of_post() -> list[pl.Expr]:
    """Why a post or reply is of no use by itself, such as deleted; null where it is."""
    return [
        pl.when(pl.col("status") != "ok").then(name).alias(f"post_{name}")
        for name in ("reason", "observed", "threshold")
    ]


def _with_texts(rows: pl.DataFrame, rules: InputRules) -> pl.DataFrame:
    """Add text, its words, command and prompt_kind, and names, tags and texts as the rules compare them."""
    reply = pl.col("kind") == "reply"
    whole = pl.col("html").fill_null("").str.replace_all(r"<[^>]*>", " ").str.strip_chars()
    body = pl.col("final_body").str.strip_chars().fill_null("")
    commented = body != ""
    rows = rows.with_columns(
        pl.when(reply)
        .then("reply_text")
        .when((pl.col("kind") == "dash") & ~commented)
        .then(whole.map_elements(unescape, return_dtype=pl.String))
        .otherwise("final_body")
        .alias("text"),
        commented.alias("commented"),
        (whole != "").alias("any_text"),
        _lowered("participants").alias("names"),
        _lowered("final_tags").alias("tag_names"),
        pl.col("from_blog").str.to_lowercase().alias("sender"),
    )
    kinds = rows["kind"]
    texts = [None if text is None else text.strip() for text in rows["text"]]
    asked = [text if kind == "ask" else None for kind, text in zip(kinds, texts, strict=True)]
    words = [
        count_words(text or "") if kind == "reply" else known
        for kind, text, known in zip(kinds, texts, rows["n_words_final"], strict=True)
    ]
    named = rows.select("author_blog", "final_tags").iter_rows()
    return rows.with_columns(
        pl.Series("text", texts, pl.String),
        pl.Series("words", words, pl.Int64),
        pl.Series("command", [command_of(text) for text in asked], pl.String),
        pl.Series("prompt_kind", [prompt_kind_of(text) for text in asked], pl.String),
        pl.Series("always", [always(author or "", tags or (), rules.blog) for author, tags in named], pl.Boolean),
        pl.Series("n_chars", [len(text or "") for text in texts], pl.Int64),
    )


def _lowered(column: str) -> pl.Expr:
    return pl.col(column).list.eval(pl.element().str.to_lowercase()).fill_null(pl.lit([], pl.List(pl.String)))


def _with_window(rows: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """Add anchor_age, and anchor_behind: how many own posts had followed the one that was reblogged or replied to."""
    dated = own.filter(pl.col("published_at").is_not_null()).sort("published_at", "post_id")
    known = (
        dated.unique("post_id", keep="first", maintain_order=True)
        .with_row_index("place")
        .select("post_id", "genesis_id", pl.col("published_at").alias("anchor_at"), pl.col("place").cast(pl.Int64))
    )
    by_id = pl.concat(
        [known.drop("genesis_id"), known.drop("post_id").rename({"genesis_id": "post_id"}).drop_nulls("post_id")],
        how="diagonal",
    ).unique("post_id", keep="first", maintain_order=True)
    newest = known.group_by(pl.col("anchor_at").alias("created_at")).agg(pl.col("place").max().alias("newest"))
    return (
        rows.join(by_id, left_on="anchor_id", right_on="post_id", how="left")
        .sort("created_at")
        .join_asof(newest.sort("created_at"), on="created_at", strategy="backward")
        .with_columns(
            (pl.col("created_at") - pl.col("anchor_at")).alias("anchor_age"),
            (pl.col("newest") - pl.col("place")).alias("anchor_behind"),
        )
    )


def _with_costs(rows: pl.DataFrame, rules: InputRules) -> pl.DataFrame:
    """Add the cost of conversations; a reply is a post of its thread."""
    columns = ("kind", "n_posts", "has_ask", "words", "participants", "final_tags", "html")
    costs = [
        cost(n_posts + (kind == "reply"), has_ask, words, is_year_in_review(names, tags, html), rules.tuning)
        if kind in CONVERSATIONS and n_posts is not None
        else None
        for kind, n_posts, has_ask, words, names, tags, html in rows.select(columns).iter_rows()
    ]
    return rows.with_columns(pl.Series("cost", costs, pl.Float64))


def _rules(rules: InputRules, own: pl.DataFrame) -> list[Rule]:
    """All rules, in the order in which they are held against an input."""
    blog = rules.blog
    answered = pl.concat([own[name] for name in ("post_id", "genesis_id", "parent_post_id")]).drop_nulls().unique()
    missing = pl.col("thread_status").is_null()
    unread = missing | (pl.col("thread_status") != "ok")
    text = pl.col("text").fill_null("")
    sender = (pl.col("sender").is_in(list(blog.avoid)), pl.col("sender"))
    stop = rules.tuning.stop_cost
    return [
        (_ALL, ("unreadable", unread, pl.col("thread_reason").fill_null("no thread"), "ok")),
        (_ALL, ("avoided_user", *sender, "not avoided")),
        (CONVERSATIONS, avoided("avoided_user", "names", blog)),
        (_POSTS, ("handled", pl.col("post_id").is_in(answered.implode()), pl.col("post_id"), "not answered")),
        (("ask",), ("no_text", ~pl.col("has_text") & (text == ""), pl.lit("0"), "1")),
        (("mention",), ("no_text", text == "", pl.lit("0"), "1")),
        (("ask",), ("too_many_images", pl.col("n_images") > ASK_MAX_IMAGES, _text("n_images"), str(ASK_MAX_IMAGES))),
        (("ask",), _too_short(rules.ask_min_words)),
        *_conversation_rules(blog),
        (CONVERSATIONS, ("costs_too_much", pl.col("cost") >= stop, _text("cost"), f"{stop:g}")),
        *((("dash",), sign) for sign in static_signs(blog)),
    ]


def _too_short(least: int) -> Sign:
    short = (pl.col("words") < least) & ~pl.col("text").fill_null("").str.starts_with("!")
    return "too_short", short, _text("words"), str(least)


def _conversation_rules(blog: Blog) -> list[Rule]:
    """Whether a reblog or a reply was meant for the author, and came in time."""
    parent = pl.col("parent_blog").str.to_lowercase()
    addressed = pl.col("text").fill_null("").str.to_lowercase().str.extract(r"^@([a-z0-9-]+)")
    first = pl.col("names").list.first()
    alone = (first == blog.name) & (pl.col("reblogs_before") == 0)
    ours = pl.col("close").fill_null(False) | alone.fill_null(False) | (addressed == blog.name).fill_null(False)
    age = pl.format("{} h", pl.col("anchor_age").dt.total_hours())
    hours = f"{WINDOW.total_seconds() / 3600:g} h"
    behind = pl.format("{} posts", "anchor_behind")
    return [
        (("reblog",), ("not_parent", parent != blog.name, pl.col("parent_blog"), blog.name)),
        (("reblog",), ("no_comment", ~pl.col("commented"), pl.lit("0"), "1")),
        (("reply",), ("not_ours", ~ours, first, "followed, or to the blog")),
        (("reply",), ("names_other", addressed != blog.name, addressed, blog.name)),
        (("reblog", "reply"), ("old", pl.col("anchor_age") > WINDOW, age, hours)),
        (("reblog", "reply"), ("old", pl.col("anchor_behind") >= WINDOW_POSTS, behind, f"{WINDOW_POSTS} posts")),
    ]


def _judged(rows: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """Add state, attempt and the columns of `Fate`; what is wrong with the post goes first, then the first rule."""
    number = pl.coalesce(
        pl.when(pl.col("kind").is_in(list(kinds)) & holds.fill_null(False)).then(pl.lit(at))
        for at, (kinds, (_, holds, _, _)) in enumerate(rules)
    )
    rows = rows.with_columns(pl.when(pl.col("post_reason").is_null()).then(number).alias("rule"))

    def of_rule(part: int) -> pl.Expr:
        return pl.coalesce(
            pl.when(pl.col("rule") == at).then(pl.lit(told) if isinstance(told := sign[part], str) else told)
            for at, (_, sign) in enumerate(rules)
        )

    reason = pl.coalesce("post_reason", of_rule(0))
    ignored = reason.is_not_null()
    gone = pl.col("post_reason") == "deleted"
    return rows.with_columns(
        pl.when(~gone.fill_null(False)).then("text").alias("text"),
        pl.when(ignored).then(pl.lit("ignored")).otherwise(pl.lit("received")).alias("state"),
        pl.when(ignored).then(pl.lit("rejected")).otherwise(pl.lit("pending")).alias("status"),
        reason.fill_null(WAITING).alias("reason"),
        pl.coalesce("post_observed", of_rule(2)).alias("observed"),
        pl.coalesce("post_threshold", of_rule(3)).alias("threshold"),
        pl.lit(None, UTC).alias("not_before"),
        pl.lit(1, pl.Int64).alias("attempt"),
        pl.lit(None, UTC).alias("tick_ts"),
    )


def _text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.strip_suffix(".0")

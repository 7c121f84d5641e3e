"""outbox: what is to be posted, in which form, and how far it is.

Belongs here: one row per decided attempt, its text after edits, what becomes of attempts that others have replaced and
of answers to what was deleted. Does not belong here: how events move a post on (`outbox_states.py`), recording what
people decide (`reviews.py`), sending.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from magpie.persona.outbox_states import BEGINNINGS, OPEN, SENDABLE, SENT, Life, events_of, folded
from magpie.persona.post_body import body_sha256, npf_of
from magpie.persona.rng import SEPARATOR
from magpie.persona.settings import Blog, Words
from magpie.persona.tables import OUTBOX
from magpie.persona.word_screen import HARD_REJECT, normalised, screen

# Hexadecimal digits: 64 bits, enough to tell some billion posts apart.
ID_CHARS = 16
KINDS: Mapping[str, str] = {
    "ask": "answer",
    "reblog": "reblog",
    "mention": "reblog",
    "dash": "reblog",
    "reply": "reply_post",
    "original": "original",
}
# Delivery draws the graph when it sends it, and puts its picture under this name.
MOOD_GRAPH_BLOCKS: list[dict[str, Any]] = [
    {"type": "image", "media": [{"type": "image/png", "identifier": "mood-graph"}], "alt_text": "mood of the last day"}
]
_FATE = ("status", "reason", "observed", "threshold", "not_before")
_REJECTED = ("rejected", "discarded", "redo", "deleted")


@dataclass(frozen=True)
class _Case:
    """What one row follows from; rows as they are stored, null where there is none.

    Attributes:
        last: the newest attempt at the same input.
        earlier: the row as it was when it was last made.
    """

    decision: Mapping[str, Any]
    input: Mapping[str, Any] | None
    post: Mapping[str, Any] | None
    earlier: Mapping[str, Any] | None
    last: int

    @property
    def is_graph(self) -> bool:
        command = self.input["command"] if self.input else None
        return (command or "").lstrip("!") == "mood"

    @property
    def is_deleted(self) -> bool:
        return self.input is not None and self.input["reason"] == "deleted"


def outbox_id(blog: str, input_id: str, attempt: int) -> str:
    """The id of an attempt's post, the same in every run."""
    return hashlib.sha256(SEPARATOR.join((blog, input_id, str(attempt))).encode()).hexdigest()[:ID_CHARS]


def outbox(
    decisions: pl.DataFrame,
    inbox: pl.DataFrame,
    posts: pl.DataFrame,
    reviews: pl.DataFrame,
    deliveries: pl.DataFrame,
    earlier: pl.DataFrame,
    blog: Blog,
    words: Words,
) -> pl.DataFrame:
    """Return one row per attempt that has a route, in the columns of `outbox`.

    Args:
        decisions: of some days of the blog, all attempts of each input.
        inbox: rows of `persona_inbox` of the same days.
        posts: `post_id`, `author_blog` and `reblog_key` of the posts that inputs name.
        reviews, deliveries: `persona_reviews` and `delivery_log`; rows about other posts are passed over.
        earlier: `outbox` of the same days as it is stored. What was sent keeps the text that was sent.
        words: lists that an edited text is held against; those of the blog and of all blogs together.
    """
    mine = decisions.filter(pl.col("blog") == blog.name)
    last = dict(mine.group_by("input_id").agg(pl.col("attempt").max()).iter_rows())
    inputs = _by(inbox.filter(pl.col("blog") == blog.name), "input_id")
    named = _by(posts.select("post_id", "author_blog", "reblog_key").sort(pl.all()), "post_id")
    stored, events = _by(earlier, "outbox_id"), events_of(reviews, deliveries)
    rows = []
    for decision in mine.filter(pl.col("route").is_not_null()).iter_rows(named=True):
        key = outbox_id(blog.name, decision["input_id"], decision["attempt"])
        found = inputs.get(decision["input_id"])
        post = named.get(found["post_id"]) if found and found["post_id"] else None
        case = _Case(decision, found, post, stored.get(key), last[decision["input_id"]])
        body = "" if case.is_graph else decision["body"]
        start = Life(BEGINNINGS[decision["route"]], body, tuple(decision["tags"] or ()))
        life = _settled(folded(start, events.get(key, ())), case, blog, words)
        rows.append({"outbox_id": key, **_content(life, case), **_target(case), **_standing(life, case)})
    return OUTBOX.shaped(pl.DataFrame(rows, schema_overrides=OUTBOX.dtypes) if rows else OUTBOX.empty()).sort(
        OUTBOX.sort_by
    )


def shows(body: str) -> bool:
    """Whether a reader of the post would see anything of it."""
    return any(normalised(block["text"]).strip() for block in npf_of(body))


def _by(frame: pl.DataFrame, key: str) -> dict[str, Mapping[str, Any]]:
    return {row[key]: row for row in frame.iter_rows(named=True)}


def _settled(life: Life, case: _Case, blog: Blog, words: Words) -> Life:
    """The life with what follows from other rows: from newer attempts, deleted inputs and words that must not pass."""
    if life.state in SENT:
        return life
    if case.is_deleted:
        # What answered a deleted text may quote it.
        gone = replace(life, body=None, tags=(), not_before=None)
        return replace(gone, state="discarded", reason="deleted", observed=None) if life.state in OPEN else gone
    if life.state not in OPEN:
        return life
    if case.decision["attempt"] < case.last:
        newer = f"attempt {case.last}"
        return replace(life, state="redo", reason="superseded", observed=newer, not_before=None)
    if life.body is None or not (case.is_graph or shows(life.body)):
        return replace(life, state="discarded", reason="no_body", observed=None, not_before=None)
    if life.state in SENDABLE or life.edited:
        forbidden = _forbidden(life, case, blog, words)
        if forbidden:
            told = ", ".join(forbidden)
            return replace(life, state="held", reason=HARD_REJECT, observed=told, not_before=None)
    return life


def _forbidden(life: Life, case: _Case, blog: Blog, words: Words) -> list[str]:
    """Words with which the post goes out under no circumstances; of an unedited one those that its decision found."""
    if not life.edited:
        return [hit["text"] for hit in case.decision["screen_hits"] or () if hit["type"] == HARD_REJECT]
    author = case.input["from_blog"] if case.input else None
    said = case.input["text"] if case.input else None
    hits = screen(
        (author or "", said or "", life.body or "", *life.tags),
        words,
        author=author,
        input_text=said,
        owner=blog.owner,
        screened=blog.screened,
        avoid=blog.avoid,
    )
    return [hit.text for hit in hits if hit.type == HARD_REJECT]


def _content(life: Life, case: _Case) -> dict[str, Any]:
    """Body in both forms, its hash, tags."""
    sha = None if life.body is None else body_sha256(life.body)
    stored = case.earlier
    if life.state in SENT and stored is not None and life.sent_sha256 not in (None, sha):
        return {name: stored[name] for name in ("body", "body_npf", "body_sha256", "tags", "edited")}
    told = {"body": life.body, "body_sha256": sha, "tags": list(life.tags), "edited": life.edited}
    if life.body is None:
        return {**told, "body_npf": None}
    blocks = MOOD_GRAPH_BLOCKS if case.is_graph else npf_of(life.body)
    return {**told, "body_npf": json.dumps(blocks, ensure_ascii=False)}


def _target(case: _Case) -> dict[str, Any]:
    """What is posted, and in answer to which post."""
    decision, found, post = case.decision, case.input, case.post
    kind = "mood_graph" if case.is_graph else KINDS[decision["kind"]]
    slot = found["created_at"] if found and decision["kind"] == "original" else None
    return {
        **{name: decision[name] for name in ("blog", "day", "input_id", "attempt")},
        "kind": kind,
        "post_id": found["post_id"] if found else None,
        "parent_blog": post["author_blog"] if post else None,
        "reblog_key": post["reblog_key"] if post else None,
        "publish_at": slot,
    }


def _standing(life: Life, case: _Case) -> dict[str, Any]:
    """State, fate and what Tumblr calls it."""
    ids = {name: getattr(life, name) for name in ("state", "remote_id", "genesis_id", "delivered_at")}
    return {**ids, **dict(zip(_FATE, _fate(life, case.decision), strict=True))}


def _fate(life: Life, decision: Mapping[str, Any]) -> tuple[Any, ...]:
    """status, reason, observed, threshold, not_before."""
    if life.state == "draft":
        return "pending", "review", decision["route_reason"], None, None
    if life.state == "sending":
        return "pending", "sending", None, None, None
    if life.state == "held":
        status = "rejected" if life.reason == HARD_REJECT else "pending"
        return status, life.reason, life.observed, None, None
    if life.state in _REJECTED:
        if life.reason is None and life.state != "deleted":
            return "rejected", decision["route_reason"], decision["observed"], decision["threshold"], None
        return "rejected", life.reason or "deleted", life.observed, None, None
    if life.not_before is not None:
        return "pending", life.reason, life.observed, None, life.not_before
    return "ok", None, None, None, None

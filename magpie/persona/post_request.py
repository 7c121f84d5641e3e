"""What is sent to Tumblr for a row of the outbox.

Belongs here: the body of a request, what has to be asked before it can be made, and how the post is known again. Does
not belong here: whether and when it is sent (`delivery.py`), blocks of a text (`post_body.py`).

A question is answered by putting the answer in the place of the question, which goes first in it. A post is reblogged
with its key. Tumblr's interface cannot reply below a post, so whoever replied is answered in a reblog that names them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from magpie.persona.post_body import body_sha256
from magpie.persona.remote_posts import Sought, folded_tags
from magpie.sources.tumblr_api import BAD_CONTENT, GONE, Answer, Fault, Media, TumblrApi
from magpie.sources.tumblr_blocks import blog_name_of

# Kinds that stand in the place of a question.
ANSWERS = ("answer", "mood_graph")
PNG = "image/png"
# A slot that is nearer than this may be over when the request arrives, and Tumblr takes none that is over.
SLOT_MARGIN = timedelta(minutes=1)
# States in which a question is one no more.
_ANSWERED = ("published", "private", "queue", "queued", "draft")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """A post, ready to be sent.

    Attributes:
        state: published or queue. edits: the post that it takes the place of; None: a new one.
    """

    body: Mapping[str, Any]
    state: str
    edits: str | None = None
    media: tuple[Media, ...] = ()

    def send(self, api: TumblrApi, blog: str) -> Answer | Fault:
        if self.edits is None:
            return api.create(blog, self.body, self.media)
        return api.edit(blog, self.edits, self.body, self.media)


def is_queued(row: Row, now: datetime) -> bool:
    """Whether the post waits in Tumblr's queue for its slot; one whose slot has come goes out at once."""
    return row["publish_at"] is not None and row["publish_at"] > now + SLOT_MARGIN


def request_of(row: Row, blog: str, api: TumblrApi, now: datetime, graph: Callable[[], bytes]) -> Request | Fault:
    """Return what is to be sent for a row, or why nothing can be.

    Args:
        row: of `outbox`, with a body.
        graph: draws the mood as PNG.
    """
    content = json.loads(row["body_npf"])
    queued = is_queued(row, now)
    state = "queue" if queued else "published"
    body: dict[str, Any] = {"content": content, "state": state, "tags": ",".join(row["tags"])}
    if queued:
        body["publish_on"] = row["publish_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if row["kind"] in ANSWERS:
        media = (Media(_identifier(content), PNG, graph()),) if row["kind"] == "mood_graph" else ()
        return _answer(row, body, blog, api, media)
    if row["kind"] == "original":
        return Request(body, state)
    return _reblog(row, body, api)


def sought(row: Row, since: datetime) -> Sought:
    """How a row's post is known at Tumblr, had it been sent at that moment."""
    lead = f"@{_replier(row)}\n" if row["kind"] == "reply_post" else ""
    return Sought(
        key=row["outbox_id"],
        since=since,
        body_sha256=body_sha256(lead + row["body"]) if row["body"] else None,
        tags=folded_tags(row["tags"]),
        post_id=row["post_id"],
        edits=row["kind"] in ANSWERS,
    )


def _answer(row: Row, body: Mapping[str, Any], blog: str, api: TumblrApi, media: tuple[Media, ...]) -> Request | Fault:
    if row["post_id"] is None:
        return Fault(GONE, "the question has no id")
    question = api.editable(blog, row["post_id"])
    if isinstance(question, Fault):
        return question
    if question.response.get("state") in _ANSWERED:
        return Fault(GONE, "the question was answered elsewhere")
    asked = question.items("content")
    indices = list(range(len(asked)))
    layouts = [item for item in question.items("layout") if item.get("type") == "ask"]
    whole = {
        **body,
        "content": [*asked, *body["content"]],
        "layout": layouts or [{"type": "ask", "blocks": indices}],
    }
    return Request(whole, body["state"], row["post_id"], media)


def _reblog(row: Row, body: dict[str, Any], api: TumblrApi) -> Request | Fault:
    parent = blog_name_of(row["parent_blog"])
    if parent is None or row["post_id"] is None or row["reblog_key"] is None:
        return Fault(BAD_CONTENT, "the post to reblog is not known with its blog, id and key")
    uuid = _uuid(api, parent)
    if isinstance(uuid, Fault):
        return uuid
    content: Sequence[Any] = body["content"]
    if row["kind"] == "reply_post":
        named = _mention(_replier(row), api)
        if isinstance(named, Fault):
            return named
        content = [named, *content]
    place = {"parent_tumblelog_uuid": uuid, "parent_post_id": row["post_id"], "reblog_key": row["reblog_key"]}
    return Request({**body, **place, "content": list(content)}, body["state"])


def _mention(replier: str, api: TumblrApi) -> dict[str, Any] | Fault:
    """A line that names a blog, so that it is told."""
    name = blog_name_of(replier)
    if name is None:
        return Fault(BAD_CONTENT, f"{replier[:80]!r} is no name of a blog")
    uuid = _uuid(api, name)
    if isinstance(uuid, Fault):
        return uuid
    text = f"@{name}"
    mention = {"type": "mention", "start": 0, "end": len(text), "blog": {"uuid": uuid}}
    return {"type": "text", "text": text, "formatting": [mention]}


def _uuid(api: TumblrApi, name: str) -> str | Fault:
    answer = api.info(name)
    if isinstance(answer, Fault):
        return answer
    blog = answer.response.get("blog")
    uuid = blog.get("uuid") if isinstance(blog, dict) else None
    return uuid if isinstance(uuid, str) and 0 < len(uuid) <= 100 else Fault(GONE, f"{name} has no uuid")


def _replier(row: Row) -> str:
    """Who replied, as the input's id names them: `reply:BLOG:POST:TIME`."""
    return str(row["input_id"]).split(":")[1]


def _identifier(content: Sequence[Mapping[str, Any]]) -> str:
    """The name under which the block of a picture expects its bytes."""
    return str(content[0]["media"][0]["identifier"])

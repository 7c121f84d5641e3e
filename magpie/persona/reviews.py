"""persona_reviews: what people decide of posts before they go out, as events that are never edited.

Belongs here: which decision is possible now, and appending it. Does not belong here: what it does to a post
(`outbox_states.py`, `outbox.py`), asking and printing (`magpie/cli`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.persona.logs import DELIVERIES, REVIEWS
from magpie.persona.outbox import outbox, shows
from magpie.persona.outbox_states import MOVES
from magpie.persona.routing import TAGS_MOST, clean_tags
from magpie.persona.tables import DECISIONS, OUTBOX, PERSONA_INBOX, PERSONA_REVIEWS, REVIEW_ACTIONS, TUMBLR_POSTS
from magpie.persona.word_screen import HARD_REJECT
from magpie.settings import Settings
from magpie.tables import Partitions

# What the writer may give; a person's text is bounded alike.
BODY_CHARS = 60_000
NOTE_CHARS = 1000
ACTOR_CHARS = 100


def record(
    control: Control,
    lake: Lake,
    settings: Settings,
    outbox_id: str,
    action: str,
    actor: str,
    at: datetime,
    *,
    body: str | None = None,
    tags: Sequence[str] | None = None,
    note: str | None = None,
) -> str:
    """Append a decision and return its review_id; the same decision of the same moment is one event.

    Args:
        at: when; a moment not after the last event of the post is moved behind it.
        body, tags: of an edit; the one that is not given stays as it is.

    Raises:
        UserError: there is no such post or action, the post is in no state for it, or what is given does not fit.
    """
    _check(action, actor, body, tags, note)
    stored = lake.read(OUTBOX).filter(pl.col("outbox_id") == outbox_id).collect()
    if stored.is_empty():
        raise UserError(f"there is no post {outbox_id[:80]!r} in the outbox; `magpie persona review` lists what waits")
    reviews, deliveries = (log.read(control, outbox_id=outbox_id) for log in (REVIEWS, DELIVERIES))
    blog = stored["blog"][0]
    told = [at.isoformat(), actor.strip(), blog, outbox_id, action, body, None if tags is None else list(tags), note]
    review_id = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
    if review_id in reviews["review_id"]:
        return review_id
    row = _as_of(lake, settings, stored, reviews, deliveries)
    _refuse_impossible(row, action)
    kept = list(row["tags"] if tags is None else tags) if action == "edit" else []
    said = {"outbox_id": outbox_id, "action": action, "body": body, "tags": kept, "note": note}
    event = {
        "review_id": review_id,
        "blog": blog,
        "actor": actor.strip(),
        "at": _behind(at, reviews, deliveries),
        **said,
    }
    if action == "approve":
        heard = pl.concat([reviews, pl.DataFrame([event], schema=PERSONA_REVIEWS.dtypes)])
        _refuse_forbidden(_as_of(lake, settings, stored, heard, deliveries))
    REVIEWS.append(control, [event])
    return review_id


def _check(action: str, actor: str, body: str | None, tags: Sequence[str] | None, note: str | None) -> None:
    if action not in REVIEW_ACTIONS:
        raise UserError(f"{action[:80]!r} is nothing that can be done with a post; one of {', '.join(REVIEW_ACTIONS)}")
    if not 0 < len(actor.strip()) <= ACTOR_CHARS:
        raise UserError(f"the actor has {len(actor.strip())} characters; name who decides, with 1 to {ACTOR_CHARS}")
    if note is not None and len(note) > NOTE_CHARS:
        raise UserError(f"the note has {len(note)} characters; {NOTE_CHARS} at most")
    if action != "edit" and (body is not None or tags is not None):
        raise UserError(f"{action} changes no text; give body and tags to edit, and {action} afterwards")
    if action == "edit" and body is None and tags is None:
        raise UserError("edit: nothing is changed; give a body, tags or both")
    if body is not None and len(body) > BODY_CHARS:
        raise UserError(f"edit: the body has {len(body)} characters; {BODY_CHARS} at most")
    if body is not None and not shows(body):
        raise UserError("edit: nothing of the body would show; write a text, or reject the post")
    if tags is not None and (len(tags) > TAGS_MOST or clean_tags(tags, None, ()) != list(tags)):
        raise UserError(
            f"edit: these tags cannot be posted; give at most {TAGS_MOST}, each once, without # and commas, "
            "of at most 140 characters, and none that the bot keeps for itself"
        )


def _as_of(
    lake: Lake, settings: Settings, stored: pl.DataFrame, reviews: pl.DataFrame, deliveries: pl.DataFrame
) -> Mapping[str, Any]:
    """The post's row as these events make it: what was said since it was stored counts."""
    name, day, input_id = stored.select("blog", "day", "input_id").row(0)
    blog = settings.blog(name)
    here = Partitions.of([(name, day)])
    decisions, inbox = (
        lake.read(table, here).filter(pl.col("input_id") == input_id).collect() for table in (DECISIONS, PERSONA_INBOX)
    )
    words = settings.persona.words + blog.words
    rows = outbox(decisions, inbox, TUMBLR_POSTS.empty(), reviews, deliveries, stored, blog, words)
    found = rows.filter(pl.col("outbox_id") == stored["outbox_id"][0])
    if found.is_empty():
        key = stored["outbox_id"][0]
        raise UserError(f"post {key} is of an attempt that is not there any more; make the outbox of {day} again")
    return found.row(0, named=True)


def _refuse_impossible(row: Mapping[str, Any], action: str) -> None:
    state, reason = row["state"], row["reason"]
    if state not in MOVES[action]:
        why = f" ({reason})" if reason not in (None, state) else ""
        needed = " or ".join(MOVES[action])
        raise UserError(f"{action}: post {row['outbox_id']} is {state}{why}, and would have to be {needed}")


def _refuse_forbidden(approved: Mapping[str, Any]) -> None:
    if approved["reason"] == HARD_REJECT:
        key, word = approved["outbox_id"], approved["observed"]
        raise UserError(f"approve: post {key} holds {word}, which must never go out; edit it first")


def _behind(at: datetime, *logs: pl.DataFrame) -> datetime:
    """The moment of a decision, which comes after the events it was held against, whoever's clock is late."""
    last = [moment for log in logs if isinstance(moment := log["at"].max(), datetime)]
    return max([at, *(moment + timedelta(microseconds=1) for moment in last)])

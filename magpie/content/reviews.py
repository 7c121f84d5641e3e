"""content_reviews: what people decide of clusters, ideas, articles and images, as events that are never edited.

Belongs here: which decision is possible when, the states that follow from all of them, and what waits for one. Does
not belong here: asking and printing (`magpie/cli`), what an edit does to an article (`articles.py`), and the lake's
copy (the asset `content_reviews`).

What a person says must outlive the rows it is about, which a new run replaces; so it is kept beside the lake.

Objects are named: a cluster `site/sector/cluster_key`, an idea and its article by the same id, an image
`article/type/position`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import polars as pl
from pydantic import Field, ValidationError

from magpie.append_log import AppendLog
from magpie.content.settings import Site
from magpie.content.tables import (
    ARTICLE_IMAGES,
    ARTICLES,
    CONTENT_IDEAS,
    CONTENT_REVIEWS,
    KEYWORD_CLUSTERS,
    OBJECTS,
    REVIEW_ACTIONS,
)
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.strict import Strict

REVIEWS = AppendLog(CONTENT_REVIEWS, "object_id")

# An article of 1800 words with its markup is some 20 kB; this is a bound on accidents.
PAYLOAD_CHARS = 1_000_000
ACTOR_CHARS = 100
# As a search result shows them.
META_TITLE_CHARS, META_DESCRIPTION_CHARS = 60, 160

# What each action makes of an article, by the state it is in; what is not here is not possible. A text that was
# changed after the yes is another text, so it is looked at again; what is published is changed where it is published.
_ARTICLE: Mapping[str, Mapping[str, str]] = {
    "submit": {"draft": "review", "declined": "review"},
    "approve": {"review": "approved"},
    "publish": {"approved": "published"},
    "decline": {"draft": "declined", "review": "declined", "approved": "declined"},
    "edit": {"draft": "draft", "review": "review", "approved": "review"},
}
# Of ideas and images the last word counts.
_ANY = ("draft", "approved", "declined")
_YES_OR_NO: Mapping[str, Mapping[str, str]] = {
    "approve": dict.fromkeys(_ANY, "approved"),
    "decline": dict.fromkeys(_ANY, "declined"),
}
_MOVES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "article": _ARTICLE,
    "idea": _YES_OR_NO,
    "image": _YES_OR_NO,
    "cluster": {},
}
_FLAGS = {"disable": True, "enable": False}
# For these a yes is enough to have an idea written.
_OVERRIDABLE = ("awaiting_approval", "duplicate_topic", "too_many_ideas", "declined", "disabled")

STATES_SCHEMA = pl.Schema(
    {
        **dict.fromkeys(("object_type", "object_id", "state"), pl.String()),
        "disabled": pl.Boolean(),
        "at": pl.Datetime("us", "UTC"),
        "actor": pl.String(),
        "payload": pl.String(),
    }
)
WAITING_SCHEMA = pl.Schema(
    {
        **dict.fromkeys(("object_type", "object_id", "site_id"), pl.String()),
        "day": pl.Date(),
        **dict.fromkeys(("title", "state"), pl.String()),
        "quality_score": pl.Int64(),
        "flags": pl.List(pl.String),
        "paused": pl.Boolean(),
    }
)


class Why(Strict):
    """What goes with a decision."""

    reason: str | None = Field(default=None, max_length=1000)


class Published(Why):
    """Where an article went."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2000)] | None = None


class ArticleEdit(Why):
    """The fields of an article that people may change; those that are not given stay."""

    title: str | None = Field(default=None, min_length=1, max_length=200)
    meta_title: str | None = Field(default=None, min_length=1, max_length=META_TITLE_CHARS)
    meta_description: str | None = Field(default=None, min_length=1, max_length=META_DESCRIPTION_CHARS)
    content_html: str | None = Field(default=None, min_length=1, max_length=PAYLOAD_CHARS)
    tags: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=50)] | None = None
    categories: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=50)] | None = None


# What an edit may change.
EDITABLE = tuple(name for name in ArticleEdit.model_fields if name != "reason")
_PAYLOADS: Mapping[str, type[Why]] = {"edit": ArticleEdit, "publish": Published}


@dataclass(frozen=True)
class Decided:
    """Ids of one kind of object, by what was decided last."""

    approved: frozenset[str] = frozenset()
    declined: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()


NOTHING_DECIDED = Decided()


def cluster_ref() -> pl.Expr:
    """The id of a cluster, as decisions name it: the same in every batch."""
    return pl.format("{}/{}/{}", "site_id", "sector", "cluster_key")


def image_ref() -> pl.Expr:
    """The id of an image, as decisions name it."""
    return pl.format("{}/{}/{}", "article_id", "image_type", "position")


def decide(
    control: Control,
    lake: Lake,
    object_type: str,
    object_id: str,
    action: str,
    actor: str,
    payload: Mapping[str, Any],
    at: datetime,
) -> str:
    """Append a decision and return its event_id; the same decision of the same moment is one event.

    Args:
        payload: `reason`, for publish `url`, for edit the fields of ArticleEdit.

    Raises:
        UserError: there is no such object, it is in no state for that, or the payload holds something else.
    """
    actor = actor.strip()
    if not 0 < len(actor) <= ACTOR_CHARS:
        raise UserError(f"the actor has {len(actor)} characters; name who decides, with 1 to {ACTOR_CHARS}")
    if object_type not in OBJECTS:
        raise UserError(f"{object_type!r} cannot be decided on; one of {', '.join(OBJECTS)}")
    if action not in REVIEW_ACTIONS or action not in (*_MOVES[object_type], *_FLAGS):
        possible = ", ".join((*_MOVES[object_type], *_FLAGS))
        raise UserError(f"{action!r} is nothing that can be done with an {object_type}; possible: {possible}")
    _refuse_unfit(_row_of(lake, object_type, object_id), object_type, object_id, action)
    said = _payload(action, payload)
    told = "\n".join((at.isoformat(), actor, object_type, object_id, action, said))
    event_id = hashlib.sha256(told.encode()).hexdigest()[:32]
    before = REVIEWS.read(control, object_type=object_type, object_id=object_id)
    if event_id in before["event_id"]:
        return event_id
    state = _state_of(fold(before))
    if action not in _FLAGS and state not in _MOVES[object_type][action]:
        needed = " or ".join(_MOVES[object_type][action])
        raise UserError(f"{action}: {object_type} {object_id} is {state}, and would have to be {needed}")
    event = {"object_type": object_type, "object_id": object_id, "action": action, "payload": said}
    REVIEWS.append(control, [{"event_id": event_id, "at": _after(before, at), "actor": actor, **event}])
    return event_id


def _payload(action: str, payload: Mapping[str, Any]) -> str:
    """The payload as JSON, without what was not given."""
    model = _PAYLOADS.get(action, Why)
    try:
        held = model.model_validate(payload).model_dump(exclude_none=True, mode="json")
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "payload"
        if problem["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            raise UserError(f"{action}: {key} is nothing that goes with it; possible: {known}") from None
        raise UserError(f"{action}: {key}: {problem['msg']}") from None
    if action == "edit" and not set(held) - {"reason"}:
        raise UserError("edit: nothing is changed; give one of " + ", ".join(EDITABLE))
    said = json.dumps(held, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    if len(said) > PAYLOAD_CHARS:
        raise UserError(f"{action}: the payload has {len(said)} characters; {PAYLOAD_CHARS} at most")
    return said


def _row_of(lake: Lake, object_type: str, object_id: str) -> dict[str, Any]:
    table, ref = {
        "cluster": (KEYWORD_CLUSTERS, cluster_ref()),
        "idea": (CONTENT_IDEAS, pl.col("idea_id")),
        "article": (ARTICLES, pl.col("article_id")),
        "image": (ARTICLE_IMAGES, image_ref()),
    }[object_type]
    rows = lake.read(table).filter(ref == object_id).select("day", "status", "reason").sort("day").collect()
    if rows.is_empty():
        raise UserError(f"there is no {object_type} {object_id!r}; `magpie content review` lists what waits")
    return rows.row(-1, named=True)


def _refuse_unfit(row: Mapping[str, Any], object_type: str, object_id: str, action: str) -> None:
    if action in _FLAGS or row["status"] == "ok":
        return
    if object_type == "idea" and row["reason"] in _OVERRIDABLE:
        return
    fate = f"{row['status']} ({row['reason']})"
    raise UserError(f"{action}: {object_type} {object_id} is {fate}, which nobody's word changes")


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """Return the state of each object after all events, in the columns of STATES_SCHEMA; without any it is a draft.

    An event that was not possible any more when its turn came, because another one came first, changes nothing.

    Args:
        events: `content_reviews`, in any order.
    """
    states: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events.sort("at", "event_id").iter_rows(named=True):
        key = (event["object_type"], event["object_id"])
        held = states.get(key, {"object_type": key[0], "object_id": key[1], "state": "draft", "disabled": False})
        action = event["action"]
        if action in _FLAGS:
            held = {**held, "disabled": _FLAGS[action]}
        elif held["state"] in (moves := _MOVES[key[0]].get(action, {})):
            held = {**held, "state": moves[held["state"]]}
        else:
            continue
        states[key] = {**held, **{name: event[name] for name in ("at", "actor", "payload")}}
    return pl.DataFrame(list(states.values()), schema=STATES_SCHEMA).sort("object_type", "object_id")


def edits(events: pl.DataFrame) -> pl.DataFrame:
    """Return the edits that hold, oldest first, in the columns of `content_reviews`."""
    held: list[str] = []
    states: dict[str, str] = {}
    for event in events.filter(pl.col("object_type") == "article").sort("at", "event_id").iter_rows(named=True):
        before = states.get(event["object_id"], "draft")
        after = _ARTICLE.get(event["action"], {}).get(before)
        if after is not None:
            states[event["object_id"]] = after
            held += [event["event_id"]] if event["action"] == "edit" else []
    return events.filter(pl.col("event_id").is_in(held)).sort("at", "event_id")


def decided(states: pl.DataFrame, object_type: str) -> Decided:
    """Return what was decided last of each object of a kind."""
    mine = states.filter(pl.col("object_type") == object_type)

    def ids(condition: pl.Expr) -> frozenset[str]:
        return frozenset(mine.filter(condition)["object_id"])

    state = pl.col("state")
    return Decided(ids(state.is_in(["approved", "published"])), ids(state == "declined"), ids(pl.col("disabled")))


def _state_of(states: pl.DataFrame) -> str:
    return "draft" if states.is_empty() else str(states["state"][0])


def _after(before: pl.DataFrame, at: datetime) -> datetime:
    """The moment of a decision, which comes after those it was held against, whoever's clock is late."""
    last = before["at"].max()
    return max(at, last + timedelta(microseconds=1)) if isinstance(last, datetime) else at


def waiting(lake: Lake, control: Control, sites: Sequence[Site]) -> pl.DataFrame:
    """Return what waits for a person, in the columns of WAITING_SCHEMA: ideas first, then articles, the oldest first.

    Ideas wait until somebody said yes or no; articles that are ok wait as drafts and in review. What is disabled does
    not wait. `paused`: nothing follows from a yes until the site is active again.
    """
    states = fold(REVIEWS.read(control)).select("object_type", "object_id", "state", "disabled")
    ideas = (
        lake.read(CONTENT_IDEAS)
        .filter(pl.col("reason") == "awaiting_approval")
        .select("idea_id", "site_id", "day", "title", "flags")
        .collect()
        .rename({"idea_id": "object_id"})
        .with_columns(pl.lit("idea").alias("object_type"), pl.lit(None, pl.Int64).alias("quality_score"))
    )
    articles = (
        lake.read(ARTICLES)
        .filter(pl.col("status") == "ok")
        .select("article_id", "site_id", "day", "title", "quality_score", "quality_flags")
        .collect()
        .rename({"article_id": "object_id", "quality_flags": "flags"})
        .with_columns(pl.lit("article").alias("object_type"))
    )
    open_ = (pl.col("object_type") == "idea") & (pl.col("state") == "draft") | (
        (pl.col("object_type") == "article") & pl.col("state").is_in(["draft", "review"])
    )
    paused = [site.id for site in sites if not site.active]
    return (
        pl.concat([ideas, articles.select(ideas.columns)])
        .join(states, on=["object_type", "object_id"], how="left")
        .with_columns(pl.col("state").fill_null("draft"), pl.col("disabled").fill_null(False))
        .filter(open_ & ~pl.col("disabled"))
        .with_columns(pl.col("site_id").is_in(paused).alias("paused"))
        .sort(pl.col("object_type") == "article", "day", "site_id", "object_id")
        .select(list(WAITING_SCHEMA))
        .cast(WAITING_SCHEMA)
    )

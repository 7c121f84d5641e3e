"""The life of a post that is to go out: its state after everything that people decided and delivery reported.

Belongs here: which decision and which report moves a post from which state to which, one event after the other. Does
not belong here: the rows (`outbox.py`), recording decisions (`reviews.py`), sending (the delivery adapters).

    draft, held -> approved -> sending -> queued -> published, deleted      ready -> sending
    draft, held -> redo, rejected      draft, approved, ready -> held      sending -> ready

approved waits for delivery like ready does; it is told apart because few approved posts are let out at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from magpie.persona.tables import PHASES

# What a route of `decisions` begins with.
BEGINNINGS: Mapping[str, str] = {
    "publish": "ready",
    "queue": "ready",
    "draft": "draft",
    "rejected": "rejected",
    "discard": "discarded",
}
# What each decision makes of a post, by the state it is in; what is not here is not possible. A post that is about to
# go out is held first, so that delivery and a person never work on it at once.
MOVES: Mapping[str, Mapping[str, str]] = {
    "approve": {"draft": "approved", "held": "approved"},
    "reject": {"draft": "rejected", "held": "rejected"},
    "redo": {"draft": "redo", "held": "redo"},
    "hold": {"draft": "held", "approved": "held", "ready": "held"},
    "edit": {"draft": "draft", "held": "held"},
}
# Delivery may take these.
SENDABLE = ("approved", "ready")
# Not out, and may still go out.
OPEN = ("draft", *SENDABLE, "held")
# Tumblr has it, or may have it.
SENT = ("sending", "queued", "published", "deleted")
# Tumblr's words for the state of a post, where they are not simply published.
_REMOTE = {"queue": "queued", "queued": "queued", "draft": "draft", "deleted": "deleted"}
_REASONS = {"reject": "rejected_by_reviewer", "redo": "redo_by_reviewer", "hold": "held_by_reviewer"}
# Errors that trying again does not mend: a person has to change the text, or what is answered is not there any more.
_LASTING = {"bad_content": "held", "gone": "discarded"}


@dataclass(frozen=True)
class Life:
    """A post after some events.

    Attributes:
        body, tags: as chosen or as last edited.
        reason, observed: why it is in its state, where an event says so.
        not_before: when delivery may try again.
        before: as it was, and will be again if what is being sent does not arrive.
        sent_sha256: of the body that delivery last took in hand.
        genesis_id: what Tumblr called it before it was published.
    """

    state: str
    body: str | None
    tags: tuple[str, ...]
    edited: bool = False
    reason: str | None = None
    observed: str | None = None
    not_before: datetime | None = None
    before: "Life | None" = None
    sent_sha256: str | None = None
    remote_id: str | None = None
    genesis_id: str | None = None
    delivered_at: datetime | None = None


Event = Mapping[str, Any]


def events_of(reviews: pl.DataFrame, deliveries: pl.DataFrame) -> dict[str, list[Event]]:
    """Rows of `persona_reviews` and `delivery_log` by outbox_id, in the order of time; a person is heard first."""
    found: dict[str, list[tuple[tuple[Any, ...], Event]]] = {}
    for row in reviews.iter_rows(named=True):
        order = (row["at"], -1, row["review_id"])
        found.setdefault(row["outbox_id"], []).append((order, row))
    for row in deliveries.iter_rows(named=True):
        # Phases of one moment are told in the order in which they come about.
        order = (row["at"], PHASES.index(row["phase"]), row["delivery_id"])
        found.setdefault(row["outbox_id"], []).append((order, row))
    return {key: [row for _, row in sorted(rows, key=lambda pair: pair[0])] for key, rows in found.items()}


def folded(start: Life, events: Iterable[Event]) -> Life:
    """The post after all events.

    A decision that was not possible any more when its turn came, because something else came first, changes nothing.
    """
    life = start
    for event in events:
        life = _reviewed(life, event) if "action" in event else _delivered(life, event)
    return life


def _reviewed(life: Life, review: Event) -> Life:
    action = review["action"]
    state = MOVES[action].get(life.state)
    if state is None:
        return life
    if action == "edit":
        body = life.body if review["body"] is None else review["body"]
        return replace(life, body=body, tags=tuple(review["tags"]), edited=True)
    observed = review["actor"] if action in _REASONS else None
    return replace(life, state=state, reason=_REASONS.get(action), observed=observed, not_before=None)


def _delivered(life: Life, report: Event) -> Life:
    phase = report["phase"]
    if phase == "sending":
        return _sending(life, report)
    if phase == "done":
        return _done(life, report)
    if phase == "absent":
        return _back(life) if life.state == "sending" else life
    return _failed(life, report)


def _sending(life: Life, report: Event) -> Life:
    if life.state in SENT:
        return life
    sent = report["body_sha256"] or life.sent_sha256
    quiet = replace(life, reason=None, observed=None, not_before=None)
    return replace(quiet, state="sending", before=replace(life, before=None), sent_sha256=sent)


def _back(life: Life) -> Life:
    """What was let out is ready; a draft that Tumblr was to keep as a draft is no more approved for having failed."""
    before = life.before
    if before is None or before.state in SENDABLE:
        return replace(life, state="ready", before=None)
    return replace(life, state=before.state, reason=before.reason, observed=before.observed, before=None)


def _done(life: Life, report: Event) -> Life:
    state = _REMOTE.get(report["remote_state"] or "published", "published")
    arrived = report["at"] if state in ("queued", "published") else None
    remote_id = report["remote_id"] or life.remote_id
    moved = life.remote_id is not None and remote_id != life.remote_id
    return replace(
        life,
        state=state,
        reason=None,
        observed=None,
        not_before=None,
        sent_sha256=report["body_sha256"] or life.sent_sha256,
        remote_id=remote_id,
        genesis_id=life.genesis_id or (life.remote_id if moved else None),
        delivered_at=life.delivered_at or arrived,
    )


def _failed(life: Life, report: Event) -> Life:
    if life.state not in ("sending", *SENDABLE):
        return life
    error = report["error_class"] or "failed"
    back = _back(life) if life.state == "sending" else life
    if error in _LASTING and back.state in OPEN:
        return replace(back, state=_LASTING[error], reason=error, observed=None, not_before=None)
    if back.state in SENDABLE:
        return replace(back, reason=error, observed=None, not_before=report["not_before"])
    return back

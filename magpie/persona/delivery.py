"""Handing out: what is ready in the outbox goes to Tumblr, each post once, whatever happens in between.

Belongs here: which posts go out now, the order of log and request, what a refusal does to a post, and settling what
was left open. Does not belong here: the body of a request (`post_request.py`), finding posts (`remote_posts.py`),
what the log makes of a row (`outbox_states.py`).

Before a request its row says `sending`, in a transaction of its own, under an id that one process alone can append. A
refusal is written down. Where nobody knows whether the post arrived, because the answer was lost or the process died,
nothing is: the row stays as it is until a look at Tumblr, some minutes later, finds the post or proves that it is not
there. Only then it may be sent again. So a post may come late, and never twice.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.llm import breaker
from magpie.llm.store import Store
from magpie.persona.admitting import pace_at
from magpie.persona.delivery_trail import Trail
from magpie.persona.logs import DELIVERIES
from magpie.persona.outbox_states import SENDABLE
from magpie.persona.post_request import Request, Row, is_queued, request_of, sought
from magpie.persona.remote_posts import look, matched
from magpie.persona.settings import Blog
from magpie.persona.slowdown import RATE_H, Level, level, reset_at
from magpie.sources.channel_clients import KEY_REST
from magpie.sources.tumblr_api import (
    AUTH,
    BAD_CONTENT,
    GONE,
    LIMIT,
    POST_LIMIT,
    QUEUE_FULL,
    TRANSPORT,
    Answer,
    Fault,
    TumblrApi,
)

BREAKER = "persona_post"
# Three errors within half an hour are a state and no bad minute; a person looks at it before the next post.
TRIP = breaker.Trip(runs=3, within=timedelta(minutes=30), pause=None)
# Limits and deleted posts are no failures of delivery.
FAILURES = (TRANSPORT, AUTH, BAD_CONTENT)
# What is wrong with the account or the way to Tumblr, and not with what is asked.
ENDS = (LIMIT, AUTH, TRANSPORT)
# Longer than any request lasts, and long enough for Tumblr to show what it took.
SETTLE = timedelta(minutes=5)
# Longer than any refusal holds and any post lies in the queue, whose slots reach to tomorrow.
LOG_SPAN = timedelta(days=7)
# Tumblr takes no more posts into a queue.
QUEUE_MOST = 1000
# People who wait come before the queue.
_ORDER = ("answer", "mood_graph", "reply_post", "reblog", "original")


@dataclass
class Delivered:
    """What came of one round, in counts of posts.

    Attributes:
        ready: that might go out now or later. sent: that went. settled: that were found, or found to be absent.
        open: of which nobody knows yet whether they arrived.
        faults: refusals by kind; last: the newest of them. warnings: lines for the operator.
    """

    ready: int = 0
    sent: int = 0
    settled: int = 0
    open: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    last: Fault | None = None
    warnings: list[str] = field(default_factory=list)

    def heard(self, fault: Fault, about: str) -> None:
        """Note a refusal."""
        self.faults[fault.kind] += 1
        self.last = fault
        self.warnings.append(f"{about}: {fault.kind}, {fault.detail}")

    @property
    def line(self) -> str:
        told = [f"{self.sent} of {self.ready} ready posts sent"]
        told += [f"{self.settled} settled"] if self.settled else []
        told += [f"{self.open} open"] if self.open else []
        told += [f"{count} {kind}" for kind, count in sorted(self.faults.items())]
        return ", ".join(told)


def dry_run(rows: pl.DataFrame) -> Delivered:
    """The delivery of a blog that posts nothing: count what is ready, and leave it so."""
    return Delivered(ready=rows.filter(pl.col("state").is_in(SENDABLE)).height)


@dataclass(frozen=True)
class _Room:
    """What a round may send.

    Attributes:
        published: posts that may go out at once.
        queue_from: the earliest slot of the queue that may be taken; queued: how many more posts it takes.
    """

    published: int
    queue_from: datetime
    queued: int


class TumblrDelivery:
    """Delivery of one blog; several processes may deliver at once.

    Args:
        graph: draws the mood of the last day as PNG.
    """

    def __init__(
        self, blog: Blog, api: TumblrApi, control: Control, clock: Callable[[], datetime], graph: Callable[[], bytes]
    ) -> None:
        self._blog, self._api, self._control, self._clock, self._graph = blog, api, control, clock, graph

    def deliver(self, outbox: Callable[[], pl.DataFrame]) -> Delivered:
        """Settle what was left open, then send what is due.

        At most one post goes out at once, and one of those that a person has approved, so that a fault in what lets
        posts through is seen before it has filled a blog. Posts for later slots of the queue are all handed over.

        Args:
            outbox: rows of `outbox` of the blog as of now: all that may go out, is being sent or lies in the queue. It
                is asked again before each post, so that nothing is sent that was sent or held meanwhile.
        """
        told = Delivered()
        self._settle(outbox(), told)
        now, rows = self._clock(), outbox()
        told.ready = rows.filter(pl.col("state").is_in(SENDABLE)).height
        due = _due(rows, now)
        stopped = self.stopped()
        if stopped is not None or not due:
            told.warnings += [stopped] if stopped else []
            return told
        room = self._room(rows, now)
        if isinstance(room, Fault):
            told.heard(room, "posts left today")
            return told
        approved = False
        for row in due:
            if not _fits(row, room, now) or (row["state"] == "approved" and approved):
                continue
            fault = self._send(row["outbox_id"], outbox, now, told)
            if fault is None:
                approved = approved or row["state"] == "approved"
                room = _less(room, row, now)
            elif fault.kind != GONE:
                break
        return told

    def stopped(self) -> str | None:
        """Why nothing is sent until a person says so; None: it is not stopped."""
        found = [one for one in Store(self._control).read(breaker.open_breakers) if one.scope == BREAKER]
        if not found:
            return None
        return f"nothing is posted: {found[0].detail}; when it is mended, `magpie breaker reset {BREAKER}`"

    def _room(self, rows: pl.DataFrame, now: datetime) -> _Room | Fault:
        """What may be sent, by what Tumblr says is left, or by what was sent today where it does not say."""
        left = self._left()
        if isinstance(left, Fault):
            return left
        reports = self._reports(now)
        queued, reset = rows.filter(pl.col("state") == "queued"), reset_at(now)
        pace = pace_at(reports, queued, now, self._blog) if left is None else self._pace(reports, queued, now, left)
        waits = reports.filter(pl.col("not_before") > now)["error_class"].to_list()
        over = pace.step == 0 or POST_LIMIT in waits
        return _Room(
            published=0 if over else 1,
            queue_from=reset if over else now,
            queued=0 if QUEUE_FULL in waits else QUEUE_MOST - queued.height,
        )

    def _reports(self, moment: datetime) -> pl.DataFrame:
        """What the log says of posts that may still lie in the queue at a moment, and of those after them."""
        return DELIVERIES.since(self._control, "at", moment - LOG_SPAN).filter(pl.col("blog") == self._blog.name)

    def _pace(self, reports: pl.DataFrame, queued: pl.DataFrame, now: datetime, left: int) -> Level:
        recent = (pl.col("phase") == "done") & (pl.col("remote_state") == "published")
        posted = reports.filter(recent & (pl.col("at") >= now - timedelta(hours=RATE_H))).height
        reset = reset_at(now)
        due = queued.filter(pl.col("publish_at").is_between(now, reset, closed="left")).height
        return level(posted, left, (reset - now).total_seconds() / 3600, due, self._blog.preset)

    def _left(self) -> int | Fault | None:
        """Posts that the account may still make today; None: Tumblr does not say."""
        answer = self._api.limits()
        if isinstance(answer, Fault):
            return answer if answer.kind in ENDS else None
        user = answer.response.get("user")
        posts = user.get("posts") if isinstance(user, dict) else None
        remaining = posts.get("remaining") if isinstance(posts, dict) else None
        return remaining if isinstance(remaining, int) and not isinstance(remaining, bool) else None

    def _send(self, key: str, outbox: Callable[[], pl.DataFrame], now: datetime, told: Delivered) -> Fault | None:
        """Send one post and write down what came of it; return the fault, if there was one."""
        # In this order: what is said after the trail was read makes its next entry fail.
        trail = Trail.of(self._control, self._blog.name, key, self._clock)
        row = next((row for row in _due(outbox(), now) if row["outbox_id"] == key), None)
        if row is None or trail.unresolved:
            return None
        request = request_of(row, self._blog.name, self._api, now, self._graph)
        if isinstance(request, Fault):
            if request.kind != TRANSPORT:
                trail.unsent(**self._verdict(request, row))
            return self._noted(request, row, told)
        if not trail.begin(row["body_sha256"]):
            return None
        answer = request.send(self._api, self._blog.name)
        if isinstance(answer, Answer):
            self._arrived(answer, request, trail, told)
            return None
        if answer.kind == TRANSPORT:
            # It may be there: the row stays open until somebody has looked.
            told.open += 1
        else:
            trail.end("error", **self._verdict(answer, row))
        return self._noted(answer, row, told)

    def _arrived(self, answer: Answer, request: Request, trail: Trail, told: Delivered) -> None:
        if answer.post_id is None:
            # Taken, but nobody knows by which name.
            told.open += 1
            return
        trail.end("done", remote_id=answer.post_id, remote_state=request.state)
        told.sent += 1

    def _verdict(self, fault: Fault, row: Row) -> dict[str, Any]:
        """Error and time of the next try, as the log has them."""
        now = self._clock()
        waits = {
            LIMIT: fault.not_before,
            POST_LIMIT: reset_at(now),
            QUEUE_FULL: row["publish_at"] if is_queued(row, now) else reset_at(now),
            AUTH: now + KEY_REST,
        }
        # A blog that lets nobody reblog it, or not us, does so whatever the key.
        refused = fault.kind == AUTH and fault.status == 403 and row["kind"] in ("reblog", "reply_post")
        kind = BAD_CONTENT if refused else fault.kind
        return {"error_class": kind, "not_before": waits.get(kind)}

    def _noted(self, fault: Fault, row: Row, told: Delivered) -> Fault:
        told.heard(fault, row["outbox_id"])
        if fault.kind in FAILURES:
            now = self._clock()
            run = f"{row['outbox_id']}@{now.isoformat()}"
            with closing(Store(self._control)) as store:
                store.write(lambda c: breaker.record_failed_run(c, BREAKER, run, now, fault.kind, TRIP))
        return fault

    def _settle(self, rows: pl.DataFrame, told: Delivered) -> None:
        """Find out about posts that were being sent when nobody was told how it ended."""
        reports = DELIVERIES.read(self._control, outbox_id=rows["outbox_id"].to_list())
        begun = rows.filter(pl.col("outbox_id").is_in(reports["outbox_id"].unique().implode())).sort("outbox_id")
        trails = [
            (row, Trail.of(self._control, self._blog.name, row["outbox_id"], self._clock, reports))
            for row in begun.iter_rows(named=True)
        ]
        left_open = [(row, trail) for row, trail in trails if trail.unresolved]
        old = [(row, trail) for row, trail in left_open if trail.since <= self._clock() - SETTLE]
        told.open = len(left_open)
        if not old:
            return
        since = min(trail.since for _, trail in old)
        seen = look(self._api, self._blog.name, since)
        if isinstance(seen, Fault):
            told.heard(seen, "posts that may have been sent cannot be looked for")
            return
        known = set(self._reports(since).filter(pl.col("phase") == "done")["remote_id"])
        found = matched([sought(row, trail.since) for row, trail in old], seen.posts, known)
        for row, trail in old:
            there = found.get(row["outbox_id"])
            if there is None and not seen.complete:
                told.warnings.append(f"{row['outbox_id']}: not all posts could be looked through; it is not sent again")
                continue
            if there is not None:
                trail.end("done", remote_id=there.post_id, remote_state=there.state)
            else:
                trail.end("absent")
            told.settled += 1
            told.open -= 1


def _due(rows: pl.DataFrame, now: datetime) -> list[Row]:
    """What may be sent now: first what a person approved, then answers, then slots of the queue, in their order."""
    ready = rows.filter(
        pl.col("state").is_in(SENDABLE)
        & pl.col("body_npf").is_not_null()
        & (pl.col("not_before") <= now).fill_null(True)
    )
    order = ready.with_columns(
        (pl.col("state") != "approved").alias("later"),
        pl.col("kind").replace_strict(list(_ORDER), list(range(len(_ORDER)))).alias("rank"),
    )
    return list(order.sort("later", "rank", "publish_at", "day", "outbox_id").iter_rows(named=True))


def _fits(row: Row, room: _Room, now: datetime) -> bool:
    if is_queued(row, now):
        return room.queued > 0 and row["publish_at"] >= room.queue_from
    return room.published > 0


def _less(room: _Room, row: Row, now: datetime) -> _Room:
    if is_queued(row, now):
        return replace(room, queued=room.queued - 1)
    return replace(room, published=room.published - 1)


def arrivals(queued: pl.DataFrame, own: pl.DataFrame, now: datetime) -> list[dict[str, Any]]:
    """Entries of the log for posts of the queue that are out, under the ids that they have now.

    Args:
        queued: rows of `outbox`. own: `post_id`, `genesis_id` and `published_at` of the blog's posts.
    """
    out = own.filter(pl.col("published_at") <= now)
    names = pl.concat(
        [
            out.select(pl.col("post_id").alias("remote_id"), pl.col("post_id").alias("now_id"), "published_at"),
            out.select(pl.col("genesis_id").alias("remote_id"), pl.col("post_id").alias("now_id"), "published_at"),
        ]
    ).drop_nulls("remote_id")
    found = queued.join(names, on="remote_id").filter(pl.col("published_at") >= pl.col("publish_at") - SETTLE)
    return [
        {
            "delivery_id": f"{row['outbox_id']}-out-{row['now_id']}",
            "blog": row["blog"],
            "outbox_id": row["outbox_id"],
            "phase": "done",
            "body_sha256": row["body_sha256"],
            "remote_id": row["now_id"],
            "remote_state": "published",
            "at": now,
        }
        for row in found.sort("outbox_id", "now_id").unique("outbox_id", maintain_order=True).iter_rows(named=True)
    ]

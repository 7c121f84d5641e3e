"""Rows that an outbox is made of, complete and unremarkable unless told otherwise.

Belongs here: what the tests of outbox and reviews build. Does not belong here: tests.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from magpie.persona import tables as t
from magpie.persona.outbox import outbox_id
from magpie.persona.settings import Blog, Words
from magpie.tables import Table

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORDS = Words(hard_reject=("forbidden",))
BLOG = Blog(name="demo-blog", words=WORDS)
_FATE = {"status": "ok", **dict.fromkeys(("reason", "observed", "threshold", "not_before"))}


def frame(table: Table, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in table.dtypes} for row in rows], schema=table.dtypes)


def key(input_id: str = "ask:1", attempt: int = 1) -> str:
    return outbox_id(BLOG.name, input_id, attempt)


def decision(input_id: str = "ask:1", attempt: int = 1, route: str | None = "draft", **more: Any) -> dict[str, Any]:
    kind = {"orig": "original"}.get(input_id.split(":")[0], input_id.split(":")[0])
    place = {"blog": BLOG.name, "day": DAY, "input_id": input_id, "attempt": attempt, "kind": kind, "tick_ts": NOON}
    text = {
        "body": "A quiet <b>text</b>",
        "tags": ["calm", "ada"],
        "screen_hits": [],
        "n_candidates": 5,
        "n_retained": 4,
    }
    return {**_FATE, **place, **text, "route": route, "route_reason": "ml_flagged", "trace": "{}", **more}


def asked(input_id: str = "ask:1", **more: Any) -> dict[str, Any]:
    place = {"blog": BLOG.name, "day": DAY, "input_id": input_id, "kind": "ask", "prompt_kind": "answer"}
    return {
        **_FATE,
        **place,
        "from_blog": "ada",
        "post_id": "77",
        "text": "How are you?",
        "created_at": NOON,
        "cost": 1.0,
        "state": "done",
        "attempt": 1,
        "tick_ts": NOON,
        **more,
    }


def review(action: str, minute: int, outbox_id: str | None = None, **more: Any) -> dict[str, Any]:
    place = {"review_id": f"{action}{minute}", "blog": BLOG.name, "outbox_id": outbox_id or key(), "action": action}
    return {**place, "tags": [], "actor": "bea", "at": NOON + timedelta(minutes=minute), **more}


def report(phase: str, minute: int, outbox_id: str | None = None, **more: Any) -> dict[str, Any]:
    place = {"delivery_id": f"{phase}{minute}", "blog": BLOG.name, "outbox_id": outbox_id or key(), "phase": phase}
    return {**place, "at": NOON + timedelta(minutes=minute), **more}


POSTS = frame(t.TUMBLR_POSTS, {"post_id": "77", "author_blog": "cleo", "reblog_key": "k77"})

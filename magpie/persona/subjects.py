"""What the author reacts to in one attempt: the input with its texts and pictures, as writer and models read them.

Belongs here: joining an input with its thread, and the order of attempts. Does not belong here: which inputs there are
(`inputs.py`), the texts themselves (`documents.py`), writing and choosing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from typing import Any

import polars as pl

from magpie.persona.documents import Prompts, prompts_of, prompts_of_original, reply_part
from magpie.persona.munging import ImageText
from magpie.persona.planner import prompt_kind_of_original
from magpie.persona.settings import Blog, Tuning
from magpie.persona.threads import image_texts_of, parts_of_row

_TOLD = (
    *("blog", "day", "input_id", "kind", "prompt_kind", "created_at"),
    *("from_blog", "text", "post_id", "command"),
)
# What is decided first within one tick.
STEP_ORDER = {"reviews": 0, "asks": 1, "conversations": 2, "dash": 3, "originals": 4}


@dataclass(frozen=True)
class Subject:
    """One input.

    Attributes:
        created_at: when it came in; of an original its slot.
        text: what was said to the blog; None for an original.
        prompts: what writer and models read of it; asked_at: the moment whose date stands there.
        prompts_of: the same of another moment and kind of prompt.
        participants: names in the thread, in order.
        images: text, caption and whether it moves, of each picture in the thread.
        tags: of the thread's last post.
    """

    blog: str
    day: date
    input_id: str
    kind: str
    prompt_kind: str
    created_at: datetime
    from_blog: str | None
    text: str | None
    post_id: str | None
    command: str | None
    prompts: Prompts
    participants: tuple[str, ...]
    images: tuple[tuple[str, str | None, bool], ...]
    asked_at: datetime
    prompts_of: Callable[[datetime, str], Prompts] = field(compare=False, repr=False)
    tags: tuple[str, ...] = ()

    def asked(self, attempt: int, at: datetime) -> "Subject":
        """The input as an attempt reads it that was begun at a moment.

        What comes later changes nothing of what was asked then, so that what was paid for is found again.
        """
        original = self.kind == "original"
        kind = prompt_kind_of_original(self.blog, self.input_id, attempt) if original else self.prompt_kind
        if (at, kind) == (self.asked_at, self.prompt_kind):
            return self
        return replace(self, asked_at=at, prompt_kind=kind, prompts=self.prompts_of(at, kind))


@dataclass(frozen=True)
class Turn:
    """One attempt at an input, at the tick that admitted it; redos: the author's own tries before it."""

    subject: Subject
    attempt: int
    tick_ts: datetime
    step: str
    redos: int = 0


def turns_of(ticks: pl.DataFrame, subjects: Mapping[str, Subject]) -> dict[date, list[Turn]]:
    """Attempts by day of the input, each at its newest admission, in the order of ticks and of steps within one.

    An attempt that had to wait is admitted once more, and reads what it read at first. One that nobody asked for goes
    on from the author's own tries before it.

    Args:
        ticks: rows of `persona_ticks`; what no subject has is left out.
    """
    first = pl.col("tick_ts").min().alias("first")
    newest = ticks.group_by("input_id", "attempt").agg(pl.col("tick_ts", "step").sort_by("tick_ts").last(), first)
    begun: dict[str, tuple[int, datetime]] = {}
    found: dict[date, list[Turn]] = {}
    for row in newest.sort("input_id", "attempt").iter_rows(named=True):
        input_id, attempt = row["input_id"], row["attempt"]
        subject = subjects.get(input_id)
        if subject is None:
            continue
        if input_id not in begun or row["step"] == "reviews":
            begun[input_id] = attempt, row["first"]
        start, at = begun[input_id]
        turn = Turn(subject.asked(start, at), attempt, row["tick_ts"], row["step"], attempt - start)
        found.setdefault(subject.day, []).append(turn)
    return {day: sorted(turns, key=_order) for day, turns in sorted(found.items())}


def _order(turn: Turn) -> tuple[Any, ...]:
    subject = turn.subject
    return turn.tick_ts, STEP_ORDER[turn.step], subject.created_at, subject.input_id, turn.attempt


def subjects_of(
    inbox: pl.DataFrame, posts: pl.DataFrame, threads: pl.DataFrame, texts: pl.DataFrame, blog: Blog, tuning: Tuning
) -> dict[str, Subject]:
    """The admitted inputs by id.

    Args:
        inbox: rows of `persona_inbox` of some days; those that were never admitted are left out.
        posts, threads: of the blog, every post that an input names.
        texts: rows of `image_texts` of the blog.
    """
    payloads = dict(posts.select("post_id", "payload").iter_rows())
    said = {row["post_id"]: row for row in threads.select("post_id", "participants", "final_tags").to_dicts()}
    pictures = _pictures(threads, texts)
    words = image_texts_of(texts)
    found: dict[str, Subject] = {}
    for row in inbox.filter(pl.col("tick_ts").is_not_null()).iter_rows(named=True):
        post_id = row["post_id"]
        payload = payloads.get(post_id) if post_id else None
        if post_id and payload is None:
            continue  # deleted since
        prompts = partial(_prompts, row, payload, words, blog, tuning)
        thread = said.get(post_id, {"participants": (), "final_tags": ()})
        names = (*thread["participants"], *([row["from_blog"]] if row["from_blog"] else []))
        found[row["input_id"]] = Subject(
            **{name: row[name] for name in _TOLD},
            prompts=prompts(row["tick_ts"], row["prompt_kind"]),
            asked_at=row["tick_ts"],
            prompts_of=prompts,
            participants=tuple(dict.fromkeys(names)),
            images=tuple(pictures.get(post_id, ())),
            tags=tuple(thread["final_tags"]),
        )
    return found


def _prompts(
    row: Mapping[str, Any],
    payload: str | None,
    images: Mapping[str, ImageText],
    blog: Blog,
    tuning: Tuning,
    at: datetime,
    kind: str,
) -> Prompts:
    """What writer and models read of a row of the inbox; an original has no thread, and the date of its slot."""
    if payload is None:
        return prompts_of_original(blog.name, kind, row["created_at"], blog.zone, tuning.text_form)
    reply = row["kind"] == "reply"
    extra = (reply_part(row["from_blog"], row["text"], row["created_at"]),) if reply else ()
    parts = (*parts_of_row(payload), *extra)
    return prompts_of(parts, blog=blog.name, at=at, zone=blog.zone, form=tuning.text_form, images=images)


def _pictures(threads: pl.DataFrame, texts: pl.DataFrame) -> dict[str, list[tuple[str, str | None, bool]]]:
    known = {
        row["url"]: (row["text"] or "", row["caption"], bool(row["animated"]))
        for row in texts.filter(pl.col("status") == "ok").iter_rows(named=True)
    }
    rows: Iterable[tuple[str, Sequence[str]]] = threads.select("post_id", "image_urls").iter_rows()
    return {post_id: [known[url] for url in urls if url in known] for post_id, urls in rows}

"""A blog whose pages were fetched: two questions, a reblog, a reply, and everything that is made of them.

Belongs here: pages, and making the tables without an orchestrator. Does not belong here: tests.
"""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.lake import Lake
from magpie.llm.engine import Engine
from magpie.persona import tables as t
from magpie.persona.stages import Reader
from magpie.persona.studio import Studio
from magpie.settings import Settings
from magpie.tables import Partitions, Table

BLOG = "demo-blog"
DAY = date(2026, 3, 4)
# The blog's own post is of an earlier day, so that the offline writer has read it.
DAYS = (date(2026, 3, 2), DAY)
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 6, tzinfo=UTC)
SECRET = "zanzibarsecret"
GONE, KEPT, REBLOG, OWN = "71", "72", "73", "80"
PICTURE = "https://media.example/one.png"
SAID_AT = int(NOON.timestamp()) + 600
# One text for each input, so that tests are quick.
QUIET = {"name": BLOG, "originals": False, "tuning": {"n_answer": 1, "n_scale": 0}}
REPLY = f"reply:ada:{OWN}:{SAID_AT}"


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def post(number: str, author: str, *blocks: dict[str, Any], minute: int = 0, **more: Any) -> dict[str, Any]:
    base = {"id": int(number), "id_string": number, "blog_name": author, "blog": {"name": author, "title": SECRET}}
    return {**base, "timestamp": int(NOON.timestamp()) + 60 * minute, "content": list(blocks), "tags": [], **more}


def ask(number: str, text: str, *blocks: dict[str, Any], minute: int = 0) -> dict[str, Any]:
    return post(number, BLOG, said(text), *blocks, minute=minute, state="submission", asking_name="ada")


def pages(gone: str = SECRET) -> dict[str, Any]:
    """By path below the blog's folder."""
    image = {"type": "image", "media": [{"url": PICTURE, "width": 9, "height": 9}]}
    before = {
        "post": {"id": GONE, "timestamp": 1},
        "blog": {"name": BLOG},
        "content": [said(f"{gone} once more")],
        "layout": [],
    }
    reblogged = {"trail": [before], "reblogged_from_name": BLOG, "reblogged_from_id": OWN, "reblog_key": "k"}
    told = {"type": "reply", "timestamp": SAID_AT, "blog_name": "ada"}
    other = {"type": "reply", "timestamp": SAID_AT + 9, "blog_name": "cleo", "reply_text": "a kept word"}
    return {
        "asks/1.json": {
            "response": {
                "posts": [
                    ask(GONE, f"How is the {gone} going on today?", image),
                    ask(KEPT, "How is the moss going on?", minute=1),
                ]
            }
        },
        "posts/1.json": {"posts": [post(OWN, BLOG, said("The moss grows by the lamp."), minute=-2 * 24 * 60)]},
        "mentions/1.json": [post(REBLOG, "cleo", said("I like this a lot, thank you"), minute=5, **reblogged)],
        f"notes/{OWN}.json": {"notes": [{**told, "reply_text": f"{gone} it is"}, other]},
    }


class PagesWorld:
    """Home, settings and stages of one blog.

    Attributes:
        now: what the clock says.
    """

    def __init__(self, folder: Path, **blog: Any) -> None:
        told = {"home": folder / "home", "root": folder}
        persona = {"min_corpus": 1, "local_ocr": "off"}
        self.settings = Settings.model_validate(
            {**told, "start_day": DAYS[0], "persona": persona, "blogs": [{**QUIET, **blog}]}
        )
        self.blog = self.settings.blogs[0]
        self.lake, self.control = Lake(self.settings.lake_root), Control(self.settings.control_database)
        self.blobs = Blobs(self.settings.blobs)
        self.now = LATER
        self.reader = Reader(self.settings, self.lake, self.control, self.blobs, None, lambda: self.now)
        for name, content in pages().items():
            self.page(name).parent.mkdir(parents=True, exist_ok=True)
            self.page(name).write_text(json.dumps(content), encoding="utf-8")

    def page(self, name: str) -> Path:
        return self.settings.live_blogs / BLOG / name

    def read(self, days: Sequence[date] = DAYS) -> None:
        """Make the tables as far as the inbox."""
        reader = self.reader
        self.lake.write(t.TUMBLR_FILES, reader.tumblr_files(), Partitions.whole())
        posts, replies = reader.tumblr_posts(self.blog, days), reader.tumblr_replies(self.blog, days)
        self.put(t.TUMBLR_POSTS, posts, days)
        self.put(t.TUMBLR_REPLIES, replies, days)
        threads = reader.threads(self.blog, posts)
        self.put(t.THREADS, threads, days)
        self.put(t.PERSONA_INBOX, reader.persona_inbox(self.blog, days, posts, replies, threads), days)

    def write(self, engine: Engine, days: Sequence[date] = DAYS) -> None:
        """Make the tables from the texts to the outbox."""
        inbox = self.rows(t.PERSONA_INBOX)
        studio = Studio(self.reader, engine, "run", lambda state: None)
        for name, rows in studio.authored(self.blog, days, inbox).items():
            self.put(next(table for table in t.AUTHORED if table.name == name), rows, days)
        made = self.reader.outbox(self.blog, days, self.rows(t.DECISIONS), inbox)
        self.put(t.OUTBOX, made, days)

    def put(self, table: Table, rows: Any, days: Sequence[date] = DAYS) -> None:
        self.lake.write(table, rows, Partitions.of([(BLOG, day) for day in days]))

    def rows(self, table: Table) -> Any:
        return self.lake.read(table).collect()

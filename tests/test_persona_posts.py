"""Posts and replies of a blog: the newest word wins, whichever days are made together."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from magpie.errors import UserError
from magpie.persona.posts import reply_key, tumblr_posts, tumblr_replies
from magpie.persona.settings import Blog
from magpie.persona.tables import TUMBLR_FILES, TUMBLR_POSTS, TUMBLR_REPLIES
from magpie.sources.tumblr_npf import ANONYMOUS, parts_of
from magpie.sources.tumblr_pages import Reply

DAY = date(2025, 11, 20)
AT = datetime(2025, 11, 20, 21, tzinfo=UTC)
NOW = AT + timedelta(days=30)
BLOG = Blog(name="demo-blog")


def post(number: int, at: datetime = AT, blog: str = "demo-blog", **more: Any) -> dict[str, Any]:
    return {"id": number, "blog_name": blog, "timestamp": int(at.timestamp()), "content": [], **more}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


class Archive:
    """Pages in memory, with the table that lists them."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.rows: list[dict[str, Any]] = []

    def add(self, kind: str, name: str, items: list[dict[str, Any]], modified: int = 1, blog: str = "demo-blog") -> str:
        name = f"archive/{blog}/{kind}/{name}"
        moments = [datetime.fromtimestamp(item["timestamp"], UTC).date() for item in items]
        self.contents[name] = json.dumps(items).encode()
        self.rows.append(
            {
                "source_file": name,
                "blog": blog,
                "kind": kind,
                "bytes": len(self.contents[name]),
                "modified_ns": modified,
                "sha256": hashlib.sha256(self.contents[name]).hexdigest(),
                "items": len(items),
                "bad_items": 0,
                "first_day": min(moments),
                "last_day": max(moments),
                "status": "ok",
            }
        )
        return name

    @property
    def files(self) -> pl.DataFrame:
        return TUMBLR_FILES.shaped(pl.DataFrame(self.rows, schema=TUMBLR_FILES.dtypes))

    def posts(self, *days: date, deleted: Iterable[str] = (), now: datetime = NOW) -> pl.DataFrame:
        made = tumblr_posts(self.files, BLOG, days or (DAY,), self.contents.__getitem__, set(deleted), now)
        return TUMBLR_POSTS.schema.validate(made)

    def replies(self, *days: date, deleted: Iterable[str] = ()) -> pl.DataFrame:
        made = tumblr_replies(self.files, BLOG, days or (DAY,), self.contents.__getitem__, set(deleted), NOW)
        return TUMBLR_REPLIES.schema.validate(made)


def trail(blog: str, number: int, words: str = "hi") -> dict[str, Any]:
    return {"post": {"id": str(number)}, "blog": {"name": blog}, "content": [text(words)]}


def test_the_newest_page_has_the_last_word_and_of_equally_new_ones_the_last_by_name() -> None:
    archive = Archive()
    archive.add("posts", "c.json", [post(1, note_count=1), post(2, note_count=1)], modified=1)
    archive.add("posts", "b.json", [post(1, note_count=2)], modified=5)
    archive.add("posts", "a.json", [post(1, note_count=3)], modified=5)
    archive.rows.reverse()
    made = archive.posts()
    assert made.select("post_id", "note_count").rows() == [("1", 2), ("2", 1)]
    assert made["source_file"].to_list() == ["archive/demo-blog/posts/b.json", "archive/demo-blog/posts/c.json"]


def test_days_made_together_or_alone_hold_the_same_rows() -> None:
    archive = Archive()
    next_day = DAY + timedelta(days=1)
    archive.add("asks", "old.json", [post(1, state="submission", content=[text("why?")])], modified=1)
    archive.add("posts", "new.json", [post(1, AT + timedelta(days=1)), post(2)], modified=2)
    together = archive.posts(DAY, next_day)
    alone = pl.concat([archive.posts(DAY), archive.posts(next_day)]).sort(TUMBLR_POSTS.sort_by)
    assert together.equals(alone)
    assert together.select("day", "post_id", "role").rows() == [
        (DAY, "1", "ask"),
        (DAY, "2", "own"),
        (next_day, "1", "own"),
    ]
    assert archive.posts(date(2020, 1, 1)).is_empty()


def test_a_row_holds_what_the_post_says_and_its_thread() -> None:
    archive = Archive()
    said = post(1, blog="ada", reblogged_from_name="demo-blog", reblogged_from_id=9, reblog_key="k1", tags=["#x"])
    archive.add("mentions", "a.json", [said | {"trail": [trail("demo-blog", 9)], "content": [text("nice")]}])
    (row,) = archive.posts().iter_rows(named=True)
    assert (row["author_blog"], row["role"]) == ("ada", "reblog")
    assert (row["parent_blog"], row["parent_post_id"]) == ("demo-blog", "9")
    assert (row["reblog_key"], row["tags"], row["published_at"], row["status"]) == ("k1", ["x"], AT, "ok")
    assert [part.author for part in parts_of(row["payload"])] == ["demo-blog", "ada"]
    assert row["payload_sha256"] == hashlib.sha256(row["payload"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "more", "role"),
    [
        ("posts", {}, "own"),
        ("asks", {}, "ask"),
        ("posts", {"state": "submission"}, "ask"),
        ("mentions", {"blog_name": "ada"}, "mention"),
        ("mentions", {"blog_name": "ada", "reblogged_from_name": "demo-blog"}, "reblog"),
        ("mentions", {"blog_name": "ada", "trail": [trail("bea", 8), trail("demo-blog", 9)]}, "reblog"),
        ("mentions", {"blog_name": "ada", "trail": [trail("demo-blog", 8), trail("bea", 9)]}, "mention"),
        ("dash", {"blog_name": "ada", "reblogged_from_name": "demo-blog"}, "dash"),
        ("dash", {}, "own"),
    ],
)
def test_a_post_has_one_role_for_the_blog(kind: str, more: dict[str, Any], role: str) -> None:
    archive = Archive()
    archive.add(kind, "a.json", [post(1) | more])
    assert archive.posts()["role"].to_list() == [role]


def test_an_answer_to_the_blog_that_is_on_its_dashboard_too_stays_an_answer() -> None:
    archive = Archive()
    reblog = post(1, blog="ada", reblogged_from_name="demo-blog")
    archive.add("mentions", "a.json", [reblog], modified=1)
    archive.add("dash", "b.json", [reblog], modified=2)
    assert archive.posts()["role"].to_list() == ["reblog"]


def test_a_question_without_a_name_is_anonymous() -> None:
    archive = Archive()
    named = {"type": "ask", "blocks": [0], "attribution": {"blog": {"name": "ada"}}}
    asks = [post(number, state="submission", content=[text("why?")]) for number in (1, 2)]
    archive.add("asks", "a.json", [asks[0], asks[1] | {"layout": [named]}])
    assert archive.posts()["asking_blog"].to_list() == [ANONYMOUS, "ada"]


def test_of_a_deleted_post_no_word_is_left() -> None:
    archive = Archive()
    archive.add(
        "asks", "a.json", [post(1, state="submission", content=[text("secret")], tags=["t"], asking_name="ada")]
    )
    (row,) = archive.posts(deleted=["1"]).iter_rows(named=True)
    assert (row["status"], row["reason"], row["payload"], row["payload_sha256"]) == ("rejected", "deleted", None, None)
    assert (row["tags"], row["asking_blog"], row["post_id"]) == ([], None, "1")


def test_a_post_from_before_tumblr_or_from_the_future_is_rejected_and_a_queued_one_is_not() -> None:
    archive = Archive()
    early = datetime(2006, 5, 1, tzinfo=UTC)
    archive.add("posts", "a.json", [post(1, early), post(2), post(3, state="queue")])
    now = AT - timedelta(hours=1)
    fates = {row["post_id"]: row for row in archive.posts(early.date(), DAY, now=now).iter_rows(named=True)}
    assert (fates["1"]["reason"], fates["1"]["threshold"]) == ("bad_time", "2007-01-01")
    assert (fates["2"]["reason"], fates["2"]["observed"]) == ("bad_time", AT.isoformat())
    assert fates["3"]["status"] == "ok"


def test_files_of_others_or_of_no_use_are_not_opened() -> None:
    archive = Archive()
    archive.add("posts", "a.json", [post(1)], blog="other")
    archive.rows.append(archive.rows[0] | {"blog": "demo-blog", "status": "failed", "reason": "json_parse"})
    archive.contents.clear()
    assert archive.posts().is_empty()
    assert archive.replies().is_empty()


def test_a_file_that_changed_since_it_was_listed_stops_the_run_with_what_to_do() -> None:
    archive = Archive()
    name = archive.add("posts", "a.json", [post(1)])
    archive.contents[name] += b" "
    with pytest.raises(UserError, match="has changed since it was listed; make tumblr_files anew"):
        archive.posts()


def reply(at: float, **more: Any) -> dict[str, Any]:
    return {"type": "reply", "timestamp": AT.timestamp() + at, "blog_name": "ada", "reply_text": "hi", **more}


def test_replies_are_kept_once_each_from_the_newest_page() -> None:
    archive = Archive()
    reblog = {"type": "reblog", "timestamp": AT.timestamp() - 5, "blog_name": "bea"}
    archive.add("notes", "9-b.json", [reply(0), reply(1)], modified=1)
    archive.add("notes", "9-a.json", [reply(0, reply_text="hi!", followed=True), reblog], modified=2)
    assert archive.replies().select("post_id", "from_blog", "text", "followed", "reblogs_before").rows() == [
        ("9", "ada", "hi!", True, 1),
        ("9", "ada", "hi", False, 0),
    ]
    assert archive.replies(DAY + timedelta(days=1)).is_empty()


def test_a_reply_goes_with_its_post_or_alone() -> None:
    archive = Archive()
    archive.add("notes", "9.json", [reply(0), reply(1.5)])
    kept = Reply("9", "ada", AT, "hi", False, 0)
    assert reply_key(kept) == f"reply:ada:9:{int(AT.timestamp())}"
    half = f"reply:ada:9:{int(AT.timestamp()) + 1}.500000"
    assert archive.replies(deleted=[half]).select("text", "reason").rows() == [("hi", None), (None, "deleted")]
    assert archive.replies(deleted=["9"])["text"].to_list() == [None, None]

"""Inputs: what the author could react to, and for which reason each of the others is left."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.commands import command_of, prompt_kind_of
from magpie.persona.inputs import inputs
from magpie.persona.settings import Blog
from magpie.persona.tables import PERSONA_INBOX, THREADS, TUMBLR_POSTS, TUMBLR_REPLIES, PersonaInbox

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
BLOG = Blog(
    name="demo-blog", follows=("friend",), frequent=("regular",), avoid=("troll",), dash_tags=("demo-blog pls",)
)
OWN = {"post_id": pl.String, "published_at": pl.Datetime("us", "UTC"), "parent_post_id": pl.String}
OWN_POST = {"post_id": "900", "published_at": AT - timedelta(hours=1), "parent_post_id": None, "genesis_id": None}


def post(post_id: str, role: str, **values: Any) -> dict[str, Any]:
    at = values.get("published_at", AT)
    row = {"blog": BLOG.name, "day": at.date(), "post_id": post_id, "author_blog": "ada", "role": role}
    row |= {"post_state": "published", "published_at": at, "tags": [], "note_count": 3, "payload": "{}"}
    row |= {"source_file": "posts/1.json", "status": "ok"}
    row |= {"asking_blog": "ada", "author_blog": BLOG.name} if role == "ask" else {}
    row |= {"parent_blog": BLOG.name, "parent_post_id": "900"} if role == "reblog" else {}
    return row | values


def thread(post_id: str, body: str = "what do you think of rain", **values: Any) -> dict[str, Any]:
    row = {"blog": BLOG.name, "day": AT.date(), "post_id": post_id, "n_posts": 1, "participants": ["ada"]}
    row |= {"has_ask": False, "final_author": "ada", "html": f"<p>{body}</p>", "final_body": body, "final_tags": []}
    row |= {"n_words_final": len(body.split()), "n_images": 0, "image_urls": [], "has_video": False}
    return row | {"has_text": bool(body.strip()), "truncated": False, "form": "2023", "status": "ok"} | values


def reply(**values: Any) -> dict[str, Any]:
    row = {"blog": BLOG.name, "day": AT.date(), "post_id": "900", "from_blog": "bob", "at": AT}
    row |= {"text": "I would rather have snow", "followed": False, "reblogs_before": 0}
    return row | {"source_file": "notes/900.json", "status": "ok"} | values


OWN_THREAD = thread("900", participants=[BLOG.name], final_author=BLOG.name)


def made(
    posts: list[dict[str, Any]],
    threads: list[dict[str, Any]],
    replies: list[dict[str, Any]] | None = None,
    own: list[dict[str, Any]] | None = None,
    blog: Blog = BLOG,
) -> pl.DataFrame:
    found = inputs(
        pl.DataFrame(posts, schema=TUMBLR_POSTS.dtypes),
        pl.DataFrame(threads, schema=THREADS.dtypes),
        pl.DataFrame(replies or [], schema=TUMBLR_REPLIES.dtypes),
        pl.DataFrame([OWN_POST] if own is None else own, schema=OWN | {"genesis_id": pl.String}),
        blog,
    )
    PersonaInbox.validate(found)
    return found


def one(role: str, body: str = "what do you think of rain", blog: Blog = BLOG, **values: Any) -> dict[str, Any]:
    """The row of one post; values go to its thread where that has such a column, else to the post."""
    held = {
        name: value for name, value in values.items() if name in THREADS.dtypes and name not in ("status", "reason")
    }
    rest = {name: value for name, value in values.items() if name not in held}
    threads = [thread("1", body, **held), OWN_THREAD]
    return made([post("1", role, **rest)], threads, blog=blog).row(0, named=True)


def of_reply(text: str | None = "I would rather have snow", blog: Blog = BLOG, **values: Any) -> dict[str, Any]:
    return made([], [OWN_THREAD], [reply(text=text, **values)], blog=blog).row(0, named=True)


def fate(row: dict[str, Any]) -> tuple[str, str | None, str | None, str | None]:
    return row["state"], row["reason"], row["observed"], row["threshold"]


def test_an_ask_is_received_with_its_words_and_who_asked() -> None:
    row = one("ask", asking_blog="ada")
    assert row["input_id"] == "ask:1"
    assert (row["kind"], row["from_blog"], row["post_id"]) == ("ask", "ada", "1")
    assert (row["text"], row["created_at"], row["prompt_kind"]) == ("what do you think of rain", AT, "answer")
    assert (row["cost"], row["command"], row["attempt"], row["tick_ts"]) == (None, None, 1, None)
    assert fate(row) == ("received", "waiting", None, None)
    assert row["status"] == "pending"
    assert one("ask", asking_blog=None)["from_blog"] == "Anonymous"


@pytest.mark.parametrize(
    ("body", "values", "expected"),
    [
        ("rain", {}, ("ignored", "too_short", "1", "2")),
        ("!rain", {}, ("received", "waiting", None, None)),
        ("", {}, ("ignored", "no_text", "0", "1")),
        ("a rain of pictures", {"n_images": 6}, ("ignored", "too_many_images", "6", "5")),
        ("a few pictures", {"n_images": 5}, ("received", "waiting", None, None)),
        ("let me in", {"asking_blog": "Troll"}, ("ignored", "avoided_user", "troll", "not avoided")),
    ],
)
def test_an_ask_is_ignored_if_it_is_short_wordless_full_of_pictures_or_from_someone_avoided(
    body: str, values: dict[str, Any], expected: tuple[str, str | None, str | None, str | None]
) -> None:
    assert fate(one("ask", body, **values)) == expected


def test_an_ask_that_stands_answered_on_the_blog_is_handled() -> None:
    for own in ({**OWN_POST, "post_id": "1"}, {**OWN_POST, "genesis_id": "1"}):
        found = made([post("1", "ask")], [thread("1")], own=[own])
        assert found["reason"].to_list() == ["handled"]


def test_an_answered_ask_keeps_its_one_row_though_its_thread_stands_on_two_days() -> None:
    later = thread("1", "the answer", day=AT.date() + timedelta(days=1), participants=[BLOG.name])
    found = made([post("1", "ask")], [thread("1", "how are you today"), later], [reply(post_id="1")])
    assert found.select("input_id", "text").rows()[0] == ("ask:1", "how are you today")
    assert found.height == 2


def test_commands_and_stories_are_known() -> None:
    command = one("ask", " !Mood ")
    assert (command["command"], command["state"]) == ("!mood", "received")
    assert one("ask", "Tell me a story about rain")["prompt_kind"] == "fiction"
    assert one("reblog", "Tell me a story about rain")["prompt_kind"] == "answer"


@pytest.mark.parametrize(
    "text",
    [
        "tell me a story",
        "Hello! Write a fic where the moon is late.",
        "could you tell us another bedtime story",
        "please write me some fanfiction",
        "I'd like you to write a short, sad drabble",
        "hi, spin me a tale",
        "WRITE A STORY",
    ],
)
def test_a_request_for_a_story_is_one_however_it_is_put(text: str) -> None:
    assert prompt_kind_of(text) == "fiction"


@pytest.mark.parametrize(
    "text",
    ["I want to write a story", "what a story", "tell me about your day", "write me a historical essay", "", None],
)
def test_other_words_about_stories_are_not_requests(text: str | None) -> None:
    assert prompt_kind_of(text) == "answer"


@given(st.text())
def test_no_text_breaks_the_reading_of_commands(text: str) -> None:
    assert prompt_kind_of(text) in ("answer", "fiction")
    assert command_of(text) in (None, "!mood")


@pytest.mark.parametrize(("text", "found"), [("!mood", "!mood"), ("!mood please", None), ("!review", None)])
def test_a_command_is_the_whole_ask(text: str, found: str | None) -> None:
    assert command_of(text) == found


def test_a_reblog_has_an_id_with_its_blog_and_the_cost_of_its_thread() -> None:
    row = one("reblog", " ".join(["word"] * 20), n_posts=3, participants=["demo-blog", "ada"])
    assert (row["input_id"], row["from_blog"], row["cost"]) == ("reblog:ada:1", "ada", 1.0)
    assert row["state"] == "received"


@pytest.mark.parametrize(
    ("body", "values", "reason", "observed"),
    [
        ("so true my friend", {"parent_blog": "carol"}, "not_parent", "carol"),
        (" ", {}, "no_comment", "0"),
        ("so true my friend", {"participants": ["demo-blog", "Troll", "ada"]}, "avoided_user", "troll"),
        ("yes", {"n_posts": 2}, "costs_too_much", "17.9"),
        ("so true my friend", {"final_tags": ["year in review"]}, "costs_too_much", "15.6"),
        ("so true my friend", {"parent_blog": None}, "waiting", None),
    ],
)
def test_a_reblog_counts_only_with_a_comment_below_the_blog_among_people_who_are_not_avoided(
    body: str, values: dict[str, Any], reason: str, observed: str | None
) -> None:
    row = one("reblog", body, **values)
    assert (row["reason"], row["observed"]) == (reason, observed)


def test_the_blogs_own_reblog_marks_what_it_reblogged_as_handled() -> None:
    own = [OWN_POST, {**OWN_POST, "post_id": "901", "parent_post_id": "1"}]
    rows = made([post("1", "reblog"), post("2", "reblog")], [thread("1"), thread("2")], own=own)
    assert dict(rows.select("post_id", "reason").iter_rows()) == {"1": "handled", "2": "waiting"}


def test_a_reblog_of_an_old_post_or_of_one_with_many_after_it_comes_too_late() -> None:
    posts, threads = [post("1", "reblog")], [thread("1")]
    week = {**OWN_POST, "published_at": AT - timedelta(hours=168)}
    assert made(posts, threads, own=[week])["state"].to_list() == ["received"]
    older = {**OWN_POST, "published_at": AT - timedelta(hours=169)}
    assert fate(made(posts, threads, own=[older]).row(0, named=True)) == ("ignored", "old", "169 h", "168 h")

    def followers(count: int) -> list[dict[str, Any]]:
        return [OWN_POST, *({**OWN_POST, "post_id": f"b{n}", "published_at": AT} for n in range(count))]

    assert made(posts, threads, own=followers(249))["state"].to_list() == ["received"]
    row = made(posts, threads, own=followers(250)).row(0, named=True)
    assert fate(row) == ("ignored", "old", "250 posts", "250 posts")


def test_what_the_blog_posts_later_makes_no_input_old() -> None:
    later = [{**OWN_POST, "post_id": f"b{n}", "published_at": AT + timedelta(hours=1)} for n in range(300)]
    assert made([post("1", "reblog")], [thread("1")], own=[OWN_POST, *later])["state"].to_list() == ["received"]


@pytest.mark.parametrize(
    ("text", "values", "reason"),
    [
        ("I would rather have snow", {}, "waiting"),
        ("I would rather have snow", {"reblogs_before": 1}, "not_ours"),
        ("I would rather have snow", {"reblogs_before": 1, "followed": True}, "waiting"),
        ("I would rather have snow", {"reblogs_before": 1, "from_blog": "Friend"}, "waiting"),
        ("I would rather have snow", {"reblogs_before": 1, "from_blog": "regular"}, "waiting"),
        ("@demo-blog I would rather have snow", {"reblogs_before": 1}, "waiting"),
        ("@Carol look at this rain", {}, "names_other"),
        ("@carol look at this rain", {"reblogs_before": 1}, "not_ours"),
        ("I would rather have snow", {"from_blog": "troll"}, "avoided_user"),
        ("I would rather have snow", {"post_id": "12345"}, "unreadable"),
        ("hm", {}, "costs_too_much"),
    ],
)
def test_a_reply_counts_if_it_is_for_the_author_and_names_nobody_else(
    text: str, values: dict[str, Any], reason: str
) -> None:
    assert of_reply(text, **values)["reason"] == reason


def test_a_reply_below_a_post_that_others_began_needs_a_friend() -> None:
    threads = [thread("900", participants=["carol", BLOG.name])]
    assert made([], threads, [reply()])["reason"].to_list() == ["not_ours"]
    assert made([], threads, [reply(followed=True)])["reason"].to_list() == ["waiting"]


def test_a_reply_is_a_post_of_its_thread_and_named_by_its_second() -> None:
    row = of_reply("I would rather have snow")
    assert row["cost"] == pytest.approx(2 - 0.5)
    assert row["input_id"] == f"reply:bob:900:{int(AT.timestamp())}"
    assert (row["post_id"], row["text"]) == ("900", "I would rather have snow")


def test_two_replies_in_one_second_and_within_it_are_two_inputs() -> None:
    replies = [reply(), reply(from_blog="carl"), reply(at=AT + timedelta(microseconds=500))]
    found = made([], [OWN_THREAD], replies)
    assert found["input_id"].n_unique() == 3


def test_a_mention_needs_words_and_no_parent() -> None:
    row = one("mention", "@demo-blog what is this about then", parent_blog="carol")
    assert (row["input_id"], row["state"]) == ("mention:ada:1", "received")
    assert one("mention", "")["reason"] == "no_text"


@pytest.mark.parametrize(
    ("body", "values", "reason"),
    [
        ("a walk in the rain", {}, "waiting"),
        ("a walk in the rain", {"participants": ["friend", "demo-blog"]}, "in_trail"),
        ("a walk in the rain", {"has_video": True}, "video"),
        ("a walk in the rain", {"n_images": 11}, "too_many_images"),
        ("a walk in the rain", {"participants": ["friend", "troll"]}, "avoided_user"),
        ("a walk in the rain", {"final_tags": ["Troll"]}, "avoided_tag"),
        ("", {"html": "<article> <img src='a'/></article>"}, "no_text"),
        ("", {"html": "<p>only the post below</p>", "note_count": 1500}, "many_notes"),
        ("", {"html": "<p>only the post below</p>", "note_count": 1499}, "waiting"),
        ("a walk in the rain", {"note_count": 99_999}, "waiting"),
        ("a walk in the rain", {"participants": ["stranger", "friend"]}, "not_followed"),
        ("rain", {}, "length"),
        ("rain", {"final_tags": ["Demo-Blog pls"]}, "waiting"),
        ("r" * 10_001, {}, "length"),
    ],
)
def test_a_post_of_the_dashboard_is_ignored_for_its_first_fault(body: str, values: dict[str, Any], reason: str) -> None:
    row = one("dash", body, **{"author_blog": "friend", "participants": ["friend"], **values})
    assert row["reason"] == reason
    assert row["cost"] is None


def test_a_post_without_a_comment_is_read_by_what_stands_below() -> None:
    row = one("dash", "", participants=["friend"], html="<p>Snow &amp; <b>rain</b></p>")
    assert row["text"] == "Snow &  rain"


def test_a_deleted_input_keeps_its_id_and_loses_its_words() -> None:
    gone = {"status": "rejected", "reason": "deleted", "observed": "1", "payload": None}
    rows = made([post("1", "ask", **gone, asking_blog=None)], [], [reply(**gone | {"text": None}) | {"payload": None}])
    assert rows.select("input_id", "text", "state", "reason").rows() == [
        ("ask:1", None, "ignored", "deleted"),
        (f"reply:bob:900:{int(AT.timestamp())}", None, "ignored", "deleted"),
    ]
    assert rows.filter(pl.col("kind") == "ask")["from_blog"].to_list() == [None]


def test_a_post_of_a_wrong_time_and_a_thread_that_cannot_be_read_say_so() -> None:
    wrong = post("1", "ask", status="rejected", reason="bad_time", observed="1999", threshold="2007")
    assert fate(made([wrong], [thread("1")]).row(0, named=True)) == ("ignored", "bad_time", "1999", "2007")
    failed = thread("1", status="failed", reason="npf_parse", final_body=None, html=None, participants=[])
    row = made([post("1", "reblog")], [failed]).row(0, named=True)
    assert fate(row) == ("ignored", "unreadable", "npf_parse", "ok")
    assert made([post("1", "dash")], [])["observed"].to_list() == ["no thread"]


def test_own_posts_are_no_inputs_and_a_blog_without_any_has_an_empty_inbox() -> None:
    assert made([post("1", "own")], [thread("1")], own=[]).is_empty()
    assert made([], [], own=[]).schema == PERSONA_INBOX.dtypes


def test_neither_the_order_of_rows_nor_the_days_made_at_once_change_anything() -> None:
    posts = [post(str(n), role) for n, role in enumerate(("ask", "reblog", "mention", "dash") * 3, 1)]
    threads = [OWN_THREAD, *(thread(str(n), participants=["friend"]) for n in range(1, 13))]
    replies = [reply(from_blog=name) for name in ("bob", "carl", "troll")]
    whole = made(posts, threads, replies)
    assert whole.equals(made(posts[::-1], threads[::-1], replies[::-1]))
    parts = pl.concat([made(posts[:5], threads, replies), made(posts[5:], threads)]).sort("created_at", "input_id")
    assert whole.equals(parts)

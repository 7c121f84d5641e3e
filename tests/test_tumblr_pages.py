"""Pages of Tumblr: one bad item costs itself alone, and a file that is no page says why."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.sources import tumblr_pages
from magpie.sources.tumblr_pages import PageError, Reply, notes_in, posts_in, read_notes, read_posts

AT = 1763672400
REAL = Path(__file__).parents[2] / "shared" / "data" / "tumblr"


def post(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "blog_name": "demo-blog", "timestamp": AT + number, "content": [], **more}


def reason(content: bytes, name: str | None = None) -> str:
    with pytest.raises(PageError) as error:
        posts_in(content) if name is None else notes_in(content, name)
    assert "\n" not in error.value.detail
    return error.value.reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"posts": x}, lambda x: {"response": {"posts": x}}])
def test_a_page_is_read_in_each_of_its_forms(tmp_path: Path, wrap: Any, encoding: str) -> None:
    path = tmp_path / "page.json"
    path.write_text(json.dumps(wrap([post(1), post(2)])), encoding)
    page = read_posts(path)
    assert ([found.post_id for found in page.posts], page.bad, page.bad_example) == (["1", "2"], 0, None)


def test_one_bad_post_never_loses_the_page() -> None:
    huge = f'{{"id": {"9" * 5000}, "blog_name": "a"}}'
    nan = '{"id": 4, "blog_name": "a", "timestamp": 1763672400, "content": [NaN]}'
    content = f"[{json.dumps(post(1))}, null, {huge}, {nan}, {json.dumps(post(3))}]"
    page = posts_in(content.encode())
    assert [found.post_id for found in page.posts] == ["1", "3"]
    assert (page.bad, page.bad_example) == (3, "posts[1]: a post must be an object, this is NoneType")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "json_parse"),
        (b'{"posts": [', "json_parse"),
        (b"[" * 100_000, "json_parse"),
        (b'[{"a": "\xff"}]', "not_utf8"),
        (b"{}", "no_posts"),
        (b'"x"', "no_posts"),
        (b'{"response": {"posts": {"id": 1}}}', "no_posts"),
        (b'{"meta": {"status": 401}, "response": []}', None),
    ],
)
def test_what_is_no_page_says_why(content: bytes, expected: str | None) -> None:
    if expected is None:
        assert posts_in(content).posts == ()
    else:
        assert reason(content) == expected


def test_a_file_that_is_too_large_or_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tumblr_pages, "MAX_BYTES", 10)
    path = tmp_path / "1.json"
    path.write_text("[" + " " * 20 + "]")
    for read, file, expected in ((read_posts, path, "too_large"), (read_notes, tmp_path / "2.json", "unreadable")):
        with pytest.raises(PageError) as error:
            read(file)
        assert error.value.reason == expected
        assert str(tmp_path) not in str(error.value)


def test_replies_know_who_wrote_them_when_and_how_many_reblogs_came_before() -> None:
    notes = [
        {"type": "reply", "timestamp": AT + 9, "blog_name": "Ada", "reply_text": " nice ", "followed": True},
        {"type": "reblog", "timestamp": AT + 5, "blog_name": "bea"},
        {"type": "like", "timestamp": AT + 1, "blog_name": "cid"},
        {"type": "reply", "timestamp": str(AT), "blog_name": "dan", "formatting": [{"type": "text", "text": "me"}]},
        {"type": "reply", "timestamp": AT, "blog_name": "two words", "reply_text": "x"},
        {"type": "reblog", "timestamp": None},
        3,
    ]
    page = notes_in(json.dumps({"response": {"notes": notes}}).encode(), "71.json")
    at = datetime(2025, 11, 20, 21, tzinfo=UTC)
    assert page.replies == (
        Reply("71", "dan", at, "me", False, 0),
        Reply("71", "ada", at.replace(second=9), "nice", True, 1),
    )
    assert (page.post_id, page.bad, page.bad_example) == ("71", 3, "notes[4]: it has no usable name of a blog")


def test_notes_are_called_by_their_post_and_may_come_in_several_files() -> None:
    assert notes_in(b"[]", "71-20251120T210000.json").post_id == "71"
    assert reason(b"[]", "notes.json") == "bad_name"
    assert reason(b'{"posts": []}', "71.json") == "no_notes"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(("reply", "reblog", "ada")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("type", "timestamp", "blog_name", "reply_text", "content")), inner)
    ),
    max_leaves=10,
)


@given(st.lists(json_values, max_size=4))
def test_of_any_list_of_notes_every_one_is_a_reply_bad_or_no_matter(notes: list[Any]) -> None:
    page = notes_in(json.dumps(notes).encode(), "1.json")
    assert len(page.replies) + page.bad <= len(notes)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_page_or_a_refusal(content: bytes) -> None:
    try:
        posts_in(content)
    except PageError as error:
        assert error.reason


@pytest.mark.skipif(not REAL.is_dir(), reason="no real answers of Tumblr beside this checkout")
@pytest.mark.parametrize("path", sorted(REAL.glob("*.json")), ids=lambda path: path.stem)
def test_real_pages_lose_no_post(path: Path) -> None:
    page = read_posts(path)
    assert (len(page.posts), page.bad) == (20, 0)

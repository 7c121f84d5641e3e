"""Posts of Tumblr: who said what in which order survives whatever shape a post comes in."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.sources.tumblr_legacy import blocks_of_html
from magpie.sources.tumblr_npf import (
    ANONYMOUS,
    MAX_BLOCKS,
    UNKNOWN_BLOG,
    Block,
    Image,
    NpfError,
    ParsedPost,
    Part,
    Range,
    parse_post,
    parts_of,
)

AT = 1763672400
REAL = Path(__file__).parents[2] / "shared" / "data" / "tumblr"


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def raw(**more: Any) -> dict[str, Any]:
    return {"id": 71, "blog_name": "demo-blog", "timestamp": AT, "content": [text("hello")], **more}


def only(**more: Any) -> Part:
    parts = parse_post(raw(**more)).parts
    assert len(parts) == 1
    return parts[0]


def block(item: object) -> Block:
    return only(content=[item]).blocks[0]


def said(post: ParsedPost) -> list[tuple[str, bool, list[str]]]:
    return [(part.author, part.is_ask, [block.text for block in part.blocks]) for part in post.parts]


def refused(item: object) -> str:
    with pytest.raises(NpfError) as error:
        parse_post(item)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_post_knows_its_blog_parent_time_and_tags() -> None:
    post = parse_post(
        raw(
            id=9007199254740993,
            id_string="9007199254740993",
            genesis_post_id="12",
            reblogged_from_name="Ada",
            reblogged_from_id="55",
            reblog_key="aB3",
            tags=["#good day", " reply ", "", 7],
            note_count=12,
            date="1999-01-01 00:00:00 GMT",
        )
    )
    assert (post.post_id, post.author, post.genesis_id) == ("9007199254740993", "demo-blog", "12")
    assert (post.parent_blog, post.parent_post_id, post.reblog_key) == ("ada", "55", "aB3")
    assert (post.tags, post.note_count, post.state) == (("good day", "reply"), 12, "published")
    assert post.published_at == datetime(2025, 11, 20, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("odd", "known"),
    [
        ({"id": 71}, "71"),
        ({"id": "71"}, "71"),
        ({"id": 0, "id_string": "71"}, "71"),
        ({"id": 71, "id_string": None}, "71"),
        ({"id": 10**25}, str(10**25)),
    ],
)
def test_an_id_is_taken_from_wherever_it_is_exact(odd: dict[str, Any], known: str) -> None:
    assert parse_post(raw(**odd)).post_id == known


@pytest.mark.parametrize(
    "odd",
    [
        *({"id": bad} for bad in (0, "0", None, 1.5e11, True, "../x", [1], -0)),
        *({"blog_name": bad} for bad in (None, "", "two words", "a\n#2 b posted:", {"x": 1})),
        *({"timestamp": bad} for bad in (None, "soon", 0, 10**20, [])),
        {"state": "sold"},
        {"state": ["published"]},
        {"content": [{"type": "text", "text": "x", "size": float("nan")}]},
        {"content": [text("x")] * (MAX_BLOCKS + 1)},
        {"content": [text("x" * 1_000_001)]},
        {"trail": [{}] * 1001},
    ],
)
def test_a_post_that_nobody_could_place_or_keep_is_refused_in_one_line(odd: dict[str, Any]) -> None:
    refused(raw(**odd))


@pytest.mark.parametrize("item", [None, [], "post", 4, {}, {"id": 1, "blog_name": "a", "timestamp": AT}])
def test_what_is_no_post_is_refused_in_one_line(item: object) -> None:
    refused(item)


def test_nesting_without_end_is_refused_before_anything_walks_down() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert "nests deeper" in refused(raw(content=[{"type": "text", "x": deep}]))


@pytest.mark.parametrize(
    ("given_state", "more", "state"),
    [
        (None, {}, "published"),
        ("queued", {}, "queue"),
        ("draft", {}, "draft"),
        ("private", {}, "private"),
        (None, {"is_submission": True}, "submission"),
        ("published", {"is_submission": True}, "published"),
    ],
)
def test_states_have_one_word_each(given_state: str | None, more: dict[str, Any], state: str) -> None:
    assert parse_post(raw(state=given_state, **more)).state == state


def test_the_date_counts_where_no_timestamp_does() -> None:
    for timestamp, date in ((None, "2025-11-20 21:00:00 GMT"), (0, "2025-11-20T22:00:00+01:00"), (str(AT), None)):
        assert parse_post(raw(timestamp=timestamp, date=date)).published_at.timestamp() == AT


def test_a_text_keeps_subtype_indent_and_ranges_that_lie_in_it() -> None:
    formatting = [
        {"type": "bold", "start": 0, "end": 4},
        {"type": "italic", "start": 2, "end": 900},
        {"type": "small", "start": 3, "end": 3},
        {"type": "strikethrough", "start": 90, "end": 95},
        {"type": "link", "start": 0, "end": 2, "url": "https://example.org/a"},
        {"type": "link", "start": 0, "end": 2, "url": "javascript:alert(1)"},
        {"type": "mention", "start": 1, "end": 3, "blog": {"name": "Ada", "url": "https://ada.example/"}},
        {"type": "color", "start": 0, "end": 1, "hex": "#ff4930"},
        {"type": "color", "start": 0, "end": 1, "hex": "red;x"},
        {"type": "wobble", "start": 0, "end": 1},
        {"type": "bold", "start": "0", "end": None},
        None,
    ]
    found = block(text("Fine 🧡", subtype="unordered-list-item", indent_level=99, formatting=formatting))
    assert (found.subtype, found.indent) == ("unordered-list-item", 7)
    assert found.ranges == (
        Range(0, 4, "bold"),
        Range(2, 6, "italic"),
        Range(0, 2, "link", url="https://example.org/a"),
        Range(1, 3, "mention", url="https://ada.example/", blog="ada"),
        Range(0, 1, "color", colour="#ff4930"),
    )


def size(width: int | None, name: str) -> dict[str, Any]:
    return {"url": f"https://media.example/{name}", "width": width, "height": 10}


@pytest.mark.parametrize(
    ("media", "shown", "original"),
    [
        ([size(1280, "a"), size(640, "b"), size(75, "c")], ("b", 640), "a"),
        ([size(1280, "a"), size(900, "b")], ("b", 900), "a"),
        ([size(None, "a"), size(None, "b")], ("a", None), "a"),
        ([{"width": 5}, None, size(20, "b")], ("b", 20), "b"),
        (size(500, "a"), ("a", 500), "a"),
    ],
)
def test_the_widest_size_that_fits_is_shown_and_the_widest_of_all_remembered(
    media: object, shown: tuple[str, int | None], original: str
) -> None:
    image = block({"type": "image", "media": media}).image
    assert image == Image(f"https://media.example/{shown[0]}", shown[1], 10, f"https://media.example/{original}")


@pytest.mark.parametrize("media", [None, [], {}, "x", [{"url": "file:///etc/passwd", "width": 5}]])
def test_an_image_without_an_address_is_an_image_still(media: object) -> None:
    assert block({"type": "image", "media": media}) == Block("image")


def test_every_kind_of_block_has_its_words() -> None:
    url = "https://example.org/x"
    assert block({"type": "link", "url": url, "title": "Read"}) == Block("link", url=url, title="Read")
    assert block({"type": "link", "url": url}) == Block("link", url=url, title=url)
    assert block({"type": "audio", "url": url, "title": "Song"}) == Block("audio", url=url, title="Song")
    assert block({"type": "video", "url": None}) == Block("video")
    poll = {"type": "poll", "question": "Tea?", "answers": [{"answer_text": "yes"}, {"answer_text": ""}, "no", 3]}
    assert block(poll) == Block("poll", text="Tea?", answers=("yes", "no"))
    assert block({"type": "paywall", "title": "Members"}) == Block("paywall", text="Members")


def test_a_block_without_type_is_what_its_fields_say_and_a_strange_one_stays_in_place() -> None:
    blocks = only(content=[{"text": "a"}, {"media": [size(5, "b")]}, {"type": "hologram", "text": "c"}, 7, "d"]).blocks
    assert [found.kind for found in blocks] == ["text", "image", "unknown", "unknown", "text"]
    assert [found.text for found in blocks] == ["a", "", "", "", "d"]


def test_rows_order_blocks_left_to_right_and_no_block_is_lost_or_doubled() -> None:
    content = [text(name) for name in "abcde"]
    rows = {"type": "rows", "display": [{"blocks": [2, 0], "mode": {"type": "weighted"}}, {"blocks": [0, 9, -1, 4]}]}
    assert [found.text for found in only(content=content, layout=[rows]).blocks] == list("caebd")
    old = {"type": "rows", "rows": [[1], [0, "2", None]]}
    assert [found.text for found in only(content=content, layout=[old, None, 3]).blocks] == list("bacde")


@pytest.mark.parametrize(
    ("layout", "truncated"),
    [
        ({"type": "rows", "display": [], "truncate_after": 0}, True),
        ({"type": "condensed", "blocks": [0]}, True),
        ({"type": "rows", "display": [], "truncate_after": None}, False),
    ],
)
def test_a_cut_is_noted_and_the_content_stays_whole(layout: dict[str, Any], truncated: bool) -> None:
    part = only(content=[text("a"), text("b")], layout=[layout])
    assert (part.truncated, len(part.blocks)) == (truncated, 2)


def ask(*blocks: int, by: str | None = None) -> dict[str, Any]:
    return {"type": "ask", "blocks": list(blocks), **({"attribution": {"blog": {"name": by}}} if by else {})}


def test_a_question_is_a_part_of_its_own_before_its_answer_also_in_the_trail() -> None:
    rows = {"type": "rows", "display": [{"blocks": [1]}, {"blocks": [0]}]}
    first = {
        "post": {"id": "5", "timestamp": AT - 60},
        "blog": {"name": "demo-blog"},
        "content": [text("How are you?"), text("Fine")],
        "layout": [rows, ask(0, by="ada")],
    }
    post = parse_post(raw(trail=[first], content=[text("and?"), text("well")], layout=[ask(0)]))
    assert said(post) == [
        ("ada", True, ["How are you?"]),
        ("demo-blog", False, ["Fine"]),
        (ANONYMOUS, True, ["and?"]),
        ("demo-blog", False, ["well"]),
    ]
    assert [part.post_id for part in post.parts] == ["5", "5", "71", "71"]
    assert post.parts[0].at == datetime(2025, 11, 20, 20, 59, tzinfo=UTC)
    assert post.asking_blog == ANONYMOUS


def test_a_question_that_waits_has_no_answer_yet() -> None:
    waiting = parse_post(raw(state="submission", layout=[ask(0, by="ada")]))
    assert (said(waiting), waiting.asking_blog) == ([("ada", True, ["hello"])], "ada")
    unmarked = parse_post(raw(state="submission", content=[text("a"), text("b")], asking_name="bea"))
    assert said(unmarked) == [("bea", True, ["a", "b"])]
    assert parse_post(raw(state="submission", asking_name="Anonymous")).asking_blog == ANONYMOUS
    assert parts_of(unmarked.payload) == unmarked.parts


def test_a_reblog_without_comment_ends_with_an_empty_part() -> None:
    trail = [{"post": {"id": "5"}, "blog": {"name": "ada"}, "content": [text("hi")]}]
    for content in ([], None, ""):
        post = parse_post(raw(content=content, trail=trail))
        assert said(post) == [("ada", False, ["hi"]), ("demo-blog", False, [])]
        assert post.asking_blog is None


def test_whoever_is_gone_from_a_trail_is_named_by_what_is_left() -> None:
    trail = [
        {"broken_blog_name": "old-deactivated2019", "content": [text("a")]},
        {"broken_blog": {"name": "older"}, "post": {}, "blog": None, "content": [text("b")]},
        {"content": "plain <words>", "layout": "x", "post": {"id": 0}},
        {"post": {"id": 5}, "blog": {"name": "ada"}, "content": None},
        None,
        7,
    ]
    parts = parse_post(raw(trail=trail)).parts
    assert [(part.author, part.broken, part.post_id) for part in parts] == [
        ("old-deactivated2019", True, None),
        ("older", True, None),
        (UNKNOWN_BLOG, True, None),
        ("ada", False, "5"),
        ("demo-blog", False, "71"),
    ]


@pytest.mark.parametrize("trail", [None, {}, "x", 3])
def test_a_trail_that_is_no_list_is_none(trail: object) -> None:
    assert said(parse_post(raw(trail=trail))) == [("demo-blog", False, ["hello"])]


def test_content_that_is_a_string_becomes_text_without_tags() -> None:
    assert only(content="I <3 you, a < b").blocks == (Block("text", text="I <3 you, a < b"),)
    html = "<p>One <b>bold</b>&amp; more<br>line</p><script>x()</script><ul><li>two</li></ul> end"
    assert only(content=html).blocks == (Block("text", text="One bold& more\nline\ntwo\nend"),)
    with_image = only(content='<p>a<img src="https://media.example/p" width="9">b</p>').blocks
    assert [found.kind for found in with_image] == ["text", "image", "text"]
    assert with_image[1].image == Image("https://media.example/p", 9, None, "https://media.example/p")


def test_markup_that_nests_or_opens_itself_anew_stays_as_small_as_it_is() -> None:
    bomb = "".join(f"<p><b id={number}><b title='>' id={number}>x" for number in range(4000))
    assert blocks_of_html(bomb)[0]["text"].count("x") == 4000
    joined = "".join(f"<p><<b>b id={number}>x" for number in range(4000))
    assert blocks_of_html(joined)[0]["text"].count("x") == 4000
    for tag in ("<div>", "<template>", "<x-y>", "<x<p>"):
        assert blocks_of_html("<p>" + tag * 50_000 + "deep") == [text("deep")]
    assert len(blocks_of_html("<p>" + "<a" * 100_000)) <= 1


def legacy(**more: Any) -> ParsedPost:
    return parse_post({"id": 71, "blog_name": "demo-blog", "timestamp": AT, **more})


def test_old_posts_say_in_blocks_what_they_said_in_fields() -> None:
    assert said(legacy(type="text", title="Day", body="<p>one</p><p>two</p>")) == [
        ("demo-blog", False, ["Day", "one\ntwo"])
    ]
    assert said(legacy(type="answer", question="Why?", asking_name="Ada", answer="<p>So</p>")) == [
        ("ada", True, ["Why?"]),
        ("demo-blog", False, ["So"]),
    ]
    nameless = legacy(type="answer", question="Why?", asking_name="Anonymous", asking_url=None, answer="<p>So</p>")
    assert nameless.asking_blog == ANONYMOUS
    assert said(legacy(type="quote", text="Be.", source="Bard")) == [("demo-blog", False, ["Be.", "Bard"])]
    chat = legacy(type="chat", dialogue=[{"label": "A:", "phrase": "hi"}, {"label": "B:", "phrase": "ho"}])
    assert said(chat) == [("demo-blog", False, ["A: hi", "B: ho"])]
    link = legacy(type="link", url="https://example.org/", title="Here", description="<p>see</p>").parts[0].blocks
    assert link == (Block("link", url="https://example.org/", title="Here"), Block("text", text="see"))
    photos = [{"original_size": size(1280, "a"), "alt_sizes": [size(500, "b")], "caption": "c"}]
    shown = legacy(type="photo", photos=photos, caption="<p>d</p>").parts[0].blocks
    assert shown[0].image is not None and shown[0].image.url.endswith("/b")
    assert [found.text for found in shown] == ["", "c", "d"]


def test_the_trail_of_an_old_post_tells_who_said_what_and_its_body_is_not_said_twice() -> None:
    trail = [
        {"post": {"id": "5"}, "blog": {"name": "ada"}, "content": "<p>root</p>"},
        {"post": {"id": "71"}, "blog": {"name": "demo-blog"}, "content": "<p>mine</p>"},
    ]
    body = "<p>ada:</p><blockquote>root</blockquote><p>mine</p>"
    told = legacy(type="text", title="T", body=body, trail=trail, reblogged_from_name="ada")
    assert said(told) == [("ada", False, ["T", "root"]), ("demo-blog", False, ["mine"])]
    bare = legacy(type="text", body=body, trail=trail[:1])
    assert said(bare) == [("ada", False, ["root"]), ("demo-blog", False, [])]


def test_half_surrogate_pairs_never_reach_a_table() -> None:
    post = parse_post(raw(content=[text("a\ud83dbc", formatting=[{"type": "bold", "start": 2, "end": 4}])]))
    assert post.parts[0].blocks[0] == Block("text", text="a\ufffdbc", ranges=(Range(2, 4, "bold"),))
    assert post.payload.encode()


def test_a_payload_is_the_same_whatever_the_order_of_fields_and_the_number_of_notes() -> None:
    one = raw(tags=["a"], note_count=3)
    assert parse_post(dict(reversed(one.items()))).payload == parse_post(one | {"note_count": 9}).payload
    for payload in ("", "[", "3", "[]", "null"):
        with pytest.raises(NpfError):
            parts_of(payload)


names = st.sampled_from(
    (
        *("type", "text", "content", "layout", "trail", "blocks", "display", "rows", "media", "url", "width", "start"),
        *("end", "formatting", "blog", "name", "post", "id", "timestamp", "attribution", "truncate_after", "answers"),
        *("indent_level", "subtype", "broken_blog_name", "hex", "question", "photos", "body", "title", "state"),
    )
)
words = st.sampled_from(
    ("text", "image", "rows", "ask", "poll", "bold", "link", "https://a.example/x", "ada", "<p>x", "answer", "draft")
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=4), inner, max_size=6),
    max_leaves=25,
)


@given(values | st.dictionaries(names, values).map(lambda held: raw() | held))
def test_whatever_json_holds_it_is_a_post_or_a_refusal(value: Any) -> None:
    with suppress(NpfError):
        parse_post(value)
    with suppress(NpfError):
        parts_of(json.dumps(value))


@given(st.fixed_dictionaries({}, optional={"content": values, "layout": values, "trail": st.lists(values, max_size=3)}))
def test_a_stored_post_read_again_is_the_same_thread(odd: dict[str, Any]) -> None:
    try:
        post = parse_post(raw(**odd))
    except NpfError:
        return
    again = parse_post(json.loads(post.payload))
    assert (again.parts, again.payload) == (post.parts, post.payload)
    assert parts_of(post.payload) == post.parts
    blocks = [found for part in post.parts for found in part.blocks]
    assert all(0 <= found.start < found.end <= len(held.text) for held in blocks for found in held.ranges)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real answers of Tumblr beside this checkout")
@pytest.mark.parametrize("name", ["netstandard_BlogPostResponse_Legacy.json", "netstandard_StaffNPFResponse.json"])
def test_real_answers_are_read_to_the_last_post(name: str) -> None:
    posts = json.loads((REAL / name).read_text("utf-8-sig"))["response"]["posts"]
    for item in posts:
        post = parse_post(item)
        assert post.parts[-1].author == item["blog_name"]
        assert parts_of(post.payload) == post.parts
        if item["trail"] and item.get("reblogged_from_name"):
            assert len(post.parts) > 1
        assert all(found.kind != "unknown" for part in post.parts for found in part.blocks)

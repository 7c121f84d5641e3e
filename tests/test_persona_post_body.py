"""A text as Tumblr's blocks, and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.persona.munging import munged
from magpie.persona.post_body import MAX_BLOCK_CHARS, MAX_BLOCKS, body_blocks, body_sha256, npf_of

LINK = '<a href="https://a.example/?x=1&y=2">there</a>'
WORDS = st.text(st.sampled_from("abc é\U0001f600&"), min_size=1, max_size=12).map(lambda text: f"x{text.strip()}y")
INLINE = st.one_of(
    WORDS,
    WORDS.map(lambda words: f"<b>{words}</b>"),
    WORDS.map(lambda words: f"<i>{words}</i>"),
    WORDS.map(lambda words: f"<b>{words}<i>z</i></b>"),
    st.just(LINK),
)
LINE = st.lists(INLINE, min_size=1, max_size=4, unique=True).map(" ".join)
PARAGRAPH = st.one_of(
    LINE.map(lambda line: f"{line}\n\n"),
    LINE.map(lambda line: f"<h2>{line}</h2>\n"),
    LINE.map(lambda line: f"<blockquote>{line}\n\n</blockquote>\n"),
    LINE.map(lambda line: f"<ul><li>{line}</li><ul><li>b</li></ul></ul>x\n\n"),
    LINE.map(lambda line: f"<ol><li>{line}</li><li>b</li></ol>x\n\n"),
)
# A second quote right after the first, and a list right after a list, are one for Tumblr.
SIMPLE = st.lists(PARAGRAPH, max_size=4).map(lambda parts: "x\n\n".join(parts).strip("\n"))
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            ["<b>", "</b>", "<i>", "</i>", "<u>", "</u>", "<ul>", "</ul>", "<li>", "</li>", "<h2>", "</h2>"]
        ),
        st.sampled_from(
            ["<blockquote>", "</blockquote>", "<a>", '<a href="https://a.example/">', "</a>", "<|endoftext|>"]
        ),
        st.sampled_from(["\n", "=======", "\u200b", "“", "&lt;", "<", ">", "\x1f", "<|endof", "text|>", "<br>"]),
        st.text(max_size=5),
    ),
    max_size=12,
).map("".join)


def test_a_line_becomes_a_block_and_empty_ones_nothing() -> None:
    assert npf_of("one\n\ntwo\n \nthree") == [{"type": "text", "text": word} for word in ("one", "two", "three")]
    assert npf_of("") == npf_of(" \n\n") == []


def test_tags_become_ranges_in_code_points() -> None:
    assert npf_of(f"\U0001f600 <b>bold <i>both</i></b> {LINK}") == [
        {
            "type": "text",
            "text": "\U0001f600 bold both there",
            "formatting": [
                {"start": 2, "end": 11, "type": "bold"},
                {"start": 7, "end": 11, "type": "italic"},
                {"start": 12, "end": 17, "type": "link", "url": "https://a.example/?x=1&y=2"},
            ],
        }
    ]


def test_strong_and_em_are_bold_and_italic_and_underlining_leaves_its_words() -> None:
    blocks = npf_of("<strong>a</strong> <em>b</em> <u>c</u>")
    assert blocks[0]["text"] == "a b c"
    assert [item["type"] for item in blocks[0]["formatting"]] == ["bold", "italic"]


def test_headings_quotes_and_lists_become_subtypes_with_their_depth() -> None:
    body = "<h2>T</h2>\n<blockquote>q\n\n<ul><li>a</li><ol><li>b</li></ol></ul></blockquote>\nend"
    told = [(block["text"], block.get("subtype"), block.get("indent_level", 0)) for block in npf_of(body)]
    assert told == [
        ("T", "heading2", 0),
        ("q", "indented", 0),
        ("a", "unordered-list-item", 1),
        ("b", "ordered-list-item", 2),
        ("end", None, 0),
    ]


def test_a_range_over_two_lines_is_one_range_in_each() -> None:
    first, second = npf_of("a <b>b\n\nc</b> d")
    assert first["formatting"] == [{"start": 2, "end": 3, "type": "bold"}]
    assert second["formatting"] == [{"start": 0, "end": 1, "type": "bold"}]


@pytest.mark.parametrize(
    "body",
    [
        "a <thanks> b",
        "<b>never closed",
        "never opened</b>",
        "<li>in no list</li>",
        "<ul>never closed <li>x</li>",
        "<script>alert(1)</script>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href="https://a.example/" onclick="x">y</a>',
        "<b >x</b>",
    ],
)
def test_what_is_no_kept_tag_or_does_not_close_is_text(body: str) -> None:
    assert npf_of(body) == [{"type": "text", "text": body}]


def test_a_tag_that_was_not_closed_does_not_spoil_those_around_it() -> None:
    told = npf_of("<blockquote>a <ul>b</blockquote> c <b>d <b>e</b>")
    assert [(block["text"], block.get("subtype")) for block in told] == [("a <ul>b", "indented"), ("c <b>d e", None)]
    assert told[1]["formatting"] == [{"start": 7, "end": 8, "type": "bold"}]


def test_a_long_line_goes_on_in_the_next_block_with_its_ranges() -> None:
    body = f"<b>{'word ' * 1000}</b>end"
    blocks = npf_of(body)
    assert [len(block["text"]) for block in blocks] == [4095, 908]
    assert [block["formatting"] for block in blocks] == [
        [{"start": 0, "end": 4095, "type": "bold"}],
        [{"start": 0, "end": 905, "type": "bold"}],
    ]
    assert [len(block["text"]) for block in npf_of("x" * 5000)] == [4096, 904]


def test_more_lines_than_a_post_may_have_blocks_are_packed_and_none_is_lost() -> None:
    lines = [f"line <b>{n}</b>" for n in range(3000)]
    blocks = npf_of("\n".join(lines))
    assert len(blocks) <= MAX_BLOCKS
    assert "\n".join(block["text"] for block in blocks).split("\n") == [f"line {n}" for n in range(3000)]
    bold = [block["text"][item["start"] : item["end"]] for block in blocks for item in block["formatting"]]
    assert bold == [str(n) for n in range(3000)]


def test_a_text_that_no_post_takes_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"the text has 1000001 characters, a post takes 1000000: shorten it"):
        npf_of("x" * 1_000_001)


@pytest.mark.parametrize("body", ["<b>" * 20_000 + "x" + "</b>" * 20_000, "<ul>" * 20_000 + "x", "<li></ul>" * 20_000])
def test_tags_by_the_thousand_are_read_in_one_go(body: str) -> None:
    assert npf_of(body)


@given(SIMPLE)
def test_a_simple_body_comes_back_from_tumblr_as_it_was(body: str) -> None:
    assert munged(body_blocks(body)) == body


@given(HOSTILE)
def test_whatever_a_body_holds_its_blocks_are_ones_that_tumblr_takes(body: str) -> None:
    blocks = npf_of(body)
    assert len(blocks) <= MAX_BLOCKS
    for block in blocks:
        assert block["text"].strip()
        assert len(block["text"]) <= MAX_BLOCK_CHARS
        assert "\n" not in block["text"]
        assert 0 <= block.get("indent_level", 0) <= 7
        for item in block.get("formatting", ()):
            assert 0 <= item["start"] < item["end"] <= len(block["text"])
            assert re.match("https?://", item.get("url", "https://"))


@given(HOSTILE)
def test_a_post_is_found_again_by_the_hash_of_its_text(body: str) -> None:
    assert body_sha256(munged(body_blocks(body))) == body_sha256(body)


def test_the_hash_tells_words_apart_and_not_their_form() -> None:
    assert body_sha256("It’s <b>so</b>\n\nYes") == body_sha256("It's so\nYes") == body_sha256(" It's  so Yes")
    assert body_sha256("It's so") != body_sha256("It's no")
    assert len(body_sha256("")) == 64

"""Blocks as HTML that is always well-formed, and HTML as the text that models read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from magpie.persona.html import html_of, web_address
from magpie.persona.munging import ImageText, munged
from magpie.sources.tumblr_npf import Block, Image, Range

PICTURE = "https://64.media.example/abc/s1280x1920/cat.png"
SUBTYPES = (
    None,
    "heading1",
    "heading2",
    "quirky",
    "quote",
    "indented",
    "chat",
    "ordered-list-item",
    "unordered-list-item",
)
KINDS = ("bold", "italic", "small", "strikethrough", "link", "mention", "color")
# No character that HTML itself writes in another way.
TEXT = st.text(st.sampled_from("ab \n<>&;/=\U0001f600é-|"), max_size=12)


def text(words: str, *ranges: Range, subtype: str | None = None, indent: int = 0) -> Block:
    return Block("text", words, subtype=subtype, indent=indent, ranges=ranges)


def item(words: str, indent: int = 0, *, ordered: bool = False) -> Block:
    return text(words, subtype=f"{'' if ordered else 'un'}ordered-list-item", indent=indent)


def picture(url: str = PICTURE) -> Block:
    return Block("image", image=Image(url.replace("1280x1920", "640x960"), 640, 960, url))


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    start, end = draw(st.tuples(st.integers(-2, 14), st.integers(-2, 14)))
    kind = draw(st.sampled_from(KINDS))
    url = draw(st.sampled_from(["https://a.example/?x=1&y=2", "https://b.example/", "javascript:alert(1)", None]))
    return Range(start, end, kind, url=url, blog="ada", colour=draw(st.sampled_from(["#ff0000", "red;x", None])))


BLOCKS = st.lists(
    st.one_of(
        st.builds(
            Block,
            st.just("text"),
            TEXT,
            st.sampled_from(SUBTYPES),
            st.integers(0, 7),
            st.lists(ranges(), max_size=6).map(tuple),
        ),
        st.builds(picture),
        st.builds(lambda words: Block("link", url="https://a.example/", title=words), TEXT),
        st.builds(lambda words: Block("poll", text=words, answers=(words, "no")), TEXT),
        st.sampled_from([Block("audio"), Block("video"), Block("unknown"), Block("paywall", text="pay")]),
    ),
    max_size=8,
)


def test_a_deeper_list_opens_within_the_list_before_it_and_both_close_before_the_next_paragraph() -> None:
    blocks = [item("a"), item("b", 1), text("c")]
    assert html_of(blocks) == "<ul><li>a</li><ul><li>b</li></ul></ul><p>c</p>"


def test_a_list_inside_a_quote_closes_before_the_quote() -> None:
    blocks = [text("q", subtype="indented"), item("x", 1), text("y")]
    assert html_of(blocks) == "<blockquote><p>q</p><ul><li>x</li></ul></blockquote><p>y</p>"


def test_lists_of_two_kinds_at_one_level_stay_two_lists() -> None:
    blocks = [item("a"), item("b", ordered=True), item("c", ordered=True)]
    assert html_of(blocks) == "<ul><li>a</li></ul><ol><li>b</li><li>c</li></ol>"


def test_any_other_block_with_an_indent_stands_in_that_many_quotes() -> None:
    assert html_of([text("a", indent=1), text("b", subtype="heading2", indent=2)]) == (
        "<blockquote><p>a</p><blockquote><h2>b</h2></blockquote></blockquote>"
    )


def test_ranges_count_code_points_so_that_an_emoji_is_one() -> None:
    assert html_of([text("\U0001f600\U0001f600ab", Range(1, 3, "bold"))]) == "<p>\U0001f600<b>\U0001f600a</b>b</p>"


def test_ranges_that_cross_are_closed_and_opened_again() -> None:
    crossing = text("abcdef", Range(0, 4, "bold"), Range(2, 6, "italic"))
    assert html_of([crossing]) == "<p><b>ab<i>cd</i></b><i>ef</i></p>"


def test_of_links_that_overlap_the_first_counts_and_no_link_stands_in_a_link() -> None:
    first, second = (Range(n, n + 3, "link", url=f"https://{n}.example/") for n in (0, 1))
    assert html_of([text("abcd", second, first)]) == (
        '<p><a href="https://0.example/">abc</a><a href="https://1.example/">d</a></p>'
    )


def test_text_is_escaped_before_tags_are_put_in() -> None:
    assert html_of([text("<b>&", Range(0, 3, "italic"))]) == "<p><i>&lt;b&gt;</i>&amp;</p>"


def test_a_link_that_is_no_web_address_leaves_its_text() -> None:
    assert html_of([text("click", Range(0, 5, "link", url="javascript:alert(1)"))]) == "<p>click</p>"
    assert html_of([Block("link", url="data:text/html,x", title="news")]) == "<p>news</p>"


def test_an_address_cannot_end_the_attribute_it_stands_in() -> None:
    hostile = 'https://a.example/"><script>alert(1)</script>'
    assert web_address(hostile) == "https://a.example/%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
    assert "<script" not in html_of([text("x", Range(0, 1, "link", url=hostile)), picture(hostile)])


def test_blocks_that_are_no_text_say_what_they_are_and_unknown_ones_nothing() -> None:
    blocks = [Block("audio"), Block("video"), Block("unknown"), Block("poll", text="Tea?", answers=("yes", "no"))]
    assert html_of(blocks) == "<p>[audio]</p><p>[video]</p><p>Tea?</p><ol><li>yes</li><li>no</li></ol>"


@given(BLOCKS)
def test_whatever_blocks_there_are_a_browser_reads_exactly_what_was_written(blocks: list[Block]) -> None:
    html = html_of(blocks)
    body = LexborHTMLParser(f"<html><head></head><body>{html}</body></html>").body
    assert body is not None
    assert (body.inner_html or "") == html


@given(BLOCKS)
def test_no_word_of_a_text_is_lost_in_html_or_in_munging(blocks: list[Block]) -> None:
    words = re.findall(r"[abé\U0001f600]+", "\n".join(block.text for block in blocks if block.kind == "text"))
    plain = re.sub(r"</?[a-z0-9]+(?: [^<>]*)?>", "", html_of(blocks))
    told = munged(blocks)
    assert all(word in plain and word[0] in told for word in words)


def test_munging_keeps_meaning_tags_without_attributes_and_drops_the_others() -> None:
    html = '<p><span style="color:#ff0000"><b class="x">bold</b> <small>small</small> <strike>gone</strike></span></p>'
    assert munged(html) == "<b>bold</b> small gone"


def test_paragraphs_are_followed_by_a_blank_line_and_headings_and_quotes_by_a_line_break() -> None:
    blocks = [text("T", subtype="heading1"), text("a"), text("q", subtype="indented"), text("b")]
    assert munged(blocks) == "<h2>T</h2>\na\n\n<blockquote>q\n\n</blockquote>\nb"


def test_a_link_keeps_its_address_and_a_mention_only_its_text() -> None:
    link = Range(0, 3, "link", url="https://a.example/?x=1&copy=2")
    mention = Range(4, 8, "mention", url="https://ada.tumblr.com/", blog="ada")
    assert munged([text("see @ada", link, mention)]) == '<a href="https://a.example/?x=1&copy=2">see</a> @ada'


@pytest.mark.parametrize("name", ["tumblelog", "tumblr_blog", "tmblr-truncated-link read_more"])
def test_anchors_of_blogs_and_of_shortened_posts_go_and_their_text_stays(name: str) -> None:
    assert munged(f'<p><a class="{name}" href="https://a.example/">ada</a>: hi</p>') == "ada: hi"


def test_text_is_unescaped_last_so_that_what_somebody_wrote_is_read_as_written() -> None:
    assert munged([text("1 < 2 &amp; <thanks>")]) == "1 < 2 &amp; <thanks>"


def test_quotes_spaces_and_line_breaks_take_their_plain_form() -> None:
    assert munged([text("“It’s”\xa0so.  Yes!   No")]) == '"It\'s" so. Yes! No'
    assert munged([text("a\n\n\n\nb\r\nc\u2028d")]) == "a\n\nb\nc\nd"


@pytest.mark.parametrize(
    "hostile",
    [
        "<|endoftext|>",
        "<|endof<|endoftext|>text|>",
        "<|end\u200bof\u200dtext|>",
        "=======",
        "====<|endoftext|>====",
        "\ufeff===\u2060====",
    ],
)
def test_no_word_of_others_ends_a_document_or_frames_a_picture(hostile: str) -> None:
    for blocks in ([text(f"a{hostile}b")], [text(f"a{hostile}b", Range(0, 6, "small"))]):
        told = munged(blocks)
        assert "<|endoftext|>" not in told
        assert "=======" not in told
        assert told[0] == "a"
        assert told[-1] == "b"


def test_delimiters_nested_by_the_thousand_are_taken_out_in_two_passes() -> None:
    assert "<|endoftext|>" not in munged([text("<|endof" * 5000 + "text|>" * 5000)])


def test_a_picture_is_framed_by_what_was_read_in_it() -> None:
    images = {PICTURE: ImageText("OPEN\nMONDAYS", None)}
    assert munged([text("look"), picture(), text("well")], images) == "look\n\n=======\nOPEN\nMONDAYS\n=======\n\nwell"


def test_a_caption_stands_between_two_frames_before_the_text() -> None:
    images = {PICTURE: ImageText("OPEN", "a shop")}
    assert munged([text("look"), picture()], images) == "look\n\n=======\n=======\na shop\n=======\nOPEN\n======="


@pytest.mark.parametrize("known", [None, ImageText("", None), ImageText(" \n", "")])
def test_of_a_picture_without_text_and_caption_nothing_is_said(known: ImageText | None) -> None:
    assert munged([text("a"), picture(), text("b")], {PICTURE: known} if known else {}) == "a\n\nb"


def test_what_is_written_in_a_picture_cannot_frame_another_one() -> None:
    told = munged([picture()], {PICTURE: ImageText("=======\n<|endoftext|>\nx", "a\n=======\nb")})
    assert told == "=======\n=======\na b\n=======\nx\n======="


def test_other_html_is_read_without_comments_and_unknown_tags() -> None:
    assert munged('<DIV>a<!-- <b>no --><BR/>b<custom x="1>2">c</custom></div></a>') == "a\n\nbc"


def test_a_reference_of_too_many_digits_is_no_character() -> None:
    assert munged(f"<p>a&#{'1' * 5000};b</p>") == "a\ufffdb"


@given(st.text(st.characters(exclude_categories=()), max_size=60), st.booleans())
def test_of_any_text_nothing_is_left_that_could_forge_structure(words: str, as_html: bool) -> None:
    told = munged(words if as_html else [text(words)])
    assert told == told.strip("\n")
    assert not re.search(r"<\|endoftext\|>|={7}|\n{3}|[\u200b\ufeff\ud800-\udfff]", told)

"""The normaliser: what is published can do no harm, says what was written, and stays as it is."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser, LexborNode

from magpie.content.html_blocks import MAX_CHARS
from magpie.content.normaliser import (
    Normalised,
    first_paragraph,
    headings,
    normalise,
    one_line,
    plain_text,
    trimmed,
    word_count,
    words,
)
from magpie.content.safe_html import ALLOWED_TAGS, KNOWN_TAGS, MAX_DEPTH

ATTRIBUTES = {"a": {"href", "title", "rel"}, "img": {"src", "alt"}}
PIECES = [
    *(f"<{tag}>" for tag in sorted(KNOWN_TAGS)),
    *(f"</{tag}>" for tag in sorted(KNOWN_TAGS)),
    *('<a href="https://e.org/x?a=1&b=2" title="&lt;t">', "<a href='javascript:alert(1)'>", "<a href=/x>", "<a>"),
    *('<img src="https://e.org/i.png" alt="&quot;a">', "<img src=/i.png onerror=alert(1)>", "<img src=x>", "<img/>"),
    *('<p onclick="x()" style="y">', "<svg/onload=alert(1)>", "<script>alert('</p>')</script>", "<scr<script>ipt>"),
    *("<!--", "-->", "<!DOCTYPE html>", "<![CDATA[", "]]>", "<?php", "<![if x]>", "</", "<", ">", '"', "'", "&", "="),
    *("&lt;script&gt;", "&amp;lt;", "&#60;", "&#13;", "&#0;", "&#x80;", "&#" + "9" * 5000 + ";", "&nbsp;", "\u200b"),
    *("\n", "\n\n", " ", "  ", "\t", "\r", "\x00", "\x0c", "\ud800", "\ufffe", "word", "two words", "é", "漢字"),
    *("# ", "## ", "- ", "1. ", "> ", "```", "~~~\n", "**", "__", "[t](https://e.org)", "![i](/i.png)", "|", "|-|-|\n"),
    *("{", "}", '{"content": "', '"}', "---\n", "===\n", "*", "_", "`", "\\", "    code\n"),
]
soup = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=25).map("".join)


def tree(node: LexborNode) -> list[LexborNode]:
    return [found for found in node.traverse(include_text=False) if found.tag not in ("html", "head", "body")]


def assert_safe(html: str) -> None:
    """What a browser's parser makes of it holds nothing but what is allowed, and is written as it stands."""
    document = LexborHTMLParser(f"<!doctype html><html><body>{html}</body></html>")
    assert document.body is not None
    for node in tree(document.body):
        assert node.tag in ALLOWED_TAGS
        assert set(node.attributes) <= ATTRIBUTES.get(node.tag, set())
        if node.tag == "a":
            assert (node.attributes["href"] or "").lower().startswith(("http://", "https://", "mailto:"))
            assert node.attributes["rel"] == "noopener noreferrer"
        if node.tag == "img":
            assert (node.attributes["src"] or "").lower().startswith(("https://", "/"))
    first = [node.tag for node in tree(document.body) if node.tag in ("h2", "h3", "h4")]
    levels = [1, *(int(tag[1]) for tag in first)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    again = LexborHTMLParser(f"<!doctype html><html><body>{document.body.inner_html}</body></html>")
    assert again.body is not None
    assert again.body.inner_html == document.body.inner_html
    assert document.body.inner_html == html.replace("\xa0", "&nbsp;")


def stable(text: str) -> Normalised:
    once = normalise(text)
    twice = normalise(once.html)
    assert twice.html == once.html
    assert twice.leaves == once.leaves
    return once


@settings(max_examples=300, deadline=None)
@given(soup)
@example("<ul><li>a</li><ul><li>b</li></ul>x</ul>")
@example("<table>a<tr>b<td>c<table><td>d</table>e</table>f")
@example("a<b> </b><i>&nbsp;</i><b><i>\u200b</i>c</b>")
@example("<pre>\n\n<code>\n a</code></pre>")
@example("<h2><b>x</h2>y</b>z")
def test_whatever_is_normalised_is_safe_and_stays_as_it_is(text: str) -> None:
    assert_safe(stable(text).html)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300) | st.recursive(soup, lambda inner: inner.map(lambda x: json.dumps({"content": x}))))
def test_text_and_json_of_any_kind_are_safe_and_stay_as_they_are(text: str) -> None:
    assert_safe(stable(text).html)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abc xyz<>&'\"", min_size=1, max_size=30), max_size=6))
def test_plain_paragraphs_keep_every_word(paragraphs: list[str]) -> None:
    found = stable("\n\n".join(paragraphs))
    if found.source_kind == "plain":
        said = " ".join("\n\n".join(paragraphs).split())
        assert " ".join(plain_text(found.leaves).split()) == said


def test_markdown_becomes_headings_paragraphs_and_lists() -> None:
    found = stable("# Title\n\nHello **world**.\n\n#### Deep\n\n- a\n- b")
    assert found.html == (
        "<h2>Title</h2><p>Hello <strong>world</strong>.</p><h3>Deep</h3><ul><li>a</li><li>b</li></ul>"
    )
    assert (found.source_kind, word_count(found.leaves)) == ("markdown", 6)


def test_no_heading_skips_a_level() -> None:
    found = stable("<h2>A</h2><h4>B</h4><h3>C</h3><h5>D</h5>")
    assert [leaf.tag for leaf in found.leaves] == ["h2", "h3", "h3", "h4"]


@pytest.mark.parametrize(
    ("text", "html", "kind"),
    [
        (
            '<p></p><p>ok</p><ul><li></li></ul><a href="javascript:alert(1)">x</a>',
            "<p>ok</p><p>x</p>",
            "html",
        ),
        ("<div>alpha<div>beta</div></div>", "<p>alpha</p><p>beta</p>", "html"),
        ("2 < 3 and 5 > 4", "<p>2 &lt; 3 and 5 &gt; 4</p>", "plain"),
        (
            '```json\n{"title":"T","content":"<h1>A</h1><p onclick=\\"x()\\">Hi<script>alert(1)</script></p>"}\n```',
            "<h2>A</h2><p>Hi</p>",
            "json",
        ),
        ("AT&amp;T\nand Co\n\n  next", "<p>AT&amp;T and Co</p><p>next</p>", "plain"),
        ("&lt;script&gt;", "<p>&lt;script&gt;</p>", "plain"),
        ("", "", "plain"),
        ("<script>alert(1)</script><!-- x --><style>p{}</style>", "", "html"),
    ],
)
def test_texts_of_each_kind(text: str, html: str, kind: str) -> None:
    found = stable(text)
    assert (found.html, found.source_kind) == (html, kind)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<p>a<b>b</b><i>c</i></p>", "<p>a<strong>b</strong><em>c</em></p>"),
        ("<p>one<br>line<br><br>two</p>", "<p>one line</p><p>two</p>"),
        ("<p>a <span style='x'>b</span> <kbd>c</kbd></p>", "<p>a b c</p>"),
        ("<h1>T</h1><h6>x</h6>", "<h2>T</h2><h3>x</h3>"),
        ("<p>x<strong>never closed</p><p>y</p>", "<p>x<strong>never closed</strong></p><p>y</p>"),
        ("<strong><p>x</p></strong>", "<p><strong>x</strong></p>"),
        ("<ul><li>a<ul><li>b</li></ul></li></ul>", "<ul><li>a<ul><li>b</li></ul></li></ul>"),
        ("<ul><li>a</li><ul><li>b</li></ul></ul>", "<ul><li>a<ul><li>b</li></ul></li></ul>"),
        ("<ul><li><p>a</p></li><li><p>b</p><p>c</p></li></ul>", "<ul><li>a</li><li><p>b</p><p>c</p></li></ul>"),
        ("<li>a<li>b</li>after", "<ul><li>a</li><li>b</li></ul><p>after</p>"),
        ("<pre>\n\n  a\n   b  \n</pre>", "<pre>  a\n   b</pre>"),
        ("<h2>Head<p>text</p>", "<h2>Head</h2><p>text</p>"),
        ("<h2><div>Head</div></h2>", "<h2>Head</h2>"),
        (
            "<a href='HTTPS://e.org/a b' target=_blank>x</a>",
            '<p><a href="HTTPS://e.org/a%20b" rel="noopener noreferrer">x</a></p>',
        ),
        ("<a href='java\nscript:x'>x</a><a href='//e.org'>y</a>", "<p>xy</p>"),
        ("<img src='data:image/png;base64,x'><img src='//e.org/x.png'><p>y</p>", "<p>y</p>"),
        ("<img src='/i.png' alt='A &quot;b&quot;' width=1>", '<p><img src="/i.png" alt="A &quot;b&quot;"></p>'),
        ("<form>gone</form><embed src=x>stays", "<p>stays</p>"),
        ("<html><head><title>T</title><body><p>x", "<p>x</p>"),
    ],
)
def test_what_stays_of_html(text: str, html: str) -> None:
    assert stable(text).html == html


def test_an_empty_cell_keeps_its_column_and_an_empty_row_goes() -> None:
    text = "<table><caption>C</caption><tfoot><tr><td>f<td></tr></tfoot><thead><tr><th>a<th>b</thead>"
    text += "<tr><td></td><td>1</td></tr><tr><td></td><td> </td></tr></table>after"
    assert stable(text).html == (
        "<p>C</p><table><thead><tr><th>a</th><th>b</th></tr></thead>"
        "<tbody><tr><td></td><td>1</td></tr><tr><td>f</td><td></td></tr></tbody></table><p>after</p>"
    )


def test_a_fence_with_fenced_blocks_inside_is_taken_off_and_two_blocks_are_not_one() -> None:
    inside = "## Use\n\n```sh\nrun it\n```\n\nDone."
    assert stable(f"```markdown\n{inside}\n```").html == stable(inside).html
    two = stable("```\na\n```\n\nbetween\n\n```\nb\n```")
    assert [leaf.tag for leaf in two.leaves] == ["pre", "p", "pre"]


def test_json_is_unwrapped_twice_and_no_further() -> None:
    once, twice = json.dumps({"content": "deep"}), json.dumps({"content": json.dumps({"content": "deep"})})
    assert stable(once).html == stable(twice).html == "<p>deep</p>"
    assert "content" in stable(json.dumps({"content": twice})).html
    assert stable('{"content": 5}').source_kind == "plain"


@pytest.mark.parametrize(
    "piece",
    [
        "<!--",
        "<b x=1><p>",
        "<div>",
        "<ul><li>",
        "<table><td>",
        "<table>",
        "<table><caption>",
        "<a href=https://e.org/>x<p>",
        "&",
        "<",
        "[",
        "**a ",
        "> ",
    ],
)
def test_hostile_repetition_is_bounded_in_size(piece: str) -> None:
    found = stable(piece * (20_000 // len(piece)))
    assert len(found.html) <= MAX_CHARS


def test_nesting_is_bounded() -> None:
    html = stable("<ul><li>x" * 100).html
    assert html.startswith("<ul><li>x" * (MAX_DEPTH // 2))
    assert html.count("<ul>") <= MAX_DEPTH
    assert html.count("x") == 100


def test_what_is_too_long_is_cut_after_a_whole_block_and_says_so() -> None:
    found = stable("<p>" + "word " * 10 + "</p>" + "<p>&&&&</p>" * (MAX_CHARS // 11))
    assert found.cut
    assert len(found.html) <= MAX_CHARS
    assert found.html.endswith("</p>")
    assert not normalise(found.html).cut


def test_words_end_with_blocks_and_not_with_tags() -> None:
    leaves = normalise("<p>un<b>break</b>able - 5 €</p><ul><li>a</li><li>b</li></ul>").leaves
    assert words(leaves) == ["unbreakable", "5", "a", "b"]
    assert first_paragraph(normalise("<h2>x</h2><p>—</p><p>First one.</p>").leaves) == "First one."
    assert headings(normalise("<h2>x</h2><h3>y</h3><h2>z</h2>").leaves) == ["x", "z"]


def test_meta_fields_are_cut_between_words_without_separators_at_the_end() -> None:
    title = "The Complete Practical Guide to Choosing a CRM for Small Creative Agencies in 2026"
    cut = trimmed(title, 60)
    assert (cut, len(cut)) == ("The Complete Practical Guide to Choosing a CRM for Small", 56)
    assert trimmed("Short – ", 60) == "Short"
    assert trimmed("Buy now | Brand name", 11) == "Buy now"
    assert trimmed("x" * 80, 60) == "x" * 60
    assert trimmed("C++ & C#", 60) == "C++ & C#"


@given(st.text(max_size=200), st.integers(1, 80))
def test_a_trimmed_line_fits_and_is_a_beginning(text: str, most: int) -> None:
    cut = trimmed(text, most)
    assert len(cut) <= most
    assert " ".join(text.split()).startswith(cut)
    assert trimmed(cut, most) == cut


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("## **Bold title**", "Bold title"),
        ('"Quoted"', "Quoted"),
        ('"Agile" and you', '"Agile" and you'),
        ("<h1>T &amp; U<script>x</script></h1>", "T & U"),
        ("a &lt;b&gt; c\n d", "a <b> c d"),
        ("Why C#", "Why C#"),
    ],
)
def test_titles_become_one_plain_line(text: str, line: str) -> None:
    assert one_line(text) == line

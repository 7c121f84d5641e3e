"""Foreign text in Markdown: one line, bounded, shown as it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.text.markdown import escaped, link


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (None, ""),
        ("a\n\n# b", "a \\# b"),
        ("a_b \\", "a\\_b \\\\"),
        ("<script>", "&lt;script&gt;"),
        ("[x](javascript:y)", "\\[x\\](javascript:y)"),
        ("buy $NVDA | sell", "buy \\$NVDA \\| sell"),
        ("- one", "\\- one"),
        ("+ one", "\\+ one"),
        ("1. one", "1\\. one"),
        ("-5 % today", "-5 % today"),
        ("see https://x.example and www.y.example", "see https\\://x.example and www\\.y.example"),
    ],
)
def test_markup_is_shown_and_not_followed(text: str | None, safe: str) -> None:
    assert escaped(text) == safe


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert escaped("<" * 1000, 10) == "&lt;" * 9 + "…"


@given(text=st.text(), chars=st.integers(1, 200))
def test_no_markup_is_left_unescaped_and_nothing_else_is_lost(text: str, chars: int) -> None:
    shown = escaped(text, chars)
    assert len(shown.splitlines()) <= 1
    assert re.search(r"(?<!\\)(?:\\\\)*[`*_~\[\]|!#$<>]", re.sub(r"\\[^\w\s]", "", shown)) is None
    plain = " ".join(text.split())
    if len(plain) <= chars:
        undone = re.sub(r"\\([^\w\s]|_)", r"\1", shown)
        assert undone.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == plain


@pytest.mark.parametrize(
    "address",
    [None, "", "javascript:alert(1)", "http://x.example/", "https://x.example/) [y](https://z", "https://x.example/ a"],
)
def test_an_address_that_could_do_something_else_gives_the_text_alone(address: str | None) -> None:
    assert link("a*b", address) == "a\\*b"


def test_a_plain_address_gives_a_link() -> None:
    address = "https://www.youtube.com/watch?v=a-b_c&t=61s"
    assert link("1:01", address) == f"[1:01]({address})"

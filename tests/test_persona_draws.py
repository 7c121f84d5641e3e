"""What of an answer is the author's post, and which texts are written again."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.draws import (
    MAX_TAG_CHARS,
    MAX_TAGS,
    DrawContext,
    cut,
    images_in,
    plain,
    tags_of,
    verdict,
    without_images,
)
from magpie.persona.settings import Blog, Tuning, Words
from magpie.persona.tweaks import adjusted

PROMPT = (
    "<|endoftext|> Conversation between ada and demo-blog | 2 posts |\n#1 ada asked:\n\n"
    "Do you think the lighthouse keeper ever counted <b>all</b> of the ships that he saw?\n\n"
    "#2 demo-blog responded:\n\nWritten 9 PM November 2025"
)
CONTEXT = DrawContext(
    kind="ask",
    prompt_kind="answer",
    prompt_text=PROMPT,
    participants=("ada",),
    owner="frank",
    blog="demo-blog",
    strict_user=False,
    answers_reply=False,
)
TUNING, TUNING_2022 = Blog(name="demo-blog").tuned(), Blog(name="demo-blog", preset="2022").tuned()
LISTS = Words(profanity=("darn", "blast it"))
GOOD = "he lost count in the first winter"
pieces = st.sampled_from(
    [
        "word ",
        "\n",
        "\t",
        " ",
        "#tag, ",
        "#2 ada asked:",
        "<|endoftext|>",
        "<|endof\u200btext|>",
        "=======",
        "\r\n",
        "@",
    ]
)


def found(body: str, *tags: str, u: float = 0.9, tuning: Tuning = TUNING, **context: Any) -> str | None:
    return verdict(body, tags, replace(CONTEXT, **context), tuning, LISTS, u)


@pytest.mark.parametrize(
    ("answer", "body", "tags"),
    [
        ("Fine.\n\n\t #good day, #reply<|endoftext|> More.", "Fine.", ["good day", "reply"]),
        ("Fine.\n\n#3 ada commented:\n\nMine is not.", "Fine.", []),
        ("Fine.\n\n\t #a\n\n #12 some-one.else posted:\n\nx", "Fine.", ["a"]),
        ("#2 demo-blog responded:\n\nFine.", "", []),
        ("Fine.\n\t#a #b\n\t #c, #A", "Fine.", ["a", "b", "c"]),
        ("\t #only, #tags", "", ["only", "tags"]),
        ("I am #1 and ada asked: why?", "I am #1 and ada asked: why?", []),
        ("A list:\n#one\n#two", "A list:\n#one\n#two", []),
        ("\n\n a \r\nb\u200b \n", "a \nb", []),
        ("un<|endof\u200btext|>seen", "un", []),
    ],
)
def test_an_answer_is_cut_where_its_post_ends(answer: str, body: str, tags: list[str]) -> None:
    assert cut(answer) == (body, tags)


@given(st.lists(pieces, max_size=20).map("".join))
def test_cutting_twice_is_cutting_once(answer: str) -> None:
    body, tags = cut(answer)
    assert cut(body) == (body, [])
    assert "<|endoftext|>" not in body and "\t #" not in body.split("\n")[-1]
    assert all("#" not in tag and tag for tag in tags)


def test_tags_are_taken_as_tumblr_takes_them() -> None:
    assert tags_of(["#one #two", "Two", " a  b ", "", "#", "c,d", "x" * 141]) == ["one", "two", "a b", "c", "d"]
    many = tags_of([f"t{n}" for n in range(99)])
    assert len(many) == MAX_TAGS and many[-1] == "t29"
    assert tags_of(["x" * MAX_TAG_CHARS]) == ["x" * MAX_TAG_CHARS]


def test_markup_goes_and_other_brackets_stay() -> None:
    assert (
        plain('<b>f</b>un <a href="https://e.example/">x</a> <thanks> 1 < 2 > 0 <brr>')
        == "fun x <thanks> 1 < 2 > 0 <brr>"
    )
    assert plain("<ul><li>one</li><li>two</li></ul>").split() == ["one", "two"]


def test_images_are_told_from_words() -> None:
    captioned = "=======\n=======\na cat\n=======\nMEOW\nMEOW\n======="
    bare, blank = "=======\nSTOP\n=======", "=======\n\n======="
    body = f"a\n\n{captioned}\n\nb\n\n{bare}\n\n{blank}"
    assert images_in(body) == [("MEOW\nMEOW", "a cat"), ("STOP", None), ("", None)]
    assert without_images(body).split() == ["a", "b"]
    assert images_in("=======\nno end") == []


@pytest.mark.parametrize("body", ["", " \n", "<b> </b>", "<p></p>"])
def test_a_text_without_words_is_empty(body: str) -> None:
    assert found(body) == "empty"


@pytest.mark.parametrize(
    ("words", "kind", "u", "preset", "fine"),
    [
        (1, "answer", 0.5, TUNING, True),
        (1, "answer", 0.49, TUNING, False),
        (2, "answer", 0.0, TUNING, False),
        (3, "answer", 0.0, TUNING, True),
        (2, "original", 0.9, TUNING, False),
        (3, "original", 0.0, TUNING, True),
        (2, "review", 0.9, TUNING, False),
        (74, "fiction", 0.9, TUNING, False),
        (75, "fiction", 0.0, TUNING, True),
        (9, "answer", 0.9, TUNING_2022, False),
        (10, "answer", 0.9, TUNING_2022, True),
        (14, "answer", 0.1, TUNING_2022, False),
        (15, "answer", 0.1, TUNING_2022, True),
        (9, "original", 0.9, TUNING_2022, False),
    ],
)
def test_a_text_needs_the_words_of_its_kind(words: int, kind: str, u: float, preset: Tuning, fine: bool) -> None:
    body = " ".join(f"w{n}" for n in range(words))
    assert found(body, prompt_kind=kind, u=u, tuning=preset) == (None if fine else "too_short")
    with_picture = f"{body}\n\n=======\nSTOP\n======="
    assert found(with_picture, prompt_kind=kind, u=u, tuning=preset) is None


def test_a_wide_word_counts_for_two_and_an_image_in_the_text_for_enough() -> None:
    assert found("ねこ", u=0.1) == "too_short"
    assert found("ねこ ねこ", u=0.1) is None
    assert found("ok\n\n=======\nSTOP\n=======", u=0.1) is None


@pytest.mark.parametrize(
    ("body", "repeats"),
    [
        ("Well: THE lighthouse keeper ever counted all of the trees.", True),
        ("Well: the lighthouse keeper ever counted all of ships.", False),
        ("the lighthouse keeper ever", True),
        ("the lighthouse keeper", False),
        ("the lighthouse keeper never", False),
        ("all of the ships that he saw", True),
        ("all of the ships that he said", False),
    ],
)
def test_a_text_that_repeats_what_it_answers_is_written_again(body: str, repeats: bool) -> None:
    assert found(body) == ("repeats_prompt" if repeats else None)


@pytest.mark.parametrize(
    ("body", "stranger"),
    [
        (f"{GOOD} @ada", False),
        (f"{GOOD} @Demo-Blog, @FRANK!", False),
        (f"{GOOD} @bob", True),
        (f"{GOOD} (@ada-b)", True),
        (f"{GOOD}\uff20bob", False),
        (f"{GOOD} \uff20bob", True),
        (f"{GOOD} write to me@bob.example", False),
        (f"{GOOD} @ 3 pm", False),
    ],
)
def test_nobody_is_spoken_to_who_is_not_there(body: str, stranger: bool) -> None:
    assert found(body) == ("mentions_stranger" if stranger else None)


def test_without_an_owner_an_at_alone_names_nobody() -> None:
    assert found(f"{GOOD} @frank", owner=None) == "mentions_stranger"
    assert found(f"{GOOD} @", owner=None) is None


def test_an_answer_to_a_reply_does_not_begin_with_a_quote() -> None:
    body = f"<blockquote>so</blockquote>\n{GOOD}"
    assert found(body) is None
    assert found(f"\n{body}", answers_reply=True) == "starts_with_quote"
    assert found(f"{GOOD} {body}", answers_reply=True) is None


@pytest.mark.parametrize(
    ("body", "tags", "profane"),
    [
        (f"{GOOD}, DARN.", (), True),
        (f"{GOOD} ｄａｒｎ", (), True),
        (f"{GOOD} blast it!", (), True),
        (f"{GOOD} and darned his socks", (), False),
        (GOOD, ("oh", "darn"), True),
        (GOOD, ("blast", "it"), False),
    ],
)
def test_strict_users_are_spared_profanity(body: str, tags: tuple[str, ...], profane: bool) -> None:
    assert found(body, *tags, strict_user=True) == ("profanity" if profane else None)
    assert found(body, *tags) is None


def test_the_first_reason_decides() -> None:
    assert found("@bob darn", strict_user=True, u=0.1) == "too_short"
    assert found("@bob darn it", strict_user=True) == "mentions_stranger"
    assert verdict("darn", (), replace(CONTEXT, strict_user=True), TUNING, Words(), 0.9) is None


@given(st.text(max_size=80), st.floats(0, 1, exclude_max=True))
def test_any_text_gets_a_verdict(body: str, u: float) -> None:
    reasons = {None, "empty", "too_short", "repeats_prompt", "mentions_stranger", "starts_with_quote", "profanity"}
    assert found(body, u=u, strict_user=True, answers_reply=True) in reasons


@pytest.mark.parametrize(
    ("body", "tags", "images", "p_2023", "p_2022"),
    [
        ("x", ("cats",), (), 0.5, 0.5),
        ("x", (" Quotes",), (), 0.2, 0.2),
        ("x", ("quotes of the day",), (), 0.5, 0.5),
        ("x", (), (("plain", None, False),), 0.5, 1.0),
        ("x", (), (("This image has been REMOVED for violating our Guidelines", None, False),), 0.25, 0.75),
        ("x", (), (("", "a sign that says hello", False),), -0.1, 0.4),
        ("x", (), (("hello", "a sign that says hello", False),), 0.5, 1.0),
        ("x", (), (("", "a boy reads a book", False),), 0.5, 1.0),
        ("x", ("quotes",), (("", "white text", True), ("", "more text", False)), -0.4, -0.5),
        ("=======\n=======\nthe text of a law\n=======\n\n=======", (), (), -0.1, 0.4),
    ],
)
def test_what_readers_are_known_to_like_or_not_is_added_once(
    body: str,
    tags: tuple[str, ...],
    images: tuple[tuple[str, str | None, bool], ...],
    p_2023: float,
    p_2022: float,
) -> None:
    assert adjusted(0.5, body, tags, images, TUNING) == pytest.approx(p_2023)
    assert adjusted(0.5, body, tags, images, TUNING_2022) == pytest.approx(p_2022)

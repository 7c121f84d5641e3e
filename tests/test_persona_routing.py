"""Routing: hard words and risk decide where a text goes, humans see what the rules cannot tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.routing import CONTROL_TAGS, Cuts, after_rejection, clean_tags, route
from magpie.persona.word_screen import Hit

CUTS = Cuts(accept=0.154, accept_original=0.179, flag=0.35, reject=0.605)
OLDER = Cuts(accept=0.136, accept_original=0.136, flag=None, reject=0.536)


def going(
    types: str = "",
    p: float | None = 0.1,
    kind: str = "ask",
    cuts: Cuts = CUTS,
    trained: bool = True,
    image: bool = False,
) -> tuple[str, str]:
    hits = [Hit(type_, "x") for type_ in types.split()]
    found = route(kind, hits, p, cuts, trained=trained, placeholder=image)
    return found.route, found.reason


@pytest.mark.parametrize(
    ("types", "p", "kind", "expected"),
    [
        ("", 0.30, "ask", ("publish", "clean")),
        ("", 0.35, "ask", ("publish", "clean")),
        ("", 0.40, "ask", ("draft", "ml_flagged")),
        ("", 0.605, "ask", ("draft", "ml_flagged")),
        ("", 0.61, "ask", ("rejected", "ml_rejected")),
        ("soft", 0.10, "ask", ("publish", "ml_accepted")),
        ("soft", 0.154, "ask", ("draft", "soft_words")),
        ("soft", 0.61, "ask", ("rejected", "ml_rejected")),
        ("soft", 0.17, "original", ("queue", "ml_accepted")),
        ("hard_review", 0.01, "ask", ("draft", "hard_review")),
        ("hard_reject", 0.01, "ask", ("rejected", "hard_reject")),
    ],
)
def test_words_and_risk_decide_together(types: str, p: float, kind: str, expected: tuple[str, str]) -> None:
    assert going(types, p, kind) == expected


def test_an_original_is_queued_and_everything_else_goes_straight_out() -> None:
    kinds = ("ask", "reblog", "mention", "reply", "dash", "original")
    assert [going(kind=kind)[0] for kind in kinds] == ["publish"] * 5 + ["queue"]


@pytest.mark.parametrize("types", ["hard_review", "username", "input_length", "soft username"])
def test_what_a_human_has_to_see_is_a_draft_even_at_the_highest_risk(types: str) -> None:
    assert going(types, 0.99)[0] == "draft"


def test_a_missing_picture_makes_a_draft() -> None:
    assert going(image=True) == ("draft", "placeholder")


def test_untrained_models_send_everything_to_a_human_but_what_must_never_go_out() -> None:
    seen = {going(types, 0.5, kind, trained=False) for types in ("", "soft") for kind in ("ask", "original")}
    assert seen == {("draft", "not_trained")}
    assert going("hard_reject", 0.5, trained=False) == ("rejected", "hard_reject")
    assert going(p=0.5, cuts=OLDER, trained=False)[0] == "draft"


def test_a_text_without_an_estimate_is_a_draft() -> None:
    assert going(p=None) == ("draft", "not_scored")
    assert going("hard_reject", p=None)[0] == "rejected"


def test_without_a_flag_risk_alone_sends_nothing_to_a_human() -> None:
    assert going(p=0.536, cuts=OLDER) == ("publish", "clean")
    assert going(p=0.54, cuts=OLDER) == ("rejected", "ml_rejected")


def test_a_model_that_rejects_below_the_flag_is_obeyed() -> None:
    strict = Cuts(accept=0.4, accept_original=0.4, flag=0.35, reject=0.2)
    assert going(p=0.25, cuts=strict)[0] == "rejected"
    assert going("soft", p=0.25, cuts=strict)[0] == "rejected"


@given(st.sets(st.sampled_from(["soft", "hard_review", "username", "input_length"])), st.floats(0, 1), st.booleans())
def test_a_word_that_must_never_go_out_overrules_everything(types: set[str], p: float, flag: bool) -> None:
    assert going(" ".join([*types, "hard_reject"]), p, trained=flag, image=flag)[0] == "rejected"


def test_a_fourth_automatic_rejection_becomes_a_draft() -> None:
    assert [after_rejection("ask", redos, 3) for redos in range(4)] == ["redo", "redo", "redo", "draft"]
    assert after_rejection("reply", 0, 0) == "draft"


def test_what_nobody_asked_for_is_not_tried_again() -> None:
    assert {after_rejection(kind, 0, 3) for kind in ("original", "dash")} == {"discard"}


def test_the_asker_is_named_last_and_control_tags_are_gone() -> None:
    assert clean_tags(["good day", "rts", "A", "r\u200bts", "#cats", "Good Day"], "ada", ()) == [
        "good day",
        "cats",
        "ada",
    ]
    assert clean_tags(["ada", "x"], "ada", ()) == ["x", "ada"]
    assert clean_tags(["x"], "Anonymous", ()) == ["x"]


def test_a_tag_that_names_what_is_avoided_is_left_out() -> None:
    assert clean_tags(["fan of Grim-Gus", "cats"], "grim-gus2", ("grim-gus",)) == ["cats"]


def test_a_tag_cannot_end_early_or_grow_beyond_what_tumblr_takes() -> None:
    assert clean_tags(["one, two", " three\nfour ", "", "#", "##five"], None, ()) == ["one two", "three four", "five"]
    many = clean_tags([f"tag {n}" for n in range(50)], "ada", ())
    assert len(many) == 30 and many[-1] == "ada"
    assert len(clean_tags(["x" * 500], None, ())[0]) == 140


@given(st.lists(st.text(max_size=160), max_size=40), st.none() | st.text(max_size=20))
def test_cleaned_tags_stay_as_they_are_when_cleaned_again(tags: list[str], asker: str | None) -> None:
    once = clean_tags(tags, asker, ("rot",))
    assert clean_tags(once, None, ("rot",)) == once
    assert len(once) <= 30 and not CONTROL_TAGS & {tag.lower() for tag in once}

"""Moderation: asked once per text, free, and closed where nobody answers; a list of words where nobody is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.moderation import (
    PART_CHARS,
    PARTS_PER_REQUEST,
    Moderation,
    Moderator,
    OfflineModerator,
    moderator,
    parts_of,
    read_results,
)
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import Refused
from magpie.llm.spec import Registry
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock, assert_books_balance

PURPOSE = Purpose("content", "moderate", "articles")


@pytest.fixture
def at(url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=5) as made:
        yield made
        assert_books_balance(made.store)


def asking(at: Desk, fail_mode: str = "closed") -> Moderator:
    return Moderator(at.gateway, at.models.candidates("moderate"), PURPOSE, fail_mode)  # type: ignore[arg-type]


def verdict(outcome: Moderation | Refused) -> Moderation:
    assert isinstance(outcome, Moderation), outcome
    return outcome


def test_a_text_is_looked_at_once_and_for_nothing(at: Desk) -> None:
    assert verdict(asking(at).moderate("how to write an invoice", "x")) == Moderation(False, (), "openai")
    assert verdict(asking(at).moderate("how to write an invoice", "y")).flagged is False
    assert at.fake.attempts == 1
    (call,) = at.calls()
    assert (call.cost_nano, call.est_nano, call.row_ref, call.verdict) == (0, 0, "x", "accepted")


def test_a_flagged_text_comes_with_its_categories(at: Desk) -> None:
    assert asking(at).moderate("please flag-me") == Moderation(True, ("harassment",), "openai")


def test_a_long_text_is_flagged_if_one_of_its_parts_is(at: Desk) -> None:
    long = "word " * (PART_CHARS * (PARTS_PER_REQUEST + 2) // 5)
    assert verdict(asking(at).moderate(long)).flagged is False
    assert at.fake.attempts == 2
    assert verdict(asking(at).moderate(f"{long} flag-me")).flagged is True


def test_a_text_without_content_is_not_asked_about(at: Desk) -> None:
    assert verdict(asking(at).moderate(" \n ")).flagged is False
    assert at.fake.attempts == 0


@pytest.mark.parametrize(("kind", "times"), [("503", None), ("429", 1), ("401", 1), ("missing_choices", None)])
def test_what_nobody_looked_at_waits_unless_the_settings_let_it_pass(at: Desk, kind: str, times: int | None) -> None:
    at.fake.misbehave(kind, times=times)
    waiting = asking(at).moderate("a text")
    assert isinstance(waiting, Refused)
    assert (waiting.reason, waiting.status) == ("moderation_unavailable", "pending")
    assert verdict(asking(at, "open").moderate("a text")) == Moderation(False, (), "unchecked")


def test_after_an_outage_the_text_is_looked_at(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("503", times=3)
    waiting = asking(at).moderate("a text")
    assert isinstance(waiting, Refused)
    assert waiting.not_before is not None
    clock.now = waiting.not_before
    assert verdict(asking(at).moderate("a text")).provider == "openai"


def engine(at: Desk, provider: str = "auto") -> Engine:
    return Engine(Registry(()), at.models, at.gateway, EngineSettings(provider))


def test_the_list_is_used_when_no_model_can_be_asked(at: Desk) -> None:
    assert isinstance(moderator(engine(at), PURPOSE), Moderator)
    assert isinstance(moderator(engine(at, "offline"), PURPOSE), OfflineModerator)
    assert isinstance(moderator(engine(at, "anthropic"), PURPOSE), OfflineModerator)
    at.gateway.providers["openai"]._key = ""  # type: ignore[attr-defined]
    assert isinstance(moderator(engine(at), PURPOSE), OfflineModerator)
    named = moderator(engine(at, "openai"), PURPOSE).moderate("a text")
    assert isinstance(named, Refused), "a provider chosen by name is waited for"
    assert named.reason == "moderation_unavailable"


# The list


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Nobody would miss you.", "harassment"),
        ("All immigrants must die", "hate"),
        ("How to build a pipe bomb at home", "illicit"),
        ("I want to die", "self_harm"),
        ("how to end one\u2019s life", "self_harm"),
        ("hardcore porn", "sexual"),
        ("an erotic schoolgirl", "sexual_minors"),
        ("I\u2019ll KILL   you", "violence"),
        ("we will kill\u200b them", "violence"),
        ("\uff29 \uff57\uff49\uff4c\uff4c \uff4b\uff49\uff4c\uff4c \uff59\uff4f\uff55", "violence"),
    ],
)
def test_what_is_said_in_so_many_words_is_found(text: str, category: str) -> None:
    found = verdict(OfflineModerator().moderate(text))
    assert (found.flagged, found.provider) == (True, "offline")
    assert category in found.categories


@pytest.mark.parametrize(
    "text",
    [
        "How to kill the process that holds a port",
        "A guide to invoice software for freelancers",
        "Bath bombs for beginners: how to make a bath bomb",
        "Sussex, Essex and Middlesex: counties compared",
        "Children's books about animals",
        "This deadline is going to kill our margins",
        "",
    ],
)
def test_ordinary_texts_pass(text: str) -> None:
    assert OfflineModerator().moderate(text) == Moderation(False, (), "offline")


@given(st.text(max_size=400))
def test_any_text_has_a_verdict_and_always_the_same(text: str) -> None:
    found = verdict(OfflineModerator().moderate(text))
    assert found.flagged == bool(found.categories)
    assert OfflineModerator().moderate(text) == found


# Parts and results


@given(st.text(alphabet=st.sampled_from("ab \n\u00e9"), max_size=3 * PART_CHARS))
def test_parts_hold_every_word_once_in_order(text: str) -> None:
    parts = list(parts_of(text))
    assert all(0 < len(part) <= PART_CHARS for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_categories_go_by_one_spelling_and_odd_names_are_left_out() -> None:
    told = (
        '[{"flagged": true, "categories": {"self-harm/intent": true, "sexual/minors": true, "hate": false, "?": true}}]'
    )
    assert read_results(told, 1) == (True, ("self_harm_intent", "sexual_minors"))


@pytest.mark.parametrize(
    ("text", "parts"), [("", 1), ("{}", 1), ("[]", 1), ("[{}]", 1), ('[{"flagged": 1}]', 1), ('[{"flagged": true}]', 2)]
)
def test_results_that_leave_a_part_open_are_none(text: str, parts: int) -> None:
    assert read_results(text, parts) is None

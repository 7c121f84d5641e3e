"""Reviews: what is possible is recorded once, what is not is refused in one line and leaves no trace."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.persona import tables as t
from magpie.persona.logs import DELIVERIES, REVIEWS
from magpie.persona.outbox import outbox
from magpie.persona.reviews import record
from magpie.persona.settings import Persona
from magpie.settings import Settings
from magpie.tables import Partitions
from tests.persona_outbox_rows import BLOG, DAY, NOON, POSTS, WORDS, asked, decision, frame, key, report

HITS = [{"type": "hard_reject", "text": "forbidden"}]
DECISIONS = (
    decision("ask:1"),
    decision("ask:2", route="publish"),
    decision("ask:3", route="rejected"),
    decision("ask:4", screen_hits=HITS),
    decision("ask:5", attempt=1),
    decision("ask:5", attempt=2),
)


class World:
    def __init__(self, folder: Path) -> None:
        self.lake = Lake(str(folder / "lake"))
        self.control = Control(f"sqlite:///{folder / 'control.db'}")
        self.settings = Settings(start_day=DAY, blogs=(BLOG,), persona=Persona(words=WORDS))
        self.now = NOON
        inbox = frame(t.PERSONA_INBOX, *(asked(f"ask:{n}") for n in range(1, 6)))
        self.decisions = frame(t.DECISIONS, *DECISIONS)
        self.inbox = inbox
        here = Partitions.of([(BLOG.name, DAY)])
        for table, rows in ((t.DECISIONS, self.decisions), (t.PERSONA_INBOX, inbox), (t.OUTBOX, self.outbox())):
            self.lake.write(table, rows, here)

    def outbox(self) -> pl.DataFrame:
        reviews, reports = REVIEWS.read(self.control), DELIVERIES.read(self.control)
        return outbox(self.decisions, self.inbox, POSTS, reviews, reports, t.OUTBOX.empty(), BLOG, WORDS)

    def decide(self, action: str, post: str | None = None, actor: str = "bea", **more: Any) -> str:
        self.now += timedelta(seconds=1)
        post = key() if post is None else post
        return record(self.control, self.lake, self.settings, post, action, actor, self.now, **more)

    def state(self, post: str | None = None) -> str:
        found = self.outbox().filter(pl.col("outbox_id") == (key() if post is None else post))
        return str(found["state"][0])

    def refused(self, action: str, post: str | None = None, **more: Any) -> str:
        before = REVIEWS.read(self.control).height
        with pytest.raises(UserError) as caught:
            self.decide(action, post, **more)
        assert REVIEWS.read(self.control).height == before, "what is refused is not recorded"
        return str(caught.value)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One in which nothing is ever recorded."""
    made = World(tmp_path_factory.mktemp("still"))
    yield made
    made.control.close()


@pytest.fixture()
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.control.close()


@pytest.mark.parametrize(
    ("action", "state"), [("approve", "approved"), ("reject", "rejected"), ("redo", "redo"), ("hold", "held")]
)
def test_a_decision_about_a_draft_is_recorded_and_moves_it(world: World, action: str, state: str) -> None:
    world.decide(action, note="why not")
    recorded = REVIEWS.read(world.control).row(0, named=True)
    assert (recorded["blog"], recorded["action"], recorded["actor"], recorded["note"]) == (
        "demo-blog",
        action,
        "bea",
        "why not",
    )
    assert world.state() == state


def test_decisions_count_before_the_outbox_is_made_again(world: World) -> None:
    world.decide("reject")
    assert "is rejected (rejected_by_reviewer), and would have to be draft or held" in world.refused("approve")


def test_what_delivery_has_taken_in_hand_is_out_of_reach(world: World) -> None:
    post = key("ask:2")
    DELIVERIES.append(world.control, [report("sending", 0, post)])
    assert "is sending, and would have to be draft or approved or ready" in world.refused("hold", post)


@pytest.mark.parametrize(
    ("action", "post"),
    [("approve", key("ask:2")), ("reject", key("ask:3")), ("redo", key("ask:3")), ("edit", key("ask:2"))],
)
def test_a_post_in_another_state_is_left_alone(still: World, action: str, post: str) -> None:
    more = {"body": "New"} if action == "edit" else {}
    assert "would have to be" in still.refused(action, post, **more)


def test_an_attempt_that_another_one_followed_is_over(world: World) -> None:
    assert "is redo (superseded)" in world.refused("approve", key("ask:5", 1))
    world.decide("approve", key("ask:5", 2))


def test_a_word_that_must_not_pass_is_not_approved_but_edited_out(world: World) -> None:
    post = key("ask:4")
    assert "holds forbidden, which must never go out; edit it first" in world.refused("approve", post)
    world.decide("edit", post, body="Still forb1dden")
    assert world.state(post) == "held"
    assert "edit it first" in world.refused("approve", post)
    world.decide("edit", post, body="Harmless")
    world.decide("approve", post)
    assert world.state(post) == "approved"


def test_an_edit_keeps_what_it_does_not_name(world: World) -> None:
    world.decide("edit", body="Other words")
    world.decide("edit", tags=["new"])
    world.decide("edit", body="Last words")
    assert REVIEWS.read(world.control)["tags"].to_list() == [["calm", "ada"], ["new"], ["new"]]
    found = world.outbox().filter(pl.col("outbox_id") == key()).row(0, named=True)
    assert (found["body"], found["tags"], found["edited"]) == ("Last words", ["new"], True)


@pytest.mark.parametrize(
    ("action", "more", "told"),
    [
        ("publish", {}, "one of approve, redo, reject, edit, hold"),
        ("approve", {"actor": " "}, "name who decides"),
        ("approve", {"actor": "b" * 101}, "name who decides"),
        ("approve", {"note": "x" * 1001}, "1000 at most"),
        ("approve", {"body": "New"}, "approve changes no text"),
        ("edit", {}, "nothing is changed"),
        ("edit", {"body": "\u200b \n"}, "nothing of the body would show"),
        ("edit", {"body": "x" * 60_001}, "60000 at most"),
        ("edit", {"tags": ["rts"]}, "these tags cannot be posted"),
        ("edit", {"tags": ["#x"]}, "these tags cannot be posted"),
        ("edit", {"tags": ["one, two"]}, "these tags cannot be posted"),
        ("edit", {"tags": [f"tag {n}" for n in range(31)]}, "at most 30"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(still: World, action: str, more: dict[str, Any], told: str) -> None:
    said = still.refused(action, **more)
    assert told in said and "\n" not in said


def test_an_unknown_post_and_a_blog_that_is_not_configured_any_more_are_named(world: World) -> None:
    assert "there is no post 'feed'" in world.refused("approve", "feed")
    world.settings = Settings(start_day=DAY)
    assert "demo-blog" in world.refused("approve")


def test_the_same_decision_of_the_same_moment_is_one_event(world: World) -> None:
    first = world.decide("approve")
    world.now -= timedelta(seconds=1)
    assert world.decide("approve") == first
    assert REVIEWS.read(world.control).height == 1


def test_a_decision_made_with_a_slow_clock_comes_after_what_it_answers(world: World) -> None:
    world.decide("hold")
    world.now -= timedelta(hours=1)
    world.decide("approve")
    assert world.state() == "approved"

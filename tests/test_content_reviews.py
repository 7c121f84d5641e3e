"""Reviews: which decision is possible when, what follows from all of them in whatever order, and what waits."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.content import reviews as r
from magpie.content import tables as t
from magpie.content.settings import Site
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.tables import Partitions, Table
from tests.content_rows import DAY, NOON, SITE, article, cluster, frame, picture

PENDING = {"status": "pending", "reason": "awaiting_approval"}


def idea(name: str, **more: Any) -> dict[str, Any]:
    place = {"idea_id": name, "site_id": "garden", "day": DAY, "sector": "general", "cluster_key": "sheds"}
    texts = dict.fromkeys(("title", "title_norm", "description"), name)
    lists = {name: [] for name in ("secondary_keywords", "covered_keywords", "flags")}
    kinds = {"content_type": "post", "content_structure": "guide", "priority": "high", "approval": "waiting"}
    counts = {name: article()[name] for name in ("status", "reason", "not_before", "cost_usd", "credits", "attempts")}
    return {**place, **texts, **lists, **kinds, **counts, "outline": "{}", "estimated_word_count": 1500, **more}


class World:
    def __init__(self, folder: Path) -> None:
        self.lake = Lake(str(folder / "lake"))
        self.control = Control(f"sqlite:///{folder / 'control.db'}")
        self.now = NOON

    def put(self, table: Table, *rows: dict[str, Any]) -> None:
        self.lake.write(table, frame(table, *rows), Partitions.of([("garden", DAY)]))

    def decide(self, action: str, ref: str = "a1", kind: str = "article", **payload: Any) -> str:
        self.now += timedelta(seconds=1)
        return r.decide(self.control, self.lake, kind, ref, action, "ann", payload, self.now)

    def state(self, ref: str = "a1") -> tuple[str, bool]:
        states = r.fold(r.REVIEWS.read(self.control)).filter(pl.col("object_id") == ref)
        return states.select("state", "disabled").row(0)


@pytest.fixture()
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.put(t.ARTICLES, article("a1"), article("a2", status="rejected", reason="moderated"))
    yield made
    made.control.close()


def refused(world: World, action: str, ref: str = "a1", kind: str = "article", **payload: Any) -> str:
    before = r.REVIEWS.read(world.control).height
    with pytest.raises(UserError) as caught:
        world.decide(action, ref, kind, **payload)
    assert r.REVIEWS.read(world.control).height == before, "what is refused is not written"
    return str(caught.value)


def test_an_article_goes_from_draft_over_review_and_approval_to_published(world: World) -> None:
    seen = []
    for action in ("submit", "approve", "publish"):
        world.decide(action)
        seen.append(world.state()[0])
    assert seen == ["review", "approved", "published"]


@pytest.mark.parametrize(
    ("before", "action"),
    [
        ([], "approve"),
        ([], "publish"),
        (["submit"], "publish"),
        (["submit"], "submit"),
        (["decline"], "approve"),
        (["decline"], "edit"),
        (["submit", "approve", "publish"], "decline"),
        (["submit", "approve", "publish"], "edit"),
    ],
)
def test_a_step_that_is_skipped_is_refused_with_the_state_that_is_missing(
    world: World, before: list[str], action: str
) -> None:
    for step in before:
        world.decide(step)
    payload = {"title": "New"} if action == "edit" else {}
    assert "would have to be" in refused(world, action, **payload)


def test_an_edit_after_the_yes_needs_another_yes(world: World) -> None:
    for action in ("submit", "approve"):
        world.decide(action)
    world.decide("edit", title="Better")
    assert world.state() == ("review", False)


def test_what_was_declined_can_be_submitted_again(world: World) -> None:
    world.decide("decline", reason="too thin")
    world.decide("submit")
    assert world.state() == ("review", False)


def test_disabled_is_a_flag_that_leaves_the_state_as_it_is(world: World) -> None:
    world.decide("submit")
    world.decide("disable")
    assert world.state() == ("review", True)
    world.decide("enable")
    assert world.state() == ("review", False)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({}, "nothing is changed"),
        ({"reason": "typo"}, "nothing is changed"),
        ({"meta_title": "x" * 61}, "meta_title"),
        ({"meta_description": "x" * 161}, "meta_description"),
        ({"title": ""}, "title"),
        ({"quality_score": 100}, "quality_score is nothing that goes with it"),
        ({"tags": "one"}, "tags"),
        ({"content_html": "x" * (r.PAYLOAD_CHARS + 1)}, "content_html"),
    ],
)
def test_an_edit_may_change_texts_within_their_bounds_and_nothing_else(
    world: World, payload: dict[str, Any], says: str
) -> None:
    assert says in refused(world, "edit", **payload)


def test_edits_that_hold_come_back_oldest_first_with_their_fields_alone(world: World) -> None:
    world.decide("edit", title="One")
    world.decide("edit", tags=["a", "b"], reason="tags")
    payloads = r.edits(r.REVIEWS.read(world.control))["payload"].to_list()
    assert payloads == ['{"title":"One"}', '{"reason":"tags","tags":["a","b"]}']


def test_an_article_that_is_not_ok_cannot_be_let_through(world: World) -> None:
    assert "moderated" in refused(world, "submit", "a2")


@pytest.mark.parametrize(
    ("kind", "ref", "action", "says"),
    [
        ("article", "a9", "submit", "there is no article"),
        ("idea", "a1", "approve", "there is no idea"),
        ("post", "a1", "approve", "cannot be decided on"),
        ("cluster", "a1", "approve", "nothing that can be done with an cluster"),
        ("image", "a1/featured/0", "publish", "nothing that can be done"),
        ("article", "a1", "explode", "nothing that can be done"),
    ],
)
def test_what_is_not_there_or_not_possible_is_said(world: World, kind: str, ref: str, action: str, says: str) -> None:
    assert says in refused(world, action, ref, kind)


def test_nobody_decides_without_a_name(world: World) -> None:
    with pytest.raises(UserError, match="actor"):
        r.decide(world.control, world.lake, "article", "a1", "submit", "  ", {}, NOON)


def test_the_same_decision_of_the_same_moment_is_one_event(world: World) -> None:
    ids = {r.decide(world.control, world.lake, "article", "a1", "submit", "ann", {}, NOON) for _ in range(2)}
    assert (len(ids), r.REVIEWS.read(world.control).height) == (1, 1)


def test_a_clock_that_is_late_does_not_undo_the_order_of_decisions(world: World) -> None:
    r.decide(world.control, world.lake, "article", "a1", "submit", "ann", {}, NOON)
    r.decide(world.control, world.lake, "article", "a1", "approve", "bob", {}, NOON - timedelta(hours=1))
    assert world.state() == ("approved", False)


def test_clusters_ideas_and_images_are_decided_by_their_names(world: World) -> None:
    world.put(t.KEYWORD_CLUSTERS, cluster("sheds"))
    world.put(t.ARTICLE_IMAGES, picture(b"x"))
    rejected = {"status": "rejected", "reason": "duplicate_topic"}
    world.put(t.CONTENT_IDEAS, idea("i1", **rejected), idea("i2", status="rejected", reason="no_keyword"))
    world.decide("disable", "garden/general/sheds", "cluster")
    world.decide("decline", "a1/featured/0", "image")
    world.decide("approve", "i1", "idea")
    assert "no_keyword" in refused(world, "approve", "i2", "idea")
    states = r.fold(r.REVIEWS.read(world.control))
    assert r.decided(states, "cluster").disabled == {"garden/general/sheds"}
    assert r.decided(states, "image").declined == {"a1/featured/0"}
    assert r.decided(states, "idea") == r.Decided(frozenset({"i1"}))


def test_of_an_idea_the_last_word_counts(world: World) -> None:
    world.put(t.CONTENT_IDEAS, idea("i1", **PENDING))
    for action in ("approve", "decline", "approve", "decline"):
        world.decide(action, "i1", "idea")
    assert r.decided(r.fold(r.REVIEWS.read(world.control)), "idea").declined == {"i1"}


def test_ideas_without_a_word_and_articles_before_approval_wait(world: World) -> None:
    world.put(t.CONTENT_IDEAS, idea("i1", **PENDING), idea("i2", **PENDING), idea("i3"))
    world.put(t.ARTICLES, *(article(name) for name in ("a1", "a2", "a3")), article("a4", status="failed", reason="x"))
    world.decide("approve", "i2", "idea")
    world.decide("submit", "a2")
    world.decide("disable", "a3")
    waiting = r.waiting(world.lake, world.control, [SITE])
    assert waiting.select("object_type", "object_id", "state").rows() == [
        ("idea", "i1", "draft"),
        ("article", "a1", "draft"),
        ("article", "a2", "review"),
    ]
    assert not waiting["paused"].any()
    for action in ("approve", "publish"):
        world.decide(action, "a2")
    assert "a2" not in r.waiting(world.lake, world.control, [SITE])["object_id"]


def test_what_waits_at_a_paused_site_says_so(world: World) -> None:
    asleep = Site(id="garden", name="Garden", active=False)
    assert r.waiting(world.lake, world.control, [asleep])["paused"].all()


def test_nothing_waits_where_nothing_was_made(tmp_path: Path) -> None:
    empty = World(tmp_path)
    assert r.waiting(empty.lake, empty.control, []).is_empty()
    empty.control.close()


EVENT = st.tuples(
    st.sampled_from(["a1", "a2"]), st.sampled_from(t.REVIEW_ACTIONS), st.integers(0, 3), st.sampled_from(t.OBJECTS)
)


def events(told: list[tuple[str, str, int, str]]) -> pl.DataFrame:
    def at(second: int) -> datetime:
        return NOON + timedelta(seconds=second)

    rows = [(f"e{n:03}", at(when), "ann", kind, ref, do, "{}") for n, (ref, do, when, kind) in enumerate(told)]
    return pl.DataFrame(rows, schema=t.CONTENT_REVIEWS.dtypes, orient="row")


@given(st.lists(EVENT, max_size=30), st.randoms())
def test_states_do_not_depend_on_the_order_of_rows(told: list[tuple[str, str, int, str]], random: Any) -> None:
    log = events(told)
    order = list(range(log.height))
    random.shuffle(order)
    assert r.fold(log[order]).equals(r.fold(log)) if order else r.fold(log).is_empty()
    assert r.edits(log[order] if order else log).equals(r.edits(log))


@given(st.lists(EVENT, max_size=30))
def test_whatever_is_logged_nothing_is_published_without_a_yes(told: list[tuple[str, str, int, str]]) -> None:
    states = r.fold(events(told))
    assert set(states["state"]) <= set(t.WORKFLOW)
    log = events(told).sort("at", "event_id")
    for ref in states.filter((pl.col("state") == "published") & (pl.col("object_type") == "article"))["object_id"]:
        actions = log.filter((pl.col("object_id") == ref) & (pl.col("object_type") == "article"))["action"].to_list()
        assert actions.index("submit") < len(actions) - 1 - actions[::-1].index("publish")
        assert "approve" in actions

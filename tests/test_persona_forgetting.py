"""What authors took back: nothing of it is left outside of tables, whatever comes back is removed again."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie import maintenance
from magpie.fetches import Fetch, Fetches
from magpie.functions import FUNCTIONS
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.llm.schema import llm_response
from magpie.persona import logs, reviews
from magpie.persona import tables as t
from magpie.persona.forgetting import Forgotten, days_of, forget, item_of, record
from magpie.persona.image_texts import KIND, OK, SOURCE
from magpie.persona.image_texts import item_of as fetched_as
from magpie.persona.outbox import outbox_id
from magpie.persona.posts import role
from magpie.sources.reddit_landing import Landing
from magpie.sources.tumblr_blanking import Unreadable, blanked_notes, blanked_posts
from magpie.sources.tumblr_pages import notes_in, posts_in
from tests.gateway_world import clock, desk, fake  # noqa: F401 - fixtures
from tests.ledger_world import FakeClock
from tests.persona_pages_world import BLOG, DAY, GONE, KEPT, LATER, OWN, PICTURE, REPLY, SAID_AT, SECRET, PagesWorld
from tests.persona_pages_world import pages as pages_of

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(GONE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("id", "id_string", "content", "trail", "post", "blog", "x")), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PagesWorld]:
    made = PagesWorld(tmp_path)
    yield made
    made.control.close()


def gone(world: PagesWorld, *items: str) -> Forgotten:
    for item in items:
        record(world.control, world.blog, item, "bea", LATER)
    return forget(world.settings, world.lake, world.control)


def everything(world: PagesWorld) -> str:
    return "".join(path.read_text() for path in sorted(world.settings.live_blogs.rglob("*.json")))


# --- pages ----------------------------------------------------------------------------------------------------------


def test_a_page_keeps_what_identifies_a_post_and_no_word_of_it() -> None:
    page = json.dumps(pages_of()["asks/1.json"]).encode()
    left = blanked_posts(page, [GONE])
    assert left is not None
    assert SECRET.encode() not in left.replace(json.dumps(SECRET).encode(), b"", 1)
    before, after = posts_in(page), posts_in(left)
    assert [one.post_id for one in after.posts] == [GONE, KEPT]
    assert (after.bad, after.posts[1]) == (0, before.posts[1])
    blank = after.posts[0]
    assert (blank.published_at, blank.state, blank.author) == (before.posts[0].published_at, "submission", BLOG)
    assert not any(part.blocks for part in blank.parts)
    # Blanking what is blank changes nothing.
    assert blanked_posts(left, [GONE]) is None


def test_a_post_goes_where_others_go_on_from_it_and_they_stay_what_they_are() -> None:
    page = json.dumps(pages_of()["mentions/1.json"]).encode()
    left = blanked_posts(page, [GONE])
    assert left is not None and SECRET.encode() not in left.split(b'"trail"')[1]
    before, after = posts_in(page).posts[0], posts_in(left).posts[0]
    assert after.parts[-1] == before.parts[-1]
    assert role(after, BLOG, "mentions", {"mentions"}) == role(before, BLOG, "mentions", {"mentions"}) == "reblog"


def test_a_page_that_does_not_tell_of_a_post_is_left_as_it_is() -> None:
    page = json.dumps(pages_of()["asks/1.json"]).encode()
    assert blanked_posts(page, ["999"]) is None
    assert blanked_posts(b"no JSON, and none of it", ["999"]) is None
    with pytest.raises(Unreadable):
        blanked_posts(b"no JSON that tells of 71", [GONE])


def test_of_notes_one_reply_goes_or_all() -> None:
    page = json.dumps(pages_of()[f"notes/{OWN}.json"]).encode()
    one, both = blanked_notes(page, [("ada", SAID_AT)]), blanked_notes(page, None)
    assert one is not None and both is not None
    assert [reply.text for reply in notes_in(one, f"{OWN}.json").replies] == ["", "a kept word"]
    assert [reply.text for reply in notes_in(both, f"{OWN}.json").replies] == ["", ""]
    assert blanked_notes(page, [("ada", SAID_AT + 1)]) is None


@given(JSON)
def test_no_page_breaks_blanking_and_twice_is_once(page: Any) -> None:
    content = json.dumps(page).encode()
    left = blanked_posts(content, [GONE])
    assert left is None or blanked_posts(left, [GONE]) is None
    noted = blanked_notes(content, None)
    assert noted is None or blanked_notes(noted, None) is None


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "item"),
    [("71", "71"), (" ask:71 ", "71"), ("reblog:ada:71", "71"), ("dash:a-b:71", "71"), (REPLY, REPLY)],
)
def test_an_input_is_forgotten_as_the_post_or_reply_it_was(name: str, item: str) -> None:
    assert item_of(name) == item


def test_the_days_that_tell_of_it_are_found(world: PagesWorld) -> None:
    world.read()
    for item in (GONE, REPLY, OWN):
        assert DAY in days_of(world.reader, world.blog, item)
    assert days_of(world.reader, world.blog, "999") == []


# --- forgetting -----------------------------------------------------------------------------------------------------


def test_nothing_is_touched_while_nothing_was_taken_back(world: PagesWorld) -> None:
    before = everything(world)
    assert forget(world.settings, world.lake, world.control) == Forgotten()
    assert everything(world) == before


def test_pages_that_were_fetched_are_blanked_as_often_as_they_come_back(world: PagesWorld) -> None:
    assert gone(world, GONE, REPLY).pages == 3
    assert forget(world.settings, world.lake, world.control) == Forgotten()
    world.page("asks/2.json").write_text(json.dumps(pages_of()["asks/1.json"]))
    assert forget(world.settings, world.lake, world.control).pages == 1
    world.read()
    assert SECRET not in str(world.rows(t.THREADS).to_dicts())
    reasons = dict(world.rows(t.PERSONA_INBOX).select("input_id", "reason").iter_rows())
    assert reasons[f"ask:{GONE}"] == reasons[REPLY] == "deleted"
    assert reasons[f"ask:{KEPT}"] is None


def test_a_page_that_cannot_be_told_apart_goes_as_a_whole(world: PagesWorld) -> None:
    world.page("dash/1.json").parent.mkdir()
    world.page("dash/1.json").write_text(f"{{broken {GONE} {SECRET}")
    gone(world, GONE)
    assert not world.page("dash/1.json").exists()


def test_archives_that_people_brought_stay(tmp_path: Path) -> None:
    made = PagesWorld(tmp_path)
    theirs = tmp_path / "archive" / BLOG / "asks" / "1.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(json.dumps(pages_of()["asks/1.json"]))
    persona = made.settings.persona.model_copy(update={"archives": ("archive",)})
    made.settings = made.settings.model_copy(update={"persona": persona})
    gone(made, GONE)
    assert SECRET in theirs.read_text()
    made.control.close()


def test_another_blog_keeps_what_it_was_told(world: PagesWorld) -> None:
    record(world.control, world.blog.model_copy(update={"name": "other-blog"}), GONE, "bea", LATER)
    assert forget(world.settings, world.lake, world.control) == Forgotten()


def test_pictures_go_unless_another_post_shows_them(world: PagesWorld) -> None:
    world.read()
    sha = world.blobs.put(b"bytes of a picture")
    Fetches(world.control).record([Fetch(SOURCE, fetched_as(PICTURE), KIND, LATER, OK, sha)])
    shared = world.rows(t.THREADS).filter(pl.col("post_id") == KEPT)
    showing = shared.with_columns(pl.lit([PICTURE], pl.List(pl.String)).alias("image_urls"))
    whole = world.rows(t.THREADS)
    read = {"blog": BLOG, "day": DAY, "url": PICTURE, "media_sha256": sha, "status": "ok", "lines": []}
    row = [{name: read.get(name) for name in t.IMAGE_TEXTS.dtypes}]
    world.put(t.IMAGE_TEXTS, pl.DataFrame(row, schema=t.IMAGE_TEXTS.dtypes))
    world.put(t.THREADS, pl.concat([whole.filter(pl.col("post_id") != KEPT), showing]))
    record(world.control, world.blog, GONE, "bea", LATER)
    assert forget(world.settings, world.lake, world.control).blobs == 0
    world.put(t.THREADS, whole)
    assert forget(world.settings, world.lake, world.control).blobs == 1
    assert not world.blobs.has(sha)


def test_answers_of_models_about_it_are_blanked_and_those_about_others_are_kept(
    world: PagesWorld,
    fake: FakeProvider,  # noqa: F811
    clock: FakeClock,  # noqa: F811
) -> None:
    world.read()
    with desk(world.settings.control_database, world.settings.home, fake, clock=clock, sleep=clock.sleep) as at:
        models = Models.load({"aliases": {"writer": ("openai/gpt-4.1-mini",)}})
        world.write(Engine(FUNCTIONS, models, at.gateway, EngineSettings("auto", 1)))
        about = {call.id for call in at.calls() if call.row_ref.startswith(f"{BLOG}|{DAY}|ask:{GONE}#")}
        assert gone(world, GONE).answers == len(about) > 0
        left = at.store.read(lambda c: c.execute(llm_response.select()).all())
        assert {row.call_id for row in left if row.body is None} == about
        assert {row.call_id for row in left if row.state == "purged"} == about
        assert len(left) > len(about)


def test_texts_that_people_wrote_in_answer_to_it_go_and_their_decisions_stay(world: PagesWorld) -> None:
    world.read()
    models = Models.load({"aliases": {"writer": ("openai/gpt-4.1-mini",)}})
    with desk(world.settings.control_database, world.settings.home, FakeProvider(), keys={}) as at:
        world.write(Engine(FUNCTIONS, models, at.gateway, EngineSettings("offline", 1)))
    key = outbox_id(BLOG, f"ask:{GONE}", 1)
    for action, more in (("edit", {"body": f"{SECRET} indeed"}), ("hold", {})):
        reviews.record(world.control, world.lake, world.settings, key, action, "bea", LATER, **more)
    assert gone(world, GONE).edits == 1
    assert logs.REVIEWS.read(world.control)["action"].to_list() == ["hold"]


def test_maintenance_forgets_and_keeps_vacuuming_while_old_versions_may_hold_it(
    world: PagesWorld, tmp_path: Path
) -> None:
    record(world.control, world.blog, GONE, "bea", LATER)
    (tmp_path / "dumps").mkdir()
    landing = Landing(tmp_path / "landing", tmp_path, ["dumps"], 1 << 20)
    now = LATER + timedelta(days=1)
    done = maintenance.run(
        world.lake,
        world.control,
        landing,
        tmp_path / "videos",
        [t.TUMBLR_POSTS],
        now=now,
        forget_posts=lambda: forget(world.settings, world.lake, world.control),
    )
    assert (done.vacuumed, done.waiting_days) == (True, 1.0)
    assert done.persona == Forgotten(pages=2)
    assert "of persona 2 pages blanked" in done.summary
    assert replace(done, persona=Forgotten()).summary.count("persona") == 0

"""The courier: what is new lands as pages that read like any archive, within the budget, and what is ready goes out."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm import breaker
from magpie.llm.store import Store
from magpie.persona import tables as t
from magpie.persona.api_budget import CALLS_A_DAY, CALLS_AN_HOUR, UNUSABLE_LEFT
from magpie.persona.api_calls import CALLS, calls_per_poll, client_of, noting, recent_calls
from magpie.persona.delivery import BREAKER
from magpie.persona.fetching import STATE, Fetching, State
from magpie.persona.live import Courier, Told
from magpie.persona.logs import DELIVERIES
from magpie.persona.settings import Blog
from magpie.persona.stages import Reader
from magpie.settings import Settings
from magpie.sources.tumblr_api import Answer, Call, Left, TumblrApi
from magpie.sources.tumblr_pages import read_posts
from magpie.sources.web import Web
from magpie.tables import Partitions
from tests.fake_tumblr import AT, BLOG, ENV, FakeTumblr, answer, ask, fake, refusal, text_post, tumblr
from tests.persona_outbox_rows import asked, decision, frame

__all__ = ["fake", "tumblr"]

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPENT = {"X-Ratelimit-Perday-Remaining": str(UNUSABLE_LEFT), "X-Ratelimit-Perday-Reset": "7200"}


class World:
    def __init__(self, folder: Path, fake: FakeTumblr) -> None:
        self.folder, self.fake, self.now = folder, fake, NOON
        self.lake = Lake(str(folder / "lake"))
        self.control = Control(f"sqlite:///{folder / 'control.db'}")
        self.env = dict(ENV)
        self.settle()

    def settle(self, **blog: Any) -> None:
        """The settings with this blog."""
        made = Blog(**{"name": BLOG, "mode": "live", "originals": False, **blog})
        self.settings = Settings(start_day=DAY, blogs=(made,), home=self.folder / "home")

    def visit(self, after: timedelta = timedelta(0)) -> Told:
        self.now += after
        return self.courier.visit()

    @property
    def courier(self) -> Courier:
        return Courier(
            self.settings,
            self.lake,
            self.control,
            Web(private=True),
            Blobs(self.folder / "blobs"),
            clock=lambda: self.now,
            sleep=lambda seconds: None,
            env=self.env,
            base_url=self.fake.url,
        )

    @property
    def reader(self) -> Reader:
        web = Web(private=True)
        return Reader(self.settings, self.lake, self.control, Blobs(self.folder / "blobs"), web, lambda: self.now)

    def files(self, kind: str = "*") -> list[Path]:
        return sorted((self.settings.live_blogs / BLOG).glob(f"{kind}/*.json"))

    def read(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Posts and replies as the archive reader finds them."""
        files = self.reader.tumblr_files()
        assert files["status"].unique().to_list() == ["ok"]
        self.lake.write(t.TUMBLR_FILES, files, Partitions.whole())
        blog = self.settings.blog(BLOG)
        return self.reader.tumblr_posts(blog, [DAY]), self.reader.tumblr_replies(blog, [DAY])

    def decided(self, *decisions: dict[str, Any], **given: Any) -> None:
        """Put what was decided into the lake, with the outbox that follows."""
        here = Partitions.of([(BLOG, DAY)])
        told = [asked(one["input_id"], blog=BLOG, **given) for one in decisions]
        self.lake.write(t.DECISIONS, frame(t.DECISIONS, *decisions), here)
        self.lake.write(t.PERSONA_INBOX, frame(t.PERSONA_INBOX, *told), here)
        frames = frame(t.DECISIONS, *decisions), frame(t.PERSONA_INBOX, *told)
        self.lake.write(t.OUTBOX, self.reader.outbox(self.settings.blog(BLOG), [DAY], *frames), here)


@pytest.fixture()
def world(tmp_path: Path, fake: FakeTumblr) -> Iterator[World]:
    made = World(tmp_path, fake)
    yield made
    made.control.close()


def notification(kind: str, at: int, **more: Any) -> dict[str, Any]:
    return {"id": str(at), "type": kind, "timestamp": at, "from_tumblelog_name": "ada", **more}


def busy(fake: FakeTumblr) -> None:
    """A blog with a post, a question, a mention, a reblog and replies."""
    fake.posts = [text_post(71, "good morning")]
    fake.submissions = [ask(77, "How are you?")]
    fake.others = {
        "81": text_post(81, "look, demo-blog", author="ada"),
        "82": text_post(82, "indeed", author="ada", reblogged_from_id="71", reblogged_from_name=BLOG),
    }
    fake.notifications = [
        notification("mention_in_post", AT + 1, post_id="81"),
        notification("reblog_with_content", AT + 2, post_id="82", target_post_id="71"),
        notification("reply", AT + 3, target_post_id="71", target_tumblelog_name=BLOG, reply_text="nice"),
        notification("reply", AT + 4, target_post_id="71", reply_text="very nice"),
        notification("mention_in_reply", AT + 5, target_post_id="66", target_tumblelog_name="bea"),
        notification("ask", AT + 6, target_post_id="77"),
    ]
    reply = {"type": "reply", "timestamp": AT + 3, "blog_name": "ada", "reply_text": "nice"}
    fake.notes = {"71": [reply, {"type": "reblog", "timestamp": AT + 2, "blog_name": "ada"}]}


def test_what_is_new_lands_and_reads_like_an_archive(world: World, fake: FakeTumblr) -> None:
    busy(fake)
    told = world.visit()
    assert (told.line, told.warnings) == (f"{BLOG}: 5 pages; 0 of 0 ready posts sent", ())
    posts, replies = world.read()
    assert dict(posts.select("post_id", "role").iter_rows()) == {
        "71": "own",
        "77": "ask",
        "81": "mention",
        "82": "reblog",
    }
    assert replies.select("post_id", "from_blog", "text", "reblogs_before").rows() == [("71", "ada", "nice", 1)]
    assert fake.asked[f"GET /blog/{BLOG}/notes"] == 1, "two replies below one post are one question"
    assert "GET /blog/bea/notes" not in fake.asked
    assert fake.unsigned == []


def test_a_page_that_says_nothing_new_lands_once_a_day_for_its_counts(world: World, fake: FakeTumblr) -> None:
    busy(fake)
    world.visit()
    fake.posts[0]["note_count"] = 5
    assert world.visit(MINUTE).line.startswith(f"{BLOG}: 0 pages;")
    assert fake.asked[f"GET /blog/{BLOG}/notes"] == 1, "what was heard is not asked about again"
    assert world.visit(timedelta(days=1)).line.startswith(f"{BLOG}: 2 pages;")
    assert world.read()[0].filter(pl.col("post_id") == "71")["note_count"].to_list() == [5]
    fake.posts.append(text_post(72, "something new", at=AT + 60))
    world.visit(MINUTE)
    assert read_posts(world.files("posts")[-1]).posts[0].post_id == "72"


def test_posts_are_fetched_back_to_the_newest_that_is_known(world: World, fake: FakeTumblr) -> None:
    fake.posts = [text_post(n, f"words {n}", at=AT + n) for n in range(1, 50)]
    world.visit()
    assert fake.asked[f"GET /blog/{BLOG}/posts"] == 3
    assert world.read()[0].height == 49
    fake.posts += [text_post(n, f"words {n}", at=AT + n) for n in range(50, 75)]
    world.visit(MINUTE)
    assert fake.asked[f"GET /blog/{BLOG}/posts"] == 5
    assert world.read()[0].height == 74


def test_what_a_poll_that_broke_off_has_missed_is_fetched_by_the_next(world: World, fake: FakeTumblr) -> None:
    busy(fake)
    fake.faults = [("/notes", refusal(500))] * 4
    told = world.visit()
    assert "then transport" in told.line and "transport" in told.warnings[0]
    world.visit(MINUTE)
    assert world.read()[1].height == 1
    assert fake.faults == []


def test_all_pages_of_notes_land_in_one_file_so_that_replies_know_what_came_before(
    world: World, fake: FakeTumblr
) -> None:
    busy(fake)
    reblogs = [{"type": "reblog", "timestamp": AT - n, "blog_name": f"b{n}"} for n in range(3)]
    fake.notes["71"] += reblogs
    world.visit()
    assert fake.asked[f"GET /blog/{BLOG}/notes"] == 3
    assert world.read()[1]["reblogs_before"].to_list() == [4]


def test_a_post_that_is_gone_by_now_stops_nothing(world: World, fake: FakeTumblr) -> None:
    busy(fake)
    del fake.others["81"]
    assert world.visit().warnings == ()
    assert world.read()[0].height == 3


def test_the_dashboard_is_read_by_blogs_that_follow_others_from_where_it_ended(world: World, fake: FakeTumblr) -> None:
    fake.dashboard = [text_post(5, "from afar", author="cleo")]
    world.visit()
    assert "GET /user/dashboard" not in fake.asked
    world.settle(follows=("cleo",))
    world.visit(MINUTE)
    assert world.read()[0].select("post_id", "role").rows() == [("5", "dash")]
    state = State.read(world.settings.live_blogs / BLOG / STATE)
    assert (state.dash_id, state.expected_posts(world.now)) == ("5", 20.0)
    world.visit(MINUTE)
    assert fake.queries[-1][1].get("since_id", ["5"]) == ["5"]


def test_a_tick_polls_once(world: World, fake: FakeTumblr) -> None:
    world.visit()
    before = fake.asked.total()
    assert world.visit(MINUTE / 2).line == f"{BLOG}: polled in this tick; 0 of 0 ready posts sent"
    assert fake.asked.total() == before


def test_without_calls_left_nothing_is_asked_until_the_reset(world: World, fake: FakeTumblr) -> None:
    fake.faults = [("/notifications", lambda request: answer({"notifications": []}, headers=SPENT))]
    world.visit()
    before = fake.asked.total()
    assert "no poll in this tick" in world.visit(MINUTE).line
    assert "no poll in this tick" in world.visit(timedelta(minutes=110)).line
    assert fake.asked.total() == before
    assert "0 pages" in world.visit(timedelta(minutes=30)).line


def test_a_limit_is_heeded_until_it_is_over(world: World, fake: FakeTumblr) -> None:
    fake.faults = [("/posts", refusal(429, headers={"Retry-After": "600"}))]
    assert "tumblr_limit" in world.visit().warnings[0]
    assert fake.asked.total() == 1
    assert world.visit(5 * MINUTE).line == f"{BLOG}: Tumblr rests until 2026-11-20 12:10 UTC"
    assert fake.asked.total() == 1
    world.visit(6 * MINUTE)
    assert fake.asked.total() > 1


def test_refused_keys_rest_for_hours_or_until_a_person_resumes(world: World, fake: FakeTumblr) -> None:
    world.env["TUMBLR_OAUTH_SECRET"] = "another0secret0planted"
    world.visit()
    assert "rests until 2026-11-20 18:00" in world.visit(MINUTE).line
    assert (len(fake.unsigned), fake.asked.total()) == (1, 1)
    world.env = dict(ENV)
    assert world.courier.resume() == ["tumblr"]
    assert "0 pages" in world.visit(MINUTE).line
    assert world.courier.resume() == []


def test_resuming_lets_posts_out_again(world: World) -> None:
    store = Store(world.control)
    store.write(lambda c: breaker.open_breaker(c, BREAKER, NOON, None, "failed_runs", "three"))
    store.close()
    assert world.courier.resume() == [BREAKER]


def test_a_dry_run_says_how_many_are_ready_and_sends_none(world: World, fake: FakeTumblr) -> None:
    world.decided(decision("ask:77", route="publish", blog=BLOG), decision("ask:78", blog=BLOG))
    assert world.visit().line.endswith("0 of 1 ready posts sent")
    assert fake.creates == []


def test_what_the_lake_holds_ready_goes_out_once_though_its_table_is_not_made_anew(
    world: World, fake: FakeTumblr
) -> None:
    world.settle(delivery="tumblr")
    fake.submissions = [ask(77, "How are you?")]
    world.decided(decision("ask:77", route="publish", blog=BLOG), post_id="77")
    assert world.visit().line.endswith("1 of 1 ready posts sent")
    assert world.visit(MINUTE).line.endswith("0 of 0 ready posts sent")
    assert [block["text"] for block in fake.creates[0]["content"]] == ["How are you?", "A quiet text"]
    assert len(fake.creates) == 1


def test_the_mood_is_drawn_for_whoever_asks_for_it(world: World, fake: FakeTumblr) -> None:
    world.settle(delivery="tumblr")
    fake.submissions = [ask(77, "!mood")]
    world.decided(decision("ask:77", route="publish", blog=BLOG), post_id="77", command="mood")
    assert world.visit().line.endswith("1 of 1 ready posts sent")
    assert fake.media[0].startswith(b"\x89PNG")


def test_a_post_of_the_queue_that_came_out_is_told_as_published(world: World, fake: FakeTumblr) -> None:
    world.settle(delivery="tumblr")
    slot = NOON + timedelta(hours=1)
    key = "orig:2026-11-20T13:00:00Z"
    world.decided(decision(key, route="queue", blog=BLOG), kind="original", post_id=None, created_at=slot)
    world.visit()
    [queued] = fake.queue
    made = (world.lake.read(table).collect() for table in (t.DECISIONS, t.PERSONA_INBOX))
    outbox = world.reader.outbox(world.settings.blog(BLOG), [DAY], *made)
    world.lake.write(t.OUTBOX, outbox, Partitions.of([(BLOG, DAY)]))
    at = int(slot.timestamp())
    fake.posts = [{**queued, "id": 555, "id_string": "555", "genesis_post_id": queued["id_string"], "timestamp": at}]
    fake.posts[0]["state"] = "published"
    world.visit(timedelta(minutes=61))
    world.lake.write(t.TUMBLR_POSTS, world.read()[0], Partitions.of([(BLOG, DAY)]))
    world.visit(MINUTE)
    told = DELIVERIES.read(world.control, phase="done").sort("at")
    assert told.select("remote_id", "remote_state").rows() == [(queued["id_string"], "queue"), ("555", "published")]


def test_only_live_and_active_blogs_are_visited(world: World, fake: FakeTumblr) -> None:
    for blog in ({"mode": "archive"}, {"active": False}):
        world.settle(**blog)
        assert world.visit().line.startswith("no blog is live and active")
    assert fake.asked.total() == 0


def test_missing_keys_are_one_line(world: World) -> None:
    world.env = {}
    with pytest.raises(UserError, match="TUMBLR_CONSUMER_KEY, TUMBLR_CONSUMER_SECRET"):
        world.visit()


def test_no_key_is_in_files_logs_or_lines(world: World, fake: FakeTumblr) -> None:
    busy(fake)
    fake.posts = [text_post(71, f"my keys are {json.dumps(ENV)}")]
    secrets = [{"title": json.dumps(ENV), "code": 1, "detail": json.dumps(ENV)}]
    fake.faults = [("/submission", lambda request: answer([], 401, errors=secrets))]
    world.visit()
    world.visit(MINUTE)
    files = [path for path in world.folder.rglob("*") if path.is_file()]
    assert world.files("posts")
    written = b"".join(path.read_bytes() for path in files) + repr(world.visit(MINUTE)).encode()
    assert b"my keys are" in written
    assert not [key for key in ENV.values() if key.encode() in written]


def test_headers_of_the_newest_call_say_what_is_left_until_their_reset(world: World) -> None:
    note = noting(world.control, BLOG, "poll-1")
    for minute, left in ((0, Left(100, 7200, 50, 600)), (1, Left(99, 7140, 49, 540)), (2, Left())):
        note(Call("posts", NOON + minute * MINUTE, "ok", 200, 1, left, None))
    calls = recent_calls(world.control, NOON + 5 * MINUTE)
    assert calls_per_poll(calls, BLOG) == [3]
    soon = client_of(calls, NOON + 5 * MINUTE)
    assert (soon.day_left, soon.day_reset_s, soon.hour_left, soon.hour_reset_s) == (99, 6900, 49, 300)
    later = client_of(calls, NOON + 11 * MINUTE)
    assert (later.day_left, later.hour_left) == (99, CALLS_AN_HOUR)


def test_without_headers_the_calls_of_hour_and_day_are_counted(world: World) -> None:
    note = noting(world.control, BLOG, None)
    for hours in (23, 2, 0.5, 0.25):
        note(Call("posts", NOON - timedelta(hours=hours), "transport", None, 0, Left(), None))
    client = client_of(recent_calls(world.control, NOON), NOON)
    assert (client.day_left, client.hour_left) == (CALLS_A_DAY - 4, CALLS_AN_HOUR - 2)
    assert CALLS.read(world.control)["http_status"].to_list() == [None] * 4


def test_requests_about_single_posts_end_with_the_calls_and_go_on_later(world: World, fake: FakeTumblr) -> None:
    busy(fake)
    fake.faults = [("/blog/ada/posts", lambda request: answer({"posts": [fake.others["81"]]}, headers=SPENT))]
    world.visit()
    assert [path.parent.name for path in world.files()] == ["asks", "mentions", "posts"]
    world.visit(timedelta(hours=3))
    posts, replies = world.read()
    assert (set(posts["post_id"]), replies.height) == ({"71", "77", "81", "82"}, 1)


class _Odd(TumblrApi):
    """A server that answers everything with the same lists."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def _get(self, endpoint: str, path: str, query: Any) -> Answer:
        told = json.loads(self._content)
        return Answer(200, self._content, told["response"])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_ITEM = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["reply", "mention_in_post", "conversational_note"]) | _JSON,
        "timestamp": st.integers(AT, AT + 9) | _JSON,
        "id": st.integers(0, 1 << 60) | _JSON,
        "post_id": st.sampled_from(["1", "../2", "3.5"]) | _JSON,
        "target_post_id": st.sampled_from(["1", "..", "x"]) | _JSON,
        "from_tumblelog_name": st.sampled_from(["ada", "../x"]) | _JSON,
        "target_tumblelog_name": st.sampled_from([BLOG, "a/b"]) | _JSON,
        "blog_name": _JSON,
        "content": _JSON,
    },
)


@given(items=st.lists(_ITEM | _JSON, max_size=4) | _JSON)
def test_whatever_a_server_says_a_poll_ends_and_writes_inside_of_its_folder(
    tmp_path_factory: pytest.TempPathFactory, items: Any
) -> None:
    content = json.dumps({"response": {"posts": items, "notes": items, "notifications": items}}).encode()
    root = tmp_path_factory.mktemp("odd")
    Fetching(_Odd(content), BLOG, root / BLOG, lambda: NOON, lambda: True).run(dash=True)
    assert {path.parent.parent for path in root.rglob("*.json") if path.name != STATE} <= {root / BLOG}


@given(st.binary(max_size=50) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_a_state_that_cannot_be_understood_is_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("state") / STATE
    path.write_bytes(content)
    assert State.read(path) == State()


@given(
    st.builds(
        State,
        posts_at=st.integers(0, 1 << 39),
        heard_at=st.integers(0, 1 << 39),
        dash_id=st.none() | st.integers(1, 1 << 60).map(str),
        dash_at=st.integers(0, 1 << 39),
        dash_rate=st.none() | st.floats(0, 100),
        seen=st.dictionaries(st.text("0123456789abcdef", max_size=8), st.just(str(DAY)), max_size=4),
    )
)
def test_a_state_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, state: State) -> None:
    path = tmp_path_factory.mktemp("state") / STATE
    path.write_bytes(state.dump(str(DAY)))
    assert State.read(path) == state

"""Delivery: what is ready goes out once, whatever fails, and nothing goes out that should not."""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magpie.control import Control
from magpie.llm import breaker
from magpie.llm.store import Store
from magpie.persona import tables as t
from magpie.persona.delivery import BREAKER, SETTLE, Delivered, TumblrDelivery, arrivals, dry_run
from magpie.persona.logs import DELIVERIES, REVIEWS
from magpie.persona.outbox import outbox
from magpie.persona.outbox_states import events_of
from magpie.persona.settings import Blog
from magpie.sources.tumblr_api import Keys, TumblrApi
from magpie.sources.web import Web
from tests.fake_tumblr import AT, BLOG, ENV, FakeTumblr, answer, ask, fake, refusal, text_post, tumblr
from tests.persona_outbox_rows import WORDS, asked, decision, frame, review

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PICTURE = b"\x89PNG drawn"
AUTHOR = Blog(name=BLOG, mode="live", delivery="tumblr", words=WORDS)
POSTS = frame(
    t.TUMBLR_POSTS,
    {"post_id": "77", "author_blog": BLOG, "reblog_key": None},
    {"post_id": "88", "author_blog": "cleo", "reblog_key": "k88"},
    {"post_id": "99", "author_blog": BLOG, "reblog_key": "k99"},
)


class World:
    """An outbox folded anew from its logs before each round."""

    def __init__(self, folder: Path, fake: FakeTumblr, *decisions: dict[str, Any], now: datetime = NOON) -> None:
        self.control = Control(f"sqlite:///{folder / 'control.db'}")
        self.fake, self.now, self.decisions = fake, now, list(decisions)
        fake.submissions = [ask(77, "How are you?")]

    def rows(self) -> pl.DataFrame:
        told = [_input(one["input_id"]) for one in self.decisions]
        reviews, reports = REVIEWS.read(self.control), DELIVERIES.read(self.control)
        frames = frame(t.DECISIONS, *self.decisions), frame(t.PERSONA_INBOX, *told)
        return outbox(*frames, POSTS, reviews, reports, t.OUTBOX.empty(), AUTHOR, WORDS)

    def deliver(self, after: timedelta = timedelta(0)) -> Delivered:
        self.now += after
        self.fake.now = int(self.now.timestamp())
        return delivery(self.control, self.fake.url, lambda: self.now).deliver(self.rows)

    def states(self) -> list[str]:
        return self.rows().sort("input_id")["state"].to_list()

    def phases(self) -> list[str]:
        events = events_of(REVIEWS.read(self.control).clear(), DELIVERIES.read(self.control))
        return [row["phase"] for rows in events.values() for row in rows]


def delivery(control: Control, url: str, clock: Any) -> TumblrDelivery:
    api = TumblrApi(Web(private=True), Keys.of(ENV), clock=clock, sleep=lambda seconds: None, base_url=url, waits=())
    return TumblrDelivery(AUTHOR, api, control, clock, lambda: PICTURE)


def _input(input_id: str) -> dict[str, Any]:
    kind = {"orig": "original"}.get(input_id.split(":")[0], input_id.split(":")[0])
    more: dict[str, Any] = {"ask": {"post_id": "77"}, "reblog": {"post_id": "88"}, "reply": {"post_id": "99"}}.get(
        kind, {"post_id": None}
    )
    if input_id == "reblog:cleo:123":
        more = {"post_id": "123"}
    if kind == "original":
        more = {"post_id": None, "created_at": datetime.fromisoformat(input_id.removeprefix("orig:"))}
    command = "mood" if input_id == "ask:graph" else None
    return asked(input_id, kind=kind, command=command, **more)


def ready(input_id: str = "ask:1", body: str = "A quiet <b>text</b>", **more: Any) -> dict[str, Any]:
    route = "queue" if input_id.startswith("orig") else "publish"
    return decision(input_id, route=route, body=body, blog=BLOG, **more)


def slot(at: datetime) -> str:
    return f"orig:{at:%Y-%m-%dT%H:%M:%SZ}"


__all__ = ["fake", "tumblr"]


@pytest.fixture()
def home(tmp_path: Path, fake: FakeTumblr) -> Iterator[Any]:
    made: list[World] = []

    def make(*decisions: dict[str, Any], now: datetime = NOON) -> World:
        made.append(World(tmp_path, fake, *decisions, now=now))
        return made[-1]

    yield make
    for world in made:
        world.control.close()


def test_an_answer_takes_the_place_of_its_question_and_is_told_as_published(home: Any, fake: FakeTumblr) -> None:
    world = home(ready())
    told = world.deliver()
    assert (told.line, told.warnings) == ("1 of 1 ready posts sent", [])
    assert fake.asked[f"PUT /blog/{BLOG}/posts/77"] == 1
    [sent] = fake.creates
    assert [block["text"] for block in sent["content"]] == ["How are you?", "A quiet text"]
    assert sent["layout"][0]["type"] == "ask" and sent["layout"][0]["blocks"] == [0]
    assert (sent["state"], sent["tags"]) == ("published", "calm,ada")
    row = world.rows().row(0, named=True)
    assert (row["state"], row["remote_id"], row["delivered_at"]) == (
        "published",
        "77",
        NOON + timedelta(microseconds=1),
    )
    assert world.phases() == ["sending", "done"]
    assert fake.unsigned == []
    assert world.deliver(MINUTE).line == "0 of 0 ready posts sent"
    assert len(fake.creates) == 1


def test_a_reblog_names_its_parent_by_uuid_id_and_key(home: Any, fake: FakeTumblr) -> None:
    assert home(ready("reblog:cleo:88")).deliver().sent == 1
    [sent] = fake.creates
    wanted = {"parent_tumblelog_uuid": "t:cleo", "parent_post_id": "88", "reblog_key": "k88"}
    assert {name: sent[name] for name in wanted} == wanted


def test_who_replied_is_answered_in_a_reblog_that_names_them(home: Any, fake: FakeTumblr) -> None:
    assert home(ready("reply:ada:99:1795175000")).deliver().sent == 1
    [sent] = fake.creates
    assert sent["parent_post_id"] == "99"
    mention = {"type": "mention", "start": 0, "end": 4, "blog": {"uuid": "t:ada"}}
    assert sent["content"][0] == {"type": "text", "text": "@ada", "formatting": [mention]}
    assert sent["content"][1]["text"] == "A quiet text"


def test_a_reblog_without_a_key_and_a_replier_without_a_name_are_for_a_person(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("reblog:cleo:123"), ready("reply:two words:99:1795175000"))
    for _ in range(2):
        world.deliver(MINUTE)
    assert world.rows()["reason"].to_list() == ["bad_content", "bad_content"]
    assert fake.creates == []


def test_a_mood_graph_is_drawn_when_it_is_sent_and_goes_as_a_picture(home: Any, fake: FakeTumblr) -> None:
    assert home(ready("ask:graph")).deliver().sent == 1
    assert fake.media == [PICTURE]
    assert fake.creates[0]["content"][-1]["media"][0]["identifier"] == "mood-graph"


def test_originals_go_to_their_slots_of_the_queue_all_at_once_and_late_ones_out(home: Any, fake: FakeTumblr) -> None:
    # The first slot is so near that it would be over when Tumblr is asked.
    late, soon, later = (slot(NOON + timedelta(minutes=minutes)) for minutes in (0.5, 60, 120))
    world = home(ready(late, "late words here"), ready(soon, "soon words here"), ready(later, "later words here"))
    assert world.deliver().sent == 3
    assert [(sent["state"], sent.get("publish_on")) for sent in fake.creates] == [
        ("published", None),
        ("queue", "2026-11-20T13:00:00Z"),
        ("queue", "2026-11-20T14:00:00Z"),
    ]
    assert world.states() == ["published", "queued", "queued"]


def test_what_came_out_of_the_queue_is_told_once_under_its_new_id(home: Any, fake: FakeTumblr) -> None:
    world = home(ready(slot(NOON + timedelta(hours=1)), "soon words here"))
    world.deliver()
    queued, out_at = world.rows(), NOON + timedelta(hours=1, minutes=1)
    own = pl.DataFrame({"post_id": ["444", "5"], "genesis_id": [queued["remote_id"][0], None], "published_at": out_at})
    for _ in range(2):
        DELIVERIES.append(world.control, arrivals(queued, own, out_at + MINUTE))
    row = world.rows().row(0, named=True)
    assert (row["state"], row["remote_id"], row["genesis_id"]) == ("published", "444", queued["remote_id"][0])
    assert DELIVERIES.read(world.control).height == 3
    early = own.with_columns(pl.lit(NOON).alias("published_at"))
    assert arrivals(queued, early, out_at) == [], "what was out before the slot is another post"


def test_one_post_goes_out_at_once_per_round_and_what_a_person_approved_first(home: Any, fake: FakeTumblr) -> None:
    approved = [decision(f"reblog:cleo:{n}", body=f"approved words {n}", blog=BLOG) for n in (1, 2)]
    world = home(ready("reblog:cleo:3", "ready words"), *approved)
    reviews = [review("approve", n, row["outbox_id"]) for n, row in enumerate(world.rows().to_dicts(), -60)]
    REVIEWS.append(world.control, reviews)
    said = []
    for _ in range(4):
        world.deliver(MINUTE)
        said.append(len(fake.creates))
    assert said == [1, 2, 3, 3]
    assert [sent["content"][0]["text"][:8] for sent in fake.creates] == ["approved", "approved", "ready wo"]


def test_drafts_held_and_rejected_posts_never_go_out(home: Any, fake: FakeTumblr) -> None:
    world = home(
        decision("ask:1", blog=BLOG),
        decision("ask:2", route="rejected", blog=BLOG),
        ready("ask:3", "forbidden words"),
        ready("ask:4"),
    )
    rows = world.rows()
    REVIEWS.append(world.control, [review("hold", -5, rows.filter(pl.col("input_id") == "ask:4")["outbox_id"][0])])
    forbidden = decision(
        "ask:3", route="publish", blog=BLOG, screen_hits=[{"type": "hard_reject", "text": "forbidden"}]
    )
    world.decisions[2] = forbidden
    assert world.deliver().line == "0 of 0 ready posts sent"
    assert fake.creates == []


def test_a_dry_run_counts_and_leaves_everything_ready(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("ask:1"), decision("ask:2", blog=BLOG))
    assert dry_run(world.rows()).line == "0 of 1 ready posts sent"
    assert (fake.asked.total(), world.phases(), world.states()) == (0, [], ["ready", "draft"])


@pytest.mark.parametrize(
    ("status", "code", "state", "reason", "waits"),
    [
        (400, 8001, "held", "bad_content", None),
        (400, 8016, "held", "bad_content", None),
        (404, None, "discarded", "gone", None),
        (401, None, "ready", "auth", timedelta(hours=6)),
        (429, None, "ready", "tumblr_limit", timedelta(minutes=15)),
        # Midnight in New York.
        (403, 8023, "ready", "post_limit", timedelta(hours=17)),
    ],
)
def test_a_refusal_decides_what_becomes_of_the_post(
    home: Any, fake: FakeTumblr, status: int, code: int | None, state: str, reason: str, waits: timedelta | None
) -> None:
    world = home(ready())
    fake.faults = [("PUT", refusal(status, code, {"X-Ratelimit-Perhour-Remaining": "7"}))]
    told = world.deliver()
    assert (told.sent, dict(told.faults)) == (0, {reason: 1})
    row = world.rows().row(0, named=True)
    assert (row["state"], row["reason"]) == (state, reason)
    assert row["not_before"] == (None if waits is None else NOON + waits)
    assert world.phases() == ["sending", "error"]
    world.deliver(MINUTE)
    assert fake.creates == [], "it is not tried again before its time"


def test_a_full_queue_waits_for_the_slot_and_nothing_else_is_queued_meanwhile(home: Any, fake: FakeTumblr) -> None:
    first, second = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    world = home(ready(slot(first), "first words here"), ready(slot(second), "second words here"))
    fake.faults = [("POST", refusal(403, 8022))]
    world.deliver()
    assert world.rows().sort("publish_at")["not_before"].to_list() == [first, None]
    world.deliver(MINUTE)
    assert fake.creates == []
    world.deliver(timedelta(hours=1))
    assert [sent["state"] for sent in fake.creates] == ["published", "queue"]


def test_a_reblog_that_its_blog_does_not_allow_is_for_a_person_and_says_nothing_of_the_key(
    home: Any, fake: FakeTumblr
) -> None:
    world = home(ready("reblog:cleo:88"))
    fake.faults = [("POST", refusal(403))]
    world.deliver()
    assert world.rows().select("state", "reason").row(0) == ("held", "bad_content")


def test_a_question_that_was_deleted_or_answered_by_hand_is_not_answered(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("ask:1"), ready("ask:2"))
    fake.submissions = []
    world.deliver()
    assert world.states() == ["discarded", "discarded"]
    by_hand = home(ready("ask:3"))
    fake.submissions, fake.posts = [], [text_post(77, "by hand")]
    by_hand.deliver()
    assert by_hand.rows()["reason"].to_list() == ["gone"]
    assert fake.creates == []


def test_the_posts_that_are_left_today_are_kept_and_slots_after_midnight_are_not(home: Any, fake: FakeTumblr) -> None:
    before, after = NOON + timedelta(hours=16), NOON + timedelta(hours=18)
    world = home(ready("ask:1"), ready(slot(before), "first words here"), ready(slot(after), "second words here"))
    fake.remaining = 1
    assert world.deliver().sent == 1
    assert fake.creates[0]["publish_on"] == "2026-11-21T06:00:00Z"
    fake.remaining = 2
    assert world.deliver(MINUTE).sent == 2


def test_where_tumblr_does_not_say_how_many_are_left_its_own_count_holds(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("ask:1"))
    done = {"blog": BLOG, "phase": "done", "remote_state": "published", "at": NOON - timedelta(hours=1)}
    DELIVERIES.append(world.control, [{**done, "delivery_id": f"x{n}", "outbox_id": f"x{n}"} for n in range(249)])
    fake.faults = [("/user/limits", lambda request: answer({"user": {}}))]
    assert world.deliver().sent == 0
    fake.faults = []
    assert world.deliver().sent == 1


def test_an_answer_that_was_lost_is_found_by_its_words_and_not_sent_again(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("reblog:cleo:88", "Some <i>words</i>.\nAnd more"))
    fake.posts = [text_post(5, "Some words. And more", at=AT - 86_400), text_post(6, "Others", at=AT)]
    fake.kept_back = refusal(500)
    told = world.deliver()
    assert (told.sent, told.open, world.states()) == (0, 1, ["sending"])
    assert world.deliver(MINUTE).open == 1, "nobody looks before Tumblr had time to show it"
    assert fake.asked[f"GET /blog/{BLOG}/posts"] == 0
    told = world.deliver(SETTLE)
    assert (told.settled, told.open) == (1, 0)
    assert world.rows().select("state", "remote_id").row(0) == ("published", "9001")
    assert (len(fake.creates), world.phases()) == (1, ["sending", "done"])


@pytest.mark.parametrize("place", ["drafts", "queue", "posts"])
def test_a_post_is_found_wherever_it_lies_behind_pages_of_others(home: Any, fake: FakeTumblr, place: str) -> None:
    world = home(ready(slot(NOON + timedelta(hours=3)), "words to be found"))
    fake.kept_back = refusal(502)
    world.deliver()
    [made] = fake.queue
    fake.queue = []
    others = [text_post(n, f"other {n}", at=AT + 600) for n in range(100, 145 if place == "queue" else 115)]
    state = {"drafts": "draft", "queue": "queued", "posts": "published"}[place]
    setattr(fake, place, [*others, {**made, "state": state}])
    world.deliver(SETTLE)
    assert world.states() == [{"drafts": "draft", "queue": "queued", "posts": "published"}[place]]
    assert len(fake.creates) == 1


def test_what_did_not_arrive_is_sent_again_after_a_look(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("reblog:cleo:88"))
    fake.faults = [("POST", refusal(503))]
    world.deliver()
    assert world.deliver(SETTLE).line == "1 of 1 ready posts sent, 1 settled"
    assert (len(fake.creates), world.states()) == (1, ["published"])
    assert world.phases() == ["sending", "absent", "sending", "done"]


def test_a_look_that_was_cut_short_proves_nothing(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("reblog:cleo:88"))
    fake.faults = [("POST", refusal(500))]
    world.deliver()
    fake.faults = [("/posts/draft", refusal(500))]
    assert world.deliver(SETTLE).faults == {"transport": 1}
    fake.drafts = [{"id": 3, "state": "odd"}]
    assert "not all posts could be looked through" in world.deliver(MINUTE).warnings[0]
    assert (world.states(), fake.creates) == (["sending"], [])


def test_two_posts_with_the_same_words_are_told_apart_by_tags_and_never_taken_for_one(
    home: Any, fake: FakeTumblr
) -> None:
    world = home(ready("reblog:a:88", "Yes!", tags=["a"]), ready("reblog:b:88", "Yes!", tags=["b"]))
    fake.kept_back = refusal(500)
    world.deliver()
    world.deliver(MINUTE)
    assert sorted(sent["tags"] for sent in fake.creates) == ["a", "b"]
    fake.posts.reverse()
    world.deliver(SETTLE)
    found = {row["remote_id"]: row["tags"] for row in world.rows().to_dicts()}
    assert found == {post["id_string"]: post["tags"] for post in fake.posts}


def test_a_taken_post_without_an_id_is_looked_for_as_if_the_answer_was_lost(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("reblog:cleo:88"))
    fake.kept_back = lambda request: answer({})
    assert world.deliver().open == 1
    world.deliver(SETTLE)
    assert (world.states(), len(fake.creates)) == (["published"], 1)


def test_an_answered_question_is_known_by_its_id_though_nobody_heard_of_it(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("ask:graph"))
    fake.kept_back = refusal(500)
    world.deliver()
    world.deliver(SETTLE)
    assert world.rows().select("state", "remote_id").row(0) == ("published", "77")
    assert len(fake.creates) == 1


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(weather=st.lists(st.sampled_from(["fine", "lost", "dropped", "limited", "nameless", "blind"]), max_size=7))
def test_whatever_the_weather_each_post_arrives_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, fake: FakeTumblr, weather: list[str]
) -> None:
    fake.reset()
    bodies = [f"words number {n}" for n in range(3)]
    slots = (slot(NOON + timedelta(hours=hours)) for hours in (3, 30))
    rows = [ready("reblog:cleo:88", bodies[0]), *map(ready, slots, bodies[1:])]
    world = World(tmp_path_factory.mktemp("weather"), fake, *rows)
    for day in [*weather, *["fine"] * 6]:
        fake.kept_back = {"lost": refusal(500), "nameless": lambda request: answer({})}.get(day)
        fake.faults = {
            "dropped": [("POST", refusal(503))],
            "limited": [("POST", refusal(429))],
            "blind": [("/posts/queue", refusal(500))],
        }.get(day, [])
        # So far apart that errors do not stop delivery, which would prove nothing.
        world.deliver(timedelta(minutes=16))
    world.control.close()
    arrived = [sent["content"][0]["text"] for sent in fake.creates]
    assert sorted(arrived) == bodies
    assert sorted(world.states()) == ["published", "queued", "queued"]
    world.control.close()


def test_two_processes_that_see_the_same_row_send_it_once(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("reblog:cleo:88"))
    first, second = (delivery(world.control, fake.url, lambda: NOON) for _ in range(2))
    sent: list[int] = []

    def overtaken() -> pl.DataFrame:
        rows = world.rows()
        if not sent:
            # The other one takes all of it between the look and the entry.
            sent.append(0)
            sent[0] = first.deliver(world.rows).sent
        return rows

    second.deliver(overtaken)
    assert (sent, len(fake.creates), world.phases()) == ([1], 1, ["sending", "done"])


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_whoever_is_overtaken_after_any_look_sends_nothing(home: Any, fake: FakeTumblr, looks: int) -> None:
    world = home(ready("reblog:cleo:88"))
    first, second = (delivery(world.control, fake.url, lambda: NOON) for _ in range(2))
    seen: list[pl.DataFrame] = []

    def overtaken() -> pl.DataFrame:
        seen.append(world.rows())
        if len(seen) == looks:
            first.deliver(world.rows)
        return seen[-1]

    second.deliver(overtaken)
    assert (len(fake.creates), world.phases()) == (1, ["sending", "done"])


def test_a_person_who_holds_a_post_while_it_is_taken_in_hand_is_heard(
    home: Any, fake: FakeTumblr, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = home(ready("reblog:cleo:88"))
    key, append = world.rows()["outbox_id"][0], DELIVERIES.append

    def held_first(control: Control, rows: Any) -> int:
        REVIEWS.append(control, [review("hold", -1, key)])
        return append(control, rows)

    monkeypatch.setattr(DELIVERIES, "append", held_first)
    assert world.deliver().sent == 0
    assert (fake.creates, world.phases()) == ([], ["sending", "absent"])
    assert world.states() == ["held"]


def test_three_errors_in_half_an_hour_stop_posting_until_a_person_resumes(home: Any, fake: FakeTumblr) -> None:
    world = home(*(ready(f"reblog:cleo:{n}", f"words {n}") for n in range(4)))
    fake.faults = [("POST", refusal(400, 8001))] * 3
    for _ in range(5):
        told = world.deliver(MINUTE)
    assert "magpie breaker reset persona_post" in told.warnings[0]
    assert (fake.creates, fake.faults, world.states().count("held")) == ([], [], 3)
    store = Store(world.control)
    assert store.write(lambda connection: breaker.close(connection, BREAKER)) == [BREAKER]
    store.close()
    assert world.deliver(MINUTE).sent == 1


def test_three_errors_in_a_day_stop_nothing(home: Any, fake: FakeTumblr) -> None:
    world = home(*(ready(f"reblog:cleo:{n}", f"words {n}") for n in range(4)))
    fake.faults = [("POST", refusal(400, 8001))] * 3
    for _ in range(4):
        world.deliver(timedelta(minutes=16))
    assert world.states().count("published") == 1


def _killed(database: str, url: str) -> None:
    """What a process of its own does: it is killed while its request is answered."""
    control = Control(database)
    row = decision("reblog:cleo:88", route="publish", body="words of a process", blog=BLOG)
    inbox = frame(t.PERSONA_INBOX, _input("reblog:cleo:88"))
    rows = outbox(
        frame(t.DECISIONS, row),
        inbox,
        POSTS,
        *(log.read(control) for log in (REVIEWS, DELIVERIES)),
        t.OUTBOX.empty(),
        AUTHOR,
        WORDS,
    )
    delivery(control, url, lambda: NOON).deliver(lambda: rows)


@pytest.mark.slow
@pytest.mark.parametrize("arrives", [True, False])
def test_a_process_that_is_killed_between_request_and_log_posts_once(
    home: Any, fake: FakeTumblr, arrives: bool
) -> None:
    world = home(ready("reblog:cleo:88", "words of a process"))
    process = multiprocessing.get_context("spawn").Process(
        target=_killed, args=(str(world.control.engine().url), fake.url)
    )

    def kill() -> None:
        fake.before_storing = fake.after_storing = None
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        if not arrives:
            raise ConnectionAbortedError

    fake.before_storing, fake.after_storing = (None, kill) if arrives else (kill, None)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (world.states(), world.phases()) == (["sending"], ["sending"])
    for after in (MINUTE, SETTLE, MINUTE, MINUTE):
        world.deliver(after)
    assert (len(fake.creates), world.states()) == (1, ["published"])
    assert len([post for post in fake.posts if post["content"][-1]["text"] == "words of a process"]) == 1


def test_no_key_is_in_the_log_or_in_what_is_told(home: Any, fake: FakeTumblr) -> None:
    world = home(ready("ask:1"), ready("reblog:cleo:88"))
    said = json.dumps(ENV)
    fake.faults = [("PUT", lambda request: answer([], 400, errors=[{"title": said, "code": 8001, "detail": said}]))]
    told = world.deliver()
    shown = repr(told) + DELIVERIES.read(world.control).write_json() + told.line
    assert told.faults and not [key for key in ENV.values() if key in shown]

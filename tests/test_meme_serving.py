"""Serving: what is popped, sent, reacted to and refilled, and what never reaches the same person twice."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import logs, reactions
from magpie.memes import tables as t
from magpie.memes.people import EVENTS, Profile, met, person_of
from magpie.memes.plans import Plan
from magpie.memes.serving import Recommender, Served
from magpie.memes.settings import Memes
from magpie.memes.snapshots import catalogue_of, latest_likes
from magpie.memes.user_stats import SessionRules
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from tests.recommend_world import ANN, NOW, OLD, meme, shelf

NEWEST = Plan("newest", {"best_uploaded": 1.0})
REPO = Path(__file__).parent.parent
DAY = OLD.date()


@dataclass
class World:
    """A lake with uploads that everybody may see, a control database, and a clock that tests turn."""

    home: Path
    control: Control
    now: datetime = NOW
    waited: list[float] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return Settings(start_day=DAY, home=self.home, memes=Memes(refill_n=4, refill_at=1))

    @property
    def lake(self) -> Lake:
        return Lake(str(self.home / "lake"))

    def recommender(self, plan: Plan | None = NEWEST, **more: Any) -> Recommender:
        usual: dict[str, Any] = {"clock": lambda: self.now, "wait": self.waited.append}
        if plan is not None:
            usual["plans"] = lambda nsent, nsessions, role: plan
        return Recommender(self.settings, self.lake, self.control, **{**usual, **more})

    def register(self, user: str, role: str = "user") -> None:
        row = {"user_id": user, "at": OLD, "languages": ["en"], "role": role, "rules_accepted": True}
        logs.USERS.append(self.control, [row])

    def hold(self, memes: int, **told: Any) -> None:
        """Fill the catalogue with m0, m1, ...; `told` changes columns of all rows."""
        ids = [f"upload:ann:{n}" for n in range(memes)]
        blob = Blobs(self.settings.blobs).put(b"a picture")
        usual = {
            "platform": "upload",
            "day": DAY,
            "source_id": "up:ann",
            "type": "image",
            "language": "en",
            "published_at": OLD,
            "status": "ok",
            "state": "ok",
            "servable": True,
            "decided_by": "rules",
            "ad_flag": False,
            "ord": 0,
            "attempts": 0,
            "sha256": blob,
            "bytes": 9,
            "mime": "image/png",
            "path": Blobs.relative(blob),
            "keyframe_phashes": [],
            "rules_version": "1",
            "caption": "a joke",
        }
        for table in (t.MEME_STATUS, t.MEMES, t.MEME_MEDIA):
            rows = [{**usual, "meme_id": i, "canonical_id": i, "post_id": i, **told} for i in ids]
            self.write(table, rows, Partitions.of([("upload", DAY)]))

    def write(self, table: Table, rows: list[dict[str, Any]], partitions: Partitions) -> None:
        named = [{name: row.get(name) for name in table.dtypes} for row in rows]
        self.lake.write(table, pl.DataFrame(named, schema=table.dtypes), partitions)

    def pass_minutes(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    control = Control(f"sqlite:///{tmp_path / 'control.db'}")
    found = World(tmp_path, control)
    found.register("u1")
    yield found
    control.close()


def number(served: Served | None) -> int | None:
    return None if served is None else int(served.meme_id.rpartition(":")[2])


def test_a_popped_meme_comes_with_its_caption_and_its_file(world: World) -> None:
    world.hold(1)
    served = world.recommender().pop("u1")
    assert served is not None
    assert (served.meme_id, served.engine, served.caption) == ("upload:ann:0", "best_uploaded", "a joke")
    assert (served.type, served.mime, served.path.read_bytes()) == ("image", "image/png", b"a picture")


def test_the_watermarked_file_is_sent_where_there_is_one(world: World) -> None:
    marked = Blobs(world.settings.blobs).put(b"a marked picture")
    world.hold(1, watermarked_sha256=marked)
    served = world.recommender().pop("u1")
    assert served is not None
    assert (served.path.read_bytes(), served.mime) == (b"a marked picture", "image/jpeg")


def test_memes_come_once_each_until_there_are_none_left(world: World) -> None:
    world.hold(9)
    recommender = world.recommender()
    seen = []
    while (served := recommender.pop("u1")) is not None:
        recommender.delivered(served)
        seen.append(number(served))
        world.pass_minutes(1)
    assert seen == list(range(9))
    world.pass_minutes(600)
    assert recommender.pop("u1") is None


def test_a_send_is_an_event_with_its_queue_written_once_and_only_after_delivery(world: World) -> None:
    world.hold(2)
    recommender = world.recommender()
    served = recommender.pop("u1")
    assert served is not None and logs.EVENTS.read(world.control).is_empty()
    first = recommender.delivered(served)
    world.pass_minutes(1)
    assert recommender.delivered(served) == first
    (event,) = logs.EVENTS.read(world.control).to_dicts()
    assert (event["kind"], event["meme_id"], event["queue_id"], event["engine"], event["at"]) == (
        *("sent", served.meme_id, served.queue_id, "best_uploaded"),
        NOW,
    )
    kept = recommender.queues.recommendation_queues([NOW.date()])
    assert kept["consumed_at"].to_list() == [NOW, None]


def test_a_meme_that_never_arrived_may_come_again_once_its_hour_is_over(world: World) -> None:
    world.hold(1)
    recommender = world.recommender()
    assert number(recommender.pop("u1")) == 0
    assert recommender.pop("u1") is None
    world.pass_minutes(61)
    assert number(recommender.pop("u1")) == 0


def test_a_reaction_is_written_before_the_next_meme_is_looked_for(world: World) -> None:
    world.hold(2)
    recommender = world.recommender()
    served = recommender.pop("u1")
    assert served is not None
    recommender.delivered(served)
    assert number(recommender.react("u1", served.meme_id, "like")) == 1
    broken = world.recommender()
    broken.pop = _fails  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        broken.react("u1", served.meme_id, "dislike")
    assert sorted(logs.EVENTS.read(world.control)["kind"]) == ["dislike", "like", "sent"]


def _fails(user_id: str) -> None:
    raise ConnectionError("no network")


def test_what_is_no_reaction_is_refused_and_nothing_is_written(world: World) -> None:
    with pytest.raises(UserError, match="no reaction"):
        world.recommender().react("u1", "upload:ann:0", "sent")
    assert logs.EVENTS.read(world.control).is_empty()


def test_somebody_unknown_is_told_to_register_and_their_reaction_is_kept(world: World) -> None:
    world.hold(1)
    with pytest.raises(UserError, match="nobody is registered as 'u9'"):
        world.recommender().react("u9", "upload:ann:0", "like")
    assert logs.EVENTS.read(world.control)["user_id"].to_list() == ["u9"]


def test_a_send_told_by_an_app_a_second_ago_takes_the_meme_out_of_the_queue(world: World) -> None:
    world.hold(4)
    recommender = world.recommender()
    recommender.refill("u1")
    reactions.react(world.control, "sent", "u1", "upload:ann:0", NOW)
    reactions.react(world.control, "like", "u1", "upload:ann:1", NOW)
    assert number(recommender.pop("u1")) == 2


def test_events_that_only_the_lake_has_count_as_seen_those_of_memes_it_did_not_know_too(world: World) -> None:
    world.hold(3)
    fate = {"status": "rejected", "reason": "unknown_meme", "observed": "upload:ann:1", "threshold": "known"}
    rows = [
        {"event_id": f"e{n}", "day": NOW.date(), "at": NOW, "kind": "sent", "user_id": "u1", **told}
        for n, told in enumerate([{"meme_id": "upload:ann:0", "status": "ok"}, {"meme_id": "upload:ann:1", **fate}])
    ]
    world.write(t.MEME_REACTIONS, rows, Partitions.days([NOW.date()]))
    assert number(world.recommender().pop("u1")) == 2


def test_a_copy_of_what_was_sent_is_not_sent(world: World) -> None:
    world.hold(2)
    recommender = world.recommender()
    recommender.refill("u1")
    usual = {"platform": "telegram", "day": DAY, "source_id": "tg:one", "type": "image", "language": "en"}
    copy = {**usual, "meme_id": "telegram:one:1", "canonical_id": "upload:ann:0", "published_at": OLD}
    copy |= {"state": "duplicate", "servable": False, "decided_by": "sha256", "status": "rejected", "reason": "sha256"}
    world.write(t.MEME_STATUS, [copy], Partitions.of([("telegram", DAY)]))
    reactions.react(world.control, "sent", "u1", "telegram:one:1", NOW)
    world.pass_minutes(1)
    assert number(recommender.pop("u1")) == 1


def test_a_queued_meme_that_may_no_longer_be_served_is_passed_over(world: World) -> None:
    world.hold(3)
    recommender = world.recommender()
    recommender.refill("u1")
    decision = {"decision_id": "d1", "meme_id": "upload:ann:0", "action": "reject", "actor": "max", "at": NOW}
    logs.MODERATION.append(world.control, [decision])
    assert number(recommender.pop("u1")) == 1
    world.hold(3, state="snoozed", servable=False, status="rejected", reason="low_like_rate")
    assert recommender.pop("u1") is None


def test_a_meme_without_its_file_is_passed_over(world: World) -> None:
    world.hold(1)
    recommender = world.recommender()
    recommender.refill("u1")
    Blobs(world.settings.blobs).remove(hashlib.sha256(b"a picture").hexdigest())
    assert recommender.pop("u1") is None


def test_at_most_ten_memes_are_tried(world: World) -> None:
    world.hold(12)
    recommender = Recommender(
        world.settings.model_copy(update={"memes": Memes(refill_n=12)}),
        world.lake,
        world.control,
        clock=lambda: world.now,
        plans=lambda nsent, nsessions, role: NEWEST,
    )
    made = recommender.refill("u1")
    assert made is not None
    order = [meme_id for meme_id, _ in made.picks]
    for meme_id in order[:10]:
        reactions.react(world.control, "sent", "u1", meme_id, NOW)
    assert recommender.pop("u1") is None
    served = recommender.pop("u1")
    assert served is not None and served.meme_id == order[10]


def test_a_queue_is_refilled_when_it_is_about_to_be_empty_and_not_before(world: World) -> None:
    world.hold(20)
    recommender = world.recommender()
    first = recommender.refill("u1")
    assert first is not None and (first.refill_no, len(first.picks)) == (0, 4)
    assert recommender.refill("u1") is None
    for _ in range(3):
        recommender.pop("u1")
    second = recommender.refill("u1")
    assert second is not None and second.refill_no == 1
    assert {meme_id for meme_id, _ in first.picks}.isdisjoint(meme_id for meme_id, _ in second.picks)


def test_refill_numbers_begin_anew_with_each_day(world: World) -> None:
    world.hold(20)
    recommender = world.recommender()
    recommender.refill("u1")
    world.pass_minutes(24 * 60)
    made = recommender.refill("u1")
    assert made is not None and (made.refill_no, made.day) == (0, date(2026, 11, 21))


def test_a_pop_waits_for_another_process_that_refills_an_empty_queue_and_gives_up_in_the_end(world: World) -> None:
    world.hold(2)
    recommender = world.recommender()
    lease = recommender.queues.lease("u1", NOW)
    assert lease is not None
    assert recommender.pop("u1") is None and len(world.waited) > 1
    other = world.recommender()

    def done_meanwhile(seconds: float) -> None:
        recommender.queues.release(lease)
        other.refill("u1")

    assert number(world.recommender(wait=done_meanwhile).pop("u1")) == 0


def test_queues_of_people_who_are_here_are_kept_filled(world: World) -> None:
    world.hold(20)
    world.register("u2")
    recommender = world.recommender()
    assert recommender.refill_due() == ([], {})
    for _ in range(3):
        recommender.pop("u1")
    recommender.refill("u2")
    (made,), failed = recommender.refill_due()
    assert (made.user_id, made.refill_no, failed) == ("u1", 1, {})
    assert recommender.refill_due() == ([], {})


def test_who_cannot_be_refilled_does_not_keep_others_from_it(world: World) -> None:
    world.hold(20)
    world.register("a")
    recommender = world.recommender()
    for user in ("a", "u1"):
        for _ in range(3):
            recommender.pop(user)
    logs.USERS.forget(world.control, user_id="a")
    made, failed = recommender.refill_due()
    assert [refill.user_id for refill in made] == ["u1"]
    assert list(failed) == ["a"] and "nobody is registered" in failed["a"]


def test_a_changed_lake_is_noticed_within_a_minute(world: World) -> None:
    world.hold(1)
    recommender = world.recommender()
    assert number(recommender.pop("u1")) == 0
    world.hold(2)
    assert recommender.pop("u1") is None
    world.pass_minutes(1)
    assert number(recommender.pop("u1")) == 1


def test_a_home_without_tables_serves_nothing_and_says_so_by_none(world: World) -> None:
    assert world.recommender(plan=None).pop("u1") is None


def test_a_moderator_is_served_from_a_catalogue_that_nobody_has_rated(world: World) -> None:
    world.hold(2)
    world.register("max", role="moderator")
    served = world.recommender(plan=None).pop("max")
    assert served is not None and served.engine == "low_sent"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_fails_or_waits_nobody_is_sent_a_meme_twice(world: World, seed: int) -> None:
    world.hold(12)
    dice = random.Random(seed)
    desks = [world.recommender(), world.recommender()]
    on_the_way: list[Served] = []
    for _ in range(40):
        desk = dice.choice(desks)
        step = dice.random()
        if step < 0.5 and (served := desk.pop("u1")) is not None:
            on_the_way.append(served)
        elif step < 0.8 and on_the_way:
            desk.delivered(on_the_way.pop(dice.randrange(len(on_the_way))))
        elif step < 0.9:
            # What is on its way arrives within the hour or never.
            on_the_way.clear()
            world.pass_minutes(61)
        else:
            world.pass_minutes(dice.choice([0.1, 5]))
        on_the_way = [served for served in on_the_way if dice.random() < 0.9]
    sent = logs.EVENTS.read(world.control)["meme_id"]
    assert sent.len() > 3 and sent.is_unique().all()


_POPPER = """
import sys
from datetime import datetime
from pathlib import Path
from magpie.control import Control
from tests.test_meme_serving import World
world = World(Path(sys.argv[1]), Control(sys.argv[2]))
recommender = world.recommender()
recommender.snapshot()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(6):
    served = recommender.pop("u1")
    if served is not None:
        recommender.delivered(served)
        print(served.meme_id, flush=True)
"""


def test_two_processes_that_serve_one_person_never_send_the_same_meme(world: World, tmp_path: Path) -> None:
    world.hold(20)
    command = [sys.executable, "-c", _POPPER, str(tmp_path), f"sqlite:///{tmp_path / 'control.db'}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": REPO}
    poppers = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for popper in poppers:
        assert popper.stdout.readline() == "ready\n"
    for popper in poppers:
        popper.stdin.write("go\n")
        popper.stdin.flush()
    told = [popper.communicate(timeout=60)[0].split() for popper in poppers]
    sent = [meme_id for found in told for meme_id in found]
    assert len(sent) == len(set(sent))
    # Where the other one refills for longer than it may be waited for, a call comes back with nothing.
    assert len(sent) >= 10
    kept = world.recommender().queues.recommendation_queues([NOW.date()])
    assert kept["meme_id"].is_unique().all()


def test_the_catalogue_holds_the_latest_ratings_the_words_that_were_read_and_the_latest_likes(world: World) -> None:
    world.hold(3)
    days = [date(2026, 11, 18), date(2026, 11, 19)]
    counts = {"nlikes": 1, "ndislikes": 2, "nsent": 9, "age_days": 4, "invited": 1, "invited_by_channel": 0}
    rated = {**counts, "lr_smoothed": 0.3, "engagement": 0.1, "n_lr": 3, "n_es": 3, "meme_id": "upload:ann:1"}
    stats = [{**rated, "day": day, "as_of": NOW, "nlikes": place} for place, day in enumerate(days, start=5)]
    world.write(t.MEME_STATS, stats, Partitions.days(days))
    of_source = {"source_id": "up:ann", "nlikes": 7, "ndislikes": 3, "nsent_events": 20, "nmemes": 3, "nmemes_sent": 3}
    world.write(
        t.SOURCE_STATS,
        [{**of_source, "day": days[0], "as_of": NOW, "processed_7d": 0}],
        Partitions.days(days[:1]),
    )
    told = {"platform": "upload", "day": DAY, "status": "ok", "attempts": 1, "ocr_engine": "local", "failures": 0}
    texts = ["two  words", "", None]
    described = [
        {**told, "meme_id": f"upload:ann:{n}", "ocr_text": text, "cost_usd": 0} for n, text in enumerate(texts)
    ]
    world.write(t.MEME_DESCRIPTIONS, described, Partitions.of([("upload", DAY)]))
    liked = [
        {"event_id": f"e{n}", "at": NOW + timedelta(days=n), "kind": kind, "user_id": user, "status": "ok"}
        for n, (kind, user) in enumerate([("like", "a"), ("like", "b"), ("sent", "c"), ("like", "b")])
    ]
    rows = [{**row, "day": row["at"].date(), "meme_id": "upload:ann:2"} for row in liked]
    world.write(t.MEME_REACTIONS, rows, Partitions.days(row["day"] for row in rows))
    held = catalogue_of(world.lake)
    assert held.memes["meme_id"].to_list() == [f"upload:ann:{n}" for n in range(3)]
    assert held.words.tolist() == [2, 0, -1]
    assert held.likes.tolist() == [0, 6, 0]
    assert held.lr_smoothed.tolist() == [0.0, 0.3, 0.0]
    assert held.recent_likes.tolist() == [0, 0, 2]
    assert (held.source_likes.tolist(), held.source_sent.tolist()) == ([7], [20])
    assert latest_likes(world.lake, 2)["user_id"].to_list() == ["b", "b"]


def events(*told: tuple[str, str, float]) -> pl.DataFrame:
    """Kind, meme and minutes before now."""
    rows = [
        {"event_id": f"e{n}", "user_id": "u1", "kind": kind, "meme_id": meme_id, "at": NOW - timedelta(minutes=ago)}
        for n, (kind, meme_id, ago) in enumerate(told)
    ]
    return pl.DataFrame(rows, schema=EVENTS)


SESSIONS = SessionRules.of(Memes())


def test_a_person_is_folded_from_events_in_any_order_copies_counting_once() -> None:
    catalogue = shelf(
        meme("a"),
        meme("copy", canonical_id="a", servable=False),
        meme("b", source_id="tg:two"),
        meme("c", source_id="tg:two"),
    )
    told = events(
        ("sent", "a", 50),
        ("sent", "copy", 40),
        ("like", "copy", 39),
        ("sent", "b", 30),
        ("dislike", "b", 29),
        ("like", "b", 28),
        ("sent", "c", 20),
        ("like", "unknown", 10),
        ("share_click", "shared", 5),
    )
    for rows in (told, told.reverse()):
        person = person_of(ANN, rows, catalogue, NOW, SESSIONS)
        assert person.seen == person.seen_lately == {"a", "b", "c", "unknown"}
        assert person.sources == {"tg:one": (1, 0), "tg:two": (0, 1)}
        assert person.last_sends == (("tg:two", False), ("tg:two", False), ("tg:one", True))
        assert (person.nsent, person.nsessions) == (3, 1)


def test_what_was_sent_again_lately_was_seen_lately() -> None:
    month = 30 * 24 * 60
    told = events(("sent", "a", 2 * month), ("sent", "a", 10), ("sent", "b", month + 1), ("like", "b", 5))
    person = person_of(ANN, told, shelf(meme("a"), meme("b")), NOW, SESSIONS)
    assert (person.seen, person.seen_lately) == ({"a", "b"}, {"a"})


def test_only_the_latest_fifteen_sends_tell_what_a_newcomer_likes() -> None:
    told = events(*(("sent", f"m{n}", n) for n in range(20)), ("like", "m19", 1))
    person = person_of(ANN, told, shelf(*(meme(f"m{n}") for n in range(20))), NOW, SESSIONS)
    assert person.last_sends == (("tg:one", False),) * 15


def test_of_two_reactions_in_one_microsecond_the_like_counts() -> None:
    rows = met(events(("dislike", "a", 1), ("like", "a", 1)), shelf(meme("a")))
    assert rows.select("sym").rows() == [(1,)]


def test_nobody_is_a_stranger_everywhere() -> None:
    person = person_of(Profile("new", frozenset({"en"})), events(), shelf(), NOW, SESSIONS)
    assert (person.nsent, person.nsessions, person.sources, person.seen) == (0, 0, {}, frozenset())

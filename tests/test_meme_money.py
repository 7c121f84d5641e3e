"""What describing memes takes of the free calls of a day: turns, quota, faults, crashes; real SDKs, real books."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from magpie.llm import breaker
from magpie.llm.fake_provider import FakeProvider
from magpie.memes import logs
from magpie.memes import tables as t
from magpie.memes.describe_queue import retry
from magpie.tables import Partitions
from tests.dagster_world import copy_home, rows, selected
from tests.instances import fresh_instance
from tests.ledger_world import FakeClock, assert_books_balance
from tests.memes_world import (
    CATS,
    D0,
    GEMMA,
    NEMOTRON,
    SEEN,
    Eye,
    Studio,
    asking,
    day_of,
    drawn,
    exported,
    memes_over,
    message,
    noon,
)

AT = datetime(2026, 3, 20, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 21, tzinfo=UTC)
OK, TURN = ("ok", None), ("pending", "awaiting_turn")
Open = Callable[..., Studio]


@pytest.fixture
def eye() -> Eye:
    return Eye()


@pytest.fixture
def fake(eye: Eye) -> Iterator[FakeProvider]:
    with FakeProvider(responder=eye) as server:
        yield server


@dataclass(frozen=True)
class Gallery:
    """Six memes of one channel on one day, made while it was nobody's turn; tests work on copies of its home."""

    archives: Path
    events: Path
    home: Path


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    folder = tmp_path_factory.mktemp("gallery")
    made = Gallery(folder / "in", folder / "events", folder / "home")
    made.events.mkdir()
    hung(made.archives, 6, 1)
    with FakeProvider() as nobody, fresh_instance() as instance:
        settings = memes_over(made.archives, made.home, events=(str(made.events),))
        studio = Studio(asking(settings, nobody), FakeClock(AT), instance)
        studio.make()
        assert studio.described() == {TURN: 6}
        assert nobody.attempts == 0, "made without a turn, nothing is asked"
        studio.store.close()
        studio.control.close()
    return made


def hung(archives: Path, count: int, days: int) -> None:
    exported(archives, CATS, *(message(n, noon(day_of(n % days), n)) for n in range(1, count + 1)))


@pytest.fixture
def open_studio(gallery: Gallery, tmp_path: Path, fake: FakeProvider, instance: dg.DagsterInstance) -> Open:
    """Make a studio over a copy of the gallery; of a count over so many memes of its own. more: of the section llm."""

    def make(count: int | None = None, days: int = 1, **llm: Any) -> Studio:
        archives, events = gallery.archives, gallery.events
        if count is None:
            copy_home(gallery.home, tmp_path / "home")
        else:
            archives = tmp_path / "in"
            hung(archives, count, days)
        settings = memes_over(archives, tmp_path / "home", events=(str(events),))
        made = Studio(asking(settings, fake, **llm), FakeClock(AT), instance)
        if count is not None:
            made.make()
        return made

    return make


def later(studio: Studio, **apart: float) -> None:
    studio.clock.now += timedelta(**apart)


# --- whose turn it is ---------------------------------------------------------------------------------------------


def test_nine_memes_a_quarter_of_an_hour_are_described_and_the_rest_wait_for_their_turn(
    open_studio: Open, eye: Eye, fake: FakeProvider
) -> None:
    studio = open_studio(11, days=3)
    assert studio.described() == {TURN: 11}
    assert eye.asked == [], "made without a turn, nothing is asked"
    studio.clock.slept.clear()
    asked = studio.describe()
    assert studio.planned().height == 9
    assert studio.described() == {OK: 9, TURN: 2}
    assert len(eye.asked) == fake.attempts == studio.attempts() == 9
    assert len(asked) == studio.planned()["partition"].n_unique()
    assert {selected(one) for one in asked} == {("meme_descriptions", "meme_duplicates", "meme_status")}
    assert studio.clock.slept == pytest.approx([10.0] * 8), "ten seconds between two calls"
    row = studio.descriptions().filter(pl.col("status") == "ok").row(0, named=True)
    assert (row["provider"], row["model_served"], row["ocr_engine"], row["ocr_text"]) == (
        *("openrouter", GEMMA, "vision"),
        "",
    )
    assert row["cost_usd"] == 0
    later(studio, minutes=15)
    studio.describe()
    assert studio.described() == {OK: 11}
    assert fake.answered_twice == []
    later(studio, minutes=15)
    asked, reason = studio.daemon.tick("describe_planner")
    assert (asked, reason) == ([], "no meme waits for a description")
    assert_books_balance(studio.store)


def test_a_day_whose_descriptions_are_under_way_is_not_asked_for_once_more(open_studio: Open) -> None:
    studio = open_studio()
    (request,) = studio.plan()
    under_way = dg.DagsterRun("meme_days", tags=dict(request.tags), status=dg.DagsterRunStatus.STARTED)
    studio.instance.add_run(under_way)
    later(studio, minutes=15)
    asked, reason = studio.daemon.tick("describe_planner")
    assert asked == []
    assert "runs of all 1 partitions wait or are under way" in str(reason)
    studio.instance.delete_run(under_way.run_id)
    (again,) = studio.plan()
    studio.daemon.perform(again, "meme_days")
    assert studio.described() == {OK: 6}


def test_what_people_are_shown_comes_first_and_the_oldest_gets_its_place(open_studio: Open) -> None:
    studio = open_studio(6, days=2)
    shown = [f"telegram:cats:{n}" for n in (3, 4)]
    logs.EVENTS.append(
        studio.control,
        [
            spoken(f"e{n}", kind, meme, AT - timedelta(days=1, minutes=-n))
            for n, (kind, meme) in enumerate([("sent", shown[0]), ("sent", shown[1]), ("like", shown[1])])
        ],
    )
    studio.world.run("reaction_days", partition_key=str(AT.date() - timedelta(days=1)))
    studio.describe()
    planned = studio.planned()
    by_tier = dict(planned.group_by("tier", maintain_order=True).agg("meme_id").iter_rows())
    assert by_tier["served"] == [shown[1], shown[0]], "the most liked of those that were shown"
    # What the other tiers leave goes to the newest; of the two days the second has the odd numbers.
    assert by_tier["fresh"] == [f"telegram:cats:{n}" for n in (5, 1, 6)]
    assert by_tier["oldest"] == ["telegram:cats:2"]
    assert studio.described() == {OK: 6}


def spoken(event_id: str, kind: str, meme_id: str, at: datetime) -> dict[str, Any]:
    nowhere = dict.fromkeys(("engine", "queue_id", "sharer_id", "channel"))
    return {"event_id": event_id, "kind": kind, "user_id": "u1", "meme_id": meme_id, "at": at, **nowhere}


def test_without_a_key_every_meme_is_described_by_rule_and_nothing_is_planned(
    open_studio: Open, eye: Eye, fake: FakeProvider
) -> None:
    studio = open_studio().again(env={})
    studio.make()
    assert studio.described() == {OK: 6}
    found = studio.descriptions()
    assert set(found["provider"]) == {"offline"}
    assert found["description"].str.contains("text not read").all()
    asked, reason = studio.daemon.tick("describe_planner")
    assert asked == []
    assert "no key of OpenRouter is set" in str(reason)
    assert (eye.asked, fake.attempts) == ([], 0)
    keyed = studio.again()
    keyed.make()
    assert keyed.described() == {TURN: 6}
    keyed.describe()
    assert set(keyed.descriptions()["provider"]) == {"openrouter"}, "what was told by rule gives way to a model"


def test_what_a_model_said_stays_when_the_key_is_gone(open_studio: Open) -> None:
    studio = open_studio()
    studio.describe()
    before = studio.descriptions()
    bare = studio.again(env={})
    bare.make()
    assert bare.descriptions().equals(before)


# --- the journal --------------------------------------------------------------------------------------------------


def test_days_that_are_made_again_take_what_was_answered_from_the_journal(
    open_studio: Open, eye: Eye, tmp_path: Path, fake: FakeProvider
) -> None:
    studio = open_studio()
    studio.describe()
    before = studio.descriptions()
    later(studio, hours=3)
    studio.make()
    assert studio.descriptions().equals(before)
    # As if the table had been lost: the books know what was answered.
    every = {(row["platform"], row["day"]) for row in studio.world.lake.present(t.MEME_DESCRIPTIONS)}
    studio.world.lake.write(t.MEME_DESCRIPTIONS, t.MEME_DESCRIPTIONS.empty(), Partitions.of(every))
    studio.make()
    assert studio.descriptions().equals(before)
    assert (len(eye.asked), studio.attempts(), fake.attempts) == (6, 6, 6)


def test_a_picture_that_two_channels_posted_is_looked_at_once(open_studio: Open, tmp_path: Path, eye: Eye) -> None:
    exported(tmp_path / "in", "tg:dogs", message(1, noon(D0, 40)), pictures={1: drawn(1)})
    studio = open_studio(1)
    # Before anything is compared both wait; of the same picture there is one answer.
    assert studio.described()[TURN] >= 1
    studio.describe()
    later(studio, minutes=15)
    studio.describe()
    assert len(eye.asked) == 1


# --- the quota ----------------------------------------------------------------------------------------------------


def test_every_attempt_counts_fallbacks_too_and_what_the_day_has_no_call_for_is_finished_after_midnight(
    open_studio: Open, eye: Eye, fake: FakeProvider
) -> None:
    studio = open_studio(openrouter_free_daily=5)
    fake.misbehave("500", model=GEMMA, times=1)
    studio.describe()
    # One call failed and its meme went on to the next model: four memes have an answer.
    assert (studio.attempts(), fake.attempts) == (5, 5)
    assert studio.described() == {OK: 4, ("pending", "quota_exhausted"): 2}
    held = studio.descriptions().filter(pl.col("status") == "pending")
    assert set(held["not_before"]) == {MIDNIGHT}
    assert set(held["failures"]) == {0}, "want of a call says nothing about the meme"
    later(studio, minutes=15)
    assert studio.plan() == [], "what waits for midnight has no turn before"
    assert studio.daemon.tick("quota")[0] == []
    assert studio.daemon.tick("backlog")[0] == [], "one owner for each reason"

    studio.clock.now = MIDNIGHT + timedelta(minutes=1)
    # The provider's own count begins anew too.
    fake.free_used = -fake.counters.free_attempts
    asked = studio.daemon.tick("quota")[0]
    assert {str(one.partition_key) for one in asked} == {f"{day}|telegram" for day in held["day"]}
    for request in asked:
        studio.daemon.perform(request, "")
    assert studio.described() == {OK: 4, TURN: 2}, "free for their turn"
    studio.describe()
    assert studio.described() == {OK: 6}
    assert studio.attempts() == fake.attempts == 7
    assert fake.answered_twice == []
    assert not [item for item in studio.control.pending() if item.table == "meme_descriptions"]
    assert_books_balance(studio.store)


def test_the_count_of_the_provider_wins_where_it_leaves_less(open_studio: Open, fake: FakeProvider) -> None:
    fake.free_limit, fake.free_used = 1000, 897
    studio = open_studio()
    studio.describe()
    assert studio.described() == {OK: 3, ("pending", "quota_exhausted"): 3}
    assert fake.attempts == 3


# --- faults -------------------------------------------------------------------------------------------------------


def test_models_that_have_no_time_are_left_alone_and_their_memes_are_asked_for_when_they_have(
    open_studio: Open, fake: FakeProvider, eye: Eye
) -> None:
    studio = open_studio()
    fake.misbehave("429", retry_after="300", times=2)
    start = studio.clock.now
    studio.describe()
    assert studio.described() == {("pending", "cooling_down"): 6}
    assert fake.attempts == 2, "each model once; the other memes ask nobody"
    due = studio.descriptions()["not_before"].min()
    assert isinstance(due, datetime)
    assert timedelta(seconds=300) <= due - start <= timedelta(seconds=330)
    assert studio.daemon.tick("backlog")[0] == []
    studio.clock.now = due + timedelta(seconds=30)
    requests = studio.daemon.tick("backlog")[0]
    assert len(requests) == 1
    for request in requests:
        studio.daemon.perform(request, "")
    studio.describe()
    assert studio.described() == {OK: 6}
    assert set(studio.descriptions()["failures"]) == {0}


def test_a_meme_that_three_rounds_of_models_cannot_describe_fails_until_somebody_wants_it_tried_again(
    open_studio: Open, eye: Eye
) -> None:
    eye.reply = lambda model: "I would rather talk about something else."
    studio = open_studio(1)
    for failures in (1, 2):
        studio.describe()
        (row,) = studio.descriptions().rows(named=True)
        assert (row["status"], row["failures"]) == ("pending", failures)
        studio.clock.now = row["not_before"] + timedelta(seconds=1)
    studio.describe()
    assert studio.described() == {("failed", "describe_failed"): 1}
    assert eye.asked == [GEMMA, NEMOTRON] * 3
    later(studio, days=1)
    assert studio.plan() == []
    assert studio.daemon.tick("backlog")[0] == []
    studio.make()
    assert len(eye.asked) == 6, "what has failed is not asked about again by itself"

    eye.reply = lambda model: SEEN
    assert retry(studio.control, studio.descriptions(), "mona", studio.clock()) == [f"telegram|{D0}"]
    studio.make()
    studio.describe()
    assert studio.described() == {OK: 1}


def test_batches_without_any_answer_stop_the_function_until_somebody_looks(
    open_studio: Open, eye: Eye, fake: FakeProvider
) -> None:
    eye.reply = lambda model: "No."
    # Each model rests after an answer that is none, so a batch makes a call to each.
    studio = open_studio(models=(GEMMA, NEMOTRON, "google/gemma-4-26b-a4b-it:free"))
    for _ in range(3):
        studio.describe()
        later(studio, minutes=15, seconds=30)
    counted = fake.attempts
    assert counted == 9
    eye.reply = lambda model: SEEN
    studio.describe()
    assert fake.attempts == counted, "the breaker is open"
    assert ("pending", "breaker_open") in studio.described()
    assert [item.scope for item in studio.store.read(breaker.open_breakers)] == ["function:meme_describe"]
    assert studio.daemon.tick("backlog")[0] == [], "what the breaker holds is not asked for"
    studio.store.write(partial(breaker.close, scope="function:meme_describe"))
    later(studio, hours=2)
    studio.describe()
    assert studio.described()[OK] > 0


def test_a_key_that_is_refused_costs_no_call(open_studio: Open, fake: FakeProvider) -> None:
    studio = open_studio()
    fake.misbehave("401", endpoint="key", times=None)
    studio.describe()
    assert studio.described() == {("pending", "provider_auth"): 6}
    assert studio.attempts() == 0


def test_a_paid_model_is_refused_before_anything_is_asked(open_studio: Open, fake: FakeProvider) -> None:
    studio = open_studio()
    llm = studio.settings.llm.model_copy(update={"aliases": {"vision-free": ("openrouter/google/gemma-4-31b-it",)}})
    paid = studio.again(studio.settings.model_copy(update={"llm": llm}))
    with pytest.raises(Exception, match=r":free"):
        paid.describe()
    assert fake.attempts == 0


# --- texts --------------------------------------------------------------------------------------------------------


def test_a_text_that_comes_late_settles_who_is_a_copy_of_whom(open_studio: Open, tmp_path: Path, eye: Eye) -> None:
    exported(tmp_path / "in", "tg:dogs", message(1, noon(day_of(1), 40)), pictures={1: drawn(1, quality=40)})
    studio = open_studio(1)

    def verdicts() -> Counter[str]:
        return Counter(rows(studio.world.lake, t.MEME_DUPLICATES)["verdict"])

    assert verdicts() == {"unique": 1, "uncertain": 1}, "the pictures are alike, and nobody has read them"
    said = {"ocr_text": "when the build passes on friday", "description": "Blocks.", "language": "en"}
    eye.reply = lambda model: json.dumps(said)
    for request in studio.plan():
        studio.daemon.do(request)
    assert studio.described() == {OK: 2}
    assert verdicts() == {"unique": 1, "duplicate": 1}
    states = rows(studio.world.lake, t.MEME_STATUS).select("meme_id", "state", "canonical_id").rows()
    assert states == [
        ("telegram:cats:1", "ok", "telegram:cats:1"),
        ("telegram:dogs:1", "duplicate", "telegram:cats:1"),
    ]


# --- crashes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "lost"),
    [
        # It was counted before it was sent and never arrived; nobody can know that, so it stays counted.
        ("sent", 1),
        ("journalled", 0),
        ("settled", 0),
    ],
)
def test_a_process_that_dies_in_the_middle_of_describing_asks_nothing_twice(
    open_studio: Open, fake: FakeProvider, step: str, lost: int
) -> None:
    seen: list[str] = []

    def die(now: str, call_id: str) -> None:
        if now == step:
            seen.append(call_id)
            if len(seen) == 3:
                raise SystemExit

    studio = open_studio().again(observe=die)
    (request,) = studio.plan()
    job = studio.world.defs.resolve_job_def("meme_days")
    found = job.execute_in_process(
        instance=studio.instance,
        partition_key=request.partition_key,
        asset_selection=list(request.asset_selection or ()),
        raise_on_error=False,
    )
    assert not found.success
    assert studio.described() == {TURN: 6}
    later(studio, hours=2)
    after = studio.again()
    after.make()
    after.describe()
    assert after.described() == {OK: 6}
    assert fake.answered_twice == []
    assert fake.attempts == 6
    assert after.attempts() == fake.attempts + lost, "one call of the quota for each attempt"
    assert_books_balance(after.store)


# --- what a run shows ---------------------------------------------------------------------------------------------


def test_a_materialisation_shows_quota_models_and_who_rests(open_studio: Open, fake: FakeProvider) -> None:
    studio = open_studio()
    fake.misbehave("429", model=GEMMA, retry_after="600", times=1)
    found: dict[str, Any] = {}
    for request in studio.plan():
        for one in studio.daemon.perform(request, "meme_days").get_asset_materialization_events():
            if one.asset_key is not None and one.asset_key.path[-1] == "meme_descriptions":
                entries = one.step_materialization_data.materialization.metadata
                found |= {name: entry.value for name, entry in entries.items()}
    assert GEMMA.rpartition("/")[2] in found["models_today"] and NEMOTRON.rpartition("/")[2] in found["models_today"]
    assert "900" in found["requests_today"]
    assert found["earliest_cool_down_end"].startswith("2026-03-20 12:1")


def test_checks_find_no_paid_call_and_no_overdrawn_quota(open_studio: Open) -> None:
    studio = open_studio().again(checks=True)
    (request, *_) = studio.plan()
    result = studio.daemon.perform(request, "meme_days")
    checks = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    assert checks["only_free_models"] and checks["quota_kept"]

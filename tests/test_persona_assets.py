"""Assets of persona over partition ranges: the same days give the same rows, and a redo changes nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from magpie.persona import logs, training
from magpie.persona import tables as t
from magpie.settings import Settings
from runs.runner import failure_lines
from schedules.persona import BLOG_DAYS, BLOG_POSTS
from tests.dagster_world import days_between, versions
from tests.persona_world import (
    BLOG,
    D0,
    PER_DAY,
    Office,
    ask,
    assert_same,
    at,
    desk_of,
    diary,
    office_of,
    paged,
    persona_over,
    reblog,
    reply,
    stored,
)

BEFORE, D1, D2, D3 = D0 - timedelta(days=1), D0 + timedelta(days=1), D0 + timedelta(days=2), D0 + timedelta(days=3)
REPLY = f"reply:cleo:107:{int(at(D1, 14).timestamp())}"
INPUTS = {"ask:201", "ask:202", "reblog:bert:301", "ask:203", REPLY, "ask:204"}
DAY_TABLES = tuple(table for table in t.TABLES if table.name in BLOG_DAYS)


def pages(folder: Path) -> None:
    """Three days on which the blog is spoken to, each time early enough to be answered on the day."""
    own = diary()
    paged(folder, "posts", "page-1", own)
    asks = [
        ask(201, at(D0, 9), "How is the snail doing today, clerk?"),
        ask(202, at(D0, 11, 3), "Do lamps sleep when nobody waits? I love them!", "bert"),
        ask(203, at(D1, 9), "Which train is the slowest of them all?"),
        ask(204, at(D2, 9, 5), "The rain is awful and I hate it. Is the kettle on?"),
    ]
    paged(folder, "asks", "page-1", asks)
    paged(folder, "mentions", "page-1", [reblog(301, at(D0, 13), "I saw her too and she waved at me.", own[0])])
    paged(folder, "notes", "107", [reply(at(D1, 14), "What did the draught tell you this time?")])


def writing(folder: Path, home: Path) -> Settings:
    """A blog that is spoken to, and that writes three posts a day of its own accord."""
    pages(folder)
    blog = desk_of(originals=True, originals_from=D0, tuning={"posts_per_day": 3})
    return persona_over(folder, home, blog)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """All days in one run; tests leave its rows as they are."""
    folder = tmp_path_factory.mktemp("persona")
    with office_of(writing(folder / "in", folder / "home")) as office:
        office.land_and_make(D0, D2)
        yield office


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in"


@pytest.fixture
def office(tmp_path: Path, folder: Path) -> Iterator[Office]:
    """One question, posed on a day that the blog's diary comes before; nothing made yet."""
    paged(folder, "posts", "page-1", diary())
    paged(folder, "asks", "page-1", [ask(201, at(D0, 9), "How is the snail doing today, clerk?")])
    with office_of(persona_over(folder, tmp_path / "home")) as found:
        yield found


def attempts(office: Office, table: str = "decisions") -> list[tuple[str, int]]:
    frame = office.rows(next(one for one in t.TABLES if one.name == table))
    return frame.select("input_id", "attempt").unique().sort("input_id", "attempt").rows()


# --- partition ranges ---------------------------------------------------------------------------------------------


def test_pages_become_drafts_and_every_admitted_input_is_written_for_scored_and_decided_once(made: Office) -> None:
    inbox, decisions = made.rows(t.PERSONA_INBOX), made.rows(t.DECISIONS)
    assert set(inbox.filter(pl.col("kind") != "original")["input_id"]) == INPUTS
    assert set(inbox["status"]) == {"ok"}
    assert decisions["input_id"].sort().to_list() == inbox["input_id"].sort().to_list()
    scored = made.rows(t.CANDIDATE_SCORES)
    held = made.rows(t.CANDIDATES).filter(status="ok")
    assert scored.select("input_id", "k").rows() == held.select("input_id", "k").rows()
    assert set(made.rows(t.MOOD_INPUTS)["input_id"]) == INPUTS, "an original moves no mood"
    assert made.rows(t.MOOD).height == 3 * 144
    posts = made.rows(t.OUTBOX)
    assert posts["input_id"].sort().to_list() == inbox["input_id"].sort().to_list()
    assert dict(posts.select("input_id", "body").rows()) == dict(decisions.select("input_id", "body").rows())


def test_while_the_models_are_not_trained_everything_waits_for_a_human_and_nothing_is_sent(made: Office) -> None:
    assert set(made.rows(t.DECISIONS).select("route", "route_reason").rows()) == {("draft", "not_trained")}
    assert set(made.rows(t.OUTBOX).select("state", "status", "reason", "not_before").rows()) == {
        ("draft", "pending", "review", None)
    }
    assert set(made.rows(t.CANDIDATE_SCORES).select("selector_p", "autoreview_p", "selector_version").rows()) == {
        (0.5, 0.5, None)
    }
    assert logs.DELIVERIES.read(made.control).is_empty()


def test_a_range_is_one_commit_per_table_and_makes_the_same_rows_again(made: Office) -> None:
    before, was, ticks = stored(made), versions(made.lake, t.TABLES), logs.TICKS.read(made.control)
    made.read(BEFORE, D2)
    result = made.make(D0, D2)
    now = versions(made.lake, t.TABLES)
    grown = {name: version - was[name] for name, version in now.items() if version != was[name]}
    assert grown == dict.fromkeys((*BLOG_POSTS, *BLOG_DAYS), 1)
    assert all(frame.height for name, frame in before.items() if name != "image_texts")
    assert_same(before, stored(made))
    assert logs.TICKS.read(made.control).equals(ticks), "nothing is admitted twice"
    keys = {event.partition for event in result.get_asset_materialization_events()}
    assert keys == {f"{BLOG}|{day}" for day in days_between(D0, D2)}


def test_days_made_one_by_one_hold_the_rows_of_a_range_and_tomorrows_post_is_written_with_tomorrow(
    made: Office, tmp_path: Path
) -> None:
    before = stored(made)
    with office_of(made.settings.model_copy(update={"home": tmp_path / "home"})) as singly:
        singly.land()
        for day in days_between(BEFORE, D3):
            key = dg.MultiPartitionKey({"blog": BLOG, "day": str(day)})
            for job in ("blog_posts",) * (day != D3) + ("blog_days",) * (day != BEFORE):
                singly.world.run(job, partition_key=key)
        after = stored(singly)
    (first,) = after["decisions"].filter(input_id=f"orig:{D3}T08:00:00Z").rows(named=True)
    assert first["tick_ts"].date() == D2, "as it was planned"
    assert_same(before, {name: frame.filter(pl.col("day") <= D2) for name, frame in after.items()})


def test_a_day_made_again_does_not_listen_to_later_ones(made: Office) -> None:
    before = stored(made)
    for day in (D1, D0):
        made.make(day)
    assert_same(before, stored(made))


def test_the_queue_always_reaches_tomorrow(made: Office) -> None:
    ticks = logs.TICKS.read(made.control).filter(kind="original").sort("input_id")
    per_day = dict(ticks["day"].value_counts().rows())
    assert per_day[D3] > 0
    assert {day: per_day[day] for day in (D0, D1, D2)} == dict.fromkeys((D0, D1, D2), 3)
    for day in (D0, D1, D2):
        planned = ticks.filter(pl.col("tick_ts").dt.date() <= day)["day"]
        assert planned.max() == day + timedelta(days=1), day
    written = made.rows(t.OUTBOX).filter(kind="original").sort("publish_at")
    assert written["day"].value_counts(sort=True)["count"].to_list() == [3, 3, 3]
    assert written["publish_at"].dt.hour().unique().sort().to_list() == [8, 13, 18]


# --- redo ---------------------------------------------------------------------------------------------------------


def test_a_redo_makes_a_second_attempt_and_changes_nothing_of_the_first(office: Office) -> None:
    office.land_and_make()
    before = stored(office)
    office.review(office.rows(t.OUTBOX)["outbox_id"][0], "redo")
    office.make()
    assert attempts(office) == [("ask:201", 1), ("ask:201", 2)]
    now = stored(office)
    for name in ("mood_inputs", "mood"):
        assert now[name].equals(before[name]), name
    for name in ("candidates", "candidate_scores", "decisions"):
        assert now[name].filter(pl.col("attempt") == 1).equals(before[name]), name
    posts = office.rows(t.OUTBOX).sort("attempt").select("state", "reason")
    assert posts.rows() == [("redo", "redo_by_reviewer"), ("draft", "review")]
    assert office.rows(t.PERSONA_INBOX)["attempt"].to_list() == [2]
    office.make()
    assert_same(now, stored(office))


def test_a_redo_of_an_original_leaves_the_kind_of_its_first_attempt_alone(tmp_path: Path, folder: Path) -> None:
    with office_of(writing(folder, tmp_path / "home")) as office:
        office.land_and_make()
        before = stored(office)
        originals = office.rows(t.OUTBOX).filter(kind="original").sort("publish_at")
        for outbox_id in originals["outbox_id"]:
            office.review(outbox_id, "redo")
        office.make()
        kinds = office.rows(t.CANDIDATES).filter(pl.col("attempt") == 1)
        assert kinds.equals(before["candidates"])
        assert office.rows(t.MOOD_INPUTS).equals(before["mood_inputs"])
        assert set(office.rows(t.DECISIONS).filter(kind="original")["attempt"]) == {1, 2}


@dataclass(frozen=True)
class Stern:
    """Stands in for a trained model: everything is as likely."""

    p: float
    version: str = "0" * 64

    def score(self, texts: Sequence[str]) -> list[float]:
        return [self.p] * len(texts)


def test_what_the_moderation_turns_down_is_tried_three_times_more_and_then_shown_to_a_human(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "model_at", lambda *_: Stern(0.9))
    office.land_and_make()
    decided = office.rows(t.DECISIONS).sort("attempt").select("attempt", "route", "route_reason")
    assert decided.rows() == [
        *((n, "rejected", "ml_rejected") for n in (1, 2, 3)),
        (4, "draft", "redo_spent"),
    ]
    assert office.rows(t.OUTBOX).sort("attempt")["state"].to_list() == ["rejected"] * 3 + ["draft"]
    kicks = office.rows(t.MOOD_INPUTS)
    assert kicks.height == 1
    office.review(office.rows(t.OUTBOX).sort("attempt")["outbox_id"][3], "redo")
    office.make()
    assert [attempt for _, attempt in attempts(office)] == list(range(1, 9)), "who asks for another has three more"
    assert office.rows(t.MOOD_INPUTS).equals(kicks)
    before = stored(office)
    office.make()
    assert_same(before, stored(office))


def test_what_must_never_go_out_ends_rejected_and_no_human_is_asked(tmp_path: Path, folder: Path) -> None:
    pages(folder)
    never = desk_of(words={"hard_reject": ["e"]}, delivery="dry_run")
    with office_of(persona_over(folder, tmp_path / "home", never)) as office:
        office.land_and_make()
        assert set(office.rows(t.DECISIONS).select("route", "route_reason").rows()) == {("rejected", "hard_reject")}
        assert set(office.rows(t.OUTBOX)["state"]) == {"rejected"}


def test_trained_models_let_posts_out_and_of_a_dry_run_nothing_is_sent(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "model_at", lambda *_: Stern(0.1))
    office.land_and_make()
    (row,) = office.rows(t.OUTBOX).rows(named=True)
    assert (row["state"], row["status"], row["delivered_at"]) == ("ready", "ok", None)
    result = office.world.run("tumblr_visit")
    assert result.success
    assert logs.DELIVERIES.read(office.control).is_empty()
    office.make()
    assert office.rows(t.OUTBOX)["state"].to_list() == ["ready"]


# --- bad input ----------------------------------------------------------------------------------------------------


def test_a_blog_that_has_posted_too_little_decides_without_writing(tmp_path: Path, folder: Path) -> None:
    pages(folder)
    with office_of(persona_over(folder, tmp_path / "home", min_corpus=50)) as office:
        office.land_and_make()
        assert office.rows(t.CANDIDATES).is_empty()
        told = office.rows(t.DECISIONS).select("status", "reason", "observed", "threshold", "route").unique()
        assert told.rows() == [("rejected", "corpus_too_small", "8", "50", None)]
        assert office.rows(t.OUTBOX).is_empty()
        assert office.rows(t.MOOD_INPUTS)["p75_logit"].null_count() == 3, "what was said still moves the mood"


def test_one_bad_page_and_one_bad_post_fail_no_partition(office: Office, folder: Path) -> None:
    (folder / BLOG / "asks" / "broken.json").write_text('{"response": {"posts": [', "utf-8")
    (folder / BLOG / "asks" / "bytes.json").write_bytes(b"\x00\xfe\xff" * 99)
    paged(folder, "asks", "page-2", [{"id": "x"}, ask(202, at(D0, 10), "Is there a bench to sleep on?", "dora")])
    office.land_and_make()
    files = office.rows(t.TUMBLR_FILES)
    assert sorted(files.filter(pl.col("status") != "ok")["reason"]) == ["json_parse", "not_utf8"]
    assert files.filter(pl.col("bad_items") == 1).height == 1
    assert [input_id for input_id, _ in attempts(office)] == ["ask:201", "ask:202"]


def test_a_page_that_changes_between_listing_and_reading_fails_with_one_line(office: Office, folder: Path) -> None:
    office.land()
    paged(folder, "asks", "page-1", [])
    result = office.world.run("blog_posts", False, partition_key=dg.MultiPartitionKey({"blog": BLOG, "day": str(D0)}))
    assert not result.success
    lines = failure_lines(result)
    assert any("page-1.json has changed since it was listed" in line for line in lines)
    assert all("\n" not in line for line in lines)


def test_every_table_by_day_is_made_by_the_two_jobs_of_a_blog() -> None:
    assert {table.name for table in PER_DAY} == {*BLOG_POSTS, *BLOG_DAYS}
    assert {table.name for table in DAY_TABLES} == set(BLOG_DAYS)

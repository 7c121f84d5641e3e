"""Feedback: what people say is kept for good, outlives every run, and tells how good the leads are."""

import hashlib
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
import yaml
from leads_world import DAY, NOON, OPEN_GATES, World, a_campaign, a_post, a_world, days_between, lead, some_settings

from magpie.cli.review import LEAD_CHOICES, SAMPLE_CHOICES, decide
from magpie.control import Control
from magpie.errors import UserError
from magpie.leads import feedback
from magpie.leads import tables as t
from magpie.leads.feedback import Event
from tests.cli_world import Here, Result, magpie, one_line

AT = datetime(2026, 4, 1, 9, 30, 0, 123_456, UTC)
CAMPAIGN = a_campaign(gates=OPEN_GATES)
HOSTILE = "crm [bold]x[/bold] \x1b[2J =1+1"
NOBODY = t.LEAD_FEEDBACK.empty()


@pytest.fixture
def control(url: str) -> Iterator[Control]:
    opened = Control(url)
    yield opened
    opened.close()


def event(fullname: str = "t3_a", minutes: int = 0, **more: Any) -> Event:
    said = {"workflow": "approved"} if "label" not in more and "workflow" not in more else {}
    return Event(AT + timedelta(minutes=minutes), "ann", "crm", fullname, **{**said, **more})


def answer(row: Mapping[str, Any]) -> Any:
    """t3_0 and t3_1 are leads, one of them with a made-up quote; t3_2 is none; the others are weaker leads."""
    number = int(row["row_ref"][3:])
    said = {0: {"intent_score": 90}, 1: {"intent_score": 95, "evidence_grounded": False}, 2: {"is_lead": False}}
    return lead(row, **said.get(number, {"intent_score": 50 - number}))


def posts() -> list[dict[str, Any]]:
    found = [a_post(f"t3_{n}", f"Title {n}", text=f"crm {HOSTILE}") for n in range(5)]
    return found + [a_post(f"t3_9{n}", "crm", over_18=True) for n in range(6)]


def a_read_world(home: Path | None = None) -> World:
    return a_world(posts(), some_settings(CAMPAIGN), home=home).make_all([DAY]).extract([DAY], answer)


def test_events_are_kept_in_order_and_come_back_as_they_were_given(control: Control) -> None:
    given = [
        event(minutes=2, label="relevant", reason="they asked; 'quoted' — 日本"),
        event("t1_b", minutes=1, workflow="dismissed"),
        event(minutes=1, workflow="new"),
    ]
    ids = [feedback.record(control, one) for one in given]
    assert ids == sorted(set(ids))
    stored = feedback.events(control)
    assert stored.schema == t.LEAD_FEEDBACK.dtypes
    assert stored["event_id"].to_list() == [ids[1], ids[2], ids[0]], "by time, then as recorded"
    last = stored.row(2, named=True)
    assert last == {"event_id": ids[0], **vars(given[0])}


def test_no_event_is_a_typed_empty_frame(control: Control) -> None:
    assert feedback.events(control).equals(t.LEAD_FEEDBACK.empty())


def test_feedback_stands_beside_the_other_tables_of_the_control_database(control: Control) -> None:
    control.record_deletions([("t3_a", "post")], AT)
    feedback.record(control, event())
    assert control.deleted().height == feedback.events(control).height == 1
    assert control.pending() == []


def test_a_moment_of_another_zone_is_the_same_moment(control: Control) -> None:
    there = timezone(timedelta(hours=5))
    feedback.record(control, Event(AT.astimezone(there), "ann", "crm", "t3_a", workflow="approved"))
    assert feedback.events(control)["at"].to_list() == [AT]


def test_a_database_that_is_read_only_says_so_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    writable = Control(f"sqlite:///{path}")
    feedback.record(writable, event())
    writable.close()
    control = Control(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert feedback.events(control).height == 1
    with pytest.raises(UserError, match="attempt to write a readonly database"):
        feedback.record(control, event())
    control.close()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"workflow": "sold"}, r"--workflow 'sold' is none of new, reviewed, approved"),
        ({"label": "maybe"}, r"--label 'maybe' is none of relevant, not_relevant"),
        ({"workflow": None}, "give --workflow or --label"),
        ({"reason": "x" * 1001, "label": "relevant"}, "--reason has 1001 characters, allowed are 1000"),
    ],
)
def test_feedback_that_says_nothing_known_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        event(**wrong)
    for actor in ("", " "):
        with pytest.raises(UserError, match="--actor is empty"):
            Event(AT, actor, "crm", "t3_a", "approved")


def test_the_last_word_counts_part_by_part(control: Control) -> None:
    for one in (
        event(minutes=5, workflow="contacted", label="relevant", reason="wrote to them"),
        event(minutes=9, label="not_relevant", reason="a student"),
        event(minutes=7, workflow="reviewed"),
        event("t3_b", minutes=7, workflow="approved"),
        event("t3_b", minutes=7, workflow="rejected"),
    ):
        feedback.record(control, one)
    found = feedback.current(feedback.events(control)).sort("fullname")
    assert found.select("fullname", "workflow", "label", "feedback_reason").rows() == [
        ("t3_a", "reviewed", "not_relevant", "a student"),
        ("t3_b", "rejected", None, None),
    ]
    assert found["feedback_at"].to_list()[0] == AT + timedelta(minutes=9)


def test_a_new_run_leaves_feedback_as_it_was(tmp_path: Path) -> None:
    world, control = a_read_world(), Control(f"sqlite:///{tmp_path / 'control.db'}")
    feedback.record(control, event("t3_0", workflow="approved"))
    before = feedback.review_queue(world.lake, feedback.events(control), "crm")["fullname"].to_list()
    world.make_all([DAY]).extract([DAY], answer)
    after = feedback.review_queue(world.lake, feedback.events(control), "crm")["fullname"].to_list()
    assert "t3_0" not in before
    assert before == after


def test_the_queue_holds_what_nobody_dealt_with_the_strongest_first() -> None:
    world = a_read_world()
    said = pl.DataFrame([{"event_id": 1, **vars(event("t3_3"))}], schema=t.LEAD_FEEDBACK.dtypes)
    label = pl.DataFrame([{"event_id": 2, **vars(event("t3_4", label="relevant"))}], schema=t.LEAD_FEEDBACK.dtypes)
    everything = pl.concat([said, label])
    assert feedback.review_queue(world.lake, everything, "crm")["fullname"].to_list() == ["t3_0", "t3_4"]
    shown = feedback.review_queue(world.lake, everything, "crm", everything=True)
    assert shown.select("fullname", "workflow").rows() == [
        ("t3_1", "new"),
        ("t3_0", "new"),
        ("t3_3", "approved"),
        ("t3_4", "new"),
    ]
    assert feedback.review_queue(world.lake, everything, "another").is_empty()


def lot(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_the_sample_is_the_same_few_rejected_posts_of_each_day_whoever_asks() -> None:
    yesterday = NOON - timedelta(days=1)
    given = [*posts(), *(a_post(f"t3_8{n}", "crm", over_18=True, at=yesterday) for n in range(4))]
    given.append(a_post("t3_70", "crm", content_state="removed"))
    days = days_between(DAY - timedelta(days=1), DAY)
    world = a_world(given, some_settings(CAMPAIGN)).make_all(days).extract(days, answer)
    drawn = feedback.rejection_sample(world.lake, NOBODY, "crm", 3)
    today = sorted((f"t3_{n}" for n in (2, 90, 91, 92, 93, 94, 95)), key=lot)[:3]
    before = sorted((f"t3_8{n}" for n in range(4)), key=lot)[:3]
    assert set(drawn["fullname"]) == {*today, *before}
    assert set(drawn.filter(pl.col("fullname") == today[0])["eff_title"]) != {None}
    labelled = pl.DataFrame(
        [{"event_id": 1, **vars(event(today[0], label="not_relevant"))}], schema=t.LEAD_FEEDBACK.dtypes
    )
    left = feedback.rejection_sample(world.lake, labelled, "crm", 3)
    assert set(left["fullname"]) == {*today[1:], *before}, "no other post takes the place of a labelled one"
    assert feedback.rejection_sample(world.lake, NOBODY, "crm", 0).is_empty()


def test_recall_is_estimated_from_the_labels_within_the_sample() -> None:
    world = a_read_world()
    rejected = sorted((f"t3_{n}" for n in (2, 90, 91, 92, 93, 94, 95)), key=lot)
    sampled, outside = rejected[:4], rejected[4:]
    labels = {"t3_0": "relevant", "t3_3": "not_relevant", sampled[0]: "relevant", sampled[1]: "not_relevant"}

    def said(more: Mapping[str, str]) -> pl.DataFrame:
        events = [vars(event(name, label=label)) for name, label in {**labels, **more}.items()]
        return pl.DataFrame([{"event_id": n, **one} for n, one in enumerate(events)], schema=t.LEAD_FEEDBACK.dtypes)

    found = feedback.recall(world.lake, said(dict.fromkeys(outside, "relevant")), "crm", 4)
    assert found is not None
    assert (found.precision, found.found, found.missed) == (0.5, 2.0, 3.5), "4 leads, 7 rejected, half of each relevant"
    assert found.recall == pytest.approx(2 / 5.5)
    assert (found.labelled_leads, found.labelled_rejections) == (2, 2)
    assert feedback.recall(world.lake, NOBODY, "crm", 4) is None
    none = dict.fromkeys(labels, "not_relevant")
    assert feedback.recall(world.lake, said(none), "crm", 4) is None


def scripted(*replies: str) -> Any:
    left = list(replies)

    def ask(question: str) -> str:
        if not left:
            raise EOFError
        return left.pop(0)

    return ask


def through(replies: tuple[str, ...], choices: Any = LEAD_CHOICES) -> tuple[int, list[tuple[Any, ...]]]:
    rows = feedback.review_queue(a_read_world().lake, NOBODY, "crm")
    recorded: list[tuple[Any, ...]] = []
    decided = decide(rows, choices, lambda row: iter(()), lambda *said: recorded.append(said), scripted(*replies))
    return decided, recorded


@pytest.mark.parametrize(
    ("replies", "recorded"),
    [
        (("a", "", ""), [("t3_0", "approved", "relevant", None)]),
        (("a", "n", "a student"), [("t3_0", "approved", "not_relevant", "a student")]),
        (("x", "", "Reject", "-", " "), [("t3_0", "rejected", None, None)]),
        (("d", "", ""), [("t3_0", "dismissed", None, None)]),
        (("s", "c", "", ""), [("t3_3", "contacted", "relevant", None)]),
        (("q",), []),
        (("a",), []),
        (("s", "s", "s", "a"), []),
    ],
)
def test_answers_become_events_and_an_end_in_the_middle_records_nothing_by_half(
    replies: tuple[str, ...], recorded: list[tuple[Any, ...]]
) -> None:
    assert through(replies) == (len(recorded), recorded)


def test_labelling_a_sample_asks_for_the_label_alone() -> None:
    assert through(("r", "so it is", "n", ""), SAMPLE_CHOICES) == (
        2,
        [("t3_0", None, "relevant", "so it is"), ("t3_3", None, "not_relevant", None)],
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a campaign's day was read; tests add feedback to it."""
    found = tmp_path_factory.mktemp("home")
    a_read_world(found)
    settings = {"start_day": DAY, "campaigns": [CAMPAIGN]}
    (found / "magpie.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    return found


@pytest.fixture
def review(here: Here) -> Here:
    def command(home: Path, *arguments: str) -> Result:
        return here(home, "leads", "review", "crm", *arguments, config=home / "magpie.yaml")

    return command


def said_in(home: Path) -> list[tuple[Any, ...]]:
    control = Control(f"sqlite:///{home / 'control.sqlite'}")
    try:
        return feedback.events(control).select("fullname", "workflow", "label", "reason", "actor").rows()
    finally:
        control.close()


def test_without_a_terminal_the_leads_are_listed_as_plain_text(home: Path, review: Here) -> None:
    shown = magpie(home, "leads", "review", "crm", config=home / "magpie.yaml")
    assert shown.returncode == 0, shown.stderr
    assert "Title 0" in shown.stdout and "intent 90 hot" in shown.stdout
    assert "[bold]x[/bold]" in shown.stdout and "\x1b" not in shown.stdout
    assert "Title 1" not in shown.stdout, "a quote that is not in the post is not shown"
    assert "3 of 3 leads; this is no terminal, so decide with --post FULLNAME" in shown.stdout
    assert "(not found in the post)" in review(home, "--all", "--limit", "1").stdout


def test_a_decision_is_recorded_from_the_command_line_and_shown_by_why(home: Path, here: Here, review: Here) -> None:
    done = review(home, "--post", "t3_4", "--workflow", "contacted", "--reason", "wrote", "--actor", "ann")
    assert done.returncode == 0, done.stderr
    assert "t3_4: contacted" in done.stdout
    assert ("t3_4", "contacted", None, "wrote", "ann") in said_in(home)
    told = here(home, "leads", "why", "crm", "t3_4", config=home / "magpie.yaml").stdout
    assert "contacted, wrote" in told and "ann, 20" in told
    assert "Lead: intent 46 (warm)." in told
    rejected = review(home, "--post", "t3_90", "--label", "relevant")
    assert rejected.returncode == 0, "rejected posts are labelled too"


def test_wrong_use_of_review_is_one_line(home: Path, here: Here, review: Here) -> None:
    before = said_in(home)
    assert "no campaign 'nobody'" in one_line(here(home, "leads", "review", "nobody", config=home / "magpie.yaml"))
    assert "t3_zz is no post of campaign crm" in one_line(review(home, "--post", "t3_zz", "--label", "relevant"))
    assert "is no fullname" in one_line(review(home, "--post", "zz", "--label", "relevant"))
    assert "give --workflow or --label" in one_line(review(home, "--post", "t3_0"))
    assert "is none of new, reviewed" in one_line(review(home, "--post", "t3_0", "--workflow", "sold"))
    assert "name it with --post" in one_line(review(home, "--label", "relevant"))
    assert "cannot write" in one_line(review(home, "--export", str(home / "magpie.yaml" / "x.csv")))
    assert said_in(home) == before


def test_leads_are_exported_so_that_no_spreadsheet_runs_them(home: Path, tmp_path: Path, review: Here) -> None:
    target = tmp_path / "deep" / "leads.csv"
    done = review(home, "--all", "--export", str(target))
    assert f"4 leads in {target}" in done.stdout.replace("\n", "")
    found = pl.read_csv(target, infer_schema=False)
    assert found["fullname"].to_list()[0] == "t3_1"
    assert found["contact_email"].to_list()[0] == "a@example.org"
    assert {"workflow", "label", "evidence_quote", "reddit_url", "extracted_data"} <= set(found.columns)
    assert not any(cell.startswith(("=", "+", "@")) for row in found.rows() for cell in row if cell)


def test_the_sample_is_offered_and_recall_is_told_once_there_are_labels(home: Path, review: Here) -> None:
    first = review(home, "--sample").stdout
    assert "rejected posts of the sample" in first and "Title 2" in first
    assert "nsfw" not in first, "who knows why it was rejected tends to agree"
    for name, label in (("t3_0", "relevant"), ("t3_2", "not_relevant")):
        assert review(home, "--post", name, "--label", label).returncode == 0
    assert "recall, by estimate" in review(home, "--sample").stdout


def test_at_a_terminal_each_lead_is_shown_and_asked_about(home: Path) -> None:
    pilot, terminal = pty.openpty()
    command = [sys.executable, "-c", "from magpie.cli import main; main()", "leads", "review", "crm", "--actor", "bo"]
    env = {"PATH": os.environ["PATH"], "MAGPIE_HOME": str(home), "MAGPIE_CONFIG": str(home / "magpie.yaml")}
    env |= {"TERM": "xterm", "COLUMNS": "160", "HOME": str(home)}
    running = subprocess.Popen(command, env=env, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = ""
    for awaited, reply in (("q(uit):", "a"), ("label", ""), ("reason", "good one"), ("q(uit):", "q")):
        shown = read_until(pilot, awaited)
        os.write(pilot, f"{reply}\n".encode())
    rest = read_until(pilot, "left")
    assert running.wait(60) == 0
    os.close(pilot)
    assert "1 decided" in rest, shown
    assert said_in(home)[-1] == ("t3_0", "approved", "relevant", "good one", "bo")


def read_until(pilot: int, awaited: str) -> str:
    found, give_up = "", time.monotonic() + 60
    while awaited not in found:
        assert time.monotonic() < give_up, f"{awaited!r} did not come: {found}"
        found += os.read(pilot, 65536).decode(errors="replace")
    return found


def test_the_table_holds_only_what_the_lakes_copy_holds() -> None:
    columns = {column.name for column in feedback.lead_feedback.columns}
    assert columns == set(t.LEAD_FEEDBACK.dtypes)
    assert isinstance(feedback.lead_feedback, sa.Table)

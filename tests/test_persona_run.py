"""`magpie run persona` on a fresh home: which days are made, what is refused, which products are meant."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.changes import QUIET_DAYS
from magpie.running import RunRequest
from magpie.settings import Settings
from magpie.tables import Table
from runs.courses import courses_of
from schedules.persona import BLOG_DAYS, BLOG_MODELS, BLOG_POSTS, PERSONA_LANDING, PERSONA_LOGS
from schedules.spend import SPEND
from tests.dagster_world import Made, made_persona, rows, run_plainly, sample_settings, versions
from tests.persona_world import BLOG, D0, ask, at, desk_of, diary, paged, persona_over

__all__ = ["made_persona"]

OTHER = "day-desk"
BEFORE, FAR = D0 - timedelta(days=1), D0 + timedelta(days=QUIET_DAYS + 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A diary and a question of one blog, and a question to another a long time after."""
    paged(tmp_path / "in", "posts", "page-1", diary())
    paged(tmp_path / "in", "asks", "page-1", [ask(201, at(D0, 9), "How is the snail doing today, clerk?")])
    paged(tmp_path / "in", "asks", "page-1", [ask(301, at(FAR, 9), "Is the day shift any better, clerk?")], OTHER)
    return tmp_path / "in"


@pytest.fixture
def settings(folder: Path, tmp_path: Path) -> Settings:
    return persona_over(folder, tmp_path / "home", desk_of(), desk_of(name=OTHER))


def of(settings: Settings, table: Table) -> pl.DataFrame:
    return rows(Lake(settings.lake_root), table)


def test_a_plain_run_on_a_fresh_home_makes_every_day_and_its_progress_reaches_the_total(settings: Settings) -> None:
    outcome, told = run_plainly(settings, product="persona")
    assert outcome.failures == ()
    assert (outcome.first, outcome.last) == (BEFORE, FAR)
    # Quiet times are left out: two days of the one blog, one of the other.
    per_day = len(BLOG_POSTS) + len(BLOG_DAYS)
    total = len(PERSONA_LANDING) + 2 * len(BLOG_MODELS) + 3 * per_day + len(PERSONA_LOGS) + len(SPEND)
    assert told[-1].done == told[-1].total == total
    assert all(earlier.done <= later.done for earlier, later in pairwise(told))
    decided = of(settings, t.DECISIONS).sort("day")
    assert decided.select("blog", "day", "status", "reason").rows() == [
        (BLOG, D0, "ok", None),
        (OTHER, FAR, "rejected", "corpus_too_small"),
    ]
    assert of(settings, t.OUTBOX)["state"].to_list() == ["draft"]
    assert of(settings, t.PERSONA_TICKS)["input_id"].sort().to_list() == ["ask:201", "ask:301"], "the log is copied"
    # The empty table is version 0; then one commit per range.
    assert set(versions(Lake(settings.lake_root), (t.TUMBLR_POSTS, t.DECISIONS)).values()) == {2}


def test_from_and_to_bound_what_is_made_and_of_the_blogs_only_those_asked_for(settings: Settings) -> None:
    resting = settings.model_copy(update={"blogs": (desk_of(), desk_of(name=OTHER, active=False))})
    outcome, _ = run_plainly(resting, product="persona", first=D0 + timedelta(days=1))
    assert outcome.failures == ()
    assert (outcome.first, outcome.last) == (None, None)
    assert outcome.warnings == ("the folders hold no page of an active blog on these days",)
    outcome, _ = run_plainly(resting, product="persona", blogs=(OTHER, OTHER))
    assert (outcome.first, outcome.last) == (FAR, FAR)
    assert set(of(settings, t.TUMBLR_POSTS)["blog"]) == {OTHER}, "one that rests is made if it is named"
    assert set(of(settings, t.TUMBLR_FILES)["blog"]) == {BLOG, OTHER}, "files are looked at as a whole"


def test_a_blog_that_is_not_there_is_refused_with_one_line_that_names_those_that_are(settings: Settings) -> None:
    with pytest.raises(UserError, match=f"'nowhere'.*{BLOG}.*{OTHER}") as raised:
        run_plainly(settings, product="persona", blogs=(BLOG, "nowhere"))
    assert "\n" not in str(raised.value)
    assert of(settings, t.TUMBLR_POSTS).is_empty(), "that of the others is not made either"


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"first": date(2026, 3, 9), "last": date(2026, 3, 8)}, "must be in order"),
        ({"first": date(2020, 1, 1)}, "start_day"),
        ({"last": date(2999, 1, 1)}, "tomorrow"),
    ],
)
def test_a_wrong_request_is_refused_with_one_line(settings: Settings, request_: Mapping[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        run_plainly(settings, product="persona", **request_)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_not_there_fails_the_run_with_one_line(settings: Settings) -> None:
    persona = settings.persona.model_copy(update={"archives": ("nowhere",)})
    outcome, _ = run_plainly(settings.model_copy(update={"persona": persona}), product="persona")
    (line,) = outcome.failures
    assert "persona.archives" in line
    assert "nowhere" in line
    assert "\n" not in line


def test_whoever_names_a_blog_wants_persona_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    whole = sample_settings(tmp_path)
    assert {"leads", "videos", "memes", "content", "persona"} <= set(courses_of(whole, RunRequest()))
    assert courses_of(whole, RunRequest(blogs=("demo-blog",))) == ["persona", "spend", "marts"]
    assert courses_of(settings, RunRequest()) == ["persona", "spend", "marts"], "a project of blogs alone"
    assert "persona" not in courses_of(settings.model_copy(update={"blogs": ()}), RunRequest())


# --- the sample ---------------------------------------------------------------------------------------------------


def test_the_sample_runs_through_and_no_check_trips(made_persona: Made) -> None:
    assert (made_persona.outcome.failures, made_persona.outcome.warnings) == ((), ())
    assert made_persona.progress[-1].done == made_persona.progress[-1].total


def test_the_sample_shows_texts_drafts_and_moods_and_posts_nothing(made_persona: Made) -> None:
    lake = made_persona.lake
    assert rows(lake, t.CANDIDATES)["status"].value_counts().filter(status="ok")["count"][0] > 100
    posts = rows(lake, t.OUTBOX)
    assert set(posts["state"]) <= {"draft", "rejected", "discarded", "ready"}
    assert posts.filter(state="ready")["kind"].to_list() == ["mood_graph"]
    assert posts["delivered_at"].null_count() == posts.height
    assert rows(lake, t.DELIVERY_LOG).is_empty()
    assert set(rows(lake, t.SELECTOR_MODEL)["status"]) == {"ok"}
    assert set(rows(lake, t.AUTOREVIEW_MODEL)["reason"]) == {"too_few_labels"}
    inbox = rows(lake, t.PERSONA_INBOX)
    assert set(inbox["kind"]) == set(t.INPUT_KINDS)
    assert inbox["reason"].n_unique() > 15
    assert rows(lake, t.MOOD)["value"].is_between(0, 1, closed="none").all()
    assert logs.BY_NAME.keys() == set(PERSONA_LOGS)

"""`magpie run content` on a fresh home: which days are made, what is refused, which products are meant."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from magpie.content import tables as t
from magpie.content.changes import QUIET_DAYS
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.running import RunRequest
from magpie.settings import Settings
from magpie.tables import Table
from runs.courses import courses_of
from schedules.content import CONTENT_LANDING, SITE_DAYS
from schedules.spend import SPEND
from tests.cli_world import Here
from tests.content_world import CLUB, D0, DESCALING, GREEN_TEA, SHOP, club, content_over, listed, shop
from tests.dagster_world import rows, run_plainly, sample_settings, versions

FAR = D0 + timedelta(days=QUIET_DAYS + 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A batch of each of two sites, a long time apart."""
    listed(tmp_path / "in", SHOP, D0, *DESCALING)
    listed(tmp_path / "in", CLUB, FAR, *GREEN_TEA)
    return tmp_path / "in"


@pytest.fixture
def settings(folder: Path, tmp_path: Path) -> Settings:
    sites = (shop(), club(idea_approval="manual"))
    return content_over(folder, tmp_path / "home", *sites, ideas_max=1, max_in_article_images=0)


def of(settings: Settings, table: Table) -> Any:
    return rows(Lake(settings.lake_root), table)


def test_a_plain_run_on_a_fresh_home_makes_every_batch_and_its_progress_reaches_the_total(settings: Settings) -> None:
    outcome, told = run_plainly(settings, product="content")
    assert outcome.failures == ()
    assert (outcome.first, outcome.last) == (D0, FAR)
    # Quiet times are left out, so each batch is a range of its own.
    total = len(CONTENT_LANDING) + 2 * len(SITE_DAYS) + len(SPEND)
    assert told[-1].done == told[-1].total == total
    assert all(earlier.done <= later.done for earlier, later in pairwise(told))
    assert {step.doing for step in told} >= {table.name for table in t.TABLES}
    assert set(of(settings, t.KEYWORDS)["day"]) == {D0, FAR}
    articles = of(settings, t.ARTICLES)
    assert set(articles.filter(site_id=SHOP)["status"]) == {"ok"}
    assert set(articles.filter(site_id=CLUB)["reason"]) == {"awaiting_approval"}
    assert all((settings.home / path).is_file() for path in of(settings, t.ARTICLE_IMAGES)["path"])
    # The empty table is version 0; then one commit per range.
    assert set(versions(Lake(settings.lake_root), (t.KEYWORDS, t.ARTICLES)).values()) == {2}


def test_from_and_to_bound_what_is_made_and_a_resting_site_is_left_out(settings: Settings) -> None:
    resting = settings.model_copy(update={"sites": (shop(), club(active=False))})
    outcome, _ = run_plainly(resting, product="content", first=D0 + timedelta(days=1))
    assert outcome.failures == ()
    assert (outcome.first, outcome.last) == (None, None)
    assert outcome.warnings == ("the folders and lists hold no keywords of an active site on these days",)
    outcome, _ = run_plainly(settings, product="content", first=D0, last=D0 + timedelta(days=9))
    assert (outcome.first, outcome.last) == (D0, D0)
    assert set(of(settings, t.KEYWORDS)["site_id"]) == {SHOP}


def test_of_the_sites_only_those_asked_for_are_made_and_one_that_rests_too_if_it_is_named(settings: Settings) -> None:
    resting = settings.model_copy(update={"sites": (shop(), club(active=False))})
    outcome, told = run_plainly(resting, product="content", sites=(CLUB, CLUB))
    assert outcome.failures == ()
    assert (outcome.first, outcome.last) == (FAR, FAR)
    assert set(of(settings, t.KEYWORDS)["site_id"]) == {CLUB}
    assert told[-1].total == len(CONTENT_LANDING) + len(SITE_DAYS) + len(SPEND), "named twice, it is made once"
    assert set(of(settings, t.KEYWORD_FILES)["site_id"]) == {SHOP, CLUB}, "files are looked at as a whole"


def test_a_site_that_is_not_there_is_refused_with_one_line_that_names_those_that_are(settings: Settings) -> None:
    with pytest.raises(UserError, match=f"'nowhere'.*{SHOP}.*{CLUB}") as raised:
        run_plainly(settings, product="content", sites=(SHOP, "nowhere"))
    assert "\n" not in str(raised.value)
    assert of(settings, t.KEYWORDS).is_empty(), "that of the others is not made either"


def test_the_command_line_ends_with_the_line_that_refuses_a_site(here: Here, tmp_path: Path) -> None:
    told = here(tmp_path, "run", "content", "--site", "nowhere")
    assert (told.returncode, told.stdout) == (2, "")
    assert "Traceback" not in told.stderr
    assert told.stderr.splitlines()[-1].startswith("magpie: no site 'nowhere'")
    assert "balcony-patch, ledger-lamp" in told.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"first": date(2026, 3, 9), "last": date(2026, 3, 8)}, "must be in order"),
        ({"first": date(2020, 1, 1)}, "start_day 2026-03-02"),
        ({"last": date(2999, 1, 1)}, "today"),
    ],
)
def test_a_wrong_request_is_refused_with_one_line(settings: Settings, request_: Mapping[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        run_plainly(settings, product="content", **request_)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_not_there_fails_the_run_with_one_line(settings: Settings) -> None:
    content = settings.content.model_copy(update={"keyword_files": ("nowhere",)})
    outcome, _ = run_plainly(settings.model_copy(update={"content": content}), product="content")
    (line,) = outcome.failures
    assert "keyword_files" in line
    assert "nowhere" in line
    assert "\n" not in line


def test_whoever_names_a_site_wants_content_and_nothing_else(tmp_path: Path) -> None:
    whole = sample_settings(tmp_path)
    assert {"leads", "videos", "memes", "content"} <= set(courses_of(whole, RunRequest()))
    assert courses_of(whole, RunRequest(sites=("balcony-patch",))) == ["content", "spend", "marts"]
    both = courses_of(whole, RunRequest(sites=("balcony-patch",), campaigns=("agency-crm",)))
    assert both == ["leads", "content", "spend", "marts"]
    assert courses_of(whole, RunRequest(product="videos", sites=("balcony-patch",))) == ["videos", "spend"]


def test_a_project_of_sites_alone_makes_content_and_one_without_makes_none(settings: Settings) -> None:
    assert courses_of(settings, RunRequest()) == ["content", "spend", "marts"]
    assert courses_of(settings, RunRequest(product="content")) == ["content", "spend"]
    assert "content" not in courses_of(settings.model_copy(update={"sites": ()}), RunRequest())
    assert "content" not in courses_of(settings, RunRequest(campaigns=("a",)))
    assert "content" not in courses_of(settings, RunRequest(channels=("UC",)))

"""Assets of content over partition ranges, and what bad and hostile input does to them."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.model_calls import TASK_CHARS
from assets.partitions import RANGE_END, RANGE_START
from magpie.content import tables as t
from magpie.lake import Lake
from magpie.llm.export import task_log
from magpie.llm.fake_provider import FakeProvider
from magpie.strict import FunctionChoice
from magpie.tables import Table
from runs.runner import failure_lines
from schedules.content import SITE_DAYS
from tests.content_world import (
    AT,
    CLUB,
    D0,
    DESCALING,
    GREEN_TEA,
    SHOP,
    SMALL,
    WHISTLE,
    Pen,
    Press,
    asking,
    club,
    content_over,
    listed,
    pressing,
    shop,
    span,
    stored,
)
from tests.dagster_world import Made, days_between, made_content, versions
from tests.test_content_metadata import cells

__all__ = ["made_content"]

D1, D2 = D0 + timedelta(days=1), D0 + timedelta(days=3)
PER_SITE = tuple(table for table in t.TABLES if table.name in SITE_DAYS)


def batches(folder: Path) -> None:
    """Three batches of one site, of which the later ones repeat keywords and a topic, and one of the other."""
    listed(folder, SHOP, D0, *DESCALING, *WHISTLE, "moon dust")
    listed(folder, SHOP, D1, *GREEN_TEA, DESCALING[0])
    listed(folder, SHOP, D2, *(f"{keyword} daily" for keyword in DESCALING), *(f"{word} guide" for word in GREEN_TEA))
    listed(folder, CLUB, D1, *GREEN_TEA)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    """All batches of both sites, each site in one run; tests leave its rows as they are."""
    folder = tmp_path_factory.mktemp("content")
    batches(folder / "in")
    with pressing(content_over(folder / "in", folder / "home", shop(), club())) as press:
        press.land()
        press.make(D0, D2)
        press.make(D0, D2, CLUB)
        yield press


def grown(lake: Lake, was: dict[str, int]) -> dict[str, int]:
    now = versions(lake, t.TABLES)
    return {name: version - was[name] for name, version in now.items() if version != was[name]}


def assert_same(before: dict[str, pl.DataFrame], after: dict[str, pl.DataFrame]) -> None:
    for table in PER_SITE:
        assert before[table.name].height, f"{table.name} has no rows, so that they are the same says nothing"
        assert after[table.name].equals(before[table.name]), table.name


# --- partition ranges ---------------------------------------------------------------------------------------------


def test_keywords_become_images_in_one_run_and_every_row_has_its_origin(made: Press) -> None:
    held = stored(made.world)
    assert set(held["keyword_clusters"]["site_id"]) == {SHOP, CLUB}
    assert held["articles"].height >= 4
    assert set(held["articles"]["status"]) == {"ok"}
    assert set(held["articles"]["article_id"]) <= set(held["content_ideas"]["idea_id"])
    assert set(held["image_prompts"]["article_id"]) == set(held["articles"]["article_id"])
    assert held["article_images"].height == 2 * held["articles"].height
    assert set(held["article_images"].select("status", "size_used").rows()) == {("ok", SMALL)}
    assert all((made.settings.home / path).is_file() for path in held["article_images"]["path"])
    assert made.fates(t.KEYWORDS)[("rejected", "duplicate")] == 1, "the first batch keeps a keyword"


def test_a_range_of_one_site_is_one_commit_per_table_and_makes_the_same_rows_again(made: Press) -> None:
    before, was = stored(made.world), versions(made.lake, t.TABLES)
    result = made.make(D0, D2)
    assert grown(made.lake, was) == dict.fromkeys(SITE_DAYS, 1)
    assert_same(before, stored(made.world))
    keys = {event.partition for event in result.get_asset_materialization_events()}
    assert keys == {f"{day}|{SHOP}" for day in days_between(D0, D2)}


def test_a_range_over_both_sites_is_one_commit_per_table(made: Press) -> None:
    before, was = stored(made.world), versions(made.lake, t.TABLES)
    first, last = span(SHOP, D0, D0)[0], span(CLUB, D2, D2)[1]
    sites = sorted(made.instance.get_dynamic_partitions("site"))
    assert sites == [SHOP, CLUB], "a range goes over the sites between its ends"
    result = made.world.run("site_days", tags={RANGE_START: first, RANGE_END: last})
    assert grown(made.lake, was) == dict.fromkeys(SITE_DAYS, 1)
    assert_same(before, stored(made.world))
    keys = {event.partition for event in result.get_asset_materialization_events()}
    assert keys == {f"{day}|{site}" for site in (SHOP, CLUB) for day in days_between(D0, D2)}


def test_batches_made_one_by_one_hold_the_rows_of_a_range(made: Press, tmp_path: Path) -> None:
    before = stored(made.world)
    with pressing(made.settings.model_copy(update={"home": tmp_path / "home"})) as singly:
        singly.land()
        for site, day in ((SHOP, D0), (SHOP, D1), (CLUB, D1), (SHOP, D2)):
            singly.world.run("site_days", partition_key=dg.MultiPartitionKey({"site": site, "day": str(day)}))
        assert_same(before, stored(singly.world))


def test_a_batch_made_again_does_not_listen_to_later_ones(made: Press) -> None:
    before = stored(made.world)
    for day in (D1, D0):
        made.make(day)
    assert_same(before, stored(made.world))


# --- what changes -------------------------------------------------------------------------------------------------


@pytest.fixture
def press(tmp_path: Path) -> Iterator[Press]:
    (tmp_path / "in" / SHOP).mkdir(parents=True)
    with pressing(content_over(tmp_path / "in", tmp_path / "home", shop(), max_in_article_images=0)) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in"


def test_a_batch_whose_file_is_gone_leaves_its_day_and_the_others_stay(press: Press, folder: Path) -> None:
    gone = listed(folder, SHOP, D0, *DESCALING)
    listed(folder, SHOP, D1, *GREEN_TEA)
    press.land()
    press.make(D0, D1)
    gone.unlink()
    press.land()
    press.make(D0)
    for table in PER_SITE:
        assert set(press.rows(table)["day"]) == {D1}, table.name


def test_too_few_keywords_wait_for_more_and_nothing_follows_from_them(press: Press, folder: Path) -> None:
    listed(folder, SHOP, D0, *DESCALING[:2])
    press.land()
    assert press.make().success
    (row,) = press.rows(t.KEYWORD_CLUSTERS).rows(named=True)
    assert (row["cluster_key"], row["status"], row["reason"]) == (t.UNCLUSTERED, "pending", "too_few_keywords")
    assert (row["observed"], row["threshold"], row["not_before"]) == ("2", "3", None)
    for table in (t.CONTENT_IDEAS, t.ARTICLES, t.IMAGE_PROMPTS, t.ARTICLE_IMAGES):
        assert press.rows(table).is_empty(), table.name


def test_one_bad_file_fails_no_partition_and_says_what_is_wrong(press: Press, folder: Path) -> None:
    listed(folder, SHOP, D0, *DESCALING)
    (folder / SHOP / f"bytes-{D0}.csv").write_bytes(b"\x00\x01\xfe" * 200)
    (folder / SHOP / f"broken-{D0}.json").write_text('{"keywords": [', "utf-8")
    (folder / SHOP / "of-no-site").mkdir()
    (folder / SHOP / f"nothing-{D0}.csv").write_text("", "utf-8")
    press.land()
    result = press.make()
    assert result.success
    files = press.rows(t.KEYWORD_FILES)
    assert files.filter(pl.col("status") == "ok").height == 1
    assert files.filter(pl.col("status") != "ok")["reason"].null_count() == 0
    assert files.height == 4
    assert press.fates(t.ARTICLES) == {("ok", None): press.rows(t.CONTENT_IDEAS).height}


def test_a_file_that_disappears_between_landing_and_reading_fails_with_one_line(press: Press, folder: Path) -> None:
    gone = listed(folder, SHOP, D0, *DESCALING)
    press.land()
    gone.unlink()
    result = press.make(check=False)
    assert not result.success
    (line,) = failure_lines(result)
    assert gone.name in line


# --- metadata and checks ------------------------------------------------------------------------------------------


def shown(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """By asset, what its materialisations show; what is large stands in one of them."""
    told: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        entries = event.step_materialization_data.materialization.metadata
        assert event.asset_key is not None
        told.setdefault(event.asset_key.path[-1], {}).update({name: one.value for name, one in entries.items()})
    return told


def plain_cells(text: str) -> list[list[str]]:
    """The body of a markdown table that a materialisation shows, as it was before it was escaped."""
    return [[cell.replace("\\", "") for cell in row] for row in cells(dg.MarkdownMetadataValue(text))]


HOSTILE = (
    "descale <script>alert(1)</script> kettle",
    "descale kettle | --- | [x](javascript:alert(1))",
    "descale kettle {title} [MAGPIE_TITLE]",
    "=cmd|' /C calc'!A0 descale kettle",
    "descale kettle ../../../etc/passwd",
)


def test_hostile_keywords_are_harmless_in_metadata_texts_and_paths(press: Press, folder: Path) -> None:
    listed(folder, SHOP, D0, *DESCALING, *HOSTILE)
    press.land()
    told = shown(press.make())
    assert set(told) == set(SITE_DAYS)
    for name, entries in told.items():
        for key, value in entries.items():
            text = str(value)
            assert "<script" not in text, (name, key)
            assert not re.search(r"(?<!\\)\]\(javascript:", text), (name, key)
    articles = press.rows(t.ARTICLES)
    assert articles.height
    assert not articles["content_html"].str.contains('<script|href="javascript', literal=False).any()
    images = (press.settings.home / "images").resolve()
    paths = [(press.settings.home / path).resolve() for path in press.rows(t.ARTICLE_IMAGES)["path"]]
    assert paths
    assert all(path.is_relative_to(images) for path in paths)


def test_a_materialisation_shows_what_a_person_wants_to_know(made: Press) -> None:
    told = shown(made.make(D0, D2))
    assert "Descale Kettle" in told["keyword_clusters"]["topics"]
    assert told["keyword_clusters"]["rows_in_run"] == made.rows(t.KEYWORD_CLUSTERS).filter(site_id=SHOP).height
    assert "duplicate" in told["keywords"]["keywords_not_used"]
    assert told["articles"]["median_quality"] > 0
    assert "offline" in told["articles"]["quality_flags"]
    assert (told["articles"]["model_calls"], told["articles"]["spent_usd"]) == (0, 0.0)
    assert "data:image" in told["article_images"]["previews"]
    for name, entries in told.items():
        assert entries["table_version"] >= 1, name


def test_the_last_tasks_of_a_run_are_shown_step_by_step_as_the_log_of_tasks_has_them(
    made: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.model_calls.TASKS_SHOWN", 1)
    result = made.make(D0, D2)
    told = shown(result)
    log = task_log(made.store, [AT.date()]).filter(run_id=result.run_id, asset="articles")
    logged = {
        task[:TASK_CHARS]: [step["stepName"] for step in steps]
        for task, steps in log.select("task_id", "request_steps").rows()
    }
    found: dict[str, list[str]] = {}
    for task, function, phase, *_ in plain_cells(told["articles"]["steps_of_the_last_tasks"]):
        assert function == "generate_article"
        found.setdefault(task, []).append(phase)
    ((task, phases),) = found.items()
    assert logged[task] == phases == ["INIT", "PREP", "AI_CALL", "PARSE", "SAVE"]
    assert ["INIT", "PREP", "PARSE", "SAVE"] in logged.values(), "a day without anything to ask is no task to show"
    for asset in ("keyword_clusters", "content_ideas", "image_prompts"):
        assert "PARSE" in told[asset]["steps_of_the_last_tasks"], asset
    assert "steps_of_the_last_tasks" not in told["article_images"], "drawing is no task"
    assert not any("steps_that_went_wrong" in entries for entries in told.values())


def test_what_images_and_verdicts_take_is_shown_beside_answers_and_adds_up_to_the_books(tmp_path: Path) -> None:
    listed(tmp_path / "in", SHOP, D0, *DESCALING)
    with FakeProvider(responder=Pen()) as fake:
        more = {"image_provider": "openai", "max_in_article_images": 1}
        settings = content_over(tmp_path / "in", tmp_path / "home", shop(), llm=asking(fake), **more)
        with pressing(settings) as press:
            press.land()
            first, again = shown(press.make()), shown(press.make())
            calls, booked, credits = fake.attempts, press.booked_usd(), press.rows(t.ARTICLE_IMAGES)["credits"].sum()
    asked = [table.name for table in PER_SITE if table is not t.KEYWORDS]
    assert sum(first[name]["spent_usd"] for name in asked) == pytest.approx(float(booked), abs=1e-12)
    assert sum(first[name]["model_calls"] for name in asked) == calls
    assert first["article_images"]["model_calls"] == 2
    assert first["article_images"]["credits"] == credits > 0
    assert "moderate" in first["articles"]["calls_by_function"]
    assert "content" in first["article_images"]["budget_left_today"]
    images = again["article_images"]
    assert (images["model_calls"], images["journal_hits"], images["spent_usd"]) == (0, 2, 0.0)
    assert images["saved_by_the_journal_usd"] == first["article_images"]["spent_usd"]


def test_a_step_that_went_wrong_is_shown_with_what_was_said(tmp_path: Path) -> None:
    listed(tmp_path / "in", SHOP, D0, *DESCALING)
    with FakeProvider(responder=Pen()) as fake:
        settings = content_over(tmp_path / "in", tmp_path / "home", shop(), llm=asking(fake))
        with pressing(settings) as press:
            press.land()
            fake.misbehave("401", times=None, endpoint="chat/completions")
            told = shown(press.make())
    ((_, function, step, message),) = plain_cells(told["keyword_clusters"]["steps_that_went_wrong"])
    assert (function, step) == ("cluster_keywords", "provider_auth")
    assert "openai" in message


def test_settings_are_shown_with_the_place_that_each_value_is_from(tmp_path: Path) -> None:
    listed(tmp_path / "in", SHOP, D0, *DESCALING)
    own = FunctionChoice(temperature=0.1)
    site = shop(idea_approval="manual", functions={"generate_ideas": own})
    settings = content_over(tmp_path / "in", tmp_path / "home", site, cluster_similarity=0.3)
    llm = settings.llm.model_copy(update={"functions": {"generate_ideas": FunctionChoice(max_output_tokens=900)}})
    with pressing(settings.model_copy(update={"llm": llm})) as press:
        press.land()
        told = shown(press.make())

    def of(asset: str) -> dict[tuple[str, str], tuple[str, str]]:
        rows = plain_cells(told[asset]["settings_with_source"])
        return {(site, name): (value, tier) for site, name, value, tier in rows}

    assert of("keyword_clusters")[("", "cluster_similarity")] == ("0.3", "content")
    ideas = of("content_ideas")
    assert ideas[("", "duplicate_similarity")] == ("0.6", "default"), "that of the embedder"
    assert ideas[(SHOP, "idea_approval")] == ("manual", "site")
    assert ideas[(SHOP, "generate_ideas.model")] == ("smart", "default")
    assert ideas[(SHOP, "generate_ideas.temperature")] == ("0.1", "site")
    assert ideas[(SHOP, "generate_ideas.max_output_tokens")] == ("900", "llm.functions")
    assert of("article_images")[("", "image_provider")] == ("offline", "default")


def test_a_day_without_keywords_shows_nothing_and_breaks_nothing(made: Press) -> None:
    quiet = date(2026, 3, 15)
    told = shown(made.make(quiet))
    assert {name: entries["rows_in_run"] for name, entries in told.items()} == dict.fromkeys(SITE_DAYS, 0)


def test_no_check_but_the_known_one_trips_on_the_sample(made_content: Made) -> None:
    assert made_content.outcome.failures == ()
    # Rules write skeletons of articles, which are shorter than what was asked for.
    (warning,) = made_content.outcome.warnings
    assert warning.startswith("articles: lengths_fit: 1 sites")


def test_an_image_that_is_gone_is_an_error_that_blocks_nothing_and_making_the_day_again_mends_it(
    press: Press, folder: Path
) -> None:
    listed(folder, SHOP, D0, *DESCALING)
    press.land()
    press.make()
    path = press.settings.home / press.rows(t.ARTICLE_IMAGES)["path"][0]
    path.unlink()
    found = checked(press, t.ARTICLE_IMAGES, "images_are_there")
    assert not found.passed
    assert not found.blocking
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert path.stem in str(found.metadata["findings"].value).replace("\\", "")
    press.make()
    assert checked(press, t.ARTICLE_IMAGES, "images_are_there").passed


def checked(press: Press, table: Table, name: str) -> dg.AssetCheckEvaluation:
    """What one check says of all that is stored."""
    world = press.again(checks=True).world
    key = dg.AssetCheckKey(dg.AssetKey(table.name), name)
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(key))
    job = dg.Definitions.merge(world.defs, dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    (found,) = job.execute_in_process(instance=world.instance).get_asset_check_evaluations()
    return found

"""The command line as a person meets it: what it prints, how it fails, how it ends."""

import json
import os
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml
from dagster_world import Made, copy_home, made  # noqa: F401 - a fixture
from marts_world import Built, built

from magpie.lake import Lake
from tests.cli_world import REPO, Here, magpie, one_line

__all__ = ["built"]

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


@pytest.fixture(scope="module")
def home(made: Made) -> Path:  # noqa: F811
    return made.settings.home


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """The project's settings over the later days of its sample and one of each thing, with pictures not read here.

    Other tests make all of it, and have pictures read, product by product.
    """
    settings = yaml.safe_load((REPO / "magpie.yaml").read_text("utf-8"))
    settings["memes"]["local_ocr"] = "off"
    settings["start_day"] = settings["persona"]["start_day"] = date(2026, 3, 9)
    # The blog's posts of that week are too few for the usual bound, and none would be written.
    settings["persona"]["min_corpus"] = 5
    for things in ("campaigns", "channels", "meme_sources"):
        settings[things] = settings[things][:1]
    # Of the sites the last has the fewest keywords in these days.
    settings["sites"] = settings["sites"][-1:]
    (tmp_path / "samples").symlink_to(REPO / "samples")
    config = tmp_path / "magpie.yaml"
    config.write_text(yaml.safe_dump(settings), "utf-8")
    return config


@pytest.mark.slow
def test_run_makes_everything_and_says_what_was_made_and_where(
    tmp_path: Path, quick: Path, here: Here, built: Built
) -> None:
    # What dbt makes of the project is the same for every home, and takes it a while.
    shutil.copytree(built.settings.home / "dbt", tmp_path / "home" / "dbt")
    # `HYPOTHESIS_PROFILE=thorough make test` runs the project as it stands.
    config = REPO / "magpie.yaml" if THOROUGH else quick
    result = magpie(tmp_path / "home", "run", config=config)
    assert result.returncode == 0, result.stderr
    often = "low_fused" if THOROUGH else "low_cosine"
    assert THOROUGH or ", 2026-03-09 to 2026-03-27" in result.stdout
    for told in ("ranked_posts", often, "Top leads", "agency-crm", "warehouse.duckdb", "make ui"):
        assert told in result.stdout
    assert (tmp_path / "home" / "warehouse.duckdb").exists()
    marts = here(tmp_path / "home", "sql", "SELECT count(*) AS n FROM gate_funnel", "-f", "json", config=config)
    assert json.loads(marts.stdout)["n"] > 0


def test_an_unknown_product_is_refused_in_one_line_that_names_the_known_ones(tmp_path: Path, here: Here) -> None:
    assert "products: leads, videos, memes, content, persona, spend, marts" in one_line(here(tmp_path, "run", "kites"))


def test_a_day_that_is_none_is_refused_with_an_example(tmp_path: Path, here: Here) -> None:
    assert "--from '03/02/2026' is not a day; write it as 2026-03-02" in one_line(
        here(tmp_path, "run", "--from", "03/02/2026")
    )


def test_an_unknown_campaign_is_refused_before_anything_runs(tmp_path: Path, here: Here) -> None:
    assert "agency-crm, folding-bike" in one_line(here(tmp_path, "run", "leads", "--campaign", "nobody"))
    assert not (tmp_path / "lake").exists()


def test_a_wrong_setting_is_one_line_with_key_value_and_what_is_allowed(tmp_path: Path, here: Here) -> None:
    text = (REPO / "magpie.yaml").read_text("utf-8")
    wrong = tmp_path / "magpie.yaml"
    wrong.write_text(text.replace("leads_daily_cap_usd: 5.00", "leads_daily_cap_usd: -5"), "utf-8")
    told = one_line(here(tmp_path, "doctor", config=wrong))
    assert "magpie.yaml: caps.leads_daily_cap_usd = -5" in told
    assert "greater than or equal to 0" in told


def test_a_missing_settings_file_says_how_to_name_another(tmp_path: Path, here: Here) -> None:
    assert "--config or MAGPIE_CONFIG" in one_line(here(tmp_path, "doctor", config=tmp_path / "none.yaml"))


def test_an_archive_that_cannot_be_read_ends_the_run_with_one_line_that_names_it(tmp_path: Path, here: Here) -> None:
    text = (REPO / "magpie.yaml").read_text("utf-8")
    (tmp_path / "broken.zst").write_bytes(b"this is no zstd stream")
    config = tmp_path / "magpie.yaml"
    config.write_text(text.replace("archives: [samples/reddit]", "archives: [broken.zst]"), "utf-8")
    result = here(tmp_path / "home", "run", config=config)
    assert result.returncode == 1
    failed = [line for line in result.stderr.splitlines() if "failed" in line]
    assert len(failed) == 1, result.stderr
    assert "broken.zst" in failed[0]
    assert "Traceback" not in result.stderr


def test_sql_answers_as_table_csv_and_json(home: Path, here: Here) -> None:
    query = "SELECT campaign_id, count(*) AS n FROM campaign_posts GROUP BY ALL ORDER BY ALL"
    table = here(home, "sql", query).stdout
    csv = here(home, "sql", query, "-f", "csv").stdout
    rows = [json.loads(line) for line in here(home, "sql", query, "-f", "json").stdout.splitlines()]
    assert "2 rows" in table
    assert csv.splitlines()[0] == "campaign_id,n"
    assert [row["campaign_id"] for row in rows] == ["agency-crm", "folding-bike"]
    assert str(rows[0]["n"]) in table
    assert f"agency-crm,{rows[0]['n']}" in csv


def test_sql_writes_nested_values_as_csv_cells(home: Path, here: Here) -> None:
    answer = here(home, "sql", "SELECT gate_log, matched_keywords FROM campaign_posts LIMIT 1", "-f", "csv")
    assert answer.returncode == 0, answer.stderr
    assert "low_upvote_ratio" in answer.stdout


def test_a_wrong_query_is_one_line(home: Path, here: Here) -> None:
    assert "no_such_table" in one_line(here(home, "sql", "FROM no_such_table"))


def test_sql_cannot_write_or_read_beside_the_lake(home: Path, tmp_path: Path, here: Here) -> None:
    target = tmp_path / "stolen.csv"
    one_line(here(home, "sql", f"COPY (SELECT 1) TO '{target}'"))
    one_line(here(home, "sql", f"FROM read_text('{REPO / 'magpie.yaml'}')"))
    assert not target.exists()


def test_replay_shows_each_gate_before_and_after(home: Path, here: Here) -> None:
    answer = here(home, "leads", "replay", "agency-crm", "--set", "min_fused=0.5")
    assert answer.returncode == 0, answer.stderr
    assert "low_fused" in answer.stdout
    assert "candidates now" in answer.stdout


def test_replay_refuses_what_is_no_setting_in_one_line(home: Path, here: Here) -> None:
    assert "min_fuse" in one_line(here(home, "leads", "replay", "agency-crm", "--set", "min_fuse=0.5"))
    assert "NAME=VALUE" in one_line(here(home, "leads", "replay", "agency-crm", "--set", "min_fused"))


def test_why_tells_every_gate_of_a_candidate_and_its_rank(home: Path, here: Here) -> None:
    query = "SELECT fullname FROM ranked_posts WHERE campaign_id = 'agency-crm' AND rank = 1 LIMIT 1"
    name = json.loads(here(home, "sql", query, "-f", "json").stdout)["fullname"]
    told = here(home, "leads", "why", "agency-crm", name).stdout
    assert "Candidate: rank 1" in told
    for gate in ("duplicate", "too_old", "low_upvote_ratio", "low_cosine", "low_fused"):
        assert gate in told


def test_why_of_a_post_that_is_nowhere_says_what_to_check(home: Path, here: Here) -> None:
    assert "check that its archive is in magpie.yaml" in one_line(here(home, "leads", "why", "agency-crm", "t3_zzzz"))
    assert "no link to a Reddit post" in one_line(here(home, "leads", "why", "agency-crm", "example"))


def test_forget_blanks_a_post_at_the_next_run(made: Made, tmp_path: Path, here: Here) -> None:  # noqa: F811
    home = tmp_path / "home"
    copy_home(made.settings.home, home)
    query = (
        "SELECT fullname, day FROM campaign_posts "
        "WHERE campaign_id = 'agency-crm' AND kind = 'submission' AND status = 'ok' LIMIT 1"
    )
    post = json.loads(here(home, "sql", query, "-f", "json").stdout)
    assert "1 of 1 recorded" in here(home, "leads", "forget", post["fullname"]).stdout
    day = ("--campaign", "agency-crm", "--from", post["day"], "--to", post["day"])
    assert here(home, "run", "leads", *day).returncode == 0
    left = f"SELECT title, text, author FROM reddit_posts WHERE fullname = '{post['fullname']}'"
    assert json.loads(here(home, "sql", left, "-f", "json").stdout) == {"title": None, "text": "", "author": None}
    assert "Rejected: deleted." in here(home, "leads", "why", "agency-crm", post["fullname"]).stdout


def test_doctor_lists_versions_archives_and_keys_without_showing_any(home: Path, here: Here) -> None:
    answer = here(home, "doctor", OPENAI_API_KEY="sk-planted-secret")
    assert answer.returncode == 0, answer.stdout
    assert "5 files" in answer.stdout
    assert "OPENAI_API_KEY" in answer.stdout
    assert "planted" not in answer.stdout + answer.stderr


def test_doctor_fails_when_something_is_bad(tmp_path: Path, here: Here) -> None:
    text = (REPO / "magpie.yaml").read_text("utf-8")
    config = tmp_path / "magpie.yaml"
    config.write_text(text.replace("archives: [samples/reddit]", "archives: [nowhere/*.zst]"), "utf-8")
    answer = here(tmp_path / "home", "doctor", config=config)
    assert answer.returncode == 1
    assert "nowhere/*.zst" in answer.stdout


def test_control_characters_in_posts_do_not_reach_the_terminal(home: Path, here: Here) -> None:
    answer = here(home, "sql", "SELECT chr(27) || '[2J' || '[bold]x[/bold]' AS text")
    assert "\x1b" not in answer.stdout
    assert "[bold]x[/bold]" in answer.stdout


def test_a_query_may_begin_with_a_comment(home: Path, here: Here) -> None:
    answer = here(home, "sql", "-- the campaigns\nSELECT DISTINCT campaign_id FROM campaign_posts", "-f", "csv")
    assert answer.returncode == 0, answer.stderr
    assert "folding-bike" in answer.stdout


def test_a_bucket_that_cannot_be_reached_is_a_finding_of_the_doctor_and_one_line_elsewhere(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asked ten times at ever longer intervals, each table would take seconds to be given up.
    options = Lake.options.fget
    monkeypatch.setattr(Lake, "options", property(lambda lake: {**options(lake), "max_retries": "1"}))
    nowhere = {
        "MAGPIE_LAKE_URL": "s3://bucket/lake",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
    }
    looked = here(tmp_path, "doctor", **nowhere)
    assert looked.returncode == 1
    # Each product would wait for the bucket once more and say so.
    assert " ".join(looked.stdout.split()).count("check MAGPIE_LAKE_URL") == 1
    told = one_line(here(tmp_path, "sql", "SELECT 1", **nowhere))
    assert "s3://bucket/lake" in told
    assert "planted" not in told + looked.stdout

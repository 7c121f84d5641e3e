"""The bundled sample of content: its files are of the formats they claim, and every fate of a keyword occurs."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.content import tables as t
from magpie.content.keywords import Places, keyword_files, keywords, rows_of
from magpie.content.settings import Content, Site
from magpie.sources.keyword_files import read_keyword_file

REPO = Path(__file__).parents[1]
FOLDER = "samples/content/keywords"
DAYS = (date(2026, 3, 3), date(2026, 3, 9))
PATCH = Site(
    id="balcony-patch",
    name="Balcony Patch",
    sectors=("growing", "tools"),
    exclude_keywords=("free seeds",),
    disabled_keywords=("plastic lawn for balcony",),
)
LAMP = Site(
    id="ledger-lamp",
    name="Ledger Lamp",
    exclude_keywords=("jobs", "login"),
    disabled_keywords=("coworking day pass",),
)
PLACES = Places.of(REPO, REPO / ".magpie", Content(keyword_files=(FOLDER,)), (PATCH, LAMP))


@pytest.fixture(scope="module")
def files() -> pl.DataFrame:
    return keyword_files(PLACES, t.KEYWORD_FILES.empty(), read_keyword_file, lambda names: {})


def counts(frame: pl.DataFrame, *by: Any) -> dict[Any, int]:
    return {row[:-1] if len(row) > 2 else row[0]: row[-1] for row in frame.group_by(*by).len().iter_rows()}


def test_each_file_is_recognised_as_what_it_is_and_names_its_day(files: pl.DataFrame) -> None:
    columns = ("format", "site_id", "day", "keywords", "bad_rows", "reason")
    assert sorted(files.select(columns).rows(), key=str) == sorted(
        [
            ("google_ads", PATCH.id, DAYS[0], 20, 0, None),
            ("search_console", PATCH.id, DAYS[1], 8, 0, None),
            ("plain", PATCH.id, DAYS[0], 11, 5, None),
            ("ahrefs", LAMP.id, DAYS[0], 17, 0, None),
            (None, LAMP.id, DAYS[1], 0, 0, "unknown_format"),
        ],
        key=str,
    )
    google = next((REPO / FOLDER).rglob("Keyword Stats*")).read_bytes()
    assert google.startswith(b"\xff\xfe"), "the export is UTF-16"


def test_every_fate_of_a_keyword_occurs(files: pl.DataFrame) -> None:
    made = [
        keywords(files, site, DAYS, t.KEYWORDS.empty(), lambda name: rows_of(PLACES, name, read_keyword_file))
        for site in (PATCH, LAMP)
    ]
    told = [counts(frame, pl.col("reason").fill_null("ok")) for frame in made]
    assert told[0] == {"ok": 29, "duplicate": 4, "excluded": 1, "disabled": 2, "empty": 2, "too_long": 1}
    assert told[1] == {"ok": 14, "excluded": 2, "disabled": 1}
    disabled = pl.concat(made).filter(pl.col("reason") == "disabled")
    assert counts(disabled, "observed") == {"in the file": 1, "in the settings": 2}


def test_the_readme_speaks_of_every_file_and_of_no_other() -> None:
    named = set(re.findall(r"^\| `([^`]+)`", (REPO / "samples/content/README.md").read_text("utf-8"), re.MULTILINE))
    folder = REPO / FOLDER
    assert named == {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}

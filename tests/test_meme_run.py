"""`magpie run memes` alone and beside other products, what the sample becomes, and real files on their whole way."""

import csv
import importlib.util
import shutil
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import tables as leads
from magpie.memes import tables as t
from magpie.memes.changes import QUIET_DAYS
from magpie.memes.settings import MemeSource
from magpie.memes.stages import Curator
from magpie.running import RunRequest
from magpie.settings import Settings, load_settings
from magpie.tables import Partitions
from magpie.videos import tables as videos
from resources.llm import Llm
from runs.courses import COURSES, courses_of
from schedules.memes import MEME_DAYS, MEME_LANDING, QUEUE_DAYS, REACTION_DAYS
from schedules.spend import SPEND
from tests.dagster_world import (
    MEME_FIRST,
    MEME_LAST,
    Made,
    days_between,
    made_memes,
    rows,
    run_plainly,
    sample_settings,
    versions,
)
from tests.memes_world import (
    CATS,
    D0,
    NOW,
    changed,
    day_of,
    event,
    exported,
    memes_over,
    message,
    noon,
    told,
    with_memes,
)

__all__ = ["made_memes"]

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parents[2] / "shared" / "data"
# Events of the sample begin so many days after its posts.
SENT_FIRST = date(2026, 3, 8)
FAR = day_of(QUIET_DAYS + 10)


def lake_of(settings: Settings) -> Lake:
    return Lake(settings.lake_root)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Posts of one channel a long time apart, and one event."""
    exported(tmp_path / "in", CATS, *(message(n, noon(day)) for n, day in enumerate((D0, day_of(1), FAR), 1)))
    told(tmp_path / "events" / "a.ndjson", event(1, "sent", "u1", "telegram:cats:1", noon(day_of(2))))
    return memes_over(tmp_path / "in", tmp_path / "home", events=(str(tmp_path / "events"),))


# --- which days ---------------------------------------------------------------------------------------------------


def test_a_plain_run_makes_every_day_of_the_sample_and_its_progress_reaches_the_total(made_memes: Made) -> None:
    steps = made_memes.progress
    assert made_memes.outcome.failures == ()
    assert (made_memes.outcome.first, made_memes.outcome.last) == (MEME_FIRST, MEME_LAST)
    posts = len(days_between(MEME_FIRST, MEME_LAST)) * len(t.PLATFORMS)
    events = len(days_between(SENT_FIRST, MEME_LAST))
    total = len(MEME_LANDING) + posts * len(MEME_DAYS) + events * (len(REACTION_DAYS) + len(QUEUE_DAYS)) + len(SPEND)
    assert steps[-1].done == steps[-1].total == total
    assert all(earlier.done <= later.done for earlier, later in pairwise(steps))
    assert {step.doing for step in steps} >= {table.name for table in t.TABLES}
    others = (leads.REDDIT_POSTS, leads.LEADS, videos.VIDEOS)
    assert set(versions(made_memes.lake, others).values()) == {-1}, "memes alone makes nothing of other products"


def test_long_quiet_times_are_left_out_and_a_second_run_makes_the_same_rows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setitem(COURSES, "marts", lambda course: asked.append("marts"))
    outcome, told_ = run_plainly(settings, product=None)
    assert outcome.failures == ()
    assert (outcome.first, outcome.last) == (D0, FAR)
    assert asked == ["marts"], "a project of memes alone needs no campaigns and no channels"
    assert told_[-1].done == told_[-1].total
    lake = lake_of(settings)
    assert set(rows(lake, t.MEME_STATUS)["state"]) == {"ok"}
    assert {row["day"] for row in lake.present(t.MEME_POSTS)} == {D0, day_of(1), FAR}
    # The empty table is version 0; then one commit per range, of which posts have two and events one.
    found = versions(lake, (t.MEME_POSTS, t.MEME_STATUS, t.MEME_REACTIONS))
    assert found == {"meme_posts": 2, "meme_status": 2, "meme_reactions": 1}
    assert set(versions(lake, (leads.REDDIT_POSTS, videos.VIDEOS)).values()) <= {-1, 0}
    tables = [table for table in t.TABLES if table.dimensions]
    before = {table.name: rows(lake, table) for table in tables}
    again, _ = run_plainly(settings, product="memes", first=FAR, last=FAR)
    assert (again.first, again.last) == (FAR, FAR)
    for table in tables:
        assert rows(lake, table).equals(before[table.name]), table.name


def test_from_and_to_bound_what_is_made(settings: Settings) -> None:
    outcome, _ = run_plainly(settings, product="memes", first=day_of(1), last=day_of(1))
    assert outcome.failures == ()
    assert (outcome.first, outcome.last) == (day_of(1), day_of(1))
    assert rows(lake_of(settings), t.MEMES)["meme_id"].to_list() == ["telegram:cats:2"]
    assert rows(lake_of(settings), t.MEME_REACTIONS).is_empty()
    outcome, _ = run_plainly(settings, product="memes", first=day_of(5), last=day_of(6))
    assert outcome.failures == ()
    assert outcome.warnings == ("the folders hold no post of a channel and no event on these days",)
    assert (outcome.first, outcome.last) == (None, None)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "told_"),
    [
        ({"first": date(2026, 3, 9), "last": date(2026, 3, 8)}, "must be in order"),
        ({"last": date(2999, 1, 1)}, "today"),
        ({"product": "kites"}, "products: leads, videos, memes, content, persona, spend, marts"),
    ],
)
def test_a_wrong_request_is_refused_with_one_line(settings: Settings, request_: dict[str, Any], told_: str) -> None:
    with pytest.raises(UserError, match=told_) as raised:
        run_plainly(settings, **{"product": "memes", **request_})
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_not_there_fails_the_run_with_one_line(settings: Settings) -> None:
    outcome, _ = run_plainly(with_memes(settings, archives=("nowhere",)), product="memes")
    (line,) = outcome.failures
    assert "nowhere" in line and "\n" not in line and "Error" not in line


# --- products -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("campaigns", "channels", "memes", "plain"),
    [
        (True, True, True, ["leads", "videos", "memes", "spend", "marts"]),
        (False, True, True, ["videos", "memes", "spend", "marts"]),
        (False, False, True, ["memes", "spend", "marts"]),
        (True, False, False, ["leads", "spend", "marts"]),
    ],
)
def test_a_plain_run_makes_memes_where_the_settings_have_any(
    tmp_path: Path, campaigns: bool, channels: bool, memes: bool, plain: list[str]
) -> None:
    base = sample_settings(tmp_path)
    settings = base.model_copy(
        update={
            "campaigns": base.campaigns if campaigns else (),
            "channels": base.channels if channels else (),
            "sites": (),
            "blogs": (),
            "meme_sources": base.meme_sources if memes else (),
            "memes": base.memes if memes else base.memes.model_copy(update={"archives": (), "events": ()}),
        }
    )
    assert courses_of(settings, RunRequest()) == plain
    assert courses_of(settings, RunRequest(product="memes")) == ["memes", "spend"]
    assert "memes" not in courses_of(settings, RunRequest(campaigns=("a",))), "a campaign that is named means leads"


# --- the sample ---------------------------------------------------------------------------------------------------

INSTALLED = {"ocr": "rapidocr", "video": "av"}


def test_the_sample_becomes_what_its_table_says(made_memes: Made) -> None:
    with (ROOT / "samples" / "memes" / "expected.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    names = {name for name, module in INSTALLED.items() if importlib.util.find_spec(module)}
    expected = [line for line in lines if not line["needs"] or line["needs"] in names]
    assert len(expected) > 400
    held = {
        table.name: {row["meme_id"]: row for row in rows(made_memes.lake, table).iter_rows(named=True)}
        for table in t.TABLES
        if table.name in {line["table"] for line in expected}
    }
    wrong = [
        (line["meme_id"], line["table"], line["column"], line["value"], found)
        for line in expected
        if (found := as_text(held[line["table"]].get(line["meme_id"], {}).get(line["column"]))) != line["value"]
    ]
    assert wrong == []


def as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- real files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Curator]:
    """Responses of VK and Instagram as they came, and an export whose photos are real pictures."""
    if not all((DATA / name).is_dir() for name in ("vk", "instagram", "memes")):
        pytest.skip("the real files of VK, Instagram and pictures are not on this machine")
    archives = tmp_path / "in"
    for platform in ("vk", "instagram"):
        shutil.copytree(DATA / platform, archives / platform)
    pictures = sorted(path for path in (DATA / "memes").rglob("*") if path.suffix in (".jpg", ".png"))
    exported(
        archives,
        CATS,
        *(message(n, noon(day_of(n // 10), n % 10)) for n in range(1, len(pictures) + 1)),
        pictures={n: path.read_bytes() for n, path in enumerate(pictures, 1)},
    )
    first = date(2005, 1, 1)
    settings = memes_over(archives, tmp_path / "home", start_day=first)
    known = [f"vk:{path.name}" for path in (archives / "vk").iterdir()] + ["ig:pgrimaud"]
    sources = tuple(MemeSource(id=name) for name in (CATS, *sorted(known)))
    settings = settings.model_copy(update={"meme_sources": sources})
    control = Control(settings.control_database)
    yield Curator(settings, lake_of(settings), control, Blobs(settings.blobs), None, lambda: NOW)
    control.close()


def test_real_files_go_all_the_way_and_each_of_their_rows_has_its_fate(real: Curator) -> None:
    lake = real.lake
    files = real.meme_files()
    lake.write(t.MEME_FILES, files, Partitions.whole())
    assert files["status"].is_in(["ok", "failed", "rejected"]).all()
    assert files.filter(pl.col("status") != "ok")["reason"].null_count() == 0
    lake.write(t.MEME_SOURCES, real.meme_sources(files), Partitions.whole())
    told_ = files.select("platform", "days").explode("days").drop_nulls().unique()
    asked = Partitions.of(told_.rows())
    days = asked.all_days()
    posts = real.meme_posts(asked)
    memes = real.memes(posts, days)
    media = real.meme_media(memes, posts, t.MEME_MEDIA.empty())
    engine = Llm(real.settings, real.control, clock=real.clock, env={}).engine
    nothing = t.MEME_DESCRIPTIONS.empty()
    descriptions, _ = real.meme_descriptions(engine, None, lambda state: None, memes, media, nothing)
    duplicates = real.meme_duplicates(memes, media, descriptions)
    status = real.meme_status(memes, media, descriptions, duplicates)
    made = (
        (t.MEME_POSTS, posts),
        (t.MEMES, memes),
        (t.MEME_MEDIA, media),
        (t.MEME_DESCRIPTIONS, descriptions),
        (t.MEME_DUPLICATES, duplicates),
        (t.MEME_STATUS, status),
    )
    for table, frame in made:
        # The lake refuses rows that break the schema, repeat a key or lie outside the partitions.
        lake.write(table, frame, asked)
        assert frame.filter((pl.col("status") != "ok") & pl.col("reason").is_null()).is_empty(), table.name
    assert set(posts["platform"]) == {"telegram", "vk", "instagram"}
    kept = media.filter((pl.col("platform") == "telegram") & (pl.col("status") == "ok"))
    assert kept.height >= 20 and kept["phash64"].null_count() < kept.height
    # The same bridge, shrunk and sharpened, is found to look alike; without its texts nobody says that it is a copy.
    alike = duplicates.filter(pl.col("verdict") == "uncertain")
    assert alike.height >= 5
    assert set(status["meme_id"]) == set(memes.filter(pl.col("status").is_in(["ok", "pending"]))["meme_id"])


def test_a_project_elsewhere_names_its_files_by_itself(tmp_path: Path) -> None:
    """A copy of the files in another place gives the same posts, and no row names the machine."""
    found = []
    for place in ("one", "two"):
        home = tmp_path / place
        exported(home / "in", CATS, message(1, noon(D0)))
        changed(home / "magpie.yaml", "start_day: 2026-03-02\nmemes: {archives: [in]}\n")
        settings = load_settings(home / "magpie.yaml")
        curator = Curator(
            settings, lake_of(settings), Control(settings.control_database), Blobs(settings.blobs), None, lambda: NOW
        )
        files = curator.meme_files()
        curator.lake.write(t.MEME_FILES, files, Partitions.whole())
        found.append(curator.meme_posts(Partitions.of([("telegram", D0)])))
    assert found[0].height == 1
    assert found[0].equals(found[1])
    assert not any(Path(name).is_absolute() for name in files["source_file"])

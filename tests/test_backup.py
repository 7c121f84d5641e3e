"""A backup put back reads as what was saved, on disk, in a bucket, on SQLite and Postgres; a damaged one is refused."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
import sqlalchemy as sa
import typer
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from magpie import migrations
from magpie.backup import MANIFEST, MANIFEST_SUM, Manifest, Places, backup, check, restore
from magpie.blobs import Blobs
from magpie.catalog import TABLES
from magpie.cli import backup as commands
from magpie.control import Control, Pending
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm import journal, schema
from magpie.llm.store import Store
from magpie.persona import logs as persona_logs
from magpie.tables import Partitions
from tests.cli_world import REPO
from tests.databases import database_in
from tests.first_control import ANSWER, KEY, fill
from tests.lake_tables import CAMPAIGN_DAILY, DAILY, WHOLE, campaign_daily, daily, day, days
from tests.test_lake_s3 import KEYS, endpoint, lake_in_a_bucket

__all__ = ["endpoint"]

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TABLES_HERE = (DAILY, CAMPAIGN_DAILY, WHOLE)
PAIRS = [("a", 0), ("a", 1), ("b", 1)]


@pytest.fixture
def control(url: str) -> Iterator[Control]:
    opened = Control(url)
    yield opened
    opened.close()


@pytest.fixture
def empty(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Control]:
    """A database of the same kind where nothing is."""
    if url.startswith("sqlite"):
        opened = Control(f"sqlite:///{tmp_path / 'back' / 'control.sqlite'}")
        yield opened
        opened.close()
        return
    with database_in(request.getfixturevalue("postgres")) as other:
        opened = Control(other)
        yield opened
        opened.close()


@pytest.fixture
def places(tmp_path: Path, control: Control) -> Places:
    """A home in use: tables with several versions, books, blobs, and files that live sources gave."""
    home = tmp_path / "home"
    made = Places(Lake(str(home / "lake")), control, home)
    write_lake(made.lake)
    control.record_deletions([("t3_a", "post"), ("t3_b", "author")], NOW)
    control.record_pending("ranked", ["a"], [Pending("ranked", "a", "quota", 3, NOW)])
    control.ensure(schema.metadata)
    Blobs(home / "blobs").put(b"a picture")
    live = home / "raw" / "memes" / "live" / "page.json"
    live.parent.mkdir(parents=True)
    live.write_text("{}", "utf-8")
    os.utime(live, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    (home / "journal").mkdir()
    (home / "journal" / "c1").write_bytes(b"an answer")
    (home / "journal" / ".half.part").write_bytes(b"half")
    (home / "exports").mkdir()
    (home / "exports" / "made.csv").write_text("again", "utf-8")
    return made


def write_lake(lake: Lake) -> None:
    for generation in range(3):
        rows = campaign_daily(PAIRS, generation=generation)
        lake.write(CAMPAIGN_DAILY, rows, Partitions.of((c, day(n)) for c, n in PAIRS))
    lake.write(DAILY, daily([0, 3]), Partitions.days(days([0, 3])))
    lake.write(DAILY, DAILY.empty(), Partitions.days(days([3])))


def save(places: Places, out: Path) -> Manifest:
    return backup(places, TABLES_HERE, out, now=NOW)


def other(places: Places, control: Control, tmp_path: Path) -> Places:
    """Where nothing is."""
    return Places(Lake(str(tmp_path / "back" / "lake")), control, tmp_path / "back")


def read(lake: Lake) -> list[pl.DataFrame]:
    return [lake.read(table).sort(table.key).collect() for table in TABLES_HERE]


def assert_same(before: Lake, after: Lake) -> None:
    for wanted, found in zip(read(before), read(after), strict=True):
        assert_frame_equal(wanted, found)
    for table in TABLES_HERE:
        assert before.version(table) == after.version(table)
        assert before.history(table) == after.history(table)


def everything(control: Control) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, as SQLAlchemy reads them."""
    found = sa.MetaData()
    found.reflect(control.engine())
    with control.engine().connect() as connection:
        tables = {table.name: connection.execute(sa.select(table)).all() for table in found.sorted_tables}
    return {name: sorted((tuple(row) for row in rows), key=repr) for name, rows in tables.items()}


def test_what_is_put_back_reads_as_what_was_saved(places: Places, empty: Control, tmp_path: Path) -> None:
    before = everything(places.control)
    made = save(places, tmp_path / "saved")
    assert {name: stored.rows for name, stored in made.lake.items()} == {"daily": 2, "campaign_daily": 6}
    back = other(places, empty, tmp_path)
    assert restore(back, tmp_path / "saved") == made
    assert_same(places.lake, back.lake)
    assert everything(empty) == before
    assert Blobs(back.home / "blobs").get(Blobs(places.home / "blobs").put(b"a picture")) == b"a picture"
    live = Path("raw", "memes", "live", "page.json")
    assert (back.home / live).stat().st_mtime_ns == (places.home / live).stat().st_mtime_ns
    assert (back.home / "journal" / "c1").read_bytes() == b"an answer"
    assert {path.name for path in (back.home / "journal").iterdir()} == {"c1"}
    assert not (back.home / "exports").exists()


def test_what_was_put_back_is_worked_with_on(places: Places, empty: Control, tmp_path: Path) -> None:
    save(places, tmp_path / "saved")
    back = other(places, empty, tmp_path)
    restore(back, tmp_path / "saved")
    back.lake.write(DAILY, daily([0], generation=7), Partitions.days(days([0])))
    assert set(back.lake.read(DAILY).collect()["generation"]) == {7}
    assert back.lake.vacuum(CAMPAIGN_DAILY) == 0
    # A new id is none that is there.
    assert empty.record_deletions([("t3_a", "post"), ("t3_c", "post")], NOW) == 1
    assert empty.deleted().height == 3
    assert sorted(sa.inspect(empty.engine()).get_table_names()) == sorted(everything(places.control))


def test_the_books_of_the_first_form_come_back_and_are_brought_up_to_date(
    url: str, empty: Control, tmp_path: Path
) -> None:
    old = Control(url)
    bare = old.bare()
    with bare.begin() as connection:
        fill(connection)
    home = tmp_path / "home"
    made = save(Places(Lake(str(home / "lake")), old, home), tmp_path / "saved")
    assert made.control is not None
    assert made.control.version == migrations.FIRST
    assert "control_versions" not in sa.inspect(bare).get_table_names()
    bare.dispose()
    restore(Places(Lake(str(tmp_path / "back" / "lake")), empty, tmp_path / "back"), tmp_path / "saved")
    store = Store(empty)
    found = store.read(lambda c: journal.find(c, [KEY]))
    assert found[KEY].exchange.body == ANSWER
    assert empty.deleted().height == 6
    assert empty.record_deletions([("t3_" + "x" * 61, "post")], NOW) == 1
    store.close()


def test_only_live_files_and_no_version_to_come_are_in_a_backup(places: Places, tmp_path: Path) -> None:
    stored = places.lake.open(CAMPAIGN_DAILY)
    assert stored is not None
    stored.create_checkpoint()
    made = save(places, tmp_path / "saved")
    copied = sorted(path for path, _ in made.of("lake/campaign_daily") if not path.startswith("_delta_log"))
    assert copied == sorted(places.lake.data_files(CAMPAIGN_DAILY)["path"])
    assert "lake/campaign_daily/_delta_log/_last_checkpoint" in made.files
    saved = Lake(str(tmp_path / "saved" / "lake"))
    assert_same(places.lake, saved)


def test_a_checkpoint_of_a_later_version_is_not_pointed_to(places: Places, tmp_path: Path) -> None:
    stored = places.lake.open(CAMPAIGN_DAILY)
    assert stored is not None
    stored.create_checkpoint()
    pointer = Path(places.lake.uri(CAMPAIGN_DAILY), "_delta_log", "_last_checkpoint")
    pointer.write_text(json.dumps({**json.loads(pointer.read_text()), "version": stored.version()}), "utf-8")
    later = Path(places.lake.uri(CAMPAIGN_DAILY), "_delta_log", f"{stored.version() + 1:020}.json.tmp")
    later.write_text("a writer was killed here", "utf-8")
    made = save(places, tmp_path / "saved")
    assert not [name for name in made.files if name.endswith(".tmp")]


def test_a_home_that_nothing_was_made_in_gives_a_backup_of_nothing(tmp_path: Path) -> None:
    control = Control(f"sqlite:///{tmp_path / 'home' / 'control.sqlite'}")
    nothing = Places(Lake(str(tmp_path / "home" / "lake")), control, tmp_path / "home")
    made = save(nothing, tmp_path / "saved")
    assert (made.lake, made.control, made.files) == ({}, None, {})
    empty = Control(f"sqlite:///{tmp_path / 'back' / 'control.sqlite'}")
    restore(Places(Lake(str(tmp_path / "back" / "lake")), empty, tmp_path / "back"), tmp_path / "saved")
    assert not (tmp_path / "back").exists()


def test_writers_go_on_while_a_backup_is_made(places: Places, empty: Control, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            places.control.record_deletions([(f"t3_{number}_{kind}", "post") for kind in range(5)], NOW)
            places.lake.write(DAILY, daily([0], generation=number), Partitions.days(days([0])))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = save(places, tmp_path / "saved")
    finally:
        stop.set()
        writer.join()
    back = other(places, empty, tmp_path)
    restore(back, tmp_path / "saved")
    assert made.lake["daily"].rows == back.lake.read(DAILY).collect().height == 2
    # A transaction is there as a whole or not at all.
    assert (empty.deleted().height - 2) % 5 == 0


def test_a_blob_that_a_disk_has_damaged_is_left_out_and_named(places: Places, tmp_path: Path) -> None:
    blobs = Blobs(places.home / "blobs")
    sha256 = blobs.put(b"another picture")
    blobs.path(sha256).write_bytes(b"damaged")
    made = save(places, tmp_path / "saved")
    assert made.damaged_blobs == (sha256,)
    assert len(list(made.of("home/blobs"))) == 1
    check(tmp_path / "saved")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
def test_a_backup_with_any_damaged_file_is_refused_in_one_line_and_nothing_is_written(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    control = Control(f"sqlite:///{tmp_path / 'home' / 'control.sqlite'}")
    places = Places(Lake(str(tmp_path / "home" / "lake")), control, tmp_path / "home")
    write_lake(places.lake)
    control.record_deletions([("t3_a", "post")], NOW)
    Blobs(places.home / "blobs").put(b"a picture")
    control.close()
    made = save(places, tmp_path / "saved")
    names = [*made.files, MANIFEST, MANIFEST_SUM]
    for name in names:
        path = tmp_path / "saved" / name
        whole = path.read_bytes()
        harm(path)
        empty = Control(f"sqlite:///{tmp_path / 'back' / 'control.sqlite'}")
        with pytest.raises(UserError, match=r"damaged|not finished") as error:
            restore(Places(Lake(str(tmp_path / "back" / "lake")), empty, tmp_path / "back"), tmp_path / "saved")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "back").exists()
        path.write_bytes(whole)
    check(tmp_path / "saved")


def rewrite(saved: Path, **changes: Any) -> None:
    """A manifest that was changed on purpose, sum and all."""
    told = {**json.loads((saved / MANIFEST).read_text("utf-8")), **changes}
    content = json.dumps(told).encode()
    (saved / MANIFEST).write_bytes(content)
    (saved / MANIFEST_SUM).write_text(f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n", "ascii")


@pytest.mark.parametrize(
    "name", ["../outside", "home/../outside", "/etc/outside", "home/dagster/dagster.yaml", "home/blobs/../../outside"]
)
def test_a_backup_that_would_write_elsewhere_is_refused(places: Places, tmp_path: Path, name: str) -> None:
    save(places, tmp_path / "saved")
    rewrite(tmp_path / "saved", files={name: {"bytes": 0, "sha256": "0" * 64}})
    with pytest.raises(UserError, match="is no file of a backup"):
        check(tmp_path / "saved")


def test_a_backup_of_a_newer_version_is_refused(places: Places, tmp_path: Path) -> None:
    made = save(places, tmp_path / "saved")
    assert made.control is not None
    told = json.loads((tmp_path / "saved" / MANIFEST).read_text("utf-8"))["control"]
    rewrite(tmp_path / "saved", control={**told, "version": 99})
    with pytest.raises(UserError, match=r"newer Magpie .*version 99"):
        check(tmp_path / "saved")


def test_nothing_is_restored_over_anything(places: Places, empty: Control, tmp_path: Path) -> None:
    save(places, tmp_path / "saved")
    with pytest.raises(UserError, match=r"holds .*only restored where nothing is"):
        restore(places, tmp_path / "saved")
    with pytest.raises(UserError, match=r"the lake .* holds table daily"):
        restore(Places(places.lake, empty, tmp_path / "back"), tmp_path / "saved")
    with pytest.raises(UserError, match="the control database holds tables"):
        restore(other(places, places.control, tmp_path), tmp_path / "saved")
    assert not (tmp_path / "back").exists()


def test_a_copy_of_one_kind_of_database_is_not_put_into_the_other(
    places: Places, tmp_path: Path, postgres: str
) -> None:
    save(places, tmp_path / "saved")
    with database_in(postgres) as server:
        on_server = places.control.file is None
        wrong = Control(f"sqlite:///{tmp_path / 'back' / 'control.sqlite'}" if on_server else server)
        with pytest.raises(UserError, match="set MAGPIE_CONTROL_URL to one on"):
            restore(other(places, wrong, tmp_path), tmp_path / "saved")


def test_a_backup_goes_neither_into_what_it_saves_nor_over_another(places: Places, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would be lost with what it saves"):
        save(places, places.home / "saved")
    save(places, tmp_path / "saved")
    with pytest.raises(UserError, match="is not empty; name a new folder"):
        save(places, tmp_path / "saved")


@pytest.mark.parametrize("there", [None, "file", "folder"])
def test_what_is_no_backup_is_refused_in_one_line(tmp_path: Path, there: str | None) -> None:
    if there == "file":
        (tmp_path / "saved").write_text("", "utf-8")
    elif there == "folder":
        (tmp_path / "saved").mkdir()
    with pytest.raises(UserError, match="is no backup, or one that was not finished"):
        check(tmp_path / "saved")


def test_a_lake_in_a_bucket_is_saved_and_comes_back_in_another(endpoint: str, tmp_path: Path) -> None:
    control = Control(f"sqlite:///{tmp_path / 'home' / 'control.sqlite'}")
    places = Places(lake_in_a_bucket(endpoint, f"{tmp_path.name}/before"), control, tmp_path / "home")
    write_lake(places.lake)
    stored = places.lake.open(CAMPAIGN_DAILY)
    assert stored is not None
    stored.create_checkpoint()
    made = save(places, tmp_path / "saved")
    empty = Control(f"sqlite:///{tmp_path / 'back' / 'control.sqlite'}")
    after = (lake_in_a_bucket(endpoint, f"{tmp_path.name}/after"), Lake(str(tmp_path / "0" / "lake")))
    for number, lake in enumerate(after):
        back = Places(lake, empty, tmp_path / str(number))
        assert restore(back, tmp_path / "saved") == made
        assert_same(places.lake, lake)
        lake.write(DAILY, daily([5]), Partitions.days(days([5])))
    assert KEYS["AWS_SECRET_ACCESS_KEY"].encode() not in (tmp_path / "saved" / MANIFEST).read_bytes()


writes = st.lists(
    st.tuples(st.sets(st.sampled_from(PAIRS), min_size=1), st.integers(0, 3), st.booleans()), min_size=0, max_size=4
)
names = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=16)
events = st.sets(st.tuples(names, st.just("post")))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=writes, deleted=events)
def test_any_lake_and_any_log_read_the_same_after_a_backup_was_put_back(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[tuple[set[tuple[str, int]], int, bool]],
    deleted: set[tuple[str, str]],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    places, back = (
        Places(Lake(str(home / "lake")), Control(f"sqlite:///{home / 'control.sqlite'}"), home)
        for home in (folder / "home", folder / "back")
    )
    for pairs, generation, cleared in written:
        rows = CAMPAIGN_DAILY.empty() if cleared else campaign_daily(sorted(pairs), generation=generation)
        places.lake.write(CAMPAIGN_DAILY, rows, Partitions.of((c, day(n)) for c, n in pairs))
    places.control.record_deletions(deleted, NOW)
    made = save(places, folder / "saved")
    assert restore(back, folder / "saved") == made
    assert_same(places.lake, back.lake)
    assert_frame_equal(places.control.deleted(), back.control.deleted())
    places.control.close()
    back.control.close()


def test_the_commands_save_and_put_back_and_tell_the_rows_of_each_table(
    places: Places, control: Control, empty: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    app.command("backup")(commands.backup)
    app.command("restore")(commands.restore)
    for name in ("MAGPIE_LAKE_URL", "MAGPIE_CONTROL_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAGPIE_CONFIG", str(REPO / "magpie.yaml"))
    table = TABLES["meme_moderation"]
    places.lake.write(table, table.empty(), Partitions.whole())

    def run(home: Path, database: Control, *arguments: str) -> Any:
        monkeypatch.setenv("MAGPIE_HOME", str(home))
        monkeypatch.setenv("MAGPIE_CONTROL_URL", database._url.replace("+psycopg2", ""))
        monkeypatch.setattr(commands.out, "width", 160)
        return CliRunner().invoke(app, list(arguments))

    done = run(places.home, control, "backup", "--out", str(tmp_path / "saved"))
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "saved") in done.output
    done = run(tmp_path / "back", empty, "restore", str(tmp_path / "saved"))
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["control", "deletions", "2"] in lines
    assert ["lake", "meme_moderation", "0"] in [line[:3] for line in lines]
    assert "restored to" in done.output
    again = run(tmp_path / "back", empty, "restore", str(tmp_path / "saved"))
    assert isinstance(again.exception, UserError)


def test_rows_of_every_kind_of_column_come_back(places: Places, empty: Control, tmp_path: Path) -> None:
    store = Store(places.control)
    nothing: dict[str, Any] = {"a": None, "b": [1, "ü"], "c": 1.5}
    store.write(
        lambda c: c.execute(
            schema.llm_body.insert(),
            [{"call_id": "1", "head": nothing, "body": bytes(range(256))}, {"call_id": "2", "head": None, "body": b""}],
        )
    )
    store.close()
    tick = persona_logs.TICKS.read(places.control)
    before = everything(places.control)
    save(places, tmp_path / "saved")
    restore(other(places, empty, tmp_path), tmp_path / "saved")
    assert everything(empty) == before
    assert_frame_equal(persona_logs.TICKS.read(empty), tick)

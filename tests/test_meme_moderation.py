"""Decisions of people: only those who may, only what changes something, never about one's own, and never lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import tables as t
from magpie.memes.logs import EVENTS, MODERATION
from magpie.memes.moderation import WAITING, decide, gone, record_approval_likes, record_duplicate_likes, waiting
from magpie.memes.status import fold, meme_status
from magpie.memes.uploads import register
from magpie.tables import Partitions, Table

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SHA = "a" * 64
STORED = (t.MEMES, t.MEME_MEDIA, t.MEME_DESCRIPTIONS, t.MEME_DUPLICATES)


def rows_of(table: Table, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in table.dtypes} for row in rows], schema=table.dtypes)


# Name, platform, and what is known of it.
MEMES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("1", "telegram", {}),
    ("2", "telegram", {"ad_flag": True, "ad_reason": "casino"}),
    ("3", "telegram", {"verdict": "uncertain", "duplicate_of": "telegram:c:1", "phash_distance": 7}),
    ("4", "telegram", {"verdict": "duplicate", "duplicate_of": "telegram:c:1", "rule": "sha256"}),
    ("5", "telegram", {"status": "rejected", "reason": "carousel"}),
    ("6", "telegram", {"ad_flag": True, "ad_reason": "erid"}),
    ("7", "upload", {"uploader_id": "bob"}),
    ("8", "upload", {"uploader_id": "eve", "verdict": "duplicate", "duplicate_of": "telegram:c:4", "rule": "sha256"}),
    ("9", "upload", {"uploader_id": "eve"}),
)


class World:
    def __init__(self, folder: Path) -> None:
        self.control = Control(f"sqlite:///{folder / 'control.sqlite'}")
        self.lake = Lake(str(folder / "lake"))
        self.minutes = 0
        tables: dict[str, list[dict[str, Any]]] = {table.name: [] for table in STORED}
        for number, (name, platform, facts) in enumerate(MEMES):
            at = NOON + timedelta(minutes=number)
            place = {"meme_id": f"{platform}:c:{name}", "platform": platform, "day": NOON.date(), "type": "image"}
            place |= {"published_at": at, "status": "ok"}
            meme = {**place, "source_id": "tg:c", "post_id": name, "language": "en", "ad_flag": False, **facts}
            tables[t.MEMES.name].append(meme)
            sha = SHA if name in "14" else name * 64
            blob = {"sha256": sha, "path": f"blobs/{name}", "mime": "image/png", "bytes": 1, "keyframe_phashes": []}
            tables[t.MEME_MEDIA.name].append({**place, **blob, "ord": 0, "attempts": 0, "rules_version": "1"})
            told = {"ocr_text": f"text {name}", "description": f"shows {name}", "ocr_engine": "local", "attempts": 0}
            tables[t.MEME_DESCRIPTIONS.name].append({**place, **told, "failures": 0, "cost_usd": 0})
            compared = {
                **place,
                "verdict": "unique",
                **{k: v for k, v in facts.items() if k not in ("status", "reason")},
            }
            tables[t.MEME_DUPLICATES.name].append(compared)
        self.made = {table.name: rows_of(table, *tables[table.name]) for table in STORED}
        for table in STORED:
            self.write(table, self.made[table.name])
        register(self.control, "ann", ["en"], at=NOON, role="moderator")
        register(self.control, "bob", ["en"], at=NOON, role="admin")
        register(self.control, "eve", ["en"], at=NOON)

    def write(self, table: Table, rows: pl.DataFrame) -> None:
        self.lake.write(table, rows, Partitions.of(rows.select("platform", "day").unique().iter_rows()))

    def fold(self) -> pl.DataFrame:
        """Make the status anew, as a run does."""
        facts = (self.made[table.name] for table in STORED)
        said, sources = MODERATION.read(self.control), t.MEME_SOURCES.empty()
        status = meme_status(*facts, said, sources, self.made[t.MEME_DUPLICATES.name])
        self.write(t.MEME_STATUS, status)
        return status

    def decide(self, name: str, action: str, actor: str = "ann", **more: Any) -> str:
        self.minutes += 1
        at = NOON + timedelta(hours=1, minutes=self.minutes)
        platform = next(platform for known, platform, _ in MEMES if known == name)
        return decide(self.control, self.lake, f"{platform}:c:{name}", action, **{"actor": actor, "at": at, **more})

    def state(self, name: str) -> str:
        status = self.fold().filter(pl.col("meme_id").str.ends_with(f":{name}"))
        return str(status["state"][0])

    def likes(self) -> list[tuple[str, str, str]]:
        return sorted(EVENTS.read(self.control).select("user_id", "meme_id", "engine").rows())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.control.close()


def test_decisions_change_the_state_and_stay_in_the_log(world: World) -> None:
    assert (world.state("2"), world.state("4"), world.state("7")) == ("ad", "duplicate", "waiting_review")
    world.decide("2", "approve", reason="not an advert")
    world.decide("4", "distinct")
    world.decide("7", "approve")
    assert (world.state("2"), world.state("4"), world.state("7")) == ("ok", "ok", "ok")
    assert MODERATION.read(world.control).select("meme_id", "action", "reason", "actor").rows() == [
        ("telegram:c:2", "approve", "not an advert", "ann"),
        ("telegram:c:4", "distinct", None, "ann"),
        ("upload:c:7", "approve", None, "ann"),
    ]


def test_a_decision_sees_those_before_it_without_a_run_between(world: World) -> None:
    world.decide("7", "approve")
    world.decide("7", "publish")
    world.decide("7", "reject", reason="seen too often")
    with pytest.raises(UserError, match="which is rejected"):
        world.decide("7", "publish")
    world.decide("7", "restore")
    assert world.state("7") == "published"


def test_a_decision_whose_clock_is_late_comes_after_those_before_it(world: World) -> None:
    world.decide("1", "reject", at=NOON + timedelta(days=1))
    world.decide("1", "restore", at=NOON)
    assert world.state("1") == "ok"


@pytest.mark.parametrize(
    ("name", "action", "more", "told"),
    [
        ("1", "applaud", {}, "no decision"),
        ("1", "approve", {}, "which is ok"),
        ("1", "unpublish", {}, "which is ok"),
        ("2", "publish", {}, "which is ad"),
        ("1", "restore", {}, "nothing to restore"),
        ("5", "reject", {}, "turned down .carousel."),
        ("1", "set_language", {"value": "klingon"}, "needs a language"),
        ("1", "set_language", {}, "needs a language"),
        ("1", "reject", {"value": "en"}, "takes no value"),
        ("1", "reject", {"reason": "x" * 501}, "at most 500"),
        ("1", "reject", {"reason": "two\nlines"}, "one line"),
        ("1", "reject", {"actor": "eve"}, "eve is a user and may not"),
        ("1", "reject", {"actor": "mallory"}, "not known"),
        ("1", "reject", {"actor": "two words", "operator": True}, "name who does"),
        ("7", "approve", {"actor": "bob"}, "somebody else has to approve"),
        ("7", "reject", {"actor": "bob", "operator": True}, "somebody else has to reject"),
    ],
)
def test_what_may_not_be_decided_is_refused_in_one_line_and_leaves_no_trace(
    world: World, name: str, action: str, more: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        world.decide(name, action, **more)
    assert MODERATION.read(world.control).is_empty() and world.likes() == []


def test_a_meme_that_is_not_there_cannot_be_decided_of(world: World) -> None:
    with pytest.raises(UserError, match="no meme"):
        decide(world.control, world.lake, "telegram:c:77", "reject", actor="ann", at=NOON)


def test_who_sits_at_the_command_line_needs_no_role(world: World) -> None:
    world.decide("1", "set_language", actor="root", operator=True, value="PT-BR")
    status = world.fold()
    assert status.filter(pl.col("meme_id") == "telegram:c:1")["language"].to_list() == ["pt-br"]


def test_an_approved_upload_is_liked_by_uploader_and_first_reviewer_once(world: World) -> None:
    world.decide("7", "approve")
    wanted = [("ann", "upload:c:7", "uploaded_meme"), ("bob", "upload:c:7", "uploaded_meme")]
    assert world.likes() == wanted
    world.decide("7", "restore")
    world.decide("7", "approve", actor="cat", operator=True)
    record_approval_likes(world.control, world.made[t.MEMES.name].filter(pl.col("platform") == "upload"))
    assert world.likes() == wanted
    world.decide("2", "approve")
    assert world.likes() == wanted


def test_likes_that_a_crash_lost_are_made_up_for(world: World) -> None:
    world.decide("7", "approve")
    before = EVENTS.read(world.control)
    EVENTS.forget(world.control, user_id="bob")
    record_approval_likes(world.control, world.made[t.MEMES.name].filter(pl.col("platform") == "upload"))
    assert EVENTS.read(world.control).equals(before)


def test_who_uploads_a_copy_likes_the_root_of_its_chain_once(world: World) -> None:
    status = world.fold()
    for hours in (5, 6):
        record_duplicate_likes(world.control, status, world.made[t.MEMES.name], NOON + timedelta(hours=hours))
    assert world.likes() == [("eve", "telegram:c:1", "uploaded_meme")]


def test_uploads_wait_first_then_ads_and_possible_copies_the_newest_ahead(world: World) -> None:
    world.fold()
    found = waiting(world.lake, world.control, 10)
    assert found.schema == WAITING
    assert found.select("meme_id", "why", "detail").rows() == [
        ("upload:c:7", "upload", None),
        ("upload:c:9", "upload", None),
        ("telegram:c:6", "ad", "erid"),
        ("telegram:c:3", "uncertain", "telegram:c:1"),
        ("telegram:c:2", "ad", "casino"),
    ]
    row = found.row(3, named=True)
    assert (row["path"], row["looks_like_path"], row["phash_distance"]) == ("blobs/3", "blobs/1", 7)
    assert (row["ocr_text"], row["description"], row["mime"]) == ("text 3", "shows 3", "image/png")
    assert waiting(world.lake, world.control, 2)["meme_id"].to_list() == ["upload:c:7", "upload:c:9"]
    assert waiting(world.lake, world.control, 1, actor="bob")["meme_id"].to_list() == ["upload:c:9"]


def test_what_was_decided_since_the_last_run_waits_no_longer(world: World) -> None:
    world.fold()
    world.decide("7", "approve")
    world.decide("3", "distinct")
    world.decide("6", "reject")
    world.decide("9", "purge")
    assert waiting(world.lake, world.control, 10)["meme_id"].to_list() == ["telegram:c:2"]


def test_nothing_waits_in_an_empty_lake(tmp_path: Path) -> None:
    control = Control(f"sqlite:///{tmp_path / 'control.sqlite'}")
    assert waiting(Lake(str(tmp_path / "lake")), control, 10).equals(pl.DataFrame(schema=WAITING))
    control.close()


def test_a_deleted_meme_takes_its_blobs_along_but_not_those_that_others_have(world: World) -> None:
    world.decide("4", "purge")
    world.decide("7", "purge", actor="bob")
    found = gone(MODERATION.read(world.control), world.lake.read(t.MEME_MEDIA))
    assert found.meme_ids == ("telegram:c:4", "upload:c:7") and found.sha256 == ("7" * 64,)
    assert fold(MODERATION.read(world.control))["purged"].to_list() == [True, True]
    with pytest.raises(UserError, match="deleted on request"):
        world.decide("4", "distinct")
    assert world.state("7") == "rejected"

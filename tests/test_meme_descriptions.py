"""Descriptions: nobody is asked out of turn, nothing is asked twice, and nothing that was read is lost."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from magpie.blobs import Blobs
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.llm.spec import Registry
from magpie.llm.task import Summary
from magpie.memes import tables as t
from magpie.memes.describe import MEME_DESCRIBE
from magpie.memes.describer import Describer
from magpie.memes.descriptions import Known
from magpie.settings import Settings
from magpie.tables import Table
from tests.free_world import MODELS, limits
from tests.gateway_world import Desk, desk
from tests.ledger_world import NOON, FakeClock, assert_books_balance

DAY = date(2026, 11, 20)
ANSWER = {"ocr_text": "WORDS\nof a model", "description": "A cat looks.", "language": "uk"}
NAMES = ("a", "b", "c", "d")


@dataclass
class LocalReader:
    """Reads every picture alike, and counts."""

    text: str | None = "words read here"
    seen: list[bytes] = field(default_factory=list)

    def reads(self, language: str) -> bool:
        return language != "ru"

    def read(self, content: bytes) -> str | None:
        self.seen.append(content)
        return self.text


@dataclass
class Studio:
    """Four pictures of one day, an engine over the fake provider, and the table as last made."""

    at: Desk
    home: Path
    provider: str = "auto"
    spec: Any = MEME_DESCRIBE
    reader: LocalReader | None = field(default_factory=LocalReader)
    more: dict[str, Any] = field(default_factory=dict)
    stored: pl.DataFrame = field(default_factory=t.MEME_DESCRIPTIONS.empty)
    summaries: tuple[Summary, ...] = ()

    def __post_init__(self) -> None:
        self.blobs = Blobs(self.home / "blobs")
        self.memes = [{"meme_id": name, "status": "ok", "type": "image", **FACTS} for name in NAMES]
        self.media = [self.medium(name, 10 + n) for n, name in enumerate(NAMES)]

    def medium(self, name: str, shade: int) -> dict[str, Any]:
        out = io.BytesIO()
        Image.new("L", (40, 30), shade).save(out, "PNG")
        sha256 = self.blobs.put(out.getvalue())
        return {"meme_id": name, "ord": 0, "status": "ok", "sha256": sha256, "width": 40, "height": 30}

    def make(self, *queue: str, **known: pl.DataFrame) -> dict[str, dict[str, Any]]:
        """Make the table with these memes in the queue, and return its rows by meme."""
        entries = [{"meme_id": name, "rank": n} for n, name in enumerate(queue, 1)]
        settings = Settings(start_day=DAY, home=self.home, memes=self.more)  # type: ignore[arg-type]
        engine = Engine(Registry([self.spec]), self.at.models, self.at.gateway, EngineSettings(self.provider))
        describer = Describer(settings, engine, self.blobs, self.reader, "run-1", lambda state: None)
        seen = {
            "stored": self.stored,
            "queue": rows(t.DESCRIBE_QUEUE, entries),
            "status": rows(t.MEME_STATUS, []),
            "duplicates": rows(t.MEME_DUPLICATES, []),
            "retries": RETRIES.clear(),
            **known,
        }
        found, self.summaries = describer.meme_descriptions(
            rows(t.MEMES, self.memes), rows(t.MEME_MEDIA, self.media), Known(**seen)
        )
        self.stored = t.MEME_DESCRIPTIONS.schema.validate(found)
        return {row["meme_id"]: row for row in self.stored.iter_rows(named=True)}


FACTS = {"platform": "telegram", "day": DAY, "language": "en", "ad_flag": False}
RETRIES = pl.DataFrame({"meme_id": ["a"], "turns": [1], "last_at": [NOON]}).cast(
    {"turns": pl.Int64, "last_at": pl.Datetime("us", "UTC")}
)


def rows(table: Table, found: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(found, schema=table.dtypes)


def fates(found: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str | None]]:
    return {name: (row["status"], row["reason"]) for name, row in found.items()}


@pytest.fixture
def studio(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Studio]:
    fake.now = clock
    fake.responder = lambda body: json.dumps(ANSWER)
    url = f"sqlite:///{tmp_path / 'control.db'}"
    with desk(url, tmp_path, fake, limits(), clock=clock, sleep=clock.sleep) as made:
        made.models = Models.load(MODELS)
        yield Studio(made, tmp_path)
        assert_books_balance(made.store)


@pytest.fixture
def offline(studio: Studio) -> Studio:
    studio.provider = "offline"
    return studio


WAITS = ("pending", "awaiting_turn")


def test_only_memes_in_the_queue_are_asked_about_and_the_others_wait_without_a_moment(studio: Studio) -> None:
    found = studio.make("b", "a")
    assert fates(found) == {"a": ("ok", None), "b": ("ok", None), "c": WAITS, "d": WAITS}
    assert studio.at.fake.attempts == 2
    assert found["c"]["not_before"] is None
    row = found["a"]
    assert (row["description"], row["ocr_text"], row["language"]) == ("A cat looks.", "WORDS\nof a model", "uk")
    assert (row["ocr_engine"], row["provider"], row["failures"], row["attempts"]) == ("vision", "openrouter", 0, 1)
    assert row["model_served"] and row["request_key"] and row["prompt_version"] and row["cost_usd"] == 0
    assert NOON <= row["described_at"] <= studio.at.gateway.clock()


def test_made_again_without_a_queue_answered_rows_come_from_the_journal_and_nobody_is_asked(studio: Studio) -> None:
    first = studio.make("a", "b")
    assert studio.make() == first
    assert studio.at.fake.attempts == 2
    assert (studio.summaries[0].calls, studio.summaries[0].hits) == (0, 2)


def test_a_table_that_was_lost_is_made_again_from_the_journal(studio: Studio) -> None:
    first = studio.make("a", "b")
    studio.stored = studio.stored.clear()
    assert studio.make() == first
    assert studio.at.fake.attempts == 2


def test_another_prompt_asks_nobody_out_of_turn_and_loses_no_description(studio: Studio) -> None:
    first = studio.make("a")
    studio.spec = replace(MEME_DESCRIBE, template="Look again.")
    assert studio.make()["a"] == first["a"]
    assert (studio.at.fake.attempts, studio.summaries) == (1, ())


def test_what_a_model_said_stays_while_no_model_can_be_asked(studio: Studio) -> None:
    first = studio.make("a")
    studio.provider = "offline"
    found = studio.make()
    assert found["a"] == first["a"]
    assert found["b"]["provider"] == "offline"


def test_a_description_by_rule_waits_for_its_turn_once_models_can_be_asked(studio: Studio) -> None:
    studio.provider = "offline"
    studio.make()
    studio.provider = "auto"
    found = studio.make("a")
    assert fates(found)["a"] == ("ok", None)
    assert (found["b"]["status"], found["b"]["description"], found["b"]["ocr_text"]) == (
        "pending",
        None,
        "words read here",
    )


def test_a_meme_that_became_a_duplicate_keeps_its_description(studio: Studio) -> None:
    first = studio.make("a")
    status = rows(t.MEME_STATUS, [{"meme_id": name, "state": "duplicate"} for name in NAMES])
    found = studio.make("b", status=status)
    assert found["a"] == first["a"]
    assert fates(found)["b"] == ("rejected", "duplicate")
    assert studio.at.fake.attempts == 1


def test_every_meme_that_may_not_be_described_says_why(studio: Studio) -> None:
    studio.memes[0] |= {"type": "video"}
    studio.memes[1] |= {"ad_flag": True, "ad_reason": "erid"}
    studio.media[2] |= {"status": "failed", "reason": "broken_link"}
    studio.media[3:] = []
    found = studio.make(*NAMES)
    told = {name: (row["status"], row["reason"], row["observed"], row["threshold"]) for name, row in found.items()}
    assert told == {
        "a": ("rejected", "not_image", "video", "image"),
        "b": ("rejected", "ad", "erid", None),
        "c": ("rejected", "no_media", "broken_link", "ok"),
        "d": ("pending", "media_pending", "no row", "ok"),
    }
    assert studio.at.fake.attempts == 0


def test_a_snoozed_meme_waits_and_an_ad_that_was_approved_is_described(studio: Studio) -> None:
    studio.memes[1] |= {"ad_flag": True}
    states = [{"meme_id": "a", "state": "snoozed"}, {"meme_id": "b", "state": "ok"}]
    found = studio.make("a", "b", status=rows(t.MEME_STATUS, states))
    assert fates(found) | {"c": None, "d": None} == {
        "a": ("pending", "snoozed"),
        "b": ("ok", None),
        "c": None,
        "d": None,
    }


def test_memes_that_curation_dropped_have_no_row(studio: Studio) -> None:
    studio.memes[0] |= {"status": "rejected", "reason": "repost"}
    assert set(studio.make()) == {"b", "c", "d"}


def test_a_file_that_is_gone_or_no_picture_is_turned_away_and_the_others_are_described(studio: Studio) -> None:
    studio.blobs.remove(studio.media[0]["sha256"])
    studio.media[1]["sha256"] = studio.blobs.put(b"no picture at all")
    found = studio.make(*NAMES)
    assert fates(found)["a"] == fates(found)["b"] == ("rejected", "unreadable_image")
    assert fates(found)["c"] == fates(found)["d"] == ("ok", None)


def test_bad_answers_count_once_a_turn_and_the_third_fails_the_row(studio: Studio, clock: FakeClock) -> None:
    studio.at.fake.responder = lambda body: '{"ocr_text": "", "description": ""}'
    told = []
    for _ in range(3):
        row = studio.make("a")["a"]
        told.append((row["status"], row["reason"], row["failures"]))
        clock.now += timedelta(hours=2)
    assert told == [
        ("pending", "invalid_output", 1),
        ("pending", "invalid_output", 2),
        ("failed", "describe_failed", 3),
    ]
    assert (row["observed"], row["threshold"], row["not_before"]) == ("3 x invalid_output", "3", None)
    asked = studio.at.fake.attempts
    assert studio.make("a")["a"]["reason"] == studio.make()["a"]["reason"] == "describe_failed"
    assert studio.at.fake.attempts == asked


def test_a_failed_row_that_somebody_wants_tried_again_waits_for_its_turn_and_is_asked_anew(
    studio: Studio, clock: FakeClock
) -> None:
    studio.at.fake.responder = lambda body: "nothing"
    for _ in range(3):
        studio.make("a")
        clock.now += timedelta(hours=2)
    wanted = RETRIES.with_columns(pl.lit(clock.now).cast(pl.Datetime("us", "UTC")).alias("last_at"))
    found = studio.make(retries=wanted)["a"]
    assert (found["status"], found["reason"], found["failures"]) == (*WAITS, 0)
    studio.at.fake.responder = lambda body: json.dumps(ANSWER)
    assert fates(studio.make("a", retries=wanted))["a"] == ("ok", None)


def test_a_row_that_is_told_to_wait_is_left_alone_until_then(studio: Studio, clock: FakeClock) -> None:
    studio.at.fake.misbehave("500", times="always")
    first = studio.make("a")["a"]
    assert (first["status"], first["reason"], first["failures"]) == ("pending", "transport", 0)
    asked = studio.at.fake.attempts
    assert studio.make("a")["a"] == first
    assert studio.at.fake.attempts == asked
    clock.now = first["not_before"]
    assert fates(studio.make())["a"] == WAITS


def test_a_description_is_not_given_up_for_a_reason_to_wait(studio: Studio) -> None:
    first = studio.make("a")
    studio.spec = replace(MEME_DESCRIBE, template="Look again.")
    studio.at.fake.misbehave("500", times="always")
    assert studio.make("a")["a"] == first["a"]


def test_pictures_are_read_here_once_and_a_models_text_replaces_what_was_read(studio: Studio) -> None:
    reader = studio.reader
    assert reader is not None
    found = studio.make("a")
    assert {name: row["ocr_engine"] for name, row in found.items()} == {
        "a": "vision",
        "b": "local",
        "c": "local",
        "d": "local",
    }
    assert len(reader.seen) == 3
    reader.text = "read anew"
    again = studio.make("b")
    assert (again["b"]["ocr_text"], again["c"]["ocr_text"]) == ("WORDS\nof a model", "words read here")
    assert len(reader.seen) == 3


def test_equal_bytes_are_read_once_and_text_that_is_not_understood_is_not_tried_again(studio: Studio) -> None:
    reader = studio.reader
    assert reader is not None
    reader.text = None
    studio.media = [studio.medium(name, 7) for name in NAMES]
    assert {row["ocr_text"] for row in studio.make().values()} == {None}
    studio.make()
    assert len(reader.seen) == 1


@pytest.mark.parametrize(("mode", "read"), [("all", {"a", "b", "d"}), ("uncertain", {"b"}), ("off", set())])
def test_the_setting_says_which_pictures_are_read_here_and_unknown_letters_never_are(
    studio: Studio, mode: str, read: set[str]
) -> None:
    studio.more = {"local_ocr": mode}
    studio.memes[2] |= {"language": "ru"}
    unsure = rows(t.MEME_DUPLICATES, [{"meme_id": name, "verdict": "uncertain"} for name in ("b", "c")])
    found = studio.make(duplicates=unsure)
    assert {name for name, row in found.items() if row["ocr_engine"] == "local"} == read


def test_ads_are_not_read(studio: Studio) -> None:
    studio.memes[0] |= {"ad_flag": True}
    assert studio.make()["a"]["ocr_engine"] == "none"


def test_offline_every_meme_is_described_by_rule_from_what_was_read(offline: Studio) -> None:
    found = offline.make()
    row = found["a"]
    assert set(fates(found).values()) == {("ok", None)}
    assert row["description"] == "image, 40x30, text: words read here"
    assert (row["ocr_text"], row["ocr_engine"], row["provider"]) == ("words read here", "local", "offline")
    assert (row["model_served"], row["described_at"], row["attempts"], row["failures"]) == (None, None, 0, 0)
    assert offline.make() == found


def test_offline_without_the_extra_the_text_is_said_not_to_be_read(offline: Studio) -> None:
    offline.reader = None
    row = offline.make()["a"]
    assert (row["ocr_text"], row["ocr_engine"]) == (None, "none")
    assert row["description"] == "image, 40x30, text not read"


def test_offline_a_picture_without_words_is_in_english_and_its_text_is_empty(offline: Studio) -> None:
    offline.reader = LocalReader("")
    row = offline.make()["a"]
    assert (row["ocr_text"], row["language"], row["description"]) == ("", "en", "image, 40x30, no text")


def test_the_order_of_rows_does_not_matter(studio: Studio) -> None:
    first = studio.make("a", "b")
    studio.memes.reverse()
    studio.media.reverse()
    assert studio.make() == first


def test_no_memes_are_an_empty_table_and_no_question(studio: Studio) -> None:
    studio.memes = []
    assert studio.make() == {}
    assert studio.summaries == ()

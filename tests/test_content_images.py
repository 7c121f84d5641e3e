"""Images of articles: slots, files, and rows in which one slot's failure concerns no other."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.content.article_images import ImageRules, article_images, image_path
from magpie.content.image_slots import Slot, slots
from magpie.content.settings import Content
from magpie.content.tables import ARTICLE_IMAGES, IMAGE_PROMPTS
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.images import Images, Made, OfflineImages
from magpie.llm.purpose import Limit, Limits, Purpose
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock, assert_books_balance

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PURPOSE = Purpose("content", "make_image", "article_images", scopes=("site:shop",))


def prompt(image_type: str = "featured", position: int = 0, **facts: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(IMAGE_PROMPTS.dtypes)
    row |= {"article_id": "a1", "image_type": image_type, "position": position, "site_id": "shop"}
    row |= {"day": date(2026, 11, 20), "status": "ok", "prompt": f"a desk, view {image_type} {position}"}
    row |= {"alt_text": "A desk", "width": 1024, "height": 1024, "moderation_flagged": False}
    row |= {"moderation_categories": [], "cost_usd": Decimal(0), "credits": 0, "attempts": 0}
    return {**row, **facts}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return IMAGE_PROMPTS.shaped(pl.DataFrame(list(rows), schema=IMAGE_PROMPTS.dtypes, orient="row"))


@pytest.fixture
def at(url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=5) as made:
        yield made
        assert_books_balance(made.store)


def made(prompts: pl.DataFrame, home: Path, at: Desk | None = None, workers: int = 1) -> pl.DataFrame:
    maker = OfflineImages() if at is None else Images(at.gateway, at.models.candidates("image"), PURPOSE)
    rows = article_images(prompts, maker, ImageRules("webp", workers), home, NOW)
    ARTICLE_IMAGES.schema.validate(rows)
    return rows


def fates(rows: pl.DataFrame) -> list[tuple[str, int, str, str | None, str]]:
    return rows.select("image_type", "position", "status", "reason", "prompt_status").rows()


def test_slots_are_filled_featured_first_and_only_those_that_are_switched_on() -> None:
    assert slots(Content()) == (
        Slot("featured", 0, 1536, 1024),
        *(Slot("in_article", position, 1024, 1024) for position in range(3)),
    )
    every = Content(desktop_enabled=True, mobile_enabled=True, max_in_article_images=1, mobile_size="512x768")
    assert slots(every) == (
        Slot("featured", 0, 1536, 1024),
        Slot("desktop", 0, 1536, 1024),
        Slot("mobile", 0, 512, 768),
        Slot("in_article", 0, 1024, 1024),
    )
    assert len(slots(Content(max_in_article_images=0))) == 1


def test_of_three_in_article_images_the_refused_one_is_neither_charged_nor_in_the_way(at: Desk, tmp_path: Path) -> None:
    prompts = frame(
        prompt(), prompt("in_article", 0), prompt("in_article", 1, prompt="refuse-me"), prompt("in_article", 2)
    )
    rows = made(prompts, tmp_path, at)
    assert fates(rows) == [
        ("featured", 0, "ok", None, "generated"),
        ("in_article", 0, "ok", None, "generated"),
        ("in_article", 1, "rejected", "refused", "failed"),
        ("in_article", 2, "ok", None, "generated"),
    ]
    paid = rows.filter(pl.col("status") == "ok")
    assert paid["cost_usd"].min() > 0  # type: ignore[operator]
    assert paid["credits"].min() >= 5  # type: ignore[operator]
    assert rows.filter(pl.col("status") == "rejected").select("cost_usd", "credits").row(0) == (Decimal(0), 0)
    booked = [call for call in at.calls() if call.state == "settled"]
    assert len(booked) == 3
    assert rows["cost_usd"].sum() == Decimal(sum(call.cost_nano for call in booked)).scaleb(-9)
    assert rows["credits"].sum() == sum(call.credits for call in booked)


def test_files_are_what_the_rows_say(tmp_path: Path) -> None:
    rows = made(frame(prompt(), prompt("in_article", 0, width=640, height=480)), tmp_path)
    for row in rows.iter_rows(named=True):
        content = (tmp_path / row["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        assert len(content) == row["bytes"]
        assert row["path"] == f"images/shop/a1/{row['image_type']}-{row['position']}-{row['sha256'][:8]}.webp"
    assert rows["size_used"].to_list() == ["1024x1024", "640x480"]
    assert rows["provider"].to_list() == ["offline"] * 2
    assert rows["cost_usd"].sum() == 0


def test_equal_prompts_give_equal_rows_in_any_order_with_any_number_of_workers(at: Desk, tmp_path: Path) -> None:
    rows = [
        prompt(),
        prompt("desktop", prompt="a desk, view featured 0"),
        prompt("in_article", 0),
        prompt(article_id="b"),
    ]
    first = made(frame(*rows), tmp_path, at)
    again = made(frame(*reversed(rows)), tmp_path, at, workers=4)
    assert again.equals(first)
    assert at.fake.attempts == 2, "what is to show the same in the same size is one image"


def test_what_is_not_fit_to_be_made_says_why_and_is_asked_of_nobody(at: Desk, tmp_path: Path) -> None:
    waiting = {"status": "pending", "reason": "transport", "not_before": NOW, "prompt": None}
    rows = made(
        frame(
            prompt("featured", 0, **waiting),
            prompt("desktop", 0, status="rejected", reason="moderated", observed="hate", prompt=None),
            prompt("mobile", 0, moderation_flagged=True, moderation_categories=["violence"]),
            prompt("in_article", 0, moderation_flagged=None),
            prompt("in_article", 1, prompt="x"),
        ),
        tmp_path,
        at,
    )
    assert {(row[0], row[1]): row[2:] for row in fates(rows)} == {
        ("featured", 0): ("pending", "awaiting_prompt", "pending"),
        ("desktop", 0): ("rejected", "moderated", "failed"),
        ("mobile", 0): ("rejected", "moderated", "failed"),
        ("in_article", 0): ("pending", "awaiting_prompt", "pending"),
        ("in_article", 1): ("failed", "invalid_request", "failed"),
    }
    assert at.fake.attempts == 0
    assert list(tmp_path.glob("images/**/*.webp")) == []


def test_over_the_cap_the_later_slots_wait_and_nothing_is_bought_again_after_it(at: Desk, tmp_path: Path) -> None:
    prompts = frame(prompt(), prompt("in_article", 0), prompt("in_article", 1))
    made(frame(prompt()), tmp_path, at)
    spent = at.calls()[0].cost_nano
    at.gateway.limits = Limits({"site:shop": (Limit("D", spent + 750_000_000),)})
    rows = made(prompts, tmp_path, at)
    assert [row[2:4] for row in fates(rows)] == [("ok", None), ("ok", None), ("pending", "cap_exhausted")]
    assert rows["not_before"].to_list()[2] == datetime(2026, 11, 21, tzinfo=UTC)
    at.gateway.limits = Limits()
    assert made(prompts, tmp_path, at)["status"].to_list() == ["ok"] * 3
    assert at.fake.answered_twice == []
    assert at.fake.answered_total == 3


@pytest.mark.parametrize("name", ["..", "a/b", "", "a b", "-a", "é"])
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    image = Made(b"", "image/webp", 1, 1, (1, 1), None, "offline", "offline-drawing")
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        image_path("shop", name, "featured", 0, image)
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        image_path(name, "a1", "featured", 0, image)


def test_no_prompts_are_no_images(tmp_path: Path) -> None:
    assert made(frame(), tmp_path).height == 0

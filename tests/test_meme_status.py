"""The state of a meme follows from facts and decisions, whatever order they come in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.lake import conform
from magpie.memes import tables as t
from magpie.memes.status import fold, meme_status
from magpie.tables import Table

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ID = "telegram:c:1"


def rows_of(table: Table, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in table.dtypes} for row in rows], schema=table.dtypes)


def decision(action: str, minutes: float = 0, number: int = 0, **more: Any) -> dict[str, Any]:
    told = {"decision_id": f"{number:03}", "meme_id": ID, "action": action, "actor": "ann"}
    return {**told, "at": NOON + timedelta(minutes=minutes), **more}


def decisions(*said: dict[str, Any]) -> pl.DataFrame:
    return rows_of(t.MEME_MODERATION, *said)


def state(*said: str | dict[str, Any], **facts: Any) -> dict[str, Any]:
    """The row of one meme after these decisions, in this order of time."""
    made = [decision(one, n, n) if isinstance(one, str) else one for n, one in enumerate(said)]
    platform = facts.get("platform", "telegram")
    place = {"meme_id": ID, "platform": platform, "day": NOON.date(), "published_at": NOON, "type": "image"}
    fate = facts.get("curation", "ok")
    meme = {**place, "status": fate, "reason": None if fate == "ok" else "views_settling", "source_id": "tg:c"}
    meme |= {"post_id": "1", "language": "en", "ad_flag": facts.get("ad", False), "ad_reason": "casino"}
    media = facts.get("media", "ok")
    seen = {**place, "ord": 0, "status": media, "reason": None if media == "ok" else "broken_link"}
    verdict = facts.get("verdict", "unique")
    rule = {"duplicate": "sha256", "template": "template"}.get(verdict)
    compared = {
        **place,
        "verdict": verdict,
        "duplicate_of": None if verdict == "unique" else "telegram:c:0",
        "rule": rule,
    }
    source = {"source_id": "tg:c", "state": facts.get("source", "enabled"), "snooze_reason": facts.get("snoozed_for")}
    found = meme_status(
        rows_of(t.MEMES, meme),
        rows_of(t.MEME_MEDIA, *([] if media is None else [seen])),
        rows_of(t.MEME_DESCRIPTIONS, {**place, "language": facts.get("described")}),
        rows_of(t.MEME_DUPLICATES, compared),
        decisions(*made),
        rows_of(t.MEME_SOURCES, source),
        rows_of(t.MEME_DUPLICATES, compared, *facts.get("copies", [])),
    )
    checked = conform(t.MEME_STATUS, found)
    return checked.row(0, named=True) if checked.height else {}


@pytest.mark.parametrize(
    ("said", "facts", "expected"),
    [
        (["approve"], {"ad": True}, "ok"),
        (["approve"], {"verdict": "duplicate"}, "duplicate"),
        (["distinct"], {"verdict": "duplicate"}, "ok"),
        ([], {"platform": "upload", "ad": True}, "ad"),
        (["publish"], {"source": "snoozed"}, "published"),
        ([], {}, "ok"),
        ([], {"verdict": "template"}, "ok"),
        ([], {"verdict": "uncertain"}, "ok"),
        ([], {"platform": "upload"}, "waiting_review"),
        (["approve"], {"platform": "upload"}, "ok"),
        (["approve", "restore"], {"platform": "upload"}, "waiting_review"),
        (["reject", "restore"], {}, "ok"),
        (["reject", "approve"], {}, "ok"),
        (["reject", "publish"], {}, "rejected"),
        (["publish", "unpublish"], {}, "ok"),
        (["unpublish", "publish"], {"ad": True, "media": "failed"}, "published"),
        (["publish"], {"verdict": "duplicate"}, "duplicate"),
        (["approve"], {"media": "rejected"}, "broken"),
        ([], {"media": "pending", "ad": True}, "created"),
        ([], {"media": None}, "created"),
        ([], {"curation": "pending"}, "created"),
        ([], {"source": "disabled"}, "snoozed"),
        ([], {"source": "in_moderation"}, "ok"),
        (["purge"], {}, "rejected"),
    ],
)
def test_the_first_that_holds_is_the_state(said: list[str], facts: dict[str, Any], expected: str) -> None:
    row = state(*said, **facts)
    assert row["state"] == expected and row["servable"] == (expected == "ok")


@pytest.mark.parametrize(
    ("said", "facts", "fate", "reason", "because", "by"),
    [
        ([], {}, "ok", None, None, "rules"),
        ([], {"media": "pending"}, "pending", "created", "broken_link", "media"),
        ([], {"curation": "pending"}, "pending", "created", "views_settling", "media"),
        ([], {"platform": "upload"}, "pending", "waiting_review", "upload", "upload"),
        ([], {"media": "failed"}, "failed", "broken_link", "broken_link", "media"),
        ([], {"ad": True}, "rejected", "casino", "casino", "ad_flag"),
        ([], {"verdict": "duplicate"}, "rejected", "sha256", "sha256", "sha256"),
        ([], {"source": "disabled"}, "rejected", "disabled", "disabled", "source"),
        ([], {"source": "snoozed", "snoozed_for": "stale_7d"}, "rejected", "stale_7d", "stale_7d", "source"),
        (["reject"], {}, "rejected", "rejected", None, "ann"),
        ([decision("reject", reason="not funny")], {}, "rejected", "not funny", "not funny", "ann"),
        (["publish"], {}, "ok", None, None, "ann"),
        (["approve"], {"ad": True}, "ok", None, None, "ann"),
        (["approve"], {}, "ok", None, None, "rules"),
        (["distinct"], {"verdict": "duplicate"}, "ok", None, None, "ann"),
        (["purge"], {}, "rejected", "purged", "purged", "ann"),
    ],
)
def test_a_row_says_why_and_who_decided(
    said: list[Any], facts: dict[str, Any], fate: str, reason: str | None, because: str | None, by: str
) -> None:
    row = state(*said, **facts)
    assert (row["status"], row["reason"], row["state_reason"], row["decided_by"]) == (fate, reason, because, by)


def test_what_curation_turned_down_has_no_state() -> None:
    assert state(curation="rejected") == {}


def test_a_copy_has_the_root_of_its_chain_and_one_called_distinct_is_its_own() -> None:
    above = {"meme_id": "telegram:c:0", "verdict": "duplicate", "duplicate_of": "vk:c:9", "published_at": NOON}
    assert state(verdict="duplicate", copies=[above])["canonical_id"] == "vk:c:9"
    assert state("distinct", verdict="duplicate", copies=[above])["canonical_id"] == ID
    assert state(verdict="template", copies=[above])["canonical_id"] == ID


def test_a_person_sets_the_language_before_the_picture_and_the_picture_before_the_source() -> None:
    assert state()["language"] == "en"
    assert state(described="PT-BR")["language"] == "pt-br"
    assert state(described="la")["language"] == "en"
    said = [decision("set_language", n, value=value) for n, value in enumerate(["de", "uk"])]
    assert state(*said, described="ru")["language"] == "uk"


def test_of_two_decisions_at_one_moment_the_higher_id_counts() -> None:
    assert state(decision("reject", number=1), decision("approve", number=2), ad=True)["state"] == "ok"
    assert state(decision("reject", number=3), decision("approve", number=2), ad=True)["state"] == "rejected"


SAID = st.lists(st.tuples(st.sampled_from(t.DECISIONS), st.integers(0, 3), st.integers(0, 20)), max_size=10)


@settings(deadline=None)
@given(SAID.map(lambda said: [decision(action, at, n, value="de") for action, at, n in said]), st.randoms())
def test_the_order_in_which_decisions_are_given_does_not_matter(said: list[dict[str, Any]], order: Any) -> None:
    said = list({one["decision_id"]: one for one in said}.values())
    shuffled = order.sample(said, len(said))
    assert fold(decisions(*said)).equals(fold(decisions(*shuffled)))


def test_decisions_about_one_meme_say_nothing_of_another() -> None:
    folded = fold(decisions(decision("reject"), decision("publish", meme_id="vk:c:2", number=1)))
    assert folded.select("meme_id", "verdict", "published").rows() == [(ID, "reject", False), ("vk:c:2", None, True)]
    assert state(decision("reject", meme_id="vk:c:2"))["state"] == "ok"

"""Copies, templates and what is neither: by bytes, picture, text and key frames, whatever came in which run."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.lake import Lake, conform
from magpie.memes import tables as t
from magpie.memes.chains import COPIES, chains
from magpie.memes.duplicates import FACTS, HISTORY, facts_of, history, later_matches, meme_duplicates
from magpie.memes.likeness import DuplicateRules
from magpie.memes.settings import Memes
from magpie.tables import Partitions

START = datetime(2026, 5, 1, tzinfo=UTC)
RULES = DuplicateRules.of(Memes())
ZERO = "0" * 16
LONG = "when the build passes on friday"


def bits(n: int) -> str:
    """A hash that far from `ZERO`."""
    return f"{(1 << n) - 1:016x}"


def meme(name: str, hours: float = 0, **more: Any) -> dict[str, Any]:
    """What a test says of a meme; `text`, `phash`, `sha`, `frames`, `seconds`, `media` and columns of memes."""
    platform = more.get("platform", "telegram")
    published = START + timedelta(hours=hours)
    return {
        "meme_id": f"{platform}:c:{name}",
        "platform": platform,
        "published_at": published,
        "day": published.date(),
        "type": "image",
        "status": "ok",
        "ad_flag": False,
        "language": "en",
        **more,
    }


def tables(said: Sequence[dict[str, Any]]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    memes, media, told = [], [], []
    for row in said:
        place = {name: row[name] for name in ("meme_id", "platform", "day")}
        reason = {"reason": None if row["status"] == "ok" else "carousel"}
        memes.append({**row, **reason, "source_id": "tg:c", "post_id": row["meme_id"]})
        fate = row.get("media", "ok")
        sha = (row.get("sha") or row["meme_id"]).encode().hex()[-64:].rjust(64, "0")
        whole = {"sha256": sha, "bytes": 1, "mime": "image/png", "path": "blobs/x"} if fate == "ok" else {}
        seen = {
            "phash64": row.get("phash"),
            "keyframe_phashes": row.get("frames", []),
            "duration_s": row.get("seconds"),
        }
        media.append(
            {**place, **whole, **seen, "ord": 0, "status": fate, "reason": None if fate == "ok" else "broken_link"}
            | {"attempts": 0, "rules_version": "1"}
        )
        told.append(
            {**place, "status": "ok", "attempts": 0, "failures": 0, "cost_usd": 0, "ocr_engine": "local"}
            | {"ocr_text": row.get("text"), "language": row.get("described")}
        )
    wanted = ((t.MEMES, memes), (t.MEME_MEDIA, media), (t.MEME_DESCRIPTIONS, told))
    made = [
        pl.DataFrame([{name: row.get(name) for name in table.dtypes} for row in rows], schema=table.dtypes)
        for table, rows in wanted
    ]
    return made[0], made[1], made[2]


NO_DECISIONS = t.MEME_MODERATION.empty()
NO_HISTORY = pl.DataFrame(schema=HISTORY)


def decided(*said: tuple[str, str]) -> pl.DataFrame:
    rows = [
        {"decision_id": str(n), "meme_id": f"telegram:c:{name}", "action": action, "actor": "ann", "at": START}
        for n, (name, action) in enumerate(said)
    ]
    schema = t.MEME_MODERATION.dtypes
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def compared(
    *said: dict[str, Any], decisions: pl.DataFrame = NO_DECISIONS, before: pl.DataFrame = NO_HISTORY
) -> dict[str, dict[str, Any]]:
    made = conform(t.MEME_DUPLICATES, meme_duplicates(*tables(said), before, decisions, RULES))
    return {row["meme_id"].rpartition(":")[2]: row for row in made.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("distance", "first", "second", "similarity", "verdict", "rule"),
    [
        (4, LONG, LONG.upper() + "!", 1.0, "duplicate", "phash_text"),
        (2, "one does not simply deploy", "brace yourselves, releases come", None, "template", "template"),
        (8, "when the tests are green", "when nobody reads the log", None, "template", "template"),
        (8, LONG, None, None, "uncertain", "pending_text"),
        (8, None, None, None, "uncertain", "pending_text"),
        (20, "my code on my machine today", "the same code in production", None, "unique", None),
        (20, LONG, "when the build passes on monday", 0.729730, "duplicate", "text_only"),
        (4, "", "short", None, "duplicate", "phash_plain"),
        (5, "", "short", None, "unique", None),
        (3, "short", LONG, None, "unique", None),
        (9, LONG, LONG, 1.0, "duplicate", "phash_text"),
        (10, LONG, LONG, 1.0, "duplicate", "text_only"),
        (10, "friday deploy", "friday deploy", None, "unique", None),
        (10, LONG, None, None, "unique", None),
    ],
)
def test_picture_and_text_together_give_the_verdict(
    distance: int, first: str | None, second: str | None, similarity: float | None, verdict: str, rule: str | None
) -> None:
    row = compared(meme("a", phash=ZERO, text=first), meme("b", 1, phash=bits(distance), text=second))["b"]
    assert (row["verdict"], row["rule"]) == (verdict, rule)
    assert row["duplicate_of"] == (None if rule is None else "telegram:c:a")
    assert row["phash_distance"] == (None if rule is None else distance)
    if similarity is not None:
        assert row["text_similarity"] == pytest.approx(similarity, abs=5e-7)
    assert (row["status"], row["reason"]) == (("pending", "pending_text") if verdict == "uncertain" else ("ok", None))


def test_equal_bytes_are_a_copy_whatever_else_is_known() -> None:
    row = compared(meme("a", sha="s", text=LONG, phash=ZERO), meme("b", 1, sha="s", text="something else entirely"))[
        "b"
    ]
    assert (row["verdict"], row["rule"], row["duplicate_of"]) == ("duplicate", "sha256", "telegram:c:a")


def test_of_several_rules_the_first_counts_even_for_a_later_meme() -> None:
    found = compared(
        meme("a", phash=bits(20), text=LONG),
        meme("b", 1, phash=ZERO, text=LONG + " already"),
        meme("c", 2, phash=bits(1), text=LONG),
    )
    assert (found["b"]["rule"], found["b"]["duplicate_of"]) == ("text_only", "telegram:c:a")
    # The near picture is a copy itself, so only the text of the first is left.
    assert (found["c"]["rule"], found["c"]["duplicate_of"]) == ("text_only", "telegram:c:a")
    apart = compared(
        *(meme("a", phash=bits(20), text=LONG), meme("b", 1, phash=ZERO, text=LONG + " already")),
        meme("c", 2, phash=bits(1), text=LONG),
        decisions=decided(("b", "distinct")),
    )
    assert (apart["c"]["rule"], apart["c"]["duplicate_of"]) == ("phash_text", "telegram:c:b")


def test_within_a_rule_a_published_meme_comes_first_then_the_earliest() -> None:
    said = [meme("b", 1, sha="s"), meme("a", 1, sha="s"), meme("c", 2, sha="s")]
    both = decided(("b", "distinct"))
    assert compared(*said, decisions=both)["c"]["duplicate_of"] == "telegram:c:a"
    published = decided(("b", "distinct"), ("b", "publish"))
    assert compared(*said, decisions=published)["c"]["duplicate_of"] == "telegram:c:b"


def test_the_same_text_in_another_language_or_type_is_no_copy() -> None:
    assert compared(meme("a", text=LONG), meme("b", 1, text=LONG, language="de"))["b"]["verdict"] == "unique"
    assert (
        compared(meme("a", text=LONG), meme("b", 1, text=LONG, language="de", described="EN"))["b"]["rule"]
        == "text_only"
    )
    assert compared(meme("a", sha="s"), meme("b", 1, sha="s", type="animation"))["b"]["verdict"] == "unique"


def test_videos_are_copies_by_two_key_frames_and_their_length() -> None:
    first = meme("a", type="video", frames=[ZERO, bits(30), bits(60)], seconds=10.0)

    def later(frames: list[str], seconds: float | None) -> dict[str, Any]:
        return compared(first, meme("b", 1, type="video", frames=frames, seconds=seconds))["b"]

    near = [bits(9), bits(27), "f" * 8 + ZERO[:8]]
    assert (later(near, 11.0)["rule"], later(near, 11.0)["phash_distance"]) == ("keyframes", 9)
    assert later(near, 11.1)["verdict"] == "unique" and later(near, None)["verdict"] == "unique"
    assert later([bits(9), "f" * 8 + ZERO[:8]], 10.0)["verdict"] == "unique"
    # Three frames near one frame are one frame.
    assert later([ZERO, ZERO, bits(1)], 10.0)["verdict"] == "unique"


def test_what_is_turned_down_broken_or_an_ad_is_neither_compared_nor_an_original() -> None:
    found = compared(
        *(meme("a", sha="s", ad_flag=True, ad_reason="casino"), meme("b", 1, sha="s", status="rejected")),
        *(meme("c", 2, sha="s", media="failed"), meme("d", 3, sha="s", media="pending"), meme("e", 4, sha="s")),
    )
    fates = {name: (row["status"], row["reason"], row["observed"], row["verdict"]) for name, row in found.items()}
    assert fates == {
        "a": ("rejected", "ad", "casino", None),
        "b": ("rejected", "meme_rejected", "carousel", None),
        "c": ("rejected", "broken_media", "broken_link", None),
        "d": ("pending", "awaiting_media", "broken_link", None),
        "e": ("ok", None, None, "unique"),
    }


def test_an_approved_ad_is_compared_and_a_copy_of_what_a_person_rejected_is_not_served_either() -> None:
    said = [meme("a", sha="s", ad_flag=True), meme("b", 1, sha="s")]
    assert compared(*said, decisions=decided(("a", "approve")))["b"]["duplicate_of"] == "telegram:c:a"
    rejected = compared(meme("a", sha="s"), meme("b", 1, sha="s"), decisions=decided(("a", "reject")))
    assert rejected["b"]["duplicate_of"] == "telegram:c:a"
    purged = compared(meme("a", sha="s"), meme("b", 1, sha="s"), decisions=decided(("a", "purge")))
    assert purged["b"]["verdict"] == "unique"


KINDS = st.sampled_from(["image", "image", "image", "video"])
TEXTS = st.sampled_from(
    [None, "", "short", LONG, LONG + " again", "when the build passes on monday", "other words entirely here"]
)
MEMES = st.lists(
    st.tuples(
        *(
            st.integers(0, 71),
            KINDS,
            TEXTS,
            st.sampled_from([None, 0, 3, 7, 20, 26]),
            st.sampled_from(["s", "r", None]),
        ),
        *(st.sampled_from(["telegram", "vk"]), st.booleans()),
    ),
    max_size=14,
)


def built(drawn: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [
        meme(
            f"{number}",
            hours,
            type=kind,
            text=text if kind == "image" else None,
            phash=None if near is None or kind == "video" else bits(near),
            frames=[bits(near or 0), bits(40), bits((near or 0) + 30)] if kind == "video" else [],
            seconds=5.0 if kind == "video" else None,
            sha=sha,
            platform=platform,
            ad_flag=ad and near == 7,
        )
        for number, (hours, kind, text, near, sha, platform, ad) in enumerate(drawn)
    ]


@settings(deadline=None, max_examples=25)
@given(MEMES, st.lists(st.integers(0, 13), max_size=2), st.randoms())
def test_days_in_one_run_or_one_by_one_and_in_any_order_give_the_same_rows(
    drawn: list[tuple[Any, ...]], distinct: list[int], order: Any
) -> None:
    said = built(drawn)
    # The other platform was compared before; what it says of its own copies is fixed.
    others, mine = ([row for row in said if (row["platform"] == "vk") == is_vk] for is_vk in (True, False))
    decisions = decided(*((str(number), "distinct") for number in distinct))
    outside = facts_of(*tables(others)).collect().with_columns(pl.lit("unique").alias("verdict")).select(list(HISTORY))
    whole = meme_duplicates(*tables(mine), outside, decisions, RULES)
    known, made = outside, []
    for day in sorted({row["day"] for row in mine}):
        todays = [row for row in mine if row["day"] == day]
        order.shuffle(todays)
        parts = tables(todays)
        rows = meme_duplicates(*parts, known, decisions, RULES)
        made.append(rows)
        facts = facts_of(*parts).collect().join(rows.select("meme_id", "verdict"), on="meme_id", how="left")
        known = pl.concat([known, facts.select(list(HISTORY))])
    assert whole.equals(pl.concat(made).sort(t.MEME_DUPLICATES.sort_by) if made else whole)


def test_blocks_of_memes_give_the_rows_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        meme(f"{n:02}", n / 9, phash=bits(n % 7), text=f"{LONG} {'again ' * (n % 4)}", sha=f"s{n % 11}")
        for n in range(40)
    ]
    whole = meme_duplicates(*tables(said), NO_HISTORY, NO_DECISIONS, RULES)
    monkeypatch.setattr("magpie.memes.duplicates._BLOCK_MEMES", 3)
    assert meme_duplicates(*tables(said), NO_HISTORY, NO_DECISIONS, RULES).equals(whole)


def test_history_is_what_the_lake_knows_of_other_partitions_up_to_the_last_day(tmp_path: Path) -> None:
    said = [meme("a"), meme("b", 24, text=LONG), meme("c", 30, platform="vk", ad_flag=True), meme("d", 60)]
    lake = Lake(str(tmp_path))
    parts = [*tables(said), meme_duplicates(*tables(said), NO_HISTORY, NO_DECISIONS, RULES)]
    for table, rows in zip((t.MEMES, t.MEME_MEDIA, t.MEME_DESCRIPTIONS, t.MEME_DUPLICATES), parts, strict=True):
        lake.write(table, rows, Partitions.of(rows.select("platform", "day").unique().iter_rows()))
    found = history(lake, ["vk"], [date(2026, 5, 2)]).sort("meme_id")
    assert found.schema == HISTORY
    assert found.select("meme_id", "text", "verdict").rows() == [
        ("telegram:c:a", None, "unique"),
        ("telegram:c:b", LONG, "unique"),
    ]
    assert history(lake, ["telegram"], [date(2026, 5, 2)])["meme_id"].sort().to_list() == ["telegram:c:a", "vk:c:c"]


def test_a_late_copy_asks_for_the_later_partitions_that_hold_its_like() -> None:
    early = facts_of(*tables([meme("late", phash=ZERO, text=LONG, sha="s")])).collect()
    rest = [
        *(meme("same day", 1, sha="s"), meme("next", 25, phash=bits(6)), meme("text", 49, text=LONG, platform="vk")),
        *(meme("unlike", 73, phash=bits(30), text="quite another text here"), meme("before", -30, sha="s")),
    ]
    facts = pl.concat([early, facts_of(*tables(rest)).collect()])
    nothing = t.MEME_DUPLICATES.empty()
    asked = [("telegram", date(2026, 5, 2)), ("vk", date(2026, 5, 3))]
    assert later_matches(early, facts, nothing, RULES) == asked
    assert later_matches(pl.DataFrame(schema=FACTS), facts, nothing, RULES) == []

    def after(verdict: str, original: str) -> list[tuple[str, date]]:
        told = {"meme_id": "telegram:c:next", "verdict": verdict, "duplicate_of": f"telegram:c:{original}"}
        row = pl.DataFrame([told], schema_overrides=nothing.schema)
        return later_matches(early, facts, row, RULES)

    assert after("duplicate", "late") == after("duplicate", "before") == after("template", "late") == asked[1:]
    assert after("duplicate", "same day") == after("template", "before") == asked, "the fresh one may take their place"


def copies(*pairs: tuple[str, str]) -> pl.DataFrame:
    rows = [(name, of, START + timedelta(hours=ord(name[0]))) for name, of in pairs]
    return pl.DataFrame(rows, schema=COPIES, orient="row")


def test_every_copy_has_the_root_of_its_chain() -> None:
    found = chains(copies(("b", "a"), ("c", "b"), ("d", "c"), ("y", "x")))
    assert dict(found.roots.iter_rows()) == {"b": "a", "c": "a", "d": "a", "y": "x"}
    assert found.cycles == ()


def test_a_circle_is_broken_at_its_earliest_member_and_told() -> None:
    found = chains(copies(("c", "b"), ("b", "d"), ("d", "c"), ("e", "d"), ("g", "f"), ("f", "g"), ("h", "h")))
    assert dict(found.roots.iter_rows()) == {"b": "b", "c": "b", "d": "b", "e": "b", "f": "f", "g": "f", "h": "h"}
    assert found.cycles == (("b", "d", "c"), ("f", "g"))


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=31))
def test_no_root_is_a_copy_after_chains_are_followed(parents: list[int]) -> None:
    found = chains(copies(*((chr(65 + n), chr(65 + parent)) for n, parent in enumerate(parents))))
    roots = dict(found.roots.iter_rows())
    assert all(roots.get(root, root) == root for root in roots.values())


def test_a_chain_of_a_hundred_thousand_copies_has_one_root() -> None:
    names = [f"{n:06}" for n in range(100_001)]
    made = {"meme_id": names[1:], "duplicate_of": names[:-1], "published_at": [START] * 100_000}
    assert chains(pl.DataFrame(made, schema=COPIES)).roots["canonical_id"].unique().to_list() == ["000000"]


def test_no_copies_have_no_roots() -> None:
    assert chains(pl.DataFrame(schema=COPIES)).roots.is_empty()

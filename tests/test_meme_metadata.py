"""What the materialisations of memes show: numbers that add up, and pictures and captions that do no harm."""

import base64
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from leads_world import MemoryLake
from pictures import encoded, noise, scene
from PIL import Image
from test_meme_quality import a_copy, a_medium, a_meme, a_place, a_post, a_state, an_event, lake_of, rows_of

from assets import memes_metadata as shown
from assets import metadata as md
from assets import plots
from magpie.blobs import Blobs
from magpie.llm import pacing
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.purpose import FREE_TIER, Limit, Limits, Purpose, share
from magpie.llm.spec import Registry
from magpie.memes import tables as t
from magpie.memes.describe import MEME_DESCRIBE
from magpie.tables import Table
from tests.gateway_world import Desk, desk
from tests.ledger_world import NOON, FakeClock

DAY = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
IMAGE = re.compile(r"!\[([^\]]*)\]\(data:image/jpeg;base64,([A-Za-z0-9+/=]+)\)")
HOSTILE = '<script>alert(1)</script> | [click](javascript:x) ![i](http://x/i.png) `code` <img src=x onerror="y"> $x$'
# What a run may add to the event log, in characters.
ROOM = 150_000


def cells(value: Any) -> list[list[str]]:
    """The body of a markdown table."""
    assert isinstance(value, dg.MarkdownMetadataValue)
    lines = str(value.value).splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def bars(value: Any) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in cells(value)}


def columns(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def pictures(value: Any) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for _, data in IMAGE.findall(str(value.value))]


def size(metadata: dict[str, Any]) -> int:
    return sum(len(json.dumps(value.value, default=str)) for value in metadata.values())


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def media(blobs: Blobs, *contents: bytes, mime: str = "image/png") -> pl.DataFrame:
    """One ok row per content."""
    rows = [a_medium(n, blobs.put(one), bytes=len(one), mime=mime) for n, one in enumerate(contents)]
    return rows_of(t.MEME_MEDIA, rows)


def test_files_of_no_use_and_files_with_bad_posts_are_told_with_what_is_wrong() -> None:
    base: dict[str, Any] = {"status": "ok", "live": False, "bytes": 1, "modified_ns": 1, "posts": 5, "bad_posts": 0}
    rows = [
        base | {"source_file": "a.json", "platform": "vk"},
        base | {"source_file": "b.json", "platform": "vk", "bad_posts": 1, "bad_example": HOSTILE},
        base | {"source_file": "c|d.json", "status": "failed", "reason": "unreadable", "observed": HOSTILE, "posts": 0},
    ]
    told = shown.files_metadata(rows_of(t.MEME_FILES, rows))
    assert told["posts_read"].value == 10
    assert bars(told["files_by_platform"]) == {"vk": 2, "(none)": 1}
    assert [row[0] for row in cells(told["files_of_no_use"])] == ["b.json", "c\\|d.json"]
    assert_plain(str(told["files_of_no_use"].value))


def test_sleeping_and_silent_sources_are_told() -> None:
    rows = [
        {"source_id": "tg:a", "state": "enabled", "empty_streak": 1},
        {"source_id": "tg:b", "state": "enabled", "empty_streak": 2},
        {"source_id": "tg:c", "state": "snoozed", "empty_streak": 3, "snooze_reason": "stale_7d"},
        {"source_id": "tg:d", "state": "enabled", "empty_streak": 0},
    ]
    told = shown.sources_metadata(rows_of(t.MEME_SOURCES, rows))
    assert bars(told["sources_by_state"]) == {"enabled": 3, "snoozed": 1}
    assert [row[0] for row in cells(told["empty_fetches"])] == ["tg:b", "tg:a"]
    assert cells(told["snoozed_sources"]) == [["tg:c", "stale\\_7d"]]


def test_posts_are_new_updated_or_as_they_were() -> None:
    before = rows_of(t.MEME_POSTS, [a_post(n) for n in range(3)])
    now = [
        a_post(0, fetched_at=MORNING + MINUTE, payload_sha256="1"),
        a_post(1, views=None),
        a_post(2, text="edited"),
        a_post(3, source_id="tg:other"),
        a_post(4, status="failed", reason="parse_error", observed=HOSTILE),
    ]
    source = {"source_id": "tg:idle", "state": "snoozed", "snooze_reason": "no_posts_3x"}
    found = shown.posts_metadata(rows_of(t.MEME_POSTS, now), before, rows_of(t.MEME_SOURCES, [source]))
    counts = {name: found[name].value for name in ("sources", "new_posts", "updated_posts", "parse_failures")}
    assert counts == {"sources": 2, "new_posts": 2, "updated_posts": 2, "parse_failures": 1}
    assert cells(found["snoozed_sources"]) == [["tg:idle", "no\\_posts\\_3x"]]
    assert "<" not in found["unreadable_posts"].value


def test_the_funnel_of_memes_narrows_and_names_the_ten_commonest_reasons() -> None:
    rejected = {"status": "rejected"}
    posts = [a_post(n) for n in range(20)] + [a_post(n, **rejected, reason="vk_ad") for n in range(20, 23)]
    fates: list[dict[str, Any]] = [{"ad_flag": n < 2, "ad_reason": "stop_word" if n < 2 else None} for n in range(7)]
    fates += [{**rejected, "reason": "carousel"}] * 4 + [{**rejected, "reason": "no_media"}]
    fates += [{"status": "pending", "reason": "views_settling"}]
    fates += [{**rejected, "reason": f"other_{n}"} for n in range(7)]
    memes = rows_of(t.MEMES, [a_meme(n, **{"ad_flag": False, **fate}) for n, fate in enumerate(fates)])
    found = shown.memes_metadata(rows_of(t.MEME_POSTS, posts), memes)
    assert bars(found["funnel"]) == {"posts": 23, "single media": 15, "kept": 7, "not ad": 5}
    reasons = bars(found["skip_reasons"])
    assert list(reasons.items())[:2] == [("carousel", 4), ("vk\\_ad", 3)]
    assert len(reasons) == 10
    assert bars(found["ads_by_reason"]) == {"stop\\_word": 2}


def test_media_show_six_small_pictures_of_different_bytes_the_new_ones_first(blobs: Blobs) -> None:
    contents = [encoded(noise(seed, 300, 200)) for seed in range(9)]
    found = media(blobs, *contents, contents[8])
    told = shown.media_metadata(found, found.head(6), blobs)
    drawn = pictures(told["thumbnails"])
    assert [max(picture.size) for picture in drawn] == [160] * 6
    assert {picture.format for picture in drawn} == {"JPEG"}
    ids = [row[1] for row in cells(told["thumbnails"])]
    assert {name[-1] for name in ids[:2]} == {"6", "7"}
    assert ids[2][-1] in "89"
    assert told["bytes"].value == sum(map(len, contents)) + len(contents[8])
    assert told["bytes_saved_by_equal_files"].value == len(contents[8])


def test_failures_are_counted_by_what_the_server_said(blobs: Blobs) -> None:
    nothing = dict.fromkeys(("bytes", "mime", "path"))
    broken = {"status": "pending", "reason": "broken_link", **nothing}
    rows = [
        a_medium(n, "0" * 64, **broken, observed=said) for n, said in enumerate(["http_404", "timeout", "http_404"])
    ]
    told = shown.media_metadata(rows_of(t.MEME_MEDIA, rows), t.MEME_MEDIA.empty(), blobs)
    assert bars(told["failures_by_answer"]) == {"http\\_404": 2, "timeout": 1}


def test_bytes_that_are_gone_damaged_or_no_picture_are_passed_over(blobs: Blobs) -> None:
    good, gone, torn = encoded(scene(), "JPEG"), encoded(noise(1)), encoded(noise(2))
    found = media(blobs, gone, torn, b"GIF89a", good)
    blobs.remove(found["sha256"][0])
    blobs.path(found["sha256"][1]).write_bytes(torn[:80])
    assert len(pictures(shown.media_metadata(found, t.MEME_MEDIA.empty(), blobs)["thumbnails"])) == 1
    film = media(blobs, good, mime="video/mp4")
    assert shown.media_metadata(film, t.MEME_MEDIA.empty(), blobs)["thumbnails"].value == "*nothing*"


def test_pictures_that_do_not_compress_do_not_fill_the_event_log(blobs: Blobs) -> None:
    snow = np.random.default_rng(7).integers(0, 256, (8, 160, 160, 3), dtype=np.uint8)
    found = media(blobs, *(encoded(Image.fromarray(one)) for one in snow))
    told = shown.media_metadata(found, t.MEME_MEDIA.empty(), blobs)
    assert size(told) < ROOM
    assert pictures(told["thumbnails"])
    lake = lake_of((t.MEME_MEDIA, found.to_dicts()))
    pairs = rows_of(t.MEME_DUPLICATES, [a_copy(n, n - 1) for n in range(1, 8)])
    assert size(shown.duplicates_metadata(pairs, lake, blobs)) < ROOM


def a_description(number: int, **given: Any) -> dict[str, Any]:
    base = {"description": "Two cats argue about a box.", "ocr_text": "MINE", "ocr_engine": "vision", "failures": 0}
    return (
        a_meme(number)
        | {"attempts": 1, "cost_usd": 0, "described_at": MORNING, "provider": "openrouter"}
        | base
        | given
    )


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    clock = FakeClock(NOON)
    bounds = {FREE_TIER: (Limit("D", calls=900),), share(FREE_TIER, "memes"): (Limit("D", calls=800),)}
    with (
        FakeProvider() as fake,
        desk(f"sqlite:///{tmp_path / 'c.db'}", tmp_path, fake, Limits(bounds), clock=clock, sleep=clock.sleep) as made,
    ):
        yield made


def engine_of(at: Desk, provider: str) -> Engine:
    return Engine(Registry([MEME_DESCRIBE]), at.models, at.gateway, EngineSettings(provider))


def test_descriptions_show_three_examples_and_no_quota_where_no_model_is_asked(blobs: Blobs, at: Desk) -> None:
    rows = [a_description(n, sha256=blobs.put(encoded(noise(n))), described_at=MORNING + n * MINUTE) for n in range(5)]
    rows[4] |= {"status": "pending", "reason": "awaiting_turn", "description": None, "ocr_engine": "none"}
    told = shown.descriptions_metadata(rows_of(t.MEME_DESCRIPTIONS, rows), blobs, engine_of(at, "offline"))
    assert set(told) == {"read_by", "examples"}
    assert [row[1][-1] for row in cells(told["examples"])] == ["3", "2", "1"]
    assert len(pictures(told["examples"])) == 3
    assert bars(told["read_by"]) == {"vision": 4, "none": 1}


def test_quota_success_per_model_and_the_first_end_of_a_rest_are_told_where_models_are_asked(
    blobs: Blobs, at: Desk
) -> None:
    engine, empty = engine_of(at, "auto"), (t.MEME_DESCRIPTIONS.empty(), blobs)
    idle = shown.descriptions_metadata(*empty, engine)
    assert idle["earliest_cool_down_end"].value == "nobody rests"
    assert idle["requests_today"].value == idle["models_today"].value == "*nothing*"
    at.answer("a", "openrouter", Purpose("memes", MEME_DESCRIBE.name, "meme_descriptions"))
    at.answer("b", "openrouter", Purpose("leads", "another", "lead_extractions"))
    for minutes, scope in ((15, "model:openrouter/b"), (5, "model:openrouter/a"), (-5, "model:openrouter/c")):
        until = NOON + minutes * MINUTE
        at.store.write(lambda c, scope=scope, until=until: pacing.cool(c, scope, until, "transport", "x"))  # type: ignore[misc]
    told = shown.descriptions_metadata(*empty, engine)
    assert told["earliest_cool_down_end"].value == "2026-11-20 12:05:00"
    assert [row[:2] for row in cells(told["requests_today"])] == [
        ["tier:openrouter-free", "2 of 900"],
        ["tier:openrouter-free/memes", "1 of 800"],
    ]
    (model,) = cells(told["models_today"])
    assert model[:2] == ["google/gemma-4-31b-it:free", "1"]


def test_duplicates_show_verdicts_distances_in_order_and_five_pairs_of_several_rules(blobs: Blobs) -> None:
    contents = [encoded(noise(seed, 320, 240)) for seed in range(9)]
    lake = lake_of((t.MEME_MEDIA, media(blobs, *contents).to_dicts()))
    rows = [a_copy(0, None)] + [
        a_copy(n, 0)
        | {"rule": "template" if n == 8 else "phash_text", "phash_distance": 10 - n, "text_similarity": 0.5}
        for n in range(1, 9)
    ]
    told = shown.duplicates_metadata(rows_of(t.MEME_DUPLICATES, rows), lake, blobs)
    assert bars(told["verdicts"]) == {"duplicate": 8, "unique": 1}
    assert list(bars(told["picture_distances_bits"])) == [str(bits) for bits in range(2, 10)]
    pairs = cells(told["pairs_original_left"])
    assert [row[4] for row in pairs] == ["phash\\_text", "template", *["phash\\_text"] * 3]
    assert [row[5:7] for row in pairs[:2]] == [["9", "0.5"], ["2", "0.5"]]
    drawn = pictures(told["pairs_original_left"])
    assert len(drawn) == 5
    assert {picture.width for picture in drawn} == {320}
    original, copy = drawn[0].crop((0, 0, 150, 110)), drawn[0].crop((170, 0, 320, 110))
    assert near(original, contents[0]) < near(copy, contents[0])
    assert near(copy, contents[1]) < near(original, contents[1])


def near(part: Image.Image, content: bytes) -> float:
    """Mean difference of grey."""
    whole = Image.open(io.BytesIO(content)).convert("L").resize(part.size)
    return float(np.abs(np.asarray(whole, dtype=float) - np.asarray(part.convert("L"), dtype=float)).mean())


def test_a_pair_whose_original_is_gone_or_that_is_too_wide_makes_room_for_the_next(blobs: Blobs) -> None:
    wide = encoded(Image.new("RGB", (1900, 100), (200, 30, 30)))
    contents = (wide, encoded(scene()), encoded(noise(1)))
    lake = lake_of((t.MEME_MEDIA, media(blobs, *contents).to_dicts()))
    rows = rows_of(t.MEME_DUPLICATES, [a_copy(0, 1), a_copy(1, 7), a_copy(2, 1)])
    told = shown.duplicates_metadata(rows, lake, blobs)["pairs_original_left"]
    assert [row[1][-1] for row in cells(told)] == ["2"]
    assert len(pictures(told)) == 1


def test_transitions_tell_what_moved_since_the_last_run_and_what_is_new_or_gone() -> None:
    before = rows_of(t.MEME_STATUS, [a_state(0), a_state(1), a_state(2, "created"), a_state(3), a_state(4)])
    now = rows_of(t.MEME_STATUS, [a_state(0), a_state(1, "duplicate"), a_state(2), a_state(3, "duplicate"), a_state(5)])
    told = shown.status_metadata(now, before)
    assert bars(told["transitions"]) == {
        "ok -&gt; duplicate": 2,
        "(new) -&gt; ok": 1,
        "created -&gt; ok": 1,
        "ok -&gt; (gone)": 1,
    }
    assert bars(told["states"]) == {"ok": 3, "duplicate": 2}
    assert told["servable"].value == 3
    assert shown.status_metadata(now, now)["transitions"].value == "*nothing*"


def a_rating(number: int, lr_smoothed: float, n_lr: int = 3, day: date = DAY) -> dict[str, Any]:
    counts = {"nlikes": 3, "ndislikes": 1, "nsent": 6, "age_days": 1, "invited": 0, "invited_by_channel": 0, "n_es": 3}
    told = {"meme_id": f"telegram:daily:{number}", "day": day, "lr_smoothed": lr_smoothed, "engagement": 0.0}
    return counts | told | {"n_lr": n_lr, "as_of": MORNING}


def test_the_best_and_the_worst_memes_are_those_of_their_last_rating() -> None:
    ratings = [a_rating(n, n / 10) for n in range(8)]
    ratings += [a_rating(7, -0.5, day=DAY + timedelta(days=1)), a_rating(8, 0.0, n_lr=0)]
    told = shown.stats_metadata(rows_of(t.MEME_STATS, ratings))
    assert told["touched_memes"].value == 9
    assert told["like_rate"].value == 0.75
    assert told["mean_lr_smoothed"].value == pytest.approx((2.1 - 0.5) / 8)
    assert [row[0][-1] for row in cells(told["top"])] == ["6", "5", "4", "3", "2"]
    assert [row[0][-1] for row in cells(told["bottom"])] == ["7", "0", "1", "2", "3"]


def test_engines_that_offered_nothing_are_named() -> None:
    row = {"refill_no": 0, "rank": 1, "day": DAY, "score": 1.0, "language": "en", "meme_id": "m1"}
    rows = [row | {"user_id": user, "engine": "goat"} for user in ("ann", "ben")]
    rows.append(row | {"user_id": "ann", "engine": "viral", "meme_id": "m2"})
    told = shown.candidates_metadata(rows_of(t.MEME_CANDIDATES, rows))
    assert cells(told["pools"]) == [["goat", "2", "1", "2"], ["viral", "1", "1", "1"]]
    assert told["refills"].value == 2
    assert set(told["empty_engines"].value.split(", ")) == set(t.ENGINES) - {"goat", "viral"}


def test_engines_are_rated_by_first_reactions_and_by_whether_people_went_on() -> None:
    def sent(number: int, meme: int, minutes: float, engine: str | None, user: str = "ann") -> dict[str, Any]:
        return an_event(number, "sent", meme, MORNING + minutes * MINUTE, user=user, engine=engine)

    events = [
        sent(1, 1, 0, "goat"),
        an_event(2, "like", 1, MORNING + MINUTE),
        an_event(3, "dislike", 1, MORNING + 2 * MINUTE),
        sent(4, 2, 30, "goat"),
        an_event(5, "dislike", 2, MORNING + 31 * MINUTE),
        sent(6, 3, 61, "viral"),
        sent(7, 1, 62, None, user="ben"),
        sent(8, 4, 120, "viral"),
        an_event(9, "like", 9, MORNING - timedelta(days=7)),
        sent(10, 9, -7 * 24 * 60, "goat"),
    ]
    lake = lake_of((t.MEME_REACTIONS, events))
    places = [a_place(0, 1), a_place(1, 2, engine="viral"), a_place(2, 3), a_place(0, 1, user_id="ben", queue_id="b")]
    told = shown.queues_metadata(rows_of(t.RECOMMENDATION_QUEUES, places), lake, DAY)
    assert cells(told["engines_in_7_days"]) == [
        # Half an hour to the next send is soon enough, 31 minutes are not.
        ["goat", "2", "2", "0.5", "0.5"],
        # What was sent last says nothing yet.
        ["viral", "2", "0", "", "0.0"],
        ["(none)", "1", "0", "", "0.0"],
    ]
    assert (told["users_refilled"].value, told["refills"].value) == (2, 2)
    assert bars(told["engine_mix"]) == {"goat": 3, "viral": 1}


def assert_plain(text: str) -> None:
    """Nothing but our own pictures is left of markup, and every row has as many cells as the head."""
    rest = IMAGE.sub("", text)
    assert "<" not in rest
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(", rest)
    assert not re.search(r"(?<!\\)`", rest)
    lines = text.splitlines()
    assert {columns(line) for line in lines} == {columns(lines[0])}


def test_hostile_captions_texts_and_ids_stay_text_beside_pictures(blobs: Blobs, at: Desk) -> None:
    hostile = "telegram:daily:" + HOSTILE
    named = media(blobs, encoded(scene())).with_columns(pl.lit(hostile).alias("meme_id"))
    told_of = {"meme_id": hostile, "sha256": named["sha256"][0]}
    description = a_description(0, **told_of, description=HOSTILE * 5, ocr_text=f"a\n{HOSTILE}\r\n|")
    told = shown.descriptions_metadata(rows_of(t.MEME_DESCRIPTIONS, [description]), blobs, engine_of(at, "offline"))
    pair = rows_of(t.MEME_DUPLICATES, [a_copy(1, 0) | {"meme_id": hostile, "duplicate_of": hostile}])
    lake = lake_of((t.MEME_MEDIA, named.to_dicts()))
    texts = [
        told["examples"],
        shown.media_metadata(named, t.MEME_MEDIA.empty(), blobs)["thumbnails"],
        shown.duplicates_metadata(pair, lake, blobs)["pairs_original_left"],
    ]
    for value in texts:
        assert_plain(str(value.value))
        assert len(pictures(value)) == 1
    assert len(cells(told["examples"])[0][2]) < 400


def test_of_a_run_over_many_days_only_the_last_event_keeps_what_is_large() -> None:
    days = dg.DailyPartitionsDefinition(start_date="2026-11-01", timezone="UTC")

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    def ranged(context: dg.AssetExecutionContext) -> None:
        md.show(context, {"small": dg.MetadataValue.int(1), "large": dg.MetadataValue.md("x" * 5000)})

    @dg.asset
    def whole(context: dg.AssetExecutionContext) -> None:
        md.show(context, {"small": dg.MetadataValue.int(1), "large": dg.MetadataValue.md("x" * 5000)})

    tags = {"dagster/asset_partition_range_start": "2026-11-01", "dagster/asset_partition_range_end": "2026-11-03"}
    made = dg.materialize([ranged], tags=tags).asset_materializations_for_node("ranged")
    assert {one.partition: set(one.metadata) - {"dagster/partition_row_count"} for one in made} == {
        "2026-11-01": {"small"},
        "2026-11-02": {"small"},
        "2026-11-03": {"small", "large"},
    }
    (alone,) = dg.materialize([ranged], partition_key="2026-11-02").asset_materializations_for_node("ranged")
    (once,) = dg.materialize([whole]).asset_materializations_for_node("whole")
    assert set(alone.metadata) >= {"small", "large"}
    assert set(once.metadata) >= {"small", "large"}


def test_the_words_for_a_picture_cannot_end_it() -> None:
    text = plots.photo(b"jpeg", "a](javascript:x) | <b> `c`\n![d](e)")
    assert re.fullmatch(r"!\[[^\[\]|<>`\n]*\]\(data:image/jpeg;base64,anBlZw==\)", text)


def test_a_histogram_keeps_the_order_of_its_bins_and_bars_do_not() -> None:
    counts = {"2": 1, "3": 0, "10": 3}
    assert bars(md.histogram(counts)) == counts
    assert cells(md.histogram(counts))[1] == ["3", "0", ""]
    assert list(bars(md.bars(counts))) == ["10", "2", "3"]


def test_empty_partitions_show_nothing_and_break_nothing(blobs: Blobs, at: Desk) -> None:
    def empty(*tables: Table) -> list[pl.DataFrame]:
        return [table.empty() for table in tables]

    lake = MemoryLake()
    engine = engine_of(at, "offline")
    for metadata in (
        shown.files_metadata(*empty(t.MEME_FILES)),
        shown.sources_metadata(*empty(t.MEME_SOURCES)),
        shown.posts_metadata(*empty(t.MEME_POSTS, t.MEME_POSTS, t.MEME_SOURCES)),
        shown.memes_metadata(*empty(t.MEME_POSTS, t.MEMES)),
        shown.media_metadata(*empty(t.MEME_MEDIA, t.MEME_MEDIA), blobs),
        shown.descriptions_metadata(*empty(t.MEME_DESCRIPTIONS), blobs, engine),
        shown.duplicates_metadata(t.MEME_DUPLICATES.empty(), lake, blobs),
        shown.status_metadata(*empty(t.MEME_STATUS, t.MEME_STATUS)),
        shown.stats_metadata(*empty(t.MEME_STATS)),
        shown.candidates_metadata(*empty(t.MEME_CANDIDATES)),
        shown.queues_metadata(t.RECOMMENDATION_QUEUES.empty(), lake, DAY),
    ):
        numbers = [value.value for value in metadata.values() if isinstance(value, dg.IntMetadataValue)]
        assert not any(numbers)
        dg.MaterializeResult(asset_key="any", metadata=metadata)

"""The bundled YouTube sample: its files are what their texts make, and it shows what a watcher of channels meets."""

import importlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
import yaml

from magpie.sources.captions import Track, read_captions
from magpie.sources.price_files import read_early_closes, read_prices
from magpie.sources.youtube_files import find
from magpie.videos import listing
from magpie.videos.caption_states import Patience
from magpie.videos.conviction_score import read_labels
from magpie.videos.listing import ListingRules, Places
from magpie.videos.prices import Sessions
from magpie.videos.settings import Channel, Videos
from magpie.videos.symbols import read_symbols
from magpie.videos.tables import VIDEO_FILES
from magpie.videos.transcripts import CaptionFile, Shelf, transcripts

ROOT = Path(__file__).parent.parent
YOUTUBE = ROOT / "samples" / "youtube"
BY_HAND = {"symbols.csv", "early_closes.csv"}
TEAPOT, LADDER = "UCsampleTeapotTape000001", "UCsampleSlowLadder000002"
CHANNELS = (
    Channel(channel_id=TEAPOT, name="Teapot Tape"),
    Channel(channel_id=LADDER, name="Slow Ladder", since=date(2026, 3, 4)),
)
NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
PLACES = Places(ROOT, ROOT / "home", (YOUTUBE,))
MAX_BYTES = 1_500_000


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "samples"))
        yield importlib.import_module("make_youtube")


@pytest.fixture(scope="module")
def videos(maker: ModuleType) -> list[dict[str, Any]]:
    return list(maker.videos())


def seen_now(ids: Collection[str]) -> Mapping[str, datetime]:
    return dict.fromkeys(ids, NOW)


@pytest.fixture(scope="module")
def files() -> pl.DataFrame:
    none = pl.DataFrame(schema=VIDEO_FILES.dtypes)
    return listing.video_files(find([YOUTUBE]), PLACES, {TEAPOT, LADDER}, none, seen_now)


@pytest.fixture(scope="module")
def listed(files: pl.DataFrame) -> pl.DataFrame:
    rows = [
        listing.videos(
            files.filter(pl.col("channel_id") == one.channel_id),
            PLACES,
            {},
            ListingRules(one.since, Videos().min_duration_s),
        )
        for one in CHANNELS
    ]
    return pl.concat(rows)


@pytest.fixture(scope="module")
def read(files: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    held: dict[str, list[CaptionFile]] = {}
    for row in files.filter((pl.col("kind") == "captions") & (pl.col("status") == "ok")).iter_rows(named=True):
        track = Track(row["track"], row["format"], row["manual"])
        held.setdefault(row["video_id"], []).append(CaptionFile(ROOT / row["source_file"], track))
    return transcripts(listed, Shelf(held), "en", Patience.of(Videos()), lambda: NOW)


def fates(frame: pl.DataFrame) -> set[tuple[str, str]]:
    return set(frame.filter(pl.col("reason").is_not_null()).select("status", "reason").unique().rows())


def labelled() -> pl.DataFrame:
    return pl.read_csv(YOUTUBE / "labels.csv", infer_schema=False)


def test_the_bundled_files_are_what_their_texts_make(maker: ModuleType) -> None:
    made = maker.files()
    there = {path.relative_to(YOUTUBE).as_posix(): path for path in YOUTUBE.rglob("*") if path.is_file()}
    assert set(there) == set(made) | BY_HAND
    for name, content in made.items():
        assert content == there[name].read_bytes(), name


def test_an_edited_text_changes_the_files_of_its_own_video_only(maker: ModuleType, tmp_path: Path) -> None:
    for path in maker.TEXTS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    edited = tmp_path / "slow_ladder.yaml"
    edited.write_text(edited.read_text("utf-8").replace("seven giants", "seven large companies"), "utf-8")
    before, after = maker.files(), maker.files(tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    assert set(before) == set(after)
    assert {name.partition(" [")[0] for name in changed} == {"Slow Ladder/Google is the cheapest giant"}


def test_the_sample_stays_small() -> None:
    assert sum(path.stat().st_size for path in YOUTUBE.rglob("*") if path.is_file()) < MAX_BYTES


def test_files_are_called_as_yt_dlp_calls_them() -> None:
    from yt_dlp import YoutubeDL

    with YoutubeDL({"outtmpl": "%(channel)s/%(title)s [%(id)s].%(ext)s", "quiet": True}) as downloader:
        for path in YOUTUBE.glob("*/*.info.json"):
            text = path.read_text("utf-8")
            if text.endswith("}") and json.loads(text)["_type"] == "video":
                expected = downloader.prepare_filename({**json.loads(text), "ext": "info.json"})
                assert path.relative_to(YOUTUBE).as_posix() == Path(expected).as_posix()


def test_captions_of_every_format_and_kind_are_there(files: pl.DataFrame) -> None:
    ok = files.filter((pl.col("kind") == "captions") & (pl.col("status") == "ok"))
    kinds = set(ok.select("manual", "track", "format").unique().rows())
    automatic = {(False, "en", form) for form in ("json3", "srv3", "vtt")}
    originals = {(False, "en-orig", form) for form in ("json3", "srv3", "vtt")}
    manual = {(True, "en", form) for form in ("vtt", "srt")}
    translated = {(False, "nl-en", "vtt"), (False, "es-en", "vtt")}
    assert kinds == automatic | originals | manual | translated
    assert ok.group_by("video_id").len()["len"].max() == 2


def test_files_that_are_of_no_use_say_why(files: pl.DataFrame) -> None:
    assert fates(files) == {
        ("failed", "unreadable"),
        ("rejected", "unreadable"),  # captions beside such an info.json
        ("rejected", "unknown_channel"),
        ("rejected", "no_video"),
    }


def test_every_fate_that_a_file_can_give_a_video_shows(listed: pl.DataFrame) -> None:
    assert fates(listed) == {
        ("rejected", "short"),
        ("rejected", "restricted"),
        ("rejected", "private"),
        ("rejected", "before_since"),
        ("pending", "upcoming"),
        ("pending", "live_now"),
    }
    told = listed.filter(pl.col("reason") == "restricted")["observed"]
    assert set(told) == {"members_only", "premium_only", "age_restricted"}
    assert set(listed["media_kind"]) == {"video", "short", "live"}
    assert set(listed["date_precision"]) == {"second", "day", "unknown"}
    assert {"was_live", "not_live"} <= set(listed.filter(pl.col("status") == "ok")["live_status"])
    assert listed.filter(pl.col("availability") == "unlisted")["status"].to_list() == ["ok"]
    # A Short by its address is longer than those that only their length gives away.
    assert listed.filter(pl.col("reason") == "short")["duration_s"].sort().to_list() == [45.0, 95.0]


def test_every_fate_of_captions_on_disk_shows(read: pl.DataFrame) -> None:
    assert fates(read) == {
        ("pending", "awaiting_captions"),
        ("failed", "no_captions"),
        ("failed", "bad_captions"),
    }
    ok = read.filter(pl.col("status") == "ok")
    assert set(ok["caption_source"]) == {"captions_manual", "captions_auto"}
    assert ok.group_by("channel_id").len().sort("len")["len"].to_list() == [15, 17]
    # Nobody reads a translation where the original is missing.
    assert set(ok["language"]) == {"en"}


def test_automatic_captions_hold_each_spoken_word_once_in_every_format(
    maker: ModuleType, videos: list[dict[str, Any]]
) -> None:
    made = maker.files()
    for video in videos:
        if "cut_captions" in video.get("quirks", ()):
            continue
        heard = " ".join(word.text for word in maker.as_heard(video, maker.spoken(video, video["text"])[0]))
        for track, form in video.get("auto", {}).items():
            name = next(name for name in made if name.endswith(f"[{video['id']}].{track}.{form}"))
            assert " ".join(line.text for line in read_captions(made[name], form)) == heard, name


def test_people_speak_about_two_words_a_second_and_stop_before_the_end(
    read: pl.DataFrame, listed: pl.DataFrame
) -> None:
    ok = read.filter(pl.col("status") == "ok").join(listed.select("video_id", "duration_s"), on="video_id")
    for row in ok.iter_rows(named=True):
        end = row["segments"][-1]["end_s"]
        assert 1.9 < row["word_count"] / end < 3, row["video_id"]
        assert end <= row["duration_s"] + 1, row["video_id"]
        assert 350 <= row["word_count"] <= 1_800, row["video_id"]


def test_one_text_is_too_long_for_one_segment_and_has_no_chapters(read: pl.DataFrame, listed: pl.DataFrame) -> None:
    both = read.join(listed.select("video_id", "chapters"), on="video_id")
    long = both.filter(pl.col("raw_text").str.len_chars() > Videos().segment_max_chars)
    assert long["chapters"].list.len().to_list() == [0]
    assert both.filter(pl.col("chapters").list.len() >= 2).height >= 4


def test_captions_hold_what_only_real_ones_usually_do(read: pl.DataFrame) -> None:
    texts = "\n".join(read["raw_text"].drop_nulls())
    for said in ("and video", "palantier", "$NVDA", "$ZQRX", "[Music]", "caf�"):
        assert said in texts, said
    empty = [path for path in YOUTUBE.rglob("*.vtt") if b"\n\n\n" in path.read_bytes()]
    assert len(empty) == 1


def test_labels_are_of_videos_that_are_read_and_of_known_symbols(read: pl.DataFrame) -> None:
    labels, symbols = labelled(), set(read_symbols(YOUTUBE / "symbols.csv")["symbol"])
    assert set(labels["video_id"]) == set(read.filter(pl.col("status") == "ok")["video_id"])
    picks = labels.filter(pl.col("ticker").is_not_null())
    assert set(picks["ticker"]) <= symbols
    assert set(picks["action"]) == {"buy", "sell", "hold", "watch", "avoid", "short"}
    assert set(picks["conviction"]) == {"1", "2", "3"}
    assert not picks.select("video_id", "ticker").is_duplicated().any()
    assert labels.filter(pl.col("ticker").is_null()).height == 3
    assert len(read_labels(YOUTUBE / "labels.csv")) == labels.height


def test_channels_disagree_and_change_their_minds(listed: pl.DataFrame) -> None:
    stance = {"buy": 1, "sell": -1, "short": -1, "avoid": -1}
    views = (
        labelled()
        .drop_nulls("ticker")
        .join(listed.select("video_id", "channel_id", "day"), on="video_id")
        .with_columns(pl.col("action").replace_strict(stance, default=0).alias("stance"))
        .filter(pl.col("stance") != 0)
        .sort("day")
    )
    turned = views.group_by("channel_id", "ticker").agg(pl.col("stance").n_unique().alias("views"))
    changed = set(turned.filter(pl.col("views") == 2).select("channel_id", "ticker").rows())
    assert {(TEAPOT, "PLTR"), (LADDER, "NVO")} <= changed
    between = views.group_by("ticker").agg(pl.col("channel_id").n_unique(), pl.col("stance").n_unique())
    disputed = set(between.filter((pl.col("channel_id") == 2) & (pl.col("stance") == 2))["ticker"])
    assert {"NVDA", "XOM", "AMD"} <= disputed


def test_prices_are_of_every_session_and_of_all_labelled_symbols_but_one() -> None:
    held = read_prices([YOUTUBE / "prices.csv"])
    assert held.bad.is_empty()
    days = held.prices.filter(pl.col("symbol") == "SPY")["day"]
    assert (days.min(), days.max(), len(days)) == (date(2026, 2, 23), date(2026, 4, 17), 39)
    assert days.dt.weekday().max() == 5
    assert date(2026, 4, 3) not in days
    assert set(held.prices.group_by("symbol").len()["len"]) == {39}
    assert set(labelled()["ticker"].drop_nulls()) - set(held.prices["symbol"]) == {"CELH"}
    low, high = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    assert held.prices.filter((pl.col("low") > low) | (pl.col("high") < high)).is_empty()
    adjusted = held.prices.filter(pl.col("adj_close") != pl.col("close"))
    assert Counter(adjusted["symbol"]) == {"KO": 14, "XOM": 13}


def test_of_late_picks_the_twentieth_session_is_not_known_and_of_early_ones_it_is(listed: pl.DataFrame) -> None:
    sessions = Sessions.of(read_prices([YOUTUBE / "prices.csv"]).prices, "SPY", {})
    picked = listed.join(labelled().drop_nulls("ticker"), on="video_id", how="semi")
    entries = [sessions.first_close_after(moment) for moment in picked["published_at"].drop_nulls()]
    exits = [sessions.after(entry, 20) for entry in entries if entry is not None]
    assert len(exits) == len(entries)
    assert None in exits
    assert date(2026, 3, 30) in exits
    friday = picked.filter(pl.col("day") == date(2026, 3, 13), pl.col("channel_id") == TEAPOT)["published_at"].item()
    assert sessions.first_close_after(friday) == date(2026, 3, 13)  # half a minute before the bell


def test_early_closes_can_be_read() -> None:
    assert {day.year for day in read_early_closes(YOUTUBE / "early_closes.csv")} == {2025, 2026}


def test_ids_are_of_the_form_of_youtube_and_no_two_videos_share_one(
    maker: ModuleType, videos: list[dict[str, Any]]
) -> None:
    assert len({video["id"] for video in videos}) == len(videos)
    for channel_id, *_ in maker.CHANNELS.values():
        Channel(channel_id=channel_id, name="any")
    texts = [yaml.safe_load(path.read_text("utf-8")) for path in maker.TEXTS.glob("*.yaml")]
    assert sum(len(entries) for entries in texts if isinstance(entries, list)) == len(videos)

"""Listing: files and visits make one row per video, on one day, and say why a video is not read."""

import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.fetches import Fetch
from magpie.lake import conform
from magpie.settings import Settings
from magpie.sources.youtube_info import VideoInfo
from magpie.videos import listing
from magpie.videos.listing import ListingRules, Places, changed, fingerprint
from magpie.videos.tables import VIDEO_FILES, VIDEOS
from tests.videos_world import (
    CHANNEL,
    DAY,
    FIRST,
    OTHER,
    PUBLISHED,
    SECOND,
    THIRD,
    a_visit,
    captions_file,
    info_file,
    seconds,
)

NOW = datetime(2026, 5, 20, 9, tzinfo=UTC)
RULES = ListingRules(since=None, min_duration_s=61)
FETCHED = PUBLISHED + timedelta(hours=1)
TOLD = ("status", "reason", "observed", "threshold")


@dataclass
class Archive:
    """A folder with one channel, a home beside it, and what was listed of them the last time."""

    root: Path
    stored: pl.DataFrame
    seen: dict[str, datetime]

    @property
    def folder(self) -> Path:
        return self.root / "archive" / CHANNEL

    @property
    def places(self) -> Places:
        return Places(self.root, self.root / "home", (self.root / "archive",))

    def first_seen(self, ids: Collection[str]) -> Mapping[str, datetime]:
        for video_id in ids:
            self.seen.setdefault(video_id, NOW)
        return {video_id: self.seen[video_id] for video_id in ids}

    def files(self, *watched: str) -> pl.DataFrame:
        found = self.places.files()
        self.stored = conform(
            VIDEO_FILES,
            listing.video_files(found, self.places, watched or (CHANNEL,), self.stored, self.first_seen),
        )
        return self.stored

    def row(self, name: str, *watched: str) -> dict[str, Any]:
        return self.files(*watched).row(by_predicate=pl.col("source_file").str.ends_with(name), named=True)

    def videos(self, *visits: Fetch, rules: ListingRules = RULES) -> list[dict[str, Any]]:
        ok = self.files().filter(pl.col("status") == "ok")
        by_video = {video_id: [one for one in visits if one.item == video_id] for video_id in {v.item for v in visits}}
        return conform(VIDEOS, listing.videos(ok, self.places, by_video, rules)).rows(named=True)

    def video(self, *visits: Fetch, rules: ListingRules = RULES) -> dict[str, Any]:
        (only,) = self.videos(*visits, rules=rules)
        return only

    def fate(self, *visits: Fetch, rules: ListingRules = RULES) -> tuple[Any, ...]:
        only = self.video(*visits, rules=rules)
        return tuple(only[name] for name in TOLD)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    (tmp_path / "archive").mkdir()
    return Archive(tmp_path, VIDEO_FILES.empty(), {})


def test_what_three_sources_say_of_a_video_becomes_one_row_the_archive_first(archive: Archive) -> None:
    rss = {"_magpie_source": "rss", "view_count": 5, "description": "from the feed", "duration": None}
    info_file(archive.folder, name=f"{FIRST}.rss.json", title="Feed", **rss)
    info_file(archive.root / "archive" / "own", title="Own", _magpie_source="ytdlp", like_count=7, duration=300)
    info_file(archive.folder, name=f"Some title [{FIRST}].info.json", title="Archive", duration=None)
    found = archive.video()
    assert (found["title"], found["duration_s"], found["like_count"]) == ("Archive", 300.0, 7)
    assert (found["view_count"], found["description"], found["source"]) == (5, "from the feed", "archive")
    assert found["url"] == f"https://www.youtube.com/watch?v={FIRST}"


def test_captions_take_video_day_and_source_from_the_info_beside_them(archive: Archive) -> None:
    info_file(archive.folder, name="Any name.info.json", subtitles={"en": [], "de": []})
    captions_file(archive.folder, "Any name.en.json3")
    captions_file(archive.folder, "Any name.fr.json3")
    manual, recognised = archive.row(".en.json3"), archive.row(".fr.json3")
    assert (manual["video_id"], manual["channel_id"], manual["day"]) == (FIRST, CHANNEL, DAY)
    assert (manual["status"], manual["track"], manual["format"], manual["manual"]) == ("ok", "en", "json3", True)
    assert recognised["manual"] is False


def test_captions_elsewhere_find_their_video_by_the_id_in_their_name(archive: Archive) -> None:
    info_file(archive.folder)
    captions_file(archive.root / "archive" / "captions", f"Another title [{FIRST}].en.json3")
    assert archive.row(".en.json3")["video_id"] == FIRST


def test_captions_without_a_video_say_so_and_are_not_lost(archive: Archive) -> None:
    captions_file(archive.folder, f"{SECOND}.en.json3")
    found = archive.row(".en.json3")
    assert (found["status"], found["reason"], found["observed"]) == ("rejected", "no_video", SECOND)


def test_an_unreadable_info_is_told_and_its_captions_share_the_reason(archive: Archive) -> None:
    info_file(archive.folder).write_text("{ this is no JSON")
    captions_file(archive.folder, f"{FIRST}.en.json3")
    info, captions = archive.row(".info.json"), archive.row(".en.json3")
    told = f"{FIRST}.info.json is no JSON"
    assert (info["status"], info["reason"], info["observed"]) == ("failed", "unreadable", told)
    assert (captions["status"], captions["reason"], captions["observed"]) == ("rejected", "unreadable", told)
    assert archive.videos() == []


def test_beside_a_broken_info_the_feed_s_entry_still_makes_the_video(archive: Archive) -> None:
    info_file(archive.folder).write_text("[]")
    info_file(archive.folder, name=f"{FIRST}.rss.json", _magpie_source="rss")
    captions_file(archive.folder, f"{FIRST}.en.json3")
    assert archive.row(".en.json3")["status"] == "ok"
    assert (archive.video()["source"], archive.video()["status"]) == ("rss", "ok")


def test_a_file_of_an_unknown_channel_is_rejected_until_the_channel_is_watched(archive: Archive) -> None:
    info_file(archive.folder, channel_id=OTHER)
    captions_file(archive.folder, f"{FIRST}.en.json3")
    found = archive.row(".info.json")
    assert (found["status"], found["reason"], found["observed"]) == ("rejected", "unknown_channel", OTHER)
    assert archive.row(".en.json3")["reason"] == "unknown_channel"
    again = archive.row(".info.json", CHANNEL, OTHER)
    assert (again["status"], again["reason"], again["observed"], again["day"]) == ("ok", None, None, DAY)
    assert archive.row(".info.json")["reason"] == "unknown_channel"


def test_an_info_that_names_no_channel_belongs_to_its_folder(archive: Archive) -> None:
    info_file(archive.folder, channel_id=None)
    assert archive.row(".info.json")["channel_id"] == CHANNEL


def test_unchanged_files_are_not_read_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path, kept: Any = listing.read_info) -> VideoInfo:
        read.append(path.name[:11])
        return kept(path)

    monkeypatch.setattr(listing, "read_info", counted)
    for video_id in (FIRST, SECOND):
        info_file(archive.folder, video_id)
    before = archive.files()
    assert read == [FIRST, SECOND]
    assert archive.files().equals(before)
    assert read == [FIRST, SECOND]
    info_file(archive.folder, SECOND, title="A longer title than before", timestamp=seconds(PUBLISHED) + 86_400)
    info_file(archive.folder, THIRD)
    days = dict(archive.files().select("video_id", "day").iter_rows())
    assert read == [FIRST, SECOND, SECOND, THIRD]
    assert days[SECOND] == DAY + timedelta(days=1)


def test_a_file_that_could_not_be_read_is_tried_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> VideoInfo:
        raise PermissionError(13, "Permission denied", str(path))

    info_file(archive.folder)
    with monkeypatch.context() as patch:
        patch.setattr(listing, "read_info", denied)
        assert archive.row(".info.json")["observed"] == f"{FIRST}.info.json: Permission denied"
    assert archive.row(".info.json")["status"] == "ok"


def test_a_file_that_became_unreadable_after_listing_fails_its_video_alone(archive: Archive) -> None:
    path = info_file(archive.folder)
    info_file(archive.folder, SECOND)
    ok = archive.files()
    path.unlink()
    found = conform(VIDEOS, listing.videos(ok, archive.places, {}, RULES))
    assert found.select("video_id", "status", "reason").rows() == [
        (FIRST, "failed", "unreadable"),
        (SECOND, "ok", None),
    ]
    assert found["observed"][0] == f"{FIRST}.info.json: No such file or directory"


def test_a_file_that_now_describes_another_video_fails_its_own(archive: Archive) -> None:
    info_file(archive.folder)
    ok = archive.files()
    info_file(archive.folder, SECOND, name=f"{FIRST}.info.json")
    (found,) = listing.videos(ok, archive.places, {}, RULES).rows(named=True)
    assert (found["video_id"], found["status"], found["reason"]) == (FIRST, "failed", "unreadable")


def test_the_day_is_that_of_publication(archive: Archive) -> None:
    info_file(archive.folder, timestamp=seconds(datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC)))
    found = archive.video()
    assert (found["day"], found["date_precision"]) == (date(2026, 4, 30), "second")


def test_an_upload_date_alone_gives_the_day_and_says_that_it_is_no_more(archive: Archive) -> None:
    info_file(archive.folder, timestamp=None, upload_date="20260428")
    found = archive.video()
    assert (found["day"], found["date_precision"]) == (date(2026, 4, 28), "day")
    assert found["published_at"] == datetime(2026, 4, 28, tzinfo=UTC)


def test_the_most_precise_source_dates_the_video_whichever_has_the_title(archive: Archive) -> None:
    info_file(archive.folder, timestamp=None, upload_date="20260502")
    info_file(archive.folder, name=f"{FIRST}.rss.json", _magpie_source="rss", title="Feed")
    found = archive.video()
    assert found["title"] == f"Title of {FIRST}"
    assert (found["published_at"], found["date_precision"]) == (PUBLISHED, "second")
    assert set(archive.files()["day"]) == {found["day"]} == {DAY}


def test_without_a_date_the_first_fetch_gives_the_day_and_no_publication_is_made_up(archive: Archive) -> None:
    info_file(archive.folder, timestamp=None, epoch=seconds(FETCHED) + 2 * 86_400)
    info_file(archive.root / "archive" / "b", timestamp=None, epoch=seconds(FETCHED) + 86_400)
    found = archive.video()
    assert (found["day"], found["published_at"], found["date_precision"]) == (
        DAY + timedelta(days=1),
        None,
        "unknown",
    )


def test_without_date_and_fetch_the_first_sight_gives_the_day_for_ever(archive: Archive) -> None:
    info_file(archive.folder, timestamp=None, epoch=None)
    archive.seen[FIRST] = datetime(2026, 5, 3, 8, tzinfo=UTC)
    assert archive.video()["day"] == date(2026, 5, 3)
    info_file(archive.folder, timestamp=None, epoch=None, title="Changed a month later")
    found = archive.video()
    assert (found["day"], found["first_seen_at"]) == (date(2026, 5, 3), archive.seen[FIRST])
    assert found["published_at"] is None


def test_a_healthy_video_is_ok_and_never_dated_by_its_fetch(archive: Archive) -> None:
    info_file(archive.folder, chapters=[{"start_time": 0, "title": "Intro"}], language="en-US", availability="public")
    found = archive.video()
    assert tuple(found[name] for name in TOLD) == ("ok", None, None, None)
    assert (found["media_kind"], found["language"], found["availability"]) == ("video", "en-US", "public")
    assert found["chapters"] == [{"start_s": 0.0, "title": "Intro"}]


@pytest.mark.parametrize(
    ("facts", "fate"),
    [
        ({"duration": 60.5}, ("rejected", "short", "60.5", "61")),
        ({"duration": 61}, ("ok", None, None, None)),
        ({"duration": None}, ("ok", None, None, None)),
        ({"media_type": "short", "duration": 170}, ("rejected", "short", "called a Short", "61")),
        ({"duration": 30, "live_status": "was_live"}, ("rejected", "short", "30", "61")),
        ({"duration": 30, "live_status": "is_live"}, ("pending", "live_now", "is_live", None)),
        ({"duration": None, "live_status": "is_upcoming"}, ("pending", "upcoming", "is_upcoming", None)),
        ({"live_status": "post_live"}, ("ok", None, None, None)),
        ({"availability": "private"}, ("rejected", "private", None, None)),
        ({"availability": "subscriber_only"}, ("rejected", "restricted", "members_only", None)),
        ({"availability": "premium_only"}, ("rejected", "restricted", "premium_only", None)),
        ({"availability": "needs_auth"}, ("rejected", "restricted", "login", None)),
        ({"age_limit": 18}, ("rejected", "restricted", "age_restricted", None)),
        ({"availability": "unlisted"}, ("ok", None, None, None)),
    ],
)
def test_each_reason_not_to_read_a_video_says_what_was_seen_and_asked_for(
    archive: Archive, facts: dict[str, Any], fate: tuple[Any, ...]
) -> None:
    info_file(archive.folder, **facts)
    assert archive.fate() == fate


def test_a_video_from_before_the_channel_s_first_day_is_rejected_and_one_from_that_day_is_not(archive: Archive) -> None:
    info_file(archive.folder)
    early = replace(RULES, since=DAY + timedelta(days=1))
    assert archive.fate(rules=early) == ("rejected", "before_since", "2026-05-01", "2026-05-02")
    assert archive.fate(rules=replace(RULES, since=DAY))[0] == "ok"


def test_of_several_reasons_the_one_that_nobody_can_change_comes_first(archive: Archive) -> None:
    since = replace(RULES, since=DAY + timedelta(days=1))
    info_file(archive.folder, availability="private", duration=10, live_status="is_live")
    assert archive.fate(rules=since)[1] == "private"
    info_file(archive.folder, duration=10)
    assert archive.fate(rules=since)[1] == "before_since"
    info_file(archive.folder, media_type="short", live_status="not_live")
    assert archive.fate()[1] == "short"


@pytest.mark.parametrize(
    ("outcome", "detail", "fate"),
    [
        ("deleted", None, ("rejected", "deleted", None, None)),
        ("private", None, ("rejected", "private", None, None)),
        ("restricted", "members_only", ("rejected", "restricted", "members_only", None)),
        ("live_now", None, ("pending", "live_now", "is_live", None)),
        ("upcoming", None, ("pending", "upcoming", "is_upcoming", None)),
        ("no_captions", None, ("ok", None, None, None)),
        ("captions", "en.json3", ("ok", None, None, None)),
    ],
)
def test_what_a_later_visit_found_holds_over_the_file(
    archive: Archive, outcome: str, detail: str | None, fate: tuple[Any, ...]
) -> None:
    info_file(archive.folder)
    assert archive.fate(a_visit(outcome, FETCHED, detail=detail)) == fate
    assert archive.fate(a_visit(outcome, FETCHED - timedelta(seconds=1), detail=detail))[0] == "ok"


def test_a_visit_that_was_refused_does_not_bring_a_deleted_video_back(archive: Archive) -> None:
    info_file(archive.folder)
    gone = a_visit("deleted", FETCHED + timedelta(hours=1))
    for outcome in ("transport", "cooling_down", "source_blocked", "po_token_required"):
        assert archive.fate(gone, a_visit(outcome, FETCHED + timedelta(hours=2)))[1] == "deleted"
    assert archive.fate(gone, a_visit("captions", FETCHED + timedelta(hours=2)))[0] == "ok"


def test_a_visit_to_one_video_says_nothing_of_another(archive: Archive) -> None:
    info_file(archive.folder)
    info_file(archive.folder, SECOND)
    fates = {row["video_id"]: row["status"] for row in archive.videos(a_visit("deleted", NOW, SECOND))}
    assert fates == {FIRST: "ok", SECOND: "rejected"}


def test_files_that_are_new_changed_or_gone_are_told(archive: Archive) -> None:
    kept, edited, gone = (info_file(archive.folder, video_id) for video_id in (FIRST, SECOND, THIRD))
    stored = archive.files()
    assert changed(stored, fingerprint(archive.places.files(), archive.places)) == []
    edited.write_text(edited.read_text() + " ")
    gone.unlink()
    fresh = captions_file(archive.folder, f"{FIRST}.en.json3")
    told = changed(stored, fingerprint(archive.places.files(), archive.places))
    assert told == sorted(path.relative_to(archive.root).as_posix() for path in (edited, gone, fresh))
    assert kept.relative_to(archive.root).as_posix() not in told


def test_names_are_relative_to_settings_or_home_and_lead_back_to_their_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for home in (root / "state", tmp_path / "state", root):
        places = Places(root, home, ())
        for path in (root / "archive" / "x.json", home / "youtube" / "y.json", tmp_path / "elsewhere" / "z.json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
            assert places.path(places.name(path)) == path
        assert places.name(root / "archive" / "x.json") == "archive/x.json"
        assert places.name(home / "youtube" / "y.json") == "youtube/y.json"
        assert places.name(tmp_path / "elsewhere" / "z.json") == str(tmp_path / "elsewhere" / "z.json")


def test_files_of_the_same_name_at_settings_and_home_stay_apart(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path / "home", ())
    both = [tmp_path / "youtube" / "x.json", tmp_path / "home" / "youtube" / "x.json"]
    for path in both:
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    names = [places.name(path) for path in both]
    assert len(set(names)) == 2
    assert [places.path(name) for name in names] == both


def test_the_folders_of_the_settings_are_looked_through_and_the_own_one_once_it_is_there(tmp_path: Path) -> None:
    told = {"start_day": DAY, "root": tmp_path, "home": tmp_path / "home", "videos": {"archives": ["tapes"]}}
    chosen = Settings.model_validate(told)
    assert [folder.name for folder in Places.of(chosen).folders] == ["tapes"]
    chosen.live_videos.mkdir(parents=True)
    assert Places.of(chosen).folders[-1] == chosen.live_videos


KEYS = (
    *(
        "title",
        "description",
        "channel_id",
        "timestamp",
        "upload_date",
        "epoch",
        "duration",
        "view_count",
        "like_count",
    ),
    *("live_status", "availability", "language", "chapters", "subtitles", "age_limit", "media_type", "webpage_url"),
    *("release_timestamp", "_magpie_source", "_magpie_restriction", "is_live", "was_live"),
)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([CHANNEL, "20260501", "is_live", "was_live", "private", "rss", 1777636800, 600]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), ODD, max_size=8), min_size=1, max_size=3))
def test_whatever_an_info_says_its_rows_keep_to_the_tables(told: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder), VIDEO_FILES.empty(), {})
        archive.folder.mkdir(parents=True)
        for number, facts in enumerate(told):
            name = f"copy {number} [{FIRST}].info.json"
            (archive.folder / name).write_text(json.dumps({"id": FIRST, **facts}))
            captions_file(archive.folder, f"copy {number} [{FIRST}].en.json3")
        files = archive.files()
        assert files.height == 2 * len(told)
        # A day may lie anywhere between the first video ever and next year, but all files of the video share it.
        assert files.filter(pl.col("status") == "ok")["day"].n_unique() <= 1
        ids = [row["video_id"] for row in archive.videos()]
        assert ids == [FIRST] * any(files["status"] == "ok")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["second", "day", "unknown"]),
            st.sampled_from(["archive", "ytdlp", "rss"]),
            st.none() | st.integers(0, 30),
        ),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_all_files_of_a_video_share_one_day_whatever_their_order(
    told: list[tuple[str, str, int | None]], chance: Any
) -> None:
    rows = [
        {
            "video_id": FIRST,
            "date_precision": precision,
            "source": source,
            "published_at": None if precision == "unknown" else PUBLISHED + timedelta(days=number),
            "fetched_at": None if fetched is None else FETCHED + timedelta(days=fetched),
        }
        for number, (precision, source, fetched) in enumerate(told)
    ]
    listing._place(rows, {FIRST: NOW})
    days = {row["day"] for row in rows}
    assert len(days) == 1
    dated = [row for row in rows if row["published_at"]]
    if not dated:
        fetches = [row["fetched_at"] for row in rows if row["fetched_at"]]
        assert days == {min(fetches, default=NOW).date()}  # type: ignore[type-var]

"""Fetching channels from servers that speak as the platforms do: how far back, what is kept, and who is left alone."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import logs
from magpie.memes.downloads import Downloads
from magpie.memes.live import SOURCE_PAUSE_S, Channel, Fetcher, Report
from magpie.memes.sources import Listed, decide
from magpie.memes.tables import MEME_FILES
from magpie.settings import Settings
from magpie.sources.channel_clients import BREAKER_REST, Resting
from magpie.sources.web import Page, Web
from tests.fake_channels import GIF, KEY, TOKEN, FakeChannels, Fault, vk_error

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ENV = {"VK_TOKEN": TOKEN, "HIKERAPI_KEY": KEY}
PREFIX = {"telegram": "tg", "vk": "vk", "instagram": "ig"}


class World:
    """Channels on loopback, a home, and a clock that only sleeping moves."""

    def __init__(self, home: Path, fake: FakeChannels) -> None:
        self.home, self.fake = home, fake
        self.control = Control(f"sqlite:///{home / 'control.db'}")
        self.lake = Lake(str(home / "lake"))
        self.blobs = Blobs(home / "blobs")
        self.now = NOW
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def settings(self, **memes: Any) -> Settings:
        live = ["telegram", "vk", "instagram"]
        return Settings(start_day=NOW.date(), home=self.home, memes={"live": live, **memes})

    def fetcher(self, env: Mapping[str, str] = ENV, web: Web | None = None, **memes: Any) -> Fetcher:
        return Fetcher(
            self.settings(**memes),
            self.lake,
            self.control,
            web or Web(private=True),
            self.blobs,
            clock=lambda: self.now,
            sleep=self.sleep,
            env=env,
            bases=self.fake.bases,
        )

    def fetch(self, platform: str, *channels: str | Channel, **given: Any) -> Report:
        named = [one if isinstance(one, Channel) else Channel(f"{PREFIX[platform]}:{one}") for one in channels]
        return self.fetcher(**given).fetch_channels(platform, named)

    def log(self) -> list[dict[str, Any]]:
        return logs.FETCHES.read(self.control).sort("at").rows(named=True)

    def outcomes(self, *items: str) -> dict[str, list[str]]:
        known = Downloads(self.control, self.blobs, Web()).known(items)
        return {item: [fetch.outcome for fetch in tries] for item, tries in known.items()}


@pytest.fixture()
def world(tmp_path: Path) -> Iterator[World]:
    with FakeChannels() as fake:
        made = World(tmp_path, fake)
        yield made
        made.control.close()


def numbers(report: Report) -> list[int]:
    return [visit.posts for visit in report.visits]


def errors(report: Report) -> list[str | None]:
    return [visit.error_class for visit in report.visits]


@pytest.mark.parametrize(("platform", "ending"), [("telegram", "html"), ("vk", "json"), ("instagram", "json")])
def test_a_page_lands_as_it_came_and_the_pictures_of_its_posts_are_stored(
    world: World, platform: str, ending: str
) -> None:
    world.fake.add(platform, "cats", range(100, 105))
    report = world.fetch(platform, "cats", posts_per_source=5)
    (visit,) = report.visits
    (path,) = visit.files
    assert path == world.home / f"raw/memes/live/{platform}/cats/20261120T090000000000Z-1.{ending}"
    assert b"when build 104 passes" in path.read_bytes()
    assert (visit.posts, visit.error_class, visit.media) == (5, None, {"ok": 5})
    assert (report.left, report.rest) == ((), None)
    kept = [path.read_bytes() for path in sorted((world.home / "blobs").rglob("*")) if path.is_file()]
    assert len(kept) == 5
    assert all(content.startswith(GIF) for content in kept)


def test_what_was_asked_is_in_the_log(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 4))
    (visit,) = world.fetch("telegram", "cats").visits
    (row,) = world.log()
    page = visit.files[0].read_bytes()
    assert (row["source_id"], row["at"], row["n_posts"], row["http_status"]) == ("tg:cats", NOW, 3, 200)
    assert row["payload_sha256"] == world.blobs.put(page)
    assert (row["error_class"], row["detail"]) == (None, None)


def test_a_channel_is_read_back_to_what_landed_before(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 201))
    report = world.fetch("telegram", Channel("tg:cats", "155"))
    assert numbers(report) == [60], "pages of 20: 181-200, 161-180, 141-160"
    assert [request.params.get("before") for request in world.fake.asked("/s/")] == [None, "181", "161"]


def test_a_new_channel_is_read_for_as_many_posts_as_are_wanted(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 201))
    assert numbers(world.fetch("telegram", "cats", posts_per_source=10)) == [20]
    assert numbers(world.fetch("telegram", "cats", posts_per_source=21)) == [40]


def test_posts_that_landed_before_are_read_again_for_their_counts(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 201))
    assert numbers(world.fetch("telegram", Channel("tg:cats", "200"), posts_per_source=30)) == [40]


def test_the_mark_is_passed_even_if_its_post_was_deleted_meanwhile(world: World) -> None:
    world.fake.add("telegram", "cats", [number for number in range(1, 201) if number != 170])
    assert numbers(world.fetch("telegram", Channel("tg:cats", "170"))) == [40]


def test_no_more_pages_are_asked_for_than_allowed(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 201))
    assert numbers(world.fetch("telegram", Channel("tg:cats", "1"), max_pages=3)) == [60]
    assert len(world.fake.asked("/s/")) == 3


def test_a_channel_ends_with_its_first_post(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 31))
    assert numbers(world.fetch("telegram", "cats", posts_per_source=100)) == [30]
    assert len(world.fake.asked("/s/")) == 2


def test_a_pinned_post_does_not_end_the_reading_of_a_wall(world: World) -> None:
    world.fake.add("vk", "cats", range(1, 301))
    world.fake.pinned = 3
    report = world.fetch("vk", Channel("vk:cats", "-7_150"))
    assert numbers(report) == [200], "the pinned post is old, and 150 stands on the second page"
    assert [request.params["offset"] for request in world.fake.asked("/method")] == ["0", "100"]
    assert world.slept == [5.0], "VK wants a pause between pages"


def test_a_wall_ends_with_an_empty_page(world: World) -> None:
    world.fake.add("vk", "cats", range(1, 6))
    assert numbers(world.fetch("vk", "cats", posts_per_source=10)) == [5]
    assert [request.params["offset"] for request in world.fake.asked("/method")] == ["0", "100"]


def test_a_wall_may_be_named_by_the_number_of_its_owner(world: World) -> None:
    world.fake.add("vk", "-226126304", [1])
    world.fake.add("vk", "57", [1])
    assert errors(world.fetch("vk", "club226126304", "id57")) == [None, None]


def test_every_call_of_vk_names_version_and_size(world: World) -> None:
    world.fake.add("vk", "cats", range(1, 20))
    world.fetch("vk", "cats")
    asked = world.fake.asked("/method")[0].params
    assert asked == {"domain": "cats", "count": "100", "offset": "0", "v": "5.199", "access_token": TOKEN}


def test_instagram_is_paged_by_the_token_of_the_answer_and_the_number_of_a_name_is_asked_once(world: World) -> None:
    world.fake.add("instagram", "cats", range(1, 31))
    world.fake.pinned = 2
    mark = Channel("ig:cats", "15")
    assert numbers(world.fetch("instagram", mark)) == [24]
    assert [request.params.get("page_id") for request in world.fake.asked("/v2/user/medias")] == [None, "12"]
    world.now += timedelta(days=1)
    world.fetch("instagram", mark)
    assert len(world.fake.asked("/v2/user/by")) == 1, "each request is paid"


def test_pictures_are_asked_for_once_and_only_of_posts_that_can_be_memes(world: World) -> None:
    world.fake.add("vk", "cats", range(1, 13))
    world.fake.albums = {3}
    world.fake.texts["vk", 4] = "a" * 200
    (visit,) = world.fetch("vk", "cats").visits
    assert visit.media == {"ok": 10}, "an album is no meme, and a long text is turned down by the reader"
    assert world.outcomes("vk:cats:-7_3#0", "vk:cats:-7_4#0") == {}
    world.fake.add("vk", "cats", [13])
    world.now += timedelta(hours=1)
    (visit,) = world.fetch("vk", "cats").visits
    assert visit.media == {"ok": 1}


def test_a_download_that_failed_is_not_tried_again_here(world: World) -> None:
    """When it is tried again is decided where its attempts are counted, or an hourly fetch would use them up."""
    world.fake.add("telegram", "cats", [1, 2])
    del world.fake.media["/media/telegram/2-0.gif"]
    assert world.fetch("telegram", "cats").visits[0].media == {"ok": 1, "http_404": 1}
    world.now += timedelta(hours=1)
    assert world.fetch("telegram", "cats").visits[0].media == {}


def test_downloads_of_a_channel_end_when_they_keep_failing_and_the_newest_come_first(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 11))
    world.fake.faults.append(Fault("/media/telegram", 403, times=100))
    assert world.fetch("telegram", "cats", media_stop_after=3).visits[0].media == {"http_403": 3}
    assert [request.path for request in world.fake.asked("/media")] == [
        f"/media/telegram/{number}-0.gif" for number in (10, 9, 8)
    ]


def test_media_that_are_none_are_no_sign_that_downloads_fail(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 11))
    world.fake.faults.append(Fault("/media/telegram", body=b"<html>", times=4))
    report = world.fetch("telegram", "cats", media_stop_after=3)
    assert report.visits[0].media == {"not_media": 4, "ok": 6}


def test_no_download_is_begun_that_the_time_could_cut_off(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 7))
    (visit,) = world.fetch("telegram", "cats", web=SlowWeb(world)).visits
    assert visit.media == {"ok": 4}, "a page and four pictures are five minutes"
    assert world.outcomes("telegram:cats:1#0") == {}


def test_one_channel_that_fails_does_not_keep_the_next_from_being_asked(world: World) -> None:
    world.fake.add("telegram", "cats", [1])
    world.fake.add("telegram", "dogs", [1])
    world.fake.faults.append(Fault("/s/cats", 404))
    report = world.fetch("telegram", "cats", "hidden", "dogs")
    assert errors(report) == ["http_404", "no_preview", None]
    assert [row["http_status"] for row in world.log()] == [404, 200, 200]
    assert world.slept == [SOURCE_PAUSE_S, SOURCE_PAUSE_S]


def test_a_page_that_is_none_lands_all_the_same_and_is_told(world: World) -> None:
    world.fake.faults.append(Fault("/s/cats", body=b"<html><body>be right back</body></html>"))
    (visit,) = world.fetch("telegram", "cats").visits
    assert visit.error_class is not None
    assert [path.read_bytes() for path in visit.files] == [b"<html><body>be right back</body></html>"]


def test_pages_before_the_one_that_failed_count(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 101))
    asked = iter([None, Fault("/s/cats", 404)])
    world.fake.fault = lambda path: next(asked, None) if path == "/s/cats" else None  # type: ignore[method-assign]
    (visit,) = world.fetch("telegram", Channel("tg:cats", "1")).visits
    assert (visit.posts, len(visit.files), visit.error_class, visit.failed) == (20, 1, "http_404", False)
    assert visit.media == {"ok": 20}


def test_what_passes_is_asked_again(world: World) -> None:
    world.fake.add("telegram", "cats", [1])
    world.fake.faults.append(Fault("/s/cats", 502, times=3))
    assert errors(world.fetch("telegram", "cats")) == [None]
    assert world.slept == [1, 2, 4]


def test_too_many_calls_a_second_are_tried_again_and_a_wall_that_is_closed_is_not(world: World) -> None:
    world.fake.add("vk", "cats", [1])
    busy = json.dumps(vk_error(6, "Too many requests per second")).encode()
    world.fake.faults.append(Fault("/method", body=busy, times=2))
    report = world.fetch("vk", "cats", "closed", posts_per_source=1)
    assert errors(report) == [None, "vk_error_15"]
    assert world.slept == [1, 2, SOURCE_PAUSE_S]
    assert report.rest is None


@pytest.mark.parametrize(("code", "hours"), [(5, 6), (9, 0.25), (14, 1), (29, 6)])
def test_a_refusal_of_the_platform_ends_the_batch_and_gives_it_a_rest(world: World, code: int, hours: float) -> None:
    world.fake.add("vk", "cats", [1])
    world.fake.faults.append(Fault("/method", body=json.dumps(vk_error(code, "No more")).encode()))
    report = world.fetch("vk", "cats", "dogs", "birds")
    assert errors(report) == [f"vk_error_{code}"]
    assert report.left == ("vk:dogs", "vk:birds")
    assert report.rest is not None
    assert report.rest.until == NOW + timedelta(hours=hours)
    before = len(world.fake.requests)
    assert world.fetch("vk", "cats").left == ("vk:cats",)
    assert len(world.fake.requests) == before, "nothing is asked while it rests"
    world.now = report.rest.until
    assert errors(world.fetch("vk", "cats")) == [None]


@pytest.mark.parametrize(("told", "seconds"), [(None, 900), ("5", 60), ("300", 300), ("7200", 3600)])
def test_a_limit_is_respected_for_as_long_as_the_server_says_within_bounds(
    world: World, told: str | None, seconds: int
) -> None:
    world.fake.faults.append(Fault("/s/", 429, headers={"Retry-After": told} if told else {}, times=100))
    report = world.fetch("telegram", "cats", "dogs")
    assert errors(report) == ["http_429"]
    assert report.rest is not None
    assert report.rest.until == world.now + timedelta(seconds=seconds)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_key_that_is_refused_is_not_shown_again_to_the_same_door(world: World, status: int) -> None:
    world.fake.faults.append(Fault("/v2", status))
    report = world.fetch("instagram", "cats", "dogs")
    assert (errors(report), report.left) == ([f"http_{status}"], ("ig:dogs",))
    assert report.rest is not None


def test_a_name_that_nobody_has_is_told(world: World) -> None:
    world.fake.add("instagram", "cats", [1])
    world.fake.faults.append(Fault("/v2/user/by", body=b'{"user": {"pk": "../../etc"}}'))
    assert errors(world.fetch("instagram", "cats", "nobody")) == ["no_user", "http_404"]


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a/b", "a" * 65, ""])
def test_a_name_that_is_none_reaches_neither_server_nor_disk(world: World, name: str) -> None:
    assert errors(world.fetch("telegram", name)) == ["bad_name"]
    assert world.fake.requests == []
    assert not (world.home / "raw").exists()


def test_three_batches_in_a_row_without_an_answer_give_the_platform_a_rest(world: World) -> None:
    world.fake.add("telegram", "cats", [1])
    for hours in (0, 1):
        world.now = NOW + timedelta(hours=hours)
        assert world.fetch("telegram", "gone", "hidden").rest is None
    world.now = NOW + timedelta(hours=2)
    report = world.fetch("telegram", "gone", "hidden")
    assert report.rest is not None
    assert (report.rest.reason, report.rest.until) == ("breaker_open", world.now + BREAKER_REST)
    assert "no_preview" in (report.rest.detail or "")
    assert world.fetch("telegram", "cats").visits == ()
    assert world.fetch("instagram", "cats").rest is None, "the other platforms go on"


def test_batches_that_fail_in_part_or_with_an_answer_between_are_no_reason_to_rest(world: World) -> None:
    world.fake.add("telegram", "cats", [1])
    for hours, channel in enumerate(("gone", "gone", "cats", "gone", "gone")):
        world.now = NOW + timedelta(hours=hours)
        assert world.fetch("telegram", channel).rest is None
    for minutes in range(4):
        world.now = NOW + timedelta(days=1, minutes=minutes)
        assert world.fetch("telegram", "gone", "cats").rest is None


def test_an_operator_ends_a_rest_and_what_led_to_it_is_forgotten(world: World) -> None:
    world.fake.add("telegram", "cats", [1])
    for _ in range(3):
        world.now += timedelta(minutes=1)
        world.fetch("telegram", "gone")
    resting = Resting(world.control, "telegram")
    assert resting.now(world.now) is not None
    world.now += timedelta(minutes=1)
    assert resting.resume(world.now)
    assert not resting.resume(world.now), "there is nothing left to end"
    assert errors(world.fetch("telegram", "cats")) == [None]
    for _ in range(2):
        world.now += timedelta(minutes=1)
        assert world.fetch("telegram", "gone").rest is None
    world.now += timedelta(minutes=1)
    assert world.fetch("telegram", "gone").rest is not None


def test_a_short_rest_after_a_resumption_is_not_lengthened_by_the_long_one_before(world: World) -> None:
    resting = Resting(world.control, "vk")
    resting.refused(NOW, timedelta(hours=6), "vk_error_29", "the day's calls")
    resting.resume(NOW + timedelta(hours=1))
    again = resting.refused(NOW + timedelta(hours=2), timedelta(minutes=15), "vk_error_9", "flood")
    assert again is not None
    assert again.until == NOW + timedelta(hours=2, minutes=15)


class SlowWeb(Web):
    """Takes a minute for each answer."""

    def __init__(self, world: World) -> None:
        super().__init__(private=True)
        self._world = world

    def get(self, url: str, headers: Mapping[str, str] | None = None, **bounds: Any) -> Page:
        self._world.now += timedelta(seconds=60)
        return super().get(url, headers, **bounds)


def test_a_channel_gets_five_minutes_and_what_it_gave_until_then_is_kept(world: World) -> None:
    world.fake.add("telegram", "cats", range(1, 201))
    world.fake.add("telegram", "dogs", range(1, 3))
    report = world.fetch("telegram", Channel("tg:cats", "1"), "dogs", web=SlowWeb(world), max_pages=10)
    assert errors(report) == ["timeout", None]
    assert report.visits[0].posts == 100
    assert report.visits[0].media == {}


@pytest.mark.parametrize(("platform", "width", "asked"), [("telegram", 25, 6), ("vk", 10, 3)])
def test_a_batch_ends_with_its_time(world: World, platform: str, width: int, asked: int) -> None:
    names = [f"c{number}" for number in range(width + 1)]
    for name in names:
        world.fake.add(platform, name, [*range(1, 2001)])
    channels = [Channel(f"{PREFIX[platform]}:{name}", "1") for name in names]
    report = world.fetch(platform, *channels, web=SlowWeb(world), max_pages=50)
    assert len(report.visits) == asked
    assert len(report.left) == width - asked, "what is beyond the width of a batch is not its business"


def test_the_width_of_a_batch_is_a_setting(world: World) -> None:
    for name in ("a", "b", "c"):
        world.fake.add("telegram", name, [1])
    report = world.fetch("telegram", "a", "b", "c", sources_per_run={"telegram": 2})
    assert [visit.source_id for visit in report.visits] == ["tg:a", "tg:b"]


@pytest.mark.parametrize(("platform", "variable"), [("vk", "VK_TOKEN"), ("instagram", "HIKERAPI_KEY")])
@pytest.mark.parametrize("value", ["", "two words", "ключ"])
def test_a_platform_that_wants_a_key_says_which(world: World, platform: str, variable: str, value: str) -> None:
    with pytest.raises(UserError, match=variable):
        world.fetch(platform, "cats", env={variable: value})


def test_a_platform_that_is_not_live_is_not_asked(world: World) -> None:
    with pytest.raises(UserError, match=r"memes\.live"):
        world.fetch("telegram", "cats", live=[])


def test_neither_log_nor_report_holds_a_key(world: World) -> None:
    world.fake.faults.append(Fault("/method", 500, times=4))
    world.fake.faults.append(Fault("/v2", 401))
    said = [str(world.fetch("vk", "cats")), str(world.fetch("instagram", "cats")), str(world.log())]
    assert not [text for text in said if TOKEN in text or KEY in text]


def test_channels_are_asked_in_turn_as_decided_until_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cats", "dogs", "birds"):
        world.fake.add("telegram", name, [1])
    listed = [{"id": f"tg:{name}"} for name in ("cats", "dogs", "birds")]
    settings = Settings(start_day=NOW.date(), home=world.home, memes={"live": ["telegram"]}, meme_sources=listed)
    monkeypatch.setattr(world, "settings", lambda **memes: settings)
    world.fetch("telegram", "cats")
    world.now += timedelta(minutes=5)
    files = world.lake.read(MEME_FILES).collect()
    decide(world.control, Listed.of(settings, files), "tg:dogs", "snooze", actor="ann", at=world.now)
    report = world.fetcher().fetch("telegram")
    assert [visit.source_id for visit in report.visits] == ["tg:birds", "tg:cats"]


def refuses_to_write(path: Path, content: bytes) -> Path:
    raise UserError(f"cannot write {path}: No space left on device; free space or grant write permission")


def test_a_full_disk_is_told_and_is_not_taken_for_a_fault_of_the_channel(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fake.add("telegram", "cats", [1])
    monkeypatch.setattr("magpie.memes.live.write_whole", refuses_to_write)
    with pytest.raises(UserError, match="free space"):
        world.fetch("telegram", "cats")
    assert world.log() == []

"""The live YouTube client against yt-dlp's real extractors: every refusal is told apart, and nothing is asked twice."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from yt_dlp.networking.common import _REQUEST_HANDLERS, _RH_PREFERENCES

from magpie.control import Control
from magpie.fetches import Fetches
from magpie.sources.captions import read_captions
from magpie.sources.youtube_files import find
from magpie.sources.youtube_info import read_info
from magpie.sources.youtube_live import SOURCE, Unanswered, Visit, YouTube
from magpie.sources.youtube_verdicts import Verdict, detail_of, judged
from tests.fake_youtube import CHANNEL, PARAMS, PUBLISHED, FakeYouTube, a_feed, a_page, a_player, with_captions

DATA = Path(__file__).parents[2] / "shared" / "data" / "youtube"
needs_recordings = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded answers of YouTube are not here")
NOW = datetime(2026, 5, 2, 9, 0, tzinfo=UTC)
VIDEO = "abcdefghijk"
TIMEDTEXT, PLAYER = "/api/timedtext", "/youtubei/v1/player"


class World:
    """A fake YouTube, the client that asks it, and what the client did."""

    def __init__(self, home: Path) -> None:
        self.youtube = FakeYouTube()
        self.control = Control(f"sqlite:///{home / 'control.db'}")
        self.fetches = Fetches(self.control)
        self.folder = home / "live"
        self.now = NOW
        self.slept: list[float] = []
        self.client = self.a_client()

    def a_client(self, **params: Any) -> YouTube:
        return YouTube(
            self.folder,
            self.fetches,
            clock=lambda: self.now,
            sleep=self.slept.append,
            params={**PARAMS, **params},
            handlers=[self.youtube.handler()],
        )

    def record(self, name: str) -> str:
        """Let the player answer as was recorded; return the id of the video."""
        player = json.loads((DATA / f"yta_youtube{name}.innertube.json").read_bytes())
        video_id = player.get("videoDetails", {}).get("videoId", VIDEO)
        self.youtube.players[video_id] = player
        return str(video_id)

    def visit(self, video_id: str = VIDEO, language: str | None = "en") -> Visit:
        return self.client.visit(video_id, CHANNEL, language)

    def log(self, video_id: str = VIDEO) -> list[tuple[str, str | None]]:
        known = self.fetches.of(SOURCE, [video_id], "visit").get(video_id, ())
        return [(fetch.outcome, fetch.detail) for fetch in known]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.control.close()


@needs_recordings
def test_a_video_with_captions_leaves_an_info_file_and_one_track_that_can_be_read(world: World) -> None:
    video_id = world.record("")
    visit = world.visit(video_id)
    assert (visit.outcome, visit.detail) == ("captions", "en.json3")
    info, captions = visit.files
    assert captions.name == f"{video_id}.en.json3"
    assert [line.text for line in read_captions(captions.read_bytes(), "json3")] == ["we add a little more today"]
    told = read_info(info)
    assert told.source == "ytdlp" and told.epoch == NOW and told.duration_s == 316 and told.view_count == 1856109
    assert told.title == "Surface Go Review - It’s Awesome" and told.language == "en"
    assert "en" in told.manual_tracks and set(told.automatic_tracks) == {"en", "en-orig"}
    assert [found.path for found in find([world.folder])] == sorted(visit.files)
    assert world.log(video_id) == [("captions", "en.json3")]


@needs_recordings
def test_the_info_file_holds_no_address_but_the_page_and_no_signature(world: World) -> None:
    info = world.visit(world.record("")).files[0].read_text()
    held = json.loads(info)
    assert "signature" not in info and "googlevideo" not in info and "ip=" not in info
    assert not held.keys() & {"formats", "thumbnails", "requested_formats", "thumbnail"}
    assert len(info) < 20_000


@needs_recordings
def test_of_a_video_with_translations_the_track_that_people_wrote_is_fetched_once(world: World) -> None:
    video_id = world.record("_ww1_nl_en")
    visit = world.visit(video_id, "nl")
    assert (visit.outcome, visit.detail) == ("captions", "en.json3")
    assert set(read_info(visit.files[0]).automatic_tracks) == {"en", "en-orig"}
    fetched = [query for path, query in world.youtube.asked if path == TIMEDTEXT]
    assert len(fetched) == 1 and fetched[0]["lang"] == ["en"] and "tlang" not in fetched[0] and "kind" not in fetched[0]


def test_of_automatic_tracks_only_the_original_language_is_ever_fetched(world: World) -> None:
    world.youtube.players[VIDEO] = with_captions(a_player(VIDEO), ("de", True), translated=["en", "de", "nl", "fr"])
    visit = world.visit(language="en")
    assert (visit.outcome, visit.detail) == ("captions", "de-orig.json3")
    assert read_info(visit.files[0]).language == "de"
    fetched = [query for path, query in world.youtube.asked if path == TIMEDTEXT]
    assert len(fetched) == 1 and "tlang" not in fetched[0]


@needs_recordings
@pytest.mark.parametrize(
    ("name", "outcome", "detail", "written"),
    [
        ("_transcripts_disabled", "no_captions", None, True),
        ("_request_blocked", "source_blocked", "Sign in to confirm you're not a bot", False),
        ("_age_restricted", "restricted", "age_restricted", True),
    ],
)
def test_a_refusal_that_was_recorded_is_told_from_the_others(
    world: World, name: str, outcome: str, detail: str | None, written: bool
) -> None:
    video_id = world.record(name)
    visit = world.visit(video_id)
    assert visit.outcome == outcome
    assert visit.detail == detail
    assert len(visit.files) == written and TIMEDTEXT not in world.youtube.paths()
    assert [outcome for outcome, _ in world.log(video_id)] == [outcome]


@needs_recordings
def test_tracks_that_demand_a_proof_of_origin_are_not_taken_for_missing(world: World) -> None:
    visit = world.visit(world.record("_po_token_required"))
    assert visit.outcome == "po_token_required" and TIMEDTEXT not in world.youtube.paths()
    # Asked again at once it says so again: yt-dlp tells some things only once.
    assert world.visit(visit.video_id).outcome == "po_token_required"


@needs_recordings
def test_an_age_restricted_video_is_kept_with_its_restriction_and_opens_later(world: World) -> None:
    video_id = world.record("_age_restricted")
    told = read_info(world.visit(video_id).files[0])
    assert (told.availability, told.restriction) == ("restricted", "age_restricted")
    assert told.title is not None
    world.youtube.players[video_id] = with_captions(a_player(video_id), ("en", False))
    again = world.visit(video_id)
    told = read_info(again.files[0])
    assert again.outcome == "captions" and told.restriction is None and told.availability != "restricted"


@needs_recordings
def test_too_many_requests_keep_the_info_file_and_let_the_source_rest(world: World) -> None:
    video_id = world.record("")
    world.youtube.captions = (429, (DATA / "yta_youtube_too_many_requests.html").read_bytes())
    visit = world.visit(video_id)
    assert (visit.outcome, visit.detail) == ("cooling_down", "HTTP 429") and len(visit.files) == 1
    asked = len(world.youtube.asked)
    assert world.visit("other_video").outcome == "cooling_down"
    with pytest.raises(Unanswered, match="rests until") as caught:
        world.client.feed(CHANNEL)
    assert caught.value.outcome == "cooling_down" and len(world.youtube.asked) == asked
    assert world.log("other_video") == [], "what was not asked is not logged"
    world.now += timedelta(seconds=61)
    world.youtube.captions = b'{"events": []}'
    assert world.visit(video_id).outcome == "captions"


def test_a_429_of_the_player_lets_the_source_rest_too(world: World) -> None:
    world.youtube.players[VIDEO] = (429, b"<html>sorry</html>")
    assert world.visit().outcome == "cooling_down"
    assert world.fetches.cooling(SOURCE, NOW) is not None


def test_with_the_page_the_moment_of_publication_is_known_to_the_second(world: World) -> None:
    player = with_captions(a_player(VIDEO), ("en", True), translated=["en"])
    facts = {"uploadDate": "2026-05-01T05:00:00-07:00", "isUnlisted": False, "isShortsEligible": True}
    world.youtube.players[VIDEO] = player
    world.youtube.pages[VIDEO] = a_page(player | {"microformat": {"playerMicroformatRenderer": facts}})
    world.client = world.a_client(extractor_args={})
    visit = world.visit()
    told = read_info(visit.files[0])
    assert visit.outcome == "captions"
    assert (told.published_at, told.date_precision, told.is_short) == (PUBLISHED, "second", True)


def test_a_429_of_the_page_lets_the_source_rest_too(world: World) -> None:
    world.youtube.pages[VIDEO] = (429, b"<html>sorry</html>")
    world.client = world.a_client(extractor_args={})
    assert world.visit().outcome == "cooling_down"


@pytest.mark.parametrize("path", [PLAYER, TIMEDTEXT])
def test_a_connection_that_breaks_says_nothing_of_the_video(world: World, path: str) -> None:
    world.youtube.players[VIDEO] = with_captions(a_player(VIDEO), ("en", False))
    world.youtube.broken = {path}
    visit = world.visit()
    assert visit.outcome == "transport" and "203.0.113.7" not in (visit.detail or "")
    assert world.fetches.cooling(SOURCE, NOW) is None
    world.youtube.broken = set()
    assert world.visit().outcome == "captions"
    assert [outcome for outcome, _ in world.log()] == ["transport", "captions"]


@pytest.mark.parametrize("answer", [(500, b"{}"), (200, b"no json"), (200, b"{}"), (200, b"[]")])
def test_an_answer_that_makes_no_sense_is_a_matter_of_transport(world: World, answer: tuple[int, bytes]) -> None:
    world.youtube.players[VIDEO] = answer
    visit = world.visit()
    assert (visit.outcome, visit.files) == ("transport", ())


@pytest.mark.parametrize(
    ("status", "reason", "outcome", "detail"),
    [
        ("LOGIN_REQUIRED", "Private video. Please sign in to verify that you may see it", "private", None),
        ("LOGIN_REQUIRED", "Sign in to confirm your age", "restricted", "age_restricted"),
        ("UNPLAYABLE", "Join this channel to get access to members-only content", "restricted", "members_only"),
        ("UNPLAYABLE", "This video is only available to Music Premium members", "restricted", "premium_only"),
        ("UNPLAYABLE", "This video requires payment to watch", "restricted", "premium_only"),
        ("UNPLAYABLE", "This video contains content from A, who blocked it in your country", "restricted", "country"),
        ("LOGIN_REQUIRED", "Please sign in", "restricted", "login"),
        ("ERROR", "This video has been removed by the uploader", "deleted", None),
        ("ERROR", "Video unavailable", "deleted", None),
        ("ERROR", "This video is no longer available because the account has been terminated", "deleted", None),
        ("UNPLAYABLE", "This content isn't available, try again later", "cooling_down", None),
        ("LIVE_STREAM_OFFLINE", "Premieres in 2 hours", "upcoming", None),
        ("LIVE_STREAM_OFFLINE", "This live event will begin in 3 days", "upcoming", None),
    ],
)
def test_each_reason_that_youtube_gives_has_one_outcome(
    world: World, status: str, reason: str, outcome: str, detail: str | None
) -> None:
    world.youtube.players[VIDEO] = a_player(VIDEO, status, reason)
    visit = world.visit()
    assert visit.outcome == outcome
    if detail is not None:
        assert visit.detail == detail
        assert read_info(visit.files[0]).restriction == detail
    assert "--" not in (visit.detail or "") and "http" not in (visit.detail or "")


def test_a_trailer_is_not_taken_for_the_video_that_has_to_be_bought(world: World) -> None:
    screen = {"errorScreen": {"playerLegacyDesktopYpcTrailerRenderer": {"trailerVideoId": "trailer_001"}}}
    player = a_player(VIDEO, "UNPLAYABLE", "This video requires payment to watch")
    player["playabilityStatus"] |= screen
    world.youtube.players[VIDEO] = player
    visit = world.visit()
    assert (visit.outcome, visit.detail, visit.files) == ("restricted", "premium_only", ())


@pytest.mark.parametrize(
    "harmless",
    [
        "[youtube] No supported JavaScript runtime could be found. Some formats may be missing",
        "[youtube] x: android client https formats require a GVS PO Token which was not provided. They will be skipped "
        "as they may yield HTTP Error 403. You can manually pass one",
        "[youtube] x: Some formats may be missing",
    ],
)
def test_what_yt_dlp_says_of_formats_does_not_hide_that_there_are_no_captions(harmless: str) -> None:
    assert judged([harmless], described=True) == Verdict("no_captions")


def test_the_source_as_a_whole_is_judged_before_the_video() -> None:
    told = [
        "[youtube] x: Video unavailable",
        "[youtube] x: Unable to download API page: HTTP Error 429: Too Many Requests",
    ]
    assert judged(told, described=False).outcome == "cooling_down"


def test_a_detail_names_neither_addresses_nor_advice() -> None:
    told = "refused by 203.0.113.7:443 and 2001:db8:0:1::7 at https://x.example/a?pot=s3. Use --x"
    detail = detail_of(f"ERROR: [youtube] {VIDEO}: {told}") or ""
    assert detail.startswith("refused by … and …")
    assert not any(part in detail for part in ("203.0", "2001", "example", "s3", "--x", VIDEO))


def test_a_rate_limit_that_names_an_hour_is_given_an_hour(world: World) -> None:
    world.youtube.players[VIDEO] = a_player(VIDEO, "UNPLAYABLE", "This content isn't available, try again later")
    world.visit()
    assert world.fetches.cooling(SOURCE, NOW + timedelta(minutes=59)) is not None


def test_a_private_video_without_title_is_kept_as_private_and_keeps_what_was_known(world: World) -> None:
    world.youtube.players[VIDEO] = with_captions(a_player(VIDEO), ("en", False))
    world.visit()
    world.youtube.players[VIDEO] = {"playabilityStatus": {"status": "LOGIN_REQUIRED", "reason": "Private video"}}
    told = read_info(world.visit().files[0])
    assert (told.availability, told.title) == ("private", "What I bought")


@pytest.mark.parametrize(("flag", "outcome"), [("isUpcoming", "upcoming"), ("isLive", "live_now")])
def test_streams_that_are_not_over_are_not_asked_for_captions(world: World, flag: str, outcome: str) -> None:
    live = a_player(VIDEO, isLiveContent=True, **{flag: True})
    world.youtube.players[VIDEO] = with_captions(live, ("en", True))
    visit = world.visit()
    assert visit.outcome == outcome and TIMEDTEXT not in world.youtube.paths()
    assert read_info(visit.files[0]).live_status == ("is_live" if flag == "isLive" else "is_upcoming")


def test_a_stream_that_is_over_is_read_like_a_video(world: World) -> None:
    world.youtube.players[VIDEO] = with_captions(a_player(VIDEO, isLiveContent=True), ("en", True), translated=["en"])
    visit = world.visit()
    assert (visit.outcome, visit.detail) == ("captions", "en-orig.json3")
    assert read_info(visit.files[0]).live_status == "was_live"


def test_tracks_in_other_languages_only_are_no_captions(world: World) -> None:
    world.youtube.players[VIDEO] = with_captions(a_player(VIDEO), ("fr", False), ("ja", False))
    assert world.visit().outcome == "no_captions"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", "po_token_required"),
        (b"<!DOCTYPE html><html>consent</html>", "source_blocked"),
        (b"WEBVTT\n\n", "transport"),
        ((403, b""), "source_blocked"),
        ((404, b""), "transport"),
        ((503, b""), "transport"),
    ],
)
def test_what_is_no_caption_file_is_not_kept_as_one(world: World, body: Any, outcome: str) -> None:
    world.youtube.players[VIDEO] = with_captions(a_player(VIDEO), ("en", False))
    world.youtube.captions = body
    visit = world.visit()
    assert visit.outcome == outcome and [path.name for path in visit.files] == [f"{VIDEO}.info.json"]
    assert [found.kind for found in find([world.folder])] == ["info"]


def test_between_requests_there_is_a_pause_and_none_before_the_first(world: World) -> None:
    for video_id in (VIDEO, "lmnopqrstuv"):
        world.youtube.players[video_id] = with_captions(a_player(video_id), ("en", False))
        world.visit(video_id)
    assert world.slept == [3, 3, 3]


def test_ids_that_could_name_other_files_are_refused_before_anything_is_asked(world: World) -> None:
    for video_id, channel_id in (("../../secret", CHANNEL), (VIDEO, "../channel"), ("short", CHANNEL)):
        with pytest.raises(ValueError, match="no id"):
            world.client.visit(video_id, channel_id, "en")
    with pytest.raises(ValueError, match="no id"):
        world.client.feed("UC&x=1")
    assert world.youtube.asked == []


def test_nothing_is_printed_and_the_log_holds_no_signed_address(
    world: World, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    world.youtube.players[VIDEO] = a_player(VIDEO, "LOGIN_REQUIRED", "Private video at https://x.example/?key=abc123")
    with caplog.at_level(logging.DEBUG, "magpie"):
        world.visit()
    assert capfd.readouterr() == ("", "")
    assert caplog.text and "abc123" not in caplog.text


def test_the_handler_of_a_client_stays_its_own(world: World) -> None:
    before = (dict(_REQUEST_HANDLERS), set(_RH_PREFERENCES))
    world.youtube.players[VIDEO] = with_captions(a_player(VIDEO), ("en", False))
    world.visit()
    assert (dict(_REQUEST_HANDLERS), set(_RH_PREFERENCES)) == before


def test_a_feed_is_read_and_recorded(world: World) -> None:
    world.youtube.feeds[CHANNEL] = a_feed(VIDEO, "lmnopqrstuv", shorts=["lmnopqrstuv"])
    entries = world.client.feed(CHANNEL)
    assert [(entry.video_id, entry.is_short) for entry in entries] == [(VIDEO, False), ("lmnopqrstuv", True)]
    assert world.fetches.of(SOURCE, [CHANNEL], "feed")[CHANNEL][0].outcome == "ok"


@pytest.mark.parametrize("answer", [(404, b"gone"), b"<html/>", b"not xml"])
def test_a_feed_that_cannot_be_read_is_told_in_one_line(world: World, answer: Any) -> None:
    world.youtube.feeds[CHANNEL] = answer
    with pytest.raises(Unanswered, match=f"no feed of channel {CHANNEL}") as caught:
        world.client.feed(CHANNEL)
    assert caught.value.outcome == "transport" and "\n" not in str(caught.value)
    assert world.fetches.of(SOURCE, [CHANNEL], "feed")[CHANNEL][0].outcome == "transport"


def ids(count: int) -> list[str]:
    return [f"video_{number:05}" for number in range(count)]


def test_the_uploads_of_a_channel_are_listed_over_all_pages_or_up_to_a_limit(world: World) -> None:
    world.youtube.uploads = [ids(30)[:20], ids(30)[20:]]
    assert world.client.playlist(CHANNEL) == ids(30)
    assert world.client.playlist(CHANNEL, limit=5) == ids(5)
    asked = [path for path in world.youtube.paths() if path == PLAYER]
    assert asked == [], "a list is no reason to visit its videos"


def test_a_list_that_breaks_off_is_not_taken_for_all_uploads(world: World) -> None:
    world.youtube.uploads = [ids(20), (429, b"<html/>")]
    with pytest.raises(Unanswered) as caught:
        world.client.playlist(CHANNEL)
    assert caught.value.outcome == "cooling_down"


def test_a_channel_without_uploads_that_can_be_listed_is_told(world: World) -> None:
    with pytest.raises(Unanswered):
        world.client.playlist(CHANNEL)


def test_a_poll_keeps_new_entries_and_visits_them_up_to_the_limit(world: World) -> None:
    known, *fresh = ids(4)
    world.youtube.feeds[CHANNEL] = a_feed(known, *fresh)
    for video_id in fresh:
        world.youtube.players[video_id] = with_captions(a_player(video_id), ("en", False))
    poll = world.client.poll({CHANNEL: "en"}, [known], 2)
    assert [entry.video_id for entry in poll.entries] == fresh
    assert [(visit.video_id, visit.outcome) for visit in poll.visits] == [(one, "captions") for one in fresh[:2]]
    assert (poll.left, poll.problems, poll.stopped) == ((fresh[2],), (), None)
    kept = read_info(world.folder / CHANNEL / f"{fresh[2]}.rss.json")
    assert (kept.source, kept.published_at, kept.date_precision) == ("rss", PUBLISHED - timedelta(hours=3), "second")
    assert not (world.folder / CHANNEL / f"{known}.rss.json").exists()


def test_a_poll_leaves_out_what_is_not_wanted(world: World) -> None:
    first, second = ids(2)
    world.youtube.feeds[CHANNEL] = a_feed(first, second, shorts=[first])
    world.youtube.players[second] = a_player(second)
    poll = world.client.poll({CHANNEL: "en"}, [], 9, wanted=lambda entry: not entry.is_short)
    assert [visit.video_id for visit in poll.visits] == [second] and len(find([world.folder])) == 2


def test_a_poll_passes_over_a_channel_whose_feed_is_gone(world: World) -> None:
    other = CHANNEL[:-1] + "X"
    world.youtube.feeds[other] = a_feed(VIDEO, channel_id=other)
    world.youtube.players[VIDEO] = a_player(VIDEO)
    poll = world.client.poll({CHANNEL: "en", other: "en"}, [], 9)
    assert len(poll.problems) == 1 and CHANNEL in poll.problems[0]
    assert [visit.outcome for visit in poll.visits] == ["no_captions"] and poll.stopped is None


def test_a_poll_ends_at_the_first_refusal_of_the_source_and_says_what_is_left(world: World) -> None:
    first, second, third = ids(3)
    world.youtube.feeds[CHANNEL] = a_feed(first, second, third)
    world.youtube.players[first] = a_player(first)
    world.youtube.players[second] = a_player(second, "LOGIN_REQUIRED", "Sign in to confirm you’re not a bot")
    poll = world.client.poll({CHANNEL: "en"}, [], 9)
    assert [visit.outcome for visit in poll.visits] == ["no_captions", "source_blocked"]
    assert (poll.stopped, poll.left) == ("source_blocked", (third,))
    later = world.client.poll({CHANNEL: "en"}, [], 9)
    assert (later.stopped, later.visits, len(later.problems)) == ("source_blocked", (), 1)

"""The live YouTube client: what it finds becomes files that read like any other archive.

Belongs here: asking for feeds, lists of uploads and videos, one after the other, and recording what came of it. Does
not belong here: yt-dlp (`youtube_dlp.py`), what is in a file (`youtube_info.py`, `captions.py`), and when a video is
asked about again (the product).
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magpie.errors import UserError
from magpie.fetches import Fetch, Fetches
from magpie.sources import captions, youtube_feed
from magpie.sources.caption_tracks import choose_track
from magpie.sources.whole_file import write_whole
from magpie.sources.youtube_feed import BadFeed, FeedEntry, read_feed, write_feed_entry
from magpie.sources.youtube_files import INFO_ENDING, VIDEO_ID
from magpie.sources.youtube_info import CHANNEL_ID, RESTRICTION_KEY
from magpie.sources.youtube_results import Offered, kept, offered, spoken
from magpie.sources.youtube_verdicts import WHOLE_SOURCE, Outcome, Refused, Verdict

if TYPE_CHECKING:
    from yt_dlp.networking import RequestHandler  # type: ignore[import-untyped]

    from magpie.sources.youtube_dlp import Session

# In the log of fetches.
SOURCE = "youtube"
VISIT, FEED, UPLOADS = "visit", "feed", "uploads"

# Seconds between requests; yt-dlp's own preset for polite use has this pause for captions.
PAUSE_S = 5.0
# After 429 a minute of silence is reported to be enough; where YouTube names a time, it says up to an hour.
REST = timedelta(seconds=60)
LONG_REST = timedelta(hours=1)
_FIRST_BYTES = {"json3": b"{", "srv3": b"<", "vtt": b"WEBVTT", "srt": b""}


@dataclass(frozen=True)
class Visit:
    """What became of asking about one video.

    Attributes:
        detail: one line; of `restricted` the restriction, of `captions` the track.
        files: those written, first the info.json.
    """

    video_id: str
    outcome: Outcome
    detail: str | None
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Poll:
    """What a look at some channels found.

    Attributes:
        entries: of the feeds, those that were not known and wanted, in the order of channels and feeds.
        visits: in that order too.
        left: new ids that were not visited for the limit or because the source refused.
        problems: one line for each channel whose feed could not be read.
        stopped: the refusal that ended the poll early, None if nothing did.
    """

    entries: tuple[FeedEntry, ...]
    visits: tuple[Visit, ...]
    left: tuple[str, ...]
    problems: tuple[str, ...]
    stopped: Outcome | None


class Unanswered(UserError):
    """A feed or list that YouTube did not give; `outcome` is the word for why."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


def everything(_: FeedEntry) -> bool:
    return True


class YouTube:
    """Asks YouTube without an account, one request at a time.

    Args:
        folder: gets a folder per channel.
        clock: the time, with a zone.
        sleep: waits for seconds.
        params: options of yt-dlp (proxy, extractor_args ...); `sleep_interval` is the pause between requests.
        handlers: make the requests instead of yt-dlp's own.
    """

    def __init__(
        self,
        folder: Path,
        fetches: Fetches,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        params: Mapping[str, Any] | None = None,
        handlers: "Sequence[type[RequestHandler]]" = (),
    ) -> None:
        given = dict(params or {})
        self._pause_s = float(given.pop("sleep_interval", PAUSE_S))
        self._params = given
        self._folder, self._fetches, self._handlers = folder, fetches, handlers
        self._clock, self._sleep = clock, sleep
        self._asked = False

    def feed(self, channel_id: str) -> list[FeedEntry]:
        """Return the entries of a channel's feed, the newest first.

        Raises:
            Unanswered: it could not be read, or the source rests.
        """
        url = f"https://www.youtube.com/feeds/videos.xml?channel_id={_checked(channel_id, CHANNEL_ID)}"
        with self._answering(channel_id, FEED) as session:
            body = session.get(url, youtube_feed.MAX_BYTES)
            try:
                return read_feed(body)
            except BadFeed as error:
                raise Refused(Verdict("transport", detail=str(error))) from None

    def playlist(self, channel_id: str, *, limit: int | None = None) -> list[str]:
        """Return the ids of a channel's uploads, the newest first, at most `limit`; all of them or none.

        Raises:
            Unanswered: the list could not be read to its end, or the source rests.
        """
        _checked(channel_id, CHANNEL_ID)
        with self._answering(channel_id, UPLOADS) as session:
            return [video_id for video_id in session.uploads(channel_id, limit) if VIDEO_ID.fullmatch(video_id)]

    @contextmanager
    def _answering(self, channel_id: str, kind: str) -> "Iterator[Session]":
        """A session for one question about a channel; a refusal becomes `Unanswered`, and both ends are recorded."""
        rest = self._fetches.cooling(SOURCE, self._clock())
        if rest is not None:
            raise Unanswered(_outcome(rest.reason), f"YouTube refused ({rest.reason}) and rests until {rest.until}")
        try:
            with self._session() as session:
                yield session
        except Refused as refusal:
            # A list is no video: what would be said of one here means that there is no list.
            outcome = refusal.verdict.outcome if refusal.verdict.outcome != "no_captions" else "transport"
            self._record(channel_id, kind, outcome, refusal.verdict.detail)
            said = refusal.verdict.detail or outcome
            raise Unanswered(outcome, f"YouTube gave no {kind} of channel {channel_id}: {said}") from None
        self._record(channel_id, kind, "ok", None)

    def visit(self, video_id: str, channel_id: str, language: str | None) -> Visit:
        """Ask about one video and fetch the one caption track that is read.

        Args:
            language: what is spoken on the channel; it counts where YouTube recognised no language.

        While the source rests nothing is asked and nothing recorded.

        Raises:
            UserError: a file or the log cannot be written.
        """
        _checked(video_id, VIDEO_ID)
        _checked(channel_id, CHANNEL_ID)
        rest = self._fetches.cooling(SOURCE, self._clock())
        if rest is not None:
            return Visit(video_id, _outcome(rest.reason), f"rests until {rest.until:%Y-%m-%dT%H:%M:%SZ}", ())
        folder, files = self._folder / channel_id, []
        try:
            with self._session() as session:
                found = session.video(video_id)
                found["channel_id"] = found.get("channel_id") or channel_id
                verdict, tracks = _judged(session, found)
                if found.get("title") or verdict.outcome in ("restricted", "private"):
                    files.append(self._write_info(session, folder, found, tracks, verdict))
                chosen = _chosen(tracks, language) if verdict.outcome == "captions" else None
                if chosen is not None:
                    files.append(self._write_captions(session, folder, video_id, chosen))
                    verdict = Verdict("captions", detail=f"{chosen.track.name}.{chosen.track.format}")
                elif verdict.outcome == "captions":
                    verdict = session.verdict(described=True)
        except Refused as refusal:
            verdict = refusal.verdict
        detail = verdict.restriction or verdict.detail
        self._record(video_id, VISIT, verdict.outcome, detail)
        return Visit(video_id, verdict.outcome, detail, tuple(files))

    def poll(
        self,
        channels: Mapping[str, str | None],
        known: Collection[str],
        limit: int,
        wanted: Callable[[FeedEntry], bool] = everything,
    ) -> Poll:
        """Read the feeds of channels, keep the entries that are new, and visit their videos.

        Args:
            channels: channel id -> language.
            known: ids that are not new.
            limit: visits at most.
            wanted: whether a new entry is worth keeping.

        A channel without a feed is passed over; a refusal of the source as a whole ends the poll.
        """
        entries: list[FeedEntry] = []
        problems: list[str] = []
        waiting: list[tuple[str, str]] = []
        stopped: Outcome | None = None
        for channel_id in channels:
            try:
                found = self.feed(channel_id)
            except Unanswered as error:
                problems.append(str(error))
                if error.outcome in WHOLE_SOURCE:
                    stopped = error.outcome
                    break
                continue
            taken = {*known, *(video_id for _, video_id in waiting)}
            fresh = [entry for entry in found if entry.video_id not in taken and wanted(entry)]
            for entry in fresh:
                write_feed_entry(self._folder / channel_id, entry, channel_id, self._clock())
            entries += fresh
            waiting += [(channel_id, entry.video_id) for entry in fresh]
        visits: list[Visit] = []
        while waiting and len(visits) < limit and stopped is None:
            channel_id, video_id = waiting.pop(0)
            visits.append(self.visit(video_id, channel_id, channels[channel_id]))
            stopped = visits[-1].outcome if visits[-1].outcome in WHOLE_SOURCE else None
        left = tuple(video_id for _, video_id in waiting)
        return Poll(tuple(entries), tuple(visits), left, tuple(problems), stopped)

    @contextmanager
    def _session(self) -> "Iterator[Session]":
        from magpie.sources.youtube_dlp import opened

        self._wait()
        with opened(self._params, self._handlers) as session:
            yield session

    def _wait(self) -> None:
        """Keep the pause, but not before the first request."""
        if self._asked:
            self._sleep(self._pause_s)
        self._asked = True

    def _record(self, item: str, kind: str, outcome: str, detail: str | None) -> None:
        now = self._clock()
        self._fetches.record([Fetch(SOURCE, item, kind, now, outcome, detail)])
        if outcome in WHOLE_SOURCE:
            long = outcome == "source_blocked" or "up to an hour" in (detail or "")
            self._fetches.cool(SOURCE, now + (LONG_REST if long else REST), outcome, detail)

    def _write_info(
        self,
        session: "Session",
        folder: Path,
        found: Mapping[str, Any],
        tracks: Sequence[Offered],
        verdict: Verdict,
    ) -> Path:
        """Write the info.json; what an earlier one knew and this answer does not say stays."""
        path = folder / f"{found['id']}{INFO_ENDING}"
        fresh = session.plain(kept(found, tracks, verdict)) | {"epoch": int(self._clock().timestamp())}
        # What was refused then may be open now.
        earlier = {
            name: value for name, value in _earlier(path).items() if name not in ("availability", RESTRICTION_KEY)
        }
        held = earlier | {name: value for name, value in fresh.items() if value is not None}
        return write_whole(path, json.dumps(held, ensure_ascii=True, separators=(",", ":")).encode())

    def _write_captions(self, session: "Session", folder: Path, video_id: str, chosen: Offered) -> Path:
        self._wait()
        body = session.get(chosen.url, captions.MAX_BYTES, impersonate=True)
        form = chosen.track.format
        if not body.strip():
            # How YouTube answers where it wants a proof of origin that the address does not carry.
            raise Refused(Verdict("po_token_required", detail="the caption file came empty"))
        start = body.lstrip(b"\xef\xbb\xbf \r\n\t")
        if start[:20].lower().startswith((b"<!doctype html", b"<html")):
            raise Refused(Verdict("source_blocked", detail="a web page came in place of captions"))
        if not start.startswith(_FIRST_BYTES[form]) or len(body) > captions.MAX_BYTES:
            raise Refused(Verdict("transport", detail=f"what came is no {form} file"))
        return write_whole(folder / f"{video_id}.{chosen.track.name}.{form}", body)


def _judged(session: "Session", found: Mapping[str, Any]) -> tuple[Verdict, list[Offered]]:
    """Say what a description promises: `captions` where tracks may be chosen from."""
    tracks = offered(found)
    if found.get("live_status") == "is_upcoming":
        return Verdict("upcoming"), tracks
    if found.get("live_status") == "is_live":
        return Verdict("live_now"), tracks
    if tracks:
        return Verdict("captions"), tracks
    return session.verdict(described=bool(found.get("title"))), tracks


def _chosen(tracks: Sequence[Offered], language: str | None) -> Offered | None:
    chosen = choose_track([item.track for item in tracks], spoken(tracks) or language)
    return next((item for item in tracks if item.track == chosen), None)


def _outcome(reason: str) -> Outcome:
    return "source_blocked" if reason == "source_blocked" else "cooling_down"


def _earlier(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}  # nothing yet, or nothing that could be read: it is written anew
    return held if isinstance(held, dict) else {}


def _checked(value: str, shape: Any) -> str:
    """Refuse an id that could name another file or address."""
    if not shape.fullmatch(value):
        raise ValueError(f"{value[:60]!r} is no id of YouTube's")
    return value

"""yt-dlp as Magpie asks it.

Belongs here: its options and errors. Does not belong here: what its messages mean (`youtube_verdicts.py`), what its
results hold (`youtube_results.py`), and when it is asked about what (`youtube_live.py`).

Importing yt-dlp takes a noticeable part of a second, so this module is imported only by what asks YouTube.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from yt_dlp import YoutubeDL  # type: ignore[import-untyped]
from yt_dlp.extractor.youtube import YoutubeIE, YoutubeTabIE  # type: ignore[import-untyped]
from yt_dlp.networking import Request, RequestHandler  # type: ignore[import-untyped]
from yt_dlp.networking.exceptions import HTTPError, RequestError  # type: ignore[import-untyped]
from yt_dlp.networking.impersonate import ImpersonateTarget  # type: ignore[import-untyped]
from yt_dlp.utils import YoutubeDLError  # type: ignore[import-untyped]

from magpie.fetches import plain_detail
from magpie.sources.youtube_verdicts import Refused, Verdict, detail_of, judged, of_status

log = logging.getLogger(__name__)

SOCKET_SECONDS = 30
# Once again after a connection that broke; the rows that wait come back anyway.
RETRIES = 1
# Of an answer about one video some hundred lines are enough to judge by.
MAX_MESSAGES = 200
# What yt-dlp reads beside text: machine translations are never wanted, manifests and players serve formats only, and
# each request that is not made is one less towards being refused.
YOUTUBE_ARGS = {"skip": ["translated_subs", "hls", "dash"], "player_skip": ["js"]}


class Messages:
    """The logger that yt-dlp is given: warnings and errors are kept to judge by, nothing is printed."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def debug(self, message: str) -> None:
        log.debug("%s", plain_detail(message))

    info = debug

    def warning(self, message: str) -> None:
        self.debug(message)
        if len(self.kept) < MAX_MESSAGES:
            self.kept.append(message)

    error = warning


class Session:
    """yt-dlp open for one question; it reports some warnings only once in its life, so the next question gets another.

    Use `opened`.
    """

    def __init__(self, client: YoutubeDL, messages: Messages) -> None:
        self._client = client
        self._messages = messages

    def video(self, video_id: str) -> dict[str, Any]:
        """Return yt-dlp's raw description of a video, formats included.

        Raises:
            Refused: there is none. Of a video that YouTube does not show a description without title may come.
        """
        url = f"https://www.youtube.com/watch?v={video_id}"
        found = self._client.extract_info(url, download=False, process=False, ie_key="Youtube")
        # A trailer in place of a video that has to be bought comes as the address of another.
        if isinstance(found, dict) and found.get("_type", "video") != "video":
            raise Refused(Verdict("restricted", "premium_only", "a trailer is shown in its place"))
        if not isinstance(found, dict) or found.get("id") != video_id:
            raise Refused(self.verdict(described=False))
        return found

    def uploads(self, channel_id: str, limit: int | None) -> list[str]:
        """Return the ids of a channel's uploads, the newest first.

        Raises:
            Refused: the list could not be read to its end.
        """
        # A channel's uploads are a playlist with the channel's id, UU in place of UC.
        url = f"https://www.youtube.com/playlist?list=UU{channel_id[2:]}"
        self._client.params |= {"extract_flat": True, "playlistend": limit}
        found = self._client.extract_info(url, download=False, ie_key="YoutubeTab")
        entries = found.get("entries") if isinstance(found, dict) else None
        verdict = self.verdict(described=isinstance(entries, list))
        if not isinstance(entries, list) or verdict.outcome != "no_captions":
            raise Refused(verdict)
        return [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]

    def get(self, url: str, most: int, *, impersonate: bool = False) -> bytes:
        """Return at most `most` + 1 bytes of what an address holds.

        Args:
            impersonate: look like a browser where a library for that is installed.

        Raises:
            Refused: it could not be read.
        """
        try:
            with self._opened(url, impersonate) as response:
                return bytes(response.read(most + 1))
        except HTTPError as error:
            with error.response:
                raise Refused(of_status(error.status)) from None
        except RequestError as error:
            raise Refused(Verdict("transport", detail=detail_of(str(error.cause or error)))) from None

    def _opened(self, url: str, impersonate: bool) -> Any:
        if impersonate:
            try:
                return self._client.urlopen(Request(url, extensions={"impersonate": ImpersonateTarget()}))
            except RequestError as error:
                # Without that library no handler takes the request, which then was not made.
                if "impersonate" not in str(error).lower():
                    raise
        return self._client.urlopen(Request(url))

    def verdict(self, *, described: bool) -> Verdict:
        """Judge the messages so far (`judged`)."""
        return judged(self._messages.kept, described=described)

    def plain(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return a description in types that JSON has."""
        return dict(self._client.sanitize_info(dict(value)))


@contextmanager
def opened(params: Mapping[str, Any], handlers: Sequence[type[RequestHandler]]) -> Iterator[Session]:
    """Open yt-dlp.

    Args:
        params: options of yt-dlp over those set here; `extractor_args` by extractor and name.
        handlers: these alone make requests, if any are given.
    """
    messages = Messages()
    args = {"youtube": dict(YOUTUBE_ARGS)}
    for extractor, given in params.get("extractor_args", {}).items():
        args[extractor] = args.get(extractor, {}) | given
    options = {
        "socket_timeout": SOCKET_SECONDS,
        "extractor_retries": RETRIES,
        **params,
        "extractor_args": args,
        "logger": messages,
        "quiet": True,
        "noprogress": True,
        "color": "never",
        "cachedir": False,
        "noplaylist": True,
        # What goes wrong is told to the logger; without formats there still is a description.
        "ignoreerrors": True,
        "ignore_no_formats_error": True,
        # Nothing is downloaded without being asked for; these make yt-dlp tell about tracks it has to pass over.
        "writesubtitles": True,
        "writeautomaticsub": True,
    }
    chosen = list(handlers)

    class Client(YoutubeDL):
        def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
            return super().build_request_director(chosen or handlers, preferences)

    # Two extractors out of some 1800.
    with Client(options, auto_init=False) as client:
        for extractor in (YoutubeIE, YoutubeTabIE):
            client.add_info_extractor(extractor())
        try:
            yield Session(client, messages)
        except YoutubeDLError as error:
            raise Refused(Verdict("transport", detail=detail_of(str(error)))) from None

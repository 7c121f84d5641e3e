"""A YouTube that yt-dlp's own extractors and network code talk to, without a network.

Belongs here: answers to the addresses that Magpie's client asks, in YouTube's shapes. Does not belong here: tests.

The handler is given to one client and registered nowhere, so no other test can meet it.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlparse

from yt_dlp.networking import Request, RequestHandler, Response
from yt_dlp.networking.exceptions import HTTPError, TransportError

CHANNEL = "UC0123456789abcdefghijkl"
PUBLISHED = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
# One client and no web pages: what is recorded is the answer to this question.
PARAMS: Mapping[str, Any] = {
    "extractor_args": {
        "youtube": {"player_client": ["android"], "player_skip": ["webpage", "configs", "js", "initial_data"]},
        "youtubetab": {"skip": ["webpage"]},
    },
    "sleep_interval": 3,
}
CAPTIONS = {
    "json3": {"events": [{"tStartMs": 0, "dDurationMs": 900, "segs": [{"utf8": "we add a little more today"}]}]},
}

Answer = tuple[int, bytes]


class FakeYouTube:
    """Answers by path; what is not set is not found.

    Attributes:
        asked: (path, parameters of the address) of each request, in order.
        players: video id -> answer of the player, or an answer with a status.
        pages: video id -> page or an answer with a status, for a client that reads pages.
        captions: body of every caption file, or an answer with a status.
        feeds: channel id -> feed, or an answer with a status.
        uploads: pages of ids, of the one list of uploads, or answers with a status.
        broken: paths that no connection reaches.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.players: dict[str, Mapping[str, Any] | Answer] = {}
        self.pages: dict[str, bytes | Answer] = {}
        self.captions: bytes | Answer = json.dumps(CAPTIONS["json3"]).encode()
        self.feeds: dict[str, bytes | Answer] = {}
        self.uploads: list[list[str] | Answer] = []
        self.broken: set[str] = set()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def handler(self) -> type[RequestHandler]:
        youtube = self

        class FakeYouTubeRH(RequestHandler):
            _SUPPORTED_URL_SCHEMES = ("https",)
            _SUPPORTED_PROXY_SCHEMES = None
            _SUPPORTED_FEATURES = None

            def _send(self, request: Request) -> Response:
                return youtube.answer(request)

        return FakeYouTubeRH

    def answer(self, request: Request) -> Response:
        address = urlparse(request.url)
        self.asked.append((address.path, parse_qs(address.query)))
        if address.path in self.broken:
            raise TransportError("[Errno 111] Connection refused by 203.0.113.7:443")
        told = self._told(address.path, self.asked[-1][1], json.loads(request.data) if request.data else {})
        status, body = told if isinstance(told, tuple) else (200, told)
        response = Response(io.BytesIO(body), request.url, {"Content-Type": "application/json"}, status)
        if status >= 400:
            raise HTTPError(response)
        return response

    def _told(self, path: str, query: Mapping[str, list[str]], body: Mapping[str, Any]) -> bytes | Answer:
        missing: Answer = (404, b"not found")
        routes: dict[str, Callable[[], Any]] = {
            "/youtubei/v1/player": lambda: self.players.get(body["videoId"], missing),
            "/watch": lambda: self.pages.get(query["v"][0], missing),
            "/api/timedtext": lambda: self.captions,
            "/feeds/videos.xml": lambda: self.feeds.get(query["channel_id"][0], missing),
            "/youtubei/v1/navigation/resolve_url": lambda: {"endpoint": {"browseEndpoint": {"browseId": "VLUU"}}},
            "/youtubei/v1/browse": lambda: self._page(int(body.get("continuation", 0))),
        }
        told = routes[path]() if path in routes else missing
        return json.dumps(told).encode() if isinstance(told, Mapping) else told

    def _page(self, number: int) -> Mapping[str, Any] | Answer:
        if number >= len(self.uploads):
            return (404, b"not found")
        page = self.uploads[number]
        if isinstance(page, tuple):
            return page
        items: list[dict[str, Any]] = [
            {"playlistVideoRenderer": {"videoId": video_id, "title": {"runs": [{"text": f"Video {video_id}"}]}}}
            for video_id in page
        ]
        if number + 1 < len(self.uploads):
            command = {"continuationCommand": {"token": str(number + 1), "request": "CONTINUATION_REQUEST_TYPE_BROWSE"}}
            items.append({"continuationItemRenderer": {"continuationEndpoint": command}})
        if number:
            return {"onResponseReceivedActions": [{"appendContinuationItemsAction": {"continuationItems": items}}]}
        videos = {"itemSectionRenderer": {"contents": [{"playlistVideoListRenderer": {"contents": items}}]}}
        tab = {"tabRenderer": {"selected": True, "content": {"sectionListRenderer": {"contents": [videos]}}}}
        return {"contents": {"twoColumnBrowseResultsRenderer": {"tabs": [tab]}}}


def a_player(video_id: str, status: str = "OK", reason: str | None = None, **details: Any) -> dict[str, Any]:
    """The player's answer about a video without formats and captions; `details` go into its video details."""
    facts = {"videoId": video_id, "title": "What I bought", "lengthSeconds": "600", "channelId": CHANNEL}
    facts |= {"isLiveContent": False, "isPrivate": False, "viewCount": "7", **details}
    said: dict[str, Any] = {"status": status} | ({"reason": reason} if reason else {})
    return {"playabilityStatus": said, "videoDetails": facts, "streamingData": {"formats": []}}


def a_page(player: Mapping[str, Any]) -> bytes:
    """The page of a video, which holds the web client's answer of the player and little else."""
    initial = {"contents": {"twoColumnWatchNextResults": {}}}
    held = f"var ytInitialPlayerResponse = {json.dumps(player)};var ytInitialData = {json.dumps(initial)};"
    return f"<!DOCTYPE html><html><body><script>{held}</script></body></html>".encode()


def with_captions(player: dict[str, Any], *tracks: tuple[str, bool], translated: Iterable[str] = ()) -> dict[str, Any]:
    """Add caption tracks (language, automatic) to a player's answer, and languages that it could translate to."""
    video_id = player["videoDetails"]["videoId"]
    listed = [
        {
            "baseUrl": f"https://www.youtube.com/api/timedtext?v={video_id}&lang={lang}" + ("&kind=asr" * automatic),
            "name": {"runs": [{"text": lang}]},
            "vssId": f"{'a' * automatic}.{lang}",
            "languageCode": lang,
            "isTranslatable": True,
        }
        | ({"kind": "asr"} if automatic else {})
        for lang, automatic in tracks
    ]
    others = [{"languageCode": lang, "languageName": {"runs": [{"text": lang}]}} for lang in translated]
    renderer = {"captionTracks": listed, "translationLanguages": others}
    return player | {"captions": {"playerCaptionsTracklistRenderer": renderer}}


def a_feed(*video_ids: str, channel_id: str = CHANNEL, shorts: Iterable[str] = (), titles: str = "Video") -> bytes:
    """A channel's feed, the newest first: the first was published at `PUBLISHED`, each other an hour earlier."""
    entries = "".join(
        f"""
 <entry>
  <id>yt:video:{video_id}</id>
  <yt:videoId>{video_id}</yt:videoId>
  <yt:channelId>{channel_id}</yt:channelId>
  <title>{titles} {number}</title>
  <link rel="alternate" href="https://www.youtube.com/{"shorts/" if video_id in shorts else "watch?v="}{video_id}"/>
  <author><name>Some channel</name><uri>https://www.youtube.com/channel/{channel_id}</uri></author>
  <published>{(PUBLISHED - timedelta(hours=number)).isoformat()}</published>
  <updated>{PUBLISHED.isoformat()}</updated>
  <media:group>
   <media:title>{titles} {number}</media:title>
   <media:description>About &amp; around {number}</media:description>
   <media:community>
    <media:starRating count="3" average="5.00" min="1" max="5"/>
    <media:statistics views="{100 + number}"/>
   </media:community>
  </media:group>
 </entry>"""
        for number, video_id in enumerate(video_ids)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns:yt="http://www.youtube.com/xml/schemas/2015" xmlns:media="http://search.yahoo.com/mrss/"
 xmlns="http://www.w3.org/2005/Atom">
 <id>yt:channel:{channel_id}</id>
 <title>Some channel</title>{entries}
</feed>""".encode()

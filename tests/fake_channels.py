"""Channels of Telegram, VK and Instagram on loopback, with the media they show, and ways to misbehave.

Belongs here: the wire formats as the platforms speak them, with posts of our own. Does not belong here: what a test
expects of a client. It speaks HTTP from threads of its own and stops with its context.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.loopback import Loopback

BEGIN = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
# A picture of one grey pixel.
GIF = bytes.fromhex("47494638396101000100800000808080ffffff2c00000000010001000002024401003b")
TELEGRAM_PAGE, HIKER_PAGE = 20, 12
TOKEN, KEY = "token-of-the-tests", "key-of-the-tests"


@dataclass
class Fault:
    """What happens instead of an answer to the next `times` requests whose path begins with `path`.

    Attributes:
        drip: send the body byte by byte and never end.
        cut: send the headers, half of the body, and hang up.
    """

    path: str
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    drip: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Request:
    """One request as it arrived; names of headers in lower case."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass
class FakeChannels(Loopback):
    """The server and what it knows; use as a context manager.

    Attributes:
        posts: platform -> name -> numbers of the posts there are.
        media: path -> body; what is not there is gone.
        texts: (platform, number) -> text.
        albums: numbers of posts with two pictures.
        pinned: number of the post that stands first on VK's and Instagram's pages.
        faults: looked through in order.
        requests: those that came.
    """

    posts: dict[str, dict[str, list[int]]] = field(default_factory=lambda: {"telegram": {}, "vk": {}, "instagram": {}})
    media: dict[str, bytes] = field(default_factory=dict)
    texts: dict[tuple[str, int], str] = field(default_factory=dict)
    albums: set[int] = field(default_factory=set)
    pinned: int | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        Loopback.__init__(self, _handler(self))

    @property
    def bases(self) -> dict[str, str]:
        return dict.fromkeys(("telegram", "vk", "instagram"), self.url)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        super().__exit__()

    def add(self, platform: str, name: str, numbers: range | list[int]) -> None:
        """Let a channel have these posts, each with one picture."""
        self.posts[platform].setdefault(name, []).extend(numbers)
        for number in numbers:
            for ord in range(2):
                self.media[f"/media/{platform}/{number}-{ord}.gif"] = GIF + bytes(str((platform, number, ord)), "ascii")

    def asked(self, path: str = "/") -> list[Request]:
        return [request for request in self.requests if request.path.startswith(path)]

    def fault(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and path.startswith(fault.path):
                    fault.times -= 1
                    return fault
        return None

    def wait(self) -> bool:
        """Whether the server is over, after the pause between two bytes of a body that drips."""
        return self._over.wait(0.02)

    def answer(self, request: Request) -> Fault:
        parts = request.path.strip("/").split("/")
        if request.path in self.media:
            return Fault("", 200, self.media[request.path], {"Content-Type": "image/gif"})
        if parts[0] == "s" and len(parts) == 2:
            return self._telegram(parts[1], request.params)
        if request.path == "/method/wall.get":
            return _json(self._vk(request.params))
        if parts[0] == "v2":
            return self._hiker(parts[1:], request)
        if len(parts) == 1 and parts[0]:
            return Fault("", 200, _page(f'<div class="tgme_page"><a>@{escape(parts[0])}</a></div>'))
        return Fault("", 404, b"gone")

    def _pictures(self, platform: str, number: int) -> list[str]:
        return [f"{self.url}/media/{platform}/{number}-{ord}.gif" for ord in range(1 + (number in self.albums))]

    def _text(self, platform: str, number: int) -> str:
        return self.texts.get((platform, number), f"when build {number} passes")

    def _telegram(self, name: str, params: Mapping[str, str]) -> Fault:
        if name not in self.posts["telegram"]:
            return Fault("", 302, headers={"Location": f"/{name}"})
        before = int(params.get("before", 10**9))
        numbers = sorted(number for number in self.posts["telegram"][name] if number < before)[-TELEGRAM_PAGE:]
        shown = "".join(self._message(name, number) for number in numbers)
        return Fault("", 200, _page(f'<section class="tgme_channel_history js-message_history">{shown}</section>'))

    def _message(self, name: str, number: int) -> str:
        photos = "".join(
            f'<a class="tgme_widget_message_photo_wrap" href="https://t.me/{name}/{number}"'
            f""" style="width:640px;background-image:url('{url}')"></a>"""
            for url in self._pictures("telegram", number)
        )
        if number in self.albums:
            photos = f'<div class="tgme_widget_message_grouped_wrap js-message_grouped_wrap">{photos}</div>'
        return (
            '<div class="tgme_widget_message_wrap js-widget_message_wrap">'
            f'<div class="tgme_widget_message js-widget_message" data-post="{name}/{number}">'
            f'<div class="tgme_widget_message_bubble">{photos}'
            f'<div class="tgme_widget_message_text js-message_text">{escape(self._text("telegram", number))}</div>'
            '<div class="tgme_widget_message_footer"><div class="tgme_widget_message_info">'
            '<span class="tgme_widget_message_views">1.2K</span><span class="tgme_widget_message_meta">'
            f'<a class="tgme_widget_message_date" href="https://t.me/{name}/{number}">'
            f'<time datetime="{moment_of(number).isoformat()}" class="time">12:00</time></a></span></div></div>'
            "</div></div></div>"
        )

    def _newest_first(self, platform: str, name: str) -> list[int]:
        numbers = sorted(self.posts[platform][name], reverse=True)
        return sorted(numbers, key=lambda number: number != self.pinned)

    def _vk(self, params: Mapping[str, str]) -> Any:
        if params.get("access_token") != TOKEN:
            return vk_error(5, "User authorization failed: invalid access_token.")
        name = params.get("domain") or params.get("owner_id", "")
        if params.get("v") is None:
            return vk_error(100, "One of the parameters specified was missing or invalid: v is required")
        if name not in self.posts["vk"]:
            return vk_error(15, "Access denied: wall is disabled")
        offset, count = int(params["offset"]), int(params["count"])
        numbers = self._newest_first("vk", name)
        items = [self._wall_post(number) for number in numbers[offset : offset + count]]
        return {"response": {"count": len(numbers), "items": items}}

    def _wall_post(self, number: int) -> dict[str, Any]:
        photos = [
            {
                "type": "photo",
                "photo": {
                    "id": number,
                    "owner_id": -7,
                    "date": int(moment_of(number).timestamp()),
                    "sizes": [
                        {"type": "s", "width": 75, "height": 75, "url": f"{self.url}/media/vk/small.gif"},
                        {"type": "x", "width": 604, "height": 604, "url": url},
                    ],
                },
            }
            for url in self._pictures("vk", number)
        ]
        return {
            "id": number,
            "from_id": -7,
            "owner_id": -7,
            "date": int(moment_of(number).timestamp()),
            "marked_as_ads": 0,
            "post_type": "post",
            "text": self._text("vk", number),
            "is_pinned": int(number == self.pinned),
            "attachments": photos,
            "comments": {"count": 1},
            "likes": {"count": 5},
            "reposts": {"count": 2},
            "views": {"count": 1000},
        }

    def _hiker(self, path: list[str], request: Request) -> Fault:
        if request.headers.get("x-access-key") != KEY:
            return _json({"detail": "Invalid access key"}, 401)
        names = sorted(self.posts["instagram"])
        if path == ["user", "by", "username"]:
            name = request.params["username"]
            if name not in names:
                return _json({"detail": "Target user not found", "exc_type": "UserNotFound"}, 404)
            return _json({"user": {"pk": str(1000 + names.index(name)), "username": name}, "status": "ok"})
        name = names[int(request.params["user_id"]) - 1000]
        start = int(request.params.get("page_id", "0"))
        numbers = self._newest_first("instagram", name)
        items = [self._item(number) for number in numbers[start : start + HIKER_PAGE]]
        after = str(start + HIKER_PAGE) if start + HIKER_PAGE < len(numbers) else None
        return _json({"response": {"status": "ok", "items": items}, "next_page_id": after})

    def _item(self, number: int) -> dict[str, Any]:
        large = {"width": 1080, "height": 1080, "url": self._pictures("instagram", number)[0]}
        small = {"width": 240, "height": 240, "url": f"{self.url}/media/instagram/small.gif"}
        return {
            "pk": str(number),
            "id": f"{number}_1000",
            "code": f"C{number}",
            "taken_at": int(moment_of(number).timestamp()),
            "media_type": 1,
            "product_type": "feed",
            "caption": {"text": self._text("instagram", number)},
            "like_count": 9,
            "comment_count": 1,
            "original_width": 1080,
            "original_height": 1080,
            "image_versions2": {"candidates": [large, small]},
        }


def moment_of(number: int) -> datetime:
    """When a post of this number came out: each an hour after the one before."""
    return BEGIN + timedelta(hours=number)


def vk_error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"error_code": code, "error_msg": message, "request_params": []}}


def _json(told: Any, status: int = 200) -> Fault:
    return Fault("", status, json.dumps(told).encode(), {"Content-Type": "application/json; charset=utf-8"})


def _page(body: str) -> bytes:
    return f"<!DOCTYPE html><html><head><title>Telegram</title></head><body>{body}</body></html>".encode()


def _handler(fake: FakeChannels) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(address.path, dict(parse_qsl(address.query)), headers)
            fake.requests.append(request)
            told = fake.fault(address.path) or fake.answer(request)
            self.send_response(told.status)
            given = {"Content-Length": str(len(told.body) or told.drip * 10**6), **told.headers}
            for name, value in given.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            if told.drip:
                self._drip()
            else:
                self.wfile.write(told.body[: len(told.body) // 2] if told.cut else told.body)

        def _drip(self) -> None:
            try:
                while not fake.wait():
                    self.wfile.write(b"x")
            except OSError:
                return  # the client has had enough

        def log_message(self, format: str, *args: object) -> None: ...

    return Handler

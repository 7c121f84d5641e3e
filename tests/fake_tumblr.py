"""A server on loopback that speaks as much of Tumblr's API as is asked for, and checks every signature.

Belongs here: what tests of client, courier and delivery share. Does not belong here: tests.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

ENV = {
    "TUMBLR_CONSUMER_KEY": "consumer0key0planted0a",
    "TUMBLR_CONSUMER_SECRET": "consumer0secret0planted0b",
    "TUMBLR_OAUTH_TOKEN": "access0token0planted0c",
    "TUMBLR_OAUTH_SECRET": "access0secret0planted0d",
}
BLOG = "demo-blog"
AT = 1_795_176_000  # 2026-11-20 12:00 UTC
LEFT = {
    "X-Ratelimit-Perday-Remaining": "4000",
    "X-Ratelimit-Perday-Reset": "36000",
    "X-Ratelimit-Perhour-Remaining": "900",
    "X-Ratelimit-Perhour-Reset": "1800",
}
Responder = Callable[[Request], Response]


class _Validator(RequestValidator):
    enforce_ssl = False
    timestamp_lifetime = 10**9
    dummy_client = "dummy"
    dummy_access_token = "dummy"

    def __init__(self) -> None:
        super().__init__()
        self._nonces: set[str] = set()

    def validate_timestamp_and_nonce(
        self, client_key: str, timestamp: str, nonce: str, request: Any, **more: Any
    ) -> bool:
        fresh = nonce not in self._nonces
        self._nonces.add(nonce)
        return fresh

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == ENV["TUMBLR_CONSUMER_KEY"]

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return ENV["TUMBLR_CONSUMER_SECRET"]

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return ENV["TUMBLR_OAUTH_SECRET"] if token == ENV["TUMBLR_OAUTH_TOKEN"] else "other"


@pytest.fixture(scope="module")
def tumblr() -> Iterator["FakeTumblr"]:
    with FakeTumblr() as server:
        yield server


@pytest.fixture()
def fake(tumblr: "FakeTumblr") -> "FakeTumblr":
    tumblr.reset()
    return tumblr


def text_post(post_id: int, text: str, *, author: str = BLOG, at: int = AT, **more: Any) -> dict[str, Any]:
    """A post as the API has it."""
    return {
        "id": post_id,
        "id_string": str(post_id),
        "blog_name": author,
        "blog": {"name": author, "uuid": f"t:{author}"},
        "timestamp": at,
        "state": "published",
        "reblog_key": f"k{post_id}",
        "tags": [],
        "note_count": 1,
        "content": [{"type": "text", "text": text}],
        "layout": [],
        "trail": [],
        **more,
    }


def ask(post_id: int, text: str, author: str = "ada", at: int = AT) -> dict[str, Any]:
    """A question that waits."""
    layout = [{"type": "ask", "blocks": [0], "attribution": {"type": "blog", "blog": {"name": author}}}]
    return text_post(post_id, text, at=at, state="submission", layout=layout)


def answer(response: Any, status: int = 200, headers: dict[str, str] | None = None, **more: Any) -> Response:
    body = {"meta": {"status": status, "msg": "-"}, "response": response, **more}
    return Response(json.dumps(body), status, {**LEFT, **(headers or {})}, content_type="application/json")


def refusal(status: int, code: int | None = None, headers: dict[str, str] | None = None) -> Responder:
    errors = [{"title": "Refused", "code": code, "detail": "not like this"}]
    return lambda request: answer([], status, headers, errors=errors)


class FakeTumblr:
    """Keeps posts, drafts and queue; `make` of a body that is sent puts it where its state says.

    Attributes:
        faults: answers to give instead, by what the address contains; each once, in order.
        kept_back: creates and edits are stored, and answered by this instead.
        creates: bodies that were sent and stored. asked: paths with their number of requests.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server = HTTPServer(threaded=True)
        self.reset()

    def reset(self) -> None:
        """Forget everything, so that the next test finds a new one without waiting for a server."""
        self.posts: list[dict[str, Any]] = []
        self.drafts: list[dict[str, Any]] = []
        self.queue: list[dict[str, Any]] = []
        self.submissions: list[dict[str, Any]] = []
        self.notifications: list[dict[str, Any]] = []
        self.notes: dict[str, list[dict[str, Any]]] = {}
        self.dashboard: list[dict[str, Any]] = []
        self.others: dict[str, dict[str, Any]] = {}
        self.remaining = 200
        self.now = AT
        self.faults: list[tuple[str, Responder]] = []
        self.before_storing: Callable[[], None] | None = None
        self.after_storing: Callable[[], None] | None = None
        self.kept_back: Responder | None = None
        self.creates: list[dict[str, Any]] = []
        self.media: list[bytes] = []
        self.asked: Counter[str] = Counter()
        self.queries: list[tuple[str, dict[str, list[str]]]] = []
        self.unsigned: list[str] = []
        self._endpoint = SignatureOnlyEndpoint(_Validator())
        self._next_id = 9_000

    def __enter__(self) -> "FakeTumblr":
        self._server.expect_request(re.compile(".*")).respond_with_handler(self._handle)
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.clear()
        if self._server.is_running():
            self._server.stop()

    @property
    def url(self) -> str:
        return self._server.url_for("/v2")

    def _handle(self, request: Request) -> Response:
        path = request.path.removeprefix("/v2")
        with self._lock:
            self.asked[f"{request.method} {path}"] += 1
            self.queries.append((path, request.args.to_dict(flat=False)))
            url = request.base_url + "?" * bool(request.query_string) + request.query_string.decode()
            signed, _ = self._endpoint.validate_request(url, request.method, None, dict(request.headers))
            if not signed:
                self.unsigned.append(request.url)
                return answer([], 401, errors=[{"title": "Unauthorized", "code": 0}])
            for number, (part, respond) in enumerate(self.faults):
                if part in f"{request.method} {path}":
                    del self.faults[number]
                    return respond(request)
            return self._sent(request, path) if request.method in ("POST", "PUT") else self._asked(request, path)

    def _asked(self, request: Request, path: str) -> Response:
        query = request.args
        if path == "/user/limits":
            return answer({"user": {"posts": {"limit": 250, "remaining": self.remaining}}})
        if path == "/user/dashboard":
            since = int(query.get("since_id", "0"))
            return answer({"posts": [post for post in self.dashboard if post["id"] > since]})
        _, _, blog, *rest = path.split("/")
        where = "/".join(rest)
        if where == "info":
            return answer({"blog": {"name": blog, "uuid": f"t:{blog}"}})
        if where == "posts" and "id" in query:
            found = [post for post in [*self.posts, *self.others.values()] if post["id_string"] == query["id"]]
            return answer({"posts": found}) if found else refusal(404)(request)
        if where == "posts":
            before = int(query.get("before", 1 << 40))
            newest = sorted(self.posts, key=lambda post: -post["timestamp"])
            return answer({"posts": [post for post in newest if post["timestamp"] < before][:20]})
        if where in ("posts/draft", "posts/queue", "posts/submission"):
            held = {"draft": self.drafts, "queue": self.queue, "submission": self.submissions}[rest[1]]
            offset = int(query.get("offset", 0))
            return answer({"posts": held[offset : offset + 20]})
        if where == "notifications":
            before = int(query.get("before", 1 << 40))
            newest = sorted(self.notifications, key=lambda item: -item["timestamp"])
            return answer({"notifications": [item for item in newest if item["timestamp"] < before][:3]})
        if where == "notes":
            before = int(query.get("before_timestamp", 1 << 60))
            held = [note for note in self.notes.get(query["id"], []) if note["timestamp"] * 1_000_000 < before]
            page, rest_of = held[:2], held[2:]
            step = {"query_params": {"before_timestamp": str(page[-1]["timestamp"] * 1_000_000)}} if rest_of else None
            return answer({"notes": page, "rollup_notes": [], **({"_links": {"next": step}} if step else {})})
        if rest[0] == "posts":
            found = [post for post in [*self.submissions, *self.posts] if post["id_string"] == rest[1]]
            return answer(found[0]) if found else refusal(404)(request)
        return refusal(404)(request)

    def _sent(self, request: Request, path: str) -> Response:
        if request.mimetype == "multipart/form-data":
            body = json.loads(request.form["json"])
            self.media += [file.read() for file in request.files.values()]
        else:
            body = json.loads(request.get_data())
        if self.before_storing is not None:
            self.before_storing()
        edited = path.split("/")[4] if request.method == "PUT" else None
        self._next_id += 1
        post_id = edited or str(self._next_id)
        self.creates.append(body)
        post = {
            **text_post(int(post_id), "", at=self.now),
            "content": body["content"],
            "layout": body.get("layout", []),
            "state": body["state"],
            "tags": [tag for tag in body["tags"].split(",") if tag],
            "reblogged_from_id": body.get("parent_post_id"),
        }
        self.submissions = [held for held in self.submissions if held["id_string"] != edited]
        {"published": self.posts, "queue": self.queue, "draft": self.drafts}[body["state"]].append(post)
        if self.after_storing is not None:
            self.after_storing()
        if self.kept_back is not None:
            return self.kept_back(request)
        return answer({"id": post_id}, 200 if edited else 201)

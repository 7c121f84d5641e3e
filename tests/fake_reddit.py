"""A Reddit on loopback: sign-in, search, comment trees, `more` stubs, `info`, rate limit headers, and bad days.

Belongs here: the wire format and ways to misbehave. Does not belong here: what a test expects of a client.
It speaks HTTP from a thread of its own, so that a client may run in any event loop or process.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.loopback import Loopback

CLIENT_ID = "app-of-the-tests"
CLIENT_SECRET = "a-secret-nobody-may-see"
TOKEN = "token-of-the-tests"
PAGE = 100
WINDOW = 1000
EPOCH = 1_790_000_000


@dataclass
class Fault:
    """What happens instead of an answer to the next `times` requests whose path and query hold `where`."""

    where: str
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    times: int = 1
    after: int = 0


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    params: dict[str, str]


class FakeReddit(Loopback):
    """The server and what it knows; use as a context manager."""

    def __init__(self) -> None:
        self.posts: dict[str, dict[str, Any]] = {}
        self.children: dict[str, list[str]] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.canned: dict[str, Any] = {}
        self.users: dict[str, str] = {}
        self.tokens = 0
        self.used = 0
        self._lock = threading.Lock()
        super().__init__(_handler(self))

    def add_submission(self, bare: str, title: str, subreddit: str = "smallbusiness", **changes: Any) -> str:
        """Add a submission and return its fullname; later ones are younger."""
        name = f"t3_{bare}"
        self.posts[name] = {
            "id": bare,
            "name": name,
            "subreddit": subreddit,
            "subreddit_id": "t5_2qh1i",
            "subreddit_subscribers": 48_210,
            "title": title,
            "selftext": "We are four people and outgrew our spreadsheet.",
            "selftext_html": "<p>We are four people and outgrew our spreadsheet.</p>",
            "author": "nora_bakes",
            "author_fullname": "t2_9abc",
            "created_utc": float(EPOCH + 60 * len(self.posts)),
            "edited": False,
            "score": 7,
            "upvote_ratio": 0.88,
            "num_comments": 0,
            "over_18": False,
            "hide_score": False,
            "is_self": True,
            "permalink": f"/r/{subreddit}/comments/{bare}/a_slug/",
            "url": f"https://www.reddit.com/r/{subreddit}/comments/{bare}/a_slug/",
            "removed_by_category": None,
            "media": None,
            "all_awardings": [],
            **changes,
        }
        return name

    def add_comment(self, bare: str, parent: str, body: str = "Same here.", **changes: Any) -> str:
        """Add a comment below a submission or comment and return its fullname."""
        above = self.posts[parent]
        root = above.get("link_id", parent)
        subreddit = above["subreddit"]
        name = f"t1_{bare}"
        self.posts[name] = {
            "id": bare,
            "name": name,
            "subreddit": subreddit,
            "link_id": root,
            "parent_id": parent,
            "body": body,
            "body_html": f"<p>{body}</p>",
            "author": "quiet_ledger",
            "author_fullname": "t2_8xyz",
            "created_utc": float(EPOCH + 60 * len(self.posts)),
            "edited": False,
            "score": 2,
            "score_hidden": False,
            "permalink": f"/r/{subreddit}/comments/{root[3:]}/a_slug/{bare}/",
            **changes,
        }
        self.posts[root]["num_comments"] += 1
        self.children.setdefault(parent, []).append(name)
        return name

    def paths(self) -> list[str]:
        """Paths of the API requests so far, without sign-ins."""
        return [request.path for request in self.requests if "access_token" not in request.path]

    def fault_for(self, target: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.where in target and fault.times > 0:
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def count(self) -> dict[str, str]:
        """Count one API request; the headers that tell what is left."""
        with self._lock:
            self.used += 1
            # A reset of nought seconds leaves asyncprawcore nothing to wait for.
            left = f"{WINDOW - self.used:.1f}"
            return {"x-ratelimit-used": str(self.used), "x-ratelimit-remaining": left, "x-ratelimit-reset": "0"}

    def answer(self, request: Request) -> tuple[int, Any]:
        if request.path in self.canned:
            return 200, self.canned[request.path]
        for pattern, method in self._routes():
            if found := re.fullmatch(pattern, request.path):
                return method(request.params, *found.groups())
        return 404, {"message": "Not Found", "error": 404}

    def answer_with_limit(self, bare: str, limit: int) -> Any:
        """The comment page of a submission as if its reader had asked for fewer: the rest is behind `more`."""
        return self._comments({"limit": str(limit)}, bare)[1]

    def _routes(self) -> Iterable[tuple[str, Callable[..., tuple[int, Any]]]]:
        return (
            (r"/r/([\w+]+)/search/?", self._search),
            (r"/r/(\w+)/hot/?", self._hot),
            (r"/comments/(\w+)/?", self._comments),
            (r"/api/morechildren/?", self._morechildren),
            (r"/api/info/?", self._info),
        )

    def _submissions(self, place: str, everywhere: bool) -> list[dict[str, Any]]:
        names = {name.lower() for name in place.split("+")}
        posts = [post for name, post in self.posts.items() if name.startswith("t3_")]
        posts = [post for post in posts if everywhere or post["subreddit"].lower() in names]
        return sorted(posts, key=lambda post: post["created_utc"], reverse=True)

    def _search(self, params: dict[str, str], place: str) -> tuple[int, Any]:
        wanted = [word.strip('"').lower() for word in re.findall(r'"[^"]*"|[^\s"]+', params["q"]) if word != "AND"]
        posts = self._submissions(place, params.get("restrict_sr") != "true")
        hits = [post for post in posts if all(word in f"{post['title']} {post['selftext']}".lower() for word in wanted)]
        return 200, _page(hits, params)

    def _hot(self, params: dict[str, str], subreddit: str) -> tuple[int, Any]:
        return 200, _page(self._submissions(subreddit, False), params)

    def _comments(self, params: dict[str, str], bare: str) -> tuple[int, Any]:
        if f"t3_{bare}" not in self.posts:
            return 404, {"message": "Not Found", "error": 404}
        left = [int(params.get("limit", "200"))]
        tree = self._tree(f"t3_{bare}", left)
        return 200, [_listing([_thing(self.posts[f"t3_{bare}"])]), _listing(tree)]

    def _tree(self, parent: str, left: list[int]) -> list[dict[str, Any]]:
        things = []
        below = self.children.get(parent, [])
        for place, name in enumerate(below):
            if left[0] <= 0:
                rest = [hidden[3:] for hidden in below[place:]]
                things.append(_more(rest, parent, sum(1 + self._size(f"t1_{bare}") for bare in rest)))
                break
            left[0] -= 1
            replies = self._tree(name, left)
            things.append(_thing(self.posts[name] | {"replies": _listing(replies) if replies else ""}))
        return things

    def _size(self, name: str) -> int:
        return sum(1 + self._size(below) for below in self.children.get(name, []))

    def _morechildren(self, params: dict[str, str]) -> tuple[int, Any]:
        asked = [f"t1_{bare}" for bare in params["children"].split(",")][:PAGE]
        things = [_thing(self.posts[name] | {"replies": ""}) for name in asked if name in self.posts]
        return 200, {"json": {"errors": [], "data": {"things": things}}}

    def _info(self, params: dict[str, str]) -> tuple[int, Any]:
        asked = params["id"].split(",")[:PAGE]
        return 200, _listing([_thing(self.posts[name]) for name in asked if name in self.posts])


def _thing(data: dict[str, Any]) -> dict[str, Any]:
    return {"kind": data["name"][:2], "data": data}


def _more(ids: list[str], parent: str, count: int) -> dict[str, Any]:
    return {
        "kind": "more",
        "data": {
            "id": ids[0],
            "name": f"t1_{ids[0]}",
            "parent_id": parent,
            "count": count,
            "children": ids,
            "depth": 0,
        },
    }


def _listing(children: list[dict[str, Any]], after: str | None = None) -> dict[str, Any]:
    data = {"after": after, "before": None, "dist": len(children), "modhash": None, "children": children}
    return {"kind": "Listing", "data": data}


def _page(posts: list[dict[str, Any]], params: dict[str, str]) -> dict[str, Any]:
    size = min(PAGE, int(params.get("limit", "25")))
    names = [post["name"] for post in posts]
    start = names.index(params["after"]) + 1 if params.get("after") in names else 0
    page = posts[start : start + size]
    more = start + size < len(posts)
    return _listing([_thing(post) for post in page], page[-1]["name"] if page and more else None)


def _handler(reddit: FakeReddit) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve("GET", b"")

        def do_POST(self) -> None:
            self._serve("POST", self.rfile.read(int(self.headers.get("content-length", "0"))))

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: a test's output is its result."""

        def _serve(self, method: str, body: bytes) -> None:
            parts = urlsplit(self.path)
            request = Request(method, parts.path, dict(parse_qsl(parts.query)) | dict(parse_qsl(body.decode())))
            reddit.requests.append(request)
            fault = reddit.fault_for(f"{parts.path}?{' '.join(request.params.values())}")
            if fault is not None and fault.cut:
                self.close_connection = True
                self.connection.close()
            elif fault is not None:
                self._send(fault.status, fault.body, {"content-type": "application/json", **fault.headers})
            elif parts.path == "/api/v1/access_token":
                self._token(request.params)
            elif self.headers.get("authorization") != f"bearer {TOKEN}":
                challenge = {"www-authenticate": 'Bearer realm="reddit", error="invalid_token"'}
                self._send_json(401, {"message": "Unauthorized", "error": 401}, challenge)
            else:
                self._send_json(*reddit.answer(request), reddit.count())

        def _token(self, form: dict[str, str]) -> None:
            reddit.tokens += 1
            keys = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
            if self.headers.get("authorization") != f"Basic {keys}":
                self._send_json(401, {"message": "Unauthorized", "error": 401}, {})
            elif form["grant_type"] == "password" and reddit.users.get(form["username"]) != form["password"]:
                self._send_json(200, {"error": "invalid_grant"}, {})
            else:
                answer = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 86400, "scope": "*"}
                self._send_json(200, answer, {})

        def _send_json(self, status: int, answer: Any, headers: dict[str, str]) -> None:
            self._send(
                status, json.dumps(answer).encode(), {"content-type": "application/json; charset=UTF-8"} | headers
            )

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler

"""WordPress: drafts are made once whatever goes wrong, nothing is published, and errors say what to mend."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from magpie.content.export import Ready
from magpie.content.export_page import ExportImage, Page
from magpie.content.wordpress import Account, Posted, WordPress, comment_of, mark_of
from magpie.errors import UserError
from magpie.sources.web import Web
from tests.content_rows import SITE, article
from tests.loopback import Loopback

USER, PASSWORD = "editor", "abcd efgh ijkl"
ENVIRONMENT = {"WORDPRESS_USER": USER, "WORDPRESS_APP_PASSWORD": PASSWORD}
PICTURE = b"bytes of a picture"
NAME = "images/featured-0-0123abcd.webp"


@dataclass
class FakeWordPress(Loopback):
    """Posts and media of one WordPress, as its REST interface tells them.

    Attributes:
        faults: (method, path begins with) -> what happens instead: a status, or `lost`: it is done and not answered.
    """

    posts: dict[int, dict[str, Any]] = field(default_factory=dict)
    media: dict[int, dict[str, Any]] = field(default_factory=dict)
    faults: list[tuple[str, str, int | str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    password: str = PASSWORD

    def __post_init__(self) -> None:
        Loopback.__init__(self, _handler(self))

    def fault(self, method: str, path: str) -> int | str | None:
        for fault in self.faults:
            if fault[0] == method and path.startswith(fault[1]):
                self.faults.remove(fault)
                return fault[2]
        return None

    def answer(self, method: str, path: str, params: dict[str, str], headers: Any, body: bytes) -> tuple[int, Any]:
        told = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        if headers.get("Authorization") != f"Basic {told}":
            return 401, {"code": "rest_not_logged_in", "message": "You are not currently logged in."}
        kind, _, number = path.removeprefix("/wp-json/wp/v2/").partition("/")
        if kind not in ("posts", "media"):
            return 404, {"code": "rest_no_route", "message": "No route was found."}
        held = self.posts if kind == "posts" else self.media
        if method == "GET":
            return 200, [row for row in held.values() if self._matches(row, params)]
        if kind == "media" and not number:
            name = headers["Content-Disposition"].partition('filename="')[2].rstrip('"')
            return 201, self._add(held, slug=name.rpartition(".")[0], alt_text="", source_url=f"{self.url}/up/{name}")
        fields = json.loads(body)
        if number:
            return 200, self._changed(held[int(number)], fields)
        if not fields.get("title"):
            return 400, {"code": "rest_invalid_param", "message": "Invalid parameter(s): title"}
        return 201, self._changed(self._add(held, link=f"{self.url}/?p=1", content={}), fields)

    @staticmethod
    def _matches(row: dict[str, Any], params: dict[str, str]) -> bool:
        if "status" in params and row["status"] not in params["status"].split(","):
            return False
        if "search" in params:
            return params["search"] in row["content"]["raw"]
        return bool(row["slug"] == params["slug"])

    @staticmethod
    def _add(held: dict[int, dict[str, Any]], **told: Any) -> dict[str, Any]:
        held[len(held) + 1] = {"id": len(held) + 1, **told}
        return held[len(held)]

    @staticmethod
    def _changed(row: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        content = {"content": {"raw": fields.pop("content")}} if "content" in fields else {}
        row |= {**fields, **content}
        return row


def _handler(world: FakeWordPress) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def _serve(self, method: str) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            world.requests.append(f"{method} {parts.path}")
            fault = world.fault(method, parts.path)
            if isinstance(fault, int):
                return self._say(fault, {"code": "fault", "message": "Not\nnow <b>please</b>"})
            answer = world.answer(method, parts.path, dict(parse_qsl(parts.query)), self.headers, body)
            if fault == "page":
                return self._say(200, "a page")
            return None if fault == "lost" else self._say(*answer)

        def _say(self, status: int, told: Any) -> None:
            content = json.dumps(told).encode()
            self.send_response(status)
            if status in (301, 302):
                self.send_header("Location", "https://elsewhere.example/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    return Handler


@pytest.fixture()
def fake() -> Iterator[FakeWordPress]:
    with FakeWordPress() as world:
        yield world


def ready(**more: Any) -> Ready:
    image = ExportImage(NAME, "featured", 0, "A shed", 1536, 1024, "image/webp")
    made = Page.of(article(**more), "how-to-mend-a-shed", SITE, (image,))
    return Ready(made, {NAME: PICTURE})


def put(fake: FakeWordPress, item: Ready | None = None, password: str = PASSWORD) -> Posted:
    account = Account.of(fake.url + "/", {**ENVIRONMENT, "WORDPRESS_APP_PASSWORD": password})
    return WordPress(Web(private=True), account, sleep=lambda seconds: None).put_draft(item or ready())


def refused(fake: FakeWordPress, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        put(fake, **more)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def test_an_article_becomes_a_draft_with_its_image_uploaded_first(fake: FakeWordPress) -> None:
    done = put(fake)
    post = fake.posts[1]
    assert (done.outcome, done.post_id, done.media_ids) == ("created", 1, (1,))
    assert (post["status"], post["slug"], post["featured_media"]) == ("draft", "how-to-mend-a-shed", 1)
    assert post["content"]["raw"].endswith(comment_of(ready().page))
    assert fake.media[1]["alt_text"] == "A shed"
    sent = [request for request in fake.requests if request.startswith("POST")]
    assert sent == ["POST /wp-json/wp/v2/media", "POST /wp-json/wp/v2/media/1", "POST /wp-json/wp/v2/posts"]


def test_a_second_run_changes_the_draft_and_uploads_nothing(fake: FakeWordPress) -> None:
    put(fake)
    done = put(fake, ready(title="How to save a shed"))
    assert (done.outcome, len(fake.posts), len(fake.media)) == ("updated", 1, 1)
    assert fake.posts[1]["title"] == "How to save a shed"


def test_a_draft_whose_slug_somebody_changed_is_found_by_its_mark(fake: FakeWordPress) -> None:
    put(fake)
    fake.posts[1]["slug"] = "another"
    assert put(fake).outcome == "updated"
    assert (len(fake.posts), fake.posts[1]["slug"]) == (1, "another")


def test_a_post_of_somebody_else_with_that_slug_is_left_alone(fake: FakeWordPress) -> None:
    fake.posts[1] = {"id": 1, "slug": "how-to-mend-a-shed", "status": "draft", "content": {"raw": "mine"}}
    assert put(fake).post_id == 2
    assert fake.posts[1]["content"]["raw"] == "mine"
    assert put(fake).post_id == 2


def test_what_somebody_published_is_not_touched(fake: FakeWordPress) -> None:
    put(fake)
    fake.posts[1] |= {"status": "publish", "title": "theirs"}
    fake.requests.clear()
    assert put(fake).outcome == "kept"
    assert fake.posts[1]["title"] == "theirs"
    assert all(request.startswith("GET") for request in fake.requests)


@pytest.mark.parametrize("path", ["/wp-json/wp/v2/posts", "/wp-json/wp/v2/media"])
@pytest.mark.parametrize("fault", ["lost", 429, 503])
def test_what_passes_is_tried_again_and_makes_nothing_twice(fake: FakeWordPress, path: str, fault: int | str) -> None:
    fake.faults.append(("POST", path, fault))
    put(fake)
    assert (len(fake.posts), len(fake.media)) == (1, 1)


def test_in_article_images_stand_in_the_text_under_their_address(fake: FakeWordPress) -> None:
    name = "images/in_article-0-0123abcd.webp"
    image = ExportImage(name, "in_article", 0, "Soil", 10, 10, "image/webp")
    put(fake, Ready(Page.of(article(), "s", SITE, (image,)), {name: PICTURE}))
    assert (
        f'<img src="{fake.url}/up/magpie-a1-in_article-0-0123abcd.webp" alt="Soil"' in fake.posts[1]["content"]["raw"]
    )


def test_a_refused_password_names_the_variables_and_not_the_password(fake: FakeWordPress) -> None:
    fake.password = "another"
    assert "WORDPRESS_APP_PASSWORD" in refused(fake)
    assert fake.requests == ["GET /wp-json/wp/v2/posts"], "the key is not tried again"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (("POST", "/wp-json/wp/v2/posts", 400), "http_400, Not now <b>please</b>"),
        (("POST", "/wp-json/wp/v2/media", 413), "too large"),
        (("POST", "/wp-json/wp/v2/media", 403), "role"),
        (("POST", "/wp-json/wp/v2/posts", 301), "redirected"),
        (("GET", "/wp-json/wp/v2/posts", 404), "permalinks"),
        (("GET", "/wp-json/wp/v2/posts", "page"), "bad_answer"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(fake: FakeWordPress, fault: tuple[str, str, int | str], says: str) -> None:
    fake.faults.append(fault)
    assert says in refused(fake)


def test_a_server_that_stays_busy_is_given_up_and_the_image_is_kept_for_the_next_run(fake: FakeWordPress) -> None:
    fake.faults += [("POST", "/wp-json/wp/v2/posts", 429)] * 4
    assert "pause" in refused(fake)
    assert put(fake).outcome == "created"
    assert len(fake.media) == 1


@pytest.mark.parametrize("name", list(ENVIRONMENT))
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(UserError, match=name):
        Account.of("https://example.com", {**ENVIRONMENT, name: " "})


def test_a_password_is_not_sent_in_the_clear() -> None:
    with pytest.raises(UserError, match="https"):
        Account.of("http://example.com", ENVIRONMENT)


def test_the_mark_is_one_word_of_the_article(fake: FakeWordPress) -> None:
    assert mark_of("a1") in comment_of(ready().page)

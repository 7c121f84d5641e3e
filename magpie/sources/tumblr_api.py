"""Asking Tumblr's API, version 2, as the owner of a blog.

Belongs here: addresses, OAuth 1 signatures, what an answer or a refusal means, and the calls that headers say are
left. Does not belong here: requests within bounds (`web.py`), what is in a page (`tumblr_pages.py`), when and for
whom it is asked (`magpie/persona`).

Nothing is raised for what a server does: an answer is an `Answer` or a `Fault` with one of few kinds. What is sent is
sent once, because a post whose answer was lost may be there.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from oauthlib import oauth1  # type: ignore[import-untyped]

from magpie.errors import UserError
from magpie.fetches import plain_detail
from magpie.sources.channel_clients import KEY, LEAST_REST_S, LIMIT_REST_S
from magpie.sources.tumblr_blocks import blog_name_of
from magpie.sources.web import WAITS, Page, Web, WebError, patiently

BASE_URL = "https://api.tumblr.com/v2"
# What a page holds at most.
PAGE_POSTS = 20
# Kinds of `Fault`. Limits pass by themselves, bad_content and gone never do.
LIMIT, QUEUE_FULL, POST_LIMIT = "tumblr_limit", "queue_full", "post_limit"
GONE, BAD_CONTENT, AUTH, TRANSPORT = "gone", "bad_content", "auth", "transport"
# Subcodes of 403: the queue holds all it can, and the day's posts are used up.
_CODES = {8022: QUEUE_FULL, 8023: POST_LIMIT}
# What a person has to look at: the request is understood, and not taken as it is.
_BAD = frozenset({400, 413, 415, 422})
# Seconds for each try of a GET: a slow answer is given twice the time of the one before.
GET_TIMEOUTS_S = (8.0, 16.0, 32.0, 64.0)
SEND_TIMEOUT_S = 60.0
NONCE_BYTES = 12
# The longest limit is that of a day.
MOST_LIMIT_S = 86_400.0
NOTIFICATIONS = ("reply", "mention_in_post", "mention_in_reply", "reblog_with_content", "conversational_note")
_LISTS = ("posts", "notes", "notifications")
_KEY_VARIABLES = {
    "consumer_key": "TUMBLR_CONSUMER_KEY",
    "consumer_secret": "TUMBLR_CONSUMER_SECRET",
    "token": "TUMBLR_OAUTH_TOKEN",
    "token_secret": "TUMBLR_OAUTH_SECRET",
}
_HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Keys:
    """What a request is signed with; shown nowhere."""

    consumer_key: str = field(repr=False)
    consumer_secret: str = field(repr=False)
    token: str = field(repr=False)
    token_secret: str = field(repr=False)

    @classmethod
    def of(cls, env: Mapping[str, str]) -> "Keys":
        """From the environment.

        Raises:
            UserError: one of them is not set, or can be none.
        """
        found = {name: env.get(variable, "").strip() for name, variable in _KEY_VARIABLES.items()}
        wrong = [_KEY_VARIABLES[name] for name, key in found.items() if not KEY.fullmatch(key)]
        if wrong:
            raise UserError(
                f"{', '.join(wrong)} must be set to ask Tumblr; register an application at tumblr.com/oauth/apps, or "
                "set mode: archive for the blog"
            )
        return cls(**found)

    def hidden(self, content: bytes) -> bytes:
        """Bytes without the keys, which a server may repeat."""
        for one in fields(self):
            content = content.replace(str(getattr(self, one.name)).encode(), b"***")
        return content


@dataclass(frozen=True)
class Left:
    """Calls that are left, and seconds until there are all of them again; None where no header said so."""

    day: int | None = None
    day_reset_s: float | None = None
    hour: int | None = None
    hour_reset_s: float | None = None


@dataclass(frozen=True)
class Answer:
    """An answer that says yes.

    Attributes:
        content: as it came, without keys. response: the object in it; empty where there is none.
    """

    status: int
    content: bytes
    response: Mapping[str, Any]
    left: Left = Left()

    def items(self, name: str) -> list[dict[str, Any]]:
        """The objects of a list in it, such as `posts`; none where there is no such list."""
        found = self.response.get(name)
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []

    @property
    def post_id(self) -> str | None:
        """The id of what was created or changed."""
        found = self.response.get("id_string") or self.response.get("id")
        text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
        return text if text.isascii() and text.isdigit() and len(text) <= 40 else None


@dataclass(frozen=True)
class Fault:
    """No answer that says yes.

    Attributes:
        kind: tumblr_limit, queue_full, post_limit, gone, bad_content, auth or transport. What was sent may have
            arrived if it is transport, and in no other case.
        detail: one line for people, without keys.
        not_before: when asking again makes sense, if that is known.
    """

    kind: str
    detail: str
    status: int | None = None
    not_before: datetime | None = None
    left: Left = Left()


@dataclass(frozen=True)
class Call:
    """One request, for the books.

    Attributes:
        outcome: ok, or the kind of the fault. n_items: posts, notes or notifications in the answer.
    """

    endpoint: str
    at: datetime
    outcome: str
    status: int | None
    n_items: int
    left: Left
    payload_sha256: str | None


@dataclass(frozen=True)
class Media:
    """Bytes that a block of a post names by an identifier."""

    identifier: str
    mime: str
    content: bytes


def _unnoted(call: Call) -> None:
    """Nobody keeps books."""


class TumblrApi:
    """One account; asks one thing at a time.

    Args:
        note: is told of every single request, tries included.
        sleep: between tries of what may pass.
    """

    def __init__(
        self,
        web: Web,
        keys: Keys,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
        base_url: str = BASE_URL,
        note: Callable[[Call], None] = _unnoted,
        waits: Sequence[float] = WAITS,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme != "https" and parts.hostname not in _HERE:
            raise UserError(f"{parts.hostname or base_url} must be reached by https; correct the address of Tumblr")
        self._web, self._keys, self._clock, self._sleep = web, keys, clock, sleep
        self._base, self._note, self._waits = base_url.rstrip("/"), note, tuple(waits)

    def posts(self, blog: str, before: int | None = None) -> Answer | Fault:
        """The newest 20 posts that are out, or those before a second since 1970."""
        query = {"limit": PAGE_POSTS, "reblog_info": "true", "before": before}
        return self._get("posts", _blog_path(blog, "posts"), query)

    def post(self, blog: str, post_id: str) -> Answer | Fault:
        """A page with one post that is out."""
        return self._get("post", _blog_path(blog, "posts"), {"id": post_id, "reblog_info": "true"})

    def editable(self, blog: str, post_id: str) -> Answer | Fault:
        """One of the blog's own posts, whatever its state, as it may be edited."""
        return self._get("editable", _blog_path(blog, "posts", post_id), {"post_format": "npf"})

    def drafts(self, blog: str, before_id: str | None = None) -> Answer | Fault:
        """Drafts, the newest first."""
        return self._get("drafts", _blog_path(blog, "posts", "draft"), {"before_id": before_id})

    def queue(self, blog: str, offset: int = 0) -> Answer | Fault:
        """Posts that will come out, the next first."""
        return self._get("queue", _blog_path(blog, "posts", "queue"), {"limit": PAGE_POSTS, "offset": offset or None})

    def submissions(self, blog: str, offset: int = 0) -> Answer | Fault:
        """Questions that wait for an answer."""
        return self._get("submissions", _blog_path(blog, "posts", "submission"), {"offset": offset or None})

    def notifications(self, blog: str, before: int | None = None) -> Answer | Fault:
        """What others did that the blog may react to, each by itself, the newest first."""
        query = {"before": before, "rollups": "false", "types[]": NOTIFICATIONS}
        return self._get("notifications", _blog_path(blog, "notifications"), query)

    def notes(self, blog: str, post_id: str, before_us: int | None = None) -> Answer | Fault:
        """Replies to a post and reblogs of it, the newest first; `before_us` counts microseconds."""
        query = {"id": post_id, "mode": "conversation", "before_timestamp": before_us}
        return self._get("notes", _blog_path(blog, "notes"), query)

    def dashboard(self, since_id: str | None = None) -> Answer | Fault:
        """Posts of the blogs that the account follows."""
        query = {"limit": PAGE_POSTS, "reblog_info": "true", "since_id": since_id}
        return self._get("dashboard", "/user/dashboard", query)

    def limits(self) -> Answer | Fault:
        """What the account may still do today."""
        return self._get("limits", "/user/limits", {})

    def info(self, blog: str) -> Answer | Fault:
        """What a blog says of itself; reblogs and mentions need its uuid."""
        return self._get("info", _blog_path(blog, "info"), {})

    def create(self, blog: str, body: Mapping[str, Any], media: Sequence[Media] = ()) -> Answer | Fault:
        """Make a post. An answer without `post_id` and a fault of transport leave open whether it is there."""
        return self._send("create", "POST", _blog_path(blog, "posts"), body, media)

    def edit(self, blog: str, post_id: str, body: Mapping[str, Any], media: Sequence[Media] = ()) -> Answer | Fault:
        """Put a post in the place of another; so a question is answered."""
        return self._send("edit", "PUT", _blog_path(blog, "posts", post_id), body, media)

    def _get(self, endpoint: str, path: str, query: Mapping[str, Any]) -> Answer | Fault:
        given = [(name, value) for name, value in {**query, "npf": "true"}.items() if value is not None]
        url = f"{self._base}{path}?{urlencode(given, doseq=True, quote_via=quote)}"
        timeouts = iter(GET_TIMEOUTS_S)

        def once() -> Answer | Fault:
            try:
                # Signed anew for each try: a number used once is not used twice.
                page = self._web.get(url, self._headers("GET", url), timeout_s=next(timeouts, GET_TIMEOUTS_S[-1]))
            except WebError as error:
                fault = self._refused(endpoint, error)
                if fault.kind == TRANSPORT and error.passing:
                    raise
                return fault
            answer = self._answered(endpoint, page)
            return answer if answer.response else Fault(TRANSPORT, f"{endpoint}: the answer holds no object")

        try:
            return patiently(once, self._sleep, waits=self._waits)
        except WebError as error:
            return self._fault(endpoint, error)

    def _send(
        self, endpoint: str, method: str, path: str, body: Mapping[str, Any], media: Sequence[Media]
    ) -> Answer | Fault:
        url = self._base + path
        content, kind = _packed(body, media)
        send = self._web.post if method == "POST" else self._web.put
        headers = {**self._headers(method, url), "Content-Type": kind}
        try:
            page = send(url, content, headers, timeout_s=SEND_TIMEOUT_S)
        except WebError as error:
            return self._refused(endpoint, error)
        return self._answered(endpoint, page)

    def _headers(self, method: str, url: str) -> dict[str, str]:
        """The signature; it covers method, address and query, and of a body only a form's."""
        keys = self._keys
        signer = oauth1.Client(
            keys.consumer_key,
            client_secret=keys.consumer_secret,
            resource_owner_key=keys.token,
            resource_owner_secret=keys.token_secret,
            nonce=secrets.token_hex(NONCE_BYTES),
            timestamp=str(int(self._clock().timestamp())),
        )
        _, headers, _ = signer.sign(url, http_method=method)
        return {**headers, "Accept": "application/json"}

    def _answered(self, endpoint: str, page: Page) -> Answer:
        content = self._keys.hidden(page.content)
        answer = Answer(page.status, content, _object(content, "response"), _left(page.headers))
        count = max((len(answer.items(name)) for name in _LISTS), default=0)
        sha = hashlib.sha256(content).hexdigest()
        self._note(Call(endpoint, self._clock(), "ok", page.status, count, answer.left, sha))
        return answer

    def _refused(self, endpoint: str, error: WebError) -> Fault:
        fault = self._fault(endpoint, error)
        self._note(Call(endpoint, self._clock(), fault.kind, fault.status, 0, fault.left, None))
        return fault

    def _fault(self, endpoint: str, error: WebError) -> Fault:
        code, said = _error(self._keys.hidden(error.content))
        left = _left(error.headers)
        kind = _kind(error.status, code)
        told = f"{endpoint}: {error.detail}" + (f", {said}" if said else "")
        not_before = self._clock() + timedelta(seconds=_limit_s(left, error)) if kind == LIMIT else None
        return Fault(kind, plain_detail(told) or endpoint, error.status, not_before, left)


def _blog_path(blog: str, *rest: str) -> str:
    """The path of a blog's resource; names and ids come from others, so nothing in them may be more than one step."""
    name = blog_name_of(blog)
    if name is None:
        raise ValueError(f"{blog[:80]!r} is no name of a blog")
    return "/".join(("", "blog", name, *(quote(part, safe="") for part in rest)))


def _kind(status: int | None, code: int | None) -> str:
    if status == 429:
        return LIMIT
    if status == 403:
        return _CODES.get(code or 0, AUTH)
    if status == 401:
        return AUTH
    if status in (404, 410):
        return GONE
    return BAD_CONTENT if status in _BAD else TRANSPORT


def _limit_s(left: Left, error: WebError) -> float:
    """Seconds until the limit that was reached is over; what no header says is guessed."""
    over = [
        reset_s
        for calls, reset_s in ((left.day, left.day_reset_s), (left.hour, left.hour_reset_s))
        if calls == 0 and reset_s is not None
    ]
    told = max(over) if over else error.retry_after_s
    return min(max(LIMIT_REST_S if told is None else told, LEAST_REST_S), MOST_LIMIT_S)


def _left(headers: Mapping[str, str]) -> Left:
    def number(name: str) -> int | None:
        text = headers.get(f"x-ratelimit-{name}", "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None

    return Left(
        number("perday-remaining"), number("perday-reset"), number("perhour-remaining"), number("perhour-reset")
    )


def _object(content: bytes, name: str) -> Mapping[str, Any]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    found = told.get(name) if isinstance(told, dict) else None
    return found if isinstance(found, dict) else {}


def _error(content: bytes) -> tuple[int | None, str]:
    """Subcode and words of the first error in a refusal."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None, ""
    errors = told.get("errors") if isinstance(told, dict) else None
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    code = first.get("code")
    words = [text for text in (first.get("title"), first.get("detail")) if isinstance(text, str)]
    return (code if isinstance(code, int) and not isinstance(code, bool) else None), ": ".join(words)[:200]


def _packed(body: Mapping[str, Any], media: Iterable[Media]) -> tuple[bytes, str]:
    """A body and its type: JSON alone, or as the first part of a form with the media after it."""
    text = json.dumps(body, ensure_ascii=False).encode()
    files = list(media)
    if not files:
        return text, "application/json"
    boundary = secrets.token_hex(16)
    parts = [_part(boundary, 'name="json"', "application/json", text)]
    for item in files:
        named = f'name="{item.identifier}"; filename="{item.identifier}"'
        parts.append(_part(boundary, named, item.mime, item.content))
    return b"".join((*parts, f"--{boundary}--\r\n".encode())), f"multipart/form-data; boundary={boundary}"


def _part(boundary: str, named: str, mime: str, content: bytes) -> bytes:
    head = f"--{boundary}\r\nContent-Disposition: form-data; {named}\r\nContent-Type: {mime}\r\n\r\n"
    return head.encode() + content + b"\r\n"

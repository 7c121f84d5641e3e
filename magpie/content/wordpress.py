"""Approved articles as drafts in WordPress, over its REST interface.

Belongs here: which requests make a draft with its images, and finding again what an earlier run made. Does not belong
here: HTTP within bounds (`magpie/sources/web.py`), which articles may go out (`export.py`).

Nothing here publishes. A draft carries the id of its article in a comment at its end and an image that of its content
in its file name, so a second run, or one after an answer that was lost, finds them and changes them instead of making
more. A post that somebody has published is theirs, and left alone.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from magpie.content.export import Ready
from magpie.content.export_page import ExportImage, Page
from magpie.errors import UserError
from magpie.sources.web import WAITS, Web, WebError, patiently

USER, PASSWORD = "WORDPRESS_USER", "WORDPRESS_APP_PASSWORD"
API = "/wp-json/wp/v2"
# Uploads of some hundred kB to hosts that make several sizes of each.
REQUEST_S = 60.0
ANSWER_BYTES = 4 * 1024 * 1024
# Only these may still be changed by a machine.
DRAFTS = ("draft", "pending")
_STATUSES = "publish,future,draft,pending,private"
_HINTS = {
    "http_401": f"the user or application password is refused; check {USER} and {PASSWORD}",
    "http_403": "this user may not do that; give it the role of an author or editor",
    "http_404": "there is no REST interface at this address; check it, and that permalinks are on",
    "http_413": "the image is too large for this server; raise its upload limit",
    "http_429": "the server asks for a pause; run it again later",
    "timeout": "the server is slow; run it again",
    "network": "the server cannot be reached; check the address",
    "private_address": "the address is one of a private network; pass --private if it is yours",
}
SAID_CHARS = 200


@dataclass(frozen=True)
class Posted:
    """What became of one article.

    Attributes:
        outcome: `kept` is a post that is published already and so not touched.
        post_id: in WordPress; link: where it can be looked at.
    """

    article_id: str
    outcome: Literal["created", "updated", "kept"]
    post_id: int
    link: str
    media_ids: tuple[int, ...]


@dataclass(frozen=True)
class Account:
    """A user of one WordPress."""

    url: str
    user: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, url: str, environment: Mapping[str, str]) -> "Account":
        """From the environment.

        Raises:
            UserError: a variable is missing, or the address would send the password in the clear.
        """
        missing = [name for name in (USER, PASSWORD) if not environment.get(name, "").strip()]
        if missing:
            raise UserError(f"{' and '.join(missing)} must be set; make an application password in WordPress's profile")
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise UserError(f"{parts.hostname or url} must be reached by https, or the password is sent in the clear")
        return cls(url.rstrip("/"), environment[USER].strip(), environment[PASSWORD].strip())

    @property
    def authorization(self) -> str:
        return f"Basic {self._token}"

    @property
    def _token(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")

    def hidden(self, content: bytes) -> bytes:
        """Bytes without the password, which a server may repeat as it is or as it was sent."""
        for secret in (self._token, self.password):
            content = content.replace(secret.encode(), b"***")
        return content


class WordPress:
    """One account, asked one thing at a time.

    Args:
        sleep: between tries of what may pass.
    """

    def __init__(
        self,
        web: Web,
        account: Account,
        sleep: Callable[[float], None] = time.sleep,
        waits: Sequence[float] = WAITS,
    ) -> None:
        self._web, self._account, self._sleep, self._waits = web, account, sleep, tuple(waits)

    def put_draft(self, item: Ready) -> Posted:
        """Make the draft of an article with its images, or bring the one that is there up to date.

        Raises:
            UserError: it could not be made; what is there already is found the next time.
        """
        article = item.page
        try:
            found = self._again(lambda: self._post_of(article))
            if found is not None and found["status"] not in DRAFTS:
                return Posted(article.article_id, "kept", _id(found), str(found.get("link", "")), ())
            media = {image.path: self._again(partial(self._media, article, image, item)) for image in article.images}
            outcome, post = self._again(lambda: self._put(article, media))
        except WebError as error:
            raise UserError(self._one_line(article, error)) from None
        ids = tuple(_id(held) for held in media.values())
        return Posted(article.article_id, outcome, _id(post), str(post.get("link", "")), ids)

    def _again(self, ask: Callable[[], Any]) -> Any:
        """Each try begins by looking, so an answer that was lost makes nothing twice."""
        return patiently(ask, self._sleep, waits=self._waits)

    def _post_of(self, article: Page) -> dict[str, Any] | None:
        """The post that holds the article's mark: by slug at first, by a search for the mark if that was changed."""
        for query in ({"slug": article.slug}, {"search": mark_of(article.article_id)}):
            asked = {**query, "status": _STATUSES, "context": "edit", "per_page": "100"}
            for post in self._list("/posts", asked):
                if mark_of(article.article_id) in str(_at(post, "content", "raw") or ""):
                    return post
        return None

    def _put(self, article: Page, media: Mapping[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        found = self._post_of(article)
        featured = article.image("featured")
        body = {
            "title": article.title,
            "content": f"{article.body(lambda image: str(media[image.path]['source_url']))}\n{comment_of(article)}",
            "excerpt": article.meta_description,
            **({"featured_media": _id(media[featured.path])} if featured else {}),
        }
        if found is None:
            return "created", self._send("/posts", {**body, "slug": article.slug, "status": "draft"})
        return "updated", self._send(f"/posts/{_id(found)}", body)

    def _media(self, article: Page, image: ExportImage, item: Ready) -> dict[str, Any]:
        """The image in the library, uploaded unless it is there; with its alternative text."""
        stem, _, kind = image.path.rpartition("/")[2].rpartition(".")
        slug = f"magpie-{article.article_id}-{stem}".lower()
        found = next((held for held in self._list("/media", {"slug": slug}) if held.get("slug") == slug), None)
        if found is None:
            headers = {
                "Content-Type": image.mime or "application/octet-stream",
                "Content-Disposition": f'attachment; filename="{slug}.{kind}"',
            }
            found = self._sent("/media", item.files[image.path], headers)
        if not isinstance(found.get("source_url"), str):
            raise WebError("bad_answer", "an upload was answered without an address")
        if image.alt_text and found.get("alt_text") != image.alt_text:
            self._send(f"/media/{_id(found)}", {"alt_text": image.alt_text})
        return found

    def _list(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        url = f"{self._account.url}{API}{path}?{urlencode(query, quote_via=quote)}"
        page = self._web.get(url, self._headers(), max_bytes=ANSWER_BYTES, timeout_s=REQUEST_S)
        told = _json(self._account.hidden(page.content))
        if not isinstance(told, list):
            raise WebError("bad_answer", "a list was asked for, and something else came")
        return [held for held in told if isinstance(held, dict)]

    def _send(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._sent(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _sent(self, path: str, content: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        url = f"{self._account.url}{API}{path}"
        page = self._web.post(url, content, {**self._headers(), **headers}, max_bytes=ANSWER_BYTES, timeout_s=REQUEST_S)
        told = _json(self._account.hidden(page.content))
        if not isinstance(told, dict):
            raise WebError("bad_answer", "an object was asked for, and something else came")
        _id(told)
        return told

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._account.authorization, "Accept": "application/json"}

    def _one_line(self, article: Page, error: WebError) -> str:
        hint = _HINTS.get(error.kind) or ("try it again later" if error.passing else "see the server's log")
        said = _said(self._account.hidden(error.content))
        host = urlsplit(self._account.url).hostname
        return f"{article.slug}: {host} took no draft ({error.kind}{said}): {hint}"


def mark_of(article_id: str) -> str:
    """What tells a post of an article from others; letters and digits only, so that a search finds it as it is."""
    return f"magpie-article-{article_id}"


def comment_of(article: Page) -> str:
    """The mark as a comment, which no reader sees and every editor keeps."""
    return f"<!-- {mark_of(article.article_id)} -->"


def _id(told: Mapping[str, Any]) -> int:
    found = told.get("id")
    if not isinstance(found, int) or isinstance(found, bool) or found <= 0:
        raise WebError("bad_answer", "the answer names no id")
    return found


def _at(told: Mapping[str, Any], *path: str) -> object:
    found: object = told
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise WebError("bad_answer", "the answer is no JSON; is this a WordPress?") from None


def _said(content: bytes) -> str:
    """What the server says is wrong, in one line."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    message = told.get("message") if isinstance(told, dict) else None
    return f", {' '.join(message.split())[:SAID_CHARS]}" if isinstance(message, str) else ""

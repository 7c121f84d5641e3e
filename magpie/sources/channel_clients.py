"""Asking Telegram, VK and Instagram for the posts of a channel, one raw page at a time, the newest first.

Belongs here: which address gives which page, what a refusal means, and when a platform is left alone. Does not belong
here: what is in a page (`telegram_web.py`, `vk_wall.py`, `instagram_items.py`), how many pages are asked for and where
they are kept (the product), the request itself (`web.py`).

A platform rests after it refused as a whole, or after three batches in which every channel failed. A rest ends by
itself; an operator who has mended the cause ends it earlier (`Resting.resume`).
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, ClassVar, Protocol
from urllib.parse import urlencode, urlsplit

from magpie.control import Control
from magpie.errors import UserError
from magpie.fetches import Cooling, Fetch, Fetches
from magpie.sources.meme_posts import Payload
from magpie.sources.web import REQUEST_S, Page, Web, WebError, patiently

ADDRESSES = {
    "telegram": "https://t.me",
    "vk": "https://api.vk.com",
    "instagram": "https://api.hikerapi.com",
}
# The variables of the environment that hold keys; what is not named here is public.
KEYS = {"vk": "VK_TOKEN", "instagram": "HIKERAPI_KEY"}
# It becomes part of addresses and paths, so it neither begins with a dot nor holds a slash.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
KEY = re.compile(r"[!-~]{1,512}")
# A shorter key may be a word of its own right, and blotting it out would garble posts.
SHORTEST_HIDDEN = 8
VK_VERSION = "5.199"
# The most that one call of wall.get gives.
VK_POSTS = 100
VK_OWNER = re.compile(r"(id|club|public|event)(\d{1,15})")
# Error codes of VK. What passes within seconds:
VK_PASSING = frozenset({1, 6, 10})
# What holds for every wall until it is over: the token (5), too much of the same (9), a captcha (14), the day's calls
# (29). Other codes, such as 15 (access denied) and 18 (deleted), are about the one wall.
VK_WHOLE = {5: timedelta(hours=6), 9: timedelta(minutes=15), 14: timedelta(hours=1), 29: timedelta(hours=6)}
# A key that is refused stays refused until someone changes it.
KEY_REST = timedelta(hours=6)
# After 429 without a time, and the bounds on a time that a server names.
LIMIT_REST_S, LEAST_REST_S, MOST_REST_S = 900.0, 60.0, 3600.0
# The breaker: so many batches in a row without one answer are a state and no bad minute.
FAILED_BATCHES = 3
BATCH, FAILED = "batch", "failed"
BREAKER_REST = timedelta(hours=1)
USER_PK = re.compile(r"\d{1,20}")


class ChannelError(WebError):
    """A channel, or a platform, that gives no posts.

    Attributes:
        rest: how long the platform is best left alone; None: the refusal is about this channel or this moment.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        status: int | None = None,
        *,
        rest: timedelta | None = None,
        passing: bool = False,
    ) -> None:
        super().__init__(kind, detail, status, passing=passing)
        self.rest = rest


@dataclass(frozen=True)
class RawPage:
    """One page as it came."""

    content: bytes
    status: int


class ChannelClient(ABC):
    """Asks one platform.

    Attributes:
        ending: what a file with a page of it is called.
        pause_s: seconds to leave between two pages.
        pinned: so many posts may stand first whatever their date.
        key_refused: statuses that are about the key, not about the channel.
    """

    platform: ClassVar[str]
    ending: ClassVar[str] = "json"
    pause_s: ClassVar[float] = 0.0
    pinned: ClassVar[int] = 0
    key_refused: ClassVar[frozenset[int]] = frozenset()

    def __init__(
        self, web: Web, sleep: Callable[[float], None], base: str | None = None, key: str | None = None
    ) -> None:
        self._web, self._sleep, self._key = web, sleep, key
        self._base = (base or ADDRESSES[self.platform]).rstrip("/")

    def page(self, name: str, place: str | None, left_s: Callable[[], float]) -> RawPage:
        """Return one page of a channel.

        Args:
            place: what `older` said of the page after it; None: the newest.
            left_s: seconds that are left for it, tries included.

        Raises:
            WebError: there is none; a `ChannelError` with `rest` if the platform as a whole refuses.
        """
        if not NAME.fullmatch(name):
            raise ChannelError("bad_name", f"{name[:80]!r} is no name of a channel")
        return self._page(name, place, left_s)

    @abstractmethod
    def _page(self, name: str, place: str | None, left_s: Callable[[], float]) -> RawPage: ...

    def older(self, payload: Payload, place: str | None) -> str | None:
        """What to ask `page` for to get the page before the one that held `payload`; None: there is none."""
        return payload.older

    @abstractmethod
    def rank(self, post_id: str) -> int | None:
        """A number that is higher the later a post of the channel came; None where the id tells none."""

    def _get(
        self,
        path: str,
        query: Mapping[str, str],
        left_s: Callable[[], float],
        check: Callable[[Page], None] = lambda page: None,
        headers: Mapping[str, str] | None = None,
    ) -> Page:
        """Ask with patience; `check` may find in a page that it is a refusal."""
        url = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")

        def once() -> Page:
            left = left_s()
            if left <= 0:
                raise WebError("timeout", "the time for this channel is over")
            page = self._hidden(self._web.get(url, headers, timeout_s=min(REQUEST_S, left)))
            check(page)
            return page

        try:
            return patiently(once, self._sleep, left_s)
        except ChannelError:
            raise
        except WebError as error:
            rest = self._rest(error)
            if rest is None:
                raise
            raise ChannelError(error.kind, error.detail, error.status, rest=rest) from None

    def _hidden(self, page: Page) -> Page:
        """The page without the key, which a server may repeat: pages are kept as they came."""
        if self._key is None or len(self._key) < SHORTEST_HIDDEN:
            return page
        return replace(page, content=page.content.replace(self._key.encode(), b"***"))

    def _rest(self, error: WebError) -> timedelta | None:
        if error.status in self.key_refused:
            return KEY_REST
        if error.status != 429:
            return None
        told = LIMIT_REST_S if error.retry_after_s is None else error.retry_after_s
        return timedelta(seconds=min(max(told, LEAST_REST_S), MOST_REST_S))


class TelegramWeb(ChannelClient):
    """The public preview of channels at `t.me/s/<name>`, some 20 posts a page."""

    platform = "telegram"
    ending = "html"

    def _page(self, name: str, place: str | None, left_s: Callable[[], float]) -> RawPage:
        page = self._get(f"/s/{name}", {} if place is None else {"before": place}, left_s)
        if not urlsplit(page.final_url).path.startswith("/s/"):
            raise ChannelError("no_preview", f"t.me shows no posts of {name}", page.status)
        return RawPage(page.content, page.status)

    def rank(self, post_id: str) -> int | None:
        return _number(post_id)


class VkWall(ChannelClient):
    """`wall.get` of VK's API.

    Args:
        token: of a service or a user.
    """

    platform = "vk"
    pause_s = 5.0
    pinned = 1
    key_refused = frozenset({401, 403})

    def __init__(self, web: Web, sleep: Callable[[float], None], token: str, base: str | None = None) -> None:
        super().__init__(web, sleep, base, token)
        self._token = token

    def _page(self, name: str, place: str | None, left_s: Callable[[], float]) -> RawPage:
        query = {"count": str(VK_POSTS), "offset": place or "0", "v": VK_VERSION, "access_token": self._token}
        page = self._get("/method/wall.get", _vk_owner(name) | query, left_s, _vk_checked)
        return RawPage(page.content, page.status)

    def older(self, payload: Payload, place: str | None) -> str | None:
        """The offset of the next page: pages may be short where posts were hidden, so only an empty one is the last."""
        return str(int(place or "0") + VK_POSTS) if payload.posts or payload.bad else None

    def rank(self, post_id: str) -> int | None:
        return _number(post_id.rpartition("_")[2])


class UserIds(Protocol):
    """Instagram's number of each name, which costs a request to find out and never changes."""

    def get(self, name: str) -> str | None: ...

    def put(self, name: str, number: str) -> None: ...


class HikerApi(ChannelClient):
    """Posts of Instagram by way of HikerAPI, which is paid by the request."""

    platform = "instagram"
    pinned = 3
    key_refused = frozenset({401, 402, 403})

    def __init__(
        self,
        web: Web,
        sleep: Callable[[float], None],
        key: str,
        ids: UserIds,
        base: str | None = None,
    ) -> None:
        super().__init__(web, sleep, base, key)
        self._headers, self._ids = {"x-access-key": key, "accept": "application/json"}, ids

    def _page(self, name: str, place: str | None, left_s: Callable[[], float]) -> RawPage:
        query = {"user_id": self._user_id(name, left_s)} | ({} if place is None else {"page_id": place})
        page = self._get("/v2/user/medias", query, left_s, headers=self._headers)
        return RawPage(page.content, page.status)

    def rank(self, post_id: str) -> int | None:
        return _number(post_id.partition("_")[0])

    def _user_id(self, name: str, left_s: Callable[[], float]) -> str:
        known = self._ids.get(name)
        if known is not None:
            return known
        page = self._get("/v2/user/by/username", {"username": name}, left_s, headers=self._headers)
        told = _object(page.content)
        user = told.get("user") if isinstance(told.get("user"), dict) else told
        found = str(user.get("pk") or "") if isinstance(user, dict) else ""
        if not USER_PK.fullmatch(found):
            raise ChannelError("no_user", f"HikerAPI gives no number of {name}", page.status)
        self._ids.put(name, found)
        return found


class Resting:
    """When a platform is left alone; several processes may hold one each.

    Its moments are in the log of fetches under `fetch_<platform>`. Resting is kept as a cool-down, which cannot be cut
    short; so each resumption begins a name of its own, for which no cool-down is known yet.
    """

    def __init__(self, control: Control, platform: str) -> None:
        self._fetches, self._platform, self.scope = Fetches(control), platform, f"fetch_{platform}"

    def now(self, moment: datetime) -> Cooling | None:
        """The rest at a moment, None when the platform may be asked."""
        return self._fetches.cooling(self._name(self._resumed()), moment)

    def refused(self, moment: datetime, rest: timedelta, reason: str, detail: str) -> Cooling | None:
        """Leave the platform alone, as it asked."""
        self._fetches.cool(self._name(self._resumed()), moment + rest, reason, detail)
        return self.now(moment)

    def answered(self, moment: datetime) -> None:
        """Note a batch in which a channel answered: failures count only in a row."""
        if self._failed_in_a_row():
            self._fetches.record([Fetch(self.scope, self._platform, BATCH, moment, "answered")])

    def failed(self, moment: datetime, error_class: str) -> Cooling | None:
        """Note a batch in which every channel failed; return the rest that this brings on, if it does."""
        self._fetches.record([Fetch(self.scope, self._platform, BATCH, moment, FAILED, error_class)])
        failed = self._failed_in_a_row()
        if failed < FAILED_BATCHES:
            return None
        detail = f"{failed} batches in a row failed, the last with {error_class}"
        self._fetches.cool(self._name(self._resumed()), moment + BREAKER_REST, "breaker_open", detail)
        return self.now(moment)

    def resume(self, moment: datetime) -> bool:
        """End the rest and forget the failures that led to it; return whether there was a rest."""
        resting = self.now(moment) is not None
        self._fetches.record([Fetch(self.scope, self._platform, "resume", moment, "resumed")])
        return resting

    def _failed_in_a_row(self) -> int:
        since = max((fetch.at for fetch in self._resumed()), default=None)
        batches = self._fetches.of(self.scope, [self._platform], BATCH).get(self._platform, ())
        counted = [batch for batch in batches if since is None or batch.at > since]
        return len(list(takewhile(lambda batch: batch.outcome == FAILED, reversed(counted))))

    def _resumed(self) -> tuple[Fetch, ...]:
        return self._fetches.of(self.scope, [self._platform], "resume").get(self._platform, ())

    def _name(self, resumed: Sequence[Fetch]) -> str:
        return f"{self.scope}:{len(resumed)}" if resumed else self.scope


def key_of(platform: str, env: Mapping[str, str]) -> str:
    """The key for a platform that wants one.

    Raises:
        UserError: it is not set, or can be none.
    """
    name = KEYS[platform]
    key = env.get(name, "").strip()
    if not key:
        raise UserError(
            f"{name} is not set, and {platform} gives nothing without it; set it, or take {platform} out of memes.live"
        )
    if not KEY.fullmatch(key):
        raise UserError(f"{name} holds characters that no key has; set it anew")
    return key


def _vk_owner(name: str) -> dict[str, str]:
    """`club7` is a number in disguise, which VK takes as such even after the club was given another name."""
    numbered = VK_OWNER.fullmatch(name)
    if numbered is None:
        return {"domain": name}
    kind, number = numbered.groups()
    return {"owner_id": number if kind == "id" else f"-{number}"}


def _vk_checked(page: Page) -> None:
    """Raise for a refusal, which comes with status 200; a body that is no JSON is left to the reader."""
    told = _object(page.content).get("error")
    if not isinstance(told, dict):
        return
    code = told.get("error_code")
    code = code if isinstance(code, int) else 0
    message = str(told.get("error_msg") or "no message")[:200]
    passing, rest = code in VK_PASSING, VK_WHOLE.get(code)
    raise ChannelError(f"vk_error_{code}", f"VK says: {message}", page.status, rest=rest, passing=passing)


def _object(content: bytes) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 25 else None

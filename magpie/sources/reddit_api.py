"""Reddit's API: signing in, asking, and what each failure means.

Belongs here: credentials, the HTTP layer below asyncpraw, listings. Does not belong here: what is asked and where the
answers go (`reddit_live.py`).

asyncpraw signs in, keeps to the rate limit and retries. Its objects are passed over: they refuse an author of null,
assert on odd comment trees and hold parsed attributes, where the archive wants the JSON as it came.
"""

import asyncio
import configparser
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from asyncpraw import Reddit
from asyncprawcore.exceptions import OAuthException, RequestException, ResponseException
from asyncprawcore.requestor import Requestor

from magpie.errors import UserError

# One rate window: whoever must wait longer is blocked, not throttled.
MAX_WAIT_SECONDS = 600.0
# A 429 that does not say how long to wait comes from Reddit's edge, which forgets quickly.
DEFAULT_WAIT_SECONDS = 10.0
RATE_LIMIT_WAITS = 2

StopReason = Literal["rate_limited", "server_error", "connection_lost", "unreadable_answer"]


@dataclass(frozen=True)
class RedditCredentials:
    """An approved app's keys; the account is needed only by apps of type script that act as their owner."""

    client_id: str
    client_secret: str = field(repr=False)
    user_agent: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> "RedditCredentials":
        """Read REDDIT_CLIENT_ID, REDDIT_CLIENT_SECRET, REDDIT_USER_AGENT, REDDIT_USERNAME and REDDIT_PASSWORD.

        Raises:
            UserError: one that is needed is missing, or one holds what no header can carry.
        """
        found = {name: env.get(f"REDDIT_{name}", "").strip() for name in ("CLIENT_ID", "CLIENT_SECRET", "USER_AGENT")}
        for name, value in found.items():
            if not value:
                raise UserError(f"REDDIT_{name} is not set; export it to crawl Reddit, or read archives instead")
            if not (value.isascii() and value.isprintable()) or (name == "CLIENT_ID" and ":" in value):
                raise UserError(f"REDDIT_{name} holds a character that Reddit's keys never have; copy it again")
        username, password = env.get("REDDIT_USERNAME") or None, env.get("REDDIT_PASSWORD") or None
        if (username is None) != (password is None):
            missing = "REDDIT_USERNAME" if username is None else "REDDIT_PASSWORD"
            raise UserError(f"{missing} is not set; set both REDDIT_USERNAME and REDDIT_PASSWORD, or neither")
        return cls(found["CLIENT_ID"], found["CLIENT_SECRET"], found["USER_AGENT"], username, password)


RedditFactory = Callable[[RedditCredentials], Reddit]


class AccessRefused(UserError):
    """HTTP 403: the app or the account may not see this."""


class Stopped(Exception):
    """Reddit does not answer any more, retries included."""

    def __init__(self, reason: StopReason, path: str) -> None:
        super().__init__(f"stopped at {path}: {reason}")
        self.reason: StopReason = reason


class Unanswerable(Exception):
    """This one request has no answer (404, a redirect, ...); others may."""


class Transport(Requestor):
    """asyncprawcore's HTTP layer with what it leaves out.

    It sits out a 429 for as long as Reddit asks, makes a cut connection look like what asyncprawcore retries, and
    strips errors of the request, because that holds the secrets.
    """

    def __init__(self, *, sleep: Callable[[float], Awaitable[None]], **settings: Any) -> None:
        self._sleep = sleep
        super().__init__(**settings)

    @asynccontextmanager
    async def request(self, *args: Any, **kwargs: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request; see the base class."""
        for attempt in range(RATE_LIMIT_WAITS + 1):
            async with self._once(*args, **kwargs) as response:
                wait = _asked_wait(response) if attempt < RATE_LIMIT_WAITS else None
                if wait is None:
                    if response.status in (400, 429):
                        # asyncpraw's own handling of these two reads header and body without checking them.
                        raise ResponseException(response)
                    yield response
                    return
            await self._sleep(wait)

    @asynccontextmanager
    async def _once(self, *args: Any, **kwargs: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        response = None
        try:
            async with super().request(*args, **kwargs) as response:
                yield response
        except RequestException as error:
            if response is not None and response.status >= 400:
                raise ResponseException(response) from None
            original = error.original_exception
            if isinstance(original, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | TimeoutError):
                original = ConnectionError(type(original).__name__)
            raise RequestException(original, (), {}) from None


def _asked_wait(response: aiohttp.ClientResponse) -> float | None:
    """Seconds to wait before asking again; null: this answer is final."""
    if response.status != 429:
        return None
    said = response.headers.get("retry-after") or response.headers.get("x-ratelimit-reset")
    try:
        seconds = DEFAULT_WAIT_SECONDS if said is None else float(said)
    except ValueError:
        seconds = DEFAULT_WAIT_SECONDS
    return seconds if 0 <= seconds <= MAX_WAIT_SECONDS else None


def connect(
    credentials: RedditCredentials,
    *,
    oauth_url: str = "https://oauth.reddit.com",
    reddit_url: str = "https://www.reddit.com",
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Reddit:
    """Return a client that takes nothing from a praw.ini; nothing is sent yet. Close it, or use `async with`.

    Raises:
        UserError: a praw.ini lies about that asyncpraw cannot parse.
    """
    with warnings.catch_warnings():
        # A praw.ini in the working directory that names other endpoints: both are given here, so it has no effect.
        warnings.filterwarnings("ignore", message="The praw.ini in the current")
        try:
            return Reddit(
                "DEFAULT",
                requestor_class=Transport,
                requestor_kwargs={"sleep": sleep},
                check_for_updates=False,
                client_id=credentials.client_id,
                client_secret=credentials.client_secret,
                user_agent=credentials.user_agent,
                username=credentials.username,
                password=credentials.password,
                refresh_token=None,
                redirect_uri=None,
                oauth_url=oauth_url,
                reddit_url=reddit_url,
                ratelimit_seconds=5,
                timeout=16,
                window_size=600,
            )
        except configparser.Error:
            raise UserError("a praw.ini here or in the configuration folder is broken; mend or remove it") from None


class Api:
    """Requests whose every failure is one of three: the user's (UserError), final (Stopped), or this path's."""

    def __init__(self, reddit: Reddit) -> None:
        self._reddit = reddit
        self.calls = 0

    @property
    def rate_limit_left(self) -> int | None:
        left = self._reddit.auth.limits["remaining"]
        return left if isinstance(left, int) else None

    async def get(self, path: str, **params: str | int) -> Any:
        return await self._ask(path, method="GET", params=params)

    async def post(self, path: str, **data: str) -> Any:
        return await self._ask(path, method="POST", data=data)

    async def _ask(self, path: str, **request: Any) -> Any:
        self.calls += 1
        try:
            return await self._reddit.request(path=path, **request)
        except OAuthException:
            raise UserError("Reddit refused the sign-in; check REDDIT_USERNAME and REDDIT_PASSWORD") from None
        except ResponseException as error:
            raise _failure(error.response.status, path) from None
        except RequestException as error:
            lost = isinstance(error.original_exception, OSError)
            raise Stopped("connection_lost" if lost else "unreadable_answer", path) from None
        except (KeyError, TypeError, AttributeError):
            # Only a token answer of another shape gets here: asyncprawcore takes it apart unchecked.
            raise Stopped("unreadable_answer", path) from None


def _failure(status: int, path: str) -> Exception:
    if status == 401:
        return UserError("Reddit refused the credentials (HTTP 401); check REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET")
    if status == 403:
        return AccessRefused(
            f"Reddit refused access to {path} (HTTP 403); check that the app is approved, that REDDIT_USER_AGENT "
            "says who you are and that the subreddits are public"
        )
    if status == 429:
        return Stopped("rate_limited", path)
    if status >= 500:
        return Stopped("server_error", path)
    if status < 300:
        return Stopped("unreadable_answer", path)
    return Unanswerable(f"{path} has no answer (HTTP {status})")


def children(listing: Any, path: str) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
    """The (kind, data) pairs of a listing and where its next page begins."""
    data = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(data, dict):
        raise Stopped("unreadable_answer", path)
    after = data.get("after")
    return things(data.get("children"), path), after if isinstance(after, str) and after else None


def things(found: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(found, list):
        raise Stopped("unreadable_answer", path)
    return [
        (str(thing.get("kind")), thing["data"])
        for thing in found
        if isinstance(thing, dict) and isinstance(thing.get("data"), dict)
    ]

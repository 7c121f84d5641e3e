"""The live Reddit client: what searches find goes into a landing archive that reads like any other dump.

Belongs here: asking Reddit, bounding what is asked, writing the answers as NDJSON lines, asking which posts are gone.
Does not belong here: what a line means (`reddit_lines.py`), which keywords a campaign has, judging posts.

asyncpraw signs in, keeps to the rate limit and retries. Its objects are passed over: they refuse an author of null,
assert on odd comment trees and hold parsed attributes, where the archive wants the JSON as it came.
"""

import asyncio
import configparser
import json
import math
import os
import re
import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import aiohttp
from asyncpraw import Reddit
from asyncprawcore.exceptions import OAuthException, RequestException, ResponseException
from asyncprawcore.requestor import Requestor

from magpie.errors import UserError
from magpie.sources.reddit_lines import BOOL_FIELDS, MAX_TEXT_CHARS, NUMBER_FIELDS, TEXT_FIELDS

# Reddit serves at most this many items a page, ids an `info` call and children a `morechildren` call.
PAGE = 100
# Reddit's search refuses longer queries.
MAX_SEARCH_CHARS = 512
# One rate window: whoever must wait longer is blocked, not throttled.
MAX_WAIT_SECONDS = 600.0
# A 429 that does not say how long to wait comes from Reddit's edge, which forgets quickly.
DEFAULT_WAIT_SECONDS = 10.0
RATE_LIMIT_WAITS = 2
# By the author's or a right holder's wish; what moderators removed is judged by its content_state instead.
DELETED_CATEGORIES = ("deleted", "author", "content_takedown")

ID = re.compile(r"[0-9a-z]{1,13}")
FULLNAME = re.compile(r"t[13]_[0-9a-z]{1,13}")
SUBREDDIT = re.compile(r"[A-Za-z0-9_]{2,24}")

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


def search_text(keyword: str) -> str:
    """Turn a keyword (`phrase`, `a + b`, trailing `*`) into a query for Reddit's search.

    A phrase is quoted. One with `*` is not: Reddit knows no prefixes, but stems loose words. What Reddit finds is
    matched again locally, so a query may be too wide, never too narrow.

    Raises:
        ValueError: nothing to search for, or longer than Reddit allows.
    """
    parts = []
    for part in re.split(r"\s+\+\s+", keyword.strip()):
        words = re.sub(r"[\"\\]", " ", part.rstrip("*")).split()
        if part.endswith("*"):
            # Bare AND, OR and NOT are operators; so is most punctuation.
            words = re.findall(r"\w+", " ".join(words).lower())
        if not words:
            raise ValueError(f"keyword {keyword!r} has a phrase without words")
        parts.append(" ".join(words) if part.endswith("*") else f'"{" ".join(words)}"')
    text = " AND ".join(parts)
    if len(text) > MAX_SEARCH_CHARS:
        raise ValueError(f"keyword {keyword[:40]!r}... is longer than the {MAX_SEARCH_CHARS} characters of a search")
    return text


@dataclass(frozen=True)
class CrawlQuery:
    """One search.

    Attributes:
        campaign_id: whose it is; for messages.
        keyword: as written in the settings; it marks the posts that the search returned.
        search: what Reddit is asked (`search_text`).
        subreddits: names without `r/`; empty: all of Reddit.
    """

    campaign_id: str
    keyword: str
    search: str
    subreddits: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The subreddits as Reddit's paths join them.

        Raises:
            UserError: a name that no subreddit can have.
        """
        for name in self.subreddits:
            if not SUBREDDIT.fullmatch(name):
                raise UserError(f"campaign {self.campaign_id}: {name!r} is no subreddit name; write it without r/")
        return "+".join(sorted(self.subreddits, key=str.lower)) or "all"


@dataclass(frozen=True)
class CrawlLimits:
    """Bounds of one crawl: rows per search, comments per submission; `hot_posts` costs a call per subreddit."""

    search_limit: int = 250
    max_comments_per_submission: int = 200
    hot_posts: bool = False


@dataclass(frozen=True)
class CrawlResult:
    """What a crawl brought home.

    Attributes:
        submissions, comments: lines written.
        files: the landing file, none when nothing was found.
        calls: requests made of the API, without sign-in and retries.
        stopped_reason: null when every query was answered.
        problems: one line for each thing passed over or stopped at.
        earliest_created, latest_created: of the posts written, UTC.
        days: UTC dates of the posts written, sorted.
        rate_limit_left: requests left in Reddit's window, null when it never said.
    """

    submissions: int
    comments: int
    files: tuple[Path, ...]
    calls: int
    stopped_reason: StopReason | None
    problems: tuple[str, ...]
    earliest_created: datetime | None
    latest_created: datetime | None
    days: tuple[date, ...]
    rate_limit_left: int | None


@dataclass(frozen=True)
class Deletion:
    """A post that is gone (`post`), or whose author is (`author`)."""

    fullname: str
    detected_at: datetime
    kind: Literal["post", "author"]


class AccessRefused(UserError):
    """HTTP 403: the app or the account may not see this."""


class SweepStopped(UserError):
    """Reddit stopped answering; `found` is what the calls before it told."""

    def __init__(self, message: str, found: Sequence[Deletion]) -> None:
        super().__init__(message)
        self.found = tuple(found)


class _Stopped(Exception):
    """Reddit does not answer any more, retries included."""

    def __init__(self, reason: StopReason, path: str) -> None:
        super().__init__(f"stopped at {path}: {reason}")
        self.reason: StopReason = reason


class _Unanswerable(Exception):
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


class _Api:
    """Requests whose every failure is one of three: the user's (UserError), final (_Stopped), or this path's."""

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
            raise _Stopped("connection_lost" if lost else "unreadable_answer", path) from None
        except (KeyError, TypeError, AttributeError):
            # Only a token answer of another shape gets here: asyncprawcore takes it apart unchecked.
            raise _Stopped("unreadable_answer", path) from None


def _failure(status: int, path: str) -> Exception:
    if status == 401:
        return UserError("Reddit refused the credentials (HTTP 401); check REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET")
    if status == 403:
        return AccessRefused(
            f"Reddit refused access to {path} (HTTP 403); check that the app is approved, that REDDIT_USER_AGENT "
            "says who you are and that the subreddits are public"
        )
    if status == 429:
        return _Stopped("rate_limited", path)
    if status >= 500:
        return _Stopped("server_error", path)
    if status < 300:
        return _Stopped("unreadable_answer", path)
    return _Unanswerable(f"{path} has no answer (HTTP {status})")


def _children(listing: Any, path: str) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
    """The (kind, data) pairs of a listing and where its next page begins."""
    data = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(data, dict):
        raise _Stopped("unreadable_answer", path)
    after = data.get("after")
    return _things(data.get("children"), path), after if isinstance(after, str) and after else None


def _things(found: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(found, list):
        raise _Stopped("unreadable_answer", path)
    return [
        (str(thing.get("kind")), thing["data"])
        for thing in found
        if isinstance(thing, dict) and isinstance(thing.get("data"), dict)
    ]


def landing_fields(kind: str, data: Mapping[str, Any], retrieved: datetime) -> dict[str, Any] | None:
    """Reduce an API object to what the archive reader knows; the rest, profiles included, is not kept.

    Args:
        kind: `t1` or `t3`.
        data: the object as the API sent it.
        retrieved: when.

    Returns:
        Fields of one line, or null for an object without a usable id.
    """
    bare = data.get("id")
    if not isinstance(bare, str) or not ID.fullmatch(bare):
        return None
    kept = {name: _plain(data.get(name)) for name in (*TEXT_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS)}
    line = {name: value for name, value in kept.items() if value is not None}
    created = line.get("created_utc")
    if isinstance(created, float) and created.is_integer():
        line["created_utc"] = int(created)
    return line | {"name": f"{kind}_{bare}", "retrieved_on": int(retrieved.timestamp()), "source": "live"}


def _plain(value: Any) -> str | int | float | bool | None:
    """A JSON scalar that can be written again; whether its type suits the field is for the archive reader to say."""
    if isinstance(value, str):
        # Half a surrogate pair is legal JSON but no text.
        return value[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float) else None


class _LandingFile:
    """A landing file that appears whole, under a name of its own, or not at all."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.lines = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._final, self._partial = _reserve(folder, f"live_{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; grant write permission") from None
        self._file = self._partial.open("w", encoding="ascii")

    def write(self, line: Mapping[str, Any]) -> None:
        # Escaped like the public dumps: no character inside a text can then end a line for some reader.
        self._file.write(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n")
        self.lines += 1

    def publish(self) -> tuple[Path, ...]:
        """Make what was written durable and visible; a file without lines is dropped."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        if not self.lines:
            self._partial.unlink()
            return ()
        self._partial.rename(self._final)
        folder = os.open(self._final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return (self._final,)


def _reserve(folder: Path, stem: str) -> tuple[Path, Path]:
    """A name no other crawl has or gets: whoever holds the partial file is the only one to publish under it."""
    number = 1
    while True:
        name = stem if number == 1 else f"{stem}_{number}"
        # Archive readers pass over hidden names.
        final, partial = folder / f"{name}.ndjson", folder / f".{name}.ndjson.part"
        number += 1
        try:
            partial.touch(exist_ok=False)
        except FileExistsError:
            continue
        if not final.exists():
            return final, partial
        partial.unlink()


class _Crawler:
    """One crawl: all searches, then the comment trees of what they found."""

    def __init__(self, api: _Api, landing: _LandingFile, clock: Callable[[], datetime], limits: CrawlLimits) -> None:
        self._api, self._landing, self._clock, self._limits = api, landing, clock, limits
        self._found: dict[str, dict[str, Any]] = {}
        self._matched: dict[str, set[str]] = {}
        self.created: list[int | float] = []
        self.submissions = self.comments = 0
        self.problems: list[str] = []

    async def run(self, queries: Sequence[CrawlQuery]) -> None:
        keywords: dict[tuple[str, str], set[str]] = {}
        for query in queries:
            keywords.setdefault((query.place, query.search), set()).add(query.keyword)
        try:
            for (place, search), asking in keywords.items():
                await self._search(place, search, asking)
            if self._limits.hot_posts:
                await self._count_hot_posts()
        finally:
            # Also when a search failed: what the others found stays found.
            for fullname, line in self._found.items():
                self._write(line, sorted(self._matched[fullname]))
                self.submissions += 1
        if self._limits.max_comments_per_submission > 0:
            for line in self._found.values():
                if line.get("num_comments") != 0:
                    await self._land_comments(line)

    async def _search(self, place: str, search: str, keywords: set[str]) -> None:
        path, left = f"r/{place}/search/", self._limits.search_limit
        after: str | None = None
        while left > 0:
            params: dict[str, str | int] = {"q": search, "sort": "new", "t": "all", "syntax": "lucene", "type": "link"}
            params |= {"limit": min(PAGE, left), "restrict_sr": "false" if place == "all" else "true"}
            if after is not None:
                params["after"] = after
            try:
                answer = await self._api.get(path, **params)
            except _Unanswerable as error:
                self.problems.append(str(error))
                return
            page, following = _children(answer, path)
            for kind, data in page[:left]:
                line = landing_fields(kind, data, self._clock()) if kind == "t3" else None
                if line is not None:
                    self._found[line["name"]] = line
                    self._matched.setdefault(line["name"], set()).update(keywords)
            left -= len(page)
            if not page or following is None or following == after:
                return
            after = following

    async def _count_hot_posts(self) -> None:
        names = {str(line.get("subreddit")) for line in self._found.values()}
        for name in sorted(name for name in names if SUBREDDIT.fullmatch(name)):
            path = f"r/{name}/hot"
            try:
                hot = len(_children(await self._api.get(path, limit=PAGE), path)[0])
            except (_Unanswerable, AccessRefused):
                self.problems.append(f"hot posts of r/{name} could not be counted")
                continue
            for line in self._found.values():
                if line.get("subreddit") == name:
                    line["subreddit_hot_posts"] = hot

    async def _land_comments(self, submission: Mapping[str, Any]) -> None:
        try:
            async for data in self._tree(submission["id"]):
                line = landing_fields("t1", data, self._clock())
                if line is not None:
                    # A search returns submissions only: none of these was returned for a keyword.
                    self._write(line, [])
                    self.comments += 1
        except (_Unanswerable, AccessRefused):
            # Gone or closed since the search; the next tree may be open.
            self.problems.append(f"comments of {submission['name']} could not be read")

    async def _tree(self, submission_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield comments from the top down, at most as many as the limit allows."""
        path, most = f"comments/{submission_id}/", self._limits.max_comments_per_submission
        answer = await self._api.get(path, limit=most, sort="new")
        if not isinstance(answer, list) or len(answer) != 2:
            raise _Stopped("unreadable_answer", path)
        level, _ = _children(answer[1], path)
        seen: set[Any] = set()
        hidden: deque[str] = deque()
        # Each round may ask for a full page; more rounds than pages would only chase removed comments.
        for _ in range(1 + math.ceil(most / PAGE)):
            for data in _flatten(level, hidden, path):
                if len(seen) < most and data.get("id") not in seen:
                    seen.add(data.get("id"))
                    yield data
            batch = [hidden.popleft() for _ in range(min(len(hidden), PAGE, most - len(seen)))]
            if not batch:
                return
            level = await self._more(submission_id, batch)

    async def _more(self, submission_id: str, ids: list[str]) -> list[tuple[str, dict[str, Any]]]:
        path = "api/morechildren/"
        answer = await self._api.post(path, link_id=f"t3_{submission_id}", children=",".join(ids), sort="new")
        inner = answer.get("json") if isinstance(answer, dict) else None
        data = inner.get("data") if isinstance(inner, dict) else None
        return _things(data.get("things") if isinstance(data, dict) else None, path)

    def _write(self, line: dict[str, Any], matched_queries: list[str]) -> None:
        self._landing.write(line | {"matched_queries": matched_queries})
        created = line.get("created_utc")
        # The last second that a datetime can name; other values become bad lines.
        if isinstance(created, int | float) and 0 <= created < 253_402_300_800:
            self.created.append(created)


def _flatten(level: list[tuple[str, dict[str, Any]]], hidden: deque[str], path: str) -> Iterable[dict[str, Any]]:
    """Yield the comments below `level`, parents first; ids that Reddit left out go to `hidden`."""
    waiting = deque(level)
    while waiting:
        kind, data = waiting.popleft()
        if kind == "more":
            ids = data.get("children")
            if isinstance(ids, list):
                hidden.extend(bare for bare in ids if isinstance(bare, str) and ID.fullmatch(bare))
        elif kind == "t1":
            # "" where there are none.
            if data.get("replies"):
                waiting.extend(_children(data["replies"], path)[0])
            yield data


async def crawl(
    queries: Sequence[CrawlQuery],
    *,
    credentials: RedditCredentials,
    landing_dir: Path,
    clock: Callable[[], datetime],
    limits: CrawlLimits | None = None,
    reddit_factory: RedditFactory = connect,
) -> CrawlResult:
    """Search Reddit, read the comments of what was found, and write all of it to one new landing file.

    Every post is written once, with all keywords whose search returned it. Whatever ends the crawl early, what was
    fetched before is in the file.

    Raises:
        UserError: Reddit refuses the credentials or the access, or the landing cannot be written.
    """
    landing = _LandingFile(landing_dir, clock())
    stopped: _Stopped | None = None
    refused: UserError | None = None
    try:
        async with reddit_factory(credentials) as reddit:
            api = _Api(reddit)
            crawler = _Crawler(api, landing, clock, limits or CrawlLimits())
            try:
                await crawler.run(queries)
            except _Stopped as stop:
                stopped = stop
                crawler.problems.append(str(stop))
            except UserError as error:
                refused = error
    finally:
        files = landing.publish()
    if refused is not None:
        kept = f"; {landing.lines} already fetched are kept in {files[0].name}" if files else ""
        raise UserError(f"{refused}{kept}") from None
    moments = [datetime.fromtimestamp(second, UTC) for second in crawler.created]
    return CrawlResult(
        submissions=crawler.submissions,
        comments=crawler.comments,
        files=files,
        calls=api.calls,
        stopped_reason=stopped.reason if stopped else None,
        problems=tuple(crawler.problems),
        earliest_created=min(moments, default=None),
        latest_created=max(moments, default=None),
        days=tuple(sorted({moment.date() for moment in moments})),
        rate_limit_left=api.rate_limit_left,
    )


async def check_deleted(
    fullnames: Iterable[str],
    *,
    credentials: RedditCredentials,
    clock: Callable[[], datetime],
    reddit_factory: RedditFactory = connect,
) -> list[Deletion]:
    """Ask which of these posts or their authors are gone, 100 a call; in the order given, each once.

    Raises:
        ValueError: something that is no `t1_` or `t3_` fullname.
        SweepStopped: Reddit stopped answering; carries what was found until then.
        UserError: Reddit refuses the credentials or the access.
    """
    wanted = list(dict.fromkeys(fullnames))
    for name in wanted:
        if not FULLNAME.fullmatch(name):
            raise ValueError(f"{name!r} is no fullname of a post")
    found: list[Deletion] = []
    if not wanted:
        return found
    async with reddit_factory(credentials) as reddit:
        api = _Api(reddit)
        for start in range(0, len(wanted), PAGE):
            asked = wanted[start : start + PAGE]
            try:
                answer, _ = _children(await api.get("api/info/", id=",".join(asked)), "api/info/")
            except (_Stopped, _Unanswerable) as error:
                raise SweepStopped(f"deletion sweep {error}; run it again later", found) from None
            current = {f"{kind}_{data.get('id')}": data for kind, data in answer}
            kinds = ((name, _gone(current.get(name))) for name in asked)
            found.extend(Deletion(name, clock(), kind) for name, kind in kinds if kind is not None)
    return found


def _gone(data: Mapping[str, Any] | None) -> Literal["post", "author"] | None:
    if data is None:
        return "post"
    text = data.get("body", data.get("selftext"))
    if text == "[deleted]" or data.get("removed_by_category") in DELETED_CATEGORIES:
        return "post"
    return "author" if data.get("author") in (None, "[deleted]") else None

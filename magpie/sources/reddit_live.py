"""The live Reddit client: what searches find goes into a landing archive that reads like any other dump.

Belongs here: asking Reddit, bounding what is asked, writing the answers as NDJSON lines, asking which posts are gone.
Does not belong here: what a line means (`reddit_lines.py`), which keywords a campaign has, judging posts.
"""

import math
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from magpie.errors import UserError
from magpie.sources.live_archive import ID, LandingFile, landing_fields
from magpie.sources.reddit_api import (
    AccessRefused,
    Api,
    RedditCredentials,
    RedditFactory,
    Stopped,
    StopReason,
    Unanswerable,
    children,
    connect,
    things,
)

# Reddit serves at most this many items a page, ids an `info` call and children a `morechildren` call.
PAGE = 100
# Reddit's search refuses longer queries.
MAX_SEARCH_CHARS = 512
# By the author's or a right holder's wish; what moderators removed is judged by its content_state instead.
DELETED_CATEGORIES = ("deleted", "author", "content_takedown")

FULLNAME = re.compile(r"t[13]_[0-9a-z]{1,13}")
SUBREDDIT = re.compile(r"[A-Za-z0-9_]{2,24}")


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


class SweepStopped(UserError):
    """Reddit stopped answering; `found` is what the calls before it told."""

    def __init__(self, message: str, found: Sequence[Deletion]) -> None:
        super().__init__(message)
        self.found = tuple(found)


class _Crawler:
    """One crawl: all searches, then the comment trees of what they found."""

    def __init__(self, api: Api, landing: LandingFile, clock: Callable[[], datetime], limits: CrawlLimits) -> None:
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
            except Unanswerable as error:
                self.problems.append(str(error))
                return
            page, following = children(answer, path)
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
                hot = len(children(await self._api.get(path, limit=PAGE), path)[0])
            except (Unanswerable, AccessRefused):
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
        except (Unanswerable, AccessRefused):
            # Gone or closed since the search; the next tree may be open.
            self.problems.append(f"comments of {submission['name']} could not be read")

    async def _tree(self, submission_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield comments from the top down, at most as many as the limit allows."""
        path, most = f"comments/{submission_id}/", self._limits.max_comments_per_submission
        answer = await self._api.get(path, limit=most, sort="new")
        if not isinstance(answer, list) or len(answer) != 2:
            raise Stopped("unreadable_answer", path)
        level, _ = children(answer[1], path)
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
        return things(data.get("things") if isinstance(data, dict) else None, path)

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
                waiting.extend(children(data["replies"], path)[0])
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
    landing = LandingFile(landing_dir, clock())
    stopped: Stopped | None = None
    refused: UserError | None = None
    try:
        async with reddit_factory(credentials) as reddit:
            api = Api(reddit)
            crawler = _Crawler(api, landing, clock, limits or CrawlLimits())
            try:
                await crawler.run(queries)
            except Stopped as stop:
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
        api = Api(reddit)
        for start in range(0, len(wanted), PAGE):
            asked = wanted[start : start + PAGE]
            try:
                answer, _ = children(await api.get("api/info/", id=",".join(asked)), "api/info/")
            except (Stopped, Unanswerable) as error:
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

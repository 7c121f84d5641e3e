"""Fetching channels: pages become files that read like any other archive, and the media of new posts are stored.

Belongs here: which channels of a platform are asked in one batch, how far back, within which time, and when a platform
is left alone. Does not belong here: asking (`sources/channel_clients.py`), one download (`downloads.py`), what becomes
of the files (`listing.py`, `posts.py`), the order of channels (`sources.py`).
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.environment import Environment
from magpie.errors import UserError
from magpie.fetches import Cooling, Fetch, Fetches, plain_detail
from magpie.lake import Lake
from magpie.memes import logs
from magpie.memes.downloads import OK, REFUSED, TIMEOUT_S, Downloads
from magpie.memes.listing import stamp_of
from magpie.memes.naming import media_item, meme_id_of, name_of
from magpie.memes.sources import Listed, fetch_order, meme_sources
from magpie.memes.tables import MEME_FILES, MEME_POSTS, SOURCE_STATS
from magpie.settings import Settings
from magpie.sources.channel_clients import (
    ChannelClient,
    ChannelError,
    HikerApi,
    Resting,
    TelegramWeb,
    VkWall,
    key_of,
)
from magpie.sources.channel_payloads import read_payload
from magpie.sources.meme_posts import PayloadError, RawPost
from magpie.sources.web import Web, WebError
from magpie.sources.whole_file import write_whole
from magpie.utc import utc_now

# A channel that takes longer holds up the others.
SOURCE_TIME = timedelta(seconds=300)
SOURCE_PAUSE_S = 5.0
# Telegram's batches are the widest.
RUN_TIME = {"telegram": timedelta(seconds=1800)}
OTHER_RUN_TIME = timedelta(seconds=900)
# Only of these a meme can be made; the rest is not worth its bytes.
KINDS = frozenset({"photo", "video", "animation"})
# The first medium of a post; a meme has no other.
FIRST = 0


@dataclass(frozen=True)
class Channel:
    """A source to ask.

    Attributes:
        last_seen_id: the newest post that landed before; None: none has.
    """

    source_id: str
    last_seen_id: str | None = None


@dataclass(frozen=True)
class FetchRules:
    """How much of a platform one batch asks for.

    Attributes:
        width: channels.
        posts: at least so many of each channel are read again, so that their counts are fresh.
        pages: of each channel, at most.
        vk_text_max: what the reader of VK holds texts against.
        media_stop_after: so many downloads that fail in a row end those of a channel.
    """

    width: int
    posts: int
    pages: int
    vk_text_max: int
    media_stop_after: int

    @classmethod
    def of(cls, settings: Settings, platform: str) -> "FetchRules":
        memes = settings.memes
        width = getattr(memes.sources_per_run, platform)
        return cls(width, memes.posts_per_source, memes.max_pages, memes.vk_text_max, memes.media_stop_after)


@dataclass(frozen=True)
class Visit:
    """What came of asking one channel.

    Attributes:
        posts: that were on its pages, each counted once.
        files: the pages, newest first.
        media: downloads by outcome.
        error_class: the word for why it ended early; None: it did not.
    """

    source_id: str
    posts: int
    files: tuple[Path, ...]
    media: Mapping[str, int]
    error_class: str | None = None
    detail: str | None = None

    @property
    def failed(self) -> bool:
        """Whether nothing was learnt of the channel."""
        return self.error_class is not None and self.posts == 0


@dataclass(frozen=True)
class Report:
    """What came of one batch.

    Attributes:
        left: sources that were not asked, because the time was over or the platform rests.
        rest: how long the platform is left alone; None: it may be asked.
    """

    platform: str
    visits: tuple[Visit, ...]
    left: tuple[str, ...] = ()
    rest: Cooling | None = None


class _UserIds:
    """Instagram's number of each name, kept in the log of fetches."""

    def __init__(self, fetches: Fetches, clock: Callable[[], datetime]) -> None:
        self._fetches, self._clock = fetches, clock

    def get(self, name: str) -> str | None:
        found = self._fetches.of("instagram", [name], "user_id").get(name, ())
        return found[-1].detail if found else None

    def put(self, name: str, number: str) -> None:
        self._fetches.record([Fetch("instagram", name, "user_id", self._clock(), OK, number)])


@dataclass
class _Found:
    """What one channel has given so far, kept whatever ends the visit."""

    posts: dict[str, RawPost] = field(default_factory=dict)
    bad: int = 0
    files: list[Path] = field(default_factory=list)
    newest_sha256: str | None = None
    status: int | None = None

    @property
    def n_posts(self) -> int:
        return len(self.posts) + self.bad


class Fetcher:
    """Asks the channels of one platform after another; constructing it opens nothing.

    Args:
        env: where keys are.
        bases: addresses of platforms in place of their own, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        control: Control,
        web: Web,
        blobs: Blobs,
        *,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        env: Mapping[str, str] = Environment(),
        bases: Mapping[str, str] | None = None,
    ) -> None:
        self._settings, self._lake, self._control, self._web = settings, lake, control, web
        self._downloads = Downloads(control, blobs, web)
        self._clock, self._sleep, self._env, self._bases = clock, sleep, env, dict(bases or {})

    def fetch(self, platform: str) -> Report:
        """Ask the channels of a platform whose turn it is (`fetch_channels`)."""
        return self.fetch_channels(platform, self.waiting(platform))

    def waiting(self, platform: str) -> list[Channel]:
        """The enabled channels of a platform, first those whose turn it is, as of all that was decided and fetched."""
        listed = Listed.of(self._settings, self._lake.read(MEME_FILES).collect())
        fetches = logs.FETCHES.read(self._control)
        posts = self._lake.read(MEME_POSTS).filter(pl.col("platform") == platform)
        sources = meme_sources(listed, logs.SOURCE_EVENTS.read(self._control), fetches, posts)
        stats = self._lake.read(SOURCE_STATS).collect()
        order = fetch_order(sources.filter(pl.col("platform") == platform), stats, fetches)
        return [Channel(*row) for row in order.select("source_id", "last_seen_id").iter_rows()]

    def fetch_channels(self, platform: str, channels: Sequence[Channel]) -> Report:
        """Ask channels, in this order and as many as one batch takes.

        A channel that fails is told in the report and in the log, and the next one is asked. While the platform rests
        nothing is asked.

        Raises:
            UserError: the platform is not to be asked, its key is not set, or files or the log cannot be written.
        """
        client = self._client(platform)
        rules, resting = FetchRules.of(self._settings, platform), Resting(self._control, platform)
        chosen = channels[: rules.width]
        rest = resting.now(self._clock())
        over = self._clock() + RUN_TIME.get(platform, OTHER_RUN_TIME)
        visits: list[Visit] = []
        for channel in chosen:
            if rest is not None or self._clock() >= over:
                break
            if visits:
                self._sleep(SOURCE_PAUSE_S)
            visit, error = self._visit(client, channel, rules, min(over, self._clock() + SOURCE_TIME))
            visits.append(visit)
            if isinstance(error, ChannelError) and error.rest is not None:
                rest = resting.refused(self._clock(), error.rest, error.kind, error.detail)
        if visits and all(visit.failed for visit in visits):
            rest = resting.failed(self._clock(), visits[-1].error_class or "") or rest
        elif visits:
            resting.answered(self._clock())
        left = tuple(channel.source_id for channel in chosen[len(visits) :])
        return Report(platform, tuple(visits), left, rest)

    def _client(self, platform: str) -> ChannelClient:
        if platform not in self._settings.memes.live:
            raise UserError(f"{platform} is not asked; add it to memes.live in magpie.yaml")
        base = self._bases.get(platform)
        if platform == "telegram":
            return TelegramWeb(self._web, self._sleep, base)
        key = key_of(platform, self._env)
        if platform == "vk":
            return VkWall(self._web, self._sleep, key, base)
        return HikerApi(self._web, self._sleep, key, _UserIds(Fetches(self._control), self._clock), base)

    def _visit(
        self, client: ChannelClient, channel: Channel, rules: FetchRules, until: datetime
    ) -> tuple[Visit, WebError | PayloadError | None]:
        """Ask one channel, log it, and store the media of its new posts."""

        def left_s() -> float:
            return (until - self._clock()).total_seconds()

        at, found = self._clock(), _Found()
        error: WebError | PayloadError | None = None
        try:
            self._read(client, channel, rules, left_s, found)
        except (WebError, PayloadError) as problem:
            error = problem
        word, detail = _told(error)
        row = {
            "fetch_id": f"{channel.source_id}@{stamp_of(at)}",
            "source_id": channel.source_id,
            "at": at,
            "n_posts": found.n_posts,
            "http_status": error.status if isinstance(error, WebError) and error.status else found.status,
            "payload_sha256": found.newest_sha256,
            "error_class": word,
            "detail": detail,
        }
        logs.FETCHES.append(self._control, [row])
        media = self._media(channel, list(found.posts.values()), rules.media_stop_after, left_s)
        return Visit(channel.source_id, found.n_posts, tuple(found.files), media, word, detail), error

    def _read(
        self,
        client: ChannelClient,
        channel: Channel,
        rules: FetchRules,
        left_s: Callable[[], float],
        found: _Found,
    ) -> None:
        """Land the newest pages of a channel, back to what landed before.

        Raises:
            WebError: a page could not be had.
            PayloadError: a page landed and is none.
        """
        name = name_of(channel.source_id)
        place: str | None = None
        for number in range(1, rules.pages + 1):
            if number > 1:
                self._sleep(client.pause_s)
            page = client.page(name, place, left_s)
            found.status = page.status
            found.newest_sha256 = found.newest_sha256 or hashlib.sha256(page.content).hexdigest()
            path = self._settings.live_memes / client.platform / name
            stamp = stamp_of(self._clock())
            found.files.append(write_whole(path / f"{stamp}-{number}.{client.ending}", page.content))
            _, payload = read_payload(page.content, client.platform, name, vk_text_max=rules.vk_text_max)
            found.bad += len(payload.bad)
            found.posts |= {post.post_id: post for post in payload.posts if post.post_id not in found.posts}
            place = client.older(payload, place)
            if place is None or _far_enough(client, channel, rules, found.posts):
                return

    def _media(
        self, channel: Channel, posts: Sequence[RawPost], stop_after: int, left_s: Callable[[], float]
    ) -> dict[str, int]:
        """Store what posts show, the newest first, unless it was tried before: trying again has its own times."""
        newest_first = sorted(posts, key=lambda post: (post.published_at, post.post_id), reverse=True)
        urls = {meme_id_of(channel.source_id, post.post_id): url for post in newest_first if (url := _wanted(post))}
        known = self._downloads.known([media_item(meme_id, FIRST) for meme_id in urls])
        outcomes: Counter[str] = Counter()
        in_a_row = 0
        for meme_id, url in urls.items():
            if media_item(meme_id, FIRST) in known:
                continue
            # A download that our own haste cut off would count against the medium.
            if left_s() < TIMEOUT_S or in_a_row >= stop_after:
                break
            fetch = self._downloads.fetch(meme_id, FIRST, url, self._clock())
            in_a_row = 0 if fetch.outcome == OK or fetch.outcome in REFUSED else in_a_row + 1
            outcomes[fetch.outcome] += 1
        return dict(outcomes)


def _wanted(post: RawPost) -> str | None:
    """The address of the one medium of a post that may become a meme, None where there is no such thing."""
    if post.rejected is not None or post.unreadable is not None or len(post.media) != 1:
        return None
    medium = post.media[0]
    return medium.url if medium.kind in KINDS else None


def _far_enough(client: ChannelClient, channel: Channel, rules: FetchRules, posts: Mapping[str, RawPost]) -> bool:
    """Whether enough posts were read, and all that are newer than those that landed before.

    Pinned posts may be of any age, so as many old posts as can be pinned prove nothing.
    """
    if len(posts) < rules.posts:
        return False
    seen = channel.last_seen_id
    if seen is None:
        return True
    mark = client.rank(seen)
    ranks = [client.rank(post_id) for post_id in posts]
    old = sum(rank <= mark for rank in ranks if rank is not None) if mark is not None else 0
    return old > client.pinned or (mark is None and seen in posts)


def _told(error: WebError | PayloadError | None) -> tuple[str | None, str | None]:
    if error is None:
        return None, None
    word = error.kind if isinstance(error, WebError) else error.reason
    return word, plain_detail(error.detail)

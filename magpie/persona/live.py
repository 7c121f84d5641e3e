"""The courier: fetches live blogs whose turn it is, and hands out what is ready.

Belongs here: which blogs are visited, whether this tick polls, what may be delivered now, and when Tumblr is left
alone. Does not belong here: what a poll asks for (`fetching.py`), how a post is sent (`delivery.py`), the budget's rule
(`api_budget.py`).
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.environment import Environment
from magpie.lake import Lake
from magpie.llm import breaker
from magpie.llm.store import Store
from magpie.persona import tables as t
from magpie.persona.api_budget import DASH_SAFETY, check_probability, dash_probability, due, usable
from magpie.persona.api_calls import calls_per_poll, client_of, last_poll, noting, recent_calls
from magpie.persona.delivery import BREAKER, Delivered, TumblrDelivery, arrivals, dry_run
from magpie.persona.drafts import outbox_now
from magpie.persona.fetching import STATE, Fetching, State
from magpie.persona.logs import DELIVERIES
from magpie.persona.mood import MoodRules
from magpie.persona.mood_graph import mood_graph
from magpie.persona.outbox_states import OPEN
from magpie.persona.planner import tick_seconds
from magpie.persona.settings import Blog
from magpie.persona.stages import Reader
from magpie.settings import Settings
from magpie.sources.channel_clients import KEY_REST, Resting
from magpie.sources.tumblr_api import AUTH, BASE_URL, LIMIT, Fault, Keys, TumblrApi
from magpie.sources.web import Web
from magpie.utc import utc_now

PLATFORM = "tumblr"
# States of rows that delivery has to know of.
_CONCERNED = (*OPEN, "sending", "queued")
# The picture shows a day; what moved the mood at its beginning came up to this much earlier.
GRAPH_DAYS = 5


@dataclass(frozen=True)
class Told:
    """What came of a visit, in one line, and lines for the operator."""

    line: str
    warnings: tuple[str, ...] = ()


class Courier:
    """Visits live blogs, one after the other; constructing it opens nothing.

    Args:
        env: where keys are. base_url: of Tumblr, for tests.
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
        base_url: str = BASE_URL,
    ) -> None:
        self._settings, self._lake, self._control, self._web = settings, lake, control, web
        self._clock, self._sleep, self._env, self._base_url = clock, sleep, env, base_url
        self._reader = Reader(settings, lake, control, blobs, None, clock)
        self._resting = Resting(control, PLATFORM)

    def visit(self) -> Told:
        """Fetch what is new of live blogs whose turn it is, and deliver what is ready.

        What Tumblr refuses is told and remembered, and is no error. While it wants to be left alone, or its keys are
        refused, nothing is asked.

        Raises:
            UserError: keys are missing, or files or the log cannot be written.
        """
        blogs = [blog for blog in self._settings.blogs if blog.active and blog.mode == "live"]
        if not blogs:
            return Told("no blog is live and active; blogs with mode: live in magpie.yaml are visited")
        keys = Keys.of(self._env)
        lines: list[str] = []
        warnings: list[str] = []
        for blog in blogs:
            line, told = self._visited(blog, keys)
            lines.append(f"{blog.name}: {line}")
            warnings += [f"{blog.name}: {warning}" for warning in told]
        return Told("; ".join(lines), tuple(warnings))

    def resume(self) -> list[str]:
        """Let Tumblr be asked and posts be sent again after whatever stopped them; return what was ended."""
        ended = [PLATFORM] if self._resting.resume(self._clock()) else []
        with closing(Store(self._control)) as store:
            return ended + store.write(lambda connection: breaker.close(connection, BREAKER))

    def _visited(self, blog: Blog, keys: Keys) -> tuple[str, list[str]]:
        rest = self._resting.now(self._clock())
        if rest is not None:
            return f"Tumblr rests until {rest.until:%Y-%m-%d %H:%M} UTC", [f"{rest.reason}: {rest.detail}"]
        fetched, warnings = self._fetched(blog, keys)
        delivered = self._delivered(blog, keys)
        return f"{fetched}; {delivered.line}", [*warnings, *delivered.warnings]

    def _fetched(self, blog: Blog, keys: Keys) -> tuple[str, list[str]]:
        """Poll, if it is the blog's turn and the budget allows."""
        now = self._clock()
        tick_s = tick_seconds(now, self._reader.pace(blog, now), blog, blog.tuned())
        tick = datetime.fromtimestamp(now.timestamp() // tick_s * tick_s, UTC)
        calls = recent_calls(self._control, now)
        before = last_poll(calls, blog.name)
        if before is not None and before >= tick:
            return "polled in this tick", []
        client, taken = client_of(calls, now), calls_per_poll(calls, blog.name)
        share = 1 / max(sum(one.active and one.mode == "live" for one in self._settings.blogs), 1)
        if not due(share * check_probability(tick_s, [client], taken), blog.name, tick):
            return "no poll in this tick", []
        poll = f"{blog.name}@{now.isoformat()}"
        folder = self._settings.live_blogs / blog.name
        fetching = Fetching(self._api(blog, keys, poll), blog.name, folder, self._clock, self._goes_on)
        full = share * check_probability(tick_s, [client], taken, DASH_SAFETY)
        chance = dash_probability(full, State.read(folder / STATE).expected_posts(now))
        found = fetching.run(dash=_reads_dashboard(blog) and due(chance, blog.name, tick, "dash"))
        if found.fault is None:
            return found.line, []
        self._heed(found.fault)
        return found.line, [f"{found.fault.kind}, {found.fault.detail}"]

    def _goes_on(self) -> bool:
        now = self._clock()
        return usable(client_of(recent_calls(self._control, now), now))

    def _delivered(self, blog: Blog, keys: Keys) -> Delivered:
        rows = self._outbox(blog)
        if blog.delivery == "dry_run" or self._resting.now(self._clock()) is not None:
            return dry_run(rows)
        self._note_arrivals(blog, rows)
        api = self._api(blog, keys, None)
        delivery = TumblrDelivery(blog, api, self._control, self._clock, lambda: self._graph(blog))
        told = delivery.deliver(lambda: self._outbox(blog))
        if told.last is not None:
            self._heed(told.last)
        return told

    def _outbox(self, blog: Blog) -> pl.DataFrame:
        """The rows that delivery has to know of, as everything makes them that was said since they were stored."""
        stored = self._lake.read(t.OUTBOX).filter(
            (pl.col("blog") == blog.name) & pl.col("state").is_in(list(_CONCERNED))
        )
        return outbox_now(self._reader, blog, set(stored.select("day").collect()["day"]))

    def _note_arrivals(self, blog: Blog, rows: pl.DataFrame) -> None:
        """Say of posts of the queue that they came out, as pages have shown meanwhile."""
        queued = rows.filter((pl.col("state") == "queued") & (pl.col("publish_at") <= self._clock()))
        if not queued.is_empty():
            DELIVERIES.append(self._control, arrivals(queued, self._reader.own_posts(blog), self._clock()))

    def _graph(self, blog: Blog) -> bytes:
        now = self._clock()
        first = now.date() - timedelta(days=GRAPH_DAYS)
        kicks = self._lake.read(t.MOOD_INPUTS).filter((pl.col("blog") == blog.name) & (pl.col("day") >= first))
        return mood_graph(kicks.select("kick_ts", "kick").collect(), now, MoodRules.of(blog), blog.preset)

    def _heed(self, fault: Fault) -> None:
        """Leave Tumblr alone where it asked for that, or where nobody who asks is known to it."""
        now = self._clock()
        if fault.kind == LIMIT and fault.not_before is not None:
            self._resting.refused(now, fault.not_before - now, fault.kind, fault.detail)
        elif fault.kind == AUTH and fault.status == 401:
            self._resting.refused(now, KEY_REST, fault.kind, fault.detail)

    def _api(self, blog: Blog, keys: Keys, poll: str | None) -> TumblrApi:
        note = noting(self._control, blog.name, poll)
        return TumblrApi(self._web, keys, clock=self._clock, sleep=self._sleep, base_url=self._base_url, note=note)


def _reads_dashboard(blog: Blog) -> bool:
    """Whether the blog would answer anybody it meets there."""
    return bool(blog.follows or blog.dash_tags or blog.dash_always)

"""What `magpie run` makes of each product: its layers, over which days, in which order.

Belongs here: one course per product. Does not belong here: executing a layer and telling how far it is (`runner.py`),
what an asset does.

Layers, because one run cannot mix assets of different partitionings: files, days, campaigns or channels by day, what
models answer to those, sums over days, marts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import dagster as dg
import polars as pl

from assets.partitions import day_range, last_partition, lead_range, platforms_range, site_range, span_of
from definitions import build_definitions
from magpie.content.changes import site_spans
from magpie.control import Control
from magpie.days import ranges
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads.archives import landing_of
from magpie.llm.progress import TaskState
from magpie.memes import changes as meme_changes
from magpie.memes.tables import PLATFORMS
from magpie.persona.changes import blog_spans
from magpie.persona.tables import DAYS_AHEAD
from magpie.running import RunRequest
from magpie.settings import Settings
from magpie.videos.changes import QUIET_DAYS, price_span
from magpie.videos.tables import VIDEO_FILES
from resources.llm import Llm
from schedules.content import CONTENT_LANDING, SITE_DAYS
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, CAMPAIGN_WORDS, REDDIT_DAYS, REDDIT_LANDING
from schedules.memes import MEME_DAYS, MEME_LANDING, QUEUE_DAYS, REACTION_DAYS
from schedules.persona import BLOG_DAYS, BLOG_MODELS, BLOG_POSTS, PERSONA_LANDING, PERSONA_LOGS
from schedules.spend import SPEND
from schedules.videos import CHANNEL_DAYS, PRICE_DAYS, VIDEO_DAYS, VIDEO_LANDING
from sensors.content import sync_sites
from sensors.discovery import sync_campaigns
from sensors.persona import sync_blogs
from sensors.videos import sync_channels


class Layers(Protocol):
    """Executes layers, and tells how far they are."""

    def expect(self, partitions: int) -> None:
        """Be told how many more partitions are to come."""

    def warn(self, line: str) -> None:
        """Take a line for the user, shown at the end."""

    def execute(self, defs: dg.Definitions, job: str, **more: Any) -> list[str]:
        """Materialise a job's assets; return one line per failed step."""

    def task(self, state: TaskState) -> None:
        """Be told how far a task is that asks models."""

    def marts(self, settings: Settings) -> list[str]:
        """Build the marts; return one line per failed step."""


@dataclass
class Course:
    """One run of `magpie run` under way.

    Attributes:
        first, last: the days made so far.
        failures: one line each; after the first one nothing further is begun.
    """

    settings: Settings
    request: RunRequest
    instance: dg.DagsterInstance
    layers: Layers
    first: date | None = None
    last: date | None = None
    failures: list[str] = field(default_factory=list)

    def definitions(self, product: str) -> dg.Definitions:
        """The code location as far as a product goes, with progress of model calls shown."""
        control = Control(self.settings.control_database)
        llm = Llm(self.settings, control, watch=self.layers.task, retry_failed=self.request.retry_failed)
        return build_definitions(self.settings, [product], llm=llm)

    def execute(self, defs: dg.Definitions, job: str, **more: Any) -> bool:
        """Materialise one layer; True if nothing has failed so far."""
        if not self.failures:
            self.failures += self.layers.execute(defs, job, **more)
        return not self.failures

    def covers(self, first: date, last: date) -> None:
        self.first, self.last = min(self.first or first, first), max(self.last or last, last)


def leads(course: Course) -> None:
    """Archive files, days, keywords, posts by campaign and day, and what models read in them."""
    settings, request, layers = course.settings, course.request, course.layers
    asked = request.campaigns or tuple(campaign.id for campaign in settings.active_campaigns())
    campaigns = tuple(dict.fromkeys(asked))
    for campaign in campaigns:
        settings.campaign(campaign)
    sync_campaigns(course.instance, settings)
    defs = course.definitions("leads")
    layers.expect(len(REDDIT_LANDING) + len(CAMPAIGN_WORDS) * len(campaigns))
    if not course.execute(defs, "reddit_landing"):
        return
    first, last = _lead_days(settings, request)
    course.covers(first, last)
    days = (last - first).days + 1
    per_campaign = len(CAMPAIGN_DAYS) + len(CAMPAIGN_ANSWERS)
    layers.expect(days * (len(REDDIT_DAYS) + per_campaign * len(campaigns)))
    if not course.execute(defs, "reddit_days", tags=day_range(first, last)):
        return
    for campaign in campaigns:
        # One campaign's failure is no reason to leave the others undone.
        course.failures += _campaign(course, defs, campaign, lead_range(campaign, first, last))


def _campaign(course: Course, defs: dg.Definitions, campaign: str, span: Mapping[str, str]) -> list[str]:
    failures = course.layers.execute(defs, "campaign_words", partition_key=campaign)
    made = course.layers.execute(defs, "campaign_days", tags=span)
    return failures + (made or course.layers.execute(defs, "campaign_answers", tags=span))


def _lead_days(settings: Settings, request: RunRequest) -> tuple[date, date]:
    """The range asked for, else all days of the archives; within the partitions there are."""
    yesterday = last_partition(datetime.now(UTC))
    landed = span_of(landing_of(settings).days(), settings.start_day, yesterday)
    if landed is None:
        if request.first is None:
            raise UserError(
                f"the archives hold no post between start_day {settings.start_day} and yesterday; "
                "correct start_day or reddit.archives in magpie.yaml"
            )
        landed = request.first, request.first
    first, last = request.first or landed[0], request.last or landed[1]
    _in_order(first, last, settings.start_day, yesterday, "yesterday")
    return first, last


def videos(course: Course) -> None:
    """Files, prices, videos by channel and day down to outcomes, and the sums over days."""
    settings, request, layers = course.settings, course.request, course.layers
    asked = request.channels or tuple(channel.channel_id for channel in settings.channels if channel.active)
    channels = tuple(dict.fromkeys(asked))
    for channel in channels:
        settings.channel(channel)
    sync_channels(course.instance, settings)
    defs = course.definitions("videos")
    layers.expect(len(VIDEO_LANDING))
    if not course.execute(defs, "video_landing"):
        return
    spans = _video_spans(settings, request, channels)
    if not any(spans.values()):
        layers.warn("the folders hold no video of a watched channel on these days")
        return
    sums = _with_windows(spans, settings)
    prices = price_span(settings)
    layers.expect(len(PRICE_DAYS) * (0 if prices is None else (prices[1] - prices[0]).days + 1))
    layers.expect(len(CHANNEL_DAYS) * sum(_days(span) for found in spans.values() for span in found))
    layers.expect(len(VIDEO_DAYS) * sum(map(_days, sums)))
    if prices is not None:
        course.execute(defs, "price_days", tags=day_range(*prices))
    for channel, found in spans.items():
        for span in found:
            course.execute(defs, "channel_days", tags=lead_range(channel, *span))
            course.covers(*span)
    for span in sums:
        course.execute(defs, "video_days", tags=day_range(*span))


def _video_spans(
    settings: Settings, request: RunRequest, channels: tuple[str, ...]
) -> dict[str, list[tuple[date, date]]]:
    """By channel, the days with files in ranges that leave long quiet times out, within the days asked for."""
    today, start = datetime.now(UTC).date(), settings.videos_start_day
    first, last = request.first or start, request.last or today
    _in_order(first, last, min(start, settings.start_day), today, "today")
    lake = Lake(settings.lake_root, settings.storage_options())
    held = lake.read(VIDEO_FILES).filter((pl.col("status") == "ok") & pl.col("day").is_between(max(first, start), last))
    days: dict[str, list[date]] = {channel: [] for channel in channels}
    for channel, day in held.select("channel_id", "day").unique().collect().iter_rows():
        if channel in days:
            days[channel].append(day)
    return {channel: ranges(found, QUIET_DAYS) for channel, found in days.items()}


def _with_windows(spans: Mapping[str, list[tuple[date, date]]], settings: Settings) -> list[tuple[date, date]]:
    """The days whose consensus may hold one of these."""
    today, window = datetime.now(UTC).date(), timedelta(days=settings.videos.consensus_days - 1)
    days = {
        first + timedelta(days=n)
        for found in spans.values()
        for first, last in found
        for n in range((min(last + window, today) - first).days + 1)
    }
    return ranges(days)


def memes(course: Course) -> None:
    """Files, memes by platform and day down to their states, ratings, and the record of queues."""
    settings, request, layers = course.settings, course.request, course.layers
    today, start = datetime.now(UTC).date(), settings.memes_start_day
    first, last = request.first or start, request.last or today
    _in_order(first, last, min(start, settings.start_day), today, "today")
    defs = course.definitions("memes")
    layers.expect(len(MEME_LANDING))
    if not course.execute(defs, "meme_landing"):
        return
    lake, control = Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)
    posts = meme_changes.post_spans(settings, lake, first, last)
    events = meme_changes.event_spans(settings, lake, control, first, last)
    if not posts and not events:
        layers.warn("the folders hold no post of a channel and no event on these days")
        return
    layers.expect(len(MEME_DAYS) * len(PLATFORMS) * sum(map(_days, posts)))
    layers.expect((len(REACTION_DAYS) + len(QUEUE_DAYS)) * sum(map(_days, events)))
    for span in posts:
        course.execute(defs, "meme_days", tags=platforms_range(*span))
        course.covers(*span)
    for span in events:
        course.execute(defs, "reaction_days", tags=day_range(*span))
        course.execute(defs, "queue_days", tags=day_range(*span))
        course.covers(*span)


def content(course: Course) -> None:
    """Keyword files, and each site's batches from keywords to images."""
    settings, request, layers = course.settings, course.request, course.layers
    today, start = datetime.now(UTC).date(), settings.content_start_day
    first, last = request.first or start, request.last or today
    _in_order(first, last, min(start, settings.start_day), today, "today")
    sites = tuple(dict.fromkeys(request.sites or (site.id for site in settings.sites if site.active)))
    for site in sites:
        settings.site(site)
    sync_sites(course.instance, settings)
    defs = course.definitions("content")
    layers.expect(len(CONTENT_LANDING))
    if not course.execute(defs, "content_landing"):
        return
    lake = Lake(settings.lake_root, settings.storage_options())
    spans = {site: site_spans(settings, lake, site, last, first) for site in sites}
    if not any(spans.values()):
        layers.warn("the folders and lists hold no keywords of an active site on these days")
        return
    layers.expect(len(SITE_DAYS) * sum(_days(span) for found in spans.values() for span in found))
    for site, found in spans.items():
        for span in found:
            course.execute(defs, "site_days", tags=site_range(site, *span))
            course.covers(*span)


def persona(course: Course) -> None:
    """Archive pages, each blog's posts, its models, and what its author makes of them day by day."""
    settings, request, layers = course.settings, course.request, course.layers
    today, start = datetime.now(UTC).date(), settings.persona_start_day
    latest = today + timedelta(days=DAYS_AHEAD)
    first, last = request.first or start, request.last or latest
    _in_order(first, last, min(start, settings.start_day), latest, "tomorrow")
    blogs = tuple(dict.fromkeys(request.blogs or (blog.name for blog in settings.blogs if blog.active)))
    for blog in blogs:
        settings.blog(blog)
    sync_blogs(course.instance, settings)
    defs = course.definitions("persona")
    layers.expect(len(PERSONA_LANDING) + len(PERSONA_LOGS) + len(BLOG_MODELS) * len(blogs))
    if not course.execute(defs, "persona_landing"):
        return
    lake = Lake(settings.lake_root, settings.storage_options())
    spans = {blog: blog_spans(settings, lake, blog, last, first) for blog in blogs}
    if not any(spans.values()):
        layers.warn("the folders hold no page of an active blog on these days")
        return
    days = sum(_days(span) for found in spans.values() for span in found)
    layers.expect((len(BLOG_POSTS) + len(BLOG_DAYS)) * days)
    for blog, found in spans.items():
        for span in found:
            course.execute(defs, "blog_posts", tags=lead_range(blog, *span))
        course.execute(defs, "blog_models", partition_key=blog)
        for span in found:
            course.execute(defs, "blog_days", tags=lead_range(blog, *span))
            course.covers(*span)
    course.execute(defs, "persona_logs")


def _days(span: tuple[date, date]) -> int:
    return (span[1] - span[0]).days + 1


def _in_order(first: date, last: date, earliest: date, latest: date, called: str) -> None:
    if not earliest <= first <= last <= latest:
        raise UserError(
            f"--from {first} --to {last} must be in order and lie between start_day {earliest} and {called}, {latest}"
        )


def spend(course: Course) -> None:
    """Copy today's books and what people said, so that SQL sees them."""
    today = datetime.now(UTC).date()
    if today >= course.settings.start_day:
        course.layers.expect(len(SPEND))
        course.execute(build_definitions(course.settings, []), "spend", tags=day_range(today, today))


def marts(course: Course) -> None:
    """SQL over everything."""
    course.failures += course.layers.marts(course.settings)


# In the order in which they are made; a product asked for by name takes the books along, everything the marts too.
COURSES: dict[str, Callable[[Course], None]] = {
    "leads": leads,
    "videos": videos,
    "memes": memes,
    "content": content,
    "persona": persona,
    "spend": spend,
    "marts": marts,
}


def courses_of(settings: Settings, request: RunRequest) -> list[str]:
    """What a request asks for, by name.

    Raises:
        UserError: there is no such product.
    """
    if request.product is not None and request.product not in COURSES:
        raise UserError(f"no product {request.product!r}; products: {', '.join(COURSES)}")
    if request.product in ("spend", "marts"):
        return [request.product]
    others = settings.channels or _has_memes(settings) or settings.sites or settings.blogs
    named = {
        "leads": request.campaigns,
        "videos": request.channels,
        "memes": (),
        "content": request.sites,
        "persona": request.blogs,
    }
    there = {
        "leads": settings.campaigns or not others,
        "videos": settings.channels,
        "memes": _has_memes(settings),
        "content": settings.sites,
        "persona": settings.blogs,
    }
    # Whoever names one campaign, channel, site or blog wants nothing else.
    wanted = named if any(named.values()) else there
    chosen = [name for name, asked in wanted.items() if asked] if request.product is None else [request.product]
    return [*chosen, "spend", *(("marts",) if request.product is None else ())]


def _has_memes(settings: Settings) -> bool:
    return bool(settings.meme_sources or settings.memes.archives or settings.memes.events)

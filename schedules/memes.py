"""Jobs and schedules of memes.

Belongs here: which assets run together, when channels are fetched and days summed up. Does not belong here: what they
do (`magpie/`). All schedules are off until switched on in the UI; a fetch asks only the platforms that `memes.live`
names.
"""

from datetime import UTC, timedelta
from typing import Any

import dagster as dg

from assets.failures import user_errors
from assets.partitions import day_range
from magpie.llm.free_models import refresh_free_models
from magpie.memes.live import Fetcher
from magpie.memes.stages import Curator
from magpie.settings import Settings
from resources.llm import Llm

MEME_LANDING = (
    *("meme_files", "source_events", "meme_fetches", "meme_moderation", "users", "describe_queue"),
    "meme_sources",
)
MEME_DAYS = ("meme_posts", "memes", "meme_media", "meme_descriptions", "meme_duplicates", "meme_status")
REACTION_DAYS = ("meme_reactions", "meme_stats", "source_stats", "user_stats", "user_source_stats")
QUEUE_DAYS = ("meme_candidates", "recommendation_queues")
# Minutes apart, so that two platforms never begin together.
FETCHES = {"telegram": "40 * * * *", "vk": "20 * * * *", "instagram": "30 0 * * *"}
# Late enough that the last event of a day has arrived.
CLOSING = "10 0 * * *"
QUARTERS = "*/15 * * * *"


def build_jobs() -> dict[str, Any]:
    """Return the asset jobs by name; each holds the assets of one partitioning, in dependency order."""
    layers = {
        "meme_landing": MEME_LANDING,
        "meme_days": MEME_DAYS,
        "reaction_days": REACTION_DAYS,
        "queue_days": QUEUE_DAYS,
    }
    return {name: dg.define_asset_job(name, selection=list(assets)) for name, assets in layers.items()}


def _fetch_job(platform: str) -> Any:
    # One at a time, so that a platform is never asked twice at once.
    @dg.op(name=f"ask_{platform}", pool=platform)
    def ask(context: dg.OpExecutionContext, fetcher: dg.ResourceParam[Fetcher]) -> None:
        """Fetch the channels whose turn it is, and the media of new posts."""
        with user_errors():
            found = fetcher.fetch(platform)
        for visit in (visit for visit in found.visits if visit.error_class):
            context.log.warning(f"{visit.source_id}: {visit.error_class}: {visit.detail}")
        posts = sum(visit.posts for visit in found.visits)
        rest = f"; {platform} rests until {found.rest.until:%H:%M} UTC: {found.rest.detail}" if found.rest else ""
        context.log.info(f"{len(found.visits)} channels, {posts} posts, {len(found.left)} left for later{rest}")

    @dg.job(name=f"fetch_{platform}", description=f"Fetch channels of {platform}; needs it in memes.live.")
    def fetch() -> None:
        ask()

    return fetch


@dg.op
def judge_sources(context: dg.OpExecutionContext, curator: dg.ResourceParam[Curator]) -> None:
    """Snooze channels that are empty, silent, full of ads, or that nobody likes."""
    found = curator.sweep()
    for row in found.iter_rows(named=True):
        context.log.warning(f"{row['source_id']} sleeps: {row['reason']}, {row['observed']} against {row['threshold']}")
    context.log.info(f"{found.height} channels put to sleep")


@dg.job(description="Put channels to sleep that are empty, silent, full of ads, or that nobody likes.")
def source_health() -> None:
    judge_sources()


@dg.op
def list_free_models(context: dg.OpExecutionContext, llm: dg.ResourceParam[Llm]) -> None:
    """Ask which free models are served, and leave those that are gone unasked."""
    found = refresh_free_models(llm.engine.gateway, llm.engine.models)
    if found.fault:
        context.log.warning(f"the list of free models stays as it was: {found.fault}")
        return
    context.log.info(
        f"{found.listed} models served; "
        f"gone: {', '.join(found.gone) or 'none'}; back: {', '.join(found.back) or 'none'}"
    )


@dg.job(description="Ask OpenRouter which free models it serves; needs its key.")
def free_models() -> None:
    list_free_models()


FETCH_JOBS = {platform: _fetch_job(platform) for platform in FETCHES}
OP_JOBS = (*FETCH_JOBS.values(), source_health, free_models)


def build_schedules(settings: Settings, jobs: dict[str, Any]) -> list[dg.ScheduleDefinition]:
    """Return the schedules; times are UTC."""
    start = settings.memes_start_day

    @dg.schedule(
        name="reactions_quarterly", job=jobs["reaction_days"], cron_schedule=QUARTERS, execution_timezone="UTC"
    )
    def reactions_quarterly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Rate what people saw today so far."""
        at = context.scheduled_execution_time.astimezone(UTC)
        if at.date() < start:
            return dg.SkipReason(f"memes begin on {start}; there is no day to rate yet")
        return dg.RunRequest(run_key=f"{at:%Y-%m-%dT%H:%M}", tags=day_range(at.date(), at.date()))

    @dg.schedule(name="reactions_closing", job=jobs["reaction_days"], cron_schedule=CLOSING, execution_timezone="UTC")
    def reactions_closing(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Rate yesterday, which is over."""
        day = context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)
        if day < start:
            return dg.SkipReason(f"memes begin on {start}; there is no day to close yet")
        return dg.RunRequest(run_key=str(day), tags=day_range(day, day))

    @dg.schedule(name="queues_daily", job=jobs["queue_days"], cron_schedule=CLOSING, execution_timezone="UTC")
    def queues_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Record the queues of yesterday and of today so far."""
        today = context.scheduled_execution_time.astimezone(UTC).date()
        if today < start:
            return dg.SkipReason(f"memes begin on {start}; there are no queues yet")
        return dg.RunRequest(run_key=str(today), tags=day_range(max(today - timedelta(days=1), start), today))

    return [
        *(
            dg.ScheduleDefinition(name=f"fetch_{platform}_regularly", job=FETCH_JOBS[platform], cron_schedule=cron)
            for platform, cron in FETCHES.items()
        ),
        dg.ScheduleDefinition(name="source_health_hourly", job=source_health, cron_schedule="50 * * * *"),
        dg.ScheduleDefinition(name="free_models_daily", job=free_models, cron_schedule="5 0 * * *"),
        reactions_quarterly,
        reactions_closing,
        queues_daily,
    ]

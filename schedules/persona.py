"""Jobs and schedules of persona.

Belongs here: which assets run together, when models are trained, blogs fetched and posts handed out. Does not belong
here: what they do (`magpie/`). All schedules are off until switched on in the UI; a fetch asks only blogs that are
live, and nothing is posted for a blog whose delivery is dry_run.
"""

from datetime import UTC
from typing import Any

import dagster as dg

from assets.failures import user_errors
from magpie.persona.live import Courier
from magpie.settings import Settings

PERSONA_LANDING = ("tumblr_files",)
BLOG_POSTS = ("tumblr_posts", "tumblr_replies", "image_texts", "threads")
BLOG_MODELS = ("selector_model", "autoreview_model")
BLOG_DAYS = (
    *("persona_inbox", "candidates", "candidate_scores", "mood_inputs", "decisions", "retention_set"),
    *("mood", "outbox"),
)
PERSONA_LOGS = ("persona_ticks", "persona_reviews", "delivery_log", "persona_deletions", "tumblr_fetches")
# Before Europe wakes, after America's weekend.
TRAINING = "0 3 * * 1"
# For SQL; whoever decides by the logs reads them where they are written.
HOURLY = "35 * * * *"
# The courier decides itself which blogs' turn it is.
EVERY_MINUTE = "* * * * *"


def build_jobs() -> dict[str, Any]:
    """Return the asset jobs by name; each holds the assets of one partitioning, in dependency order."""
    layers = {
        "persona_landing": PERSONA_LANDING,
        "blog_posts": BLOG_POSTS,
        "blog_models": BLOG_MODELS,
        "blog_days": BLOG_DAYS,
        "persona_logs": PERSONA_LOGS,
    }
    return {name: dg.define_asset_job(name, selection=list(assets)) for name, assets in layers.items()}


# One at a time, so that a budget of calls is never spent twice at once.
@dg.op(pool="tumblr")
def visit_tumblr(context: dg.OpExecutionContext, courier: dg.ResourceParam[Courier]) -> None:
    """Fetch what is new of live blogs whose turn it is, and deliver what is ready."""
    with user_errors():
        told = courier.visit()
    for line in told.warnings:
        context.log.warning(line)
    context.log.info(told.line)


@dg.job(description="Fetch live blogs and deliver what is ready; needs keys of Tumblr.")
def tumblr_visit() -> None:
    visit_tumblr()


OP_JOBS = (tumblr_visit,)


def build_schedules(settings: Settings, jobs: dict[str, Any]) -> list[dg.ScheduleDefinition]:
    """Return the schedules; times are UTC."""
    blogs = [blog.name for blog in settings.blogs if blog.active]

    @dg.schedule(name="models_weekly", job=jobs["blog_models"], cron_schedule=TRAINING, execution_timezone="UTC")
    def models_weekly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        """Train the models of every blog on what is known by now."""
        at = context.scheduled_execution_time.astimezone(UTC)
        requests = [dg.RunRequest(run_key=f"{blog}|{at:%Y-%m-%d}", partition_key=blog) for blog in blogs]
        return requests or dg.SkipReason("no blog is active; models are trained for those in magpie.yaml")

    return [
        models_weekly,
        dg.ScheduleDefinition(name="persona_logs_hourly", job=jobs["persona_logs"], cron_schedule=HOURLY),
        dg.ScheduleDefinition(name="tumblr_regularly", job=tumblr_visit, cron_schedule=EVERY_MINUTE),
    ]

"""What may be wrong with the tables of memes although every row is well formed.

Belongs here: one function per finding, over the partitions just made or over what the lake holds now. Does not belong
here: rules that refuse rows (the schemas in `tables.py`: keys that repeat or are null never reach a table), and who is
told (asset checks).
"""

import hashlib
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

import polars as pl
import sqlalchemy as sa

from magpie.blobs import Blobs
from magpie.lake import Lake
from magpie.llm.models import FREE, LOCAL
from magpie.llm.money import to_usd
from magpie.llm.purpose import FREE_TIER, Limits, share
from magpie.llm.schema import llm_call
from magpie.llm.spend import today
from magpie.llm.store import Store
from magpie.memes import tables as t
from magpie.memes.chains import chains
from magpie.memes.describer import PRODUCT
from magpie.memes.status import copies_of, fold, main_media
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions, Table

# Blobs are read whole, so a run reads so many.
BLOBS_READ = 50
# Of what was decided on, so much is fit to be shown as a rule: less, and a rule turns down good memes; more, and
# rules let ads and copies through.
OK_SHARE = (0.80, 0.98)
# States in which nothing is decided yet, or which a source in its sleep gives.
UNDECIDED = ("created", "waiting_review", "snoozed")
# One meme more or less moves a share of fewer by more than the bounds are apart from what is usual.
LEAST_DECIDED = 50
# Half of the usual is more than a quiet day; a mean of fewer than three a day says little.
NEW_SHARE, LEAST_NEW = 0.5, 21
NULL_VIEWS_SHARE = 0.20
# Of fewer, one post alone is more than a fifth.
LEAST_POSTS = 5
# Statistics are made every quarter of an hour, of all that happened before it began.
STALE_AFTER = timedelta(minutes=15)
WEEK_DAYS = 7
DAY = timedelta(days=1)
OFF_SHARE = 0.30
# Counts below it are off by as much by chance alone: the standard deviation of a count is its square root.
LEAST_DAILY = 50
# A breach stays in sight for so long, and does not colour the check for ever.
FREE_WINDOW = timedelta(days=30)

DESCRIPTIONS = {
    "published_within_day": "Every row was published on the day of its partition.",
    "media_are_there": f"Every ok meme has its media; of {BLOBS_READ} of them the bytes are what they were.",
    "copies_have_roots": "Copies of copies lead to an original, and never in a circle.",
    "copies_are_resolved": "What a copy names as its original is none itself.",
    "only_free_models": "Of the last 30 days, memes were shown to free models only, and cost nothing.",
    "quota_kept": "No more free calls were made than the settings allow for a day.",
    "ok_share": "Of the memes that were decided on, between 80 and 98 % are ok.",
    "memes_arrive": "In 24 hours at least half as many memes come as on a day of the week before.",
    "views_are_told": "Of at most 20 % of a live Telegram channel's posts the views are unknown.",
    "stats_fresh": "The ratings of today are at most 15 minutes old.",
    "metrics_steady": "No figure of yesterday is more than 30 % off its mean of the 7 days before.",
    "queues_do_not_repeat": "No meme stands twice in somebody's queue.",
    "sent_once": "Nobody is sent the same meme twice, but by the engine of old favourites.",
}

Judge = Callable[[Lake, Partitions], Finding]


def published_within_day(table: Table) -> Judge:
    """Rows that were published on another UTC day than that of their partition."""

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        rows = lake.read(table, partitions).filter(pl.col("published_at").dt.date() != pl.col("day"))
        wrong = rows.select("platform", "day", "meme_id", pl.col("published_at").cast(pl.String)).collect()
        return Finding.of(
            wrong.sort("platform", "day", "meme_id"),
            "every row was published on its day",
            f"{{n}} rows were published on another day; make {table.name} of their days again",
        )

    return judge


def media_are_there(lake: Lake, partitions: Partitions, blobs: Blobs) -> Finding:
    """Ok and published memes without ok media, and of a sample those whose bytes are gone or others.

    The sample is the same for the same memes: those whose ids have the lowest sha256.

    Raises:
        UserError: a blob may not be read.
    """
    shown = lake.read(t.MEME_STATUS, partitions).filter(pl.col("state").is_in(["ok", "published"]))
    media = main_media(lake.read(t.MEME_MEDIA, partitions)).select("meme_id", "sha256", media="status")
    held = shown.select("platform", "day", "meme_id").join(media, on="meme_id", how="left").collect()
    lost = held.filter(pl.col("media").is_null() | (pl.col("media") != "ok")).with_columns(problem=pl.lit("no media"))
    there = held.filter(pl.col("media") == "ok")
    sample = there.filter(pl.col("meme_id").is_in(_sampled(there["meme_id"], BLOBS_READ)))
    damage = pl.col("sha256").map_elements(lambda sha256: _damage(blobs, sha256), pl.String)
    told = sample.with_columns(damage.alias("problem"))
    wrong = pl.concat([lost, told.filter(pl.col("problem").is_not_null())])
    return Finding.of(
        wrong.select("platform", "day", "meme_id", "sha256", "problem").sort("platform", "day", "meme_id"),
        "every ok meme has its media",
        "{n} ok memes lack their bytes; make meme_media of their days again, then meme_status",
    )


def _sampled(ids: pl.Series, count: int) -> list[str]:
    return sorted(ids, key=lambda meme_id: hashlib.sha256(meme_id.encode()).digest())[:count]


def _damage(blobs: Blobs, sha256: str) -> str | None:
    if not blobs.has(sha256):
        return "no blob"
    return None if blobs.verify(sha256) else "other bytes"


def copies_have_roots(lake: Lake, partitions: Partitions) -> Finding:
    """Memes that are copies of each other in a circle, anywhere in the catalogue.

    Args:
        partitions: not looked at, since a circle may go through any.
    """
    columns = ("meme_id", "verdict", "duplicate_of", "published_at")
    compared = lake.read(t.MEME_DUPLICATES).select(columns).collect()
    found = chains(copies_of(compared, fold(lake.read(t.MEME_MODERATION).collect()))).cycles
    rows = [{"taken for the original": circle[0], "circle": " > ".join((*circle, circle[0]))} for circle in found]
    return Finding.of(
        pl.DataFrame(rows, schema={"taken for the original": pl.String, "circle": pl.String}),
        "no copies go in a circle",
        "{n} circles of copies; make meme_duplicates of their days again, the earliest first",
    )


def copies_are_resolved(lake: Lake, partitions: Partitions) -> Finding:
    """Copies whose canonical meme has another canonical meme."""
    status = lake.read(t.MEME_STATUS).select("meme_id", root_of_root="canonical_id")
    copies = lake.read(t.MEME_STATUS, partitions).filter(pl.col("canonical_id") != pl.col("meme_id"))
    wrong = (
        copies.select("platform", "day", "meme_id", "canonical_id")
        .join(status, left_on="canonical_id", right_on="meme_id")
        .filter(pl.col("root_of_root") != pl.col("canonical_id"))
    )
    return Finding.of(
        wrong.sort("platform", "day", "meme_id").collect(),
        "every copy leads to an original",
        "{n} copies lead to another copy; make meme_status of their days again",
    )


def only_free_models(store: Store, now: datetime) -> Finding:
    """Calls for memes to a model that is neither free nor local, or that were charged for.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    c = llm_call.c
    free = c.model_asked.endswith(FREE, autoescape=True) | (c.provider == LOCAL)
    query = (
        sa.select(c.day, c.provider, c.model_asked, sa.func.count().label("n"), sa.func.sum(c.cost_nano).label("cost"))
        .where(c.kind == "call", c.product == PRODUCT, c.day >= f"{now - FREE_WINDOW:%Y-%m-%d}")
        .where(~free | (c.cost_nano > 0))
        .group_by(c.day, c.provider, c.model_asked)
        .order_by(c.day, c.provider, c.model_asked)
    )
    rows = [
        (row.day, f"{row.provider}/{row.model_asked}", row.n, f"{to_usd(int(row.cost)):f}")
        for row in store.read(lambda connection: connection.execute(query).all())
    ]
    schema = {"day": pl.String, "model": pl.String, "calls": pl.Int64, "cost_usd": pl.String}
    return Finding.of(
        pl.DataFrame(rows, schema=schema, orient="row"),
        "memes were shown to free models only",
        "{n} models that are not free were asked about memes; correct vision-free in the settings, and look at "
        "`FROM llm_calls WHERE product = 'memes'`",
    )


def quota_kept(store: Store, limits: Limits, now: datetime) -> Finding:
    """Free calls beyond what is allowed, of today and of yesterday, whose last calls no check of that day saw.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    scopes = (FREE_TIER, share(FREE_TIER, PRODUCT))
    rows = [
        (use.window[1:], use.scope, use.calls, use.cap_calls)
        for moment in (now - DAY, now)
        for use in today(store, limits, moment)
        if use.scope in scopes and use.cap_calls is not None and use.calls > use.cap_calls
    ]
    schema = {"day": pl.String, "scope": pl.String, "calls": pl.Int64, "allowed": pl.Int64}
    # A window of a month, which a scope may have beside, is the same on both days.
    found = pl.DataFrame(rows, schema=schema, orient="row").unique(maintain_order=True)
    return Finding.of(
        found,
        "the quotas of free calls are kept",
        "{n} quotas of free calls are exceeded: they were lowered after the calls, or others use the key; give Magpie "
        "a key of its own",
    )


def ok_share(lake: Lake, partitions: Partitions) -> Finding:
    """Platforms of whose memes too few or too many are ok, in these partitions together."""
    decided = lake.read(t.MEME_STATUS, partitions).filter(~pl.col("state").is_in(UNDECIDED))
    counted = decided.group_by("platform").agg(
        pl.len().alias("decided"), pl.col("state").is_in(["ok", "published"]).mean().alias("ok_share")
    )
    outside = ~pl.col("ok_share").is_between(*OK_SHARE)
    wrong = counted.filter((pl.col("decided") >= LEAST_DECIDED) & outside).sort("platform").collect()
    return Finding.of(
        wrong.with_columns(pl.col("ok_share").round(4)),
        "the usual share of memes is ok",
        "{n} platforms have an unusual share of ok memes; `SELECT state, state_reason, count(*) FROM meme_status "
        "GROUP BY ALL` tells which rule turns down too many, or too few",
    )


def memes_arrive(settings: Settings, lake: Lake, now: datetime) -> Finding:
    """Live platforms from which less than half of the usual came in 24 hours."""
    # Files that lie on disk end somewhere; only what is asked over the network can dry up.
    live = list(settings.memes.live)
    recent, first = now - DAY, now - DAY * (WEEK_DAYS + 1)
    published = pl.col("published_at")
    days = pl.col("day").is_between(first.date(), now.date())
    kept = lake.read(t.MEMES).filter(days & pl.col("platform").is_in(live) & pl.col("status").is_in(["ok", "pending"]))
    counted = kept.group_by("platform").agg(
        published.is_between(recent, now, closed="right").sum().alias("last_24_h"),
        published.is_between(first, recent, closed="right").sum().alias("week_before"),
    )
    wrong = (
        counted.filter(pl.col("week_before") >= LEAST_NEW)
        .with_columns((pl.col("week_before") / WEEK_DAYS).round(1).alias("usual_a_day"))
        .filter(pl.col("last_24_h") < NEW_SHARE * pl.col("week_before") / WEEK_DAYS)
        .select("platform", "last_24_h", "usual_a_day")
    )
    return Finding.of(
        wrong.sort("platform").collect(),
        "memes arrive as usual",
        "{n} platforms bring less than half of the usual; look at `FROM meme_fetches` for refusals and at "
        "`FROM meme_sources` for snoozed channels",
    )


def views_are_told(lake: Lake, partitions: Partitions) -> Finding:
    """Live Telegram channels of whose posts more than a fifth have no views."""
    files = lake.read(t.MEME_FILES).filter(pl.col("live") & (pl.col("format") == "telegram_web"))
    read = lake.read(t.MEME_POSTS, partitions).filter((pl.col("platform") == "telegram") & (pl.col("status") == "ok"))
    counted = (
        read.join(files.select("source_file"), on="source_file", how="semi")
        .group_by("source_id")
        .agg(pl.len().alias("posts"), pl.col("views").is_null().sum().alias("without_views"))
    )
    bad = (pl.col("posts") >= LEAST_POSTS) & (pl.col("without_views") > NULL_VIEWS_SHARE * pl.col("posts"))
    return Finding.of(
        counted.filter(bad).sort("source_id").collect(),
        "the views of live posts are known",
        "{n} Telegram channels tell the views of less than 80 % of their posts; has the page changed? Compare "
        "views on t.me/s with a saved page",
    )


def stats_fresh(lake: Lake, now: datetime) -> Finding:
    """Ratings of today that are older than a quarter of an hour, while there is something to rate."""
    due = (
        lake.read_days(t.MEME_REACTIONS, now.date(), now.date())
        .filter((pl.col("status") == "ok") & pl.col("meme_id").is_not_null() & (pl.col("at") < now - STALE_AFTER))
        .select(pl.len())
    )
    made = lake.read_days(t.MEME_STATS, now.date(), now.date()).select(pl.col("as_of").max())
    events, as_of = due.collect().item(), made.collect().item()
    late = events > 0 and (as_of is None or now - as_of > STALE_AFTER)
    rows = [{"day": now.date(), "as_of": None if as_of is None else str(as_of), "events": events}] if late else []
    return Finding.of(
        pl.DataFrame(rows, schema={"day": pl.Date, "as_of": pl.String, "events": pl.Int64}),
        "the ratings of today are fresh",
        "the ratings of today are more than 15 minutes old; is the daemon with the schedule of statistics running?",
    )


def metrics_steady(settings: Settings, lake: Lake, now: datetime) -> Finding:
    """Figures of yesterday that are more than 30 % off their mean of the 7 days before.

    Posts and memes of live platforms, what was sent to whom, and the share of likes; counts of fewer than 50 a day
    are left out, and so is the share of likes among as few reactions.
    """
    last = now.date() - DAY
    days = [last - DAY * n for n in range(WEEK_DAYS + 1)]
    rows = pl.DataFrame({"day": days}, schema={"day": pl.Date}).lazy()
    for counted in _metrics(settings, lake, days[-1], last):
        rows = rows.join(counted, on="day", how="left")
    counts = rows.with_columns(pl.exclude("day").fill_null(0).cast(pl.Float64)).collect()
    rated = pl.col("reactions") > 0
    figures = counts.with_columns(pl.when(rated).then(pl.col("likes") / pl.col("reactions")).alias("like_share"))
    is_last = pl.col("day") == last
    names = [name for name in figures.columns if name != "day"]
    yesterday, before = figures.filter(is_last), figures.filter(~is_last)
    told = pl.DataFrame(
        {
            "metric": names,
            "value": [yesterday[name][0] for name in names],
            "mean": [before[name].mean() for name in names],
            "rests_on": [before["reactions" if name == "like_share" else name].mean() for name in names],
        },
        schema={"metric": pl.String, "value": pl.Float64, "mean": pl.Float64, "rests_on": pl.Float64},
    )
    off = (pl.col("value") - pl.col("mean")) / pl.col("mean")
    wrong = told.with_columns(off.alias("off")).filter(
        (pl.col("rests_on") >= LEAST_DAILY) & (pl.col("off").abs() > OFF_SHARE)
    )
    return Finding.of(
        wrong.select(pl.lit(last).alias("day"), "metric", pl.col("value", "mean", "off").round(4)),
        "yesterday was as the week before",
        "{n} figures of yesterday are more than 30 % off the week before; look at the runs and sources of that day",
    )


def _metrics(settings: Settings, lake: Lake, first: date, last: date) -> Iterable[pl.LazyFrame]:
    """Counts by day."""
    live = pl.col("platform").is_in(list(settings.memes.live)) & pl.col("day").is_between(first, last)
    yield lake.read(t.MEME_POSTS).filter(live).group_by("day").agg(pl.len().alias("posts"))
    states = lake.read(t.MEME_STATUS).filter(live).group_by("day")
    yield states.agg(pl.len().alias("memes"), pl.col("servable").sum())
    events = lake.read_days(t.MEME_REACTIONS, first, last).filter(pl.col("status") == "ok")
    kind = pl.col("kind")
    yield events.group_by("day").agg(
        (kind == "sent").sum().alias("sends"),
        kind.is_in(["like", "dislike"]).sum().alias("reactions"),
        (kind == "like").sum().alias("likes"),
        pl.col("user_id").n_unique().alias("people"),
    )


def queues_do_not_repeat(lake: Lake, partitions: Partitions) -> Finding:
    """Places in a queue whose meme stood in the same person's queue already, neither sent nor expired."""
    over = ("user_id", "meme_id")
    order = ("queued_at", "day", "refill_no", "pos")
    rows = lake.read(t.RECOMMENDATION_QUEUES, partitions).sort(*over, *order)
    left = pl.min_horizontal("expires_at", "consumed_at").shift(1).over(over)
    same = (pl.struct("day", "refill_no") == pl.struct("day", "refill_no").shift(1)).over(over)
    wrong = rows.filter((pl.col("queued_at") < left) | (same & left.is_not_null()))
    return Finding.of(
        wrong.select("day", "user_id", "refill_no", "pos", "meme_id", "engine").collect(),
        "no queue repeats a meme",
        "{n} places repeat a meme of the same queue; they expire by themselves, but the blend or the lease is at fault",
    )


def sent_once(lake: Lake, partitions: Partitions) -> Finding:
    """Sends on these days of a meme, or a copy of it, that the person had been sent before.

    A pair that is known as copies only since counts too: nothing says when it became known.
    """
    here = pl.col("day").is_in(partitions.all_days())
    known = lake.read(t.MEME_STATUS).select("meme_id", "canonical_id")
    sends = (
        lake.read(t.MEME_REACTIONS)
        .filter((pl.col("status") == "ok") & (pl.col("kind") == "sent"))
        .select("event_id", "day", "at", "user_id", "meme_id", "engine")
        .join(known, on="meme_id", how="left")
        .with_columns(pl.coalesce("canonical_id", "meme_id").alias("canonical_id"))
    )
    over = ("user_id", "canonical_id")
    pairs = sends.filter(here).select(over).unique()
    ordered = sends.join(pairs, on=over, how="semi").sort(*over, "at", "event_id")
    again = ordered.with_columns(pl.col("at").shift(1).over(over).alias("sent_before"))
    wrong = again.filter(here & pl.col("sent_before").is_not_null() & pl.col("engine").ne_missing("goat"))
    return Finding.of(
        wrong.select(
            "day", "user_id", "meme_id", "canonical_id", "engine", pl.col("at", "sent_before").cast(pl.String)
        ).collect(),
        "nobody was sent a meme twice",
        "{n} sends repeat a meme or a copy of it; was the copy found after them (`FROM meme_duplicates`)? If not, "
        "look at who sends without asking the queue",
    )

"""What may be wrong with the tables of persona although every row is well formed.

Belongs here: one function per finding, over the partitions just made or what the logs hold now. Does not belong here:
rules that refuse rows (the schemas in `tables.py`: keys that repeat or are null never reach a table), figures that are
unusual (`quality_figures.py`), and who is told (asset checks).
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.lake import Lake
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.author import KICK_DAYS, UNMOVING
from magpie.persona.choice import TEXTS_MOST, base_of
from magpie.persona.mood import GRID, MoodRules, mood_course
from magpie.persona.mood_range import UNRESTRICTED
from magpie.persona.outbox_states import OPEN, SENDABLE
from magpie.persona.routing import CONTROL_TAGS
from magpie.persona.settings import Blog, Words
from magpie.persona.slowdown import NEW_YORK
from magpie.persona.word_screen import HARD_REJECT, SOFT, normalised, screen
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions

DAY = timedelta(days=1)
GRID_POINTS = DAY // GRID
# What floats lose in sums of some hundred kicks is far less; a kick that is left out is more.
SAME_MOOD = 1e-9
UNANSWERED_AFTER = timedelta(hours=24)
UNRESOLVED_AFTER = timedelta(minutes=15)
# Out, or on their way.
GOING = (*SENDABLE, "sending", "queued", "published")
# Posts that nobody sent to the bot need no answer.
SENT_IN = ("ask", "reblog", "mention", "reply")
_INPUT = ("blog", "input_id")
_ATTEMPT = ("blog", "day", "input_id", "attempt")

DESCRIPTIONS = {
    "inputs_are_taken": "Every admitted input has a text, or a decision that says why not.",
    "decided_once": "Every attempt has exactly one decision.",
    "posts_as_chosen": "What is to be posted is the text that was chosen, unless somebody edited it.",
    "posts_fit_to_go": (
        "Nothing goes out with a word that must not pass, with a tag of the bot's own, or against the moderation "
        "unless a human approved it."
    ),
    "kicks_once": "An input moves the mood once, at its first attempt; dashboard posts and originals never do.",
    "mood_complete": "The mood is known every ten minutes of a day, and lies between 0 and 1.",
    "mood_agrees": "The mood at midnight is the same worked out from the day before and from the day itself.",
    "texts_wanted": f"For an input at least as many texts are written as the settings say, and at most {TEXTS_MOST}.",
    "kept_texts_good": "Every text that is kept for later is above the cutoff.",
    "inputs_answered": "No input of a live blog waits for more than 24 hours.",
    "posts_limited": "No more was posted on a day, as New York counts days, than Tumblr takes.",
    "sending_resolved": "What was sent is known within 15 minutes to have arrived, or not.",
}

SettingsJudge = Callable[[Lake, Partitions, Settings], Finding]


def inputs_are_taken(lake: Lake, partitions: Partitions) -> Finding:
    """Admitted inputs without a text of their newest attempt and without a decision that tells what came instead."""
    admitted = lake.read(t.PERSONA_INBOX, partitions).filter(pl.col("state").is_in(["admitted", "done"]))
    written = lake.read(t.CANDIDATES, partitions).select(_ATTEMPT)
    why = (pl.col("status") != "ok") | (pl.col("n_candidates") > 0) | (pl.col("route_reason") == "command")
    told = lake.read(t.DECISIONS, partitions).filter(why.fill_null(False)).select(_ATTEMPT)
    lost = admitted.join(pl.concat([written, told]).unique(), on=_ATTEMPT, how="anti")
    return Finding.of(
        lost.select(*_ATTEMPT, "kind", pl.col("tick_ts").cast(pl.String)).sort(_ATTEMPT).collect(),
        "every admitted input was worked on",
        "{n} admitted inputs have neither texts nor a decision; make candidates of their days again",
    )


def decided_once(lake: Lake, partitions: Partitions) -> Finding:
    """Attempts of these partitions with no decision, or with several on different days."""
    over = (*_INPUT, "attempt")
    here = (lake.read(table, partitions).select(over) for table in (t.CANDIDATES, t.DECISIONS))
    attempts = pl.concat(here).unique()
    days = pl.col("day").cast(pl.String).sort().str.join(", ").alias("days")
    decided = (
        lake.read(t.DECISIONS).join(attempts, on=over, how="semi").group_by(over).agg(pl.len().alias("decisions"), days)
    )
    held = attempts.join(decided, on=over, how="left").with_columns(pl.col("decisions").fill_null(0))
    return Finding.of(
        held.filter(pl.col("decisions") != 1).sort(over).collect(),
        "every attempt is decided once",
        "{n} attempts have no decision or several; make decisions of their days again",
    )


def posts_as_chosen(lake: Lake, partitions: Partitions) -> Finding:
    """Posts that are not out, that nobody edited, and whose text is not the chosen one."""
    chosen = lake.read(t.DECISIONS, partitions).select(*_ATTEMPT, "chosen_sha256")
    posts = lake.read(t.OUTBOX, partitions).filter(
        pl.col("state").is_in(OPEN) & ~pl.col("edited") & (pl.col("kind") != "mood_graph")
    )
    held = posts.join(chosen, on=_ATTEMPT, how="left")
    wrong = held.filter(pl.col("body_sha256").ne_missing(pl.col("chosen_sha256")))
    return Finding.of(
        wrong.select(*_ATTEMPT, "outbox_id", "state", "body_sha256", "chosen_sha256").sort(_ATTEMPT).collect(),
        "what is to be posted was chosen",
        "{n} posts hold another text than was chosen; make outbox of their days again",
    )


def posts_fit_to_go(lake: Lake, partitions: Partitions, settings: Settings, control: Control) -> Finding:
    """Posts that are out, or on their way, although they must not be."""
    posts = lake.read(t.OUTBOX, partitions).filter(pl.col("state").is_in(GOING))
    cut = pl.col("trace").str.json_path_match("$.cuts.reject").cast(pl.Float64).alias("reject")
    decided = lake.read(t.DECISIONS, partitions).select(
        *_ATTEMPT, "route", "route_reason", "screen_hits", "autoreview_p", cut
    )
    named = (*_ATTEMPT, "outbox_id", "state")
    rows = posts.select(*named, "edited", "body", "tags").join(decided, on=_ATTEMPT, how="left").sort(named).collect()
    approvals = logs.REVIEWS.read(control, action="approve", blog=[*partitions.groups])
    approved = set(approvals["outbox_id"])
    words = {blog.name: settings.persona.words + blog.words for blog in settings.blogs}
    problems = [
        next(_unfit(row, words.get(row["blog"], Words()), approved=row["outbox_id"] in approved), None)
        for row in rows.iter_rows(named=True)
    ]
    told = rows.select(named).with_columns(pl.Series("problem", problems, pl.String))
    return Finding.of(
        told.filter(pl.col("problem").is_not_null()),
        "whatever goes out may do so",
        "{n} posts must not go out; hold them with `magpie persona review`, and delete on Tumblr those that are there",
    )


def _unfit(row: Mapping[str, Any], words: Words, *, approved: bool) -> Iterator[str]:
    """Why a post must not go out."""
    if row["edited"]:
        # Its decision was about another text.
        nobody: Mapping[str, Any] = {"author": None, "input_text": None, "owner": None}
        found = screen((row["body"] or "", *row["tags"]), words, **nobody, screened=(), avoid=())
        hits = {hit.type: hit.text for hit in found if hit.type == HARD_REJECT}
    else:
        hits = {hit["type"]: hit["text"] for hit in row["screen_hits"] or () if hit["type"] != SOFT}
    if HARD_REJECT in hits:
        yield f"it holds {hits[HARD_REJECT]}"
    if reserved := [tag for tag in row["tags"] if normalised(tag) in CONTROL_TAGS]:
        yield f"the tag {reserved[0]}"
    if approved or row["route_reason"] == "command":
        return
    if row["route"] not in ("publish", "queue"):
        yield f"the moderation said {row['route'] or 'nothing'}, and no human approved it"
    if hits:
        yield f"{min(hits)}, and no human approved it"
    p, reject = row["autoreview_p"], row["reject"]
    if p is None or (reject is not None and p > reject):
        yield "no estimated risk" if p is None else f"an estimated risk of {p:.3f}, above {reject:.3f}"


def kicks_once(lake: Lake, partitions: Partitions) -> Finding:
    """Inputs that moved the mood more than once, at another attempt than the first, or that must not move it."""
    here = lake.read(t.MOOD_INPUTS, partitions).select(_INPUT).unique()
    kicks = lake.read(t.MOOD_INPUTS).join(here, on=_INPUT, how="semi").select("day", *_INPUT, "kick_ts")
    first = lake.read(t.DECISIONS).filter(pl.col("attempt") == 1).select(*_INPUT, "kind", "tick_ts").unique(_INPUT)
    held = kicks.with_columns(pl.len().over(_INPUT).alias("kicks")).join(first, on=_INPUT, how="left")
    problem = (
        pl.when(pl.col("kicks") > 1)
        .then(pl.lit("several kicks"))
        .when(pl.col("kind").is_null())
        .then(pl.lit("no first attempt"))
        .when(pl.col("kind").is_in(UNMOVING))
        .then(pl.format("{} moves no mood", "kind"))
        .when(pl.col("kick_ts") != pl.col("tick_ts"))
        .then(pl.lit("not at the tick of the first attempt"))
        .alias("problem")
    )
    told = held.select("blog", "day", "input_id", pl.col("kick_ts").cast(pl.String), problem)
    return Finding.of(
        told.filter(pl.col("problem").is_not_null()).sort("blog", "day", "input_id").collect(),
        "every input moves the mood once",
        "{n} kicks should not be; make mood_inputs of their days again, then mood",
    )


def mood_complete(lake: Lake, partitions: Partitions) -> Finding:
    """Days whose mood has gaps, or could not be told."""
    on_grid = (pl.col("ts").dt.truncate(f"{GRID // timedelta(minutes=1)}m") == pl.col("ts")) & (
        pl.col("ts").dt.date() == pl.col("day")
    )
    days = (
        lake.read(t.MOOD, partitions)
        .group_by("blog", "day")
        .agg(
            pl.col("ts").filter(on_grid).n_unique().alias("points"),
            (~pl.col("value").is_between(0, 1, closed="none")).sum().alias("out_of_range"),
            (pl.col("base_name") == UNRESTRICTED).sum().alias("not_told"),
        )
    )
    bad = (pl.col("points") != GRID_POINTS) | (pl.col("out_of_range") > 0) | (pl.col("not_told") > 0)
    return Finding.of(
        days.filter(bad).sort("blog", "day").collect(),
        "the mood of every day is known",
        "{n} days have gaps in their mood, or none that can be told; look for kicks that are no numbers in "
        "mood_inputs of the three days before, and make mood again",
    )


def mood_agrees(lake: Lake, partitions: Partitions, settings: Settings) -> Finding:
    """Midnights whose stored mood differs from that of the kicks that either day knows."""
    schema = {"blog": pl.String, "day": pl.Date, **dict.fromkeys(("stored", "of_day_before", "of_day"), pl.Float64)}
    rows = [row for blog in _blogs(settings, partitions) for row in _midnights(lake, partitions, blog)]
    told = pl.DataFrame(rows, schema=schema, orient="row")
    values = pl.concat_list("stored", "of_day_before", "of_day").list
    # NaN is not the same as anything.
    return Finding.of(
        told.filter(~(values.max() - values.min() <= SAME_MOOD)).sort("blog", "day"),
        "the mood goes on over midnight",
        "{n} midnights have another mood by the day before than by the day; make mood of their days again",
    )


def _midnights(lake: Lake, partitions: Partitions, blog: Blog) -> Iterator[tuple[str, date, float, float, float]]:
    """blog, day, and the mood at its beginning: as stored, by the kicks of the day before, and by those of the day."""
    mine = pl.col("blog") == blog.name
    stored = lake.read(t.MOOD, partitions).filter(mine & (pl.col("ts").dt.date() == pl.col("day")))
    values = dict(
        stored.filter(pl.col("ts") == pl.col("ts").dt.truncate("1d")).select("day", "value").collect().iter_rows()
    )
    if not values:
        return
    first = min(values) - DAY - KICK_DAYS * DAY
    known = lake.read(t.MOOD_INPUTS).filter(mine & pl.col("day").is_between(first, max(values)))
    kicks, rules = known.select("day", "kick_ts", "kick").collect(), MoodRules.of(blog)
    for day, value in sorted(values.items()):
        midnight = datetime.combine(day, time(), UTC)
        either = []
        for last in (day - DAY, day):
            held = kicks.filter(pl.col("day").is_between(last - KICK_DAYS * DAY, last))
            either.append(float(mood_course(held, [midnight], rules, blog.preset)["value"][0]))
        yield blog.name, day, value, either[0], either[1]


def texts_wanted(lake: Lake, partitions: Partitions, settings: Settings) -> Finding:
    """Attempts for which fewer texts were wanted than the settings say, or too many.

    Originals may want fewer, for texts that are kept from before; one is the least.
    """
    bases = pl.LazyFrame(
        [(blog.name, kind, base_of(kind, blog.tuned())) for blog in settings.blogs for kind in t.PROMPT_KINDS],
        schema={"blog": pl.String, "prompt_kind": pl.String, "base": pl.Int64},
        orient="row",
    )
    place = ["blog", "day", "input_id"]
    inbox = lake.read(t.PERSONA_INBOX, partitions).select(*place, "kind", "prompt_kind")
    wanted = lake.read(t.CANDIDATES, partitions).select(*_ATTEMPT, "n_planned").unique()
    held = wanted.join(inbox, on=place, how="left").join(bases, on=["blog", "prompt_kind"], how="left")
    least = pl.when(pl.col("kind") == "original").then(1).otherwise(pl.max_horizontal(1, "base")).alias("least")
    told = held.with_columns(least).filter(~pl.col("n_planned").is_between(pl.col("least"), TEXTS_MOST))
    return Finding.of(
        told.select(*_ATTEMPT, "kind", "prompt_kind", "n_planned", "least").sort(_ATTEMPT).collect(),
        "as many texts are written as were meant",
        "{n} attempts planned another number of texts; were the settings changed since? Make candidates again",
    )


def kept_texts_good(lake: Lake, partitions: Partitions, settings: Settings) -> Finding:
    """Kept texts that are not above the cutoff of their blog."""
    cutoffs = pl.LazyFrame(
        [(blog.name, blog.tuned().retention_cutoff) for blog in settings.blogs],
        schema={"blog": pl.String, "cutoff": pl.Float64},
        orient="row",
    )
    held = lake.read(t.RETENTION_SET, partitions).join(cutoffs, on="blog")
    wrong = held.filter(~(pl.col("selector_p") > pl.col("cutoff")))
    return Finding.of(
        wrong.select("blog", "day", "text_sha256", "selector_p", "cutoff").sort("blog", "day", "text_sha256").collect(),
        "only good texts are kept",
        "{n} kept texts are not above the cutoff; was it raised since? Make retention_set of their days again",
    )


def inputs_answered(lake: Lake, settings: Settings, now: datetime) -> Finding:
    """Inputs of live blogs that wait, or were admitted and not decided, for too long."""
    live = [blog.name for blog in settings.blogs if blog.mode == "live" and blog.active]
    open_ones = lake.read(t.PERSONA_INBOX).filter(
        pl.col("blog").is_in(live)
        & pl.col("kind").is_in(SENT_IN)
        & pl.col("state").is_in(["waiting", "admitted"])
        & (pl.col("created_at") < now - UNANSWERED_AFTER)
    )
    return Finding.of(
        open_ones.sort("created_at", "blog", "input_id")
        .select("blog", "day", "input_id", "state", pl.col("created_at").cast(pl.String))
        .collect(),
        "nobody waits long for an answer",
        "{n} inputs wait for more than 24 hours; do the sensors run, and what does `magpie persona why INPUT` say?",
    )


def posts_limited(control: Control, settings: Settings, now: datetime) -> Finding:
    """Blogs that posted more than they may, today or yesterday, whose last posts no check of that day saw."""
    here = now.astimezone(NEW_YORK).date()
    # Two days in New York lie within three days before now.
    posted = logs.DELIVERIES.since(control, "at", now - 3 * DAY).filter(
        (pl.col("phase") == "done") & (pl.col("remote_state") == "published")
    )
    day = pl.col("at").dt.convert_time_zone(NEW_YORK.key).dt.date().alias("day")
    counted = posted.group_by("blog", day).agg(pl.col("outbox_id").n_unique().alias("posts"))
    limits = {blog.name: blog.tuned().post_limit for blog in settings.blogs}
    held = counted.with_columns(
        pl.col("blog").replace_strict(limits, default=None, return_dtype=pl.Int64).alias("limit")
    )
    wrong = held.filter((pl.col("day") >= here - DAY) & (pl.col("posts") > pl.col("limit")))
    return Finding.of(
        wrong.sort("blog", "day"),
        "no blog posts more than it may",
        "{n} days have more posts than tuning.post_limit; hold what is ready with `magpie persona review`",
    )


def sending_resolved(control: Control, now: datetime) -> Finding:
    """Posts of which nobody knows for too long whether they arrived."""
    log = logs.DELIVERIES.read(control)
    last = log.group_by("blog", "outbox_id").agg(
        pl.col("phase", "at").sort_by("at", pl.col("phase") != "sending").last()
    )
    stuck = last.filter((pl.col("phase") == "sending") & (pl.col("at") < now - UNRESOLVED_AFTER))
    return Finding.of(
        stuck.sort("at", "outbox_id").select("blog", "outbox_id", pl.col("at").cast(pl.String).alias("sending_since")),
        "of everything sent it is known whether it arrived",
        "{n} posts may or may not have arrived; the next visit looks for them on Tumblr (`magpie persona deliver`)",
    )


def _blogs(settings: Settings, partitions: Partitions) -> list[Blog]:
    """The blogs of these partitions that the settings still name."""
    return [blog for blog in settings.blogs if blog.name in partitions.groups]

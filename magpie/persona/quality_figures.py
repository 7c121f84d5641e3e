"""Figures of persona that say something is amiss although no single row is wrong.

Belongs here: one function per figure, over the 30 days up to the partitions just made, or over the newest model. Does
not belong here: rows that are wrong (`quality.py`), and who is told (asset checks).
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl

from magpie.control import Control
from magpie.lake import Lake
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.labels import VERDICTS
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions, Table

# Shares are told of so many days: of one day alone they say little.
WINDOW = timedelta(days=30)
STANDARD_ERRORS = 3
# Where fewer are expected, a share is not spread as a normal distribution, and three standard errors say nothing.
LEAST_EXPECTED = 5
DRAFT_SHARE = (0.05, 0.60)
DISAGREEMENT = 0.20
# One decision more or less moves a share of fewer by more than 5 %.
LEAST_DECIDED = 20
# An estimate of risk is the probability that a human turns the text down.
MORE_LIKELY_THAN_NOT = 0.5
LEAST_AUC = 0.60
UNPARSED_SHARE = 0.01
_ATTEMPT = ("blog", "day", "input_id", "attempt")

DESCRIPTIONS = {
    "explore_share": "In 30 days chance chose as often as the settings say, within three standard errors.",
    "draft_share": "Once the models are trained, between 5 and 60 % of 30 days' decisions go to a human.",
    "models_tell": f"The area under the ROC curve of a model in use is at least {LEAST_AUC}.",
    "reviewers_agree": "In 30 days humans decided otherwise than the estimated risk in at most 20 % of reviews.",
    "threads_parse": "Of 30 days' posts fewer than 1 % could not be read.",
}

Judge = Callable[[Lake, Partitions], Finding]


def explore_share(lake: Lake, partitions: Partitions, settings: Settings) -> Finding:
    """Blogs in which chance chose more or less often than it was to."""
    original = (pl.col("kind") == "original").alias("original")
    counted = (
        _in_window(lake, t.DECISIONS, partitions)
        .filter((pl.col("strategy") == "eps_greedy") & pl.col("explore").is_not_null())
        .group_by("blog", original)
        .agg(pl.len().alias("choices"), pl.col("explore").mean().alias("share"))
        .sort("blog", "original")
        .collect()
    )
    tuned = {blog.name: blog.tuned() for blog in settings.blogs}
    rows = []
    for row in counted.filter(pl.col("blog").is_in(list(tuned))).to_dicts():
        tuning = tuned[row["blog"]]
        eps = tuning.eps_original if row["original"] else tuning.eps_answer
        bound = STANDARD_ERRORS * math.sqrt(eps * (1 - eps) / row["choices"])
        if row["choices"] * min(eps, 1 - eps) >= LEAST_EXPECTED and abs(row["share"] - eps) > bound:
            rows.append({**row, "share": round(row["share"], 4), "eps": eps, "bound": round(bound, 4)})
    columns = {"blog": pl.String, "original": pl.Boolean, "choices": pl.Int64}
    schema = {**columns, **dict.fromkeys(("share", "eps", "bound"), pl.Float64)}
    return Finding.of(
        pl.DataFrame(rows, schema=schema),
        "chance chooses as often as it is to",
        "{n} blogs explore more or less than eps says; was eps changed within 30 days? If not, look at how inputs are "
        "named: the draw follows from blog, input and attempt",
    )


def draft_share(lake: Lake, partitions: Partitions) -> Finding:
    """Blogs of whose decisions by trained models too few or too many go to a human."""
    trained = [
        pl.col("trace").str.json_path_match(f"$.{kind}_version").is_not_null() for kind in ("selector", "autoreview")
    ]
    counted = (
        _in_window(lake, t.DECISIONS, partitions)
        .filter(pl.col("route").is_not_null() & pl.all_horizontal(trained))
        .group_by("blog")
        .agg(pl.len().alias("decisions"), (pl.col("route") == "draft").mean().round(4).alias("draft_share"))
    )
    unusual = (pl.col("decisions") >= LEAST_DECIDED) & ~pl.col("draft_share").is_between(*DRAFT_SHARE)
    return Finding.of(
        counted.filter(unusual).sort("blog").collect(),
        "the usual share of posts goes to a human",
        "{n} blogs send unusually few or many posts to a human; `SELECT route, route_reason, count(*) FROM decisions "
        "GROUP BY ALL` tells why",
    )


def models_tell(table: Table) -> Judge:
    """Blogs whose newest model in use hardly tells the two kinds apart."""

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        versions = lake.read(table, partitions).filter(pl.col("status") == "ok").sort("effective_from", "version")
        newest = versions.group_by("blog").last().filter(pl.col("auc_oof") < LEAST_AUC)
        return Finding.of(
            newest.select("blog", "version", pl.col("auc_oof").round(4), "n_pos", "n_neg").sort("blog").collect(),
            "the models tell good from bad",
            f"{{n}} blogs have a {table.name} that hardly tells its labels apart; more labels help, other "
            "persona.features may",
        )

    return judge


def reviewers_agree(lake: Lake, partitions: Partitions, control: Control, now: datetime) -> Finding:
    """Blogs whose reviewers often decide otherwise than the model estimates: of each post the last verdict counts."""
    given = logs.REVIEWS.since(control, "at", now - WINDOW).filter(
        pl.col("blog").is_in([*partitions.groups]) & pl.col("action").is_in(VERDICTS)
    )
    last = given.group_by("outbox_id").agg(pl.col("action").sort_by("at", "review_id").last())
    said = last.filter(pl.col("action") != "hold").lazy()
    trained = pl.col("trace").str.json_path_match("$.autoreview_version").is_not_null()
    decided = lake.read(t.DECISIONS).filter(trained & pl.col("autoreview_p").is_not_null())
    posts = lake.read(t.OUTBOX).select(*_ATTEMPT, "outbox_id").join(said, on="outbox_id")
    judged = posts.join(decided.select(*_ATTEMPT, "autoreview_p"), on=_ATTEMPT)
    other = (pl.col("autoreview_p") >= MORE_LIKELY_THAN_NOT) != (pl.col("action") != "approve")
    counted = judged.group_by("blog").agg(pl.len().alias("reviews"), other.mean().round(4).alias("disagreement"))
    wrong = (pl.col("reviews") >= LEAST_DECIDED) & (pl.col("disagreement") > DISAGREEMENT)
    return Finding.of(
        counted.filter(wrong).sort("blog").collect(),
        "people decide as the model estimates",
        "the reviewers of {n} blogs often decide otherwise than autoreview_model; train it on what they said since",
    )


def threads_parse(lake: Lake, partitions: Partitions) -> Finding:
    """Blogs of whose posts too many could not be read; one alone is an accident."""
    unread = (pl.col("reason") == "npf_parse").fill_null(False)
    counted = (
        _in_window(lake, t.THREADS, partitions)
        .group_by("blog")
        .agg(pl.len().alias("posts"), unread.sum().alias("not_read"), pl.col("observed").filter(unread).first())
    )
    wrong = (pl.col("not_read") > 1) & (pl.col("not_read") >= UNPARSED_SHARE * pl.col("posts"))
    return Finding.of(
        counted.filter(wrong).sort("blog").collect(),
        "posts can be read",
        "{n} blogs have posts that cannot be read; `FROM threads WHERE reason = 'npf_parse'` lists them, and their "
        "payloads are kept in tumblr_posts",
    )


def _in_window(lake: Lake, table: Table, partitions: Partitions) -> pl.LazyFrame:
    """Rows of the days up to the last one of each blog's partitions."""
    ends = {blog: max(days) for blog, days in partitions.groups.items() if days}
    asked = pl.LazyFrame({"blog": [*ends], "until": [*ends.values()]}, schema={"blog": pl.String, "until": pl.Date})
    rows = lake.read(table).join(asked, on="blog")
    return rows.filter((pl.col("day") <= pl.col("until")) & (pl.col("day") > pl.col("until") - WINDOW)).drop("until")

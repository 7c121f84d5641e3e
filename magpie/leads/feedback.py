"""Feedback on leads: what people did with them and whether they were any good, as events that are never edited.

Belongs here: the events in the control database, what follows from them, which leads and rejected posts to show next.
Does not belong here: asking and printing (`magpie/cli/review.py`) and the lake's copy (the asset `lead_feedback`).

What a person says of a lead must outlive the lead's row, which a new run replaces; so it is kept beside the lake.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from magpie.control import Control, as_user_error
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.leads.lead_tables import LABELS, WORKFLOWS
from magpie.leads.rejections import safe_cells
from magpie.utc import UtcDateTime

metadata = sa.MetaData()

lead_feedback = sa.Table(
    "lead_feedback",
    metadata,
    sa.Column("event_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("actor", sa.String(100), nullable=False),
    sa.Column("campaign_id", sa.String(63), nullable=False),
    sa.Column("fullname", sa.String(16), nullable=False),
    sa.Column("workflow", sa.String(16)),
    sa.Column("label", sa.String(16)),
    sa.Column("reason", sa.String(1000)),
    sa.Index("lead_feedback_post", "campaign_id", "fullname"),
)

KEY = ("campaign_id", "day", "fullname")
# Nobody can tell from these whether the post would have been a lead: there is nothing left to read.
UNREADABLE = ("deleted", "removed", "not_found")


@dataclass(frozen=True)
class Event:
    """What somebody said of one post; a part that is None is not spoken of and stays as it was.

    Raises:
        UserError: on construction, a value is none of those allowed, or the event says nothing.
    """

    at: datetime
    actor: str
    campaign_id: str
    fullname: str
    workflow: str | None = None
    label: str | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (("workflow", self.workflow, WORKFLOWS), ("label", self.label, LABELS)):
            if value is not None and value not in allowed:
                raise UserError(f"--{name} {value!r} is none of {', '.join(allowed)}")
        if self.workflow is None and self.label is None:
            raise UserError("feedback says nothing yet; give --workflow or --label")
        for name, text, limit in (("actor", self.actor, 100), ("reason", self.reason, 1000)):
            if text is not None and len(text) > limit:
                raise UserError(f"--{name} has {len(text)} characters, allowed are {limit}")
        if not self.actor.strip():
            raise UserError("--actor is empty; name who gives this feedback")


def record(control: Control, event: Event) -> int:
    """Append an event; return its id."""
    engine = control.ensure(metadata)
    with as_user_error(engine), engine.begin() as connection:
        insert = lead_feedback.insert().values(**vars(event)).returning(lead_feedback.c.event_id)
        return int(connection.execute(insert).scalar_one())


def events(control: Control) -> pl.DataFrame:
    """Return all events, oldest first, in the columns of the table `lead_feedback`."""
    engine = control.ensure(metadata)
    with as_user_error(engine), engine.begin() as connection:
        rows = connection.execute(sa.select(lead_feedback).order_by(lead_feedback.c.at, lead_feedback.c.event_id)).all()
    names = list(t.LEAD_FEEDBACK.dtypes)
    found = [tuple(getattr(row, name) for name in names) for row in rows]
    return pl.DataFrame(found, schema=t.LEAD_FEEDBACK.dtypes, orient="row")


def current(said: pl.DataFrame) -> pl.DataFrame:
    """Return per post the last workflow and label that were given, and reason, actor and time of the last event."""
    return (
        said.sort("at", "event_id")
        .group_by("campaign_id", "fullname", maintain_order=True)
        .agg(
            pl.col("workflow", "label").drop_nulls().last(),
            pl.col("reason").last().alias("feedback_reason"),
            pl.col("actor").last().alias("feedback_actor"),
            pl.col("at").last().alias("feedback_at"),
        )
    )


def review_queue(lake: Lake, said: pl.DataFrame, campaign_id: str, everything: bool = False) -> pl.DataFrame:
    """Return the leads nobody has dealt with and whose quote stands in the post, the highest intent first.

    Args:
        everything: also those dealt with, and those with a quote that does not stand in the post.
    """
    found = (
        lake.read(t.LEADS)
        .filter(pl.col("campaign_id") == campaign_id)
        .collect()
        .join(current(said), on=["campaign_id", "fullname"], how="left")
        .with_columns(pl.col("workflow").fill_null("new"))
        .sort("intent_score", "relevance_score", "fullname", descending=[True, True, False])
    )
    waiting = (pl.col("workflow") == "new") & pl.col("evidence_grounded")
    return found if everything else found.filter(waiting)


def rejection_sample(lake: Lake, said: pl.DataFrame, campaign_id: str, per_day: int) -> pl.DataFrame:
    """Return the rejected posts of the sample that have no label yet, with title, text and why they were rejected.

    The sample is `per_day` rejected posts of each day, those whose fullname has the smallest sha256: as good as drawn
    by lot, and the same whenever it is asked for.
    """
    drawn = _sampled(lake, campaign_id, per_day)
    labelled = current(said).filter(pl.col("label").is_not_null())
    open_ = drawn.join(labelled, on=["campaign_id", "fullname"], how="anti")
    names = open_["fullname"].unique().implode()
    facts = (*KEY, "kind", "subreddit", "eff_title")
    titles = lake.read(t.CAMPAIGN_POSTS).filter(pl.col("fullname").is_in(names)).select(facts)
    texts = lake.read(t.REDDIT_POSTS).filter(pl.col("fullname").is_in(names)).select("day", "fullname", "text")
    return (
        open_.join(titles.collect(), on=KEY, how="left")
        .join(texts.collect(), on=["day", "fullname"], how="left")
        .sort("day", "fullname")
    )


def _sampled(lake: Lake, campaign_id: str, per_day: int) -> pl.DataFrame:
    readable = (pl.col("campaign_id") == campaign_id) & ~pl.col("reason").is_in(UNREADABLE)
    rows = lake.read(t.REJECTIONS).filter(readable).collect()
    lots = [hashlib.sha256(name.encode()).hexdigest() for name in rows["fullname"]]
    drawn = rows.with_columns(pl.Series("lot", lots, dtype=pl.String)).sort("day", "lot")
    return drawn.filter(pl.int_range(pl.len()).over("day") < per_day).select(rows.columns)


@dataclass(frozen=True)
class Recall:
    """How many of the posts that people would call relevant were found as leads, by estimate.

    Attributes:
        recall: found / (found + missed), 0 to 1.
        precision: relevant among the labelled leads.
        found: relevant leads, labelled ones extrapolated to all.
        missed: relevant rejected posts, those of the sample extrapolated to all.
        labelled_leads, labelled_rejections: what this rests on.
    """

    recall: float
    precision: float
    found: float
    missed: float
    labelled_leads: int
    labelled_rejections: int


def recall(lake: Lake, said: pl.DataFrame, campaign_id: str, per_day: int) -> Recall | None:
    """Estimate recall from labelled leads and from labels within the sample; None while either has no label or
    nothing was called relevant.

    Labels outside the sample do not count: people look up what they suspect, which is no fair draw. Each day's labels
    stand for the rejections of that day, and the days with labels for those without.
    """
    labels = current(said).filter(pl.col("label").is_not_null())
    relevant = (pl.col("label") == "relevant").cast(pl.Float64)
    leads = lake.read(t.LEADS).filter(pl.col("campaign_id") == campaign_id).collect()
    judged = leads.join(labels, on=["campaign_id", "fullname"], how="inner")
    drawn = _sampled(lake, campaign_id, per_day).join(labels, on=["campaign_id", "fullname"], how="inner")
    if judged.is_empty() or drawn.is_empty():
        return None
    readable = (pl.col("campaign_id") == campaign_id) & ~pl.col("reason").is_in(UNREADABLE)
    rejected = lake.read(t.REJECTIONS).filter(readable).group_by("day").agg(pl.len().alias("rejected")).collect()
    days = drawn.group_by("day").agg(relevant.mean().alias("share")).join(rejected, on="day")
    covered = float(days["rejected"].sum())
    missed = float((days["share"] * days["rejected"]).sum()) * float(rejected["rejected"].sum()) / covered
    precision = float(judged.select(relevant.mean()).item())
    found = precision * leads.height
    if found + missed == 0:
        return None
    return Recall(found / (found + missed), precision, found, missed, judged.height, drawn.height)


def known_post(lake: Lake, campaign_id: str, fullname: str) -> None:
    """Refuse feedback on what the campaign never saw.

    Raises:
        UserError: the post matches no keyword of the campaign, or its day was not made yet.
    """
    mine = (pl.col("campaign_id") == campaign_id) & (pl.col("fullname") == fullname)
    if lake.read(t.CAMPAIGN_POSTS).filter(mine).head(1).collect().is_empty():
        raise UserError(
            f"{fullname} is no post of campaign {campaign_id}; `magpie leads why {campaign_id} {fullname}` tells more"
        )


def export_leads(rows: pl.DataFrame, target: Path) -> Path:
    """Write rows of `review_queue` as CSV, replacing the file; cells that a spreadsheet would run get an apostrophe.

    Raises:
        UserError: the file cannot be written.
    """
    contact = [
        pl.col("contact_info").struct.field(name).alias(f"contact_{name}") for name in ("email", "handle", "url")
    ]
    flat = rows.with_columns(contact).drop("contact_info").with_columns(safe_cells())
    waiting = target.with_name(f"{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        flat.write_csv(waiting)
        waiting.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; name another file with --export") from None
    return target

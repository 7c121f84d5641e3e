"""The whole story of one post in one campaign: from its archive line to what people said of it, as far as it came.

Belongs here: collecting what the tables say. Does not belong here: deciding, and how it is printed
(`magpie/cli/leads.py`).
"""

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import tables as t
from magpie.leads.keywords import include_keywords
from magpie.leads.stages import CampaignRules
from magpie.settings import Settings


@dataclass(frozen=True)
class Story:
    """What is stored about one post.

    Attributes:
        post: its row of reddit_posts.
        matched: its row of campaign_posts; None where no keyword matches it or the day was not made yet.
        ranked: its row of ranked_posts; None where gates 0-7 ended it.
        extraction: its row of lead_extractions; None where none was made of it.
        feedback: its last event of feedback; None where nobody said anything.
        gates: the log of every gate that looked at it, in order.
        verdict: one sentence.
    """

    post: dict[str, Any]
    matched: dict[str, Any] | None
    ranked: dict[str, Any] | None
    extraction: dict[str, Any] | None
    feedback: dict[str, Any] | None
    gates: list[dict[str, Any]]
    verdict: str


def fullname_of(text: str) -> str:
    """Return the fullname that a fullname or a Reddit link names.

    Raises:
        UserError: it is neither.
    """
    text = text.strip()
    if re.fullmatch(r"t[13]_[0-9a-z]{1,13}", text):
        return text
    link = re.search(r"/comments/([0-9a-z]{1,13})(?:/[^/\s]*(?:/([0-9a-z]{1,13}))?)?/?(?:[?#].*)?$", text)
    if link is None:
        raise UserError(f"{text!r} is no fullname such as t3_abc123 and no link to a Reddit post or comment")
    return f"t1_{link[2]}" if link[2] else f"t3_{link[1]}"


def why(lake: Lake, settings: Settings, campaign_id: str, fullname: str, events: pl.DataFrame | None = None) -> Story:
    """Tell what became of a post in a campaign.

    Args:
        events: rows of `lead_feedback`; None: those of the lake, which may be older than the control database's.

    Raises:
        UserError: no such campaign, or the post is in no archive that was read.
    """
    rules = CampaignRules.of(settings, campaign_id)
    post = _one(lake.read(t.REDDIT_POSTS).filter(pl.col("fullname") == fullname))
    if post is None:
        raise UserError(
            f"{fullname} is in no day of reddit_posts; check that its archive is in magpie.yaml and its day was made"
        )
    mine = (pl.col("campaign_id") == campaign_id) & (pl.col("fullname") == fullname)
    matched, ranked = _one(lake.read(t.CAMPAIGN_POSTS).filter(mine)), _one(lake.read(t.RANKED_POSTS).filter(mine))
    extraction = _one(lake.read(t.LEAD_EXTRACTIONS).filter(mine))
    said = lake.read(t.LEAD_FEEDBACK) if events is None else events.lazy()
    feedback = _one(said.filter(mine).sort("at", "event_id", descending=True))
    log = [*(matched["gate_log"] if matched else []), *(ranked["gate_log"] if ranked else [])]
    verdict = _verdict(rules, post, matched, ranked, extraction)
    return Story(post, matched, ranked, extraction, feedback, log, verdict)


def _verdict(
    rules: CampaignRules,
    post: dict[str, Any],
    matched: dict[str, Any] | None,
    ranked: dict[str, Any] | None,
    extraction: dict[str, Any] | None,
) -> str:
    if matched is None:
        if post["content_state"] == "deleted":
            return "Deleted: its text is gone, so no keyword can match it."
        words = ", ".join(keyword.norm for keyword in include_keywords(rules.keywords))
        return f"Not matched: none of the campaign's keywords ({words}) occurs in it, or its day was not made yet."
    last = ranked or matched
    if last["status"] == "rejected" and last["gate"] is None:
        return f"Rejected: {last['reason']}."
    if last["status"] == "rejected":
        return (
            f"Rejected by gate {last['gate']} ({last['reason']}): "
            f"observed {last['observed']}, threshold {last['threshold']}."
        )
    if ranked is None:
        return "Passed gates 0-7; not scored yet."
    if ranked["status"] == "pending":
        return f"Pending: {ranked['reason']}, not before {ranked['not_before']}."
    candidate = f"Candidate: rank {ranked['rank']} of its day, fused {ranked['fused']:.3f}."
    return candidate if extraction is None else f"{candidate} {_read(extraction)}"


def _read(extraction: dict[str, Any]) -> str:
    """What came of asking about a candidate."""
    reason, score = extraction["reason"], extraction["intent_score"]
    match extraction["status"]:
        case "ok":
            doubt = "" if extraction["evidence_grounded"] else ", but its quote is not in the post, so it is not shown"
            return f"Lead: intent {score} ({extraction['intent_tier']}){doubt}."
        case "pending" if extraction["not_before"] is None:
            return f"Not read yet: {reason}, until somebody acts."
        case "pending":
            return f"Not read yet: {reason}, not before {extraction['not_before']}."
        case "failed":
            return f"Reading failed: {reason}."
    if reason == "low_intent":
        return f"Rejected after reading: low_intent, observed {score}, threshold {extraction['threshold']}."
    return f"Rejected after reading: {reason}" + (f", intent {score}." if score is not None else ".")


def _one(rows: pl.LazyFrame) -> dict[str, Any] | None:
    found = rows.head(1).collect()
    return found.row(0, named=True) if found.height else None

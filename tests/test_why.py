"""Why a post is where it is: every gate that saw it, and one sentence."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from leads_world import DAY, World, a_campaign, a_post, lead, one_day, some_settings

from magpie.errors import UserError
from magpie.leads import tables as t
from magpie.leads.campaign_posts import blanked
from magpie.leads.gates import METADATA_GATES, SCORE_GATES
from magpie.leads.why import Story, fullname_of, why
from magpie.tables import Partitions


def world(**gates: Any) -> World:
    posts = [
        a_post("t3_good", "CRM crm", text="crm"),
        a_post("t3_nsfw", over_18=True),
        a_post("t3_low", score=0),
        a_post("t3_cats", "cats"),
        a_post("t1_reply", text="a crm", link_fullname="t3_good"),
    ]
    return one_day(posts, some_settings(a_campaign(gates={"min_fused": 0.2, **gates})))


def story(name: str, **gates: Any) -> Story:
    made = world(**gates)
    return why(made.lake, made.settings, "crm", name)


def test_a_candidate_has_passed_every_gate_and_has_a_rank() -> None:
    found = story("t3_good")
    assert found.verdict.startswith("Candidate: rank 1 of its day, fused 0.")
    assert [entry["gate"] for entry in found.gates] == [gate.number for gate in (*METADATA_GATES, *SCORE_GATES)]
    assert found.post["title"] == "CRM crm"
    assert found.ranked is not None and found.ranked["rank"] == 1


def test_a_post_that_gates_0_to_7_ended_was_never_scored() -> None:
    found = story("t3_nsfw")
    assert found.verdict == "Rejected by gate 4 (nsfw): observed 1, threshold 0."
    assert found.ranked is None
    assert len(found.gates) == len(METADATA_GATES)


@pytest.mark.parametrize(
    ("gates", "verdict"),
    [
        ({"cosine_threshold": 1.0}, "Rejected by gate 8 (low_cosine): observed 0."),
        ({}, "Rejected by gate 9 (low_engagement): observed 0, threshold 1."),
        ({"min_engagement_score": 0, "min_fused": 0.99}, "Rejected by gate 11 (low_fused): observed 0."),
    ],
)
def test_a_scored_post_is_told_with_the_gate_that_ended_it(gates: dict[str, Any], verdict: str) -> None:
    found = story("t3_low", **gates)
    assert found.verdict.startswith(verdict)
    assert len(found.gates) == len(METADATA_GATES) + len(SCORE_GATES)


def test_a_post_without_a_keyword_is_told_the_keywords() -> None:
    found = story("t3_cats")
    assert found.verdict.startswith("Not matched: none of the campaign's keywords (crm) occurs in it")
    assert (found.matched, found.ranked, found.gates) == (None, None, [])


def test_a_post_not_scored_yet_says_so() -> None:
    made = world()
    made.lake.frames[t.RANKED_POSTS.name] = t.RANKED_POSTS.empty()  # type: ignore[attr-defined]
    assert why(made.lake, made.settings, "crm", "t3_good").verdict == "Passed gates 0-7; not scored yet."


def test_a_deleted_post_is_told_as_deleted() -> None:
    made = world()
    rows = made.lake.frames[t.CAMPAIGN_POSTS.name]  # type: ignore[attr-defined]
    gone = blanked(rows.filter(rows["fullname"] == "t3_nsfw")).select(rows.columns)
    made.lake.frames[t.CAMPAIGN_POSTS.name] = rows.filter(rows["fullname"] != "t3_nsfw").extend(gone)  # type: ignore[attr-defined]
    assert why(made.lake, made.settings, "crm", "t3_nsfw").verdict == "Rejected: deleted."


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"intent_score": 71}, "Lead: intent 71 (hot)."),
        (
            {"evidence_grounded": False},
            "Lead: intent 75 (hot), but its quote is not in the post, so it is not shown.",
        ),
        ({"is_lead": False, "intent_score": 5}, "Rejected after reading: not_a_lead, intent 5."),
    ],
)
def test_what_was_read_in_a_candidate_ends_its_story(said: dict[str, Any], told: str) -> None:
    made = world().extract([DAY], lambda row: lead(row, **said))
    found = why(made.lake, made.settings, "crm", "t3_good")
    assert found.verdict.startswith("Candidate: rank 1 of its day") and found.verdict.endswith(told)
    assert found.extraction is not None and found.extraction["provider"] == "offline"
    assert story("t3_good").extraction is None
    assert why(made.lake, made.settings, "crm", "t3_nsfw").verdict.startswith("Rejected by gate 4")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"status": "pending", "reason": "cap_exhausted", "not_before": datetime(2026, 3, 21, tzinfo=UTC)},
            "Not read yet: cap_exhausted, not before 2026-03-21 00:00:00+00:00.",
        ),
        ({"status": "pending", "reason": "provider_auth"}, "Not read yet: provider_auth, until somebody acts."),
        ({"status": "failed", "reason": "llm_error:invalid_output"}, "Reading failed: llm_error:invalid_output."),
        ({"status": "rejected", "reason": "refused"}, "Rejected after reading: refused."),
    ],
)
def test_a_candidate_that_could_not_be_read_says_why_and_until_when(said: dict[str, Any], told: str) -> None:
    made = world().extract([DAY], lambda row: said)
    assert why(made.lake, made.settings, "crm", "t3_good").verdict.endswith(told)


def test_a_lead_below_the_floor_is_told_the_floor() -> None:
    made = world()
    made.settings = some_settings(a_campaign(gates={"min_fused": 0.2}), leads={"min_intent_score": 80})
    made.extract([DAY], lead)
    told = "Rejected after reading: low_intent, observed 75, threshold 80."
    assert why(made.lake, made.settings, "crm", "t3_good").verdict.endswith(told)


def test_the_last_that_was_said_of_a_post_is_told() -> None:
    made, at = world(), datetime(2026, 4, 1, tzinfo=UTC)
    event = {"event_id": 1, "at": at, "actor": "ann", "campaign_id": "crm", "fullname": "t3_good", "label": "relevant"}
    others = [
        {**event, "event_id": 2, "label": "not_relevant"},
        {**event, "event_id": 3, "at": at - timedelta(days=1)},
        {**event, "event_id": 4, "campaign_id": "another"},
    ]
    events = pl.DataFrame([event, *others], schema=t.LEAD_FEEDBACK.dtypes)
    found = why(made.lake, made.settings, "crm", "t3_good", events).feedback
    assert found is not None and found["event_id"] == 2
    assert story("t3_good").feedback is None
    made.lake.write(t.LEAD_FEEDBACK, events, Partitions.whole())
    assert why(made.lake, made.settings, "crm", "t3_good").feedback == found


def test_a_post_that_no_archive_holds_says_what_to_check() -> None:
    with pytest.raises(UserError, match=r"t3_zzz is in no day of reddit_posts; check that its archive"):
        story("t3_zzz")
    made = world()
    with pytest.raises(UserError, match="no campaign 'nobody'"):
        why(made.lake, made.settings, "nobody", "t3_good")


@pytest.mark.parametrize(
    ("given", "fullname"),
    [
        ("t3_1kavlaz", "t3_1kavlaz"),
        (" t1_abc ", "t1_abc"),
        ("https://www.reddit.com/r/x/comments/1kavlaz/some_title/", "t3_1kavlaz"),
        ("https://old.reddit.com/r/x/comments/1kavlaz", "t3_1kavlaz"),
        ("https://www.reddit.com/r/x/comments/1kavlaz/some_title/?sort=new#x", "t3_1kavlaz"),
        ("https://www.reddit.com/r/x/comments/1kavlaz/some_title/mabc12/", "t1_mabc12"),
        ("https://www.reddit.com/r/x/comments/1kavlaz/comment/mabc12/?context=3", "t1_mabc12"),
        ("/r/x/comments/1kavlaz/_/mabc12/", "t1_mabc12"),
    ],
)
def test_links_and_names_of_posts_and_comments_are_understood(given: str, fullname: str) -> None:
    assert fullname_of(given) == fullname


@pytest.mark.parametrize("given", ["", "crm", "t5_abc", "t3_ABC!", "https://www.reddit.com/r/x/", "t3_" + "a" * 40])
def test_anything_else_is_refused_in_one_line(given: str) -> None:
    with pytest.raises(UserError, match="is no fullname such as t3_abc123 and no link"):
        fullname_of(given)

"""campaign_posts: what comments inherit, which of several equal texts is the original, and what deletion leaves."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from leads_world import DAY, NOON, World, a_campaign, a_post, a_world, days_between, one_day, some_settings
from polars.testing import assert_frame_equal

from magpie.control import Control
from magpie.leads import tables as t
from magpie.leads.rejections import export_csv

LONG = "we need a crm for our small agency, any ideas?"
MIDNIGHT = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)


def test_only_matches_get_a_row() -> None:
    world = one_day([a_post("t3_a"), a_post("t3_b", "cats", text="and dogs")])
    assert world.rows(t.CAMPAIGN_POSTS)["fullname"].to_list() == ["t3_a"]


def test_each_campaign_matches_by_its_own_words() -> None:
    settings = some_settings(a_campaign(), a_campaign("cats", ["cat*"]))
    world = one_day([a_post("t3_a"), a_post("t3_b", "cats and a crm")], settings)
    found = world.rows(t.CAMPAIGN_POSTS).select("campaign_id", "fullname").rows()
    assert found == [("cats", "t3_b"), ("crm", "t3_a"), ("crm", "t3_b")]


# Inheritance


def inherited(*others: dict[str, Any], **comment: Any) -> tuple[Any, Any, Any]:
    given = {"text": "use a crm", "link_fullname": "t3_p", **comment}
    row = one_day([a_post("t1_c", **given), *others]).row(t.CAMPAIGN_POSTS, "t1_c")
    return row["eff_title"], row["eff_over_18"], row["eff_sub_subscribers"]


def parent(**more: Any) -> dict[str, Any]:
    return a_post("t3_p", **{"title": "The thread", "over_18": True, "sub_subscribers": 4000, **more})


@pytest.mark.parametrize("days_back", [0, 1, 29])
def test_a_comment_inherits_title_nsfw_and_size_of_its_submission(days_back: int) -> None:
    at = NOON - timedelta(days=days_back)
    assert inherited(parent(at=at)) == ("The thread", True, 4000)


def test_a_submission_out_of_the_window_gives_nothing() -> None:
    assert inherited(parent(at=NOON - timedelta(days=30))) == (None, None, None)


def test_a_submission_nobody_has_gives_nothing_and_a_comment_without_link_breaks_nothing() -> None:
    assert inherited() == (None, None, None)
    assert inherited(link_fullname=None) == (None, None, None)


def test_the_newest_submission_of_the_subreddit_tells_the_size_where_the_own_one_does_not() -> None:
    older = a_post("t3_x", "hello", sub_subscribers=2000, subreddit="SMALLBUSINESS", at=NOON - timedelta(days=3))
    newest = a_post("t3_y", "hello", sub_subscribers=3000, at=NOON - timedelta(days=2))
    silent = a_post("t3_z", "hello", sub_subscribers=None, at=NOON - timedelta(days=1))
    elsewhere = a_post("t3_w", "hello", sub_subscribers=9, subreddit="cats")
    around = (older, newest, silent, elsewhere)
    assert inherited(*around) == (None, None, 3000)
    assert inherited(parent(sub_subscribers=None), *around)[2] == 3000
    assert inherited(parent(), *around)[2] == 4000, "the own submission goes first"
    too_old = a_post("t3_y", "hello", sub_subscribers=3000, at=NOON - timedelta(days=30))
    assert inherited(too_old)[2] is None


def test_a_submission_inherits_nothing() -> None:
    sibling = a_post("t3_x", "hello", sub_subscribers=3000)
    row = one_day([a_post("t3_a", sub_subscribers=None, over_18=None), sibling]).row(t.CAMPAIGN_POSTS, "t3_a")
    assert (row["eff_title"], row["eff_over_18"], row["eff_sub_subscribers"]) == ("Looking for a CRM", None, None)


def test_inherited_values_decide_the_gates_of_a_comment() -> None:
    comment = a_post("t1_c", text="use a crm", link_fullname="t3_p")
    assert one_day([comment, parent()]).row(t.CAMPAIGN_POSTS, "t1_c")["reason"] == "nsfw"
    small = one_day([comment, parent(over_18=False, sub_subscribers=10)])
    assert small.row(t.CAMPAIGN_POSTS, "t1_c")["reason"] == "small_subreddit"


def test_each_day_looks_back_from_itself_however_many_days_are_made_at_once() -> None:
    days = days_between(DAY, DAY + timedelta(days=1))
    posts = [
        parent(at=NOON - timedelta(days=29)),
        a_post("t1_c", text="use a crm", link_fullname="t3_p"),
        a_post("t1_d", text="use a crm", link_fullname="t3_p", at=NOON + timedelta(days=1)),
    ]
    upstream = days_between(DAY - timedelta(days=31), days[-1])
    world = a_world(posts).make_all(days, upstream)
    assert world.row(t.CAMPAIGN_POSTS, "t1_c")["eff_title"] == "The thread"
    assert world.row(t.CAMPAIGN_POSTS, "t1_d")["eff_title"] is None


# Duplicates


def copies(*posts: dict[str, Any], gates: dict[str, Any] | None = None) -> dict[str, str | None]:
    """fullname -> duplicate_of of the rows that gate 1 rejects (None: kept)."""
    days = sorted({row["day"] for row in posts})
    wanted = days_between(max(days[0], days[-1] - timedelta(days=3)), days[-1])
    upstream = days_between(wanted[0] - timedelta(days=31), wanted[-1])
    world = a_world(posts, some_settings(a_campaign(gates=gates or {}))).make_all(wanted, upstream)
    rows = world.rows(t.CAMPAIGN_POSTS).select("fullname", "reason", "duplicate_of").rows()
    return {name: original if reason == "duplicate" else None for name, reason, original in rows}


def said(fullname: str, seconds: float = 0, text: str = LONG, **more: Any) -> dict[str, Any]:
    return a_post(fullname, text=text, at=NOON + timedelta(seconds=seconds), **more)


def test_the_earlier_of_two_equal_texts_is_the_original() -> None:
    assert copies(said("t1_b", 0), said("t1_a", 1)) == {"t1_b": None, "t1_a": "t1_b"}


def test_at_equal_times_the_smaller_name_is_the_original() -> None:
    assert copies(said("t1_b"), said("t1_a")) == {"t1_a": None, "t1_b": "t1_a"}


@pytest.mark.parametrize(("after", "original"), [(604_799, "t1_a"), (604_800, None)])
def test_a_copy_is_one_within_a_week_and_not_a_second_later(after: int, original: str | None) -> None:
    assert copies(said("t1_a"), said("t1_b", after)) == {"t1_b": original}


def test_how_long_a_text_counts_as_a_copy_is_a_setting() -> None:
    assert copies(said("t1_a"), said("t1_b", 60), gates={"dedup_ttl_seconds": 60})["t1_b"] is None
    assert copies(said("t1_a"), said("t1_b", 59), gates={"dedup_ttl_seconds": 60})["t1_b"] == "t1_a"
    longest = 29 * 86_400
    assert copies(said("t1_a"), said("t1_b", longest - 1), gates={"dedup_ttl_seconds": longest})["t1_b"] == "t1_a"
    assert copies(said("t1_a"), said("t1_b", longest), gates={"dedup_ttl_seconds": longest})["t1_b"] is None


def test_a_chain_of_copies_goes_on_as_long_as_each_follows_the_last_within_the_time() -> None:
    days = [said("t1_a"), said("t1_b", 2 * 86_400), said("t1_c", 4 * 86_400 - 1)]
    ttl = {"dedup_ttl_seconds": 2 * 86_400}
    assert copies(*days, gates=ttl) == {"t1_b": None, "t1_c": "t1_b"}
    assert copies(*days, gates={"dedup_ttl_seconds": 2 * 86_400 + 1}) == {"t1_b": "t1_a", "t1_c": "t1_b"}


def test_copies_are_found_across_midnight_and_across_the_first_day_made() -> None:
    before = a_post("t1_a", text=LONG, at=MIDNIGHT - timedelta(seconds=1))
    after = a_post("t1_b", text=LONG, at=MIDNIGHT)
    assert copies(before, after) == {"t1_a": None, "t1_b": "t1_a"}
    assert one_day([before, after]).row(t.CAMPAIGN_POSTS, "t1_b")["duplicate_of"] == "t1_a"


def test_texts_are_compared_without_regard_to_case_width_and_white_space() -> None:
    odd = LONG.upper().replace(" ", "\n ").replace("CRM", "ＣＲＭ")
    assert copies(said("t1_a"), said("t1_b", 1, odd))["t1_b"] == "t1_a"
    assert copies(said("t1_a"), said("t1_b", 1, LONG + "!"))["t1_b"] is None


@pytest.mark.parametrize(("length", "original"), [(39, None), (40, "t1_a")])
def test_short_texts_are_never_copies(length: int, original: str | None) -> None:
    text = "crm " + "x" * (length - 4)
    assert copies(said("t1_a", 0, text), said("t1_b", 1, text))["t1_b"] == original


def test_a_removed_post_is_nobodys_original() -> None:
    gone = said("t1_a", content_state="removed")
    assert copies(gone, said("t1_b", 1), said("t1_c", 2)) == {"t1_a": None, "t1_b": None, "t1_c": "t1_b"}


def test_a_post_turned_away_by_another_gate_is_an_original_all_the_same() -> None:
    nsfw = a_post("t3_a", LONG, over_18=True)
    assert copies(nsfw, a_post("t3_b", LONG, at=NOON + timedelta(seconds=1)))["t3_b"] == "t3_a"


def test_a_post_that_does_not_match_is_nobodys_original() -> None:
    text = "this thread is about cats, dogs and all other animals"
    found = copies(said("t1_a", 0, text), said("t1_b", 1, text, matched_queries=["crm"]))
    assert found == {"t1_b": None}


# Deletions

SECRET = "zanzibarsecret"


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    opened = Control(f"sqlite:///{tmp_path / 'control.sqlite'}")
    yield opened
    opened.close()


def secret_world(control: Control, home: Path | None = None) -> World:
    posts = [
        a_post(
            "t3_a",
            f"CRM {SECRET}",
            text=f"need a crm {SECRET}",
            author=SECRET,
            url=f"https://example.org/{SECRET}",
            permalink=f"/r/smallbusiness/comments/a/crm_{SECRET}/",
        ),
        a_post("t3_b", f"CRM {SECRET}", author=SECRET, over_18=True, permalink=f"/r/x/comments/b/{SECRET}/"),
        a_post("t3_q", SECRET, author=SECRET, matched_queries=["crm"], permalink=f"/r/x/comments/q/{SECRET}/"),
        a_post("t1_c", text="use a crm", link_fullname="t3_a", at=NOON + timedelta(days=1)),
    ]
    return a_world(posts, some_settings(a_campaign(gates={"min_fused": 0.0})), home=home, control=control)


def holding(world: World, secret: str) -> set[tuple[str, str]]:
    """(table, column) of every cell that holds the secret."""
    return {
        (name, column)
        for name, rows in world.tables().items()
        for column in rows.columns
        if any(secret in str(value).lower() for value in rows[column].to_list())
    }


def test_nothing_that_a_deleted_post_said_is_left_in_any_table(control: Control, tmp_path: Path) -> None:
    days = days_between(DAY, DAY + timedelta(days=1))
    world = secret_world(control, tmp_path).make_all(days)
    assert {"reddit_posts", "corpus_terms", "campaign_posts", "ranked_posts", "rejections"} <= {
        table for table, _ in holding(world, SECRET)
    }
    vectors = world.rows(t.POST_EMBEDDINGS)["fullname"].to_list()
    control.record_deletions([(name, "post") for name in ("t3_a", "t3_b", "t3_q")], NOON)
    world.make_all(days)
    assert holding(world, SECRET) == set()
    assert "t3_a" in vectors
    assert world.rows(t.POST_EMBEDDINGS)["fullname"].to_list() == ["t1_c"]
    assert world.rows(t.RANKED_POSTS)["fullname"].to_list() == ["t1_c"]


def test_a_tombstone_keeps_id_day_and_reason_and_stays_the_same(control: Control) -> None:
    days = days_between(DAY, DAY + timedelta(days=1))
    world = secret_world(control).make_all(days)
    control.record_deletions([(name, "post") for name in ("t3_a", "t3_b", "t3_q")], NOON)
    once = world.make_all(days).tables()
    for name in ("t3_a", "t3_b", "t3_q"):
        for table in (t.CAMPAIGN_POSTS, t.REJECTIONS):
            row = world.row(table, name)
            assert (row["day"], row["reason"], row["created_utc"]) == (DAY, "deleted", NOON)
        assert world.row(t.CAMPAIGN_POSTS, name)["permalink"].endswith(f"/comments/{name[3:]}/")
        post = world.row(t.REDDIT_POSTS, name)
        assert (post["content_state"], post["title"], post["text"], post["author"]) == ("deleted", None, "", None)
    for name, rows in world.make_all(days).tables().items():
        assert_frame_equal(rows, once[name], check_exact=True)


def test_a_comment_loses_the_title_it_had_from_a_deleted_submission(control: Control) -> None:
    days = days_between(DAY, DAY + timedelta(days=1))
    world = secret_world(control).make_all(days)
    assert SECRET in world.row(t.CAMPAIGN_POSTS, "t1_c")["eff_title"]
    control.record_deletions([("t3_a", "post")], NOON)
    world.make_all(days)
    assert world.row(t.CAMPAIGN_POSTS, "t1_c")["eff_title"] is None


def test_a_deleted_author_loses_the_name_and_nothing_else(control: Control) -> None:
    world = secret_world(control).make_all([DAY])
    before = world.row(t.REDDIT_POSTS, "t3_a")
    control.record_deletions([("t3_a", "author")], NOON)
    world.make_all([DAY])
    assert world.row(t.REDDIT_POSTS, "t3_a") == {**before, "author": None}
    assert world.row(t.CAMPAIGN_POSTS, "t3_a")["status"] == "ok"


def test_a_copy_of_a_deleted_post_becomes_an_original(control: Control) -> None:
    posts = [said("t1_a"), said("t1_b", 1)]
    world = a_world(posts, control=control).make_all([DAY])
    assert world.row(t.CAMPAIGN_POSTS, "t1_b")["reason"] == "duplicate"
    control.record_deletions([("t1_a", "post")], NOON)
    assert world.make_all([DAY]).row(t.CAMPAIGN_POSTS, "t1_b")["status"] == "ok"


def test_the_export_of_a_deleted_post_names_only_its_id(control: Control, tmp_path: Path) -> None:
    world = secret_world(control).make_all([DAY])
    control.record_deletions([(name, "post") for name in ("t3_a", "t3_b", "t3_q")], NOON)
    world.make_all([DAY])
    (path,) = export_csv(world.rows(t.REJECTIONS), [("crm", str(DAY))], tmp_path)
    assert SECRET not in path.read_text()
    assert pl.read_csv(path)["reason"].to_list() == ["deleted"] * 3

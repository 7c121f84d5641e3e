"""The corpus: counts of a day, of its trailing window, and of each subreddit, against plain counting."""

from collections import Counter
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from leads_world import DAY, NOON, a_post, a_world, days_between, landed, world_posts

from magpie.leads import tables as t
from magpie.leads.corpus import (
    DAYS_PER_PASS,
    corpus_stats,
    corpus_terms,
    document_frequencies,
    subreddit_stats,
    window_start,
)
from magpie.leads.posts import reddit_posts

FIRST = DAY - timedelta(days=9)
DAYS = days_between(FIRST, DAY)
QUICK: dict[str, Any] = {"max_examples": 25, "deadline": None, "phases": (Phase.explicit, Phase.reuse, Phase.generate)}


def posts_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return reddit_posts(landed(rows).lazy(), pl.DataFrame(schema={"fullname": pl.String, "kind": pl.String}))


def window(day: date, size: int) -> set[date]:
    return {day - timedelta(days=n) for n in range(size)}


@settings(**QUICK)
@given(rows=world_posts(FIRST - timedelta(days=3), DAY), size=st.sampled_from([7, 8, 30]))
def test_counts_are_those_of_plain_counting(rows: list[dict[str, Any]], size: int) -> None:
    posts = posts_of(rows)
    ok = posts.filter(pl.col("content_state") == "ok").to_dicts()
    terms = Counter((post["day"], term) for post in ok for term in set(post["tokens"].split()))
    found = corpus_terms(posts.lazy(), posts["day"].unique().to_list())
    assert {(day, term): documents for day, term, documents in found.rows()} == dict(terms)
    for row in corpus_stats(posts.lazy(), DAYS, size).to_dicts():
        inside = [post for post in ok if post["day"] in window(row["day"], size)]
        assert row["corpus_n"] == len(inside)
        assert row["corpus_tokens"] == sum(len(post["tokens"].split()) for post in inside)
        assert row["corpus_avglen"] == (row["corpus_tokens"] / len(inside) if inside else None)
    wanted = ["crm", "mail*", "invoic*", "nowhere"]
    for row in document_frequencies(found.lazy(), wanted, DAYS, size).to_dicts():
        inside = [post for post in ok if post["day"] in window(row["day"], size)]
        assert row["df_0"] == sum("crm" in post["tokens"].split() for post in inside)
        assert row["df_2"] == sum(
            len({term for term in post["tokens"].split() if term.startswith("invoic")}) for post in inside
        )
        assert row["df_3"] == 0


@settings(**QUICK)
@given(rows=world_posts(FIRST - timedelta(days=3), DAY))
def test_subreddits_are_counted_over_seven_days_and_sized_by_their_newest_submission(
    rows: list[dict[str, Any]],
) -> None:
    posts = posts_of(rows)
    found = {(row["day"], row["subreddit"]): row for row in subreddit_stats(posts.lazy(), DAYS, 30).to_dicts()}
    submissions = [post for post in posts.to_dicts() if post["kind"] == "submission"]
    seen = set()
    for day in DAYS:
        for name in {post["subreddit"].lower() for post in submissions if post["day"] in window(day, 30)}:
            mine = [
                post for post in submissions if post["subreddit"].lower() == name and post["day"] in window(day, 30)
            ]
            mine.sort(key=lambda post: (post["created_utc"], post["fullname"]))
            sizes = [post["sub_subscribers"] for post in mine if post["sub_subscribers"] is not None]
            recent = sum(post["day"] in window(day, 7) for post in mine)
            row = found[day, name]
            assert (row["posts_per_day"], row["sub_subscribers"]) == (recent / 7, sizes[-1] if sizes else None)
            seen.add((day, name))
    assert seen == found.keys()


def test_the_window_is_counted_back_from_each_day() -> None:
    posts = posts_of([a_post("t1_a", text="crm"), a_post("t1_b", text="crm crm", at=NOON - timedelta(days=29))])
    stats = corpus_stats(posts.lazy(), [DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)], 30).sort("day")
    assert stats["corpus_n"].to_list() == [1, 2, 1]
    assert stats["corpus_avglen"].to_list() == [2.0, 1.5, 1.0]
    assert window_start([DAY, DAY - timedelta(days=1)], 30) == DAY - timedelta(days=30)


def test_a_window_without_posts_has_no_average_length() -> None:
    stats = corpus_stats(t.REDDIT_POSTS.empty().lazy(), [DAY], 30).to_dicts()[0]
    assert (stats["corpus_n"], stats["corpus_tokens"], stats["corpus_avglen"]) == (0, 0, None)


@pytest.mark.parametrize("days", [[], [DAY]])
def test_no_posts_give_empty_tables_in_the_declared_columns(days: list[date]) -> None:
    empty = t.REDDIT_POSTS.empty().lazy()
    assert corpus_terms(empty, days).schema == t.CORPUS_TERMS.dtypes
    assert subreddit_stats(empty, days, 30).schema == t.SUBREDDIT_STATS.dtypes


def test_no_days_have_a_column_for_every_term_all_the_same() -> None:
    counts = document_frequencies(t.CORPUS_TERMS.empty().lazy(), ["crm", "a*"], [], 30)
    assert (counts.columns, counts.height) == (["day", "df_0", "df_1"], 0)


def test_many_days_are_counted_in_several_passes_with_the_same_result() -> None:
    days = days_between(DAY - timedelta(days=2 * DAYS_PER_PASS), DAY)
    world = a_world([a_post(f"t1_{n}", text="crm", at=NOON - timedelta(days=n)) for n in range(len(days))])
    world.make_all(days)
    assert world.rows(t.CORPUS_TERMS)["documents"].to_list() == [1] * len(days)

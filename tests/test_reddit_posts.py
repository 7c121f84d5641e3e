"""reddit_posts: which snapshot of a post counts, what is merged, its normal forms, tombstones."""

import hashlib
import json
import random
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.lake import conform
from magpie.leads.posts import reddit_posts
from magpie.leads.tables import REDDIT_POSTS
from magpie.sources.reddit_landing import Landing
from magpie.sources.reddit_lines import RAW, BadLine, FileFacts, convert, strict
from magpie.text.tokens import folded, tokenise, wrapped

REAL = Path(__file__).parents[2] / "shared/data/reddit"
needs_real_files = pytest.mark.skipif(not REAL.is_dir(), reason="the real files in ../shared/data/reddit are absent")
CREATED = int(datetime(2020, 12, 1, tzinfo=UTC).timestamp())
NOTHING = pl.DataFrame(schema={"fullname": pl.String, "kind": pl.String})


def row(**changes: Any) -> dict[str, Any]:
    post = {"id": "abc", "created_utc": CREATED, "subreddit": "crm", "title": "A CRM?", "selftext": "Don’t know"}
    return {**post, "author": "someone", "url": "https://example.org", **changes}


def landed(*rows: dict[str, Any], source_file: str = "a.ndjson") -> pl.LazyFrame:
    good = []
    for number, post in enumerate(rows, start=1):
        found = strict(json.dumps(post).encode())
        assert not isinstance(found, BadLine)
        good.append({**found, "line_no": number})
    posts, bad = convert(pl.DataFrame(good, schema=RAW), FileFacts.of(source_file))
    assert bad.is_empty()
    return posts.with_columns(source_file=pl.lit(source_file)).lazy()


def only(frame: pl.LazyFrame, deleted: pl.DataFrame = NOTHING) -> dict[str, Any]:
    (post,) = reddit_posts(frame, deleted).to_dicts()
    return post


def test_the_newest_snapshot_counts_and_all_of_it() -> None:
    frame = landed(
        row(retrieved_on=CREATED + 200, score=5, num_comments=1, title="second"),
        row(retrieved_on=CREATED + 100, score=9, num_comments=9, title="first"),
    )
    post = only(frame)
    assert (post["title"], post["score"], post["num_comments"]) == ("second", 5, 1)
    assert post["observed_age_s"] == 200


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({}, {"retrieved_on": CREATED + 1}),
        ({"num_comments": 1, "score": 9}, {"num_comments": 2, "score": 1}),
        ({"score": 9}, {"num_comments": 0, "score": 1}),
        ({"num_comments": 2, "score": 1}, {"num_comments": 2, "score": 3}),
        ({"num_comments": 2}, {"num_comments": 2, "score": -5}),
    ],
)
def test_of_equal_snapshots_more_comments_then_the_higher_score_count(
    worse: dict[str, Any], better: dict[str, Any]
) -> None:
    lines = [row(title="worse", **worse), row(title="better", **better)]
    assert only(landed(*lines))["title"] == "better"
    assert only(landed(*reversed(lines)))["title"] == "better"


def test_of_equal_snapshots_the_last_in_file_and_line_order_counts() -> None:
    assert only(landed(row(title="one"), row(title="two")))["title"] == "two"
    files = [landed(row(title=name), source_file=name) for name in ("b.ndjson", "a.ndjson")]
    assert only(pl.concat(files))["title"] == "b.ndjson"


def test_searches_of_all_snapshots_are_merged() -> None:
    frame = landed(
        row(source="live", matched_queries=["crm", "b"], retrieved_on=CREATED + 5),
        row(source="live", matched_queries=["a", "crm"], retrieved_on=CREATED + 9),
        row(id="other"),
    )
    posts = reddit_posts(frame, NOTHING).sort("fullname")
    assert posts["matched_queries"].to_list() == [["a", "b", "crm"], []]


SNAPSHOTS = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b", "c"])},
        optional={
            "retrieved_on": st.sampled_from([CREATED + 5, CREATED + 9]),
            "score": st.integers(0, 2),
            "num_comments": st.integers(0, 2),
            "matched_queries": st.lists(st.sampled_from(["x", "y", "z"]), max_size=2),
        },
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(snapshots=SNAPSHOTS, seed=st.integers(0, 1000))
def test_the_order_in_which_snapshots_are_handed_over_changes_nothing(
    snapshots: list[dict[str, Any]], seed: int
) -> None:
    frame = landed(*(row(**{**snapshot, "title": str(n)}) for n, snapshot in enumerate(snapshots))).collect()
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    expected = conform(REDDIT_POSTS, reddit_posts(frame.lazy(), NOTHING))
    assert conform(REDDIT_POSTS, reddit_posts(shuffled.lazy(), NOTHING)).equals(expected)
    for post in expected.iter_rows(named=True):
        same = [(n, s) for n, s in enumerate(snapshots) if f"t3_{s['id']}" == post["fullname"]]
        best = max(same, key=lambda pair: _strength(pair[1], pair[0]))
        assert post["title"] == str(best[0])
        assert post["matched_queries"] == sorted({query for _, s in same for query in s.get("matched_queries", ())})


def _strength(snapshot: dict[str, Any], line: int) -> tuple[int, ...]:
    return (*(snapshot.get(name, -1) for name in ("retrieved_on", "num_comments", "score")), line)


@settings(max_examples=10, deadline=None)
@given(snapshots=SNAPSHOTS, seed=st.integers(0, 1000))
def test_lines_in_any_order_in_the_file_give_the_same_posts(snapshots: list[dict[str, Any]], seed: int) -> None:
    # Lines that tie in everything but their place are told apart by it, so here no two tie.
    lines = [json.dumps(row(**{**s, "retrieved_on": CREATED + 10 + n})) for n, s in enumerate(snapshots)]
    shuffled = list(lines)
    random.Random(seed).shuffle(shuffled)
    assert _posts_of(lines).equals(_posts_of(shuffled))


def _posts_of(lines: list[str]) -> pl.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.ndjson").write_text("\n".join(lines))
        landing = Landing(Path(folder) / "landing", Path(folder), ("a.ndjson",), 1 << 20)
        landing.ensure()
        return conform(REDDIT_POSTS, reddit_posts(landing.posts([date(2020, 12, 1)]), NOTHING))


def test_the_normal_forms_are_those_of_the_text() -> None:
    post = only(landed(row(title="Ｆull  WIDTH", selftext="Don’t\n know https://x.example/a?b")))
    text = folded("Ｆull  WIDTH\nDon’t\n know https://x.example/a?b")
    assert post["text_hash"] == hashlib.sha256(text.encode()).hexdigest()
    assert post["text_chars"] == len(text)
    assert post["tokens"] == wrapped(["full", "width", "dont", "know"])
    assert post["token_count"] == 4


def test_a_comment_is_its_text_alone() -> None:
    comment = {"id": "c1", "created_utc": CREATED, "subreddit": "crm", "body": "A CRM"}
    post = only(landed(comment))
    assert post["tokens"] == wrapped(tokenise("A CRM"))
    assert post["text_hash"] == hashlib.sha256(b"a crm").hexdigest()
    assert post["observed_age_s"] is None


def test_a_deleted_post_becomes_a_tombstone_and_a_deleted_author_loses_the_name() -> None:
    link = "/r/crm/comments/{}/a_crm/"
    frame = landed(*(row(id=name, permalink=link.format(name), score=4) for name in ("p1", "p2", "p3")))
    deleted = pl.DataFrame({"fullname": ["t3_p1", "t3_p2"], "kind": ["post", "author"]})
    posts = {post["fullname"]: post for post in reddit_posts(frame, deleted).to_dicts()}
    gone, nameless, kept = posts["t3_p1"], posts["t3_p2"], posts["t3_p3"]
    assert (gone["content_state"], gone["title"], gone["text"], gone["author"]) == ("deleted", None, "", None)
    assert (gone["tokens"], gone["text_chars"], gone["url"], gone["score"]) == ("", 0, None, 4)
    assert gone["permalink"] == "/r/crm/comments/p1/"
    assert (nameless["author"], nameless["title"]) == (None, "A CRM?")
    assert kept["author"] == "someone"


def test_days_without_posts_give_an_empty_table_of_the_right_shape() -> None:
    posts = reddit_posts(landed(row()).filter(pl.lit(False)), NOTHING)
    assert posts.is_empty()
    assert conform(REDDIT_POSTS, posts).is_empty()


@needs_real_files
def test_of_the_real_snapshots_the_last_observation_wins(tmp_path: Path) -> None:
    landing = Landing(tmp_path / "landing", REAL, ("snapshots2026_*.jsonl",), 16 << 20)
    landing.ensure()
    first, last = landing.days()[0], landing.days()[-1]
    frame = landing.posts([first + timedelta(days=n) for n in range((last - first).days + 1)])
    posts = conform(REDDIT_POSTS, reddit_posts(frame, NOTHING))
    assert posts.height == 28
    newest = frame.group_by("fullname").agg(pl.max("retrieved_at")).collect()
    assert posts.select("fullname", "retrieved_at").sort("fullname").equals(newest.sort("fullname"))

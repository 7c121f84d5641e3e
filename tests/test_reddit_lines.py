"""What becomes of a dump line: the two readings agree, the dialects of 2018 to 2026, deleted and removed forms."""

import json
import tempfile
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from magpie.sources.archive_files import blocks
from magpie.sources.reddit_lines import (
    BOOL_FIELDS,
    NUMBER_FIELDS,
    RAW,
    TEXT_FIELDS,
    BadLine,
    FileFacts,
    LineParser,
    Parsed,
    convert,
    strict,
)

MAX_LINE = 1 << 20
CREATED = 1_606_780_814
SUBMISSION = {
    "id": "k48sqm",
    "created_utc": CREATED,
    "retrieved_on": CREATED + 13,
    "subreddit": "crm",
    "title": "Which CRM?",
    "selftext": "For five people",
    "author": "someone",
    "url": "https://example.org/a",
    "permalink": "/r/crm/comments/k48sqm/which_crm/",
    "score": 3,
    "upvote_ratio": 0.8,
    "num_comments": 2,
    "over_18": False,
    "subreddit_subscribers": 1000,
}
COMMENT = {
    "id": "gabc12",
    "created_utc": CREATED,
    "retrieved_on": CREATED + 13,
    "subreddit": "crm",
    "body": "Try a spreadsheet",
    "author": "someone",
    "score": 1,
    "link_id": "t3_k48sqm",
    "parent_id": "t1_gabc11",
}


@cache
def parser_of(name: str) -> LineParser:
    return LineParser(FileFacts.of(name), MAX_LINE)


def read(lines: list[bytes], *, name: str = "x.ndjson", block_bytes: int = 1 << 20, end: bytes = b"\n") -> Parsed:
    """Land the lines as a file would be."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(end.join(lines) + end)
        found = [
            parser_of(name).parse(block) for block in blocks(path, max_line_bytes=MAX_LINE, block_bytes=block_bytes)
        ]
    return Parsed(
        pl.concat([part.posts for part in found]),
        pl.concat([part.bad for part in found]),
        sum(part.lines for part in found),
    )


def one(row: dict[str, Any], *, file_name: str = "x.ndjson", **changes: Any) -> dict[str, Any]:
    """Land one good line and return its post."""
    found = read([json.dumps({**row, **changes}).encode()], name=file_name)
    assert found.bad.rows() == []
    return found.posts.row(0, named=True)


def refusal(row: dict[str, Any], *, file_name: str = "x.ndjson", **changes: Any) -> tuple[str, str | None]:
    """Land one bad line and return reason and field."""
    found = read([json.dumps({**row, **changes}).encode()], name=file_name)
    assert found.posts.is_empty()
    line_no, reason, field = found.bad.row(0)
    assert line_no == 1
    return reason, field


def alone(lines: list[bytes], facts: FileFacts) -> tuple[list[Any], list[Any]]:
    """The reference: every line for itself, in Python."""
    good, bad = [], []
    for number, line in enumerate(lines, start=1):
        found = strict(line) if line.strip() else None
        if isinstance(found, BadLine):
            bad.append((number, found.reason, found.field))
        elif found is not None:
            good.append({**found, "line_no": number})
    posts, refused = convert(pl.DataFrame(good, schema=RAW), facts)
    return posts.rows(named=True), sorted(bad + refused.rows())


def assert_read_as_alone(lines: list[bytes], name: str = "x.ndjson", block_bytes: int = 1 << 20) -> None:
    posts, bad = alone(lines, FileFacts.of(name))
    found = read(lines, name=name, block_bytes=block_bytes)
    assert found.bad.rows() == bad
    assert found.posts.rows(named=True) == posts
    numbers = sorted([*found.posts["line_no"], *found.bad["line_no"]])
    assert numbers == [number for number, line in enumerate(lines, start=1) if line.strip()]


ODD_VALUES = [
    *("null", "true", "false", "0", "1", "2", "-1", "-0", "1.0", "1.5", "1e5", "1E400", "-1e-400"),
    *("12345678901234567890", "123456789012345678901234567890", "9007199254740993", "9223372036854775807"),
    *("1606780814", "1606780814.75", '"1606780814"', '"1606780814.0"', "4102444800", "99999999999999"),
    *("NaN", "Infinity", "-Infinity", "01", "1.", "+1", "tru"),
    *('""', '" "', '"x"', '"123"', '"12.5"', '"1e3"', '"1_000"', '" 5 "', '"0x10"', '"nan"', '"inf"', '"٣"'),
    *('"true"', '"false"', '"True"', '"[deleted]"', '"[removed]"', '"[Hiring] x"', '"{x}"', '"{\\"a\\": 1}"', '"[1]"'),
    *('"[ Removed by Reddit ]"', '"[deleted by user]"', '"a\\u0000b"', '"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"'),
    *('"é"', '"a\\nb"', '"t1_abc"', '"t3_abc"', '"t5_abc"', '"abc"', '"ABC"', '"- 5"', '"\\u0085[x]"', '"null"'),
    *('{"a": 1}', "{}", "[]", "[1, 2]", '["a", "b"]', "[null]", '["a", null]', '["a", 1]', '[["a"]]'),
    *('{"retrieved_2nd_on": 1606790000, "was_deleted_later": true}', '{"removal_type": "deleted"}'),
    *('{"retrieved_2nd_on": "1606790000", "was_deleted_later": false}', '{"removal_type": {"x": 1}}'),
    *('{"retrieved_2nd_on": [1]}', '{"retrieved_2nd_on": "x", "was_deleted_later": 0}', "[" * 60 + "]" * 60),
    *('"/r/crm/comments/k48sqm/x/"', '"https://example.org"', '"javascript:x"', '"moderator"', '"DELETED"', '"live"'),
]
ODD_LINES = [
    *(b"", b" ", b"\t", b"\r", b"   \r", b"null", b"1", b'"x"', b"[1]", b"{}", b"{", b"}", b"not json", b"{'id': 1}"),
    *(b"\xff\xfe", b'{"id": "\xff"}', b'{"id": "a",}', b"{} {}", b"// x", b"\x00", b"\x0b", b"\x85", b"\xc2\xa0"),
    b"\xef\xbb\xbf" + json.dumps(SUBMISSION).encode(),
    b"\xef\xbb\xbf",
    json.dumps(SUBMISSION).encode() + b"\x00",
    json.dumps(SUBMISSION).encode() + b" x",
    b"  " + json.dumps(COMMENT).encode() + b" \r",
    json.dumps({**SUBMISSION, "selftext": "\u2028 line"}, ensure_ascii=False).encode(),
    json.dumps(SUBMISSION).encode("utf-16-le").replace(b"\n", b" "),
]
FIELDS = (*TEXT_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS, "_meta", "matched_queries", "ignored")


def _joined(members: list[tuple[str, str]]) -> bytes:
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in members) + "}").encode("utf-8", "surrogatepass")


@st.composite
def changed_posts(draw: st.DrawFn) -> bytes:
    """A good line with some fields missing, odd, or twice."""
    base = draw(st.sampled_from([SUBMISSION, COMMENT]))
    gone = draw(st.sets(st.sampled_from(FIELDS), max_size=2))
    members = [(name, json.dumps(value)) for name, value in base.items() if name not in gone]
    odd = draw(st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(ODD_VALUES)), max_size=3))
    twice = draw(st.booleans())
    if not twice:
        replaced = dict(odd)
        members = [(name, value) for name, value in members if name not in replaced]
        odd = list(replaced.items())
    return _joined([*members, *odd])


LINES = st.lists(st.one_of(changed_posts(), changed_posts(), st.sampled_from(ODD_LINES)), max_size=12)
TWICE = [_joined([*((k, json.dumps(v)) for k, v in SUBMISSION.items()), ("score", odd)]) for odd in ODD_VALUES]


@settings(max_examples=60, deadline=None)
@given(
    lines=LINES, block_bytes=st.sampled_from([64, 200, 1000, 1 << 16]), name=st.sampled_from(["RS_2020-12", "x.ndjson"])
)
@example(lines=ODD_LINES, block_bytes=1 << 16, name="x.ndjson")
@example(lines=TWICE, block_bytes=1 << 16, name="x.ndjson")
def test_every_line_is_read_in_any_block_as_it_is_read_alone(lines: list[bytes], block_bytes: int, name: str) -> None:
    assert_read_as_alone(lines, name, block_bytes)


@pytest.mark.parametrize("field", FIELDS)
def test_any_value_in_any_field_is_read_in_a_block_as_it_is_read_alone(field: str) -> None:
    lines = []
    for base in (SUBMISSION, COMMENT):
        rest = [(name, json.dumps(value)) for name, value in base.items() if name != field]
        lines += [_joined([*rest, (field, value)]) for value in ODD_VALUES]
    # Invalid JSON sends its whole block the slower way, so each value is also read in a block of valid lines.
    invalid = BadLine("invalid_json")
    assert_read_as_alone(lines)
    assert_read_as_alone([line for line in lines if strict(line) != invalid])


@pytest.mark.parametrize("value", ["nan", "NAN", "inf", "-inf", "infinity", "INF", "-NaN", "+NaN"])
@pytest.mark.parametrize("field", ["id", "title", "subreddit", "parent_id", "score", "over_18"])
def test_words_that_some_readers_take_for_numbers_are_no_json(field: str, value: str) -> None:
    rest = [(name, json.dumps(good)) for name, good in SUBMISSION.items() if name != field]
    found = read([_joined([*rest, (field, value)])])
    assert found.posts.is_empty()
    assert found.bad.rows() == [(1, "invalid_json", None)]


def test_line_ends_of_windows_and_a_byte_order_mark_lose_no_line() -> None:
    lines = [b"\xef\xbb\xbf" + json.dumps(SUBMISSION).encode(), b"", json.dumps(COMMENT).encode()]
    found = read(lines, end=b"\r\n")
    assert found.posts["line_no"].to_list() == [1, 3]
    assert found.bad.is_empty()


def test_nesting_of_any_depth_harms_no_other_line() -> None:
    deep = b'{"id": "a", "title": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    found = read([json.dumps(SUBMISSION).encode(), deep, json.dumps(COMMENT).encode()])
    assert found.posts["line_no"].to_list() == [1, 3]
    assert found.bad.rows() == [(2, "invalid_json", None)]


def test_a_text_beyond_what_reddit_allows_is_cut_and_kept() -> None:
    assert len(one(SUBMISSION, selftext="x" * 200_000)["text"]) == 100_000


# Dialects


def test_a_pushshift_submission_becomes_a_post() -> None:
    post = one(SUBMISSION)
    assert post == {
        "line_no": 1,
        "day": date(2020, 12, 1),
        "fullname": "t3_k48sqm",
        "kind": "submission",
        "created_utc": datetime(2020, 12, 1, 0, 0, 14, tzinfo=UTC),
        "subreddit": "crm",
        "permalink": "/r/crm/comments/k48sqm/which_crm/",
        "url": "https://example.org/a",
        "title": "Which CRM?",
        "text": "For five people",
        "author": "someone",
        "author_karma": None,
        "sub_subscribers": 1000,
        "sub_hot_posts": None,
        "score": 3,
        "upvote_ratio": 0.8,
        "num_comments": 2,
        "over_18": False,
        "link_fullname": None,
        "parent_fullname": None,
        "retrieved_at": datetime(2020, 12, 1, 0, 0, 27, tzinfo=UTC),
        "content_state": "ok",
        "matched_queries": [],
        "source": "archive",
    }


def test_a_comment_has_a_thread_and_a_parent_and_nothing_that_only_submissions_have() -> None:
    post = one(COMMENT, upvote_ratio=0.5, over_18=True, url="https://example.org")
    assert (post["kind"], post["fullname"]) == ("comment", "t1_gabc12")
    assert (post["link_fullname"], post["parent_fullname"]) == ("t3_k48sqm", "t1_gabc11")
    assert post["permalink"] == "/r/crm/comments/k48sqm/_/gabc12/"
    absent = ("title", "url", "upvote_ratio", "num_comments", "over_18")
    assert [post[name] for name in absent] == [None] * len(absent)


@pytest.mark.parametrize(
    "created", [CREATED, float(CREATED), CREATED + 0.25, str(CREATED), f"{CREATED}.0", f" {CREATED} "]
)
def test_created_utc_may_be_whole_a_fraction_or_text(created: object) -> None:
    assert one(SUBMISSION, created_utc=created)["created_utc"].replace(microsecond=0) == datetime(
        2020, 12, 1, 0, 0, 14, tzinfo=UTC
    )


@pytest.mark.parametrize("edited", [False, True, 0, 1_606_780_900, 1_606_780_900.0, None])
def test_every_form_of_edited_is_read_over(edited: object) -> None:
    assert one(SUBMISSION, edited=edited)["fullname"] == "t3_k48sqm"


def test_the_second_snapshot_of_arctic_shift_is_the_one_that_counts() -> None:
    later = CREATED + 129_600
    meta = {"retrieved_2nd_on": later, "is_edited": False}
    assert one(SUBMISSION, _meta=meta)["retrieved_at"] == datetime.fromtimestamp(later, UTC)


def test_a_snapshot_time_that_cannot_be_is_unknown_and_loses_no_post() -> None:
    assert one(SUBMISSION, retrieved_on=99_999_999_999_999)["retrieved_at"] is None
    assert one(SUBMISSION, retrieved_on=0)["retrieved_at"] is None


def test_an_object_of_the_live_api_becomes_a_post_of_the_live_source() -> None:
    live = {**SUBMISSION, "name": "t3_k48sqm", "source": "live", "retrieved_utc": CREATED + 7_200.5}
    post = one({k: v for k, v in live.items() if k != "retrieved_on"}, matched_queries=["crm", "b", "crm"])
    assert (post["source"], post["matched_queries"]) == ("live", ["b", "crm"])
    assert post["retrieved_at"] == datetime.fromtimestamp(CREATED + 7_200.5, UTC)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"selftext": "[deleted]"}, "deleted"),
        ({"title": "[deleted by user]"}, "deleted"),
        ({"removed_by_category": "deleted"}, "deleted"),
        ({"removed_by_category": "author"}, "deleted"),
        ({"_meta": {"was_deleted_later": True}}, "deleted"),
        ({"_meta": {"removal_type": "deleted"}}, "deleted"),
        ({"selftext": "[removed]"}, "removed"),
        ({"selftext": "[ Removed by Reddit ]"}, "removed"),
        ({"removed_by_category": "moderator"}, "removed"),
        ({"removed_by_category": "content_takedown"}, "removed"),
        ({"_meta": {"removal_type": "removed by moderator"}}, "removed"),
        ({"_meta": {"was_deleted_later": False}}, "ok"),
        ({"author": "[deleted]"}, "ok"),
        ({"selftext": "[deleted] was what I saw"}, "ok"),
    ],
)
def test_the_state_of_the_content_follows_from_every_form_of_removal(changes: dict[str, Any], state: str) -> None:
    assert one(SUBMISSION, **changes)["content_state"] == state


def test_a_deleted_comment_is_known_by_its_collapsed_reason() -> None:
    assert one(COMMENT, collapsed_reason_code="DELETED")["content_state"] == "deleted"
    assert one(COMMENT, collapsed_reason_code="LOW_SCORE")["content_state"] == "ok"


def test_a_deleted_post_keeps_nothing_its_author_wrote() -> None:
    post = one(SUBMISSION, _meta={"was_deleted_later": True})
    assert (post["title"], post["text"], post["author"], post["url"]) == (None, "", None, None)
    assert post["permalink"] == "/r/crm/comments/k48sqm/"
    assert post["score"] == 3


def test_a_removed_post_keeps_its_title_and_loses_the_placeholder() -> None:
    post = one(SUBMISSION, selftext="[removed]", removed_by_category="moderator")
    assert (post["title"], post["text"], post["content_state"]) == ("Which CRM?", "", "removed")


@pytest.mark.parametrize("author", ["[deleted]", "[removed]", "", None])
def test_a_deleted_author_has_no_name(author: object) -> None:
    assert one(SUBMISSION, author=author)["author"] is None


@pytest.mark.parametrize("flag", ["score_hidden", "hide_score"])
def test_a_hidden_score_is_unknown(flag: str) -> None:
    assert one(COMMENT, **{flag: True})["score"] is None
    assert one(COMMENT, **{flag: False})["score"] == 1


def test_a_bare_thread_id_is_completed_and_a_number_for_a_parent_is_dropped() -> None:
    assert one(COMMENT, link_id="k48sqm")["link_fullname"] == "t3_k48sqm"
    assert one(COMMENT, parent_id="gabc11")["parent_fullname"] == "t1_gabc11"
    assert one(COMMENT, parent_id=43_576_843)["parent_fullname"] is None


@pytest.mark.parametrize("link", ["javascript:alert(1)", "ftp://x", "/r/crm", ""])
def test_a_link_that_a_browser_should_not_follow_is_dropped(link: str) -> None:
    assert one(SUBMISSION, url=link)["url"] is None


def test_a_permalink_that_leads_elsewhere_is_built_anew() -> None:
    assert one(SUBMISSION, permalink="https://evil.example/x")["permalink"] == "/r/crm/comments/k48sqm/"
    assert one(SUBMISSION, permalink='/r/crm/"><script>')["permalink"] == "/r/crm/comments/k48sqm/"


BARE = {"id": "abc12", "created_utc": CREATED, "subreddit": "crm"}


@pytest.mark.parametrize(
    ("row", "file_name", "fullname"),
    [
        ({**BARE, "name": "t1_abc12", "body": "x"}, "RS_2020-12", "t1_abc12"),
        ({**BARE, "body": "x"}, "RS_2020-12", "t1_abc12"),
        ({**BARE, "title": "x"}, "RC_2020-12", "t3_abc12"),
        ({"name": "t3_abc12", "created_utc": CREATED, "subreddit": "crm", "title": "x"}, "x", "t3_abc12"),
        ({**BARE, "id": "t3_abc12", "title": "x"}, "x", "t3_abc12"),
    ],
)
def test_the_kind_comes_from_the_name_then_the_body_then_the_title(
    row: dict[str, Any], file_name: str, fullname: str
) -> None:
    assert one(row, file_name=file_name)["fullname"] == fullname


@pytest.mark.parametrize(
    ("file_name", "kind"),
    [
        ("RC_2020-12.zst", "comment"),
        ("r_crm_comments.jsonl", "comment"),
        ("RS_2020-12.zst", "submission"),
        ("crm_submissions.zst", "submission"),
        ("r_crm_posts.jsonl", "submission"),
        ("dump.ndjson", None),
    ],
)
def test_a_file_name_tells_the_kind_of_lines_without_text(file_name: str, kind: str | None) -> None:
    field = {"comment": "body", "submission": "title", None: "title"}[kind]
    assert FileFacts.of(file_name).kind == kind
    assert refusal(BARE, file_name=file_name.replace(".zst", ".ndjson")) == ("missing_field", field)


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"id": None}, "missing_field", "id"),
        ({"id": "not an id"}, "bad_type", "id"),
        ({"created_utc": None}, "missing_field", "created_utc"),
        ({"created_utc": "yesterday"}, "bad_type", "created_utc"),
        ({"created_utc": 1000}, "bad_type", "created_utc"),
        ({"created_utc": True}, "bad_type", "created_utc"),
        ({"subreddit": None}, "missing_field", "subreddit"),
        ({"subreddit": ""}, "missing_field", "subreddit"),
        ({"subreddit": "a b"}, "bad_type", "subreddit"),
        ({"subreddit": {"name": "crm"}}, "bad_type", "subreddit"),
        ({"title": None}, "missing_field", "title"),
        ({"title": ["x"]}, "bad_type", "title"),
        ({"title": 5}, "bad_type", "title"),
        ({"score": "many"}, "bad_type", "score"),
        ({"score": 1.5}, "bad_type", "score"),
        ({"num_comments": 2**63}, "bad_type", "num_comments"),
        ({"upvote_ratio": 1.2}, "bad_type", "upvote_ratio"),
        ({"over_18": "maybe"}, "bad_type", "over_18"),
    ],
)
def test_a_missing_or_mistyped_field_is_named(changes: dict[str, Any], reason: str, field: str) -> None:
    file_name = "RS_2020-12" if changes.get("title", "x") is None else "dump.ndjson"
    assert refusal(SUBMISSION, file_name=file_name, **changes) == (reason, field)


def test_a_float_without_a_fraction_is_a_whole_number() -> None:
    assert one(SUBMISSION, score=7.0, num_comments="12")["score"] == 7


def test_a_post_more_than_a_day_younger_than_its_snapshot_is_from_the_future() -> None:
    assert one(SUBMISSION, created_utc=CREATED + 86_400, retrieved_on=CREATED)["score"] == 3
    assert refusal(SUBMISSION, created_utc=CREATED + 86_401, retrieved_on=CREATED) == (
        "future_timestamp",
        "created_utc",
    )


def test_without_a_snapshot_time_the_month_of_the_file_bounds_the_future() -> None:
    row = {name: value for name, value in SUBMISSION.items() if name != "retrieved_on"}
    january = int(datetime(2021, 1, 1, tzinfo=UTC).timestamp())
    assert one(row, created_utc=january - 1, file_name="RS_2020-12.ndjson")["score"] == 3
    late = refusal(row, created_utc=january, file_name="RS_2020-12.ndjson")
    assert late == ("future_timestamp", "created_utc")
    assert one(row, created_utc=january, file_name="dump.ndjson")["score"] == 3
    assert refusal(row, created_utc=4_102_444_801) == ("future_timestamp", "created_utc")

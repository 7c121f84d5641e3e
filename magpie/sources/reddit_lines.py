"""One line of a Reddit dump: what it must hold, and what becomes of it.

Belongs here: the dialects (Pushshift, Arctic Shift, the live API's objects) and why a line is bad. Does not belong
here: files and compression (`archive_files.py`), the landing (`reddit_landing.py`), text normalising, deduplication.

Two readings of a line exist and must agree: `parse_block` reads all lines of a block at once, through DuckDB's JSON
reader; lines that look odd there are read again by `strict`, in Python, which names the field at fault.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from magpie.sources.archive_files import Block

TEXT_FIELDS = (
    "id",
    "name",
    "subreddit",
    "title",
    "selftext",
    "body",
    "author",
    "permalink",
    "url",
    "removed_by_category",
    "collapsed_reason_code",
    "link_id",
    "parent_id",
    "source",
)
NUMBER_FIELDS = (
    "created_utc",
    "retrieved_on",
    "retrieved_utc",
    "observed_at",
    "score",
    "upvote_ratio",
    "num_comments",
    "subreddit_subscribers",
    "subreddit_hot_posts",
    "author_karma",
)
BOOL_FIELDS = ("over_18", "score_hidden", "hide_score")
META_FIELDS = ("retrieved_2nd_on", "removal_type", "was_deleted_later")
WHOLE_FIELDS = ("score", "num_comments", "subreddit_subscribers", "subreddit_hot_posts", "author_karma")

# What a post may hold at most; longer texts are cut, not refused. Reddit's own limit is 40 000 characters.
MAX_TEXT_CHARS = 100_000
# Reddit opened in June 2005; a year of slack keeps test posts of its makers.
EARLIEST_CREATED = datetime(2004, 6, 1, tzinfo=UTC).timestamp()
# A dump line can carry no moment that its dump could not have seen; without any other bound, this one.
LATEST_CREATED = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
FUTURE_SLACK_SECONDS = 86_400

LANDED = pl.Schema(
    [
        ("line_no", pl.Int64()),
        ("day", pl.Date()),
        ("fullname", pl.String()),
        ("kind", pl.String()),
        ("created_utc", pl.Datetime("us", "UTC")),
        ("subreddit", pl.String()),
        ("permalink", pl.String()),
        ("url", pl.String()),
        ("title", pl.String()),
        ("text", pl.String()),
        ("author", pl.String()),
        ("author_karma", pl.Int64()),
        ("sub_subscribers", pl.Int64()),
        ("sub_hot_posts", pl.Int64()),
        ("score", pl.Int64()),
        ("upvote_ratio", pl.Float64()),
        ("num_comments", pl.Int64()),
        ("over_18", pl.Boolean()),
        ("link_fullname", pl.String()),
        ("parent_fullname", pl.String()),
        ("retrieved_at", pl.Datetime("us", "UTC")),
        ("content_state", pl.String()),
        ("matched_queries", pl.List(pl.String)),
        ("source", pl.String()),
    ]
)
BAD = pl.Schema([("line_no", pl.Int64()), ("reason", pl.String()), ("field", pl.String())])


@dataclass(frozen=True)
class FileFacts:
    """What a file's name says: the kind of its lines, and the first moment after the month it covers."""

    kind: str | None
    ends_before: datetime | None

    @classmethod
    def of(cls, file_name: str) -> "FileFacts":
        lowered = file_name.lower()
        kind = None
        if re.match(r"rc_|.*comments", lowered):
            kind = "comment"
        elif re.match(r"rs_|.*submissions|.*posts", lowered):
            kind = "submission"
        month = re.search(r"(20\d\d)-(0[1-9]|1[0-2])(?!\d)", lowered)
        if month is None:
            return cls(kind, None)
        first = date(int(month[1]), int(month[2]), 1)
        after = (first + timedelta(days=32)).replace(day=1)
        return cls(kind, datetime(after.year, after.month, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Parsed:
    """The posts (`LANDED`) and bad lines (`BAD`) of one block, and how many lines it had."""

    posts: pl.DataFrame
    bad: pl.DataFrame
    lines: int


class LineParser:
    """Parses the blocks of one file; several threads may call it at once.

    Args:
        facts: what the file's name says.
        max_line_bytes: longer lines are bad (`too_long`).
    """

    def __init__(self, facts: FileFacts, max_line_bytes: int) -> None:
        self._facts, self._max_line_bytes = facts, max_line_bytes
        # One thread per query: blocks are parsed side by side instead, which also shares out the Python around it.
        self._duckdb = duckdb.connect(config={"threads": 1})
        fields = dict.fromkeys((*TEXT_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS), "VARCHAR")
        shape = {**fields, "_meta": dict.fromkeys(META_FIELDS, "VARCHAR"), "matched_queries": ["VARCHAR"]}
        self._shape = json.dumps(shape)

    def close(self) -> None:
        self._duckdb.close()

    def parse(self, block: Block) -> Parsed:
        """Parse one block; no line is lost: each is a post, a bad line, or blank."""
        bad: list[tuple[int, str, str | None]] = [(number, "too_long", None) for number in block.too_long]
        if block.truncated_line is not None:
            bad.append((block.truncated_line, "truncated", None))
        if not block.data:
            return Parsed(pl.DataFrame(schema=LANDED), pl.DataFrame(bad, schema=BAD, orient="row"), len(bad))
        lines, numbers, refused = self._lines(block)
        raw = self._transform(lines).with_columns(pl.Series("line_no", numbers, dtype=pl.Int64))
        odd = odd_rows(raw)
        if odd.any():
            again, unreadable = self._reread(raw["line_no"].filter(odd).to_list(), block)
            raw = pl.concat([raw.filter(~odd), again]).sort("line_no")
            bad += unreadable
        block.release()
        posts, more = convert(raw, self._facts)
        everything = pl.concat([pl.DataFrame(bad + refused, schema=BAD, orient="row"), more]).sort("line_no")
        return Parsed(posts, everything, len(block.ends) + len(block.too_long))

    def _lines(self, block: Block) -> tuple[pa.Array, np.ndarray, list[tuple[int, str, str | None]]]:
        """The block's lines as an Arrow column without copying, less those that are blank, too long or not UTF-8."""
        ends = block.ends
        offsets = np.concatenate(([0], ends + 1))
        lines = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block.data))
        numbers = np.arange(block.first_line, block.first_line + len(ends))
        lengths = np.diff(offsets)
        keep = lengths > 1
        refused: list[tuple[int, str, str | None]] = []
        for position in np.flatnonzero(lengths - 1 > self._max_line_bytes):
            keep[position] = False
            refused.append((int(numbers[position]), "too_long", None))
        try:
            lines.validate(full=True)
        except pa.ArrowInvalid:
            for position in np.flatnonzero(keep):
                try:
                    bytes(block.data[offsets[position] : offsets[position + 1]]).decode()
                except UnicodeDecodeError:
                    keep[position] = False
                    refused.append((int(numbers[position]), "invalid_utf8", None))
            return _copied(block.data, offsets, keep), numbers[keep], refused
        return (lines, numbers, refused) if keep.all() else (lines.filter(pa.array(keep)), numbers[keep], refused)

    def _transform(self, lines: pa.Array) -> pl.DataFrame:
        query = "SELECT unnest(json_transform(line, $shape)) FROM block"
        valid = "SELECT unnest(json_transform(if(json_valid(line), line, '{}'), $shape)) FROM block"
        with self._duckdb.cursor() as connection:
            connection.register("block", pa.table({"line": lines}))
            try:
                found = connection.sql(query, params={"shape": self._shape}).pl(ROWS_PER_PIECE)
            except duckdb.InvalidInputException:
                found = connection.sql(valid, params={"shape": self._shape}).pl(ROWS_PER_PIECE)
        return found.unnest("_meta")

    def _reread(self, line_numbers: list[int], block: Block) -> tuple[pl.DataFrame, list[tuple[int, str, str | None]]]:
        good: list[dict[str, Any]] = []
        bad: list[tuple[int, str, str | None]] = []
        for number in line_numbers:
            line = block.line(number)
            if line.strip():
                found = strict(line)
                if isinstance(found, BadLine):
                    bad.append((number, found.reason, found.field))
                else:
                    good.append({**found, "line_no": number})
        return pl.DataFrame(good, schema=RAW), bad


RAW = pl.Schema(
    [(name, pl.String()) for name in (*TEXT_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS, *META_FIELDS)]
    + [("matched_queries", pl.List(pl.String)), ("line_no", pl.Int64())]
)


def _copied(data: memoryview, offsets: np.ndarray, keep: np.ndarray) -> pa.Array:
    kept = [bytes(data[offsets[n] : offsets[n + 1]]) for n in np.flatnonzero(keep)]
    return pa.array(kept, pa.large_binary()).cast(pa.large_string())


# What DuckDB makes of a value that is no text: an object, a list, a number, a flag. Text may look like it, too.
NO_TEXT = r"(?is)^\s*(\[.*\]|\{.*\}|[-+]?([0-9][0-9.e+-]*|nan|inf|infinity)|true|false)\s*$"
NUMBER = r"^[-+]?[0-9][0-9.eE+-]*$"
NO_TEXT_START = r"^([\s\[{0-9+-]|true|false|[nN][aA][nN]|[iI][nN][fF])"
# DuckDB hands its result over in pieces; one that grew to a whole block would be moved each time it doubled.
ROWS_PER_PIECE = 8192
# Beyond 2^53 a float no longer tells whole numbers apart.
EXACT_FLOAT = 2.0**53


def odd_rows(raw: pl.DataFrame) -> pl.Series:
    """Mark rows whose reading as text may hide a wrong type, a missing field or broken JSON."""
    present = [name for name in raw.columns if raw[name].null_count() < raw.height]
    texts = [name for name in present if name in TEXT_FIELDS]
    missing = (
        pl.col("id").is_null() & pl.col("name").is_null(),
        *(pl.col(n).is_null() for n in ("created_utc", "subreddit")),
    )
    wrong = [_is_odd(name) for name in present if name in (*NUMBER_FIELDS, *BOOL_FIELDS, "matched_queries")]
    # Most texts begin with a letter, so the costly look at the whole text is for the few that do not.
    marks = raw.select_seq(
        pl.any_horizontal(*missing, *wrong).alias(":odd"), *(pl.col(name).str.contains(NO_TEXT_START) for name in texts)
    )
    odd = marks[":odd"]
    for name in texts:
        if marks[name].any():
            rows = marks[name].arg_true()
            few = raw[rows, [name]].select_seq(_may_be_no_text(name)).to_series()
            odd = odd.scatter(rows.filter(few), True)
    return odd


def _is_odd(name: str) -> pl.Expr:
    if name in BOOL_FIELDS:
        return pl.col(name).is_not_null() & ~pl.col(name).is_in(["true", "false"])
    if name == "matched_queries":
        no_text = pl.element().is_null() | pl.element().str.contains(NO_TEXT)
        return pl.col(name).list.eval(no_text).list.any().fill_null(False)
    number = pl.col(name).cast(pl.Float64, strict=False)
    plain = number.is_finite() & (number.abs() < EXACT_FLOAT)
    if name in WHOLE_FIELDS:
        plain = plain & (number == number.floor())
    return pl.col(name).is_not_null() & ~plain.fill_null(False)


def _may_be_no_text(name: str) -> pl.Expr:
    suspect = pl.col(name).str.contains(NO_TEXT) & ~pl.col(name).is_in(list(PLACEHOLDERS))
    if name == "parent_id":  # some dumps hold numbers there throughout, which `convert` drops
        return suspect & ~pl.col(name).str.contains(NUMBER)
    return suspect


@dataclass(frozen=True)
class BadLine:
    """Why a line is no post."""

    reason: str
    field: str | None = None


def strict(line: bytes) -> dict[str, Any] | BadLine:
    """Read one line field by field; the reference for what a well-formed line is.

    Returns:
        The wanted fields as text (as DuckDB would give them), or why the line is bad.
    """
    try:
        found = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_first_of_each)
    except UnicodeDecodeError:
        return BadLine("invalid_utf8")
    except (ValueError, RecursionError):
        return BadLine("invalid_json")
    if not isinstance(found, dict):
        return BadLine("invalid_json")
    row: dict[str, Any] = {}
    meta = found.get("_meta")
    for name in (*TEXT_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS):
        value = _field(name, found.get(name))
        if isinstance(value, BadLine):
            return value
        row[name] = value
    for name in META_FIELDS:
        row[name] = _plain(meta.get(name)) if isinstance(meta, Mapping) else None
    queries = found.get("matched_queries")
    if isinstance(queries, list) and not all(isinstance(query, str) for query in queries):
        return BadLine("bad_type", "matched_queries")
    row["matched_queries"] = [_encodable(query) for query in queries] if isinstance(queries, list) else None
    return row


def _first_of_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that occurs twice the first value counts, as it does for DuckDB."""
    return dict(reversed(members))


def _field(name: str, value: Any) -> str | BadLine | None:
    if value is None:
        return None
    if name in TEXT_FIELDS:
        if isinstance(value, str):
            return _encodable(value)
        # Some dumps of 2020 to 2022 hold a comment's parent as a number: it cannot be told whose it is.
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        return None if name == "parent_id" and numeric else BadLine("bad_type", name)
    if name in BOOL_FIELDS:
        if value in ("true", "false"):
            return str(value)
        return str(bool(value)).lower() if value in (0, 1) else BadLine("bad_type", name)
    number = _number(value)
    if number is None or (name in WHOLE_FIELDS and (number != int(number) or abs(number) >= EXACT_FLOAT)):
        return BadLine("bad_type", name)
    return str(int(number)) if number == int(number) else repr(number)


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else None


def _encodable(text: str) -> str:
    """Half a surrogate pair is valid in JSON's escapes and in no encoding."""
    return text.encode("utf-8", "replace").decode()


def _plain(value: Any) -> str | None:
    """A member of `_meta` as DuckDB gives it: these are asked for presence, so no type is wrong."""
    if value is None:
        return None
    return _encodable(value) if isinstance(value, str) else json.dumps(value)


def convert(raw: pl.DataFrame, facts: FileFacts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn well-typed text fields (`RAW`) into posts (`LANDED`) and the lines that are none (`BAD`)."""
    typed = raw.with_columns_seq(
        *(pl.col(name).cast(pl.Float64, strict=False) for name in NUMBER_FIELDS),
        *(pl.col(name).eq("true") for name in BOOL_FIELDS),
    ).with_columns_seq(
        _kind(facts).alias("kind"),
        pl.max_horizontal(
            pl.coalesce(_plausible(name) for name in ("retrieved_on", "retrieved_utc", "observed_at")),
            _plausible("retrieved_2nd_on"),
        ).alias("retrieved"),
    )
    typed = typed.with_columns_seq(_bare_id().alias("bare_id"))
    rules = _rules(facts)
    broken = typed.select_seq(pl.any_horizontal(rule.fill_null(False) for rule, _, _ in rules)).to_series()
    bad = pl.DataFrame(schema=BAD)
    if broken.any():
        bad = typed.filter(broken).select("line_no", *_refusal(rules)).cast(BAD)
        typed = typed.filter(~broken)
    # Archives never hold searches, and making an empty list per row costs more than all numbers do.
    searched = typed["matched_queries"].null_count() < typed.height
    return typed.select_seq(*_landed(), _queries(searched)).select(list(LANDED)).cast(LANDED), bad


def _plausible(name: str) -> pl.Expr:
    """A snapshot time; one that cannot be is as good as none, and no reason to lose the post."""
    moment = pl.col(name).cast(pl.Float64, strict=False)
    return pl.when(moment.is_between(EARLIEST_CREATED, LATEST_CREATED)).then(moment)


def _kind(facts: FileFacts) -> pl.Expr:
    prefix = pl.col("name").str.slice(0, 3)
    return (
        pl.when(prefix == "t1_")
        .then(pl.lit("comment"))
        .when(prefix == "t3_")
        .then(pl.lit("submission"))
        .when(pl.col("body").is_not_null())
        .then(pl.lit("comment"))
        .when(pl.col("title").is_not_null())
        .then(pl.lit("submission"))
        .otherwise(pl.lit(facts.kind))
    )


def _bare_id() -> pl.Expr:
    return pl.coalesce("id", "name").str.replace(r"^t[13]_", "")


Rule = tuple[pl.Expr, str, str]


def _rules(facts: FileFacts) -> list[Rule]:
    """What no post may be (null counts as false), the reason it is refused for, and the field."""
    created, retrieved = pl.col("created_utc"), pl.col("retrieved")
    latest = pl.lit(facts.ends_before.timestamp() - 1e-6 if facts.ends_before else LATEST_CREATED)
    bound = pl.when(retrieved.is_not_null()).then(retrieved + FUTURE_SLACK_SECONDS).otherwise(latest)
    comment = pl.col("kind") == "comment"
    return [
        (pl.col("bare_id").is_null(), "missing_field", "id"),
        (~pl.col("bare_id").str.contains(r"^[0-9a-z]{1,13}$"), "bad_type", "id"),
        (created.is_null(), "missing_field", "created_utc"),
        (created < EARLIEST_CREATED, "bad_type", "created_utc"),
        ((created > bound) | (created > LATEST_CREATED), "future_timestamp", "created_utc"),
        (pl.col("subreddit").fill_null("") == "", "missing_field", "subreddit"),
        (~pl.col("subreddit").str.contains(r"^[A-Za-z0-9_.:-]{1,64}$"), "bad_type", "subreddit"),
        (pl.col("kind").is_null(), "missing_field", "title"),
        (comment & pl.col("body").is_null(), "missing_field", "body"),
        (comment.not_() & pl.col("title").is_null(), "missing_field", "title"),
        (~pl.col("upvote_ratio").is_between(0, 1), "bad_type", "upvote_ratio"),
    ]


def _refusal(rules: list[Rule]) -> tuple[pl.Expr, pl.Expr]:
    """The reason and the field of the first rule that a line breaks."""
    first = [pl.when(broken).then(pl.struct(reason=pl.lit(why), field=pl.lit(name))) for broken, why, name in rules]
    found = pl.coalesce(first).struct
    return found.field("reason"), found.field("field")


def _landed() -> list[pl.Expr]:
    comment = pl.col("kind") == "comment"
    submission = ~comment
    created = _moment("created_utc")
    body = pl.when(comment).then(pl.col("body")).otherwise(pl.col("selftext")).fill_null("")
    state = _content_state(body)
    gone = state == "deleted"
    link = _with_prefix("link_id", "t3_")
    path = pl.col("permalink").str.contains(r"^/(r|user|u)/[^\s<>\"']+$").fill_null(False)
    built = pl.concat_str(
        pl.lit("/r/"),
        "subreddit",
        pl.lit("/comments/"),
        pl.when(comment).then(link.str.slice(3)).otherwise(pl.col("bare_id")),
        pl.lit("/"),
        pl.when(comment).then(pl.concat_str(pl.lit("_/"), "bare_id", pl.lit("/"))).otherwise(pl.lit("")),
    )
    author = pl.when(~pl.col("author").is_in(["[deleted]", "[removed]", ""])).then(pl.col("author"))
    placeholder = body.is_in(list(PLACEHOLDERS))
    return [
        pl.col("line_no"),
        created.dt.date().alias("day"),
        pl.concat_str(pl.when(comment).then(pl.lit("t1_")).otherwise(pl.lit("t3_")), "bare_id").alias("fullname"),
        pl.col("kind"),
        created.alias("created_utc"),
        pl.col("subreddit"),
        # A permalink carries words of the submission's title, which must not outlive it: neither in its own row nor in
        # those of its comments.
        pl.when(path & ~gone & (submission | built.is_null()))
        .then(pl.col("permalink").str.slice(0, 512))
        .otherwise(built)
        .alias("permalink"),
        pl.when(submission & ~gone & pl.col("url").str.contains(r"^https?://"))
        .then(pl.col("url").str.slice(0, 2048))
        .alias("url"),
        pl.when(submission & ~gone).then(pl.col("title").str.slice(0, MAX_TEXT_CHARS)).alias("title"),
        pl.when(placeholder | gone).then(pl.lit("")).otherwise(body.str.slice(0, MAX_TEXT_CHARS)).alias("text"),
        pl.when(~gone).then(author.str.slice(0, 64)).alias("author"),
        pl.col("author_karma"),
        pl.col("subreddit_subscribers").alias("sub_subscribers"),
        pl.col("subreddit_hot_posts").alias("sub_hot_posts"),
        pl.when(~pl.col("score_hidden").fill_null(False) & ~pl.col("hide_score").fill_null(False))
        .then(pl.col("score"))
        .alias("score"),
        pl.when(submission).then(pl.col("upvote_ratio")).alias("upvote_ratio"),
        pl.when(submission).then(pl.col("num_comments")).alias("num_comments"),
        pl.when(submission).then(pl.col("over_18")).alias("over_18"),
        pl.when(comment).then(link).alias("link_fullname"),
        pl.when(comment & ~pl.col("parent_id").str.contains(NUMBER))
        .then(_with_prefix("parent_id", "t1_"))
        .alias("parent_fullname"),
        _moment("retrieved").alias("retrieved_at"),
        state.alias("content_state"),
        pl.when(pl.col("source") == "live").then(pl.lit("live")).otherwise(pl.lit("archive")).alias("source"),
    ]


def _queries(searched: bool) -> pl.Expr:
    if searched:
        return pl.col("matched_queries").fill_null([]).list.unique().list.sort()
    return pl.lit([], pl.List(pl.String)).alias("matched_queries")


PLACEHOLDERS = frozenset(
    {
        "[deleted]",
        "[removed]",
        "[ Removed by Reddit ]",
        "[ Removed by Reddit in response to a copyright notice. ]",
    }
)
DELETED_BY_AUTHOR = ["deleted", "author"]


def _content_state(body: pl.Expr) -> pl.Expr:
    later = ~pl.col("was_deleted_later").is_in(["false", "0", ""]).fill_null(True)
    category, removal = pl.col("removed_by_category"), pl.col("removal_type")
    deleted = (
        later
        | (body == "[deleted]")
        | (pl.col("title") == "[deleted by user]").fill_null(False)
        | category.is_in(DELETED_BY_AUTHOR).fill_null(False)
        | removal.is_in(DELETED_BY_AUTHOR).fill_null(False)
        | (pl.col("collapsed_reason_code") == "DELETED").fill_null(False)
    )
    removed = body.is_in(list(PLACEHOLDERS)) | category.is_not_null() | removal.is_not_null()
    return pl.when(deleted).then(pl.lit("deleted")).when(removed).then(pl.lit("removed")).otherwise(pl.lit("ok"))


def _moment(name: str) -> pl.Expr:
    """Seconds since 1970, possibly with a fraction, as UTC microseconds."""
    return (pl.col(name) * 1_000_000).round().cast(pl.Int64).cast(pl.Datetime("us", "UTC"))


def _with_prefix(name: str, prefix: str) -> pl.Expr:
    """Dumps hold a bare id now and then; anything else than an id is dropped."""
    column = pl.col(name)
    return (
        pl.when(column.str.contains(r"^t[13]_[0-9a-z]{1,13}$"))
        .then(column)
        .when(column.str.contains(r"^[0-9a-z]{1,13}$"))
        .then(pl.concat_str(pl.lit(prefix), column))
    )

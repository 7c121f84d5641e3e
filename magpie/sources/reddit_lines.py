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
    """Parses the blocks of one file.

    Args:
        facts: what the file's name says.
        max_line_bytes: longer lines are bad (`too_long`).
    """

    def __init__(self, facts: FileFacts, max_line_bytes: int) -> None:
        self._facts, self._max_line_bytes = facts, max_line_bytes
        self._duckdb = duckdb.connect()
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
        odd = raw.select(_odd()).to_series()
        again = self._reread(raw.filter(odd)["line_no"].to_list(), block)
        posts, more = convert(pl.concat([raw.filter(~odd), again[0]]), self._facts)
        bad += refused + again[1]
        everything = pl.concat([pl.DataFrame(bad, schema=BAD, orient="row"), more]).sort("line_no")
        return Parsed(posts, everything, block.data.count(b"\n") + len(block.too_long))

    def _lines(self, block: Block) -> tuple[pa.Array, np.ndarray, list[tuple[int, str, str | None]]]:
        """The block's lines as an Arrow column without copying, less those that are blank, too long or not UTF-8."""
        ends = np.flatnonzero(np.frombuffer(block.data, dtype=np.uint8) == 10)
        offsets = np.concatenate(([0], ends + 1)).astype(np.int64)
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
                    block.data[offsets[position] : offsets[position + 1]].decode()
                except UnicodeDecodeError:
                    keep[position] = False
                    refused.append((int(numbers[position]), "invalid_utf8", None))
            return _copied(block.data, offsets, keep), numbers[keep], refused
        return (lines, numbers, refused) if keep.all() else (lines.filter(pa.array(keep)), numbers[keep], refused)

    def _transform(self, lines: pa.Array) -> pl.DataFrame:
        self._duckdb.register("block", pa.table({"line": lines}))
        query = "SELECT unnest(json_transform(line, $shape)) FROM block"
        valid = "SELECT unnest(json_transform(if(json_valid(line), line, '{}'), $shape)) FROM block"
        try:
            try:
                found = self._duckdb.sql(query, params={"shape": self._shape}).pl()
            except duckdb.InvalidInputException:
                found = self._duckdb.sql(valid, params={"shape": self._shape}).pl()
        finally:
            self._duckdb.unregister("block")
        return found.unnest("_meta")

    def _reread(self, line_numbers: list[int], block: Block) -> tuple[pl.DataFrame, list[tuple[int, str, str | None]]]:
        wanted = set(line_numbers)
        good: list[dict[str, Any]] = []
        bad: list[tuple[int, str, str | None]] = []
        if wanted:
            for number, line in enumerate(block.data.split(b"\n"), start=block.first_line):
                if number in wanted and line.strip():
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


def _copied(data: bytes, offsets: np.ndarray, keep: np.ndarray) -> pa.Array:
    kept = [data[offsets[n] : offsets[n + 1]] for n in np.flatnonzero(keep)]
    return pa.array(kept, pa.large_binary()).cast(pa.large_string())


# Text fields whose wrong type would otherwise pass as text; the others are held against a pattern of their own.
FREE_TEXTS = ("title", "selftext", "body", "author")
# Beyond 2^53 a float no longer tells whole numbers apart.
EXACT_FLOAT = 2.0**53


def _odd() -> pl.Expr:
    """Rows whose reading as text may hide a wrong type, a missing field or broken JSON."""
    bracketed = r"^\s*(\[.*\]|\{.*\}|-?[0-9][0-9.eE+-]*|true|false)\s*$"
    id_missing = pl.col("id").is_null() & pl.col("name").is_null()
    odd = id_missing | pl.col("created_utc").is_null() | pl.col("subreddit").is_null()
    for name in FREE_TEXTS:
        text = pl.col(name)
        suspect = text.str.head(1).is_in(list("[{-0123456789tf \t\n")) & ~text.is_in(list(PLACEHOLDERS))
        odd = odd | pl.when(suspect).then(text.str.contains(f"(?s){bracketed}")).fill_null(False)
    for name in NUMBER_FIELDS:
        number = pl.col(name).cast(pl.Float64, strict=False)
        plain = number.is_finite() & (number.abs() < EXACT_FLOAT)
        if name in WHOLE_FIELDS:
            plain = plain & (number == number.floor())
        odd = odd | (pl.col(name).is_not_null() & ~plain.fill_null(False))
    for name in BOOL_FIELDS:
        odd = odd | ~pl.col(name).is_in(["true", "false"]).fill_null(True)
    queries = pl.col("matched_queries")
    return odd | (queries.is_not_null() & queries.list.eval(pl.element().is_null()).list.any())


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
        found = json.loads(line.decode(), parse_constant=_refuse_constant)
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
    if queries is not None and not (isinstance(queries, list) and all(isinstance(q, str) for q in queries)):
        return BadLine("bad_type", "matched_queries")
    row["matched_queries"] = queries
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _field(name: str, value: Any) -> str | BadLine | None:
    if value is None:
        return None
    if name in ("id", "name", "link_id", "parent_id", *TEXT_FIELDS):
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode()
        # Some dumps of 2020 to 2022 hold a comment's parent as a number: it cannot be told whose it is.
        return None if name == "parent_id" and isinstance(value, int) else BadLine("bad_type", name)
    if name in BOOL_FIELDS:
        return str(bool(value)).lower() if isinstance(value, bool) or value in (0, 1) else BadLine("bad_type", name)
    number = _number(value)
    if number is None or (name in WHOLE_FIELDS and (number != int(number) or abs(number) >= 2**63)):
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


def _plain(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def convert(raw: pl.DataFrame, facts: FileFacts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn well-typed text fields (`RAW`) into posts (`LANDED`) and the lines that are none (`BAD`)."""
    typed = raw.with_columns(
        *(pl.col(name).cast(pl.Float64, strict=False) for name in NUMBER_FIELDS),
        *(pl.col(name).eq("true") for name in BOOL_FIELDS),
    ).with_columns(
        _kind(facts).alias("kind"),
        pl.max_horizontal(
            pl.coalesce("retrieved_on", "retrieved_utc", "observed_at"),
            pl.col("retrieved_2nd_on").cast(pl.Float64, strict=False),
        ).alias("retrieved"),
    )
    typed = typed.with_columns(_bare_id().alias("bare_id"))
    reason, field = _refusal(facts)
    judged = typed.with_columns(reason.alias("bad"), field.alias("field"))
    bad = judged.filter(pl.col("bad").is_not_null()).select("line_no", reason=pl.col("bad"), field=pl.col("field"))
    good = judged.filter(pl.col("bad").is_null())
    return good.select(_landed()).select(list(LANDED)).cast(LANDED), bad.cast(BAD)


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


def _refusal(facts: FileFacts) -> tuple[pl.Expr, pl.Expr]:
    """The reason and the field of the first rule a line breaks; both null for a post."""
    created, retrieved = pl.col("created_utc"), pl.col("retrieved")
    latest = pl.lit(facts.ends_before.timestamp() - 1e-6 if facts.ends_before else LATEST_CREATED)
    bound = pl.when(retrieved.is_not_null()).then(retrieved + FUTURE_SLACK_SECONDS).otherwise(latest)
    comment = pl.col("kind") == "comment"
    rules: list[tuple[pl.Expr, str, str | pl.Expr]] = [
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
    reason, field = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for broken, why, name in reversed(rules):
        reason = pl.when(broken.fill_null(False)).then(pl.lit(why)).otherwise(reason)
        field = pl.when(broken.fill_null(False)).then(pl.lit(name)).otherwise(field)
    return reason, field


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
        # A permalink's last part is made of the title, which a deleted post must not keep.
        pl.when(path & ~gone).then(pl.col("permalink").str.slice(0, 512)).otherwise(built).alias("permalink"),
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
        pl.when(comment).then(_with_prefix("parent_id", "t1_")).alias("parent_fullname"),
        _moment("retrieved").alias("retrieved_at"),
        state.alias("content_state"),
        pl.col("matched_queries").fill_null([]).list.unique().list.sort(),
        pl.when(pl.col("source") == "live").then(pl.lit("live")).otherwise(pl.lit("archive")).alias("source"),
    ]


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

"""meme_reactions: two readings of a line that agree, what is wrong with a bad one, one event counted once."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from databases import postgres, url  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import conform
from magpie.memes.event_files import (
    EVENTS,
    MAX_LINE_BYTES,
    EventFile,
    event_days,
    judged,
    read_events,
    strict,
    text_of,
)
from magpie.memes.logs import EVENTS as LOG
from magpie.memes.reactions import meme_reactions, react
from magpie.memes.tables import MEME_REACTIONS

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NO_FILES = pl.DataFrame(schema=EVENTS)
NO_LOG = LOG.table.empty()
KNOWN = pl.DataFrame({"meme_id": ["telegram:a:1", "telegram:a:2"]})
GOOD = {"event_id": "e1", "kind": "like", "user_id": "u1", "meme_id": "telegram:a:1", "at": "2026-11-20T12:00:00Z"}


def lines(tmp_path: Path, *rows: Any, name: str = "a.ndjson") -> EventFile:
    path = tmp_path / name
    told = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    path.write_bytes(b"\n".join(told))
    return read_events(path, f"events/{name}")


def folded(*files: EventFile, log: pl.DataFrame = NO_LOG, known: pl.DataFrame = KNOWN) -> list[dict[str, Any]]:
    told = pl.concat([NO_FILES, *(file.events for file in files)])
    return conform(MEME_REACTIONS, meme_reactions([DAY], told, log, known)).to_dicts()


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


def test_a_good_line_becomes_an_event_with_all_it_says(tmp_path: Path) -> None:
    more = {"engine": "goat", "queue_id": "q1", "sharer_id": 17, "channel": "weekend memes", "else": {"not": "read"}}
    (row,) = folded(lines(tmp_path, GOOD | more))
    assert (row["status"], row["at"], row["day"], row["kind"]) == ("ok", NOON, DAY, "like")
    assert (row["engine"], row["queue_id"], row["sharer_id"], row["channel"]) == ("goat", "q1", "17", "weekend memes")


@pytest.mark.parametrize(
    "told",
    [
        *("2026-11-20T12:00:00Z", "2026-11-20T12:00:00+00:00", "2026-11-20T15:00:00.000+03:00"),
        *("2026-11-20 12:00:00Z", "20261120T120000Z", "2026-11-20T12:00:00.000000000Z", "2026-11-20T06:30:00-0530"),
        *(1795176000, 1795176000.0, "1795176000", 1.795176e9),
    ],
)
def test_times_are_iso_with_a_zone_or_unix_seconds(tmp_path: Path, told: Any) -> None:
    (row,) = folded(lines(tmp_path, GOOD | {"at": told}))
    assert (row["status"], row["at"]) == ("ok", NOON)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"event_id": "e1",', "no JSON object"),
        (b"[1, 2]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"[" * 5000, "no JSON object"),
        (b'{"event_id": "\xff"}', "not UTF-8"),
        (b'{"a": "' + b"x" * MAX_LINE_BYTES + b'"}', "too long"),
        (without("at"), "at: missing"),
        (GOOD | {"at": "2026-11-20T12:00:00"}, "at: 2026-11-20T12:00:00 has no time zone"),
        (GOOD | {"at": "2026-02-30T12:00:00Z"}, "at: "),
        (GOOD | {"at": "yesterday"}, "at: 'yesterday'"),
        (GOOD | {"at": 1795176000000}, "at: '1795176000000'"),
        (GOOD | {"at": 0}, "at: "),
        (GOOD | {"at": True}, "at: bool where a time belongs"),
        (GOOD | {"at": "0001-01-01T00:00:00+23:00"}, "at: "),
        (json.dumps(GOOD).replace('"2026-11-20T12:00:00Z"', "NaN").encode(), "at: 'nan'"),
    ],
)
def test_a_line_without_a_time_is_counted_since_it_belongs_to_no_day(tmp_path: Path, line: Any, problem: str) -> None:
    found = lines(tmp_path, GOOD, b"", b"  \t", line)
    assert (found.events.height, found.untimed, found.days) == (1, 1, [DAY])
    assert found.first_problem is not None
    assert found.first_problem.startswith(f"line 4: {problem}")
    assert event_days(tmp_path / "a.ndjson") == (1, 1, found.first_problem, [DAY])


@pytest.mark.parametrize(
    ("line", "problem", "expected"),
    [
        (without("event_id"), "event_id: missing", "1 to 200 characters without spaces"),
        (GOOD | {"event_id": ""}, "event_id: ''", "1 to 200 characters without spaces"),
        (GOOD | {"event_id": "x" * 201}, f"event_id: '{'x' * 80}'", "1 to 200 characters without spaces"),
        (GOOD | {"event_id": "bad:1"}, "event_id: 'bad:1'", "not to begin with bad:"),
        (GOOD | {"kind": "lke"}, "kind: 'lke'", "sent, like, dislike, share_click"),
        (without("kind"), "kind: missing", "sent, like, dislike, share_click"),
        (GOOD | {"user_id": {"id": 1}}, "user_id: dict where text belongs", None),
        (GOOD | {"user_id": 1.5}, "user_id: float where text belongs", None),
        (GOOD | {"user_id": True}, "user_id: bool where text belongs", None),
        (GOOD | {"user_id": 2**63}, "user_id: int where text belongs", None),
        (GOOD | {"user_id": "a b"}, "user_id: 'a b'", "1 to 200 characters without spaces"),
        (GOOD | {"user_id": "a\u0000b"}, "user_id: 'a\u0000b'", "1 to 200 characters without spaces"),
        (json.dumps(GOOD | {"user_id": "\ud800"}).encode(), "user_id: half a surrogate pair", None),
        (without("meme_id"), "meme_id: missing", "1 to 200 characters without spaces"),
        (GOOD | {"meme_id": ["x"]}, "meme_id: list where text belongs", None),
        (GOOD | {"channel": "a\nb"}, "channel: 'a\nb'", "1 to 200 characters"),
    ],
)
def test_a_bad_line_with_a_time_is_a_failed_row_that_says_what_is_wrong(
    tmp_path: Path, line: Any, problem: str, expected: str | None
) -> None:
    bad, good = folded(lines(tmp_path, line, GOOD))
    assert (good["event_id"], good["status"]) == ("e1", "ok") or (bad["event_id"], bad["status"]) == ("e1", "ok")
    failed = bad if bad["status"] == "failed" else good
    assert (failed["reason"], failed["observed"]) == ("bad_event", f"events/a.ndjson:1: {problem}")
    assert failed["threshold"] == expected
    assert failed["event_id"].startswith("bad:")
    # Told again elsewhere it is the same row.
    again = folded(lines(tmp_path, line, GOOD), lines(tmp_path, GOOD, line, name="b.ndjson"))
    assert len(again) == 2


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(0, 4_200_000_000),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["like", "sent", "true", "-0", "1e5", "12345678901234567890", "[]", "{}", "a b", "2026-11-20T10:00:00Z"]
    ),
    st.sampled_from(
        [
            "2026-11-20T24:00:00Z",
            "2026-11-20T10:00:60Z",
            "2026-11-20T10:00:00.1234567+01:00",
            "2026-02-29T10:00Z",
            "2026-02-30T10:00:00Z",
            "٢٠٢٦-11-20T10:00:00Z",
        ]
    ),
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2110, 1, 1), timezones=st.just(UTC)).map(str),  # noqa: DTZ001
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


told_rows = st.tuples(
    st.fixed_dictionaries(dict.fromkeys(GOOD, values)),
    # Most members are as they should be, so that the odd one is the one that decides.
    st.sets(st.sampled_from(sorted(GOOD)), min_size=3),
)


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(told_rows, min_size=1, max_size=30))
def test_the_fast_reading_of_a_line_agrees_with_the_strict_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[dict[str, Any], set[str]]]
) -> None:
    told = [{name: GOOD[name] if name in kept else value for name, value in row.items()} for row, kept in rows]
    path = tmp_path_factory.getbasetemp() / "lines.ndjson"
    path.write_text("\n".join(json.dumps(row) for row in told))
    found = read_events(path, "lines")
    wanted = judged(pl.concat([text_of(strict(json.dumps(row).encode())) for row in told]))
    timed = wanted.filter(pl.col("at").is_not_null())
    columns = ["at", "day", "kind", "user_id", "meme_id", "problem", "expected"]
    assert_frame_equal(found.events.select(columns), timed.select(columns))
    assert found.untimed == wanted.height - timed.height
    if found.untimed:
        place = wanted["at"].is_null().arg_true()[0]
        assert found.first_problem == f"line {place + 1}: {wanted['problem'][place]}"


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=300))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.ndjson"
    path.write_bytes(content + b"\n" + json.dumps(GOOD).encode())
    found = read_events(path, "bytes")
    assert found.events.height + found.untimed == 1 + sum(1 for line in content.split(b"\n") if line.strip())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (json.dumps(GOOD | {"user_id": float("nan")}), "user_id: float where text belongs"),
        (json.dumps(GOOD | {"user_id": float("inf")}), "user_id: float where text belongs"),
        (json.dumps(GOOD)[:-1] + ', "nested": ' + "[" * 3000 + "]" * 3000 + "}", None),
        ("\ufeff" + json.dumps(GOOD) + "\r", None),
        (json.dumps(GOOD | {"note": "a,]b"}), None),
    ],
)
def test_what_readers_of_json_disagree_about_is_decided_one_way(tmp_path: Path, text: str, problem: str | None) -> None:
    assert lines(tmp_path, text.encode()).events["problem"].to_list() == [problem]
    assert lines(tmp_path, text.encode()[:-1] + b",}").first_problem == "line 1: no JSON object"


def test_an_event_told_twice_counts_as_it_was_told_first(tmp_path: Path) -> None:
    first = lines(tmp_path, GOOD | {"event_id": "e2"}, GOOD, GOOD | {"kind": "dislike"})
    second = lines(
        tmp_path, GOOD | {"kind": "sent"}, GOOD | {"event_id": "e2", "at": "2026-11-19T10:00:00Z"}, name="b.ndjson"
    )
    log = pl.DataFrame([{"event_id": "e1", "kind": "dislike", "user_id": "u9", "at": NOON}], schema=LOG.table.dtypes)
    for order in ((first, second), (second, first)):
        found = folded(*order, log=log)
        assert [(row["event_id"], row["kind"]) for row in found] == [("e1", "like"), ("e2", "like")]


def test_an_unknown_meme_is_rejected_until_it_is_known(tmp_path: Path) -> None:
    file = lines(tmp_path, GOOD, GOOD | {"event_id": "e2", "meme_id": "telegram:a:9"})
    _, row = folded(file)
    assert (row["status"], row["reason"], row["observed"]) == ("rejected", "unknown_meme", "telegram:a:9")
    more = pl.concat([KNOWN, pl.DataFrame({"meme_id": ["telegram:a:9"]})])
    assert [row["status"] for row in folded(file, known=more)] == ["ok", "ok"]


def test_a_click_may_be_about_no_meme(tmp_path: Path) -> None:
    (row,) = folded(lines(tmp_path, without("meme_id") | {"kind": "share_click", "sharer_id": "u2"}))
    assert (row["status"], row["meme_id"], row["sharer_id"]) == ("ok", None, "u2")


def test_only_the_days_asked_for_are_returned(tmp_path: Path) -> None:
    file = lines(tmp_path, GOOD, GOOD | {"event_id": "e2", "at": "2026-11-21T00:00:00Z"})
    assert file.days == [DAY, date(2026, 11, 21)]
    assert [row["event_id"] for row in folded(file)] == ["e1"]


def test_a_file_without_lines_has_no_days(tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").write_bytes(b"")
    assert event_days(tmp_path / "empty.ndjson") == (0, 0, None, [])
    with pytest.raises(UserError, match="cannot read"):
        event_days(tmp_path / "absent.ndjson")


def test_a_reaction_is_there_once_however_often_it_is_sent(url: str) -> None:  # noqa: F811
    control = Control(url)
    first = react(control, "like", "u1", "telegram:a:1", NOON)
    assert react(control, "like", "u1", "telegram:a:1", NOON) == first
    assert react(control, "dislike", "u1", "telegram:a:1", NOON) != first
    assert react(control, "like", "u1", "telegram:a:1", NOON, event_id="mine") == "mine"
    assert react(control, "like", "u2", "telegram:a:2", NOON, event_id="mine") == "mine"
    rows = folded(log=LOG.read(control))
    assert sorted((row["kind"], row["user_id"]) for row in rows) == [("dislike", "u1"), ("like", "u1"), ("like", "u1")]


def test_a_place_in_a_queue_is_sent_once_whenever_that_is_told(tmp_path: Path) -> None:
    control = Control(f"sqlite:///{tmp_path / 'control.db'}")
    for minute in (0, 5):
        react(control, "sent", "u1", "telegram:a:1", NOON.replace(minute=minute), queue_id="q7", engine="goat")
    assert LOG.read(control).select("queue_id", "engine", "at").rows() == [("q7", "goat", NOON)]


@pytest.mark.parametrize(
    ("kind", "user", "meme", "at", "problem"),
    [
        ("love", "u1", "m", NOON, "kind: 'love'; it must be: sent, like"),
        ("like", "", "m", NOON, "user_id: ''"),
        ("like", "u1", None, NOON, "meme_id: missing"),
        ("like", "u1", "m", datetime(2026, 11, 20), "no time zone"),  # noqa: DTZ001
        ("like", "u1", "m", datetime(1990, 1, 1, tzinfo=UTC), "at: "),
    ],
)
def test_what_is_no_event_is_not_taken(
    tmp_path: Path, kind: str, user: str, meme: str | None, at: datetime, problem: str
) -> None:
    control = Control(f"sqlite:///{tmp_path / 'control.db'}")
    with pytest.raises(UserError, match=problem):
        react(control, kind, user, meme, at)
    assert LOG.read(control).is_empty()

"""The log of fetches: nothing is lost, everybody agrees on first sight, and a source that refused is left in peace."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.control import Control
from magpie.fetches import DETAIL_CHARS, Cooling, Fetch, Fetches, plain_detail

NOON = datetime(2026, 5, 1, 12, 0, 0, 250_000, UTC)


@pytest.fixture
def control(url: str) -> Iterator[Control]:
    opened = Control(url)
    yield opened
    opened.close()


def fetch(item: str = "a", hours: float = 0, outcome: str = "captions", kind: str = "visit", **more: str) -> Fetch:
    return Fetch("youtube", item, kind, NOON + timedelta(hours=hours), outcome, **more)


def test_what_was_asked_comes_back_oldest_first_and_by_item(control: Control) -> None:
    log = Fetches(control)
    late, early, other = fetch(hours=6), fetch(hours=1, outcome="transport", detail="timed out"), fetch("b")
    log.record([late, early, other, fetch(kind="feed")])
    assert log.of("youtube", ["a", "b", "never asked"], "visit") == {"a": (early, late), "b": (other,)}
    assert log.of("telegram", ["a"], "visit") == {}


def test_two_fetches_of_one_moment_keep_the_order_in_which_they_were_told(control: Control) -> None:
    log = Fetches(control)
    log.record([fetch(outcome="transport"), fetch(outcome="captions")])
    assert [known.outcome for known in log.of("youtube", ["a"], "visit")["a"]] == ["transport", "captions"]


def test_moments_of_any_zone_come_back_as_utc(control: Control) -> None:
    log = Fetches(control)
    moscow = NOON.astimezone(timezone(timedelta(hours=3)))
    log.record([Fetch("youtube", "a", "visit", moscow, "captions")])
    assert log.of("youtube", ["a"], "visit")["a"][0].at.isoformat() == NOON.isoformat()


def test_more_items_than_a_statement_has_parameters_are_answered_too(control: Control) -> None:
    log = Fetches(control)
    items = [f"video {number}" for number in range(1700)]
    log.record(fetch(item) for item in items)
    assert log.of("youtube", items, "visit").keys() == set(items)
    assert log.seen("youtube", items, NOON) == dict.fromkeys(items, NOON)


def test_nothing_asked_or_told_is_no_error(control: Control) -> None:
    log = Fetches(control)
    log.record([])
    assert log.of("youtube", [], "visit") == {} and log.seen("youtube", [], NOON) == {}


def test_the_first_sight_of_an_item_never_moves(control: Control) -> None:
    log = Fetches(control)
    assert log.seen("youtube", ["a"], NOON) == {"a": NOON}
    later = NOON + timedelta(days=1)
    assert log.seen("youtube", ["a", "b"], later) == {"a": NOON, "b": later}
    assert log.seen("telegram", ["a"], later) == {"a": later}


def test_callers_at_the_same_time_agree_on_first_sight(url: str) -> None:
    items = [f"video {number}" for number in range(600)]

    def look(number: int) -> dict[str, datetime]:
        control = Control(url)
        try:
            # Each in an order of its own, which is how two writers come to wait for each other.
            mine = items if number % 2 else items[::-1]
            return Fetches(control).seen("youtube", mine, NOON + timedelta(seconds=number))
        finally:
            control.close()

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(look, range(4)))
    assert told[0].keys() == set(items) and all(answer == told[0] for answer in told)


def test_a_source_rests_until_the_moment_named_and_no_longer(control: Control) -> None:
    log = Fetches(control)
    assert log.cooling("youtube", NOON) is None
    until = NOON + timedelta(minutes=1)
    log.cool("youtube", until, "cooling_down", "HTTP 429")
    assert log.cooling("youtube", NOON) == Cooling("youtube", until, "cooling_down", "HTTP 429")
    assert log.cooling("telegram", NOON) is None
    assert log.cooling("youtube", until) is None


def test_a_shorter_rest_does_not_end_a_longer_one_early(control: Control) -> None:
    log = Fetches(control)
    hour = NOON + timedelta(hours=1)
    log.cool("youtube", hour, "source_blocked", None)
    log.cool("youtube", NOON + timedelta(minutes=1), "cooling_down", None)
    assert log.cooling("youtube", NOON) == Cooling("youtube", hour, "source_blocked", None)
    log.cool("youtube", hour + timedelta(hours=1), "cooling_down", None)
    assert log.cooling("youtube", hour) is not None


def test_a_detail_holds_neither_secrets_nor_addresses_and_is_one_short_line(control: Control) -> None:
    log = Fetches(control)
    told = (
        "cannot GET https://ann:pw1@host.example/path?token=abc123&x=1\nCookie: SID=zzz9; Authorization: Bearer qqq7 "
        "key=AIza77 api_key=k88 refused\x00\ud800 " + "x" * 900
    )
    log.record([fetch(detail=told)])
    kept = log.of("youtube", ["a"], "visit")["a"][0].detail
    assert kept is not None and len(kept) == DETAIL_CHARS
    assert kept.startswith("cannot GET https://host.example Cookie: ***")
    assert not any(secret in kept for secret in ("pw1", "abc123", "zzz9", "qqq7", "AIza77", "k88", "\n", "\x00"))


@given(st.text())
def test_any_text_becomes_a_detail_that_a_database_takes(text: str) -> None:
    kept = plain_detail(text)
    assert kept is not None and len(kept) <= DETAIL_CHARS
    kept.encode()
    assert "\x00" not in kept and "\n" not in kept


def test_the_log_is_shared_between_openings_of_the_database(url: str) -> None:
    for number in range(2):
        control = Control(url)
        Fetches(control).record([fetch(hours=number)])
        assert len(Fetches(control).of("youtube", ["a"], "visit")["a"]) == number + 1
        control.close()

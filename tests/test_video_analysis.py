"""Analyses: what is asked about which videos, how answers join to a row, and what makes a row another one."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_symbols import row as security
from test_symbols import table

from magpie.functions import FUNCTIONS
from magpie.lake import conform
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.settings import Settings
from magpie.videos.analysis import (
    CHUNK_CHARS,
    CHUNK_OVERLAP_CHARS,
    Asked,
    analysis_id_of,
    prompt_version_of,
    question_rows,
    video_analyses,
    with_names,
)
from magpie.videos.segments import SegmentRules, video_segments
from magpie.videos.settings import AnalysisVersion
from magpie.videos.stages import Reader
from magpie.videos.tables import VIDEO_ANALYSES
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock
from tests.videos_world import (
    CHANNEL,
    DAY,
    FIRST,
    PUBLISHED,
    SECOND,
    THIRD,
    a_heard_video,
    a_read_video,
    lines,
    results,
    some_videos_settings,
    transcripts,
    videos,
)

OUTLOOK, PICKS, WHOLE = "market_outlook", "extract_picks", "analyze_video"
ASKED = Asked(AnalysisVersion(label="v1", active=True), "segmented", "p" * 64, "openai/small")
KNOWN = table(security("NVDA", "NVIDIA Corporation"), security("INTC", "Intel Corporation"))
HOUR = timedelta(hours=1)
# Three pieces of one line each.
PIECES = SegmentRules(target=30, longest=40, overlap=0)
SAID = lines("i am buying more nvidia today", "i would not touch intel at all", "and that is it for today folks")
MODEL_A, MODEL_B = "openai/gpt-4.1-mini", "anthropic/claude-haiku-5-5"


def asked_about(
    *rows: Mapping[str, Any],
    heard: Mapping[str, Any] | None = None,
    rules: SegmentRules = PIECES,
    chapters: Mapping[str, Any] | None = None,
    **given: Any,
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    listed = rows or (a_read_video(),)
    told = heard or {row["video_id"]: SAID for row in listed}
    texts = transcripts(*(a_heard_video(video_id, said) for video_id, said in told.items()))
    pieces = video_segments(texts, chapters or {}, rules)
    return texts, question_rows(videos(*listed), texts, pieces, some_videos_settings(**given))


def an_outlook(**given: Any) -> dict[str, Any]:
    base = {"market_outlook_direction": "bullish", "market_outlook_reasoning": "Rates fall.", "summary": "Calm."}
    return {"value": {**base, "macro_themes": [], "key_risks": [], **given}}


def found_picks(*symbols: str) -> dict[str, Any]:
    return {"value": {"tickers": [{"symbol": symbol, "action": "buy"} for symbol in symbols]}}


def analysed(outlooks: list[dict[str, Any]], picks: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of one video of three pieces whose parts came out like this."""
    texts, questions = asked_about()
    assert (questions[OUTLOOK].height, questions[PICKS].height) == (1, 3)
    answers = {OUTLOOK: results(questions[OUTLOOK], *outlooks), PICKS: results(questions[PICKS], *picks)}
    made = conform(VIDEO_ANALYSES, video_analyses(texts, questions, answers, ASKED))
    (row,) = made.rows(named=True)
    return row


ANSWERED = [an_outlook()], [found_picks("NVDA"), found_picks("INTC", "AMD"), found_picks()]


def waiting(reason: str, until: datetime | None = None, **more: Any) -> dict[str, Any]:
    return {"status": "pending", "reason": reason, "not_before": until, **more}


def test_answers_join_to_one_row_with_their_pieces() -> None:
    row = analysed(*ANSWERED)
    assert (row["status"], row["n_segments"], row["n_picks"], row["mode"]) == ("ok", 3, 3, "segmented")
    told = [(pick["seg_no"], pick["symbol"]) for pick in json.loads(row["raw_picks"])]
    assert told == [(1, "NVDA"), (2, "INTC"), (2, "AMD")]
    assert (row["outlook_direction"], row["outlook_reasoning"], row["summary"]) == ("bullish", "Rates fall.", "Calm.")
    assert (row["prompt_label"], row["is_active"], row["model"]) == ("v1", True, "openai/small")


def test_the_questions_of_a_row_are_all_named_as_the_ledger_names_them() -> None:
    row = analysed(*ANSWERED)
    named = [(question["function"], question["row_ref"], question["input_hash"]) for question in row["questions"]]
    refs = [(OUTLOOK, f"{FIRST}#1"), (PICKS, f"{FIRST}#1"), (PICKS, f"{FIRST}#2"), (PICKS, f"{FIRST}#3")]
    assert named == [(function, ref, f"input-{ref}") for function, ref in refs]


def test_cost_and_tokens_are_sums_attempts_those_of_the_worst_question_and_the_end_is_the_last() -> None:
    bills = [
        {"cost_usd": Decimal("0.000000001"), "tokens_in": 7, "tokens_out": 2, "attempts": 1, "settled_at": PUBLISHED},
        {"cost_usd": Decimal("0.25"), "tokens_in": 10, "tokens_out": 3, "settled_at": PUBLISHED + HOUR},
        {"cost_usd": Decimal("0.5"), "attempts": 2, "settled_at": None},
    ]
    picks = [answer | bill for answer, bill in zip(ANSWERED[1], bills, strict=True)]
    row = analysed([an_outlook() | {"cost_usd": Decimal("1")}], picks)
    assert row["cost_usd"] == Decimal("1.750000001")
    assert (row["prompt_tokens"], row["completion_tokens"], row["attempts"]) == (17, 5, 2)
    assert row["processed_at"] == PUBLISHED + HOUR


def test_several_models_that_answered_are_all_named() -> None:
    others = [{**answer, "provider": "anthropic", "model": "large"} for answer in ANSWERED[1]]
    row = analysed(ANSWERED[0], others)
    assert row["answered_by"] == "anthropic/large, openai/small"
    assert row["provider"] in ("anthropic", "openai")


def test_a_video_waits_as_long_as_one_part_does_until_the_first_may_go_on() -> None:
    parts = [
        waiting("cooling_down", PUBLISHED + 2 * HOUR),
        waiting("transport", PUBLISHED + HOUR),
        {"status": "failed", "reason": "llm_error:invalid_output"},
    ]
    row = analysed(ANSWERED[0], parts)
    assert (row["status"], row["reason"], row["not_before"]) == ("pending", "transport", PUBLISHED + HOUR)
    assert (row["raw_picks"], row["n_picks"], row["summary"], row["outlook_direction"]) == (None, None, None, None)


def test_a_part_that_waits_for_an_operator_does_not_hide_one_that_has_a_time() -> None:
    parts = [waiting("provider_auth"), waiting("cap_exhausted", PUBLISHED), ANSWERED[1][2]]
    assert analysed(ANSWERED[0], parts)["reason"] == "cap_exhausted"
    alone = analysed(ANSWERED[0], [waiting("provider_auth"), waiting("provider_auth"), ANSWERED[1][2]])
    assert (alone["reason"], alone["not_before"]) == ("provider_auth", None)


def test_with_nothing_left_to_wait_for_a_failed_part_fails_the_video_before_a_refused_one() -> None:
    failed = {"status": "failed", "reason": "llm_error:invalid_output", "observed": "3", "threshold": "3"}
    refused = {"status": "rejected", "reason": "refused"}
    row = analysed(ANSWERED[0], [refused, failed, ANSWERED[1][2]])
    assert tuple(row[name] for name in ("status", "reason", "observed", "threshold")) == (*failed.values(),)
    assert analysed(ANSWERED[0], [refused, *ANSWERED[1][1:]])["status"] == "rejected"


def test_what_was_paid_before_a_video_failed_stays_in_its_row() -> None:
    failed = {"status": "failed", "reason": "llm_error:invalid_output", "cost_usd": Decimal("0.3"), "attempts": 3}
    row = analysed(ANSWERED[0], [failed, *ANSWERED[1][1:]])
    assert (row["cost_usd"], row["attempts"], len(row["questions"])) == (Decimal("0.3"), 3, 4)


def test_videos_are_asked_about_oldest_first_and_undated_ones_last() -> None:
    rows = [
        a_read_video(THIRD, published_at=None),
        a_read_video(SECOND, published_at=PUBLISHED),
        a_read_video(FIRST, published_at=PUBLISHED),
        a_read_video("ddddddddddd", published_at=PUBLISHED - HOUR),
    ]
    _, questions = asked_about(*rows)
    assert questions[OUTLOOK]["video_id"].to_list() == ["ddddddddddd", FIRST, SECOND, THIRD]
    assert questions[PICKS]["row_ref"].to_list()[:4] == [
        "ddddddddddd#1",
        "ddddddddddd#2",
        "ddddddddddd#3",
        f"{FIRST}#1",
    ]
    assert questions[OUTLOOK]["published_at"].to_list()[-2:] == ["2026-05-01", None]


def test_only_videos_that_are_ok_and_heard_are_asked_about() -> None:
    gone = a_read_video(SECOND, status="rejected", reason="private")
    texts = transcripts(
        a_heard_video(FIRST, SAID),
        a_heard_video(SECOND, SAID),
        a_heard_video(THIRD, [], status="pending", reason="awaiting_captions"),
    )
    pieces = video_segments(texts, {}, PIECES)
    listed = videos(a_read_video(), gone, a_read_video(THIRD))
    questions = question_rows(listed, texts, pieces, some_videos_settings())
    assert set(questions[OUTLOOK]["video_id"]) == set(questions[PICKS]["video_id"]) == {FIRST}


def test_a_transcript_without_a_line_is_not_asked_about() -> None:
    _, questions = asked_about(heard={FIRST: []})
    assert all(rows.is_empty() for rows in questions.values())


def test_a_piece_is_asked_about_with_its_own_lines_bounds_and_chapter() -> None:
    chapters = {FIRST: [{"start_s": 0.0, "title": "Buys"}, {"start_s": 5.0, "title": "Rest"}]}
    _, questions = asked_about(rules=SegmentRules(500, 500, 0), chapters=chapters)
    assert questions[PICKS].select("segment", "transcript").rows() == [
        ("Buys, [00:00] to [00:05]", "[00:00] i am buying more nvidia today"),
        ("Rest, [00:05] to [00:15]", "[00:05] i would not touch intel at all and that is it for today folks"),
    ]
    (whole,) = questions[OUTLOOK].rows(named=True)
    assert (whole["segment"], whole["partition"]) == (None, f"{CHANNEL}|{DAY}")
    assert [line["text"] for line in whole["lines"]] == [line["text"] for line in SAID]


def test_of_a_line_too_long_for_one_piece_each_piece_asks_about_its_own_part() -> None:
    text = " ".join(f"word{n:03}" for n in range(100))
    _, questions = asked_about(heard={FIRST: lines(text)}, rules=SegmentRules(200, 200, 0))
    told = [row["lines"][0]["text"] for row in questions[PICKS].iter_rows(named=True)]
    assert all(len(part) <= 200 for part in told)
    assert " ".join(told) == text


def test_a_text_above_the_limit_is_asked_about_in_chunks_that_overlap() -> None:
    long = lines(*[f"line {n:05} " + "x" * 89 for n in range(1500)])
    _, questions = asked_about(heard={FIRST: long}, analysis_mode="whole", whole_max_chars=100_000)
    assert list(questions) == [WHOLE]
    chunks = [[line["text"] for line in row["lines"]] for row in questions[WHOLE].iter_rows(named=True)]
    assert (CHUNK_CHARS, CHUNK_OVERLAP_CHARS) == (80_000, 2_000)
    assert len(chunks) == 2 and all(len(" ".join(chunk)) <= CHUNK_CHARS for chunk in chunks)
    shared = [text for text in chunks[0] if text in set(chunks[1])]
    assert 0 < len(" ".join(shared)) <= CHUNK_OVERLAP_CHARS and chunks[1][: len(shared)] == shared
    assert {*chunks[0], *chunks[1]} == {line["text"] for line in long}
    assert questions[WHOLE]["row_ref"].to_list() == [f"{FIRST}#1", f"{FIRST}#2"]


def test_a_text_up_to_the_limit_is_asked_about_at_once() -> None:
    _, questions = asked_about(heard={FIRST: lines(*["x" * 9_999] * 10)}, analysis_mode="whole", whole_max_chars=99_999)
    assert questions[WHOLE].select("row_ref", "segment").rows() == [(f"{FIRST}#1", None)]


def whole(*answers: dict[str, Any]) -> dict[str, Any]:
    """The row of a video that was read in as many chunks as there are answers."""
    said = lines(*[f"line {n:05} " + "x" * 89 for n in range(780 * len(answers))])
    texts, questions = asked_about(heard={FIRST: said}, analysis_mode="whole", whole_max_chars=5000)
    assert questions[WHOLE].height == len(answers)
    told = {WHOLE: results(questions[WHOLE], *answers)}
    (row,) = video_analyses(texts, questions, told, ASKED).rows(named=True)
    return row


@pytest.mark.parametrize(
    ("directions", "joined"),
    [
        (["bullish", "bullish"], "bullish"),
        (["neutral", "bearish"], "bearish"),
        (["bullish", "bearish"], "mixed"),
        (["neutral", "neutral"], "neutral"),
        (["mixed", "bullish"], "mixed"),
    ],
)
def test_outlooks_of_chunks_that_disagree_are_mixed_and_silent_ones_do_not_count(
    directions: list[str], joined: str
) -> None:
    row = whole(*(an_outlook(market_outlook_direction=one, tickers=[]) for one in directions))
    assert row["outlook_direction"] == joined


def test_words_of_chunks_are_joined_within_the_bounds_of_one_answer() -> None:
    first = an_outlook(macro_themes=["rates", "oil"], key_risks=[f"risk {n}" for n in range(8)], tickers=[])
    second = an_outlook(
        market_outlook_reasoning="r" * 799,
        summary=" " * 3 + "s" * 1199,
        macro_themes=["oil", "gold", " "],
        key_risks=[f"danger {n}" for n in range(8)],
        tickers=[{"symbol": "NVDA"}],
    )
    row = whole(first, second)
    assert row["macro_themes"] == ["rates", "oil", "gold"]
    assert len(row["key_risks"]) == 10 and row["key_risks"][7:9] == ["risk 7", "danger 0"]
    assert row["outlook_reasoning"].startswith("Rates fall. rrr") and len(row["outlook_reasoning"]) == 800
    assert row["summary"].startswith("Calm. sss") and len(row["summary"]) == 1200
    assert json.loads(row["raw_picks"]) == [{"seg_no": 2, "symbol": "NVDA"}]


def test_the_id_of_an_analysis_follows_from_its_key_alone() -> None:
    key = (FIRST, "h", "p", "openai/small")
    assert analysis_id_of(*key) == hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
    for place in range(4):
        other = [*key[:place], "another", *key[place + 1 :]]
        assert analysis_id_of(*other) != analysis_id_of(*key)


def test_the_version_of_the_prompts_changes_with_each_template_and_not_with_their_order() -> None:
    both = prompt_version_of({"a": "1", "b": "2"})
    assert prompt_version_of({"b": "2", "a": "1"}) == both
    assert len({both, prompt_version_of({"a": "1", "b": "3"}), prompt_version_of({"a": "2", "b": "1"})}) == 3


def test_names_are_given_to_the_lines_that_hold_them() -> None:
    _, questions = asked_about()
    named = with_names(questions[PICKS], KNOWN)["named"].to_list()
    assert [[[found["symbol"] for found in line] for line in row] for row in named] == [[["NVDA"]], [["INTC"]], [[]]]
    assert with_names(questions[PICKS].clear(), KNOWN).is_empty()


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(f"sqlite:///{tmp_path / 'c.db'}", tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=2) as made:
        yield made


def reading(at: Desk, *versions: dict[str, Any], provider: str = "auto", **given: Any) -> pl.DataFrame:
    """Read one video in these versions, the first of which is active."""
    told = [{"model": MODEL_A, "active": n == 0, **version} for n, version in enumerate(versions)]
    channel = {"channel_id": CHANNEL, "name": "A channel", **given}
    settings = Settings.model_validate(
        {"start_day": date(2026, 1, 1), "channels": [channel], "videos": {"analysis_versions": told}}
    )
    engine = Engine(FUNCTIONS, Models.load(), at.gateway, EngineSettings(provider, workers=1))
    reader = Reader(settings, engine, KNOWN, "run-1", lambda state: None)
    texts = transcripts(a_heard_video(FIRST, SAID))
    pieces = video_segments(texts, {}, PIECES)
    found, _ = reader.video_analyses(settings.channels[0], videos(a_read_video()), texts, pieces)
    return conform(VIDEO_ANALYSES, found)


def only(frame: pl.DataFrame, label: str) -> dict[str, Any]:
    return frame.row(by_predicate=pl.col("prompt_label") == label, named=True)


V1, V2 = {"label": "v1"}, {"label": "v2", "prompts": {PICKS: "List the picks of {transcript} as JSON."}}


def test_a_new_version_of_a_prompt_keeps_the_old_rows_and_asks_nothing_for_them(at: Desk) -> None:
    before = reading(at, V1)
    assert (before.height, before["status"][0], at.fake.attempts) == (1, "ok", 4)
    after = reading(at, V1, V2)
    # The picks of three pieces; the outlook is asked in the same words as before.
    assert at.fake.attempts == 7
    assert only(after, "v1") == only(before, "v1")
    assert after.select("prompt_label", "is_active").rows() == [("v1", True), ("v2", False)]
    assert only(after, "v2")["analysis_id"] != only(after, "v1")["analysis_id"]
    assert reading(at, V1, V2).equals(after) and at.fake.attempts == 7


def test_the_active_version_is_read_first(at: Desk) -> None:
    heard: list[str] = []

    def answer(body: dict[str, Any]) -> str:
        heard.append("first" if "Sum up" in json.dumps(body) else "later")
        return smallest(body)

    at.fake.responder = answer
    reading(at, V1 | {"active": False}, {"label": "v2", "prompts": {OUTLOOK: "Sum up {transcript}."}, "active": True})
    assert heard[0] == "first" and heard.count("later") == 4


def test_another_active_version_changes_no_key(at: Desk) -> None:
    before = reading(at, V1, V2)
    swapped = reading(at, V2, V1)
    assert only(swapped, "v2")["analysis_id"] == only(before, "v2")["analysis_id"]
    assert [only(swapped, label)["is_active"] for label in ("v1", "v2")] == [False, True]
    assert at.fake.attempts == 7


def test_another_model_is_another_row_that_pays_for_itself_alone(at: Desk) -> None:
    before = only(reading(at, V1), "v1")
    after = reading(at, V1, {"label": "v2", "model": MODEL_B})
    assert at.fake.attempts == 8
    assert only(after, "v1") == before
    other = only(after, "v2")
    assert (other["model"], other["provider"]) == (MODEL_B, "anthropic")
    assert other["prompt_version"] == before["prompt_version"] and other["analysis_id"] != before["analysis_id"]
    booked = sum(call.cost_nano for call in at.calls())
    assert (before["cost_usd"] + other["cost_usd"]) * 10**9 == booked > 0


def test_failed_answers_of_one_model_do_not_count_for_another(at: Desk) -> None:
    at.fake.responder = lambda body: "no JSON at all" if "gpt" in body["model"] else smallest(body)
    found = reading(at, V1, {"label": "v2", "model": MODEL_B})
    wrong, right = only(found, "v1"), only(found, "v2")
    assert (wrong["status"], wrong["reason"], wrong["attempts"]) == ("pending", "invalid_output", 1)
    assert (right["status"], right["attempts"]) == ("ok", 0)


def smallest(body: Mapping[str, Any]) -> str:
    """An answer to either question of a segmented reading."""
    return json.dumps({**an_outlook()["value"], "tickers": []})


def test_a_channel_s_own_prompt_makes_other_rows_and_a_version_s_goes_before_it(at: Desk) -> None:
    plain = only(reading(at, V1), "v1")
    own = {"functions": {PICKS: {"prompt": "Only picks of {transcript}."}}}
    assert only(reading(at, V1, **own), "v1")["prompt_version"] != plain["prompt_version"]
    both = reading(at, V2, **own)
    assert only(both, "v2")["prompt_version"] == only(reading(at, V2), "v2")["prompt_version"]


def test_versions_that_ask_the_same_of_the_same_model_are_read_once(at: Desk) -> None:
    found = reading(at, V1, {"label": "copy"})
    assert found.select("prompt_label", "is_active").rows() == [("v1", True)]
    offline = reading(at, {"label": "v1", "model": MODEL_A}, {"label": "v2", "model": MODEL_B}, provider="offline")
    assert offline.select("prompt_label", "model", "provider").rows() == [("v1", "offline", "offline")]


def test_the_offline_rules_read_the_same_every_time_and_cost_nothing(at: Desk) -> None:
    first, second = (reading(at, V1, provider="offline") for _ in range(2))
    (row,) = first.rows(named=True)
    assert [(pick["seg_no"], pick["symbol"], pick["action"]) for pick in json.loads(row["raw_picks"])] == [
        (1, "NVDA", "buy"),
        (2, "INTC", "avoid"),
    ]
    assert (row["cost_usd"], row["processed_at"], at.fake.attempts) == (Decimal(0), None, 0)
    assert first.equals(second)

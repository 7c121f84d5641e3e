"""A plan foretells the calls of the run that follows it, bounds what they cost, and writes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from leads_world import DAY, OPEN_GATES, World, a_campaign, a_post, a_world, days_between, some_settings
from pydantic import BaseModel, Field

from magpie.cli import main
from magpie.cli.output import out
from magpie.engine import limits_of
from magpie.errors import UserError
from magpie.functions import FUNCTIONS
from magpie.leads import ranking, stages
from magpie.leads import tables as t
from magpie.leads.plan import NOTHING_DELETED
from magpie.leads.plan import plan as plan_of_leads
from magpie.llm.budget import course, used_now, uses
from magpie.llm.choices import Choice
from magpie.llm.embedding import BATCH, GatewayEmbedder
from magpie.llm.engine import Engine, EngineSettings, FunctionRun
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.llm.plan import Call, Outlook, Plan, Planner, Tally
from magpie.llm.purpose import Limit, Limits, Purpose
from magpie.llm.schema import metadata
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Registry
from magpie.llm.task import Scope
from magpie.settings import Settings
from magpie.tables import Partitions
from tests.cli_world import REPO, Here, one_line
from tests.databases import database_in
from tests.gateway_world import Desk, desk
from tests.ledger_world import NOON, FakeClock, assert_books_balance

OPENAI = {"OPENAI_API_KEY": "sk-test-openai-1"}


class Verdict(BaseModel):
    good: bool
    quote: str = Field(min_length=1, max_length=100)


def check(answer: Verdict, row: Any, last_try: bool) -> Verdict:
    if "strict" in row["text"] and not last_try:
        raise InvalidAnswer("the quote is not what was asked for")
    if "never" in row["text"]:
        raise InvalidAnswer("no quote is")
    return answer


JUDGE = FunctionSpec(
    name="judge_text",
    version=1,
    display_name="Judge text",
    description="Say whether a text is good.",
    template="Judge {text}",
    output=Verdict,
    alias="fast",
    inputs={"text": "untrusted"},
    variables=lambda row: {"text": row["text"]},
    check=check,
    offline=lambda row: Verdict(good=True, quote="x"),
    max_output_tokens=200,
)
SCOPE = Scope("leads", "judgements", ("campaign:a",), "campaign", "run-1")
TEXT_PURPOSE = Purpose("leads", "embed", "post_embeddings", scopes=("campaign:a",))


def frame(*texts: str, **more: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"row_ref": [f"r{n}" for n in range(len(texts))], "text": list(texts), **more})


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=0.5) as made:
        yield made


def engine(at: Desk, provider: str = "auto", *names: str) -> Engine:
    models = Models.load({"aliases": {"fast": names or ("openai/gpt-4.1-mini", "anthropic/claude-haiku-5-5")}})
    return Engine(
        Registry([JUDGE, *(FUNCTIONS[name] for name in FUNCTIONS.names())]),
        models,
        at.gateway,
        EngineSettings(provider, 1),
    )


def planned(at: Desk, rows: pl.DataFrame, scope: Scope = SCOPE, **more: Any) -> Outlook:
    return Planner(engine(at, **more)).rows("judge_text", rows, scope)


def run(at: Desk, rows: pl.DataFrame, scope: Scope = SCOPE, **more: Any) -> FunctionRun:
    return engine(at, **more).run("judge_text", rows, scope)


def whole(found: Outlook) -> Tally:
    return sum(found.tallies.values(), Tally())


def books(at: Desk) -> dict[str, list[Any]]:
    """Every row of every table of the books, in an order of its own."""
    return at.store.read(
        lambda c: {
            name: sorted(map(repr, c.execute(sa.select(table)).all())) for name, table in metadata.tables.items()
        }
    )


# --- rows of a function -------------------------------------------------------------------------------------------


def test_the_run_makes_the_planned_calls_and_never_costs_more_than_planned(at: Desk) -> None:
    rows = frame("one", "two is longer than one", "three")
    found = planned(at, rows)
    assert whole(found) == Tally(items=3, new=3)
    assert found.asked == "openai/gpt-4.1-mini, anthropic/claude-haiku-5-5"
    assert at.fake.attempts == 0
    done = run(at, rows)
    assert at.fake.attempts == len(found.calls) == 3
    assert 0 < done.summary.spent_nano <= sum(call.est_nano for call in found.calls)
    made = sorted(at.calls(), key=lambda call: str(call.row_ref))
    assert [call.est_nano for call in found.calls] == [call.est_nano for call in made]
    for call, foretold in zip(made, found.calls, strict=True):
        assert call.tokens_in <= foretold.tokens_in
        assert call.tokens_out <= foretold.tokens_out
        assert set(foretold.scopes) == set(call.scopes["scopes"])


def test_what_a_run_has_bought_is_planned_as_journalled_also_when_another_run_or_row_asks(at: Desk) -> None:
    rows = frame("one", "two")
    run(at, rows)
    for scope in (SCOPE, replace(SCOPE, run_id="run-2", asset="others")):
        again = planned(at, rows.with_columns(row_ref=pl.concat_str(pl.lit("x"), "row_ref")), scope)
        assert whole(again) == Tally(items=2, journalled=2)
        assert again.calls == ()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_planning_twice_leaves_every_table_of_the_books_as_it_was(
    request: pytest.FixtureRequest, tmp_path: Path, fake: FakeProvider, clock: FakeClock, kind: str
) -> None:
    def look(url: str) -> None:
        with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep) as at:
            fake.misbehave("schema_violation", times=1)
            fake.misbehave("429", times="always")
            run(at, frame("bought badly"), provider="openai")
            clock.now += timedelta(hours=2)
            fake.reset()
            run(at, frame("bought"))
            before = books(at)
            first = planned(at, frame("bought", "bought badly", "new"))
            assert planned(at, frame("bought", "bought badly", "new")) == first
            assert books(at) == before
            assert whole(first) == Tally(items=3, journalled=1, new=2)
            assert_books_balance(at.store)

    if kind == "sqlite":
        look(f"sqlite:///{tmp_path / 'control.db'}")
    else:
        with database_in(request.getfixturevalue("postgres")) as url:
            look(url)


def test_before_anything_was_spent_a_plan_is_made_and_no_database(at: Desk, tmp_path: Path) -> None:
    assert whole(planned(at, frame("one"))).new == 1
    assert used_now(at.store, NOON) == {}
    assert not (tmp_path / "control.db").exists()


def test_a_bad_answer_in_the_journal_is_gone_on_from_and_the_next_question_is_the_planned_one(
    at: Desk, clock: FakeClock
) -> None:
    at.fake.misbehave("schema_violation", times=1)
    at.fake.misbehave("429")
    run(at, frame("one"), provider="openai")
    clock.now += timedelta(hours=2)
    found = planned(at, frame("one"), provider="openai")
    assert whole(found) == Tally(items=1, new=1)
    run(at, frame("one"), provider="openai")
    last = max(at.calls(), key=lambda call: (call.created_at, call.reask))
    assert (last.reask, last.est_nano) == (1, found.calls[0].est_nano)


def test_a_chain_of_answers_that_hold_in_the_end_is_journalled_as_a_whole(at: Desk) -> None:
    rows = frame("strict one")
    run(at, rows)
    assert at.fake.attempts == 3
    assert whole(planned(at, rows)) == Tally(items=1, journalled=1)


def test_a_question_that_the_model_declined_is_answered_and_not_asked_again(at: Desk) -> None:
    at.fake.misbehave("refusal")
    rows = frame("one")
    run(at, rows)
    assert whole(planned(at, rows)) == Tally(items=1, journalled=1)


def test_a_row_that_failed_for_good_is_no_call(at: Desk, clock: FakeClock) -> None:
    rows = frame("never one")
    for _ in range(3):
        run(at, rows)
        clock.now += timedelta(hours=2)
    assert whole(planned(at, rows)) == Tally(items=1, refused={"invalid_output": 1})
    attempts = at.fake.attempts
    run(at, rows)
    assert at.fake.attempts == attempts


def test_rows_and_partitions_that_ask_the_same_are_one_call(at: Desk) -> None:
    rows = frame("same", "same", "other", partition=["a|1", "a|2", "a|2"])
    found = planned(at, rows)
    assert found.tallies == {"a|1": Tally(items=1, new=1), "a|2": Tally(items=2, journalled=1, new=1)}
    run(at, rows)
    assert at.fake.attempts == len(found.calls) == 2


def test_what_would_be_refused_is_planned_as_refused_with_the_reason_of_the_run(at: Desk) -> None:
    def both(rows: pl.DataFrame, scope: Scope = SCOPE, **more: Any) -> str:
        found, done = planned(at, rows, scope, **more), run(at, rows, scope, **more)
        assert found.calls == ()
        assert whole(found) == Tally(items=1, refused={str(done.rows["reason"][0]): 1})
        (reason,) = found.details
        assert found.details[reason]
        return reason

    own = Choice(model="openai/gpt-6.1-sol")
    at.gateway.limits = Limits({"campaign:a": (Limit("D", 1000),)})
    assert both(frame("one")) == "request_too_large"
    at.gateway.limits = Limits()
    assert both(frame("one"), replace(SCOPE, choice=Choice(prompt="{budget}"))) == "invalid_request"
    unpriced = Models.load({"models": [{"provider": "openai", "model_id": "no-such-model-42"}], "aliases": {}})
    tried = Engine(Registry([JUDGE]), unpriced, at.gateway, EngineSettings("auto", 1))
    scope = replace(SCOPE, choice=replace(own, model="openai/no-such-model-42"))
    assert whole(Planner(tried).rows("judge_text", frame("one"), scope)).refused == {"unpriced_model": 1}
    assert tried.run("judge_text", frame("one"), scope).rows["reason"].to_list() == ["unpriced_model"]
    assert at.fake.attempts == 0


def test_a_call_that_was_cut_off_and_may_be_paid_is_not_planned_again_unless_that_is_allowed(at: Desk) -> None:
    at.fake.misbehave("cut_before_headers")
    rows = frame("one")
    assert run(at, rows).rows["reason"].to_list() == ["unknown_outcome"]
    assert whole(planned(at, rows)) == Tally(items=1, refused={"unknown_outcome": 1})
    at.gateway.settings = replace(at.gateway.settings, allow_double_payment=True)
    assert whole(planned(at, rows)) == Tally(items=1, new=1)


def test_without_a_key_the_rules_answer_and_a_provider_without_its_key_is_refused(
    tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    with desk(f"sqlite:///{tmp_path}/c.db", tmp_path, fake, clock=clock, keys={}) as at:
        offline = planned(at, frame("one", "two"))
        assert (offline.asked, whole(offline)) == ("offline", Tally(items=2, free=2))
        named = planned(at, frame("one"), provider="anthropic")
        assert whole(named) == Tally(items=1, refused={"provider_auth": 1})
    assert not (tmp_path / "c.db").exists()


def test_what_calls_have_lately_cost_tells_what_new_ones_are_likely_to(at: Desk) -> None:
    assert planned(at, frame("one")).calls[0].likely_nano is None
    run(at, frame("one", "two"))
    calls = at.calls()
    share = sum(call.cost_nano for call in calls) / sum(call.est_nano for call in calls)
    (next_,) = planned(at, frame("three")).calls
    assert next_.likely_nano == round(next_.est_nano * share) < next_.est_nano


# --- the caps -----------------------------------------------------------------------------------------------------


def test_the_cut_of_the_cap_is_the_one_that_the_run_meets_day_after_day(at: Desk, clock: FakeClock) -> None:
    # Without usage a call costs its estimate, so that the plan's bounds are what is spent.
    at.fake.misbehave("usage_missing", times=None)
    rows = frame(*(f"text {n:02d} " + "long " * (n % 3) * 40 for n in range(12)))
    found = planned(at, rows, provider="openai")
    ests = [call.est_nano for call in found.calls]
    at.gateway.limits = Limits({"campaign:a": (Limit("D", sum(ests[:5])),), "all": (Limit("D", sum(ests)),)})
    days = course(found.calls, at.gateway.limits, used_now(at.store, clock.now), clock.now)
    assert 2 <= max(day for day in days if day is not None) + 1 < 12
    status = {}
    for number in range(12):
        done = run(at, rows, provider="openai").rows
        for row_ref, state in done.select("row_ref", "status").iter_rows():
            if state == "ok":
                status.setdefault(row_ref, number)
        clock.now = datetime(2026, 11, 21, 1, tzinfo=UTC) + timedelta(days=number)
    assert [status[f"r{n}"] for n in range(12)] == days
    assert at.fake.answered_twice == []


def test_what_is_spent_and_held_already_is_not_there_for_the_plan(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("usage_missing", times=None)
    run(at, frame("bought"))
    found = planned(at, frame("buying"))
    est = found.calls[0].est_nano
    limits = Limits({"product:leads": (Limit("D", 2 * est - 1),), "campaign:a": (Limit("M", 10 * est),)})
    used = used_now(at.store, clock.now)
    assert course(found.calls, limits, used, clock.now) == [1]
    (day, month) = uses(["all", "product:leads", "campaign:a"], limits, used, clock.now)
    assert (day.scope, day.window, day.left_nano) == ("product:leads", "D2026-11-20", est - 1)
    assert (month.scope, month.window, month.cap_nano) == ("campaign:a", "M2026-11", 10 * est)
    assert month.spent_nano == day.spent_nano == est


def a_call(est: int, scopes: tuple[str, ...] = ("all",), likely: int | None = None, asset: str = "x") -> Call:
    return Call(asset, "p", 1, est, likely, est, 1, scopes)


def test_counted_quotas_months_and_runs_hold_calls_back_as_their_windows_say() -> None:
    calls = [a_call(10) for _ in range(5)]
    assert course(calls, Limits({"all": (Limit("D", calls=2),)}), {}, NOON) == [0, 0, 1, 1, 2]
    assert course(calls, Limits({"all": (Limit("M", 25),)}), {}, NOON) == [0, 0, 11, 11, 42]
    assert course(calls, Limits({"all": (Limit("R", 25),)}), {}, NOON) == [0, 0, 1, 1, 2]
    two_runs = [*calls[:3], *(replace(call, asset="y") for call in calls[3:])]
    assert course(two_runs, Limits({"all": (Limit("R", 25),)}), {}, NOON) == [0, 0, 1, 0, 0]
    assert course(calls, Limits({"all": (Limit("D", calls=0),)}), {}, NOON) == [None] * 5
    assert course(calls, Limits({"other": (Limit("D", 0),)}), {}, NOON) == [0] * 5


def test_a_smaller_call_goes_through_where_a_larger_one_before_it_does_not() -> None:
    calls = [a_call(60), a_call(50), a_call(40)]
    assert course(calls, Limits({"all": (Limit("D", 100),)}), {}, NOON) == [0, 1, 0]


def test_likely_costs_let_more_through_and_the_cap_is_still_held_against_ceilings() -> None:
    calls = [a_call(60, likely=10) for _ in range(6)]
    limits = Limits({"all": (Limit("D", 100),)})
    assert course(calls, limits, {}, NOON) == [0, 1, 2, 3, 4, 5]
    assert course(calls, limits, {}, NOON, likely=True) == [0, 0, 0, 0, 0, 1]


CALLS = st.lists(
    st.builds(a_call, st.integers(0, 100), st.sampled_from([("all",), ("all", "campaign:a"), ("all", "campaign:b")])),
    max_size=40,
)


@given(CALLS, st.integers(100, 300), st.integers(100, 150), st.integers(0, 100))
def test_no_day_of_a_course_is_over_a_cap_and_nothing_waits_that_would_fit(
    calls: list[Call], whole_cap: int, campaign_cap: int, spent: int
) -> None:
    caps = {"all": whole_cap, "campaign:a": campaign_cap}
    limits = Limits({scope: (Limit("D", cap),) for scope, cap in caps.items()})
    days = course(calls, limits, {("all", "D2026-11-20"): (spent, 1)}, NOON)
    assert None not in days
    for number in range(max((day for day in days if day is not None), default=-1) + 1):
        for scope, cap in caps.items():
            before = spent if number == 0 and scope == "all" else 0
            on_it = [
                call.est_nano for call, day in zip(calls, days, strict=True) if day == number and scope in call.scopes
            ]
            assert before + sum(on_it) <= cap
    for call, day in zip(calls, days, strict=True):
        if day:
            taken = {scope: spent if day == 1 and scope == "all" else 0 for scope in caps}
            for other, when in zip(calls, days, strict=True):
                for scope in caps.keys() & set(other.scopes) if when == day - 1 else ():
                    taken[scope] += other.est_nano
            assert any(taken[scope] + call.est_nano > caps[scope] for scope in caps.keys() & set(call.scopes))


# --- texts of an embedder -----------------------------------------------------------------------------------------


def test_texts_are_planned_by_the_batch_and_journalled_one_by_one(at: Desk) -> None:
    model = at.models.candidates("embed")[0]
    texts = [f"text {n}" for n in range(BATCH + 5)]
    embedder = GatewayEmbedder(at.gateway, model, TEXT_PURPOSE)
    embedder.embed_or_wait(texts[:3])
    spent = sum(call.cost_nano for call in at.calls())
    before = books(at)
    found = Planner(engine(at)).texts(model, [("a", text) for text in [*texts, texts[-1], " "]], TEXT_PURPOSE)
    assert found.tallies == {"a": Tally(items=BATCH + 7, journalled=4, free=1, new=BATCH + 2)}
    assert [call.items for call in found.calls] == [BATCH, 2]
    assert books(at) == before
    embedder.embed_or_wait(texts)
    assert at.fake.attempts == 1 + len(found.calls)
    assert sum(call.cost_nano for call in at.calls()) - spent <= sum(call.est_nano for call in found.calls)
    assert found.calls[0].tokens_out == 0
    again = Planner(engine(at)).texts(model, [("a", text) for text in texts], TEXT_PURPOSE)
    assert whole(again) == Tally(items=BATCH + 5, journalled=BATCH + 5)


def test_a_text_of_two_partitions_is_paid_for_by_the_first(at: Desk) -> None:
    model = at.models.candidates("embed")[0]
    found = Planner(engine(at)).texts(model, [("a", "same"), ("b", "same"), ("b", "own")], TEXT_PURPOSE)
    assert found.tallies == {"a": Tally(items=1, new=1), "b": Tally(items=2, journalled=1, new=1)}


def test_texts_without_a_key_or_over_a_cap_are_refused_and_counted(
    tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    with desk(f"sqlite:///{tmp_path}/c.db", tmp_path, fake, clock=clock, keys={}) as at:
        model = at.models.candidates("embed")[0]
        found = Planner(engine(at)).texts(model, [("a", "one"), ("a", "")], TEXT_PURPOSE)
        assert found.tallies == {"a": Tally(items=2, free=1, refused={"provider_auth": 1})}
    with desk(f"sqlite:///{tmp_path}/c.db", tmp_path, fake, Limits({"all": (Limit("D", 1),)}), clock=clock) as at:
        found = Planner(engine(at)).texts(model, [("a", "one"), ("a", "two")], TEXT_PURPOSE)
        assert found.tallies == {"a": Tally(items=2, refused={"request_too_large": 2})}


# --- leads --------------------------------------------------------------------------------------------------------

DAYS = days_between(DAY, DAY + timedelta(days=3))
UPSTREAM = days_between(DAY - timedelta(days=31), DAYS[-1])


def some_posts() -> list[dict[str, Any]]:
    """Posts of the first, second and fourth day; of the third there is one that no keyword finds."""
    texts = ("we need a crm for our small agency, budget is small", "any crm that works for two people? hate ours")
    posts = [
        a_post(
            f"t3_{n}{day}", f"Looking for a CRM {n}", f"{texts[n % 2]} {n} {day}", at=NOON.replace(2026, 3, 20 + day)
        )
        for day in (0, 1, 3)
        for n in range(3)
    ]
    return [*posts, a_post("t3_none", "Gardening", "roses and their thorns", at=NOON.replace(2026, 3, 22))]


@pytest.fixture
def leads(tmp_path: Path) -> World:
    settings = some_settings(
        a_campaign(gates=OPEN_GATES, llm_daily_cap_usd="0.02"),
        a_campaign("other", ["budget"], gates=OPEN_GATES),
        home=tmp_path,
    )
    return a_world(some_posts(), settings, home=tmp_path)


def extract(world: World, at: Desk, campaign: str, days: list[date]) -> tuple[pl.DataFrame, Any]:
    """What the asset does with a campaign's days."""
    rules = stages.CampaignRules.of(world.settings, campaign)
    reader = stages.Reader(world.lake, world.settings, engine(at), NOTHING_DELETED, "run-1", lambda state: None)
    partitions = Partitions({campaign: frozenset(days)})
    matched, ranked = (world.lake.read(table, partitions).collect() for table in (t.CAMPAIGN_POSTS, t.RANKED_POSTS))
    return reader.lead_extractions(rules, days, matched, ranked)


def tallies(found: Plan, asset: str, campaign: str) -> dict[date | None, Tally | None]:
    return {line.day: line.tally for line in found.lines if (line.asset, line.subject) == (asset, campaign)}


def test_the_plan_of_leads_is_what_the_extractions_of_each_campaign_and_day_then_ask(leads: World, at: Desk) -> None:
    leads.make_all(DAYS, UPSTREAM)
    found = plan_of_leads(leads.settings, leads.lake, engine(at), DAYS[0], DAYS[-1])
    per_day = tallies(found, "lead_extractions", "crm")
    assert [per_day[day] for day in DAYS] == [Tally(items=3, new=3)] * 2 + [Tally(), Tally(items=3, new=3)]
    assert tallies(found, "campaign_keywords", "crm") == {None: Tally(items=1, free=1)}
    assert tallies(found, "post_embeddings", "crm")[DAY] == Tally(items=3, free=3)
    assert found.asked["post_embeddings"] == "offline-hash-1024"
    assert found.notes == ()
    for campaign in ("crm", "other"):
        mine = [call for call in found.calls if f"campaign:{campaign}" in call.scopes]
        before = at.fake.attempts
        rows, summary = extract(leads, at, campaign, DAYS)
        assert at.fake.attempts - before == len(mine) == rows.height > 0
        assert summary.spent_nano <= sum(call.est_nano for call in mine)
    again = plan_of_leads(leads.settings, leads.lake, engine(at), DAYS[0], DAYS[-1])
    assert again.calls == ()
    assert tallies(again, "lead_extractions", "crm")[DAY] == Tally(items=3, journalled=3)


def test_the_cap_of_a_campaign_cuts_the_extractions_that_the_plan_says(leads: World, at: Desk) -> None:
    at.fake.misbehave("usage_missing", times=None)
    leads.make_all(DAYS, UPSTREAM)
    found = plan_of_leads(leads.settings, leads.lake, engine(at), DAYS[0], DAYS[-1], ["crm"])
    ests = [call.est_nano for call in found.calls]
    at.gateway.limits = replace(
        limits_of(leads.settings), by_scope={"campaign:crm": (Limit("D", sum(ests[:4]) + min(ests) // 2),)}
    )
    today = [day == 0 for day in course(found.calls, at.gateway.limits, {}, NOON)]
    assert 0 < sum(today) < len(today)
    rows, _ = extract(leads, at, "crm", DAYS)
    assert set(rows.filter(pl.col("status") == "pending")["reason"]) == {"cap_exhausted"}
    fit = [call.partition for call, fits in zip(found.calls, today, strict=True) if fits]
    bought = rows.filter(pl.col("status") != "pending").select(pl.format("crm|{}", "day")).to_series().to_list()
    assert sorted(bought) == sorted(str(partition) for partition in fit)


def test_days_that_are_not_made_are_told_from_days_that_hold_nothing(leads: World, at: Desk) -> None:
    leads.make_all(DAYS[:3], UPSTREAM)
    leads.make(t.REDDIT_POSTS, Partitions.days(DAYS))
    leads.make(t.CORPUS_STATS, Partitions.days(DAYS))
    found = plan_of_leads(leads.settings, leads.lake, engine(at), DAYS[0], DAYS[-1] + timedelta(days=1), ["crm"])
    made = [tally is not None for tally in tallies(found, "lead_extractions", "crm").values()]
    # The third has posts and no match; of the fourth nobody has made matches; of the fifth there is nothing.
    assert made == [True, True, True, False, False]
    assert [tally is not None for tally in tallies(found, "post_embeddings", "crm").values()] == made
    leads.make(t.CAMPAIGN_POSTS, Partitions({"crm": frozenset(DAYS)}))
    later = plan_of_leads(leads.settings, leads.lake, engine(at), DAYS[0], DAYS[-1], ["crm"])
    assert tallies(later, "post_embeddings", "crm")[DAYS[-1]] == Tally(items=3, free=3)
    assert tallies(later, "lead_extractions", "crm")[DAYS[-1]] is None


def test_a_hosted_embedder_is_planned_text_by_text_and_days_of_other_settings_are_named(leads: World, at: Desk) -> None:
    leads.make_all(DAYS, UPSTREAM)
    hosted = leads.settings.model_copy(
        update={"leads": leads.settings.leads.model_copy(update={"embed_model": "text-embedding-3-small"})}
    )
    found = plan_of_leads(hosted, leads.lake, engine(at), DAYS[0], DAYS[-1], ["crm"])
    assert found.asked["post_embeddings"] == "openai/text-embedding-3-small"
    assert any("3 days were made under other settings" in note for note in found.notes)
    assert tallies(found, "campaign_keywords", "crm") == {None: Tally(items=1, new=1)}
    assert tallies(found, "post_embeddings", "crm")[DAY] == Tally(items=3, new=3)
    mine = [call for call in found.calls if call.asset != "lead_extractions"]
    model = at.models.candidates("embed")[0]
    embedder = GatewayEmbedder(at.gateway, model, TEXT_PURPOSE)
    rules = stages.CampaignRules.of(hosted, "crm")
    ranking.campaign_keywords("crm", rules.keywords, embedder)
    for day in DAYS:
        matched = leads.lake.read(t.CAMPAIGN_POSTS, Partitions({"crm": frozenset([day])})).collect()
        ranking.post_embeddings(matched, leads.lake.read(t.REDDIT_POSTS, Partitions.days([day])), embedder)
    assert at.fake.attempts == len(mine) == 4
    assert sum(call.cost_nano for call in at.calls()) <= sum(call.est_nano for call in mine)
    again = plan_of_leads(hosted, leads.lake, engine(at), DAYS[0], DAYS[-1], ["crm"])
    assert not [call for call in again.calls if call.asset != "lead_extractions"]


def test_without_days_the_stored_ones_are_planned_and_without_those_it_says_what_to_do(leads: World, at: Desk) -> None:
    with pytest.raises(UserError, match="no day is stored yet"):
        plan_of_leads(leads.settings, leads.lake, engine(at))
    leads.make_all(DAYS, UPSTREAM)
    found = plan_of_leads(leads.settings, leads.lake, engine(at))
    assert (found.first, found.last) == (DAYS[0], DAYS[-1])


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def told(
    tmp_path: Path, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs `magpie plan leads` over the world of `leads` with a provider that costs, and returns what it printed."""
    (tmp_path / "magpie.yaml").write_text(
        f"""
start_day: 2026-01-01
campaigns:
  - id: crm
    name: crm
    product_description: A CRM for small agencies
    keywords: [crm]
    gates: {OPEN_GATES}
    llm_daily_cap_usd: 0.02
llm:
  aliases: {{fast: [openai/gpt-4.1]}}
  base_urls: {{openai: "{fake.base_url("openai")}"}}
""",
        "utf-8",
    )
    for name in ("HOME", "CONFIG"):
        monkeypatch.setenv(f"MAGPIE_{name}", str(tmp_path / ("" if name == "HOME" else "magpie.yaml")))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(out, "width", 200)

    def command(*arguments: str, **environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["magpie", "plan", "leads", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out

    return command


def settings_of_home(leads: World) -> Settings:
    return leads.settings.model_copy(update={"campaigns": leads.settings.campaigns[:1]})


def test_the_command_shows_each_day_the_budget_and_what_the_cap_cuts(
    leads: World, told: Any, fake: FakeProvider, tmp_path: Path
) -> None:
    World(settings_of_home(leads), leads.landed, leads.lake).make_all(DAYS, UPSTREAM)
    shown = told("--from", "2026-03-20", "--to", "2026-03-24", **OPENAI)
    lines = shown.splitlines()
    day = next(line.split() for line in lines if line.startswith("lead_extractions") and "2026-03-20" in line)
    assert day[:8] == ["lead_extractions", "crm", "2026-03-20", "3", "0", "0", "3", "0"]
    assert sum("not made yet" in line for line in lines if line.startswith("lead_extractions")) == 1
    campaign = next(line.split() for line in lines if line.startswith("campaign:crm"))
    assert campaign[1:5] == ["day", "$0.02", "$0", "$0.02"]
    assert "of 9 fit today; the rest waits for midnight UTC" in shown
    assert "lead_extractions: openai/gpt-4.1" in shown
    assert fake.attempts == 0
    assert not (tmp_path / "control.sqlite").exists()


def test_many_days_are_summed_up_unless_each_is_asked_for(leads: World, told: Any) -> None:
    World(settings_of_home(leads), leads.landed, leads.lake).make_all(DAYS, UPSTREAM)
    span = ("--from", "2026-02-20", "--to", "2026-03-23")
    short = told(*span, **OPENAI)
    (line,) = [line for line in short.splitlines() if line.startswith("lead_extractions ")]
    assert "32 days, 28 not made yet" in line
    assert len([line for line in told(*span, "--days").splitlines() if line.startswith("lead_extractions ")]) == 32


def test_offline_it_says_that_the_rules_answer_and_nothing_is_spent(leads: World, told: Any, tmp_path: Path) -> None:
    World(settings_of_home(leads), leads.landed, leads.lake).make_all(DAYS, UPSTREAM)
    shown = told()
    assert "lead_extractions: the offline rules answer, nothing is spent" in shown
    assert "no call is to be made" in shown
    assert not (tmp_path / "control.sqlite").exists()


def test_wrong_products_campaigns_and_days_are_one_line(tmp_path: Path, here: Here) -> None:
    home = tmp_path / "home"
    assert "products: leads, videos" in one_line(here(home, "plan", "kites"))
    assert "--channel narrows videos" in one_line(here(home, "plan", "leads", "--channel", "UC"))
    assert "agency-crm, folding-bike" in one_line(here(home, "plan", "leads", "--campaign", "nobody"))
    assert "--from 'soon' is not a day" in one_line(here(home, "plan", "leads", "--from", "soon"))
    wrong_order = ("--from", "2026-03-05", "--to", "2026-03-02")
    assert "must be in order" in one_line(here(home, "plan", "leads", *wrong_order))
    assert "run `magpie run leads` first" in one_line(here(home, "plan", "leads"))
    assert not home.exists()


def test_a_control_database_that_is_none_is_one_line(tmp_path: Path, here: Here) -> None:
    (tmp_path / "control.sqlite").write_text("this is no database", "utf-8")
    days = ("--from", "2026-03-05", "--to", "2026-03-06")
    one_line(here(tmp_path, "plan", "leads", *days, config=REPO / "magpie.yaml", **OPENAI))

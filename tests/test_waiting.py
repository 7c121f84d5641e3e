"""Rows that wait for money, quotas and time: who asks for them again, when, and that nothing is paid twice for it."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa

from assets.partitions import day_range, lead_range
from magpie.control import Pending
from magpie.errors import Unavailable
from magpie.leads import tables as t
from magpie.leads.costs import costs_are_booked
from magpie.llm import breaker, ledger
from magpie.llm.backlog import CAP_REASONS, QUOTA_REASONS, Budget, choose, raised, released
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.money import to_nano, to_usd
from magpie.llm.purpose import FREE_TIER, Limits, Purpose
from magpie.llm.schema import llm_call
from magpie.llm.store import Store
from magpie.settings import LLM, Caps, Settings
from magpie.tables import Partitions
from sensors.discovery import sync_campaigns
from tests.dagster_world import Daemon, archive, copy_home, selected, settings_over, submission, world
from tests.ledger_world import FakeClock, assert_books_balance
from tests.product_world import ProductWorld

D = datetime(2026, 3, 20, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 21, tzinfo=UTC)
FIRST = date(2026, 3, 2)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]
CAMPAIGN = "agency-crm"
PURPOSE = Purpose("leads", "extract_lead", scopes=(f"campaign:{CAMPAIGN}",))


# --- choosing -----------------------------------------------------------------------------------------------------


def waiting(day: int, reason: str = "transport", minutes: int = -5, table: str = "lead_extractions") -> Pending:
    return Pending(table, f"a|2026-03-{day:02d}", reason, 3, D + timedelta(minutes=minutes))


ORDER = ("campaign_keywords", "post_embeddings", "lead_extractions")


def test_the_newest_partitions_go_first_and_ten_at_a_time() -> None:
    found = choose([waiting(day) for day in range(1, 16)], ORDER, None, D, {})
    assert [due.partition[-2:] for due in found.due] == [f"{day:02d}" for day in range(15, 5, -1)]
    assert len(found.held) == 5


def test_what_is_not_due_yet_or_waits_for_an_event_is_left_alone_and_the_next_time_is_told() -> None:
    event = Pending("lead_extractions", "a|2026-03-01", "provider_auth", 1, None)
    found = choose([waiting(2, minutes=30), waiting(3, minutes=10), event], ORDER, None, D, {})
    assert found.due == ()
    assert found.next_at == D + timedelta(minutes=10)
    assert "12:10 UTC" in found.explanation


def test_each_reason_has_one_owner() -> None:
    pending = [waiting(1, "cap_exhausted"), waiting(2, "quota_exhausted"), waiting(3, "cooling_down")]
    asked = {
        name: [due.partition[-2:] for due in choose(pending, ORDER, owned, D, {}).due]
        for name, owned in (("cap", CAP_REASONS), ("quota", QUOTA_REASONS), ("backlog", None))
    }
    assert asked == {"cap": ["01"], "quota": ["02"], "backlog": ["03"]}


def test_a_partition_is_asked_for_once_at_the_first_of_its_tables() -> None:
    found = choose([waiting(1), waiting(1, table="post_embeddings")], ORDER, None, D, {})
    assert [(due.table, due.rows) for due in found.due] == [("post_embeddings", 3)]


def test_what_the_money_does_not_reach_is_held_back_with_the_bound_that_does_it() -> None:
    budget = Budget(100, 20, "campaign:a")
    budgets = {("lead_extractions", f"a|2026-03-{day:02d}"): budget for day in range(1, 4)}
    found = choose([waiting(day) for day in range(1, 4)], ORDER, None, D, budgets)
    assert [due.partition[-2:] for due in found.due] == ["03", "02"]
    assert found.held == {"a|2026-03-01": "campaign:a has no money left"}


def test_a_larger_cap_of_its_scopes_lets_what_waits_for_money_be_due_since_then_and_nothing_else() -> None:
    at = D - timedelta(minutes=2)
    pending = [waiting(1, "cap_exhausted", 600), waiting(2, "cap_busy", 1), waiting(3, "cap_exhausted", -5)]
    pending.append(Pending("lead_extractions", "b|2026-03-01", "cap_exhausted", 1, MIDNIGHT))
    found = released(pending, lambda item: ("all", f"campaign:{item.partition[0]}"), {"campaign:a": at})
    assert [item.not_before for item in found] == [at, pending[1].not_before, pending[2].not_before, MIDNIGHT]


def test_a_cap_counts_as_raised_when_it_grows_or_is_taken_away_but_not_when_it_shrinks_or_begins() -> None:
    before = {"grows": 5, "shrinks": 5, "stays": 5, "goes": 5}
    assert raised(before, {"grows": 6, "shrinks": 4, "stays": 5, "begins": 9}) == {"grows", "goes"}


def test_a_partition_that_a_run_is_making_is_not_asked_for_again() -> None:
    found = choose([waiting(1)], ORDER, None, D, {}, {"a|2026-03-01"})
    assert found.due == ()
    assert "held back" in found.explanation


# --- the sensors over a real instance -----------------------------------------------------------------------------


class Office(ProductWorld[Daemon]):
    """Posts that were matched, and the provider that is asked about them."""

    product = "leads"
    fake: FakeProvider

    def sync(self) -> None:
        sync_campaigns(self.instance, self.settings)

    def tick(self, name: str) -> tuple[list[dg.RunRequest], str | None]:
        return self.daemon.tick(name)

    def tick_all(self) -> list[dg.RunRequest]:
        return [request for name in ("daily_cost_cap", "quota", "backlog") for request in self.tick(name)[0]]

    def perform(self, request: dg.RunRequest) -> None:
        assert self.daemon.perform(request, "").success

    def statuses(self) -> dict[str, int]:
        return dict(self.rows(t.LEAD_EXTRACTIONS).group_by("status").len().iter_rows())


def with_caps(settings: Settings, fake: FakeProvider, usd: Decimal) -> Settings:
    return settings.model_copy(
        update={
            "caps": Caps(global_daily_cap_usd=Decimal("15"), leads_daily_cap_usd=Decimal("5"), daily_usd={}),
            "campaigns": tuple(
                campaign.model_copy(update={"llm_daily_cap_usd": usd}) for campaign in settings.campaigns
            ),
            "llm": LLM(
                provider="openai",
                workers=1,
                base_urls={"openai": fake.base_url("openai"), "openrouter": fake.base_url("openrouter")},
                aliases={"fast": ("openai/gpt-4.1-mini",)},
                timeout_seconds=5,
            ),
        }
    )


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        # A call then costs its estimate, so that a cap is for a whole number of calls.
        server.misbehave("usage_missing", times=None)
        yield server


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Twelve posts on four days, matched, of which nobody has asked a model; tests work on copies of its home."""
    folder = tmp_path_factory.mktemp("matched")
    lines = [submission(f"p{day.day}{n}", day) for day in DAYS for n in range(3)]
    archive(folder / "in" / "posts.ndjson", *lines)
    settings = settings_over(folder / "in", folder / "home")
    with world(settings, ["leads"], checks=False) as made:
        made.run("reddit_landing")
        made.run("reddit_days", tags=day_range(DAYS[0], DAYS[-1]))
        made.run("campaign_words", partition_key=CAMPAIGN)
        made.run("campaign_days", tags=lead_range(CAMPAIGN, DAYS[0], DAYS[-1]))
    return settings


@pytest.fixture
def office(matched: Settings, tmp_path: Path, fake: FakeProvider, instance: dg.DagsterInstance) -> Office:
    copy_home(matched.home, tmp_path / "home")
    settings = with_caps(matched.model_copy(update={"home": tmp_path / "home"}), fake, Decimal("1"))
    made = Office(settings, FakeClock(D), instance)
    made.fake = fake
    return made


def answers(office: Office) -> dg.ExecuteInProcessResult:
    return office.world.run("campaign_answers", tags=lead_range(CAMPAIGN, DAYS[0], DAYS[-1]))


def reopened(office: Office, usd: Decimal) -> Office:
    """The same home under another cap, as after an edit of magpie.yaml and a restart."""
    after = office.again(with_caps(office.settings, office.fake, usd))
    after.fake = office.fake
    return after


def cut_short(office: Office) -> Office:
    """An office whose cap let seven of twelve posts be asked about."""
    office.world.run("campaign_answers", tags=lead_range(CAMPAIGN, DAYS[0], DAYS[0]))
    assert office.statuses() == {"ok": 3}
    cap = to_usd(int(max(office.estimates()) * 7.5))
    cut = reopened(office, Decimal(str(round(cap, 4))))
    assert answers(cut).success
    assert cut.statuses() == {"ok": 7, "pending": 5}
    return cut


def test_the_cap_stops_a_backfill_in_the_middle_and_the_sensor_finishes_it_after_midnight_for_nothing_twice(
    office: Office,
) -> None:
    cut = cut_short(office)
    rows = cut.lake.read(t.LEAD_EXTRACTIONS).collect()
    held = rows.filter(rows["status"] == "pending")
    assert set(held["reason"]) == {"cap_exhausted"}
    assert set(held["not_before"]) == {MIDNIGHT}
    assert cut.fake.attempts == 7

    assert cut.tick_all() == []
    assert "nothing is due" in str(cut.tick("daily_cost_cap")[1])
    cut.clock.now = MIDNIGHT + timedelta(minutes=1)
    asked = cut.tick_all()
    partitions = {str(request.partition_key) for request in asked}
    assert partitions == {f"{CAMPAIGN}|{day}" for day in held["day"].unique()}
    assert cut.tick_all() == [], "each is asked for once"
    for request in asked:
        cut.perform(request)
    assert cut.statuses() == {"ok": 12}
    assert cut.fake.answered_twice == []
    assert cut.fake.attempts == 12
    assert cut.tick_all() == []
    assert cut.control.pending() == []
    assert_books_balance(Store(cut.control))
    leads = cut.lake.read(t.LEADS).collect()
    assert leads.height == 12
    every = Partitions({CAMPAIGN: frozenset(DAYS)})
    assert costs_are_booked(cut.lake, every, Store(cut.control)).rows == []
    again = answers(cut)
    assert again.success
    assert cut.fake.attempts == 12, "a second materialisation asks nobody"


def test_what_a_cap_held_back_goes_on_the_same_day_when_the_cap_is_raised(office: Office) -> None:
    cut = cut_short(office)
    assert cut.tick_all() == []
    office = reopened(cut, Decimal("1"))
    asked = office.tick_all()
    assert asked != []
    assert office.tick_all() == [], "each is asked for once"
    for request in asked:
        office.perform(request)
    assert office.statuses() == {"ok": 12}
    assert office.fake.answered_twice == []
    office.clock.now += timedelta(hours=1)
    assert office.tick_all() == []
    assert_books_balance(Store(office.control))


def test_a_cap_is_reported_at_eighty_and_at_a_hundred_percent_once_each(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(office.control)
    cap = office.settings.campaigns[0].llm_daily_cap_usd

    def spend(share: str, number: str) -> None:
        booked = ledger.Booking(
            number * 32, number * 64, (number * 64,), "openai", "m", "chat/completions",
            to_nano(cap * Decimal(share)), "t", PURPOSE,
        )  # fmt: skip
        store.write(lambda c: ledger.reserve(c, booked, Limits(), office.clock()))

    def told() -> dict[str, int]:
        office.tick("daily_cost_cap")
        return json.loads(office.daemon.cursors["daily_cost_cap"] or "{}")["told"]

    assert told() == {}
    spend("0.85", "1")
    assert told() == {f"campaign:{CAMPAIGN}": 80}
    spend("0.15", "2")
    assert told() == {f"campaign:{CAMPAIGN}": 100}
    office.clock.now = MIDNIGHT + timedelta(minutes=1)
    assert told() == {}


def test_a_counted_quota_is_reported_and_its_rows_come_back_after_the_reset(office: Office) -> None:
    partition = f"{CAMPAIGN}|{DAYS[0]}"
    office.control.record_pending(
        "lead_extractions",
        [partition],
        [Pending("lead_extractions", partition, "quota_exhausted", 3, MIDNIGHT)],
    )
    Store(office.control).write(lambda c: ledger.raise_calls(c, FREE_TIER, office.clock(), 900))
    asked, reason = office.tick("quota")
    assert asked == []
    assert FREE_TIER in str(reason)
    office.clock.now = MIDNIGHT + timedelta(minutes=1)
    (request,) = office.tick_all()
    assert str(request.partition_key) == partition
    assert selected(request) == ("lead_extractions", "leads", "rejections")


def test_a_model_that_rests_brings_its_rows_back_through_the_backlog(office: Office) -> None:
    office.fake.reset()
    office.fake.misbehave("429", retry_after="300", times=1)
    answers(office)
    assert office.statuses() == {"pending": 12}
    assert office.fake.attempts == 1
    assert office.tick_all() == []
    office.clock.now += timedelta(minutes=6)
    asked = office.tick_all()
    assert len(asked) == len(DAYS)
    for request in asked:
        office.perform(request)
    assert office.statuses() == {"ok": 12}


def test_a_wrong_key_leaves_rows_pending_and_nobody_asks_again_until_the_breaker_is_reset(office: Office) -> None:
    office.fake.reset()
    office.fake.misbehave("401", times=None)
    result = answers(office)
    assert result.success
    assert office.statuses() == {"pending": 12}
    assert office.fake.attempts == 1
    office.clock.now += timedelta(days=2)
    assert office.tick_all() == []
    office.fake.reset()
    Store(office.control).write(lambda c: breaker.close(c, None))
    answers(office)
    assert office.statuses() == {"ok": 12}


def test_a_function_whose_runs_keep_failing_is_not_asked_for_until_its_pause_is_over(office: Office) -> None:
    partition = f"{CAMPAIGN}|{DAYS[0]}"
    due = office.clock() - timedelta(minutes=1)
    office.control.record_pending(
        "lead_extractions", [partition], [Pending("lead_extractions", partition, "transport", 3, due)]
    )
    store = Store(office.control)
    for run in ("one", "two", "three"):
        store.write(
            lambda c, run=run: breaker.record_failed_run(c, "function:extract_lead", run, office.clock(), "transport")  # type: ignore[misc]
        )
    assert office.tick_all() == []
    office.clock.now += timedelta(minutes=61)
    assert len(office.tick_all()) == 1


def test_what_a_dead_process_left_is_ended_by_the_backlog_sensor(office: Office) -> None:
    booked = ledger.Booking("1" * 32, "1" * 64, ("1" * 64,), "openai", "m", "chat/completions", 5, "t", PURPOSE)
    store = Store(office.control)
    store.write(lambda c: ledger.reserve(c, booked, Limits(), office.clock()))
    office.clock.now += timedelta(minutes=10)
    office.tick("backlog")
    state = store.read(lambda c: c.execute(sa.select(llm_call.c.state)).scalar())
    assert state == "voided"


def test_runs_that_failed_because_a_store_was_away_do_not_stop_what_would_have_asked(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise Unavailable("cannot reach s3://bucket/lake/ranked_posts")

    def gone(*_: Any, **__: Any) -> None:
        raise pl.exceptions.ComputeError("Generic S3 error: Error performing GET")

    for broken in (away, gone, away):
        monkeypatch.setattr("magpie.leads.stages.extraction.extraction_inputs", broken)
        result = office.world.run("campaign_answers", False, tags=lead_range(CAMPAIGN, DAYS[0], DAYS[0]))
        (told,) = office.daemon.failed(result, "circuit_breaker")
        assert "no function" in str(told.skip_message)
    assert office.store.read(breaker.open_breakers) == []


def test_failed_runs_of_a_job_count_against_its_function(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("magpie.leads.stages.extraction.extraction_inputs", broken)
    for _ in range(3):
        result = office.world.run("campaign_answers", False, tags=lead_range(CAMPAIGN, DAYS[0], DAYS[0]))
        office.daemon.failed(result, "circuit_breaker")
    (opened,) = Store(office.control).read(breaker.open_breakers)
    assert opened.scope == "function:extract_lead"
    assert opened.until == office.clock() + timedelta(hours=1)


def test_a_row_that_says_another_cost_than_the_ledger_is_found(office: Office) -> None:
    answers(office)
    every, store = Partitions({CAMPAIGN: frozenset(DAYS)}), Store(office.control)
    assert costs_are_booked(office.lake, every, store).rows == []
    rows = office.lake.read(t.LEAD_EXTRACTIONS, every).collect()
    dearer = pl.when(pl.col("fullname") == rows["fullname"][0]).then(Decimal("1.5")).otherwise("cost_usd")
    office.lake.write(t.LEAD_EXTRACTIONS, t.LEAD_EXTRACTIONS.shaped(rows.with_columns(dearer.alias("cost_usd"))), every)
    (found,) = costs_are_booked(office.lake, every, store).rows
    assert (found["fullname"], found["cost_usd"]) == (rows["fullname"][0], Decimal("1.5"))
